"""Further mistakes in 11.latent_moe: other weights, other activations, rows that meet the wrong weight."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from moe_lessons.exercises.spec import Misconception


def _layer(
    x: Tensor,
    r: Tensor,
    v: Tensor,
    gu: Tensor,
    dn: Tensor,
    u: Tensor,
    k: int,
    *,
    weigh: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
    choose: Callable[[Tensor], Tensor] | None = None,
    halves: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None,
    act: Callable[[Tensor, Tensor], Tensor] | None = None,
    read: Callable[[Tensor], Tensor] | None = None,
    into: Callable[[Tensor], Tensor] | None = None,
    out: Callable[[Tensor, Tensor], Tensor] | None = None,
    back: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The right layer, with any of its steps replaced."""
    x = x if read is None else read(x)
    logits_TE = x @ r.T
    best_TK, ids_TK = logits_TE.topk(k, dim=-1)
    chosen_TK = ids_TK if choose is None else choose(ids_TK)
    weights_TK = best_TK.softmax(-1) if weigh is None else weigh(best_TK, ids_TK, logits_TE)
    latent_TL = x @ v.T if into is None else into(x @ v.T)
    both_TKH = torch.einsum("tl,tkhl->tkh", latent_TL, gu[chosen_TK])
    gate, up = both_TKH.chunk(2, dim=-1) if halves is None else halves(both_TKH)
    hidden = F.silu(gate) * up if act is None else act(gate, up)
    answers_TKL = weights_TK.unsqueeze(-1) * torch.einsum("tkf,tklf->tkl", hidden, dn[chosen_TK])
    sum_TL = answers_TKL.sum(dim=1) if out is None else out(answers_TKL, ids_TK)
    output_TD = sum_TL @ u.T
    return output_TD if back is None else back(output_TD)


def _with(**how: Any) -> Callable[..., Tensor]:
    return lambda *args: _layer(*args, **how)


def _share(positive: Tensor) -> Tensor:
    return positive / positive.sum(dim=-1, keepdim=True)


