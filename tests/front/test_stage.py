"""The engine's side of a stage, with a page that behaves well, badly, late, or is gone."""

import json
import shutil
import subprocess
import threading
import xml.etree.ElementTree as ET

import pytest

from moe_lessons.front import page, stage
from moe_lessons.svg import figure


class Dial:
    """Something with one number that an engine drives."""

    def __init__(self):
        self.value, self.drawn = 0, 0

    def act(self, request):
        wanted = request.get("set", {}).get("dial", self.value)
        if wanted < 0:
            raise ValueError(f"dial is {wanted}: at least 0")
        self.value = wanted

    def look(self):
        if self.value == 13:
            raise RuntimeError("thirteen cannot be drawn")
        self.drawn += 1
        return {"svg": f"<svg>{self.value}</svg>", "asked": {}}


@pytest.fixture
def dial():
    return Dial()


@pytest.fixture
def engine(dial):
    return stage.Engine(dial.act, dial.look)


def ask(n, value=None, view="a"):
    return {"view": view, "n": n} | ({} if value is None else {"set": {"dial": value}})


def test_an_answer_names_what_it_answers(engine):
    answer = engine.answer(ask(1, 5))
    assert answer == {"svg": "<svg>5</svg>", "asked": {}, "of": ["a", 1], "error": ""}
    assert engine.answer(ask(2))["svg"] == "<svg>5</svg>"


def test_what_comes_late_is_dropped(engine, dial):
    """Callbacks on several threads may overtake each other; the newest value must stand."""
    engine.answer(ask(3, 5))
    assert engine.answer(ask(2, 4)) is None
    assert engine.answer(ask(3, 4)) is None
    assert (dial.value, dial.drawn) == (5, 1)


def test_two_views_count_for_themselves(engine, dial):
    engine.answer(ask(7, 5))
    assert engine.answer(ask(1, 4, view="b"))["of"] == ["b", 1]
    assert dial.value == 4


def test_a_mistake_in_a_callback_is_said_and_the_state_stays(engine, dial):
    engine.answer(ask(1, 5))
    answer = engine.answer(ask(2, -1))
    assert answer["error"].startswith("ValueError: dial is -1: at least 0 (test_stage.py, line ")
    assert answer["svg"] == "<svg>5</svg>"
    assert engine.answer(ask(3, 6))["error"] == ""


def test_what_cannot_be_drawn_leaves_the_last_picture(engine):
    engine.answer(ask(1, 5))
    answer = engine.answer(ask(2, 13))
    assert "thirteen cannot be drawn" in answer["error"]
    assert answer["svg"] == "<svg>5</svg>"
    assert engine.answer(ask(3, 14))["svg"] == "<svg>14</svg>"


def test_threads_do_not_mix(engine, dial):
    answers = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(engine.answer(ask(n, n)))) for n in range(14, 40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dial.value == 39
    assert all(a["svg"] == f"<svg>{a['of'][1]}</svg>" for a in answers if a)


def test_a_widget_shows_answers_and_says_nothing_twice(engine, dial):
    widget = stage.Widget({"name": "dial"}, engine)
    seen = []
    widget._widget.observe(lambda change: seen.append(change["name"]), ["shown", "asked"])
    widget._widget._handle_custom_msg(ask(1, 5), [])
    assert widget._widget.shown["of"] == ["a", 1]
    assert seen == ["shown"]
    widget._widget._handle_custom_msg(ask(1, 6), [])
    assert (seen, dial.value) == (["shown"], 5)
    dial.value = 8
    widget.refresh()
    assert widget._widget.shown == {"svg": "<svg>8</svg>", "of": None, "error": ""}
    widget.close()
    assert widget._widget.comm is None


def test_what_crosses_the_wire_is_json(engine):
    widget = stage.Widget({"name": "dial"}, engine)
    json.dumps([widget._widget.fixed, widget._widget.asked, widget._widget.shown])
    widget.close()


def test_a_figure_says_where_its_body_is():
    """The page takes title and caption out of a drawing: the lines of text before and after its one <g>."""
    svg = ET.fromstring(figure(120, 40, "A title of two lines", "", "<rect/>", "And a caption of two").svg)
    tags = [one.tag.rpartition("}")[2] for one in svg]
    assert tags.count("g") == 1
    at = tags.index("g")
    assert [tag for tag in tags[:at] if tag == "text"] == ["text"] * 2
    assert tags[at + 1 :] == ["text"] * 2
    top, height = map(float, svg.get("data-body").split())
    assert svg[at].get("transform") == f"translate(0 {top:g})"
    assert height == 40


# The page's side of the wire: how requests are merged. It runs where node is; tests/browser has it in a page.
WIRE = """
globalThis.requestAnimationFrame = f => f();
const {wire} = await import(process.argv[1]);
const sent = [];
const model = {get: () => ({values: {a: 0, b: 0}}), send: m => sent.push(m)};
let alive = true;
const line = wire(model, {alive: () => alive, changed: () => {}});
const answer = () => line.answered([sent.at(-1).view, sent.at(-1).n]);
const set = values => line.ask({set: values});
set({a: 1});
for (let i = 2; i < 50; i += 1) set({a: i});
set({b: 7});
const during = [sent.length, line.wanted("a"), line.wanted("b")];
line.answered(["another", 1]); line.answered([sent[0].view, 99]); line.answered(null);
const foreign = sent.length;
answer();
const merged = sent.at(-1);
answer();
const idle = line.idle();
set({a: 1}); set({b: 2}); line.ask({go: 3}); set({a: 5});
answer();
const jumped = sent.at(-1);
answer();
alive = false;
set({a: 9});
console.log(JSON.stringify({during, foreign, merged, idle, jumped, total: sent.length}));
process.exit(0);
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_page_has_one_request_outstanding_and_the_newest_value_wins(tmp_path):
    module = tmp_path / "stage.mjs"
    module.write_text(page.source("stage.js") + "\nexport {wire};\n", encoding="utf-8")
    done = subprocess.run(
        ["node", "--input-type=module", "-e", WIRE, module.as_uri()],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["during"] == [1, 49, 7]
    assert found["foreign"] == 1
    assert found["merged"]["set"] == {"a": 49, "b": 7}
    assert found["idle"]
    assert {"go": 3, "set": {"a": 5}}.items() <= found["jumped"].items()
    assert found["total"] == 4
