# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("02_moe_layer")

# %% [markdown]
# ## One network first
#
# A transformer is a stack of *blocks*, and a block has two halves. One is attention, which moves information
# between tokens. The other is a feed-forward network, the **FFN**: it reads one token's vector of width D,
# widens it to F, and brings it back to D. It treats every token alike and knows nothing of the others.
#
# A Mixture-of-Experts layer replaces this half. So before we have E networks, we look at one.
#
# The FFN of 2017 has two matrices: up to F, a ReLU, down to D. Most language models of today use **SwiGLU**
# ([2020](https://arxiv.org/abs/2002.05202)), which has three. Two of them read the token side by side. One
# result, the *gate*, passes through
# $\mathrm{silu}(z) = z \cdot \mathrm{sigmoid}(z)$ and decides how much of the other result, *up*, goes on:
#
# $$\text{output} = W_\text{down}\,\bigl(\mathrm{silu}(W_\text{gate}\,x) \odot (W_\text{up}\,x)\bigr)$$
#
# The circle is a product element by element. Where the gate is near zero, that hidden unit is shut. (This
# gate sits inside an expert. The router's gate of lesson 01 shares the name and nothing else.)
#
# How much does the third matrix matter when we count weights? Mixtral-8x7B has 8 experts in each of 32
# layers, and its [paper](https://arxiv.org/abs/2401.04088) gives all dimensions. We add them up twice, with
# three matrices in each expert and with two. (The *norms* in the sum bring a vector to a standard size
# before each half of a block; they have D weights each, and lesson 10 comes to them.)

# %%
import math

import torch
import torch.nn.functional as F

from moe_lessons.accounting.presets import PRESETS
from moe_lessons.steps import each

mixtral = PRESETS["Mixtral-8x7B"]
D, d_expert, E, layers = mixtral.d_model, mixtral.d_expert, mixtral.n_experts, mixtral.n_layers
vocabulary, n_heads, n_kv_heads, d_head = 32_000, 32, 8, 128  # arXiv 2401.04088, table 1

embeddings = 2 * vocabulary * D  # one to read tokens, one to predict them
attention = layers * D * d_head * (2 * n_heads + 2 * n_kv_heads)  # queries, keys, values, output
routers = layers * E * D
norms = (2 * layers + 1) * D
rest = embeddings + attention + routers + norms

totals = {n_matrices: rest + layers * E * n_matrices * D * d_expert for n_matrices in (3, 2)}
for n_matrices, total in totals.items():
    print(f"{n_matrices} matrices in each expert: {total:>14,} parameters")

# %% [markdown]
# The model is published with 46.7 billion parameters. Only three matrices give that.

# %%
claim("L6", "imprecise", holds=totals[3] == mixtral.total_parameters and round(totals[2] / 1e9, 1) == 31.7)

# %% [markdown]
# Your turn. The exercise keeps the three matrices apart. In PyTorch a matrix that maps D to F is stored as
# [F, D], output first, so that `x @ matrix.T` applies it to every row of `x`. (In code, `F` alone is
# `torch.nn.functional`, as everywhere in PyTorch; the width F shows only at the end of names.)

# %% [markdown]
# {{exercise 02.swiglu}}


# %% answer="02.swiglu"
def swiglu(hidden_ND, gate_FD, up_FD, down_DF):
    """One SwiGLU expert.

    hidden_ND: [N, D] tokens. gate_FD, up_FD: [F, D]. down_DF: [D, F].
    Returns [N, D].
    """
    ### BEGIN SOLUTION
    gate_NF = F.silu(hidden_ND @ gate_FD.T)
    up_NF = hidden_ND @ up_FD.T
    return (gate_NF * up_NF) @ down_DF.T
    ### END SOLUTION


# %%
check("02.swiglu")

# %% [markdown]
# ## E of them
#
# Now we take E such networks, all of the same shape and each with its own weights. We call them
# **experts**, though nobody tells them what to be expert in.
#
# Fast code does not keep E separate modules. It stacks the matrices into one tensor with a leading axis E,
# gate and up together, because that makes one large matrix product out of many small ones. Then the
# question is which axis is which, and there is no single answer:
#
# | Where | gate and up | down | gate and up within 2F |
# |---|---|---|---|
# | Mixtral in `transformers` 5, and this course | [E, 2F, D] | [E, D, F] | gate, then up |
# | Llama 4 in `transformers` 5 | [E, D, 2F] | [E, F, D] | gate, then up |
# | gpt-oss in `transformers` 5 | [E, D, 2F] | [E, F, D] | alternating |
# | Mixtral on disk | `w1` and `w3`, [F, D] each | `w2`, [D, F] | apart: `w1` is gate |
#
# A wrong guess often raises no error. Here is one expert read in two ways:

# %%
from moe_lessons.experts import swiglu as one_expert

generator = torch.Generator()


def randn(*shape):
    return torch.randn(*shape, generator=generator)


generator.manual_seed(2)  # each cell that draws numbers seeds first: run again, it draws the same
x_TD, gate_up, down = randn(3, 8), randn(12, 8), randn(8, 6)
right = one_expert(x_TD, gate_up, down)
swapped = one_expert(x_TD, gate_up.roll(6, dims=0), down)
print("shapes:", list(right.shape), "and", list(swapped.shape))
measured("largest difference", (right - swapped).abs().max(), above=0.1, then="other numbers")

# %% [markdown]
# Same shape, no error, other numbers. The only defence is a comparison with something known. The exercise
# lets you handle two of the layouts. (If you want your `swiglu` in it, copy it into the answer's cell: each
# of these cells stands alone.)

# %% [markdown]
# {{exercise 02.expert_bank}}


# %% answer="02.expert_bank"
def expert_bank(hidden_TD, gate_up, down, input_first):
    """Every expert's answer to every token.

    hidden_TD: [T, D].
    gate_up: [E, 2F, D], or [E, D, 2F] if input_first; gate first, then up.
    down: [E, D, F], or [E, F, D] if input_first.
    Returns [E, T, D].
    """
    ### BEGIN SOLUTION
    if not input_first:
        gate_up, down = gate_up.mT, down.mT  # now [E, D, 2F] and [E, F, D]
    gate_ETF, up_ETF = (hidden_TD @ gate_up).chunk(2, dim=-1)
    return (F.silu(gate_ETF) * up_ETF) @ down
    ### END SOLUTION


# %%
check("02.expert_bank")

# %% [markdown]
# ## Choosing K, and adding them up
#
# Running all E experts on all tokens costs E times as much. The idea of the sparse layer is not to. The
# router of lesson 01 gives each token the ids of K experts and K weights. Then
#
# $$y_t = \sum_{k=1}^{K} w_{t,k}\; f_{e(t,k)}(x_t)$$
#
# where $f_e$ is expert e and $e(t,k)$ is the k-th choice of token t. That is the whole layer. The other
# E - K experts do not appear in the sum.
#
# Let us see that on one layer of the package. We take its output for one token apart.

# %%
from moe_lessons import MoELayer

generator.manual_seed(3)
layer = MoELayer(d_model=8, d_expert=12, n_experts=6, top_k=2)
for parameter in layer.parameters():
    parameter.data = 0.5 * randn(*parameter.shape)
x_TD = randn(5, 8)
y_TD, routing = layer(x_TD)
ids_TK, weights_TK = routing.topk_ids_TK, routing.topk_weights_TK
gate_up, down = layer.experts.gate_up_proj, layer.experts.down_proj

t = 3
first, second = ids_TK[t].tolist()
by_hand = weights_TK[t, 0] * one_expert(x_TD[t], gate_up[first], down[first])
by_hand = by_hand + weights_TK[t, 1] * one_expert(x_TD[t], gate_up[second], down[second])
print(f"Token {t} chose experts {first} and {second}.")
gap = (y_TD[t] - by_hand).abs().max()
is_weighted_sum = bool(gap < 1e-6)
measured("its output against their weighted sum, largest difference", gap, below=1e-6, then="the same")

# %%
nonnegative = bool((weights_TK >= 0).all()) and torch.allclose(weights_TK.sum(1), torch.ones(5))
claim("L10", "correct", holds=is_weighted_sum and nonnegative)

