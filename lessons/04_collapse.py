# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, measured, predict, puzzle, quiz, rerun
from moe_lessons.course import reveal, score, start, yours

start("04_collapse")

# %% [markdown]
# A layer of eight experts is built, and nobody tells the router how to use them. It is trained to lower one
# number, the error. Will it use all eight?
#
# Often it does not. Some experts get more and more tokens, others fewer and fewer, until they get none at
# all. You then pay for eight experts and use a few. This is called **collapse**, and explainers like to say
# that it happens always, and by necessity. It does not, so this lesson looks for what it depends on.
#
# ## A world small enough to run sixteen times
#
# One run proves little: the next seed may do something else. So we need a model that trains sixteen times
# in a second or two. The package has one, `moe_lessons.toy`:
#
# - Tokens come from 16 clusters, and each cluster has a linear map of its own. The target of a token is its
#   map times the token. So there is work to divide, and dividing it pays.
# - To every token one and the same vector is added, of length `mu` times $\sqrt{D}$. It says nothing about
#   the target. It only makes all tokens look alike. (Do the hidden states of a real model? We measure it
#   below.)
# - The router is that of lesson 01, a softmax over one linear map. An expert is one hidden layer with a ReLU,
#   smaller than lesson 02's. The weight of the chosen expert is its softmax probability, and the loss is the
#   squared error. Nothing balances anything.
#
# Here is one setting, chosen on purpose so that something happens: K = 1, and `mu` = 4.

# %%
import math

import torch
import torch.nn.functional as F

from moe_lessons.steps import each
from moe_lessons.toy import Decision, TopK, Toy, ToyRun, advance_all, load_balancing
from moe_lessons.toy.zoo import SelectionBias

torch.set_num_threads(1)  # everything here is small: more threads would only wait for each other
STEPS = 200
COMMON = Toy(mu=4.0, even_start=True)  # even_start: a router that starts nearly even; more on it below
race = ToyRun(COMMON, TopK(1)).advance(STEPS)


def at_least(least, value):
    """A number as a text that says the same on every machine: rounding may move a run or two."""
    return f"{least} or more" if value >= least else str(value)


def late(run, steps=20):
    """Load shares [S, E] over a run's last steps, taken together."""
    return run.shares_NSE[-steps:].mean(dim=0)


print("steps, seeds, experts:", tuple(race.shares_NSE.shape))

# %% draw=true tags=["nbval-ignore-output"] why="image"
from moe_lessons.svg import bar_chart, dot_rows, heat_map, line_chart

smooth_PE = race.shares_NSE[:, 0].unflatten(0, (-1, 10)).mean(dim=1)
fullest = int(smooth_PE[-1].argmax())
line_chart(
    {f"{e}": (list(range(10, STEPS + 1, 10)), (100 * smooth_PE[:, e]).tolist()) for e in range(8)},
    title=f"Seed 0: expert {fullest} ends with {smooth_PE[-1, fullest]:.0%} of the tokens",
    x_label="step",
    y_label="share of the routed rows (%), mean of ten steps",
    references={"even share": 12.5},
    experts=True,
    caption="One line per expert. When is the race decided? Does the early leader win?",
)

# %% [markdown]
# <details><summary>The caption's questions</summary>
#
# One picture of one seed cannot say. Over the sixteen runs below, the expert that wins in the end was seldom
# ahead at step 0, and mostly ahead at step 100: the race is decided on the way, not at the start.
#
# </details>

# %% [markdown]
# One picture of one seed. To compare many runs we need numbers, and there are several in use. First the
# load itself.

# %% [markdown]
# {{puzzle 04.p_present}}


# %% puzzle="04.p_present"
@puzzle("04.p_present")
def mean_of_present(x_ND, present_N):
    ### BEGIN SOLUTION
    return x_ND[present_N].mean(dim=0)
    ### END SOLUTION


# %% [markdown]
# {{puzzle 04.p_takings}}


# %% puzzle="04.p_takings"
@puzzle("04.p_takings")
def takings(spent_N, shop_N, n_shops):
    ### BEGIN SOLUTION
    return torch.bincount(shop_N, weights=spent_N, minlength=n_shops)
    ### END SOLUTION


# %% [markdown]
# {{exercise 04.load_shares}}


# %% answer="04.load_shares"
def load_shares(topk_ids_TK: torch.Tensor, n_experts: int, mask_T: torch.Tensor) -> torch.Tensor:
    """Each expert's share [E] of the routed rows.

    topk_ids_TK: [T, K] chosen experts. n_experts: E. mask_T: [T] False for padding.
    """
    ### BEGIN SOLUTION
    ids_S = topk_ids_TK[mask_T].flatten()
    counts_E = torch.bincount(ids_S, minlength=n_experts)
    return counts_E / counts_E.sum()
    ### END SOLUTION


# %%
check("04.load_shares")

# %% [markdown]
# ## How many experts is that?
#
# Eight shares are seven numbers too many. The **entropy** of the load, $H = -\sum_e s_e \ln s_e$, is one:
# 0 when one expert has everything, $\ln E$ when all share alike. Its exponential is easier to read. It counts
# experts: if n of them share everything evenly, $e^H = n$. We call it the **effective experts**.
#
# There is a second way to count. The **coefficient of variation**, CV, is the standard deviation of the
# loads over their mean. From it comes $E / (1 + \text{CV}^2)$, which is also $1 / \sum_e s_e^2$. It says n
# too when n share evenly. In between the two differ, because squares give more weight to the fullest.

# %%
from moe_lessons.metrics import coefficient_of_variation, entropy

examples = {
    "all alike": [10, 10, 10, 10],
    "two alike, two idle": [20, 20, 0, 0],
    "one ahead": [25, 5, 5, 5],
    "one alone": [40, 0, 0, 0],
}
print(f"{'load':<22}{'exp(H)':>8}{'E/(1+CV²)':>12}")
for name, counts in examples.items():
    counts_E = torch.tensor(counts)
    by_cv = len(counts) / (1 + coefficient_of_variation(counts_E) ** 2)
    print(f"{name:<22}{entropy(counts_E).exp():>8.2f}{by_cv:>12.2f}")

# %% [markdown]
# Papers say "effective number of experts" and mean either. Whoever quotes one should say which; in this
# course it is exp(H) unless something else is said.

# %% [markdown]
# {{exercise 04.effective_experts}}


