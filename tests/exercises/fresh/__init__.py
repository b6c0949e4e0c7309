"""Wrong answers written as learners would write them, and which names would be right.

`FRESH[exercise]` in a set's modules are triples: what was done wrong, the answer, and the ids that would
name it rightly (none where no name is known yet: then silence is right). Unlike the planted ones they need
not be named.

- `first`: known while the specs were mended, so its figure flatters.
- `second`: the six most plausible an exercise (four for a kernel), written from the learner's notebooks
  alone; the figures in LOG.md are from before anything was mended for it.
- `third`: the next most plausible, two for 21 exercises of lessons 00 to 05 and one for each of 06 to 08 and
  10, written after that mending by people who had seen many of the names by then.
- `fourth`: lessons 11 and 12, nine to fifteen an exercise, written from the tasks before any was tried; much
  was mended for it, and its answers stand among the planted ones.
- `fifth`: lessons 11 and 12, eight to eleven an exercise, written after that mending by going through the
  solutions line by line, for what is *not* among the names; then mended for as well, LOG.md has both figures.
- `sixth`: lessons 11 and 12, four or five an exercise, what a class would most likely hand in. Most of that
  has a name, so its figure flatters.
- `seventh`: lessons 11, 12 and 14 to 16, six an exercise, what a class would most likely hand in, written
  from the learner's notebooks alone by somebody who had seen no names. Then mended for; LOG.md has both
  figures.
- `eighth`: lessons 13 and 17, six an exercise, what a class would most likely hand in, written from the
  learner's notebooks alone by somebody who had seen no names. `17.find_errors` is left out: its answer is a
  table of verdicts. Then mended for; LOG.md has both figures.
- `ninth`: lessons 13 and 17 again, six an exercise, `17.find_errors` among them, written from the learner's
  notebooks alone by somebody else, who had seen no names of these two lessons. Then mended for; LOG.md has
  both figures.
- `tenth`: lessons 00 to 10, the six most plausible an exercise (three from lesson 07 on), written from the
  learner's notebooks alone by somebody who had seen no names. Three that turned out right were taken out.
- `eleventh`: lessons 00 to 08 and 10, the next two to five, written by the same hand after the tenth was
  judged and before the specs were read. Then mended for both; LOG.md has the figures.
- `twelfth`: lesson 17, nine or ten an exercise, written from the learner's notebook by somebody who had read
  the names and their messages, and not how they are detected: so it leans towards what has none. Then mended
  for; LOG.md has both figures.
- `thirteenth`: lesson 17 again, eight an exercise, what a class would most likely hand in, written by
  somebody else while the twelfth was being mended for, from the lesson and the names' messages of before.
  Six answers got names that are newer than that; their messages were read, found true of these answers, and
  are accepted here. LOG.md has both figures.
- `fourteenth`: lessons 13 and 17, six an exercise, written from the learner's notebooks alone by somebody who
  had seen no names or messages; its twelve answers to 17's puzzles are in `puzzle_answers.py`. Then
  mended for; LOG.md has both figures.
- `fifteenth`: the same again, by somebody else who had seen neither names nor the fourteenth, after that
  mending. Judged by the hand that mended. Then mended for; LOG.md has both figures.
"""

import importlib
import pkgutil
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SETS = tuple(sorted(folder.name for folder in HERE.iterdir() if list(folder.glob("[a-z]*.py"))))


def fresh(name: str) -> dict[str, list[Any]]:
    """Return a set's answers, exercise by exercise."""
    answers: dict[str, list[Any]] = {}
    for module in pkgutil.iter_modules([str(HERE / name)]):
        found = importlib.import_module(f"fresh.{name}.{module.name}")
        for id, entries in getattr(found, "FRESH", {}).items():  # some hold only functions for another
            answers.setdefault(id, []).extend(entries)
    return dict(sorted(answers.items()))
