"""FLOPs against what torch counts while a small model runs."""

import pytest
import torch
import transformers
from reference import config_of
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from moe_lessons.accounting import describe, prefill_flops

BATCH, TOKENS = 2, 16

SMALL = {
    "mixtral": {
        "hidden_size": 32,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "vocab_size": 50,
        "tie_word_embeddings": False,
    },
    "deepseek_v3": {
        "hidden_size": 32,
        "intermediate_size": 40,
        "moe_intermediate_size": 24,
        "num_hidden_layers": 3,
        "first_k_dense_replace": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "q_lora_rank": 12,
        "kv_lora_rank": 20,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 4,
        "v_head_dim": 12,
        "n_routed_experts": 8,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "n_group": 2,
        "topk_group": 1,
        "vocab_size": 50,
        "tie_word_embeddings": False,
    },
}


def measured(family, train=False):
    """FLOPs that torch counts for a forward pass, or for forward and backward."""
    config = config_of({"model_type": family} | SMALL[family])
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    ids = torch.randint(0, 50, (BATCH, TOKENS))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        logits = model(ids, use_cache=False).logits
        if train:
            logits.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("family", SMALL)
def test_a_forward_pass(family):
    # Eager attention multiplies the whole T x T square and masks half of it, as if each token saw T positions
    # where ours sees (T + 1) / 2 on average. All else that torch counts is what the closed form counts.
    model = describe({"model_type": family} | SMALL[family])
    flops = prefill_flops(model, TOKENS)
    square = flops.context * TOKENS / ((TOKENS + 1) / 2)
    assert measured(family) == BATCH * TOKENS * (flops.matrices + flops.head + square)


@pytest.mark.parametrize("family", SMALL)
def test_forward_and_backward_cost_three_times_the_forward_pass(family):
    assert measured(family, train=True) == 3 * measured(family)
