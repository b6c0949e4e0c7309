"""Which tensors a plan trains. Most models call the router `gate`, and a projection of experts too."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

PLANS = {
    "all": ("router", "experts", "rest"),
    "router frozen": ("experts", "rest"),
    "experts frozen": ("router", "rest"),
    "only experts": ("experts",),
    "only experts and router": ("router", "experts"),
    "only router": ("router",),
    "only the rest": ("rest",),
}
"""A plan's name -> the parts that it trains; the rest is what every token meets."""

ROUTER_WORDS = {"router", "gate"}  # `mlp.gate.weight` is a router, `mlp.gate_proj.weight` is not
EXPERT_WORDS = {"experts"}  # and not `shared_experts` or `shared_expert`, which every token meets


def part_of(name: str) -> str:
    """Say to which part a tensor belongs: "router", "experts" or "rest".

    Parameters
    ----------
    name : str
        As in `named_parameters`, of our models or of transformers'.

    Examples
    --------
    >>> [part_of(f"layers.2.mlp.{name}.weight") for name in ("gate", "gate_proj", "experts.0.gate_proj")]
    ['router', 'rest', 'experts']
    >>> part_of("blocks.0.moe.experts.gate_up_proj"), part_of("layers.1.mlp.shared_experts.up_proj.weight")
    ('experts', 'rest')
    """
    words = set(name.split("."))
    if words & EXPERT_WORDS:
        return "experts"
    return "router" if words & ROUTER_WORDS else "rest"


def trainable(names: Iterable[str], plan: str) -> list[str]:
    """Return the names that a plan trains.

    Raises
    ------
    ValueError
        If the plan is unknown, or one of its parts matches no name: what is never found is never frozen.

    Examples
    --------
    >>> names = ["head.weight", "moe.router.weight", "moe.experts.down_proj"]
    >>> trainable(names, "only router"), trainable(names, "experts frozen")
    (['moe.router.weight'], ['head.weight', 'moe.router.weight'])
    """
    if plan not in PLANS:
        raise ValueError(f"plan is {plan!r}: choose one of {', '.join(PLANS)}")
    names = list(names)
    parts = {name: part_of(name) for name in names}
    for part in ("router", "experts", "rest"):
        if part not in parts.values():
            raise ValueError(
                f"plan {plan!r}: none of the names, such as {names[:2]}, belongs to the {part}; "
                "what is not found is not frozen either"
            )
    return [name for name in names if parts[name] in PLANS[plan]]


@contextmanager
def frozen(model: nn.Module, plan: str) -> Iterator[None]:
    """Let gradients reach what a plan trains, and nothing else, as long as the `with` block lasts.

    AdamW leaves parameters without a gradient alone, their weight decay included.

    Raises
    ------
    ValueError
        As `trainable`.

    Examples
    --------
    >>> from moe_lessons.model import ModelConfig, MoETransformer
    >>> model = MoETransformer(ModelConfig(n_layers=1, d_model=8, n_heads=2, d_expert=8))
    >>> with frozen(model, "only router"):
    ...     [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    ['blocks.0.moe.router.weight']
    """
    moving = set(trainable([name for name, _ in model.named_parameters()], plan))
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    try:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in moving)
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(before[name])
