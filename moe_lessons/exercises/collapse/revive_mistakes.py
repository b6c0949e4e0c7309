"""What goes wrong in 04.revive, by name."""

from collections.abc import Callable

import torch

from moe_lessons.exercises.spec import Misconception

Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def pairs(counts_E: torch.Tensor) -> list[tuple[int, int]]:
    """Dead experts in order of id, each with its donor: the busiest, the second busiest, and so on."""
    dead = (counts_E == 0).nonzero().flatten().tolist()
    busy = [e for e in counts_E.argsort(descending=True).tolist() if counts_E[e] > 0]
    return [(d, busy[i % len(busy)]) for i, d in enumerate(dead)]


def copied(
    router_ED: torch.Tensor,
    experts_EP: torch.Tensor,
    momentum_EP: torch.Tensor,
    noise_ED: torch.Tensor,
    chosen: list[tuple[int, int]],
) -> Three:
    """Carry out the plan: weights from the donor, its router row with noise, no momentum."""
    router_ED, experts_EP, momentum_EP = router_ED.clone(), experts_EP.clone(), momentum_EP.clone()
    sources = router_ED.clone(), experts_EP.clone()  # a donor may be one that is replaced itself
    for d, donor in chosen:
        router_ED[d] = sources[0][donor] + noise_ED[d]
        experts_EP[d] = sources[1][donor]
        momentum_EP[d] = 0
    return router_ED, experts_EP, momentum_EP


def revived(
    router_ED: torch.Tensor,
    experts_EP: torch.Tensor,
    momentum_EP: torch.Tensor,
    counts_E: torch.Tensor,
    noise_ED: torch.Tensor,
) -> Three:
    """Pair the dead with donors, and copy."""
    return copied(router_ED, experts_EP, momentum_EP, noise_ED, pairs(counts_E))


def _with(
    change: Callable[[Three, tuple[torch.Tensor, ...]], Three],
) -> Callable[..., Three]:
    """The right answer with one of its parts changed; the change sees the answer and the inputs."""

    def wrong(*inputs: torch.Tensor) -> Three:
        return change(revived(*inputs), inputs)

    return wrong


def _by(plan: Callable[[torch.Tensor], list[tuple[int, int]]]) -> Callable[..., Three]:
    """The right copying after another plan of who is replaced by whom."""

    def wrong(*inputs: torch.Tensor) -> Three:
        router_ED, experts_EP, momentum_EP, counts_E, noise_ED = inputs
        return copied(router_ED, experts_EP, momentum_EP, noise_ED, plan(counts_E))

    return wrong


def _one_donor(counts_E: torch.Tensor) -> list[tuple[int, int]]:
    return [(d, int(counts_E.argmax())) for d, _ in pairs(counts_E)]


def _only_one(counts_E: torch.Tensor) -> list[tuple[int, int]]:
    return pairs(counts_E)[:1]


def _quiet_too(counts_E: torch.Tensor) -> list[tuple[int, int]]:
    poor = (counts_E < counts_E.float().mean()).nonzero().flatten().tolist()
    busy = [e for e in counts_E.argsort(descending=True).tolist() if e not in poor]
    return [(d, busy[i % len(busy)]) for i, d in enumerate(poor)]


def _least_busy(counts_E: torch.Tensor) -> list[tuple[int, int]]:
    living = [e for e in counts_E.argsort().tolist() if counts_E[e] > 0]
    return [(d, living[i % len(living)]) for i, (d, _) in enumerate(pairs(counts_E))]


def _in_order_of_id(counts_E: torch.Tensor) -> list[tuple[int, int]]:
    living = (counts_E > 0).nonzero().flatten().tolist()
    return [(d, living[i % len(living)]) for i, (d, _) in enumerate(pairs(counts_E))]


def _zero_weights(right: Three, inputs: tuple[torch.Tensor, ...]) -> Three:
    experts_EP = torch.where((inputs[3] == 0).unsqueeze(1), 0.0, right[1])
    return right[0], experts_EP, right[2]


