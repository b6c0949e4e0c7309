"""Drivers: plain arrays in, plain arrays out, a Failure for everything else."""

import numpy as np
import pytest
import torch

from moe_lessons.exercises.drivers import Failure, Request, Value, run

ROW = np.array([1.0, 2.0], dtype=np.float32)


def call(answer, casts=None, **args):
    return run(answer, Request("call", args or {"x": ROW}, casts or {}, {}))


def gradient(answer, wrt=(0,), **args):
    return run(answer, Request("gradient", args or {"x": ROW}, {}, {"wrt": list(wrt)}))


def test_arguments_come_by_position_as_tensors_numbers_and_text():
    seen = []
    call(lambda *args: seen.extend(args), a=ROW, b=3, c="text", d=True, e=None)
    assert [type(value) for value in seen] == [torch.Tensor, int, str, bool, type(None)]


def test_a_cast_gives_dtypes_that_numpy_lacks():
    (value,) = call(lambda x: x, casts={"x": "bfloat16"})
    assert value.dtype == "bfloat16"
    assert value.data.dtype == np.float32


def test_inputs_are_copies():
    kept = ROW.copy()
    request = Request("call", {"x": kept}, {}, {})
    (first,) = run(lambda x: x.zero_(), request)
    (second,) = run(lambda x: x, request)
    assert np.array_equal(kept, ROW)
    assert np.array_equal(second.data, ROW)
    assert not first.data.any()


@pytest.mark.parametrize(
    ("returned", "dtype"),
    [
        (torch.ones(2, dtype=torch.float64), "float64"),
        (torch.ones(2, dtype=torch.bfloat16), "bfloat16"),
        (torch.ones(2, dtype=torch.int64), "int64"),
        (torch.ones(2, requires_grad=True), "float32"),
        (torch.nn.Parameter(torch.ones(2)), "float32"),
        (torch.ones(2, 3).T, "float32"),
        (np.ones(2), "float64"),
        (np.float32(1), "float32"),
        (3, "int"),
        (0.5, "float"),
        (True, "bool"),
        ("text", "str"),
    ],
    ids=str,
)
def test_what_may_come_back(returned, dtype):
    (value,) = call(lambda x: returned)
    assert isinstance(value, Value)
    assert value.dtype == dtype
    assert not isinstance(value.data, torch.Tensor)


def test_several_values_by_tuple_or_list():
    assert [v.data for v in call(lambda x: (1, 2))] == [1, 2]
    assert [v.data for v in call(lambda x: [1, 2])] == [1, 2]


def test_numbers_in_lists_are_arrays():
    weights, counts, flags, empty, nested = call(
        lambda x: ([0.5, x[0]], (1, 2), [True, np.bool_(False)], [], [[1, 2], [3, 4]])
    )
    assert weights.data.tolist() == [0.5, 1.0]
    assert (counts.dtype, flags.dtype, empty.dtype) == ("int64", "bool", "int64")
    assert nested.data.shape == (2, 2)


@pytest.mark.parametrize(
    "items", [[[1, 2], [3]], ["a"], [[None]], [torch.ones(2), 1], [[2**70]], [{}], [torch.ones(2)]], ids=repr
)
def test_lists_of_anything_else_are_not(items):
    found = call(lambda x: (x, items))
    assert found.kind == "bad return"
    assert "torch.tensor and torch.stack make a tensor of a list" in found.message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NotImplementedError("your code here"), "not attempted"),
        (NotImplementedError("Your code here, please"), "not attempted"),
        (NotImplementedError(), "not attempted"),
        (NotImplementedError("aten::nothing on CPU"), "exception"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(1), "exception"),
        (GeneratorExit(), "exception"),
        (MemoryError(), "exception"),
    ],
    ids=repr,
)
def test_every_way_to_fail_is_a_failure(error, kind):
    def answer(x):
        raise error

    found = call(answer)
    assert isinstance(found, Failure)
    assert found.kind == kind


def test_a_failure_names_the_learners_line_not_a_librarys():
    def answer(x):
        y = x + 1
        return torch.nn.functional.one_hot(y, "three")

    found = call(answer)
    assert found.message.startswith("TypeError")
    assert found.line.endswith('return torch.nn.functional.one_hot(y, "three")')


def test_the_line_may_lie_in_a_helper():
    def helper(x):
        return x.nothing

    found = call(lambda x: helper(x))
    assert found.line.endswith("return x.nothing")


