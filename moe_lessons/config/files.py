"""A run's settings as a file: TOML, flat but for the table of the model's sizes."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from moe_lessons.config.model import ModelConfig
from moe_lessons.config.presets import preset
from moe_lessons.config.training import TrainConfig
from moe_lessons.config.wording import nearest


def to_toml(config: TrainConfig) -> str:
    """Write all settings of a run as TOML; `read_toml` reads it back.

    What is None, as `model.d_dense` can be, is left out: a missing setting has its default.

    Examples
    --------
    >>> print(*to_toml(TrainConfig(steps=5)).splitlines()[:4], sep="\\n")
    name = "custom"
    corpus = "language-reference"
    held_out = ""
    held_out_share = 0.1
    """
    values = config.to_dict()
    model = values.pop("model")
    lines = [f"{name} = {_value(value)}" for name, value in values.items() if value is not None]
    lines += ["", "[model]"]
    lines += [f"{name} = {_value(value)}" for name, value in model.items() if value is not None]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, float):
        return repr(value)
    return str(value)


def read_toml(path: str | Path) -> TrainConfig:
    """Read a run's settings: those that the file names, and for the rest those of its `preset`.

    Parameters
    ----------
    path : path
        `preset` may name one of `PRESETS`; without it, the rest has its default. Paths of corpora and of a
        tokenizer stay as they are; `moe-lessons train` takes them from the file's folder.

    Raises
    ------
    ValueError
        If it is no TOML, or has an unknown setting (the message suggests the nearest) or one of a wrong kind.
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {' '.join(str(error).split())}") from error
    base = (
        preset(_of_kind(path, "preset", values.pop("preset"), str)) if "preset" in values else TrainConfig()
    )
    sizes = values.pop("model", {})
    if not isinstance(sizes, dict):
        raise ValueError(f"{path}: model={sizes!r}: write the model's sizes under [model]")
    found = _known(path, values, base) | _known(path, sizes, base.model, "model.")
    try:
        return base.override(**found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _known(path: str | Path, values: dict[str, Any], base: Any, prefix: str = "") -> dict[str, Any]:
    kinds = {item.name: type(item.default) for item in dataclasses.fields(base)}
    other = {item.name for item in dataclasses.fields(TrainConfig if prefix else ModelConfig)}
    for name, value in values.items():
        if name not in kinds or name == "model":
            hint = nearest(name, [known for known in kinds if known != "model"])
            if name in other:
                hint = "it goes above [model]" if prefix else "it goes under [model]"
            raise ValueError(f"{path}: unknown setting '{prefix}{name}': {hint}")
        values[name] = _of_kind(path, prefix + name, value, kinds[name])
    return values


def _of_kind(path: str | Path, name: str, value: Any, kind: type) -> Any:
    if name == "corpus" and isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return tuple(value)
    if name == "betas":
        if isinstance(value, list) and all(type(v) in (int, float) for v in value):
            return tuple(map(float, value))
        raise ValueError(f"{path}: betas={value!r}: give two numbers, as in [0.9, 0.95]")
    if kind is float and type(value) is int:
        return float(value)
    if kind is type(None):  # d_dense: a whole number or nothing
        kind = int
    if type(value) is not kind:
        what = {int: "a whole number", float: "a number", bool: "true or false", str: "text in quotes"}[kind]
        raise ValueError(f"{path}: {name}={value!r}: give {what}")
    return value
