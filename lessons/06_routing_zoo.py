# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("06_routing_zoo")

# %% [markdown]
# Lesson 05 added a second loss, and the router learned to spread its tokens because it was *paid* for it. The
# payment is a gradient, and it pulls at the same weights as the task. Is there another way?
#
# There are at least ten. Some steer the choice from outside, some let the experts choose, one does away with
# choosing altogether. They differ in three things that you can measure: how even the load is, what it costs,
# and whether a model that writes from left to right may use them at all. The third one is easy to get wrong,
# so you will write a test for it.
#
# The lesson is long, and falls into two halves: the bias, up to "Noise", and then the others. Take them on
# two days if you like.
#
# **T** tokens, **E** experts, **K** experts per token. **MaxVio** is by how much the fullest expert exceeds
# the mean load: 0 is even, 1 is twice the mean (arXiv 2408.15664).

# %%
import math
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F

from moe_lessons import balancing, routing, svg
from moe_lessons.metrics import max_violation
from moe_lessons.accounting.presets import PRESETS
from moe_lessons.routing import tokens_per_expert

torch.set_num_threads(1)  # everything here is small: more threads would only wait for each other

# %% [markdown]
# ## A price for a place
#
# Begin with the ideal of lesson 05: every expert has T/E places, and the total score shall be as large as
# possible. There `scipy` solved it. Here is another way, and it is what this lesson lives on: let every token
# choose **by itself**, after one number per expert has been added to the scores. 512 tokens, 8 experts of
# different popularity, twenty draws:

# %%
T, E = 512, 8


def popular_scores(seed):
    """Random affinities; some experts are liked more by all tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(T, E, generator=generator) + 0.8 * torch.randn(E, generator=generator)


def priced(scores_TE, discount=1.0):
    """Each token's own choice, after a price for each expert has been added to the scores."""
    price_E = balancing.quantile_bias(scores_TE, 1, iterations=50)
    return (scores_TE + discount * price_E).argmax(dim=-1, keepdim=True)


ways = {
    "each token's own best": lambda scores_TE: scores_TE.argmax(dim=-1, keepdim=True),
    "the optimum with T/E places": lambda scores_TE: routing.base_assignment(scores_TE).topk_ids_TK,
    "own best, with a price each": priced,
    "  with half of each price": lambda scores_TE: priced(scores_TE, 0.5),
}
totals, uneven = {}, {}
for name, way in ways.items():
    rows = []
    for seed in range(20):
        scores_TE = popular_scores(seed)
        ids_TK = way(scores_TE)
        own = scores_TE.max(dim=-1).values.sum()
        rows.append([scores_TE.gather(1, ids_TK).sum() / own, max_violation(tokens_per_expert(ids_TK, E))])
    totals[name], uneven[name] = torch.tensor(rows).unbind(dim=1)
    print(
        f"{name:<28} score {totals[name].mean():4.0%} of the best without limit   "
        f"MaxVio {uneven[name].min():.2f} to {uneven[name].max():.2f}"
    )
gap = (totals["own best, with a price each"] - totals["the optimum with T/E places"]).abs().max().item()
print(f"prices against the optimum: the totals differ by at most {max(gap, 1e-4):.2%} in any draw")

# %% [markdown]
# If these eight numbers are right, each token's own choice *is* the optimal assignment. They are *prices*: a
# popular expert is made expensive until just T/E tokens still want it. Mathematicians call them dual
# variables; they exist for every linear assignment problem. So there is no need to solve anything for a
# batch, if only the prices are known.

# %% [markdown]
# ## Finding the price while training
#
# Prices of *which* batch? In training the next batch is another one, and the router changes under your feet.
# The method called **loss-free balancing** (Wang et al., arXiv 2408.15664; DeepSeek-V3) does not compute
# prices. It feels its way to them. Each expert has a bias $b_i$, and after each batch
#
# $$b_i \leftarrow b_i + u \cdot \text{sign}(\bar c - c_i)$$
#
# where $c_i$ counts the tokens of expert $i$, $\bar c$ is the mean count and $u$ a small step. Too full: a
# little less attractive. Too empty: a little more. No gradient, no loss.
#
# The equation of the *choice* is where it is easy to go wrong:
#
# $$\text{chosen} = \text{top-}K\,(s_i + b_i), \qquad w_i = \frac{s_i}{\sum_{j \text{ chosen}} s_j}, \qquad
# s_i = \sigma(z_i)$$
#
# Look at where $b$ stands, and where it does not. It is added to the **scores** $s$, not to the logits $z$,
# and it does not appear in the weight. Do both of these matter?
#
# First the logits. An argument against them comes to mind at once: the sigmoid is steep at 0 and flat far
# out, so a bias on the logit lifts the score of an undecided token and hardly that of one that is sure. An
# expert that all tokens are sure about could not be made less popular. Try it: sixteen experts, two per
# token, and expert 0 has a logit of 6 for *every* token. The sign rule moves a bias on the logits, and
# beside it a bias on the scores. Eight routers each.

# %% tags=["nbval-ignore-output"] why="trained"
from moe_lessons.steps import each

N_SURE, SURE_STEPS = 8, 600


def loads_of(scores_STE, bias_SE, top_k=2):
    """Rows of each expert for S routers at once."""
    ids_SR = (scores_STE + bias_SE.unsqueeze(1)).topk(top_k, dim=-1).indices.flatten(1)
    return torch.zeros(bias_SE.shape).scatter_add_(1, ids_SR, torch.ones(ids_SR.shape))


def steer_the_sure(on_scores, step):
    """MaxVio [steps, S] and expert 0's share of the rows, which would be 1/16 if all were even."""
    generator = torch.Generator().manual_seed(0)
    favour_SE = torch.randn(N_SURE, 16, generator=generator)
    bias_SE, vio, share_0 = torch.zeros(N_SURE, 16), [], []
    for _ in each(range(SURE_STEPS), f"on the {'scores' if on_scores else 'logits'}, step {step}: batch"):
        logits_STE = torch.randn(N_SURE, 512, 16, generator=generator) + favour_SE.unsqueeze(1)
        logits_STE[..., 0] = 6.0
        load_SE = loads_of(logits_STE.sigmoid() if on_scores else logits_STE, bias_SE)
        vio.append(max_violation(load_SE))
        share_0.append(load_SE[:, 0] / load_SE.sum(dim=1))
        bias_SE = balancing.sign_update(bias_SE, load_SE, step)
    return torch.stack(vio), torch.stack(share_0)


generator = torch.Generator().manual_seed(1)
even_NTE = torch.randn(100 * N_SURE, 512, 16, generator=generator)
by_chance_sure = max_violation(loads_of(even_NTE, torch.zeros(100 * N_SURE, 16))).mean().item()
sure = {
    "on the logits, step 0.01": steer_the_sure(False, 0.01),
    "on the scores, step 0.001": steer_the_sure(True, 0.001),
    "on the logits, step 0.001": steer_the_sure(False, 0.001),
}
print(
    f"mean of the last 100 of {SURE_STEPS} batches, and range over {N_SURE} routers; "
    f"by chance {by_chance_sure:.2f}"
)
for name, (vio_NS, share_NS) in sure.items():
    vio_S, share_S = vio_NS[-100:].mean(dim=0), 100 * share_NS[-100:].mean(dim=0)
    print(
        f"{name:<26} MaxVio {vio_NS[0].mean():.1f} at first, then {vio_S.mean():.2f} [{vio_S.min():.2f}, "
        f"{vio_S.max():.2f}]; expert 0 has {share_S.mean():.1f} % [{share_S.min():.1f}, {share_S.max():.1f}]"
    )

