"""Mixtral folders: transformers computes what we compute, both ways, and what cannot be is refused."""

import dataclasses
import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from moe_lessons.commands.cli import main
from moe_lessons.config import ModelConfig
from moe_lessons.data.byte_level import tokenizer_file
from moe_lessons.interop.exporting import export_checkpoint, export_model
from moe_lessons.interop.folders import InteropError, new_folder
from moe_lessons.interop.importing import import_folder
from moe_lessons.interop.mixtral import TRANSLATED, check_exportable, from_mixtral, to_mixtral
from moe_lessons.interop.stored import Spec, StoredWeights, write_safetensors
from moe_lessons.model import MoETransformer, generate
from moe_lessons.training.checkpoint import latest_checkpoint, load_model

transformers = pytest.importorskip("transformers")
TINY = ModelConfig(
    n_layers=2, d_model=16, n_heads=4, n_kv_heads=2, d_expert=8, context_length=40, rope_theta=777.0
)


def build(config=TINY, seed=0):
    model = MoETransformer(config, generator=torch.Generator().manual_seed(seed)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger than at the start, so that positions and choices matter; norms away from one.
            parameter.mul_(2) if parameter.ndim > 1 else parameter.mul_(1 + 0.1 * torch.rand_like(parameter))
    return model


def tokens(config=TINY, n_rows=2):
    shape = n_rows, config.context_length
    return torch.randint(config.vocab_size, shape, generator=torch.Generator().manual_seed(1))


def theirs(folder, **settings):
    return transformers.MixtralForCausalLM.from_pretrained(folder, **settings).eval()


@torch.no_grad()
def distance(ours, other, config=TINY):
    tokens_BL = tokens(config)
    return (ours(tokens_BL).logits_BLV - other(tokens_BL).logits).abs().max().item()


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture
def folder(model, tmp_path):
    return export_model(model, tmp_path / "exported")


def edit_json(path, **changes):
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, **changes}))


def edit_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


# Not at random: once in a very long while two logits of a router are equal up to rounding.
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_shape_there_and_back(data, tmp_path):
    n_experts = data.draw(st.integers(1, 5))
    n_kv_heads = data.draw(st.sampled_from([1, 2, 3]))
    n_heads = n_kv_heads * data.draw(st.integers(1, 2))
    config = ModelConfig(
        vocab_size=data.draw(st.sampled_from([17, 256, 300])),
        n_layers=data.draw(st.integers(1, 3)),
        d_model=n_heads * data.draw(st.sampled_from([2, 4, 6])),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_expert=data.draw(st.integers(1, 9)),
        n_experts=n_experts,
        top_k=data.draw(st.integers(1, n_experts)),
        gate=data.draw(st.sampled_from(["topk_softmax", "softmax_topk_renorm"])),
        context_length=data.draw(st.integers(1, 20)),
        rope_theta=data.draw(st.sampled_from([10.0, 10_000.0])),
        norm_eps=data.draw(st.sampled_from([1e-6, 1e-3])),
        tie_embeddings=data.draw(st.booleans()),
    )
    for name in ("exported", "imported"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    ours = build(config)
    folder = export_model(ours, tmp_path / "exported")
    # Their default takes widths of 16 bytes only. Logits reach ten here, and rounding grows with them.
    largest = ours(tokens(config)).logits_BLV.abs().max().item()
    other = theirs(folder, experts_implementation="eager")
    assert distance(ours, other, config) < 1e-5 * max(1.0, largest)
    again, _ = load_model(import_folder(folder, tmp_path / "imported"))
    assert again.config == dataclasses.replace(config, gate="topk_softmax")
    assert all(map(torch.equal, ours.state_dict().values(), again.state_dict().values()))


def test_what_is_on_disk(folder):
    weights = load_file(folder / "model.safetensors")
    layer = "model.layers.1."
    assert weights[f"{layer}block_sparse_moe.gate.weight"].shape == (8, 16)
    assert weights[f"{layer}block_sparse_moe.experts.7.w1.weight"].shape == (8, 16)
    assert weights[f"{layer}block_sparse_moe.experts.7.w2.weight"].shape == (16, 8)
    assert len(weights) == 3 + 2 * (2 + 4 + 1 + 3 * 8)
    said = json.loads((folder / "config.json").read_text())
    assert said["rope_theta"] == said["rope_parameters"]["rope_theta"] == 777.0
    assert said["dtype"] == "float32"
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "sliding_window"):
        assert said[name] is None, name
    assert not [path for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]


