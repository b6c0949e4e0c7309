"""A cell that runs for long, as a learner sees it: where it is, and one line where it is stopped."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SLOW = (
    "import time\nfrom moe_lessons.steps import each\nfor seed in each(range(4), 'seed'):\n    time.sleep({})"
)
INTERRUPT = """async () => { await jupyterapp.commands.execute('notebook:interrupt-kernel'); }"""


def test_a_long_cell_says_where_it_is_and_stopping_it_is_one_line(open_notebook):
    notebook = open_notebook("notebooks/00_start_here.ipynb")
    setup = notebook.find('start("00_start_here")')
    notebook.run(setup)
    notebook.shows(setup, "Lesson 00")

    slow = notebook.run_new(setup, SLOW.format(2), wait=False)
    output = notebook.select(slow).locator(".jp-Cell-outputArea").first
    expect(output.locator("progress")).to_be_visible(timeout=60_000)
    expect(output).to_contain_text("seed 3 of 4", timeout=60_000)
    expect(output.locator("progress")).to_have_count(0, timeout=60_000)
    expect(output).to_have_text("")

    stopped = notebook.run_new(slow, SLOW.format(60), wait=False)
    notebook.shows(stopped, "seed 1 of 4")
    notebook.page.evaluate(INTERRUPT)
    notebook.shows(stopped, "Stopped by you at seed 1 of 4 after")
    output = notebook.select(stopped).locator(".jp-Cell-outputArea").first
    expect(output.locator("progress")).to_have_count(0, timeout=60_000)
    assert "Traceback" not in output.inner_text()
    assert len([line for line in output.inner_text().splitlines() if line.strip()]) == 1
    assert notebook.problems == []
