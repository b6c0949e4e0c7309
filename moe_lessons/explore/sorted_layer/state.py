"""State of a sorted layer with bugs: which result each token gets, and with which weight.

No vectors are multiplied. A result is known by its slot: it is the answer of one expert to one token. What
a bug does to the order of results and weights, it does to these numbers, and what a token gets follows.
"""

from dataclasses import dataclass

from moe_lessons.explore.rows.plan import N_EXPERTS, Plan, Routing, plan

STAGES = ("tokens", "slots", "sort", "split", "experts", "weights", "put back", "sum")
"""What the scrubber walks through, in order."""

BUGS = {
    "no_inverse": "No inverse",
    "wrong_inverse": "Inverse by the wrong order",
    "weights_twice": "Weights sorted twice",
    "no_minlength": "bincount without minlength",
}
"""What can be switched on, and what the switch says."""

ROUTINGS: dict[str, Routing] = {
    "mixed": ((2, 0), (0, 2), (2, 0), (0, 2), (2, 3)),
    "pairs": ((0, 1), (2, 3), (1, 2), (3, 1), (2, 3)),
    "last idle": ((2, 0), (1, 0), (0, 1), (2, 1), (1, 2)),
}
"""Expert ids of five tokens. In "mixed" nobody asks for expert 1, in "pairs" the sort only swaps pairs."""

WEIGHTS = (0.70, 0.30, 0.60, 0.40, 0.80, 0.20, 0.55, 0.45, 0.90, 0.10)
"""The weight of each slot: 1 for each token together, and no two are equal."""


@dataclass(frozen=True)
class Params:
    """How far the rows have come, the token to follow, who asked for whom, and the bugs that are on."""

    stage: int = len(STAGES) - 1
    token: int = 2
    routing: str = "mixed"
    bugs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class State(Plan):
    """The plan, and where results and weights go.

    Attributes
    ----------
    sizes : tuple of int
        Rows of each expert, as they were counted.
    weight_slots : tuple of int
        The slot whose weight the row at each position is multiplied with.
    fetched : tuple of int
        The position from which each place in slot order takes its row.
    """

    params: Params
    sizes: tuple[int, ...]
    weight_slots: tuple[int, ...]
    fetched: tuple[int, ...]

    @property
    def crashed(self) -> bool:
        """Whether a group is asked for that was never counted."""
        return len(self.sizes) < N_EXPERTS

    @property
    def landed(self) -> tuple[int, ...]:
        """The slot whose result stands at each place in slot order."""
        return tuple(self.row_ids[p] for p in self.fetched)

    def terms(self, token: int) -> tuple[tuple[float, int], ...]:
        """What a token adds up: weights, and the slots whose results they multiply. Empty after a crash."""
        if self.crashed:
            return ()
        places = (self.fetched[q] for q in self.slots_of(token))
        return tuple((WEIGHTS[self.weight_slots[p]], self.row_ids[p]) for p in places)


@dataclass(frozen=True)
class Verdict:
    """What became of one token: whether it is right, and in words what it got."""

    right: bool
    said: str


def simulate(params: Params) -> State:
    """Follow the rows through sort, experts, weights and the way back; pure.

    Examples
    --------
    >>> state = simulate(Params(bugs=frozenset({"no_inverse"})))
    >>> state.landed[:2], state.terms(0)  # token 0 adds its own second row and the first of token 1
    ((1, 2), ((0.3, 1), (0.6, 2)))
    """
    base = plan(ROUTINGS[params.routing], params.token)
    order = base.row_ids
    flat = [e for row in base.ids for e in row]
    weight_slots, fetched = order, base.inverse
    if "weights_twice" in params.bugs:
        weight_slots = tuple(order[slot] for slot in order)
    if "wrong_inverse" in params.bugs:
        fetched = order
    if "no_inverse" in params.bugs:
        fetched = tuple(range(len(order)))
    n_counted = 1 + max(flat) if "no_minlength" in params.bugs else N_EXPERTS
    sizes = tuple(flat.count(e) for e in range(n_counted))
    return State(**vars(base), params=params, sizes=sizes, weight_slots=weight_slots, fetched=fetched)


def verdict(state: State, token: int) -> Verdict:
    """Judge what a token got against what it should get.

    Examples
    --------
    >>> verdict(simulate(Params()), 0)
    Verdict(right=True, said='right')
    >>> verdict(simulate(Params(bugs=frozenset({"no_inverse"}))), 1).said
    'rows of tokens 2 and 3'
    """
    if state.crashed:
        return Verdict(False, "no output")
    got = set(state.terms(token))
    if got == _due(state, token):
        return Verdict(True, "right")
    for other in range(len(state.ids)):
        if got == _due(state, other):
            return Verdict(False, f"token {other}'s output")
    sources = sorted({slot // state.top_k for _, slot in got})
    if sources == [token]:
        return Verdict(False, "wrong weights")
    names = " and ".join(map(str, sources))
    return Verdict(False, f"rows of token{'s' if len(sources) > 1 else ''} {names}")


def n_right(state: State) -> int:
    """How many tokens get what they should.

    >>> n_right(simulate(Params(routing="pairs", bugs=frozenset({"wrong_inverse"}))))
    5
    """
    return sum(verdict(state, t).right for t in range(len(state.ids)))


def switch(params: Params, bug: str, on: bool) -> Params:
    """Turn a bug on or off. The two ways of not undoing the sort exclude each other.

    >>> switch(switch(Params(), "no_inverse", True), "wrong_inverse", True).bugs
    frozenset({'wrong_inverse'})
    """
    either = {"no_inverse", "wrong_inverse"}
    left = params.bugs - (either if on and bug in either else {bug})
    return Params(params.stage, params.token, params.routing, left | {bug} if on else left)


def reached(state: State, stage: str) -> bool:
    """Whether the rows have come as far as this stage, and nothing crashed on the way."""
    here = STAGES.index(stage)
    return state.params.stage >= here and not (state.crashed and here > STAGES.index("split"))


def _due(state: State, token: int) -> set[tuple[float, int]]:
    return {(WEIGHTS[slot], slot) for slot in state.slots_of(token)}
