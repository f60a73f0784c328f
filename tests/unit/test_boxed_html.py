"""HTML that stands in the page in a box: what libraries draw themselves with, and what it must not be good for."""

from __future__ import annotations

import re
import time

import pandas as pd
import pytest
import xarray
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from chorus_nb.declarations import MAX_REFERENCES
from chorus_nb.drawings import MAX_COPIES
from chorus_nb.markup import BOX, boxed_html, inline_html

SYMBOL = '<symbol id="s" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></symbol>'


def dataset_html() -> str:
    return str(xarray.Dataset({"t": (("x",), [1.5, 2.5], {"units": "K <b>"})}, {"x": [10, 20]})._repr_html_())


def diagram_html() -> str:
    columns = ColumnTransformer([("n", StandardScaler(), [0]), ("c", OneHotEncoder(), [1])])
    return str(make_pipeline(columns, LogisticRegression(C=0.5))._repr_mimebundle_()["text/html"])


def boxed(html: str) -> str:
    """Return HTML in its box, of which nothing could stand outside of one."""
    assert inline_html(html) is None
    shown = boxed_html(html)
    assert shown is not None
    assert shown.startswith('<div class="sandbox--')
    assert f'style="{BOX}; ' in shown
    return shown


def test_a_dataset_of_xarray_opens_and_closes_by_its_own_check_boxes() -> None:
    shown = boxed(dataset_html())
    boxes = re.findall(r'<input [^>]*id="([^"]+)"', shown)
    assert len(boxes) >= 6
    assert sorted(boxes) == sorted(re.findall(r'<label [^>]*for="([^"]+)"', shown))
    assert set(re.findall(r'<use xlink:href="#([^"]+)"', shown)) <= set(re.findall(r'<symbol [^>]*id="([^"]+)"', shown))
    assert all(name.startswith("sandbox-") for name in boxes)
    assert re.search(r"\.sandbox-xr-section-summary-in:checked ~ \.sandbox-xr-section-details", shown)
    assert "K &lt;b&gt;" in shown


def test_a_diagram_of_scikit_learn_needs_no_script() -> None:
    source = diagram_html()
    assert "<script>" in source
    shown = boxed(source)
    assert "<script" not in shown.partition("</style>")[2]
    assert "onclick" not in shown
    assert len(re.findall(r'<input [^>]*type="checkbox"', shown)) == len(re.findall("<input", source))
    # What the script would find out once, the style sheet follows.
    assert ':is([data-jp-theme-light="false"] *' in shown
    assert ".sandbox-dark" not in shown


def test_a_style_with_tooltips_and_fixed_headers_is_boxed() -> None:
    table = pd.DataFrame({"a": [1]})
    shown = boxed(table.style.set_uuid("x").set_tooltips(pd.DataFrame({"a": ["tip"]})).set_sticky().to_html())
    assert 'content: "tip"' in shown
    assert "position: sticky" in shown


def test_missing_values_of_a_style_do_not_need_a_frame() -> None:
    """Written as they are, they read as an element ``<NA>`` that nobody knows."""
    assert inline_html(pd.DataFrame({"a": [pd.NA]}).style.to_html()) is not None


def test_attributes_without_a_space_between_them_are_two() -> None:
    """As seaborn writes the pictures of its colour maps."""
    assert inline_html('<p title="a"class="b">x</p>') == '<p title="a" class="sandbox-b">x</p>'


@pytest.mark.parametrize(
    "html",
    [
        '<svg width="55" height="9"><rect x="0" width="55" style="fill:#4c72b0;stroke:rgb(255,255,255)"/></svg>',
        '<svg><!-- Horizontal lines --><line x1="0" y1="0" x2="9" y2="0" style="stroke-width:2" /></svg>',
        '<svg><g transform="translate(3, 4) rotate(-90)"><text text-anchor="middle">x</text></g></svg>',
        f'<svg>{SYMBOL}</svg><svg><use href="#s"></use></svg>',
        '<input type="checkbox" id="a" checked disabled><label for="a">x</label>',
        "<div tabindex=0 hidden>x</div>",
        "<button>x</button>",
    ],
)
def test_what_libraries_draw_themselves_with_stays_as_it_is(html: str) -> None:
    shown = boxed(html)
    assert [*re.findall(r"<(\w+)", shown)][1:] == re.findall(r"<(\w+)", html)


