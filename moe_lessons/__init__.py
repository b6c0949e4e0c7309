"""MoE Lessons: a course on Mixture-of-Experts and the reference code behind it.

Importing the package is cheap: torch, matplotlib and ipywidgets load when a name that needs them is used.

Tensors carry their axes in their names: T tokens, D model width, F expert hidden width, E experts,
K experts chosen per token, S = T*K routed rows, B sequences, L their length, V vocabulary.
"""

import os

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
