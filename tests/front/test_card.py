"""Question cards without a browser: what crosses the wire, and the HTML that stands without it."""

import re
import xml.etree.ElementTree as ET

import anywidget
import pytest

from moe_lessons.front.card import Face, LiveCard

ASKED = Face(
    "99.up",
    "Predict",
    "Up or <em>down</em>?",
    ("up", "a < b".replace("<", "&lt;")),
    action="Commit",
    how="f(1)",
)
NUMBER = Face("99.n", "Check yourself", "How many?", how='quiz("99.n", 1.5)')


class Page:
    """A front end: it has what was sent, and answers."""

    def __init__(self, face, on_answer):
        self.card = LiveCard(face, on_answer)

    def says(self, content):
        self.card.widget._handle_custom_msg(content, [])

    @property
    def shows(self):
        return self.card.widget.card


def test_an_answer_is_answered_by_a_face():
    page = Page(ASKED, lambda answer: Face(**{**vars(ASKED), "mark": answer, "said": "So."}))
    assert page.shows["mark"] is None
    assert page.shows["options"] == ["up", "a &lt; b"]
    page.says({"answer": 1})
    assert (page.shows["mark"], page.shows["said"], page.shows["seen"]) == (1, "So.", 1)
    page.says({"answer": 1})
    assert page.shows["seen"] == 2  # else the page would wait for an answer that it has


def test_an_unanswered_card_holds_no_truth_and_no_feedback():
    page = Page(ASKED, lambda answer: ASKED)
    assert page.shows["truth"] is None
    assert page.shows["verdict"] == page.shows["said"] == page.shows["picture"] == ""


@pytest.mark.parametrize(
    "content",
    [{}, None, [], {"answer": 2}, {"answer": -1}, {"answer": True}, {"answer": "a"}, {"answer": 0.5}],
)
def test_what_is_no_answer_is_left_alone(content):
    page = Page(ASKED, lambda answer: pytest.fail("not an answer"))
    page.says(content)
    assert page.shows["seen"] == 0


def test_a_number_is_sent_as_it_was_typed():
    seen = []
    page = Page(NUMBER, lambda answer: seen.append(answer) or NUMBER)
    page.says({"answer": "3/4"})
    page.says({"answer": 1})
    assert seen == ["3/4"]


def test_what_fails_is_answered_too():
    def fails(answer):
        raise OSError("disk full")

    page = Page(ASKED, fails)
    page.says({"answer": 0})
    assert page.shows["seen"] == 1
    assert page.shows["mark"] == 0
    assert "did not work (OSError)" in page.shows["said"]


def test_the_widget_is_an_anywidget_without_text_of_its_own():
    card = LiveCard(ASKED, lambda answer: ASKED)
    assert isinstance(card.widget, anywidget.AnyWidget)
    bundle = card.bundle()
    assert bundle["text/plain"] == ""
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == card.widget.model_id
    card.close()
    assert card.widget.comm is None


def test_the_module_needs_nothing_from_elsewhere():
    esm = LiveCard(ASKED, lambda answer: ASKED).widget._esm
    assert not re.search(r"^\s*import\b|https?://|\beval\(", esm, re.MULTILINE)
    assert "export default" in esm


def text_of(html):
    words = " ".join(ET.fromstring(html.replace("&nbsp;", " ")).itertext())
    return re.sub(r"\s+", " ", words).replace(" ?", "?")


def test_the_twin_shows_question_options_marks_and_what_was_said():
    marked = Face(
        **{
            **vars(ASKED),
            "mark": 0,
            "truth": 1,
            "final": True,
            "said": "It fell.",
            "yours": "you",
            "true": "it",
        }
    )
    text = text_of(marked.html())
    for words in ("Predict.", "Up or down?", "a) up", "you", "b) a < b", "✔ it", "It fell."):
        assert words in text
    assert text.index("you") < text.index("b)") < text.index("✔ it")
    assert "cell" not in text


def test_an_open_twin_says_how_to_answer_and_an_open_card_how_to_bring_it_back():
    assert "Answer in a cell: f(1)" in text_of(ASKED.html())
    assert "Run this cell to bring it to life, or answer in another: f(1)" in text_of(ASKED.html(alive=True))
    assert ASKED.name in ASKED.html(alive=True)
    assert ASKED.name not in ASKED.html()


def test_what_was_typed_cannot_write_html():
    html = Face(**{**vars(NUMBER), "mark": "<b>1</b>&"}).html()
    assert "&lt;b&gt;1&lt;/b&gt;&amp;" in html


def test_the_twin_is_the_same_every_time():
    assert ASKED.html(alive=True) == Face(**vars(ASKED)).html(alive=True)
