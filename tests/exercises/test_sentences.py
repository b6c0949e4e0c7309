"""The capstone's sentences: each computed where it can be, in line with the lessons' claims, drawn fairly."""

import importlib.util
import json
import math
from importlib.resources import files

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from moe_lessons import accounting
from moe_lessons.accounting.layer_pattern import layer_string
from moe_lessons.balancing import load_balancing_loss
from moe_lessons.balancing.bias import sign_update
from moe_lessons.capacity import expected_drop_rate, expert_capacity
from moe_lessons.exercises import registry
from moe_lessons.exercises.capstone_errors.bank import BY_ID, IN_A_PART, PAPERS, SENTENCES, page
from moe_lessons.exercises.capstone_errors.sentence import PAGES, VERDICTS, Sentence

MIXTRAL = accounting.describe("Mixtral-8x7B")
COUNTED = accounting.count(MIXTRAL)
V3 = accounting.describe("DeepSeek-V3")


def total(name):
    return accounting.count(accounting.describe(name)).total


def active(name):
    return accounting.count(accounting.describe(name)).active


def two_matrices():
    up, down = MIXTRAL.moes[0][0].expert
    one = up.n_in * up.n_out  # of the gate, or of the way up
    n = sum(times * moe.n_experts for moe, times in MIXTRAL.moes)
    assert up.copies == 2
    assert down.n_out * down.n_in == one
    return (COUNTED.total - n * one) / 1e9


def widths():
    """The width of DeepSeek-V3's dense networks over that of an expert."""
    moe = V3.moes[0][0]
    dense = [layer.ffn for layer, _ in V3.layers if isinstance(layer.ffn, accounting.Dense)]
    return dense[0].matrices[0].n_out / moe.expert[0].n_out


def lowest_loss(n_experts=8):
    """m experts share all load, and P is as small as it may be there: N / (m (N - m + 1)), by search."""
    return min(n_experts / (m * (n_experts - m + 1)) for m in range(1, n_experts + 1))


def pooled():
    """Mean of f and of P over eight collapsed layers, then the product."""
    f_LE = P_LE = torch.eye(8)
    return float(8 * (f_LE.mean(0) * P_LE.mean(0)).sum())


def even_loss():
    logits_TE = torch.zeros(64, 64)
    ids_TK = (torch.arange(64)[:, None] + torch.arange(8)) % 64
    return float(load_balancing_loss(logits_TE, ids_TK, normalization="huggingface"))


def first_choices():
    scores_TE = torch.randn(200_000, 8, generator=torch.Generator().manual_seed(0))
    return 100 * float((scores_TE.argmax(1) == 0).double().mean())


def decayed():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([weight], lr=0.003, weight_decay=0.1)
    for _ in range(2000):
        weight.grad = torch.zeros(1)
        optimizer.step()
    return weight.item()


def bias_step():
    """Of an expert with ten times its share, in one batch."""
    counts_E = torch.full((11,), 10).index_fill(0, torch.tensor(0), 1000)
    assert counts_E[0] / counts_E.double().mean() > 9
    return sign_update(torch.zeros(11), counts_E, 0.001)[0].abs().item()


def derivative():
    """Of 0.01 * 8 * sum(f P) by the P of an expert with half of the load."""
    P_E = torch.full((8,), 1 / 8, requires_grad=True)
    f_E = torch.tensor([0.5, *[0.5 / 7] * 7])
    (0.01 * 8 * (f_E * P_E).sum()).backward()
    return P_E.grad[0].item()


def sparse_of_ten():
    text = (files("moe_lessons") / "results" / "open_models.json").read_text(encoding="utf-8")
    largest = sorted(json.loads(text)["rows"], key=lambda row: -row["total_b"])[:10]
    return sum(row["kind"] == "sparse" for row in largest)


JAMBA = {
    "model_type": "jamba",
    "num_hidden_layers": 32,
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
}

