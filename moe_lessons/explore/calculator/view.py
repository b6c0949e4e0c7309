"""The calculator's pictures: the live frame, where the cache overtakes the weights, and the static strip."""

from dataclasses import replace

from moe_lessons.explore.calculator.panels import (
    CACHE,
    INK,
    MUTED,
    WEIGHTS,
    billions,
    bytes_dots,
    flops_dots,
    gigabytes,
    tokens,
    waterfall_rows,
)
from moe_lessons.explore.calculator.state import LATENT, Params, State, choose, parts, simulate
from moe_lessons.svg import SERIES, Drawing, element, figure, line_chart, text


def draw(state: State) -> str:
    """Draw one frame: the parameters as a waterfall, then bytes and FLOPs, and a question.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    total, active = state.parameters.total, state.parameters.active
    kind = "" if state.published else ", changed"
    title = (
        f"{state.params.model}{kind}: {billions(total)} parameters, of which a token uses {billions(active)}"
    )
    body = waterfall_rows(state, 0) + bytes_dots(state, 8, 220) + flops_dots(state, 372, 220)
    return figure(720, 344, title, _in_words(state), body, caption=question(state)).svg


def waiting(state: State) -> str:
    """Draw the frame without the context from which on the cache outweighs: that is to be predicted.

    Examples
    --------
    >>> "196,533" in draw(simulate(Params())), "196,533" in waiting(simulate(Params()))
    (True, False)
    """
    return draw(replace(state, outweighs_at=None))


def question(state: State) -> str:
    """Ask what to look at next, given where the controls stand.

    Examples
    --------
    >>> question(simulate(Params(context=2**18)))[:32]
    'The cache of one text now weighs'
    """
    p = state.params
    if state.cache_bytes > state.active_bytes:
        return "The cache of one text now weighs more than what a token touches. Which control shrinks it?"
    if p.latent_cache:
        return (
            f"What is going on? {LATENT} numbers per layer and token, whatever the number of heads. How far?"
        )
    if state.published:
        return "What moves when you drag E? What with K? What with the context? Try one at a time."
    return "What moved, and what stayed where it was? Predict the next drag before you make it."


def _in_words(state: State) -> str:
    listed = ", ".join(f"{name}: {billions(n)}" for name, n in parts(state))
    return (
        f"{listed}. Weights {gigabytes(state.weight_bytes)}, active weights {gigabytes(state.active_bytes)}, "
        f"KV cache of one text of {tokens(state.params.context)} {gigabytes(state.cache_bytes)}; "
        f"{state.flops.total / 1e9:.1f} GFLOP for one new token."
    )


def crossing(latent: bool = True) -> Drawing:
    """Draw the cache of one text against the weights that a token of Mixtral touches.

    Examples
    --------
    >>> crossing()
    Mixtral's KV cache outweighs its active weights from 196,533 tokens on, an MLA cache from 698,781. ...
    """
    contexts = [2**13 * i for i in range(0, 101, 4)]
    kinds = {"KV cache": False} | ({"MLA cache": True} if latent else {})
    first = simulate(Params())
    lines = {
        name: (
            [c / 1000 for c in contexts],
            [simulate(Params(context=max(c, 1), latent_cache=kind)).cache_bytes / 1e9 for c in contexts],
        )
        for name, kind in kinds.items()
    }
    at = [simulate(Params(latent_cache=kind)).outweighs_at for kind in kinds.values()]
    title = f"Mixtral's KV cache outweighs its active weights from {tokens(at[0] or 0)} on"
    title += f", an MLA cache from {at[1]:,}" if latent else ""
    return line_chart(
        lines,
        title=title,
        x_label="context (thousands of tokens)",
        y_label="bytes (GB), bf16",
        references={"active weights": first.active_bytes / 1e9},
        caption="One text. MLA cache: 576 numbers per token in each of Mixtral's 32 layers.",
        desc=f"{title}; the active weights take {gigabytes(first.active_bytes)}.",
    )


def waterfall(model: str) -> Drawing:
    """Draw where a published model's parameters are, and which of them a token uses.

    Examples
    --------
    >>> waterfall("Mixtral-8x7B")
    Most of Mixtral-8x7B's 46.7 B parameters are experts a token does not use. ...
    """
    state = simulate(choose(Params(), model))
    listed = ", ".join(f"{name}: {billions(n)}" for name, n in parts(state))
    title = (
        f"Most of {model}'s {billions(state.parameters.total)} parameters are experts a token does not use"
    )
    return figure(720, 216, title, f"{listed}.", waterfall_rows(state, 0))


STEPS = (
    ("E × 2", "16 experts for 8", Params(n_experts=16)),
    ("K × 2", "4 per token for 2", Params(top_k=4)),
    ("context × 8", "32,768 tokens for 4,096", Params(context=32768)),
    ("MLA cache", "576 numbers for 2,048", Params(latent_cache=True)),
)


def strip() -> Drawing:
    """Draw what each control buys, as multiples of the published Mixtral at 4,096 tokens.

    Examples
    --------
    >>> strip()
    E buys memory, K buys FLOPs, context buys cache. E × 2: weights 1.97, FLOPs 1.00, cache 1.00; ...
    """
    base = simulate(Params())
    out, said = [], []
    for i, (name, note, params) in enumerate(STEPS):
        left, top = 8 + 360 * (i % 2), 8 + 142 * (i // 2)
        state = simulate(params)
        ratios = (
            ("weights", state.weight_bytes / base.weight_bytes, WEIGHTS),
            ("FLOPs", state.flops.total / base.flops.total, SERIES[2]),
            ("cache", state.cache_bytes / base.cache_bytes, CACHE),
        )
        said.append(f"{name}: " + ", ".join(f"{what} {ratio:.2f}" for what, ratio, _ in ratios))
        out.append(text(left, top + 13, f"{name}  ", font_weight="700"))
        out.append(text(left + 86, top + 13, note, fill=MUTED))
        one = left + 64 + 28
        out.append(
            element("line", x1=one, x2=one, y1=top + 22, y2=top + 108, stroke=INK, stroke_dasharray="3 3")
        )
        out.append(text(one, top + 122, "× 1", text_anchor="middle", fill=MUTED, font_size=11))
        for row, (what, ratio, fill) in enumerate(ratios):
            y = top + 24 + 28 * row
            out.append(text(left, y + 15, what))
            out.append(element("rect", x=left + 64, y=y, width=28 * ratio, height=20, fill=fill))
            out.append(text(left + 70 + 28 * max(ratio, 1), y + 15, f"× {ratio:.2f}"))
    caption = (
        "Mixtral-8x7B in bf16, one text of 4,096 tokens, is × 1: all weights, FLOPs for one new token, KV "
        "cache. One control is changed in each panel. The cache outweighs the active weights from "
        f"{base.outweighs_at:,} tokens on; MLA moves that to {simulate(STEPS[3][2]).outweighs_at:,}."
    )
    return figure(
        720,
        288,
        "E buys memory, K buys FLOPs, context buys cache",
        "; ".join(said) + f". {caption}",
        "".join(out),
        caption,
    )
