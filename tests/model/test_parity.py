"""`MoELayer` against the Mixtral block of transformers: the same weights, output and every gradient."""

import pytest
import torch

from moe_lessons.layer import MoELayer

modeling = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
if not hasattr(modeling, "MixtralExperts"):
    pytest.skip("this transformers keeps Mixtral's experts apart, not stacked", allow_module_level=True)

D, F = 16, 24
TOLERANCE = 1e-5
SIZES = [(E, K) for E in (1, 4, 8) for K in sorted({1, 2, E}) if K <= E]
ROUTINGS = ("drawn", "empty", "one")


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def twins(n_experts, top_k, *, path="auto", implementation="eager"):
    """Our layer and theirs with the same weights, which are large enough to keep routing off ties."""
    from transformers import MixtralConfig

    config = MixtralConfig(
        hidden_size=D, intermediate_size=F, num_local_experts=n_experts, num_experts_per_tok=top_k
    )
    config._experts_implementation = implementation
    theirs = modeling.MixtralSparseMoeBlock(config)
    ours = MoELayer(D, F, n_experts, top_k, path=path)
    for seed, (parameter, other) in enumerate(pairs(ours, theirs).values()):
        parameter.data.copy_(0.3 * draw(*parameter.shape, seed=seed))
        other.data.copy_(parameter.data)
    return ours, theirs


def pairs(ours, theirs):
    return {
        "router": (ours.router.weight, theirs.gate.weight),
        "gate_up_proj": (ours.experts.gate_up_proj, theirs.experts.gate_up_proj),
        "down_proj": (ours.experts.down_proj, theirs.experts.down_proj),
    }


def tokens(n_tokens, routing, ours, theirs):
    """Draw tokens [1, T, D]; "empty" leaves all but K experts idle, "one" has a single favourite."""
    hidden = draw(1, n_tokens, D, seed=7)
    if routing != "drawn":
        favourites = ours.top_k if routing == "empty" else 1
        # A constant feature favours some experts by 2: enough to decide, too little to round a weight to 1.
        hidden[..., 0] = 4.0
        for weight in (ours.router.weight, theirs.gate.weight):
            weight.data *= 0.15
            weight.data[:, 0] = 0.0
            weight.data[-favourites:, 0] = 0.5
    return hidden


def run(ours, theirs, hidden):
    """Return (ours, theirs) for the output and each gradient."""
    inputs = [hidden.clone().requires_grad_() for _ in range(2)]
    outputs = [ours(inputs[0]).hidden, theirs(inputs[1])]
    upstream = draw(*hidden.shape, seed=9)
    for output in outputs:
        output.backward(upstream)
    found = {"output": tuple(outputs), "input": tuple(x.grad for x in inputs)}
    return found | {name: (a.grad, b.grad) for name, (a, b) in pairs(ours, theirs).items()}


def relative_error(ours, theirs):
    ours, theirs = ours.detach().double(), theirs.detach().double()
    scale = float(theirs.norm())
    return float((ours - theirs).norm()) / scale if scale else float(ours.norm())


@pytest.mark.parametrize("path", ["grouped", "unbind"])
@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("n_tokens", [0, 1, 7, 64])
@pytest.mark.parametrize(("n_experts", "top_k"), SIZES)
def test_output_and_all_gradients(n_experts, top_k, n_tokens, routing, path):
    # Without tokens their eager loop visits no expert and has no graph; their grouped_mm path has one.
    implementation = "eager" if n_tokens else "grouped_mm"
    ours, theirs = twins(n_experts, top_k, path=path, implementation=implementation)
    hidden = tokens(n_tokens, routing, ours, theirs)
    loads = torch.bincount(ours(hidden).routing.topk_ids_TK.flatten(), minlength=n_experts)
    if routing == "empty" and n_tokens:
        assert int((loads == 0).sum()) == n_experts - top_k
    if routing == "one" and n_tokens:
        assert int(loads[-1]) == n_tokens
    for name, (one, other) in run(ours, theirs, hidden).items():
        assert one.shape == other.shape
        assert one.isfinite().all()
        if name == "router" and top_k == 1:
            # They divide a probability by itself: the weight is 1, its gradient rounding noise.
            assert float(one.abs().max()) <= TOLERANCE
            assert float(other.abs().max()) <= TOLERANCE
            continue
        assert relative_error(one, other) <= TOLERANCE, name


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm"])
def test_both_of_their_paths(implementation):
    ours, theirs = twins(8, 2, implementation=implementation)
    for name, (one, other) in run(ours, theirs, draw(2, 33, D, seed=7)).items():
        assert relative_error(one, other) <= TOLERANCE, name


@pytest.mark.parametrize("mistake", ["halves", "weights", "expert"])
def test_a_small_mistake_is_seen(mistake):
    """The negative control: gate and up swapped, one more gate convention, two experts exchanged."""
    ours, theirs = twins(4, 2)
    if mistake == "halves":
        ours.experts.gate_up_proj.data = ours.experts.gate_up_proj.data.roll(F, dims=1)
    elif mistake == "weights":
        ours.gate = "softmax_topk"
    else:
        ours.experts.down_proj.data = ours.experts.down_proj.data[[1, 0, 2, 3]]
    errors = {n: relative_error(*both) for n, both in run(ours, theirs, draw(1, 64, D, seed=7)).items()}
    errors.pop("down_proj" if mistake == "expert" else None, None)  # that gradient does not depend on it
    assert all(error > 0.05 for error in errors.values()), errors


@pytest.mark.parametrize("names", [("w1", "w3"), ("w3", "w1")])
def test_names_on_disk(names):
    """Files hold w1 (gate), w2 (down) and w3 (up) of each expert; gate and up stack in this order."""
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        hidden_size=D,
        intermediate_size=F,
        num_local_experts=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=32,
    )
    model = MixtralForCausalLM(config)
    block = model.model.layers[0].mlp
    ours = MoELayer(D, F, 4, 2)
    disk = on_disk(model)
    prefix = "model.layers.0.block_sparse_moe"
    ours.router.weight.data.copy_(disk[f"{prefix}.gate.weight"])
    for e in range(4):
        halves = [disk[f"{prefix}.experts.{e}.{name}.weight"] for name in names]
        ours.experts.gate_up_proj.data[e] = torch.cat(halves)
        ours.experts.down_proj.data[e] = disk[f"{prefix}.experts.{e}.w2.weight"]
    hidden = draw(1, 7, D)
    error = relative_error(ours(hidden).hidden, block(hidden))
    assert error <= TOLERANCE if names == ("w1", "w3") else error > 0.05


def on_disk(model):
    """The tensors that `save_pretrained` writes."""
    import tempfile
    from pathlib import Path

    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return {k: v for file in Path(folder).glob("*.safetensors") for k, v in load_file(file).items()}
