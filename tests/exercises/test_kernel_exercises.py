"""Starts the tests of exercises with Triton kernels in a process of their own, in Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moe_lessons.build import paths

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton needs Linux")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["test_exercises.py", "interpreted_driver.py"])
def test_in_the_interpreter(file):
    path = Path(__file__).parent / file
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(path),
        "-k",
        "09 or driver",
    ]
    done = subprocess.run(
        command,
        cwd=paths.ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
