"""Answers that attack: by threat and name, the cell's code. ``<entry>`` and the like are filled in.

An attack that gets through says ``ESCAPE`` in an error of its own, which the report of its exercise shows.
"""

from attacks.beside import BESIDE
from attacks.bottles import BOTTLES
from attacks.floods import FLOODS
from attacks.kernel import KERNEL
from attacks.markup import MARKUP
from attacks.neighbours import NEIGHBOURS
from attacks.outside import OUTSIDE, REFERENCES
from attacks.processes import ENDINGS, RESOURCES, TIME
from attacks.replies import REPLIES
from attacks.returns import RETURNS
from attacks.values import EQUAL, FIXED, HOOKS, PATCHED

__all__ = ["ANSWERS", "BESIDE"]

ANSWERS = {
    "equality": EQUAL,
    "odd returns": RETURNS,
    "patched libraries": PATCHED,
    "hooks": HOOKS,
    "endings": ENDINGS,
    "time": TIME,
    "resources": RESOURCES,
    "outside": OUTSIDE,
    "system calls": KERNEL,
    "replies": REPLIES,
    "references": REFERENCES,
    "fixed answers": FIXED,
    "messages to other answers": BOTTLES,
    "messages at the same time": NEIGHBOURS,
    "markup": MARKUP,
    "floods": FLOODS,
}
