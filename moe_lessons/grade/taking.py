"""Take the answers out of a notebook's bytes; nothing else of it is used.

This parses what learners made, so it runs in a process of its own (see ``reader``), and imports little.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moe_lessons.exercises import cells
from moe_lessons.exercises.beside import needed
from moe_lessons.grade import likeness

MAX_CELLS = 2000
MAX_ANSWER = 65_536
"""Characters in one answer cell."""
MAX_WARNINGS = 20


class UnreadableError(Exception):
    """Why a file is no notebook of this course, in a few words."""


@dataclass(frozen=True)
class Known:
    """What a course asks for: lesson ids by number, and the name of each exercise's function by its id."""

    lessons: Mapping[str, str]
    entries: Mapping[str, str]


@dataclass
class Taken:
    """What a notebook holds: answers by exercise, what they need of other cells, what they look like."""

    lesson: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    looks: dict[str, list[str]] = field(default_factory=dict)
    stubs: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def take(content: bytes, known: Known) -> Taken:
    """The answers in a file's bytes; UnreadableError where there is no notebook of the course in them."""
    found = parse(content)
    given = _cells(found)
    taken = Taken()
    ours, others = _sorted(given, known, taken.warnings)
    taken.lesson = _lesson(found, ours, others, known)
    number = taken.lesson.split("_")[0]
    for id, entry in known.entries.items():
        if id in ours or id.startswith(f"{number}."):
            _take_one(id, entry, ours.get(id, []), others, taken)
    if len(taken.warnings) > MAX_WARNINGS:
        more = len(taken.warnings) - MAX_WARNINGS
        taken.warnings = [*taken.warnings[:MAX_WARNINGS], f"and {more} more such things"]
    return taken


def parse(content: bytes) -> dict[str, Any]:
    """The notebook in a file's bytes."""
    if not content.strip():
        raise UnreadableError("the file is empty")
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UnreadableError("not a notebook: the text is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        reason = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "too deep or too long"
        raise UnreadableError(f"not a notebook: the JSON is broken ({reason})") from None
    if not isinstance(found, dict) or not {"cells", "nbformat"} & set(found):
        raise UnreadableError("not a notebook: JSON, but without cells")
    if found.get("nbformat") != 4:
        raise UnreadableError(f"notebook format {str(found.get('nbformat'))[:20]}; format 4 is needed")
    return found


@dataclass(frozen=True)
class _Code:
    """A code cell: its place, its source, and whether it is marked as an answer to anything."""

    place: int
    source: str
    marked: bool


def _cells(found: dict[str, Any]) -> list[dict[str, Any]]:
    given = found.get("cells")
    if not isinstance(given, list) or not all(isinstance(cell, dict) for cell in given):
        raise UnreadableError("not a notebook: its cells are malformed")
    if len(given) > MAX_CELLS:
        raise UnreadableError(f"{len(given)} cells; at most {MAX_CELLS} are read")
    return given


def _sorted(
    given: list[dict[str, Any]], known: Known, warnings: list[str]
) -> tuple[dict[str, list[_Code]], list[_Code]]:
    """Code cells that are marked as an answer, by exercise, and all code cells."""
    ours: dict[str, list[_Code]] = {}
    everything: list[_Code] = []
    for place, cell in enumerate(given):
        id, source, marked = _ours(cell).get("answer"), _source(cell), "answer" in _ours(cell)
        is_code = cell.get("cell_type") == "code"
        if is_code and source is not None and len(source) <= MAX_ANSWER:
            everything.append(_Code(place, source, marked))
        if not isinstance(id, str):
            continue
        problem = _problem(id, is_code, source, known)
        if not problem:
            ours.setdefault(id, []).append(everything[-1])
        elif problem not in warnings:
            warnings.append(problem)
    return ours, everything


def _problem(id: str, is_code: bool, source: str | None, known: Known) -> str | None:
    if id not in known.entries:
        return f"an answer to {id[:60]!r}, which is no exercise of this course, is left out"
    if not is_code:
        return f"the answer to {id} is not in a code cell and is left out"
    if source is None or len(source) > MAX_ANSWER:
        return f"the answer to {id} is malformed or longer than {MAX_ANSWER} characters and is left out"
    return None


def _take_one(id: str, entry: str, marked: list[_Code], everything: list[_Code], taken: Taken) -> None:
    """Of all cells for an exercise the last attempt counts; an untouched stub never does beside one."""
    own = [cell for cell in everything if cell in marked or not cell.marked]
    states = {cell: cells.attempt(cell.source, entry) for cell in own if entry in cell.source}
    attempts = [cell for cell, state in states.items() if state == "attempted"]
    stubs = [cell for cell, state in states.items() if state == "stub"]
    marked_stubs = [cell for cell in stubs if cell in marked]
    chosen = next((some[-1] for some in (attempts, marked_stubs, marked, stubs) if some), None)
    if chosen is None:
        return
    if len(attempts) > 1:
        taken.warnings.append(f"more than one cell answers {id}; the last attempt counts")
    elif chosen not in marked:
        taken.warnings.append(f"{id} was found by its function's name: the mark of its cell is lost")
    # The parts of a cell that was split carry its mark, and one of them the function.
    parts = [cell.source for cell in marked if cell is not chosen and not states.get(cell)]
    rest = [cell.source for cell in everything if cell is not chosen and cell not in states]
    taken.answers[id] = chosen.source
    if chosen in stubs:
        taken.stubs.append(id)
        return
    beside = needed(chosen.source, rest, parts)
    if beside:
        taken.beside[id] = beside[:MAX_ANSWER]
    looks = likeness.looks(chosen.source, entry)
    if looks:
        taken.looks[id] = list(looks)


def _lesson(
    found: dict[str, Any], ours: Mapping[str, list[_Code]], everything: list[_Code], known: Known
) -> str:
    """The notebook's lesson: by its mark, by its set-up cell, or by its answers."""
    named = _ours(found).get("lesson")
    if isinstance(named, str) and named in known.lessons.values():
        return named
    for cell in everything:
        started = re.search(r"^\s*start\(\s*['\"](\w+)['\"]", cell.source, re.MULTILINE)
        if started and started[1] in known.lessons.values():
            return started[1]
    numbers = [id.split(".")[0] for id in ours]
    if not numbers:
        text = "\n".join(cell.source for cell in everything)
        defined = set(re.findall(r"^(?:def\s+)?(\w+)\s*[(=]", text, re.MULTILINE))
        numbers = [id.split(".")[0] for id, entry in known.entries.items() if entry in defined]
    if numbers:
        return known.lessons[Counter(numbers).most_common(1)[0][0]]
    if isinstance(named, str):
        raise UnreadableError(f"a notebook of lesson {named[:60]!r}, which this course does not have")
    raise UnreadableError("a notebook of another course: it has no answer cells of this one")


def _ours(holder: dict[str, Any]) -> dict[str, Any]:
    metadata = holder.get("metadata")
    ours = metadata.get("moe_lessons") if isinstance(metadata, dict) else None
    return ours if isinstance(ours, dict) else {}


def _source(cell: dict[str, Any]) -> str | None:
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    return source if isinstance(source, str) else None
