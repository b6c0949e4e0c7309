"""One palette, two themes: every colour is that on white paper, and has a counterpart on dark paper.

Eight colours belong to the experts, and to nothing else; they are the same in both themes. What is no expert
is drawn in ink, grey and one accent, and their counterparts have the *inverse* luminance: whatever the
contrast between two of them on white paper, it is the same on dark paper.
"""

import colorsys
from functools import cache

INK, MUTED, FAINT, PAPER, ACCENT = "#1a1a1a", "#595959", "#d9d9d9", "#ffffff", "#5b3fb0"
WRONG = "#A32900"
"""What is wrong, which always has a cross, a word or a second number as well."""

VARIABLES = {
    INK: "--moe-ink",
    PAPER: "--moe-paper",
    MUTED: "--moe-muted",
    FAINT: "--moe-grid",
    ACCENT: "--moe-accent",
}
"""The CSS variables of a page that colours its own boxes like the drawings in them."""

# Okabe and Ito (2008), ordered so that neighbours also differ in lightness.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#4d4d4d")

# The hues of COLORS in the same order, for names: dark enough for small text, and each turns in the dark.
LINE_INKS = ("#0070B0", "#9A6A00", "#00805E", "#B0568A", "#277AA9", "#C25400", "#827500", "#4d4d4d")

SERIES = (ACCENT, INK, "#7c64c0", "#737373")
"""The colours of lines that are no experts: an accent, the ink, and a lighter shade of each."""

WHITE_UP_TO = 1.05 / 4.5 - 0.054
"""Luminance up to which white text, or nearly white, has a contrast of 4.5; above it black text has.

Both keep it when colours are rounded to 8 bits, here and in the dark."""

_PAPER_DARK = "#111111"
_SAME = {c.lower() for c in COLORS[:7]}


def luminance(hex_color: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it.

    >>> luminance("#ffffff"), luminance("#000000")
    (1.0, 0.0)
    """
    red, green, blue = (_linear(channel) for channel in _channels(hex_color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, from 1 to 21.

    >>> round(contrast("#000000", "#ffffff"), 6)
    21.0
    """
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@cache
def dark(hex_color: str) -> str:
    """Return the counterpart of a colour on dark paper: the same for an expert's, else of inverse luminance.

    >>> dark("#ffffff"), dark("#0072B2"), dark("#1a1a1a")
    ('#111111', '#0072B2', '#f6f6f6')
    """
    if hex_color.lower() in _SAME:
        return hex_color
    found = luminance(hex_color)
    wanted = 1.05 * (luminance(_PAPER_DARK) + 0.05) / (found + 0.05) - 0.05
    # Where black text stood, white text will: it needs its 4.5 there as well.
    return _with_luminance(hex_color, min(wanted, WHITE_UP_TO if found > WHITE_UP_TO else 1.0))


@cache
def tint(hex_color: str, strength: float) -> str:
    """Mix a colour with white: 0 is white, 1 the colour itself.

    >>> tint("#000000", 0.2)
    '#cccccc'
    """
    return "#" + "".join(f"{round(255 + (255 * c - 255) * strength):02x}" for c in _channels(hex_color))


@cache
def ink_on(fill: str) -> str:
    """White or black, whichever has a contrast of 4.5 with ``fill`` (WCAG 2.2, relative luminance).

    On an expert's colour, which is the same in both themes, the ink is so too. Elsewhere it turns with its
    ground: it is not quite white or black, so that a style can tell it from one that stays.

    >>> ink_on("#0072B2"), ink_on("#F0E442"), ink_on("#00548A"), ink_on("#cce3f0")
    ('#ffffff', '#000000', '#fefefe', '#010101')
    """
    stays = fill.lower() in _SAME
    # INK, which is a little lighter than black, does not always reach 4.5.
    if luminance(fill) <= WHITE_UP_TO:
        return PAPER if stays else "#fefefe"
    return "#000000" if stays else "#010101"


@cache
def edge(hex_color: str) -> str:
    """Return a darker shade of an expert's colour where white paper would swallow it, else the colour.

    >>> edge("#0072B2"), edge("#F0E442")
    ('#0072B2', '#827500')
    """
    if hex_color in COLORS and contrast(hex_color, PAPER) < 3:
        return LINE_INKS[COLORS.index(hex_color)]
    return hex_color


def rim(fill: str, width: float = 1) -> dict[str, str | float]:
    """Attributes of a shape in an expert's colour: a darker rim where white paper would swallow it.

    >>> rim("#0072B2"), rim("#F0E442")
    ({}, {'stroke': '#827500', 'stroke_width': 1})
    """
    return {} if edge(fill) == fill else {"stroke": edge(fill), "stroke_width": width}


def _channels(hex_color: str) -> tuple[float, float, float]:
    red, green, blue = (int(hex_color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _with_luminance(hex_color: str, wanted: float) -> str:
    """The colour of the same hue and saturation that comes nearest to this luminance."""
    hue, _, saturation = colorsys.rgb_to_hls(*_channels(hex_color))

    def shade(lightness: float) -> str:
        mixed = colorsys.hls_to_rgb(hue, lightness, saturation)
        return "#" + "".join(f"{round(255 * channel):02x}" for channel in mixed)

    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if luminance(shade(middle)) < wanted else (low, middle)
    return min(shade(low), shade(high), key=lambda one: abs(luminance(one) - wanted))
