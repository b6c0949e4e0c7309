"""Saved and opened the next morning, and a kernel restarted under an open page: what stays, what it says."""

import shutil

import nbformat
import pytest
from notebook import SAVE
from playwright.sync_api import expect

from moe_lessons.build import paths

pytestmark = pytest.mark.browser

CELL = "from moe_lessons.explore import Surface\nshown = Surface()\nshown"
# What ipywidgets puts before a widget without a kernel: a broken chain.
CHAINS = """() => [...document.querySelectorAll('.jupyter-widgets-disconnected')]
  .map(one => getComputedStyle(one, '::before').content)"""
LEFT = "Run this cell to bring it to life"


@pytest.fixture(scope="module")
def lesson(open_notebook):
    # The lab sees the repository only; this folder is ignored by git and gone after the test.
    folder = paths.ROOT / "tests" / "browser" / "scratch"
    folder.mkdir(exist_ok=True)
    file = folder / "reopened.ipynb"
    # Without this Lab asks which kernel to use.
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)], metadata=kernel)
    nbformat.write(made, file)
    yield open_notebook(file.relative_to(paths.ROOT).as_posix())
    shutil.rmtree(folder)  # Jupyter keeps checkpoints beside the file


@pytest.fixture
def stage(lesson):
    return lesson.page.locator(".moe-stage")


def test_it_is_used(lesson, stage):
    assert lesson.run_all() == []
    for option in (2, 3):
        stage.locator(".moe-question input").nth(option).check()
        stage.get_by_role("button", name="Commit").click()
        expect(stage.locator(".moe-verdict")).to_have_count(option - 1)
    stage.get_by_role("button", name="Impossible").click()
    expect(stage.locator(".moe-title")).to_contain_text("P₁ = 20 %")
    handle = stage.get_by_role("slider", name="the point")
    handle.focus()
    lesson.page.keyboard.press("ArrowUp")
    expect(stage.locator(".moe-title")).to_contain_text("P₁ = 20.5 %")


def as_it_was_left(lesson, stage):
    expect(stage).to_contain_text(LEFT)
    expect(stage.locator(".moe-title")).to_contain_text("P₁ = 20.5 %")
    expect(stage.locator(".moe-drawn svg")).to_be_visible()
    expect(stage.locator(".moe-verdict").first).to_contain_text("✔ You predicted: No, lower values can be")
    assert stage.locator(":is(input, button, select):enabled").count() == 0
    assert stage.locator(".moe-handle").count() == 0
    assert set(lesson.page.evaluate(CHAINS)) <= {"none"}
    assert "Error displaying widget" not in lesson.page.inner_text("body")


def test_after_a_restart_nothing_moves_that_does_nothing(lesson, stage):
    lesson.page.evaluate(SAVE)
    lesson.restart_kernel()
    as_it_was_left(lesson, stage)


def test_opened_again_it_is_as_it_was_left(lesson, stage):
    lesson.save_and_open_again()
    as_it_was_left(lesson, stage)


def test_running_the_cell_brings_it_to_life(lesson, stage):
    lesson.run(0)
    expect(stage).not_to_contain_text(LEFT)
    expect(stage.locator(".moe-question")).to_be_visible()
    assert [told for told in lesson.problems if "a notebook was written" not in told] == []
