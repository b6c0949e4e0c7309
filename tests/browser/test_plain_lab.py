"""A lab without the course's extension and settings keeps no widgets: what is read there the next morning."""

import shutil

import nbformat
import pytest
from playwright.sync_api import expect

from moe_lessons.build import paths

pytestmark = pytest.mark.browser

CELLS = (
    "from moe_lessons.explore import Surface\nSurface(locked=False)",
    "from moe_lessons.course import predict\npredict('01.norm')",
)
LEFT = "Run this cell to bring it to life"
ERROR = "Error displaying widget"


@pytest.fixture(scope="module")
def lesson(open_plainly):
    folder = paths.ROOT / "tests" / "browser" / "scratch"  # ignored by git, and seen by the lab
    folder.mkdir(exist_ok=True)
    file = folder / "plain.ipynb"
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), file)
    yield open_plainly(file.relative_to(paths.ROOT).as_posix())
    shutil.rmtree(folder)


def test_alive_it_shows_the_stage_and_no_still_picture(lesson):
    assert lesson.run_all() == []
    expect(lesson.page.locator(".moe-stage .moe-drawn svg")).to_be_visible()
    expect(lesson.page.locator(".moe-card")).to_be_visible()
    expect(lesson.page.locator(".moe-asleep")).to_be_hidden()


def test_opened_again_it_shows_the_picture_and_says_how_to_go_on(lesson):
    lesson.save_and_open_again()
    still = lesson.page.locator(".moe-asleep")
    expect(still).to_be_visible()
    expect(still).to_contain_text(LEFT)
    expect(still.locator("svg").first).to_be_visible()
    expect(lesson.page.locator(".moe-twin").nth(1)).to_contain_text(LEFT)
    # The lab has written its line; nobody sees it.
    lines = lesson.page.get_by_text(ERROR)
    expect(lines).to_have_count(2)
    for line in lines.all():
        expect(line).to_be_hidden()


def test_running_the_cells_brings_both_to_life(lesson):
    assert lesson.run_all() == []
    expect(lesson.page.locator(".moe-stage .moe-drawn svg")).to_be_visible()
    expect(lesson.page.locator(".moe-card")).to_be_visible()
    expect(lesson.page.locator(".moe-asleep")).to_be_hidden()
