"""A stopped run goes on; parts of a class, graded apart, make the whole."""

import errno
import json
import signal

import classroom
import pytest
from click.testing import CliRunner

from moe_lessons.commands.cli import main
from moe_lessons.grade import batches, guard, resume
from moe_lessons.grade.records import FAILED, FAULT, PASSED, Verdict

LESSON = classroom.LESSONS[1]
IDS = [id for id in classroom.IDS if id.startswith(LESSON.number)]


@pytest.fixture
def graded(monkeypatch):
    """The learners' answers that were really run, by batch; every second exercise passes."""
    ran = []

    def run(answers, seed, limits, isolation, tick):
        ran.append([(answer.learner, answer.exercise) for answer in answers])
        return {(a.learner, a.exercise): verdict(a.learner, a.exercise) for a in answers}

    monkeypatch.setattr(batches, "run", run)
    return ran


def verdict(learner, id):
    passed = IDS.index(id) % 2 == 0
    findings = (("right values", passed, "" if passed else "off by 1"),)
    return Verdict(
        learner, id, PASSED if passed else FAILED, "line", findings, None if passed else ("m", "t", 2)
    )


@pytest.fixture
def folder(tmp_path):
    for name in ("ada", "bob", "cy", "dan", "eve"):
        hand_in(tmp_path, name)
    return tmp_path


def hand_in(tmp_path, name, change=""):
    (tmp_path / "class").mkdir(exist_ok=True)
    content = json.loads(json.dumps(classroom.SOLVED[LESSON.id]))
    for cell in classroom.answer_cells(content):
        cell["source"] = "".join(cell["source"]) + change
    (tmp_path / "class" / f"{name}.ipynb").write_text(json.dumps(content), encoding="utf-8")


def call(folder, *more, out="out", command="grade"):
    words = [command, *more, "--out", str(folder / out)]
    if command == "grade":
        words += [str(folder / "class"), "--unsafe-no-sandbox", "-j", "1"]
    result = CliRunner().invoke(main, words)
    return result, folder / out / "results.json"


def learners(path):
    return {one["learner"]: one for one in json.loads(path.read_text())["learners"]}


def test_what_has_not_changed_is_not_run_twice(folder, graded):
    first = learners(call(folder)[1])
    seed = json.loads((folder / "out" / "results.json").read_text())["seed"]
    hand_in(folder, "bob", "\n# better")
    hand_in(folder, "fay")
    graded.clear()
    result, path = call(folder)
    assert result.exit_code == 0
    assert {learner for batch in graded for learner, _ in batch} == {1, 5}
    assert f"{5 * len(IDS)} answers were graded before" in result.output
    second = learners(path)
    assert {name: second[name] for name in first if name != "bob"} == {
        name: one for name, one in first.items() if name != "bob"
    }
    assert json.loads(path.read_text())["seed"] == seed


@pytest.mark.parametrize("more", [["--fresh"], ["--seed", "5"], ["--timeout", "3"]])
def test_everything_is_run_again_where_verdicts_would_not_hold(folder, graded, more):
    call(folder)
    graded.clear()
    result, _ = call(folder, *more)
    assert sum(map(len, graded)) == 5 * len(IDS)
    assert "graded before" not in result.output


def test_a_stopped_run_keeps_what_it_has(folder, graded, monkeypatch):
    whole = batches.run

    def stops(answers, *rest):
        if any(answer.learner == 3 for answer in answers):
            raise KeyboardInterrupt
        return whole(answers, *rest)

    monkeypatch.setattr(batches, "run", stops)
    monkeypatch.setattr(batches, "BATCH", 1)
    result, _ = call(folder)
    assert result.exit_code != 0
    monkeypatch.setattr(batches, "run", whole)
    graded.clear()
    with open(folder / "out" / resume.FILE, "a", encoding="utf-8") as file:
        file.write('{"key": "cut o')
    assert call(folder)[0].exit_code == 0
    again = {learner for batch in graded for learner, _ in batch}
    assert 3 in again
    assert again <= {3, 4}  # the last may have begun before the run was stopped


def test_damaged_records_are_graded_again(folder, graded):
    call(folder)
    path = folder / "out" / resume.FILE
    header, first, second, third, *rest = path.read_bytes().splitlines(keepends=True)
    second = second.replace(b'"status"', b'"state"')
    third = third.replace(b'"passed"', b'"full marks"').replace(b'"failed"', b'"full marks"')
    path.write_bytes(
        header + first + second + third + b"\xff\xfe\x00\n" + b"".join(rest) + b'{"key": 1, "ver'
    )
    graded.clear()
    result, _ = call(folder)
    assert result.exit_code == 0, result.output
    assert sum(map(len, graded)) == 2


