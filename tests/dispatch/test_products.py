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
@pytest.mark.parametrize("function", ["product", "product_over_rows"])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 5, 3), (64, 33, 130), (97, 20, 6), (256, 256, 512)])
def test_it_multiplies(on_amd, monkeypatch, function, sizes, transposed):
    monkeypatch.setattr(products, "ONEDNN_MULTIPLICATIONS", 0)
    rows, inner, columns = sizes
    generator = torch.Generator().manual_seed(0)

    def draw(height, width, flip):
        # Rows of a wider buffer, as pieces are, or a transposed view, as weights and gradients are.
        if flip:
            return torch.randn(width, height, generator=generator).t()
        return torch.randn(height, width + 3, generator=generator)[:, :width]

    left = draw(rows, inner, transposed[0])
    if function == "product":
        right, exact_left = draw(inner, columns, transposed[1]), left
    else:
        right, exact_left = draw(rows, columns, transposed[1]), left.t()
    out = torch.full((exact_left.shape[0], columns), float("nan"))
    getattr(products, function)(left, right, out)
    exact = exact_left.double() @ right.double()
    assert (out - exact).norm() <= 1e-5 * exact.norm()
    assert exact.norm() > 0


def test_the_whole_path_with_it(on_amd, monkeypatch):
    monkeypatch.setattr(products, "ONEDNN_MULTIPLICATIONS", 0)
    case = draw_case(33, 16, 24, 5, 3, dtype=torch.float32)
    first = run(moe_fused, case)
    assert_close(first, run(moe_loop, case), 1e-5)
    assert all(torch.equal(one, other) for one, other in zip(first, run(moe_fused, case), strict=True))


def test_other_dtypes_never_use_it(on_amd, monkeypatch):
    monkeypatch.setattr(products, "ONEDNN_MULTIPLICATIONS", 0)
    monkeypatch.setattr(products, "onednn_linear", lambda *_: pytest.fail("only fp32 goes there"))
    for dtype in (torch.float64, torch.bfloat16):
        out = torch.empty(1, 1, dtype=dtype)
        products.product(torch.full((1, 2), 3.0, dtype=dtype), torch.ones(2, 1, dtype=dtype), out)
        assert out.item() == 6


def test_few_rows_and_small_products_stay_with_mkl(on_amd):
    if not products.onednn_is_faster():
        pytest.skip("this PyTorch has no oneDNN")
    blocks = products.BLOCK_ROWS
    enough = products.ONEDNN_MULTIPLICATIONS
    assert products.rows_for_onednn(torch.ones(blocks - 1, 1), enough) == 0
    assert products.rows_for_onednn(torch.ones(2 * blocks + 1, 1), enough) == 2 * blocks
    assert products.rows_for_onednn(torch.ones(2 * blocks + 1, 1), 1) == 0
    assert products.rows_for_onednn(torch.ones(2 * blocks + 1, 1).bfloat16(), enough) == 0
