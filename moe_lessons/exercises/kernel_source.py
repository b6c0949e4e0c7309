"""A Triton kernel as text: what it may name, and how a function is made of it where no answer has been.

A kernel that ran beside the answer's other code may have been lied about. So the source of a launched kernel
is taken out of the cell, read, and run or compiled elsewhere: in a process that never held the answer. What
may stand in it is what a GPU could run: arithmetic, `tl`, other kernels, constants. This module imports
nothing of this package, and Triton only where a function is made.
"""

import ast
import importlib
import inspect
import linecache
import textwrap
import types
from collections.abc import Callable
from typing import Any

_BUILTINS = ("abs", "bool", "float", "int", "isinstance", "len", "max", "min", "print", "range", "sum")
_PLAIN = (bool, int, float, str, type(None))
_MODULES = ("triton", "triton.language")
_OF_TRITON = ("cdiv", "jit", "next_power_of_2")
_CLOSED = ("handle", "fn", "src", "cache", "run", "mangle", "build_extern", "codegen_name", "to_ir")
"""Attributes that lead from a kernel's values into the interpreter's own objects."""
_FORBIDDEN = (
    ast.AsyncFor,
    ast.AsyncFunctionDef,
    ast.AsyncWith,
    ast.Await,
    ast.ClassDef,
    ast.Delete,
    ast.Global,
    ast.Import,
    ast.ImportFrom,
    ast.Lambda,
    ast.Nonlocal,
    ast.Raise,
    ast.Try,
    ast.With,
    ast.Yield,
    ast.YieldFrom,
)
_MOST_CHARACTERS, _MOST_FUNCTIONS = 20_000, 20


class KernelTextError(Exception):
    """A kernel holds what no GPU could run, or what cannot be taken out of its cell."""


def describe(kernel: Any) -> list[dict[str, Any]]:
    """Take a kernel, and the kernels that it calls, out of their cell: plain data, the callees first.

    Parameters
    ----------
    kernel : triton.JITFunction or its interpreted counterpart

    Returns
    -------
    list of dict
        For each function its "name", its "text" from `def` on, the "line" at which that stands in its cell,
        and the "names" that it takes from there: modules, dtypes, constants.

    Raises
    ------
    KernelTextError
        Where it names something that is no part of a kernel.
    """
    found: dict[str, dict[str, Any]] = {}
    _describe(kernel.fn, found)
    return list(found.values())


def _describe(function: types.FunctionType, found: dict[str, dict[str, Any]]) -> None:
    lines, first = inspect.getsourcelines(function)
    skipped = next((i for i, line in enumerate(lines) if line.lstrip().startswith("def ")), 0)
    text = textwrap.dedent("".join(lines[skipped:]))
    names: dict[str, list[Any]] = {}
    for name in sorted(_names_from_outside(ast.parse(text))):
        if name not in function.__globals__:
            continue  # a builtin, or a mistake that says so when it runs
        value = function.__globals__[name]
        callee = getattr(value, "fn", None)
        if isinstance(callee, types.FunctionType) and not callee.__module__.startswith("triton."):
            if callee is not function and callee.__name__ not in found:
                _describe(callee, found)
            names[name] = ["kernel", callee.__name__]
        else:
            names[name] = _named(name, value)
    found[function.__name__] = {
        "name": function.__name__,
        "text": text,
        "line": max(first, 1) + skipped,
        "names": names,
    }


def _named(name: str, value: Any) -> list[Any]:
    if isinstance(value, types.ModuleType) and value.__name__ in _MODULES:
        return ["module", value.__name__]
    plain = getattr(value, "value", None) if type(value).__name__ == "constexpr" else value
    if type(plain) in _PLAIN:
        return ["constexpr" if plain is not value else "plain", plain]
    if is_dtype(value):
        return ["dtype", value.name]
    home = str(getattr(getattr(value, "fn", value), "__module__", ""))
    if home.startswith("triton.language") and callable(value):
        return ["language", getattr(value, "__name__", name)]
    raise KernelTextError(
        f"uses `{name}` ({type(value).__name__}) from outside: a kernel has its arguments, `tl`, other "
        "kernels and constants"
    )


def is_dtype(value: Any) -> bool:
    """Whether a value is one of Triton's dtypes, such as `tl.float32`."""
    return type(value).__name__ == "dtype" and type(value).__module__.startswith("triton.")


def _names_from_outside(tree: ast.AST) -> set[str]:
    """Names that a function's text uses and does not make, annotations included."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return {n.id for n in names if isinstance(n.ctx, ast.Load)} - _made(tree)


def _made(tree: ast.AST) -> set[str]:
    """Names that a function's text makes: its arguments, and what it assigns."""
    stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stored | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


