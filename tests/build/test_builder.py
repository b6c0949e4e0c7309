"""Reading a lesson, what it depends on, building, checking, the README's made parts."""

import shutil

import nbformat
import pytest
from click.testing import CliRunner

from moe_lessons.build import __main__ as builder
from moe_lessons.build import paths, readme, source
from moe_lessons.build.execute import _WIDGET, EXPLORABLE, _joined, _stable
from moe_lessons.exercises.published import with_solution
from moe_lessons.front import asleep

TOY = '''# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, predict, quiz, reveal, score, start

start("00_start_here")

# %% [markdown]
# {{exercise 00.top2_mix}}


# %% answer="00.top2_mix"
def top2_mix(logits_E, outputs_ED):
    """Mix."""
    ### BEGIN SOLUTION
    top_2, ids_2 = logits_E.topk(2)
    return top_2.softmax(dim=-1) @ outputs_ED[ids_2]
    ### END SOLUTION


# %%
check("00.top2_mix")
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A repository with one short lesson 00; the package stays where it is."""
    for name in ("LESSONS", "NOTEBOOKS", "SOLUTIONS"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setattr(paths, name, folder)
    monkeypatch.setattr(paths, "README", tmp_path / "README.md")
    shutil.copy(paths.ROOT / "README.md", tmp_path / "README.md")
    monkeypatch.setattr(builder, "PAGES", {tmp_path / "README.md": readme.filled})
    lesson = tmp_path / "lessons" / "00_start_here.py"
    lesson.write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(builder, "source_hash", lambda path: str(hash(path.read_text(encoding="utf-8"))))
    return lesson


@pytest.fixture
def executed(monkeypatch):
    """Stands for running a notebook: counts, and gives each code cell an output."""
    runs = []

    def execute(built, folder):
        runs.append(folder)
        for count, cell in enumerate((c for c in built.cells if c.cell_type == "code"), 1):
            cell.execution_count = count
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="ran\n")]
        return built

    monkeypatch.setattr(builder, "execute", execute)
    return runs


def run(*arguments):
    return CliRunner().invoke(builder.main, list(arguments))


def everything(toy):
    root = toy.parent.parent
    return {p.name + p.parent.name: p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_second_build_changes_nothing_and_executes_nothing(toy, executed):
    assert run().exit_code == 0
    before = everything(toy)
    done = run()
    assert done.exit_code == 0
    assert "up to date" in done.output
    assert len(executed) == 1
    assert everything(toy) == before


def test_check_changes_nothing_and_names_what_is_stale(toy, executed):
    before = everything(toy)
    done = run("--check")
    assert done.exit_code == 1
    assert "notebooks/00_start_here.ipynb differs from its lesson; run `make lessons`" in done.output
    assert "solutions/00_start_here.ipynb is missing" in done.output
    assert everything(toy) == before
    run()
    assert run("--check").exit_code == 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.replace("topk", "tokp"), "differs from its lesson"),
        (lambda text: text.replace('"id": "', '"id": "x', 1), "differs from its lesson"),
        (lambda text: text[: len(text) // 2], "is not a readable notebook"),
        (lambda text: "<<<<<<< HEAD\n" + text, "is not a readable notebook"),
        (lambda text: text.replace('"source_hash": "', '"source_hash": "0'), "made with other code"),
    ],
    ids=["edited", "id changed", "cut off", "merge conflict", "package changed"],
)
def test_a_spoilt_solution_is_noticed_and_rebuilt(toy, executed, spoil, said):
    run()
    stored = paths.SOLUTIONS / "00_start_here.ipynb"
    good = stored.read_text(encoding="utf-8")
    stored.write_text(spoil(good), encoding="utf-8")
    done = run("--check")
    assert done.exit_code == 1
    assert said in done.output
    run()
    assert stored.read_text(encoding="utf-8") == good
    assert len(executed) == 2


def test_an_edited_learner_notebook_is_noticed(toy, executed):
    run()
    learner = paths.NOTEBOOKS / "00_start_here.ipynb"
    learner.write_text(learner.read_text(encoding="utf-8").replace("your code", "my code"), encoding="utf-8")
    assert "notebooks/00_start_here.ipynb differs" in run("--check").output


def test_an_unknown_lesson_is_a_usage_error(toy):
    done = run("77")
    assert done.exit_code == 2
    assert "no lesson starts with 77" in done.output


def test_solution_blocks_at_any_depth():
    block = "        ### BEGIN SOLUTION\n        a = 1\n\n        b = 2\n        ### END SOLUTION\n"
    code = f"def f():\n    if 1:\n{block}    return 3"
    stub = source.without_solution(code)
    assert stub == 'def f():\n    if 1:\n        raise NotImplementedError("your code here")\n    return 3'
    assert with_solution(code) == "def f():\n    if 1:\n        a = 1\n\n        b = 2\n    return 3"
    assert source.solution_lines(code) == ["a = 1", "b = 2"]


def test_the_stub_of_a_puzzle_runs():
    code = "def f(x):\n    ### BEGIN SOLUTION\n    return x + 1\n    ### END SOLUTION"
    assert source.without_solution(code, source.STUB_OF_A_PUZZLE) == "def f(x):\n    return ..."


def test_two_blocks_in_one_cell_are_two_stubs():
    block = "    ### BEGIN SOLUTION\n    x = {}\n    ### END SOLUTION\n"
    stub = source.without_solution("def f():\n" + block.format(1) + "    y = 0\n" + block.format(2))
    assert stub.count("NotImplementedError") == 2
    assert "x =" not in stub
    assert "y = 0" in stub


def test_a_lesson_depends_on_itself_its_exercises_the_engine_and_what_it_imports():
    lesson = paths.LESSONS / "00_start_here.py"
    found = {path.relative_to(paths.ROOT).as_posix() for path in source.dependencies(lesson)}
    assert {
        "lessons/00_start_here.py",
        "moe_lessons/exercises/start_here/top2_mix.py",
        "moe_lessons/exercises/drivers.py",
        "moe_lessons/course/checking.py",
        "moe_lessons/course/show.py",
        "moe_lessons/layer/moe.py",  # `from moe_lessons import MoELayer`, a lazy name
        "moe_lessons/svg/tables.py",  # through the package's __init__
        "moe_lessons/dispatch/fused.py",  # through layer
        "moe_lessons/commands/diagnosis.py",
    } <= found
    assert not [path for path in found if "exercises/router" in path or path.startswith("tests/")]


def test_a_lesson_depends_on_what_its_explorable_draws():
    found = {
        p.relative_to(paths.PACKAGE).as_posix()
        for p in source.dependencies(paths.LESSONS / "01_router.py")
        if p.is_relative_to(paths.PACKAGE)
    }
    assert {"explore/router/explorable.py", "explore/router/view.py", "explore/widget.py"} <= found
    assert "explore/calculator/view.py" not in found


def test_the_hash_follows_a_dependency(monkeypatch, tmp_path):
    file = tmp_path / "a.py"
    file.write_text("x = 1")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(source, "dependencies", lambda lesson: [file])
    before = source.source_hash(file)
    file.write_text("x = 2")
    assert source.source_hash(file) != before


def test_what_is_random_is_dropped_from_outputs():
    def output(data):
        return nbformat.v4.new_output("display_data", data=data)

    assert _stable(output({_WIDGET: {"model_id": "x"}, "text/plain": "VBox()"})) is None
    kept = _stable(output({_WIDGET: {"model_id": "x"}, "text/html": "<b>", "text/plain": "VBox()"}))
    assert dict(kept.data) == {"text/html": "<b>"}
    assert _stable(output({"text/html": asleep.still("<svg/>"), "text/plain": ""})) is None
    plain = output({"text/plain": "1"})
    assert _stable(plain) is plain


def test_an_explorables_picture_keeps_its_text_and_is_marked():
    data = {_WIDGET: {"model_id": "x"}, "image/svg+xml": "<svg/>", "text/plain": "Router: six experts"}
    kept = _stable(nbformat.v4.new_output("display_data", data=data))
    assert dict(kept.data) == {"image/svg+xml": "<svg/>", "text/plain": "Router: six experts"}
    assert EXPLORABLE in kept.metadata
    chart = _stable(
        nbformat.v4.new_output("display_data", data={"image/svg+xml": "<svg/>", "text/plain": "a chart"})
    )
    assert EXPLORABLE not in chart.metadata


def test_the_readmes_made_parts_and_nothing_else():
    text = "top\n"
    for name in ("first", "clone", "lessons"):
        text += f"<!-- {name}:begin (made) -->\nold\n<!-- {name}:end -->\nbetween\n"
    made = readme.filled(text)
    assert "old" not in made
    assert made.startswith("top\n<!-- first:begin (made) -->\n")
    assert made.count("between") == 3
    assert readme.filled(made) == made
    assert '"notebooks/00_start_here.ipynb"' in made
    with pytest.raises(ValueError, match="lost its markers"):
        readme.filled("nothing here")


def test_prints_are_joined_however_the_kernel_cut_them():
    def stream(text, name="stdout"):
        return nbformat.v4.new_output("stream", name=name, text=text)

    picture = nbformat.v4.new_output("display_data", data={"text/plain": "a picture"})
    joined = _joined([stream("a"), stream("b\n"), picture, stream("c"), stream("d", "stderr")])
    assert [o.get("text", "picture") for o in joined] == ["ab\n", "picture", "c", "d"]
