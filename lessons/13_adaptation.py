# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("13_adaptation")

# %% [markdown]
# Few people train a model from nothing. Most have one, and want another: one that knows their texts, one with
# experts, one with fewer of them. In this lesson you change trained models in four ways, and each time look
# at what breaks. Much of what goes wrong makes no noise: no error, no NaN, and a loss that looks fine.
#
# Shapes: **T** tokens, **D** width, **E** experts, **K** a token, **F** hidden units of an expert, and where
# an expert is cut into slices, **G** of them. Losses are in bits per byte, on text that nothing was trained
# on.

# %%
import json
from contextlib import ExitStack
from importlib.resources import files

import torch
import torch.nn.functional as F

from moe_lessons import adaptation
from moe_lessons.adaptation.rebuilding import with_weights
from moe_lessons.data import Corpus, as_tokens, language_reference, standard_library, training_batch
from moe_lessons.experts import swiglu
from moe_lessons.inspect.learning import SMALL, byte_bits, character_names, train_and_keep
from moe_lessons.model import MoETransformer, parameter_counts
from moe_lessons.routing import Routing
from moe_lessons.routing import forced as force
from moe_lessons.steps import each
from moe_lessons.svg import bar_chart, dot_rows, line_chart
from moe_lessons.training.run import Run

torch.set_num_threads(1)  # everything here is small: more threads would only wait for each other

# %% [markdown]
# Two small models of two layers, trained for a moment on English and on the names of Unicode characters: one
# with 8 experts of 64 units, 2 of them for each byte, and a dense one of 128 units, which does the same work.
# Neither has seen any code. In all that follows, old text is what they were trained on, and new text is
# Python.


# %% tags=["nbval-ignore-output"] why="trained"
def halves(n_train, n_held=4_096):
    """English and names, equally much of each; the end is held back."""
    texts = language_reference(), character_names()
    train_N = torch.cat([as_tokens(text[:n_train]) for text in texts])
    held_N = torch.cat([as_tokens(text[n_train:][:n_held]) for text in texts])
    return Corpus("English and names", train_N, held_N, sha256="")


old_text = halves(200_000)
old_WL = old_text.validation_M.view(-1, 64).long()
code = standard_library()
new_WL = as_tokens(code[200_000:204_096]).view(-1, 64).long()
BASE = SMALL.override(steps=120)
DENSE = {"n_experts": 1, "top_k": 1, "d_expert": 128, "balancing": "none", "z_loss_weight": 0.0}
sparse = train_and_keep(BASE, old_text, (120,))[120]
dense = train_and_keep(BASE.override(**DENSE), old_text, (120,))[120]


def bits(model, windows_WL=old_WL):
    """Mean loss on windows, in bits per byte."""
    return byte_bits(model, windows_WL).mean().item()


for name, model in (("8 experts", sparse), ("dense", dense)):
    print(f"{name:<10} old text {bits(model):.2f}, new text {bits(model, new_WL):.2f} bits per byte")

# %% [markdown]
# Runs that take longer come with the course: bases of 600 steps, three seeds.


# %%
def result(name):
    """A committed result file of the package."""
    return json.loads((files("moe_lessons") / "results" / f"{name}.json").read_text(encoding="utf-8"))


runs = result("adaptation")


def rows(part, **wanted):
    """Rows of one part of the long runs, seed by seed."""
    return [row for row in runs[part]["rows"] if wanted.items() <= row.items()]


print(f"long runs: {runs['about']['script']}, on {runs['about']['device']}")
for part in ("finetuning", "upcycling", "pruning", "merging", "distilling", "replay"):
    print(f"  {part:<11}{len(runs[part]['rows']):>4} rows, {runs[part]['cpu_s']:>6.1f} s of CPU")

# %% [markdown]
# ## What should learn a small text?
#
# You have six kilobytes of Python, as much as one file, and a model of English. Train on it, but what? Every
# weight? The experts, which are most of the model? Or rather not the experts?

# %% tags=["nbval-ignore-output"] why="widget"
predict("13.small_set")

# %%
PLANS = {
    "dense, all": "dense model, all",
    "all": "all weights",
    "router frozen": "all but the routers",
    "experts frozen": "all but the experts",
    "only experts": "the experts alone",
    "only router": "the routers alone",
    "only the rest": "neither of the two",
}


def gained(plan, n_bytes):
    """Bits per byte that held-out Python gained, seed by seed."""
    found = rows("finetuning", plan=plan, n_bytes=n_bytes)
    return [row["code before"] - row["code after"] for row in found]


def told(n_bytes):
    """A table of one amount of text."""
    heads = f"{'gained on new Python':>22}{'the text itself':>18}{'old text lost':>16}"
    print(f"{f'{n_bytes // 1000} kB, bits per byte':<25}{heads}")
    for plan, name in PLANS.items():
        found = rows("finetuning", plan=plan, n_bytes=n_bytes)
        by_heart = sum(row["trained text after"] for row in found) / len(found)
        forgot = sum(row["base after"] - row["base before"] for row in found) / len(found)
        each_seed = " ".join(f"{gain:.2f}" for gain in gained(plan, n_bytes))
        print(f"{name:<25}{each_seed:>22}{by_heart:>18.2f}{forgot:>16.2f}")


told(6_000)

# %%
small = {plan: gained(plan, 6_000) for plan in PLANS}
frozen_ahead = [f - a for f, a in zip(small["experts frozen"], small["all"], strict=True)]
measured("experts frozen: gains more than all weights do, by", frozen_ahead, above=0.05, unit="bits")
reveal("13.small_set")

# %% [markdown]
# The second column says why: how well each predicts the six kilobytes themselves. Experts have the room to
# learn them by heart, and that is what they do. Attention, norms and embeddings have less of it, and what
# they learn holds for the next file, too. And with thirty times as much text?

# %% tags=["nbval-ignore-output"] why="widget"
predict("13.more_text")

# %%
told(200_000)

