# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("12_what_experts_learn")

# %% [markdown]
# Papers about Mixture-of-Experts show texts in colours, one colour for each expert, and then say what the
# experts have learned. It looks convincing. Is it?
#
# Here is a text in four colourings. One of them shows the choices of a router that was trained. The other
# three know less: one is the same router before training, one is a table that was drawn at random, and one
# is the trained router with its choices mixed up among equal letters. Which strip is which?

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import BlindTest

blind = BlindTest(ask=False)
predict("12.blind", unlocks=blind)
blind

# %% [markdown]
# This lesson is about what one would have to show. You will measure what experts do in several ways. Each
# time the question is the same: **compared with what?** There are four things to compare with, and you need
# all of them:
#
# 1. **chance**: what you would see if experts were drawn blindly, with the loads that they have;
# 2. **the untrained router**: what random weights do already;
# 3. **the token**: what the byte alone gives away (most bytes are letters, and we shall say *letter*);
# 4. **another seed**: whether the same training finds the same experts again.

# %%
import itertools
import math

import torch
import torch.nn.functional as F

from moe_lessons import metrics
from moe_lessons.explore.blind_test.state import Params, neighbours, strips_of
from moe_lessons.inspect.learning import (
    SMALL,
    byte_bits,
    choices,
    routed_text,
    three_kinds,
    train_and_keep,
)
from moe_lessons.routing import forced as force
from moe_lessons.steps import each
from moe_lessons.svg import bar_chart, dot_rows, heat_map, line_chart
from moe_lessons.training.report import load_report

torch.set_num_threads(1)  # everything here is small: more threads would only wait for each other

print("neighbours with the same expert, layer 1, model by model")
for name in ("untrained", "trained", "shuffled", "table"):
    shares = [neighbours(strips_of(Params(model=m))[name])[0] for m in range(5)]
    print(f"  {name:<10}", " ".join(f"{share:>4.0%}" for share in shares))
reveal("12.blind")

# %% [markdown]
# Did you take the most orderly strip? That is the router *before* training. So order is no sign of learning,
# and a picture settles nothing. Let us count instead.
#
# ## Three models, watched while they learn
#
# The text is that of lesson 10: equal parts of English, source code and names of Unicode characters, as
# bytes. The model is small: two layers, each of 8 experts, 2 for each byte, balanced over the batch. We
# train it from three seeds and keep a copy at several steps. The copy at step 0 has random weights.

# %% tags=["nbval-ignore-output"] why="trained"
probe = three_kinds(probe_bytes=4_096)
KEPT = (0, 3, 6, 12, 25, 50, 100, 150)
recipe = SMALL.override(steps=150)
models = {
    seed: train_and_keep(recipe.override(seed=seed), probe.corpus, KEPT) for seed in each(range(3), "model")
}
windows_WL, labels = probe.windows_WL, probe.labels
for seed, kept in models.items():
    bits = {step: byte_bits(kept[step], windows_WL).mean().item() for step in (0, 25, 150)}
    print(f"seed {seed}:", ", ".join(f"{b:.2f} bits per byte at step {step}" for step, b in bits.items()))

# %% [markdown]
# The probe is text that no model trains on, in windows of 64 bytes. For each byte we note which experts it
# goes to. For most of what follows its *first* choice will do, the one with the larger weight.
#
# Three short runs are few. The same has been done with five seeds and 600 steps; that took several minutes
# and comes with the course. Most pictures below are of those runs.

# %%
report = load_report("what_experts_learn")
about, steps = report["about"], report["configs"]["config"]["steps"]
N_SEEDS = len(report["bits"])
described = report["described"]  # [step][model][layer]
layers_of = {step: [layer for model in described[step] for layer in model] for step in described}
last, first = layers_of[str(steps)], layers_of["0"]
print(f"{N_SEEDS} models of {steps} steps on one core of {about['device']}, torch {about['torch']}")
print(f"{about['cpu_seconds_in_all'] / 60:.0f} minutes of computing for all that is in the file")
print("held-out bits per byte:", ", ".join(f"{b:.2f}" for b in report["bits"]))

# %%
trained_models = [kept[150] for kept in models.values()]
fresh_models = [kept[0] for kept in models.values()]
firsts = {
    name: [[ids_TK[:, 0] for ids_TK in choices(model, windows_WL)] for model in some]
    for name, some in (("untrained", fresh_models), ("trained", trained_models))
}  # firsts[name][model][layer] is [N], the first choice of each byte
print(f"{labels['byte'].numel():,} bytes, {len(windows_WL)} windows of {windows_WL.shape[1]}")

# %% [markdown]
# ## Do neighbours share an expert?
#
# Mixtral's authors looked for experts of topics and found none. But they found that a token often has the
# same first expert as the token before it: in 24 to 28 % of all cases at layer 15 (table 5). With 8 experts,
# chance is one in eight, 12.5 %. So neighbours share experts twice as often as they should.
#
# Should? Look at the chance first. Here are four experts with loads of 40, 30, 20 and 10 %, and every token
# is dealt out blindly.

# %% tags=["nbval-ignore-output"] why="widget"
predict("12.chance")

# %% [markdown]
# Deal out a lot of tokens, and count.

# %%
dealing = torch.Generator().manual_seed(0)
loads_E = torch.tensor([0.4, 0.3, 0.2, 0.1])
dealt_N = torch.multinomial(loads_E, 100_000, replacement=True, generator=dealing)
alike = (dealt_N[1:] == dealt_N[:-1]).double().mean().item()
print(f"neighbours with the same expert: {alike:.3f}; 1/E is {1 / len(loads_E):.3f}")

# %%
reveal("12.chance")

# %% [markdown]
# Two draws are both expert 0 in $0.4 \cdot 0.4$ of all cases, both expert 1 in $0.3 \cdot 0.3$, and so on.
# The chance is $\sum_e p_e^2$. It is $1/E$ for an even load and *more* for every other. Whoever compares an
# uneven router with $1/E$ sees locality where there is only a popular expert.
#
# Write the measure.

# %% [markdown]
# {{exercise 12.locality}}


# %% answer="12.locality"
def locality(experts_WL: torch.Tensor, lengths_W: torch.Tensor, n_experts: int) -> tuple[float, float]:
    """How often neighbours have the same expert: in the data, and by chance.

    experts_WL: [W, L] the expert of each token of W windows; 0 behind the end of a window.
    lengths_W: [W] how many tokens of each window are real.
    """
    ### BEGIN SOLUTION
    real_WL = torch.arange(experts_WL.shape[1]) < lengths_W[:, None]
    pairs_WL = real_WL[:, 1:]  # a pair is real where its later token is
    same_WL = (experts_WL[:, 1:] == experts_WL[:, :-1]) & pairs_WL
    p_E = torch.bincount(experts_WL[real_WL], minlength=n_experts) / real_WL.sum()
    return (same_WL.sum() / pairs_WL.sum()).item(), p_E.square().sum().item()
    ### END SOLUTION


# %%
check("12.locality")

# %% [markdown]
# Now the models. You have seen one in the blind test. Over five seeds and both layers:

# %% tags=["nbval-ignore-output"] why="widget"
predict("12.locality_learned")

# %% [markdown]
# Your measure, on the three models that were trained above.

