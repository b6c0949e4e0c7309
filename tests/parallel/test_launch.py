"""Processes that a cell starts: what the first prints is read, and none is left behind."""

import os
import time

import pytest

from moe_lessons.parallel.launch import RanksFailed, run_ranks

SCRIPT = """
import json, os, sys, time
rank = int(os.environ["RANK"])
open(os.path.join(sys.argv[1], str(rank)), "w").write(str(os.getpid()))
if sys.argv[2] == "fail" and rank == 1:
    sys.exit("no such expert")
if sys.argv[2] == "hang" and rank == 1:
    time.sleep(600)
print("a line before")
print(json.dumps({"size": os.environ["WORLD_SIZE"], "threads": os.environ["OMP_NUM_THREADS"]}))
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "ranks.py"
    path.write_text(SCRIPT)
    return str(path)


def still_there(folder, n_ranks):
    pids = [int((folder / str(rank)).read_text()) for rank in range(n_ranks) if (folder / str(rank)).exists()]
    alive = []
    for pid in pids:
        try:
            os.kill(pid, 0)
            alive.append(pid)
        except ProcessLookupError:
            pass
    return alive


def test_what_the_first_prints_is_read(script, tmp_path):
    assert run_ranks(3, script, [str(tmp_path), "well"]) == {"size": "3", "threads": "1"}


def test_the_one_that_failed_is_named_with_its_last_line(script, tmp_path):
    with pytest.raises(RanksFailed, match=r"process 1 of 2 ended with code 1: no such expert$"):
        run_ranks(2, script, [str(tmp_path), "fail"])


def test_one_that_hangs_is_ended_in_time(script, tmp_path):
    started = time.monotonic()
    with pytest.raises(RanksFailed, match="took more than 3 s"):
        run_ranks(2, script, [str(tmp_path), "hang"], timeout_s=3)
    assert time.monotonic() - started < 60
    assert still_there(tmp_path, 2) == []
