"""Budget bench's pictures: a map of widths and experts, bars against their limits, the loss, the prices."""

from moe_lessons.explore.budget.panels import BARS, LOSS, PRICES, bars, loss_line, prices
from moe_lessons.explore.budget.state import EXPERTS, WIDTHS, Cell, Params, State, at_best, simulate
from moe_lessons.explore.handles import Along, handle
from moe_lessons.svg import ACCENT, Drawing, element, figure, marker, text, tint
from moe_lessons.svg.palette import FAINT, INK, MUTED, PAPER

LEFT, TOP = 62.0, 40.0
WIDE, TALL = 20.0, 24.0
SIGNS = {"memory": "M", "seconds": "S", "refused": "·", "fits": "", "good": "●"}
KEYS = (
    "◇ best found, ● within 2 % of it, tinted: fits",
    "M too large, S too slow, · refused: nobody trained such a model",
)
STRIP = (("phone", "A phone"), ("little text", "Little text"), ("long documents", "Long documents"))


def draw(state: State) -> str:
    """Draw one frame: the map on the left, what the design takes and is worth on the right, a question below.

    Examples
    --------
    >>> draw(simulate(Params()))[:4]
    '<svg'
    """
    body = plane(state, LEFT, TOP) + bars(state, *BARS) + loss_line(state, *LOSS) + prices(state, *PRICES)
    return figure(720, 366, heading(state), in_words(state), body, caption=question(state)).svg


def heading(state: State) -> str:
    """Say in one line what the bench says of the design.

    Examples
    --------
    >>> heading(simulate(Params()))
    'phone: does not fit, memory 101 %, time 221 %'
    >>> heading(simulate(Params("small lab", n_experts=8)))
    'small lab: refused, active / all experts is 1: measured from 0.007812 to 0.5'
    """
    name, verdict = state.params.budget, state.verdict
    if verdict.refused:
        return f"{name}: refused, {verdict.refused[0].split(' (')[0]}"
    assert verdict.loss is not None
    assert verdict.uses is not None
    if verdict.over:
        over = ", ".join(f"{_word(one)} {100 * verdict.uses[one]:.0f} %" for one in verdict.over)
        return f"{name}: does not fit, {over}"
    distance = 100 * (verdict.loss / state.best.loss - 1)
    if distance < 0.05:
        return f"{name}: loss {verdict.loss:.3f}, as good as the best that was found"
    return f"{name}: loss {verdict.loss:.3f}, {distance:.1f} % above the best that was found"


def _word(resource: str) -> str:
    return {"seconds": "time", "flops": "compute", "tokens": "text"}.get(resource, resource)


def question(state: State) -> str:
    """Ask what to look at next.

    Examples
    --------
    >>> question(simulate(Params()))
    'M: too large. Which of width, experts and bits frees most memory, and at what cost in loss?'
    """
    verdict = state.verdict
    if verdict.refused and "devices" in verdict.refused[0]:
        return (
            "It cannot be shared out evenly like this. Which layout suits a dense model, and which experts?"
        )
    if verdict.refused:
        return "Nobody has trained a model like this, so that no law speaks of it. Which choice leads back?"
    if "memory" in verdict.over:
        return "M: too large. Which of width, experts and bits frees most memory, and at what cost in loss?"
    if "seconds" in verdict.over:
        return "S: too slow. What does a step read, and which choice shortens that without a smaller model?"
    if verdict.fullest == "flops" and max(state.best.twice, key=state.best.twice.__getitem__) != "flops":
        return "The bar of compute is full. Would more of it help most? Look at what twice as much would buy."
    if state.design.dense and state.params.budget != "little text":
        return "A dense model. What do experts buy on the same device, and what of it is scarce here?"
    if verdict.loss is not None and verdict.loss <= 1.002 * state.best.loss:
        return "As good as it gets. Which bar is full, and is it the one that more of would help?"
    return "It fits. Drag the frame over the map: in which direction does the loss fall, and what stops you?"


def in_words(state: State) -> str:
    """Describe the frame for who cannot see it.

    Examples
    --------
    >>> in_words(simulate(Params()))[:53]
    'Width 2048, 32 experts, 8 a token, 1024 wide, 8 bits.'
    """
    d = state.design
    words = f"Width {d.d_model}, dense, {d.d_expert} wide, {d.bits} bits. "
    if not d.dense:
        words = (
            f"Width {d.d_model}, {d.n_experts} experts, {d.top_k} a token, {d.d_expert} wide, {d.bits} bits. "
        )
    if state.verdict.uses:
        words += "Used: "
        words += ", ".join(f"{_word(name)} {100 * share:.0f} %" for name, share in state.verdict.uses.items())
        words += f". It acts like a dense model of {state.acts_like / 1e9:.2g} billion parameters. "
    return words + question(state)