# %% [markdown]
# Your two functions are enough for that, whichever way you go about it: one expert at a time, or all
# experts on all tokens and then those that were chosen. (What has not passed yet is the package's; the
# lines say which.)

# %%
expert, all_experts = yours("02.swiglu"), yours("02.expert_bank")

one_by_one_TD = torch.zeros_like(x_TD)
for t, chosen in enumerate(ids_TK.tolist()):
    for k, e in enumerate(chosen):
        row_1D = expert(x_TD[t : t + 1], *gate_up[e].chunk(2), down[e])
        one_by_one_TD[t] = one_by_one_TD[t] + weights_TK[t, k] * row_1D[0]

answers_ETD = all_experts(x_TD, gate_up, down, False)
results_TKD = answers_ETD[ids_TK, torch.arange(5).unsqueeze(1)]
all_at_once_TD = (weights_TK.unsqueeze(-1) * results_TKD).sum(dim=1)

print("all 5 tokens, largest difference from the layer's output")
for part, built_TD in ((expert, one_by_one_TD), (all_experts, all_at_once_TD)):
    measured(f"  with {part.label}", (built_TD - y_TD).abs().max(), below=1e-5, then="the same")

# %% [markdown]
# That the other four experts contribute nothing, to the last bit, you saw in lesson 01. And the choice is
# made again in every layer, from the hidden state there.

# %% [markdown]
# Time to write it. Make it slow and obvious: this loop is what you will hold every faster version against.

# %% [markdown]
# {{exercise 02.moe_loop}}


# %% answer="02.moe_loop"
def moe_loop(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    """The MoE layer, one token and one choice at a time.

    hidden_TD: [T, D]. topk_ids_TK: [T, K] expert ids. topk_weights_TK: [T, K].
    gate_up_E2FD: [E, 2F, D], gate first. down_EDF: [E, D, F].
    Returns [T, D]; gradients reach all arguments but the ids.
    """
    ### BEGIN SOLUTION
    rows = [hidden_TD[:0]]  # keeps shape and dtype when T is 0
    for t in range(topk_ids_TK.shape[0]):
        row_D = torch.zeros_like(hidden_TD[t])
        for k in range(topk_ids_TK.shape[1]):
            e = int(topk_ids_TK[t, k])
            gate_F, up_F = (gate_up_E2FD[e] @ hidden_TD[t]).chunk(2)
            row_D = row_D + topk_weights_TK[t, k] * (down_EDF[e] @ (F.silu(gate_F) * up_F))
        rows.append(row_D.unsqueeze(0))
    return torch.cat(rows)
    ### END SOLUTION


# %%
check("02.moe_loop")

# %% [markdown]
# ## One sum, four ways to compute it
#
# The sum says nothing about the order of work. Here are four orders.
#
# - **Dense mask**: run all E experts on all tokens, then multiply by a weight that is mostly zero.
# - **Loop over experts**: for each expert, find its tokens, run it, add the results where they belong.
# - **Sort and split**: sort the (token, choice) rows by expert once, cut the sorted rows into E groups, run
#   each expert on its group, undo the sort.
# - **Gather weights**: for each token, fetch the matrices of its K experts, and multiply.


# %%
from IPython.display import display

from moe_lessons.dispatch import moe_loop as oracle
from moe_lessons.dispatch import moe_unbind as sort_and_split
from moe_lessons.experts import swiglu_activation
from moe_lessons.svg import bar_chart, line_chart


def dense_mask(hidden_TD, ids_TK, weights_TK, gate_up, down):
    mask_TE = torch.zeros(len(hidden_TD), len(down)).scatter(1, ids_TK, weights_TK)
    answers_ETD = swiglu_activation(hidden_TD @ gate_up.mT) @ down.mT
    return torch.einsum("te,etd->td", mask_TE, answers_ETD)


def loop_over_experts(hidden_TD, ids_TK, weights_TK, gate_up, down):
    output_TD = torch.zeros_like(hidden_TD)
    for e in range(len(down)):
        tokens, choices = (ids_TK == e).nonzero(as_tuple=True)
        rows = one_expert(hidden_TD[tokens], gate_up[e], down[e])
        output_TD.index_add_(0, tokens, rows * weights_TK[tokens, choices].unsqueeze(-1))
    return output_TD


def gather_weights(hidden_TD, ids_TK, weights_TK, gate_up, down):
    hidden_TK2F = torch.einsum("td,tkgd->tkg", hidden_TD, gate_up[ids_TK])
    answers_TKD = torch.einsum("tkf,tkdf->tkd", swiglu_activation(hidden_TK2F), down[ids_TK])
    return (answers_TKD * weights_TK.unsqueeze(-1)).sum(dim=1)


ways = {
    "dense mask": dense_mask,
    "loop over experts": loop_over_experts,
    "sort and split": sort_and_split,
    "gather weights": gather_weights,
}

# %% [markdown]
# The dense mask makes E / K times as many products as needed, and it shows. The last two are more
# interesting.

# %% tags=["nbval-ignore-output"] why="widget"
predict("02.gather")

# %% [markdown]
# First: do they agree? We hold each against the package's loop over tokens, which is slow and plain.

# %%
from moe_lessons.routing import topk_softmax

generator.manual_seed(4)
T, D, d_expert, E, K = 1024, 64, 128, 16, 2
x_TD, gate_up, down = randn(T, D), randn(E, 2 * d_expert, D) / D**0.5, randn(E, D, d_expert) / d_expert**0.5
_, ids_TK, weights_TK = topk_softmax(randn(T, E), K)
inputs = (x_TD, ids_TK, weights_TK, gate_up, down)


def relative_error(found, expected):
    return float((found - expected).detach().norm() / expected.detach().norm())


expected_TD = oracle(*inputs)
errors = {name: relative_error(way(*inputs), expected_TD) for name, way in ways.items()}
print("error against the plain loop, relative to its size")
for name, error in errors.items():
    measured(f"  {name}", error, below=1e-6, then="the same")
print(f"and all zeros would be off by {relative_error(0 * expected_TD, expected_TD):.0f}")

# %%
claim("L1", "correct", holds=max(errors.values()) < 1e-6)

# %% [markdown]
# Now the time, forward only, on this machine. The numbers differ from machine to machine; the order
# between the last two hardly does.

# %% tags=["nbval-ignore-output"] why="timing"
import time


def milliseconds(function, repeats=5):
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - began))
    return min(times)


with torch.no_grad():
    ms = {name: milliseconds(lambda way=way: way(*inputs)) for name, way in ways.items()}
bar_chart(
    list(ms.values()),
    names=list(ms),
    title="The same numbers, in very different times",
    y_label=f"milliseconds, forward, T={T}, E={E}, K={K} (best of 5)",
    x_label="way to compute the layer",
    value_format="{:.1f}",
    width=640,
)

# %% [markdown]
# What the clock cannot explain, counting can. We count multiplications, and the numbers that each way
# copies before it can multiply.

# %%
products = dict.fromkeys(ways, T * K * 3 * D * d_expert) | {"dense mask": T * E * 3 * D * d_expert}
copied = dict.fromkeys(ways, 0) | {
    "loop over experts": T * K * D,
    "sort and split": T * K * D,
    "gather weights": T * K * 3 * D * d_expert,
}
print(f"{'':<18}{'multiplications':>17}{'numbers copied':>17}")
for name in ways:
    print(f"{name:<18}{products[name]:>17,}{copied[name]:>17,}")

# %%
reveal("02.gather")

# %% [markdown]
# **Change this.** A chat model writes one token after another, so T is 1. Which of the four ways would you
# take then? And with 256 experts?

# %% change=true tags=["nbval-ignore-output"] why="timing"
# Change these and run the cell again.
N_TOKENS = 1024
N_EXPERTS = 16
TOP_K = 2

generator.manual_seed(4)
few_TD, logits_TE = randn(N_TOKENS, D), randn(N_TOKENS, N_EXPERTS)
stacks = randn(N_EXPERTS, 2 * d_expert, D), randn(N_EXPERTS, D, d_expert)
_, few_ids_TK, few_weights_TK = topk_softmax(logits_TE, TOP_K)
with torch.no_grad():
    for name, way in ways.items():
        took = milliseconds(lambda way=way: way(few_TD, few_ids_TK, few_weights_TK, *stacks), repeats=3)
        print(f"{name:<18}{took:8.2f} ms")

