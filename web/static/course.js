// The course alive on a page: explorables, predictions, quizzes. The page marks where they stand (see
// moe_lessons/build/site/outputs.py); what is in those places stays as it is for those who have no scripts.
// Everything else lies in the folder `course/` beside this file; web/bundle.py fills it.

import {cards} from "./course/cards.js";
import {forgetting} from "./course/forget.js";
import {stages} from "./course/stages.js";

if (!document.querySelector("link[data-course]")) {
  const sheet = document.createElement("link");
  Object.assign(sheet, {rel: "stylesheet", href: new URL("course/course.css", import.meta.url).href});
  sheet.dataset.course = "";
  document.head.append(sheet);
}

stages();
cards();
forgetting();
