"""Valid submissions, mutated at random: what is read is what was handed in, or nothing, and never a crash."""

import copy
import json

import classroom
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.grade.reading import read

LESSON = next(lesson for lesson in classroom.LESSONS if lesson.number == "01")
SOLVED = classroom.SOLVED[LESSON.id]
MINE = {id: code for id, code in classroom.ANSWERS.items() if id.startswith("01.")}
CELLS = len(SOLVED["cells"])
places = st.integers(0, CELLS - 1)
mutations = st.lists(
    st.one_of(
        st.tuples(st.just("drop"), places, places),
        st.tuples(st.just("double"), places, places),
        st.tuples(st.just("swap"), places, places),
        st.tuples(st.just("no metadata"), places, places),
        st.tuples(st.just("no source"), places, places),
        st.tuples(st.just("markdown"), places, places),
        st.tuples(st.just("null"), places, places),
    ),
    max_size=30,
)


def mutated(steps):
    content = copy.deepcopy(SOLVED)
    cells = content["cells"]
    for step, i, j in steps:
        if i >= len(cells) or j >= len(cells):
            continue
        if step == "drop":
            del cells[i]
        elif step == "double":
            cells.insert(j, copy.deepcopy(cells[i]))
        elif step == "swap":
            cells[i], cells[j] = cells[j], cells[i]
        elif step == "markdown":
            cells[i]["cell_type"] = "markdown"
        else:
            name = {"no metadata": "metadata", "no source": "source", "null": "outputs"}[step]
            if step == "null":
                cells[i][name] = None
            else:
                cells[i].pop(name, None)
    return content


def reading(folder, content):
    path = folder / "one.ipynb"
    path.write_bytes(content)
    return read(path, "one.ipynb")


@settings(deadline=None)  # a busy machine is slow, and no example is
@given(mutations)
def test_cells_dropped_doubled_reordered_and_stripped(tmp_path_factory, steps):
    """An answer is exactly the one handed in, or it is not there: so are its points."""
    content = mutated(steps)
    notebook = reading(tmp_path_factory.getbasetemp(), json.dumps(content).encode())
    assert notebook.answers.items() <= MINE.items()
    # By its mark, or by the name of its function.
    sources = {
        "".join(cell["source"])
        for cell in content["cells"]
        if cell.get("cell_type") == "code" and "source" in cell
    }
    assert set(notebook.answers) == {id for id, code in MINE.items() if code in sources}


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=20))
def test_bytes_flipped(tmp_path_factory, flips):
    """Either one line says why the file is unreadable, or every answer is text under an exercise's id."""
    content = bytearray(json.dumps(SOLVED).encode())
    for place, value in flips:
        content[place % len(content)] = value
    notebook = reading(tmp_path_factory.getbasetemp(), bytes(content))
    if notebook.problem is not None:
        assert notebook.answers == {}
        assert "\n" not in notebook.problem
    assert all(id in classroom.ANSWERS and type(code) is str for id, code in notebook.answers.items())


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_cut_off(tmp_path_factory, length):
    """A file that ends too early holds no answers."""
    content = json.dumps(SOLVED).encode()
    notebook = reading(tmp_path_factory.getbasetemp(), content[: length % len(content)])
    assert notebook.problem is not None
    assert notebook.answers == {}
