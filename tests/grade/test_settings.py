"""What an instructor states for a class: lessons, roster, late days, comments; and what platforms import."""

import csv
import io
import json

import classroom
import pytest
from click.testing import CliRunner

from moe_lessons.commands.cli import main
from moe_lessons.grade import batches
from moe_lessons.grade.records import FAILED, PASSED, Verdict

FIRST, SECOND = classroom.LESSONS[0], classroom.LESSONS[1]
POINTS = FIRST.points + SECOND.points


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A class of two; bob has only the first lesson. Nothing is run: all passes but what is named wrong."""
    wrong, ran = set(), []

    def judged(answers, seed, limits, isolation, tick):
        ran.extend(answers)
        return {
            (a.learner, a.exercise): Verdict(
                a.learner,
                a.exercise,
                FAILED if a.exercise in wrong else PASSED,
                findings=(("runs without an error", a.exercise not in wrong, ""),),
            )
            for a in answers
        }

    monkeypatch.setattr(batches, "run", judged)
    for name, lessons in (("ada", (FIRST, SECOND, classroom.LESSONS[2])), ("bob", (FIRST,))):
        (tmp_path / "class" / name).mkdir(parents=True)
        for lesson in lessons:
            path = tmp_path / "class" / name / f"{lesson.id}.ipynb"
            path.write_text(json.dumps(classroom.SOLVED[lesson.id]), encoding="utf-8")
    return tmp_path, wrong, ran


def call(folder, *more):
    arguments = ["grade", folder / "class", "--out", folder / "out", "--unsafe-no-sandbox", *more]
    return CliRunner().invoke(main, list(map(str, arguments)))


def stated(folder, text, **files):
    (folder / "class.toml").write_text(text, encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content, encoding="utf-8")
    return ("--class", folder / "class.toml")


def learners(folder):
    said = json.loads((folder / "out" / "results.json").read_text())
    return {one["learner"]: one for one in said["learners"]}


def rows(folder, name):
    text = (folder / "out" / name).read_text(encoding="utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


LESSONS = f'lessons = ["{FIRST.number}", "{SECOND.number}"]\n'


def test_lessons_stated_once_are_everyones(place):
    folder = place[0]
    result = call(
        folder, *stated(folder, LESSONS + 'roster = "roster.csv"', roster="learner,name\nada,A\ncy,C\n")
    )
    assert result.exit_code == 0, result.output
    found = learners(folder)
    assert {name: (one["points"], one["max_points"]) for name, one in found.items()} == {
        "ada": (POINTS, POINTS),  # the third notebook raises nobody's maximum
        "bob": (FIRST.points, POINTS),  # what is missing is 0
        "cy": (0, POINTS),  # on the roster, and handed in nothing
    }


def test_late_days_take_their_percent(place):
    folder = place[0]
    late = f"learner,lesson,days,percent\nada,{SECOND.number},2,20\nbob,,1,10\n"
    assert call(folder, *stated(folder, LESSONS + 'late = "late.csv"', late=late)).exit_code == 0
    found = learners(folder)
    assert found["ada"]["points"] == pytest.approx(FIRST.points + 0.8 * SECOND.points)
    assert found["bob"]["points"] == pytest.approx(0.9 * FIRST.points)
    head, ada, bob = rows(folder, "grades.csv")
    assert head[-3:] == ["late_days", "deducted", "warnings"]
    assert [float(ada[-3]), float(bob[-3])] == [2, 1]
    assert "deducted for late work" in (folder / "out" / "feedback" / "ada.html").read_text()


def test_comments_reach_the_page_as_text(place):
    folder = place[0]
    id = FIRST.exercises[0].id
    comments = f'learner,exercise,comment\nada,{id},"<b>neat</b>"\nada,,"Well done, all of it"\n'
    assert (
        call(folder, *stated(folder, LESSONS + 'comments = "comments.csv"', comments=comments)).exit_code == 0
    )
    page = (folder / "out" / "feedback" / "ada.html").read_text()
    assert "&lt;b&gt;neat&lt;/b&gt;" in page
    assert "Well done, all of it" in page
    assert "From your instructor" not in (folder / "out" / "feedback" / "bob.html").read_text()


def test_exports_have_the_columns_that_platforms_document(place):
    folder = place[0]
    roster = "learner,name,email,login,id,sis_id,section\n"
    roster += "ada,Ada L.,a@x.org,al,17,S17,1\nbob,=Bob,b@x.org,b,18,S18,1\n"
    exports = LESSONS + 'exports = ["canvas", "moodle", "gradescope"]\nroster = "roster.csv"\nexcel = true\n'
    assert call(folder, *stated(folder, exports, roster=roster)).exit_code == 0
    titles = [f"{lesson.number} {lesson.title}" for lesson in (FIRST, SECOND)]
    head, possible, ada, bob = rows(folder, "canvas.csv")
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *titles]
    assert possible == ["    Points Possible", "", "", "", "", str(FIRST.points), str(SECOND.points)]
    assert ada == ["Ada L.", "17", "S17", "al", "1", str(FIRST.points), str(SECOND.points)]
    assert bob == ["'=Bob", "18", "S18", "b", "1", str(FIRST.points), "0"]
    head, ada, bob = rows(folder, "moodle.csv")
    assert head == ["Username", "ID number", "Email address", *titles, "Feedback comments"]
    assert ada[:5] == ["al", "17", "a@x.org", str(FIRST.points), str(SECOND.points)]
    said = json.loads((folder / "out" / "gradescope" / "ada.json").read_text())
    assert said["score"] == POINTS
    assert len(said["tests"]) == len(FIRST.exercises) + len(SECOND.exercises)
    assert set(said["tests"][0]) >= {"name", "score", "max_score", "status", "output", "visibility"}
    assert (folder / "out" / "grades.csv").read_bytes().startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("lessons = 3", "lessons is a list"),
        ('lessons = ["99"]', "no lesson '99'"),
        ('colour = "red"', "no setting 'colour'"),
        ('exports = ["blackboard"]', "no export 'blackboard'"),
        ("lessons = [", "is not TOML"),
        ('late = "none.csv"', "cannot read"),
    ],
)
def test_what_is_wrong_in_a_class_file_is_one_line(place, text, line):
    folder = place[0]
    result = call(folder, *stated(folder, text))
    assert result.exit_code == 2
    assert line in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_some_exercises_or_learners_are_graded_again(place):
    folder, wrong, ran = place
    assert call(folder, "--lesson", FIRST.number, "--lesson", SECOND.number).exit_code == 0
    id = SECOND.exercises[0].id
    more = ("--lesson", FIRST.number, "--lesson", SECOND.number)
    wrong.add(id)
    for what, expected in (
        (id, {("ada", id)}),
        ("bob", {("bob", exercise.id) for exercise in FIRST.exercises}),
    ):
        ran.clear()
        assert call(folder, *more, "--regrade", what).exit_code == 0
        assert {(("ada", "bob")[answer.learner], answer.exercise) for answer in ran} == expected
    assert learners(folder)["ada"]["points"] == POINTS - SECOND.exercises[0].points
    result = call(folder, *more, "--regrade", "nobody")
    assert result.exit_code == 2
    assert "no exercise, lesson or learner of that name" in result.stderr


def test_answers_that_look_alike_are_listed_and_cost_nothing(place):
    folder = place[0]
    assert call(folder, "--lesson", FIRST.number, "--lesson", SECOND.number).exit_code == 0
    table = rows(folder, "similar.csv")
    assert table[0] == ["exercise", "like", "how", "learners"]
    alike = [row for row in table[1:] if row[0] == FIRST.exercises[0].id]
    assert alike == [[FIRST.exercises[0].id, "the published solution", "as written", "ada; bob"]]
    assert learners(folder)["ada"]["points"] == POINTS
