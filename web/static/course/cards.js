// Predictions and quizzes. Python wrote every face beforehand (web/questions.py); here one is chosen and kept. Only
// a number that was typed is judged by Python itself, in the worker.

import {make} from "./element.js";
import {engine, canRun} from "./engine.js";
import {makeModel} from "./model.js";
import {commit, committed, load, update, whenCommitted, whenKept} from "./progress.js";

const folder = new URL("./", import.meta.url);
const lessons = new Map();
const WORDS = {late: "Waiting for Python, which is loaded once."};

/** What is known of a question: its lesson's file, loaded once. */
async function known(kind, id) {
  const number = id.split(".")[0];
  if (!lessons.has(number)) {
    const file = new URL(`questions/${number}.json`, folder);
    lessons.set(number, fetch(file).then(answer => (answer.ok ? answer.json() : Promise.reject(answer.status))));
  }
  return (await lessons.get(number))[kind][id];
}

/** Put a card into a place; its model comes back. */
async function show(place, face, send) {
  const {default: {render}} = await import("./card.js");
  const el = document.createElement("div");
  const model = makeModel({card: {...face, seen: 0}, words: WORDS}, send);
  await render({model, el});
  place.replaceChildren(el);
  place.dataset.alive = "";
  return model;
}

async function prediction(place) {
  const {id} = place.dataset;
  const found = await known("predictions", id);
  const face = change => ({...found.face, ...change});
  const made = committed(id);
  const first = made === undefined ? {} : found.stands[made];
  const model = await show(place, face(first), ({answer}) => commit(id, answer));
  whenCommitted(which => {
    const {mark} = model.get("card");
    if (which === id && mark === null) model.put({card: face(found.made[committed(id)])});
  });
  whenKept(() => {
    if (committed(id) === undefined && model.get("card").mark !== null) model.put({card: face({})});
  });
}

async function reveal(place) {
  const {id} = place.dataset;
  const found = await known("predictions", id);
  const read = () => (place.innerHTML = found.shown[committed(id)] ?? found.unasked);
  read();
  place.dataset.alive = "";
  whenCommitted(which => which === id && read());
  whenKept(() => committed(id) === undefined && read());
}

async function quiz(place) {
  const {id} = place.dataset;
  const found = await known("quizzes", id);
  if (found.number && !canRun()) {
    const why = "Python judges a number here, and this browser cannot run it: it has no WebAssembly. So the answer is shown.";
    place.append(make("p", {class: "moe-size"}, why));
    return;
  }
  let seen = 0;
  const face = change => ({...found.face, ...change, seen: (seen += 1)});
  const keep = (right, answer, said) => update(progress => {
    progress.quizzes[id] = right;
    progress.answers[id] = answer;
    if (said) progress.said[id] = said;
  });
  async function judge(typed) {
    const {mark, verdict, said, picture} = await engine().call("judge",
      {card: {...found.face, seen}, typed, ...found.number});
    const change = {mark, verdict, said, picture};
    if (verdict !== "note") keep(verdict === "right", typed, change);
    model.put({card: face(change)});
  }
  function answered({answer}) {
    if (found.number) {
      judge(answer).catch(error => model.put({card: face({mark: answer, verdict: "note", said: error.message})}));
      return;
    }
    const change = found.chosen[answer];
    keep(change.verdict === "right", answer);
    model.put({card: face(change)});
  }
  const {answers: {[id]: before}, said: {[id]: judged}} = load();
  const first = found.number ? (judged?.mark === before ? judged : {}) : found.chosen[before];
  const model = await show(place, {...found.face, ...first}, answered);
  whenKept(() => {
    const {[id]: answer} = load().answers;
    if (answer === undefined && ["right", "wrong"].includes(model.get("card").verdict)) model.put({card: face({})});
  });
}

/** Bring the questions of the page to life; where that fails, what is read stays. */
export function cards() {
  for (const [kind, make] of Object.entries({prediction, reveal, quiz})) {
    for (const place of document.querySelectorAll(`.${kind}[data-id]`)) {
      make(place).catch(error => console.warn(`${kind} ${place.dataset.id}:`, error));
    }
  }
}
