"""References of an output to files of the sandbox: what is put in their place, and what stays as it is."""

from __future__ import annotations

import base64
import math
import re
import threading
import time
import tracemalloc
import weakref
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from posixpath import normpath
from types import SimpleNamespace
from typing import cast

import pytest
from conftest import wait_until

from chorus_nb import file_references
from chorus_nb.agent.wire import Message
from chorus_nb.config import OutputPolicy
from chorus_nb.displayed import MAX_FILES, MAX_LINK_BYTES, DisplayedFiles, Inserter, NotShownError, held_outputs
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import AgentProtocolError
from chorus_nb.file_kinds import image_type, media_type, page_of
from chorus_nb.held_outputs import HeldOutputs
from chorus_nb.in_order import MAX_WAITING, InOrder
from chorus_nb.late import LateOutput
from chorus_nb.markup import boxed_html, inline_html
from chorus_nb.outputs import OutputFilter
from chorus_nb.page import OutputPage
from chorus_nb.page_files import MAX_CHARACTERS, style_with_files, with_files
from chorus_nb.sandbox import Sandbox
from chorus_nb.sanitize import clean_markdown
from chorus_nb.session import Session

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
MP4 = b"\0\0\0\x18ftypmp42" + bytes(20)
WAV = b"RIFF\0\0\0\0WAVEfmt "
FILES = {
    "plot.png": PNG,
    "a b&c.png": PNG,
    "/tmp/plot.png": PNG,
    "drawing.svg": SVG,
    "film.mp4": MP4,
    "sound.wav": WAV,
    "table.csv": b"a,b\n1,2\n",
    "report/index.html": b"<h1>Report</h1><img src='plot.png'><iframe src='index.html'></iframe>",
    "report/plot.png": PNG,
    "report/style.css": b"h1 { color: teal }",
    "report/lib/page.js": b"document.title = 'ran'",
    "notes.txt": b"1 < 2",
    "binary": bytes(range(256)),
    "page.png": b"<script>alert(1)</script>",
    "big.bin": bytes(MAX_LINK_BYTES + 1),
}
DATA = {name: base64.b64encode(data).decode() for name, data in FILES.items()}