# %% tags=["nbval-ignore-output"] why="trained"
neighbours_alike = yours("12.locality")
full_W = torch.full((len(windows_WL),), windows_WL.shape[1])
shown = {}
for name, per_model in firsts.items():
    found = [[neighbours_alike(e.view(windows_WL.shape), full_W, 8) for e in layers] for layers in per_model]
    shown[name] = torch.tensor(found)  # [model, layer, (repeated, by chance)]
    print(f"{name}, by {neighbours_alike.label}")
    for layer in range(2):
        each_model = [f"{100 * a:.0f} % ({100 * b:.0f})" for a, b in shown[name][:, layer].tolist()]
        print(f"  layer {layer}: alike (by chance) ", ", ".join(each_model))

# %%
measured("trained: times chance", shown["trained"][..., 0] / shown["trained"][..., 1], above=1.2)
measured("untrained: times chance", shown["untrained"][..., 0] / shown["untrained"][..., 1], above=1.2)
above_trained = shown["untrained"][..., 0] - shown["trained"][..., 0]
measured("the untrained one has more, by", above_trained, above=0, unit="%")

# %% draw=true tags=["nbval-ignore-output"] why="image"
all_alike = {
    f"{name}, layer {layer}": [100 * model[layer]["neighbours"] for model in described[step]]
    for layer in (0, 1)
    for name, step in (("untrained", "0"), (f"step {steps}", str(steps)))
}
by_chance = {
    f"{name}, layer {layer}": sum(100 * m[layer]["neighbours, by chance"] for m in described[step]) / N_SEEDS
    for layer in (0, 1)
    for name, step in (("untrained", "0"), (f"step {steps}", str(steps)))
}
all_alike["a table over bytes"] = [100 * found for found, _ in report["random tables over bytes"]]
by_chance["a table over bytes"] = 100 * sum(c for _, c in report["random tables over bytes"]) / N_SEEDS
dot_rows(
    all_alike,
    marks=by_chance,
    mark_label="chance at these loads (mean)",
    title="Locality is there before training, and training takes some of it away",
    x_label="neighbours with the same first expert (%)",
    dot_label="a model",
    value_format="{:.0f}",
    x_range=(0, 70),
    caption="Last row: each byte has an expert drawn at random, the same wherever it stands.",
)

# %%
reveal("12.locality_learned")
steps_down = {
    "untrained, less trained": [a["neighbours"] - b["neighbours"] for a, b in zip(first, last, strict=True)],
    "trained, less an equal byte's": [x["neighbours"] - x["neighbours, by the byte"] for x in last],
    "an equal byte's, less chance": [x["neighbours, by the byte"] - x["neighbours, by chance"] for x in last],
}
print("neighbours with the same expert: differences in percentage points, five models of two layers")
for name, found in steps_down.items():
    print(f"  {name:<30}{100 * min(found):4.1f} to {100 * max(found):4.1f}")

# %% [markdown]
# Before training, neighbours are *more* alike. Why should they be? A guess: attention mixes each vector with
# those before it, so neighbours have similar vectors, and a random matrix sends similar vectors the same
# way. A guess can be checked. How similar are the vectors that the router reads?


# %%
@torch.no_grad()
def read_by_router(model, layer):
    """The vectors that a layer's router gets, [W, L, D], each of length 1."""
    read = []
    hook = model.moe_layers[layer].register_forward_hook(lambda module, given, output: read.append(given[0]))
    model(windows_WL)
    hook.remove()
    return F.normalize(read[0], dim=-1)


def cosines(vectors_WLD):
    """Mean cosine of neighbours, and of bytes that have nothing to do with each other."""
    strangers_WLD = vectors_WLD.flatten(0, 1)[torch.randperm(windows_WL.numel(), generator=dealing)]
    near = (vectors_WLD[:, 1:] * vectors_WLD[:, :-1]).sum(dim=-1).mean()
    return near.item(), (vectors_WLD * strangers_WLD.view_as(vectors_WLD)).sum(dim=-1).mean().item()


similar = {
    name: [[cosines(read_by_router(model, layer)) for layer in (0, 1)] for model in some]
    for name, some in (("untrained", fresh_models), ("trained", trained_models))
}

# %% tags=["nbval-ignore-output"] why="trained"
for name, found in similar.items():
    for layer in (0, 1):
        near, far = zip(*(model[layer] for model in found), strict=True)
        print(f"{name}, layer {layer}: cosine of neighbours", " ".join(f"{x:.2f}" for x in near), end="")
        print(";  of any two", " ".join(f"{x:.2f}" for x in far))

# %%
cosine = {name: torch.tensor(found) for name, found in similar.items()}  # [model, layer, (near, far)]
measured("untrained: neighbours, above any two", cosine["untrained"].diff(dim=2).neg(), above=0.15)
measured(
    "layer 1: neighbours, lost by training", (cosine["untrained"] - cosine["trained"])[:, 1, 0], above=0.05
)

# %% [markdown]
# So it is. Neighbours arrive at the untrained router far more alike than strangers do, most of all in layer
# 1, where their locality is largest. Training makes them less alike again.
#
# And what is left after training? A part of it is the letters: a text has "ee" and "  ", and equal bytes
# like equal experts. To see how much, give each byte the expert of *another byte of the same letter*, drawn
# from anywhere in the text. That keeps what the letter says and destroys the context. It is in the last two
# lines of the differences above: some is the letter, and some is the context.

# %% [markdown]
# **Change this.** Ten experts, nine of them equally popular. How popular must the tenth be, before chance
# alone gives the 28 % that Mixtral has? And with 64 experts?

# %% change=true
# Change these and run the cell again.
n_experts = 10
favourite = 0.1  # the share of the popular one

p_E = torch.full((n_experts,), (1 - favourite) / (n_experts - 1))
p_E[0] = favourite
counts_E = (10_000 * p_E).round().long()
print(f"chance: {p_E.square().sum():.3f}; 1/E: {1 / n_experts:.3f}")
print(f"effective experts: {metrics.effective_experts(counts_E):.1f} of {n_experts}")

# %% [markdown] only="solutions"
# With half of all tokens: chance is 0.278, and 1/E still 0.1. With 64 experts a favourite of a half gives
# 0.254, where 1/E is 0.016: sixteen times "chance" without any locality. (Mixtral's table does not say how
# even the loads were.)

# %% only="solutions"
rerun("favourite = 0.5", "favourite = 0.5; n_experts = 64")

# %% [markdown]
# ## When was it decided?
#
# OLMoE's authors kept checkpoints and asked at which point a token's experts are the final ones. They call
# it **router saturation**: the share of the final experts that a token has at some earlier step. After 1 %
# of the training it is about 60 % already (section 5.1). Routers settle early, they conclude.
#
# What is it after 0 %? First the measure.

# %% [markdown]
# {{exercise 12.saturation}}


# %% answer="12.saturation"
def saturation(then_TK: torch.Tensor, finally_TK: torch.Tensor, n_experts: int) -> tuple[float, float]:
    """The share of the final experts that a token had before: in the data, and by chance.

    then_TK, finally_TK: [T, K] different experts in each row, in any order.
    """
    ### BEGIN SOLUTION
    then_TE, finally_TE = (F.one_hot(ids, n_experts).sum(dim=1).double() for ids in (then_TK, finally_TK))
    K = then_TK.shape[1]
    overlap = (then_TE * finally_TE).sum(dim=1).mean() / K
    by_chance = (then_TE.mean(dim=0) * finally_TE.mean(dim=0)).sum() / K
    return overlap.item(), by_chance.item()
    ### END SOLUTION


