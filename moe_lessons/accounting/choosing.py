"""Which part of a config is the language model, and which family reads it."""

import difflib
from collections.abc import Mapping
from typing import Any

from moe_lessons.accounting.families import ALIASES, FAMILIES, TEXT_OF
from moe_lessons.accounting.fields import ConfigError, Fields, shown
from moe_lessons.accounting.unread import unread

# Where a model of several parts keeps its language model, in the order in which they are looked for.
INNER = ("text_config", "thinker_config", "language_config", "llm_config")


def read_family(config: Mapping[str, Any]) -> tuple[str, Fields, tuple[str, ...]]:
    """The family of a config, the fields of its language model, and what was left out.

    A model of several parts is followed down to its language model; towers for images and sound, decoders of
    speech and projections between the parts are named and not counted.

    Raises
    ------
    ConfigError
        If the family is not known; the message names the nearest known one, and what that one would not read.

    Examples
    --------
    >>> outer = {"model_type": "qwen3_vl_moe", "vision_config": {"depth": 27}, "text_config": {}}
    >>> family, fields, notes = read_family(outer)
    >>> family, fields.path, notes
    ('qwen3_vl_moe_text', 'text_config.', ('only the language model is counted; left out: vision_config',))
    """
    inner, path, left_out = _language_model(config)
    family = _known(inner.get("model_type"))
    if family is None and path:
        family = _known(config.get("model_type"))
    if family is None:
        raise ConfigError(_unknown(inner, path))
    if path and "tie_word_embeddings" in config and config["tie_word_embeddings"] is not None:
        inner = {**inner, "tie_word_embeddings": config["tie_word_embeddings"]}
    fields = Fields(_standard_names(family, inner), path)
    fields.ignore("model_type", *(name for name in inner if _is_tower(name, inner[name])))
    if not path and not left_out:
        return family, fields, ()
    what = ", ".join(left_out) if left_out else "what surrounds it (vision, audio)"
    return family, fields, (f"only the language model is counted; left out: {what}",)


def _language_model(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], str, list[str]]:
    path, left_out = "", []
    while True:
        towers = [name for name in config if _is_tower(name, config[name])]
        found = next((name for name in INNER if isinstance(config.get(name), Mapping)), None)
        left_out += [path + name for name in towers if name != found]
        if found is None:
            return config, path, left_out
        path, config = f"{path}{found}.", config[found]


def _is_tower(name: object, value: object) -> bool:
    """Whether a section is a part of a model that is not its language model."""
    parts = ("vision", "vit", "audio", "speech", "talker", "code2wav", "sam", "projector", "mm_", "token2wav")
    return (
        isinstance(name, str)
        and isinstance(value, Mapping)
        and name.endswith("_config")
        and any(part in name for part in parts)
    )


def _known(model_type: object) -> str | None:
    if not isinstance(model_type, str):
        return None
    model_type = TEXT_OF.get(model_type, model_type)
    return model_type if model_type in FAMILIES else None


def _standard_names(family: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under the names that the reader asks for; a family may write a field in two ways."""
    values = dict(values)
    for other, name in ALIASES.get(family, {}).items():
        if values.get(other) is not None:
            if values.get(name) not in (None, values[other]):
                raise ConfigError(
                    f"config field '{name}' is {shown(values[name])}: {other}={shown(values[other])} "
                    "says otherwise"
                )
            values[name] = values.pop(other)
    return values


def _unknown(config: Mapping[str, Any], path: str) -> str:
    family = config.get("model_type")
    if family is None:
        return f"config field '{path}model_type' is missing: it says which family the config belongs to"
    names = [*FAMILIES, *TEXT_OF]
    close = difflib.get_close_matches(family[:100], names, 1, 0.7) if isinstance(family, str) else []
    hint = f"; the nearest known one is {close[0]}{_would_miss(config, close[0])}" if close else ""
    return (
        f"config field '{path}model_type' is {shown(family)}: this family is unknown{hint}. "
        f"`moe-lessons count --families` names the {len(names)} that are known"
    )


def _would_miss(config: Mapping[str, Any], close: str) -> str:
    """What reading the config as another family would overlook."""
    family = TEXT_OF.get(close, close)
    fields = Fields(_standard_names(family, config))
    fields.ignore("model_type")
    try:
        FAMILIES[family](fields)
    except ConfigError as error:
        return f", which cannot read this config ({error})"
    left = unread(fields)
    return f", which would not read {', '.join(left)}" if left else ""
