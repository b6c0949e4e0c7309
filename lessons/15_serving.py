# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("15_serving")

# %% [markdown]
# A model is trained, and now it is to answer people. From here on nobody pays for learning, only for
# tokens. What does one cost? It depends less on the model than on who else is asking.
#
# People who serve dense models know a handful of tricks: answer many at once, keep what is popular at
# hand, use fewer bits, guess ahead. In this lesson you try each of them on a sparse model. Some work
# better there, some hardly at all, and one of them reads *more* than it did without.
#
# **T** tokens, **D** width, **E** experts, **K** for each token, as always. A **step** is one pass of the
# model in which each of **B** users gets a token; that is called *decoding*. Reading a prompt, many
# tokens at once, is called *prefill*.

# %%
import tempfile
from pathlib import Path

import torch

from moe_lessons import serving, svg
from moe_lessons.accounting import decode_read_bytes, describe, expert_coverage, kv_cache_bytes
from moe_lessons.model import generate
from moe_lessons.serving.fine32 import facts
from moe_lessons.steps import each
from moe_lessons.training import evaluate

torch.set_num_threads(1)  # everything here is small: more threads would only wait for each other

# %% [markdown]
# Most of what follows happens on a small model that comes with the course: four layers, each of 32 narrow
# experts, 4 for each byte. It was trained on equal parts of English, source code and names of Unicode
# characters, as in lesson 10. Its routers chose for 4,096 bytes of each kind that it has not seen; these
# choices, layer by layer, are the *traces* that this lesson lives on.

# %% tags=["nbval-ignore-output"] why="trained"
model = serving.load_fine32()
texts = {kind: text[:4097] for kind, text in serving.held_out().items()}
traces = {kind: serving.routing_trace(model, text[:-1]).ids_LNK for kind, text in texts.items()}
plain_bits = {kind: evaluate(model, text) for kind, text in texts.items()}
about = facts()["about"]
print(f"{about['script']}, {about['cpu_s']} s of CPU on {about['device']}; {facts()['bytes'] / 1e6:.1f} MB")
print("bits per byte:", ", ".join(f"{kind} {bits:.2f}" for kind, bits in plain_bits.items()))
for kind, ids_LNK in traces.items():
    print(f"{kind}: the first byte's experts, layer by layer: {ids_LNK[:, 0].tolist()}")

# %% [markdown]
# ## What does a step read?
#
# In lesson 03 you counted: to decode one token for one user, the machine reads the weights that this
# token touches, each of them once, for a single multiplication. A second user brings a token of their
# own. What both touch is read once for both. In a dense model that is everything. Here it is attention,
# the head, and those experts that both tokens happen to choose.

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import Roofline

roofline = Roofline(ask=False)
predict("15.coverage", unlocks=roofline)

# %% [markdown]
# A certain token does not choose a certain expert with probability $1 - K/E$. That none of $B$ tokens
# does has probability $(1 - K/E)^B$, if they choose independently.

# %%
for users in (1, 8, 29, 72, 73, 128, 256):
    print(f"{users:>4} users: {expert_coverage(256, 8, users) / 256:.1%} of 256 experts")

# %%
reveal("15.coverage")

# %% [markdown]
# Here is the whole bill, for models whose sizes are published. Drag the batch along the curve. Watch what
# a token costs, and which of three parts it is: what all tokens share, experts, caches. Then go to "Long
# texts". Leave the draft alone for now; it has its own section.

# %% tags=["nbval-ignore-output"] why="widget"
roofline

# %% [markdown]
# The formula has two assumptions: choices are even, and they are independent. Real ones are neither. Take
# $B$ tokens from anywhere in a text, as if they were of $B$ users: that leaves only the uneven
# popularity. Then take $B$ *neighbours* of one text. Nobody decodes those together, or so it seems; keep
# them in mind.

# %%
generator = torch.Generator().manual_seed(0)
counted = {}
for batch in (2, 4, 8, 16):
    for name, who in (("strangers", serving.strangers), ("neighbours", serving.neighbours)):
        for kind, ids_LNK in traces.items():
            rows_RB = who(ids_LNK.shape[1], batch, 300, generator)
            of_layers = [serving.touched(ids_NK, rows_RB, 32).double().mean() for ids_NK in ids_LNK]
            counted[batch, name, kind] = torch.stack(of_layers).mean().item()

# %% tags=["nbval-ignore-output"] why="trained"
print("experts of 32 that B tokens touch, mean of four layers and 300 draws")
print(f"{'B':>3}{'formula':>10}    strangers: " + ", ".join(traces) + "    neighbours: " + ", ".join(traces))
for batch in (2, 4, 8, 16):
    cells = [
        "  ".join(f"{counted[batch, name, kind]:4.1f}" for kind in traces)
        for name in ("strangers", "neighbours")
    ]
    print(f"{batch:>3}{expert_coverage(32, 4, batch):>10.1f}    {cells[0]:^33}  {cells[1]:^33}")

# %%
formula = expert_coverage(32, 4, 16)
short = [formula - counted[16, "strangers", kind] for kind in traces]
near = [counted[16, "strangers", kind] - counted[16, "neighbours", kind] for kind in traces]
measured("16 strangers: experts fewer than the formula says", short, above=0.5, below=3.0)
measured("16 neighbours: experts fewer than 16 strangers", near, above=0.3, then="neighbours share more")

# %% draw=true tags=["nbval-ignore-output"] why="image"
BATCHES = (2, 4, 8, 16)
svg.line_chart(
    {
        "formula": (BATCHES, [expert_coverage(32, 4, batch) for batch in BATCHES]),
        "strangers": (BATCHES, [counted[batch, "strangers", "English"] for batch in BATCHES]),
        "neighbours": (BATCHES, [counted[batch, "neighbours", "English"] for batch in BATCHES]),
    },
    title="Neighbours in a text touch fewer experts than strangers do",
    x_label="tokens in a step",
    log_x=True,
    y_label="experts of 32 that are read",
    y_range=(0, 32),
    caption="English, mean of four layers. When would a server have neighbours in one step?",
)

# %% [markdown]
# So for a balanced router the formula is nearly right, and a little too high. Neighbours share more: that
# was lesson 12's locality.

# %% [markdown]
# **Change this.** A model with 512 experts, 10 a token. At which batch are 90 % of its experts read? And
# with 8 experts, 2 a token?

# %% change=true
# Change these and run the cell again.
n_experts = 512
top_k = 10