@pytest.mark.usefixtures("graded")
def test_two_runs_do_not_write_to_one_folder(folder):
    (folder / "out").mkdir()
    with guard.alone(folder / "out"):
        result, path = call(folder)
    assert result.exit_code == 2
    assert "another run is writing to" in result.stderr
    assert not path.exists()
    assert call(folder)[0].exit_code == 0


def test_a_batch_system_stops_a_run_as_a_user_does():
    """Else what was started would go on alone, with the learners' answers in its folder."""
    with pytest.raises(KeyboardInterrupt), guard.stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.usefixtures("graded")
def test_a_full_disk_is_told_and_leaves_no_halves(folder, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    result, path = call(folder)
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert [each.name for each in path.parent.iterdir()] == [resume.FILE]


def test_faults_are_not_kept(tmp_path):
    class Answer:
        exercise, notebook, code, beside = IDS[0], "a.ipynb", "x", ""

    kept = resume.Kept(tmp_path / "f", {"seed": 1})
    kept.add([("ada", Answer(), Verdict(0, IDS[0], FAULT))])
    assert len(resume.Kept(tmp_path / "f", {"seed": 1})) == 0
    kept.add([("ada", Answer(), verdict(0, IDS[1]))])
    again = resume.Kept(tmp_path / "f", {"seed": 1})
    assert again.find("ada", 7, Answer()) == verdict(7, IDS[1])
    assert again.find("bob", 0, Answer()) is None
    assert len(resume.Kept(tmp_path / "f", {"seed": 2})) == 0


@pytest.mark.usefixtures("graded")
def test_parts_make_the_whole(folder):
    call(folder, "--seed", "3")
    whole = learners(folder / "out" / "results.json")
    for part in (1, 2, 3):
        assert call(folder, "--seed", "3", "--shard", f"{part}/3", out=f"part-{part}")[0].exit_code == 0
    assert list(learners(folder / "part-1" / "results.json")) == ["ada", "dan"]
    parts = [str(folder / f"part-{part}") for part in (3, 1, 2)]
    result, path = call(folder, *parts, out="all", command="merge")
    assert result.exit_code == 0, result.output
    assert learners(path) == whole
    assert (folder / "all" / "grades.csv").read_text() == (folder / "out" / "grades.csv").read_text()
    assert (folder / "all" / "similar.csv").read_text() == (folder / "out" / "similar.csv").read_text()
    assert "ada; bob; cy; dan; eve" in (folder / "all" / "similar.csv").read_text()
    page = "feedback/ada.html"
    assert (folder / "all" / page).read_text() == (folder / "out" / page).read_text()


@pytest.mark.usefixtures("graded")
def test_parts_that_do_not_belong_together_are_refused(folder):
    call(folder, "--seed", "3", "--shard", "1/2", out="one")
    call(folder, "--seed", "4", "--shard", "2/2", out="two")
    call(folder, "--seed", "3", "--shard", "1/2", out="older")
    edit(folder / "older" / "results.json", course="0.0.1")
    call(folder, "--seed", "3", "--shard", "2/2", out="second")
    hand_in(folder, "fay")
    call(folder, "--seed", "3", "--shard", "6/6", out="later")
    for parts, said in [
        (["one", "two"], "has another seed"),
        (["one"], "these parts hold 3 of 5 learners: a part is missing"),
        (["second", "later"], "the class had 5 and 6 learners: grade all parts again"),
        (["second", "older"], "has another version of the course"),
        (["one", "one"], "ada is in"),
        (["none"], "give the folders that grade --shard wrote"),
        (["class/ada.ipynb"], "is no results.json"),
    ]:
        result, _ = call(folder, *(str(folder / part) for part in parts), out="all", command="merge")
        assert result.exit_code == 2
        assert said in result.stderr


def edit(path, **changed):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}), encoding="utf-8")


@pytest.mark.parametrize("words", [["--shard", "1/2"], ["--shard", "3/2", "--seed", "1"], ["--shard", "x"]])
def test_wrong_shards_are_one_line(folder, words):
    result, _ = call(folder, *words)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
