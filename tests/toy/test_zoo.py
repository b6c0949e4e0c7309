"""The zoo as rules of the toy: what the registry of routers promises is what the toy does."""

import math

import pytest
import torch
from scipy import stats

from moe_lessons.metrics import max_violation
from moe_lessons.routing import ROUTERS
from moe_lessons.toy import TopK, Toy, ToyRun
from moe_lessons.toy.race import ALPHAS, RATES, race
from moe_lessons.toy.zoo import ExpertChoice, Groups, Noisy, SelectionBias, Soft, SoftRun, fresh_error
from moe_lessons.toy.zoo_table import METHODS, compare, interval, measure

SMALL = Toy(n_seeds=2, mu=2.0, even_start=True, n_tokens=64)


@pytest.fixture(scope="module")
def trained():
    return {name: make(SMALL).advance(5) for name, (make, _) in METHODS.items()}


@pytest.mark.parametrize("name", METHODS)
def test_only_what_is_not_causal_changes_when_tokens_are_alone(trained, name):
    together, alone = (fresh_error(trained[name], alone=flag) for flag in (False, True))
    noisy = name == "noisy top-k"  # causal, and silent when it is not training
    assert together.equal(alone) == (ROUTERS[METHODS[name][1]].causal and not noisy)


@pytest.mark.parametrize("name", METHODS)
def test_balanced_by_construction_means_exactly_even(trained, name):
    even = bool((max_violation(trained[name].shares_NSE) < 1e-6).all())
    assert even == ROUTERS[METHODS[name][1]].balanced


def test_measuring_changes_nothing(trained):
    for run in trained.values():
        fresh_error(run, alone=True)
    again = METHODS["noisy top-k"][0](SMALL).advance(5)
    assert again.error_NS.equal(trained["noisy top-k"].error_NS)
    assert trained["expert choice"].rule.training


def test_all_methods_see_the_same_tokens_and_start_from_the_same_model():
    fresh = [make(SMALL) for make, _ in METHODS.values()]
    for run in fresh[1:]:
        assert run.router_SDE.equal(fresh[0].router_SDE)
        assert run.up_SDEF.equal(fresh[0].up_SDEF)
        assert run.generator.get_state().equal(fresh[0].generator.get_state())


def test_the_bias_follows_the_loads_step_by_step_and_stays_out_of_the_weights():
    rule = SelectionBias(2, rate=0.01)
    run = ToyRun(SMALL, rule).advance(12)
    n_rows = SMALL.n_tokens * 2
    by_hand_SE = torch.zeros(2, 8)
    for shares_SE in run.shares_NSE:
        by_hand_SE += 0.01 * torch.sign(n_rows / 8 - (shares_SE * n_rows).round())
    torch.testing.assert_close(rule.bias_SE, by_hand_SE)

    rule.bias_SE = torch.zeros(2, 8)
    rule.bias_SE[:, 3] = 10.0
    logits_STE = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    decision = rule(logits_STE, None)
    assert decision.chosen_STE[..., 3].all()
    kept_STE = logits_STE.sigmoid() * decision.chosen_STE
    torch.testing.assert_close(decision.weights_STE, kept_STE / kept_STE.sum(-1, keepdim=True))


def test_groups_keep_to_two_groups_and_learn_their_bias():
    for rate, moved in ((0.0, False), (0.01, True)):
        run = ToyRun(SMALL, Groups(2, rate=rate)).advance(3)
        assert (run.rule.bias_SE is not None) == moved
        decision = run.rule(torch.randn(2, 50, 8), None)
        assert (decision.chosen_STE.unflatten(-1, (4, 2)).any(-1).sum(-1) <= 2).all()


def test_noise_is_learned():
    run = ToyRun(SMALL, Noisy(2, SMALL)).advance(3)
    assert run.rule.noise_SDE.abs().max() > 0


