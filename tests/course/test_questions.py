"""Quizzes, predictions and claims: in a call, as text, and by buttons."""

import pytest
import torch

from moe_lessons.course import ask, show, store
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


def test_an_uncommitted_answer_is_folded_away_in_html(page):
    reveal("99.up")
    html = page.html(0)
    assert html.index("Up or down?") < html.index("<details>") < html.index("It fell.")
    assert "✔" not in html


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


def test_a_prediction_in_another_cell_unlocks_it_too():
    class Waiting:
        unlocked = 0

        def unlock(self):
            self.unlocked += 1

    first, second = Waiting(), Waiting()
    predict("99.up", unlocks=first)
    predict("99.up", unlocks=second)  # the cell run twice: the newest is on the page
    predict("99.up", "a")
    predict("99.up", "b")
    assert (first.unlocked, second.unlocked) == (0, 1)


class Handle:
    def __init__(self, page, place):
        self.page, self.place = page, place

    def update(self, item):
        self.page.shown[self.place] = item


class Page:
    """A notebook's page: what is shown on it and kept up to date; cards answer when told to."""

    def __init__(self):
        self.shown = []

    def display(self, item, display_id=None, raw=False):
        self.shown.append(item)
        return Handle(self, len(self.shown) - 1) if display_id else None

    def html(self, place):
        return self.shown[place]._repr_html_()

    def card(self, id):
        return ask._live[id]

    def answers(self, id, answer):
        self.card(id).widget._handle_custom_msg({"answer": answer}, [])
        return self.card(id).widget.card


@pytest.fixture
def page(monkeypatch):
    made = Page()
    for module in (ask, show):
        monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", made.display)
    return made


def test_a_card_lies_over_its_twin_and_an_answer_reaches_both(page):
    predict("99.up")
    sheet, bundle = page.shown
    assert "a) up" in sheet._repr_html_()
    assert "Run this cell to bring it to life" in sheet._repr_html_()
    assert list(bundle) == ["application/vnd.jupyter.widget-view+json", "text/plain"]
    card = page.answers("99.up", 0)
    assert (card["mark"], card["final"], card["truth"]) == (0, True, None)
    for html in (card["said"], page.html(0)):
        assert "You predicted a) up. Now run the experiment." in html
    assert "Up or down?" in page.html(0)
    assert page.answers("99.up", 1)["mark"] == 0  # it stays as it was made
    assert store.load()["predictions"] == {"99.up": 0}


def test_what_a_card_gets_does_not_answer_it(page):
    predict("99.up")
    quiz("99.choice")
    quiz("99.number")
    for id in ("99.up", "99.choice", "99.number"):
        card = page.card(id).widget.card
        assert (card["mark"], card["truth"], card["said"], card["picture"]) == (None, None, "", "")
    for secret in ("It fell", "Yes, ", "No: ", "1250", "✔"):
        assert all(secret not in page.html(place) + str(page.shown[place]) for place in (0, 2, 4))


def test_a_reveal_that_was_shown_before_the_commitment_follows_it(page):
    predict("99.up")
    reveal("99.up")
    assert "You have not committed" in page.html(2)
    page.answers("99.up", 0)
    html = page.html(2)
    assert "✘ Not as you predicted. It fell." in html
    assert (
        html.index("a) up")
        < html.index("your prediction")
        < html.index("b) down")
        < html.index("✔ the exper")
    )


def test_at_the_reveal_a_right_prediction_carries_both_marks(page):
    predict("99.up", "b")
    reveal("99.up")
    assert (
        "b) down. &nbsp; <strong>your prediction</strong> · <strong>✔ the experiment</strong>" in page.html(1)
    )
    assert "✔ As you predicted. It fell." in page.html(1)


