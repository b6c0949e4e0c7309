"""A sorted layer and its classic bugs: which tokens get whose output, one switch at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from moe_lessons.explore.base import Choice, Control, Explorable, Landmark, Slider, Switch
from moe_lessons.explore.sorted_layer.state import BUGS, ROUTINGS, STAGES, Params, State, simulate, switch
from moe_lessons.svg import Drawing


@dataclass(frozen=True)
class Lock:
    """What a prediction unlocks: one switch of an explorable that has several."""

    open: Callable[[], None]

    def unlock(self) -> None:
        """Let the learner use the switch."""
        self.open()


class SortedLayer(Explorable[Params]):
    """Tokens, slots, sort, split, experts, put back, sum, with bugs to switch on.

    It asks nothing itself. Stage, token and routing are free; each switch waits until a prediction unlocks
    it: ``predict("02.no_inverse", unlocks=layer.switch("no_inverse"))``.

    Examples
    --------
    >>> layer = SortedLayer()
    >>> layer.switch("no_inverse").unlock()
    >>> [control.label for control in layer.controls() if layer.waits(control)]
    ['Inverse by the wrong order', 'Weights sorted twice', 'bincount without minlength']
    """

    name = "Sorted layer"

    def __init__(self, params: Params | None = None, **options: Any) -> None:
        super().__init__(params, **options)
        self._closed = set(BUGS) if self.locked else set()

    @staticmethod
    def start() -> Params:
        """Return the first frame: the whole way, without a bug."""
        return Params()

    simulate = staticmethod(simulate)

    @staticmethod
    def draw(state: State) -> str:
        """Draw the columns as far as the stage has come, and what each token got."""
        from moe_lessons.explore.sorted_layer.view import draw

        return draw(state)

    def static(self) -> Drawing:
        """Draw the layer, and a table of what each bug does to each token."""
        from moe_lessons.explore.sorted_layer.view import strip

        return strip()

    def switch(self, bug: str) -> Lock:
        """Return the lock of one switch, for a prediction to open.

        Raises
        ------
        ValueError
            If there is no such bug.
        """
        if bug not in BUGS:
            raise ValueError(f"bug is {bug!r}: choose one of {', '.join(BUGS)}")
        return Lock(partial(self._open, bug))

    def _open(self, bug: str) -> None:
        self._closed.discard(bug)
        if self._closed:
            self.set(self.params)
        else:
            self.unlock()

    def unlock(self) -> None:
        """Let the learner use every switch."""
        self._closed.clear()
        super().unlock()

    def waits(self, control: Control[Params] | Landmark[Params]) -> bool:
        """Whether a switch waits for its prediction. Everything else only shows the layer as it should be."""
        return isinstance(control, Switch) and any(BUGS[bug] == control.label for bug in self._closed)

    def controls(self) -> Sequence[Control[Params]]:
        """List stage, token and routing, and a switch for each bug."""
        named = {"mixed": "expert 1 idle", "pairs": "only pairs swap", "last idle": "expert 3 idle"}
        return (
            Slider(
                "Stage",
                0,
                len(STAGES) - 1,
                1,
                lambda p: p.stage,
                lambda p, v: replace(p, stage=int(v)),
                ", ".join(f"{i} {name}" for i, name in enumerate(STAGES)),
                lambda p: f"{p.stage}: {STAGES[p.stage]}",
            ),
            Slider("Token", 0, 4, 1, lambda p: p.token, lambda p, v: replace(p, token=int(v)), "to follow"),
            Choice(
                "Routing",
                tuple((named[routing], routing) for routing in ROUTINGS),
                lambda p: p.routing,
                lambda p, v: replace(p, routing=v),
                "who asks for whom",
            ),
            *(self._switch(bug) for bug in BUGS),
        )

    def _switch(self, bug: str) -> Switch[Params]:
        return Switch(
            BUGS[bug],
            lambda p: bug in p.bugs,
            lambda p, on: switch(p, bug, on),
            "unlocks with its prediction",
        )

    def landmarks(self) -> Sequence[Landmark[Params]]:
        """List the jumps: two stages, and back to the layer as it should be."""
        return (
            Landmark("Sorted", "who stands where?", lambda p: replace(p, stage=STAGES.index("sort"))),
            Landmark("There and back", "the whole way", lambda p: replace(p, stage=len(STAGES) - 1)),
            Landmark("No bug", "the layer as it should be", lambda p: Params(token=p.token)),
        )