class Files:
    """A sandbox's files, and which of them were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, path: str, max_bytes: int) -> bytes | None:
        self.asked.append(path)
        data = FILES.get(normpath(path))
        if data is not None and len(data) > max_bytes:
            raise NotShownError(path)
        return data


def inserted(html: str, room_bytes: int = 2**24) -> str:
    return Inserter(Files(), room_bytes).html(html)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<img src="plot.png">', f'<img src="data:image/png;base64,{DATA["plot.png"]}">'),
        ("<p><img width=5 src=plot.png />", f'<p><img width=5 src="data:image/png;base64,{DATA["plot.png"]}" />'),
        ('<img src="/tmp/plot.png">', f'<img src="data:image/png;base64,{DATA["plot.png"]}">'),
        ('<img src="plot.png?v=2#x">', f'<img src="data:image/png;base64,{DATA["plot.png"]}">'),
        ('<img src="a%20b&amp;c.png">', f'<img src="data:image/png;base64,{DATA["plot.png"]}">'),
        ("<img src='drawing.svg'>", f'<img src="data:image/svg+xml;base64,{DATA["drawing.svg"]}">'),
        (
            '<video src="film.mp4" controls>no</video>',
            f'<video src="data:video/mp4;base64,{DATA["film.mp4"]}" controls>no</video>',
        ),
        (
            '<audio><source src="sound.wav"/></audio>',
            f'<audio><source src="data:audio/wav;base64,{DATA["sound.wav"]}"/></audio>',
        ),
    ],
)
def test_what_is_shown_takes_the_place_of_its_name(html: str, expected: str) -> None:
    assert inserted(html) == expected


def test_a_link_becomes_a_download_that_may_stand_in_the_page() -> None:
    html = inserted("<a href='table.csv' target='_blank'>table.csv</a><br>")
    shown = inline_html(html)
    assert shown is not None
    assert f'href="data:application/octet-stream;base64,{DATA["table.csv"]}"' in shown
    assert 'download="table.csv"' in shown
    assert ">table.csv</a>" in shown


@pytest.mark.parametrize("name", ["plot.png", "drawing.svg"])
def test_a_picture_stands_in_the_page(name: str) -> None:
    shown = inline_html(inserted(f'<img src="{name}">'))
    assert shown is not None
    assert DATA[name] in shown
    assert "onload" not in shown


def test_a_page_comes_with_its_own_pictures_into_a_frame_of_its_own() -> None:
    html = inserted('<iframe width="700" src="report/index.html" frameborder="0"></iframe>')
    assert html.startswith('<iframe width="700" sandbox="allow-scripts" srcdoc="&lt;h1&gt;Report')
    assert DATA["plot.png"] in html
    assert "&lt;iframe src=&#x27;index.html&#x27;" in html, "no pages within pages: they could hold each other"
    assert inline_html(html) is boxed_html(html) is None, "it never stands in the page itself"


def page(source: str, room_bytes: int = 2**20, folder: str = "") -> str:
    """Return a page of the folder ``report`` as its frame has it."""
    FILES["report/it.html"] = source.encode()
    html = Inserter(Files(), room_bytes, folder=folder).html("<iframe src='report/it.html'></iframe>")
    srcdoc = re.search(r'srcdoc="([^"]*)"', html)
    assert srcdoc
    return unescape(srcdoc[1])


def test_a_page_comes_with_its_style_sheets_and_scripts() -> None:
    shown = page(
        "<!doctype html>\n<title>Ä</title>\n<LINK REL='Alternate StyleSheet' href=style.css data-x='a&amp;\"b'>\r\n"
        "<script defer src='lib/page.js?v=1'></script><audio src=../sound.wav controls></audio>"
        "<video><source src='../film.mp4'/></video><img alt='a > b' src=plot.png>"
    )
    assert "<!doctype html>\n<title>Ä</title>\n<link" in shown
    css, js = DATA["report/style.css"], DATA["report/lib/page.js"]
    assert f'<link data-x="a&amp;&quot;b" href="data:text/css;base64,{css}" rel="Alternate StyleSheet">\r\n' in shown
    assert f'<script src="data:text/javascript;base64,{js}" defer></script>' in shown
    assert f'<audio controls src="data:audio/wav;base64,{DATA["sound.wav"]}">' in shown
    assert f'<source src="data:video/mp4;base64,{DATA["film.mp4"]}"></video>' in shown
    assert f'<img src="data:image/png;base64,{DATA["plot.png"]}" alt="a &gt; b">' in shown


def css_in(shown: str, name: str) -> str:
    """Return the style sheet that stands where one of this name is linked or imported, in a page or another one."""
    found = re.search(rf"{name}data:text/css;base64,([A-Za-z0-9+/=]+)", shown)
    assert found
    return base64.b64decode(found[1]).decode()


def test_style_sheets_bring_what_they_name() -> None:
    picture, font = f'url("data:image/png;base64,{DATA["plot.png"]}")', b"wOF2" + bytes(4)
    FILES["report/lib/a.css"] = b"@import 'b.css' screen; h1 { background: url( ../plot.png?v=1 ) }"
    FILES["report/lib/b.css"] = (
        b"@IMPORT url(a.css); /* url(x) */ @font-face { src: url('f.woff2#x') } i { c: 'url(x)' }"
    )
    FILES["report/lib/f.woff2"] = font
    shown = page(
        "<link rel=stylesheet href=lib/a.css><style>p { background: url(plot.png), url(missing.png) }</style>"
        "<svg><rect style='fill: url(#here)'/><rect style='fill: url(plot.png)'/></svg><img src=plot.png srcset='x 2x'>"
    )
    first = css_in(shown, 'href="')
    assert first.endswith(f" screen; h1 {{ background: {picture} }}")
    second = css_in(first, 'url."')
    assert f'src: url("data:font/woff2;base64,{base64.b64encode(font).decode()}")' in second
    assert "/* url(x) */" in second
    assert "c: 'url(x)'" in second
    assert css_in(second, 'url."').startswith("@import"), "two that import each other do so a few times"
    assert f"<style>p {{ background: {picture}, url(missing.png) }}</style>" in shown
    assert "<rect style='fill: url(#here)'/>" in shown
    assert f'<rect style="fill: {picture.replace(chr(34), "&quot;")}"/></svg>' in shown
    assert "srcset" not in shown, "a browser would take that for a large screen"


@pytest.mark.parametrize(
    "css", ["url(" * 10**5, "'" * 10**5, "/*" * 10**5, "@import " * 10**5, ("url(" + " " * 20) * 10**4]
)
def test_a_style_sheet_that_never_ends_stays_and_takes_no_quadratic_time(css: str) -> None:
    begun_s = time.monotonic()
    assert style_with_files(css, lambda *_: "data:,") == css
    assert time.monotonic() - begun_s < 30


@pytest.mark.parametrize(
    "source",
    [
        "<style>h1 { background: url(plot.png)",
        "<p style='background: url(missing.png)'>x</p><style>@import 'https://example.org/x.css'</style>",
        "<p>text < text</p><link rel=icon href=plot.png><link href=style.css>",
        "<script>x = '<img src=plot.png>'</script><style>a::after { content: '<img src=plot.png>' }</style>",
        "<!-- <img src=plot.png> --><script src=https://example.org/x.js></script><img src='data:image/png,x'>",
        "<iframe src=it.html></iframe><object data=plot.png></object><img src=missing.png><img src>",
        "<script src=../missing.js></script><img src=style.css><img src=",
    ],
)
def test_the_rest_of_a_page_stays_as_it_is(source: str) -> None:
    assert page(source) == source


@pytest.mark.parametrize("broken", ["<![x[ y", f"<b title='&#{'9' * 5000};'>", "<!x", "</", "<img src="])
def test_what_the_parser_can_not_take_is_shown_as_it_is(broken: str) -> None:
    assert page(f"<p>{broken}") == f"<p>{broken}"


def test_a_reference_without_end_names_no_file() -> None:
    endless = f"&#{'9' * 5000};"
    assert inserted(f"<img src='{endless}'>") == f"<img src='{endless}'>"
    assert inline_html(f"<b title='{endless}'>x</b>") is None
    assert clean_markdown(f"a {endless}") is not None
    assert clean_markdown(f"a &#{'0' * 5000}60;b>") is None, "it is '<' to a browser"


def test_all_that_a_page_names_stays_within_the_bounds_of_the_output() -> None:
    shown = page("<img src=plot.png>" * 10, room_bytes=330)
    assert 0 < shown.count("data:") < 10
    assert "<p>report/plot.png (larger than can be shown here; <code>%sandbox get report/plot.png .</code> cop" in shown
    files = Files()
    FILES["report/it.html"] = b"<script src=x.js></script>" * 50
    Inserter(files, 2**20).html("<iframe src='report/it.html'></iframe>" * 50)
    assert len(files.asked) == MAX_FILES, "of all pages together"


def test_a_page_that_takes_the_parser_long_is_shown_as_it_is() -> None:
    source = "<!--<img src=plot.png>" * 50_000
    assert with_files(source, lambda *_: "data:,", time.monotonic()) == source
    longest = "<img src=plot.png>" + " " * MAX_CHARACTERS
    assert with_files(longest, lambda *_: "data:,", math.inf) == longest


def test_relative_names_begin_where_the_cell_was() -> None:
    FILES["/tmp/report/plot.png"] = PNG
    assert DATA["plot.png"] in Inserter(Files(), 2**20, folder="/tmp").html("<img src='report/plot.png'>")
    assert DATA["plot.png"] in Inserter(Files(), 2**20, folder="/tmp/report").html("<img src='/tmp/plot.png'>")
    FILES["/tmp/report/it.html"] = b"<img src=plot.png>"
    html = Inserter(Files(), 2**20, folder="/tmp").html("<iframe src='report/it.html'></iframe>")
    assert DATA["plot.png"] in html


def test_other_files_in_a_frame() -> None:
    assert "&lt;pre&gt;1 &amp;lt; 2&lt;/pre&gt;" in inserted('<iframe src="notes.txt"></iframe>')
    assert DATA["plot.png"] in inserted('<iframe src="plot.png"></iframe>')
    said = "binary (neither a page nor a picture nor text; <code>%sandbox get binary .</code> copies it)"
    assert inserted('<iframe src="binary"></iframe>') == said


@pytest.mark.parametrize(
    "html",
    [
        '<img src="https://example.org/x.png"><a href="HTTP://example.org">x</a>',
        '<img src="data:image/png;base64,AAAA"><a href="#top">x</a><a href="mailto:a@b">y</a>',
        '<img src="//example.org/plot.png"><a href="javascript:alert(1)">x</a>',
        "<script>x = '<img src=\"plot.png\">'</script>",
        '<!-- <img src="plot.png"> --><style>a { b: "<img src=plot.png>" }</style>',
        '<script>never ends <img src="plot.png">',
        '<img alt="plot.png">',
        "src= and href= in text",
    ],
)
def test_what_names_no_file_is_not_looked_up(html: str) -> None:
    files = Files()
    assert Inserter(files, 2**20).html(html) == html
    assert files.asked == []


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ('<img src="missing.png">', "missing.png (no file of the sandbox that can be read)"),
        ('<iframe src="a&lt;b.html"></iframe>', "a&lt;b.html (no file of the sandbox that can be read)"),
        ('<img src="page.png">', "page.png (no picture that browsers know)"),
        ('<video src="notes.txt">x</video>', "notes.txt (neither a film nor a sound that browsers know)"),
    ],
)
def test_what_is_not_there_or_something_else_is_said(html: str, said: str) -> None:
    """The frame would say that the network is off, and name the address of the Jupyter server."""
    assert inserted(f"<p>{html}</p>") == f"<p>{said}</p>"
    assert inline_html(f"<p>{said}</p>") is not None


def test_words_for_a_picture_stand_in_the_link_around_it() -> None:
    shown = inserted("<a href='table.csv'><img src='missing.png'></a>")
    assert shown.endswith(' download="table.csv">missing.png (no file of the sandbox that can be read)</a>')


def test_a_film_of_several_sources_shows_the_one_that_is_there() -> None:
    shown = inserted("<video><source src='missing.webm'><source src='film.mp4'></video>")
    assert (
        shown == f"<video><source src='missing.webm'><source src=\"data:video/mp4;base64,{DATA['film.mp4']}\"></video>"
    )


@pytest.mark.parametrize("html", ['<a href="../docs">x</a>', '<img src="missing.png" onerror="this.remove()">'])
def test_what_may_mean_something_else_stays(html: str) -> None:
    assert inserted(html) == html


def test_what_is_too_large_is_said_with_the_command_that_copies_it() -> None:
    link = inserted("<a href='big.bin' target='_blank'>big.bin</a><br>")
    assert link == "big.bin (larger than can be shown here; <code>%sandbox get big.bin .</code> copies it)<br>"
    assert inserted('<img src="plot.png">', room_bytes=20).startswith("plot.png (larger than")
    film = inserted('a <video src="film.mp4" controls>Not supported.</video> b', room_bytes=20)
    assert film == "a film.mp4 (larger than can be shown here; <code>%sandbox get film.mp4 .</code> copies it) b"
    other = Inserter(Files(), 20, session="other").html('<img src="plot.png">')
    assert "<code>%sandbox get plot.png . --session other</code>" in other


def test_all_together_stay_within_the_room() -> None:
    shown = inserted('<img src="plot.png">' * 10, room_bytes=100)
    assert shown.count("data:") == 2
    assert shown.count("larger than") == 8


def test_lookups_are_bounded() -> None:
    files = Files()
    Inserter(files, 2**24).html('<a href="missing">x</a>' * 1000)
    assert len(files.asked) == MAX_FILES


def test_markdown_shows_its_pictures() -> None:
    source = "# Title\n![the *plot*](plot.png) and ![](drawing.svg), not ![x](missing.png)"
    whole = Inserter(Files(), 2**20).markdown(source)
    assert f"![the *plot*](data:image/png;base64,{DATA['plot.png']})" in whole
    assert f"![](data:image/svg+xml;base64,{DATA['drawing.svg']})" in whole
    assert DATA["plot.png"] in Inserter(Files(), 2**20).markdown('![a](plot.png "A title")')
    for shown_as_source in ("![a](plot.png) <b>x</b>", "![a](plot.png) [b](table.csv)"):
        assert Inserter(Files(), 2**20).markdown(shown_as_source) == shown_as_source, "and not as base64"
    assert "not (missing.png: no file of the sandbox that can be read)" in whole
    assert clean_markdown(whole) == whole
    assert clean_markdown(f"{whole}![x](missing.png)") is None, "that would lead to the server"
    said = "(plot.png: larger than can be shown here; `%sandbox get plot.png .` copies it)"
    assert Inserter(Files(), 10).markdown("![p](plot.png)") == said
    assert clean_markdown(said) == said


PICTURE = "(data:image/png;base64,AAAA)"


@pytest.mark.parametrize(
    "source",
    [
        f"![<img onerror=x>]{PICTURE}",
        f"[![x]{PICTURE}](javascript:alert)",
        "![x](data:image/png,<svg>)",
        "![x](data:text/html;base64,AAAA)",
        f"![$\\href{{javascript:x}}{{y}}]{PICTURE}$",
        f'![$]{PICTURE} $"$',
        f"[a]![b]{PICTURE}(plot.png)[c](plot.png)",
    ],
)
def test_pictures_in_markdown_hide_nothing_else(source: str) -> None:
    assert clean_markdown(source) is None


@pytest.mark.parametrize("name", ["../x", "a\\b", "a\u202eb", "a\nb"])
def test_a_download_has_the_name_of_one_file(name: str) -> None:
    shown = inline_html(f'<a href="data:application/octet-stream;base64,AAAA" download="{name}">x</a>')
    assert shown is None or "download" not in shown


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/octet-stream;x=y", "application/pdf"])
def test_no_other_data_is_a_link(kind: str) -> None:
    assert inline_html(f'<a href="data:{kind};base64,AAAA" download="x">x</a>') is None


def test_kinds_are_told_by_content() -> None:
    assert image_type(PNG) == "image/png"
    assert image_type(b"<?xml version='1.0'?>\n<!-- x --><svg/>") == "image/svg+xml"
    assert image_type(b"<html><svg></svg>") is image_type(b"") is None
    assert media_type(MP4, "audio") == "audio/mp4"
    assert media_type(b"OggS", "video") == "video/ogg"
    assert media_type(WAV, "video") == "audio/wav"
    assert media_type(b"ID3", "audio") == "audio/mpeg"
    assert media_type(b"text", "video") is None
    assert page_of("\ufeff<p>é".encode()) == "<p>é"
    assert page_of(b"a\0b") is page_of(b"\xff\xfe") is None


@pytest.mark.parametrize(
    "html", ["<a href=x" * 300_000, '<a href="x">' * 200_000, "<video src=x>" * 200_000, "<script" * 500_000]
)
def test_what_is_made_to_take_long_does_not(html: str) -> None:
    began_s = time.monotonic()
    inserted(html)
    assert time.monotonic() - began_s < 40


class Attributes:
    """Adds up what is searched."""

    def __init__(self) -> None:
        self.characters = 0

    def finditer(self, html: str, start: int, end: int) -> Iterator[re.Match[str]]:
        self.characters += end - start
        return ATTRIBUTE.finditer(html, start, end)

    def search(self, tag: str) -> re.Match[str] | None:
        return ATTRIBUTE.search(tag)


ATTRIBUTE = file_references.ATTRIBUTE


@pytest.mark.parametrize("element", ["<a x>" * 380 + "</a>", "<a href='#' x>" * 140 + "<a x href=y></a>"])
def test_elements_that_hold_each_other_are_searched_once(monkeypatch: pytest.MonkeyPatch, element: str) -> None:
    """Each tag had its own two thousand characters searched: for a minute, with ten MiB of such."""
    attributes = Attributes()
    monkeypatch.setattr(file_references, "ATTRIBUTE", attributes)
    html = "src=" + element * 20
    assert inserted(html) == html
    assert len(html) / 2 < attributes.characters <= len(html)


def test_tags_are_looked_at_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_references, "MAX_TAGS", 3)
    shown = inserted("<a x></a>" * 2 + "<img src=plot.png>" * 2)
    assert shown.count(DATA["plot.png"]) == 1
    assert shown.endswith("<img src=plot.png>")


@pytest.fixture
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On the fake engine a cell writes where the test runs."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_in_a_folder_of_its_own")
def test_a_sandbox_shows_its_files() -> None:
    code = f"""
