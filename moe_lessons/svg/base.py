"""The drawing primitives: numbers, text, colours, markers, and the frame around every figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from textwrap import wrap as _wrap

MAX_WIDTH = 720
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
INK, MUTED, FAINT, PAPER = "#1a1a1a", "#595959", "#d9d9d9", "#ffffff"

# Okabe and Ito (2008), ordered so that neighbours also differ in lightness.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#4d4d4d")
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
        shown = escape(value) if isinstance(value, str) else num(value)
        parts.append(f'{key.replace("_", "-")}="{shown}"')
    opening = " ".join(parts)
    return f"<{opening}>{body}</{name}>" if body else f"<{opening}/>"


def text(x: float, y: float, content: str, **attributes: str | float) -> str:
    """Write a line of text, escaped.

    >>> text(5, 9, "f < 1", text_anchor="end")
    '<text x="5" y="9" text-anchor="end">f &lt; 1</text>'
    """
    # An empty body would close the tag early; a lone space keeps the element a pair.
    return element("text", escape(content) or " ", x=x, y=y, **attributes)


def wrap(content: str, width_px: float, size_px: float) -> list[str]:
    """Break text into lines that fit, from an average glyph width (no font is at hand).

    >>> wrap("one two three", width_px=60, size_px=14)
    ['one two', 'three']
    """
    return _wrap(content, max(1, int(width_px / (0.56 * size_px)))) or [""]


def color(index: int) -> str:
    """Colour of expert ``index``; experts that share one still differ in number.

    >>> color(0), color(8) == color(0)
    ('#0072B2', True)
    """
    return COLORS[index % len(COLORS)]


@cache
def tint(hex_color: str, strength: float) -> str:
    """Mix a colour with white: 0 is white, 1 the colour itself.

    >>> tint("#000000", 0.2)
    '#cccccc'
    """
    channels = (int(hex_color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (c - 255) * strength):02x}" for c in channels)


@cache
def ink_on(fill: str) -> str:
    """White or black, whichever has a contrast of 4.5 with ``fill`` (WCAG 2.2, relative luminance).

    >>> ink_on("#0072B2"), ink_on("#F0E442")
    ('#ffffff', '#000000')
    """
    channels = (int(fill[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    # White reaches 4.5 up to here. Above it black does; INK, which is a little lighter, does not always.
    return PAPER if 0.2126 * r + 0.7152 * g + 0.0722 * b <= 1.05 / 4.5 - 0.05 else "#000000"


def marker(index: int, x: float, y: float, radius: float = 4, **attributes: str | float) -> str:
    """Draw the marker of expert ``index``: its colour and its shape.

    >>> marker(0, 10, 20, 3)
    '<circle cx="10" cy="20" r="3" fill="#0072B2"/>'
    """
    attributes.setdefault("fill", color(index))
    shape = _SHAPES[index % len(_SHAPES)]
    if shape == "circle":
        return element("circle", cx=x, cy=y, r=radius, **attributes)
    points = " ".join(f"{num(x + dx * radius)},{num(y + dy * radius)}" for dx, dy in _POLYGONS[shape])
    return element("polygon", points=points, **attributes)


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
    head = wrap(title, width - 16, 15.5)
    foot = wrap(caption, width - 16, 11.8) if caption else []
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
    inside = (
        f"<title>{escape(title)}</title><desc>{escape(alt)}</desc>"
        + element("rect", width=width, height=total, fill=PAPER)
        + "".join(parts)
    )
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
    )
    return Drawing(svg, alt)
