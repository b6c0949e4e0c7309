"""Every recipe against the block of transformers that it is for."""

import dataclasses
import re

import pytest
import torch

pytest.importorskip("transformers")

from recipe_blocks import VARIANTS, D, E, make_block, output_of, seen_routing, tiny_config
from recipe_differences import NOT_ITS_BLOCK, differences, pair, relative_error, top_ks

from moe_lessons.experts import gated
from moe_lessons.interop.folders import InteropError
from moe_lessons.interop.recipes import (
    REASONS,
    RECIPES,
    layer_from,
    layer_of,
    recipe_for,
    rows,
    spec_of,
    table,
    translate,
)
from moe_lessons.interop.recipes.listing import default_config, scores
from moe_lessons.layer import MoELayer
from moe_lessons.routing import Routing, dense_weights, random_table, sparse_mixer_topk, weighted_hash_topk

COMPARED = [name for name in RECIPES if name not in NOT_ITS_BLOCK]
CASES = [(name, changes) for name in COMPARED for changes in VARIANTS.get(name, [{}])]
NAMES = [name + "".join(f"-{key}={value}" for key, value in changes.items()) for name, changes in CASES]

# A norm over a single expert's output takes out what its weight does: the gradient is a difference of equals.
ROUNDING = {"gemma4": 2e-4, "diffusion_gemma": 2e-4}

# Model types of transformers 5.23 whose blocks have experts: each has a recipe, or a reason.
N_TYPES = 72


def test_every_type_has_a_recipe_or_a_reason():
    assert len(RECIPES) + len(REASONS) == N_TYPES
    assert not set(RECIPES) & set(REASONS)
    assert list(RECIPES) == sorted(RECIPES)
    assert all("\n" not in reason and len(reason) < 110 for reason in REASONS.values())


@pytest.mark.parametrize(("name", "changes"), CASES, ids=NAMES)
def test_outputs_and_gradients(name, changes):
    for top_k in top_ks(name):
        block, layer = pair(name, top_k, changes)
        for shape in ((1, 1), (1, 5), (3, 7)):
            output, gradient = differences(name, block, layer, shape)
            assert output < 1e-6, (top_k, shape)
            assert gradient < ROUNDING.get(name, 1e-5), (top_k, shape)


@pytest.mark.parametrize(("name", "changes"), CASES, ids=NAMES)
def test_ids_and_weights(name, changes):
    block, layer = pair(name, top_ks(name)[-1 if len(top_ks(name)) == 1 else 1], changes)
    hidden = torch.randn(4, 9, D, generator=torch.Generator().manual_seed(3))
    theirs = seen_routing(block, hidden)
    if not theirs:
        pytest.skip("its router hands on something else")
    routing = layer(hidden).routing
    n_experts = routing.logits_TE.shape[1]
    seen = Routing(routing.logits_TE, theirs["ids"], theirs["weights"])
    ours_TE, theirs_TE = dense_weights(routing), dense_weights(seen)
    if name == "inkling":  # shared experts are handed on beside the others
        ours_TE, theirs_TE = ours_TE[:, : n_experts - 2], theirs_TE[:, : n_experts - 2]
    assert torch.equal(ours_TE != 0, theirs_TE != 0)
    # Some scale the sum of the experts instead: what the outputs show is then one factor for all.
    factor = ours_TE.sum() / theirs_TE.sum()
    torch.testing.assert_close(ours_TE, factor * theirs_TE, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", RECIPES)
def test_no_token_gives_no_output_and_zero_gradients(name):
    layer = layer_of(tiny_config(name, top_ks(name)[0], {}))
    output = layer(torch.zeros(2, 0, D))
    assert output.hidden.shape == (2, 0, D)
    output.hidden.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters()), name


@pytest.mark.parametrize(
    "name", ["mixtral", "deepseek_v3", "gpt_oss", "nemotron_h", "llama4", "longcat_flash"]
)
def test_padding_changes_nothing(name):
    block, layer = pair(name, 2, {})
    hidden = torch.randn(3, 5, D, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 1, 1, 0, 1]]).bool()
    hidden = hidden.masked_fill(~mask.unsqueeze(-1), float("nan"))
    output = layer(hidden, mask=mask).hidden
    expected = output_of(block, hidden[mask].unsqueeze(0)).reshape(-1, D)
    torch.testing.assert_close(output[mask], expected, rtol=1e-5, atol=1e-5)
    assert not output[~mask].any()


