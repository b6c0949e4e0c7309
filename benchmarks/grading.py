"""How long a class takes to grade, in the sandbox, and how much memory.

    python benchmarks/grading.py [--learners 100] [--lessons 10] [--cores 2] [--peers-python PATH]

Makes a class as tests/grade does (solved, half done, other right answers, planted mistakes, stubs), grades it
with `moe-lessons grade`, and writes `benchmarks/results/grading.json`.

With `--peers-python` nbgrader and otter-grader judge a few solved notebooks in the same run, by the same
checks: PATH is the Python of an environment into which they and requirements.txt are installed.
Our own command is timed on these notebooks alone, too.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import torch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "grading.json"
LIMIT_S = 30 * 60
LIMIT_MB = 1500
LIMIT_EACH_MB = 600
"""Of one process, counting in full what it shares with others."""
TRIES = 5
"""Readings in a row for one during which no process comes or goes."""
PAUSE_S = 0.5
WATCHING = 0.05
"""Share of one processor that watching may take from grading, at most: a reading is followed by a pause."""
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests" / "grade"), str(ROOT / "tests" / "exercises")]

import classroom  # noqa: E402
from peers import graders  # noqa: E402

from moe_lessons.device import environment  # noqa: E402


def hand_in(folder: Path, learners: int, lessons: int) -> tuple[int, int]:
    """Write the class; how many notebooks and answers it holds."""
    kinds = [one for name, one in classroom.make_class().items() if name[0] in "abcdegw"]
    # 00 is a tour of the lab.
    chosen = {f"{lesson.id}.ipynb" for lesson in classroom.LESSONS[1 : 1 + lessons]}
    answers = sum(id.split(".")[0] in {name[:2] for name in chosen} for id in classroom.IDS)
    for number in range(learners):
        mine = folder / f"learner-{number:03}"
        mine.mkdir(parents=True)
        for name, text in kinds[number % len(kinds)].files.items():
            if name in chosen:
                (mine / name).write_text(text, encoding="utf-8")
    return learners * len(chosen), learners * answers


class Memory:
    """The memory of a process and all below it, read now and then, pages that they share counted once.

    A page that three processes share counts a third in each. While an answer's process begins or ends, those
    read before count it by one number of sharers and those read after by another. ``peak_mb`` is therefore of
    readings during which no process came or went; ``raw_mb`` is of all.
    """

    def __init__(self) -> None:
        self.peak_mb = self.raw_mb = 0.0
        self.watching_s = 0.0
        """Time of the processor that readings took."""
        self.sandbox_s: dict[int, float] = {}
        """The same, of each warm parent and its answers: nobody waits for a sandbox, so no total has it."""
        self.each_mb: dict[str, float] = {}
        """The largest process of each kind, with all that it shares."""
        self.at_peak_mb: dict[str, float] = {}
        """What each kind had at the peak, shared pages divided."""
        self.readings = self.steady = 0

    def watch(self, root: int, done: threading.Event) -> None:
        """Read until it is done, and rest in between."""
        pause = PAUSE_S
        while not done.wait(pause):
            began = time.thread_time()
            self.read(root)
            took = time.thread_time() - began
            self.watching_s += took
            pause = max(PAUSE_S, took / WATCHING)

    def read(self, root: int) -> None:
        """Read once, and again while processes come and go."""
        for _ in range(TRIES):
            family = _family(root)
            read = {pid: _sizes_mb(pid) for pid in family}
            steady = all(read.values()) and set(_family(root)) == set(family)
            total = sum(sizes[0] for sizes in read.values() if sizes)
            self.readings += 1
            self.raw_mb = max(self.raw_mb, total)
            for pid, sizes in read.items():
                kind = _kind(pid, family)
                if kind == "warm parent":
                    self.sandbox_s[pid] = _used_s(pid) or self.sandbox_s.get(pid, 0.0)
                self.each_mb[kind] = max(self.each_mb.get(kind, 0.0), sizes[1] if sizes else 0.0)
            if steady:
                self.steady += 1
                if total > self.peak_mb:
                    self.peak_mb, self.at_peak_mb = total, {}
                    for pid, sizes in read.items():
                        kind = _kind(pid, family)
                        self.at_peak_mb[kind] = self.at_peak_mb.get(kind, 0.0) + (sizes[0] if sizes else 0.0)
                return


def _family(root: int) -> dict[int, int]:
    """A process and all below it, each with its parent."""
    parents = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[1])
    family, size = {root}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    return {pid: parents.get(pid, 0) for pid in family}


def _sizes_mb(pid: int) -> tuple[float, float] | None:
    """Memory with shared pages divided among their owners, and with all that it maps."""
    with suppress(OSError, KeyError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        kilobytes = {line.split()[0]: float(line.split()[1]) for line in lines}
        return kilobytes["Pss:"] / 1024, kilobytes["Rss:"] / 1024
    return None


def _used_s(pid: int) -> float:
    """Time of the processor that a process and all that it waited for have used; 0 where it has gone."""
    with suppress(OSError):
        said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, said[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


_KINDS = {"moe_lessons grade": "command", "pytest": "runner", "grade.kernel": "judge", "reader": "reader"}


def _kind(pid: int, family: dict[int, int]) -> str:
    with suppress(OSError):
        said = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        if "start.py" not in said:
            return next((kind for word, kind in _KINDS.items() if word in said), "other")
        if _name(pid) == "bwrap":
            return "bubblewrap"
        return "warm parent" if _name(family[pid]) == "bwrap" else "answer"
    return "other"


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()


def graded(folder: Path, out: Path, cores: int) -> dict[str, Any]:
    """Grade a folder by the command: seconds, peak memory, exit code, and what it found."""
    command = [sys.executable, "-m", "moe_lessons", "grade", str(folder), "--out", str(out), "-j", str(cores)]
    began, before = time.perf_counter(), _processor_s()
    process = subprocess.Popen(command)
    memory = Memory()
    done = threading.Event()
    watcher = threading.Thread(target=memory.watch, args=(process.pid, done))
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    took = json.loads((out / "timing.json").read_text(encoding="utf-8"))["answers_s"]
    results["seconds_judging"] = sum(sum(one.values()) for one in took.values())
    used = _processor_s() - before + sum(memory.sandbox_s.values())
    return {
        "seconds": seconds,
        "processor_s": used,
        "memory": memory,
        "exit_code": code,
        "results": results,
    }


def _processor_s() -> float:
    """User and system time of all that has been started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def beside_peers(python: Path | None, notebooks: int, folder: Path, cores: int) -> dict[str, Any]:
    """A few solved notebooks, graded by us and by the peers."""
    solved = list(classroom.learner(classroom.ANSWERS).files.items())
    chosen = dict(solved[1 : 1 + notebooks])  # 00 is a tour of the lab
    (folder / "few" / "ada").mkdir(parents=True)
    for name, text in chosen.items():
        (folder / "few" / "ada" / name).write_text(text, encoding="utf-8")
    ours = graded(folder / "few", folder / "few-out", cores)
    (ada,) = ours["results"]["learners"]
    return {
        "notebooks": [name.removesuffix(".ipynb") for name in chosen],
        "max_points": ada["max_points"],
        "moe-lessons": {
            "seconds_per_notebook": round(ours["seconds"] / len(chosen), 2),
            "points": ada["points"],
        },
        **graders.measure(python, chosen, folder / "peers"),
    }


