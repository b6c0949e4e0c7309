# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("16_frontier")

# %% [markdown]
# So far one thing was chosen for each token: the feed-forward network that it passes. Why only that? One
# could choose *how deep* a token goes, whether it does anything at all, which row of a table it reads, what a
# state forgets. All of this has been built. In the first half of this lesson you try five such ideas, in a
# size that runs while you watch, and ask of each: what does it bring, and what does it cost?
#
# The second half asks the same of sentences. Of the best-known models nobody outside knows the structure.
# There are rumours, and there is a way to deal with them: compute what follows, and count the sources.
#
# **B** sequences, **L** positions, **T** tokens, **D** width, **E** experts, **K** a token, as always.

# %%
import json
import math
from importlib.resources import files

import torch

from moe_lessons import accounting
from moe_lessons.accounting.layer_pattern import layer_string
from moe_lessons.accounting.unknowns import same_speed
from moe_lessons.frontier import depth, keys, memory, scan, tasks, tiny
from moe_lessons.layer import MoELayer

torch.set_num_threads(1)  # everything here is small: more threads would only wait for each other


def result(name):
    """A committed result file of the package."""
    return json.loads((files("moe_lessons") / "results" / f"{name}.json").read_text(encoding="utf-8"))


runs = result("frontier")


def rows(part, **wanted):
    """Rows of one part of the long runs, seed by seed."""
    return [row for row in runs[part]["rows"] if wanted.items() <= row.items()]


def spread(values):
    """Mean [smallest, largest]."""
    return f"{sum(values) / len(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


print(f"long runs: {runs['about']['script']}, on {runs['about']['device']}")
for part in sorted(set(runs) - {"about"}):
    print(f"  {part:<8}{len(runs[part]['rows']):>3} trainings, {runs[part]['cpu_s']:>6.1f} s of CPU")

# %% [markdown]
# ## Depth, and a coin
#
# Not every token needs every layer. A *mixture of depths* (arXiv 2404.02258) gives a block a router with one
# output: a score for each position. The half with the highest scores passes the block, attention and
# feed-forward network, and the other half is left as it is. The score of those who pass is also a gate on
# what the block adds, so that the router gets a gradient.
#
# "The half with the highest scores" of what? Of the sequence. Before anything else, a test that needs no
# text, and no knowledge of the router's code. We let such a model predict fair coin flips.

# %% tags=["nbval-ignore-output"] why="widget"
predict("16.coins")

# %% [markdown]
# Four blocks, of which the middle two are mixtures of depths. Eight flips in a sequence. One training takes
# five to ten seconds.


# %%
def coin_bits(decide, seed=0, steps=400):
    """Train a model of coin flips, and return it with 4,096 new sequences."""
    model = tasks.coin_model(decide, seed)
    tiny.fit(model, tasks.coin_flips(seed, n_sequences=64, length=8), steps, lr=6e-3)
    return model, tasks.coin_flips(99, n_sequences=4096, length=8)(0)


coin_model, flips = coin_bits("topk")
topk_bits = tiny.bits(coin_model, *flips)
measured("bits a flip, the best half of the sequence passes", topk_bits, below=0.97, then="below the entropy")

# %%
reveal("16.coins")
trained = [row["topk"] for row in rows("coins", trained="topk")]
print("seeds 0, 1, ..., trained beforehand:", "  ".join(f"{bits:.3f}" for bits in trained), "bits a flip")
cheats = sum(bits < 0.98 for bits in trained)
print(f"below 0.98 bits: {cheats} of {len(trained)}")

# %% [markdown]
# A model that predicts coin flips better than a coin has seen the future. How? Whether position 3 is among
# the best half depends on the scores of positions 4 to 8. The flips that are to be predicted *are* these
# positions. So the fact that one passes, or does not, is a message from later, and training can find out how
# to write such messages and how to read them. In 400 steps one seed of five has found out, and you have
# watched that one. In the other four the loss is one bit, and the leak is as open as before.
#
# When text is generated there is no later. The model needs another way to decide. The simplest: among the
# positions *so far*.

# %% [markdown]
# {{exercise 16.causal_depth}}


# %% answer="16.causal_depth"
def causal_depth(scores_BL, share):
    """Let a position pass if it is among the ceil(share * (t + 1)) best of positions 0 to t.

    scores_BL: [B, L] fp32, no two of a sequence equal. share: a number above 0, at most 1.
    Returns passes_BL [B, L], bool.
    """
    ### BEGIN SOLUTION
    beaten_BL = (scores_BL[:, None, :] > scores_BL[:, :, None]).tril().sum(-1)
    room_L = torch.ceil(share * torch.arange(1, scores_BL.shape[1] + 1))
    return beaten_BL < room_L
    ### END SOLUTION


# %%
check("16.causal_depth")

# %% [markdown]
# Now the trained model once more, with the same weights. First with your function. Then with a *predictor*:
# a small network that looks at one position and was trained to say what the whole sequence would have said
# (the paper's way, section 3.5 there). And a third model that was trained with the predictor's decisions from
# the first step on.

# %%
own_depth = yours("16.causal_depth")


def changes_earlier(model, trials=100):
    """Share of trials in which another last flip changes what is said of earlier ones."""
    flips_NL = tasks.coin_flips(1, n_sequences=trials, length=8)(0)[0]
    other_NL = flips_NL.clone()
    other_NL[:, -1] = 1 - other_NL[:, -1]
    with torch.no_grad():
        gap_N = (model(flips_NL)[0] - model(other_NL)[0])[:, :-1].abs().flatten(1).amax(1)
    return (gap_N > 1e-4).double().mean().item()


