"""The drawing primitives: numbers, text, colours, markers, and the frame around every figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from moe_lessons.svg.letters import wrap
from moe_lessons.svg.numbers import spaced
from moe_lessons.svg.palette import COLORS, INK, MUTED, PAPER, edge
from moe_lessons.svg.theme import ROOT_CLASS, style

MAX_WIDTH = 720
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
DASHES = ("", "7 3", "2 3", "9 3 2 3", "14 4", "5 2 1 2 1 2", "4 4", "1 2")
_SHAPES = ("circle", "square", "triangle", "diamond", "plus", "down", "cross", "hexagon")

# Offsets in units of the marker's radius.
_POLYGONS: dict[str, tuple[tuple[float, float], ...]] = {
    "square": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "triangle": ((0, -1.15), (1.05, 0.75), (-1.05, 0.75)),
    "diamond": ((0, -1.25), (1.0, 0), (0, 1.25), (-1.0, 0)),
    "down": ((0, 1.15), (1.05, -0.75), (-1.05, -0.75)),
    "plus": (
        (-0.4, -1.15), (0.4, -1.15), (0.4, -0.4), (1.15, -0.4), (1.15, 0.4), (0.4, 0.4),
        (0.4, 1.15), (-0.4, 1.15), (-0.4, 0.4), (-1.15, 0.4), (-1.15, -0.4), (-0.4, -0.4),
    ),
    "cross": (
        (-1.05, -0.5), (-0.5, -1.05), (0, -0.55), (0.5, -1.05), (1.05, -0.5), (0.55, 0),
        (1.05, 0.5), (0.5, 1.05), (0, 0.55), (-0.5, 1.05), (-1.05, 0.5), (-0.55, 0),
    ),
    "hexagon": ((1.1, 0), (0.55, 0.95), (-0.55, 0.95), (-1.1, 0), (-0.55, -0.95), (0.55, -0.95)),
}  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """A finished SVG figure: a picture where the front end shows one, its alt text elsewhere.

    Parameters
    ----------
    svg : str
        The whole ``<svg>`` element.
    alt : str
        What the picture says, in words.

    Examples
    --------
    >>> figure(120, 40, "Two experts share the load", "", body="")
    Two experts share the load
    """

    svg: str
    alt: str

    # No _repr_html_: GitHub strips inline SVG from text/html but shows image/svg+xml.
    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return self.alt


def num(value: float) -> str:
    """Write a coordinate with at most one decimal, so that the same state gives the same bytes.

    >>> num(3.0), num(2.26), num(-0.01)
    ('3', '2.3', '0')
    """
    if not math.isfinite(value):
        raise ValueError(f"cannot draw at {value}: coordinates must be finite")
    short = f"{value:.1f}"
    if short.endswith(".0"):
        short = short[:-2]
    return "0" if short == "-0" else short


def visible(token: str) -> str:
    """Make white space and control characters of a token visible.

    >>> visible(" the\\n")
    '␣the⏎'
    """
    return "".join(_VISIBLE.get(ch) or _legal(ch) for ch in token)


_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def _legal(ch: str) -> str:
    """Replace what XML 1.0 cannot carry, and the carriage return, which its readers rewrite."""
    code = ord(ch)
    if code < 0x20 and ch not in "\t\n":
        return chr(0x2400 + code)
    if 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xDFFF or code & 0xFFFE == 0xFFFE:
        return "\ufffd"
    return ch


def _clean(raw: str) -> str:
    return raw if raw.isascii() and raw.isprintable() else "".join(map(_legal, raw))


def escape(raw: str) -> str:
    """Escape text for an SVG text node or attribute.

    >>> escape('a < "b" & c')
    'a &lt; &quot;b&quot; &amp; c'
    """
    return _clean(raw).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def element(name: str, body: str = "", /, **attributes: str | float) -> str:
    """Write one element; ``_`` in an attribute name becomes ``-``, and ``body`` is already markup.

    >>> element("rect", x=1, y=2.5, stroke_width=2)
    '<rect x="1" y="2.5" stroke-width="2"/>'
    """
    parts = [name]
    for key, value in attributes.items():
        parts.append(_attribute(key, value if isinstance(value, (str, int, float)) else float(value)))
    opening = " ".join(parts)
    return f"<{opening}>{body}</{name}>" if body else f"<{opening}/>"


@lru_cache(maxsize=8192)
def _attribute(key: str, value: str | float) -> str:
    """Write one attribute; from frame to frame most are the same."""
    return f'{key.replace("_", "-")}="{escape(value) if isinstance(value, str) else num(value)}"'


def text(x: float, y: float, content: str, **attributes: str | float) -> str:
    """Write a line of text, escaped.

    >>> text(5, 9, "f < 1", text_anchor="end")
    '<text x="5" y="9" text-anchor="end">f &lt; 1</text>'
    """
    # An empty body would close the tag early; a lone space keeps the element a pair.
    return element("text", escape(spaced(content)) or " ", x=x, y=y, **attributes)


def color(index: int) -> str:
    """Colour of expert ``index``; experts that share one still differ in number.

    >>> color(0), color(8) == color(0)
    ('#0072B2', True)
    """
    return COLORS[index % len(COLORS)]


def marker(index: int, x: float, y: float, radius: float = 4, **attributes: str | float) -> str:
    """Draw the marker of expert ``index``: its colour and its shape.

    >>> marker(0, 10, 20, 3)
    '<circle cx="10" cy="20" r="3" fill="#0072B2"/>'
    """
    attributes.setdefault("fill", color(index))
    if edge(color(index)) != attributes["fill"] == color(index):
        attributes.setdefault("stroke", edge(color(index)))
    shape = _SHAPES[index % len(_SHAPES)]
    if shape == "circle":
        return element("circle", cx=x, cy=y, r=radius, **attributes)
    return element("polygon", points=_points(shape, x, y, radius), **attributes)


@lru_cache(maxsize=4096)
def _points(shape: str, x: float, y: float, radius: float) -> str:
    return " ".join(f"{num(x + dx * radius)},{num(y + dy * radius)}" for dx, dy in _POLYGONS[shape])


def polyline(points: Sequence[tuple[float, float]], **attributes: str | float) -> str:
    """Draw connected segments.

    >>> polyline([(0, 0), (1, 2)], stroke="#000000")
    '<polyline points="0,0 1,2" fill="none" stroke="#000000"/>'
    """
    joined = " ".join(f"{num(x)},{num(y)}" for x, y in points)
    return element("polyline", points=joined, fill="none", **attributes)


def figure(width: float, height: float, title: str, desc: str, body: str, caption: str = "") -> Drawing:
    """Frame a drawing: white paper, the title above it, a caption below, alt text for screen readers.

    Parameters
    ----------
    width, height : float
        Size of ``body`` in px; the height grows by the lines of the title and of the caption.
    title : str
        One sentence that says the one thing the figure shows.
    desc : str
        The rest of the alt text: the numbers a reader would take from the picture.
    body : str
        Markup drawn in a ``width`` by ``height`` box whose origin is its top left corner.
    caption : str
        Text under the drawing.

    Examples
    --------
    >>> figure(120, 40, "Two experts share the load", "Expert 0 has 60 %.", body="").alt
    'Two experts share the load. Expert 0 has 60 %.'
    """
    if not 0 < width <= MAX_WIDTH:
        raise ValueError(f"a figure is at most {MAX_WIDTH} px wide, not {width}")
    title, desc, caption = spaced(title), spaced(desc), spaced(caption)
    head = wrap(title, width - 16, 15, bold=True)
    foot = wrap(caption, width - 16, 12.5) if caption else []
    top = 8 + 20 * len(head)
    parts = [text(8, 3 + 20 * (i + 1), line, font_size=15, font_weight="600") for i, line in enumerate(head)]
    parts.append(element("g", body or " ", transform=f"translate(0 {num(top)})"))
    parts += [
        text(8, top + height + 17 * (i + 1) - 3, line, font_size=12.5, fill=MUTED)
        for i, line in enumerate(foot)
    ]
    total = top + height + 17 * len(foot) + (6 if foot else 0)
    sentence = title if title.endswith((".", "?", "!")) else title + "."
    # A terminal shows this text: no control characters there either.
    alt = _clean(f"{sentence} {desc or caption}" if desc or caption else title)
    drawn = element("rect", width=width, height=total, fill=PAPER) + "".join(parts)
    inside = f"<title>{escape(title)}</title><desc>{escape(alt)}</desc>{style(drawn)}{drawn}"
    svg = element(
        "svg",
        inside,
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=total,
        viewBox=f"0 0 {num(width)} {num(total)}",
        role="img",
        aria_label=title,
        # Where the body is: a page may show title and caption as text of its own.
        data_body=f"{num(top)} {num(height)}",
        font_family=SANS,
        font_size=12,
        fill=INK,
        style="max-width:100%;height:auto",
        **{"class": ROOT_CLASS},
    )
    return Drawing(svg, alt)
