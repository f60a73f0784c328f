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

// ---- the changes of a session

const SURE_MS = 4000;

// What can't be taken back wants to be pressed twice.
function sureButton(label, description, onClick) {
  const node = button(label, description, () => {
    if (node.dataset.sure) { calm(); onClick(); return; }
    node.dataset.sure = "yes";
    node.textContent = "Really?";
    setTimeout(calm, SURE_MS);
  });
  const calm = () => { delete node.dataset.sure; node.textContent = label; };
  node.dataset.action = "discard";
  return node;
}

function createPicture(label, picture) {
  const side = element("figure", "chorus-picture");
  side.appendChild(element("figcaption", "", `${label}: ${picture ? picture.description : "none"}`));
  if (picture && /^data:image\/(png|svg\+xml);base64,/.test(picture.uri)) {
    const image = side.appendChild(element("img"));
    image.src = picture.uri;
    image.alt = label;
  }
  return side;
}

function createDifference(shown) {
  const node = element("div", "chorus-difference");
  if (shown.remarks) node.appendChild(element("div", "chorus-remark", shown.remarks));
  const [before, after] = shown.pictures ?? [null, null];
  if (before || after) {
    const pair = node.appendChild(element("div", "chorus-pictures"));
    pair.append(createPicture("before", before), createPicture("after", after));
  }
  const lines = element("pre", "chorus-lines");
  for (const [kind, text] of shown.lines ?? []) {
    lines.appendChild(element("span", "chorus-line", text || " ")).dataset.kind = kind;
  }
  if (lines.firstChild) node.appendChild(lines);
  return node;
}

function createFile(file, shown, act) {
  const node = element("li", "chorus-file");
  const line = node.appendChild(element("div", "chorus-file-line"));
  line.appendChild(element("span", "chorus-file-name", file.name)).title = file.name;
  const isShown = shown?.key === file.key;
  const show = button(isShown ? "Hide" : "Diff", `Show ${file.name}`, () => act(isShown ? "hide" : "show", file.key));
  show.setAttribute("aria-expanded", String(isShown));
  const apply = button("Apply", `Apply ${file.name}`, () => act("apply", file.key));
  line.append(show, apply, sureButton("Discard", `Discard ${file.name}`, () => act("discard", file.key)));
  const warning = file.warning || (isShown && shown.warning);
  if (warning) {
    apply.disabled = Boolean(file.warning);
    node.appendChild(element("div", "chorus-warning", warning));
  }
  if (isShown) node.appendChild(createDifference(shown));
  return node;
}

function createChanges(name, act) {
  const node = element("div", "chorus-changes");
  const line = node.appendChild(element("div", "chorus-file-line"));
  line.appendChild(element("span", "chorus-file-name", "Changes to the repository"));
  const all = [
    button("Look again", `Look again for changes of ${name}`, () => act("look", null)),
    button("Apply all", `Apply all changes of ${name}`, () => act("apply", null)),
    sureButton("Discard all", `Discard all changes of ${name}`, () => act("discard", null)),
  ];
  line.append(...all);
  const note = node.appendChild(element("div", "chorus-remark"));
  note.setAttribute("role", "status");
  const problem = node.appendChild(element("div", "chorus-error"));
  problem.setAttribute("role", "alert");
  const list = node.appendChild(element("ul", "chorus-files"));
  list.setAttribute("aria-label", `Changes of ${name}`);
  const more = node.appendChild(element("div", "chorus-remark"));
  let drawn;
  let pressed = "";
  node.addEventListener("click", (event) => { pressed = event.target.getAttribute("aria-label") ?? ""; });
  return {
    node,
    update(changes) {
      node.hidden = !changes;
      if (!changes || drawn === changes) return;
      drawn = changes;
      setText(note, changes.pending ? `${changes.pending} …` : changes.note);
      setText(problem, changes.problem);
      setText(more, changes.more);
      list.replaceChildren(...changes.files.map((file) => createFile(file, changes.shown, act)));
      const none = Boolean(changes.pending) || !changes.files.length;
      all[0].disabled = Boolean(changes.pending);
      all[1].disabled = all[2].disabled = none;
      const buttons = [...node.querySelectorAll("button")];
      if (changes.pending) for (const each of buttons) each.disabled = true;
      // What was pressed is made anew, and whoever has no mouse is to go on from there.
      else if (!document.activeElement || document.activeElement === document.body) {
        buttons.find((each) => pressed && each.getAttribute("aria-label") === pressed)?.focus();
      }
    },
  };
}

function createRow(name, act, actOnChanges) {
  const node = element("li", "chorus-row");
  const strip = createStrip();
  const line = element("div", "chorus-row-line");
  const facts = line.appendChild(element("span", "chorus-facts"));
  const buttons = {};
  for (const [action, label] of Object.entries(ACTIONS)) {
    buttons[action] = line.appendChild(button(label, `${label} ${name}`, () => act(action, name)));
    buttons[action].dataset.action = action;
  }
  let open = false;
  const look = line.appendChild(
    button("Changes", `Changes of ${name}`, () => actOnChanges(open ? "close" : "look", name, null)),
  );
  look.dataset.action = "changes";
  const changes = createChanges(name, (action, key) => actOnChanges(action, name, key));
  const error = element("div", "chorus-error");
  error.setAttribute("role", "alert");
  node.append(strip.node, line, error, changes.node);
  return {
    node,
    update(row, changed) {
      open = Boolean(changed);
      look.hidden = !row.has_view;
      look.setAttribute("aria-expanded", String(open));
      changes.update(changed);
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
  const actOnChanges = (action, name, key) => send(model, { type: "changes", action, name, key });
  const shown = new Map();
  return () => {
    const rows = model.get("rows");
    const changes = model.get("changes");
    const names = new Set(rows.map((row) => row.name));
    for (const [name, row] of shown) {
      if (!names.has(name)) { row.node.remove(); shown.delete(name); }
    }
    rows.forEach((row, i) => {
      if (!shown.has(row.name)) shown.set(row.name, createRow(row.name, act, actOnChanges));
      const { node, update } = shown.get(row.name);
      update(row, Object.hasOwn(changes, row.name) ? changes[row.name] : null);
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
    const event = isPanel ? "change:rows change:problem change:changes" : "change:figures";
    model.on(event, draw);
    draw();
    return () => model.off(event, draw);
  },
};
