# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("09_triton")

# %% [markdown]
# ## A program that owns a few numbers
#
# PyTorch gives you whole tensors: one line, and somebody else decides who computes which element. On a GPU
# that somebody is a **kernel**: a small function that runs many times at once. In Triton you write it in
# Python. Each run is called a *program*. It knows one thing that its neighbours don't: its own number.
#
# You need no GPU here. Triton has an *interpreter*, which runs the programs one after another on your
# processor. It is slow and it can be watched, and both suit us. Where there is a GPU of compute capability
# 8.0 or more (the free one on Colab, a T4, has 7.5), the same cells are compiled for it.

# %% tags=["nbval-ignore-output"] why="machine"
import torch

from moe_lessons.exercises.kernel_driver import compiler_missing, counter_missing, gpu_suits, missing, watch

generator = torch.Generator().manual_seed(9)
device = "cuda" if gpu_suits() else "cpu"
here = "are compiled for the GPU" if gpu_suits() else "run in Triton's interpreter"
print("Kernels", f"do not run here: Triton {missing()}" if missing() else here)
if not missing():
    print("What they move is", f"not counted: {counter_missing()}" if counter_missing() else "counted.")
    print("The checks compile them for GPUs too:", compiler_missing() or "yes, for sm_80 and sm_90")

# %% [markdown]
# Here is about the smallest kernel that does something: multiply ten numbers by two, in blocks of four.

# %%
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x_ptr, out_ptr, n, factor, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # BLOCK numbers: which elements are mine
    inside = place < n  # BLOCK truth values: which of them exist
    x = tl.load(x_ptr + place, mask=inside, other=0.0)
    tl.store(out_ptr + place, factor * x, mask=inside)


x = torch.arange(10.0, device=device)
out = torch.full_like(x, float("nan"))
scale_kernel[(triton.cdiv(10, 4),)](x, out, 10, 2.0, BLOCK=4)
print(out.tolist())

# %% [markdown]
# Four things are new, and there are hardly any others in all of Triton.
#
# - **Programs.** The square brackets start a *grid*: `triton.cdiv(10, 4)`, ten divided by four and rounded
#   up, is three programs. `tl.program_id(0)` is 0, 1 or 2.
# - **Blocks.** `tl.arange(0, 4)` is four numbers at once. There is no loop over elements; a block is what
#   one program handles in one go. Its size is a power of two, known when the kernel is compiled
#   (`tl.constexpr`).
# - **Pointers.** A tensor arrives as the address of its first element. It has no shape and no end.
#   `x_ptr + place` is four addresses.
# - **Masks.** Three programs of four make twelve, and there are ten elements. The mask says which addresses
#   are meant. The others are neither read nor written; `other` stands in for what was not read.

# %% draw=true tags=["nbval-ignore-output"] why="image"
from moe_lessons.svg import heat_map