# %% [markdown] only="solutions"
# For one token the order is the other way round: the gather comes first. It copies the matrices of K
# experts, and no other way gets by with fewer. With `N_EXPERTS = 256` it is more than ten times as fast as
# each of the others: the dense mask multiplies with all 256 experts, and the two that go through the
# experts ask each one, although only two have a row. The sparse layer that is best for a batch is not the
# one that is best for a chat.

# %% only="solutions" tags=["nbval-ignore-output"] why="timing"
rerun("N_TOKENS = 1", "N_TOKENS = 1; N_EXPERTS = 256")

# %% [markdown]
# The gather copies one number for every number that it multiplies. Memory is slower than arithmetic, and a
# matrix that is used for one token cannot be reused for the next. For a *single* token (a chat model
# writing its answer) there is nothing to reuse anyway, and the gather is a fair choice.
#
# The loop over experts and the sort do the same work, and at this size either may be ahead. Sorting wins
# where asking "which tokens are yours?" E times is expensive, as on a GPU. Lesson 08 takes it to the limit of
# the machine; here you write it once, plainly. Mind three things: an expert may get no token, a
# token occurs K times among the rows, and a weight must travel with its row.

# %% [markdown]
# ### Which token gets whose output?
#
# Here is that layer with five tokens and K = 2. Walk through it with *Stage*: ten slots, sorted, split, run,
# weighted, put back, added up. Beside each output stands what it is made of; `.70 r0` is the result of slot 0
# times its weight.
#
# The four switches are bugs that people write. Each unlocks once you have committed to its prediction, below
# the picture.

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import SortedLayer

sorted_rows = SortedLayer()
display(sorted_rows)
predict("02.no_inverse", unlocks=sorted_rows.switch("no_inverse"))
predict("02.wrong_inverse", unlocks=sorted_rows.switch("wrong_inverse"))
predict("02.weights_twice", unlocks=sorted_rows.switch("weights_twice"))
predict("02.no_minlength", unlocks=sorted_rows.switch("no_minlength"))

# %% [markdown]
# Turn on one bug at a time, and read the red lines. Then change the routing: which one hides the wrong order,
# and which one brings out the fourth bug?

# %%
reveal("02.no_inverse")
reveal("02.wrong_inverse")
reveal("02.weights_twice")
reveal("02.no_minlength")

# %% [markdown]
# {{puzzle 02.p_inverse}}


# %% puzzle="02.p_inverse"
@puzzle("02.p_inverse")
def place_of_each(order_N):
    ### BEGIN SOLUTION
    return order_N.argsort()
    ### END SOLUTION


# %% [markdown]
# {{puzzle 02.p_totals}}


# %% puzzle="02.p_totals"
@puzzle("02.p_totals")
def totals_of_owners(rows_ND, owner_N, n_owners):
    ### BEGIN SOLUTION
    return torch.zeros(n_owners, rows_ND.shape[1]).index_add(0, owner_N, rows_ND)
    ### END SOLUTION


# %% [markdown]
# {{puzzle 02.p_repeated}}


# %% puzzle="02.p_repeated"
@puzzle("02.p_repeated")
def numbers_repeated(counts_E):
    ### BEGIN SOLUTION
    return torch.arange(len(counts_E)).repeat_interleave(counts_E)
    ### END SOLUTION


# %% [markdown]
# {{exercise 02.moe_sorted}}


# %% answer="02.moe_sorted"
def moe_sorted(hidden_TD, topk_ids_TK, topk_weights_TK, gate_up_E2FD, down_EDF):
    """The MoE layer with one call per expert.

    hidden_TD: [T, D]. topk_ids_TK: [T, K] expert ids. topk_weights_TK: [T, K].
    gate_up_E2FD: [E, 2F, D], gate first. down_EDF: [E, D, F].
    Returns output [T, D], token of each row in sorted order [S], rows per expert [E]; S = T * K.
    """
    ### BEGIN SOLUTION
    n_experts, top_k = down_EDF.shape[0], topk_ids_TK.shape[1]
    ids_S = topk_ids_TK.flatten()
    order_S = ids_S.argsort(stable=True)
    token_ids_S = order_S // top_k
    tokens_per_expert_E = torch.bincount(ids_S, minlength=n_experts)
    groups = hidden_TD[token_ids_S].split(tokens_per_expert_E.tolist())
    results = []
    for rows_ND, gate_up_2FD, down_DF in zip(groups, gate_up_E2FD, down_EDF, strict=True):
        gate_NF, up_NF = (rows_ND @ gate_up_2FD.T).chunk(2, dim=-1)
        results.append((F.silu(gate_NF) * up_NF) @ down_DF.T)
    weighted_SD = torch.cat(results) * topk_weights_TK.flatten()[order_S].unsqueeze(-1)
    output_TD = torch.zeros_like(hidden_TD).index_add(0, token_ids_S, weighted_SD)
    return output_TD, token_ids_S, tokens_per_expert_E
    ### END SOLUTION


# %%
check("02.moe_sorted")

# %% [markdown]
# ### Yours beside the four
#
# Two more ways, then: the loop over tokens and the sorted layer that you wrote, on the same inputs. (A loop
# that has not passed yet is the package's plain loop.)

# %%
from moe_lessons.svg import dot_rows

loop, sorted_way = yours("02.moe_loop"), yours("02.moe_sorted")
built = {
    loop: loop if loop.is_yours else oracle,
    sorted_way: lambda *rows: sorted_way(*rows)[0],
}
print("error against the package's plain loop")
with torch.no_grad():
    for part, way in built.items():
        measured(f"  {part.label}", relative_error(way(*inputs), expected_TD), below=1e-5, then="the same")

# %% tags=["nbval-ignore-output"] why="timing"
six_ways = ways | {part.label: way for part, way in built.items()}
with torch.no_grad():
    six_ms = {name: milliseconds(lambda way=way: way(*inputs), repeats=2) for name, way in six_ways.items()}
dot_rows(
    {name: [took] for name, took in six_ms.items()},
    title=f"{loop.label} and {sorted_way.label}, beside the four".capitalize(),
    x_label=f"milliseconds, forward, T={T}, E={E}, K={K}",
    dot_label="best of 2",
    x_range=(0, max(six_ms.values())),
)

# %% [markdown]
# A sorted layer belongs near `sort and split`, whose work it does. A loop over tokens multiplies no more than
# that, but in thousands of tiny steps, each with one row of one token; most of its time goes into starting
# them. You wrote it to be right, and that is how it has just been used: everything faster is held against it.

# %% [markdown]
# ## Is this the layer that people run?
#
# Agreement among our own versions could be a shared mistake. So we hold the layer against the Mixtral block
# of Hugging Face `transformers`, with the same weights: the output, and the gradient of every input.
#
# That library changed how it holds Mixtral's experts (version 5 stacks them). The next cell says whether
# yours has the layout that we compare with.


# %% tags=["nbval-ignore-output"] why="machine"
def mixtral_block():
    """The installed block as a class, or a line on why there is none to compare with."""
    try:
        import transformers
        from transformers.models.mixtral import modeling_mixtral as modeling
    except ImportError:
        return None, "transformers is not installed: pip install transformers"
    if not hasattr(modeling, "MixtralExperts"):
        return (
            None,
            f"transformers {transformers.__version__} keeps Mixtral's experts apart: version 5 is needed",
        )
    return modeling, f"transformers {transformers.__version__} has the stacked layout: compared below"


modeling, remark = mixtral_block()
print(remark)


