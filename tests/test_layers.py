"""The package's rooms: imports point down, none run in circles, importing loads little, files stay short."""

import ast
import subprocess
import sys

import pytest

from moe_lessons.build import paths, rooms

# Floors, the lowest first. Rooms of one floor do not know each other.
FLOORS = (
    "accounting config device experts lazy routing steps svg",
    "balancing budget capacity data dispatch front",
    "kernels linear metrics",
    "exercises layer toy",
    "course model",
    "parallel",
    "build explore frontier grade serving training",
    "interop",
    "adaptation bench inspect own",
    "commands",
    "__main__ lab",
)
FLOOR = {room: i for i, floor in enumerate(FLOORS) for room in floor.split()}

# What stands at the root as a single file: parts of the layer, what everything uses, and two ways in.
# A new file belongs into a wing.
SINGLE = {"linear", "device", "lazy", "steps", "lab", "__main__"}

HEAVY = {"matplotlib": {"svg/plots.py"}, "ipywidgets": set(), "anywidget": {"front"}}

MODULES = rooms.modules()


def test_every_room_has_its_floor():
    assert {rooms.room(name) for name in MODULES if rooms.room(name)} == set(FLOOR)


def test_single_files_at_the_root_are_these():
    assert {p.stem for p in paths.PACKAGE.glob("*.py") if p.stem != "__init__"} == SINGLE


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name):
    mine = rooms.room(name)
    for imported in rooms.imports(name):
        other = rooms.room(imported)
        if mine and other and other != mine:
            assert FLOOR[other] < FLOOR[mine], f"{name} imports {imported}, which is not below it"


def test_no_two_modules_import_each_other():
    assert rooms.circles() == []


def test_a_circle_is_found():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}
    assert rooms.circles(arrows) == [["b", "c"], ["d"]]


@pytest.mark.parametrize("name", MODULES)
def test_what_is_heavy_is_imported_in_few_places(name):
    file = MODULES[name].relative_to(paths.PACKAGE)
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        for heavy in {n.split(".")[0] for n in names} & set(HEAVY):
            assert HEAVY[heavy] & {file.parts[0], file.as_posix()}, f"{file} imports {heavy}"


PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]


@pytest.mark.parametrize("name", PACKAGES)
def test_no_module_can_replace_a_name(name):
    """Importing a module `x` of a package replaces what else the package calls `x`.

    Harmless only where the package imports its `x` from that very module, and so before.
    """
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    given = set(rooms.lazy_names(MODULES[name].parent))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            given |= {a.name for a in node.names if node.module not in (name, f"{name}.{a.name}")}
    assert not given & {m.rpartition(".")[2] for m in MODULES if m.rpartition(".")[0] == name}


LIGHT = [
    "moe_lessons",
    "moe_lessons.accounting",
    "moe_lessons.commands.cli",
    "moe_lessons.explore.page",
    "moe_lessons.training",
]


@pytest.mark.parametrize("module", LIGHT)
def test_import_stays_light(module):
    heavy = {"torch", "numpy", "matplotlib", "ipywidgets", "anywidget"}
    code = f"import sys, {module}; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_layer_does_not_load_the_compiler():
    """It takes as long to import as torch, and brings Triton, then too late to ask for its mode."""
    code = "import sys, moe_lessons.layer; print(*{'torch._dynamo', 'triton'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_grading_builds_no_grammar_of_web_addresses():
    """nbformat brings it by way of jsonschema, where installed: a second in every process that grades."""
    code = "import moe_lessons.grade.notebook, sys; print(*{'lark'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_files_stay_short():
    lines = sorted(len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES.values())
    assert lines[-1] <= 300
    assert lines[len(lines) // 2] <= 200
