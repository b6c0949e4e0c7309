"""Memory of training: the formula against what autograd keeps, byte for byte, and against the system."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.accounting.resident import kept_bytes_per_token, resident_bytes
from moe_lessons.bench.memory import STATUS, measure, status
from moe_lessons.config import ModelConfig, TrainConfig
from moe_lessons.dispatch import by_hand
from moe_lessons.dispatch.products import prepares_code
from moe_lessons.dispatch.rooms import tight
from moe_lessons.model import MoETransformer
from moe_lessons.training.footprint import PRODUCTS, predicted, prepared_products
from moe_lessons.training.objective import router_losses
from moe_lessons.training.utilisation import describe_model

WITHIN = 0.2


def kept_bytes(config, n_sequences):
    """What autograd keeps of one forward pass with all losses, weights and tables left out."""
    model = MoETransformer(config, generator=torch.Generator().manual_seed(0))
    for layer in model.moe_layers:
        layer.path = "fused"
    tokens_BL = torch.randint(config.vocab_size, (n_sequences, config.context_length))
    targets_BL = torch.randint(config.vocab_size, (n_sequences, config.context_length))
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = tensor, storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(tokens_BL, targets_BL)
        _graph = output.loss, router_losses(output.routings)  # alive, so that no address is used twice
    return sum(n_bytes for _, n_bytes in kept.values())


@settings(max_examples=12, deadline=None)
@given(
    n_experts=st.integers(2, 6),
    top_k=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
    d_expert=st.sampled_from([8, 24]),
    dense=st.integers(0, 1),
    shared=st.integers(0, 1),
    tied=st.booleans(),
)
def test_kept_byte_for_byte(n_experts, top_k, groups, d_expert, dense, shared, tied):
    config = ModelConfig(
        vocab_size=40,
        n_layers=2,
        d_model=32,
        n_heads=4,
        n_kv_heads=groups,
        d_expert=d_expert,
        n_experts=n_experts,
        top_k=top_k,
        n_shared_experts=shared,
        context_length=16,
        n_dense_layers=dense,
        tie_embeddings=tied,
    )
    before = by_hand.in_blocks
    by_hand.in_blocks = tight  # whole blocks are a few rows more
    try:
        # A difference, because some small tensors do not grow with the number of tokens.
        found = kept_bytes(config, 5) - kept_bytes(config, 2)
    finally:
        by_hand.in_blocks = before
    assert found == 3 * 16 * kept_bytes_per_token(describe_model(config), config.n_heads)


def test_the_constants_are_small():
    config = ModelConfig(n_layers=1, d_model=32, n_heads=2, n_kv_heads=1, d_expert=16, context_length=16)
    expected = 64 * kept_bytes_per_token(describe_model(config), 2)
    assert 0 <= kept_bytes(config, 4) - expected < 4 * 2 * 16 * 16 * 8 + 1000  # whole blocks of 8 experts


def test_parts():
    needed = predicted(TrainConfig())
    assert needed.gradients == needed.weights
    assert needed.tensors == needed.weights + needed.optimizer + needed.activations + needed.workspace
    micro = predicted(TrainConfig(accumulation_steps=8))
    assert micro.activations == needed.activations / 8
    assert micro.weights == needed.weights
    assert (
        predicted(TrainConfig(batch_size=1, model=ModelConfig(context_length=2))).tensors == 4 * micro.weights
    )


def test_prepared_products(monkeypatch):
    monkeypatch.setattr("moe_lessons.training.footprint.prepares_code", lambda dtype, device: False)
    assert prepared_products(TrainConfig()) == 0
    monkeypatch.setattr("moe_lessons.training.footprint.prepares_code", lambda dtype, device: True)
    monkeypatch.setattr("moe_lessons.training.footprint.in_blocks", lambda loads_E: loads_E // 100)
    assert prepared_products(TrainConfig()) == PRODUCTS * 11  # 256 rows each: from 64 to 1024


def test_refused():
    with pytest.raises(ValueError, match="tokens=-1: choose 0 or more"):
        resident_bytes(describe_model(ModelConfig()), -1, 4)
    if STATUS.exists():
        with pytest.raises(OSError, match="no line VmNone"):
            status("VmNone")


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="the system does not say what is resident")
@pytest.mark.parametrize("capability", ["avx2", None])
def test_cpu_tiny_within_a_fifth(capability):
    onednn = prepares_code(torch.float32, torch.device("cpu"))
    if capability is None and not onednn:
        pytest.skip("this CPU multiplies as in the other case")
    # With oneDNN it takes some steps until most loads were there once.
    found = measure("cpu-tiny", 5 if capability else 30, capability=capability)
    assert found["onednn"] == (capability is None)
    assert abs(found["predicted"] / found["measured"] - 1) < WITHIN, found
