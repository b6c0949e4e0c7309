"""More answers to lesson 06, found by trying what learners are likely to write."""

import math

import torch
import torch.nn.functional as F
from planted import routing_zoo_leaks as leaks


def bias_step(weights=True, minlength=True):
    """The step with one slip: plain scores as weights, or a count that ends early."""

    def step(logits_TE, expert_bias_E, top_k, rate):
        s = logits_TE.sigmoid()
        ids = (s + expert_bias_E).topk(top_k).indices
        w = s.gather(1, ids)
        if weights:
            w = w / w.sum(1, keepdim=True)
        load = (
            torch.bincount(ids.view(-1), minlength=s.shape[1]) if minlength else torch.bincount(ids.view(-1))
        )
        load = load.float()
        return ids, w, expert_bias_E + rate * (load.mean() - load).sign()

    return step


def noisy(noise):
    """Noisy top-k with a noise of one's own making."""

    def gate(logits_TE, noise_logits_TE, noise_TE, top_k, training):
        h = noise(logits_TE, noise_logits_TE, noise_TE) if training else logits_TE
        values, ids = h.topk(top_k, dim=1)
        return ids, F.softmax(values, dim=1)

    return gate


def zero_over_zero(logits_TE, experts_per_token):
    p = logits_TE.softmax(1)
    n = len(p) * experts_per_token // p.shape[1]
    w = p * torch.zeros_like(p).scatter(0, p.topk(n, dim=0).indices, 1.0)
    return w / w.sum(1, keepdim=True)


def groups(choose_biased=True, use_bias=True, stretch="interleave", rescale=True, local=False):
    """Group-limited routing with one slip."""

    def gate(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
        x = scores_TE + expert_bias_E if use_bias else scores_TE
        grouped = x.reshape(len(x), n_groups, -1)
        best = grouped.topk(2).values.sum(-1).topk(groups_per_token).indices
        if local:
            kept = grouped.gather(1, best.unsqueeze(-1).expand(-1, -1, grouped.shape[-1]))
            ids = kept.reshape(len(x), -1).topk(top_k).indices
        else:
            allowed = torch.zeros(len(x), n_groups, dtype=torch.bool)
            allowed.scatter_(1, best, True)
            size = x.shape[1] // n_groups
            mask = allowed.repeat(1, size) if stretch == "tile" else allowed.repeat_interleave(size, dim=1)
            ranked = x if choose_biased else scores_TE
            ids = ranked.masked_fill(~mask, float("-inf")).topk(top_k).indices
        w = scores_TE.gather(1, ids)
        return ids, w / w.sum(1, keepdim=True) if rescale else w

    return gate


def balanced(rounds_of=lambda rounds: rounds, rows_first=False):
    def plan(logits_TE, rounds):
        n, e = logits_TE.shape
        log_plan = logits_TE
        for _ in range(rounds_of(rounds)):
            if rows_first:
                log_plan = log_plan - torch.logsumexp(log_plan, 1, keepdim=True)
            log_plan = log_plan - torch.logsumexp(log_plan, 0) + math.log(n / e)
            if not rows_first:
                log_plan = log_plan - torch.logsumexp(log_plan, 1, keepdim=True)
        return log_plan.exp()

    return plan


WRONG = {
    "06.bias_step": {
        "not_rescaled": bias_step(weights=False),
        "no_minlength": bias_step(minlength=False),
    },
    "06.noisy_topk": {
        "softplus_of_product": noisy(lambda z, s, e: z + F.softplus(e * s)),
        "variance": noisy(lambda z, s, e: z + e * F.softplus(s).sqrt()),
        "other_squashing": noisy(lambda z, s, e: z + e * torch.sigmoid(s)),
        "other_squashing:relu": noisy(lambda z, s, e: z + e * s.clamp(min=0)),
        "no_noise_drawn": noisy(lambda z, s, e: z + F.softplus(s)),
        "times_the_logit": noisy(lambda z, s, e: z + z * e * F.softplus(s)),
        "all_added": noisy(lambda z, s, e: z + e + F.softplus(s)),
    },
    "06.expert_choice": {"rescaled_to_nan": zero_over_zero},
    "06.group_limited": {
        "tiled_mask": groups(stretch="tile"),
        "unbiased_choice": groups(choose_biased=False),
        "no_bias": groups(use_bias=False),
        "not_rescaled": groups(rescale=False),
        "ids_within_groups": groups(local=True),
    },
    "06.sinkhorn": {
        "rounds_ignored": balanced(lambda rounds: 100),
        "rows_first": balanced(rows_first=True),
        "one_round_more": balanced(lambda rounds: rounds + 1),
    },
    "06.leaks_future": {
        "all_leaky:says yes": leaks.says_yes,
        "all_leaky:writes into the example": leaks.writes_into_the_example,
        "all_leaky:compares the changed": leaks.compares_the_changed,
        "choice_not_moved:nudges": leaks.nudges,
        "one_token_changed:each once": leaks.each_token_once,
        "one_token_changed:last, once": leaks.last_token(1),
        "one_token_changed:last, often": leaks.last_token(50),
        "one_token_changed:last, large": leaks.last_token(50, 10.0),
        "one_position:once": leaks.second_half(1),
        "one_position:often, large": leaks.second_half(200, 5.0),
    },
}
