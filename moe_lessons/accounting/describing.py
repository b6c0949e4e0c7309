"""From a name, a path, a dict or a config object to a `Model`."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moe_lessons.accounting.catalogue import find_published, instead, published
from moe_lessons.accounting.choosing import read_family
from moe_lessons.accounting.families import FAMILIES
from moe_lessons.accounting.fields import ConfigError, shown
from moe_lessons.accounting.shapes import Model
from moe_lessons.accounting.unread import mtp, unread

UNREAD = "the config has fields that were not read and may change the count"
MAX_FILE_BYTES = 4_000_000  # a config.json has some kilobytes


def describe(source: object) -> Model:
    """Read what a model is made of; nothing is instantiated.

    Parameters
    ----------
    source : str, path, mapping or object with `to_dict`
        The name of a published model, the path of a config.json or of the folder that holds it, the config as
        a dict, or a `PretrainedConfig` of transformers.

    Returns
    -------
    Model

    Raises
    ------
    ConfigError
        A ValueError whose message names the field that is missing, contradictory or unknown.
    ValueError
        If there is no such name or file.

    Examples
    --------
    >>> describe("Mixtral-8x7B").n_moe_layers
    32
    >>> describe({"model_type": "mixtral", "hidden_size": 4096})
    Traceback (most recent call last):
        ...
    moe_lessons.accounting.fields.ConfigError: config field 'num_attention_heads' is missing
    """
    if isinstance(source, Model):
        return source
    if isinstance(source, Mapping):
        return from_config(source)
    if isinstance(source, (str, os.PathLike)):
        return _from_text(os.fspath(source))
    if callable(getattr(source, "to_dict", None)):
        return from_config(source.to_dict())  # type: ignore[attr-defined]
    raise ConfigError(f"choose a name, a path, a dict or a PretrainedConfig instead of {shown(source)}")


def from_config(config: Mapping[str, Any], name: str = "", source: str = "") -> Model:
    """Describe a config that is already a mapping.

    Examples
    --------
    >>> from moe_lessons.accounting.catalogue import published
    >>> from_config(published()["OLMoE-1B-7B"].config).n_layers
    16
    """
    family, fields, notes = read_family(config)
    model = FAMILIES[family](fields)
    if extra := mtp(fields.values):
        notes = (*notes, f"multi-token prediction layers are left out ({', '.join(extra)})")
    if left := unread(fields):
        notes = (*notes, f"{UNREAD}: {', '.join(left)}")
    return dataclasses.replace(
        model,
        name=name or family,
        family=family,
        source=source,
        assumed=tuple(f"{field}={value}" for field, value in fields.assumed.items()),
        notes=model.notes + notes,
    )


def _from_text(text: str) -> Model:
    is_path = os.sep in text or "/" in text or text.endswith(".json")
    try:
        exists = "\0" not in text and os.path.exists(text)
    except (OSError, ValueError):
        exists = False
    if not exists or (not is_path and _is_published(text)):
        if is_path and not exists:
            # A name on Hugging Face's hub looks like a path.
            other = instead(text.rpartition("/")[2])
            raise ConfigError(f"there is no file {shown(text)}, and nothing is downloaded: {other}")
        known = find_published(text)
        return from_config(known.config, known.name, known.source)
    path = Path(text)
    if path.is_dir():
        path /= "config.json"
        if not path.is_file():
            raise ConfigError(f"{shown(text)} is a folder without config.json")
    return from_config(read_json(path), name=_name_of(path))


def _is_published(text: str) -> bool:
    return text in published()


def _name_of(path: Path) -> str:
    return path.resolve().parent.name if path.name == "config.json" else path.stem


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a config.json; a file that is none is refused in one line.

    Raises
    ------
    ConfigError
        If it is too large, cannot be read, or is not a JSON object.
    """
    name = shown(str(path))
    try:
        if not path.is_file():
            raise ConfigError(f"{name} is not a file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_FILE_BYTES:,} bytes: a config.json has some thousand")
    try:
        config = json.loads(data)
    except RecursionError:
        raise ConfigError(f"{name} is nested too deeply to be a config") from None
    except ValueError as error:
        raise ConfigError(f"{name} is not JSON: {error}") from None
    if not isinstance(config, Mapping):
        raise ConfigError(f"{name} holds a {type(config).__name__}, not an object with fields")
    return config
