"""What lessons 11, 15 and 16 ask for, the package has: both give the same on the exercise's own inputs."""

import numpy as np
import pytest
import torch

from moe_lessons.accounting.granularity import cut_costs
from moe_lessons.accounting.laws import compute_optimal
from moe_lessons.accounting.sparsity import efficiency_leverage
from moe_lessons.accounting.unknowns import two_numbers
from moe_lessons.exercises import registry
from moe_lessons.exercises.judge import draw
from moe_lessons.experts import split_experts
from moe_lessons.frontier import depth, keys, null, scan
from moe_lessons.layer import LayerSpec, MoELayer
from moe_lessons.routing import two_level_topk, two_level_utilisation
from moe_lessons.serving import Request, accept, quantise, simulate, simulate_cache, tokens_per_check


def cases(id):
    """Arguments of an exercise's cases on three seeds, and what its reference returns."""
    exercise = registry.exercise(id)
    for seed in range(3):
        for case in draw(exercise, seed):
            args = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in case.args.values()]
            yield args, exercise.reference(*args)


def test_split_experts():
    for args, wanted in cases("11.split_expert"):
        for got, want in zip(split_experts(*args), wanted, strict=True):
            assert torch.equal(torch.as_tensor(got), torch.as_tensor(want))


def test_cut_costs():
    for args, wanted in cases("11.cut_costs"):
        assert tuple(cut_costs(*args)) == pytest.approx(wanted)


def test_latent_experts():
    for (hidden_TD, router_ED, down_LD, gate_up_EHL, down_ELF, up_DL, top_k), wanted_TD in cases(
        "11.latent_moe"
    ):
        d_latent, d_model = down_LD.shape
        spec = LayerSpec(d_model, down_ELF.shape[2], len(router_ED), top_k, "topk_softmax", d_latent=d_latent)
        with pytest.warns(UserWarning, match="K = 1|one expert|top_k") if top_k == 1 else torch.no_grad():
            layer = MoELayer.of(spec)
        state = {
            "router.weight": router_ED,
            "experts.gate_up_proj": gate_up_EHL,
            "experts.down_proj": down_ELF,
            "around.to_latent.weight": down_LD,
            "around.from_latent.weight": up_DL,
        }
        layer.load_state_dict(state)
        torch.testing.assert_close(layer(hidden_TD).hidden, wanted_TD, atol=1e-4, rtol=1e-4)


def test_two_levels():
    for args, (ids_TK, weights_TK, importance_AB) in cases("11.hierarchical"):
        routing = two_level_topk(*args)
        assert torch.equal(routing.topk_ids_TK, ids_TK)
        torch.testing.assert_close(routing.topk_weights_TK, weights_TK)
        used = two_level_utilisation(routing, importance_AB.shape[0])
        torch.testing.assert_close(used.importance_AB, importance_AB)


def test_laws():
    for (flops, expansion, granularities_N), wanted in cases("11.compute_optimal"):
        best = compute_optimal(flops, granularities_N.tolist(), expansion=expansion, beyond=True)
        assert best.granularity == wanted[0]
        assert (best.active, best.tokens) == pytest.approx(wanted[1:3], rel=0.02)
        assert best.loss == pytest.approx(wanted[3], rel=1e-5)
    for args, wanted in cases("11.leverage"):
        assert efficiency_leverage(*args, beyond=True) == pytest.approx(wanted, rel=1e-9)


def test_expert_cache():
    for (ids_NK, capacity, n_experts), (hits_N, inside_E) in cases("15.expert_cache"):
        run = simulate_cache(ids_NK, capacity, "lru")
        assert torch.equal(run.hits_N, hits_N)
        assert sorted(run.contents) == torch.arange(n_experts)[inside_E].tolist()


def test_quantise():
    """The package keeps its scales in 16 bits: a code may go to its neighbour, and weights move a little."""
    for (weight_FD, bits, group), (codes_FD, scales_FG, weights_FD) in cases("15.quantise"):
        packed = quantise(weight_FD, bits, group)
        assert (packed.codes - codes_FD).abs().max() <= 1
        torch.testing.assert_close(packed.scales.float(), scales_FG, rtol=1e-3, atol=1e-6)
        same_FD = packed.codes == codes_FD
        assert same_FD.float().mean() > 0.95
        torch.testing.assert_close(packed.dequantise()[same_FD], weights_FD[same_FD], rtol=1e-3, atol=1e-4)


def test_speculate():
    for (p_HV, q_GV, drafted_G, u_G, u_last), wanted_H in cases("15.speculate"):
        tokens = accept(p_HV, q_GV, drafted_G.tolist(), [*u_G.tolist(), u_last])
        assert tokens == [t for t in wanted_H.tolist() if t >= 0]


def test_tokens_of_a_check():
    of_all_experts = [
        (args[3:5], wanted) for args, wanted in cases("15.speculation_pays") if args[0] == args[1]
    ]
    assert of_all_experts
    for (gamma, acceptance), wanted in of_all_experts:
        assert tokens_per_check(acceptance, gamma) == pytest.approx(wanted)


def test_continuous_batching():
    """Prompts of one token, which is read and answered in a step, and steps of one second."""

    class Second:
        def step_s(self, tokens, cached=0):
            return 1.0

    for (arrival_N, length_N, n_slots), finish_N in cases("15.continuous"):
        wanted = [Request(a, 1, n) for a, n in zip(arrival_N.tolist(), length_N.tolist(), strict=True)]
        served = simulate(wanted, Second(), n_slots, "chunked", chunk=100)
        assert served.finished_s == finish_N.tolist()


def test_causal_depth():
    for args, wanted_BL in cases("16.causal_depth"):
        assert torch.equal(depth.causal_depth(*args), wanted_BL)


def test_product_keys():
    for args, (ids_TK, scores_TK) in cases("16.product_keys"):
        got_TK, got_scores_TK = keys.product_topk(*args)
        assert torch.equal(got_TK, ids_TK)
        torch.testing.assert_close(got_scores_TK, scores_TK)


def test_selective_scan():
    for args, wanted_LP in cases("16.selective_scan"):
        torch.testing.assert_close(scan.selective_scan(*args), wanted_LP)


def test_null_experts():
    for args, (weights_TE, used_T, bias) in cases("16.null_experts"):
        got = null.null_experts(*args)
        torch.testing.assert_close(got.weights_TE, weights_TE)
        assert torch.equal(got.n_real_T, used_T)
        assert got.bias == pytest.approx(bias)


def test_two_numbers():
    for args, (bounds, possible) in cases("16.two_numbers"):
        got = two_numbers(*args)
        assert [*got.expert, *got.rest] == pytest.approx(bounds.tolist())
        assert got.possible == possible
