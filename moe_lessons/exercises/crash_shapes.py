"""Errors of shapes and indices that answers end in, whatever the exercise: see ``crash_table``."""

from moe_lessons.exercises.spec import Crash


def general(id: str, pattern: str, message: str, *, line: str = "", edge: bool | None = None) -> Crash:
    """Make a crash of any exercise: no hint is about it."""
    return Crash(id, message, pattern=pattern, line=line, edge=edge, hint=0)


PRODUCTS = (
    general(
        "transpose_missing",
        r"cannot be multiplied \((?P<a>\d+)x(?P<b>\d+) and (?P<c>\d+)x(?P=b)\)",
        "A matrix product needs the last axis of the first to be the first axis of the second. Here the two "
        "matrices are {a} by {b} and {c} by {b}: they share their *last* axis. Transpose the second: `.T`, "
        "or `.mT` for a batch of matrices.{sizes}",
    ),
    general(
        "transpose_missing",
        r"dimensions of batch2 tensor to be: \[(?P<n>\d+), (?P<b>\d+)\] but got: \[(?P=n), (?P<c>\d+)\]",
        "In a batched product each matrix of the second needs {b} rows, and has {c}. If {b} is its last "
        "axis, transpose it with `.mT` (`.transpose(-1, -2)`).{sizes}",
    ),
    general(
        "transposed_too_often",
        r"cannot be multiplied \((?P<a>\d+)x(?P<b>\d+) and (?P=a)x(?P<d>\d+)\)",
        "The two matrices are {a} by {b} and {a} by {d}: they share their *first* axis, and a product sums "
        "over the last of the first and the first of the second. Transpose the first if {a} is what should "
        "be summed over; otherwise look at which tensors meet here.{sizes}",
    ),
    general(
        "product_sizes",
        r"cannot be multiplied \((?P<a>\d+)x(?P<b>\d+) and (?P<c>\d+)x(?P<d>\d+)\)|size mismatch, got input"
        r"|inconsistent tensor size|1D tensors expected|mismatch in its core dimension",
        "The axis that a product sums over must have one size in both tensors. Write down what each axis "
        "stands for: the same letter must meet itself. A transpose (`.T`) or a wrong operand is the usual "
        "cause.{sizes}",
    ),
    general(
        "einsum_sizes",
        r"einsum\(\): subscript (?P<letter>\w) has size (?P<b>\d+) .* previously seen size (?P<a>\d+)",
        "In the einsum, `{letter}` stands for an axis of size {a} in one tensor and of size {b} in another. "
        "Check each letter against the tensor's axes, in their order.{sizes}",
    ),
    general(
        "einsum_axes",
        r"einsum\(\): the number of subscripts",
        "An einsum needs one letter for each axis, and a tensor here has another number of axes than "
        "letters.",
    ),
)

SHAPES = (
    general(
        "keepdim_missing",
        r"size of tensor a \((?P<a>\d+)\) must match the size of tensor b \((?P<b>\d+)\)",
        "Shapes are lined up from the *right*, so one number for each row meets the columns here: {a} "
        "against {b}. Keep the axis that was summed over, with `keepdim=True`, or give it back with `[:, "
        "None]`.{sizes}",
        line=r"^(?!.*keepdim).*(\.(sum|mean|amax|max|amin|std|norm|logsumexp)\(|[-/]=? )",
    ),
    general(
        "shapes_do_not_line_up",
        r"size of tensor a \((?P<a>\d+)\) must match the size of tensor b \((?P<b>\d+)\)"
        r"|operands could not be broadcast",
        "Shapes are lined up from the *right*, and two sizes that meet must be equal or 1. Which axis does "
        "each tensor have here, and where does one need an axis of size 1 (`unsqueeze`, `[:, None]`, "
        "`keepdim=True`)?{sizes}",
    ),
    general(
        "wrong_size_written",
        r"shape mismatch: value tensor of shape|expanded size of the tensor \((?P<a>\d+)\) must match the "
        r"existing size \((?P<b>\d+)\)|source tensor shape must match self|could not broadcast input array",
        "What is written has another shape than the place it is written to. Compare the two shapes, axis by "
        "axis.{sizes}",
    ),
    general(
        "index_counts_differ",
        r"Number of indices \((?P<a>\d+)\) should be equal to source\.size\(dim\): \((?P<b>\d+)\)"
        r"|indexing tensors could not be broadcast",
        "There must be one index for each row that is added or read; the numbers of the two differ. A token "
        "has K rows: were its id repeated as often, and were both sorted alike?{sizes}",
    ),
    general(
        "minus_one_of_nothing",
        r"cannot reshape tensor of 0 elements .* because the unspecified dimension size -1",
        "There is nothing to count here, so PyTorch cannot infer the -1. Say the size instead: you know it "
        "from another tensor's `shape`.",
    ),
    general(
        "view_of_another_size",
        r"shape '(?P<shape>\[.*\])' is invalid for input of size (?P<n>\d+)|cannot reshape array of size",
        "`view` and `reshape` keep the number of elements. Multiply the sizes that you ask for: is one of "
        "them written as a number that holds for one input only, or is a tensor not what you think it "
        "is?{sizes}",
    ),
    general(
        "view_not_contiguous",
        r"view size is not compatible with input tensor's size and stride",
        "`view` needs elements that lie in order in memory, which those of a transposed tensor do not. "
        "`reshape` copies them where it must. But check that a reshape is what you want: it does not move "
        "axes.",
    ),
    general(
        "group_sizes",
        r"split_with_sizes expects split_sizes to sum exactly to (?P<n>\d+)",
        "The group sizes do not add up to the {n} rows that are split. Count the same thing that you split: "
        "every slot has one row, and a group that nobody chose has size 0.{sizes}",
    ),
    general(
        "repeats",
        r"repeats must have the same size as input along dim",
        "`repeat_interleave` takes one number, or one for each element along the axis that you name with "
        "`dim=`. Without `dim` it flattens the tensor first.",
    ),
    general(
        "axis_missing",
        r"Dimension out of range \(expected to be in range of \[-(?P<n>\d+), \d+\], but got (?P<got>-?\d+)\)"
        r"|too many indices for (tensor|array)",
        "A tensor has fewer axes here than the code counts on. Negative axes (`dim=-1` is the last) and a "
        "look at `.shape` help.{sizes}",
    ),
)

