"""What the theme leaves out for those who hear a page: names of its two side bars, levels of its captions."""

from pathlib import Path

_MENDS = {
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="The course">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="This page">',
    '<aside class="toc-drawer no-toc">': '<aside class="toc-drawer no-toc" aria-label="This page">',
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
}


def mend(page: str) -> str:
    """Add what is missing to a page; a page that has it is left as it is.

    Examples
    --------
    >>> mend('<aside class="sidebar-drawer">')
    '<aside class="sidebar-drawer" aria-label="The course">'
    """
    for lacking, whole in _MENDS.items():
        page = page.replace(lacking, whole)
    return page


def mend_all(site: Path) -> None:
    """Mend every page of a built site."""
    for file in site.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        if (mended := mend(text)) != text:
            file.write_text(mended, encoding="utf-8")
