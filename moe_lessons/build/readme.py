"""The parts of the README that are made: its first screen, how to clone, and the map of the lessons."""

import html
import re

from moe_lessons.build import paths
from moe_lessons.course.show import count
from moe_lessons.exercises import registry
from moe_lessons.exercises.spec import Lesson

FIRST, COLUMNS = "sentence", 3


def filled(text: str) -> str:
    """The README with its made parts up to date; everything outside their markers is left as it is."""
    text = between(text, "first", _first())
    text = between(text, "clone", _clone())
    return between(text, "lessons", _map())


def _first() -> str:
    """The site, three ways in, and the moving picture; who wants no motion gets one moment of it."""
    lesson = registry.lessons()[0].id
    badge = f"https://github.com/{paths.slug()}/actions/workflows/site.yml"
    links = (
        f"[![The course on the web]({badge}/badge.svg)]({paths.site_url()})\n\n"
        f"**[Read](solutions/{lesson}.ipynb)** · **[Run in the browser]({paths.binder_url(lesson)})** "
        f"(or [on Colab]({paths.colab_url(lesson)})) · **[Install](#start)**"
    )
    still = "(prefers-reduced-motion: reduce)"
    sources = [
        (f"{still} and {_DARK}", f"{FIRST}-still", "dark"),
        (still, f"{FIRST}-still", "light"),
        (_DARK, FIRST, "dark"),
    ]
    return f"{links}\n\n{_picture(FIRST, 760, sources)}"


_DARK = "(prefers-color-scheme: dark)"


def _picture(name: str, width: int, sources: list[tuple[str, str, str]]) -> str:
    """A picture on light paper, and for each medium another file: (medium, name, theme)."""
    folder = paths.PICTURES.relative_to(paths.ROOT).as_posix()
    others = "".join(
        f'<source media="{medium}" srcset="{folder}/{other}-{theme}.webp">'
        for medium, other, theme in sources
    )
    alt = html.escape(paths.shows().get(name, {}).get("alt", ""))
    return f'<picture>{others}<img src="{folder}/{name}-light.webp" width="{width}" alt="{alt}"></picture>'


def _clone() -> str:
    folder = paths.slug().split("/")[1]
    return f"```\ngit clone https://github.com/{paths.slug()}\ncd {folder}\nmake lab\n```"


def between(text: str, name: str, content: str) -> str:
    """Put `content` between the page's markers of that name.

    Raises
    ------
    ValueError
        If the markers are gone.
    """
    pattern = rf"(<!-- {name}:begin[^>]*-->\n).*?(<!-- {name}:end -->)"
    if not re.search(pattern, text, re.DOTALL):
        raise ValueError(f"the page has lost its markers <!-- {name}:begin --> and <!-- {name}:end -->")
    return re.sub(pattern, lambda m: f"{m[1]}{content}\n{m[2]}", text, flags=re.DOTALL)


def _map() -> str:
    """The lessons in their order, each with a picture of its own."""
    cells = [_lesson(lesson) for lesson in registry.lessons()]
    rows = ["\n".join(cells[n : n + COLUMNS]) for n in range(0, len(cells), COLUMNS)]
    return "<table>\n" + "\n".join(f"<tr>\n{row}\n</tr>" for row in rows) + "\n</table>"


def _lesson(lesson: Lesson) -> str:
    read = f"solutions/{lesson.id}.ipynb"
    picture = _picture(lesson.id, 270, [(_DARK, lesson.id, "dark")])
    ways = (("read", read), ("Binder", paths.binder_url(lesson.id)), ("Colab", paths.colab_url(lesson.id)))
    links = " · ".join(f'<a href="{address}">{name}</a>' for name, address in ways)
    return (
        f'<td width="33%" valign="top"><a href="{read}">{picture}</a><br>'
        f'<a href="notebooks/{lesson.id}.ipynb"><b>{lesson.number} {html.escape(lesson.title)}</b></a><br>'
        f"{html.escape(lesson.question)}<br>"
        f"{lesson.minutes} minutes · {count(len(lesson.exercises), 'exercise')}<br>{links}</td>"
    )
