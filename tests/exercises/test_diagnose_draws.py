"""The histories of 04.diagnose are what they are called, and never near a limit."""

import numpy as np
import pytest
import torch

from moe_lessons.exercises.collapse.diagnose import reference
from moe_lessons.exercises.collapse.diagnose_draws import KINDS, draw_history, in_doubt


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_what_it_is_called(kind):
    for seed in range(15):
        rng = np.random.default_rng(seed)
        for n_experts in (8, 10, 12):
            shares_NE = draw_history(kind, rng, n_experts)
            np.testing.assert_allclose(shares_NE.sum(axis=1), 1)
            assert reference(torch.from_numpy(shares_NE)) == KINDS[kind][1]
            assert not in_doubt(shares_NE)


def test_every_diagnosis_occurs():
    names = {"healthy", "dead expert", "collapsed", "oscillating", "collapsing"}
    assert {name for _, name in KINDS.values()} == names