# %% [markdown]
# The argument is wrong. Expert 0 starts in every token's pair and ends where all others are, at a sixteenth
# of the rows, by either bias. Choosing only *compares*, and the sigmoid keeps the order: the K largest of
# $\sigma(z_i + b_i)$ are the K largest of $z_i + b_i$. Nothing is squeezed that a comparison could see.
#
# What does differ is the **scale of the step**: scores lie between 0 and 1, logits do not, so the same step
# of
# 0.001 needs far longer on the logits (the last row is still on its way).
#
# Published models do both. Wang et al. and DeepSeek-V3 add the bias to the scores, Kolibri-1 adds it to the
# logits. What they agree on is the other half of the question, the weight. A small layer; the bias moves a
# little, so little that *no token changes its experts*. What should happen to the output?

# %%
changed_output, changed_gradient = (
    {"choice only": [], "weight too": []},
    {"choice only": [], "weight too": []},
)
for seed in range(20):
    generator = torch.Generator().manual_seed(seed)
    hidden_TD = torch.randn(64, 16, generator=generator)
    router_ED = torch.randn(8, 16, generator=generator).requires_grad_()
    experts_EDD = torch.randn(8, 16, 16, generator=generator) / 4
    outputs_TED = torch.einsum("td,edf->tef", hidden_TD, experts_EDD)
    bias_E = 0.1 * torch.randn(8, generator=generator)
    ids_TK = (hidden_TD @ router_ED.T).sigmoid().topk(2, dim=-1).indices  # these stay
    for name in changed_output:
        seen = []
        for b_E in (torch.zeros(8), bias_E):
            scores_TE = (hidden_TD @ router_ED.T).sigmoid()
            weights_TK = (scores_TE + (b_E if name == "weight too" else 0.0)).gather(1, ids_TK)
            weights_TK = weights_TK / weights_TK.sum(dim=-1, keepdim=True)
            y_TD = torch.einsum("tk,tkd->td", weights_TK, outputs_TED[torch.arange(64).unsqueeze(1), ids_TK])
            (gradient_ED,) = torch.autograd.grad(y_TD.square().mean(), router_ED)
            seen.append((y_TD.detach(), gradient_ED))
        (y0, g0), (y1, g1) = seen
        changed_output[name].append(((y1 - y0).norm() / y0.norm()).item())
        changed_gradient[name].append(((g1 - g0).norm() / g0.norm()).item())
for name in changed_output:
    print(
        f"bias in the {name:<12} output changes by {max(changed_output[name]):.0%} at most, "
        f"the router's gradient by {min(changed_gradient[name]):.0%} to {max(changed_gradient[name]):.0%}"
    )

# %%
both_balance = all(
    vio_NS[-100:].mean() < 1.25 * by_chance_sure
    and (share_NS[-100:].mean(dim=0) - 1 / 16).abs().max() < 0.003
    for vio_NS, share_NS in (sure["on the logits, step 0.01"], sure["on the scores, step 0.001"])
)
claim(
    "L62",
    "imprecise",
    holds=both_balance
    and max(changed_output["choice only"]) == 0 == max(changed_gradient["choice only"])
    and min(changed_output["weight too"]) > 0.01
    and min(changed_gradient["weight too"]) > 0.02,
)

# %% [markdown]
# The choice is the same in all four cases. With the bias in the weight the layer computes something else each
# time the *bookkeeping* moves, and the router's gradient is taken at the wrong place. It would learn to undo
# the bias.
#
# Write one training step with all of that in its place.

# %% [markdown]
# {{exercise 06.bias_step}}


# %% answer="06.bias_step"
def bias_step(logits_TE, expert_bias_E, top_k, rate):
    """Route one batch with a selection bias, and prepare the bias for the next batch.

    logits_TE: [T, E] fp32. expert_bias_E: [E], what earlier batches have left. top_k: K.
    rate: how far each bias moves.
    Returns topk_ids_TK [T, K] (integers), topk_weights_TK [T, K], and new_bias_E [E].
    """
    ### BEGIN SOLUTION
    scores_TE = logits_TE.sigmoid()
    topk_ids_TK = (scores_TE + expert_bias_E).topk(top_k, dim=-1).indices
    topk_weights_TK = scores_TE.gather(-1, topk_ids_TK)
    topk_weights_TK = topk_weights_TK / topk_weights_TK.sum(dim=-1, keepdim=True)
    load_E = torch.bincount(topk_ids_TK.flatten(), minlength=len(expert_bias_E)).float()
    new_bias_E = expert_bias_E + rate * torch.sign(load_E.mean() - load_E)
    return topk_ids_TK, topk_weights_TK, new_bias_E
    ### END SOLUTION


# %%
check("06.bias_step")

# %% [markdown]
# ### Sum or average?
#
# Some explainers describe this bias as *a moving average of each expert's utilisation*. It sounds like the
# same thing in other words. Is it?

# %% tags=["nbval-ignore-output"] why="widget"
predict("06.average")

# %% [markdown]
# Sixteen experts, two per token, 512 tokens a batch, and a router that has favourites and does not learn:
# only the bias moves. Six such routers for each rule, and a fixed one that is even, to see what chance
# alone does. The *error* of an expert is (mean load - its load) / mean load; the proportional rule adds a
# multiple of it to the bias, the moving average is `b = 0.99 b + 0.01 · gain · error`.

# %% tags=["nbval-ignore-output"] why="trained"
S, N_TOKENS, N_EXPERTS, TOP_K, STEPS = 6, 512, 16, 2, 500
rules = {
    "no bias": lambda b, load: b,
    "sign, step 0.0001": lambda b, load: balancing.sign_update(b, load, 1e-4),
    "sign, step 0.001": lambda b, load: balancing.sign_update(b, load, 1e-3),
    "sign, step 0.01": lambda b, load: balancing.sign_update(b, load, 1e-2),
    "sign, step 0.1": lambda b, load: balancing.sign_update(b, load, 1e-1),
    "proportional, 0.001": lambda b, load: balancing.proportional_update(b, load, 1e-3),
    "moving average, gain 0.1": lambda b, load: balancing.ema_update(b, load, 0.1),
    "moving average, gain 1": lambda b, load: balancing.ema_update(b, load, 1.0),
    "moving average, gain 10": lambda b, load: balancing.ema_update(b, load, 10.0),
}
generator = torch.Generator().manual_seed(0)
favour_SE = torch.randn(S, N_EXPERTS, generator=generator)

bias_RSE = {name: torch.zeros(S, N_EXPERTS) for name in rules}
history = {name: [] for name in rules}
by_chance = []
for _ in each(range(STEPS), "batch"):
    noise_STE = torch.randn(S, N_TOKENS, N_EXPERTS, generator=generator)
    scores_STE = (noise_STE + favour_SE.unsqueeze(1)).sigmoid()
    for name, rule in rules.items():
        load_SE = loads_of(scores_STE, bias_RSE[name])
        history[name].append(max_violation(load_SE))
        bias_RSE[name] = rule(bias_RSE[name], load_SE)
    by_chance.append(max_violation(loads_of(noise_STE, torch.zeros(S, N_EXPERTS))))
rest = {name: torch.stack(vio[-100:]).mean(dim=0) for name, vio in history.items()}
floor = torch.stack(by_chance).mean().item()
print(f"MaxVio of the last 100 of {STEPS} batches: mean, and range over {S} routers")
for name, vio_S in rest.items():
    print(f"  {name:<25} {vio_S.mean():.2f}   {vio_S.min():.2f} to {vio_S.max():.2f}")
print(f"  {'an even router (chance)':<25} {floor:.2f}")

