"""Folders of Hugging Face's: transformers loads what comes out, and computes what went in."""

import dataclasses
import json
import re

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from moe_lessons.adaptation import best, keep_experts, prune, prune_folder, saliency, upcycle, upcycle_folder
from moe_lessons.adaptation.pruned_folders import calibration_tokens
from moe_lessons.interop.exporting import export_model
from moe_lessons.interop.folders import InteropError
from moe_lessons.interop.importing import import_folder
from moe_lessons.model import ModelConfig, MoETransformer
from moe_lessons.training.checkpoint import load_model

transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
TEXT = b"Any text will do, as long as it is not too short for the model to be run on it once or twice."


def theirs(kind, folder, dtype=torch.float32, **changes):
    """A small dense model of Hugging Face's, in a folder; logits far from equal."""
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **changes})
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4) if parameter.ndim > 1 else parameter.mul_(0.5 + torch.rand_like(parameter))
    model.to(dtype).save_pretrained(folder)
    return model


def loaded(folder):
    """What transformers makes of a folder; their default for experts takes widths of 16 only."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, experts_implementation="eager").eval()


@torch.no_grad()
def gap(one, other, vocab_size=50):
    tokens_BL = torch.randint(vocab_size, (2, 40), generator=torch.Generator().manual_seed(1))
    return (one(tokens_BL).logits.float() - other(tokens_BL).logits.float()).abs().max().item()


def edit(folder, **changes):
    path = folder / "config.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))


@pytest.mark.parametrize(
    ("kind", "changes", "how"),
    [
        ("Llama", {}, {"n_experts": 8}),
        ("Llama", {"tie_word_embeddings": True}, {"n_experts": 6, "granularity": 2, "top_k": 4}),
        ("Llama", {"head_dim": 16, "rope_parameters": LLAMA3}, {"n_experts": 4, "top_k": 1}),
        ("Mistral", {"sliding_window": 8}, {"n_experts": 4, "router": "zero", "top_k": 3}),
        (
            "Mistral",
            {"sliding_window": None, "rms_norm_eps": 1e-3},
            {"n_experts": 9, "granularity": 3, "top_k": 3},
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:top_k=1")
def test_upcycled_logits_are_the_dense_models(tmp_path, kind, changes, how):
    dense = theirs(kind, tmp_path / "dense", **changes)
    made = upcycle_folder(tmp_path / "dense", tmp_path / "sparse", **how)
    sparse = loaded(made.folder)
    assert type(sparse).__name__ == "MixtralForCausalLM"
    assert gap(dense, sparse) < 1e-5
    assert sparse.config.num_local_experts == how["n_experts"]
    counts = [sum(p.numel() for p in model.parameters()) for model in (dense, sparse)]
    assert [made.before, made.after] == counts
    a_layer = 3 * 32 * (24 // how.get("granularity", 1))
    assert made.after - made.active == 2 * a_layer * (how["n_experts"] - how.get("top_k", 2))


def test_a_router_that_the_task_will_not_train_is_mentioned(tmp_path, recwarn):
    theirs("Llama", tmp_path / "dense")
    upcycle_folder(tmp_path / "dense", tmp_path / "two", 4)
    assert not [warning for warning in recwarn if "top_k" in str(warning.message)]
    with pytest.warns(UserWarning, match="top_k=1: every weight of Mixtral is 1"):
        upcycle_folder(tmp_path / "dense", tmp_path / "one", 4, top_k=1)


def test_what_is_not_exact_is_not(tmp_path):
    dense = theirs("Llama", tmp_path / "dense")
    for number, how in enumerate(
        ({"noise": 0.2}, {"granularity": 2, "router": "free", "router_std": 1.0}, {"noise": 0.2, "seed": 1})
    ):
        made = upcycle_folder(tmp_path / "dense", tmp_path / f"sparse-{number}", 8, **how)
        assert gap(dense, loaded(made.folder)) > 0.05
    first, other = (load_file(tmp_path / f"sparse-{n}" / "model.safetensors") for n in (0, 2))
    key = "model.layers.0.block_sparse_moe.experts.3.w2.weight"
    assert not torch.equal(first[key], other[key])
    assert not torch.equal(first[key], first[key.replace("experts.3", "experts.4")])


def test_the_same_seed_writes_the_same_folder(tmp_path):
    theirs("Llama", tmp_path / "dense")
    for name in ("one", "two"):
        upcycle_folder(tmp_path / "dense", tmp_path / name, 4, noise=0.1)
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_dtype_tokens_and_files_come_along(tmp_path):
    dense = theirs("Llama", tmp_path / "dense", torch.bfloat16, bos_token_id=3, eos_token_id=7)
    (tmp_path / "dense" / "tokenizer.json").write_text("{}")
    upcycle_folder(tmp_path / "dense", tmp_path / "sparse", 4)
    sparse = loaded(tmp_path / "sparse")
    assert {p.dtype for p in sparse.parameters()} == {torch.bfloat16}
    assert (sparse.config.bos_token_id, sparse.config.eos_token_id) == (3, 7)
    assert sparse.generation_config.eos_token_id == 7
    assert (tmp_path / "sparse" / "tokenizer.json").exists()
    assert gap(dense, sparse) < 0.1 * dense(torch.tensor([[1]])).logits.abs().max()


def test_a_config_that_leaves_defaults_out(tmp_path):
    """transformers fills in what a Llama's config.json does not say; a Mixtral's defaults are others."""
    dense = theirs("Llama", tmp_path / "dense", rms_norm_eps=1e-3)
    edit(tmp_path / "dense", rope_parameters=..., head_dim=..., tie_word_embeddings=..., attention_bias=...)
    upcycle_folder(tmp_path / "dense", tmp_path / "sparse", 4)
    assert gap(dense, loaded(tmp_path / "sparse")) < 1e-5


OURS = ModelConfig(n_layers=2, d_model=16, n_heads=2, d_expert=8, n_experts=5, context_length=16)


def ours(config=OURS):
    model = MoETransformer(config, generator=torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def test_a_dense_run_of_ours(tmp_path):
    dense = ours(dataclasses.replace(OURS, n_experts=1, top_k=1))
    export_model(dense, tmp_path / "exported")
    import_folder(tmp_path / "exported", tmp_path / "run")
    for number, source in enumerate(("exported", "run")):
        upcycle_folder(tmp_path / source, tmp_path / f"sparse-{number}", 4, granularity=2)
        sparse = loaded(tmp_path / f"sparse-{number}")
        tokens_BL = torch.arange(16)[None]
        with torch.no_grad():
            torch.testing.assert_close(
                sparse(tokens_BL).logits, dense(tokens_BL).logits_BLV, atol=1e-5, rtol=1e-5
            )
    config = load_model(import_folder(tmp_path / "sparse-0", tmp_path / "again"))[0].config
    assert (config.n_experts, config.d_expert) == (4, 4)
    assert upcycle(dense, 4, granularity=2).config.routed_scale == 2  # which a folder has no place for


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "qwen2"}, "model_type is 'qwen2': its queries, keys and values have biases"),
        ({"model_type": "gpt_neox"}, "model_type is 'gpt_neox': its layers are not known to be Mixtral's"),
        ({"model_type": "qwen3_moe", "num_experts": 64}, "it has experts already"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu': Mixtral has 'silu' only"),
        ({"attention_bias": True}, "attention_bias is True: Mixtral has False only"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is set"),
        ({"intermediate_size": 23}, "model.layers.0.mlp.gate_proj.weight has shape (24, 32)"),
        ({"num_hidden_layers": 3}, "lacks model.layers.2.mlp.down_proj.weight and 8 more"),
        ({"num_hidden_layers": 1}, "has unknown model.layers.1"),
        ({"hidden_size": ...}, "config.json does not say hidden_size"),
    ],
)
def test_a_family_that_does_not_fit_is_refused(tmp_path, changes, said):
    theirs("Llama", tmp_path / "dense")
    edit(tmp_path / "dense", **changes)
    with pytest.raises(InteropError, match=re.escape(said)):
        upcycle_folder(tmp_path / "dense", tmp_path / "sparse", 4)
    assert not (tmp_path / "sparse").exists()


def test_places_that_are_not_as_they_should(tmp_path):
    with pytest.raises(InteropError, match="nothing is not a folder: give a run"):
        upcycle_folder(tmp_path / "nothing", tmp_path / "sparse", 4)
    theirs("Llama", tmp_path / "dense")
    with pytest.raises(InteropError, match="already holds something: choose another folder"):
        upcycle_folder(tmp_path / "dense", tmp_path / "dense", 4)
    with pytest.raises(ValueError, match="granularity is 5: choose a divisor of intermediate_size=24"):
        upcycle_folder(tmp_path / "dense", tmp_path / "sparse", 5, granularity=5, top_k=5)
    export_model(ours(), tmp_path / "moe")
    with pytest.raises(InteropError, match="num_local_experts is 5: it has experts already"):
        upcycle_folder(tmp_path / "moe", tmp_path / "sparse", 4)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_pruned_logits_are_those_of_our_pruned_model(data, tmp_path_factory):
    """Ours of any shape, by any criterion: transformers computes what `keep_experts` leaves."""
    place = tmp_path_factory.mktemp("pruned")
    n_experts = data.draw(st.integers(2, 6))
    top_k = data.draw(st.integers(1, n_experts))
    keep = data.draw(st.integers(top_k, n_experts))
    by = data.draw(st.sampled_from(["frequency", "weight", "reap", "norm", "loss"]))
    config = dataclasses.replace(
        OURS,
        n_experts=n_experts,
        top_k=top_k,
        d_expert=data.draw(st.integers(1, 8)),
        tie_embeddings=data.draw(st.booleans()),
    )
    model = ours(config)
    if by == "loss" and top_k == n_experts:
        by = "reap"
    export_model(model, place / "whole")
    made = prune_folder(place / "whole", place / "pruned", keep, by=by, text=TEXT, n_tokens=48)
    tokens_BL = calibration_tokens(place / "whole", TEXT, 48, 256, 16)
    mine = prune(model, keep, by=by, tokens_BL=tokens_BL)
    other = loaded(place / "pruned")
    with torch.no_grad():
        torch.testing.assert_close(other(tokens_BL).logits, mine(tokens_BL).logits_BLV, atol=1e-4, rtol=1e-4)
    assert made.after == sum(p.numel() for p in other.parameters())
    assert made.before - made.after == 2 * (n_experts - keep) * (3 * 16 * config.d_expert + 16)


def test_a_folder_with_fused_experts_is_pruned_too(tmp_path):
    model = ours()
    export_model(model, tmp_path / "whole")
    weights = load_file(tmp_path / "whole" / "model.safetensors")
    for layer in range(2):
        prefix = f"model.layers.{layer}.block_sparse_moe.experts."
        for key in [key for key in weights if key.startswith(prefix)]:
            del weights[key]
        state = model.state_dict()
        for part in ("gate_up_proj", "down_proj"):
            weights[prefix + part] = state[f"blocks.{layer}.moe.experts.{part}"]
    save_file(weights, tmp_path / "whole" / "model.safetensors", metadata={"format": "pt"})
    prune_folder(tmp_path / "whole", tmp_path / "pruned", 3, text=TEXT)
    tokens_BL = calibration_tokens(tmp_path / "whole", TEXT, 8192, 256, 16)
    mine = keep_experts(model, best(saliency(model, tokens_BL, "frequency"), 3))
    with torch.no_grad():
        found = loaded(tmp_path / "pruned")(tokens_BL).logits
        torch.testing.assert_close(found, mine(tokens_BL).logits_BLV, atol=1e-4, rtol=1e-4)


def test_a_mixtral_of_transformers_keeps_its_dtype_and_its_tokens(tmp_path):
    settings_of = {"num_local_experts": 4, "num_experts_per_tok": 2, "eos_token_id": 7, "bos_token_id": None}
    theirs("Mixtral", tmp_path / "whole", torch.bfloat16, **settings_of)
    prune_folder(tmp_path / "whole", tmp_path / "pruned", 3, by="random", seed=2)
    pruned = loaded(tmp_path / "pruned")
    assert {p.dtype for p in pruned.parameters()} == {torch.bfloat16}
    assert (pruned.config.num_local_experts, pruned.config.eos_token_id) == (3, 7)
    other = prune_folder(tmp_path / "whole", tmp_path / "other", 3, by="random", seed=3)
    assert gap(pruned, loaded(other.folder)) > 1e-2


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"keep": 1}, "keep has 1 expert a layer: a token gets top_k=2, choose at least 2"),
        ({"keep": 6}, "keep is 6 with 5 experts: choose 1 to 5"),
        ({"keep": 3, "by": "luck"}, "by is 'luck': choose one of frequency"),
        ({"keep": 3, "text": b"x"}, "text is 1 tokens long: give a longer one"),
    ],
)
def test_pruning_that_leaves_no_model_is_refused(tmp_path, how, said):
    export_model(ours(), tmp_path / "whole")
    with pytest.raises(ValueError, match=re.escape(said)):
        prune_folder(tmp_path / "whole", tmp_path / "pruned", **{"text": TEXT, **how})
    assert not (tmp_path / "pruned").exists()


def test_a_dense_folder_cannot_be_pruned(tmp_path):
    theirs("Llama", tmp_path / "dense")
    with pytest.raises(InteropError, match="model_type is 'llama'"):
        prune_folder(tmp_path / "dense", tmp_path / "pruned", 2, text=TEXT)
