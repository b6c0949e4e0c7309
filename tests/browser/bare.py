"""An explorable on a page without Jupyter: the second engine that the protocol is made for, in this process.

The page has `stage.js` as it is and a ``model`` of four functions; requests go to Python through a function
that the page may call, and answers come back as they would from a kernel.
"""

import json
import time

from moe_lessons.explore import widget
from moe_lessons.front import page, stage

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A stage</title>
<style>{css}</style></head>
<body><main id="place" class="jp-Cell-outputArea" style="margin: 0 10px"></main></body></html>"""

START = """async ([source, state]) => {
  const module = new Blob([source], {type: "text/javascript"});
  const {default: {render}} = await import(URL.createObjectURL(module));
  const heard = {}, kernel = {comm_live: true};
  window.sent = [];
  window.asked = 0; // requests that Python has not dealt with
  window.model = {
    get: name => state[name],
    on: (event, f) => (heard[event] ??= []).push(f),
    off: () => {},
    widget_manager: {get_model: async () => kernel},
    send: async request => {
      sent.push(request);
      window.asked += 1;
      await engine(JSON.stringify(request)).finally(() => (window.asked -= 1));
    },
  };
  window.receive = fresh => {
    for (const name of Object.keys(fresh)) {
      state[name] = fresh[name];
      for (const f of heard[`change:${name}`] ?? []) f();
    }
  };
  window.gone = () => {
    kernel.comm_live = false;
    for (const f of heard["comm_live_update"] ?? []) f();
  };
  await render({model, el: place});
}"""

# What waits for an answer is sent in the frame after it: nothing is under way after some frames without any.
SETTLED = """() => new Promise(done => {
  let quiet = 0;
  const look = () => {
    quiet = asked ? 0 : quiet + 1;
    if (quiet > 3) done();
    else requestAnimationFrame(look);
  };
  look();
})"""


class Bare:
    """One explorable on a page; `wait_s` makes its engine slow."""

    def __init__(self, browser, explorable, width=1366, height=641, wait_s=0.0, answers=True, **context):
        self.explorable, self.wait_s, self.answers = explorable, wait_s, answers
        self.page = browser.new_page(viewport={"width": width, "height": height}, **context)
        self.page.set_default_timeout(60_000)
        self.problems = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.engine = stage.Engine(
            lambda request: widget.act(explorable, request), lambda: widget.state(explorable)
        )
        self.page.expose_function("engine", self._asked)
        self.page.set_content(PAGE.format(css=page.css("stage.css")))
        shown = self.engine.state()
        start = {"fixed": widget.fixed(explorable), "asked": shown.pop("asked"), "shown": shown}
        self.page.evaluate(START, [page.source("stage.js"), start])

    def _asked(self, request):
        if not self.answers:
            return
        time.sleep(self.wait_s)
        answer = self.engine.answer(json.loads(request))
        if answer is not None:
            self.show(answer)

    def show(self, answer=None):
        """Send the page a state, by default the present one."""
        answer = self.engine.state() if answer is None else answer
        self.page.evaluate("fresh => receive(fresh)", {"asked": answer.pop("asked"), "shown": answer})

    @property
    def sent(self):
        """The requests so far."""
        return self.page.evaluate("sent")

    def settle(self):
        """Wait until nothing is under way."""
        self.page.evaluate(SETTLED)
