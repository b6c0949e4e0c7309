"""More answers to lessons 06 to 10: mistakes that answers written from the lessons' text alone had made."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats


def softmax_for_sigmoid(rescale):
    def bias_step(logits, bias, top_k, rate):
        ids = (logits.sigmoid() + bias).topk(top_k, dim=-1).indices
        weights = logits.softmax(dim=-1).gather(1, ids)
        load = torch.bincount(ids.flatten(), minlength=logits.shape[1]).float()
        weights = weights / weights.sum(dim=-1, keepdim=True) if rescale else weights
        return ids, weights, bias + rate * (load.mean() - load).sign()

    return bias_step


def draws_noise(draw):
    def noisy_topk(logits, noise_logits, noise, top_k, training):
        noisy = logits + draw(logits) * F.softplus(noise_logits) if training else logits
        values, ids = noisy.topk(top_k, dim=-1)
        return ids, values.softmax(dim=-1)

    return noisy_topk


def tail_turned_round(order):
    def leaks_future(route, logits):
        before = route(logits)
        for t in range(1, len(logits) - 1):
            after = route(torch.cat([logits[:t], order(logits[t:])]))
            if not torch.allclose(after[:t], before[:t], atol=1e-4):
                return True
        return False

    return leaks_future


def looks_at_sums(route, logits):
    before = route(logits)
    for t in range(1, len(logits)):
        changed = torch.cat([logits[:t], 5 * torch.randn_like(logits[t:])])
        if not torch.allclose(route(changed)[:t].sum(), before[:t].sum(), atol=1e-4):
            return True
    return False


def _shuffled(tail):
    return tail[torch.randperm(len(tail))]


def positions_as_sorted(topk_ids, n_experts):
    counts = torch.bincount(topk_ids.flatten(), minlength=n_experts).tolist()
    return torch.cat([torch.arange(n) for n in [0, *counts]]).view_as(topk_ids)


def positions_of_the_longest(before):
    def positions(topk_ids, n_experts):
        counts, found = [0] * n_experts, []
        for e in topk_ids.flatten().tolist():
            longest = max(counts)
            counts[e] += 1
            found.append(longest if before else max(counts) - 1)
        return torch.tensor(found, dtype=torch.int64).view_as(topk_ids)

    return positions


def poisson_to_t(t, e, k, c):
    n = np.arange(c, t + 1)
    return float((n - c) @ stats.poisson(t * k / e).pmf(n)) * e / (t * k)


def pairs_in_order(scores, capacity):
    free, ids = [capacity] * scores.shape[1], []
    for row in scores:
        e = int(row.argmax())
        ids.append(e if free[e] else -1)
        free[e] -= bool(free[e])
    left, best = scores.double().clone(), 0.0
    free = [capacity] * scores.shape[1]
    while left.max() > 0 and any(free):
        t, e = divmod(int(left.argmax()), scores.shape[1])
        best += float(left[t, e])
        left[t] = 0
        free[e] -= 1
        if not free[e]:
            left[:, e] = 0
    total = sum(float(row[e]) for row, e in zip(scores, ids, strict=True) if e >= 0)
    return torch.tensor(ids), total, best


def product_times_a_mask(rows, matrices, ends):
    owner = torch.searchsorted(ends, torch.arange(len(rows)), right=True)
    owned = (owner < len(matrices)).to(rows.dtype)
    every = rows[:, None] @ matrices[owner.clamp(max=len(matrices) - 1)]
    return every.squeeze(1) * owned[:, None]


def product_left_side(rows, matrices, ends):
    owner = torch.searchsorted(ends, torch.arange(int(ends[-1])))
    out = [row @ matrices[e] for row, e in zip(rows, owner.tolist(), strict=False)]
    rest = rows.new_zeros(len(rows) - len(out), matrices.shape[2])
    return torch.cat([torch.stack(out), rest]) if out else rest


def bits_shifted(real_targets):
    def bits_per_byte(logits, targets, lengths):
        total = count = 0.0
        for x, y, n in zip(logits, targets, lengths.tolist(), strict=True):
            stop = n if real_targets else min(n + 1, len(y))
            total += F.cross_entropy(x[: stop - 1], y[1:stop], reduction="sum").item()
            count += stop - 1
        return total / count / math.log(2)

    return bits_per_byte


def attends_to_the_past(first):
    """What the first place, which has no past, comes to: `first` says."""

    def causal_attention(q, k, v):
        n = q.shape[1] // k.shape[1]
        k, v = (x.repeat_interleave(n, dim=1) for x in (k, v))
        L = q.shape[2]
        past = torch.arange(L)[:, None] > torch.arange(L)
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        if first == "itself":
            past = past | (torch.arange(L * L).view(L, L) == 0)
        mixed = scores.masked_fill(~past, -1e9 if first == "all" else -torch.inf).softmax(dim=-1) @ v
        if first == "nothing":
            mixed = scores[..., 1:, :].masked_fill(~past[1:], -torch.inf).softmax(dim=-1) @ v
            mixed = torch.cat([torch.zeros_like(q[..., :1, :]), mixed], dim=2)
        return mixed

    return causal_attention


def loss_around_the_end(logits, tokens, router_logits, top_k, alpha, beta):
    targets = torch.cat([tokens[:, 1:], tokens[:, :1]], dim=1)
    return F.cross_entropy(logits.transpose(1, 2), targets) + _router(router_logits, top_k, alpha, beta)


def _router(router_logits, top_k, alpha, beta):
    """The right router losses."""
    return sum(alpha * _load(z, top_k) + beta * z.logsumexp(dim=-1).square().mean() for z in router_logits)


def _load(logits, top_k):
    f = torch.bincount(logits.topk(top_k).indices.flatten(), minlength=logits.shape[1])
    return logits.shape[1] * (f / f.sum() * logits.softmax(dim=-1).mean(dim=0)).sum()


def loss_in_one_pool(times, z_too):
    def training_loss(logits, tokens, router_logits, top_k, alpha, beta):
        n = len(router_logits)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        z_loss = router_logits.logsumexp(dim=-1).square().mean() * (1 if z_too else n)
        return loss + alpha * (n if times else 1) * _load(router_logits.flatten(0, 1), top_k) + beta * z_loss

    return training_loss


def share_of(scale):
    def expert_information(experts, labels, shuffles):
        def share(labels):
            joint = torch.zeros(int(experts.max()) + 1, int(labels.max()) + 1, dtype=torch.float64)
            joint.index_put_((experts, labels), torch.ones(len(labels), dtype=torch.float64), accumulate=True)
            he, hl, both = (_bits(x / len(labels)) for x in (joint.sum(1), joint.sum(0), joint.flatten()))
            return (he + hl - both) / scale(he, hl)

        return share(labels), sum(share(labels[order]) for order in shuffles) / len(shuffles)

    return expert_information


def _bits(p):
    return -(p[p > 0] * p[p > 0].log2()).sum().item()


WRONG = {
    "06.bias_step": {
        "softmax_weights": softmax_for_sigmoid(rescale=True),
        "softmax_weights:as they are": softmax_for_sigmoid(rescale=False),
    },
    "06.noisy_topk": {
        "own_noise": draws_noise(torch.randn_like),
        "own_noise:uniform": draws_noise(torch.rand_like),
        "own_noise:normal": draws_noise(lambda x: torch.randn(x.shape)),
    },
    "06.leaks_future": {
        "none_leaky:sums": looks_at_sums,
        "tail_reordered": tail_turned_round(_shuffled),
        "tail_reordered:flipped": tail_turned_round(lambda tail: tail.flip(0)),
        "tail_reordered:rolled": tail_turned_round(lambda tail: tail.roll(1, dims=0)),
    },
    "07.positions": {
        "left_sorted": positions_as_sorted,
        "longest_queue": positions_of_the_longest(before=True),
        "longest_queue:with itself": positions_of_the_longest(before=False),
    },
    "07.expected_drop_rate": {"poisson:up to T": poisson_to_t},
    "07.assignment": {"best_pair_first": pairs_in_order},
    "08.grouped_product": {
        "tail_not_zero:times a mask": product_times_a_mask,
        "one_too_many:owned rows only": product_left_side,
    },
    "10.bits_per_byte": {"shifted": bits_shifted(True), "shifted:real logits": bits_shifted(False)},
    "10.causal_attention": {
        "own_place_left_out": attends_to_the_past("itself"),
        "own_place_left_out:NaN": attends_to_the_past("NaN"),
        "own_place_left_out:all": attends_to_the_past("all"),
        "own_place_left_out:nothing": attends_to_the_past("nothing"),
    },
    "10.training_loss": {
        "wraps_around": loss_around_the_end,
        "pooled:times the layers": loss_in_one_pool(times=True, z_too=False),
        "pooled:z too": loss_in_one_pool(times=False, z_too=True),
    },
    "10.expert_information": {
        "normalised:labels": share_of(lambda e, c: c),
        "normalised:experts": share_of(lambda e, c: e),
        "normalised:smaller": share_of(min),
        "normalised:larger": share_of(max),
        "normalised:root": share_of(lambda e, c: math.sqrt(e * c)),
    },
}
"""By exercise; each lesson's module adds what is its own."""


def add_to(wrong):
    """Put these beside a lesson's other planted answers."""
    for exercise in wrong:
        wrong[exercise] = {**wrong[exercise], **WRONG.get(exercise, {})}
