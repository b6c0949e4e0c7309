# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("08_dispatch")

# %% [markdown]
# In lesson 02 you wrote the layer as a loop and then with a sort. Both were right. Now we ask about speed,
# and the first answer is a disappointment: all ways to compute the layer do nearly the same arithmetic, and
# yet one may take several times as long as another.
#
# So something other than arithmetic takes the time. This lesson finds out what, one piece at a time: what the
# loop allocates, what padding wastes, what is read and written, in which order sums are taken, and, with the
# experts on eight devices, who waits for whom.

# %%
import math
import time
from itertools import pairwise

import torch
import torch.nn.functional as F
from IPython.display import display
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from moe_lessons import dispatch, metrics, svg
from moe_lessons.parallel import simulated as ranks
from moe_lessons.experts import swiglu, swiglu_activation
from moe_lessons.accounting.presets import PRESETS
from moe_lessons.routing import topk_softmax

generator = torch.Generator().manual_seed(8)


def randn(*shape):
    return torch.randn(*shape, generator=generator)


def make_inputs(T, D, d_expert, E, K, skew=0.0):
    """Hidden states, ids, weights and matrices; with a skew, expert e is chosen like 1 / (e + 1)**skew."""
    popularity_E = -skew * torch.arange(1, E + 1).log()
    noise_TE = torch.rand(T, E, generator=generator)
    logits_TE = popularity_E - (-noise_TE.log()).log()  # Gumbel noise: a draw without replacement
    _, ids_TK, weights_TK = topk_softmax(logits_TE, K)
    gate_up = (randn(E, 2 * d_expert, D) / D**0.5).requires_grad_()
    down = (randn(E, D, d_expert) / d_expert**0.5).requires_grad_()
    return randn(T, D), ids_TK, weights_TK, gate_up, down


# %% [markdown]
# ## A loop, and what it does not tell you
#
# Here is the loop over experts as most people write it first. For each expert: find its tokens, take its
# matrices, compute, add.


# %%
def loop_over_experts(hidden_TD, ids_TK, weights_TK, gate_up, down, take=lambda stack: stack):
    """`take` says how the experts' matrices come out of the stack: indexed as they are, or unbound first."""
    gate_up_of, down_of = take(gate_up), take(down)
    output_TD = torch.zeros_like(hidden_TD)
    for e in range(len(down)):
        tokens, choices = (ids_TK == e).nonzero(as_tuple=True)
        rows = swiglu(hidden_TD[tokens], gate_up_of[e], down_of[e])  # gate_up[e]: remember this one
        output_TD = output_TD.index_add(0, tokens, rows * weights_TK[tokens, choices].unsqueeze(-1))
    return output_TD


def unbound_loop(*inputs):
    return loop_over_experts(*inputs, take=lambda stack: stack.unbind(0))


ways = {
    "loop, W[e]": loop_over_experts,
    "loop, unbound": unbound_loop,
    "sort, split": dispatch.moe_unbind,
    "grouped": dispatch.moe_grouped,
    "padded": dispatch.moe_padded,
    "fused": dispatch.moe_fused,
}

generator.manual_seed(81)
inputs = make_inputs(T=256, D=64, d_expert=64, E=16, K=4)
rows, multiplied, errors = 256 * 4, {}, {}
with torch.no_grad():
    expected_TD = dispatch.moe_loop(*inputs)
    for name, way in ways.items():
        with FlopCounterMode(display=False) as counter:
            errors[name] = float((way(*inputs) - expected_TD).norm() / expected_TD.norm())
        multiplied[name] = counter.get_total_flops() / (6 * rows * 64 * 64)
        told = f"{multiplied[name]:.2f}" if multiplied[name] else "not counted by this PyTorch"
        if name == "fused" and 1 <= multiplied[name] < 1.2:
            told = "between 1 and 1.2"  # which one depends on the processor
        print(f"{name:<15} FLOPs / (6 S D F): {told}")
measured("relative error against a loop over tokens", errors.values(), below=1e-5, then="the same result")

# %% [markdown]
# The same result six times. And the same work: S = T · K rows pass through three matrices of D by F, which is
# 6 · S · D · F FLOPs forward. (A dense network of K times the width needs as many.) PyTorch's counter
# confirms it where it can. Only padding adds some: `padded` gives every expert as many rows as the busiest,
# and we come to that; `fused` fills up to whole blocks of 16 rows, on processors where that is faster.
# Forward and backward on this machine, with 64 small experts (the six ways five times each: some seconds).


# %% tags=["nbval-ignore-output"] why="timing"
from moe_lessons.steps import each


def milliseconds(function, repeats=4):
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - began))
        if sum(times) > 2000:
            break  # so slow that one is enough
    return min(times)


def forward_backward(way, inputs):
    hidden_TD, ids_TK, weights_TK, gate_up, down = inputs
    hidden_TD = hidden_TD.detach().requires_grad_()
    output_TD = way(hidden_TD, ids_TK, weights_TK, gate_up, down)
    torch.autograd.grad(output_TD.sum(), (hidden_TD, gate_up, down))


def dense_limit(inputs):
    """As many FLOPs in one dense chain: all S rows through one expert."""
    hidden_TD, ids_TK, _, gate_up, down = inputs
    rows_SD = hidden_TD.repeat_interleave(ids_TK.shape[1], dim=0).requires_grad_()
    matrices = gate_up[0].detach().requires_grad_(), down[0].detach().requires_grad_()

    def run():
        torch.autograd.grad(swiglu(rows_SD, *matrices).sum(), (rows_SD, *matrices))

    return milliseconds(run)


def time_all(inputs, title, ways=ways):
    ms = {
        name: milliseconds(lambda way=ways[name]: forward_backward(way, inputs))
        for name in each(list(ways), "way")
    }
    ms["dense limit"] = dense_limit(inputs)
    display(
        svg.bar_chart(
            list(ms.values()),
            names=list(ms),
            title=title,
            y_label="milliseconds, forward and backward (best of 4)",
            x_label="way to compute the layer; at the right, as many FLOPs in one dense network",
            value_format="{:.1f}",
            width=720,
        )
    )


generator.manual_seed(82)
even = make_inputs(T=1024, D=128, d_expert=128, E=64, K=8)
time_all(even, "The same FLOPs, in very different times (T=1024, D=F=128, E=64, K=8)")

# %% [markdown]
# The bar on the right is the limit: as many multiplications, in a few large products. Everything above it is
# the price of having experts. The loop pays most of all. Why?
#
# You would guess: because Python is slow. Sixty-four small calls do cost something. But the loop in the
# second bar makes as many calls.

# %% [markdown]
# ## The trap in `W[e]`
#
# The first two bars differ in one thing: how a matrix is taken out of the stack.

# %% tags=["nbval-ignore-output"] why="widget"
predict("08.trap")

# %% [markdown]
# A clock would be a poor witness here, with two cores and other programs about. So we count. PyTorch lets us
# watch every operation; we add up the memory of each result that is not a view of something that was there.


