"""Exercise 10.training_loss: what `backward()` is called on, and its gradients."""

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F

from moe_lessons.exercises.mini_transformer.draws import spaced_logits
from moe_lessons.exercises.mini_transformer.loss_parts import (
    balance,
    chosen,
    detached,
    huggingface,
    next_byte,
    pooled,
    reference,
    soft_load,
    topk_probabilities,
    with_balance,
    with_z,
    wraps_around,
    z,
)
from moe_lessons.exercises.spec import Case, Crash, Exercise, Misconception, Output, Plain


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Sequences, layers, experts and K of several sizes; large weights, for each term to show."""
    cases = []
    sizes = [(2, 5, 3, 6, 2), (1, 4, 2, 5, 3), (3, 3, 4, 4, 1)]
    for n_sequences, length, n_layers, n_experts, top_k in sizes:
        vocabulary, n_tokens = 11, n_sequences * length
        tokens_BL = rng.integers(0, vocabulary, (n_sequences, length))
        # One layer's experts are shifted on each time: pooled over the layers, their loads look more even.
        router_logits = [spaced_logits(rng, n_tokens, n_experts) for _ in range(n_layers)]
        for layer, logits_TE in enumerate(router_logits):
            logits_TE[:, layer % n_experts] += 3
        router_logits[-1][:, -1] -= 9  # nobody's choice: counts must have a place for it all the same
        args: dict[str, Plain] = {
            "logits_BLV": rng.standard_normal((n_sequences, length, vocabulary)).astype(np.float32),
            "tokens_BL": tokens_BL,
            "router_logits_NTE": np.stack(router_logits),
            "top_k": top_k,
            "alpha": 0.3,
            "beta": 0.1,
        }
        name = f"B={n_sequences}, L={length}, {n_layers} layers, E={n_experts}, K={top_k}"
        cases.append(Case(name, args))
    return cases


TRAINING_LOSS = Exercise(
    id="10.training_loss",
    title="The training loss",
    task=(
        "Return one scalar: the mean cross entropy (nats) of predicting each *next* byte, plus `alpha` times "
        "the load-balancing losses of all layers, plus `beta` times their router z-losses. "
        "`logits_BLV[b, l]` predicts `tokens_BL[b, l + 1]`; a sequence's last position has no target. "
        "In each layer a token goes to the experts of its `top_k` largest logits, and the load-balancing "
        "loss is `E * sum(f * P)`: `f` the share of the T*K routed rows that each expert gets, `P` the mean "
        "over tokens of the softmax over all E. The z-loss of a layer is the mean over tokens of the squared "
        "logsumexp. *Sum* both over the layers. Gradients are checked too."
    ),
    entry="training_loss",
    points=4,
    minutes=20,
    difficulty=3,
    outputs=(
        Output("loss"),
        Output("logits_gradient_BLV", "BLV"),
        Output("router_gradient_NTE", "NTE"),
    ),
    draw=draw,
    reference=reference,
    driver="gradient",
    options={"wrt": [0, 2]},
    misconceptions=(
        Misconception(
            "unshifted",
            "Each position is scored on its own byte, which it was given as input. A model would learn to "
            "copy. The logits at l are for the byte at l + 1: cut the last logits and the first tokens.",
            wrong=lambda x, t, r, k, a, b: (
                F.cross_entropy(x.flatten(0, 1), t.flatten()) + a * balance(r, k).sum() + b * z(r).sum()
            ),
            hint=2,
        ),
        Misconception(
            "shifted_back",
            "The shift goes the wrong way: the logits at l are compared with the byte at l - 1, the past. "
            "Cut the last logits and the first tokens.",
            wrong=lambda x, t, r, k, a, b: (
                F.cross_entropy(x[:, 1:].flatten(0, 1), t[:, :-1].flatten())
                + a * balance(r, k).sum()
                + b * z(r).sum()
            ),
            hint=2,
        ),
        Misconception(
            "wraps_around",
            "The last place of each sequence is asked for the sequence's *first* byte: `roll` brings it "
            "round. The last logits have no target. Cut them off, and the first tokens.",
            wrong=wraps_around,
            hint=2,
        ),
        Misconception(
            "summed_bytes",
            "The cross entropy is summed over bytes. Then a larger batch drowns the router losses; take "
            "the mean.",
            wrong=lambda x, t, r, k, a, b: next_byte(x, t, "sum") + a * balance(r, k).sum() + b * z(r).sum(),
        ),
        Misconception(
            "pooled",
            "The load-balancing loss is taken once, over the tokens of all layers together. Layers that each "
            "collapse on another expert then look balanced. One loss per layer, then the sum.",
            wrong=pooled(),
            also=(pooled(per_layer=True), pooled(z_too=True)),
        ),
        Misconception(
            "layer_mean",
            "The router losses are averaged over the layers. Here they are summed, so each layer's router "
            "feels the same `alpha` however deep the model is.",
            wrong=lambda x, t, r, k, a, b: next_byte(x, t) + a * balance(r, k).mean() + b * z(r).mean(),
        ),
        Misconception(
            "z_layer_mean",
            "The z-losses are averaged over the layers, as `mean()` over `[layers, T]` does. A mean over the "
            "tokens, and then a *sum* over the layers, as for the load-balancing loss.",
            wrong=lambda x, t, r, k, a, b: next_byte(x, t) + a * balance(r, k).sum() + b * z(r).mean(),
        ),
        Misconception(
            "across_sequences",
            "The sequences were laid end to end before the shift, so the last byte of one is asked to "
            "predict the first byte of the next. Cut within each sequence, then flatten.",
            wrong=lambda x, t, r, k, a, b: (
                F.cross_entropy(x.flatten(0, 1)[:-1], t.flatten()[1:])
                + a * balance(r, k).sum()
                + b * z(r).sum()
            ),
            hint=2,
        ),
        Misconception(
            "no_gradient",
            "The number is right, but it carries no gradient: `backward()` would find nothing to do. "
            "`.item()`, `.detach()`, `torch.tensor(...)` and numpy all cut the thread.",
            wrong=lambda *a: reference(*a).detach(),
        ),
        Misconception(
            "topk_probabilities",
            "`P` is the mean of the K renormalised weights. Take the softmax over all E: experts that were "
            "not chosen must feel the loss too.",
            wrong=with_balance(topk_probabilities),
            hint=3,
        ),
        Misconception(
            "soft_load",
            "`f` is made of probabilities, the same as `P`. It counts: which share of the routed rows each "
            "expert really got.",
            wrong=with_balance(lambda r, k: soft_load(r)),
            hint=3,
        ),
        Misconception(
            "no_experts_factor",
            "The factor E is missing. With it a balanced layer has the loss 1, for any number of experts.",
            wrong=with_balance(lambda r, k: balance(r, k) / r.shape[-1]),
        ),
        Misconception(
            "load_sums_to_k",
            "`f` sums to K: rows were divided by T. That is another convention; here `f` is a share of the "
            "T*K routed rows and sums to 1.",
            wrong=with_balance(lambda r, k: k * balance(r, k)),
            hint=3,
        ),
        Misconception(
            "huggingface",
            "This is the load-balancing loss of transformers' Mixtral. It pools the tokens of all layers, "
            "and its load sums to K: another loss than the one asked for, and blind to layers that each "
            "collapse on an expert of their own.",
            wrong=with_balance(huggingface),
        ),
        Misconception(
            "detached",
            "The number is right and the router's gradient is not: `P` was cut off from the graph "
            "(`.detach()`, `no_grad`). `f` counts and has no gradient, so `P` is all that the balancing "
            "loss can push.",
            wrong=with_balance(detached),
            hint=3,
        ),
        Misconception(
            "first_choice_only",
            "`f` counts each token's first choice only. All K choices are routed rows: T*K of them.",
            wrong=with_balance(
                lambda r, k: (
                    r.shape[-1] * (chosen(r, 1).mean(dim=1) * r.softmax(dim=-1).mean(dim=1)).sum(dim=-1)
                )
            ),
            hint=3,
        ),
        Misconception(
            "weights_swapped",
            "`alpha` and `beta` are exchanged: `alpha` belongs to the load-balancing loss, `beta` to the "
            "z-loss.",
            wrong=lambda x, t, r, k, a, b: reference(x, t, r, k, b, a),
        ),
        Misconception(
            "router_losses_only_last",
            "Only the last layer's router losses are in it: each turn of the loop replaced the one before. "
            "Add up.",
            wrong=lambda x, t, r, k, a, b: reference(x, t, r[-1:], k, a, b),
        ),
        Misconception(
            "square_of_the_mean",
            "The logsumexp was averaged and then squared. Large positive and large negative ones would "
            "cancel: square each token's, then take the mean.",
            wrong=with_z(lambda r: r.logsumexp(dim=-1).mean(dim=-1).square()),
        ),
        Misconception(
            "sum_over_tokens",
            "The z-loss is summed over the tokens. Take their mean, so that it does not grow with the batch.",
            wrong=with_z(lambda r: r.logsumexp(dim=-1).square().sum(dim=-1)),
        ),
        Misconception(
            "z_without_square",
            "The z-loss lacks its square. Without it the loss rewards ever more negative logits; squared, it "
            "pulls the logsumexp to 0.",
            wrong=with_z(lambda r: r.logsumexp(dim=-1).mean(dim=-1)),
        ),
        Misconception(
            "z_of_the_bytes",
            "This is the z-loss of the byte logits, which other models use. The router z-loss takes each "
            "layer's router logits.",
            wrong=lambda x, t, r, k, a, b: next_byte(x, t) + a * balance(r, k).sum() + b * z(x.flatten(0, 1)),
        ),
    ),
    crashes=(
        Crash(
            "no_minlength",
            "`f` has one entry for each expert up to the largest id that occurs, and `P` has E: the last "
            "expert was nobody's choice. `bincount` has a `minlength`.",
            pattern=r"size of tensor a .* must match the size of tensor b|inconsistent tensor size",
            hint=3,
        ),
    ),
    hints=(
        "Three terms. Which of them is about bytes, and which two are one number per layer?",
        "`F.cross_entropy(logits, targets)` wants `[N, V]` and `[N]`: cut with `[:, :-1]` and `[:, 1:]`, "
        "then `flatten`.",
        "`f = torch.bincount(ids_TK.flatten(), minlength=E) / ids_TK.numel()` and "
        "`P = logits_TE.softmax(dim=-1).mean(dim=0)`.",
    ),
    notice=(
        "The layers' losses are summed, and `alpha` is tuned for that: with a mean the same `alpha` would "
        "weigh less, by a factor of the number of layers."
    ),
)