def test_nothing_that_transformers_reads_is_left_to_a_default(folder):
    """Every setting of theirs is written, except what this version's own bookkeeping adds."""
    said = json.loads((folder / "config.json").read_text())
    known = {field.name for field in dataclasses.fields(transformers.MixtralConfig)} - {
        field.name for field in dataclasses.fields(transformers.PreTrainedConfig)
    }
    assert known - set(said) == set()
    loaded = transformers.AutoConfig.from_pretrained(folder)
    assert loaded.eos_token_id is None
    assert loaded.rope_parameters["rope_theta"] == 777.0
    assert loaded.num_local_experts == 8


def test_logits_and_what_would_change_them(model, folder):
    """With the negative controls: one weight, the base of the rotation, K, and two experts exchanged."""
    assert distance(model, theirs(folder)) < 1e-5
    rope = {"rope_type": "default", "rope_theta": 1_000_000.0}
    assert distance(model, theirs(folder, rope_parameters=rope)) > 1e-2
    assert distance(model, theirs(folder, num_experts_per_tok=1)) > 1e-2

    def perturb(weights):
        weights["model.layers.0.block_sparse_moe.experts.3.w3.weight"][0, 0] += 1.0

    def exchange(weights):
        one, two = (f"model.layers.1.block_sparse_moe.experts.{expert}.w2.weight" for expert in (0, 1))
        weights[one], weights[two] = weights[two].clone(), weights[one].clone()

    for change in (perturb, exchange):
        original = load_file(folder / "model.safetensors")
        edit_weights(folder, change)
        assert distance(model, theirs(folder)) > 1e-3
        save_file(original, folder / "model.safetensors", metadata={"format": "pt"})
    assert distance(model, theirs(folder)) < 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_the_same_tokens_three_ways(seed, tmp_path):
    ours = build(seed=seed)
    other = theirs(export_model(ours, tmp_path / "exported"))
    prompt = tokens()[0, : 1 + 5 * seed]
    cached = generate(ours, prompt, 40 - len(prompt), temperature=0)
    assert torch.equal(cached, generate(ours, prompt, 40 - len(prompt), temperature=0, use_cache=False))
    for use_cache in (True, False):
        written = other.generate(
            prompt[None],
            attention_mask=torch.ones_like(prompt[None]),
            max_new_tokens=40 - len(prompt),
            do_sample=False,
            use_cache=use_cache,
        )
        assert torch.equal(written[0], cached)


@pytest.mark.parametrize("form", ["apart", "fused", "sharded", "fused and sharded"])
@pytest.mark.parametrize("tied", [False, True])
def test_what_transformers_saves_is_read(form, tied, tmp_path):
    config = dataclasses.replace(TINY, tie_embeddings=tied)
    ours = build(config)
    saving = {"save_original_format": "fused" not in form}
    if "sharded" in form:
        saving["max_shard_size"] = "5KB"
    theirs(export_model(ours, tmp_path / "exported")).save_pretrained(tmp_path / "saved", **saving)
    assert len(list((tmp_path / "saved").glob("*.safetensors"))) > 1 or "sharded" not in form
    fused = any("gate_up_proj" in key for key in StoredWeights(tmp_path / "saved").keys)
    assert fused == ("fused" in form)
    again, state = load_model(import_folder(tmp_path / "saved", tmp_path / "run"))
    assert again.config == config
    assert state["imported_from"] == "saved"
    assert all(map(torch.equal, ours.state_dict().values(), again.state_dict().values()))


