"""After a pass: what comes next, and the published answer, folded, with what to notice in it."""

import html

from moe_lessons.course.show import Card, inline
from moe_lessons.exercises import registry
from moe_lessons.exercises.published import published
from moe_lessons.exercises.spec import Exercise

_CODE = "overflow-x:auto;margin:.4em 0 0;line-height:1.35"


def added(card: Card, exercise: Exercise) -> Card:
    """A card with what comes next and the fold; its text has the sentence alone, for text does not fold."""
    notice = f'<p style="margin:.4em 0">{inline(exercise.notice)}</p>' if exercise.notice else ""
    code = html.escape(published(exercise.id), quote=False)
    fold = (
        "<details><summary>Compare with the published answer</summary>"
        f'{notice}<pre style="{_CODE}"><code>{code}</code></pre></details>'
    )
    said = f"\nTo notice: {exercise.notice.replace('`', '')}" if exercise.notice else ""
    then = f'<p style="margin:.4em 0"><strong>Next:</strong> {inline(following(exercise))}</p>'
    return Card(f"{card.text}{said}\nNext: {following(exercise)}", card.body + then + fold, card.color)


def following(exercise: Exercise) -> str:
    """What comes after an exercise: the next one of its lesson, or the lesson's end."""
    lesson = registry.lesson(exercise.lesson)
    ids = [one.id for one in lesson.exercises]
    rest = lesson.exercises[ids.index(exercise.id) + 1 :]
    if rest:
        return f"read on; the next exercise is {rest[0].id} ({rest[0].title})."
    return f"read on; this was the last exercise of lesson {lesson.number}."
