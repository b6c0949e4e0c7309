"""The package's layers: imports point down, importing the package loads little, files stay short."""

import ast
import subprocess
import sys

import pytest

from moe_lessons.build import paths

# Lowest first. A package stands for all its modules.
LAYERS = (
    "presets",
    "accounting",
    "routing",
    "balancing",
    "capacity",
    "experts",
    "device",
    "dispatch",
    "linear",
    "metrics",
    "ranks",
    "toy",
    "kernels",
    "layer",
    "config",
    "precision",
    "utilisation",
    "preset_table",
    "attention",
    "model",
    "data",
    "footprint",
    "corpus_command",
    "baselines",
    "distributed",
    "objective",
    "accumulation",
    "checkpoint",
    "runlog",
    "meter",
    "interrupt",
    "failures",
    "run",
    "train",
    "generate",
    "report",
    "interop",
    "progress",
    "tensorboard",
    "train_command",
    "svg",
    "plots",
    "exercises",
    "course",
    "explore",
    "grade",
    "build",
    "doctor",
    "bench",
    "cli",
    "__main__",
    "lab",
)
HEAVY = {"matplotlib": {"plots"}, "ipywidgets": {"course", "explore"}}

MODULES = sorted(p for p in paths.PACKAGE.rglob("*.py") if p != paths.PACKAGE / "__init__.py")


def layer(path):
    return path.relative_to(paths.PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(paths.PACKAGE).as_posix())
def test_imports_point_down(path):
    mine = LAYERS.index(layer(path))
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "moe_lessons" and len(parts) > 1 and parts[1] in LAYERS:
            assert LAYERS.index(parts[1]) <= mine, f"{path.name} imports {name}, which lies above it"
        for heavy, allowed in HEAVY.items():
            if parts[0] == heavy:
                assert layer(path) in allowed, f"{path.name} imports {heavy}"


@pytest.mark.parametrize(
    "module", ["moe_lessons", "moe_lessons.commands.cli", "moe_lessons.accounting.published"]
)
def test_import_stays_light(module):
    code = (
        f"import sys, {module}; print(*{{'torch', 'numpy', 'matplotlib', 'ipywidgets'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_layer_does_not_load_the_compiler():
    """It takes as long to import as torch, and brings Triton, then too late to ask for its mode."""
    code = "import sys, moe_lessons.layer; print(*{'torch._dynamo', 'triton'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_files_stay_short():
    lines = sorted(len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES)
    assert lines[-1] <= 300
    assert lines[len(lines) // 2] <= 200
