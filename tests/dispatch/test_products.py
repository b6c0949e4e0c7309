"""oneDNN's products against torch.mm, and when they are used."""

import pytest
import torch
from dispatch_cases import assert_close, draw_case, run

from moe_lessons.dispatch import moe_fused, moe_loop, products


@pytest.fixture
def on_amd(monkeypatch):
    """Make any x86 machine look like an AMD one with AVX-512."""
    monkeypatch.setattr(products, "cpu_name", lambda: "AMD EPYC 9B45")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    products.onednn_is_faster.cache_clear()
    yield
    monkeypatch.undo()
    products.onednn_is_faster.cache_clear()


@pytest.fixture
def everything_to_onednn(on_amd, monkeypatch):
    if not products.onednn_is_faster():
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(products, "ONEDNN_MULTIPLICATIONS", 0)
    monkeypatch.setattr(products, "ONEDNN_ROWS", 0)


def test_it_is_chosen_by_the_processor(monkeypatch, on_amd):
    if not products.onednn_is_faster():
        pytest.skip("this PyTorch has no oneDNN")
    for name, capability in [("Intel(R) Xeon(R) Platinum 8481C", "AVX512"), ("AMD Ryzen 7", "AVX2")]:
        monkeypatch.setattr(products, "cpu_name", lambda name=name: name)
        monkeypatch.setattr(
            torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability
        )
        products.onednn_is_faster.cache_clear()
        assert not products.onednn_is_faster()


def test_it_is_not_chosen_if_it_is_wrong(monkeypatch, on_amd):
    monkeypatch.setattr(torch, "allclose", lambda *_, **__: False)
    assert not products.onednn_is_faster()


@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 5, 3), (64, 33, 130), (97, 20, 6), (256, 256, 512)])
def test_it_multiplies(everything_to_onednn, sizes, transposed):
    rows, inner, columns = sizes
    generator = torch.Generator().manual_seed(0)

    def draw(height, width, flip):
        # Rows of a wider buffer, as pieces are, or a transposed view, as weights and gradients are.
        if flip:
            return torch.randn(width, height, generator=generator).t()
        return torch.randn(height, width + 3, generator=generator)[:, :width]

    left, right = draw(rows, inner, transposed[0]), draw(inner, columns, transposed[1])
    out = torch.full((rows, columns), float("nan"))
    products.product(left, right, out)
    exact = left.double() @ right.double()
    assert (out - exact).norm() <= 1e-5 * exact.norm()
    assert exact.norm() > 0


@pytest.mark.parametrize("crowd", [None, 0])
def test_the_whole_path_with_it(everything_to_onednn, crowd):
    case = draw_case(133, 16, 24, 5, 3, dtype=torch.float32, crowd=crowd)
    first = run(moe_fused, case)
    assert_close(first, run(moe_loop, case), 1e-5)
    assert all(torch.equal(one, other) for one, other in zip(first, run(moe_fused, case), strict=True))


def test_other_dtypes_never_use_it(everything_to_onednn, monkeypatch):
    monkeypatch.setattr(products, "onednn_linear", lambda *_: pytest.fail("only fp32 goes there"))
    for dtype in (torch.float64, torch.bfloat16):
        out = torch.empty(1, 1, dtype=dtype)
        products.product(torch.full((1, 2), 3.0, dtype=dtype), torch.ones(2, 1, dtype=dtype), out)
        assert out.item() == 6


@pytest.mark.parametrize(
    ("sizes", "expected"), [((15, 2**20, 1), 0), ((16, 2**20, 1), 1), ((2**20, 15, 1), 0), ((16, 16, 16), 0)]
)
def test_few_rows_and_small_products_stay_with_mkl(on_amd, monkeypatch, sizes, expected):
    if not products.onednn_is_faster():
        pytest.skip("this PyTorch has no oneDNN")
    calls = []
    real = products.onednn_linear
    monkeypatch.setattr(products, "onednn_linear", lambda *given: calls.append(1) or real(*given))
    rows, inner, columns = sizes
    out = torch.empty(rows, columns)
    products.product(torch.ones(rows, inner), torch.ones(inner, columns), out)
    assert len(calls) == expected
    assert (out == inner).all()
