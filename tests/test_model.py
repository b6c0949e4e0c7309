import math

import pytest
import torch
import torch.nn.functional as F

from moe_lessons.attention import Attention, rotary_tables, rotate
from moe_lessons.config import ModelConfig
from moe_lessons.data import as_tokens
from moe_lessons.generate import generate
from moe_lessons.model import MoETransformer, parameter_counts

SMALL = ModelConfig(n_layers=2, d_model=32, n_heads=4, n_kv_heads=2, d_expert=16, context_length=24)


def build(config=SMALL, seed=0):
    model = MoETransformer(config, generator=torch.Generator().manual_seed(seed))
    # Larger weights than at the start of training, so that a leak would show.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    return model


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture
def tokens_BL():
    return torch.randint(256, (2, 24), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_k": 9}, "top_k=9: choose 1 to n_experts=8"),
        ({"top_k": 0}, "top_k=0: choose 1 or more"),
        ({"d_model": 130}, "d_model=130: choose a multiple of n_heads=4, such as 128"),
        ({"d_model": 132, "n_heads": 4}, "d_model=132: rotary positions need an even d_model / n_heads"),
        ({"n_kv_heads": 3}, "n_kv_heads=3: choose a divisor of n_heads=4"),
        ({"n_layers": 0}, "n_layers=0: choose 1 or more"),
        ({"n_shared_experts": -1}, "n_shared_experts=-1: choose 0 or more"),
        ({"rope_theta": 0.0}, "rope_theta=0.0: choose a positive number"),
    ],
)
def test_sizes_that_do_not_fit_name_argument_value_and_remedy(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ModelConfig(**changes)


def test_an_unknown_gate_is_refused():
    with pytest.raises(ValueError, match="gate"):
        MoETransformer(ModelConfig(gate="nonsense"))


def test_shapes_loss_and_routings(model, tokens_BL):
    output = model(tokens_BL[:, :-1], tokens_BL[:, 1:])
    assert output.logits_BLV.shape == (2, 23, 256)
    assert len(output.routings) == 2
    assert output.routings[1].logits_TE.shape == (46, 8)
    by_hand = -output.logits_BLV.log_softmax(-1).gather(2, tokens_BL[:, 1:, None]).mean()
    assert output.loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert model(tokens_BL).loss is None


def test_a_new_model_is_undecided(tokens_BL):
    loss = MoETransformer(SMALL)(tokens_BL[:, :-1], tokens_BL[:, 1:]).loss
    assert loss.item() == pytest.approx(math.log(256), abs=0.5)


def test_later_tokens_change_nothing_before_them(model, tokens_BL):
    before = model(tokens_BL)
    changed_BL = tokens_BL.clone()
    changed_BL[:, 15] = (changed_BL[:, 15] + 1) % 256
    after = model(changed_BL)
    assert torch.equal(before.logits_BLV[:, :15], after.logits_BLV[:, :15])
    for position in range(15, 24):
        assert not torch.allclose(before.logits_BLV[:, position], after.logits_BLV[:, position])


def test_too_many_tokens(model):
    with pytest.raises(ValueError, match=r"L=25 tokens: give at most context_length=24"):
        model(torch.zeros(1, 25, dtype=torch.long))


def test_attention_is_the_textbook_formula():
    torch.manual_seed(0)
    attention = Attention(SMALL).double()
    hidden_BLD = torch.randn(2, 6, 32, dtype=torch.float64)
    cos_LP, sin_LP = (table.double() for table in rotary_tables(6, 8, 10_000.0))
    heads = []
    for head in range(4):
        group = head // 2
        q = hidden_BLD @ attention.q_proj.weight[head * 8 : head * 8 + 8].T
        k = hidden_BLD @ attention.k_proj.weight[group * 8 : group * 8 + 8].T
        v = hidden_BLD @ attention.v_proj.weight[group * 8 : group * 8 + 8].T
        q, k = rotate(q[:, None], cos_LP, sin_LP)[:, 0], rotate(k[:, None], cos_LP, sin_LP)[:, 0]
        scores = q @ k.mT / math.sqrt(8)
        scores = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), -math.inf)
        heads.append(scores.softmax(-1) @ v)
    expected = torch.cat(heads, -1) @ attention.o_proj.weight.T
    torch.testing.assert_close(attention(hidden_BLD, cos_LP, sin_LP), expected)