import os
from IPython.display import FileLink, HTML, Image, Markdown, display
open("plot.png", "wb").write({PNG!r})
open("table.csv", "wb").write(b"a,b")
display(Image(url="plot.png"), FileLink("table.csv"), Markdown("![](plot.png)"), HTML("<img src='/etc/hostname'>"))
"""
    with Sandbox(engine=FakeEngine(), repo="none") as sandbox:
        outputs = [output.data for output in sandbox.run(code).outputs]
    with Sandbox(engine=FakeEngine(), repo="none", output="text") as sandbox:
        text = str(sandbox.run(code).outputs)
    assert DATA["plot.png"] in outputs[0]["text/html"]
    assert "YSxi" in outputs[1]["text/html"]
    assert DATA["plot.png"] in outputs[2]["text/markdown"]
    assert "data:" not in text


@pytest.mark.usefixtures("_in_a_folder_of_its_own")
def test_a_cell_that_has_gone_elsewhere_shows_what_is_there(tmp_path: Path) -> None:
    code = f"""
import os
from IPython.display import Image, display
os.mkdir("elsewhere")
os.chdir("elsewhere")
open("plot.png", "wb").write({PNG!r})
display(Image(url="plot.png"))
os.chdir("..")
display(Image(url="plot.png"), Image(url="elsewhere/plot.png"))
os.chdir("elsewhere")
"""
    with Sandbox(engine=FakeEngine(), repo="none") as sandbox:
        shown = [DATA["plot.png"] in str(output.data) for output in sandbox.run(code).outputs]
        result = sandbox.run("Image(url='plot.png')").result
        lost = sandbox.run("os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); Image(url='plot.png')").result
    assert shown == [True, False, True]
    assert result is not None
    assert DATA["plot.png"] in result.data["text/html"]
    assert lost is not None
    assert "image/png" not in str(lost.data), "in a folder that is no more there is nothing to show"


@pytest.mark.parametrize("folder", ["relative", "/x\0y", "/" + "x" * 5000, 7, ["/tmp"], None])
@pytest.mark.usefixtures("_in_a_folder_of_its_own")
def test_what_is_no_folder_is_not_looked_at(folder: object) -> None:
    message = Message(
        "display_data",
        {"data": {"text/html": "<img src='plot.png'>"}, "metadata": {}},
        metadata={"working_dir": folder},
    )
    with Sandbox(engine=FakeEngine(), repo="none") as sandbox:
        sandbox.files.write("plot.png", PNG)
        whole = DisplayedFiles(sandbox._session).put_into(message, 2**20)
    assert DATA["plot.png"] in str(whole), "it counts from where the cells begin"


@pytest.mark.usefixtures("_in_a_folder_of_its_own")
def test_what_an_output_widget_is_to_hold_has_its_files() -> None:
    picture = {"output_type": "display_data", "data": {"text/html": "<img src='plot.png'>"}, "metadata": {}}
    text = {"output_type": "stream", "name": "stdout", "text": "x"}

    def message(msg_type: str, **data: object) -> Message:
        return Message(msg_type, {"comm_id": "1", "data": data})

    state = {"outputs": [text, picture, "no output"], "msg_id": ""}
    with Sandbox(engine=FakeEngine(), repo="none") as sandbox:
        sandbox.files.write("plot.png", PNG)
        files = DisplayedFiles(sandbox._session)
        for named in (message("comm_open", state=state), message("comm_msg", method="update", state=state)):
            assert files.are_named_in(named)
            whole = files.put_into(named, 2**20).content["data"]["state"]
            assert whole["outputs"][0] == text
            assert DATA["plot.png"] in whole["outputs"][1]["data"]["text/html"]
            assert whole["outputs"][2] == "no output"
    others = [
        message("comm_msg", method="echo_update", state=state),
        message("comm_msg", method="update", state={"outputs": "plot.png"}),
        message("comm_msg", method="custom", content=state),
        message("comm_close"),
        Message("comm_msg", {"data": "x"}),
    ]
    assert not any(map(files.are_named_in, others))


@pytest.mark.usefixtures("_in_a_folder_of_its_own")
def test_what_an_output_widget_holds_stays_as_it_was() -> None:
    def picture(**more: object) -> dict[str, object]:
        return {"output_type": "display_data", "data": {"text/html": "<img src='plot.png'>"}, **more}

    def update(*outputs: object) -> Message:
        data = {"method": "update", "state": {"outputs": list(outputs)}}
        return Message("comm_msg", {"comm_id": "1", "data": data})

    def shown(message: Message) -> list[str]:
        return [str(output) for output in held_outputs(message)]

    with Sandbox(engine=FakeEngine(), repo="none") as sandbox:
        sandbox.files.write("plot.png", PNG)
        held = HeldOutputs(DisplayedFiles(sandbox._session), 2**20)
        first = shown(held.with_files(update(picture())))
        assert DATA["plot.png"] in first[0]
        assert not held.name_files(update(picture()))
        sandbox.files.write("plot.png", PNG + b"new")
        both = update(picture(), picture(metadata={}))
        assert held.name_files(both)
        then = shown(held.with_files(both))
        assert then[0] == first[0]
        assert base64.b64encode(PNG + b"new").decode() in then[1]
        again = shown(held.with_files(update(picture(metadata={}))))
        assert again == then[1:], "what has moved is looked up anew"
        assert held.with_files(update()) == update()


def test_what_is_remembered_of_output_widgets_is_bounded() -> None:
    """Of each of eight widgets it was sixteen MiB of JSON, which are twenty times as much as objects."""
    files = DisplayedFiles(cast(Session, SimpleNamespace(name="default", request=lambda *_: Message("file_reply"))))
    held = HeldOutputs(files, 2**20)
    tracemalloc.start()
    try:
        for number in range(8):
            outputs = [{"data": {"text/html": "<img src=x>", "text/plain": [[] for _ in range(200_000)]}}]
            data = {"method": "update", "state": {"outputs": outputs}}
            held.with_files(Message("comm_msg", {"comm_id": str(number), "data": data}))
        del outputs, data
        assert tracemalloc.get_traced_memory()[0] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_what_waits_for_files_holds_up_those_behind_it_and_nobody_else() -> None:
    taken: list[str] = []
    may_go = threading.Event()

    def take(message: Message) -> None:
        if message.msg_type == "malformed":
            raise AgentProtocolError("It is.", next_step="None.")
        if message.msg_type == "slow":
            assert may_go.wait(20)
        taken.append(message.content["name"])

    queue = InOrder(lambda message: message.msg_type == "slow", take)
    for msg_type, name in (("quick", "a"), ("slow", "b"), ("quick", "c"), ("slow", "d"), ("quick", "e")):
        queue.put(Message(msg_type, {"name": name}), may_wait=False)
    assert taken == ["a"]
    may_go.set()
    queue.put(Message("slow", {"name": "f"}), may_wait=True)
    assert taken == ["a", "b", "c", "d", "e", "f"]
    queue.put(Message("quick", {"name": "g"}), may_wait=False)
    assert taken[-1] == "g", "at once again"
    queue.put(Message("malformed", {"name": "x"}), may_wait=True)
    queue.put(Message("slow", {"name": "after it"}), may_wait=False)
    queue.put(Message("quick", {"name": "last"}), may_wait=True)
    assert taken[-2:] == ["after it", "last"]
    may_go.clear()
    for _ in range(3 * MAX_WAITING):
        queue.put(Message("slow", {"name": "h"}), may_wait=False)
    may_go.set()
    queue.put(Message("quick", {"name": "i"}), may_wait=True)
    assert taken.count("h") <= MAX_WAITING + 1
    assert taken[-1] == "i"


@pytest.mark.usefixtures("_in_a_folder_of_its_own")
def test_files_of_late_output_come_in_order_and_hold_up_nobody() -> None:
    code = f"""
