"""Answers to 10.bits_per_byte as learners write them: wrong ones by misconception, and right ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def bits_flat_cross_entropy(logits_WLV, targets_WL, lengths_W):
    targets = targets_WL.clone()
    for w, n in enumerate(lengths_W.tolist()):
        targets[w, n:] = -100
    return F.cross_entropy(logits_WLV.flatten(0, 1), targets.flatten()).item() / np.log(2)


def bits_by_hand(logits_WLV, targets_WL, lengths_W):
    bits, count = 0.0, 0
    for window, targets, n in zip(logits_WLV, targets_WL, lengths_W, strict=True):
        for row, target in zip(window[: int(n)], targets, strict=False):
            probabilities = torch.exp(row.double() - row.double().max())
            probabilities /= probabilities.sum()
            bits -= math.log2(probabilities[target])
            count += 1
    return torch.tensor(bits / count)


def window_nats(logits, targets, n):
    return F.cross_entropy(logits[:n], targets[:n])


def bits_mean_of_means(logits_WLV, targets_WL, lengths_W):
    per_window = [window_nats(*w) for w in zip(logits_WLV, targets_WL, lengths_W, strict=True)]
    return float(torch.stack(per_window).mean() / math.log(2))


def all_nats(logits_WLV, targets_WL, lengths_W):
    parts = zip(logits_WLV, targets_WL, lengths_W, strict=True)
    return torch.cat([F.cross_entropy(x[:n], t[:n], reduction="none") for x, t, n in parts])


def bits_nats(*args):
    return all_nats(*args).mean().item()


def bits_times(*args):
    return all_nats(*args).mean().item() * np.log(2).item()


def bits_decimal(logits_WLV, targets_WL, lengths_W):
    kept = torch.cat([x[:n] for x, n in zip(logits_WLV, lengths_W, strict=True)])
    wanted = torch.cat([t[:n] for t, n in zip(targets_WL, lengths_W, strict=True)])
    logs = F.log_softmax(kept, dim=-1)[torch.arange(len(wanted)), wanted]
    return -logs.mean().item() / math.log(10)


def bits_perplexity(*args):
    return torch.exp(all_nats(*args).mean()).item()


def bits_with_padding(logits_WLV, targets_WL, lengths_W):
    return F.cross_entropy(logits_WLV.transpose(1, 2), targets_WL).item() / math.log(2)


def bits_over_all_positions(logits_WLV, targets_WL, lengths_W):
    return all_nats(logits_WLV, targets_WL, lengths_W).sum().item() / targets_WL.numel() / math.log(2)


def bits_full_only(logits_WLV, targets_WL, lengths_W):
    longest = int(lengths_W.max())
    total = count = 0
    for x, t, n in zip(logits_WLV, targets_WL, lengths_W.tolist(), strict=True):
        if n < longest:
            continue
        total += F.cross_entropy(x, t, reduction="sum").item()
        count += n
    return total / count / math.log(2)


def bits_log_of_mean(*args):
    return -torch.log2(torch.exp(-all_nats(*args)).mean()).item()


def bits_without_zeros(logits_WLV, targets_WL, lengths_W):
    return F.cross_entropy(logits_WLV.flatten(0, 1), targets_WL.flatten(), ignore_index=0).item() / math.log(
        2
    )


def bits_up_to(extra):
    def answer(logits_WLV, targets_WL, lengths_W):
        place = torch.arange(targets_WL.shape[1]).expand_as(targets_WL)
        mask = place < (lengths_W + extra).unsqueeze(1)
        return F.cross_entropy(logits_WLV[mask], targets_WL[mask]).item() / math.log(2)

    return answer


def bits_softmax_log(logits_WLV, targets_WL, lengths_W):
    p = logits_WLV.softmax(-1).gather(2, targets_WL[:, :, None]).squeeze(2)
    total = sum(-p[w, :n].log2().sum() for w, n in enumerate(lengths_W.tolist()))
    return (total / lengths_W.sum()).item()


def bits_own_softmax(logits_WLV, targets_WL, lengths_W):
    e = torch.exp(logits_WLV)
    p = (e / e.sum(-1, keepdim=True)).gather(2, targets_WL[:, :, None]).squeeze(2)
    total = sum(-p[w, :n].log2().sum() for w, n in enumerate(lengths_W.tolist()))
    return (total / lengths_W.sum()).item()


def bits_raw(logits_WLV, targets_WL, lengths_W):
    picked = torch.take_along_dim(logits_WLV, targets_WL[..., None], -1)[..., 0]
    return -(sum(row[:n].sum() for row, n in zip(picked, lengths_W, strict=True)) / lengths_W.sum()).item()


def bits_total(*args):
    return all_nats(*args).sum().item() / math.log(2)


RIGHT = {"10.bits_per_byte": [bits_flat_cross_entropy, bits_by_hand]}
WRONG = {
    "10.bits_per_byte": {
        "mean_of_means": bits_mean_of_means,
        "nats": bits_nats,
        "times_ln2": bits_times,
        "log10": bits_decimal,
        "perplexity": bits_perplexity,
        "padding_scored": bits_with_padding,
        "padding_in_the_mean": bits_over_all_positions,
        "full_windows_only": bits_full_only,
        "mean_probability": bits_log_of_mean,
        "zeros_left_out": bits_without_zeros,
        "one_too_many": bits_up_to(1),
        "one_too_few": bits_up_to(-1),
        "overflows": bits_softmax_log,
        "logits_as_they_are": bits_raw,
        "summed": bits_total,
    },
}
MORE = {"10.bits_per_byte": [("overflows", bits_own_softmax)]}
