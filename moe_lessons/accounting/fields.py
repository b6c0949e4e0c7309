"""Read the fields of a config one by one; what does not fit is named, never guessed."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

MAX_SIZE = 10**9  # of any width or count; a typing error shows before it becomes a number of parameters
MAX_LAYERS = 10_000


class ConfigError(ValueError):
    """A config that cannot be counted; the message names the field, its value and the remedy."""


def shown(value: object) -> str:
    """A value as an error message shows it: one line, cut where it grows long."""
    try:
        text = repr(value)
    except Exception:  # a repr of someone else's object may fail in any way
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


class Fields:
    """The fields of one config.

    Parameters
    ----------
    values : mapping
        The config as read from JSON.
    path : str
        Where this mapping lies inside a larger config, such as ``ffn_config.``.

    Raises
    ------
    ConfigError
        By every reader below, if a field is missing or holds what it cannot hold.

    Examples
    --------
    >>> Fields({"hidden_size": -4}).integer("hidden_size")
    Traceback (most recent call last):
        ...
    moe_lessons.accounting.fields.ConfigError: config field 'hidden_size' is -4: choose a whole number ...
    """

    def __init__(
        self, values: Mapping[str, Any], path: str = "", assumed: dict[str, object] | None = None
    ) -> None:
        self.values = values
        self.path = path
        self.assumed: dict[str, object] = {} if assumed is None else assumed
        self.asked: set[str] = set()
        self.sections: list[Fields] = []

    def _bad(self, name: str, remedy: str) -> ConfigError:
        return ConfigError(f"config field '{self.path}{name}' is {shown(self.values.get(name))}: {remedy}")

    def _missing(self, name: str) -> ConfigError:
        others = [key for key in self.values if isinstance(key, str) and key != name][:1000]
        close = difflib.get_close_matches(name, others, 1, 0.8)
        state = "null, and needed" if name in self.values else "missing"
        hint = f"; did you mean it by '{self.path}{close[0]}'?" if close else ""
        return ConfigError(f"config field '{self.path}{name}' is {state}{hint}")

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        self.asked.add(name)
        return self.values.get(name) is not None

    def assume(self, name: str, value: object) -> None:
        """Remember that an absent field was taken to be `value`."""
        self.assumed[self.path + name] = value

    def integer(
        self, name: str, default: int | None = None, low: int = 1, high: int = MAX_SIZE, note: str = ""
    ) -> int:
        """A whole number; `default` stands for an absent one, and is reported."""
        if not self.has(name):
            if default is None:
                raise self._missing(name)
            self.assume(name, default)
            return default
        value = self.values[name]
        if type(value) is not int or not low <= value <= high:
            bound = f"{high:,}".replace(",", " ") if high == MAX_SIZE else str(high)
            raise self._bad(name, f"choose a whole number from {low} to {bound}{note}")
        return value

    def optional(self, name: str, absent: int | None = None) -> int | None:
        """A whole number or None for null; `absent` stands for an absent one, and is reported."""
        self.asked.add(name)
        if name not in self.values and absent is not None:
            self.assume(name, absent)
            return absent
        return self.integer(name) if self.has(name) else None

    def nullable(self, name: str) -> int | None:
        """A whole number or null, where leaving the field out would say nothing."""
        if name not in self.values:
            raise self._missing(name)
        return self.optional(name)

    def flag(self, name: str, default: bool) -> bool:
        """True or false; an absent flag is `default`, and is reported."""
        if not self.has(name):
            self.assume(name, default)
            return default
        value = self.values[name]
        if type(value) is not bool:
            raise self._bad(name, "choose true or false")
        return value

    def integers(self, name: str, low: int = 0, high: int = MAX_SIZE) -> tuple[int, ...] | None:
        """A list of whole numbers, or None where it is absent."""
        if not self.has(name):
            return None
        value = self.values[name]
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MAX_LAYERS:
            raise self._bad(name, "choose a list of whole numbers")
        if any(type(item) is not int or not low <= item <= high for item in value):
            raise self._bad(name, f"choose whole numbers from {low} to {high}")
        return tuple(value)

    def words(self, name: str, length: int, allowed: Sequence[str]) -> tuple[str, ...] | None:
        """A list of `length` words, each one of `allowed`, or None where it is absent."""
        if not self.has(name):
            return None
        value = self.values[name]
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != length:
            raise self._bad(name, f"choose a list of {length}, one for each layer")
        for item in value:
            if item not in allowed:
                raise ConfigError(
                    f"config field '{self.path}{name}' holds {shown(item)}: choose from {', '.join(allowed)}"
                )
        return tuple(value)

    def section(self, name: str) -> "Fields":
        """A mapping inside the config."""
        if not self.has(name):
            raise self._missing(name)
        value = self.values[name]
        if not isinstance(value, Mapping):
            raise self._bad(name, "choose an object with its own fields")
        inner = Fields(value, f"{self.path}{name}.", self.assumed)
        self.sections.append(inner)
        return inner

    def ignore(self, *names: str) -> None:
        """Say of fields that they change nothing here, so that nobody is told they were not read."""
        self.asked.update(names)

    def require(self, name: str, condition: bool, remedy: str) -> None:
        """Refuse the field's value unless `condition` holds."""
        if not condition:
            raise self._bad(name, remedy)

    def must_be(self, name: str, value: object) -> None:
        """Refuse a field that, if present, would change the count in a way that is not known."""
        if self.has(name) and self.values[name] != value:
            raise self._bad(name, f"only {shown(value)} can be counted")