def test_bfloat16_stays_bfloat16(model, tmp_path):
    folder = export_model(model, tmp_path / "narrow", dtype="bfloat16")
    other = theirs(folder)
    assert other.dtype == torch.bfloat16
    run = import_folder(folder, tmp_path / "run")
    stored = load_file(latest_checkpoint(run) / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    head = stored["head.weight"]
    assert torch.equal(head, model.head.weight.bfloat16())
    assert torch.equal(head, other.lm_head.weight)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"n_shared_experts": 1}, ["n_shared_experts=1", "every token passes"]),
        ({"gate": "sigmoid"}, ["gate='sigmoid'", "topk_softmax or softmax_topk_renorm"]),
        ({"gate": "softmax_topk"}, ["gate='softmax_topk'", "softmax over the chosen"]),
        ({"gate": "softmax_topk_renorm", "expert_bias": True}, ["expert_bias=True", "no bias"]),
        ({"n_dense_layers": 1}, ["n_dense_layers=1", "every layer of Mixtral has experts"]),
        ({"moe_every": 2}, ["moe_every=2", "every layer of Mixtral has experts"]),
        ({"routed_scale": 2.0}, ["routed_scale=2.0", "weights sum to 1"]),
    ],
)
def test_what_mixtral_has_no_place_for_is_refused(changes, parts, tmp_path):
    config = dataclasses.replace(TINY, **changes)
    with pytest.raises(InteropError) as refused:
        export_model(MoETransformer(config), tmp_path / "exported")
    for part in [*parts, "to export"]:
        assert part in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_every_setting_of_a_model_is_decided_about():
    """A new field of `ModelConfig` is refused as soon as it is not at its default."""
    values = {int: 2, float: 0.5, bool: True, str: "sigmoid", type(None): 4}
    for field in dataclasses.fields(ModelConfig):
        if field.name in TRANSLATED | {"d_dense"}:
            continue
        changed = dataclasses.replace(ModelConfig(), **{field.name: values[type(field.default)]})
        with pytest.raises(InteropError, match=f"^{field.name}="):
            check_exportable(changed)
    check_exportable(dataclasses.replace(ModelConfig(), d_dense=7))  # says nothing without dense layers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, "model_type is 'llama': only 'mixtral' can be imported"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu': this model has 'silu' only"),
        ({"head_dim": 8}, "head_dim is 8: .* = 4 only"),
        ({"sliding_window": 16}, "sliding_window is 16: .*max_position_embeddings=40"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}}, "rope_type is 'yarn'"),
        ({"rope_parameters": None, "rope_theta": None}, "does not say rope_theta"),
        ({"num_local_experts": None}, "does not say num_local_experts"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is set"),
        ({"num_experts_per_tok": 9}, "top_k=9: choose 1 to n_experts=8"),
        ({"num_hidden_layers": 3}, r"lacks model.layers.2.block_sparse_moe.*w1.weight and 30 more"),
        ({"num_hidden_layers": 1}, r"has unknown model.layers.1.block_sparse_moe.*w1.weight and 30 more"),
        ({"intermediate_size": 9}, r"0.w1.weight has shape \(8, 16\): config.json says \(9, 16\)"),
        ({"vocab_size": 255}, r"embed_tokens.weight has shape \(256, 16\): config.json says \(255, 16\)"),
        ({"hidden_size": "16"}, "hidden_size is '16': config.json needs a whole number, 1 to"),
        ({"num_local_experts": 2.5}, "num_local_experts is 2.5: config.json needs a whole number"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1: config.json needs a whole number"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000: .* whole number, 1 to 10000"),
        ({"num_hidden_layers": 10**4}, "num_hidden_layers is 10000: .* holds .* tensors only"),
        ({"num_local_experts": 10**9}, "num_local_experts is 1000000000: .* holds .* tensors only"),
        ({"max_position_embeddings": True}, "max_position_embeddings is True: config.json needs a whole"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps is 'small': config.json needs a number"),
        ({"rope_parameters": "long"}, "rope_parameters is 'long': give an object"),
        ({"rope_parameters": {"rope_theta": []}}, r"rope_theta is \[\]: config.json needs a number"),
        ({"sliding_window": "wide"}, "sliding_window is 'wide': config.json needs a number"),
        ({"router_aux_loss_coef": "x"}, "router_aux_loss_coef is 'x': config.json needs a number"),
        ({"tie_word_embeddings": True}, "lm_head.weight differs from model.embed_tokens.weight"),
    ],
)
def test_a_config_that_does_not_fit(folder, tmp_path, changes, message):
    edit_json(folder / "config.json", **changes)
    with pytest.raises(ValueError, match=message) as refused:
        import_folder(folder, tmp_path / "run")
    assert len(str(refused.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_config_of_earlier_transformers_is_read(folder, tmp_path):
    values = json.loads((folder / "config.json").read_text())
    for name in ("rope_parameters", "head_dim", "dtype", "tie_word_embeddings"):
        del values[name]
    assert from_mixtral(values) == TINY
    # A window that no text outgrows changes nothing.
    assert from_mixtral({**values, "sliding_window": 40}) == TINY


def test_damaged_and_dangerous_folders(folder, tmp_path):
    weights = folder / "model.safetensors"
    content = weights.read_bytes()

    def refused(match):
        with pytest.raises(InteropError, match=match):
            import_folder(folder, tmp_path / "run")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["exported"]

    edit_weights(folder, lambda w: w.update({"model.norm.weight": torch.ones(16, dtype=torch.int8)}))
    refused("model.norm.weight has dtype I8: give weights in F32")
    weights.write_bytes(content[:1000])
    refused("cannot read .*model.safetensors")
    weights.rename(folder / "pytorch_model.bin")
    refused(r"pickled weights only \(pytorch_model.bin\)")
    (folder / "pytorch_model.bin").unlink()
    refused("holds no model.safetensors and no model.safetensors.index.json")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"model.norm.weight": "../elsewhere.safetensors"}}))
    refused("points outside its folder")
    index.write_text(json.dumps({"weight_map": {"model.norm.weight": "part.safetensors"}}))
    refused("cannot read .*part.safetensors")
    save_file({"another": torch.ones(1)}, folder / "part.safetensors")
    refused("says that model.norm.weight is in part.safetensors: it is not")
    index.write_text("[]")
    refused("holds no JSON object")
    (folder / "config.json").write_text("{")
    refused("cannot read .*config.json")


