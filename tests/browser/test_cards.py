"""A question card by keys and by mouse: chosen, answered, changed, revealed, reopened."""

import os

import accessibility
import nbformat
import pytest
from notebook import BUSY, SAVE, SHUT_DOWN
from playwright.sync_api import expect

from moe_lessons.build import paths

pytestmark = pytest.mark.browser

CELLS = [
    'from moe_lessons.course import predict, quiz, reveal, start\nstart("00_start_here")',
    'predict("00.same_word")',
    'quiz("00.softmax")',
    'quiz("00.topk")',
    'reveal("00.same_word")',
]
START, PREDICTION, NUMBER, QUIZ, REVEAL = range(5)


@pytest.fixture(scope="module")
def path():
    """A notebook that may be saved: a file of its own, gone afterwards."""
    made = paths.ROOT / f"cards-{os.getpid()}.ipynb"
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    # Without this Lab asks which kernel to use.
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), made)
    yield made
    made.unlink()


@pytest.fixture(scope="module")
def lesson(path, open_notebook):
    opened = open_notebook(path.name)
    for cell in (START, PREDICTION, NUMBER, QUIZ, REVEAL):
        opened.run(cell)
    return opened


def card(lesson, cell):
    return lesson.select(cell).locator(".moe-card")


def picture(lesson, name):
    """Keep what is on the screen, if PICTURES names a folder."""
    if folder := os.environ.get("PICTURES"):
        for theme in ("JupyterLab Dark", "JupyterLab Light"):
            lesson.change_theme(theme)
            lesson.page.wait_for_timeout(500)
            lesson.page.screenshot(path=f"{folder}/{name}-{theme.split()[1].lower()}.png")


def test_the_options_are_the_buttons_and_the_twin_is_out_of_sight(lesson):
    asked = card(lesson, PREDICTION)
    expect(asked).to_have_count(1)
    expect(asked.get_by_role("radiogroup")).to_have_count(1)
    expect(asked.get_by_role("radio")).to_have_count(3)
    expect(asked.get_by_role("button", name="Commit")).to_be_disabled()
    expect(lesson.select(PREDICTION).locator(".moe-twin-00-same_word")).to_be_hidden()
    picture(lesson, "open")


def test_letters_and_arrows_choose_and_enter_commits(lesson):
    """Without Lab taking the keys for itself: "b" would insert a cell there, and "d", "d" remove one."""
    cells = lesson.page.locator(".jp-Notebook .jp-Cell").count()
    asked, keys = card(lesson, PREDICTION), lesson.page.keyboard
    choices = asked.get_by_role("radio")
    choices.first.focus()
    for pressed, chosen in (
        ("c", 2),
        ("a", 0),
        ("ArrowUp", 2),
        ("d", 2),
        ("d", 2),
        ("ArrowDown", 0),
        ("b", 1),
    ):
        keys.press(pressed)
        expect(choices.nth(chosen)).to_have_attribute("aria-checked", "true")
        expect(choices.nth(chosen)).to_be_focused()
    expect(asked).not_to_contain_text("You predicted")
    choices.nth(1).focus()
    keys.press("Enter")
    lesson.shows(PREDICTION, "You predicted b)")
    assert lesson.page.locator(".jp-Notebook .jp-Cell").count() == cells
    expect(choices).to_have_count(0)  # it stays as it was made
    expect(asked).to_contain_text("Predict.")
    expect(asked.locator(".moe-mine")).to_contain_text("your prediction")


def test_a_reveal_that_stands_below_follows(lesson):
    """It was shown before anything was committed."""
    rows = lesson.select(REVEAL).locator(".jp-OutputArea-output")
    expect(rows).to_contain_text("your prediction")
    expect(rows).to_contain_text("✔ the experiment")
    expect(rows).to_contain_text("s you predicted.")
    picture(lesson, "reveal")


