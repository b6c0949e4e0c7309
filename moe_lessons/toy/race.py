"""The balancing race: the same toy with no balancing, a loss, a bias, and expert choice, over a grid."""

from collections.abc import Callable
from typing import Any

import torch

from moe_lessons.metrics import max_violation
from moe_lessons.toy.rules import TopK, load_balancing
from moe_lessons.toy.run import Toy, ToyRun
from moe_lessons.toy.zoo import ExpertChoice, SelectionBias
from moe_lessons.toy.zoo_table import MU

ALPHAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
RATES = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
EVERY = 20
"""Steps that one frame averages over."""
SHOWN = 3
"""Seeds whose loads are kept; errors and MaxVio are kept as means over all seeds."""


def runs(settings: Toy) -> dict[str, ToyRun]:
    """All lanes at all settings, untrained; the keys are ``"none"``, ``"loss 0.1"``, ``"bias 0.01"`` ...

    Examples
    --------
    >>> len(runs(Toy(n_seeds=2)))
    16
    """
    lanes = {"none": ToyRun(settings, TopK(2, score="sigmoid", renormalize=True))}
    for alpha in ALPHAS:
        gate = TopK(2, score="sigmoid", renormalize=True)
        lanes[f"loss {alpha:g}"] = ToyRun(settings, gate, loss=load_balancing, alpha=alpha)
    for rate in RATES:
        lanes[f"bias {rate:g}"] = ToyRun(settings, SelectionBias(2, rate=rate))
    lanes["choice"] = ToyRun(settings, ExpertChoice(2))
    return lanes


def race(*, n_seeds: int, steps: int, say: Callable[[str], Any] = lambda line: None) -> dict[str, Any]:
    """Train every lane and keep, for each frame of ``EVERY`` steps, what the explorable shows.

    Loads are those of the frame's last batch, in per mille; errors and MaxVio means over it, in thousandths.
    """
    settings = Toy(n_seeds=n_seeds, mu=MU, even_start=True)
    lanes = {}
    for name, run in runs(settings).items():
        run.advance(steps)
        error_FS = run.error_NS.unflatten(0, (-1, EVERY)).mean(dim=1)
        # Of one batch: a mean over steps would hide a load that swings.
        shares_FSE = run.shares_NSE[EVERY - 1 :: EVERY]
        vio_FS = max_violation(run.shares_NSE).unflatten(0, (-1, EVERY)).mean(dim=1)
        lanes[name] = {
            "load": (1000 * shares_FSE[:, :SHOWN]).round().int().tolist(),
            "mean_error": [round(1000 * error, 1) for error in error_FS.mean(dim=1).tolist()],
            "mean_vio": (1000 * vio_FS.mean(dim=1)).round().int().tolist(),
        }
        last = torch.stack([error_FS[-5:].mean(), vio_FS[-5:].mean()]).tolist()
        say(f"{name:12s} error {last[0]:.3f} MaxVio {last[1]:.2f}")
    return {"settings": {"mu": MU, "n_seeds": n_seeds, "steps": steps, "every": EVERY}, "lanes": lanes}
