"""What a cell shows while it runs, and where it was stopped: in a real kernel."""

import time
from queue import Empty

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

from moe_lessons.build.execute import execute

INSTALL = "from moe_lessons import steps; from moe_lessons.course import waiting; waiting.install()"
SLOW = "import time\nfor seed in steps.each(range(3), 'seed'):\n    print(seed); time.sleep({each_s})"
HURRY = "waiting.PATIENCE_S, waiting.EVERY_S = 0.2, 0.1"
AT_MOST_S = 60


@pytest.fixture(scope="module")
def kernel():
    manager, client = start_new_kernel(kernel_name="python3")
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture
def run(kernel):
    manager, client = kernel

    def run(cell, stop_at=None):
        """A cell's messages of the kinds that show something, and its reply; `stop_at` interrupts."""
        asked, shown, end = client.execute(cell, reply=False), [], time.monotonic() + AT_MOST_S
        while time.monotonic() < end:
            try:
                message = client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if content.get("execution_state") == "idle":
                return shown, reply_to(asked, client)
            if kind not in ("status", "execute_input"):
                shown.append((kind, content))
            if stop_at is not None and stop_at in str(content.get("data", "")):
                manager.interrupt_kernel()
                stop_at = None
        raise AssertionError(f"the cell did not end: {shown}")

    run(f"{INSTALL}; {HURRY}")
    return run


def reply_to(asked, client):
    while True:
        reply = client.get_shell_msg(timeout=AT_MOST_S)
        if reply["parent_header"].get("msg_id") == asked:
            return reply["content"]


def test_a_long_cell_says_where_it_is_and_takes_that_away(run):
    shown, reply = run(SLOW.format(each_s=1))
    assert reply["status"] == "ok"
    displays = [(kind, content) for kind, content in shown if kind != "stream"]
    (first, begun), *updates, (last, over) = displays
    assert (first, begun["data"]) == ("display_data", {})  # a front end that compares outputs sees nothing
    assert {kind for kind, _ in updates} == {last} == {"update_display_data"}
    assert over["data"] == {}
    assert {content["transient"]["display_id"] for _, content in displays} == {
        begun["transient"]["display_id"]
    }
    told = " ".join(content["data"]["text/plain"] for _, content in updates)
    assert "seed 2 of 3" in told
    assert "seed 3 of 3" in told
    assert "<progress" in updates[0][1]["data"]["text/html"]


def test_a_cell_without_a_loop_of_ours_says_that_it_runs(run):
    shown, _ = run("import time; time.sleep(2)")
    assert any("still running" in str(content.get("data")) for _, content in shown)


def test_a_short_cell_shows_nothing(run):
    run("waiting.PATIENCE_S = 60")  # on a busy machine even these can take a while
    assert run("2 + 2")[0][0][0] == "execute_result"
    assert run(HURRY)[0] == []


def test_stopping_is_one_line_and_the_next_cell_runs(run):
    shown, reply = run(SLOW.format(each_s=20), stop_at="seed 1 of 3")
    (error,) = [content for kind, content in shown if kind == "error"]
    (line,) = error["traceback"]
    assert line.startswith("Stopped by you at seed 1 of 3 after ")
    assert "\n" not in line
    assert error["ename"] == reply["ename"] == "KeyboardInterrupt"
    assert reply["status"] == "error"  # so that "run all" ends here
    assert "Traceback" not in str(shown)
    assert shown[-2][1]["data"] == {}, "the line of progress goes before the other comes"
    shown, reply = run("print(steps.where() or 'nowhere')")
    assert (shown[0][1]["text"], reply["status"]) == ("nowhere\n", "ok")


def test_a_training_that_was_stopped_says_its_own_line(run):
    shown, _ = run("class Stop(KeyboardInterrupt): pass\nraise Stop('stopped at step 4 of 9; none is kept')")
    ((line,),) = [content["traceback"] for kind, content in shown if kind == "error"]
    assert line.startswith("Stopped at step 4 of 9; none is kept. ")


def test_other_errors_keep_their_traceback(run):
    shown, _ = run("1 / 0")
    (traceback,) = [content["traceback"] for kind, content in shown if kind == "error"]
    assert len(traceback) > 1
    assert "ZeroDivisionError" in traceback[-1]


def test_nothing_of_it_is_stored(tmp_path):
    cells = [f"{INSTALL}; {HURRY}", SLOW.format(each_s=0.4)]
    built = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    ran = execute(built, tmp_path)
    (output,) = ran.cells[1].outputs
    assert output.text == "0\n1\n2\n"
