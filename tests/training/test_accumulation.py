"""However a step is cut into micro-batches, it sees the same tokens and minimises the same thing."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from moe_lessons.balancing import load_balancing_loss
from moe_lessons.config import TrainConfig, preset
from moe_lessons.data import window_starts
from moe_lessons.model import ModelOutput, MoETransformer
from moe_lessons.routing import Routing
from moe_lessons.training import run as running
from moe_lessons.training import train
from moe_lessons.training.accumulation import accumulate_gradients
from moe_lessons.training.objective import count_rows, update_expert_bias
from moe_lessons.training.precision import LossScaler
from moe_lessons.training.run import Run

CPU = torch.device("cpu")
SMOKE = preset("smoke").override(batch_size=8)
CUTS = (1, 2, 4, 8)
V, E, K = 11, 5, 2


class Toy:
    """A router in float64 whose logits are looked up by token, and a text loss of their squares."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.table_VE = torch.randn(V, E, generator=generator, dtype=torch.float64, requires_grad=True)
        with torch.no_grad():
            self.table_VE[: V // 2, 0] += 2  # tokens of the first half lean on an expert of their own
        self.seen = []

    def __call__(self, inputs_BL, targets_BL):
        self.seen.append(inputs_BL)
        logits_TE = self.table_VE[inputs_BL.flatten()]
        top = logits_TE.topk(K)
        loss = (logits_TE - targets_BL.flatten().unsqueeze(1)).square().mean()
        return ModelOutput(logits_TE, loss, (Routing(logits_TE, top.indices, top.values),))


def batch(n_windows=8, length=6):
    generator = torch.Generator().manual_seed(1)
    inputs_BL = torch.randint(V, (n_windows, length), generator=generator).sort(0).values  # uneven windows
    return inputs_BL, inputs_BL.roll(1, dims=1)


def settings(cut, **changes):
    return SMOKE.override(**{"accumulation_steps": cut, "alpha": 1.0, "z_loss_weight": 0.1, **changes})


def gradients(cut, **changes):
    toy = Toy()
    inputs_BL, targets_BL = batch()
    config = settings(cut, **changes)
    losses = accumulate_gradients(toy, inputs_BL, targets_BL, config, LossScaler("fp32", CPU))
    assert torch.equal(torch.cat(toy.seen), inputs_BL)
    assert len(toy.seen) == cut
    return toy.table_VE.grad, losses


def by_hand(cut, scope):
    """The step's loss from its definition, in one graph: f over the tokens that the scope names."""
    toy = Toy()
    inputs_BL, targets_BL = batch()
    total, counts = 0.0, torch.zeros(E, dtype=torch.float64)
    n_tokens = 0
    for inputs, targets in zip(inputs_BL.chunk(cut), targets_BL.chunk(cut), strict=True):
        output = toy(inputs, targets)
        (routing,) = output.routings
        one_hot_TE = F.one_hot(routing.topk_ids_TK, E).sum(1).double()
        probs_TE = routing.logits_TE.softmax(1)
        if scope == "sequence":
            f_BE = one_hot_TE.view(len(inputs), -1, E).mean(1)
            balancing = (E / K * f_BE * probs_TE.view(len(inputs), -1, E).mean(1)).sum(1).mean()
        else:
            if scope == "micro_batch":
                counts, n_tokens = torch.zeros(E, dtype=torch.float64), 0
            counts, n_tokens = counts + one_hot_TE.sum(0), n_tokens + len(one_hot_TE)
            balancing = E / K * (counts / n_tokens * probs_TE.mean(0)).sum()
        z = routing.logits_TE.logsumexp(1).square().mean()
        total = total + (output.loss + balancing + 0.1 * z) / cut
    total.backward()
    return toy.table_VE.grad


@pytest.mark.parametrize("scope", ["micro_batch", "sequence", "global_batch"])
@pytest.mark.parametrize("cut", CUTS)
def test_gradients_are_those_of_the_definition(cut, scope):
    torch.testing.assert_close(gradients(cut, balancing_scope=scope)[0], by_hand(cut, scope))


@pytest.mark.parametrize("cut", CUTS[1:])
@pytest.mark.parametrize(
    "same", [{"balancing": "none"}, {"balancing_scope": "sequence"}, {"alpha": 0.0}], ids=str
)
def test_the_cut_does_not_matter(cut, same):
    whole_VE, whole = gradients(1, **same)
    cut_VE, parts = gradients(cut, **same)
    torch.testing.assert_close(cut_VE, whole_VE)
    torch.testing.assert_close(parts.loss_M.mean(), whole.loss_M.mean())
    torch.testing.assert_close(parts.router.z, whole.router.z)
    assert parts.loss_M.shape == (cut,)
    for ours, theirs in zip(parts.routings[0], whole.routings[0], strict=True):
        assert torch.equal(ours, theirs)


def test_where_loads_are_to_be_even_is_what_a_scope_says():
    """Micro-batches that are uneven by themselves cost more; the counts so far come closer to the whole."""
    whole_VE, whole = gradients(1)
    for cut in CUTS[1:]:
        micro_VE, micro = gradients(cut, balancing_scope="micro_batch")
        running_VE, so_far = gradients(cut, balancing_scope="global_batch")
        excess = micro.router.load_balancing - whole.router.load_balancing
        assert excess > 0.05
        assert abs(so_far.router.load_balancing - whole.router.load_balancing) < excess
        assert (running_VE - whole_VE).norm() < (micro_VE - whole_VE).norm()


def test_the_last_micro_batch_meets_the_load_of_the_whole_step():
    inputs_BL, targets_BL = batch()
    toy = Toy()
    (whole,) = toy(inputs_BL, targets_BL).routings
    (first,), (last,) = (toy(part, part).routings for part in inputs_BL.chunk(2))
    counts_E = F.one_hot(first.topk_ids_TK, E).sum((0, 1))
    loss = load_balancing_loss(
        last.logits_TE, last.topk_ids_TK, scope="global_batch", earlier_counts_E=counts_E
    )
    f_E = F.one_hot(whole.topk_ids_TK, E).sum((0, 1)).double() / len(whole.topk_ids_TK)
    torch.testing.assert_close(loss, E / K * (f_E * last.logits_TE.softmax(1).mean(0)).sum())


def test_counts_of_before_must_fit():
    routing = Toy()(*batch()).routings[0]
    with pytest.raises(ValueError, match=r"^earlier_counts_E has shape \(3,\): give \(5,\)$"):
        load_balancing_loss(*routing[:2], scope="global_batch", earlier_counts_E=torch.ones(3).long())
    with pytest.raises(ValueError, match="earlier_counts_E is given with scope 'micro_batch': leave it out"):
        load_balancing_loss(*routing[:2], earlier_counts_E=torch.ones(5).long())


def test_a_step_sees_the_same_windows_however_it_is_cut(corpus, monkeypatch):
    seen = {}

    def watch(forward, inputs_BL, targets_BL, config, *rest):
        seen.setdefault(config.accumulation_steps, []).append(inputs_BL)
        return accumulate_gradients(forward, inputs_BL, targets_BL, config, *rest)

    monkeypatch.setattr(running, "accumulate_gradients", watch)
    for cut in (1, 4):
        run = Run(settings(cut), corpus, CPU)
        for _ in range(3):
            run.advance()
    for step, (whole_BL, cut_BL) in enumerate(zip(seen[1], seen[4], strict=True)):
        assert torch.equal(whole_BL, cut_BL)
        starts_B = window_starts(len(corpus.train_N), batch_size=8, context_length=32, seed=0, step=step)
        assert torch.equal(whole_BL[:, 0], corpus.train_N[starts_B])


def test_runs_agree_to_rounding_where_the_loss_is_the_same(corpus):
    def losses(cut, **changes):
        config = dataclasses.replace(settings(cut, steps=8, **changes), log_every=1)
        history = train(config, corpus=corpus).history
        return torch.tensor([record.train_bits_per_byte for record in history])

    same = {"balancing_scope": "sequence"}
    torch.testing.assert_close(losses(4, **same), losses(1, **same), rtol=1e-5, atol=1e-5)
    assert (losses(8) - losses(1)).abs().max() > 1e-4


def test_a_bias_follows_the_load_of_the_whole_step(corpus):
    changes = {"balancing": "bias_proportional", "gate": "sigmoid", "bias_rate": 0.1}
    biases = []
    for cut in (1, 4):
        run = Run(settings(cut, **changes), corpus, CPU)
        run.advance()
        biases.append(torch.stack([moe.router.expert_bias_E for moe in run.model.moe_layers]))
        assert float(biases[-1].abs().max()) > 0.01
    torch.testing.assert_close(biases[0], biases[1])


def test_records_are_of_whole_steps(corpus):
    records = [
        train(
            dataclasses.replace(settings(cut, steps=2, balancing="none"), log_every=2), corpus=corpus
        ).history[0]
        for cut in (1, 4)
    ]
    for name in ("load_shares_by_layer", "router_entropy_nats_by_layer", "batch_max_violation_by_layer"):
        torch.testing.assert_close(*(torch.tensor(getattr(record, name)) for record in records))
    assert records[0].tokens == records[1].tokens == 2 * 8 * 32
    assert records[0].drop_rate_by_layer == [0.0, 0.0]
    assert math.isclose(records[0].z_loss, records[1].z_loss, rel_tol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accumulation_steps": 3}, "accumulation_steps=3: choose a divisor of batch_size=8"),
        ({"accumulation_steps": 0}, "accumulation_steps=0: choose 1 or more"),
        ({"balancing_scope": "batch"}, "balancing_scope=batch: choose one of micro_batch, sequence, global"),
        ({"precision": "fp8"}, "precision=fp8: choose one of auto, fp32, bf16, fp16"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        TrainConfig(**changes)


# Padding, and what the scope of the whole batch costs.


@pytest.mark.parametrize("cut", [2, 4])
def test_the_global_scope_sees_only_the_parts_before_it(cut):
    """Uncut is the definition: the gradient moves, and cross entropy alone would not move it."""
    whole, _ = gradients(1, balancing_scope="global_batch")
    parted, _ = gradients(cut, balancing_scope="global_batch")
    assert 0.01 < float((parted - whole).norm() / whole.norm()) < 0.5
    for changes in ({"alpha": 0.0}, {"balancing_scope": "sequence"}):
        whole, _ = gradients(1, **changes)
        torch.testing.assert_close(gradients(cut, **changes)[0], whole)


def padded_batch(config):
    generator = torch.Generator().manual_seed(2)
    tokens_BL = torch.randint(256, (4, 9), generator=generator)
    lengths_B1 = torch.tensor([[8], [3], [5], [1]])
    mask_BL = torch.arange(8) < lengths_B1
    return tokens_BL[:, :-1], tokens_BL[:, 1:], mask_BL


@pytest.mark.parametrize("balancing", ["aux_loss", "bias_sign", "bias_quantile"])
@pytest.mark.parametrize("gate", ["sigmoid", "softmax_topk"])
def test_padding_changes_no_gradient_no_loss_and_no_bias(balancing, gate):
    found = []
    for cut in (1, 2, 4):
        config = preset("smoke").override(
            batch_size=4, accumulation_steps=cut, balancing=balancing, gate=gate, balancing_scope="sequence"
        )
        inputs_BL, targets_BL, mask_BL = padded_batch(config)
        for garbage in (0, 255):
            model = MoETransformer(config.model, generator=torch.Generator().manual_seed(0)).double()
            step = accumulate_gradients(
                model,
                inputs_BL.masked_fill(~mask_BL, garbage),
                targets_BL.masked_fill(~mask_BL, garbage),
                config,
                LossScaler("fp32", CPU),
                mask_BL=mask_BL,
            )
            update_expert_bias(model, step.routings, config)
            counts_LE = count_rows(step.routings)
            assert (counts_LE.sum(1) == mask_BL.sum() * config.model.top_k).all()
            biases = [moe.router.expert_bias_E for moe in model.moe_layers]
            gradients_of = [p.grad for p in model.parameters()]
            found.append([*gradients_of, *(b for b in biases if b is not None)])
    for other in found[1:2] if balancing == "aux_loss" else found[1:]:
        for mine, first in zip(other, found[0], strict=True):
            torch.testing.assert_close(mine, first)


def test_a_micro_batch_of_nothing_but_padding_is_named():
    config = preset("smoke").override(batch_size=4, accumulation_steps=4)
    inputs_BL, targets_BL, mask_BL = padded_batch(config)
    mask_BL[2] = False
    model = MoETransformer(config.model)
    with pytest.raises(ValueError, match="mask_BL leaves micro-batch 2 without a target: leave it out"):
        accumulate_gradients(model, inputs_BL, targets_BL, config, LossScaler("fp32", CPU), mask_BL=mask_BL)
