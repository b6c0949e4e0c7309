"""The closing page: what was built, in numbers, from progress and runs, whatever these look like."""

import json

import pytest

from moe_lessons.course import check, closing, predict, quiz, store
from moe_lessons.course.built import lines_of, row_of, runs_in
from moe_lessons.course.closing_page import _body
from moe_lessons.exercises import registry

TWICE = "# mine\ndef scale(x_N, factor):\n\n    mine = x_N * factor\n    return mine\n"


def said(printed, **given):
    closing(**given)
    return printed()


def log(folder, name, *records, tail=""):
    run = folder / name
    run.mkdir(parents=True)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (run / "log.jsonl").write_text(lines + tail, encoding="utf-8")


def record(step, bits=None, layers=(4.0, 2.5)):
    return {
        "step": step,
        "tokens": 100 * step,
        "validation_bits_per_byte": bits,
        "effective_experts_by_layer": list(layers),
    }


def test_someone_who_has_done_nothing(printed, tmp_path):
    text = said(printed, runs=tmp_path)
    assert "0 functions of your own, 0 lines of code, in 0 of" in text
    assert "predict" not in text.replace("predictions", "")
    assert "Still open: 00." in text
    assert "could not finish" not in text


def test_own_code_predictions_and_questions_are_counted(printed, in_cells, tmp_path):
    in_cells(TWICE, 'from moe_lessons.course import check\ncheck("99.scale")')
    predict("99.up", "a")
    quiz("99.choice", "b")
    quiz("99.number", 7)
    printed()
    text = said(printed, runs=tmp_path)
    assert "1 function of your own, 3 lines of code, in 1 of" in text
    assert "1 prediction: 0 came true, 1 did not." in text
    assert "2 questions answered, 1 of them right" in text
    assert "  99  Toys & tests: 2 of 2 points; 3 lines: scale; predictions 0 of 1; questions 1 of 2" in text
    assert "99.up: Up or down?\n    you: up; the experiment: down" in text


def test_a_prediction_that_came_true_is_not_among_the_others(printed, tmp_path):
    predict("99.up", "b")
    printed()
    text = said(printed, runs=tmp_path)
    assert "1 prediction: 1 came true, 0 did not." in text
    assert "Up or down?" not in text


def test_many_attempts_are_told(printed, tmp_path):
    for _ in range(3):
        check("99.scale", lambda x, factor: x + factor)
    check("99.scale", lambda x, factor: x * factor)
    printed()
    assert "Most attempts went into 99.scale: 4." in said(printed, runs=tmp_path)


def test_runs_are_read_from_their_logs(printed, tmp_path):
    log(tmp_path, "first", record(100, 3.5), record(200, 3.0), record(300, 3.2, layers=(8.0, 1.2)))
    log(tmp_path, "killed", record(10), tail='{"step": 2')
    log(tmp_path, "empty")
    log(tmp_path, "odd", {"step": "many"}, {"step": 7, "tokens": None, "effective_experts_by_layer": 3})
    (tmp_path / "no run").mkdir()
    runs = {run.name: run for run in runs_in(tmp_path)}
    assert set(runs) == {"first", "killed", "odd"}
    assert (runs["first"].steps, runs["first"].bits, runs["first"].effective_experts) == (300, 3.0, 1.2)
    assert (runs["killed"].steps, runs["killed"].bits) == (10, None)
    assert (runs["odd"].tokens, runs["odd"].effective_experts) == (0, None)
    text = said(printed, runs=tmp_path)
    assert "3 runs of training:" in text
    assert "first: 300 steps, 30,000 tokens, 3.000 bits per byte" in text


def test_a_published_notebook_tells_no_runs(printed, tmp_path):
    log(tmp_path, "somebody's", record(100, 3.5))
    store.keep_apart()
    check("99.scale", lambda x, factor: x * factor)
    printed()
    text = said(printed, runs=tmp_path)
    assert "somebody's" not in text
    assert "in 1 of 1 lesson: 2 of 2 points." in text
    assert "Still open" not in text


def test_names_are_text_and_no_markup(tmp_path):
    log(tmp_path, "<b>run", record(100, 3.5))
    rows = [row_of(registry.lesson("99"), store.empty() | {"predictions": {"99.up": 0}})]
    body = _body(rows, runs_in(tmp_path), [(registry.prediction("99.up"), 0)], store.empty())
    assert "&lt;b&gt;run" in body
    assert "Toys &amp; tests" in body
    assert "<b>" not in body
    assert "<details><summary>1 prediction that did not come true</summary>" in body


@pytest.mark.parametrize(("source", "lines"), [("", 0), ("\n\n# only this\n", 0), ("a = 1  # one\nb = 2", 2)])
def test_lines_of_code(source, lines):
    assert lines_of(source) == lines