heat_map(
    [[place // 4 for place in range(12)], [place if place < 10 else float("nan") for place in range(12)]],
    title="Three programs, twelve places, ten elements: the mask keeps the last two out",
    row_label="row",
    column_label="place",
    unit="number of the program; number of the element, · where there is none",
    rows=["program", "element"],
    value_format="{:.0f}",
    width=640,
)

# %% [markdown]
# ## What if the mask is missing?
#
# A pointer has no end, so nothing stops a program at the end of a tensor. Let us leave the store unmasked.
# Please not in your own memory: `watch` lends the kernel tensors that lie in the middle of a larger piece of
# memory, and looks afterwards at what happened around them.


# %%
@triton.jit
def careless_kernel(x_ptr, out_ptr, n, factor, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + place, mask=place < n, other=0.0)
    tl.store(out_ptr + place, factor * x)


def careless_scale(x, out):
    careless_kernel[(3,)](x, out, 10, 2.0, BLOCK=4)


seen = watch(careless_scale, {"x": torch.arange(10.0), "out": torch.full((10,), float("nan"))}, ["out"])
print("result:", seen.outputs[0].tolist())
print("memory:", seen.memory)

# %% [markdown]
# **Change this.** The mistake stays, only the numbers change. Can you choose them so that nothing is written
# outside any more? (A block is a power of two.) What does that say about a test with a single size?

# %% change=true
# Change these and run the cell again.
n = 10
block = 4


def careless(x, out):
    careless_kernel[(triton.cdiv(n, block),)](x, out, n, 2.0, BLOCK=block)


tried = watch(careless, {"x": torch.arange(float(n)), "out": torch.full((n,), float("nan"))}, ["out"])
print(f"n = {n}, blocks of {block}: {tried.memory}")

# %% [markdown] only="solutions"
# With any size that is a multiple of the block: blocks of 2 for these ten, or 12 elements. Then no place is
# left over for a mask to keep out, and the kernel is clean with the same mistake in it. Most real sizes are
# multiples of 16 or 128, so a missing mask can live long. Test sizes that divide by nothing: 7, 13, 45.

# %% only="solutions"
for n, block in ((10, 4), (10, 2), (12, 4), (13, 4)):
    tried = watch(careless, {"x": torch.arange(float(n)), "out": torch.full((n,), float("nan"))}, ["out"])
    print(f"n = {n}, blocks of {block}: {tried.memory}")

# %% [markdown]
# The result is right, and two numbers were written into memory that belongs to someone else. It may be
# another tensor, which is now wrong, many lines away from the mistake. So looking at the result is not
# enough. One more case, and this time you decide first.

# %% tags=["nbval-ignore-output"] why="widget"
predict("09.order")


# %%
@triton.jit
def careless_copy(x_ptr, out_ptr, n_columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n_columns + column, mask=column < n_columns, other=0.0)
    tl.store(out_ptr + row * n_columns + column, x)  # all BLOCK of them


rows = torch.arange(24.0).reshape(4, 6)
copied = watch(
    lambda x, out: careless_copy[(4,)](x, out, 6, BLOCK=8),
    {"x": rows, "out": torch.full((4, 6), float("nan"))},
    ["out"],
)
if device == "cpu":
    print(f"wrong elements in the copy: {int((copied.outputs[0] != rows).sum())} of {rows.numel()}")
    print("memory:", copied.memory)

# %%
reveal("09.order")

# %% [markdown]
# **Right in the interpreter is not yet right.** Programs are meant to be independent: they may run in any
# order, or at the same time. A kernel whose result depends on the order has a *race*, and in the interpreter
# it shows only if one counts who wrote what. The checks of this lesson do. They also put NaN around every
# tensor, and into the places that a mask left out without saying `other`: the interpreter would put a
# friendly 0 there, a GPU puts whatever it had.
#
# What they ask of you is short: **write each element once, and touch nothing that is not yours.**
#
# And one thing more. The interpreter is Python, so it takes whatever Python takes: a list, a `break`, a
# number that becomes a block. No GPU does. So each check also hands your kernel to Triton's real compiler,
# for an A100 (called sm_80) and an H100 (sm_90). It needs no GPU for that, only a second or two.

# %% [markdown]
# ## Rows, found through an index
#
# In lesson 02 the tokens were sorted by expert: row p of the sorted list is the token of *slot*
# `slots_S[p]`. A slot is one choice of one token, and slot t * K + k is the k-th choice of token t. A matrix
# of D columns lies in memory row after row, so element (t, d) is t * D + d places after the first.

# %% [markdown]
# {{puzzle 09.p_inside}}


# %% puzzle="09.p_inside"
@puzzle("09.p_inside")
def read_inside(memory_N, places_B):
    ### BEGIN SOLUTION
    return torch.where(places_B < len(memory_N), memory_N[places_B.clamp(max=len(memory_N) - 1)], 0.0)
    ### END SOLUTION


# %% [markdown]
# {{exercise 09.gather_rows}}

# %% answer="09.gather_rows"
import triton
import triton.language as tl


@triton.jit
def gather_kernel(hidden_TD, slots_S, out_SD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    """Copy one piece of BLOCK columns of one row.

    hidden_TD, out_SD: pointers to the first element; a row is d_model elements long.
    slots_S: pointer to S whole numbers.
    """
    ### BEGIN SOLUTION
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < d_model
    token = tl.load(slots_S + row) // TOP_K
    x = tl.load(hidden_TD + token * d_model + column, mask=inside, other=0.0)
    tl.store(out_SD + row * d_model + column, x, mask=inside)
    ### END SOLUTION


def gather_rows(hidden_TD, slots_S, out_SD, top_k):
    n_rows, d_model = out_SD.shape
    grid = (n_rows, triton.cdiv(d_model, 16))  # one program per row and piece
    gather_kernel[grid](hidden_TD, slots_S, out_SD, d_model, TOP_K=top_k, BLOCK=16)


# %%
check("09.gather_rows")

# %% [markdown]
# The check says whether it is right. The next cell shows *where* it is not, element by element, and what the
# programs moved. Use it whenever you like, also on a kernel that works.

# %% tags=["nbval-ignore-output"] why="image"
from moe_lessons.course.kernel_view import where

where("09.gather_rows")

# %% [markdown]
# Did you look at the bytes? The last piece of a row of 20 has 4 columns, so its program moves less.

# %% [markdown]
# ## What a kernel costs: bytes
#
# Your kernel computes nothing at all. It moves numbers, and that is what it costs. A GPU such as the H100
# does hundreds of operations in the time in which it fetches one number. So the first question about any
# kernel is: what does it read, what does it write, and which of that could be left out?
#
# Here is one that could be left out.

# %% tags=["nbval-ignore-output"] why="widget"
predict("09.fused")

# %% [markdown]
# The package's `up_kernel` finds its rows through the index by itself. We compare it with a gather first and
# the same kernel afterwards, and let the interpreter count.

# %%
from moe_lessons.kernels.plan import make_plan
from moe_lessons.kernels.tiles import INTERPRETER
from moe_lessons.kernels.traffic import count_traffic
from moe_lessons.kernels.up import up

T, D, F, E, K = 12, 32, 24, 4, 2
S = T * K


def randn(*shape):
    return torch.randn(*shape, generator=generator).to(device)


@triton.jit
def copy_rows(x_ptr, slots_ptr, out_ptr, n_columns, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    source = x_ptr + tl.load(slots_ptr + row) // TOP_K * n_columns
    x = tl.load(source + column, mask=column < n_columns, other=0.0)
    tl.store(out_ptr + row * n_columns + column, x, mask=column < n_columns)


generator.manual_seed(91)
hidden_TD, gate_up_E2FD = randn(T, D), randn(E, 2 * F, D) / D**0.5
ids_TK = torch.stack([torch.randperm(E, generator=generator)[:K] for _ in range(T)]).to(device)
plan = make_plan(ids_TK, E, INTERPRETER.rows)


def moved_by(call):
    if device == "cuda":
        call()
        return None
    with count_traffic() as moved:
        call()
    return moved.read_bytes + moved.written_bytes if moved.counted else None


def fused():
    return up(hidden_TD, gate_up_E2FD, plan, INTERPRETER.up, store_pre=False)[0]


def gather_then_up():
    gathered_SD = torch.full((S, D), float("nan"), device=device)
    copy_rows[(S,)](hidden_TD, plan.slots_S, gathered_SD, D, TOP_K=K, BLOCK=32)
    in_order = plan._replace(slots_S=torch.arange(S, device=device), top_k=1)
    return up(gathered_SD, gate_up_E2FD, in_order, INTERPRETER.up, store_pre=False)[0]


one_way, other_way = fused(), gather_then_up()
predicted = 2 * S * D * 4 + S * 8  # fp32 numbers read and written, and one slot number per program
both_ways = moved_by(gather_then_up), moved_by(fused)
counted = None if None in both_ways else both_ways[0] - both_ways[1]
print(f"numbers in which the two results differ: {int((one_way != other_way).sum())} of {one_way.numel()}")
print(f"bytes saved, as predicted: {predicted:,};", end=" ")
print("counted, where they can be:", "as many" if counted in (None, predicted) else f"{counted:,}")

# %% tags=["nbval-ignore-output"] why="machine"
print(f"predicted {predicted:,} bytes; counted {'nothing here' if counted is None else f'{counted:,}'}")

# %%
reveal("09.fused")

# %% [markdown]
# At the size of a real layer, in bf16 (two bytes a number), with the speed of memory that was measured on an
# H100:

# %%
from moe_lessons.kernels.limits import CEILINGS, roofline

real = {"n_tokens": 8192, "d_model": 1024, "d_expert": 2048, "n_experts": 64, "top_k": 8}
limit = roofline(**real, device="H100")
gather_bytes = 2 * real["n_tokens"] * real["top_k"] * real["d_model"] * 2
gather_ms = 1000 * gather_bytes / CEILINGS["H100"].bytes_per_s
print(f"a gather of its own: {gather_bytes / 1e6:.0f} MB, at least {gather_ms:.2f} ms")
print(f"the whole up projection: at least {limit.kernels_ms['up']:.2f} ms")
print(f"and {gather_bytes / 2 / 1e6:.0f} MB of memory to hold the copy, in every layer, until backward")

# %% [markdown]
# **Change this.** Make the experts finer: twice as many, half as wide, twice as many for each token. The up
# projection's arithmetic stays the same. What does a gather of its own cost beside it, after one such step,
# and after three?

# %% change=true
# Change these and run the cell again.
n_experts = 64
top_k = 8
d_expert = 2048

finer = real | {"n_experts": n_experts, "top_k": top_k, "d_expert": d_expert}
up_ms = roofline(**finer, device="H100").kernels_ms["up"]
own_ms = 1000 * 2 * finer["n_tokens"] * top_k * finer["d_model"] * 2 / CEILINGS["H100"].bytes_per_s
print(f"{top_k} of {n_experts} experts of width {d_expert}, at least:", end=" ")
print(f"{own_ms:.2f} ms for a gather, {up_ms:.2f} ms for the up projection")

# %% [markdown] only="solutions"
# Each step doubles it: twice as many rows are copied, for the same arithmetic. At 8 of 64 the gather is about
# an eighth of the up projection's limit; after three steps it is about as much as the projection itself. So a
# fused gather matters most where experts are fine.

# %% only="solutions"
for step in range(4):
    finer = real | {"n_experts": 64 << step, "top_k": 8 << step, "d_expert": 2048 >> step}
    up_ms = roofline(**finer, device="H100").kernels_ms["up"]
    own_ms = gather_ms * 2**step
    share = own_ms / up_ms
    print(f"{8 << step} of {64 << step}, width {2048 >> step}: the gather takes {share:.0%} of that time")

# %% [markdown]
# ## A trap: 2,147,483,647
#
# `row * n_columns` is a product of 32-bit integers, unless you say otherwise. Those end at $2^{31} - 1$. A
# list of sorted rows is long, because every token stands in it K times:

# %%
row, d_model = torch.tensor([299_593, 299_594], dtype=torch.int32), 7168  # D of DeepSeek-V3
print("row * d_model in int32:", (row * d_model).tolist())
print("row * d_model in int64:", (row.to(torch.int64) * d_model).tolist())
print("row 299,594 is reached with K = 8 and", -(-299_595 // 8), "tokens")

# %% [markdown]
# No error: an address far before the tensor. On a GPU that is a crash if you are lucky. Public MoE kernels
# have had it (for example [vLLM](https://github.com/vllm-project/vllm/issues/5938)). The cure costs nothing:
# convert the row, or the expert, *before* the product: `row.to(tl.int64)`. No test can afford tensors of that
# size, and `check` does not ask for it. For this package's kernels, and for the published answers, a test
# reads the compiled text instead: no width and no stride is multiplied in 32 bits.

# %% [markdown]
# ## Who works on what
#
# Now to the products. Each expert has its own matrix and its own rows, and how many rows is the router's
# business: 19, none, 5. A program of a matrix product takes a *block* of rows, 128 say (here 16), so that
# it can load a piece of the matrix once and use it for all of them. A block must not hold rows of two
# experts, since it has one matrix.
#
# So somebody must tell each program: this is your expert, and here your rows begin.

# %% [markdown]
# {{puzzle 09.p_boxes}}


# %% puzzle="09.p_boxes"
@puzzle("09.p_boxes")
def boxes(pieces_E, size):
    ### BEGIN SOLUTION
    return (pieces_E + size - 1) // size
    ### END SOLUTION


# %% [markdown]
# {{exercise 09.block_map}}


# %% answer="09.block_map"
def block_map(tokens_per_expert_E, block_rows, n_blocks):
    """Cut each expert's rows into blocks.

    tokens_per_expert_E: [E] whole numbers. Rows are sorted by expert.
    Returns [n_blocks, 2] whole numbers: expert and first row; (-1, 0) for spare blocks, at the end.
    """
    ### BEGIN SOLUTION
    blocks, start = [], 0
    for expert, count in enumerate(tokens_per_expert_E.tolist()):
        blocks += [(expert, start + first) for first in range(0, count, block_rows)]
        start += count
    blocks += [(-1, 0)] * (n_blocks - len(blocks))
    return torch.tensor(blocks, dtype=torch.int64).reshape(n_blocks, 2)
    ### END SOLUTION


# %%
check("09.block_map")

# %% [markdown]
# Why spare blocks? Because the *host* must say how many programs to start, and the counts are on the GPU. To
# ask for them, the processor must wait until the GPU has finished everything before. Instead we start as many
# programs as any routing could need, S // block + E at most, and those without work return at once. The
# package does the map on the GPU too (`moe_lessons/kernels/plan.py`, one kernel).
#
# What do partly empty blocks cost? With loads drawn at random:

# %%
generator.manual_seed(92)
counts_E = torch.bincount(torch.randint(0, 64, (65536,), generator=generator), minlength=64)
for block in (16, 64, 128, 256):
    computed = int((-(-counts_E // block) * block).sum())
    print(f"blocks of {block:3d} rows: {computed / 65536 - 1:.1%} more rows are computed than there are")

# %% [markdown]
# **Change this.** With fewer rows, which block computes less than a tenth too much? Try a batch a sixteenth
# as large, and then one in which every expert gets four rows or so.

# %% change=true
# Change these and run the cell again.
n_rows = 65536
n_experts = 64
block = 128

generator.manual_seed(95)
counts_E = torch.bincount(torch.randint(0, n_experts, (n_rows,), generator=generator), minlength=n_experts)
computed = int((-(-counts_E // block) * block).sum())
print(f"{n_rows} rows, {n_experts} experts, blocks of {block}: {computed / n_rows - 1:.1%} too many")

# %% [markdown] only="solutions"
# Half a block for each expert is what it costs, so blocks must be smaller than a fifth of an expert's rows.
# With 4,096 rows for 64 experts not even 16 will do, and 16 is the least that a matrix unit takes. With four
# rows for each expert most of what is computed is padding, whatever one does. There the time goes into
# fetching matrices anyway, as lesson 08 counted.

# %% only="solutions"
generator.manual_seed(98)
for n_rows, n_experts in ((65536, 64), (4096, 64), (1024, 256)):
    counts_E = torch.bincount(
        torch.randint(0, n_experts, (n_rows,), generator=generator), minlength=n_experts
    )
    wasted = [int((-(-counts_E // block) * block).sum()) / n_rows - 1 for block in (16, 64, 128)]
    told = ", ".join(f"{share:.0%}" for share in wasted)
    print(f"{n_rows} rows, {n_experts} experts, blocks of 16, 64 and 128: {told} too many")

# %% [markdown]
# About half a block for each expert. With 64 rows per expert rather than 1024, half a block of 128 would be
# as much as the rows themselves; so small batches want small blocks.

# %% [markdown]
# ## The product, tile by tile
#
# One program computes a tile of the result, BLOCK rows by BLOCK columns. For that it walks along the axis
# that is summed, a step at a time, and adds up in an *accumulator*:
#
# $$\text{out}[p, n] = \sum_{k=1}^{F} \text{rows}[p, k]\; W_e[n, k]$$
#
# `tl.dot` multiplies two blocks; on a GPU it becomes instructions of the matrix unit. Inputs are half
# precision. The accumulator must not be, and here is why, without any kernel:

# %%
terms = torch.full((4096,), 0.5, dtype=torch.float16)
narrow = torch.zeros((), dtype=torch.float16)
for term in terms:
    narrow = narrow + term
print(f"4096 times 0.5, added in fp16: {narrow.item():.0f}")
print(f"4096 times 0.5, added in fp32: {terms.float().sum().item():.0f}")

# %% [markdown]
# **Change this.** Where did the sum stop? Halve the term: does it get further, or stop sooner? Then try
# `"bfloat16"`.

# %% change=true
# Change these and run the cell again.
term = 0.5
dtype = "float16"


def stops_at(term, dtype):
    """The sum at which adding the term once more changes nothing, and how often it was added."""
    total, step, n_terms = torch.zeros((), dtype=getattr(torch, dtype)), torch.tensor(term), 0
    step = step.to(total.dtype)
    while n_terms < 10_000 and total + step != total:
        total, n_terms = total + step, n_terms + 1
    return float(total), n_terms


total, n_terms = stops_at(term, dtype)
print(f"{term} in {dtype}: stops at {total:g}, after {n_terms} terms")

# %% [markdown] only="solutions"
# Sooner: at half the sum, after as many terms. The size of the term has next to no part in it. A number of
# 11 bits cannot count much beyond 2,000 equal terms, and one of 8 bits, bf16, not much beyond 250. An expert
# with more rows than that would have a gradient that stands still.

# %% only="solutions"
for dtype in ("float16", "bfloat16"):
    for term in (0.5, 0.25, 3.0):
        total, n_terms = stops_at(term, dtype)
        print(f"{term} in {dtype}: stops at {total:g}, after {n_terms} terms")

# %% [markdown]
# From 1024 on, fp16 numbers lie one apart, and adding one half rounds back to where we were. A popular
# expert's rows, or a long F, are sums of this kind. So: narrow inputs, wide accumulator, round once at the
# end.
#
# Begin it as a block, with `tl.zeros`. The interpreter also takes a plain `0.0` that becomes a block in the
# loop; the compiler refuses it, and the check tells you.
#
# Now yours. This is the kernel that the whole layer rests on. Take your time with the masks: there are three
# edges, and each needs one.

# %% [markdown]
# {{puzzle 09.p_place}}


# %% puzzle="09.p_place"
@puzzle("09.p_place")
def place_in_memory(e_N, row_N, column_N, n_rows, n_columns):
    ### BEGIN SOLUTION
    return (e_N * n_rows + row_N) * n_columns + column_N
    ### END SOLUTION


# %% [markdown]
# {{exercise 09.grouped_product}}

# %% answer="09.grouped_product"
import triton
import triton.language as tl


@triton.jit
def product_kernel(rows_SF, down_EDF, blocks_G2, ends_E, out_SD, d_expert, d_model, BLOCK: tl.constexpr):
    """Compute one BLOCK x BLOCK tile of out = rows @ down[expert].T.

    blocks_G2: expert and first row of each block, expert -1 for a spare one. ends_E: where each expert's
    rows end. Everything lies row after row; d_expert is F, d_model is D. Inputs and output are fp16.
    """
    ### BEGIN SOLUTION
    expert = tl.load(blocks_G2 + 2 * tl.program_id(0)).to(tl.int64)
    if expert < 0:
        return
    row = tl.load(blocks_G2 + 2 * tl.program_id(0) + 1).to(tl.int64) + tl.arange(0, BLOCK)
    is_row = row < tl.load(ends_E + expert)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_n = n < d_model
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for first in range(0, d_expert, BLOCK):
        k = first + tl.arange(0, BLOCK)
        is_k = k < d_expert
        x = tl.load(
            rows_SF + row[:, None] * d_expert + k[None, :],
            mask=is_row[:, None] & is_k[None, :],
            other=0.0,
        )
        w = tl.load(
            down_EDF + (expert * d_model + n[None, :]) * d_expert + k[:, None],
            mask=is_k[:, None] & is_n[None, :],
            other=0.0,
        )
        acc = tl.dot(x, w, acc)
    place = out_SD + row[:, None] * d_model + n[None, :]
    tl.store(place, acc.to(tl.float16), mask=is_row[:, None] & is_n[None, :])
    ### END SOLUTION


def grouped_product(rows_SF, down_EDF, blocks_G2, ends_E, out_SD):
    _, d_model, d_expert = down_EDF.shape
    grid = (blocks_G2.shape[0], triton.cdiv(d_model, 16))  # one program per block and piece of D
    product_kernel[grid](rows_SF, down_EDF, blocks_G2, ends_E, out_SD, d_expert, d_model, BLOCK=16)


# %%
check("09.grouped_product")

# %% tags=["nbval-ignore-output"] why="image"
where("09.grouped_product")

# %% [markdown]
# Once it is right, look at the last lines. D = 18 takes two tiles, so every row was read twice. A matrix is
# read once for each block of its expert: never, once, or twice here. Larger tiles read less often, and a
# GPU's cache catches part of the rest. This is why tile sizes are chosen with care.

# %% [markdown]
# ## An epilogue is free
#
# The up projection needs two products, gate and up, and then $\mathrm{silu}(\text{gate}) \odot \text{up}$.
# Written as two kernels, 2 * S * F numbers are stored only to be loaded again. But when the loop over D is
# done, both accumulators are right there, in registers. So the package's kernel keeps two accumulators that
# share the tile of x, and applies SwiGLU before it stores. What is done between the last sum and the store is
# called an *epilogue*. This one:

# %%
import inspect

from moe_lessons.kernels.up import up_kernel

source = inspect.getsource(up_kernel.fn).splitlines()
print("\n".join(source[-10:]))

# %%
from moe_lessons.kernels.up import up_naive


def relative_error(found, expected):
    return float((found.float() - expected.float()).norm() / expected.float().norm())


act_SF, _ = up(hidden_TD, gate_up_E2FD, plan, INTERPRETER.up, store_pre=False)
expected_SF, _ = up_naive(hidden_TD, gate_up_E2FD, plan)
measured("the kernel against its naive twin, relative error", relative_error(act_SF, expected_SF), below=1e-2)
print(f"all zeros instead: {relative_error(0 * act_SF, expected_SF):.0f}")

epilogue_mb = 2 * (2 * real["n_tokens"] * real["top_k"] * real["d_expert"]) * 2 / 1e6
print(f"an epilogue as a kernel of its own: {epilogue_mb:,.0f} MB more traffic in the large layer")

# %% [markdown]
# When training, backward will need gate and up before SwiGLU, so the kernel stores them as well
# (`STORE_PRE`). It never needs to load them again in forward.

# %% [markdown]
# ## Collect, don't scatter
#
# At the end each token gets the weighted sum of its K rows. Two programs could do it, seen from two sides.
#
# - *Scatter*: one program per row. It adds its row to the place where the token sits.
# - *Gather*: one program per token. It fetches the K rows and adds them.
#
# In a scatter several programs write one place, so each addition must be atomic, and the order is whatever
# happens. Does order matter for a sum? For three numbers:

# %%
a, b, c = torch.tensor([1e8, -1e8, 1.0])
print("(a + b) + c =", ((a + b) + c).item())
print("a + (b + c) =", (a + (b + c)).item())

# %% [markdown]
# Extreme numbers, but the last bits move with any. With K = 2 there is only one addition, and a + b is
# b + a, so nothing shows until K = 3. A training run that cannot be repeated bit for bit is hard to debug. So
# we gather:

# %% [markdown]
# {{exercise 09.combine_rows}}

# %% answer="09.combine_rows"
import triton
import triton.language as tl


@triton.jit
def combine_kernel(results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    """Compute one piece of BLOCK columns of out[t] = sum over k of weights[t, k] * results[row of (t, k)].

    rows_S: the row in which slot t * TOP_K + k sits. Sums in fp32, in the order of k.
    """
    ### BEGIN SOLUTION
    token = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_d = d < d_model
    acc = tl.zeros((BLOCK,), tl.float32)
    for k in range(TOP_K):
        row = tl.load(rows_S + token * TOP_K + k)
        weight = tl.load(weights_TK + token * TOP_K + k)
        acc += weight * tl.load(results_SD + row * d_model + d, mask=is_d, other=0.0).to(tl.float32)
    tl.store(out_TD + token * d_model + d, acc.to(out_TD.dtype.element_ty), mask=is_d)
    ### END SOLUTION


def combine_rows(results_SD, weights_TK, rows_S, out_TD):
    (n_tokens, d_model), top_k = out_TD.shape, weights_TK.shape[1]
    grid = (n_tokens, triton.cdiv(d_model, 16))  # one program per token and piece
    combine_kernel[grid](results_SD, weights_TK, rows_S, out_TD, d_model, TOP_K=top_k, BLOCK=16)


# %%
check("09.combine_rows")

# %% tags=["nbval-ignore-output"] why="image"
where("09.combine_rows")

# %% [markdown]
# ## All of it, against the oracle
#
# You have now written every kind of kernel that the forward pass has. The package's `moe_triton` puts them
# in a row: plan, up, down, combine. We hold it against the plain loop over tokens of lesson 02.
#
# By how much may they differ? A fixed number is a poor judge: a tolerance of 0.1 is strict for outputs
# near 100, and lets everything pass for outputs near 0.01. We use the error *relative* to the size of the
# expected output, and we show that the test can fail: all zeros must be rejected.

# %%
from moe_lessons.dispatch import moe_loop
from moe_lessons.kernels import moe_triton

generator.manual_seed(93)
down_EDF = 0.01 * randn(E, D, F)  # small, as in a layer that has not been trained
weights_TK = torch.rand(T, K, generator=generator).to(device)
inputs = (hidden_TD, ids_TK, weights_TK, gate_up_E2FD, down_EDF)
found_TD, expected_TD = moe_triton(*inputs), moe_loop(*inputs)
zeros_TD = torch.zeros_like(expected_TD)

measured("relative error", relative_error(found_TD, expected_TD), below=1e-2, then="accepted")
measured("that of all zeros", relative_error(zeros_TD, expected_TD), below=1e-2, otherwise="rejected")
print(f"atol = 0.1 would accept {(zeros_TD - expected_TD).abs().lt(0.1).float().mean():.0%} of the zeros")
changed = int((moe_triton(*inputs) != found_TD).sum())
print(f"numbers that a second run gives otherwise: {changed} of {found_TD.numel()}")

# %% [markdown]
# The third line is why. A test with `atol=0.1` would pass a kernel that returns nothing but zeros, as long as
# the outputs are as small as these. Whenever you write a tolerance, try zeros first.

# %% [markdown]
# ## Backward
#
# Training runs the layer backwards as well. How much more work is that?

# %% tags=["nbval-ignore-output"] why="widget"
predict("09.backward")

# %% [markdown]
# Take one product, y = x W. Backward is given dy and makes two products of the same size: dx = dy Wᵀ and
# dW = xᵀ dy. For the layer:
#
# | Forward | Gradient of the rows | Gradient of the matrix |
# |---|---|---|
# | gate and up: H = x @ gate_upᵀ | dX = dH @ gate_up, then each token adds its K rows | d_gate_up = dHᵀ @ x |
# | SwiGLU: A from H | dH from dA, in the epilogue | |
# | down: Y = A @ downᵀ | dA = dY @ down | d_down = dYᵀ @ A |
# | combine: O adds s * Y | dY = s * dO; for each row, ds is the inner product of dO and Y | |
#
# O is the output, s a row's weight. (Y need not be kept: the inner product of dO and Y is that of dO @ down
# and A.) The kernels are those that you know: dX is the grouped product with the matrix turned, dA gathers dO
# through the index like `up` gathers x, and a token adds its K rows of dX as in combine, without weights.
# Only the gradient of a matrix is new.

# %%
from moe_lessons.kernels.limits import BACKWARD, FORWARD, costs

cost = costs(**real)
flops = {
    name: sum(cost[kernel].flops for kernel in names if "combine" not in kernel)
    for name, names in (("forward", FORWARD), ("backward", BACKWARD))
}
for name, count in flops.items():
    print(f"{name:<9}{count / 1e12:6.2f} TFLOP in matrix products")
print("backward / forward:", flops["backward"] / flops["forward"])

# %%
reveal("09.backward")

# %% [markdown]
# The new one sums over *rows*. That changes three things: the loop's length differs from expert to expert,
# the rows need a mask in the *sum* (and so `other` matters), and an expert without rows has a gradient too.
# Which one? The exercise asks for it.

# %% [markdown]
# {{puzzle 09.p_outer}}


# %% puzzle="09.p_outer"
@puzzle("09.p_outer")
def sum_of_outer_products(a_ND, b_NF):
    ### BEGIN SOLUTION
    return a_ND.T @ b_NF
    ### END SOLUTION


# %% [markdown]
# {{exercise 09.down_gradient}}

# %% answer="09.down_gradient"
import triton
import triton.language as tl


@triton.jit
def gradient_kernel(grad_SD, act_SF, ends_E, d_down_EDF, d_model, d_expert, BLOCK: tl.constexpr):
    """Compute one BLOCK x BLOCK tile of d_down[e] = sum over the rows p of e of grad[p] (outer) act[p].

    ends_E: where each expert's rows end; they begin where the expert before ends. Inputs and output are fp16.
    """
    ### BEGIN SOLUTION
    expert = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    f = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    is_d, is_f = d < d_model, f < d_expert
    start = tl.load(ends_E + expert - 1, mask=expert > 0, other=0)
    end = tl.load(ends_E + expert)
    acc = tl.zeros((BLOCK, BLOCK), tl.float32)
    for first in range(start, end, BLOCK):
        row = first + tl.arange(0, BLOCK).to(tl.int64)
        is_row = row < end
        grad = tl.load(
            grad_SD + row[None, :] * d_model + d[:, None],
            mask=is_d[:, None] & is_row[None, :],
            other=0.0,
        )
        act = tl.load(
            act_SF + row[:, None] * d_expert + f[None, :],
            mask=is_row[:, None] & is_f[None, :],
            other=0.0,
        )
        acc = tl.dot(grad, act, acc)
    place = d_down_EDF + (expert * d_model + d[:, None]) * d_expert + f[None, :]
    tl.store(place, acc.to(tl.float16), mask=is_d[:, None] & is_f[None, :])
    ### END SOLUTION


def down_gradient(grad_SD, act_SF, ends_E, d_down_EDF):
    n_experts, d_model, d_expert = d_down_EDF.shape
    grid = (n_experts, triton.cdiv(d_model, 16), triton.cdiv(d_expert, 16))
    gradient_kernel[grid](grad_SD, act_SF, ends_E, d_down_EDF, d_model, d_expert, BLOCK=16)


# %%
check("09.down_gradient")

# %% tags=["nbval-ignore-output"] why="image"
where("09.down_gradient")

# %% [markdown]
# And the whole backward pass of the package, every gradient against PyTorch's own through the plain loop:

# %%
generator.manual_seed(94)
upstream_TD = randn(T, D)


def gradients(function):
    leaves = [tensor.clone().requires_grad_() for tensor in (hidden_TD, weights_TK, gate_up_E2FD, down_EDF)]
    function(leaves[0], ids_TK, *leaves[1:]).backward(upstream_TD)
    return [leaf.grad for leaf in leaves]


pairs, zeros = list(zip(gradients(moe_triton), gradients(moe_loop), strict=True)), []
for name, (found, expected) in zip(("tokens", "weights", "gate and up", "down"), pairs, strict=True):
    measured(f"d {name}, relative error", relative_error(found, expected), below=1e-2)
    zeros.append(relative_error(0 * found, expected))
print("all zeros instead:", ", ".join(f"{zero:.0f}" for zero in zeros))

# %% [markdown]
# ## A layer of your kernels
#
# You have a kernel for every kind of work in this layer. Do they make one? Those that have passed are yours;
# where one is missing, plain PyTorch does the same work, and the lines below say which it is.

# %%
fetch, cut = yours("09.gather_rows"), yours("09.block_map")
multiply, collect = yours("09.grouped_product"), yours("09.combine_rows")
sum_rows = yours("09.down_gradient")

# %% [markdown]
# First each on its own, beside the package's kernel for the same work, on the small layer from above. In
# fp16, since that is what yours were made for.

# %%
from moe_lessons.kernels.combine import combine
from moe_lessons.kernels.product import product
from moe_lessons.kernels.weight_gradient import weight_gradient


def unwritten(*shape, dtype=torch.float16):
    return torch.full(shape, float("nan"), dtype=dtype, device=device)


def called(kernel, *inputs, shape, dtype=torch.float16):
    """Let a function fill a new tensor, its last argument, and return it."""
    out = unwritten(*shape, dtype=dtype)
    kernel(*inputs, out)
    return out


generator.manual_seed(96)
act16_SF, grad16_SD, down16_EDF = act_SF.half(), randn(S, D).half(), (10 * down_EDF).half()
results16_SD = randn(S, D).half()
in_order = plan._replace(slots_S=torch.arange(S, device=device), top_k=1)
sixteen = INTERPRETER.down  # tiles of 16 by 16, as in yours

pairs = {
    multiply: (
        lambda: called(multiply, act16_SF, down16_EDF, plan.blocks_G2, plan.ends_E, shape=(S, D)),
        lambda: product(act16_SF, down16_EDF, plan, sixteen),
    ),
    collect: (
        lambda: called(collect, results16_SD, weights_TK, plan.rows_S, shape=(T, D)),
        lambda: combine(results16_SD, weights_TK, plan),
    ),
    sum_rows: (
        lambda: called(sum_rows, grad16_SD, act16_SF, plan.ends_E, shape=(E, D, F)),
        lambda: weight_gradient(grad16_SD, act16_SF, in_order, sixteen, unwritten(E, D, F)),
    ),
}
traffic = {}
for part, calls in pairs.items():
    results = []
    for whose, call in zip(("yours", "the package's"), calls, strict=True):
        with count_traffic() as traffic[part, whose]:
            results.append(call())
    measured(f"{part.__name__} against the package's, relative error", relative_error(*results), below=1e-2)

# %% tags=["nbval-ignore-output"] why="machine"
once = {  # two bytes for each number
    multiply: 2
    * (S * F + int((plan.ends_E.diff(prepend=plan.ends_E.new_zeros(1)) > 0).sum()) * D * F + S * D),
    collect: 2 * (S * D + T * D),
    sum_rows: 2 * (S * D + S * F + E * D * F),
}
print(f"{'bytes':<18}{'read':>8}{'written':>9}      {'read':>8}{'written':>9}      at least, together")
for part in pairs:
    numbers = []
    for whose in ("yours", "the package's"):
        moved = traffic[part, whose]
        seen = moved.counted and moved.written_bytes
        numbers += [f"{moved.read_bytes:,}", f"{moved.written_bytes:,}"] if seen else ["-", "-"]
    print("{:<18}{:>8}{:>9}      {:>8}{:>9}".format(part.__name__, *numbers), f"{once[part]:>23,}")
print("left yours, right the package's; - where no kernel of yours has passed, or none can be watched")
print("at least: every row and every matrix once, as read and as written, without ids")

# %% [markdown]
# What is written is the same. If yours read more, where? `print(traffic[multiply, "yours"].report())` shows
# it, tensor by tensor. The package has no gather to compare with: its products find their rows themselves.
#
# Now all five together. `torch.autograd.Function` is PyTorch's place for a forward and a backward of one's
# own. Below are the lines of the table in *Backward*, in order. Every product, every gather and every sum
# over rows is one of the five. Only SwiGLU and two multiplications by weights are left to PyTorch: in the
# package they are epilogues.

# %%
from moe_lessons.experts import swiglu_activation


class OwnKernels(torch.autograd.Function):
    """The layer, forward and backward; inputs and output are fp32, products run in fp16."""

    @staticmethod
    def forward(ctx, hidden_TD, ids_TK, weights_TK, gate_up_E2FD, down_EDF):
        n_experts = len(down_EDF)
        plan = make_plan(ids_TK, n_experts, 16)
        counts_E = plan.ends_E.diff(prepend=plan.ends_E.new_zeros(1)).cpu().long()
        blocks_G2 = cut(counts_E, 16, len(plan.blocks_G2)).int().to(device)
        ctx.plan = plan = plan._replace(blocks_G2=blocks_G2)
        x_SD = rows_of(hidden_TD, plan)
        pre_S2F = through_matrices(x_SD, gate_up_E2FD, plan)
        act_SF = swiglu_activation(pre_S2F)
        y_SD = through_matrices(act_SF, down_EDF, plan)
        ctx.save_for_backward(x_SD, pre_S2F, act_SF, y_SD, weights_TK, gate_up_E2FD, down_EDF)
        return per_token(y_SD, weights_TK, plan)

    @staticmethod
    def backward(ctx, d_out_TD):
        x_SD, pre_S2F, act_SF, y_SD, weights_TK, gate_up_E2FD, down_EDF = ctx.saved_tensors
        plan = ctx.plan
        d_out_SD = rows_of(d_out_TD, plan)
        d_weights_TK = (d_out_SD * y_SD).sum(dim=1)[plan.rows_S].view_as(weights_TK)
        d_y_SD = d_out_SD * weights_TK.flatten()[plan.slots_S].unsqueeze(1)
        d_act_SF = through_matrices(d_y_SD, down_EDF.mT, plan)
        with torch.enable_grad():
            leaf_S2F = pre_S2F.requires_grad_()
            (d_pre_S2F,) = torch.autograd.grad(swiglu_activation(leaf_S2F), leaf_S2F, d_act_SF)
        d_x_SD = through_matrices(d_pre_S2F, gate_up_E2FD.mT, plan)
        d_hidden_TD = per_token(d_x_SD, torch.ones_like(weights_TK), plan)
        d_gate_up_E2FD = summed(d_pre_S2F, x_SD, gate_up_E2FD, plan)
        return d_hidden_TD, None, d_weights_TK, d_gate_up_E2FD, summed(d_y_SD, act_SF, down_EDF, plan)


def rows_of(tokens_TD, plan):
    shape = (len(plan.slots_S), tokens_TD.shape[1])
    out_SD = unwritten(*shape, dtype=torch.float32)
    fetch(tokens_TD.contiguous(), plan.slots_S, out_SD, plan.top_k)
    return out_SD


def through_matrices(rows_SF, matrices_EDF, plan):
    rows_SF, matrices_EDF = rows_SF.half().contiguous(), matrices_EDF.half().contiguous()
    shape = (len(rows_SF), matrices_EDF.shape[1])
    return called(multiply, rows_SF, matrices_EDF, plan.blocks_G2, plan.ends_E, shape=shape).float()


def per_token(rows_SD, weights_TK, plan):
    shape = (len(weights_TK), rows_SD.shape[1])
    return called(collect, rows_SD, weights_TK.contiguous(), plan.rows_S, shape=shape, dtype=torch.float32)


def summed(grad_SD, act_SF, like_EDF, plan):
    return called(sum_rows, grad_SD.half(), act_SF.half(), plan.ends_E, shape=like_EDF.shape).float()


def through_kernels(*inputs):
    return OwnKernels.apply(*inputs)


from moe_lessons import MoELayer

generator.manual_seed(97)
torch.manual_seed(97)  # the layers draw their weights from PyTorch's own generator
layers = [
    MoELayer(d_model=D, d_expert=F, n_experts=E, top_k=K, path=path).to(device)
    for path in (through_kernels, "loop")
]
layers[1].load_state_dict(layers[0].state_dict())
x_TD, found = randn(T, D), []
for layer in layers:
    leaf_TD = x_TD.clone().requires_grad_()
    with count_traffic():
        output_TD, _ = layer(leaf_TD)
        (output_TD * upstream_TD).sum().backward()
    found.append({"output": output_TD.detach(), "d tokens": leaf_TD.grad})
    found[-1] |= {f"d {name}": parameter.grad for name, parameter in layer.named_parameters()}
for name, wanted in found[1].items():
    measured(f"{name} against the loop, relative error", relative_error(found[0][name], wanted), below=1e-2)
parts = (fetch, cut, multiply, collect, sum_rows)
print(f"yours: {sum(part.is_yours for part in parts)} of the {len(parts)} parts")

# %% [markdown]
# That is a MoE layer whose heavy work runs in kernels written by one person, with gradients down to the
# router. The package's kernels differ from it in what they save: no copy of the rows, no copy of the
# activations, and no call that waits for the host.

# %% [markdown]
# ## How fast could it be?
#
# A kernel must do its arithmetic and move its bytes, and each takes at least so long. The longer of the two
# is its limit. For one layer with T = 8192, D = 1024, F = 2048, E = 64, K = 8 in bf16, with what was measured
# on such cards as the ceiling (a large product, a large copy):

# %%
for name in ("H100", "H200"):
    found, ceiling = roofline(**real, device=name), CEILINGS[name]
    print(f"{name}: {ceiling.flops_per_s / 1e12:.0f} TFLOP/s, {ceiling.bytes_per_s / 1e12:.1f} TB/s")
    for kernel, ms in found.kernels_ms.items():
        arithmetic = 1000 * cost[kernel].flops / ceiling.flops_per_s
        bound = "arithmetic" if arithmetic == ms else "memory"
        print(f"  {kernel:<18}{ms:7.3f} ms  limited by {bound}")
    print(f"  {'forward':<18}{found.forward_ms:7.2f} ms; with backward {found.total_ms:.2f} ms")

# %% [markdown]
# No program can be faster than that on these cards, with these ceilings. How near do the package's kernels
# come? The next cell reads it from the project's results.

# %%
import json
from pathlib import Path

import moe_lessons

results = Path(moe_lessons.__file__).parent / "results"
timings = results / "layer_cuda.json"
if timings.exists():
    for row in json.loads(timings.read_text())["rows"]:
        peer, to_limit = row.get("ratio_to_best_peer"), row["ratio_to_limit"]["ratio"]
        beside = f", {peer['ratio']:.2f} of the best peer ({row['best_peer']})" if peer else ""
        print(
            f"{row['shape']:<22}{row['dtype']:<6}{row['pass']:<18}{row['ours_ms']:8.3f} ms, "
            f"{to_limit:.2f} of the dense limit{beside}"
        )
else:
    print("On a GPU: not measured yet. There is no result file, so there is no number here.")

# %% [markdown]
# What can be known without a GPU is what a kernel *will use* there. Triton compiles for a card that is not
# present, and the machine code tells the rest. *Registers* are the fastest memory there is: at most 255 for
# each thread. A kernel that needs more *spills* into slow memory. `wgmma` and `mma` are instructions of the
# matrix unit; a kernel with a product and without them would run far from its limit.

# %%
compiled = json.loads((results / "kernels_compiled.json").read_text())
ran = "and measured on a GPU" if compiled["measured_on_a_gpu"] else "not measured on a GPU"
print(f"compiled by Triton {compiled['triton']}, {ran}")
for gpu in ("H100", "A100"):
    print(
        f"\n{gpu + ', bf16':<20}{'tile':>16}{'registers':>11}{'spilled':>9}{'matrix unit':>13}{'atomics':>9}"
    )
    for row in compiled["rows"]:
        if (row["gpu"], row["layer"], row["dtype"]) == (gpu, "training", "bfloat16"):
            tile = " x ".join(map(str, row["tile"])) if row["tile"] else "-"
            unit = f"{row['wgmma'] or row['mma']} {'wgmma' if row['wgmma'] else 'mma'}"
            print(
                f"{row['kernel']:<20}{tile:>16}{row['registers']:>11}{row['spill_bytes']:>9}"
                f"{unit if row['wgmma'] + row['mma'] else '-':>13}{row['atomics']:>9}"
            )

# %% [markdown]
# (Spilled: bytes for each thread.) Which kernel has no register to spare?
#
# <details><summary>Which kernel has no register to spare?</summary>
#
# Look for 255 in the column of registers, the most that a thread can have, and for bytes in the column beside
# it: what did not fit.
#
# </details>
#
# The tiles for the H100 were chosen as large as its registers allow, because a larger tile reads less often.
# Whether that was wise, only a measurement can tell.
# The last column is a promise kept: no atomic operation anywhere, so runs repeat bit for bit.
#
# If there is a GPU under this notebook, here is its own time for the same layer. In the interpreter a time
# would say nothing.

# %% tags=["nbval-ignore-output"] why="timing"
if device == "cuda":

    def large(*shape):
        return torch.randn(*shape, device=device, dtype=torch.bfloat16)

    x = large(8192, 1024)
    w_up, w_down = large(64, 4096, 1024) / 32, large(64, 1024, 2048) / 45
    chosen = torch.rand(8192, 64, device=device).topk(8).indices
    shares = torch.rand(8192, 8, device=device)
    ms = triton.testing.do_bench(lambda: moe_triton(x, chosen, shares, w_up, w_down))
    print(
        f"{torch.cuda.get_device_name()}: forward {ms:.2f} ms; the H100's limit is {limit.forward_ms:.2f} ms"
    )
else:
    print("No GPU that Triton compiles for: nothing is timed.")

# %% [markdown]
# ## What to take along
#
# - A kernel is a function that many programs run, each on its own block of elements. Pointers have no shape
#   and no end: strides and masks are yours to write.
# - A mask on every load and every store, and `other` wherever a sum could see what was left out.
# - Right in the interpreter is not yet right. Count who writes what: each element once, nothing outside.
# - What a kernel costs is what it moves. Fusing the gather saves 2 * S * D numbers, an epilogue 4 * S * F.
# - A block of rows belongs to one expert. Start as many programs as any routing could need, and let the
#   spare ones return.
# - Accumulate in fp32. Convert rows to int64 before they meet a stride.
# - Collect, don't scatter: no race, no atomics, the same bits every time.
# - Backward is the same kernels turned round, plus one that sums over rows, and writes zeros too.
#
# Check yourself:

# %% tags=["nbval-ignore-output"] why="widget"
quiz("09.programs")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("09.other")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("09.blocks")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("09.overflow")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("09.combine")

# %%
score()
