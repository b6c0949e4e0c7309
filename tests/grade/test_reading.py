"""Whatever a file is, reading it gives answers or one clear problem."""

import json
import os
import sys

import classroom
import pytest

from moe_lessons.exercises import registry
from moe_lessons.grade import reading, submissions
from moe_lessons.grade.reading import read
from moe_lessons.grade.records import RefusedError
from moe_lessons.grade.submissions import collect, single

LESSON = classroom.LESSONS[0]
SOLVED = classroom.SOLVED[LESSON.id]
ID = next(id for id in classroom.IDS if id.startswith(LESSON.number))


ENTRY = registry.exercise(ID).entry
TRIED = f"def {ENTRY}(*args):\n    return 1"
STUB = f'def {ENTRY}(*args):\n    raise NotImplementedError("your code here")'


def write(tmp_path, content):
    path = tmp_path / "one.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def answering(*cells, **metadata):
    return {"nbformat": 4, "metadata": metadata, "cells": list(cells)}


def cell(id, source="x = 1", kind="code"):
    return {"cell_type": kind, "metadata": {"moe_lessons": {"answer": id}}, "source": source}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"  \n", "the file is empty"),
        (b"hello", "not a notebook: the JSON is broken (line 1)"),
        (b'{"cells": [],\n<<<<<<< HEAD\n', "not a notebook: the JSON is broken (line 2)"),
        ('{"cells": "é"}'.encode("latin-1"), "not a notebook: the text is not UTF-8"),
        (b"PK\x03\x04\xff\xfe", "not a notebook: the text is not UTF-8"),
        (b"[" * 200_000, "not a notebook: the JSON is broken (too deep or too long)"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not a notebook: the JSON is broken (too deep or too long)"),
        ([], "not a notebook: JSON, but without cells"),
        ({"a": 1}, "not a notebook: JSON, but without cells"),
        ({"nbformat": 3, "worksheets": []}, "notebook format 3; format 4 is needed"),
        ({"nbformat": 5, "cells": []}, "notebook format 5; format 4 is needed"),
        ({"cells": []}, "notebook format None; format 4 is needed"),
        ({"nbformat": 4}, "not a notebook: its cells are malformed"),
        ({"nbformat": 4, "cells": [1]}, "not a notebook: its cells are malformed"),
        ({"nbformat": 4, "cells": [{}] * 2001}, "2001 cells; at most 2000 are read"),
        (answering(), "a notebook of another course: it has no answer cells of this one"),
        (
            answering(moe_lessons={"lesson": "77_none"}),
            "a notebook of lesson '77_none', which this course does not have",
        ),
    ],
)
def test_a_problem_is_one_line(tmp_path, content, problem):
    assert read(write(tmp_path, content), "one.ipynb").problem == problem


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_FILE", 1 << 20)
    assert read(write(tmp_path, b" " * (2 << 20)), "x").problem == "larger than 1 MB"


def test_links_and_other_things_are_not_followed(tmp_path):
    target = write(tmp_path, SOLVED)
    link = tmp_path / "link.ipynb"
    link.symlink_to(target)
    os.mkfifo(tmp_path / "pipe.ipynb")
    for name in ("link.ipynb", "pipe.ipynb"):
        assert read(tmp_path / name, name).problem == "not a regular file (links are not followed)"


def test_only_answer_cells_are_taken(tmp_path):
    notebook = read(write(tmp_path, SOLVED), "one.ipynb")
    assert notebook.lesson == LESSON.id
    assert notebook.answers == {
        id: code for id, code in classroom.ANSWERS.items() if id.startswith(LESSON.number)
    }
    assert notebook.warnings == ()


@pytest.mark.parametrize(
    ("cells", "answers", "warning"),
    [
        ([cell(ID, "a"), cell(ID, "b")], {ID: "b"}, ""),
        (
            [cell(ID, TRIED), cell(ID, f"{TRIED} + 1")],
            {ID: f"{TRIED} + 1"},
            f"more than one cell answers {ID}; the last attempt counts",
        ),
        ([cell(ID, TRIED), cell(ID, STUB)], {ID: TRIED}, ""),
        ([cell(ID, STUB), cell(ID, TRIED), cell(ID, STUB)], {ID: TRIED}, ""),
        ([cell(ID, STUB)], {ID: STUB}, ""),
        (
            [cell(ID, STUB), {"cell_type": "code", "metadata": {}, "source": TRIED}],
            {ID: TRIED},
            "mark of its cell is lost",
        ),
        ([cell(ID, ["a\n", "b"])], {ID: "a\nb"}, ""),
        ([cell(ID, "a"), cell("99.none")], {ID: "a"}, "'99.none', which is no exercise"),
        ([cell(ID, "a"), cell(ID, "b", kind="markdown")], {ID: "a"}, "is not in a code cell"),
        ([cell(ID, "a"), cell(ID, 3)], {ID: "a"}, "malformed or longer"),
        ([cell(ID, "a"), cell(ID, "x" * 300_000)], {ID: "a"}, "malformed or longer"),
        ([cell(ID, "a"), cell(["list"]), {"metadata": 3}, {"metadata": {"moe_lessons": []}}], {ID: "a"}, ""),
    ],
)
def test_odd_cells_are_told(tmp_path, cells, answers, warning):
    notebook = read(write(tmp_path, answering(*cells)), "one.ipynb")
    assert notebook.answers == answers
    assert notebook.lesson == LESSON.id  # known from the answers alone
    assert warning in " ".join(notebook.warnings)


