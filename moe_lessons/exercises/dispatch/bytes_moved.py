"""Exercise 08.bytes_moved: what each stage reads and writes, predicted from shapes and routing."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from moe_lessons.exercises.dispatch.draws import choices
from moe_lessons.exercises.spec import Case, Exercise, Misconception, Output, Outputs, Plain, Property

STAGES = ("gather", "gate and up", "activation", "down", "combine")


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Busy and idle experts, K of 1 to 4, two and four bytes per element, one token alone, none at all."""

    def case(T: int, E: int, K: int, D: int, F: int, itemsize: int, used: int | None = None) -> Case:
        args: dict[str, Plain] = {
            "topk_ids_TK": choices(rng, T, E, K, used),
            "n_experts": E,
            "d_model": D,
            "d_expert": F,
            "bytes_per_element": itemsize,
        }
        return Case(f"T={T}, E={E}, K={K}, D={D}, F={F}, {itemsize} bytes per element", args)

    return [
        case(int(rng.integers(20, 40)), 6, 2, 16, 24, 4, 5),
        case(int(rng.integers(5, 9)), 16, 3, 32, 8, 2, 7),
        case(1, 8, 4, 12, 20, 2),
        case(3, 8, 4, 8_191, 12_289, 4),  # more bytes than 32 bits, or fp32, can count
        case(0, 4, 2, 8, 6, 4),
    ]


def _table(
    ids: Tensor,
    n_experts: int,
    D: int,
    F: int,
    itemsize: int,
    *,
    rows: int | None = None,
    matrices: int | None = None,
    up_width: int = 2,
    up_matrices: int = 2,
    gathered: int | None = None,
    activation: int = 3,
    combined: int | None = None,
    reads: int = 1,
    writes: int = 1,
) -> Tensor:
    """The five sums, with one thing counted differently."""
    S = ids.numel() if rows is None else rows
    busy = len(ids.unique()) if matrices is None else matrices
    T = len(ids) if combined is None else combined
    U = up_width * F
    read_and_written = [
        ((S if gathered is None else gathered) * D, S * D),
        (S * D + busy * (min(U, up_matrices * F)) * D, S * U),
        (S * U, S * F * (activation - 2)),
        (S * F + busy * D * F, S * D),
        (S * D, T * D),
    ]
    return torch.tensor([(reads * read + writes * write) * itemsize for read, write in read_and_written])


def reference(ids: Tensor, n_experts: int, d_model: int, d_expert: int, bytes_per_element: int) -> Tensor:
    """Rows and busy experts' matrices in, rows out."""
    return _table(ids, n_experts, d_model, d_expert, bytes_per_element)


def _counted(**change: Callable[[Tensor, int], int]) -> Callable[..., Tensor]:
    """A mistake in a count: each change gets the ids and E."""

    def wrong(ids: Tensor, n_experts: int, D: int, F: int, itemsize: int) -> Tensor:
        changed = {name: count(ids, n_experts) for name, count in change.items()}
        return _table(ids, n_experts, D, F, itemsize, **changed)

    return wrong


def _activation_of_one(ids: Tensor, n_experts: int, D: int, F: int, itemsize: int) -> Tensor:
    table_5 = _table(ids, n_experts, D, F, itemsize)
    table_5[2] = 2 * ids.numel() * F * itemsize
    return table_5


def _no_up_and_gate_rows(ids: Tensor, n_experts: int, D: int, F: int, itemsize: int) -> Tensor:
    table_5 = _table(ids, n_experts, D, F, itemsize)
    table_5[1] -= ids.numel() * F * itemsize
    return table_5


def _up_stage_of_one(ids: Tensor, n_experts: int, D: int, F: int, itemsize: int) -> Tensor:
    table_5 = _table(ids, n_experts, D, F, itemsize)
    table_5[1] = _table(ids, n_experts, D, F, itemsize, up_width=1)[1]
    return table_5


def _in_32_bits(ids: Tensor, n_experts: int, D: int, F: int, itemsize: int) -> Tensor:
    return _table(ids, n_experts, D, F, itemsize).to(torch.int32).long()


def _as_floats(ids: Tensor, n_experts: int, D: int, F: int, itemsize: int) -> Tensor:
    return _table(ids, n_experts, D, F, itemsize).float().long()


def _elements(ids: Tensor, n_experts: int, D: int, F: int, itemsize: int) -> Tensor:
    return _table(ids, n_experts, D, F, 1)


def _bits(ids: Tensor, n_experts: int, D: int, F: int, itemsize: int) -> Tensor:
    return _table(ids, n_experts, D, F, 8 * itemsize)


def _whole_elements(case: Case, got: Outputs, want: Outputs) -> str | None:
    itemsize = int(case.args["bytes_per_element"])  # type: ignore[arg-type]
    for stage, count in zip(STAGES, got["bytes_5"], strict=True):
        if count % itemsize:
            return f"{stage}: {count} bytes are not a whole number of {itemsize}-byte elements"
    return None


def _each_stage(case: Case, got: Outputs, want: Outputs) -> str | None:
    for stage, count, right in zip(STAGES, got["bytes_5"], want["bytes_5"], strict=True):
        if count != right:
            return f"{stage}: you say {count:,} bytes, it moves {right:,}"
    return None


