import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.config import ModelConfig
from moe_lessons.data import as_tokens
from moe_lessons.model import MoETransformer, generate, generate_batch, parameter_counts
from moe_lessons.model.attention import Attention, KVCache, rotary_tables, rotate
from moe_lessons.model.generation import draw

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
        ({"n_dense_layers": -1}, "n_dense_layers=-1: choose 0 or more"),
        ({"n_dense_layers": 4}, "n_dense_layers=4: leaves none of n_layers=4 with experts; .* n_experts=1"),
        ({"moe_every": 5}, "moe_every=5: leaves none of n_layers=4 with experts; .* n_experts=1"),
        ({"moe_every": 0}, "moe_every=0: choose 1 or more"),
        ({"d_dense": 0}, "d_dense=0: choose 1 or more"),
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
    # Not bit for bit: other loads give other matrix shapes, and so other roundings.
    torch.testing.assert_close(before.logits_BLV[:, :15], after.logits_BLV[:, :15], atol=1e-5, rtol=1e-5)
    for position in range(15, 24):
        assert not torch.allclose(before.logits_BLV[:, position], after.logits_BLV[:, position])


def test_too_many_tokens(model):
    with pytest.raises(ValueError, match=r"L=25 tokens: give at most context_length=24"):
        model(torch.zeros(1, 25, dtype=torch.long))


@pytest.mark.parametrize("shape", [(3,), (1, 0), (0, 3), (1, 2, 3)])
def test_tokens_of_another_shape(model, shape):
    with pytest.raises(ValueError, match=r"tokens_BL has shape \(.*\): give \(B, L\), at least one token"):
        model(torch.zeros(shape, dtype=torch.long))


def test_the_loss_of_a_float64_model_is_not_rounded(tokens_BL):
    model = build().double()
    output = model(tokens_BL, tokens_BL)
    expected = F.cross_entropy(output.logits_BLV.flatten(0, 1), tokens_BL.flatten())
    torch.testing.assert_close(output.loss, expected, rtol=1e-14, atol=0)


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


@pytest.mark.parametrize(
    "changes", [{"tie_embeddings": True}, {"n_shared_experts": 1}, {"top_k": 1}, {"n_dense_layers": 1}]
)
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


def seen_from(n_prompt, n_tokens, context=24):
    """Where the window begins that token `n_tokens` is predicted from: half a context goes at once."""
    first = max(0, n_prompt - context)
    while n_tokens - first > context:
        first += context // 2
    return first


def test_greedy_generation_is_argmax_of_what_the_window_holds(model):
    prompt = as_tokens(b"The router")
    written = generate(model, prompt, 60, temperature=0)
    assert torch.equal(written[:10], prompt)
    for end in range(10, 70):
        logits_V = model(written[None, seen_from(10, end) : end]).logits_BLV[0, -1]
        assert logits_V.argmax() == written[end]


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_batch_writes_what_each_prompt_would_alone(model, use_cache):
    """Also where windows are full at different times, and with a prompt longer than the context."""
    prompts = [as_tokens(text) for text in (b"a", b"The router of", b"x" * 40, b"twenty and four tokens..")]
    alone = [generate(model, prompt, 50, temperature=0) for prompt in prompts]
    together = generate_batch(model, prompts, 50, temperature=0, use_cache=use_cache)
    assert all(map(torch.equal, alone, together))


def test_padding_that_is_seen_would_show(model, monkeypatch):
    """The negative control of the test before."""
    prompts = [as_tokens(b"a"), as_tokens(b"The router of")]
    alone = generate(model, prompts[0], 20, temperature=0)
    monkeypatch.setattr(model, "new_caches", lambda _: type(model).new_caches(model))
    assert not torch.equal(alone, generate_batch(model, prompts, 20, temperature=0)[0])


def test_rows_end_where_they_are_told_to(model):
    prompts = [as_tokens(b"a"), as_tokens(b"bcd")]
    whole = generate_batch(model, prompts, 12, temperature=0)
    seen = [[], []]

    def on_token(row, token):
        seen[row].append(token)
        return len(seen[row]) == (4, 7)[row]

    ended = generate_batch(model, prompts, 12, temperature=0, on_token=on_token)
    for row, (n, prompt) in enumerate(zip((4, 7), prompts, strict=True)):
        assert torch.equal(ended[row], whole[row][: len(prompt) + n])
        assert seen[row] == ended[row][len(prompt) :].tolist()


