"""The GPU day's clock: a candidate whose result is wrong, or not all there, gets no time."""

import sys

import pytest
import torch

from moe_lessons.build import paths
from moe_lessons.kernels.tiles import INTERPRETER, TILE_OF_STEP

sys.path.insert(0, str(paths.ROOT / "benchmarks"))

from gpu_stages import timing

SIZES = [24, 32, 24, 4, 2]


@pytest.mark.parametrize("step", TILE_OF_STEP)
def test_a_right_candidate_is_timed(step):
    answer = timing.measure({"step": step, "sizes": SIZES, "tile": [16, 16, 16, 4, 1]})
    assert answer["ok"]
    assert answer["relative_error"] == 0  # today's tile itself
    assert answer["ms"] > 0
    other = timing.measure({"step": step, "sizes": SIZES, "tile": [16, 32, 8, 4, 1]})
    assert other["ok"]


@pytest.mark.parametrize(
    "spoil", [torch.zeros_like, lambda right: right.index_fill(0, torch.tensor([3]), torch.nan)]
)
def test_a_wrong_candidate_is_not(spoil, monkeypatch):
    question = {"step": "down", "sizes": SIZES, "tile": list(INTERPRETER.down)}
    assert timing.measure(question)["ok"]  # the right result is kept
    right = timing.product
    monkeypatch.setattr(timing, "product", lambda *arguments: spoil(right(*arguments)))
    answer = timing.measure(question)
    assert not answer["ok"]
    assert "ms" not in answer


def test_what_a_kernel_does_not_write_shows():
    (left,) = timing.poisoned(lambda: (torch.empty(4),))
    assert left.isnan().all()