# %% answer="04.effective_experts"
def effective_experts(counts_LE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two effective numbers of every layer, [L] each: exp(entropy) and E / (1 + CV²).

    counts_LE: [L, E] routed rows of each expert in each layer.
    """
    ### BEGIN SOLUTION
    shares_LE = counts_LE / counts_LE.sum(dim=-1, keepdim=True)
    from_entropy_L = torch.special.entr(shares_LE).sum(dim=-1).exp()
    load_LE = counts_LE.float()
    cv_L = load_LE.std(dim=-1, correction=0) / load_LE.mean(dim=-1)
    return from_entropy_L, counts_LE.shape[-1] / (1 + cv_L**2)
    ### END SOLUTION


# %%
check("04.effective_experts")

# %% [markdown]
# **Change this.** One of 64 experts gets half of all rows, and the other 63 share the rest evenly. Before you
# run the cell: what will the two numbers say? Then: how large may that one share become until the second
# number says 2, and what does the first say there?

# %% change=true
# Change these and run the cell again.
n_experts = 64
largest_share = 0.5

both_numbers = yours("04.effective_experts")
others = 1000  # rows of each of the other experts
largest = round(largest_share / (1 - largest_share) * (n_experts - 1) * others)
by_entropy, by_cv = both_numbers(torch.tensor([[largest] + (n_experts - 1) * [others]]))
print(f"one expert has {largest_share:.0%} of the rows, {n_experts - 1} others share the rest")
print(f"exp(H) = {by_entropy.item():.1f}   E / (1 + CV²) = {by_cv.item():.1f}")

# %% [markdown] only="solutions"
# 15.9 and 3.9, for one and the same layer. The entropy sees that 63 experts are still in use; the squares see
# little but the full one. From a share of about 0.7 on the second number says 2 (2.0 at 0.7), where the first
# says 6.4. With 256 experts and a share of a half it is 31.9 against 4.0: the second does not even notice
# that there are four times as many. A paper that reports one of them has not told you the other.

# %% only="solutions"
rerun("largest_share = 0.7", "n_experts = 256")

# %% [markdown]
# Both numbers say how many experts there are. Three others are used as alarms: the CV itself; **MaxVio**, by
# what fraction of the mean the fullest expert exceeds the mean (on a cluster everybody waits for that one);
# and the number of **dead** experts, those that got nothing at all.

# %% [markdown]
# {{exercise 04.imbalance}}


# %% answer="04.imbalance"
def imbalance(counts_LE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coefficient of variation, MaxVio and number of dead experts of every layer, [L] each.

    counts_LE: [L, E] routed rows of each expert in each layer.
    """
    ### BEGIN SOLUTION
    load_LE = counts_LE.float()
    mean_L = load_LE.mean(dim=-1)
    cv_L = load_LE.std(dim=-1, correction=0) / mean_L
    max_violation_L = load_LE.amax(dim=-1) / mean_L - 1
    return cv_L, max_violation_L, (counts_LE == 0).sum(dim=-1)
    ### END SOLUTION


# %%
check("04.imbalance")

# %% [markdown]
# ## Sixteen races
#
# The run above was one of sixteen. In the median they began with 6.7 effective experts. Before you look at
# the others: how do they end?

# %% tags=["nbval-ignore-output"] why="widget"
from moe_lessons.explore import Collapse

explorable = Collapse(ask=False)
predict("04.race", unlocks=explorable)

# %%
from moe_lessons import metrics


def rows_of(shares_NSE):
    """How many rows [S, E] each expert got in these steps of a toy run, whole numbers."""
    # As if 256 tokens had 4 experts each in every step: whole numbers at K = 1, 2 and 4, and the scale is no
    # matter for what we compute from them.
    return (1024 * shares_NSE.sum(dim=0)).round().long()


both_numbers = yours("04.effective_experts")
start_S, start_by_cv_S = both_numbers(rows_of(race.shares_NSE[:1]))  # a seed is what a layer was
end_S, end_by_cv_S = both_numbers(rows_of(race.shares_NSE[-20:]))
alone = int((end_S < 1.01).sum())
print(f"median effective experts: {start_S.median():.0f} at step 0, {end_S.median():.0f} at the end")
by_cv = f"{start_by_cv_S.median():.0f} at step 0, {end_by_cv_S.median():.0f} at the end"
print(f"by E / (1 + CV²):         {by_cv}")
print("runs that end lower than they began:", at_least(15, int((end_S < start_S).sum())), "of 16")
print("runs with a single expert left:", "fewer than 4" if alone < 4 else alone)
winner_S = late(race).argmax(dim=-1)
leads = {step: int((race.shares_NSE[step].argmax(dim=-1) == winner_S).sum()) for step in (0, 100)}
print("the expert that wins was ahead at step 100 in", at_least(10, leads[100]), "of 16 runs,", end=" ")
print("at step 0 in", "7 or fewer" if leads[0] <= 7 else leads[0])

# %%
reveal("04.race")

# %% [markdown]
# The explorable holds these runs and 23 other settings of the same model, precomputed. Drag the step, then
# change one thing: `mu`, K, the initial router, the seed. Look for a setting that does *not* collapse, and
# for one that is uneven before anything is trained.

# %% tags=["nbval-ignore-output"] why="widget"
explorable

# %% [markdown]
# Now some of those settings live, and two more. Every dot below is a training run of its own. Within a row
# only the seed differs, from row to row only what the row's name says. (144 runs: about ten seconds, on a
# slow machine a minute.)

# %%
SETTINGS = {
    "mu=0, K=1": (Toy(even_start=True), TopK(1)),
    "mu=0, K=2": (Toy(even_start=True), TopK(2, renormalize=True)),
    "mu=2, K=1": (Toy(mu=2.0, even_start=True), TopK(1)),
    "mu=4, K=1": None,  # the race above
    "mu=4, K=2": (COMMON, TopK(2, renormalize=True)),
    "mu=4, K=2, sigmoid gate": (COMMON, TopK(2, score="sigmoid", renormalize=True)),
    "mu=4, K=4": (COMMON, TopK(4, renormalize=True)),
    "mu=4, K=1, router x 0.01": (Toy(mu=4.0, even_start=True, router_scale=0.01), TopK(1)),
    "mu=4, K=1, router as drawn": (Toy(mu=4.0), TopK(1)),
}
runs = {name: ToyRun(*made) if made else race for name, made in SETTINGS.items()}
advance_all([run for run in runs.values() if run is not race], STEPS)
began = {name: metrics.effective_experts(run.shares_NSE[0]) for name, run in runs.items()}
ended = {name: metrics.effective_experts(late(run)) for name, run in runs.items()}
idle = {name: metrics.dead_experts(late(run)) for name, run in runs.items()}

# %% draw=true tags=["nbval-ignore-output"] why="image"
dot_rows(
    {name: values.tolist() for name, values in ended.items()},
    title="Collapse is a tendency: it depends on data, K, gate and initial router",
    x_label="effective experts of 8 at step 200, exp(H)",
    marks={name: float(values.quantile(0.5)) for name, values in began.items()},
    mark_label="median at step 0",
    x_range=(1, 8),
    caption="16 runs in each row. Where did training lower the number, and where did it raise it?",
)

# %% [markdown]
# <details><summary>The caption's questions</summary>
#
# Compare dots and marks. Training raised it for `mu=0, K=2` and in the last row, where the router as drawn
# had begun with very few; it lowered it most for the tiny initial router.
#
# </details>

# %%
middle = {name: float(values.quantile(0.5)) for name, values in ended.items()}
at_start = {name: float(values.quantile(0.5)) for name, values in began.items()}
evens_out = middle["mu=0, K=2"] > at_start["mu=0, K=2"] and int(idle["mu=0, K=2"].max()) == 0
evened = middle["mu=0, K=2"] - at_start["mu=0, K=2"]
print(f"mu=0, K=2: dead experts in 16 runs: {int(idle['mu=0, K=2'].sum())}")
measured("  effective experts gained since the start", evened, above=0, then="it evens out by itself")
by_mu = [middle[f"mu={mu}, K=1"] for mu in (0, 2, 4)]
lost = [by_mu[0] - by_mu[1], by_mu[1] - by_mu[2]]
measured("experts in use lost from mu=0 to 2, and from 2 to 4", lost, above=0, then="more in common, fewer")
tiny, plain = middle["mu=4, K=1, router x 0.01"], middle["mu=4, K=1"]
print(f"effective experts at mu=4, K=1: {plain:.0f}; with a tiny initial router: {tiny:.0f}")
spread = float(ended["mu=4, K=1"].max() - ended["mu=4, K=1"].min())
measured("the seeds alone make a difference of", spread, above=1, unit="experts")
k1, k2, k4 = ((middle[f"mu=4, K={k}"] - k) / (8 - k) for k in (1, 2, 4))
print("in use, of those that could fall idle")
measured("  K=2 against K=1", k2 - k1, above=0, unit="%", then="more in use")
measured("  K=4 against K=2", k4 - k2, above=0, unit="%", then="more in use")

# %% [markdown]
# A word on the last line. With K experts per token no expert's share of the rows exceeds 1/K, so exp(H)
# cannot fall below K: part of "more per token, more in use" is arithmetic. Counted as (n - K) / (E - K), the
# part of what could be lost that is left, it still holds. The rows differ in one more thing: at K = 1 the
# weight is the probability itself, at K = 2 and 4 the weights are rescaled to sum to 1.

# %% [markdown]
# And the alarms? Would they have rung? The same nine rows, read by `04.imbalance`.

# %% tags=["nbval-ignore-output"] why="trained"
alarms = yours("04.imbalance")
print(f"medians of 16 runs, last 20 steps, by {alarms.label}")
print(f"{'':<28}{'CV':>6}{'MaxVio':>9}{'dead of 8':>12}")
for name, run in runs.items():
    cv_S, violation_S, dead_S = (x.double().quantile(0.5) for x in alarms(rows_of(run.shares_NSE[-20:])))
    print(f"{name:<28}{cv_S:>6.2f}{violation_S:>9.2f}{dead_S:>12.0f}")

# %% [markdown]
# Read as waiting time: at `mu=4, K=1` the fullest expert has more than four times the mean, and a cluster
# waits for it, while about half of the experts have nothing to do. Careful across K, though. No expert can
# get more than every token, so MaxVio is at most E/K − 1, that is 7, 3 and 1 for K = 1, 2 and 4. Against that
# ceiling the order turns round: the fullest expert has come about half of the way at K = 1, and about four
# fifths at K = 4.

# %%
claim("L70", "wrong", holds=evens_out and middle["mu=4, K=1"] < 4 and spread > 1)

# %% [markdown]
# So it is no law, and the same code with other data does the opposite.

# %% [markdown]
# **Change this.** A small learning rate is the first thing that one tries. Does it *prevent* the collapse at
# `mu` = 4, or only delay it? Try 1e-3, then 1e-3 with 600 steps, and 3e-4; look at the error, too.

# %% change=true tags=["nbval-ignore-output"] why="trained"
# Change these and run the cell again.
learning_rate = 3e-3
n_steps = 200

slow = ToyRun(Toy(mu=4.0, even_start=True, n_seeds=8, learning_rate=learning_rate), TopK(1)).advance(n_steps)
began_S = metrics.effective_experts(slow.shares_NSE[0])
slow_S = metrics.effective_experts(late(slow))
print(
    f"median effective experts of 8 runs: {began_S.median():.1f} at step 0, {slow_S.median():.1f} at the",
    end="",
)
print(f" end; error there {slow.error_NS[-20:].mean():.2f}")

# %% [markdown] only="solutions"
# It delays it. With 1e-3 and 200 steps there are a few more experts left than with 3e-3 (3.2 against 2.7),
# but with three times as many steps as few (2.7), at about the same error (0.42 against 0.47). At 3e-4 five
# of six are still there after 200 steps, because nothing has been learned yet: the error is 2.1. Learning and
# collapse go together here.

# %% only="solutions" tags=["nbval-ignore-output"] why="trained"
rerun("learning_rate = 1e-3", "learning_rate = 1e-3; n_steps = 600", "learning_rate = 3e-4")

# %% [markdown]
# ### A trap in the last row
#
# In the last row the router is drawn as routers usually are, and the runs *begin* with about 1.7 effective
# experts. No step has been taken. Why?
#
# A token is $x = c + m$, a part of its own and the common part. Its logits are $c^\top W + m^\top W$, and the
# second term is the same for all tokens: a bias per expert that nobody asked for. If $m$ is long, the expert
# with the largest bias gets nearly everything, from the start. Training here spreads the load *a little*.
#
# Whoever looks at the end only would call this collapse by training. That is why the other rows start with
# `even_start`: the initial router is made blind to the common part, $m^\top W = 0$, and every `mu` begins
# with the same load. What is lost after that, training has lost.

# %%
drawn = "mu=4, K=1, router as drawn"
measured("router as drawn: effective experts at step 0", at_start[drawn], below=2.5, then="few")
measured("  more at the end by", middle[drawn] - at_start[drawn], above=0)
blind = ToyRun(COMMON, TopK(1))
seen = torch.einsum("sd,sde->se", blind.world.shared_SD, blind.router_SDE).abs().max()
measured("even start: largest logit that the common part gives", seen, below=1e-4, then="it is not seen")

# %% [markdown]
# ## Why it feeds on itself
#
# Take K = 1. The output is $\hat y = p_c\, f_c(x)$, where c is the chosen expert and $p$ the softmax of the
# logits $z$. With $g$ the gradient of the loss with respect to $\hat y$,
#
# $$\frac{\partial L}{\partial z_j} = (g \cdot f_c(x))\; p_c\,(\delta_{jc} - p_j).$$
#
# Everything hangs on one number, $g \cdot f_c(x)$. If it is negative, more of this expert would lower the
# loss: its logit rises and all others fall. If it is positive, its logit falls and all others rise. The
# experts that were not chosen are not asked. They move by what c did.
#
# That gives a loop. A chosen expert learns, so it gets better at its tokens; so its logit rises for them;
# and where tokens look alike, it rises for all of them; so it is chosen more. And what of an expert that has
# not learned anything yet? We record the push on the chosen logit, summed over the tokens of a step.


# %%
class Watched(TopK):
    """Top-k that keeps each step's logits and choice, so that we can read the gradient afterwards."""

    def __call__(self, logits_STE, batch):
        logits_STE.retain_grad()
        self.decision = super().__call__(logits_STE, batch)
        return self.decision


rule = Watched(1)
watched = ToyRun(COMMON, rule)
push_NS = []
for _ in each(range(120), "step"):
    watched.advance(1)
    down_STE = rule.decision.logits_STE.grad * rule.decision.chosen_STE
    push_NS.append(-down_STE.sum(dim=(1, 2)))  # the step goes against the gradient
push_NS = torch.stack(push_NS)
print(f"step 0: the chosen logit is pushed down in {int((push_NS[0] < 0).sum())} of 16 runs")
late_push = (push_NS[-20:].mean(dim=0) > 0).sum()
measured("steps 100 to 120: it is pushed up in", late_push, of=16, at_least=14, unit="runs")

# %% draw=true tags=["nbval-ignore-output"] why="image"
from statistics import median

line_chart(
    {
        "lowest run": (list(range(120)), push_NS.amin(dim=1).tolist()),
        "median": (list(range(120)), [median(row) for row in push_NS.tolist()]),
        "highest run": (list(range(120)), push_NS.amax(dim=1).tolist()),
    },
    title="First the chosen are pushed away, then held on to",
    x_label="step",
    y_label="push on the chosen logits, summed over a step's tokens",
    references={"no push": 0},
    y_range=(-1, 0.4),
    caption="Below 0: being chosen makes an expert less likely to be chosen. The axis is cut: in step 0 the "
    f"median is {median(push_NS[0].tolist()):.1f}.",
)

# %% [markdown]
# At first the rich get *poorer*. An untrained expert's output is noise; less of it is better, so whoever is
# chosen is pushed away, and the load evens out a little. (Look at the first ten steps in the explorable: most
# curves rise.) Then the experts begin to be of use, the sign turns, and the loop closes.
#
# Is it really the loop, and not something else that goes on at the same time? An experiment can tell. We
# give one expert a head start, without touching the router.

# %% tags=["nbval-ignore-output"] why="widget"
predict("04.head_start")


# %%
class HeadStart(TopK):
    """For some steps all tokens train expert 0 and the router rests; then top-1 as ever."""

    def __init__(self, steps):
        super().__init__(1)
        self.left = steps

    def __call__(self, logits_STE, batch):
        decision = super().__call__(logits_STE, batch)
        if self.left <= 0:
            return decision
        # The weight that the token's own choice would have had, and no gradient for the router.
        weights_STE = torch.zeros_like(logits_STE)
        weights_STE[..., 0] = decision.weights_STE.detach().amax(dim=-1)
        return Decision(logits_STE, weights_STE > 0, weights_STE)

    def after_step(self, decision):
        self.left -= 1


favoured = ToyRun(COMMON, HeadStart(100)).advance(100 + 150)
share_0 = {"none": race.shares_NSE[130:150, :, 0].mean(0), "head start": late(favoured)[:, 0]}
released_S = favoured.shares_NSE[100, :, 0]
wins = {"none": race.shares_NSE[130:150].mean(0), "head start": late(favoured)}
wins = {name: int((shares.argmax(dim=-1) == 0).sum()) for name, shares in wins.items()}
median = {name: float(shares.quantile(0.5)) for name, shares in share_0.items()}
print("expert 0's share of the tokens")
measured("  right after the head start, by the untouched router", released_S.mean(), below=0.2, unit="%")
measured("  150 steps later, median", median["head start"], above=0.25, unit="%")
measured("  without a head start, median", median["none"], below=0.2, unit="%")
measured("it has most tokens, without a head start, in", wins["none"], of=16, at_most=3, unit="runs")
measured("  with one", wins["head start"], of=16, at_least=6, unit="runs")

# %%
reveal("04.head_start")

# %%
claim(
    "L67",
    "correct",
    holds=bool(share_0["head start"].mean() > 2 * share_0["none"].mean()) and wins["head start"] >= 6,
)

# %% draw=true tags=["nbval-ignore-output"] why="image"
dot_rows(
    {
        "without, at step 150": (100 * share_0["none"]).tolist(),
        "with, when it ends": (100 * released_S).tolist(),
        "with, 150 steps later": (100 * share_0["head start"]).tolist(),
    },
    title=f"With a head start expert 0 wins {wins['head start']} of 16 races instead of {wins['none']}",
    x_label="share of expert 0 (%)",
    value_format="{:.0f}",
    x_range=(0, 100),
    caption="The router was not touched during the head start. Which other experts could pay for this?",
)

# %% [markdown]
# <details><summary>The caption's question</summary>
#
# Those that would have won without it: there is one load to share, and what expert 0 has gained the others
# have lost.
#
# </details>

# %% [markdown]
# Shazeer and colleagues described the loop in [2017](https://arxiv.org/abs/1701.06538) and called it
# self-reinforcing. Note what it needs: experts that differ in how far they are, *and* tokens so alike that
# what is learned for one holds for the next. With `mu` = 0 the second is missing.
#
# ## A real language model
#
# A toy shows what can happen. Does it, on text? We take the model of lesson 10, smaller: two layers, eight
# experts, K = 1 with the probability as weight (as in Switch), bytes of Python's language reference. K = 1 is
# a choice made on purpose; K = 2 comes after it.

# %% tags=["nbval-ignore-output"] why="widget"
predict("04.language")

# %% [markdown]
# Two runs, live, from the same initial weights on the same batches: one without any balancing, one with the
# load-balancing loss of lesson 05. The settings come out of the result file that we look at afterwards, only
# with fewer steps. It takes about ten seconds, on a slow machine a minute.

# %% tags=["nbval-ignore-output"] why="trained"
from moe_lessons.config import TrainConfig
from moe_lessons.data import load_corpus
from moe_lessons.explore import LiveView
from moe_lessons.training.report import load_report
from moe_lessons.training import train

report = load_report("collapse")
base = TrainConfig.from_dict(report["config"]).override(steps=200, log_every=10)
LIVE = {"none": base, "loss": base.override(balancing="aux_loss", alpha=0.01)}
histories = {name: [] for name in LIVE}


def draw_live(title="Effective experts of each layer, so far"):
    series = {
        f"{name}, layer {n}": (
            [r.step for r in records],
            [r.effective_experts_by_layer[n] for r in records],
        )
        for name, records in histories.items()
        for n in range(base.model.n_layers)
        if records
    }
    return line_chart(
        series or {"none": ([0], [8])},
        title=title,
        x_label="step",
        y_label="effective experts of 8, exp(H), mean of ten steps",
        x_range=(0, base.steps),
        y_range=(1, 8),
    )


picture, trained = LiveView(), {}
for name, config in LIVE.items():

    def watch(record, name=name):
        histories[name].append(record)
        picture.update(draw_live)

    trained[name] = train(config, on_step=watch)
picture.finish(draw_live("Without balancing the first layer falls to little more than one expert"))
for name, result in trained.items():
    bits = result.validation_bits_per_byte
    print(f"{name:<6}{result.seconds:>4.0f} s, held-out bits per byte after {base.steps} steps: {bits:.3f}")

# %%
used = {
    name: metrics.effective_experts(torch.tensor([r.load_shares_by_layer for r in records[-10:]]).mean(0))
    for name, records in histories.items()
}
first, tenth = (histories["none"][i].effective_experts_by_layer[0] for i in (0, 9))
print("effective experts of 8")
measured("  without: layer 0", used["none"][0], below=3)
measured("  without: layer 1 has more, by", used["none"][1] - used["none"][0], above=1)
measured("  with the loss: both layers", used["loss"], above=6.5)
measured("  without: layer 0 in steps 1 to 10", first, above=4)
measured("  and in steps 91 to 100", tenth, below=3, then="so early it falls")

# %%
reveal("04.language")

# %% draw=true tags=["nbval-ignore-output"] why="image"
steps_shown = (10, 20, 30, 50, 100, 150, 200)
heat_map(
    [[100 * s for s in histories["none"][step // 10 - 1].load_shares_by_layer[0]] for step in steps_shown],
    rows=[f"step {step}" for step in steps_shown],
    title="Layer 0 without balancing: within some dozen steps one expert has nearly everything",
    row_label="when",
    column_label="expert of layer 0",
    unit="% of the layer's routed rows, mean of ten steps",
    value_format="{:.0f}",
    highest=100,
)

# %% [markdown]
# ### Do real tokens have so much in common?
#
# The toy collapsed where `mu` was large, and `mu` was made up. What is it in this model? We take what its
# routers read, and ask how much of it all tokens share: the squared length of the mean over the mean squared
# length. 0 is nothing in common, 1 is everything. The first 60 steps again, stopped every 5.

# %%
from moe_lessons.training.run import Run


def in_common(hidden_TD):
    return float(hidden_TD.mean(0).square().sum() / hidden_TD.square().sum(-1).mean())


corpus = load_corpus(base.corpus)
some_text_BL = corpus.validation_M[: 64 * 64].view(64, 64)
again = Run(base, corpus, torch.device("cpu"))
read = {}
for n, block in enumerate(again.model.blocks):
    block.moe_norm.register_forward_hook(lambda _, __, output, n=n: read.update({n: output.flatten(0, 1)}))
common_LP = [[], []]
for step in each(range(61), "step"):
    if step % 5 == 0:
        with torch.no_grad():
            again.model(some_text_BL)
        for n, hidden_TD in read.items():
            common_LP[n].append(in_common(hidden_TD))
    again.advance()

in_toy = {}
for mu in (0, 1, 2, 4):
    toy = ToyRun(Toy(mu=float(mu)), TopK(1))
    in_toy[mu] = in_common(toy.world.batch(4096, toy.generator).inputs_STD[0])
fell = [line[4] - line[12] for line in common_LP]
print("in common to all tokens, as a share of their size")
measured("  layer 0 at step 0, less than the toy at mu=2 by", in_toy[2] - common_LP[0][0], above=0, unit="%")
measured("  the two layers at step 20", [line[4] for line in common_LP], above=2 / 3, unit="%")
measured("  lost again by step 60", fell, above=0, unit="%")

# %% draw=true tags=["nbval-ignore-output"] why="image"
line_chart(
    {f"layer {n}": (list(range(0, 61, 5)), line) for n, line in enumerate(common_LP)},
    title="For some dozen steps the tokens of a real model are nearly all alike",
    x_label="step",
    y_label="what all tokens share of what the router reads (0 to 1)",
    references={f"toy, mu={mu}": value for mu, value in in_toy.items()},
    y_range=(0, 1),
    caption="When did layer 0 collapse in the picture before?",
)

# %% [markdown]
# <details><summary>The caption's question</summary>
#
# Between steps 10 and 50, while these lines are at their highest.
#
# </details>

# %% [markdown]
# The first thing that a language model learns is how often each byte occurs, whatever the context. For that
# it moves all its hidden states in one direction. Just then the tokens look alike, about as much as at
# `mu` = 4 or more, and just then layer 0 loses its experts. Later the tokens have less in common again; layer
# 1 recovers from its dip, layer 0 does not. That the two happen together is measured; that one causes the
# other here is our reading, from the toy.
#
# ### Longer, with five seeds, and with other remedies
#
# `python benchmarks/collapse.py` trains the same model for longer, with nine methods and five seeds each. Its
# result comes with the course; nothing below is trained now.

# %%
methods = report["methods"]


def of(name, key):
    return torch.tensor([run[key] for run in methods[name]["runs"]])


print(
    f"{report['config']['steps']} steps, {report['seeds']} seeds, {report['device']}, torch {report['torch']}"
)
print(f"\n{'':<22}{'effective experts, mean':^26}{'dead':^8}{'bits per byte':^16}")
print(f"{'method':<22}{'layer 0':^13}{'layer 1':^13}{'mean':^8}{'mean':^16}")
for name in methods:
    layer_0, layer_1 = of(name, "late_effective_experts_by_layer").mean(dim=0).tolist()
    dead = of(name, "late_dead_experts_by_layer").sum(dim=1).float().mean()
    bits = of(name, "validation_bits_per_byte").mean()
    print(f"{name:<22}{layer_0:^13.1f}{layer_1:^13.1f}{dead:^8.1f}{bits:^16.3f}")

# %% [markdown]
# Read it by rows.
#
# - **none**: layer 0 collapses in each of the five seeds, layer 1 goes half way in each. A smaller initial
#   router takes layer 1 along.
# - **none, top-2**: no collapse. Two experts per token, so also more computation: its bits per byte cannot
#   be compared with the others'.
# - **z-loss**: keeps logits small. It is often listed among the balancing losses; it balances nothing here.
# - **aux loss**: 0.001 is too weak, 0.01 is enough, 0.1 is as even as can be and costs a little.
# - **bias**: a number per expert, added for the choice only and moved by a sign rule. Lesson 06.

# %%
none_0, none_1 = of("none", "late_effective_experts_by_layer").T
remedies = ("aux loss 0.01", "aux loss 0.1", "bias, sign 0.001", "bias, sign 0.01")
worst = min(float(of(name, "late_effective_experts_by_layer").min()) for name in remedies)
z_loss_0 = of("z-loss 0.001", "late_effective_experts_by_layer")[:, 0]
print(f"loss and bias: the emptiest layer of all runs uses {worst:.1f} of 8")

zoo = {row["name"]: row["max_violation"][0] for row in load_report("routing_zoo")["rows"]}
print("lesson 06's toy, MaxVio:", end=" ")
print(", ".join(f"{name} {zoo[name]:.2f}" for name in ("none, softmax", "noisy top-k", "expert choice")))
claim(
    "L68",
    "imprecise",
    holds=worst > 7
    and float(none_0.max()) < 2
    and float(z_loss_0.max()) < 2
    and zoo["expert choice"] == 0
    and zoo["noisy top-k"] > 0.9 * zoo["none, softmax"],
)

# %% [markdown]
# Of the four remedies that are usually named, three balance. Noise is the fourth, and in the toy of lesson 06
# it leaves the load as uneven as it was.
#
# "One or two experts capture all tokens", explainers write. In layer 0, yes. In layer 1, no. In the
# literature, both: OLMoE ([figure 10](https://arxiv.org/abs/2409.02060), 8 experts) saw everything go to one
# expert and some of it later to a second. Shazeer et al. had 256 experts and no loss, and their table 6
# reports a CV of the load of 3.01. What is that in experts?

# %%
shazeer_experts, shazeer_cv = 256, 3.01  # arXiv 1701.06538, table 6, first row
left = shazeer_experts / (1 + shazeer_cv**2)
print(f"E / (1 + CV²) = {left:.1f} effective experts of {shazeer_experts}")

# %%
claim("L69", "contested", holds=float(none_0.max()) < 2 < float(none_1.min()) and 20 < left < 30)

# %% [markdown]
# ## What does it cost?
#
# Less than one might think. Shazeer's model without a loss had a perplexity of 39.8, with any of the losses
# 35.6 or 35.7 (table 6; lower is better). The same paper's model with just 32 experts reaches 39.7 (table 7):
# the one with 25 effective experts was worth about what 25 experts are worth. It was still far ahead of the
# dense models, at 45 and more.
#
# In our language model, seed by seed, against the same model with the loss:

# %%
costs_B = of("none", "validation_bits_per_byte") - of("aux loss 0.01", "validation_bits_per_byte")
print("bits per byte lost, by seed:", [f"{cost:.3f}" for cost in costs_B.tolist()])
print(f"mean {costs_B.mean():.3f} of about {of('none', 'validation_bits_per_byte').mean():.2f}")

# %%
claim(
    "L74",
    "imprecise",
    holds=float(none_0.max()) < 2 and 0 < float(costs_B.min()) <= float(costs_B.max()) < 0.2,
)

# %% [markdown]
# Each seed loses something, and none fails. The two live runs above were of 200 steps with one seed; what
# they print says nothing about the difference, either way.
#
# The toy says when collapse is dear. We train four settings with the loss (weight 0.3) and compare the errors
# seed by seed, sixteen seeds each.

# %%
alone = {"mu=0": "mu=0, K=1", "mu=2": "mu=2, K=1", "mu=4": "mu=4, K=1", "mu=4, router x 0.01": None}
alone["mu=4, router x 0.01"] = "mu=4, K=1, router x 0.01"
balanced = {
    name: ToyRun(SETTINGS[key][0] if SETTINGS[key] else COMMON, TopK(1), loss=load_balancing, alpha=0.3)
    for name, key in alone.items()
}
advance_all(balanced.values(), STEPS)
extra = {}
for name, run in balanced.items():
    error_S = run.error_NS[-20:].mean(dim=0)
    extra[name] = runs[alone[name]].error_NS[-20:].mean(dim=0) / error_S - 1
medians = {name: float(values.quantile(0.5)) for name, values in extra.items()}
print("what balancing gains, median of 16 runs")
measured("  mu=0", medians["mu=0"], below=0.05, unit="%", then="next to nothing")
measured("  mu=4", medians["mu=4"], above=0, below=0.3, unit="%")
measured("  deepest collapse (router x 0.01)", medians["mu=4, router x 0.01"], above=0.2, unit="%")

# %% tags=["nbval-ignore-output"] why="trained"
for name, values in extra.items():
    gains = int((values > 0).sum())
    print(f"{name:<22} median {100 * medians[name]:+.0f} %, balancing lowers the error in {gains} of 16")
worlds = [Toy(mu=4.0, even_start=True, seed=seed) for seed in (1, 2)]
without = [ToyRun(world, TopK(1)) for world in worlds]
with_it = [ToyRun(world, TopK(1), loss=load_balancing, alpha=0.3) for world in worlds]
advance_all(without + with_it, STEPS)
other_worlds = [
    float((one.error_NS[-20:].mean(dim=0) / other.error_NS[-20:].mean(dim=0) - 1).quantile(0.5))
    for one, other in zip(without, with_it, strict=True)
]
print("mu=4 in two other worlds:", ", ".join(f"{100 * x:+.0f} %" for x in other_worlds))

# %% draw=true tags=["nbval-ignore-output"] why="image"
dot_rows(
    {name: (100 * values).tolist() for name, values in extra.items()},
    title="Dear where the collapse is deepest, cheap or free elsewhere",
    x_label="error without balancing, compared with the same seed with it (% more)",
    value_format="{:+.0f}",
    caption="Left of 0 the balanced run is worse. Why might an even load be the wrong one for some data?",
)

# %% [markdown]
# <details><summary>The caption's question</summary>
#
# Sixteen clusters and eight experts: some clusters may be harder, or go together better than others. An even
# load says that all experts shall have equally many *tokens*, which is not what makes the error small.
#
# </details>

# %% [markdown]
# At `mu` = 4 with the usual router the gain is small and varies from world to world. Only the deepest
# collapse is dear beyond doubt. Where the load was nearly even anyway, the loss costs as much as it brings.
# An even load is not the aim; a low error is. Balance also pays in another currency, time on many devices
# (lessons 07 and 08).
#
# ## Reading a log
#
# Your training job writes the load shares of every layer. Before you change anything: what is it that you
# see? Five diagnoses, and each asks for something else.
#
# - **Collapsed**: the last quarter, averaged, uses fewer than half of the experts. It needs a remedy, and
#   perhaps revival.
# - **Oscillating**: averaged it is even, but each row is not: the experts take turns. The router or its bias
#   takes too large steps.
# - **Collapsing**: fewer effective experts in every quarter, by one or more in all. Act now.
# - **Dead expert**: one got nothing for a quarter of the run, the rest is fine. Revive it.
# - **Healthy**: none of these. A bad beginning or a single bad batch is no illness.

# %% [markdown]
# {{exercise 04.diagnose}}


# %% answer="04.diagnose"
def diagnose(shares_NE: torch.Tensor) -> str:
    """What is the matter with this run?

    shares_NE: [N, E] load shares, a row per logging interval; N is a multiple of 4.
    Returns the first that applies: "collapsed", "oscillating", "collapsing", "dead expert", "healthy".
    """

    ### BEGIN SOLUTION
    def n(shares):
        return torch.special.entr(shares).sum(dim=-1).exp()

    quarters = shares_NE.chunk(4)
    last = quarters[3]
    n_1, n_2, n_3, n_4 = (n(quarter.mean(dim=0)) for quarter in quarters)
    if n_4 < shares_NE.shape[1] / 2:
        return "collapsed"
    if n(last).mean() < shares_NE.shape[1] / 2:
        return "oscillating"
    if n_1 > n_2 > n_3 > n_4 and n_1 - n_4 >= 1:
        return "collapsing"
    if (last == 0).all(dim=0).any():
        return "dead expert"
    return "healthy"
    ### END SOLUTION


# %%
check("04.diagnose")

# %% [markdown]
# Now logs of real runs. The result file of `benchmarks/collapse.py` keeps the load history of each method's
# first seed, 30 rows of 20 steps each. N has to be a multiple of 4, so the first two rows stay out.

# %%
verdict = yours("04.diagnose")
said = {}
for name, method in methods.items():
    shares_NLE = torch.tensor(method["runs"][0]["load_shares_by_layer"])[2:]
    said[name] = [str(verdict(shares_NE)) for shares_NE in shares_NLE.unbind(dim=1)]
    print(f"{name:<22} layer 0: {said[name][0]:<14} layer 1: {said[name][1]}")

# %% [markdown]
# Two rows say more than the table of means did. Without balancing, layer 1 looked like a layer that has lost
# half of its experts and holds the rest: its history says that it is still going down. And with the loss at
# 0.001 an expert of layer 1 is dead. Or is it? The table counts no dead one there. The file keeps shares to
# three decimals: this expert gets fewer than one row in two thousand, and not none. A log that rounds cannot
# tell the starving from the dead.

# %% [markdown]
# **Change this.** How often must a job write its loads? Here the bias of lesson 06 moves by far too much in
# each step, so that the experts take turns. Four runs, one row for every `every` steps. From which interval
# on is the illness invisible? And is it there at all with a step of 0.3, or of 0.1?

# %% change=true tags=["nbval-ignore-output"] why="trained"
# Change these and run the cell again.
every = 1
bias_rate = 1.0

swinging = ToyRun(Toy(n_seeds=4, mu=2.0, even_start=True), SelectionBias(1, rate=bias_rate)).advance(120)
logged_NSE = swinging.shares_NSE.unflatten(0, (-1, every)).mean(dim=1)  # every must divide 120
logged_NSE = logged_NSE[len(logged_NSE) % 4 :]
print(f"{len(logged_NSE)} rows each:", ", ".join(str(verdict(run_NE)) for run_NE in logged_NSE.unbind(dim=1)))
print(f"effective experts of a row, mean: {metrics.effective_experts(logged_NSE).mean():.1f}")

# %% [markdown] only="solutions"
# With a row for every step all four are oscillating, with 3.2 effective experts in a row. With a row for
# every *two* steps all four are healthy (5.2), and with five steps more so (6.8): the mean over a swing is
# even. At a step of 0.3 one run of the four is on the wrong side of the line (4.5 on average), at 0.1 none
# (6.5). A log of means cannot show what happens within an interval. Write the fullest expert of *each* step
# beside the mean.

# %% only="solutions" tags=["nbval-ignore-output"] why="trained"
rerun("every = 2", "every = 5", "bias_rate = 0.3", "bias_rate = 0.1")

# %% [markdown]
# ## What becomes of a starved expert?
#
# An expert that no token chose took no part in the output. So the gradient of all its weights is zero; not
# small, zero. What happens to weights that get a zero, step after step?

# %% tags=["nbval-ignore-output"] why="widget"
predict("04.fate")

# %% [markdown]
# One weight, four optimizers. It starts at 1, gets a gradient for one step, then zeros for 2,000. And there
# is a second column: some codes do not hand the optimizer a zero but *nothing*, because the idle expert is a
# module of its own that was never called (`grad` is None).

# %%
LR, DECAY, ZERO_STEPS = 3e-3, 0.1, 2000
OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=LR),
    "SGD, momentum 0.9": lambda p: torch.optim.SGD(p, lr=LR, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=LR),
    "AdamW, decay 0.1": lambda p: torch.optim.AdamW(p, lr=LR, weight_decay=DECAY),
}


def fate(make, nothing):
    """Move one weight by one step of gradient, then starve it; where it was and where it ends."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = make([weight])
    weight.grad = torch.full_like(weight, 0.5)
    optimizer.step()
    before = weight.item()
    for _ in range(ZERO_STEPS):
        weight.grad = None if nothing else torch.zeros_like(weight)
        optimizer.step()
    return before, weight.item()


print(f"{'':<20}{'when it starved':>16}{'after zeros':>14}{'after nothing':>15}")
fates = {}
for name, make in OPTIMIZERS.items():
    before, after_zeros = fate(make, nothing=False)
    fates[name] = before, after_zeros, fate(make, nothing=True)[1]
    print(f"{name:<20}{before:>16.4f}{after_zeros:>14.4f}{fates[name][2]:>15.4f}")
predicted = (1 - LR * DECAY) ** ZERO_STEPS
print(f"\nby decay alone: (1 - {LR} * {DECAY}) ** {ZERO_STEPS} = {predicted:.3f}")
print(f"measured under AdamW: {fates['AdamW, decay 0.1'][1]:.3f}")

# %%
reveal("04.fate")

# %% [markdown]
# Three different fates, by optimizer and by a detail of the code: PyTorch's optimizers take a step with a
# gradient of zero and pass over a gradient of None (the documentation of `zero_grad` says so). Decay explains
# most of it; the rest is momentum, which goes on for some dozen steps after the last gradient.
#
# And in the toy, where the experts really starve? We train with AdamW and look at experts that had no token
# in 150 steps.

# %%
STARVED_STEPS, WD = 150, 0.4
decayed = ToyRun(
    COMMON, TopK(1), optimizer=lambda p: torch.optim.AdamW(p, lr=COMMON.learning_rate, weight_decay=WD)
).advance(150)
norm_SE = decayed.up_SDEF.detach().square().sum(dim=(1, 3)).sqrt()
decayed.advance(STARVED_STEPS)
starved_SE = (decayed.shares_NSE[100:] == 0).all(dim=0)  # 50 steps before we look: momentum has faded
shrunk = decayed.up_SDEF.detach().square().sum(dim=(1, 3)).sqrt() / norm_SE
expected = (1 - COMMON.learning_rate * WD) ** STARVED_STEPS
off = (shrunk[starved_SE] / expected - 1).abs().max()
largest_gradient = float(decayed.up_SDEF.grad.abs().amax(dim=(1, 3))[starved_SE].max())
exact_zero = largest_gradient == 0
measured("starved experts in 16 runs", int(starved_SE.sum()), at_least=16)
print(f"the largest entry of their gradients: {largest_gradient:g}")
measured(f"their weights shrink to {expected:.3f} of what they were, off by", off, below=0.01, unit="%")

# %% [markdown]
# **Change this.** A real run has a smaller learning rate and many more steps: 3e-4, a decay of 0.1, 100,000
# steps. An expert starves from the first step on. How much of its weights is left at the end? And if you
# halve the learning rate and double the decay?

# %% change=true
# Change these and run the cell again.
peak_rate = 3e-4
decay = 0.1
n_starved = 100_000

kept_a_step = 1 - peak_rate * decay
half_gone = math.log(0.5) / math.log(kept_a_step)
print(f"left after {n_starved:,} steps: {kept_a_step**n_starved:.1%}; half gone after {half_gone:,.0f}")

# %% [markdown] only="solutions"
# It is 5.0 %, and half is gone after 23,105 steps. Halving one number and doubling the other changes nothing:
# only their product counts. With a decay of 0.01 it is 74.1 %. (A schedule lowers the rate, so in a real run
# more is left: what counts is the sum of the rates.) Whoever revives an expert late revives a small one.

# %% only="solutions"
rerun("peak_rate = 1.5e-4; decay = 0.2", "decay = 0.01")

# %%
claim("L71", "correct", holds=exact_zero and bool(off < 0.01) and fates["AdamW, decay 0.1"][1] < 0.6)

# %%
frozen = fates["SGD"][0] == fates["SGD"][1] and fates["AdamW, decay 0.1"][0] == fates["AdamW, decay 0.1"][2]
claim("L72", "imprecise", holds=frozen and fates["AdamW, decay 0.1"][1] < 0.6)

# %% [markdown]
# So "drift" is the wrong word: nothing pushes them anywhere new. As for resetting dead experts in
# production, we know of no published account.
#
# One part of a dead expert may still move: its **router row**. Does it get a gradient? Four tokens, expert 3
# chosen by none of them, two of the gates from lesson 01:

# %%
from moe_lessons.routing import softmax_topk, topk_softmax

logits = torch.tensor(
    [[2.0, 1.0, 0.5, -3.0], [1.0, 2.0, 0.3, -2.0], [0.2, 1.5, 1.0, -2.5], [1.2, 0.1, 1.4, -4.0]]
)
value = torch.arange(8.0).reshape(4, 2).cos()  # stands for what the experts' outputs do to the loss
gates = {
    "softmax, then top-2": lambda z: softmax_topk(z, 2, renormalize=False),
    "top-2, then softmax": lambda z: topk_softmax(z, 2),
}
reaches = {}
for name, gate in gates.items():
    leaf = logits.clone().requires_grad_()
    (gate(leaf).topk_weights_TK * value).sum().backward()
    reaches[name] = bool((leaf.grad[:, 3] != 0).any())
    print(f"{name}: the logits of expert 3 get a gradient of up to {leaf.grad[:, 3].abs().max():.1g}")

# %% [markdown]
# With a softmax over all experts the dead one still takes part in the denominator, so its row moves: away
# when the chosen do well. With a softmax over the chosen only, its row gets nothing. That does not mean that
# it is never chosen again: the *other* rows move, and an expert that stood still may come out ahead for a few
# tokens. In the toy, with top-2 and then softmax:

# %% tags=["nbval-ignore-output"] why="trained"
returning = runs["mu=4, K=2"].fork().advance(100)
starved_SE = (returning.shares_NSE[100:150] == 0).all(dim=0)
later_NSE = returning.shares_NSE[150:]
again = int(((later_NSE > 0).any(dim=0) & starved_SE).sum())
highest = float(later_NSE[-20:].mean(dim=0)[starved_SE].max())
print(f"without a token in steps 100 to 150: {int(starved_SE.sum())} experts; chosen again later: {again}")
print(f"the largest share that one of them has at step 300: {highest:.1%}")

# %% [markdown]
# Some come back for a few tokens, none to a share worth the name. Nothing pulls them.
#
# ## Bringing it back
#
# What would you change to revive an expert? New weights alone do nothing, since the router does not choose
# it. A new router row alone sends tokens to an expert that knows nothing. The usual recipe is to **split a
# busy expert**: copy its weights, copy its router row with a little noise, and forget the old momentum. Then
# both halves can do the work at once, and some of the tokens change over.

# %% [markdown]
# {{exercise 04.revive}}


# %% answer="04.revive"
def revive(
    router_ED: torch.Tensor,
    experts_EP: torch.Tensor,
    momentum_EP: torch.Tensor,
    counts_E: torch.Tensor,
    noise_ED: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Replace dead experts by copies of busy ones; returns router_ED, experts_EP, momentum_EP.

    router_ED: [E, D] one vector per expert. experts_EP: [E, P] all its weights, flat.
    momentum_EP: [E, P] the optimizer's. counts_E: [E] routed rows. noise_ED: [E, D].
    """
    ### BEGIN SOLUTION
    dead = (counts_E == 0).nonzero().flatten().tolist()
    busy = [e for e in counts_E.argsort(descending=True).tolist() if counts_E[e] > 0]
    router_ED, experts_EP, momentum_EP = router_ED.clone(), experts_EP.clone(), momentum_EP.clone()
    for i, d in enumerate(dead):
        donor = busy[i % len(busy)]
        router_ED[d] = router_ED[donor] + noise_ED[d]
        experts_EP[d] = experts_EP[donor]
        momentum_EP[d] = 0
    return router_ED, experts_EP, momentum_EP
    ### END SOLUTION


# %%
check("04.revive")

# %% [markdown]
# Does it help? We take the state of the race after 150 steps and go on from it in four ways, with the same
# tokens: nothing; revive the dead, with the function of the exercise; switch the balancing loss on; both.
# First your guess about the second way.

# %% tags=["nbval-ignore-output"] why="widget"
predict("04.revive")


# %%
split = yours("04.revive")


def flat(up_DEF, down_EFD):
    """All numbers of each expert in one row, [E, P], a copy."""
    return torch.cat([up_DEF.transpose(0, 1).flatten(1), down_EFD.flatten(1)], dim=1)


def revive_dead(run, noise=0.1):
    """Hand each seed of a toy run to `split`, and put what it returns back, Adam's memory too."""
    generator = torch.Generator().manual_seed(1)
    of_router, of_up, of_down = (run.optimizer.state[p] for p in (run.router_SDE, run.up_SDEF, run.down_SEFD))
    with torch.no_grad():
        for s, counts_E in enumerate(rows_of(run.shares_NSE[-20:])):
            router_ED = run.router_SDE[s].T.clone()
            noise_ED = noise * router_ED.std() * torch.randn(router_ED.shape, generator=generator)
            experts_EP = flat(run.up_SDEF[s], run.down_SEFD[s])
            for key in ("exp_avg", "exp_avg_sq"):  # the two kinds of momentum that Adam keeps
                memory_EP = flat(of_up[key][s], of_down[key][s])
                made = split(router_ED.clone(), experts_EP.clone(), memory_EP, counts_E, noise_ED)
                up_EX, down_EX = made[2].split(memory_EP.shape[1] // 2, dim=1)
                of_up[key][s] = up_EX.unflatten(1, (router_ED.shape[1], -1)).transpose(0, 1)
                of_down[key][s] = down_EX.unflatten(1, (-1, router_ED.shape[1]))
                of_router[key][s][:, counts_E == 0] = 0
            up_EX, down_EX = made[1].split(experts_EP.shape[1] // 2, dim=1)
            run.router_SDE[s] = made[0].T
            run.up_SDEF[s] = up_EX.unflatten(1, (router_ED.shape[1], -1)).transpose(0, 1)
            run.down_SEFD[s] = down_EX.unflatten(1, (-1, router_ED.shape[1]))


at_150 = ToyRun(COMMON, TopK(1), loss=load_balancing, alpha=0.0).advance(150)
arms = {name: at_150.fork() for name in ("nothing", "revive", "loss 0.3", "loss 0.3 and revive")}
was_dead_SE = late(at_150) == 0
for name, run in arms.items():
    if "revive" in name:
        revive_dead(run)
    run.alpha = 0.3 if "loss" in name else 0.0
advance_all(arms.values(), 150)
dead = {name: int((late(run) == 0).sum()) for name, run in arms.items()}
left_over = {name: float(metrics.effective_experts(late(run)).quantile(0.5)) for name, run in arms.items()}
errors = {name: run.error_NS[-20:].mean(dim=0) for name, run in arms.items()}
was_dead = int(was_dead_SE.sum())
both = "loss 0.3 and revive"
gain = errors["loss 0.3"] - errors["loss 0.3 and revive"]
apart = {name: left_over[name] - left_over["nothing"] for name in arms}
measured("dead experts at step 150", was_dead, of=128, above=32)
print("revived, no remedy, 150 steps later")
measured("  dead again, of as many", dead["revive"] / was_dead, above=0.75, unit="%")
measured("  effective experts apart from nothing done", abs(apart["revive"]), below=1, then="nothing gained")
print("with the loss and revived")
measured("  dead, of as many", dead[both] / was_dead, below=0.25, unit="%")
measured("  effective experts gained", apart[both], above=3)
measured("  lower error than with the loss alone in", int((gain > 0).sum()), of=16, at_least=11, unit="runs")

# %%
reveal("04.revive")

# %% draw=true tags=["nbval-ignore-output"] why="image"
dot_rows(
    {name: metrics.effective_experts(late(run)).tolist() for name, run in arms.items()},
    title="Revival without a remedy does not last",
    x_label="effective experts of 8, exp(H), 150 steps later",
    marks=dict.fromkeys(arms, float(metrics.effective_experts(late(at_150)).quantile(0.5))),
    mark_label="median when the four parted",
    x_range=(1, 8),
    caption="Mean error at the end: "
    + ", ".join(f"{name} {e.mean():.3f}" for name, e in errors.items())
    + ".",
)

# %% [markdown]
# What starved them is still at work, so it starves them again. With the loss on, the dead come back by
# themselves (it pushes the router rows of the empty experts up), but they come back as beginners and the
# error rises for a while; copies of busy experts spare that.
#
# ## Is a balancing mechanism essential?
#
# There are routers that have no loop. A **hash router** decides by the token's id, by a table drawn once:
# nothing learns, so nothing can collapse. It needs no loss. Is it even? As even as the text. We draw twenty
# tables that send the 256 byte values to 8 experts, and count on the language reference.

# %%
bytes_N = corpus.train_N
frequency_V = torch.bincount(bytes_N, minlength=256)
tables = torch.randint(8, (20, 256), generator=torch.Generator().manual_seed(0))
loads = torch.stack([torch.zeros(8).index_add(0, table_V, frequency_V.float()) for table_V in tables])
hashed = metrics.effective_experts(loads)
filled_E = torch.zeros(8)
for v in frequency_V.argsort(descending=True).tolist():  # the most frequent first, to whoever has least
    filled_E[int(filled_E.argmin())] += frequency_V[v]
sorted_table = float(metrics.effective_experts(filled_E))
print("effective experts of 8")
measured("  random tables", hashed, above=3.5, below=7.8)
measured("  a table that deals out the frequent bytes evenly", sorted_table, above=7.5)

# %%
claim("L73", "imprecise", holds=bool(hashed.min() > 3.5) and sorted_table > 7.5 and float(none_0.max()) < 2)

# %% tags=["nbval-ignore-output"] why="machine"
spread = f"{hashed.min():.1f} to {hashed.max():.1f}"
print(f"random tables: {spread}, median {hashed.quantile(0.5):.1f}; dealt out: {sorted_table:.2f}")
commonest = int(frequency_V.argmax())
print(f"commonest byte: {chr(commonest)!r}, {frequency_V[commonest] / len(bytes_N):.0%} of the text")

# %% [markdown]
# The commonest byte is the space, and an expert that has it has all of it. No table can change that.
#
# BASE, expert choice and Soft MoE fix the load by construction too (lesson 06). And *fine-tuning* is
# another matter: there ST-MoE found about the same with the loss and without (table 5, 85.7 to 86.4), and
# OLMoE a little better without (table 7, 57.7 against 57.1). For token choice in pre-training, everybody we
# know of uses something.
#
# ## What to take along
#
# - Collapse is a tendency, not a law. Tokens that look alike, K = 1 and a small initial router further it. A
#   different setting of the same code evens out by itself.
# - A router can be uneven before its first step, through what all tokens have in common. Look at step 0
#   before you blame training.
# - A language model passes through a time of very similar tokens, in its first dozens of steps.
# - The loop: chosen, therefore better, therefore chosen. In the first steps it runs backwards, since an
#   untrained expert is a nuisance.
# - Say which effective number you mean, exp(H) or E / (1 + CV²), and look at each layer by itself.
# - A starved expert's gradient is exactly zero. AdamW shrinks it, SGD leaves it, and a gradient of None
#   leaves it under any optimizer.
# - Collapse costs what the lost experts were worth: little in a short run, more later. Reviving without a
#   remedy does not last.
#
# ### Check yourself

# %% tags=["nbval-ignore-output"] why="widget"
quiz("04.q_two_numbers")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("04.q_pooled")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("04.q_first_step")

# %% tags=["nbval-ignore-output"] why="widget"
quiz("04.q_frozen")

# %% [markdown]
# What this lesson settled of what explainers say:

# %%
claims_table()

# %%
score()
