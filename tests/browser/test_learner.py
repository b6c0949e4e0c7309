"""A learner in a browser: wrong and right answers, hints, a prediction, a slider, a restart.

The tests of one lesson run in this order on one page; each begins where the one before it ended.
"""

import html
import re
from dataclasses import dataclass

import accessibility
import pytest
import sliders
from notebook import BUSY
from playwright.sync_api import expect

from moe_lessons.course.show import inline
from moe_lessons.exercises import registry

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Journey:
    """One lesson: an exercise with a wrong and a right answer, a prediction, and what that unlocks."""

    lesson: str
    exercise: str
    misconception: str
    wrong: str
    right: str
    prediction: str
    explorable: str = ""
    slider: int = 0

    @property
    def points(self):
        return f"{registry.exercise(self.exercise).points} of {registry.lesson(self.lesson).points}"


START_HERE = Journey(
    lesson="00_start_here",
    exercise="00.top2_mix",
    misconception="average",
    wrong="""\
def top2_mix(logits_E, outputs_ED):
    return outputs_ED[logits_E.topk(2).indices].mean(dim=0)
""",
    right="""\
def top2_mix(logits_E, outputs_ED):
    best = logits_E.argsort(descending=True)[:2]
    return logits_E[best].softmax(dim=0) @ outputs_ED[best]
""",
    prediction="00.same_word",
)
ROUTER = Journey(
    lesson="01_router",
    exercise="01.router_logits",
    misconception="probabilities",
    wrong="""\
def router_logits(hidden_TD, router_ED):
    return (hidden_TD.float() @ router_ED.float().T).softmax(dim=-1)
""",
    right="""\
def router_logits(hidden_TD, router_ED):
    return torch.einsum("td,ed->te", hidden_TD.float(), router_ED.float())
""",
    prediction="01.norm",
    explorable="playground",
    slider=1,  # the chosen vector's norm
)
CAPACITY = Journey(
    lesson="07_capacity",
    exercise="07.capacity",
    misconception="no_k",
    wrong="""\
def expert_capacity(n_tokens, n_experts, top_k, capacity_factor):
    return math.ceil(n_tokens * capacity_factor / n_experts)
""",
    right="""\
def expert_capacity(n_tokens, n_experts, top_k, capacity_factor):
    rows = n_tokens * top_k * capacity_factor
    return int(rows // n_experts) + (rows % n_experts > 0)
""",
    prediction="07.random",
    explorable="queues",
)


@pytest.fixture(scope="module", params=[START_HERE, ROUTER, CAPACITY], ids=lambda journey: journey.lesson)
def journey(request):
    return request.param


@pytest.fixture(scope="module")
def lesson(journey, open_notebook):
    return open_notebook(f"notebooks/{journey.lesson}.ipynb")


def as_shown(markdown):
    """The text of a message as it stands on the screen."""
    return html.unescape(re.sub(r"<[^>]+>", "", inline(markdown)))


def test_every_cell_runs(lesson, journey):
    assert lesson.run_all() == []
    lesson.shows(lesson.index("check", journey.exercise), "Not attempted yet")
    lesson.shows(lesson.find("score()"), "0 of")


def test_a_wrong_answer_is_named(lesson, journey):
    answer, check = lesson.index("answer", journey.exercise), lesson.index("check", journey.exercise)
    lesson.write(answer, journey.wrong)
    lesson.run(answer)
    lesson.run(check)
    lesson.shows(check, "Not right yet")
    known = {found.id: found for found in registry.exercise(journey.exercise).misconceptions}
    lesson.shows(check, as_shown(known[journey.misconception].message))
    score = lesson.find("score()")
    lesson.run(score)
    lesson.shows(score, "0 of")


def test_hints_are_taken_one_by_one(lesson, journey):
    exercise = registry.exercise(journey.exercise)
    asked = lesson.run_new(lesson.index("check", journey.exercise), f'hint("{journey.exercise}")')
    lesson.shows(asked, f"Hint 1 of 3: {exercise.hints[0]}")
    lesson.run(asked)
    lesson.shows(asked, f"Hint 2 of 3: {exercise.hints[1]}")


