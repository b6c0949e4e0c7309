"""The README's Python runs, and its links lead somewhere."""

import doctest
import re

from moe_lessons.build import paths
from moe_lessons.exercises import registry

TEXT = paths.README.read_text(encoding="utf-8")


def test_its_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "README.md", "README.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test)
    assert runner.summarize().failed == 0
    assert runner.tries > 10


def test_its_links_to_files_exist():
    links = re.findall(r"\]\((?!http|#)([^)]+)\)", TEXT)
    links += re.findall(r'(?:href|src|srcset)="(?!http|#)([^"]+)"', TEXT)
    assert len(links) > 60
    for link in links:
        assert (paths.ROOT / link).exists(), link


def test_each_lesson_has_a_picture_on_either_paper():
    shown = re.findall(r'(?:src|srcset)="([^"]+)"', TEXT)
    for lesson in registry.lessons():
        for theme in ("light", "dark"):
            assert f".github/pictures/{lesson.id}-{theme}.webp" in shown
    for alt in re.findall(r'<img [^>]*alt="([^"]*)"', TEXT):
        assert len(alt) > 20


def test_its_pictures_are_small_and_all_of_them_are_shown():
    pictures = sorted(paths.PICTURES.glob("*.webp"))
    assert sum(picture.stat().st_size for picture in pictures) <= 1_500_000
    assert {picture.name for picture in pictures} == set(re.findall(r'([^"/]+\.webp)"', TEXT))
