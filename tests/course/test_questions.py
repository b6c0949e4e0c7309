"""Quizzes, predictions and claims: in a call, as text, and by buttons."""

import ipywidgets
import pytest
import torch

from moe_lessons.course import ask, predictions, store
from moe_lessons.course.claims import claim, claims_table
from moe_lessons.course.predictions import predict, reveal
from moe_lessons.course.quizzes import quiz
from moe_lessons.course.starting import start


def test_a_quiz_shows_its_options_and_how_to_answer(printed):
    quiz("99.choice")
    assert printed().splitlines() == [
        "Check yourself. Which?",
        "  a) this",
        "  b) that",
        '  Answer with quiz("99.choice", "a")',
    ]


@pytest.mark.parametrize(
    ("answer", "said", "right"),
    [("a", "✘ Not quite. No: `that`.", False), ("B)", "✔ Right. Yes, *that*.", True), (1, "✔ Right.", True)],
)
def test_each_option_answers_for_itself(printed, answer, said, right):
    quiz("99.choice", answer)
    assert printed().startswith(said)
    assert store.load()["quizzes"] == {"99.choice": right}


@pytest.mark.parametrize("answer", ["c", "", "banana", 2, -1, True, 1.0, None, [1], torch.ones(3)], ids=repr)
def test_what_is_no_option_is_not_an_answer(printed, answer):
    quiz("99.choice", answer)
    text = printed()
    assert text == "Answer with a letter from a to b.\n" or text.startswith("Check yourself")
    assert store.load()["quizzes"] == {}


@pytest.mark.parametrize(
    "answer",
    [
        1250,
        1250.0,
        "1250",
        "1,250",
        "1.25e3",
        "1250,0",
        1251,
        torch.tensor(1250.0),
        "2500/2",
        "125000 %",
        "1250/1",
    ],
    ids=repr,
)
def test_a_number_may_be_written_in_many_ways(printed, answer):
    quiz("99.number", answer)
    assert printed() == "✔ Right. It is 1250.\n"


@pytest.mark.parametrize(
    "answer", [1300, "1,25", -1250, "nan", float("inf"), 10**400], ids=lambda a: str(a)[:9]
)
def test_a_wrong_number_is_wrong(printed, answer):
    quiz("99.number", answer)
    assert not printed().startswith("✔")
    assert not store.load()["quizzes"].get("99.number")


@pytest.mark.parametrize(
    "answer", ["a half", "", "1 2", "1/0", "1/2/3", "%", "/", [1], torch.ones(2)], ids=repr
)
def test_what_is_no_number_is_said(printed, answer):
    quiz("99.number", answer)
    assert "is not a number; write for example 0.25, 1/4, 25 % or 1e9" in printed()
    assert store.load()["quizzes"] == {}


def test_unknown_ids_are_one_line(printed):
    quiz("99.none")
    predict("99.none")
    reveal("98.none")
    assert len(printed().splitlines()) == 3


def test_a_prediction_is_asked_committed_and_kept(printed):
    predict("99.up")
    assert 'Answer with predict("99.up", "a")' in printed()
    predict("99.up", "z")
    assert printed() == "Commit to a letter from a to b.\n"
    predict("99.up", "a")
    assert printed() == "You predicted a) up. Now run the experiment.\n"
    predict("99.up", "b")
    predict("99.up")
    stays = "You predicted a) up. A prediction stays as it was made."
    assert printed() == 2 * f"{stays} Run the experiment, if you have not yet.\n"
    reveal("99.up")
    printed()
    predict("99.up", "b")
    assert printed() == f"{stays} The experiment showed b) down.\n"


def test_reveal_puts_both_side_by_side(printed):
    reveal("99.up")
    assert "You have not committed" in printed()
    predict("99.up", "a")
    reveal("99.up")
    assert printed().endswith("✘ You predicted a) up.\nThe experiment shows b) down. It fell.\n")


def test_an_uncommitted_answer_is_folded_away_in_html():
    shown = []
    original, predictions.show = predictions.show, shown.append
    try:
        reveal("99.up")
    finally:
        predictions.show = original
    html = shown[0]._repr_html_()
    assert html.index("<details>") < html.index("It fell.")


