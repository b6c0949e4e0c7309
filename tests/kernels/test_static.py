"""What can be read from the source of the kernels: no atomics, masks with `other`, int64 experts."""

import ast

import pytest

from moe_lessons.build import paths

SOURCES = sorted((paths.PACKAGE / "kernels").glob("*.py"))


def faults(source):
    """Name what breaks a rule in the functions under `@triton.jit`, and count those functions."""
    found, n_kernels = [], 0
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        if not any(ast.unparse(decorator).startswith("triton.jit") for decorator in function.decorator_list):
            continue
        n_kernels += 1
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            name, keywords = ast.unparse(call.func), {keyword.arg for keyword in call.keywords}
            if name.startswith("tl.atomic"):
                found.append(f"{function.name}: {name}")
            if name == "tl.load" and "mask" in keywords and "other" not in keywords:
                found.append(f"{function.name}: {ast.unparse(call)} without other")
            if (
                name in ("tl.load", "tl.store")
                and "[" in ast.unparse(call.args[0])
                and "mask" not in keywords
            ):
                found.append(f"{function.name}: {ast.unparse(call)} without a mask")
        text = ast.unparse(function)
        if "blocks_G2 + 2 * block)" in text and "blocks_G2 + 2 * block).to(tl.int64)" not in text:
            found += [f"{function.name}: expert is not int64"] if "tl.store(blocks_G2" not in text else []
    return found, n_kernels


def test_kernels_keep_the_rules():
    total = 0
    for path in SOURCES:
        found, n_kernels = faults(path.read_text(encoding="utf-8"))
        assert found == [], path.name
        total += n_kernels
    assert total == 11  # six kernels, two variants, and three functions they call


@pytest.mark.parametrize(
    "line",
    [
        "tl.atomic_add(out + i, 1.0)",
        "x = tl.load(a + i, mask=i < n)",
        "x = tl.load(a[:, None] + i[None, :])",
        "tl.store(a[:, None] + i[None, :], x)",
        "expert = tl.load(blocks_G2 + 2 * block)",
    ],
)
def test_the_rules_find_what_breaks_them(line):
    found, n_kernels = faults(f"@triton.jit\ndef kernel(a, i, n):\n    {line}\n")
    assert (len(found), n_kernels) == (1, 1)


def test_kernel_code_fits_one_sitting():
    """Lines of kernels alone: no docstrings, blank lines, comments, or the code around them.

    The variants, which nobody has to read to understand the six, are counted apart.
    """
    lines = {"kernels": 0, "variants": 0}
    for path in SOURCES:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and "triton.jit" in map(
                ast.unparse, function.decorator_list
            ):
                kind = "variants" if path.stem in ("product_tma", "up_persistent") else "kernels"
                lines[kind] += len(ast.unparse(function.body[1:]).splitlines())
    assert lines["kernels"] <= 160
    assert lines["variants"] <= 64
