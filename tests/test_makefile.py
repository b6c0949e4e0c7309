"""What is wrong with the words of a `make` call is said in one line, before minutes of installing."""

import os
import shutil
import subprocess

import pytest

from moe_lessons.build import paths

NEEDED = {"Makefile", "requirements.txt", "pyproject.toml"}
# As if typed in a terminal, though these tests may have been started by make.
TERMINAL = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grade"], "make grade SUBMISSIONS=folder OUT=folder"),
        (["grade", "SUBMISSIONS=class"], "make grade SUBMISSIONS=folder OUT=folder"),
        (["lab", "PYTHON=/nowhere/python3"], "PYTHON=/nowhere/python3 is no Python 3.11 to 3.14"),
        (["lab", "PYTHON=false"], "PYTHON=false is no Python 3.11 to 3.14"),
        (["lab", "PYTHON="], "say where: make lab PYTHON=/path/to/python3"),
    ],
)
def test_wrong_words_are_said_before_anything_is_made(tmp_path, words, said):
    for name in NEEDED:
        shutil.copy(paths.ROOT / name, tmp_path)
    done = subprocess.run(
        ["make", *words], cwd=tmp_path, env=TERMINAL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert len(done.stdout.splitlines()) == 1
    assert said in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == NEEDED