# %% draw=true tags=["nbval-ignore-output"] why="image"
dot_rows(
    {
        f"{n_bytes // 1000} kB: {PLANS[plan]}": gained(plan, n_bytes)
        for n_bytes in (6_000, 200_000)
        for plan in ("dense, all", "all", "only experts", "experts frozen")
    },
    title="Little text: freeze the experts. Much text: train them",
    x_label="gained on held-out Python (bits per byte)",
    dot_label="a seed",
    value_format="{:.2f}",
    x_range=(0, 0.7),
)

# %%
large = {plan: gained(plan, 200_000) for plan in PLANS}
all_ahead = [a - f for a, f in zip(large["all"], large["experts frozen"], strict=True)]
measured("all weights: gain more than with frozen experts, by", all_ahead, above=0.05, unit="bits")
reveal("13.more_text")
dense_6, dense_200 = (
    rows("finetuning", plan="dense, all", n_bytes=6_000),
    rows("finetuning", plan="dense, all", n_bytes=200_000),
)
ends = [
    d["code after"] - s["code after"]
    for d, s in zip(dense_200, rows("finetuning", plan="all", n_bytes=200_000), strict=True)
]
claim(
    "L125",
    "contested",
    holds=all(d > a for d, a in zip(small["dense, all"], small["all"], strict=True))
    and min(frozen_ahead) > 0
    and min(all_ahead) > 0
    and min(ends) > 0,
)

# %% [markdown]
# The order has turned round. ST-MoE reports the same two outcomes (arXiv 2202.08906): its sparse model
# overfits CB, with 250 examples, and is ahead on ReCoRD, with 138,000.
#
# (All of this with one learning rate and 100 steps. ST-MoE finds that to train the experts *alone* is far
# worse than anything else; here it lies in between. Their experts are in every fourth layer, ours in all.)
#
# (Does fine-tuning need the balancing loss? Here it makes no difference; papers disagree.)

# %%
on, off = gained("all", 200_000), gained("all, no balancing loss", 200_000)
apart = [abs(a - b) for a, b in zip(on, off, strict=True)]
measured("with and without the balancing loss, 200 kB: gains differ by", apart, below=0.02, unit="bits")

# %% [markdown]
# To freeze a part one has to find it, and that is where such experiments go wrong.

# %% [markdown]
# {{exercise 13.what_trains}}


# %% answer="13.what_trains"
def what_trains(names, plan):
    """Say for each parameter whether a plan trains it.

    names: a string, one parameter's name on each line. plan: "all", "router frozen", "experts frozen",
    "only experts", "only router" or "only the rest".
    Returns a bool for each line, as a tensor or a list.
    """
    ### BEGIN SOLUTION
    trained = []
    for name in names.splitlines():
        parts = name.split(".")
        router, expert = "gate" in parts or "router" in parts, "experts" in parts
        by_plan = {
            "all": True,
            "router frozen": not router,
            "experts frozen": not expert,
            "only experts": expert,
            "only router": router,
            "only the rest": not (router or expert),
        }
        trained.append(by_plan[plan])
    return torch.tensor(trained)
    ### END SOLUTION


# %%
check("13.what_trains")

# %% [markdown]
# `model.layers.2.mlp.gate.weight` is a router, and `...mlp.gate_proj.weight` is a third of an expert. A
# search for "gate" finds both. Nothing fails: the run goes on, and a third of every expert stands still.
#
# Now let your function decide what moves while our model learns 6,000 bytes of Python.

# %% tags=["nbval-ignore-output"] why="widget"
predict("13.drift")

# %%
own_plan = yours("13.what_trains")


def tuned(plan, n_bytes=6_000, steps=40):
    """A copy of the sparse model, trained on Python; the plan says what moves."""
    python = Corpus("Python", as_tokens(code[:n_bytes]), new_WL.flatten(), sha256="")
    config = BASE.override(steps=steps, learning_rate=1e-3, warmup_steps=10)
    run = Run(
        config, python, torch.device("cpu"), fill=lambda fresh: fresh.load_state_dict(sparse.state_dict())
    )
    names = [name for name, _ in run.model.named_parameters()]
    for moves, weight in zip(own_plan("\n".join(names), plan), run.model.parameters(), strict=True):
        weight.requires_grad_(bool(moves))
    run.model.train()
    for _ in each(range(steps), "step"):
        run.advance()
    return run.model.eval()


def moved_weights(model, part):
    """Largest change of any weight whose name has this part."""
    before = sparse.state_dict()
    return max((w - before[n]).abs().max().item() for n, w in model.state_dict().items() if part in n)


print("by", own_plan.label)
plans = {plan: tuned(plan) for plan in ("router frozen", "only experts")}
drift = {plan: adaptation.routing_drift(sparse, model, old_WL).tolist() for plan, model in plans.items()}
measured(
    "router frozen: largest change of a router's weight",
    moved_weights(plans["router frozen"], ".router."),
    at_most=0,
)
measured("router frozen: choices that changed in layer 0", drift["router frozen"][0], above=0.03, unit="%")
measured("router frozen: choices that changed in layer 1", drift["router frozen"][1], above=0.1, unit="%")
measured("only experts: choices that changed in layer 0", drift["only experts"][0], at_most=0, unit="%")
measured("only experts: choices that changed in layer 1", drift["only experts"][1], above=0.03, unit="%")

# %%
reveal("13.drift")

# %% [markdown]
# A router is a matrix and a choice is a matrix times a vector. The matrix stood still, and the vectors moved:
# they come from embeddings, attention and the experts below. Only layer 0 with *everything* in front of it
# frozen keeps its choices. So "we froze the router to keep the routing" is two statements, and the second
# does not follow.

# %% [markdown]
# **Change this.** Which plan forgets least of the old text? And does a plan that moves few weights also move
# few choices? Try "only router" and "experts frozen".

# %% change=true tags=["nbval-ignore-output"] why="trained"
# Change these and run the cell again.
plan = "all"
n_bytes = 6_000

changed_model = tuned(plan, n_bytes)
forgot, gained = bits(changed_model) - bits(sparse), bits(sparse, new_WL) - bits(changed_model, new_WL)
print(f"{plan}, {n_bytes:,} bytes: gained {gained:.2f} bits on Python, lost {forgot:.2f} on the old text")
moved = adaptation.routing_drift(sparse, changed_model, old_WL).tolist()
print("choices that changed, by layer:", ", ".join(f"{share:.0%}" for share in moved))