depth.decide_by(coin_model, "topk")
measured(
    "the best of the sequence: trials in which the last flip leaks",
    changes_earlier(coin_model),
    above=0.1,
    unit="%",
)
untrained = changes_earlier(tasks.coin_model("topk", seed=1))
measured("another seed, before any training", untrained, above=0.1, unit="%", then="the leak is built in")
depth.decide_by(coin_model, lambda scores_BL: own_depth(scores_BL, 0.5))
own_bits = tiny.bits(coin_model, *flips)
print("by", own_depth.label)
measured("  trials in which the last flip leaks", changes_earlier(coin_model), at_most=0, unit="%")
measured("  bits a flip, the same weights", own_bits, above=1.0, then="worse than a coin")
depth.decide_by(coin_model, "predictor")
predictor_bits = tiny.bits(coin_model, *flips)
measured("by the predictor: bits a flip, the same weights", predictor_bits, above=1.0)

# %%
causal_model, _ = coin_bits("predictor")
causal_bits = tiny.bits(causal_model, *flips)
measured("trained and run by the predictor: bits a flip", causal_bits, above=0.998, below=1.01)

# %%
claim(
    "L133",
    "correct",
    holds=min(trained) < 0.98 and causal_bits > 0.998 > 0.97 > topk_bits,
)

# %% [markdown]
# What the model had learned is worse than a coin once the future is gone. Train what you will run, and the
# loss is one bit. So the lesson is not that depth cannot be chosen. It is: the choice must be causal *in
# training*. The loss shows a leak only where one knows the entropy, and where training has made use of it.
# The test of `06.leaks_future`, change something late and look early, shows it at once.

# %% [markdown]
# **Change this.** A rank among those so far keeps no budget. Which order of the scores lets everybody pass?
# And which lets through as few as possible?

# %% change=true
# Change these and run the cell again.
order = "random"
share = 0.25

scores_L = {
    "random": torch.randn(1000, generator=torch.Generator().manual_seed(0)),
    "rising": torch.arange(1000.0),
    "falling": -torch.arange(1000.0),
}[order]
passed = own_depth(scores_L[None], share).double().mean().item()
print(f"{order} scores, a share of {share}: {passed:.1%} of 1,000 positions pass")

# %% [markdown] only="solutions"
# Rising scores: each is the best so far, and all of them pass. Falling ones: each is the worst so far, and
# after the first nobody does. Random scores come close to the share.

# %% only="solutions"
rerun('order = "rising"', 'order = "falling"', 'order = "falling"; share = 0.5')

# %% [markdown]
# ## The same on text
#
# Coins were made to expose the leak. What is it worth on text? Models of English bytes: four blocks, of which
# the second and fourth are mixtures of depths with a share of a half. Beside them a dense model of four
# blocks, one of three (which does as much work), and one in which every other position passes, whatever its
# score.

# %% tags=["nbval-ignore-output"] why="widget"
predict("16.text")

# %%
bits_of = {}
for row in runs["depth"]["rows"]:
    bits_of.setdefault(row["model"], []).append(row["bits"])
MIXED = "half, the best of the sequence"
mixed = rows("depth", model=MIXED)
print(f"bits per byte, held-out text, {len(mixed)} seeds: mean [lowest, highest]")
for name, bits in bits_of.items():
    print(f"  {name:<32}{spread(bits)}")
for name in ("dense, 3 layers", "half, every other position"):
    gaps = "  ".join(f"{a - b:+.3f}" for a, b in zip(bits_of[MIXED], bits_of[name], strict=True))
    print(f"the best of the sequence minus {name}, seed by seed: {gaps}")

# %%
reveal("16.text")
leaks = [row["earlier outputs changed"] for row in mixed]
measured("a changed last byte changes earlier outputs, share of the trials", leaks, above=0.5)
without = [row["run running"] - row["bits"] for row in mixed]
measured("what the future was worth, bits per byte", without, below=0.05)
by_predictor = [row["run predictor"] - row["bits"] for row in mixed]
print("the same models by their predictor, without the leak:", *(f"{cost:+.3f}" for cost in by_predictor))

# %% [markdown]
# The leak is there, in most trials, and it is worth so little that no loss curve would show it. Does the
# mixture bring anything over three dense blocks, which do the same work? It was better in two seeds of three,
# by no more than what separates one seed from another, and a part of that is the future. Three seeds and so
# few steps do not settle it. The paper reports gains for far larger models.

# %% [markdown]
# ## Experts that do nothing
#
# A gentler way to spend less on some tokens: give the router a few columns whose experts return nothing
# (MoE++, LongCat-Flash). A token still takes its K best, and those that are null cost nothing. How many
# working ones it uses differs from token to token; a bias on the null ones holds the mean.

# %% [markdown]
# {{exercise 16.null_experts}}


