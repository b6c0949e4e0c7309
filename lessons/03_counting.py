# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("03_counting")

# %% [markdown]
# A model card says "8x7B", "47B", "13B active". Three numbers, and from none of them can you tell which GPU
# you need, how long a token takes, or what training costs. They answer different questions, and some of them
# are answered wrongly all over the web.
#
# This lesson takes the numbers apart. A model has three costs, and each follows something else:
#
# - **memory** follows all parameters, and the context,
# - **computation** follows the parameters that a token touches, and the context,
# - **bytes moved** follows how many tokens are worked on together.
#
# All of it is multiplication. You need no GPU, and no model is built: its config is enough. Sizes are given
# in billions, as on model cards: 46.7 B is 46.7 · 10⁹.

# %%
import torch

from moe_lessons import svg
from moe_lessons.accounting import (
    count,
    decode_flops,
    decode_read_bytes,
    describe,
    expert_coverage,
    kv_cache_bytes,
    prefill_flops,
    published,
    training_bytes,
    training_flops,
    weight_bytes,
)

torch.set_num_threads(1)
BILLION = 1e9  # also the G of GB and GFLOP

# %% [markdown]
# ## From the config to the last parameter
#
# `published()` knows the configs of many models, each with its source. `describe` reads one of them, or any
# Hugging Face `config.json` of a family that it knows. `count` does the arithmetic. Here is Mixtral-8x7B
# (arXiv 2401.04088, table 1) beside Mistral-7B (arXiv 2310.06825, table 1), which has the same layers with
# one FFN each:

# %%
moe_model, dense_model = count(describe("Mixtral-8x7B")), count(describe("Mistral-7B"))
print(f"{'':<16}{'Mistral-7B':>16}{'Mixtral-8x7B':>18}{'one token uses':>18}")
for part in moe_model.components:
    if moe_model.components[part] or dense_model.components[part]:
        three = (dense_model.components[part], moe_model.components[part], moe_model.active_components[part])
        print(f"{part:<16}{three[0]:>16,}{three[1]:>18,}{three[2]:>18,}")
print(f"{'sum':<16}{dense_model.total:>16,}{moe_model.total:>18,}{moe_model.active:>18,}")

# %% [markdown]
# Look at the rows. The *embedding* is a table with one vector for each word of the vocabulary; the *head* is
# the last matrix, which turns the final hidden state into a score for each word. Both, attention and the
# norms are equal in the two models, to the last parameter. The `dense_ffn` of one has become the
# `routed_experts` of the other. And there is a router, so small that rounding could hide it. Before you
# compute the ratios:

# %% tags=["nbval-ignore-output"] why="widget"
predict("03.ratio")

# %%
ffn_ratio = moe_model.components["routed_experts"] / dense_model.components["dense_ffn"]
ffn_active_ratio = moe_model.active_components["routed_experts"] / dense_model.components["dense_ffn"]
total_ratio, active_ratio = moe_model.total / dense_model.total, moe_model.active / dense_model.active
print(f"the FFNs alone:   {ffn_ratio:.2f} times the parameters, {ffn_active_ratio:.2f} times the active ones")
print(f"the whole model:  {total_ratio:.2f} times the parameters, {active_ratio:.2f} times the active ones")

# %%
reveal("03.ratio")
rest_equal = all(
    moe_model.components[part] == dense_model.components[part]
    for part in ("embedding", "head", "attention", "norms")
)
claim("L26", "correct", holds=ffn_ratio == describe("Mixtral-8x7B").moes[0][0].n_experts and rest_equal)
claim("L27", "correct", holds=ffn_active_ratio == 2 and ffn_active_ratio / ffn_ratio == 2 / 8)
claim("L28", "wrong", holds=round(total_ratio, 2) == 6.45 and round(active_ratio, 2) == 1.78)

# %% [markdown]
# So the sentence "8 times the parameters for 2 times the compute" is true of the FFN and false of the model.
#
# ### What the name does not say
#
# The name 8x7B suggests 56 billion, and there is a second trap in it: Mistral-7B has 7.24 billion, so
# eight of them would be more than 56.

# %%
experts, around = (
    moe_model.components["routed_experts"],
    moe_model.total - moe_model.components["routed_experts"],
)
print(f"8 x 7                   = {8 * 7:.1f} B")
eight, two = 8 * dense_model.total / BILLION, 2 * dense_model.total / BILLION
print(f"8 x Mistral-7B          = {eight:.1f} B;   2 x Mistral-7B = {two:.1f} B")
whole = moe_model.total / BILLION
print(f"experts + all the rest  = {experts / BILLION:.2f} B + {around / BILLION:.2f} B = {whole:.2f} B")
print(f"with two matrices in each expert:  {(around + experts * 2 / 3) / BILLION:.1f} B")

# %% tags=["nbval-ignore-output"] why="image"
from moe_lessons.explore.calculator.view import waterfall

waterfall("Mixtral-8x7B")

# %%
claim("L29", "wrong", holds=around > 1.6e9 and moe_model.total == experts + around)
claim(
    "L127",
    "correct",
    holds=round(8 * dense_model.total / BILLION, 1) == 57.9
    and round(moe_model.total / BILLION, 1) == 46.7
    and round(moe_model.active / BILLION, 1) == 12.9,
)
claim("L104", "correct", holds=(moe_model.total, moe_model.active) == (46_702_792_704, 12_879_925_248))

# %% [markdown]
# ### Three matrices
#
# And 31.7 B, the last line that was printed? That is what you get if you take an expert for a classical FFN
# with two matrices, and you will meet that number. The experts of these models are *gated*:
# `down(silu(gate(x)) * up(x))` needs three.

# %%
matrices = {}
for name in ("Mixtral-8x7B", "DeepSeek-V3", "Qwen3-30B-A3B"):
    moe, _ = describe(name).moes[0]
    matrices[name] = sum(m.copies for m in moe.expert)
    shapes = ", ".join(f"{m.copies} x [{m.n_out}, {m.n_in}]" for m in moe.expert)
    print(f"{name:<14} {matrices[name]} matrices per expert: {shapes}")

# %%
claim("L113", "correct", holds=set(matrices.values()) == {3})

# %% [markdown]
# Now you: first one block, then the whole model. For that you need the sizes of two other parts (lesson 10
# explains what they do). *Attention* has several heads of width `d_head`. One matrix makes the queries of all
# heads from the hidden state, one the keys, one the values, and a fourth leads from all query heads back to
# the hidden state. To save memory, several query heads share one key head and one value head (*grouped-query
# attention*): Mixtral has 32 and 8. An *RMSNorm* has one weight for each number of the hidden state.

# %% [markdown]
# {{exercise 03.swiglu_moe_params}}


# %% answer="03.swiglu_moe_params"
def swiglu_moe_params(d_model, d_expert, n_experts, d_shared):
    """Return the number of parameters of one MoE block without biases.

    d_model: D. d_expert: F, hidden width of a routed expert. n_experts: E.
    d_shared: hidden width of the one shared expert, 0 if there is none.
    Returns an int.
    """
    ### BEGIN SOLUTION
    routed = n_experts * 3 * d_model * d_expert
    router = n_experts * d_model
    shared = 3 * d_model * d_shared
    return routed + router + shared
    ### END SOLUTION