BYTES_MOVED = Exercise(
    id="08.bytes_moved",
    title="Bytes moved, predicted",
    task=(
        "Predict the bytes that five stages read plus write, `[5]`: gather, gate and up, activation, down, "
        "combine. A stage reads each row it works on once and writes each row it makes once; the two "
        "products also read the matrices of every expert that has rows, once. The gather reads one row per "
        "slot. Count activations and matrices only, no ids or routing weights."
    ),
    entry="bytes_moved",
    points=3,
    minutes=20,
    difficulty=3,
    outputs=(Output("bytes_5", "N", kind="int", plain=True),),
    draw=draw,
    reference=reference,
    properties=(Property("whole elements", _whole_elements), Property("each stage", _each_stage)),
    misconceptions=(
        Misconception(
            "elements",
            "These are elements, not bytes: multiply by the size of one.",
            wrong=_elements,
            hint=1,
        ),
        Misconception(
            "bits", "Eight times too many: the size is given in bytes, not in bits.", wrong=_bits, hint=1
        ),
        Misconception(
            "tokens_for_rows",
            "Each token was counted once. After the gather there are K copies of it, and every stage up to "
            "the combine works on all of them.",
            wrong=_counted(rows=lambda ids, E: len(ids)),
            hint=1,
        ),
        Misconception(
            "writes_forgotten",
            "Only what is read was counted. What a stage makes has to be written too, and the next one reads "
            "it again.",
            wrong=_counted(writes=lambda ids, E: 0),
            hint=1,
        ),
        Misconception(
            "reads_forgotten",
            "Only what is written was counted. In the products the reading is most of it: the matrices.",
            wrong=_counted(reads=lambda ids, E: 0),
            hint=1,
        ),
        Misconception(
            "all_experts",
            "The matrices of all E experts were counted. Nobody reads those of an expert without rows; how "
            "many experts occur among the ids?",
            wrong=_counted(matrices=lambda ids, E: E),
            hint=2,
        ),
        Misconception(
            "matrices_forgotten",
            "Only rows were counted. The two products also read matrices, and at small batches these are "
            "most of what is moved.",
            wrong=_counted(matrices=lambda ids, E: 0),
            hint=2,
        ),
        Misconception(
            "matrices_per_row",
            "The matrices were counted once for each row. That is what sorting avoids: an expert's rows "
            "stand together, and its matrices are read once for all of them.",
            wrong=_counted(matrices=lambda ids, E: ids.numel()),
            hint=2,
        ),
        Misconception(
            "gate_forgotten",
            "Up alone has F columns, but gate and up together have 2F, in the matrix and in the rows that "
            "come out.",
            wrong=_counted(up_width=lambda ids, E: 1),
            also=(_up_stage_of_one,),
            hint=3,
        ),
        Misconception(
            "gather_reads_tokens",
            "The gather was counted as reading each token once. It fetches one row per slot: a token with K "
            "choices is read K times.",
            wrong=_counted(gathered=lambda ids, E: len(ids)),
            hint=1,
        ),
        Misconception(
            "one_up_matrix",
            "The rows that come out of gate and up are right, but only one matrix of F by D was read for "
            "them. There are two for each busy expert.",
            wrong=_counted(up_matrices=lambda ids, E: 1),
            hint=3,
        ),
        Misconception(
            "one_of_gate_and_up_written",
            "Gate and up together write rows of 2F numbers: F for the gate and F for up.",
            wrong=_no_up_and_gate_rows,
            hint=3,
        ),
        Misconception(
            "activation_reads_one",
            "The activation reads gate *and* up, 2F numbers a row, and writes F.",
            wrong=_activation_of_one,
            hint=3,
        ),
        Misconception(
            "activation_writes_both",
            "The activation multiplies silu(gate) with up: 2F numbers go in, F come out.",
            wrong=_counted(activation=lambda ids, E: 4),
            hint=3,
        ),
        Misconception(
            "too_large_for_32_bits",
            "Right for small layers, wrong for a large one: the number does not fit into 32 bits and has "
            "wrapped round. Real layers move more than 2**31 bytes. Count in int64, which is what "
            "`torch.tensor` makes of whole numbers.",
            wrong=_in_32_bits,
            hint=1,
        ),
        Misconception(
            "rounded",
            "Right for small layers, a little off for a large one: fp32 keeps 24 bits, and larger whole "
            "numbers are rounded. Count in whole numbers.",
            wrong=_as_floats,
            hint=1,
        ),
        Misconception(
            "combine_writes_slots",
            "The combine reads S rows but writes only T: that is what it is for.",
            wrong=_counted(combined=lambda ids, E: ids.numel()),
            hint=3,
        ),
    ),
    hints=(
        "For each stage write two lines: which rows come in, and how wide; which go out, and how wide. How "
        "many bytes is one number?",
        "S = T * K rows. Matrices are read for the experts that occur: `len(topk_ids_TK.unique())`.",
        "Elements: gather S·D + S·D; gate and up S·D + busy·2F·D + S·2F; activation S·2F + S·F; down and "
        "combine in the same way, and the combine writes T rows.",
    ),
    notice=(
        "Rows are paid for once per slot, matrices once per busy expert: with few rows an expert the "
        "matrices dominate, as in decoding."
    ),
)
