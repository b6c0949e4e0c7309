"""The parts of the README that are made: badges, how to clone, and the table of lessons."""

import re

from moe_lessons.build import paths
from moe_lessons.build.render import badges
from moe_lessons.exercises import registry


def filled(text: str) -> str:
    """The README with its made parts up to date; everything outside their markers is left as it is."""
    text = between(text, "badges", badges(registry.lessons()[0].id))
    text = between(text, "clone", _clone())
    return between(text, "lessons", _table())


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


def _table() -> str:
    rows = [
        "| Lesson | The question | Minutes | Exercises | Open | With solutions |",
        "|---|---|---|---|---|---|",
    ]
    for lesson in registry.lessons():
        open_links = f"[Binder]({paths.binder_url(lesson.id)}) · [Colab]({paths.colab_url(lesson.id)})"
        rows.append(
            f"| [{lesson.number} {lesson.title}](notebooks/{lesson.id}.ipynb) | {lesson.question} "
            f"| {lesson.minutes} | {len(lesson.exercises)} | {open_links} "
            f"| [read](solutions/{lesson.id}.ipynb) |"
        )
    return "\n".join(rows)