def plane(state: State, left: float, top: float, *, large: bool = True) -> str:
    """Draw the map: each width and number of experts, with the other choices kept; the chosen one framed."""
    scale = 1.0 if large else 0.62
    wide, tall = WIDE * scale, TALL * scale
    parts = [_cell(cell, wide, tall, large) for cell in state.cells]
    parts += _axes(wide, tall, large)
    best = state.best.design
    column = (best.d_model - WIDTHS[0]) / 512
    row = EXPERTS.index(min(EXPERTS, key=lambda e: abs(e - best.n_experts)))
    x, y = (column + 0.5) * wide, (len(EXPERTS) - row - 0.5) * tall
    parts.append(marker(3, x, y, 6 * scale + 1, fill=PAPER, stroke=INK, stroke_width=2))
    parts.append(_frame(state, wide, tall, large))
    if large:
        parts.append(text(-54, -20, "experts", fill=MUTED, font_size=12.5))
        parts.append(
            text(wide * len(WIDTHS), tall * 8 + 36, "width", text_anchor="end", fill=MUTED, font_size=12.5)
        )
        for line, key in enumerate(KEYS):
            parts.append(text(-54, tall * 8 + 58 + 18 * line, key, fill=MUTED, font_size=12))
    return element("g", "".join(parts), transform=f"translate({left:g} {top:g})")


def _place(d_model: int, n_experts: int, wide: float, tall: float) -> tuple[float, float]:
    return (d_model - WIDTHS[0]) / 512 * wide, (len(EXPERTS) - 1 - EXPERTS.index(n_experts)) * tall


def _cell(cell: Cell, wide: float, tall: float, large: bool) -> str:
    x, y = _place(cell.d_model, cell.n_experts, wide, tall)
    fill = {"good": tint(ACCENT, 0.3), "fits": tint(ACCENT, 0.12)}.get(cell.kind, PAPER)
    box = element("rect", x=x, y=y, width=wide, height=tall, fill=fill, stroke=FAINT, stroke_width=0.8)
    sign = SIGNS.get(cell.kind, "")
    if not sign or not (large or cell.kind == "good"):
        return box
    size = 12 if large else 9
    return box + text(
        x + wide / 2,
        y + tall / 2 + 4,
        sign,
        text_anchor="middle",
        fill=MUTED if sign in "MS·" else INK,
        font_size=size,
    )


def _axes(wide: float, tall: float, large: bool) -> list[str]:
    parts = [
        element(
            "rect", x=0, y=0, width=wide * len(WIDTHS), height=tall * len(EXPERTS), fill="none", stroke=MUTED
        )
    ]
    if not large:
        return parts
    for n in EXPERTS:
        name = "dense" if n == 1 else str(n)
        parts.append(
            text(
                -6,
                _place(1024, n, wide, tall)[1] + tall / 2 + 4,
                name,
                text_anchor="end",
                fill=MUTED,
                font_size=12,
            )
        )
    for d in (1024, 2048, 4096, 6144, 8192):
        x = _place(d, 1, wide, tall)[0] + wide / 2
        parts.append(
            text(x, tall * len(EXPERTS) + 17, f"{d:,}", text_anchor="middle", fill=MUTED, font_size=12)
        )
    return parts


def _frame(state: State, wide: float, tall: float, large: bool) -> str:
    """The chosen cell, to be dragged over the map."""
    p = state.params
    x, y = _place(p.d_model, p.n_experts, wide, tall)
    touch: dict[str, str | float] = {}
    if large:
        across = Along("Width", (wide / 2, (len(WIDTHS) - 0.5) * wide), (WIDTHS[0], WIDTHS[-1]))
        upwards = Along("Experts", ((len(EXPERTS) - 0.5) * tall, tall / 2), (0, len(EXPERTS) - 1))
        at = {"Width": float(p.d_model), "Experts": float(EXPERTS.index(p.n_experts))}
        touch = handle("the design", at, x=across, y=upwards)
    return element(
        "rect",
        x=x,
        y=y,
        width=wide,
        height=tall,
        fill="none",
        pointer_events="all",
        stroke=INK,
        stroke_width=3 if large else 2,
        **touch,
    )


def answer(budget: str) -> Drawing:
    """Draw the best that the bench's controls reach under a budget, for the prediction about it.

    Examples
    --------
    >>> answer("little text")
    little text: loss 2.196, as good as the best that was found. Width 4608, dense, 29952 wide, ...
    """
    state = simulate(at_best(Params(budget)))
    body = plane(state, LEFT, TOP) + bars(state, *BARS) + loss_line(state, *LOSS) + prices(state, *PRICES)
    words = in_words(state).removesuffix(question(state)).strip()
    return figure(720, 366, heading(state), words, body, caption=words)


def strip() -> Drawing:
    """Draw three budgets' maps side by side.

    Examples
    --------
    >>> strip()
    What fits, and what is good, depends on what is scarce. ...
    """
    parts, words = [], []
    for i, (budget, name) in enumerate(STRIP):
        state = simulate(at_best(Params(budget)))
        left = 14 + 238 * i
        d = state.design
        parts.append(text(left, 14, name, font_weight="600", font_size=12.5))
        said = f"dense, {d.d_model:,} wide" if d.dense else f"{d.n_experts} experts, {d.d_model:,} wide"
        parts.append(text(left, 31, f"{said}, {d.bits} bits", fill=MUTED, font_size=12.5))
        parts.append(plane(state, left, 42, large=False))
        price = max(state.best.twice, key=state.best.twice.__getitem__)
        scarce = f"more {_word(price)} would help most"
        parts.append(text(left, 182, scarce, font_size=12.5))
        words.append(f"{name}: {said}, {scarce}")
    title = "What fits, and what is good, depends on what is scarce"
    caption = (
        "Width across, experts upwards, dense at the bottom. Tinted: fits; ● within 2 % of the best that a "
        "search finds, ◇ that best one; white: too large, too slow, or nobody has trained such a model."
    )
    return figure(720, 196, title, "; ".join(words) + f". {caption}", "".join(parts), caption)
