"""What a page knows of the questions is what the notebook says, whole."""

import sys

import pytest

from moe_lessons import explore
from moe_lessons.build import paths
from moe_lessons.course import predictions, quizzes, store
from moe_lessons.exercises import registry

sys.path.insert(0, str(paths.ROOT))
from web import questions

LESSONS = registry.lessons()


@pytest.fixture(autouse=True)
def nobody_has_begun(monkeypatch, tmp_path):
    monkeypatch.setenv("MOE_LESSONS_HOME", str(tmp_path))
    monkeypatch.setattr(store, "_unsaved", None)
    monkeypatch.setattr(store, "_apart", False)
    monkeypatch.setattr(predictions, "_revealed", {})


def whole(face, change):
    return {**face, **change}


def on_the_wire(face):
    state = face.state()
    return {key: state[key] for key in state if key not in ("seen", "how")}


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_a_page_says_to_an_option_what_a_notebook_says(lesson):
    known = questions.questions(lesson)["quizzes"]
    assert list(known) == [quiz.id for quiz in lesson.quizzes]
    for quiz in lesson.quizzes:
        entry = known[quiz.id]
        assert ("number" in entry) == (quiz.answer is not None)
        for i, change in enumerate(entry.get("chosen", [])):
            text, face = quizzes._respond(quiz, i)
            assert whole(entry["face"], change) == on_the_wire(face)
            assert quiz.choices[i].feedback in text


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_a_page_says_to_a_prediction_what_a_notebook_says(lesson):
    known = questions.questions(lesson)["predictions"]
    assert list(known) == [one.id for one in lesson.predictions]
    for found in lesson.predictions:
        entry = known[found.id]
        assert entry["unasked"] == predictions.answered(found, None)[1].html()
        for i in range(len(found.options)):
            store.clear()
            assert whole(entry["face"], entry["made"][i]) == on_the_wire(predictions._commit(found, i)[1])
            again = predictions._commit(found, (i + 1) % len(found.options))[1]
            assert whole(entry["face"], entry["stands"][i]) == on_the_wire(again)
            assert entry["shown"][i] == predictions.answered(found, i)[1].html()


def test_what_unlocks_an_explorable_is_a_prediction_of_its_lesson():
    unlocked_by = questions.unlocked_by()
    assert len(unlocked_by) >= 12
    for name, locks in unlocked_by.items():
        shown = getattr(explore, name)()
        for id, part in locks.items():
            assert registry.prediction(id)
            lock = shown.switch(part) if part else shown
            lock.unlock()
        assert not any(shown.waits(control) for control in shown.controls())
