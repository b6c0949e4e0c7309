import sys
import types

import pytest

from moe_lessons.data import fetching


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, with small parts."""
    monkeypatch.setenv("MOE_LESSONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "PART_BYTES", 2000)
    return tmp_path / "cache"


class FakeRows:
    def __init__(self, documents, breaks_after):
        self.documents, self.breaks_after = documents, breaks_after

    def skip(self, n):
        return FakeRows(self.documents[n:], self.breaks_after)

    def __iter__(self):
        for number, document in enumerate(self.documents):
            if number == self.breaks_after:
                raise ConnectionError("the network went away\nand more")
            yield {"text": document}


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the package datasets: `hub.documents` is what it has, `hub.asked` what was asked for."""
    module = types.ModuleType("datasets")
    module.documents, module.breaks_after, module.asked = [], None, []

    def load_dataset(**arguments):
        module.asked.append(arguments)
        return FakeRows(module.documents, module.breaks_after)

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


@pytest.fixture
def stories():
    """Documents of about 100 bytes."""
    heroes, places = ("cat", "dog", "mouse", "Grüße"), ("garden", "house", "wood", "sea 🙂")
    return [
        f"Once there was a {heroes[n % 4]}, number {n}. It lived in the {places[n // 4 % 4]} of {n * n % 97}."
        for n in range(700)
    ]
