"""Text of a terminal as HTML, in the classes of Jupyter's own output, which every theme gives a colour."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_ESCAPE = re.compile(r"\x1b\[([0-9;:]*)m")
_OTHER_ESCAPE = re.compile(r"\x1b\[[0-9;:]*[A-Za-z]")
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_FLAGS = {1: ("bold", True), 4: ("underline", True), 7: ("inverse", True)}
_FLAGS |= {22: ("bold", False), 24: ("underline", False), 27: ("inverse", False)}
_CUBE = (0, 95, 135, 175, 215, 255)


def as_terminal(text: str) -> str:
    r"""Return text as it stands in a terminal at the end: after ``\r`` and ``\b``."""
    return "\n".join(_line(line) if "\r" in line or "\b" in line else line for line in text.split("\n"))


def to_html(text: str) -> str:
    """Return escaped text with a ``span`` for each piece that has a colour."""
    return "".join(
        f"<span{attributes}>{html.escape(piece)}</span>" if attributes else html.escape(piece)
        for piece, attributes in _pieces(text)
        if piece
    )


def plain(text: str) -> str:
    """Return text without colours."""
    return _OTHER_ESCAPE.sub("", text)


def _line(line: str) -> str:
    # One item for each character, so that a short piece over a long line costs no more than itself.
    shown: list[str] = []
    has_colours = False
    for piece in map(_without_erased, line.split("\r")):
        has_colours = has_colours or "\x1b" in piece
        # A colour has no width, so only plain pieces are laid over what was there.
        if piece and (has_colours or len(piece) >= len(shown)):
            shown, has_colours = list(piece), "\x1b" in piece
        else:
            shown[: len(piece)] = piece
    return "".join(shown)


def _without_erased(text: str) -> str:
    if "\b" not in text:
        return text
    kept: list[str] = []
    for character in text:
        if character != "\b":
            kept.append(character)
        elif kept:
            kept.pop()
    return "".join(kept)


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    style = _Style()
    position = 0
    for escape in _ESCAPE.finditer(text):
        yield plain(text[position : escape.start()]), style.attributes()
        style.take(escape[1])
        position = escape.end()
    yield plain(text[position:]), style.attributes()


class _Style:
    """The colours in force (ECMA-48, SGR), as HTML attributes."""

    def __init__(self) -> None:
        self._flags: dict[str, bool] = {}
        self._colours: dict[str, str] = {}

    def take(self, parameters: str) -> None:
        codes = [int(code[:9] or 0) for code in re.split("[;:]", parameters)]
        while codes:
            self._take_one(codes.pop(0), codes)

    def attributes(self) -> str:
        colours = dict(self._colours)
        if self._flags.get("inverse"):
            colours = {side: colours.get(other, "default") for side, other in (("fg", "bg"), ("bg", "fg"))}
        classes = [f"ansi-{name}" for name in ("bold", "underline") if self._flags.get(name)]
        styles = []
        for side, colour in colours.items():
            if colour.startswith("rgb"):
                styles.append(f"{'color' if side == 'fg' else 'background-color'}: {colour}")
            else:
                classes.append(f"ansi-default-inverse-{side}" if colour == "default" else f"ansi-{colour}-{side}")
        named = f' class="{" ".join(classes)}"' if classes else ""
        return named + (f' style="{"; ".join(styles)}"' if styles else "")

    def _take_one(self, code: int, rest: list[int]) -> None:
        if code == 0:
            self._flags, self._colours = {}, {}
        elif code in _FLAGS:
            name, on = _FLAGS[code]
            self._flags[name] = on
        elif code in (38, 48):
            self._set("fg" if code == 38 else "bg", _extended(rest))
        elif code in (39, 49):
            self._set("fg" if code == 39 else "bg", None)
        elif 30 <= code <= 47:
            self._set("fg" if code < 40 else "bg", _COLOURS[code % 10])
        elif 90 <= code <= 107:
            self._set("fg" if code < 100 else "bg", f"{_COLOURS[code % 10]}-intense" if code % 10 < 8 else None)

    def _set(self, side: str, colour: str | None) -> None:
        self._colours.pop(side, None)
        if colour:
            self._colours[side] = colour


def _extended(rest: list[int]) -> str | None:
    """Read the colour after a 38 or 48: ``5;N`` of the 256, or ``2;R;G;B``."""
    kind = rest.pop(0) if rest else None
    if kind == 2:
        red_green_blue, rest[:3] = rest[:3], []
        return _rgb(*red_green_blue) if len(red_green_blue) == 3 else None
    number = rest.pop(0) if kind == 5 and rest else 256
    if number < 16:
        return _COLOURS[number % 8] + ("-intense" if number > 7 else "")
    if number < 232:
        number -= 16
        return _rgb(_CUBE[number // 36], _CUBE[number // 6 % 6], _CUBE[number % 6])
    return _rgb(*[8 + 10 * (number - 232)] * 3) if number < 256 else None


def _rgb(red: int, green: int, blue: int) -> str:
    return f"rgb({min(red, 255)}, {min(green, 255)}, {min(blue, 255)})"
