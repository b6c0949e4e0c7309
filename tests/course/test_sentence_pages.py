"""Lesson 17's page: each seed its own, the answer hidden until the exercise has passed."""

import pytest

from moe_lessons.course import sentence_pages, sentences, settled, store
from moe_lessons.course.sentence_pages import _table
from moe_lessons.exercises.capstone_errors.bank import SENTENCES, page


def passed():
    store.update(lambda p: p["exercises"].__setitem__("17.find_errors", {"attempts": 1, "passed": True}))


def test_all_sentences_of_the_page_and_no_verdict(printed):
    sentences(5)
    text = printed()
    for part in page(5).values():
        for one in part:
            assert one.said.replace("`", "") in text
            assert one.asks.replace("`", "") in text
            assert one.truth not in text
    assert "The page of seed 5" in text
    assert "2101.03961  Fedus et al., Switch Transformers" in text


def test_another_seed_another_page(printed):
    sentences(5)
    first = printed()
    sentences(6)
    assert printed() != first


def test_the_table_to_copy_is_python_with_all_open():
    names = {}
    exec(_table(9), names)
    assert names["seed"] == 9
    assert {part: [id for id, _, _ in rows] for part, rows in names["table"].items()} == {
        part: [one.id for one in drawn] for part, drawn in page(9).items()
    }
    assert {row[1:] for rows in names["table"].values() for row in rows} == {("?", 0)}


def test_what_is_true_is_shown_after_a_pass(printed):
    settled(5)
    text = printed()
    assert text.startswith("Once 17.find_errors has passed")
    assert not any(one.truth.replace("`", "") in text for one in SENTENCES)
    passed()
    settled(5)
    after = printed()
    settled(5, anyway=True)
    assert printed() == after
    for part in page(5).values():
        for one in part:
            assert one.truth.replace("`", "") in after
            assert one.source in after


@pytest.mark.parametrize("show", [sentences, settled])
@pytest.mark.parametrize("seed", [-1, "mine", 2.5, None])
def test_what_is_no_seed_is_said_in_one_line(printed, show, seed):
    show(seed)
    (line,) = printed().splitlines()
    assert line == f"seed={seed!r}: give a whole number from 0 on, such as your student number"


def test_html_is_escaped(monkeypatch):
    shown = []
    monkeypatch.setattr(sentence_pages, "show", shown.append)
    sentences(5)
    settled(5, anyway=True)
    for card in shown:
        assert "<script" not in card.body
        assert card.body.count("<table>") == card.body.count("</table>")
    assert "Source: " in shown[1].body
    assert 'href="https://arxiv.org/abs/' in shown[1].body
