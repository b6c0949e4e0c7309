"""Where things lie in the repository, and its name; every badge and link is made from these."""

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ROOT / "lessons"
NOTEBOOKS = ROOT / "notebooks"
SOLUTIONS = ROOT / "solutions"
PACKAGE = ROOT / "moe_lessons"
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
PICTURES = ROOT / ".github" / "pictures"


@cache
def slug() -> str:
    """The repository as ``owner/name``, read from ``pyproject.toml``, the one place that says it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].removeprefix("https://github.com/").strip("/")


def colab_url(lesson: str) -> str:
    """Where Colab opens a lesson's notebook."""
    return f"https://colab.research.google.com/github/{slug()}/blob/main/notebooks/{lesson}.ipynb"


def binder_url(lesson: str) -> str:
    """Where Binder opens a lesson's notebook."""
    return f"https://mybinder.org/v2/gh/{slug()}/main?urlpath=lab/tree/notebooks/{lesson}.ipynb"


def shows() -> dict[str, dict[str, Any]]:
    """What each of the README's pictures shows, in words; ``make pictures`` writes it beside them."""
    file = PICTURES / "shows.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
