"""Processes that answer questions, one line of JSON each: a crash or a hang costs one answer and no more.

A compiler can abort the process that it runs in, a faulty kernel makes a process's GPU useless, and a kernel
that waits for itself never ends. So neither is asked in the process that keeps the results.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
Line = dict[str, Any]


class Worker:
    """A module that runs `serve`, in a process that is started when it is first asked, and after it died.

    Parameters
    ----------
    module : str
        Importable from `benchmarks/` or the repository, such as "gpu_stages.compiling".
    interpreted : bool
        Whether Triton is to interpret kernels there.
    """

    def __init__(self, module: str, interpreted: bool = False) -> None:
        paths = [str(BENCHMARKS), str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
        self._command = [sys.executable, "-m", module]
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "TRITON_INTERPRET": "1" if interpreted else "0",
        }
        self._process: subprocess.Popen[str] | None = None

    def ask(self, question: Line, seconds: float) -> Line:
        """Return the answer; {"error": ...} if there is none within so many seconds, or the process died.

        After an error, the next question goes to a new process.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self._environment
            )
        process, late = self._process, threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            print(json.dumps(question), file=process.stdin, flush=True)
            line = process.stdout.readline()  # type: ignore[union-attr]
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if line.endswith("\n"):
            answer = json.loads(line)
            if "error" in answer:
                self.close()  # after a fault on the GPU the process is of no use any more
            return answer
        self.close()
        return {"error": f"no answer within {seconds:.0f} s" if late.is_set() else "the process died"}

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # what hangs in a driver does not even die
                self._process.communicate(timeout=10)
            self._process = None


def serve(answer: Callable[[Line], Line]) -> None:
    """Answer questions until there are no more; an exception is an answer too, {"error": ...}.

    What is printed meanwhile goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for question in sys.stdin:
        try:
            print(json.dumps(answer(json.loads(question))), file=answers, flush=True)
        except Exception as error:
            said = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
            print(json.dumps({"error": said}), file=answers, flush=True)


def ask_all(
    workers: list[Worker], questions: Iterable[Line], seconds: Callable[[], float]
) -> Iterator[tuple[Line, Line]]:
    """Yield questions with their answers as they come, one worker for each thread.

    `seconds` says how long the next question may take; those whose turn comes when that is 0 or less are left
    out.
    """
    waiting: queue.SimpleQueue[Line] = queue.SimpleQueue()
    answered: queue.SimpleQueue[tuple[Line, Line] | None] = queue.SimpleQueue()
    for question in questions:
        waiting.put(question)

    def work(worker: Worker) -> None:
        try:
            while (left := seconds()) > 0:
                question = waiting.get_nowait()
                answered.put((question, worker.ask(question, left)))
        except queue.Empty:
            pass
        finally:
            worker.close()
            answered.put(None)

    for worker in workers:
        threading.Thread(target=work, args=(worker,), daemon=True).start()
    at_work = len(workers)
    while at_work:
        pair = answered.get()
        if pair is None:
            at_work -= 1
        else:
            yield pair
