"""What the cells of a grading notebook call: judge one answer that runs in a worker.

This runs in the trusted kernel. It holds references and expected values, and never executes learner code.
``begin`` reads the job that ``notebook`` wrote; each ``grade`` prints the judge's line, which nbval compares
with the stored line of a right answer, and appends the details to a file.
"""

import contextlib
import io
import json
import re
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from moe_lessons.exercises import registry
from moe_lessons.exercises.drivers import Failure, Reply, Request
from moe_lessons.exercises.findings import Finding
from moe_lessons.exercises.judge import Report, judge, local
from moe_lessons.exercises.replies import an
from moe_lessons.exercises.spec import Exercise, Mistake
from moe_lessons.grade import escape
from moe_lessons.grade.witness import witnessed
from moe_lessons.grade.workers import WarmParent, Worker, WorkerFault

_open: "Session | None" = None
_COMPARED = "returns what can be compared"
_INCOMPARABLE = "what it returned is of a kind or a size that no comparison takes"
MEMORY = 2 << 30
"""Bytes that judging may take beyond what the kernel begins with."""


def begin(folder: str) -> None:
    """Start the warm parent for the job in ``folder``."""
    global _open
    _open = Session(Path(folder))
    _limit_memory()


def _limit_memory() -> None:
    """Have what an answer makes the judge build end in an error of that answer's, not of the machine's."""
    if sys.platform == "linux":
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            size = int(file.read().split()[0]) * resource.getpagesize() + MEMORY
        # The softer limit only: it passes to the warm parent if that has to be started again.
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (size if hard < 0 else min(size, hard), hard))


def grade(index: int) -> None:
    """Judge answer number ``index`` of the job and print the judge's line."""
    assert _open is not None
    print(_open.grade(index))


def end() -> None:
    """End all workers."""
    assert _open is not None
    _open.parent.close()


class Session:
    """A job under way: where its answers lie, the warm parent, what time each learner's lesson has used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        self.verdicts = folder / "verdicts.jsonl"
        # Inside the job: removed with it even if this kernel dies.
        self.parent = WarmParent(folder, sandboxed=self.job["sandboxed"])
        self.used: dict[tuple[int, str], float] = defaultdict(float)

    def grade(self, index: int) -> str:
        """Judge one answer, write the verdict down, return the line."""
        task = json.loads((self.folder / f"answer-{index}.json").read_text(encoding="utf-8"))
        exercise = registry.exercise(task["exercise"])
        began = time.monotonic()
        # A warning about a learner's values is not part of the output that nbval compares.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            report = self._report(exercise, task)
        mistake = report.misconception
        verdict = {
            "learner": task["learner"],
            "exercise": exercise.id,
            "status": report.status,
            "line": report.line,
            "findings": [[f.name, f.passed, f.detail] for f in report.findings],
            "misconception": mistake and [mistake.id, mistake.message, mistake.hint],
            "observation": report.observation,
            "seconds": round(time.monotonic() - began, 3),
        }
        with self.verdicts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(verdict) + "\n")
        return report.line

    def _report(self, exercise: Exercise, task: dict[str, Any]) -> Report:
        with contextlib.ExitStack() as ends:
            text = f"{task['code']}\n{task['beside']}"
            worker = ends.enter_context(contextlib.closing(self.parent.start(text)))
            witness = worker
            if exercise.driver == "kernel":
                witness = ends.enter_context(contextlib.closing(self.parent.start()))
            try:
                return self._run(exercise, task, worker, witness)
            except WorkerFault:
                raise
            except Exception:
                # A judge that stumbles over this answer alone is what the answer was made to do.
                if judge(exercise, local(exercise.reference), seed=self.job["seed"]).status != "passed":
                    raise
                return Report(exercise, "failed", (Finding(_COMPARED, False, _INCOMPARABLE),))

    def _run(self, exercise: Exercise, task: dict[str, Any], worker: Worker, witness: Worker) -> Report:
        # By lesson, not by file: answers in a file each would have the time of many notebooks.
        lesson = (task["learner"], exercise.lesson)
        code, beside = task["code"], task["beside"]
        found = self._timed(
            lesson,
            worker,
            lambda limit: worker.load(code, exercise.entry, exercise.forbidden, limit, beside=beside),
        )
        if isinstance(found, Failure):
            if _sought(found):
                return _borrowed(exercise, _sought(found))
            report = judge(exercise, lambda request: found, seed=self.job["seed"])
            if report.status == "failed":
                # It is the cell that failed, on no inputs yet.
                said = f"{found.message}; {found.line}" if found.line else found.message
                first = Finding("runs without an error", False, said)
                report = replace(report, findings=(first, *report.findings[1:]))
            return report
        state, detail = found
        if state == "borrowed":
            return _borrowed(exercise, detail)
        if state != "function":
            return _no_function(exercise, detail)
        sought: list[str] = []

        def asked(one: Worker) -> Callable[[Request], Reply]:
            return lambda request: self._timed(lesson, one, lambda limit: one.call(request, limit))

        def call(request: Request) -> Reply:
            reply = witnessed(request, asked(worker), asked(witness))
            sought.append(_sought(reply))
            return reply

        report = judge(exercise, call, seed=self.job["seed"])
        name = next(filter(None, sought), "")
        return _borrowed(exercise, name) if name else report

    def _timed(self, lesson: tuple[int, str], worker: Worker, ask: Callable[[float], Any]) -> Any:
        """Ask a worker within what is left of its lesson's time."""
        limits = self.job["limits"]
        limit = min(limits["call"], limits["notebook"] - self.used[lesson])
        if limit <= 0:
            used_up = f"not run: the lesson's answers have used up their {limits['notebook']:g} s"
            return Failure("interrupted", used_up)
        try:
            return ask(limit)
        finally:
            self.used[lesson] += worker.charged


def _sought(reply: Any) -> str:
    """The module of ours that an answer asked for at run time, in whatever way, and that no worker has."""
    said = reply.message if isinstance(reply, Failure) else ""
    found = re.match(r"ModuleNotFoundError: No module named '(moe_lessons(?:\.\w+)*)'", said)
    return found[1] if found else ""


def _borrowed(exercise: Exercise, said: str) -> Report:
    name = escape.name(said)
    message = f"Your answer uses `{name}`. The exercise asks for your own code; torch is yours to use."
    mistake = Mistake("borrowed", message, hint=0)  # no hint is about this
    return Report(exercise, "failed", (Finding("your own code", False, f"uses {name}"),), mistake)


def _no_function(exercise: Exercise, said: str) -> Report:
    kind = escape.name(said)
    problem = "the cell defines no such function"
    if kind:
        problem = f"`{exercise.entry}` is {an(kind)}, not a function"
    return Report(exercise, "failed", (Finding(f"defines `{exercise.entry}`", False, problem),))
