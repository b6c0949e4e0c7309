"""State of Two rounded numbers: what total and active parameters leave possible, and what a config says."""

from dataclasses import dataclass
from functools import cache

from moe_lessons.accounting import count, describe
from moe_lessons.accounting.unknowns import TwoNumbers, two_numbers

UNITS = (0.1, 1.0, 10.0, 100.0)
EXPERTS = (8, 16, 64, 128, 256)
RUMOUR = "GPT-4, as rumoured"


@dataclass(frozen=True)
class Model:
    """A model to compare with, and how far the axes go for it, in billions.

    Attributes
    ----------
    total, active : float
        The ends of the plane of published numbers.
    expert, rest : tuple of float
        The ends of the axes of what follows from them.
    known : bool
        Whether there is a config.
    """

    total: float
    active: float
    expert: tuple[float, float]
    rest: tuple[float, float]
    known: bool = True


MODELS = {
    "Mixtral-8x7B": Model(100, 50, (4, 7), (-2, 6)),
    "DeepSeek-V3": Model(1_000, 100, (2, 3.5), (-10, 40)),
    "Grok-1": Model(500, 200, (30, 45), (-10, 30)),
    RUMOUR: Model(3_000, 1_000, (0, 300), (-300, 300), known=False),
}


@dataclass(frozen=True)
class Params:
    """Two numbers in billions, what they were rounded to, E and K, and the model they are said of."""

    total: float = 46.7
    active: float = 12.9
    unit: float = 0.1
    n_experts: int = 8
    top_k: int = 2
    model: str = "Mixtral-8x7B"


@dataclass(frozen=True)
class Config:
    """What a config says, in billions: one expert of all layers, and all the rest.

    Attributes
    ----------
    expert : float
    rest : tuple of float
        Without the input embedding, and with it: what is called active may leave it out.
    """

    expert: float
    rest: tuple[float, float]


@dataclass(frozen=True)
class State:
    """What follows from the parameters.

    Attributes
    ----------
    says : TwoNumbers or None
        None where K is not below E, or more is active than there is.
    config : Config or None
    corners : tuple of (float, float)
        Expert and rest at the four corners of what rounding allows, in order around.
    """

    params: Params
    says: TwoNumbers | None
    config: Config | None
    corners: tuple[tuple[float, float], ...]

    @property
    def verdict(self) -> str:
        """One of "no numbers", "impossible", "follows", "does not follow", "possible"."""
        if self.says is None:
            return "no numbers"
        if not self.says.possible:
            return "impossible"
        if self.config is None:
            return "possible"
        return "follows" if self.fits else "does not follow"

    @property
    def fits(self) -> bool:
        """Whether the config's numbers would be published as these two, with or without the embedding."""
        p, config = self.params, self.config
        if config is None or self.says is None:
            return False
        half = p.unit / 2 + 1e-9
        total = config.rest[1] + p.n_experts * config.expert
        actives = [rest + p.top_k * config.expert for rest in config.rest]
        near = min(abs(active - p.active) for active in actives)
        between = actives[0] - half <= p.active <= actives[1] + half
        return abs(total - p.total) <= half and (near <= half or between)


@cache
def config_of(model: str) -> Config | None:
    """Count one expert of all layers and the rest from a published config; None where there is none.

    Examples
    --------
    >>> mixtral = config_of("Mixtral-8x7B")
    >>> round(mixtral.expert, 2), [round(rest, 2) for rest in mixtral.rest]
    (5.64, [1.47, 1.61])
    >>> config_of("GPT-4, as rumoured")
    """
    if not MODELS[model].known:
        return None
    found = describe(model)
    expert = sum(times * moe.expert_parameters for moe, times in found.moes) / 1e9
    rest = count(found).total / 1e9 - found.moes[0][0].n_experts * expert
    table = 0.0 if found.tied else found.vocab_size * found.d_model / 1e9
    return Config(expert, (rest - table, rest))


def simulate(params: Params) -> State:
    """Compute the state; pure.

    Examples
    --------
    >>> simulate(Params()).verdict
    'follows'
    >>> simulate(Params(314, 86, 1, 8, 2, "Grok-1")).verdict
    'does not follow'
    >>> simulate(Params(1800, 280, 10, 8, 2, "GPT-4, as rumoured")).verdict
    'impossible'
    """
    p = params
    config = config_of(p.model)
    if p.top_k >= p.n_experts or not 0 < p.active <= p.total:
        return State(p, None, config, ())
    half, corners = p.unit / 2, []
    for i, j in ((-1, -1), (-1, 1), (1, 1), (1, -1)):
        expert = (p.total + i * half - p.active - j * half) / (p.n_experts - p.top_k)
        corners.append((expert, p.active + j * half - p.top_k * expert))
    says = two_numbers(p.total, p.active, p.unit, p.n_experts, p.top_k)
    return State(p, says, config, tuple(corners))