def _rms(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _rest_is_zero(best: Tensor, ids: Tensor, logits: Tensor) -> Tensor:
    kept = torch.zeros_like(logits).scatter(1, ids, best)
    return kept.softmax(dim=-1).gather(1, ids)


def _by_expert(best: Tensor, ids: Tensor, logits: Tensor) -> Tensor:
    """The k-th largest weight for the k-th smallest id."""
    return best.softmax(-1).gather(1, ids.argsort(-1).argsort(-1))


def _last_by_number(answers: Tensor, ids: Tensor) -> Tensor:
    """A loop over experts that overwrites leaves the expert of the highest number."""
    return answers[torch.arange(len(ids)), ids.argmax(dim=-1)]


def _in_latent(x: Tensor, r: Tensor, v: Tensor, k: int) -> Any:
    """The choice by the first L columns of the router, from the latent."""
    return (x @ v.T @ r[:, : len(v)].T).topk(k, dim=-1)


def _skipping(keep: Callable[[Tensor, int, int], Tensor]) -> Callable[..., Tensor]:
    """Answers of some experts left out."""
    return lambda x, r, *rest: _layer(
        x, r, *rest, out=lambda a, i: (a * keep(i, i.shape[1], len(r)).unsqueeze(-1)).sum(dim=1)
    )


def _weighted_inside_too(
    x: Tensor, r: Tensor, v: Tensor, gu: Tensor, dn: Tensor, u: Tensor, k: int
) -> Tensor:
    best_TK, ids_TK = (x @ r.T).topk(k, dim=-1)
    weights_TK1 = best_TK.softmax(-1).unsqueeze(-1)
    both = torch.einsum("tkl,tkhl->tkh", weights_TK1 * (x @ v.T).unsqueeze(1), gu[ids_TK])
    gate, up = both.chunk(2, dim=-1)
    return (weights_TK1 * torch.einsum("tkf,tklf->tkl", F.silu(gate) * up, dn[ids_TK])).sum(dim=1) @ u.T


LATENT_MISTAKES = (
    Misconception(
        "not_the_softmax",
        "The weights of a token are its logits, or something made of them, over their sum. Here they are a "
        "softmax over the chosen K.",
        wrong=_with(weigh=lambda b, i, z: _share(b)),
        also=(
            _with(weigh=lambda b, i, z: _share(b.sigmoid())),
            _with(weigh=lambda b, i, z: _share(b.abs())),
            _with(weigh=lambda b, i, z: b / b.abs().sum(-1, keepdim=True)),
            _with(weigh=lambda b, i, z: _share(b.relu() + 1e-9)),
            _with(weigh=lambda b, i, z: b.exp()),
        ),
        hint=1,
    ),
    Misconception(
        "softmax_over_tokens",
        "The softmax runs over the tokens: the weights of one *token* should sum to 1. That is the last "
        "axis.",
        wrong=_with(weigh=lambda b, i, z: b.softmax(dim=0)),
        also=(_with(weigh=lambda b, i, z: z.softmax(dim=0).gather(1, i)),),
        hint=1,
    ),
    Misconception(
        "rest_is_zero",
        "What was not chosen got the logit 0 and still has a share of the softmax: e to the 0 is 1. With "
        "-inf it has none; or take the softmax of the chosen K only.",
        wrong=_with(weigh=_rest_is_zero),
        hint=1,
    ),
    Misconception(
        "temperature",
        "The logits were divided before the softmax, as attention does. A router's logits are taken as they "
        "are.",
        wrong=lambda x, *rest: _layer(x, *rest, weigh=lambda b, i, z: (b / x.shape[1] ** 0.5).softmax(-1)),
        also=(
            lambda x, r, v, *rest: _layer(
                x, r, v, *rest, weigh=lambda b, i, z: (b / len(v) ** 0.5).softmax(-1)
            ),
        ),
        hint=1,
    ),
    Misconception(
        "softmax_twice",
        "Two softmaxes, one over all experts and one over the chosen probabilities. That flattens the "
        "weights. The softmax takes the chosen *logits*.",
        wrong=_with(weigh=lambda b, i, z: z.softmax(-1).gather(1, i).softmax(-1)),
        also=(_with(weigh=lambda b, i, z: b.softmax(-1).softmax(-1)),),
        hint=1,
    ),
    Misconception(
        "activation_misplaced",
        "SiLU stands in the wrong place. SwiGLU is `silu(gate) * up`: it acts on the gate's half alone, and "
        "nowhere else in this layer.",
        wrong=_with(act=lambda g, u: F.silu(g * u)),
        also=(
            _with(act=lambda g, u: F.silu(g) * F.silu(u)),
            _with(act=lambda g, u: g * u),
            _with(act=lambda g, u: F.silu(g) + u),
            _with(act=lambda g, u: F.silu(g)),
            _with(into=F.silu),
            _with(into=torch.relu),
            _with(into=F.gelu),
            _with(into=torch.tanh),
            _with(out=lambda a, i: F.silu(a.sum(dim=1))),
            _with(out=lambda a, i: torch.relu(a.sum(dim=1))),
        ),
        hint=2,
    ),
    Misconception(
        "other_gate",
        "The gate's activation is another one. SiLU is x · sigmoid(x): softmax, tanh, ReLU² and the like are "
        "other functions.",
        wrong=_with(act=lambda g, u: g.tanh() * u),
        also=(
            _with(act=lambda g, u: g.softmax(dim=-1) * u),
            _with(act=lambda g, u: g.relu().square() * u),
            _with(act=lambda g, u: F.softplus(g) * u),
            _with(act=lambda g, u: F.gelu(g, approximate="tanh") * u),
            _with(act=lambda g, u: F.leaky_relu(g) * u),
        ),
        hint=2,
    ),
    Misconception(
        "normed",
        "A norm was put in. Real models have one before the layer; this function gets what comes out of it, "
        "and adds none.",
        wrong=_with(into=_norm),
        also=(
            _with(into=_rms),
            _with(read=_norm),
            _with(read=_rms),
            _with(back=_norm),
            _with(back=_rms),
            _with(out=lambda a, i: _norm(a.sum(dim=1))),
            _with(out=lambda a, i: _rms(a.sum(dim=1))),
        ),
        hint=1,
    ),
    Misconception(
        "overwritten",
        "Only one of a token's experts is left in the output: the next one writes over it. The K answers add "
        "up (`+=`, or `index_add`).",
        wrong=_with(out=_last_by_number),
        also=(
            _with(out=lambda a, i: a[:, -1]),
            _with(weigh=lambda b, i, z: torch.ones_like(b), out=_last_by_number),
        ),
        hint=2,
    ),
    Misconception(
        "weights_of_others",
        "The weights meet other experts than they belong to, or one weight is used for all K. The place of "
        "an expert among a token's K says which weight is its own: keep both of `topk`'s results in one "
        "order.",
        wrong=_with(weigh=lambda b, i, z: b.softmax(-1)[:, :1].expand_as(b)),
        also=(
            _with(weigh=_by_expert),
            _with(weigh=lambda b, i, z: b.softmax(-1).flip(-1)),
            _with(weigh=lambda b, i, z: b.softmax(-1)[:, -1:].expand_as(b)),
        ),
        hint=2,
    ),
    Misconception(
        "halves_interleaved",
        "Gate and up were taken in turns, every second row. `gate_up_EHL` holds F gate rows, then F up rows: "
        "`chunk(2)` on that axis.",
        wrong=_with(halves=lambda both: (both[..., 0::2], both[..., 1::2])),
        also=(_with(halves=lambda both: (both[..., 1::2], both[..., 0::2])),),
        hint=2,
    ),
    Misconception(
        "one_choice_for_all",
        "Every token passes the experts that the first token chose. Each row of ids is one token's own.",
        wrong=_with(choose=lambda i: i[:1].expand_as(i)),
        also=(_with(choose=lambda i: i[-1:].expand_as(i)),),
        hint=2,
    ),
    Misconception(
        "smallest_chosen",
        "The experts with the *lowest* logits were chosen. `topk` takes the largest; a sort is ascending "
        "unless told otherwise.",
        wrong=lambda x, r, v, gu, dn, u, k: _layer(
            x,
            r,
            v,
            gu,
            dn,
            u,
            k,
            choose=lambda _: (-(x @ r.T)).topk(k).indices,
            weigh=lambda b, i, z: (-((-z).topk(k).values)).softmax(-1),
        ),
        also=(lambda x, r, v, gu, dn, u, k: _layer(x, -r, v, gu, dn, u, k),),
        hint=1,
    ),
    Misconception(
        "slot_for_expert",
        "The weights of expert 0, 1, ... were used for a token's first, second, ... choice. Which experts "
        "they are is what `topk` returns as indices.",
        wrong=_with(choose=lambda i: torch.arange(i.shape[1]).expand_as(i)),
        hint=2,
    ),
    Misconception(
        "experts_skipped",
        "Some experts are never visited: the last, the first, or all from the K-th on. The loop runs over "
        "all E, and each gives its answer to those who chose it.",
        wrong=_skipping(lambda ids, k, n: ids < n - 1),
        also=(_skipping(lambda ids, k, n: ids < k), _skipping(lambda ids, k, n: ids > 0)),
        hint=2,
    ),
    Misconception(
        "weighted_twice",
        "The weights act twice, on the answer and once more, on the latent or on the sum. Once is enough.",
        wrong=_with(weigh=lambda b, i, z: b.softmax(-1).square()),
        also=(_weighted_inside_too,),
        hint=2,
    ),
    Misconception(
        "another_number_chosen",
        "A token has one expert more than K, or one fewer.",
        wrong=lambda x, r, v, gu, dn, u, k: _layer(x, r, v, gu, dn, u, min(k + 1, len(r))),
        also=(lambda x, r, v, gu, dn, u, k: _layer(x, r, v, gu, dn, u, max(k - 1, 1)),),
        hint=1,
    ),
    Misconception(
        "part_of_the_router",
        "The router reads only some of its D numbers, or the latent with the first L columns. It reads the "
        "token at full width, with all of its row.",
        wrong=lambda x, r, v, *rest: _layer(
            x,
            r,
            v,
            *rest,
            choose=lambda _: _in_latent(x, r, v, rest[-1]).indices,
            weigh=lambda b, i, z: _in_latent(x, r, v, rest[-1]).values.softmax(-1),
        ),
        hint=1,
    ),
)
