"""Every question of every lesson: answered in the solutions, not answered for learners."""

import ast
import functools
import html
import re

import nbformat
import pytest

from moe_lessons.build import paths
from moe_lessons.build.__main__ import problems
from moe_lessons.build.render import notebook
from moe_lessons.course import ask, predict, predictions, quiz, reveal, show, start, store
from moe_lessons.exercises import registry

LESSONS = registry.lessons()
CALLS = {"predict": predict, "quiz": quiz, "reveal": reveal}
LEFT_OPEN = ("You have not committed", "Answer below", "bring it to life", "Answer in a cell")


@pytest.fixture(params=LESSONS, ids=lambda lesson: lesson.id)
def lesson(request):
    return request.param


@pytest.fixture
def rendered(lesson, monkeypatch, tmp_path):
    """Calls one question's function as its cell would, and returns the HTML and the text that it shows."""
    shown = []
    monkeypatch.setenv("MOE_LESSONS_HOME", str(tmp_path))
    monkeypatch.setattr(store, "_unsaved", None)
    monkeypatch.setattr(store, "_apart", False)
    monkeypatch.setattr(ask, "_live", {})
    monkeypatch.setattr(predictions, "_revealed", {})
    for module in (ask, show):
        monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda item, **kwargs: shown.append(item))

    def call(name, id):
        shown.clear()
        CALLS[name](id)
        return shown[0]._repr_html_(), str(shown[0])

    return call


@functools.cache
def built(id, solutions):
    return notebook(paths.LESSONS / f"{id}.py", solutions=solutions)


def questions(made):
    """The calls of a notebook's cells that ask, or answer, a question: name, id, cell; in their order."""
    found = []
    for cell in made.cells:
        if cell.cell_type == "code" and "fetch" not in cell.metadata.get("tags", []):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
                    found.append((node.func.id, ast.literal_eval(node.args[0]), cell))
    return found


def asked(name, id):
    return registry.quiz(id) if name == "quiz" else registry.prediction(id)


def words(markdown):
    """A text as it is read, in HTML or as it was written."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", show.inline(markdown))).split())


def read(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", markup)).split())


def answers(name, found):
    """What answers a question: the right option where it is marked, and the explanation."""
    if name != "quiz":
        return found.options[found.truth], found.because
    right = next((choice for choice in found.choices if choice.right), None)
    return (right.text, right.feedback) if right else ("", found.feedback)


def test_the_solutions_answer_every_question(lesson, rendered):
    start(lesson.id, keep=False)
    all_of_them = questions(built(lesson.id, solutions=True))
    assert {id for _, id, _ in all_of_them} == {q.id for q in (*lesson.quizzes, *lesson.predictions)}
    for name, id, _ in all_of_them:
        found, (markup, text) = asked(name, id), rendered(name, id)
        option, why = answers(name, found)
        options = [choice.text for choice in found.choices] if name == "quiz" else found.options
        for part in (found.question, *options):
            assert words(part) in read(markup), id
        assert not any(phrase in markup + text for phrase in LEFT_OPEN), id
        if name == "predict":
            assert "✔" not in markup + text
            assert words(why) not in read(markup)
            continue
        assert words(why) in read(markup), id
        assert markup.count("✔") == 1, id
        if option:
            (line,) = [row for row in markup.split("<div") if "✔" in row]
            assert words(option) in read(f"<div{line}"), id


def test_every_prediction_is_revealed_below(lesson):
    """ "The experiment below settles it" is true: each is asked, and then revealed, once."""
    calls = [(name, id) for name, id, _ in questions(built(lesson.id, solutions=True))]
    for prediction in lesson.predictions:
        assert calls.count(("reveal", prediction.id)) == 1
        assert calls.index(("predict", prediction.id)) < calls.index(("reveal", prediction.id))


def test_learners_see_no_answer_before_theirs(lesson, rendered):
    for name, id, _ in questions(built(lesson.id, solutions=False)):
        found, (markup, text) = asked(name, id), rendered(name, id)
        visible = read(markup.split("<details>")[0])
        feedback = [choice.feedback for choice in found.choices] if name == "quiz" else []
        for answer in filter(None, (answers(name, found)[1], *feedback)):
            assert words(answer) not in visible, id
            assert name == "reveal" or words(answer) not in words(text), id
        assert "✔" not in visible
        if name != "reveal":
            card = ask._live[id].widget.card
            assert (card["truth"], card["said"], card["picture"], card["verdict"]) == (None, "", "", "")


def test_learners_notebooks_hold_no_explanation(lesson):
    kept = nbformat.read(paths.NOTEBOOKS / f"{lesson.id}.ipynb", as_version=4)
    stored = " ".join(cell.source for cell in kept.cells)
    assert not any(cell.get("outputs") for cell in kept.cells)
    for quiz_of_it in lesson.quizzes:
        for explained in (quiz_of_it.feedback, *(choice.feedback for choice in quiz_of_it.choices)):
            assert not explained or explained not in stored, quiz_of_it.id
    for prediction in lesson.predictions:
        assert prediction.because not in stored, prediction.id


def test_stored_solutions_leave_no_question_open(lesson):
    if problems(paths.LESSONS / f"{lesson.id}.py"):
        pytest.skip("stale: run `make lessons`")
    kept = nbformat.read(paths.SOLUTIONS / f"{lesson.id}.ipynb", as_version=4)
    for name, id, cell in questions(kept):
        markup = " ".join(output.data.get("text/html", "") for output in cell.outputs if "data" in output)
        assert words(asked(name, id).question) in read(markup), id
        assert name == "predict" or words(answers(name, asked(name, id))[1]) in read(markup), id
        assert not any(phrase in markup for phrase in LEFT_OPEN), id


def test_no_option_holds_a_link():
    """An option is a button, and a button holds no link."""
    for lesson in LESSONS:
        for found in (*lesson.predictions, *lesson.quizzes):
            options = found.options if hasattr(found, "options") else [one.text for one in found.choices]
            assert not any("<a " in show.inline(option) for option in options), found.id
