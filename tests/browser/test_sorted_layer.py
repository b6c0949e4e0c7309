"""The sorted layer of lesson 02: each switch waits for its own prediction, and works by keyboard alone."""

import accessibility
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SWITCHES = ("No inverse", "Inverse by the wrong order", "Weights sorted twice", "bincount without minlength")


@pytest.fixture(scope="module")
def lesson(open_notebook):
    return open_notebook("notebooks/02_moe_layer.ipynb")


@pytest.fixture
def shown(lesson):
    return lesson.select(lesson.find("SortedLayer()"))


def switch(shown, name):
    return shown.get_by_role("checkbox", name=name)


def test_every_switch_is_locked_at_first(lesson):
    for text in ('start("02_moe_layer")', "from IPython.display import display", "SortedLayer()"):
        lesson.run(lesson.find(text))
    place = lesson.find("SortedLayer()")
    lesson.shows(place, "No bugs: all 5 tokens get their own output")
    for name in SWITCHES:
        expect(switch(lesson.select(place), name)).to_be_disabled()


def test_a_prediction_unlocks_its_own_switch_by_keyboard(lesson, shown):
    keyboard = lesson.page.keyboard
    card = shown.locator(".moe-card").first
    card.get_by_role("radio").first.focus()
    keyboard.press("ArrowRight")
    expect(card.get_by_role("button", name="Commit")).to_be_enabled()
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(shown).to_contain_text("You predicted b)")
    expect(switch(shown, SWITCHES[0])).to_be_enabled()
    for name in SWITCHES[1:]:
        expect(switch(shown, name)).to_be_disabled()


def test_space_turns_the_bug_on_and_off(lesson, shown):
    picture, title = shown.locator(".moe-drawn svg"), shown.locator(".moe-title")
    switch(shown, SWITCHES[0]).focus()
    lesson.page.keyboard.press("Space")
    expect(title).to_have_text("No inverse: 1 of 5 tokens gets its own output")
    expect(picture).to_contain_text("✗ rows of tokens 2 and 3")
    lesson.page.keyboard.press("Space")
    expect(title).to_have_text("No bugs: all 5 tokens get their own output")


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_axe_finds_nothing(lesson, theme):
    lesson.change_theme(theme)
    found, passed = accessibility.violations(lesson.page)
    assert found == []
    assert {"color-contrast", "label"} <= set(passed)


def test_tab_reaches_every_control(lesson):
    assert accessibility.not_reached_by_tab(lesson.page) == []
    assert lesson.problems == []