# %% [markdown] only="solutions"
# "only router" forgets least: it hardly learns either. Yet it moves as many choices as training all does.
# Few weights are no small change if they decide who computes.

# %% only="solutions" tags=["nbval-ignore-output"] why="trained"
rerun('plan = "only router"', 'plan = "experts frozen"')

# %% [markdown]
# ## Eight from one
#
# Dense models are everywhere. Can one be made into a Mixture-of-Experts without beginning anew?
# **Upcycling** (arXiv 2212.05055) copies the feed-forward network into every expert, and adds a router,
# which knows nothing: its rows are random.

# %% tags=["nbval-ignore-output"] why="widget"
predict("13.step0")

# %% [markdown]
# Eight copies, two a token, and two gates. One takes a softmax over the two chosen logits; the other a
# softmax over all eight, of which it uses two.

# %%
generator = torch.Generator().manual_seed(0)
copies = adaptation.upcycle(dense, 8, top_k=2, generator=generator)
leaky = adaptation.upcycle(dense, 8, top_k=2, gate="softmax_topk", generator=generator)
measured(
    "softmax over the two: largest difference of a logit",
    adaptation.logit_gap(dense, copies, old_WL),
    below=1e-4,
    then="the dense model",
)
measured("softmax over all eight: loss above the dense model's, bits", bits(leaky) - bits(dense), above=0.1)
with torch.no_grad():
    sums_T = leaky(old_WL).routings[0].topk_weights_TK.sum(dim=1)
measured("its two weights sum to", sums_T.mean().item(), above=0.2, below=0.35)

# %%
reveal("13.step0")

# %% [markdown]
# Identical experts and weights that sum to 1: then it does not matter whom the router chooses. Nor can it
# matter for the *gradient*. Who parts the copies?

# %%
inputs_BL, targets_BL = training_batch(old_text.train_N, batch_size=16, context_length=64, seed=0, step=0)


def gradients(model):
    """The largest router gradient, and the cosine of two experts' gradients, of the task's loss alone."""
    model.zero_grad()
    model(inputs_BL, targets_BL).loss.backward()
    router = max(layer.router.weight.grad.abs().max().item() for layer in model.moe_layers)
    grads = [layer.experts.down_proj.grad.flatten(1) for layer in model.moe_layers]
    return router, [F.cosine_similarity(g[0], g[1], dim=0).item() for g in grads]


fresh = MoETransformer(copies.config, generator=torch.Generator().manual_seed(1))
router_gradient, alike = gradients(copies)
measured("largest gradient of a router, upcycled", router_gradient, below=1e-6, then="none")
measured("largest gradient of a router, drawn at random", gradients(fresh)[0], above=1e-3)
measured("two copies' gradients, cosine", alike, below=0.9, then="they part")

# %% [markdown]
# The router gets nothing, and the experts get *different tokens*. One step later they differ, and then the
# router has something to choose between. Noise on the copies, which is often advised, is not needed for
# that.
#
# Copies cost: two of 128 units a token is twice the work. Lesson 11 has shown how to cut experts. Cut each
# copy in half, and a token must get *both halves of one copy*, each once. So the slices of a copy share a
# router row, and tie until training parts them: a **virtual group** (arXiv 2410.07524).

# %% [markdown]
# {{puzzle 13.p_choir}}


# %% puzzle="13.p_choir"
@puzzle("13.p_choir")
def voices_in_order(pitch_P, size, rows):
    ### BEGIN SOLUTION
    return pitch_P.repeat_interleave(size).repeat(rows)
    ### END SOLUTION


# %% [markdown]
# {{exercise 13.upcycle}}


# %% answer="13.upcycle"
def upcycle(gate_up_HD, down_DF, rows_RD, granularity):
    """Make R copies of a dense network, each cut into G slices, and the router that keeps its function.

    gate_up_HD: [2F, D], F gate rows, then F up rows. down_DF: [D, F]. rows_RD: a router row for each copy.
    granularity: G, a divisor of F.
    Returns gate_up_EHD [R*G, 2F/G, D], down_EDF [R*G, D, F/G], rows_ED [R*G, D], and a factor.
    """
    ### BEGIN SOLUTION
    gate, up = gate_up_HD.chunk(2)
    runs = zip(gate.chunk(granularity), up.chunk(granularity), strict=True)
    slices = torch.stack([torch.cat(run) for run in runs])
    columns = torch.stack(down_DF.chunk(granularity, dim=1))
    R = len(rows_RD)
    rows_ED = rows_RD.repeat_interleave(granularity, dim=0)
    return slices.repeat(R, 1, 1), columns.repeat(R, 1, 1), rows_ED, float(granularity)
    ### END SOLUTION


# %%
check("13.upcycle")

# %% [markdown]
# Your function on the whole dense model: four copies of two halves, two halves a token. The same once
# more without the factor, and once with a random row for each *slice*.

# %%
own_upcycle = yours("13.upcycle")
GROUPS = BASE.override(n_experts=8, top_k=2, d_expert=64).model


def groups_of(dense, factor=True, shared_rows=True, seed=2):
    """The dense model as four copies of two slices, by your function."""
    state, generator = dict(dense.state_dict()), torch.Generator().manual_seed(seed)
    for layer in range(GROUPS.n_layers):
        place = f"blocks.{layer}.moe."
        gate_up, down = (state[f"{place}experts.{name}_proj"][0] for name in ("gate_up", "down"))
        rows_RD = 0.02 * torch.randn(4, gate_up.shape[1], generator=generator)
        experts, downs, rows_ED, by = own_upcycle(gate_up, down, rows_RD, 2)
        if not shared_rows:
            rows_ED = 0.02 * torch.randn(rows_ED.shape, generator=generator)
        state |= {f"{place}experts.gate_up_proj": experts, f"{place}router.weight": rows_ED}
        state[f"{place}experts.down_proj"] = downs * (by if factor else 1.0)
    return with_weights(GROUPS, state)


