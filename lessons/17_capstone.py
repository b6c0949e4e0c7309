# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("17_capstone")

# %% [markdown]
# "Here is a budget. What do you build, and can you defend it against somebody who has read the internet?"
#
# That is this lesson, in two halves. In the first you design models: for a phone, for one GPU, for a
# cluster. A simulator made of parts that you know says what a design costs and what it is worth, and says
# nothing where nobody has measured. In the second half you get a page of sentences about Mixture-of-Experts,
# as they stand in explainers and in code. Some are right, some are wrong, some are neither, and you say
# which.
#
# **D** width, **E** experts, **K** a token, **F** hidden width of an expert, **B** users at once, as always.

# %%
import dataclasses
import math

import torch

from moe_lessons import accounting, budget
from moe_lessons.accounting.sparsity import efficiency_leverage
from moe_lessons.course import closing, sentences, settled
from moe_lessons.exercises import registry
from moe_lessons.exercises.capstone_errors.bank import IN_A_PART

print(f"{'budget':<18}{'FLOPs':>8}{'tokens':>8}{'users':>7}{'context':>9}", end="")
print(f"{'devices':>9}{'GB each':>9}{'GB/s':>7}{'a step':>9}")
for kind in budget.KINDS.values():
    print(f"{kind.name:<18}{kind.flops:>8.0e}{kind.tokens:>8.0e}{kind.batch:>7,}{kind.context:>9,}", end="")
    print(f"{kind.devices:>9}{kind.memory / 1e9:>9.0f}{kind.bandwidth / 1e9:>7,.0f}", end="")
    print(f"{1e3 * kind.seconds:>6.1f} ms")

# %% [markdown]
# Eight budgets. Training compute and text to train on; devices with their memory and bandwidth; and the time
# that a step may take when the model answers so many users. That is all there is to spend.
#
# ## What does a design cost?
#
# Begin with answering. A decode step gives each user one token. It must *hold* all weights and all caches. It
# *reads* the caches, the shared weights, and of the experts those that somebody in the batch has chosen.

# %% tags=["nbval-ignore-output"] why="widget"
predict("17.read")

# %%
read = accounting.expert_coverage(512, 4, 256)
print(f"experts of a layer that 256 tokens touch, 4 of 512 each: {read:.0f}")

# %%
reveal("17.read")

# %% [markdown]
# {{exercise 17.serve}}


# %% answer="17.serve"
def serve(
    shared,
    expert,
    embedding,
    n_experts,
    top_k,
    cache_per_token,
    batch,
    context,
    bits,
    bandwidth,
    peak,
):
    """Bytes that serving must hold, and the seconds of one decode step.

    shared, expert, embedding: parameters (expert: one, in all layers). n_experts: E. top_k: K.
    cache_per_token: bytes. batch: users. context: tokens in each one's cache. bits: of a weight.
    bandwidth: bytes a second. peak: operations a second. Returns two numbers.
    """
    ### BEGIN SOLUTION
    cache = cache_per_token * batch * context
    touched = n_experts * (1 - (1 - top_k / n_experts) ** batch)
    held = (shared + embedding + n_experts * expert) * bits / 8 + cache
    read = (shared + touched * expert) * bits / 8 + cache
    return held, max(read / bandwidth, 2 * (shared + top_k * expert) * batch / peak)
    ### END SOLUTION


# %%
check("17.serve")

# %% [markdown]
# With it, some published models on one GPU of 80 GB, with weights of 8 bits and 4,096 tokens of context:

# %%
own_serve = yours("17.serve")


def served(name, batch):
    """GB held and milliseconds of a step, by your function."""
    model, counted = accounting.describe(name), accounting.count(accounting.describe(name))
    moe, table = model.moes[0][0] if model.moes else None, counted.components["embedding"]
    expert = sum(times * one.expert_parameters for one, times in model.moes) if moe else 0
    n_experts, top_k = (moe.n_experts, moe.top_k) if moe else (1, 1)
    shared = counted.total - n_experts * expert - table
    cache = accounting.kv_cache_bytes_per_token(model)
    held, seconds = own_serve(shared, expert, table, n_experts, top_k, cache, batch, 4096, 8, 3.35e12, 7e14)
    return float(held) / 1e9, 1e3 * float(seconds)