# %%
class Allocated(TorchDispatchMode):
    """Adds up the bytes of all new memory while it is on."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = {place(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for x in tree_leaves(result):
            if isinstance(x, torch.Tensor) and place(x) not in given:
                self.bytes += x.untyped_storage().nbytes()
        return result


def place(tensor):
    return tensor.untyped_storage().data_ptr()


def backward_bytes(way, inputs):
    output_TD = way(*inputs)
    with Allocated() as counted:
        torch.autograd.grad(output_TD.sum(), inputs[3:])
    return counted.bytes


generator.manual_seed(83)
sizes = (8, 16, 32, 64)
indexed, unbound, one_gradient = [], [], []
for E in sizes:
    inputs = make_inputs(T=64, D=32, d_expert=32, E=E, K=4)
    indexed.append(backward_bytes(loop_over_experts, inputs))
    unbound.append(backward_bytes(unbound_loop, inputs))
    one_gradient.append(inputs[3].nbytes + inputs[4].nbytes)

print(f"{'E':>3}{'gradient of W':>16}{'W[e] allocates':>17}{'unbound allocates':>20}   (kB)")
for E, size, a, b in zip(sizes, one_gradient, indexed, unbound, strict=True):
    print(f"{E:>3}{size / 1e3:>16.0f}{a / 1e3:>17.0f}{b / 1e3:>20.0f}")
print(f"from 8 experts to 64: W[e] {indexed[-1] / indexed[0]:.0f} times as many, ", end="")
print(f"unbound {unbound[-1] / unbound[0]:.0f} times as many")

# %%
reveal("08.trap")

# %% [markdown]
# Per expert, `W[e]` allocates twice the whole gradient: once zeros with one expert filled in, once the sum
# with what was there. Work that grows with E² hides behind one pair of brackets. At DeepSeek-V3's size one
# layer's experts take 22.5 GB in bf16; this backward would allocate that 512 times, for a single layer.
#
# `W.unbind(0)` splits the stack once. Its backward stacks the E gradients once. The forward is the same.

# %%
v3 = PRESETS["DeepSeek-V3"]
stack_bytes = v3.n_experts * 3 * v3.d_model * v3.d_expert * 2
print(
    f"one layer's experts in bf16: {stack_bytes / 1e9:.1f} GB, and twice for each expert: {2 * v3.n_experts}"
)
print("the last line of the table, in gradients per expert:", round(indexed[-1] / one_gradient[-1] / 64, 1))

# %% [markdown]
# **Change this.** Double the tokens, the experts, or the width of each expert. Which of the three makes
# `W[e]` allocate most, and which hardly anything?

# %% change=true
# Change these and run the cell again.
n_tokens = 64
n_experts = 32
d_expert = 32

generator.manual_seed(83)
inputs = make_inputs(T=n_tokens, D=32, d_expert=d_expert, E=n_experts, K=4)
a, b = (backward_bytes(way, inputs) / 1e6 for way in (loop_over_experts, unbound_loop))
print(f"T = {n_tokens}, E = {n_experts}, F = {d_expert}:  W[e] {a:.1f} MB, unbound {b:.1f} MB")

# %% [markdown] only="solutions"
# Twice the experts is nearly four times the bytes, twice the width nearly twice. Twice the tokens hardly
# shows: the zeros that `W[e]` fills in are as many as there are weights, whoever comes. Unbound, the bytes
# never more than double.

# %% only="solutions"
for n_tokens, n_experts, d_expert in ((64, 32, 32), (128, 32, 32), (64, 64, 32), (64, 32, 64)):
    inputs = make_inputs(T=n_tokens, D=32, d_expert=d_expert, E=n_experts, K=4)
    a, b = (backward_bytes(way, inputs) / 1e6 for way in (loop_over_experts, unbound_loop))
    print(f"T = {n_tokens:>3}, E = {n_experts}, F = {d_expert}:  W[e] {a:>5.1f} MB, unbound {b:.1f} MB")

# %% [markdown]
# ## One sort
#
# The loop has a second weakness: it asks "which tokens are yours?" E times, and looks through all ids each
# time. A sort answers once. The names, which every library has in some form:
#
# - A **slot** is one (token, choice) pair. Slot s = t · K + k; so `s // K` is the token, `s % K` the choice.
# - The **order** says which slot stands at each sorted position.
# - The **inverse** says at which position each slot stands.
# - The **ends** say where each expert's rows stop. Where they start is where the one before ends.
#
# | Equation | Code |
# |---|---|
# | $\pi$ sorts $e(s)$, keeping the order of equals | `order = ids.flatten().argsort(stable=True)` |
# | $\text{token}(p) = \lfloor \pi(p) / K \rfloor$ | `order // K` |
# | $\text{end}(e) = \lvert\{s : e(s) \le e\}\rvert$ | `bincount(ids, minlength=E).cumsum(0)` |
# | $\pi^{-1}(\pi(p)) = p$ | `inverse[order] = arange(S)` |
#
# Try it with eight tokens. First two questions, then the picture moves.

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import Permutation

Permutation()

# %% [markdown]
# Why stable? The layer's result would be right with any order within a group. But the order decides which row
# stands next to which, and so the last bits of every sum that follows: of the weight gradients, for one. A
# stable sort makes the same ids give the same plan on every machine.

# %% [markdown]
# {{puzzle 08.p_dear}}


# %% puzzle="08.p_dear"
@puzzle("08.p_dear")
def dear_first(price_N):
    ### BEGIN SOLUTION
    return price_N.argsort(descending=True, stable=True)
    ### END SOLUTION


# %% [markdown]
# {{puzzle 08.p_chapter}}


# %% puzzle="08.p_chapter"
@puzzle("08.p_chapter")
def chapter_of(ends_E, pages_N):
    ### BEGIN SOLUTION
    return torch.searchsorted(ends_E, pages_N, right=True)
    ### END SOLUTION


# %% [markdown]
# {{exercise 08.permutation_plan}}


# %% answer="08.permutation_plan"
def permutation_plan(topk_ids_TK, n_experts):
    """Sort the slots by expert, keeping their order within each.

    topk_ids_TK: [T, K] expert ids 0..E-1. n_experts: E.
    Returns the slot at each position [S], the token at each position [S], and each expert's end [E].
    """
    ### BEGIN SOLUTION
    ids_S = topk_ids_TK.flatten()
    row_ids_S = ids_S.argsort(stable=True)
    token_ids_S = row_ids_S // topk_ids_TK.shape[1]
    expert_ends_E = torch.bincount(ids_S, minlength=n_experts).cumsum(0)
    return row_ids_S, token_ids_S, expert_ends_E
    ### END SOLUTION


# %%
check("08.permutation_plan")

# %% [markdown]
# And the way back. `order` and `inverse` are easy to mix up, and for some small inputs they are even equal: a
# swap undoes itself. That is why a test with three slots can pass on wrong code.

# %%
generator.manual_seed(84)
orders = [torch.randperm(n, generator=generator) for n in (3, 6, 12) for _ in range(200)]
for n in (3, 6, 12):
    same = sum(torch.equal(order, order.argsort()) for order in orders if len(order) == n)
    print(
        f"{n:>2} slots: the order is its own inverse in {'many' if same > 60 else 'few' if same else 'none'}",
        end="",
    )
    print(" of 200 random draws")

# %% [markdown]
# {{puzzle 08.p_delivered}}


# %% puzzle="08.p_delivered"
@puzzle("08.p_delivered")
def delivered(weight_N, door_N):
    ### BEGIN SOLUTION
    return torch.zeros_like(weight_N).scatter(0, door_N, weight_N)
    ### END SOLUTION


# %% [markdown]
# {{exercise 08.undo_sort}}


# %% answer="08.undo_sort"
def undo_sort(results_SD, row_ids_S, top_k):
    """Say where each slot stands, and bring the results back into slot order.

    results_SD: [S, D], sorted by expert. row_ids_S: [S], the slot at each position. top_k: K.
    Returns the position of each slot [T, K] and the results [T, K, D].
    """
    ### BEGIN SOLUTION
    inverse_S = torch.empty_like(row_ids_S)
    inverse_S[row_ids_S] = torch.arange(len(row_ids_S))
    return inverse_S.view(-1, top_k), results_SD[inverse_S].view(-1, top_k, results_SD.shape[1])
    ### END SOLUTION


# %%
check("08.undo_sort")

# %% [markdown]
# ## One product for groups of any size
#
# With rows sorted and ends known, all experts are one operation: a **grouped matrix product**. Until a few
# years ago PyTorch had none. Explainers still say that MoE needs kernels of its own for this reason. Today
# it is a call: `F.grouped_mm(rows_SD, matrices_EDF, offs=ends_E)`.

# %%
generator.manual_seed(85)
hidden_TD, ids_TK, weights_TK, gate_up, down = make_inputs(T=96, D=32, d_expert=48, E=8, K=3)
ids_TK = torch.where(ids_TK == 5, 2, ids_TK)  # nobody asks for expert 5 any more
plan = dispatch.permutation_plan(ids_TK, n_experts=8)
rows_SD = hidden_TD[plan.token_ids_S]
with torch.no_grad():
    at_once_SF = F.grouped_mm(rows_SD, gate_up.mT, offs=plan.expert_ends_E)
    eight_SF = [
        rows_SD[start:end] @ gate_up[e].T
        for e, (start, end) in enumerate(pairwise([0, *plan.expert_ends_E.tolist()]))
    ]
grouped_error = float((at_once_SF - torch.cat(eight_SF)).norm() / at_once_SF.norm())
print("rows of each expert:", plan.tokens_per_expert_E.tolist())
measured("one grouped product against eight small ones, relative error", grouped_error, below=1e-6)

# %% [markdown]
# It has its conditions. `offs` holds ends, not sizes and not starts, as int32. Rows start on 16 bytes. There
# is no fp64. And rows beyond the last end are *not written*: what you find there is what was in that memory
# before. If your buffer is larger than the load, this matters, in the backward too.
#
# Write your own, and be kinder to the rows at the end.

# %% [markdown]
# {{exercise 08.grouped_product}}


# %% answer="08.grouped_product"
def grouped_product(rows_SD, matrices_EDF, ends_E):
    """Each row times the matrix of its expert.

    rows_SD: [S, D], sorted by expert. matrices_EDF: [E, D, F].
    ends_E: [E], the first position that no longer belongs to each expert.
    Returns [S, F]; rows from ends_E[-1] on are zero.
    """
    ### BEGIN SOLUTION
    sizes = torch.diff(ends_E, prepend=ends_E.new_zeros(1)).tolist()
    owned = sum(sizes)
    groups = rows_SD[:owned].split(sizes)
    results = [group @ matrix for group, matrix in zip(groups, matrices_EDF.unbind(0), strict=True)]
    nobody = rows_SD.new_zeros(len(rows_SD) - owned, matrices_EDF.shape[2])
    return torch.cat([*results, nobody])
    ### END SOLUTION


# %%
check("08.grouped_product")

# %% [markdown]
# It gives the right product, and its gradients are right. Is it also free of the trap? The same watcher as
# above looks at its backward, with 256 rows and more and more experts. For comparison one product that takes
# `matrices[e]` in a loop, and PyTorch's.

# %%
multiply = yours("08.grouped_product")


def indexed_product(rows_SD, matrices_EDF, ends_E):
    """A loop that takes each matrix out of the stack by its number."""
    bounds = list(pairwise([0, *ends_E.tolist()]))
    return torch.cat([rows_SD[start:end] @ matrices_EDF[e] for e, (start, end) in enumerate(bounds)])


def pytorchs_product(rows_SD, matrices_EDF, ends_E):
    return F.grouped_mm(rows_SD, matrices_EDF, offs=ends_E.int())


def product_bytes(product, n_experts):
    """What the backward of one grouped product allocates."""
    generator.manual_seed(96)
    matrices_EDF = randn(n_experts, 32, 32).requires_grad_()
    results_SF = product(randn(256, 32), matrices_EDF, 256 // n_experts * torch.arange(1, n_experts + 1))
    with Allocated() as counted:
        torch.autograd.grad(results_SF.square().sum(), matrices_EDF)
    return counted.bytes


print(f"kB in the backward, with E = {', '.join(map(str, sizes))}")
for name, product in {
    "matrices[e]": indexed_product,
    "grouped_mm": pytorchs_product,
    multiply.label: multiply,
}.items():
    try:
        kilobytes = [product_bytes(product, n_experts) / 1e3 for n_experts in sizes]
    except RuntimeError as error:
        print(f"{name:<30}has no backward here: {str(error).splitlines()[0]}")
        continue
    growth = kilobytes[-1] / kilobytes[0]
    name = getattr(product, "label", name)  # asked for now: a part that has stopped is not yours any more
    print(f"{name:<30}{''.join(f'{k:>8.0f}' for k in kilobytes)}   grows {growth:.0f} times")

# %% [markdown]
# Eight times as many experts have eight times as many weights, so their gradient is eight times as large. Up
# to that, growth is honest work. A product that grows faster than its experts fills in zeros.

# %% [markdown]
# ## Padding against skew
#
# There is an older way to one product: give every expert as many rows as the busiest one has, fill up with
# zeros, and use a batched product (`torch.bmm`). All shapes are equal, and nothing has to be clever. The cost
# is E times the largest load, instead of the sum of the loads. Divide by the rows that are needed:
#
# $$\frac{E \cdot \max_e n_e}{\sum_e n_e} = \frac{\max_e n_e}{\text{mean}_e\, n_e}$$
#
# So the waste *is* the imbalance, the number that part II of the course was about. With a skew of s, expert e
# (counted from 1) is asked like $1 / e^s$: 0 is even, 1 is called Zipf's law.

# %%
generator.manual_seed(86)
skews = (0.0, 0.25, 0.5, 0.75, 1.0)
factors = {}
for skew in skews:
    draws = [make_inputs(1024, 4, 4, 64, 8, skew)[1] for _ in range(8)]
    loads = [torch.bincount(ids_TK.flatten(), minlength=64) for ids_TK in draws]
    factors[skew] = [float(metrics.max_over_mean(load_E)) for load_E in loads]
print("computed rows over needed rows, 64 experts, T = 1024, K = 8; mean of 8 draws, lowest to highest")
for skew, found in factors.items():
    print(f"skew {skew:<5} {sum(found) / 8:.1f}   ({min(found):.1f} to {max(found):.1f})")

# %% [markdown]
# **Change this.** The skew is 0, so the router is even. Can padding still compute twice as many rows as are
# needed? Try other numbers of experts and of choices.

# %% change=true
# Change these and run the cell again.
skew = 0.0
n_experts = 64
top_k = 8

generator.manual_seed(93)
padded_load_E = torch.bincount(
    make_inputs(1024, 4, 4, n_experts, top_k, skew)[1].flatten(), minlength=n_experts
)
factor = float(metrics.max_over_mean(padded_load_E))
print(
    f"skew {skew}, E = {n_experts}, K = {top_k}: {1024 * top_k / n_experts:.0f} rows per expert on average,"
)
print(f"{factor:.1f} times as many computed as needed")

# %% [markdown] only="solutions"
# Yes: chance is enough, where an expert gets few rows. With 256 experts and K = 1 there are four rows per
# expert on average, and the fullest has more than twice as many. The larger the batch, the less of this is
# left; of a skew everything is left.

# %% only="solutions"
generator.manual_seed(80)
for n_experts, top_k in ((64, 8), (256, 8), (64, 1), (256, 1)):
    ids_TK = make_inputs(1024, 4, 4, n_experts, top_k)[1]
    factor = float(metrics.max_over_mean(torch.bincount(ids_TK.flatten(), minlength=n_experts)))
    print(f"an even router, E = {n_experts:>3}, K = {top_k}: computed over needed {factor:.1f}")

# %% [markdown]
# The busiest expert cannot get more than one row of each token, so with K = 8 of 64 the factor ends at 8.
# Below, the layer from the beginning again, with skewed loads (skew 1). Compare with the first chart. Who
# stays where they were, who does not?

# %% tags=["nbval-ignore-output"] why="timing"
generator.manual_seed(87)
skewed = make_inputs(T=1024, D=128, d_expert=128, E=64, K=8, skew=1.0)
time_all(skewed, "Padding collapses under skew (as above, loads by Zipf's law)")

# %%
sizes_E = plan.tokens_per_expert_E.tolist()
uneven = min(sizes_E) == 0 and len(set(sizes_E)) > 4  # nothing that a dense product could take
claim("L101", "outdated", holds=grouped_error < 1e-6 and uneven)

# %% [markdown]
# With even loads padding is not bad at all: few calls, little waste. No way wins everywhere, and the
# package's layer chooses by shape and load.

# %% [markdown]
# ## Sums have an order
#
# The combine adds each token's K results. Lesson 02 did it with `index_add`: every row is sent to its token.
# The alternative is a gather: every token fetches its K rows through the inverse, and sums over k. On paper
# it is the same sum.

# %% tags=["nbval-ignore-output"] why="widget"
predict("08.bits")


# %%
def sent(rows_SD, weights_TK, plan):
    weighted_SD = rows_SD * weights_TK.flatten()[plan.row_ids_S].unsqueeze(-1)
    return torch.zeros(len(weights_TK), rows_SD.shape[1]).index_add(0, plan.token_ids_S, weighted_SD)


def fetched(rows_SD, weights_TK, plan):
    back_TKD = rows_SD[plan.inverse_S].view(*weights_TK.shape, rows_SD.shape[1])
    return (back_TKD * weights_TK.unsqueeze(-1)).sum(dim=1)


def changed_by_new_numbers(combine, K, trials=50, T=32, E=8, D=16):
    """In how many trials the output changes a bit when the experts get other numbers."""
    changed = 0
    for seed in range(trials):
        draw = torch.Generator().manual_seed(seed)
        slots_SD, weights_TK = torch.randn(T * K, D, generator=draw), torch.rand(T, K, generator=draw)
        ids_TK = torch.rand(T, E, generator=draw).argsort(dim=1)[:, :K]
        outputs = []
        for number_E in (torch.arange(E), torch.randperm(E, generator=draw)):
            plan = dispatch.permutation_plan(number_E[ids_TK], E)
            outputs.append(combine(slots_SD[plan.row_ids_S], weights_TK, plan))
        changed += not torch.equal(*outputs)
    return changed


bits = {(K, combine): changed_by_new_numbers(combine, K) for K in (1, 2, 3, 8) for combine in (sent, fetched)}
for K in (1, 2, 3, 8):
    print(f"K = {K}: bits change in {bits[K, sent]:>2} of 50 trials when rows are sent, ", end="")
    print(f"in {bits[K, fetched]} when they are fetched")

# %%
reveal("08.bits")

# %% [markdown]
# Is it important? Each of these outputs is as accurate as the other. But a layer whose bits depend on the
# numbers of the experts cannot be compared bit for bit after a refactoring, after moving experts to other
# devices, or after a restart with another placement. On a GPU it is worse: `index_add` lets thousands of
# threads add at once, in whatever order they arrive, and two runs of the *same* program differ. The fetch has
# an order of its own, and no two threads write to one place.
#
# A test with K = 2 cannot see any of it. Yours is checked with K from 2 to 5.

# %% [markdown]
# {{exercise 08.combine}}


# %% answer="08.combine"
def combine(results_SD, topk_weights_TK, row_ids_S):
    """Each token's weighted sum of its K results, in fp32 and in the order of its choices.

    results_SD: [S, D], sorted by expert, fp32 or bf16. topk_weights_TK: [T, K], fp32.
    row_ids_S: [S], the slot at each position.
    Returns [T, D], fp32.
    """
    ### BEGIN SOLUTION
    inverse_S = torch.empty_like(row_ids_S)
    inverse_S[row_ids_S] = torch.arange(len(row_ids_S))
    results_TKD = results_SD.float()[inverse_S].view(*topk_weights_TK.shape, results_SD.shape[1])
    return (results_TKD * topk_weights_TK.unsqueeze(-1)).sum(dim=1)
    ### END SOLUTION


# %%
check("08.combine")

# %% [markdown]
# ### A layer made of your parts
#
# Plan, product, and two ways back: that is a whole layer. It has to be right before it may be timed, so first
# it is held against the loop over tokens, with its gradients.

# %%
sort_slots, put_back = yours("08.permutation_plan"), yours("08.undo_sort")
collect = yours("08.combine")
parts = (sort_slots, multiply, put_back, collect)


def sorted_results(hidden_TD, ids_TK, gate_up, down):
    """The slot at each position, and the experts' results, sorted by expert."""
    row_ids_S, token_ids_S, ends_E = sort_slots(ids_TK, len(down))
    pairs_S2F = multiply(hidden_TD[token_ids_S], gate_up.mT, ends_E)
    return row_ids_S, multiply(swiglu_activation(pairs_S2F), down.mT, ends_E)