@pytest.mark.parametrize(
    "html",
    [
        "<svg><image href='data:image/png;base64,iVBORw0KGgo='/></svg>",
        "<svg><script>1</script></svg>",
        "<svg><a href='https://example.org'><text>x</text></a></svg>",
        "<svg><foreignObject><p>x</p></foreignObject></svg>",
        "<svg><animate attributeName='x'/></svg>",
        "<svg><title>x</title><path d='M0'/></svg>",
        "<svg><style>path {fill: red}</style><script/></svg>",
        "<svg><rect fill='url(#g)'/></svg>",
        "<svg><rect filter='url(#g)'/></svg>",
        "<svg><path id='x' d='M0'/></svg>",
        "<svg><use href='https://example.org/x.svg#s'/></svg>",
        "<svg><use href='data:image/svg+xml;base64,PHN2Zy8+#s'/></svg>",
        "<svg><use href='#s' id='s'/></svg>",
        "<svg><text>$\\href{x}{y}$</text></svg>",
        "<svg><p>x</p></svg><math><mi>x</mi></math>",
        "<input>",
        "<input type='text' value='x'>",
        "<input type='checkbox' name='x'>",
        "<input type='checkbox' value='x'>",
        "<input type='checkbox' form='x'>",
        "<input type='checkbox' autofocus>",
        "<label for='a b'>x</label>",
        "<button name='x'>x</button>",
        "<button formaction='/x'>x</button>",
        "<button popovertarget='x'>x</button>",
        "<p tabindex='1'>x</p>",
        "<p style='--x: red'>x</p>",
        "<p onclick='x()'>x</p>",
        "<jp-button>x</jp-button>",
    ],
)
def test_anything_else_is_not_boxed(html: str) -> None:
    assert inline_html(f"<b>{html}</b>") is None
    assert boxed_html(f"<b>{html}</b>") is None


def test_no_output_can_give_its_elements_the_name_of_a_box() -> None:
    """One output's sheet applies where its scope is: an element of another that is in no box must not be that."""
    scope = re.match(r'<div class="(\S+)', boxed("<style>p {position: fixed}</style><p>x</p>"))
    assert scope is not None
    for name in (scope[1], scope[1].removeprefix("sandbox-"), scope[1].removeprefix("sandbox--")):
        for show in (inline_html, boxed_html):
            content = (show(f'<div class="{name}">x</div>') or "").rpartition("<div class=")[2]
            assert f'"{scope[1]}"' not in content
            assert f" {scope[1]}" not in content


def test_ids_are_those_of_the_output() -> None:
    html = '<input type="checkbox" id="a"><label for="a">{}</label>'
    names = [
        re.findall(r'(?:id|for)="([^"]+)"', boxed_html(html.format(text), session) or "")
        for text, session in (("x", "one"), ("x", "two"), ("y", "one"), ("x", "one"))
    ]
    assert all(own == label for own, label in names)
    assert names[0] == names[3]
    assert len({own for own, _ in names}) == 3


def test_ids_do_not_depend_on_what_is_drawn_or_counted() -> None:
    """Whoever masks drawn names and figures, to compare notebooks, need not mask the ids."""
    uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    first, second = (uuid.sub("U", boxed(dataset_html())) for _ in range(2))
    assert first == second


def test_symbols_are_small_for_how_often_they_are_used() -> None:
    paths = '<path d="M0 0"/>' * 100
    use = '<use href="#s"></use>'
    small = f'<svg><symbol id="s">{paths}</symbol></svg><svg>{use}</svg>'
    assert boxed_html(small) is not None
    assert boxed_html(small + f"<svg>{use * (MAX_COPIES // 100)}</svg>") is None


@pytest.mark.parametrize(
    "inner",
    ['<use href="#b"></use>', '<symbol id="c"><path d="M0"/></symbol>', '<svg><use href="#b"></use></svg>'],
)
def test_symbols_do_not_multiply(inner: str) -> None:
    assert boxed_html(f'<svg><symbol id="a">{inner * 2}</symbol><symbol id="b"><path d="M0"/></symbol></svg>') is None


def test_a_value_refers_to_few_others() -> None:
    sheet = "<style>p {{--x: 1px; color: {}}}</style><p>x</p>"
    assert boxed_html(sheet.format("var(--x) " * MAX_REFERENCES)) is not None
    assert boxed_html(sheet.format("var(--x) " * (MAX_REFERENCES + 1))) is None


@pytest.mark.parametrize(
    "piece",
    [
        "p (", "p " * 7, "\n", "a,", ":not(a", "@media (x) {", "}", "/*", "'", '"', "p{a:b;", "p{--a:var(",
        "url(data:", "p{color:'';}", "a:is(a,", "html[data-theme", "{", "p{background:url(data:image/png;base64,A",
        "p{color:((",
    ],
)  # fmt: skip
def test_style_sheets_are_told_apart_in_linear_time(piece: str) -> None:
    started = time.monotonic()
    boxed_html(f"<style>{piece * (1_000_000 // len(piece))}</style><p>x</p>")
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "piece", ["<use href=#x>", "<svg>", "<symbol id=a>", "<!-- ", "aa", "<a_b>", "<g></p>", "<input>"]
)
def test_drawings_are_told_apart_in_linear_time(piece: str) -> None:
    started = time.monotonic()
    boxed_html(f"<svg id=x>{piece * (1_000_000 // len(piece))}</svg><p id=y>x</p>")
    assert time.monotonic() - started < 20