# %% answer="16.null_experts"
def null_experts(logits_TC, null_bias, n_real, top_k, target, rate):
    """Choose among real and null experts, and move the bias that holds the mean number of real ones.

    logits_TC: [T, E + Z] fp32, real experts first. null_bias: a number. n_real: E. top_k: K.
    target: real experts a token, on average. rate: a step of the bias.
    Returns weights_TE [T, E], used_T [T] whole numbers, and the new bias (a number).
    """
    ### BEGIN SOLUTION
    scores_TC = logits_TC.softmax(dim=-1)
    steered_TC = scores_TC.clone()
    steered_TC[:, n_real:] += null_bias
    ids_TK = steered_TC.topk(top_k).indices
    weights_TK = scores_TC.gather(1, ids_TK)
    weights_TK = weights_TK / weights_TK.sum(dim=1, keepdim=True)
    weights_TC = torch.zeros_like(scores_TC).scatter(1, ids_TK, weights_TK)
    used_T = (ids_TK < n_real).sum(dim=1)
    over = used_T.double().mean().item() - target
    return weights_TC[:, :n_real], used_T, null_bias + rate * ((over > 0) - (over < 0))
    ### END SOLUTION


# %%
check("16.null_experts")

# %% [markdown]
# Does it hold? A router that drifts: step by step it likes its real experts more. 8 real and 8 null ones,
# K = 4, and 2 real ones wanted.

# %%
own_null = yours("16.null_experts")


def held_at(target, rate, drift, steps=300):
    """Mean number of real experts by step, under a router whose real logits rise by `drift` in all."""
    generator = torch.Generator().manual_seed(0)
    bias, means = 0.0, []
    for step in range(steps):
        logits_TC = torch.randn(256, 16, generator=generator)
        logits_TC[:, :8] += drift * step / steps
        _, used_T, bias = own_null(logits_TC, bias, 8, 4, target, rate)
        means.append(used_T.double().mean().item())
    return means, float(bias)


print("by", own_null.label)
for rate in (0.0, 0.002):
    means, bias = held_at(2.0, rate, drift=2.0)
    late = sum(means[-50:]) / 50
    print(f"rate {rate}: {means[0]:.2f} real experts a token at first, {late:.2f} in the last 50 steps")
    if rate:
        measured("mean of the last 50 steps, away from 2", abs(late - 2), below=0.1)

# %% [markdown]
# **Change this.** A small step lags behind the drift, a large one swings. At 0.0002 the mean ends a whole
# expert too high. Which rate holds it, and which is too large? And if the router drifts twice as far?

# %% change=true
# Change these and run the cell again.
rate = 0.0002
drift = 2.0

means, bias = held_at(2.0, rate, drift)
late = means[-50:]
print(f"rate {rate}, drift {drift}: {min(late):.2f} to {max(late):.2f} real experts in the last 50 steps")

# %% [markdown] only="solutions"
# 0.002 holds it; what is left is chance for the most part, with 256 tokens a step. 0.02 swings. With twice
# the drift 0.002 still does.

# %% only="solutions"
rerun("rate = 0.002", "rate = 0.02", "rate = 0.002; drift = 4.0")

# %% [markdown]
# Now in a model, trained on text: 8 real and 8 null experts in three layers, K = 4, held at one real expert a
# token, or at two. Compare it with K = 1 and K = 2 for every token. A trap lies in the first of these. With
# K = 1 and weights that are rescaled to sum to 1, the router gets no gradient (lesson 01), and anything beats
# it. So K = 1 has the raw probability as its weight here, as in Switch.

# %% tags=["nbval-ignore-output"] why="widget"
predict("16.hard")

# %%
nulls = {}
for row in runs["null"]["rows"]:
    nulls.setdefault(row["layer"], []).append(row)
print("bits per byte, held-out text: mean [lowest, highest]")
for name, of_seeds in nulls.items():
    print(f"  {name:<34}{spread([row['bits'] for row in of_seeds])}")
for held, fixed in (("held at 1", "K = 1, raw weight"), ("held at 2", "K = 2")):
    pairs = zip(nulls[f"K = 4 of 8 and 8 null, {held}"], nulls[fixed], strict=True)
    print(f"{held}, minus {fixed}:", "  ".join(f"{one['bits'] - other['bits']:+.3f}" for one, other in pairs))

# %%
reveal("16.hard")
held = [row for name, of_seeds in nulls.items() if "null" in name for row in of_seeds]
print("bytes that use 0, 1, 2, 3, 4 real experts, one layer:", held[0]["tokens by number, layer 0"])
tied = [row["correlation with the loss"] for row in held]
print("a byte's number of experts and its loss, correlation in six models:", *(f"{c:+.2f}" for c in tied))
measured("the strongest tie of the six", max(map(abs, tied)), below=0.25)

# %% [markdown]
# The bias holds the mean, and what a byte uses goes from none to four. Whether that is better than a fixed K
# these runs do not say: the gaps go both ways. LongCat-Flash reports what it saves at its scale: 18.6 to 31.3
# billion active parameters a token, 27 on average (arXiv 2509.01322). And that *hard* tokens get more did not
# come by itself. Nothing in the training asks for it.

# %% [markdown]
# ## A million experts
#
# Why stop at hundreds? One reason is the router: it scores all experts for each token. With a million experts
# of a single hidden unit each, the router would cost far more than the experts.
#
# Unless the experts' keys have a structure. Let each key consist of two halves, and take *all* combinations
# of 1,024 first halves with 1,024 second halves.

# %% tags=["nbval-ignore-output"] why="widget"
predict("16.keys")

# %% [markdown]
# {{puzzle 16.p_seat}}


# %% puzzle="16.p_seat"
@puzzle("16.p_seat")
def row_plus_place(seat_N, width):
    ### BEGIN SOLUTION
    return seat_N // width + seat_N % width
    ### END SOLUTION


