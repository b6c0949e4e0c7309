"""Answers to 04.diagnose as learners write them."""

import itertools
import math

import numpy as np
import torch


def n(p):
    return math.exp(-sum(float(x) * math.log(float(x)) for x in p if x > 0))


def parts(shares_NE):
    a = shares_NE.numpy()
    return np.array_split(a, 4), a.shape[1] / 2


def in_numpy(shares_NE):
    q, half = parts(shares_NE)
    ns = [n(x.mean(0)) for x in q]
    last = q[-1]
    if ns[-1] < half:
        return "collapsed"
    if sum(n(row) for row in last) / len(last) < half:
        return "oscillating"
    if all(a > b for a, b in itertools.pairwise(ns)) and ns[0] - ns[-1] >= 1:
        return "collapsing"
    return "dead expert" if (last.sum(0) == 0).any() else "healthy"


def as_a_list(shares_NE):
    quarter = len(shares_NE) // 4
    q = shares_NE.reshape(4, quarter, -1)
    size = (-(q.mean(1).clamp_min(1e-30).log() * q.mean(1)).sum(-1)).exp()
    rows = (-(q[3].clamp_min(1e-30).log() * q[3]).sum(-1)).exp()
    e = shares_NE.shape[1]
    tests = [
        ("collapsed", size[3] * 2 < e),
        ("oscillating", rows.mean() * 2 < e),
        ("collapsing", bool((size[:-1] > size[1:]).all()) and size[0] >= size[3] + 1),
        ("dead expert", (q[3].amax(0) == 0).any()),
    ]
    return next((name for name, applies in tests if applies), "healthy")


def chosen_from_an_array(shares_NE):
    q, half = parts(shares_NE)
    ns = np.array([n(x.mean(0)) for x in q])
    tests = [
        ns[3] < half,
        np.mean([n(row) for row in q[3]]) < half,
        (np.diff(ns) < 0).all() and ns[0] - ns[3] >= 1,
        never(q[3]),
        True,
    ]
    return np.array(["collapsed", "oscillating", "collapsing", "dead expert", "healthy"])[np.argmax(tests)]


def last_line(shares_NE):
    q, half = parts(shares_NE)
    ns = [n(x.mean(0)) for x in q]
    now = q[-1][-1]
    if n(now) < half:
        return "collapsed"
    if ns[0] > ns[1] > ns[2] > ns[3] and ns[0] - ns[3] >= 1:
        return "collapsing"
    return "dead expert" if (now == 0).any() else "healthy"


def everything_averaged(shares_NE):
    q, half = parts(shares_NE)
    everything = np.concatenate(q)
    ns = [n(x.mean(0)) for x in q]
    if n(everything.mean(0)) < half:
        return "collapsed"
    if np.mean([n(row) for row in everything]) < half:
        return "oscillating"
    if ns[0] > ns[1] > ns[2] > ns[3] and ns[0] - ns[3] >= 1:
        return "collapsing"
    return "dead expert" if (everything.max(0) == 0).any() else "healthy"


def fullest(shares_NE):
    q, _ = parts(shares_NE)
    last = q[-1]
    if last.mean(0).max() > 0.5:
        return "collapsed"
    if last.max(1).mean() > 0.5:
        return "oscillating"
    ns = [n(x.mean(0)) for x in q]
    if ns[0] > ns[1] > ns[2] > ns[3] and ns[0] - ns[3] >= 1:
        return "collapsing"
    return "dead expert" if (last.max(0) == 0).any() else "healthy"


def tail(shares_NE, dead, falls=None, first=False):
    """The right answer with another idea of the last two names."""
    q, half = parts(shares_NE)
    ns = [n(x.mean(0)) for x in q]
    is_dead = dead(q[-1])
    if first and is_dead:
        return "dead expert"
    if ns[3] < half:
        return "collapsed"
    if np.mean([n(row) for row in q[-1]]) < half:
        return "oscillating"
    if falls(ns) if falls else ns[0] > ns[1] > ns[2] > ns[3] and ns[0] - ns[3] >= 1:
        return "collapsing"
    return "dead expert" if is_dead else "healthy"


def never(last):
    return (last.max(0) == 0).any()


def below_half_of_even(shares_NE):
    return tail(shares_NE, lambda last: last.mean(0).min() < 1 / (2 * last.shape[1]))


def ever_zero(shares_NE):
    return tail(shares_NE, lambda last: not last.all())


def rows_averaged(shares_NE):
    q, half = parts(shares_NE)
    if np.mean([n(row) for row in q[-1]]) < half:
        return "collapsed"
    return tail(shares_NE, never)


def first_against_last(shares_NE):
    return tail(shares_NE, never, falls=lambda ns: ns[0] - ns[-1] >= 1)


def each_a_little(shares_NE):
    return tail(shares_NE, never, falls=lambda ns: ns == sorted(ns, reverse=True))


def dead_before_all(shares_NE):
    return tail(shares_NE, never, first=True)


def entropy_itself(shares_NE):
    q, half = parts(shares_NE)
    if math.log(n(q[-1].mean(0))) < half:
        return "collapsed"
    return tail(shares_NE, never)


def by_squares(shares_NE):
    q, half = parts(shares_NE)
    ns = [1 / (x.mean(0) ** 2).sum() for x in q]
    if ns[3] < half:
        return "collapsed"
    if np.mean([1 / (row**2).sum() for row in q[3]]) < half:
        return "oscillating"
    if ns[0] > ns[1] > ns[2] > ns[3] and ns[0] - ns[3] >= 1:
        return "collapsing"
    return "dead expert" if never(q[3]) else "healthy"


def plain_logarithm(shares_NE):
    def size(p):
        return torch.exp(-torch.sum(p * torch.log(p), -1))

    q = shares_NE.chunk(4)
    ns = [size(x.mean(0)) for x in q]
    if ns[3] < shares_NE.shape[1] / 2:
        return "collapsed"
    if size(q[3]).mean() < shares_NE.shape[1] / 2:
        return "oscillating"
    if ns[0] > ns[1] > ns[2] > ns[3] and ns[0] - ns[3] >= 1:
        return "collapsing"
    return "dead expert" if (q[3] == 0).all(0).any() else "healthy"


WRONG = {
    "last_row": last_line,
    "whole_log": everything_averaged,
    "max_share": fullest,
    "quiet_is_dead": below_half_of_even,
    "rested_is_dead": ever_zero,
    "mean_of_rows": rows_averaged,
    "only_the_ends": first_against_last,
    "any_fall": each_a_little,
    "dead_first": dead_before_all,
    "other_number": by_squares,
    "nan": plain_logarithm,
    "no_exp": entropy_itself,
}
RIGHT = [in_numpy, as_a_list, chosen_from_an_array]
