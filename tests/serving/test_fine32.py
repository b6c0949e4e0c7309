"""The model that comes with the package: whole, as good as it says, and one that others' code runs."""

import hashlib
import math

import pytest
import torch

from moe_lessons.data import language_reference
from moe_lessons.interop.exporting import export_model
from moe_lessons.model import generate, parameter_counts
from moe_lessons.serving import Engine, held_out, load_fine32, routing_trace
from moe_lessons.serving.elsewhere import ELSEWHERE, how_to_serve
from moe_lessons.serving.fine32 import TEXT_BYTES, checked, facts, pack, unpack
from moe_lessons.training import evaluate

EXPERT = 3 * 128 * 64 * 4


@pytest.fixture(scope="module")
def model():
    return load_fine32()


def test_sizes(model):
    config = model.config
    assert (config.n_layers, config.d_model, config.n_experts, config.top_k) == (4, 128, 32, 4)
    assert parameter_counts(model) == (3_425_408, 672_896)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_each_caller_has_a_model_of_its_own(model):
    other = load_fine32()
    other.head.weight.data.zero_()
    assert model.head.weight.abs().max() > 0
    assert load_fine32().head.weight.abs().max() > 0


def test_held_out_text_is_not_in_the_training_part():
    texts = held_out()
    assert [len(text) for text in texts.values()] == [16_384] * 3
    english = bytes(texts["English"].tolist())
    assert english == language_reference()[TEXT_BYTES - 16_384 : TEXT_BYTES]


def test_as_good_as_it_says(model):
    """On another processor too: sums in another order move a bit per byte by far less than this."""
    stated = facts()["bits per byte by kind"]
    for kind, text in held_out().items():
        assert evaluate(model, text) == pytest.approx(stated["packed"][kind], abs=0.01)
        assert stated["packed"][kind] == pytest.approx(stated["trained"][kind], abs=0.002)
        assert stated["packed"][kind] < math.log2(256) / 2


def test_experts_are_in_use(model):
    """Traces are worth looking at only if routing is neither even by chance nor collapsed."""
    ids_LNK = routing_trace(model, held_out()["English"][:4096]).ids_LNK
    for ids_NK in ids_LNK:
        share_E = torch.bincount(ids_NK.flatten(), minlength=32).double() / ids_NK.numel()
        effective = torch.exp(-torch.xlogy(share_E, share_E).sum())
        assert 24 < effective < 31.9


def test_packing_again_gives_the_same_tensors(model):
    again = pack(model, held_out()["names"])
    restored = unpack(checked(again, hashlib.sha256(again).hexdigest()), model.config)
    for name, weight in model.state_dict().items():
        other = restored.state_dict()[name]
        assert (weight - other).abs().max() <= 0.002 * weight.abs().max(), name
        if ".experts." not in name:
            assert torch.equal(weight, other)


def test_it_is_small_enough_for_the_wheel():
    assert facts()["bytes"] <= 4_000_000
    assert facts()["about"]["script"] == "benchmarks/fine32.py"


def test_a_damaged_file_is_refused():
    with pytest.raises(ValueError, match="does not match its checksum: install moe-lessons again"):
        checked(b"something else", facts()["sha256"])


@pytest.mark.parametrize("slots", [1, 5])
@pytest.mark.parametrize("experts", [None, 32, 64])
def test_the_engine_writes_what_plain_generation_writes(model, slots, experts):
    prompts = [text[start : start + 20] for text in held_out().values() for start in (0, 3000)]
    engine = Engine(model, slots, limit_bytes=experts and experts * EXPERT)
    for prompt in prompts:
        engine.submit(prompt, 16)
    for text, prompt in zip(engine.drain(), prompts, strict=True):
        assert torch.equal(text, generate(model, prompt, 16, temperature=0))


def test_what_export_writes_loads_in_transformers(model, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = export_model(model, tmp_path / "exported")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for prompt in ("The function returns", "latin small letter"):
        ids = tokenizer(prompt, return_tensors="pt")
        written = theirs.generate(**ids, max_new_tokens=30, do_sample=False)[0]
        ours = generate(model, torch.tensor(list(prompt.encode())), 30, temperature=0)
        assert written.tolist() == ours.tolist()
        assert tokenizer.decode(written) == bytes(ours.tolist()).decode()


def test_commands_name_the_folder_and_say_what_was_not_tried():
    shown = how_to_serve("my-model", context=128)
    assert "{" not in shown.replace('{"', "").replace("{{", "")
    for way in ELSEWHERE:
        assert f"# {way.name}: " in shown
        assert way.tried.startswith(("untested", "tried with"))
        assert any("{folder}" in command for command in way.commands)
