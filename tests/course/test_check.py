"""``check`` and ``hint``: one stable line, a card, and never an error, whatever the answer does."""

import sys
import time

import pytest
import torch

from moe_lessons.course import store
from moe_lessons.course.checking import card, check, examine, hint
from moe_lessons.course.printed import Printed
from moe_lessons.course.show import inline
from moe_lessons.course.starting import start
from moe_lessons.exercises import answers
from moe_lessons.exercises.published import published
from moe_lessons.exercises.registry import exercise

FAILED, PASSED = "✘ 99.scale: not right yet", "✔ 99.scale: passed, 2 of 2 points"
STUB = "○ 99.scale: not attempted yet"


def first_line(text):
    return text.splitlines()[0]


def record():
    return store.load()["exercises"].get("99.scale")


def test_a_right_answer_passes_and_is_remembered(printed):
    check("99.scale", lambda x, factor: factor * x)
    assert first_line(printed()) == PASSED
    assert record() == {"attempts": 1, "passed": True}


def test_a_pass_survives_a_later_mistake(printed):
    check("99.scale", lambda x, factor: factor * x)
    check("99.scale", lambda x, factor: x)
    assert FAILED in printed()
    assert record() == {"attempts": 2, "passed": True}


def test_a_known_mistake_is_named_with_its_hint(printed):
    check("99.scale", lambda x, factor: x + factor)
    text = printed()
    assert first_line(text) == FAILED
    assert "What may have happened: You added `factor`; it multiplies." in text
    assert 'Hint 2 is about this: hint("99.scale", 2)' in text
    assert "scaled_N[n=0] is" in text
    assert "3 of 3 values differ (inputs: n=3)" in text


def test_a_mistake_is_named_beside_an_error_on_other_inputs(printed):
    def answer(x, factor):
        return x + factor if len(x) == 3 else x[99]

    check("99.scale", answer)
    text = printed()
    assert "✘ runs without an error: IndexError" in text
    assert "What may have happened: You added `factor`; it multiplies." in text
    assert "The error above may be another mistake." in text


def test_an_unknown_mistake_points_to_a_hint(printed):
    check("99.scale", lambda x, factor: x - factor)
    assert 'not a mistake we know by name. A hint: hint("99.scale")' in printed()


def test_what_agrees_is_said_where_no_mistake_has_a_name(printed):
    check("99.scale", lambda x, factor: 3 * factor * x)
    assert "What agrees: scaled_N holds the right values times 3." in printed()
    check("99.scale", lambda x, factor: x + factor)
    assert "What agrees" not in printed()


def test_an_error_with_a_name_asks_to_be_mended_first(printed):
    check("99.scale", lambda x, factor: x @ x[:2] * factor)
    text = printed()
    assert "What may have happened: The axis that a product sums over" in text
    assert 'Mend this first; then the check can look at the rest. A hint: hint("99.scale")' in text


def test_a_demonstration_does_not_count(printed):
    check("99.scale", lambda x, factor: x + factor, demo=True)
    text = printed()
    assert first_line(text) == f"Demonstration, not counted. {FAILED}"
    assert "You added" in text
    check("99.scale", lambda x, factor: factor * x, demo=True)
    assert record() is None


def test_a_demonstration_does_not_look_for_the_learners_function(printed, monkeypatch):
    monkeypatch.setitem(globals(), "scale", lambda x, factor: factor * x)
    check("99.scale", demo=True)
    assert PASSED not in printed()


def test_the_function_is_found_where_check_is_called(printed, monkeypatch):
    monkeypatch.setitem(globals(), "scale", lambda x, factor: factor * x)
    check("99.scale")
    assert first_line(printed()) == PASSED


def test_a_stub_is_no_attempt_and_says_what_to_do(printed):
    def stub(x, factor):
        raise NotImplementedError("your code here")

    check("99.scale", stub)
    told = "scale still comes to raise NotImplementedError: put your code in its place"
    assert printed() == f"{STUB}\n{told}, run that cell, then this one.\n"
    assert record() is None


def test_an_undefined_function_is_no_attempt_and_says_what_to_run(printed):
    check("99.scale")
    text = printed()
    assert first_line(text) == STUB
    assert "there is no function `scale` yet: run the cell that defines it" in text
    assert record() is None


@pytest.mark.parametrize("thing", [3, "text", torch.ones(2), [1], object()], ids=lambda t: type(t).__name__)
def test_what_is_no_function_is_named(printed, thing):
    check("99.scale", thing)
    text = printed()
    assert first_line(text) == FAILED
    article = "an" if type(thing) in (int, object) else "a"
    assert f"`scale` is {article} {type(thing).__name__}, not a function" in text


def test_an_unknown_exercise_is_one_line(printed):
    check("99.scael", print)
    assert printed() == "no exercise '99.scael' in lesson 99; did you mean '99.scale'?\n"
    check("77.x")
    check(print)
    check(None)
    assert len(printed().splitlines()) == 3


def test_the_callers_argument_names_help_with_a_wrong_signature(printed):
    check("99.scale", lambda: None)
    assert "it is called with x_N, factor, in this order" in printed()


