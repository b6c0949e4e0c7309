"""What the hand-written backward must do beyond numbers: memory, pieces, second gradients, compiling."""

import pytest
import torch
from dispatch_cases import assert_close, draw_case, run

from moe_lessons.dispatch import (
    moe_fused,
    moe_loop,
    moe_padded,
    moe_unbind,
    permutation_plan,
)
from moe_lessons.dispatch import rooms as rooms_module

BOTH = pytest.mark.parametrize("path", [moe_fused, moe_padded])


@BOTH
@pytest.mark.parametrize("piece_bytes", [1, 700, 10**9])
@pytest.mark.parametrize("crowd", [None, 0, 4])
def test_pieces_change_nothing(path, piece_bytes, crowd, monkeypatch):
    case = draw_case(19, 6, 5, 5, 2, crowd=crowd)
    expected = run(moe_loop, case)
    monkeypatch.setattr(rooms_module, "PIECE_BYTES", piece_bytes)
    assert_close(run(path, case), expected, 1e-12)


def test_rooms_are_cut_into_pieces_that_cover_them():
    ids_TK = draw_case(50, 2, 2, 7, 3)[1]
    ids_TK[ids_TK == 2] = 3  # nobody visits expert 2
    plan = permutation_plan(ids_TK, 7)
    for sizes in (rooms_module.tight, rooms_module.in_blocks, rooms_module.equal):
        row_bytes = rooms_module.PIECE_BYTES // 40
        rooms = rooms_module.make_rooms(plan, ids_TK, sizes(plan.tokens_per_expert_E), row_bytes)
        assert len(rooms.pieces) > 2
        edges = [(piece.rows.start, piece.rows.stop) for piece in rooms.pieces]
        assert [start for start, _ in edges] == [0, *(stop for _, stop in edges[:-1])]
        assert edges[-1][1] == rooms.n_rows
        assert all(sum(piece.sizes) == piece.rows.stop - piece.rows.start for piece in rooms.pieces)
        assert all(
            piece.rows.stop - piece.rows.start <= 40 or len(piece.sizes) == 1 for piece in rooms.pieces
        )
        busy = [expert for piece in rooms.pieces for expert in piece.experts]
        assert sorted(busy + rooms.idle_experts) == list(range(7))
        # Every row that a slot names holds that slot's token.
        hidden_TD = torch.arange(1.0, 51.0).unsqueeze(1)
        rows = torch.cat([rooms.gather(hidden_TD, piece) for piece in rooms.pieces])
        assert torch.equal(rows[rooms.rows_TK].squeeze(-1), hidden_TD.expand(50, 3))
        assert int((rows == 0).sum()) == rooms.n_rows - 150  # nothing but zeros elsewhere


@BOTH
def test_only_inputs_and_pre_activations_are_kept(path):
    case = draw_case(40, 8, 16, 4, 2, dtype=torch.float32)
    leaves = [tensor.requires_grad_() if tensor.is_floating_point() else tensor for tensor in case]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda t: t):
        path(*leaves)
    given = {leaf.data_ptr() for leaf in leaves}
    extra = [tensor for tensor in kept if tensor.data_ptr() not in given]
    assert [tensor.shape[1] for tensor in extra] == [2 * 16]
    loads_E = torch.bincount(case[1].flatten(), minlength=4)
    if path is moe_padded:
        assert extra[0].shape[0] == 4 * int(loads_E.max())
    else:
        assert extra[0].shape[0] in (80, int(rooms_module.in_blocks(loads_E).sum()))


@BOTH
@pytest.mark.parametrize("frozen", [(0,), (2,), (3, 4), (0, 2, 3), (2, 3, 4)])
def test_only_what_requires_a_gradient_gets_one(path, frozen):
    case = draw_case(12, 4, 6, 3, 2)
    expected = dict(zip((0, 2, 3, 4), run(moe_loop, case)[1:], strict=True))
    upstream_TD = torch.randn(12, 4, generator=torch.Generator().manual_seed(99)).double()
    leaves = [tensor.requires_grad_(i in expected and i not in frozen) for i, tensor in enumerate(case)]
    path(*leaves).backward(upstream_TD)
    for i in expected:
        if i in frozen:
            assert leaves[i].grad is None
        else:
            torch.testing.assert_close(leaves[i].grad, expected[i])


@BOTH
def test_without_gradients_nothing_is_recorded(path):
    case = draw_case(12, 4, 6, 3, 2)
    assert path(*case).grad_fn is None
    leaves = [tensor.requires_grad_() if tensor.is_floating_point() else tensor for tensor in case]
    with torch.no_grad():
        assert path(*leaves).grad_fn is None
    with torch.inference_mode():
        torch.testing.assert_close(path(*leaves), moe_loop(*leaves))


@BOTH
def test_gradients_of_gradients(path):
    hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj = draw_case(3, 3, 2, 3, 2)
    leaves = [tensor.requires_grad_() for tensor in (hidden_TD, weights_TK, gate_up_proj, down_proj)]
    assert torch.autograd.gradgradcheck(
        lambda hidden, weights, gate_up, down: path(hidden, ids_TK, weights, gate_up, down), leaves
    )


@pytest.mark.parametrize("path", [moe_fused, moe_padded, moe_unbind])
def test_functional_gradients(path):
    hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj = draw_case(5, 3, 2, 3, 2)

    def loss(path, hidden_TD, gate_up_proj):
        return path(hidden_TD, ids_TK, weights_TK, gate_up_proj, down_proj).pow(2).sum()

    found = torch.func.grad(loss, argnums=(1, 2))(path, hidden_TD, gate_up_proj)
    leaves = [hidden_TD.requires_grad_(), gate_up_proj.requires_grad_()]
    expected = torch.autograd.grad(loss(moe_loop, *leaves), leaves)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("path", [moe_fused, moe_padded])
def test_a_broken_token_spoils_its_own_experts_only(path):
    hidden_TD, ids_TK, *rest = draw_case(9, 4, 6, 5, 2)
    ids_TK[0] = torch.tensor([0, 1])
    ids_TK[1:] = ids_TK[1:].clamp(min=2)
    hidden_TD[0] = float("nan")
    output_TD, d_hidden_TD, _, d_gate_up, d_down = run(path, [hidden_TD, ids_TK, *rest])
    assert output_TD[1:].isfinite().all()
    assert d_hidden_TD[1:].isfinite().all()
    assert d_gate_up[2:].isfinite().all()
    assert d_down[2:].isfinite().all()
    assert d_gate_up[:2].isnan().any()
