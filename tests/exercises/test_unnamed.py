"""Wrong answers that no misconception describes get no other mistake's name; others of a kind get theirs."""

import pytest
import torch
from planted import collapse, collapse_diagnose, load_loss, load_loss_theory

from moe_lessons.exercises import registry
from moe_lessons.exercises.judge import judge, local
from moe_lessons.exercises.routing_zoo.sinkhorn import reference as sinkhorn

EXERCISES = {e.id: e for lesson in registry.lessons() for e in lesson.exercises}


def furthest_from_the_mean(counts_LE):
    load_LE = counts_LE.float()
    off_LE = (load_LE / load_LE.mean(1, keepdim=True) - 1).abs()
    return collapse.imbalance_parts(counts_LE, violation=off_LE.amax(1))


def one_row_is_none(counts_LE):
    return collapse.imbalance_parts(counts_LE, dead=(counts_LE <= 1).sum(1))


def every_row_uneven(shares_NE):
    last_NE = shares_NE.chunk(4)[3]
    uneven = all(collapse_diagnose.n(row) < shares_NE.shape[1] / 2 for row in last_NE)
    right = collapse_diagnose.in_numpy(shares_NE)
    return "healthy" if right == "oscillating" and not uneven else right


def loss_for_excess(f_E, P_E):
    pairs, _, agree = load_loss_theory.chebyshev_loops(f_E, P_E)
    return pairs, len(f_E) * (f_E * P_E).sum(), agree


def half_z_loss(logits_TE):
    return load_loss.z_loop(logits_TE) / 2


def two_rounds(logits_TE, rounds):
    return sinkhorn(logits_TE, 2)


def one_place_less(logits_TE, experts_per_token):
    scores_TE = logits_TE.softmax(-1)
    n = max(1, logits_TE.shape[0] * experts_per_token // logits_TE.shape[1] - 1)
    return scores_TE * torch.zeros_like(scores_TE).scatter(0, scores_TE.topk(n, dim=0).indices, 1.0)


def loads_for_positions(topk_ids_TK, n_experts):
    return torch.bincount(topk_ids_TK.flatten(), minlength=n_experts)[topk_ids_TK]


def hardly_used(shares_NE):
    return collapse_diagnose.tail(shares_NE, lambda last: last.mean(0).min() < 0.01)


def transposed_counterexample(n_tokens, n_experts):
    return load_loss_theory.half_dead(n_tokens, n_experts).T


UNNAMED = [
    ("04.imbalance", one_row_is_none),
    ("04.diagnose", every_row_uneven),
    ("05.chebyshev", loss_for_excess),
    ("05.z_loss", half_z_loss),
    ("06.sinkhorn", two_rounds),
    ("06.expert_choice", one_place_less),
    ("07.positions", loads_for_positions),
]


@pytest.mark.parametrize(("exercise", "answer"), UNNAMED, ids=lambda value: getattr(value, "__name__", value))
def test_other_mistakes_get_no_name(exercise, answer):
    for seed in (0, 1, 2):
        report = judge(EXERCISES[exercise], local(answer), seed=seed)
        assert report.status == "failed"
        assert report.misconception is None


# Each is one of a kind that has a name, written in a way of its own.
NAMED = [
    ("04.imbalance", furthest_from_the_mean, "furthest_from_mean"),
    ("04.diagnose", hardly_used, "quiet_is_dead"),
    ("05.counterexample", transposed_counterexample, "transposed"),
]


@pytest.mark.parametrize(
    ("exercise", "answer", "mistake"), NAMED, ids=lambda value: getattr(value, "__name__", value)
)
def test_another_of_a_kind_gets_its_name(exercise, answer, mistake):
    report = judge(EXERCISES[exercise], local(answer), seed=0)
    assert report.status == "failed"
    assert report.misconception.id == mistake
