"""Answers to 13.what_trains: kinds told by names, plans, and a place for each mistake in either."""

import re
from collections.abc import Callable

import torch
from torch import Tensor

Kind = Callable[[str], bool]


def is_router(name: str) -> bool:
    """It lies in a module that is called gate or router."""
    return not {"gate", "router"}.isdisjoint(name.split("."))


def is_expert(name: str) -> bool:
    """It lies in a module that is called experts."""
    return "experts" in name.split(".")


def answer(names: str, plan: str, router: Kind = is_router, expert: Kind = is_expert) -> Tensor:
    """What trains under a plan, a bool for each line, with a way to tell routers and one to tell experts."""
    trains: dict[str, Kind] = {
        "all": lambda name: True,
        "router frozen": lambda name: not router(name),
        "experts frozen": lambda name: not expert(name),
        "only experts": expert,
        "only router": router,
        "only the rest": lambda name: not (router(name) or expert(name)),
    }
    return torch.tensor([trains[plan](name) for name in names.splitlines()])


def reference(names: str, plan: str) -> Tensor:
    """Split each name at its dots and look at the parts."""
    return answer(names, plan)


def but(router: Kind = is_router, expert: Kind = is_expert) -> Callable[[str, str], Tensor]:
    """The answer with another way to tell one kind, or both."""
    return lambda names, plan: answer(names, plan, router, expert)


def read_as(**plans: str) -> Callable[[str, str], Tensor]:
    """One plan taken for another; underscores stand for spaces."""
    read = {old.replace("_", " "): new for old, new in plans.items()}
    return lambda names, plan: answer(names, read.get(plan, plan))


def _without(kind: Kind, other: Kind) -> Kind:
    return lambda name: kind(name) and not other(name)


def letters(*words: str) -> tuple[Callable[[str, str], Tensor], ...]:
    """A router by letters in its name, beside each way to tell experts, and whichever is asked first."""

    def router(name: str) -> bool:
        return any(word in name for word in words)

    experts: tuple[Kind, ...] = (is_expert, lambda name: "experts" in name, lambda name: "expert" in name)
    both = tuple(but(router, expert) for expert in experts)
    router_first = tuple(but(router, _without(expert, router)) for expert in experts)
    return both + router_first + tuple(but(_without(router, expert), expert) for expert in experts)


def inverted(names: str, plan: str) -> Tensor:
    """What stands still."""
    return ~answer(names, plan)


def rest_keeps(part: str) -> Callable[[str, str], Tensor]:
    """“only the rest” forgets one of the two kinds."""
    return read_as(only_the_rest=f"{'router' if part == 'experts' else 'experts'} frozen")


def freeze_too_much(names: str, plan: str) -> Tensor:
    """Router and experts are frozen together."""
    return answer(names, "only the rest" if plan.endswith("frozen") else plan)


def only_too_much(names: str, plan: str) -> Tensor:
    """Router and experts train together."""
    right = answer(names, plan)
    return ~answer(names, "only the rest") if plan in ("only experts", "only router") else right


def matches(pattern: str) -> Kind:
    """The name has this pattern in it."""
    return lambda name: re.search(pattern, name) is not None


def innermost(*modules: str) -> Kind:
    """The module right around a parameter has one of these names."""
    return lambda name: name.split(".")[-2] in modules
