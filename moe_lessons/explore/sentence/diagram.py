"""The drawing of a Mixture-of-Experts layer: one token's way through it, with the names that the code has."""

from moe_lessons.explore.sentence.panels import short
from moe_lessons.explore.sentence.state import Params, State, simulate
from moe_lessons.svg import Drawing, color, element, figure, ink_on, marker, text, tint
from moe_lessons.svg.base import MONO, num, polyline
from moe_lessons.svg.palette import FAINT, INK, MUTED

WIDTH, HIGH = 720, 408
FIRST, PITCH, BOX = 150.0, 31.0, 25.0
"""Top of the first expert's box, from one to the next, and the height of a box."""

_MID: dict[str, str | float] = {"text_anchor": "middle"}
_CODE: dict[str, str | float] = {"font_family": MONO, "font_size": 12.5}


def layer_diagram(params: Params | None = None) -> Drawing:
    """Draw one token's way through the layer: router, chosen experts, weights, sum.

    Parameters
    ----------
    params : Params, optional
        Sentence, layer, K and token, such as an explorable's own; by default those of its first frame.

    Raises
    ------
    ValueError
        If the sentence has no token.

    Examples
    --------
    >>> layer_diagram(Params("two words", token=0, k=1)).alt[:37]
    'An MoE layer asks 1 of its 8 experts '
    """
    state = simulate(params or Params())
    if not state.tokens:
        raise ValueError("params.sentence has no token: give at least one word")
    ids, weights = state.topk_ids_TK[state.params.token], state.topk_weights_TK[state.params.token]
    token = short(state.tokens[state.params.token])
    gates = dict(zip(ids, weights, strict=True))
    body = _token(token) + _router(state, gates) + _experts(len(state.load_E), gates) + _sum(gates)
    n = len(state.load_E)
    title = f"An MoE layer asks {len(ids)} of its {n} experts about ‘{token}’ and adds up their answers"
    rules = "; ".join(f"expert {e} with weight {weight:.2f}" for e, weight in gates.items())
    words = (
        f"The token's numbers, a row of hidden_TD, go to the router, which makes {n} scores, a row of "
        f"logits_TE. The largest are chosen (ids_TK) and become weights (weights_TK): {rules}. Only "
        "these experts compute. Their answers, times their weights, add up to a row of output_TD."
    )
    caption = (
        "T tokens, D numbers for each, E experts, K chosen. Grey: experts that this token does not reach."
    )
    return figure(WIDTH, HIGH, title, words, body, caption)


def _box(x: float, y: float, width: float, height: float, fill: str = "#f4f4f4", stroke: str = MUTED) -> str:
    return element("rect", x=x, y=y, width=width, height=height, rx=4, fill=fill, stroke=stroke)


def _arrow(*points: tuple[float, float], stroke: str = INK, wide: float = 1.5) -> str:
    """A path with a head at its end; its last piece runs to the right, down or up."""
    (x0, y0), (x, y) = points[-2:]
    if x != x0:
        ends = ((x - 7, y - 4), (x, y), (x - 7, y + 4))
    else:
        back = -7 if y > y0 else 7
        ends = ((x - 4, y + back), (x, y), (x + 4, y + back))
    head = element("polygon", points=" ".join(f"{num(a)},{num(b)}" for a, b in ends), fill=stroke)
    return polyline(list(points), stroke=stroke, stroke_width=wide) + head


def _token(token: str) -> str:
    """The token, and the numbers that stand for it."""
    parts = [text(62, 218, f"‘{token}’", font_weight="700", font_size=15, **_MID)]
    parts += [element("rect", x=14 + 12 * d, y=230, width=11, height=18, fill=FAINT) for d in range(8)]
    parts.append(text(62, 266, "hidden_TD[t]", **_CODE, **_MID))
    return "".join(parts) + text(62, 282, "D numbers", fill=MUTED, **_MID)


