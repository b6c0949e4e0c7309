"""An expert-parallel layer on several processes computes what one process computes, gradients included."""

import re
from pathlib import Path

import pytest
import torch
from together import start
from torch import distributed

from moe_lessons.parallel.against_one import COUNTS, MISTAKES, PARTS, ROUTERS

pytestmark = pytest.mark.skipif(
    not distributed.is_available() or not distributed.is_gloo_available(), reason="torch without gloo"
)
HERE = Path(__file__).parent
LAYOUTS = [
    pytest.param((2, 2), id="2 ranks"),
    pytest.param((4, 4), id="4 ranks", marks=pytest.mark.slow),
    pytest.param((4, 2), id="2 replicas of 2 ranks", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=LAYOUTS)
def found(request, tmp_path_factory):
    n_ranks, n_ep = request.param
    folder = tmp_path_factory.mktemp("equal")
    ranks = start(n_ranks, HERE / "rank_equal.py", folder, n_ep)
    said = [rank.communicate(timeout=900)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * n_ranks, said
    return torch.load(folder / "found.pt")


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("counts", COUNTS)
def test_output_and_all_gradients_are_those_of_one_process(found, counts, router):
    assert max(found[torch.float64, router, counts].values()) < 1e-13
    assert max(found[torch.float32, router, counts].values()) < 1e-5


def test_a_rank_s_own_rows_are_computed_as_in_one_process(found):
    """Of equal shares in their order, an expert sees the same rows in the same order: no bit differs."""
    errors = found[torch.float32, "random", "even"]
    assert {part for part in PARTS if errors[part] == 0} >= {"output", "rows"}


def test_weights_on_the_input_travel_with_it(found):
    assert max(found["topk_sigmoid"].values()) < 1e-13


@pytest.mark.parametrize("path", ["auto", "grouped", "slots", "fused"])
def test_every_path_computes_the_local_experts(found, path):
    for counts in ("uneven", "only rank 0 has tokens"):
        assert max(found[path, counts].values()) < 1e-5


@pytest.mark.parametrize("number", range(8))
def test_any_number_of_tokens(found, number):
    assert max(found["drawn", number].values()) < 1e-13


def test_one_expert_on_each_rank(found):
    assert max(found["one each"].values()) < 1e-5


def test_ranks_with_other_layers_are_refused(found):
    assert re.fullmatch(
        r"rank 1 of \d has other MoE layers than rank 0, 1 layers, the first with E=8, K=2, D=8, F=8, .* -> "
        r"1 layers, the first with E=16, .*: start all ranks with the same settings",
        found["other layers"],
    )


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_comparison_finds_mistakes(found, mistake):
    errors = found[mistake]
    if mistake == "experts_averaged":  # forward and all other gradients are right
        assert max(errors[part] for part in ("output", "rows", "router")) < 1e-13
        assert min(errors["gate_up"], errors["down"]) > 0.3
    else:
        assert errors["output"] > 0.3