def test_soft_experts_are_those_of_a_loop():
    run = SoftRun(SMALL, Soft(2, SMALL))
    batch = run.world.batch(SMALL.n_tokens, torch.Generator().manual_seed(1))
    x_TD, phi_DEP = batch.inputs_STD[1].double(), run.rule.slots_SDEP[1].detach().double()
    logits = torch.einsum("td,dep->tep", x_TD, phi_DEP)
    expected = torch.zeros_like(x_TD)
    total_T = logits.flatten(1).exp().sum(1)
    for e in range(8):
        for p in range(phi_DEP.shape[2]):
            share_T = logits[:, e, p].exp()
            slot_D = (share_T / share_T.sum()) @ x_TD
            made_D = (slot_D @ run.up_SDEF[1, :, e].double()).relu() @ run.down_SEFD[1, e].double()
            expected += (share_T / total_T).unsqueeze(1) * made_D
    with torch.no_grad():
        got = run.experts(batch.inputs_STD, torch.zeros(2, SMALL.n_tokens, 8))[1]
    torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=1e-4)


def test_alone_a_token_is_all_that_its_slots_hold():
    run = SoftRun(SMALL, Soft(2, SMALL))
    batch = run.world.batch(3, torch.Generator().manual_seed(1))
    run.rule.training = False
    together = run.experts(batch.inputs_STD, run.rule(batch.inputs_STD @ run.router_SDE, batch).weights_STE)
    run.rule.training = True
    for t in range(3):
        one = run.experts(batch.inputs_STD[:, t : t + 1], torch.zeros(2, 1, 8))
        torch.testing.assert_close(one[:, 0], together[:, t], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("n", [2, 5, 6, 8, 16])
def test_interval_covers_what_scipy_says(n):
    values = torch.randn(n, generator=torch.Generator().manual_seed(n))
    mean, half = interval(values)
    exact = stats.t.ppf(0.975, n - 1) * values.std().item() / math.sqrt(n)
    assert mean == pytest.approx(values.mean().item(), abs=1e-4)
    assert exact - 0.005 * exact - 1e-4 <= half <= 1.1 * exact + 1e-4


def test_bad_arguments():
    with pytest.raises(ValueError, match="needs at least 2 seeds"):
        interval(torch.ones(1))
    with pytest.raises(ValueError, match="choose one of none"):
        measure("nothing", SMALL, 1)


def test_the_table_compares_seed_by_seed():
    table = compare(n_seeds=2, steps=5, names=("none", "expert choice", "hash"))
    none, choice, hashed = table["rows"]
    assert none["against_none"] == (0.0, 0.0)
    assert choice["max_violation"][0] == 0
    assert choice["lost_alone"][0] == pytest.approx(
        choice["alone_against_none"][0] - choice["against_none"][0], abs=2e-4
    )
    assert hashed["lost_alone"] == (0.0, 0.0)
    assert hashed["against_none"][0] == pytest.approx(hashed["error"][0] - none["error"][0], abs=2e-4)


def test_a_race_has_every_lane_and_even_loads_where_experts_choose():
    found = race(n_seeds=3, steps=40)
    assert len(found["lanes"]) == 2 + len(ALPHAS) + len(RATES)
    for lane in found["lanes"].values():
        assert len(lane["load"]) == len(lane["mean_error"]) == 2
        assert all(abs(sum(loads) - 1000) <= 4 for frame in lane["load"] for loads in frame)
    assert found["lanes"]["choice"]["mean_vio"] == [0, 0]


def test_rules_agree_where_they_are_the_same_rule():
    plain = ToyRun(SMALL, TopK(2, score="sigmoid", renormalize=True)).advance(4)
    still = ToyRun(SMALL, SelectionBias(2, rate=0.0)).advance(4)
    assert plain.error_NS.equal(still.error_NS)


def test_expert_choice_alone_takes_the_tokens_own_best():
    rule = ExpertChoice(2)
    rule.training = False
    logits_STE = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    chosen = rule(logits_STE, None).chosen_STE
    assert chosen.equal(TopK(2)(logits_STE, None).chosen_STE)