@click.command()
@click.option("--learners", default=100, show_default=True)
@click.option("--lessons", default=10, show_default=True, help="Notebooks of a learner, from 01 on.")
@click.option("--cores", default=2, show_default=True)
@click.option("--peers-python", type=click.Path(path_type=Path, exists=True), help="With the peers in it.")
@click.option("--peers-notebooks", default=4, show_default=True, help="How many notebooks they grade.")
@click.option("--write/--no-write", default=True, help="Write the result file.")
def main(
    learners: int, lessons: int, cores: int, peers_python: Path | None, peers_notebooks: int, write: bool
) -> None:
    """Grade a class and time it."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        notebooks, answers = hand_in(folder / "class", learners, lessons)
        load_before = os.getloadavg()
        ran = graded(folder / "class", folder / "out", cores)
        load = os.getloadavg()
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        if peers_python or not RESULTS.exists():
            peers = beside_peers(peers_python, peers_notebooks, folder, cores)
            peers["commit"] = commit.stdout.strip()
        else:  # what was measured before, beside the commit that it was measured at
            peers = json.loads(RESULTS.read_text(encoding="utf-8"))["peers"]
    found, memory = ran["results"], ran["memory"]
    each_mb = {kind: round(size) for kind, size in sorted(memory.each_mb.items())}
    result = {
        "exit_code": ran["exit_code"],
        "faults": found["faults"],
        "isolation": found["isolation"]["kind"],
        "learners": learners,
        "notebooks": notebooks,
        "answers": answers,
        "cores": cores,
        "wall_s": round(ran["seconds"], 1),
        "processor_s": round(ran["processor_s"], 1),
        "seconds_per_notebook": round(ran["seconds"] / notebooks, 3),
        "seconds_per_answer": round(ran["seconds"] / answers, 3),
        "share_of_time_judging_answers": round(found["seconds_judging"] / cores / ran["seconds"], 2),
        "peak_memory_mb": round(memory.peak_mb),
        "at_the_peak_mb": {kind: round(size) for kind, size in sorted(memory.at_peak_mb.items())},
        "peak_memory_while_processes_come_and_go_mb": round(memory.raw_mb),
        "processor_s_watching": round(memory.watching_s, 1),
        "memory_readings": memory.readings,
        "memory_readings_steady": memory.steady,
        "largest_process_mb": each_mb,
        "within_limits": {
            f"{LIMIT_S} s": ran["seconds"] <= LIMIT_S,
            f"{LIMIT_MB} MB": memory.raw_mb <= LIMIT_MB,
            f"{LIMIT_EACH_MB} MB a process": max(each_mb.values(), default=0) <= LIMIT_EACH_MB,
        },
        "load_average_before": [round(value, 1) for value in load_before],
        "load_average_after": [round(value, 1) for value in load],
        "peers": peers,
        **environment(torch.device("cpu")),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }
    print(json.dumps(result, indent=1))
    if write:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