def _copied_momentum(right: Three, inputs: tuple[torch.Tensor, ...]) -> Three:
    momentum_EP = right[2].clone()
    for d, donor in pairs(inputs[3]):
        momentum_EP[d] = inputs[2][donor]
    return right[0], right[1], momentum_EP


def _no_noise(right: Three, inputs: tuple[torch.Tensor, ...]) -> Three:
    router_ED, experts_EP, momentum_EP, counts_E, noise_ED = inputs
    return copied(router_ED, experts_EP, momentum_EP, torch.zeros_like(noise_ED), pairs(counts_E))


def _old_weights(right: Three, inputs: tuple[torch.Tensor, ...]) -> Three:
    return right[0], inputs[1], right[2]


def _row_of(
    row: Callable[[torch.Tensor, torch.Tensor, int, int], torch.Tensor],
) -> Callable[[Three, tuple[torch.Tensor, ...]], Three]:
    """The right answer, with the revived experts' router rows made otherwise."""

    def change(right: Three, inputs: tuple[torch.Tensor, ...]) -> Three:
        router_ED = right[0].clone()
        for d, donor in pairs(inputs[3]):
            router_ED[d] = row(inputs[0], inputs[4], d, donor)
        return router_ED, right[1], right[2]

    return change


def _dead_as_donors(counts_E: torch.Tensor) -> list[tuple[int, int]]:
    dead, by_load = (counts_E == 0).nonzero().flatten().tolist(), counts_E.argsort(descending=True).tolist()
    return list(zip(dead, by_load, strict=False))


def _noise_in_turn(right: Three, inputs: tuple[torch.Tensor, ...]) -> Three:
    """The i-th dead expert gets the i-th row of the noise."""
    router_ED = right[0].clone()
    for i, (d, donor) in enumerate(pairs(inputs[3])):
        router_ED[d] = inputs[0][donor] + inputs[4][i]
    return router_ED, right[1], right[2]


def _donors_momentum_cleared(right: Three, inputs: tuple[torch.Tensor, ...]) -> Three:
    momentum_EP = right[2].clone()
    for _, donor in pairs(inputs[3]):
        momentum_EP[donor] = 0
    return right[0], right[1], momentum_EP


def _noise_for_all(right: Three, inputs: tuple[torch.Tensor, ...]) -> Three:
    living_E1 = (inputs[3] > 0).unsqueeze(1)
    return right[0] + inputs[4] * living_E1, right[1], right[2]


