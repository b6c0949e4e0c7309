"""The workflows, here and those that instructors copy: they can write nothing, and name what exists.

Nothing here runs them: only a runner does.
"""

import re
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
OURS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / "moe_lessons/grade").glob("*.yml"))
MAY_WRITE = {("site.yml", "publish"): {"pages": "write", "id-token": "write"}}


def workflow(path: Path) -> dict:
    """Return a workflow; YAML 1.1 reads the key `on` as True."""
    parsed = yaml.safe_load(path.read_text())
    parsed["on"] = parsed.pop(True)
    return parsed


def steps(path: Path) -> list[dict]:
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


def test_there_are_workflows():
    assert {path.name for path in OURS} == {"ci.yml", "newest.yml", "site.yml"}
    assert {path.name for path in TEMPLATES} == {"classroom.yml", "instructor.yml"}


@pytest.mark.parametrize("path", OURS + TEMPLATES, ids=lambda path: path.name)
def test_a_workflow_can_write_nothing_and_ends(path):
    parsed = workflow(path)
    assert parsed["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in parsed["on"]
    for name, job in parsed["jobs"].items():
        assert job.get("permissions", {}) == MAY_WRITE.get((path.name, name), {})
        assert job["timeout-minutes"] <= 150
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_an_action_has_one_version_everywhere():
    """Templates are out of Dependabot's sight: they are lifted by hand, with ours."""
    versions = defaultdict(set)
    for path in OURS + TEMPLATES:
        for step in steps(path):
            if "uses" in step:
                action, version = step["uses"].split("@")
                versions[action].add(version)
    assert versions
    assert {action: found for action, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("path", OURS + TEMPLATES, ids=lambda path: path.name)
def test_what_make_is_told_exists(path):
    makefile = (ROOT / "Makefile").read_text()
    said = [step["run"] for step in steps(path) if "make " in step.get("run", "")]
    assert said
    for line in said:
        for argument in re.search(r"make ([^\n]*)", line)[1].removeprefix("-C course ").split():
            name, is_variable, _ = argument.partition("=")
            pattern = rf"^(export )?{name} \?=" if is_variable else rf"^{name}:"
            assert re.search(pattern, makefile, re.MULTILINE), f"the Makefile knows no {argument}"
