"""Exercise 05.balancing_loss: the loss of a model with several layers and padded texts, and its gradient."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from moe_lessons.exercises.load_loss.draws import chosen, kept_weights, lopsided_logits
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Plain


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Several layers, each with its own favourite; some tokens are padding, and padding is routed too."""
    cases = []
    for n_layers, n_tokens, n_experts, top_k, n_padded in [
        (3, 9, 4, 2, 3),
        (2, 7, 5, 1, 2),
        (4, 10, 6, 3, 4),
    ]:
        logits_NTE = lopsided_logits(rng, n_layers, n_tokens, n_experts, lean=1.5)
        for layer in range(n_layers):
            logits_NTE[layer] = np.roll(logits_NTE[layer], layer, axis=-1)
        mask_T = np.ones(n_tokens, dtype=bool)
        mask_T[n_tokens - n_padded :] = False
        # All padding looks alike to a router, so it all goes the same way.
        logits_NTE[:, ~mask_T] = logits_NTE[:, -1:]
        args: dict[str, Plain] = {"logits_NTE": logits_NTE, "mask_T": mask_T, "top_k": top_k}
        name = f"{n_layers} layers, T={n_tokens} of which {n_padded} padding, E={n_experts}, K={top_k}"
        cases.append(Case(name, args))
    return cases


def over_real(values_NTE: Tensor, mask_T: Tensor) -> Tensor:
    """Mean over the real tokens, per layer."""
    return (values_NTE * mask_T[:, None]).sum(dim=1) / mask_T.sum()


def f_of(logits_NTE: Tensor, mask_T: Tensor, top_k: int) -> Tensor:
    """Each expert's share of a layer's real rows."""
    return over_real(chosen(logits_NTE, top_k), mask_T) / top_k


def P_of(logits_NTE: Tensor, mask_T: Tensor, top_k: int) -> Tensor:
    """Mean probability over a layer's real tokens."""
    return over_real(logits_NTE.softmax(dim=-1), mask_T)


def reference(logits_NTE: Tensor, mask_T: Tensor, top_k: int) -> Tensor:
    """E times the sum of f P in each layer; the mean over layers."""
    f_NE, P_NE = f_of(logits_NTE, mask_T, top_k), P_of(logits_NTE, mask_T, top_k)
    return (logits_NTE.shape[-1] * (f_NE * P_NE).sum(dim=-1)).mean()


Factor = Callable[[Tensor, Tensor, int], Tensor]


def _variant(f: Factor = f_of, P: Factor = P_of) -> Factor:
    def wrong(logits_NTE: Tensor, mask_T: Tensor, top_k: int) -> Tensor:
        f_NE, P_NE = f(logits_NTE, mask_T, top_k), P(logits_NTE, mask_T, top_k)
        return (logits_NTE.shape[-1] * (f_NE * P_NE).sum(dim=-1)).mean()

    return wrong


def _pooled(logits_NTE: Tensor, mask_T: Tensor, top_k: int) -> Tensor:
    f_E, P_E = (of(logits_NTE, mask_T, top_k).mean(dim=0) for of in (f_of, P_of))
    return logits_NTE.shape[-1] * (f_E * P_E).sum()


def _overwritten(logits_NTE: Tensor, mask_T: Tensor, top_k: int) -> Tensor:
    """Padding with equal logits, and counted like all others."""
    return reference(logits_NTE * mask_T[:, None], mask_T | True, top_k)


def _zeroed(logits_NTE: Tensor, mask_T: Tensor, top_k: int) -> Tensor:
    """Padding with equal logits, counted in the sums and left out of the number of tokens."""
    zeroed_NTE = logits_NTE * mask_T[:, None]
    f_NE, P_NE = (
        v.sum(dim=1) / mask_T.sum() for v in (chosen(zeroed_NTE, top_k) / top_k, zeroed_NTE.softmax(dim=-1))
    )
    return (logits_NTE.shape[-1] * (f_NE * P_NE).sum(dim=-1)).mean()


def _flat_P(logits_NTE: Tensor, mask_T: Tensor, top_k: int) -> Tensor:
    """Padding with equal logits, so with equal probabilities, in the mean over all T."""
    return (logits_NTE * mask_T[:, None]).softmax(dim=-1).mean(dim=1)


def _everything(factor: Factor) -> Factor:
    """The factor as if every token were real."""
    return lambda logits_NTE, mask_T, top_k: factor(logits_NTE, mask_T | True, top_k)


def _over_all(factor: Factor) -> Factor:
    """Padding set to zero, but still counted in the denominator."""
    return lambda z, mask_T, k: factor(z, mask_T, k) * mask_T.sum() / len(mask_T)


