"""A toy exercise for the tests of the engine: the two largest of some numbers, and where they stand."""

import numpy as np

from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output


def cases(rng):
    return [Case(f"n={n}", {"x_N": rng.standard_normal(n).astype(np.float32)}) for n in (4, 7)]


def top2(x):
    values, ids = x.topk(2)
    return values, ids


def by_id(values):
    order = np.argsort(values["ids_K"])
    return {name: value[order] for name, value in values.items()}


def all_zero(case, got, want):
    return not got["values_K"][want["ids_K"] >= 0].any()  # stumbles over other shapes


def top2_exercise(**changes):
    fields = {
        "id": "98.top2",
        "title": "Two largest",
        "task": "Return both.",
        "entry": "top2",
        "points": 3,
        "minutes": 1,
        "difficulty": 1,
        "outputs": (Output("values_K", "K"), Output("ids_K", "K", kind="int")),
        "draw": cases,
        "reference": top2,
        "misconceptions": (
            Misconception("smallest", "Smallest.", wrong=lambda x: tuple(x.topk(2, largest=False))),
            Misconception("zero", "Zero.", detects=all_zero),
        ),
        "hints": ("a", "b", "c"),
        "canonical": by_id,
    }
    return Exercise(**{**fields, **changes})