@settings(deadline=None)
@given(data=st.data())
def test_top_p_keeps_the_smallest_set_that_is_likely_enough(data):
    weights = data.draw(st.lists(st.integers(1, 1000), min_size=1, max_size=8, unique=True))
    top_p = data.draw(st.floats(0.01, 1.0))
    p_V = torch.tensor(weights, dtype=torch.float32) / sum(weights)
    order = p_V.argsort(descending=True).tolist()
    kept, total = [], 0.0
    for token in order:
        kept.append(token)
        total += p_V[token].item()
        if total >= top_p:
            break
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    drawn = {draw(p_V.log(), 1.0, top_p=top_p, generator=generator) for _ in range(40)}
    assert drawn <= {*kept, *order[: len(kept) + 1]}  # one more where rounding decides
    if abs(total - top_p) > 1e-4 and total - p_V[kept[-1]].item() < top_p - 1e-4:
        assert drawn <= {*kept}


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
    with pytest.raises(ValueError, match="n_tokens=-1: choose 0 or more"):
        generate(model, prompt, -1)
    with pytest.raises(ValueError, match="at least one token"):
        generate(model, as_tokens(b""), 1)
    with pytest.raises(ValueError, match=r"temperature=-1: choose 0"):
        generate(model, prompt, 1, temperature=-1)
    with pytest.raises(ValueError, match=r"temperature=inf: choose 0 .* and a finite number"):
        generate(model, prompt, 1, temperature=math.inf)
    for top_p in (0, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"top_p={top_p}: choose above 0 and at most 1"):
            generate(model, prompt, 1, top_p=top_p)
    with pytest.raises(ValueError, match="prompts is empty"):
        generate_batch(model, [], 1)
    with pytest.raises(ValueError, match=r"top_k=0: choose 1 to vocab_size=256"):
        generate(model, prompt, 1, top_k=0)


def test_targets_can_be_masked(model, tokens_BL):
    targets_BL = tokens_BL.clone()
    targets_BL[1] = -100
    output = model(tokens_BL, targets_BL)
    assert output.loss.item() == pytest.approx(F.cross_entropy(output.logits_BLV[0], tokens_BL[0]).item())


def test_dense_layers_are_where_they_are_asked_for(tokens_BL):
    changes = {"n_layers": 5, "n_dense_layers": 1, "moe_every": 2, "d_dense": 40}
    model = build(ModelConfig(**{**SMALL.__dict__, **changes}))
    assert [type(block).__name__ for block in model.blocks] == ["DenseBlock", "Block"] * 2 + ["DenseBlock"]
    assert len(model.moe_layers) == len(model(tokens_BL).routings) == 2
    total, active = parameter_counts(model)
    attention = 32 * 32 * 2 + 32 * 16 * 2
    expert, router, norms = 3 * 32 * 16, 32 * 8, 2 * 32
    outside = 2 * 256 * 32 + 32 + 5 * (attention + norms) + 3 * (3 * 32 * 40)
    assert total == outside + 2 * (8 * expert + router)
    assert active == outside + 2 * (2 * expert + router)
    assert "layers=5 (2 with experts)" in repr(model)


