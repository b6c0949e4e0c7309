"""Bytes that training needs beside the data: weights, gradients, optimizer state, activations.

Assumed: mixed precision with AdamW. Weights and gradients in bf16, an fp32 copy of the weights and two fp32
moments, 16 bytes a parameter in all; nothing sharded over devices. Activations in bf16, attention without a
stored score matrix (FlashAttention), no dropout, logits in fp32.
"""

from dataclasses import dataclass

from moe_lessons.accounting.parameters import count
from moe_lessons.accounting.shapes import Dense, Layer, Matrix, Model, MoE

WEIGHT_BYTES, GRADIENT_BYTES, OPTIMIZER_BYTES = 2, 2, 12
ACTIVATION_BYTES, LOGIT_BYTES = 2, 4


@dataclass(frozen=True)
class TrainingBytes:
    """Memory of one training step by purpose.

    Parameters
    ----------
    weights, gradients, optimizer, activations : int
        Bytes of each.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations


def training_bytes(model: Model, tokens: int, recompute: bool = False) -> TrainingBytes:
    """Memory of one training step on `tokens` tokens, that is sequences times their length.

    Parameters
    ----------
    model : Model
    tokens : int
        In the batch that goes through the model at once.
    recompute : bool
        Keep only what enters each layer and run the layer forward again when its gradient is due.

    Returns
    -------
    TrainingBytes

    References
    ----------
    Rajbhandari et al., "ZeRO", arXiv:1910.02054, section 3.1 (16 bytes a parameter); Korthikanti et al.,
    arXiv:2205.05198, section 4 (activations of a dense layer, which this adapts to gated experts).

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> needed = training_bytes(describe("OLMoE-1B-7B"), tokens=4096)
    >>> needed.optimizer  # 12 * 6919161856
    83029942272
    """
    if tokens < 0:
        raise ValueError(f"tokens={tokens}: choose 0 or more")
    total = count(model).total
    return TrainingBytes(
        WEIGHT_BYTES * total,
        GRADIENT_BYTES * total,
        OPTIMIZER_BYTES * total,
        tokens * activation_bytes_per_token(model, recompute),
    )


def activation_bytes_per_token(model: Model, recompute: bool = False) -> int:
    """Bytes per token that the backward pass needs.

    Without recomputation: what every layer saves. With it: D numbers for each layer's input, and all that the
    largest layer saves, since one layer at a time is restored. Both: input and output of the final norm, and
    V logits.

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> olmoe = describe("OLMoE-1B-7B")
    >>> activation_bytes_per_token(olmoe) > 5 * activation_bytes_per_token(olmoe, recompute=True)
    True
    """
    head = ACTIVATION_BYTES * 2 * model.d_model + LOGIT_BYTES * model.n_outputs
    saved = [(saved_elements(layer), times) for layer, times in model.layers]
    if recompute:
        kept = model.n_layers * model.d_model + max(elements for elements, _ in saved)
    else:
        kept = sum(times * elements for elements, times in saved)
    return ACTIVATION_BYTES * kept + head


def saved_elements(layer: Layer) -> int:
    """Numbers per token that one layer saves: the input of every matrix product and of every curved function.

    Each of the two norms keeps its input, D. Attention keeps its input, q, k, v and the heads' output. A
    gated network keeps its input D, gate and up and their product, 3 F. A layer with experts keeps its
    input, the router's E fp32 probabilities, and per chosen expert a copy of the input, 3 F and the output:
    K (2 D + 3 F).

    Examples
    --------
    >>> from moe_lessons.accounting.shapes import Matrix, gated
    >>> saved_elements(Layer(4, None, Dense(gated(4, 10)), norms=8))  # 4 + 4 + 3 * 10
    38
    >>> moe = MoE(8, 2, Matrix(4, 8), gated(4, 10))
    >>> saved_elements(Layer(4, None, moe, norms=8))  # 4 + 4 + 2 * 8 + 2 * (2 * 4 + 3 * 10)
    100
    """
    d_model = layer.d_model
    found = sum(m.n_in + m.copies * m.n_out for m in layer.other)
    if layer.attention is not None:
        found += d_model + layer.attention.saved_elements
    if layer.ffn is not None:
        found += 2 * d_model
    if isinstance(layer.ffn, Dense):
        found += _hidden(layer.ffn.matrices)
    if isinstance(layer.ffn, MoE):
        moe = layer.ffn
        found += LOGIT_BYTES // ACTIVATION_BYTES * moe.n_experts + _hidden(moe.shared)
        found += moe.top_k * (2 * d_model + _hidden(moe.expert))
    return found


def _hidden(matrices: tuple[Matrix, ...]) -> int:
    """Outputs of the first matrices, and the input of the last one."""
    if not matrices:
        return 0
    *first, last = matrices
    return sum(m.copies * m.n_out for m in first) + last.n_in
