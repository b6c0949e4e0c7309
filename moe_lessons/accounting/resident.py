"""Bytes that a process needs to train with this package's own layers, all in fp32, on a CPU.

`training_bytes` counts what training needs in principle, whoever does it, in mixed precision. Here is what is
really there: which tensors these layers keep for the backward pass, what its largest moment needs beside
them, and what libraries and the allocator add.
"""

from dataclasses import dataclass

from moe_lessons.accounting.parameters import count
from moe_lessons.accounting.shapes import Attention, Dense, Matrix, Model, MoE

NUMBER, ID = 4, 8  # bytes of fp32 and of int64
MOMENTS = 2  # AdamW's, for each parameter
# Measured with glibc: what malloc keeps beside what is in use, because blocks of many sizes come and go.
ALLOCATED_OVER_USED = 1.2
# Measured: what oneDNN keeps for each size of product that it has prepared code for.
PREPARED_PRODUCT_BYTES = 650_000


@dataclass(frozen=True)
class ResidentBytes:
    """Memory of a training process beyond the libraries that it loads, at its peak, by purpose.

    Parameters
    ----------
    weights, gradients, optimizer : int
        Of all parameters; gradients come while activations go, so they do not add to the peak.
    activations : int
        What the layers keep for the backward pass.
    workspace : int
        What the backward pass of one layer of experts needs at once.
    corpus : int
        Tokens in memory.
    prepared : int
        What oneDNN keeps for products.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    workspace: int
    corpus: int
    prepared: int

    @property
    def tensors(self) -> int:
        """Bytes of all tensors at the peak, which is early in the backward pass or after it."""
        start = self.activations + self.workspace
        return self.weights + self.optimizer + self.corpus + max(start, self.gradients)

    @property
    def total(self) -> int:
        """What the operating system sees: tensors, what the allocator adds, and prepared products."""
        return round(ALLOCATED_OVER_USED * self.tensors) + self.prepared


def resident_bytes(
    model: Model, tokens: int, n_heads: int, *, corpus: int = 0, prepared_products: int = 0
) -> ResidentBytes:
    """Predict the memory of training on `tokens` tokens at once.

    Parameters
    ----------
    model : Model
    tokens : int
        Tokens that go through the model at once.
    n_heads : int
        Query heads.
    corpus : int
        Bytes of the tokens that are held.
    prepared_products : int
        Sizes of products that oneDNN meets; 0 where it is not used.

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> needed = resident_bytes(describe("OLMoE-1B-7B"), tokens=4096, n_heads=16)
    >>> needed.weights, needed.optimizer  # 4 and 8 bytes for each of 6919161856 parameters
    (27676647424, 55353294848)
    """
    if tokens < 0:
        raise ValueError(f"tokens={tokens}: choose 0 or more")
    weights = NUMBER * count(model).total
    return ResidentBytes(
        weights=weights,
        gradients=weights,
        optimizer=MOMENTS * weights,
        activations=tokens * kept_bytes_per_token(model, n_heads),
        workspace=tokens * workspace_bytes_per_token(model),
        corpus=corpus,
        prepared=prepared_products * PREPARED_PRODUCT_BYTES,
    )


def kept_bytes_per_token(model: Model, n_heads: int) -> int:
    """Bytes per token that the layers of `MoETransformer` keep for the backward pass.

    Each norm keeps its input, its output before the weight is applied, one scale, and its output, which is
    the next product's input: 3 D + 1. Attention keeps q, k, v, the heads' output and a sum for each head. The
    router keeps K weights and K ids, and for its two losses E logits, E probabilities and a sum; each loss
    notes twice, in a byte, whether the token is padding. Experts keep gate and up, K 2 F, and no copies of
    their input: they bring rows together anew. A dense network keeps gate and up, silu(gate) and the product,
    4 F. The head keeps V log-probabilities and the target, the embedding its token's id.

    Examples
    --------
    >>> from moe_lessons.accounting.shapes import Layer, gated
    >>> from moe_lessons.accounting import Model
    >>> moe = MoE(n_experts=8, top_k=2, router=Matrix(4, 8), expert=gated(4, 10))
    >>> model = Model("", "", 16, 4, ((Layer(4, None, moe, norms=4), 1),), tied=False, final_norms=4)
    >>> kept_bytes_per_token(model, 1)  # the layer: 4 (13 + 2 + 17 + 40) + 4 + 16, the rest: 4 (13 + 16) + 16
    440
    """
    norm = 3 * model.d_model + 1
    numbers, ids, notes = norm + model.vocab_size, 2, 0
    for layer, times in model.layers:
        if isinstance(layer.attention, Attention):
            numbers += times * (norm + layer.attention.saved_elements - model.d_model + n_heads)
        if isinstance(layer.ffn, Dense):
            numbers += times * (norm + 4 * _width(layer.ffn.matrices))
        if isinstance(layer.ffn, MoE):
            moe = layer.ffn
            router = moe.top_k + 2 * moe.n_experts + 1
            experts = moe.top_k * 2 * _width(moe.expert) + 4 * _width(moe.shared)
            numbers += times * (norm + router + experts)
            ids += times * moe.top_k
            notes += times * 4
    return NUMBER * numbers + ID * ids + notes


def workspace_bytes_per_token(model: Model) -> int:
    """Bytes per token that the largest layer of experts needs during its backward pass.

    For each of the K rows: silu(gate), the activation and its gradient, the gradients of gate and up, the
    token and its gradient, K (5 F + 2 D).

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> workspace_bytes_per_token(describe("Mixtral-8x7B"))  # 4 * 2 * (5 * 14336 + 2 * 4096)
    638976
    """
    needed = [moe.top_k * (5 * _width(moe.expert) + 2 * model.d_model) for moe, _ in model.moes]
    return NUMBER * max(needed, default=0)


def _width(matrices: tuple[Matrix, ...]) -> int:
    """Hidden width of a gated network."""
    return matrices[-1].n_in if matrices else 0