# %% draw=true tags=["nbval-ignore-output"] why="image"
shown = ("no bias", "sign, step 0.001", "sign, step 0.1", "moving average, gain 0.1")
svg.line_chart(
    {
        name: (list(range(5, STEPS, 10)), torch.stack(history[name]).mean(1).unflatten(0, (-1, 10)).mean(1))
        for name in shown
    },
    title="The sign rule (0.001) walks down to chance; a moving average of gain 0.1 stops on the way",
    x_label="batch",
    y_label="MaxVio (mean of 6 routers)",
    references={"by chance": floor},
    y_range=(0, 5),
    width=700,
    caption="Each point is the mean of ten batches.",
)

# %%
average, summed = rest["moving average, gain 0.1"], rest["sign, step 0.001"]
astray = min(rest["sign, step 0.0001"].min(), rest["sign, step 0.1"].min()).item()
lowest, highest = (average / summed).aminmax()
print(f"moving average (gain 0.1) over sign rule (0.001): {lowest:.1f} to {highest:.1f} times the MaxVio")
print(f"sign rule (0.001) over chance: at most {summed.max() / floor:.2f} times")
print(f"sign rule with a step of 0.0001 or 0.1: at least {astray / floor:.1f} times chance")

# %%
reveal("06.average")

# %% [markdown]
# Why does the average stop? Suppose the load were even. Then the error is zero, so is its average, and so is
# the bias; and without a bias the load is uneven. It rests where bias and error hold each other up. Engineers
# know this: a controller that is *proportional* to the error keeps an offset, one that *sums* the error up
# does not. A larger gain makes the offset smaller: with gain 1 the table has about what the sign rule has at
# a step of 0.01. Larger still, and it starts to swing.
#
# The sign rule sums. So does the proportional rule, which Wang et al. also tried: slightly better balance,
# no better perplexity (table 3).
#
# And the step? "Avoids tuning entirely" is another thing that is said of the method. With 0.0001 the bias
# is still on its way after 500 batches. With 0.1 it jumps over its goal. Between them it hardly matters,
# and that is the good news: Wang et al. find perplexities of 9.51, 9.50 and 9.51 for 0.0001, 0.001 and
# 0.01.

# %% [markdown]
# **Change this.** Your own `bias_step`, on the first of those routers. With 64 tokens in a batch instead of
# 512: how even can the load get, whatever the step? And does a step of 0.01 still do when the batch is small?

# %% change=true tags=["nbval-ignore-output"] why="trained"
# Change these and run the cell again.
step_size = 0.001
batch_tokens = 512

own_step = yours("06.bias_step")
generator = torch.Generator().manual_seed(0)
own_bias_E, own_vio, even_vio = torch.zeros(N_EXPERTS), [], []
for _ in range(400):
    noise_TE = torch.randn(batch_tokens, N_EXPERTS, generator=generator)
    own_ids_TK, _, own_bias_E = own_step(noise_TE + favour_SE[0], own_bias_E, TOP_K, step_size)
    own_vio.append(max_violation(tokens_per_expert(own_ids_TK, N_EXPERTS)).item())
    even_vio.append(max_violation(tokens_per_expert(noise_TE.topk(TOP_K).indices, N_EXPERTS)).item())
print(f"MaxVio by {own_step.label}: {own_vio[0]:.1f} at first, ", end="")
print(f"{sum(own_vio[-50:]) / 50:.2f} in the last 50 of 400 batches")
print(f"an even router, by chance alone: {sum(even_vio) / 400:.2f}")

# %% [markdown] only="solutions"
# With 64 tokens an expert has eight rows on average, and chance alone moves them: an even router has a MaxVio
# of 0.64 (of 0.22 with 512 tokens). Your bias comes down to 0.70, with a step of 0.001 as with 0.01, and more
# is not to be had. With 512 tokens the larger step shows a little: 0.29 instead of 0.23. A step of 0.1 is too
# much for either (1.39 and 1.21).

# %% only="solutions" tags=["nbval-ignore-output"] why="trained"
rerun(
    "batch_tokens = 64",
    "batch_tokens = 64; step_size = 0.01",
    "step_size = 0.01",
    "step_size = 0.1",
    "batch_tokens = 64; step_size = 0.1",
)

# %%
claim(
    "L63",
    "wrong",
    holds=average.min() > 2 * summed.max() and summed.max() < 1.3 * floor,
)
claim("L60", "imprecise", holds=astray > 2 * floor)

# %% [markdown]
# Here is an exercise of one explainer, taken at its word: keep a moving average of each expert's utilisation,
# and take it off the logits.

# %%
naive_E = torch.zeros(N_EXPERTS)
used_E = torch.zeros(N_EXPERTS)
generator = torch.Generator().manual_seed(0)
naive_vio = []
for _ in range(300):
    logits_TE = torch.randn(N_TOKENS, N_EXPERTS, generator=generator) + favour_SE[0]
    load_E = tokens_per_expert((logits_TE - naive_E).topk(TOP_K, dim=-1).indices, N_EXPERTS).float()
    used_E = 0.99 * used_E + 0.01 * load_E / load_E.sum()
    naive_E = used_E
    naive_vio.append(max_violation(load_E).item())
settled = sum(naive_vio[-50:]) / 50
print(f"average of utilisation, subtracted from the logits: MaxVio {naive_vio[0]:.1f} at first, ", end="")
print(f"{settled:.1f} in the end")

# %%
claim(
    "L129",
    "wrong",
    holds=settled > 0.9 * naive_vio[0] and both_balance and min(changed_output["weight too"]) > 0.01,
)

# %% [markdown]
# Nothing happens. A utilisation lies between 0 and 1, and the logits of two experts are further apart than
# that. Three things are to be told apart here. That it is an *average* leaves an offset. That nothing scales
# it up makes the offset nearly all there was. And that it goes on the *logits* is no fault, as you have seen.

# %% [markdown]
# ### No step at all
#
# The price of a batch can also be computed, as in the first section: find the bias with which exactly T·K/E
# tokens want each expert. That takes a few quantiles and no step size (`balancing.quantile_bias`). Take it
# from *one* past batch and use it on a fresh one, against a sign rule that has seen 1, 10, ... batches:

# %% tags=["nbval-ignore-output"] why="trained"
generator = torch.Generator().manual_seed(1)


def fresh_scores():
    """Another batch for the same six routers."""
    noise_STE = torch.randn(S, N_TOKENS, N_EXPERTS, generator=generator)
    return (noise_STE + favour_SE.unsqueeze(1)).sigmoid()


past_STE = fresh_scores()
one_shot_SE = torch.stack([balancing.quantile_bias(past_TE, TOP_K) for past_TE in past_STE])
tests = [fresh_scores() for _ in range(10)]
one_shot = torch.stack([max_violation(loads_of(test_STE, one_shot_SE)) for test_STE in tests]).mean().item()
print(f"quantile bias from one past batch: MaxVio {one_shot:.2f} on fresh ones")
sign_after = {}
for n in (1, 10, 100, 300):
    sign_after[n] = torch.stack([history["sign, step 0.001"][n + i].mean() for i in range(10)]).mean().item()
    print(f"sign rule, step 0.001, after {n:3d} batches: MaxVio {sign_after[n]:.2f}")

# %%
measured(
    "MaxVio that one batch leaves, of what 100 steps leave", one_shot / sign_after[100], below=0.5, unit="%"
)
claim("L137", "correct", holds=one_shot < 0.5 * sign_after[100] and one_shot < 2.5 * floor)

# %% [markdown]
# One batch gives prices that are good, with the noise of one batch in them. Averaging over some would help.
# The idea is recent, and so are others that push less: gates of ReLUs, for instance, where a token has as
# many experts as have a positive score, and a penalty regulates how many (ReMoE, arXiv 2412.14711).