def test_nothing_is_overwritten_or_left_half_done(model, folder, tmp_path):
    with pytest.raises(InteropError, match="already holds something: choose another folder"):
        export_model(model, folder)
    with pytest.raises(RuntimeError), new_folder(tmp_path / "other"):
        raise RuntimeError("stopped")
    with pytest.raises(InteropError, match="No space left"), new_folder(tmp_path / "other"):
        raise OSError(28, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(
        st.tuples(
            st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64]),
            st.lists(st.integers(0, 4), max_size=3),
        ),
        max_size=5,
    )
)
def test_the_file_format_is_that_of_safetensors(data, tmp_path):
    tensors = {f"t{i}": torch.randn(shape).to(dtype) for i, (dtype, shape) in enumerate(data)}
    specs = {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    write_safetensors(tmp_path / "file", specs, tensors.__getitem__)
    read = load_file(tmp_path / "file")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_import_holds_one_tensor_at_a_time(model, folder, tmp_path, monkeypatch):
    """Whatever is read is dropped before the next tensor of ours is begun."""
    alive = []
    read = StoredWeights.read

    def watched(self, key):
        tensor = read(self, key)
        alive.append(torch.utils.weak.WeakTensorKeyDictionary({tensor: key}))
        return tensor

    monkeypatch.setattr(StoredWeights, "read", watched)
    at_once = []
    original = torch.empty
    monkeypatch.setattr(
        torch, "empty", lambda *a, **k: at_once.append(sum(map(len, alive))) or original(*a, **k)
    )
    import_folder(folder, tmp_path / "run")
    assert len(alive) == 3 + 2 * (2 + 4 + 1 + 3 * 8)
    assert max(at_once) <= 1


def test_their_auxiliary_loss_pulls_as_ours_does():
    """Equal layers: alpha times our sum over layers is their coefficient times their loss."""
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    from moe_lessons.routing import GATES
    from moe_lessons.training.objective import router_losses

    logits_TE = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    routing = GATES["topk_softmax"](logits_TE, 2)
    coefficient = to_mixtral(TINY, alpha=0.01)["router_aux_loss_coef"]
    ours = 0.01 * router_losses((routing, routing)).load_balancing
    other = coefficient * load_balancing_loss_func((logits_TE, logits_TE), 8, 2)
    assert ours.item() == pytest.approx(other.item(), rel=1e-5)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = export_model(build(), tmp_path_factory.mktemp("tokenizer") / "exported")
    return transformers.AutoTokenizer.from_pretrained(folder)


@settings(max_examples=100, deadline=None)
@given(text=st.text())
def test_the_tokenizer_is_the_bytes(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert ids == list(text.encode())
    assert tokenizer.decode(ids) == text


def test_the_tokenizer_is_what_its_library_writes(tokenizer):
    from tokenizers import Tokenizer

    written = tokenizer_file()
    again = json.loads(Tokenizer.from_str(json.dumps(written)).to_str())
    assert again == written
    assert tokenizer.model_max_length == 40
    assert len(tokenizer) == 256
    assert tokenizer.all_special_tokens == []
    assert tokenizer.decode(list(b"a . n't <s>")) == "a . n't <s>"


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_trained_run_there_and_back(call, tmp_path):
    assert call("train", "--preset", "smoke", "--steps", 10, "--out", "runs/mine").exit_code == 0
    exported = call("export", "runs/mine", "--to", "folder")
    assert exported.exit_code == 0, exported.output
    ours, state = load_model(tmp_path / "runs" / "mine")
    assert distance(ours, theirs(tmp_path / "folder"), ours.config) < 1e-5
    said = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert said["router_aux_loss_coef"] == pytest.approx(0.01 * 2 / 2)
    card = (tmp_path / "folder" / "README.md").read_text()
    log = [json.loads(line) for line in (tmp_path / "runs/mine/log.jsonl").read_text().splitlines()]
    bits = f"{log[-1]['validation_bits_per_byte']:.3f} after step 10"
    for fact in (bits, state["corpus_sha256"][:16], "language-reference", "1,280", "8 in each layer"):
        assert fact in card
    assert call("import", "folder", "--to", "runs/again").exit_code == 0
    writing = ["--tokens", 20, "--temperature", 0]
    one, two = (call("generate", "--checkpoint", f"runs/{name}", *writing) for name in ("mine", "again"))
    assert one.exit_code == two.exit_code == 0
    assert one.stdout == two.stdout
    export_checkpoint("runs/again", "once-more")
    assert (tmp_path / "once-more/model.safetensors").read_bytes() == (
        tmp_path / "folder/model.safetensors"
    ).read_bytes()
    assert "| imported from | folder |" in (tmp_path / "once-more" / "README.md").read_text()
    resumed = call("train", "--resume", "runs/again")
    assert resumed.exit_code == 2
    assert "weights imported from folder" in resumed.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["export", "--to", "folder"], "no checkpoint under runs"),
        (["export", "nowhere", "--to", "folder"], "nowhere does not exist"),
        (["export", "nowhere"], "Missing option '--to'"),
        (["import", "nowhere", "--to", "run"], "nowhere is not a folder: give one with"),
        (["import", ".", "--to", "run"], "cannot read config.json"),
    ],
)
def test_wrong_commands_are_one_line(call, arguments, part):
    result = call(*arguments)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert part in result.stderr


def test_a_model_of_other_tokens_does_not_pretend_to_write_bytes(call, tmp_path):
    config = dataclasses.replace(TINY, vocab_size=300)
    folder = export_model(build(config), tmp_path / "folder")
    assert not (folder / "tokenizer.json").exists()
    (folder / "tokenizer.json").write_text("{}")
    assert call("import", "folder", "--to", "run").exit_code == 0
    assert (tmp_path / "run" / "tokenizer.json").read_text() == "{}"
    assert "tokenizer.json cannot be read" in call("generate", "--checkpoint", "run").stderr
    (tmp_path / "run" / "tokenizer.json").rename(tmp_path / "kept")
    assert "vocab_size=300: run has no tokenizer.json" in call("generate", "--checkpoint", "run").stderr
    (tmp_path / "kept").rename(tmp_path / "run" / "tokenizer.json")
    assert call("export", "run", "--to", "again").exit_code == 0
    assert (tmp_path / "again" / "tokenizer.json").read_text() == "{}"