def ends_in_combine(hidden_TD, ids_TK, weights_TK, gate_up, down):
    row_ids_S, results_SD = sorted_results(hidden_TD, ids_TK, gate_up, down)
    return collect(results_SD, weights_TK, row_ids_S)


def ends_in_undo_sort(hidden_TD, ids_TK, weights_TK, gate_up, down):
    row_ids_S, results_SD = sorted_results(hidden_TD, ids_TK, gate_up, down)
    _, results_TKD = put_back(results_SD, row_ids_S, ids_TK.shape[1])
    return (results_TKD * weights_TK.unsqueeze(-1)).sum(dim=1)


def output_and_gradients(way, inputs):
    """The output, and gradients of hidden states, weights and matrices; nothing where a backward fails."""
    hidden_TD, ids_TK, weights_TK, gate_up, down = inputs
    leaves = [x.detach().requires_grad_() for x in (hidden_TD, weights_TK, gate_up, down)]
    output_TD = way(leaves[0], ids_TK, *leaves[1:])
    try:
        return output_TD, *torch.autograd.grad(output_TD.square().sum(), leaves)
    except RuntimeError as error:
        print("no backward:", str(error).splitlines()[0])
        return ()


generator.manual_seed(94)
inputs = make_inputs(T=64, D=32, d_expert=48, E=8, K=4, skew=0.5)
wanted = output_and_gradients(dispatch.moe_loop, inputs)
own_layers = {"parts, combine": ends_in_combine, "parts, undo_sort": ends_in_undo_sort}
for name, way in list(own_layers.items()):
    found = output_and_gradients(way, inputs)
    errors = [((a - b).norm() / b.norm()).item() for a, b in zip(found, wanted, strict=bool(found))]
    errors = errors or [math.nan]  # no backward, nothing to compare
    measured(f"{name}: relative error of output and gradients against the loop", errors, below=1e-4)
    if not all(error < 1e-4 for error in errors):
        del own_layers[name]  # what is not right is not timed
