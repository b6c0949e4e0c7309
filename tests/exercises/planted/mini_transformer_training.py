"""Answers to lesson 10's attention and training step as learners write them."""

import math

import numpy as np
import torch
import torch.nn.functional as F

# 10.causal_attention


def attention_in_one_call(q_BHLP, k_BGLP, v_BGLP):
    return F.scaled_dot_product_attention(q_BHLP, k_BGLP, v_BGLP, is_causal=True, enable_gqa=True)


def attention_by_place(q_BHLP, k_BGLP, v_BGLP):
    B, H, L, P = q_BHLP.shape
    group = H // k_BGLP.shape[1]
    rows = []
    for b in range(B):
        for h in range(H):
            k, v = k_BGLP[b, h // group], v_BGLP[b, h // group]
            for place in range(L):
                weights = torch.softmax(k[: place + 1] @ q_BHLP[b, h, place] / P**0.5, dim=0)
                rows.append(weights @ v[: place + 1])
    return torch.stack(rows).reshape(B, H, L, P)


def attention_grouped_axes(q_BHLP, k_BGLP, v_BGLP):
    B, H, L, P = q_BHLP.shape
    G = k_BGLP.shape[1]
    q = q_BHLP.reshape(B, G, H // G, L, P)
    scores = torch.einsum("bgrlp,bgsp->bgrls", q, k_BGLP) * P**-0.5
    scores = scores + torch.full((L, L), float("-inf")).triu(1)
    mixed = torch.einsum("bgrls,bgsp->bgrlp", scores.softmax(-1), v_BGLP)
    return mixed.reshape(B, H, L, P)


def shared(q, *tensors):
    return [t.repeat_interleave(q.size(1) // t.size(1), dim=1) for t in tensors]


def plain_attention(q, k, v, mask, divisor):
    k, v = shared(q, k, v)
    scores = q @ k.mT / divisor
    scores[..., ~mask] = -1e30
    return F.softmax(scores, -1) @ v


def lower(q):
    return torch.tril(torch.ones(q.size(2), q.size(2))).bool()


def attention_without_mask(q, k, v):
    k, v = shared(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def attention_backwards(q, k, v):
    return plain_attention(q, k, v, torch.triu(torch.ones(q.size(2), q.size(2))).bool(), math.sqrt(q.size(3)))


def attention_masked_after(q, k, v):
    k, v = shared(q, k, v)
    weights = F.softmax(q @ k.mT / math.sqrt(q.size(-1)), dim=-1)
    return weights.masked_fill(~lower(q), 0) @ v


def attention_zero_scores(q, k, v):
    k, v = shared(q, k, v)
    scores = (q @ k.mT / math.sqrt(q.size(-1))).masked_fill(~lower(q), 0)
    return F.softmax(scores, dim=-1) @ v


def attention_unscaled(q, k, v):
    return plain_attention(q, k, v, lower(q), 1.0)


def attention_over_p(q, k, v):
    return plain_attention(q, k, v, lower(q), q.size(-1))


def attention_over_width(q, k, v):
    return plain_attention(q, k, v, lower(q), math.sqrt(q.size(1) * q.size(3)))


def attention_tiled(q, k, v):
    times = q.size(1) // k.size(1)
    return plain_attention(
        q, torch.cat([k] * times, 1), torch.cat([v] * times, 1), lower(q), q.size(-1) ** 0.5
    )


def attention_wrong_axis(q, k, v):
    k, v = shared(q, k, v)
    scores = (q @ k.mT / math.sqrt(q.size(-1))).masked_fill(~lower(q), -1e30)
    return torch.softmax(scores, dim=2) @ v


def attention_heads_do_not_fit(q_BHLP, k_BGLP, v_BGLP):
    scores = q_BHLP @ k_BGLP.transpose(2, 3) / q_BHLP.shape[-1] ** 0.5
    return scores.masked_fill(~lower(q_BHLP), -torch.inf).softmax(-1) @ v_BGLP


# 10.training_step


def three_steps(weight, inputs, targets, peak, warmup, max_norm, *, order="abcd", **changes):
    """The loop with torch's own optimizer, and one thing changed."""
    weight = torch.nn.Parameter(weight.clone())
    optimizer = torch.optim.SGD([weight], lr=peak)
    for s in range(len(inputs)):
        rate = changes.get("rate", lambda s: peak * min(1.0, (s + 1) / warmup))(s)
        optimizer.param_groups[0]["lr"] = rate
        n_real = (targets[s] != -100).sum()
        for x, t in zip(inputs[s], targets[s], strict=True):
            loss = changes.get("loss", lambda x, t, n, m: summed(x, t) / n)(
                x @ weight.T, t, n_real, len(inputs[s])
            )
            loss.backward()
            if changes.get("clip") == "inside":
                torch.nn.utils.clip_grad_norm_([weight], max_norm)
            if changes.get("step") == "inside":
                torch.nn.utils.clip_grad_norm_([weight], max_norm)
                optimizer.step()
                optimizer.zero_grad()
        if changes.get("step") == "inside":
            continue
        if changes.get("clip") == "values":
            torch.nn.utils.clip_grad_value_([weight], max_norm)
        elif changes.get("clip") == "scaled":
            weight.grad *= max_norm / weight.grad.norm()
        elif changes.get("clip") != "late" and changes.get("clip") != "inside":
            torch.nn.utils.clip_grad_norm_([weight], max_norm)
        optimizer.step()
        if changes.get("clip") == "late":
            torch.nn.utils.clip_grad_norm_([weight], max_norm)
        if changes.get("clear", True):
            optimizer.zero_grad()
    return weight.detach()


def summed(logits, targets):
    return F.cross_entropy(logits, targets, ignore_index=-100, reduction="sum")


def step_with_torch(*args):
    return three_steps(*args)


def step_by_hand(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    weight = weight_VD.clone()
    for s, (x, t) in enumerate(zip(inputs_SMND.flatten(1, 2), targets_SMN.flatten(1, 2), strict=True)):
        real = t >= 0
        x, t = x[real], t[real]
        error = (x @ weight.T).softmax(-1)
        error[torch.arange(len(t)), t] -= 1
        gradient = error.T @ x / len(t)
        norm = gradient.norm()
        if norm > max_norm:
            gradient *= max_norm / norm
        weight -= (peak if s >= warmup_steps else peak * (s + 1) / warmup_steps) * gradient
    return weight


def step_in_numpy(weight_VD, inputs_SMND, targets_SMN, peak, warmup_steps, max_norm):
    w = weight_VD.numpy().astype(np.float64)
    for s in range(len(inputs_SMND)):
        g, n = np.zeros_like(w), 0
        for x, t in zip(inputs_SMND[s].numpy(), targets_SMN[s].numpy(), strict=True):
            for row, target in zip(x, t, strict=True):
                if target == -100:
                    continue
                z = w @ row
                p = np.exp(z - z.max())
                p /= p.sum()
                p[target] -= 1
                g += np.outer(p, row)
                n += 1
        g /= n
        g *= min(1, max_norm / np.linalg.norm(g))
        w -= peak * min(1, (s + 1) / warmup_steps) * g
    return w


def mean_loss(logits, targets):
    return F.cross_entropy(logits, targets, ignore_index=-100)


def step_mean_of_means(*args):
    return three_steps(*args, loss=lambda x, t, n, m: mean_loss(x, t) / m)


def step_means_added(*args):
    return three_steps(*args, loss=lambda x, t, n, m: mean_loss(x, t))


def step_padding_counted(*args):
    return three_steps(*args, loss=lambda x, t, n, m: summed(x, t) / (m * len(t)))


def step_every_micro_batch(*args):
    return three_steps(*args, step="inside")


def step_clips_inside(*args):
    return three_steps(*args, clip="inside")


def step_clips_too_late(*args):
    return three_steps(*args, clip="late")


def step_clips_values(*args):
    return three_steps(*args, clip="values")


def step_always_scales(*args):
    return three_steps(*args, clip="scaled")


def step_never_clears(*args):
    return three_steps(*args, clear=False)


def step_late_rate(*args):
    peak, warmup = args[3:5]
    return three_steps(*args, rate=lambda s: peak * min(1, s / warmup))


def step_without_warm_up(*args):
    return three_steps(*args, rate=lambda s: args[3])


def step_rises(*args):
    return three_steps(*args, rate=lambda s: args[3] * (s + 1) / args[4])


def step_in_place(weight_VD, *args):
    result = three_steps(weight_VD, *args)
    weight_VD.copy_(result)
    return weight_VD


RIGHT = {
    "10.causal_attention": [attention_in_one_call, attention_by_place, attention_grouped_axes],
    "10.training_step": [step_with_torch, step_by_hand, step_in_numpy],
}
WRONG = {
    "10.causal_attention": {
        "no_mask": attention_without_mask,
        "sees_the_future": attention_backwards,
        "masked_after": attention_masked_after,
        "masked_with_zero": attention_zero_scores,
        "no_scale": attention_unscaled,
        "scaled_by_width": attention_over_p,
        "scaled_by_the_model": attention_over_width,
        "heads_in_turn": attention_tiled,
        "softmax_over_queries": attention_wrong_axis,
        "heads_not_shared": attention_heads_do_not_fit,
    },
    "10.training_step": {
        "mean_of_means": step_mean_of_means,
        "means_added": step_means_added,
        "padding_counted": step_padding_counted,
        "step_per_micro_batch": step_every_micro_batch,
        "clipped_each_time": step_clips_inside,
        "not_clipped": step_clips_too_late,
        "clipped_by_value": step_clips_values,
        "always_rescaled": step_always_scales,
        "never_cleared": step_never_clears,
        "rate_too_late": step_late_rate,
        "no_warm_up": step_without_warm_up,
        "rises_for_ever": step_rises,
        "arguments_changed": step_in_place,
    },
}
