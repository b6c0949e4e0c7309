"""A cell that runs for long, as a learner sees it: where it is, and one line where it is stopped."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

# It stays where it is until a file is there.
SLOW = """\
import pathlib, time
from moe_lessons.steps import each
for seed in each(range(4), "seed"):
    while seed == {} and not pathlib.Path({!r}).exists():
        time.sleep(0.05)
"""
INTERRUPT = """async () => { await jupyterapp.commands.execute('notebook:interrupt-kernel'); }"""


def test_a_long_cell_says_where_it_is_and_stopping_it_is_one_line(open_notebook, tmp_path):
    notebook = open_notebook("notebooks/00_start_here.ipynb")
    setup = notebook.find('start("00_start_here")')
    notebook.run(setup)
    notebook.shows(setup, "Lesson 00")

    enough = tmp_path / "enough"
    slow = notebook.run_new(setup, SLOW.format(2, str(enough)), wait=False)
    output = notebook.select(slow).locator(".jp-Cell-outputArea").first
    expect(output.locator("progress")).to_be_visible()
    expect(output).to_contain_text("seed 3 of 4")
    enough.touch()
    expect(output.locator("progress")).to_have_count(0)
    expect(output).to_have_text("")

    stopped = notebook.run_new(slow, SLOW.format(0, str(tmp_path / "never")), wait=False)
    notebook.shows(stopped, "seed 1 of 4")
    notebook.page.evaluate(INTERRUPT)
    notebook.shows(stopped, "Stopped by you at seed 1 of 4 after")
    output = notebook.select(stopped).locator(".jp-Cell-outputArea").first
    expect(output.locator("progress")).to_have_count(0)
    assert "Traceback" not in output.inner_text()
    assert len([line for line in output.inner_text().splitlines() if line.strip()]) == 1
    assert notebook.problems == []
