"""Cases of 13.merge: pairs of experts whose units belong together, and parts that mislead."""

from collections.abc import Sequence

import numpy as np

from moe_lessons.exercises.spec import Case, Plain

SHAPES = ((5, 4), (6, 5), (4, 6))  # D, F
LONGER = 3


def draw(rng: np.random.Generator) -> Sequence[Case]:
    """Three pairs: b is a with its units in another order, and a little different. One pair in order.

    In the three, the longest units of a and b are no pair, and yet go best with each other.
    """
    cases = [_pair(rng, d_model, _mixed(rng, n_units)) for d_model, n_units in SHAPES]
    return [*cases, _pair(rng, 3, np.arange(4), edge=True)]


def _mixed(rng: np.random.Generator, n_units: int) -> np.ndarray:
    """An order in which no unit stays, and which is not its own inverse."""
    while True:
        order = rng.permutation(n_units)
        if (order != np.arange(n_units)).all() and (order[order] != np.arange(n_units)).any():
            return order


def _pair(rng: np.random.Generator, d_model: int, order: np.ndarray, edge: bool = False) -> Case:
    n_units = len(order)
    while True:
        units = rng.standard_normal((n_units, 3, d_model))  # unit, (gate, up, down), D
        units[3] += 0 if edge else units[0]
        partners = units + 0.2 * rng.standard_normal(units.shape)
        for part, (i, j) in enumerate([(0, 1), (2, 3), (1, 2)]):
            # Of one part alone, i and j look exchanged; the other two parts say who is who.
            units[j, part] = units[i, part] + 0.4 * rng.standard_normal(d_model)
            partners[[i, j], part] = units[[j, i], part]
        if not edge:
            units[3] *= LONGER
            partners[0] *= LONGER
        others = partners[order]
        if _clear(units, others, order) and (edge or _misled(units, others, order)):
            break
    names = (("a", units), ("b", others))
    args: dict[str, Plain] = {}
    for name, expert in names:
        args[f"gate_up_{name}_HD"] = np.concatenate([expert[:, 0], expert[:, 1]]).astype(np.float32)
        args[f"down_{name}_DF"] = np.ascontiguousarray(expert[:, 2].T).astype(np.float32)
    args["weight_a"] = round(float(rng.uniform(0.58, 0.8)), 3)
    return Case(f"D={d_model}, F={n_units}{', in the same order' if edge else ''}", args, edge=edge)


def _clear(units: np.ndarray, others: np.ndarray, order: np.ndarray) -> bool:
    """The pairs have the largest sum by far: without any one of them less is reached."""
    from scipy.optimize import linear_sum_assignment  # large, and few exercises need it

    products = np.einsum("apd,bpd->ab", units, others)
    places = np.arange(len(order))
    most = products[order, places].sum()
    for place in places:
        without = products.copy()
        without[order[place], place] = -1e6
        if without[linear_sum_assignment(without, maximize=True)].sum() > most - 1:
            return False
    return True


def _misled(units: np.ndarray, others: np.ndarray, order: np.ndarray) -> bool:
    """Neither gates alone, nor any other part, nor lengths, nor each one's best lead to the partners."""
    from scipy.optimize import linear_sum_assignment  # large, and few exercises need it

    right, products = np.argsort(order), np.einsum("apd,bpd->ab", units, others)
    greedy = _largest_first(products)
    if (greedy == right).all() or (products.argmax(axis=1) == right).all():
        return False
    for parts in ([0], [1], [2], [0, 1]):
        products = np.einsum("apd,bpd->ab", units[:, parts], others[:, parts])
        paired = linear_sum_assignment(products, maximize=True)[1]
        if (paired == right).all() or (paired == greedy).all():
            return False
    ranks = [np.linalg.norm(expert, axis=(1, 2)).argsort() for expert in (units, others)]
    return not (right[ranks[0]] == ranks[1]).all()


def _largest_first(products: np.ndarray) -> np.ndarray:
    """Pairs made one by one, of the largest product that is left."""
    left, paired = products.copy(), np.zeros(len(products), dtype=int)
    for _ in paired:
        i, j = np.unravel_index(left.argmax(), left.shape)
        paired[i] = j
        left[i], left[:, j] = -np.inf, -np.inf
    return paired
