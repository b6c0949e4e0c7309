"""The limit: the layer's multiplications as a chain of dense products, and nothing else."""

from collections.abc import Callable

import torch
from torch import Tensor

from moe_lessons.bench.shapes import Case
from moe_lessons.dispatch.products import onednn_is_faster, onednn_linear

Multiply = Callable[[Tensor, Tensor, Tensor], None]


def torch_mm(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Multiply as every dense layer in PyTorch does."""
    torch.mm(left, right, out=out)


def onednn(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Multiply in oneDNN, into memory of its own."""
    onednn_linear(left, right.t())


def limits(case: Case) -> dict[str, Multiply]:
    """Name the libraries whose dense products are measured: PyTorch's choice, and oneDNN where we use it.

    Examples
    --------
    >>> from moe_lessons.bench.shapes import Shape
    >>> list(limits(Case(Shape("tiny", 3, 4, 8, 2, 1), "bf16", "cpu")))
    ['dense_mm']
    """
    if case.device == "cpu" and case.dtype is torch.float32 and onednn_is_faster():
        return {"dense_mm": torch_mm, "dense_onednn": onednn}
    return {"dense_mm": torch_mm}


class DenseChain:
    """Multiply all S rows with one expert's matrices, forward and backward, into memory that is there.

    Two products forward (up and gate in one, down), four more backward: 6 S D F and 12 S D F operations,
    those of the experts. No activation, no gradient accumulation, no gather.
    """

    def __init__(self, case: Case, multiply: Multiply) -> None:
        self.multiply = multiply
        rows = case.shape.n_tokens * case.shape.top_k
        width, hidden = case.shape.d_model, case.shape.d_expert
        like = case.gate_up_proj.detach()
        self.gate_up_2FD, self.down_DF = like[0], case.down_proj.detach()[0]
        self.d_gate_up_2FD, self.d_down_DF = like.new_empty(2 * hidden, width), like.new_empty(width, hidden)
        # Random numbers: a GPU takes less power for equal ones, and may then multiply faster.
        sizes = width, width, 2 * hidden, hidden
        self.x_SD, self.y_SD, self.h_S2F, self.a_SF = (like.new_empty(rows, n).normal_() for n in sizes)
        # Results that nobody reads, so that numbers don't grow from call to call.
        self.to_SD, self.to_S2F, self.to_SF = map(torch.empty_like, (self.x_SD, self.h_S2F, self.a_SF))

    def forward(self) -> None:
        """Multiply up and down."""
        self.multiply(self.x_SD, self.gate_up_2FD.t(), self.to_S2F)
        self.multiply(self.a_SF, self.down_DF.t(), self.to_SD)

    def forward_backward(self) -> None:
        """Multiply up and down, and once more for each gradient."""
        self.forward()
        self.multiply(self.y_SD.t(), self.a_SF, self.d_down_DF)
        self.multiply(self.y_SD, self.down_DF, self.to_SF)
        self.multiply(self.h_S2F.t(), self.x_SD, self.d_gate_up_2FD)
        self.multiply(self.h_S2F, self.gate_up_2FD, self.to_SD)
