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
def _project() -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert isinstance(project, dict)
    return project


def slug() -> str:
    """The repository as ``owner/name``, read from ``pyproject.toml``, the one place that says it."""
    address: str = _project()["urls"]["Repository"]
    return address.removeprefix("https://github.com/").strip("/")


def site_url() -> str:
    """Where GitHub Pages serves the course's site."""
    owner, name = slug().split("/")
    return f"https://{owner}.github.io/{name}/"


def wheel_url() -> str:
    """Where the wheel of this version lies once it is released."""
    name, version = _project()["name"].replace("-", "_"), _project()["version"]
    folder = f"https://github.com/{slug()}/releases/download/v{version}"
    return f"{folder}/{name}-{version}-py3-none-any.whl"


def needs(extra: str = "") -> dict[str, str]:
    """What the package needs, or what an extra adds: the oldest version of each, by name.

    Examples
    --------
    >>> sorted(needs())
    ['click', 'numpy', 'platformdirs', 'rich', 'safetensors', 'torch']
    """
    stated = _project()["optional-dependencies"][extra] if extra else _project()["dependencies"]
    return dict(line.split(">=") for line in stated)


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