print(f"yours: {sum(part.is_yours for part in parts)} of the {len(parts)} parts")

# %% [markdown]
# Now the clock. The ways from the beginning, without the slowest, and beside them the layers above. If yours
# stand far above `sort, split`, think of what you have learned here: a call for each row, or a `matrices[e]`?

# %% tags=["nbval-ignore-output"] why="timing"
generator.manual_seed(95)
middle = make_inputs(T=1024, D=64, d_expert=64, E=32, K=4, skew=0.5)
quick = {name: ways[name] for name in ("loop, unbound", "sort, split", "grouped")}
for way in own_layers.values():
    forward_backward(way, middle)  # a part that stops at this size stops here, and is not counted as yours
n_yours = sum(part.is_yours for part in parts)
time_all(
    middle,
    f"Layers of parts, {n_yours} of {len(parts)} yours, beside the package's (T=1024, D=F=64, E=32, K=4)",
    quick | own_layers,
)

# %% [markdown]
# ## Bytes
#
# A processor can multiply faster than it can fetch what to multiply. An H100 does 989 TFLOP/s in bf16 and
# reads 3.35 TB/s (its [data sheet](https://www.nvidia.com/en-us/data-center/h100/), dense and SXM). Divide:
# 295 FLOPs can be done in the time that one byte takes. A stage with fewer FLOPs per byte waits for memory.
# This is the **roofline**:
#
# $$\text{time} \ge \max\left(\frac{\text{FLOPs}}{\text{peak}},\
# \frac{\text{bytes}}{\text{bandwidth}}\right)$$
#
# So before you time a stage, predict its bytes.

