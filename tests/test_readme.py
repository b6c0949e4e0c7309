"""The README's Python runs, and its links lead somewhere."""

import doctest
import re

from moe_lessons.build import paths

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
    assert len(links) > 10
    for link in links:
        assert (paths.ROOT / link).exists(), link
