"""The course on a web page: explorables in Pyodide, predictions and quizzes, served from a folder.

``-m browser -k page_short`` is the short form, for CI: one explorable the whole way, and the questions.
"""

import json
import time
import zipfile

import accessibility
import pytest
from playwright.sync_api import expect
from served import NAMES, Reader, explorable, question, site
from sliders import WATCH

from moe_lessons import explore
from moe_lessons.build.site.outputs import forget
from moe_lessons.course import predictions, quizzes
from moe_lessons.exercises import registry
from moe_lessons.explore import page as engine

pytestmark = pytest.mark.browser

# Keeps what passes between a page and its worker.
LISTEN = """
window.passed = [];
window.Worker = class extends Worker {
  constructor(...what) {
    super(...what);
    const hear = ({data: {id, answer, error}}) => id && passed.push(["answer", id, answer ?? error]);
    this.addEventListener("message", hear);
  }
  postMessage(data) {
    passed.push(["asked", data.id, data.message]);
    super.postMessage(data);
  }
};"""


# What passed, once each message has its answer and none has come since the last look.
SETTLED = """() => {
  const answers = passed.filter(([kind]) => kind === "answer").length;
  const quiet = 2 * answers === passed.length && window.before === passed.length;
  window.before = passed.length;
  return quiet && [...passed];
}"""


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    with site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def reader_of(browser, served):
    """Opens pages, each in a browser that has kept nothing; nothing may have gone wrong on them."""
    readers = []

    def open_(*places, script="", name="page.html", theme="light", **context):
        reader = Reader(browser, served.page(*places, name=name, theme=theme), script=script, **context)
        readers.append(reader)
        return reader

    yield open_
    for reader in readers:
        reader.context.close()
    assert [reader.problems for reader in readers if reader.problems] == []


def says(card, face):
    """A card says what the notebook's says, markup and all."""
    expect(card.locator(".moe-said")).to_have_attribute("data-of", face.said + face.picture)


def unlocked(place):
    """Wait until nothing in an explorable is locked."""
    expect(place.locator(".moe-panel :is(input, button, select):disabled")).to_have_count(0)


def its_own_questions(place, name):
    """Commit to something, question by question; the last one unlocks the controls."""
    for n in range(len(getattr(explore, name).questions)):
        assert place.locator(".moe-panel :is(input, button, select):disabled").count() > 0
        place.locator(".moe-question input").first.check()
        place.get_by_role("button", name="Commit").click()
        expect(place.locator(".moe-verdict")).to_have_count(n + 1)
    unlocked(place)


def settled(reader):
    """Wait until every message has its answer; returns them."""
    reader.page.evaluate("before = null")
    passed = reader.page.wait_for_function(SETTLED, polling=100).json_value()
    answers = {id: answer for kind, id, answer in passed if kind == "answer"}
    return [(message, answers[id]) for kind, id, message in passed if kind == "asked"]


def by_keyboard(reader, place):
    """Move every control by its keys."""
    for control in place.locator(".moe-panel :is(input[type=range], input[type=checkbox], select)").all():
        control.focus()
        for key in ("ArrowRight", "ArrowRight", "Space" if control.get_attribute("type") else "ArrowDown"):
            reader.page.keyboard.press(key)
        settled(reader)
    for text in place.locator(".moe-text input").all():
        text.fill("Two words and more")
    for group in place.locator(".moe-segments").all():
        group.locator("input:checked").focus()
        reader.page.keyboard.press("ArrowRight")


def by_mouse(reader, place):
    """Click landmarks and what can be picked, drag a slider and every handle."""
    for landmark in place.locator(".moe-landmarks button").all()[:3]:
        landmark.click()
    settled(reader)  # what can be dragged is what the last of them shows
    for slider in place.locator(".moe-panel input[type=range]").all()[:1]:
        box = slider.bounding_box()
        reader.page.mouse.click(box["x"] + 0.7 * box["width"], box["y"] + box["height"] / 2)
        settled(reader)
    for handle in place.locator(".moe-handle").all()[:2]:
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        reader.page.mouse.move(x, y)
        reader.page.mouse.down()
        reader.page.mouse.move(x + 25, y - 15, steps=4)
        reader.page.mouse.up()
        settled(reader)
    for mark in place.locator("[data-pick]").all()[:1]:
        mark.click(force=True)


