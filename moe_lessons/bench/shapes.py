"""What is measured: shapes, and the inputs drawn for them."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Shape:
    """T, D, F, E and K; how uneven the load is; and what takes part.

    `skew` s gives expert number i a popularity proportional to i ** -s. With `scope` "experts" all
    contestants get the same routing; with "layer" each computes it from the same router weights.
    `compute_bound` says that the products dwarf what else must be done to a row, in the dtypes named.
    """

    name: str
    n_tokens: int
    d_model: int
    d_expert: int
    n_experts: int
    top_k: int
    skew: float = 0.0
    dtypes: tuple[str, ...] = ("fp32", "bf16")
    scope: str = "experts"
    compute_bound: tuple[str, ...] = ()

    def numbers(self) -> dict[str, Any]:
        """Return the sizes as they go into a result."""
        keep = ("n_tokens", "d_model", "d_expert", "n_experts", "top_k", "skew", "scope")
        return {name: value for name, value in asdict(self).items() if name in keep}


# Products take 6 D operations for each number that the activation passes over, so wide layers are bound by
# products: in fp32 from about D = 256 on if an expert has hundreds of rows, in bf16, whose products are four
# times as fast, from about D = 1024 on.
CPU_SHAPES = (
    Shape("few-experts", 2048, 256, 512, 8, 2, compute_bound=("fp32",)),
    Shape("few-experts-skewed", 2048, 256, 512, 8, 2, skew=1.0, compute_bound=("fp32",)),
    Shape("wide", 1024, 768, 1024, 8, 2, dtypes=("fp32",), compute_bound=("fp32",)),
    Shape("wider", 4096, 1024, 1024, 8, 2, dtypes=("bf16",), compute_bound=("bf16",)),
    Shape("many-experts", 1024, 128, 128, 64, 8),
    Shape("many-experts-skewed", 1024, 128, 128, 64, 8, skew=1.0),
    Shape("fine-grained", 1024, 512, 256, 64, 8),
    Shape("decode-1", 1, 512, 1024, 8, 2),
    Shape("decode-8", 8, 512, 1024, 8, 2),
    Shape("decode-64", 64, 512, 1024, 8, 2),
    Shape("decode-1-of-64", 1, 512, 256, 64, 8),
    Shape("decode-8-of-64", 8, 512, 256, 64, 8),
    Shape("decode-64-of-64", 64, 512, 256, 64, 8),
    Shape("layer", 2048, 256, 512, 8, 2, dtypes=("fp32",), scope="layer", compute_bound=("fp32",)),
    Shape("layer-decode-1", 1, 512, 1024, 8, 2, dtypes=("fp32",), scope="layer"),
)
GPU_SHAPES = (
    Shape("few-experts", 8192, 2048, 4096, 8, 2, compute_bound=("fp32", "bf16")),
    Shape("few-experts-skewed", 8192, 2048, 4096, 8, 2, skew=1.0, compute_bound=("fp32", "bf16")),
    Shape("many-experts", 8192, 1024, 2048, 64, 8, dtypes=("bf16",), compute_bound=("bf16",)),
    Shape("many-experts-skewed", 8192, 1024, 2048, 64, 8, skew=1.0, dtypes=("bf16",)),
    Shape("fine-grained", 8192, 2048, 768, 128, 8, dtypes=("bf16",)),
    Shape("small-experts", 4096, 512, 256, 64, 8),
    Shape("decode-1", 1, 2048, 768, 128, 8),
    Shape("decode-8", 8, 2048, 768, 128, 8),
    Shape("decode-64", 64, 2048, 768, 128, 8),
)


class Draw(NamedTuple):
    """Tokens, their routing, and the gradient that comes back."""

    hidden_TD: Tensor
    topk_ids_TK: Tensor
    topk_weights_TK: Tensor
    d_output_TD: Tensor


class Case:
    """The parameters of a shape in a dtype, and fresh tokens whenever asked.

    Examples
    --------
    >>> case = Case(Shape("tiny", 3, 4, 8, 2, 1), "fp32", "cpu")
    >>> case.gate_up_proj.shape, case.draw(0).hidden_TD.shape
    (torch.Size([2, 16, 4]), torch.Size([3, 4]))
    """

    def __init__(self, shape: Shape, dtype: str, device: str) -> None:
        self.shape, self.dtype, self.device = shape, DTYPES[dtype], device
        generator = torch.Generator(device).manual_seed(0)
        width, hidden, experts = shape.d_model, shape.d_expert, shape.n_experts

        def normal(*sizes: int) -> Tensor:  # on the device: a large model has billions
            return torch.randn(*sizes, generator=generator, device=device) / sizes[-1] ** 0.5

        self.gate_up_proj = nn.Parameter(normal(experts, 2 * hidden, width).to(self.dtype))
        self.down_proj = nn.Parameter(normal(experts, width, hidden).to(self.dtype))
        self.router = nn.Parameter(normal(experts, width))

    def parameters(self) -> list[nn.Parameter]:
        """List what training would update."""
        return [self.gate_up_proj, self.down_proj, self.router]

    def draw(self, seed: int) -> Draw:
        """Draw tokens and a routing, the same for the same seed."""
        shape = self.shape
        how: dict[str, Any] = {
            "generator": torch.Generator(self.device).manual_seed(1000 + seed),
            "device": self.device,
        }
        hidden_TD = torch.randn(shape.n_tokens, shape.d_model, **how)
        popularity_E = torch.arange(1, shape.n_experts + 1, device=self.device).float() ** -shape.skew
        popularity_TE = popularity_E.expand(shape.n_tokens, -1)
        ids_TK = torch.multinomial(popularity_TE, shape.top_k, generator=how["generator"])
        weights_TK = torch.rand(ids_TK.shape, **how).add_(0.1)
        weights_TK /= weights_TK.sum(dim=1, keepdim=True)
        d_output_TD = torch.randn(hidden_TD.shape, **how)
        return Draw(hidden_TD.to(self.dtype), ids_TK, weights_TK, d_output_TD.to(self.dtype))
