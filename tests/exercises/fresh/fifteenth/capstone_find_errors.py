"""The fifteenth set, 17.find_errors: what a class would most likely hand in."""

# The page of seed 0, as sentences(0) prints it. The right table is the class's own (blind to the published
# one).


# The sceptic: calls wrong whatever is not certain, and gives an answer to the question as the correction.
# All wrong ones are found; both depends, the unknown one and two right ones of each part (10 and 14; 57 and
# 62) are called wrong, too, and each right one costs a point more.
def sceptic(part):
    seed = 0
    codes = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
    table = {
        1: [
            (44, "wrong", 2101.03961),
            (34, "wrong", 8),
            (39, "wrong", 0.55),
            (13, "right", 0),
            (14, "wrong", 2202.09368),
            (61, "wrong", 3),
            (10, "wrong", 315.7),
            (33, "wrong", 2401.04088),
            (59, "wrong", 128),
            (28, "wrong", 6.45),
            (49, "wrong", 2308.00951),
            (9, "right", 0),
        ],
        2: [
            (62, "wrong", 2408.15664),
            (72, "wrong", 2101.03961),
            (17, "wrong", 5.35),
            (26, "right", 0),
            (64, "wrong", 25.5),
            (45, "wrong", 1),
            (21, "wrong", 2409.02060),
            (70, "wrong", 2303.08774),
            (69, "right", 0),
            (30, "wrong", 25.4),
            (57, "wrong", 17.8),
            (31, "wrong", 2),
        ],
    }
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


# The believer: takes for right what is said everywhere. The famous sentences (8 x 7B and loss 1; 13
# billion, collapse, rescaling) pass as right, so three of the five wrong ones of each part are missed.
def believer(part):
    seed = 0
    codes = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
    table = {
        1: [
            (44, "depends", 0),
            (34, "right", 0),
            (39, "unknown", 0),
            (13, "right", 0),
            (14, "right", 0),
            (61, "wrong", 3),
            (10, "right", 0),
            (33, "depends", 0),
            (59, "right", 0),
            (28, "right", 0),
            (49, "wrong", 2308.00951),
            (9, "right", 0),
        ],
        2: [
            (62, "right", 0),
            (72, "right", 0),
            (17, "depends", 0),
            (26, "right", 0),
            (64, "right", 0),
            (45, "wrong", 1),
            (21, "depends", 0),
            (70, "unknown", 0),
            (69, "right", 0),
            (30, "right", 0),
            (57, "right", 0),
            (31, "wrong", 2),
        ],
    }
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


# Finds the wrong ones, and as the correction repeats what the sentence itself says or is about (the quoted
# number, the paper of the method named), not the answer to the question behind it.
def quoted(part):
    seed = 0
    codes = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
    table = {
        1: [
            (44, "depends", 0),
            (34, "wrong", 1),
            (39, "unknown", 0),
            (13, "right", 0),
            (14, "right", 0),
            (61, "wrong", 6),
            (10, "right", 0),
            (33, "depends", 0),
            (59, "wrong", 128),
            (28, "wrong", 8),
            (49, "wrong", 2202.09368),
            (9, "right", 0),
        ],
        2: [
            (62, "right", 0),
            (72, "wrong", 1701.06538),
            (17, "depends", 0),
            (26, "right", 0),
            (64, "wrong", 13),
            (45, "wrong", 8),
            (21, "depends", 0),
            (70, "unknown", 0),
            (69, "right", 0),
            (30, "wrong", 2),
            (57, "right", 0),
            (31, "wrong", 2),
        ],
    }
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


# The cautious: calls three right sentences of each part depends, because an exception or a fine point comes
# to mind (ties; which Switch; 'whatever the router says'; rounding; which language model), though the
# sentences say what they need.
def cautious(part):
    seed = 0
    codes = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
    table = {
        1: [
            (44, "depends", 0),
            (34, "wrong", 8),
            (39, "unknown", 0),
            (13, "depends", 0),
            (14, "depends", 0),
            (61, "wrong", 3),
            (10, "right", 0),
            (33, "depends", 0),
            (59, "wrong", 128),
            (28, "wrong", 6.45),
            (49, "wrong", 2308.00951),
            (9, "depends", 0),
        ],
        2: [
            (62, "depends", 0),
            (72, "wrong", 2101.03961),
            (17, "depends", 0),
            (26, "depends", 0),
            (64, "wrong", 25.5),
            (45, "wrong", 1),
            (21, "depends", 0),
            (70, "unknown", 0),
            (69, "right", 0),
            (30, "wrong", 25.4),
            (57, "depends", 0),
            (31, "wrong", 2),
        ],
    }
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


# Takes sentences with an 'every', 'always' or 'no difference' for depends, because they hold in some codes
# and not in others; but such a sentence is refuted by one case, and so it is wrong.
def softened(part):
    seed = 0
    codes = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
    table = {
        1: [
            (44, "depends", 0),
            (34, "depends", 0),
            (39, "unknown", 0),
            (13, "right", 0),
            (14, "right", 0),
            (61, "depends", 0),
            (10, "right", 0),
            (33, "depends", 0),
            (59, "depends", 0),
            (28, "wrong", 6.45),
            (49, "wrong", 2308.00951),
            (9, "right", 0),
        ],
        2: [
            (62, "right", 0),
            (72, "depends", 0),
            (17, "depends", 0),
            (26, "right", 0),
            (64, "wrong", 25.5),
            (45, "depends", 0),
            (21, "depends", 0),
            (70, "unknown", 0),
            (69, "right", 0),
            (30, "depends", 0),
            (57, "right", 0),
            (31, "wrong", 2),
        ],
    }
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


# All verdicts are right, but the corrections are miscalculated. 34: E = 64 in place of K; 59: 128.5 rounded
# up to 129; 28: divided by twice the compute. 64: 6 FLOP a parameter, a training step, in place of a
# forward's 2; 30: CV not squared; 45: each layer's loss in place of the pooled one.
def miscalculated(part):
    seed = 0
    codes = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
    table = {
        1: [
            (44, "depends", 0),
            (34, "wrong", 64),
            (39, "unknown", 0),
            (13, "right", 0),
            (14, "right", 0),
            (61, "wrong", 3),
            (10, "right", 0),
            (33, "depends", 0),
            (59, "wrong", 129),
            (28, "wrong", 3.22),
            (49, "wrong", 2308.00951),
            (9, "right", 0),
        ],
        2: [
            (62, "right", 0),
            (72, "wrong", 2101.03961),
            (17, "depends", 0),
            (26, "right", 0),
            (64, "wrong", 77),
            (45, "wrong", 8),
            (21, "depends", 0),
            (70, "unknown", 0),
            (69, "right", 0),
            (30, "wrong", 63.8),
            (57, "right", 0),
            (31, "wrong", 2),
        ],
    }
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


FRESH = {
    "17.find_errors": [
        ("whatever is doubtful is wrong", sceptic, {"harsh", "sceptic"}),
        ("famous sentences are right", believer, {"wrong_let_pass"}),
        ("corrected with what is quoted", quoted, {"quoted_back"}),
        ("right sentences depend", cautious, {"doubts_the_right"}),
        ("false 'every' depends", softened, {"softens"}),
        ("right verdicts, wrong numbers", miscalculated, {"other_answer"}),
    ],
}