# %% [markdown]
# {{exercise 08.bytes_moved}}


# %% answer="08.bytes_moved"
def bytes_moved(topk_ids_TK, n_experts, d_model, d_expert, bytes_per_element):
    """Bytes that gather, gate and up, activation, down and combine read plus write.

    topk_ids_TK: [T, K] expert ids. n_experts, d_model, d_expert: E, D, F. bytes_per_element: of every number.
    Returns [5] whole numbers.
    """
    ### BEGIN SOLUTION
    T, S = len(topk_ids_TK), topk_ids_TK.numel()
    D, F = d_model, d_expert
    busy = len(topk_ids_TK.unique())
    elements = [
        S * D + S * D,
        S * D + busy * 2 * F * D + S * 2 * F,
        S * 2 * F + S * F,
        S * F + busy * D * F + S * D,
        S * D + T * D,
    ]
    return torch.tensor(elements) * bytes_per_element
    ### END SOLUTION


# %%
check("08.bytes_moved")

# %% [markdown]
# Now count. The layer is written out below, one stage after the other, as one writes it in PyTorch. A watcher
# adds up, for each operation, the tensors it gets and the one it makes. (A gather reads the rows that it
# fetches, not the whole tensor.) The predictions are those of your `bytes_moved`, once it has passed.


# %%
class Moved(TorchDispatchMode):
    """Adds up what operations read and write; views move nothing."""

    def __init__(self):
        super().__init__()
        self.bytes, self.calls = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        reads = [x for x in args if isinstance(x, torch.Tensor) and x.is_floating_point()]
        if not isinstance(result, torch.Tensor) or place(result) in {place(x) for x in reads}:
            return result  # views
        if func is torch.ops.aten.index_select.default:
            reads = [result]
        self.bytes += sum(x.numel() * x.element_size() for x in (*reads, result))
        self.calls += 1
        return result


@torch.no_grad()
def count_stages(hidden_TD, ids_TK, weights_TK, gate_up, down):
    """Bytes and calls of the five stages, and the output."""
    plan = dispatch.permutation_plan(ids_TK, len(down))
    groups = [
        (e, slice(start, end))
        for e, (start, end) in enumerate(pairwise([0, *plan.expert_ends_E.tolist()]))
        if end > start
    ]
    pairs, gated_SF = torch.empty(len(plan.row_ids_S), gate_up.shape[1]), None
    results_SD = torch.empty(len(plan.row_ids_S), hidden_TD.shape[1])
    found = {}
    with Moved() as found["gather"]:
        rows_SD = hidden_TD.index_select(0, plan.token_ids_S)
    with Moved() as found["gate and up"]:
        for e, rows in groups:
            torch.mm(rows_SD[rows], gate_up[e].T, out=pairs[rows])
    with Moved() as found["activation"]:
        gate_SF, up_SF = pairs.chunk(2, dim=1)
        gated_SF = F.silu(gate_SF) * up_SF
    with Moved() as found["down"]:
        for e, rows in groups:
            torch.mm(gated_SF[rows], down[e].T, out=results_SD[rows])
    with Moved() as found["combine"]:
        back_TKD = results_SD.index_select(0, plan.inverse_S).view(*weights_TK.shape, -1)
        output_TD = (back_TKD * weights_TK.unsqueeze(-1)).sum(dim=1)
    return {name: counted.bytes for name, counted in found.items()}, output_TD


generator.manual_seed(88)
inputs = make_inputs(T=128, D=64, d_expert=96, E=16, K=4)
counted, output_TD = count_stages(*inputs)
predict_bytes = yours("08.bytes_moved")
predicted = dict(zip(counted, predict_bytes(inputs[1], 16, 64, 96, 4).tolist(), strict=True))
off = (output_TD - dispatch.moe_loop(*inputs)).abs().max().item()
measured("largest difference to the loop over tokens", off, below=1e-5, then="it is the layer")
print(f"{'stage':<14}{'predicted':>12}{'counted':>12}{'ratio':>8}")
for name in predicted:
    print(f"{name:<14}{predicted[name]:>12,}{counted[name]:>12,}{counted[name] / predicted[name]:>8.2f}")

# %% [markdown]
# Three stages move what was predicted. Two move more, and both for one reason: they are several calls, and
# each call writes its result to memory for the next one to read. `silu` and the product are two, gather,
# weight and sum are three. Written as one kernel, each would move what you predicted. That is what **fusing**
# buys, and lesson 09 does it.
#
# (The count assumes that nothing stays in a cache between two calls. On this small example much of it does;
# on a large batch it does not.)

# %% [markdown]
# ### How many rows does an expert need?
#
# Take one product of a grouped product: n rows of width D, a matrix of D by F. It does 2 n D F FLOPs, and
# reads and writes n D + D F + n F numbers. With few rows the matrix is most of it, and FLOPs per byte come to
# about n, in bf16. To reach 295, an expert must have several hundred rows. How many does it get? A batch of T
# tokens makes T · K rows for E experts, T · K / E each. Shazeer and colleagues called it the *shrinking
# batch* in 2017. For the sizes of DeepSeek-V3:

# %%
peak, bandwidth = 989e12, 3.35e12  # H100 SXM, bf16, dense; the data sheet


def flops_per_byte(n, D, width, itemsize=2):
    return 2 * n * D * width / ((n * D + D * width + n * width) * itemsize)


E, K, D, width = v3.n_experts, v3.top_k, v3.d_model, v3.d_expert
batches = (1, 16, 64, 256, 1024, 4096, 16384)
table = {T: (T * K / E, flops_per_byte(max(1, T * K / E), D, width)) for T in batches}
print(f"{'tokens':>7}{'rows per expert':>17}{'FLOPs per byte':>16}{'share of peak, at most':>25}")
for T, (n, intensity) in table.items():
    print(f"{T:>7}{n:>17.2f}{intensity:>16.0f}{min(1, intensity * bandwidth / peak):>25.0%}")
enough = next(T for T in range(64, 10**6, 64) if flops_per_byte(T * K / E, D, width) >= peak / bandwidth)
print(
    f"memory stops being the limit at about {round(enough, -3):,} tokens; a dense layer needs about ", end=""
)
print(f"{round(next(n for n in range(1, 10**4) if flops_per_byte(n, D, width) >= peak / bandwidth), -1)}")


# %%
def allowed(n):
    """Percent of the peak that memory allows with n rows per matrix."""
    return 100 * min(1, flops_per_byte(n, D, width) * bandwidth / peak)


# %% draw=true tags=["nbval-ignore-output"] why="image"
batches = [2 ** (i / 8) for i in range(14 * 8 + 1)]
svg.line_chart(
    {
        "V3, 8 of 256": (batches, [allowed(max(1, t * K / E)) for t in batches]),
        "dense": (batches, [allowed(t) for t in batches]),
    },
    title="An expert sees a small share of the batch, so it is bound by memory much longer",
    x_label="tokens in the batch",
    log_x=True,
    y_label="share of an H100's peak that memory allows (%)",
    y_range=(0, 100),
    width=640,
    caption="At which batch does a dense layer leave the memory's roof, and at which the experts? "
    "Products only, bf16, even loads.",
)

# %% [markdown]
# <details><summary>At which batch do the two leave the memory's roof?</summary>
#
# Where their lines reach 100 %: the dense layer at a few hundred tokens, the experts at some ten thousand.
# The numbers stand in the last line of the table above. Between the two, a dense layer already runs at full
# speed and an expert still waits for its matrix.
#
# </details>

# %% [markdown]
# **Change this.** Split each of V3's experts in two: twice as many, half as wide,
# twice as many for each token. Weights and FLOPs stay as they were. Does the batch that leaves the memory's
# roof stay, too? And if you split them in eight?

# %% change=true
# Change these and run the cell again.
n_experts = 256
top_k = 8
d_expert = 2048


