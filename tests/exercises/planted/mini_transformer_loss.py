"""Answers to 10.training_loss as learners write them: wrong ones by misconception, and right ones."""

import torch
import torch.nn.functional as F


def cross_entropy(logits, tokens):
    return F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1))


def layer_balance(logits, k):
    n_experts = logits.shape[-1]
    ids = logits.topk(k).indices
    f = torch.bincount(ids.flatten(), minlength=n_experts) / ids.numel()
    return n_experts * torch.dot(f, logits.softmax(-1).mean(0))


def layer_z(logits):
    return torch.logsumexp(logits, -1).pow(2).mean()


def sums(router, k, alpha, beta):
    return alpha * sum(layer_balance(r, k) for r in router) + beta * sum(layer_z(r) for r in router)


def loss_layers(logits, tokens, router, k, alpha, beta):
    return cross_entropy(logits, tokens) + sums(router, k, alpha, beta)


def loss_by_hand(logits, tokens, router, k, alpha, beta):
    total = torch.zeros(())
    for b in range(tokens.shape[0]):
        for at in range(tokens.shape[1] - 1):
            total = total - torch.log_softmax(logits[b, at], -1)[tokens[b, at + 1]]
    total = total / (tokens.shape[0] * (tokens.shape[1] - 1))
    for layer in router:
        n_tokens, n_experts = layer.shape
        counts = F.one_hot(layer.topk(k).indices, n_experts).sum((0, 1))
        probs = torch.exp(layer) / torch.exp(layer).sum(-1, keepdim=True)
        for e in range(n_experts):
            total = total + alpha * n_experts * counts[e] / (n_tokens * k) * probs[:, e].sum() / n_tokens
        total = total + beta * (torch.log(torch.exp(layer).sum(-1)) ** 2).sum() / n_tokens
    return total


def loss_padded_targets(logits, tokens, router, k, alpha, beta):
    targets = F.pad(tokens[:, 1:], (0, 1), value=-100)
    return F.cross_entropy(logits.transpose(1, 2), targets) + sums(router, k, alpha, beta)


def loss_copy(logits, tokens, *rest):
    return F.cross_entropy(logits.transpose(1, 2), tokens) + sums(*rest)


def loss_past(logits, tokens, *rest):
    return F.cross_entropy(logits[:, 1:].transpose(1, 2), tokens[:, :-1]) + sums(*rest)


def loss_summed(logits, tokens, *rest):
    ce = F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="sum")
    return ce + sums(*rest)


def loss_pooled(logits, tokens, router, k, alpha, beta):
    everything = torch.cat(list(router))
    z = sum(layer_z(r) for r in router)
    return cross_entropy(logits, tokens) + alpha * layer_balance(everything, k) + beta * z


def loss_layer_mean(logits, tokens, router, *rest):
    return cross_entropy(logits, tokens) + sums(router, *rest) / len(router)


def loss_one_z_mean(logits, tokens, router, k, alpha, beta):
    balance = sum(layer_balance(r, k) for r in router)
    return cross_entropy(logits, tokens) + alpha * balance + beta * layer_z(router)


def loss_flat_shift(logits, tokens, *rest):
    flat, targets = logits.reshape(-1, logits.shape[-1]), tokens.reshape(-1)
    return F.cross_entropy(flat[:-1], targets[1:]) + sums(*rest)


def loss_number(*args):
    return torch.tensor(loss_layers(*args).item())


def loss_renormalised(logits, tokens, router, k, alpha, beta):
    balance = 0
    for r in router:
        top, ids = r.topk(k)
        weights = torch.zeros_like(r).scatter(1, ids, top.softmax(-1))
        f = torch.bincount(ids.flatten(), minlength=r.shape[-1]) / ids.numel()
        balance = balance + r.shape[-1] * (f * weights.mean(0)).sum()
    return cross_entropy(logits, tokens) + alpha * balance + beta * sum(map(layer_z, router))


def loss_soft_f(logits, tokens, router, k, alpha, beta):
    p = [r.softmax(-1).mean(0) for r in router]
    balance = sum(len(x) * (x * x).sum() for x in p)
    return cross_entropy(logits, tokens) + alpha * balance + beta * sum(map(layer_z, router))


def loss_without_e(logits, tokens, router, k, alpha, beta):
    return cross_entropy(logits, tokens) + sums(router, k, alpha / router.shape[-1], beta)


