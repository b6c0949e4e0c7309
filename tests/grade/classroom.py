"""A class of submissions, made from the lessons: what each learner hands in, and what it must earn."""

import ast
import copy
import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moe_lessons.build import paths
from moe_lessons.build.render import notebook
from moe_lessons.exercises import registry

LESSONS = [lesson for lesson in registry.lessons() if (paths.LESSONS / f"{lesson.id}.py").is_file()]
ENDLESS = "def {entry}(*args):\n    while True:\n        pass"
EXITS = "import os\n\n\ndef {entry}(*args):\n    os._exit(3)"
SPOILS_TORCH = "import torch\n\ntorch.allclose = lambda *a, **k: True\ntorch.Tensor.float = None\n"


PLANTED = Path(__file__).parents[1] / "exercises" / "planted"


@dataclass
class Learner:
    """A learner's files by name, the exercises that pass, and for wrong answers the mistake's id."""

    files: dict[str, str]
    passes: set[str]
    mistakes: dict[str, str]

    @property
    def points(self):
        return sum(registry.exercise(id).points for id in self.passes)


def built(lesson, *, solutions):
    return json.loads(json.dumps(notebook(paths.LESSONS / f"{lesson.id}.py", solutions=solutions)))


def answer_cells(content):
    return [cell for cell in content["cells"] if "answer" in cell["metadata"].get("moe_lessons", {})]


def answer_id(cell):
    return cell["metadata"]["moe_lessons"]["answer"]


STUBS = {lesson.id: built(lesson, solutions=False) for lesson in LESSONS}
SOLVED = {lesson.id: built(lesson, solutions=True) for lesson in LESSONS}
ANSWERS = {answer_id(c): "".join(c["source"]) for n in SOLVED.values() for c in answer_cells(n)}
"""The solution of every exercise that a lesson has an answer cell for."""
IDS = list(ANSWERS)
MAX_POINTS = sum(lesson.points for lesson in LESSONS)


# A kernel's text is read back from where it stands, so its lines must be known.
_LIKE_A_MODULE = """\
import linecache
import sys
import types


def _stand(name, text):
    parts = name.split(".")
    for n in range(1, len(parts) + 1):
        whole = ".".join(parts[:n])
        if whole == name or whole not in sys.modules:
            sys.modules[whole] = types.ModuleType(whole)
        if n > 1:
            setattr(sys.modules[".".join(parts[: n - 1])], parts[n - 1], sys.modules[whole])
    linecache.cache[name] = (0, None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), sys.modules[name].__dict__)


"""


def planted(id, kind, which):
    """An answer cell with a planted answer: its module and those beside it that it imports, then the name."""
    *before, (_, source) = beside(f"planted.{registry.module(id)}", id.split(".")[0]).items()
    texts = [_LIKE_A_MODULE, *(f"_stand({name!r}, {text!r})\n" for name, text in before)]
    return "".join([*texts, f"{source}\n{registry.exercise(id).entry} = {kind}[{id!r}][{which!r}]"])


@functools.cache
def beside(name, number, names=None):
    """A planted module and those that it leads to, as text, each behind those that it imports.

    An answer must not be too long: what belongs to exercises of other lessons is left out, and of a whole set
    of answers what is not used.
    """
    if name == "planted.capstone_pages":
        from planted import capstone_pages  # tests/hostile does not have its folder on the path

        return {name: capstone_pages.as_text()}
    source, found = _of_lesson(_file(name).read_text(encoding="utf-8"), number), {}
    source = source if names is None else _only(source, names)
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("planted", "fresh"):
            if _file(node.module).exists():
                found.update(beside(node.module, number))
                continue
            for one in node.names:
                inner = f"{node.module}.{one.name}"
                used = frozenset(_attributes(tree, one.asname or one.name))
                found.update(beside(inner, number, used if inner.startswith("fresh") else None))
    return {**found, name: source}


def _of_lesson(source, number):
    """The same text where tables speak of one lesson alone, else without the others' entries."""
    tree, other = ast.parse(source), re.compile(rf"(?!{number})\d\d\.")
    dropped = False
    for table in (one.value for one in tree.body if isinstance(one, ast.Assign)):
        if isinstance(table, ast.Dict):
            pairs = list(zip(table.keys, table.values, strict=True))
            kept = [
                (k, v) for k, v in pairs if not (isinstance(k, ast.Constant) and other.match(str(k.value)))
            ]
            dropped |= len(kept) < len(pairs)
            table.keys, table.values = [k for k, _ in kept], [v for _, v in kept]
    return ast.unparse(tree) if dropped else source


def _file(name):
    return PLANTED.parent.joinpath(*name.split(".")).with_suffix(".py")