# What is not the block of transformers, or not one block.


def test_nllb_is_held_against_its_definition():
    """Softmax, the best two, renormalised: not what the block makes of a one-hot made one-hot again."""
    config = tiny_config("nllb_moe", 2, {"moe_token_dropout": 0.2})
    block = make_block("nllb_moe", config, 0)
    layer = layer_from(block, config)
    hidden_TD = torch.randn(9, D, generator=torch.Generator().manual_seed(1))
    probs_TE = block.router.classifier(hidden_TD).softmax(-1)
    expected = []
    for hidden_D, probs_E in zip(hidden_TD, probs_TE, strict=True):
        first, second = probs_E.topk(2).indices.tolist()
        total = probs_E[first] + probs_E[second]
        outputs = [block.experts[f"expert_{e}"](hidden_D) * probs_E[e] / total for e in (first, second)]
        expected.append(0.8 * sum(outputs))
    torch.testing.assert_close(layer(hidden_TD).hidden, torch.stack(expected))
    one_hot_twice = output_of(block, hidden_TD.unsqueeze(0))[0]
    assert relative_error(one_hot_twice, torch.stack(expected)) > 0.3


def test_deepseek_v4_hashes_in_its_first_layers():
    """The recipe's layer with another gate, which looks experts up by token id."""
    modeling = pytest.importorskip("transformers.models.deepseek_v4.modeling_deepseek_v4")
    config = tiny_config("deepseek_v4", 2, {"vocab_size": 20, "mlp_layer_types": ["hash_moe"]})
    block = modeling.DeepseekV4SparseMoeBlock(config, 0)
    generator = torch.Generator().manual_seed(0)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    table_VK = random_table(20, E, 2, generator=generator)
    block.gate.tid2eid.copy_(table_VK)
    scale = config.routed_scaling_factor
    spec = dataclasses.replace(
        spec_of(config),
        expert_bias=False,
        gate=lambda logits_TE, _, *, token_ids_T: weighted_hash_topk(
            logits_TE, token_ids_T, table_VK, scale=scale
        ),
    )
    layer = MoELayer.of(spec)
    layer.load_state_dict(translate(block.state_dict(), spec, ignored="gate.tid2eid"))
    hidden, tokens = torch.randn(2, 5, D, generator=generator), torch.randint(20, (2, 5), generator=generator)
    output = layer(hidden, token_ids_T=tokens.flatten()).hidden
    torch.testing.assert_close(output, block(hidden, tokens))


def test_step3p7_clamps_in_the_layers_that_say_so():
    changes = {"swiglu_limits": [0.0, 0.5], "swiglu_limits_shared": [0.0, 0.3]}
    spec = spec_of(tiny_config("step3p7", 2, changes))
    assert spec.kind.name == "swiglu, clamped at 0.5 after silu"
    assert spec_of(tiny_config("step3p7", 2, {})).kind.is_swiglu


def test_ernie_vl_keeps_the_text_experts():
    config = tiny_config("ernie4_5_vl_moe", 2, {})
    layer = layer_from(make_block("ernie4_5_vl_moe", config, 0), config)
    assert layer.experts.down_proj.shape == (E, D, 10)  # vision's are 5 wide


def test_sparse_mixer_weighs_each_choice_by_its_rivals():
    logits_TE = torch.tensor([[4.0, 3.99, 1.0, 0.99]])
    routing = sparse_mixer_topk(logits_TE, 2, jitter=0.01)
    assert routing.topk_ids_TK.tolist() == [[0, 1]]
    first = torch.tensor([4.0, 3.99]).softmax(0)[0]
    torch.testing.assert_close(routing.topk_weights_TK, torch.tensor([[first, 1.0]]))


# Negative controls: a small change in a recipe is seen.


