# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("07_capacity")

# %% [markdown]
# A router can be balanced on average and still send eleven tokens to one expert and five to another in the
# batch at hand. What then?
#
# Many systems cannot wait and see. A program compiled for an accelerator must know every shape before it
# knows the tokens. So each expert gets a tensor with a fixed number of places, its **capacity** C, and all of
# them together make one buffer of shape [E, C, D]. The safe choice would be C = T, in case that everybody
# comes to the same expert: E times as many places as tokens, most of them empty. Instead one takes the
# fair share, adds some room, and turns away whoever comes too late.
#
# This lesson follows the ones who are turned away. How many are they? Who are they? What becomes of them? And
# can one do without?

# %%
import math
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons import capacity, routing, svg

torch.set_num_threads(1)  # everything here is small: more threads would only wait for each other

# %% [markdown]
# ## How many places?
#
# T tokens with K choices each make T · K rows. Shared out evenly among E experts, that is the fair share. A
# **capacity factor** makes room:
#
# $$C = \left\lceil \frac{K \cdot T}{E} \cdot \text{factor} \right\rceil$$
#
# | Where | Formula | What differs |
# |---|---|---|
# | Switch (eq. 3) | tokens / experts × factor | K = 1 |
# | GShard (algorithm 1) | 2N / (G · E) | K = 2, factor 1, counted in each of G groups |
# | Tutel | K · ⌊factor · ⌈T / E⌉⌋ | rounds on the way |
# | Mesh TensorFlow | ⌊group · factor / experts⌋ | no K, also for two choices |
#
# The first three agree up to rounding. The last one is Switch's formula where K is 1. With two choices it
# means something else by "factor": at 1 it gives every expert half of its fair share. **In this lesson a
# factor is always the one with K in the formula above**; where a paper counts otherwise, we convert. Suppose
# that the load is *perfectly* even, and let us count what is dropped.

# %%
T, E = 512, 8
for top_k in (1, 2):
    slots_S = torch.arange(T * top_k) % E  # every expert exactly as often
    even_TK = slots_S.view(T, top_k)
    for name, places in [
        ("with K", capacity.expert_capacity(T, E, top_k, 1.0)),
        ("without K", capacity.expert_capacity(T, E, 1, 1.0)),
    ]:
        admission = capacity.admit(even_TK, torch.ones(T, top_k), n_experts=E, capacity=places)
        dropped = float(capacity.drop_rate(admission.kept_TK))
        print(f"K = {top_k}, {name:<10} C = {places:>3}   dropped {dropped:.0%}")

