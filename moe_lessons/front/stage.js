// A stage: the picture of an explorable, its controls and its questions. All mathematics and all drawing happen in
// Python; this file sends what the learner did and paints what comes back. The messages are described in
// __init__.py, beside this file. There is no build step: a page loads it as it stands.

const BUSY_AFTER_MS = 4000;
const PLAY_EVERY_MS = 160;
const FLY_MS = 450;
const STYLE = /<style>(.*?)<\/style>/s;
const SEGMENTS = 208; // pixels that a row has: options that need more become a list

const WORDS = {
  locked: "Locked: commit to a prediction above.",
  dead: "This is how it was left. Run this cell to bring it to life.",
  busy: "Waiting for the kernel. If it was restarted, run this cell again.",
};

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** The nearest step of a range; seven digits, for 0.1 + 0.2 is not 0.3. */
const fit = ({low, high, step}, value) =>
  Number(clamp(low + Math.round((value - low) / step) * step, low, high).toPrecision(7));

/** Make an element: attributes, listeners (`onclick`), children. */
function make(tag, attributes = {}, ...children) {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") one.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) one.setAttribute(name, value === true ? "" : value);
  }
  // JupyterLab leaves the keys of what carries this to the page; it looks at the element itself, at no parent.
  const takesKeys = ["input", "select", "button"].includes(tag) || attributes.tabindex === 0;
  if (takesKeys) one.setAttribute("data-lm-suppress-shortcuts", "true");
  one.append(...children);
  return one;
}

// A counter would not do: this module is loaded anew for every stage.
const newId = () => `moe-${Math.random().toString(36).slice(2)}`;

// --- The wire: one request outstanding. What comes meanwhile is merged into the next one; the newest value wins. ---

function wire(model, {alive, changed}) {
  const view = Math.random().toString(36).slice(2);
  let n = 0;
  let sent = null; // the request without an answer
  let next = null; // the one after it
  let timer = 0;
  const line = {late: false, idle: () => !sent && !next, ask, answered, wanted};

  function ask(wish) {
    // What is set last comes last, for values are set in order.
    const set = {...next?.set};
    for (const label of Object.keys(wish.set ?? {})) delete set[label];
    next = wish.go === undefined ? {...next, ...wish, set: {...set, ...wish.set}} : wish;
    pump();
  }

  function pump() {
    if (sent || !next || !alive()) return;
    sent = next;
    next = null;
    timer = setTimeout(() => changed((line.late = true)), BUSY_AFTER_MS);
    model.send({view, n: (n += 1), ...sent});
  }

  function answered(of) {
    if (!sent || of?.[0] !== view || of[1] !== n) return;
    sent = null;
    line.late = false;
    clearTimeout(timer);
    // A slow page sets the pace: the next request goes out once this answer is painted.
    if (next) requestAnimationFrame(pump);
  }

  /** What the learner wants a control to be, which may be ahead of the picture. */
  function wanted(label) {
    for (const ahead of [next, sent]) if (ahead?.set && label in ahead.set) return ahead.set[label];
    return model.get("shown").values[label];
  }

  return line;
}

// --- Controls. Each has a box for the page and `show(value, text, off)`. ---