# %% [markdown]
# {{exercise 16.product_keys}}


# %% answer="16.product_keys"
def product_keys(query_TP, first_NH, second_MH, top_k):
    """Find the K best of N * M keys; key i * M + j is row i of the first table, then row j of the second.

    query_TP: [T, 2H] fp32. first_NH: [N, H]. second_MH: [M, H]. top_k: K, at most N and at most M.
    Returns ids_TK [T, K] int64, in any order, and their scores [T, K].
    """
    ### BEGIN SOLUTION
    H, M = first_NH.shape[1], len(second_MH)
    first_TK, i_TK = (query_TP[:, :H] @ first_NH.T).topk(top_k)
    second_TK, j_TK = (query_TP[:, H:] @ second_MH.T).topk(top_k)
    scores_TK, places_TK = (first_TK[:, :, None] + second_TK[:, None, :]).flatten(1).topk(top_k)
    ids_TK = i_TK.gather(1, places_TK // top_k) * M + j_TK.gather(1, places_TK % top_k)
    return ids_TK, scores_TK
    ### END SOLUTION


# %%
check("16.product_keys")

# %%
own_keys = yours("16.product_keys")
generator = torch.Generator().manual_seed(0)
print("by", own_keys.label)
exact = {}
for n in (32, 256):
    query_TP = torch.randn(64, 128, generator=generator)
    first_NH, second_NH = (torch.randn(n, 64, generator=generator) for _ in range(2))
    ids_TK, _ = own_keys(query_TP, first_NH, second_NH, 16)
    all_ids_TK, _ = keys.score_all(query_TP, first_NH, second_NH, 16)
    exact[n] = int((ids_TK.sort(dim=1).values == all_ids_TK.sort(dim=1).values).sum())
    print(f"{n * n:>9,} keys: {exact[n]:,} of {ids_TK.numel():,} ids are those of brute force")
for n in (32, 256, 1024):
    brute, product = n * n * 128, 2 * n * 64 + 16 * 16
    print(f"{n * n:>9,} keys: {brute:>11,} multiplications, or {product:>7,}: {brute / product:,.0f} times")

# %%
reveal("16.keys")

# %% [markdown]
# The trick is exact, and no approximation: a pair whose first half is not among the K best first halves is
# beaten by K pairs with the same second half.
#
# What are so many tiny experts for? Not for thinking; for *knowing*. A task that is nothing but knowledge:
# 1,024 random pairs of symbols, each with a random label. There is no rule to be found.

# %%
facts = tasks.Facts(1024, seed=0)
recalled = {}
for name, layer in {
    "dense, F = 32": lambda: tiny.mlp(32, 32),
    "24 experts of F = 10, two a token": lambda: tiny.Balanced(MoELayer(32, 10, 24, 2)),
}.items():
    recalled[name] = facts.recalled(layer, steps=600)
measured("dense: facts recalled", recalled["dense, F = 32"], below=0.7, unit="%")
measured("experts: facts recalled", recalled["24 experts of F = 10, two a token"], above=0.95, unit="%")

# %%
print(f"{'the same and more, trained beforehand':<42}{'recalled':>12}{'parameters':>12}{'multiply-adds':>15}")
of_layer = {}
for row in runs["facts"]["rows"]:
    of_layer.setdefault(row["layer"], []).append(row)
for name, found in of_layer.items():
    shares = ", ".join(f"{row['recalled']:.0%}" for row in found)
    print(f"{name:<42}{shares:>12}{found[0]['parameters']:>12,}{found[0]['multiply_adds']:>15,}")

# %% [markdown]
# What is recalled goes with the parameters that a layer *holds*, not with those that it multiplies. A large
# dense layer can do it as well, for eight times the work. And a memory of single units has one more
# advantage, in a batch. How much of all experts is read by B tokens, if they choose independently?

# %%
print(f"{'batch':>8}{'256 experts, 8 a token':>26}{'1,048,576 experts, 128 a token':>34}")
for batch in (1, 16, 64, 256):
    few = accounting.expert_coverage(256, 8, batch) / 256
    many = accounting.expert_coverage(2**20, 128, batch) / 2**20
    print(f"{batch:>8}{few:>26.1%}{many:>34.2%}")

# %% [markdown]
# **Change this.** How many candidates of each half are needed? With fewer than K the answer is no longer
# exact. What share of the best 16 is found with 4 of each half, which gives 16 sums? With how many is it 99
# %?

# %% change=true
# Change these and run the cell again.
candidates = 4
n_keys = 256

generator = torch.Generator().manual_seed(1)
query_TP = torch.randn(256, 128, generator=generator)
first_NH, second_NH = (torch.randn(n_keys, 64, generator=generator) for _ in range(2))
best_TK, _ = keys.product_topk(query_TP, first_NH, second_NH, 16)
i_TC = (query_TP[:, :64] @ first_NH.T).topk(candidates).indices
j_TC = (query_TP[:, 64:] @ second_NH.T).topk(candidates).indices
seen_TS = (i_TC[:, :, None] * n_keys + j_TC[:, None, :]).flatten(1)
found = (best_TK[:, :, None] == seen_TS[:, None, :]).any(dim=2).double().mean().item()
print(f"{candidates} of each half: {found:.1%} of the best 16 of {n_keys**2:,} keys are found")

# %% [markdown] only="solutions"
# 58 % with 4, and it takes 14 for 99 %: the last few are pairs with one very good half and one that is far
# down in its table. With 16 nothing can be missed. In smaller tables 4 find a little more.

# %% only="solutions"
rerun("candidates = 8", "candidates = 14", "candidates = 16", "candidates = 4; n_keys = 32")

# %% [markdown]
# ## Memory instead of experts
#
# Another memory needs no router. A table whose row is found by a *hash* of the last two and three tokens
# (after Engram, arXiv 2601.07372): what is read depends on the text alone. Different n-grams may share a row,
# and that is all it knows of them.

# %%
train_BL = tasks.text_batches(0, n_sequences=256, length=32)(0)[0]
for n_rows in (1_000, 10_000, 100_000):
    for order in (2, 3):
        grams, shared = memory.collisions(train_BL, order, n_rows)
        print(
            f"{n_rows:>8,} rows, {order} bytes: {grams:,} different, {shared / grams:.0%} share their row",
            end="    ",
        )
    print()

# %% [markdown]
# One budget of numbers, most of which a token does not use. Give it to experts, or to the table? Three
# layers, each with 12 experts' worth, trained for 200 steps:

# %%
by_share = {}
for row in runs["memory"]["rows"]:
    by_share.setdefault(row["share"], []).append(row["bits"])
print("share of the budget in the table   bits per byte, held-out text: mean [lowest, highest]")
for share, bits in sorted(by_share.items()):
    print(f"{share:>12.0%}{'':<23}{spread(bits)}")
saved = min(by_share[0.0]) - max(by_share[min(share for share in by_share if share)])
measured("what a sixth of the budget saves, the worst pair of seeds", saved, above=0.05, unit="bits")

# %% [markdown]
# Do not read an optimum for large models out of this. After 200 steps most of what can be known about a byte
# is in the two before it, and that is just what the table has. With far more training and data, Engram's
# authors find the best share of the table between a fifth and a quarter. What remains: there is a second
# kind of sparsity, numbers that are held and mostly not read, with an address that is known early.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("16.q_prefetch")

# %%
held_more = of_layer["24 experts of F = 10, two a token"][0]
dense_as_fast = of_layer["dense, F = 32"][0]
claim(
    "L134",
    "unconfirmable",
    holds=exact[256] == 64 * 16
    and held_more["multiply_adds"] < 1.5 * dense_as_fast["multiply_adds"]
    and held_more["recalled"] > 0.95 > 0.7 > dense_as_fast["recalled"],
)

# %% [markdown]
# ## Without a cache
#
# Attention keeps keys and values of everything it has seen. A *state-space model* keeps a state of fixed
# size: an N x P matrix to which each position adds something, and which forgets a little at each step. In a
# *selective* one the input says how much.

# %% [markdown]
# {{puzzle 16.p_interest}}


# %% puzzle="16.p_interest"
@puzzle("16.p_interest")
def growth_after(rate_L, start):
    ### BEGIN SOLUTION
    return rate_L[start + 1 :].sum().exp()
    ### END SOLUTION


# %% [markdown]
# {{exercise 16.selective_scan}}


# %% answer="16.selective_scan"
def selective_scan(x_LP, b_LN, c_LN, log_decay_L):
    """Write, forget and read: y[t] = c[t] @ S after S = S * exp(log_decay[t]) + outer(b[t], x[t]).

    x_LP: [L, P] fp32. b_LN, c_LN: [L, N]. log_decay_L: [L], below 0.
    Returns y_LP [L, P], through which gradients reach all four.
    """
    ### BEGIN SOLUTION
    past_L = log_decay_L.cumsum(dim=0)
    later_LL = torch.ones(len(x_LP), len(x_LP), dtype=torch.bool).triu(1)
    left_LL = (past_L[:, None] - past_L[None, :]).masked_fill(later_LL, -torch.inf).exp()
    return ((c_LN @ b_LN.T) * left_LL) @ x_LP
    ### END SOLUTION


# %%
check("16.selective_scan")

# %% [markdown]
# As a loop it needs a state and no past; as a matrix it looks like attention without a softmax, with a mask
# that fades. A whole mixer, in which the input decides what is written, where, and what fades, computed with
# your function and with the package's loop:

# %%
own_scan = yours("16.selective_scan")


def over_heads(x, b, c, log_decay):
    """Your function, sequence by sequence and head by head."""
    flat = [part.flatten(0, 1) for part in (x, b, c, log_decay)]
    return torch.stack([own_scan(*head) for head in zip(*flat, strict=True)]).view_as(x)


with torch.random.fork_rng():
    torch.manual_seed(0)
    mixer, hidden_BLD = scan.Selective(64, n_heads=2, d_state=16), torch.randn(2, 40, 64)
with torch.no_grad():
    by_loop = mixer(hidden_BLD, scan=scan.selective_scan_loop)
    gap = (mixer(hidden_BLD, scan=over_heads) - by_loop).abs().max().item()
print("by", own_scan.label)
measured("largest difference of an output", gap, below=1e-5, then="the same")
measured("largest output", by_loop.abs().max().item(), above=1e-3)

# %% [markdown]
# What can a state not do? Put n pairs of random keys and values into it, without forgetting anything, and ask
# for each. An answer is right if the nearest of 64 codes is the right one. Nothing is trained here.

# %% tags=["nbval-ignore-output"] why="widget"
predict("16.state")

# %%
print("share of answers right, by number of pairs")
print(f"{'':<32}" + "".join(f"{n:>8}" for n in (4, 8, 16, 32, 64, 128)))
found = {}
for n_state in (8, 16, 32, 64):
    row = [tasks.recall_untrained(n, n_state) for n in (4, 8, 16, 32, 64, 128)]
    found[n_state] = {n: r.state for n, r in zip((4, 8, 16, 32, 64, 128), row, strict=True)}
    print(f"{f'state of {n_state} x 32 = {n_state * 32:,}':<32}" + "".join(f"{r.state:>8.0%}" for r in row))
print(f"{'a cache, read by a sharp softmax':<32}" + "".join(f"{r.cache:>8.0%}" for r in row))

# %%
reveal("16.state")

# %% [markdown]
# A state is a sum: everything lies on top of everything. A cache is a list: it holds all, and grows. That
# is the whole trade, and models mix the two. Do experts fit into the mix? Models of two blocks learn to
# recall: six pairs of a key and a value, then the keys again, in another order. **A** is a block with
# attention, **S** one with a selective state of 16 times 32 numbers. Behind it stands a dense network, or 8
# experts of which a token uses 2. In all of them a token multiplies by nearly as many numbers.

# %%
settings = runs["recall"]["settings"]
every = settings["looked_every"]
learned = {}
for row in runs["recall"]["rows"]:
    learned.setdefault((row["mixers"], row["behind"]), []).append(row)
print(f"{'':<12}{'active':>8}{'held':>9}   95 % right after ... steps   right at the end")
for (mixers, behind), of_seeds in learned.items():
    sizes = f"{of_seeds[0]['active']:>8,}{of_seeds[0]['parameters']:>9,}"
    known = [next((n for n, right in enumerate(row["right"], 1) if right >= 0.95), None) for row in of_seeds]
    steps = "".join(f"{n * every if n else 'never':>7}" for n in known)
    ends = "".join(f"{row['right'][-1]:>7.0%}" for row in of_seeds)
    print(f"{mixers} {behind:<9}{sizes}{steps:>28}    {ends}")

# %% [markdown]
# This shows how soon something is *learned*, in 1,200 steps and by three seeds. Attention finds it first:
# looking back is what it is made for. One block of each finds it later: with experts in every seed, without
# them in two of three. States alone do not find it in this time. What they could *hold* is another question;
# the table above answers it.

# %% tags=["nbval-ignore-output"] why="widget"
predict("16.both")

# %%
JAMBA = {  # arXiv 2403.19887: 32 layers, attention in one of eight, 16 experts in every other layer
    "model_type": "jamba",
    "num_hidden_layers": 32,
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
}
hybrids = {"Jamba": JAMBA} | {
    name: accounting.published()[name].config
    for name in ("Qwen3-Next-80B-A3B", "Qwen3.5-397B-A17B", "Nemotron-3-Nano-30B-A3B")
}
print("M state   * attention   E experts   - dense network")
layers_of = {name: layer_string(config) for name, config in hybrids.items()}
for name, layers in layers_of.items():
    counted = ", ".join(f"{layers.count(letter)} {letter}" for letter in "M*E-" if letter in layers)
    print(f"{name:<25}{layers[:32]:<34}... {counted}")
both = sum({"M", "*", "E"} <= set(layers) for layers in layers_of.values())
print(f"have states, attention and experts: {both} of {len(layers_of)}")

# %%
reveal("16.both")
claim("L136", "wrong", holds=both >= 4 and min(row["right"][-1] for row in learned["SA", "experts"]) > 0.95)

# %% [markdown]
# **Change this.** How large must a state be? Find the smallest N that recalls 64 pairs at 95 %. And does the
# width P of a value matter?

# %% change=true
# Change these and run the cell again.
n_state = 32
d_value = 32

recalled_by = tasks.recall_untrained(64, n_state, d_value=d_value)
print(
    f"state of {n_state} x {d_value} = {n_state * d_value:,} numbers, 64 pairs: {recalled_by.state:.0%} right"
)

# %% [markdown] only="solutions"
# N = 64 does it, with 97 %. Values of 64 numbers lie farther apart, and help less than twice the N: the same
# 2,048 numbers as 32 x 64 give 90 %.

# %% only="solutions"
rerun("n_state = 48", "n_state = 64", "n_state = 32; d_value = 64")

# %% [markdown]
# ## What do two numbers say?
#
# From here on nothing is trained. Of a closed model one hears, at best, two numbers: how many parameters it
# has in all, and how many it uses for a token. Something follows from them.

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import TwoNumbers

pairs = TwoNumbers(ask=False)
predict("16.numbers", unlocks=pairs)

# %%
reveal("16.numbers")

# %% [markdown]
# Drag the point, and try the landmarks. On the left the two numbers; hatched is what no model can have. On
# the right what is left for one expert and for everything else. Where does a small step on the left become
# a large one on the right?

# %% tags=["nbval-ignore-output"] why="widget"
pairs

# %% [markdown]
# {{exercise 16.two_numbers}}


# %% answer="16.two_numbers"
def two_numbers(total, active, unit, n_experts, top_k):
    """Say what total and active parameters, both rounded to a unit, leave possible.

    total, active, unit: numbers, such as billions. n_experts: E. top_k: K, below E.
    Returns four numbers (least and most of one expert in all layers, least and most of the rest), and
    whether such a model is possible.
    """
    ### BEGIN SOLUTION
    experts, rests = [], []
    for t in (total - unit / 2, total + unit / 2):
        for a in (active - unit / 2, active + unit / 2):
            x = (t - a) / (n_experts - top_k)
            experts.append(x)
            rests.append(a - top_k * x)
    bounds = torch.tensor([min(experts), max(experts), min(rests), max(rests)])
    return bounds, max(rests) >= 0
    ### END SOLUTION


# %%
check("16.two_numbers")

# %%
own_numbers = yours("16.two_numbers")
SAID = [  # total, active and their unit in billions, as published or told, and where
    ("Mixtral-8x7B", 46.7, 12.9, 0.1, "Mixtral-8x7B"),
    ("DeepSeek-V3", 671, 37, 1, "DeepSeek-V3"),
    ("Qwen3-30B-A3B", 30.5, 3.3, 0.1, "Qwen3-30B-A3B"),
    ("Grok-1, “86B active”", 314, 86, 1, "Grok-1"),
    ("Grok-1, “25 % active”", 314, 78.5, 1, "Grok-1"),
]
print("by", own_numbers.label)
print(f"{'':<24}{'one expert':>16}{'config':>8}{'the rest':>16}{'config':>14}")
for said, total, active, unit, name in SAID:
    model = accounting.describe(name)
    moe = model.moes[0][0]
    (x_low, x_high, low, high), _ = own_numbers(total, active, unit, moe.n_experts, moe.top_k)
    expert = sum(times * m.expert_parameters for m, times in model.moes) / 1e9
    rest = accounting.count(model).total / 1e9 - moe.n_experts * expert
    table = 0 if model.tied else model.vocab_size * model.d_model / 1e9
    print(f"{said:<24}{f'{x_low:.2f} to {x_high:.2f}':>16}{expert:>8.2f}", end="")
    print(f"{f'{low:.2f} to {high:.2f}':>16}{f'{rest - table:.2f} or {rest:.2f}':>14}")

# %% [markdown]
# For the first three the config lies inside, if one knows that DeepSeek's 37 leaves the input embedding out
# (the smaller of the two numbers on the right); even that shows. For Grok-1 neither of two popular readings
# fits. "25 % of the weights active on a given token" is xAI's own sentence (x.ai/blog/grok-os), and it is the
# two of eight *experts*: as a share of the parameters it would leave next to nothing for attention and
# embeddings.
#
# And the rumours? "1.8 trillion parameters, 280 billion active" with 16 experts, and with 8:

# %%
verdicts = {}
for n_experts in (16, 8):
    (x_low, x_high, low, high), possible = own_numbers(1800, 280, 10, n_experts, 2)
    verdicts[n_experts] = bool(possible)
    print(
        f"{n_experts:>2} experts: one has {x_low:.0f} to {x_high:.0f} B, the rest {low:.0f} to {high:.0f} B:",
        end=" ",
    )
    print("possible" if possible else "impossible")
claim("L119", "unconfirmable", holds=verdicts[16] and not verdicts[8])

# %% [markdown]
# The two rumours exclude each other. That says that at least one is wrong; it does not say which.
# "Possible" is no evidence either: nearly every pair of numbers is.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("16.q_56")

# %% [markdown]
# ## What do pages say?
#
# The rumour of 2023 comes with many numbers, and it is often said that they fit so well together. Let us see
# what they consist of.

# %%
print(f"16 x 111 + 55 = {16 * 111 + 55:,}   2 x 111 + 55 = {2 * 111 + 55:,} billion parameters")
print(f"6 x 277e9 x 13e12 tokens = {6 * 277e9 * 13e12:.2e} FLOP")
print(f"25,000 GPUs x 312e12 x 34 % x 95 days = {25_000 * 312e12 * 0.34 * 95 * 86_400:.2e} FLOP")
tera_flop = 2 * 277e9 / 1e12
print(f"one token: 2 x 277e9 = {tera_flop:.3f} TFLOP")

# %% tags=["nbval-ignore-output"] why="widget"
predict("16.sources")

# %%
rumours = result("rumours")["rows"]
slips = []
for row in rumours:
    compute = f"{row['tflop_sparse']} TFLOP a token" if "tflop_sparse" in row else "-"
    print(f"{row['date']:<12}{row['total_b']:,} B, {row['n_experts']} experts", end="  ")
    print(f"{compute:<21}names {row['names']}")
    if "tflop_sparse" in row:
        slips.append(row["tflop_sparse"] / tera_flop)
print(f"compute that is given, over compute that follows: {', '.join(f'{slip:,.0f}' for slip in slips)}")

# %%
reveal("16.sources")
different = len({round(math.log10(slip), 1) for slip in slips})
from_openai = sum("openai" in row["names"].lower() for row in rumours)
print(
    f"different slips: {different}; pages that name OpenAI as their source: {from_openai} of {len(rumours)}"
)
claim("L120", "correct", holds=different == 1 and len(slips) >= 3 and min(slips) > 900 and from_openai == 0)

# %% [markdown]
# Everything fits because everything follows from a few of the numbers: FLOPs from parameters and tokens,
# GPUs from FLOPs. Fitting together is arithmetic, and no evidence. And a slip of a thousand that all of
# them share is the signature of copying: however many pages say it, it is one source.
#
# Could one see it from outside, then? By its speed?

# %%
print(f"{'GB read for a step, in bf16':<34}{'batch':>7}{'sparse':>9}{'dense twin':>12}{'of':>10}")
apart, halved = [], []
for name in ("Mixtral-8x7B", "DeepSeek-V3", "Qwen3-30B-A3B"):
    model = accounting.describe(name)
    for batch in (1, 64):
        read = {}
        for dtype in ("bf16", "fp8"):
            twin = same_speed(model, dtype, batch)
            assert not twin.moes
            read[dtype] = [accounting.decode_read_bytes(one, batch, 0, dtype) / 1e9 for one in (model, twin)]
            apart.append(abs(read[dtype][1] / read[dtype][0] - 1))
        halved.append(read["fp8"][0] / read["bf16"][0])
        size = f"{accounting.count(twin).total / 1e9:.1f} B"
        print(f"{name:<34}{batch:>7}{read['bf16'][0]:>9.1f}{read['bf16'][1]:>12.1f}{size:>10}")
measured("dense twin against sparse model, bf16 and fp8: bytes differ by", max(apart), below=0.01, unit="%")
measured("bytes in fp8 over bytes in bf16", halved, above=0.49, below=0.51)

# %%
claim("L118", "unconfirmable", holds=max(apart) < 0.01 and len(apart) == 12)
claim("L141", "unconfirmable", holds=max(apart) < 0.01 and max(abs(share - 0.5) for share in halved) < 0.01)

# %% [markdown]
# For each of the three, at either batch and in either format, there is a dense model that is as fast, and
# another number format halves the bytes of both. What would tell them apart is how the speed falls as the
# batch grows, if one knew batch, hardware and format. Of a service one knows none of them.

# %% [markdown]
# ## What can be counted
#
# Two general sentences remain, and a list of references. "To run a trillion parameters for every token is
# prohibitive": how much is it? We take 40 % of an H100's 989 TFLOP/s.

# %%
hour = 0.4 * 989e12 * 3600
BUDGETS = {
    "1T dense, 20T tokens": 6 * 1e12 * 20e12,
    "DeepSeek-V3: 37B active, 14.8T tokens": 6 * 37e9 * 14.8e12,
    "Llama-3.1-405B: dense, 15.6T tokens": 6 * 405e9 * 15.6e12,
}
for name, flops in BUDGETS.items():
    print(f"{name:<40}{flops:.1e} FLOP   {flops / hour / 1e6:6.1f} million GPU hours")
dense, sparse, llama = BUDGETS.values()
print(f"a dense trillion: {dense / sparse:.0f} times DeepSeek-V3, {dense / llama:.1f} times Llama-3.1-405B")
claim("L116", "imprecise", holds=dense / sparse > 30 and dense / llama < 4 and math.isfinite(dense / hour))

# %% [markdown]
# DeepSeek's own report has 2.788 million GPU hours in all (arXiv 2412.19437, table 1): the estimate is of the
# right size. A third of a dense trillion has been paid for, once. "Prohibitive" is a word for a price.
#
# "The largest models are Mixtures of Experts": for models that can be downloaded this is a matter of
# counting.

# %%
open_models = result("open_models")["rows"]
largest = sorted(open_models, key=lambda row: -row["total_b"])[:10]
for row in largest:
    print(f"{row['date']:<9}{row['name']:<22}{row['total_b']:>9,.0f} B   {row['kind']}")
largest_dense = max((row for row in open_models if row["kind"] == "dense"), key=lambda row: row["total_b"])
print(f"largest dense one of {len(open_models)}: {largest_dense['name']}, {largest_dense['date']},", end=" ")
print(f"{largest_dense['total_b']:.0f} B")

# %%
newer = sum(row["date"] > largest_dense["date"] for row in largest)
sparse_ones = sum(row["kind"] == "sparse" for row in largest)
closed = [name for name in ("GPT-4", "Claude", "Gemini") if any(name in row["name"] for row in open_models)]
print(f"sparse: {sparse_ones} of 10; newer than the largest dense one: {newer}; closed: {len(closed)}")
claim("L115", "imprecise", holds=sparse_ones >= 9 and newer >= 9 and not closed)

# %% [markdown]
# A list like this cannot prove that something is missing from it, and one larger dense model with open
# weights would refute the sentence. Of closed models it says nothing, because they have no row.
#
# Last, references. Somebody's list of six works, compared with the works themselves:

# %%
differences = []
for row in result("bibliography")["rows"]:
    for field, cited in row["cited"].items():
        actual = row["source"][field]
        if cited != actual:
            differences.append((row["work"], field))
            print(f"{row['work']}, {field}: “{cited}”")
            print(f"{'':<{len(row['work']) + len(field) + 4}}“{actual}”")
entries = sum(len(row["cited"]) for row in result("bibliography")["rows"])
print(f"{len(differences)} difference in {entries} entries")
claim("L138", "imprecise", holds=differences == [("Fedus et al.", "title")])

# %% [markdown]
# ## What to take with you
#
# - Anything can be chosen for each token. If the choice is a rank among positions, it must be a rank among
#   those *so far*; fair coins show whether it is.
# - A bias that moves by a fixed step holds the mean number of working experts, whatever the router does. To
#   compare, take an opponent whose router is trained.
# - The best of N times M keys cost N plus M products, exactly. What a layer knows goes with what it holds,
#   not with what it multiplies.
# - A state is a sum and a cache is a list. Experts fit behind either.
# - Two rounded numbers leave an interval. Whether it holds a model is arithmetic; that it does is no
#   evidence.
# - Count sources by their mistakes. Who repeats a slip has not computed it.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("16.q_leak")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("16.q_jamba")

# %%
claims_table()

# %%
score()
