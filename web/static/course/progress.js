// What a reader has predicted and answered, kept in this browser, in the form of a learner's progress file
// (moe_lessons/course/store.py), and beside it what Python said to a number that was typed. Where nothing can be
// kept, it lasts as long as the page.

const KEY = "moe-lessons";
const empty = () => ({version: 1, quizzes: {}, answers: {}, predictions: {}, said: {}});
let unsaved = null;

/** What is kept: an entry that is not what it should be is left out. */
export function load() {
  if (unsaved) return unsaved;
  const kept = empty();
  try {
    const found = JSON.parse(localStorage.getItem(KEY));
    if (found?.version !== 1) return kept;
    const kinds = {quizzes: ["boolean"], answers: ["number", "string"], predictions: ["number"], said: ["object"]};
    for (const [kind, types] of Object.entries(kinds)) {
      for (const [id, value] of Object.entries(found[kind] ?? {})) {
        if (types.includes(typeof value)) kept[kind][id] = value;
      }
    }
  } catch {
    // Storage that is switched off, or a text that is no JSON: we begin anew.
  }
  return kept;
}

/** Change what is kept; other tabs may have changed it since it was read. */
export function update(change) {
  const progress = load();
  change(progress);
  try {
    localStorage.setItem(KEY, JSON.stringify(progress));
  } catch {
    unsaved = progress;
  }
  for (const told of changed) told();
}

const changed = [];

/** Call `told` whenever what is kept may have changed, here or in another tab. */
export function whenKept(told) {
  changed.push(told);
}

const ofLesson = lesson => id => !lesson || id.split(".")[0] === lesson;

/** How many predictions and answers are kept: of a lesson by its number, or of all. */
export function count(lesson) {
  const {answers, predictions} = load();
  return [...Object.keys(answers), ...Object.keys(predictions)].filter(ofLesson(lesson)).length;
}

/** Forget the predictions and answers of a lesson, or of all. */
export function forget(lesson) {
  update(({version, ...kinds}) => {
    for (const kept of Object.values(kinds)) for (const id of Object.keys(kept).filter(ofLesson(lesson))) delete kept[id];
  });
}

const heard = [];

/** Call `told` with the id of every prediction that is committed, here or in another tab. */
export function whenCommitted(told) {
  heard.push(told);
}

/** The committed option of a prediction, or undefined. */
export const committed = id => load().predictions[id];

/** Commit to an option; what was committed before stays. */
export function commit(id, option) {
  if (committed(id) === undefined) update(progress => (progress.predictions[id] = option));
  for (const told of heard) told(id);
}

addEventListener("storage", event => {
  if (event.key !== KEY && event.key !== null) return; // null: everything was cleared
  for (const told of changed) told();
  for (const id of Object.keys(load().predictions)) for (const told of heard) told(id);
});
