"""The calculator's pictures: the live frame, where the cache overtakes the weights, and the static strip."""

from dataclasses import replace
from functools import lru_cache

from moe_lessons.explore.calculator.state import LATENT, Params, State, choose, parts, simulate
from moe_lessons.svg import ACCENT, SERIES, Drawing, bar, element, figure, line_chart, text, tint

INK, MUTED, FAINT = "#1a1a1a", "#595959", "#d9d9d9"
LEFT, RIGHT = 168, 560
ROOM = 2.0
"""How far a scale goes: to twice the published model's largest bar. It does not move while one drags."""
WEIGHTS, CACHE, FLOPS = ACCENT, SERIES[3], SERIES[2]
"""The colours of what is counted; no expert has them."""


def draw(state: State) -> str:
    """Draw one frame: the waterfall of parameters, then bytes and FLOPs, and a question.

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
    body = _waterfall(state, 0) + _bytes(state, 8, 238) + _flops(state, 372, 238)
    return figure(720, 372, title, _in_words(state), body, caption=question(state)).svg


def waiting(state: State) -> str:
    """Draw the frame without the context from which on the cache outweighs: that is to be predicted.

    Examples
    --------
    >>> "196,533" in draw(simulate(Params())), "196,533" in waiting(simulate(Params()))
    (True, False)
    """
    return draw(replace(state, outweighs_at=None))


def billions(count: float) -> str:
    """Parameters in billions, with three digits; small numbers in millions.

    Examples
    --------
    >>> billions(46702792704), billions(671026404352), billions(1314816), billions(0)
    ('46.7 B', '671 B', '1.3 M', 'none')
    """
    value = count / 1e9
    if value < 0.0995:
        return f"{1000 * value:.1f} M" if count else "none"
    return f"{value:,.0f} B" if value >= 99.95 else f"{value:.1f} B" if value >= 0.95 else f"{value:.2f} B"


def gigabytes(count: float) -> str:
    """Bytes in GB (10⁹), with about three digits.

    Examples
    --------
    >>> gigabytes(93405585408), gigabytes(536870912)
    ('93.4 GB', '0.54 GB')
    """
    value = count / 1e9
    return f"{value:,.0f} GB" if value >= 99.95 else f"{value:.1f} GB" if value >= 0.95 else f"{value:.2f} GB"


def tokens(count: int) -> str:
    """A number of tokens.

    Examples
    --------
    >>> tokens(196533)
    '196,533 tokens'
    """
    return f"{count:,} tokens"


def question(state: State) -> str:
    """Ask what to look at next, given where the controls stand.

    Examples
    --------
    >>> question(simulate(Params(context=2**18)))[:24]
    'The cache of one text is'
    """
    p = state.params
    if state.cache_bytes > state.active_bytes:
        return (
            "The cache of one text is now heavier than all weights that a token touches. Which control "
            "shrinks it, and which only seems to?"
        )
    if p.latent_cache:
        return (
            f"What is going on? {LATENT} numbers per layer and token, whatever the number of heads. How far?"
        )
    if state.published:
        return "Which bars move when you drag E? Which with K? Which with the context? Try one at a time."
    return "What moved, and what stayed where it was? Predict the next drag before you make it."


def _in_words(state: State) -> str:
    listed = ", ".join(f"{name}: {billions(n)}" for name, n in parts(state))
    return (
        f"{listed}. Weights {gigabytes(state.weight_bytes)}, active weights {gigabytes(state.active_bytes)}, "
        f"KV cache of one text of {tokens(state.params.context)} {gigabytes(state.cache_bytes)}; "
        f"{state.flops.total / 1e9:.1f} GFLOP for one new token."
    )


def _waterfall(state: State, top: float) -> str:
    """Each part begins where the one above it ends; active and total are the sums so far."""
    rows = list(parts(state))
    total, active = state.parameters.total, state.parameters.active
    full = ROOM * published_scale(state.params.model).parameters.total
    scale = (RIGHT - LEFT) / full
    out = [
        text(8, top + 12, "parameters (billions): every part begins where the one above it ends", fill=MUTED)
    ]
    so_far, y = 0, top + 22
    for name, count in (*rows[:-1], ("= active", active), rows[-1], ("= total", total)):
        is_sum = name.startswith("=")
        begin = 0 if is_sum else min(so_far, full)
        fill = INK if is_sum else tint(WEIGHTS, 0.45) if name == rows[-1][0] else WEIGHTS
        weight = "700" if is_sum else "400"
        out.append(text(LEFT - 8, y + 14, name, text_anchor="end", font_weight=weight))
        left = LEFT + begin * scale
        out.append(bar(left, y, 18, count, full - begin or 1.0, RIGHT - left, billions(count), fill))
        if not is_sum:
            so_far += count
            x = LEFT + min(so_far, full) * scale
            out.append(element("line", x1=x, x2=x, y1=y + 18, y2=y + 25, stroke=MUTED))
        y += 25
    return "".join(out)


@lru_cache(maxsize=32)
def published_scale(model: str) -> State:
    """The state that sets a model's scales: its own sizes, bf16, 4,096 tokens of context."""
    return simulate(choose(Params(), model))


def _bytes(state: State, left: float, top: float) -> str:
    p = state.params
    kept = "MLA cache" if p.latent_cache else "KV cache"
    rows = (
        (f"all weights, {p.dtype}", state.weight_bytes, WEIGHTS),
        ("weights one token uses", state.active_bytes, tint(WEIGHTS, 0.7)),
        (f"{kept}, bf16", state.cache_bytes, CACHE),
    )
    far = state.outweighs_at
    note = f"cache of {tokens(p.context)}"
    note += f"; outweighs bar 2 from {far:,}" if far else ""
    full = ROOM * published_scale(p.model).weight_bytes
    return _bars(left, top, "bytes (GB)", full, [(n, v, gigabytes(v), c) for n, v, c in rows], note)


def _flops(state: State, left: float, top: float) -> str:
    rows = (
        ("weights of the layers", state.flops.matrices, WEIGHTS),
        ("head", state.flops.head, tint(WEIGHTS, 0.7)),
        ("attention to the context", state.flops.context, CACHE),
    )
    shown = [(name, value, f"{value / 1e9:,.2f}", fill) for name, value, fill in rows]
    note = f"in all {state.flops.total / 1e9:,.1f} GFLOP; attention grows with the context"
    full = ROOM * published_scale(state.params.model).flops.total
    return _bars(left, top, "FLOPs for one new token (billions)", full, shown, note)


def _bars(
    left: float, top: float, head: str, full: float, rows: list[tuple[str, float, str, str]], note: str
) -> str:
    out = [text(left, top + 12, head, fill=MUTED)]
    for i, (name, value, shown, fill) in enumerate(rows):
        y = top + 22 + 27 * i
        out.append(text(left, y + 14, name))
        out.append(bar(left + 150, y, 18, value, full, 70, shown, fill))
    out.append(text(left, top + 22 + 27 * len(rows) + 15, note, fill=MUTED, font_size=11.5))
    return "".join(out)


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
    return figure(720, 228, title, f"{listed}.", _waterfall(state, 0))


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
            ("FLOPs", state.flops.total / base.flops.total, FLOPS),
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