const CONTROLS = {
  range(spec, line) {
    const id = newId();
    const said = make("output", {for: id, class: "moe-said"});
    const input = make("input", {
      id, type: "range", min: spec.low, max: spec.high, step: spec.step, title: spec.hint,
      oninput: () => line.ask({set: {[spec.label]: Number(input.value)}}),
    });
    const box = make("div", {class: "moe-control"}, make("label", {for: id}, spec.label), said, input);
    const player = spec.play ? play(spec, line) : null;
    if (player) box.append(player.button);
    const show = (value, text, off) => {
      if (Number(input.value) !== value) input.value = value;
      input.setAttribute("aria-valuetext", text);
      input.disabled = off;
      said.textContent = text;
      player?.show(off);
    };
    return {box, show};
  },

  choice(spec, line) {
    // About as wide as it will be, for it is not on the page yet.
    const wide = spec.options.reduce((sum, option) => sum + Math.max(24, 7.5 * option.length + 15), 0);
    return (wide + 8 * spec.label.length <= SEGMENTS ? segments : list)(spec, line);
  },

  text(spec, line) {
    const id = newId();
    const input = make("input", {
      id, type: "text", title: spec.hint, placeholder: spec.hint, spellcheck: "false", autocomplete: "off",
      oninput: () => line.ask({set: {[spec.label]: input.value}}),
    });
    const box = make("div", {class: "moe-control moe-text"}, make("label", {for: id}, spec.label), input);
    const show = (value, _, off) => {
      if (input.value !== value) input.value = value;
      input.disabled = off;
    };
    return {box, show};
  },

  switch(spec, line) {
    const input = make("input", {type: "checkbox", onchange: () => line.ask({set: {[spec.label]: input.checked}})});
    const box = make("label", {class: "moe-control moe-switch", title: spec.hint}, input, spec.label);
    const show = (value, _, off) => {
      input.checked = value;
      input.disabled = off;
    };
    return {box, show};
  },
};

/** Options side by side: radio buttons that look like buttons. */
function segments(spec, line) {
  const name = newId();
  const inputs = spec.options.map((_, i) =>
    make("input", {type: "radio", name, onchange: () => line.ask({set: {[spec.label]: i}})}));
  const row = spec.options.map((option, i) => make("label", {}, inputs[i], make("span", {}, option)));
  const box = make("fieldset", {class: "moe-control moe-segments", title: spec.hint},
    make("legend", {}, spec.label), make("div", {}, ...row));
  const show = (value, _, off) => inputs.forEach((input, i) => {
    input.checked = i === value;
    input.disabled = off;
  });
  return {box, show};
}

/** Options in a list; one more, first, where the value is none of them. */
function list(spec, line) {
  const id = newId();
  const other = make("option", {value: -1, disabled: true});
  const chosen = () => line.ask({set: {[spec.label]: Number(select.value)}});
  const select = make("select", {id, title: spec.hint, onchange: chosen},
    ...spec.options.map((option, i) => make("option", {value: i}, option)));
  const box = make("div", {class: "moe-control moe-list"}, make("label", {for: id}, spec.label), select);
  const show = (value, text, off) => {
    other.textContent = text;
    if (value < 0) select.prepend(other);
    else other.remove();
    select.value = value;
    select.disabled = off;
  };
  return {box, show};
}

/** Run a range by itself, a step at a time, each when the one before is on the page. */
function play(spec, line) {
  let timer = 0;
  const button = make("button", {type: "button", class: "moe-play", onclick: () => (timer ? stop() : start())});
  const label = () => {
    button.textContent = timer ? "⏸ Pause" : "▶ Play";
    button.setAttribute("aria-label", `${timer ? "Pause" : "Play"}: ${spec.label}`);
  };
  function step() {
    if (!button.isConnected) return stop();
    if (!line.idle()) return;
    const at = line.wanted(spec.label);
    if (at >= spec.high) return stop();
    line.ask({set: {[spec.label]: fit(spec, at + spec.step)}});
  }
  function start() {
    const ended = line.wanted(spec.label) >= spec.high;
    // Who wants no motion gets its end.
    if (still()) return line.ask({set: {[spec.label]: ended ? spec.low : spec.high}});
    if (ended) line.ask({set: {[spec.label]: spec.low}});
    timer = setInterval(step, PLAY_EVERY_MS);
    label();
  }
  function stop() {
    clearInterval(timer);
    timer = 0;
    label();
  }
  label();
  const show = off => {
    button.disabled = off;
    if (timer && off) stop();
  };
  return {button, show};
}

// --- The picture: title and caption become text, what has a key flies, what is marked can be dragged. ---

