"""No cell of the course itself is taken for an answer, whatever names its experiments use."""

import json

import pytest

from moe_lessons.build import paths
from moe_lessons.exercises import cells, registry


@pytest.mark.parametrize("lesson", registry.lessons(), ids=lambda lesson: lesson.id)
def test_cells_of_the_course_are_no_attempts(lesson):
    content = json.loads((paths.NOTEBOOKS / f"{lesson.id}.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    for exercise in lesson.exercises:
        for cell in code:
            if "answer" not in cell["metadata"].get("moe_lessons", {}):
                assert cells.attempt("".join(cell["source"]), exercise.entry) == "", exercise.id
