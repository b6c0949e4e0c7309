import torch
from hypothesis import strategies as st

from moe_lessons.routing import topk_softmax


@st.composite
def routings(draw):
    """Ids, weights and E, with and without favourites, T = 0 and E = 1 among them."""
    n_experts = draw(st.sampled_from([1, 2, 3, 8, 300]))
    n_tokens, top_k = draw(st.integers(0, 40)), draw(st.integers(1, min(n_experts, 4)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    favour_E = draw(st.sampled_from([0.0, 3.0])) * torch.arange(n_experts) / n_experts
    logits_TE = torch.randn(n_tokens, n_experts, generator=generator, dtype=torch.float64) - favour_E
    _, ids_TK, weights_TK = topk_softmax(logits_TE, top_k)
    return ids_TK, weights_TK, n_experts
