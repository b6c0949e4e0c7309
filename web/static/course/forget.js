// Lets a reader forget what this browser keeps: predictions and answers of the page's lesson, or of all. The page marks
// the place, with its lesson's number in `data-lesson`; it is empty for those who have no scripts, as nothing is kept then.

import {make} from "./element.js";
import {count, forget, whenKept} from "./progress.js";

const answers = n => (n === 1 ? "1 answer" : `${n || "no"} answers`);

function offer(place) {
  const {lesson} = place.dataset;
  const said = make("p", {role: "status"});
  const line = make("div", {class: "moe-forget-line"});
  const choices = [
    ...(lesson ? [{label: "Forget this lesson\u2019s answers", of: lesson}] : []),
    {label: "Forget all my answers", of: undefined},
  ].map(({label, of}) => ({of, button: make("button", {type: "button", onclick: () => ask(of)}, label)}));

  function show() {
    const all = `${answers(count())}${lesson ? " in all" : " of the course"}`;
    said.textContent = `This browser keeps ${lesson ? `${answers(count(lesson))} of this lesson, ` : ""}${all}. `
      + "They go nowhere else.";
    for (const {of, button} of choices) button.hidden = !count(of);
  }

  function rest() {
    line.replaceChildren(...choices.map(({button}) => button));
    show();
  }

  /** The question stands where the buttons were; the key that asked does not answer it. */
  function ask(of) {
    const back = () => {
      rest();
      choices.find(one => one.of === of).button.focus();
    };
    const keep = make("button", {type: "button", onclick: back}, "Keep them");
    const yes = make("button", {type: "button", onclick: () => {
      forget(of);
      rest();
      place.focus();
    }}, "Forget them");
    const which = `${answers(count(of))}${of ? " of this lesson" : ""}`;
    const question = make("p", {id: "moe-forget-question"}, `Forget ${which}? Nothing brings them back.`);
    line.replaceChildren(make("div", {role: "group", "aria-labelledby": question.id, onkeydown: ({key}) => {
      if (key === "Escape") back();
    }}, question, keep, yes));
    keep.focus();
  }

  place.tabIndex = -1;
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", "Your answers");
  place.replaceChildren(said, line);
  rest();
  whenKept(show);
}

/** Offer to forget, where the page has a place for it. */
export function forgetting() {
  document.querySelectorAll(".forget").forEach(offer);
}