def the_notebook_draws(messages, name):
    """What the notebook's widget shows after the same requests, as the wire would carry it."""
    asks = next(json.loads(m)["asks"] for m, _ in messages if json.loads(m)["call"] == "open")
    shown = getattr(explore, name)(ask=asks)
    if asks and not shown.asks:
        shown.unlock()
    shown._repr_mimebundle_()
    widget = shown._view._widget._widget
    for message, _ in messages:
        asked = json.loads(message)
        if asked["call"] == "unlock":
            (shown.switch(asked["part"]) if asked["part"] else shown).unlock()
        elif asked["call"] == "request":
            widget._handle_custom_msg(asked["request"], [])
    drawn = widget.shown["svg"]
    shown.close()
    return drawn


def same_as_python_says(messages, name):
    """Every answer is what this Python answers, byte for byte, and the last picture is the notebook's."""
    here = engine.Page()
    svg = ""
    for message, answer in messages:
        asked = json.loads(message)
        expected = getattr(here, asked.pop("call"))(**asked)
        said = json.loads(answer)
        assert said == expected
        svg = said["shown"]["svg"] if said else svg
    assert svg == the_notebook_draws(messages, name)


# --- The short form ---


def test_page_short_a_prediction_unlocks_and_the_picture_follows(reader_of):
    places = question("prediction", "01.norm"), explorable("Router"), question("reveal", "01.norm")
    reader = reader_of(*places, script=LISTEN)
    page = reader.page
    assert not page.evaluate(
        "performance.getEntriesByType('resource').some(one => one.name.includes('pyodide'))"
    )
    start = time.monotonic()
    place = reader.wake("Router", by_key=True)
    print(f"\nfrom the touch to the first frame: {time.monotonic() - start:.1f} s")
    expect(place.locator(".moe-lock")).to_be_visible()
    assert place.locator(".moe-panel input[type=range]").first.is_disabled()
    expect(page.locator(".reveal")).to_contain_text("You have not committed to a prediction.")
    found = registry.prediction("01.norm")
    card = page.locator(".prediction")
    card.get_by_role("radio").nth(0).focus()
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    unlocked(place)
    says(card, predictions.now_committed(found, 1)[1])
    expect(page.locator(".reveal")).to_contain_text("✔ As you predicted.")
    by_keyboard(reader, place)
    by_mouse(reader, place)
    messages = settled(reader)
    assert len(messages) > 12
    same_as_python_says(messages, "Router")
    # Next time everything is as it was left, and open.
    page.reload()
    says(page.locator(".prediction"), predictions.stands(found, 1, revealed=False)[1])
    unlocked(reader.wake("Router"))


def test_page_short_quizzes_answer_with_the_notebook_s_words_and_are_kept(reader_of):
    choice, number = registry.quiz("00.topk"), registry.quiz("00.softmax")
    reader = reader_of(*(question("quiz", one.id) for one in (choice, number)))
    page = reader.page
    first, second = (page.locator(f".quiz[data-id='{one.id}']") for one in (choice, number))
    for i in range(len(choice.choices)):
        first.get_by_role("radio").nth(i).click()
        first.get_by_role("button", name="Answer").click()
        says(first, quizzes.chosen(choice, i)[1])
    for typed in ("much", "1/4", "3/4"):
        second.get_by_role("textbox").fill(typed)
        page.keyboard.press("Enter")
        says(second, quizzes._respond(number, typed)[1])
    assert reader.kept()["answers"] == {choice.id: len(choice.choices) - 1, number.id: "3/4"}
    page.reload()
    expect(second.locator(".moe-said")).to_contain_text("✔ Right.")
    assert second.get_by_role("textbox").input_value() == "3/4"


# --- The longer form ---


@pytest.fixture(scope="module")
def all_of_them(reader_of):
    """One page with every explorable, which ask their own questions there."""
    return reader_of(*map(explorable, NAMES), script=LISTEN, name="all.html")


@pytest.mark.parametrize("name", NAMES)
def test_an_explorable_lives_on_a_page_and_draws_what_the_notebook_draws(all_of_them, name):
    reader = all_of_them
    reader.page.evaluate("passed.length = 0")
    place = reader.wake(name)
    its_own_questions(place, name)
    by_keyboard(reader, place)
    by_mouse(reader, place)
    messages = settled(reader)
    assert len(messages) > 5
    same_as_python_says(messages, name)
    assert reader.problems == []