# %%
check("03.swiglu_moe_params")

# %% [markdown]
# {{exercise 03.mixtral}}


# %% answer="03.mixtral"
def mixtral(vocab_size, d_model, n_layers, n_heads, n_kv_heads, d_head, d_expert, n_experts, top_k):
    """Return total and active parameters of a model built like Mixtral.

    All arguments are whole numbers from the config; d_head need not be d_model / n_heads.
    Returns (total, active), two ints; active counts embedding and head in full.
    """
    ### BEGIN SOLUTION
    expert = 3 * d_model * d_expert
    attention = d_model * d_head * (2 * n_heads + 2 * n_kv_heads)
    layer = attention + n_experts * d_model + 2 * d_model
    outside = 2 * vocab_size * d_model + d_model
    total = outside + n_layers * (layer + n_experts * expert)
    active = outside + n_layers * (layer + top_k * expert)
    return total, active
    ### END SOLUTION


# %%
check("03.mixtral")

# %% [markdown]
# ## Twenty-seven models
#
# The same arithmetic for 27 published models, with the publisher's own figures beside it:

# %%
NAMES = ["Mixtral-8x7B", "Mixtral-8x22B", "Qwen3-30B-A3B", "Qwen3-235B-A22B", "Qwen1.5-MoE-A2.7B"]
NAMES += ["Qwen2-57B-A14B", "OLMoE-1B-7B", "DBRX", "Phi-3.5-MoE", "gpt-oss-20b", "gpt-oss-120b"]
NAMES += ["DeepSeek-V2-Lite", "DeepSeek-V2", "DeepSeek-V3", "Kimi-K2", "GLM-4.5", "GLM-4.5-Air"]
NAMES += ["Llama-4-Scout", "Llama-4-Maverick", "Grok-1"]
NAMES += [f"Switch-Base-{n_experts}" for n_experts in (8, 16, 32, 64, 128, 256)] + ["Switch-C-2048"]

counted = {name: count(describe(name)) for name in NAMES}
print(f"{'':<18}{'E, K':>9}{'total':>20}{'active':>17}{'ratio':>7}   published: total / active")
for name, c in counted.items():
    moe, _ = describe(name).moes[0]
    card = published()[name]
    said = f"{card.published_total.split(' (')[0]} / {card.published_active.split(' (')[0]}"
    print(
        f"{name:<18}{f'{moe.n_experts}, {moe.top_k}':>9}{c.total:>20,}{c.active:>17,}"
        f"{c.total / c.active:>7.1f}   {said[:38]}"
    )

# %% [markdown]
# The same numbers as a picture. Both axes are logarithmic, so models with the same ratio lie on a line. Start
# at the lower left: Switch-Base, with 8, 16, 32, 64, 128 and 256 experts, of which a token takes one.

# %%
ratios = {name: c.total / c.active for name, c in counted.items()}

# %% draw=true
from moe_lessons.svg.plots import picture, scatter_figure

few, most = min(ratios, key=ratios.get), max(ratios, key=ratios.get)
NAMED = {few, most, "Switch-Base-256", "Mixtral-8x22B", "Grok-1", "Kimi-K2"}


def group(least: int, at_most: int) -> list[str]:
    return [name for name in NAMES if least <= describe(name).moes[0][0].n_experts <= at_most]


groups = {"8 or 16 experts": group(8, 16), "32 to 2048 experts": group(32, 2048)}
picture(
    scatter_figure(
        {
            kind: ([counted[n].active / BILLION for n in names], [counted[n].total / BILLION for n in names])
            for kind, names in groups.items()
        },
        labels={kind: [n if n in NAMED else "" for n in names] for kind, names in groups.items()},
        ratios=[1, 10, 100, 1000],
        title=f"Total over active: {ratios[few]:.1f} in {few}, {ratios[most]:.0f} in {most}",
        x_label="active parameters (billions)",
        y_label="total parameters (billions)",
    ),
    alt=(
        f"{len(NAMES)} models, total over active parameters, both axes logarithmic. Six Switch-Base models "
        "stand one above the other at 0.2 billion active. Most others lie near the line of ratio 10, those "
        "with 8 or 16 experts below it. Switch-C-2048 alone is near 1000."
    ),
)

# %% [markdown]
# More experts move a model straight up: more to store, and nothing more to compute but the router's scores.
# How far up the extra experts still help is no question of counting.

# %%
v3, grok, switch = (counted[n] for n in ("DeepSeek-V3", "Grok-1", "Switch-C-2048"))

claim("L30", "correct", holds=min(ratios.values()) > 2.7)
claim("L37", "correct", holds=min(ratios.values()) > 2.7 and round(max(ratios.values())) == 909)
claim(
    "L31",
    "correct",
    holds=round(v3.total / v3.active, 1) == 17.9
    and round(v3.total / v3.active_excl_input_embedding, 1) == 18.3,
)

# %% [markdown]
# ### Your counter on every model
#
# How far do nine numbers get? We take those that your `mixtral` asks for from every published model with
# experts in `published()`, as if it were built like Mixtral. What else a model has, the nine numbers do not
# say, and the course's `count` reads it from the config. Each model goes to the first kind that fits it.

# %%
HEADS = (  # three of the nine numbers, under the names that configs give them
    ("num_attention_heads", "n_heads", "num_q_heads", "num_heads"),
    ("num_key_value_heads", "kv_n_heads", "num_kv_heads", "num_heads"),
    ("head_dim", "v_head_dim", "key_size", "d_kv"),
)


def nine_numbers(name):
    """What a counter of models like Mixtral asks for; None where the config has no such number."""
    m, config = describe(name), published()[name].config
    config = config | config.get("attn_config", {})
    n_heads, n_kv_heads, d_head = (next((config[f] for f in names if f in config), None) for names in HEADS)
    moe, _ = m.moes[0]
    outside = m.vocab_size, m.d_model, m.n_layers, n_heads, n_kv_heads, d_head or m.d_model // n_heads
    return *outside, moe.expert[-1].n_in, moe.n_experts, moe.top_k


def attention_of(name):
    """Which kind of attention a model has."""
    layers = [layer for layer, _ in describe(name).layers]
    attentions = [layer.attention for layer in layers if layer.attention]
    if any(layer.encoder for layer in layers):
        return "an encoder beside the decoder"
    fields = published()[name].config.keys()
    if fields & {"q_lora_rank", "kv_lora_rank"}:
        return "latents (MLA)" + (", few positions read" if "index_topk" in fields else "")
    if any(attention.state_elements for attention in attentions):
        return "a state in place of most attention"
    if any(read.limit for attention in attentions for read in attention.reads):
        return "windows in some layers"
    return "grouped queries, as Mixtral"


def kind_of(name):
    """The first thing about a model that the nine numbers do not say."""
    m, parts = describe(name), mixtures[name].components
    if sum(matrix.copies for matrix in m.moes[0][0].expert) != 3:
        return "two matrices in an expert"
    if attention_of(name).startswith(("latents", "a state")):
        return attention_of(name)
    if parts["dense_ffn"]:
        return "dense layers, mostly with shared experts"
    if parts["shared_experts"]:
        return "shared experts"
    return "one table for embedding and head" if m.tied else "as Mixtral, to biases and small norms"


