# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("01_router")

# %% [markdown]
# A dense transformer sends every token through the same feed-forward network. A Mixture-of-Experts layer
# holds E such networks, the **experts**, and sends each token through K of them. So somebody has to decide,
# for every token, which K. That somebody is the **router**, and it is smaller than you may expect: one
# matrix.
#
# This lesson takes the router apart. First the matrix, then the *gate*: the two or three lines that turn its
# output into chosen experts and their weights. Published models disagree about those lines. You will see
# where the disagreement is real and where it is only a way of writing.
#
# Inside a model a token is a vector, its **hidden state**. Four letters are used throughout: **T** tokens,
# **D** width of a hidden state (how many numbers it has), **E** experts, **K** experts per token. Names carry
# their axes: `logits_TE` has one row per token and one column per expert.

# %%
import math

import torch
import torch.nn.functional as F

from moe_lessons import routing, svg
from moe_lessons.accounting.presets import PRESETS

torch.set_num_threads(1)  # everything here is small: more threads would only wait for each other

# %% [markdown]
# ## One matrix
#
# Each expert has a **router vector** of width D. The score of an expert for a token is the inner product of
# that vector with the token's hidden state. It is called a **logit**. Three tokens and four experts are small
# enough to check by hand:

# %%
hidden_TD = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]])  # three tokens, D = 2
router_ED = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-2.0, 0.0], [1.0, 1.5]])  # four experts

logits_TE = routing.router_logits(hidden_TD, router_ED)
for name, x in [("hidden", hidden_TD), ("router", router_ED), ("logits", logits_TE)]:
    print(f"{name} {list(x.shape)}", end="   ")
print()
for t, row in enumerate(logits_TE.tolist()):
    print(f"token {t}: logits {row}, the largest is that of expert {row.index(max(row))}")

# %% [markdown]
# Take token 1, `[0, 2]`. With expert 3, `[1, 1.5]`, it makes 0·1 + 2·1.5 = 3, more than with any other. So
# with K = 1 it goes to expert 3.
#
# Nothing in this computation knows which *word* the token was. It reads the hidden state: what the layers
# below have made of the word in its context. Some explainers write the router as a matrix of shape
# `[vocab_size, num_experts]`. Near the end of the lesson we test which of the two describes a trained model.
#
# Your turn. One detail matters: whatever number format (*dtype*) the inputs have, compute in fp32, PyTorch's
# `float32`. The reason comes right after.

# %% [markdown]
# {{exercise 01.router_logits}}


# %% answer="01.router_logits"
def router_logits(hidden_TD, router_ED):
    """Return the router's logits.

    hidden_TD: [T, D] hidden states, any float dtype. router_ED: [E, D] one vector per expert.
    Returns [T, E] in fp32.
    """
    ### BEGIN SOLUTION
    return hidden_TD.float() @ router_ED.float().T
    ### END SOLUTION


# %%
check("01.router_logits")

# %% [markdown]
# ### Why fp32?
#
# Large models keep most of their numbers in bf16 (`bfloat16`), which takes half the space of fp32 and keeps
# 8 significant bits. Near 128 its neighbouring numbers are a whole 1 apart, so 128.5 has to become
# 128. That sounds harmless: an error of 0.4 %. The ST-MoE paper gives an example (arXiv 2202.08906, footnote
# 7). Eleven experts, ten of them with logit 128 and one with 128.5:

# %%
logits_E = torch.tensor([128.5] + [128.0] * 10)
exact = logits_E.softmax(dim=0)[0].item()
rounded = logits_E.bfloat16().float().softmax(dim=0)[0].item()
print(f"probability of expert 0:  fp32 {exact:.3f}   bf16 {rounded:.3f}   lost {1 - rounded / exact:.0%}")

# %% [markdown]
# The error of a logit is *relative* to the logit, but a softmax turns *differences* of logits into ratios of
# probabilities. Half a unit is a factor of √e ≈ 1.65, however large the logits are.
#
# Does it also change who is chosen? Twenty random routers with 64 experts and K = 8, once in fp32 and once
# with inputs and result in bf16:

# %%
changed = []
for seed in range(20):
    generator = torch.Generator().manual_seed(seed)
    hidden_TD = torch.randn(500, 512, generator=generator)
    router_ED = torch.randn(64, 512, generator=generator) / 512**0.5
    wide_TE = hidden_TD @ router_ED.T
    narrow_TE = (hidden_TD.bfloat16() @ router_ED.bfloat16().T).float()
    wide_TK, narrow_TK = (z_TE.topk(8, dim=-1).indices.sort(dim=-1).values for z_TE in (wide_TE, narrow_TE))
    changed.append((wide_TK != narrow_TK).any(dim=-1).float().mean().item())

print("tokens with another set of experts in bf16:")
print(f"  more than 1 % in {sum(c > 0.01 for c in changed)} of 20 runs, more than 10 % in", end=" ")
print(f"{sum(c > 0.1 for c in changed)} of 20")

# %%
claim("L25", "correct", holds=abs(exact - 0.142) < 5e-4 and abs(rounded - 0.091) < 5e-4 and min(changed) > 0)

# %% [markdown]
# A few tokens in a hundred get another set of experts from rounding alone. The remedy costs almost nothing,
# since the router is tiny beside the experts. Switch Transformer diverged when all of it ran in bf16, and
# trained stably with only the router in fp32 (arXiv 2101.03961, table 2). This course always computes the
# router in fp32.

# %% [markdown]
# **Change this.** The footnote's logits once more. Half a unit of lead was lost at 128. Is it lost at 127 as
# well? And at 255, does expert 0 lose again?

# %% change=true
# Change these and run the cell again.
LOGIT = 128.0
LEAD = 0.5

these_E = torch.tensor([LOGIT + LEAD] + [LOGIT] * 10)
kept = these_E.softmax(dim=0)[0].item()
got = these_E.bfloat16().float().softmax(dim=0)[0].item()
print(f"{LOGIT + LEAD:g} becomes {these_E[0].bfloat16().item():g}: probability {kept:.3f} becomes {got:.3f}")

# %% [markdown] only="solutions"
# At 127 nothing is lost: below 128 the neighbouring numbers are half a unit apart, so 127.5 is one of them.
# At 255 expert 0 *gains*: 255.5 lies between 255 and 256 and becomes 256, and 0.142 turns into 0.214.
# Rounding does not weaken a router's choices. It moves them, either way.

# %% only="solutions"
rerun("LOGIT = 127.0", "LOGIT = 255.0")

