"""The worker: holds one learner's answer, calls it when asked, sends back plain arrays.

It knows no references and no expected values. Beside torch and numpy it imports what runs answers, only.
"""

import socket
import sys
import types
from typing import Any

from moe_lessons.exercises import answers, cells, drivers
from moe_lessons.exercises.own_code import borrowed
from moe_lessons.grade import messages, wire
from moe_lessons.grade.imports import forbidden_import

_NOTHING = drivers.Request("call", {}, {}, {})


def serve(channel: socket.socket) -> None:
    """Say that all is imported, then answer ``load`` and ``call`` frames until the grader hangs up."""
    wire.send(channel, wire.pack({"ready": True}))
    answer: Any = None
    while True:
        try:
            header, arrays = wire.receive(channel)
        except EOFError:
            return
        number = header["number"]
        if header["op"] == "load":
            answer, frame = _load(number, header)
        else:
            frame = messages.answer(number, drivers.run(answer, messages.as_request(header, arrays)))
        wire.send(channel, frame)


def _load(number: int, header: dict[str, Any]) -> tuple[Any, bytes]:
    code, entry, forbidden = header["code"], header["entry"], tuple(header["forbidden"])
    cell = cells.read(code)
    if cell.refused:
        return None, messages.answer(number, drivers.Failure("exception", cell.refused))
    try:
        compile(cell.code, "<answer>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return None, messages.answer(number, _not_python(error))
    # Told from the text, while nothing of the learner's has run here.
    text = f"{header['beside']}\n{cell.code}" if header["beside"] else cell.code
    imported = forbidden_import(text, entry, forbidden)
    if imported is not None:
        return None, messages.loaded(number, "borrowed", imported)
    found: list[Any] = []
    module = sys.modules["__main__"] = types.ModuleType("__main__")

    def execute() -> int:
        found.append(answers.load(code, entry, beside=header["beside"], into=module))
        return 0

    # Run like a call, so that an error in the cell is told in the same words as one in the function.
    reply = drivers.run(execute, _NOTHING)
    if isinstance(reply, drivers.Failure):
        return None, messages.answer(number, reply)
    answer = found[0]
    if answer is None:
        return None, messages.loaded(number, "missing")
    if not callable(answer):
        return None, messages.loaded(number, "not callable", type(answer).__name__)
    name = borrowed(answer, forbidden)
    if name is not None:
        return None, messages.loaded(number, "borrowed", name)
    return answer, messages.loaded(number, "function")


def _not_python(error: Exception) -> drivers.Failure:
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    line = ""
    if isinstance(error, SyntaxError) and error.lineno:
        line = f"line {error.lineno}: {(error.text or '').strip()}"
    return drivers.Failure("exception", f"{type(error).__name__}: {message}", line)
