"""Configs as their publishers wrote them, many inside a model for images, against exact counts."""

import json
from pathlib import Path

import pytest

from moe_lessons.accounting import ConfigError, count, describe
from moe_lessons.accounting.describing import UNREAD

TRUTH = json.loads(Path(__file__).with_name("parameter_truth_2026.json").read_text())["models"]
CONVENTIONS = ("total", "active", "active_excl_input_embedding", "active_excl_embed_and_head")
M3 = TRUTH["MiniMax-M3-VL"]["config"]


@pytest.mark.parametrize("name", TRUTH)
def test_all_four_figures_are_exact(name):
    counted = count(describe(TRUTH[name]["config"]))
    assert {key: getattr(counted, key) for key in CONVENTIONS} == {
        key: TRUTH[name][key] for key in CONVENTIONS
    }


@pytest.mark.parametrize("name", TRUTH)
def test_no_field_that_counts_is_left_unread(name):
    assert not any(note.startswith(UNREAD) for note in describe(TRUTH[name]["config"]).notes)


def test_a_successor_read_as_its_predecessor_says_what_was_not_read():
    model = describe(M3["text_config"] | {"model_type": "minimax_m2"})
    assert count(model).total == pytest.approx(443.8e9, rel=1e-3)
    (note,) = (note for note in model.notes if note.startswith(UNREAD))
    for field in (
        "dense_intermediate_size",
        "shared_intermediate_size",
        "moe_layer_freq",
        "n_shared_experts",
    ):
        assert field in note
    assert "sparse_attention_config" in note
    assert "rope_theta" not in note


def test_the_nearest_known_family_says_what_it_would_not_read():
    with pytest.raises(ConfigError, match=r"nearest known one is minimax_m2, which would not read dense_int"):
        describe(M3["text_config"] | {"model_type": "minimax_m2b"})


def test_an_unknown_family_is_looked_at_inside_its_text_config():
    inner = TRUTH["Qwen3-Coder-480B-A35B"]["config"]
    outer = {"model_type": "something_new", "text_config": inner, "vision_config": {"depth": 3}}
    model = describe(outer)
    assert count(model).total == 480_154_875_392
    assert model.notes[-1].endswith("left out: vision_config")
    with pytest.raises(ConfigError, match=r"'text_config\.model_type' is 'also_new'"):
        describe({"model_type": "something_new", "text_config": inner | {"model_type": "also_new"}})


def test_a_language_model_two_levels_down_is_found_and_what_is_beside_it_named():
    inner = TRUTH["Qwen3-VL-30B-A3B"]["config"]["text_config"] | {"model_type": "qwen3_omni_moe_text"}
    thinker = {"model_type": "qwen3_omni_moe_thinker", "text_config": inner, "audio_config": {"d": 1}}
    whole = {"model_type": "qwen3_omni_moe", "thinker_config": thinker, "talker_config": {"d": 1}}
    model = describe(whole)
    assert count(model).total == 30_532_122_624
    assert "talker_config, thinker_config.audio_config" in model.notes[-1]


@pytest.mark.parametrize(
    "field", ["num_mtp_modules", "mtp_num_hidden_layers", "num_nextn_predict_layers", "num_mtp_layers"]
)
def test_multi_token_prediction_is_noted_whatever_it_is_called(field):
    config = TRUTH["Qwen3-Coder-480B-A35B"]["config"]
    assert any(f"{field}=2" in note for note in describe(config | {field: 2}).notes)
    assert not any("multi-token" in note for note in describe(config | {field: 0}).notes)


def test_only_a_router_with_a_selection_bias_has_one_in_its_notes():
    assert not any("bias" in note for note in describe(TRUTH["Mistral-Small-4-119B"]["config"]).notes)
    assert any("bias" in note for note in describe(TRUTH["Moonlight-16B-A3B"]["config"]).notes)


def test_kimi_k3_reads_what_kimi_linear_does_not_have():
    linear = {"num_heads": 2, "head_dim": 8, "short_conv_kernel_size": 4, "full_attn_layers": [4]}
    base = {
        "model_type": "kimi_linear",
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "vocab_size": 48,
        "intermediate_size": 40,
        "num_attention_heads": 4,
        "q_lora_rank": 16,
        "kv_lora_rank": 12,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 4,
        "v_head_dim": 6,
        "num_experts": 8,
        "num_experts_per_token": 2,
        "num_shared_experts": 1,
        "moe_intermediate_size": 20,
        "linear_attn_config": linear,
    }

    def counted(**fields):
        return count(describe({"model_type": "kimi_k3", "text_config": base | fields}))

    plain, narrow = counted(), counted(routed_expert_hidden_size=16)
    # Three layers of eight experts: half as wide, and two projections beside them.
    assert plain.components["routed_experts"] == 3 * 8 * 3 * 32 * 20
    assert narrow.components["routed_experts"] == 3 * 8 * 3 * 16 * 20
    assert narrow.components["shared_experts"] - plain.components["shared_experts"] == 3 * 2 * 32 * 16
    assert counted(mla_use_output_gate=True).total - plain.total == 32 * 4 * 6
    full = counted(linear_attn_config=linear | {"use_full_rank_gate": True})
    assert full.total - plain.total == 3 * (32 * 16 - (32 * 8 + 8 * 16))
    assert counted(attn_res_block_size=2).total - plain.total == 4 * 4 * 32 + 2 * 32


def test_kimi_k3_is_the_sum_of_its_tensors():
    """No class of transformers builds it: shapes as the checkpoint's files have them, layer by layer."""
    d_model, inner, latent, n_experts = 7168, 96 * 128, 3584, 896
    ends = 2 * 163840 * d_model + 3 * d_model  # embedding, head; norm, and a norm and a vector over blocks
    around = 2 * d_model + 4 * d_model  # norms; norms and vectors that choose among earlier blocks
    convolutions, decay = 3 * inner * 4, 96 + inner  # A_log is stored with 32 zeros behind its 96 numbers
    low_rank = d_model * 128 + 128 * inner
    delta = 5 * d_model * inner + low_rank + 96 * d_model + convolutions + decay + 128  # q k v, gate, o; beta
    query = d_model * 1536 + 1536 + 1536 * 96 * (128 + 64)
    key_value = d_model * (512 + 64) + 512 + 512 * 96 * (128 + 128)
    gated_latent = query + key_value + 2 * d_model * inner
    beside = n_experts * d_model + 2 * d_model * latent + latent + 3 * d_model * 6144
    dense = 93 * around + 69 * delta + 24 * gated_latent + 3 * d_model * 33792 + 92 * beside
    routed = 92 * n_experts * 3 * latent * 3072
    assert TRUTH["Kimi-K3"]["total"] == ends + dense + routed
    # The size of what is neither routed nor at an end, as published: 108.81 GB, bf16 but for these in fp32.
    single = 69 * (convolutions + decay + 32 + 128) + 92 * n_experts
    stored = dense + 69 * 32 + 92 * n_experts
    assert round((2 * stored + 2 * single) / 1e9, 2) == 108.81
