"""The name of a mistake: which misconception an answer's wrong values are those of.

Three looks, from strict to tolerant. An answer has a misconception's name

1. if it agrees with it on every case (where the misconception fails, the answer must fail too);
2. or on every case that it ran on, where those are half of the ordinary ones or more;
3. or wherever it is wrong: a default branch may be right by luck where the misconception is not, and one of
   several outputs may be right. It must be wrong on at least half of the cases on which the misconception is,
   no other misconception may explain as much, and a yes or no beside other outputs is too little to go by.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from moe_lessons.exercises import drivers
from moe_lessons.exercises.findings import Trial, named, request, right, same
from moe_lessons.exercises.own_replies import asked, own_reply
from moe_lessons.exercises.spec import Exercise, Misconception, Output

EPS = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class _Match:
    """How an answer stands to a misconception on one case."""

    exact: bool
    """They agree."""
    partly: bool
    """They agree wherever the answer is wrong, output by output."""
    differs: bool
    """The misconception is wrong here."""
    ran: bool
    """Both returned something."""


def recognise(exercise: Exercise, trials: Sequence[Trial]) -> list[Misconception]:
    """The misconceptions that an answer agrees with, in the spec's order: one as a rule, none if in doubt."""
    fine = [_fine(exercise, t) for t in trials]
    known = [asked(request(exercise, t.case)) for t in trials]  # once for all misconceptions
    seen = [
        (m, [_match(exercise, outcome, *look) for look in zip(trials, fine, known, strict=True)])
        for m in exercise.misconceptions
        for outcome in m.outcomes
    ]
    everywhere = _apart(m for m, matches in seen if _agrees(matches))
    if everywhere:
        return everywhere
    ran = [i for i, t in enumerate(trials) if not isinstance(t.reply, drivers.Failure)]
    ordinary = [i for i in ran if not trials[i].case.is_edge]
    wrong = [i for i in ran if not right(exercise, trials[i])]
    if 2 * len(ordinary) < sum(not t.case.is_edge for t in trials) or not wrong:
        return []  # right wherever it ran: only the failure is a mistake
    for places in (ran, ordinary):
        found = _apart(m for m, matches in seen if _agrees([matches[i] for i in places]))
        if len(found) == 1 and set(places) & set(wrong):
            return found
    pool = ordinary if set(ordinary) & set(wrong) else ran
    return _where_wrong(seen, pool, [i for i in pool if i in set(wrong)])


def _apart(found: Iterable[Misconception]) -> list[Misconception]:
    """Each mistake once, in order."""
    return list({m.id: m for m in found}.values())


def _agrees(matches: Sequence[_Match]) -> bool:
    return all(match.exact for match in matches) and any(match.ran for match in matches)


def _where_wrong(
    seen: Sequence[tuple[Misconception, list[_Match]]], pool: Sequence[int], wrong: Sequence[int]
) -> list[Misconception]:
    """The one misconception that explains all that is wrong, and leaves least unexplained that is right."""
    ranked: list[tuple[tuple[int, int], Misconception]] = []
    for m, matches in seen:
        if not all(matches[i].partly and matches[i].ran for i in wrong):
            continue
        lucky = sum(matches[i].differs for i in pool if i not in wrong)
        if lucky <= len(wrong):
            ranked.append(((sum(not matches[i].exact for i in wrong), lucky), m))
    best = min((rank for rank, _ in ranked), default=None)
    found = _apart(m for rank, m in ranked if rank == best)
    return found if len(found) == 1 else []


def _fine(exercise: Exercise, t: Trial) -> list[bool]:
    """Output by output, whether an answer's is right; empty where there is none."""
    return [same(o, t.got[o.name], t.want[o.name]) for o in exercise.outputs] if t.got is not None else []


def _match(
    exercise: Exercise, misconception: Misconception, t: Trial, fine: Sequence[bool], known: bytes | None
) -> _Match:
    if misconception.detects is not None:
        seen = t.got is not None and _detected(misconception, t, t.got)
        return _Match(seen, seen, not _detected(misconception, t, t.want), t.got is not None)
    assert misconception.wrong is not None
    reply = own_reply(misconception.wrong, request(exercise, t.case), known)
    wrong = named(exercise, reply, t.case)
    if wrong is None or t.got is None:
        # Some mistakes crash on some inputs; then the answer must crash on the same ones.
        return _Match(wrong is t.got, wrong is t.got, wrong is None, False)
    equal = [same(_rounded(o, wrong[o.name]), t.got[o.name], wrong[o.name]) for o in exercise.outputs]
    truth = [same(o, wrong[o.name], t.want[o.name]) for o in exercise.outputs]
    dtypes = _dtypes(exercise, t.reply) == _dtypes(exercise, reply)
    asked = [o.dtype for o in exercise.outputs if o.dtype is not None]
    return _Match(
        exact=all(equal) and dtypes,
        partly=_partly(exercise, equal, fine) and dtypes,
        differs=not all(truth) or _dtypes(exercise, reply) != asked,
        ran=True,
    )


def _rounded(output: Output, wrong: Any) -> Output:
    """The output with the tolerance that two ways to compute large numbers need where they cancel.

    Draws keep right values to a size at which this is no matter; those of a mistake may be far larger.
    """
    if output.kind != "float" or isinstance(wrong, str) or not np.size(wrong):
        return output
    largest = float(np.abs(np.where(np.isfinite(wrong), wrong, 0)).max())
    return replace(output, atol=output.atol + 8 * EPS * largest)


def _partly(exercise: Exercise, equal: Sequence[bool], fine: Sequence[bool]) -> bool:
    """Whether each output is right or the mistake's; that a yes or no is the mistake's says little."""
    telling = [
        e and not f
        for e, f, o in zip(equal, fine, exercise.outputs, strict=True)
        if o.kind != "bool" or len(exercise.outputs) == 1
    ]
    return all(e or f for e, f in zip(equal, fine, strict=True)) and any(telling)


def _detected(misconception: Misconception, t: Trial, values: dict) -> bool:
    assert misconception.detects is not None
    try:
        return bool(misconception.detects(t.case, values, t.want))
    except Exception:  # values of a shape, a kind or a size that it was not written for
        return False


def _dtypes(exercise: Exercise, reply: drivers.Reply) -> list[str]:
    """The dtypes of those values whose dtype is part of the answer."""
    assert not isinstance(reply, drivers.Failure)
    return [v.dtype for o, v in zip(exercise.outputs, reply, strict=True) if o.dtype is not None]