# %%
check("12.saturation")

# %% tags=["nbval-ignore-output"] why="widget"
predict("12.saturation_start")

# %% [markdown]
# Your measure on the first of the three models, step by step.

# %% tags=["nbval-ignore-output"] why="trained"
overlap_with = yours("12.saturation")
at_step = {step: choices(model, windows_WL) for step, model in models[0].items()}
print(f"overlap with step 150 (by chance), by {overlap_with.label}")
for step, ids in at_step.items():
    pairs = [overlap_with(a, b, 8) for a, b in zip(ids, at_step[150], strict=True)]
    print(
        f"  step {step:>3}:  " + "   ".join(f"layer {n}: {a:.2f} ({b:.2f})" for n, (a, b) in enumerate(pairs))
    )


# %% draw=true tags=["nbval-ignore-output"] why="image"
def mean_curve(runs, layer):
    at = sorted(map(int, runs[0]))
    return at, [sum(run[str(step)][layer][0] for run in runs) / len(runs) for step in at]


line_chart(
    {
        "layer 0": mean_curve(report["saturation"], 0),
        "layer 1": mean_curve(report["saturation"], 1),
        "layer 0, constant rate": mean_curve(report["saturation at a constant rate"], 0),
        "layer 1, constant rate": mean_curve(report["saturation at a constant rate"], 1),
    },
    title="Layer 0 does not start at chance; and how it ends is up to the learning rate",
    x_label="step of training",
    y_label="overlap with the final experts",
    references={"K/E": 0.25},
    y_range=(0, 1),
    width=700,
    caption=f"Means of {N_SEEDS} seeds. At the last step the overlap is 1, because it is the last.",
)

# %%
reveal("12.saturation_start")
falling, constant = report["saturation"], report["saturation at a constant rate"]
print("overlap of the untrained router's choices with the final ones, seed by seed (by chance)")
for layer in (0, 1):
    print(
        f"  layer {layer}:",
        ", ".join(f"{run['0'][layer][0]:.2f} ({run['0'][layer][1]:.2f})" for run in falling),
    )
print("overlap 100 steps before the end, mean of both layers and all seeds")
before_last = str(steps - 100)
for rate, runs in (("falling rate", falling), ("constant rate", constant)):
    print(
        f"  {rate}: {sum(run[before_last][layer][0] for run in runs for layer in (0, 1)) / (2 * N_SEEDS):.2f}"
    )
claim("L87", "imprecise", holds=min(run["0"][0][0] for run in falling) > 0.35)

# %% [markdown]
# In layer 0 the random matrix has a good part of the final choices before the first step. It reads the
# letter itself, training keeps many of its cuts, and so the curve begins high. In layer 1 it begins near
# chance. "60 % after 1 %" can only be read with the number at 0 % beside it.
#
# The other end is worth a look too. With a learning rate that falls, the last steps are small, so of course
# the choices hardly change any more. That is the schedule and not the router. With a constant rate they go
# on changing.
#
# ## Would another seed find the same experts?
#
# If experts found something that is *there* in the text, two trainings should find the same. The numbers of
# the experts mean nothing, of course: expert 3 of one model may be expert 5 of the other. So match them one
# to one such that the two agree on as many tokens as possible.

# %% tags=["nbval-ignore-output"] why="widget"
predict("12.seeds_agree")

# %% tags=["nbval-ignore-output"] why="trained"
mixing = torch.Generator().manual_seed(0)
for layer in (0, 1):
    for one, other in itertools.combinations(range(3), 2):
        a_N, b_N = firsts["trained"][one][layer], firsts["trained"][other][layer]
        matched = metrics.agreement(a_N, b_N, 8)
        blind_share = metrics.agreement(a_N, b_N[torch.randperm(len(b_N), generator=mixing)], 8).share
        print(
            f"layer {layer}, seeds {one} and {other}: agree on {matched.share:.0%} of the bytes "
            f"(shuffled {blind_share:.0%}); matching {matched.matching_E.tolist()}"
        )

# %%
reveal("12.seeds_agree")
pairs_of_seeds = {
    step: [layer for pair in found for layer in pair] for step, found in report["two seeds"].items()
}
for step, found in pairs_of_seeds.items():
    share = [x["agreement"] for x in found]
    mixed = [x["shuffled"] for x in found]
    print(f"step {step}: {len(found) // 2} pairs of seeds, two layers")
    print(f"  agree on {min(share):.0%} to {max(share):.0%} of the bytes, ", end="")
    print(f"shuffled {min(mixed):.0%} to {max(mixed):.0%}")
for layer in (0, 1):
    found = [pair[layer] for pair in report["two seeds"][str(steps)]]
    told, through = (sum(x[key] for x in found) / len(found) for key in ("information", "through the byte"))
    print(f"layer {layer}: one expert tells {told:.2f} bits of the other's, {through:.2f} through the letter")

# %% [markdown]
# They agree on far more than chance, and on less than half. And nearly all of what they agree on goes
# through the letter. Each training cuts the alphabet, each in other places. These experts are no
# discoveries. They are one way of sharing out the work among many.
#
# ## Then are they interchangeable?
#
# If the cut could as well be another one, does the routing matter at all? There is a way to find out that
# needs no correlation: **intervene**. Force another route on a trained model and see what it costs. The
# package has a small tool for it: `forced(layers, change)` puts another rule in the place of the gate for as
# long as a `with` block lasts.

# %%
import inspect

print(inspect.getsource(force.equal_weights))

# %% tags=["nbval-ignore-output"] why="widget"
predict("12.damage")

# %% tags=["nbval-ignore-output"] why="trained"
subject = trained_models[0]
byte_N, mixing = labels["byte"], torch.Generator().manual_seed(1)
changes = {
    "as trained": force.as_trained,
    "the same two, equal weights": force.equal_weights,
    "all eight": force.ranks(*range(8)),
    "first choice only": force.ranks(0),
    "those of another byte of the same letter": force.exchanged(metrics.order_within(byte_N, mixing)),
    "those of any other byte": force.exchanged(torch.randperm(len(byte_N), generator=mixing)),
    "second choice only": force.ranks(1),
    "the same two, experts renumbered": force.renumbered([1, 2, 3, 4, 5, 6, 7, 0]),
}
cost = {}
for name, change in changes.items():
    with force.forced(subject.moe_layers, change):
        cost[name] = byte_bits(subject, windows_WL).mean().item()
for name, bits in cost.items():
    print(f"{name:<42}{bits:.2f} bits per byte, {bits - cost['as trained']:+.2f}")

# %% [markdown]
# After 150 steps there is not so much to ruin yet. The long runs, five seeds:

# %%
interventions = report["interventions"]
lost = {
    name: [found[name] - found["as trained"] for found in interventions]
    for name in interventions[0]
    if name not in ("as trained", "no experts")
}
print(f"bits per byte lost, both layers rerouted, {N_SEEDS} models of {steps} steps")
for name, bits in lost.items():
    print(f"  {name:<20}{min(bits):+.2f} to {max(bits):+.2f}")

