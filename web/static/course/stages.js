// Explorables. The static strip stands until it is touched; then Python is loaded, and the front end of the
// notebook takes its place.

import {make} from "./element.js";
import {canRun, engine} from "./engine.js";
import {makeModel} from "./model.js";
import {committed, whenCommitted, whenKept} from "./progress.js";

const folder = new URL("./", import.meta.url);
const WORDS = {busy: "Waiting for Python."};
let n = 0;

/** Which predictions of this page unlock an explorable, and which part of it. */
async function locks(name) {
  const all = await (await fetch(new URL("explorables.json", folder))).json();
  const asked = new Set([...document.querySelectorAll(".prediction[data-id]")].map(one => one.dataset.id));
  return Object.entries(all[name] ?? {}).filter(([id]) => asked.has(id));
}

async function enliven(place, strip, bar) {
  const {name} = place.dataset;
  const key = `${name} ${(n += 1)}`;
  engine().start();
  const [opens, {default: {render}}] = await Promise.all([locks(name), import("./stage.js")]);
  const {fixed, ...state} = await engine().call("open", {key, name, asks: !opens.length});
  const put = parts => parts && model.put(parts);
  const model = makeModel({fixed, words: WORDS, ...state},
    request => engine().call("request", {key, request}).then(put, error => tell(error.message)));
  const tell = error => model.put({shown: {...model.get("shown"), error}});
  const opened = new Set(); // the predictions that have unlocked something
  const unlock = id => {
    for (const [asked, part] of opens) {
      if (asked !== id || committed(id) === undefined) continue;
      opened.add(id);
      engine().call("unlock", {key, part}).then(put);
    }
  };
  const el = make("div");
  const leave = await render({model, el});
  // On a phone the scene slides (place.css), by keys too.
  el.querySelector(".moe-scene").tabIndex = matchMedia("(max-width: 640px)").matches ? 0 : -1;
  strip.hidden = true;
  bar.replaceWith(el);
  place.dataset.alive = "";
  opens.forEach(([id]) => unlock(id));
  whenCommitted(unlock);
  whenKept(() => {
    if (!el.isConnected || ![...opened].some(id => committed(id) === undefined)) return;
    // Its prediction was forgotten: it waits for another, from the beginning.
    leave();
    delete place.dataset.alive;
    place.replaceChildren(...strip.childNodes);
    offer(place);
  });
  return el;
}

/** Offer life to one explorable. */
function offer(place) {
  const strip = make("div", {class: "moe-strip"}, ...place.childNodes);
  const said = make("span", {role: "status", class: "moe-loading"});
  const button = make("button", {type: "button", class: "moe-wake"}, "▶ Bring it to life");
  const note = make("span", {class: "moe-size"}, "Python runs in this page; it is loaded once, at most 15 MB.");
  const bar = make("p", {class: "moe-bar"}, button, note, said);
  place.replaceChildren(bar, strip);
  let touched = false;
  async function touch(byKey) {
    if (touched) return;
    touched = true;
    button.disabled = true;
    note.hidden = true;
    engine().watch(state => (said.textContent = state.error || state.said || "Drawing"));
    try {
      const el = await enliven(place, strip, bar);
      // The button that had the focus is gone; the keys go on in what took its place.
      if (byKey) el.querySelector(":is(input, button, select, [tabindex]):not(:disabled)")?.focus();
    } catch (error) {
      said.textContent = `${error.message} The picture below stands.`;
    }
  }
  button.addEventListener("click", event => touch(event.detail === 0));
  strip.addEventListener("click", event => event.target.closest("a") || String(getSelection()) || touch(false));
}

/** Offer life to the page's explorables, where it can be had. */
export function stages() {
  if (!canRun()) return;
  document.querySelectorAll(".explorable[data-name]").forEach(offer);
}
