"""The judge: what it looks at and in which order, equal answers in other forms, mistakes by name."""

import dataclasses

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import cases, top2, top2_exercise

from moe_lessons.exercises import drivers, registry
from moe_lessons.exercises.findings import Finding, difference, same
from moe_lessons.exercises.judge import draw, judge, local
from moe_lessons.exercises.spec import (
    Case,
    Choice,
    Misconception,
    Output,
    Property,
    Quiz,
)


def status(answer, **changes):
    return judge(top2_exercise(**changes), local(answer)).status


def test_equivalent_answers_pass():
    assert status(top2) == "passed"
    assert status(lambda x: tuple(t.flip(0) for t in x.topk(2))) == "passed"
    assert status(lambda x: [t.numpy() for t in x.topk(2)], gradient="ignored") == "passed"
    assert status(lambda x: [t.tolist() for t in x.topk(2)], gradient="ignored") == "passed"
    assert status(lambda x: (x.topk(2).values.double(), x.topk(2).indices.int())) == "passed"


def one_output(reference, output, answer):
    fields = {"reference": reference, "outputs": (output,), "canonical": None, "gradient": "ignored"}
    return judge(top2_exercise(**fields), local(answer))


def doubled(x):
    return [2 * len(x), 3 * len(x), 5]


def factors(case, got, want):
    n = len(case.args["x_N"])
    return None if got["a"] * got["b"] == n else f"{got['a']} times {got['b']} is not {n}"


FREE = {
    "reference": lambda x: (1, len(x), "one"),
    "outputs": (
        Output("a", kind="int", compared=False),
        Output("b", kind="int", compared=False),
        Output("how", kind="text", compared=False),
    ),
    "canonical": None,
    "gradient": "ignored",
    "properties": (Property("a times b is n", factors),),
    "misconceptions": (
        Misconception("sum", "Sum.", detects=lambda c, g, w: g["a"] + g["b"] == len(c.args["x_N"])),
    ),
}


@pytest.mark.parametrize("answer", [lambda x: (1, len(x), "one"), lambda x: (len(x), 1, "other")])
def test_what_is_not_compared_is_judged_by_properties(answer):
    assert judge(top2_exercise(**FREE), local(answer)).status == "passed"


def test_what_is_not_compared_must_still_be_of_its_kind_and_have_its_mistakes_named():
    for answer, said in (
        (lambda x: (1, len(x) + 0.5, "one"), "dtype"),
        (lambda x: (1, len(x), 3), "dtype"),
        (lambda x: (torch.ones(2).long(), len(x), "one"), "shape"),
        (lambda x: (len(x), len(x), "one"), "times"),
    ):
        report = judge(top2_exercise(**FREE), local(answer))
        assert report.status == "failed"
        assert any(said in finding.detail for finding in report.findings)
        assert report.misconception is None
        assert report.observation == ""
    report = judge(top2_exercise(**FREE), local(lambda x: (1, len(x) - 1, "one")))
    assert report.misconception.id == "sum"


def test_a_property_that_stumbles_over_what_is_not_compared_lets_nothing_pass():
    def stumbles(case, got, want):
        return 1 // (0 if got["b"] > 99 else 1) and None

    free = {**FREE, "properties": (Property("small", stumbles),)}
    report = judge(top2_exercise(**free), local(lambda x: (1, 100, "one")))
    assert report.status == "failed"
    assert "cannot be judged" in report.findings[-2].detail


def test_nothing_compared_needs_properties_and_mistakes_that_detect():
    wrong = (Misconception("zero", "Zero.", wrong=lambda x: (0, 0, "")),)
    with pytest.raises(ValueError, match="compares nothing"):
        top2_exercise(**{**FREE, "misconceptions": wrong})
    with pytest.raises(ValueError, match="compares nothing"):
        top2_exercise(**{**FREE, "properties": ()})


