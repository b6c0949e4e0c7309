"""Mistakes that any exercise finds: swapped outputs, a transposed one, a number written into the code."""

import numpy as np
import pytest
from toys import top2_exercise

from moe_lessons.exercises.everywhere import OTHER_DTYPE, SAME_FOR_ALL, SWAPPED, TRANSPOSED, WRITTEN_IN
from moe_lessons.exercises.judge import judge, local
from moe_lessons.exercises.off_by_size import FACTOR, NORMALISER, NOT_REDUCED, OTHER_AXIS, OTHER_SHAPE
from moe_lessons.exercises.spec import Case, Misconception, Output


def draw(rng):
    def case(t, k, flag=True):
        x = rng.random((t, t + 1)).astype(np.float32) + 0.5
        return Case(f"T={t}", {"x_TE": x, "top_k": k, "flag": flag})

    return [case(3, 2), case(4, 3), case(5, 2, False), case(6, 4), case(7, 2)]


def right(x, k, flag):
    return x, x[:, :k].sum(-1), x[:, k:].sum(-1)


def name(answer, **changes):
    fields = {
        "draw": draw,
        "reference": right,
        "outputs": (Output("y_TE", "TE"), Output("a_T", "T"), Output("b_T", "T")),
        "canonical": None,
        "misconceptions": (Misconception("no", "No.", wrong=lambda x, k, flag: (x - 9, x - 9, x - 9)),),
        "gradient": "ignored",
    }
    report = judge(top2_exercise(**{**fields, **changes}), local(answer))
    assert report.status == "failed"
    return report.misconception and report.misconception.id


def parts(x, k, flag, order):
    values = right(x, k, flag)
    return tuple(values[i] for i in order)


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 2, 0), (2, 1, 0)])
def test_outputs_in_another_order(order):
    assert name(lambda *args: parts(*args, order)) == SWAPPED


def test_swapped_on_some_inputs_only_is_not_named():
    def sometimes(x, k, flag):
        return parts(x, k, flag, (0, 2, 1) if flag else (0, 1, 2))

    assert name(sometimes) == SWAPPED  # it explains all that is wrong
    assert name(lambda x, k, flag: (x, x[:, k:].sum(-1), x[:, :k].mean(-1))) is None


def test_a_transposed_output_beside_right_ones():
    assert name(lambda x, k, flag: (x.T, *right(x, k, flag)[1:])) == TRANSPOSED
    assert name(lambda x, k, flag: (x.T, x[:, :k].mean(-1), x[:, k:].sum(-1))) is None


def test_a_number_that_is_written_in():
    assert name(lambda x, k, flag: right(x, 2, flag)) == WRITTEN_IN
    assert name(lambda x, k, flag: right(x, k, flag) if k == 2 else right(x[:0][1], k, flag)) == WRITTEN_IN


def test_one_right_case_is_too_few_to_tell_a_number():
    assert name(lambda x, k, flag: right(x, 3, flag)) is None


def test_two_arguments_that_tell_right_from_wrong_tell_nothing():
    def two_numbers(rng):
        return [Case(c.name, {**c.args, "also": c.args["top_k"] + 1}) for c in draw(rng)]

    changes = {"draw": two_numbers, "reference": lambda x, k, flag, also: right(x, k, flag)}
    changes["misconceptions"] = (Misconception("no", "No.", wrong=lambda x, k, f, a: (x - 9, x - 9, x - 9)),)
    assert name(lambda x, k, flag, also: right(x, 2, flag), **changes) is None


def test_one_expert_is_no_number_written_in():
    """Much is right by itself where K is 1."""

    def ones(rng):
        return [Case(c.name, {**c.args, "top_k": max(1, c.args["top_k"] - 1)}) for c in draw(rng)]

    assert name(lambda x, k, flag: right(x, 1, flag), draw=ones) is None


def test_a_known_mistake_comes_first():
    own = Misconception("own", "O.", wrong=lambda *args: parts(*args, (0, 2, 1)))
    assert name(lambda *args: parts(*args, (0, 2, 1)), misconceptions=(own,)) == "own"


def test_the_right_numbers_in_another_dtype():
    outputs = (Output("y_TE", "TE", dtype="float32"), Output("a_T", "T"), Output("b_T", "T"))
    assert name(lambda *args: (right(*args)[0].double(), *right(*args)[1:]), outputs=outputs) == OTHER_DTYPE
    wrong_too = name(lambda x, k, flag: (x.double() + 1, *right(x, k, flag)[1:]), outputs=outputs)
    assert wrong_too is None


def changed(change):
    """Right but for the second output."""

    def answer(x, k, flag):
        y, a, b = right(x, k, flag)
        return y, change(a, x, k), b

    return answer


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (lambda a, x, k: a * len(x), FACTOR),
        (lambda a, x, k: a / k, FACTOR),
        (lambda a, x, k: a * x.shape[1] / k, FACTOR),
        (lambda a, x, k: a * len(x) * k / x.shape[1], FACTOR),
        (lambda a, x, k: a / a.sum(), NORMALISER),
        (lambda a, x, k: a[:, None], OTHER_SHAPE),
        (lambda a, x, k: x[:, :k], NOT_REDUCED),
        (lambda a, x, k: x.sum(0), OTHER_AXIS),
        (lambda a, x, k: 2 * a, None),
        (lambda a, x, k: a + len(x), None),
        (lambda a, x, k: a[:-1], None),
    ],
)
def test_sizes_and_axes(change, mistake):
    assert name(changed(change)) == mistake


def test_one_axis_of_another_size_on_one_input_is_not_named():
    """A single shape fits too much."""
    only = {"draw": lambda rng: draw(rng)[:1]}
    assert name(changed(lambda a, x, k: x.sum(0)), **only) is None


def test_the_same_for_all_inputs():
    def constant(x, k, flag):
        return np.ones((2, 3), np.float32), np.ones(2, np.float32), np.ones(2, np.float32)

    assert name(constant) == SAME_FOR_ALL
    assert name(lambda x, k, flag: constant(x, k, flag) if flag else (x, x[:, 0], x[:, 0])) is None


def test_where_all_inputs_ask_for_the_same_a_constant_is_no_mistake_of_its_own():
    def three(rng):
        return [
            Case(f"case {i}", {"x_TE": np.ones((2, 2), np.float32), "top_k": i, "flag": True})
            for i in range(3)
        ]

    same = {"draw": three, "reference": lambda x, k, flag: (x, x[:, 0], x[:, 0])}
    assert name(lambda x, k, flag: (x + 0.25, x[:, 0] * 3, x[:, 1]), **same) is None
