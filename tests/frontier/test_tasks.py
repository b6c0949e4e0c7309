"""The tasks of lesson 16, and the small model's loop."""

import pytest
import torch

from moe_lessons.frontier import tasks, tiny


def test_coin_flips_are_fair_and_new_each_time():
    batch = tasks.coin_flips(0, n_sequences=4000, length=8)
    first, second = batch(0), batch(1)
    assert not torch.equal(first[0], second[0])
    assert first[0].double().mean() == pytest.approx(0.5, abs=0.01)
    both = torch.stack([first[0].flatten(), first[1].flatten()]).double()
    assert abs(torch.corrcoef(both)[0, 1]) < 0.02


def test_a_model_that_learned_nothing_has_one_bit():
    model = tasks.coin_model("running", seed=0)
    for parameter in model.head.parameters():
        parameter.data.zero_()
    assert tiny.bits(model, *tasks.coin_flips(0, n_sequences=8, length=8)(0)) == pytest.approx(1.0)


def test_pairs_can_be_answered_from_what_was_shown():
    inputs_BL, targets_BL = tasks.pairs_to_recall(0, n_pairs=4, n_keys=9, n_sequences=50)(0)
    assert inputs_BL.shape == targets_BL.shape == (50, 12)
    for row, wanted in zip(inputs_BL.tolist(), targets_BL.tolist(), strict=True):
        shown = dict(zip(row[:8:2], row[1:8:2], strict=True))
        assert len(shown) == 4
        assert [shown[key] for key in row[8:]] == wanted[8:]
        assert all(9 <= value < 18 for value in shown.values())


def test_facts_are_different_pairs_and_need_to_be_known():
    facts = tasks.Facts(300, seed=1)
    assert len(facts.pairs_N2.unique(dim=0)) == 300
    untrained = facts.recalled(lambda: tiny.mlp(32, 8), steps=1)
    assert untrained < 0.1


def test_a_state_forgets_what_a_cache_keeps():
    few, many = tasks.recall_untrained(4, 16), tasks.recall_untrained(64, 16)
    assert few.state > 0.95
    assert 0.3 < many.state < 0.7
    assert min(few.cache, many.cache) > 0.99


def test_training_and_held_out_text_are_apart():
    held_NL, _ = tasks.held_out_text(64)
    train_BL, _ = tasks.text_batches(0, n_sequences=64)(0)
    windows = {bytes(row) for row in held_NL.tolist()}
    assert not windows & {bytes(row) for row in train_BL.tolist()}


def test_the_rate_rises_and_falls_to_nothing():
    seen = []
    model = tiny.TinyModel(list, 4, 2, 3)
    batch = tasks.coin_flips(0, n_sequences=2, length=3)
    weights = [p.detach().clone() for p in model.parameters()]
    tiny.fit(model, batch, 8, lr=0.1, warmup=4, after=seen.append)
    assert seen == list(range(8))
    assert any(not torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))


def test_a_target_that_is_not_asked_does_not_count():
    model = tiny.TinyModel(list, 8, 4, 3)
    inputs = torch.zeros(5, 3, dtype=torch.int64)
    targets = torch.full((5, 3), tasks.ASKED_ELSEWHERE)
    targets[:, 2] = 1
    assert tiny.fit(model, lambda step: (inputs, targets), 40, lr=0.05)[-1] < 0.2
