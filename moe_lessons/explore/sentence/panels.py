"""The parts of explorable 0's picture: tokens by experts, the load below, and one token's sum."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from moe_lessons.explore.sentence.state import State
from moe_lessons.svg import color, element, marker, text, tint
from moe_lessons.svg.base import MONO
from moe_lessons.svg.palette import FAINT, INK, MUTED


class Sizes(NamedTuple):
    """Of a table of tokens by experts, in px.

    Attributes
    ----------
    words, cell : float
        Widths of the tokens' column and of an expert's.
    rows : float
        Height of all rows together, at most.
    tallest : float
        Height of one row, at most.
    deep : float
        Height of the load's bar for an expert that gets every token.
    live : bool
        Whether there is room for numbers.
    touch : bool
        Whether there is something to click on.
    """

    words: float = 104.0
    cell: float = 40.0
    rows: float = 292.0
    tallest: float = 44.0
    deep: float = 46.0
    live: bool = True
    touch: bool = True

    def tall(self, state: State) -> float:
        """Height of a row."""
        return min(self.tallest, self.rows / max(len(state.tokens), 1))


_HALO: dict[str, str | float] = {"paint_order": "stroke", "stroke": "#ffffff", "stroke_width": 3}

LIVE = Sizes()
SMALL = Sizes(words=74.0, cell=18.8, rows=196.0, tallest=18.0, deep=30.0, live=False, touch=False)
STILL = LIVE._replace(touch=False)


def short(token: str, limit: int = 11) -> str:
    """Cut a long token.

    Examples
    --------
    >>> short("concatenation"), short("name")
    ('concatenat…', 'name')
    """
    return token if len(token) <= limit else token[: limit - 1] + "…"


def matrix(state: State, left: float, top: float, sizes: Sizes = LIVE) -> str:
    """Draw a row for each token and a column for each expert: the router's bars, the chosen ones framed."""
    parts = []
    for e in range(len(state.load_E)):
        x = left + sizes.words + sizes.cell * e + (sizes.cell - 3) / 2
        if sizes.live:
            parts.append(marker(e, x - 8, top + 9, 5) + text(x + 2, top + 13.5, str(e), font_weight="700"))
        else:
            number = text(x, top + 18, str(e), text_anchor="middle", font_size=10)
            parts.append(marker(e, x, top + 3, 3.6) + number)
    tall = sizes.tall(state)
    for t in range(len(state.tokens)):
        parts.append(_row(state, t, left, top + 22 + tall * t, sizes))
    return "".join(parts)


def _row(state: State, t: int, left: float, top: float, sizes: Sizes) -> str:
    mine = sizes.live and t == state.params.token
    tall = sizes.tall(state)
    height = tall - (3 if sizes.live else 2)
    weights = dict(zip(state.topk_ids_TK[t], state.topk_weights_TK[t], strict=True))
    middle = top + height / 2 + 4.5
    style: dict[str, str | float] = {"text_anchor": "end", "font_family": MONO}
    style |= {"font_size": 13 if sizes.live else 11.5, "font_weight": "700" if mine else "400"}
    word = short(state.tokens[t], 11 if sizes.live else 9)
    parts = [text(left + sizes.words - 7, middle, word, **style)]
    if mine:
        parts.append(text(left - 5, middle, "▸"))
    for e, share in enumerate(state.probs_TE[t]):
        parts.append(
            _cell(e, share, e in weights, mine, left + sizes.words + sizes.cell * e, top, height, sizes)
        )
    if sizes.touch:  # the whole row
        wide = sizes.words + 6 + sizes.cell * len(state.load_E)
        area = {"x": left - 6, "y": top - 1, "width": wide, "height": tall - 1, "fill_opacity": 0.0}
        parts.append(element("rect", fill="#ffffff", data_pick=json.dumps({"Token": t}), **area))
    return "".join(parts)