batch = next(b for b in range(1, 10_000) if expert_coverage(n_experts, top_k, b) >= 0.9 * n_experts)
print(f"E = {n_experts}, K = {top_k}: 90 % from {batch} users on; E/K is {n_experts / top_k:.1f}")

# %% [markdown] only="solutions"
# 117 users, and 9. In both it is about 2.3 times E/K, and 2.3 is the natural logarithm of 10. Only the
# ratio counts: not many experts make the curve slow, but few of many.

# %% only="solutions"
rerun("n_experts = 8; top_k = 2", "n_experts = 256; top_k = 8")

# %% [markdown]
# ## Reading, or computing?
#
# A step has to read its weights and to multiply with them. Both go on side by side, so that the slower
# one takes the time. Which is it? Divide the multiplications and additions by the bytes. An H100 reaches
# about 800 TFLOP/s and 3 TB/s: it can make 267 FLOP for each byte that it reads. Whoever asks for fewer
# waits for memory.

# %% tags=["nbval-ignore-output"] why="widget"
predict("15.phase")

# %%
NAMES = ("Mixtral-8x7B", "Qwen3-30B-A3B", "gpt-oss-120b", "DeepSeek-V3")
servers = {name: serving.Server(name, overhead_s=0) for name in NAMES}
print("bf16, empty caches, a prompt of 2,048 tokens; last: from how many users on it computes longer")
print(f"{'':<16}{'GB for each token':^24}{'FLOP for each byte':^25}")
print(f"{'':<16}{'B = 1':>8}{'64':>8}{'1024':>8}{'B = 1':>8}{'64':>8}{'prompt':>9}{'computes':>11}")
for name, server in servers.items():
    gigabytes = [server.read_bytes(b) / b / 1e9 for b in (1, 64, 1024)]
    flop = [server.intensity(n) for n in (1, 64, 2048)]
    computes = next(2**i for i in range(20) if server.intensity(2**i) > server.ridge)
    print(f"{name:<16}" + "".join(f"{g:>8.{n}f}" for g, n in zip(gigabytes, (1, 2, 3), strict=True)), end="")
    print(f"{flop[0]:>8.2f}{flop[1]:>8.1f}{flop[2]:>9.0f}{computes:>11,}")
print(f"from {servers['Mixtral-8x7B'].ridge:.0f} FLOP/byte on, computing takes longer than reading")

# %%
reveal("15.phase")
mixtral = servers["Mixtral-8x7B"]
shared_by = mixtral.read_bytes(1) / (mixtral.read_bytes(1024) / 1024)
claim("L13", "imprecise", holds=shared_by > 100 and mixtral.read_bytes(1) < 0.3 * 2 * 46_702_792_704)

# %% [markdown]
# One user's token costs a FLOP for each byte, whatever the model: it is all reading. A prompt is the
# opposite, since its tokens are a batch by themselves. Mixtral computes for longer than it reads there.
# For the finer models 2,048 tokens are not even enough: eight of 256 experts leave an expert 64 rows on
# average. So prefill and decoding want different machines, and large services give them different ones
# (arXiv 2412.19437, section 3.4).
#
# Look at the middle column. With 64 users a dense model would make 64 FLOP for each byte. Mixtral makes
# 18, and the finer the experts, the less: new users still bring experts. To fill the machine, Mixtral
# takes about a thousand users, and DeepSeek-V3 eight thousand.
#
# And the caches? Each user has one, which no other user shares.

# %%
for name in NAMES:
    cache = kv_cache_bytes(describe(name), 4096, batch=64)
    whole = decode_read_bytes(describe(name), batch=64, context=4096)
    print(f"{name:<16}64 users with 4,096 tokens each: {cache / whole:>4.0%} of what a step reads is cache")

# %% [markdown]
# In Mixtral it is a quarter already; in models whose attention keeps little, next to nothing. A cache
# does not get cheaper by the token with more users. What gets cheaper is the rest, until the cache is all
# that is left.

# %% [markdown]
# ### On your own machine
#
# Where the roof has its corner is a matter of the machine. Here is one layer on one core of yours, 32
# experts of 3 MB each. 4 tokens go to 4 experts; then 32 tokens to 4 experts, and 32 tokens to 32
# experts. On an H100 the second step would take as long as the first, and only the third would take
# longer.

# %% tags=["nbval-ignore-output"] why="timing"
import time

from moe_lessons.dispatch import moe_loop

bank = torch.randn(32, 1024, 512) / 25, torch.randn(32, 512, 512) / 25
hidden_TD = torch.randn(32, 512)


@torch.no_grad()
def milliseconds(n_tokens, n_experts):
    """Mean of 20 runs, each on other experts, so that none of them lies in a cache already."""
    began = time.process_time()  # the processor's time: what else runs here does not count
    for run in range(20):
        ids_T1 = (torch.arange(n_tokens)[:, None] % n_experts + run * n_experts) % 32
        moe_loop(hidden_TD[:n_tokens], ids_T1, torch.ones(n_tokens, 1), *bank)
    return 1000 * (time.process_time() - began) / 20


milliseconds(32, 32)  # the first run is slower, whatever it does
base, more_tokens, more_experts = milliseconds(4, 4), milliseconds(32, 4), milliseconds(32, 32)
print(f"4 tokens on 4 experts {base:.1f} ms, 32 on 4 {more_tokens:.1f} ms, 32 on 32 {more_experts:.1f} ms")
print(f"eight times the tokens: {more_tokens / base:.1f} times as long;", end=" ")
print(f"then eight times the experts: {more_experts / more_tokens:.1f} times as long")

# %% [markdown]
# A single core reads slowly, and computes slowly as well. So its corner lies far to the left, and there
# both may count, the experts that are read and the tokens that are multiplied. (This is a measurement: if
# other programs are busy, run it again.) From here on we speak of machines that compute far faster than
# they read, as those do that are built for this work. There one **counts experts, not tokens**.

# %% [markdown]
# ## More users at once
#
# Every step costs about the same, so fill it with as many users as there are. But answers have different
# lengths. If a batch of 32 is started together and ends together, most of its slots stand idle towards
# the end. The remedy is called *continuous batching*: a slot that is free goes to whoever waits.

# %% [markdown]
# {{exercise 15.continuous}}


