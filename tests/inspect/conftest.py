import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside the tests
from tiny_models import build


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Make a family's folder when it is asked for, once."""
    made = {}

    def folder(family):
        if family not in made:
            made[family] = build(family, tmp_path_factory.mktemp("models") / family)
        return made[family]

    return folder


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """Two domains: a little prose and a little code."""
    folder = tmp_path_factory.mktemp("texts")
    prose, code = folder / "prose.txt", folder / "code.py"
    prose.write_text(
        "The router sends each token to a few experts, and the token returns. <b>Done</b>.\n" * 2
    )
    code.write_text("for i in range(10):\n    if i % 2 == 0:\n        print(i, '</script>')\n" * 2)
    return [prose, code]