# %%
claim(
    "L88",
    "imprecise",
    holds=capacity.expert_capacity(T, E, 1, 1.25) == T / E * 1.25
    and capacity.expert_capacity(T // 4, E, 2, 1.0) == 2 * T / (4 * E)
    and dropped == 0.5,
)

# %% [markdown]
# One factor, two meanings. So before two papers are compared, their factors have to be brought to one
# convention. ST-MoE's code is Mesh TensorFlow's, with two choices; GLaM and many others quote GShard's as 2,
# counting the two choices into it.

# %%
QUOTED = [  # who, factor as quoted, choices K, whether the convention has K in it
    ("Switch", 1.25, 1, True),
    ("GShard, algorithm 1", 1.0, 2, True),
    ('GShard, quoted as "2.0"', 2.0, 2, False),
    ("ST-MoE, training", 1.25, 2, False),
    ("ST-MoE, evaluation", 2.0, 2, False),
]
ours = {name: quoted if has_k else quoted / top_k for name, quoted, top_k, has_k in QUOTED}
for name, quoted, top_k, _ in QUOTED:
    print(f"{name:<24} quoted {quoted:<5} K = {top_k}   in this lesson's convention {ours[name]}")

# %% [markdown]
# ST-MoE trained with *fewer* places than rows: at 0.625 even a perfectly even load loses three rows in eight.
#
# Your turn. Mind where you round. (And one trap that no formula shows: in floating point 50 · 4 · 1.1 / 4 is
# a hair above 55, and `ceil` makes 56 of it. Real codes have this fault; the cases below avoid such numbers.)

# %%
print(50 * 4 * 1.1 / 4, "->", math.ceil(50 * 4 * 1.1 / 4))

# %% [markdown]
# {{exercise 07.capacity}}


# %% answer="07.capacity"
def expert_capacity(n_tokens, n_experts, top_k, capacity_factor):
    """Places per expert: the fair share of all routed rows, times the factor, rounded up once.

    n_tokens, n_experts, top_k: whole numbers T, E, K. capacity_factor: a number above 0.
    Returns a whole number.
    """
    ### BEGIN SOLUTION
    return math.ceil(n_tokens * top_k * capacity_factor / n_experts)
    ### END SOLUTION


# %%
check("07.capacity")

# %% [markdown]
# ## A queue at every expert
#
# Number the **slots**: choice k of token t is slot t · K + k. They are served in this order. A slot's
# **position** is the number of earlier slots that asked for the same expert,
#
# $$\text{position}(s) = \bigl|\{\,s' < s : e(s') = e(s)\,\}\bigr|,\qquad \text{kept if position}(s) < C.$$
#
# Positions start at 0, so the places are 0 to C - 1. Five tokens, three experts, K = 2, three places each:

# %%
ids_TK = torch.tensor([[0, 1], [0, 2], [1, 0], [0, 1], [2, 0]])
tiny = capacity.admit(ids_TK, torch.ones(5, 2), n_experts=3, capacity=3)
for t in range(5):
    told = [
        f"expert {e}, position {p}{'' if kept else ' (full: dropped)'}"
        for e, p, kept in zip(*(table[t].tolist() for table in tiny[:3]), strict=True)
    ]
    print(f"token {t}: {'; '.join(told)}")

# %% [markdown]
# Expert 0 was asked five times. The listing in the Switch paper (appendix F) counts with `cumsum`, which
# includes the slot itself, so its positions start at 1, and then it keeps `position < C`. Read literally, an
# expert keeps C - 1 rows and the first place stays empty. Off-by-one errors here are easy to make and hard to
# see: nothing crashes, the model is only a little worse.

# %% [markdown]
# {{puzzle 07.p_before}}


# %% puzzle="07.p_before"
@puzzle("07.p_before")
def came_before(arrivals_N):
    ### BEGIN SOLUTION
    return arrivals_N.cumsum(dim=0) - arrivals_N
    ### END SOLUTION


# %% [markdown]
# {{puzzle 07.p_one}}


# %% puzzle="07.p_one"
@puzzle("07.p_one")
def one_of_each(table_NM, column_N):
    ### BEGIN SOLUTION
    return table_NM[torch.arange(len(column_N)), column_N]
    ### END SOLUTION


# %% [markdown]
# {{exercise 07.positions}}


# %% answer="07.positions"
def positions(topk_ids_TK, n_experts):
    """Each slot's position in its expert's queue, token after token, counted from 0.

    topk_ids_TK: [T, K] expert ids 0..E-1. n_experts: E.
    Returns [T, K] whole numbers.
    """
    ### BEGIN SOLUTION
    ids_S = topk_ids_TK.flatten()
    arrived_SE = F.one_hot(ids_S, n_experts).cumsum(dim=0)
    return arrived_SE.gather(1, ids_S.unsqueeze(1)).view_as(topk_ids_TK) - 1
    ### END SOLUTION


# %%
check("07.positions")

# %% [markdown]
# There are two ways without a loop. The published one is a running count down each column of a one-hot table.
# It needs S · E numbers, for S = T · K slots. The other sorts the slots by expert, keeping their order, and
# takes each slot's distance to the beginning of its group. Both give what the loop gives.

# %% tags=["nbval-ignore-output"] why="widget"
predict("07.slowest")

# %% tags=["nbval-ignore-output"] why="timing"
import time

generator = torch.Generator().manual_seed(0)
ids_S = torch.randint(0, 64, (4096 * 8,), generator=generator)  # 4,096 tokens, 64 experts, K = 8
for count in (capacity.positions_loop, capacity.positions_one_hot, capacity.positions_sorted):
    times = []
    for _ in range(3):
        began = time.perf_counter()
        count(ids_S, 64)
        times.append(1000 * (time.perf_counter() - began))
    print(f"{count.__name__:<18} {min(times):7.2f} ms")

# %%
counted = [
    count(ids_S, 64)
    for count in (capacity.positions_loop, capacity.positions_one_hot, capacity.positions_sorted)
]
differ = sum(int((counted[0] != other).sum()) for other in counted[1:])
print(f"positions where a way without a loop differs from the loop: {differ} of {2 * ids_S.numel():,}")
print(f"numbers in the one-hot table: {ids_S.numel() * 64:,}, for {ids_S.numel():,} answers")

# %%
reveal("07.slowest")

# %% [markdown]
# "Without a loop" is not the same as fast. What the loop cannot do is run on a GPU: it would have to bring
# the ids to the host first, while the GPU waits. The sort has neither problem.

# %% [markdown]
# ## How many does chance turn away?
#
# Take the best router that balance could wish for: every expert equally likely, for every token. Commit to a
# number before you look.

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import Capacity

queues = Capacity(ask=False)
predict("07.random", unlocks=queues)

# %% [markdown]
# Each row below is an expert's queue. Drag the number of tokens and of experts, then the factor, then the
# skew (how much more often some experts are asked than others). Which of them matters most? And look at the
# strip below the queues: which tokens of the batch are crossed out?

# %% tags=["nbval-ignore-output"] why="widget"
queues

# %% [markdown]
# The mean in the picture is not simulated. A token reaches a given expert with probability K/E, and tokens
# are independent, so the number n that ask for it is **binomial**. An expert with n rows drops max(0, n - C).
# The loads of different experts do depend on each other (what one gets the others don't), but the mean of a
# sum is the sum of the means. So, exactly,
#
# $$\text{drop rate} = \frac{E}{T K}\sum_{n > C} (n - C)\,\binom{T}{n}\Bigl(\frac KE\Bigr)^{n}\Bigl(1-\frac
# KE\Bigr)^{T-n}.$$
#
# Let us hold it against 300 draws for each of six sizes:


# %%
def random_ids(n_tokens, n_experts, top_k, generator):
    """Each token's K different experts, all equally likely."""
    return torch.rand(n_tokens, n_experts, generator=generator).topk(top_k, dim=-1).indices


def drawn_drop_rates(n_tokens, n_experts, top_k, places, n_draws=300):
    """Drop rates of as many random batches."""
    rates = []
    for seed in range(n_draws):
        ids_TK = random_ids(n_tokens, n_experts, top_k, torch.Generator().manual_seed(seed))
        kept_TK = capacity.admit(
            ids_TK, torch.ones(ids_TK.shape), n_experts=n_experts, capacity=places
        ).kept_TK
        rates.append(capacity.drop_rate(kept_TK))
    return torch.stack(rates)


print("factor 1              rows per expert   expected drops   300 draws   apart, in standard errors")
apart = []
for n_tokens, n_experts in [(64, 8), (512, 8), (512, 64)]:
    for top_k in (1, 2):
        places = capacity.expert_capacity(n_tokens, n_experts, top_k, 1.0)
        uniform_E = torch.full((n_experts,), top_k / n_experts)
        expected = capacity.expected_drop_rate(n_tokens, uniform_E, places)
        rates = drawn_drop_rates(n_tokens, n_experts, top_k, places)
        apart.append(abs(float(rates.mean()) - expected) / (float(rates.std()) / 300**0.5))
        name = f"K={top_k}, T={n_tokens}, E={n_experts}"
        print(
            f"{name:<20} {n_tokens * top_k // n_experts:>16} {expected:>16.1%} {float(rates.mean()):>11.1%}"
            f" {apart[-1]:>27.1f}"
        )
measured("standard errors between formula and draws", apart, below=4)

# %%
reveal("07.random")

# %% [markdown]
# The first and the third pair have the same number of tokens per expert and almost the same drops. The size
# of the batch has no part in it: **tokens per expert** decide. The spread of a load grows with its square
# root, so at factor 1 the drop rate is close to 0.4 / √(rows per expert), times √(1 - K/E). (Put a bell curve
# in place of the binomial; 0.4 is its height in the middle, 1/√(2π).)
#
# Whoever counts capacity in small groups pays for it. GShard counted per group, and the Switch layer in
# `transformers` counts per sequence. The same 4,096 tokens and 64 experts, K = 1, cut into groups:

# %%
for n_groups in (1, 8, 64):
    in_group = 4096 // n_groups
    places = capacity.expert_capacity(in_group, 64, 1, 1.0)
    expected = capacity.expected_drop_rate(in_group, torch.full((64,), 1 / 64), places)
    print(f"groups: {n_groups:>2}   tokens: {in_group:>4}   places: {places:>2}   dropped: {expected:.1%}")

# %% [markdown]
# **Change this.** How many rows must an expert get before chance alone, at factor 1, drops fewer than one in
# a hundred? Guess first. Then try fewer experts: does their number matter too?

# %% change=true
# Change these and run the cell again.
rows_per_expert = 64
n_experts = 64

one_of_them = torch.tensor([1 / n_experts])  # all experts are alike, so what holds for one holds for all
chance = capacity.expected_drop_rate(rows_per_expert * n_experts, one_of_them, rows_per_expert)
print(f"{rows_per_expert} rows for each of {n_experts} experts: {chance:.2%} dropped at factor 1")

# %% [markdown] only="solutions"
# About 1,600 rows. A hundredth is 0.4 / √1,600, and since it is a root, half the drops cost four times the
# rows. The number of experts hardly matters once there are several of them. With two it does: what one has
# too many the other has too few, √(1 - 1/2) shrinks the spread, and about half the rows will do.

# %% only="solutions"
for n_experts in (2, 8, 64):
    one_of_them = torch.tensor([1 / n_experts])
    rates = [
        capacity.expected_drop_rate(rows * n_experts, one_of_them, rows) for rows in (64, 400, 800, 1600)
    ]
    told = "   ".join(f"{rate:.2%}" for rate in rates)
    print(f"{n_experts:>2} experts, 64, 400, 800 and 1,600 rows for each: {told}")

# %% [markdown]
# {{exercise 07.expected_drop_rate}}


# %% answer="07.expected_drop_rate"
def expected_drop_rate(n_tokens, n_experts, top_k, capacity):
    """Expected share of the T * K rows that a perfectly random router drops.

    Each token picks K different experts, all equally likely, independently of the others.
    n_tokens, n_experts, top_k, capacity: whole numbers T, E, K, C.
    Returns a number between 0 and 1.
    """
    ### BEGIN SOLUTION
    from scipy.stats import binom

    n = np.arange(capacity, n_tokens + 1)
    overflow = ((n - capacity) * binom.pmf(n, n_tokens, top_k / n_experts)).sum()
    return float(n_experts * overflow / (n_tokens * top_k))
    ### END SOLUTION


# %%
check("07.expected_drop_rate")

# %% [markdown]
# ### The drop curve, drawn by your functions
#
# Three of your answers belong together. Places for a factor, positions in a batch, and the share that theory
# expects: with them you can measure a drop curve and lay the theory over it. What has passed is yours; for
# the rest the package's function stands in, and the next cell says so. 40 random batches, 16 rows for each
# expert:

# %%
places_for, queue_of = yours("07.capacity"), yours("07.positions")
theory = yours("07.expected_drop_rate")
T, E, K = 64, 8, 2
factors = [0.5 + i / 8 for i in range(13)]
queues_BTK = torch.stack(
    [queue_of(random_ids(T, E, K, torch.Generator().manual_seed(seed)), E) for seed in range(40)]
)

drops, expected, fits = [], [], []
for factor in factors:
    places = places_for(T, E, K, factor)
    dropped_B = (queues_BTK >= places).float().mean(dim=(1, 2))
    drops.append(float(dropped_B.mean()))
    expected.append(float(theory(T, E, K, places)))
    error = max(float(dropped_B.std()) / 40**0.5, 1 / queues_BTK.numel())
    fits.append(abs(drops[-1] - expected[-1]) < 4 * error)
    if factor in (0.5, 1.0, 1.25, 1.5):
        told = f"measured {drops[-1]:>4.0%}   expected {expected[-1]:>6.1%}"
        print(f"factor {factor:<5} {places:>2} places   {told}")
print(f"within 4 standard errors of the theory: {sum(fits)} of {len(factors)} factors")

# %% draw=true tags=["nbval-ignore-output"] why="image"
svg.line_chart(
    {
        queue_of.label: (factors, [100 * rate for rate in drops]),
        "theory": (factors, [100 * rate for rate in expected]),
    },
    title="Measured drops lie on the theory's line",
    x_label="capacity factor",
    y_label="rows dropped (%)",
    caption=f"T = {T}, E = {E}, K = {K}, mean of 40 batches. Measured with {places_for.label} and "
    f"{queue_of.label}; the theory is {theory.label}. Why is the line straight at first, and then bent?",
)

# %% [markdown]
# <details><summary>Why straight, then bent?</summary>
#
# With few places every expert fills up, in every batch. Then chance has no say: who finds no place is one
# minus the factor, a straight line. Near a factor of 1 some experts have room to spare while others turn rows
# away, and the line leaves that straight one.
#
# </details>

# %% [markdown]
# ## What room costs
#
# The remedy for drops is a larger factor. Its price is the places that stay empty: they take memory, they are
# sent through the network, and the experts multiply zeros with their weights. Four sizes, five factors:

# %%
FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0)
print("rows per        dropped at factor                         places empty at factor")
print("  expert  " + "".join(f"{f:>8}" for f in FACTORS) + "  " + "".join(f"{f:>8}" for f in FACTORS))
dropped, empty = {}, {}
for per_expert in (4, 16, 64, 256):
    n_tokens, uniform_E = 64 * per_expert, torch.full((64,), 1 / 64)
    for factor in FACTORS:
        places = capacity.expert_capacity(n_tokens, 64, 1, factor)
        dropped[per_expert, factor] = capacity.expected_drop_rate(n_tokens, uniform_E, places)
        empty[per_expert, factor] = capacity.expected_padding(n_tokens, uniform_E, places)
    cells = [f"{100 * table[per_expert, f]:>7.1f}%" for table in (dropped, empty) for f in FACTORS]
    print(f"{per_expert:>8}  {''.join(cells[:5])}  {''.join(cells[5:])}")

