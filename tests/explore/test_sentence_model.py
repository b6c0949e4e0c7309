import hashlib
import json
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.config import ModelConfig
from moe_lessons.data import load_corpus
from moe_lessons.data.byte_level import byte_alphabet, tokenizer_file
from moe_lessons.data.byte_pairs import BytePairTokenizer, serialised
from moe_lessons.data.corpora import SHA256
from moe_lessons.explore.sentence import reader
from moe_lessons.explore.sentence.explorable import EXPERTS, LAYERS
from moe_lessons.explore.sentence.reader import choose, read, read_safetensors, small, step
from moe_lessons.explore.sentence.state import SHOWN, Params
from moe_lessons.model import MoETransformer, parameter_counts
from moe_lessons.training.objective import evaluate


@pytest.fixture(scope="module")
def twin():
    """The package's own model with the stored weights."""
    model = MoETransformer(ModelConfig(**small().sizes)).eval()
    weights = {name: torch.tensor(numbers) for name, numbers in small().weights.items()}
    model.load_state_dict(weights | {"head.weight": weights["embedding.weight"]})
    return model


@pytest.fixture(scope="module")
def tokenizer():
    facts = json.loads(resources.files(reader.__package__).joinpath(reader.FACTS).read_text(encoding="utf-8"))
    spelled, merges = byte_alphabet(), []
    for left, right in (merge.split() for merge in facts["merges"]):
        merges.append((spelled[int(left)], spelled[int(right)]))
        if "".join(merges[-1]) not in spelled:
            spelled.append("".join(merges[-1]))
    return BytePairTokenizer(tokenizer_file(merges))


def by_torch(model, tokens, layer):
    """What the torch model's layer gets, and what it makes of it."""
    kept = {}
    moe = model.blocks[layer].moe
    hook = moe.register_forward_hook(lambda _, args, output: kept.update(into=args[0], out=output))
    with torch.no_grad():
        model(torch.tensor([tokens]))
    hook.remove()
    return moe, kept["into"][0], kept["out"]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 1535), min_size=1, max_size=SHOWN), st.integers(0, LAYERS - 1))
def test_plain_python_computes_what_the_package_s_model_computes(twin, tokens, layer):
    moe, hidden_TD, output = by_torch(twin, tokens, layer)
    logits_TE, outputs_TED = read(tuple(tokens), layer)
    np.testing.assert_allclose(logits_TE, output.routing.logits_TE, atol=1e-4)
    outputs_TED = np.array(outputs_TED)
    ids_TK, weights_TK = map(np.array, zip(*(choose(row, 2) for row in logits_TE), strict=True))
    np.testing.assert_allclose(weights_TK, output.routing.topk_weights_TK, atol=1e-4)
    summed_TD = (weights_TK[:, :, None] * np.take_along_axis(outputs_TED, ids_TK[:, :, None], axis=1)).sum(
        axis=1
    )
    np.testing.assert_allclose(summed_TD, output.hidden[0], atol=1e-4)
    with torch.no_grad():
        answers_ETD = (
            torch.stack(moe.experts.run([hidden_TD] * EXPERTS)) if hasattr(moe.experts, "run") else None
        )
    if answers_ETD is not None:
        np.testing.assert_allclose(outputs_TED.transpose(1, 0, 2), answers_ETD, atol=1e-4)


@pytest.mark.parametrize("part", ["blocks.0.attention.o_proj.weight", "blocks.1.moe.experts.down_proj"])
def test_another_weight_would_be_noticed(twin, part, monkeypatch):
    """The agreement above is no accident: a tenth off in one matrix and the last layer differs."""
    tokens = small().pairs.encode(Params().sentence)[:SHOWN]
    larger = (1.1 * np.array(small().weights[part])).tolist()
    changed = replace(small(), weights=small().weights | {part: larger})
    step.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(reader, "small", lambda: changed)
        logits_TE = read.__wrapped__(tokens, 2).logits_TE
    step.cache_clear()
    _, _, output = by_torch(twin, tokens, 2)
    assert np.abs(np.array(logits_TE) - output.routing.logits_TE.numpy()).max() > 1e-2


@settings(deadline=None)
@given(st.text(max_size=80))
def test_words_are_cut_as_the_training_text_was(tokenizer, text):
    assert small().pairs.encode(text) == tuple(tokenizer.encode(text.encode(errors="replace")).tolist())


@pytest.mark.parametrize(
    "text", ["It isn't 42!", "__init__ 'sss", "  two\n\n\tspaces ", "naïve x²½", "a'S b's"]
)
def test_words_are_cut_as_the_training_text_was_in_hard_places(tokenizer, text):
    assert small().pairs.encode(text) == tuple(tokenizer.encode(text.encode()).tolist())


def test_the_stored_file_is_what_safetensors_reads():
    from safetensors.numpy import load

    raw = resources.files(reader.__package__).joinpath(reader.WEIGHTS).read_bytes()
    theirs = load(raw)
    assert set(theirs) == set(read_safetensors(raw))
    for name, numbers in read_safetensors(raw).items():
        assert theirs[name].dtype == np.float16
        np.testing.assert_array_equal(np.array(numbers), theirs[name].astype(np.float64))
    assert len(raw) < 500_000


def test_its_record_is_true(twin, tokenizer):
    made = small().made
    assert made["corpus_sha256"] == SHA256[made["corpus"]]
    assert made["tokenizer_sha256"] == hashlib.sha256(serialised(tokenizer.contents)).hexdigest()
    assert made["parameters"] == parameter_counts(twin)[0]
    corpus = load_corpus(made["corpus"], context_length=64, tokenizer="bpe", vocab_size=len(small().pairs))
    assert corpus.tokenizer.sha256 == made["tokenizer_sha256"]
    bits = evaluate(twin, corpus.validation_M, byte_lengths_V=corpus.tokenizer.byte_lengths_V)
    assert bits == pytest.approx(made["held_out_bits_per_byte"], abs=0.002)
    assert bits < made["bigram_bits_per_byte"] < made["unigram_bits_per_byte"]


def test_its_experts_are_all_in_use():
    for shares_E in small().made["held_out_shares_LE"]:
        assert sum(shares_E) == pytest.approx(1, abs=0.001)
        assert min(shares_E) > 0.5 / EXPERTS
        assert max(shares_E) < 2 / EXPERTS
