"""The same explorable in JupyterLab and on a web page, side by side, as ``.github/lab-and-page.webp``.

``python tests/browser/side_by_side.py SITE``, where SITE is a built site (`make site`).
"""

import io
import json
import sys
import tempfile
from pathlib import Path

from chromium import launched
from PIL import Image
from served import Reader
from serving import serving

from moe_lessons.build import paths

SIZE = {"width": 1120, "height": 830}
LANDMARK = "K=4, norm × 2"
CODE = "from moe_lessons.explore import Router\n\nRouter(locked=False)"
CELL = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None}
NOTEBOOK = {
    "cells": [{**CELL, "source": CODE}],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
RUN = """async () => {
  await jupyterapp.restored;
  const panel = jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  await jupyterapp.commands.execute("notebook:run-all-cells");
}"""


def in_lab(browser, home):
    """The explorable as a notebook shows it, at the landmark."""
    from conftest import running_lab  # this folder's, where this file is run as a script

    scratch = paths.ROOT / "tests" / "browser" / "scratch" / "router.ipynb"
    scratch.parent.mkdir(exist_ok=True)
    scratch.write_text(json.dumps(NOTEBOOK), encoding="utf-8")
    with running_lab(home) as address:
        page = browser.new_page(viewport=SIZE, device_scale_factor=1.5)
        page.set_default_timeout(300_000)
        page.goto(f"{address}/lab/tree/tests/browser/scratch/router.ipynb?reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        page.evaluate(RUN)
        page.locator(".moe-drawn > svg").wait_for()
        return taken(page, page.locator(".moe-stage"))


def on_page(browser, site):
    """The same in its lesson, after the prediction."""
    with serving(site) as address:
        reader = Reader(browser, f"{address}/lessons/01_router.html", viewport=SIZE, device_scale_factor=1.5)
        card = reader.page.locator(".prediction[data-id='01.norm']")
        card.get_by_role("radio").first.click()
        card.get_by_role("button", name="Commit").click()
        place = reader.wake("Router")
        return taken(reader.page, place.locator(".moe-stage"))


def taken(page, stage):
    """Go to the landmark; the window with the explorable in it."""
    stage.get_by_role("button", name=LANDMARK).click()
    stage.get_by_text("at K=4, with a router vector of norm 2").first.wait_for()
    stage.evaluate("one => one.scrollIntoView({block: 'end'})")
    page.wait_for_timeout(700)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def main():
    """Write the picture."""
    with launched() as browser, tempfile.TemporaryDirectory() as folder:
        pictures = [in_lab(browser, Path(folder)), on_page(browser, Path(sys.argv[1]))]
    wide, high = pictures[0].size
    both = Image.new("RGB", (2 * wide + 24, high), "#8a8a8a")
    for n, picture in enumerate(pictures):
        both.paste(picture, (n * (wide + 24), 0))
    file = paths.ROOT / ".github" / "lab-and-page.webp"
    both.save(file, "WEBP", quality=85, method=6)
    print(f"{file.relative_to(paths.ROOT)}: {file.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main()
