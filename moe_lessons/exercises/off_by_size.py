"""Mistakes in a size or an axis, in any exercise: a wrong normaliser, one axis too many, the wrong axis.

They are told from the values or shapes alone, and named only where one explanation fits every wrong case.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np

from moe_lessons.exercises.crashes import LETTERS, axis_sizes
from moe_lessons.exercises.findings import Trial, same
from moe_lessons.exercises.spec import Case, Exercise, Mistake, Output

FACTOR, NORMALISER = "size_factor", "other_normaliser"
OTHER_AXIS, OTHER_SHAPE, NOT_REDUCED = "other_axis", "other_shape", "not_reduced"


def off_by_size(exercise: Exercise, trials: Sequence[Trial]) -> Mistake | None:
    """The one of these mistakes that explains all these cases: they are wrong, and returned something."""
    off = [o for o in exercise.outputs if not all(_fine(o, t) for t in trials)]
    if not off or any(o.kind in ("bool", "text") for o in off):
        return None
    wrong = {o.name: [t for t in trials if not _fine(o, t)] for o in off}
    return _factor(off, wrong) or _shape(off, wrong)


def _fine(output: Output, t: Trial) -> bool:
    assert t.got is not None
    return same(output, t.got[output.name], t.want[output.name])


def _factor(off: Sequence[Output], wrong: dict[str, list[Trial]]) -> Mistake | None:
    """What is wrong is the right value times a size, or over one, the same size for every output."""
    found: list[set[str]] = []
    for output in off:
        factors = [_ratio(output, t) for t in wrong[output.name]]
        if None in factors or len({round(float(f or 0), 6) for f in factors}) < 2:
            return None
        fitting: dict[int, set[str]] = {}
        for words, terms, values in _products([_numbers(t.case) for t in wrong[output.name]]):
            if np.allclose(np.array(factors, dtype=float), values, rtol=2 * max(output.rtol, 1e-6)):
                fitting.setdefault(terms, set()).add(words)
        found.append(fitting[min(fitting)] if fitting else set())
    common = set.intersection(*found) if found else set()
    names = " and ".join(f"`{o.name}`" for o in off)
    if len(common) != 1:
        return _normaliser(names, off, wrong)
    return Mistake(
        FACTOR,
        f"{names}: the right values {common.pop()}. A size is missing from the formula or stands in it once "
        "too often; or a mean was taken where a sum belongs, or the other way round.",
        hint=0,
    )


def _normaliser(names: str, off: Sequence[Output], wrong: dict[str, list[Trial]]) -> Mistake | None:
    """Each case has a factor of its own, one for all its numbers: they are divided by something else."""
    told = [np.size(t.want[o.name]) for o in off for t in wrong[o.name]]
    ratios = [[_ratio(o, t) or 0.0 for t in wrong[o.name]] for o in off]
    alike = all(len(r) == len(ratios[0]) and np.allclose(r, ratios[0], rtol=1e-3) for r in ratios)
    if min(told) < 3 or not alike:
        return None
    return Mistake(
        NORMALISER,
        f"{names}: the right values but for a factor, another one for each input and the same for all its "
        "numbers. They stand in the right proportion and are divided, or multiplied, by the wrong thing. "
        "What should they sum to?",
        hint=0,
    )


def _numbers(case: Case) -> dict[str, float]:
    """The sizes of the axes, and the numbers among the arguments that are not such a size."""
    sizes = axis_sizes(case)
    plain = {n: a for n, a in case.args.items() if isinstance(a, int | float) and not isinstance(a, bool)}
    return {**sizes, **{f"`{n}`": float(a) for n, a in plain.items() if n not in LETTERS}}


def _ratio(output: Output, t: Trial) -> float | None:
    """The one number that the right values were multiplied by, if there is one and it is not 1."""
    assert t.got is not None
    a, b = (np.asarray(values[output.name]) for values in (t.got, t.want))
    if a.shape != b.shape or a.dtype.kind not in "fiu" or not np.isfinite(a).all() or not np.any(b):
        return None
    at = np.unravel_index(np.abs(b).argmax(), b.shape)
    ratio = float(a[at] / b[at])
    if abs(ratio) < 1e-9 or not np.allclose(a / ratio, b, rtol=max(output.rtol, 1e-6), atol=output.atol):
        return None
    return ratio


def _products(sizes: Sequence[dict[str, float]]) -> Iterator[tuple[str, int, np.ndarray]]:
    """Sizes, and products and quotients of two: in words, of how many, and what they are in every case."""
    letters = sorted(set.intersection(*(set(s) for s in sizes)))
    of = {x: np.array([s[x] for s in sizes], dtype=float) for x in letters}
    of = {x: values for x, values in of.items() if values.all()}
    for x in of:
        yield f"times {x}", 1, of[x]
        yield f"divided by {x}", 1, 1 / of[x]
    for x, y in permutations(of, 2):
        yield f"times {x} / {y}", 2, of[x] / of[y]
        if x < y:
            yield f"times {x} · {y}", 2, of[x] * of[y]
            yield f"divided by {x} · {y}", 2, 1 / (of[x] * of[y])
    for x, y, z in permutations(of, 3):
        if x < y and len(of) < 6:  # among many numbers three of them fit by chance
            yield f"times {x} · {y} / {z}", 3, of[x] * of[y] / of[z]
            yield f"times {z} / ({x} · {y})", 3, of[z] / (of[x] * of[y])


def _long(array: np.ndarray) -> list[int]:
    """The sizes of its axes without those of size 1."""
    return [size for size in array.shape if size > 1]


def _shape(off: Sequence[Output], wrong: dict[str, list[Trial]]) -> Mistake | None:
    """One output has another shape: right numbers in it, or one more axis, or an axis of another's size."""
    if len(off) != 1:
        return None
    (output,) = off
    trials = wrong[output.name]
    pairs = [(np.asarray(t.got[output.name]), np.asarray(t.want[output.name])) for t in trials if t.got]
    if not pairs or any(a.dtype.kind not in "fiub" or a.shape == b.shape for a, b in pairs):
        return None
    shown = f"[{', '.join(map(str, pairs[0][0].shape))}]"
    asked = f"[{', '.join(output.axes)}]" if output.axes else "a single number"
    if all(a.size == b.size and same(output, a.reshape(b.shape), b) for a, b in pairs):
        more = "Whoever uses it next tells by the axes what is what."
        if all(_long(a) == _long(b) for a, b in pairs):
            more = (
                "An axis of size 1 that `keepdim` or `[:, None]` left there is one too many for whoever uses "
                "it next."
            )
        return Mistake(
            OTHER_SHAPE,
            f"`{output.name}` has the right numbers in another shape, {shown}; asked for is {asked}. {more}",
            hint=0,
        )
    for axis in range(pairs[0][0].ndim):
        for how in (np.sum, np.mean):
            if all(a.ndim == b.ndim + 1 and same(output, how(a, axis=axis), b) for a, b in pairs):
                what = "sum" if how is np.sum else "mean"
                return Mistake(
                    NOT_REDUCED,
                    f"`{output.name}` has one axis too many, {shown}; asked for is {asked}. All that is left "
                    f"to do is to take the {what} along that axis.",
                    hint=0,
                )
    return _other_axis(output, trials, pairs)


def _other_axis(
    output: Output, trials: Sequence[Trial], pairs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Mistake | None:
    """One axis has the size of another one, in every case; the numbers cannot be right then."""
    if any(a.ndim != b.ndim for a, b in pairs):
        return None
    found = set()
    for place, letter in enumerate(output.axes):
        rest = [[np.delete(np.array(x.shape), place).tolist() for x in pair] for pair in pairs]
        if any(a != b for a, b in rest):
            continue
        sizes = [axis_sizes(t.case) for t in trials]
        came = [a.shape[place] for a, _ in pairs]
        others = set.intersection(*(set(s) for s in sizes)) - {letter}
        found |= {(letter, x) for x in others if [s[x] for s in sizes] == came}
    if len(found) != 1 or len({a.shape for a, _ in pairs}) < 2:
        return None
    letter, other = found.pop()
    return Mistake(
        OTHER_AXIS,
        f"`{output.name}` has one value for each of {other} where one for each of {letter} is asked for. A "
        "sum, a mean or a count ran along the wrong axis: `dim` names the axis that goes away.",
        hint=0,
    )
