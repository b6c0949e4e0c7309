"""What one has written goes on: after a restart of the kernel, and in the next lesson."""

import pytest

pytestmark = pytest.mark.browser

EXERCISE = "01.topk_gates"
THE_PACKAGES = f"topk_gates: the package's, until {EXERCISE} passes"
YOURS = f"topk_gates: yours, as it last passed ({EXERCISE})"
ANSWER = """\
def topk_gates(logits_TE, top_k, renormalize):
    probs_TE = F.softmax(logits_TE, dim=-1)
    ids_TK = probs_TE.argsort(dim=-1, descending=True)[:, :top_k]
    weights_TK = probs_TE.gather(-1, ids_TK)
    return ids_TK, weights_TK / weights_TK.sum(-1, keepdim=True) if renormalize else weights_TK
"""
IN_THE_NEXT = f"""\
from moe_lessons.course import yours
gates = yours("{EXERCISE}")
print(gates.label, gates(torch.tensor([[0.0, 2.0, 1.0]]), 2, True)[0].tolist())
"""


@pytest.fixture(scope="module")
def lesson(open_notebook):
    return open_notebook("notebooks/01_router.ipynb")


def run(lesson, *cells):
    for cell in cells:
        lesson.run(cell)


def test_before_the_answer_it_is_the_packages(lesson):
    place = lesson.find(f'gates = yours("{EXERCISE}")')
    run(lesson, lesson.find('start("01_router")'), place)
    lesson.shows(place, THE_PACKAGES)


def test_after_a_pass_it_is_yours_and_the_card_folds_the_published_answer(lesson):
    answer, check = lesson.index("answer", EXERCISE), lesson.index("check", EXERCISE)
    lesson.write(answer, ANSWER)
    run(lesson, answer, check)
    lesson.shows(check, "✔ Passed")
    lesson.shows(check, "4 of 4 points")
    fold = lesson.select(check).locator("details").first
    assert fold.get_attribute("open") is None
    fold.locator("summary").focus()
    lesson.page.keyboard.press("Enter")
    lesson.shows(check, "return topk_ids_TK, topk_weights_TK")
    place = lesson.find(f'gates = yours("{EXERCISE}")')
    lesson.run(place)
    lesson.shows(place, YOURS)


def test_a_restarted_kernel_still_has_it(lesson):
    lesson.restart_kernel()
    place, trap = lesson.find(f'gates = yours("{EXERCISE}")'), lesson.find("largest = {False")
    run(lesson, lesson.find('start("01_router")'), lesson.find("import math"), place, trap)
    lesson.shows(place, YOURS)
    lesson.shows(trap, "rounding, no gradient")


def test_the_next_lesson_names_it(lesson, open_notebook):
    following = open_notebook("notebooks/02_moe_layer.ipynb")
    start = following.find('start("02_moe_layer")')
    following.run(start)
    asked = following.run_new(start, IN_THE_NEXT)
    following.shows(asked, YOURS)
    following.shows(asked, "your topk_gates [[1, 2]]")
    assert lesson.problems + following.problems == []