def _router(state: State, gates: dict[int, float]) -> str:
    """Above: scores for all experts, then the choice and the weights."""
    parts = [_arrow((62, 196), (62, 61), (132, 61))]
    parts += [_box(134, 34, 122, 54), text(195, 57, "router", font_weight="700", font_size=15, **_MID)]
    parts += [
        text(195, 75, "D numbers → E scores", fill=MUTED, font_size=10.5, **_MID),
        _arrow((256, 61), (282, 61)),
    ]
    parts.append(element("line", x1=286, x2=450, y1=88, y2=88, stroke=MUTED))
    for e, share in enumerate(state.probs_TE[state.params.token]):
        x, tall = 288 + 20 * e, max(54 * share / max(state.probs_TE[state.params.token]), 1.0)
        rim: dict[str, str | float] = {"stroke": INK, "stroke_width": 1.5} if e in gates else {}
        fill = color(e) if e in gates else FAINT
        parts.append(element("rect", x=x, y=88 - tall, width=15, height=tall, fill=fill, **rim))
        parts.append(text(x + 7.5, 102, str(e), font_weight="700" if e in gates else "400", **_MID))
    parts.append(text(368, 22, "softmax of logits_TE[t]", **_CODE, **_MID))
    parts += [_arrow((454, 61), (480, 61)), _box(482, 34, 230, 54)]
    shown = list(gates.items())[: 3 if len(gates) == 3 else 2]
    more = ", …" if len(gates) > 3 else ""
    parts.append(text(597, 22, "top-k, then softmax over the K", fill=MUTED, **_MID))
    parts.append(
        text(492, 55, "ids_TK[t]", **_CODE) + text(584, 55, ", ".join(str(e) for e, _ in shown) + more)
    )
    weights = ", ".join(f"{weight:.2f}" for _, weight in shown) + more
    return "".join(parts) + text(492, 76, "weights_TK[t]", **_CODE) + text(600, 76, weights)


def _experts(n_experts: int, gates: dict[int, float]) -> str:
    """In the middle: all experts, of which the chosen ones get the token."""
    parts = [text(310, FIRST - 12, "experts: small networks, D numbers → D numbers", fill=MUTED, **_MID)]
    for e in range(n_experts):
        y, chosen = FIRST + PITCH * e, e in gates
        fill = tint(color(e), 0.55) if chosen else "#f4f4f4"
        parts.append(_box(232, y, 156, BOX, fill, INK if chosen else FAINT))
        parts.append(marker(e, 290, y + BOX / 2, 5, **({} if chosen else {"fill": FAINT})))
        ink = ink_on(fill) if chosen else MUTED
        weight = "700" if chosen else "400"
        parts.append(text(302, y + 17, f"expert {e}", fill=ink, font_weight=weight))
        if chosen:
            parts.append(_arrow((114, 239), (180, 239), (180, y + BOX / 2), (230, y + BOX / 2)))
            parts.append(_arrow((388, y + BOX / 2), (444, y + BOX / 2)))
    return "".join(parts)


def _sum(gates: dict[int, float]) -> str:
    """On the right: each answer times its weight, and the sum."""
    middle, parts = FIRST + 3.5 * PITCH + BOX / 2, []
    parts.append(
        polyline([(660, 88), (660, 118), (494, 118)], stroke=MUTED, stroke_width=1.2, stroke_dasharray="3 3")
    )
    lowest = max(gates)
    y_last = FIRST + PITCH * lowest
    parts.append(
        polyline([(494, 118), (494, y_last)], stroke=MUTED, stroke_width=1.2, stroke_dasharray="3 3")
    )
    for e, weight in gates.items():
        y = FIRST + PITCH * e
        parts.append(_box(446, y, 96, BOX, "#ffffff", INK))
        parts.append(text(494, y + 17, f"× {weight:.2f}", font_weight="700", **_MID))
        parts.append(
            polyline([(542, y + BOX / 2), (578, y + BOX / 2), (578, middle)], stroke=INK, stroke_width=1.5)
        )
    parts.append(_arrow((578, middle), (596, middle)))
    parts.append(element("circle", cx=611, cy=middle, r=13, fill="#ffffff", stroke=INK, stroke_width=1.5))
    parts.append(text(611, middle + 6, "+", font_size=19, font_weight="700", **_MID))
    parts.append(_arrow((624, middle), (640, middle)))
    parts += [
        element("rect", x=644 + 8.5 * d, y=middle - 9, width=7.5, height=18, fill=MUTED) for d in range(8)
    ]
    parts.append(text(712, middle + 27, "output_TD[t]", text_anchor="end", **_CODE))
    parts.append(text(712, middle + 43, "D numbers", fill=MUTED, text_anchor="end"))
    return "".join(parts) + text(608, 112, "the weights", fill=MUTED, **_MID)