def test_a_quiz_can_be_answered_again_and_remembers_the_last_answer(page):
    quiz("99.choice")
    card = page.answers("99.choice", 0)
    assert (card["verdict"], card["truth"], card["final"]) == ("wrong", None, False)
    assert "No: <code>that</code>." in page.html(0)
    card = page.answers("99.choice", 1)
    assert (card["verdict"], card["truth"]) == ("right", 1)
    assert store.load()["answers"] == {"99.choice": 1}
    quiz("99.choice")  # the cell again, after a restart
    assert page.card("99.choice").widget.card["mark"] == 1
    assert "✔ Right. Yes, <em>that</em>." in page.html(2)


def test_a_number_and_the_answer_stand_side_by_side(page):
    quiz("99.number")
    card = page.answers("99.number", "1,000")
    assert card["verdict"] == "wrong"
    assert "Your number: 1,000. The answer: 1,250. It is 1250." in card["said"]
    assert "Your number, 1,000, and the true one, 1,250, on a line" in card["picture"]
    assert "Your number: 1,000" in page.html(0)
    card = page.answers("99.number", "1250 rows")
    assert (card["verdict"], card["picture"]) == ("note", "")
    assert "has a unit; write the number alone: 1250." in card["said"]
    assert store.load()["answers"] == {"99.number": "1,000"}


def test_an_answer_that_fits_no_longer_is_asked_again(page):
    for stored in (7, "b", "x"):
        store.update(lambda progress, stored=stored: progress["answers"].__setitem__("99.choice", stored))
        quiz("99.choice")
        assert page.card("99.choice").widget.card["mark"] is None
    store.update(lambda progress: progress["answers"].__setitem__("99.number", "many"))
    quiz("99.number")
    assert page.card("99.number").widget.card["mark"] is None


def test_a_second_card_for_a_question_closes_the_first(page):
    quiz("99.choice")
    first = page.card("99.choice").widget
    quiz("99.choice")
    assert first.comm is None
    assert page.card("99.choice").widget.comm is not first.comm


def test_a_call_reaches_the_card_that_is_open(page):
    predict("99.up")
    predict("99.up", "b")
    assert page.card("99.up").widget.card["mark"] == 1


@pytest.mark.parametrize(
    "ask_it", [lambda: predict("99.up"), lambda: quiz("99.choice"), lambda: quiz("99.number")]
)
def test_without_anywidget_the_question_is_read_and_answered_in_a_cell(page, monkeypatch, ask_it):
    monkeypatch.setattr(ask.page, "available", lambda: False)
    ask_it()
    (sheet,) = page.shown
    assert "Answer in a cell: <code>" in sheet._repr_html_()
    assert "bring it to life" not in sheet._repr_html_()


def test_published_questions_carry_their_answers(page):
    start("99_toy", keep=False)
    for ask_it in (predict, reveal):
        ask_it("99.up")
    for id in ("99.choice", "99.number"):
        quiz(id)
    asked, revealed, choice, number = map(page.html, range(4))
    assert len(page.shown) == 4  # and no widget
    assert "Up or down?" in asked
    assert "✔" not in asked
    assert "The experiment below settles it." in asked
    assert "b) down. &nbsp; <strong>✔ the experiment</strong>" in revealed
    assert "It fell." in revealed
    assert "You have not committed" not in revealed
    assert "b) that &nbsp; <strong>✔ right</strong>" in choice
    assert "Yes, <em>that</em>." in choice
    assert "✔ 1,250. It is 1250." in number
    for html in (asked, revealed, choice, number):
        assert "cell" not in html


def test_a_published_prediction_locks_nothing(page):
    start("99_toy", keep=False)

    class Explorable:
        unlocked = 0

        def unlock(self):
            self.unlocked += 1

    waiting = Explorable()
    predict("99.up", unlocks=waiting)
    assert waiting.unlocked == 1


def test_letters_stand_in_the_text_of_the_page(page):
    """The type of an ordered list does not survive JupyterLab's sanitizer; the buttons carry letters."""
    quiz("99.choice")
    assert "a) this" in page.html(0)
    assert "b) that" in page.html(0)


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
