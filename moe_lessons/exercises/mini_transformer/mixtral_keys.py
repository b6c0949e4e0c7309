"""Exercise 10.mixtral_keys: one layer's stacked weights under the names of a Mixtral checkpoint."""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import torch

from moe_lessons.exercises import drivers
from moe_lessons.exercises.mini_transformer import mixtral_states as states
from moe_lessons.exercises.own_replies import own_reply
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Property

Tensor = torch.Tensor
DRIVER = "state_dict"


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Sizes all different, one with F = D, where a wrong shape cannot warn; two in half precision."""
    sizes = [(3, 6, 4, 0), (4, 2, 5, 7), (2, 4, 4, 1), (5, 8, 3, 12), (11, 2, 3, 2)]
    return [
        _case(rng, *size, cast) for size, cast in zip(sizes, ("", "bfloat16", "", "float16", ""), strict=True)
    ]


def _case(
    rng: np.random.Generator, n_experts: int, d_model: int, d_expert: int, layer: int, cast: str
) -> Case:
    shapes = {
        "router_ED": (n_experts, d_model),
        "gate_up_proj": (n_experts, 2 * d_expert, d_model),
        "down_proj": (n_experts, d_model, d_expert),
    }
    args = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    name = f"layer {layer}, E={n_experts}, D={d_model}, F={d_expert}{', ' * bool(cast)}{cast}"
    return Case(name, {**args, "layer": layer}, dict.fromkeys(shapes, cast) if cast else {})


def filed_as(wrong: Callable[..., states.State]) -> Callable[[Case, Outputs, Outputs], bool]:
    """Whether an answer has the names, shapes and values of a wrong one, whosever memory they are in."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        reply = own_reply(wrong, drivers.Request(DRIVER, case.args, case.casts, {}))
        assert not isinstance(reply, drivers.Failure)
        names, shapes, weights = (value.data for value in reply[:3])
        return got["names"] == names and got["shapes"] == shapes and np.allclose(got["weights"], weights)

    return detects


def _views(case: Case, got: Outputs, want: Outputs) -> bool:
    right = all(got[name] == want[name] for name in ("names", "shapes"))
    return right and np.allclose(got["weights"], want["weights"]) and not bool(got["apart"])


def _other_stem(case: Case, got: Outputs, want: Outputs) -> bool:
    """Each name ends as it should, and begins otherwise."""
    ours, theirs = got["names"].split("\n"), want["names"].split("\n")
    tails = [name.split("block_sparse_moe.")[1] for name in theirs]
    apart = [name for name in ours if name not in theirs]
    return len(ours) == len(theirs) and bool(apart) and all(any(o.endswith(t) for o in ours) for t in tails)


def _cast(case: Case, got: Outputs, want: Outputs) -> bool:
    alike = all(got[name] == want[name] for name in ("names", "shapes"))
    return (
        alike
        and np.allclose(got["weights"], want["weights"])
        and (bool(case.casts) == (got["dtypes"] != want["dtypes"]))
    )


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


def _dtypes(case: Case, got: Outputs, want: Outputs) -> str | None:
    rows = zip(want["names"].split("\n"), got["dtypes"].split("\n"), want["dtypes"].split("\n"), strict=True)
    return next((f"{name} has dtype {a}, and came as {b}" for name, a, b in rows if a != b), None)


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
        Output("weights", "N", rtol=0, atol=0),
        Output("apart", kind="bool"),
        Output("dtypes", kind="text"),
    ),
    driver=DRIVER,
    draw=draw,
    reference=states.reference,
    properties=(
        Property("the names of a Mixtral checkpoint", _names, early=True),
        Property("shapes as torch.nn.Linear has them", _shapes, early=True),
        Property("the right weights under each name", _weights),
        Property("each tensor keeps its dtype", _dtypes),
        Property("each tensor has memory of its own", _apart),
    ),
    misconceptions=(
        Misconception(
            "in_order",
            "`w2` holds up and `w3` holds down. The numbers are not in the order of computing: look at the "
            "formula for the one that is applied last.",
            detects=filed_as(states.with_experts(states.in_order)),
        ),
        Misconception(
            "halves_swapped",
            "Gate and up are exchanged. All shapes agree and the model still runs, but silu then falls on "
            "the wrong half. Only one of `w1` and `w3` goes through silu.",
            detects=filed_as(states.with_experts(states.halves_swapped)),
        ),
        Misconception(
            "transposed",
            "Every expert's matrix is transposed. `torch.nn.Linear` keeps `[out, in]`, as our banks do, so "
            "nothing has to be turned. Where F equals D no shape would have warned you.",
            detects=filed_as(states.with_experts(states.transposed)),
            hint=2,
        ),
        Misconception(
            "down_transposed",
            "`w2` is transposed. `down_proj[e]` is `[D, F]` already: F in, D out, as `torch.nn.Linear` wants "
            "it.",
            detects=filed_as(states.with_experts(states.down_transposed)),
            hint=2,
        ),
        Misconception(
            "interleaved",
            "Gate and up were taken as every other row. Some checkpoints are stored so (gpt-oss is); here "
            "gate is the first half and up the last.",
            detects=filed_as(states.with_experts(states.interleaved)),
            hint=2,
        ),
        Misconception(
            "split_inputs",
            "The bank was cut along its last axis, which is D, the inputs. An activation has gate and up "
            "side by side in its last axis; the weight that makes them has them in its rows.",
            detects=filed_as(states.with_experts(states.split_inputs)),
            hint=2,
        ),
        Misconception(
            "views",
            "Names and numbers are right, but a tensor is a window into the stacked bank, or the very "
            "tensor that was given (`.contiguous()` copies only what is not contiguous yet), or its "
            "elements lie in another order in memory. A window keeps the whole bank alive, and "
            "`torch.save` writes all of it; the other order is what safetensors refuses.",
            detects=_views,
            hint=3,
        ),
        Misconception(
            "cast",
            "Right in fp32; half-precision weights come back in another dtype. A checkpoint keeps what it "
            "was given: `.float()` doubles its size, and a fresh `torch.nn.Linear` is fp32 unless you say "
            "otherwise.",
            detects=_cast,
            hint=3,
        ),
        Misconception(
            "router_transposed",
            "The experts are right and the router is transposed. It is one vector of D for each expert, "
            "[E, D], which is how `torch.nn.Linear` has it.",
            detects=filed_as(states.router_transposed),
            hint=2,
        ),
        Misconception(
            "first_layer",
            "The names say layer 0, whichever layer it is. The number is an argument.",
            detects=filed_as(states.first_layer),
        ),
        Misconception(
            "other_stem",
            "The names end as they should and begin otherwise. Code moves its modules about (transformers "
            "5 calls this one `mlp`); names in published checkpoints stay: "
            "`model.layers.{layer}.block_sparse_moe.`",
            detects=_other_stem,
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
            detects=filed_as(states.fused),
        ),
        Misconception(
            "from_one",
            "The experts are counted from 1. Names in checkpoints count from 0.",
            detects=filed_as(states.with_experts(states.split_rows, first=1)),
        ),
    ),
    hints=(
        "Which of w1, w2, w3 goes through silu, which is multiplied with it, and which comes last?",
        "All are `[out, in]`, here and there. `gate_up_proj[e]` is `[2F, D]`: cut its rows in two.",
        "`gate, up = gate_up_proj[e].chunk(2, dim=0)`, and `.clone()` gives a tensor its own memory.",
    ),
    notice=(
        "Each slice is cloned: a view keeps the whole bank in memory, and `torch.save` of one such slice "
        "writes the whole bank with it."
    ),
)
