"""What a right answer returned becomes what the exercise asks for; references are that already."""

import numpy as np
import pytest
import torch

from moe_lessons.exercises import registry
from moe_lessons.exercises.asked import as_asked
from moe_lessons.exercises.judge import draw

ALL = [exercise for lesson in registry.lessons() for exercise in lesson.exercises]


def asked(id, returned, *args):
    return as_asked(registry.exercise(id), returned, args)


def test_rows_in_lists_become_tensors():
    ids_TK, weights_TK = asked("01.topk_gates", [[[0, 1]], np.array([[0.5, 0.5]])])
    assert (ids_TK.dtype, weights_TK.dtype) == (torch.int64, torch.float32)
    assert asked("08.bytes_moved", [1.0, 2, 3, 4, 5]).tolist() == [1, 2, 3, 4, 5]


def test_plain_values_become_what_they_stand_for():
    assert asked("07.capacity", torch.tensor(3.0)) == 3
    assert type(asked("07.capacity", 3.0)) is int
    assert type(asked("06.leaks_future", np.True_)) is bool
    assert type(asked("04.diagnose", np.str_("healthy"))) is str
    assert type(asked("10.bits_per_byte", np.float64(2))) is float


def test_a_loss_keeps_its_gradient():
    loss = torch.ones((), requires_grad=True) * 2
    assert asked("05.z_loss", loss) is loss


def test_double_precision_comes_back_only_where_it_went_in():
    wide = torch.ones(1, 2, dtype=torch.float64)
    assert asked("01.router_logits", wide, wide.float()).dtype == torch.float32
    assert asked("01.router_logits", wide, wide).dtype == torch.float64


def test_another_number_of_values_is_an_error():
    with pytest.raises(ValueError, match="it returned 3 values, 2 are asked for"):
        asked("01.topk_gates", (1, 2, 3))
    with pytest.raises(ValueError, match="it returned 1 values, 2 are asked for"):
        asked("01.topk_gates", torch.ones(2, 2))


@pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.id)
def test_the_packages_function_returns_what_is_asked(exercise):
    """It takes the exercise's arguments by position, and what it returns needs no change."""
    if exercise.driver == "subject":
        pytest.skip("takes a function")
    case = draw(exercise, 0)[0]
    casts = {name: getattr(torch, dtype) for name, dtype in case.casts.items()}
    args = [
        torch.from_numpy(value.copy()).to(casts.get(name)) if isinstance(value, np.ndarray) else value
        for name, value in case.args.items()
    ]
    returned = exercise.reference(*args)
    same = as_asked(exercise, returned, args)
    flat = [(returned, same)] if not isinstance(returned, tuple) else list(zip(returned, same, strict=True))
    for before, after in flat:
        assert after is before or (type(after) is type(before) and np.array_equal(after, before))
