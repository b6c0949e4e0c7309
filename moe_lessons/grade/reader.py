"""The process that reads what learners handed in, so that no file can fill or stop the grader.

The grader opens each file itself and sends its bytes. For each the reader forks once more, with limits on
memory and time: a file that needs more costs itself. What comes back is text, of a length that is checked.
"""

import atexit
import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

MEMORY = 512 << 20
SECONDS = 20
MAX_REPLY = 4 << 20
"""Bytes of one notebook's answers."""
TOO_MUCH = "too large or too intricate to be read"
_LENGTH = struct.Struct("<Q")
_START = "import sys; sys.path.append(sys.argv[1]); from moe_lessons.grade import reader; reader.serve()"


class Reader:
    """A running reader; it ends with its owner."""

    def __init__(self, known: dict[str, Any]) -> None:
        self._known = known
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def read(self, content: bytes) -> dict[str, Any]:
        """What a file's bytes hold: the fields of ``taking.Taken``, or a ``problem``."""
        try:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            _put(process.stdin, content)
            return _checked(json.loads(_get(process.stdout, MAX_REPLY, SECONDS + 40)))
        except (OSError, EOFError, ValueError, TypeError, KeyError):
            self.close()
            return {"problem": TOO_MUCH}

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            place = str(Path(__file__).parents[2])
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, place],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=Path(__file__).parent,
            )
            assert self._process.stdin is not None
            _put(self._process.stdin, json.dumps(self._known).encode())
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with contextlib.suppress(OSError):
                    pipe.close()
            self._process.kill()
            self._process.wait()
            self._process = None


def serve() -> None:
    """Answer each file with what ``taking.take`` finds, until the grader goes away."""
    from moe_lessons.grade import lifeline, taking

    lifeline.die_with_parent()
    given, out = sys.stdin.buffer, sys.stdout.buffer
    known = taking.Known(**json.loads(_get(given, MAX_REPLY)))
    while True:
        try:
            content = _get(given, 1 << 30)
        except EOFError:
            return
        _put(out, _apart(content, known))


def _apart(content: bytes, known: Any) -> bytes:
    """Take the answers in a process with limits; what it said, or that it was too much."""
    from moe_lessons.grade import lifeline

    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        try:
            lifeline.die_with_parent()
            _limit()
            said = json.dumps(_taken(content, known)).encode()
            with open(theirs, "wb") as file:
                file.write(said)
        finally:
            os._exit(0)
    os.close(theirs)
    deadline, parts, size = time.monotonic() + SECONDS, [], 0
    try:
        while size <= MAX_REPLY and select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = os.read(ours, 1 << 16)
            if not part:
                break
            parts.append(part)
            size += len(part)
    finally:
        os.close(ours)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
        os.waitpid(pid, 0)
    said = b"".join(parts)
    return said if said.endswith(b"}") and size <= MAX_REPLY else json.dumps({"problem": TOO_MUCH}).encode()


def _taken(content: bytes, known: Any) -> dict[str, Any]:
    from moe_lessons.grade import taking

    try:
        return asdict(taking.take(content, known))
    except taking.UnreadableError as error:
        return {"problem": str(error)}
    except (MemoryError, RecursionError):
        return {"problem": TOO_MUCH}


def _limit() -> None:
    import resource

    for name, value in (("RLIMIT_AS", MEMORY), ("RLIMIT_CPU", SECONDS), ("RLIMIT_CORE", 0)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))


def _put(file: IO[bytes], content: bytes) -> None:
    file.write(_LENGTH.pack(len(content)))
    file.write(content)
    file.flush()


def _get(file: IO[bytes], most: int, seconds: float | None = None) -> bytes:
    if seconds is not None and not select.select([file], [], [], seconds)[0]:
        raise EOFError
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > most:
        raise ValueError
    content = file.read(length)
    if len(content) < length:
        raise EOFError
    return content


def _checked(said: Any) -> dict[str, Any]:
    if "problem" in said:
        return {"problem": str(said["problem"])}
    texts = [*said["answers"].items(), *said["beside"].items()]
    if not all(type(text) is str for pair in texts for text in pair):
        raise ValueError
    return dict(said)