COMPUTED = {
    1: lambda: V3.moes[0][0].n_experts / 32,
    2: two_matrices,
    3: lambda: sum(times for layer, times in V3.layers if not isinstance(layer.ffn, accounting.MoE)),
    4: lambda: 100 * expected_drop_rate(256, torch.full((64,), 1 / 64), expert_capacity(256, 64, 1, 1.25)),
    5: lambda: MIXTRAL.moes[0][0].router.n_in,
    7: lambda: COUNTED.components["router"] / 32,
    8: lambda: COUNTED.total / 1e9,
    9: lambda: torch.tensor([2.0, 1.0, 0.0]).topk(2).values.softmax(0)[0].item(),
    10: lambda: total("Grok-1") / 1e9,
    12: lambda: COUNTED.total * 2 / 1000 / 1e9,
    13: lambda: total("Switch-C-2048") / 1e12,
    16: lambda: active("Grok-1") / 1e9,
    17: lambda: total("Llama-2-70B") / COUNTED.active,
    18: lambda: 2 * (0.74 * 0.377 + 0.26 * 0.623),
    19: lambda: accounting.expert_coverage(256, 8, 64),
    20: lambda: sum(times * moe.top_k for moe, times in MIXTRAL.moes),
    23: lambda: 1800 / 111,
    24: lambda: COUNTED.total / 1e12,
    25: lambda: (COUNTED.total - COUNTED.components["routed_experts"]) / 1e9,
    26: lambda: torch.bincount(torch.rand(100, 8).topk(2).indices.flatten(), minlength=8).sum().item(),
    27: lambda: MIXTRAL.moes[0][0].top_k,
    28: lambda: COUNTED.total / total("Mistral-7B"),
    29: widths,
    30: lambda: 256 / (1 + 3.01**2),
    34: even_loss,
    35: derivative,
    38: sparse_of_ten,
    39: decayed,
    42: bias_step,
    45: pooled,
    48: lambda: expert_capacity(4096, 8, 2, 1.0),
    50: lambda: total("Llama-2-70B") / COUNTED.active,
    51: first_choices,
    53: lambda: total("DeepSeek-V3") * 1 / 1e9,
    55: lambda: torch.zeros(8).sigmoid().sum().item(),
    56: lambda: 512 / 4,
    57: lambda: total("DeepSeek-V3") / active("DeepSeek-V3"),
    58: lambda: len(torch.rand(5, 8).argsort()[-2:]),
    59: lambda: torch.tensor(128.5, dtype=torch.bfloat16).item(),
    61: lambda: len(torch.bincount(torch.tensor([0, 2, 2, 1]))),
    64: lambda: accounting.decode_flops(MIXTRAL, 1).total / 1e9,
    66: lambda: layer_string(JAMBA).count("*"),
    68: lambda: accounting.describe("Qwen3-30B-A3B").moes[0][0].top_k,
    71: lambda: 2000 + int(f"{2401.04088:.5f}"[:2]),
    73: lambda: accounting.kv_cache_bytes_per_token(MIXTRAL) / 1024,
    74: lowest_loss,
    75: lambda: COUNTED.total / COUNTED.active,
    76: lambda: COUNTED.total / COUNTED.active,
}
CITED = {11, 22, 37, 40, 46, 54, 60, 63}
"""Numbers that a paper gives, or a lesson shows: nothing here computes them."""

NEEDS_TRANSFORMERS = {31}


@pytest.mark.parametrize("id", COMPUTED)
def test_what_puts_a_sentence_right_comes_out_of_a_computation(id):
    assert BY_ID[id].put_right_by(COMPUTED[id]())


def test_every_number_is_computed_or_said_to_be_cited():
    numbers = {one.id for one in SENTENCES if not one.paper}
    assert numbers == set(COMPUTED) | CITED | NEEDS_TRANSFORMERS
    assert not set(COMPUTED) & CITED


@pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="transformers is not installed")
def test_the_nllb_block_runs_two_experts_whatever_the_router_says():
    """A one-hot of a one-hot: the mask's values 0 and 1 are taken for the experts' numbers."""
    from transformers import NllbMoeConfig
    from transformers.models.nllb_moe.modeling_nllb_moe import NllbMoeSparseMLP

    torch.manual_seed(0)
    config = NllbMoeConfig(
        d_model=8, num_experts=6, expert_capacity=64, encoder_ffn_dim=16, router_bias=False
    )
    block = NllbMoeSparseMLP(config, 16).eval()
    ran = set()
    for name, expert in block.experts.named_children():
        expert.register_forward_hook(lambda *_, name=name: ran.add(name))
    hidden_BLD = torch.randn(2, 20, 8)
    with torch.no_grad():
        block(hidden_BLD)
        first_T = block.router(hidden_BLD.flatten(0, 1))[0].argmax(1)
    assert first_T.unique().numel() > 2  # its router chooses among more
    assert BY_ID[31].put_right_by(len(ran))
    assert ran == {"expert_0", "expert_1"}