/** Take title and caption out of a drawing (moe_lessons.svg.figure puts them around its one <g>). */
function undress(svg) {
  const body = svg.querySelector(":scope > g");
  const lines = [...svg.querySelectorAll(":scope > text")];
  const below = lines.filter(line => body.compareDocumentPosition(line) & Node.DOCUMENT_POSITION_FOLLOWING);
  const caption = below.map(line => line.textContent).join(" ");
  const title = svg.getAttribute("aria-label");
  const [top, height] = svg.dataset.body.split(" ");
  svg.setAttribute("viewBox", `0 ${top} ${svg.viewBox.baseVal.width} ${height}`);
  svg.querySelector(":scope > title")?.remove(); // a tooltip over the whole picture
  lines.forEach(line => line.remove());
  ["width", "height", "style"].forEach(name => svg.removeAttribute(name));
  return {title, caption};
}

const places = svg =>
  new Map([...svg.querySelectorAll("[data-key]")].map(one => [one.dataset.key, one.getBoundingClientRect()]));

/** Let everything with a key come from where it was. */
function fly(svg, before) {
  if (still() || !before.size) return;
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  for (const one of svg.querySelectorAll("[data-key]")) {
    const from = before.get(one.dataset.key) ?? before.get(one.dataset.from);
    if (!from) continue;
    const to = one.getBoundingClientRect();
    const [x, y] = [(from.x - to.x) / scale, (from.y - to.y) / scale];
    if (Math.hypot(x, y) < 1) continue;
    const way = [{transform: `translate(${x}px, ${y}px)`}, {transform: "none"}];
    one.animate(way, {duration: FLY_MS, easing: "ease-in-out"});
  }
}

/** A handle over a mark in the picture: a slider for pointer and keys, which stays while the picture is redrawn. */
function makeHandle(picture, specs, line) {
  let find, marks, wants; // finds the element in the present picture; its marks; the values it is on its way to
  const box = make("div", {role: "slider", tabindex: 0, class: "moe-handle", onpointerdown: hold, onkeydown: press});

  /** Where the pointer is, in the pixels of the group in which the mark is drawn. */
  const locate = ({clientX, clientY}) =>
    new DOMPoint(clientX, clientY).matrixTransform(find().parentNode.getScreenCTM().inverse());
  const move = values => {
    Object.assign(wants, values);
    line.ask({set: {...marks.first, ...wants}});
  };

  function at(point) {
    const values = {};
    for (const axis of ["x", "y"]) {
      if (!marks[axis]) continue;
      const {control, pixels: [p, q], values: [v, w]} = marks[axis];
      values[control] = fit(specs.get(control), v + ((point[axis] - p) / (q - p)) * (w - v));
    }
    if (marks.around) {
      const {angle, length, unit} = marks.around;
      const degrees = Math.round((Math.atan2(-point.y, point.x) * 180) / Math.PI);
      values[angle] = fit(specs.get(angle), (degrees + 360) % 360);
      values[length] = fit(specs.get(length), Math.hypot(point.x, point.y) / unit);
    }
    return values;
  }

  function hold(event) {
    event.preventDefault();
    box.focus();
    box.setPointerCapture(event.pointerId);
    // It is the handle that follows the pointer, not its middle that jumps there.
    const size = box.getBoundingClientRect();
    const middle = locate({clientX: size.x + size.width / 2, clientY: size.y + size.height / 2});
    const start = locate(event);
    if (marks.first) move({});
    const drag = moved => {
      const point = locate(moved);
      move(at({x: point.x + middle.x - start.x, y: point.y + middle.y - start.y}));
    };
    box.addEventListener("pointermove", drag);
    box.addEventListener("lostpointercapture", () => box.removeEventListener("pointermove", drag), {once: true});
  }

  function press(event) {
    const side = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    const up = {ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10}[event.key];
    if (!side && !up) return;
    event.preventDefault();
    const [across, upwards] = [marks.x?.control ?? marks.around?.angle, marks.y?.control ?? marks.around?.length];
    const control = (side ? across : upwards) ?? across ?? upwards;
    const spec = specs.get(control);
    let value = wants[control] + (side ?? up) * spec.step * (event.shiftKey ? 10 : 1);
    if (control === marks.around?.angle) value = (value + 360) % 360;
    move({[control]: fit(spec, value)});
  }

  function show(newFind, newMarks) {
    [find, marks] = [newFind, newMarks];
    if (!wants || line.idle()) wants = {...marks.at};
    const here = find().getBoundingClientRect();
    const all = picture.getBoundingClientRect();
    for (const [side, low, size] of [["left", "x", "width"], ["top", "y", "height"]]) {
      const wide = Math.max(here[size], 24);
      box.style[side] = `${here[low] + here[size] / 2 - all[low] - wide / 2}px`;
      box.style[size] = `${wide}px`;
    }
    const [main] = Object.keys(wants);
    const {low, high} = specs.get(main);
    const now = {label: marks.name, valuenow: wants[main], valuemin: low, valuemax: high,
      valuetext: Object.entries(wants).map(pair => pair.join(" ")).join(", ")};
    for (const [name, value] of Object.entries(now)) box.setAttribute(`aria-${name}`, value);
  }

  return {box, show};
}

