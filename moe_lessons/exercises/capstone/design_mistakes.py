"""The mistakes of 17.design: models of the costs that lead to a design, and sizes that no model explains."""

from collections import Counter
from collections.abc import Callable, Sequence

from moe_lessons.budget import LAYOUTS
from moe_lessons.budget.quality import BITS_COST
from moe_lessons.exercises.capstone.costing import NAMES, Wrong, best, costs, design_of, looked_at, one
from moe_lessons.exercises.capstone.design_judged import OUTPUTS, WITHIN, fits, right, shape_of, verdict
from moe_lessons.exercises.spec import Case, Misconception, Outputs

Detects = Callable[[Case, Outputs, Outputs], bool]

NEAR = 1.01
"""How near a design is to the best one under a mistaken model, by which the mistake is known."""
HARDLY = 1.005
"""By how much a kind of designs has to be behind at least for it to matter that no other is looked at."""
MOST_USED = 0.6
"""Of memory, of time and of the best one's active size: what a small design has at most."""
LARGER = 1.2
"""How many times as large as the best one a large design is at least."""
MOSTLY = 0.6
"""The share of the designs that do not pass which must be of one size for that to be told."""


def _mistaken(wrong: Wrong) -> Detects:
    """Whether a design is what a search without this finds; where that is right, it tells nothing."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        found = best(_key(case), wrong)
        if found is None:  # not one dense model serves so many
            return wrong.one_kind and _looked_at(got, wrong)
        if right(case, got, want):
            return right(case, dict(zip(OUTPUTS, found[1], strict=True)), want)
        refused = verdict(case, got).refused
        starved = bool(refused) and not wrong.text and _starved(refused)
        if (refused and not starved) or not _looked_at(got, wrong):
            return False
        if wrong.one_kind and not fits(case, got, want):
            return _costs_much(found[0], case, got, want)
        cost = costs(one(shape_of(got)), dict(zip(NAMES, _key(case), strict=True)), wrong)
        loss, memory, seconds = (float(column[0]) for column in cost)
        would_fit = memory <= case.args["memory"] and seconds <= case.args["seconds"]  # type: ignore[operator]
        return bool(would_fit and loss <= NEAR * found[0])

    return detects


def _key(case: Case) -> tuple[float, ...]:
    return tuple(float(case.args[name]) for name in NAMES)  # type: ignore[arg-type]


def _looked_at(got: Outputs, wrong: Wrong) -> bool:
    return bool(looked_at(one(shape_of(got)), wrong)[0])


def _costs_much(best_of_kind: float, case: Case, got: Outputs, want: Outputs) -> bool:
    """Whether a design is poor because of its kind: none of it would do, or few, and it is near them."""
    loss, possible = verdict(case, got).loss, verdict(case, want).loss
    assert loss is not None
    assert possible is not None
    none_would_do = best_of_kind > WITHIN * possible
    return none_would_do or (best_of_kind > HARDLY * possible and loss <= WITHIN * best_of_kind)


def _starved(refused: Sequence[str]) -> bool:
    """Whether nothing is held against a design but that so large a one would see too few tokens."""
    return all("tokens / active" in line for line in refused)


def _known(got: Outputs) -> bool:
    """Whether bits and layout are such as there are; `allowed` has no eye for others."""
    *_, bits, layout = shape_of(got)
    return layout in LAYOUTS and bits in BITS_COST


def _not_allowed(case: Case, got: Outputs, want: Outputs) -> bool:
    refused = verdict(case, got).refused
    return bool(refused) and not _starved(refused) and _known(got)


def _size(case: Case, got: Outputs, want: Outputs) -> str:
    """What is wrong with a design that no mistaken model explains: "" where nothing is."""
    if right(case, got, want) or not _known(got):
        return ""
    refused = verdict(case, got).refused
    if refused:
        return "too_large" if _starved(refused) else "not_allowed"
    if fits(case, got, want):
        return "does_not_fit"
    came, mark = (design_of(shape_of(values)) for values in (got, want))
    uses = verdict(case, got).uses
    assert uses is not None
    if max(uses["memory"], uses["seconds"]) < MOST_USED and came.active < MOST_USED * mark.active:
        return "room_left"
    return "too_large" if came.total > LARGER * mark.total else "not_the_best"


def _sized(name: str) -> Detects:
    """Whether a design is of such a size, and no mistaken model explains it."""

    def detects(case: Case, got: Outputs, want: Outputs) -> bool:
        explained = (m.detects and m.detects(case, got, want) for m in MODELS)
        return _size(case, got, want) == name and not any(explained)

    return detects


def _memory_shared_out(seen: Sequence[tuple[Case, Outputs, Outputs]]) -> bool:
    """Whether that explains what does not pass, but for budgets where nothing fits by then.

    What is returned there can be anything, and by itself tells nothing.
    """
    wrong = Wrong(memory_shared=True)
    told = [one for one in seen if not right(*one) and best(_key(one[0]), wrong) is not None]
    return bool(told) and all(_mistaken(wrong)(*one) for one in told)


def _only_too_slow(seen: Sequence[tuple[Case, Outputs, Outputs]]) -> bool:
    """Whether each design that does not pass is held in memory and takes too long."""
    return all(right(*one) or verdict(*one[:2]).over == ("seconds",) for one in seen)


def of_all_budgets(seen: Sequence[tuple[Case, Outputs, Outputs]]) -> str:
    """What most of the designs have in common that do not pass: they are no use, or no good otherwise.

    A third that does not fit or is not allowed is told first. One design for all budgets is told as that,
    unless it is small for most of them: the first that fits may be the same one everywhere.
    """
    if _memory_shared_out(seen):
        return "memory_shared_out"
    sizes = Counter(filter(None, (_size(*one) for one in seen)))
    if not sizes or not all(_known(got) for _, got, _ in seen):
        return ""
    if len({shape_of(got) for _, got, _ in seen}) == 1:
        return "room_left" if sizes["room_left"] >= MOSTLY * sizes.total() else ""
    if _only_too_slow(seen):
        return "time_ignored"
    no_use = ("does_not_fit", "not_allowed")
    if 3 * sum(sizes[name] for name in no_use) >= sizes.total():
        return max(no_use, key=sizes.__getitem__)
    name, n = sizes.most_common(1)[0]
    return name if n >= MOSTLY * sizes.total() else "not_the_best"


MODELS = (
    Misconception(
        "active_in_memory",
        "The design would fit if only the experts of one token had to be held. All of them must be: "
        "memory is paid for `n_experts`, arithmetic for `top_k`.",
        detects=_mistaken(Wrong(active_in_memory=True)),
        hint=1,
    ),
    Misconception(
        "cache_forgotten",
        "The weights fit, and no room is left for the caches. Each user has one, as long as the context: "
        "take it off before you choose.",
        detects=_mistaken(Wrong(cache_in_memory=False)),
        hint=1,
    ),
    Misconception(
        "time_ignored",
        "The design fits memory and is too slow. A step may take `seconds`: keep only designs that are "
        "fast enough, then take the best.",
        detects=_mistaken(Wrong(time=False)),
        hint=2,
    ),
    Misconception(
        "batch_of_one",
        "A step was timed for a single user. A batch touches more experts than a token does, and reads "
        "every user's cache.",
        detects=_mistaken(Wrong(one_user=True)),
        hint=1,
    ),
    Misconception(
        "exchange_forgotten",
        "The design would be fast enough if nothing had to travel. Laid out on several devices, every layer "
        "has two exchanges, which grow with the batch, and with `top_k` where experts are spread out.",
        detects=_mistaken(Wrong(exchange=False)),
        hint=2,
    ),
    Misconception(
        "total_pays",
        "Training was charged for all parameters. A token is multiplied by the active ones only; that is "
        "what experts are for.",
        detects=_mistaken(Wrong(all_compute=True)),
        hint=1,
    ),
    Misconception(
        "text_forgotten",
        "The largest model was taken that fits. Compute spent on size is not spent on text: with few "
        "tokens for each parameter the loss is higher, however large it is.",
        detects=_mistaken(Wrong(text=False)),
        hint=3,
    ),
    Misconception(
        "experts_buy_nothing",
        "The loss was taken from the active parameters alone. At equal active size a model with more "
        "experts acts like a larger one, by the leverage.",
        detects=_mistaken(Wrong(leverage=False)),
        hint=3,
    ),
    Misconception(
        "always_dense",
        "These are *dense* models. In most of the budgets one with experts is better by more than 2 %: "
        "look where memory is left and compute is not.",
        detects=_mistaken(Wrong(dense_alone=True)),
        hint=3,
    ),
    Misconception(
        "memory_pooled",
        "The memory of all devices was added up. `memory` is that of each, and what `cost` says is held "
        "on one: compare these two.",
        detects=_mistaken(Wrong(memory_pooled=True)),
        hint=1,
    ),
    Misconception(
        "one_alone",
        "Only one of the devices is used. Where there are several, sharing out the experts or cutting "
        "the matrices makes room and saves time: go through all layouts.",
        detects=_mistaken(Wrong(one_alone=True)),
        hint=2,
    ),
    Misconception(
        "full_bits",
        "All weights have 16 bits. With 8 they take about half the room and half the time to read, and "
        "lose next to nothing: go through the bits as well.",
        detects=_mistaken(Wrong(full_bits=True)),
        hint=2,
    ),
    Misconception(
        "memory_shared_out",
        "The memory was divided by the devices. `memory` is that of each, and what `cost` says is held on "
        "one: compare these two.",
        detects=_mistaken(Wrong(memory_shared=True)),
        hint=1,
    ),
    Misconception(
        "few_experts",
        "No design has more than 16 experts. With more of them, at the same active size, the loss is "
        "lower as long as memory holds: go on to 512.",
        detects=_mistaken(Wrong(few_experts=True)),
        hint=2,
    ),
    Misconception(
        "narrow_alone",
        "No design is wider than 2,048. With much compute, text and memory wider ones are better: go on to "
        "8,192.",
        detects=_mistaken(Wrong(narrow=True)),
        hint=2,
    ),
)
SIZES = (
    Misconception(
        "not_allowed",
        "A design was returned that `allowed` refuses. `cost` has a formula for it all the same, and "
        "nobody has measured there: ask `allowed` first, and go on where it says no.",
        detects=_not_allowed,
        hint=1,
    ),
    Misconception(
        "does_not_fit",
        "A design does not fit: it is larger on a device than `memory`, or slower than `seconds`. Ask `cost` "
        "for each design, and drop it where one of the two is too much, before you look at the loss.",
        detects=_sized("does_not_fit"),
        hint=1,
    ),
    Misconception(
        "room_left",
        "Most of the designs that do not pass leave much of memory and time unused, and larger ones that fit "
        "have a lower loss. Keep the *lowest loss* of those that fit: not the first, the smallest or the "
        "fastest.",
        detects=_sized("room_left"),
        hint=1,
    ),
    Misconception(
        "too_large",
        "Most of the designs that do not pass are too large: smaller ones that fit have a lower loss. "
        "Compute spent on size is not spent on text, and parameters that fill the memory are no aim: let "
        "`cost` say which loss is lowest.",
        detects=_sized("too_large"),
        hint=3,
    ),
    Misconception(
        "not_the_best",
        "Most of the designs that do not pass do fit; their loss is more than 2 % above that of others. Go "
        "through whole lists of widths, experts and their sizes, `top_k`, bits and layouts, all combinations "
        "of them and not one list after the other, and keep the lowest loss of what fits.",
        detects=_sized("not_the_best"),
        hint=2,
    ),
)
MISTAKES = (*MODELS, *SIZES)
