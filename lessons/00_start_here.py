# %% [markdown]
# This page is a *notebook*: text, and cells with code. Click on the next cell and press **Shift + Enter** to
# run it; the one after it is then selected. The first time it takes some seconds: PyTorch has to load.

# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("00_start_here")

# %% [markdown]
# ## A sentence in a layer
#
# A language model reads *tokens*: words, or pieces of words. In a **Mixture-of-Experts** layer (MoE) there
# are several small networks, the *experts*. A *router* gives each of them a score for each token. The best
# two answer, and the layer adds up what they say, each answer times its *weight*.
#
# Run the next cell. It shows one such layer reading a sentence. Commit to a prediction, and the sentence is
# yours.

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import Sentence

hero = Sentence(ask=False)
predict("00.shared", unlocks=hero)
hero

# %% [markdown]
# Read the picture in four steps:
#
# 1. **Tokens.** One row each. A full stop is a token too.
# 2. **Router.** Eight bars in each row, one for each expert: its share of the row's 100 %. The best two are
#    framed. `K` is the name for how many are chosen, here 2.
# 3. **Weighted sum**, for the row with the ▸. The two framed shares are rescaled to add up to 1: these are
#    the weights. An expert's answer is a list of 64 numbers, drawn as bars. Weighted answers add up to what
#    the layer says.
# 4. **Load.** How many tokens each expert gets. The dotted line would be a perfectly even load.
#
# The whole model has three such layers. It is tiny, and has read nothing but the Python language reference.
#
# Now play. Choose layer 2 and check your prediction. Which token's sum has the longest bars? What changes
# when you move `K`, and what does not? Then type a sentence of your own. A word that the model seldom saw
# comes in pieces.

# %%
reveal("00.shared")

# %% [markdown]
# <details><summary>What does <code>K</code> change?</summary>
#
# The bars stay as they are: the router scores every expert anyway. `K` decides how many of them are framed,
# and so the weights, the sum and the load. At `K` = 1 the only weight is 1. At `K` = 8 every expert answers
# every token: four times the work of `K` = 2.
#
# </details>
#
# This lesson takes the layer apart: first as a drawing, then as code. But before that, two things about the
# page you are on.
#
# ## How this page works
#
# Run the cells from top to bottom. You cannot break anything: every cell can be run again, changed, or
# emptied. If a cell shows a red error, read its last line; nothing else is lost. What to do when you are
# stuck is explained [near the end](#If-you-are-stuck).
#
# ### What is on this machine?
#
# The next cell lists what this course found here. You need not know all these names. The line to look at
# is `path`: it says which code will run a Mixture-of-Experts layer here. (What the names of the paths mean
# comes in lesson 08.) A GPU makes the long runs of lesson 10 quicker; no lesson needs one.

# %% tags=["nbval-ignore-output"] why="machine"
from moe_lessons.commands.diagnosis import describe, diagnose

print(describe(diagnose()))

# %% [markdown]
# If something is listed as missing, the line says how to get it. "Optional" means that the course goes on
# without.
#
# One more check, which you need not follow yet. The path that was chosen and the slowest, plainest one (a
# loop over the experts) compute the same layer. Do their outputs agree?

# %%
import torch

from moe_lessons import MoELayer


def output_by(path):
    layer = MoELayer(8, 16, 4, 2, path=path, generator=torch.Generator().manual_seed(0))
    return layer(torch.linspace(-1, 1, 40).reshape(5, 8)).hidden


gap = (output_by("auto") - output_by("loop")).abs().max()
measured("This machine's path against the plain loop, largest difference", gap, below=1e-6, then="the same")

# %% [markdown]
# ## Eight experts of our own
#
# A language model is a stack of layers. One kind, the feed-forward layer, is a network that every word goes
# through. A Mixture-of-Experts layer puts several networks in its place, and each word goes through a few of
# them. So the layer can hold much, and each word pays for little.
#
# Here is the way of a single token, `a`, through layer 0 of the picture above. A *logit* is a router's score
# before it is turned into a share.

# %% tags=["nbval-ignore-output"] why="image"
from moe_lessons.explore.sentence.diagram import layer_diagram

layer_diagram()

# %% [markdown]
# Names end in their axes: `T` tokens, `D` numbers per token, `E` experts, `K` experts chosen per token. So
# `logits_TE` has a row for each token and a column for each expert, and `logits_TE[t]` is the row of one
# token. (`layer_diagram(hero.params)` draws the token that you have chosen in the picture above.)
#
# Now let us build such a layer. Its sentence comes from Python's own language reference. This time we split
# it at the spaces: each word is one token.

