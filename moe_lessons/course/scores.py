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
    """Show points by lesson over the whole course, and which parts are yours: `yours` gives your code."""
    done = {id: record for id, record in store.load()["exercises"].items() if record["passed"]}
    text, body = [], []
    for lesson in registry.lessons():
        counted = runnable(lesson.exercises)
        earned = sum(exercise.points for exercise in counted if exercise.id in done)
        total = sum(exercise.points for exercise in counted)
        own = ", ".join(one.entry for one in counted if "source" in done.get(one.id, ()))
        own = own and f"yours: {own}"
        text.append(f"{lesson.number}  {lesson.title:<32} {earned:>3} of {total:<3} {own}".rstrip())
        body.append(
            f'<tr><td>{lesson.number}</td><td style="text-align:left">{inline(lesson.title)}</td>'
            f'<td><progress value="{earned}" max="{max(total, 1)}" aria-label="points"></progress></td>'
            f'<td>{earned} of {total}</td><td style="text-align:left">{inline(own)}</td></tr>'
        )
    show(Card("\n".join(text), f"<table>{''.join(body)}</table>"))


@never_raises
def reset(lesson: str | None = None) -> None:
    """Forget what was passed, predicted and answered, your code too: of one lesson or (``"all"``) of all."""
    if lesson == "all":
        store.clear()
        say("All progress is forgotten.")
        return
    found = _lesson(lesson)
    if found is None:
        return

    def change(progress: store.Progress) -> None:
        for kind in ("exercises", "hints", "quizzes", "answers", "predictions"):
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