def test_each_switch_waits_for_its_prediction(reader_of):
    ids = ("02.no_inverse", "02.no_minlength")
    reader = reader_of(*(question("prediction", id) for id in ids), explorable("SortedLayer"))
    place = reader.wake("SortedLayer")
    locked = place.locator(".moe-locked")
    expect(locked).to_have_count(4)
    for n, id in enumerate(ids):
        card = reader.page.locator(f".prediction[data-id='{id}']")
        card.get_by_role("radio").first.click()
        card.get_by_role("button", name="Commit").click()
        expect(locked).to_have_count(3 - n)


def test_a_prediction_in_another_tab_unlocks_too(reader_of):
    reader = reader_of(question("prediction", "05.minimum"), explorable("Surface"), name="two.html")
    place = reader.wake("Surface")
    expect(place.locator(".moe-lock")).to_be_visible()
    other = reader.context.new_page()
    other.goto(reader.page.url)
    other.get_by_role("radio").first.click()
    other.get_by_role("button", name="Commit").click()
    unlocked(place)
    expect(reader.page.locator(".prediction")).to_contain_text("You predicted")


def test_without_webassembly_the_strip_stands_and_quizzes_answer(reader_of):
    places = explorable("Router"), question("quiz", "00.topk"), question("quiz", "00.softmax")
    reader = reader_of(*places, script="delete window.WebAssembly;")
    expect(reader.page.locator(".quiz[data-id='00.topk'] .moe-card")).to_be_visible()
    assert reader.page.get_by_role("button", name="Bring it to life").count() == 0
    assert reader.page.locator(".explorable > svg").is_visible()
    number = reader.page.locator(".quiz[data-id='00.softmax']")
    expect(number).to_contain_text("What is read without scripts.")
    expect(number).to_contain_text("it has no WebAssembly")


def test_where_python_does_not_start_the_strip_stands_and_a_sentence_says_why(browser, served):
    reader = Reader(browser, served.page(explorable("Router"), name="broken.html"), start=False)
    reader.context.route("**/python_stdlib.zip", lambda route: route.fulfill(status=404))
    reader.page.goto(reader.address)
    reader.page.get_by_role("button", name="Bring it to life").click()
    expect(reader.page.locator(".moe-loading")).to_contain_text("Python could not be started")
    assert reader.page.locator(".explorable svg.moe").is_visible()
    reader.context.close()


def test_where_nothing_can_be_kept_a_prediction_lasts_as_long_as_the_page(reader_of):
    refuse = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('switched off'); }});"
    reader = reader_of(question("prediction", "01.norm"), question("reveal", "01.norm"), script=refuse)
    reader.page.get_by_role("radio").nth(1).click()
    reader.page.get_by_role("button", name="Commit").click()
    expect(reader.page.locator(".reveal")).to_contain_text("✔ As you predicted.")


