"""The style in every drawing: its own light colours on white paper, their counterparts on dark paper.

A drawing writes the light colour into each shape, so it is right wherever styles are ignored. Its style names
those colours and gives each a second value. Which one holds follows the theme of JupyterLab, VS Code or
Colab; on any other page, the page's colour scheme; standing alone or as an image, the reader's preference.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from moe_lessons.svg.palette import INK, VARIABLES, dark

ROOT_CLASS = "moe"
# Each begins with letters of its own, which a search finds fast: every frame of a drag is looked through.
_PAINTS = {how: re.compile(rf'{how}="(#[0-9a-fA-F]{{6}})"') for how in ("fill", "stroke")}
_LIGHT = ':is([data-jp-theme-light="true"],[data-theme="light"],html[theme="light"],.vscode-light)'
_DARK = ':is([data-jp-theme-light="false"],[data-theme="dark"],html[theme="dark"],.vscode-dark)'
_SCHEME = (
    f".{ROOT_CLASS}:root{{color-scheme:light dark}}"
    f"{_LIGHT} .{ROOT_CLASS}{{color-scheme:light}}{_DARK} .{ROOT_CLASS}{{color-scheme:dark}}"
)


def _variables(turn: Callable[[str], str]) -> str:
    return "".join(f"{name}:{turn(light)};" for light, name in VARIABLES.items())


def _host(page: str, scheme: str, turn: Callable[[str], str]) -> str:
    # JupyterLab shows a stored drawing as an image, which follows the colour scheme of what holds it.
    image = f'{page} img[src^="data:image/svg+xml"]'
    return f"{page}{{{_variables(turn)}}}{page} .{ROOT_CLASS},{image}{{color-scheme:{scheme}}}"


PAGE = (
    f":root{{{_variables(str)}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_variables(dark)}}}.{ROOT_CLASS}{{color-scheme:dark}}}}"
    + _host(_LIGHT, "light", str)
    + _host(_DARK, "dark", dark)
)
"""Styles for a page around drawings: the variables in both themes, and the scheme of stored drawings."""


def style(markup: str) -> str:
    """Return the ``<style>`` that gives each colour of some markup its counterpart on dark paper.

    White and black text stays as it is: it stands on an expert's colour, and so does that.

    Examples
    --------
    >>> style('<rect fill="#5b3fb0"/>')[-60:]
    '{fill:var(--moe-accent,light-dark(#5b3fb0,#aa9bdb))}</style>'
    """
    painted = {(how, color) for how, paint in _PAINTS.items() for color in set(paint.findall(markup))}
    return _style(frozenset(painted))


@lru_cache(maxsize=256)
def _style(painted: frozenset[tuple[str, str]]) -> str:
    root = f".{ROOT_CLASS}{{fill:{_both(INK)}}}"
    rules = "".join(
        _rule(how, color) for how, color in sorted(painted) if dark(color).lower() != color.lower()
    )
    return f"<style>{_SCHEME}{root}{rules}</style>"


def _rule(how: str, color: str) -> str:
    shapes = ":not(text)" if how == "fill" and color.lower() in ("#ffffff", "#000000") else ""
    return f'.{ROOT_CLASS} {shapes}[{how}="{color}"]{{{how}:{_both(color)}}}'


def _both(color: str) -> str:
    turned = f"light-dark({color},{dark(color)})"
    name = VARIABLES.get(color.lower())
    return f"var({name},{turned})" if name else turned