# %% [markdown]
# (With 4 rows per expert, 1.1 and 1.25 both round up to 5 places.)
#
# In the column of factor 1 both shares are the same. They have to be: with as many places as rows, every row
# that is refused leaves a place empty somewhere else.
#
# That was a fair router. A real one is skewed, and the balancing of lessons 05 and 06 only makes it less so.
# Here are 64 rows per expert again, for a fair router and for one whose experts have shares 1, 1/2, 1/3, ...
# up to 1/8 (scaled to sum to 1):

# %%
T, E = 512, 8
fair_E = torch.full((E,), 1 / E, dtype=torch.float64)
skewed_E = 1 / torch.arange(1.0, E + 1, dtype=torch.float64)
skewed_E = skewed_E / skewed_E.sum()
grid = [round(0.5 + 0.05 * i, 2) for i in range(61)]
curves = {}
for router, shares_E in [("fair", fair_E), ("skewed", skewed_E)]:
    places_F = [capacity.expert_capacity(T, E, 1, factor) for factor in grid]
    curves[f"dropped, {router}"] = [100 * capacity.expected_drop_rate(T, shares_E, c) for c in places_F]
    curves[f"empty, {router}"] = [100 * capacity.expected_padding(T, shares_E, c) for c in places_F]

for name in ("fair", "skewed"):
    enough = next(f for f, d in zip(grid, curves[f"dropped, {name}"], strict=True) if d < 1)
    wasted = curves[f"empty, {name}"][grid.index(enough)]
    print(f"{name:<7} router: below 1 % dropped from factor {enough} on; {wasted:.0f} % of the places empty")

# %% draw=true tags=["nbval-ignore-output"] why="image"
svg.line_chart(
    {name: (grid, values) for name, values in curves.items()},
    title="A larger factor trades drops for empty places, a skewed router more of them",
    x_label="capacity factor",
    y_label="share of the rows, or of the places (%)",
    width=720,
    height=340,
    caption="T = 512, E = 8, K = 1, expected values. Where do the two curves of one router cross? Why there?",
)

# %% [markdown]
# <details><summary>The caption's question</summary>
#
# At a factor of 1, for the fair router as for the skewed one: there are as many places as rows, so every
# refused row leaves one place empty. The router only decides how high the crossing lies.
#
# </details>

# %%
falls = all(a >= b - 1e-9 for n in ("fair", "skewed") for a, b in pairwise(curves[f"dropped, {n}"]))
rises = all(a <= b + 1e-9 for n in ("fair", "skewed") for a, b in pairwise(curves[f"empty, {n}"]))
at_one = all(abs(dropped[n, 1.0] - empty[n, 1.0]) < 1e-9 for n in (4, 16, 64, 256))
claim("L89", "correct", holds=falls and rises and at_one)

# %%
at_125 = curves["dropped, skewed"][grid.index(1.25)]
print(
    f"dropped at factor 1.25: {dropped[4, 1.25]:.1%} with 4 rows per expert, {dropped[64, 1.25]:.1%} with 64,"
)
print(f"{at_125:.0f} % with 64 and the skewed router")
claim(
    "L92",
    "imprecise",
    holds=dropped[4, 1.25] > 0.1
    and dropped[64, 1.25] < 0.002
    and at_125 > 20
    and len({ours["Switch"], ours["GShard, algorithm 1"], ours["ST-MoE, training"]}) == 3,
)

# %% [markdown]
# So 1.25 is one of several values, even after all are brought to one convention, and the value alone says
# little. Switch reports fewer than 1 % of tokens dropped, with a load-balancing loss and factors of 1 to
# 1.25. With many tokens per expert that fits the table. With four of them, even a perfectly fair router drops
# a tenth at 1.25.

