"""What a person sees of two versions of a file, content and names of which come from an attacker."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zlib
from html.parser import HTMLParser

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chorus_nb import difference as difference_package
from chorus_nb.difference import Budget, Difference, Report, Version, as_html, compare
from chorus_nb.difference.lines import changed_regions
from chorus_nb.difference.model import MAX_CHARACTERS, ChangeKind
from chorus_nb.difference.pictures import MAX_PIXELS, MAX_SIDE_PIXELS
from chorus_nb.difference.text import MAX_BYTES, MAX_LINE_CHARACTERS, MAX_SHOWN_LINES


def as_text(one: Difference, *, colours: bool = False) -> str:
    return difference_package.as_text(Report("", (one,)), colours=colours).removeprefix("\n\n")


def page(*some: Difference) -> str:
    return as_html(Report("", some))


def file(content: bytes, mode: int = 0o644) -> Version:
    return Version("file", mode, len(content), content, f"sha256:{hashlib.sha256(content).hexdigest()}")


def shown(before: bytes | None, after: bytes | None, path: str = "a.txt", budget: Budget | None = None) -> str:
    return as_text(difference(before, after, path, budget))


def difference(
    before: bytes | None, after: bytes | None, path: str = "a.txt", budget: Budget | None = None
) -> Difference:
    kind: ChangeKind = "created" if before is None else "deleted" if after is None else "modified"
    sides = [None if content is None else file(content) for content in (before, after)]
    return compare(kind, path, *sides, budget or Budget())


def test_text_is_a_unified_diff() -> None:
    before = b"".join(b"line %d\n" % n for n in range(1, 21))
    after = before.replace(b"line 3\n", b"line three\nand more\n").replace(b"line 19\n", b"")
    assert shown(before, after).splitlines() == [
        "modified: a.txt  (+2 -2)",
        "@@ -1,6 +1,7 @@",
        *(" line 1", " line 2", "-line 3", "+line three", "+and more", " line 4", " line 5", " line 6"),
        "@@ -16,5 +17,4 @@",
        *(" line 16", " line 17", " line 18", "-line 19", " line 20"),
    ]


def test_changes_that_are_close_are_one_hunk() -> None:
    before = b"".join(b"%d\n" % n for n in range(20))
    near = before.replace(b"5\n", b"five\n", 1).replace(b"\n12\n", b"\ntwelve\n")
    far = before.replace(b"5\n", b"five\n", 1).replace(b"\n13\n", b"\nthirteen\n")
    assert (shown(before, near).count("@@ -"), shown(before, far).count("@@ -")) == (1, 2)


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (None, b"a\nb\n", ["created: a.txt  (+2 -0)", "@@ -0,0 +1,2 @@", "+a", "+b"]),
        (b"a\n", None, ["deleted: a.txt  (+0 -1)", "@@ -1 +0,0 @@", "-a"]),
        (None, b"", ["created: a.txt"]),
        (b"a", b"a\n", ["modified: a.txt  (+1 -1)", "@@ -1 +1 @@", "-a", "\\ No newline at end of file", "+a"]),
        (b"a\r\nb\r\n", b"a\r\nc\r\n", ["modified: a.txt  (+1 -1)", "@@ -1,2 +1,2 @@", " a", "-b", "+c"]),
        (
            b"a\r\nb",
            b"c\r\nb",
            ["modified: a.txt  (+1 -1)", "@@ -1,2 +1,2 @@", "-a", "+c", " b", "\\ No newline at end of file"],
        ),
        (b"a\r\n", b"a\n", ["modified: a.txt  (+1 -1)", "@@ -1 +1 @@", "-a\\r", "+a"]),
        (
            b"a\x0cb\x85\n",
            b"a\x0cb\n",
            ["modified: a.txt  (+1 -1, Latin-1 -> UTF-8)", "@@ -1 +1 @@", "-a\\x0cb\\x85", "+a\\x0cb"],
        ),
        ("gr\u00fcn\n".encode("latin-1"), "gr\u00fcn\n".encode(), ["modified: a.txt  (Latin-1 -> UTF-8)"]),
        (
            "a\n".encode("utf-16"),
            "b\n".encode("utf-16"),
            ["modified: a.txt  (+1 -1, UTF-16)", "@@ -1 +1 @@", "-a", "+b"],
        ),
    ],
)
def test_ends_of_lines_and_encodings(before: bytes | None, after: bytes | None, lines: list[str]) -> None:
    assert shown(before, after).splitlines() == lines


HOSTILE = '\x1b]0;title\x07\x1b[2J\x9b31m \u202egnp.exe \u200b\x08 <script>alert(1)</script> $x$ & "q" \''


def test_nothing_hostile_reaches_a_terminal() -> None:
    after = f"{HOSTILE}\n".encode()
    text = as_text(
        compare("modified", f"a{HOSTILE}\n", file(b"x\n"), file(after), Budget(), source=HOSTILE), colours=True
    )
    ours = re.sub(r"\x1b\[(?:1|1;31|31|32|36|2|0)m", "", text)
    assert all(character.isprintable() or character == "\n" for character in ours)
    assert r"\x1b]0;title\x07" in text
    assert r"\u202egnp.exe \u200b\x08" in text, "what would not be seen is written out"
    assert len(text.splitlines()) == 4


class Elements(HTMLParser):
    """The elements and the text of markup."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.sources: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources += [value or "" for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_hostile_reaches_a_page() -> None:
    hostile = f'"><img src=x onerror=alert(1)>{HOSTILE}'
    after = f"{hostile}\n".encode()
    one = compare("modified", hostile, file(b"x\n"), file(after), Budget(), source=hostile, warning=hostile)
    link = compare("created", "l", None, Version("link", 0o777, 1, target=hostile), Budget())
    elements = Elements(as_html(Report(hostile, (one, link), (hostile,), hostile)))
    assert elements.names <= {"div", "p", "details", "summary", "b", "pre", "span"}
    assert elements.attributes <= {"class", "style", "open"}
    assert elements.text.count("onerror=alert(1)") == 8
    assert "mathjax_ignore" in page(one)