print("by", own_upcycle.label)
grouped = groups_of(dense)
measured(
    "largest difference of a logit",
    adaptation.logit_gap(dense, grouped, old_WL),
    below=1e-4,
    then="the dense model",
)
measured("without the factor: bits lost", bits(groups_of(dense, factor=False)) - bits(dense), above=0.02)
measured(
    "a row for each slice: bits lost", bits(groups_of(dense, shared_rows=False)) - bits(dense), above=0.02
)

# %% [markdown]
# An upcycled model that does not begin where the dense one ended has a mistake in it, and the check takes
# one batch. (With a gate whose weights do not sum to 1 it cannot be exact. He et al. use one, with its
# weights scaled to make up for it, and report that it trains better. What is right at step 0 and what is
# best at the end are two questions.)
#
# And what is it worth? Train on, each with what it starts from.

# %% tags=["nbval-ignore-output"] why="widget"
predict("13.worth")

# %%
KINDS = (
    "dense, continued",
    "4 copies in 2 slices, equal work",
    "8 copies, twice the work",
    "from scratch, equal work",
)
after = {kind: [row["after"] for row in rows("upcycling", kind=kind, steps=300)] for kind in KINDS}
print("bits per byte after 300 steps more, three seeds")
for kind, found in after.items():
    print(f"  {kind:<34}" + "  ".join(f"{value:.3f}" for value in found))
ahead = {
    kind: [d - v for d, v in zip(after["dense, continued"], after[kind], strict=True)] for kind in KINDS[1:]
}
measured("equal work: ahead of the dense model by", ahead[KINDS[1]], above=-0.05, below=0.05, unit="bits")
measured("twice the work: ahead of the dense model by", ahead[KINDS[2]], above=0.03, unit="bits")
measured("from scratch: behind the dense model by", [-a for a in ahead[KINDS[3]]], above=0.2, unit="bits")
reveal("13.worth")

# %% [markdown]
# At equal work it is a draw, after 300 steps on a model of 600. The model from scratch is far behind, with
# its 300 steps to the others' 900. Give it 600, all that the dense model had cost:
#
# %%
caught = [row["after"] for row in rows("upcycling", kind=KINDS[3], steps=600)]
behind = [c - g for c, g in zip(caught, after[KINDS[1]], strict=True)]
measured("from scratch, 600 steps: behind the slices by", behind, above=-0.05, below=0.1, unit="bits")

# %% [markdown]
# It has nearly caught up. When that happens is disputed: OLMoE's authors see it after a quarter of what the
# dense model had cost (arXiv 2409.02060, section 4.1.5). Much depends on how long the dense model was
# trained, and ours was trained for a moment.
#
# What upcycling does give for the same work is parameters:

# %%
totals = {
    name: parameter_counts(model)
    for name, model in (("dense", dense), ("groups", grouped), ("copies", copies))
}
for name, (total, active) in totals.items():
    print(f"{name:<8}{total:>9,} parameters, {active:>9,} of them for a token")
claim(
    "L126",
    "correct",
    holds=totals["groups"][0] > 1.5 * totals["dense"][0] and totals["groups"][1] < 1.05 * totals["dense"][1],
)

# %% [markdown]
# **Change this.** Which of these is exact at step 0? Try the gate "softmax_topk_renorm", and noise of 0.1.

# %% change=true tags=["nbval-ignore-output"] why="trained"
# Change these and run the cell again.
gate = "topk_softmax"
noise = 0.0

made = adaptation.upcycle(
    dense, 8, top_k=2, gate=gate, noise=noise, generator=torch.Generator().manual_seed(0)
)
print(f"{gate}, noise {noise}: {bits(made) - bits(dense):+.3f} bits per byte")

# %% [markdown] only="solutions"
# A softmax over all that is renormalised over the chosen is the same gate written in another way (lesson 01).
# Noise of a tenth of the weights' spread changes the loss by less than a hundredth of a bit, and buys
# nothing.

# %% only="solutions" tags=["nbval-ignore-output"] why="trained"
rerun('gate = "softmax_topk_renorm"', "noise = 0.1")

# %% [markdown]
# ## Fewer experts
#
# The other direction. The model is too large by two experts, or by four. **Prune** some, or **merge** some
# into one? We have two kinds of models with eight experts: one trained from scratch, and one upcycled from a
# dense model. The copies of the second have lived apart for a while.

# %% tags=["nbval-ignore-output"] why="widget"
predict("13.strangers")

# %% tags=["nbval-ignore-output"] why="trained"
upcycled = adaptation.fine_tune(copies, old_text, BASE.override(steps=60, learning_rate=2e-3))
models = {"from scratch": sparse, "upcycled": upcycled}
for name, model in models.items():
    cosines = adaptation.likeness(model, old_WL)
    others = [(layer.sum() - 8) / 56 for layer in cosines]
    print(f"{name:<13}{bits(model):.2f} bits; two experts' answers to one token, cosine by layer:", end=" ")
    print(", ".join(f"{cosine:.2f}" for cosine in others))

# %% [markdown]
# To prune, one needs to know who would be missed. A number for it, which has been proposed lately, is REAP
# (arXiv 2510.13999).

# %% [markdown]
# {{exercise 13.saliency}}


# %% answer="13.saliency"
def saliency(topk_ids_TK, topk_weights_TK, outputs_TKD, n_experts):
    """Average what each expert adds to the tokens that chose it: weight times length of its output.

    topk_ids_TK: [T, K]. topk_weights_TK: [T, K]. outputs_TKD: [T, K, D], before weighting.
    Returns saliency_E [E], 0 for an expert that no token chose.
    """
    ### BEGIN SOLUTION
    added_TK = topk_weights_TK * outputs_TKD.norm(dim=-1)
    sums_E = torch.zeros(n_experts).index_add(0, topk_ids_TK.flatten(), added_TK.flatten())
    return sums_E / torch.bincount(topk_ids_TK.flatten(), minlength=n_experts).clamp(min=1)
    ### END SOLUTION


# %%
check("13.saliency")

# %% [markdown]
# And then everything that has a row for each expert must lose the same ones.

