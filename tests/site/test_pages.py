"""How pages are made, each step by itself: what is folded, what is marked, where links lead."""

import dataclasses
import re

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from moe_lessons.build import paths
from moe_lessons.build.blocks import FOLDED
from moe_lessons.build.execute import EXPLORABLE
from moe_lessons.build.site import documents, landmarks, ledger, lessons, maths, outputs, reference
from moe_lessons.course import predictions
from moe_lessons.exercises import registry

ROUTER = registry.lesson("01")


def html(body):
    return new_output("display_data", data={"text/html": body, "text/plain": "text"})


def drawing(widget=False):
    svg = '<svg aria-label="A chart"><clipPath id="c"/><g clip-path="url(#c)"/></svg>'
    return new_output(
        "display_data",
        data={"image/svg+xml": svg, "text/plain": "text"},
        metadata={EXPLORABLE: True} if widget else {},
    )


def code(source, *shown, **about):
    tags = about.pop("tags", [])
    why = {"why": about.pop("why")} if "why" in about else {}
    return new_code_cell(source, outputs=list(shown), metadata={"moe_lessons": about, "tags": tags} | why)


def made(*cells, learner=()):
    solutions = NotebookNode(cells=list(cells), metadata={"kernelspec": {}, "language_info": {}})
    *made, last = lessons.page(solutions, NotebookNode(cells=list(learner or cells)), ROUTER).cells
    assert last.source == outputs.forget("01")
    return made


def bodies(cell):
    return [output.data["text/html"] for output in cell.outputs]


def test_a_solution_waits_behind_its_hints_and_one_fold_with_its_check():
    answer = code("def f():\n    return 1", answer="01.router_logits", block="exercise")
    check = code('check("01.router_logits")', html("Passed"), check="01.router_logits", block="exercise")
    hints = new_markdown_cell(
        "<details><summary>Hint</summary>\n\nLook.\n\n</details>\n\n<details><summary>Solution</summary>\n\nThere.\n\n</details>",
        metadata={"moe_lessons": {"block": "exercise"}},
    )
    stub = new_code_cell("def f():\n    raise NotImplementedError", id=answer.id)
    first, second, third = made(answer, check, hints, learner=[stub])
    assert first.source == stub.source
    assert first.outputs == []
    assert "Look." in second.source
    assert "Solution" not in second.source
    assert third.source == 'def f():\n    return 1\n\n\ncheck("01.router_logits")'
    assert third.metadata.tags[0] == "hide-cell"
    assert "Passed" in bodies(third)[0]
    assert "solution" in third.metadata.mystnb["code_prompt_show"]


def test_a_puzzle_shows_its_stub_and_folds_its_line():
    cell = code("def p():\n    return 1", html("right"), puzzle="01.p_centred", block="puzzle")
    stub, solution = made(cell, learner=[new_code_cell("def p():\n    return ...", id=cell.id)])
    assert stub.source.endswith("return ...")
    assert solution.metadata.tags == ["hide-cell", "block-puzzle"]


def test_what_fetches_the_course_and_the_score_are_left_out():
    assert made(code("def fetch(): ...", tags=["fetch"]), code("score()")) == []


@pytest.mark.parametrize(
    ("cell", "tag"),
    [
        (code('start("01_router", keep=False)', tags=["setup"]), "hide-input"),
        (code(f"{FOLDED}\nbar_chart([1])", drawing(), draw=True), "hide-input"),
        (code('predict("01.norm")\nquiz("01.q")', block="predict"), "remove-input"),
        (code("from x import y\n\ny()", why="widget"), "hide-input"),
    ],
)
def test_what_is_folded(cell, tag):
    (found,) = made(cell)
    assert found.metadata.tags[0] == tag
    assert FOLDED not in found.source


def test_a_claim_keeps_its_code_in_sight():
    (cell,) = made(code('claim("L16", "wrong", holds=gap > 1)', block="claim"))
    assert cell.metadata.tags == ["block-claim"]


def test_an_explorable_is_named_by_the_variable_the_call_or_the_display_that_shows_it():
    seen = outputs.Seen(ROUTER)
    assert seen.marked(code("play = Router(ask=False)")) == []
    for source, name in (("play", "Router"), ("Surface()", "Surface"), ("display(play)\nx = 1", "Router")):
        (output,) = seen.marked(code(source, drawing(widget=True)))
        assert f'<div class="explorable" data-name="{name}">' in output.data["text/html"]


