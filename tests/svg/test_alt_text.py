"""Every picture of the solutions says in words what it shows."""

import json
import xml.etree.ElementTree as ET

import pytest

from moe_lessons.build import paths

SVG = "{http://www.w3.org/2000/svg}"
SOLUTIONS = sorted((paths.ROOT / "solutions").glob("*.ipynb"))


def outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", []) if "data" in output]


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_every_drawing_has_a_title_and_a_description(path):
    drawings = [
        output["data"]["image/svg+xml"] for output in outputs(path) if "image/svg+xml" in output["data"]
    ]
    for drawing in map("".join, drawings):
        root = ET.fromstring(drawing)
        title, words = root.findtext(f"{SVG}title"), root.findtext(f"{SVG}desc")
        assert root.get("role") == "img"
        assert root.get("aria-label") == title
        # The description holds what the title does not.
        assert len(words) > len(title) > 10, title
    assert drawings


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_every_other_image_has_alternative_text(path):
    """Where Jupyter's format keeps it: in the metadata of the output."""
    for output in outputs(path):
        for kind in {"image/png", "image/jpeg"} & set(output["data"]):
            assert output["metadata"].get(kind, {}).get("alt"), f"a {kind} without alt text in {path.name}"
        html = "".join(output["data"].get("text/html", ""))
        assert html.count("<img") == html.count("<img alt="), path.name
