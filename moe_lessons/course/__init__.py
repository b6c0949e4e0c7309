"""What a notebook cell calls: check, hint, measured, yours, puzzle, quiz, predict, reveal, claim, score.

None of these raises at a learner: what cannot be done is said in one line. (`yours` does where there is no
such exercise: it has nothing to return. And `rerun` is for the solutions.)
"""

from moe_lessons.lazy import lazy

_EXPORTS = {
    "check": "checking",
    "claim": "claims",
    "claims_table": "claims",
    "closing": "closing_page",
    "hint": "checking",
    "measured": "shown",
    "predict": "predictions",
    "progress": "scores",
    "puzzle": "puzzles",
    "quiz": "quizzes",
    "rerun": "changing",
    "reset": "scores",
    "reveal": "predictions",
    "score": "scores",
    "sentences": "sentence_pages",
    "settled": "sentence_pages",
    "start": "starting",
    "yours": "parts",
}

__all__ = sorted(_EXPORTS)

__getattr__, __dir__ = lazy(__name__, _EXPORTS)
