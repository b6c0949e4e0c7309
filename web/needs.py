"""Which files explorables need: a script that runs them all on the standard library alone, and prints them.

``web/bundle.py`` runs it in a process of its own. An explorable that imports anything else stops it, and
so the build.
"""

import json
import sys
import traceback
from importlib.abc import MetaPathFinder
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "moe_lessons"


class OnlyStandard(MetaPathFinder):
    """Finds nothing, and forbids what a page does not have."""

    def find_spec(self, name, path=None, target=None):
        """Refuse what is neither Python's own nor the course's."""
        top = name.partition(".")[0]
        if top != "moe_lessons" and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"{name}: a page has the standard library only", name=name)


def act_out():
    """Show every explorable, locked and open, at its landmarks, with what its questions reveal.

    And what else a page asks of Python: to judge a number, and to say what was wrong with a request.
    """
    from moe_lessons import explore
    from moe_lessons.explore import page

    for name in explore.__all__:
        if name == "LiveView":
            continue
        page.handle(json.dumps({"call": "open", "key": name, "name": name, "asks": True}))
        kind = getattr(explore, name)
        open_ = kind(locked=False)
        open_.frame()
        for landmark in open_.landmarks():
            open_.set(landmark.go(open_.params))
            open_.frame()
        for question in range(len(kind.questions)):
            kind().reveal(question)
    page.handle(json.dumps({"call": "request", "key": name, "request": {"view": "", "n": 1, "go": 99}}))
    for typed in ("3/4", "much"):
        card = {"id": "", "title": "", "question": "", "options": [], "name": "", "seen": 0}
        asked = {"answer": 0.5, "rtol": 0.01, "feedback": "", "typed": typed}
        page.handle(json.dumps({"call": "judge", "card": card, **asked}))
    try:
        page.handle("{}")
    except KeyError:
        traceback.format_exc()


def main():
    """Print the files, from the root, as JSON."""
    opened = set()
    sys.addaudithook(lambda event, what: opened.add(str(what[0])) if event == "open" else None)
    sys.meta_path.insert(0, OnlyStandard())
    sys.path.insert(0, str(ROOT))
    act_out()
    modules = {
        m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "moe_lessons" and m.__file__
    }
    data = {name for name in opened if name.startswith(str(PACKAGE)) and not name.endswith((".py", ".pyc"))}
    files = [Path(name) for name in modules | data]
    print(json.dumps(sorted(f.relative_to(ROOT).as_posix() for f in files if f.is_file())))


if __name__ == "__main__":
    main()