# %% [markdown]
# **Change this.** `steepness` says how skewed the router is: shares go like 1, 1/2, 1/3, ... to that power,
# and 0 is fair. At which steepness do you need twice the room of a fair router? And what is dearer at
# steepness 1: going on to 1.5, or a limit ten times as strict?

# %% change=true
# Change these and run the cell again.
steepness = 0.0
most_dropped = 0.01


def room_needed(steepness, most_dropped):
    """The smallest factor on a grid that drops less, and the share of places that then stay empty."""
    shares_E = torch.arange(1.0, 9.0, dtype=torch.float64) ** -steepness
    shares_E = shares_E / shares_E.sum()
    for factor in (round(0.5 + 0.05 * i, 2) for i in range(151)):
        places = capacity.expert_capacity(512, 8, 1, factor)
        if capacity.expected_drop_rate(512, shares_E, places) < most_dropped:
            return factor, capacity.expected_padding(512, shares_E, places)
    return math.inf, 1.0


factor, unused = room_needed(steepness, most_dropped)
print(f"steepness {steepness}: factor {factor} for less than {most_dropped:.1%} dropped, {unused:.0%} empty")

# %% [markdown] only="solutions"
# Before 0.75, and that is a mild skew: the favourite gets about twice its fair share. At steepness 1 a limit
# ten times as strict, 0.1 % instead of 1 %, costs less than a tenth more room; going on to 1.5 costs about
# 40 % more. What one pays for is the skew, not the last drops. So balance first, then buy room.

# %% only="solutions"
for steepness in (0.0, 0.5, 0.75, 1.0, 1.5):
    told = [f"{room_needed(steepness, most)[0]} for {most:.1%}" for most in (0.01, 0.001)]
    print(f"steepness {steepness:<5} factor {', '.join(told)}")

# %% [markdown]
# ## Out of the buffer, through the residual
#
# **Dispatch** copies each kept row to its place in the [E, C, D] buffer. The experts run on the whole buffer.
# **Combine** brings the results back and adds them up with their weights. A slot that was dropped adds zero:
#
# $$x_t \;\leftarrow\; x_t + \sum_{k} w_{t,k}\,[\text{kept}_{t,k}]\; f_{e(t,k)}(x_t)$$
#
# The first $x_t$ is the residual connection. It carries a token that nobody served past the layer, unchanged.
# That is why a drop is not a catastrophe, and why nobody notices one.

# %%
from moe_lessons import MoELayer
from moe_lessons.experts import swiglu

generator = torch.Generator().manual_seed(1)
layer = MoELayer(d_model=8, d_expert=12, n_experts=6, top_k=2, generator=generator).double()
for parameter in layer.parameters():
    parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
x_TD = torch.randn(96, 8, generator=generator, dtype=torch.float64)
experts = layer.experts.gate_up_proj, layer.experts.down_proj


def with_capacity(x_TD, routed, admission):
    """The MoE layer on fixed buffers."""
    buffers_ECD = capacity.dispatch(x_TD, admission, n_experts=6)
    results = [swiglu(*each) for each in zip(buffers_ECD, *experts, strict=True)]
    return capacity.combine(torch.stack(results), admission, routed.topk_weights_TK)


with torch.no_grad():
    free_TD, routed = layer(x_TD)
    places = capacity.expert_capacity(96, 6, 2, 0.75)
    admission = capacity.admit(routed.topk_ids_TK, routed.topk_weights_TK, n_experts=6, capacity=places)
    output_TD = with_capacity(x_TD, routed, admission)
    parts_TKD = torch.stack(
        [
            torch.stack([swiglu(x, experts[0][e], experts[1][e]) for e in row.tolist()])
            for x, row in zip(x_TD, routed.topk_ids_TK, strict=True)
        ]
    )
    missing_TD = (parts_TKD * (routed.topk_weights_TK * ~admission.kept_TK)[..., None]).sum(dim=1)

lost_T = (~admission.kept_TK).sum(dim=1)
exact = []
for lost in range(3):
    group = lost_T == lost
    off = (output_TD - (free_TD - missing_TD))[group].abs().max().item()
    exact.append(off < 1e-12)
    print(f"{int(group.sum())} tokens lost {lost} of 2 choices; full output minus what was refused", end="")
    measured(", against the output: largest difference", off, below=1e-12)
after_TD = x_TD + output_TD
nothing = int((after_TD != x_TD)[lost_T == 2].sum())
print(f"numbers that the block changes where both were lost: {nothing} of {after_TD[lost_T == 2].numel()}")

# %% [markdown]
# One mistake has travelled far. A tutorial implementation of Switch, and many copies of it, end with
# `final_output[dropped] = x[dropped]`: a dropped token passes through. But the block around it adds the
# residual as well. So it does not pass through, it is doubled:

# %%
copied_TD = torch.where((lost_T == 2)[:, None], x_TD, output_TD)
after_TD = x_TD + copied_TD
ratio_T = after_TD[lost_T == 2].norm(dim=1) / x_TD[lost_T == 2].norm(dim=1)
print(f"length of a dropped token after the block, over its length before: {ratio_T.mean():.1f}")

# %% [markdown]
# {{puzzle 07.p_seated}}


# %% puzzle="07.p_seated"
@puzzle("07.p_seated")
def seated(ticket_N, row_N, seat_N, n_rows, n_seats):
    ### BEGIN SOLUTION
    return torch.zeros(n_rows, n_seats).index_put((row_N, seat_N), ticket_N)
    ### END SOLUTION


# %% [markdown]
# {{exercise 07.dispatch_combine}}


# %% answer="07.dispatch_combine"
def dispatch_combine(hidden_TD, topk_ids_TK, topk_weights_TK, positions_TK, capacity, experts_EDD):
    """The layer on fixed buffers, without the residual.

    hidden_TD: [T, D]. topk_ids_TK, positions_TK: [T, K] whole numbers. topk_weights_TK: [T, K].
    capacity: C. experts_EDD: [E, D, D]; expert e maps rows to rows @ experts_EDD[e].
    Returns the buffers [E, C, D], with zeros in empty places, and the output [T, D].
    """
    ### BEGIN SOLUTION
    t, k = (positions_TK < capacity).nonzero(as_tuple=True)  # the kept slots
    e, p = topk_ids_TK[t, k], positions_TK[t, k]
    buffers_ECD = torch.zeros(len(experts_EDD), capacity, hidden_TD.shape[1])
    buffers_ECD[e, p] = hidden_TD[t]
    results_ECD = buffers_ECD @ experts_EDD
    weighted = results_ECD[e, p] * topk_weights_TK[t, k].unsqueeze(-1)
    return buffers_ECD, torch.zeros_like(hidden_TD).index_add(0, t, weighted)
    ### END SOLUTION


# %%
check("07.dispatch_combine")

# %% [markdown]
# ## Who is turned away?
#
# Here is a question that a drop rate hides.

# %% tags=["nbval-ignore-output"] why="widget"
predict("07.end")

# %% [markdown]
# Token t is dropped exactly if at least C earlier tokens asked for its expert. That probability is one more
# binomial, and we can draw it for every token of the batch. First in token order for
# the fair and the skewed router; then 400 random batches in which the tokens with the largest score go first.

# %%
from scipy.stats import binom

