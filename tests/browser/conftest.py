"""A JupyterLab started by ``make lab``, and a Chromium that drives it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from moe_lessons.build import paths

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside the tests
from chromium import launched
from notebook import Notebook

START_TIMEOUT_S = 600
PATIENCE_MS = 120_000
"""For all that should come: a busy machine takes its time, and only what fails waits so long."""
OURS = "moe-lessons-names"
"""The course's extension of JupyterLab."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Where the lab keeps its settings, kernels and progress."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def lab(home):
    """Address of a running lab; its settings, kernels and progress are all its own."""
    with running_lab(home) as address:
        yield address


@contextmanager
def running_lab(home, plain=False):
    """Run ``make lab`` with a home of its own; a plain one lacks the course's extension and settings."""
    port = free_port()
    arguments = (
        f"--no-browser --ip=127.0.0.1 --port={port} --IdentityProvider.token= --ServerApp.password= "
        "--LabApp.expose_app_in_browser=True --LabApp.extension_manager=readonly"
    )
    env = {
        **os.environ,
        "LAB_ARGS": arguments,
        "MOE_LESSONS_HOME": str(home / "progress"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    # What a test types must not end up in the repository.
    settings = home / "settings" / "@jupyterlab" / "docmanager-extension" / "plugin.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"autosave": false}')
    if plain:
        _write(home / "config" / "labconfig" / "page_config.json", {"disabledExtensions": {OURS: True}})
        manager = home / "settings" / "@jupyter-widgets" / "jupyterlab-manager"
        _write(manager / "plugin.jupyterlab-settings", {"saveState": False})
    (paths.ROOT / ".venv" / ".trusted").unlink(missing_ok=True)  # this home has not been told whom to trust
    log = (home / "lab.log").open("w")
    process = subprocess.Popen(
        ["make", "--no-print-directory", "-e", "lab"],
        cwd=paths.ROOT,
        env=env,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(f"{address}/api/status", timeout=2):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail("the lab did not start:\n" + (home / "lab.log").read_text()[-2000:])
                time.sleep(0.3)
        yield address
    finally:
        log.close()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _write(file, settings):
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(settings))


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    playwright.expect.set_options(timeout=PATIENCE_MS)
    try:
        with launched() as browser:
            yield browser
    except FileNotFoundError as error:
        pytest.fail(str(error))


@pytest.fixture(scope="module")
def open_notebook(lab, home, browser):
    """Opens a notebook on a page of its own; ``notebook.problems`` holds errors and what left the machine.

    The tests of each module are a learner who has not begun: what those before them predicted and passed in
    the same lab is forgotten. A kernel reads its progress anew each time.
    """
    shutil.rmtree(home / "progress", ignore_errors=True)
    with opens(lab, browser) as open_notebook:
        yield open_notebook


@pytest.fixture(scope="module")
def open_plainly(browser, tmp_path_factory):
    """The same in a lab without the course's extension and settings."""
    with (
        running_lab(tmp_path_factory.mktemp("plain"), plain=True) as address,
        opens(address, browser) as open_notebook,
    ):
        yield open_notebook


@contextmanager
def opens(lab, browser):
    """Opens notebooks in a lab, and closes them."""
    opened = []

    def open_notebook(path):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        problems = []
        page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
        page.on("console", lambda said: _judge_told(said, problems))
        page.on("request", lambda request: _judge(request, problems))
        opened.append(Notebook(page, lab, path, problems))
        return opened[-1]

    yield open_notebook
    for notebook in opened:
        notebook.close()


def _judge_told(said, problems):
    # JupyterLab's debugger says this of every kernel that is shut down while it asks for something.
    if said.type == "error" and not said.text.startswith("Could not restore the debugger state"):
        problems.append(said.text)


def _judge(request, problems):
    if not request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:", "about:")):
        problems.append(f"request off the machine: {request.url}")
    if request.method == "PUT" and "/api/contents/" in request.url:
        problems.append(f"a notebook was written: {request.url}")
