import subprocess
import sys

import pytest

from moe_lessons.accounting.presets import PRESETS, get_preset
from moe_lessons.routing import GATES


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_is_complete_and_consistent(preset):
    assert PRESETS[preset.name] is preset
    assert preset.gate in GATES
    assert 1 <= preset.top_k <= preset.n_experts
    assert preset.n_moe_layers <= preset.n_layers
    assert (preset.d_dense is None) == (preset.n_moe_layers == preset.n_layers)
    assert "arXiv" in preset.source or "github.com" in preset.source
    unused = preset.total_parameters - preset.active_parameters
    biases = 3 * preset.d_model if preset.name == "gpt-oss-20b" else 0
    per_expert = preset.parameters_per_expert + biases
    assert unused == preset.n_moe_layers * (preset.n_experts - preset.top_k) * per_expert


@pytest.mark.parametrize(
    ("name", "n_experts", "top_k", "d_expert"),
    [
        ("Switch-Base-8", 8, 1, 3072),
        ("Mixtral-8x7B", 8, 2, 14336),
        ("OLMoE-1B-7B", 64, 8, 1024),
        ("Qwen3-30B-A3B", 128, 8, 768),
        ("gpt-oss-20b", 32, 4, 2880),
        ("DeepSeek-V3", 256, 8, 2048),
        ("Llama-4-Scout", 16, 1, 8192),
    ],
)
def test_known_dimensions(name, n_experts, top_k, d_expert):
    preset = get_preset(name)
    assert (preset.n_experts, preset.top_k, preset.d_expert) == (n_experts, top_k, d_expert)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="name is 'GPT-4': choose one of Switch-Base-8, Mixtral-8x7B"):
        get_preset("GPT-4")


def test_presets_load_without_torch():
    code = "import sys, moe_lessons.accounting.presets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