def loss_per_token_load(logits, tokens, router, k, alpha, beta):
    balance = 0
    for r in router:
        f = F.one_hot(r.topk(k).indices, r.shape[-1]).sum(1).float().mean(0)
        balance = balance + r.shape[-1] * (f * r.softmax(-1).mean(0)).sum()
    return cross_entropy(logits, tokens) + alpha * balance + beta * sum(map(layer_z, router))


def loss_linear_z(logits, tokens, router, k, alpha, beta):
    z = sum(torch.logsumexp(r, -1).mean() for r in router)
    return cross_entropy(logits, tokens) + alpha * sum(layer_balance(r, k) for r in router) + beta * z


def loss_byte_z(logits, tokens, router, k, alpha, beta):
    z = torch.logsumexp(logits, -1).square().mean()
    return cross_entropy(logits, tokens) + alpha * sum(layer_balance(r, k) for r in router) + beta * z


def loss_with(balance=layer_balance, z=layer_z):
    def answer(logits, tokens, router, k, alpha, beta):
        parts = alpha * sum(balance(r, k) for r in router) + beta * sum(z(r) for r in router)
        return cross_entropy(logits, tokens) + parts

    return answer


def balance_first_choice(logits, k):
    return layer_balance_of(logits, logits.argmax(-1))


def layer_balance_of(logits, ids, minlength=None, cut=False):
    n_experts = logits.shape[-1]
    f = torch.bincount(ids.flatten(), minlength=n_experts if minlength is None else minlength) / ids.numel()
    P = logits.softmax(-1).mean(0)
    return n_experts * (f * (P.detach() if cut else P)).sum()


def balance_short(logits, k):
    return layer_balance_of(logits, logits.topk(k).indices, minlength=0)


def balance_cut(logits, k):
    return layer_balance_of(logits, logits.topk(k).indices, cut=True)


def load_balancing_loss_func(gate_logits, num_experts, top_k):
    """As one finds it in transformers."""
    concatenated = torch.cat(list(gate_logits), dim=0)
    routing_weights = torch.nn.functional.softmax(concatenated, dim=-1)
    _, selected = torch.topk(routing_weights, top_k, dim=-1)
    expert_mask = torch.nn.functional.one_hot(selected, num_experts)
    tokens_per_expert = torch.mean(expert_mask.float(), dim=0)
    router_prob_per_expert = torch.mean(routing_weights, dim=0)
    return torch.sum(tokens_per_expert * router_prob_per_expert.unsqueeze(0)) * num_experts


def loss_pasted(logits, tokens, router, k, alpha, beta):
    pasted = load_balancing_loss_func(tuple(router), router.shape[-1], k)
    return cross_entropy(logits, tokens) + alpha * pasted + beta * sum(map(layer_z, router))


def loss_last_layer(logits, tokens, router, k, alpha, beta):
    for r in router:
        extra = alpha * layer_balance(r, k) + beta * layer_z(r)
    return cross_entropy(logits, tokens) + extra


RIGHT = {"10.training_loss": [loss_layers, loss_by_hand, loss_padded_targets]}
WRONG = {
    "10.training_loss": {
        "unshifted": loss_copy,
        "shifted_back": loss_past,
        "summed_bytes": loss_summed,
        "pooled": loss_pooled,
        "layer_mean": loss_layer_mean,
        "z_layer_mean": loss_one_z_mean,
        "across_sequences": loss_flat_shift,
        "no_gradient": loss_number,
        "topk_probabilities": loss_renormalised,
        "soft_load": loss_soft_f,
        "no_experts_factor": loss_without_e,
        "load_sums_to_k": loss_per_token_load,
        "z_without_square": loss_linear_z,
        "z_of_the_bytes": loss_byte_z,
        "huggingface": loss_pasted,
        "detached": loss_with(balance_cut),
        "first_choice_only": loss_with(balance_first_choice),
        "weights_swapped": lambda x, t, r, k, alpha, beta: loss_layers(x, t, r, k, beta, alpha),
        "router_losses_only_last": loss_last_layer,
        "square_of_the_mean": loss_with(z=lambda r: r.logsumexp(-1).mean() ** 2),
        "sum_over_tokens": loss_with(z=lambda r: (r.logsumexp(-1) ** 2).sum()),
        "no_minlength": loss_with(balance_short),
    }
}
