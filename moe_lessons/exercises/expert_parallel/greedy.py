"""Exercise 14.balance: ways to give out copies, and to place them on ranks; two are right."""

Numbers = list[float]


def copies_of(load: Numbers, n_slots: int) -> list[int]:
    """One each, and the next to whoever has most to do per copy."""
    copies = [1] * len(load)
    for _ in range(n_slots - len(load)):
        copies[max(range(len(load)), key=lambda e: load[e] / copies[e])] += 1
    return copies


def packed(items: Numbers, n_ranks: int, slots: int) -> Numbers:
    """Heaviest first, onto the least loaded rank with room."""
    return placed(sorted(items, reverse=True), n_ranks, slots)


def placed(items: Numbers, n_ranks: int, slots: int) -> Numbers:
    """In this order, each onto the least loaded rank with room."""
    totals, room = [0.0] * n_ranks, [slots] * n_ranks
    for item in items:
        rank = min((g for g in range(n_ranks) if room[g]), key=lambda g: totals[g])
        totals[rank] += item
        room[rank] -= 1
    return totals


def hottest_each(load: Numbers, n_slots: int) -> list[int]:
    """One copy more for each of the hottest."""
    more = sorted(range(len(load)), key=lambda e: -load[e])[: n_slots - len(load)]
    return [1 + (e in more) for e in range(len(load))]


def hottest_in_turn(load: Numbers, n_slots: int) -> list[int]:
    """The same, and from the hottest again where there are more slots than that."""
    hottest = sorted(range(len(load)), key=lambda e: -load[e])
    copies = [1] * len(load)
    for i in range(n_slots - len(load)):
        copies[hottest[i % len(load)]] += 1
    return copies


def one_takes_all(load: Numbers, n_slots: int) -> list[int]:
    """All further copies to the hottest."""
    return [1 + (n_slots - len(load)) * (x == max(load)) for x in load]


def coldest(load: Numbers, n_slots: int) -> list[int]:
    """Further copies to whoever has least to do per copy."""
    copies = [1] * len(load)
    for _ in range(n_slots - len(load)):
        copies[min(range(len(load)), key=lambda e: load[e] / copies[e])] += 1
    return copies


def after_the_next(load: Numbers, n_slots: int) -> list[int]:
    """Compare what each would have with one copy more."""
    copies = [1] * len(load)
    for _ in range(n_slots - len(load)):
        copies[max(range(len(load)), key=lambda e: load[e] / (copies[e] + 1))] += 1
    return copies


def in_proportion(load: Numbers, n_slots: int) -> list[int]:
    """Shares of all slots, rounded; what is over goes to the hottest."""
    shares = [max(1, round(n_slots * x / sum(load))) for x in load]
    while sum(shares) > n_slots:
        shares[max(range(len(load)), key=lambda e: shares[e])] -= 1
    while sum(shares) < n_slots:
        shares[max(range(len(load)), key=lambda e: load[e])] += 1
    return shares


def share_of_the_rest(load: Numbers, n_slots: int) -> list[int]:
    """One each, shares of the others rounded down; what is over goes to the hottest."""
    more = n_slots - len(load)
    copies = [1 + int(more * x / sum(load)) for x in load]
    for e in sorted(range(len(load)), key=lambda e: -load[e])[: n_slots - sum(copies)]:
        copies[e] += 1
    return copies


def halved(load: Numbers, n_slots: int) -> list[int]:
    """A copy halves what is left of a load, the third copy too."""
    left, copies = list(load), [1] * len(load)
    for _ in range(n_slots - len(load)):
        e = max(range(len(load)), key=lambda e: left[e])
        left[e] /= 2
        copies[e] += 1
    return copies


def in_order(items: Numbers, n_ranks: int, slots: int) -> Numbers:
    """One rank filled after the other."""
    return [sum(items[g * slots : (g + 1) * slots]) for g in range(n_ranks)]


def sorted_in_order(items: Numbers, n_ranks: int, slots: int) -> Numbers:
    """The same, the heaviest first."""
    return in_order(sorted(items, reverse=True), n_ranks, slots)


def dealt(items: Numbers, n_ranks: int, slots: int) -> Numbers:
    """Dealt in turn, the heaviest first."""
    return [sum(sorted(items, reverse=True)[g::n_ranks]) for g in range(n_ranks)]


def snake(items: Numbers, n_ranks: int, slots: int) -> Numbers:
    """Dealt there and back, there and back."""
    totals = [0.0] * n_ranks
    for i, item in enumerate(sorted(items, reverse=True)):
        turn, place = divmod(i, n_ranks)
        totals[n_ranks - 1 - place if turn % 2 else place] += item
    return totals


def no_room(items: Numbers, n_ranks: int, slots: int) -> Numbers:
    """Greedy, without a limit on a rank's slots."""
    return packed(items, n_ranks, len(items))


def lightest_first(items: Numbers, n_ranks: int, slots: int) -> Numbers:
    """Greedy, from the wrong end."""
    return placed(sorted(items), n_ranks, slots)