def by_kind(kind_of, **columns):
    """Print how far own numbers are from the course's, for each kind of model: lowest to highest ratio."""
    print(f"{'':<43}{'models':>6}" + "".join(f"{label:>18}" for label in columns))
    names = sorted(next(iter(columns.values())), key=lambda name: (kind_of(name), name))
    for kind in dict.fromkeys(map(kind_of, names)):
        of_kind = [name for name in names if kind_of(name) == kind]
        spans = [
            f"{min(r[n] for n in of_kind):.3f} to {max(r[n] for n in of_kind):.3f}" for r in columns.values()
        ]
        print(f"{kind:<43}{len(of_kind):>6}" + "".join(f"{span:>18}" for span in spans))


# %%
whole_model = yours("03.mixtral")
mixtures = {name: count(describe(name)) for name in published() if describe(name).moes}
asked = {name: nine_numbers(name) for name in mixtures}
own = {name: whole_model(*numbers) for name, numbers in asked.items() if None not in numbers}
over_total = {name: total / mixtures[name].total for name, (total, _) in own.items()}
over_active = {name: active / mixtures[name].active for name, (_, active) in own.items()}

print(f"{whole_model.label}, as a multiple of the course's count")
by_kind(kind_of, total=over_total, active=over_active)
exact = [name for name, pair in own.items() if pair == (mixtures[name].total, mixtures[name].active)]
near = [name for name in own if abs(over_total[name] - 1) < 1e-3 and abs(over_active[name] - 1) < 1e-3]
print(f"Of {len(mixtures)} models it counts {len(exact)} to the last parameter: {', '.join(exact)};")
print(f"{len(near)} to 0.1 %. Without nine numbers: {', '.join(n for n in mixtures if n not in own)}.")
one = "dots.llm1"
print(f"{one}: {over_total[one]:.4f} of all parameters, {over_active[one]:.2f} of the active ones")

# %% draw=true tags=["nbval-ignore-output"] why="image"
kinds = sorted({kind_of(name) for name in own})
svg.dot_rows(
    {kind: [over_active[name] for name in own if kind_of(name) == kind] for kind in kinds},
    title="Nine numbers are enough for models like Mixtral, and for no other kind",
    x_label=f"active parameters: {whole_model.label} / the course's count",
    dot_label="a model",
    value_format="{:.2f}",
    width=720,
    caption="At 1.0 the two agree. Left of it something is missing, right of it there is something too much.",
)

# %% [markdown]
# Look at dots.llm1, in the last line. Its total comes out right to 0.1 %, and its active count is off by 15
# %. It has two shared experts that the nine numbers know nothing of. Beside 128 routed experts they hardly
# show; beside the 6 that a token chooses they are a quarter. A total that comes out right proves little.
#
# Your other function counts one block, shared experts included. So what does it make of the same models,
# layer for layer? Where it agrees, you know all about the block, and what else was missed lies outside it.

# %%
block = yours("03.swiglu_moe_params")


def block_ratio(name):
    """One block by your function over the same block in the course's description."""
    m, moe = describe(name), describe(name).moes[0][0]
    d_shared = max((matrix.n_in for matrix in moe.shared if matrix.n_out == m.d_model), default=0)
    held = moe.router_parameters + moe.n_experts * moe.expert_parameters
    held += sum(matrix.parameters for matrix in moe.shared)
    return block(m.d_model, moe.expert[-1].n_in, moe.n_experts, d_shared) / held


over_block = {name: block_ratio(name) for name in mixtures}
agreeing = [name for name, ratio in over_block.items() if abs(ratio - 1) < 1e-3]
print(f"{block.label} gives the block of {len(agreeing)} of {len(mixtures)} models to 0.1 %; it does not for")
for name in mixtures:
    if name not in agreeing:
        print(f"  {name:<24} {over_block[name]:.2f} times as many")

# %% [markdown]
# **Change this.** Mixtral with finer experts: cut each one into eight of an eighth of the width, and let a
# token choose eight times as many (64 experts, 16 chosen, width 1,792). What happens to the two counts?
# Then set `TOP_K` back to 2: how much of what a token uses is still experts?

# %% change=true
# Change these and run the cell again.
N_EXPERTS = 8
TOP_K = 2
D_EXPERT = 14336

finer_total, finer_active = whole_model(32000, 4096, 32, 32, 8, 128, D_EXPERT, N_EXPERTS, TOP_K)
_, no_experts = whole_model(32000, 4096, 32, 32, 8, 128, D_EXPERT, N_EXPERTS, 0)
print(
    f"{TOP_K} of {N_EXPERTS} experts, width {D_EXPERT:,}: {finer_total:,} parameters, {finer_active:,} active"
)
print(f"({1 - no_experts / finer_active:.0%} of these in experts)")

# %% [markdown] only="solutions"
# Both counts grow by the same 7,340,032 in 46.7 billion: 56 more router rows of width 4,096 in each of 32
# layers. Nothing else has changed, and a token can now be given any 16 of 64 experts in place of any 2 of
# 8. With `TOP_K = 2` a token uses 3.0 billion, and only 47 % of them are experts. Attention and the two
# tables do not shrink with K, so in a very sparse model they are the larger half.

# %% only="solutions"
rerun("N_EXPERTS = 64; TOP_K = 16; D_EXPERT = 1792", "N_EXPERTS = 64; D_EXPERT = 1792")

# %% [markdown]
# ### Names and experts
#
# Names are no help. "16x3.8B" (Phi-3.5-MoE) multiplies to 60.8 and the model has 41.9 billion. "A3B" in
# Qwen3-30B-A3B stands for 3.35. Only the config counts. It also says how *fine-grained* the experts are, that
# is, how narrow and how many; Mixtral has 8 of width 14,336:

# %%
fine_grained = {}
for name in ("DeepSeek-V2-Lite", "DeepSeek-V2", "DeepSeek-V3"):
    moe, _ = describe(name).moes[0]
    fine_grained[name] = (moe.n_experts, moe.expert[-1].n_in)
    print(f"{name:<17} {moe.n_experts:3d} experts of width {moe.expert[-1].n_in}, {moe.top_k} for a token")

# %%
claim(
    "L108",
    "correct",
    holds=(v3.total, v3.active_excl_input_embedding) == (671_026_404_352, 36_625_603_584)
    and fine_grained["DeepSeek-V3"] == (256, 2048),
)
claim("L109", "correct", holds=min(n_experts for n_experts, _ in fine_grained.values()) >= 64)

# %% [markdown]
# ### The largest ones
#
# Billions and trillions, as they are quoted:

# %%
for name in ("Mixtral-8x7B", "Grok-1", "Kimi-K2", "Switch-C-2048"):
    print(f"{name:<14} {counted[name].total / 1e12:.3f} trillion")

# %%
claim("L110", "correct", holds=int(grok.non_embedding / BILLION) == 314)
claim("L112", "correct", holds=int(switch.total / BILLION) == 1571)
claim(
    "L114",
    "wrong",
    holds=counted["Mixtral-8x7B"].total < 0.05e12 and min(switch.total, counted["Kimi-K2"].total) > 1e12,
)

# %% [markdown]
# ### Who came first?
#
# Two claims about Mixtral are about history rather than size. An arXiv number says when a paper appeared: the
# first two digits are the year.

