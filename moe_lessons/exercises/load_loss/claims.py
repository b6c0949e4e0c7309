"""The claims that lesson 05 settles."""

from moe_lessons.exercises.spec import Claim

CLAIMS = (
    Claim(
        "L44",
        "Routing solves a linear assignment problem in which each expert has room for K·T/E tokens.",
        "imprecise",
        "As an ideal it is a good picture. Token choice does not solve it: each token takes its best, and "
        "what does not fit is dropped or overfills. BASE layers solve it literally; expert choice solves a "
        "relative of it.",
        "arXiv 2103.16716, sections 3 and 3.2; arXiv 2202.09368, section 3.3",
    ),
    Claim(
        "L45",
        "Without capacity limits the best assignment sends all tokens to the single best expert.",
        "wrong",
        "It gives each token its own best. Where the experts are alike, that is nearly even. Collapse comes "
        "from training, in which the chosen get better, and not from the optimum of an assignment.",
        "the assignment of this lesson; arXiv 1701.06538, section 4",
    ),
    Claim(
        "L46",
        "The best expert for each token and an even load pull in different directions.",
        "correct",
        "As soon as some experts are liked by more tokens than others, an even load costs some of the score.",
        "the assignment of this lesson",
    ),
    Claim(
        "L47",
        "The load-balancing loss is alpha · N · sum of f_i · P_i.",
        "correct",
        "That is Switch's loss, written for one expert per token. Its code computes the mean of f · P times "
        "N squared, which is the same number.",
        "arXiv 2101.03961, eq. 4-6 and fig. 14",
    ),
    Claim(
        "L48",
        "f_i is the fraction of dispatch events that go to expert i; balanced it is K/N.",
        "imprecise",
        "A fraction of all dispatch events sums to 1 and is 1/N when balanced. K/N is the fraction of the "
        "*tokens*. Codes differ: the balanced loss is 1 in Switch, Megatron and DeepSeek, K in transformers, "
        "1/N² in GShard. An alpha means nothing without the normalisation.",
        "arXiv 2101.03961, eq. 4-6; arXiv 2006.16668, algorithm 1; transformers, models/mixtral",
    ),
    Claim(
        "L49",
        "Averaging f and P over all layers before multiplying gives the loss of the model.",
        "wrong",
        "Eight layers that have each collapsed on another expert then score a perfect 1, while the mean of "
        "their losses is 8. transformers pools like this.",
        "transformers, issue 28255 and `load_balancing_loss_func`",
    ),
    Claim(
        "L50",
        "P is differentiable, f is not, and the gradient reaches the router through P.",
        "correct",
        "The derivative with respect to P_i is alpha · N · f_i: an expert is pushed as hard as it is loaded.",
        "arXiv 2101.03961, section 2.2",
    ),
    Claim(
        "L51",
        "The loss is at its minimum exactly when the load is balanced.",
        "wrong",
        "With an even load it is 1 for every P. And it can be lower: down to 7/8 with two experts at loads "
        "of 75 and 25 %, down to 0.4 with eight, half of them dead (one expert per token). What balances is "
        "the gradient, not the minimum.",
        "the search and the enumeration of this lesson; the sentence is in arXiv 2101.03961, section 2.2",
    ),
    Claim(
        "L52",
        "f and P come from the same logits, so they are ordered alike.",
        "wrong",
        "They usually go together, and nothing forces them to: one matrix of logits gives f = (0.74, 0.26) "
        "and P = (0.377, 0.623).",
        "the counterexample of this lesson",
    ),
    Claim(
        "L53",
        "With one expert per token, f = P = 1/N gives a loss of alpha.",
        "correct",
        "N · N · 1/N² = 1, times alpha. It is the value at balance, not the smallest.",
        "arXiv 2101.03961, section 2.2",
    ),
    Claim(
        "L54",
        "alpha is of the order of 0.01, in Switch and in GShard.",
        "imprecise",
        "Switch uses 0.01 and tried 0.1 to 0.00001. GShard's paper gives no number. Other papers go down to "
        "0.0001, configuration files up to 0.9; and what alpha multiplies differs by a factor of K.",
        "arXiv 2101.03961, section 2.2; arXiv 2006.16668; the sources in the table of this lesson",
    ),
    Claim(
        "L55",
        "alpha too small lets the router collapse, alpha too large makes routing blind to content.",
        "correct",
        "In the toy the error is lowest in between, at 0.1 in each of three worlds, 10 to 23 % below that "
        "without the loss. How wide the good range is and how much there is to gain depends on the problem.",
        "arXiv 2408.15664, fig. 2; the sweep of this lesson",
    ),
    Claim(
        "L56",
        "The loss nudges the model towards using all experts about equally.",
        "correct",
        "It does. It does not say at which price, and other methods exist: lesson 06.",
        "arXiv 2101.03961, section 2.2; the sweep of this lesson",
    ),
    Claim(
        "L57",
        "The loss balances the load within a batch.",
        "imprecise",
        "Which batch? Over a sequence or a small micro-batch it works against experts that belong to one "
        "domain; over the global batch it does not. DeepSeek-V3 measured it, Qwen3 uses the global batch.",
        "arXiv 2501.11873; arXiv 2412.19437, section 4.5.3; arXiv 2505.09388, section 2",
    ),
    Claim(
        "L58",
        "`balance = num_experts * sum(expert_fraction * expert_prob)`, `total = task + alpha * balance`.",
        "correct",
        "For one layer without padding. Not said: one such loss for each layer, padding left out of both "
        "factors, probabilities of the full softmax, no gradient through the fraction.",
        "arXiv 2101.03961, eq. 4-6; the cases of this lesson",
    ),
    Claim(
        "L59",
        "Before that loss there were the importance and load losses of Shazeer et al.",
        "correct",
        "Squared coefficients of variation: of the summed gate weights, and of a smooth estimate of the "
        "load. In their table 6 perplexity is 39.8 without any loss and 35.6 to 35.7 with either or both.",
        "arXiv 1701.06538, eq. 6-11 and table 6",
    ),
    Claim(
        "L128",
        "Exercise: assume co-sorted f and P and show that the balanced point is the minimum.",
        "imprecise",
        "Under that assumption Chebyshev's sum inequality gives at least the balanced value, with equality "
        "wherever f *or* P is constant: the minimum is not unique. And the assumption is not guaranteed.",
        "Chebyshev's sum inequality; the exercises of this lesson",
    ),
)