T, E, places = 256, 8, 32
at_T = torch.arange(T)
in_order = {
    name: torch.from_numpy(sum(p * binom.sf(places - 1, at_T.numpy(), p) for p in shares_E.tolist()))
    for name, shares_E in [("token order, fair router", fair_E), ("token order, skewed router", skewed_E)]
}
generator = torch.Generator().manual_seed(0)
by_score_T = torch.zeros(T, dtype=torch.float64)
for _ in range(400):
    scores_TE = torch.rand(T, E, generator=generator)
    best = scores_TE.max(dim=1)
    first_T1, weights_T1 = best.indices[:, None], best.values[:, None]
    kept_TK = capacity.admit(first_T1, weights_T1, n_experts=E, capacity=places, priority="batch").kept_TK
    by_score_T += ~kept_TK[:, 0] / 400

for name, rate_T in in_order.items():
    quarters = rate_T.view(4, 64).sum(dim=1) / rate_T.sum()
    print(
        f"{name:<27} share of all drops in each sequence: {', '.join(f'{q:.0%}' for q in quarters.tolist())}"
    )
quarters = by_score_T.view(4, 64).sum(dim=1) / by_score_T.sum()
measured(
    "by score, fair router: share of all drops in each sequence", quarters, above=0.2, below=0.3, unit="%"
)

# %% draw=true tags=["nbval-ignore-output"] why="image"
steps = list(range(0, T, 16))
binned = {name: (100 * rate_T).view(-1, 16).mean(dim=1).tolist() for name, rate_T in in_order.items()}
binned["by score, fair router"] = (100 * by_score_T).view(-1, 16).mean(dim=1).tolist()
svg.line_chart(
    {name: ([s + 8 for s in steps], values) for name, values in binned.items()},
    title="Served in order, the end of the batch pays for everybody",
    x_label="position in the batch (4 sequences of 64 tokens)",
    y_label="tokens dropped (%)",
    x_range=(0, 256),
    width=720,
    height=300,
    caption="K = 1, E = 8, 32 places each, averages over 16 positions. "
    "Which line would you rather be on, as the last sentence of a dialogue?",
)

# %%
reveal("07.end")
last = {name: float(rate_T[192:].sum() / rate_T.sum()) for name, rate_T in in_order.items()}
claim("L90", "correct", holds=all(exact) and nothing == 0 and last["token order, fair router"] > 0.9)

# %% [markdown]
# OpenMoE met this in its trained models and called it drop-towards-the-end: late tokens of a sequence, such
# as the last turns of a dialogue, are dropped more. If capacity is counted per sequence, every sequence has
# such an end of its own. And as you saw, it drops more in all, since it has fewer tokens per expert.

# %% [markdown]
# ### Your layer, and the last in line
#
# Places, positions, buffers: together they are a layer with a limit. So let us build it from your parts, with
# the residual around it, and look at one token in it. It is the same token every time, and it stands last. In
# front of it are 63 others, drawn anew a hundred times. What does the layer do for it?

# %%
through_buffers = yours("07.dispatch_combine")
D, E, K = 16, 8, 2
generator = torch.Generator().manual_seed(7)
router_ED = 2 * torch.eye(E, D)  # expert e looks at number e of the hidden state: a fair router
experts_EDD = torch.randn(E, D, D, generator=generator) / 4
last_1D = torch.randn(1, D, generator=generator)


def residual_block(hidden_TD, factor):
    """The block's output, which slots had a place, the share of empty places, how far it is off."""
    gated = routing.topk_softmax(hidden_TD @ router_ED.T, K)
    ids_TK, weights_TK = gated.topk_ids_TK, gated.topk_weights_TK
    positions_TK, places = queue_of(ids_TK, E), places_for(len(hidden_TD), E, K, factor)
    buffers_ECD, added_TD = through_buffers(hidden_TD, ids_TK, weights_TK, positions_TK, places, experts_EDD)
    admission = capacity.admit(ids_TK, weights_TK, n_experts=E, capacity=places)
    results_ECD = capacity.dispatch(hidden_TD, admission, n_experts=E) @ experts_EDD
    off = (added_TD - capacity.combine(results_ECD, admission, weights_TK)).abs().max().item()
    empty = float((buffers_ECD == 0).all(dim=-1).float().mean())
    return hidden_TD + added_TD, positions_TK < places, empty, off


def last_in_line(n_before, factor, n_batches=100):
    """In how many batches the last token got none, one and both of its experts, and what else was seen."""
    draw, served, outputs, empty, off = torch.Generator().manual_seed(0), [0, 0, 0], [], [], []
    for _ in range(n_batches):
        others_TD = torch.randn(n_before, D, generator=draw)
        output_TD, kept_TK, unused, off_now = residual_block(torch.cat([others_TD, last_1D]), factor)
        served[int(kept_TK[-1].sum())] += 1
        outputs.append(output_TD[-1])
        empty.append(unused)
        off.append(off_now)
    return served, torch.stack(outputs), sum(empty) / n_batches, off


served, outputs_BD, unused, off = last_in_line(n_before=63, factor=1.0)
print("experts that served it: none, one, both, in", ", ".join(map(str, served)), "of 100 batches")
different = {tuple(round(x, 3) for x in row) for row in outputs_BD.tolist()}
print(f"one token, {len(different)} different outputs; places that stay empty: {unused:.0%}")
measured("largest difference to the package's buffers", off, below=1e-4, then="the same outputs")

# %% [markdown]
# The token did not change, only those before it. It comes out of the block in up to four ways: with both
# experts, with one, with the other, or just as it went in. This is what the answer to a question looks like
# if it shares a batch with other people's questions.

# %% [markdown]
# **Change this.** A larger batch drops a smaller share of its tokens, as you have seen. Does that help the
# one who stands last? And from which factor on does its answer no longer depend on the others?

# %% change=true
# Change these and run the cell again.
n_before = 63
factor = 1.0

served, outputs_BD, unused, _ = last_in_line(n_before, factor)
print(
    f"{n_before} before it, factor {factor}: none, one, both in {served} of 100 batches, {unused:.0%} empty"
)

# %% [markdown] only="solutions"
# It does nothing for the last one: at factor 1 it gets both experts in fewer than one batch in four, with 15
# others before it as with 255. Each of its two queues is full about half of the time, however long it is.
# Room does help: at factor 1.5 both serve it in most batches, at 2 in nearly all. It is *certain* of both
# only at E/K = 4, where there are as many places as tokens, and three places in four stay empty.

# %% only="solutions"
for n_before in (15, 63, 255):
    told = [f"{factor}: {last_in_line(n_before, factor)[0][2]}" for factor in (1.0, 1.5, 2.0, 4.0)]
    print(f"{n_before:>3} before it; both experts in so many of 100 batches at factor {', '.join(told)}")

# %% [markdown]
# ### Four orders of service
#
# So why not serve someone else first? Four rules are in use:
#
# - **token**: token after token, as above.
# - **choice**: all first choices, then all second ones (GShard, DeepSpeed).
# - **batch**: the same, and tokens with the largest weight first (V-MoE's batch prioritized routing).
# - **weight**: each expert keeps the rows with its C largest weights (Megatron's policy "probs").
#
# How much of the routing weight is served, over 20 batches? And the test that lesson 06 applies to every
# router: change the *last* token, and see whether anything changes for an earlier one.

# %%
from moe_lessons.routing.causality import leak_rate

T, E = 64, 8
router_ED = torch.randn(E, 16, generator=torch.Generator().manual_seed(0)) / 4