# %%
papers = {"Switch": "2101.03961", "NLLB-MoE": "2207.04672", "Mixtral": "2401.04088"}
years = {name: 2000 + int(number[:2]) for name, number in papers.items()}
print("  ".join(f"{name} {year}" for name, year in years.items()))

# %%
claim(
    "L105",
    "wrong",
    holds=papers["Mixtral"] in published()["Mixtral-8x7B"].source and years["Mixtral"] == 2024,
)
claim("L107", "imprecise", holds=max(years["Switch"], years["NLLB-MoE"]) < years["Mixtral"])

# %% [markdown]
# ## What does "active" mean?
#
# Look at the column "active" again, at gpt-oss-120b: 5.71 billion by our count, 5.13 on its card. Neither is
# a mistake. A token *looks up* one row of the input embedding. Should the whole table count? There are three
# conventions, and most cards do not say which is theirs:
#
# - everything a token touches, with embedding and head in full,
# - without the input embedding, since looking up multiplies nothing,
# - without embedding and head: what the layers do.
#
# We let each published figure speak. A convention *fits* if it gives the figure rounded or cut off at its
# last digit.

# %%
CARDS = {
    "Mixtral-8x7B": "12.9",
    "Mixtral-8x22B": "39.1",
    "OLMoE-1B-7B": "1.3",
    "Qwen3-30B-A3B": "3.3",
    "Qwen3-235B-A22B": "22",
    "Phi-3.5-MoE": "6.6",
    "gpt-oss-20b": "3.61",
    "gpt-oss-120b": "5.13",
    "DeepSeek-V2-Lite": "2.4",
    "DeepSeek-V3": "37",
    "Kimi-K2": "32.6",
    "GLM-4.5": "32",
}  # billions, from the cards and papers that published() names


def fits(value, figure):
    """Whether a count gives this figure, rounded or cut off."""
    digits = len(figure.partition(".")[2])
    return f"{value / BILLION:.{digits}f}" == figure or int(value / BILLION * 10**digits) == round(
        float(figure) * 10**digits
    )


def conventions(c):
    return c.active, c.active_excl_input_embedding, c.active_excl_embed_and_head


print(f"{'':<18}{'card':>6}{'all':>10}{'no input':>11}{'no in/head':>12}   (billions; * fits the card)")
fitting = {}
for name, figure in CARDS.items():
    values = conventions(counted[name])
    fitting[name] = [fits(v, figure) for v in values]
    marks = [f"{v / BILLION:.2f}{'*' if ok else ' '}" for v, ok in zip(values, fitting[name], strict=True)]
    print(f"{name:<18}{figure:>6}{marks[0]:>10}{marks[1]:>11}{marks[2]:>12}")

# %%
for i, label in enumerate(("all", "without input embedding", "without embedding and head")):
    print(f"{label:<27} fits {sum(f[i] for f in fitting.values()):2d} of {len(fitting)} cards")
none_fits = [name for name, f in fitting.items() if not any(f)]
print(f"no convention fits: {', '.join(none_fits)}")

# %%
claim(
    "L38",
    "correct",
    holds=fitting["Mixtral-8x7B"] == [True, False, False] and fitting["gpt-oss-120b"] == [False, True, False],
)

# %% [markdown]
# Kimi-K2's report says 32.6 billion, and none of the three conventions gives it. We do not know what was
# counted. That is a result too: write down what you can reproduce, and say what you cannot.
#
# Two more cards need care. The repository of DeepSeek-V3 says 36.7 B "including" both embedding and head;
# with both it is 37.55. And the GLM-4.5 report says that its figures leave out embedding and head but include
# a prediction layer that we do not count (arXiv 2508.06471, table 1); that two of our columns fit all the
# same is luck.
#
# Then there is a number that no publisher gave. Grok-1 is said to use 86 B. Its embedding is tied, so one can
# count it not at all, once, or twice:

# %%
table = grok.components["embedding"]
grok_counts = [grok.active_excl_embed_and_head, grok.active, grok.active + table]
print("Grok-1, active:", ", ".join(f"{n / BILLION:.2f} B" for n in grok_counts))

# %%
claim("L111", "wrong", holds=all(n < 85e9 for n in grok_counts))

# %% tags=["nbval-ignore-output"] why="widget"
quiz("03.q_convention")

# %% [markdown]
# ## FLOPs
#
# A weight meets a token once: one multiplication, one addition, two FLOPs. So a token costs about twice the
# active parameters, the input embedding left out (arXiv 2001.08361, section 2.1). Attention adds a part that
# no parameter count shows: every head multiplies the token's query with all earlier keys, and sums up as many
# values.

# %%
model = describe("Mixtral-8x7B")
print("Mixtral-8x7B, GFLOP for one new token")
print(f"{'context':>9}{'layers':>9}{'head':>7}{'attention':>11}{'in all':>8}   in all / 2 x active")
for context in (1, 4096, 32768, 131072):
    f = decode_flops(model, context)
    parts = (f.matrices / BILLION, f.head / BILLION, f.context / BILLION, f.total / BILLION)
    ratio = f.total / (2 * counted["Mixtral-8x7B"].active_excl_input_embedding)
    print(f"{context:>9,}{parts[0]:>9.1f}{parts[1]:>7.2f}{parts[2]:>11.2f}{parts[3]:>8.1f}{ratio:>12.2f}")

# %% [markdown]
# With little context, "twice the active parameters" is right. At 4,096 tokens it misses 8 %, and at 131,072,
# more than Mixtral was made for, attention costs more than twice as much as all weights together.
#
# "A model of 13B FLOPs" is therefore wrong by its unit. Parameters are a count, FLOP an amount of work,
# FLOP/s the speed of a machine. What was meant is 25.5 GFLOP per token.
#
# **Training** runs forward, and then backward, which forms two products for each one: the gradient of the
# input and that of the weight. Three times the forward pass, hence the rule of six FLOPs per parameter and
# token. Where layers are run a second time to save memory, it is four.

# %%
one = prefill_flops(model, 4096).total
print(f"Mixtral, 4,096 tokens, per token: forward {one / BILLION:.1f} GFLOP, training", end=" ")
print(f"{training_flops(model, 4096).total / one:.2f} times that, with recomputation", end=" ")
print(f"{training_flops(model, 4096, recompute=True).total / one:.2f} times")

gflop = decode_flops(model, 1).total / BILLION
dense_671 = 2 * v3.total / BILLION
sparse_671 = decode_flops(describe("DeepSeek-V3"), 1).total / BILLION
print(f"DeepSeek-V3 {sparse_671:.0f} GFLOP per token; a dense model of its size {dense_671:.0f}, ", end="")
print(f"{dense_671 / sparse_671:.0f} times as much")

# %%
claim(
    "L36",
    "imprecise",
    holds=round(gflop, 1) == 25.5 and round(weight_bytes(model, "bf16") / BILLION, 1) == 93.4,
)
claim(
    "L32",
    "correct",
    holds=weight_bytes(describe("DeepSeek-V3")) == 2 * v3.total and dense_671 / sparse_671 > 17,
)

# %% [markdown]
# {{exercise 03.flops_per_token}}


