"""Names that load their module only when they are used (PEP 562), so that importing a package is cheap."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy(package: str, exports: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : str
        The dotted name of the package.
    exports : mapping of str to str
        Each name that the package offers, and its module that defines it.

    Examples
    --------
    >>> get, names = lazy("moe_lessons.config", {"ModelConfig": "model"})
    >>> get("ModelConfig").__name__
    'ModelConfig'
    >>> get("ModelConfg")
    Traceback (most recent call last):
        ...
    AttributeError: module 'moe_lessons.config' has no attribute 'ModelConfg'
    """

    def get(name: str) -> Any:
        if name in exports:
            return getattr(importlib.import_module(f"{package}.{exports[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *exports})

    return get, names