# %%
def compare_with_mixtral(swap=False, **parts):
    """Relative error of the output and each gradient; empty where there is nothing to compare with.

    ``parts`` are functions that our layer is to use.
    """
    if modeling is None:
        return {}
    from transformers import MixtralConfig

    generator.manual_seed(5)
    config = MixtralConfig(hidden_size=16, intermediate_size=24, num_local_experts=8, num_experts_per_tok=2)
    config._experts_implementation = "eager"
    theirs, ours = modeling.MixtralSparseMoeBlock(config), MoELayer(16, 24, 8, 2, **parts)
    pairs = {
        "router": (ours.router.weight, theirs.gate.weight),
        "gate and up": (ours.experts.gate_up_proj, theirs.experts.gate_up_proj),
        "down": (ours.experts.down_proj, theirs.experts.down_proj),
    }
    for one, other in pairs.values():
        one.data = 0.3 * randn(*one.shape)
        other.data = one.data.clone()
    if swap:
        ours.experts.gate_up_proj.data = ours.experts.gate_up_proj.data.roll(24, dims=1)
    hidden, upstream = randn(2, 32, 16), randn(2, 32, 16)
    inputs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    outputs = ours(inputs[0]).hidden, theirs(inputs[1])
    for output in outputs:
        output.backward(upstream)
    found = {"output": outputs, "input": tuple(x.grad for x in inputs)}
    found |= {name: (one.grad, other.grad) for name, (one, other) in pairs.items()}
    return {name: relative_error(*both) for name, both in found.items()}


same, other = compare_with_mixtral(), compare_with_mixtral(swap=True)
if same:
    print(f"relative error of the output and {len(same) - 1} gradients")
    measured("  with the same weights", same.values(), below=1e-5, then="the same layer")
    measured("  with gate and up swapped", other.values(), above=0.05, then="all of them are off")
else:
    print(f"Nothing was compared: {remark}")

# %% [markdown]
# And yours? `MoELayer` takes a gate and a way to its experts as functions. So here is a layer that chooses
# with the gates of lesson 01 and computes with the two functions of this one, with the weights of Mixtral's
# block. We compare the output and four gradients: of the input, of the router, and of the experts' two
# tensors.

# %%
gates = yours("01.topk_gates")

for part, way in built.items():
    found = compare_with_mixtral(gate=lambda logits_TE, top_k: gates(logits_TE, top_k, True), path=way)
    if found:
        print(f"{gates.label} and {part.label}, against Mixtral's block:")
        measured(
            f"  error, output and {len(found) - 1} gradients", found.values(), below=1e-5, then="the same"
        )
    else:
        print(f"Nothing was compared: {remark}")

# %% [markdown]
# On disk, a Mixtral checkpoint keeps the old names: `block_sparse_moe.experts.N.w1`, `w2`, `w3`. `w1` is the
# gate, `w3` is up, `w2` is down. To fill our layer, stack `w1` over `w3` for each expert. (A test of the
# course does it with a file.)

# %% [markdown]
# ## What does it cost?
#
# Let us grow E and hold K. We count the multiply-adds of one token, in two parts: its K experts, and the
# router, which must score all E.

# %%
from torch.utils.flop_counter import FlopCounterMode


def macs_per_token(E, K=2, D=64, d_expert=128, T=256):
    """Multiply-adds of one token in a real forward pass, counted by PyTorch (two FLOPs each)."""
    generator.manual_seed(6)
    layer = MoELayer(D, d_expert, E, K, path="unbind")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(randn(T, D))
    return counter.get_total_flops() // (2 * T)


counts = [8, 32, 128, 512, 1024]
counted = {E: macs_per_token(E) for E in counts}
formula = {E: E * 64 + 2 * 3 * 64 * 128 for E in counts}
held = {E: MoELayer(64, 128, E, 2).n_parameters()[0] for E in counts}
print(f"{'E':>6}{'weights held':>15}{'multiply-adds per token':>26}{'of which router':>18}")
for E in counts:
    print(f"{E:>6}{held[E]:>15,}{counted[E]:>26,}{E * 64 / counted[E]:>18.0%}")
apart = sum(abs(counted[E] - formula[E]) for E in counts)
print(f"PyTorch's count and  E * D + K * 3 * D * F  are {apart} multiply-adds apart, over all rows.")

# %% [markdown]
# In that table K is 2, D is 64 and F is 128. As a picture:

# %% draw=true tags=["nbval-ignore-output"] why="image"
line_chart(
    {
        "router": (counts, [E * 64 for E in counts]),
        "chosen experts": (counts, [counted[E] - E * 64 for E in counts]),
    },
    title="More experts cost a token nothing but a longer router",
    x_label="E, experts in the layer (K = 2, D = 64, F = 128)",
    y_label="multiply-adds per token",
)

# %% [markdown]
# The experts' part does not grow at all: that is the promise, and it is kept. The router's part grows with
# E. In this toy it becomes more than half of the work, because D and F are small. Now with real dimensions:

# %%
for name in ("Mixtral-8x7B", "Qwen3-30B-A3B", "DeepSeek-V3"):
    preset = PRESETS[name]
    router = preset.n_experts * preset.d_model
    experts = preset.top_k * preset.parameters_per_expert
    print(f"{name:<14} router / chosen experts = {router / experts:.2%}")

# %% [markdown]
# **Change this.** Mixtral's experts again, with K = 2. How many of them would it take until the router
# costs a tenth of what the chosen experts cost? And does a wider model (a larger D) get there sooner or
# later?

# %% change=true
# Change these and run the cell again.
N_EXPERTS = 8
D_MODEL = 4096
D_EXPERT = 14336

router = N_EXPERTS * D_MODEL
chosen = 2 * 3 * D_MODEL * D_EXPERT
print(
    f"{N_EXPERTS:,} experts of width {D_EXPERT:,}, D = {D_MODEL:,}: router / chosen = {router / chosen:.2%}"
)

# %% [markdown] only="solutions"
# Solve $E D = 0.1 \cdot 3 K D F$ for E: 8,602 experts, and D has cancelled. How wide the model is makes no
# difference. What does is the width of an expert: with `D_EXPERT = 256` it takes 154 experts. So a router
# shows in models with many *narrow* experts.

# %% only="solutions"
rerun("N_EXPERTS = 8602", "N_EXPERTS = 8602; D_MODEL = 8192", "N_EXPERTS = 154; D_EXPERT = 256")

# %% [markdown]
# What does *not* stay flat: all E experts must be held somewhere, and a batch reads most of them. How many
# different experts does a batch touch, with an untrained router?

# %%
layer = MoELayer(64, 128, 128, 8, generator=torch.Generator().manual_seed(0))
touched = {}
generator.manual_seed(7)
for n_tokens in (1, 8, 64, 512):
    runs = [layer(randn(n_tokens, 64)).routing.topk_ids_TK.unique().numel() for _ in range(20)]
    touched[n_tokens] = sum(runs) / len(runs)
    share = touched[n_tokens] / 128
    print(f"{n_tokens:>4} tokens, 8 of 128 experts each: they touch {share:.0%} of the experts together")

# %%
flat_experts = len({counted[E] - E * 64 for E in counts}) == 1
claim("L9", "correct", holds=flat_experts and counted == formula and touched[512] > 0.95 * 128)

# %% [markdown]
# ## Eight experts, or eight opinions?
#
# Eight networks whose outputs are added: that sounds like an *ensemble*, where eight models are trained
# separately and averaged. It is something else. Let us train both and compare.
#
# The task is a toy, and we say how it is made. Points lie in 16 clusters; each cluster has a function of
# its own. There is fresh data in every step. The contestants:
#
# - **one**: a SwiGLU network with F = 8.
# - **ensemble of 8**: eight of those, trained apart, averaged.
# - **top-2 of 8**: a MoE layer with eight of those.
# - **one wide**: a SwiGLU network with F = 64, as many weights as the eight together.
#
# One run proves little, so we train 16 seeds of each, side by side as one batch. To keep that short we run
# all experts and mask, and count the multiplications that a sparse layer would make.
#
# The next cell is long. You can run it now and read it later. There is nothing in it that you have not met,
# except for `balance`, which lesson 05 explains. It trains for some ten seconds, and says so as it goes.


# %%
def make_task(pieces, n_seeds=16, D=8, seed=0):
    """Draw a teacher per seed; return a function that draws (x, y) from it."""
    g = torch.Generator().manual_seed(seed)
    centers = 2 * torch.randn(n_seeds, 16, D, generator=g)
    maps = torch.randn(n_seeds, pieces, D, D, generator=g) / D**0.5
    seeds = torch.arange(n_seeds).unsqueeze(1)

    def sample(n_points):
        cluster = torch.randint(0, 16, (n_seeds, n_points), generator=g)
        x = centers[seeds, cluster] + 0.7 * torch.randn(n_seeds, n_points, D, generator=g)
        return x, torch.einsum("stde,ste->std", maps[seeds, cluster % pieces], x).tanh()

    return sample