def test_a_lesson_s_answers_can_be_forgotten_by_keyboard_and_nothing_else_is(reader_of):
    places = question("prediction", "01.norm"), explorable("Router"), question("reveal", "01.norm")
    reader = reader_of(*places, question("quiz", "00.topk"), forget("01"))
    page, said = reader.page, reader.page.locator(".forget [role=status]")
    expect(said).to_contain_text("no answers of this lesson, no answers in all")
    assert page.locator(".forget button:visible").count() == 0
    for place, button in ((".prediction", "Commit"), (".quiz", "Answer")):
        page.locator(place).get_by_role("radio").nth(1).click()
        page.locator(place).get_by_role("button", name=button).click()
    unlocked(reader.wake("Router"))
    expect(said).to_contain_text("1 answer of this lesson, 2 answers in all")
    asks = page.get_by_role("button", name="Forget this lesson")
    asks.focus()
    page.keyboard.press("Enter")
    group = page.get_by_role("group", name="Forget 1 answer of this lesson?")
    expect(group.get_by_role("button", name="Keep them")).to_be_focused()
    page.keyboard.press("Escape")
    expect(asks).to_be_focused()
    assert reader.kept()["predictions"] == {"01.norm": 1}
    for key in ("Enter", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(said).to_contain_text("no answers of this lesson, 1 answer in all")
    expect(page.locator(".forget")).to_be_focused()
    assert reader.kept()["predictions"] == {}
    assert list(reader.kept()["answers"]) == ["00.topk"]
    # What was unlocked waits again, and can be had again.
    expect(page.locator(".reveal")).to_contain_text("You have not committed to a prediction.")
    expect(page.locator(".quiz .moe-said")).not_to_be_empty()
    expect(page.locator(".prediction .moe-said")).to_be_empty()
    place = reader.wake("Router")
    expect(place.locator(".moe-lock")).to_be_visible()
    page.locator(".prediction").get_by_role("radio").first.click()
    page.locator(".prediction").get_by_role("button", name="Commit").click()
    unlocked(place)


def test_all_answers_can_be_forgotten_and_other_tabs_hear_of_it(reader_of):
    reader = reader_of(question("quiz", "00.topk"), question("prediction", "01.norm"), name="left.html")
    other = reader.context.new_page()
    other.goto(reader_of(forget(), name="right.html").address)
    reader.page.locator(".quiz").get_by_role("radio").first.click()
    reader.page.locator(".quiz").get_by_role("button", name="Answer").click()
    reader.page.locator(".prediction").get_by_role("radio").first.click()
    reader.page.locator(".prediction").get_by_role("button", name="Commit").click()
    expect(other.locator(".forget")).to_contain_text("This browser keeps 2 answers of the course.")
    assert axe_of(other) == []
    other.get_by_role("button", name="Forget all my answers").click()
    assert axe_of(other) == []
    other.get_by_role("button", name="Forget them").click()
    expect(other.locator(".forget")).to_contain_text("no answers of the course")
    for kind in ("quiz", "prediction"):
        expect(reader.page.locator(f".{kind} .moe-said")).to_be_empty()
    assert reader.kept()["answers"] == reader.kept()["predictions"] == reader.kept()["quizzes"] == {}


def test_what_a_page_gets_of_python_is_bytecode(served):
    """And of the standard library what is used: a build that lost this step would only be slow."""
    course = served.folder / "_static" / "course"
    for name in ("moe_lessons.zip", "pyodide/python_stdlib.zip"):
        with zipfile.ZipFile(course / name) as packed:
            kinds = {file.rpartition(".")[2] for file in packed.namelist()}
        assert "pyc" in kinds
        assert "py" not in kinds
    assert json.loads((course / "files.json").read_text())["bytes"] < 15e6  # as the button says


def axe_of(page):
    """What axe objects to on a page."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(accessibility.AXE_SCRIPT)
    return page.evaluate(accessibility.RUN_AXE, ["main"])[0]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(reader_of, theme):
    places = question("prediction", "01.norm"), explorable("Router"), question("quiz", "00.softmax")
    paper = "body { background: var(--moe-paper); color: var(--moe-ink); }"
    reader = reader_of(f"<h1>A page</h1><style>{paper}</style>", *places, theme=theme)
    reader.page.locator(".moe-card").first.wait_for()
    assert axe_of(reader.page) == []
    reader.wake("Router")
    assert axe_of(reader.page) == []


def test_on_a_phone_the_drawing_slides_and_the_page_does_not(reader_of):
    reader = reader_of(explorable("Capacity"), viewport={"width": 360, "height": 740})
    place = reader.wake("Capacity")
    assert place.locator(".moe-drawn > svg").bounding_box()["width"] >= 600
    assert reader.page.evaluate("document.documentElement.scrollWidth") == 360
    place.locator(".moe-scene").evaluate("scene => (scene.scrollLeft = 200)")
    title = place.locator(".moe-title").bounding_box()
    assert title["x"] >= 0
    assert title["x"] + title["width"] <= 360
    assert axe_of(reader.page) == []


@pytest.mark.parametrize("name", ["Router", "Sentence", "Capacity", "AllToAll", "RoutingStrip"])
def test_from_key_to_pixels(reader_of, name):
    """Measured and printed; a busy machine proves nothing."""
    reader = reader_of(explorable(name), question("prediction", _unlocks(name)) if _unlocks(name) else "")
    if _unlocks(name):
        reader.page.get_by_role("radio").first.click()
        reader.page.get_by_role("button", name="Commit").click()
    place = reader.wake(name)
    if not _unlocks(name):
        its_own_questions(place, name)
    unlocked(place)
    place.locator(".moe-panel input[type=range]").first.focus()
    reader.page.keyboard.press("Home")
    reader.page.wait_for_timeout(1000)
    place.locator(".moe-drawn").evaluate(WATCH)
    for move in range(20):
        reader.page.keyboard.press("ArrowRight" if move % 10 < 5 else "ArrowLeft")
        reader.page.wait_for_function("n => window.moves.length >= n", arg=move + 1)
    moves = sorted(reader.page.evaluate("window.moves"))
    print(f"\n{name}, key to pixels on a page: median {moves[10]:.0f} ms, worst {moves[-1]:.0f} ms, n=20")
    assert len(moves) == 20


def _unlocks(name):
    return {"Router": "01.norm", "Sentence": "00.shared", "Capacity": "07.random"}.get(name)
