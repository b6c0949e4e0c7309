"""Stage b: which tiles are fastest? Candidates are compiled side by side, judged, and what is left is timed.

The winners, as they go into `moe_lessons/kernels/tiles.py`, are printed at the end.
"""

import os
from collections.abc import Iterator
from typing import Any

from gpu_stages.candidates import SHAPES, candidates
from gpu_stages.stage import Stage
from gpu_stages.winners import code, table
from gpu_stages.workers import Worker, ask_all
from moe_lessons.kernels.limits import CEILINGS
from moe_lessons.kernels.tiles import INTERPRETER, TILE_OF_STEP, Tile

LIMIT_S = 240
SHARE_OF_COMPILING = 0.5  # of the time that is left; what is not compiled by then, its first run compiles
QUESTION_S = 60  # a kernel that takes longer than that hangs
TINY = {"dry": (24, 32, 24, 4, 2)}
Job = dict[str, Any]


def jobs(dry: bool) -> Iterator[Job]:
    """Yield what is to be timed, the shapes that matter most first: "shape", "sizes", "step" and "tile"."""
    for shape, sizes in (TINY if dry else SHAPES).items():
        for step, tile in tiny_candidates() if dry else candidates(shape):
            yield {"shape": shape, "sizes": sizes, "step": step, "tile": tile}


def tiny_candidates() -> list[tuple[str, Tile]]:
    """Return two tiles for each step: small ones, for the interpreter."""
    plain = INTERPRETER.up
    others = {"up": {"tma": True, "persistent": 1}, "down": {"tma": True}, "weight_gradient": {"stages": 2}}
    return [
        (step, tile)
        for step, field in TILE_OF_STEP.items()
        for tile in (plain, plain._replace(**others.get(field, {"group": 2})))
    ]


def to_compile(dry: bool) -> list[Job]:
    """Return what is compiled ahead; in a dry run a handful, for the real shape, each lever among them."""
    if not dry:
        return list(jobs(False))
    wanted = {"up": ("group", "tma", "persistent"), "down": ("tma",), "pre_gradient": ()}
    return [
        next(
            job
            for job in jobs(False)
            if job["step"] == step and all(lever in job["tile"].levers for lever in levers)
        )
        for step, levers in wanted.items()
    ]


def key(what: str, job: Job) -> dict[str, Any]:
    """Return what a row of this job is found by."""
    return {"what": what, "shape": job["shape"], "kernel": job["step"], "tile": list(job["tile"])}


def compile_ahead(stage: Stage, capability: int) -> None:
    """Compile and judge; what is not worth timing says so in "dropped"."""
    todo = [job for job in to_compile(stage.dry) if not stage.have(**key("compiled", job))]
    until = stage.left() * (1 - SHARE_OF_COMPILING)
    workers = [Worker("gpu_stages.compiling") for _ in range(min(len(todo), len(os.sched_getaffinity(0))))]
    questions = [{**job, "capability": capability} for job in todo]
    for job, answer in ask_all(workers, questions, lambda: min(QUESTION_S, stage.left() - until)):
        if "error" in answer:
            answer = {"dropped": [f"does not compile: {answer['error']}"]}
        stage.add({**key("compiled", job), **answer})


def time_all(stage: Stage) -> None:
    """Time what was not dropped, one after another, in a process that may die of a wrong candidate."""
    worker = Worker("gpu_stages.timing", interpreted=stage.dry)
    try:
        for job in jobs(stage.dry):
            judged = stage.have(**key("compiled", job)) or {}
            if stage.have(**key("timed", job)) or judged.get("dropped"):
                continue
            left = stage.left()
            if left < 5:
                stage.say(f"no time left for {job}")
                return
            row = {**key("timed", job), "ok": False, **worker.ask(job, min(QUESTION_S, left))}
            if not row["ok"]:
                row["check"] = f"{job['shape']}, {job['step']}, {code(job['tile'])}"
            stage.add(row)
    finally:
        worker.close()


def run(stage: Stage) -> None:
    """Compile ahead, time, and print the winners."""
    capability, gpu = None, "no GPU"
    if stage.device == "cuda":
        import torch

        capability, gpu = torch.cuda.get_device_capability(), torch.cuda.get_device_name()
    major, minor = capability or (9, 0)
    compile_ahead(stage, 10 * major + minor)
    time_all(stage)
    if again := sum(row.get("compiled_before") is False for row in stage.rows if row["what"] == "timed"):
        stage.say(f"{again} kernels had to be compiled again when they were timed")
    gpu = next((name for name in CEILINGS if name in gpu), gpu)
    stage.say(table(stage.rows, TINY if stage.dry else SHAPES, capability, gpu))
