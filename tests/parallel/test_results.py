"""What `benchmarks/expert_parallel.py` found, as far as lesson 14 and the README rest on it."""

import json

import pytest

from moe_lessons.build import paths

FOUND = json.loads((paths.PACKAGE / "results" / "expert_parallel.json").read_text(encoding="utf-8"))


def measured(part):
    """Parts that take a quiet machine may be missing until they are measured on one."""
    command = f"python benchmarks/expert_parallel.py {part}"
    return pytest.mark.skipif(part not in FOUND, reason=f"not measured yet: {command}")


def run(name):
    (row,) = (row for row in FOUND["mistakes"]["rows"] if row["run"] == name)
    return row


@pytest.mark.parametrize("kind", ["", "no clipping: ", "SGD, no clipping: "])
def test_right_runs_are_those_of_one_process(kind):
    assert run(f"{kind}right")["largest_difference_nats"] < 1e-5


def test_adamw_without_clipping_hides_a_factor_and_sgd_shows_it():
    assert run("no clipping: not divided")["largest_difference_nats"] < 1e-5
    assert run("SGD, no clipping: not divided")["largest_difference_nats"] > 0.1


def test_clipping_shows_it_and_the_wrong_run_ends_lower():
    wrong = run("not divided")
    assert wrong["largest_difference_nats"] > 1e-3
    assert wrong["last_loss_nats"] < wrong["last_loss_of_one_process"]


def test_only_clipping_by_own_norm_lets_the_replicas_drift():
    drifting = {row["run"] for row in FOUND["mistakes"]["rows"] if row["drift"] > 0}
    assert drifting == {"clipped by own norm"}


@measured("command")
def test_the_command_makes_the_steps_of_one_process_in_every_layout():
    rows = FOUND["command"]["rows"]
    assert {(row["processes"], row.get("parallel")) for row in rows} >= {(2, "ep"), (4, "ep")}
    assert max(row["largest_difference_bits"] for row in rows) < 1e-5


@measured("equal")
def test_a_layer_is_that_of_one_process_on_two_and_four():
    assert {(layout["replicas"], layout["ep"]) for layout in FOUND["equal"]["layouts"]} == {
        (1, 2),
        (1, 4),
        (2, 2),
    }
    assert all(check["ok"] for layout in FOUND["equal"]["layouts"] for check in layout["checks"])


def test_a_killed_rank_ends_the_run_with_one_line_and_whole_checkpoints():
    killed = FOUND["failures"]["killed"]
    assert len(killed["lines"]) == 1
    assert killed["checkpoints_whole"]
    assert killed["seconds_until_all_ended"] < 30


@measured("time")
def test_the_model_of_the_time_is_within_the_error_that_it_states():
    timing = FOUND["time"]
    assert len(timing["held_out"]) == 3
    assert all(abs(row["error"]) <= timing["stated_error"] for row in timing["held_out"])