def build(functions: list[dict[str, Any]]) -> Any:
    """Make the kernel, which is the last of what `describe` returned, in names of its own.

    Raises
    ------
    KernelTextError
        Where the text holds more than a kernel may.
    """
    triton = importlib.import_module("triton")
    if len(functions) > _MOST_FUNCTIONS:
        raise KernelTextError(f"is made of {len(functions)} functions, far more than was asked for")
    made: dict[str, Any] = {}
    for function in functions:
        text, name = str(function["text"]), str(function["name"])
        names = {key: _value(value, made) for key, value in dict(function["names"]).items()}
        tree = _read(text, name, set(names))
        # Padded, so that an error's line is the line of the learner's cell.
        line = min(int(function["line"]), 100_000)
        file = f"<kernel {name}>"
        padded = "\n" * (line - 1) + text
        linecache.cache[file] = (len(padded), None, padded.splitlines(keepends=True), file)
        ast.increment_lineno(tree, line - 1)
        names |= {"__name__": "answer", "__builtins__": {b: _builtin(b) for b in _BUILTINS}}
        exec(compile(tree, file, "exec"), names)
        made[name] = triton.jit(names[name])
        names[name] = made[name]
    return made[str(functions[-1]["name"])]


def _builtin(name: str) -> Callable[..., Any]:
    import builtins

    found: Callable[..., Any] = getattr(builtins, name)
    return found


def _value(value: Any, made: dict[str, Any]) -> Any:
    kind, what = value
    language = importlib.import_module("triton.language")
    if kind == "module" and what in _MODULES:
        return importlib.import_module(what)
    if kind == "kernel":
        return made.get(what)
    if kind in ("plain", "constexpr") and type(what) in _PLAIN:
        return language.constexpr(what) if kind == "constexpr" else what
    if kind == "dtype":
        return dtype(what)
    if kind == "language" and what in _language_names():
        return getattr(language, what)
    raise KernelTextError("names something that is no part of a kernel")


def dtype(name: str) -> Any:
    """One of Triton's dtypes by its own name, such as "fp32"."""
    language = importlib.import_module("triton.language")
    found = next((v for v in vars(language).values() if is_dtype(v) and v.name == name), None)
    if found is None:
        raise KernelTextError(f"names a dtype that does not exist: {name!r}")
    return found


def _language_names() -> set[str]:
    """What `tl.` may be followed by: no modules, which lead on to everything."""
    language = importlib.import_module("triton.language")
    public = {name: value for name, value in vars(language).items() if not name.startswith("_")}
    return {name for name, value in public.items() if not isinstance(value, types.ModuleType)} - {"core"}


def _value_names() -> set[str]:
    """What may follow a value: methods and attributes of tensors, dtypes, pointers and constants."""
    language = importlib.import_module("triton.language")
    of = (language.tensor, language.dtype, language.pointer_type, language.constexpr)
    own = (
        "element_ty",
        "dtype",
        "shape",
        "type",
        "value",
        "T",
        "scalar",
        "name",
        "numel",
        "primitive_bitwidth",
    )
    names = {name for one in of for name in dir(one) if not name.startswith("_")} | set(own)
    return names - set(_CLOSED)


def _read(text: str, name: str, given: set[str]) -> ast.Module:
    if len(text) > _MOST_CHARACTERS:
        raise KernelTextError(f"has {len(text):,} characters, far more than was asked for")
    tree = ast.parse(text)
    function = tree.body[0]
    if len(tree.body) != 1 or not isinstance(function, ast.FunctionDef) or function.name != name:
        raise KernelTextError("is not one function")
    function.decorator_list = []
    own = _made(function)
    known, language, values = own | given | set(_BUILTINS) | {name}, _language_names(), _value_names()
    for node in ast.walk(function):
        if isinstance(node, _FORBIDDEN) or (isinstance(node, ast.FunctionDef) and node is not function):
            raise KernelTextError(
                f"holds `{type(node).__name__.lower()}` in line {getattr(node, 'lineno', 1)}"
            )
        if isinstance(node, ast.Name) and (
            node.id.startswith("__") or node.id in ("eval", "exec", "getattr")
        ):
            raise KernelTextError(f"names `{node.id}`")
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in known:
            raise NameError(f"name '{node.id}' is not defined")
        if isinstance(node, ast.Attribute):
            _read_attribute(node, own, language, values)
    return tree


def _read_attribute(node: ast.Attribute, own: set[str], language: set[str], values: set[str]) -> None:
    whole = ast.unparse(node)
    if isinstance(node.value, ast.Name) and node.value.id not in own:
        # A module, by whatever name the cell has it, or a constant: the same names do for both.
        allowed = language | values | set(_OF_TRITON) | {"language", "math", "static_range"}
    elif (
        whole.count(".") >= 1
        and isinstance(node.value, ast.Attribute)
        and node.value.attr in ("language", "math")
    ):
        allowed = language
    else:
        allowed = values
    if node.attr not in allowed or node.attr.startswith("_"):
        raise KernelTextError(f"uses `{whole[:80]}`, which is no part of a kernel")
