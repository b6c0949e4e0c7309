"""Puts bytecode into the two archives of a page, where it would compile the same sources at every visit.

``web/precompile.mjs`` runs this in Pyodide, with the built site's folder ``course`` at ``/course`` and this
folder at ``/web``. Of the standard library a page gets what is loaded once every explorable has been acted
out, and no more.
"""

import py_compile
import sys
import zipfile
from pathlib import Path, PurePosixPath

FOLDER = Path("/course")
LIBRARY, COURSE = FOLDER / "pyodide" / "python_stdlib.zip", FOLDER / "moe_lessons.zip"
MOUNTED = "/lib/python{}{}.zip".format(*sys.version_info[:2])
"""Where Pyodide puts the standard library."""


def loaded():
    """The files of the standard library that are loaded now."""
    files = [PurePosixPath(getattr(module, "__file__", None) or "") for module in sys.modules.values()]
    return {str(file.relative_to(MOUNTED)) for file in files if file.is_relative_to(MOUNTED)}


def precompile(archive, path, names=None):
    """Replace an archive's sources by bytecode, which is not checked against them.

    Parameters
    ----------
    archive : Path
    path : str
        Where a page has the archive: what a traceback says.
    names : set of str, optional
        What to keep; by default everything.
    """
    with zipfile.ZipFile(archive) as packed:
        found = [name for name in packed.namelist() if name in names] if names else packed.namelist()
        files = {name: packed.read(name) for name in found}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            if name.endswith(".py"):
                name, content = f"{name}c", bytecode(content, f"{path}/{name}")
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def bytecode(source, file):
    """What Python would keep of a source in ``__pycache__``."""
    here, made = Path("/source.py"), Path("/source.pyc")  # in Pyodide's memory, like every path here
    here.write_bytes(source)
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(here), str(made), dfile=file, doraise=True, invalidation_mode=unchecked)
    return made.read_bytes()


sys.path[:0] = [str(COURSE), "/web"]
from needs import act_out  # noqa: E402

act_out()
precompile(LIBRARY, MOUNTED, loaded())
precompile(COURSE, str(COURSE))
