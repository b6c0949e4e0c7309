# %% [markdown]
# You have met the parts: the router, the experts, the way tokens get to them. Here they become one model,
# and the model reads text. It is small on purpose. Every line of it fits on a page or two, it trains while
# you watch, and what it learns can be checked.
#
# A GPU is not needed. If there is one, the same code uses it.

# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("10_mini_transformer")

# %% [markdown]
# ## The text, and the part that is kept back
#
# The text is the English of Python's language reference. It comes with the course, so nothing is downloaded.
# We work on its *bytes*: the vocabulary is the numbers 0 to 255, and no tokenizer is needed.
#
# A model can learn a text by heart. So a tenth of the text is held out: the model never trains on it, and
# every score in this lesson is measured on it.

# %%
import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from moe_lessons.data import load_corpus, split_text

corpus = load_corpus("language-reference", context_length=128)
train_text = bytes(corpus.train_N.tolist())
held_out_text = bytes(corpus.validation_M.tolist())
N_THREADS = torch.get_num_threads()

# %% tags=["nbval-ignore-output"] why="machine"
print(f"{len(train_text):,} bytes to train on, {len(held_out_text):,} held out.")
print("The held-out part begins:\n")
print(held_out_text[:400].decode(errors="ignore"))  # a part may begin or end within a character

# %% [markdown]
# Two ways to fool oneself lie here. The parts could overlap. Or they could repeat each other, as manuals
# do, and then learning by heart would pay off on the "unseen" text as well. (The package drops paragraphs
# that occur twice before it splits.) Let us look for both.

# %%
marked = bytes(range(200))  # every position has a value of its own
part, other = split_text(marked)
print("positions in both parts:", len(set(part) & set(other)))
print("positions in neither:", len(marked) - len(part) - len(other))

seen = {train_text[i : i + 40] for i in range(len(train_text) - 39)}
stretches = [held_out_text[i : i + 40] for i in range(len(held_out_text) - 39)]
repeated = sum(stretch in seen for stretch in stretches) / len(stretches)
measured("held-out stretches of 40 bytes that the training part has too", repeated, below=0.05, unit="%")

# %% [markdown]
# ## How good is a prediction? Bits per byte
#
# A language model reads some bytes and gives each of the 256 possible next bytes a probability. Then the
# next byte is uncovered. If it had the probability $p$, the model pays $-\log_2 p$ **bits**: 0 for certainty,
# 1 for an even chance, 8 for $p = 1/256$. The mean over a text is its **bits per byte**. It is also the size
# to which the model could compress that text.

# %%
given = [1 / 2, 1 / 4, 1 / 8, 1 / 8]  # what a model gave to the four bytes that really came
paid = [-math.log2(p) for p in given]
print("bits paid:", paid, " bits per byte:", sum(paid) / len(paid))

# %% [markdown]
# PyTorch's `cross_entropy` computes the same with the natural logarithm. Its unit is the *nat*; divide by
# $\ln 2$ to get bits.
#
# A number alone says little. Three rivals that know nothing of neural networks:
#
# - **unigram**: how often does each byte occur in the training part? That is its probability, always.
# - **bigram**: the same, one table for each preceding byte.
# - **compressor**: `xz`, given the training part and then the held-out part. What the second adds, it pays.

# %%
import lzma

from moe_lessons.training.baselines import bigram_bits_per_byte, unigram_bits_per_byte


def xz_bits(text):
    return 8 * len(lzma.compress(text, preset=9))


unigram = unigram_bits_per_byte(corpus.train_N, corpus.validation_M)
bigram = bigram_bits_per_byte(corpus.train_N, corpus.validation_M)
extra_bits = xz_bits(train_text + held_out_text) - xz_bits(train_text)
compressor = extra_bits / len(held_out_text)

measured("the unigram saves, of 8 bits", 8 - unigram, above=2)
measured("the bigram saves, beyond that", unigram - bigram, above=0.5)
measured("the compressor saves, beyond that", bigram - compressor, above=1)

# %% draw=true tags=["nbval-ignore-output"] why="image"
from moe_lessons.svg import bar_chart

bar_chart(
    [8, unigram, bigram, compressor],
    names=["no idea", "unigram", "bigram", "compressor"],
    title=f"Byte pairs save {unigram - bigram:.1f} bits over bytes; long repeats save more",
    x_label="predictor, all fitted on the training part",
    y_label="held-out bits per byte (lower is better)",
    value_format="{:.2f}",
)

# %% [markdown]
# These are what our model will be measured against. First write the measure yourself. A model reads a text in
# *windows*, so many bytes at a time. Texts end where they please, so the last window is short. That is where
# many evaluations go wrong.

# %% [markdown]
# {{exercise 10.bits_per_byte}}


# %% answer="10.bits_per_byte"
def bits_per_byte(
    logits_WLV: torch.Tensor,
    targets_WL: torch.Tensor,
    lengths_W: torch.Tensor,
) -> float:
    """Mean bits per held-out byte.

    logits_WLV: [W, L, V] the model's logits.
    targets_WL: [W, L] the bytes that came; 0 behind the end of a window.
    lengths_W: [W] how many bytes of each window are real.
    """
    ### BEGIN SOLUTION
    nats_WL = -logits_WLV.log_softmax(dim=-1).gather(-1, targets_WL[..., None])[..., 0]
    is_real_WL = torch.arange(targets_WL.shape[1]) < lengths_W[:, None]
    return nats_WL[is_real_WL].mean().item() / math.log(2)
    ### END SOLUTION


# %%
check("10.bits_per_byte")

# %% [markdown]
# **Change this.** A model gives most bytes a probability of one half. Now and then it is surprised. How small
# must the probability of those few bytes be, until they alone cost as much as all the others?

# %% change=true
# Change these and run the cell again.
p_usual = 0.5
p_surprise = 0.001
n_surprises = 5  # of 100 bytes

measure = yours("10.bits_per_byte")
p_1L = torch.full((1, 100), p_usual)
p_1L[:, :n_surprises] = p_surprise
logits_1LV = torch.stack((p_1L, 1 - p_1L), dim=-1).log()  # two bytes: the one that came, and the other
per_byte = measure(logits_1LV, torch.zeros(1, 100, dtype=torch.long), torch.tensor([100]))
share = n_surprises * -math.log2(p_surprise) / (100 * per_byte)
print(f"{per_byte:.2f} bits per byte; {share:.0%} of them for {n_surprises} bytes in 100")

# %% [markdown] only="solutions"
# About one in a million: five such bytes in 100 then pay 51 %, and the text costs 1.95 bits per byte
# instead of 1. At one in a thousand they pay 34 %. Nothing bounds what one byte can cost, so a model is
# better off when it rules nothing out. With `p_usual = 0.9` one in a thousand is enough: the five pay 78 %.

# %% only="solutions"
rerun("p_surprise = 1e-6", "p_usual = 0.9")

# %% [markdown]
# ## The model: a stream and what is added to it
#
# Each byte becomes a vector of width D. All the vectors together are the **stream**. A block reads the
# stream twice and adds to it twice: once through attention, where a byte looks at those before it, and once
# through the Mixture-of-Experts layer, where each byte is by itself. This is the package's own code:

# %%
import inspect

from moe_lessons.config import preset
from moe_lessons.model import Block, MoETransformer, parameter_counts

print(inspect.getsource(Block.forward))

# %% [markdown]
# Take any dense decoder, replace `self.moe` by one feed-forward network, and you have it back. Nothing else
# in the block knows about experts.
#
# Now with sizes. B is the number of sequences, L their length; the MoE layer flattens both into T = B·L
# tokens, because to a router they are all alike.

# %%
config = preset("lesson")
model = MoETransformer(config.model, generator=torch.Generator().manual_seed(0))
print(
    f"{config.model.n_layers} layers, D={config.model.d_model}, F={config.model.d_expert}, "
    f"E={config.model.n_experts}, K={config.model.top_k}\n"
)


def show_shapes(name):
    def hook(module, inputs, output):
        first = output[0] if isinstance(output, tuple) else output
        print(f"{name:<24}{tuple(first.shape)}")

    return hook


watched = ("embedding", "blocks.0.attention_norm", "blocks.0.attention", "blocks.0.moe_norm")
watched += ("blocks.0.moe.router", "blocks.0.moe", "blocks.0", "final_norm", "head")
hooks = [model.get_submodule(name).register_forward_hook(show_shapes(name)) for name in watched]
with torch.no_grad():
    model(corpus.validation_M[: 2 * 96].view(2, 96))  # B=2, L=96
for handle in hooks:
    handle.remove()

# %% [markdown]
# Read it from the top. The stream is `[B, L, D]` all the way. The router alone speaks of experts: one
# logit per token and expert. The head turns each place of the stream into 256 logits, one for each byte
# that may come *next*.
#
# ### Where the parameters are
#
# **Total** is what must be stored. **Active** is what one token meets: it passes K of the E experts in each
# layer and everything else.

# %%
total, active = parameter_counts(model)


def count(word):
    """Parameters of the tensors with this word in their name."""
    return sum(p.numel() for name, p in model.named_parameters() if word in name)


parts = {
    "experts": count(".experts."),
    "routers": count(".router."),
    "attention": count(".attention."),
    "embedding and head": count("embedding.") + count("head."),
}
parts["norms"] = total - sum(parts.values())
parts |= {"total": total, "active per token": active}
for name, size in parts.items():
    print(f"{name:<20}{size:>10,}  {size / total:>6.1%}")

# %% [markdown]
# Almost everything is experts, and the routers, which decide over all of it, are next to nothing. K of E is
# a quarter, but more than a quarter is active: attention, embedding and head are met by every token.
#
# ### Attention: where a byte looks back
#
# Everything else in the model treats each place by itself. Attention alone moves something from one place to
# another. This is all of it:

# %%
from moe_lessons.model import Attention

print(inspect.getsource(Attention.forward).partition('"""')[0] + "    ...")
print(inspect.getsource(Attention.forward).rpartition('"""')[2])

# %% [markdown]
# Three matrices make queries, keys and values of the stream. They are cut into heads. Here there are fewer
# key-value heads than query heads (*grouped heads*): generation has to keep keys and values of every earlier
# byte, and so keeps fewer. The one call in the middle takes products of queries and keys, leaves out what is
# later, and mixes the values by a softmax. A fourth matrix puts the heads back into the stream.
#
# Write that one call yourself.

# %% [markdown]
# {{puzzle 10.p_look}}


# %% puzzle="10.p_look"
@puzzle("10.p_look")
def may_look(n, width):
    ### BEGIN SOLUTION
    return torch.ones(n, n, dtype=torch.bool).tril().triu(1 - width)
    ### END SOLUTION


# %% [markdown]
# {{exercise 10.causal_attention}}


# %% answer="10.causal_attention"
def causal_attention(
    q_BHLP: torch.Tensor,
    k_BGLP: torch.Tensor,
    v_BGLP: torch.Tensor,
) -> torch.Tensor:
    """The mixed values, [B, H, L, P].

    q_BHLP: [B, H, L, P] the queries of H heads, each P wide.
    k_BGLP, v_BGLP: [B, G, L, P] keys and values; H / G query heads share one of them.
    """
    ### BEGIN SOLUTION
    n_shared = q_BHLP.shape[1] // k_BGLP.shape[1]
    k_BHLP = k_BGLP.repeat_interleave(n_shared, dim=1)
    v_BHLP = v_BGLP.repeat_interleave(n_shared, dim=1)
    L, P = q_BHLP.shape[2:]
    scores_BHLL = q_BHLP @ k_BHLP.transpose(-1, -2) / math.sqrt(P)
    is_later_LL = torch.ones(L, L, dtype=torch.bool).triu(1)
    weights_BHLL = scores_BHLL.masked_fill(is_later_LL, -torch.inf).softmax(dim=-1)
    return weights_BHLL @ v_BHLP
    ### END SOLUTION


# %%
check("10.causal_attention")