# %% [markdown]
# {{exercise 13.prune}}


# %% answer="13.prune"
def prune(router_ED, bias_E, experts_EP, saliency_E, n_keep, topk_ids_TK):
    """Keep the experts with the highest saliency, in order of their old ids.

    router_ED: [E, D]. bias_E: [E]. experts_EP: [E, P], all parameters of an expert in a row.
    topk_ids_TK: [T, K], the experts that tokens had chosen.
    Returns router_ND, bias_N, experts_NP, and new_ids_TK: the experts' new numbers, -1 where one is gone.
    """
    ### BEGIN SOLUTION
    keep_N = saliency_E.topk(n_keep).indices.sort().values
    new_E = torch.full((len(router_ED),), -1)
    new_E[keep_N] = torch.arange(n_keep)
    return router_ED[keep_N], bias_E[keep_N], experts_EP[keep_N], new_E[topk_ids_TK]
    ### END SOLUTION


# %%
check("13.prune")

# %% [markdown]
# Both of your functions on both models. Beside them: experts drawn at random, as one should always ask.

# %%
own_saliency, own_prune = yours("13.saliency"), yours("13.prune")


@torch.no_grad()
def scores_of(model):
    """Your saliency, for each layer: what every expert adds on the old text."""
    scores = []
    for layer, (hidden_TD, routing) in zip(
        model.moe_layers, adaptation.layer_inputs(model, old_WL), strict=True
    ):
        ids_TK, bank = routing.topk_ids_TK, layer.experts
        outputs_TKD = torch.zeros(*ids_TK.shape, hidden_TD.shape[1])
        for e in range(8):
            t, k = torch.where(ids_TK == e)
            outputs_TKD[t, k] = swiglu(hidden_TD[t], bank.gate_up_proj[e], bank.down_proj[e])
        scores.append(own_saliency(ids_TK, routing.topk_weights_TK, outputs_TKD, 8))
    return scores


def pruned(model, scores, n_keep):
    """The model with n_keep experts in each layer, by your function."""
    state = dict(model.state_dict())
    for layer, saliency_E in enumerate(scores):
        place = f"blocks.{layer}.moe."
        bank = [state[f"{place}experts.{part}_proj"] for part in ("gate_up", "down")]
        experts_EP = torch.cat([part.flatten(1) for part in bank], dim=1)
        router_ED = state[f"{place}router.weight"]
        router, _, kept, _ = own_prune(
            router_ED, torch.zeros(8), experts_EP, saliency_E, n_keep, torch.zeros(1, 1, dtype=torch.long)
        )
        gate_up, down = kept.split([part[0].numel() for part in bank], dim=1)
        state |= {
            f"{place}router.weight": router,
            f"{place}experts.gate_up_proj": gate_up.view(-1, *bank[0].shape[1:]),
        }
        state[f"{place}experts.down_proj"] = down.view(-1, *bank[1].shape[1:])
    return with_weights(adaptation.keep_experts(model, [range(n_keep)] * len(scores)).config, state)


print(f"saliency by {own_saliency.label}; pruning by {own_prune.label}")
scores = {name: scores_of(model) for name, model in models.items()}
lost = {}
for name, model in models.items():
    for n_keep in (6, 4, 2):
        drawn = [
            bits(pruned(model, list(torch.rand(2, 8, generator=torch.Generator().manual_seed(s))), n_keep))
            for s in range(3)
        ]
        lost[name, n_keep] = {
            "pruned": bits(pruned(model, scores[name], n_keep)) - bits(model),
            "at random": sum(drawn) / 3 - bits(model),
        }

# %% [markdown]
# Merging seems kinder: nothing is thrown away, and all knowledge flows into the mean. But which mean?
# Exchange two hidden units of an expert, both rows and the column, and it computes exactly what it did. So
# unit 7 of one expert has no reason to be anything like unit 7 of another.

# %% [markdown]
# {{puzzle 13.p_partners}}


# %% puzzle="13.p_partners"
@puzzle("13.p_partners")
def age_beside(age_N, partner_N):
    ### BEGIN SOLUTION
    return age_N[partner_N.argsort()]
    ### END SOLUTION


# %% [markdown]
# {{exercise 13.merge}}


# %% answer="13.merge"
def merge(gate_up_a_HD, down_a_DF, gate_up_b_HD, down_b_DF, weight_a):
    """Put b's hidden units in a's order, then take the weighted mean.

    gate_up_*_HD: [2F, D], F gate rows, then F up rows. down_*_DF: [D, F]. weight_a: the share of a.
    Returns gate_up_HD [2F, D] and down_DF [D, F], in a's order of units.
    """
    ### BEGIN SOLUTION
    from scipy.optimize import linear_sum_assignment

    gate_a, up_a = gate_up_a_HD.chunk(2)
    gate_b, up_b = gate_up_b_HD.chunk(2)
    table_FF = gate_a @ gate_b.T + up_a @ up_b.T + down_a_DF.T @ down_b_DF
    p = torch.from_numpy(linear_sum_assignment(table_FF.numpy(), maximize=True)[1])
    gate_up = weight_a * gate_up_a_HD + (1 - weight_a) * torch.cat([gate_b[p], up_b[p]])
    return gate_up, weight_a * down_a_DF + (1 - weight_a) * down_b_DF[:, p]
    ### END SOLUTION


# %%
check("13.merge")

# %% [markdown]
# Experts whose answers are most alike go into one group, and each group becomes one expert: by your function,
# and by a plain mean of unit i with unit i.

# %%
own_merge = yours("13.merge")


def in_place(gate_up_a, down_a, gate_up_b, down_b, weight_a):
    """The mean of unit i and unit i."""
    return torch.lerp(gate_up_b, gate_up_a, weight_a), torch.lerp(down_b, down_a, weight_a)


