"""Three kinds of text that share no byte, a model kept on its way, bits that add up to the loss."""

import math

import pytest
import torch

from moe_lessons.inspect.learning import (
    BEFORE_THE_FIRST,
    SMALL,
    WINDOW,
    byte_bits,
    choices,
    three_kinds,
    train_and_keep,
)
from moe_lessons.training import evaluate, train

SHORT = SMALL.override(d_model=16, d_expert=8, n_heads=2, n_kv_heads=1, batch_size=2, steps=3)


@pytest.fixture(scope="module")
def probe():
    return three_kinds(2_000, 128)


def test_the_probe_is_what_follows_the_training_part(probe):
    whole = three_kinds(2_128, 64)
    for kind in range(3):
        own = whole.corpus.train_N[kind * 2_128 : (kind + 1) * 2_128]
        assert torch.equal(own[:2_000], probe.corpus.train_N[kind * 2_000 : (kind + 1) * 2_000])
        assert torch.equal(own[2_000:].long(), probe.windows_WL[2 * kind : 2 * kind + 2].flatten())


def test_labels_say_what_stands_where(probe):
    labels = {name: label.view(6, WINDOW) for name, label in probe.labels.items()}
    assert torch.equal(labels["byte"], probe.windows_WL)
    assert torch.equal(labels["previous byte"][:, 1:], probe.windows_WL[:, :-1])
    assert (labels["previous byte"][:, 0] == BEFORE_THE_FIRST).all()
    assert labels["domain"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert (labels["position"] == torch.arange(WINDOW)).all()


def test_kept_models_are_those_of_training(probe):
    kept = train_and_keep(SHORT, probe.corpus, (0, 2, 3))
    assert list(kept) == [0, 2, 3]
    trained = train(SHORT, corpus=probe.corpus).model
    for name, weight in trained.state_dict().items():
        assert torch.equal(kept[3].state_dict()[name], weight)
    assert not any(model.training for model in kept.values())
    fresh, later = kept[0].embedding.weight, kept[2].embedding.weight
    assert not torch.equal(fresh, later)
    assert not torch.equal(later, kept[3].embedding.weight)


def test_training_leaves_the_callers_random_numbers_alone(probe):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_and_keep(SHORT.override(steps=1), probe.corpus, ())
    assert torch.equal(torch.rand(3), expected)


def test_bits_are_those_of_the_loss(probe):
    (model,) = train_and_keep(SHORT, probe.corpus, (3,)).values()
    bits_WL = byte_bits(model, probe.windows_WL)
    nats = model(probe.windows_WL[:, :-1], probe.windows_WL[:, 1:]).loss
    assert bits_WL.mean().item() == pytest.approx(nats.item() / math.log(2), rel=1e-4)
    assert bits_WL.mean().item() == pytest.approx(evaluate(model, probe.corpus.validation_M), rel=0.05)


def test_choices_are_the_models_own(probe):
    (model,) = train_and_keep(SHORT.override(steps=1), probe.corpus, (0,)).values()
    for ids_TK, routing in zip(
        choices(model, probe.windows_WL), model(probe.windows_WL).routings, strict=True
    ):
        assert torch.equal(ids_TK, routing.topk_ids_TK)
        best_T = routing.logits_TE.argmax(dim=1)
        assert torch.equal(ids_TK[:, 0], best_T)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: three_kinds(probe_bytes=100), "probe_bytes is 100: give a multiple of 64"),
        (lambda: three_kinds(10**9), "train_bytes is 1000000000: give 1 to"),
        (lambda: train_and_keep(SHORT, three_kinds().corpus, (9,)), r"steps are \[9\]: keep those from 0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
