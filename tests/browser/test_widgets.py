"""Widgets of a sandbox as a person meets them in JupyterLab: they show, move, react, come back, and harm nobody."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from .conftest import NotebookFactory
from .containers import make_file
from .lab import NotebookPage
from .test_hostile_output import OVERLAID, areas, attack, calls, read_vectors  # noqa: F401  (calls is a fixture)

SLIDER = """%%sandbox
import ipywidgets as widgets
slider = widgets.IntSlider(description="speed", value=10)
echo = widgets.Label("not moved")
slider.observe(lambda change: setattr(echo, "value", f"now {change.new}"), "value")
display(slider, echo)
"""

# What a hostile widget would do to the page, were it let.
MARK = "window.hacked = (window.hacked || 0) + 1"
HOSTILE = rf"""%%sandbox
import ipywidgets as w
from ipywidgets import Layout
bad = "<img src=x onerror='{MARK}'><script>{MARK}</script><svg onload='{MARK}'>"
bad += "<iframe srcdoc='<script>parent.{MARK}</script>'>"
tex = r"$\href{{javascript:{MARK}}}{{x}} \style{{position:fixed;inset:0}}{{y}}$"
shown = []
def show(kind, **state):
    try:
        shown.append(kind(**state))
    except Exception as error:
        print(kind.__name__, error)
def force(widget, **state):
    widget.comm.send({{"method": "update", "state": state, "buffer_paths": []}})
    shown.append(widget)
for text in (bad, tex):
    for kind in (w.HTML, w.HTMLMath, w.Label, w.Text, w.Textarea, w.Combobox):
        show(kind, value=text, description=text, description_allow_html=True, tooltip=text, placeholder=text)
    show(w.Button, description=text, tooltip=text, icon=text)
    for kind in (w.Dropdown, w.RadioButtons, w.Select, w.ToggleButtons, w.SelectionSlider):
        show(kind, options=[text, "b"], description=text, description_allow_html=True)
    show(w.Checkbox, description=text, description_allow_html=True)
    show(w.Valid, readout=text, description=text)
    show(w.TagsInput, value=[text], allowed_tags=[text])
    tab = w.Tab([w.Label(text)]); tab.set_title(0, text); shown.append(tab)
    accordion = w.Accordion([w.Label(text)], selected_index=0); accordion.set_title(0, text); shown.append(accordion)
    out = w.Output(); shown.append(out)
    bundles = {{"text/html": text, "text/plain": "x"}}, {{"application/javascript": "{MARK}"}}
    out.outputs = [dict(output_type="display_data", data=bundle, metadata={{}}) for bundle in bundles]
    with out:
        display({{"text/html": text, "text/plain": "x"}}, raw=True)
        display({{"application/javascript": "{MARK}", "text/plain": "x"}}, raw=True)
    force(w.IntSlider(), readout_format=text)
    force(w.FloatSlider(), readout_format=text, value=text)
    force(w.Button(), icon="x " + text, _dom_classes=["x " + text, "jp-Dialog"])
    force(w.ToggleButtons(options=["a"]), icons=["x " + text])
    force(w.Label("view"), _view_name=text, _view_module=text)
    force(w.FileUpload(), value=[{{"name": text}}], error=text)
    source, target = w.Text(value=text), w.HTML()
    w.jslink((source, "value"), (target, "value")); shown.extend([source, target])
