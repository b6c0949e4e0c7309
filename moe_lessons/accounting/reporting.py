"""All figures of one model as plain data, for programs and for tables."""

from dataclasses import dataclass
from typing import Any

from moe_lessons.accounting.catalogue import published
from moe_lessons.accounting.coverage import touched_experts
from moe_lessons.accounting.flops import Flops, decode_flops, prefill_flops, training_flops
from moe_lessons.accounting.memory import (
    DTYPES,
    decode_read_bytes,
    kv_cache_bytes,
    kv_cache_bytes_per_token,
    weight_bytes,
)
from moe_lessons.accounting.parameters import count
from moe_lessons.accounting.shapes import Model, MoE
from moe_lessons.accounting.training import training_bytes


@dataclass(frozen=True)
class Setting:
    """Under what circumstances FLOPs and bytes are counted.

    Parameters
    ----------
    context : int
        Tokens in a sequence.
    batch : int
        Sequences at once, in decode and in training.
    dtype, cache_dtype : str
        Of the weights, and of the key-value cache.
    """

    context: int = 4096
    batch: int = 1
    dtype: str = "bf16"
    cache_dtype: str = "bf16"


def report(model: Model, setting: Setting | None = None) -> dict[str, Any]:
    """Every figure of a model; integers wherever the figure is a count.

    Examples
    --------
    >>> from moe_lessons.accounting import describe
    >>> found = report(describe("Mixtral-8x7B"))
    >>> found["total"], found["components"]["router"], found["bytes"]["weights"]["bf16"]
    (46702792704, 1048576, 93405585408)
    """
    setting = setting or Setting()
    parameters = count(model)
    return {
        "name": model.name,
        "family": model.family,
        "source": model.source,
        "published": _published(model.name) if model.source else None,
        "layers": model.n_layers,
        "total": parameters.total,
        "active": parameters.active,
        "active_excl_input_embedding": parameters.active_excl_input_embedding,
        "active_excl_embed_and_head": parameters.active_excl_embed_and_head,
        "non_embedding": parameters.non_embedding,
        "components": parameters.components,
        "active_components": parameters.active_components,
        "experts": _experts(model, setting.batch),
        "setting": vars(setting).copy(),
        "flops": _flops(model, setting.context),
        "bytes": _bytes(model, setting),
        "assumed": list(model.assumed),
        "notes": list(model.notes),
    }


def _published(name: str) -> dict[str, str]:
    known = published()[name]
    return {"total": known.published_total, "active": known.published_active}


def _experts(model: Model, batch: int) -> list[dict[str, Any]]:
    """One entry for each kind of layer with experts; most models have one kind."""
    kinds: dict[MoE, int] = {}
    for moe, times in model.moes:
        kinds[moe] = kinds.get(moe, 0) + times
    return [
        {
            "layers": times,
            "n_experts": moe.n_experts,
            "top_k": moe.top_k,
            "parameters_per_expert": moe.expert_parameters,
            "touched_in_decode": round(touched_experts(moe, batch), 4),
        }
        for moe, times in kinds.items()
    ]


def _flops(model: Model, context: int) -> dict[str, Any]:
    kinds = {
        "prefill": prefill_flops(model, context),
        "decode": decode_flops(model, context),
        "training": training_flops(model, context),
        "training_recompute": training_flops(model, context, recompute=True),
    }
    found: dict[str, Any] = {"context": context}
    found |= {f"{name}_per_token": flops.total for name, flops in kinds.items()}
    found["parts"] = {name: _parts(flops) for name, flops in kinds.items()}
    return found


def _parts(flops: Flops) -> dict[str, int]:
    return {"matrices": flops.matrices, "context": round(flops.context), "head": flops.head}


def _bytes(model: Model, setting: Setting) -> dict[str, Any]:
    tokens = setting.batch * setting.context
    training = {
        name: training_bytes(model, tokens, recompute)
        for name, recompute in (("training", False), ("training_recompute", True))
    }
    return {
        "weights": {dtype: weight_bytes(model, dtype) for dtype in DTYPES},
        "kv_cache_per_token": kv_cache_bytes_per_token(model, setting.cache_dtype),
        "kv_cache": kv_cache_bytes(model, setting.context, setting.batch, setting.cache_dtype),
        "decode_read": round(
            decode_read_bytes(model, setting.batch, setting.context, setting.dtype, setting.cache_dtype)
        ),
    } | {name: {**vars(needed), "total": needed.total} for name, needed in training.items()}