@torch.no_grad()
def merged(model, n_groups, mean):
    """Each group's mean in the place of all its members, weighted by the tokens that they get."""
    state, loads_LE = dict(model.state_dict()), adaptation.saliency(model, old_WL, "frequency")
    for layer, groups in enumerate(adaptation.grouped(adaptation.likeness(model, old_WL), n_groups)):
        names = [f"blocks.{layer}.moe.experts.{part}_proj" for part in ("gate_up", "down")]
        bank = [state[name].clone() for name in names]
        for group in groups:
            first, *rest = sorted(group, key=lambda e: -loads_LE[layer, e])
            mean_of, load = [part[first].clone() for part in bank], loads_LE[layer, first].item()
            for e in rest:
                added = loads_LE[layer, e].item()
                mean_of = mean(*mean_of, *(part[e] for part in bank), load / max(load + added, 1))
                load += added
            for part, value in zip(bank, mean_of, strict=True):
                part[group] = value
        state |= dict(zip(names, bank, strict=True))
    return with_weights(model.config, state)


print("by", own_merge.label)
for (name, n_keep), row in lost.items():
    for label, mean in (("merged, plain", in_place), ("merged, aligned", own_merge)):
        row[label] = bits(merged(models[name], n_keep, mean)) - bits(models[name])

# %% tags=["nbval-ignore-output"] why="trained"
print(f"{'bits per byte lost':<25}" + "".join(f"{label:>17}" for label in row))
for (name, n_keep), row in lost.items():
    print(f"{name + ', 8 to ' + str(n_keep):<25}" + "".join(f"{value:>17.3f}" for value in row.values()))

# %%
strangers, siblings = lost["from scratch", 4], lost["upcycled", 2]
measured(
    "strangers, 8 to 4: a plain mean costs, times what pruning does",
    strangers["merged, plain"] / strangers["pruned"],
    above=1.2,
)
measured(
    "strangers: alignment takes off, share of the plain mean's cost",
    1 - strangers["merged, aligned"] / strangers["merged, plain"],
    above=0.15,
    unit="%",
)
measured(
    "siblings, 8 to 2: merging costs, times what pruning does",
    siblings["merged, aligned"] / siblings["pruned"],
    below=0.9,
)
measured(
    "siblings: what alignment changes, bits",
    abs(siblings["merged, aligned"] - siblings["merged, plain"]),
    below=0.01,
)

# %%
reveal("13.strangers")

# %% [markdown]
# **Prune strangers, merge siblings.** Copies of one network still have their units where they were, so their
# mean is a network of the same kind. Experts from scratch have nothing in common, and a mean of two
# different things is neither. Put their units in one order, and the mean is no longer worse than taking
# experts out; it is hardly better either. The same with models that were trained for longer, from three
# seeds:

# %% draw=true tags=["nbval-ignore-output"] why="image"
shown = {}
for model, n in (("from scratch", 4), ("upcycled", 2)):
    for label, by in (("at random", "random"), ("by REAP", "reap")):
        found = rows("pruning", model=model, keep=n, by=by)
        shown[f"{model}, 8 to {n}: pruned {label}"] = [row["lost"] for row in found]
    for label, alignment in (("plain", "none"), ("aligned", "weights")):
        found = rows("merging", model=model, n_groups=n, alignment=alignment)
        shown[f"{model}, 8 to {n}: merged, {label}"] = [row["lost"] for row in found]
dot_rows(
    shown,
    title="A mean of strangers costs more than pruning, one of siblings less",
    x_label="lost (bits per byte)",
    dot_label="a seed",
    value_format="{:.2f}",
    x_range=(0, 1.6),
)


# %%
def costs(part, **wanted):
    """Bits per byte lost, seed by seed."""
    return torch.tensor([row["lost"] for row in rows(part, **wanted)])


dice = costs("pruning", model="from scratch", keep=4, by="random")
far = {how: costs("merging", model="from scratch", n_groups=4, alignment=how) for how in ("none", "weights")}
near = costs("merging", model="upcycled", n_groups=2, alignment="weights")
best_cut = torch.stack([costs("pruning", model="upcycled", keep=2, by=by) for by in ("frequency", "reap")])
measured(
    "strangers: a plain mean costs more than pruning by dice, by", far["none"] - dice, above=0.2, unit="bits"
)
measured("strangers: alignment takes off", far["none"] - far["weights"], above=0.1, unit="bits")
aligned = far["weights"] - dice
measured("strangers, aligned: more than dice, by", aligned, above=-0.2, below=0.3, then="about the same")
measured(
    "siblings: less than the better of two prunings, by", best_cut.amin(0) - near, above=0.02, unit="bits"
)

# %% [markdown]
# Papers disagree on this, too: MC-SMoE (arXiv 2310.01334) merges, REAP prunes and finds merging worse for
# models that write. One thing to ask of each is what the experts were to each other.
#
# And the criteria? Three of them on the models from scratch:

# %%
print(f"bits per byte lost, three seeds{'by frequency':>21}{'by REAP':>21}{'by dice':>21}")
lost_by = {}
for n_keep in (6, 4, 2):
    for by in ("frequency", "reap", "random"):
        lost_by[n_keep, by] = costs("pruning", model="from scratch", keep=n_keep, by=by)
    cells = [
        " ".join(f"{value:.2f}" for value in lost_by[n_keep, by]) for by in ("frequency", "reap", "random")
    ]
    print(f"{f'8 to {n_keep}':<31}" + "".join(f"{cell:>21}" for cell in cells))
worse = lost_by[6, "frequency"] - lost_by[6, "random"]
better = lost_by[6, "random"] - lost_by[6, "reap"]
turned = lost_by[2, "random"] - lost_by[2, "frequency"]
measured("8 to 6: frequency worse than dice, by", worse, above=0.05, unit="bits")
measured("8 to 6: REAP better than dice, by", better, above=0.02, unit="bits")
measured("8 to 2: frequency better than dice, by", turned, above=0.05, unit="bits")

# %% [markdown]
# To keep whoever is used most, which sounds so sensible, is worse than dice here when two are to go, and
# better than dice when six are. Whoever shows a criterion without a row for dice has shown nothing.
#
# A short training repairs a good part of the damage, and with it most of what was between the criteria:

# %%
for by in ("frequency", "reap", "random"):
    found = rows("pruning", model="from scratch", keep=4, by=by)
    at_once = torch.tensor(
        [row["lost, of the draw trained on" if by == "random" else "lost"] for row in found]
    )
    later = torch.tensor([row["lost, trained on"] for row in found])
    print(f"8 to 4 by {by:<10}{at_once.mean():.2f} bits lost at once, {later.mean():.2f} after 50 steps")
    measured("  regained", at_once - later, above=0.2, unit="bits")

# %% [markdown]
# Saliency is measured on some text. Does it matter on which? A model of four layers and 32 experts (that of
# lesson 15) loses eight experts in each, scored on all three of its kinds of text or on one of them.

# %%
ON = ("English", "code", "names")
calibrated = {}
print(f"{'32 to 24, bits per byte lost on':<34}" + "".join(f"{kind:>10}" for kind in ON))
for by, kind in (("random", "all"), ("frequency", "all"), *[("reap", kind) for kind in ("all", *ON)]):
    (row,) = rows("pruning, 32 experts", keep=24, by=by, calibrated=kind)
    name = "dice" if by == "random" else f"{by}, scored on {kind}"
    print(f"  {name:<32}" + "".join(f"{row['lost'][on]:>10.3f}" for on in ON))
    calibrated[by, kind] = row["lost"]
gaps = [calibrated["reap", a][b] - calibrated["reap", b][b] for a in ON for b in ON if a != b]
measured("a kind of text loses more where another one was scored, by", gaps, above=0, unit="bits")
ahead = [calibrated["random", "all"][on] - calibrated["frequency", "all"][on] for on in ON]
measured("with 32 experts frequency is better than dice, by", ahead, above=0.05, unit="bits")

# %% [markdown]
# The text that scores decides whose knowledge goes. And where there are many experts to choose from, counting
# is not so bad after all.

# %% [markdown]
# **Change this.** REAP is one way to say who would be missed. "frequency" counts choices, "norm" looks at the
# length of outputs, "loss" takes each expert out and looks. Does any of them beat the others?

# %% change=true tags=["nbval-ignore-output"] why="trained"
# Change these and run the cell again.
by = "frequency"
n_keep = 4

for name, model in models.items():
    smaller = adaptation.prune(model, n_keep, by=by, tokens_BL=old_WL)
    print(f"{name:<13} 8 to {n_keep} by {by}: {bits(smaller) - bits(model):+.3f} bits per byte")

# %% [markdown] only="solutions"
# "loss" does, in both models: it asks the very question, at the price of a pass for each expert. Among the
# cheap ones none does; what wins depends on the model and on how many are to go.

# %% only="solutions" tags=["nbval-ignore-output"] why="trained"
rerun('by = "reap"', 'by = "norm"', 'by = "loss"')

# %% [markdown]
# ## Back to one
#
# A server with little memory wants a small dense model. Let the sparse one teach it: the student gets the
# teacher's **soft targets**, a distribution over the next byte in place of the one byte that came. Switch
# Transformers did so, and let the student *inherit* what is not an expert as well (arXiv 2101.03961, section
# 4.2).

# %% tags=["nbval-ignore-output"] why="widget"
predict("13.student")

# %%
students = {
    (inherit, soft): [row["student"] for row in rows("distilling", inherit=inherit, soft=soft)]
    for inherit, soft in ((False, 0.0), (False, 0.75), (True, 0.0), (True, 0.25), (True, 0.75))
}
print("a dense student of 64 units after 200 steps, bits per byte, three seeds")
for (inherit, soft), found in students.items():
    name = f"{'inherits' if inherit else 'begins anew'}, {soft:.0%} soft targets"
    print(f"  {name:<32}" + "  ".join(f"{value:.3f}" for value in found))
inherited = [a - b for a, b in zip(students[False, 0.0], students[True, 0.0], strict=True)]
soft_gain = [
    students[inherit, 0.0][seed] - students[inherit, 0.75][seed]
    for inherit in (False, True)
    for seed in range(len(inherited))
]
measured("inheriting gains", inherited, above=0.3, unit="bits")
measured("three quarters of soft targets gain", soft_gain, above=-0.02, below=0.15, unit="bits")
reveal("13.student")

# %% [markdown]
# The inherited weights are worth several times what the soft targets are. That is a small student after 200
# steps, and does not say what soft targets bring in the end. It does say what a gain from distillation has to
# be compared with: a student that inherits, and learns from the text alone.

# %% [markdown]
# ## Sampled here, trained there
#
# In reinforcement learning a model writes, and is then trained on what it wrote. The writing is done by an
# engine for inference, in bf16; the training by another one, in fp32. Same weights, other rounding. A policy
# gradient divides the probabilities of the two. For a dense model nobody has to care.
#
# Eight layers this time, 16 experts, two of them for each byte.

# %% tags=["nbval-ignore-output"] why="widget"
predict("13.rollout")

# %%
DEEP = SMALL.override(n_layers=8, d_model=32, n_heads=2, n_kv_heads=2, d_expert=32, n_experts=16, steps=30)
english = Corpus(
    "English", as_tokens(language_reference()[:200_000]), old_text.validation_M[:4_096], sha256=""
)
said_WL = english.validation_M.view(-1, 64).long()
deep = train_and_keep(DEEP, english, (30,))[30]
with torch.no_grad():
    rollout, training = adaptation.narrowed(deep)(said_WL), deep(said_WL)
slipped_LT = adaptation.changed_sets(rollout.routings, training.routings)
by_layer, anywhere = slipped_LT.double().mean(dim=1), slipped_LT.any(dim=0).double().mean().item()
measured("tokens with another set of experts in layer 0", by_layer[0].item(), below=0.03, unit="%")
measured("in at least one of eight layers", anywhere, above=0.04, below=0.25, unit="%")
measured("last layer, times the first", (by_layer[-1] / by_layer[0]).item(), above=1.5)

# %% draw=true tags=["nbval-ignore-output"] why="image"
so_far = [slipped_LT[: n + 1].any(dim=0).double().mean().item() for n in range(8)]
line_chart(
    {
        "in this layer": (list(range(8)), [100 * share for share in by_layer.tolist()]),
        "in any layer so far": (list(range(8)), [100 * share for share in so_far]),
    },
    title="The same weights in two number formats send tokens to other experts",
    x_label="layer",
    y_label="tokens with another set of experts (%)",
    caption="One model, bf16 against fp32; the routers compute in fp32 in both.",
)