def _cell(
    e: int, share: float, chosen: bool, mine: bool, x: float, top: float, height: float, sizes: Sizes
) -> str:
    """One expert's score for one token: a bar, a frame if it is chosen, and its percentage."""
    wide = sizes.cell - (3 if sizes.live else 2)
    fill = tint(color(e), 0.55) if chosen else FAINT
    parts = [
        element("rect", x=x, y=top, width=wide, height=height, fill="#f4f4f4"),
        element("rect", x=x, y=top, width=max(wide * share, 0.5), height=height, fill=fill),
    ]
    if chosen:
        rim: dict[str, str | float] = {"fill": "none", "stroke": INK if mine else MUTED}
        rim["stroke_width"] = 2 if mine else 1
        parts.append(element("rect", x=x, y=top, width=wide, height=height, **rim))
    if chosen and sizes.live:
        style = {"text_anchor": "middle", "font_weight": "700" if mine else "400"}
        parts.append(text(x + wide / 2, top + height / 2 + 4, f"{100 * share:.0f}", font_size=11, **style))
    return "".join(parts)


def load(state: State, left: float, top: float, sizes: Sizes = LIVE) -> str:
    """Draw how many tokens each expert gets, under its column; a full bar is all tokens."""
    base, x0 = top + sizes.deep + 14, left + sizes.words
    right = x0 + sizes.cell * len(state.load_E) - 1
    parts = [element("line", x1=x0 - 2, x2=right, y1=base, y2=base, stroke=MUTED)]
    if sizes.live:
        parts.append(text(x0 - 7, base - 14, "4  load:", text_anchor="end", fill=MUTED))
        parts.append(text(x0 - 7, base, "tokens each", text_anchor="end", fill=MUTED))
    else:
        parts.append(text(x0 - 7, base, "load", text_anchor="end", fill=MUTED))
    if not state.tokens:
        return "".join(parts)
    numbers = []
    for e, tokens in enumerate(state.load_E):
        x, tall = x0 + sizes.cell * e, sizes.deep * tokens / len(state.tokens)
        bar = {"x": x + 2, "y": base - tall, "width": sizes.cell - 7, "height": max(tall, 0.5)}
        parts.append(element("rect", fill=color(e), stroke=MUTED, stroke_width=0.5, **bar))
        style: dict[str, str | float] = {"text_anchor": "middle", "font_size": 11, **_HALO}
        numbers.append(text(x + (sizes.cell - 3) / 2, base - tall - 3, str(tokens), **style))
    even = base - sizes.deep * state.params.k / len(state.load_E)
    parts.append(element("line", x1=x0 - 2, x2=right, y1=even, y2=even, stroke=INK, stroke_dasharray="2 3"))
    parts += numbers
    if sizes.live:
        parts.append(text(right + 3, even + 4, "even", fill=MUTED, font_size=11))
    return "".join(parts)


def total(state: State, left: float, top: float, width: float, height: float) -> str:
    """Draw the chosen token's answers, each times its weight, and their sum, all on one scale."""
    if not state.tokens:
        return ""
    ids, weights = state.topk_ids_TK[state.params.token], state.topk_weights_TK[state.params.token]
    each = min(118.0, height / (len(ids) + 1))
    parts = []
    for i, (e, weight, numbers) in enumerate(zip(ids, weights, state.weighted_KD, strict=True)):
        y = top + each * i
        name = f"{'+ ' if i else ''}{weight:.2f} × what expert {e} says"
        parts.append(marker(e, left + 5, y + 8, 4.5) + text(left + 15, y + 12, name))
        parts.append(vector(numbers, color(e), state.full, left, y + 14, width, each - 16))
    y = top + each * len(ids)
    parts.append(element("line", x1=left, x2=left + width, y1=y, y2=y, stroke=INK))
    parts.append(text(left, y + 14, "= what the layer says", font_weight="700"))
    parts.append(vector(state.output_D, INK, state.full, left, y + 15, width, each - 17))
    return "".join(parts)


def vector(
    numbers: Sequence[float], fill: str, full: float, left: float, top: float, width: float, height: float
) -> str:
    """Draw a vector as bars above and below a line; a bar of half the height is the number ``full``.

    Examples
    --------
    >>> vector([0.5, -0.5], "#000000", 1.0, 0, 0, 20, 40).count("<rect")
    2
    """
    step, middle = width / len(numbers), top + height / 2
    parts = [element("line", x1=left, x2=left + width, y1=middle, y2=middle, stroke=FAINT)]
    for d, number in enumerate(numbers):
        tall = height / 2 * abs(number) / full
        at = {"x": left + step * d, "y": middle - tall if number > 0 else middle}
        parts.append(element("rect", width=step * 0.7, height=max(tall, 0.2), **at))
    return element("g", "".join(parts), fill=fill, stroke=MUTED, stroke_width=0.3)
