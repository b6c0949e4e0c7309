# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("14_expert_parallel")

# %% [markdown]
# In lesson 08 we put experts on eight devices and counted, on paper, what would travel. Now they really live
# apart: several processes, each with some of the experts and some of the tokens.
#
# Getting the rows across is the easy part. The hard part is to know that it is still the same training.
# People who have built this report one kind of bug again and again, in PyTorch, Megatron, DeepSpeed and
# transformers: the loss is right, a gradient is not, and the curve looks fine. One report says "that loss
# curves are equivalent even with the doubled gradients"
# ([pytorch#160285](https://github.com/pytorch/pytorch/issues/160285)). This lesson makes some of these
# mistakes on purpose, and asks how one would have noticed.
#
# **T** tokens, **D** width, **E** experts, **K** a token, as always. **G** ranks share the experts, **L** =
# E/G on each; **R** *replicas* of such a group make **W** = R·G ranks in all. A *rank* is a process, usually
# with a GPU of its own.

# %%
import json
import math
import re
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import torch
from safetensors.torch import load_file

from moe_lessons import accounting, dispatch, metrics, svg
from moe_lessons.experts import swiglu
from moe_lessons.layer import MoELayer
from moe_lessons.parallel import (
    by_coactivation,
    contiguous_placement,
    dispatch_bytes,
    launch,
    nodes_per_token,
    overlap,
    plan,
    rank_load,
)
from moe_lessons.parallel.in_turns import in_turns
from moe_lessons.routing import topk_softmax

torch.set_num_threads(1)  # everything here is small: more threads would only wait for each other
RESULTS = files("moe_lessons") / "results"