formula = '<b title="$">a</b><b title=" onmouseover={MARK.replace(" ", "")} $">b</b>'
shown.append(w.Text(description=formula, description_allow_html=True))
shown.append(w.Image(value=b"https://example.invalid/beacon", format="url"))
shown.append(w.Image(value=b"<svg xmlns='http://www.w3.org/2000/svg' onload='{MARK}'/>", format="svg+xml"))
far = Layout(width="3000px", height="3000px", margin="-900px", top="-900px")
shown.append(w.Button(description="over", layout=far))
shown.append(w.HTML("<div style='position:fixed;inset:0;z-index:9999;background:red'>over</div>"))
shown.append(w.HTML("<a href='javascript:{MARK}'>link</a><form action='/api/contents'><input type=submit></form>"))
shown.append(w.HTML("plain", style=dict(background="url(https://example.invalid/beacon)")))
display(*shown)
"""

COVERED = """area => {
    const box = document.querySelector('.jp-NotebookPanel-toolbar').getBoundingClientRect();
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return !top.closest('.jp-NotebookPanel-toolbar');
}"""


def drag(slider: Locator, steps: int) -> None:
    """Move the handle of a slider by as many steps to the right, with the keyboard."""
    for _ in range(steps):
        # Each with its own focus: a page that has just been loaded still moves it about.
        slider.locator(".noUi-handle").press("ArrowRight")


def slider_of(page: NotebookPage, index: int) -> Locator:
    return page.output_area(index).locator(".widget-slider")


def test_a_slider_moves_a_value_and_the_page_shows_the_reaction(cells: NotebookFactory) -> None:
    page = cells([SLIDER, "%%sandbox\nslider.value", "%%sandbox\nslider.value = 77"])
    page.execute_cell(0)
    drag(slider_of(page, 0), 5)
    expect(page.output_area(0)).to_contain_text("now 15")
    assert page.execute_cell(1).text.split("\n")[-1] == "15"
    page.execute_cell(2)
    expect(page.output_area(0)).to_contain_text("now 77")
    expect(page.output_area(0).locator(".widget-readout")).to_have_text("77")


def test_a_slider_is_heard_while_a_cell_is_busy(cells: NotebookFactory) -> None:
    busy = "import time\nprint('busy', flush=True)\nwhile slider.value < 13:\n    time.sleep(0.02)\nprint('done')"
    page = cells([SLIDER, f"%%sandbox\n{busy}"])
    page.execute_cell(0)
    page.run_cell(1)
    page.output_area(1).get_by_text("busy", exact=True).wait_for()
    drag(slider_of(page, 0), 3)
    expect(page.output_area(0)).to_contain_text("now 13")
    page.wait_finished()
    assert "done" in page.outputs(1).text


def test_interact_runs_the_function_anew(cells: NotebookFactory) -> None:
    code = "from ipywidgets import interact\n@interact(n=(0, 20))\ndef square(n=2):\n    print(n, 'squared is', n * n)"
    page = cells([f"%%sandbox\n{code}"])
    page.execute_all()
    expect(page.output_area(0)).to_contain_text("2 squared is 4")
    drag(slider_of(page, 0), 3)
    expect(page.output_area(0)).to_contain_text("5 squared is 25")
    expect(page.output_area(0)).not_to_contain_text("2 squared is 4")


def test_interact_draws_anew(cells: NotebookFactory) -> None:
    code = """%%sandbox
%matplotlib inline
import matplotlib.pyplot as plt
from ipywidgets import interact
@interact(n=(1, 5))
def draw(n=1):
    plt.plot(range(n * 10))
    plt.show()
"""
    page = cells([code])
    page.execute_all()
    picture = page.output_area(0).locator(".widget-output img")
    picture.wait_for()
    before = picture.get_attribute("src")
    drag(slider_of(page, 0), 2)
    page.page.wait_for_function(
        "before => { const e = document.querySelector('.widget-output img'); return e && e.src !== before; }",
        arg=before,
    )


def test_a_progress_bar_fills_while_the_cell_runs(cells: NotebookFactory) -> None:
    code = """%%sandbox filling
import os, time
from tqdm.auto import tqdm
for step in tqdm(range(40), desc='steps'):
    time.sleep(0.05)
    while step == 25 and not os.path.exists("/tmp/seen"):
        time.sleep(0.02)
"""
    page = cells([code])
    page.run_all()
    expect(page.output_area(0)).to_contain_text(re.compile(r"steps:\s+\d\d%"))
    assert page.is_busy(0)
    make_file("filling", "/tmp/seen")
    page.wait_finished()
    expect(page.output_area(0)).to_contain_text("40/40")
    assert page.output_area(0).locator(".jupyter-widgets .progress-bar-success, .progress-bar-success").count() == 1


def test_output_takes_prints_errors_and_displays(cells: NotebookFactory) -> None:
    code = """%%sandbox
import ipywidgets as widgets
out = widgets.Output(layout=dict(border="1px solid gray"))
button = widgets.Button(description="Press")
@button.on_click
def pressed(_):
    with out:
        print("pressed")
display(button, out)
print("out" "side")
with out:
    print("inside")
    display({"text/html": "<b>bold</b>", "text/plain": "bold"}, raw=True)
    1 / 0