# %%
reveal("13.rollout")

# %% [markdown]
# A rounding error is small, a choice is not. A token whose expert has changed is not a little different, it
# is *somewhere else*, and its stream carries that into the next router. What to do? Rounding cannot be
# helped. But the writer knows where it sent each token, and can tell.

# %% [markdown]
# {{exercise 13.replay}}


# %% answer="13.replay"
def replayed_weights(logits_TE, replayed_ids_TK, rollout_weights_TK):
    """Weigh the experts of the rollout by the trainer's own logits.

    logits_TE: [T, E], the trainer's. replayed_ids_TK: [T, K]. rollout_weights_TK: [T, K], as recorded.
    Returns weights_TK [T, K], in the order of the ids; a gradient must reach the logits.
    """
    ### BEGIN SOLUTION
    return logits_TE.gather(1, replayed_ids_TK).softmax(dim=1)
    ### END SOLUTION


# %%
check("13.replay")

# %% tags=["nbval-ignore-output"] why="widget"
predict("13.replayed")

# %%
own_replay = yours("13.replay")


def replaying(recorded):
    """A change of routing: the recorded experts, weighed by your function."""

    def change(logits_TE, route):
        weights_TK = own_replay(logits_TE, recorded.topk_ids_TK, recorded.topk_weights_TK)
        return Routing(logits_TE, recorded.topk_ids_TK, weights_TK)

    return change


print("by", own_replay.label)
with torch.no_grad(), ExitStack() as stack:
    for layer, recorded in zip(deep.moe_layers, rollout.routings, strict=True):
        stack.enter_context(force.forced([layer], replaying(recorded)))
    replayed = deep(said_WL)
apart = {
    "its own routing": adaptation.mismatch(rollout.logits_BLV, training.logits_BLV, said_WL),
    "the rollout's experts": adaptation.mismatch(rollout.logits_BLV, replayed.logits_BLV, said_WL),
}

# %% tags=["nbval-ignore-output"] why="trained"
print(f"{'training pass with':<24}{'KL, nats':>10}{'99 % of log ratios below':>27}{'largest':>9}")
for name, gap in apart.items():
    print(f"{name:<24}{gap.kl:>10.1e}{gap.log_ratio_99:>27.3f}{gap.log_ratio_max:>9.2f}")

# %%
kl = {name: gap.kl for name, gap in apart.items()}
measured(
    "KL without replay, times that with it", kl["its own routing"] / kl["the rollout's experts"], above=4
)

# %% [markdown]
# How little is that? After 100 steps of training, three seeds, and beside each model a dense twin that does
# the same work:

# %%
heads = ("another expert", "KL, no replay", "ids replayed", "ids and weights", "dense twin")
print("seed" + "".join(f"{head:>17}" for head in heads))
floors = []
for row, twin in zip(rows("replay", model="experts"), rows("replay", model="dense"), strict=True):
    kls = [row[how]["kl"] for how in ("no replay", "replay of ids", "replay of ids and weights")]
    floors.append([kls[0] / twin["no replay"]["kl"], kls[1] / twin["no replay"]["kl"]])
    shown = "".join(f"{kl:>17.1e}" for kl in (*kls, twin["no replay"]["kl"]))
    print(f"{row['seed']:<4}{row['changed in any']:>17.1%}{shown}")
measured("KL without replay, times a dense twin's", [floor[0] for floor in floors], above=5)
measured("KL with the ids replayed, times a dense twin's", [floor[1] for floor in floors], below=3)
reveal("13.replayed")

# %% [markdown]
# What is left is the floor that a dense model has. The *choice* was all of the trouble; weights may be
# computed anew, and must be, or the router would not learn. What you have seen is the mismatch and its end.
# The collapse of a run, which it can lead to, takes thousands of steps; Ma et al. (arXiv 2510.11370) show
# it, and the runs that replay prevents from it.

# %% [markdown]
# **Change this.** How small must an error be, to be harmless? Noise on the routers' logits, and nothing else.
# Watch both numbers, and what one is per token of the other.

# %% change=true tags=["nbval-ignore-output"] why="trained"
# Change these and run the cell again.
size = 0.01
seed = 0

with torch.no_grad(), adaptation.perturbed(deep, size, generator=torch.Generator().manual_seed(seed)):
    noisy = deep(said_WL)
share = adaptation.changed_sets(training.routings, noisy.routings).any(dim=0).double().mean().item()
gap = adaptation.mismatch(noisy.logits_BLV, training.logits_BLV, said_WL)
print(f"noise of {size}: {share:.1%} of the tokens with another expert somewhere, KL {gap.kl:.1e} nats")

# %% [markdown] only="solutions"
# There is no harmless size. Ten times less noise means several times fewer tokens that slip, but those slip
# all the way. The two numbers fall together.

# %% only="solutions" tags=["nbval-ignore-output"] why="trained"
rerun("size = 0.001", "size = 0.1")

# %% [markdown]
# And which tokens are they? Here are 256 bytes of the held-out text in all eight layers, recorded beforehand
# from a model trained like this one, with noise on the logits as in the cell above. What do you expect?

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import Slip

Slip()

# %% [markdown]
# The tokens that slip have a small margin: their second expert and the next one score nearly alike. A smaller
# error catches fewer of them, but one that is caught still gets another expert, and its log ratio jumps. With
# the experts replayed none jumps, whatever the size of the error: all marks move along with it.

# %% [markdown]
# ## What to take with you
#
# - With little text, freeze the experts: they would learn it by heart. With much, train them.
# - A frozen router is no frozen routing. Look for parts by whole words in their names, and count what was
#   found.
# - An upcycled model begins exactly where the dense one ended, or there is a mistake in it.
# - Prune strangers, merge siblings. And compare every criterion with dice.
# - Two engines that round differently choose different experts. Replay the choice, and compute the weights.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("13.q_gate")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("13.q_factor")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("13.q_calibration")

# %%
claims_table()

# %%
score()