# %% draw=true tags=["nbval-ignore-output"] why="image"
dot_rows(
    dict(sorted(lost.items(), key=lambda row: sum(row[1]))),
    title="Wrong experts cost more than a bit, other weights for the right ones a tenth",
    x_label="bits per byte lost, both layers rerouted",
    dot_label="a model",
    value_format="{:.2f}",
    x_range=(0, 2.5),
    caption=f"{N_SEEDS} models of {steps} steps.",
)

# %%
reveal("12.damage")
no_natural_kinds = max(x["agreement"] for x in pairs_of_seeds[str(steps)]) < 0.6
not_exchangeable = min(lost["experts renumbered"]) > 1
claim("L85", "contested", holds=no_natural_kinds and not_exchangeable)

# %% [markdown]
# Read it slowly, for the rows say different things.
#
# - Send each byte to the wrong experts, under other numbers, and the model is ruined. So experts *are*
#   different, and the routing matters very much.
# - Let each byte have the experts of another byte of the same letter. That costs a fraction of it: what
#   *context* adds to the routing, beyond the letter.
# - Ask all eight instead of two: more computing, and a little worse. The other six never learned from such a
#   byte.
#
# "No other training would find these experts" and "this model cannot do without them" are both true. Words
# like *interchangeable* hide the difference.

# %% [markdown]
# **Change this.** Take away one expert. Who had chosen it gets the next best in its place. Which expert of
# which layer does most harm, and is it the one that is chosen most?

# %% change=true tags=["nbval-ignore-output"] why="trained"
# Change these and run the cell again.
layer_number = 0
expert = 0

chosen_TK = choices(subject, windows_WL)[layer_number]
use = (chosen_TK == expert).any(dim=1).double().mean()
with force.forced([subject.moe_layers[layer_number]], force.without(expert)):
    less = byte_bits(subject, windows_WL)
harm = (less - byte_bits(subject, windows_WL)).mean(dim=1).view(3, -1).mean(dim=1)
print(f"expert {expert} of layer {layer_number}, chosen by {use:.0%} of the bytes; without it, bits lost in")
for name, bits in zip(probe.names, harm.tolist(), strict=True):
    print(f"  {name:<10}{bits:+.3f}")

# %% [markdown] only="solutions"
# Expert 4 of layer 0 by far: without it code loses 0.38 bits and the other two kinds 0.03. It is in the
# choice of a quarter of the bytes. Expert 5 is in the choice of a third and is missed much less, and by code
# not at all. In layer 1 nobody is missed by more than 0.04 bits. How often an expert is chosen does not say
# what it is worth.

# %% only="solutions" tags=["nbval-ignore-output"] why="trained"
rerun("expert = 4", "expert = 5", "layer_number = 1")

# %% [markdown]
# ## Does the router choose well?
#
# The routing matters. But are its choices *good* ones? In the last layer we can try them all: 8 experts make
# 28 pairs, so for each byte we force every one of the 28 and look at what the next byte costs. Then: which
# share of the other pairs does the router's own pair beat? Half would be luck.

# %%
every_pair = report["all pairs"]
print("bits per byte, seed by seed")
for name in ("router", "a random pair", "the best fixed pair", "hindsight"):
    print(f"  {name:<22}", " ".join(f"{found[name]:.2f}" for found in every_pair))
print("its pair beats, of the others: ", " ".join(f"{found['better than']:.0%}" for found in every_pair))
print("its pair is the best of all 28:", " ".join(f"{found['the best']:.0%}" for found in every_pair))

# %% [markdown]
# Better than luck, and far from the best. But what is "hindsight"? It is the smallest of 28 numbers for each
# byte, picked when the answer was known. With 28 tries something will do well by accident. Nothing says that
# any router could find it.
#
# Now a finding that was published about large models (arXiv 2605.07260): on the tokens that a model finds
# hard, its routing is said to be no better than chance. Let us look at ours. Sort all bytes by what they
# cost, in four quarters.

# %% tags=["nbval-ignore-output"] why="widget"
predict("12.hard_tokens")

# %%
ways_to_sort = ("its own bits", "another model's bits", "the mean over all pairs")
beaten = {
    way: torch.tensor([found["quarters by"][way] for found in every_pair]) for way in ways_to_sort
}  # [model, quarter]
print("hardest quarter: share of the other pairs beaten, seed by seed")
for way, share in beaten.items():
    above = int((share[:, 3] > 0.5).sum())
    numbers = " ".join(f"{x:.0%}" for x in share[:, 3].tolist())
    print(f"  by {way:<26}{numbers}   more than half in {above} of {N_SEEDS}")

# %% draw=true tags=["nbval-ignore-output"] why="image"
line_chart(
    {f"by {way}": ([1, 2, 3, 4], (100 * share.mean(dim=0)).tolist()) for way, share in beaten.items()},
    title="How useless the router looks on hard bytes depends on who says what is hard",
    x_label="quarter of the bytes, easiest to hardest",
    y_label="pairs that the router's beats (%)",
    references={"luck": 50},
    y_range=(40, 80),
    width=700,
    caption=f"Means of {N_SEEDS} models. Three ways to sort the same bytes.",
)

# %%
reveal("12.hard_tokens")
by_itself, by_another = beaten["its own bits"][:, 3], beaten["another model's bits"][:, 3]
print(
    "lower when sorted by its own bits, seed by seed:", " ".join(f"{x:.1%}" for x in by_another - by_itself)
)

# %% [markdown]
# Sorted by the *router's own* loss, its pair looks no better than luck on the hardest quarter, and in most
# models worse. Now let *another model* say which bytes are hard, one from another seed. The same bytes, the
# same pairs, and the router does better, in every model. What happened?
#
# Whoever sorts by the router's own loss collects in the last quarter the bytes on which its pair happened to
# do badly. That is **selecting on the outcome**. How much can it do by itself? Take a router that knows
# nothing: it *draws lots* among the 28 pairs. It cannot be good on easy bytes and bad on hard ones. (All
# pairs, forced on every byte in the last layer of our first model.)

# %%
pair_list, paid = list(itertools.combinations(range(8), 2)), []
for pair in each(pair_list, "pair"):
    with force.forced([subject.moe_layers[-1]], force.given(torch.tensor(pair))):
        paid.append(byte_bits(subject, windows_WL).flatten())
paid_PN = torch.stack(paid)
lots_1N = torch.randint(28, (1, paid_PN.shape[1]), generator=torch.Generator().manual_seed(3))
drawn_N = paid_PN.gather(0, lots_1N)[0]
beats_N = (paid_PN > drawn_N).sum(dim=0) / 27  # the share of the other pairs that it beats


def by_quarter(order_N):
    """Mean share of beaten pairs in each quarter, easiest first."""
    return torch.stack([beats_N[places].mean() for places in order_N.argsort().chunk(4)])


blind_by_itself, blind_by_all = by_quarter(drawn_N), by_quarter(paid_PN.mean(dim=0))

# %% tags=["nbval-ignore-output"] why="trained"
print("a router that draws lots: share of the other pairs beaten, quarter by quarter")
print("  sorted by its own bits:           ", " ".join(f"{x:.0%}" for x in blind_by_itself))
print("  sorted by the mean over all pairs:", " ".join(f"{x:.0%}" for x in blind_by_all))

# %%
measured(
    "by lot, its own bits: easiest quarter less hardest", blind_by_itself[0] - blind_by_itself[3], above=0.05
)
measured(
    "by lot, mean over all pairs: largest distance from a half", (blind_by_all - 0.5).abs().max(), below=0.03
)

