import pytest
import torch

from moe_lessons.balancing import NORMALIZATIONS, SCOPES, load_balancing_loss, z_loss
from moe_lessons.routing import tokens_per_expert, topk_softmax


def draw(n_tokens=12, n_experts=5, top_k=2, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits_TE = 2 * torch.randn(n_tokens, n_experts, generator=generator, dtype=dtype)
    return logits_TE, topk_softmax(logits_TE, top_k).topk_ids_TK


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("top_k", [1, 2, 5])
def test_huggingface_normalisation_is_what_transformers_computes(top_k, masked):
    modeling = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    logits_TE, ids_TK = draw(top_k=top_k, dtype=torch.float32)
    mask_T = torch.arange(12) % 3 != 0 if masked else None
    attention_mask = mask_T.long().reshape(3, 4) if mask_T is not None else None
    expected = modeling.load_balancing_loss_func((logits_TE,), 5, top_k, attention_mask)
    actual = load_balancing_loss(logits_TE, ids_TK, normalization="huggingface", mask_T=mask_T)
    torch.testing.assert_close(actual, expected)


def test_pooling_layers_as_transformers_does_hides_a_collapse_in_each():
    modeling = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    n_layers = n_experts = 8
    collapsed = tuple(20 * torch.eye(n_experts)[layer].expand(64, n_experts) for layer in range(n_layers))
    pooled = modeling.load_balancing_loss_func(collapsed, n_experts, 1)
    assert float(pooled) == pytest.approx(1)  # as if all were even
    each = [
        load_balancing_loss(logits_TE, topk_softmax(logits_TE, 1).topk_ids_TK, normalization="huggingface")
        for logits_TE in collapsed
    ]
    assert sum(map(float, each)) / n_layers == pytest.approx(8, abs=1e-5)


def test_megatron_is_the_formula_in_its_code():
    # moe_utils.py: sum(summed probabilities * counts) * E / (topk * tokens * tokens)
    logits_TE, ids_TK = draw(top_k=3)
    summed_E, counts_E = logits_TE.softmax(1).sum(0), tokens_per_expert(ids_TK, 5)
    expected = (summed_E * counts_E).sum() * 5 / (3 * 12 * 12)
    torch.testing.assert_close(load_balancing_loss(logits_TE, ids_TK, normalization="megatron"), expected)


@pytest.mark.parametrize("scope", ["micro_batch", "sequence"])
def test_deepseek_is_the_formula_in_its_code(scope):
    # modeling_deepseek.py: per sequence, counts over L * K / E, times the mean score; without it one mean
    logits_TE, ids_TK = draw(top_k=2)
    n_sequences = 3 if scope == "sequence" else 1
    expected = 0.0
    for logits_LE, ids_LK in zip(logits_TE.chunk(n_sequences), ids_TK.chunk(n_sequences), strict=True):
        relative_E = torch.bincount(ids_LK.flatten(), minlength=5) / (ids_LK.numel() / 5)
        expected += (relative_E * logits_LE.softmax(1).mean(0)).sum() / n_sequences
    options = {"n_sequences": 3} if scope == "sequence" else {}
    actual = load_balancing_loss(logits_TE, ids_TK, normalization="deepseek", scope=scope, **options)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_balanced_values(top_k):
    logits_TE = torch.zeros(8, 4, dtype=torch.float64)  # P is uniform
    ids_TK = (torch.arange(8).unsqueeze(1) + torch.arange(top_k)) % 4  # and so is f
    values = {
        name: float(load_balancing_loss(logits_TE, ids_TK, normalization=name)) for name in NORMALIZATIONS
    }
    assert values == pytest.approx(
        {"switch": 1, "megatron": 1, "deepseek": 1, "huggingface": top_k, "gshard": 1 / 16}
    )


@pytest.mark.parametrize("scores", ["sigmoid", "sqrt_softplus"])
def test_scores_that_are_no_distribution_are_divided_by_their_sum(scores):
    logits_TE, ids_TK = draw()
    score_TE = logits_TE.sigmoid() if scores == "sigmoid" else (1 + logits_TE.exp()).log().sqrt()
    probs_E = (score_TE / score_TE.sum(1, keepdim=True)).mean(0)  # DeepSeek-V3, eq. 19-20
    load_E = tokens_per_expert(ids_TK, 5) / 24
    actual = load_balancing_loss(logits_TE, ids_TK, scores=scores)
    torch.testing.assert_close(actual, 5 * (load_E * probs_E).sum())
    assert abs(float(actual - load_balancing_loss(logits_TE, ids_TK))) > 1e-3
    far_TE = torch.full((2, 3), -500.0, requires_grad=True)  # every score underflows
    load_balancing_loss(far_TE, torch.tensor([[0], [1]]), scores=scores).backward()
    assert far_TE.grad.isfinite().all()


def test_balance_over_a_batch_need_not_be_balance_in_a_sequence():
    logits_TE = torch.tensor([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [0.0, 9.0]], dtype=torch.float64)
    ids_TK = logits_TE.argmax(1, keepdim=True)
    assert float(load_balancing_loss(logits_TE, ids_TK)) == pytest.approx(1)
    by_sequence = load_balancing_loss(logits_TE, ids_TK, scope="sequence", n_sequences=2)
    assert float(by_sequence) == pytest.approx(2, abs=1e-3)
    whole = load_balancing_loss(logits_TE, ids_TK, scope="sequence", n_sequences=1)
    assert float(whole) == pytest.approx(1)


def test_sequences_with_padding():
    logits_TE, ids_TK = draw()
    keep_T = torch.tensor([1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0], dtype=torch.bool)  # 3 + 1 + 0 of 4 each
    actual = load_balancing_loss(logits_TE, ids_TK, scope="sequence", n_sequences=3, mask_T=keep_T)
    kept = [load_balancing_loss(logits_TE[rows], ids_TK[rows]) for rows in (slice(0, 3), slice(4, 5))]
    torch.testing.assert_close(actual, sum(kept) / 2)


def test_without_distributed_the_global_batch_is_this_one():
    logits_TE, ids_TK = draw()
    everywhere = load_balancing_loss(logits_TE, ids_TK, scope="global_batch")
    torch.testing.assert_close(everywhere, load_balancing_loss(logits_TE, ids_TK))


def test_gshard_counts_first_choices_only():
    logits_TE = torch.tensor([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0]]).log()
    ids_TK = torch.tensor([[0, 1], [0, 2]])
    # c = (2, 0, 0) of S = 2 tokens, m_0 = 1/2, E = 3.
    loss = load_balancing_loss(logits_TE, ids_TK, normalization="gshard")
    assert float(loss) == pytest.approx(1 / 3 * 1 * 1 / 2)


