"""How wide text is, and where it breaks: measured, in the widest face that a drawing may be shown in."""

import re
from functools import lru_cache

# Advance widths of DejaVu Sans in hundredths of the size, and the letters that have them: it is the last face
# on the drawings' list and the widest, so what fits in it fits in all of them.
_BOOK = {
    27: "'",
    28: "ijl",
    29: "IJ",
    32: " ,.·‘’",
    34: "/:;\\|",
    35: "f",
    36: "-",
    39: "()[]t",
    40: "!₀₁₂²³",
    41: "r",
    46: '"',
    50: "*_`–°",
    52: "sz“”",
    53: "?",
    55: "c",
    56: "L",
    58: "Fk",
    59: "vxy",
    60: "P┆┃━╍─",
    61: "TYao",
    62: "e",
    63: "ESbdghnpquΣ␣",
    64: "$0123456789{}μ",
    66: "Kα",
    68: "AV",
    69: "BRXZ",
    70: "C",
    73: "U",
    75: "HN",
    77: "DG▼",
    78: "&",
    79: "OQ",
    82: "w",
    84: "#+<=>^~×−≥≤≈→←↓↑✓✗⏎",
    86: "M",
    87: "●○",
    94: "□",
    95: "%",
    97: "m½",
    99: "W",
    100: "@—…",
}
_BOLD = {
    31: "'",
    34: "ijl",
    35: " ",
    37: "/IJ\\|",
    38: ",.·‘’",
    40: ":;",
    42: "-",
    44: "f₀₁₂²³",
    46: "!()[]",
    48: "t",
    49: "r",
    50: "_`–°",
    52: '"*',
    58: "?z",
    59: "c",
    60: "s┆┃━╍─",
    64: "L",
    65: "vxy",
    66: "“”",
    67: "ak",
    68: "EFTeΣ",
    69: "oα",
    70: "$0123456789",
    71: "hnu{}",
    72: "SYbdgpq␣",
    73: "CPZ",
    74: "μ",
    76: "B",
    77: "AKRVX▼",
    81: "U",
    82: "G",
    83: "D",
    84: "#+<=>HN^~×−≥≤≈→←↓↑✓✗⏎",
    85: "OQ",
    87: "&●○",
    92: "w",
    94: "□",
    100: "%@M—…",
    104: "m½",
    110: "W",
}
_OTHER = 100
"""What is in neither table may be as wide as it is high."""


def _by_letter(table: dict[int, str]) -> dict[str, int]:
    return {letter: wide for wide, letters in table.items() for letter in letters}


_WIDTHS = {False: _by_letter(_BOOK), True: _by_letter(_BOLD)}


def text_width(content: str, size_px: float, bold: bool = False) -> float:
    """Width of a line of text in px, in the widest of the drawings' faces.

    >>> round(text_width("Width", 10)), round(text_width("Width", 10, bold=True))
    (29, 34)
    """
    widths = _WIDTHS[bold]
    return size_px / 100 * sum(widths.get(letter, _OTHER) for letter in content)


def wrap(content: str, width_px: float, size_px: float, bold: bool = False) -> list[str]:
    """Break text into lines that fit; a number stays with its percent sign.

    >>> wrap("one two three", width_px=60, size_px=14)
    ['one two', 'three']
    >>> wrap("at 18 % of it", width_px=50, size_px=14)
    ['at', '18 %', 'of it']
    """
    lines: list[str] = []
    for word in _words(content):
        if lines and text_width(f"{lines[-1]} {word}", size_px, bold) <= width_px:
            lines[-1] += f" {word}"
        else:
            lines += _pieces(word, width_px, size_px, bold)
    return lines or [""]


@lru_cache(maxsize=512)
def _words(content: str) -> list[str]:
    return re.findall(r"\S+(?:(?<=\d) %\S*)?", content)


def _pieces(word: str, width_px: float, size_px: float, bold: bool) -> list[str]:
    """A word as it is, or cut where it is wider than a line."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and text_width(pieces[-1] + letter, size_px, bold) > width_px:
            pieces.append("")
        pieces[-1] += letter
    return pieces