# %% answer="03.flops_per_token"
def flops_per_token(total, active, embedding, n_layers, n_heads, d_head, n_positions):
    """Return the FLOPs of one token in inference and in a training step.

    total, active: parameters. embedding: those of the input embedding, which are part of active.
    n_positions: how many positions the token's attention sees in every layer.
    Returns (inference, training), two ints.
    """
    ### BEGIN SOLUTION
    weights = active - embedding
    attention = n_layers * n_heads * n_positions * 2 * d_head
    inference = 2 * (weights + attention)
    return inference, 3 * inference
    ### END SOLUTION


# %%
check("03.flops_per_token")

# %% [markdown]
# Your function on all of these models at a context of 32,768, beside the course's `decode_flops`. It gets the
# parameters from `count`, so what differs now is attention alone.

# %%
flops_of = yours("03.flops_per_token")
over_flops = {}
for name, c in mixtures.items():
    m, (_, _, n_layers, n_heads, _, d_head, *_) = describe(name), asked[name]
    looked_up = 0 if m.tied else c.components["embedding"]  # a tied table is multiplied with, as head
    inference, _ = flops_of(c.total, c.active, looked_up, n_layers, n_heads, d_head, 32768)
    over_flops[name] = inference / decode_flops(m, 32768).total

print(f"{flops_of.label}, as a multiple of the course's count")
by_kind(attention_of, FLOPs=over_flops)
print(f"within 1 %: {sum(abs(ratio - 1) < 0.01 for ratio in over_flops.values())} of {len(over_flops)}")

# %% [markdown]
# The formula is right where every layer looks at all positions. A window or a state costs less than it
# says, and so does an index that picks a few positions; an encoder does not run again for each new token.
# Latents alone cost *more* in decode, because each head then multiplies with the whole latent. They are
# cheap in bytes instead, as you will see.

# %% [markdown]
# **Change this.** From which context on does attention in Mixtral cost as much as all the weights? And what
# do its shared key-value heads save of these FLOPs: what if each of the 32 query heads had its own?

# %% change=true
# Change these and run the cell again.
CONTEXT = 4096
N_KV_HEADS = 8

kv_total, kv_active = whole_model(32000, 4096, 32, 32, N_KV_HEADS, 128, 14336, 8, 2)
with_context, _ = flops_of(kv_total, kv_active, 32000 * 4096, 32, 32, 128, CONTEXT)
without, _ = flops_of(kv_total, kv_active, 32000 * 4096, 32, 32, 128, 0)
print(f"{N_KV_HEADS} key-value heads, context {CONTEXT:,}: weights {without / BILLION:.1f} GFLOP,", end=" ")
print(f"attention to the context {(with_context - without) / BILLION:.1f} GFLOP")

# %% [markdown] only="solutions"
# At about 48,600 tokens the two are level. And shared key-value heads save nothing here: with
# `N_KV_HEADS = 32` attention to the context costs exactly the same, since every query head multiplies with
# every key, whoever else uses that key. (The weights cost 1.6 GFLOP more.) What they save is memory, as the
# section on the cache shows.

# %% only="solutions"
rerun("CONTEXT = 48_600", "N_KV_HEADS = 32")

# %% [markdown]
# ## Bytes
#
# Weights first. Every parameter is held, chosen or not, and its dtype decides how many bytes it takes. MXFP4
# stores 32 weights in 4 bits each with one 8-bit scale, 4.25 bits a weight; gpt-oss uses it for its experts
# and keeps the rest in bf16 (arXiv 2508.10925, section 2.1). The column `mxfp4` does so with the others too.
#
# 1 GB is 10⁹ bytes here. A GiB is 2³⁰ bytes, 7 % more, and many tools print GiB under the name GB.

# %%
print(f"{'GB':<18}{'fp32':>9}{'bf16':>9}{'fp8':>9}{'mxfp4':>9}   training, 16 bytes a parameter")
for name in ("Mistral-7B", "Mixtral-8x7B", "Llama-2-70B", "gpt-oss-120b", "DeepSeek-V3"):
    m = describe(name)
    sizes = [weight_bytes(m, dtype) / BILLION for dtype in ("fp32", "bf16", "fp8", "mxfp4")]
    if not m.moes:
        sizes[3] = float("nan")  # of a dense model, the course packs nothing
    shown = "".join(f"{'-':>9}" if size != size else f"{size:>9,.1f}" for size in sizes)
    print(f"{name:<18}{shown}{training_bytes(m, tokens=0).total / BILLION:>12,.0f}")

# %% [markdown]
# The last column is the usual mixed precision with AdamW: weights and gradients in bf16, an fp32 copy of the
# weights and two fp32 moments (arXiv 1910.02054, section 3.1). It is held for *all* parameters. Training
# FLOPs follow the active ones, training memory follows the total. Take the model that an explainer invents,
# 140 B of which 14 B are active:

# %%
hypothetical = {"MoE, 140 B / 14 B active": (140e9, 14e9), "dense, 14 B": (14e9, 14e9)}
for name, (total, active) in hypothetical.items():
    print(
        f"{name:<26} {6 * active / BILLION:.0f} GFLOP per training token, {16 * total / 1e12:.2f} TB of state"
    )
same_flops = len({6 * active for _, active in hypothetical.values()}) == 1
state_ratio = hypothetical["MoE, 140 B / 14 B active"][0] / hypothetical["dense, 14 B"][0]

# %%
claim("L35", "imprecise", holds=same_flops and state_ratio == 10)

# %% [markdown]
# Its training takes as many FLOPs as the dense model's, and ten times the memory for them. How long it takes
# is a third question: routing, communication and small matrix products cost time that no FLOP count contains.
# Lesson 08 measures that.
#
# ### The cache
#
# Attention keeps a key and a value of every token that it may look at again, the **KV cache**: in Mixtral 8
# heads of width 128, twice, in 32 layers, two bytes each.

# %%
per_token = kv_cache_bytes(model, context=1)
print(f"Mixtral keeps {per_token:,} bytes per token, that is {per_token // 1024} KiB")
weights_gb = weight_bytes(model) / BILLION
for batch in (1, 4, 16):
    cache = kv_cache_bytes(model, 32768, batch) / BILLION
    verdict = "fits on" if weights_gb + cache < 160 else "does not fit on"
    print(f"weights {weights_gb:.1f} GB + {batch:2d} texts of 32,768 tokens {cache:5.1f} GB", end="")
    print(f" = {weights_gb + cache:5.1f} GB: {verdict} two GPUs of 80 GB")

# %%
claim(
    "L99",
    "correct",
    holds=per_token == 128 * 1024
    and weights_gb < 160 < weights_gb + kv_cache_bytes(model, 32768, 16) / BILLION,
)

# %% [markdown]
# Each token adds little. But it adds for as long as the text goes on, and for every text at once. From what
# context on does this cache outweigh the weights that a token uses?

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import Calculator

calculator = Calculator(ask=False)
predict("03.cache", unlocks=calculator)

# %% [markdown]
# The calculator starts with Mixtral. Bytes and FLOPs are dots there, on axes where each line is ten times the
# one before. Drag the context until the third dot of the bytes lies right of the second. Then set the cache
# to what MLA keeps, DeepSeek's multi-head latent attention: one latent of 512 numbers and a rotary key of 64
# for each token and layer, instead of keys and values for every head (arXiv 2405.04434, section 2.1.2). After
# that, find out with one drag each what E buys, what K buys, and what context buys.

