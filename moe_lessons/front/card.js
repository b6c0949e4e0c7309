// A question card. It holds no answer: it draws the face that Python gives it, sends what was chosen or typed, and
// draws the face that comes back. The messages are described in card.py, beside this file. There is no build step:
// a page loads it as it stands, and needs a `model` with `get`, `on`, `off` and `send`.

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const LATE_AFTER_MS = 3000;

const WORDS = {
  dead: "This is how it was left. Run this cell to bring it to life.",
  late: "Waiting for the kernel. If it was restarted, run this cell again.",
  keys: last => `Keys a to ${last} choose, Enter answers.`,
  number: "A number, a fraction such as 3/4, or a percentage. Enter answers.",
};

/** Make an element: attributes, listeners (`onclick`), children. */
function make(tag, attributes = {}, ...children) {
  const one = document.createElement(tag);
  // JupyterLab leaves the keys of what carries this to the page; it looks at the element itself, at no parent.
  if (tag === "button" || tag === "input") one.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") one.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) one.setAttribute(name, value === true ? "" : value);
  }
  one.append(...children);
  return one;
}

/** An element whose content is HTML that Python wrote. */
function filled(tag, attributes, html) {
  const one = make(tag, attributes);
  one.innerHTML = html;
  return one;
}

/** The card's HTML twin: the nearest one in the page, which is in the same cell. */
function twinOf(el, name) {
  for (let at = el.parentElement; at && at.localName !== "body"; at = at.parentElement) {
    const found = at.querySelector(`.${name}`);
    if (found) return found.closest(".jp-OutputArea-child, .output") ?? found;
  }
  return null;
}

