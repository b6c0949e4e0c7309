"""The stage on a page without Jupyter, driven by an engine in this process: what is seen and touched."""

import accessibility
import pytest
from bare import Bare
from playwright.sync_api import expect

from moe_lessons import explore
from moe_lessons.explore import Capacity, Collapse, Permutation, Router, SortedLayer, Surface
from moe_lessons.explore.base import Slider

pytestmark = pytest.mark.browser

NAMES = [name for name in explore.__all__ if name != "LiveView"]

# JupyterLab gives an output this much of a window of 1366 x 641, beside its file browser: 934 x 520 px.
PANEL = (954, 520)
WIDE = (1488, 900)
NARROW = (520, 641)

BOX = """name => {
  const {left, right, top, bottom} = document.querySelector(name).getBoundingClientRect();
  return {left, right, top, bottom};
}"""


MOVE = """(input, times) => {
  for (let i = 0; i < times; i += 1) {
    input.stepDown();
    input.dispatchEvent(new Event("input"));
  }
}"""


COUNT_FLIGHTS = """() => {
  window.flown = [];
  const animate = Element.prototype.animate;
  Element.prototype.animate = function (...how) {
    flown.push(this.dataset.key);
    return animate.apply(this, how);
  };
}"""


@pytest.fixture
def show(browser):
    pages = []

    def show(explorable, **options):
        pages.append(Bare(browser, explorable, **options))
        return pages[-1]

    yield show
    for bare in pages:
        assert bare.problems == []
        bare.page.close()


def box(bare, name):
    return bare.page.evaluate(BOX, name)


@pytest.mark.parametrize("name", NAMES)
def test_result_picture_and_controls_fit_the_window(show, name):
    bare = show(getattr(explore, name)(locked=False), width=PANEL[0], height=PANEL[1])
    for width, height in (PANEL, WIDE):
        bare.page.set_viewport_size({"width": width, "height": height})
        picture, panel, stage = (box(bare, part) for part in (".moe-picture", ".moe-panel", ".moe-stage"))
        assert panel["left"] >= picture["right"]
        assert stage["bottom"] <= height
        assert panel["bottom"] <= height
        assert picture["right"] - picture["left"] >= 680
    bare.page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    picture, panel = box(bare, ".moe-picture"), box(bare, ".moe-panel")
    assert panel["bottom"] <= picture["top"]
    assert bare.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_moves_under_the_pointer(show, name):
    explorable = getattr(explore, name)(locked=False)
    bare = show(explorable, width=PANEL[0], height=PANEL[1])
    parts = (".moe-picture", ".moe-caption", ".moe-landmarks", ".moe-stage")
    before = [box(bare, part) for part in parts]
    for landmark in explorable.landmarks():
        explorable.params = landmark.go(explorable.params)
        bare.show()
        assert [box(bare, part) for part in parts] == before


def middle(bare, handle):
    at = handle.bounding_box()
    return at["x"] + at["width"] / 2, at["y"] + at["height"] / 2


DRAGS = [
    (Router, "router vector 2", (60, -40), lambda p: (p.expert, p.angles[2], p.norms[2])),
    (Surface, "the point", (-50, 40), lambda p: (p.f, p.P)),
    (Capacity, "the capacity line", (60, 0), lambda p: p.factor),
]


@pytest.mark.parametrize(("explorable", "name", "way", "read"), DRAGS)
def test_a_handle_follows_the_pointer(show, explorable, name, way, read):
    bare = show(explorable(locked=False), width=PANEL[0], height=PANEL[1])
    handle = bare.page.get_by_role("slider", name=name, exact=True)
    x, y = middle(bare, handle)
    before = read(bare.explorable.params)
    mouse = bare.page.mouse
    mouse.move(x, y)
    mouse.down()
    for i in range(1, 11):
        mouse.move(x + way[0] * i / 10, y + way[1] * i / 10)
    mouse.up()
    bare.settle()
    after = read(bare.explorable.params)
    assert after != before
    now_x, now_y = middle(bare, handle)
    assert abs(now_x - x - way[0]) < 8
    assert abs(now_y - y - way[1]) < 8
    mouse.move(x, y)
    bare.settle()
    assert read(bare.explorable.params) == after


@pytest.mark.parametrize(("explorable", "name", "way", "read"), DRAGS)
def test_a_handle_follows_the_arrow_keys(show, explorable, name, way, read):
    bare = show(explorable(locked=False), width=PANEL[0], height=PANEL[1])
    handle = bare.page.get_by_role("slider", name=name, exact=True)
    handle.focus()
    before, said = read(bare.explorable.params), handle.get_attribute("aria-valuenow")
    for _ in range(5):
        bare.page.keyboard.press("ArrowRight")
    bare.settle()
    assert read(bare.explorable.params) != before
    assert handle.get_attribute("aria-valuenow") != said
    expect(handle).to_be_focused()
    for _ in range(5):
        bare.page.keyboard.press("ArrowLeft")
    bare.settle()
    back = read(bare.explorable.params)
    assert back[1:] == pytest.approx(before[1:]) if explorable is Router else back == pytest.approx(before)