@pytest.mark.parametrize("typed", ["3/4", "75%", "75 %", "0,75"])
def test_enter_answers_and_a_change_clears_the_verdict(lesson, typed):
    asked, keys = card(lesson, NUMBER), lesson.page.keyboard
    field = asked.get_by_role("textbox")
    field.fill("1")
    expect(asked.locator(".moe-said")).to_be_empty()
    keys.press("Enter")
    expect(asked).to_contain_text("Not quite")
    expect(asked.locator("svg")).to_have_attribute(
        "aria-label", "Your number, 1, and the true one, 0.75, on a line from 0 to 1.2"
    )
    picture(lesson, "number")
    field.fill(typed)
    expect(asked.locator(".moe-said")).to_be_empty()
    keys.press("Enter")
    expect(asked).to_contain_text("Right.")
    expect(field).to_have_value(typed)
    expect(field).to_be_focused()


def test_what_cannot_be_read_is_said(lesson):
    asked = card(lesson, NUMBER)
    asked.get_by_role("textbox").fill("0.75 of it")
    asked.get_by_role("button", name="Answer").click()
    expect(asked).to_contain_text("has a unit; write the number alone: 0.75.")
    asked.get_by_role("textbox").fill("0.75")
    lesson.page.keyboard.press("Enter")
    expect(asked).to_contain_text("Right.")


def test_while_the_kernel_is_busy_the_last_choice_counts(lesson, tmp_path):
    enough = tmp_path / "enough"
    busy = lesson.run_new(REVEAL, BUSY.format(str(enough)), wait=False)
    asked = card(lesson, QUIZ)
    for choice in (2, 0, 1):
        asked.get_by_role("radio").nth(choice).click()
    asked.get_by_role("button", name="Answer").click()
    expect(asked).to_contain_text("Waiting for the kernel.")
    enough.touch()
    lesson.shows(busy, "done")
    expect(asked.locator(".moe-mine")).to_contain_text("your answer")
    expect(asked.locator(".moe-mine .moe-letter")).to_have_text("b")
    expect(asked).not_to_contain_text("Waiting for the kernel.")
    asked.get_by_role("radio").nth(0).click()
    expect(asked.locator(".moe-said")).to_be_empty()
    asked.get_by_role("radio").nth(1).click()
    expect(asked.locator(".moe-said")).not_to_be_empty()
    picture(lesson, "quiz")


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_axe_finds_nothing_and_tab_reaches_all(lesson, theme):
    lesson.change_theme(theme)
    for cell in (PREDICTION, NUMBER, QUIZ):
        lesson.select(cell)
    found, passed = accessibility.violations(lesson.page)
    assert found == []
    assert {"color-contrast", "label"} <= set(passed)
    assert accessibility.not_reached_by_tab(lesson.page, most=100) == []


def test_after_a_restart_nothing_can_be_pressed_that_does_nothing(lesson):
    lesson.restart_kernel()
    for cell in (PREDICTION, NUMBER, QUIZ):
        asked = card(lesson, cell)
        expect(asked).to_contain_text("Run this cell to bring it to life")
        expect(asked.get_by_role("radio")).to_have_count(0)
        expect(asked.get_by_role("button")).to_have_count(0)
    picture(lesson, "restarted")


def test_saved_and_opened_again_question_answer_and_verdict_are_there(lesson, path, open_notebook):
    written = len(lesson.problems)
    lesson.page.evaluate(SAVE)
    lesson.page.evaluate(SHUT_DOWN)
    again = open_notebook(path.name)
    for cell, words in (
        (PREDICTION, ("Predict.", "You predicted b)", "your prediction")),
        (NUMBER, ("Softmax.", "Your number: 0.75. The answer: 0.75.", "Right.")),
        (QUIZ, ("Check yourself.", "your answer")),
        (REVEAL, ("Predict.", "your prediction", "✔ the experiment")),
    ):
        output = again.select(cell).locator(".jp-Cell-outputArea").first
        for text in words:
            expect(output).to_contain_text(text)
    picture(again, "reopened")
    # What was answered is not asked again.
    for cell in (START, PREDICTION, NUMBER, QUIZ):
        again.run(cell)
    again.shows(PREDICTION, "A prediction stays as it was made.")
    expect(card(again, NUMBER)).to_contain_text("Right.")
    expect(card(again, NUMBER).get_by_role("textbox")).to_have_value("0.75")
    expect(card(again, QUIZ).locator(".moe-mine")).to_contain_text("your answer")
    assert [p for p in lesson.problems[written:] if not p.startswith("a notebook was written")] == []
