"""State of the dispatch permutation: eight tokens, their slots, the sorted rows, and the way back."""

from dataclasses import dataclass

from moe_lessons.explore.rows.plan import Plan, Routing, plan

STAGES = ("tokens", "flatten", "sort", "offsets", "products", "inverse", "combine")
"""What the scrubber walks through, in order."""

ROUTINGS: dict[str, Routing] = {
    "mixed": ((2, 0), (0, 3), (3, 2), (0, 2), (2, 3), (3, 0), (0, 2), (2, 0)),
    "even": ((0, 1), (2, 3), (1, 0), (3, 2), (0, 3), (1, 2), (3, 1), (2, 0)),
    "skewed": ((2, 0), (2, 1), (0, 2), (2, 3), (2, 0), (1, 2), (2, 3), (2, 1)),
}
"""Expert ids of each token, best first. In "mixed", nobody asks for expert 1."""


@dataclass(frozen=True)
class Params:
    """How far the rows have come, the token to follow, and who asked for whom."""

    stage: int = 1
    token: int = 5
    routing: str = "mixed"


@dataclass(frozen=True)
class State(Plan):
    """The plan, and what of it is on the page."""

    params: Params


def simulate(params: Params) -> State:
    """Compute the plan; pure.

    Examples
    --------
    >>> state = simulate(Params(token=5))
    >>> state.slots, [state.inverse[s] for s in state.slots]  # token 5 asks for experts 3 and 0
    ((10, 11), [15, 3])
    >>> state.ends  # nobody asks for expert 1
    (6, 6, 12, 16)
    """
    return State(**vars(plan(ROUTINGS[params.routing], params.token)), params=params)


def reached(state: State, stage: str) -> bool:
    """Whether the rows have come as far as this stage."""
    return state.params.stage >= STAGES.index(stage)
