"""Text in pictures can be read: every drawing of the solutions, every explorable, as Chromium paints it."""

import json

import accessibility
import pytest

from moe_lessons import explore
from moe_lessons.build import paths

pytestmark = pytest.mark.browser

SOLUTIONS = sorted((paths.ROOT / "solutions").glob("*.ipynb"))
EXPLORABLES = [name for name in explore.__all__ if name != "LiveView"]


@pytest.fixture(scope="module")
def blank(browser):
    page = browser.new_page(viewport={"width": 800, "height": 900})
    yield page
    page.close()


def drawings(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    found = [
        output["data"]["image/svg+xml"] for output in outputs if "image/svg+xml" in output.get("data", {})
    ]
    return ["".join(drawing) for drawing in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_text_in_a_lessons_drawings_stands_out(blank, path, theme):
    dim, checked = accessibility.dim_texts(blank, drawings(path), theme)
    assert dim == []
    assert checked > 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", EXPLORABLES)
def test_text_in_an_explorable_stands_out(blank, name, theme):
    explorable = getattr(explore, name)(locked=False)
    frames = [explorable.frame(), explorable.static().svg]
    for landmark in explorable.landmarks():
        explorable.params = landmark.go(explorable.params)
        frames.append(explorable.frame())
    dim, checked = accessibility.dim_texts(blank, frames, theme)
    assert dim == []
    assert checked > 0


def test_dim_text_is_found(blank):
    shapes = '<rect width="200" height="40" fill="#0072B2"/><text x="5" y="20" fill="#1a1a1a">dim</text>'
    halo = '<text x="5" y="20" fill="#1a1a1a" stroke="#fff" paint-order="stroke">halo</text>'
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="40" aria-label="test">{}</svg>'
    dim, checked = accessibility.dim_texts(blank, [drawing.format(shapes), drawing.format(halo)])
    assert len(dim) == 1
    assert '"dim" in test' in dim[0]
    assert checked == 2


def test_axe_finds_what_is_planted(blank):
    """What the rules look for, in a page that has it: a passing lesson is no accident."""
    blank.set_content(
        """<html lang="en"><title>t</title><main class="jp-Cell-outputArea"><h1>t</h1><img src="data:,">
        <p style="color:#999;background:#fff">pale</p><input>
        <div role="slider" tabindex="0" aria-valuenow="1"></div></main></html>"""
    )
    found, _ = accessibility.violations(blank)
    rules = {told.split(":")[0] for told in found}
    assert {"image-alt", "color-contrast", "label", "aria-input-field-name"} <= rules