def bank(x, gate_up, down):
    """All experts of all seeds on their tokens: [seed, E, T, D]."""
    return swiglu_activation(x.unsqueeze(1) @ gate_up.mT) @ down.mT


def sparse(x, router, gate_up, down, top_k, without_best=None):
    """A MoE layer per seed, by dense mask; ``without_best`` takes away each token's first choice."""
    logits = x @ router.mT
    if without_best == "next in line":
        logits = logits.scatter(-1, logits.argmax(-1, keepdim=True), -math.inf)
    probabilities = logits.softmax(-1)
    weights, ids = probabilities.topk(top_k, dim=-1)
    if top_k > 1:  # at K = 1 the probability itself: the next section says why
        weights = weights / weights.sum(-1, keepdim=True)
    if without_best == "dropped":
        weights = torch.cat([0 * weights[..., :1], weights[..., 1:]], dim=-1)
    mask = torch.zeros_like(logits).scatter(-1, ids, weights)
    chosen = torch.zeros_like(logits).scatter(-1, ids, 1.0)
    output = torch.einsum("ste,setd->std", mask, bank(x, gate_up, down))
    return output, probabilities, chosen


def train(sample, E, F, top_k=None, steps=300, D=8, n_seeds=16):
    """Adam on the squared error; ``top_k=None`` trains the E networks apart."""
    g = torch.Generator().manual_seed(1)
    shapes = {(n_seeds, E, D): D, (n_seeds, E, 2 * F, D): D, (n_seeds, E, D, F): F}
    parameters = [
        (torch.randn(*shape, generator=g) / fan_in**0.5).requires_grad_() for shape, fan_in in shapes.items()
    ]
    _, gate_up, down = parameters
    optimizer = torch.optim.Adam(parameters if top_k else parameters[1:], lr=0.01)
    for _ in each(range(steps), "step"):
        x, y = sample(128)
        if top_k is None:
            loss = (bank(x, gate_up, down) - y.unsqueeze(1)).square().mean((2, 3)).sum()
        else:
            output, probabilities, chosen = sparse(x, *parameters, top_k)
            balance = E * (chosen.mean(1) / top_k * probabilities.mean(1)).sum(-1)  # lesson 05
            loss = ((output - y).square().mean((1, 2)) + 0.01 * balance).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def error(output, y):
    """Squared error of each seed, as a share of what answering with the mean gives."""
    return (output - y).square().mean((1, 2)) / y.var(dim=(1, 2), correction=0)


def contest(sample, test):
    """Errors of the four contestants on test data, one number per seed."""
    x, y = test
    members = bank(x, *train(sample, E=8, F=8)[1:])
    print("trained: eight networks apart, in 16 seeds")
    errors = {"one": error(members[:, 0], y), "ensemble of 8": error(members.mean(1), y)}
    errors["top-2 of 8"] = error(sparse(x, *train(sample, E=8, F=8, top_k=2), 2)[0], y)
    print("trained: the MoE layer, in 16 seeds")
    errors["one wide"] = error(bank(x, *train(sample, E=1, F=64)[1:]).squeeze(1), y)
    print("trained: the wide network, in 16 seeds")
    return errors


cost = {  # multiply-adds per token: a network has 3 * D * F, the router E * D
    "one": 3 * 8 * 8,
    "ensemble of 8": 8 * 3 * 8 * 8,
    "top-2 of 8": 2 * 3 * 8 * 8 + 8 * 8,
    "one wide": 3 * 8 * 64,
}

plentiful = make_task(pieces=16)
rich = contest(plentiful, plentiful(1024))


# %% tags=["nbval-ignore-output"] why="trained"
def table(errors):
    print(f"{'':<15}{'multiply-adds':>14}{'error: mean':>13}{'lowest':>9}{'highest':>9}   (16 seeds)")
    for name, e in errors.items():
        print(f"{name:<15}{cost[name]:>14,}{e.mean():>13.2f}{e.min():>9.2f}{e.max():>9.2f}")


table(rich)

# %%
moe_wins = int((rich["top-2 of 8"] < rich["ensemble of 8"]).sum())
ratio = float((rich["top-2 of 8"] / rich["ensemble of 8"]).mean())
print(f"Fresh data, 16 functions: the MoE layer has the lower error in {moe_wins} of 16 seeds,")
print(f"at {100 * cost['top-2 of 8'] / cost['ensemble of 8']:.0f} % of the ensemble's multiplications.")
measured("its error as a share of the ensemble's, on average", ratio, below=2 / 3, unit="%")

# %% [markdown]
# The wide network is the fair third party: it holds as many weights as the eight experts, uses all of them
# on every token, and ends near the MoE layer (see the table). So the gain over the ensemble comes from
# training the weights together as one function. What the sparse layer adds is the price: it gets there
# with fewer multiplications.
#
# Does the MoE layer always win? No. Now the data is scarce and noisy: 64 points per seed, the same in every
# step, and one function for all clusters. Everyone trains for 300 steps again, and nobody stops early.

# %%
scarce = make_task(pieces=1)
x_few, y_few = scarce(64)
y_few = y_few + 0.5 * torch.randn(y_few.shape, generator=torch.Generator().manual_seed(2))
poor = contest(lambda _: (x_few, y_few), scarce(1024))

# %% tags=["nbval-ignore-output"] why="trained"
table(poor)

# %%
ensemble_wins = int((poor["ensemble of 8"] < poor["top-2 of 8"]).sum())
useless = [name for name, e in poor.items() if e.mean() > 1]
print(f"64 noisy points: the ensemble has the lower error in {ensemble_wins} of 16 seeds.")
print(f"Worse than answering with the mean, on average: {', '.join(useless)}.")

# %% draw=true tags=["nbval-ignore-output"] why="image"
for title, errors in {
    "With fresh data the MoE layer beats the ensemble": rich,
    "With 64 noisy points only the ensemble beats the mean": poor,
}.items():
    display(
        bar_chart(
            [float(e.mean()) for e in errors.values()],
            names=list(errors),
            title=title,
            y_label="error; 1 is answering with the mean (mean of 16 seeds)",
            x_label="contestant",
            value_format="{:.2f}",
            width=640,
        )
    )

# %% [markdown]
# Mind the scale of the second picture: 1 is answering with the mean. Three of the four contestants end above
# it, so they would have done better to learn nothing. They fitted the noise, and stopping early, which we did
# not do, would have helped them. What the picture shows is therefore narrow: when everyone overfits,
# averaging eight sets of mistakes removes most of them, and a MoE layer has nothing of the kind.
#
# So an ensemble buys *less variance*: its members' mistakes differ and average out. A MoE layer buys
# *capacity*: more functions for the same work per token. That helps when data is plentiful and varied, which
# is the situation of a large language model. The router is part of what is trained; take it away and the
# experts mean nothing.

# %%
all_run = cost["ensemble of 8"] == 8 * cost["one"] and cost["top-2 of 8"] < cost["ensemble of 8"] / 3
claim("L8", "correct", holds=all_run and moe_wins >= 15 and ensemble_wins >= 15)

# %% [markdown]
# ## What top-k does to gradients
#
# Top-k is a choice, and a choice has no derivative: move a logit a little and the same experts are chosen.
# So how does the router learn, and which experts learn? We send a single token through and look.

# %% tags=["nbval-ignore-output"] why="widget"
predict("02.gradient")


# %%
def nonzero_rows(gate, E=8, K=2):
    """Experts and router rows that one token's backward reaches."""
    layer = MoELayer(16, 24, E, K, gate=gate)
    for parameter in layer.parameters():
        parameter.data = 0.5 * randn(*parameter.shape)
    output, routing = layer(randn(1, 16))
    output.square().sum().backward()
    reached = layer.experts.gate_up_proj.grad.flatten(1).ne(0).any(1).nonzero().flatten().tolist()
    rows = layer.router.weight.grad.ne(0).any(1).sum().item()
    chosen = sorted(routing.topk_ids_TK[0].tolist())
    return {"chosen experts": chosen, "experts with a gradient": reached, "router rows with one": rows}


generator.manual_seed(8)
for gate in ("softmax_topk", "topk_softmax"):
    print(f"{gate}:")
    for what, value in nonzero_rows(gate).items():
        print(f"   {what:<24} {value}")

