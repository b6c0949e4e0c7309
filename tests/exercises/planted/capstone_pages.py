"""The pages that planted answers judge; those that are graded get them as text.

What the sentences are in truth stays out of a grader's sandbox, as all references do.
"""

from moe_lessons.exercises.capstone_errors.bank import page as page

SEEDS = (3, 5, 8, 12, 2024)
"""Whose pages are judged."""


def as_text():
    """A module with the same `page`, for these seeds, that needs nothing of the course."""
    fields = ("id", "verdict", "answer", "quoted", "paper")
    pages = {
        seed: {
            part: [{f: getattr(one, f) for f in fields} for one in rows] for part, rows in page(seed).items()
        }
        for seed in SEEDS
    }
    return f"""\
from types import SimpleNamespace

PAGES = {pages!r}


def page(seed):
    return {{part: [SimpleNamespace(**one) for one in rows] for part, rows in PAGES[seed].items()}}
"""