def test_a_long_line_is_shown_where_it_differs() -> None:
    before, after = b"x" * 3000 + b"OLD" + b"y" * 3000, b"x" * 3000 + b"NEW" + b"y" * 3000
    lines = shown(before + b"\n", after + b"\n").splitlines()
    assert "xOLDy" in lines[2]
    assert "xNEWy" in lines[3]
    assert all(len(line) < MAX_LINE_CHARACTERS + 60 for line in lines)
    assert lines[3].startswith("+[2,900 characters …] x")


def test_a_file_of_many_lines_is_cut_and_says_so() -> None:
    one = difference(None, b"".join(b"%d\n" % n for n in range(MAX_SHOWN_LINES + 500)))
    assert one.body.added == MAX_SHOWN_LINES + 500
    assert len(one.body.lines) == MAX_SHOWN_LINES + 1
    assert one.body.lines[-1].text == f"… 501 more lines: of one file {MAX_SHOWN_LINES} are shown"


def test_all_together_have_a_limit() -> None:
    budget = Budget()
    some = [difference(None, b"y" * 300 + b"\n" * 300, f"{n}", budget) for n in range(3)]
    budget.characters = 100
    assert "that is enough" in as_text(difference(None, b"long enough to be too much\n" * 10, budget=budget))
    assert "not compared" in as_text(difference(None, b"more\n", budget=budget))
    assert sum(len(line.text) for one in some for line in one.body.lines) < MAX_CHARACTERS


def test_what_is_too_large_or_binary_is_known_by_size_and_digest() -> None:
    lines = shown(b"\0" * 10, b"\0" * 1234, "a.bin").splitlines()
    assert lines[0] == "modified: a.bin  (binary)"
    assert lines[1] == f"-10 bytes, sha256:{hashlib.sha256(bytes(10)).hexdigest()}"
    assert lines[2] == f"+1,234 bytes, sha256:{hashlib.sha256(bytes(1234)).hexdigest()}"
    assert "larger than 1 MiB" in shown(None, b"a\n" * MAX_BYTES)
    huge = compare("modified", "a", file(b""), Version("file", 0o644, 2**62), Budget())
    assert f"+{2**62:,} bytes, too large for a digest" in as_text(huge)


def test_modes_renames_links_folders_and_what_is_no_file() -> None:
    budget = Budget()
    same = file(b"same\n")
    told = [
        compare("mode", "run", same, file(b"same\n", 0o4755), budget),
        compare("renamed", "new", same, same, budget, source="old"),
        compare("created", "l", None, Version("link", 0o777, 3, target="../x"), budget),
        compare("modified", "l", Version("link", 0o777, 3, target="a"), same, budget),
        compare("created", "d", None, Version("directory", 0o755, 0), budget),
        compare("created", "p", None, Version("other", 0o644, 0), budget),
        compare("created", "s", None, file(b"", 0o755), budget),
    ]
    assert [as_text(one).splitlines() for one in told] == [
        ["mode: run  (mode 644 -> 4755)"],
        ["renamed: old -> new"],
        ["created: l  (+1 -0, symbolic link)", "@@ -0,0 +1 @@", "+../x"],
        ["modified: l  (+1 -1, symbolic link)", "@@ -1 +1 @@", "-a", "+same"],
        ["created: d  (folder)"],
        ["created: p  (no regular file)"],
        ["created: s  (executable)"],
    ]


