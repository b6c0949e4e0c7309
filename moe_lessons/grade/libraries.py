"""Where torch, numpy, scipy and what they need are installed: a sandbox shows nothing else."""

import importlib.metadata
import os
import re
from functools import cache
from pathlib import Path

ROOTS = ("torch", "numpy", "scipy", "triton", "matplotlib", "tqdm")
"""The last two for cells that also draw, or show how far they are."""


@cache
def needed() -> dict[Path, tuple[Path, ...]]:
    """For each folder on the import path, what in it a worker needs.

    Examples
    --------
    >>> names = {path.name for paths in needed().values() for path in paths}
    >>> {"torch", "numpy"} <= names, "transformers" in names, "moe_lessons" in names
    (True, False, False)
    """
    found: dict[Path, list[Path]] = {}
    for distribution in _closure():
        folder = Path(os.path.realpath(str(distribution.locate_file(""))))
        found.setdefault(folder, []).extend(_tops(distribution, folder))
    return {folder: tuple(sorted(set(paths))) for folder, paths in found.items()}


def _closure() -> list[importlib.metadata.Distribution]:
    known: dict[str, importlib.metadata.Distribution] = {}
    pending = list(ROOTS)
    while pending:
        name = pending.pop().lower().replace("_", "-")
        if name in known:
            continue
        try:
            known[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system, or an option that was not taken
        for requirement in known[name].requires or ():
            if "extra ==" not in requirement:
                pending.append(re.match(r"[\w.-]+", requirement)[0])  # type: ignore[index]
    return list(known.values())


def _tops(distribution: importlib.metadata.Distribution, folder: Path) -> list[Path]:
    files = distribution.files or []
    names = {file.parts[0] for file in files} or {distribution.name.replace("-", "_")}
    return [folder / name for name in names - {"..", "__pycache__"} if (folder / name).exists()]
