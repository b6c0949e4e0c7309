"""Doing in a lab page what a learner does: open a notebook, write into a cell, run it, read what shows."""

from playwright.sync_api import expect

# A notebook that is in the page need not be the one that is worked in yet.
OPENED = "path => window.jupyterapp?.shell.currentWidget?.context?.path === path"

READY = """async () => {
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

# Returns the cell's id and writes it on the cell. Which one is active may change at any time: a card that has
# the focus makes its own cell the active one when it is answered.
SELECT = """async index => {
  const content = jupyterapp.shell.currentWidget.content;
  const {node, model: {id}} = content.widgets[index];
  content.deselectAll();
  content.activeCellIndex = index;
  node.dataset.testCell = id;
  await content.scrollToItem(index, 'center').catch(() => null);
  return id;
}"""

# Makes a cell the active one and runs a command on it, in one go.
COMMAND = """async ([index, command, wait]) => {
  const content = jupyterapp.shell.currentWidget.content;
  content.deselectAll();
  content.activeCellIndex = index;
  const done = jupyterapp.commands.execute(command);
  if (wait) await done;
}"""

# Says which cells raised an error (an empty list: all ran, none did), or null while some have yet to run.
RAN = """() => {
  const cells = jupyterapp.shell.currentWidget.content.widgets
    .filter(cell => cell.model.type === 'code' && cell.model.sharedModel.getSource().trim());
  const failed = cells.map(cell => cell.model.sharedModel)
    .filter(cell => cell.outputs.some(output => output.output_type === 'error'));
  if (failed.length) return failed.map(cell => cell.getSource());
  return cells.every(cell => cell.model.executionCount !== null) ? [] : null;
}"""

RUN_ALL = """async () => { await jupyterapp.commands.execute('notebook:run-all-cells'); }"""


RESTART = """async () => { await jupyterapp.shell.currentWidget.sessionContext.restartKernel(); }"""
SAVE = """async () => { await jupyterapp.commands.execute('docmanager:save'); }"""
SHUT_DOWN = """async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown(); }"""
THEME = """async theme => { await jupyterapp.commands.execute('apputils:change-theme', {theme}); }"""
# JupyterLab hides its page until the next frame when the theme has changed.
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"

# A cell that is busy until a file is there: for as long as a test needs it, and no longer.
BUSY = """\
import pathlib, time
while not pathlib.Path({!r}).exists():
    time.sleep(0.05)
print("done")
"""


class Notebook:
    """One notebook in a lab page."""

    def __init__(self, page, address, path, problems):
        self.page = page
        self.problems = problems
        self.path = path
        self.address = f"{address}/lab/tree/{path}?reset"
        self.open()

    def open(self):
        self.page.goto(self.address, timeout=600_000)
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=600_000)
        self.page.wait_for_function(OPENED, arg=self.path, timeout=600_000)
        self.page.evaluate(READY)

    def save_and_open_again(self):
        """Save, shut the kernel down, leave, and come back, as on the next morning."""
        self.page.evaluate(SAVE)
        self.page.evaluate(SHUT_DOWN)
        self.page.goto("about:blank")
        self.open()

    def close(self):
        self.page.evaluate(SHUT_DOWN)
        self.page.close()

    def run_all(self, timeout_s=180):
        """Run every code cell; return the sources of those that raised an error."""
        self.page.evaluate(RUN_ALL)
        ran = self.page.wait_for_function(RAN, timeout=timeout_s * 1000, polling=200)
        return ran.json_value()

    def restart_kernel(self):
        self.page.evaluate(RESTART)

    def change_theme(self, theme):
        self.page.evaluate(THEME, theme)
        light = str("Dark" not in theme).lower()
        self.page.locator(f"body[data-jp-theme-light={light}]").wait_for(state="attached")
        self.page.evaluate(PAINTED)
        # JupyterLab lays a sheet over the page while a theme loads, and lets it fade.
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

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
        """Make a cell the active one and return it; it is this cell, whichever is the active one later."""
        id = self.page.evaluate(SELECT, index)
        return self.page.locator(f'.jp-Notebook [data-test-cell="{id}"]')

    def write(self, index, code):
        """Replace a cell's source by typing into its editor."""
        cell = self.select(index)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(code)

    def run(self, index):
        """Run one cell."""
        self.select(index)
        self.page.evaluate(COMMAND, [index, "notebook:run-cell", True])

    def run_new(self, below, code, *, wait=True):
        """Write code into a new cell below another one, run it, and return where it is."""
        self.page.evaluate(COMMAND, [below, "notebook:insert-cell-below", True])
        self.write(below + 1, code)
        self.page.evaluate(COMMAND, [below + 1, "notebook:run-cell", wait])
        return below + 1

    def shows(self, index, text):
        """Wait until a cell's output, as it stands on the screen, contains a text."""
        output = self.select(index).locator(".jp-Cell-outputArea").first
        expect(output).to_contain_text(text, timeout=300_000)
