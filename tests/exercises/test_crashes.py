"""Errors get names: from the message and the line, with the sizes that met; what the messages say is true."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from moe_lessons.exercises import crashes, drivers
from moe_lessons.exercises.answers import load
from moe_lessons.exercises.crash_table import GENERAL
from moe_lessons.exercises.judge import judge, local
from moe_lessons.exercises.spec import Case, Crash, Exercise, Misconception, Output

# T=5 tokens, D=3 wide, E=7 experts, K=2 of them; `n` is the case's number of tokens.
ANSWERS = {
    "transpose_missing": ["x @ w", "F.linear(x, w.T)", "torch.bmm(x[None], w[None])"],
    "transposed_too_often": ["x @ s", "w.T @ x.T[:, :3]"],
    "product_sizes": ["x @ w[0, :2]", "x.numpy() @ w.numpy()", "x[0] @ x[0, :2]"],
    "einsum_sizes": ["torch.einsum('td,ed->te', x, s)"],
    "einsum_axes": ["torch.einsum('td,ed->te', x, w[0])"],
    "keepdim_missing": ["s / s.sum(dim=-1)", "s - s.amax(-1)", "s / s.softmax(-1).max(-1).values"],
    "shapes_do_not_line_up": ["s * x", "s + x.sum(-1, keepdim=True).T", "s.numpy() * x.numpy()"],
    "wrong_size_written": [
        "torch.zeros(5, 3).index_add(0, ids[:, 0] % 5, s)",
        "put(torch.zeros(5, 3), 0, s[0])",
    ],
    "index_counts_differ": ["torch.zeros_like(x).index_add(0, ids.flatten() % 5, x)"],
    "view_of_another_size": ["x.view(4, -1)", "s.reshape(5, 3, 2)"],
    "view_not_contiguous": ["x.T.view(-1)"],
    "group_sizes": ["x.split([1, 2])"],
    "repeats": ["x.repeat_interleave(torch.tensor([1, 2]))"],
    "axis_missing": ["x[0].softmax(dim=1)", "x[0][:, None, None, 0, 0, 0]"],
    "rows_indexed_for_gather": ["s[ids]", "s.softmax(-1)[topk_ids]"],
    "index_beyond_rows": ["s[6]", "put(x, 6, 1.0)"],
    "index_out_of_range": ["s[:, 7]", "x.gather(-1, ids)", "F.embedding(ids, x)", "F.one_hot(ids, 3)"],
    "k_too_large": ["x.topk(4)", "x.kthvalue(4)"],
    "indices_not_whole": ["s[ids / 2]", "s.gather(-1, ids.float())"],
    "index_axes": ["s.gather(-1, ids[0])"],
    "mask_size": ["x[torch.ones(4, dtype=torch.bool)]"],
    "bincount_flat": ["torch.bincount(ids)", "torch.bincount(ids.flatten() - 9)"],
    "integers_for_floats": ["ids.softmax(-1)", "ids.mean()"],
    "dtypes_mixed": ["x.bfloat16() @ w.T", "torch.zeros(5, 3).index_add(0, ids[:, 0] % 5, x.double())"],
    "several_values_as_one": ["x.item()", "float(x)", "torch.tensor([x[0], x[1]])"],
    "truth_of_several": ["1 if x > 0 else 0", "1 if x.numpy() > 0 else 0"],
    "numbers_for_tensors": ["torch.stack([1.0, 2.0])", "torch.stack(x.tolist())"],
    "argument_overwritten": ["put(x.clone().requires_grad_(), 0, 1.0)", "x.clone().requires_grad_().mul_(2)"],
    "read_while_written": ["put(x, x[:, 0] < 99, x[0])", "put(x, [1, 2], x[0])"],
    "numpy_needs_no_gradient": ["x.clone().requires_grad_().numpy()"],
    "no_graph": ["x.sum().backward()"],
    "nothing_to_stack": ["torch.stack([])", "torch.cat([])", "np.stack([])"],
    "largest_of_nothing": ["x[:0].max()", "x[:0].argmax(0)", "max([])", "np.zeros(0).max()"],
    "division_by_zero": ["1 // 0"],
    "topk_returns_two": ["x.topk(2).softmax(-1)", "x - x.max(-1)", "x.topk(2) / 2"],
    "unpacking": ["[a + b + c for a, b, c in [x.topk(2)]]"],
    "return_missing": ["[1].append(2) + x", "[2, 1].sort()[0]"],
    "numpy_method": ["x.astype('float32')", "x.copy()"],
    "no_such_attribute": ["x.softmx(-1)", "torch.softmx(x)"],
    "name_unknown": ["hidden_TD"],
    "float_for_size": ["torch.zeros(ids.shape[1] / 2)", "range(len(x) / 2)"],
    "row_of_a_number": ["[v for v in x.sum()]", "len(x.sum())", "x.sum()[0]"],
    "endless_recursion": ["answer(x, w, s, ids)"],
}
HEAD = """def put(x, i, v):
    x[i] = v
    return x