# %% [markdown]
# ## What a router vector does
#
# Logits are inner products, and an inner product has two parts: the *angle* between token and router vector,
# and their *lengths* (a vector's length is also called its *norm*). Before you play with both, commit to a
# prediction.

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import Router

playground = Router(ask=False)
predict("01.norm", unlocks=playground)

# %% [markdown]
# The playground has 160 tokens in the plane and six router vectors. Its controls unlock once you have
# committed. Try your prediction there: pick expert 0, double its norm at K = 1, then at K = 4. Then turn the
# *temperature*, a number that all logits are divided by before the softmax, and watch which experts the token
# has: do they ever change?

# %% tags=["nbval-ignore-output"] why="widget"
playground

# %% [markdown]
# One cloud of tokens is one cloud. So here is the same with two hundred. Two-dimensional tokens, six experts
# with router vectors of length 1 in random directions; then the vector of expert 0 is made twice as long. Two
# hundred random draws for each K:


# %%
def share_of_expert_0(hidden_TD, router_ED, top_k):
    """Share of tokens that have expert 0 among their top-k."""
    topk_ids_TK = (hidden_TD @ router_ED.T).topk(top_k, dim=-1).indices
    return (topk_ids_TK == 0).any(dim=-1).float().mean().item()


before, after = {k: [] for k in range(1, 6)}, {k: [] for k in range(1, 6)}
for seed in range(200):
    generator = torch.Generator().manual_seed(seed)
    hidden_TD = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    router_ED = F.normalize(torch.randn(6, 2, generator=generator, dtype=torch.float64), dim=-1)
    longer_ED = router_ED.clone()
    longer_ED[0] *= 2
    for k in before:
        before[k].append(share_of_expert_0(hidden_TD, router_ED, k))
        after[k].append(share_of_expert_0(hidden_TD, longer_ED, k))

print("K   mean share before -> after   grew in   shrank in   (of 200 draws)")
for k in before:
    pairs = list(zip(before[k], after[k], strict=True))
    grew, shrank = sum(b < a for b, a in pairs), sum(b > a for b, a in pairs)
    mean_before, mean_after = (sum(column) / 200 for column in zip(*pairs, strict=True))
    print(f"{k}         {mean_before:4.0%} -> {mean_after:4.0%}           {grew:5d}       {shrank:5d}")

# %%
reveal("01.norm")

# %% [markdown]
# <details><summary>Does the temperature ever change a token's experts?</summary>
#
# No. Dividing all logits by the same number keeps their order, so the same K are the largest. It changes how
# far apart their weights are.
#
# </details>
#
# The row K = 3 shows the reason best. Three of six is a half, and doubling moves the share *towards a half*
# from wherever it was. For a token on the expert's side the logit is positive and doubles. For a token on the
# other side it is negative and doubles too, away from the top. In the limit the expert gets exactly its own
# half.
#
# So a long router vector makes an expert popular where few experts are chosen, and unpopular with half of the
# tokens where many are. Lesson 04 comes back to this: a vector that grows in training is one way in which a
# few experts take everything.

# %% [markdown]
# **Change this.** That was a vector made longer. Now make it short, a hundredth of its length (`TIMES =
# 0.01`). You would expect that nobody chooses such an expert. Is that so at K = 1? At K = 5?

# %% change=true
# Change these and run the cell again.
TIMES = 2.0
TOP_K = 1
N_EXPERTS = 6

draws = range(100)
shares = []
for seed in draws:
    generator = torch.Generator().manual_seed(seed)
    hidden_TD = torch.randn(1000, 2, generator=generator, dtype=torch.float64)
    router_ED = F.normalize(torch.randn(N_EXPERTS, 2, generator=generator, dtype=torch.float64), dim=-1)
    shares.append([share_of_expert_0(hidden_TD, router_ED, TOP_K)])
    router_ED[0] *= TIMES
    shares[-1].append(share_of_expert_0(hidden_TD, router_ED, TOP_K))
one, other = (sum(column) / len(shares) for column in zip(*shares, strict=True))
print(f"{TOP_K} of {N_EXPERTS}, vector of expert 0 times {TIMES:g}: mean share {one:.0%} -> {other:.0%}")

# %% [markdown] only="solutions"
# At K = 1 the share falls from 17 % to 5 %, as expected. At K = 5 it *rises*, from 84 % to 95 %. A vector
# of almost no length gives a logit of almost 0, to every token. What decides is then how many of the other
# five are above 0: none of them for few tokens, and all five for few as well. An expert that says nothing
# about any token comes in the middle, and whether the middle is chosen depends on K.

# %% only="solutions"
rerun("TIMES = 0.01", "TIMES = 0.01; TOP_K = 5")

# %% [markdown]
# ## Choosing K, for a whole batch
#
# The logits are there, now the K largest of each row. A line that is often seen for this:
# `torch.argsort(probs)[-k:]`. Here it is with five tokens and eight experts, K = 2:

# %%
probs_TE = torch.randn(5, 8, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
sliced = torch.argsort(probs_TE)[-2:]
right_TK = torch.argsort(probs_TE, dim=-1)[..., -2:]
print("argsort(probs)[-k:]       ", list(sliced.shape))
print("argsort(probs)[..., -k:]  ", list(right_TK.shape))
print("probs.topk(k).indices     ", list(probs_TE.topk(2, dim=-1).indices.shape))

# %%
same_sets = right_TK.sort(dim=-1).values.equal(probs_TE.topk(2, dim=-1).indices.sort(dim=-1).values)
claim("L16", "wrong", holds=sliced.shape == (2, 8) and right_TK.shape == (5, 2) and same_sets)

# %% [markdown]
# The slice `[-k:]` counts along the *first* axis, and that is tokens. The line returned the last two tokens
# with all eight experts each. On a single token, where there is only one axis, it is correct, and that is how
# it survives in explainers. In training it would not even crash everywhere: shapes sometimes fit by accident.
#
# How many sets of experts can a token be given?

# %%
for n_experts, top_k in [(8, 2), (64, 2), (64, 8), (256, 8)]:
    print(f"{top_k} of {n_experts:3d}: {math.comb(n_experts, top_k):>19,} sets")

# %%
olmoe = PRESETS["OLMoE-1B-7B"]
claim(
    "L117",
    "imprecise",
    holds=(olmoe.n_experts, olmoe.top_k) == (64, 8) and math.comb(64, 2) == 2016 and math.comb(64, 8) > 4.4e9,
)

# %% [markdown]
# And the experts that are not chosen? They are not computed at all, so they should contribute nothing: not a
# little, nothing. Here is a layer with 8 experts. We change the weights of expert 0 beyond recognition and
# look at the tokens that had not chosen it:

# %%
from moe_lessons import MoELayer

layer = MoELayer(d_model=16, d_expert=32, n_experts=8, top_k=2, generator=torch.Generator().manual_seed(0))
tokens_TD = torch.randn(100, 16, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    output = layer(tokens_TD)
    layer.experts.down_proj[0] += 1000.0
    disturbed = layer(tokens_TD).hidden

without_0 = (output.routing.topk_ids_TK != 0).all(dim=-1)
same = (output.hidden == disturbed).all(dim=-1)
print(f"{without_0.sum()} of 100 tokens had not chosen expert 0;")
print(f"the output of {same.sum()} tokens stayed the same, bit for bit")

# %%
claim("L83", "correct", holds=same.equal(without_0) and 0 < same.sum() < 100)

# %% [markdown]
# ## Softmax before or after?
#
# K experts are chosen, now they need weights. Explainers contradict each other here. One takes the softmax
# over the K chosen logits. Another takes it over all E and keeps K of the probabilities, and a third rescales
# those to sum to 1 again.

# %% tags=["nbval-ignore-output"] why="widget"
predict("01.order")

# %%
logits_TE = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
after_topk = routing.topk_softmax(logits_TE, 2).topk_weights_TK
before_renorm = routing.softmax_topk(logits_TE, 2, renormalize=True).topk_weights_TK
before_raw = routing.softmax_topk(logits_TE, 2, renormalize=False).topk_weights_TK

print("token 0, weights of its two experts")
for name, weights_TK in [
    ("top-k, then softmax", after_topk),
    ("softmax, top-k, rescale", before_renorm),
    ("softmax, top-k", before_raw),
]:
    first, second = weights_TK[0].tolist()
    print(f"  {name:<24} {first:.4f}  {second:.4f}   sum {first + second:.4f}")
gap = (after_topk - before_renorm).abs().max().item()
measured("1000 tokens: the first two differ by at most", gap, below=1e-6, then="they are one gate")

# %%
reveal("01.order")

# %% [markdown]
# Write $z_i$ for the logits. The softmax over all gives $e^{z_i} / \sum_{\text{all}} e^{z_j}$. Rescaling
# divides by the sum of the kept ones, and the common denominator cancels:
#
# $$\frac{e^{z_i} / \sum_{\text{all}} e^{z_j}}{\sum_{\text{kept}} e^{z_m} / \sum_{\text{all}} e^{z_j}}
# = \frac{e^{z_i}}{\sum_{\text{kept}} e^{z_m}}$$
#
# That is the softmax over the kept. So two of the three are one function, and the third is another. It keeps
# the **mass** that the router gave to the chosen. How much is that, with random logits?

# %%
print(" E  K   kept mass: mean   tokens from 5 % to 95 %   means of 20 draws")
for n_experts, top_k in [(8, 2), (64, 8), (128, 8)]:
    kept = []
    for seed in range(20):
        draw_TE = torch.randn(1000, n_experts, generator=torch.Generator().manual_seed(seed))
        kept.append(routing.softmax_topk(draw_TE, top_k, renormalize=False).topk_weights_TK.sum(dim=-1))
    kept_ST = torch.stack(kept)
    low, high = kept_ST.quantile(torch.tensor([0.05, 0.95])).tolist()
    means = kept_ST.mean(dim=1)
    print(
        f"{n_experts:3d} {top_k}              {kept_ST.mean():.2f}           {low:.2f} to {high:.2f}"
        f"            {means.min():.2f} to {means.max():.2f}"
    )
    if n_experts == 8:
        kept_mass = kept_ST.mean().item()

# %%
both_in_use = {"topk_softmax", "softmax_topk"} <= {p.gate for p in PRESETS.values()}
another = bool((before_raw.sum(dim=-1) < 0.99).all()) and 0.5 < kept_mass < 0.6
claim("L18", "contested", holds=gap < 1e-6 and another and both_in_use)

# %% [markdown]
# Without rescaling the layer's output is smaller, and by a different factor for each token: a token whose
# router is undecided gets a quieter update. That can be read as a feature or as a nuisance, and models
# differ. Mixtral and gpt-oss take the softmax after; GShard, Qwen3 and DBRX before, and rescale, which is the
# same; Switch, Grok-1 and OLMoE keep the probabilities; DeepSeek-V2 keeps them and multiplies by 16. None of
# them is wrong, as long as training and inference agree. But load a checkpoint (a file of trained weights)
# with the other convention, and the model computes something else. No shape tells you.

# %% [markdown]
# Two warm-ups first, a line each. A puzzle judges itself as soon as its cell runs: on the input that its
# picture shows, and on one that you do not see. Nothing is counted. Run its cell as it stands to see what is
# asked.

# %% [markdown]
# {{puzzle 01.p_centred}}


# %% puzzle="01.p_centred"
@puzzle("01.p_centred")
def centred(x_NM):
    ### BEGIN SOLUTION
    return x_NM - x_NM.mean(dim=-1, keepdim=True)
    ### END SOLUTION


# %% [markdown]
# {{puzzle 01.p_picked}}


# %% puzzle="01.p_picked"
@puzzle("01.p_picked")
def picked(table_NM, ids_NK):
    ### BEGIN SOLUTION
    return table_NM.gather(1, ids_NK)
    ### END SOLUTION


# %% [markdown]
# {{exercise 01.topk_gates}}


# %% answer="01.topk_gates"
def topk_gates(logits_TE, top_k, renormalize):
    """Return ids and weights of each token's experts.

    logits_TE: [T, E] fp32. top_k: K.
    renormalize: whether each token's K weights are rescaled to sum to 1.
    Returns topk_ids_TK [T, K] (integers) and topk_weights_TK [T, K].
    """
    ### BEGIN SOLUTION
    topk_weights_TK, topk_ids_TK = logits_TE.softmax(dim=-1).topk(top_k, dim=-1)
    if renormalize:
        topk_weights_TK = topk_weights_TK / topk_weights_TK.sum(dim=-1, keepdim=True)
    return topk_ids_TK, topk_weights_TK
    ### END SOLUTION


# %%
check("01.topk_gates")

# %% [markdown]
# An answer that has passed is kept, and the lessons go on with it: `yours(...)` gives your function as it
# last passed, in this lesson and in later ones, after a restart too. Until it passes you get the package's,
# so that nothing waits for you. From here on `gates` is one of the two; the line says which.

# %%
gates = yours("01.topk_gates")

# %% [markdown]
# Here is a layer that routes with them. `MoELayer` takes a function of your own as its gate. The router's
# matrix is multiplied by `to_logits`, and the experts are the package's; you write them in lesson 02.
# Beside it stand two layers with the same weights and named gates: one that rescales, and one that keeps
# the probabilities.

# %%
to_logits = yours("01.router_logits")


def layer_with(gate):
    """A layer of 8 experts, the same weights every time."""
    return MoELayer(16, 32, 8, 2, gate=gate, generator=torch.Generator().manual_seed(0))


with torch.no_grad():
    routed_by_gates = layer_with(lambda logits_TE, top_k: gates(logits_TE, top_k, True))
    output = routed_by_gates(tokens_TD)
    logits_TE = to_logits(tokens_TD, routed_by_gates.router.weight)
    print("largest difference from the layer with")
    gap = (logits_TE - output.routing.logits_TE).abs().max()
    measured(f"  {to_logits.label}, in its logits", gap, below=1e-5, then="the same")
    for gate in ("topk_softmax", "softmax_topk"):
        gap = (output.hidden - layer_with(gate)(tokens_TD).hidden).abs().max()
        measured(f"  {gate}, in its output", gap, below=1e-5, then="the same", otherwise="another gate")

# %% [markdown]
# ### The trap at K = 1
#
# You may have noticed a strange case in that check: K = 1, renormalised. A single weight, rescaled to sum to
# 1, is 1. Always. What does that do to learning?
#
# Top-k itself has no gradient: the ids are whole numbers. The router learns through the *weights*. Below is a
# layer of eight linear experts with K = 1 behind `gates`, and some loss on its output. We look at the largest
# gradient that reaches the router, with the probability as weight and with the rescaled weight, for twenty
# random draws.

# %%
largest = {False: [], True: []}
for seed in range(20):
    generator = torch.Generator().manual_seed(seed)
    router_ED = torch.randn(8, 16, generator=generator, requires_grad=True)
    hidden_TD = torch.randn(32, 16, generator=generator)
    experts_EDD = torch.randn(8, 16, 16, generator=generator)
    for renormalize in (False, True):
        topk_ids_TK, topk_weights_TK = gates(hidden_TD @ router_ED.T, 1, renormalize)
        expert_TD = torch.einsum("td,tdf->tf", hidden_TD, experts_EDD[topk_ids_TK[:, 0]])
        loss = (topk_weights_TK * expert_TD).square().mean()
        (gradient_ED,) = torch.autograd.grad(loss, router_ED)
        largest[renormalize].append(gradient_ED.abs().max().item())

print("largest entry of the router's gradient, in 20 draws")
measured("  the probability as weight", largest[False], above=0.1)
measured("  rescaled to sum to 1", largest[True], below=1e-5, then="rounding, no gradient")

# %%
claim("L19", "wrong", holds=min(largest[False]) > 1e4 * max(largest[True]))

# %% [markdown]
# What is left of the second gradient is rounding. The router would stay as it was drawn while the experts
# adapt to it. Switch, which uses K = 1, therefore keeps the probability (arXiv 2101.03961, section 2.1). From
# K = 2 on the trap is gone, because two weights that sum to 1 can still trade.

# %% [markdown]
# **Change this.** A toy model (a router and eight experts that learn to imitate a function; lesson 04 takes
# it apart) trains for 60 steps with `gates` at K = 1, rescaled. How far does its router get? And with
# `TOP_K = 2`? With `RENORMALIZE = False`? Then the last resort: does a larger `LEARNING_RATE` help at K =
# 1, rescaled?

# %% change=true
# Change these and run the cell again.
TOP_K = 1
RENORMALIZE = True
LEARNING_RATE = 0.1

from moe_lessons.toy import EachSeed, Toy, ToyRun

toy = ToyRun(
    Toy(n_seeds=2, n_tokens=64),
    EachSeed(lambda logits_TE: gates(logits_TE, TOP_K, RENORMALIZE)),
    optimizer=lambda trained: torch.optim.SGD(trained, lr=LEARNING_RATE),
)
start_SDE = toy.router_SDE.detach().clone()
toy.advance(60)
moved = ((toy.router_SDE.detach() - start_SDE).norm() / start_SDE.norm()).item()
left = toy.error_NS[-10:].mean() / toy.error_NS[0].mean()
print(f"K = {TOP_K}, {'rescaled' if RENORMALIZE else 'not rescaled'}, learning rate {LEARNING_RATE}")
measured("  router moved, of its size", moved, above=1e-5, then="it learns", otherwise="it stands still")
measured("  error left of the first", left, below=0.5, unit="%", then="halved", otherwise="not halved")

# %% [markdown] only="solutions"
# At K = 1, rescaled, the router stays where it was drawn, and with a learning rate of 1 it still does. The
# error falls all the same, since the experts learn: nothing looks broken. `TOP_K = 2` or
# `RENORMALIZE = False` is enough, and the router moves.

# %% only="solutions"
rerun("LEARNING_RATE = 1.0", "TOP_K = 2", "RENORMALIZE = False")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("01.q_k1")

# %% [markdown]
# ## Sigmoid gates
#
# In a softmax the experts compete: one can only gain what others lose. DeepSeek-V3 scores each expert by a
# *sigmoid* of its own logit instead. Raise one logit by 2 and see who notices:

# %%
logits_TE = torch.tensor([[1.0, 0.5, 0.0, -1.0]])
raised_TE = logits_TE + torch.tensor([[2.0, 0.0, 0.0, 0.0]])
for name, score_of in [("softmax", lambda z: z.softmax(dim=-1)), ("sigmoid", torch.sigmoid)]:
    for label, z_TE in [("before", logits_TE), ("after", raised_TE)]:
        scores = score_of(z_TE)[0]
        print(
            f"{name} {label:<7}", "  ".join(f"{s:.2f}" for s in scores.tolist()), f"  sum {scores.sum():.2f}"
        )

# %% [markdown]
# With sigmoids only expert 0 changes. The scores are no distribution: they sum to whatever they sum to. So
# the K chosen scores are divided by their sum, and then multiplied by a fixed scale (2.5 in DeepSeek-V3).
#
# There is one more idea in this router, and it is easily got wrong. If expert 3 gets too few tokens, its
# **bias** is raised a little, so that it is chosen more often. But the bias takes part in the *choice* alone.
# The weight is computed from the score without it:

# %%
bias_E = torch.tensor([0.0, 0.0, 0.0, 0.6])
for name, expert_bias_E in [("no bias", None), ("bias 0.6 on expert 3", bias_E)]:
    routed = routing.sigmoid_topk(logits_TE, 2, expert_bias_E=expert_bias_E, renormalize=False)
    ids, weights = routed.topk_ids_TK[0].tolist(), routed.topk_weights_TK[0].tolist()
    print(
        f"{name:<21}", ", ".join(f"expert {e} with weight {w:.3f}" for e, w in zip(ids, weights, strict=True))
    )

# %% [markdown]
# Expert 3 now comes first, 0.269 + 0.6 = 0.869 against 0.731, and still speaks with its own small weight of
# 0.269. So the load can be evened out without telling the layer anything false about how well an expert fits.
# Lesson 06 is about how the bias is set.

# %% [markdown]
# {{exercise 01.sigmoid_gates}}


# %% answer="01.sigmoid_gates"
def sigmoid_gates(logits_TE, expert_bias_E, top_k, scale):
    """Return ids and weights of each token's experts, chosen as DeepSeek-V3 does.

    logits_TE: [T, E] fp32. expert_bias_E: [E], for the choice only.
    top_k: K. scale: what each token's weights sum to.
    Returns topk_ids_TK [T, K] (integers) and topk_weights_TK [T, K].
    """
    ### BEGIN SOLUTION
    scores_TE = logits_TE.sigmoid()
    topk_ids_TK = (scores_TE + expert_bias_E).topk(top_k, dim=-1).indices
    topk_weights_TK = scores_TE.gather(-1, topk_ids_TK)
    return topk_ids_TK, scale * topk_weights_TK / topk_weights_TK.sum(dim=-1, keepdim=True)
    ### END SOLUTION


# %%
check("01.sigmoid_gates")

# %% [markdown]
# The paper writes this as equations 12 to 16. Taken literally, one expert at a time, they give the same as a
# function for whole batches: the course's, and yours, if it has passed. For 50 tokens and DeepSeek-V3's own
# sizes:

# %%
v3 = PRESETS["DeepSeek-V3"]
generator = torch.Generator().manual_seed(0)
affinity_TE = torch.randn(50, v3.n_experts, generator=generator)
bias_E = 0.1 * torch.randn(v3.n_experts, generator=generator)
routed = routing.GATES[v3.gate](affinity_TE, v3.top_k, expert_bias_E=bias_E, scale=v3.scale)

from_paper = []  # for each token, its experts and their weights
for t in range(50):
    s = [1 / (1 + math.exp(-z)) for z in affinity_TE[t].tolist()]  # eq. 15: a sigmoid per expert
    biased = [s_i + b_i for s_i, b_i in zip(s, bias_E.tolist(), strict=True)]
    chosen = sorted(range(len(s)), key=lambda i: -biased[i])[: v3.top_k]  # eq. 16: the bias is here ...
    weights = {
        i: v3.scale * s[i] / sum(s[j] for j in chosen) for i in chosen
    }  # eq. 13, and the config's scale: ... not here
    from_paper.append(weights)


def agrees(paper, ids, weights):
    """Whether a token's experts and weights are those of the equations."""
    ours = dict(zip(ids, weights, strict=True))
    return ours.keys() == paper.keys() and all(abs(ours[i] - paper[i]) < 1e-5 for i in paper)


def n_agreeing(topk_ids_TK, topk_weights_TK):
    """Number of tokens for which they agree."""
    return sum(map(agrees, from_paper, topk_ids_TK.tolist(), topk_weights_TK.tolist()))


print(f"{v3.name}: {v3.top_k} of {v3.n_experts} experts, scale {v3.scale}")
agree = n_agreeing(routed.topk_ids_TK, routed.topk_weights_TK)
print(f"the equations and the course's function: {agree} of 50 tokens agree")
v3_gates = yours("01.sigmoid_gates")
own = n_agreeing(*v3_gates(affinity_TE, bias_E, v3.top_k, v3.scale))
print(f"the equations and {v3_gates.label}: {own} of 50 tokens agree")

# %%
claim("L21", "correct", holds=agree == 50 and v3.top_k == 8 and v3.n_shared_experts == 1)

# %% [markdown]
# **Change this.** The four logits from above once more. How large must the bias of expert 3 be before the
# token gets it? What does its arrival do to the weight of expert 0, which has no bias? And what does a bias
# of 100 do?

# %% change=true
# Change these and run the cell again.
BIAS = 0.3
TOP_K = 2
SCALE = 1.0

four_TE = torch.tensor([[1.0, 0.5, 0.0, -1.0]])
ids_TK, weights_TK = v3_gates(four_TE, torch.tensor([0.0, 0.0, 0.0, BIAS]), TOP_K, SCALE)
pairs = sorted(zip(ids_TK[0].tolist(), weights_TK[0].tolist(), strict=True))
print(f"bias {BIAS:g} on expert 3:", ", ".join(f"expert {e} with weight {w:.3f}" for e, w in pairs))

# %% [markdown] only="solutions"
# From 0.354 on: that is how far its score, 0.269, lies below the second best, 0.622. Its arrival *raises*
# the weight of expert 0 from 0.540 to 0.731, for a weight is a share among the chosen, and expert 0 now
# shares with a weaker one. And 100 does what 0.4 does. Once the expert is in, its bias has no more to say.

# %% only="solutions"
rerun("BIAS = 0.353", "BIAS = 0.354", "BIAS = 0.4", "BIAS = 100.0")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("01.q_bias")

# %% [markdown]
# ## Six gates, one set of logits
#
# Six gates cover the models that this course deals with. Here is each of them on the same token with six
# experts and K = 2, and which of the course's presets use it. A *preset* holds the sizes of a published model
# and names their source: a paper or a published configuration.

# %%
logits_TE = torch.tensor([[1.5, -0.5, 0.8, -2.0, 0.1, -1.0]])
rows = []
for family, gate in routing.GATES.items():
    routed = gate(logits_TE, 2)
    dense_E = torch.zeros(6).scatter(0, routed.topk_ids_TK[0], routed.topk_weights_TK[0])
    rows.append(dense_E.tolist())
    users = ", ".join(p.name for p in PRESETS.values() if p.gate == family)
    print(f"{family:<20} sum {dense_E.sum():.2f}   {users or '(none of the presets)'}")

# %% draw=true tags=["nbval-ignore-output"] why="image"
svg.heat_map(
    rows,
    title="Same logits, same two experts, different weights",
    row_label="gate",
    column_label="expert",
    unit="weight",
    rows=list(routing.GATES),
    value_format="{:.2f}",
    caption="A cell's number is the expert's weight; 0.00 is an expert that was not chosen. "
    "The first and the third row are equal.",
)

# %% [markdown]
# All six choose the same experts, because softmax, sigmoid and √softplus all grow with the logit: they keep
# its order. Only a bias can change the choice. What differs is the weights.
#
# - `topk_softmax` and `softmax_topk_renorm` are one function, as you have seen.
# - `softmax_topk` keeps the probabilities, so the sum is below 1.
# - `sigmoid` (DeepSeek-V3) and `sqrt_softplus` (DeepSeek-V4, according to its code in `transformers`)
#   rescale scores that do not compete, and multiply by a scale, here 1. (Softplus is log(1 + exp(z)), a
#   smooth version of ReLU; the score is its square root.)
# - `topk_sigmoid` (Llama-4) takes the sigmoid of the chosen and does not rescale. It has another peculiarity:
#   the weight multiplies the expert's *input*. An expert is not linear, so that is not the same as weighing
#   its output.
#
# Is the router's output a probability distribution? Sum up the scores of all experts, *before* anything is
# cut away or rescaled:

# %%
many_TE = torch.randn(1000, 6, generator=torch.Generator().manual_seed(0))
families = {
    "softmax over all": many_TE.softmax(dim=-1),
    "sigmoid": many_TE.sigmoid(),
    "sqrt(softplus)": F.softplus(many_TE).sqrt(),
}
spans = {}
for name, scores_TE in families.items():
    sums_T = scores_TE.sum(dim=-1)
    spans[name] = (sums_T.min().item(), sums_T.max().item())
    print(f"{name:<18} sums from {spans[name][0]:.2f} to {spans[name][1]:.2f} over 1000 tokens")

# %%
claim(
    "L17",
    "imprecise",
    holds=max(abs(s - 1) for s in spans["softmax over all"]) < 1e-5
    and all(spans[name][1] - spans[name][0] > 1 for name in ("sigmoid", "sqrt(softplus)")),
)

# %% [markdown]
# Now the other way round. You are given logits, chosen ids and weights, and have to say which gate it was, as
# you would if a checkpoint and its config disagreed.

# %% [markdown]
# {{exercise 01.gate_family}}


# %% answer="01.gate_family"
def gate_family(logits_TE, topk_ids_TK, topk_weights_TK):
    """Return the name of the gate that made these ids and weights from these logits.

    logits_TE: [T, E] fp32. topk_ids_TK: [T, K] integers, K >= 2. topk_weights_TK: [T, K].
    Returns one of "topk_softmax", "softmax_topk_renorm", "softmax_topk", "sigmoid", "sqrt_softplus",
    "topk_sigmoid".
    """
    ### BEGIN SOLUTION
    chosen_TK = logits_TE.gather(-1, topk_ids_TK)

    def like(candidate_TK):
        return torch.allclose(topk_weights_TK, candidate_TK, rtol=1e-3, atol=1e-4)

    def rescaled(scores_TK):  # to the sums of the weights that were given, whatever the scale
        return scores_TK / scores_TK.sum(dim=-1, keepdim=True) * topk_weights_TK.sum(dim=-1, keepdim=True)

    if like(logits_TE.softmax(dim=-1).gather(-1, topk_ids_TK)):
        return "softmax_topk"
    if like(chosen_TK.softmax(dim=-1)):
        return "topk_softmax"
    if like(chosen_TK.sigmoid()):
        return "topk_sigmoid"
    if like(rescaled(chosen_TK.sigmoid())):
        return "sigmoid"
    return "sqrt_softplus"
    ### END SOLUTION


# %%
check("01.gate_family")

# %% [markdown]
# Put it to work. Each preset says which gate its model was published with. We let that gate route 40 random
# tokens, with the model's own E and K, hide its name, and ask. The sigmoid gates also get a bias and the
# model's scale. Where a preset has K = 1, of which the exercise says nothing, we ask at K = 2; and
# DeepSeek-V2's factor of 16 is left out for the same reason.

# %%
whose_gate = yours("01.gate_family")
SAME = {"softmax_topk_renorm": "topk_softmax"}  # one function under two names
recognised = []
for p in PRESETS.values():
    generator = torch.Generator().manual_seed(1)
    logits_TE = torch.randn(40, p.n_experts, generator=generator)
    bias_E = 0.1 * torch.randn(p.n_experts, generator=generator)
    extra = {"expert_bias_E": bias_E, "scale": p.scale} if p.gate == "sigmoid" else {}
    routed = routing.GATES[p.gate](logits_TE, max(p.top_k, 2), **extra)
    said = whose_gate(logits_TE, routed.topk_ids_TK, routed.topk_weights_TK)
    recognised.append(SAME.get(said, said) == SAME.get(p.gate, p.gate))
    verdict = said if recognised[-1] else f"{said}, which it is not"
    print(f"{p.name:<15} {p.gate:<20} recognised as {verdict}")
print(f"{whose_gate.label} recognises {sum(recognised)} of {len(recognised)}")

# %% [markdown]
# ## How large is K?
#
# "One or two" is what many explainers say. The presets, in the order of their years:

# %%
YEARS = {
    "Switch-Base-8": 2021,
    "Mixtral-8x7B": 2024,
    "Grok-1": 2024,
    "DBRX": 2024,
    "DeepSeek-V2": 2024,
    "OLMoE-1B-7B": 2024,
    "DeepSeek-V3": 2024,
    "Llama-4-Scout": 2025,
    "Qwen3-30B-A3B": 2025,
    "Kimi-K2": 2025,
    "GLM-4.5": 2025,
    "gpt-oss-20b": 2025,
}
models = sorted(PRESETS.values(), key=lambda p: YEARS[p.name])
above_two = [p for p in models if p.top_k > 2]
print(f"{len(above_two)} of {len(models)} presets choose more than 2; since 2024 it is", end=" ")
recent = [p for p in models if YEARS[p.name] >= 2024]
print(f"{sum(p.top_k > 2 for p in recent)} of {len(recent)}")

# %% draw=true tags=["nbval-ignore-output"] why="image"
parts = []
for i, p in enumerate(models):
    y = 62 + 22 * i
    parts.append(svg.text(8, y + 4, f"{YEARS[p.name]}  {p.name}, {p.n_experts} experts"))
    parts.append(
        svg.element("line", x1=270, x2=270 + 50 * p.top_k, y1=y, y2=y, stroke="#d9d9d9", stroke_width=2)
    )
    parts.append(svg.marker(0, 270 + 50 * p.top_k, y, 5, fill=svg.ACCENT))
    parts.append(svg.text(282 + 50 * p.top_k, y + 4, str(p.top_k)))
parts.append(svg.text(270, 40, "K, experts per token (number)"))
svg.figure(
    720,
    80 + 22 * len(models),
    "Most of these models since 2024 choose more than two experts",
    "; ".join(f"{YEARS[p.name]} {p.name}: {p.top_k} of {p.n_experts}" for p in models),
    "".join(parts),
    caption="Year of publication, model, and its K; the sources are in moe_lessons/accounting/presets.py.",
)

# %%
claim(
    "L20",
    "outdated",
    holds=sum(p.top_k > 2 for p in recent) > len(recent) / 2
    and min(p.top_k for p in recent) == 1
    and max(p.top_k for p in models if p not in recent) <= 2,
)

# %% [markdown]
# Experts became smaller and more numerous, and K grew with them; lesson 03 counts what that costs. The
# presets end in 2025. Five newer models, from the configs that they were published with:

# %%
from moe_lessons.accounting import describe

for name in ("Qwen3-Next-80B-A3B", "Qwen3.5-397B-A17B", "MiniMax-M2.5", "GLM-5.2", "DeepSeek-V4-Pro"):
    moe, _ = describe(name).moes[0]
    print(f"{name:<20} {moe.top_k:2d} of {moe.n_experts}")

# %% [markdown]
# ## Real text
#
# So far the hidden states were random. Now we train: four small transformers of two layers, 8 experts and K =
# 4, on the English of Python's language reference, with bytes as tokens. They differ in their seed only. How
# good they are is measured in *bits per byte*, on *held-out* text, which they were not trained on: the number
# of yes-or-no questions it would take, on average, to settle the next byte (8 without any knowledge). It is a
# short training, well under a minute on two cores, with a line for each model; lesson 10 does it properly.

# %% tags=["nbval-ignore-output"] why="timing"
import time

from moe_lessons.config import ModelConfig, TrainConfig
from moe_lessons.steps import each
from moe_lessons.training import train

SIZES = ModelConfig(
    n_layers=2, d_model=48, n_heads=2, n_kv_heads=1, d_expert=48, n_experts=8, top_k=4, context_length=64
)
runs = []
for seed in each(range(4), "seed"):
    start_s = time.perf_counter()
    settings = TrainConfig(
        model=SIZES,
        seed=seed,
        steps=250,
        warmup_steps=20,
        learning_rate=1e-2,
        evaluate_every=250,
        device="cpu",
    )
    run = train(settings)
    runs.append(run)
    print(
        f"seed {seed}: {run.validation_bits_per_byte:.2f} bits per byte on held-out text "
        f"(byte frequencies alone: {run.unigram_bits_per_byte:.2f}), {time.perf_counter() - start_s:.0f} s"
    )

# %%
learned = [run.unigram_bits_per_byte - run.validation_bits_per_byte for run in runs]
measured("all four beat byte frequencies, bits per byte", learned, above=0.5)

# %% [markdown]
# Now watch a sentence go through the second layer of the first model. The logits are the model's; `gates`
# makes experts and weights of them. Below each letter stand its four experts; the bar and the number are the
# weight.

# %%
from moe_lessons.data import as_tokens

SENTENCE = "The same letter may take different paths."
with torch.no_grad():
    routings = runs[0].model(as_tokens(SENTENCE.encode())[None]).routings
    topk_ids_TK, topk_weights_TK = gates(routings[1].logits_TE, 4, True)

# %% draw=true tags=["nbval-ignore-output"] why="image"
svg.routing_strip(
    list(SENTENCE),
    topk_ids_TK.tolist(),
    topk_weights_TK.tolist(),
    title="Each token has its own four experts, and weights of its own",
    caption=f"Layer 2, routed by {gates.label}. Experts by number and colour; weights in percent. "
    "Do the letters e all go to the same experts?",
)

# %% [markdown]
# <details><summary>Do the letters e all go to the same experts?</summary>
#
# Follow them along the strip: their columns differ. The letter is the same each time, what comes before it is
# not, and the second layer reads a hidden state that holds both. How many of the common bytes take more than
# one path is counted next.
#
# </details>

# %% [markdown]
# **Change this.** Layer 1 has seen less of the surroundings: one round of attention, where layer 2 has two.
# Does the same letter take fewer paths there? Try `LAYER = 1`, other models (0 to 3), and the space, `" "`.

# %% change=true tags=["nbval-ignore-output"] why="trained"
# Change these and run the cell again.
LETTER = "e"
LAYER = 2
MODEL = 0

text = runs[MODEL].corpus.validation_M[:4096]
with torch.no_grad():
    routings = runs[MODEL].model(text.view(64, 64)).routings
ids_TK = gates(routings[LAYER - 1].logits_TE, 4, True)[0][text == ord(LETTER)]
n_paths = len(ids_TK.sort(dim=-1).values.unique(dim=0))
print(f"layer {LAYER} of model {MODEL}: {len(ids_TK)} times {LETTER!r}, {n_paths} different sets of experts")

# %% [markdown] only="solutions"
# Mostly, but not as a rule. When this was written, model 0 sent its 403 letters `e` to 2 different sets of
# experts in layer 1 and to 21 in layer 2; its spaces to 6 and to 14. In model 1 the `e` had *more* paths in
# layer 1, 27 against 22. One round of attention is enough for a router to read the surroundings. Whether it
# does is left to training, and comes out differently from seed to seed.

# %% only="solutions" tags=["nbval-ignore-output"] why="trained"
rerun("LAYER = 1", 'LETTER = " "; LAYER = 1', 'LETTER = " "', "MODEL = 1; LAYER = 1", "MODEL = 1")

# %% [markdown]
# Two questions for all four models, on 4,096 bytes of held-out text. Do tokens take different paths? And does
# the same byte always take the same path, as it would if the router were a table over the vocabulary? For
# comparison we make such a table: a **hash router** gives each byte four experts, once and for all.

# %%
from moe_lessons.data import evaluation_windows

inputs_WL, targets_WL = (x[:64] for x in evaluation_windows(runs[0].corpus.validation_M, 64))
bytes_T = inputs_WL.flatten()
common = bytes_T.bincount(minlength=256).topk(20).indices.tolist()
hash_table_VK = torch.rand(256, 8, generator=torch.Generator().manual_seed(0)).topk(4, dim=-1).indices


def n_sets(topk_ids_TK):
    """Number of different sets of experts among these tokens."""
    return len(torch.unique(topk_ids_TK.sort(dim=-1).values, dim=0))


paths_by_layer, bytes_with_several = [], []
with torch.no_grad():
    for run in runs:
        ids_LTK = [routed.topk_ids_TK for routed in run.model(inputs_WL).routings]
        paths_by_layer += [n_sets(ids_TK) for ids_TK in ids_LTK]
        bytes_with_several.append(sum(n_sets(ids_LTK[1][bytes_T == byte]) > 1 for byte in common))
hashed = sum(n_sets(hash_table_VK[bytes_T[bytes_T == byte]]) > 1 for byte in common)

measured("different sets of experts in one layer of one model", paths_by_layer, above=10)
print("of the 20 most common bytes, more than 10 take more than one path in layer 2:")
print(f"  in {sum(n > 10 for n in bytes_with_several)} of 4 trained models; with a table {hashed} of 20 do")

# %%
claim("L11", "correct", holds=min(paths_by_layer) > 10)
claim(
    "L15",
    "wrong",
    holds=runs[0].model.blocks[1].moe.router.weight.shape == (8, 48)
    and min(bytes_with_several) > 10 > hashed,
)

# %% [markdown]
# The trained routers send one and the same byte to different experts, depending on its surroundings. How
# *much* the surroundings decide is another question, and an open one: OpenMoE found that its routers go
# mostly by token id (arXiv 2402.01739). Lesson 10 measures it for our own model. And routing by a table is a
# real design too: hash layers do it (arXiv 2106.04426). What would be wrong is to say that a *learned* router
# does.

# %% [markdown]
# ## Is a weight a relevance?
#
# The strip shows weights of 50 % and of 10 %. It is tempting to read them as "how relevant this expert is for
# this token". We can test that: take one expert away and see how much worse the token's prediction becomes.

# %% tags=["nbval-ignore-output"] why="widget"
predict("01.ablate")

# %% [markdown]
# In the last layer of each model we set one of the four weights to zero, first the largest for all tokens,
# then the second, and so on, and compare each token's loss with what it was. The other weights stay as they
# are.

# %%
from moe_lessons.dispatch import moe_unbind
from moe_lessons.layer import MoEOutput


def token_losses(model, without=None):
    """Loss of each token [T], in nats; ``without=0`` leaves out the largest weight in the last layer."""

    def leave_out(moe, inputs, output):
        ids_TK, weights_TK = output.routing.topk_ids_TK, output.routing.topk_weights_TK.clone()
        weights_TK[:, without] = 0  # topk sorts: column 0 is the largest
        hidden_TD = inputs[0].flatten(0, 1)
        changed_TD = moe_unbind(
            hidden_TD, ids_TK, weights_TK, moe.experts.gate_up_proj, moe.experts.down_proj
        )
        return MoEOutput(changed_TD.view_as(inputs[0]), output.routing)

    hook = model.blocks[-1].moe.register_forward_hook(leave_out) if without is not None else None
    with torch.no_grad():
        logits_BLV = model(inputs_WL).logits_BLV
    if hook:
        hook.remove()
    return F.cross_entropy(logits_BLV.flatten(0, 1), targets_WL.flatten(), reduction="none")


harm = []  # one [4, T] per model: how much the loss of each token rises without its r-th expert
for run in each(runs, "model"):
    whole_T = token_losses(run.model)
    harm.append(torch.stack([token_losses(run.model, without=rank) - whole_T for rank in range(4)]))
harm_SRT = torch.stack(harm)

# %% tags=["nbval-ignore-output"] why="trained"
gap_ST = harm_SRT[:, 3] - harm_SRT[:, 0]  # above 0: losing the smallest weight hurts more
clear_ST = gap_ST.abs() > 0.05

print("rise of the mean loss (nats) without the ...        tokens that lose more without the smallest")
print("        largest   second    third  smallest weight   of all   where the two differ by 0.05 nats")
for seed in range(4):
    means = "".join(f"{x:9.4f}" for x in harm_SRT[seed].mean(dim=-1).tolist())
    clear = (gap_ST[seed][clear_ST[seed]] > 0).float().mean()
    print(f"seed {seed}{means}       {(gap_ST[seed] > 0).float().mean():8.0%}      {clear:8.0%}")

# %%
mean_SR = harm_SRT.mean(dim=-1)
times = mean_SR[:, 0] / mean_SR[:, 3].abs()
on_average = (times > 2).all().item()
shares = [(gap_ST[s] > 0).float().mean().item() for s in range(4)]
shares += [(gap_ST[s][clear_ST[s]] > 0).float().mean().item() for s in range(4)]
per_token = min(shares) > 0.25 and max(shares) < 0.6
measured("the largest weight matters, on average, as many times as the smallest", times, above=2)
measured("yet tokens where it is the other way round", shares, above=0.25, below=0.6, unit="%")

# %%
reveal("01.ablate")
claim("L22", "imprecise", holds=on_average and per_token)

# %% [markdown]
# Both lines are true at once. Over many tokens a larger weight means a more important expert, and losing the
# smallest of four costs little. For a *single* token the weight is a poor measure of what the expert does for
# it: a coin would be wrong for half of the tokens. Nothing in training asks for more. The weight multiplies
# the expert's output, but the output itself can be long or short, helpful or not.
#
# These are small models after a short training, and one token's loss is a noisy thing to measure. The last
# column leaves out the tokens for which the two cases hardly differ; it says nearly the same. Still, take the
# first line as the robust one and the share in the second as an order of magnitude.

# %% [markdown]
# ## What to take with you
#
# - The router is one matrix, a vector of width D per expert. It reads the hidden state. Logits are inner
#   products, in fp32.
# - Everything happens along the last axis: softmax, top-k, sum.
# - Softmax after the top-k, or before it and rescaled: one function. Before and not rescaled: another one.
# - With K = 1 keep the probability, or the router gets no gradient.
# - Sigmoid scores do not compete. Their bias chooses; it does not weigh.
# - A weight is a multiplier. On average it goes with importance; for a single token it is a poor guide.
#
# Two more questions, then the claims that this lesson has settled.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("01.q_order")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("01.q_sets")

# %%
claims_table()

# %%
score()
