"""The routing strip's pictures: the live frame, before and after training, and the static strip."""

from moe_lessons.explore.routing_strip.state import Params, State, simulate
from moe_lessons.explore.scale import Scale, round_ticks
from moe_lessons.svg import Drawing, color, element, figure, ink_on, marker, text, tint, visible

MUTED, INK, FAINT = "#595959", "#1a1a1a", "#d9d9d9"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
WIDTH, ROWS = 720, 6
TALL = 40  # of a row of tokens


def draw(state: State) -> str:
    """Draw one frame: the text in rows, the chosen expert's tokens in full colour, what it reads below.

    Examples
    --------
    >>> from moe_lessons.explore.routing_strip.state import sample
    >>> draw(simulate(Params(sample())))[:4]
    '<svg'
    """
    p = state.params
    body, _ = rows(state, 8, 6, WIDTH - 16, ROWS)
    top = 6 + ROWS * TALL + 8
    body += _loads(state, 8, top, 300) + _reads(state, 360, top, WIDTH - 368)
    return figure(WIDTH, top + 150, _title(state), _in_words(state), body, caption=question(p)).svg


def question(params: Params) -> str:
    """Ask what to look at next."""
    if params.strip.n_experts < 2:
        return "One expert reads everything."
    if params.layer == 0:
        return "What is going on? Find two places of the same token. Do they carry the same marks?"
    return "What is going on? Go back to the first layer: which tokens keep their expert, which change it?"


def rows(state: State, left: float, top: float, width: float, n_rows: int) -> tuple[str, int]:
    """Draw tokens in at most `n_rows` rows; returns the markup and the index of the first token not drawn."""
    p = state.params
    strip, chosen = p.strip, p.strip.ids[p.step][p.layer]
    parts, x, row, i = [], left, 0, p.first
    while i < len(strip.tokens):
        shown = _short(visible(strip.tokens[i]))
        wide = max(8.2 * len(shown) + 7, 11.5 * len(chosen[i]) + 5)
        if x + wide > left + width and x > left:
            x, row = left, row + 1
        if row == n_rows:
            break
        parts.append(_token(shown, chosen[i], p.expert, x, top + TALL * row, wide))
        x, i = x + wide + 2, i + 1
    return "".join(parts), i


def _short(token: str, limit: int = 16) -> str:
    return token if len(token) <= limit else token[: limit - 1] + "…"


def _token(shown: str, experts: tuple[int, ...], chosen: int, x: float, y: float, wide: float) -> str:
    """A token over the markers of its experts; in full colour where the chosen expert is among them."""
    mine = chosen in experts
    fill = color(chosen) if mine else tint(color(experts[0]), 0.14)
    ink = ink_on(fill) if mine else INK
    stroke = INK if mine else "none"
    box = element("rect", x=x, y=y, width=wide, height=20, fill=fill, stroke=stroke, stroke_width=1.5)
    parts = [box]
    weight = "700" if mine else "400"
    label: dict[str, str | float] = {"text_anchor": "middle", "font_family": MONO, "font_size": 13}
    parts.append(text(x + wide / 2, y + 14.5, shown, fill=ink, font_weight=weight, **label))
    start = x + wide / 2 - 11.5 * (len(experts) - 1) / 2
    for k, expert in enumerate(experts):
        parts.append(marker(expert, start + 11.5 * k, y + 27, 4.2 if expert == chosen else 3))
    return "".join(parts)


def _loads(state: State, left: float, top: float, width: float) -> str:
    """A column per expert. The scale is the text's: the same in all its layers and steps."""
    n = len(state.load)
    step = min(28.0, width / n)
    base = top + 108
    most = round_ticks(100 * max(state.params.strip.fullest, 1 / n), 4)[-1]
    scale = Scale(0, most, base, base - 76)
    parts = [text(left, top + 10, "share of this layer's choices (%)", fill=MUTED)]
    for expert, share in enumerate(state.load):
        x, y = left + step * expert, scale.at(100 * share)
        chosen = expert == state.params.expert
        fill = color(expert) if chosen else tint(color(expert), 0.45)
        parts.append(element("rect", x=x, y=y, width=step - 2, height=base - y, fill=fill))
        if step >= 12 or expert % 8 == 0:
            weight = {"font_weight": "700"} if chosen else {}
            size = 12 if step >= 16 else 9
            parts.append(
                text(x + step / 2 - 1, base + 14, str(expert), text_anchor="middle", font_size=size, **weight)
            )
    right, even = left + step * n, scale.at(100 / n)
    line: dict[str, str | float] = {"x1": left, "x2": right}
    parts.append(element("line", **line, y1=scale.end, y2=scale.end, stroke=FAINT))
    parts.append(element("line", **line, y1=even, y2=even, stroke=MUTED, stroke_dasharray="4 3"))
    if even - scale.end > 13:
        parts.append(text(right + 4, scale.end + 4, f"{most:g}", fill=MUTED))
    return "".join(parts) + text(right + 4, even + 4, f"even, {100 / n:.3g}", fill=MUTED)