# %% [markdown]
# ### Is it the missing loss that helps?
#
# Wang et al. report a better perplexity than with the auxiliary loss (9.50 against 9.56 at 1B parameters) and
# far better balance (MaxVio 0.04 against 0.72). The usual explanation is that no second gradient disturbs the
# task's. That is part of it. But there is a second difference. The bias balances the **whole batch**. The
# loss, as most codes compute it, balances each sequence or each micro-batch, and a text about law may well
# want other experts than a text about cooking.
#
# DeepSeek-V3 took the two apart (arXiv 2412.19437, section 4.5.3; validation loss):
#
# | | loss per sequence | bias | loss over the whole batch |
# |---|---|---|---|
# | 1B model | 2.258 | 2.253 | 2.253 |
# | 3B model | 2.085 | 2.080 | 2.080 |
#
# A loss with the *wide* scope does as well as the bias. So most of the benefit seems to be the scope. These
# are two model sizes of one laboratory; take it as good evidence, not as the last word.
#
# Our toy has no sequences, so both have the wide scope there. It is the toy of lesson 04: eight experts, two
# per token, sixteen seeds, the same initial models and tokens for all. Its results are committed, and at the
# end of the lesson we run a small version of them.

# %%
from moe_lessons.training.report import load_report

zoo = load_report("routing_zoo")
table = {row["name"]: row for row in zoo["rows"]}
print(
    f"{zoo['settings']['n_seeds']} seeds, {zoo['settings']['steps']} steps; error, difference to no balancing"
)
print("with its 95 % interval (same seed against same seed), MaxVio of a batch")
for name in ("none", "aux loss, 0.1", "aux loss, 1", "bias, 0.001", "bias, 0.01"):
    row = table[name]
    difference, half = row["against_none"]
    print(
        f"  {name:<14} {row['error'][0]:.3f}   {difference:+.3f} ± {half:.3f}   "
        f"MaxVio {row['max_violation'][0]:.2f} ± {row['max_violation'][1]:.2f}"
    )

# %%
loss_row, bias_row, mild_row = table["aux loss, 1"], table["bias, 0.001"], table["aux loss, 0.1"]
claim(
    "L65",
    "imprecise",
    holds=abs(loss_row["max_violation"][0] - bias_row["max_violation"][0]) < 0.05
    and loss_row["against_none"][0] - loss_row["against_none"][1] > 0
    and mild_row["against_none"][0] + mild_row["against_none"][1] < 0,
)

# %% [markdown]
# At equal balance the loss with alpha = 1 costs error and the bias does not: interference exists. But with
# alpha = 0.1 the loss leaves a little more imbalance, and its error is *below* that without balancing. The
# explorable at the end has all settings in between.
#
# One more thing that is told: that the bias "builds on DeepSeek-V2". You need not trust anybody. The
# `transformers` library has the code of both models. (Where it is not installed, the cell repeats what its
# version 5.23.0 says.)

# %%
library = find_spec("transformers")
mentions = {"deepseek_v2": 0, "deepseek_v3": 1}
for name in mentions:
    if library is not None:
        code = Path(library.origin).parent / "models" / name / f"modeling_{name}.py"
        mentions[name] = code.read_text(encoding="utf-8").count("e_score_correction_bias")
    print(f"{name}: the selection bias is mentioned in its code: {'yes' if mentions[name] else 'no'}")

# %%
claim("L61", "wrong", holds=mentions["deepseek_v2"] == 0 < mentions["deepseek_v3"])
claim("L64", "correct", holds=mentions["deepseek_v3"] > 0 and PRESETS["DeepSeek-V3"].gate == "sigmoid")

# %% [markdown]
# V2 balances by three auxiliary losses, limits the devices per token, and drops tokens (sections 2.2.2 to
# 2.2.4 of its paper). V3 has the bias, with a step of 0.001 for 14.3 trillion tokens and 0 for the rest, and
# still keeps a small loss per sequence with alpha = 0.0001.

# %% [markdown]
# ## Noise
#
# The oldest idea (Shazeer et al., arXiv 1701.06538): let the router be a little unsure. In training each
# logit gets Gaussian noise, of a size that a second matrix computes from the token:
#
# $$H_i = (xW_g)_i + \varepsilon_i \cdot \text{softplus}\big((xW_{\text{noise}})_i\big), \qquad
# w = \text{softmax}(\text{top-}K(H))$$
#
# One batch, routed twenty times with noise and twenty times in evaluation:

# %%
generator = torch.Generator().manual_seed(0)
logits_TE = torch.randn(256, 8, generator=generator) + torch.randn(8, generator=generator)
draws = {
    training: torch.stack(
        [
            tokens_per_expert(
                routing.noisy_topk(
                    logits_TE, torch.zeros(256, 8), 2, training=training, generator=generator
                ).routing.topk_ids_TK,
                8,
            )
            for _ in range(20)
        ]
    )
    for training in (True, False)
}
print("expert    training: lowest to highest load    evaluation")
for e in range(8):
    noisy_N, quiet_N = draws[True][:, e], draws[False][:, e]
    print(
        f"{e}              {noisy_N.min():5d} to {noisy_N.max():3d}"
        f"                {quiet_N.min():5d} to {quiet_N.max():3d}"
    )

# %% [markdown]
# With noise the load moves from draw to draw, and experts near the edge get their chance. In evaluation
# nothing moves. Forget the second half, and the same text gets another loss each time it is read.

# %% [markdown]
# {{exercise 06.noisy_topk}}


# %% answer="06.noisy_topk"
def noisy_topk(logits_TE, noise_logits_TE, noise_TE, top_k, training):
    """Return ids and weights of each token's experts, chosen with noise in training.

    logits_TE, noise_logits_TE, noise_TE: [T, E] fp32; noise_TE is standard normal. top_k: K.
    training: bool.
    Returns topk_ids_TK [T, K] (integers) and topk_weights_TK [T, K].
    """
    ### BEGIN SOLUTION
    noisy_TE = logits_TE
    if training:
        noisy_TE = logits_TE + noise_TE * F.softplus(noise_logits_TE)
    values_TK, topk_ids_TK = noisy_TE.topk(top_k, dim=-1)
    return topk_ids_TK, values_TK.softmax(dim=-1)
    ### END SOLUTION


# %%
check("06.noisy_topk")

# %% [markdown]
# Is that enough to balance? The 2017 layer did not rely on it: it has two balancing losses besides. In our
# toy, where the size of the noise is learned (sixteen seeds):

# %%
for name in ("none, softmax", "noisy top-k"):
    row = table[name]
    print(f"{name:<14} MaxVio {row['max_violation'][0]:.2f} ± {row['max_violation'][1]:.2f}", end="   ")
    print(f"error {row['error'][0]:.3f} ± {row['error'][1]:.3f}")

# %%
moved = (draws[True].max(dim=0).values - draws[True].min(dim=0).values).min().item()
still = (draws[False].max(dim=0).values - draws[False].min(dim=0).values).max().item()
noise_gain = table["none, softmax"]["max_violation"][0] - table["noisy top-k"]["max_violation"][0]
claim("L24", "imprecise", holds=moved > 3 and still == 0 and abs(noise_gain) < 0.1)

# %% [markdown]
# The noise explores. It does not balance by itself, at least not here: a popular expert is still popular when
# everyone is a little unsure. "Another way to balance" is therefore too much; a helper of one would be right.
#
# ### Why more than one expert?
#
# The same paper is often quoted for something that it does not say, namely that it took two experts "for
# regularisation". Its large models use K = 4, or two levels of K = 2. The reason it gives for K > 1 is one
# that you know from lesson 01: with K = 1 a softmax after the top-k is always 1, and the gate gets no
# gradient.