# %% [markdown]
# ### Rotary positions: how it knows what is near
#
# Nothing in that sum knows an order. Exchange two earlier bytes, and the softmax gives each the weight that
# it had before; the sum is the same. So queries and keys are *turned* first, by an angle that grows with the
# place:

# %%
from moe_lessons.model.attention import rotary_tables, rotate

print(inspect.getsource(rotate).rpartition('"""')[2])

# %% [markdown]
# A score is a product of two vectors, and turning both by the same angle does not change it. Only the
# *difference* of the angles counts: how far apart two bytes are, not where they stand. Look at both facts in
# one layer of our model.

# %%
attention = model.blocks[0].attention
cos_LP, sin_LP = rotary_tables(160, config.model.d_head, config.model.rope_theta)
with torch.no_grad():
    some_BLD = model.blocks[0].attention_norm(model.embedding(corpus.validation_M[:256].view(2, 128)))
    exchanged_BLD = some_BLD.clone()
    exchanged_BLD[:, [40, 90]] = some_BLD[:, [90, 40]]
    no_turn = torch.ones_like(cos_LP[:128]), torch.zeros_like(sin_LP[:128])
    moves = {}
    for name, tables in (("turned", (cos_LP[:128], sin_LP[:128])), ("not turned", no_turn)):
        pair = attention(some_BLD, *tables)[:, -1], attention(exchanged_BLD, *tables)[:, -1]
        moves[name] = ((pair[0] - pair[1]).abs().max() / pair[0].abs().max()).item()
    here = attention(some_BLD, cos_LP[:128], sin_LP[:128])
    elsewhere = attention(some_BLD, cos_LP[32:160], sin_LP[32:160])
    shifted = (here - elsewhere).abs().max().item() / here.abs().max().item()
print("two earlier bytes exchanged; by how much of its size the last place's output moves")
measured("  not turned", moves["not turned"], below=1e-4, then="the same")
measured("  turned", moves["turned"], above=1e-3, then="another")
measured("all places 32 further on", shifted, below=1e-4, then="the same")

# %% [markdown]
# (A whole model without positions is not quite blind to order: the mask lets the tenth byte see ten others,
# and deeper layers can use that. We shall see how far it gets.)

# %% [markdown]
# **Change this.** Each pair of numbers in a head turns at a speed of its own. Pairs that have gone all the
# way round tell two places apart only up to whole turns. With which base has even the slowest pair gone
# round within our window of 128? And what does a base of a million do for a text of 100,000?

# %% change=true
# Change these and run the cell again.
base = 10_000.0
length = 128