print("by", own_serve.label)
print(f"{'':<16}" + "".join(f"{f'{batch} users':>22}" for batch in (1, 16, 64)))
for name in ("Mixtral-8x7B", "Qwen3-30B-A3B", "Llama-2-70B", "Mistral-7B"):
    cells = [served(name, batch) for batch in (1, 16, 64)]
    print(f"{name:<16}" + "".join(f"{held:>10.1f} GB{ms:>7.1f} ms" for held, ms in cells))

# %% [markdown]
# One user: time follows the *active* parameters, and Qwen3-30B-A3B answers twice as fast as Mistral-7B.
# With sixteen users it is the slower of the two, because by then most of its experts are read. And memory
# follows the total from the first user on.
#
# ## What is it worth?
#
# That is the harder half. Nobody can train eight times a thousand designs. What there is are *laws*: formulas
# fitted to many small trainings. The simulator puts four of them together:
#
# - The law of dense models: a loss for so many parameters and so many tokens (arXiv 2203.15556, eq. 10).
# - How many times its active size a model with experts acts like: the *leverage* of lesson 11 (arXiv
#   2507.17702, eq. 13).
# - What text is worth that is seen again (arXiv 2305.16264, eq. 5).
# - What 8 or 4 bits a weight cost, as measured on one model by llama.cpp.

# %% tags=["nbval-ignore-output"] why="widget"
predict("17.worth")

# %%
for n_experts in (8, 32, 128, 512):
    one = budget.usual(2048, n_experts, 4, 1024, tokens=4e11)
    print(f"4 of {n_experts:>3} experts: {one.total / one.active:5.1f} times its active parameters,", end=" ")
    print(f"acts like {budget.leverage(one):.1f} times")
asked = budget.usual(2048, 256, 8, 512, tokens=1e12)
print(f"8 of 256 narrow experts: {asked.total / asked.active:.1f} times,", end=" ")
print(f"acts like {budget.leverage(asked):.1f} times")

# %%
reveal("17.worth")

# %% [markdown]
# More experts help, each step less than the one before, and far less than the parameters grow. That is lesson
# 11's law. Now ask it about a layer of ten thousand experts, and about a training that nobody has paid for.

# %%
for activation, flops in ((1 / 32, 1e21), (1 / 128, 1e21), (1 / 10_000, 1e21), (1 / 10_000, 1e27)):
    acts = efficiency_leverage(activation, 8, flops, beyond=True)
    print(f"one expert in {1 / activation:>6,.0f}, {flops:.0e} FLOPs:", end=" ")
    print(f"acts like {acts:>5.1f} times its active size")
lab = budget.KINDS["small lab"]
print("\nthe simulator, of one of 10,240:")
for said in budget.assess(budget.usual(2048, 10_240, 1, 8192, tokens=2e11), lab).refused:
    print("  refused:", said)

# %% [markdown]
# A formula has an answer everywhere. Nobody has trained such a model, and what stands there is not a
# forecast but the formula's shape, far from all data. A search goes to exactly such places. So this
# simulator refuses to answer there, and says who measured how far. Refusing is a part of the model.
#
# Inside the range, too, it says what it stretches:

# %%
phone = budget.KINDS["phone"]
found = budget.search(phone)
print(found.verdict)
for said in found.verdict.stretched:
    print("  stretched:", said)

# %% tags=["nbval-ignore-output"] why="widget"
quiz("17.q_range")

# %% [markdown]
# ## Eight budgets
#
# Which of the eight wants a dense model?

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import BudgetBench

bench = BudgetBench(ask=False)
predict("17.dense", unlocks=bench)

# %%
best = {name: budget.search(kind) for name, kind in budget.KINDS.items()}
dense = {name: budget.search(kind, dense=True) for name, kind in budget.KINDS.items()}
print(f"{'best design found':<18}{'D':>6}{'E':>5}{'K':>4}{'F':>7}{'bits':>6}  {'layout':<9}", end="")
print(f"{'total':>8}{'active':>8}{'loss':>8}{'dense':>8}")
for name, (design, verdict) in best.items():
    d = design
    print(f"{name:<18}{d.d_model:>6,}{d.n_experts:>5}{d.top_k:>4}{d.d_expert:>7,}{d.bits:>6}", end="  ")
    print(f"{d.layout:<9}{d.total / 1e9:>6.1f} B{d.active / 1e9:>6.2f} B{verdict.loss:>8.3f}", end="")
    print(f"{dense[name].loss:>8.3f}" if dense[name] else f"{'none':>8}")
