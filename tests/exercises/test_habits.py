"""Arguments stay as they were and gradients come through: noticed everywhere, told by the argument's name."""

import numpy as np
import pytest
import torch
from toys import top2_exercise

from moe_lessons.exercises import drivers, probes
from moe_lessons.exercises.habits import CHANGED, LOST, PARTLY_LOST, REACHED, UNCHANGED
from moe_lessons.exercises.judge import judge, local
from moe_lessons.exercises.spec import Case, Misconception, Output


def draw(rng):
    def numbers(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    return [
        Case(f"n={n}", {"x_N": numbers(n, 3), "w_N": numbers(n, 3), "ids_N": np.arange(n)}) for n in (0, 4, 6)
    ]


def product(x, w, ids):
    return (x * w)[ids].sum(-1)


def exercise(**changes):
    fields = {
        "draw": draw,
        "reference": product,
        "outputs": (Output("sums_N", "N"),),
        "canonical": None,
        "misconceptions": (Misconception("minus", "M.", wrong=lambda x, w, ids: -product(x, w, ids)),),
    }
    return top2_exercise(**{**fields, **changes})


def no_grad(x, w, ids):
    with torch.no_grad():
        return product(x, w, ids)


def doubled_in_place(x, w, ids):
    x *= 2
    return product(x, w, ids) / 2


def put_back(x, w, ids):
    x *= 2
    out = product(x, w, ids) / 2
    x /= 2
    return out


def sorted_ids(x, w, ids):
    out = product(x, w, ids)
    ids.copy_(ids.flip(0))
    return out


def reshaped(x, w, ids):
    out = product(x, w, ids)
    x.t_()
    return out


@pytest.mark.parametrize(
    ("answer", "id", "names"),
    [
        (lambda x, w, ids: product(x.detach(), w, ids), LOST, "`x_N`"),
        (lambda x, w, ids: product(x, w, ids).detach(), LOST, "`x_N` and `w_N`"),
        (no_grad, LOST, "`x_N` and `w_N`"),
        (lambda x, w, ids: torch.from_numpy((x.numpy() * w.numpy()).sum(-1)), LOST, "`x_N` and `w_N`"),
        (lambda x, w, ids: (x * w).sum(-1).tolist(), LOST, "`x_N` and `w_N`"),
        (lambda x, w, ids: product(x, torch.tensor(w.tolist()), ids) if len(x) else x.sum(-1), LOST, "`w_N`"),
        (lambda x, w, ids: (x * w)[:, :2].sum(-1) + (x * w)[:, 2].detach(), PARTLY_LOST, "`x_N` and `w_N`"),
        (doubled_in_place, CHANGED, "`x_N`"),
        (sorted_ids, CHANGED, "`ids_N`"),
        (reshaped, CHANGED, "`x_N`"),
    ],
)
def test_what_values_do_not_show_is_told(answer, id, names):
    report = judge(exercise(), local(answer))
    assert report.status == "failed"
    assert report.misconception.id == id
    assert f" {names}" in report.misconception.message
    assert names in report.findings[-1].detail


def test_a_right_answer_is_told_what_was_looked_at():
    names = [f.name for f in judge(exercise(), local(product)).findings]
    assert names[-2:] == [UNCHANGED, REACHED]


@pytest.mark.parametrize(
    "answer",
    [
        lambda x, w, ids: torch.einsum("nd,nd->n", x, w),
        lambda x, w, ids: (x.double() * w.double()).sum(-1),
        lambda x, w, ids: [(a * b).sum() for a, b in zip(x, w, strict=True)],
        lambda x, w, ids: x.clone().mul_(w).sum(-1),
    ],
)
def test_other_ways_to_write_it_pass(answer):
    assert judge(exercise(), local(answer)).status == "passed"


def test_an_argument_that_is_put_back_is_not_changed():
    assert judge(exercise(gradient="ignored"), local(put_back)).status == "passed"


def test_exercises_about_numbers_ask_for_no_gradient():
    report = judge(exercise(gradient="ignored"), local(no_grad))
    assert report.status == "passed"
    assert REACHED not in [f.name for f in report.findings]


def test_an_exercise_may_let_an_argument_change():
    assert (
        judge(exercise(may_change=("x_N",), gradient="ignored"), local(doubled_in_place)).status == "passed"
    )
    assert (
        judge(exercise(may_change=("w_N",), gradient="ignored"), local(doubled_in_place)).status == "failed"
    )


def test_a_wrong_value_comes_before_what_its_gradient_does():
    report = judge(exercise(), local(lambda x, w, ids: -product(x, w, ids).detach()))
    assert report.misconception.id == "minus"
    assert REACHED not in [f.name for f in report.findings]


def test_the_order_of_outputs_elements_does_not_matter_to_a_gradient():
    assert judge(top2_exercise(), local(lambda x: tuple(t.flip(0) for t in x.topk(2)))).status == "passed"


def test_where_the_reference_has_no_gradient_none_is_asked_for():
    def by_norm(x, w, ids):
        return (x * w).detach()[ids].sum(-1)

    report = judge(exercise(reference=by_norm), local(no_grad))
    assert report.status == "passed"


def test_a_gradient_exercise_tells_a_lost_gradient_too():
    outputs = (Output("sums_N", "N"), Output("grad of x", "ND"), Output("grad of w", "ND"))
    asked = exercise(driver="gradient", options={"wrt": [0, 1]}, outputs=outputs)
    assert judge(asked, local(product)).status == "passed"
    report = judge(asked, local(lambda x, w, ids: product(x.detach(), w, ids)))
    assert report.misconception.id == LOST
    assert "reaches `x_N`:" in report.misconception.message


def test_the_probe_reports_in_plain_arrays():
    request = drivers.Request("probe", draw(np.random.default_rng(0))[1].args, {}, {"gradient": True})
    changed, reached, grad_x, grad_w = drivers.run(product, request)
    assert changed.data.tolist() == [False, False, False]
    assert reached.data.tolist() == [True, True, False]
    assert grad_x.data.shape == grad_w.data.shape == (4, 3)


def test_the_probe_is_not_fooled_by_nan():
    x = torch.tensor([float("nan"), 1.0])
    (changed,) = probes.probe(lambda x: x, [x], {"gradient": False}, lambda answer, args: answer(*args))
    assert not changed.any()
