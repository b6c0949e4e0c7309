"""Puts into a built site what its pages need to come alive: Python, the course's modules, the questions.

``bundle(site)`` is the one way in; ``python web/bundle.py site`` does the same. Everything goes into the
folder ``course/`` beside ``course.js``; nothing is fetched from elsewhere when a page is read. Python is
Pyodide's package for npm, pinned in ``web/package-lock.json``; ``npm ci`` fetches it once.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from moe_lessons.exercises import registry  # noqa: E402
from moe_lessons.front import page  # noqa: E402
from web import questions  # noqa: E402

WEB = ROOT / "web"
PYODIDE = WEB / "node_modules" / "pyodide"
RUNS = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
ABOUT = ("package.json", "README.md")


def bundle(site: Path, static: str = "_static") -> dict[str, int]:
    """Fill a built site's folder of static files.

    Parameters
    ----------
    site : Path
        The built site.
    static : str
        Its folder of static files, in which ``course.js`` lies; ``web/static`` is copied there too.

    Returns
    -------
    dict of str to int
        The bytes of every file written, by its path within the site.
    """
    here = Path(site) / static
    shutil.copytree(WEB / "static", here, dirs_exist_ok=True)
    course = here / "course"
    (course / "questions").mkdir(parents=True, exist_ok=True)
    for name in ("stage.js", "card.js"):
        (course / name).write_text(page.source(name), encoding="utf-8")
    styles = [page.css("stage.css"), page.source("card.css"), (WEB / "place.css").read_text(encoding="utf-8")]
    (course / "course.css").write_text("\n".join(styles), encoding="utf-8")
    for lesson in registry.lessons():
        _dump(course / "questions" / f"{lesson.number}.json", questions.questions(lesson))
    _dump(course / "explorables.json", questions.unlocked_by())
    _zip(course / "moe_lessons.zip", needed())
    loaded = [course / "moe_lessons.zip", *_python(course / "pyodide")]
    _precompile(course)
    _dump(course / "files.json", {"bytes": sum(file.stat().st_size for file in loaded)})
    written = [here / "course.js", *(file for file in course.rglob("*") if file.is_file())]
    return {file.relative_to(site).as_posix(): file.stat().st_size for file in sorted(written)}


def needed() -> list[str]:
    """The package's files that explorables need, from the root; ``needs.py`` tries them."""
    command = [sys.executable, "-I", str(WEB / "needs.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"an explorable does not run on a page:\n{done.stderr[-2000:]}")
    files: list[str] = json.loads(done.stdout)
    return files


def _python(folder: Path) -> list[Path]:
    """Copy Pyodide; returns the files that a page loads through ``fetch``."""
    wanted = json.loads((WEB / "package.json").read_text(encoding="utf-8"))["dependencies"]["pyodide"]
    about = PYODIDE / "package.json"
    if not about.is_file() or json.loads(about.read_text(encoding="utf-8"))["version"] != wanted:
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError(f"npm fetches Pyodide {wanted} and is missing: install Node.js 20")
        command = [npm, "ci", "--ignore-scripts", "--prefix", str(WEB)]
        if subprocess.run(command, stdout=sys.stderr).returncode:
            raise RuntimeError(f"npm could not fetch Pyodide {wanted}; its reason stands above")
    folder.mkdir(exist_ok=True)
    for name in (*RUNS, *ABOUT):
        shutil.copyfile(PYODIDE / name, folder / name)
    # What else could be installed is a list of addresses; a page installs nothing.
    lock = json.loads((PYODIDE / "pyodide-lock.json").read_text(encoding="utf-8"))
    _dump(folder / "pyodide-lock.json", {**lock, "packages": {}})
    return [folder / name for name in (*RUNS[2:], "pyodide-lock.json")]


def _precompile(course: Path) -> None:
    """Put bytecode into the archives of a page, which would compile the same sources at every visit."""
    node = shutil.which("node")
    if node is None:
        raise FileNotFoundError("node compiles the pages' Python and is missing: install Node.js 20")
    done = subprocess.run([node, str(WEB / "precompile.mjs"), str(course)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"an explorable does not run on a page:\n{done.stderr[-2000:]}")


def _zip(file: Path, names: list[str]) -> None:
    """Pack files; the same files give the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names:
            packed.writestr(zipfile.ZipInfo(name), (ROOT / name).read_bytes(), zipfile.ZIP_DEFLATED)


def _dump(file: Path, what: Any) -> None:
    file.write_text(json.dumps(what, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


if __name__ == "__main__":
    try:
        sizes = bundle(Path(sys.argv[1]))
    except (FileNotFoundError, RuntimeError) as error:
        print(error, "The pages are there, with still pictures.", file=sys.stderr, sep="\n")
        sys.exit("Without scripts on purpose: make site SITE_ARGS=--no-scripts")
    print(f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB")