import threading, time
open("plot.png", "wb").write({PNG!r})
def later():
    while not os.path.exists("go"): time.sleep(0.02)
    print("first ", flush=True)
    display({{"text/html": "<img src='plot.png'>", "text/plain": "x"}}, raw=True)
    print(" last", flush=True)
import os
threading.Thread(target=later).start()
"""
    shown: list[Message] = []
    with Sandbox(engine=FakeEngine(), repo="none") as sandbox:
        session = sandbox._session
        session.execute(code, on_message=shown.append, on_late=shown.append)
        sandbox.files.write("go", b"")
        give_up_at_s = time.monotonic() + 20
        while "last" not in str(shown) and time.monotonic() < give_up_at_s:
            time.sleep(0.02)
    text = "".join(message.content.get("text", message.msg_type) for message in shown)
    assert text.split() == ["first", "display_data", "last"]
    assert DATA["plot.png"] in str(shown)


def test_what_waits_behind_malformed_late_output_is_not_kept() -> None:
    """It was, for as long as the session: up to sixteen MiB of JSON for each of its cells."""
    malformed = Message("execute_result", {"data": {"text/html": "<img src=x>"}}, "cell")
    is_asked, may_answer = threading.Event(), threading.Event()

    def request(*_: object) -> Message:
        is_asked.set()
        may_answer.wait(60)
        return Message("file_reply")

    files = DisplayedFiles(cast(Session, SimpleNamespace(name="default", request=request)))
    outputs = OutputFilter(OutputPolicy(), OutputPage(display_prefix="", session="default"), files=files)
    late = LateOutput()
    with late.of("cell", outputs, lambda _: None):
        pass
    behind = [Message("stream", {"name": "stdout", "text": "x"}, "cell") for _ in range(2)]
    kept = [weakref.ref(each) for each in behind]
    assert late.take(malformed)
    assert is_asked.wait(60)
    assert late.take(behind.pop())
    may_answer.set()
    wait_until(lambda: kept[1]() is None, 60)
    assert late.take(behind.pop())
    assert kept[0]() is None
