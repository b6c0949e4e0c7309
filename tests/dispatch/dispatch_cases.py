"""Drawn arguments of a path, its output and gradients, and the measure of error."""

import torch
from hypothesis import strategies as st


def draw_case(n_tokens, d_model, d_expert, n_experts, top_k, *, seed=0, crowd=None, dtype=torch.float64):
    """Draw the five arguments of a path; `crowd` sends all first choices to one expert."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    scores_TE = torch.rand(n_tokens, n_experts, generator=generator)
    if crowd is not None:
        scores_TE[:, crowd] = 2
    ids_TK = scores_TE.topk(top_k, dim=1).indices
    weights_TK = torch.rand(n_tokens, top_k, generator=generator, dtype=torch.float64)
    weights_TK = weights_TK.to(torch.promote_types(dtype, torch.float32))
    gate_up_proj = normal(n_experts, 2 * d_expert, d_model) / d_model**0.5
    down_proj = normal(n_experts, d_model, d_expert) / d_expert**0.5
    return normal(n_tokens, d_model), ids_TK, weights_TK, gate_up_proj, down_proj


def run(path, case, upstream_TD=None):
    """Return the output and the gradients of hidden, weights and both projections."""
    leaves = [tensor.detach().clone().requires_grad_(tensor.is_floating_point()) for tensor in case]
    output_TD = path(*leaves)
    if upstream_TD is None:
        upstream_TD = torch.randn(output_TD.shape, generator=torch.Generator().manual_seed(99))
    output_TD.backward(upstream_TD.to(output_TD.dtype))
    gradients = [leaf.grad for leaf in leaves if leaf.is_floating_point()]
    return [output_TD.detach(), *gradients]


def relative_error(actual, expected):
    """Frobenius norm of the difference over that of the expected tensor; 1 for an all-zero answer."""
    difference, scale = (actual.double() - expected.double()).norm(), expected.double().norm()
    return float(difference / scale) if scale > 0 else float(difference)


def assert_close(actual, expected, limit):
    names = ("output", "d hidden", "d weights", "d gate_up_proj", "d down_proj")
    for name, mine, theirs in zip(names, actual, expected, strict=True):
        assert mine.shape == theirs.shape
        error = relative_error(mine, theirs)
        assert error <= limit, f"{name}: relative error {error:.2e} above {limit:.0e}"


@st.composite
def cases(draw, d_models=(1, 3, 5, 8), d_experts=(1, 2, 7, 8), max_tokens=9):
    n_experts = draw(st.sampled_from([1, 2, 3, 7, 8]))
    top_k = draw(st.sampled_from(sorted({1, min(2, n_experts), n_experts})))
    return draw_case(
        draw(st.sampled_from([0, 1, 2, max_tokens])),
        draw(st.sampled_from(d_models)),
        draw(st.sampled_from(d_experts)),
        n_experts,
        top_k,
        seed=draw(st.integers(0, 2**16)),
        crowd=draw(st.sampled_from([None, 0, n_experts - 1])),
    )