# %% [markdown]
# Drawing lots is no worse on hard bytes than on easy ones: sorted by what *all* pairs pay, it is a half
# everywhere. Sorted by what it paid itself, it seems to be clever where it is easy and worse than luck where
# it is hard. The sorting does that, and nothing else.
#
# For our real router it is not all of the fall. On bytes that are hard for anybody its choice of experts
# helps little, in every order. But how little is partly made by the sorting. Whether the published numbers
# have this in them we cannot tell; that paper sorts by confidence. We can say what to ask.
#
# ## How narrow is what they read?
#
# Lesson 11 left a question open. Experts may work in a latent, if what they need lies in few directions.
# Does it? Our models have 64 numbers for a byte. We look in how many directions lies most of what a MoE
# layer reads (nine tenths of the squared length, and ninety-nine hundredths). Then we leave the other
# directions out, in both layers, router and experts alike, and train nothing anew.

# %% tags=["nbval-ignore-output"] why="widget"
predict("12.directions")

# %% [markdown]
# Half of the directions, a quarter, an eighth; and as many drawn at random.

# %%
D = subject.config.d_model


@torch.no_grad()
def spectrum(model, layer):
    """Squared length in each direction of what a layer reads, the largest first, and the directions."""
    read = []
    hook = model.moe_layers[layer].register_forward_hook(lambda module, given, output: read.append(given[0]))
    model(windows_WL)
    hook.remove()
    _, lengths_D, rows_DD = torch.linalg.svd(read[0].flatten(0, -2), full_matrices=False)
    return lengths_D.square(), rows_DD


def bits_lost(model, kept_LRD):
    """What the next byte costs more if each layer reads only the part that lies in some directions."""
    hooks = [
        layer.register_forward_pre_hook(lambda module, given, kept_RD=kept_RD: given[0] @ kept_RD.T @ kept_RD)
        for layer, kept_RD in zip(model.moe_layers, kept_LRD, strict=True)
    ]
    try:
        less = byte_bits(model, windows_WL).mean()
    finally:
        for hook in hooks:
            hook.remove()
    return (less - byte_bits(model, windows_WL).mean()).item()


