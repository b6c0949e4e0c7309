"""Where anywidget is missing: lesson 00 runs, cards and pictures stand still, a sentence says why."""

import asyncio

import nbformat
import pytest
from nbclient import NotebookClient

from moe_lessons.build import paths
from moe_lessons.build.render import notebook
from moe_lessons.front import stage

HIDE = 'import sys\n\nsys.modules["anywidget"] = None  # importing it raises an ImportError'
ANSWER = 'predict("00.shared", "a")'
AGAIN = "hero"


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The learner's lesson 00 as it was run; at its end a prediction, and the picture again."""
    built = notebook(paths.LESSONS / "00_start_here.py", solutions=False)
    for source in (ANSWER, AGAIN):
        built.cells.append(nbformat.v4.new_code_cell(source))
    built.cells.insert(0, nbformat.v4.new_code_cell(HIDE))
    folder = tmp_path_factory.mktemp("still")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOE_LESSONS_HOME", str(folder / "home"))
        client = NotebookClient(built, timeout=900, resources={"metadata": {"path": str(folder)}})
        asyncio.run(client.async_execute())
    return [cell for cell in built.cells if cell.cell_type == "code"]


def shown(cell, mime):
    return ["".join(o.data[mime]) for o in cell.outputs if mime in o.get("data", {})]


def printed(cell):
    return "".join(o.text for o in cell.outputs if o.output_type == "stream")


def test_nothing_waits_for_a_widget(cells):
    assert not [cell for cell in cells if shown(cell, "application/vnd.jupyter.widget-view+json")]


def test_the_picture_stands_and_a_sentence_says_why(cells):
    (hero,) = (cell for cell in cells if "Sentence(ask=False)" in cell.source)
    assert printed(hero) == stage.MISSING + "\n"
    (picture,) = shown(hero, "image/svg+xml")
    assert "layer 2, K=2" not in picture  # the key frames answer the prediction, which is open
    (card,) = shown(hero, "text/html")
    assert "Which two words share both of their experts" in card
    assert f"Answer in a cell: <code>{ANSWER}" in card.replace("&quot;", '"')


def test_a_prediction_in_a_cell_brings_the_key_frames(cells):
    answered, again = cells[-2:]
    assert "You predicted a)" in "".join(shown(answered, "text/html"))
    (strip,) = shown(again, "image/svg+xml")
    assert "layer 2, K=2" in strip


def test_every_card_says_how_to_answer(cells):
    asked = [cell for cell in cells if cell.source.startswith(("predict(", "quiz("))][:-1]
    assert len(asked) > 3
    for cell in asked:
        assert "Answer in a cell:" in "".join(shown(cell, "text/html")), cell.source