def test_collapse_costs_the_number_of_experts():
    logits_TE = torch.tensor([[50.0, 0.0, 0.0, 0.0]]).repeat(6, 1)
    assert float(load_balancing_loss(logits_TE, torch.zeros(6, 1, dtype=torch.int64))) == pytest.approx(4)


def test_the_loss_is_flat_at_uniform_load_and_lower_elsewhere():
    tilted_TE = torch.tensor([[3.0, 1.0]], dtype=torch.float64).repeat(4, 1)
    half = torch.tensor([[0], [1], [0], [1]])
    assert float(load_balancing_loss(tilted_TE, half)) == pytest.approx(1)
    # Three tokens barely prefer expert 0, one surely expert 1: f = (3/4, 1/4), P = (3/8, 5/8).
    logits_TE = torch.tensor([[1e-9, 0.0]] * 3 + [[-50.0, 0.0]], dtype=torch.float64)
    ids_TK = topk_softmax(logits_TE, 1).topk_ids_TK
    assert float(load_balancing_loss(logits_TE, ids_TK)) == pytest.approx(7 / 8)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradient_flows_through_the_probabilities_alone(normalization):
    logits_TE, ids_TK = draw()
    logits_TE.requires_grad_()

    def loss(logits):
        return load_balancing_loss(logits, ids_TK, normalization=normalization)

    assert torch.autograd.gradcheck(loss, (logits_TE,))
    probs_TE = logits_TE.softmax(1)
    load_E = torch.bincount(ids_TK.flatten(), minlength=5) / ids_TK.numel()
    (5 * load_E * probs_TE.mean(0)).sum().backward()  # the gradient with respect to P_i is E f_i
    if normalization == "switch":
        (gradient_TE,) = torch.autograd.grad(loss(logits_TE), logits_TE)
        torch.testing.assert_close(gradient_TE, logits_TE.grad)


def test_a_mask_is_the_same_as_leaving_the_tokens_out():
    logits_TE, ids_TK = draw()
    keep_T = torch.arange(12) % 4 != 1
    for normalization in NORMALIZATIONS:
        masked = load_balancing_loss(logits_TE, ids_TK, normalization=normalization, mask_T=keep_T)
        without = load_balancing_loss(logits_TE[keep_T], ids_TK[keep_T], normalization=normalization)
        torch.testing.assert_close(masked, without)
    torch.testing.assert_close(z_loss(logits_TE, mask_T=keep_T), z_loss(logits_TE[keep_T]))


def test_z_loss_is_the_mean_squared_log_partition():
    logits_TE, _ = draw()
    expected = sum(float(row.exp().sum().log() ** 2) for row in logits_TE) / 12
    assert float(z_loss(logits_TE)) == pytest.approx(expected)
    assert torch.autograd.gradcheck(z_loss, (logits_TE.requires_grad_(),))