# %% answer="15.continuous"
def finish_steps(arrival_N, length_N, n_slots):
    """Serve requests in the order of arrival, each in a slot of its own.

    arrival_N: [N] step at whose beginning each arrives, rising. length_N: [N] tokens that each needs.
    n_slots: how many can run at once.
    Returns [N] int64, the step at which each is finished.
    """
    ### BEGIN SOLUTION
    import heapq

    free, finish = [0] * n_slots, []  # steps from which on slots are free, the earliest in front
    for arrival, length in zip(arrival_N.tolist(), length_N.tolist(), strict=True):
        start = max(heapq.heappop(free), arrival)
        finish.append(start + length)
        heapq.heappush(free, finish[-1])
    return torch.tensor(finish)
    ### END SOLUTION


# %%
check("15.continuous")

# %% [markdown]
# On 200 made-up requests, half of them short and some very long, in 32 slots. For comparison: batches
# that start and end together.


# %%
def in_whole_batches(arrival_N, length_N, n_slots):
    """Finishing steps if each batch waits until the one before it is done."""
    finish_N, now = torch.zeros_like(length_N), 0
    for batch in range(0, len(length_N), n_slots):
        mine = slice(batch, batch + n_slots)
        now = max(now, int(arrival_N[mine].max()))
        finish_N[mine] = now + length_N[mine]
        now = int(finish_N[mine].max())
    return finish_N


own_finish = yours("15.continuous")
spread = torch.Generator().manual_seed(0)
length_N = 8 + (torch.rand(200, generator=spread).double() ** 4 * 400).long()
arrival_N = torch.arange(200) // 2
print(f"200 requests of {int(length_N.min())} to {int(length_N.max())} tokens, by {own_finish.label}")
n_steps = {}
for name, serve in (("whole batches", in_whole_batches), ("continuous", own_finish)):
    finish_N = serve(arrival_N, length_N, 32)
    n_steps[name] = int(finish_N.max())
    waited = (finish_N - arrival_N - length_N).double().mean()
    filled = length_N.sum().item() / (32 * n_steps[name])
    print(f"{name:<15}{n_steps[name]:>6} steps, slots in use {filled:.0%}, waiting {waited:.0f} on average")

# %% [markdown]
# Far fewer steps for the same tokens. In a dense model that would be the end of the story: a step costs
# what it costs, full or not, so half the steps are half the time. Here a step with idle slots touches
# fewer experts.
#
# The next experiment has prompts, arrivals in time, and steps as long as bytes and FLOPs make them. (It
# takes the exchange between several GPUs to be free, which flatters DeepSeek-V3 on 16 of them.) Mixtral
# becomes 1.9 times as fast by continuous batching in 32 slots.

# %% tags=["nbval-ignore-output"] why="widget"
predict("15.batching")

# %%
SERVICES = {"Mixtral-8x7B": (2, 30), "Qwen3-30B-A3B": (1, 40), "DeepSeek-V3": (16, 60)}
print("300 requests, 32 slots: tokens/s; the gap between two tokens that 99 % stay below;", end=" ")
print("the median wait for the first token")
gained = {}
for name, (gpus, per_second) in each(SERVICES.items(), "model"):
    server = serving.Server(name, gpus=gpus)
    done = {
        mode: serving.simulate(serving.requests(300, per_second), server, 32, mode) for mode in serving.MODES
    }
    gained[name] = done["continuous"].tokens_per_s / done["static"].tokens_per_s
    print(f"{name}: a step with 8 of 32 slots takes {server.step_s(8) / server.step_s(32):.0%} of a full one")
    for mode, run in done.items():
        gap, wait = run.quantile(run.gaps_s, 0.99), run.quantile(run.first_s, 0.5)
        print(f"  {mode:<12}{run.tokens_per_s:>6,.0f} tokens/s   {1000 * gap:>3.0f} ms   wait {wait:>4.1f} s")

# %%
reveal("15.batching")
print("continuous over static:", ", ".join(f"{name} {gain:.2f}" for name, gain in gained.items()))

# %% [markdown]
# With 8 of its 32 slots in use, Mixtral's step takes nine tenths of a full one; it reads nearly all its
# experts either way. DeepSeek-V3's takes two fifths. Its idle slots wasted little, so there is little to
# gain from filling them. What continuous batching still shortens, in all three, is the wait for the first
# token.
#
# The third mode cuts prompts into pieces of 256 tokens, which ride along with the decoding. Look at the
# gaps: a whole prompt in between makes everybody wait.

# %% [markdown]
# **Change this.** Is it a matter of the slots? Give DeepSeek-V3 few of them, or many. Which of the three
# modes gains from that?

# %% change=true
# Change these and run the cell again.
slots = 32
per_second = 60

v3_server = serving.Server("DeepSeek-V3", gpus=16)
for mode in serving.MODES:
    run = serving.simulate(serving.requests(300, per_second), v3_server, slots, mode)
    print(f"{slots} slots, {mode:<11}{run.tokens_per_s:>6,.0f} tokens/s")

# %% [markdown] only="solutions"
# With 8 slots continuous batching is ahead by 3 %, with 128 it is 2 % behind: whole prompts get in the
# way of more users. Cut prompts gain most where there are many slots.

# %% only="solutions"
rerun("slots = 8", "slots = 128")

# %% [markdown]
# ## What does not fit
#
# A laptop has no room for 47 billion parameters in fast memory. But a token needs an eighth or a quarter
# of the experts. Keep some of them at hand, and load the others when they are wanted, from slower memory
# or from disk. Which ones to keep is an old question, with an old answer: throw out what was not used for
# longest (*LRU*, least recently used).

# %% [markdown]
# {{exercise 15.expert_cache}}


# %% answer="15.expert_cache"
def expert_cache(ids_NK, capacity, n_experts):
    """Play a trace through a cache of experts that throws out what was used longest ago.

    ids_NK: [N, K] experts of each token, in the order in which they are used. capacity: places.
    Returns hits_N [N] int64, and inside_E [E] bool: what is inside at the end.
    """
    ### BEGIN SOLUTION
    from collections import OrderedDict

    cache, hits = OrderedDict(), []  # oldest use first
    for row in ids_NK.tolist():
        found = 0
        for expert in row:
            if expert in cache:
                found += 1
                cache.move_to_end(expert)
                continue
            if len(cache) == capacity:
                del cache[next(old for old in cache if old not in row)]
            cache[expert] = True
        hits.append(found)
    return torch.tensor(hits), torch.tensor([expert in cache for expert in range(n_experts)])
    ### END SOLUTION


# %%
check("15.expert_cache")

