r"""Makes the state of one widget harmless to show: which models there are, and what each of their values may be.

ipywidgets draws in the notebook page, with the page's rights. What is here follows what its JavaScript does with each
value (jupyter-widgets 8): ``HTML.value`` becomes markup, a description and a ``Label`` are typeset as TeX, an image of
``format="url"`` is fetched, values of ``Layout`` and ``...Style`` become CSS, the name of an icon a class, and a value
that can't be read an error message that is shown as markup. So there is a list of the standard models, and for each of
their keys what it may hold. What is not listed goes.

References to other widgets are not looked at here: :mod:`chorus_nb.widgets` knows which there are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from .markup import clean_html, inline_html
from .sanitize import TEX_COMMANDS

MAX_ITEMS = 10_000
"""Entries of a list: options, tags, children."""
MAX_TEXT_CHARS = 2**20

DROP = object()
"""What a cleaner returns where the value goes."""

Cleaner = Callable[[Any], Any]

CONTROLS, BASE, OUTPUT = "@jupyter-widgets/controls", "@jupyter-widgets/base", "@jupyter-widgets/output"

_BOXES = "Box GridBox HBox VBox Accordion Stack Tab"
_SHOWN = f"""
    {_BOXES} Audio BoundedFloatText BoundedIntText Button Checkbox ColorPicker ColorsInput Combobox DatePicker Datetime
    Dropdown FileUpload FloatLogSlider FloatProgress FloatRangeSlider FloatSlider FloatText FloatsInput HTML HTMLMath
    Image IntProgress IntRangeSlider IntSlider IntText IntsInput Label NaiveDatetime Password Play RadioButtons Select
    SelectMultiple SelectionRangeSlider SelectionSlider TagsInput Text Textarea Time ToggleButton ToggleButtons Valid
    Video
"""
_STYLES = """
    ButtonStyle CheckboxStyle DescriptionStyle HTMLMathStyle HTMLStyle LabelStyle ProgressStyle SliderStyle TextStyle
    ToggleButtonStyle ToggleButtonsStyle
"""
_OTHER_VIEWS = {
    "BoundedFloatText": "FloatText",
    "BoundedIntText": "IntText",
    "FloatProgress": "Progress",
    "IntProgress": "Progress",
    "NaiveDatetime": "Datetime",
}

LINKS = {"LinkModel", "DirectionalLinkModel"}
STYLES = {f"{name}Model" for name in _STYLES.split()}
BOXES = {f"{name}Model" for name in _BOXES.split()}

VIEWS: Mapping[tuple[str, str], tuple[str, str | None]] = {
    **{(CONTROLS, f"{name}Model"): (CONTROLS, f"{_OTHER_VIEWS.get(name, name)}View") for name in _SHOWN.split()},
    **{(CONTROLS, name): (BASE, "StyleView") for name in STYLES},
    **{(CONTROLS, name): (CONTROLS, None) for name in LINKS},
    (BASE, "LayoutModel"): (BASE, "LayoutView"),
    (OUTPUT, "OutputModel"): (OUTPUT, "OutputView"),
}
"""The standard models by module and name, with module and name of their view.

Not among them: ``Controller``, whose view makes models of its own and reads gamepads.
"""

_VERSION = re.compile(r"[~^]?\d{1,4}(\.\d{1,4}){0,2}([ab-]\w{1,10})?|\*", re.ASCII)
IDENTITY = (
    *("_model_module", "_model_name", "_model_module_version"),
    *("_view_module", "_view_name", "_view_module_version"),
)


def standard_identity(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what says which model and view it is, or None where that is no standard one."""
    identity = {key: state.get(key) for key in IDENTITY}
    if not all(isinstance(value, str) or value is None for value in identity.values()):
        return None
    view = VIEWS.get((str(identity["_model_module"]), str(identity["_model_name"])))
    versions = (identity["_model_module_version"], identity["_view_module_version"])
    if view is None or not all(_VERSION.fullmatch(version or "*") for version in versions):
        return None
    shown = (identity["_view_module"], identity["_view_name"])
    return identity if shown == view or shown[1] is None else None


def clean_value(name: str, key: str, value: Any) -> Any:
    """Return what the key of a model of that name may hold, or :data:`DROP`."""
    return cleaner_of(name, key)(value)


def cleaner_of(name: str, key: str) -> Cleaner:
    """Return what makes that key of that model harmless."""
    if name == "LayoutModel" or name in STYLES:
        return _CSS.get(key, _drop)
    return _OF_MODEL.get((name, key)) or _OF_KEY.get(key, _drop)


