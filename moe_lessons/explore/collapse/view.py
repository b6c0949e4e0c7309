"""The collapse race's pictures: lanes of load, effective experts of all seeds, and the static strip."""

from moe_lessons.explore.collapse.state import STEPS, E, Params, State, simulate
from moe_lessons.svg import ACCENT, Drawing, color, element, figure, marker, num, rim, text

INK, MUTED, FAINT = "#1a1a1a", "#595959", "#d9d9d9"


def draw(state: State) -> str:
    """Draw one frame: a lane per expert on the left, all seeds on the right, a question below.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    return _frame(state, len(STEPS))


def waiting(state: State) -> str:
    """Draw the frame with no more than the steps so far: where the curves end is to be predicted.

    Examples
    --------
    >>> len(waiting(simulate(Params()))) < len(draw(simulate(Params())))
    True
    """
    return _frame(state, state.place + 1)


def _frame(state: State, n_places: int) -> str:
    p = state.params
    mine = state.effective_S[p.seed]
    title = f"Step {p.step}, mu={p.mu:g}, K={p.k}: seed {p.seed} uses {mine:.1f} of {E} experts"
    right = _curves(state, 448, 34, 258, 236, large=True, n_places=n_places)
    return figure(720, 330, title, _in_words(state), _lanes(state) + right, caption=question(state)).svg


def question(state: State) -> str:
    """Ask what to look at next, given where the controls stand.

    Examples
    --------
    >>> question(simulate(Params()))
    'What is going on? Nothing yet. Who is ahead, and will that decide the race?'
    """
    p = state.params
    idle = sum(share == 0 for share in state.shares_E)
    if p.step == 0 and state.median < 4:
        return "What is going on? No step has been taken. What made the load uneven, if not training?"
    if p.step == 0:
        return "What is going on? Nothing yet. Who is ahead, and will that decide the race?"
    if idle and p.step < 200:
        return f"What is going on? {_experts(idle)} without a row. Does any come back if you go on?"
    if idle:
        return f"What is going on? {_experts(idle)} without a row at the end. Was the winner ahead at step 0?"
    if state.median > 7:
        return "What is going on? Nothing collapses here. Which one change makes it collapse?"
    return "What is going on? All experts are alive. Do the other seeds agree?"


def _experts(n: int) -> str:
    return f"{n} expert{'' if n == 1 else 's'}"


def _lanes(state: State) -> str:
    """A bar per expert: its share now, and a tick where it began."""
    left, full, top = 58.0, 300.0, 34.0
    parts = [text(8, 14, "share of the routed rows (%), mean of the last ten steps", fill=MUTED)]
    for e, (share, first) in enumerate(zip(state.shares_E, state.first_E, strict=True)):
        y = top + 30 * e
        parts.append(marker(e, 22, y + 10, 4.6) + text(34, y + 14.5, str(e)))
        parts.append(element("rect", x=left, y=y, width=full, height=20, fill="#f2f2f2"))
        box = {"x": left, "y": y, "width": max(full * share, 0.5), "height": 20}
        parts.append(element("rect", **box, fill=color(e), **rim(color(e))))
        tick = left + full * first
        parts.append(element("line", x1=tick, x2=tick, y1=y - 3, y2=y + 23, stroke=INK, stroke_width=2))
        label = "no row" if share == 0 else f"{100 * share:.1f}"
        parts.append(text(left + full + 8, y + 14.5, label, font_weight="600" if share == 0 else "400"))
    even, low = left + full / E, top + 30 * E - 4
    parts.append(element("line", x1=even, x2=even, y1=top - 8, y2=low, stroke=INK, stroke_dasharray="2 3"))
    parts.append(text(left, low + 20, f"┆ even share {100 / E:.1f}    ┃ at step 0", fill=MUTED))
    return "".join(parts)


def _curves(
    state: State,
    left: float,
    top: float,
    width: float,
    height: float,
    *,
    large: bool,
    n_places: int = len(STEPS),
) -> str:
    """Effective experts over the steps: every seed thin, the median or the chosen seed thick."""
    parts = []

    def x(place: float) -> float:
        return left + width * place / (len(STEPS) - 1)

    def y(value: float) -> float:
        return top + height * (E - value) / (E - 1)

    def curve(values: list[float], **style: str | float) -> str:
        points = " ".join(f"{num(x(i))},{num(y(v))}" for i, v in enumerate(values[:n_places]))
        return element("polyline", points=points, fill="none", **style)

    for tick in range(1, E + 1) if large else (1, 4, 8):
        parts.append(element("line", x1=left, x2=left + width, y1=y(tick), y2=y(tick), stroke=FAINT))
        parts.append(text(left - 6, y(tick) + 4, str(tick), text_anchor="end", fill=MUTED))
    by_seed = [list(column) for column in zip(*state.effective_PS, strict=True)]
    parts += [curve(values, stroke="#8c8c8c", stroke_width=0.9) for values in by_seed]
    middles = [
        sorted(row)[len(row) // 2 - 1] / 2 + sorted(row)[len(row) // 2] / 2 for row in state.effective_PS
    ]
    parts.append(curve(middles, stroke=INK, stroke_width=2.4, stroke_dasharray="7 3"))
    if large:
        parts.append(curve(by_seed[state.params.seed], stroke=ACCENT, stroke_width=2.6))
        now = x(state.place)
        parts.append(element("line", x1=now, x2=now, y1=top - 6, y2=top + height, stroke=INK))
        here = by_seed[state.params.seed][state.place]
        parts.append(element("circle", cx=now, cy=y(here), r=4.5, fill=ACCENT, stroke="#ffffff"))
        parts.append(text(left - 18, 14, "effective experts, exp of the load's entropy", fill=MUTED))
        legend = f"━ seed {state.params.seed}    ╍ median of 16: {state.median:.1f}    ─ the others"
        parts.append(text(left - 18, top + height + 34, legend, fill=MUTED))
    for i in range(0, len(STEPS), 5 if large else 10):
        parts.append(
            text(
                x(i),
                top + height + 16,
                f"step {STEPS[i]}" if i == 0 else str(STEPS[i]),
                text_anchor="middle",
                fill=MUTED,
            )
        )
    return "".join(parts)


def _in_words(state: State) -> str:
    """The rest of the alt text."""
    shares = ", ".join(f"{e}: {100 * share:.1f}" for e, share in enumerate(state.shares_E))
    low, high = min(state.effective_S), max(state.effective_S)
    spread = f"Effective experts of 16 seeds: median {state.median:.1f}, from {low:.1f} to {high:.1f}"
    return f"Load shares (%) {shares}. {spread}. {question(state)}"


def answer(params: Params) -> Drawing:
    """Draw the effective experts of all seeds in one setting.

    Examples
    --------
    >>> answer(Params(step=200))
    mu=4, K=1: effective experts go from 6.7 to 2.8. ...
    """
    state = simulate(params)
    began = simulate(Params(params.mu, params.start, params.k, params.seed, 0)).median
    title = f"mu={params.mu:g}, K={params.k}: effective experts go from {began:.1f} to {state.median:.1f}"
    body = text(8, 14, "effective experts", fill=MUTED) + _curves(state, 34, 28, 420, 190, large=False)
    caption = "Step across, effective experts (exp of the load's entropy) up. Thin: 16 seeds; dashed: median."
    return figure(480, 250, title, caption, body, caption)


PANELS = (
    (Params(0.0, "even", 2), "mu=0, K=2"),
    (Params(0.0, "even", 1), "mu=0, K=1"),
    (Params(2.0, "even", 1), "mu=2, K=1"),
    (Params(4.0, "even", 1), "mu=4, K=1"),
    (Params(4.0, "even, tiny", 1), "mu=4, K=1, tiny"),
    (Params(4.0, "random", 1), "mu=4, K=1, as drawn"),
)
"""The strip's settings and their names."""


def strip() -> Drawing:
    """Draw six settings side by side, from no collapse to one that was there before training.

    Examples
    --------
    >>> strip()
    One model, six settings: some even out, some collapse, one began uneven. ...
    """
    parts, words = [], []
    for i, (params, name) in enumerate(PANELS):
        left, top = 8 + 240 * (i % 3), 182 * (i // 3)
        state = simulate(Params(params.mu, params.start, params.k, 0, 200))
        note = f"{name}: {simulate(params).median:.1f} → {state.median:.1f}"
        parts.append(text(left, top + 13, note, font_weight="600"))
        parts.append(_curves(state, left + 20, top + 28, 188, 122, large=False))
        words.append(note)
    title = "One model, six settings: some even out, some collapse, one began uneven"
    caption = (
        "Step across, effective experts (exp of the load's entropy) up. Thin: 16 seeds; dashed: median, its "
        "first and last value in the heading. Tiny: initial router divided by 100. As drawn: a router that "
        "sees what all tokens share. Where does training lower the line, where does it raise it?"
    )
    return figure(720, 364, title, "; ".join(words) + ". " + caption, "".join(parts), caption)