# %%
reveal("02.gradient")

# %% [markdown]
# Experts that were not chosen get exactly zero: not little, zero. (Other tokens may choose them. An expert
# that nobody chooses learns nothing; lesson 04 is about that.)
#
# The router learns through the *weights* of the experts that ran. It can find out that a chosen expert
# deserves less weight. It never sees what an expert that was not chosen would have said.

# %%
generator.manual_seed(9)
results = [nonzero_rows(gate) for gate in ("softmax_topk", "topk_softmax") for _ in range(10)]
exact = all(found["chosen experts"] == found["experts with a gradient"] for found in results)
ids_differentiable = torch.randn(4, requires_grad=True).topk(2).indices.requires_grad  # what top-k chose
learns = all(found["router rows with one"] >= 2 for found in results)
claim("L23", "correct", holds=exact and learns and not ids_differentiable)

# %% [markdown]
# **Change this.** One token leaves six of eight experts without a gradient. How many tokens does a batch need
# until every expert learns something from it? Guess, then try 4, 8, 16, ... And with 64 experts?

# %% change=true
# Change these and run the cell again.
N_TOKENS = 1
N_EXPERTS = 8
TOP_K = 2

draws = range(20)
counts_of_draws = []
for seed in draws:
    layer = MoELayer(16, 8, N_EXPERTS, TOP_K, generator=torch.Generator().manual_seed(seed))
    layer(
        torch.randn(N_TOKENS, 16, generator=torch.Generator().manual_seed(100 + seed))
    ).hidden.sum().backward()
    reached_E = layer.experts.down_proj.grad.flatten(1).ne(0).any(1)
    counts_of_draws.append(int(reached_E.sum()))
complete = sum(reached == N_EXPERTS for reached in counts_of_draws)
print(
    f"T = {N_TOKENS}: {min(counts_of_draws)} to {max(counts_of_draws)} of {N_EXPERTS} experts get a gradient,"
)
print(f"all of them in {complete} of 20 draws")

# %% [markdown] only="solutions"
# With 8 experts, 8 tokens (16 choices) reach all of them in 7 of 20 draws and 16 tokens in 19. With 64
# experts and K = 2 it takes far more than eight times as many: 128 tokens reach 52 to 60 of them, and even
# 512 reach all 64 in only 2 draws. An untrained router does not choose evenly, and the last experts wait
# long. So the more experts there are, the larger the batch has to be before each of them learns in every
# step.

# %% only="solutions"
rerun("N_TOKENS = 8", "N_TOKENS = 16", "N_TOKENS = 128; N_EXPERTS = 64", "N_TOKENS = 512; N_EXPERTS = 64")

# %% [markdown]
# ### The case K = 1
#
# You met this trap in lesson 01: Mixtral's weights sum to 1, and with K = 1 that rule makes the single weight
# 1, for every token and whatever the logits say. The router gets no gradient but rounding noise.
#
# Would you notice in training? Let us train a small K = 1 layer with the rule and without it, and ask how far
# the router has moved from where it started.


# %%
def train_top_1(gate, make_optimizer, seed):
    """Loss at the start and at the end, and how far the router moved relative to its size."""
    g = torch.Generator().manual_seed(seed)
    layer = MoELayer(8, 8, 4, 1, gate=gate)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.35, generator=g)
    start_ED = layer.router.weight.detach().clone()
    optimizer = make_optimizer(layer.parameters())
    losses = []
    for _ in each(range(150), "step"):
        x = torch.randn(128, 8, generator=g)
        loss = (layer(x).hidden - x.roll(1, 1).tanh()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    moved = (layer.router.weight.detach() - start_ED).norm() / start_ED.norm()
    return sum(losses[:5]) / 5, sum(losses[-20:]) / 20, float(moved)


optimizers = {"SGD": lambda p: torch.optim.SGD(p, lr=0.1), "Adam": lambda p: torch.optim.Adam(p, lr=0.01)}
top_1 = {}
for gate in ("softmax_topk", "softmax_topk_renorm"):
    for name, make in optimizers.items():
        top_1[gate, name] = torch.tensor([train_top_1(gate, make, seed) for seed in each(range(4), "seed")])
        print(f"trained with {name} and {gate}, in 4 seeds")

# %% tags=["nbval-ignore-output"] why="trained"
print("mean of 4 seeds (router: lowest to highest)")
for (gate, name), runs in top_1.items():
    before, after, _ = runs.mean(0).tolist()
    lowest, highest = runs[:, 2].min(), runs[:, 2].max()
    print(
        f"{gate:<20}{name:<5} loss {before:.2f} -> {after:.2f}   router moved {lowest:.0e} to {highest:.0e}"
    )

# %%
after = {key: float(runs[:, 1].mean()) for key, runs in top_1.items()}
kept_moved = min(float(top_1["softmax_topk", name][:, 2].min()) for name in optimizers)
silent_moved = float(top_1["softmax_topk_renorm", "SGD"][:, 2].max())
left = [after[key] / float(runs[:, 0].mean()) for key, runs in top_1.items()]
times = [after["softmax_topk_renorm", name] / after["softmax_topk", name] for name in optimizers]
fell, no_higher = max(left) < 0.8, max(times) < 1.25
measured("mean loss left of that at the start, in all four", left, below=0.8, unit="%")
measured("renormalised, it ends at so many times the other", times, below=1.25, then="little is lost")
measured("probability kept, the router that moves least, of its size", kept_moved, above=0.05, unit="%")
measured("renormalised, the one that SGD moves most", silent_moved, below=1e-6, then="it stands still")

# %% [markdown]
# The loss falls in all four, because the experts learn, and in this toy it ends about as low. Nothing
# warns you that the router does not learn. (Adam makes it harder to see: it divides by the gradient's size,
# so even rounding noise becomes a visible step, in a random direction.)
#
# Switch, a model with K = 1, multiplies by the probability for this reason. Megatron-LM had
# [an issue about it](https://github.com/NVIDIA/Megatron-LM/issues/894).
#
# The next exercise is the hardest of this lesson and the one that explains the most. Take paper. When you
# have the formula for the renormalised case, put K = 1 into it.

# %% [markdown]
# {{puzzle 02.p_products}}


# %% puzzle="02.p_products"
@puzzle("02.p_products")
def row_products(a_ND, b_ND):
    ### BEGIN SOLUTION
    return (a_ND * b_ND).sum(dim=-1)
    ### END SOLUTION


# %% [markdown]
# {{puzzle 02.p_placed}}


# %% puzzle="02.p_placed"
@puzzle("02.p_placed")
def placed(values_NK, ids_NK, n_columns):
    ### BEGIN SOLUTION
    return torch.zeros(len(ids_NK), n_columns).scatter(1, ids_NK, values_NK)
    ### END SOLUTION


# %% [markdown]
# {{exercise 02.router_gradient}}


# %% answer="02.router_gradient"
def router_gradient(hidden_TD, logits_TE, topk_ids_TK, results_TKD, upstream_TD, renormalize):
    """Gradient of the loss with respect to the router's matrix.

    hidden_TD: [T, D] what the router read. logits_TE: [T, E]. topk_ids_TK: [T, K] the chosen experts.
    results_TKD: [T, K, D] what they answered. upstream_TD: [T, D] gradient at the layer's output.
    renormalize: weights are a softmax over the K chosen logits (True), or K values of a softmax over all E.
    Returns [E, D].
    """
    ### BEGIN SOLUTION
    # 1. Weight k enters the output as weight * result: its gradient is an inner product.
    score_TK = (upstream_TD.unsqueeze(1) * results_TKD).sum(dim=-1)
    # 2. The softmax that the weights come from, on all E columns; zero where an expert has no part in it.
    zeros_TE = torch.zeros_like(logits_TE)
    if renormalize:
        softmax_TE = zeros_TE.scatter(1, topk_ids_TK, logits_TE.gather(1, topk_ids_TK).softmax(dim=-1))
    else:
        softmax_TE = logits_TE.softmax(dim=-1)
    # 3. Back through that softmax. At K = 1 renormalised this is 1 * (score - 1 * score) = 0.
    score_TE = zeros_TE.scatter(1, topk_ids_TK, score_TK)
    grad_logits_TE = softmax_TE * (score_TE - (softmax_TE * score_TE).sum(dim=-1, keepdim=True))
    # 4. Logits are hidden @ router.T.
    return grad_logits_TE.T @ hidden_TD
    ### END SOLUTION


# %%
check("02.router_gradient")

# %% [markdown]
# **Change this.** Your formula on random numbers, with both kinds of weights. At K = 1 one of the gradients
# is zero, as it must be. What happens to the two as K grows? At which K are they equal?

# %% change=true
# Change these and run the cell again.
TOP_K = 1
N_EXPERTS = 8

gradient_of = yours("02.router_gradient")
generator.manual_seed(12)
hidden_TD, upstream_TD, router_ED = randn(64, 16), randn(64, 16), randn(N_EXPERTS, 16) / 4
answers_ETD = randn(N_EXPERTS, 64, 16)
logits_TE = hidden_TD @ router_ED.T
ids_TK = logits_TE.topk(TOP_K).indices
results_TKD = answers_ETD[ids_TK, torch.arange(64).unsqueeze(1)]
size = {}
for renormalize in (True, False):
    found_ED = gradient_of(hidden_TD, logits_TE, ids_TK, results_TKD, upstream_TD, renormalize)
    size[renormalize] = found_ED.norm().item()
print(f"K = {TOP_K} of {N_EXPERTS}: size of the router's gradient", end=" ")
print(f"{size[True]:.1f} rescaled, {size[False]:.1f} with the probabilities kept")

# %% [markdown] only="solutions"
# Kept, the gradient grows with K, from 28.5 to 41.5. Rescaled, it is 0 at K = 1, largest at K = 2 (50.6),
# and then falls. At K = 8 both are 41.5: where all experts are chosen there is nothing to rescale, and the
# two rules are one function. The trap of K = 1 is not the end of a slope. It is a cliff.

# %% only="solutions"
rerun("TOP_K = 2", "TOP_K = 4", "TOP_K = 8")

# %% [markdown]
# ## Experts that are something else
#
# Nothing in the sum asks for SwiGLU. An expert must take a vector of width D, return one of width D, and
# have a derivative. To test that, we replace one expert by the *identity*, which returns its input and
# costs nothing (LongCat-Flash does this to spend less on some tokens), and train.


# %%
from moe_lessons.experts import SwiGLU


def train_with_identity(seed, steps=150):
    """Three SwiGLU experts and an identity, top-2; the losses, and how often the identity is chosen."""
    g = torch.Generator().manual_seed(seed)
    router = torch.nn.Parameter(0.35 * torch.randn(4, 8, generator=g))
    learned = [SwiGLU(8, 8, std=0.35, generator=g) for _ in range(3)]
    experts = [*learned, torch.nn.Identity()]
    target = torch.randn(8, 8, generator=g) / 8**0.5
    optimizer = torch.optim.Adam([router, *(p for expert in learned for p in expert.parameters())], lr=0.01)
    losses = []
    for _ in each(range(steps), "step"):
        x = torch.randn(128, 8, generator=g)
        _, ids, weights = topk_softmax(x @ router.T, 2)
        y = torch.zeros_like(x)
        for e, expert in enumerate(experts):
            tokens, choices = (ids == e).nonzero(as_tuple=True)
            y = y.index_add(0, tokens, weights[tokens, choices, None] * expert(x[tokens]))
        loss = (y - (x + (x @ target.T).tanh())).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[:10]) / 10, sum(losses[-10:]) / 10, float((ids == 3).any(1).float().mean())


