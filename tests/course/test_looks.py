"""Marks: legible in both themes, distinct without colour, the same everywhere; three sizes of type."""

import re

import pytest

from moe_lessons.build import paths
from moe_lessons.course import claims, looks, puzzles, starting
from moe_lessons.course.after_pass import following
from moe_lessons.course.checking import card, examine
from moe_lessons.course.claims import claim, claims_table, linked
from moe_lessons.course.starting import start
from moe_lessons.exercises import registry
from moe_lessons.exercises.puzzle_verdict import judge

SHEET = (paths.ROOT / "binder" / "labextension" / "blocks.css").read_text(encoding="utf-8")
MARKS = [*looks.BLOCKS.values(), *looks.RESULTS.values(), *looks.VERDICTS.values(), *looks.SHOWN.values()]
KINDS = (looks.BLOCKS, looks.RESULTS, looks.VERDICTS, looks.SHOWN)


def luminance(color):
    channels = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mark", MARKS, ids=str)
def test_white_is_legible_on_a_mark_and_the_mark_shows_on_either_paper(mark):
    assert contrast("#ffffff", mark.color) >= 4.5
    assert contrast(mark.color, "#111111") >= 3


@pytest.mark.parametrize("kind", KINDS, ids=("blocks", "results", "verdicts", "shown"))
def test_no_two_marks_of_a_kind_are_alike_in_symbol_word_or_colour(kind):
    for part in ("symbol", "word", "color"):
        assert len({getattr(mark, part) for mark in kind.values()}) == len(kind)


def test_every_verdict_that_a_claim_can_have_has_a_mark():
    found = {claim.verdict for lesson in registry.lessons() for claim in lesson.claims}
    assert found <= set(looks.VERDICTS)


def test_the_style_sheet_has_the_same_colours_and_the_same_width():
    said = dict(re.findall(r'\[data-moe-block="(\w+)"\] \{ --moe-block: (#\w+); \}', SHEET))
    assert said == {kind: mark.color for kind, mark in looks.BLOCKS.items()}
    assert f"max-width: {looks.WIDTH}" in SHEET


def test_a_pass_and_a_failure_differ_in_symbol_word_and_colour(capsys):
    exercise = registry.exercise("99.scale")
    passed, failed = (
        card(examine(exercise, answer), compare=True) for answer in (lambda x, f: x * f, lambda x, f: x + f)
    )
    for made, status in ((passed, "passed"), (failed, "failed")):
        mark = looks.RESULTS[status]
        page = made._repr_html_()
        assert page.count(str(mark)) == 1
        assert f"border:1px solid {mark.color}" in page
        assert f"max-width:{looks.WIDTH}" in page
    assert "2 of 2 points" in passed.body
    assert "<strong>Next:</strong> read on; this was the last exercise of lesson 99." in passed.body
    assert passed.text.endswith("Next: read on; this was the last exercise of lesson 99.")
    assert "points" not in failed.body
    assert "Next" not in failed.text + failed.body


def test_after_a_pass_the_next_exercise_is_named():
    lesson = registry.lesson("01")
    first, second = lesson.exercises[:2]
    assert following(first) == f"read on; the next exercise is {second.id} ({second.title})."
    assert following(lesson.exercises[-1]) == "read on; this was the last exercise of lesson 01."


def test_the_verdict_is_said_once():
    """Where a page shows the card, nothing is printed beside it: the line is the first of its plain text."""
    made = card(examine(registry.exercise("99.scale"), lambda x, f: x + f))
    assert made.text.splitlines()[0] == "✘ 99.scale: not right yet"
    assert made.text.count("not right yet") == 1
    assert "99.scale: not right yet" not in made.body
    assert (
        "2 of 2 points"
        not in card(examine(registry.exercise("99.scale"), lambda x, f: x * f), demo=True).body
    )


