"""Cases, the oracle, and the measure of error that the kernel tests share."""

import torch

from moe_lessons.dispatch import moe_loop

NAMES = ("output", "d hidden", "d weights", "d gate_up_proj", "d down_proj")
LIMITS = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}

# T, D, F, E, K, expert that gets every first choice: unequal, odd, around the interpreter's tiles of 16.
EDGES = {
    "odd D and F, prime E": (19, 21, 13, 5, 3, None),
    "sizes above one tile": (37, 40, 33, 4, 2, None),
    "exact tiles": (16, 32, 16, 2, 2, None),
    "fewer tokens than a block": (3, 17, 9, 7, 2, None),
    "K = 1": (23, 7, 10, 3, 1, None),
    "K = E": (9, 12, 11, 4, 4, None),
    "one token": (1, 18, 6, 6, 3, None),
    "no token": (0, 6, 5, 3, 2, None),
    "all on one expert": (35, 10, 8, 3, 1, 1),
    "most experts empty": (2, 9, 7, 11, 2, None),
    "one expert, width 1": (18, 1, 1, 1, 1, None),
}


def draw_case(n_tokens, d_model, d_expert, n_experts, top_k, crowd=None, *, dtype, seed=0, device="cpu"):
    """Draw the five arguments of a path; `crowd` is the first choice of all tokens."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator).to(device, dtype)

    scores_TE = torch.rand(n_tokens, n_experts, generator=generator)
    if crowd is not None:
        scores_TE[:, crowd] = 2
    ids_TK = scores_TE.topk(top_k, dim=1).indices.to(device)
    weights_TK = torch.rand(n_tokens, top_k, generator=generator).to(device)
    gate_up_proj = normal(n_experts, 2 * d_expert, d_model) / d_model**0.5
    down_proj = normal(n_experts, d_model, d_expert) / d_expert**0.5
    return normal(n_tokens, d_model), ids_TK, weights_TK, gate_up_proj, down_proj


def run(path, case):
    """Return the output and the gradients of hidden, weights and both projections."""
    leaves = [tensor.detach().clone().requires_grad_(tensor.is_floating_point()) for tensor in case]
    output_TD = path(*leaves)
    upstream_TD = torch.randn(output_TD.shape, generator=torch.Generator().manual_seed(99))
    output_TD.backward(upstream_TD.to(output_TD))
    return [output_TD.detach(), *(leaf.grad for leaf in leaves if leaf.is_floating_point())]


def oracle(case, path=moe_loop):
    """Run the definition in fp64 on the same numbers; where it never used an expert, the gradient is zero."""
    exact = [tensor.double() if tensor.is_floating_point() else tensor for tensor in case]
    leaves = [None, *(tensor for tensor in exact if tensor.is_floating_point())]
    return [
        torch.zeros_like(leaf) if x is None else x for x, leaf in zip(run(path, exact), leaves, strict=True)
    ]


def relative_error(actual, expected):
    """Frobenius norm of the difference over that of the expected tensor; 1 for an all-zero answer."""
    actual, expected = actual.detach().double(), expected.detach().double()
    difference, scale = (actual - expected).norm(), expected.norm()
    return float(difference / scale) if scale > 0 else float(difference)


def assert_close(actual, expected, limit, names=NAMES):
    for name, mine, theirs in zip(names, actual, expected, strict=True):
        assert mine.shape == theirs.shape, name
        error = relative_error(mine, theirs)
        assert error <= limit, f"{name}: relative error {error:.2e} above {limit:.0e}"