# %% [markdown]
# Now your cache has 16 places for the 32 experts of a layer, and gets the traces. Beside it other rules:
# throw out what was used least *often* (*LFU*); keep the 16 most popular experts and never throw out
# anything; and Bélády's rule, which throws out what is needed again latest. For that one must know the
# future: it says what is possible at all.

# %% tags=["nbval-ignore-output"] why="widget"
predict("15.cache")

# %%
own_cache = yours("15.expert_cache")
OTHER = {"English": "code", "code": "names", "names": "English"}
shuffle = torch.randperm(2048, generator=torch.Generator().manual_seed(0))
rates = {}
for kind in each(traces, "kind of text"):
    found = {}
    for layer in range(4):
        ids_NK = traces[kind][layer, :2048]
        best, foreign = (serving.popular(traces[k][layer, 2048:], 16, 32) for k in (kind, OTHER[kind]))
        runs = {
            "LRU": own_cache(ids_NK, 16, 32)[0].sum().item() / ids_NK.numel(),
            "LRU, text shuffled": own_cache(ids_NK[shuffle], 16, 32)[0].sum().item() / ids_NK.numel(),
            "LFU": serving.simulate_cache(ids_NK, 16, "lfu").hit_rate,
            "the 16 most popular": serving.simulate_cache(ids_NK, 16, "fixed", best).hit_rate,
            "those of another kind": serving.simulate_cache(ids_NK, 16, "fixed", foreign).hit_rate,
            "Bélády": serving.simulate_cache(ids_NK, 16, "belady").hit_rate,
        }
        for rule, rate in runs.items():
            found.setdefault(rule, []).append(rate)
    rates[kind] = {rule: sum(of_layers) / 4 for rule, of_layers in found.items()}

# %% tags=["nbval-ignore-output"] why="trained"
print(f"hits, 16 of 32 experts fit, 2,048 bytes, mean of four layers; LRU by {own_cache.label}")
print(f"{'':<24}" + "".join(f"{kind:>10}" for kind in rates))
for rule in rates["English"]:
    print(f"{rule:<24}" + "".join(f"{rates[kind][rule]:>10.1%}" for kind in rates))

# %% draw=true tags=["nbval-ignore-output"] why="image"
svg.dot_rows(
    {rule: [100 * rates[kind][rule] for kind in rates] for rule in rates["English"]},
    title="How often beats when, and foresight would beat both",
    x_label="experts found at hand (%)",
    dot_label="a kind of text",
    value_format="{:.0f}",
    x_range=(30, 90),
    caption="Half of the experts fit. What would close the gap to Bélády?",
)

# %%
all_rates = list(rates.values())
near = [rates[kind]["LRU"] - rates[kind]["LRU, text shuffled"] for kind in ("English", "code")]
measured("English and code: LRU, over that on the shuffled text", near, above=0.02)
measured("LFU over LRU", [r["LFU"] - r["LRU"] for r in all_rates], above=0.01, then="how often beats when")
measured("Bélády over LRU", [r["Bélády"] - r["LRU"] for r in all_rates], above=0.1, then="room for foresight")
still = [r["the 16 most popular"] - r["LRU"] for r in all_rates]
measured("the most popular, over LRU", still, above=-0.04, then="about as good, or better")
lost = [r["the 16 most popular"] - r["those of another kind"] for r in all_rates]
behind = [r["LRU"] - r["those of another kind"] for r in all_rates]
measured("LRU, over those of another kind", behind, above=0.005)
measured("the most popular, over those of another kind", lost, above=0.02, then="popularity is a forecast")
reveal("15.cache")

# %% [markdown]
# In English and code there *is* locality: with the text shuffled, LRU finds less. (Names show none beyond
# their popular experts.) But popularity is stronger than recency. LFU is ahead of LRU in every column,
# and a set that never changes does about as well as LRU, if it was made on the same kind of text. (It was
# made on the other half: nobody knows the future.) On another kind of text it falls behind LRU. Which of
# the two your users write, you cannot know beforehand; a rule that learns is the safer one.
#
# Now for real. The package's engine keeps all experts in a file and half of their bytes in memory. Six
# prompts, two of each kind.