identity_runs = []
for seed in each(range(8), "seed"):
    identity_runs.append(train_with_identity(seed))
    print(f"seed {seed} trained", end="; " if seed < 7 else ".\n")
fell = sum(after < before / 2 for before, after, _ in identity_runs)
used = sum(share > 0.05 for *_, share in identity_runs)
print(f"The loss fell to less than half in {fell} of 8 seeds;")
print(f"the identity takes part for more than 5% of the tokens in {used} of 8.")

# %%
claim("L5", "correct", holds=fell == 8 and used >= 6)

# %% [markdown]
# ### An expert for everyone
#
# Another variation is in DeepSeek's models, Llama 4, Kimi K2 and others: a **shared expert**. It sees every
# token, and the router has no say in it. What all tokens need can be learned there once, instead of E times.
# Its answer is added with weight 1. Where a model scales the routed part (DeepSeek-V3 by 2.5), the shared
# part is left alone.
#
# How much of a token's expert work is shared, in published models?

# %%
for preset in PRESETS.values():
    if preset.n_shared_experts:
        share = preset.n_shared_experts / (preset.n_shared_experts + preset.top_k)
        print(
            f"{preset.name:<14} {preset.n_shared_experts} shared beside {preset.top_k} of "
            f"{preset.n_experts}: {share:.0%} of a token's expert work, routed part times {preset.scale:g}"
        )

# %% [markdown]
# {{exercise 02.shared_expert}}


# %% answer="02.shared_expert"
def with_shared_expert(hidden_TD, results_TKD, topk_weights_TK, scale, gate_up_2GD, down_DG):
    """The routed part, scaled, plus a shared expert.

    hidden_TD: [T, D]. results_TKD: [T, K, D] answers of the routed experts. topk_weights_TK: [T, K].
    scale: a factor on the routed part. gate_up_2GD: [2G, D] gate first, and down_DG: [D, G]: the shared
    expert, whose width is G.
    Returns [T, D].
    """
    ### BEGIN SOLUTION
    routed_TD = (topk_weights_TK.unsqueeze(-1) * results_TKD).sum(dim=1)
    gate_TG, up_TG = (hidden_TD @ gate_up_2GD.T).chunk(2, dim=-1)
    shared_TD = (F.silu(gate_TG) * up_TG) @ down_DG.T
    return scale * routed_TD + shared_TD
    ### END SOLUTION


# %%
check("02.shared_expert")

# %% [markdown]
# That was the last part of a layer. Put yours together: the gates of lesson 01 choose, `expert_bank` answers,
# `with_shared_expert` adds up. Beside it stands the package's layer with two shared experts and the same
# weights; and, so that the comparison can fail, the same layer without them.

# %%
shared = yours("02.shared_expert")
generator.manual_seed(11)
layer = MoELayer(16, 12, 6, 2, n_shared_experts=2, generator=generator)
for parameter in layer.parameters():
    parameter.data = 0.3 * randn(*parameter.shape)
x_TD = randn(20, 16)

with torch.no_grad():
    ids_TK, weights_TK = gates(layer.router(x_TD), 2, True)
    answers_ETD = all_experts(x_TD, layer.experts.gate_up_proj, layer.experts.down_proj, False)
    results_TKD = answers_ETD[ids_TK, torch.arange(20).unsqueeze(1)]
    for_all = layer.shared_experts.gate_up_proj, layer.shared_experts.down_proj
    built_TD = shared(x_TD, results_TKD, weights_TK, 1.0, *for_all)
    whole_TD = layer(x_TD).hidden
    without_TD = (weights_TK.unsqueeze(-1) * results_TKD).sum(dim=1)
print(f"{gates.label}, {all_experts.label}, {shared.label}:")
gap, lack = ((made_TD - whole_TD).abs().max() for made_TD in (built_TD, without_TD))
measured("  off the package's layer by at most", gap, below=1e-4, then="the same")
measured("  without the shared part", lack, above=0.1, then="something is missing")

# %% [markdown]
# ## Is the second expert a spare?
#
# "Top-2 gives redundancy": if one expert fails, the other is still there. Let us fail some. We train the
# toy from above with 16 experts and K = 1, 2 and 8, in 16 seeds each. Then, without more training, we take
# away every token's best expert. In two ways:
#
# - **dropped**: its term is left out of the sum, the others stay as they are. (An overfull expert does this
#   to a token; lesson 07.)
# - **next in line**: the router may not choose it, and picks the K best of the rest.

# %% tags=["nbval-ignore-output"] why="widget"
predict("02.mask")

# %%
plentiful = make_task(pieces=16)
test_x, test_y = plentiful(1024)
damage = {}
for K in each((1, 2, 8), "K"):
    trained = train(plentiful, E=16, F=8, top_k=K)
    print(f"trained with K = {K}, in 16 seeds")
    damage[K] = {
        how: error(sparse(test_x, *trained, K, without_best=how)[0], test_y)
        for how in (None, "dropped", "next in line")
    }