def answer(x, w, s, ids):
    topk_ids = ids
    return """


def inputs(n=5):
    rng = np.random.default_rng(0)
    s = rng.standard_normal((n, 7)).astype(np.float32)
    s[:, 6] += 9  # the best expert's number is larger than the number of tokens
    ids = np.argsort(-s, axis=1)[:, :2]
    x, w = rng.standard_normal((n, 3)).astype(np.float32), rng.standard_normal((7, 3)).astype(np.float32)
    return {"hidden_TD": x, "router_ED": w, "logits_TE": s, "topk_ids_TK": ids}


def exercise(**changes):
    fields = {
        "id": "98.logits",
        "title": "Logits",
        "task": "Return them.",
        "entry": "answer",
        "points": 1,
        "minutes": 1,
        "difficulty": 1,
        "outputs": (Output("logits_TE", "TE"),),
        "draw": lambda rng: [Case("no token", inputs(0)), Case("T=5", inputs()), Case("T=4", inputs(4))],
        "reference": lambda x, w, s, ids: x @ w.T,
        "misconceptions": (Misconception("sign", "Sign.", wrong=lambda x, w, s, ids: -x @ w.T),),
        "hints": ("a", "b", "c"),
    }
    return Exercise(**{**fields, **changes})


def judged(expression, **changes):
    return judge(exercise(**changes), local(load(HEAD + expression, "answer", name=f"<{expression}>")))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("id", "expression"), [(id, e) for id, all_of_it in ANSWERS.items() for e in all_of_it]
)
def test_an_error_has_a_name(id, expression):
    report = judged(expression)
    assert report.status == "failed"
    assert report.misconception.id == id, report.findings[0].detail
    assert report.misconception.hint == 0
    assert not re.search(r"\{\w+\}", report.misconception.message)


def test_every_general_error_is_tried():
    tried = {id for id, expressions in ANSWERS.items() if expressions}
    elsewhere = {"minus_one_of_nothing", "first_of_nothing", "overwritten_for_backward"}
    assert {crash.id for crash in GENERAL} == tried | elsewhere


def test_sizes_are_told_by_their_letters():
    message = judged("x @ w").misconception.message
    assert "5 by 3 and 7 by 3" in message
    assert "(Here D=3, E=7, K=2, T=5.)" in message


@pytest.mark.parametrize(
    ("expression", "id"),
    [
        ("(x @ w.T).view(len(x), 7, -1).squeeze(-1) if len(x) else x.view(0, 2, -1)", "minus_one_of_nothing"),
        ("torch.stack([row @ w.T for row in x])", "nothing_to_stack"),
        ("x @ w.T + 0 * ids[0, 0]", "first_of_nothing"),
        ("x @ w.T + 0 * s.max()", "largest_of_nothing"),
    ],
)
def test_an_error_on_no_tokens_alone_is_told_as_one(expression, id):
    report = judged(expression)
    assert report.misconception.id == id
    assert report.misconception.message.startswith(
        "Ordinary inputs work; it stops at a limiting case only (no token)."
    )
    assert report.findings[0].detail.startswith("right on ordinary inputs; ")


def test_no_tokens_do_not_hide_a_mistake():
    report = judged("torch.stack([-(row @ w.T) for row in x])")
    assert report.misconception.id == "sign"
    assert report.findings[0].passed  # the error comes up when the rest is right


def test_an_exercises_own_errors_come_first():
    own = Crash(
        "the_router", "{w} rows of the router: {sizes}", pattern=r"and (?P<w>\d+)x3\)", line=r"x @ w", hint=2
    )
    report = judged("x @ w", crashes=(own,))
    assert (report.misconception.id, report.misconception.hint) == ("the_router", 2)
    assert report.misconception.message == "7 rows of the router:  (Here D=3, E=7, K=2, T=5.)"
    assert judged("x.matmul(w)", crashes=(own,)).misconception.id == "transpose_missing"


def test_an_own_error_may_be_for_limiting_cases_only():
    own = Crash("empty", "E.", pattern="TensorList", edge=True)
    assert judged("torch.stack([row @ w.T for row in x])", crashes=(own,)).misconception.id == "empty"
    assert judged("torch.stack([])", crashes=(own,)).misconception.id == "nothing_to_stack"


@pytest.mark.parametrize(
    "expression", ["exec('raise ValueError(5)')", "x.sum(-1, -2, -3, -4)", "torch.linalg.inv(s)"]
)
def test_other_errors_get_no_name(expression):
    assert judged(expression).misconception is None


def test_braces_that_no_group_fills_stay():
    assert crashes.fill("{a} and {b}, {}", {"a": 1}) == "1 and {b}, {}"


def test_an_interrupt_is_no_crash():
    stopped = drivers.Failure("interrupted", "IndexError: list index out of range")
    report = judge(exercise(), lambda request: stopped)
    assert report.misconception is None


def test_what_the_messages_promise_works():
    """The remedies that the table names do what it says."""
    x, w, s, ids = (torch.from_numpy(a) for a in inputs().values())
    assert torch.allclose(F.linear(x, w), x @ w.T, atol=1e-5)
    assert torch.allclose(x[None] @ w[None].mT, (x @ w.T)[None], atol=1e-5)
    assert torch.allclose((s / s.sum(-1, keepdim=True)), s / s.sum(-1)[:, None])
    assert s.gather(-1, ids).shape == ids.shape
    assert torch.zeros(0, 4).view(0, 2, 2).shape == (0, 2, 2)
    assert x.T.reshape(-1).shape == (15,)
    assert x.amax(-1).shape == (5,)
