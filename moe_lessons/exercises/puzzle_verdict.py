"""Judge an answer to a puzzle: right, not tried yet, or what is the matter with it."""

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from moe_lessons.exercises.puzzle import Puzzle, arguments
from moe_lessons.exercises.replies import an
from moe_lessons.exercises.unwritten import steady

_MARKS = {"right": "✔", "wrong": "✘", "untried": "○"}


@dataclass(frozen=True)
class Verdict:
    """What is said of an answer, and the input that shows it: what is wanted there, and what came.

    `got` is None where nothing came that has numbers in it. `differs` is True where a cell is not as wanted;
    None where the shapes differ.
    """

    puzzle: Puzzle
    status: Literal["right", "wrong", "untried"]
    message: str
    given: Mapping[str, Any]
    want: Tensor
    got: Tensor | None = None
    differs: Tensor | None = None

    @property
    def line(self) -> str:
        """The verdict in one line."""
        return f"{_MARKS[self.status]} {self.puzzle.id}: {self.message}"


@dataclass(frozen=True)
class _Outcome:
    """What a call came to: numbers, or why there are none."""

    numbers: Tensor | None = None
    problem: str = ""
    error: str = ""
    untried: bool = False


def judge(puzzle: Puzzle, function: Callable[..., Any]) -> Verdict:
    """Try a function on the shown input, and on one that is not shown.

    Examples
    --------
    >>> from moe_lessons.exercises import registry
    >>> puzzle = registry.puzzle("02.p_inverse")
    >>> judge(puzzle, lambda order_N: torch.argsort(order_N)).line
    '✔ 02.p_inverse: right, here and on another input'
    >>> judge(puzzle, lambda order_N: ...).line
    '○ 02.p_inverse: not tried yet; the picture shows what goes in and what is wanted'
    """
    wanted = [_wanted(puzzle, given) for given in puzzle.inputs]
    shown = _outcome(function, puzzle.inputs[0])
    if shown.untried:
        said = "not tried yet; the picture shows what goes in and what is wanted"
        return Verdict(puzzle, "untried", said, puzzle.inputs[0], wanted[0])
    with contextlib.redirect_stdout(io.StringIO()):  # what it prints, it has printed once
        outcomes = (shown, _outcome(function, puzzle.inputs[1]))
    problems = [
        _problem(puzzle, want, outcome.numbers, outcome.problem)
        for want, outcome in zip(wanted, outcomes, strict=True)
    ]
    place = next((i for i, problem in enumerate(problems) if problem), None)
    if place is None:
        said = "right, here and on another input"
        return Verdict(puzzle, "right", said, puzzle.inputs[0], wanted[0], outcomes[0].numbers)
    said = _slip(puzzle, outcomes) or problems[place]
    if place == 1:
        said = f"right here, not on another input (in the picture): {said}"
    got, want = outcomes[place].numbers, wanted[place]
    differs = _differs(got, want) if got is not None and got.shape == want.shape else None
    return Verdict(puzzle, "wrong", said, puzzle.inputs[place], want, got, differs)


def _wanted(puzzle: Puzzle, given: Mapping[str, Any]) -> Tensor:
    return torch.as_tensor(puzzle.solution(*arguments(given).values()))


def _outcome(function: Callable[..., Any], given: Mapping[str, Any]) -> _Outcome:
    try:
        with steady(function), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            returned = function(*arguments(given).values())
            if returned is ...:
                return _Outcome(untried=True)
            return _numbers(returned)
    except NotImplementedError:
        return _Outcome(untried=True)
    except (Exception, SystemExit) as error:
        said, kind = " ".join(str(error).split("\n")[0].split())[:160], type(error).__name__
        return _Outcome(problem=f"it stops with {kind}: {said}".removesuffix(": "), error=kind)


def _numbers(returned: Any) -> _Outcome:
    """Numbers in whatever they come: a tensor, an array, lists, one number."""
    if returned is None:
        return _Outcome(problem="it returns nothing; is the `return` missing?")
    if isinstance(returned, tuple) and any(isinstance(one, Tensor) and one.ndim for one in returned):
        return _Outcome(problem=f"it returns a tuple of {len(returned)}; one tensor is wanted")
    try:
        found = returned if isinstance(returned, Tensor) else _as_tensor(returned)
        found = found.detach().cpu()
        if found.is_complex():
            raise TypeError
        return _Outcome(found.to_dense() if found.is_sparse else found)
    except (TypeError, ValueError, RuntimeError):
        return _Outcome(problem=f"it returns {an(type(returned).__name__)}, not a tensor of numbers")


def _as_tensor(returned: Any) -> Tensor:
    if isinstance(returned, list | tuple) and any(isinstance(one, Tensor | list) for one in returned):
        return torch.stack([one if isinstance(one, Tensor) else _as_tensor(one) for one in returned])
    return torch.as_tensor(returned)


_KINDS = {"float": "fractions", "int": "whole numbers", "bool": "True and False"}


def _kind(numbers: Tensor) -> str:
    return "bool" if numbers.dtype == torch.bool else "float" if numbers.is_floating_point() else "int"


def _problem(puzzle: Puzzle, want: Tensor, got: Tensor | None, problem: str) -> str:
    """What is wrong, in a few words; empty if nothing is."""
    if got is None:
        return problem
    if got.shape != want.shape:
        return f"its shape is {list(got.shape)}, wanted is {list(want.shape)}"
    n_wrong = int(_differs(got, want).sum())
    if n_wrong:
        if want.numel() == 1:
            return "another number is wanted"
        return f"{n_wrong} of {want.numel()} cells {'differs' if n_wrong == 1 else 'differ'}"
    needed, kind = _kind(want), _kind(got)
    if needed == kind or needed == "float" or (puzzle.plain and kind == "float"):
        return ""
    came, asked = str(got.dtype)[6:], str(want.dtype)[6:]
    return f"the values are right, but of dtype {came}; {_KINDS[needed]} are wanted ({asked})"


def _differs(got: Tensor, want: Tensor) -> Tensor:
    return ~torch.isclose(got.double(), want.double(), rtol=1e-4, atol=1e-5)


def _slip(puzzle: Puzzle, outcomes: tuple[_Outcome, _Outcome]) -> str:
    """The sentence of the mistake that comes to the same on both inputs; empty if none does."""
    # Where one input gives numbers, the other may stop in other words: the order of two factors changes them.
    exact = all(outcome.numbers is None for outcome in outcomes)
    for slip in puzzle.slips:
        made = [_outcome(slip.wrong, given) for given in puzzle.inputs]
        if all(_same(one, other, exact) for one, other in zip(made, outcomes, strict=True)):
            return slip.message
    return ""


def _same(one: _Outcome, other: _Outcome, exact: bool) -> bool:
    if one.numbers is None or other.numbers is None:
        alike = one.problem == other.problem if exact else bool(one.error) and one.error == other.error
        return one.numbers is other.numbers and alike
    return one.numbers.shape == other.numbers.shape and not bool(_differs(one.numbers, other.numbers).any())