print(f"different designs: {len({found.design for found in best.values()})} of {len(best)}")

# %%
reveal("17.dense")
ahead = {name: 1 - best[name].loss / dense[name].loss for name in best if dense[name]}
won = [name for name in best if not best[name].design.dense]
measured("budgets whose best design has experts", len(won), of=len(best), at_least=6)
measured(
    "loss below the best dense one's by", [ahead[name] for name in won if name in ahead], above=0.01, unit="%"
)
claim("L126", "correct", holds=len(won) >= 6 and min(ahead[name] for name in won if name in ahead) > 0.01)

# %% [markdown]
# With so much compute for so little text there is nothing to save: the best that memory allows is a dense
# model that uses all its weights for every token. In the other seven something is short that experts save,
# compute in training or the time of a step; that holds even where caches fill the memory.
#
# Look at the differences, too: a few per cent of the loss. Four laws, fitted on other data and put together:
# nobody has shown them to be right to a tenth of a per cent.
#
# Now the bench. Choose a budget and move a design about on its map: where nothing fits, where nobody has
# measured, and how the loss falls towards the best. Watch which bar is full, and what twice as much of each
# resource would buy. Do these two agree?

# %% tags=["nbval-ignore-output"] why="widget"
bench

# %% [markdown]
# {{puzzle 17.p_place}}


# %% puzzle="17.p_place"
@puzzle("17.p_place")
def lowest_dry(height_RC, dry_RC):
    ### BEGIN SOLUTION
    return ((height_RC == height_RC[dry_RC == 1].min()) & (dry_RC == 1)).nonzero()[0]
    ### END SOLUTION


# %% [markdown]
# {{exercise 17.design}}


