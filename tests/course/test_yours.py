"""``yours``: your code once it has passed, across cells, kernels and lessons; the package's otherwise."""

import copy
import json
import re
import subprocess
import sys

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from moe_lessons.build import paths
from moe_lessons.course import check, progress, reset, start, store, yours
from moe_lessons.exercises import needs, registry
from moe_lessons.exercises.published import published

CHECK = 'from moe_lessons.course import check\ncheck("99.scale")'
TWICE = "def scale(x_N, factor):\n    mine = x_N * factor\n    return mine"
THE_PACKAGES = "scale: the package's, until 99.scale passes\n"
YOURS = "scale: yours, as it last passed (99.scale)\n"
X = torch.tensor([1.0, 2.0])


def keep(source, id="99.scale"):
    store.update(lambda p: p["exercises"].__setitem__(id, {"attempts": 1, "passed": True, "source": source}))


def test_the_packages_until_it_passes(printed):
    part = yours("99.scale")
    assert printed() == THE_PACKAGES
    assert part(X, 3).tolist() == [3, 6]
    assert (part.is_yours, part.label, part.__name__) == (False, "the package's scale", "scale")


def test_an_attempt_that_fails_is_not_yours(printed, in_cells):
    in_cells("def scale(x_N, factor):\n    return x_N + factor", CHECK)
    printed()
    assert not yours("99.scale").is_yours
    assert printed() == THE_PACKAGES


def test_yours_once_it_has_passed(printed, in_cells):
    in_cells(TWICE, CHECK)
    printed()
    part = yours("99.scale")
    assert printed() == YOURS
    assert part.own.__code__.co_varnames[-1] == "mine"
    assert part(X, 3).tolist() == [3, 6]
    assert (part.label, repr(part)) == ("your scale", "your scale")
    yours("99.scale")
    assert printed() == YOURS


def test_what_last_passed_counts_not_what_the_cell_says_now(printed, in_cells):
    in_cells(TWICE, CHECK)
    in_cells("def scale(x_N, factor):\n    return x_N[99]", CHECK)
    assert yours("99.scale")(X, 3).tolist() == [3, 6]
    in_cells("def scale(x_N, factor):\n    changed = factor * x_N\n    return changed", CHECK)
    assert yours("99.scale").own.__code__.co_varnames[-1] == "changed"


def test_a_demonstration_is_nobodys(in_cells):
    in_cells(TWICE, CHECK.replace(")", ", scale, demo=True)"))
    assert not yours("99.scale").is_yours


def test_a_function_without_a_cell_is_not_kept_and_that_is_said(printed):
    check("99.scale", lambda x, factor: factor * x)
    printed()
    assert not yours("99.scale").is_yours
    assert printed() == (
        "scale: the package's: 99.scale passed, but its code was not kept; run its check once more\n"
    )


CELLS = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in {cells!r}:
    shell.run_cell(cell, store_history=True)
