"""The limits agree with arithmetic done by hand, and the tiles fit the hardware."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.kernels import tiles
from moe_lessons.kernels.limits import BACKWARD, CEILINGS, FORWARD, Ceiling, costs, roofline

SIZES = st.tuples(*[st.integers(1, 300)] * 4).flatmap(
    lambda sizes: st.tuples(*map(st.just, sizes), st.integers(1, sizes[3]))
)


def test_limits_import_neither_torch_nor_triton():
    code = "import sys, moe_lessons.kernels.limits; print({'torch', 'triton', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@given(SIZES)
def test_flops_add_up_to_three_matrices_forward_and_twice_that_backward(sizes):
    n_tokens, d_model, d_expert, _, top_k = sizes
    cost, rows = costs(*sizes), n_tokens * top_k
    combine = 2 * rows * d_model
    assert sum(cost[kernel].flops for kernel in FORWARD) == 6 * rows * d_model * d_expert + combine
    assert sum(cost[kernel].flops for kernel in BACKWARD) == 12 * rows * d_model * d_expert + combine // 2


@given(SIZES, st.sampled_from(["H100", "H200"]))
def test_the_limit_is_the_slower_of_arithmetic_and_memory(sizes, device):
    limit = roofline(*sizes, device)
    no_memory = roofline(*sizes, Ceiling(CEILINGS[device].flops_per_s, float("inf")))
    no_arithmetic = roofline(*sizes, Ceiling(float("inf"), CEILINGS[device].bytes_per_s))
    for kernel, ms in limit.kernels_ms.items():
        assert ms == max(no_memory.kernels_ms[kernel], no_arithmetic.kernels_ms[kernel]) > 0
    assert limit.total_ms == pytest.approx(sum(limit.kernels_ms.values()))


@pytest.mark.parametrize(("device", "forward", "backward"), [("H100", 1.084, 2.315), ("H200", 1.082, 2.158)])
def test_the_layer_of_the_promise(device, forward, backward):
    limit = roofline(8192, 1024, 2048, 64, 8, device)
    assert limit.forward_ms == pytest.approx(forward, abs=5e-4)
    assert limit.backward_ms == pytest.approx(backward, abs=5e-4)


def test_decoding_is_bound_by_the_weights_it_reads():
    one, eight = roofline(1, 1024, 2048, 64, 8), roofline(8, 1024, 2048, 64, 8)
    assert eight.forward_ms == pytest.approx(8 * one.forward_ms, rel=0.01)  # 8 of 64 experts, then all 64


def test_an_unknown_device():
    with pytest.raises(ValueError, match="device='T4': choose H100, H200, or give Ceiling"):
        roofline(1, 1, 1, 1, 1, "T4")


ALL_TILES = {name: value for name, value in vars(tiles).items() if isinstance(value, tiles.Tiles)}


@pytest.mark.parametrize("name", ALL_TILES)
def test_kernels_that_share_blocks_share_their_rows(name):
    choice = ALL_TILES[name]
    assert {choice.up.m, choice.down.m, choice.pre_gradient.m, choice.hidden_gradient.m} == {choice.rows}


@given(
    st.sampled_from([(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0), None]),
    st.sampled_from([2, 4]),
    st.floats(0, 1e6),
    st.booleans(),
)
def test_every_case_has_tiles(capability, itemsize, rows_per_expert, aligned):
    choice = tiles.tiles_for(capability, itemsize, rows_per_expert, aligned)
    assert choice in ALL_TILES.values()
    if choice is tiles.HOPPER:  # the largest: only where the matrix unit and its memory are there
        assert (capability, itemsize, aligned) == ((9, 0), 2, True)
