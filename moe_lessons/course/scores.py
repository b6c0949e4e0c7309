"""``score``, ``progress`` and ``reset``: what has been passed so far, kept across kernel restarts."""

from moe_lessons.course import starting, store
from moe_lessons.course.show import Card, inline, never_raises, say, show
from moe_lessons.exercises import registry
from moe_lessons.exercises.needs import runnable
from moe_lessons.exercises.spec import Lesson


@never_raises
def score(lesson: str | None = None) -> None:
    """Print the points of a lesson (by default the one that was started) and what is left to do.

    Scores in a notebook are for you alone; an instructor grades the notebook itself.
    """
    found = _lesson(lesson)
    if found is None:
        return
    done = {id for id, record in store.load()["exercises"].items() if record["passed"]}
    counted = runnable(found.exercises)
    earned = sum(exercise.points for exercise in counted if exercise.id in done)
    left = [exercise.id for exercise in counted if exercise.id not in done]
    rest = f"still open: {', '.join(left)}" if left else "all exercises passed"
    say(f"Lesson {found.number}: {earned} of {sum(one.points for one in counted)} points; {rest}")


@never_raises
def progress() -> None:
    """Show points by lesson over the whole course."""
    done = {id for id, record in store.load()["exercises"].items() if record["passed"]}
    rows = []
    for lesson in registry.lessons():
        counted = runnable(lesson.exercises)
        earned = sum(exercise.points for exercise in counted if exercise.id in done)
        rows.append((lesson.number, lesson.title, earned, sum(one.points for one in counted)))
    text = "\n".join(f"{n}  {title:<32} {earned:>3} of {total}" for n, title, earned, total in rows)
    body = "".join(
        f'<tr><td>{n}</td><td style="text-align:left">{inline(title)}</td>'
        f'<td><progress value="{earned}" max="{max(total, 1)}" aria-label="points"></progress></td>'
        f"<td>{earned} of {total}</td></tr>"
        for n, title, earned, total in rows
    )
    show(Card(text, f"<table>{body}</table>"))


@never_raises
def reset(lesson: str | None = None) -> None:
    """Forget what was passed, predicted and answered, in one lesson or (``"all"``) everywhere."""
    if lesson == "all":
        store.clear()
        say("All progress is forgotten.")
        return
    found = _lesson(lesson)
    if found is None:
        return

    def change(progress: store.Progress) -> None:
        for kind in ("exercises", "hints", "quizzes", "predictions"):
            kept = {id: v for id, v in progress[kind].items() if not id.startswith(f"{found.number}.")}
            progress[kind] = kept

    store.update(change)
    say(f"Progress in lesson {found.number} is forgotten.")


def _lesson(name: str | None) -> Lesson | None:
    if name is None:
        name = starting.current_lesson()
    if name is None:
        say('Which lesson? For example score("01").')
        return None
    try:
        return registry.lesson(name)
    except KeyError as error:
        say(error.args[0])
        return None