def _attributes(tree, called):
    """What is used of a module that is known by this name."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == called
    }


def _only(source, names):
    """Of a module what has these names, with all that it uses."""
    tree = ast.parse(source)
    defined = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
    defined |= {one.targets[0].id: one for one in tree.body if isinstance(one, ast.Assign)}
    kept, asked = set(), set(names) & set(defined)
    while asked:
        kept |= asked
        used = {node.id for one in asked for node in ast.walk(defined[one]) if isinstance(node, ast.Name)}
        asked = (used & set(defined)) - kept
    left_out = [defined[name] for name in set(defined) - kept]
    tree.body = [one for one in tree.body if one not in left_out]
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for one in tree.body:
        if isinstance(one, ast.Import | ast.ImportFrom):
            one.names = [each for each in one.names if (each.asname or each.name.split(".")[0]) in read]
    tree.body = [one for one in tree.body if getattr(one, "names", True)]
    return ast.unparse(tree)


def mistake(id, number):
    known = registry.exercise(id).misconceptions
    return known[number % len(known)].id


def files(answers, change: Callable[[dict], None] = lambda content: None):
    """Notebooks with these answers, stubs elsewhere; ``change`` edits each before it is written."""
    made = {}
    for name, stub in STUBS.items():
        content = copy.deepcopy(stub)
        for cell in answer_cells(content):
            cell["source"] = answers.get(answer_id(cell), cell["source"])
        change(content)
        made[f"{name}.ipynb"] = json.dumps(content)
    return made


def learner(answers, passes=None, mistakes=None, change=lambda content: None):
    passed = set(answers) if passes is None else set(passes)
    return Learner(files(answers, change), passed, mistakes or {})


def some_lessons(one, lessons):
    """The same learner, who handed in these lessons only."""
    kept = {lesson.id for lesson in lessons}
    numbers = {lesson.number for lesson in lessons}
    return Learner(
        {name: text for name, text in one.files.items() if name.removesuffix(".ipynb") in kept},
        {id for id in one.passes if id.split(".")[0] in numbers},
        {id: mistake for id, mistake in one.mistakes.items() if id.split(".")[0] in numbers},
    )


def with_mistakes(number):
    answers = {id: planted(id, "WRONG", mistake(id, number)) for id in IDS}
    return learner(answers, passes=(), mistakes={id: mistake(id, number) for id in IDS})


def with_first(code, lessons=LESSONS):
    """Everything solved but the first exercise of each of these lessons, which has ``code``."""
    first = {next(id for id in IDS if id.startswith(lesson.number)) for lesson in lessons}
    spoilt = {id: code.format(entry=registry.exercise(id).entry) for id in first}
    return learner({**ANSWERS, **spoilt}, passes=set(IDS) - first)


def fake(content):
    """Check cells rewritten or removed, outputs that claim full points, markers for nbval."""
    for cell in list(content["cells"]):
        about = cell["metadata"].get("moe_lessons", {})
        if "check" in about:
            if about["check"] == IDS[0]:
                content["cells"].remove(cell)
            cell["source"] = "# NBVAL_IGNORE_OUTPUT\nprint('passed')"
            text = f"✔ {about['check']}: passed, 99 of 99 points\n"
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}]
        if "answer" in about:
            cell["metadata"]["moe_lessons"]["points"] = 999
    content["cells"].insert(0, {"cell_type": "code", "metadata": {}, "source": "import os; os._exit(1)"})


def double(content):
    """Each answer cell twice; the second is the stub again, which never counts beside an attempt."""
    for cell in answer_cells(content):
        stub = next(c for n in STUBS.values() for c in answer_cells(n) if answer_id(c) == answer_id(cell))
        content["cells"].append(copy.deepcopy(stub))


def strip(content):
    """No answer cells, as if their metadata had been lost."""
    for cell in answer_cells(content):
        cell["metadata"] = {}


def make_class():
    """Twenty learners by name."""
    other = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []})
    half = {id: ANSWERS[id] for id in IDS[::2]}
    borrowed = "from moe_lessons.layer import MoELayer\n\n\ndef {entry}(*args):\n    return MoELayer"
    return {
        "ada": learner(ANSWERS),
        "bela": learner(ANSWERS, change=lambda content: content["cells"].reverse()),
        "cleo": learner({id: planted(id, "RIGHT", 0) for id in IDS}),
        "dara": learner({id: planted(id, "RIGHT", 1) for id in IDS}),
        "elif": learner({}),
        "femi": learner({}, change=strip),
        "gus": learner(half),
        "hana": learner({id: ANSWERS[id] for id in IDS[1::2]}),
        **{f"wrong-{number}": with_mistakes(number) for number in range(5)},
        "ivo-malformed": Learner({"01.ipynb": '{"cells": [<<<<<<< HEAD', "x.ipynb": other}, set(), {}),
        "jo-endless": with_first(ENDLESS, LESSONS[:1]),
        "kim-exits": with_first(EXITS),
        "lea-faked": learner({}, change=fake),
        "max-doubled": learner(ANSWERS, change=double),
        "noa-spoils": with_first(SPOILS_TORCH + "\n\ndef {entry}(*args):\n    return args[0] * float('nan')"),
        "ola-borrows": with_first(borrowed),
    }


def write_class(folder: Path, learners):
    for name, one in learners.items():
        (folder / name).mkdir(parents=True)
        for file, text in one.files.items():
            (folder / name / file).write_text(text, encoding="utf-8")