def test_random_numbers_start_the_same_for_every_call_and_leave_no_trace():
    before = torch.random.get_rng_state()
    (first,), (second,) = call(lambda x: torch.rand(3)), call(lambda x: torch.rand(3))
    assert np.array_equal(first.data, second.data)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_gradients_flow_even_where_the_notebook_has_switched_them_off():
    with torch.no_grad():
        _, grad = gradient(lambda x: x * x)
    assert grad.data.any()


def test_gradients_are_those_of_a_weighted_sum():
    out, grad_x, grad_y = gradient(lambda x, y: x * y, wrt=(0, 1), x=ROW, y=3 * ROW)
    weights = np.cos(np.arange(2))
    assert np.allclose(out.data, 3 * ROW**2)
    assert np.allclose(grad_x.data, weights * 3 * ROW, atol=1e-6)
    assert np.allclose(grad_y.data, weights * ROW, atol=1e-6)


def test_no_gradient_reads_as_zero():
    _, detached = gradient(lambda x: x.detach() * 2)
    _, unused = gradient(lambda x, y: y * 2, wrt=(0,), x=ROW, y=ROW)
    assert not detached.data.any()
    assert not unused.data.any()


def test_uneven_weights_see_what_a_plain_sum_would_hide():
    """The sum of a softmax is constant: its gradient would be zero for any softmax, right or wrong."""
    _, grad = gradient(lambda x: x.softmax(-1))
    assert np.abs(grad.data).max() > 0.01


def test_a_gradient_needs_a_tensor():
    found = gradient(lambda x: x.tolist())
    assert found == Failure("bad return", "returned a list; a tensor that carries gradients is needed")


def test_an_answer_may_take_a_function():
    args = {"route": "plain", "logits_TE": np.log([[3.0, 1.0, 2.0]]).astype(np.float32)}
    request = Request("subject", args, {}, {"place": 0})
    (value,) = run(lambda route, logits_TE: route(logits_TE), request)
    assert np.allclose(value.data, [[0.6, 0.0, 0.4]])


def test_a_function_that_an_answer_takes_hides_its_name():
    request = Request("subject", {"route": "plain"}, {}, {"place": 0})
    (value,) = run(lambda route: route.__name__, request)
    assert value.data == "<lambda>"


def test_an_error_in_a_function_that_an_answer_takes_names_the_learners_line():
    def answer(route):
        return route("no tensor")

    found = run(answer, Request("subject", {"route": "plain"}, {}, {"place": 0}))
    assert found.line.endswith('return route("no tensor")')


def state_dict(state):
    return run(lambda x: state, Request("state_dict", {"x": ROW}, {}, {}))


def test_named_tensors_come_back_in_the_order_of_their_names():
    names, shapes, values, apart, dtypes = state_dict({"b": torch.ones(2, 1), "a": torch.zeros(3)})
    assert dtypes.data == "float32\nfloat32"
    assert (names.data, shapes.data, apart.data) == ("a\nb", "3\n2, 1", True)
    assert values.data.tolist() == [0, 0, 0, 1, 1]


def test_a_tensor_that_was_given_is_not_of_its_own_memory():
    kept = run(lambda x: {"x": x}, Request("state_dict", {"x": ROW}, {}, {}))
    assert kept[3].data is False


def test_dtypes_are_told():
    cast = run(lambda x: {"x": x.clone()}, Request("state_dict", {"x": ROW}, {"x": "bfloat16"}, {}))
    assert cast[4].data == "bfloat16"


def test_what_a_module_calls_its_state_is_a_dictionary():
    names, *_ = state_dict(torch.nn.Linear(2, 1).state_dict())  # an OrderedDict
    assert names.data == "bias\nweight"


BANK = torch.arange(6.0).view(3, 2)


@pytest.mark.parametrize(
    "state",
    [{"a": BANK[:1]}, {"a": BANK.T}, {"a": BANK, "b": BANK}, {"a": BANK.clone(), "b": BANK[1:].view(-1)}],
    ids=["slice", "transposed", "twice", "slice beside its own"],
)
def test_named_tensors_that_share_memory_are_told(state):
    assert state_dict(state)[3].data is False


@pytest.mark.parametrize("state", [None, {}, [BANK], {1: BANK}, {"a": [1.0]}, {"x" * 2000: BANK}], ids=repr)
def test_named_tensors_must_be_named_tensors(state):
    assert state_dict(state).kind == "bad return"
