"""Grok-1, which transformers lacks: against the shapes that its published code gives its arrays.

github.com/xai-org/grok-1 at 7050ed2: run.py sets the sizes, model.py creates the arrays.
"""

import math

from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.accounting import count, describe, published


def arrays(config):
    """Name of each array, its shape, and how many layers have one."""
    d, layers, n_experts = config["emb_size"], config["num_layers"], config["num_experts"]
    q, kv = (config[n] * config["key_size"] for n in ("num_q_heads", "num_kv_heads"))
    hidden = int(config["widening_factor"] * d) * 2 // 3
    hidden = hidden + (8 - hidden) % 8
    block = {
        "attention": [(d, q), (d, kv), (d, kv), (q, d)],
        "router": [(d, n_experts)],
        "routed_experts": [(n_experts, d, hidden), (n_experts, d, hidden), (n_experts, hidden, d)],
        "norms": [(d,)] * 4,  # before and after attention, before and after the experts
    }
    found = {name: layers * sum(map(math.prod, shapes)) for name, shapes in block.items()}
    found["norms"] += d
    return found | {"embedding": config["vocab_size"] * d, "head": 0, "shared_experts": 0, "dense_ffn": 0}


def test_the_published_model():
    assert count(describe("Grok-1")).components == arrays(published()["Grok-1"].config)


@given(
    st.fixed_dictionaries(
        {
            name: st.integers(1, 64)
            for name in ("emb_size", "widening_factor", "key_size", "num_layers", "num_experts", "vocab_size")
        }
        | {"num_kv_heads": st.integers(1, 4), "group": st.integers(1, 4)}
    )
)
def test_drawn_sizes(drawn):
    config = drawn | {
        "model_type": "grok-1",
        "num_q_heads": drawn["num_kv_heads"] * drawn["group"],
        "num_selected_experts": 1,
    }
    assert count(describe(config)).components == arrays(config)
