from dataclasses import replace

import pytest
import torch

from moe_lessons.data import Corpus
from moe_lessons.exercises import registry
from moe_lessons.parallel.in_turns import in_turns
from moe_lessons.parallel.rehearsal import Rehearsal, rehearse

TOKENS = torch.randint(250, (4000,), generator=torch.Generator().manual_seed(0))
CORPUS = Corpus("noise", TOKENS, TOKENS, "")
PLAN = Rehearsal(steps=4, alpha=0.0)
reduce = registry.exercise("14.reduce_gradients").reference
clip = registry.exercise("14.clip").reference


def apart(ours, theirs):
    return max(abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True))


@pytest.mark.parametrize(("n_ranks", "n_ep"), [(2, 2), (4, 2), (4, 4)])
def test_ranks_in_turns_train_what_one_process_trains(n_ranks, n_ep):
    one, ours = rehearse(PLAN, CORPUS), in_turns(PLAN, CORPUS, n_ranks, n_ep, reduce=reduce, clip=clip)
    assert apart(one, ours) < 1e-5
    assert ours.norms == pytest.approx(one.norms, rel=1e-4)
    assert ours.drift == 0


def test_a_norm_for_each_rank_lets_them_drift():
    plan = replace(PLAN, max_norm=0.3)
    ours = in_turns(plan, CORPUS, 4, 4, reduce=reduce, clip=clip, own_norm=True)
    assert ours.drift > 1e-6


def test_averaged_experts_train_something_else():
    def averaged(dense_WP, expert_WQ, n_ep):
        return reduce(dense_WP, expert_WQ, n_ep)[0], expert_WQ.mean(0).expand_as(expert_WQ)

    assert apart(rehearse(PLAN, CORPUS), in_turns(PLAN, CORPUS, 4, 4, reduce=averaged, clip=clip)) > 1e-3


@pytest.mark.parametrize(
    ("plan", "sizes", "words"),
    [
        (Rehearsal(), (2, 2), "alpha=0.01"),
        (PLAN, (4, 3), "n_ranks=4"),
        (PLAN, (3, 3), "n_experts=8"),
        (PLAN, (16, 4), "batch_size=8"),
    ],
)
def test_what_does_not_divide_is_refused(plan, sizes, words):
    with pytest.raises(ValueError, match=words):
        in_turns(plan, CORPUS, *sizes, reduce=reduce)