def test_the_right_sentences_about_code_hold():
    logits_TE = torch.randn(100, 8, generator=torch.Generator().manual_seed(1))
    ids_TK = logits_TE.topk(2).indices
    assert torch.equal(ids_TK, logits_TE.softmax(-1).topk(2).indices)
    assert torch.equal(F.one_hot(ids_TK, 8).sum((0, 1)), torch.bincount(ids_TK.flatten(), minlength=8))


def test_the_fuller_expert_may_have_the_smaller_probability():
    """Sentence 18: one matrix of logits gives both."""
    n, leads = 100, 74
    logits_TE = torch.zeros(n, 2)
    logits_TE[:leads, 0] = 0.01
    logits_TE[leads:, 1] = 3.2
    f_E = torch.bincount(logits_TE.argmax(1), minlength=2) / n
    P_E = logits_TE.softmax(1).mean(0)
    assert f_E[0] > f_E[1]
    assert P_E[0] < P_E[1]
    loss = load_balancing_loss(logits_TE, logits_TE.argmax(1, keepdim=True))
    assert float(loss) == pytest.approx(float(2 * (f_E * P_E).sum()))
    assert loss < 1


# What a lesson says of a claim, and what may be said of a sentence about it: the wording decides.
FITS = {
    "correct": {"right", "wrong"},  # wrong: its opposite
    "imprecise": {"wrong", "depends", "unknown"},
    "outdated": {"wrong"},
    "wrong": {"wrong", "right"},
    "contested": {"depends", "right"},
    "unconfirmable": {"unknown"},
}
CLAIMS = {claim.id: claim for lesson in registry.lessons() for claim in lesson.claims}


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda sentence: f"sentence {sentence.id}")
def test_a_sentence_is_complete_and_agrees_with_the_lessons(sentence):
    assert sentence.page in PAGES
    assert sentence.verdict in VERDICTS
    assert sentence.asks.endswith("?")
    assert sentence.said.rstrip("*").endswith((".", "`"))
    assert sentence.answer
    assert all(map(sentence.put_right_by, sentence.answer))
    assert not any(map(sentence.put_right_by, sentence.quoted)) or sentence.verdict != "wrong"
    assert not sentence.paper or set(sentence.answer) <= set(PAPERS)
    for id in sentence.claims:
        if id in CLAIMS:  # lesson 13's are not written yet
            assert sentence.verdict in FITS[CLAIMS[id].verdict], (id, CLAIMS[id].said)


def test_all_that_the_lessons_found_wrong_is_among_them():
    settled = {id for one in SENTENCES if one.verdict == "wrong" for id in one.claims}
    assert {claim.id for claim in CLAIMS.values() if claim.verdict == "wrong"} <= settled
    settled = {id for one in SENTENCES if one.verdict == "unknown" for id in one.claims}
    assert {claim.id for claim in CLAIMS.values() if claim.verdict == "unconfirmable"} <= settled


def test_all_five_pages_and_public_code_err():
    assert {one.page for one in SENTENCES if one.verdict == "wrong"} == set(PAGES)


def test_ids_say_nothing_about_verdicts():
    assert [one.id for one in SENTENCES] == list(range(1, len(SENTENCES) + 1))
    wrong = [one.id for one in SENTENCES if one.verdict == "wrong"]
    assert abs(np.mean(wrong) - (len(SENTENCES) + 1) / 2) < 6


@pytest.mark.parametrize("seed", [0, 1, 7, 2**31 - 1])
def test_a_page_has_its_share_of_each_kind_and_no_sentence_twice(seed):
    parts = page(seed)
    assert len({one.id for part in parts.values() for one in part}) == 24
    for part in parts.values():
        assert {v: sum(one.verdict == v for one in part) for v in VERDICTS} == IN_A_PART
    assert any(one.verdict != two.verdict for one, two in zip(parts[1], parts[2], strict=True))


def test_every_sentence_comes_up():
    seen = {one.id for seed in range(60) for part in page(seed).values() for one in part}
    assert seen == set(BY_ID)


@pytest.mark.parametrize("seed", [-1, 1.5, 2**31, True, "7", None, math.nan])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match="whole number"):
        page(seed)


def test_a_wrong_sentence_without_an_answer_is_refused():
    with pytest.raises(ValueError, match="sentence 99"):
        Sentence(
            id=99,
            page="card",
            said="No.",
            asks="What?",
            verdict="wrong",
            truth="",
            source="",
            lesson="01",
        )


def test_papers_are_named_exactly():
    (soft,) = (one for one in SENTENCES if one.paper and 2308.00951 in one.answer)
    assert soft.put_right_by(2308.00951)
    assert not soft.put_right_by(2308.00950)
    assert not soft.put_right_by(math.nan)