# %%
prompts = [text[at : at + 30] for text in texts.values() for at in (300, 900)]
alone = [generate(model, prompt, 40, temperature=0) for prompt in prompts]
all_bytes = serving.ExpertStore(model).n_bytes
engine = serving.Engine(model, slots=1, limit_bytes=all_bytes // 2)
for prompt in prompts:
    engine.submit(prompt, 40)
written = engine.drain()
alike = sum(torch.equal(a, b) for a, b in zip(written, alone, strict=True))
print(f"all experts: {all_bytes:,} bytes; in memory at most {all_bytes // 2:,}")
print(f"prompts with the same text as with everything in memory: {alike} of {len(prompts)}")
hit_rate = engine.store.cache.hits / (engine.store.cache.hits + engine.store.cache.misses)
measured("hits", hit_rate, above=0.5, unit="%")
measured(
    "bytes of experts that were loaded, over all there are", engine.store.cache.loaded / all_bytes, above=3
)
claim("L98", "imprecise", holds=alike == len(prompts) and hit_rate > 0.5)

# %% [markdown]
# The same text, byte for byte. Whether an expert was at hand or had to be fetched changes *when* a token
# comes, not which one. And how long does it take?

# %%
EXPERT, SHARED = 3 * 4096 * 14336, 1.6e9  # parameters of one of Mixtral's experts, and of all else
BITS, BUS, DRAM, GPU = (
    4.25,
    25e9,
    100e9,
    1e12,
)  # bits a weight; bytes/s to the GPU, in main memory, on the GPU
expert_bytes = EXPERT * BITS / 8
print(
    f"Mixtral in {BITS} bits, one user: an expert has {expert_bytes / 1e6:.0f} MB, a token takes 64 of them"
)
print(f"{'hits':>6}{'loaded over the bus':>24}{'computed where it lies':>26}")
for hits in (0.0, 0.35, 0.6, 0.8, 0.9):
    at_hand = (64 * hits * expert_bytes + 2 * SHARED) / GPU
    by_bus, by_cpu = (1 / (64 * (1 - hits) * expert_bytes / speed + at_hand) for speed in (BUS, DRAM))
    print(f"{hits:>6.0%}{by_bus:>15.1f} tokens/s{by_cpu:>17.1f} tokens/s")

# %% [markdown]
# Even at 60 % hits the bus has nearly all of the time. Two ways out. *Do not move the expert*: let the
# processor compute it where it lies (the last column; Fiddler, arXiv 2402.07033, does that). Or *know
# earlier*.

# %% [markdown]
# ## Ask the next router now
#
# While a layer's experts are at work, the bus is idle. If only we knew what the next layer will want! Its
# router is a small matrix, and is there. It wants the stream *after* this layer. What if it gets the
# stream from *before* this layer's experts?

# %% tags=["nbval-ignore-output"] why="widget"
predict("15.prefetch")

# %%
english = texts["English"][:2048]
truth_LNK = traces["English"][1:, :2048]
recalls = {}
for n_guesses in (4, 8):
    for where in serving.PLACES:
        guesses = serving.guess_next(model, english, where, n_guesses)
        recalls[where, n_guesses] = [
            serving.recall(guess_NG, truth_NK) for guess_NG, truth_NK in zip(guesses, truth_LNK, strict=True)
        ]

# %% tags=["nbval-ignore-output"] why="trained"
print("English: share of the next layer's 4 experts that were guessed, from layers 0, 1, 2")
for (where, n_guesses), of_layers in recalls.items():
    print(f"{n_guesses} guesses, {where:<18}" + "".join(f"{r:>7.0%}" for r in of_layers))
print(f"by chance: 4 guesses {4 / 32:.0%}, 8 guesses {8 / 32:.0%}")

# %%
before_4, before_8 = (recalls["before experts", n] for n in (4, 8))
measured("before the experts, 4 guesses", before_4, above=0.35, below=0.75, unit="%")
measured("before the experts, 8 guesses", before_8, above=0.55, unit="%")
reveal("15.prefetch")

# %% [markdown]
# About half, where chance has an eighth. A layer *adds* to the stream, and does not turn it round. Eight
# guesses catch two thirds and more, at the price of loading some in vain. (Mixtral-offloading, arXiv
# 2312.17238, does just that.) A wrong guess costs bytes and never a wrong token: what is missing is still
# loaded.

# %% [markdown]
# ## Fewer bits
#
# The other way to fit: make experts smaller. A weight in bf16 has 16 bits. How many does it need? Whole
# numbers from -7 to 7 fit into four, and each group of neighbouring weights gets a scale.

# %% [markdown]
# {{puzzle 15.p_parcels}}


# %% puzzle="15.p_parcels"
@puzzle("15.p_parcels")
def parcel_values(value_RM, size):
    ### BEGIN SOLUTION
    return value_RM.unflatten(1, (-1, size)).sum(dim=2)
    ### END SOLUTION


# %% [markdown]
# {{exercise 15.quantise}}


# %% answer="15.quantise"
def quantise(weight_FD, bits, group):
    """Round a matrix to whole numbers with a scale for each group of inputs, symmetric about zero.

    weight_FD: [F, D]. bits: 2 or more. group: weights that share a scale, a divisor of D.
    Returns codes [F, D] int64 in -top to top, scales [F, D/group], and weights [F, D].
    """
    ### BEGIN SOLUTION
    top = 2 ** (bits - 1) - 1
    grouped = weight_FD.unflatten(1, (-1, group))
    scales_FG = grouped.abs().amax(dim=2) / top
    codes = (grouped / torch.where(scales_FG > 0, scales_FG, 1.0)[:, :, None]).round()
    return codes.flatten(1).long(), scales_FG, (codes * scales_FG[:, :, None]).flatten(1)
    ### END SOLUTION


# %%
check("15.quantise")

# %% [markdown]
# Your function on all experts of our model, with groups of 32. (It comes from a file in which they have
# eight bits already. What that cost is on record: see the first line.)

# %%
own_quantise = yours("15.quantise")


@torch.no_grad()
def with_bits(bits_LE):
    """A copy of the model whose experts went through few bits, and how far they moved, layer by layer."""
    smaller = serving.quantised_model(model, 16)  # 16 leaves everything as it is
    errors = []
    for layer, row in zip(smaller.moe_layers, bits_LE, strict=True):
        for bank in (layer.experts.gate_up_proj, layer.experts.down_proj):
            whole = bank.clone()
            for bits in set(row):
                these = torch.tensor([e for e, b in enumerate(row) if b == bits])
                weight_FD = whole[these].flatten(0, 1)
                bank[these] = own_quantise(weight_FD, bits, 32)[2].view_as(whole[these])
            errors.append(serving.relative_error(whole, bank))
    return smaller, sum(errors) / len(errors)


def added_bits(smaller):
    """What a model loses on each kind of text, in bits per byte."""
    return {kind: evaluate(smaller, text) - plain_bits[kind] for kind, text in texts.items()}


uniform = {bits: [[bits] * 32 for _ in range(4)] for bits in (4, 3, 2)}
costs, errors = {}, {}
for bits, bits_LE in each(uniform.items(), "setting"):
    smaller, errors[bits] = with_bits(bits_LE)
    costs[f"all {bits}"] = added_bits(smaller)

# %% tags=["nbval-ignore-output"] why="trained"
record = facts()["bits per byte by kind"]
eight = {kind: record["packed"][kind] - record["trained"][kind] for kind in texts}
print("8 bits, in the file:", "  ".join(f"{kind} {cost:+.4f}" for kind, cost in eight.items()))
print(f"by {own_quantise.label}: bits per byte added, and how far weights moved")
for bits in (4, 3, 2):
    added = "  ".join(f"{kind} {cost:+.4f}" for kind, cost in costs[f"all {bits}"].items())
    stored = serving.bits_per_weight(bits, 32)
    print(f"{bits} bits ({stored:.1f} with the scale): {added}   weights by {errors[bits]:.1%}")

# %%
measured("4 bits: bits per byte added", list(costs["all 4"].values()), below=0.015, then="hardly anything")
measured("2 bits: bits per byte added", list(costs["all 2"].values()), above=0.05, then="a lot")

# %% [markdown]
# Four bits are nearly free, and two are not. Between them an idea suggests itself. Experts differ in how
# much they are used. Give the busier half four bits and the other half two: three on average. Against
# that, simply three for all.

# %% tags=["nbval-ignore-output"] why="widget"
predict("15.bits")

# %%
hot = [set(serving.popular(ids_NK, 16, 32)) for ids_NK in traces["English"]]
hot_share = [
    torch.isin(ids_NK, torch.tensor(list(h))).double().mean().item()
    for ids_NK, h in zip(traces["English"], hot, strict=True)
]
for name, hot_bits, cold_bits in (("hot 4, cold 2", 4, 2), ("hot 2, cold 4", 2, 4)):
    bits_LE = [[hot_bits if e in h else cold_bits for e in range(32)] for h in hot]
    costs[name] = added_bits(with_bits(bits_LE)[0])

# %% tags=["nbval-ignore-output"] why="trained"
print("bits per byte added, three bits on average; hot by their load in English")
for name in ("all 3", "hot 4, cold 2", "hot 2, cold 4"):
    print(f"{name:<15}" + "".join(f"  {kind} {cost:+.4f}" for kind, cost in costs[name].items()))
print("the hot half's share of all choices, layer by layer:", ", ".join(f"{s:.0%}" for s in hot_share))
squares = {bits: error**2 for bits, error in errors.items()}
even = (squares[2] - squares[3]) / (squares[2] - squares[4])
print(f"squared errors of weights: {squares[4]:.3f} at 4 bits, {squares[3]:.3f} at 3, {squares[2]:.3f} at 2")
print(f"the mixture would pay from a share of {even:.0%} on")

# %%
worse = [costs["hot 4, cold 2"][kind] / costs["all 3"][kind] for kind in texts]
right_way = [costs["hot 2, cold 4"][kind] - costs["hot 4, cold 2"][kind] for kind in ("English", "code")]
measured("the mixture costs, times what three bits for all cost", worse, above=1.3, then="three for all")
measured("English and code: the wrong way round costs more, by", right_way, above=0.005, unit="bits")
reveal("15.bits")

# %% [markdown]
# The load is the right order, for the mixture with hot and cold swapped is worse. And still plain three
# bits beat it on every kind of text. The error grows so fast below three bits that what the cold half
# loses outweighs what the hot half gains, unless the hot half has nine tenths of the load. In a balanced
# model it has six. **A trick that lives on imbalance does not get along with a router that was trained
# for balance.**

# %% [markdown]
# ## Guess, then check
#
# Decoding waits for weights, and one token uses them badly. So let something cheap guess the next few
# tokens, and let the model check all of them in *one* step. In a dense model that step reads what a step
# for one token reads. It is called *speculative decoding*. If the check is done right, what comes out has
# exactly the target's distribution, whatever the draft.
#
# "Right" is not obvious. The draft drew token x from its distribution q; the target would have drawn from
# p. Where q is larger than p, x comes too often, and some of it has to be rejected. What is then missing,
# has to be made up.

# %% [markdown]
# {{puzzle 15.p_streak}}


# %% puzzle="15.p_streak"
@puzzle("15.p_streak")
def winning_start(won_GN):
    ### BEGIN SOLUTION
    return won_GN.cumprod(dim=1).sum(dim=1)
    ### END SOLUTION


# %% [markdown]
# {{exercise 15.speculate}}


# %% answer="15.speculate"
def speculate(p_HV, q_GV, drafted_G, u_G, u_last):
    """Check drafted tokens; what comes out is distributed as the target's own.

    p_HV: [G + 1, V] the target's distributions, the last one behind the draft. q_GV: [G, V] the draft's.
    drafted_G: [G] tokens. u_G: [G] and u_last: chances between 0 and 1.
    Returns tokens_H [G + 1] int64, with -1 behind the end.
    """

    ### BEGIN SOLUTION
    def drawn(weights_V):
        sums_V = (weights_V / weights_V.sum()).cumsum(0)
        return min(int((sums_V < u_last).sum()), len(sums_V) - 1)

    tokens = []
    for g, token in enumerate(drafted_G.tolist()):
        if u_G[g] * q_GV[g, token] > p_HV[g, token]:
            tokens.append(drawn((p_HV[g] - q_GV[g]).clamp_min(0)))
            break
        tokens.append(token)
    else:
        tokens.append(drawn(p_HV[-1]))
    return torch.tensor(tokens + [-1] * (len(p_HV) - len(tokens)))
    ### END SOLUTION


# %%
check("15.speculate")

# %% [markdown]
# Is it exact? Here p and q disagree wildly. Draft a token from q four thousand times, check it, and count
# the first token that comes out.

# %%
own_check = yours("15.speculate")
dice = torch.Generator().manual_seed(0)
p_HV = torch.tensor([[0.5, 0.1, 0.1, 0.3], [0.25, 0.25, 0.25, 0.25]])
q_GV = torch.tensor([[0.1, 0.6, 0.1, 0.2]])
firsts_V = torch.zeros(4)
n_draws = 4_000
for u_keep, u_last in torch.rand(n_draws, 2, generator=dice).tolist():
    drafted_G = torch.multinomial(q_GV[0], 1, generator=dice)
    firsts_V[own_check(p_HV, q_GV, drafted_G, torch.tensor([u_keep]), u_last)[0]] += 1
print(f"by {own_check.label}: first tokens of {n_draws:,} checks")
for name, row in (("the draft's q", q_GV[0]), ("came out", firsts_V / n_draws), ("the target's p", p_HV[0])):
    print(f"{name:<16}" + "".join(f"{x:>7.2f}" for x in row.tolist()))
measured("largest distance from p", (firsts_V / n_draws - p_HV[0]).abs().max(), below=0.03, then="it is p")

# %% [markdown]
# Exact, though the draft is awful: a bad draft costs time and never quality.
#
# Now the draft for our model. A handy one is the model itself with one expert for each byte instead of
# four. It guesses three bytes ahead; the check passes four. In a dense model a check costs what a step
# costs.

# %% tags=["nbval-ignore-output"] why="widget"
predict("15.draft")

# %%
draft = serving.fewer_experts(model, 1)
begins = {kind: [texts[kind][at : at + 40] for at in (200, 712, 1224)] for kind in ("English", "code")}
same_text, counts = 0, {}
for kind, some in begins.items():
    for prompt in each(some, kind):
        expected = generate(model, prompt, 60, temperature=0)
        for gamma in (1, 3):
            tokens, counted_here = serving.speculative_generate(model, draft, prompt, 60, gamma)
            same_text += torch.equal(tokens, expected)
            counts.setdefault((kind, gamma), []).append(counted_here)
per_token = {key: sum(c.experts_per_token for c in some) / len(some) for key, some in counts.items()}

# %% tags=["nbval-ignore-output"] why="trained"
print("the same text as without a draft:", same_text, "of 12")
for (kind, gamma), some in counts.items():
    tokens, experts = (
        sum(getattr(c, what) for c in some) / 3 for what in ("tokens_per_check", "experts_per_check")
    )
    print(
        f"{kind:<8} {gamma} guessed: {tokens:.2f} tokens a check, which reads {experts:.1f} experts", end=""
    )
    print(f" of a layer: {per_token[kind, gamma]:.2f} for each token (4 without a draft)")

# %%
measured("the same text in", same_text, of=12, at_least=12)
measured(
    "English, 3 guessed: experts read for each token", per_token["English", 3], above=4.1, then="more than 4"
)
reveal("15.draft")

# %% [markdown]
# The text is the same, twelve times of twelve. And for one user the draft reads *more*, at least in
# English: its tokens bring experts of their own, the rejected ones too. These are the neighbours from the
# beginning. They share more experts than strangers do, and not enough.
#
# Does another draft help? Longer ones and shorter ones, and one that is no model at all: the byte that most
# often followed the last four.

# %%
import json
from importlib.resources import files

long_runs = json.loads((files("moe_lessons") / "results" / "serving.json").read_text(encoding="utf-8"))
more_drafts = long_runs["speculation"]["rows"]
kinds = list(dict.fromkeys(row["kind"] for row in more_drafts))
read_by = {}
for row in more_drafts:
    read_by.setdefault((row["draft"], row["gamma"]), {})[row["kind"]] = row["experts per token"]
print(f"experts of a layer read for each token, 4 without a draft{'':<6}" + "".join(f"{k:>9}" for k in kinds))
for (name, gamma), by_kind in read_by.items():
    print(f"  {name}, {gamma} guessed".ljust(63) + "".join(f"{by_kind[kind]:>9.2f}" for kind in kinds))

# %% [markdown]
# It depends on the text at least as much as on the draft. On code up to a fifth is saved; on English nothing
# to speak of, by any of them.
#
# So is drafting useless for a sparse model? That depends on how many are asking.

# %% [markdown]
# {{exercise 15.speculation_pays}}


# %% answer="15.speculation_pays"
def speculation_speedup(n_experts, top_k, batch, gamma, acceptance, shared_bytes, expert_bytes):
    """How many times as many tokens come out in the same time, if time is bytes.

    n_experts, top_k, batch, gamma: whole numbers. acceptance: share of drafted tokens that are kept.
    shared_bytes: read in every step. expert_bytes: read for each different expert that is touched.
    Returns one number.
    """

    ### BEGIN SOLUTION
    def read(n_tokens):
        touched = n_experts * (1 - (1 - top_k / n_experts) ** n_tokens)
        return shared_bytes + expert_bytes * touched

    tokens = sum(acceptance**i for i in range(gamma + 1))
    return tokens * read(batch) / read(batch * (gamma + 1))
    ### END SOLUTION


# %%
check("15.speculation_pays")

# %% [markdown]
# Your function for real sizes, drafts of three, 70 % kept. Bytes decide as long as reading takes longer
# than computing; the last row, a dense model of DeepSeek-V3's active size, is right for small batches
# only.

# %%
own_speedup = yours("15.speculation_pays")
USERS = (1, 4, 16, 64, 256)
paid = {}
for name in ("Mixtral-8x7B", "Qwen3-30B-A3B", "DeepSeek-V3"):
    moe, one, two = describe(name).moes[0][0], *(decode_read_bytes(describe(name), b, 0) for b in (1, 2))
    e, k = moe.n_experts, moe.top_k
    per_expert = (two - one) / (expert_coverage(e, k, 2) - k)  # two tokens read more experts than one
    sizes = e, k, one - k * per_expert, per_expert
    paid[name] = [own_speedup(e, k, users, 3, 0.7, *sizes[2:]) for users in USERS]
paid["dense"] = [own_speedup(8, 8, users, 3, 0.7, 1.0, 1.0) for users in USERS]
print(f"tokens in the same time, against no draft, by {own_speedup.label}")
print(f"{'users':<16}" + "".join(f"{users:>8}" for users in USERS))
for name, row in paid.items():
    print(f"{name:<16}" + "".join(f"{x:>8.2f}" for x in row))
v3 = dict(zip(USERS, paid["DeepSeek-V3"], strict=True))
int4 = max(costs["all 4"].values())
claim(
    "L135",
    "correct",
    holds=same_text == 12 and per_token["English", 3] > 4 and int4 < 0.015 and v3[64] > 2 * v3[4],
)

# %% [markdown]
# For one user of DeepSeek-V3 three guesses bring nothing, for four they do harm. At 64 users the check
# reads hardly more than a plain step would, as nearly all experts are read anyway, and drafting pays
# nearly as in a dense model. These were bytes alone. Now with the arithmetic, on an H100:

# %% draw=true tags=["nbval-ignore-output"] why="image"
from moe_lessons.explore.roofline.state import Params, simulate

TO_1024 = [2**i for i in range(11)]
drafted = {
    name: [simulate(Params(name, users, context=0, gamma=3)) for users in TO_1024]
    for name in ("Mixtral-8x7B", "DeepSeek-V3")
}
svg.line_chart(
    {name: (TO_1024, [state.speedup for state in states]) for name, states in drafted.items()}
    | {"dense": (TO_1024, [state.dense_speedup for state in drafted["DeepSeek-V3"]])},
    title="Sparse models gain from a draft where dense ones no longer do",
    x_label="users who decode together",
    log_x=True,
    y_label="tokens in the same time, against no draft",
    references={"no draft": 1.0},
    y_range=(0, 3),
    caption="Three guessed, 70 % kept, empty caches. Dense: as large as DeepSeek-V3's active part. Why do "
    "lines fall on the right?",
)

# %% [markdown]
# Where a model computes longer than it reads, a rejected token is lost work, and drafting slows it down.
# A dense model gets there with a few hundred users, a sparse one much later. (MoESD, arXiv 2505.19645,
# finds the same.) In the explorable above, "A draft, alone" and "A draft, in company" show both ends.

# %% [markdown]
# **Change this.** DeepSeek-V3 is published with a draft that guesses *one* token and is right in 85 to 90
# % of all cases (arXiv 2412.19437, section 5.4.3). Does that pay for one user? And at which batch least?

# %% change=true
# Change these and run the cell again.
gamma = 3
acceptance = 0.7

row = [own_speedup(e, k, users, gamma, acceptance, *sizes[2:]) for users in USERS]
print(f"DeepSeek-V3, {gamma} guessed, {acceptance:.0%} kept: ", end="")
print(", ".join(f"{users} users {x:.2f}" for users, x in zip(USERS, row, strict=True)))

# %% [markdown] only="solutions"
# With one guess, 90 % of them right, a single user has 1.23 times the tokens, and four have 1.10: the
# lowest. From then on it rises to 1.9. One sure guess suits a sparse model better than three doubtful
# ones.

# %% only="solutions"
rerun("gamma = 1; acceptance = 0.9", "gamma = 1; acceptance = 0.85", "gamma = 6; acceptance = 0.9")

# %% [markdown]
# ## Take what the others take
#
# One last idea, and a warning. Sixteen users touch 25 to 27 of 32 experts. Let each byte keep its two
# best experts, and take the third and fourth only from what the batch loads anyway (after OEA, arXiv
# 2511.02237).

# %% tags=["nbval-ignore-output"] why="widget"
predict("15.share")

# %%
B, LENGTH = 16, 128
windows_BL = {kind: text[: B * LENGTH].view(B, LENGTH) for kind, text in texts.items()}


def side_by_side(gate):
    """Bits per byte, and experts read in a step, if 16 windows are decoded side by side."""
    for layer in model.moe_layers:
        layer.gate = gate
    found = {}
    for kind, window_BL in windows_BL.items():
        with torch.no_grad():
            output = model(window_BL)
        step_rows = (
            torch.arange(B * LENGTH).view(B, LENGTH).T
        )  # tokens of one step: a position of all windows
        read = [serving.touched(r.topk_ids_TK, step_rows, 32).double().mean() for r in output.routings]
        bits = evaluate(model, texts[kind][: B * LENGTH + 1], tokens_per_batch=B * LENGTH)
        found[kind] = bits, torch.stack(read).mean().item()
    for layer in model.moe_layers:
        layer.gate = "topk_softmax"
    return found


usual = side_by_side("topk_softmax")
aware = {k0: side_by_side(serving.batch_aware(k0, serving.positions(LENGTH))) for k0 in (3, 2, 1)}

# %% tags=["nbval-ignore-output"] why="trained"
print("16 users: experts read in a step, and bits per byte that it costs")
for k0, found in {4: usual, **aware}.items():
    cells = "   ".join(f"{kind} {n:4.1f}, {bits - usual[kind][0]:+.3f}" for kind, (bits, n) in found.items())
    print(f"each byte keeps its best {k0}:   {cells}")

# %%
fewer = [1 - aware[2][kind][1] / usual[kind][1] for kind in texts]
dearer = [aware[2][kind][0] - usual[kind][0] for kind in texts]
measured("two kept: experts saved", fewer, above=0.25, unit="%")
measured("two kept: bits per byte lost", dearer, below=0.06)
reveal("15.share")

# %% [markdown]
# A third of the reading for a few hundredths of a bit. Would you switch it on? Watch the *first* user's
# text, while another user's text is changed and nothing else.


# %%
@torch.no_grad()
def first_user_moves(gate):
    """How far the first user's logits move if the last user writes something else."""
    for layer in model.moe_layers:
        layer.gate = gate
    window_BL = windows_BL["English"]
    other_BL = torch.cat([window_BL[:-1], windows_BL["code"][:1]])
    before, after = (model(tokens_BL).logits_BLV[0] for tokens_BL in (window_BL, other_BL))
    for layer in model.moe_layers:
        layer.gate = "topk_softmax"
    return (before - after).abs().max()


measured(
    "usual gate: the first user's logits move by",
    first_user_moves("topk_softmax"),
    below=1e-4,
    then="not at all",
)
moves = first_user_moves(serving.batch_aware(2, serving.positions(LENGTH)))
measured("batch-aware gate: they move by", moves, above=0.05, then="the answer depends on who else asks")

# %% [markdown]
# The same question gets another answer, depending on strangers. Nobody can reproduce it, every test that
# compares two runs breaks, and in principle one user can learn something about another's text. It is the
# leak of lesson 06, between users instead of backwards in time.

# %% [markdown]
# ## Serve your own
#
# The engine that you have seen is made for counting. To *serve*, hand the model to a program that others
# use. What lesson 10 exports is a Mixtral folder, and any server that knows Mixtral takes it. If
# `transformers` is installed here, it reads our model and writes on:

# %% tags=["nbval-ignore-output"] why="machine"
import importlib.util

from moe_lessons.interop.exporting import export_model

workplace = tempfile.TemporaryDirectory()
folder = export_model(model, Path(workplace.name) / "fine32-mixtral")
print("files:", ", ".join(sorted(path.name for path in folder.iterdir())))
if importlib.util.find_spec("transformers") is None:
    print("transformers is not installed here; pip install transformers, and run this cell again")
else:
    from transformers import MixtralForCausalLM, logging

    logging.disable_progress_bar()
    theirs = MixtralForCausalLM.from_pretrained(folder).eval()
    for prompt in prompts[:3]:
        ours_L = generate(model, prompt, 30, temperature=0)
        theirs_L = theirs.generate(prompt[None], max_new_tokens=30, do_sample=False)[0]
        print(bytes(theirs_L[30:].tolist()), "the same" if torch.equal(ours_L, theirs_L) else "not the same")
workplace.cleanup()

# %% [markdown]
# A run of your own becomes such a folder by `moe-lessons export runs/mine --to my-mixtral`. Here is what
# to type then; the first line of each says whether it has been tried with this very model.

# %%
print(serving.how_to_serve("my-mixtral", model.config.context_length))

# %% [markdown]
# ## What to remember
#
# - A step reads what its tokens touch. **Count experts**, not tokens: $E\,(1-(1-K/E)^B)$ of them.
# - One user's decoding is all reading. To compute as long as it reads, Mixtral takes a thousand users, a
#   finer model several thousand.
# - Idle slots waste little where experts are fine, so filling them gains little.
# - For a cache popularity beats recency, on the kind of text on which it was measured.
# - Four bits are nearly free. Mixing bits by load is not worth it in a balanced model.
# - A draft brings experts of its own. It pays in company, and one sure guess beats three doubtful ones.
# - What makes a user's tokens depend on other users saves reading, and takes away that an answer can be
#   repeated.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("15.q_two")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("15.q_bits")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("15.q_prefill")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("15.q_draft")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("15.q_company")

# %%
claims_table()

# %%
score()