# %% tags=["nbval-ignore-output"] why="widget"
calculator

# %%
from moe_lessons.explore.calculator.state import Params, simulate

for label, params in (("as published", Params()), ("as with MLA ", Params(latent_cache=True))):
    state = simulate(params)
    print(f"cache {label}: outweighs {state.active_bytes / BILLION:.1f} GB of active weights from", end=" ")
    print(f"{state.outweighs_at:,} tokens on")

# %%
reveal("03.cache")

# %% tags=["nbval-ignore-output"] why="image"
from moe_lessons.explore.calculator.view import crossing

crossing()

# %% [markdown]
# Sixteen texts get there sixteen times sooner: each has a cache of its own, and the weights are shared. That
# is why published models keep fewer key-value heads, latents, or a sliding window. None of it depends on the
# experts: E buys memory, K buys FLOPs, context buys cache.

# %% [markdown]
# {{exercise 03.memory}}


# %% answer="03.memory"
def memory(total, active, n_layers, n_heads, n_kv_heads, d_head, context, batch, weight_bits, cache_bits):
    """Return the size of the weights and of the KV cache in GB (10**9 bytes).

    total, active: parameters. context: tokens in each text. batch: texts.
    weight_bits, cache_bits: bits of one weight and of one cached number.
    Returns (weights_gb, cache_gb), two floats.
    """
    ### BEGIN SOLUTION
    weights = total * weight_bits / 8
    cache = n_layers * 2 * n_kv_heads * d_head * context * batch * cache_bits / 8
    return weights / 1e9, cache / 1e9
    ### END SOLUTION


# %%
check("03.memory")

# %% [markdown]
# And once more all models: the cache of one text of 32,768 tokens, by your function and by the course's
# `kv_cache_bytes`. Where the ratio is far above 1, a model keeps less than its heads suggest.

# %%
size_of = yours("03.memory")
over_cache = {}
for name, c in mixtures.items():
    _, _, n_layers, n_heads, n_kv_heads, d_head, *_ = asked[name]
    n_kv_heads = n_kv_heads or n_heads
    _, cache_gb = size_of(c.total, c.active, n_layers, n_heads, n_kv_heads, d_head, 32768, 1, 16, 16)
    over_cache[name] = cache_gb * BILLION / kv_cache_bytes(describe(name), 32768)

print(f"{size_of.label}, as a multiple of the course's count")
by_kind(attention_of, cache=over_cache)
print(f"DeepSeek-V3 keeps {over_cache['DeepSeek-V3']:.0f} times less than a key and a value for each head")

# %% [markdown]
# **Change this.** Mixtral on *one* GPU of 80 GB, texts of 32,768 tokens. In bf16 the weights alone do not
# fit. How many texts fit with 4-bit weights? Then spend another bit: 3 bits for the weights, or 8 for the
# cache?

# %% change=true
# Change these and run the cell again.
WEIGHT_BITS = 16
CACHE_BITS = 16

here = moe_model.total, moe_model.active
weights_gb, cache_gb = size_of(*here, 32, 32, 8, 128, 32768, 1, WEIGHT_BITS, CACHE_BITS)
room = max(0, int((80 - weights_gb) / cache_gb))
print(f"weights {weights_gb:.1f} GB, cache {cache_gb:.2f} GB a text: {room} texts fit on 80 GB")

# %% [markdown] only="solutions"
# With 4-bit weights 13 texts fit. One more bit from the weights makes 14; half of the cache's bits make 26.
# Once the weights fit with room to spare, the room is taken by the cache, and that is where saving pays.

# %% only="solutions"
rerun("WEIGHT_BITS = 4", "WEIGHT_BITS = 3", "WEIGHT_BITS = 4; CACHE_BITS = 8")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("03.q_gb")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("03.q_double")

# %% [markdown]
# ## A batch reads them all
#
# To make one token, the GPU has to *read* the weights that the token uses. At one token a time that takes far
# longer than to multiply with them. So decoding is a matter of bytes, and servers decode many texts together:
# a weight that is read once then serves them all. In a dense model this costs nothing extra. And with
# experts?

# %% tags=["nbval-ignore-output"] why="widget"
predict("03.batch")

# %% [markdown]
# Let n tokens choose K of E experts at random and count the different ones. A token leaves a given expert out
# with probability $1 - K/E$, and all n do with $(1 - K/E)^n$. That makes $E\,(1 - (1 - K/E)^n)$ on average.
# The formula beside two hundred draws:


# %%
def touched(n_experts, top_k, batch, draws=200, likeness=0.0, seed=0):
    """Different experts that a batch touches, averaged over draws; at likeness 1 all tokens choose alike."""
    generator = torch.Generator().manual_seed(seed)
    common_R1E = torch.randn(draws, 1, n_experts, generator=generator)
    own_RBE = torch.randn(draws, batch, n_experts, generator=generator)
    logits_RBE = likeness**0.5 * common_R1E + (1 - likeness) ** 0.5 * own_RBE
    ids_RBK = logits_RBE.topk(top_k, dim=-1).indices
    hit_RE = torch.zeros(draws, n_experts, dtype=torch.bool).scatter_(1, ids_RBK.flatten(1), True)
    return hit_RE.sum(dim=1).float().mean().item()


BATCHES = (1, 4, 8, 16, 32, 64, 128, 256)
print(f"{'tokens':>7}   Mixtral, 2 of 8      DeepSeek-V3, 8 of 256")
print(f"{'':>7}   formula  counted      formula  counted   tokens that choose alike")
gaps, alike = [], []
for batch in BATCHES:
    row = []
    for n_experts, top_k in ((8, 2), (256, 8)):
        row += [expert_coverage(n_experts, top_k, batch), touched(n_experts, top_k, batch)]
    gaps += [abs(row[0] - row[1]) / 8, abs(row[2] - row[3]) / 256]
    alike.append(touched(256, 8, batch, likeness=0.5))
    print(f"{batch:>7}   {row[0]:7.1f}  {row[1]:7.1f}      {row[2]:7.0f}  {row[3]:7.0f}   {alike[-1]:10.0f}")
measured("largest gap between formula and count, of the experts", max(gaps), below=0.01, unit="%")

# %%
reveal("03.batch")

# %% draw=true tags=["nbval-ignore-output"] why="image"
from moe_lessons.svg.plots import curve_figure

picture(
    curve_figure(
        {
            "2 of 8": (BATCHES, [100 * expert_coverage(8, 2, b) / 8 for b in BATCHES]),
            "8 of 256": (BATCHES, [100 * expert_coverage(256, 8, b) / 256 for b in BATCHES]),
            "8 of 256, alike": (BATCHES, [100 * a / 256 for a in alike]),
        },
        title="A few dozen tokens that choose at random touch most experts of a layer",
        x_label="tokens decoded together",
        y_label="experts touched (%)",
        log_y=False,
    ),
    alt=(
        "Share of a layer's experts that a batch touches, over 1 to 256 tokens, logarithmic. 2 of 8 rises "
        "from 25 % to 99 % at 16 tokens; 8 of 256 from 3 % to 40 % at 16 and 87 % at 64; with tokens that "
        "choose alike it rises more slowly."
    ),
)

