"""Right answers as editors, tools and habits leave them: all points, in check and grader alike.

A variant changes the solved notebook of lesson 01. `answers(content)` are its answer cells.
"""

import copy
import json
import re
import uuid

import classroom

LESSON = next(lesson for lesson in classroom.LESSONS if lesson.number == "01")
SOLVED = classroom.SOLVED[LESSON.id]
STUBS = {
    classroom.answer_id(c): "".join(c["source"]) for c in classroom.answer_cells(classroom.STUBS[LESSON.id])
}
ENTRIES = {exercise.id: exercise.entry for exercise in LESSON.exercises}


def code(source, **metadata):
    return {"cell_type": "code", "id": uuid.uuid4().hex[:8], "metadata": metadata, "source": source,
            "outputs": [], "execution_count": None}  # fmt: skip


def answers(content):
    return classroom.answer_cells(content)


def each(edit):
    """A variant that edits the text of every answer."""

    def change(content):
        for cell in answers(content):
            cell["source"] = edit("".join(cell["source"]), classroom.answer_id(cell))

    return change


def before(text):
    return each(lambda source, id: f"{text}\n{source}")


def after(text):
    return each(lambda source, id: f"{source}\n{text.format(id=id, entry=ENTRIES[id])}")


def insert(content, cell, new, offset):
    place = next(i for i, one in enumerate(content["cells"]) if one is cell)
    content["cells"].insert(place + offset, new)


def stub_below(content):
    for cell in answers(content):
        twin = copy.deepcopy(cell)
        twin["source"] = STUBS[classroom.answer_id(cell)]
        insert(content, cell, twin, 1)


def stub_above(content):
    for cell in answers(content):
        twin = copy.deepcopy(cell)
        twin["source"] = STUBS[classroom.answer_id(cell)]
        insert(content, cell, twin, 0)


def wrong_above(content):
    for cell in answers(content):
        twin = copy.deepcopy(cell)
        entry = ENTRIES[classroom.answer_id(cell)]
        twin["source"] = f"def {entry}(*args):\n    return 0"
        insert(content, cell, twin, 0)


def in_a_new_cell(content):
    """The stub stays as it is; the answer stands in a cell of the learner's own below it."""
    for cell in answers(content):
        insert(content, cell, code("".join(cell["source"])), 1)
        cell["source"] = STUBS[classroom.answer_id(cell)]


def split(content):
    """The first half of a cell, with what the function needs, keeps the mark; so does the second."""
    for cell in answers(content):
        helper = copy.deepcopy(cell)
        helper["source"] = "def helper(x):\n    return x"
        insert(content, cell, helper, 0)
        cell["source"] = uses_helper("".join(cell["source"]), classroom.answer_id(cell))


def uses_helper(source, id):
    entry = ENTRIES[id]
    return (
        source
        + f"\n\n_old_{entry} = {entry}\n\n\ndef {entry}(*args):\n    return helper(_old_{entry}(*args))"
    )


def helper_elsewhere(content):
    each(uses_helper)(content)
    insert(content, answers(content)[0], code("def helper(x):\n    return x"), 0)


def import_elsewhere(content):
    each(lambda source, id: source.replace("torch.", "pytorch."))(content)
    insert(content, answers(content)[0], code("import torch as pytorch\nfrom torch import Tensor"), 0)


def merged_with_check(content):
    for cell in answers(content):
        id = classroom.answer_id(cell)
        check = next(c for c in content["cells"] if "".join(c["source"]).startswith(f'check("{id}"'))
        cell["source"] = "".join(cell["source"]) + "\n\n" + "".join(check["source"])
        content["cells"].remove(check)


def merged_with_setup(content):
    setup = next(c for c in content["cells"] if "start(" in "".join(c["source"]))
    cell = answers(content)[0]
    cell["source"] = "".join(setup["source"]) + "\n\n" + "".join(cell["source"])
    content["cells"].remove(cell)
    place = content["cells"].index(setup)
    content["cells"][place] = cell


def no_metadata(content):
    for cell in answers(content):
        cell["metadata"] = {}


