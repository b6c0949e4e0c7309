"""Puzzles: right answers pass in any form, each mistake is named, and an answer learnt by heart fails."""

import ast
import re

import puzzle_answers
import pytest
import torch

from moe_lessons.build import paths
from moe_lessons.build.source import read_cells
from moe_lessons.exercises import registry
from moe_lessons.exercises.published import with_solution
from moe_lessons.exercises.puzzle import Puzzle, arguments
from moe_lessons.exercises.puzzle_verdict import judge

PUZZLES = {puzzle.id: puzzle for lesson in registry.lessons() for puzzle in lesson.puzzles}


@pytest.fixture(params=PUZZLES)
def puzzle(request):
    return PUZZLES[request.param]


def test_each_puzzle_has_right_and_wrong_answers():
    assert set(puzzle_answers.RIGHT) == set(puzzle_answers.WRONG) == set(PUZZLES)
    assert min(map(len, puzzle_answers.RIGHT.values())) >= 2


def test_the_solution_and_other_right_answers_pass(puzzle):
    for answer in (puzzle.solution, *puzzle_answers.RIGHT[puzzle.id]):
        assert judge(puzzle, answer).line == f"✔ {puzzle.id}: right, here and on another input"


def test_a_stub_is_not_tried_yet(puzzle):
    def raises(*args):
        raise NotImplementedError("your code here")

    for stub in (lambda *args: ..., raises):
        verdict = judge(puzzle, stub)
        assert verdict.status == "untried"
        assert verdict.got is None


def test_each_planted_mistake_is_named_and_never_passes(puzzle):
    planted = puzzle_answers.WRONG[puzzle.id]
    assert set(planted) == {slip.name for slip in puzzle.slips}
    for slip in puzzle.slips:
        verdict = judge(puzzle, planted[slip.name])
        # On the input that is shown, where the learner can see it.
        assert verdict.line == f"✘ {puzzle.id}: {slip.message}"
        assert verdict.given == puzzle.inputs[0]


def test_no_two_mistakes_come_to_the_same(puzzle):
    said = [judge(puzzle, slip.wrong).message for slip in puzzle.slips]
    assert len(said) == len(set(said))
    assert set(said) == {slip.message for slip in puzzle.slips}


def test_what_was_read_off_the_picture_does_not_pass(puzzle):
    seen = puzzle.solution(*arguments(puzzle.inputs[0]).values())
    verdict = judge(puzzle, lambda *args: seen)
    assert verdict.status == "wrong"
    assert verdict.message.startswith("right here, not on another input (in the picture): ")
    assert verdict.given == puzzle.inputs[1]


def test_a_question_is_short_and_a_picture_has_room(puzzle):
    assert puzzle.question.count(". ") + puzzle.question.count("? ") < 3
    assert puzzle.minutes <= 2
    assert all(re.search(rf"\b{name}\b", puzzle.question) for name in puzzle.inputs[0])
    for given in puzzle.inputs:
        values = [*arguments(given).values(), torch.as_tensor(puzzle.solution(*arguments(given).values()))]
        assert all(v.ndim <= 2 and v.numel() <= 30 for v in values if isinstance(v, torch.Tensor))


def cells(puzzle):
    (lesson,) = [lesson for lesson in registry.lessons() if puzzle in lesson.puzzles]
    return read_cells(paths.LESSONS / f"{lesson.id}.py")


def anonymous(code):
    """Expressions as text with all plain names alike, but what is called by its attribute or keyword kept."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in ("torch", "F", "np", "math"):
            node.id = "x"
    return {
        ast.unparse(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.Return | ast.AugAssign) and node.value is not None
    }


def test_no_line_of_the_exercise_is_the_answer_to_the_puzzle(puzzle):
    """A puzzle trains a tool; where to use it stays the learner's to find."""
    by_id = {
        cell.metadata.get("answer") or cell.metadata.get("puzzle"): cell.source for cell in cells(puzzle)
    }
    ours, theirs = (anonymous(with_solution(by_id[id])) for id in (puzzle.id, puzzle.before))
    assert len(ours) == 1
    assert not ours & theirs


def test_a_line_that_gives_it_away_is_noticed():
    exercise = (
        "def f(ids_S, n):\n    counts = torch.bincount(ids_S, minlength=n)\n    return counts / counts.sum()"
    )
    assert anonymous("def g(a, b):\n    return torch.bincount(a, minlength=b)") & anonymous(exercise)
    assert not anonymous("def g(a, b, c):\n    return torch.bincount(a, weights=c, minlength=b)") & anonymous(
        exercise
    )


DOUBLED = Puzzle(
    id="99.p_doubled",
    question="Double `x_N`.",
    entry="doubled",
    inputs=({"x_N": [1, 2]}, {"x_N": [3]}),
    solution=lambda x_N: 2 * x_N,
    slips=(),
    before="99.scale",
)


def said(answer):
    verdict = judge(DOUBLED, answer)
    assert verdict.status == "wrong"
    assert "\n" not in verdict.line
    return verdict.message


def test_what_is_no_answer_is_said_in_one_line():
    assert said(lambda x: None) == "it returns nothing; is the `return` missing?"
    assert said(lambda x: "two") == "it returns a str, not a tensor of numbers"
    assert said(lambda x: x.sort()) == "it returns a tuple of 2; one tensor is wanted"
    assert said(lambda x: (2 * x)[:, None]) == "its shape is [2, 1], wanted is [2]"
    assert said(lambda x: 2 * x + torch.tensor([0, 1])[: len(x)]) == "1 of 2 cells differs"
    assert said(lambda x: 2.0 * x).startswith("the values are right, but of dtype float32; whole numbers are")
    assert said(lambda x: 2j * x) == "it returns a Tensor, not a tensor of numbers"
    assert said(lambda x: y) == "it stops with NameError: name 'y' is not defined"  # noqa: F821
    assert said(lambda: 0).startswith("it stops with TypeError: ")
    assert said(lambda x: exit(3)) == "it stops with SystemExit: 3"
    assert said(lambda x: torch.empty(2, dtype=torch.int64)) == "2 of 2 cells differ"
    assert said(7).startswith("it stops with TypeError: 'int' object is not callable")


def test_other_forms_of_a_right_answer_pass():
    for answer in (
        lambda x: [2 * n for n in x],
        lambda x: tuple(2 * n for n in x.tolist()),
        lambda x: (2 * x).numpy(),
        lambda x: (2 * x).to(torch.uint8),
        lambda x: (2 * x).to_sparse(),
        lambda x: x.mul_(2),
    ):
        assert judge(DOUBLED, answer).status == "right"


def test_inputs_are_fresh_at_each_call():
    kept = []
    assert judge(DOUBLED, lambda x: kept.append(x) or 2 * x).status == "right"
    kept[0].zero_()
    assert judge(DOUBLED, lambda x: 2 * x).status == "right"


def test_prints_are_seen_once(capsys):
    judge(DOUBLED, lambda x: print("seen") or 2 * x)
    assert capsys.readouterr().out == "seen\n"


def test_arguments_of_both_inputs_have_the_same_names():
    with pytest.raises(ValueError, match="both inputs"):
        Puzzle(**{**vars(DOUBLED), "inputs": ({"x": 1}, {"y": 1})})
