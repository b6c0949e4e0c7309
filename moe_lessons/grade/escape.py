"""Text of learners is data: one function for each format that it is written into.

Names of files, modules and exceptions, messages and comments may hold any character there is. Each function
here returns text that its format shows as it stands, and takes for nothing else.
"""

import html as _html
import re
import unicodedata

_FORMULA = "=+-@|%"
_JOINERS = "\u200c\u200d"
"""Letters of Persian and of Indian scripts, and families of emoji, need these two."""


def visible(text: str) -> str:
    r"""Without characters that steer what is around them: controls, line ends, directions, lone surrogates.

    Examples
    --------
    >>> visible("a\x1b[2J\u202eb\nc")
    'a�[2J�b c'
    """
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char in "\t\n\r\v\f\x85\u2028\u2029":
        return " "
    kind = unicodedata.category(char)
    return "�" if kind in ("Cc", "Cs") or (kind == "Cf" and char not in _JOINERS) else char


def html(text: str) -> str:
    """Text for a place between tags, or in a quoted attribute.

    Examples
    --------
    >>> html("<b title='x'>")
    '&lt;b title=&#x27;x&#x27;&gt;'
    """
    return _html.escape(visible(text))


def prose(text: str) -> str:
    """A message of ours, of which parts may be a learner's: `code` and *emphasis* are shown, nothing else.

    Examples
    --------
    >>> prose("use `x * y`, *not* [this](https://x.org)")
    'use <code>x * y</code>, <em>not</em> [this](https://x.org)'
    """
    pieces = re.split(r"`([^`]+)`", _html.escape(visible(text)))
    stressed = re.compile(r"(?<![\w*])\*([^\s*](?:[^*]*[^\s*])?)\*(?![\w*])")
    return "".join(
        f"<code>{piece}</code>" if place % 2 else stressed.sub(r"<em>\1</em>", piece)
        for place, piece in enumerate(pieces)
    )


def markdown(text: str) -> str:
    r"""Text inside a paragraph, a list or a cell of a table: no Markdown, HTML, link or line of its own.

    Examples
    --------
    >>> markdown("a|b `c` www.x.org <i>")
    'a\\|b \\`c\\` www\\.x\\.org \\<i\\>'
    """
    # GitHub makes links of bare addresses too, and of @names and #numbers.
    shown = re.sub(r"([\\`*_{}\[\]()<>|#!&~@:.$^\"'+=-])", r"\\\1", " ".join(visible(text).split()))
    return re.sub(r"^(\d+)(?=\\[.)])", r"\1", shown)


def csv(text: str) -> str:
    r"""A field that no spreadsheet takes for a formula, whatever blanks come first.

    Examples
    --------
    >>> csv("=1+1"), csv("\u00a0=1+1"), csv("ada"), csv("＝1")
    ("'=1+1", "'\xa0=1+1", 'ada', "'＝1")
    """
    shown = "".join(char if unicodedata.category(char) not in ("Cc", "Cs") else " " for char in text)
    first = next((char for char in shown if not _blank(char)), "")
    return f"'{shown}" if unicodedata.normalize("NFKC", first)[:1] in (*_FORMULA, "\u2212") else shown


def _blank(char: str) -> bool:
    """Whether a character leaves no ink: blanks of all widths, marks and joiners, fillers, private ones."""
    fillers = "\u115f\u1160\u2800\u3164\uffa0\u034f"
    return char.isspace() or char in fillers + "'" or unicodedata.category(char)[0] in "CMZ"


def xml(text: str) -> str:
    r"""Text without the characters that XML cannot hold; its writer escapes the rest.

    Examples
    --------
    >>> xml("a\x00<b>")
    'a?<b>'
    """
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def terminal(text: str, encoding: str = "utf-8") -> str:
    r"""Text that neither moves a terminal's cursor nor fails on it.

    Examples
    --------
    >>> terminal("a\x1b[2Jb\u202e")
    'a?[2Jb?'
    """
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return clean.encode(encoding, "replace").decode(encoding)


def name(text: str) -> str:
    """The dotted name of a module or of what is in it, with nothing else that a name may be made to hold.

    Examples
    --------
    >>> name("moe_lessons.routing"), name('moe_lessons.<a href="x">`b`')
    ('moe_lessons.routing', 'moe_lessons._a_href_x_b_')
    """
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text)[:100]
