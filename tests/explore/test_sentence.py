import hashlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from importlib import resources
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.config import ModelConfig
from moe_lessons.course import store
from moe_lessons.data import load_corpus
from moe_lessons.data.byte_level import tokenizer_file
from moe_lessons.data.byte_pairs import BytePairTokenizer, serialised
from moe_lessons.data.corpora import SHA256
from moe_lessons.exercises import registry
from moe_lessons.explore import Sentence
from moe_lessons.explore.base import Text
from moe_lessons.explore.sentence import reader
from moe_lessons.explore.sentence.diagram import layer_diagram
from moe_lessons.explore.sentence.explorable import EXPERTS, LAYERS
from moe_lessons.explore.sentence.reader import choose, read, read_safetensors, small
from moe_lessons.explore.sentence.state import SHOWN, Params, simulate, together
from moe_lessons.explore.sentence.view import draw, layers, question, title
from moe_lessons.explore.sentence.words import Pairs
from moe_lessons.model import MoETransformer, parameter_counts
from moe_lessons.training.objective import evaluate

HARD = [
    "",
    "   ",
    "🦒🎉",
    "a" * 10_000,
    "שלום עולם",
    "\u202eabc\u202c",
    "\ud800 lone",
    "<b>&\"'",
    "a\nb\tc",
    "²½ no!",
]
sentences = st.one_of(st.text(max_size=60), st.sampled_from([*HARD, Params().sentence]))
every = st.builds(
    Params,
    sentence=sentences,
    layer=st.integers(0, LAYERS - 1),
    k=st.integers(1, EXPERTS),
    token=st.integers(0, SHOWN - 1),
)


@pytest.fixture(scope="module")
def twin():
    """The package's own model with the stored weights."""
    model = MoETransformer(ModelConfig(**small().sizes)).eval()
    weights = {name: torch.from_numpy(numbers) for name, numbers in small().weights.items()}
    model.load_state_dict(weights | {"head.weight": weights["embedding.weight"]})
    return model


@pytest.fixture(scope="module")
def tokenizer():
    facts = json.loads(resources.files(reader.__package__).joinpath(reader.FACTS).read_text(encoding="utf-8"))
    return BytePairTokenizer(tokenizer_file([tuple(merge.split(" ")) for merge in facts["merges"]]))


# The model.


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
def test_numpy_computes_what_the_package_s_model_computes(twin, tokens, layer):
    moe, hidden_TD, output = by_torch(twin, tokens, layer)
    logits_TE, outputs_TED = read(tuple(tokens), layer)
    np.testing.assert_allclose(logits_TE, output.routing.logits_TE, atol=1e-4)
    ids_TK, weights_TK = choose(logits_TE, 2)
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
    changed = replace(small(), weights=small().weights | {part: small().weights[part] * np.float32(1.1)})
    monkeypatch.setattr(reader, "small", lambda: changed)
    logits_TE = read.__wrapped__(tokens, 2).logits_TE
    _, _, output = by_torch(twin, tokens, 2)
    assert np.abs(logits_TE - output.routing.logits_TE.numpy()).max() > 1e-2


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
        np.testing.assert_array_equal(numbers, theirs[name].astype(np.float32))
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


# What it says.


