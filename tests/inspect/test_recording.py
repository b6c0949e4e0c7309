"""What the hooks catch is what the model used: against transformers' own outputs, family by family."""

import pytest
import torch
import transformers
from tiny_models import CONFIGS

from moe_lessons.inspect import InspectError, record
from moe_lessons.inspect.recording import of_router, router_modules
from moe_lessons.inspect.texts import Cut

FAMILIES = [family for family in CONFIGS if family != "llama"]


@pytest.fixture(scope="module")
def pieces():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randint(4, 250, (n,), generator=generator) for n in (40, 7)]
    return Cut(parts, [0, 1], ["a", "b"])


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_that_transformers_returns(models, pieces, family):
    model = transformers.AutoModelForCausalLM.from_pretrained(models(family)).eval()
    layers = record(model, pieces)
    with torch.no_grad():
        parts = [model(piece[None], output_router_logits=True).router_logits for piece in pieces.pieces]
    assert len(layers) == len(parts[0])
    for i, layer in enumerate(layers):
        expected = torch.cat([logits[i].reshape(-1, layer.n_experts) for logits in parts])
        torch.testing.assert_close(layer.logits_TE, expected.float())
        assert layer.topk_ids_TK.shape == layer.topk_weights_TK.shape == (47, layer.top_k)
        assert layer.top_k == CONFIGS[family][1]["num_experts_per_tok"]


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_and_weights_are_those_that_the_experts_get(models, pieces, family):
    model = transformers.AutoModel.from_pretrained(models(family)).eval()
    given = []

    def watch(module, inputs):
        given.append([part.clone() for part in inputs])

    experts = [m for name, m in model.named_modules() if name.endswith("experts") and "shared" not in name]
    hooks = [module.register_forward_pre_hook(watch) for module in experts]
    layers = record(model, pieces)
    for hook in hooks:
        hook.remove()
    if family == "llama4_text":  # its experts get the tokens already weighted
        chosen = layers[0].logits_TE.sigmoid().gather(1, layers[0].topk_ids_TK)
        torch.testing.assert_close(layers[0].topk_weights_TK, chosen)
        return
    for i, layer in enumerate(layers):
        calls = given[i :: len(layers)]
        torch.testing.assert_close(layer.topk_ids_TK, torch.cat([call[1] for call in calls]))
        torch.testing.assert_close(layer.topk_weights_TK, torch.cat([call[2] for call in calls]).float())


def test_hooks_are_gone_afterwards(models, pieces):
    model = transformers.AutoModel.from_pretrained(models("mixtral"))
    record(model, pieces)
    assert all(not module._forward_hooks for _, module, _ in router_modules(model))


def test_a_dense_model_is_refused(models, pieces):
    model = transformers.AutoModel.from_pretrained(models("llama"))
    with pytest.raises(InspectError, match="has no router"):
        record(model, pieces)


def test_a_router_without_ids_needs_k():
    with pytest.raises(InspectError, match="does not say which experts"):
        of_router(torch.zeros(2, 4), 0, None)


def test_weights_are_found_where_k_is_all_of_e():
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.5]])
    weights, ids = logits.softmax(-1).topk(2)
    found = of_router((logits, weights, ids), 0, None)
    torch.testing.assert_close(found[1], weights)
    torch.testing.assert_close(found[2], ids)


def test_a_model_that_fails_says_so_in_one_line(models, pieces):
    model = transformers.AutoModel.from_pretrained(models("mixtral"))
    odd = Cut([torch.tensor([4, 5, 100_000])], [0], ["a"])
    with pytest.raises(InspectError, match="MixtralModel fails on this text: index out of range") as caught:
        record(model, odd)
    assert "\n" not in str(caught.value)


def test_a_router_inside_another_is_recorded_once():
    small = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_key_value_heads": 2}
    experts = {"kv_channels": 8, "intermediate_size": 12, "num_local_experts": 4, "num_experts_per_tok": 2}
    config = transformers.JetMoeConfig(**small, **experts)
    layers = record(transformers.AutoModel.from_config(config).eval(), Cut([torch.arange(9)], [0], ["a"]))
    assert [layer.n_experts for layer in layers] == [4] * 4  # attention's and the network's, in two layers
