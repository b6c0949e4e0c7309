"""What lesson 13 asks for, the package has: both give the same on the exercise's own inputs."""

import numpy as np
import pytest
import torch

from moe_lessons.adaptation import best, merged_experts, reap, replayed_weights, trainable
from moe_lessons.adaptation.freezing import PLANS
from moe_lessons.exercises import registry
from moe_lessons.exercises.adaptation import what_trains
from moe_lessons.exercises.judge import draw
from moe_lessons.experts import split_experts

SEEDS = range(3)


def cases(id):
    """Arguments of an exercise's cases on three seeds, and what its reference returns."""
    exercise = registry.exercise(id)
    for seed in SEEDS:
        for case in draw(exercise, seed):
            args = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in case.args.values()]
            yield args, exercise.reference(*args)


def test_the_plans_are_those_of_the_package():
    assert set(what_trains.PLANS) == set(PLANS) - {"only experts and router"}


def test_what_trains():
    for (names, plan), wanted in cases("13.what_trains"):
        moving = set(trainable(names.splitlines(), plan))
        assert [name in moving for name in names.splitlines()] == wanted.tolist()


def test_upcycle():
    for (gate_up, down, rows_RD, granularity), wanted in cases("13.upcycle"):
        copies = len(rows_RD)
        got = split_experts(gate_up.repeat(copies, 1, 1), down.repeat(copies, 1, 1), rows_RD, granularity)
        for one, want in zip(got, wanted, strict=True):
            assert torch.equal(torch.as_tensor(one), torch.as_tensor(want))


def test_saliency():
    for (ids, weights, outputs, n_experts), wanted in cases("13.saliency"):
        torch.testing.assert_close(reap(ids, weights, outputs.norm(dim=-1), n_experts).float(), wanted)


def test_prune():
    for (router, bias, experts, scores, n_keep, _), wanted in cases("13.prune"):
        (kept,) = best(scores[None], n_keep)
        for whole, want in zip((router, bias, experts), wanted[:3], strict=True):
            assert torch.equal(whole[kept], want)


def test_merge():
    for (gate_up_a, down_a, gate_up_b, down_b, weight), wanted in cases("13.merge"):
        pairs = torch.stack([gate_up_a, gate_up_b]), torch.stack([down_a, down_b])
        got = merged_experts(*pairs, torch.tensor([weight, 1 - weight]))
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("gate", ["topk_softmax", "softmax_topk_renorm"])
def test_replay(gate):
    for (logits, ids, _), wanted in cases("13.replay"):
        torch.testing.assert_close(replayed_weights(logits, ids, gate), wanted)