@settings(deadline=None)
@given(every)
def test_any_text_is_read_and_adds_up(params):
    state = simulate(params)
    T = len(state.tokens)
    assert min(SHOWN, state.n_tokens) == T
    assert state.load_E.sum() == T * params.k
    if not T:
        assert not " ".join(params.sentence.split())
        return
    np.testing.assert_allclose(state.probs_TE.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(state.topk_weights_TK.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(state.weighted_KD.sum(axis=0), state.output_D, atol=1e-5)
    # The weights are the framed shares, rescaled.
    framed_TK = np.take_along_axis(state.probs_TE, state.topk_ids_TK, axis=1)
    np.testing.assert_allclose(
        framed_TK / framed_TK.sum(axis=1, keepdims=True), state.topk_weights_TK, atol=1e-5
    )
    assert framed_TK.min() >= np.partition(state.probs_TE, -params.k, axis=1)[:, -params.k].min() - 1e-6
    assert max(np.abs(state.weighted_KD).max(), np.abs(state.output_D).max()) <= state.full * (1 + 1e-6)


def test_k_changes_the_choice_and_never_the_scores():
    one, all_of_them = simulate(Params(k=1)), simulate(Params(k=EXPERTS))
    np.testing.assert_array_equal(one.probs_TE, all_of_them.probs_TE)
    assert one.full == all_of_them.full
    assert (one.topk_weights_TK == 1).all()
    assert (all_of_them.load_E == len(all_of_them.tokens)).all()


def test_a_later_token_changes_nothing_before_it():
    short, longer = (
        simulate(Params("The function returns", layer=2)),
        simulate(Params("The function returns a", layer=2)),
    )
    np.testing.assert_allclose(short.probs_TE, longer.probs_TE[:3], atol=1e-5)


def pair(words, layer):
    state = simulate(Params(layer=layer))
    first, second = (state.tokens.index(word) for word in words)
    return together(state, first, second)


OPTIONS = (("function", "value"), ("The", "the"), ("a", "and"))


def test_the_prediction_holds_on_the_page_and_on_every_machine():
    asked = Sentence.questions[0]
    assert [f"‘{a}’ and ‘{b}’" for a, b in OPTIONS] == list(asked.options)
    shared = [len(pair(words, 2)) for words in OPTIONS]
    assert [i for i, n in enumerate(shared) if n == 2] == [asked.truth]
    assert shared == [2, 1, 0]
    assert pair(OPTIONS[0], 0) == ()
    # Rounding differs between machines: the choice must not hang on it.
    logits_TE = read(small().pairs.encode(Params().sentence)[:SHOWN], 2).logits_TE
    ordered_TE = np.sort(logits_TE, axis=1)[:, ::-1]
    assert (ordered_TE[:, 1] - ordered_TE[:, 2]).min() > 1e-3


def test_the_lesson_asks_the_same():
    asked, prediction = Sentence.questions[0], registry.prediction("00.shared")
    assert prediction.truth == asked.truth
    plain = [option.replace("‘", "`").replace("’", "`") for option in asked.options]
    assert plain == list(prediction.options)


# The picture.


def parsed(markup):
    return ET.fromstring(markup)


SIZE = parsed(draw(simulate(Params()))).attrib


@settings(deadline=None)
@given(every)
def test_every_text_gives_a_picture_of_one_size(params):
    root = parsed(draw(simulate(params)))
    # A frame that changes its height would move the controls under the pointer.
    assert (root.get("width"), root.get("height")) == (SIZE["width"], SIZE["height"])
    assert float(SIZE["width"]) <= 720
    assert params.layer == simulate(params).params.layer


def test_the_same_state_gives_the_same_bytes():
    read.cache_clear()
    first = draw(simulate(Params()))
    read.cache_clear()
    assert draw(simulate(Params())) == first


@settings(deadline=None)
@given(every)
def test_captions_and_titles_keep_to_their_lines(params):
    state = simulate(params)
    assert len(title(state)) <= 80
    assert len(question(state)) <= 106


def heights(markup, fill):
    groups = [g for g in parsed(markup).iter() if g.tag.endswith("}g") and g.get("fill") == fill]
    return [[float(r.get("height")) for r in g if r.tag.endswith("}rect")] for g in groups]


def test_a_larger_number_never_has_a_shorter_bar_whatever_token_and_layer_s_k():
    """Sums of all tokens of a sentence stand on one scale while K stays."""
    seen = []
    for token in range(13):
        state = simulate(Params(token=token))
        (bars,) = heights(draw(state), "#1a1a1a")
        seen += zip(np.abs(state.output_D).tolist(), bars, strict=True)
    seen.sort()
    assert all(low[1] <= high[1] + 0.1 for low, high in pairwise(seen))
    assert max(seen)[1] > 3 * np.median([bar for _, bar in seen])


def texts(markup):
    return [e.text for e in parsed(markup).iter() if e.tag.endswith("}text")]


def test_the_frame_can_be_read_without_colour():
    shown = texts(draw(simulate(Params(token=1))))
    assert {str(e) for e in range(EXPERTS)} <= set(shown)
    assert any(word.endswith("what expert 6 says") for word in shown)
    shapes = {e.tag for e in parsed(draw(simulate(Params()))).iter()}
    assert any(tag.endswith("}polygon") for tag in shapes)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (Params(""), "What would you like"),
        (Params(k=EXPERTS), "four times the work"),
        (Params("🦒"), "is a byte of a sign"),
        (Params(k=1), "weight 1"),
        (Params("Giraffes"), "comes in pieces"),
        (Params(), "Which two words share an expert?"),
    ],
)
def test_the_caption_follows_the_state(params, words):
    assert words in question(simulate(params))


