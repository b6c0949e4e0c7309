"""The second look: what of an unnamed answer agrees. Observations that are true, or nothing."""

import numpy as np
import pytest
import torch
from toys import top2_exercise

from moe_lessons.exercises.judge import judge, local
from moe_lessons.exercises.spec import Case, Misconception, Output

NO_MISTAKE = (Misconception("no", "No.", wrong=lambda x, k: 1e6 * x),)


def draw(rng):
    def case(t, e, k):
        return Case(f"T={t}", {"x_TE": rng.random((t, e)).astype(np.float32) + 0.5, "top_k": k})

    return [case(5, 3, 2), case(4, 6, 3), case(7, 4, 2)]


def reported(answer, **changes):
    fields = {
        "draw": draw,
        "reference": lambda x, k: x,
        "outputs": (Output("y_TE", "TE"),),
        "canonical": None,
        "misconceptions": NO_MISTAKE,
        "gradient": "ignored",
    }
    report = judge(top2_exercise(**{**fields, **changes}), local(answer))
    assert report.status == "failed"
    return report


def observed(answer, **changes):
    report = reported(answer, **changes)
    assert report.misconception is None
    return report.observation


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x, k: 2 * x, "the right values times 2"),
        (lambda x, k: x / 3, "the right values times 0.3333"),
        (lambda x, k: -x, "the right values with the other sign"),
        (lambda x, k: x.flip(0), "the right values from the last to the first"),
        (lambda x, k: x.roll(1, 0), "the right rows in another order"),
        (lambda x, k: x.sort(-1).values, "the right values of each row, in another order"),
        (lambda x, k: x + 1, "the right values plus 1"),
        (lambda x, k: 1 - x, "1 minus the right values"),
        (lambda x, k: 1 / x, "one over the right values"),
        (lambda x, k: x * x, "the squares of the right values"),
        (lambda x, k: x.exp(), "the exponentials of the right values"),
        (lambda x, k: x.log(), "the logarithms of the right values"),
        (lambda x, k: x / x.sum(-1, keepdim=True), "the right values, each row divided by its sum"),
    ],
)
def test_how_values_relate(answer, said):
    assert observed(answer) == f"y_TE holds {said}."


@pytest.mark.parametrize(
    ("answer", "mistake", "said"),
    [
        (lambda x, k: k * x, "size_factor", "the right values times K"),
        (lambda x, k: x / len(x), "size_factor", "the right values divided by T"),
        (lambda x, k: x * x.shape[1], "size_factor", "the right values times E"),
        (
            lambda x, k: x * (x.shape[1] + 1),
            "other_normaliser",
            "but for a factor, another one for each input",
        ),
        (lambda x, k: x[:, None], "other_shape", "asked for is [T, E]. An axis of size 1"),
        (lambda x, k: x.flatten(), "other_shape", "asked for is [T, E]. Whoever uses it next"),
    ],
)
def test_what_tells_more_has_a_name(answer, mistake, said):
    report = reported(answer)
    assert report.misconception.id == mistake
    assert said in report.misconception.message


@pytest.mark.parametrize(
    "answer",
    [lambda x, k: x.cos(), lambda x, k: torch.zeros_like(x), lambda x, k: x + x.mean(0), lambda x, k: "text"],
)
def test_nothing_is_said_where_nothing_agrees(answer):
    assert observed(answer) == ""


def test_right_on_some_inputs():
    assert observed(lambda x, k: x if k == 2 else x.cos()).startswith(
        "Right on 2 of 3 inputs; right exactly where"
    )
    assert "top_k = 2" in observed(lambda x, k: x if k == 2 else x.cos())
    assert "wrong exactly where top_k = 2" in observed(lambda x, k: x.cos() if k == 2 else x)
    assert observed(lambda x, k: x.cos() if len(x) == 5 else x) == "Right on 2 of 3 inputs."


def two(x, k):
    return x, x.sum(-1)


def test_right_numbers_of_another_dtype():
    counts = {"reference": lambda x, k: (10 * x).long(), "outputs": (Output("n_TE", "TE", kind="int"),)}
    assert observed(lambda x, k: (10 * x).floor(), **counts) == "The numbers themselves are right."


def test_transposed_beside_another_mistake():
    outputs = (Output("y_TE", "TE"), Output("sum_T", "T"))
    said = observed(lambda x, k: (x.T, x.cos().sum(-1)), reference=two, outputs=outputs)
    assert said == "y_TE holds the right values, transposed."


def test_one_of_several_outputs():
    outputs = (Output("y_TE", "TE"), Output("sum_T", "T"))
    said = observed(lambda x, k: (x, 3 * x.sum(-1)), reference=two, outputs=outputs)
    assert said == "y_TE is right; look at sum_T. sum_T holds the right values times 3."


def test_few_numbers_have_no_factor():
    """Any two numbers have a ratio."""
    one = {"reference": lambda x, k: x.sum(), "outputs": (Output("sum"),)}
    two_cases = {**one, "draw": lambda rng: draw(rng)[:2]}
    assert observed(lambda x, k: 2 * x.sum(), **two_cases) == ""
    assert observed(lambda x, k: 2 * x.sum(), **one) == "sum holds the right values times 2."
    assert observed(lambda x, k: x.sum() + len(x) ** 2, **one) == ""


def test_whole_numbers_too():
    counts = {"reference": lambda x, k: (10 * x).long(), "outputs": (Output("n_TE", "TE", kind="int"),)}
    assert observed(lambda x, k: 2 * (10 * x).long(), **counts) == "n_TE holds the right values times 2."
    assert observed(lambda x, k: (10 * x).long() + 1, **counts) == "n_TE holds the right values plus 1."