INDICES = (
    general(
        "rows_indexed_for_gather",
        r"index (?P<index>\d+) is out of bounds for (dimension|axis) 0 with size (?P<size>\d+)",
        "`a[ids]` takes whole *rows*: the ids are looked up on the first axis, which has {size} here. Where "
        "each row has ids of its own, `a.gather(-1, ids)` reads them along the last axis, row by row.{sizes}",
        line=r"[\w)]\[[a-z]*_?(top|ids|idx|ind|inds|indices|index|best|chosen|order|experts?)\w*\]",
    ),
    general(
        "index_beyond_rows",
        r"index (?P<index>-?\d+) is out of bounds for (dimension|axis) 0 with size (?P<size>\d+)",
        "The first axis has {size} rows here, and row {index} is asked for. Is the index an id of something "
        "else, or is another axis meant (`gather(-1, ...)` reads along the last)?{sizes}",
        edge=False,
    ),
    general(
        "index_out_of_range",
        r"index (?P<index>-?\d+) is out of bounds for (dimension|axis) (?P<axis>\d+) with size (?P<size>\d+)",
        "Axis {axis} has {size} elements here, and number {index} is asked for. Positions count from 0; and "
        "is it this axis that the ids belong to?{sizes}",
    ),
    general(
        "index_out_of_range",
        r"index out of range in self|Target \d+ is out of bounds|list index out of range"
        r"|Class values must be smaller than num_classes",
        "An index is larger than what it is looked up in. Positions count from 0; and do the ids belong to "
        "this axis?{sizes}",
    ),
    general(
        "k_too_large",
        r"selected (index|number) k out of range|kth\(=-?\d+\) out of bounds",
        "A top-k asks for more elements than the axis has. Is the number written into the code where an "
        "argument (`top_k`, say) gives it, or does the choice run along another axis than you mean?{sizes}",
    ),
    general(
        "indices_not_whole",
        r"tensors used as indices must be|Expected dtype int32/int64 for index|"
        r"arrays used as indices must be of integer|only applicable to index tensor of type|"
        r"only integer tensors of a single element|not implemented for 'Float'.*|only integers, slices",
        "Indices must be whole numbers, and these are floats (or another type). A division with `/` makes "
        "floats, `//` does not; `torch.zeros` and `torch.tensor([])` make floats too. `.long()` turns them "
        "round. Or values and ids were swapped: `topk` returns values first.",
        line=r"\[|gather|index|scatter|one_hot|bincount|range|split|view|reshape|zeros|ones",
    ),
    general(
        "index_axes",
        r"Index tensor must have the same number of dimensions|Size does not match at dimension",
        "`gather` and `scatter` want an index with as many axes as the tensor, one index for each element "
        "that is read. Add the missing axis with `[..., None]`, and `expand` it if every element of a row "
        "is meant.{sizes}",
    ),
    general(
        "mask_size",
        r"shape of the mask \[.*\] at index \d+ does not match|boolean index did not match",
        "A mask picks along the axes that it has, from the first on, so their sizes must agree. This mask "
        "belongs to another axis.{sizes}",
    ),
    general(
        "bincount_flat",
        r"bincount only supports 1-d non-negative|object too deep for desired array",
        "`bincount` counts along one axis, and numbers from 0 on: flatten first, and let no -1 in.",
    ),
)
