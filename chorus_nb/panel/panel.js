// The strip of one cell (kind "strip") and the panel of all sessions (kind "panel"), drawn by the same code.
// Names and states come from anywhere: they only ever become text, never markup.

const SVG = "http://www.w3.org/2000/svg";
const HISTORY = { width: 100, height: 20 };
const FALLBACK_AFTER_MS = 1000;

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function button(label, description, onClick) {
  const node = element("button", "chorus-button", label);
  node.type = "button";
  node.title = description;
  node.setAttribute("aria-label", description);
  node.addEventListener("click", onClick);
  return node;
}

function send(model, content) {
  const id = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
  // A button may end a cell that asks. JupyterLab learns that nothing is asked any more only from buttons of its own,
  // and would not run the next cell.
  const kernel = model.widget_manager?.kernel;
  if (kernel?.hasPendingInput) kernel.hasPendingInput = false;
  model.send({ ...content, id });
  return id;
}

// A kernel that hears nothing while a cell runs (ipykernel 6) still takes an interrupt.
function interruptUnlessHeard(model, el, id) {
  setTimeout(() => {
    if (el.isConnected && model.get("heard") !== id) model.widget_manager?.kernel?.interrupt();
  }, FALLBACK_AFTER_MS);
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// ---- strip

function createHistory() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "chorus-history");
  svg.setAttribute("viewBox", `0 0 ${HISTORY.width} ${HISTORY.height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const area = svg.appendChild(document.createElementNS(SVG, "path"));
  const line = svg.appendChild(document.createElementNS(SVG, "path"));
  area.setAttribute("class", "chorus-history-area");
  line.setAttribute("class", "chorus-history-line");
  return {
    svg,
    update(shares) {
      const step = HISTORY.width / Math.max(shares.length - 1, 1);
      const points = shares.map((share, i) => `${(i * step).toFixed(1)} ${((1 - share) * (HISTORY.height - 1)).toFixed(1)}`);
      const path = shares.length > 1 ? `M ${points.join(" L ")}` : "";
      line.setAttribute("d", path);
      area.setAttribute("d", path && `${path} L ${HISTORY.width} ${HISTORY.height} L 0 ${HISTORY.height} Z`);
    },
  };
}

function createColumn(width) {
  const node = element("div", "chorus-column");
  node.style.flexBasis = `${width}px`;
  const label = node.appendChild(element("span", "chorus-label"));
  const value = node.appendChild(element("span", "chorus-value"));
  const bar = node.appendChild(element("span", "chorus-bar"));
  const filled = bar.appendChild(element("span"));
  return {
    node,
    update(column) {
      setText(label, column.label);
      setText(value, column.value);
      bar.hidden = column.fraction === null;
      filled.style.width = `${100 * (column.fraction ?? 0)}%`;
      bar.dataset.level = column.level;
    },
  };
}

function createStrip() {
  const node = element("div", "chorus-strip");
  const picture = node.appendChild(element("div", "chorus-figures"));
  picture.setAttribute("role", "img");
  const dot = picture.appendChild(element("span", "chorus-dot"));
  const who = picture.appendChild(element("div", "chorus-who"));
  const name = who.appendChild(element("span", "chorus-name"));
  const state = who.appendChild(element("span", "chorus-state"));
  const history = createHistory();
  picture.appendChild(history.svg);
  const columns = [];
  return {
    node,
    update(figures) {
      if (!figures.columns) return;
      dot.dataset.tone = state.dataset.tone = figures.tone;
      setText(name, figures.name);
      name.title = figures.name;
      setText(state, figures.status);
      figures.columns.forEach((column, i) => {
        columns[i] ??= createColumn(column.width_px);
        if (!columns[i].node.parentNode) picture.insertBefore(columns[i].node, history.svg);
        columns[i].update(column);
      });
      history.update(figures.history);
      picture.setAttribute("aria-label", figures.alt);
    },
  };
}

function renderStrip(model, el) {
  const strip = createStrip();
  const stop = button("Stop", "Stop this cell", () => {
    stop.disabled = true;
    interruptUnlessHeard(model, el, send(model, { type: "stop", run_id: model.get("run_id") }));
  });
  stop.classList.add("chorus-stop");
  strip.node.appendChild(stop);
  el.appendChild(strip.node);
  return () => {
    const figures = model.get("figures");
    strip.update(figures);
    stop.disabled = stop.disabled || !["queued", "starting", "running"].includes(figures.state);
  };
}

// ---- panel

const ACTIONS = {
  start: "Start",
  interrupt: "Interrupt",
  restart: "Restart",
  stop: "Stop",
  remove: "Remove",
};

function createRow(name, act) {
  const node = element("li", "chorus-row");
  const strip = createStrip();
  const line = element("div", "chorus-row-line");
  const facts = line.appendChild(element("span", "chorus-facts"));
  const buttons = {};
  for (const [action, label] of Object.entries(ACTIONS)) {
    buttons[action] = line.appendChild(button(label, `${label} ${name}`, () => act(action, name)));
    buttons[action].dataset.action = action;
  }
  const error = element("div", "chorus-error");
  error.setAttribute("role", "alert");
  node.append(strip.node, line, error);
  return {
    node,
    update(row) {
      strip.update(row.figures);
      setText(facts, row.facts);
      facts.title = row.facts;
      for (const action in buttons) buttons[action].disabled = !row.actions.includes(action);
      error.hidden = !row.error;
      setText(error, row.error);
    },
  };
}

function renderPanel(model, el) {
  const list = element("ul", "chorus-panel");
  list.setAttribute("aria-label", "Sandbox sessions");
  const note = element("p", "chorus-note");
  note.setAttribute("role", "status");
  el.append(list, note);
  const act = (action, name) => {
    const id = send(model, { type: "action", action, name });
    const busy = model.get("rows").some((row) => row.name === name && row.figures.state === "busy");
    if (action === "interrupt" && busy) interruptUnlessHeard(model, el, id);
  };
  const shown = new Map();
  return () => {
    const rows = model.get("rows");
    const names = new Set(rows.map((row) => row.name));
    for (const [name, row] of shown) {
      if (!names.has(name)) { row.node.remove(); shown.delete(name); }
    }
    rows.forEach((row, i) => {
      if (!shown.has(row.name)) shown.set(row.name, createRow(row.name, act));
      const { node, update } = shown.get(row.name);
      update(row);
      // Moving a node takes the focus from its buttons: only where the order changed.
      if (list.children[i] !== node) list.insertBefore(node, list.children[i] ?? null);
    });
    setText(note, model.get("problem") || (rows.length ? "" : "No sandbox sessions yet. A %%sandbox cell starts one."));
    note.hidden = !note.textContent;
  };
}

export default {
  render({ model, el }) {
    el.classList.add("chorus-nb");
    const isPanel = model.get("kind") === "panel";
    const draw = isPanel ? renderPanel(model, el) : renderStrip(model, el);
    const event = isPanel ? "change:rows change:problem" : "change:figures";
    model.on(event, draw);
    draw();
    return () => model.off(event, draw);
  },
};
