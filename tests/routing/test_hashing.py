import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.routing import balanced_table, hash_topk, random_table, tokens_per_expert, weighted_hash_topk


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=30, deadline=None)
@given(vocab_size=st.integers(0, 40), n_experts=st.integers(1, 8), data=st.data())
def test_tables_give_each_id_k_different_experts(vocab_size, n_experts, data):
    top_k = data.draw(st.integers(1, n_experts))
    counts_V = torch.randint(0, 50, (vocab_size,), generator=seeded(data.draw(st.integers(0, 99))))
    for table_VK in (
        random_table(vocab_size, n_experts, top_k, generator=seeded()),
        balanced_table(counts_V, n_experts, top_k),
    ):
        assert table_VK.shape == (vocab_size, top_k)
        assert table_VK.dtype == torch.int64
        assert all(len({e for e in row if 0 <= e < n_experts}) == top_k for row in table_VK.tolist())


def test_a_random_table_is_fair_over_ids_not_over_text():
    table_VK = random_table(20_000, 8, 2, generator=seeded())
    shares_E = tokens_per_expert(table_VK, 8).double() / 40_000
    assert shares_E.tolist() == pytest.approx([1 / 8] * 8, rel=0.05)
    assert torch.equal(table_VK, random_table(20_000, 8, 2, generator=seeded()))
    # Words by rank: the most frequent id makes up a tenth of the text.
    counts_V = 1 / torch.arange(1, 20_001, dtype=torch.float64)
    load_E = torch.zeros(8, dtype=torch.float64).index_add_(
        0, table_VK.flatten(), counts_V.repeat_interleave(2)
    )
    assert float(load_E.max() / load_E.mean()) > 1.2
    balanced_VK = balanced_table(counts_V, 8, 2)
    load_E = torch.zeros(8, dtype=torch.float64).index_add_(
        0, balanced_VK.flatten(), counts_V.repeat_interleave(2)
    )
    assert float(load_E.max() / load_E.mean()) < 1.0001


def test_an_id_that_outweighs_an_experts_share_cannot_be_balanced():
    table_VK = balanced_table(torch.tensor([90, 5, 5]), 2, 1)
    assert table_VK.flatten().tolist() == [0, 1, 1]


def test_each_token_follows_its_id():
    table_VK = random_table(30, 6, 2, generator=seeded())
    ids_T = torch.tensor([7, 29, 7, 0])
    routing = hash_topk(ids_T, table_VK, 6)
    for t, token_id in enumerate(ids_T.tolist()):
        assert routing.topk_ids_TK[t].tolist() == table_VK[token_id].tolist()
    assert (routing.topk_weights_TK == 0.5).all()
    assert routing.logits_TE.shape == (4, 6)


def test_the_weights_of_the_weighted_kind():
    logits_TE = torch.randn(4, 6, generator=seeded(), dtype=torch.float64).requires_grad_()
    table_VK = random_table(30, 6, 2, generator=seeded())
    ids_T = torch.tensor([7, 29, 7, 0])
    routing = weighted_hash_topk(logits_TE, ids_T, table_VK, scale=1.5)
    for t, token_id in enumerate(ids_T.tolist()):
        scores = [float(logits_TE[t, e].detach().exp().log1p().sqrt()) for e in table_VK[token_id]]
        expected = [1.5 * score / sum(scores) for score in scores]
        assert routing.topk_weights_TK[t].tolist() == pytest.approx(expected)
    assert torch.autograd.gradcheck(
        lambda logits_TE: weighted_hash_topk(logits_TE, ids_T, table_VK).topk_weights_TK, (logits_TE,)
    )


TABLE = torch.tensor([[0], [2]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_table(5, 3, 4), r"top_k is 4 with 3 experts: choose 1 to 3"),
        (lambda: balanced_table(torch.ones(5), 3, 0), r"top_k is 0 with 3 experts: choose 1 to 3"),
        (
            lambda: balanced_table(torch.tensor([1.0, torch.nan]), 3, 1),
            r"counts_V of shape \(2,\): give \(V,\)",
        ),
        (
            lambda: balanced_table(torch.tensor([1, -1]), 3, 1),
            r"counts_V of shape \(2,\): give \(V,\) counts",
        ),
        (lambda: balanced_table(torch.ones(2, 2), 3, 1), r"counts_V of shape \(2, 2\): give \(V,\) counts"),
        (lambda: hash_topk(torch.tensor([[0]]), TABLE, 3), r"token_ids_T has shape \(1, 1\): flatten"),
        (lambda: hash_topk(torch.tensor([0]), TABLE[:, 0], 3), r"table_VK has shape \(2,\): give \(V, K\)"),
        (
            lambda: hash_topk(torch.tensor([0, 2]), TABLE, 3),
            r"token_ids_T runs from 0 to 2: keep ids in 0..1",
        ),
        (lambda: hash_topk(torch.tensor([-1, 1]), TABLE, 3), r"token_ids_T runs from -1 to 1: keep ids in 0"),
        (lambda: hash_topk(torch.tensor([0]), TABLE, 2), r"table_VK runs from 0 to 2: keep ids in 0..1"),
        (lambda: hash_topk(torch.tensor([0]), TABLE[:, :0], 2), r"top_k is 0 with 2 experts"),
        (
            lambda: weighted_hash_topk(torch.zeros(3, 3), torch.tensor([0]), TABLE),
            r"token_ids_T has 1 ids: logits_TE asks for 3",
        ),
    ],
)
def test_bad_arguments_get_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