def is_figure(name: str, key: str) -> bool:
    """Whether that key of that model holds numbers only, which may flow anywhere."""
    return cleaner_of(name, key) in (figures, flag)


def _drop(_: Any) -> Any:
    return DROP


def figures(value: Any) -> Any:
    """Numbers, None, and short lists and mappings of these (ranges, dates). What JSON can't say becomes None."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**1000):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list) and len(value) <= MAX_ITEMS:
        return [figures(each) if isinstance(each, (int, float)) else None for each in value]
    if isinstance(value, dict) and len(value) <= 16 and all(re.fullmatch(r"[a-z_]{1,20}", key) for key in value):
        return {key: figures(each) if isinstance(each, (int, float)) else None for key, each in value.items()}
    return DROP


def flag(value: Any) -> Any:
    """True, False or None."""
    return value if value is None or isinstance(value, bool) else DROP


def text(value: Any) -> Any:
    """Text that the page sets as text: in a box to type in, a tool tip, a title."""
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
        return DROP
    return value.encode("utf-8", "replace").decode()


def typeset_text(value: Any) -> Any:
    """Text that the page typesets: unknown TeX commands are parted from their backslash by a space without width."""
    value = text(value)
    return _TEX_COMMAND.sub(_part_unknown, value) if isinstance(value, str) else value


def _part_unknown(match: re.Match[str]) -> str:
    return match[0] if match[1] in TEX_COMMANDS else f"\\\u200b{match[1]}"


_TEX_COMMAND = re.compile(r"\\([A-Za-z@]+)")


def html(value: Any) -> Any:
    """Markup after the output policy."""
    value = text(value)
    if not isinstance(value, str):
        return value
    bare = value.strip()
    # Progress bars line up their figures with spaces at the ends.
    before, after = value[: value.find(bare)], value[value.find(bare) + len(bare) :]
    return f"{before}{inline_html(bare) or clean_html(bare) or ''}{after}"


def description_markup(value: Any) -> Any:
    """A description that the page reads as markup.

    The page takes its formulas out, cleans the rest, and puts them back as they were: one that begins in an attribute
    and ends in another would bring attributes of its own. So where there may be formulas there are no attributes.
    """
    value = typeset_text(value)
    markup = html(value)
    if isinstance(markup, str) and '"' in markup and _FORMULA.search(markup):
        return escape(value)
    return markup


_FORMULA = re.compile(r"\$|\\|@@")


def _each(clean: Cleaner) -> Cleaner:
    def clean_list(value: Any) -> Any:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            return DROP
        cleaned = [clean(each) for each in value]
        return DROP if any(each is DROP or each is None for each in cleaned) else cleaned

    return clean_list


def _matching(pattern: str) -> Cleaner:
    compiled = re.compile(pattern, re.ASCII)

    def clean(value: Any) -> Any:
        fits = value is None or (isinstance(value, str) and compiled.fullmatch(value))
        return value if fits else DROP

    return clean


def _dom_classes(value: Any) -> Any:
    # Any other class may be one that the page gives a meaning to: overlays, commands.
    return [each for each in value if each == "widget-interact"] if isinstance(value, list) else DROP


def _binary(value: Any) -> Any:
    return value if isinstance(value, bytes) else DROP


_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")


def _picture(value: Any) -> Any:
    """A raster image; another kind could be opened in a tab of its own, where SVG runs script as the page."""
    if not isinstance(value, bytes):
        return DROP
    is_picture = value.startswith(_PICTURES) or (value[:4] == b"RIFF" and value[8:12] == b"WEBP")
    return value if is_picture else b""


def _files(value: Any) -> Any:
    """What a FileUpload holds: the page shows how many there are, and made them."""
    return value if value == [] else DROP


def _step(value: Any) -> Any:
    return value if value == "any" else figures(value)


_STYLE_NAMES = _matching(r"|primary|success|info|warning|danger")
_WORD = _matching(r"[a-z-]{0,40}")
_COLOUR = _matching(r"[a-zA-Z]{1,30}|#[0-9a-fA-F]{3,8}|(?:rgb|hsl)a?\([-\d.%,/ ]{1,60}\)")
# d3-format shows what it can't read in an error message, which ipywidgets shows as markup.
_NUMBER_FORMAT = _matching(r"(?:[ \w.*-]?[<>=^])?[-+( ]?[$#]?0?\d{0,4},?(?:\.\d{1,4})?~?[a-zA-Z%]?")
_LENGTH = _matching(r"(?:\d{1,5}(?:\.\d{1,4})?(?:px|%|em|rem|vw|vh)?)?")

_MEDIA = _matching(r"mp[234]|m4[av]|mpeg|webm|ogg|wav|x-wav|flac|aac")

_OF_KEY: Mapping[str, Cleaner] = {
    **dict.fromkeys(("value", "min", "max", "index", "selected_index", "rows", "interval", "base"), figures),
    **dict.fromkeys(("_view_count",), figures),
    **dict.fromkeys(("disabled", "tabbable", "description_allow_html", "continuous_update", "readout", "indent"), flag),
    **dict.fromkeys(("concise", "playing", "_playing", "repeat", "_repeat", "show_repeat", "loop", "autoplay"), flag),
    **dict.fromkeys(("controls", "multiple", "ensure_option", "allow_duplicates"), flag),
    **dict.fromkeys(("tooltip", "placeholder", "accept", "error", "description_tooltip"), text),
    **dict.fromkeys(("_options_labels", "options", "titles", "tooltips", "allowed_tags"), _each(text)),
    **dict.fromkeys(("box_style", "button_style", "bar_style", "tag_style"), _STYLE_NAMES),
    **dict.fromkeys(("orientation", "behavior"), _WORD),
    **dict.fromkeys(("readout_format", "format"), _NUMBER_FORMAT),
    **dict.fromkeys(("width", "height"), _LENGTH),
    "description": typeset_text,
    "step": _step,
    "icon": _matching(r"[a-z0-9 -]{0,100}"),
    "icons": _each(_matching(r"[a-z0-9-]{0,100}")),
    "_dom_classes": _dom_classes,
}
_TEXT_BOXES = ("TextModel", "TextareaModel", "PasswordModel", "ComboboxModel")
_TIMES = ("TimeModel", "DatePickerModel", "DatetimeModel", "NaiveDatetimeModel")
_OF_MODEL: Mapping[tuple[str, str], Cleaner] = {
    **{(name, "value"): text for name in _TEXT_BOXES},
    **{(name, "value"): html for name in ("HTMLModel", "HTMLMathModel")},
    ("LabelModel", "value"): typeset_text,
    ("TagsInputModel", "value"): _each(text),
    ("ColorsInputModel", "value"): _each(_COLOUR),
    ("ColorsInputModel", "allowed_tags"): _each(_COLOUR),
    **{(name, "allowed_tags"): _each(figures) for name in ("FloatsInputModel", "IntsInputModel")},
    ("ColorPickerModel", "value"): _COLOUR,
    ("FileUploadModel", "value"): _files,
    ("ValidModel", "readout"): text,
    ("ImageModel", "value"): _picture,
    ("ImageModel", "format"): _matching(r"png|jpe?g|gif|webp"),
    **{(name, "value"): _binary for name in ("AudioModel", "VideoModel")},
    **{(name, "format"): _MEDIA for name in ("AudioModel", "VideoModel")},
}

_CSS_FUNCTIONS = {"rgb", "rgba", "hsl", "hsla", "repeat", "minmax", "fit-content"}
_CSS_MATH = {"calc", "min", "max", "clamp"}
_CSS_VALUE = re.compile(r"[\w\s#.%,/()'\"\[\]+*-]{0,500}", re.ASCII)
_CSS_VARIABLE = re.compile(r"var\(--jp-[\w-]{1,80}\)", re.ASCII)


def _css(*functions: str, negative: bool = True) -> Cleaner:
    allowed = {*_CSS_FUNCTIONS, *functions}

    def clean(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, str):
            return DROP
        bare = _CSS_VARIABLE.sub("", value)
        fits = _CSS_VALUE.fullmatch(bare) and {name.lower() for name in re.findall(r"([\w-]*)\(", bare)} <= allowed
        return value if fits and (negative or "-" not in bare) else DROP

    return clean


_LENGTHS = "height width max_height max_width min_height min_width"
_PLAIN_CSS = """
    align_content align_items align_self border border_top border_right border_bottom border_left display flex
    flex_flow grid_area grid_auto_columns grid_auto_flow grid_auto_rows grid_column grid_gap grid_row
    grid_template_areas grid_template_columns grid_template_rows justify_content justify_items object_fit
    object_position order overflow overflow_x overflow_y padding visibility
    background bar_color button_color button_width description_width font_family font_size font_style font_variant
    font_weight handle_color text_color text_decoration
"""
_CSS: Mapping[str, Cleaner] = {
    **dict.fromkeys(_LENGTHS.split(), _css(*_CSS_MATH)),
    **dict.fromkeys(_PLAIN_CSS.split(), _css()),
    # With a negative one, or with top and left, a widget would lie over other parts of the page.
    "margin": _css(negative=False),
    "_view_count": figures,
}