COUNTS = Output("counts_N", "N", kind="int")
PLAIN = dataclasses.replace(COUNTS, plain=True)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: tuple(doubled(x)),
        lambda x: torch.tensor(doubled(x), dtype=torch.int32),
        lambda x: np.array(doubled(x), dtype=np.uint8),
        lambda x: [torch.tensor(n) for n in doubled(x)],
        lambda x: [np.int64(n) for n in doubled(x)],
    ],
)
def test_a_row_of_whole_numbers_may_come_in_many_forms(answer):
    for output in (COUNTS, PLAIN):
        assert one_output(lambda x: torch.tensor(doubled(x)), output, answer).status == "passed"


@pytest.mark.parametrize(
    "answer", [lambda x: [float(n) for n in doubled(x)], lambda x: np.array(doubled(x), dtype=np.float32)]
)
def test_whole_floats_do_where_plain_numbers_are_asked_for(answer):
    reference = lambda x: torch.tensor(doubled(x))  # noqa: E731
    assert one_output(reference, PLAIN, answer).status == "passed"
    refused = one_output(reference, COUNTS, answer)
    assert "counts_N has dtype float" in refused.findings[3].detail


def test_a_number_that_is_not_whole_is_told_by_its_dtype():
    answer = one_output(lambda x: torch.tensor(doubled(x)), PLAIN, lambda x: [2.5, 1.0, 5.0])
    assert answer.findings[3].detail.startswith("counts_N has dtype float64, expected int values")


def test_a_single_whole_number_may_be_a_float():
    total = Output("total", kind="int")
    assert one_output(len, total, lambda x: float(len(x))).status == "passed"
    assert one_output(len, total, lambda x: len(x) + 0.5).status == "failed"


def test_rows_of_real_numbers_must_be_one_tensor_where_a_layer_needs_it():
    pairs = Output("pairs_N2", "N2")
    reference = lambda x: torch.stack([x, x], dim=1)  # noqa: E731
    rows = one_output(reference, pairs, lambda x: [torch.stack([v, v]) for v in x])
    assert rows.findings[1].detail.startswith("returned 4 values, expected 1: pairs_N2 as one tensor")
    plain = dataclasses.replace(pairs, plain=True)
    assert one_output(reference, plain, lambda x: [[float(v)] * 2 for v in x]).status == "passed"


def test_no_numbers_in_a_list():
    assert one_output(lambda x: x[:0].long(), COUNTS, lambda x: []).status == "passed"


def test_one_number_is_no_row():
    first = Output("first_N", "N")
    assert one_output(lambda x: x[:1], first, lambda x: x[0]).status == "failed"


def test_half_an_answer_is_an_attempt():
    """The stub's line is still there, but not all inputs come to it."""

    def half(x):
        if len(x) > 4:
            raise NotImplementedError("your code here")
        return top2(x)

    report = judge(top2_exercise(), local(half))
    assert report.status == "failed"
    assert report.findings[0].detail == "here it still comes to `raise NotImplementedError` (inputs: n=7)"


def test_a_pass_earns_all_points_and_anything_else_none():
    assert judge(top2_exercise(), local(top2)).points == 3
    assert judge(top2_exercise(), local(lambda x: x)).points == 0


def test_findings_come_in_order_and_stop_at_the_first_problem():
    report = judge(top2_exercise(), local(lambda x: (x, x.topk(2).indices)))
    assert [(f.name, f.passed) for f in report.findings] == [
        ("runs without an error", True),
        ("returns values_K, ids_K", True),
        ("shapes", False),
        ("dtypes", None),
        ("finite numbers", None),
        ("the right values", None),
    ]
    assert report.findings[2].detail == "values_K has shape (4,), expected (2,) with axes [K] (inputs: n=4)"


