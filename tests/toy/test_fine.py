"""The toys of lesson 11: targets by loop, models by loop, and seeds that do not touch each other."""

from functools import partial

import pytest
import torch

from moe_lessons.toy.fine import Fine, FineRun, at_best_rate
from moe_lessons.toy.granularity import GRAINS, LATENTS, latent_settings
from moe_lessons.toy.skills import Clusters, Skills

SMALL = Fine(n_experts=3, top_k=1, d_expert=4, n_seeds=2, steps=3, n_tokens=6)
COMMON = partial(Clusters.with_common, common=0.5, width=5, n_clusters=3)
NARROW = partial(Clusters.of_rank, rank=3, width=7, n_clusters=4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("at_once", [1, 2, 4, 8])
def test_a_target_is_the_sum_of_the_skills_that_the_code_names(at_once):
    world = Skills.draw(2, generator(), at_once=at_once)
    sample = world.batch(5, generator(1))
    n_skills = world.codes_SCD.shape[1]
    assert n_skills * world.up_SCDR.shape[3] == Skills.UNITS
    for s in range(2):
        for t in range(5):
            code, work = sample.inputs_STD[s, t].split([Skills.CODE, Skills.WORK])
            # The code is a sum of skills' codes: the set that explains it exactly is the one that was drawn.
            weights = (
                torch.linalg.lstsq(world.codes_SCD[s, :, :].T, code).solution if n_skills <= 24 else None
            )
            lots = torch.rand(2, 5, n_skills, generator=generator(1))
            needed = lots[s, t].topk(at_once).indices.tolist()
            if weights is not None:
                assert set(weights.topk(at_once).indices.tolist()) == set(needed)
            expected = (
                sum((work @ world.up_SCDR[s, c]).relu() @ world.down_SCRD[s, c] for c in needed)
                / at_once**0.5
            )
            torch.testing.assert_close(sample.targets_STD[s, t], expected, atol=1e-4, rtol=1e-4)


def test_all_maps_are_one_where_everything_is_common_and_none_where_nothing_is():
    one = Clusters.with_common(1, generator(), common=1.0, n_clusters=4)
    assert torch.equal(one.maps_SCRR[:, 0], one.maps_SCRR[:, 3])
    none = Clusters.with_common(60, generator(), common=0.0, n_clusters=2)
    pairs = none.maps_SCRR.flatten(2)
    assert abs(torch.corrcoef(torch.stack([pairs[:, 0].flatten(), pairs[:, 1].flatten()]))[0, 1]) < 0.1
    assert (
        torch.linalg.matrix_rank(Clusters.with_common(1, generator(), common=0.0, map_rank=2).maps_SCRR[0, 0])
        == 2
    )


def test_narrow_data_lies_in_few_dimensions_and_its_targets_too():
    world = NARROW(1, generator())
    sample = world.batch(400, generator(1))
    assert (world.n_inputs, world.n_targets, world.rank) == (7, 7, 3)
    for values, least in ((sample.inputs_STD[0], Clusters.TAIL / 3), (sample.targets_STD[0], 0.0)):
        strength = torch.linalg.svdvals(values) / 400**0.5
        assert strength[2] > 0.3
        assert least <= strength[3] < 0.1


def by_loop(run, sample, seed):
    """The model's answer for one seed, token by token and expert by expert."""
    s = run.settings
    n_routed, top_k, d_slice = s.sizes
    answers = []
    for x in sample.inputs_STD[seed]:
        logits = x @ run.router_SDE[seed]
        rows = x @ run.around[0][seed] if run.around else x
        out = 0.0
        for e in logits.topk(top_k).indices.tolist():
            units = slice(e * d_slice, (e + 1) * d_slice)
            hidden = (rows @ run.up_SDU[seed][:, units]).relu()
            out = out + logits[e].sigmoid() * hidden @ run.down_SUD[seed][units]
        if s.n_shared:
            units = slice(n_routed * d_slice, None)
            out = out + (rows @ run.up_SDU[seed][:, units]).relu() @ run.down_SUD[seed][units]
        answers.append(out @ run.around[1][seed] if run.around else out)
    return torch.stack(answers)


@pytest.mark.parametrize(
    ("draw", "changes"),
    [
        (partial(Skills.draw, at_once=2), {"granularity": 2}),
        (COMMON, {"n_shared": 1}),
        (COMMON, {"top_k": 2, "granularity": 4, "n_shared": 2}),
        (NARROW, {"d_latent": 2, "top_k": 3}),
    ],
)
def test_the_first_error_is_that_of_a_loop(draw, changes):
    settings = Fine(**{**SMALL.__dict__, **changes})
    run = FineRun(draw, settings)
    tokens = torch.Generator()
    tokens.set_state(run.tokens.get_state())
    sample = run.source.batch(settings.n_tokens, tokens)
    wanted = []
    for seed in range(2):
        target = sample.targets_STD[seed]
        wanted.append(((by_loop(run, sample, seed) - target).square().mean() / target.square().mean()).item())
    run.train()
    assert run.error_NS[0].tolist() == pytest.approx(wanted, rel=1e-4)
    assert run.seen_NSE.sum(dim=-1) == pytest.approx(settings.sizes[1])


def test_every_cut_meets_the_same_world_and_the_same_tokens():
    runs = [FineRun(COMMON, Fine(**{**SMALL.__dict__, "granularity": g})) for g in (1, 2, 4)]
    samples = [run.source.batch(6, run.tokens) for run in runs]
    for sample in samples[1:]:
        assert torch.equal(sample.inputs_STD, samples[0].inputs_STD)
        assert torch.equal(sample.targets_STD, samples[0].targets_STD)


def test_every_cut_has_as_many_expert_parameters_and_every_latent_too():
    draw = partial(Skills.draw, at_once=1)
    sizes = {FineRun(draw, Fine(granularity=g, n_seeds=1)).up_SDU.numel() for g in GRAINS}
    assert len(sizes) == 1
    narrow = partial(Clusters.of_rank, rank=8)
    runs = [FineRun(narrow, latent_settings(width, n_seeds=1)) for width in LATENTS]
    assert len({run.up_SDU.numel() for run in runs}) == 1
    active = {run.settings.sizes[1] * run.settings.sizes[2] * (run.settings.d_latent or 32) for run in runs}
    assert len(active) == 1


def test_seeds_do_not_touch_each_other():
    plain, changed = FineRun(COMMON, SMALL), FineRun(COMMON, SMALL)
    with torch.no_grad():
        changed.up_SDU[0] *= -1
    plain.train()
    changed.train()
    assert not torch.allclose(plain.error_NS[:, 0], changed.error_NS[:, 0])
    torch.testing.assert_close(plain.error_NS[:, 1], changed.error_NS[:, 1])


def test_what_nobody_chose_gets_a_gradient_of_exactly_zero():
    run = FineRun(COMMON, Fine(**{**SMALL.__dict__, "alpha": 0.0}))
    with torch.no_grad():
        run.router_SDE[:] = 0
        run.router_SDE[:, :, 0] = run.source.batch(1, generator(3)).inputs_STD.transpose(1, 2)[..., 0]
        run.router_SDE[:, :, 2] = -run.router_SDE[:, :, 0]
    before = run.up_SDU.detach().clone()
    run.train()
    seen_E = run.seen_NSE.sum(dim=(0, 1))
    assert (seen_E == 0).any()
    for e in range(3):
        moved = (run.up_SDU.detach() - before)[:, :, 4 * e : 4 * e + 4].abs().max()
        assert (moved == 0) == (seen_E[e] == 0)


def test_switching_off_what_every_token_meets():
    run = FineRun(COMMON, Fine(**{**SMALL.__dict__, "n_shared": 1, "steps": 120, "n_tokens": 64})).train()
    before = run.up_SDU.detach().clone()
    whole, without, fullest = run.without("nothing"), run.without("shared"), run.without("fullest")
    assert (without > whole).all()
    assert (fullest > 0.9 * whole).all()
    assert run.fullest_S.shape == (2,)
    assert torch.equal(run.up_SDU.detach(), before)


def test_the_best_of_several_rates_is_kept():
    run = at_best_rate(COMMON, Fine(**{**SMALL.__dict__, "steps": 60, "n_tokens": 32}), (1e-5, 2e-2))
    assert run.settings.learning_rate == 2e-2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Fine(granularity=3), "granularity is 3: choose a divisor of d_expert=16"),
        (lambda: Fine(top_k=9), "top_k is 9: choose at most n_experts=8"),
        (lambda: Fine(steps=0), "steps is 0: choose 1 or more"),
        (lambda: Skills.draw(1, generator(), at_once=3), "at_once is 3: choose 1, 2, 4 or 8"),
        (lambda: Clusters.with_common(1, generator(), common=1.5), "common is 1.5: choose 0"),
        (lambda: Clusters.of_rank(1, generator(), rank=9, width=8), "rank is 9: choose 1 to width=8"),
        (lambda: FineRun(COMMON, SMALL).without("shared"), "part is 'shared': choose 'fullest', 'nothing'"),
        (lambda: FineRun(COMMON, SMALL).without("router"), "part is 'router'"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
