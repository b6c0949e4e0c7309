"""Exercise 10.mixtral_keys: one layer's stacked weights under the names of a Mixtral checkpoint."""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import torch

from moe_lessons.exercises import drivers
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Tensor = torch.Tensor
State = dict[str, Tensor]
DRIVER = "state_dict"


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Sizes all different, one with F = D, where a wrong shape cannot warn."""
    return [
        _case(rng, *sizes)
        for sizes in [(3, 6, 4, 0), (4, 2, 5, 7), (2, 4, 4, 1), (5, 8, 3, 12), (11, 2, 3, 2)]
    ]


def _case(rng: np.random.Generator, n_experts: int, d_model: int, d_expert: int, layer: int) -> Case:
    shapes = {
        "router_ED": (n_experts, d_model),
        "gate_up_proj": (n_experts, 2 * d_expert, d_model),
        "down_proj": (n_experts, d_model, d_expert),
    }
    args = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return Case(f"layer {layer}, E={n_experts}, D={d_model}, F={d_expert}", {**args, "layer": layer})


def prefix(layer: int) -> str:
    """How the names of a layer's Mixture-of-Experts part begin."""
    return f"model.layers.{layer}.block_sparse_moe."


Expert = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def split_rows(gate_up_proj: Tensor, down_proj: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One expert's w1 (gate), w2 (down) and w3 (up)."""
    gate, up = gate_up_proj.chunk(2, dim=0)
    return gate, down_proj, up


def with_experts(expert: Expert, *, first: int = 0, own: bool = True) -> Callable[..., State]:
    """The whole layer, given what becomes of one expert."""

    def keys(router_ED: Tensor, gate_up_proj: Tensor, down_proj: Tensor, layer: int) -> State:
        state = {prefix(layer) + "gate.weight": router_ED}
        for e, bank in enumerate(zip(gate_up_proj, down_proj, strict=True)):
            for name, weight in zip(("w1", "w2", "w3"), expert(*bank), strict=True):
                state[f"{prefix(layer)}experts.{e + first}.{name}.weight"] = weight
        if own:
            state = {
                name: weight.clone(memory_format=torch.contiguous_format) for name, weight in state.items()
            }
        return state

    return keys


reference = with_experts(split_rows)


def _in_order(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gate, up = gate_up.chunk(2, dim=0)
    return gate, up, down


def _halves_swapped(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    up, gate = gate_up.chunk(2, dim=0)
    return gate, down, up


def _transposed(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    w1, w2, w3 = split_rows(gate_up, down)
    return w1.T, w2.T, w3.T


def _down_transposed(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    w1, w2, w3 = split_rows(gate_up, down)
    return w1, w2.T, w3


def _interleaved(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return gate_up[0::2], down, gate_up[1::2]


def _split_inputs(gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gate, up = gate_up.chunk(2, dim=-1)
    return gate, down, up


def _fused(router_ED: Tensor, gate_up_proj: Tensor, down_proj: Tensor, layer: int) -> State:
    return {
        prefix(layer) + "gate.weight": router_ED,
        prefix(layer) + "experts.gate_up_proj": gate_up_proj,
        prefix(layer) + "experts.down_proj": down_proj,
    }


def filed_as(wrong: Callable[..., State]) -> Callable[[Case, Outputs, Outputs], bool]:
    """Whether an answer has the names, shapes and values of a wrong one, whosever memory they are in."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        reply = drivers.run(wrong, drivers.Request(DRIVER, case.args, case.casts, {}))
        assert not isinstance(reply, drivers.Failure)
        names, shapes, weights = (value.data for value in reply[:3])
        return got["names"] == names and got["shapes"] == shapes and np.allclose(got["weights"], weights)

    return detects


def _views(case: Case, got: Outputs, want: Outputs) -> bool:
    right = all(got[name] == want[name] for name in ("names", "shapes"))
    return right and np.allclose(got["weights"], want["weights"]) and not bool(got["apart"])


def _router_misnamed(case: Case, got: Outputs, want: Outputs) -> bool:
    ours, theirs = set(got["names"].split("\n")), set(want["names"].split("\n"))
    missing = theirs - ours
    return len(missing) == len(ours - theirs) == 1 and missing.pop().endswith(".gate.weight")


def _no_suffix(case: Case, got: Outputs, want: Outputs) -> bool:
    return got["names"] == want["names"].replace(".weight", "")


def _names(case: Case, got: Outputs, want: Outputs) -> str | None:
    ours, theirs = got["names"].split("\n"), want["names"].split("\n")
    unknown = [name for name in ours if name not in theirs]
    if unknown:
        return f"Mixtral has no tensor {unknown[0]!r} in this layer"
    missing = [name for name in theirs if name not in ours]
    return f"of {len(theirs)} names these are missing: {_listed(missing)}" if missing else None


def _listed(names: list[str]) -> str:
    return repr(names[0]) + (f" and {len(names) - 1} more" if names[1:] else "")


def _shapes(case: Case, got: Outputs, want: Outputs) -> str | None:
    rows = zip(want["names"].split("\n"), got["shapes"].split("\n"), want["shapes"].split("\n"), strict=True)
    for name, ours, theirs in rows:
        if ours != theirs:
            return f"{name} has shape [{ours}], expected [{theirs}]"
    return None


def _weights(case: Case, got: Outputs, want: Outputs) -> str | None:
    start = 0
    for name, shape in zip(want["names"].split("\n"), want["shapes"].split("\n"), strict=True):
        stop = start + prod(int(size) for size in shape.split(", "))
        if not np.allclose(got["weights"][start:stop], want["weights"][start:stop]):
            return f"{name} holds other numbers than it should"
        start = stop
    return None


def _apart(case: Case, got: Outputs, want: Outputs) -> str | None:
    return None if bool(got["apart"]) else "some tensor is a view of a larger one, or not contiguous"


MIXTRAL_KEYS = Exercise(
    id="10.mixtral_keys",
    title="Under Mixtral's names",
    task=(
        "Return a dictionary of tensors: this layer as it lies in a Mixtral checkpoint. Its names begin with "
        "`model.layers.{layer}.block_sparse_moe.` and go on with `gate.weight` for the router and "
        "`experts.{e}.w1.weight`, `.w2.weight`, `.w3.weight` for expert e, which Mixtral computes as "
        "`w2(silu(w1(x)) * w3(x))`, each w a `torch.nn.Linear`. Ours are stacked: expert e is "
        "`down_proj[e] @ (silu(gate) * up)`, and `gate_up_proj[e] @ x` gives `gate` in its first F rows and "
        "`up` in its last F. Each tensor keeps its dtype, is contiguous and has memory of its own: a view "
        "would keep the whole bank alive."
    ),
    entry="mixtral_keys",
    points=3,
    minutes=12,
    difficulty=2,
    outputs=(
        Output("names", kind="text"),
        Output("shapes", kind="text"),
        Output("weights", "N", rtol=0, atol=0, dtype="float32"),
        Output("apart", kind="bool"),
    ),
    driver=DRIVER,
    draw=draw,
    reference=reference,
    properties=(
        Property("the names of a Mixtral checkpoint", _names, early=True),
        Property("shapes as torch.nn.Linear has them", _shapes, early=True),
        Property("the right weights under each name", _weights),
        Property("each tensor has memory of its own", _apart),
    ),
    misconceptions=(
        Misconception(
            "in_order",
            "`w2` holds up and `w3` holds down. The numbers are not in the order of computing: look at the "
            "formula for the one that is applied last.",
            detects=filed_as(with_experts(_in_order)),
        ),
        Misconception(
            "halves_swapped",
            "Gate and up are exchanged. All shapes agree and the model still runs, but silu then falls on "
            "the wrong half. Only one of `w1` and `w3` goes through silu.",
            detects=filed_as(with_experts(_halves_swapped)),
        ),
        Misconception(
            "transposed",
            "Every expert's matrix is transposed. `torch.nn.Linear` keeps `[out, in]`, as our banks do, so "
            "nothing has to be turned. Where F equals D no shape would have warned you.",
            detects=filed_as(with_experts(_transposed)),
            hint=2,
        ),
        Misconception(
            "down_transposed",
            "`w2` is transposed. `down_proj[e]` is `[D, F]` already: F in, D out, as `torch.nn.Linear` wants "
            "it.",
            detects=filed_as(with_experts(_down_transposed)),
            hint=2,
        ),
        Misconception(
            "interleaved",
            "Gate and up were taken as every other row. Some checkpoints are stored so (gpt-oss is); here "
            "gate is the first half and up the last.",
            detects=filed_as(with_experts(_interleaved)),
            hint=2,
        ),
        Misconception(
            "split_inputs",
            "The bank was cut along its last axis, which is D, the inputs. An activation has gate and up "
            "side by side in its last axis; the weight that makes them has them in its rows.",
            detects=filed_as(with_experts(_split_inputs)),
            hint=2,
        ),
        Misconception(
            "views",
            "Names and numbers are right, but a tensor is a window into the stacked bank, or its elements "
            "lie in another order in memory. A window keeps the whole bank alive, and `torch.save` writes "
            "all of it; the other order is what safetensors refuses.",
            detects=_views,
            hint=3,
        ),
        Misconception(
            "router_misnamed",
            "All experts are right and the router has another name. Mixtral calls it `gate`, the word that "
            "the expert uses for something else.",
            detects=_router_misnamed,
        ),
        Misconception(
            "no_suffix",
            "The names stop before `.weight`. They are what `state_dict()` of Mixtral's modules says: the "
            "path to each `torch.nn.Linear`, and then the name of its parameter.",
            detects=_no_suffix,
        ),
        Misconception(
            "fused",
            "The experts are still stacked. That is how transformers 5 holds them in memory; a checkpoint "
            "has three tensors for each expert.",
            detects=filed_as(_fused),
        ),
        Misconception(
            "from_one",
            "The experts are counted from 1. Names in checkpoints count from 0.",
            detects=filed_as(with_experts(split_rows, first=1)),
        ),
    ),
    hints=(
        "Which of w1, w2, w3 goes through silu, which is multiplied with it, and which comes last?",
        "All are `[out, in]`, here and there. `gate_up_proj[e]` is `[2F, D]`: cut its rows in two.",
        "`gate, up = gate_up_proj[e].chunk(2, dim=0)`, and `.clone()` gives a tensor its own memory.",
    ),
)
