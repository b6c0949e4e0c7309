"""The folded cell before a lesson's set-up: it fetches the course where it is missing, and looks at torch."""

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from moe_lessons.build import paths

_SOURCE = '''\
# @title Where the course is missing, as on Colab, this fetches it; torch stays as it is.
def fetch():
    import importlib.metadata
    import importlib.util
    import os
    import re
    import subprocess
    import sys

    class NotHere(ImportError):  # sentences instead of a traceback
        def _render_traceback_(self):
            return list(self.args)

    def lacking(*names):
        importlib.invalidate_caches()
        found = {name: importlib.util.find_spec(name) for name in names}  # a bare folder has no origin
        return [name for name in names if found[name] is None or found[name].origin is None]

    def install(*what):
        """Return an empty text, or what pip says went wrong."""
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-color"]
        pip += ["--retries", "1", "--timeout", "15"]
        try:
            asks_nothing = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
            ran = subprocess.run([*pip, *what], capture_output=True, text=True, env=asks_nothing)
        except OSError as error:
            return str(error)
        said = ran.stderr.strip().splitlines() or ["pip did not say why"]
        told = [line.strip() for line in said if line.strip().startswith(("fatal:", "ERROR"))]
        return (told + said[-1:])[0].rstrip(".") if ran.returncode else ""

    if lacking("torch"):
        raise NotHere("PyTorch is missing here: run `%pip install torch`, then this cell again.")

    if lacking("moe_lessons"):
        print("Fetching the course ...")
        for address in ("@WHEEL@", "git+@GIT@"):
            problem = install("--no-deps", address)
            if not problem:
                break
        if lacking("moe_lessons"):
            raise NotHere(
                f"The course is not installed here and could not be fetched ({problem}).",
                "Get all of it from @GIT@, unpack it, and run `make lab` in its folder.",
                "Or see to a network, pip and git, and run this cell again.",
            )
        needed, useful = lacking(@NEEDED@), lacking(@USEFUL@)
        problem = install(*needed, *useful) if needed + useful else ""
        if needed := lacking(*needed):
            raise NotHere(
                f"The course is here, but not {', '.join(needed)}, which it needs ({problem}).",
                f"Run `%pip install {' '.join(needed)}` where there is a network.",
                "Then run this cell again.",
            )

    here, oldest = importlib.metadata.version("torch"), "@TORCH@"
    mine, wanted = ([int(n) for n in re.findall("[0-9]+", version)[:2]] for version in (here, oldest))
    if mine < wanted:
        remedy = "run `%pip install -U torch`, restart the kernel, and begin again"
        print(f"torch {here} is older than {oldest}, which this course needs: {remedy}.")


fetch()
'''


def first_cell() -> NotebookNode:
    """Return the cell, with the addresses and the needs that ``pyproject.toml`` states.

    Examples
    --------
    >>> cell = first_cell()
    >>> cell.source.splitlines()[0]
    '# @title Where the course is missing, as on Colab, this fetches it; torch stays as it is.'
    """
    needed, useful = (
        [name for name in paths.needs(extra) if name not in ("torch", "jupyterlab", "ipykernel")]
        for extra in ("", "course")
    )
    filled = {
        "WHEEL": paths.wheel_url(),
        "GIT": f"https://github.com/{paths.slug()}",
        "NEEDED": ", ".join(f'"{name}"' for name in needed),
        "USEFUL": ", ".join(f'"{name}"' for name in useful),
        "TORCH": paths.needs()["torch"],
    }
    source = _SOURCE
    for name, value in filled.items():
        source = source.replace(f"@{name}@", value)
    cell = new_code_cell(source.rstrip())
    cell.metadata.update(tags=["fetch"], jupyter={"source_hidden": True}, cellView="form")
    return cell