# %% tags=["nbval-ignore-output"] why="trained"
print("error: mean (lowest to highest) of 16 seeds")
print(f"{'':<6}{'intact':>22}{'best dropped':>22}{'next in line':>22}")
for K, errors in damage.items():
    cells = [f"{e.mean():.2f} ({e.min():.2f} to {e.max():.2f})" for e in errors.values()]
    print(f"K = {K:<2}" + "".join(f"{cell:>22}" for cell in cells))

# %% draw=true tags=["nbval-ignore-output"] why="image"
line_chart(
    {
        label: (list(damage), [float(damage[K][how].mean()) for K in damage])
        for label, how in (("next in line", "next in line"), ("best dropped", "dropped"), ("intact", None))
    },
    references={"answering with the mean": 1.0},
    title="The next in line is no substitute; a missing term hurts less at larger K",
    x_label="K, experts per token (measured at 1, 2 and 8)",
    y_label="error; 1 is answering with the mean (mean of 16 seeds)",
    y_range=(0, 1.5),
)

# %%
times_worse = {K: damage[K]["next in line"] / damage[K][None] for K in damage}
print("the next in line multiplies the error of a seed by")
measured("  at every K", times_worse.values(), above=2)
measured("  at K = 2", times_worse[2], above=4)
mean_of = {K: float(damage[K]["dropped"].mean()) for K in damage}
softer = mean_of[1] > mean_of[2] > mean_of[8]
print("mean error without the best expert")
for fewer, more in ((1, 2), (2, 8)):
    share = mean_of[more] / mean_of[fewer]
    measured(f"  at K = {more}, as a share of that at K = {fewer}", share, below=1, unit="%", then="softer")

# %%
reveal("02.mask")

# %%
claim("L139", "imprecise", holds=softer and bool((times_worse[2] > 4).all()))

# %% [markdown]
# So both halves of the sentence need care. A token that loses one of two terms keeps the other, and that is
# better than losing the only one. But no expert stands ready to do another's work. DeepSeekMoE reports
# something similar of language models: disabling the best experts hurts its many small experts *more* than
# the fewer, larger ones of GShard, and the authors read that as less redundancy
# ([figure 4](https://arxiv.org/abs/2401.06066)). How large the damage is depends on the task; ours is made of
# separate pieces, which makes experts hard to replace.

# %% [markdown]
# ## Where the layers sit
#
# Last, the block around the layer. Three things that explainers often say, held against published models.
#
# **"Each expert has the shape of the FFN that it replaces."** Some models keep dense layers beside the
# experts, so we can compare the two widths in one model.

# %%
widths = {p.name: p.d_expert / p.d_dense for p in PRESETS.values() if p.d_dense}
for name, ratio in widths.items():
    print(f"{name:<14} expert / dense width = {ratio:.2f}")

# %% draw=true tags=["nbval-ignore-output"] why="image"
bar_chart(
    [PRESETS[name].d_expert / PRESETS[name].d_dense for name in widths],
    names=list(widths),
    title="Switch copies the FFN; later models cut experts to an eighth or ninth of it",
    y_label="hidden width of an expert / hidden width of the model's dense FFN",
    x_label="model",
    value_format="{:.2f}",
    width=640,
)

# %%
claim("L2", "imprecise", holds=widths["Switch-Base-8"] == 1 and max(list(widths.values())[1:]) < 0.2)

# %% [markdown]
# **"The FFN is replaced in every block."** Here is which blocks hold experts. A letter is a block from
# first to last: `E` with experts, `.` with a dense FFN.

# %%
first_dense = {"DeepSeek-V2": 1, "DeepSeek-V3": 3, "GLM-4.5": 3, "Kimi-K2": 1}  # first_k_dense_replace
every = {"Switch-Base-8": 2}  # of 12 encoder and 12 decoder blocks, every second


def layer_map(preset):
    start, step = first_dense.get(preset.name, 0), every.get(preset.name, 1)
    return "".join("E" if i >= start and (i + 1) % step == 0 else "." for i in range(preset.n_layers))


maps = {p.name: layer_map(p) for p in PRESETS.values()}
for name in ("Mixtral-8x7B", "Switch-Base-8", "DeepSeek-V3", "Kimi-K2"):
    print(f"{name:<14} {maps[name]}")
as_published = sum(maps[p.name].count("E") == p.n_moe_layers for p in PRESETS.values())
with_dense = sum("." in m for m in maps.values())
print(f"{as_published} of {len(maps)} have as many E as the published configuration has MoE layers.")
print(f"{with_dense} of {len(maps)} listed models keep some dense blocks.")

# %%
claim("L3", "imprecise", holds=as_published and 0 < with_dense < len(maps))

# %% [markdown]
# **"Attention is not made of experts."** Typically. In Mixtral, every token uses all of the attention, and
# the experts are nearly everything else. We count its parts, and look for routers in a model of our own:

# %%
from moe_lessons import ModelConfig, MoETransformer

config = ModelConfig(n_layers=2, d_model=32, n_heads=4, n_kv_heads=4, d_expert=16, n_experts=8, top_k=2)
model = MoETransformer(config, generator=torch.Generator().manual_seed(3))
parts = {"experts": totals[3] - rest, "attention": attention, "embeddings": embeddings, "routers": routers}
for name, size in parts.items():
    print(f"{name:<11}{size:>15,} parameters  {size / totals[3]:>7.2%}")
routed = {name.split(".")[2] for name, _ in model.named_parameters() if "router" in name}
print("Parts of our own blocks that have a router:", ", ".join(routed))

# %%
claim("L4", "correct", holds=routed == {"moe"} and sum(parts.values()) + norms == mixtral.total_parameters)

# %% [markdown]
# ### Where does the norm go?
#
# And a fourth sentence: **"attention, add and norm, FFN, add and norm."** Each half of a block *adds* its
# result to what came in; this running sum, one vector per token, is called the *residual stream*. In
# *post-norm*, the order of the sentence, the sum itself is normalised. In *pre-norm*, what goes into
# attention or experts is normalised, and the sum is left alone. There is a test that needs no theory: silence
# attention and experts. In a pre-norm block the stream must come out as it went in.

# %%
block = MoETransformer(config, generator=torch.Generator().manual_seed(3)).blocks[0]
generator.manual_seed(10)
stream = randn(1, 6, 32)
with torch.no_grad():
    block.attention.o_proj.weight.zero_()
    block.moe.experts.down_proj.zero_()
    passed = block(stream, model.cos_LP[:6], model.sin_LP[:6])[0]  # these turn queries by their place
    post_norm = block.moe_norm(block.attention_norm(stream + 0) + 0)  # add and norm, twice, with silent parts
print("largest change of the stream")
print(f"  in our block (pre-norm): {(passed - stream).abs().max():g}")
measured("  in a post-norm block", (post_norm - stream).abs().max(), above=0.01, then="it is rescaled")

# %%
claim(
    "L7", "imprecise", holds=torch.equal(passed, stream) and not torch.allclose(post_norm, stream, atol=0.01)
)

# %% [markdown]
# That open road through the block is one reason given for pre-norm: gradients reach early layers without
# passing through every norm ([Xiong et al.](https://arxiv.org/abs/2002.04745)). The question is still open:
# Grok-1 normalises before *and* after each part.

# %% [markdown]
# ## What to take along
#
# - A MoE layer is a router, E networks, and a weighted sum of K of them per token.
# - Any order of work gives the same sum. Fast layers sort tokens by expert, so that each expert's matrices
#   are read once.
# - A token's work is K experts plus E * D for the router. Memory holds all E.
# - It is not an ensemble: it buys capacity, not lower variance. Neither wins everywhere.
# - Experts not chosen get a gradient of exactly zero. The router learns through the kept weights only; at
#   K = 1 with renormalised weights there is nothing to learn from.
# - The K experts are terms of one sum. None is a spare for another.
#
# Check yourself:

# %% tags=["nbval-ignore-output"] why="widget"
quiz("02.shape")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("02.bug")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("02.router_cost")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("02.dead_router")

# %% [markdown]
# What this lesson settled of what explainers say:

# %%
claims_table()

# %%
score()