def tokens_needed(n_experts, top_k, d_expert):
    """The smallest batch, in steps of 64 tokens, that memory no longer limits; None if there is none."""
    for T in range(64, 10**6, 64):
        if flops_per_byte(T * top_k / n_experts, v3.d_model, d_expert) >= peak / bandwidth:
            return T
    return None


enough_tokens = tokens_needed(n_experts, top_k, d_expert) or "no number of"
print(f"{top_k} of {n_experts} experts of width {d_expert}: {enough_tokens} tokens")

# %% [markdown] only="solutions"
# Split in two, it takes about a fifth more tokens. Split in eight, no batch is large enough: with n rows
# without end the FLOPs per byte come to D · F / (D + F), and at F = 256 that is below 295. A narrow product
# does too little with each row that it fetches. Here fusing helps: gate, up and activation in one kernel
# write less.

# %% only="solutions"
for split in (1, 2, 4, 8):
    sizes_now = 256 * split, 8 * split, 2048 // split
    most = v3.d_model * sizes_now[2] / (v3.d_model + sizes_now[2])
    needed = tokens_needed(*sizes_now) or "no number of"
    print(f"split in {split}: {needed} tokens; FLOPs per byte at most {most:.0f}")

# %%
generator.manual_seed(89)
loads = [torch.bincount(make_inputs(64, 1, 1, E, K)[1].flatten(), minlength=E) for _ in range(10)]
busy, fullest = [int((load_E > 0).sum()) for load_E in loads], [int(load_E.max()) for load_E in loads]
print("64 tokens under an even router, 10 draws:")
print(f"{min(busy)} to {max(busy)} of 256 experts are busy, and the fullest has at most {max(fullest)} rows")
claim("L100", "correct", holds=min(busy) > 128 and max(fullest) < 16 and table[64][1] < 3 and enough > 8000)

# %% [markdown]
# Now the old question from lesson 03, in a sharper form. A sparse layer and a dense one with as many *active*
# weights do the same FLOPs per token. Do they take the same time? Your machine has answered at the beginning
# of this lesson, with the bars above the limit. The roofline answers for the H100, without any kernel being
# slow:

# %%
dense_like = {}
for T in (64, 1024, 65536):
    flops = T * K * 6 * D * width
    active = flops / (T * 2)  # weights that a token meets
    touched = E * (1 - (1 - K / E) ** T)  # experts that somebody asks for, under an even router
    sparse_weights = touched / K * active
    activations = T * K * (2 * D + 3 * width)  # in and out of the products, either way
    times = [
        max(flops / peak, 2 * (weights + activations) / bandwidth) for weights in (active, sparse_weights)
    ]
    dense_like[T] = times[1] / times[0]
    print(f"{T:>6} tokens: equal FLOPs, the sparse layer takes at least {dense_like[T]:.1f} times as long")

# %%
same_flops = multiplied["loop, unbound"] == multiplied["sort, split"] == 1
claim("L35", "imprecise", holds=same_flops and dense_like[64] > 10 and dense_like[65536] < 1.1)

# %% [markdown]
# Two things follow. At large batches, as in training, the *limit* is equal, and what is missing is good
# kernels. At small ones, as when a model answers a single person, no kernel can help: the bytes are the time.
# (Lesson 03 counted the memory that all these weights need in training. That does not go away either.)

# %% [markdown]
# ### Measured with care
#
# Quick timings in a notebook are quick timings. The project's benchmark runs the contestants in random order,
# many times, checks that results are right before it reports any, and names the device. A *peer* is another
# way to compute the same layer: a plain loop, a padded or grouped product, or what `transformers` ships. The
# *limit* is the same multiplications as dense products, by `torch.mm` and by oneDNN. On some processors
# oneDNN is the faster of the two, and ours uses it there: then ours can beat the first limit, but not the
# second. The committed results:

# %% tags=["nbval-ignore-output"] why="machine"
import json
from pathlib import Path

import moe_lessons
from moe_lessons.bench.report import table as bench_table

found = sorted((Path(moe_lessons.__file__).parent / "results").glob("layer_*.json"))
for result in (json.loads(p.read_text(encoding="utf-8")) for p in found):
    about = result["about"]
    print(f"{about['device']}, torch {about['torch']}, commit {about['commit']}")
    print(bench_table(result["rows"]), "\n")
if not found:
    print("Not measured yet. `moe-lessons bench --quick` measures your machine.")


# %% draw=true tags=["nbval-ignore-output"] why="machine"
def beside_best_peer(rows):
    """For each shape its three quartiles: training batches with their backward, decoding without."""
    for row in rows:
        kind = "forward" if "decode" in row["shape"] else "forward_backward"
        if row["pass"] == kind and row["ratio_to_best_peer"]:
            ratio = row["ratio_to_best_peer"]
            yield f"{row['shape']} {row['dtype']}", [ratio["q1"], ratio["ratio"], ratio["q3"]]


def draw_measured(result):
    beside = dict(beside_best_peer(result["rows"]))
    ahead = sum(median <= 1 for _, median, _ in beside.values())
    open_ = sum(low <= 1 < median for low, median, _ in beside.values())
    behind = len(beside) - ahead - open_
    return svg.dot_rows(
        beside,
        title=f"In the median no slower than the best peer on {ahead} of {len(beside)} shapes, slower on "
        f"{open_ + behind}",
        x_label="our time / best peer's time; below 1 is faster",
        dot_label="a quartile of the rounds",
        value_format="{:.2f}",
        caption=f"{result['about']['device']}. Training: forward and backward; decoding: forward. "
        f"Of the slower ones {open_} reach 1 within their quartiles, {behind} do not.",
    )


on_cpu = [json.loads(p.read_text(encoding="utf-8")) for p in found if p.stem == "layer_cpu"]
draw_measured(on_cpu[0]) if on_cpu else None

# %% [markdown]
# ## Eight ranks
#
# The experts of a large model do not fit on one device. So they are spread over several, each with its own
# tokens too. A device in this role is called a **rank**. When a token's expert lives on another rank, its
# row must travel there, and the result must come back. We simulate eight of them: no network, eight lists.
#
# "Each GPU holds one expert" is how it is often drawn. How many it holds is a matter of placement:


# %%
def experts_per_rank(n_experts, n_ranks):
    return torch.bincount(ranks.contiguous_placement(n_experts, n_ranks)).tolist()


decode_experts, prefill_experts = experts_per_rank(v3.n_experts, 320 - 64), experts_per_rank(v3.n_experts, 32)
print("our eight ranks, 256 experts:       ", experts_per_rank(v3.n_experts, 8)[0], "each")
print("DeepSeek-V3, prefill on 32 GPUs:    ", prefill_experts[0], "each, and one redundant copy")
print(
    "DeepSeek-V3, decoding on 320 GPUs:  ", decode_experts[0], "each; 64 more hold redundant and shared ones"
)

# %%
claim("L93", "imprecise", holds=set(decode_experts) == {1} and set(prefill_experts) == {8})

# %% [markdown]
# (The numbers of GPUs are from section 3.4 of the [DeepSeek-V3 report](https://arxiv.org/abs/2412.19437).)
#
# One layer then has three phases: **dispatch**, an exchange in which every rank may send to every other (an
# *all-to-all*); each rank's own experts; and **combine**, the same exchange backwards. Here it is on real
# rows, with a count of what travels.

# %%
G = 8
generator.manual_seed(90)
inputs = make_inputs(T=4096, D=32, d_expert=48, E=64, K=4)
hidden_TD, ids_TK, weights_TK, gate_up, down = (x.detach() for x in inputs)
rank_of_expert_E, rank_of_token_T = ranks.contiguous_placement(64, G), ranks.contiguous_placement(4096, G)
row_bytes = 32 * 4