def test_a_class_is_files_and_folders(tmp_path):
    for name in (
        "ada.ipynb",
        "bob/one.ipynb",
        "bob/.ipynb_checkpoints/one.ipynb",
        "out/x.ipynb",
        ".git/y.ipynb",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(SOLVED), encoding="utf-8")
    (tmp_path / "cy").mkdir()
    (tmp_path / "dan").symlink_to(tmp_path / "bob")
    (tmp_path / "notes.txt").write_text("not a submission", encoding="utf-8")
    found = {one.learner: one for one in collect(tmp_path, out=tmp_path / "out")}
    assert sorted(found) == ["ada", "bob", "cy", "dan"]
    assert found["ada"].alone
    assert [notebook.file for notebook in found["bob"].notebooks] == ["bob/one.ipynb"]
    assert found["cy"].warnings == ["cy: there is no notebook (*.ipynb) in this folder"]
    assert found["dan"].warnings == ["dan: a link (links are not followed)"]


def test_names_that_are_alike_stay_apart(tmp_path):
    for name in (
        "ada.ipynb",
        "ada.IPYNB",
        "ada/one.ipynb",
        "bob.ipynb.txt",
        "cy/one.IPYNB",
        "dan/1.ipynb.json",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(SOLVED), encoding="utf-8")
    found = {one.learner: one for one in collect(tmp_path)}
    assert sorted(found) == ["ada", "ada.IPYNB", "ada.ipynb", "bob.ipynb.txt", "cy", "dan"]
    assert found["ada"].lessons == found["cy"].lessons == {LESSON.number}
    for name in ("bob.ipynb.txt", "dan"):
        assert "rename it" in found[name].warnings[0]


def test_odd_folders_cost_no_one_else(tmp_path):
    """Links to themselves, a pipe, and folders deeper than Python's recursion."""
    write(tmp_path, SOLVED)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "loop.ipynb").symlink_to(tmp_path / "loop.ipynb")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "one.ipynb")
    deep = "/".join(["d"] * 400)
    bottom = tmp_path / "deep"
    bottom.mkdir()
    limit = sys.getrecursionlimit()
    os.makedirs(bottom / deep)
    try:
        sys.setrecursionlimit(300)
        found = {one.learner: one for one in collect(tmp_path, out=tmp_path / "out")}
    finally:
        sys.setrecursionlimit(limit)
    assert sorted(found) == ["deep", "loop", "loop.ipynb", "one", "pipe"]
    assert found["one"].warnings == []
    assert all(found[name].warnings for name in found if name != "one")


def test_a_folder_of_very_many_files_is_read_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "_MOST", 3)
    (tmp_path / "ada").mkdir()
    for number in range(5):
        (tmp_path / "ada" / f"{number}.ipynb").write_text(json.dumps(SOLVED), encoding="utf-8")
    (ada,) = collect(tmp_path)
    assert len(ada.answers) == len([id for id in classroom.ANSWERS if id.startswith(LESSON.number)])
    assert "ada: more than 3 files; the rest is not read" in ada.warnings


def test_results_do_not_go_among_the_submissions(tmp_path):
    write(tmp_path, SOLVED)
    with pytest.raises(RefusedError, match="choose another folder for the results"):
        collect(tmp_path, out=tmp_path / "x" / "..")


def test_the_last_notebook_counts(tmp_path):
    folder = tmp_path / "ada"
    folder.mkdir()
    for name, code in (("1.ipynb", "a"), ("2.ipynb", "b")):
        (folder / name).write_text(json.dumps(answering(cell(ID, code))), encoding="utf-8")
    (ada,) = collect(tmp_path)
    assert ada.answers[ID].answers[ID] == "b"
    assert ada.warnings == [f"{ID} is answered in ada/1.ipynb, ada/2.ipynb; ada/2.ipynb counts"]


def test_what_cannot_be_graded_is_refused(tmp_path):
    with pytest.raises(RefusedError, match="no such folder"):
        collect(tmp_path / "none")
    with pytest.raises(RefusedError, match="holds no notebooks"):
        collect(tmp_path)
    (tmp_path / "class.zip").write_bytes(b"PK")
    with pytest.raises(RefusedError, match=r"class.zip: an archive: unpack it first"):
        collect(tmp_path)
    with pytest.raises(RefusedError, match="is an archive"):
        collect(tmp_path / "class.zip")
    (tmp_path / "class.zip").unlink()
    path = write(tmp_path, answering())
    with pytest.raises(RefusedError, match="another course"):
        collect(tmp_path)
    with pytest.raises(RefusedError, match="give a folder of notebooks, or --self"):
        collect(path)
    with pytest.raises(RefusedError, match="another course"):
        single(path)
    with pytest.raises(RefusedError, match="no such file"):
        single(tmp_path / "none.ipynb")


def test_a_copy_of_the_stub_in_another_file_never_counts(tmp_path):
    folder = tmp_path / "ada"
    folder.mkdir()
    for name, code in (("01-mine.ipynb", TRIED), ("01.ipynb", STUB)):
        (folder / name).write_text(json.dumps(answering(cell(ID, code))), encoding="utf-8")
    (ada,) = collect(tmp_path)
    assert ada.answers[ID].answers[ID] == TRIED
    assert ada.warnings == []


def test_a_file_that_needs_too_much_costs_itself(tmp_path):
    """Six million lists are 18 MB of text, and half a gigabyte once they are read."""
    lists = json.dumps(answering()).replace("[]", "[" + "[]," * 6_000_000 + "[]]").encode()
    assert read(write(tmp_path, lists), "x").problem in (
        "too large or too intricate to be read",
        "6000001 cells; at most 2000 are read",
        "not a notebook: its cells are malformed",
    )
    assert read(write(tmp_path, SOLVED), "x").problem is None