def test_a_chart_is_no_explorable_and_its_ids_are_its_own():
    cell = code("play = Router()\nbar_chart([1])", drawing())
    (output,) = outputs.Seen(ROUTER).marked(cell)
    body = output.data["text/html"]
    assert "explorable" not in body
    assert f'id="c-{cell.id}-0"' in body
    assert f"url(#c-{cell.id}-0)" in body


def test_an_explorable_that_the_code_does_not_name_is_an_error():
    with pytest.raises(ValueError, match="does not say which"):
        outputs.Seen(ROUTER).marked(code("something", drawing(widget=True)))


def test_a_prediction_comes_back_as_its_reveal():
    asked = ROUTER.predictions[0]
    body = f"<strong>◇ Predict.</strong> {predictions.inline(asked.question)}"
    seen = outputs.Seen(ROUTER)
    kinds = [seen.marked(code("", html(body)))[0].data["text/html"] for _ in range(2)]
    assert kinds[0].startswith(f'<div class="prediction" data-id="{asked.id}">')
    assert kinds[1].startswith(f'<div class="reveal" data-id="{asked.id}">')


def test_a_question_that_the_lesson_does_not_have_is_an_error():
    with pytest.raises(ValueError, match="0 questions"):
        outputs.Seen(ROUTER).marked(code("", html("<strong>◇ Predict.</strong> Who?")))


def test_nothing_that_a_page_is_made_of_is_changed():
    cell = code("def f(): ...", html("x"), answer="01.router_logits")
    before = dict(cell)
    made(cell)
    assert dict(cell) == before


def test_links_lead_to_pages_or_to_the_repository():
    assert (
        documents.relinked("[a](./LOG.md#x) [b](https://a.b) [c](#d)")
        == "[a](log.md#x) [b](https://a.b) [c](#d)"
    )
    assert (
        documents.with_lessons("(lesson 01; lesson 99)", [ROUTER])
        == "([lesson 01](lessons/01_router.ipynb); lesson 99)"
    )


def test_the_ledger_escapes_what_was_said():
    claim = dataclasses.replace(ROUTER.claims[0], said="1 < 2 & `x`")
    page = ledger.page([dataclasses.replace(ROUTER, claims=(claim,))])
    assert "1 &lt; 2 &amp; <code>x</code>" in page
    assert page.count("<article") == 1


def test_a_claim_of_two_lessons_has_a_row_under_each():
    claim = ROUTER.claims[0]
    later = dataclasses.replace(ROUTER, id="02_later", claims=(claim,))
    page = ledger.page([dataclasses.replace(ROUTER, claims=(claim,)), later])
    assert page.count("<article") == 2
    assert f'id="{claim.id}"' in page
    assert f'id="{claim.id}-02"' in page
    assert "1 claim<" in page


def test_formulas_keep_their_kind():
    assert 'display="block"' in maths.mathml(r"\frac{1}{2}\n", block=True)
    assert "<mfrac>" in maths.mathml(r"\frac{1}{2}")


def test_the_reference_describes_each_function_that_a_room_lists():
    rooms = set(reference.pages()) - {"index"}
    described = {
        room: {name for names in reference.offers(room).values() for name in names} for room in rooms
    }
    anywhere = set().union(*described.values())
    for room in rooms - set(reference.ONLY):
        missing = {name for name in reference.listed_names(f"moe_lessons.{room}") if name.islower()}
        # A room may list what is at home, and described, in another.
        assert missing <= described[room] | anywhere, room


def test_the_glossary_names_lessons_that_there_are():
    text = (paths.ROOT / "web" / "pages" / "glossary.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\blesson (\d\d)\b", text))
    assert len(named) > 10
    assert named <= {lesson.number for lesson in registry.lessons()}


def test_the_theme_gets_its_names_once():
    page = '<aside class="sidebar-drawer"><p class="caption" role="heading">'
    assert landmarks.mend(page) != page
    assert landmarks.mend(landmarks.mend(page)) == landmarks.mend(page)