# %%
router_gradient = {}
for top_k in (1, 2):
    logits_TE = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights_TK = routing.topk_softmax(logits_TE, top_k).topk_weights_TK
    (gradient_TE,) = torch.autograd.grad((weights_TK * torch.arange(1.0, top_k + 1)).sum(), logits_TE)
    router_gradient[top_k] = gradient_TE.abs().max().item()
measured("K = 1: the gate's largest gradient", router_gradient[1], below=1e-6, then="none")
measured("K = 2: the gate's largest gradient", router_gradient[2], above=1e-3)
since_2024 = [p for p in PRESETS.values() if p.name not in ("Switch-Base-8",)]
two = [p.name for p in since_2024 if p.top_k == 2]
print(
    f"models since 2024 among our presets that choose 2: {len(two)} of {len(since_2024)} ({', '.join(two)})"
)
one, pair = table["none, K = 1"], table["none"]
print(f"in the toy: error {one['error'][0]:.3f} ± {one['error'][1]:.3f} with K = 1, ", end="")
print(f"{pair['error'][0]:.3f} ± {pair['error'][1]:.3f} with K = 2 (and twice the work)")

# %%
claim("L77", "wrong", holds=router_gradient[1] < 1e-6 < 1e-3 < router_gradient[2])
claim("L76", "outdated", holds=len(two) < len(since_2024) / 3)
claim("L75", "correct", holds=one["error"][0] - one["error"][1] > pair["error"][0] + pair["error"][1])

# %% [markdown]
# ## The experts choose
#
# Turn the question round. Instead of each token taking its best experts, let each **expert** take its best
# tokens: T·K/E of them, no more and no fewer. This is *expert choice* (Zhou et al., arXiv 2202.09368). No
# loss, no bias, nothing to tune, and the balance is perfect by construction.

# %% [markdown]
# {{puzzle 06.p_podium}}


# %% puzzle="06.p_podium"
@puzzle("06.p_podium")
def podium(points_NM, k):
    ### BEGIN SOLUTION
    return points_NM.topk(k, dim=0).values.mean(dim=0)
    ### END SOLUTION


# %% [markdown]
# {{puzzle 06.p_marked}}


# %% puzzle="06.p_marked"
@puzzle("06.p_marked")
def marked(ids_NK, n_columns):
    ### BEGIN SOLUTION
    return torch.zeros(len(ids_NK), n_columns).scatter(1, ids_NK, 1.0)
    ### END SOLUTION


# %% [markdown]
# {{exercise 06.expert_choice}}


# %% answer="06.expert_choice"
def expert_choice(logits_TE, experts_per_token):
    """Return the weights with which the experts take their tokens.

    logits_TE: [T, E] fp32. experts_per_token: c, on average; T * c / E is a whole number.
    Returns weights_TE [T, E]: the probability where the expert took the token, else 0.
    """
    ### BEGIN SOLUTION
    probs_TE = logits_TE.softmax(dim=-1)
    capacity = logits_TE.shape[0] * experts_per_token // logits_TE.shape[1]
    ids_CE = probs_TE.topk(capacity, dim=0).indices
    return probs_TE * torch.zeros_like(probs_TE).scatter(0, ids_CE, 1.0)
    ### END SOLUTION


# %%
check("06.expert_choice")

# %% [markdown]
# Twelve tokens, four experts, one expert per token on average. Rows are tokens: read along a row who has
# taken it, and down a column what an expert has.

