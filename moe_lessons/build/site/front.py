"""The first page: what this is, the explorable that opens lesson 00, ways in, and the map of the lessons."""

import html

from moe_lessons.build import paths
from moe_lessons.build.site import outputs
from moe_lessons.build.site.ledger import distinct
from moe_lessons.course.show import count
from moe_lessons.exercises.spec import Lesson

HERO = "Sentence"

_WORDS = """# MoE Lessons

An interactive course on Mixture-of-Experts, from one linear router to a mini MoE transformer that you train
yourself. Read it here; predict before you look, and drag the pictures. Run it, and exercises grade your code
and name the mistake.
"""

_CONTENTS = """```{{toctree}}
:hidden:
:caption: Lessons

{lessons}
```

```{{toctree}}
:hidden:
:caption: Look up

claims
glossary
log
changelog
```

```{{toctree}}
:hidden:
:caption: The package

api/index
```
"""


def page(lessons: list[Lesson], hero: str) -> str:
    """The first page in Markdown.

    Parameters
    ----------
    lessons : list of Lesson
    hero : str
        The opening explorable's place, as markup.
    """
    contents = _CONTENTS.format(lessons="\n".join(f"lessons/{lesson.id}" for lesson in lessons))
    top = f"---\nhide-toc: true\n---\n\n{_WORDS}\n{_ways(lessons)}\n\n{hero}\n\n"
    return f"{top}{_map(lessons)}\n{outputs.forget()}\n\n{contents}"


def _ways(lessons: list[Lesson]) -> str:
    first = lessons[0].id
    exercises, claims = sum(len(lesson.exercises) for lesson in lessons), len(distinct(lessons))
    hours = round(sum(lesson.minutes for lesson in lessons) / 60)
    return (
        f'<p class="ways"><a class="first" href="lessons/{first}.html">Read lesson {lessons[0].number}</a>'
        f'<a href="{paths.binder_url(first)}">Run on Binder</a>'
        f'<a href="{paths.colab_url(first)}">Run on Colab</a>'
        f'<a href="https://github.com/{paths.slug()}#start">Install</a></p>\n'
        f'<p class="size">{count(len(lessons), "lesson")}, about {hours} hours · {exercises} exercises · '
        f'<a href="claims.html">{claims} claims settled</a></p>'
    )


def _map(lessons: list[Lesson]) -> str:
    cards = "".join(_card(lesson) for lesson in lessons)
    return f'## The lessons\n\n<div class="lesson-map">{cards}</div>\n'


def _card(lesson: Lesson) -> str:
    """A lesson with its picture, where one has been made; it is silent, as the title says what it shows."""
    pictures = "".join(
        f'<img class="only-{theme}" src="_static/{lesson.id}-{theme}.webp" alt="" width="270" loading="lazy">'
        for theme in ("light", "dark")
        if (paths.PICTURES / f"{lesson.id}-{theme}.webp").is_file()
    )
    return (
        f'<a class="lesson" href="lessons/{lesson.id}.html">{pictures}<strong>{lesson.number} '
        f"{html.escape(lesson.title)}</strong><span>{html.escape(lesson.question)}</span>"
        f"<small>{lesson.minutes} minutes · {count(len(lesson.exercises), 'exercise')}</small></a>"
    )