// --- Questions that an explorable asks itself. ---

function questions(asks, {verdicts, question}, commit) {
  const said = verdicts.map(({text, right, svg}, i) => {
    const shown = make("div", {class: `moe-verdict ${right ? "moe-right" : "moe-wrong"}`}, make("p", {}, text));
    if (!svg) return shown;
    const open = i === verdicts.length - 1 && question !== null;
    const seen = make("details", {open}, make("summary", {}, "What happens"));
    seen.insertAdjacentHTML("beforeend", svg);
    shown.append(seen);
    return shown;
  });
  if (question === null) return said;
  const {text, options} = asks[question];
  const name = newId();
  const button = make("button", {type: "button", disabled: true, onclick: () => commit(chosen)}, "Commit");
  let chosen = -1;
  const choose = i => {
    chosen = i;
    button.disabled = false;
  };
  const rows = options.map((option, i) =>
    make("label", {}, make("input", {type: "radio", name, onchange: () => choose(i)}), option));
  const heading = make("legend", {}, make("strong", {}, `◇ Predict (${question + 1} of ${asks.length}). `), text);
  return [...said, make("fieldset", {class: "moe-question"}, heading, ...rows, button)];
}

// --- The stage itself. ---

async function render({model, el}) {
  // A notebook's widget manager knows whether a kernel listens; on another page the engine is always there.
  const kernel = await model.widget_manager?.get_model?.(model.get("id")).catch(() => null);
  const alive = () => kernel?.comm_live ?? true;
  const fixed = model.get("fixed");
  const words = {...WORDS, ...model.get("words")}; // a page without kernels says some things in its own words
  const specs = new Map(fixed.controls.map(spec => [spec.label, spec]));
  const line = wire(model, {alive, changed: () => tell()});

  const note = make("p", {class: "moe-note", role: "status", hidden: true});
  const error = make("p", {class: "moe-error", role: "alert", hidden: true});
  const asking = make("div", {class: "moe-asking"});
  const title = make("p", {class: "moe-title", "aria-live": "polite"});
  const caption = make("p", {class: "moe-caption"});
  const drawn = make("div", {class: "moe-drawn", onclick: pick});
  const picture = make("div", {class: "moe-picture"}, drawn);
  const lock = make("p", {class: "moe-lock"}, words.locked);
  const controls = fixed.controls.map(spec => ({spec, ...CONTROLS[spec.kind](spec, line)}));
  const landmarks = fixed.landmarks.map(({label, hint}, i) =>
    make("button", {type: "button", title: hint, onclick: () => line.ask({go: i})}, label));
  const panel = make("div", {class: "moe-panel"}, lock,
    make("div", {class: "moe-controls"}, ...controls.filter(({spec}) => spec.kind !== "text").map(({box}) => box)),
    make("div", {class: "moe-landmarks", role: "group", "aria-label": "Places worth a look"}, ...landmarks));
  const typed = controls.filter(({spec}) => spec.kind === "text").map(({box}) => box); // needs the whole width
  const scene = make("div", {class: "moe-scene"}, title, panel, picture, caption);
  const stage = make("section", {class: "moe-stage", "aria-label": fixed.name},
    note, error, asking, ...typed, scene);
  const handles = new Map(); // by name, for as long as the stage is there
  const styles = new Set();
  const marked = new Map(); // the elements that they lie over, in the present picture
  let svg = "";

  /** Keep a drawing's style for as long as the stage is there: the next frame has the same, and reading it is slow. */
  function keep(_, style) {
    if (!styles.has(style)) stage.append(make("style", {}, style));
    styles.add(style);
    return "";
  }

  function pick(event) {
    const mark = event.target.closest("[data-pick]");
    const set = mark && JSON.parse(mark.dataset.pick);
    if (set && alive() && Object.keys(set).every(open)) line.ask({set});
  }

  const open = label => alive() && !model.get("shown").locked.includes(label);

  function paint() {
    const shown = model.get("shown");
    if (shown.svg && shown.svg !== svg) {
      svg = shown.svg;
      const before = places(drawn);
      drawn.innerHTML = svg.replace(STYLE, keep);
      const words = undress(drawn.firstElementChild);
      title.textContent = words.title;
      caption.textContent = words.caption;
      fly(drawn.firstElementChild, before);
    }
    for (const {spec: {label}, box, show} of controls) {
      box.classList.toggle("moe-locked", shown.locked.includes(label));
      show(line.wanted(label), shown.texts[label], !open(label));
    }
    landmarks.forEach((button, i) => (button.disabled = !alive() || shown.shut.includes(i)));
    lock.hidden = !shown.locked.length;
    error.hidden = !shown.error;
    error.textContent = shown.error && `This did not work. ${shown.error}`;
    place();
    tell();
  }

  /** Put a handle over every mark that can be dragged now. */
  function place() {
    marked.clear();
    for (const mark of drawn.querySelectorAll("[data-handle]")) {
      const marks = JSON.parse(mark.dataset.handle);
      const {name} = marks;
      if (!Object.keys(marks.at).every(open)) continue;
      marked.set(name, mark);
      if (!handles.has(name)) handles.set(name, makeHandle(picture, specs, line));
      const handle = handles.get(name);
      if (!handle.box.isConnected) picture.append(handle.box);
      handle.show(() => marked.get(name), marks);
    }
    for (const [name, {box}] of handles) if (!marked.has(name)) box.remove();
  }

  /** Say whether anybody is there to answer. */
  function tell() {
    const state = !alive() ? "dead" : line.late ? "busy" : "";
    stage.dataset.state = state || "alive";
    note.hidden = !state;
    note.textContent = words[state] ?? "";
  }

  const answered = () => {
    line.answered(model.get("shown").of);
    paint();
  };
  const asked = () => {
    asking.replaceChildren(...questions(fixed.asks, model.get("asked"), commit => line.ask({commit})));
    asking.querySelectorAll("input, button").forEach(one => (one.disabled ||= !alive()));
  };
  const living = () => (asked(), paint());

  asked();
  paint();
  el.replaceChildren(stage);
  model.on("change:shown", answered);
  model.on("change:asked", asked);
  model.on("comm_live_update", living);
  // Handles lie over the picture, whatever its size.
  const resized = new ResizeObserver(() => alive() && place());
  resized.observe(picture);
  return () => {
    resized.disconnect();
    model.off("change:shown", answered);
    model.off("change:asked", asked);
    model.off("comm_live_update", living);
  };
}

export default {render};
