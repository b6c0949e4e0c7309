"""Answers to 11.latent_moe as learners write them."""

import torch
import torch.nn.functional as F


def _expert(x, gate_up, down):
    gate, up = F.linear(x, gate_up).split(gate_up.shape[0] // 2, dim=-1)
    return F.linear(F.silu(gate) * up, down)


# Right


def by_expert(hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k):
    """The loop of lesson 02; every answer comes back to full width before it is weighted."""
    weights, ids = torch.topk(hidden_TD @ router_ED.T, top_k)
    weights = torch.softmax(weights, dim=1)
    z = hidden_TD @ down_LD.T
    out = torch.zeros_like(hidden_TD)
    for e in range(len(router_ED)):
        t, k = (ids == e).nonzero(as_tuple=True)
        answer = _expert(z[t], gate_up_EHL[e], down_ELF[e]) @ up_DL.T
        out = out.index_add(0, t, weights[t, k].unsqueeze(-1) * answer)
    return out


def dense_mask(hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k):
    logits = hidden_TD @ router_ED.T
    kept = torch.full_like(logits, -torch.inf).scatter(1, logits.topk(top_k).indices, 0.0)
    w = (logits + kept).softmax(-1)
    h = torch.einsum("tl,ehl->teh", hidden_TD @ down_LD.T, gate_up_EHL)
    gate, up = h.chunk(2, -1)
    o = torch.einsum("tef,elf->tel", F.silu(gate) * up, down_ELF)
    return torch.einsum("te,tel,dl->td", w, o, up_DL)


def gathered(hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k):
    values, ids = (hidden_TD @ router_ED.T).sort(dim=-1, descending=True)
    values, ids = values[:, :top_k].softmax(-1), ids[:, :top_k]
    z = (hidden_TD @ down_LD.T)[:, None, :, None]
    gate, up = (gate_up_EHL[ids] @ z).squeeze(-1).chunk(2, dim=-1)
    answers = (down_ELF[ids] @ (F.silu(gate) * up).unsqueeze(-1)).squeeze(-1)
    return (values.unsqueeze(-1) * answers).sum(1) @ up_DL.T


# Wrong


def _layer(x, r, v, gu, dn, u, k, *, logits=None, weigh=None, on_input=False, act=F.silu, after=None):
    z = x @ v.T
    scores = x @ r.T if logits is None else logits
    best, ids = scores.topk(k, dim=-1)
    w = best.softmax(-1) if weigh is None else weigh(scores, ids)
    total = torch.zeros_like(z)
    for j in range(k):
        rows = w[:, j, None] * z if on_input else z
        gate, up = torch.einsum("tl,thl->th", rows, gu[ids[:, j]]).chunk(2, -1)
        answer = torch.einsum("tf,tlf->tl", act(gate) * up, dn[ids[:, j]])
        total = total + (answer if on_input else w[:, j, None] * answer)
    return (total if after is None else after(total, z)) @ u.T


def routed_in_latent(x, r, v, gu, dn, u, k):
    z = x @ v.T
    return _layer(x, r, v, gu, dn, u, k, logits=z @ (r @ v.T).T)


def unweighted(x, r, v, gu, dn, u, k):
    return _layer(x, r, v, gu, dn, u, k, weigh=lambda s, i: torch.ones(i.shape))


def averaged(x, r, v, gu, dn, u, k):
    return unweighted(x, r, v, gu, dn, u, k) / k


def over_all(x, r, v, gu, dn, u, k):
    return _layer(x, r, v, gu, dn, u, k, weigh=lambda s, i: s.softmax(-1).gather(1, i))


def sigmoids(x, r, v, gu, dn, u, k):
    return _layer(x, r, v, gu, dn, u, k, weigh=lambda s, i: torch.sigmoid(s.gather(1, i)))


def bare_logits(x, r, v, gu, dn, u, k):
    return _layer(x, r, v, gu, dn, u, k, weigh=lambda s, i: torch.take_along_dim(s, i, 1))


def no_way_back(x, r, v, gu, dn, u, k):
    w, ids = (x @ r.T).topk(k)
    z = x @ v.T
    gate, up = torch.einsum("tl,tkhl->tkh", z, gu[ids]).chunk(2, -1)
    return torch.einsum("tk,tkf,tklf->tl", w.softmax(-1), F.silu(gate) * up, dn[ids])


def with_residual(x, r, v, gu, dn, u, k):
    return by_expert(x, r, v, gu, dn, u, k) + x


def past_the_experts(x, r, v, gu, dn, u, k):
    return _layer(x, r, v, gu, dn, u, k, after=lambda total, z: total + z)


def tied(x, r, v, gu, dn, u, k):
    return by_expert(x, r, v, gu, dn, v.transpose(0, 1), k)


def halves_swapped(x, r, v, gu, dn, u, k):
    f = gu.shape[1] // 2
    return by_expert(x, r, v, torch.cat([gu[:, f:], gu[:, :f]], 1), dn, u, k)


def with_relu(x, r, v, gu, dn, u, k):
    return _layer(x, r, v, gu, dn, u, k, act=F.relu)


def weight_in(x, r, v, gu, dn, u, k):
    return _layer(x, r, v, gu, dn, u, k, on_input=True)


def everyone(x, r, v, gu, dn, u, k):
    return dense_mask(x, r, v, gu, dn, u, len(r))


def only_first(x, r, v, gu, dn, u, k):
    return by_expert(x, r, v, gu, dn, u, 1)


RIGHT = {"11.latent_moe": [by_expert, dense_mask, gathered]}
WRONG = {
    "11.latent_moe": {
        "routed_in_latent": routed_in_latent,
        "unweighted": unweighted,
        "averaged": averaged,
        "softmax_over_all": over_all,
        "sigmoid_weights": sigmoids,
        "logits_as_weights": bare_logits,
        "stays_in_latent": no_way_back,
        "residual_added": with_residual,
        "latent_residual": past_the_experts,
        "tied_up": tied,
        "up_and_gate_swapped": halves_swapped,
        "relu": with_relu,
        "weight_on_input": weight_in,
        "all_experts": everyone,
        "first_expert_only": only_first,
    }
}
