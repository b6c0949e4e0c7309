"""``python -m moe_lessons.build.site``: write the pages, and let Sphinx make the site of them."""

import shutil
import subprocess
import sys
from pathlib import Path

import click
import nbformat
from nbformat import NotebookNode

from moe_lessons.build import paths
from moe_lessons.build.site import documents, front, landmarks, ledger, lessons, reference
from moe_lessons.exercises import registry
from moe_lessons.svg import theme

WEB = paths.ROOT / "web"


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=paths.ROOT / "site", help="Where the site goes."
)
@click.option(
    "--work", type=click.Path(path_type=Path), default=paths.ROOT / "build" / "site", help="For Sphinx."
)
@click.option("--jobs", default=2, help="Processes that read and write pages.")
@click.option("--no-reference", is_flag=True, help="Leave out the API reference, which takes longest.")
@click.option("--no-scripts", is_flag=True, help="Leave out what brings explorables and questions alive.")
def main(out: Path, work: Path, jobs: int, no_reference: bool, no_scripts: bool) -> None:
    """Build the site."""
    from sphinx.cmd.build import main as sphinx

    write_pages(work / "pages", with_reference=not no_reference)
    made = work / "html"
    options = ["-q", "-j", str(jobs), "-c", str(WEB), "-d", str(work / "doctrees"), "-b", "html"]
    options += [] if no_scripts else ["-t", "alive"]
    if failed := sphinx([*options, str(work / "pages"), str(made)]):
        sys.exit(failed)
    if (out / ".nojekyll").is_file():  # an earlier site, of which nothing should stay
        shutil.rmtree(out)
    shutil.copytree(made, out, dirs_exist_ok=True)
    landmarks.mend_all(out)
    (out / "_static" / "drawings.css").write_text(theme.PAGE + "\n", encoding="utf-8")
    if not no_scripts:
        sys.exit(subprocess.call([sys.executable, str(WEB / "bundle.py"), str(out)]))


def write_pages(folder: Path, *, with_reference: bool = True) -> None:
    """Write everything that Sphinx reads; what has not changed since the last build is left as it is."""
    found = [lesson for lesson in registry.lessons() if (paths.SOLUTIONS / f"{lesson.id}.ipynb").is_file()]
    pages = {}
    for file in (WEB / "pages").glob("*.md"):
        pages[file.name] = documents.with_lessons(file.read_text(encoding="utf-8"), found)
    pages |= {f"{page}.md": documents.page(name) for name, page in documents.PAGES.items()}
    pages["claims.md"] = ledger.page(found)
    hero = ""
    for lesson in found:
        made = lessons.page(
            _notebook(paths.SOLUTIONS, lesson.id), _notebook(paths.NOTEBOOKS, lesson.id), lesson
        )
        pages[f"lessons/{lesson.id}.ipynb"] = nbformat.writes(made)
        hero = hero or _opening(made)
    pages["index.md"] = front.page(found, hero)
    if with_reference:
        pages |= {f"api/{name}.rst": text for name, text in reference.pages().items()}
    else:
        pages["api/index.md"] = "# API reference\n\nThis build left it out.\n"
    _lay(folder, pages)


def _notebook(folder: Path, lesson: str) -> NotebookNode:
    return nbformat.read(folder / f"{lesson}.ipynb", as_version=4)


def _opening(page: NotebookNode) -> str:
    """The place of the first page's explorable, as its lesson has it."""
    bodies = (
        o.data.get("text/html", "") for cell in page.cells for o in cell.get("outputs", []) if "data" in o
    )
    return next((body for body in bodies if f'data-name="{front.HERO}"' in body), "")


def _lay(folder: Path, pages: dict[str, str]) -> None:
    """Make the folder hold these pages and no others; what is the same is not written, so Sphinx skips it."""
    for old in folder.rglob("*"):
        if old.is_file() and old.relative_to(folder).as_posix() not in pages:
            old.unlink()
    for name, text in pages.items():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