# %% [markdown]
# **Change this.** 64 tokens touch most of 256 experts if they choose at random. How alike must they be
# until half of the experts stay untouched? (`LIKENESS` is 0 for tokens that have nothing in common and 1
# for equal ones.)

# %% change=true
# Change these and run the cell again.
LIKENESS = 0.0
TOKENS = 64
TOP_K = 8

found = touched(256, TOP_K, TOKENS, draws=50, likeness=LIKENESS)
print(f"{TOKENS} tokens, likeness {LIKENESS:g}: they touch {found / 256:.0%} of 256 experts")

# %% [markdown] only="solutions"
# Not very: between a likeness of 0.3 (55 % are touched) and 0.5 (39 %). But a larger batch makes up for it.
# 256 tokens of likeness 0.5 touch 57 % again.

# %% only="solutions"
rerun("LIKENESS = 0.3", "LIKENESS = 0.5", "LIKENESS = 0.5; TOKENS = 256")

# %% [markdown]
# Real routers are uneven and similar tokens choose alike, so fewer are touched, as in the last column. It
# slows the rise and does not stop it. At 64 chats a server with Mixtral reads nearly the whole model for
# each step. The *computation* is still that of 12.9 billion per token. So is the cost that of the active
# parameters or that of all? That depends on the batch, as the next section shows.

# %% [markdown]
# ## MoE or dense?
#
# Now we can settle the arguments. A **roofline** is the simplest model of a step: it takes as long as the
# slower of two things, reading the bytes or computing the FLOPs. We take an H100 from its data sheet, 3.35
# TB/s and 989 TFLOP/s in bf16, and pretend that everything fits and nothing else takes time. Real steps are
# slower. The ratios are what we look at, and the KV cache, which all of them need, is left out.

# %%
READ, COMPUTE = 3.35e12, 989e12  # bytes/s and FLOP/s, NVIDIA H100 SXM data sheet


def step_ms(total, active, batch, read_bytes=None):
    """Time of one decode step for `batch` tokens, in bf16; a dense model reads all of itself."""
    read = 2 * total if read_bytes is None else read_bytes
    return 1000 * max(read / READ, 2 * active * batch / COMPUTE)


active, total = counted["Mixtral-8x7B"].active, counted["Mixtral-8x7B"].total
llama = count(describe("Llama-2-70B")).total
BATCH_SIZES = [round(2 ** (i / 4)) for i in range(4, 49)]  # 2 to 4096
BATCH_SIZES = sorted({1, *BATCH_SIZES})
times = {
    "Mixtral": [step_ms(total, active, b, decode_read_bytes(model, b, context=0)) for b in BATCH_SIZES],
    "dense, equal active": [step_ms(active, active, b) for b in BATCH_SIZES],
    "dense, equal total": [step_ms(total, total, b) for b in BATCH_SIZES],
    "Llama-2-70B": [step_ms(llama, llama, b) for b in BATCH_SIZES],
}

# %% draw=true tags=["nbval-ignore-output"] why="image"
picture(
    curve_figure(
        {name: (BATCH_SIZES, row) for name, row in times.items()},
        title="Among dozens of tokens Mixtral costs what its total size costs",
        x_label="tokens decoded together",
        y_label="ms per step",
        height=400,
    ),
    alt=(
        "Time of one decode step over 1 to 4096 tokens, both axes logarithmic. Each dense model is flat "
        "while reading its weights decides and rises when computing does. Mixtral begins with the small "
        "dense model, climbs to the one of equal total by 16 tokens, stays with it, and meets the small one "
        "again near 1024."
    ),
)

# %% [markdown]
# Follow the line of Mixtral from left to right. One text at a time: it is as fast as a dense model of its
# active size, and much faster than one of its total size. Among a dozen or more it reads nearly all its
# experts and takes over three times as long as the small dense model. From about a thousand on the FLOPs
# decide, and it is level with the small one again. The stretch in between is where a server with some
# dozens of chats works. The same in five numbers:

# %%
at_batch = {
    b: {name: row[BATCH_SIZES.index(b)] for name, row in times.items()} for b in (1, 16, 64, 256, 1024)
}
print(f"{'Mixtral, batch':<41}" + "".join(f"{b:>7}" for b in at_batch))
slower = {b: row["Mixtral"] / row["dense, equal active"] for b, row in at_batch.items()}
faster = {b: row["Llama-2-70B"] / row["Mixtral"] for b, row in at_batch.items()}
print(f"{'times as slow as dense, equal active':<41}" + "".join(f"{x:7.1f}" for x in slower.values()))
print(f"{'times as fast as Llama-2-70B':<41}" + "".join(f"{x:7.1f}" for x in faster.values()))

# %% [markdown]
# **Change this.** Take a GPU that reads twice as fast. Does the stretch shrink in which Mixtral is the
# slower one? And one that computes twice as fast? Guess both before you look.

# %% change=true
# Change these and run the cell again.
TB_PER_SECOND = 3.35
TFLOPS = 989

behind = []
for b in BATCH_SIZES:
    read_s = decode_read_bytes(model, b, context=0) / (TB_PER_SECOND * 1e12)
    dense_s = max(2 * active / (TB_PER_SECOND * 1e12), 2 * active * b / (TFLOPS * 1e12))
    slowdown = max(read_s, 2 * active * b / (TFLOPS * 1e12)) / dense_s
    behind += [b] if slowdown > 1.5 else []
print(f"more than 1.5 times as slow as a dense model of equal active size: batch {behind[0]} to {behind[-1]}")

# %% [markdown] only="solutions"
# Reading twice as fast, the stretch ends at half the batch, 304 in place of 609. Computing twice as fast
# makes it *longer*, up to 1,218: the dense model, too, then waits for its bytes up to a larger batch, and
# it has fewer of them. In the stretch between, only faster reading helps.

# %% only="solutions"
rerun("TB_PER_SECOND = 6.7", "TFLOPS = 1978")

# %%
equal_total = {b: row["dense, equal total"] / row["Mixtral"] for b, row in at_batch.items()}
few, many = expert_coverage(256, 8, 16), expert_coverage(256, 8, 64)
claim(
    "L41",
    "imprecise",
    holds=max(gaps) < 0.01
    and (round(few), round(many)) == (102, 222)
    and max(slower[1], slower[1024]) < 1.05
    and slower[64] > 3,
)
claim("L124", "contested", holds=slower[1] > 0.98 and equal_total[1] > 3)
claim(
    "L123",
    "correct",
    holds=slower[1024] < 1.05 and equal_total[1024] > 2.5 and faster[1024] > 4 and equal_total[1] > 1,
)

# %% [markdown]
# ### Per byte of memory
#
# A server's memory is what you pay for, so look at the tokens per second that each byte of weights brings. A
# dense model of the same size is set to 1:

# %%
per_byte_active = {b: active / (slower[b] * total) for b in at_batch}  # it holds fewer bytes
print(f"{'tokens/s per byte held, batch':<41}" + "".join(f"{b:>7}" for b in at_batch))
print(f"{'against equal active':<41}" + "".join(f"{x:7.2f}" for x in per_byte_active.values()))
print(f"{'against equal total':<41}" + "".join(f"{x:7.2f}" for x in equal_total.values()))