# %%
import re

from moe_lessons.data import language_reference

sentence = (
    "The function definition does not execute the function body; "
    "this gets executed only when the function is called."
)
corpus = " ".join(language_reference().decode().split())
words = re.findall(r"\w+", sentence.lower())

print(f"It stands {corpus.count(sentence)} time in the corpus and has {len(words)} tokens.")

# %% [markdown]
# A network works on numbers. Ours come from the letters alone: each letter gets 32 random numbers, and a
# word is the mean of its letters. That is crude: it knows nothing of meaning, not even the order of the
# letters.
#
# Here is the whole layer, with the names of the drawing. Read it once; each line comes back in a later
# lesson.

# %%
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)  # for tensors this small, one thread is the quickest
router = nn.Linear(32, 8, bias=False)
experts = nn.ModuleList()
for _ in range(8):
    experts.append(nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32)))
letters_LD = torch.randn(26, 32, requires_grad=True)  # 32 random numbers for each letter


def moe(hidden_TD):
    logits_TE = router(hidden_TD)  # the router: one score per token and expert
    best_TK, ids_TK = logits_TE.topk(2, dim=-1)  # each token keeps its two best experts
    weights_TK = best_TK.softmax(dim=-1)  # their scores become weights that sum to 1
    output_TD = torch.zeros_like(hidden_TD)
    for e, expert in enumerate(experts):
        token, slot = torch.where(ids_TK == e)  # who comes to expert e, in which slot
        said = expert(hidden_TD[token])  # it sees these tokens only
        output_TD = output_TD.index_add(0, token, weights_TK[token, slot, None] * said)
    return output_TD, ids_TK, weights_TK


# %% [markdown]
# All of it is random: nothing has been trained. Before we run it, a prediction. Guessing wrong costs
# nothing, and a guess makes you look twice. In this course every experiment starts like this.

# %% tags=["nbval-ignore-output"] why="widget"
predict("00.same_word")


# %%
from string import ascii_lowercase


def hidden(words, letters_LD):
    """One row of 32 numbers per word: the mean over its letters."""
    shares = [[word.count(letter) / len(word) for letter in ascii_lowercase] for word in words]
    return torch.tensor(shares) @ letters_LD


hidden_TD = hidden(words, letters_LD)
output_TD, ids_TK, weights_TK = moe(hidden_TD)

for name, tensor in (("hidden_TD", hidden_TD), ("output_TD", output_TD), ("ids_TK", ids_TK)):
    print(f"{name:<10} {tuple(tensor.shape)}")
for place, word in enumerate(words):
    if word == "function":
        print(f"token {place:>2}, {word}: experts {ids_TK[place].tolist()}")

# %%
reveal("00.same_word")

# %% [markdown]
# This is a **routing strip**: the sentence, and under each token its two experts. The number and the colour
# name the expert. The percentage is its weight, and the tinted bar shows it again. Look for `function`: it
# occurs three times.

# %% draw=true tags=["nbval-ignore-output"] why="image"
from moe_lessons.svg import routing_strip

routing_strip(
    words,
    ids_TK.tolist(),
    weights_TK.tolist(),
    title="The same word goes to the same two experts",
    caption="Untrained layer, 8 experts, 2 per token. Which words share an expert?",
)

# %% [markdown]
# <details><summary>Which words share an expert?</summary>
#
# Many do: there are only eight experts for eighteen words. `function`, `definition`, `body`, `is`, `not` and
# `this` all have expert 5 among their two, for example. The next cell lists them.
#
# </details>

# %% [markdown]
# ### What the picture shows, and what it does not
#
# It shows where each token went, and that is all. It is tempting to find reasons: `function`, `definition`
# and `body` all go to expert 5, so is that the expert for nouns? Look at its whole list. And `listen` and
# `silent` mean different things, but have the same letters. Where do they go?

# %%
from moe_lessons.routing import tokens_per_expert

at_5 = {word for word, ids in zip(words, ids_TK.tolist(), strict=True) if 5 in ids}
print("expert 5:", ", ".join(sorted(at_5)))

_, ids, _ = moe(hidden(["listen", "silent"], letters_LD))
print("listen goes to experts {} and {}; silent to {} and {}".format(*ids.flatten().tolist()))
print("tokens per expert:", tokens_per_expert(ids_TK, 8).tolist())

# %% [markdown]
# `is`, `not` and `this` go there as well, and nobody told the layer what a noun is. A router can only use
# what its input holds, here letters. The last line shows another thing: the *load*, how many tokens each
# expert gets, is far from even. Lesson 04 is about that.
#
# And the experts' numbers: does it mean anything to be expert 5? Predict once more.

