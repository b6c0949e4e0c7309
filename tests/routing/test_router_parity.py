"""Routers against their twins in transformers: the same experts, weights within 1e-6."""

import pytest
import torch

from moe_lessons.routing import (
    dense_assignment,
    dense_weights,
    group_limited_softmax_topk,
    group_limited_topk,
    jitter,
    random_table,
    softmax_topk,
    weighted_hash_topk,
)
from moe_lessons.routing.base import Routing

transformers = pytest.importorskip("transformers")

D, E, T = 16, 24, 64
LIMITS = [(4, 2, 6), (8, 3, 6), (6, 1, 3), (1, 1, 5), (12, 12, 8)]


def assert_same(ours, theirs):
    logits_TE, weights_TK, ids_TK = theirs
    theirs = Routing(logits_TE, ids_TK, weights_TK)  # their top-k comes in any order, the dense view has none
    assert torch.equal(dense_assignment(ours), dense_assignment(theirs))
    torch.testing.assert_close(dense_weights(ours), dense_weights(theirs), rtol=1e-6, atol=1e-6)


def fill(router, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        router.weight.normal_(generator=generator)
        bias = getattr(router, "e_score_correction_bias", None)
        if bias is not None:
            bias.normal_(generator=generator)  # many biased scores fall below 0
    return torch.randn(T, D, generator=generator)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("renormalize", [True, False])
@pytest.mark.parametrize(("n_groups", "topk_groups", "top_k"), LIMITS)
def test_deepseek_v3(n_groups, topk_groups, top_k, renormalize, seed):
    modeling = pytest.importorskip("transformers.models.deepseek_v3.modeling_deepseek_v3")
    config = transformers.DeepseekV3Config(
        hidden_size=D,
        n_routed_experts=E,
        num_experts_per_tok=top_k,
        n_group=n_groups,
        topk_group=topk_groups,
        norm_topk_prob=renormalize,
        routed_scaling_factor=2.5,
    )
    router = modeling.DeepseekV3TopkRouter(config)
    hidden_TD = fill(router, seed)
    theirs = router(hidden_TD)
    if len(theirs) != 3:
        pytest.skip("this transformers returns something else")
    ours = group_limited_topk(
        theirs[0],
        top_k,
        n_groups=n_groups,
        topk_groups=topk_groups,
        expert_bias_E=router.e_score_correction_bias,
        renormalize=renormalize,
        scale=2.5,
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n_groups", "topk_groups", "top_k"), LIMITS)
def test_deepseek_v2(n_groups, topk_groups, top_k, seed):
    modeling = pytest.importorskip("transformers.models.deepseek_v2.modeling_deepseek_v2")
    config = transformers.DeepseekV2Config(
        hidden_size=D,
        n_routed_experts=E,
        num_experts_per_tok=top_k,
        topk_method="group_limited_greedy",
        n_group=n_groups,
        topk_group=topk_groups,
        routed_scaling_factor=16.0,
        num_attention_heads=4,
    )
    router = modeling.DeepseekV2TopkRouter(config)
    hidden_TD = fill(router, seed) / 8  # the softmax runs over all experts: keep it off 0
    theirs = router(hidden_TD)
    ours = group_limited_softmax_topk(
        theirs[0], top_k, n_groups=n_groups, topk_groups=topk_groups, scale=16.0
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_deepseek_v4_hash(seed):
    modeling = pytest.importorskip("transformers.models.deepseek_v4.modeling_deepseek_v4")
    config = transformers.DeepseekV4Config(
        hidden_size=D, num_local_experts=E, num_experts_per_tok=3, vocab_size=50
    )
    router = modeling.DeepseekV4HashRouter(config)
    hidden_TD = fill(router, seed)
    table_VK = random_table(50, E, 3, generator=torch.Generator().manual_seed(seed))
    router.tid2eid.copy_(table_VK)
    token_ids_T = torch.randint(50, (T,), generator=torch.Generator().manual_seed(seed))
    theirs = router(hidden_TD, token_ids_T)
    ours = weighted_hash_topk(theirs[0], token_ids_T, table_VK, scale=config.routed_scaling_factor)
    assert_same(ours, theirs)


def test_switch_jitter():
    modeling = pytest.importorskip("transformers.models.switch_transformers.modeling_switch_transformers")
    config = transformers.SwitchTransformersConfig(
        d_model=D, num_experts=8, expert_capacity=T, router_jitter_noise=0.3
    )
    router = modeling.SwitchTransformersTop1Router(config).train()
    hidden_TD = torch.randn(T, D, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(5)
    chosen_1TE, weights_1T1, logits_1TE = router(hidden_TD.unsqueeze(0).clone())
    read_TD = jitter(hidden_TD, 0.3, training=True, generator=torch.Generator().manual_seed(5))
    ours = softmax_topk(router.classifier(read_TD), 1, renormalize=False)
    torch.testing.assert_close(ours.logits_TE, logits_1TE[0])
    assert torch.equal(dense_assignment(ours), chosen_1TE[0].bool())
    torch.testing.assert_close(ours.topk_weights_TK, weights_1T1[0])
    silent = softmax_topk(router.classifier(jitter(hidden_TD, 0.3, training=False)), 1, renormalize=False)
    assert not torch.equal(silent.topk_ids_TK, ours.topk_ids_TK)


@pytest.mark.parametrize("mistake", ["max", "no bias", "bias in the weight"])
def test_a_small_mistake_is_seen(mistake):
    """The negative control: a group by its best expert, no bias, a bias that reaches the weight."""
    modeling = pytest.importorskip("transformers.models.deepseek_v3.modeling_deepseek_v3")
    config = transformers.DeepseekV3Config(
        hidden_size=D, n_routed_experts=E, num_experts_per_tok=4, n_group=4, topk_group=2
    )
    router = modeling.DeepseekV3TopkRouter(config)
    theirs = router(fill(router, 0))
    bias_E = router.e_score_correction_bias
    limits = {"n_groups": 4, "topk_groups": 2}
    logits_TE = theirs[0].detach()
    ours = group_limited_topk(logits_TE, 4, **limits, expert_bias_E=bias_E, scale=2.5)
    assert_same(ours, theirs)
    if mistake == "max":
        selection_TE = logits_TE.sigmoid() + bias_E
        wrong = group_limited_softmax_topk(selection_TE, 4, **limits)
    elif mistake == "no bias":
        wrong = group_limited_topk(logits_TE, 4, **limits, scale=2.5)
    else:
        scores_TK = (logits_TE.sigmoid() + bias_E).gather(1, ours.topk_ids_TK)
        wrong = ours._replace(topk_weights_TK=2.5 * scores_TK / scores_TK.sum(1, keepdim=True))
    with pytest.raises(AssertionError):
        assert_same(wrong, theirs)
