"""The site, built once for all tests of this folder, without what takes long."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from moe_lessons.build import paths

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside the tests
from crawl import Site


def built(folder, *options):
    """Build a site into a folder; Sphinx's warnings fail the test."""
    made = subprocess.run(
        [
            sys.executable,
            "-m",
            "moe_lessons.build.site",
            "--out",
            folder / "site",
            "--work",
            folder / "work",
            *options,
        ],
        cwd=paths.ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    told = [line for line in made.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
    assert told == []
    return Site(folder / "site")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    pytest.importorskip("sphinx")
    return built(tmp_path_factory.mktemp("site"), "--no-reference", "--no-scripts")


@pytest.fixture(scope="session")
def whole_site(tmp_path_factory):
    pytest.importorskip("sphinx")
    pytest.importorskip("triton")  # the reference imports what it describes, kernels too
    return built(tmp_path_factory.mktemp("whole"), "--no-scripts")