# %% tags=["nbval-ignore-output"] why="widget"
predict("00.other_seed")


# %%
def choices(seed):
    """The experts of each word, from random numbers of their own."""
    torch.manual_seed(seed)
    other_router, other_letters_LD = nn.Linear(32, 8, bias=False), torch.randn(26, 32)
    return other_router(hidden(words, other_letters_LD)).topk(2, dim=-1).indices


def kept(ids_TK, other_TK):
    """Share of the chosen experts that are also chosen by the other layer."""
    return (ids_TK[:, :, None] == other_TK[:, None, :]).any(dim=-1).float().mean().item()


shares = torch.tensor([kept(ids_TK, choices(seed)) for seed in range(1, 201)])
print(f"layers drawn anew: {len(shares)}")
measured("choices that stay, on average", shares.mean(), above=0.22, below=0.28, unit="%", then="a quarter")
measured("in the layer that keeps fewest", shares.min(), below=0.1, unit="%")
measured("in the layer that keeps most", shares.max(), above=0.4, unit="%")

# %%
reveal("00.other_seed")

# %% [markdown]
# So a single pair of layers can agree on many words, or on almost none, by chance. That is why this course
# repeats an experiment many times before it believes it.

# %% [markdown]
# ## What do you need to know?
#
# Explainers ask for much: transformers, attention, matrix calculus, convex optimisation. Let us look
# instead. The next two cells train our layer on the sentence: given a word, guess the next one. How wrong it
# is, is one number, the *loss*. PyTorch keeps a record of every operation that led to a loss, the *graph*: it
# needs that to compute gradients. The first cell collects the names of these operations. How it walks
# through the graph does not matter here.

# %%
import torch.nn.functional as F

torch.manual_seed(1)
vocabulary = sorted(set(words))
targets_T = torch.tensor([vocabulary.index(word) for word in words[1:]])
head = nn.Linear(32, len(vocabulary))


def next_word_loss():
    hidden_TD = hidden(words[:-1], letters_LD)
    return F.cross_entropy(head(hidden_TD + moe(hidden_TD)[0]), targets_T)


