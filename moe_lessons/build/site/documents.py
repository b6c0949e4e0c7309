"""Documents as pages: their links lead to other pages of the site, or to a file in the repository."""

import re
from collections.abc import Iterable

from moe_lessons.build import paths
from moe_lessons.exercises.spec import Lesson

PAGES = {"LOG.md": "log", "CHANGELOG.md": "changelog"}
"""Documents at the root of the repository, and the page of each."""

_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")


def page(name: str) -> str:
    """A document as a page's Markdown."""
    return relinked((paths.ROOT / name).read_text(encoding="utf-8"))


def relinked(text: str) -> str:
    """A text from the repository's root whose relative links hold on the site.

    Examples
    --------
    >>> relinked("[log](LOG.md) and [one](solutions/01_router.ipynb)")
    '[log](log.md) and [one](lessons/01_router.ipynb)'
    >>> relinked("[gates](moe_lessons/routing/gates.py)")[:30]
    '[gates](https://github.com/moe'
    """

    def lead(found: re.Match[str]) -> str:
        target, anchor = found[1].removeprefix("./"), found[2] or ""
        if target in PAGES:
            return f"]({PAGES[target]}.md{anchor})"
        if re.fullmatch(r"(solutions|notebooks)/\w+\.ipynb", target):
            return f"](lessons/{target.split('/')[1]}{anchor})"
        return f"](https://github.com/{paths.slug()}/blob/main/{target}{anchor})"

    return _LINK.sub(lead, text)


def with_lessons(text: str, lessons: Iterable[Lesson]) -> str:
    """A page in which "lesson 04" leads there, if the site has that lesson."""
    pages = {lesson.number: f"lessons/{lesson.id}.ipynb" for lesson in lessons}

    def lead(found: re.Match[str]) -> str:
        return f"[{found[0]}]({pages[found[1]]})" if found[1] in pages else found[0]

    return re.sub(r"\blesson (\d\d)\b", lead, text)
