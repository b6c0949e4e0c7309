"""Errors that answers end in, whatever the exercise: patterns of PyTorch's, numpy's and Python's messages."""

from moe_lessons.exercises.crash_shapes import INDICES, PRODUCTS, SHAPES, general
from moe_lessons.exercises.spec import Crash

_DTYPES = (
    general(
        "integers_for_floats",
        r"not implemented for '(Long|Int|Bool)'|could not infer output dtype. Input dtype must be either a "
        r"floating point",
        "This operation needs real numbers, and gets whole ones or booleans. `.float()` turns them; or a "
        "tensor of ids stands where its values are meant.",
    ),
    general(
        "dtypes_mixed",
        r"to have the same dtype, but got|must have the same (scalar type|dtype)|expected scalar type|"
        r"source and destination dtypes match|Expected self\.dtype to be equal to src\.dtype|"
        r"dtype .* do(es)? not match",
        "Two tensors of different dtypes meet in an operation that does not convert. Bring *both* to the "
        "dtype that the task asks for, `.float()` or `.to(other.dtype)`, before they meet.",
    ),
    general(
        "several_values_as_one",
        r"elements cannot be converted to Scalar|only one element tensors can be converted|"
        r"only length-1 arrays|can only convert an array of size 1",
        "A tensor of several numbers stands where one number is needed (`.item()`, `float(...)`, "
        "`torch.tensor([...])` of tensors). To put tensors together use `torch.stack` or `torch.cat`.",
    ),
    general(
        "truth_of_several",
        r"Boolean value of Tensor with more than one value|truth value of an array with more than one",
        "`if`, `and`, `or` and `not` want one truth value, and a comparison of tensors gives one for each "
        "element. Say `.any()` or `.all()`; or choose element by element with `torch.where`.",
    ),
    general(
        "numbers_for_tensors",
        r"expected Tensor as element \d+ in argument \d+, but got (?P<kind>\w+)"
        r"|must be Tensor, not (int|float|list|tuple)",
        "A plain number or list stands where PyTorch needs a tensor. `torch.tensor(...)` makes one of "
        "numbers; but if they came out of tensors, do not take them out (`.item()`), for no gradient comes "
        "with them.",
    ),
)

_AUTOGRAD = (
    general(
        "argument_overwritten",
        r"leaf Variable that requires grad is being used in an in-place|"
        r"is a view and is being modified inplace|view of a leaf Variable",
        "The code writes into one of its arguments (`x *= ...`, `x[i] = ...`, a method ending in `_`). An "
        "argument belongs to whoever passed it, and autograd refuses to lose its old value. Compute a new "
        "tensor, or write into a `.clone()`.",
    ),
    general(
        "overwritten_for_backward",
        r"modified by an inplace operation",
        "A tensor was overwritten that the backward pass still needs. Make a new one in place of the "
        "in-place operation.",
    ),
    general(
        "read_while_written",
        r"refer to a single memory location|written-to tensor",
        "Rows of a tensor are written from rows of the same tensor, which share memory. Read from a copy: "
        "`.clone()` what stands on the right, or keep the old tensor and write into a new one.",
    ),
    general(
        "numpy_needs_no_gradient",
        r"Can't call numpy\(\) on Tensor that requires grad",
        "A gradient is wanted here, and numpy knows none. Do it with torch: nearly every numpy function has "
        "a twin there.",
    ),
    general(
        "no_graph",
        r"does not require grad and does not have a grad_fn",
        "There is nothing to differentiate: what led here left autograd, by `.detach()`, `torch.no_grad()`, "
        "`.item()` or a new `torch.tensor(...)`; or `requires_grad_()` was never called.",
    ),
)