"""


def in_a_kernel(*cells):
    """Run cells as a kernel of their own would; return what they print."""
    done = subprocess.run([sys.executable, "-c", CELLS.format(cells=cells)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_next_kernel_finds_it_with_the_four_names_and_a_helper_from_another_cell():
    first = in_a_kernel(
        'from moe_lessons.course import check, start\nstart("01_router")',
        "def shares(logits_TE):\n    return F.softmax(logits_TE, dim=-1)",
        "%%time\nprint('here')\ndef topk_gates(logits_TE, top_k, renormalize):\n"
        "    ids_TK = shares(logits_TE).argsort(dim=-1, descending=True)[:, : math.floor(top_k)]\n"
        "    weights_TK = shares(logits_TE).gather(-1, ids_TK)\n"
        "    return ids_TK, weights_TK / weights_TK.sum(-1, keepdim=True) if renormalize else weights_TK",
        'check("01.topk_gates")',
    )
    assert "✔ 01.topk_gates: passed" in first
    second = in_a_kernel(
        'from moe_lessons.course import start, yours\nstart("02_moe_layer")',
        'gates = yours("01.topk_gates")',
        "print(gates.label, gates(torch.tensor([[1.0, 3.0]]), 1, True)[0].tolist())",
        'print("shares" in gates.own.__globals__, "shares" in globals())',
    )
    assert second.splitlines()[-3:] == [
        "topk_gates: yours, as it last passed (01.topk_gates)",
        "your topk_gates [[1]]",
        "True False",
    ]


def test_an_answer_that_raises_is_named_once_and_the_package_goes_on(printed):
    keep("def scale(x_N, factor):\n    return x_N[99]")
    part = yours("99.scale")
    assert part.label == "your scale"
    results = [part(X, factor).tolist() for factor in (1, 2, 3)]
    # It was the package's that ran.
    assert (part.is_yours, part.label) == (False, "the package's scale (yours stopped)")
    assert results == [[1, 2], [2, 4], [3, 6]]
    said = printed().splitlines()
    assert said[0] + "\n" == YOURS
    assert said[1].startswith("scale: yours (99.scale) stopped with IndexError: index 99 is out of bounds")
    assert said[1].endswith("; the package's goes on")
    assert len(said) == 2
    assert part.stopped.startswith("IndexError: index 99 is out of bounds")


@pytest.mark.parametrize("end", ["raise SystemExit", "raise NotImplementedError('your code here')"])
def test_ending_the_process_is_an_error_like_others(printed, end):
    keep(f"def scale(x_N, factor):\n    {end}")
    assert yours("99.scale")(X, 2).tolist() == [2, 4]
    assert "yours (99.scale) stopped with" in printed()


def test_stopping_it_by_hand_stops_it():
    keep("def scale(x_N, factor):\n    raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        yours("99.scale")(X, 2)


@pytest.mark.parametrize(
    "source",
    ["", "def scale(x_N", "scale = 3", "def other(): pass", "raise SystemExit", "1 / 0", "\x00", "(" * 1000],
)
def test_a_broken_source_is_one_line_and_the_package(printed, source):
    keep(source)
    part = yours("99.scale")
    (line,) = printed().splitlines()
    assert line.startswith("scale: the package's: yours cannot be restored (")
    assert line.endswith("); run the check of 99.scale once more")
    assert part(X, 2).tolist() == [2, 4]


@pytest.mark.parametrize("source", [3, None, ["x"], {"a": 1}, True])
def test_a_source_that_is_no_text_counts_as_not_kept(printed, source):
    keep("")
    found = json.loads(store.path().read_text())
    found["exercises"]["99.scale"]["source"] = source
    store.path().write_text(json.dumps(found))
    assert not yours("99.scale").is_yours
    assert "its code was not kept" in printed()


def test_a_damaged_file_is_one_line_and_the_package(printed):
    keep(TWICE)
    store.path().write_text("{")
    assert yours("99.scale")(X, 2).tolist() == [2, 4]
    assert len(printed().splitlines()) == 2  # what happened to the file, and whose function it is
    yours("99.scale")
    assert printed() == THE_PACKAGES


def test_what_else_stands_in_the_cell_has_no_effect_when_it_is_restored(printed):
    keep(f'print("loud")\ntorch.manual_seed(5)\n{TWICE}\nassert scale(1, 1) == 7\ncheck("99.scale")')
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    assert yours("99.scale").is_yours
    assert printed() == YOURS
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_cell_that_asks_for_itself_ends(printed):
    keep(f"from moe_lessons.course import yours\npart = yours('99.scale')\n{TWICE}")
    assert yours("99.scale")(X, 2).tolist() == [2, 4]


def test_where_nothing_can_be_written_it_lives_as_long_as_the_kernel(
    printed, monkeypatch, tmp_path, in_cells
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MOE_LESSONS_HOME", str(tmp_path / "file" / "home"))
    in_cells(TWICE, CHECK)
    assert "Progress cannot be saved" in printed()
    assert yours("99.scale").is_yours


def test_a_solutions_notebook_has_its_own(printed, in_cells):
    keep(TWICE)
    start("99_toy", keep=False)
    assert not yours("99.scale").is_yours
    in_cells(TWICE, CHECK)
    assert yours("99.scale").is_yours


def test_progress_shows_it_and_reset_forgets_it(printed, in_cells):
    in_cells(TWICE, CHECK)
    progress()
    (line,) = [line for line in printed().splitlines() if line.startswith("99 ")]
    assert line.split() == ["99", "Toys", "&", "tests", "2", "of", "2", "yours:", "scale"]
    reset("99")
    printed()
    yours("99.scale")
    assert printed() == THE_PACKAGES
    progress()
    assert "yours" not in printed()
    in_cells(TWICE, CHECK)
    reset("all")
    assert not yours("99.scale").is_yours


def test_an_old_progress_file_is_read():
    store.path().parent.mkdir(parents=True, exist_ok=True)
    old = {"version": 1, "exercises": {"99.scale": {"attempts": 2, "passed": True}}}
    store.path().write_text(json.dumps(old))
    assert store.load()["exercises"] == old["exercises"]


def test_an_unknown_exercise_says_which_was_meant():
    with pytest.raises(KeyError, match=r"^no exercise .* did you mean '99.scale'"):
        yours("99.scael")


def test_in_a_notebook_that_is_one_line(capsys):
    shell = InteractiveShell()
    shell.run_cell('from moe_lessons.course import yours\nyours("99.scael")')
    assert capsys.readouterr().out.strip() == "no exercise '99.scael' in lesson 99; did you mean '99.scale'?"


def test_an_answer_that_changes_its_arguments_never_becomes_yours(printed, in_cells):
    in_cells("def scale(x_N, factor):\n    x_N *= factor\n    return x_N", CHECK)
    assert "✘ leaves its arguments as they were: `x_N` changed" in printed()
    assert not yours("99.scale").is_yours


def test_an_answer_that_no_gradient_passes_never_becomes_yours(printed, in_cells):
    in_cells("def scale(x_N, factor):\n    return x_N.detach() * factor", CHECK)
    assert "✘ lets gradients through to its arguments: no gradient reaches `x_N`" in printed()
    assert not yours("99.scale").is_yours


def test_a_pass_says_what_it_looked_at(printed, in_cells):
    in_cells(TWICE, CHECK)
    text = printed()
    assert "✔ leaves its arguments as they were" in text
    assert "✔ lets gradients through to its arguments" in text


def test_a_part_can_be_copied():
    """A toy run forks its rule, and with it the gate in it."""
    keep(TWICE)
    assert copy.deepcopy(yours("99.scale"))(X, 2).tolist() == [2, 4]


@pytest.mark.parametrize("lesson", sorted(paths.LESSONS.glob("*.py")), ids=lambda path: path.stem)
def test_no_lesson_takes_the_name_that_its_check_looks_up(lesson):
    for name, id in re.findall(
        r'^(\w+) = yours\("([\w.]+)"\)', lesson.read_text(encoding="utf-8"), re.MULTILINE
    ):
        assert name != registry.exercise(id).entry


@pytest.mark.skipif(needs.missing(registry.exercise("09.gather_rows")) != "", reason="needs Triton")
def test_a_kernel_is_restored_too():
    keep(published("09.gather_rows"), "09.gather_rows")
    said = in_a_kernel(
        'from moe_lessons.course import start, yours\nstart("10_mini_transformer")',
        'gather = yours("09.gather_rows")',
        "hidden_TD, slots_S, out_SD = torch.randn(3, 5), torch.tensor([4, 0, 3]), torch.zeros(3, 5)",
        "gather(hidden_TD, slots_S, out_SD, 2)",
        "print(out_SD.equal(hidden_TD[[2, 0, 1]]))",
    )
    assert said.splitlines()[-2:] == ["gather_rows: yours, as it last passed (09.gather_rows)", "True"]