def test_a_committed_option_that_is_gone_is_asked_again(printed):
    store.update(lambda progress: progress["predictions"].__setitem__("99.up", 5))
    predict("99.up")
    reveal("99.up")
    text = printed()
    assert text.startswith("Predict. Up or down?")
    assert "You have not committed" in text


def test_a_prediction_unlocks_what_waits_for_it():
    class Explorable:
        unlocked = 0

        def unlock(self):
            self.unlocked += 1

    waiting = Explorable()
    predict("99.up", unlocks=waiting)
    assert waiting.unlocked == 0
    predict("99.up", "nonsense", unlocks=waiting)
    assert waiting.unlocked == 0
    predict("99.up", "b", unlocks=waiting)
    assert waiting.unlocked == 1
    predict("99.up", unlocks=waiting)  # the cell again, after a restart
    assert waiting.unlocked == 2


@pytest.fixture
def shown(monkeypatch):
    """What is shown on a page, whose links between widgets are run here."""
    shown = []
    monkeypatch.setattr(ask, "in_notebook", lambda: True)
    monkeypatch.setattr(ask, "show", shown.append)
    monkeypatch.setattr(ipywidgets, "jsdlink", ipywidgets.dlink)
    return shown


def test_a_choice_that_the_page_held_back_counts_although_the_click_overtook_it(shown, monkeypatch):
    links, answered = [], []
    monkeypatch.setattr(ipywidgets, "jsdlink", lambda *ends: links.append(ends))
    ask.buttons("99.late", 3, "Commit", lambda index: answered.append(index) or "")
    choice, submit = shown[0].children[0].children
    choice.value = 0
    submit.click()
    assert answered == []  # the page has yet to say that this was all
    choice.value = 2
    ((asked, _), (reply, _)) = links[0]
    reply.value = asked.value
    assert answered == [2]


def test_a_number_counts_as_it_stands_when_everything_has_arrived(shown):
    answered = []
    ask.number("99.number", "Answer", lambda text: answered.append(text) or "")
    field, submit = shown[0].children[0].children
    field.value = "0.25"
    submit.click()
    submit.click()
    assert answered == ["0.25", "0.25"]


def test_buttons_show_letters_and_answer_once(shown):
    answered = []
    ask.buttons("99.choice", 3, "Commit", lambda index: answered.append(index) or f"<em>{index}</em>")
    row, said = shown[0].children
    choice, submit = row.children
    assert [label for label, _ in choice.options] == ["a", "b", "c"]
    assert submit.disabled
    submit.click()
    assert answered == []
    choice.value = 2
    assert not submit.disabled
    submit.click()
    assert answered == [2]
    assert said.value == "<em>2</em>"
    ask.buttons("99.choice", 3, "Commit", str)
    assert shown[0].comm is None  # closed: a second one must not leave the first one live


def test_letters_stand_in_the_text_of_the_page():
    """The type of an ordered list does not survive JupyterLab's sanitizer; the buttons carry letters."""
    html = ask.question_card("Predict", "Which?", ("x < y", "`z`"), "how")._repr_html_()
    assert "a) x &lt; y" in html
    assert "b) <code>z</code>" in html


def test_a_claim_needs_a_lesson_its_verdict_and_support(printed):
    claim("L9", "wrong", holds=True)
    assert printed().startswith("Run the set-up cell first")
    start("99_toy")
    printed()
    claim("L8", "wrong", holds=True)
    assert printed() == "Lesson 99_toy has no claim 'L8'; it has L9.\n"
    claim("L9", "correct", holds=True)
    assert printed() == "L9: the sources say wrong, not correct.\n"
    claim("L9", "wrong", holds=False)
    said = 'L9: "It is `x < y`."'
    source = "     Source: arXiv 0000.00000\n"
    assert printed() == f"{said}\n     This experiment does NOT show it wrong.\n{source}"
    claims_table()
    assert "NOT supported here" in printed()
    claim("L9", "wrong", holds=torch.tensor(True))
    assert printed() == f"{said}\n     Wrong. It is not.\n{source}"
    claims_table()
    assert printed().split() == ["L9", "wrong", "shown", "here", "It", "is", "`x", "<", "y`."]


def test_a_claim_that_cannot_be_decided_is_one_line(printed):
    start("99_toy")
    printed()
    claim("L9", "wrong", holds=torch.ones(2) > 0)
    assert printed().startswith("claim could not finish (RuntimeError")
