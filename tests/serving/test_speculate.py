"""Speculation changes nothing but the time: exact by enumeration, the same tokens, honest counts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons import ModelConfig
from moe_lessons.model import KVCache, MoETransformer, generate
from moe_lessons.serving import (
    ModelDraft,
    NGramDraft,
    accept,
    acceptance,
    distribution,
    early_exit,
    fewer_experts,
    speculative_generate,
)

SIZES = ModelConfig(
    n_layers=3, d_model=32, n_heads=4, n_kv_heads=2, d_expert=16, n_experts=8, top_k=3, context_length=48
)
MODEL = MoETransformer(SIZES, generator=torch.Generator().manual_seed(0)).eval()
PROMPT = torch.tensor([72, 101, 108, 108, 111])


def sharp(seed, scale=6.0):
    """A model whose next tokens are not all but equally likely."""
    model = MoETransformer(SIZES, generator=torch.Generator().manual_seed(seed)).eval()
    model.head.weight.data *= scale
    return model


def drawn(generator, *shape):
    return torch.rand(*shape, generator=generator).pow(2).softmax(-1)


def first_tokens(p_V, q_V, resolution=400):
    """The distribution of the first token that comes out, over all drafts and a grid of both chances."""
    V = len(p_V)
    found = torch.zeros(V, dtype=torch.double)
    grid = (torch.arange(resolution) + 0.5) / resolution
    p_HV = torch.stack([p_V, torch.full((V,), 1 / V)])
    for token in range(V):
        stays = sum(len(accept(p_HV, q_V[None], [token], [float(u), 0.5])) == 2 for u in grid) / resolution
        found[token] += float(q_V[token]) * stays
        if stays < 1:
            for u_last in grid:
                new = accept(p_HV, q_V[None], [token], [1 - 1e-9, float(u_last)])
                assert len(new) == 1
                found[new[0]] += float(q_V[token]) * (1 - stays) / resolution
    return found


@pytest.mark.parametrize("seed", range(3))
def test_what_comes_out_is_distributed_as_the_model_says(seed):
    generator = torch.Generator().manual_seed(seed)
    p_V, q_V = drawn(generator, 4), drawn(generator, 4)
    assert (first_tokens(p_V, q_V) - p_V).abs().max() < 0.01
    assert (p_V - q_V).abs().max() > 0.03  # the draft is not right by itself


def test_a_redraw_from_the_model_itself_would_be_wrong():
    p_V, q_V = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
    kept = acceptance(p_V, q_V)
    assert kept == pytest.approx(0.6)
    redrawn = torch.minimum(p_V, q_V) + (1 - kept) * p_V
    assert (redrawn - p_V).abs().max() > 0.1
    assert (first_tokens(p_V, q_V) - p_V).abs().max() < 0.01


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(0, 5), st.integers(2, 7))
def test_at_most_one_token_is_not_the_drafts(seed, gamma, n_tokens):
    generator = torch.Generator().manual_seed(seed)
    p_HV, q_GV = drawn(generator, gamma + 1, n_tokens), drawn(generator, gamma, n_tokens)
    drafted = torch.randint(n_tokens, (gamma,), generator=generator).tolist()
    u_H = torch.rand(gamma + 1, generator=generator).tolist()
    new = accept(p_HV, q_GV, drafted, u_H)
    assert 1 <= len(new) <= gamma + 1
    assert new[:-1] == drafted[: len(new) - 1]
    equal = torch.cat((q_GV, p_HV[-1:]))
    assert accept(equal, q_GV, drafted, u_H)[:-1] == drafted


def test_what_the_model_never_says_never_stays():
    p_HV = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    for u in (0.0, 0.5):
        assert accept(p_HV, torch.tensor([[1.0, 0.0]]), [0], [u, u]) == [1]


DRAFTS = {
    "fewer experts": lambda model: fewer_experts(model, 1),
    "as many experts": lambda model: fewer_experts(model, 3),
    "first layers": lambda model: early_exit(model, 1),
    "another model": lambda model: ModelDraft(sharp(5)),
    "a table": lambda model: NGramDraft(
        torch.randint(256, (3000,), generator=torch.Generator().manual_seed(1))
    ),
}


@pytest.mark.parametrize("name", DRAFTS)
@pytest.mark.parametrize("gamma", [0, 1, 3, 60])
def test_the_same_tokens_as_without(name, gamma):
    model = sharp(0)
    plain = generate(model, PROMPT, 40, temperature=0)
    tokens, counts = speculative_generate(model, DRAFTS[name](model), PROMPT, 40, gamma)
    assert torch.equal(tokens, plain)
    assert counts.written == 40
    assert counts.written == counts.accepted + counts.checks
    assert counts.drafted <= gamma * counts.checks
    if gamma == 0:
        assert counts.tokens_per_check == 1
        assert counts.experts_per_token == SIZES.top_k


def test_a_draft_that_is_the_model_is_always_right():
    model = sharp(0)
    _, counts = speculative_generate(model, ModelDraft(model), PROMPT, 40, 3)
    assert counts.accepted == counts.drafted
    assert counts.checks == 10


def test_a_draft_serves_one_text_after_another():
    model = sharp(0)
    draft = fewer_experts(model, 1)
    for prompt in (PROMPT, PROMPT.flip(0), PROMPT[:2], PROMPT):
        tokens, _ = speculative_generate(model, draft, prompt, 20, 3)
        assert torch.equal(tokens, generate(model, prompt, 20, temperature=0))


def test_sampled_tokens_have_the_models_frequencies():
    model, n = sharp(0), 400
    generator = torch.Generator().manual_seed(0)
    draft = early_exit(model, 1)
    p_V = distribution(model(PROMPT[None]).logits_BLV[0, -1], 1.0).detach()
    q_V = draft.propose(PROMPT.tolist(), 1, 1.0, generator)[1][0]
    likely = p_V.argmax()
    # Six standard deviations of the likeliest token's share; the draft's own would be out of it.
    band = 6 * float((p_V[likely] * (1 - p_V[likely]) / n).sqrt())
    assert abs(q_V[likely] - p_V[likely]) > band
    seen = 0
    for _ in range(n):
        tokens, _ = speculative_generate(model, draft, PROMPT, 2, 1, temperature=1.0, generator=generator)
        seen += int(tokens[len(PROMPT)] == likely)
    assert abs(seen / n - p_V[likely]) < band


def test_the_table_counts_what_followed():
    text = torch.tensor([0, 1, 2, 0, 1, 3, 0, 1, 2])
    draft = NGramDraft(text, n=2, vocab_size=4)
    p_V = draft.chances([0, 1])
    assert p_V.sum() == pytest.approx(1)
    # (0, 1) was followed by 2, 3, 2: c = 3, d = 2; shorter contexts have the rest of the weight.
    shorter = draft.chances([1])
    assert torch.allclose(p_V, (torch.tensor([0.0, 0, 2, 1]) + 2 * shorter) / 5)
    assert torch.allclose(draft.chances([3, 3]), draft.chances([3]))


def test_a_cache_is_cut_and_goes_on():
    cache = KVCache(8)
    k_BGLP = torch.randn(1, 2, 5, 4)
    cache.append(k_BGLP, k_BGLP)
    cache.cut(2)
    both, _ = cache.append(k_BGLP[:, :, :1], k_BGLP[:, :, :1])
    assert torch.equal(both, torch.cat((k_BGLP[:, :, :2], k_BGLP[:, :, :1]), dim=2))
    for length in (-1, 4):
        with pytest.raises(ValueError, match="choose 0 to 3"):
            cache.cut(length)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: speculative_generate(MODEL, d, PROMPT[:0], 3, 2), "prompt is empty"),
        (lambda d: speculative_generate(MODEL, d, PROMPT, -1, 2), "n=-1, gamma=2"),
        (lambda d: speculative_generate(MODEL, d, PROMPT, 3, -2), "n=3, gamma=-2"),
        (lambda d: speculative_generate(MODEL, d, PROMPT, 44, 2), "together at most context_length=48"),
        (
            lambda d: speculative_generate(MODEL, NGramDraft(PROMPT % 7, 1, 7), PROMPT, 4, 2),
            "draft has a vocabulary of 7",
        ),
        (lambda d: fewer_experts(MODEL, 4), "k=4: choose 1 to top_k=3"),
        (lambda d: early_exit(MODEL, 4), "n_layers=4: choose 1 to 3"),
        (lambda d: NGramDraft(PROMPT, n=5), "n=5 with 5 tokens"),
        (lambda d: NGramDraft(torch.arange(20), n=9), "choose a shorter context"),
        (lambda d: accept(torch.ones(2, 3), torch.ones(1, 4), [0], [0, 0]), "of one vocabulary"),
        (lambda d: accept(torch.ones(2, 3), torch.ones(1, 3), [0], [0]), "1 chances"),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(fewer_experts(MODEL, 1))
    assert "\n" not in str(error.value)
