"""Answers that attack: by threat and name, the cell's code. ``<entry>`` and the like are filled in.

An attack that gets through says ``ESCAPE`` in an error of its own, which the report of its exercise shows.
"""

from attacks.beside import BESIDE
from attacks.outside import OUTSIDE, REFERENCES
from attacks.processes import ENDINGS, RESOURCES, TIME
from attacks.replies import REPLIES
from attacks.values import EQUAL, FIXED, HOOKS, PATCHED

__all__ = ["ANSWERS", "BESIDE"]

ANSWERS = {
    "equality": EQUAL,
    "patched libraries": PATCHED,
    "hooks": HOOKS,
    "endings": ENDINGS,
    "time": TIME,
    "resources": RESOURCES,
    "outside": OUTSIDE,
    "replies": REPLIES,
    "references": REFERENCES,
    "fixed answers": FIXED,
}
