"""Solutions opened without being run: Jupyter shows the drawings of those that `make lab` said it trusts."""

import shutil

import nbformat
import pytest
from playwright.sync_api import expect

from moe_lessons.build import paths

pytestmark = pytest.mark.browser

FILE = paths.SOLUTIONS / "02_moe_layer.ipynb"
DRAWN = "Three bugs hand tokens the wrong rows or weights"
TO = """async text => {
  const content = jupyterapp.shell.currentWidget.content;
  const at = content.widgets.findIndex(cell => cell.model.sharedModel.getSource().includes(text));
  await content.scrollToItem(at, 'center').catch(() => null);
}"""


@pytest.fixture
def strange():
    """The same notebook as nobody has signed it."""
    folder = paths.ROOT / "tests" / "browser" / "scratch"
    folder.mkdir(exist_ok=True)
    notebook = nbformat.read(FILE, as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("From elsewhere."))
    nbformat.write(notebook, folder / "strange.ipynb")
    yield (folder / "strange.ipynb").relative_to(paths.ROOT).as_posix()
    shutil.rmtree(folder)


def test_a_solution_shows_its_drawings(open_notebook):
    lesson = open_notebook(FILE.relative_to(paths.ROOT).as_posix())
    lesson.page.evaluate(TO, "sorted_rows = SortedLayer()")
    expect(lesson.page.get_by_role("img", name=DRAWN)).to_be_visible()
    assert lesson.problems == []


def test_where_nobody_has_said_so_an_explorable_says_what_it_shows(open_notebook, strange):
    lesson = open_notebook(strange)
    lesson.page.evaluate(TO, "sorted_rows = SortedLayer()")
    expect(
        lesson.page.get_by_text(
            f"Sorted layer (interactive in Jupyter: run this cell; needs anywidget). {DRAWN}"
        )
    ).to_be_visible()
    expect(lesson.page.get_by_role("img", name=DRAWN)).to_have_count(0)
