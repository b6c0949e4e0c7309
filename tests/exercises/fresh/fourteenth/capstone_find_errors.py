"""The fourteenth set, 17.find_errors: what a class would most likely hand in."""


# Takes a false "every" or "always" for *depends*: "holds for some cases and not for others" is said of
# sentences that claim all of them and that one case refutes (34, 61, 59; 72, 45, 30), which are wrong.
def every_depends(part):
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


# The sceptic: calls wrong whatever is not exactly so in each case. Sentences that depend or cannot be known
# are called wrong (44, 39, 33; 17, 21, 70), and right ones are accused over a rounding or an "every" (14,
# 10, 9; 62, 57, 69).
def all_accused(part):
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
            (9, "wrong", 0.73),
        ],
        2: [
            (62, "wrong", 2202.09368),
            (72, "wrong", 2101.03961),
            (17, "wrong", 5.35),
            (26, "right", 0),
            (64, "wrong", 25.5),
            (45, "wrong", 1),
            (21, "wrong", 2401.06066),
            (70, "wrong", 2303.08774),
            (69, "wrong", 2303.08774),
            (30, "wrong", 25.4),
            (57, "wrong", 18.3),
            (31, "wrong", 2),
        ],
    }
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


# All verdicts are right, but the numbers are slips: 34 takes E for K, 61 counts the ids, 59 rounds a half
# up, 28 divides Mixtral's all by its own active ones, 49 gives expert choice's paper; 72 Shazeer (several
# experts), 64 doubles nothing (active parameters), 45 the loss layer by layer, 30 forgets the square, 31
# counts those that never run.
def slips(part):
    seed = 0
    codes = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
    table = {
        1: [
            (44, "depends", 0),
            (34, "wrong", 64),
            (39, "unknown", 0),
            (13, "right", 0),
            (14, "right", 0),
            (61, "wrong", 4),
            (10, "right", 0),
            (33, "depends", 0),
            (59, "wrong", 129),
            (28, "wrong", 3.62),
            (49, "wrong", 2202.09368),
            (9, "right", 0),
        ],
        2: [
            (62, "right", 0),
            (72, "wrong", 1701.06538),
            (17, "depends", 0),
            (26, "right", 0),
            (64, "wrong", 12.9),
            (45, "wrong", 8),
            (21, "depends", 0),
            (70, "unknown", 0),
            (69, "right", 0),
            (30, "wrong", 63.8),
            (57, "right", 0),
            (31, "wrong", 126),
        ],
    }
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


# Takes *unknown* for "I do not know": all that cannot be judged without a paper or a computation at hand is
# unknown (34, 13, 10, 33, 59; 62, 45, 21, 57, 31), though others can look and have.
def not_known_to_me(part):
    seed = 0
    codes = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
    table = {
        1: [
            (44, "depends", 0),
            (34, "unknown", 0),
            (39, "unknown", 0),
            (13, "unknown", 0),
            (14, "right", 0),
            (61, "wrong", 3),
            (10, "unknown", 0),
            (33, "unknown", 0),
            (59, "unknown", 0),
            (28, "wrong", 6.45),
            (49, "wrong", 2308.00951),
            (9, "right", 0),
        ],
        2: [
            (62, "unknown", 0),
            (72, "wrong", 2101.03961),
            (17, "depends", 0),
            (26, "right", 0),
            (64, "wrong", 25.5),
            (45, "unknown", 0),
            (21, "unknown", 0),
            (70, "unknown", 0),
            (69, "right", 0),
            (30, "wrong", 25.4),
            (57, "unknown", 0),
            (31, "unknown", 0),
        ],
    }
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


# All verdicts are right, but the third column stays 0: the learner thinks that to say "wrong" is enough,
# and does not answer the questions that put the sentences right.
def no_third_column(part):
    seed = 0
    codes = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
    table = {
        1: [
            (44, "depends", 0),
            (34, "wrong", 0),
            (39, "unknown", 0),
            (13, "right", 0),
            (14, "right", 0),
            (61, "wrong", 0),
            (10, "right", 0),
            (33, "depends", 0),
            (59, "wrong", 0),
            (28, "wrong", 0),
            (49, "wrong", 0),
            (9, "right", 0),
        ],
        2: [
            (62, "right", 0),
            (72, "wrong", 0),
            (17, "depends", 0),
            (26, "right", 0),
            (64, "wrong", 0),
            (45, "wrong", 0),
            (21, "depends", 0),
            (70, "unknown", 0),
            (69, "right", 0),
            (30, "wrong", 0),
            (57, "right", 0),
            (31, "wrong", 0),
        ],
    }
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


# Has judged a page of their own (student number 4711, all of it well), pasted the table, and left `seed =
# 0` in the function: the sentences' numbers are not those of the page of 0.
def own_page(part):
    seed = 0
    codes = {"right": 0, "wrong": 1, "depends": 2, "unknown": 3, "?": 4}
    table = {
        1: [
            (57, "right", 0),
            (8, "right", 0),
            (69, "right", 0),
            (34, "wrong", 8),
            (16, "wrong", 83.8),
            (63, "wrong", 1994),
            (51, "wrong", 12.5),
            (52, "depends", 0),
            (33, "depends", 0),
            (35, "right", 0),
            (71, "wrong", 2024),
            (67, "unknown", 0),
        ],
        2: [
            (2, "wrong", 31.7),
            (54, "unknown", 0),
            (15, "depends", 0),
            (43, "wrong", 2312.17238),
            (20, "right", 0),
            (14, "right", 0),
            (75, "depends", 0),
            (58, "wrong", 2),
            (27, "right", 0),
            (61, "wrong", 3),
            (22, "right", 0),
            (42, "wrong", 0.001),
        ],
    }
    return seed, [(number, codes[verdict], correction) for number, verdict, correction in table[part]]


FRESH = {
    "17.find_errors": [
        ("a false 'every' depends", every_depends, {"softens"}),
        ("nearly all is wrong", all_accused, {"sceptic"}),
        ("right verdicts, slips in the numbers", slips, {"other_answer"}),
        ("unknown means not looked up", not_known_to_me, {"not_looked_up"}),
        ("nothing put right", no_third_column, {"not_put_right"}),
        ("another page's table", own_page, {"other_page"}),
    ],
}
