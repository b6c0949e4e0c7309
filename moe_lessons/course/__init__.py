"""What a notebook cell calls: check, hint, quiz, predict, reveal, claim, score, start.

None of these raises at a learner: what cannot be done is said in one line.
"""

import importlib
from typing import Any

_EXPORTS = {
    "check": "checking",
    "claim": "claims",
    "claims_table": "claims",
    "hint": "checking",
    "predict": "predictions",
    "progress": "scores",
    "quiz": "quizzes",
    "reset": "scores",
    "reveal": "predictions",
    "score": "scores",
    "start": "starting",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"moe_lessons.course.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'moe_lessons.course' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
