"""What an answer can reach is what ``sandbox.reach`` lists, and nothing else: an answer walks and tells."""

import pytest

from moe_lessons.exercises.drivers import Request
from moe_lessons.grade import sandbox
from moe_lessons.grade.workers import WarmParent

WALK = """
import os
import sys


def walk(known):
    known = known.split("|")
    found, writable = [], []
    pending = ["/"]
    while pending:
        place = pending.pop()
        try:
            names = os.listdir(place)
        except OSError:
            continue
        for name in names:
            path = os.path.join(place, name)
            if os.path.islink(path):
                path = os.path.realpath(path)
            inside = any(path == one or path.startswith(one + "/") for one in known)
            above = any(one.startswith(path + "/") for one in known)
            if not inside and not above:
                found.append(path)
            elif above and not inside:
                pending.append(path)
        if os.access(place, os.W_OK):
            writable.append(place)
    return "#".join("|".join(sorted(set(names))) for names in (found, writable, os.environ))
"""


@pytest.mark.skipif(sandbox.problem() is not None, reason=str(sandbox.problem()))
def test_an_answer_finds_what_is_listed_and_nothing_else():
    known = [path for path, _ in sandbox.reach()]
    with WarmParent() as warm:
        worker = warm.start()
        assert worker.load(WALK, "walk", (), 60) == ("function", "")
        reply = worker.call(Request("call", {"known": "|".join(known)}, {}, {}), 60)
        worker.close()
    found, writable, environment = reply[0].data.split("#")
    assert found == ""
    assert set(filter(None, writable.split("|"))) <= {sandbox.scratch()}
    assert not {
        name for name in environment.split("|") if name.startswith(("MOE_", "HOSTILE", "GITHUB", "JUPYTER"))
    }


def test_nothing_listed_holds_answers():
    places = [path for path, _ in sandbox.reach()]
    assert not [
        path for path in places if path.endswith(("moe_lessons", "solutions", "lessons", "transformers"))
    ]