_NOTHING = (
    general(
        "nothing_to_stack",
        r"expects a non-empty TensorList|expected a non-empty list of Tensors|need at least one array",
        "The list is empty, and PyTorch cannot know which shape nothing should have. Begin with "
        "`torch.zeros(...)` of the result's shape and fill it; or compute on whole tensors, which may have "
        "an axis of size 0.",
    ),
    general(
        "largest_of_nothing",
        r"Expected reduction dim|arg is an empty sequence|zero-size array to reduction|"
        r"iterable argument is empty",
        "The largest or smallest of no numbers does not exist. Can you do without it? Sizes come from a "
        "`shape`, the number of experts from the weights, and `bincount` takes `minlength`.",
    ),
    general(
        "first_of_nothing",
        r"index -?\d+ is out of bounds for (dimension|axis) \d+ with size 0|list index out of range",
        "The code takes an element where there is none. Compute on whole tensors, which may be empty.",
        edge=True,
    ),
    general(
        "division_by_zero",
        r"ZeroDivisionError",
        "Something is divided by 0: a count, or a size, that may be 0 for these inputs.",
    ),
)

_PYTHON = (
    general(
        "topk_returns_two",
        r"torch\.return_types\.(?P<function>\w+)",
        "`{function}` returns two things, the values and the indices. Take one: `values, ids = ...`, or "
        "`.values` and `.indices`. (`amax` and `amin` return values alone.)",
    ),
    general(
        "unpacking",
        r"(not enough|too many) values to unpack",
        "The left side names another number of things than the right side gives. Iterating over a tensor "
        "gives its rows; `topk` and `max` with a `dim` give values and indices.",
    ),
    general(
        "return_missing",
        r"'NoneType' object|for [-+*/@]+: '\w+' and 'NoneType'|NoneType",
        "Something is None. A helper function without `return` gives None, and so do methods that work in "
        "place, such as a list's `append` and `sort`.",
    ),
    general(
        "numpy_method",
        r"'Tensor' object has no attribute '(?P<name>astype|copy|take_along_axis|repeat_interleaved|"
        r"concatenate)'",
        "`.{name}` is numpy's. PyTorch says `.to(dtype)` for `astype`, `.clone()` for `copy`, "
        "`torch.gather` for `take_along_axis` and `torch.cat` for `concatenate`.",
    ),
    general(
        "no_such_attribute",
        r"(?P<what>'\w+' object|module '[\w.]+') has no attribute '(?P<name>\w+)'",
        "There is no `.{name}` on this. Is it a typing error, or is the thing not what you think it is? "
        "`print(type(...))` tells.",
    ),
    general(
        "name_unknown",
        r"(name|variable) '(?P<name>\w+)' (is not defined|where it is not associated)|UnboundLocalError",
        "Python does not know this name here. Is it spelt as above, is it set on every way through the "
        "code, and does it stand in this cell? An answer's cell stands alone: it has `math`, `np`, `torch` "
        "and `F`, and what it imports or defines itself.",
    ),
    general(
        "float_for_size",
        r"must be tuple of ints|'float' object cannot be interpreted as an integer|integer argument expected"
        r"|slice indices must be integers|list indices must be integers",
        "A size or a position must be a whole number. `/` makes a float of two whole numbers; `//` keeps "
        "whole ones, and `.tolist()` or `int(...)` takes them out of a tensor.",
    ),
    general(
        "row_of_a_number",
        r"iteration over a 0-d tensor|invalid index of a 0-dim|len\(\) of a 0-d tensor|len\(\) of unsized|"
        r"object is not iterable|object is not subscriptable",
        "A single number is treated as a row of several. An operation without `dim` reduces the whole "
        "tensor.",
    ),
    general(
        "endless_recursion",
        r"RecursionError",
        "The function calls itself without an end. Has a helper the same name as the function?",
    ),
)

GENERAL: tuple[Crash, ...] = (
    *PRODUCTS,
    *SHAPES,
    *_NOTHING,
    *INDICES,
    *_DTYPES,
    *_AUTOGRAD,
    *_PYTHON,
)
"""In the order in which they are tried: the special ones before those that fit more."""
