"""From what stands in a notebook's cell to the Python that is judged; `check` and the grader both read it so.

A notebook takes more than Python: magics (``%time f(x)``), commands (``!ls``), help (``f?``), prompts pasted
from elsewhere. None of that is part of an answer, so it goes, and every line keeps its number.
"""

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

KEPT_MAGICS = ("time", "timeit", "capture")
"""Cell magics that run the cell as Python."""
FORGETFUL_MAGICS = ("timeit",)
"""Those of them after which the notebook has forgotten what the cell defined."""
_KEPT = 512
"""Cells of which the reading is kept: a notebook's are looked at once for each of its exercises."""
STUB_MESSAGE = "your code here"


@dataclass(frozen=True)
class Cell:
    """A cell as Python: its `code`, or why it is `refused`; `forgotten` where only its text tells."""

    code: str
    refused: str = ""
    forgotten: bool = False


@lru_cache(maxsize=_KEPT)
def read(source: str) -> Cell:
    r"""The Python in a cell.

    Examples
    --------
    >>> read("%%time\n%matplotlib inline\nx = 1\n!ls").code
    'pass\npass\nx = 1\npass'
    >>> read("%%writefile f.py\nx = 1").refused
    '`%%writefile` keeps this cell from being run as Python: take that line away and run the cell again'
    """
    lines = re.sub(r"\r\n?", "\n", source.removeprefix("\ufeff")).split("\n")
    forgotten = False
    start = 0
    while True:
        while start < len(lines) and not lines[start].strip():
            start += 1
        magic = re.match(r"\s*%%(\w*)", lines[start]) if start < len(lines) else None
        if magic is None:
            break
        if magic[1] not in KEPT_MAGICS:
            return Cell("", f"`%%{magic[1]}` {_REFUSED}")
        forgotten |= magic[1] in FORGETFUL_MAGICS
        lines[start] = "pass"
        start += 1
    body = _without_prompts(_dedented(lines[start:]))
    return Cell("\n".join([*lines[:start], *_without_magics(body)]), forgotten=forgotten)


def tree(source: str) -> ast.Module | None:
    """The syntax tree of a cell, for reading only; None where it is not Python."""
    return _parsed_once(read(source).code)


def parsed(code: str) -> ast.Module | None:
    """The syntax tree of some Python; None if it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


_parsed_once = lru_cache(maxsize=_KEPT)(parsed)


def attempt(source: str, entry: str) -> str:
    r"""What a cell does about a function: "attempted", "stub" (untouched) or "" (defines no such name).

    Examples
    --------
    >>> attempt("def f(x):\n    return x", "f"), attempt("def g(x): ...", "f")
    ('attempted', '')
    >>> attempt("def f(x):\n    raise NotImplementedError('your code here')", "f")
    'stub'
    """
    cell = read(source)
    found = tree(source)
    if found is None or cell.refused:
        # Not Python (yet), but someone's attempt all the same.
        named = re.search(rf"^\s*(?:(?:async\s+)?def\s+|class\s+)?{re.escape(entry)}\s*[(=:]", source, re.M)
        return "attempted" if named else ""
    own = [node for node in found.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    # The variable of a loop, as in an experiment that tries several functions, is no definition.
    own = [node for node in own if not isinstance(node, ast.For) or any(map(_defines(entry), node.body))]
    if entry not in {name for node in own for name in bound(node)}:
        return ""
    # The text first: it is searched a hundred times faster than the tree.
    is_stub = "NotImplementedError" in cell.code and any(map(_is_stub, ast.walk(found)))
    return "stub" if is_stub else "attempted"


_OWN_SCOPE = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
"""What keeps its names to itself."""


def _defines(entry: str) -> Callable[[ast.stmt], bool]:
    return lambda node: entry in set(bound(node))


def bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top of a cell defines, in the branches of an ``if`` or ``with`` too."""
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, _OWN_SCOPE):
            continue
        if isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        pending += ast.iter_child_nodes(node)


def free(tree: ast.AST) -> set[str]:
    """Names that a piece of Python uses and does not make.

    Examples
    --------
    >>> sorted(free(ast.parse("def f(x):\\n    y = g(x)\\n    return y + z")))
    ['g', 'z']
    """
    used, own = names(tree)
    return used - own


