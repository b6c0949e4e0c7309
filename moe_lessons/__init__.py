"""MoE Lessons: a course on Mixture-of-Experts and the reference code behind it.

Importing the package is cheap: torch, matplotlib and ipywidgets load when a name that needs them is used.

Tensors carry their axes in their names: T tokens, D model width, F expert hidden width, E experts,
K experts chosen per token, S = T*K routed rows, B sequences, L their length, V vocabulary.
"""

import os
import sys

if os.path.basename(sys.argv[0] if sys.argv else "").removesuffix(".exe") in ("-m", "moe-lessons"):
    # This package is the program: the current folder may hold what learners handed in, a csv.py of theirs
    # too, and is no place to import from. Only what Python itself starts with is loaded up to here.
    _user = getattr(sys.modules.get("site"), "USER_SITE", None)
    _user = None if _user and __file__.startswith(_user) else _user
    sys.path[:] = [place for place in sys.path if place not in ("", ".", os.getcwd(), _user)]

from moe_lessons.lazy import lazy

# Threads that wait should sleep, not spin: with as many busy processes as cores, spinning slows a small model
# tenfold and more. OpenMP reads this when torch loads, which is later.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_EXPORTS = {
    "MoELayer": "layer",
    "MoETransformer": "model",
    "ModelConfig": "model",
    "Routing": "routing",
}

__all__ = ["MoELayer", "MoETransformer", "ModelConfig", "Routing", "__version__"]

__getattr__, __dir__ = lazy(__name__, _EXPORTS)