def image(colour: str, size: tuple[int, int], image_format: str = "PNG") -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", size, colour).save(encoded, image_format)
    return encoded.getvalue()


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_images_stand_side_by_side_decoded_and_made_small(image_format: str) -> None:
    after = image("blue", (800, 200), image_format) + b"<script>alert(1)</script>"
    one = difference(image("red", (40, 30), image_format), after, "a.PNG")
    elements = Elements(page(one))
    assert f"before: {image_format}, 40 × 30 pixels" in elements.text
    assert f"after: {image_format}, 800 × 200 pixels" in elements.text
    pictures = [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in elements.sources]
    assert b"script" not in pictures[1]
    shown = [Image.open(io.BytesIO(picture)) for picture in pictures]
    assert [each.size for each in shown] == [(40, 30), (MAX_SIDE_PIXELS, MAX_SIDE_PIXELS // 4)]
    assert shown[1].convert("RGB").getpixel((5, 5))[2] > 200
    assert f"{image_format}, 40 × 30 pixels -> {image_format}, 800 × 200 pixels" in as_text(one)


def bomb() -> bytes:
    """A PNG that claims more pixels than may be, in a few bytes."""
    side = int(MAX_PIXELS**0.5) + 1
    body = b"IHDR" + side.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


@pytest.mark.parametrize("content", [b"\0no image", image("red", (9, 9))[:45], bomb(), image("red", (9, 9), "TIFF")])
def test_what_is_no_image_or_too_large_a_one_is_binary(content: bytes) -> None:
    one = difference(None, content, "a.png")
    assert one.pictures == (None, None)
    assert "sha256" in as_text(one)


def test_a_drawing_is_an_image_and_its_source_is_compared() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>\n'
    one = difference(None, svg.encode(), "a.svg")
    elements = Elements(page(one))
    assert elements.sources[0].startswith("data:image/svg+xml;base64,")
    assert "svg" not in elements.names
    assert f"+{svg.strip()}" in as_text(one)


def notebook(*sources: str) -> bytes:
    cells = [nbformat.v4.new_code_cell(source, id=f"cell-{n}") for n, source in enumerate(sources)]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells)).encode()


def test_notebooks_are_compared_by_their_cells() -> None:
    text = shown(notebook("a = 1\nb = 2", "c\x1b[31m"), notebook("a = 1\nb = 3", "c\x1b[31m", "new"), "a.ipynb")
    assert text.startswith("modified: a.ipynb  (+")
    assert "notebook" in text.splitlines()[0]
    assert "-  b = 2\n+  b = 3" in text
    assert '"cell_type"' not in text
    assert "\x1b" not in text


def test_a_notebook_whose_cells_are_the_same_is_text() -> None:
    before = notebook("a = 1")
    assert "+ \n" in shown(before, before.replace(b"\n}", b"\n \n}"), "a.ipynb")


@pytest.mark.parametrize("content", [b'"cells"' + b"[" * 100_000, b'{"cells": 3, "nbformat": 4}', b"no notebook\n"])
def test_what_is_no_notebook_is_text(content: bytes) -> None:
    text = shown(notebook("a = 1"), content, "a.ipynb")
    assert '-   "cell_type": "code",' in text


TEXTS = st.lists(st.sampled_from("abcde"), max_size=14)


@given(TEXTS, TEXTS)
def test_what_is_between_two_regions_is_the_same(old: list[str], new: list[str]) -> None:
    i = j = 0
    for region in changed_regions(old, new, Budget()):
        assert old[i : region.old_start] == new[j : region.new_start]
        assert region.old_start < region.old_end or region.new_start < region.new_end
        i, j = region.old_end, region.new_end
    assert old[i:] == new[j:]


def test_lines_that_are_made_to_take_long_use_up_the_budget_and_no_more() -> None:
    budget = Budget()
    old, new = list("abcb" * 20_000), list("acbbca" * 12_000)
    assert len(changed_regions(old, new, budget)) == 1
    assert -(len(old) + len(new)) < budget.steps < 0
