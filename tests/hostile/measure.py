"""Grade a class of honest and hostile learners by the command, and count what must be zero.

``python tests/hostile/measure.py`` runs the whole corpus and prints one line; ``-k WORD`` a part of it.
"""

import argparse
import ctypes
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

_here = Path(__file__).parent
sys.path[:0] = [str(_here), str(_here.parent / "grade"), str(_here.parent / "exercises")]

import cases  # noqa: E402
import classroom  # noqa: E402

from moe_lessons.exercises import judge, registry  # noqa: E402
from moe_lessons.grade import feedback  # noqa: E402

MARKER = "hostile-marker"
HONEST = {
    "aa-solved": ({cases.FIRST, cases.SECOND}, 0),
    "mm-half": ({cases.SECOND}, 0),
    "zz-stubs": (set(), 0),
}
"""Learners among the hostile ones, at both ends of the class and in the middle, and what they solved."""
CALL_SECONDS, NOTEBOOK_SECONDS = 2, 20
_SUBREAPER = 36
AS_ORDINARY = ("unshare", "--user", "--map-user=1234", "--map-group=1234")
TEMPLATE = (Path(feedback.__file__).parent / "feedback.html.j2").read_text(encoding="utf-8")


@dataclass
class Counts:
    """What went wrong, in words; empty lists are what is wanted."""

    cases: int = 0
    seconds: float = 0.0
    unearned: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    escapes: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    memory_mb: float = 0.0
    """Of all processes of the run together, at its largest."""

    @property
    def line(self) -> str:
        """All of it in one line."""
        return (
            f"{self.cases} hostile cases: {len(self.unearned)} unearned points, "
            f"{len(self.changed)} other grades changed, {len(self.escapes)} escapes, "
            f"{len(self.crashed)} crashed runs, {len(self.leftovers)} leftovers; "
            f"at most {self.memory_mb:.0f} MB ({self.seconds:.0f} s)"
        )

    @property
    def wrong(self) -> list[str]:
        """Everything that went wrong."""
        return [*self.unearned, *self.changed, *self.escapes, *self.crashed, *self.leftovers]


def corpus(place: dict[str, str]) -> list[cases.Case]:
    """All cases, with what attacks may know filled in."""
    return list(cases.cases({**place, "seed0": _answer_for_seed_0(), "marker": MARKER}))


def measure(chosen: Sequence[str] | None, *, jobs: int = 2, quick: bool = False) -> Counts:
    """Grade the cases of these names (None: all) beside honest learners."""
    with tempfile.TemporaryDirectory() as made, closing(_listener()) as listener:
        folder = Path(made)
        folder.chmod(0o755)
        canary = folder / "canary.txt"
        canary.write_text("untouched")
        (folder / "class").mkdir()
        place = {
            "canary": str(canary),
            "port": str(listener.getsockname()[1]),
            "repo": str(_here.parents[1]),
            "honest": str(folder / "class" / "aa-solved" / "01.ipynb"),
        }
        picked = [
            case
            for case in corpus(place)
            if (chosen is None or case.name in chosen) and (case.quick or not quick)
        ]
        _hand_in(folder / "class", picked)
        counts = Counts(len(picked))
        callers = _callers(listener)
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)  # whatever outlives the grader becomes ours to see
        before = set(_children())
        began = time.monotonic()
        (folder / "tmp").mkdir()  # its own: others may grade beside us, and put their files into the system's
        ran, counts.memory_mb = _grade(folder, jobs)
        counts.seconds = time.monotonic() - began
        if ran.returncode != 0:
            counts.crashed.append(f"exit code {ran.returncode}: {ran.stderr[-500:]}")
        counts.leftovers += _left_running(before)
        counts.leftovers += [f"file {path.name}" for path in sorted((folder / "tmp").iterdir())]
        counts.escapes += [f"markup in {page.name}" for page in _marked_up(folder / "out" / "feedback")]
        with suppress(FileNotFoundError):
            _compare(json.loads((folder / "out" / "results.json").read_text()), picked, counts)
        if canary.read_text() != "untouched":
            counts.escapes.append(f"the canary says {canary.read_text()[:80]!r}")
        counts.escapes += [f"called from inside: {caller}" for caller in callers]
        counts.escapes += [f"written: {path}" for path in _written(folder)]
        return counts


def _hand_in(folder: Path, picked: list[cases.Case]) -> None:
    for name, (solved, _) in HONEST.items():
        content = classroom.files({id: classroom.ANSWERS[id] for id in solved})[f"{cases.LESSON.id}.ipynb"]
        (folder / name).mkdir()
        (folder / name / "01.ipynb").write_text(content, encoding="utf-8")
    for case in picked:
        mine = folder / f"h-{case.name}"
        mine.mkdir()
        for name, content in case.files.items():
            (mine / name).parent.mkdir(parents=True, exist_ok=True)
            (mine / name).write_bytes(content)
        for name, target in case.links.items():
            (mine / name).symlink_to(target)


def _marked_up(pages: Path) -> Iterator[Path]:
    """Feedback pages with an element or an attribute that is not of the template's."""
    for page in pages.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        tags = (
            set(re.findall(r"<(\w+)", text)) - set(re.findall(r"<(\w+)", TEMPLATE)) - {"em", "code", "strong"}
        )
        if tags or re.search(r"<[^>]*\b(href|src|on\w+)\s*=", text) or "\u202e" in text:
            yield page


