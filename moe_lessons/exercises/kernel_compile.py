"""Compile a kernel's text for GPUs that are not here, in a process where Triton does not interpret.

Triton asks once, when it is imported, whether to interpret. So a notebook starts this file as a process of
its own, which imports nothing of this package but `kernel_source`; a grader's worker, which may start none,
looks at a second copy of Triton that its parent has loaded. Either goes as far as PTX, the GPU's assembly
language: what a compiler refuses, it has refused by then.
"""

import contextlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

CAPABILITIES = (80, 90)
"""A100 and H100."""
COMPILES = "compiles"
_SKIPPED = "not compiled here: "
_SOURCE = "moe_lessons.exercises.kernel_source"
_second_copy: dict[str, Any] = {}


def compile_text(launch: dict[str, Any]) -> str:
    """Compile one launch for each of `CAPABILITIES`: `COMPILES`, or what the compiler says, or why none did.

    Parameters
    ----------
    launch : dict
        With "functions" as `kernel_source.describe` returns them, and "signature": for each argument its type
        ("*fp16", "i32") or ["constexpr", value].
    """
    if _second_copy:
        with _triton_that_compiles():
            return _compile(launch)
    try:
        return _answered(json.dumps(launch))
    except (OSError, ValueError) as error:
        _helper.cache_clear()
        return f"{_SKIPPED}{error or type(error).__name__}"


def was_skipped(said: str) -> bool:
    """Whether `compile_text` could not ask a compiler."""
    return said.startswith(_SKIPPED)


def load_second_copy() -> None:
    """Import Triton once more, as a compiler, beside the interpreter: for a process that forks workers."""
    interpreting = os.environ.pop("TRITON_INTERPRET", None)
    first = _put_aside()
    try:
        importlib.import_module("triton.language")
        importlib.import_module("triton.compiler")
        importlib.import_module("triton.compiler.code_generator")  # else when the first kernel is compiled
        importlib.import_module("triton.backends.nvidia.compiler")
        _second_copy.update({name: sys.modules[name] for name in _triton_names()})
    finally:
        _put_aside()
        sys.modules.update(first)
        if interpreting is not None:
            os.environ["TRITON_INTERPRET"] = interpreting


@contextlib.contextmanager
def _triton_that_compiles() -> Iterator[None]:
    first = _put_aside()
    sys.modules.update(_second_copy)
    interpreting = os.environ.pop("TRITON_INTERPRET", None)
    try:
        yield
    finally:
        _put_aside()
        sys.modules.update(first)
        if interpreting is not None:
            os.environ["TRITON_INTERPRET"] = interpreting


def _triton_names() -> list[str]:
    return [name for name in sys.modules if name == "triton" or name.startswith("triton.")]


def _put_aside() -> dict[str, Any]:
    """Take Triton's Python modules out of `sys.modules`; its compiled library can be loaded only once."""
    return {name: sys.modules.pop(name) for name in _triton_names() if not name.startswith("triton._C")}


def _compile(launch: dict[str, Any]) -> str:
    source = importlib.import_module(_SOURCE)
    try:
        kernel = source.build(launch["functions"])
    except source.KernelTextError as error:
        return f"a kernel {error}"
    signature, constants = {}, {}
    for name, kind in launch["signature"].items():
        signature[name] = kind if isinstance(kind, str) else "constexpr"
        if not isinstance(kind, str):
            constants[name] = source.dtype(kind[1][3:]) if str(kind[1]).startswith("tl:") else kind[1]
    for capability in CAPABILITIES:
        try:
            _to_ptx(kernel, signature, constants, capability)
        except Exception as error:
            if isinstance(error, ImportError | AttributeError) and "triton" in str(error):
                return f"{_SKIPPED}this Triton is built otherwise ({error})"
            return f"sm_{capability}: {_first_line(error)}"
    return COMPILES


def _to_ptx(kernel: Any, signature: dict[str, str], constants: dict[str, Any], capability: int) -> None:
    """Go through the compiler's stages as `triton.compile` does, without its cache and without `ptxas`."""
    ir = importlib.import_module("triton._C.libtriton").ir
    compiler = importlib.import_module("triton.compiler")
    target = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", capability, 32)
    backend = importlib.import_module("triton.compiler.compiler").make_backend(target)
    # Triton 3.9 warns where fusion is not said.
    options = backend.parse_options({"ptx_version": 80, "enable_fp_fusion": True})
    source = compiler.ASTSource(kernel, signature, constants)
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    code_generation = backend.get_codegen_implementation(options)
    module = source.make_ir(target, options, code_generation, backend.get_module_map(), context)
    stages: dict[str, Any] = {}
    backend.add_stages(stages, options, source.language)
    metadata = {"target": target, **vars(options)}
    for name in ("ttir", "ttgir", "llir", "ptx"):
        module = stages[name](module, metadata)


def _first_line(error: BaseException) -> str:
    """What the compiler says is wrong: under a quoted line of the kernel it is the last line that says it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[-1] if lines else type(error).__name__
    place = next((line for line in lines if line.startswith("at ")), "")
    quoted = [line for line in lines[1:-1] if set(line) != {"^"}]
    where = f" (at `{quoted[-1]}`)" if place and quoted else ""
    return f"{said}{where}"[:300]


@lru_cache(maxsize=1)
def _helper() -> subprocess.Popen[str]:
    """The process that compiles, started on the first call and kept; it ends with its input."""
    return subprocess.Popen(
        [sys.executable, "-I", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"},
    )


@lru_cache(maxsize=256)
def _answered(launch: str) -> str:
    """Ask the helper; what it has answered once, it need not be asked again."""
    helper = _helper()
    assert helper.stdin is not None
    assert helper.stdout is not None
    helper.stdin.write(launch + "\n")
    helper.stdin.flush()
    line = helper.stdout.readline()
    if not line:
        raise OSError("the process that compiles has ended")
    return str(json.loads(line))


def _serve() -> None:
    """Answer one launch a line until the input ends."""
    place = importlib.util.spec_from_file_location(_SOURCE, Path(__file__).with_name("kernel_source.py"))
    assert place is not None
    assert place.loader is not None
    sys.modules[_SOURCE] = importlib.util.module_from_spec(place)
    place.loader.exec_module(sys.modules[_SOURCE])
    output, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps(_compile(json.loads(line))), file=output, flush=True)


if __name__ == "__main__":
    _serve()