MISTAKES = (
    Misconception(
        "router_untouched",
        "The dead experts' router rows are as they were. They were not chosen before because of those "
        "rows, and no token will meet the new weights either.",
        wrong=_with(lambda right, inputs: (inputs[0], right[1], right[2])),
    ),
    Misconception(
        "momentum_kept",
        "The momentum of the revived experts is what it was before they died. The first steps would "
        "move the new weights by an old memory; set it to 0.",
        wrong=_with(lambda right, inputs: (right[0], right[1], inputs[2])),
        hint=2,
    ),
    Misconception(
        "momentum_copied",
        "The donor's momentum is copied along. That would be a plan too: weights and momentum belong "
        "together. But the task asks for a fresh start, with momentum 0.",
        wrong=_with(_copied_momentum),
        hint=2,
    ),
    Misconception(
        "donors_momentum_cleared",
        "The donors' momentum is 0 too. They live, and go on as they were: only the revived start anew.",
        wrong=_with(_donors_momentum_cleared),
        hint=2,
    ),
    Misconception(
        "all_momentum_reset",
        "The momentum of every expert is 0 now, also of those that live. Only the revived ones start "
        "anew; the others lose what they had gathered.",
        wrong=_with(lambda right, inputs: (right[0], right[1], torch.zeros_like(right[2]))),
        hint=2,
    ),
    Misconception(
        "noise_alone",
        "The revived experts' router rows are the noise alone. Such a row points anywhere, and no token "
        "looks like it. It should stand beside the donor's, so that the two share the donor's tokens.",
        wrong=_with(_row_of(lambda router_ED, noise_ED, d, donor: noise_ED[d])),
    ),
    Misconception(
        "noise_on_the_dead_row",
        "The noise was added to the dead expert's own router row. That is the row for which no token "
        "chose it. Begin with the donor's row.",
        wrong=_with(_row_of(lambda router_ED, noise_ED, d, donor: router_ED[d] + noise_ED[d])),
    ),
    Misconception(
        "donors_noise",
        "The noise is the donor's row of `noise_ED`. Where two experts copy the same donor, they get the "
        "same row again. Each revived expert has its own.",
        wrong=_with(_row_of(lambda router_ED, noise_ED, d, donor: router_ED[donor] + noise_ED[donor])),
        hint=2,
    ),
    Misconception(
        "noise_in_turn",
        "The first dead expert got the first row of `noise_ED`, the second the second, and so on. The rows "
        "of the noise belong to experts, not to a queue: the revived expert `e` takes row `e`.",
        wrong=_with(_noise_in_turn),
        hint=2,
    ),
    Misconception(
        "noise_for_all",
        "The living got noise on their router rows too. Everything else stays: a row that works is not "
        "touched. Write to the rows of the dead only.",
        wrong=_with(_noise_for_all),
        hint=2,
    ),
    Misconception(
        "weights_kept",
        "The revived experts have their old weights, from before they starved, and AdamW has shrunk them "
        "since. With the donor's router row they get the donor's tokens and know nothing about them.",
        wrong=_with(_old_weights),
        hint=2,
    ),
    Misconception(
        "dead_as_donors",
        "With more dead experts than living ones, the dead became donors too: the list of donors runs on "
        "into those with count 0. When the living run out, begin again with the busiest.",
        wrong=_by(_dead_as_donors),
        hint=3,
    ),
    Misconception(
        "some_left_dead",
        "With more dead experts than living ones, some stayed dead: the list of donors came to its end "
        "first. When the living run out, begin again with the busiest.",
        wrong=_by(lambda counts_E: pairs(counts_E)[: int((counts_E > 0).sum())]),
        hint=3,
    ),
    Misconception(
        "no_noise",
        "The router row is an exact copy of the donor's. Every token then scores both experts the same, "
        "the tie is broken by their order, and one of the two stays empty. Add the noise.",
        wrong=_with(_no_noise),
    ),
    Misconception(
        "zero_weights",
        "The revived experts' weights are zero. In an expert of two matrices each one's gradient is a "
        "product with the other, so from zero nothing ever moves.",
        wrong=_with(_zero_weights),
    ),
    Misconception(
        "one_donor",
        "All dead experts copy the busiest one and crowd in its place. The task spreads them over the "
        "busy ones: busiest, second busiest, ...",
        wrong=_by(_one_donor),
        hint=3,
    ),
    Misconception(
        "only_one",
        "Only one dead expert is revived. `argmin` finds one; there may be several, or none.",
        wrong=_by(_only_one),
        hint=2,
    ),
    Misconception(
        "quiet_too",
        "Experts below the mean load are replaced. They are alive and have learned something, which is "
        "now overwritten. Dead is a count of 0.",
        wrong=_by(_quiet_too),
        hint=1,
    ),
    Misconception(
        "least_busy",
        "The donors are the least busy experts. The idea is to split a crowd: copy those with the most "
        "tokens.",
        wrong=_by(_least_busy),
        hint=3,
    ),
    Misconception(
        "in_order_of_id",
        "The donors are taken in order of id, busy or not. So are the dead, but their donors come in "
        "order of load, the busiest first.",
        wrong=_by(_in_order_of_id),
        hint=3,
    ),
)