BALANCING_LOSS = Exercise(
    id="05.balancing_loss",
    title="The load-balancing loss",
    task=(
        "Return one scalar: the mean over the N layers of `E · sum(f · P)`. In each layer, `f` is the share "
        "of the routed rows that an expert gets (they sum to 1), `P` the mean probability from the softmax "
        "over all E. Padding (`mask_T` False) counts in neither. Gradients are checked too. (The point is "
        "what becomes of layers and padding: you may copy your `f_and_p` into the cell.)"
    ),
    entry="balancing_loss",
    points=4,
    minutes=15,
    difficulty=3,
    outputs=(Output("loss"), Output("gradient_NTE", "NTE")),
    draw=draw,
    reference=reference,
    driver="gradient",
    options={"wrt": [0]},
    misconceptions=(
        Misconception(
            "pooled",
            "f and P are averaged over the layers before they are multiplied. Layers that each collapse on "
            "*another* expert then look balanced. One loss per layer, then their mean.",
            wrong=_pooled,
            hint=1,
        ),
        Misconception(
            "transformers",
            "This is what transformers computes: all layers in one heap, and f a fraction of the tokens, so "
            "that it sums to K. Layers that each collapse on *another* expert then look balanced. Here: one "
            "loss per layer, then their mean, with f a share of the T·K rows.",
            wrong=lambda z, m, k: k * _pooled(z, m, k),
            hint=1,
        ),
        Misconception(
            "renormalized_P",
            "P is made of the gate's weights, renormalised over the chosen K. An expert that nobody chose "
            "gets no gradient then, and cannot be called back. P takes the softmax over all E.",
            wrong=_variant(P=lambda z, m, k: over_real(kept_weights(z, k), m)),
            hint=2,
        ),
        Misconception(
            "soft_f",
            "f is made of probabilities, so the loss is the sum of P². That evens out the probabilities, and "
            "never looks at who was chosen. f is a count; it has no gradient, and should have none.",
            wrong=_variant(f=P_of),
            hint=2,
        ),
        Misconception(
            "first_choice",
            "f counts only each token's first choice, and the others' work goes unseen. GShard's loss does "
            "that; this f counts all K.",
            wrong=_variant(f=lambda z, m, k: over_real(chosen(z, 1), m)),
            hint=2,
        ),
        Misconception(
            "padding_everywhere",
            "The mask is not used: padding counts in f and in P. All padding goes the same way, so the loss "
            "would push the router to spread out tokens that nobody reads.",
            wrong=_variant(f=_everything(f_of), P=_everything(P_of)),
            hint=3,
        ),
        Misconception(
            "padding_in_f",
            "P leaves the padding out, but f counts it. Then the two factors speak of different tokens.",
            wrong=_variant(f=_everything(f_of)),
            hint=3,
        ),
        Misconception(
            "padding_in_P",
            "f leaves the padding out, but P averages over it. Then the two factors speak of different "
            "tokens.",
            wrong=_variant(P=_everything(P_of)),
            hint=3,
        ),
        Misconception(
            "divided_by_all",
            "Padding was set to zero, but f and P are still divided by all T tokens, so neither sums to 1. "
            "Divide by the number of real ones.",
            wrong=_variant(f=_over_all(f_of), P=_over_all(P_of)),
            hint=3,
        ),
        Misconception(
            "mask_inverted",
            "Only padding was counted: the mask is read the wrong way round. Some codes mark padding with "
            "True; here True marks the real tokens.",
            wrong=lambda z, m, k: reference(z, ~m, k),
            hint=3,
        ),
        Misconception(
            "logits_zeroed",
            "The padding's logits were set to 0, and padding still stands in the sums of f and P, though not "
            "in the number of tokens. Logits of 0 are a vote like any other: 1/E for each expert, and K "
            "chosen. Take the padding out before you count.",
            wrong=_zeroed,
            hint=2,
        ),
        Misconception(
            "logits_overwritten",
            "The padding's logits were overwritten, and then padding was counted all the same. Where all "
            "logits are equal, a softmax gives 1/E to each expert, and top-k still chooses K of them. Leave "
            "padding out of the counts and of the means.",
            wrong=_overwritten,
            also=(_variant(P=_flat_P),),
            hint=3,
        ),
        Misconception(
            "no_E",
            "The factor E is missing, or a mean over the experts has cancelled it. Without it the balanced "
            "value is 1/E, and the same alpha weighs less the more experts there are.",
            wrong=lambda z, m, k: reference(z, m, k) / z.shape[-1],
            hint=1,
        ),
        Misconception(
            "no_K",
            "f is a fraction of the tokens, so it sums to K. That is how transformers computes it, and the "
            "balanced value is K. Here f is a share of the T·K rows.",
            wrong=lambda z, m, k: reference(z, m, k) * k,
            hint=1,
        ),
        Misconception(
            "summed_layers",
            "The layers' losses are added up. That is a fine convention, with alpha chosen for it; here the "
            "mean was asked for.",
            wrong=lambda z, m, k: reference(z, m, k) * len(z),
            hint=1,
        ),
        Misconception(
            "detached",
            "The value is right, but no gradient arrives at the logits. `f` is the factor without one; "
            "through `P` the loss must reach the router. Look for `detach`, `no_grad`, `item`, `.data` or "
            "numpy.",
            wrong=lambda z, m, k: reference(z, m, k).detach(),
            hint=2,
        ),
    ),
    hints=(
        "Per layer there is one f and one P, both [E] and both summing to 1. Compute N losses, then their "
        "mean. With even loads each is 1.",
        "`topk(...).indices` for f, `softmax(dim=-1)` for P: two roads from the same logits, and only the "
        "second has a gradient.",
        "For both factors: `(x_NTE * mask_T[:, None]).sum(dim=1) / mask_T.sum()`, and f also divides by K.",
    ),
    notice=(
        "All layers go through at once, each with an f and a P of its own; a mean over layers *before* "
        "the product would let one layer's overload hide another's."
    ),
)