def names(tree: ast.AST) -> tuple[set[str], set[str]]:
    """Names that a piece of Python mentions, and those that it makes, at its top or further in.

    In one pass over the tree: a class hands in thousands of cells, and each is asked more than once.
    """
    used: set[str] = set()
    made: set[str] = set()
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name):
            used.add(node.id)
            if isinstance(node.ctx, ast.Store):
                made.add(node.id)
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            made.add(node.name)
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                pending += [one for one in value if isinstance(one, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                pending.append(value)
    return used, made


_REFUSED = "keeps this cell from being run as Python: take that line away and run the cell again"
_PROMPT = re.compile(r"(?:>>>|\.\.\.)(?: |$)|In \[\d+\]: |   \.\.\.: ?")
_MAGIC = re.compile(r"\s*(?:[%!?]|[\w.]+\?{1,2}\s*$|(?P<set>[\w.,\s\[\]'\"]+=\s*)[%!](?!=))")
_TIMED = re.compile(r"(\s*|[\w.,\s]+=\s*)%time\s+(.+)")
_PIECES = re.compile(
    r"""(?P<text>[rRbBuUfF]{0,2}(?:\"\"\"(?:\\.|[^\\])*?(?:\"\"\"|\Z)|'''(?:\\.|[^\\])*?(?:'''|\Z)"""
    r"""|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))"""
    r"""|(?P<comment>\#[^\n]*)|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<goes_on>\\\n)|(?P<end>\n)""",
    re.DOTALL,
)


def _dedented(lines: list[str]) -> list[str]:
    """Without the indent of the first line, as a notebook runs a cell that was pasted from a function."""
    indent = next((re.match(r"[ \t]*", line)[0] for line in lines if line.strip()), "")  # type: ignore[index]
    return [line.removeprefix(indent) for line in lines] if indent else lines


def _without_prompts(lines: list[str]) -> list[str]:
    first = next((line for line in lines if line.strip()), "")
    return [_PROMPT.sub("", line, count=1) for line in lines] if _PROMPT.match(first) else lines


def _without_magics(lines: list[str]) -> list[str]:
    text = "\n".join(lines)
    if _parsed_once(text) is not None:
        return lines
    made, place = [], 0
    while place < len(text):
        end = _end(text, place)
        statement = text[place:end]
        first = statement.partition("\n")[0]
        if _MAGIC.match(first):
            # A magic ends with its line, unless a backslash carries it on.
            length = re.match(r"(?:[^\n]*\\\n)*[^\n]*\n?", text[place:]).end()  # type: ignore[union-attr]
            end = place + length
            statement = _replaced(text[place:end])
        made.append(statement)
        place = end
    return "".join(made).split("\n")


def _replaced(magic: str) -> str:
    """A statement in place of a magic, over as many lines."""
    timed = _TIMED.match(magic)
    if timed and parsed(timed[2]) is not None:
        return timed[1] + magic[timed.start(2) :]
    matched = _MAGIC.match(magic)
    indent = re.match(r"\s*", magic)[0]  # type: ignore[index]
    assigned = matched["set"] if matched else None
    lines = magic.count("\n")
    return (f"{assigned}None" if assigned else f"{indent}pass") + "\n" * lines


def _end(text: str, place: int) -> int:
    """Where the statement that begins at a place ends: the end of its line, outside text and brackets."""
    depth = 0
    for piece in _PIECES.finditer(text, place):
        depth += (piece.lastgroup == "open") - (piece.lastgroup == "close")
        if piece.lastgroup == "end" and depth <= 0:
            return piece.end()
    return len(text)


def _is_stub(node: ast.AST) -> bool:
    if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
        return False
    called, args = node.exc.func, node.exc.args
    said = args[0].value if args and isinstance(args[0], ast.Constant) else None
    return (
        isinstance(called, ast.Name)
        and called.id == "NotImplementedError"
        and isinstance(said, str)
        and said.lower().startswith(STUB_MESSAGE)
    )
