"""After a pass: the published answer, folded, and one sentence on what to notice in it."""

import html

from moe_lessons.course.show import Card, inline
from moe_lessons.exercises.published import published
from moe_lessons.exercises.spec import Exercise

_CODE = "overflow-x:auto;margin:.4em 0 0;line-height:1.35"


def added(card: Card, exercise: Exercise) -> Card:
    """A card with the fold below it; its text has the sentence alone, for text does not fold."""
    notice = f'<p style="margin:.4em 0">{inline(exercise.notice)}</p>' if exercise.notice else ""
    code = html.escape(published(exercise.id), quote=False)
    fold = (
        "<details><summary>Compare with the published answer</summary>"
        f'{notice}<pre style="{_CODE}"><code>{code}</code></pre></details>'
    )
    said = f"\nTo notice: {exercise.notice.replace('`', '')}" if exercise.notice else ""
    return Card(card.text + said, card.body + fold)