def no_metadata_at_all(content):
    for cell in content["cells"]:
        cell["metadata"] = {}
    content["metadata"] = {}


def no_ids(content):
    for cell in content["cells"]:
        cell.pop("id", None)
    content["nbformat_minor"] = 4


def reversed_answers(content):
    content["cells"].reverse()


def as_lines(content):
    for cell in content["cells"]:
        cell["source"] = "".join(cell["source"]).splitlines(keepends=True)


def lost_cells(content):
    """All but the answers, the set-up and the checks thrown away."""
    content["cells"] = [
        c for c in content["cells"]
        if c["cell_type"] == "code"
        and (c in answers(content) or re.match(r"check\(|.*start\(", "".join(c["source"]), re.DOTALL))
    ]  # fmt: skip


CHANGES = {
    "as it is": lambda content: None,
    "%%time": before("%%time"),
    "%%timeit": before("%%timeit -n 1 -r 1"),
    "%%capture": before("%%capture out"),
    "%%capture and %%time": before("%%capture\n%%time"),
    "%matplotlib inline": before("%matplotlib inline"),
    "%autoreload and %config": before("%load_ext autoreload\n%config InlineBackend.figure_format = 'retina'"),
    "!command": before("!true"),
    "x = !command": before("shown = !echo x"),
    "%time of a call": after("%time str(1)"),
    "%timeit below": after("%timeit -n 1 -r 1 str(1)"),
    "help": after("str?"),
    "blank lines and a comment first": before("\n\n# my answer\n"),
    "a byte-order mark": each(lambda source, id: "\ufeff" + source),
    "CRLF": each(lambda source, id: source.replace("\n", "\r\n")),
    "CR": each(lambda source, id: source.replace("\n", "\r")),
    "tabs": each(lambda source, id: source.replace("    ", "\t")),
    "trailing blanks": each(lambda source, id: source.replace("\n", "  \n")),
    "indented": each(lambda source, id: "\n".join("    " + line for line in source.split("\n"))),
    "pasted with prompts": each(
        lambda source, id: "\n".join(
            (">>> " if n == 0 else "... ") + s for n, s in enumerate(source.split("\n"))
        )
    ),
    "merged with its check": merged_with_check,
    "merged with the set-up": merged_with_setup,
    "a main guard with a test": after("if __name__ == '__main__':\n    check('{id}')\n    print('done')"),
    "a main guard around it": each(
        lambda source, id: "if __name__ == '__main__':\n" + "\n".join("    " + s for s in source.split("\n"))
    ),
    "a plot": after("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"),
    "display": after("from IPython.display import display, Markdown\ndisplay(Markdown('**done**'))"),
    "get_ipython": before("get_ipython().run_line_magic('matplotlib', 'inline')"),
    "a progress bar": before("from tqdm.auto import tqdm"),
    "a test that fails": after("assert 1 == 2, 'my own test'"),
    "a try-out on a tensor": after("print({entry}, torch.ones(2).sum())"),
    "half precision beside it": after("print((torch.ones(8, 8).half() @ torch.ones(8, 8).half()).sum())"),
    "typing and future": each(
        lambda source, id: "from __future__ import annotations\nimport typing\n" + source
    ),
    "a dataclass of its own": before(
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Config:\n    k: int = 2\n"
    ),
    "the stub below": stub_below,
    "the stub above": stub_above,
    "a wrong attempt above": wrong_above,
    "in a new cell": in_a_new_cell,
    "split in two": split,
    "a helper in another cell": helper_elsewhere,
    "an import in another cell": import_elsewhere,
    "marks lost": no_metadata,
    "all metadata lost": no_metadata_at_all,
    "no cell ids": no_ids,
    "cells in another order": reversed_answers,
    "sources as lines": as_lines,
    "only what matters kept": lost_cells,
}
REFUSED = {
    "%%writefile": before("%%writefile answer.py"),
    "%%bash": before("%%bash"),
    "%%script": before("%%script python"),
}


def made(change):
    content = copy.deepcopy(SOLVED)
    for cell in content["cells"]:
        cell["source"] = "".join(cell["source"])
    change(content)
    return content


def text(change):
    return json.dumps(made(change))