# %%
logits_TE = 1.5 * torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
taken_TE = routing.dense_assignment(routing.expert_choice(logits_TE, 12 * 1 // 4))
soft = routing.soft_slots(logits_TE.unsqueeze(-1).expand(-1, -1, 3))
print("tokens per expert:", taken_TE.sum(dim=0).tolist())
print("experts per token:", taken_TE.sum(dim=1).tolist())
counts = []
for seed in range(50):
    draw_TE = torch.randn(512, 64, generator=torch.Generator().manual_seed(seed))
    counts.append(routing.dense_assignment(routing.expert_choice(draw_TE, 512 * 2 // 64)).sum(dim=1))
counts_N = torch.cat(counts)
print(
    "512 tokens, 64 experts, 2 per token on average, 50 draws: "
    f"from {counts_N.min()} to {counts_N.max()} experts"
)

# %% draw=true tags=["nbval-ignore-output"] why="image"
svg.heat_map(
    taken_TE.float().tolist(),
    title="Each column sums to 3, the rows to 0, 1 or 2",
    row_label="token",
    column_label="expert",
    unit="1 where the expert took the token",
    value_format="{:.0f}",
    caption="Who has no expert, who has two? In token choice every row would sum to 1.",
)

# %% [markdown]
# <details><summary>The caption's question</summary>
#
# Read the rows: a row of zeros is a token that nobody took, a row with two ones a token that two experts
# took. Twelve places for twelve tokens, so for every token with two experts another one has none.
#
# </details>

# %% [markdown]
# **Change this.** How many experts per token on average does it take until fewer than one token in a hundred
# goes without? Does it help to have more experts?

# %% change=true
# Change these and run the cell again.
per_token = 1
n_experts = 64

own_choice = yours("06.expert_choice")
draw_TE = torch.randn(2048, n_experts, generator=torch.Generator().manual_seed(0))
taken_T = (own_choice(draw_TE, per_token) != 0).sum(dim=1)
print(f"{per_token} of {n_experts} experts on average, by {own_choice.label}: ", end="")
print(f"{(taken_T == 0).double().mean():.1%} of the tokens have none, the busiest has {taken_T.max()}")

# %% [markdown] only="solutions"
# With 64 experts it takes three on average: 28.6 % of the tokens have none at one, 5.3 % at two, 0.7 % at
# three. More experts make it worse: with 256 there are still 2.6 % at three, and 0.6 % at four. With eight
# experts two are enough for all. With 64 and 256 experts the busiest token then has seven and ten.

# %% only="solutions"
rerun(
    "per_token = 2",
    "per_token = 3",
    "per_token = 3; n_experts = 256",
    "per_token = 4; n_experts = 256",
    "per_token = 2; n_experts = 8",
)

# %% [markdown]
# Nobody promised a token an expert. One with none passes through the residual stream, as a dropped token
# does. Whether that is a feature (easy tokens get less work) or a loss depends on whom you ask. OLMoE found
# expert choice about 20 % faster and *worse* than token choice without drops (arXiv 2409.02060, section
# 4.1.4).
#
# It is sometimes called a **soft** routing. The picture above is hard: a token is taken or it is not. Soft is
# something else. In *Soft MoE* (arXiv 2308.00951) nobody is chosen. Each expert works on a few **slots**, and
# each slot is a weighted average of **all** tokens:

# %%
print("entries of the dispatch matrix that are exactly 0:")
print(f"  expert choice  {(~taken_TE).float().mean():4.0%}")
print(f"  Soft MoE       {(soft.dispatch_TEP == 0).float().mean():4.0%}")
slot_sums = soft.dispatch_TEP.sum(dim=0)
measured("each slot's shares of the 12 tokens sum to 1, up to", (slot_sums - 1).abs().max(), below=1e-5)

# %%
claim(
    "L78",
    "wrong",
    holds=taken_TE.dtype == torch.bool
    and (soft.dispatch_TEP > 0).all()
    and (~taken_TE).float().mean() == 0.75,
)
claim(
    "L79",
    "correct",
    holds=taken_TE.sum(dim=0).unique().numel() == 1 and counts_N.min() == 0 and counts_N.max() >= 6,
)

# %% [markdown]
# ## Who can see the future?
#
# Perfect balance, nothing to tune, and its paper reports faster training than with token choice. Why does not
# every language model use it?

# %% tags=["nbval-ignore-output"] why="widget"
predict("06.last_token")

# %% [markdown]
# A model that writes from left to right must decide about a token before the next one exists. So the routing
# of a token may depend on itself and on earlier tokens. Here is the test: change the last of 32 tokens and
# look at the 31 before it. All routers of the package, 100 trials each:

# %%
leaks = {}
print("                        trials in which an earlier     earlier tokens")
print("router                  token is routed otherwise      that are")
for name, router in routing.ROUTERS.items():
    leaks[name] = routing.leak_of(name, top_k=1 if router.one_expert else 2, n_trials=100)
    print(f"{name:<24} {leaks[name].trials:16.0%} {leaks[name].tokens:22.0%}")

# %%
reveal("06.last_token")
agree = sum((leak.trials == 0) == routing.ROUTERS[name].causal for name, leak in leaks.items())
print(f"the package says which of its routers leak; the test says the same of {agree} of {len(leaks)}")

# %% [markdown]
# Every router of this table in which tokens *compete* leaks. (Competing alone does not leak: where whoever
# comes first is served first, later tokens disturb nobody.) `current_batch_bias` is the one that hurts most,
# because it looks so innocent: the bias rule of this lesson, but with the load of the batch that is being
# routed. That is why the bias has to come from the past.
#
# How much can leak? Take two letters that follow each other, and eight experts with one place each. The first
# letter says nothing: its router likes all experts alike. Now watch which experts it *gets*:

# %%
text = "The past can read."
read = []
for following in text[1:]:
    bits_E = torch.tensor([ord(following) >> e & 1 for e in range(8)]).bool()
    logits_TE = torch.zeros(2, 8)
    logits_TE[1] = torch.where(bits_E, 9.0, -9.0)  # the second letter wants the experts of its own bits
    got_E = routing.dense_assignment(routing.expert_choice(logits_TE, 1))[0]
    read.append(chr(sum(1 << e for e in range(8) if not got_E[e])))
print(f"read off the experts of the letter before: {text[0]}{''.join(read)}")

# %% [markdown]
# The experts that the first letter did *not* get spell the second one. And the model is trained to predict
# exactly that second letter. Nobody has to program such a code: gradient descent is paid for finding one.
# Wang et al. give a bound for what can leak, with R = K/E the part of the tokens that an expert takes: more
# than $K \log_2\frac{1-R}{R}$ bits per token in each layer. Their example: 2 of 16 experts, and nine layers.

# %%
for n_experts, top_k in ((16, 2), (256, 8)):
    R = top_k / n_experts
    bits = top_k * math.log2((1 - R) / R)
    print(
        f"{top_k} of {n_experts:3d} experts: {bits:5.1f} bits per token and layer, "
        f"{9 * bits:4.0f} in nine layers"
    )
print(f"needed to know the next token of a vocabulary of 50,000 for certain: {math.log2(50_000):.1f} bits")

# %%
R = 2 / 16
wang = 2 * math.log2((1 - R) / R)
claim(
    "L80",
    "correct",
    holds=0.05 < leaks["expert_choice"].tokens < 0.15
    and text[1:] == "".join(read)
    and abs(wang - 5.6) < 0.05
    and abs(9 * wang - 50) < 1,
)
claim("L66", "correct", holds=leaks["current_batch_bias"].trials > 0.3 and leaks["past_bias"].trials == 0)

# %% [markdown]
# A few layers have room for the whole answer. Wang et al. also saw it happen: with chunks of 512 tokens the
# training loss fell about 10 % lower than it should (section 5.2). The authors of expert choice name the
# problem themselves (section 6). In an encoder, or on images, where all tokens are there at once, there is
# nothing to leak.
#
# Now write the test. It is harder than it looks: one try, for instance, is not enough.

# %% [markdown]
# {{exercise 06.leaks_future}}


# %% answer="06.leaks_future"
def leaks_future(route, logits_TE):
    """Say whether a router's decision about a token can depend on later tokens.

    route: function, logits [T, E] to weights [T, E], 0 where an expert is not chosen.
    logits_TE: [T, E] fp32, an example to begin with.
    Returns True or False.
    """
    ### BEGIN SOLUTION
    before_TE = route(logits_TE)
    for t in range(1, len(logits_TE)):
        for size in (1.0, 2.0, 4.0):
            for _ in range(3):
                changed_TE = logits_TE.clone()
                changed_TE[t:] = size * torch.randn_like(changed_TE[t:])
                if (route(changed_TE)[:t] - before_TE[:t]).abs().max() > 1e-4:
                    return True
    return False
    ### END SOLUTION


# %%
check("06.leaks_future")

# %% [markdown]
# Let it loose on the routers of the package: eight experts, sixteen tokens, and the weights that your test
# gets to see. Does it say what the table above says?

# %%
own_test = yours("06.leaks_future")
example_TE = 1.5 * torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
said_leaky = {}
for name, router in routing.ROUTERS.items():

    def weights_of(logits_TE, router=router):
        decision = router.route(logits_TE, 1 if router.one_expert else 2, torch.arange(16))
        return routing.dense_weights(decision)

    said_leaky[name] = bool(own_test(weights_of, example_TE))
print(
    f"{own_test.label} says that these leak:", ", ".join(name for name, leaky in said_leaky.items() if leaky)
)
apart = [name for name, router in routing.ROUTERS.items() if said_leaky[name] == router.causal]
print("it differs from the table above for:", ", ".join(apart) or "none")

# %% [markdown]
# One of them gets past a test of weights. In Soft MoE the weight with which a token *takes* from a slot is
# its own affair. What is *in* the slot is not: every later token has left something there. The table above
# looked at both. A test sees what it is shown, so show it all that a layer hands to the next.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("06.q_bits")

# %% [markdown]
# ## Assigned seats
#
# Three more ways to an even load, from simple to elaborate.
#
# **Hash** layers (arXiv 2106.04426) do not learn to route at all: a fixed table sends each token id to its
# experts. It cannot collapse, it cannot leak, and it cannot use the context. **BASE** (arXiv 2103.16716)
# solves the assignment problem of the first section for every batch. **Sinkhorn** (arXiv 2202.01169) solves a
# softened version of it with nothing but divisions.
#
# Take the matrix exp(logits). Divide each column by its sum, and times T/E: all experts have the same load,
# but the rows no longer sum to 1. Divide each row by its sum: the rows are right, the columns are off again,
# though less. Repeat:

# %%
logits_TE = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)) + torch.tensor(
    [2.0, 0.0, 0.0, -1.0]
)
log_plan_TE = logits_TE
print("columns should sum to 3, and rows to 1")
for rounds in range(6):
    if rounds:
        log_plan_TE = log_plan_TE.log_softmax(dim=0) + math.log(12 / 4)
        log_plan_TE = log_plan_TE.log_softmax(dim=1)
    else:
        log_plan_TE = log_plan_TE.log_softmax(dim=1)
    columns = "  ".join(f"{c:.2f}" for c in log_plan_TE.exp().sum(dim=0).tolist())
    print(f"after {rounds} rounds the columns sum to  {columns}")

# %% [markdown]
# The plan can be written as $\exp(z_{te} + u_t + v_e)$: the logits, one number per token, one per expert.
# The numbers $v_e$ are prices once more. And a constant that is added to all logits of an expert disappears
# in the first column step. What a balanced plan is blind to is exactly what a bias adds.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("06.q_constant")

# %% [markdown]
# {{exercise 06.sinkhorn}}


# %% answer="06.sinkhorn"
def sinkhorn(logits_TE, rounds):
    """Return the balanced plan: rows sum to 1, columns to T / E.

    logits_TE: [T, E] fp32, possibly large. rounds: how often columns and then rows are scaled.
    Returns plan_TE [T, E].
    """
    ### BEGIN SOLUTION
    n_tokens, n_experts = logits_TE.shape
    log_plan_TE = logits_TE
    for _ in range(rounds):
        log_plan_TE = log_plan_TE - log_plan_TE.logsumexp(dim=0) + math.log(n_tokens / n_experts)
        log_plan_TE = log_plan_TE - log_plan_TE.logsumexp(dim=1, keepdim=True)
    return log_plan_TE.exp()
    ### END SOLUTION


# %%
check("06.sinkhorn")

# %% [markdown]
# **Change this.** A router gets surer of itself as it learns: its logits grow. How many rounds does your
# `sinkhorn` need until no column is off by more than 1 %, and how many with logits ten times as large?

# %% change=true
# Change these and run the cell again.
scale = 1.0
rounds = 3

own_plan = yours("06.sinkhorn")
plan_TE = own_plan(scale * logits_TE, rounds)
worst = (plan_TE.sum(dim=0) / 3 - 1).abs().max()
print(f"by {own_plan.label}, {rounds} rounds: the worst column is off by {worst:.1%}")

# %% [markdown] only="solutions"
# Four rounds; three leave 1.0 %. With logits ten times as large three leave 65 % and ten still leave 25 %; it
# takes dozens. So a number of rounds that was enough when training began may not be enough later, and nothing
# says so.

# %% only="solutions"
rerun("rounds = 4", "scale = 10.0", "scale = 10.0; rounds = 10")

# %% [markdown]
# The plan is soft; in the end a token needs K experts, and the top-k of an even plan is nearly even, not
# quite. BASE and Sinkhorn also share the flaw of the last section. In evaluation their code lets each token
# take its own best. That is causal, and it is not what the experts were trained on.

# %% [markdown]
# ### A limit: groups
#
# One more router, for the table below. It balances nothing, it *limits*. The experts come in groups of
# neighbours, one group per machine, say, and a token may use a few groups only: DeepSeek-V3 allows it 4 of 8.
# It judges a group by the sum of its two best experts, because a token takes about two from each. What that
# is good for is told in lesson 08, where tokens travel. The code is the bias's, with a mask.

# %% [markdown]
# {{puzzle 06.p_teams}}


# %% puzzle="06.p_teams"
@puzzle("06.p_teams")
def best_in_team(score_NM, size):
    ### BEGIN SOLUTION
    return score_NM.unflatten(1, (-1, size)).amax(dim=-1)
    ### END SOLUTION


# %% [markdown]
# {{puzzle 06.p_bonus}}


# %% puzzle="06.p_bonus"
@puzzle("06.p_bonus")
def with_bonus(pay_NM, bonus_NG):
    ### BEGIN SOLUTION
    return pay_NM + bonus_NG.repeat_interleave(pay_NM.shape[1] // bonus_NG.shape[1], dim=1)
    ### END SOLUTION


# %% [markdown]
# {{exercise 06.group_limited}}


# %% answer="06.group_limited"
def group_limited_topk(scores_TE, expert_bias_E, n_groups, groups_per_token, top_k):
    """Return ids and weights of each token's experts, taken from a few groups only.

    scores_TE: [T, E] in (0, 1). expert_bias_E: [E], for all choices. n_groups: G, neighbours form a group.
    groups_per_token: how many groups a token may use. top_k: K.
    Returns topk_ids_TK [T, K] (integers) and topk_weights_TK [T, K].
    """
    biased_TE = scores_TE + expert_bias_E  # for all choices, as in bias_step
    ### BEGIN SOLUTION
    worth_TG = biased_TE.unflatten(1, (n_groups, -1)).topk(2, dim=-1).values.sum(dim=-1)
    best_groups = worth_TG.topk(groups_per_token, dim=-1).indices
    mask_TG = torch.zeros_like(worth_TG).scatter(1, best_groups, 1.0).bool()
    mask_TE = mask_TG.repeat_interleave(scores_TE.shape[1] // n_groups, dim=1)
    topk_ids_TK = biased_TE.masked_fill(~mask_TE, -torch.inf).topk(top_k, dim=-1).indices
    topk_weights_TK = scores_TE.gather(1, topk_ids_TK)
    return topk_ids_TK, topk_weights_TK / topk_weights_TK.sum(dim=-1, keepdim=True)
    ### END SOLUTION


# %%
check("06.group_limited")

# %% [markdown]
# ## The whole zoo on one page
#
# All of them on the same toy: same initial models, same tokens, sixteen seeds. Each trained model is measured
# twice on fresh tokens. **Together**: it decides about 256 tokens at once, as in training. **Alone**: about
# each token by itself, as in writing; where a router cannot do that, a token takes its own best experts.

# %% tags=["nbval-ignore-output"] why="widget"
predict("06.alone")

# %%
print("                       error     against none       alone -         MaxVio      even by   causal")
print("                    together                        together                    design")
for row in zoo["rows"]:
    router = routing.ROUTERS[row["router"]]
    cells = [
        f"{1000 * row[key][0]:+.1f} ± {1000 * row[key][1]:.1f}" for key in ("against_none", "lost_alone")
    ]
    print(
        f"{row['name']:<18} {row['error'][0]:.3f} ± {row['error'][1]:.3f}  {cells[0]:>13}   {cells[1]:>13}"
        f"    {row['max_violation'][0]:.2f} ± {row['max_violation'][1]:.2f}   "
        f"{'yes' if router.balanced else 'no':<6}    {'yes' if router.causal else 'NO'}"
    )
print("The two differences are in thousandths, seed by seed; BASE is compared with K = 1.")
print(f"± is half of the 95 % confidence interval over {zoo['settings']['n_seeds']} seeds. Measured by")
print(f"{zoo['about']['script']} on {zoo['about']['device']}, torch {zoo['about']['torch']}.")

# %%
reveal("06.alone")

# %% draw=true tags=["nbval-ignore-output"] why="image"
left_out = ("none", "none, softmax", "none, K = 1", "groups", "BASE, K = 1")
names = [row["name"] for row in zoo["rows"] if row["name"] not in left_out]
left, top, gap_px, scale = 150, 44, 22, 1500
zero = left + 90
parts = [svg.text(zero - 60, 16, "error above that of 'none', in thousandths")]
for tick in range(-20, 101, 20):
    x = zero + scale * tick / 1000 * 2.2
    parts.append(svg.element("line", x1=x, x2=x, y1=24, y2=top + gap_px * len(names), stroke="#d9d9d9"))
    parts.append(svg.text(x, 36, f"{tick:+d}".replace("-", "−") if tick else "0", text_anchor="middle"))
words = []
for i, name in enumerate(names):
    y = top + gap_px * (i + 0.5)
    row = table[name]
    middle, half = row["against_none"]
    alone = row["alone_against_none"][0]
    x0, x1, xa = (zero + scale * v * 2.2 for v in (middle - half, middle + half, alone))
    causal = routing.ROUTERS[row["router"]].causal
    parts.append(svg.text(8, y + 4, name + ("" if causal else "  (not causal)")))
    parts.append(svg.element("line", x1=x0, x2=x1, y1=y, y2=y, stroke=svg.ACCENT, stroke_width=3))
    parts.append(svg.marker(0, zero + scale * middle * 2.2, y, 5, fill=svg.ACCENT))
    if not causal:
        parts.append(svg.marker(5, xa, y, 6, fill="#1a1a1a"))
    words.append(f"{name} {1000 * middle:+.0f}" + ("" if causal else f", alone {1000 * alone:+.0f}"))
svg.figure(
    720,
    top + gap_px * len(names) + 8,
    "Alone, expert choice gives its lead back, and Soft MoE far more than that",
    "; ".join(words) + ".",
    "".join(parts),
    caption="● together, with the 95 % interval of the difference; ▼ alone, for those that see other tokens. "
    "Which of these would you compare by the circle, and which by the triangle?",
)

# %% [markdown]
# <details><summary>The caption's question</summary>
#
# By the circle, if the model will always see its tokens together: an encoder, or images. By the triangle, if
# it writes, one token after the other. For the causal routers the two are the same, which is why they have no
# triangle.
#
# </details>
#
# How to read it, and how not to.
#
# - *Causal routers lose nothing alone.* Their row says 0.0 because it has to. (Noisy top-k says -0.3: its
#   noise is on together, as in training, and off alone.)
# - Expert choice has the smallest error of the learned routers **together**. Alone, it is where no balancing
#   is. In this toy the tokens have no order, so there was no future to read. It loses because its experts are
#   shown tokens which they would not have taken. In a text it could have cheated besides.
# - Soft MoE and BASE lose far more. BASE is also behind K = 1 without any balancing, even together: where
#   tastes are uneven, an even assignment has to send tokens where they fit badly.
# - *Hash* looks excellent, and that is the toy's doing: its table goes by the cluster, and the cluster is all
#   there is to know here. In text the id of a token is not the answer.
# - Sinkhorn is ahead together and keeps it alone. It leaks all the same, as your test says.
# - *Groups* balance nothing.
# - Well set, the loss (alpha = 0.1) improves a little on no balancing. So does the bias on average, but its
#   interval includes zero.
#
# A toy is a toy. It ranks nothing for a model of yours; it shows which columns a table like this needs.
# Lesson 04 has some of the same methods in a small language model.

# %% [markdown]
# ### Yours
#
# And now live, with what *you* have written: fewer seeds, fewer steps, the same toy. What you have not solved
# is the package's. The last column is your own test of causality, on your own routers. It takes about seven
# seconds, on a slow machine a minute. Which of the sentences above does it support, and which not?

# %% tags=["nbval-ignore-output"] why="trained"
from moe_lessons.toy import BiasStep, TopK, Toy, ToyRun
from moe_lessons.toy.own_router import OwnRouter
from moe_lessons.toy.zoo import fresh_error
from moe_lessons.toy.zoo_table import interval

own_gates, own_noisy, own_groups = yours("01.topk_gates"), yours("06.noisy_topk"), yours("06.group_limited")
noise = torch.Generator().manual_seed(0)


def choice(logits_TE, training):
    return own_choice(logits_TE, 2) if training else own_gates(logits_TE, 2, False)


def planned(logits_TE, training):
    with torch.no_grad():
        ids_TK = (own_plan(logits_TE, 10) if training else logits_TE).topk(2, dim=-1).indices
    return ids_TK, logits_TE.softmax(dim=-1).gather(1, ids_TK)


def noisy(logits_TE, training):
    noise_TE = torch.randn(logits_TE.shape, generator=noise)
    return own_noisy(logits_TE, torch.zeros_like(logits_TE), noise_TE, 2, training)


def grouped(logits_TE, training):
    return own_groups(logits_TE.sigmoid(), torch.zeros(8), 4, 2, 2)


lanes = {
    "none": TopK(2, score="sigmoid", renormalize=True),
    own_step.label: BiasStep(own_step, 2, rate=0.01),
    own_noisy.label: OwnRouter(noisy),
    own_choice.label: OwnRouter(choice),
    own_plan.label: OwnRouter(planned),
    own_groups.label: OwnRouter(grouped),
}
small = {}
print(f"{'six seeds, 120 steps':<34}{'error':>16}{'alone - together':>20}{'MaxVio':>9}{'leaks':>8}")
for name, rule in lanes.items():

    def weights_of(logits_TE, rule=rule):
        noise.manual_seed(0)  # the same noise in every call, or the test would take it for a leak
        return rule(logits_TE.unsqueeze(0), None).weights_STE[0].detach()

    leaky = bool(own_test(weights_of, example_TE))
    run = ToyRun(Toy(n_seeds=6, mu=2.0, even_start=True), rule).advance(120)
    together_S, alone_S = (fresh_error(run, alone=alone) for alone in (False, True))
    vio = max_violation(run.shares_NSE[-50:]).mean().item()
    small[name] = interval(together_S), interval(alone_S - together_S), vio, leaky
    (error, half), (lost, half_lost), *_ = small[name]
    said = "yes" if leaky else "no"
    print(f"{name:<34}{error:>7.3f} ± {half:.3f}{lost:>+11.3f} ± {half_lost:.3f}{vio:>9.2f}{said:>8}")

# %%
none, bias, noise_row, chosen, plan, groups = small.values()
print("as in the large version:")
measured("  of the imbalance the bias leaves", bias[2] / none[2], below=0.5, unit="%")
measured("  noise and groups leave", [row[2] / none[2] for row in (noise_row, groups)], above=0.75, unit="%")
measured("  MaxVio of expert choice", chosen[2], at_most=0, then="exactly even")
measured("    what it loses alone, over the ± beside it", chosen[1][0] / chosen[1][1], above=1)
measured("  lost alone without competition", [abs(row[1][0]) for row in (none, bias, groups)], at_most=0)
print("  what leaks:", ", ".join(name for name, row in small.items() if row[3]))

# %% [markdown]
# What balances and what leaks needs no long run: it follows from how the routers are made. Who has the
# smaller error does, and six seeds of a short run cannot say. (Your noise is of one size here. In the large
# table the size is learned, and less is lost by it.)

# %% [markdown]
# ## The race
#
# One picture to play with before the recap. Four lanes: no balancing, the loss, the bias, expert choice. Two
# knobs, alpha and the step of the bias, and time.

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import BalancingRace

race = BalancingRace(ask=False)
predict("06.race", unlocks=race)

# %% [markdown]
# On the right, every setting of both knobs is a point: balance to the left, error upwards. A lane that is off
# the scale has an arrow in the grey strip, and its number. Drag the step from 0 to the end at "equally even"
# first. Then try to find a setting of the loss that is as good as the best of the bias. Then turn both far
# up.

# %% tags=["nbval-ignore-output"] why="widget"
race

# %%
reveal("06.race")

# %% [markdown]
# You will have found one: alpha between 0.1 and 0.3. Well set, the two cost the same, as in V3's test with
# the wide scope. They differ in what happens when they are set wrong. A loss that is too strong still
# balances, and costs. A bias that moves too fast does not even balance.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("06.q_high")

# %% [markdown]
# ## What to take with you
#
# - An even assignment with the best total score is each token's own choice, once every expert has its price.
# - The bias feels its way to that price: steps that add up, from past batches, for the choice alone. On
#   scores or on logits is a matter of the step's scale.
# - A moving average is not a sum: it comes to rest off balance, the further the smaller its gain.
# - Noise lets experts be tried. Switch it off in evaluation.
# - Expert choice, BASE, Sinkhorn and Soft MoE are even, or nearly so, because tokens compete. Where a later
#   token can win, the earlier ones learn about it.
# - The test for it: change the end, compare the beginning. Weights too, all tokens, many changes.
# - Compare at equal balance, over seeds, and as the model will be used.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("06.q_decoder")

# %%
claims_table()

# %%
score()
