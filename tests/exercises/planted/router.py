"""Answers to lesson 01 as learners write them: wrong ones by misconception, and right ones."""

import torch
import torch.nn.functional as F


def logits_loop(hidden_TD, router_ED):
    rows = [[torch.dot(h.float(), r.float()) for r in router_ED] for h in hidden_TD]
    return torch.stack([torch.stack(row) for row in rows])


def logits_einsum(hidden, router):
    return torch.einsum("td,ed->te", hidden.to(torch.float32), router.to(torch.float32))


def logits_in_bf16(hidden_TD, router_ED):
    return F.linear(hidden_TD, router_ED)


def logits_rounded(hidden_TD, router_ED):
    return F.linear(hidden_TD, router_ED).to(torch.float32)


def logits_softmaxed(hidden_TD, router_ED):
    return F.softmax(F.linear(hidden_TD.float(), router_ED.float()), dim=1)


def logits_viewed(hidden_TD, router_ED):
    n_experts, d_model = router_ED.shape
    return torch.matmul(hidden_TD.float(), router_ED.float().view(d_model, n_experts))


def logits_cosine(hidden_TD, router_ED):
    h, r = hidden_TD.float(), router_ED.float()
    h = h / h.norm(dim=-1, keepdim=True)
    r = r / r.norm(dim=-1, keepdim=True)
    return h @ r.T


RIGHT = {"01.router_logits": [logits_loop, logits_einsum]}
WRONG = {
    "01.router_logits": {
        "input_dtype": logits_in_bf16,
        "late_fp32": logits_rounded,
        "probabilities": logits_softmaxed,
        "reshape": logits_viewed,
        "cosine": logits_cosine,
    }
}
