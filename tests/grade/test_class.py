"""A class of twenty, graded once by the command: every learner gets what they earned, and is told why."""

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import classroom
import jsonschema
import pytest
from click.testing import CliRunner

import moe_lessons
from moe_lessons.commands.cli import main
from moe_lessons.exercises import registry
from moe_lessons.grade import escape, sandbox

ALL = classroom.LESSONS
WHOLE_COURSE = {"ada", "elif", "femi", "ivo-malformed"}
EVEN, ODD = ALL[::2], ALL[1::2]
LESSONS_OF = {"cleo": EVEN, "wrong-0": EVEN, "dara": ODD, "wrong-1": ODD}
"""What the others show shows in three lessons. A planted answer brings much text along: half of them each."""
LEARNERS = {
    name: one if name in WHOLE_COURSE else classroom.some_lessons(one, LESSONS_OF.get(name, ALL[:3]))
    for name, one in classroom.make_class().items()
}
SECONDS = 4.0
SANDBOXED = sandbox.problem() is None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    classroom.write_class(folder / "submissions", LEARNERS)
    arguments = [
        "grade",
        str(folder / "submissions"),
        "--out",
        str(folder / "out"),
        "--timeout",
        str(SECONDS),
        "--seed",
        "11",
        *([] if SANDBOXED else ["--unsafe-no-sandbox"]),
    ]
    return CliRunner().invoke(main, arguments), folder / "out"


@pytest.fixture(scope="module")
def results(run):
    content = json.loads((run[1] / "results.json").read_text(encoding="utf-8"))
    return {**content, "by_name": {one["learner"]: one for one in content["learners"]}}


def exercises(results, name):
    return {one["exercise"]: one for one in results["by_name"][name]["exercises"]}


def test_the_run_completes(run, results):
    assert len(LEARNERS) == 20
    assert run[0].exit_code == 0, run[0].output
    assert results["isolation"]["note"] in run[0].output
    assert results["faults"] == 0
    assert list(results["by_name"]) == sorted(LEARNERS)


@pytest.mark.parametrize("name", LEARNERS)
def test_everyone_gets_exactly_their_points(results, name):
    passed = {id for id, one in exercises(results, name).items() if one["status"] == "passed"}
    assert passed == LEARNERS[name].passes
    assert results["by_name"][name]["points"] == LEARNERS[name].points
    assert results["by_name"][name]["max_points"] == classroom.MAX_POINTS


@pytest.mark.parametrize("name", [name for name in LEARNERS if LEARNERS[name].mistakes])
def test_mistakes_are_named(run, results, name):
    page = text_of(run[1] / results["by_name"][name]["feedback"])
    for id, mistake in LEARNERS[name].mistakes.items():
        found = exercises(results, name)[id]
        assert found["status"] == "failed"
        assert found["misconception"]["id"] == mistake
        assert plain(found["misconception"]["message"]) in plain(page)
        assert f"Read hint {found['misconception']['hint']}" in page


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("jo-endless", "failed", f"stopped after {SECONDS:g} s"),
        ("kim-exits", "failed", "your code ended the process (exit code 3)"),
        ("ola-borrows", "failed", "uses moe_lessons.layer.MoELayer"),
        ("elif", "not attempted", ""),
        ("femi", "not attempted", ""),
        ("lea-faked", "not attempted", ""),
        ("ivo-malformed", "not handed in", ""),
    ],
)
def test_what_failed_is_said(run, results, name, status, said):
    handed_in = {file[:2] for file in LEARNERS[name].files}
    graded = [one for id, one in exercises(results, name).items() if id[:2] in handed_in]
    open_ones = [one for one in graded if one["points"] == 0]
    assert open_ones
    for one in open_ones:
        assert one["status"] == status
        assert said in "".join(finding["detail"] for finding in one["findings"])
    assert said in text_of(run[1] / results["by_name"][name]["feedback"])


def test_problems_with_files_are_said(results):
    malformed = " ".join(results["by_name"]["ivo-malformed"]["warnings"])
    assert "01.ipynb: not a notebook: the JSON is broken (line 1)" in malformed
    assert "x.ipynb: a notebook of another course" in malformed
    # An untouched stub beside an attempt is no second answer, so there is nothing to say about it.
    assert not results["by_name"]["max-doubled"]["warnings"]


def test_results_follow_their_schema(results):
    schema = Path(moe_lessons.__file__).parent / "grade" / "results.schema.json"
    content = {name: value for name, value in results.items() if name != "by_name"}
    jsonschema.validate(content, json.loads(schema.read_text(encoding="utf-8")))
    assert results["isolation"]["sandboxed"] is SANDBOXED


def test_every_table_says_the_same(run, results):
    out = run[1]
    table = (out / "grades.csv").read_text(encoding="utf-8").splitlines()
    rows = {row["learner"]: row for row in csv.DictReader(table)}
    summary = (out / "summary.md").read_text(encoding="utf-8")
    earned: dict[str, int] = {}
    for case in ElementTree.parse(out / "junit.xml").iter("testcase"):
        points = next(int(p.get("value")) for p in case.iter("property") if p.get("name") == "points")
        assert (points > 0) == (len(case) == 1)  # only its properties: no failure, error or skip
        earned[case.get("classname")] = earned.get(case.get("classname"), 0) + points
    for name, one in results["by_name"].items():
        assert int(rows[name]["points"]) == one["points"] == earned[name]
        assert f"| {escape.markdown(name)} | {one['points']} of {one['max_points']} |" in summary
    assert str(results["seed"]) in summary


def test_pages_stand_alone_and_show_no_solution(run, results):
    for one in results["by_name"].values():
        source = (run[1] / one["feedback"]).read_text(encoding="utf-8")
        assert f"{one['points']} of {one['max_points']} points" in source
        assert not any(mark in source for mark in ("<script", "src=", "href=", "url(", "@import"))
        for id in classroom.IDS:
            assert registry.exercise(id).hints[2] not in source
            assert classroom.ANSWERS[id].splitlines()[-1].strip() not in source


class _Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.parts = []

    def handle_data(self, data):
        self.parts.append(data)


def text_of(path):
    parser = _Text()
    parser.feed(path.read_text(encoding="utf-8"))
    return "".join(parser.parts)


def plain(text):
    return "".join(char for char in text if char not in "`*")
