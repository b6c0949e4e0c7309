"""The grader's side of the channel: start a worker, ask it with a time limit, end it."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from moe_lessons.exercises.drivers import Failure, Reply, Request
from moe_lessons.grade import kit, late, messages, sandbox, wire

_START_SECONDS = 180.0
"""How long the warm parent may take to import torch on a busy machine."""


PATIENCE = 6
"""How many times its seconds of processor time an answer may take by the clock."""
_TOO_SHORT_TO_ASK = 0.05


class WorkerFault(RuntimeError):
    """The grader's own machinery failed: no worker could be started."""


class WarmParent:
    """A running warm parent (see ``warm``); ``with`` ends it and every worker.

    Parameters
    ----------
    place : Path, optional
        Folder in which it makes its own; by default the system's for temporary files.
    sandboxed : bool
        Without a sandbox, answers are processes of the grader's own user.
    """

    def __init__(self, place: Path | None = None, *, sandboxed: bool = True) -> None:
        if not hasattr(os, "fork"):
            raise WorkerFault("grading needs Linux or macOS; on Windows use the Linux subsystem (WSL)")
        self._folder = tempfile.TemporaryDirectory(
            prefix="moe-lessons-kit-", dir=place, ignore_cleanup_errors=True
        )
        self._sandboxed = sandboxed
        self._script = kit.make(Path(self._folder.name) / "kit")
        self._launch()

    def _launch(self) -> None:
        folder = Path(self._folder.name)
        self._control, theirs = socket.socketpair()
        self._loaded: set[str] = set()
        words = ["warm", str(theirs.fileno())]
        if self._sandboxed:
            command = sandbox.command(self._script.parent, [*words, str(sandbox.user())])
        else:
            command = [sys.executable, *sandbox.ISOLATED, str(self._script), *words]
        with theirs, open(folder / "errors.txt", "wb") as errors:
            self._process = subprocess.Popen(
                command,
                env=kit.environment(sandbox.scratch() if self._sandboxed else str(folder)),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    def start(self, code: str = "") -> "Worker":
        """Start a worker; where a learner's code has killed the warm parent, start that again first.

        ``code`` is what it will be given: the warm parent imports what takes long and that text mentions.
        """
        for last in (False, True):
            mine, theirs = socket.socketpair()
            try:
                with theirs:
                    self._load(code)
                    self._control.settimeout(_START_SECONDS)
                    socket.send_fds(self._control, [b"start"], [theirs.fileno()])
                pid = int(self._answer())
                # An answer's time begins when the worker is there, not while it imports torch.
                wire.receive(mine, time.monotonic() + _START_SECONDS)
                return Worker(self, mine, pid)
            except (OSError, EOFError, wire.WireError) as error:
                mine.close()
                if last:
                    said = f"{error} ({self._errors()})" if str(error) else self._errors()
                    raise WorkerFault(f"no worker could be started: {said}") from None
                self._stop()
                self._launch()
        raise AssertionError

    def _load(self, code: str) -> None:
        for name in late.needed(code):
            if name not in self._loaded:
                self._control.settimeout(_START_SECONDS)
                self._control.sendall(b"load %s" % name.encode())
                self._answer()
                self._loaded.add(name)

    def end(self, pid: int, *, ending: bool = False) -> int:
        """Kill a worker with all that it started; its exit code, negative for a signal.

        ``ending`` says that it has hung up, so that its own exit code can be waited for.
        """
        with contextlib.suppress(OSError, EOFError, ValueError):
            self._control.settimeout(_START_SECONDS)
            self._control.sendall(b"%s %d" % (b"reap" if ending else b"end", pid))
            return int(self._answer())
        # The warm parent is gone. Without a sandbox its worker is ours to end; else it went with it.
        if not self._sandboxed:
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        return -signal.SIGKILL

    def used(self, pid: int) -> float:
        """Seconds of processor time that a worker has used, with all that it started."""
        self._control.settimeout(_START_SECONDS)
        self._control.sendall(b"used %d" % pid)
        return float(self._answer())

    def close(self) -> None:
        """End the warm parent, which ends its workers, and remove its folder."""
        self._stop()
        self._folder.cleanup()

    def _stop(self) -> None:
        self._control.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> bytes:
        answer = self._control.recv(64)
        if not answer:
            raise EOFError(self._errors())
        return answer

    def _errors(self) -> str:
        text = (Path(self._folder.name) / "errors.txt").read_text(encoding="utf-8", errors="replace").strip()
        return text.splitlines()[-1] if text else "it ended without a word"

    def __enter__(self) -> "WarmParent":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Worker:
    """One process with one answer in it; a reply is a ``Failure`` where the process did not live to reply."""

    def __init__(self, parent: WarmParent, channel: socket.socket, pid: int) -> None:
        self._parent, self._channel, self._pid = parent, channel, pid
        self._number = 0
        self._used = 0.0
        self.charged = 0.0
        """Seconds that the last question cost: of the processor, so that neighbours do not count."""
        self._ended: Failure | None = None

    def load(
        self, code: str, entry: str, forbidden: tuple[str, ...], seconds: float, *, beside: str = ""
    ) -> tuple[str, str] | Failure:
        """Run an answer cell: ``("function", "")``, what is there instead, or a ``Failure``."""
        frame = messages.load(self._next(), code, entry, forbidden, beside)
        return self._ask(frame, seconds, messages.as_loaded)

    def call(self, request: Request, seconds: float) -> Reply:
        """Call the answer once."""
        return self._ask(messages.call(self._next(), request), seconds, messages.as_reply)

    def close(self) -> None:
        """End the process."""
        if self._ended is None:
            self._stop("the worker was closed")

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _ask(self, frame: bytes, seconds: float, read: Callable[..., Any]) -> Any:
        if self._ended is not None:
            return self._ended
        began = time.monotonic()
        try:
            wire.send(self._channel, frame, began + seconds)
            self._wait(seconds)
            header, arrays = wire.receive(self._channel, time.monotonic() + seconds)
            return read(header, arrays, self._number)
        except TimeoutError:
            return self._stop(f"stopped after {seconds:.3g} s: it had not returned")
        except wire.WireError:
            return self._stop("your code interfered with the grader's channel")
        except (OSError, EOFError):
            return self._stop("", ending=True)

    def _wait(self, seconds: float) -> None:
        """Wait for a reply to begin; TimeoutError once the answer has had its time of the processor.

        On a busy machine that takes longer by the clock, where one that sleeps is not waited for forever.
        """
        began, before, left = time.monotonic(), self._used, seconds
        while True:
            ready = select.select([self._channel], [], [], left)[0]
            passed = time.monotonic() - began
            if ready and passed < _TOO_SHORT_TO_ASK:
                self.charged = passed
                return
            self._used = self._parent.used(self._pid)
            self.charged = min(passed, max(self._used - before, passed / PATIENCE))
            if ready:
                return
            left = min(seconds - self.charged, 1.0)
            if left <= _TOO_SHORT_TO_ASK:
                self.charged = seconds  # a rest too short to measure is no time for the next answer
                raise TimeoutError

    def _stop(self, message: str, *, ending: bool = False) -> Failure:
        self._channel.close()
        code = self._parent.end(self._pid, ending=ending)
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        self._ended = Failure("interrupted", message or f"your code ended the process ({how})")
        return self._ended
