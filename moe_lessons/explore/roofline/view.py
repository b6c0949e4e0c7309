"""The decode roofline's pictures: the roof with its dots, what is read, and experts against the batch."""

import math
from dataclasses import replace

from moe_lessons.explore.handles import Along, handle
from moe_lessons.explore.roofline.panels import CURVE, bytes_bar, coverage_curve, frame_words, roof
from moe_lessons.explore.roofline.state import MOST_BATCH, Params, State, covered_at, moe_of, simulate
from moe_lessons.svg import Drawing, element, figure, line_chart
from moe_lessons.svg.palette import ACCENT, PAPER


def draw(state: State) -> str:
    """Draw one frame: the roofline on the left, bytes and experts on the right, a question below.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    p = state.params
    limit = "computing" if state.computes else "reading"
    users = "one user" if p.batch == 1 else f"{p.batch:,} users"
    title = f"{p.model}, {users}: a step takes {1000 * state.step_s:.3g} ms, all of it {limit}"
    body = roof(state) + bytes_bar(state, 392, 24) + coverage_curve(state) + _handle(state)
    return figure(720, 356, title, frame_words(state), body, caption=question(state)).svg


def _handle(state: State) -> str:
    """The dot on the curve, to be dragged along the batch."""
    p = state.params
    x, y = CURVE.x.at(p.batch), CURVE.y.at(state.touched / state.n_experts)
    along = Along("Batch", (CURVE.x.start, CURVE.x.end), (0, math.log2(MOST_BATCH)))
    mark = handle("the batch", {"Batch": math.log2(p.batch)}, x=along)
    return element("circle", cx=x, cy=y, r=7, fill=ACCENT, stroke=PAPER, stroke_width=2, **mark)


def question(state: State) -> str:
    """Ask what to look at next, given where the controls stand.

    Examples
    --------
    >>> question(simulate(Params()))
    'What is going on? One token reads all that for itself. Who would share the bill, and what of it?'
    """
    p = state.params
    share = state.touched / state.n_experts
    if p.gamma and state.speedup < 1.05:
        return (
            "What is going on? The draft brings tokens. What else does it bring, and why not in a dense one?"
        )
    if p.gamma:
        return "At which batch does the draft pay most here, and at which in the dense model?"
    if p.batch == 1:
        return (
            "What is going on? One token reads all that for itself. Who would share the bill, and what of it?"
        )
    if state.cache_bytes > state.shared_bytes + state.expert_bytes:
        return "The caches outweigh the weights. Which part of the bill does a larger batch no longer share?"
    if state.computes:
        return "Now arithmetic takes the time. What would one more user cost everybody else?"
    if share < 0.9:
        return "Each new user still brings experts. What does a doubled batch do to the bytes of one token?"
    return "Nearly all experts are read. What does a doubled batch do to the bytes of one token now?"


STRIP = (
    (Params("DeepSeek-V3", 1), "One user"),
    (Params("DeepSeek-V3", 64), "64 users"),
    (Params("DeepSeek-V3", 1024), "1,024 users"),
    (Params("DeepSeek-V3", 1, gamma=3), "One user, a draft of 3"),
)
"""The strip's settings and their names."""


def strip() -> Drawing:
    """Draw what is read, for a few batches and a draft.

    Examples
    --------
    >>> strip()
    More users share the reading, and a draft shares little. One user: ...
    """
    parts, words = [], []
    for i, (params, name) in enumerate(STRIP):
        state = simulate(params)
        per_token = state.bytes_per_token / 1e9
        parts.append(bytes_bar(state, 8 + 360 * (i % 2), 24 + 132 * (i // 2), name))
        words.append(f"{name}: {per_token:.1f} GB for each token, {state.touched:.0f} of {state.n_experts}")
    caption = (
        "DeepSeek-V3 in bf16, 1,024 tokens of context each. A draft of 3, of which 70 % are kept, brings one "
        f"user {simulate(STRIP[3][0]).speedup:.2f} times as many tokens in the same time; a dense model of "
        f"the same active size {simulate(STRIP[3][0]).dense_speedup:.2f} times as many."
    )
    title = "More users share the reading, and a draft shares little"
    return figure(720, 276, title, "; ".join(words) + f". {caption}", "".join(parts), caption)


def coverage_of(model: str) -> Drawing:
    """Draw how many experts a batch touches.

    Examples
    --------
    >>> coverage_of("DeepSeek-V3")
    90 % of DeepSeek-V3's 256 experts are read from 73 users on. ...
    """
    moe, at = moe_of(model), covered_at(Params(model))
    batches = [2 ** (i / 4) for i in range(37)]
    shares = [100 * simulate(Params(model, round(b))).touched / moe.n_experts for b in batches]
    title = f"90 % of {model}'s {moe.n_experts} experts are read from {at} users on"
    return line_chart(
        {f"top-{moe.top_k}": ([float(round(b)) for b in batches], shares)},
        title=title,
        x_label="users who decode together",
        log_x=True,
        y_label="experts of a layer that are read (%)",
        y_range=(0, 100),
        references={"90 %": 90.0},
        caption="Independent, even choices. Where would the curve of a text's neighbouring tokens lie?",
    )


def per_token(model: str) -> Drawing:
    """Draw bytes for each token, against the batch.

    Examples
    --------
    >>> per_token("DeepSeek-V3")
    From 64 to 128 users, DeepSeek-V3 reads 0.56 times the bytes for each token. ...
    """
    lines = {}
    for name, dense in ((model, False), ("dense", True)):
        at = [2.0**i for i in range(14)]
        lines[name] = (at, [_per_token(Params(model, int(b), context=0), dense) / 1e9 for b in at])
    here, twice = (simulate(Params(model, b, context=0)).bytes_per_token for b in (64, 128))
    title = f"From 64 to 128 users, {model} reads {twice / here:.2f} times the bytes for each token"
    return line_chart(
        lines,
        title=title,
        x_label="users who decode together",
        log_x=True,
        y_label="bytes for each token (GB)",
        log_y=True,
        caption="bf16, without caches. Dense: a model as large as what one token touches.",
    )


def _per_token(params: Params, dense: bool) -> float:
    one = simulate(replace(params, batch=1))
    return one.read_bytes / params.batch if dense else simulate(params).bytes_per_token
