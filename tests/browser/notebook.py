"""Doing in a lab page what a learner does: open a notebook, write into a cell, run it, read what shows."""

from playwright.sync_api import expect

OPEN = """async () => {
  await jupyterapp.restored;
  const panel = jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
}"""

INDEX = """([kind, id]) => {
  const cells = jupyterapp.shell.currentWidget.content.widgets;
  return cells.findIndex(cell => (cell.model.getMetadata('moe_lessons') || {})[kind] === id);
}"""

FIND = """text => {
  const cells = jupyterapp.shell.currentWidget.content.widgets;
  return cells.findIndex(c => c.model.type === 'code' && c.model.sharedModel.getSource().includes(text));
}"""

FIND_WHOLE = """text => {
  const cells = jupyterapp.shell.currentWidget.content.widgets;
  return cells.findIndex(cell => cell.model.sharedModel.getSource().trim() === text);
}"""

SELECT = """index => {
  const content = jupyterapp.shell.currentWidget.content;
  content.deselectAll();
  content.activeCellIndex = index;
  return content.scrollToItem(index, 'center').catch(() => null);
}"""

ALL_RAN = """() => jupyterapp.shell.currentWidget.content.widgets
  .filter(cell => cell.model.type === 'code' && cell.model.sharedModel.getSource().trim())
  .every(cell => cell.model.executionCount !== null)"""

RUN = """async () => { await jupyterapp.commands.execute('notebook:run-cell'); }"""
RUN_ALL = """async () => { await jupyterapp.commands.execute('notebook:run-all-cells'); }"""


class Notebook:
    """One notebook in a lab page."""

    def __init__(self, page, address, path):
        self.page = page
        page.goto(f"{address}/lab/tree/{path}?reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        page.evaluate(OPEN)

    def run_all(self):
        self.page.evaluate(RUN_ALL)

    def wait_until_idle(self, timeout_s=180):
        """Wait until every code cell has run."""
        self.page.wait_for_function(ALL_RAN, timeout=timeout_s * 1000)

    def index(self, kind, id):
        """Where the answer or the check of an exercise is."""
        found = self.page.evaluate(INDEX, [kind, id])
        assert found >= 0, f"no cell with {kind} {id}"
        return found

    def find(self, text):
        """Where the first code cell that contains a text is."""
        found = self.page.evaluate(FIND, text)
        assert found >= 0, f"no code cell with {text!r}"
        return found

    def index_of_source(self, source):
        """Where the cell is whose whole source this is."""
        found = self.page.evaluate(FIND_WHOLE, source)
        assert found >= 0, f"no cell that is {source!r}"
        return found

    def select(self, index):
        self.page.evaluate(SELECT, index)
        return self.page.locator(".jp-Notebook .jp-Cell.jp-mod-active")

    def write(self, index, code):
        """Replace a cell's source by typing into its editor."""
        cell = self.select(index)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(code)

    def run(self, index):
        """Run one cell."""
        self.select(index)
        self.page.evaluate(RUN)

    def shows(self, index, text):
        """Wait until a cell's output, as it stands on the screen, contains a text."""
        expect(self.select(index).locator(".jp-Cell-outputArea")).to_contain_text(text, timeout=20_000)
