"""What presets and models cost, by accounting, against the models themselves and against sums by hand."""

import dataclasses

import pytest
import torch

from moe_lessons.accounting import count
from moe_lessons.commands.preset_table import expected_seconds, preset_table
from moe_lessons.config import EXPECTED, PRESETS, ModelConfig, preset
from moe_lessons.model import MoETransformer, parameter_counts
from moe_lessons.training import train, utilisation
from moe_lessons.training.run import Run
from moe_lessons.training.utilisation import describe_model, device_peak, flops_per_token, peak_flops

MODELS = {
    "plain": ModelConfig(),
    "shared": ModelConfig(n_shared_experts=2, n_experts=16),
    "interleaved": ModelConfig(n_layers=6, n_dense_layers=2, moe_every=2, d_dense=96),
    "dense": ModelConfig(n_experts=1, top_k=1),
    "tied": ModelConfig(tie_embeddings=True, top_k=1),
    "bias": ModelConfig(gate="sigmoid", expert_bias=True),
}
STATED = {  # parameters, and those that one token meets
    "cpu-tiny": (1_840_256, 660_608),
    "lesson": (1_840_256, 660_608),
    "smoke": (72_352, 35_488),
    "colab-t4": (49_175_424, 17_324_928),
    "gpu-small": (167_846_400, 35_725_824),
    "gpu-base": (620_022_528, 124_570_368),
}


@pytest.mark.parametrize("config", [*MODELS.values(), *(p.model for p in PRESETS.values())], ids=repr)
def test_accounting_counts_what_is_built(config):
    with torch.device("meta"):
        model = MoETransformer(config)
    counted = count(describe_model(config))
    assert (counted.total, counted.active) == parameter_counts(model)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_as_large_as_they_say(name):
    counted = count(describe_model(preset(name).model))
    assert (counted.total, counted.active) == STATED[name]
    assert f"{counted.active / 1e6:.1f} M" in preset_table()


def test_gpu_base_has_the_active_budget_of_gpt2_small():
    config = preset("gpu-base").model
    gpt2_small = 124_439_808  # V D + L D + 12 (12 D² + 13 D) + 2 D, with V = 50257, L = 1024, D = 768
    assert gpt2_small == 50257 * 768 + 1024 * 768 + 12 * (12 * 768**2 + 13 * 768) + 2 * 768
    assert count(describe_model(config)).active == pytest.approx(gpt2_small, rel=0.01)
    assert (config.n_layers, config.d_model, config.n_heads, config.context_length) == (12, 768, 12, 1024)


@pytest.mark.parametrize("name", EXPECTED)
def test_presets_for_gpus(name):
    config = preset(name)
    limit = 17 * 60 if name == "colab-t4" else 11 * 60
    assert limit / 3 < expected_seconds(name) < limit
    assert config.precision == ("fp16" if name == "colab-t4" else "bf16")
    assert config.tokenizer == "bpe"
    assert expected_seconds("cpu-tiny") is None
    assert "estimates" in preset_table()
    assert "not measured" in preset_table()


def test_flops_are_those_of_a_sum_by_hand():
    """Twice the multiply-adds of every matrix that a token passes, three times for forward and backward."""
    config = ModelConfig(
        n_layers=2, d_model=16, n_heads=4, n_kv_heads=2, d_expert=8, n_experts=4, top_k=2, context_length=6
    )
    attention = 16 * 16 + 2 * 16 * 8 + 16 * 16  # q; k and v; o
    experts = 2 * 3 * 16 * 8
    router = 16 * 4
    seen = sum(range(1, 7)) / 6  # positions, averaged over the window
    context = 2 * 16 * seen  # scores, and weighted values
    head = 16 * 256
    by_hand = 6 * (2 * (attention + router + experts + context) + head)
    assert flops_per_token(config) == by_hand


def test_flops_are_six_for_each_active_parameter_that_multiplies_and_the_context():
    config = preset("gpu-base").model
    active = count(describe_model(config)).active
    context = 6 * 12 * 2 * 768 * (1024 + 1) / 2
    norms = 25 * 768
    assert flops_per_token(config) == 6 * (active - norms) + context  # tied: the table is the head


@pytest.mark.parametrize(
    ("name", "precision", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989),
        ("NVIDIA H100 PCIe", "bf16", 756),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312),
        ("NVIDIA A100-SXM4-80GB", "fp32", 19.5),
        ("Tesla T4", "fp16", 65),
        ("Tesla V100-PCIE-16GB", "fp16", 112),
        ("NVIDIA L40S", "bf16", None),
        ("NVIDIA A10G", "bf16", None),
        ("Tesla T4", "bf16", None),
        ("AMD Instinct MI300X", "bf16", None),
    ],
)
def test_peaks(name, precision, tera):
    assert peak_flops(name, precision) == (None if tera is None else tera * 1e12)


def test_the_peak_is_that_of_the_products_in_use(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(utilisation, "describe_device", lambda device: "NVIDIA A100-SXM4-40GB")
    assert device_peak(torch.device("cpu"), "fp32") is None
    assert device_peak(cuda, "bf16") == 312e12
    assert device_peak(cuda, "fp32") == 19.5e12
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert device_peak(cuda, "fp32") == 156e12


def test_the_log_has_the_share_of_the_peak(corpus):
    config = dataclasses.replace(preset("smoke"), log_every=1)
    run = Run(config, corpus, torch.device("cpu"))
    run.open(None, None)
    run.peak_flops = 1e9
    run.advance()
    record = run.record(None)
    expected = record.tokens_per_second * flops_per_token(config.model) / 1e9
    assert record.model_flops_utilisation == pytest.approx(expected)
    assert train(config.override(steps=1), corpus=corpus).history[0].model_flops_utilisation is None
