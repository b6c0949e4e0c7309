import pytest
import torch

from moe_lessons.balancing import load_balancing_loss
from moe_lessons.routing import softmax_topk
from moe_lessons.toy import Decision, EachSeed, Rule, TopK, Toy, ToyRun, World, load_balancing

SMALL = Toy(n_seeds=3, n_experts=5, n_tokens=12, n_clusters=4, width=6, d_expert=7, seed=1)


def test_a_target_is_its_clusters_map_of_the_unshifted_token():
    world = World.draw(2, torch.Generator().manual_seed(0), n_clusters=3, width=4, mu=5.0)
    batch = world.batch(20, torch.Generator().manual_seed(1))
    for s in range(2):
        for t in range(20):
            token_D = batch.inputs_STD[s, t] - world.shared_SD[s]
            expected_D = token_D @ world.maps_SCDD[s, batch.clusters_ST[s, t]]
            torch.testing.assert_close(batch.targets_STD[s, t], expected_D, atol=1e-4, rtol=1e-4)
            centre_D = world.centres_SCD[s, batch.clusters_ST[s, t]]
            assert (token_D - centre_D).norm() < 3  # 0.5 noise in 4 dimensions


def test_mu_moves_the_inputs_and_nothing_else():
    near, far = (
        World.draw(2, torch.Generator().manual_seed(0), width=4, mu=mu).batch(
            9, torch.Generator().manual_seed(1)
        )
        for mu in (0.0, 3.0)
    )
    assert torch.equal(near.targets_STD, far.targets_STD)
    shift_STD = far.inputs_STD - near.inputs_STD
    torch.testing.assert_close(shift_STD.norm(dim=-1), torch.full((2, 9), 6.0))


def test_the_experts_agree_with_a_loop_over_tokens_and_experts():
    run = ToyRun(SMALL, TopK(2))
    batch = run.world.batch(12, run.generator)
    decision = run.rule(batch.inputs_STD @ run.router_SDE, batch)
    output_STD = run.experts(batch.inputs_STD, decision.weights_STE)
    for s in range(3):
        for t in range(12):
            expected_D = torch.zeros(6)
            for e in decision.logits_STE[s, t].topk(2).indices.tolist():
                hidden_F = (batch.inputs_STD[s, t] @ run.up_SDEF[s, :, e]).relu()
                weight = decision.logits_STE[s, t].softmax(-1)[e]
                expected_D = expected_D + weight * (hidden_F @ run.down_SEFD[s, e])
            torch.testing.assert_close(output_STD[s, t], expected_D, atol=1e-5, rtol=1e-4)


def test_an_expert_that_nobody_chose_gets_a_gradient_of_exactly_zero():
    run = ToyRun(SMALL, TopK(1))
    with torch.no_grad():
        run.router_SDE[:, :, 2] = 0
        run.router_SDE[0, :, 2] = -100 * run.world.centres_SCD[0].mean(0)
    run.advance(1)
    starved_SE = run.shares_NSE[-1] == 0
    assert starved_SE.any()
    assert not starved_SE.all()
    up_grad_SE = run.up_SDEF.grad.abs().amax(dim=(1, 3))
    down_grad_SE = run.down_SEFD.grad.abs().amax(dim=(2, 3))
    assert torch.equal(up_grad_SE == 0, starved_SE)
    assert torch.equal(down_grad_SE == 0, starved_SE)


def test_seeds_do_not_touch_each_other():
    plain, changed = ToyRun(SMALL, TopK(2)), ToyRun(SMALL, TopK(2))
    with torch.no_grad():
        changed.router_SDE[0] *= -1
    plain.advance(5)
    changed.advance(5)
    assert not torch.allclose(plain.error_NS[:, 0], changed.error_NS[:, 0])
    torch.testing.assert_close(plain.error_NS[:, 1:], changed.error_NS[:, 1:])


def test_rules_meet_the_same_world_the_same_weights_and_the_same_tokens():
    seen = []

    class Watching(TopK):
        def __call__(self, logits_STE, batch):
            seen.append(batch.inputs_STD)
            return super().__call__(logits_STE, batch)

    one = ToyRun(SMALL, Watching(1)).advance(2)
    two = ToyRun(SMALL, Watching(3, score="sigmoid", renormalize=True)).advance(2)
    assert torch.equal(seen[1], seen[3])
    fresh = [ToyRun(SMALL, TopK(k)) for k in (1, 3)]
    assert torch.equal(fresh[0].up_SDEF, fresh[1].up_SDEF)
    assert not torch.equal(one.error_NS, two.error_NS)