def operations(loss):
    """The name of each operation in the graph behind a loss."""
    names, pending, seen = set(), [loss.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            names.add(re.sub(r"Backward\d*$", "", node.name().split("::")[-1]))
            pending += [before for before, _ in node.next_functions]
    return names


parts = {
    "softmax": {"Softmax"},
    "top-k": {"Topk"},
    "cross-entropy": {"NllLoss", "LogSoftmax"},
    "arithmetic, matrix products, picking rows": {
        *("Add", "Mul", "Addmm", "Mm", "T", "Relu", "Index", "IndexAdd", "Unsqueeze"),
        "AccumulateGrad",  # where backward() leaves a parameter's gradient
    },
}
used = operations(next_word_loss())
for part, names in parts.items():
    print(f"{part:<42}", "used" if used & names else "not used")
others = used - set().union(*parts.values())
print("anything else:", ", ".join(sorted(others)) or "nothing")

# %% [markdown]
# The second cell trains. It ends with `claim`. A **claim** is a sentence that explainers of the subject
# make; the course has numbered many, and tests them one by one. This one, L14, is the long list above.
# `claim` prints the verdict, and a table at the end of each lesson collects them.

# %%
from copy import deepcopy

from moe_lessons.steps import each

untrained = deepcopy((letters_LD, router, experts, head))
parameters = [letters_LD, *(p for module in (router, experts, head) for p in module.parameters())]
optimizer = torch.optim.Adam(parameters, lr=0.01)
first_loss = next_word_loss().item()
for _ in each(range(60), "step"):
    optimizer.zero_grad()
    loss = next_word_loss()
    loss.backward()
    optimizer.step()
halved = loss.item() < first_loss / 2
left = loss.item() / first_loss
measured("loss after 60 steps, as a share of what it was", left, below=0.5, unit="%", then="more than halved")
letters_LD, router, experts, head = untrained  # so that the cells above still show the untrained layer

all_used = all(used & names for names in parts.values())
claim("L14", "wrong", holds=halved and all_used and not others)

# %% [markdown]
# That was a Mixture-of-Experts layer, trained. From a single sentence it has learned nothing but that
# sentence, by heart. It took softmax, top-k and cross-entropy, and backpropagation is the fourth:
# `loss.backward()`. So the list may name what papers on the subject draw on, but you can begin without most
# of it. What else a lesson needs, such as attention in lesson 10, it explains.
#
# ### The five-minute check
#
# One question for each of the four. If you get one wrong, the answer names something free to read.
# Come back whenever you like; nothing here is timed, and quizzes earn no points.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("00.softmax")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("00.topk")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("00.backward")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("00.cross_entropy")

# %% [markdown]
# ## How an exercise works
#
# You fill in one function and run the check below it. The check calls your function on small inputs and
# compares what comes back with the right answer. When the two differ, it says where they first do, and if
# it knows the mistake, it names it.
#
# Here is what that looks like. We play a learner who lets *every* expert answer. The exercise asks for the
# best two. The check below is only a demonstration and does not count for you.


# %%
def everyone_answers(logits_E, outputs_ED):
    weights_E = logits_E.softmax(dim=0)
    return weights_E @ outputs_ED


check("00.top2_mix", everyone_answers, demo=True)

# %% [markdown]
# Read such a card from the top. A ✔ is something your function already does. The first ✘ is the one to work
# on; the line under it shows what came back and what was expected. (`mixed_D` is the check's name for what
# the function returns.) The points after it are looked at once this one is right. "What may have happened" is
# the check's guess at the mistake.
#
# The card also said which hint helps. There are three for each exercise: a question to ask yourself, the
# tool to use, almost the line. They lie folded under each check, and `hint` prints one:

# %%
hint("00.top2_mix", 1)

# %% [markdown]
# ## Your turn
#
# You have seen all you need for this one: it is the middle part of `moe` above, for a single token.

# %% [markdown]
# {{exercise 00.top2_mix}}


# %% answer="00.top2_mix"
def top2_mix(logits_E: torch.Tensor, outputs_ED: torch.Tensor) -> torch.Tensor:
    """Mix what the two best experts say about one token.

    logits_E: shape [E], the router's score for each expert.
    outputs_ED: shape [E, D], what each expert says about the token.
    Returns shape [D]: the weighted sum of two rows, with weights that sum to 1.
    """
    ### BEGIN SOLUTION
    top_2, ids_2 = logits_E.topk(2)
    weights_2 = top_2.softmax(dim=-1)
    return weights_2 @ outputs_ED[ids_2]
    ### END SOLUTION


# %%
check("00.top2_mix")

# %% [markdown]
# "Not attempted yet" means that the line `raise NotImplementedError` is still there: replace it. A pass
# begins with `✔ Passed`, and with your points. You may check as often as you like; only passing counts.
#
# One rule: an answer's cell stands alone. `math`, `np`, `torch` and `F` are there; what else it uses, it
# imports or defines itself, even if another cell does so too. That way an answer can be handed in and graded
# without the rest of the notebook.

# %% [markdown]
# ## If you are stuck
#
# - **A cell shows an error.** Its last line says what is wrong. `NameError` mostly means that a cell
#   further up has not run: choose *Run → Run All Above Selected Cell*.
# - **A cell does not end.** Press the ■ button (*interrupt the kernel*). Your work stays.
# - **Nothing makes sense any more.** *Kernel → Restart Kernel and Run up to Selected Cell* starts afresh.
#   Your text and your progress stay.
# - **An exercise resists.** Take the hints, in order. Then look at the solution; a link to it lies under
#   the hints. Reading it and then writing it again yourself is a fair way to learn. No later cell needs
#   your answer: you can always read on.
# - **You want the notebook as it was.** `git checkout notebooks/00_start_here.ipynb` in a terminal brings
#   it back, without what you wrote into it.
#
# ### Where your progress is kept
#
# In one small file on this machine, outside the notebook. It survives a restart, and nobody else reads it.

# %% tags=["nbval-ignore-output"] why="machine"
from moe_lessons.course import progress, store

print(store.where())
progress()

# %% [markdown]
# To forget one lesson's progress, write `from moe_lessons.course import reset` and `reset()` into a cell of
# your own. It touches no notebook. `reset("all")` forgets the whole course. A prediction stays as you made
# it until then.
#
# ## What you take along
#
# - A Mixture-of-Experts layer is a router, a top-k, a softmax, and a sum over the few experts that were
#   chosen.
# - A routing strip shows where tokens went, not why. The strip of an untrained layer means nothing.
# - Lessons go: question, prediction, experiment, explanation, exercise.
#
# One more question, and then the score. The router, which did all the deciding here, is the subject of
# lesson 01.

# %% tags=["nbval-ignore-output"] why="widget"
quiz("00.strip")

# %%
claims_table()

# %%
score()