def test_an_early_property_speaks_before_shapes():
    early = Property(
        "two of them", lambda case, got, want: "not two" if len(got["ids_K"]) != 2 else None, True
    )
    report = judge(top2_exercise(properties=(early,)), local(lambda x: (x, x.topk(3).indices)))
    assert [f.name for f in report.findings if f.passed is not None][-1] == "two of them"
    assert report.findings[2].detail == "not two (inputs: n=4)"
    assert judge(top2_exercise(properties=(early,)), local(top2)).status == "passed"


def test_a_tensor_of_one_element_is_told_from_a_number():
    exercise = top2_exercise(outputs=(Output("total"),), reference=lambda x: x.sum(), canonical=None)
    report = judge(exercise, local(lambda x: x.sum().reshape(1)))
    assert report.findings[2].detail == "total has shape (1,), expected (): a single number (inputs: n=4)"


def test_missing_names_are_told_as_missing_names():
    def without_router(*args):
        return {k: v for k, v in exercise.reference(*args).items() if "gate" not in k}

    exercise = registry.exercise("10.mixtral_keys")
    finding = next(f for f in judge(exercise, local(without_router)).findings if f.passed is False)
    assert finding.detail.startswith(
        "of 10 names these are missing: 'model.layers.0.block_sparse_moe.gate.weight'"
    )


def test_an_answer_right_on_the_first_case_only_fails_on_the_second():
    report = judge(top2_exercise(), local(lambda x: top2(x) if len(x) == 4 else top2(-x)))
    assert report.status == "failed"
    assert "(inputs: n=7)" in report.findings[-1].detail
    assert report.misconception is None  # it is the mistake "smallest" nowhere but on one case


def test_properties_run_before_the_values():
    def positive(case, got, want):
        return None if (got["values_K"] > -5).all() else "a value is below -5"

    properties = (Property("no value below -5", positive),)
    report = judge(top2_exercise(properties=properties), local(lambda x: (x.topk(2)[0] - 9, x.topk(2)[1])))
    named = {f.name: f for f in report.findings}
    assert named["no value below -5"].passed is False
    assert named["the right values"] == Finding("the right values", None)


def test_mistakes_are_recognised_by_outcome_or_by_a_rule():
    def zeros(x):
        return torch.zeros(2), x.topk(2).indices

    smallest = judge(top2_exercise(), local(lambda x: (-((-x).topk(2)[0]), (-x).topk(2)[1])))
    assert smallest.misconception.id == "smallest"
    assert judge(top2_exercise(), local(zeros)).misconception.id == "zero"


def test_a_rule_that_stumbles_over_odd_values_recognises_nothing():
    report = judge(top2_exercise(), local(lambda x: (torch.zeros(3, 3), torch.zeros(5))))
    assert report.status == "failed"
    assert report.misconception is None


def test_a_mistake_that_crashes_must_crash_on_the_same_inputs():
    def wrong(x):
        if len(x) == 7:
            raise ValueError("seven")
        return x.topk(2, largest=False)

    exercise = top2_exercise(misconceptions=(Misconception("crash", "C.", wrong=lambda x: tuple(wrong(x))),))
    assert judge(exercise, local(lambda x: tuple(wrong(x)))).misconception.id == "crash"
    assert judge(exercise, local(lambda x: tuple(x.topk(2, largest=False)))).misconception is None


def smallest(x):
    return tuple(x.topk(2, largest=False))


def failing_on(n, answer):
    def fails(x):
        if len(x) == n:
            raise IndexError("empty")
        return answer(x)

    return local(fails)


def test_a_mistake_is_named_by_the_inputs_that_ran_beside_the_crash_on_the_others():
    for n in (4, 7):
        report = judge(top2_exercise(), failing_on(n, smallest))
        assert report.misconception.id == "smallest"
        assert report.findings[0].detail.endswith(f"(inputs: n={n})")
        assert "IndexError: empty" in report.findings[0].detail
    assert judge(top2_exercise(), local(lambda x: x[99])).misconception.id == "index_beyond_rows"


