"""Runs that are ready to start, by name."""

from moe_lessons.config.model import ModelConfig
from moe_lessons.config.training import TrainConfig
from moe_lessons.config.wording import nearest

# What the presets for GPUs share. Byte pairs, so the embedding is large: it is tied.
_GPU = TrainConfig(
    model=ModelConfig(vocab_size=16384, context_length=1024, tie_embeddings=True),
    corpus="tinystories",
    tokenizer="bpe",
    precision="bf16",
    batch_size=128,
    accumulation_steps=2,
    learning_rate=1e-3,
    warmup_steps=100,
    weight_decay=0.1,
)

PRESETS: dict[str, TrainConfig] = {
    "cpu-tiny": TrainConfig(name="cpu-tiny"),
    "lesson": TrainConfig(name="lesson", steps=500, learning_rate=2e-3, evaluate_every=100),
    "smoke": TrainConfig(
        name="smoke",
        model=ModelConfig(n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_expert=32, context_length=32),
        steps=20,
        batch_size=4,
        warmup_steps=5,
        log_every=5,
        evaluate_every=20,
        checkpoint_every=10,
    ),
    # A Colab T4 has no bf16 and no Triton kernels, and spares the score matrix only if there are as many
    # key-value heads as heads.
    "colab-t4": _GPU.override(
        name="colab-t4",
        precision="fp16",
        steps=2000,
        batch_size=64,
        vocab_size=8192,
        n_layers=6,
        d_model=384,
        n_heads=6,
        n_kv_heads=6,
        d_expert=768,
        context_length=512,
    ),
    "gpu-small": _GPU.override(
        name="gpu-small",
        steps=1500,
        n_layers=8,
        d_model=512,
        n_heads=8,
        n_kv_heads=8,
        d_expert=768,
        n_experts=16,
    ),
    # Depth, width, heads and context of GPT-2 small, and as many parameters that a token meets: 124 million.
    "gpu-base": _GPU.override(
        name="gpu-base",
        corpus="fineweb-edu-sample",
        steps=850,
        accumulation_steps=4,
        learning_rate=6e-4,
        vocab_size=32768,
        n_layers=12,
        d_model=768,
        n_heads=12,
        n_kv_heads=12,
        d_expert=640,
        n_experts=32,
        top_k=4,
    ),
}

# The device that a preset is sized for, and the share of its peak that we expect training to reach there: a
# guess, not measured.
EXPECTED = {
    "colab-t4": ("Tesla T4", 0.12),
    "gpu-small": ("NVIDIA H100", 0.10),
    "gpu-base": ("NVIDIA H100", 0.15),
}


def preset(name: str) -> TrainConfig:
    """Look up a preset by name.

    Raises
    ------
    ValueError
        If there is none of that name; the message suggests the nearest.

    Examples
    --------
    >>> preset("cpu-tinny")
    Traceback (most recent call last):
        ...
    ValueError: unknown preset 'cpu-tinny': did you mean 'cpu-tiny'?
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: {nearest(name, list(PRESETS))}")
    return PRESETS[name]
