"""What a page brings along: every explorable on the standard library, and nothing else from anywhere."""

import json
import subprocess
import sys

import pytest

from moe_lessons.build import paths

sys.path.insert(0, str(paths.ROOT))
from web import bundle, needs


def test_every_explorable_runs_on_the_standard_library():
    files = bundle.needed()
    assert {"moe_lessons/explore/page.py", "moe_lessons/explore/sentence/small.safetensors"} <= set(files)
    assert not [name for name in files if name.startswith(("moe_lessons/exercises/", "moe_lessons/model/"))]
    # A page loads all of them, so that a large one would be felt.
    assert sum((paths.ROOT / name).stat().st_size for name in files) < 2_500_000


@pytest.mark.parametrize("name", ["numpy", "torch", "platformdirs", "anywidget"])
def test_whatever_else_is_refused(name):
    with pytest.raises(ModuleNotFoundError, match="a page has the standard library only"):
        needs.OnlyStandard().find_spec(name)
    assert needs.OnlyStandard().find_spec("heapq") is None


def test_an_explorable_that_needs_more_stops_the_build(tmp_path, monkeypatch):
    script = tmp_path / "needs.py"
    text = (bundle.WEB / "needs.py").read_text(encoding="utf-8")
    text = text.replace("Path(__file__).resolve().parent.parent", f"Path({str(paths.ROOT)!r})")
    script.write_text(text.replace("    act_out()\n", "    import numpy\n"), encoding="utf-8")
    monkeypatch.setattr(bundle, "WEB", tmp_path)
    with pytest.raises(RuntimeError, match=r"does not run on a page:(.|\n)*numpy"):
        bundle.needed()


def test_where_npm_fetches_nothing_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "PYODIDE", tmp_path / "nowhere")
    monkeypatch.setattr(bundle.shutil, "which", lambda name: "false")
    with pytest.raises(RuntimeError, match="npm could not fetch Pyodide"):
        bundle._python(tmp_path / "course")
    monkeypatch.setattr(bundle.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"npm fetches Pyodide .* and is missing"):
        bundle._python(tmp_path / "course")


def test_the_wire_is_json_in_and_out():
    """As the worker calls it, in a process where nothing else is loaded."""
    code = (
        "import json; from moe_lessons.explore.page import handle; "
        "call = lambda **what: json.loads(handle(json.dumps(what))); "
        "call(call='open', key='a', name='SortedLayer', asks=False); "
        "print(len(call(call='unlock', key='a', part='no_inverse')['shown']['locked'])); "
        "ask = lambda **what: call(call='request', key='a', request={'view': 'v', 'n': 1, **what}); "
        "print(ask(set={'Token': 2})['shown']['of']); "
        "print(ask())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=paths.ROOT)
    assert done.stdout.split("\n") == ["3", "['v', 1]", "None", ""]


def test_the_same_files_give_the_same_bytes(tmp_path):
    names = ["moe_lessons/lazy.py", "moe_lessons/explore/page.py"]
    packed = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for file in packed:
        bundle._zip(file, names)
    assert packed[0].read_bytes() == packed[1].read_bytes()


def test_python_is_pinned():
    wanted = json.loads((bundle.WEB / "package.json").read_text())["dependencies"]["pyodide"]
    lock = json.loads((bundle.WEB / "package-lock.json").read_text())["packages"]["node_modules/pyodide"]
    assert lock["version"] == wanted
    assert lock["integrity"].startswith("sha512-")