def _grade(folder: Path, jobs: int) -> tuple[subprocess.CompletedProcess[str], float]:
    command = [
        sys.executable,
        "-m",
        "moe_lessons",
        "grade",
        str(folder / "class"),
        "--out",
        str(folder / "out"),
    ]
    command += ["--timeout", str(CALL_SECONDS), "--total", str(NOTEBOOK_SECONDS), "-j", str(jobs)]
    environment = {**os.environ, "HOSTILE_SECRET": "secret", "TMPDIR": str(folder / "tmp")}
    with open(folder / "said.txt", "w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env=environment)
        most = 0.0
        while process.poll() is None:
            most = max(most, memory_mb(process.pid))
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
        said.seek(0)
        ran = subprocess.CompletedProcess(command, process.returncode, "", said.read())
    return ran, most


def _compare(results: dict, picked: list[cases.Case], counts: Counts) -> None:
    found = {one["learner"]: one for one in results["learners"]}
    if results["faults"]:
        counts.crashed.append(f"{results['faults']} grader faults")
    if not results["isolation"]["sandboxed"]:
        counts.escapes.append("there was no sandbox")
    for name, (solved, _) in HONEST.items():
        earned = sum(registry.exercise(id).points for id in solved)
        if name not in found or found[name]["points"] != earned:
            counts.changed.append(f"{name}: {found.get(name, {}).get('points')} instead of {earned}")
    for case in picked:
        one = found.get(f"h-{case.name}")
        if one is None:
            counts.crashed.append(f"{case.name} has no grade")
            continue
        if one["points"] > case.earned:
            counts.unearned.append(f"{case.name} got {one['points']}, earned {case.earned}")
        elif one["points"] < case.earned:
            counts.changed.append(f"{case.name} lost its other exercise: {one['points']} of {case.earned}")
        if "ESCAPE" in json.dumps(one):
            said = [f["detail"] for e in one["exercises"] for f in e["findings"] if "ESCAPE" in f["detail"]]
            counts.escapes.append(f"{case.name}: {said[:1]}")


def _answer_for_seed_0() -> str:
    exercise = registry.exercise(cases.FIRST)
    case = judge.draw(exercise, 0)[0]
    import torch

    hidden, router = (torch.from_numpy(value) for value in case.args.values())
    return repr((hidden @ router.T).tolist())


def _listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def _callers(listener: socket.socket) -> list[str]:
    found: list[str] = []

    def listen() -> None:
        with suppress(OSError):
            while True:
                found.append(str(listener.accept()[1]))

    threading.Thread(target=listen, daemon=True).start()
    return found


def _children() -> Iterator[int]:
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            words = Path(f"/proc/{name}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()
            if int(words[1]) == os.getpid() and words[0] not in "ZX":
                yield int(name)


def memory_mb(root: int) -> float:
    """Memory of a process and all below it, pages that they share counted once."""
    parents = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError, IndexError, ValueError):
            said = Path(f"/proc/{name}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()
            parents[int(name)] = int(said[1])
    family, size = {root}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    total = 0.0
    for pid in family:
        with suppress(OSError, IndexError, ValueError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += float(rollup.split("Pss:")[1].split()[0]) / 1024
    return total


def _left_running(before: set[int]) -> list[str]:
    deadline = time.monotonic() + 10
    while (left := set(_children()) - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [f"process {pid}: {Path(f'/proc/{pid}/cmdline').read_text()!r}" for pid in left] + [
        f"process {name} named {MARKER}"
        for name in filter(str.isdecimal, os.listdir("/proc"))
        if _named(name).startswith(MARKER)
    ]


def _named(pid: str) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(errors="replace")
    return ""


def _written(folder: Path) -> list[Path]:
    places = [folder, _here.parents[1], Path.home(), *map(Path, ("/tmp", "/var/tmp", "/dev/shm", "/"))]
    return [path for place in places for path in (place / MARKER, place / "pickled") if path.exists()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", metavar="WORD", help="cases whose name or threat holds this word")
    parser.add_argument("-j", type=int, default=2, help="runs side by side")
    parser.add_argument("--once", action="store_true", help="as root, leave out the run as an ordinary user")
    parser.add_argument("--list", action="store_true", help="name the cases and do nothing")
    options = parser.parse_args()
    blank = dict.fromkeys(("canary", "port", "repo", "honest"), "")
    named = [case for case in corpus(blank) if not options.k or options.k in f"{case.threat} {case.name}"]
    if options.list:
        print("\n".join(f"{case.threat}: {case.name}" for case in named))
        return 0
    counts = measure([case.name for case in named], jobs=options.j)
    who = "as root" if os.getuid() == 0 else f"as user {os.getuid()}"
    print("\n".join([*counts.wrong, f"{who}: {counts.line}"]), flush=True)
    if os.getuid() != 0 or options.once:
        return bool(counts.wrong)
    # An ordinary user's sandbox is made in another way, so it is attacked too.
    again = [*AS_ORDINARY, sys.executable, *sys.argv, "--once"]
    return subprocess.run(again).returncode or bool(counts.wrong)


if __name__ == "__main__":
    sys.exit(main())