def test_a_claim_is_chips_with_marks_and_its_source_is_linked(capsys):
    start("99_toy")
    (found,) = registry.lesson("99").claims
    shown, denied = (claims.card(found, holds) for holds in (True, False))
    assert "✘ Wrong" in shown.body
    assert "✔ shown here" in shown.body
    assert "“It is <code>x &lt; y</code>.”" in shown.body
    assert "It is not." in shown.body
    assert '<a href="https://arxiv.org/abs/0000.00000"' in shown.body
    assert "not shown here" in denied.body
    assert "It is not." not in denied.body
    assert shown.text.splitlines() == [
        'L9: "It is `x < y`."',
        "     Wrong. It is not.",
        "     Source: arXiv 0000.00000",
    ]


@pytest.mark.parametrize(
    ("source", "addresses"),
    [
        (
            "arXiv 2101.03961, eq. 4-6; arXiv 2006.16668",
            ["arxiv.org/abs/2101.03961", "arxiv.org/abs/2006.16668"],
        ),
        ("exceptions arXiv 2312.07987, 2210.05144", ["arxiv.org/abs/2312.07987", "arxiv.org/abs/2210.05144"]),
        ("github.com/xai-org/grok-1, run.py; counted", ["github.com/xai-org/grok-1"]),
        ("transformers issue #28255", ["github.com/huggingface/transformers/issues/28255"]),
        ("arXiv 2412.19437, sections 4.5.3 and 3.2", ["arxiv.org/abs/2412.19437"]),
        ("the experiments of this lesson; section 2 <b>", []),
    ],
)
def test_sources_lead_to_where_they_are(source, addresses):
    made = linked(source)
    assert re.findall(r'href="https://([^"]+)"', made) == addresses
    assert re.sub("<[^>]+>", "", made) == source.replace("<b>", "&lt;b&gt;")


def test_every_arxiv_id_in_the_course_is_linked():
    for lesson in registry.lessons():
        for found in lesson.claims:
            ids = re.findall(r"\b\d{4}\.\d{4,5}\b", found.source)
            assert [id for id in ids if f"arxiv.org/abs/{id}" not in linked(found.source)] == []


def test_an_empty_table_says_why(capsys):
    claims_table()
    said = capsys.readouterr().out
    assert said.startswith("Nothing to show yet: the cells above settle claims, and none of them has run")
    start("99_toy")
    capsys.readouterr()
    claims_table()
    said = capsys.readouterr().out
    assert "settle the 1 claim of this lesson" in said
    assert "Run All Above Selected Cell" in said


def test_a_table_that_is_not_full_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(starting, "_current", "04_collapse")
    one = registry.lesson("04").claims[0]
    claim(one.id, one.verdict, holds=one.id == "L67")
    capsys.readouterr()
    claims_table()
    left = len(registry.lesson("04").claims) - 1
    assert f"Not settled yet: {left} claims. Run the cells above" in capsys.readouterr().out


def test_type_has_three_sizes():
    """In what the engine draws as HTML; a size is one of looks.TEXT, TITLE and SMALL, or given nowhere."""
    for path in sorted((paths.PACKAGE / "course").glob("*.py")):
        said = re.findall(r"font-size:([^;\"'}]+)", path.read_text(encoding="utf-8"))
        allowed = {"{TITLE", "{SMALL", looks.TEXT, looks.TITLE, looks.SMALL}
        assert set(said) <= allowed, f"{path.name}: {said}"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (lambda order_N: order_N.argsort(), "passed"),
        (lambda order_N: order_N, "failed"),
        (lambda order_N: ..., "not attempted"),
    ],
)
def test_a_puzzles_line_looks_like_the_verdict_of_an_exercise(answer, status):
    verdict = judge(registry.puzzle("02.p_inverse"), answer)
    made = puzzles.said(verdict)
    mark = looks.RESULTS[status]
    assert made.text == verdict.line
    assert f"{mark.symbol} 02.p_inverse</span>" in made.body
    assert mark.color == made.color
