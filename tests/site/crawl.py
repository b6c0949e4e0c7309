"""Reads a built site as a folder of files: what each page links to, loads and holds."""

import re
from functools import cached_property
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

# Attributes whose address a browser fetches by itself, without a click.
LOADED = {"src", "srcset", "poster", "data"}
_FETCHING_LINKS = {
    "stylesheet",
    "icon",
    "preload",
    "prefetch",
    "modulepreload",
    "manifest",
    "dns-prefetch",
    "preconnect",
}
_IN_STYLES = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Page(HTMLParser):
    """One page: its ids, its links, what it loads, and its elements that carry data."""

    def __init__(self, file):
        super().__init__()
        self.file, self.ids, self.links, self.loads, self.marked = file, [], [], [], []
        self.text = file.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        found = {name: value or "" for name, value in attributes}
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and _FETCHING_LINKS & set(found.get("rel", "").split()):
            self.loads.append(found["href"])
        self.loads += [address for name in LOADED & set(found) for address in found[name].split(", ")]
        self.loads += _in_style(found.get("style", ""))
        if {"data-name", "data-id", "data-verdict"} & set(found) or found.get("class") == "claim":
            self.marked.append(found)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def of_class(self, name):
        """The marked elements of a class, in their order."""
        return [found for found in self.marked if found.get("class") == name]


def _in_style(text):
    return [a or b for a, b in _IN_STYLES.findall(text)]


class Site:
    """A folder of pages."""

    def __init__(self, folder):
        self.folder = folder

    @cached_property
    def pages(self):
        return {file.relative_to(self.folder).as_posix(): Page(file) for file in self.folder.rglob("*.html")}

    def broken(self):
        """Links within the site that lead nowhere, as (page, address)."""
        found = []
        for name, page in self.pages.items():
            for address in [*page.links, *page.loads]:
                if not self._leads_somewhere(page, address):
                    found.append((name, address))
        return found

    def _leads_somewhere(self, page, address):
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            return True
        target = (page.file.parent / unquote(parts.path)).resolve() if parts.path else page.file
        if not target.is_file():
            return False
        if not parts.fragment or target.suffix != ".html":
            return True
        there = self.pages[target.relative_to(self.folder.resolve()).as_posix()]
        return unquote(parts.fragment) in there.ids or parts.fragment == ""

    def loaded_from_elsewhere(self):
        """What pages and style sheets would fetch from another machine, as (file, address)."""
        found = [(name, address) for name, page in self.pages.items() for address in page.loads]
        for file in self.folder.rglob("*.css"):
            text = file.read_text(encoding="utf-8")
            found += [(file.name, address) for address in _in_style(text)]
        return [
            (name, address)
            for name, address in found
            if urlsplit(address).scheme in ("http", "https") or address[:2] == "//"
        ]
