"""Which misconception an answer's wrong values are those of, and when none is named."""

import numpy as np
import torch
from toys import top2_exercise

from moe_lessons.exercises.judge import judge, local
from moe_lessons.exercises.spec import Case, Misconception, Output

SIZES = (3, 4, 5, 6, 7, 8)


def draw(rng):
    cases = [Case(f"n={n}", {"x_N": rng.standard_normal(n).astype(np.float32)}) for n in SIZES]
    return [Case("nothing", {"x_N": np.zeros(0, np.float32)}), *cases]


def right(x):
    return x.sum(), (x * x).sum()


def mean(x):
    return x.mean(), (x * x).mean()


def absolute(x):
    return x.abs().sum(), (x * x).sum()


MISTAKES = (
    Misconception("mean", "Mean.", wrong=mean),
    Misconception("absolute", "Absolute.", wrong=absolute),
    Misconception("odd", "Odd.", wrong=lambda x: right(x) if len(x) % 2 == 0 else (x.max(), x.min())),
)


def name(answer, **changes):
    fields = {
        "draw": draw,
        "reference": right,
        "canonical": None,
        "gradient": "ignored",
        "outputs": (Output("sum"), Output("squares")),
        "misconceptions": MISTAKES,
    }
    report = judge(top2_exercise(**{**fields, **changes}), local(answer))
    assert report.status == "failed"
    return report.misconception and report.misconception.id


def only_for(sizes, wrong):
    """Make a mistake on some inputs, as behind a default branch, and be right on the others."""
    return lambda x: wrong(x) if len(x) in sizes else right(x)


def test_a_mistake_made_everywhere():
    assert name(mean) == "mean"


def test_a_mistake_that_a_default_branch_hides_on_some_inputs():
    assert name(only_for({3, 5, 7}, mean)) == "mean"
    assert name(only_for({3, 4, 5, 6, 7}, absolute)) == "absolute"


def test_a_mistake_on_few_of_the_inputs_where_it_shows_is_not_named():
    assert name(only_for({3}, mean)) is None
    assert name(only_for({3, 4}, mean)) is None


def test_a_mistake_that_shows_on_few_inputs_needs_half_of_those():
    assert name(only_for({3, 5}, MISTAKES[2].wrong)) == "odd"
    assert name(only_for({3}, MISTAKES[2].wrong)) is None


def test_a_mistake_in_one_of_two_outputs():
    assert name(lambda x: (x.mean(), (x * x).sum())) == "mean"
    assert name(lambda x: (x.sum(), (x * x).mean())) == "mean"


def test_another_mistake_in_the_second_output_is_no_known_one():
    assert name(lambda x: (x.mean(), 2 * (x * x).sum())) is None
    assert name(lambda x: (x.abs().sum(), (x * x).mean())) is None


def test_two_explanations_are_none():
    half = Misconception("half", "H.", wrong=lambda x: (x.abs().sum(), (x * x).sum() + 2))
    twin = Misconception("twin", "T.", wrong=lambda x: (x.abs().sum(), (x * x).sum() + 1))
    assert name(lambda x: (x.abs().sum(), (x * x).sum()), misconceptions=(half, twin)) is None


def test_the_explanation_with_less_luck_wins():
    """What is wrong on odd sizes alone is the mistake that shows on odd sizes alone."""
    odd = Misconception("mean_if_odd", "O.", wrong=lambda x: mean(x) if len(x) % 2 else right(x))
    assert name(only_for({3, 5, 7}, mean), misconceptions=(*MISTAKES, odd)) == "mean_if_odd"


def test_a_rule_tells_by_the_right_answer_where_it_shows():
    def negative(case, got, want):
        return bool(got["sum"] == -abs(want["sum"])) and want["sum"] > 0

    rule = (Misconception("negative", "N.", detects=negative),)

    def signless(x):
        return -x.abs().sum(), (x * x).sum()

    positive = {"reference": lambda x: (x.abs().sum(), (x * x).sum()), "misconceptions": rule}
    assert name(signless, **positive) == "negative"
    assert name(
        lambda x: signless(x) if len(x) % 2 or len(x) == 0 else (x.abs().sum(), (x * x).sum()), **positive
    )


def test_limiting_cases_do_not_hide_a_mistake():
    assert name(lambda x: mean(x) if len(x) else (torch.ones(()), torch.ones(()))) == "mean"
    assert name(lambda x: mean(x) if len(x) else x[0]) == "mean"


def test_a_mistake_on_limiting_cases_alone():
    only = (Misconception("nothing", "N.", wrong=lambda x: right(x) if len(x) else (x.sum() + 1, x.sum())),)
    assert name(lambda x: right(x) if len(x) else (x.sum() + 1, x.sum()), misconceptions=only) == "nothing"