# %%
claim("L42", "imprecise", holds=max(per_byte_active.values()) < 1 <= min(equal_total.values()))
claim(
    "L40",
    "contested",
    holds=total / active > 3.6 and total < llama and decode_flops(model, 1).total < 2 * llama,
)

# %% [markdown]
# ### Per unit of quality
#
# Whether the MoE saves anything depends on what you hold it against: a dense model of equal *active* size, of
# equal *total* size, or of equal *quality*. In many an argument about MoE two people compare with different
# ones.
#
# Equal quality is the comparison that matters, and the one we cannot compute. What the Mixtral paper
# measured, in its table 2 (percent, Llama-2-70B and Mixtral):

# %%
TABLE_2 = {
    "MMLU": (69.9, 70.6),
    "HellaSwag": (85.4, 84.4),
    "WinoGrande": (80.4, 77.2),
    "PIQA": (82.6, 83.6),
    "Arc-e": (79.9, 83.1),
    "Arc-c": (56.5, 59.7),
    "NQ": (25.4, 30.6),
    "TriviaQA": (73.0, 71.5),
    "HumanEval": (29.3, 40.2),
    "MBPP": (49.8, 60.7),
    "Math": (13.8, 28.4),
    "GSM8K": (69.6, 74.4),
}  # arXiv 2401.04088, table 2
lost = [name for name, (dense, moe) in TABLE_2.items() if moe < dense]
print(f"Mixtral is ahead on {len(TABLE_2) - len(lost)} of {len(TABLE_2)}; behind on {', '.join(lost)}")

# %%
claim("L106", "correct", holds=len(lost) == 3 and len(lost) < len(TABLE_2) / 2)
claim("L39", "imprecise", holds=round(llama / active, 2) == 5.36 and faster[16] < 2 < faster[1])
claim("L43", "contested", holds=min(faster.values()) < 1.6 and max(faster.values()) > 5 and slower[64] > 3)

# %% [markdown]
# ### Does quality follow the total?
#
# More experts at equal active size do help. How much? Kimi-K2's report
# varied the **sparsity**, E/K, from 8 to 48 and asked how many FLOPs each needs for the same loss (arXiv
# 2507.20534, section 2.3). At 48 it took 1.69, 1.39 and 1.15 times fewer than at 8, 16 and 32:

# %%
import math

saved = {8: 1.69, 16: 1.39, 32: 1.15}
for sparsity, factor in saved.items():
    exponent = math.log(factor) / math.log(48 / sparsity)
    print(
        f"{48 / sparsity:.1f} times the experts saved {factor:.2f} times the FLOPs: exponent {exponent:.2f}"
    )
exponents = [math.log(f) / math.log(48 / s) for s, f in saved.items()]
per_flop = total / decode_flops(model, 1).total
print(f"parameters held per FLOP of a token: Mixtral {per_flop:.2f}, a dense model 0.50")

# %%
claim(
    "L34",
    "contested",
    holds=min(exponents) > 0 and max(exponents) < 0.5 and slower[64] > 3,
)
claim(
    "L33",
    "correct",
    holds=per_flop > 3 * 0.5 and total / active > 3.6 and slower[64] > 3,
)

# %% [markdown]
# An exponent of 1 would mean that twice the experts save half of the FLOPs. It is about a third. So a larger
# total helps, with falling returns, and at the full price in memory. These are the numbers of one study;
# nothing here was measured by us.
#
# ### Where memory decides
#
# Here is what the two need at equal active size, and what quantised experts change:

# %%
oss = describe("gpt-oss-120b")
oss_gb = weight_bytes(oss, "mxfp4") / BILLION
print(f"serving in bf16:  Mixtral {2 * total / BILLION:.0f} GB, dense 12.9 B {2 * active / BILLION:.0f} GB")
print(f"training state:   Mixtral {16 * total / BILLION:.0f} GB, dense 12.9 B {16 * active / BILLION:.0f} GB")
print(
    f"gpt-oss-120b:     {weight_bytes(oss) / BILLION:.0f} GB in bf16, {oss_gb:.0f} GB with experts in MXFP4"
)

# %%
claim("L140", "correct", holds=2 * active < 80e9 < 2 * total and oss_gb < 80 < weight_bytes(oss) / BILLION)

# %% [markdown]
# 747 GB of training state do not fit on one GPU, so they are split over many. There are two ways.
# *Sharding* (ZeRO, FSDP) cuts every tensor into pieces and fetches the pieces of a layer when it is
# needed; it works for dense models too. *Expert parallelism* leaves each expert whole on one GPU and
# sends the tokens there instead, an exchange between all GPUs that is called *all-to-all*. Which moves
# fewer bytes, lesson 08 counts.
#
# A decision, then, in four questions:
#
# 1. **Memory.** Do all experts and the cache fit, in the dtype you would use? If not: dense, or fewer bits.
# 2. **Batch.** One user at a time, or thousands: MoE is at its best. Some dozens: work out the bytes first.
# 3. **Latency.** Compare at equal quality. At batch 1 the MoE reads less than a dense model that is as good.
# 4. **Training.** FLOPs follow active, state follows total. Is there a stack that shards experts?

# %% tags=["nbval-ignore-output"] why="widget"
quiz("03.q_decide")

# %% [markdown]
# ## Four numbers people quote
#
# You have everything to put these right. *"8x7B"*, for a number of parameters. *"A 13B-FLOPs model"*. *"It
# has the memory cost of 47B"*. And *"only 2 of 8 experts are read"*, by someone who serves a batch. For each:
# what is wrong, the number or the unit, and what is right?

# %% [markdown]
# {{exercise 03.four_numbers}}


# %% answer="03.four_numbers"
def four_numbers(quote, shared, expert, embedding, n_experts, top_k, batch, bits):
    """Return the number that a quote should have given, and its unit.

    quote: "8x7B", "13B FLOPs", "47B of memory" or "2 of 8 experts".
    shared: parameters outside the experts, input embedding included.
    expert: parameters of one expert over all layers. embedding: of the input embedding.
    Returns (value, unit); the unit is "parameters", "FLOP", "bytes" or "experts".
    """
    ### BEGIN SOLUTION
    total = shared + n_experts * expert
    if quote == "8x7B":
        return total, "parameters"
    if quote == "13B FLOPs":
        return 2 * (shared - embedding + top_k * expert), "FLOP"
    if quote == "47B of memory":
        return total * bits / 8, "bytes"
    return n_experts * (1 - (1 - top_k / n_experts) ** batch), "experts"
    ### END SOLUTION


# %%
check("03.four_numbers")

# %% [markdown]
# ## What to take with you
#
# - Count from the config. Names round, multiply wrongly, or stand for something else.
# - Total: everything once. Active: the same with K experts a layer in place of E. Say which convention.
# - FLOPs: two per active parameter without the input embedding, plus attention to the context. Training:
#   three times that.
# - Bytes: all weights, whatever is active, and a cache that grows with every token of every text.
# - n tokens touch $E\,(1 - (1 - K/E)^n)$ experts if they choose at random, and fewer if they are alike. With
#   some dozens of tokens, count on reading most of them.
# - E buys memory, K buys FLOPs, context buys cache. MoE or dense is a question about *your* memory and batch.
#
# On the command line, `moe-lessons count path/to/config.json` does this for a model that this lesson has
# never heard of, as long as it knows the family.

# %%
claims_table()

# %%
score()