def test_folded_hints_open_by_keyboard(lesson, journey):
    hints = lesson.select(lesson.index("check", journey.exercise) + 2)  # `hint(...)` is between them
    folded = hints.locator("details").first
    assert folded.get_attribute("open") is None
    folded.locator("summary").focus()
    lesson.page.keyboard.press("Enter")
    expect(folded).to_contain_text(as_shown(registry.exercise(journey.exercise).hints[0]))
    expect(folded).to_have_attribute("open", "")


def test_the_right_answer_scores(lesson, journey):
    answer, check = lesson.index("answer", journey.exercise), lesson.index("check", journey.exercise)
    lesson.write(answer, journey.right)
    lesson.run(answer)
    lesson.run(check)
    points = registry.exercise(journey.exercise).points
    lesson.shows(check, "✔ Passed")
    lesson.shows(check, f"{points} of {points} point")
    score = lesson.find("score()")
    lesson.run(score)
    lesson.shows(score, f"Lesson {journey.lesson[:2]}: {journey.points}")


def test_a_prediction_is_locked_and_unlocks(lesson, journey):
    """By keyboard alone: into the group, an arrow to b, Enter."""
    keyboard = lesson.page.keyboard
    if journey.explorable:
        sliders.wait_locked(lesson.select(lesson.index_of_source(journey.explorable)))
    asked = lesson.find(f'predict("{journey.prediction}"')
    card = lesson.select(asked).locator(".moe-card")
    expect(card.get_by_role("button", name="Commit")).to_be_disabled()
    choices = card.get_by_role("radio")
    choices.first.focus()
    keyboard.press("ArrowDown")
    expect(choices.nth(1)).to_have_attribute("aria-checked", "true")
    expect(card.get_by_role("button", name="Commit")).to_be_enabled()
    keyboard.press("Enter")
    lesson.shows(asked, "You predicted b)")

    again = lesson.run_new(asked, f'predict("{journey.prediction}", "a")')
    lesson.shows(again, "You predicted b)")
    if journey.explorable:
        sliders.wait_unlocked(lesson.select(lesson.index_of_source(journey.explorable)))


def test_while_the_kernel_is_busy_the_last_choice_counts(lesson, journey, tmp_path):
    """What is sent is the choice itself, whatever was chosen before it."""
    other = next(one for one in registry.lesson(journey.lesson).predictions if one.id != journey.prediction)
    asked = lesson.run_new(lesson.find("score()"), f'predict("{other.id}")')
    card = lesson.select(asked).locator(".moe-card")
    expect(card.get_by_role("radio").first).to_be_visible()
    enough = tmp_path / "enough"
    lesson.run_new(asked, BUSY.format(str(enough)), wait=False)
    for choice in (2, 0, 1):
        card.get_by_role("radio").nth(choice).click()
    card.get_by_role("button", name="Commit").click()
    enough.touch()
    lesson.shows(asked + 1, "done")
    lesson.shows(asked, "You predicted b)")


def test_a_slider_moves_the_picture(lesson, journey):
    if not journey.explorable:
        pytest.skip("this lesson has no explorable")
    assert sliders.within_budget(sliders.drag(lesson, journey.explorable, journey.slider))


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_axe_finds_nothing(lesson, theme, journey):
    lesson.change_theme(theme)
    found, passed = accessibility.violations(lesson.page)
    assert found == []
    expected = {"color-contrast", "image-alt", "label", "aria-allowed-attr"}
    assert expected | ({"aria-input-field-name"} if journey.explorable else set()) <= set(passed)
    assert passed["color-contrast"] >= 50  # texts: what it does not see, it passes


def test_tab_reaches_every_control(lesson):
    assert accessibility.not_reached_by_tab(lesson.page) == []


def test_a_restart_keeps_progress(lesson, journey):
    lesson.restart_kernel()
    start, score = lesson.find(f'start("{journey.lesson}")'), lesson.find("score()")
    lesson.run(start)
    lesson.shows(start, "Welcome back: 1 of")
    lesson.run(score)
    lesson.shows(score, f"Lesson {journey.lesson[:2]}: {journey.points}")
    asked = lesson.find(f'hint("{journey.exercise}")')
    lesson.run(asked)
    lesson.shows(asked, "Hint 3 of 3")
    predicted = lesson.find(f'predict("{journey.prediction}", "a")')
    lesson.run(predicted)
    lesson.shows(predicted, "You predicted b)")


def test_nothing_went_wrong_and_nothing_left_the_machine(lesson):
    assert lesson.problems == []
