import pytest
import torch

from moe_lessons.explore.twister import Twister


def torch_stream(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", [0, 3, 9, 2**32 - 1])
def test_it_draws_what_torch_draws_one_after_the_other(seed):
    ours, theirs = Twister(seed), torch_stream(seed)
    assert ours.permutation(256) == torch.randperm(256, generator=theirs).tolist()
    normal = torch.randn(256, generator=theirs, dtype=torch.float64)
    assert ours.normal(256) == pytest.approx(normal.tolist(), abs=1e-14)
    assert ours.uniform(1000) == torch.rand(1000, generator=theirs, dtype=torch.float64).tolist()
    assert ours.permutation(7) == torch.randperm(7, generator=theirs).tolist()
    assert ours.uniform(0) == []


def test_another_seed_is_another_stream():
    assert Twister(1).uniform(3) != Twister(2).uniform(3)


def test_what_torch_draws_otherwise_is_refused():
    with pytest.raises(ValueError, match="n is 8: give a multiple of 16"):
        Twister(0).normal(8)