def result(name):
    """A committed result file of the package."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


# %% [markdown]
# ## What travels
#
# One layer, 8 experts, two on each of four ranks. The ranks have 3, 8, 5 and 6 tokens. Each rank routes its
# own tokens and sorts their rows by expert, as in lesson 08. It now knows how many rows it has for each
# expert, and so for each rank.

# %%
generator = torch.Generator().manual_seed(14)
layer = MoELayer(d_model=16, d_expert=24, n_experts=8, top_k=2)
for parameter in layer.parameters():
    torch.nn.init.normal_(parameter, std=0.3, generator=generator)
N_EXPERTS, TOP_K = 8, 2
TOKENS_G = [3, 8, 5, 6]
hidden_TD = torch.randn(sum(TOKENS_G), 16, generator=generator)


def sorted_by_expert(hidden_TD):
    """What one rank does alone: route its tokens, and sort their rows by expert."""
    _, ids_TK, weights_TK = topk_softmax(layer.router(hidden_TD), TOP_K)
    return dispatch.permutation_plan(ids_TK, N_EXPERTS), weights_TK


counts_GE = torch.stack([sorted_by_expert(part)[0].tokens_per_expert_E for part in hidden_TD.split(TOKENS_G)])
splits_GG = counts_GE.view(4, 4, 2).sum(dim=2)  # experts 0, 1 are on rank 0, experts 2, 3 on rank 1, ...
print("rows that rank g has for expert e, and for rank h")
for rank in range(4):
    print(f"  rank {rank}:  {counts_GE[rank].tolist()}   {splits_GG[rank].tolist()}")

# %% [markdown]
# A rank knows its own row of this table: what it *sends*. What it *receives* is a column, and nobody has told
# it. So the counts travel first: E small integers from each rank to all others. Then everyone knows how much
# room to make, and the rows can follow.
#
# Both are the same collective, the *all-to-all*. Seen from above it is a transpose of blocks: before, the
# blocks lie sorted by sender, afterwards by receiver.

# %% tags=["nbval-ignore-output"] why="image" draw=true
blocks = [[f"{g}→{h}: {int(splits_GG[g, h])}" for h in range(4)] for g in range(4)]
svg.grids(
    [
        svg.Grid("before: a rank's row", blocks),
        svg.Grid("after", [list(row) for row in zip(*blocks, strict=True)], look="yours"),
    ],
    title="An all-to-all turns rows of blocks into columns",
    caption="A block: sender → receiver, and its number of rows. A row of the table lies on one rank.",
)

# %% [markdown]
# {{puzzle 14.p_days}}


# %% puzzle="14.p_days"
@puzzle("14.p_days")
def longest_visits(visit_N, visits_D):
    ### BEGIN SOLUTION
    return [int(day.max()) for day in visit_N.split(visits_D.tolist())]
    ### END SOLUTION


# %% [markdown]
# {{exercise 14.exchange}}


# %% answer="14.exchange"
def exchange(rows_SD, splits_GG):
    """Return the rows of all ranks as they lie after an all-to-all.

    rows_SD: [S, D], rank 0's rows first; on each rank sorted by receiver.
    splits_GG: [G, G] whole numbers, rows from rank g to rank h.
    Returns [S, D]: what rank 0 has received first; on each rank sorted by sender.
    """
    ### BEGIN SOLUTION
    n_ranks = len(splits_GG)
    blocks = rows_SD.split(splits_GG.flatten().tolist())
    return torch.cat([blocks[g * n_ranks + h] for h in range(n_ranks) for g in range(n_ranks)])
    ### END SOLUTION


# %%
check("14.exchange")

# %%
own_exchange = yours("14.exchange")
plans = [sorted_by_expert(part)[0] for part in hidden_TD.split(TOKENS_G)]
rows = [part[plan_.token_ids_S] for part, plan_ in zip(hidden_TD.split(TOKENS_G), plans, strict=True)]
arrived_RD = own_exchange(torch.cat(rows), splits_GG)
back_SD = own_exchange(arrived_RD, splits_GG.T.contiguous())
print("rows sent by each rank:    ", splits_GG.sum(dim=1).tolist())
print("rows received by each rank:", splits_GG.sum(dim=0).tolist())
measured(
    "there and back, with the splits transposed: largest difference",
    (back_SD - torch.cat(rows)).abs().max(),
    below=1e-9,
)

# %% [markdown]
# The way back is the same exchange with the table transposed. That holds for results, and in training for
# gradients: a layer's step has four exchanges of rows, two forward and two backward.

# %% [markdown]
# ## Sorted twice

# %% tags=["nbval-ignore-output"] why="widget"
predict("14.grouped")

# %% [markdown]
# Look at what lies on rank 1 after the exchange, row by row:

# %%
starts_G = [0, *splits_GG.sum(dim=0).cumsum(0).tolist()]
lies = [
    (sender, expert)
    for sender in range(4)
    for expert in (2, 3)
    for _ in range(int(counts_GE[sender, expert]))
]
print("on rank 1, in order of arrival")
print("  sender ", " ".join(str(sender) for sender, _ in lies))
print("  expert ", " ".join(str(expert) for _, expert in lies))
changes = sum(a[1] != b[1] for a, b in pairwise(lies))
print(f"the expert changes {changes} times; a grouped product allows 1 change for 2 experts")
reveal("14.grouped")

# %% [markdown]
# So there is a second sort, on the receiver, and it needs no look at the rows: the counts say it all.

# %% [markdown]
# {{exercise 14.expert_major}}


# %% answer="14.expert_major"
def expert_major(arriving_GL):
    """Return in which order to take rows that came sorted by sender, and where each expert's rows end then.

    arriving_GL: [G, L] whole numbers, rows from rank g for local expert e.
    Returns order_R [R] and ends_L [L].
    """
    ### BEGIN SOLUTION
    n_ranks, n_local = arriving_GL.shape
    ids_R = torch.arange(n_local).repeat(n_ranks).repeat_interleave(arriving_GL.flatten())
    return ids_R.argsort(stable=True), arriving_GL.sum(dim=0).cumsum(dim=0)
    ### END SOLUTION


# %%
check("14.expert_major")

# %% [markdown]
# That is all that a layer on several ranks needs. Here it is, in one process: a rank is a piece of a list,
# and instead of sending we hand over. It runs on your two functions once they have passed.

# %%
own_major = yours("14.expert_major")


def on_ranks(hidden_TD, tokens_G, gate_up, down, second_sort=True):
    """The layer with its experts on len(tokens_G) ranks."""
    n_ranks = len(tokens_G)
    n_local = N_EXPERTS // n_ranks
    parts = hidden_TD.split(tokens_G)
    plans, weights = zip(*map(sorted_by_expert, parts), strict=True)
    rows_SD = torch.cat([part[plan_.token_ids_S] for part, plan_ in zip(parts, plans, strict=True)])
    counts_GGL = torch.stack([plan_.tokens_per_expert_E for plan_ in plans]).view(n_ranks, n_ranks, n_local)
    splits_GG = counts_GGL.sum(dim=2)
    arrived = own_exchange(rows_SD, splits_GG).split(splits_GG.sum(dim=0).tolist())
    results = []
    for rank, rows_RD in enumerate(arrived):
        order_R, ends_L = map(torch.as_tensor, own_major(counts_GGL[:, rank]))
        if not second_sort:
            order_R = torch.arange(len(rows_RD))
        experts = range(rank * n_local, (rank + 1) * n_local)
        groups = rows_RD[order_R].tensor_split(ends_L[:-1].long())
        done_RD = torch.cat(
            [swiglu(group, gate_up[e], down[e]) for group, e in zip(groups, experts, strict=True)]
        )
        results.append(done_RD[order_R.argsort()])
    back = own_exchange(torch.cat(results), splits_GG.T.contiguous()).split(splits_GG.sum(dim=1).tolist())
    outputs = [
        (rows_SD[plan_.inverse_S].unflatten(0, w_TK.shape) * w_TK.unsqueeze(-1)).sum(dim=1)
        for rows_SD, plan_, w_TK in zip(back, plans, weights, strict=True)
    ]
    return torch.cat(outputs)


def in_one(hidden_TD, tokens_G, gate_up, down):
    _, ids_TK, weights_TK = topk_softmax(layer.router(hidden_TD), TOP_K)
    return dispatch.moe_loop(hidden_TD, ids_TK, weights_TK, gate_up, down)


def output_and_gradients(way, tokens_G, **how):
    """The output, and the gradients of rows, gate and up, and down."""
    draw = torch.Generator().manual_seed(1)
    hidden_TD = torch.randn(sum(tokens_G), 16, generator=draw)
    target_TD = torch.randn(sum(tokens_G), 16, generator=draw)
    bank = layer.experts.gate_up_proj, layer.experts.down_proj
    leaves = [part.detach().clone().requires_grad_() for part in (hidden_TD, *bank)]
    output_TD = way(leaves[0], tokens_G, *leaves[1:], **how)
    return output_TD, *torch.autograd.grad((output_TD * target_TD).sum(), leaves)


for tokens_G in ([40, 40, 40, 40], [3, 70, 11, 29], [0, 50, 20, 9], [60, 0]):
    wanted = output_and_gradients(in_one, tokens_G)
    found = output_and_gradients(on_ranks, tokens_G)
    gaps = [(a - b).norm() / b.norm() for a, b in zip(found, wanted, strict=True)]
    measured(f"tokens {tokens_G}: relative error of output and gradients", gaps, below=1e-5)
unsorted = output_and_gradients(on_ranks, [3, 70, 11, 29], second_sort=False)
wanted = output_and_gradients(in_one, [3, 70, 11, 29])
measured(
    "without the second sort: relative error of the output",
    (unsorted[0] - wanted[0]).norm() / wanted[0].norm(),
    above=0.3,
)

# %% [markdown]
# No error is raised without the second sort: all shapes are the same. Rows were simply computed by the wrong
# expert.

# %% [markdown]
# **Change this.** Which share of the rows leaves its rank? Try 2 and 8 ranks, and another number of experts a
# token: does the share change with it, or only the number of rows?

# %% change=true
# Change these and run the cell again.
n_ranks = 4
top_k = 2

many_TD = torch.randn(4000, 16, generator=torch.Generator().manual_seed(2))
_, ids_TK, _ = topk_softmax(layer.router(many_TD), top_k)
homes = contiguous_placement(4000, n_ranks), contiguous_placement(N_EXPERTS, n_ranks)
rows_GG = dispatch_bytes(ids_TK, *homes, row_bytes=1)
away = int(rows_GG.sum() - rows_GG.trace())
total = int(rows_GG.sum())
print(f"{n_ranks} ranks, K = {top_k}: {away / total:.0%} of {total:,} rows leave their rank")

# %% [markdown] only="solutions"
# About (G - 1)/G: half with two ranks, seven eighths with eight. K changes how many rows there are. So beyond
# a few ranks nearly every row travels, and a layer's traffic is K rows a token.

# %% only="solutions"
rerun("n_ranks = 2", "n_ranks = 8", "n_ranks = 8; top_k = 4")

# %% [markdown]
# ## Is it the same layer? For real
#
# Now with processes. The next cell starts two of them, as you would on a machine with two GPUs, and they talk
# to each other through PyTorch's `torch.distributed`. They compare a layer with one process in ten cases
# (even, uneven, a rank without tokens, all tokens on one rank, nobody anywhere, and all rows to the same
# experts), train a small model for ten steps, and wait for each other a little, which we need later.

# %% tags=["nbval-ignore-output"] why="widget"
predict("14.same")

# %% tags=["nbval-ignore-output"] why="timing"
command = launch.command(2, "moe_lessons.parallel.demo")
print("$ torchrun", " ".join(command[3:]))
obstacle = launch.can_start()
if obstacle is None:
    real = launch.run_ranks(2, "moe_lessons.parallel.demo", timeout_s=300)
    parts = ", ".join(f"{name} {s:.1f} s" for name, s in real["seconds"].items())
    print(f"{real['ranks']} processes: {parts}")
else:
    real = result("expert_parallel_demo")
    print(f"Processes cannot meet here ({obstacle}); these are the numbers of an earlier run.")

# %%
cases = real["equal"]["cases"]
for part, what in (
    ("output", "output"),
    ("rows", "gradient of the rows"),
    ("down", "gradient of an expert"),
    ("router", "gradient of the router"),
):
    measured(
        f"{len(cases)} cases, fp32, {what}: largest relative error",
        max(case[part] for case in cases),
        below=1e-5,
    )
for mistake, errors in real["equal"]["mistakes"].items():
    measured(
        f"planted mistake {mistake!r}: largest relative error",
        max(errors.values()),
        above=0.1,
        then="noticed",
    )

# %% tags=["nbval-ignore-output"] why="trained"
for part in ("output", "rows", "gate_up", "down", "router"):
    print(f"{part:<8} worst relative error in fp32: {max(case[part] for case in cases):.1e}")
averaged = real["equal"]["mistakes"]["experts_averaged"]
print(
    "and with experts' gradients averaged over the ranks:", {part: f"{e:.1e}" for part, e in averaged.items()}
)

# %%
reveal("14.same")

# %% [markdown]
# Not a bit is different, but in the router's gradient. Tokens were split in order, so every expert sees its
# rows in the order of one process, and adds them up in the same way. The router has a copy on each rank, and
# each adds up its own tokens first.
#
# Look at the last line: with the experts' gradients averaged over the ranks, the output and the gradient of
# the rows are right. Whoever tests the forward, or watches the loss of the first steps, sees nothing. That
# brings us to the question which of these gradients belong together.

# %% [markdown]
# ## Whose gradient is it?
#
# Most weights (attention, norms, the router) have a copy on every rank. Each rank has a gradient from its own
# tokens; the average of all is the gradient of the mean loss. That is plain data parallelism.
#
# An expert is different. Tokens of *all* ranks of its group have come to it through the exchange, and
# their gradients come back the same way, added up. And if there are several replicas of the group, another
# rank holds the same expert and has heard other tokens.

# %% [markdown]
# {{puzzle 14.p_seats}}


# %% puzzle="14.p_seats"
@puzzle("14.p_seats")
def cheapest_seats(price_N, width):
    ### BEGIN SOLUTION
    return price_N.view(-1, width).amin(dim=0)
    ### END SOLUTION


# %% [markdown]
# {{exercise 14.reduce_gradients}}


# %% answer="14.reduce_gradients"
def reduce_gradients(dense_WP, expert_WQ, n_ep):
    """Return both gradients as every rank should hold them before the optimizer's step.

    dense_WP: [W, P], gradient of the weights that all hold, from each rank's own mean loss.
    expert_WQ: [W, Q], gradient of each rank's experts, with all that its replica's ranks have to say.
    n_ep: ranks of a replica; rank = replica * n_ep + shard.
    Returns [W, P] and [W, Q].
    """
    ### BEGIN SOLUTION
    n_ranks = len(dense_WP)
    replicas = n_ranks // n_ep
    shards = expert_WQ.view(replicas, n_ep, -1).sum(dim=0) / n_ranks
    return dense_WP.mean(dim=0).repeat(n_ranks, 1), shards.repeat(replicas, 1)
    ### END SOLUTION


# %%
check("14.reduce_gradients")

# %% [markdown]
# Now we train with it: a language model of two layers with 8 experts each, on bytes of English. Four ranks
# take turns in this process, each with its quarter of the batch and its share of the experts. After every
# `backward` your function gets all gradients. First two replicas of two ranks, with nothing clipped, beside
# one process with the whole batch:

# %%
from moe_lessons.data import load_corpus
from moe_lessons.parallel.rehearsal import Rehearsal, rehearse

own_reduce = yours("14.reduce_gradients")
adam = Rehearsal(steps=40, alpha=0.0, max_norm=None)
corpus = load_corpus("language-reference", context_length=adam.model.context_length)


def losses(settings, n_ranks=1, n_ep=1, **how):
    """The loss of each step, in one process or on ranks that take turns."""
    if n_ranks == 1:
        return torch.tensor(rehearse(settings, corpus).losses)
    return torch.tensor(in_turns(settings, corpus, n_ranks, n_ep, **how).losses)


one = losses(adam)
two_by_two = losses(adam, 4, 2, reduce=own_reduce)
gap_2x2 = (two_by_two - one).abs().max().item()
measured(
    "2 replicas of 2 ranks against one process: largest difference of a loss, nats",
    gap_2x2,
    below=1e-5,
    then="the same training",
)

# %% [markdown]
# And now the mistakes that were reported. Four ranks in one group; the right ranks are added up, and nothing
# is divided, so that the experts' gradients are four times too large.

# %% tags=["nbval-ignore-output"] why="widget"
predict("14.forgot")


# %%


def not_divided(dense_WP, expert_WQ, n_ep):
    dense_WP, expert_WQ = own_reduce(dense_WP, expert_WQ, n_ep)
    return dense_WP, expert_WQ * len(expert_WQ)


def averaged(dense_WP, expert_WQ, n_ep):
    """What plain data parallelism does: every parameter is the same one on all ranks, it believes."""
    dense_WP, _ = own_reduce(dense_WP, expert_WQ, n_ep)
    return dense_WP, expert_WQ.mean(dim=0).expand_as(expert_WQ)


four = {
    "not divided": losses(adam, 4, 4, reduce=not_divided),
    "averaged": losses(adam, 4, 4, reduce=averaged),
}
sgd = replace(adam, optimizer="sgd", learning_rate=0.3)
one_sgd, four_sgd = losses(sgd), losses(sgd, 4, 4, reduce=not_divided)
hidden_gap = (four["not divided"] - one).abs().max().item()
measured(
    "AdamW, not divided: largest difference of a loss, nats",
    hidden_gap,
    below=1e-4,
    then="not visible in any curve",
)
measured(
    "SGD, not divided:   largest difference of a loss, nats",
    (four_sgd - one_sgd).abs().max(),
    above=0.1,
    then="visible",
)
measured(
    "AdamW, averaged over all ranks: largest difference, nats",
    (four["averaged"] - one).abs().max(),
    above=0.03,
)

# %%
reveal("14.forgot")

# %% tags=["nbval-ignore-output"] why="image" draw=true
svg.line_chart(
    {
        "one process": (list(range(40)), one.tolist()),
        "4 ranks, not divided": (list(range(40)), four["not divided"].tolist()),
        "4 ranks, averaged": (list(range(40)), four["averaged"].tolist()),
    },
    title="Two wrong trainings: one lies on the right curve, the other looks like a bad seed",
    x_label="step",
    y_label="loss (nats per byte)",
)

# %% [markdown]
# Both are wrong, and neither looks wrong. The first curve covers the right one: Adam divides each gradient by
# a running mean of its own size, and a factor of four cancels. The second trains too, a little worse: each
# expert is moved by a mixture of its own gradient and those of three others.
#
# So "the loss goes down", and even "the loss is the same", is no test. What tests it is what we did above:
# the *gradient*, against one process. It takes a second.
#
# What if one wraps the model in `DistributedDataParallel` and lets it do it all? It trains as well. DDP
# believes that all ranks hold the same model, and when it is built it makes that true: it sends rank 0's
# parameters to all. From 8 different experts E/G are left, each in G copies. The package's `--parallel ep`
# shows the experts to DDP as parameters to leave alone, and sees to them itself.

# %% [markdown]
# ## One norm
#
# A large gradient is usually clipped: if its norm is above a limit, all of it is scaled down. The norm of
# *what*? No rank holds the whole model.

# %% [markdown]
# {{exercise 14.clip}}


# %% answer="14.clip"
def clip_factor(dense_P, expert_GQ, max_norm):
    """Return the norm of the whole model's gradient, and the factor that brings it down to max_norm.

    dense_P: [P], the gradient of the weights that all ranks hold.
    expert_GQ: [G, Q], that of each rank's experts.
    Returns two numbers; the factor is at most 1.
    """
    ### BEGIN SOLUTION
    norm = (dense_P.square().sum() + expert_GQ.square().sum()).sqrt()
    return norm, (max_norm / norm).clamp(max=1.0)
    ### END SOLUTION


# %%
check("14.clip")

# %% tags=["nbval-ignore-output"] why="widget"
predict("14.drift")

# %%
own_clip = yours("14.clip")
clipped = replace(adam, max_norm=1.0)
one_clipped = rehearse(clipped, corpus)
four_clipped = in_turns(clipped, corpus, 4, 4, reduce=own_reduce, clip=own_clip)
each_own = in_turns(clipped, corpus, 4, 4, reduce=own_reduce, clip=own_clip, own_norm=True)
too_large = in_turns(clipped, corpus, 4, 4, reduce=not_divided, clip=own_clip)
one_norm = torch.tensor(four_clipped.losses) - torch.tensor(one_clipped.losses)
measured("one norm for all: largest difference of a loss, nats", one_norm.abs().max(), below=1e-5)
measured("one norm for all: dense weights of two ranks differ by", four_clipped.drift, below=1e-9)
measured(
    "a norm for each:  dense weights of two ranks differ by",
    each_own.drift,
    above=1e-5,
    then="different models",
)
gained = one_clipped.losses[-1] - too_large.losses[-1]
measured("not divided, one norm: last loss *lower* than the right one by, nats", gained, above=2e-4)

# %%
reveal("14.drift")

# %% [markdown]
# With clipping the forgotten division does show: the experts' part dominates the norm, so that everything
# else is scaled down. And after 40 steps this wrong run is *ahead*. Someone who compares two curves and keeps
# the lower one would keep the bug. Forty steps decide nothing, of course; they only show that a curve is the
# wrong instrument.
#
# Ranks that clip by themselves drift apart, slowly and without a message. The weights they share are then G
# models, of which one will be saved.
#
# All of this was in one process. On four real ones the same mistakes were made beforehand, in a model with a
# balancing loss as well:

# %%
print(f"{'40 steps on 4 processes':<42}{'difference':>11}{'last loss':>11}{'right':>8}{'drift':>9}")
for row in result("expert_parallel")["mistakes"]["rows"]:
    gap, last = row["largest_difference_nats"], row["last_loss_nats"]
    print(
        f"{row['run']:<42}{gap:>11.1e}{last:>11.4f}{row['last_loss_of_one_process']:>8.4f}{row['drift']:>9.0e}"
    )

# %% [markdown]
# ## Whose time is it?

# %% tags=["nbval-ignore-output"] why="widget"
predict("14.straggler")

# %% [markdown]
# The two processes have tried it already. Their experts only sleep, 0.05 s each; in the second run rank 1's
# take 0.4 s more.

# %% tags=["nbval-ignore-output"] why="timing"
print("milliseconds of a step")
for name in ("on time", "late"):
    for rank, phases in enumerate(real[name]):
        print(
            f"  {name:<8} rank {rank}:  ",
            "  ".join(f"{phase} {1e3 * s:>4.0f}" for phase, s in phases.items()),
        )

# %%
late = real["late"]
measured(
    "rank 1 is late; seconds that rank 0 spends in combine", late[0]["combine"], above=0.3, then="it waits"
)
measured("                seconds that rank 1 spends in combine", late[1]["combine"], below=0.2)
reveal("14.straggler")

# %% [markdown]
# Whoever reads rank 0's profile sees a slow network. Time in a collective is waiting plus moving, and a
# profile adds the two. Two ways to tell: divide the bytes by the time, which lesson 08 has predicted; or look
# for the one rank that does *not* wait. That is the slow one.

# %% [markdown]
# ### One that does not come

# %% tags=["nbval-ignore-output"] why="widget"
predict("14.early")

# %% [markdown]
# All-to-all has no spare rank. Every rank must come to every exchange, in the same order, also with zero rows
# to send. Here is what happened when one of three ranks did something else. (A group waits for half an hour
# before it gives up; here it was told to wait for eight seconds.)

# %%
failures = result("expert_parallel")["failures"]
for name, mode in failures["modes"].items():
    print(f"{name}: {mode['what']}")
    for rank, seen in enumerate(mode["ranks"]):
        error = re.sub(r" \[.*?\]:\d+|\. This is.*", "", seen.get("error", ""))
        received = f"received {seen['received']}" if "received" in seen else "no error"
        said = f"ended with {seen['exit']}, without a word" if seen["exit"] else error or received
        after = f" after {seen['seconds']} s" if "seconds" in seen else ""
        print(f"  rank {rank}: {said}{after}")
killed = failures["killed"]
print(f"a training of two ranks, one of them killed: all ended after {killed['seconds_until_all_ended']} s")
print(f"  {killed['lines'][0]}")

# %%
reveal("14.early")

# %% [markdown]
# A rank that dies is the kindest case: all others know at once. A rank that skips an exchange stops everybody
# until the time is up. And the third is the one to fear: if the skipping rank comes to the *next* exchange,
# it is served. It asked for the second exchange, whose rows hold 100 and more, and got the 1 and 3 that the
# others had sent in the first, without an error. In the last case a rank expects fewer rows than come; its
# process is gone before Python could say anything.
#
# So a layer on ranks has no early way out. `if no tokens: return` is a bug, whatever it saves.

# %% [markdown]
# ## A hot expert
#
# Routers are never quite even, and the fullest rank ends the step. With experts on ranks there is something
# to do that does not touch the model at all: move the experts. Or copy them.

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import AllToAll

AllToAll()

# %% [markdown]
# *Packing* puts the heaviest expert first, onto the least loaded rank with room. It ends where one expert
# alone is more than a rank's share. *Copies* go on: two copies of an expert share its rows. DeepSeek's load
# balancer (EPLB) does both, greedily. Write it.

# %% [markdown]
# {{exercise 14.balance}}


# %% answer="14.balance"
def balance(load_E, n_ranks, slots):
    """Copy hot experts into the spare slots, then place all copies.

    load_E: [E] rows of each expert. n_ranks, slots: G ranks of so many slots, together E or more.
    Returns copies_E [E] whole numbers, and load_G [G] in any order.
    """
    ### BEGIN SOLUTION
    copies_E = torch.ones(len(load_E), dtype=torch.int64)
    for _ in range(n_ranks * slots - len(load_E)):
        copies_E[(load_E / copies_E).argmax()] += 1
    pieces = (load_E / copies_E).repeat_interleave(copies_E).sort(descending=True).values
    load_G, used_G = torch.zeros(n_ranks, dtype=load_E.dtype), torch.zeros(n_ranks)
    for piece in pieces:
        rank = torch.where(used_G < slots, load_G, torch.inf).argmin()
        load_G[rank] += piece
        used_G[rank] += 1
    return copies_E, load_G
    ### END SOLUTION


# %%
check("14.balance")

# %%
own_balance = yours("14.balance")


def uneven(load_G):
    """Max over mean: how much longer the fullest rank takes than an even one."""
    return float(metrics.max_over_mean(torch.as_tensor(load_G, dtype=torch.float64)))


def planned(load_E, n_ranks, slots):
    return uneven(own_balance(torch.as_tensor(load_E, dtype=torch.float64), n_ranks, slots)[1])


zipf_E = torch.arange(1, 257, dtype=torch.float64) ** -0.8
by_number = uneven(zipf_E.view(32, 8).sum(dim=1))
packed, copied = planned(zipf_E, 32, 8), planned(zipf_E, 32, 9)
hottest = float(zipf_E.max() / (zipf_E.sum() / 32))
print("256 experts on 32 ranks, the r-th most popular like 1 / r^0.8, planned by", own_balance.label)
print(f"  numbered by popularity, no plan  {by_number:.2f}")
print(f"  packed, 8 slots a rank           {packed:.2f}   (the hottest expert alone: {hottest:.2f})")
print(f"  9 slots a rank, 32 copies        {copied:.3f}")

EXAMPLE = [  # two layers, 12 experts: the example of github.com/deepseek-ai/EPLB, on 8 GPUs of 2 slots
    [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
    [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
]
on_nodes = [uneven(rank_load(plan(load, 8, 16, n_groups=4, n_nodes=2), load)) for load in EXAMPLE]
print("EPLB's own example, max/mean of two layers")
print("  4 groups kept together on 2 nodes", [round(x, 3) for x in on_nodes])
print("  every expert anywhere            ", [round(planned(load, 8, 2), 3) for load in EXAMPLE])

# %% [markdown]
# The second policy is for models with node-limited routing: experts of a group must stay on one node, and the
# plan pays for it.

# %% [markdown]
# ### A plan is a forecast
#
# All of these plans were made for the very load that they met. A real one is made from the past. So let us
# take real routing: a model of 4 layers with 32 experts, 4 a token, trained beforehand on English, source
# code and names of characters. Its choices for text that it has not seen are stored with the course. Eight
# ranks of 4 experts; with one slot more on each there is room for 8 copies, a quarter more memory.

# %% tags=["nbval-ignore-output"] why="widget"
predict("14.stale")

# %%
traces = result("expert_traces")
KINDS, N_LAYERS = traces["kinds"], 4
loads = torch.tensor([model["loads"] for model in traces["models"]]).double()  # [model, kind, layer, half, E]
print(f"models: {len(traces['models'])}, of {traces['config']['steps']} steps; {traces['about']['script']}")
print(f"{traces['traced bytes of each kind']:,} bytes of each kind, cut into two halves")


def meets(plan_load_E, load_E, slots):
    """Max over mean when a plan for one load meets another; 8 ranks."""
    return uneven(rank_load(plan(plan_load_E, 8, 8 * slots), load_E))


rows_of = {
    "no plan, by number": [],
    "packed, plan from the first half": [],
    "8 copies, plan from the load itself": [],
}
rows_of |= {"8 copies, plan from the first half": [], "8 copies, plan from another kind": []}
for model_loads in loads:
    for kind in range(3):
        for layer_ in range(N_LAYERS):
            first_E, second_E = model_loads[kind, layer_]
            other_E = model_loads[(kind + 1) % 3, layer_, 0]
            found = [
                uneven(second_E.view(8, 4).sum(dim=1)),
                meets(first_E, second_E, 4),
                meets(second_E, second_E, 5),
            ]
            found += [meets(first_E, second_E, 5), meets(other_E, second_E, 5)]
            for name, value in zip(rows_of, found, strict=True):
                rows_of[name].append(value)
table = {name: torch.tensor(values).view(-1, 3, N_LAYERS) for name, values in rows_of.items()}
print(f"{'max/mean on the second half, mean of all layers':<50}" + "".join(f"{kind:>10}" for kind in KINDS))
for name, values in table.items():
    print(f"  {name:<48}" + "".join(f"{values[:, kind].mean():>10.3f}" for kind in range(3)))
none = table["no plan, by number"]
stale = table["8 copies, plan from the first half"]
foreign = table["8 copies, plan from another kind"]
print(f"worse than no plan, of {none.numel()} cases (layer and kind):")
print(f"  the plan from the first half in {int((stale > none).sum())}")
print(f"  the plan from another kind of text in {int((foreign > none).sum())}")

# %%
reveal("14.stale")

# %% [markdown]
# For its own load the plan is nearly perfect. On the next few thousand tokens of the same text some of that
# is left. On another kind of text it is mostly worse than no plan at all, with a quarter more memory. A copy
# cures popularity that lasts, and a server sees many texts: by default vLLM plans anew every 3,000 steps,
# from the load of the last 1,000.
#
# And even a plan for the true load says nothing about one step. Random tokens of one kind, a few at a time,
# as a decoding server has them:

# %%
trace = load_file(str(RESULTS / "expert_traces.safetensors"))["ids"]  # [kind, layer, token, K], one model
code_LTK = trace[KINDS.index("code")]
generator = torch.Generator().manual_seed(0)
one_step = {}
for n_tokens in (8, 32, 128, 512, 2048):
    found = []
    for ids_TK in code_LTK:
        whole_E = torch.bincount(ids_TK.flatten().long(), minlength=32)
        placed = plan(whole_E, 8, 40)
        for _ in range(50):
            some = torch.randint(len(ids_TK), (n_tokens,), generator=generator)
            step_E = torch.bincount(ids_TK[some].flatten().long(), minlength=32)
            found.append(uneven(rank_load(placed, step_E)))
    one_step[n_tokens] = sum(found) / len(found)
    spread = f"{min(found):.2f} to {max(found):.2f} in {len(found)} draws"
    print(f"{n_tokens:>5} tokens in a step: max/mean {one_step[n_tokens]:.2f} ({spread})")

# %%
worse_abroad = float(foreign.mean()) > float(stale.mean()) and int((foreign > none).sum()) > 0
published = [(1.208, 1.242), (1.073, 1.190)]
computed = [on_nodes, [planned(load, 8, 2) for load in EXAMPLE]]
gap = (torch.tensor(computed) - torch.tensor(published)).abs().max().item()
measured("EPLB's example: largest difference to what its code returns", gap, below=1e-3)
claim("L96", "correct", holds=packed >= hottest and copied < 1.01 and gap < 1e-3 and worse_abroad)

# %% [markdown]
# **Change this.** How much does a copy buy? Try fewer ranks, a steeper load, and more slots: when does one
# slot more on each rank no longer help?

# %% change=true
# Change these and run the cell again.
zipf = 0.8
n_ranks = 32
more_slots = 0

load_E = torch.arange(1, 257, dtype=torch.float64) ** -zipf
found = uneven(rank_load(plan(load_E, n_ranks, 256 + more_slots * n_ranks), load_E))
alone = float(load_E.max() / load_E.sum() * n_ranks)
print(f"zipf {zipf}, {n_ranks} ranks, {more_slots * n_ranks} copies: max/mean {found:.3f}")
print(f"the hottest expert alone: {alone:.2f}")

# %% [markdown] only="solutions"
# With 8 ranks a rank's share is so large that no expert exceeds it, and packing alone comes to within 10 %.
# At a skew of 1.2 on 32 ranks packing ends at 8.19, and 32 copies come to within 2 %. A second slot buys
# these two per cent, for as much memory again.

# %% only="solutions"
rerun("n_ranks = 8", "zipf = 1.2", "zipf = 1.2; more_slots = 1", "zipf = 1.2; more_slots = 2")

# %% [markdown]
# ## Few nodes
#
# Inside a node GPUs talk over NVLink, between nodes over a network that is several times slower. So what
# counts is to how many *nodes* a token goes: it is sent once to each, and handed on inside. DeepSeek-V3
# allows at most 4 of 8, with 8 experts a token (lesson 06, group-limited routing). What does such a limit
# cost if the model was not trained with it?

# %% tags=["nbval-ignore-output"] why="widget"
predict("14.nodes")

# %%
print("32 experts on 8 nodes, 4 a token; bits per byte added")
print(f"{'at most':>10}" + "".join(f"{kind:>10}" for kind in KINDS))
costs = {}
for limit in ("1", "2", "3"):
    added = [
        [
            with_limit - plain
            for with_limit, plain in zip(m["bits with at most so many nodes"][limit], m["bits"], strict=True)
        ]
        for m in traces["models"]
    ]
    costs[limit] = torch.tensor(added).mean(dim=0).tolist()
    print(f"{limit + ' nodes':>10}" + "".join(f"{cost:>10.3f}" for cost in costs[limit]))
reveal("14.nodes")

# %% [markdown]
# There is another way to fewer nodes, which does not touch the routing: put experts that are chosen together
# onto the same node. The first half of the text says which.

# %%
contiguous = contiguous_placement(32, 8)
independent = 8 * (1 - math.comb(28, 4) / math.comb(32, 4))
print(
    f"nodes a token meets (blind choices: {independent:.2f}), and the load of the fullest node over the mean"
)
for kind, name in enumerate(KINDS):
    nodes, fullest = {}, {}
    for ids_TK in trace[kind]:
        first, second = ids_TK.chunk(2)
        for way, node_E in (("by number", contiguous), ("by company", by_coactivation(first, 32, 8))):
            nodes[way] = nodes.get(way, 0) + nodes_per_token(second, node_E) / N_LAYERS
            load_E = torch.bincount(second.flatten().long(), minlength=32).double()
            load_N = torch.zeros(8, dtype=torch.float64).index_add_(0, node_E, load_E)
            fullest[way] = fullest.get(way, 0) + uneven(load_N) / N_LAYERS
    print(
        f"  {name:<8}",
        "   ".join(f"{way} {nodes[way]:.2f} nodes, max/mean {fullest[way]:.2f}" for way in nodes),
    )

# %% [markdown]
# Fewer nodes for nothing? The second number is the price. Experts that are chosen together are hot together,
# and now they sit on the same node. Every placement that helps the network hurts the balance.

# %% [markdown]
# ## Hide it?
#
# While one half of the batch is on the network, the other could compute. That is what DualPipe in training
# and two-batch overlap in serving do. How much is it worth?

# %% tags=["nbval-ignore-output"] why="widget"
predict("14.overlap")

# %% [markdown]
# On paper: 58 layers, each of attention, dispatch, experts, combine; one processor, one network. First
# everything halves with the batch (training, a long prompt). Then decoding: the experts' time is reading
# weights, an exchange is mostly latency, and neither gets shorter with half a batch.


# %%
def sped_up(experts, exchange, shrinks):
    """How many times as fast two half batches are; the shares of experts and exchanges that halve."""
    half = [("compute", 0.5)]
    factor = 0.5 if shrinks else 1.0
    whole = [("compute", 1.0), ("network", exchange), ("compute", experts), ("network", exchange)]
    half += [("network", factor * exchange), ("compute", factor * experts), ("network", factor * exchange)]
    return overlap(whole, 58, 1).total / overlap(half, 58, 2).total


RATIOS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
training = {ratio: sped_up(1.0, ratio, shrinks=True) for ratio in RATIOS}
decoding = {ratio: sped_up(1.0, ratio, shrinks=False) for ratio in RATIOS}
print(f"{'an exchange, over the experts’ time':<40}" + "".join(f"{ratio:>7}" for ratio in RATIOS))
print(f"{'everything halves: times as fast':<40}" + "".join(f"{x:>7.2f}" for x in training.values()))
print(f"{'weights and latency: times as fast':<40}" + "".join(f"{x:>7.2f}" for x in decoding.values()))

# %%
reveal("14.overlap")

# %% [markdown]
# Overlap turns a sum into a maximum. So it can at best double the speed, and does so where computing and
# sending take equally long; that is about where DeepSeek-V3's training stood, 1 : 1 by its report (section
# 3.2.1). In decoding two halves read all weights twice. There V3's service overlaps the *attention* of one
# half with all the rest of the other (section 3.4.2), which halves as it should.

# %% [markdown]
# **Change this.** In between: what if half of the experts' time is weights, and half is work? At which share
# of weights does overlap stop to pay?

# %% change=true
# Change these and run the cell again.
weights_share = 0.5
exchange_time = 0.5

e = weights_share + (1 - weights_share) / 2
whole = [("compute", 1.0), ("network", exchange_time), ("compute", 1.0), ("network", exchange_time)]
half = [("compute", 0.5), ("network", exchange_time / 2), ("compute", e), ("network", exchange_time / 2)]
ratio = overlap(whole, 58, 1).total / overlap(half, 58, 2).total
print(
    f"weights {weights_share:.0%} of the experts' time, exchange {exchange_time}: {ratio:.2f} times as fast"
)

# %% [markdown] only="solutions"
# It pays until everything is weights: 1.50, 1.20 and 1.00 times as fast with none, half and all. With short
# exchanges there is little to hide, and then half of the time for weights already makes two halves slower.

# %% only="solutions"
rerun("weights_share = 0.0", "weights_share = 1.0", "weights_share = 0.5; exchange_time = 0.1")

# %% [markdown]
# ## A model of the step
#
# Lesson 08 put two numbers on a network: a latency for each partner and bytes per second. With two more for
# the experts and two for what a rank does alone, a layer's step can be predicted:
#
# $$\text{step} = \underbrace{\alpha}_{\text{counts}}
# + 2\Big(\alpha + \frac{\text{bytes of the busiest rank}}{\beta}\Big)
# + \big(c_0 + c_1\,\text{rows of the fullest rank}\big) + \text{own work}$$
#
# and as much again backward, without the counts. The six numbers were fitted to even loads. Then the model
# was asked about loads that it had never seen, and only afterwards these were measured.

# %%
timing = result("expert_parallel")["time"]
print(
    f"2 processes on {timing['about']['device']}: latency {timing['network']['latency_us']:.0f} us,", end=" "
)
print(
    f"{timing['network']['gigabytes_per_s']:.2f} GB/s; error stated beforehand {timing['stated_error']:.0%}"
)
for row in timing["held_out"]:
    found = f"predicted {row['predicted_ms']:>6.1f} ms, measured {row['measured_ms']:>6.1f} ms"
    print(f"  {row['load']:<36} {found} ({row['error']:+.0%})")

# %% [markdown]
# Do not expect more of such a model. It knows nothing of caches and of what else the machine does. But a
# model that is right within a factor of one and a half ranks designs: which of two placements is faster, and
# whether the network or the fullest rank is to blame. The *bytes* are exact in any case.

# %% [markdown]
# ## Wherever it runs
#
# What you have written exists in every large framework, under a flag.

# %%
support = result("expert_parallel_support")["frameworks"]
print(f"{'':<12}{'for':<10}{'expert parallelism':<28}{'copies of hot experts':<24}read in")
for f in support:
    print(f"{f['name']:<12}{f['for']:<10}{f['flag']:<28}{f['copies'] or '-':<24}{f['read']} @{f['commit']}")
refused = [g for g in range(1, 9) if 8 % g]
print("8 experts cannot be shared out evenly among", *refused, "ranks; 2 did, above:", real["ranks"])

# %%
named = {f["name"] for f in support if f["flag"]}
ran = max(case["output"] for case in cases)
claim("L97", "correct", holds={"vLLM", "SGLang", "DeepSpeed"} <= named and ran < 1e-5)

# %% [markdown]
# And it is used beside the other ways to split a model. DeepSeek-V3 was trained on 2,048 GPUs: 16 pipeline
# stages, in each of them 64 ranks that share the experts, and what is left over is data parallelism (arXiv
# 2412.19437, section 3.2). It used no tensor parallelism in training, and four-way tensor parallelism for
# attention in serving (section 3.4.1).
#
# A correction to lesson 08 while we are at it. The report describes decoding with 320 ranks and one expert on
# each. What DeepSeek says it *ran*, a few months later, were 144 ranks with two routed experts and a shared
# one each for decoding, and 32 ranks with nine and one for prompts (open-infra-index, day 6).

# %%
gpus, stages, ep = 2048, 16, 64
replicas = gpus // (stages * ep)
print(f"{gpus} GPUs = {stages} stages x {ep} expert-parallel ranks x {replicas} replicas")
print(f"experts of a layer on each rank: {256 // ep}")
print(f"decoding service: {144 * 2} slots for 256 experts on 144 ranks, so {144 * 2 - 256} copies")
claim("L102", "correct", holds=replicas == 2 and 256 % ep == 0 and gap_2x2 < 1e-5)

# %%
fits = {}
for name, dtype in (("gpt-oss-20b", "mxfp4"), ("Qwen3-30B-A3B", "bf16"), ("DeepSeek-V3", "fp8")):
    fits[name] = accounting.weight_bytes(accounting.describe(name), dtype)
    print(f"{name:<14} in {dtype:<6} {fits[name] / 1e9:>6.1f} GB")
claim("L103", "imprecise", holds=fits["gpt-oss-20b"] < 16e9 and fits["DeepSeek-V3"] > 80e9)

# %% [markdown]
# So is MoE a story about clusters? For DeepSeek-V3 it is: no GPU holds it. gpt-oss-20b lies in the 16 GB of a
# consumer's card, on one rank, and what its experts save there is reading: lesson 15 is about that.
#
# On your own machines, try `moe-lessons ep-check --nproc 4`: it compares a layer on all ranks with one
# process, and measures the network. `torchrun --nproc-per-node 4 -m moe_lessons train --parallel ep` trains.

# %% [markdown]
# ## What to take with you
#
# - Counts travel first, then rows. An all-to-all is a transpose of blocks, and its backward is another one.
# - Rows arrive sorted by sender. The second sort is the receiver's, and needs only the counts.
# - Dense gradients are averaged over all ranks. An expert's are added up over those that hold it, and divided
#   by *all* ranks.
# - The norm is one number for the whole model.
# - A mistake in any of these trains. Compare gradients with one process; a loss curve shows too little.
# - Time in a collective is waiting plus moving. The slow rank is the one that does not wait.
# - Every rank comes to every exchange, also with nothing to send.
# - Packing ends at the hottest expert, copies go on, and a plan is only as good as the load it was made for.
# - Overlap turns a sum into a maximum, for what halves with the batch.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("14.q_divide")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("14.q_exchanges")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("14.q_profile")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("14.q_divisor")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("14.q_nodes")

# %%
claims_table()

# %%
score()