chance = torch.Generator().manual_seed(0)
needed, paid = {}, {width: [] for width in (D // 8, D // 4, D // 2)}
by_lot = {width: [] for width in paid}
for n, model in enumerate(each(trained_models, "model")):
    squares, rows = zip(*(spectrum(model, layer) for layer in (0, 1)), strict=True)
    for layer, squares_D in enumerate(squares):
        share_D = squares_D.cumsum(0) / squares_D.sum()
        needed[n, layer] = [int((share_D < share).sum()) + 1 for share in (0.9, 0.99)]
    for width in paid:
        paid[width].append(bits_lost(model, [rows_DD[:width] for rows_DD in rows]))
        drawn = [torch.linalg.qr(torch.randn(D, width, generator=chance))[0].T for _ in rows]
        by_lot[width].append(bits_lost(model, drawn))

# %% tags=["nbval-ignore-output"] why="trained"
for place, share in enumerate(("nine tenths", "99 %")):
    counts = (pair[place] for pair in needed.values())
    print(f"of {D} directions, layer by layer: {share} of the squared length in", *counts)
print("bits per byte lost, model by model")
for width in paid:
    of_these, drawn = (" ".join(f"{x:.3f}" for x in some[width]) for some in (paid, by_lot))
    print(f"  {width:>2} directions: {of_these}   drawn at random: {drawn}")

# %%
measured("directions with nine tenths", torch.tensor([a for a, _ in needed.values()]), below=D // 2)
measured("directions with 99 %", torch.tensor([b for _, b in needed.values()]), above=D // 2)
measured("bits lost with half of the directions", torch.tensor(paid[D // 2]), below=0.05)
measured("with half of them drawn at random", torch.tensor(by_lot[D // 2]), above=0.2)
measured("with an eighth", torch.tensor(paid[D // 8]), above=0.15)

# %%
reveal("12.directions")

# %% [markdown]
# "The rank" of real data is not a number: it is 20 or 45 of 64, depending on what one calls the rest. What
# settles it is the loss. Half of the directions are enough here, and a quarter costs a tenth of a bit, before
# any training that would make up for it. So a latent of a half is a fair bet for these models, and an
# eighth is not. Three small models, 150 steps: about a large one it says how to ask.
#
# ## Who is chosen with whom?
#
# A token has K experts. Do some of them form teams? For each two experts count the tokens that have both. A
# popular expert is in many pairs because it is popular. So again: compared with what?

# %% [markdown]
# {{puzzle 12.p_common}}


# %% puzzle="12.p_common"
@puzzle("12.p_common")
def common_songs(likes_NM):
    ### BEGIN SOLUTION
    return likes_NM @ likes_NM.T
    ### END SOLUTION


# %% [markdown]
# {{exercise 12.coactivation}}


# %% answer="12.coactivation"
def coactivation(topk_ids_TK: torch.Tensor, n_experts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the tokens of expert i, the share that has j too; and that over what the loads alone would give.

    topk_ids_TK: [T, K] different experts in each row; every expert occurs.
    Returns given_EE and lift_EE, both [E, E] with 0 on the diagonal.
    """
    ### BEGIN SOLUTION
    chosen_TE = F.one_hot(topk_ids_TK, n_experts).sum(dim=1).double()
    n_E = chosen_TE.sum(dim=0)
    given_EE = (chosen_TE.T @ chosen_TE) / n_E[:, None]
    given_EE.fill_diagonal_(0)
    expected_EE = (topk_ids_TK.shape[1] - 1) * n_E[None, :] / (n_E.sum() - n_E)[:, None]
    return given_EE, given_EE / expected_EE
    ### END SOLUTION


# %%
check("12.coactivation")

# %% tags=["nbval-ignore-output"] why="trained"
teams = yours("12.coactivation")
ids_TK = choices(trained_models[0], windows_WL)[1]
given_EE, lift_EE = teams(ids_TK, 8)
fresh_lift_EE = teams(choices(fresh_models[0], windows_WL)[1], 8)[1]
print(f"largest lift by {teams.label}: trained {lift_EE.max():.1f}, untrained {fresh_lift_EE.max():.1f}")

# %% draw=true tags=["nbval-ignore-output"] why="image"
heat_map(
    lift_EE.tolist(),
    rows=[f"with expert {e}" for e in range(8)],
    title=f"Some pairs are {lift_EE.max():.1f} times as frequent as their loads explain",
    row_label="of the bytes",
    column_label="those that have this expert too",
    unit="times what the loads give",
    value_format="{:.1f}",
    highest=4,
)

# %%
teams_of = {step: [model[1] for model in found] for step, found in report["pairs of experts"].items()}
print("layer 1, seed by seed: largest lift, and entropy of the 28 pairs in bits")
for step, found in teams_of.items():
    print(f"  step {step:>3}:", "  ".join(f"{x['largest lift']:.1f}, {x['entropy']:.2f}" for x in found))
print(f"  all pairs alike: 1.0, {math.log2(28):.2f}")

# %% [markdown]
# Teams, then? The untrained routers have them too, and in most of the models more than after training. Two
# rows of a random matrix that point in similar directions are large together. A lift by itself shows that
# logits are correlated, and random ones are.

# %% [markdown]
# **Change this.** Deal out pairs blindly and look for the largest lift. How many tokens does it take until
# chance alone no longer makes a "team" of 1.5?

# %% change=true
# Change these and run the cell again.
n_tokens = 100
n_experts = 8

dealing = torch.Generator().manual_seed(0)
blind_TK = torch.rand(n_tokens, n_experts, generator=dealing).topk(2).indices
blind_lift_EE = teams(blind_TK, n_experts)[1]
pairs = blind_lift_EE[~torch.eye(n_experts, dtype=torch.bool)]
print(f"{n_tokens:,} tokens dealt out blindly: lift from {pairs.min():.2f} to {pairs.max():.2f}")

# %% [markdown] only="solutions"
# With 100 tokens a pair comes to 1.75 by chance; with 500 the largest is 1.47, with 1,000 it is 1.29. But
# with 64 experts and 1,000 tokens there is a "team" of 8.5: a token has one of 2,016 pairs, so most pairs
# occur once or never, and once is far more than expected.

# %% only="solutions"
rerun("n_tokens = 500", "n_tokens = 1_000", "n_tokens = 1_000; n_experts = 64")

# %% [markdown]
# ## Is there an expert of code?
#
# Now the sentence that everybody wants to be true. Lesson 10 measured how many bits the expert tells about
# the kind of text, and found it well above chance. But an expert that likes underscores tells about code
# without knowing anything of it. The letter has to be taken out: among all the letters e, does the expert
# still know where it is?

# %% [markdown]
# {{puzzle 12.p_kinds}}


# %% puzzle="12.p_kinds"
@puzzle("12.p_kinds")
def different_tickets(colour_N, number_N):
    ### BEGIN SOLUTION
    return len(set(zip(colour_N.tolist(), number_N.tolist(), strict=True)))
    ### END SOLUTION


# %% [markdown]
# {{exercise 12.beyond_the_token}}


# %% answer="12.beyond_the_token"
def beyond_the_token(experts_N: torch.Tensor, tokens_N: torch.Tensor, domains_N: torch.Tensor) -> float:
    """Bits that the expert tells about the domain to someone who knows the token already.

    experts_N, tokens_N, domains_N: [N] integers, 0 or more.
    """

    ### BEGIN SOLUTION
    def entropy(*labels):
        together_N = torch.zeros_like(experts_N)
        for label_N in labels:  # a number of its own for each combination
            together_N = together_N * (int(label_N.max()) + 1) + label_N
        p = together_N.unique(return_counts=True)[1].double() / len(experts_N)
        return -(p * p.log2()).sum().item()

    both = entropy(experts_N, tokens_N) + entropy(domains_N, tokens_N)
    return both - entropy(experts_N, tokens_N, domains_N) - entropy(tokens_N)
    ### END SOLUTION


# %%
check("12.beyond_the_token")

# %% [markdown]
# Here is one trace, layer 0 of one model, and one question: *did its experts specialise in kinds of text?*
# Four measures.

# %% tags=["nbval-ignore-output"] why="trained"
beyond = yours("12.beyond_the_token")
trace_N, chosen_TK = firsts["trained"][0][0], choices(subject, windows_WL)[0]
before_N = firsts["untrained"][0][0]
kind_N, mixing = labels["domain"], torch.Generator().manual_seed(2)


def above_chance(experts_N):
    """What the expert tells of the kind of text beyond the letter, less what shuffling leaves."""
    shuffles = [beyond(experts_N, byte_N, kind_N[metrics.order_within(byte_N, mixing)]) for _ in range(5)]
    return beyond(experts_N, byte_N, kind_N) - sum(shuffles) / len(shuffles)


use_EC = torch.stack(
    [(chosen_TK == e).any(dim=1).double().view(3, -1).mean(dim=1) for e in range(8)]
)  # the share of each kind's bytes that an expert gets
unequal = (use_EC.max(dim=1).values / use_EC.min(dim=1).values).max()
about_kind, about_byte = (metrics.mutual_information(trace_N, labels[name]) for name in ("domain", "byte"))
chance = metrics.shuffled_information(trace_N, kind_N, mixing, n_shuffles=5).mean()
print(f"1. shares:       the most unequal expert gets {unequal:.1f} times as much of one kind as of another")
print(f"2. information:  the expert tells {about_kind:.3f} bits of the kind; by chance {chance:.4f}")
print(f"3. compared:     of the letter {about_byte:.2f} bits, {about_byte / about_kind:.0f} times as much")
print(
    f"4. beyond:       of the kind past the letter {above_chance(trace_N):.3f} bits; "
    f"before training {above_chance(before_N):.3f}"
)

# %% [markdown]
# The same trace. By the first measure experts have their favourite kind of text, and clearly. By the second
# the kind of text shows, many times above chance. By the third it is next to nothing beside the letter. By
# the fourth something is there beyond the letter, and then one looks at the untrained router.
#
# None of the four is wrong. They answer four questions, and "do experts specialise?" is none of these. With
# five seeds:

# %%
for step in ("0", str(steps)):
    found = layers_of[step]
    print(f"step {step}, {N_SEEDS} models of two layers, bits that the first expert tells")
    for name in (
        "byte",
        "previous byte",
        "domain",
        "domain, through the byte",
        "domain, beyond the byte",
        "position",
    ):
        values = [layer[name] for layer in found]
        by_chance = (
            f"; by chance {max(x[f'{name}, by chance'] for x in found):.3f}"
            if f"{name}, by chance" in found[0]
            else ""
        )
        print(f"  {name:<26}{min(values):.3f} to {max(values):.3f}{by_chance}")

# %% [markdown]
# The fifth measure is what the previous section did: **take the expert away** and see who misses it.

# %%
removals = [
    (seed, layer, expert, row["use"], row["lost"])
    for seed, layers in enumerate(report["removals"])
    for layer, experts in enumerate(layers)
    for expert, row in enumerate(experts)
]


def ratio_of(lost):
    """How much more the kind of text that misses an expert most loses than the one that misses it least."""
    return max(lost) / max(min(lost), 0.01)  # a hundredth of a bit is as good as nothing


removals.sort(key=lambda row: -ratio_of(row[4]))
print(
    "the five most one-sided of",
    len(removals),
    "experts: share of each kind that uses it; bits lost without it",
)
print(" " * 27 + "   ".join(f"{name:<14}" for name in probe.names))
for seed, layer, expert, use, lost_bits in removals[:5]:
    both = "   ".join(f"{u:>4.0%} {bits:>+8.3f} " for u, bits in zip(use, lost_bits, strict=True))
    print(f"seed {seed}, layer {layer}, expert {expert}   {both}")
one_sided = sum(ratio_of(row[4]) > 3 for row in removals)
print(
    f"{one_sided} of {len(removals)} experts cost one kind of text more than 3 times what they cost another"
)

# %% [markdown]
# There they are: experts that code cannot do without, and the others hardly notice. Are *these* experts of
# code? Our live model has one as well. Take the expert of layer 0 that gets most of the code, compared with
# English, and look at what it reads of the spaces.

# %% tags=["nbval-ignore-output"] why="trained"
star = int((use_EC[:, 1] / use_EC[:, 0]).argmax())
reads_N = (chosen_TK == star).any(dim=1)
is_space_N, after_space_N = byte_N == ord(" "), labels["previous byte"] == ord(" ")
print(f"expert {star} of layer 0 reads")
for what, which_N in (("after a space", after_space_N), ("after anything else", ~after_space_N)):
    for n, name in enumerate(probe.names):
        places_N = (kind_N == n) & is_space_N & which_N
        if places_N.any():
            print(
                f"  {name:<8} {int((reads_N & places_N).sum()):>5} of {int(places_N.sum()):>5} spaces {what}"
            )

# %%
second_N = is_space_N & after_space_N
measured(
    "English: share of its second spaces that this expert reads",
    reads_N[second_N & (kind_N == 0)].double().mean(),
    above=0.8,
    unit="%",
)

# %% [markdown]
# It is no expert of code. It is the expert of the *second space*. Code is indented, so code is full of
# second spaces, and without their expert code suffers. English has few of them. Where it has one, the same
# expert reads it.
#
# In large models the two are close as well. OLMoE has an expert that nearly all of arXiv goes to, and its
# authors add that domains are known by their words: specialising in domains and in vocabulary hang together
# (sections 5.3 and 5.4).

# %%
strongest = ratio_of(removals[0][4])
letter_first = min(x["byte"] / x["domain"] for x in last)
print(f"of the letter an expert tells at least {letter_first:.0f} times as much as of the kind of text")
claim("L84", "contested", holds=strongest > 3 and letter_first > 5)

# %% [markdown]
# ### And balance?
#
# What experts may become depends on what the balancing loss forbids. If the load has to be even *within each
# window*, and a window holds one kind of text, no expert can be kept for a kind. Lesson 10 saw this with
# three seeds. Here are five, with the letter taken out: the same small model, a stronger balancing loss
# ($\alpha$ = 0.1), even over the batch or even in each window.

# %%
scopes = report["scopes"]
scope_of = {
    f"{name}, {part}": [sum(layer[key] for layer in run["layers"]) / 2 for run in runs]
    for name, runs in scopes.items()
    for part, key in (("all", "domain"), ("beyond the letter", "domain, beyond the byte"))
}  # mean of the two layers, model by model
scoped_steps = report["configs"]["scopes"]["steps"]
for name, runs in scopes.items():
    bits = [run["bits"] for run in runs]
    print(f"balanced {name}: {min(bits):.2f} to {max(bits):.2f} bits per byte", end="")
    print(f", {len(runs)} models of {scoped_steps} steps")

# %% draw=true tags=["nbval-ignore-output"] why="image"
dot_rows(
    scope_of,
    title="Balanced in each window, experts tell less about the kind of text",
    x_label="bits about the kind of text, mean of two layers",
    dot_label="a model",
    value_format="{:.3f}",
    x_range=(0, 1.1 * max(map(max, scope_of.values()))),
)

# %%
batch, window = (torch.tensor(scope_of[f"{name}, all"]) for name in scopes)
batch_beyond, window_beyond = (torch.tensor(scope_of[f"{name}, beyond the letter"]) for name in scopes)
print("bits about the kind of text, balanced over the batch against in each window, seed by seed")
print("  all:              ", " ".join(f"{a:.3f}/{b:.3f}" for a, b in zip(batch, window, strict=True)))
print(
    "  beyond the letter:",
    " ".join(f"{a:.3f}/{b:.3f}" for a, b in zip(batch_beyond, window_beyond, strict=True)),
)
scope_decides = bool((batch > window).all() and (batch_beyond > window_beyond).all())
claim("L57", "imprecise", holds=scope_decides)
claim(
    "L86", "imprecise", holds=scope_decides and report["configs"]["scopes"]["model"]["n_shared_experts"] == 0
)

# %% [markdown]
# With the same loss, the experts of one model know several times as much about the kind of text as those of
# the other, and more also beyond the letter. Nobody who reports "our experts specialise", or "they do not",
# can leave out over which tokens the load was balanced. (DeepSeek-V3's report compares the same two scopes
# in section 4.5.3, and finds more specialised experts with the wider one.)
#
# ## "The part for Python rests while it reads French"
#
# This is how Mixture-of-Experts is often motivated: you do not need every parameter for every token, so why
# compute with all of them? The first half is easy to test, in a model *without* experts. A hidden unit of a
# dense network that is 0 can be left out. So take a dense model of the same text, keep for each byte the
# quarter of the hidden units that contribute most to it, and set the others to 0.
#
# And the second half? Then there should be units that rest in English and work in code.

# %% tags=["nbval-ignore-output"] why="widget"
predict("12.idle_units")

# %%
dense, quarter = report["dense"], "32"  # of 128 units
lost_units = {name: [model["lost"][quarter][name] for model in dense] for name in dense[0]["lost"][quarter]}
print(f"a quarter of the units kept; bits per byte lost, {len(dense)} models")
for name, bits in lost_units.items():
    print(f"  {name:<16}{min(bits):.2f} to {max(bits):.2f}")

# %% draw=true tags=["nbval-ignore-output"] why="image"
bar_chart(
    [sum(bits) / len(bits) for bits in lost_units.values()],
    names=["each byte's own", "its kind's", "another kind's", "all kinds'"],
    title="A quarter of the units is enough for a byte, if it is that byte's own quarter",
    x_label="which quarter of the hidden units is kept",
    y_label="bits per byte lost",
    value_format="{:.2f}",
    caption=f"Dense model, 128 hidden units in each of two layers; means of {len(dense)} seeds.",
)

# %%
reveal("12.idle_units")
own, kinds = lost_units["each byte's own"], lost_units["its kind's"]
idle = [count for model in dense for count in model["idle in English, busy in code"]]
print("units of 128 that rest in English and work in code, layer by layer:", *idle)
dearer = [kind / byte for kind, byte in zip(kinds, own, strict=True)]
print("its kind's quarter against its own, bits lost:", ", ".join(f"{times:.0f} times" for times in dearer))
claim("L12", "contested", holds=max(own) < 0.1 and min(dearer) > 10 and max(idle) == 0)

# %% [markdown]
# Both halves, measured. A *token* needs few of the units. A *kind of text* needs all of them: no unit has a
# subject that it waits for. (And the few were found with hindsight: to know the largest quarter, all units
# had to be computed. A router has to guess it beforehand. That is its whole job.)
#
# ## Your verdict
#
# You have measured neighbours, saturation, agreement, teams and information, each against what belongs to
# it. Now put it together: a function that looks at a log and says what the router goes by.

# %% [markdown]
# {{exercise 12.what_is_it}}


# %% answer="12.what_is_it"
def what_is_it(trained_N, untrained_N, tokens_N, domains_N, positions_N):
    """Name what a trained router goes by: "domain", "position", "token", "untrained" or "nothing".

    trained_N, untrained_N: [N] the expert of each token. tokens_N, domains_N, positions_N: [N] its labels.
    """

    ### BEGIN SOLUTION
    def entropy(*labels):
        together_N = torch.zeros_like(trained_N)
        for label_N in labels:  # a number of its own for each combination
            together_N = together_N * (int(label_N.max()) + 1) + label_N
        p = together_N.unique(return_counts=True)[1].double() / len(trained_N)
        return -(p * p.log2()).sum().item()

    def shared(a_N, b_N):
        return entropy(a_N) + entropy(b_N) - entropy(a_N, b_N)

    def beyond_token(labels_N):
        both = entropy(trained_N, tokens_N) + entropy(labels_N, tokens_N)
        return both - entropy(trained_N, labels_N, tokens_N) - entropy(tokens_N)

    draws = torch.Generator().manual_seed(0)

    def within_tokens(labels_N):
        order = torch.randperm(len(labels_N), generator=draws)
        moved_N = torch.empty_like(labels_N)
        moved_N[tokens_N.argsort(stable=True)] = labels_N[order[tokens_N[order].argsort(stable=True)]]
        return moved_N

    def anywhere(labels_N):
        return labels_N[torch.randperm(len(labels_N), generator=draws)]

    def above_chance(measure, labels_N, shuffle):
        return measure(labels_N) - sum(measure(shuffle(labels_N)) for _ in range(5)) / 5

    if above_chance(beyond_token, domains_N, within_tokens) > 0.1:
        return "domain"
    if above_chance(lambda labels_N: shared(trained_N, labels_N), positions_N, anywhere) > 0.1:
        return "position"
    token = above_chance(lambda labels_N: shared(trained_N, labels_N), tokens_N, anywhere)
    before = above_chance(lambda labels_N: shared(untrained_N, labels_N), tokens_N, anywhere)
    if token > 0.1:
        return "token" if token > before + 0.2 else "untrained"
    return "nothing"
    ### END SOLUTION


# %%
check("12.what_is_it")

# %% [markdown]
# And your verdict on our own three models, both layers of each. Beside it, the same question about the
# routers that never trained: each is judged as if it were the trained one.

# %% tags=["nbval-ignore-output"] why="trained"
verdict = yours("12.what_is_it")
verdicts = {
    name: [
        [
            verdict(e_N, before_N, byte_N, kind_N, labels["position"])
            for e_N, before_N in zip(*pair, strict=True)
        ]
        for pair in zip(firsts[name], firsts["untrained"], strict=True)
    ]
    for name in ("trained", "untrained")
}
for name, found in verdicts.items():
    print(f"{name:<10}", "; ".join(f"seed {seed}: {a}, {b}" for seed, (a, b) in enumerate(found)))

# %%
by_domain_untrained = sum(one == "domain" for found in verdicts["untrained"] for one in found)
measured("layers that never trained and go by the domain", by_domain_untrained, of=6, at_least=3)

# %% [markdown]
# Look at the second line. By our rule, routers that have learned *nothing* go by the domain. The rule asked
# for chance and for the token, as it should. But it asked the untrained router about the token only. So its
# word "domain" says that there is news of the domain, and not that it was learned. Random attention already
# mixes the bytes around into each vector, and those differ from domain to domain.
#
# One comparison was left out, and the verdict came out wrong with all the others in place. How would you
# mend the rule?
#
# ## Your own text
#
# Bring a text, and look at its experts. It may be a letter, a poem, a recipe, some code. The model reads
# bytes, knows English, code and names of characters, and was trained for 150 steps; do not expect it to
# understand.

# %% [markdown]
# **Change this.** Put in a text of yours. What does your locality say of it, and how much of that is chance?
# Is a short text enough to tell?

# %% change=true tags=["nbval-ignore-output"] why="trained"
# Change these and run the cell again.
own_text = "Take two eggs, a cup of flour, a cup of milk. Stir. Wait. Stir again, and bake until golden."
which_layer = 0

own_steps = [step for step in KEPT if step in (0, 25, 150)]
routed = routed_text([models[0][step] for step in own_steps], own_text)
for step, layers in zip(own_steps, routed.ids, strict=True):
    first_N = torch.tensor(layers[which_layer])[:, 0]
    padded_WL = F.pad(first_N, (0, -len(first_N) % 64)).view(-1, 64)
    lengths_W = (len(first_N) - 64 * torch.arange(len(padded_WL))).clamp(max=64)
    repeated, by_chance = neighbours_alike(padded_WL, lengths_W, 8)
    print(f"step {step:>3}: neighbours alike {repeated:.0%}, by chance {by_chance:.0%}, {len(first_N)} bytes")

# %% [markdown] only="solutions"
# Of the recipe's 92 bytes 17 % are alike at step 150, and chance gives 16 %: nothing to be seen, in either
# layer. Of nineteen bytes one sees whatever one likes, at step 0 nearly twice what chance gives. With so few
# pairs each of them is worth several percent. A short text is an anecdote; the probe has 12,288 bytes.

# %% only="solutions" tags=["nbval-ignore-output"] why="trained"
rerun("which_layer = 1", 'own_text = "To be, or not to be"')

# %% [markdown]
# The strip shows the same text, byte by byte. Choose an expert: what does it read? Then go back to before
# training. (Have a look at what you would have concluded from one of the two alone.)

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import RoutingStrip
from moe_lessons.explore.routing_strip.state import make_strip

RoutingStrip(
    make_strip(
        routed.tokens,
        routed.ids,
        routed.weights,
        n_experts=8,
        steps=[f"step {step}" for step in own_steps],
        source="Your text in the first of the lesson's models.",
    )
)

# %% [markdown]
# ### Any model
#
# Everything here was done to a model of two layers. Large ones can be looked at in the same way. The course
# has a microscope for it: it runs a model over your text files, catches what each router chooses, and writes
# a page, with shuffled labels and an untrained copy beside every number. In a terminal:
#
# ```
# moe-lessons inspect path/to/model --text prose.txt code.py
# ```
#
# The path may be a folder of a Hugging Face model, or one of your own from lesson 10. In Python it is two
# calls:

# %%
from moe_lessons.inspect import Trace, findings, record
from moe_lessons.inspect.texts import Cut

cut = Cut(
    list(windows_WL), [kind for kind in range(3) for _ in range(len(windows_WL) // 3)], list(probe.names)
)
trace = Trace(
    "a model of lesson 12",
    "moe-lessons",
    byte_N,
    labels["position"],
    kind_N,
    [chr(byte) for byte in byte_N.tolist()],
    list(probe.names),
    record(subject, cut),
    record(fresh_models[0], cut),
)
found_layers = findings(trace)["layers"]

# %% tags=["nbval-ignore-output"] why="trained"
for n, layer in enumerate(found_layers):
    print(f"layer {n}, share of the choice that is told by")
    for name, told in layer["information"].items():
        was = layer["untrained"]["information"][name]["share"]
        print(
            f"  {name:<10}{told['share']:>5.0%}   by chance {told['chance_share']:.0%}, untrained {was:.0%}"
        )

# %% [markdown]
# ## What you take along
#
# - Order is no sign of learning. Put the untrained router beside every picture.
# - Chance has to know the loads: $\sum p^2$ for neighbours, $\frac1K\sum a_e b_e$ for overlap, and never just
#   $1/E$.
# - Take out what the token gives away before you speak of domains, topics or languages.
# - Another seed cuts the work in other places. What two seeds agree on is the letter, here.
# - Correlations suggest, interventions show: force a route, take an expert away, and read the loss.
# - Do not sort by the outcome and then be surprised by the outcome.
# - "Do experts specialise?" is not a question until it says: in what, measured how, compared with what?
#
# ### Check yourself

# %% tags=["nbval-ignore-output"] why="widget"
quiz("12.two_halves")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("12.sixty_percent")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("12.code_expert")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("12.hindsight")

# %%
claims_table()

# %%
score()