# %% answer="17.design"
def design(flops, tokens, batch, context, devices, memory, bandwidth, peak, link, seconds):
    """Choose a design for a budget: any that fits and comes near the best.

    flops, tokens: for training. batch, context: users, and tokens of each one. devices; memory, bandwidth,
    peak: of each. link: bytes a second that it sends. seconds: of a step, at most.
    Returns d_model, n_experts, top_k, d_expert, bits (16, 8, 4), layout ("one", "experts", "all").
    """

    def cost(d, E, K, F, bits, layout):
        """Loss in nats a token, bytes on a device, and the seconds of a step."""
        n = 1 if layout == "one" else devices
        cut = n if layout == "all" else 1
        layers, kv = max(8, d // 128), max(1, d // 512)
        expert, router = 3 * d * F, d * E if E > 1 else 0
        rest = layers * (2 * d * (d // 128 + kv) * 128 + router) + 65_536 * d
        active = rest + layers * K * expert
        width = {16: 2.0, 8: 1.0625, 4: 0.5625}[bits]  # bytes of a weight, with the scales of its block
        touched = E * (1 - (1 - K / E) ** batch)
        cache = 4 * layers * kv * 128 * context * batch / n
        held = ((rest + 65_536 * d) / cut + layers * expert * E / n) * width + cache
        read = (rest / cut + layers * expert * touched / n) * width + cache
        step = max(read / bandwidth, 2 * active * batch / n / peak) + layers * 20e-6
        if layout == "experts":  # a token's rows travel to their experts, and back
            sent = batch / n * K * 2 * d * (n - 1) / n
            step += layers * 2 * (1e-6 * (n - 1) + sent / link)
        if layout == "all":  # two sums over all devices
            step += layers * 2 * (2e-6 * (n - 1) + 2 * (n - 1) / n * batch * 2 * d / link)
        seen = min(flops / (6 * active), 4 * tokens, 10_000 * active)
        acts = active - layers * router
        if E > 1:
            grain, compute = math.log2(2 * d / F), math.log10(min(6 * active * seen, 5.1e21))
            acts *= (K / E + 0.0163) ** (1.23 - 0.0761 * compute + 0.0167 * grain**2 - 0.117 * grain)
        again = max(seen / tokens, 1) - 1
        fresh = min(seen, tokens) * (1 + 15.4 * (1 - math.exp(-again / 15.4)))
        rounding = {16: 0.0, 8: 0.0001, 4: 0.0414}[bits]
        return 1.69 + 406.4 / acts**0.34 + 410.7 / fresh**0.28 + rounding, held, step

    def allowed(d, E, K, F, bits, layout):
        """Whether the laws were measured at such a design, and the devices can share it out."""
        if layout != "one" and devices == 1:
            return False
        if layout == "experts" and (E % devices or batch % devices):
            return False
        if layout == "all" and max(1, d // 512) % devices:
            return False
        if not (512 <= d <= 16_384 and d % 128 == 0 and 2 * d <= K * F <= 7 * d):
            return False
        if E == 1:
            return K == 1
        return 8 <= E <= 512 and E / 128 <= K <= E / 2 and 2 <= 2 * d / F <= 16

    ### BEGIN SOLUTION
    widths = range(1024, 8193, 256)
    shapes = [(d, 1, 1, d * half // 2) for d in widths for half in (4, 5, 6, 8, 10, 12, 14)]
    for d in widths:
        for E in (16, 64, 128, 256, 512):
            for G in (2, 4, 8):
                shapes += [(d, E, K, 2 * d // G) for K in {G, 3 * G // 2, 2 * G, 3 * G}]
    best, best_loss = None, math.inf
    for shape in shapes:
        for bits in (8, 4):
            for layout in ("one", "experts", "all"):
                if allowed(*shape, bits, layout):
                    loss, held, step = cost(*shape, bits, layout)
                    if held <= memory and step <= seconds and loss < best_loss:
                        best, best_loss = (*shape, bits, layout), loss
    return best
    ### END SOLUTION


# %%
check("17.design")

# %% [markdown]
# Against a budget of somebody's own, which nobody has seen before. Put your name in.

# %%
own_design = yours("17.design")
name = "Ada"
print("by", own_design.label)
for kind in ("phone", "busy server", "little text"):
    mine = budget.draw_budget(kind, name)
    d, e, k, f, bits, layout = own_design(
        mine.flops,
        mine.tokens,
        mine.batch,
        mine.context,
        mine.devices,
        mine.memory,
        mine.bandwidth,
        mine.peak,
        float(mine.link),
        mine.seconds,
    )
    built = budget.trained(budget.usual(d, e, k, f, bits=bits, layout=layout), mine)
    scored, mark = budget.score(built, mine), budget.search(mine).loss
    print(f"{kind + ' of ' + name:<20}{scored.points:>5g} points: {scored.verdict}; the search: {mark:.3f}")

# %% [markdown]
# **Change this.** A design of your own for the small lab, by hand. How near do you come to the search, and
# what happens when you leave the range?

# %% change=true
# Change these and run the cell again.
n_experts = 64
top_k = 8
d_expert = 512

by_hand = budget.trained(budget.usual(2048, n_experts, top_k, d_expert), lab)
print(f"{top_k} of {n_experts} experts of width {d_expert}: {budget.assess(by_hand, lab)}")
print(budget.score(by_hand, lab))

# %% [markdown] only="solutions"
# More experts lower the loss as long as the active width stays: with 256 of them the small lab is close to
# what the search finds. A single narrow expert a token is refused: nobody has measured there.

# %% only="solutions"
rerun("n_experts = 256", "n_experts = 512", "n_experts = 512; top_k = 1; d_expert = 32")

# %% [markdown]
# ## What would you buy?
#
# Your design stands, and somebody offers money: twice the compute, or twice the text, or twice the memory, or
# twice the time for a step. Which do you take?

# %% tags=["nbval-ignore-output"] why="widget"
predict("17.binds")

# %%
long = budget.KINDS["long documents"]
uses = best["long documents"].verdict.uses
print("long documents, used:  ", ", ".join(f"{name} {share:.0%}" for name, share in uses.items()))
gains = budget.shadow_prices(long)
print("twice as much lowers the loss by:", ", ".join(f"{name} {gain:.4f}" for name, gain in gains.items()))

# %%
reveal("17.binds")
print("most is gained by:", max(gains, key=gains.get))

# %% [markdown]
# Compute is used to the last FLOP, and twice as much of it would buy next to nothing: a model that may not
# grow is hardly better for being trained longer. Memory is not quite full, and it is what binds: the designs
# that come next do not fit. So do not look at the fullest bar. Move each limit, *choose anew*, and see what
# that brings. Economists call it a shadow price.

# %% [markdown]
# {{puzzle 17.p_flat}}


# %% puzzle="17.p_flat"
@puzzle("17.p_flat")
def largest_flat(rent_N, size_N, minutes_N, most, far):
    ### BEGIN SOLUTION
    return size_N[(rent_N <= most) & (minutes_N <= far)].max()
    ### END SOLUTION


# %% [markdown]
# {{exercise 17.defend}}


# %% answer="17.defend"
def defend(loss_N, loss_compute_N, loss_text_N, memory_N, seconds_N, memory, seconds):
    """Say of which resource twice as much would lower the best loss most, and by how much.

    loss_N, loss_compute_N, loss_text_N: [N] nats, as it is and with twice the compute or text.
    memory_N, seconds_N: [N] bytes and seconds of a step; memory, seconds: what is allowed.
    Returns "compute", "text", "memory" or "time", and a number.
    """
    ### BEGIN SOLUTION
    fits_N = (memory_N <= memory) & (seconds_N <= seconds)
    larger_N = (memory_N <= 2 * memory) & (seconds_N <= seconds)
    slower_N = (memory_N <= memory) & (seconds_N <= 2 * seconds)
    now = loss_N[fits_N].min()
    gains = {
        "compute": now - loss_compute_N[fits_N].min(),
        "text": now - loss_text_N[fits_N].min(),
        "memory": now - loss_N[larger_N].min(),
        "time": now - loss_N[slower_N].min(),
    }
    resource = max(gains, key=gains.get)
    return resource, float(gains[resource])
    ### END SOLUTION


# %%
check("17.defend")

# %% [markdown]
# All eight, each chosen anew four times:

# %%
prices = {name: budget.shadow_prices(kind) for name, kind in budget.KINDS.items()}
binding = {name: max(found, key=found.get) for name, found in prices.items()}
print(f"{'':<18}{'fullest':>10}{'binding':>10}   lower by, with twice as much")
for name, found in prices.items():
    print(f"{name:<18}{best[name].verdict.fullest:>10}{binding[name]:>10}", end="   ")
    print("  ".join(f"{resource} {gain:.3f}" for resource, gain in found.items()))
surprises = sum(binding[name] != best[name].verdict.fullest for name in prices)
print(f"the fullest bar is not what binds: {surprises} of {len(prices)}")
print(f"resources that bind somewhere: {', '.join(sorted(set(binding.values())))}")

# %% [markdown]
# **Change this.** Little text wants a dense model. Is it the text by itself? Give it more text, and then as
# little as before and less compute: when do experts pay?

# %% change=true
# Change these and run the cell again.
tokens = 2e10
flops = 1e23

other = dataclasses.replace(budget.KINDS["little text"], tokens=tokens, flops=flops)
any_kind, all_used = budget.search(other), budget.search(other, dense=True)
print(f"{tokens:.0e} tokens, {flops:.0e} FLOPs:", end=" ")
best_kind = "dense" if any_kind.design.dense else f"{any_kind.design.n_experts} experts"
print(f"best {any_kind.loss:.4f}, {best_kind}; best dense {all_used.loss:.4f}")

# %% [markdown] only="solutions"
# With 1e12 tokens experts are clearly ahead. But so they are with 2e10 tokens and a hundredth of the compute:
# then the text is not what is short. Experts save compute, and are worth having where compute is dear.

# %% only="solutions"
rerun("tokens = 1e12", "tokens = 2e10; flops = 1e22", "tokens = 2e10; flops = 1e21")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("17.q_close")

# %% [markdown]
# What the simulator does not know: your data, how uneven your router is, which kernels you have, who will
# maintain it. It knows what can be counted and what others have fitted. Whoever defends a design should be
# able to say on which law it stands, and what happens to it if that law is off.
#
# ## Eight numbers
#
# From here on you check what others say. First a page with eight numbers about a model. Each is one formula
# of an earlier lesson, and each has its well-known wrong twin.

# %% [markdown]
# {{exercise 17.audit}}


# %% answer="17.audit"
def audit(
    shared,
    expert,
    embedding,
    n_experts,
    top_k,
    bits,
    batch,
    n_tokens,
    capacity_factor,
    d_model,
    ranks,
    quoted_Q,
):
    """Work out eight numbers of a model, and say which quotes are off by more than 2 %.

    shared, expert, embedding: parameters. n_experts: E. top_k: K. bits: of a weight. batch: tokens at once.
    n_tokens, capacity_factor: for the capacity. d_model: D. ranks: R. quoted_Q: [8] fp64.
    Returns right_Q [8] and wrong_Q [8], bool.
    """
    ### BEGIN SOLUTION
    active = shared + top_k * expert
    right_Q = torch.tensor(
        [
            (shared + n_experts * expert) / 1e9,
            active / 1e9,
            2 * (active - embedding) / 1e9,
            (shared + n_experts * expert) * bits / 8 / 1e9,
            n_experts * (1 - (1 - top_k / n_experts) ** batch),
            top_k,  # E times the sum of K/E times 1/E
            math.ceil(capacity_factor * n_tokens * top_k / n_experts),
            2 * n_tokens * top_k * d_model * 2 * (ranks - 1) / ranks / 1e6,
        ],
        dtype=torch.float64,
    )
    return right_Q, (quoted_Q / right_Q - 1).abs() > 0.02
    ### END SOLUTION


# %%
check("17.audit")

# %% [markdown]
# A page about Mixtral, put together from what one reads here and there:

# %%
own_audit = yours("17.audit")
mixtral = accounting.count(accounting.describe("Mixtral-8x7B"))
table = mixtral.components["embedding"]
expert = mixtral.components["routed_experts"] / 8
QUOTED = {
    "all parameters, billions": 56,
    "active ones, billions": 12.9,
    "GFLOP a token": 12.9,
    "GB of all weights, 16 bits": 93.4,
    "experts that 4 tokens touch": 8,
    "balancing loss at an even load": 1,
    "capacity, 4,096 tokens, factor 1.25": 640,
    "MB in exchanges, 8 ranks": 58.7,
}
quoted_Q = torch.tensor(list(QUOTED.values()), dtype=torch.float64)
right_Q, wrong_Q = own_audit(
    float(mixtral.total - 8 * expert), float(expert), float(table), 8, 2, 16, 4, 4096, 1.25, 4096, 8, quoted_Q
)
print("by", own_audit.label)
for (what, quote), right, wrong in zip(QUOTED.items(), right_Q.tolist(), wrong_Q.tolist(), strict=True):
    print(f"{what:<37}{quote:>8}{right:>10.4g}{'   wrong' if wrong else ''}")

# %% [markdown]
# ## Find the errors
#
# Numbers are the easy part. This course grew from five explainers, and from code that people copy. Every
# sentence of theirs that the lessons settled got a verdict.

# %% tags=["nbval-ignore-output"] why="widget"
predict("17.correct")

# %%
verdicts = {
    one.id: one.verdict for lesson in registry.lessons() if lesson.number < "17" for one in lesson.claims
}
shares = {verdict: sum(v == verdict for v in verdicts.values()) for verdict in sorted(set(verdicts.values()))}
print(f"{len(verdicts)} claims:", ", ".join(f"{n} {verdict}" for verdict, n in shares.items()))
print(f"simply correct: {shares['correct'] / len(verdicts):.0%}")

# %%
reveal("17.correct")

# %% [markdown]
# So a sceptic who calls everything wrong errs more often than not, and so does a believer. There are four
# answers:
#
# - **right**: true as it stands.
# - **wrong**: a number, a formula, a cause or an *every* in it is false. Then you can say what is true.
# - **depends**: it holds for some models, settings or measures and not for others, and does not say for
#   which.
# - **unknown**: nobody outside can look, and no source says.
#
# How does one find out? Three examples, none of which is on your page. First, from code that many have
# copied: "For the balancing loss, P can be the mean of the rescaled weights of the chosen experts." Take one
# expert a token and look for the gradient.

# %%
torch.manual_seed(0)
logits_TE = torch.randn(64, 8, requires_grad=True)
ids_T = logits_TE.argmax(dim=1)
f_E = torch.bincount(ids_T, minlength=8) / 64
weights_TE = torch.zeros(64, 8).scatter(1, ids_T[:, None], logits_TE.gather(1, ids_T[:, None]).softmax(dim=1))
gradients = {}
for what, P_E in (
    ("all experts", logits_TE.softmax(dim=1).mean(0)),
    ("the chosen, rescaled", weights_TE.mean(0)),
):
    (gradient_TE,) = torch.autograd.grad(8 * (f_E * P_E).sum(), logits_TE, retain_graph=True)
    gradients[what] = gradient_TE.abs().max().item()
    print(f"P over {what + ':':<24} largest gradient {gradients[what]:.1e}")
measured(
    "largest gradient with the rescaled weights", gradients["the chosen, rescaled"], at_most=0, then="wrong"
)

# %% [markdown]
# *Wrong*, in ten lines. Second: "A model with 128 experts needs more memory than one with 8." Count three.

# %%
for name in ("Mixtral-8x22B", "Mixtral-8x7B", "Qwen3-30B-A3B"):
    model = accounting.describe(name)
    gigabytes = accounting.weight_bytes(model) / 1e9
    print(f"{name:<16}{model.moes[0][0].n_experts:>4} experts{gigabytes:>8.0f} GB in bf16")

# %% [markdown]
# *Depends*: on how large an expert is, and the sentence does not say. Third: "The next model of a certain
# company will have a thousand experts." Whom would you ask? *Unknown*, and no computation helps.
#
# When in doubt, what should one say? It costs a point more to call a right sentence anything else.

# %% tags=["nbval-ignore-output"] why="widget"
predict("17.doubt")


# %%
def expected_points(knows, otherwise):
    """Points of twelve for someone who knows a share of the sentences, and says the same to all others."""
    points = 0.0
    for verdict, n in IN_A_PART.items():
        guessed = float(otherwise == verdict) - float(verdict == "right" and otherwise != "right")
        points += n * (knows + (1 - knows) * guessed)
    return points


for otherwise in IN_A_PART:
    print(
        f"knows half, and says {otherwise:<9}to the rest: {expected_points(0.5, otherwise):.1f} points of 12"
    )

# %%
reveal("17.doubt")

# %% [markdown]
# **Change this.** Nine points are needed. How much must somebody know who says "wrong" to everything else?
# And somebody who says "right"?

# %% change=true
# Change these and run the cell again.
knows = 0.6
otherwise = "wrong"

print(f"knows {knows:.0%}, says {otherwise} otherwise: {expected_points(knows, otherwise):.1f} points of 12")

# %% [markdown] only="solutions"
# About three quarters with "wrong", and a little more than six tenths with "right". (A third rule stands in
# the way of both: half of each kind must be found.)

# %% only="solutions"
rerun("knows = 0.75", 'knows = 0.63; otherwise = "right"', 'knows = 0.75; otherwise = "depends"')

# %% [markdown]
# Now your page. Any whole number from 0 on draws one of your own, such as your student number, or one that an
# instructor gives you. The page of 0 is that of the published answers.

# %%
my_seed = 0
sentences(my_seed)

# %% [markdown]
# {{exercise 17.find_errors}}


# %% answer="17.find_errors"
def find_errors(part):
    """Judge the sentences of a part of your page.

    part: 1 or 2. Returns your seed and a table [12, 3]: a sentence's number, your verdict, and, where you say
    "wrong", what puts it right: a number, or an arXiv number such as 2101.03961. Elsewhere 0.
    """
    seed = 0  # yours, as above
    codes = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
    ### BEGIN SOLUTION
    table = {
        1: [
            (44, "depends", 0),
            (34, "wrong", 8),  # K, in transformers
            (39, "unknown", 0),
            (13, "right", 0),
            (14, "right", 0),
            (61, "wrong", 3),  # the largest id is 2
            (10, "right", 0),
            (33, "depends", 0),
            (59, "wrong", 128),
            (28, "wrong", 6.45),
            (49, "wrong", 2308.00951),  # Soft MoE
            (9, "right", 0),
        ],
        2: [
            (62, "right", 0),
            (72, "wrong", 2101.03961),  # Switch
            (17, "depends", 0),
            (26, "right", 0),
            (64, "wrong", 25.5),  # two operations a weight
            (45, "wrong", 1),
            (21, "depends", 0),
            (70, "unknown", 0),
            (69, "right", 0),
            (30, "wrong", 25.4),
            (57, "right", 0),
            (31, "wrong", 2),
        ],
    }
    ### END SOLUTION
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


# %%
check("17.find_errors")

# %% [markdown]
# What is true of each, and where it was read:

# %%
settled(my_seed)

# %% [markdown]
# ## An error that runs
#
# One kind of error is the worst: code that runs, trains, and gives no sign. A block in a well-known library
# has a router that returns a mask of zeros and ones, `[T, E]`, for each token's first choice. Then it takes
# `one_hot` of that mask, and reads the result as "which expert gets which tokens".

# %% tags=["nbval-ignore-output"] why="widget"
predict("17.onehot")

# %%
torch.manual_seed(0)
mask_TE = torch.nn.functional.one_hot(torch.randint(128, (1000,)), 128)
print(f"the router has chosen {int(mask_TE.any(0).sum())} different experts for {len(mask_TE)} tokens")
twice_TEX = torch.nn.functional.one_hot(mask_TE, 128)
works_X = twice_TEX.sum((0, 1)) > 0
print(f"one_hot of the mask has shape {tuple(twice_TEX.shape)}")
print(f"experts that get something to do: {works_X.nonzero().flatten().tolist()}")

# %%
reveal("17.onehot")

# %% [markdown]
# The mask's *values*, 0 and 1, are taken for the experts' numbers. The shapes fit, the loss is finite, and
# 126 experts of 128 are never run. It is the block of NLLB-MoE in transformers 5.23, and a test of this
# course holds it. How would one have found it? By the first test of lesson 02: permute the experts and the
# router's columns together, and see whether the output stays. Or by counting which experts ever run.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("17.q_settle")

# %% [markdown]
# ## What you have built

# %%
closing()

# %% [markdown]
# ## Where to go from here
#
# Papers, in an order in which they can be read, each with what to look for:
#
# - DeepSeek-V3 ([arXiv 2412.19437](https://arxiv.org/abs/2412.19437)), sections 2.1.2 and 3.4: the whole of
#   this course in one system. Look for each choice, and for what it was compared with.
# - OLMoE ([arXiv 2409.02060](https://arxiv.org/abs/2409.02060)), section 4: the most open ablations there
#   are. Look at how small the differences are that decide, and which were measured once.
# - ST-MoE ([arXiv 2202.08906](https://arxiv.org/abs/2202.08906)): how to write about instability. Look for
#   the failures.
# - Ling ([arXiv 2507.17702](https://arxiv.org/abs/2507.17702)) beside Krajewski et al. ([arXiv
#   2402.07871](https://arxiv.org/abs/2402.07871)): two laws of the same thing. Look for what each kept fixed.
# - Shazeer et al. ([arXiv 1701.06538](https://arxiv.org/abs/1701.06538)), last: read it now, and see how much
#   was there in 2017.
#
# Code, each with a question to put to it:
#
# - [torchtitan](https://github.com/pytorch/torchtitan), `models/common/moe.py`: where does the bias go in,
#   and where does it not?
# - [Megatron-LM](https://github.com/NVIDIA/Megatron-LM), `moe_utils.py`: which of the balancing losses of
#   lesson 05 are there, and how are they scaled?
# - [scattermoe](https://github.com/shawntan/scattermoe) and
#   [MegaBlocks](https://github.com/databricks/megablocks): what of lesson 08's sort, and of lesson 09's
#   kernels, do you recognise?
# - [EPLB](https://github.com/deepseek-ai/EPLB): which of lesson 14's plans does it make, and on which load?
# - [vLLM](https://github.com/vllm-project/vllm), the fused MoE layer: what is done for a batch of one?
#
# And what nobody has settled yet: which balance a model wants rather than bears, what an expert is, why
# finer is better on text, and how to tell a good route from a lucky one. You have the tools to ask.

# %% [markdown]
# ## What to take with you
#
# - Count what is held, what is read and what is multiplied: they are three numbers of experts.
# - A law has a range, and a search goes where the range ends.
# - The fullest bar is not what binds. Move a limit, choose anew, compare.
# - Of a sentence ask what one would have to count, and whether it says *every*. Right, wrong, depends,
#   unknown: doubting is not knowing.
# - Code that runs is no evidence. Permute, count, compare with the plain loop.

# %%
claims_table()

# %%
score()
