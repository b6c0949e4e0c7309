import pytest
import torch

from moe_lessons.balancing import load_balancing_loss, z_loss
from moe_lessons.routing import topk_softmax


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


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_balanced_values(top_k):
    logits_TE = torch.zeros(8, 4, dtype=torch.float64)  # P is uniform
    ids_TK = (torch.arange(8).unsqueeze(1) + torch.arange(top_k)) % 4  # and so is f
    values = {
        name: float(load_balancing_loss(logits_TE, ids_TK, normalization=name))
        for name in ("switch", "huggingface", "gshard")
    }
    assert values == pytest.approx({"switch": 1, "huggingface": top_k, "gshard": 1 / 16})


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


@pytest.mark.parametrize("normalization", ["switch", "huggingface", "gshard"])
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
    for normalization in ("switch", "huggingface", "gshard"):
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
    logits_TE, ids_TK = draw()
    nobody_T = torch.zeros(12, dtype=torch.bool)
    assert float(load_balancing_loss(logits_TE, ids_TK, mask_T=nobody_T)) == 0


def test_bf16_logits_are_summed_in_fp32():
    logits_TE, ids_TK = draw(n_tokens=4096)
    narrow = load_balancing_loss(logits_TE.bfloat16(), ids_TK)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), load_balancing_loss(logits_TE, ids_TK), rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    ("ids_shape", "options", "message"),
    [
        ((3, 1), {"normalization": "mean"}, "normalization is 'mean': choose one of switch, gshard, huggingface"),
        ((2, 1), {}, r"topk_ids_TK has shape \(2, 1\): give \(T, K\) with T=3"),
        ((3,), {}, r"topk_ids_TK has shape \(3,\)"),
        ((3, 1), {"mask_T": torch.ones(4)}, r"mask_T has shape \(4,\): give one entry per token"),
    ],
)
def test_bad_arguments_get_one_clear_line(ids_shape, options, message):
    with pytest.raises(ValueError, match=message):
        load_balancing_loss(torch.zeros(3, 2), torch.zeros(ids_shape, dtype=torch.int64), **options)
