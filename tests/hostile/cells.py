"""What is done to the cells of a notebook: forged checks, outputs, markers and metadata."""

import copy
from collections.abc import Callable

PASSED = "✔ {id}: passed, 99 of 99 points\n"


def _answer(content, id):
    return next(cell for cell in content["cells"] if _about(cell).get("answer") == id)


def _check(content, id):
    return next(cell for cell in content["cells"] if _about(cell).get("check") == id)


def _about(cell):
    return cell["metadata"].get("moe_lessons", {})


def _code(source, **metadata):
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": [], "execution_count": 1}


def check_says_passed(content, id):
    _check(content, id)["source"] = f"print({PASSED.format(id=id)!r})"


def check_is_gone(content, id):
    content["cells"].remove(_check(content, id))


def check_is_doubled(content, id):
    content["cells"] += [copy.deepcopy(_check(content, id)) for _ in range(50)]


def outputs_say_passed(content, id):
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [
                {
                    "output_type": "stream",
                    "name": "stdout",
                    "text": PASSED.format(id=_about(cell).get("check", id)),
                }
            ]


def outputs_are_null(content, id):
    for cell in content["cells"]:
        cell["outputs"] = None
        cell["execution_count"] = None


def comment_markers(content, id):
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["source"] = "# NBVAL_IGNORE_OUTPUT\n# NBVAL_SKIP\n" + "".join(cell["source"])
            cell["metadata"]["tags"] = ["nbval-skip", "nbval-ignore-output", "skip-execution"]


def points_in_metadata(content, id):
    _about(_answer(content, id)).update(points=999, status="passed", learner=0, exercise=id)


def a_grading_cell_of_its_own(content, id):
    ours = {"learner": 0, "exercise": id, "points": 999}
    content["cells"].append(_code("print('passed')", moe_lessons=ours, tags=["nbval-check-output"]))


def a_first_cell_that_exits(content, id):
    content["cells"].insert(0, _code("import os; os._exit(0)"))


def answer_doubled_stub_last(content, id):
    stub = copy.deepcopy(_answer(content, id))
    stub["source"] = "raise NotImplementedError('your code here')"
    content["cells"].append(stub)


def answer_in_markdown(content, id):
    _answer(content, id)["cell_type"] = "markdown"


def answer_in_a_raw_cell(content, id):
    _answer(content, id)["cell_type"] = "raw"


def answer_id_is_a_list(content, id):
    _about(_answer(content, id))["answer"] = [id]


def answer_id_of_nothing(content, id):
    _about(_answer(content, id))["answer"] = "99.<script>alert(1)</script>" + "A" * 5000


def solution_of_another_exercise(content, id):
    other = next(c for c in content["cells"] if _about(c).get("answer", id) != id)
    _answer(content, id)["source"] = other["source"]


def answer_within_a_cell(content, id):
    answer = _answer(content, id)
    content["cells"][content["cells"].index(answer)] = {
        "cell_type": "code",
        "metadata": {},
        "cells": [answer],
    }


def answer_ids_that_look_alike(content, id):
    solved = "def {}(*args):\n    return args[0] @ args[1].T"
    for alike in (f" {id}", f"{id}\x00", id.upper(), id.replace("o", "\u043e"), f"{id}\n"):
        content["cells"].append(_code(solved, moe_lessons={"answer": alike}))


def answer_source_is_nested(content, id):
    _answer(content, id)["source"] = [["def f():"], {"a": 1}]


def answer_is_a_cell_of_two_kinds(content, id):
    _answer(content, id)["cell_type"] = ["code", "markdown"]


def metadata_a_thousand_deep(content, id):
    deep: list = []
    for _ in range(900):
        deep = [deep]
    content["metadata"]["deep"] = deep
    _answer(content, id)["metadata"]["deep"] = deep


def answers_of_every_lesson(content, id):
    """Stubs of other lessons' exercises: nothing is earned, and nothing is lost."""
    for other in ("02.swiglu", "09.block_map", "10.mixtral_keys"):
        content["cells"].append(
            _code("def f():\n    raise NotImplementedError", moe_lessons={"answer": other})
        )


def lesson_of_another_name(content, id):
    content["metadata"]["moe_lessons"] = {"lesson": "../../../etc/passwd"}


def kernel_that_is_a_command(content, id):
    content["metadata"]["kernelspec"] = {"name": "x; touch /tmp/x", "argv": ["/bin/sh"], "language": "sh"}


def widgets_and_attachments(content, id):
    content["metadata"]["widgets"] = {"application/x": {"state": {"a": "b" * 100_000}}}
    for cell in content["cells"]:
        cell["attachments"] = {"../../x.png": {"image/png": "!!"}}


CHANGES: dict[str, Callable[[dict, str], None]] = {
    function.__name__.replace("_", " "): function
    for function in list(globals().values())
    if callable(function) and getattr(function, "__module__", "") == __name__ and function.__name__[0] != "_"
}
