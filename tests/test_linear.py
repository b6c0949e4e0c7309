"""The linear maps: the same numbers from either library, and derivatives of any order."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from moe_lessons import linear as module
from moe_lessons.dispatch import products
from moe_lessons.experts import SwiGLU
from moe_lessons.linear import FeedForward, Linear, OneDnnLinear, linear


def onednn_here():
    try:
        products.onednn_linear(torch.ones(2, 2), torch.ones(2, 2))
    except (AttributeError, RuntimeError):
        return False
    return True


needs_onednn = pytest.mark.skipif(not onednn_here(), reason="this PyTorch has no oneDNN")


@pytest.fixture
def always(monkeypatch):
    """Send every fp32 product to oneDNN, whatever the processor."""
    monkeypatch.setattr(products, "ONEDNN_ROWS", 0)
    monkeypatch.setattr(products, "ONEDNN_MULTIPLICATIONS", 0)
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)


def draw(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, generator=generator, dtype=torch.float64)


@needs_onednn
@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 4))
def test_onednn_gives_what_autograd_gives(sizes):
    B, L, N, P = sizes
    x_BLN, weight_PN, d_BLP = draw(B, L, N), draw(P, N, seed=1), draw(B, L, P, seed=2)
    found, expected = [], []
    for answers, dtype in ((found, torch.float32), (expected, torch.float64)):
        leaves = [tensor.to(dtype).requires_grad_() for tensor in (x_BLN, weight_PN)]
        x, weight = leaves
        if dtype is torch.float32:
            output = OneDnnLinear.apply(x.flatten(0, 1), weight).view(B, L, P)
        else:
            output = F.linear(x, weight)
        answers += [output, *torch.autograd.grad(output, leaves, d_BLP.to(dtype))]
    for mine, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=1e-5)


@needs_onednn
def test_gradients_of_gradients():
    def second(product, dtype):
        x, weight = draw(3, 4).to(dtype).requires_grad_(), draw(5, 4, seed=1).to(dtype).requires_grad_()
        (first,) = torch.autograd.grad(product(x, weight).pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), (x, weight))

    for mine, exact in zip(
        second(OneDnnLinear.apply, torch.float32), second(F.linear, torch.float64), strict=True
    ):
        torch.testing.assert_close(mine.double(), exact, rtol=1e-4, atol=1e-4)


@needs_onednn
def test_which_products_go_to_onednn(always, monkeypatch):
    calls = []
    real = products.onednn_linear
    monkeypatch.setattr(products, "onednn_linear", lambda *given: calls.append(1) or real(*given))
    weight_PN = torch.ones(3, 2)
    linear(torch.ones(4, 2), weight_PN)
    linear(torch.ones(2, 4, 2), weight_PN)
    assert len(calls) == 2
    linear(torch.ones(4, 2).double(), weight_PN.double())
    linear(torch.ones(4, 2).bfloat16(), weight_PN.bfloat16())
    linear(torch.ones(2), weight_PN)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(torch.ones(4, 2), weight_PN).dtype is torch.bfloat16
    torch.func.vmap(linear, in_dims=(0, None))(torch.ones(2, 4, 2), weight_PN)
    assert len(calls) == 2
    monkeypatch.setattr(products, "onednn_is_faster", lambda: False)
    linear(torch.ones(4, 2), weight_PN)
    assert len(calls) == 2


@needs_onednn
def test_modules_are_those_of_torch(always):
    x_BLD = draw(2, 3, 4).float()
    mine = Linear(4, 5)
    assert mine.bias is None
    assert isinstance(mine, torch.nn.Linear)
    torch.testing.assert_close(mine(x_BLD), F.linear(x_BLD, mine.weight))
    network = FeedForward(4, 6)
    plain = SwiGLU(4, 6)
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(network(x_BLD), plain(x_BLD))


def test_without_tokens():
    assert linear(torch.ones(0, 2), torch.ones(3, 2)).shape == (0, 3)
    assert module.linear(torch.ones(0, 4, 2), torch.ones(3, 2)).shape == (0, 4, 3)
