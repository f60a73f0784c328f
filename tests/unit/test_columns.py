"""Text with colours as HTML, and columns of outputs: escaped, complete, in order."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from chorus_nb.ansi import as_terminal, to_html
from chorus_nb.columns import LIVE_CHARS, Column, table, text


class NoStrip:
    def begin(self, state: str = "starting") -> None: ...
    def again(self) -> None: ...
    def state(self, text: str) -> None: ...
    def sample(self, sample: Any) -> None: ...
    def end(self, state: str, usage: Any) -> None: ...


@pytest.fixture
def column() -> Column:
    return Column("a", NoStrip())


def display(**data: str) -> dict[str, Any]:
    return {"data": {name.replace("_", "/", 1): value for name, value in data.items()}, "metadata": {}}


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "plain"),
        ("<b>&\"'", "&lt;b&gt;&amp;&quot;&#x27;"),
        ("\x1b[31mred\x1b[0m not", '<span class="ansi-red-fg">red</span> not'),
        ("\x1b[1;92mx", '<span class="ansi-bold ansi-green-intense-fg">x</span>'),
        ("\x1b[41mx\x1b[49my", '<span class="ansi-red-bg">x</span>y'),
        ("\x1b[38;5;1mx", '<span class="ansi-red-fg">x</span>'),
        ("\x1b[38;5;196mx", '<span style="color: rgb(255, 0, 0)">x</span>'),
        ("\x1b[48;5;232mx", '<span style="background-color: rgb(8, 8, 8)">x</span>'),
        ("\x1b[38;2;1;2;999mx", '<span style="color: rgb(1, 2, 255)">x</span>'),
        ("\x1b[38;2;1mx", "x"),
        ("\x1b[38;5mx\x1b[38mx", "xx"),
        ("\x1b[7mx", '<span class="ansi-default-inverse-fg ansi-default-inverse-bg">x</span>'),
        ("\x1b[7;31mx", '<span class="ansi-default-inverse-fg ansi-red-bg">x</span>'),
        ("\x1b[mx\x1b[Ky", "xy"),
        ("\x1b[999999999999999999;31mx", '<span class="ansi-red-fg">x</span>'),
        ("\x1b[31m<script>\x1b[0m", '<span class="ansi-red-fg">&lt;script&gt;</span>'),
    ],
)
def test_colours_become_classes_and_text_is_escaped(text: str, html: str) -> None:
    assert to_html(text) == html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10%\r20%\n", "20%\n"),
        ("abc\rX", "Xbc"),
        ("abc\r", "abc"),
        ("a\r\nb", "a\nb"),
        ("abc\b\bX", "aX"),
        ("\b\bx", "x"),
        ("\x1b[31m10%\x1b[0m\r\x1b[31m9%\x1b[0m", "\x1b[31m9%\x1b[0m"),
    ],
)
def test_text_is_as_a_terminal_leaves_it(text: str, shown: str) -> None:
    assert as_terminal(text) == shown


def test_hostile_text_takes_no_time() -> None:
    assert len(as_terminal("x\b" * 200_000 + "\r" * 200_000)) == 0
    assert len(to_html("\x1b[31m" * 100_000 + "x")) < 100


@pytest.mark.parametrize("piece", ["\r", "\ry"])
def test_what_returns_to_the_start_of_a_long_line_costs_no_more_than_itself(piece: str) -> None:
    began_s = time.monotonic()
    assert as_terminal("x" * 10**6 + piece * 10**6) == piece[1:] + "x" * (10**6 + 1 - len(piece))
    assert time.monotonic() - began_s < 40


def test_output_is_kept_in_its_order(column: Column) -> None:
    column.stream("stdout", "one ")
    column.stream("stdout", "two\n")
    column.stream("stderr", "three\n")
    column.display(display(text_plain="four"))
    column.fail(["\x1b[31m" + 75 * "-" + "\x1b[0m\n\x1b[31mFive\x1b[0m"])
    assert column.plain() == "one two\nthree\nfour\nFive"
    html = column.html()
    assert [html.index(word) for word in ("one two", "three", "four", "Five")] == sorted(
        html.index(word) for word in ("one two", "three", "four", "Five")
    )
    assert html.count("vnd.jupyter.stderr") == 2


def test_each_display_is_shown_in_its_richest_harmless_form(column: Column) -> None:
    column.display(display(text_html="<i>rich</i>", text_plain="poor"))
    column.display({**display(image_png="QUJD\n", text_plain="Figure"), "metadata": {"image/png": {"width": 30}}})
    column.display(display(text_latex="$<x>$"))
    column.display({"data": {"application/json": {"<k>": 1}}, "metadata": {}})
    column.display({"data": {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "Slider()"}, "metadata": {}})
    html = column.html()
    assert "<i>rich</i>" in html
    assert "poor" not in html
    assert '<img src="data:image/png;base64,QUJD" alt="" width="30">' in html
    assert "$&lt;x&gt;$" in html
    assert "&quot;&lt;k&gt;&quot;: 1" in html
    assert "Slider()" in html
    assert "<x>" not in html
    assert column.plain().splitlines()[:2] == ["poor", "Figure"]


def test_a_display_is_updated_in_its_place(column: Column) -> None:
    first = {**display(text_plain="first"), "transient": {"display_id": "x"}}
    column.display(first)
    column.stream("stdout", "behind\n")
    column.display({**first, "data": {"text/plain": "last"}}, update=True)
    column.display({**first, "transient": {"display_id": "y"}}, update=True)
    assert column.plain() == "last\nbehind"
    column.clear()
    assert column.plain() == ""


def test_what_is_live_is_bounded_and_what_stays_is_whole(column: Column) -> None:
    for _ in range(100):
        column.stream("stdout", "x" * 1000)
    assert column.html(live=True).count("x") < LIVE_CHARS + 100
    assert column.html().count("x") >= 100_000


def test_columns_are_labelled_and_in_order() -> None:
    columns = [Column(name, NoStrip()) for name in ("image=b <1>", "a")]
    columns[1].stream("stdout", "text")
    assert re.findall(r"<th [^>]*>(.*?)</th>", table(columns)) == ["image=b &lt;1&gt;", "a"]
    assert text(columns) == "[image=b <1>]\n\n[a]\ntext"