def test_a_dense_block_is_the_formula(tokens_BL):
    block = build(ModelConfig(**{**SMALL.__dict__, "n_dense_layers": 1})).blocks[0].double()
    stream_BLD = torch.randn(2, 6, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tables = tuple(table.double() for table in rotary_tables(6, 8, 10_000.0))
    after_BLD = stream_BLD + block.attention(block.attention_norm(stream_BLD), *tables)
    normed_BLD = after_BLD / (after_BLD.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    gate_BLF, up_BLF = (normed_BLD @ block.ffn.gate_up_proj.T).chunk(2, dim=-1)
    expected = after_BLD + (gate_BLF * gate_BLF.sigmoid() * up_BLF) @ block.ffn.down_proj.T
    result, routing = block(stream_BLD, *tables)
    torch.testing.assert_close(result, expected)
    assert routing is None


@pytest.mark.parametrize(("top_k", "n_shared_experts"), [(1, 0), (2, 0), (2, 1)])
def test_a_dense_layer_has_what_a_token_meets_in_a_moe_layer(top_k, n_shared_experts):
    changes = {"top_k": top_k, "n_shared_experts": n_shared_experts, "n_dense_layers": 1}
    dense, sparse = build(ModelConfig(**{**SMALL.__dict__, **changes})).blocks
    router = sparse.moe.router.weight.numel()
    assert sum(p.numel() for p in dense.ffn.parameters()) == sparse.moe.n_parameters()[1] - router


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_cached_steps_are_the_whole_run(data):
    """However the tokens are cut into steps, attention in float64 sees what it sees in one run."""
    n_kv_heads = data.draw(st.sampled_from([1, 2, 4]))
    attention = Attention(ModelConfig(**{**SMALL.__dict__, "n_kv_heads": n_kv_heads})).double()
    steps = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    L, B = sum(steps), data.draw(st.integers(1, 3))
    cos_LP, sin_LP = (table.double() for table in rotary_tables(L, 8, 10_000.0))
    hidden_BLD = torch.randn(B, L, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(L))
    whole_BLD = attention(hidden_BLD, cos_LP, sin_LP)
    cache = KVCache(capacity=L + data.draw(st.integers(0, 3)))
    start, parts = 0, []
    for step in steps:
        now = slice(start, start + step)
        parts.append(attention(hidden_BLD[:, now], cos_LP[now], sin_LP[now], cache))
        start += step
    torch.testing.assert_close(torch.cat(parts, 1), whole_BLD, atol=1e-12, rtol=0)
    assert cache.length == L


@pytest.mark.parametrize("changes", [{}, {"n_dense_layers": 1}, {"n_shared_experts": 1}, {"n_kv_heads": 4}])
def test_cached_logits_are_those_of_the_whole_run(changes, tokens_BL):
    model = build(ModelConfig(**{**SMALL.__dict__, **changes})).eval()
    with torch.no_grad():
        whole_BLV = model(tokens_BL).logits_BLV
        caches, logits = model.new_caches(), []
        for part_BL in tokens_BL.split([9, 1, 1, 6, 7], dim=1):
            logits.append(model(part_BL, caches=caches).logits_BLV)
    error = (torch.cat(logits, 1) - whole_BLV).abs().max()
    assert error < 1e-5 * whole_BLV.abs().max()  # these weights make large logits
    with pytest.raises(ValueError, match=r"L=1 tokens after 24 cached: give at most context_length=24"):
        model(tokens_BL[:, :1], caches=caches)


def test_a_wrong_position_is_seen(model, tokens_BL):
    """The negative control: a decode step that forgets how many tokens came before."""
    caches = model.new_caches()
    with torch.no_grad():
        model(tokens_BL[:, :9], caches=caches)
        right = model(tokens_BL[:, :10]).logits_BLV[:, 9]
        attention = model.blocks[0].attention
        hook = attention.register_forward_pre_hook(
            lambda _, given: (given[0], model.cos_LP[:1], model.sin_LP[:1], given[3])
        )
        wrong = model(tokens_BL[:, 9:10], caches=caches).logits_BLV[:, 0]
        hook.remove()
    assert (wrong - right).abs().max() > 1e-2


def test_a_cache_has_an_end():
    cache = KVCache(capacity=3)
    cache.append(*torch.zeros(2, 1, 1, 2, 4))
    with pytest.raises(ValueError, match="capacity is 3: a cache of 4 tokens needs more"):
        cache.append(*torch.zeros(2, 1, 1, 2, 4))
    assert repr(cache) == "KVCache(length=2, capacity=3)"


@pytest.mark.parametrize("n_prompt", [1, 10, 23, 24, 25, 40])
def test_generation_with_and_without_cache(model, n_prompt, monkeypatch):
    """Equal tokens, also where the window begins to slide; and the cache does save work."""
    prompt = torch.randint(256, (n_prompt,), generator=torch.Generator().manual_seed(n_prompt))
    lengths = []
    embed = model.embedding.forward
    monkeypatch.setattr(
        model.embedding, "forward", lambda tokens_BL: lengths.append(tokens_BL.shape[1]) or embed(tokens_BL)
    )
    cached = generate(model, prompt, 20, temperature=0)
    with_cache, lengths = lengths, []
    assert torch.equal(cached, generate(model, prompt, 20, temperature=0, use_cache=False))
    starts = [seen_from(n_prompt, n_prompt + step) for step in range(20)]
    assert lengths == [n_prompt + step - start for step, start in enumerate(starts)]
    assert with_cache == [
        length if step == 0 or starts[step] != starts[step - 1] else 1 for step, length in enumerate(lengths)
    ]
    assert sum(with_cache) < n_prompt + 20 + 24


def test_generation_of_nothing_returns_the_prompt(model):
    prompt = as_tokens(b"abc")
    assert torch.equal(generate(model, prompt, 0), prompt)