def served_rows(hidden_TD, priority, top_k):
    """Routing weights, and which slots keep a place."""
    routed = routing.softmax_topk(hidden_TD.double() @ router_ED.double().T, top_k, renormalize=False)
    ids_TK, weights_TK = routed.topk_ids_TK, routed.topk_weights_TK
    places = capacity.expert_capacity(T, E, top_k, 1.0)
    admission = capacity.admit(ids_TK, weights_TK, n_experts=E, capacity=places, priority=priority)
    return weights_TK, admission.kept_TK


def leak(priority, top_k):
    """Share of 200 trials in which the last token changed who of the others is kept."""
    return leak_rate(lambda hidden_TD: served_rows(hidden_TD, priority, top_k)[1], n_tokens=T).trials


print("            rows dropped   weight served    trials in which an earlier token was affected")
print("            K = 2          K = 2            K = 1        K = 2")
leaks, rows_dropped = {}, {}
for priority in capacity.PRIORITIES:
    hidden_NTD = [torch.randn(T, 16, generator=torch.Generator().manual_seed(seed)) for seed in range(20)]
    batches = [served_rows(hidden_TD, priority, 2) for hidden_TD in hidden_NTD]
    rows_dropped[priority] = [int((~kept_TK).sum()) for _, kept_TK in batches]
    weight = sum(float((w * kept).sum() / w.sum()) for w, kept in batches) / 20
    leaks[priority] = [leak(priority, top_k) for top_k in (1, 2)]
    seen = ["none" if x == 0 else "over 30 %" if x > 0.3 else "a few" for x in leaks[priority]]
    share = sum(rows_dropped[priority]) / (20 * T * 2)
    print(f"{priority:<10} {share:>8.0%} {weight:>14.0%}          {seen[0]:<12} {seen[1]}")
unlike = sum(len(set(counts)) > 1 for counts in zip(*rows_dropped.values(), strict=True))
print(f"batches in which the four do not drop equally many rows: {unlike} of {len(batches)}")

# %% tags=["nbval-ignore-output"] why="machine"
print("exactly, of 200 trials (K = 1, K = 2):", {p: [round(200 * x) for x in xs] for p, xs in leaks.items()})

# %% [markdown]
# All drop equally many, because a load does not depend on who stands where. They differ in whom. Serving by
# weight keeps the rows that matter more to the router's sum.
#
# But every order except the first can look ahead. The last token may be the one whose score, or whose first
# choice, takes a place that an earlier token would have had. In a causal language model the earlier token's
# output then depends on a word that it must not know. In training that is a leak; in generation the later
# word is not there, and the layer behaves differently. Vision models, where V-MoE comes from, have no such
# order. With K = 1, first choices are all there are, and `choice` is the same as `token`.
#
# How much so small a leak helps or harms a trained model, we do not measure here. Know which rule you have.

# %% [markdown]
# ### Falling back
#
# Or nobody is dropped: a refused token asks its second-best expert, then its third. Switch tried that under
# the name *no-token-left-behind*. Rounds with static shapes, no loop over tokens:

# %%
for n_tries in (1, 2, 8):
    kept, weight = [], []
    for hidden_TD in hidden_NTD:
        scores_TE = (hidden_TD.double() @ router_ED.double().T).softmax(dim=-1)
        placed = capacity.admit_with_fallback(scores_TE, 1, capacity=T // E, n_tries=n_tries)
        received_TK = scores_TE.gather(1, placed.expert_ids_TK) * placed.kept_TK
        kept.append(placed.kept_TK)
        weight.append(float(received_TK.sum() / scores_TE.amax(dim=1).sum()))
    dropped_share, weight_share = float(capacity.drop_rate(torch.cat(kept))), sum(weight) / 20
    print(
        f"up to {n_tries} tries: {dropped_share:>4.0%} dropped, {weight_share:.0%} of the best weights served"
    )


def placed_at(hidden_TD):
    """Each token's expert after falling back, or -1."""
    placed = capacity.admit_with_fallback(hidden_TD.double() @ router_ED.double().T, 1, capacity=T // E)
    return torch.where(placed.kept_TK, placed.expert_ids_TK, -1)


looks_ahead = leak_rate(placed_at, n_tokens=T).trials
measured(
    "trials in which the last token moves an earlier one",
    looks_ahead,
    above=0.3,
    unit="%",
    then="it looks ahead",
)

# %% [markdown]
# With as many places as tokens everybody finds one in the end. But compare the columns: the tokens come back,
# most of their weight does not. They are served by experts that wanted them much less. Switch saw no gain
# from this rule and suspects just that: a token at an expert that is not its own may do more harm than good.
# It also looks ahead: a later token's first choice goes before an earlier token's second.

# %% [markdown]
# ## The best assignment there is
#
# Now the view from above. Give each token one expert and each expert at most C tokens, such that the sum of
# the scores is as large as possible:
#
# $$\max_{z \in \{0,1\}^{T\times E}} \sum_{t,e} s_{t,e}\, z_{t,e}\qquad
# \text{with}\quad \sum_e z_{t,e} \le 1,\quad \sum_t z_{t,e} \le C.$$
#
# That is the linear assignment problem of lesson 05, with C places instead of T/E. There it served as an
# ideal. Here it is the yardstick: how far is each rule of this lesson from its optimum? 512 tokens, 8 experts
# of unequal appeal, 64 places each, and as scores the router's probabilities. "Best pair first" is a rule
# that lesson 06 has: take the largest score of all, then the largest that is still possible, and so on.
# Twenty draws.

# %%
from scipy.optimize import linear_sum_assignment

T, E, places = 512, 8, 64


def total(scores_TE, admission):
    """Sum of the scores at the experts that serve."""
    return float((scores_TE.gather(1, admission.expert_ids_TK) * admission.kept_TK).sum())


names = ("no limit", "optimum", "best pair first", "fallback", "by score", "token order")
totals, overload, unserved = {name: [] for name in names}, [], []
for seed in range(20):
    generator = torch.Generator().manual_seed(seed)
    appeal_E = 0.8 * torch.randn(E, generator=generator, dtype=torch.float64)
    logits_TE = torch.randn(T, E, generator=generator, dtype=torch.float64) + appeal_E
    scores_TE = logits_TE.softmax(dim=-1)
    best = scores_TE.max(dim=1)
    wish_T1, value_T1 = best.indices[:, None], best.values[:, None]
    overload.append(int(torch.bincount(best.indices, minlength=E).max()))
    rows, columns = linear_sum_assignment(scores_TE.repeat_interleave(places, dim=1).numpy(), maximize=True)
    by_token = capacity.admit(wish_T1, value_T1, n_experts=E, capacity=places)
    by_score = capacity.admit(wish_T1, value_T1, n_experts=E, capacity=places, priority="batch")
    fallback = capacity.admit_with_fallback(scores_TE, 1, capacity=places)
    pairs_T1 = routing.greedy_assignment(scores_TE).topk_ids_TK
    totals["no limit"].append(float(value_T1.sum()))
    totals["optimum"].append(float(scores_TE[rows, columns // places].sum()))
    totals["best pair first"].append(float(scores_TE.gather(1, pairs_T1).sum()))
    totals["fallback"].append(total(scores_TE, fallback))
    totals["by score"].append(total(scores_TE, by_score))
    totals["token order"].append(total(scores_TE, by_token))
    unserved.append(float(capacity.drop_rate(by_token.kept_TK)))

relative = {name: torch.tensor(totals[name]) / torch.tensor(totals["optimum"]) for name in names}
print(f"the favourite is asked by {min(overload)} to {max(overload)} tokens; it has {places} places")
for name in names:
    r = 100 * relative[name]
    print(f"{name:<16} {r.mean():>4.0f} % of the optimum (from {r.min():.0f} to {r.max():.0f})")
print(f"dropped in token order and by score: {sum(unserved) / 20:.0%} on average, by the others nobody")

# %% [markdown]
# Without a limit the sum is larger than the optimum, but no assignment within the places reaches it. Token
# choice with drops stays well below, in whatever order it serves. Sending the refused on does not bring it
# there either. Who looks at all pairs at once comes very close without solving anything.
#
# So lesson 05's verdict stands with numbers: routing is not that problem. Does a larger sum make a better
# model? Nothing says so: it adds up what the *router* thinks. And whoever solves the problem, as BASE does in
# training, needs all tokens of the batch for it. Every one of them, later ones too, has a say in where a
# token goes.

# %% [markdown]
# {{exercise 07.assignment}}


# %% answer="07.assignment"
def assignment(scores_TE, capacity):
    """First come, first served, against the best assignment.

    scores_TE: [T, E], above 0. capacity: places per expert.
    Returns three things: the expert that greedy gives each token [T], -1 where it is dropped; the total score
    of the tokens that greedy serves; the largest total with one expert per token and C tokens per expert.
    """
    ### BEGIN SOLUTION
    from scipy.optimize import linear_sum_assignment

    wishes_T = scores_TE.argmax(dim=1)
    earlier_T = F.one_hot(wishes_T, scores_TE.shape[1]).cumsum(dim=0).gather(1, wishes_T[:, None])[:, 0] - 1
    served_T = earlier_T < capacity
    greedy_total = float(scores_TE.amax(dim=1)[served_T].sum())

    places_TX = scores_TE.repeat_interleave(capacity, dim=1).numpy()
    rows, columns = linear_sum_assignment(places_TX, maximize=True)
    return torch.where(served_T, wishes_T, -1), greedy_total, float(places_TX[rows, columns].sum())
    ### END SOLUTION


# %%
check("07.assignment")

# %% [markdown]
# The function that you were asked for answers one more question. Above, every expert had exactly its fair
# share of places. How much does the order of service cost with fewer places, or with more? Twelve tokens and
# three experts, twenty draws for each number of places:

# %%
two_ways = yours("07.assignment")


def first_come(spread, places, n_draws=20):
    """Share of the best total that first come, first served reaches, and of the tokens that it drops."""
    reached, refused = [], []
    for seed in range(n_draws):
        draw = torch.Generator().manual_seed(seed)
        logits_TE = torch.randn(12, 3, generator=draw) + spread * torch.randn(3, generator=draw)
        greedy_T, greedy_total, best_total = two_ways(logits_TE.softmax(dim=-1), places)
        reached.append(float(greedy_total / best_total))
        refused.append(float((greedy_T < 0).float().mean()))
    return sum(reached) / n_draws, sum(refused) / n_draws


print("places   served first come, first served, as a share of the best total   dropped")
by_places = {places: first_come(0.8, places) for places in (2, 3, 4, 5, 6, 8, 12)}
for places, (reached, refused) in by_places.items():
    print(f"{places:>6}   {reached:>30.0%} {refused:>39.0%}")

# %% draw=true tags=["nbval-ignore-output"] why="image"
svg.line_chart(
    {
        "greedy / best": (list(by_places), [100 * reached for reached, _ in by_places.values()]),
        "dropped": (list(by_places), [100 * refused for _, refused in by_places.values()]),
    },
    title="First come, first served needs far more than the fair share of places",
    x_label="places of each expert; the fair share is 4",
    y_label="share (%)",
    y_range=(0, 100),
    caption=f"Greedy and best totals by {two_ways.label}. T = 12, E = 3, mean of 20 draws. At 12 places each "
    "token has its favourite, so both totals are equal.",
)

# %% [markdown]
# From two places to four the drops fall by half and yet the share hardly moves: the best assignment gains
# from new places as well, and knows better what to do with them. Not before there is room for the
# favourite's crowd do the two meet.

# %% [markdown]
# **Change this.** `spread` says how unequal the experts' appeal is. With 0 they are equally attractive. Is
# first come, first served the best assignment then?

# %% change=true
# Change these and run the cell again.
spread = 0.8
places = 4

reached, refused = first_come(spread, places)
print(f"spread {spread}, {places} places: {reached:.0%} of the best total, {refused:.0%} dropped")

# %% [markdown] only="solutions"
# No. At four places it stays about a tenth below even then: chance crowds one expert or another, and whoever
# comes too late is dropped, although another expert has room and would score nearly as well. A spread of 0.8
# makes that nearly a fifth. From there to 2 the drops go on growing and the share falls by a few points only:
# where all want the same expert, the best assignment cannot do much for them either.

# %% only="solutions"
for spread in (0.0, 0.8, 2.0):
    reached, refused = first_come(spread, 4)
    print(f"spread {spread}, 4 places: {reached:.0%} of the best total, {refused:.0%} dropped")

# %% [markdown]
# ## What does a drop cost?
#
# A dropped token misses what the layer would have added. So much is sure. What it does to *training* is less
# obvious.

# %% tags=["nbval-ignore-output"] why="widget"
predict("07.cost")

# %% [markdown]
# Four layers are trained, which takes about five seconds, on a slow machine half a minute. A toy with a clear
# answer: tokens come from 8 clusters, and each cluster has its own small function that the
# layer must add to the residual. Eight experts, one choice, a load-balancing loss as in lesson 05 (Switch's,
# 0.01). Sixteen models with seeds of their own train side by side, as 16 · 8 experts in one batch. Then we
# train all of them again with another factor, on the same data.

# %%
from moe_lessons.steps import each

SEEDS, E, D, WIDTH, T = 16, 8, 16, 16, 256
offset_S1 = E * torch.arange(SEEDS)[:, None]  # model s owns experts 8 s to 8 s + 7


def toy_layer(x_STD, router_SED, up, down, factor):
    """16 one-choice layers at once: output, who was kept, and each one's load-balancing loss."""
    probs_STE = torch.einsum("std,sed->ste", x_STD, router_SED).softmax(dim=-1)
    weights_ST, ids_ST = probs_STE.max(dim=-1)
    places = None if factor is None else capacity.expert_capacity(x_STD.shape[1], E, 1, factor)
    weights, ids = weights_ST.reshape(-1, 1), (ids_ST + offset_S1).reshape(-1, 1)
    admission = capacity.admit(ids, weights, n_experts=SEEDS * E, capacity=places)
    buffers = capacity.dispatch(x_STD.reshape(-1, D), admission, SEEDS * E)
    output = capacity.combine((buffers @ up).relu() @ down, admission, weights)
    load_loss_S = E * (F.one_hot(ids_ST, E).float().mean(dim=1) * probs_STE.mean(dim=1)).sum(dim=-1)
    return output.view_as(x_STD), admission.kept_TK.view(SEEDS, -1), load_loss_S


def train_toy(factor, steps=250):
    """Train with a capacity factor (None: no drops); evaluate without drops, and with factor 1."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    centres_SED = 1.5 * F.normalize(randn(SEEDS, E, D), dim=-1)
    teacher_SEDD = 2 * randn(SEEDS, E, D, D) / D**0.5

    def batch(n_tokens):
        cluster_ST = torch.randint(0, E, (SEEDS, n_tokens), generator=generator)
        which = torch.arange(SEEDS)[:, None], cluster_ST
        x_STD = centres_SED[which] + 0.4 * randn(SEEDS, n_tokens, D)
        return x_STD, torch.einsum("std,stdk->stk", x_STD, teacher_SEDD[which]).tanh()

    weights = [
        0.1 * randn(SEEDS, E, D),
        randn(SEEDS * E, D, WIDTH) / D**0.5,
        0.1 * randn(SEEDS * E, WIDTH, D),
    ]
    weights = [w.requires_grad_() for w in weights]
    optimizer = torch.optim.Adam(weights, lr=1e-2)
    dropped = []
    name = "no drops" if factor is None else f"factor {factor}"
    for _ in each(range(steps), f"{name}: step"):
        x_STD, target_STD = batch(T)
        output_STD, kept_ST, load_loss_S = toy_layer(x_STD, *weights, factor)
        loss_S = (output_STD - target_STD).square().mean(dim=(1, 2)) + 0.01 * load_loss_S
        optimizer.zero_grad()
        loss_S.sum().backward()
        optimizer.step()
        dropped.append(1 - kept_ST.float().mean())
    with torch.no_grad():
        x_STD, target_STD = batch(8 * T)
        size_S = target_STD.square().mean(dim=(1, 2))  # the loss of a layer that adds nothing
        pieces = list(zip(x_STD.split(T, dim=1), target_STD.split(T, dim=1), strict=True))
        losses = {}
        for at in (None, 1.0):
            errors = [(toy_layer(x, *weights, at)[0] - y).square().mean(dim=(1, 2)) for x, y in pieces]
            losses[at] = torch.stack(errors).mean(dim=0) / size_S
    return float(torch.stack(dropped).mean()), losses[None], losses[1.0]


# %% tags=["nbval-ignore-output"] why="trained"
print("loss, where 1 is that of a layer that adds nothing; mean and standard deviation over 16 seeds")
print("trained with     dropped in training   evaluated without drops   evaluated with factor 1")
trained = {}
for factor in (None, 1.25, 1.0, 0.5):
    share, free_S, tight_S = trained[factor] = train_toy(factor)
    name = "no drops" if factor is None else f"factor {factor}"
    cells = [f"{loss_S.mean():.3f} ± {loss_S.std():.3f}" for loss_S in (free_S, tight_S)]
    print(f"{name:<16} {share:>12.0%} {cells[0]:>28} {cells[1]:>24}")

# %%
free = {factor: free_S for factor, (_, free_S, _) in trained.items()}
tight = {factor: tight_S for factor, (_, _, tight_S) in trained.items()}
shares = {factor: share for factor, (share, _, _) in trained.items()}
worse = int((tight[1.0] > free[None]).sum())
print("the layer trained with factor 1, against the one trained without drops")
measured("  of its tokens training drops", shares[1.0], above=0.1, below=0.2, unit="%")
without_drops = abs(float(free[1.0].mean() / free[None].mean()) - 1)
measured("  evaluated without drops, mean losses differ by", without_drops, below=0.1, unit="%")
with_drops = float((tight[1.0] / free[None]).mean()) - 1
print(f"  evaluated with factor 1, it is worse in {worse} of 16 seeds")
measured("  and in the mean its loss is higher by", with_drops, above=0.25, unit="%")

# %%
reveal("07.cost")

# %% [markdown]
# Two different costs. *Being dropped* costs that token all that the layer had to give, so a loss with drops
# rises with the drop rate. *Having been trained with drops* cost next to nothing
# here: an expert that misses one token in six learns from the other five.
#
# Even factor 0.5, which drops half of all tokens in every step, did little harm here. Do not carry that over:
# this toy has one layer, and fresh data in every step. But the direction fits what was done in practice.
# ST-MoE gave more room in evaluation than in training (1.0 after 0.625, in our convention), and DeepSeek-V2
# dropped tokens in training and none in evaluation. There is a third cost, which the toy does not measure: a
# model that drops in evaluation gives an answer that depends on who else is in the batch.

# %% [markdown]
# ## No drops at all
#
# In `admit`, `capacity=None` gives every expert as many places as the fullest one needs. Nothing is dropped,
# but the shape now depends on the data, and the padding on the largest load. With the skewed router above:

# %%
generator = torch.Generator().manual_seed(0)
ids_TK = torch.multinomial(skewed_E, 512, replacement=True, generator=generator)[:, None]
whole = capacity.admit(ids_TK, torch.ones(512, 1), n_experts=8, capacity=None)
padding = float(capacity.padding_fraction(whole.kept_TK, 8, whole.capacity))
print(
    f"fair share {512 // 8}, fullest expert {whole.capacity}: none dropped, {padding:.0%} of the places empty"
)

with torch.no_grad():
    no_limit = capacity.admit(routed.topk_ids_TK, routed.topk_weights_TK, n_experts=6, capacity=None)
    off = (with_capacity(x_TD, routed, no_limit) - free_TD).abs().max().item()
print("the buffered layer without a limit, against the sorted one of lesson 02")
measured("  largest difference", off, below=1e-12, then="the same")

# %% [markdown]
# So the buffer is the wrong container for it. The sorted rows of lesson 02 have no empty places at all:
# groups of different sizes, one after another, and a matrix product that knows where each begins. On a GPU
# that needs a kernel of its own. MegaBlocks brought one in 2022 (arXiv 2211.15841).
#
# "Recent models avoid dropping tokens", it is said. How a model was *trained* only its paper tells: OLMoE
# (arXiv 2409.02060) and DeepSeek-V3 without drops. What it does when it is *used* stands in its code. The
# `transformers` library has many. (Where it is not installed, the cell repeats what version 5.23.0 says.)

# %%
library = find_spec("transformers")
limited = dict.fromkeys(("switch_transformers", "nllb_moe"), True)
limited |= dict.fromkeys(("mixtral", "olmoe", "deepseek_v2", "deepseek_v3", "qwen3_moe", "gpt_oss"), False)
for name in limited:
    if library is not None:
        code = Path(library.origin).parent / "models" / name / f"modeling_{name}.py"
        limited[name] = "capacity" in code.read_text(encoding="utf-8").lower()
    print(f"{name:<20} its code knows a capacity: {'yes' if limited[name] else 'no'}")

# %%
early = ("switch_transformers", "nllb_moe")
claim(
    "L91",
    "correct",
    holds=all(limited[n] for n in early) and not any(limited[n] for n in limited if n not in early),
)

# %% [markdown]
# Capacity has not gone away. It is still there where shapes must be fixed (TPUs, CUDA graphs), and in another
# form wherever a device can only hold so much: DeepSeek-V2 dropped per *device*, not per expert, and in
# training only. Lesson 08 computes with groups of any size.

# %% [markdown]
# ## What to take with you
#
# - C = ⌈K · T / E · factor⌉. Check where K is and where it rounds before you compare two factors.
# - Chance alone drops rows. Tokens per expert decide how many, not the size of the batch.
# - More room means more empty places. At factor 1 the two shares are equal.
# - A dropped slot adds zero. The residual carries the token; do not add it twice.
# - Token order is causal and drops the end of the batch. Other orders drop as many rows, but other ones, and
#   look ahead.
# - Token choice does not solve the assignment problem. Solving it needs the whole batch.
# - What costs is being dropped, less so having been trained with drops.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("07.q_groups")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("07.q_lower")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("07.q_half")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("07.q_causal")

# %%
claims_table()

# %%
score()
