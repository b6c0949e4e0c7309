"""What a class handed in is held small: packed in the command, one answer at a time where it is judged."""

import json
import tracemalloc

import classroom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.exercises import own_replies
from moe_lessons.exercises.drivers import Request
from moe_lessons.grade import batches, notebook, run, session
from moe_lessons.grade.reading import read
from moe_lessons.grade.records import OWN, Limits, Notebook, Submission
from moe_lessons.grade.texts import Packed

LESSON = classroom.LESSONS[0]
MINE = [id for id in classroom.IDS if id.startswith(LESSON.number)]
LONG = 400_000
LONG_TEXT = "# ← a cell that is long\n" * (LONG // 24)


@given(st.dictionaries(st.text(max_size=5), st.text(st.characters(), max_size=40), max_size=5))
def test_packed_texts_are_the_texts(texts):
    """Of all characters, halves of them among them."""
    packed = Packed(texts)
    assert packed == texts
    assert list(packed.items()) == list(texts.items())
    assert len(packed) == len(texts)
    assert "no such name" not in packed


def test_no_name_no_text():
    with pytest.raises(KeyError):
        Packed({})["a"]


def test_what_is_read_is_packed(tmp_path):
    path = tmp_path / "one.ipynb"
    path.write_text(json.dumps(classroom.SOLVED[LESSON.id]), encoding="utf-8")
    found = read(path, path.name)
    assert isinstance(found.answers, Packed)
    assert isinstance(found.beside, Packed)
    assert set(found.answers) == set(MINE)


def answers(count, text=LONG_TEXT):
    """One answer each of ``count`` learners, in a packed notebook of its own."""
    id = MINE[0]
    made = ((place, Packed({id: f"{text}\n# {place}"})) for place in range(count))
    return [notebook.Answer(place, id, Notebook(f"{place}.ipynb", LESSON.id, texts)) for place, texts in made]


def peak(do):
    """What a call took of memory at once, beyond what was there before it."""
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_writing_a_job_takes_one_answer_at_a_time(tmp_path):
    """Forty texts of 0.8 MB in memory, where a job in one piece was three times all of them."""
    given = answers(40)
    tmp_path.joinpath("warm").mkdir()
    notebook.write(
        tmp_path / "warm", given[:1], 1, Limits(), sandboxed=False
    )  # what is imported or kept once
    taken = peak(lambda: notebook.write(tmp_path, given, 1, Limits(), sandboxed=False))
    assert taken < 10 * LONG  # one, as text, as JSON and as bytes
    written = [json.loads((tmp_path / f"answer-{n}.json").read_text()) for n in range(40)]
    assert [one["learner"] for one in written] == list(range(40))
    assert all(one["code"] == answer.code for one, answer in zip(written, given, strict=True))


def test_a_job_is_read_one_answer_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "WarmParent", lambda folder, sandboxed: None)
    given = answers(40)
    notebook.write(tmp_path, given, 1, Limits(), sandboxed=False)
    asked = []

    def report(self, exercise, task):
        asked.append((task["learner"], task["code"] == given[task["learner"]].code, task["beside"]))
        return session.Report(exercise, "passed")

    monkeypatch.setattr(session.Session, "_report", report)

    def judge_all():
        opened = session.Session(tmp_path)
        for index in range(40):
            opened.grade(index)

    assert peak(judge_all) < 10 * LONG
    assert asked == [(place, True, "") for place in range(40)]


def test_grading_holds_no_text(monkeypatch):
    """Neither while it waits for runs nor when it keeps what they found: here, 40 texts of 0.8 MB."""
    monkeypatch.setattr(batches, "run", lambda group, *rest: {})
    class_ = [Submission(f"{a.learner:02}", (a.source,), alone=False) for a in answers(40)]
    assert peak(lambda: run.grade_class(class_, seed=1, isolation=OWN)) < 10 * LONG


def test_a_kept_reply_does_not_keep_what_was_asked(monkeypatch):
    """All mistakes to an exercise are asked about the same arrays."""
    monkeypatch.setattr(own_replies, "_kept", {})
    for number in range(3):
        own_replies.own_reply(
            lambda text, n=number: len(text) + n, Request("call", {"text": "x" * LONG}, {}, {})
        )
    assert len(own_replies._kept) == 3
    assert all(len(asked) < 100 for _, asked in own_replies._kept)
