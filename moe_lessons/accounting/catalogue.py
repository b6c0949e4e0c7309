"""Published models: the config fields that count, what their publishers say, and where to read it."""

import difflib
import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Published:
    """One published model.

    Parameters
    ----------
    name : str
    config : dict
        The fields of its config.json (or of its publisher's code) that bear on the count.
    source : str
        Paper and table, repository and file.
    published_total, published_active : str
        The publisher's own figures, as they write them.
    gate, gate_source : str
        A key of `moe_lessons.routing.GATES` and where it can be read; empty where no lesson asks.
    """

    name: str
    config: dict[str, Any]
    source: str
    published_total: str
    published_active: str
    gate: str = ""
    gate_source: str = ""


@functools.cache
def published() -> dict[str, Published]:
    """All published models by name, mixtures of experts first.

    Examples
    --------
    >>> published()["Mixtral-8x7B"].config["num_local_experts"]
    8
    """
    text = resources.files(__package__).joinpath("models.json").read_text(encoding="utf-8")
    return {
        name: Published(
            name,
            row["config"],
            row["source"],
            row["published"]["total"],
            row["published"]["active"],
            **{"gate": row["gate"]["family"], "gate_source": row["gate"]["source"]} if "gate" in row else {},
        )
        for name, row in json.loads(text).items()
    }


def find_published(name: str) -> Published:
    """Look up a model by name; case and separators do not matter.

    Raises
    ------
    ValueError
        If there is none; the message suggests the nearest name.

    Examples
    --------
    >>> find_published("mixtral 8x7b").name
    'Mixtral-8x7B'
    """
    models = published()
    by_key = {_key(known): known for known in models}
    key = _key(name)
    if key in by_key:
        return models[by_key[key]]
    raise ValueError(f"no model or file is called {name[:80]!r}: {instead(name)}")


def instead(name: str) -> str:
    """What to ask for instead of a name that is not known: the nearest one, and where all of them are.

    Examples
    --------
    >>> instead("Mixtral-8x7B-v0.1").partition("?")[0]
    'did you mean Mixtral-8x7B'
    """
    by_key = {_key(known): known for known in published()}
    close = difflib.get_close_matches(_key(name)[:100], by_key, 1, 0.5)
    hint = f"did you mean {by_key[close[0]]}? " if close else ""
    return f"{hint}`moe-lessons count --list` names the models; or give the path of a config.json"


def _key(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