def test_an_error_names_the_learners_line(printed):
    def answer(x, factor):
        return torch.matmul(x, torch.ones(99))

    check("99.scale", answer)
    text = printed()
    assert "return torch.matmul(x, torch.ones(99))" in text
    assert "Mend this first" in text
    assert "– not looked at yet: returns scaled_N, shapes" in text


def test_what_it_prints_is_shown_after_the_line(printed, capsys):
    def answer(x, factor):
        print("shape", tuple(x.shape))
        print("careful", file=sys.stderr)
        return factor * x

    check("99.scale", answer)
    seen = capsys.readouterr()
    assert first_line(seen.out) == PASSED
    assert "Your code printed:\nshape (3,)" in seen.out
    assert "careful" in seen.out
    assert seen.err == ""


def test_switches_that_an_answer_leaves_are_put_back():
    def answer(x, factor):
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(123)
        return factor * x

    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    check("99.scale", answer)
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.random.get_rng_state(), state)


def test_check_is_quick():
    began = time.process_time()
    check("99.scale", lambda x, factor: factor * x)
    assert time.process_time() - began < 2


def test_a_fault_of_ours_is_one_line_too(printed, monkeypatch):
    monkeypatch.setattr("moe_lessons.course.checking.judge", lambda *a: 1 / 0)
    check("99.scale", lambda x, factor: x)
    assert printed() == (
        "check could not finish (ZeroDivisionError: division by zero). Nothing is lost; run the cell again, "
        "and if it says the same, restart the kernel.\n"
    )


def test_the_card_escapes_what_learners_write():
    def answer(x, factor):
        raise ValueError("<script>alert(1)</script>")

    made = card(examine(exercise("99.scale"), answer), "<b>printed</b>")
    html = made._repr_html_()
    assert "<script>" not in html
    assert "<b>printed" not in html
    assert "&lt;b&gt;printed" in html
    assert html.index("✘ Not right yet") < html.index("Scale a vector")


def test_every_finding_says_in_words_what_its_mark_says():
    made = card(examine(exercise("99.scale"), lambda x, f: x))
    assert "Not right yet" in made.body
    made = card(examine(exercise("99.scale"), lambda x, f: f * x))
    assert "Passed" in made.body


def test_using_the_package_is_not_ones_own_code(printed):
    check("99.scale", lambda x, factor: start(x))
    text = printed()
    assert first_line(text) == FAILED
    assert "Your function uses `moe_lessons.course.starting.start`" in text


def test_a_pass_that_needs_another_cell_is_told(printed, in_cells):
    asks = 'from moe_lessons.course import check\ncheck("99.scale")'
    in_cells("from torch import mul", "def scale(x, factor):\n    return mul(x, factor)", asks)
    text = printed()
    assert first_line(text) == PASSED
    assert "It needs mul from another cell" in text
    in_cells("def scale(x, factor):\n    return torch.mul(x, factor)", asks)
    assert "another cell" not in printed()


def test_hints_come_one_after_the_other_and_stay_at_the_last(printed):
    for _ in range(4):
        hint("99.scale")
    assert [line[:11] for line in printed().splitlines()] == [f"Hint {n} of 3" for n in (1, 2, 3, 3)]


def test_a_hint_by_number_leaves_the_count_alone(printed):
    hint("99.scale", 2)
    hint("99.scale", 9)
    hint("99.scale")
    hint("99.nothing")
    assert printed().splitlines() == [
        "Hint 2 of 3: A product.",
        "There are hints 1 to 3.",
        "Hint 1 of 3: Which operation?",
        "no exercise '99.nothing' in lesson 99; there are 99.scale",
    ]


def test_printed_keeps_only_the_beginning():
    kept = Printed()
    for _ in range(1000):
        kept.write("abc\n")
    assert kept.shown().endswith("... and 2,000 characters more")
    assert len(kept.kept) == Printed.limit


def test_a_pass_folds_the_published_answer_and_what_to_notice():
    gates = exercise("01.topk_gates")
    first, second = (
        card(examine(gates, answers.load(published(gates.id), gates.entry)), compare=True) for _ in range(2)
    )
    assert (first.text, first.body) == (second.text, second.body)
    assert f"To notice: {gates.notice.replace('`', '')}" in first.text
    assert "def topk_gates" not in first.text
    fold = first.body[first.body.index("<details>") :]
    assert "<summary>Compare with the published answer</summary>" in fold
    assert inline(gates.notice) in fold
    assert "topk_weights_TK, topk_ids_TK = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)" in fold


def test_nothing_is_given_away_before_a_pass_nor_by_a_demonstration(printed):
    check("99.scale", lambda x, factor: x + factor)
    check("99.scale", lambda x, factor: factor * x, demo=True)
    assert "To notice" not in printed()
    check("99.scale", lambda x, factor: factor * x)
    assert "To notice: A number times a tensor needs no loop." in printed()
    assert "<details>" not in card(examine(exercise("99.scale"), lambda x, f: x), compare=True).body