def test_a_crash_of_an_answer_that_is_right_elsewhere_is_no_known_mistake():
    """Not even one that differs from the reference on the crashed inputs only."""

    def differs_at_seven(x):
        return smallest(x) if len(x) == 7 else top2(x)

    for mistakes in ((Misconception("seven", "S.", wrong=differs_at_seven),), (_always,)):
        report = judge(top2_exercise(misconceptions=mistakes), failing_on(7, top2))
        assert report.misconception is None


_always = Misconception("always", "A.", detects=lambda case, got, want: True)


def test_where_the_inputs_that_ran_leave_two_mistakes_none_is_named():
    two = (Misconception("one", "1.", wrong=smallest), Misconception("two", "2.", wrong=smallest))
    assert judge(top2_exercise(misconceptions=two), failing_on(7, smallest)).misconception is None
    assert judge(top2_exercise(misconceptions=two), local(smallest)).misconception.id == "one"


def test_inputs_that_ran_must_be_half_of_them():
    def four_cases(rng):
        return [*cases(rng), *(Case(f"m={n}", {"x_N": np.ones(n, np.float32)}) for n in (5, 6))]

    def short_only(most):
        return local(lambda x: smallest(x) if len(x) <= most else x[99])

    assert judge(top2_exercise(draw=four_cases), short_only(5)).misconception.id == "smallest"
    assert judge(top2_exercise(draw=four_cases), short_only(4)).misconception.id == "index_beyond_rows"


def test_an_answer_that_had_to_be_stopped_is_named_by_what_it_gave_before():
    def answer(x):
        if len(x) == 7:
            raise KeyboardInterrupt
        return smallest(x)

    report = judge(top2_exercise(), local(answer))
    assert report.misconception.id == "smallest"
    assert report.findings[0].passed is False


def test_a_required_dtype_is_part_of_the_answer():
    outputs = (Output("values_K", "K", dtype="float32"), Output("ids_K", "K", kind="int"))
    report = judge(top2_exercise(outputs=outputs), local(lambda x: (x.topk(2)[0].double(), x.topk(2)[1])))
    assert "values_K has dtype float64, expected float32" in report.findings[3].detail


def test_no_numbers_at_all_have_a_dtype_too():
    empty = top2_exercise(reference=lambda x: (x[:0], torch.arange(0)), canonical=None)
    report = judge(empty, local(lambda x: (x[:0], torch.tensor([]))))
    assert "ids_K has dtype float32" in report.findings[3].detail
    assert "torch.tensor([]) makes floats" in report.findings[3].detail


def test_an_interrupt_stops_the_judging():
    calls = []

    def answer(x):
        calls.append(1)
        raise KeyboardInterrupt

    report = judge(top2_exercise(), local(answer))
    assert (report.status, len(calls)) == ("failed", 1)
    assert "stopped by you" in report.findings[0].detail


def test_a_broken_reference_is_our_fault_and_said_so():
    with pytest.raises(AssertionError, match=r"98\.top2: the reference fails on case 'n=4'"):
        judge(top2_exercise(reference=lambda x: None), local(top2))


def test_exercises_draw_different_numbers_from_one_seed():
    other = dataclasses.replace(top2_exercise(), id="98.other")
    a, b = draw(top2_exercise(), 0)[0], draw(other, 0)[0]
    assert not np.array_equal(a.args["x_N"], b.args["x_N"])


def test_a_class_has_its_cases_drawn_once_and_each_answer_has_copies_of_its_own():
    drawn = []
    exercise = top2_exercise(draw=lambda rng: drawn.append(1) or cases(rng))
    first, again, other = draw(exercise, 0), draw(exercise, 0), draw(exercise, 1)
    assert len(drawn) == 2
    assert not np.array_equal(first[0].args["x_N"], other[0].args["x_N"])
    as_it_was = first[0].args["x_N"].copy()
    first[0].args["x_N"][:] = np.nan
    np.testing.assert_array_equal(again[0].args["x_N"], as_it_was)
    np.testing.assert_array_equal(draw(exercise, 0)[0].args["x_N"], as_it_was)


_NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 1.00009, 1.0002, 1e-5, 2e-5, 1e300, np.nan, np.inf, -np.inf])


@given(
    arrays.arrays(np.float64, 3, elements=_NUMBERS),
    arrays.arrays(np.float64, 3, elements=_NUMBERS),
    st.sampled_from([np.float64, np.int64, np.bool_]),
)
def test_floats_are_the_same_where_numpy_says_that_they_are_close(got, want, kind):
    output = Output("y", "N")
    with np.errstate(all="ignore"):
        got = got.astype(kind)  # whole numbers do where a real one is asked for
        close = np.allclose(got, want, rtol=output.rtol, atol=output.atol, equal_nan=True)
        alone = np.allclose(got[0], want[0], rtol=output.rtol, atol=output.atol, equal_nan=True)
    assert same(output, got, want) is close
    assert same(Output("y"), got[0], want[0]) is alone


@pytest.mark.parametrize(
    ("output", "got", "want", "equal"),
    [
        (Output("y", "N"), np.array([1.0, 2.0]), np.array([1.0, 2.00001]), True),
        (Output("y", "N"), np.array([1.0, 2.0]), np.array([1.0, 2.1]), False),
        (Output("y", "N"), np.array([np.nan]), np.array([np.nan]), True),
        (Output("y", "N"), np.array([np.inf]), np.array([np.inf]), True),
        (Output("y", "N"), np.array([1.0]), np.array([1.0, 1.0]), False),
        (Output("y", kind="text"), "a", "a", True),
        (Output("y", kind="text"), "a", 1, False),
        (Output("y", "N", kind="int"), np.array([1]), np.array([2]), False),
    ],
)
def test_same(output, got, want, equal):
    assert same(output, got, want) is equal


def test_difference_names_the_first_place():
    got, want = np.zeros((2, 3)), np.zeros((2, 3))
    want[1, 2] = 0.5
    assert difference(Output("w", "TK"), got, want) == "w[t=1, k=2] is 0, expected 0.5; 1 of 6 values differ"
    assert difference(Output("w"), 1.0, 2.0) == "w is 1, expected 2"
    assert difference(Output("w", rtol=1e-9), 0.1234567, 0.1234568) == "w is 0.1234567, expected 0.1234568"
    assert difference(Output("w"), 12_345_678, 1e6) == "w is 12,345,678, expected 1,000,000"
    assert difference(Output("w"), np.inf, 0.5) == "w is inf, expected 0.5"
    assert len(difference(Output("w", kind="text"), "x" * 10**6, "y")) < 200


def test_specs_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="either wrong or detects"):
        Misconception("x", "m")
    with pytest.raises(ValueError, match="exactly one choice"):
        Quiz("98.q", "?", (Choice("a", "b"), Choice("c", "d")))
    with pytest.raises(ValueError, match="either choices or a numeric answer"):
        Quiz("98.q", "?")


def test_the_registry_finds_and_suggests():
    first = registry.lessons()[0]
    assert registry.lesson(first.id) is registry.lesson(first.number) is first
    exercise = first.exercises[0]
    assert registry.exercise(exercise.id) is exercise
    with pytest.raises(KeyError, match=f"did you mean '{exercise.id}'"):
        registry.exercise(exercise.id[:-1])
    with pytest.raises(KeyError, match="no lesson '97'"):
        registry.lesson("97")


def test_a_worker_needs_only_requests_and_replies():
    """The judge never calls the answer itself: whatever runs a request will do."""
    asked = []

    def elsewhere(request):
        asked.append(request)
        return drivers.run(top2, request)

    assert judge(top2_exercise(), elsewhere).status == "passed"
    assert all(isinstance(request, drivers.Request) for request in asked)
