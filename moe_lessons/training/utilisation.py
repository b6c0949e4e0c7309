"""What a model costs by `moe_lessons.accounting`, and what share of a device's peak its training reaches."""

from typing import Any

from moe_lessons.accounting import Dense, Layer, Model, training_flops
from moe_lessons.accounting.blocks import experts, grouped_query
from moe_lessons.accounting.shapes import gated, grouped
from moe_lessons.config import ModelConfig
from moe_lessons.device import describe_device

# Peak in 10^12 FLOP/s, without sparsity, by a part of the name that CUDA gives the device; the first that
# fits counts. From NVIDIA's data sheets of each device; where those print numbers "with sparsity" (L4, H100,
# H200), half of them. bf16 and fp16 are of the tensor cores, summed in fp32; fp32 is without tensor cores.
PEAKS: dict[str, dict[str, float]] = {
    "H200": {"bf16": 989, "fp16": 989, "tf32": 494, "fp32": 67},
    "H100 PCIE": {"bf16": 756, "fp16": 756, "tf32": 378, "fp32": 51},
    "H100 NVL": {"bf16": 835, "fp16": 835, "tf32": 417, "fp32": 60},
    "H100": {"bf16": 989, "fp16": 989, "tf32": 494, "fp32": 67},
    "A100": {"bf16": 312, "fp16": 312, "tf32": 156, "fp32": 19.5},
    "L4": {"bf16": 121, "fp16": 121, "tf32": 60, "fp32": 30.3},
    "V100 PCIE": {"fp16": 112, "fp32": 14},
    "V100": {"fp16": 125, "fp32": 15.7},
    "T4": {"fp16": 65, "fp32": 8.1},
}


def describe_model(config: ModelConfig) -> Model:
    """Describe a `MoETransformer` to `moe_lessons.accounting`; no torch is needed.

    Examples
    --------
    >>> from moe_lessons.accounting import count
    >>> config = ModelConfig(n_layers=1, d_model=16, n_heads=2, d_expert=8, n_experts=4, top_k=1)
    >>> counted = count(describe_model(config))
    >>> counted.total - counted.active  # three idle experts of three 16 x 8 matrices
    1152
    """
    D, F = config.d_model, config.d_expert
    attention = grouped_query(D, config.n_heads, config.n_kv_heads, config.d_head)
    shared = gated(D, config.n_shared_experts * F) if config.n_shared_experts else ()
    moe = experts(D, config.n_experts, config.top_k, gated(D, F), shared=shared)
    dense = Dense(gated(D, config.d_feed_forward))
    layers = [
        Layer(D, attention, moe if config.has_experts(layer) else dense, norms=2 * D)
        for layer in range(config.n_layers)
    ]
    return Model(
        name="MoETransformer",
        family="",
        vocab_size=config.vocab_size,
        d_model=D,
        layers=grouped(layers),
        tied=config.tie_embeddings,
        final_norms=D,
    )


def flops_per_token(config: ModelConfig) -> int:
    """FLOPs of one token's forward and backward pass: parameters it meets, and the text before it.

    Of a sequence of ``context_length`` tokens, each of which sees itself and those before it only: half of
    what counting the whole square of attention would say.
    """
    return training_flops(describe_model(config), config.context_length).total


def peak_flops(device_name: str, precision: str) -> float | None:
    """Most FLOP/s that a device can do in one precision; None where the table does not know.

    Parameters
    ----------
    device_name : str
        As CUDA says it, such as "NVIDIA A100-SXM4-80GB".
    precision : str
        "bf16", "fp16", "fp32" or "tf32".

    Examples
    --------
    >>> peak_flops("Tesla T4", "fp16"), peak_flops("Tesla T4", "bf16"), peak_flops("an abacus", "fp32")
    (65000000000000.0, None, None)
    """
    words = device_name.upper().replace("-", " ").split()
    for part, peaks in PEAKS.items():
        if all(word in words for word in part.split()):
            return peaks[precision] * 1e12 if precision in peaks else None
    return None


def device_peak(device: Any, precision: str) -> float | None:
    """Look up `peak_flops` of a torch device; None on a CPU.

    In fp32 it is the peak of what PyTorch was told to multiply with: by default not TF32.
    """
    import torch

    if device.type != "cuda":
        return None
    tf32 = precision == "fp32" and torch.get_float32_matmul_precision() != "highest"
    return peak_flops(describe_device(device), "tf32" if tf32 else precision)


def utilisation(flops: float, tokens_per_second: float, peak: float | None) -> float | None:
    """Model FLOPs utilisation: the FLOPs that the model needs, over those that the device could have done.

    What an implementation computes beside them, such as padding or activations once more, does not count.

    Parameters
    ----------
    flops : float
        Per token.
    tokens_per_second : float
    peak : float or None
        FLOP/s of all devices together; None gives None.

    References
    ----------
    Chowdhery et al., "PaLM", arXiv:2204.02311, section 4.1 and appendix B.

    Examples
    --------
    >>> utilisation(6e9, 10_000, 300e12)
    0.2
    """
    return None if peak is None else flops * tokens_per_second / peak