def test_rotary_scores_depend_on_distance_only():
    cos_LP, sin_LP = rotary_tables(20, 8, 100.0)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0)).expand(2, 1, 1, 20, 8)
    scores_LL = (rotate(q, cos_LP, sin_LP) @ rotate(k, cos_LP, sin_LP).mT)[0, 0]
    for distance in (0, 3, 11):
        diagonal = scores_LL.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)


def test_it_computes_what_mixtral_computes(tokens_BL):
    transformers = pytest.importorskip("transformers")
    config = SMALL
    theirs = transformers.MixtralForCausalLM(
        transformers.MixtralConfig(
            vocab_size=256,
            hidden_size=config.d_model,
            intermediate_size=config.d_expert,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_kv_heads,
            num_local_experts=config.n_experts,
            num_experts_per_tok=config.top_k,
            rms_norm_eps=config.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            sliding_window=None,
            tie_word_embeddings=False,
        )
    ).eval()
    ours = build()
    names = {
        "embedding.": "model.embed_tokens.",
        "blocks.": "model.layers.",
        "attention_norm": "input_layernorm",
        "attention.": "self_attn.",
        "moe_norm": "post_attention_layernorm",
        "moe.router.": "mlp.gate.",
        "moe.": "mlp.",
        "final_norm": "model.norm",
        "head.": "lm_head.",
    }
    state = {}
    for name, tensor in ours.state_dict().items():
        for mine, other in names.items():
            name = name.replace(mine, other)
        state[name] = tensor
    theirs.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens_BL).logits_BLV, theirs(tokens_BL).logits, atol=1e-4, rtol=1e-4)


def test_parameters_are_counted_and_shown(model):
    total, active = parameter_counts(model)
    attention = 32 * 32 * 2 + 32 * 16 * 2
    expert, router, norms = 3 * 32 * 16, 32 * 8, 2 * 32
    embeddings = 2 * 256 * 32 + 32
    assert total == embeddings + 2 * (attention + 8 * expert + router + norms)
    assert active == embeddings + 2 * (attention + 2 * expert + router + norms)
    assert f"parameters={total:,}, active={active:,} per token" in repr(model)


@pytest.mark.parametrize("changes", [{"tie_embeddings": True}, {"n_shared_experts": 1}, {"top_k": 1}])
def test_variants_train(changes, tokens_BL):
    model = MoETransformer(ModelConfig(**{**SMALL.__dict__, **changes}))
    model(tokens_BL[:, :-1], tokens_BL[:, 1:]).loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    total, active = parameter_counts(model)
    assert active < total == sum(parameter.numel() for parameter in model.parameters())


def test_the_generator_determines_the_weights():
    for mine, again, other in zip(
        build().parameters(), build().parameters(), build(seed=1).parameters(), strict=True
    ):
        assert torch.equal(mine, again)
        assert mine.ndim == 1 or not torch.equal(mine, other)


def test_greedy_generation_is_argmax_of_the_whole_context(model):
    prompt = as_tokens(b"The router")
    written = generate(model, prompt, 20, temperature=0)
    assert torch.equal(written[:10], prompt)
    for end in range(10, 30):
        logits_V = model(written[None, max(0, end - 24) : end]).logits_BLV[0, -1]
        assert logits_V.argmax() == written[end]


def test_generation_is_seeded_and_leaves_the_mode(model):
    model.train()
    prompt = as_tokens(b"a")
    drawn = [
        generate(model, prompt, 30, temperature=1.0, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert model.training
    one = generate(model, prompt, 8, temperature=1.0, top_k=1)
    assert torch.equal(one, generate(model, prompt, 8, temperature=0))


def test_generation_refuses_nonsense(model):
    prompt = as_tokens(b"a")
    with pytest.raises(ValueError, match="at least one token"):
        generate(model, as_tokens(b""), 1)
    with pytest.raises(ValueError, match=r"temperature=-1: choose 0"):
        generate(model, prompt, 1, temperature=-1)
    with pytest.raises(ValueError, match=r"top_k=0: choose 1 to vocab_size=256"):
        generate(model, prompt, 1, top_k=0)


def test_targets_can_be_masked(model, tokens_BL):
    targets_BL = tokens_BL.clone()
    targets_BL[1] = -100
    output = model(tokens_BL, targets_BL)
    assert output.loss.item() == pytest.approx(F.cross_entropy(output.logits_BLV[0], tokens_BL[0]).item())
