"""A model of a layer's time with experts on several ranks, made of few measured numbers.

    step = counts + dispatch + experts + combine, and backwards the same without counts
    exchange: alpha for each partner + bytes of the busiest rank / beta         (`simulated.exchange_us`)
    experts: a constant + a constant times the rows of the fullest rank
    own work: router, sort, gather, sum; a constant + a constant times the tokens of the fullest rank
    all ranks wait for the last one in every exchange, so each phase lasts as long as its slowest rank

It says which of two layouts is faster and what to improve. It leaves out congestion, caches and whatever else
runs on the machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from moe_lessons.parallel.simulated import exchange_us


class AlphaBeta(NamedTuple):
    """A network in two numbers.

    Attributes
    ----------
    latency_us : float
        Alpha, of a message without content.
    gigabytes_per_s : float
        Beta.
    worst : float
        Largest relative error of the fit on the points that it was made of.
    """

    latency_us: float
    gigabytes_per_s: float
    worst: float


def fit_alpha_beta(n_bytes: Sequence[float], seconds: Sequence[float]) -> AlphaBeta:
    """Fit time = alpha + bytes / beta to measured messages, by least squares on relative errors.

    Absolute errors would let the largest messages decide alone, and alpha, which small messages are made of,
    could come out as anything.

    Parameters
    ----------
    n_bytes : sequence of float
        Sizes of messages.
    seconds : sequence of float
        Their times, the least of many repetitions each.

    Returns
    -------
    AlphaBeta

    Raises
    ------
    ValueError
        If there are not two different sizes, or a time is not positive, or larger messages take less time.

    References
    ----------
    Hockney, The communication challenge for MPP, Parallel Computing 20 (1994).

    Examples
    --------
    >>> sizes = [1e3, 1e4, 1e5, 1e6]
    >>> fit = fit_alpha_beta(sizes, [100e-6 + size / 2e9 for size in sizes])
    >>> round(fit.latency_us, 3), round(fit.gigabytes_per_s, 3), fit.worst < 1e-9
    (100.0, 2.0, True)
    """
    constant, slope, worst = fit_line(n_bytes, seconds)
    if slope <= 0:
        raise ValueError("seconds don't grow with n_bytes: repeat the measurement, or take larger messages")
    return AlphaBeta(1e6 * constant, 1 / slope / 1e9, worst)


def fit_line(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float, float]:
    """Fit seconds = a + b * size on relative errors, with a at least 0; return a, b and the worst error.

    Examples
    --------
    >>> a, b, worst = fit_line([1.0, 2.0, 3.0], [5.0, 7.0, 9.0])
    >>> round(a, 6), round(b, 6), worst < 1e-9
    (3.0, 2.0, True)
    """
    if len(sizes) != len(seconds) or len(set(sizes)) < 2:
        raise ValueError(
            f"{len(sizes)} sizes and {len(seconds)} times: give one time each, of two sizes or more"
        )
    times_N = torch.tensor(list(seconds), dtype=torch.float64)
    if not bool((times_N > 0).all()):
        raise ValueError(f"seconds has {float(times_N.min())}: give positive times")
    sizes_N = torch.tensor(list(sizes), dtype=torch.float64)
    unit = float(sizes_N.max())  # both columns of one size, for the solver
    terms_N2 = torch.stack([torch.ones_like(sizes_N), sizes_N / unit], dim=1) / times_N.unsqueeze(1)
    ones_N1 = torch.ones_like(times_N).unsqueeze(1)
    a, b = torch.linalg.lstsq(terms_N2, ones_N1).solution.flatten().tolist()
    if a < 0:  # a time below 0 for nothing is no time
        a, b = 0.0, torch.linalg.lstsq(terms_N2[:, 1:], ones_N1).solution.item()
    worst = float((a * terms_N2[:, 0] + b * terms_N2[:, 1] - 1).abs().max())
    return a, b / unit, worst


@dataclass(frozen=True)
class StepModel:
    """The constants of a machine and a layer; see `predict_us`.

    Attributes
    ----------
    latency_us, gigabytes_per_s : float
        Of the exchange that the layer really makes, from `fit_alpha_beta`.
    experts_us, experts_us_per_row : float
        Of a rank's experts, forward and backward together.
    own_us, own_us_per_token : float
        Of all else that a rank does, forward and backward together.
    """

    latency_us: float
    gigabytes_per_s: float
    experts_us: float
    experts_us_per_row: float
    own_us: float
    own_us_per_token: float

    def predict_us(
        self,
        rows_GG: Tensor,
        tokens_G: Tensor,
        row_bytes: int,
        late_us_G: Tensor | None = None,
        *,
        backward: bool = True,
    ) -> dict[str, float]:
        """Predict one layer's time, phase by phase.

        Parameters
        ----------
        rows_GG : Tensor of shape (G, G)
            Routed rows from rank (row) to rank (column), the diagonal included.
        tokens_G : Tensor of shape (G,)
            Of each rank.
        row_bytes : int
            Bytes of one row.
        late_us_G : Tensor of shape (G,), optional
            What each rank's experts take longer, as of a slow machine.
        backward : bool
            With the backward's two exchanges.

        Returns
        -------
        dict
            Microseconds of "counts", "exchanges", "experts" and "own", and their sum, "total".

        Examples
        --------
        >>> model = StepModel(100.0, 1.0, 50.0, 2.0, 10.0, 1.0)
        >>> rows_GG = torch.tensor([[10, 30], [10, 10]])
        >>> parts = model.predict_us(rows_GG, torch.tensor([20, 10]), row_bytes=1000)
        >>> parts["counts"], parts["exchanges"], parts["experts"], parts["own"]
        (100.0, 520.0, 130.0, 30.0)
        """
        rows_G = rows_GG.sum(dim=0).double()
        one_way = exchange_us(rows_GG * row_bytes, self.latency_us, self.gigabytes_per_s).max()
        # An exchange is made also where nothing goes abroad.
        one_way = one_way.clamp_min(self.latency_us)
        late_G = torch.zeros_like(rows_G) if late_us_G is None else late_us_G.double()
        busy_G = self.experts_us + self.experts_us_per_row * rows_G + late_G
        parts = {
            "counts": self.latency_us,
            "exchanges": float(one_way) * (4 if backward else 2),
            "experts": float(busy_G.max()),
            "own": self.own_us + self.own_us_per_token * float(tokens_G.max()),
        }
        return {**parts, "total": sum(parts.values())}