cos_LP, sin_LP = rotary_tables(2, config.model.d_head, base)
speeds = torch.atan2(sin_LP[1], cos_LP[1])[: config.model.d_head // 2]  # radians per place, one for each pair
round_trips = speeds * length / (2 * math.pi)
print(f"{len(speeds)} pairs; all the way round within {length} places: {int((round_trips >= 1).sum())}")
print(f"the slowest turns by {360 * round_trips[-1]:.1f} degrees")

# %% [markdown] only="solutions"
# With a base of 22 all 16 pairs have gone round within 128 places; with 25 the slowest is one degree short.
# At 10,000 six have, and the slowest turns by 1.3 degrees. In a text of 100,000 places 10,000 is too small:
# all 16 go round. With a million 12 do, and the slowest turns by 14 degrees. That is why models for long
# texts have larger bases.

# %% only="solutions"
rerun("base = 22.0", "base = 25.0", "length = 100_000", "length = 100_000; base = 1e6")

# %% [markdown]
# ### Before or after: where the norm sits
#
# Explainers often draw a layer as "attention, add and norm, feed-forward, add and norm". In the code above
# the norm comes *first*, and what is added to is the raw stream. Is that a matter of taste? Compute one
# block both ways and compare with the real one; then pass a stream through all blocks.

# %%
from moe_lessons.training.objective import evaluate


def pre_norm(block, stream, cos, sin):
    stream = stream + block.attention(block.attention_norm(stream), cos, sin)
    return stream + block.moe(block.moe_norm(stream)).hidden


def post_norm(block, stream, cos, sin):
    stream = block.attention_norm(stream + block.attention(stream, cos, sin))
    return block.moe_norm(stream + block.moe(stream).hidden)


with torch.no_grad():
    tokens_BL = corpus.validation_M[: 2 * 128].view(2, 128)
    rotation = model.cos_LP, model.sin_LP
    start_BLD = model.embedding(tokens_BL)
    real_BLD, _ = model.blocks[0](start_BLD, *rotation)
    pre_BLD = pre_norm(model.blocks[0], start_BLD, *rotation)
    post_BLD = post_norm(model.blocks[0], start_BLD, *rotation)
    off_pre, off_post = ((one_BLD - real_BLD).abs().max().item() for one_BLD in (pre_BLD, post_BLD))
    sizes = {}
    for name, one_block in (("pre", pre_norm), ("post", post_norm)):
        stream_BLD, sizes[name] = start_BLD, []
        for block in model.blocks:
            stream_BLD = one_block(block, stream_BLD, *rotation)
            sizes[name].append(stream_BLD.square().mean().sqrt().item())

print("largest difference to our block")
measured("  pre-norm", off_pre, below=1e-5, then="the same")
measured("  post-norm", off_post, below=1e-5, otherwise="another")
print("size of the stream, from block to block")
growth = [later / earlier for earlier, later in pairwise(sizes["pre"])]
measured("  pre-norm: each against the one before", growth, above=1, then="it grows")
measured("  post-norm: away from 1 by", [abs(size - 1) for size in sizes["post"]], below=1e-3)
claim("L7", "imprecise", holds=off_pre < 1e-5 < off_post)

# %% [markdown]
# With pre-norm the embedding reaches the last block untouched except for what blocks add. With post-norm
# every block rescales all that came before it. Xiong et al. (2020) show that this makes the gradients of a
# fresh post-norm model uneven over the depth, so that it needs a careful warm-up.
#
# And with no norm at all? An expert multiplies two things made of its input, gate and up. Make the input ten
# times as large, and see what comes out.

# %%
grows = {}
with torch.no_grad():
    block = model.blocks[0]
    for name, norm in (("with the norm", block.moe_norm), ("without", torch.nn.Identity())):
        grows[name] = [block.moe(norm(k * start_BLD)).hidden.square().mean().sqrt() for k in (1, 10)]
for name, (once, ten_times) in grows.items():
    factor = (ten_times / once).item()
    size = 10 ** round(math.log10(factor))
    print(f"{name}: an input 10 times as large makes an update about {size} times as large")

# %% [markdown]
# Without the norm an update grows faster than the stream that it is added to, from block to block. The norm
# takes the size out and leaves the direction.
#
# ### Initialisation: how loud each part begins
#
# A norm at the entrance says how large a block's input is. How large its *output* is, the first weights
# decide:

# %%
source = inspect.getsource(MoETransformer.initialize)
print(source.rpartition('"""')[2])

# %% [markdown]
# Every matrix gets a small deviation, $\sqrt{2/(5D)}$ (SmallInit). What writes to the stream, two matrices a
# layer, is made smaller by $\sqrt{2 \cdot \text{layers}}$. Then a deep model begins not
# much louder than a shallow one. Take that factor away, and compare depths.

# %%
from moe_lessons.config import ModelConfig


def loudness(n_layers, scaled):
    """How much the updates of all layers change the size of the stream."""
    sizes = ModelConfig(n_layers=n_layers, d_model=64, n_heads=2, n_kv_heads=1, d_expert=64)
    deep = MoETransformer(sizes, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if not scaled:
            for name, weight in deep.named_parameters():
                if name.endswith(("o_proj.weight", "down_proj")):
                    weight.mul_(math.sqrt(2 * n_layers))
        stream_BLD = first_BLD = deep.embedding(tokens_BL)
        for block in deep.blocks:
            stream_BLD, _ = block(stream_BLD, deep.cos_LP, deep.sin_LP)
        added_BLD = stream_BLD - first_BLD
        return (added_BLD.square().mean() / first_BLD.square().mean()).sqrt().item()


ratio = {scaled: loudness(32, scaled) / loudness(2, scaled) for scaled in (True, False)}
print("all updates together, 32 layers against 2")
measured("  with the factor", ratio[True], below=3, unit="times as large")
measured("  without", ratio[False], above=5, unit="times as large")

# %% [markdown]
# One thing the formula does not do: it takes D for every matrix, though the down projection has the hidden
# width as its input. A wide dense network then begins louder than a narrow expert. Does it matter? The
# end of "One step of training" has that comparison too.
#
# Now write the second half of the block yourself.

# %% [markdown]
# {{exercise 10.moe_block}}


# %% answer="10.moe_block"
def moe_block(
    stream_TD: torch.Tensor,
    norm_D: torch.Tensor,
    router_ED: torch.Tensor,
    gate_up_proj: torch.Tensor,
    down_proj: torch.Tensor,
    top_k: int,
    eps: float,
) -> torch.Tensor:
    """The stream [T, D] after one pre-norm Mixture-of-Experts block.

    stream_TD: [T, D]. norm_D: [D] the scale of RMSNorm.
    router_ED: [E, D] one vector per expert.
    gate_up_proj: [E, 2F, D] the gate in the first F rows, up in the last F.
    down_proj: [E, D, F].
    """
    ### BEGIN SOLUTION
    mean_square_T1 = stream_TD.square().mean(dim=-1, keepdim=True)
    normed_TD = stream_TD * torch.rsqrt(mean_square_T1 + eps) * norm_D
    topk_logits_TK, topk_ids_TK = (normed_TD @ router_ED.T).topk(top_k, dim=-1)
    topk_weights_TK = topk_logits_TK.softmax(dim=-1)
    update_TD = torch.zeros_like(stream_TD)
    for e in range(len(router_ED)):
        token, slot = torch.where(topk_ids_TK == e)
        gate, up = (normed_TD[token] @ gate_up_proj[e].T).chunk(2, dim=-1)
        output = (F.silu(gate) * up) @ down_proj[e].T
        weighted = topk_weights_TK[token, slot, None] * output
        update_TD = update_TD.index_add(0, token, weighted)
    return stream_TD + update_TD
    ### END SOLUTION


# %%
check("10.moe_block")

# %% [markdown]
# ## Before the first step
#
# The weights are random numbers. How well does the model predict? Commit first.

# %% tags=["nbval-ignore-output"] why="widget"
predict("10.p_initial_loss")

# %%
some_text = corpus.validation_M[:2049]
head_VD = model.head.weight.detach().clone()
first_bits = {}
for scale in (0, 1, 20):
    with torch.no_grad():
        model.head.weight.copy_(scale * head_VD)
    first_bits[scale] = evaluate(model, some_text)
with torch.no_grad():
    model.head.weight.copy_(head_VD)

print(f"log2(256) = {math.log2(256):.0f}")
print(f"a head of zeros, so no idea: {first_bits[0]:.4f} bits")
measured("the fresh model", first_bits[1], above=8, below=9, unit="bits")
measured("the same head, 20 times larger", first_bits[20], above=12, unit="bits")

# %%
reveal("10.p_initial_loss")

# %% [markdown]
# So a model can be *worse* than no idea at all. The last one is as ignorant as the others, but it is sure of
# itself, and being sure and wrong is expensive. Even the fresh model pays a little for the scatter of its
# logits. Look at the first loss of any run before you wait for the last one: far above $\log_2$ of the
# vocabulary means that the initial weights are too large, or that something is wrong with the targets.
# Below means that the answer leaks into the input.
#
# ## What training minimises
#
# Three terms:
#
# $$\text{cross entropy} \;+\; \alpha \sum_{\text{layers}} E \sum_e f_e P_e \;+\; \beta \sum_{\text{layers}}
# \operatorname{mean}_t \big(\operatorname{logsumexp}_e x_{te}\big)^2$$
#
# The first is about text. The second is the **load-balancing loss**: $f_e$ is the share of the T·K routed
# rows that expert $e$ gets, $P_e$ its mean softmax probability. In this normalisation (Switch's, with the
# load divided by K) an evenly loaded layer has the value 1, whatever E and K. Other codes leave out the
# division and arrive at K. The third, the **z-loss**, keeps the router's logits $x$ small.
#
# Here they are on one batch of the untrained model.

# %%
from moe_lessons.balancing import load_balancing_loss, z_loss
from moe_lessons.data import training_batch
from moe_lessons.training.objective import router_losses
from moe_lessons.routing import topk_softmax

inputs_BL, targets_BL = training_batch(corpus.train_N, batch_size=8, context_length=128, seed=0, step=0)
others = int((inputs_BL[:, 1:] != targets_BL[:, :-1]).sum())
print(f"targets that are not the input one byte later: {others} of {targets_BL[:, :-1].numel()}")
with torch.no_grad():
    output = model(inputs_BL, targets_BL)
    losses = router_losses(output.routings)
per_layer = losses.load_balancing.item() / len(output.routings)
print(f"alpha {config.alpha}, beta {config.z_loss_weight}")
measured("load-balancing loss per layer (1 is even)", per_layer, at_least=1, below=2)
router_part = config.alpha * losses.load_balancing + config.z_loss_weight * losses.z
measured("router losses, of the cross entropy", router_part / output.loss, below=0.05, unit="%")

# %% [markdown]
# ### One loss per layer
#
# "Sum over layers" looks like a detail. Some codes put the tokens of all layers into one pool and take the
# loss once. Let us break our router and see which of the two notices. We take its real logits and push
# layer 0 onto experts 0 and 1, layer 1 onto 2 and 3, and so on: in every layer, six of eight experts get
# nothing.

# %%
broken = []
for layer, routing in enumerate(output.routings):
    logits_TE = routing.logits_TE.clone()
    logits_TE[:, 2 * layer : 2 * layer + 2] += 20
    broken.append(topk_softmax(logits_TE, config.model.top_k))

loss_of_layer = [load_balancing_loss(r.logits_TE, r.topk_ids_TK).item() for r in broken]
all_logits = torch.cat([r.logits_TE for r in broken])
all_ids = torch.cat([r.topk_ids_TK for r in broken])
pooled = load_balancing_loss(all_logits, all_ids).item()
print("per layer:", [f"{value:.2f}" for value in loss_of_layer])
print(f"pooled:    {pooled:.2f}, the value of perfect balance")
claim("L49", "wrong", holds=min(loss_of_layer) > 3.9 and abs(pooled - 1) < 0.05)

# %% [markdown]
# Pooled, four collapsed layers look like one balanced model, and there is no gradient to mend them. So the
# loss is taken per layer and then summed. Write the whole training loss.

# %% [markdown]
# {{puzzle 10.p_next}}


# %% puzzle="10.p_next"
@puzzle("10.p_next")
def share_right(letters_L, guesses_L):
    ### BEGIN SOLUTION
    return (guesses_L[:-1] == letters_L[1:]).float().mean()
    ### END SOLUTION


# %% [markdown]
# {{exercise 10.training_loss}}


# %% answer="10.training_loss"
def training_loss(
    logits_BLV: torch.Tensor,
    tokens_BL: torch.Tensor,
    router_logits_NTE: torch.Tensor,
    top_k: int,
    alpha: float,
    beta: float,
) -> torch.Tensor:
    """What `backward()` is called on: a scalar, in nats.

    logits_BLV: [B, L, V]; those at l predict the byte at l + 1.
    tokens_BL: [B, L] the bytes themselves.
    router_logits_NTE: [layers, T, E].
    alpha, beta: weights of the load-balancing loss and of the z-loss.
    """
    ### BEGIN SOLUTION
    loss = F.cross_entropy(logits_BLV[:, :-1].flatten(0, 1), tokens_BL[:, 1:].flatten())
    n_experts = router_logits_NTE.shape[-1]
    for logits_TE in router_logits_NTE:
        topk_ids_TK = logits_TE.topk(top_k, dim=-1).indices
        counts_E = torch.bincount(topk_ids_TK.flatten(), minlength=n_experts)
        f_E = counts_E / topk_ids_TK.numel()
        P_E = logits_TE.softmax(dim=-1).mean(dim=0)
        loss = loss + alpha * n_experts * (f_E * P_E).sum()
        loss = loss + beta * logits_TE.logsumexp(dim=-1).square().mean()
    return loss
    ### END SOLUTION


# %%
check("10.training_loss")

# %% [markdown]
# ## One step of training
#
# `backward()` turns this loss into a gradient for every weight. What then happens to the weights is half of
# what makes a training run work, and it fits on a screen:

# %%
from moe_lessons.training.objective import make_optimizer
from moe_lessons.training.run import Run
from moe_lessons.training.schedule import learning_rate_at

print(inspect.getsource(Run.advance))

# %% [markdown]
# In order: draw the step's windows; collect the gradient over the micro-batches (`accumulate_gradients` calls
# `backward()` for each); **clip** it; set the **learning rate** of this step; let the **optimizer** step;
# clear the gradient. Each of the three deserves a look.
#
# **The optimizer.** Gradients of different parts of the model differ in size by orders of magnitude. Plain
# descent, `weight -= rate * gradient`, would move some parts far too little or others far too much. AdamW
# divides each entry by a running mean of its own size. Look at the gradients of one batch, and at its first
# step:

# %%
fresh = MoETransformer(config.model, generator=torch.Generator().manual_seed(0))
optimizer = make_optimizer(fresh, config)
out = fresh(inputs_BL, targets_BL)
routers = router_losses(out.routings)
(out.loss + config.alpha * routers.load_balancing + config.z_loss_weight * routers.z).backward()
gradient_sizes = {n: p.grad.square().mean().sqrt().item() for n, p in fresh.named_parameters()}
before_step = {name: p.detach().clone() for name, p in fresh.named_parameters()}
optimizer.step()
moved = {}
for name, p in fresh.named_parameters():
    if "embedding" not in name:  # most bytes do not occur in a batch
        shrunk = before_step[name] * (1 - config.learning_rate * config.weight_decay * (p.ndim > 1))
        moved[name] = (p.detach() - shrunk).abs().median()
largest, smallest = max(gradient_sizes.values()), min(gradient_sizes.values())
spread = largest / smallest
steps_taken = torch.stack(list(moved.values())) / config.learning_rate
measured("the largest gradient, over the smallest", spread, above=10)
measured("first step of each tensor's typical entry, in learning rates", steps_taken, above=0.9, below=1.1)

# %% tags=["nbval-ignore-output"] why="trained"
for name in (max(gradient_sizes, key=gradient_sizes.get), min(gradient_sizes, key=gradient_sizes.get)):
    print(f"{name:<36}{gradient_sizes[name]:.1e}")

# %% [markdown]
# (The `W` stands for weight decay: each step also shrinks the matrices by `rate * weight_decay`. Norms are
# left alone.)
#
# **The schedule.** AdamW's running means know nothing at the start, and the weights are far from anywhere
# good. So the rate rises from 0 in a *warm-up*, and then falls along half a cosine: large steps to get
# somewhere, small ones to settle.

# %% draw=true tags=["nbval-ignore-output"] why="image"
from moe_lessons.svg import line_chart

rates = [1000 * learning_rate_at(config, step) for step in range(config.steps)]
line_chart(
    {"learning rate": (list(range(config.steps)), rates)},
    title=f"The rate rises for {config.warmup_steps} steps and falls to a tenth of its peak",
    x_label="step",
    y_label="learning rate, in thousandths",
)

# %% [markdown]
# **Clipping.** Once in a while a batch is unlike the others, and its gradient is large. If the *norm* of the
# whole gradient is above a limit (here 1), all of it is multiplied by one factor, so that its length is the
# limit. The direction stays.
#
# Now write the step, for the smallest model there is. One point in it is easily
# missed: what the loss of a step is the mean *of*, when micro-batches have different numbers of real tokens.

# %% [markdown]
# {{exercise 10.training_step}}


# %% answer="10.training_step"
def training_steps(
    weight_VD: torch.Tensor,
    inputs_SMND: torch.Tensor,
    targets_SMN: torch.Tensor,
    peak: float,
    warmup_steps: int,
    max_norm: float,
) -> torch.Tensor:
    """The weight [V, D] after S steps of training.

    inputs_SMND: [S, M, N, D] for each step M micro-batches of N tokens.
    targets_SMN: [S, M, N] what to predict, 0 to V - 1; -100 is padding.
    """
    ### BEGIN SOLUTION
    weight = weight_VD.clone().requires_grad_()
    for s in range(len(inputs_SMND)):
        n_real = (targets_SMN[s] != -100).sum()
        for inputs_ND, targets_N in zip(inputs_SMND[s], targets_SMN[s], strict=True):
            logits_NV = inputs_ND @ weight.T
            summed = F.cross_entropy(logits_NV, targets_N, ignore_index=-100, reduction="sum")
            (summed / n_real).backward()
        rate = peak * min(1.0, (s + 1) / warmup_steps)
        with torch.no_grad():
            factor = min(1.0, max_norm / weight.grad.norm().item())
            weight -= rate * factor * weight.grad
        weight.grad = None
    return weight.detach()
    ### END SOLUTION


# %%
check("10.training_step")

# %% [markdown]
# **Change this.** One step of twelve sees a batch whose inputs are 30 times as large. What does that step
# cost with clipping, and what without (a limit of a million)? And does a smaller rate do as well?

# %% change=true
# Change these and run the cell again.
max_norm = 1.0
peak = 0.5

descend = yours("10.training_step")
draws = torch.Generator().manual_seed(0)
true_VD = torch.randn(5, 8, generator=draws)
rows_SMND = torch.randn(12, 1, 64, 8, generator=draws)
came_SMN = (rows_SMND @ true_VD.T).argmax(dim=-1)
rows_SMND[6] *= 30
start_VD = torch.zeros(5, 8)
for n_steps in (6, 7, 12):
    weight_VD = descend(start_VD, rows_SMND[:n_steps], came_SMN[:n_steps], peak, 2, max_norm)
    loss = F.cross_entropy(rows_SMND[0, 0] @ weight_VD.T, came_SMN[0, 0]).item()
    print(f"after {n_steps:>2} steps: loss {loss:.2f}")

# %% [markdown] only="solutions"
# With the limit of 1 that step takes the loss from 1.00 to 1.05, and after twelve steps it is at 0.82.
# Without, it goes to 1.63 and is still at 1.07 after twelve: five good steps have not made up for one bad
# one. A rate of 0.05 without a limit hardly suffers, and hardly learns either: 1.40 at the end. Clipping
# lets the good steps be large.

# %% only="solutions"
rerun("max_norm = 1e6", "max_norm = 1e6; peak = 0.05")

# %% [markdown]
# ### And without?
#
# Which of all these parts does the model need? `benchmarks/opened_box.py` trained a small one from three
# seeds, as it is, and again with one thing left out or exchanged. Before you look: which row do you expect at
# the bottom?

# %%
from moe_lessons.training.report import load_report

box = load_report("opened_box")
rows = {name: row for name, row in box["rows"].items() if not name.startswith("down projection")}
whole = rows["as it is"]["bits_per_byte"]
apart = {
    name: [end - other for end, other in zip(row["bits_per_byte"], whole, strict=True)]
    for name, row in rows.items()
}
print(f"{box['about']['device']}; {box['about']['steps']} steps, held-out bits per byte at the end")
print(f"{'':<36}{'mean':>6}   seed by seed, against as it is")
for name, row in sorted(rows.items(), key=lambda item: sum(item[1]["bits_per_byte"])):
    mean = sum(row["bits_per_byte"]) / len(row["bits_per_byte"])
    print(f"{name:<36}{mean:>6.2f}   {', '.join(f'{bits:+.2f}' for bits in apart[name])}")

# %%
others = {name: found for name, found in apart.items() if name != "as it is"}
groups = {
    "worse by more than 0.3 bits with every seed": lambda found: min(found) > 0.3,
    "worse with every seed, by less": lambda found: 0 < min(found) <= 0.3,
    "no worse, with one seed at least": lambda found: min(found) <= 0,
}
for group, belongs in groups.items():
    print(f"{group}:")
    for name, found in others.items():
        if belongs(found):
            print(f"  {name}")

high = "rate 10 times higher"
lost = [
    b - a for a, b in zip(*(rows[n]["bits_per_byte"] for n in (high, f"{high}, no warm-up")), strict=True)
]
print(f"at the higher rate, what the missing warm-up costs: {', '.join(f'{bits:+.2f}' for bits in lost)}")

# %% [markdown]
# The first group carries the run. The second helps a little here. Of the third nothing can be said but that
# its lack does not show, and that is a finding about *this* run: two layers, windows of 32 bytes, few steps,
# a clean text. So short a window can be read almost without positions.
#
# Look at the rates. Ten times ours gets further in so few steps: which rate is best depends on how long a run
# is. And there the warm-up, which did nothing at our rate, is what makes it possible. A table like this one
# says what a part does where it was measured, and no more.
#
# And the down projection? For a dense network as wide as all experts together, its deviation was divided by
# the root of hidden width over D, as a formula with its own fan-in would have it:

# %%
down = [box["rows"][f"down projection {how}"]["bits_per_byte"] for how in ("as it is", "by its fan-in")]
gaps = [scaled - plain for plain, scaled in zip(*down, strict=True)]
print(f"hidden width {box['about']['wide']}, D {box['about']['d_model']}, {box['about']['steps']} steps")
print(f"by its fan-in against as it is: {', '.join(f'{gap:+.3f}' for gap in gaps)} bits, seed by seed")

# %% [markdown]
# That is all that it is about: hundredths of a bit. We leave the formula as its authors published it, for
# both kinds of model, and remember on whose side the difference lies when a wide dense rival is narrowly
# beaten.
#
# ## Does the second term earn its place?
#
# It costs something: the router is told to care about more than the text. We train a smaller model (2
# layers) with it and without it, from several seeds each, for a few seconds. Two numbers are of interest:
# how many experts are in use, and how well the text is predicted. *Effective experts* is the exponential of
# the load's entropy: 8 if all share alike, 1 if one takes everything. (The z-loss stays on in both.)

# %% tags=["nbval-ignore-output"] why="trained"
import dataclasses

from moe_lessons.steps import each
from moe_lessons.training import train

small = preset("smoke").override(
    d_model=64,
    d_expert=64,
    steps=80,
    batch_size=8,
    log_every=40,
    evaluate_every=80,
    device="cpu",
)
brief = dataclasses.replace(corpus, validation_M=corpus.validation_M[:8193])  # enough to compare runs
SEEDS = range(3)
torch.set_num_threads(1)  # these models are so small that threads would only wait for each other
in_use, bits = {}, {}
for alpha in (0.0, config.alpha):
    runs = [
        train(small.override(alpha=alpha, seed=seed), corpus=brief)
        for seed in each(SEEDS, f"alpha {alpha}, seed")
    ]
    in_use[alpha] = torch.tensor([run.history[-1].effective_experts_by_layer for run in runs])
    bits[alpha] = torch.tensor([run.validation_bits_per_byte for run in runs])
    print(f"alpha {alpha}")
    for layer in range(in_use[alpha].shape[1]):
        low, high = in_use[alpha][:, layer].aminmax()
        print(f"  layer {layer}: {low:.1f} to {high:.1f} effective experts")
    low, high = bits[alpha].aminmax()
    print(f"  held-out bits per byte: {low:.2f} to {high:.2f}, mean {bits[alpha].mean():.2f}")

# %%
without, with_loss = in_use[0.0], in_use[config.alpha]
print(f"effective experts of 8, {without.shape[0]} seeds, {without.shape[1]} layers")
measured("  layer 1 without it", without[:, 1], below=5)
measured("  both layers with it", with_loss, above=6.5)
measured("  gained by each layer of each seed", with_loss - without, above=0)
difference = (bits[config.alpha].mean() - bits[0.0].mean()).abs().item()
measured("mean held-out bits per byte differ by", difference, below=0.05)

# %% [markdown]
# Read the last line twice. The loss does what it is for: without it the second layer hardly uses half
# of its experts. (How far the first layer falls depends on the seed and the text: look at the cell before.)
# But in so short a run of so small a model the text is predicted equally well. Balance
# is not the goal. It is what keeps every expert learning, and every device busy, over a long run: an expert
# that gets no tokens gets no gradient from them and learns nothing. Lessons 04 and 05 follow this through.
#
# How large should $\alpha$ be? What others published:

# %%
published = {  # weight of the (expert-level) load-balancing loss
    "Switch": (1e-2, "arXiv 2101.03961, section 2.2"),
    "OLMoE": (1e-2, "arXiv 2409.02060"),
    "DBRX": (5e-2, "its configuration, moe_loss_weight"),
    "DeepSeek-V2": (3e-3, "arXiv 2405.04434"),
    "DeepSeek-V3": (1e-4, "arXiv 2412.19437, beside another mechanism"),
}
for name, (alpha, source) in sorted(published.items(), key=lambda item: -item[1][0]):
    print(f"{name:<12}{alpha:>8g}  {source}")
weights = [alpha for alpha, _ in published.values()]
spread = max(weights) / min(weights)
print(f"the largest is {spread:.0f} times the smallest")
claim("L54", "imprecise", holds=spread > 100 and published["Switch"][0] == 1e-2 != published["DBRX"][0])

# %% [markdown]
# Such numbers can be compared only together with the normalisation: a code whose balanced value is K
# rather than 1 pushes K times as hard with the same $\alpha$.
#
# ## Train it
#
# Now the real one, for the short while that a lesson has. One more prediction.

# %% tags=["nbval-ignore-output"] why="widget"
predict("10.p_live_run")

# %% [markdown]
# While it runs, watch two things. The upper picture: does the loss fall, and which line does it cross? The
# lower one: does any expert go white? On a slow machine this takes a minute.

# %% tags=["nbval-ignore-output"] why="trained"
from moe_lessons.explore import LiveView
from moe_lessons.svg import heat_map, line_chart


def draw_loss(records, steps):
    evaluated = [r for r in records if r.validation_bits_per_byte is not None]
    curves = {
        "training": [(r.step, r.train_bits_per_byte) for r in records],
        "held out": [(r.step, r.validation_bits_per_byte) for r in evaluated],
    }
    done = records[-1].step if records else 0
    now = f"{records[-1].train_bits_per_byte:.2f} bits per byte" if records else "no loss yet"
    return line_chart(
        {name: ([x for x, _ in line], [y for _, y in line]) for name, line in curves.items()},
        title=f"Step {done} of {steps}: {now}",
        x_label="step",
        y_label="bits per byte",
        references={"unigram": unigram, "bigram": bigram, "compressor": compressor},
        x_range=(0, steps),
        y_range=(1, 8),
    )


def draw_load(shares):
    fullest = max(max(row) for row in shares)
    return heat_map(
        [[100 * share for share in row] for row in shares],
        title=f"The fullest expert takes {fullest:.0%} of its layer's rows",
        row_label="layer",
        column_label="expert",
        unit=f"% of the layer's routed rows; an even share is {1 / len(shares[0]):.1%}",
        value_format="{:.0f}",
        highest=50,
    )


torch.set_num_threads(N_THREADS)
config = preset("lesson").override(steps=120, evaluate_every=120)
records = []
loss_picture, load_picture = LiveView(), LiveView()
loss_picture.finish(draw_loss(records, config.steps))
load_picture.finish(draw_load([[0.0] * config.model.n_experts] * config.model.n_layers))


def watch(record):
    records.append(record)
    loss_picture.update(lambda: draw_loss(records, config.steps))
    load_picture.update(lambda: draw_load(record.load_shares_by_layer))


result = train(config, corpus=corpus, on_step=watch)
loss_picture.finish(draw_loss(records, config.steps))
load_picture.finish(draw_load(records[-1].load_shares_by_layer))
trained = result.model.cpu()
print(f"{result.tokens_per_second:,.0f} tokens/s, {result.seconds:.0f} s")
print(f"held-out bits per byte: {result.validation_bits_per_byte:.2f}")

# %% [markdown]
# A trained number differs a little between machines: sums are rounded in another order, and training
# amplifies it. So the checked cells of this course print conclusions with a margin.

# %%
held_out = result.validation_bits_per_byte
last = records[-1]
measured("bits below the unigram", unigram - held_out, above=0.5)
measured("bits below the bigram", bigram - held_out, above=0.1)
measured("bits below the compressor", compressor - held_out, above=0, otherwise="it is not beaten")
measured("effective experts of each layer", last.effective_experts_by_layer, of=8, above=6)
least = min(min(row) for row in last.load_shares_by_layer)
measured("the smallest share of an expert", least, above=0, unit="%", then="none is idle")

# %%
reveal("10.p_live_run")

# %% [markdown]
# It learns, and it looks further back than one byte: otherwise the bigram would be its limit.
#
# ## A longer run
#
# The same code with more steps is the preset `cpu-tiny`. Its result comes with the course;
# `moe-lessons train --preset cpu-tiny` in a terminal makes your own. Here is that run, with the device that
# made it. Nothing below is trained now.

# %%
report = load_report("cpu_tiny")
best = report["validation_bits_per_byte"]
steps, passes = report["config"]["steps"], report["epochs"]
print(f"device: {report['device']}, torch {report['torch']}")
print(f"{steps} steps, {passes:.1f} passes over the text, {report['seconds']:.0f} s")
print("held-out bits per byte:")
for name in ("unigram", "bigram", "validation"):
    print(f"  {name:<12}{report[f'{name}_bits_per_byte']:.2f}")

# %% draw=true tags=["nbval-ignore-output"] why="image"
curves = report["train_curve"], report["validation_curve"]
line_chart(
    {
        name: (curve["step"], curve["bits_per_byte"])
        for name, curve in zip(("training", "held out"), curves, strict=True)
    },
    title=f"The long run reaches {best:.2f} bits per byte, below both tables of counts",
    x_label="step",
    y_label="bits per byte",
    references={
        "unigram": report["unigram_bits_per_byte"],
        "bigram": report["bigram_bits_per_byte"],
        "compressor": compressor,
    },
    caption="From the committed result file; the compressor's bits are from above. "
    f"The run ends {'below' if best < compressor else 'above'} them.",
)

# %%
over_time = report["router_history"]
gap = best - report["train_curve"]["bits_per_byte"][-1]
final_use = over_time["effective_experts_by_layer"][-1]
print("bits below the bigram:", f"{report['bigram_bits_per_byte'] - best:.2f}")
print(f"training is ahead of held-out by {gap:.2f} bits at the end")
print("effective experts per layer at the end:", [f"{value:.1f}" for value in final_use])

# %% [markdown]
# Where the two curves part, the model has begun to learn its training text by heart: it has seen each byte
# several times. The held-out curve is the one that counts.
#
# Two pictures of the router over the same run: how many experts each layer uses, and how the load of one
# layer got there.

# %% draw=true tags=["nbval-ignore-output"] why="image"
by_layer = zip(*over_time["effective_experts_by_layer"], strict=True)
line_chart(
    {f"layer {n}": (over_time["step"], list(line)) for n, line in enumerate(by_layer)},
    title=f"At the end every layer uses at least {min(final_use):.2f} of 8 experts",
    x_label="step",
    y_label="effective experts (exponential of the load's entropy)",
    references={"all alike": 8},
    y_range=(4, 8),
)

# %% draw=true tags=["nbval-ignore-output"] why="image"
rows = list(zip(over_time["step"], over_time["load_shares_by_layer"], strict=True))
picked = rows[:: max(1, len(rows) // 6)][:6] + rows[-1:]
early, late = (max(shares[0]) for _, shares in (picked[0], picked[-1]))
heat_map(
    [[100 * share for share in shares[0]] for _, shares in picked],
    rows=[f"step {step}" for step, _ in picked],
    title=f"Layer 0: the fullest expert's share goes from {early:.0%} to {late:.0%}",
    row_label="when",
    column_label="expert of layer 0",
    unit="% of the layer's routed rows",
    value_format="{:.0f}",
    highest=50,
)

# %% [markdown]
# ## Look inside the trained layer
#
# You wrote the block as "a weighted sum of the outputs of the chosen experts". The layer itself works
# otherwise: it sorts the rows by expert and multiplies them in groups. Is it still that sum? We catch what
# goes into one trained layer and recompute it, token by token.

# %%
from moe_lessons.experts import swiglu

caught = {}
moe = trained.blocks[2].moe


def catch(module, inputs, output):
    caught.update(hidden=inputs[0], output=output.hidden, routing=output.routing)


hook = moe.register_forward_hook(catch)
with torch.no_grad():
    trained(tokens_BL)
    hidden_TD, routing = caught["hidden"].flatten(0, 1), caught["routing"]
    by_hand_TD = torch.zeros_like(hidden_TD)
    for t in range(len(hidden_TD)):
        for k in range(moe.top_k):
            e, weight = routing.topk_ids_TK[t, k], routing.topk_weights_TK[t, k]
            gate_up, down = moe.experts.gate_up_proj[e], moe.experts.down_proj[e]
            by_hand_TD[t] += weight * swiglu(hidden_TD[t], gate_up, down)
hook.remove()
off = (by_hand_TD - caught["output"].flatten(0, 1)).abs().max().item()
off_1 = (routing.topk_weights_TK.sum(dim=-1) - 1).abs().max().item()
print(f"tokens compared: {len(by_hand_TD)}, experts each: {moe.top_k}")
measured("largest difference between the layer and the sum by hand", off, below=1e-4, then="the same")
measured("the weights of a token sum to 1, up to", off_1, below=1e-5)
claim("L10", "correct", holds=off < 1e-4 and off_1 < 1e-5)

# %% [markdown]
# ## Can it see the future?
#
# A model that predicts the next byte must not see it. If it does, training looks wonderful and generation
# is useless. The test: change one *later* byte, and see whether anything *earlier* moves.

# %% tags=["nbval-ignore-output"] why="widget"
predict("10.p_causal")

# %%
place = 100
changed_BL = tokens_BL.clone()
changed_BL[:, place] = (changed_BL[:, place] + 1) % 256
with torch.no_grad():
    before, after = trained(tokens_BL), trained(changed_BL)
moved_L = (after.logits_BLV - before.logits_BLV).abs().amax(dim=(0, 2))
later_L = moved_L[place + 1 :]
measured("earlier logits move by at most", moved_L[:place].max(), below=1e-3, then="rounding")
measured("those at the change by", moved_L[place], above=0.1)
measured("later places that move by more than 0.001", (later_L > 1e-3).float().mean(), above=0.5, unit="%")

# %%
reveal("10.p_causal")

# %% draw=true tags=["nbval-ignore-output"] why="image"
line_chart(
    {"logits": (list(range(128)), moved_L.tolist())},
    title="A changed byte moves its own logits and later ones, none before it",
    x_label=f"position in the window (byte {place} was changed)",
    y_label="largest change of a logit",
)

# %% [markdown]
# Attention has its mask. But the router decides too, and whether *it* keeps the order of time depends on
# its kind. Ours asks, for each token, which experts it likes best. Turn that around and let each **expert
# choose its favourite tokens** out of the window (expert choice; lesson 06 treats it). Balance is then
# perfect. We use the trained router's own logits and run the same test.

# %%
windows_BL = corpus.validation_M[: 16 * 128].view(16, 128)
later_BL = windows_BL.clone()
later_BL[:, place:] = windows_BL.roll(1, dims=0)[:, place:]  # the end of another window
capacity = 128 * config.model.top_k // config.model.n_experts


def chosen_by_experts(logits_LE):
    ids_CE = logits_LE.topk(capacity, dim=0).indices
    return torch.zeros_like(logits_LE).scatter(0, ids_CE, 1.0)


def chosen_by_tokens(logits_LE):
    ids_LK = logits_LE.topk(config.model.top_k, dim=1).indices
    return torch.zeros_like(logits_LE).scatter(1, ids_LK, 1.0)


with torch.no_grad():
    old = trained(windows_BL).routings[2].logits_TE.view(16, 128, -1)
    new = trained(later_BL).routings[2].logits_TE.view(16, 128, -1)
new[:, :place] = old[:, :place]  # equal but for rounding, as we have seen


def leaks(choose):
    """In how many windows a change of the end changes the experts of an earlier token."""
    pairs = zip(old, new, strict=True)
    return sum(not torch.equal(choose(a)[:place], choose(b)[:place]) for a, b in pairs)


print("windows of 16 in which earlier tokens change experts")
print("  tokens choose:", leaks(chosen_by_tokens))
measured("  experts choose", leaks(chosen_by_experts), of=16, above=8)

# %% [markdown]
# So the test belongs to every router you write, not to attention alone.
#
# ## Let it write
#
# Generation is prediction in a loop: take the last logits, draw a byte, append it, again. **Temperature**
# divides the logits before the softmax. Near 0 the likeliest byte always wins; above 1 unlikely bytes come
# more often.

# %%
from moe_lessons.data import as_tokens
from moe_lessons.model import generate, generate_batch


def write(prompt, temperature, n_tokens=120):
    draws = torch.Generator().manual_seed(0)
    tokens = generate(
        trained,
        as_tokens(prompt.encode()),
        n_tokens,
        temperature=temperature,
        generator=draws,
    )
    return bytes(tokens.tolist()).decode(errors="replace")


logits_V = before.logits_BLV[0, -1]
cold, plain, hot = (torch.special.entr((logits_V / t).softmax(-1)).sum() for t in (0.5, 1, 1.5))
print("entropy of the next byte, against temperature 1")
measured("  temperature 0.5", cold / plain, below=1, unit="%")
measured("  temperature 1.5", hot / plain, above=1, unit="%")
unlike = sum(a != b for a, b in zip(write("The ", 0, 20), write("The ", 0, 20), strict=True))
print(f"characters in which two texts at temperature 0 differ: {unlike}")

# %% tags=["nbval-ignore-output"] why="trained"
for temperature in (0.3, 0.8, 1.3):
    print(f"--- temperature {temperature}\n{write('The function ', temperature)}\n")

# %% [markdown]
# That was the short run. The longer one wrote this, from its result file:

# %%
sample = report["sample"]
print(f"--- temperature {sample['temperature']}\n{sample['text']}")

# %% [markdown]
# How much of this is language? Two measures: how many of its words exist in the training text, and what is
# the longest stretch that stands there word for word.

# %% tags=["nbval-ignore-output"] why="machine"
import re

vocabulary = set(re.findall(r"[a-z]{3,}", train_text.decode(errors="ignore").lower()))
written = re.findall(r"[a-z]{3,}", sample["text"].lower())
text = sample["text"].encode()


def copied(n):
    return any(text[i : i + n] in train_text for i in range(len(text) - n + 1))


longest = next(n for n in range(1, len(text) + 1) if n == len(text) or not copied(n + 1))
known = sum(word in vocabulary for word in written)
print(f"words of three letters or more that exist: {known} of {len(written)}")
print(f"longest copied stretch: {longest} bytes")

# %% [markdown]
# It has found out by itself, from bytes, that there are words, which ones, how lines and indented examples
# look, and which word tends to follow which. It knows nothing about Python. It can't answer a question, and
# it can't keep to a subject beyond its window of 128 bytes. More text, more steps and a wider model change
# that, and the code stays the same:
#
# ```
# moe-lessons train --preset cpu-tiny
# moe-lessons generate --prompt "The "
# ```
#
# On a machine with a GPU the first line uses it, and there are presets made for one. What they reached, from
# result files that come with the course and name the device:

# %%
on_gpu = {}
for name in ("colab-t4", "gpu-small", "gpu-base"):
    try:
        found = on_gpu[name] = load_report(name)
    except FileNotFoundError:
        print(f"{name:<10} not measured")
    else:
        print(f"{name:<10} {found['device']}: {found['validation_bits_per_byte']:.2f} bits per byte")

# %% draw=true tags=["nbval-ignore-output"] why="image"
gpu_curves = {name: found["validation_curve"] for name, found in on_gpu.items()}
if on_gpu:
    gpu_chart = line_chart(
        {name: (curve["step"], curve["bits_per_byte"]) for name, curve in gpu_curves.items()},
        title="The GPU presets on held-out text",
        x_label="step",
        y_label="bits per byte",
    )
gpu_chart if on_gpu else None

# %% [markdown]
# ## Against a dense model
#
# So it learns. Would an ordinary transformer have learned as much? "As large" has two meanings, so there are
# two rivals. They differ from our small MoE model in one number only, the width of the feed-forward network:
#
# - **equal active**: K·F wide. As many parameters as a token meets, and so about the same FLOPs.
# - **equal total**: E·F wide. As many as are stored, and all of them work for every token.

# %%
from moe_lessons.bench.dense import variants
from moe_lessons.training.utilisation import flops_per_token

rivals = variants(small)
CALLED = {
    "moe": "MoE",
    "dense_equal_active": "dense, equal active",
    "dense_equal_total": "dense, equal total",
}
print(f"{'':<20}{'width':>8}{'parameters':>12}{'active':>10}{'training FLOPs per token':>26}")
for name, rival in rivals.items():
    total, active = parameter_counts(MoETransformer(rival.model))
    width = rival.model.n_experts * rival.model.d_expert
    print(f"{CALLED[name]:<20}{width:>8}{total:>12,}{active:>10,}{flops_per_token(rival.model):>26,}")

# %% tags=["nbval-ignore-output"] why="widget"
predict("10.p_dense")

# %% [markdown]
# The MoE runs are those of before, with the balancing loss. The rivals get the same text, the same windows in
# the same order and the same learning rate. Six runs, of a few seconds each.

# %% tags=["nbval-ignore-output"] why="trained"
from moe_lessons.svg import dot_rows

torch.set_num_threads(1)
ends = {"moe": bits[config.alpha]}
for name in ("dense_equal_active", "dense_equal_total"):
    seeds = each(SEEDS, f"{CALLED[name]}, seed")
    runs = [train(rivals[name].override(seed=seed), corpus=brief) for seed in seeds]
    ends[name] = torch.tensor([run.validation_bits_per_byte for run in runs])
means = {name: found.mean().item() for name, found in ends.items()}
dot_rows(
    {CALLED[name]: found.tolist() for name, found in ends.items()},
    title=f"After {small.steps} steps: {CALLED[min(means, key=means.get)]} predicts best",
    x_label="held-out bits per byte (lower is better)",
    dot_label="a seed",
    value_format="{:.2f}",
)

# %%
gap_to_active = means["moe"] - means["dense_equal_active"]
gap_to_total = means["moe"] - means["dense_equal_total"]
print("held-out bits, MoE minus dense")
measured("  equal active", gap_to_active, above=-0.15, below=0.15, then="close together")
measured("  equal total", gap_to_total, above=-0.02, then="the dense model is not behind")

# %%
reveal("10.p_dense")

# %% [markdown]
# Sobering, and worth knowing: in a short run of a small model, more than half of the parameters of the MoE
# model have bought nothing. Used all at once for every token, as many parameters do better, and cost more
# than twice the FLOPs.
#
# ### The long comparison
#
# One short run settles nothing. `benchmarks/dense_vs_moe.py` does it with care: two sizes, several seeds, for
# each variant the best of the learning rates tried, and the same tokens for all. Its result file comes with
# the course, and all that follows is computed from it.

# %%
long = load_report("dense_vs_moe")
for size, budget in long["budgets"].items():
    about = budget["about"]
    print(f"\n{size}: {budget['steps'][-1]} steps, {len(budget['seeds'])} seeds, {budget['epochs']} passes")
    machine, threads = about["device"].split(",")[0], about["threads"]
    print(f"steps timed on {machine}, threads: {threads}, {about['clock']} time")
    if budget["quick"]:
        print("NOTE: a quick trial of the script, far too short for a result")
    print(f"{'':<20}{'parameters':>12}{'ms per step':>13}{'bits per byte at the end':>28}")
    for name, one in budget["variants"].items():
        last = [curve[-1] for curve in one["validation_bits_per_byte"]]
        shown = f"{sum(last) / len(last):.3f} [{min(last):.3f}, {max(last):.3f}]"
        pace = 1000 * one["seconds_per_step"]["median"]
        print(f"{CALLED[name]:<20}{one['parameters']['total']:>12,}{pace:>13.1f}{shown:>28}")
    print(f"held-out bits after {budget['tuning_steps']} steps at each learning rate tried (* chosen):")
    for name, rates in budget["tuning"].items():
        chosen = budget["variants"][name]["learning_rate"]
        tried = "   ".join(
            f"{rate} {bits:.2f}{' *' * (float(rate) == chosen)}" for rate, bits in rates.items()
        )
        print(f"{CALLED[name]:<20}{tried}")
    inside = sum(
        min(map(float, rates)) < budget["variants"][name]["learning_rate"] < max(map(float, rates))
        for name, rates in budget["tuning"].items()
    )
    print(f"compared after {budget['steps'][-1]} steps; a worse rate on either side of the best: ", end="")
    print(f"{inside} of {len(budget['tuning'])} models")
    tried_best = {name: min(rates.values()) for name, rates in budget["tuning"].items()}
    lead = tried_best["moe"] - tried_best["dense_equal_active"]
    print(f"with the seed of these trials, MoE minus dense, equal active: {lead:+.3f} bits")

# %% [markdown]
# Trials as long as the comparison, and a worse rate on either side of each best: so each kind of model has
# its own best rate for this length, to within a factor of two, and as far as one seed can tell. Three seeds
# are few, too: compare what the trials' own seed says of MoE and dense, equal active, with what the brackets
# above say.
#
# Does it matter how long a trial is? The course itself first tried the rates of the large models in runs of
# 200 steps, to save time, and compared after 600. Here is what that said, beside what you just read:

# %%
short = load_report("tuned_too_short")


def average(losses):
    """The mean over seeds of the last loss."""
    return sum(curve[-1] for curve in losses) / len(losses)


tuned = long["budgets"]["large"]["variants"]
lost, rates = {}, {}
print(f"{'large models':<20}{'best rate after':>16} {short['tuning_steps']} and 600 steps   bits after 600")
for name, one in short["variants"].items():
    rates[name] = one["learning_rate"], tuned[name]["learning_rate"]
    then, now = (average(each["validation_bits_per_byte"]) for each in (one, tuned[name]))
    lost[name] = then - now
    print(f"{CALLED[name]:<20}{rates[name][0]:>20}{rates[name][1]:>10}{then:>18.3f} and {now:.3f}")
higher = sum(high > low for high, low in rates.values())
print(f"models for which the short trials chose the higher rate: {higher} of {len(rates)}")
print("that cost most for:", CALLED[max(lost, key=lost.get)])

# %% [markdown]
# Two of the models hardly notice. The third, dense with *all* the parameters, came out last with the short
# trials, and this lesson wondered why. With a rate for the length compared it is ahead of the one with the
# active parameters, by step. A comparison is as good as the tuning of its loser.
#
# It is also the one that starts loudest. It is one wide network, E times F, and starts like the others: the
# deviation of its weights depends on D alone (SmallInit), not on how many hidden units a row of the down
# projection adds up. More terms, larger sum:

# %%
for size, budget in long["budgets"].items():
    at_the_end = {name: average(one["validation_bits_per_byte"]) for name, one in budget["variants"].items()}
    ahead = at_the_end["dense_equal_total"] - at_the_end["dense_equal_active"]
    print(f"{size}: equal total against equal active, at the same step: {ahead:+.3f} bits")
first = torch.Generator().manual_seed(0)
fresh = {name: MoETransformer(rival.model, generator=first) for name, rival in rivals.items()}
update = {}
with torch.no_grad():
    for name, one in fresh.items():
        D = small.model.d_model
        normed_NTD = F.rms_norm(torch.randn(1, 256, D, generator=first), (D,))
        update[name] = one.blocks[0].moe(normed_NTD).hidden.square().mean().sqrt().item()
print("size of what a fresh block adds, beside dense, equal active:")
for name, size in update.items():
    print(f"  {CALLED[name]:<20}{size / update['dense_equal_active']:.1f}")
wider = math.sqrt(small.model.n_experts / small.model.top_k)
as_wide = update["dense_equal_total"] / update["dense_equal_active"]
print(f"the root of the ratio of widths: {wider:.1f}")
measured("equal total, over that root", as_wide / wider, above=0.75, below=1.25)

# %% [markdown]
# So the widest model begins with the largest updates. Whether that is why a rate too high hurt it most, this
# comparison cannot say. It is a rival under one recipe, as the others are.
#
# Loss by *step* is one way to compare. By training *FLOPs*, each model has got as far as the same arithmetic
# takes it. By *seconds*, it also pays for sorting rows and for small products. The same curves, three times:

# %%
UNITS = {
    "step": ("step", 1),
    "flops": ("training FLOPs (10^12)", 1e12),
    "seconds": ("seconds of training", 1),
}


CALLED_AXIS = {"step": "step", "flops": "FLOPs", "seconds": "seconds"}


def came_out(gaps):
    """What MoE minus dense, seed by seed, says."""
    if max(gaps) < 0:
        return "ahead with every seed"
    return "behind with every seed" if min(gaps) > 0 else "ahead or behind by seed"


def compared(budget, axis, name="dense_equal_active"):
    """The benchmark's entry on MoE and one rival."""
    return next(c for c in budget["crossings"] if (c["and"], c["axis"]) == (name, axis))


# %% draw=true tags=["nbval-ignore-output"] why="image"
def draw_long(axis, size="large"):
    budget, (x_label, unit) = long["budgets"][size], UNITS[axis]
    first = len(budget["steps"]) // 6  # the steep beginning would press everything together
    lines, spread = {}, 0.0
    for name, one in budget["variants"].items():
        bits_SN = torch.tensor(one["validation_bits_per_byte"])[:, first:]
        x_N = [x / unit for x in one["x"][axis][first:]]
        lines[CALLED[name]] = x_N, bits_SN.mean(dim=0).tolist()
        spread = max(spread, (bits_SN.amax(dim=0) - bits_SN.amin(dim=0)).max().item())
    found = compared(budget, axis)["difference"]
    return line_chart(
        lines,
        title=f"By {CALLED_AXIS[axis]}, against dense, equal active: MoE {came_out(found)}",
        x_label=x_label,
        y_label="held-out bits per byte",
        caption=f"The {size} models, mean of {len(budget['seeds'])} seeds, which lie within {spread:.2f} "
        "bits of each other. And against the other dense model?",
    )


draw_long("step")

# %% tags=["nbval-ignore-output"] why="image"
draw_long("flops")

# %% tags=["nbval-ignore-output"] why="image"
draw_long("seconds")

# %%
for size, budget in long["budgets"].items():
    for name in ("dense_equal_active", "dense_equal_total"):
        for axis, (_, unit) in UNITS.items():
            found = compared(budget, axis, name)
            low, high = min(found["difference"]), max(found["difference"])
            places = ", ".join(f"{x / unit:.3g}" for x in found["crossings"]) or "nowhere"
            print(f"{size}, {CALLED[name]}, by {CALLED_AXIS[axis]}: MoE {came_out(found['difference'])}")
            print(f"    {low:+.3f} to {high:+.3f} bits; the means cross at: {places}")

# %% [markdown]
# Read it with care: a few hundred steps, one text, two sizes, one kind of machine. What holds beyond that has
# been measured by those who could train for longer. DeepSeekMoE's authors trained a dense model and several
# MoE models on the same tokens (arXiv 2401.06066, table 1; loss on the Pile):

# %%
published_loss = {  # (loss, FLOPs per token against the dense model)
    "dense": (2.060, 1.0),
    "Switch, top-1": (1.881, 1.0),
    "GShard, top-2": (1.867, 1.5),
    "DeepSeekMoE": (1.808, 1.5),
}
for name, (loss, cost) in published_loss.items():
    print(f"{name:<16}{loss:.3f}   {cost:g} x FLOPs")


def cost_apart(budget):
    cost = {name: one["flops_per_token"] for name, one in budget["variants"].items()}
    return abs(cost["moe"] / cost["dense_equal_active"] - 1)


apart = [cost_apart(budget) for budget in long["budgets"].values()]
measured("in our comparison the FLOPs of MoE and dense, equal active, differ by", apart, below=0.02, unit="%")
fair = max(apart) < 0.02
better_at_equal_cost = published_loss["Switch, top-1"][0] < published_loss["dense"][0]
claim("L121", "correct", holds=fair and better_at_equal_cost)
claim("L122", "contested", holds=abs(gap_to_active) < 0.15 and better_at_equal_cost)

# %% [markdown]
# The two verdicts belong together. Given enough tokens, experts pay. How many are enough depends on the
# size: Krajewski et al. (arXiv 2402.07871) find MoE models ahead of dense ones throughout, by more as the
# budget grows (its abstract), and compare the two at equal budgets by their fit (section 6.3). Our runs are
# shorter than any of theirs. In them it depends on what you count, as the table above says: by step and by
# FLOPs the experts lead the dense model with as many active parameters, by the clock of this machine it leads
# them.
#
# ## What did the experts take up?
#
# Two sentences are often read, and each is said with confidence. "Experts specialise by themselves: one in
# code, one in mathematics, one in a language." And: "Experts learn nothing that could be interpreted."
# Neither says how it was measured. So let us measure.

# %% tags=["nbval-ignore-output"] why="widget"
predict("10.p_information")

# %% [markdown]
# The measure is **mutual information**: how many bits does the expert tell about a label of the token? The
# label can be the kind of text, the byte itself, or the position in the window.
#
# $$I = \sum_{e,c} p_{ec} \log_2 \frac{p_{ec}}{p_e\, p_c}$$
#
# 0 means that the two have nothing to do with each other. At most it is the entropy of the label or of the
# expert, whichever is smaller.
#
# But a sample speaks even where there is nothing to say. Draw experts and labels independently:

# %%
from moe_lessons.metrics import mutual_information, shuffled_information

draws = torch.Generator().manual_seed(0)
print("8 experts, 64 labels, drawn independently")
for n_tokens in (100, 1_000, 10_000, 100_000):
    experts_N = torch.randint(8, (n_tokens,), generator=draws)
    labels_N = torch.randint(64, (n_tokens,), generator=draws)
    expected = 7 * 63 / (2 * n_tokens * math.log(2))
    print(
        f"{n_tokens:>8,} tokens: {mutual_information(experts_N, labels_N):.3f} bits; "
        f"(E - 1)(C - 1) / (2 N ln 2) = {expected:.3f}"
    )

# %% [markdown]
# From a hundred tokens one would conclude that the experts know the labels well. The formula (Miller, 1955)
# tells how much chance gives when there are tokens enough. A safer way needs no formula: **shuffle the
# labels** and measure again. What is left is chance. Write both.

# %% [markdown]
# {{exercise 10.expert_information}}


# %% answer="10.expert_information"
def expert_information(
    experts_N: torch.Tensor,
    labels_N: torch.Tensor,
    shuffles_RN: torch.Tensor,
) -> tuple[float, float]:
    """Bits that the expert tells about the label: in the data, and by chance.

    experts_N, labels_N: [N] integers, 0 or more.
    shuffles_RN: [R, N] each row an order of the tokens.
    """

    ### BEGIN SOLUTION
    def bits(labels_N):
        n_experts, n_labels = int(experts_N.max()) + 1, int(labels_N.max()) + 1
        pairs_N = experts_N * n_labels + labels_N
        counts = torch.bincount(pairs_N, minlength=n_experts * n_labels)
        p_EC = counts.double().view(n_experts, n_labels) / len(pairs_N)
        apart_EC = p_EC.sum(dim=1, keepdim=True) * p_EC.sum(dim=0)
        seen = p_EC > 0
        return (p_EC[seen] * (p_EC[seen] / apart_EC[seen]).log2()).sum().item()

    by_chance = [bits(labels_N[order_N]) for order_N in shuffles_RN]
    return bits(labels_N), sum(by_chance) / len(by_chance)
    ### END SOLUTION


# %%
check("10.expert_information")

# %% [markdown]
# **Change this.** Again experts and labels that know nothing of each other. There are 256 bytes and 8
# experts: how many tokens does a probe need, for chance to tell less than a twentieth of a bit?

# %% change=true
# Change these and run the cell again.
n_tokens = 1_000
n_labels = 256
n_experts = 8

information = yours("10.expert_information")
draws = torch.Generator().manual_seed(0)
experts_N = torch.randint(n_experts, (n_tokens,), generator=draws)
labels_N = torch.randint(n_labels, (n_tokens,), generator=draws)
shuffles_RN = torch.stack([torch.randperm(n_tokens, generator=draws) for _ in range(3)])
in_data, by_chance = information(experts_N, labels_N, shuffles_RN)
print(f"{n_tokens:,} tokens: {in_data:.2f} bits in the data, {by_chance:.2f} by chance")

# %% [markdown] only="solutions"
# Between 20,000 (0.07 bits by chance) and 30,000 (0.04). With 1,000 tokens it is 1.27, nearly half of all
# that 8 experts could tell. Data and chance lie so close together that the difference says what there is:
# nothing.

# %% only="solutions"
rerun("n_tokens = 20_000", "n_tokens = 30_000")

# %% [markdown]
# ### Three kinds of text
#
# Now a text with domains, all of them at hand in Python itself: the English of the reference, source code of
# the standard library, and the names of Unicode characters, in small letters. Equally much of each. The model
# is not told which is which. The ends are kept back as a probe.

# %%
import unicodedata

from moe_lessons.data import Corpus, language_reference, standard_library

TRAIN_BYTES, PROBE_BYTES, WINDOW = 200_000, 4_096, 64


def character_names():
    names = (unicodedata.name(chr(code), "") for code in range(0x100, 0x20000))
    kept = (name for name in names if name and not name.startswith(("CJK", "HANGUL SYLLABLE")))
    return "\n".join(kept).lower().encode()


domains = {"English": language_reference(), "code": standard_library(), "names": character_names()}
domains = {name: text[: TRAIN_BYTES + PROBE_BYTES] for name, text in domains.items()}
part_N = torch.cat([as_tokens(text[:TRAIN_BYTES]) for text in domains.values()])
probe_DN = torch.stack([as_tokens(text[TRAIN_BYTES:]) for text in domains.values()])
three_kinds = Corpus("three kinds of text", part_N, probe_DN.flatten(), sha256="")
probe_WL = probe_DN.view(-1, WINDOW)
n_windows = len(probe_WL)
labels = {
    "byte": probe_WL.flatten(),
    "domain": torch.arange(3).repeat_interleave(probe_WL.numel() // 3),
    "position": torch.arange(WINDOW).repeat(n_windows),
}
print(f"{probe_WL.numel():,} bytes in the probe, {n_windows} windows of {WINDOW}")
print(f"the domain could tell log2(3) = {math.log2(3):.2f} bits at most, the expert log2(8) = 3")

# %% tags=["nbval-ignore-output"] why="machine"
for name, text in domains.items():
    print(f"{name:<9}{text[5000:5070]!r}")

# %% [markdown]
# Six small models. Three are balanced over the whole batch, three within each window of 64 bytes, which is
# what "balanced over a sequence" means. All with $\alpha$ = 0.1, ten times as much as before, so that
# the loss makes itself felt in a short run. Beside them, three that were not trained at all. (Six runs, and
# then the measuring: after the training above, the longest wait of this lesson.)

# %% tags=["nbval-ignore-output"] why="trained"
recipe = preset("smoke").override(
    d_model=64,
    d_expert=64,
    context_length=WINDOW,
    steps=45,
    batch_size=16,
    learning_rate=2e-3,
    alpha=0.1,
    log_every=45,
    evaluate_every=45,
    device="cpu",
)
scopes = {"over the batch": "global_batch", "in each window": "sequence"}
studied, quality = {}, {}
for name, scope in scopes.items():
    seeds = each(SEEDS, f"balanced {name}, seed")
    runs = [train(recipe.override(balancing_scope=scope, seed=s), corpus=three_kinds) for s in seeds]
    studied[name] = [run.model for run in runs]
    quality[name] = torch.tensor([run.validation_bits_per_byte for run in runs])
    low, high = quality[name].aminmax()
    print(f"balanced {name}: {low:.2f} to {high:.2f} bits per byte on the probe")
fresh = [torch.Generator().manual_seed(seed) for seed in SEEDS]
studied["untrained"] = [MoETransformer(recipe.model, generator=g).eval() for g in fresh]


@torch.no_grad()
def first_choices(model):
    """The expert with the largest weight for each byte of the probe, layer by layer."""
    return [routing.topk_ids_TK[:, 0] for routing in model(probe_WL).routings]


def study(experts_N, shuffling):
    """Bits about each label, and by chance."""
    found = {}
    for name, labels_N in labels.items():
        found[name] = mutual_information(experts_N, labels_N)
        chance = shuffled_information(experts_N, labels_N, shuffling, n_shuffles=2)
        found[f"{name} by chance"] = chance.mean().item()
    within = shuffled_information(
        experts_N, labels["domain"], shuffling, n_shuffles=2, within_N=labels["byte"]
    )
    found["domain given by the byte"] = within.mean().item()
    next_to = experts_N.view(n_windows, WINDOW)
    mixed = experts_N[torch.randperm(len(experts_N), generator=shuffling)].view(n_windows, WINDOW)
    found["neighbours alike"] = (next_to[:, 1:] == next_to[:, :-1]).double().mean().item()
    found["shuffled alike"] = (mixed[:, 1:] == mixed[:, :-1]).double().mean().item()
    return found


shuffling = torch.Generator().manual_seed(0)
studies = {
    name: [[study(e, shuffling) for e in first_choices(m)] for m in ms] for name, ms in studied.items()
}
told = {
    name: {key: torch.tensor([[layer[key] for layer in seed] for seed in found]) for key in found[0][0]}
    for name, found in studies.items()
}  # told[balance][quantity] is [seed, layer]
over_batch, untrained = told["over the batch"], told["untrained"]

# %% draw=true tags=["nbval-ignore-output"] why="image"
dot_rows(
    {
        "byte": over_batch["byte"].flatten().tolist(),
        "byte, untrained": untrained["byte"].flatten().tolist(),
        "domain": over_batch["domain"].flatten().tolist(),
        "position": over_batch["position"].flatten().tolist(),
        "byte, by chance": over_batch["byte by chance"].flatten().tolist(),
    },
    title="An expert tells which byte it gets, and little else",
    x_label="bits that the first-choice expert tells",
    dot_label="a layer of a model",
    value_format="{:.2f}",
    x_range=(0, 3),
    caption="Balanced over the batch. How much of the first row was there before any training?",
)

# %% [markdown]
# <details><summary>How much of the first row was there before any training?</summary>
#
# The second row: what routers with random weights already tell about the byte. The distance between the two
# is what training added.
#
# </details>

# %%
reveal("10.p_information")
byte, domain, position = (over_batch[name] for name in ("byte", "domain", "position"))
print(f"{byte.shape[0]} models of {byte.shape[1]} layers, balanced over the batch")
measured("  about the byte", byte, above=1, unit="bits")
measured("  the byte, against the domain", byte / domain, above=5, unit="times as much")
domain_shows = bool((domain > 10 * over_batch["domain by chance"]).all())
measured(
    "  the domain, against chance", domain / over_batch["domain by chance"], above=10, unit="times as much"
)
measured("  the position, of what the byte gives", position / byte, below=0.1, unit="%")
fresh_routers_sort = bool((untrained["byte"] > 0.3).all())
measured("untrained: about the byte", untrained["byte"], above=0.3, unit="bits")

# %% [markdown]
# So both sentences have a piece of the truth. These experts are far from all alike, and what they divide up
# is mostly the alphabet. That begins before training: the router reads a vector, the vector is mostly the
# byte's own embedding, and random directions cut any set of points into pieces.
#
# Kinds of text do show. But look closer. If an expert likes underscores, it sees more code than English, and
# tells us about the domain without knowing anything of it. To take that out, shuffle the domains only *among
# tokens of the same byte*: what remains is what the byte alone gives away. In the same picture, the other
# scope of balance:

# %% draw=true tags=["nbval-ignore-output"] why="image"
per_model = {}
for name in ("over the batch", "in each window"):
    for key, short in (("domain", "domain"), ("domain given by the byte", "through the byte")):
        per_model[f"{name}: {short}"] = told[name][key].mean(dim=1).tolist()
beside_byte = {
    name: (told[name]["domain"].mean() / told[name]["domain given by the byte"].mean()).item()
    for name in scopes
}
dot_rows(
    per_model,
    title=f"Over the batch {beside_byte['over the batch']:.1f} times what the byte gives away, "
    f"in each window {beside_byte['in each window']:.1f} times",
    x_label="bits about the domain, mean of the layers",
    dot_label="a model",
    value_format="{:.3f}",
    x_range=(0, 1.1 * max(map(max, per_model.values()))),
    caption="How far is each row from the one below it?",
)

# %%
by_scope = {name: told[name]["domain"].mean(dim=1) for name in scopes}
by_byte = {name: told[name]["domain given by the byte"].mean(dim=1) for name in scopes}
batch_S, window_S = by_scope["over the batch"], by_scope["in each window"]
scope_decides = bool((batch_S > window_S).all() and batch_S.mean() > 1.5 * window_S.mean())
beyond_S = by_scope["over the batch"] / by_byte["over the batch"]
difference = (quality["over the batch"].mean() - quality["in each window"].mean()).abs()
print("what experts tell of the domain, balanced over the batch")
measured("  against in each window, seed by seed", batch_S / window_S, above=1, unit="times")
measured("  against in each window, in the mean", batch_S.mean() / window_S.mean(), above=1.5, unit="times")
measured("  against what goes through the byte alone", beyond_S, above=1.3, unit="times")
measured("mean bits per byte of the two differ by", difference, below=0.1)
claim("L57", "imprecise", holds=scope_decides)
claim("L86", "imprecise", holds=scope_decides and recipe.model.n_shared_experts == 0)

# %% [markdown]
# Inside one window there is only one kind of text. Whoever must use all experts evenly in each window cannot
# keep an expert for code. Balance over the batch leaves room for it. DeepSeek-V3's report finds the same
# (section 4.5.3), and with it a slightly lower loss: 2.253 against 2.258 in a model of 1B parameters. Here
# the loss shows no difference.
#
# ### Neighbours
#
# One more way of looking. Mixtral's authors found no experts for topics, but they did find that a token often
# has the same expert as the one before it (table 5). Is that so here? Shuffled tokens say what chance gives.

# %%
alike, chance = over_batch["neighbours alike"], over_batch["shuffled alike"]
neighbours_share = bool((alike > 1.2 * chance).all())
print("how often neighbours share their first expert")
measured(
    "  against shuffled tokens, each layer of each model", alike / chance, above=1.2, unit="times as often"
)
fresh_alike = untrained["neighbours alike"].mean()
fresh_share = bool(fresh_alike > alike.mean())
measured("  in the mean, against routers that never trained", alike.mean() / fresh_alike, below=1, unit="%")
claim("L84", "contested", holds=domain_shows and bool((byte > 5 * domain).all()))
claim("L85", "contested", holds=domain_shows and neighbours_share)
claim("L87", "imprecise", holds=scope_decides and fresh_routers_sort)

# %% tags=["nbval-ignore-output"] why="trained"
for name in told:
    same_expert, by_chance = told[name]["neighbours alike"].mean(), told[name]["shuffled alike"].mean()
    print(f"{name:<16}neighbours alike {same_expert:.0%}, shuffled {by_chance:.0%}")

# %% [markdown]
# The last line is a warning. Neighbours share an expert at random weights too, and more so. (Shuffled tokens
# agree more often there as well: fewer experts are really in use.) Above chance is not yet learned.
#
# What is contested stays contested: models differ in their data, in whether experts began as copies of one
# network (as OLMoE's authors suspect of Mixtral), in the scope of balance and in the size of experts. Ask of
# every such report: which label, against which chance, and is it more than the token gives away?
#
# ## Wherever Mixtral runs
#
# Our model has Mixtral's structure. So it can leave this course. What has to be done is to store each tensor
# under Mixtral's name. There is one catch: we keep the experts stacked, Mixtral's checkpoints keep three
# matrices for each expert, and two of the three have the same shape. A mistake there raises no error. Do it
# for one layer.

# %% [markdown]
# {{exercise 10.mixtral_keys}}


# %% answer="10.mixtral_keys"
def mixtral_keys(
    router_ED: torch.Tensor,
    gate_up_proj: torch.Tensor,
    down_proj: torch.Tensor,
    layer: int,
) -> dict[str, torch.Tensor]:
    """One layer's tensors under the names of a Mixtral checkpoint.

    router_ED: [E, D]. gate_up_proj: [E, 2F, D] gate, then up. down_proj: [E, D, F].
    """
    ### BEGIN SOLUTION
    start = f"model.layers.{layer}.block_sparse_moe."
    named = {start + "gate.weight": router_ED.clone()}
    for e in range(len(router_ED)):
        gate, up = gate_up_proj[e].chunk(2, dim=0)
        for name, weight in {"w1": gate, "w2": down_proj[e], "w3": up}.items():
            named[f"{start}experts.{e}.{name}.weight"] = weight.clone()
    return named
    ### END SOLUTION


# %%
check("10.mixtral_keys")

# %% [markdown]
# The package does it for the whole model (`moe-lessons export` in a terminal): weights, sizes, tokenizer. We
# export the model that was trained above, look inside, and read it back.

# %%
import tempfile
from pathlib import Path

from safetensors import safe_open

from moe_lessons.training.checkpoint import load_model
from moe_lessons.interop.exporting import export_model
from moe_lessons.interop.importing import import_folder

workplace = tempfile.TemporaryDirectory()
folder = export_model(trained, Path(workplace.name) / "my-mixtral")
print("files:", ", ".join(sorted(path.name for path in folder.iterdir())))
with safe_open(folder / "model.safetensors", framework="pt") as stored:
    keys = sorted(key for key in stored.keys() if ".layers.2." in key)  # noqa: SIM118
    up = stored.get_tensor("model.layers.2.block_sparse_moe.experts.5.w3.weight")
    print("tensors:", len(stored.keys()), "of them in layer 2:", len(keys))
bank = trained.blocks[2].moe.experts.gate_up_proj[5]
unlike = int((up != bank[len(bank) // 2 :]).sum())
print(f"w3 of expert 5 against the last half of its bank: {unlike} of {up.numel():,} numbers differ")
again, _ = load_model(import_folder(folder, Path(workplace.name) / "imported"))
with torch.no_grad():
    back = (again(tokens_BL).logits_BLV - before.logits_BLV).abs().max()
measured("read back, the logits differ by at most", back, below=1e-5)

# %% [markdown]
# The real test is a program that knows nothing of this course. If Hugging Face's `transformers` is installed
# here, it loads the folder as a Mixtral model and goes on from three places of the held-out text. (At
# temperature 0 so small a model soon goes round in circles. What counts is that both go the same way.)

# %% tags=["nbval-ignore-output"] why="machine"
import importlib.util

if importlib.util.find_spec("transformers") is None:
    print("transformers is not installed here; pip install transformers, and run this cell again")
else:
    print("loading transformers takes some seconds")
    from transformers import MixtralForCausalLM, logging

    logging.disable_progress_bar()
    mixtral = MixtralForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        apart = (mixtral(tokens_BL).logits - before.logits_BLV).abs().max().item()
    print(f"{type(mixtral).__name__}: logits differ by {apart:.0e} at most")
    prompts_3L = torch.stack([corpus.validation_M[at : at + 48] for at in (1_000, 5_000, 9_000)])
    ours = generate_batch(trained, list(prompts_3L), 60, temperature=0)
    mask_3L = torch.ones_like(prompts_3L)
    theirs = mixtral.generate(prompts_3L, attention_mask=mask_3L, max_new_tokens=60, do_sample=False)
    kinds = set()
    for ours_L, theirs_L in zip(ours, theirs, strict=True):
        kinds |= set(theirs_L[48:].tolist())
        unlike = int((ours_L != theirs_L).sum())
        print(f"bytes in which ours and theirs differ: {unlike} of 60 {bytes(theirs_L[48:].tolist())}")
    print(f"{len(kinds)} different bytes among them")

# %%
workplace.cleanup()

# %% [markdown]
# ## A transformer of your own
#
# So far your answers were checked and the package's code did the work. Now the other way round. Twelve
# exercises of this course ask for a part of this model. What none of them asks for, embedding, norms, rotary
# positions, first weights and AdamW, the package lends. Where an exercise is still open, its part stands in.

# %%
from moe_lessons.own import OwnTransformer, Parts, parts_card

parts = Parts(
    router_logits=yours("01.router_logits"),
    topk_gates=yours("01.topk_gates"),
    moe_sorted=yours("02.moe_sorted"),
    expert_bank=yours("02.expert_bank"),
    causal_attention=yours("10.causal_attention"),
    moe_block=yours("10.moe_block"),
    training_loss=yours("10.training_loss"),
    training_steps=yours("10.training_step"),
    balancing_loss=yours("05.balancing_loss"),
    effective_experts=yours("04.effective_experts"),
    bits_per_byte=yours("10.bits_per_byte"),
    mixtral_keys=yours("10.mixtral_keys"),
)

# %%
parts_card(parts)

# %% [markdown]
# Here is the whole model. Whatever is called `parts` is on the card. The rest is maps and norms.

# %%
for method in (OwnTransformer.forward, OwnTransformer.attend, OwnTransformer.mix):
    print(inspect.getsource(method))

# %% [markdown]
# There are three ways through the experts, because there are three purposes. In *training* the loss wants
# the router's logits, so router, gates and sorted layer are called one by one. In *evaluation* nobody asks
# for the logits: your block does it in one call. In *writing* there are few tokens. There, to ask all
# experts in a few large products is simpler than to sort. All three should give what the package's model
# gives with the same weights:

# %%
mine = small.override(steps=120, learning_rate=4e-3)
own = OwnTransformer(parts, mine.model, generator=torch.Generator().manual_seed(mine.seed))
some_BL = corpus.validation_M[: 4 * 32].view(4, 32)
with torch.no_grad():
    package_BLV = own.frame(some_BL).logits_BLV
    for purpose in ("train", "evaluate", "write"):
        off = (own(some_BL, purpose).logits_BLV - package_BLV).abs().max().item()
        measured(f"{purpose}: the package's logits, up to", off, below=1e-3)

# %% [markdown]
# Train it. Your training loss is what `backward()` is called on; your two measures of the load watch. At
# the end your training steps come in. They know models of one matrix, and the head is one: what the rest of
# the model makes of each byte is its input. So the head gets its last steps from you. (A right answer may
# be a slow one: after 30 seconds of computing no further step begins.)

# %% tags=["nbval-ignore-output"] why="trained"
from moe_lessons.own import evaluate_own, polish_head, train_own


def draw_own(records):
    last = records[-1]
    return line_chart(
        {parts.training_loss.label: ([r.step for r in records], [r.loss for r in records])},
        title=f"Step {last.step} of {mine.steps}: a loss of {last.loss:.2f} nats",
        x_label="step",
        y_label="training loss of one batch (nats)",
        x_range=(0, mine.steps),
        caption="Each point is the loss of one batch of 8 windows.",
    )


text_M = corpus.validation_M[:2049]
ends_at = {"before": evaluate_own(own, text_M)}
own_picture, watched_steps = LiveView(), []


def watch_own(record):
    watched_steps.append(record)
    own_picture.update(lambda: draw_own(watched_steps))


train_own(own, mine, corpus.train_N, seconds=30, on_record=watch_own)
own_picture.finish(draw_own(watched_steps))
ends_at["trained"] = evaluate_own(own, text_M)
polish_head(own, mine, corpus.train_N, steps=20, micro_batches=4, peak=0.3)
ends_at["and the head's last steps"] = evaluate_own(own, text_M)
for name, now_at in ends_at.items():
    print(f"{name:<28}{now_at:.2f} bits per byte, by {parts.bits_per_byte.label}")

# %%
last_watched = watched_steps[-1]
by_head = ends_at["trained"] - ends_at["and the head's last steps"]
measured("fresh", ends_at["before"], above=8, below=9, unit="bits per byte")
measured("trained: bits below the unigram", unigram - ends_at["trained"], above=0.5)
measured("bits that the head's last steps take off", by_head, above=0, then="they help")
measured("load loss at the end (1 is even)", last_watched.load_loss, below=1.3)
measured("effective experts of each layer", last_watched.effective_experts, of=8, above=5)

# %% [markdown]
# And now it writes. It has seen a fraction of what the model above has seen, with a window of 32 bytes. Do
# not expect sentences.

# %% tags=["nbval-ignore-output"] why="trained"
from moe_lessons.own import write_own

print(write_own(own, b"The ", 160, temperature=0.5).decode(errors="replace"))

# %% [markdown]
# The last part names its tensors. The folder is a Mixtral model, which `transformers` loads without knowing
# anything of this course or of you:

# %% tags=["nbval-ignore-output"] why="machine"
from moe_lessons.own import export_own

with tempfile.TemporaryDirectory() as workplace:
    folder = export_own(own, Path(workplace) / "my-own-mixtral")
    if importlib.util.find_spec("transformers") is not None:
        theirs = MixtralForCausalLM.from_pretrained(folder).eval()
        with torch.no_grad():
            off = (theirs(some_BL).logits - own(some_BL).logits_BLV).abs().max().item()
        print(f"{type(theirs).__name__} and your parts: logits differ by {off:.0e} at most")
    else:
        print("transformers is not installed here; pip install transformers, and run this cell again")

# %% [markdown]
# Built from scratch, and it runs where Mixtral runs. To keep the folder, call
# `export_own(own, "my-own-mixtral")`. Its model card says whose the parts are. Here is where you stand, with
# what happened on the way:

# %%
parts_card(parts)

# %% [markdown]
# Once an exercise has passed, run this section again: its part is yours from then on, in every lesson.

# %% [markdown]
# ## What you take along
#
# - Bits per byte on held-out text, beside baselines, says whether a model learns. The training loss alone
#   does not.
# - A fresh model starts near $\log_2$ of its vocabulary. If yours does not, stop and look.
# - A MoE block is a pre-norm block whose feed-forward network is a MoE layer. Only that layer knows of
#   experts.
# - Attention moves between places, rotary positions tell it what is near, norms take the size out, and the
#   first weights decide how loud each part begins.
# - The training loss is cross entropy plus router losses, each taken per layer, with a named normalisation.
# - A step: collect the gradient of the mean over *all* its tokens, clip, set the rate, step, clear.
# - Balance and quality are two things. Measure both.
# - Change a later byte, look at earlier outputs: every router must pass this before you believe its loss.
# - "Better than dense" needs to say: equal what? By step, FLOPs or seconds? With how many seeds?
# - A measure of specialisation needs its value by chance, and what the token alone gives away.
# - Weights under the right names are a model that others can run. Compare logits, not shapes.
# - A dozen short functions are a model: with the same weights, yours and the package's give the same logits.
#
# ### Check yourself

# %% tags=["nbval-ignore-output"] why="widget"
quiz("10.nats")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("10.which_number")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("10.top_1")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("10.equal")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("10.chance")

# %%
claims_table()

# %%
score()
