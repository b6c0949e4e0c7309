"""The hostile corpus: a short form in every test run; `make hostile` runs the whole of it."""

import re
from collections import Counter
from pathlib import Path

import measure
import pytest

from moe_lessons.grade import sandbox

needs_sandbox = pytest.mark.skipif(sandbox.problem() is not None, reason=str(sandbox.problem()))
NOWHERE = dict.fromkeys(("canary", "port", "repo", "honest"), "")
SHORT = [
    "always-equal",
    "NaN",
    "torch-allclose",
    "the-module-that-answers",
    "an-input-hook",
    "os-exit-0",
    "kill-everyone",
    "slow-endless-loop",
    "memory-bomb",
    "daemon",
    "disk-fill",
    "network",
    "write-the-canary",
    "read-the-solutions",
    "read-another-submission",
    "a-pickle",
    "loaded-again",
    "import-by-text",
    "import-from-the-repository",
    "answers-for-seed-0",
    "outputs-say-passed",
    "answer-doubled-stub-last",
    "file-merge-conflict",
    "file-deep-nesting",
    "the-largest-whole-number",
    "an-error-whose-name-is-markup",
    "be-dumped",
    "bottle-a-file",
    "bottle-a-module",
    "bottle-b-file-found",
    "bottle-b-module-found",
    "a-quarter-of-a-gigabyte-each-time",
    "beside-it-numpy.py",
    "beside-it-conftest.py",
    "a-lock-on-a-shared-file",
    "watching-a-folder",
    "a-borrowed-module-named-markup",
    "a-name-that-is-not-defined,-with-a-link",
    "a-tall-tensor",
    "forged,-three-million-truths",
]


def test_the_corpus_covers_every_threat():
    cases = measure.corpus(NOWHERE)
    names = [case.name for case in cases]
    assert len(set(names)) == len(names) >= 50
    assert set(SHORT) <= set(names)
    assert all(count >= 4 for count in Counter(case.threat for case in cases).values())
    assert {case.threat for case in cases} == {case.threat for case in cases if case.name in SHORT}


@pytest.mark.parametrize("file", ["README.md", "moe_lessons/grade/INSTRUCTORS.md"])
def test_prose_counts_the_attacks_that_there_are(file):
    text = (Path(__file__).parents[2] / file).read_text(encoding="utf-8")
    said = re.findall(r"(\d+) (?:ways|attacks)", text)
    assert said == [str(round(len(measure.corpus(NOWHERE)), -1))]


@needs_sandbox
def test_a_short_hostile_class():
    counts = measure.measure(SHORT)
    print(counts.line)
    assert counts.cases == len(SHORT)
    assert not counts.wrong, counts.wrong