def test_an_even_start_is_blind_to_what_all_tokens_share():
    loads, routers = [], []
    for mu in (0.0, 4.0):
        run = ToyRun(Toy(mu=mu, even_start=True), TopK(1))
        routers.append(run.router_SDE.detach().clone())
        loads.append(run.advance(1).shares_NSE[0])
        seen_SE = torch.einsum("sd,sde->se", run.world.direction_SD, routers[-1])
        assert seen_SE.abs().max() < 1e-5
    assert torch.equal(*routers)
    torch.testing.assert_close(*loads, atol=0.01, rtol=0)  # rounding may move a token at a border
    uneven = ToyRun(Toy(mu=4.0), TopK(1)).advance(1).shares_NSE[0]
    assert uneven.amax(-1).mean() > 0.5 > loads[1].amax(-1).mean()


def test_the_same_run_twice_and_in_two_parts():
    whole, parts = ToyRun(SMALL, TopK(1)).advance(6), ToyRun(SMALL, TopK(1)).advance(2).advance(4)
    assert torch.equal(whole.shares_NSE, parts.shares_NSE)
    assert torch.equal(whole.error_NS, parts.error_NS)
    torch.testing.assert_close(whole.shares_NSE.sum(-1), torch.ones(6, 3))


def test_a_fork_goes_on_alike_and_apart():
    class Learning(TopK):
        def __init__(self):
            super().__init__(1)
            self.scale = torch.ones(1, requires_grad=True)

        def __call__(self, logits_STE, batch):
            return super().__call__(logits_STE * self.scale, batch)

        def parameters(self):
            return [self.scale]

    run = ToyRun(SMALL, Learning(), loss=load_balancing, alpha=0.1).advance(3)
    twin = run.fork()
    with torch.no_grad():
        changed = run.fork()
        changed.up_SDEF[0] += 1.0
    changed.advance(2)
    run.advance(2)
    twin.advance(2)
    assert torch.equal(run.error_NS, twin.error_NS)
    assert torch.equal(run.rule.scale, twin.rule.scale)
    assert torch.equal(run.error_NS[:3], changed.error_NS[:3])
    assert not torch.equal(run.error_NS[3:, 0], changed.error_NS[3:, 0])


def test_it_learns():
    run = ToyRun(Toy(n_seeds=4), TopK(2, renormalize=True)).advance(200)
    assert (run.error_NS[-10:].mean(0) < 0.5 * run.error_NS[0]).all()


@pytest.mark.parametrize("top_k", [1, 2, 5])
@pytest.mark.parametrize("renormalize", [False, True])
def test_topk_agrees_with_the_package_seed_by_seed(top_k, renormalize):
    logits_STE = torch.randn(3, 11, 5, generator=torch.Generator().manual_seed(0))
    ours = TopK(top_k, renormalize=renormalize)(logits_STE, None)
    theirs = EachSeed(lambda logits_TE: softmax_topk(logits_TE, top_k, renormalize=renormalize))(
        logits_STE, None
    )
    assert torch.equal(ours.chosen_STE, theirs.chosen_STE)
    torch.testing.assert_close(ours.weights_STE, theirs.weights_STE)
    expected = [
        load_balancing_loss(logits_TE, logits_TE.topk(top_k).indices, normalization="switch")
        for logits_TE in logits_STE
    ]
    torch.testing.assert_close(load_balancing(ours), torch.stack(expected))


def test_a_bias_steers_the_choice_and_not_the_weight():
    logits_STE = torch.tensor([[[2.0, 1.0, 0.0]]])
    rule = TopK(1, score="sigmoid")
    rule.bias_SE = torch.tensor([[0.0, 0.0, 1.0]])
    decision = rule(logits_STE, None)
    assert decision.chosen_STE.tolist() == [[[False, False, True]]]
    torch.testing.assert_close(decision.weights_STE[0, 0, 2], torch.tensor(0.5))


def test_the_loss_counts_and_a_rule_may_learn_and_keep_things():
    class Counting(TopK):
        def __init__(self):
            super().__init__(1)
            self.temperature = torch.ones(1, requires_grad=True)
            self.loads = []

        def __call__(self, logits_STE, batch):
            return super().__call__(logits_STE * self.temperature, batch)

        def parameters(self):
            return [self.temperature]

        def after_step(self, decision: Decision):
            self.loads.append(decision.load_SE)

    rule = Counting()
    ToyRun(SMALL, rule).advance(3)
    assert len(rule.loads) == 3
    assert rule.temperature.item() != 1.0
    free = ToyRun(Toy(mu=2.0), TopK(1)).advance(150)
    held = ToyRun(Toy(mu=2.0), TopK(1), loss=load_balancing, alpha=1.0).advance(150)
    assert held.shares_NSE[-1].amax(-1).mean() < 0.2 < free.shares_NSE[-1].amax(-1).mean()


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="n_tokens is 0"):
        Toy(n_tokens=0)
    with pytest.raises(ValueError, match="score is 'tanh'"):
        TopK(1, score="tanh")
    with pytest.raises(ValueError, match="top_k is 6 with 5 experts"):
        ToyRun(SMALL, TopK(6)).advance(1)
    with pytest.raises(NotImplementedError):
        Rule()(torch.zeros(1, 1, 1), None)