def test_a_drag_drops_frames_and_ends_where_the_pointer_does(show):
    bare = show(Surface(locked=False), wait_s=0.15)
    slider = bare.page.get_by_role("slider", name="f₁ (%)", exact=True)
    before = float(slider.input_value())
    # All in one go, as a fast mouse: the engine answers when the hand has long moved on.
    slider.evaluate(MOVE, 40)
    bare.settle()
    assert len(bare.sent) == 2
    assert float(slider.input_value()) == before - 20
    assert 100 * bare.explorable.params.f == pytest.approx(before - 20)
    assert [request["n"] for request in bare.sent] == list(range(1, len(bare.sent) + 1))


def test_locked_says_so_and_unlocks(show):
    bare = show(Surface(ask=False))
    expect(bare.page.get_by_text("commit to a prediction above")).to_be_visible()
    assert bare.page.locator(".moe-handle").count() == 0
    assert bare.page.locator(".moe-panel :is(input, button):enabled").count() == 0
    bare.explorable.unlock()
    bare.show()
    expect(bare.page.get_by_text("commit to a prediction above")).to_be_hidden()
    assert bare.page.locator(".moe-panel :disabled").count() == 0
    assert bare.page.locator(".moe-handle").count() == 1


def test_questions_are_answered_by_keyboard(show):
    bare = show(Surface())
    for _ in bare.explorable.questions:
        bare.page.get_by_role("radio").last.focus()
        bare.page.keyboard.press("Space")
        bare.page.keyboard.press("Tab")
        bare.page.keyboard.press("Enter")
        bare.settle()
    assert bare.explorable.choices == [2, 3]
    expect(bare.page.get_by_text("You predicted")).to_have_count(2)
    assert bare.page.locator(".moe-panel :disabled").count() == 0


def test_a_race_plays_to_its_end(show):
    bare = show(Collapse(locked=False))
    bare.page.get_by_role("button", name="Play").click()
    expect(bare.page.get_by_role("button", name="Pause")).to_be_visible()
    bare.page.wait_for_function("model.get('shown').values.Step === 200")
    expect(bare.page.get_by_role("button", name="Play")).to_be_visible()
    steps = [request["set"]["Step"] for request in bare.sent]
    assert steps == list(range(10, 201, 10))


def test_who_wants_no_motion_gets_none(show):
    bare = show(Collapse(locked=False), reduced_motion="reduce")
    bare.page.get_by_role("button", name="Play").click()
    bare.settle()
    assert [request["set"] for request in bare.sent] == [{"Step": 200}]


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_rows_fly_from_their_slots(show, motion):
    bare = show(Permutation(locked=False), reduced_motion=motion)
    bare.page.evaluate(COUNT_FLIGHTS)
    bare.page.get_by_role("button", name="Sorted", exact=True).click()
    bare.page.wait_for_function("document.querySelector('[data-key=\"sorted 11\"]')")
    bare.settle()
    flown = bare.page.evaluate("flown")
    assert ("sorted 11" in flown) == (motion == "no-preference")


@pytest.mark.parametrize("explorable", [Permutation, SortedLayer])
def test_a_click_follows_a_token(show, explorable):
    bare = show(explorable(locked=False))
    bare.page.locator("[data-pick='{\"Token\": 1}']").first.click()
    bare.settle()
    assert bare.explorable.params.token == 1


def test_without_its_kernel_a_stage_stands_still_and_says_so(show):
    bare = show(Router(locked=False))
    title = bare.page.locator(".moe-title").inner_text()
    bare.page.evaluate("gone()")
    expect(bare.page.get_by_text("Run this cell to bring it to life")).to_be_visible()
    assert bare.page.locator(".moe-stage :is(input, button, select):enabled").count() == 0
    assert bare.page.locator(".moe-handle").count() == 0
    assert bare.page.locator(".moe-title").inner_text() == title
    assert bare.sent == []


def test_a_silent_engine_is_told(show):
    bare = show(Router(locked=False), answers=False)
    bare.page.get_by_role("button", name="Hot: 4").click()
    expect(bare.page.get_by_text("Waiting for the kernel")).to_be_visible()


def test_a_mistake_is_shown(show):
    class Broken(Surface):
        def controls(self):
            def fail(params, value):
                raise ZeroDivisionError("no such load")

            return (Slider("f₁ (%)", 0, 100, 0.5, lambda p: 100 * p.f, fail),)

    bare = show(Broken(locked=False))
    bare.page.get_by_role("slider").first.focus()
    bare.page.keyboard.press("ArrowLeft")
    expect(bare.page.get_by_role("alert")).to_contain_text("ZeroDivisionError: no such load")


@pytest.mark.parametrize("explorable", [Router, SortedLayer, explore.Calculator])
def test_axe_finds_nothing(show, explorable):
    bare = show(explorable(locked=explorable is Router))
    found, passed = accessibility.violations(bare.page)
    assert found == []
    assert {"color-contrast", "label"} <= set(passed)