@pytest.mark.parametrize(
    ("name", "part", "changes"),
    [
        ("deepseek_v3", "gate", {"scale": 1.0}),
        ("deepseek_v3", "gate", {"group_best": 1}),
        ("axk2", "gate", {"outside": float("-inf")}),
        ("kolibri1", "gate", {"bias_on": "scores"}),
        ("laguna", "gate", {"softcap": None}),
        ("muse_spark", "gate", {"logit_scale": 1.0}),
        ("llama4", "gate", {"on_input": False}),
        ("mixtral", "kind", {}),
    ],
)
def test_a_small_mistake_is_seen(name, part, changes):
    variant = {
        "axk2": {"n_group": 3, "topk_group": 1},
        "laguna": {"moe_router_logit_softcapping": 0.7},
        "muse_spark": {"output_multiplier": 0.6},
    }.get(name, {})
    block, layer = pair(name, 2, variant)
    spec = layer.spec
    wrong = gated("gelu") if part == "kind" else dataclasses.replace(spec.gate, **changes)
    other = type(layer).of(dataclasses.replace(spec, **{part: wrong}))
    other.load_state_dict(layer.state_dict())
    if name == "axk2":  # biases below 0, so that an expert of a group left out comes first
        layer.router.expert_bias_E.sub_(2), other.router.expert_bias_E.sub_(2)
        block.gate.e_score_correction_bias.sub_(2)
    hidden = torch.randn(6, 40, D, generator=torch.Generator().manual_seed(2))
    expected = output_of(block, hidden).reshape(hidden.shape)
    assert relative_error(layer(hidden).hidden, expected) < 1e-6
    assert relative_error(other(hidden).hidden, expected) > 1e-3


# Reading configs.

MIXTRAL = {
    "model_type": "mixtral",
    "hidden_size": 8,
    "intermediate_size": 16,
    "hidden_act": "silu",
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}


def test_a_dictionary_will_do():
    spec = spec_of({"model_type": "outer", "text_config": MIXTRAL})
    assert (spec.d_model, spec.d_expert, spec.n_experts, spec.top_k) == (8, 16, 4, 2)


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_config_leaves_out_is_not_guessed(name):
    config = tiny_config(name, top_ks(name)[0], {}).to_dict()
    spec = spec_of(config)
    size = "d_model" if name in ("switch_transformers", "nllb_moe", "dbrx") else "hidden_size"
    assert spec.d_model == config.pop(size)
    with pytest.raises(InteropError, match=r"the config does not say .*: a guess could change every output"):
        spec_of(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "zaya"},
            "model_type 'zaya' has no recipe: its router is an MLP that carries a state",
        ),
        ({"model_type": "llama"}, "model_type 'llama' has no recipe: choose one of afmoe, aria"),
        ({"hidden_act": "mish"}, "the activation is 'mish': there are silu, swish, gelu"),
        ({"num_experts_per_tok": 5}, "top_k is 5 with 4 experts: choose 1 to 4"),
    ],
)
def test_bad_configs_get_one_clear_line(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        spec_of(MIXTRAL | changes)
    assert "\n" not in str(error.value)


def test_a_tensor_without_a_place_is_named():
    block, layer = pair("mixtral", 2, {})
    tensors = {**block.state_dict(), "experts_of_tomorrow.weight": torch.zeros(1)}
    with pytest.raises(InteropError, match=r"experts_of_tomorrow.weight: this layer has no place for it"):
        translate(tensors, layer.spec)


def test_a_block_of_another_family_does_not_load():
    block, _ = pair("qwen2_moe", 2, {})
    with pytest.raises((InteropError, RuntimeError)):
        layer_from(block, tiny_config("mixtral", 2, {}))


# The table.


def test_the_table_has_a_line_for_every_type():
    lines = table().splitlines()
    assert len(lines) == 2 + N_TYPES
    assert all(line.count(" | ") == 5 for line in lines[2:])
    by_type = {row.model_type: row for row in rows()}
    assert by_type["llama4"].gate == "sigmoid on the input"
    assert by_type["kolibri1"].gate.startswith("sigmoid, bias on the logits")
    assert by_type["gpt_oss"].experts.startswith("swiglu with up + 1, clamped at 7, biases")
    assert (by_type["dots1"].top_k, by_type["gemma4"].n_experts) == (None, None)  # each model sets its own
    assert by_type["doge"].special == REASONS["doge"]


def test_sigmoid_gates_are_the_majority_among_the_new():
    assert scores(since=2026)["sigmoid"] > sum(scores(since=2026).values()) / 2
    assert scores()["sigmoid"] < sum(scores().values()) / 2  # among all they are not


def test_aliases_find_their_family():
    assert recipe_for({"model_type": "nllb-moe"}) is RECIPES["nllb_moe"]
    assert recipe_for({"model_type": "qwen3_vl_moe_text"}) is RECIPES["qwen3_vl_moe"]
    assert recipe_for(default_config("step3p7")) is RECIPES["step3p7"]
    assert recipe_for(default_config("inkling")) is RECIPES["inkling"]