"""
    page = cells([code])
    page.execute_all()
    taken = page.output_area(0).locator(".widget-output")
    expect(taken).to_contain_text("inside")
    expect(taken.locator("b")).to_have_text("bold")
    expect(taken).to_contain_text("ZeroDivisionError")
    expect(taken).not_to_contain_text("outside")
    expect(page.output_area(0)).to_contain_text("outside")
    assert not page.outputs(0).error_names
    page.output_area(0).get_by_role("button", name="Press").click()
    expect(taken).to_contain_text("pressed")


def test_widgets_work_on_after_the_page_is_loaded_anew(notebook: NotebookFactory) -> None:
    page = notebook(["%load_ext chorus_nb", SLIDER])
    page.execute_all()
    drag(slider_of(page, 1), 2)
    expect(page.output_area(1)).to_contain_text("now 12")
    page.save()
    page.reload()
    expect(slider_of(page, 1).locator(".widget-readout")).to_have_text("12")
    expect(page.output_area(1)).to_contain_text("now 12")
    drag(slider_of(page, 1), 4)
    expect(page.output_area(1)).to_contain_text("now 16")


def test_widgets_close_with_their_session(cells: NotebookFactory) -> None:
    page = cells([SLIDER, "%sandbox restart"])
    page.execute_cell(0)
    expect(slider_of(page, 0)).to_have_count(1)
    page.execute_cell(1)
    expect(slider_of(page, 0)).to_have_count(0)


def test_hostile_widgets_do_not_act_in_the_page(cells: NotebookFactory) -> None:
    page = cells([HOSTILE])
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    page.execute_all()
    area = page.output_area(0)
    expect(area.locator(".widget-html")).not_to_have_count(0)
    page.page.wait_for_timeout(1500)
    # Errors of widgets are shown as markup when they are clicked.
    for error in area.locator(".jupyter-widgets-error-widget").all():
        error.click()
    for hovered in area.locator("[title]").all():
        hovered.dispatch_event("mouseover")
    for link in area.locator("a").all():
        link.click(force=True, no_wait_after=True)
    page.page.wait_for_timeout(500)
    assert page.page.evaluate("window.hacked") is None
    assert not [url for url in asked if "example.invalid" in url]
    assert area.locator(".widget-html :is(script, iframe, form, [onerror], [onload])").count() == 0
    assert not area.evaluate(COVERED)
    assert area.locator(".jp-Dialog").count() == 0


# Every published vector, as each value of a widget that the page makes into more than text.
VECTORS_IN_WIDGETS = """
import ipywidgets as w
boxes = []
one = dict(layout=w.Layout())
for vector in {vectors!r}:
    bundle = {{"text/html": vector, "text/markdown": vector, "text/plain": vector}}
    shown = w.Output(**one)
    shown.outputs = [dict(output_type="display_data", data=bundle, metadata={{}})]
    marked = dict(description=vector, description_allow_html=True, tooltip=vector, **one)
    made = [w.HTML(vector, **one), w.Label(vector, **one), w.Text(value=vector, **marked), shown]
    made += [w.ToggleButtons(options=[vector], **one)]
    forced = w.IntSlider(**one)
    forced.comm.send(dict(method="update", state=dict(readout_format=vector, _dom_classes=[vector], value=vector)))
    boxes += [*made, forced]
display(w.VBox(boxes))
"""


def test_no_published_vector_acts_through_a_widget(
    cells: NotebookFactory,
    calls: tuple[str, list[str]],  # noqa: F811
) -> None:
    host, got = calls
    vectors = read_vectors(host)
    parts = [vectors[start : start + 40] for start in range(0, len(vectors), 40)]
    attacks = ["%%sandbox" + VECTORS_IN_WIDGETS.format(vectors=part) for part in parts]
    page = cells(["%%sandbox --fresh\n1", *attacks])
    address = page.page.url
    assert attack(page) == []
    assert areas(page).evaluate_all(OVERLAID) == []
    assert page.page.locator(".widget-toggle-button").count() == len(vectors), "they are shown"
    assert page.page.url == address
    assert got == []
    page.replace_cells(["%%sandbox --fresh\n1"])
    page.execute_all()


def test_a_widget_with_code_of_its_own_shows_where_it_is_trusted(cells: NotebookFactory) -> None:
    code = """
import anywidget, traitlets
class Counter(anywidget.AnyWidget):
    _esm = '''export default {render({model, el}) {
        const button = document.createElement('button');
        const show = () => { button.textContent = `count ${model.get('count')}`; };
        button.onclick = () => { model.set('count', model.get('count') + 1); model.save_changes(); };
        model.on('change:count', show); show(); el.append(button);
    }}'''
    count = traitlets.Int(1).tag(sync=True)
counter = Counter()
counter
"""
    page = cells([f"%%sandbox{code}", f"%%sandbox --output trusted{code}", "%%sandbox\ncounter.count"])
    assert "--output trusted" in page.execute_cell(0).text
    page.execute_cell(1)
    page.output_area(1).get_by_role("button", name="count 1").click()
    expect(page.output_area(1)).to_contain_text("count 2")
    assert page.execute_cell(2).text.split("\n")[-1] == "2"