def layer_on_ranks():
    """The layer's output, and the bytes of both exchanges, from rank (row) to rank (column)."""
    slots_S = torch.arange(ids_TK.numel())
    home_S, away_S = rank_of_token_T[slots_S // 4], rank_of_expert_E[ids_TK.flatten()]
    mail = [[slots_S[(home_S == g) & (away_S == h)] for h in range(G)] for g in range(G)]
    there_GG, back_GG = (torch.zeros(G, G, dtype=torch.int64) for _ in range(2))
    results_SD = torch.zeros(len(slots_S), hidden_TD.shape[1])
    for h in range(G):
        arrived = torch.cat([mail[g][h] for g in range(G)])  # 1. dispatch: what every rank g sends to h
        rows_SD, own_ids = hidden_TD[arrived // 4], ids_TK.flatten()[arrived]
        there_GG[:, h] = torch.tensor([hidden_TD[mail[g][h] // 4].nbytes for g in range(G)])
        plan = dispatch.permutation_plan(own_ids.unsqueeze(1), 64)  # 2. h's experts, on sorted rows
        sizes = plan.tokens_per_expert_E.tolist()
        sorted_SD = torch.cat(
            [swiglu(rows, gate_up[e], down[e]) for e, rows in enumerate(rows_SD[plan.row_ids_S].split(sizes))]
        )
        results = sorted_SD[plan.inverse_S]
        for g, returned in enumerate(results.split([len(mail[g][h]) for g in range(G)])):  # 3. combine
            back_GG[h, g] = returned.nbytes
            results_SD[mail[g][h]] = returned
    return (results_SD.view(*weights_TK.shape, -1) * weights_TK.unsqueeze(-1)).sum(dim=1), there_GG, back_GG


output_TD, there_GG, back_GG = layer_on_ranks()
predicted_GG = ranks.dispatch_bytes(ids_TK, rank_of_token_T, rank_of_expert_E, row_bytes)
off = (output_TD - dispatch.moe_unbind(*inputs)).abs().max().item()
measured("eight ranks against one, largest difference", off, below=1e-5, then="the same layer")
surprises = int((there_GG != predicted_GG).sum() + (back_GG != predicted_GG.T).sum())
print(
    f"messages with other bytes than predicted, combine being dispatch transposed: {surprises} of {2 * G * G}"
)
stays = float(predicted_GG.trace() / predicted_GG.sum())
print(f"of all rows, {1 - stays:.0%} leave their rank: about seven in eight")

# %% draw=true tags=["nbval-ignore-output"] why="image"
svg.heat_map(
    (predicted_GG / 1e3).tolist(),
    title="Dispatch: every rank sends about as much to every other",
    row_label="from",
    column_label="to rank",
    unit="kB",
    value_format="{:.0f}",
    caption="The diagonal needs no network. How would it look if everybody wanted rank 3's experts?",
)

# %% [markdown]
# <details><summary>How would it look if everybody wanted rank 3's experts?</summary>
#
# Column 3 would be dark from top to bottom, all others pale: every rank sends to rank 3. Combine is the
# picture mirrored at the diagonal: row 3 would be dark, as rank 3 sends everything back.
#
# </details>
#
# ### Who waits for whom
#
# A rank can start its experts when *all* rows have arrived, and its next layer when all results are back.

# %% tags=["nbval-ignore-output"] why="widget"
predict("08.slowest")

# %% [markdown]
# To find out we need times. We take the sizes of DeepSeek-V3, 4,096 tokens on each of eight ranks, an H100's
# peak for the products, and links of 50 GB/s, which is what the report gives for its InfiniBand. For the
# exchange there is the **alpha-beta model** of 1994: a message of n bytes takes
#
# $$\alpha + n / \beta$$
#
# with α the latency of a message and β the bandwidth. We *assume* α = 10 µs, and look later at what depends
# on it. A rank sends and receives at once, so the larger of the two counts, and each phase lasts as long as
# its slowest rank.


# %%
def simulate(shares_G, tokens_per_rank, alpha_us=10.0, gigabytes_per_s=50.0, itemsize=2):
    """Microseconds of dispatch, products and combine when each rank's experts get a share of all rows."""
    n_ranks = len(shares_G)
    rows_GG = tokens_per_rank * K * shares_G.expand(n_ranks, -1)
    bytes_GG = rows_GG * D * itemsize
    products_us_G = rows_GG.sum(dim=0) * 6 * D * width / peak * 1e6
    there_G, back_G = (ranks.exchange_us(b, alpha_us, gigabytes_per_s) for b in (bytes_GG, bytes_GG.T))
    return there_G, products_us_G, back_G


balanced_G = torch.full((G,), 1 / G, dtype=torch.float64)
popular_G = torch.where(torch.arange(G) == 3, 2 / 8, (1 - 2 / 8) / 7).to(torch.float64)
steps = {}
for name, shares_G in {"balanced": balanced_G, "rank 3 popular": popular_G}.items():
    there_G, products_G, back_G = simulate(shares_G, tokens_per_rank=4096)
    steps[name] = float(ranks.step_us(products_G, [there_G, back_G]))
    share = 1 - float(products_G.max()) / steps[name]
    print(
        f"{name:<15} max/mean of the rows {float(metrics.max_over_mean(products_G)):.2f}   "
        f"layer {steps[name] / 1e3:>5.1f} ms   of it in exchanges {share:.0%}"
    )
slower = steps["rank 3 popular"] / steps["balanced"]
print(f"the layer takes {slower:.1f} times as long")

# %% draw=true tags=["nbval-ignore-output"] why="image"
there_G, products_G, back_G = simulate(popular_G, tokens_per_rank=4096)
svg.bar_chart(
    ((there_G + products_G + back_G) / 1e3).tolist(),
    title="Rank 3 works twice as long; the seven others wait for it",
    y_label="milliseconds that the rank itself is busy (model)",
    x_label="rank",
    uniform=steps["balanced"] / 1e3,
    uniform_label="all ranks, balanced",
    value_format="{:.1f}",
    caption="The layer takes as long as the highest bar, not as long as the average.",
)

# %%
reveal("08.slowest")
measured(
    "the slowest rank has twice the rows; the layer's time grows by a factor of", slower, above=1.9, below=2.1
)

# %% [markdown]
# **Change this.** A quarter of all rows for one of eight ranks doubles the time. The same quarter for one of
# 64 ranks: more than that, less, or the same? And how uneven may eight ranks be before a tenth is lost?

# %% change=true
# Change these and run the cell again.
n_ranks = 8
popular_share = 0.25


def times_as_long(n_ranks, popular_share):
    """The layer's time with one popular rank, over that with none."""
    shares_R = torch.full((n_ranks,), (1 - popular_share) / (n_ranks - 1), dtype=torch.float64)
    shares_R[0] = popular_share
    even_R = torch.full((n_ranks,), 1 / n_ranks, dtype=torch.float64)
    whole = []
    for shares in (shares_R, even_R):
        there_R, products_R, back_R = simulate(shares, tokens_per_rank=4096)
        whole.append(float(ranks.step_us(products_R, [there_R, back_R])))
    return whole[0] / whole[1]


slowed = times_as_long(n_ranks, popular_share)
print(f"{n_ranks} ranks, one with {popular_share:.1%} of the rows: {slowed:.2f} times as long")

# %% [markdown] only="solutions"
# Much more, about fifteen times as long: the fair share of one of 64 ranks is a sixty-fourth, a quarter is
# sixteen times that, and all 63 others wait. What counts is the largest share times the number of ranks, max
# over mean once more. Of eight ranks it is enough that one has 13.75 % of the rows instead of 12.5 %, and a
# tenth of the time is gone. The more devices there are, the more one popular rank costs.

# %% only="solutions"
for n_ranks, popular_share in ((8, 1 / 4), (64, 1 / 4), (8, 0.1375), (64, 0.1375)):
    told = f"{times_as_long(n_ranks, popular_share):.2f} times as long"
    print(f"{n_ranks:>2} ranks, one with {popular_share:.2%} of the rows: {told}")

# %% [markdown]
# How much of that is the exchange? It depends on one number that we have simply taken: the links' bandwidth.
# 50 GB/s is a network between nodes. Inside one node of H100s they are NVLinks, 450 GB/s each way by the data
# sheet; those of the H800s in V3's report have 160 GB/s. The same layer, in balance:

# %%
exchange_share = {}
for gigabytes_per_s in (50, 160, 450):
    there_G, products_G, back_G = simulate(balanced_G, 4096, gigabytes_per_s=gigabytes_per_s)
    whole = float(ranks.step_us(products_G, [there_G, back_G]))
    exchange_share[gigabytes_per_s] = 1 - float(products_G.max()) / whole
    print(
        f"{gigabytes_per_s:>4} GB/s: {exchange_share[gigabytes_per_s]:.0%} of the layer in its two exchanges"
    )
both_there = exchange_share[50] > 0.5 > exchange_share[450] > 0.2
claim("L94", "imprecise", holds=off < 1e-5 and surprises == 0 and both_there)

# %% [markdown]
# Two exchanges there are in any case. Whether they are *the bottleneck* is a matter of the links: over a
# network they take most of the layer, within a node less than half, if nothing is done about it. A great
# deal is done: the DeepSeek-V3 report speaks of about as much time in communication as in computation, and
# then describes how it overlaps the two. It also sends a token only *once* to a node where several of its
# experts live:

# %%
generator.manual_seed(91)
V3_ids_TK = make_inputs(4096, 1, 1, v3.n_experts, v3.top_k)[1]
home_T, node_E = torch.zeros(4096, dtype=torch.int64), ranks.contiguous_placement(v3.n_experts, G)
every_time = ranks.dispatch_bytes(V3_ids_TK, home_T, node_E, row_bytes=2 * D).sum()
once = ranks.dispatch_bytes(V3_ids_TK, home_T, node_E, row_bytes=2 * D, once_per_rank=True).sum()
print(f"8 of 256 experts on 8 nodes: sent once a node, {float(once / every_time):.0%} of the bytes are left")
print("limited to 4 nodes, as V3 routes: at most", f"{4 / v3.top_k:.0%}")

# %% [markdown]
# ### Bandwidth or latency?
#
# In α + n / β one of the two terms decides. They are equal at n = α β bytes: that many rows to one partner.

# %%
print("rows per partner at which latency and bandwidth take equal time (rows of 7,168 numbers)")
equal_rows = {alpha: alpha * 1e-6 * 50e9 / (2 * D) for alpha in (2, 10, 50)}  # in bf16
for alpha, bf16_rows in equal_rows.items():
    print(f"latency {alpha:>2} us: {bf16_rows:>4.0f} rows in bf16, {2 * bf16_rows:>4.0f} in fp8")

training_rows = 4096 * K / 8
decode_rows = 256 / 320  # at most 256 tokens per expert, from 320 GPUs; arXiv 2412.19437, section 3.4.2
print(f"training, 4,096 tokens per rank, 8 ranks: {training_rows:,.0f} rows per partner")
print(f"V3 decoding, 256 tokens per expert at most, 320 GPUs: {decode_rows:.1f} rows per partner")


# %%
def latency_share(tokens_per_rank, alpha_us):
    """Share of one exchange that is latency, on 8 balanced ranks."""
    whole = float(simulate(balanced_G, tokens_per_rank, alpha_us)[0].max())
    return (whole - float(simulate(balanced_G, tokens_per_rank, 0.0)[0].max())) / whole


counts = [2**i for i in range(14)]
shares = {alpha: [latency_share(n, alpha) for n in counts] for alpha in (2, 10, 50)}
print("share of an exchange that is latency, with 1, 128 and 8,192 tokens per rank")
for alpha, found in shares.items():
    print(f"latency {alpha:>2} us: {found[0]:>4.0%} {found[7]:>4.0%} {found[13]:>6.1%}")

# %% draw=true tags=["nbval-ignore-output"] why="image"
svg.line_chart(
    {f"{alpha} us": (counts, [100 * s for s in found]) for alpha, found in shares.items()},
    title="Few tokens: the exchange is latency. Many tokens: it is bandwidth",
    x_label="tokens on each of 8 ranks",
    log_x=True,
    y_label="share of an exchange that is latency (%)",
    y_range=(0, 100),
    caption="Three assumed latencies, links of 50 GB/s, rows of 7,168 bf16 numbers, K = 8. Where would you "
    "rather have faster links, and where faster messages?",
)

# %% [markdown]
# <details><summary>Where faster links, and where faster messages?</summary>
#
# Left, with a token or a few on each rank, an exchange is nearly all latency: faster links would do
# nothing. Right, with thousands, it is nearly all bandwidth. The lines cross a half where a message carries
# as many rows as the table above says.
#
# </details>

# %%
always = all(found[0] > 0.4 and found[13] < 0.05 for found in shares.values())
far_apart = training_rows > 10 * max(equal_rows.values()) and decode_rows < min(equal_rows.values())
claim("L95", "imprecise", holds=always and far_apart)

# %% [markdown]
# So "the all-to-all is bandwidth-bound" is true for training and wrong for decoding on many GPUs, and between
# them lies a wide stretch where it depends: with eight ranks and 128 tokens on each, latency is a twentieth
# of the exchange or more than half of it, as the latencies above go. What holds everywhere is the other half
# of the sentence: everybody waits for the fullest rank.
#
# What to do about a rank that is too full (copies of popular experts, better placement) is a lesson of its
# own.

# %% [markdown]
# ### Few machines
#
# A token has to travel to each machine where it has an expert. With 8 of 256 experts on 8 machines, how many
# is that, and what does it cost to allow fewer? `06.group_limited` does what DeepSeek-V3 does: it lets a
# token use a few groups of neighbours only, here those on one machine. Random routers, your function, every
# limit:

# %%
limited = yours("06.group_limited")
n_experts, n_groups, top_k = 256, 8, 8
expected = n_groups * (1 - math.comb(n_experts - 32, top_k) / math.comb(n_experts, top_k))
for limit in (8, 6, 4, 3, 2, 1):
    machines, kept = [], []
    for seed in range(5):
        scores_TE = torch.randn(400, n_experts, generator=torch.Generator().manual_seed(seed)).sigmoid()
        ids_TK, _ = limited(scores_TE, torch.zeros(n_experts), n_groups, limit, top_k)
        used_TG = F.one_hot(ids_TK // 32, n_groups).amax(dim=1)
        machines.append(used_TG.sum(dim=1).double().mean().item())
        kept.append((scores_TE.gather(1, ids_TK).sum() / scores_TE.topk(top_k).values.sum()).item())
    print(f"at most {limit} machines: {sum(machines) / 5:.1f} on average, {sum(kept) / 5:.1%} of the score")
print(f"expected without a limit: {expected:.1f}")

# %% [markdown]
# Without a limit a token reaches 5.3 machines. V3 allows 4, and gives up little score for it. These logits
# are random. In a trained model, where experts of one machine may belong together, the loss can be smaller or
# larger.

# %% [markdown]
# ## What to take with you
#
# - Equal FLOPs, different times. Count bytes before you blame Python.
# - `W[e]` in a loop costs O(E²) bytes in the backward. `unbind`, or one grouped product.
# - One stable sort: `order // K` is the token, the ends are a running sum, the inverse brings results back.
# - Padding wastes exactly max over mean. Grouped products waste nothing, but mind the rows beyond the end.
# - Fetch and sum in the order of choices. Rows that are sent are summed in an order that others decide.
# - T · K / E rows per expert. Below a few hundred, an H100 waits for memory.
# - Two exchanges per layer. The fullest rank sets the time; latency or bandwidth depends on rows per partner.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("08.q_token")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("08.q_ends")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("08.q_padding")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("08.q_rows")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("08.q_bits")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("08.q_latency")

# %%
claims_table()

# %%
score()