async function render({model, el}) {
  const id = `moe-card-${Math.random().toString(36).slice(2)}`; // this module is loaded anew for every card
  // A notebook's widget manager knows whether a kernel listens; on another page the engine is always there.
  const kernel = await model.widget_manager?.get_model?.(model.get("id")).catch(() => null);
  const alive = () => kernel?.comm_live ?? true;
  const words = {...WORDS, ...model.get("words")}; // a page without kernels says some things in its own words
  let face = model.get("card");
  let draft = face.mark; // what is chosen or typed, sent or not
  let sent = null; // the answer that has not come back
  let timer = 0;

  const question = make("p", {class: "moe-question", id});
  const body = make("div", {class: "moe-body"});
  const send = make("button", {type: "button", class: "moe-send", onclick: answer});
  const hint = make("span", {class: "moe-hint"});
  const verdict = make("div", {class: "moe-said", role: "status", tabindex: "-1"});
  const note = make("p", {class: "moe-note", role: "status"});
  const card = make("section", {
    class: "moe-card", style: `--kind: ${face.color}`, "aria-labelledby": id, onkeydown: press, onclick: reach,
  }, question, body, make("div", {class: "moe-actions"}, send, hint), verdict, note);

  const open = () => alive() && !face.final;
  const empty = () => draft === null || String(draft).trim() === "";
  /** Whether what is chosen is what was judged: a verdict is about that and nothing else. */
  const judged = () => draft !== null && draft === face.mark;
  const rows = () => [...body.querySelectorAll("[role=radio]")];
  const field = () => body.querySelector("input");

  /** Everything anew; the focus stays in the card. */
  function draw() {
    const inside = card.contains(document.activeElement);
    question.innerHTML = `<strong>${face.title}.</strong> ${face.question}`;
    body.replaceChildren(...(face.options.length ? [options()] : [number()]));
    card.dataset.asks = face.options.length ? "choice" : "number";
    send.textContent = face.action;
    show();
    if (inside) reachable()?.focus();
  }

  function options() {
    const list = make("div", open() ? {role: "radiogroup", "aria-labelledby": id} : {role: "list"});
    face.options.forEach((option, i) => {
      const parts = [
        make("span", {class: "moe-letter", "aria-hidden": "true"}, LETTERS[i]),
        filled("span", {class: "moe-option"}, option),
        make("span", {class: "moe-marks"}),
      ];
      // Of buttons with the same name one is reached by Tab, as with radio buttons; arrows lead to the others.
      list.append(open()
        ? make("button", {type: "button", role: "radio", name: id, class: "moe-row", onclick: () => choose(i)}, ...parts)
        : make("div", {role: "listitem", class: "moe-row"}, ...parts));
    });
    return list;
  }

  function number() {
    const input = make("input", {
      type: "text", autocomplete: "off", spellcheck: "false", "aria-label": question.textContent, "aria-describedby": `${id}-hint`,
      placeholder: "0.25, 1/4, 25 %", disabled: !open(), oninput: () => change(input.value),
    });
    input.value = draft ?? "";
    return input;
  }

  /** What changes with a choice: marks, verdict, button. */
  function show() {
    [...body.querySelectorAll(".moe-row")].forEach((row, i) => {
      const mine = i === draft;
      row.classList.toggle("moe-mine", mine);
      row.classList.toggle("moe-true", i === face.truth && judged());
      const marks = [];
      if (mine && judged() && (face.verdict || face.final)) marks.push(make("span", {}, face.yours));
      if (i === face.truth && judged()) marks.push(make("span", {class: "moe-tick"}, `✔ ${face.true}`));
      row.querySelector(".moe-marks").replaceChildren(...marks);
      if (!open()) return;
      row.setAttribute("aria-checked", mine);
      row.tabIndex = i === (draft ?? 0) ? 0 : -1;
    });
    const input = field();
    if (input) input.toggleAttribute("aria-invalid", judged() && face.verdict === "note");
    card.dataset.verdict = judged() ? face.verdict : "";
    const said = judged() ? face.said + face.picture : "";
    if (verdict.dataset.of !== said) verdict.innerHTML = said;
    verdict.dataset.of = said;
    send.hidden = !open();
    send.disabled = empty() || judged() || sent !== null;
    hint.id = `${id}-hint`;
    hint.hidden = !open() || judged();
    hint.textContent = face.options.length ? words.keys(LETTERS[face.options.length - 1]) : words.number;
    note.textContent = alive() ? "" : words.dead;
  }

  function change(to) {
    draft = to;
    show();
  }

  function choose(i) {
    change(i);
    rows()[i].focus();
  }

  function answer() {
    if (!open() || empty() || judged() || sent !== null) return;
    sent = draft;
    show();
    // A button that is disabled loses the focus, and with it the keys.
    reachable()?.focus();
    timer = setTimeout(() => (note.textContent = words.late), LATE_AFTER_MS);
    model.send({answer: draft});
  }

  /** Where the keys go: the field, the chosen option, or what was said. */
  const reachable = () => (open() ? field() ?? rows()[draft ?? 0] : verdict);

  function reach(event) {
    if (event.target.closest("button, input, a, summary, .moe-said") || !open() || String(getSelection())) return;
    reachable()?.focus();
  }

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !open()) return;
    const typing = event.target === field();
    if (!typing && !event.target.matches("[role=radio]")) return;
    const at = rows().indexOf(event.target);
    const move = {ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1}[event.key];
    const letter = event.key.length === 1 ? LETTERS.indexOf(event.key.toLowerCase()) : -1;
    if (event.key === "Enter") {
      if (typing || draft === at) answer();
      else choose(at);
    } else if (typing) {
      return;
    } else if (move) choose((at + move + rows().length) % rows().length);
    else if (letter >= 0 && letter < rows().length) choose(letter);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function changed() {
    const untouched = sent === null || draft === sent;
    face = model.get("card");
    clearTimeout(timer);
    sent = null;
    if (untouched) draft = face.mark;
    draw();
  }

  draw();
  el.replaceChildren(card);
  // The twin says the same to those who have no card.
  let twin = null;
  const hide = () => {
    twin = twinOf(el, face.name);
    if (twin) twin.style.display = "none";
  };
  hide();
  // A cell's outputs are put into the page one by one, and anew when one of them changes.
  const watch = new MutationObserver(() => twin?.isConnected && twin.style.display === "none" || hide());
  requestAnimationFrame(() => {
    if (!el.isConnected) return;
    hide(); // whoever draws a card may put it into the page afterwards
    watch.observe(el.closest(".jp-OutputArea") ?? el.parentElement, {childList: true, subtree: true});
  });
  model.on("change:card", changed);
  model.on("comm_live_update", draw);
  return () => {
    watch.disconnect();
    if (twin) twin.style.display = "";
    clearTimeout(timer);
    model.off("change:card", changed);
    model.off("comm_live_update", draw);
  };
}

export default {render};