def test_what_is_left_out_is_said():
    assert "Shown: the first 16 of 34 tokens." in texts(draw(simulate(Params("the name " * 17))))
    long = texts(draw(simulate(Params("name " * 2000))))
    assert "Shown: the first 16 tokens; 9,600 characters were not read at all." in long
    assert not [word for word in texts(draw(simulate(Params()))) if word.startswith("Shown")]


def test_a_click_on_a_row_names_its_token():
    picks = [e.get("data-pick") for e in parsed(draw(simulate(Params()))).iter() if e.get("data-pick")]
    assert [json.loads(pick) for pick in picks] == [{"Token": t} for t in range(13)]


def test_a_long_word_is_cut():
    longest = Pairs(tuple((left, "a") for left in ["a" * n for n in range(1, 40)]))
    assert longest.labels(longest.encode("a" * 40)) == ("a" * 40,)
    assert max(len(word) for word in texts(draw(simulate(Params("implementation compatibility"))))[3:19]) < 60


def test_static_strip_reveal_and_drawing_say_what_they_show():
    hero = Sentence()
    assert "Load of experts 0 to 7" in hero.static().alt
    assert hero.reveal(0).svg == layers().svg
    ids = simulate(Params()).topk_ids_TK[Params().token].tolist()
    drawn = layer_diagram()
    for name in ("hidden_TD[t]", "ids_TK[t]", "weights_TK[t]", "output_TD[t]"):
        assert name in texts(drawn.svg)
    assert ", ".join(map(str, ids)) in texts(drawn.svg)
    with pytest.raises(ValueError, match="no token"):
        layer_diagram(Params(" "))


@settings(deadline=None, max_examples=30)
@given(every)
def test_any_token_s_way_can_be_drawn(params):
    state = simulate(params)
    if state.tokens:
        parsed(layer_diagram(params).svg)


# The controls.


def test_controls_lead_where_they_say_and_text_can_be_typed():
    hero, start = Sentence(), Params()
    assert [control.label for control in hero.controls()] == ["Sentence", "Layer", "K", "Token"]
    values = ("two words", 2, 8, 0)
    for control, value in zip(hero.controls(), values, strict=True):
        assert control.read(control.write(start, value)) == value
    assert isinstance(hero.controls()[0], Text)
    for mark in hero.landmarks():
        draw(simulate(mark.go(start)))
    assert (small().n_layers, small().n_experts) == (LAYERS, EXPERTS)


def test_typing_redraws_once_the_prediction_is_committed():
    import ipywidgets as widgets

    hero = Sentence()
    hero._repr_mimebundle_()
    try:
        if hero._view is None or not hasattr(hero._view, "_controls"):
            pytest.skip("another front end has its own tests")
        box = next(w for spec, w in hero._view._controls if isinstance(spec, Text))
        assert isinstance(box, widgets.Text)
        box.value = "too early"
        assert hero.params == Params()
        hero.commit(0)
        box.value = "two words"
        assert hero.params.sentence == "two words"
        assert "‘words’" in hero.frame() or "two" in hero.frame()
    finally:
        hero.close()


def test_an_open_prediction_is_not_answered_by_its_picture(monkeypatch):
    monkeypatch.setattr(store, "is_apart", lambda: False)
    hero = Sentence()
    for shown in (repr(hero), hero._repr_mimebundle_()["image/svg+xml"]):
        assert "layer 2" not in shown.lower()
    hero.close()
    hero.unlock()
    assert "layer 2" in repr(hero).lower()


def test_state_and_drawing_need_neither_torch_nor_widgets():
    """A web page runs them where neither is installed."""
    code = (
        "import sys; from moe_lessons.explore.sentence.state import Params, simulate; "
        "from moe_lessons.explore.sentence.view import draw; draw(simulate(Params())); "
        "print({'torch', 'safetensors', 'tokenizers', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
