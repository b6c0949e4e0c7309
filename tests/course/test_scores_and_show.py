"""Score, progress, reset, and how things show: in a notebook as HTML, elsewhere as text."""

import io
import subprocess
import sys

import pytest

from moe_lessons import course
from moe_lessons.course import show, store
from moe_lessons.course.checking import check, hint
from moe_lessons.course.predictions import predict
from moe_lessons.course.quizzes import quiz
from moe_lessons.course.scores import progress, reset, score
from moe_lessons.course.show import Card, inline, never_raises, say
from moe_lessons.course.starting import start
from moe_lessons.exercises import registry


def solve():
    check("99.scale", lambda x, factor: factor * x)


def test_score_says_what_is_open(printed):
    score()
    assert printed() == 'Which lesson? For example score("01").\n'
    start("99_toy")
    score()
    assert printed().splitlines() == [
        "Lesson 99 · Toys & tests: 1 exercise, 2 points.",
        "Lesson 99: 0 of 2 points; still open: 99.scale",
    ]
    solve()
    printed()
    score("99")
    assert printed() == "Lesson 99: 2 of 2 points; all exercises passed\n"
    start("99_toy")
    assert printed().endswith("Welcome back: 1 of 1 exercise passed.\n")
    score("nothing")
    assert "no lesson 'nothing'" in printed()


def test_progress_lists_every_lesson(printed):
    solve()
    printed()
    progress()
    lines = printed().splitlines()
    assert len(lines) == len(registry.lessons())
    assert lines[-1].split() == ["99", "Toys", "&", "tests", "2", "of", "2"]


def test_reset_forgets_one_lesson_and_only_that(printed):
    start("99_toy")
    solve()
    hint("99.scale")
    quiz("99.choice", "a")
    predict("99.up", "a")
    store.update(lambda found: found["hints"].__setitem__("01.x", 1))
    reset()
    assert store.load() == {**store.empty(), "hints": {"01.x": 1}}
    reset("all")
    assert store.load() == store.empty()
    assert printed().endswith("Progress in lesson 99 is forgotten.\nAll progress is forgotten.\n")


def test_an_unknown_lesson_does_not_start(printed):
    start("98_nothing")
    assert printed().startswith("no lesson '98_nothing'; there are ")


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("a < b & c", "a &lt; b &amp; c"),
        ("*all* of it", "<em>all</em> of it"),
        ("`2 * x * y`", "<code>2 * x * y</code>"),
        ("2 * x * y and *z*", "2 * x * y and <em>z</em>"),
        ("`<b>` and `*`", "<code>&lt;b&gt;</code> and <code>*</code>"),
        ("E*sum(f P)*2", "E*sum(f P)*2"),
        ("an odd ` stays", "an odd ` stays"),
    ],
)
def test_inline_markdown(markdown, html):
    assert inline(markdown) == html


def test_links_leave_the_notebook_open():
    made = inline("see [the *book*](https://d2l.ai/a.html), or [this](javascript:alert)")
    assert '<a href="https://d2l.ai/a.html" target="_blank" rel="noopener"' in made
    assert "javascript:alert" in made
    assert made.count("<a ") == 1


def test_a_card_is_text_or_html():
    card = Card("text", "<b>text</b>")
    assert repr(card) == "text"
    assert "<b>text</b>" in card._repr_html_()


def test_an_old_terminal_shows_question_marks_not_an_error(monkeypatch):
    raw = io.BytesIO()
    terminal = io.TextIOWrapper(raw, encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", terminal)
    solve()
    say("✔ done")
    terminal.flush()
    assert b"? 99.scale: passed" in raw.getvalue()
    assert b"? done" in raw.getvalue()


def test_an_interrupt_is_one_line(printed):
    @never_raises
    def slow():
        raise KeyboardInterrupt

    slow()
    assert printed().startswith("slow was stopped by you.")


def test_a_wrong_call_is_one_line(printed):
    check()
    said = "It is called as check(id, answer, demo); help(check) says more."
    assert printed() == f"check: missing a required argument: 'id'. {said}\n"


def test_everything_a_lesson_imports_is_there():
    for name in course.__all__:
        assert callable(getattr(course, name))
        assert getattr(course, name).__doc__
    with pytest.raises(AttributeError):
        course.nothing  # noqa: B018


def test_the_engine_works_without_a_notebook():
    """In plain Python, with no IPython in sight: text, no error."""
    code = (
        "import sys; sys.modules['IPython'] = None\n"
        "from moe_lessons.course import check, predict, quiz, score, start\n"
        "start('01_router'); quiz('nothing'); check('01.router_logits'); score()\n"
    )
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", code], capture_output=True, check=True)
    assert "○ 01.router_logits: not attempted yet" in done.stdout.decode()
    assert done.stderr == b""


def test_in_a_notebook_the_card_is_displayed(monkeypatch):
    displayed = []
    monkeypatch.setattr(show, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", displayed.append)
    solve()
    assert [type(item) for item in displayed] == [Card]
