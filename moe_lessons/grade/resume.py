"""What a run has graded already, kept in a file beside its results, so that nothing is run twice."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import moe_lessons
from moe_lessons.grade.records import (
    FAILED,
    FAULT,
    NOT_ATTEMPTED,
    PASSED,
    Verdict,
)

FILE = "graded.jsonl"


class _Answer(Protocol):
    @property
    def exercise(self) -> str: ...
    @property
    def notebook(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def beside(self) -> str: ...


class Kept:
    """Verdicts by learner and answer; those of another seed, other limits or another course do not count.

    Parameters
    ----------
    path : Path or None
        The file. None keeps nothing.
    header : mapping
        What verdicts depend on, beside the answer: see ``header``.
    again : frozenset of str
        Learners, exercises and lessons that are graded anew; all others keep their verdicts, even where the
        course has changed since.
    """

    def __init__(
        self,
        path: Path | None = None,
        header: Mapping[str, Any] | None = None,
        again: frozenset[str] = frozenset(),
    ) -> None:
        self._path, self._again = path, again
        self._verdicts: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        lines = list(_lines(path))
        if lines and _same_terms(lines[0], header, but_the_course=bool(again)):
            self._verdicts = {line["key"]: line["verdict"] for line in lines[1:] if "key" in line}
        # Written anew: whatever did not count, or was cut short, is gone.
        kept = [header, *({"key": key, "verdict": said} for key, said in self._verdicts.items())]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def __len__(self) -> int:
        return len(self._verdicts)

    def find(self, learner: str, place: int, answer: _Answer) -> Verdict | None:
        """The verdict on an answer, if there is one; ``place`` is the learner's place in this run."""
        if self._again & {learner, answer.exercise, answer.exercise.split(".")[0]}:
            return None
        said = self._verdicts.get(_key(learner, answer))
        try:
            found = None if said is None else as_verdict({**said, "learner": place})
        except (TypeError, ValueError, KeyError):
            return None  # damaged: it is graded again
        return found if found is not None and found.status in (PASSED, FAILED, NOT_ATTEMPTED) else None

    def add(self, found: Iterable[tuple[str, _Answer, Verdict]]) -> None:
        """Keep verdicts; never one that is the grader's own fault."""
        new = {_key(name, answer): asdict(v) for name, answer, v in found if v.status != FAULT}
        self._verdicts |= new
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps({"key": k, "verdict": v}) + "\n" for k, v in new.items())


def header(seed: int, limits: Mapping[str, float], isolation: str) -> dict[str, Any]:
    """What verdicts depend on: seed, limits, isolation, and the course's own code."""
    return {"seed": seed, "limits": dict(limits), "isolation": isolation, "course": _fingerprint()}


def last_seed(path: Path, limits: Mapping[str, float], isolation: str, *, again: bool = False) -> int | None:
    """The seed of the run that a file is from, if that run can be gone on with."""
    first = next(_lines(path), {})
    seed = first.get("seed")
    if type(seed) is not int:
        return None
    same = _same_terms(first, header(seed, limits, isolation), but_the_course=again)
    return seed if same else None


def _same_terms(first: Mapping[str, Any], second: Mapping[str, Any] | None, *, but_the_course: bool) -> bool:
    if but_the_course and second is not None:
        first, second = {**first, "course": ""}, {**second, "course": ""}
    return first == second


def as_verdict(said: dict[str, Any]) -> Verdict:
    """A verdict from plain data."""
    findings = tuple((name, passed, detail) for name, passed, detail in said["findings"])
    mistake = said["misconception"]
    return Verdict(**{**said, "findings": findings, "misconception": tuple(mistake) if mistake else None})


def _key(learner: str, answer: _Answer) -> str:
    parts = json.dumps([learner, answer.notebook, answer.exercise, answer.code, answer.beside])
    return hashlib.sha256(parts.encode("ascii")).hexdigest()


def _fingerprint() -> str:
    package = Path(moe_lessons.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue  # cut short when the run was stopped, or damaged
        if isinstance(content, dict):
            yield content