def _reads(state: State, left: float, top: float, width: float) -> str:
    """A bar for the places of each token, filled as far as the expert reads them; one scale for the text."""
    expert = state.params.expert
    scale = Scale(0, state.params.strip.commonest, left + 104, left + width - 126)
    parts = [
        marker(expert, left + 6, top + 6, 5),
        text(
            left + 18,
            top + 10,
            f"what expert {expert} reads, of all places of a token (outlined)",
            fill=MUTED,
        ),
    ]
    if not state.reads:
        parts.append(text(left, top + 34, "nothing in this text"))
    for i, (token, n, everywhere) in enumerate(state.reads[:6]):
        y = top + 18 + 21 * i
        shown = _short(visible(token), 12)
        parts.append(text(left + 96, y + 13, shown, text_anchor="end", font_family=MONO, font_size=13))
        box = {"x": scale.start, "y": y + 1, "height": 16}
        full, held = scale.at(everywhere) - scale.start, scale.at(n) - scale.start
        parts.append(element("rect", **box, width=held, fill=tint(color(expert), 0.6)))
        parts.append(element("rect", **box, width=full, fill="none", stroke="#8c8c8c", stroke_width=0.8))
        parts.append(text(scale.start + full + 6, y + 13.5, f"{n} of its {everywhere} places"))
    return "".join(parts)


def _title(state: State) -> str:
    p = state.params
    step = p.strip.steps[p.step]
    where = f"Layer {p.layer}{', ' + step if step else ''}"
    return (
        f"{where}: expert {p.expert} takes {100 * state.load[p.expert]:.0f} % of the choices; a token that "
        f"returns goes to its usual expert {100 * state.constancy:.0f} % of the time"
    )


def _in_words(state: State) -> str:
    read = ", ".join(f"‘{visible(token)}’ {n} of {m}" for token, n, m in state.reads)
    return f"Expert {state.params.expert} reads {read or 'nothing'}. {question(state.params)}"


def before_after() -> Drawing:
    """Draw the sample's first layer before and after training.

    Examples
    --------
    >>> before_after().alt[:20]
    'A token that returns'
    """
    from moe_lessons.explore.routing_strip.state import sample

    strip = sample()
    body, found = "", []
    for step, name in enumerate(strip.steps):
        state = simulate(Params(strip, step=step))
        found.append(state)
        top = 14 + step * (3 * TALL + 26)
        note = f"{name}: {100 * state.constancy:.0f} % (dealt at random: {100 * state.by_chance:.0f} %)"
        body += text(8, top, note, font_weight="600") + rows(state, 8, top + 8, WIDTH - 16, 3)[0]
    first = 100 * found[0].constancy
    title = f"A token that returns meets its usual expert {first:.0f} % of the time before any training"
    caption = "Full colour: expert 0. The marks under a token are its experts, the heaviest first."
    return figure(WIDTH, len(strip.steps) * (3 * TALL + 26) + 6, title, caption, body, caption)


def strip_of(params: Params, layers: tuple[int, ...], n_rows: int = 3) -> Drawing:
    """Draw the beginning of a text in several layers, one below the other."""
    body = ""
    for i, layer in enumerate(layers):
        state = simulate(Params(params.strip, params.step, layer, params.expert, params.first))
        top = 14 + i * (n_rows * TALL + 26)
        note = f"Layer {layer}: expert {params.expert} takes {100 * state.load[params.expert]:.0f} %"
        body += text(8, top, note, font_weight="600") + rows(state, 8, top + 8, WIDTH - 16, n_rows)[0]
    title = f"The same text in {len(layers)} layers: an expert's number means another expert in each"
    caption = (
        f"Full colour: expert {params.expert}. The marks under a token are its experts, the heaviest first."
    )
    source = f" {params.strip.source}" if params.strip.source else ""
    return figure(
        WIDTH, len(layers) * (n_rows * TALL + 26) + 6, title, caption + source, body, caption + source
    )
