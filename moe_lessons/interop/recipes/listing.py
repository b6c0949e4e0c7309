"""Who uses what, read from the recipes: a row for each model type."""

import importlib
from collections import Counter
from typing import Any, NamedTuple

from moe_lessons.interop.recipes.families import REASONS, RECIPES, Recipe
from moe_lessons.interop.recipes.fields import EXPERTS, TOP_K, WIDTH, Fields
from moe_lessons.layer import LayerSpec
from moe_lessons.routing import Gate

# Settings that some families leave to each model: any value shows what the gate is.
UNSET = {
    "num_experts_per_tok": 1,
    "top_k_experts": 1,
    "n_routed_experts": 2,
    "num_experts": 2,
    "moe_intermediate_size": 1,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
}


class Row(NamedTuple):
    """One model type.

    Attributes
    ----------
    model_type, models : str
    year : int or None
        About when the type came, see `Recipe`.
    score : str
        "softmax", "sigmoid", "sqrt_softplus", "SparseMixer", or "none" where there is no recipe.
    gate, experts : str
        In words.
    top_k, n_experts : int or None
        K and E of the type's default config; None where each model sets its own.
    special : str
        What sets it apart, or why there is no recipe.
    """

    model_type: str
    models: str
    year: int | None
    score: str
    gate: str
    experts: str
    top_k: int | None
    n_experts: int | None
    special: str


def rows() -> list[Row]:
    """Describe every model type by the default config that transformers has for it.

    Raises
    ------
    ImportError
        If transformers is not installed.

    Examples
    --------
    >>> by_type = {row.model_type: row for row in rows()}
    >>> by_type["deepseek_v3"].gate
    'sigmoid, renormalised, times 2.5, 4 of 8 groups by their 2 best, selection bias'
    >>> by_type["mixtral"].top_k, by_type["mixtral"].n_experts
    (2, 8)
    """
    found = [_row(name, recipe) for name, recipe in RECIPES.items()]
    none = [Row(name, "", None, "none", "-", "-", None, None, reason) for name, reason in REASONS.items()]
    return sorted(found + none, key=lambda row: row.model_type)


def scores(since: int = 0) -> dict[str, int]:
    """Count the model types that came in a year or later by what their gate makes of a logit.

    Examples
    --------
    >>> counts = scores(since=2026)
    >>> counts["sigmoid"] > counts["softmax"]
    True
    """
    found = Counter(row.score for row in rows() if row.year is not None and row.year >= since)
    return dict(found.most_common())


def table() -> str:
    """All rows as a Markdown table.

    Examples
    --------
    >>> table().splitlines()[0]
    '| model type | models | gate | experts | K of E | special |'
    """
    lines = ["| model type | models | gate | experts | K of E | special |", "|---|---|---|---|---|---|"]
    for row in rows():
        sizes = "set by each model" if row.top_k is None else f"{row.top_k} of {row.n_experts}"
        sizes = "-" if row.score == "none" else sizes
        lines.append(
            f"| `{row.model_type}` | {row.models} | {row.gate} | {row.experts} | {sizes} | {row.special} |"
        )
    return "\n".join(lines)


class _Filled(Fields):
    """Settings of a default config, with a value for what each model sets for itself."""

    def __call__(self, *names: str, default: Any = ...) -> Any:
        found = super().__call__(*names, default=None)
        filled = [UNSET[name] for name in names if name in UNSET] if found is None else [found]
        if not filled and default is ...:
            return super().__call__(*names)
        return filled[0] if filled else default


def _row(name: str, recipe: Recipe) -> Row:
    fields = _Filled(default_config(name))
    spec = recipe.spec(fields)
    words = spec.describe().split("; ")
    top_k, n_experts = _size(fields, TOP_K, spec.top_k), _size(fields, EXPERTS, spec.n_experts)
    known = Fields(fields.config)(*WIDTH, default=None) is not None and None not in (top_k, n_experts)
    return Row(
        model_type=name,
        models=recipe.models,
        year=recipe.year,
        score=_score(spec),
        gate=words[0],
        experts="; ".join(words[1:]),
        top_k=top_k if known else None,
        n_experts=n_experts if known else None,
        special=recipe.special,
    )


def default_config(name: str) -> Any:
    """The default config of a model type, or of the language model in it.

    Examples
    --------
    >>> default_config("llama4").model_type
    'llama4_text'
    """
    module = importlib.import_module(f"transformers.models.{name}")
    names = [each for each in dir(module) if each.endswith("Config")]
    text = [each for each in names if each.endswith(("TextConfig", "ThinkerConfig"))]
    types = {each: str(getattr(getattr(module, each), "model_type", "")).replace("-", "_") for each in names}
    own = [each for each in names if types[each] == name]
    chosen = next(iter([each for each in text if "Talker" not in each] + own))
    return Fields(getattr(module, chosen)()).config


def _size(fields: Fields, names: tuple[str, ...], otherwise: int) -> int | None:
    inner = fields.inside("ffn_config") if fields("ffn_config", default=None) is not None else fields
    plain = Fields(inner.config)
    if plain("model_type", default="") in ("switch_transformers", "nllb-moe"):
        return otherwise
    size = plain(*names, default=None)
    return size[0] if isinstance(size, list) else size


def _score(spec: LayerSpec) -> str:
    return spec.gate.score if isinstance(spec.gate, Gate) else "SparseMixer"