def test_nothing_to_count_costs_nothing_and_keeps_the_graph():
    logits_TE = torch.zeros(0, 4, requires_grad=True)
    ids_TK = torch.zeros(0, 2, dtype=torch.int64)
    total = load_balancing_loss(logits_TE, ids_TK) + z_loss(logits_TE)
    total.backward()
    assert total.item() == 0
    nobody_T = torch.zeros(12, dtype=torch.bool)
    for scope in SCOPES:
        logits_TE, ids_TK = draw()
        logits_TE.requires_grad_()
        options = {"n_sequences": 3} if scope == "sequence" else {}
        loss = load_balancing_loss(logits_TE, ids_TK, mask_T=nobody_T, scope=scope, **options)
        (loss + z_loss(logits_TE, mask_T=nobody_T)).backward()
        assert loss.item() == 0
        assert torch.equal(logits_TE.grad, torch.zeros(12, 5, dtype=torch.float64))


def test_a_single_expert_is_balanced_and_moves_nothing():
    logits_TE = torch.randn(4, 1, requires_grad=True)
    loss = load_balancing_loss(logits_TE, torch.zeros(4, 1, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 1
    assert torch.equal(logits_TE.grad, torch.zeros(4, 1))


def test_bf16_logits_are_summed_in_fp32():
    logits_TE, ids_TK = draw(n_tokens=4096)
    narrow = load_balancing_loss(logits_TE.bfloat16(), ids_TK)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), load_balancing_loss(logits_TE, ids_TK), rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    ("ids_shape", "options", "message"),
    [
        ((3, 1), {"normalization": "mean"}, "normalization is 'mean': choose one of switch, gshard"),
        ((3, 1), {"scores": "relu"}, "scores is 'relu': choose one of softmax, sigmoid, sqrt_softplus"),
        ((3, 1), {"scope": "batch"}, "scope is 'batch': choose one of micro_batch, sequence, global_batch"),
        ((3, 1), {"scope": "sequence"}, "n_sequences is None: give a divisor of the 3 tokens"),
        ((3, 1), {"scope": "sequence", "n_sequences": 2}, "n_sequences is 2: give a divisor of the 3"),
        ((3, 1), {"scope": "sequence", "n_sequences": 0}, "n_sequences is 0"),
        ((3, 1), {"n_sequences": 3}, "n_sequences is 3 with scope 'micro_batch': leave it out"),
        ((3, 3), {}, "top_k is 3 with 2 experts: choose 1 to 2"),
        ((2, 1), {}, r"topk_ids_TK has shape \(2, 1\): give \(T, K\) with T=3"),
        ((3,), {}, r"topk_ids_TK has shape \(3,\)"),
        ((3, 1), {"mask_T": torch.ones(4)}, r"mask_T has shape \(4,\): give one entry per token"),
    ],
)
def test_bad_arguments_get_one_clear_line(ids_shape, options, message):
    with pytest.raises(ValueError, match=message):
        load_balancing_loss(torch.zeros(3, 2), torch.zeros(ids_shape, dtype=torch.int64), **options)


@pytest.mark.parametrize("loss", [lambda x: load_balancing_loss(x, torch.tensor([[0], [1]])), z_loss])
def test_nan_and_missing_axes_are_named(loss):
    with pytest.raises(ValueError, match="logits_TE holds NaN"):
        loss(torch.tensor([[0.0, 1.0], [float("nan"), 0.0]]))
    with pytest.raises(ValueError, match=r"logits_TE has shape \(2, 1, 2\): flatten it to \(T, E\)"):
        loss(torch.zeros(2, 1, 2))


@pytest.mark.parametrize("wrong", [-1, 5])
@pytest.mark.parametrize("scope", SCOPES)
def test_an_id_of_no_expert_is_not_counted_for_another_sequence(scope, wrong):
    logits_TE, ids_TK = draw()
    ids_TK[5, 0] = wrong
    options = {"n_sequences": 3} if scope == "sequence" else {}
    with pytest.raises(ValueError, match=r"topk_ids_TK runs from .* with 5 experts: keep ids in 0..4"):
        load_balancing_loss(logits_TE, ids_TK, scope=scope, **options)
    with pytest.raises(ValueError, match=r"topk_ids_TK is torch.float32: give whole numbers"):
        load_balancing_loss(logits_TE, ids_TK.float(), scope=scope, **options)


@pytest.mark.parametrize("in_padding", [float("inf"), -float("inf")])
def test_what_stands_in_padding_does_not_matter(in_padding):
    logits_TE, ids_TK = draw()
    logits_TE[3:5] = in_padding
    logits_TE.requires_grad_()
    keep_T = torch.arange(12).sub(3.5).abs() > 1
    loss = load_balancing_loss(logits_TE, ids_TK, mask_T=keep_T) + z_loss(logits_TE, mask_T=keep_T)
    without = load_balancing_loss(logits_TE[keep_T], ids_TK[keep_T]) + z_loss(logits_TE[keep_T])
    torch.testing.assert_close(loss, without)
    (gradient_TE,) = torch.autograd.grad(loss, logits_TE)
    assert gradient_TE.isfinite().all()
    assert not gradient_TE[3:5].any()
