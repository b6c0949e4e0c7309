"""A page of the course without the built site: its places alone, served from a folder."""

import json
import sys
from contextlib import contextmanager

from serving import serving

from moe_lessons import explore
from moe_lessons.build import paths

sys.path.insert(0, str(paths.ROOT))
from web.bundle import bundle

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width">
<style>body {{ margin: 0 auto; padding: 0 8px; max-width: 820px; }}</style></head>
<body data-theme="{theme}"><main>{places}</main>
<script type="module" src="_static/course.js"></script></body></html>"""

NAMES = tuple(name for name in explore.__all__ if name != "LiveView")


def explorable(name):
    """The place of an explorable, with its static strip."""
    return f'<div class="explorable" data-name="{name}">{getattr(explore, name)().static().svg}</div>'


def question(kind, id):
    """The place of a prediction, a reveal or a quiz."""
    return f'<div class="{kind}" data-id="{id}"><p>What is read without scripts.</p></div>'


class Site:
    """A folder with what the bundle makes, and the pages that tests write into it."""

    def __init__(self, folder, address):
        self.folder, self.address = folder, address
        self.sizes = bundle(folder)

    def page(self, *places, name="page.html", theme="light"):
        """Write a page of these places; returns its address."""
        (self.folder / name).write_text(PAGE.format(places="".join(places), theme=theme), encoding="utf-8")
        return f"{self.address}/{name}"


@contextmanager
def site(folder):
    """Serve a folder."""
    with serving(folder) as address:
        yield Site(folder, address)


class Reader:
    """Someone who reads a page; ``problems`` is what went wrong or left the machine."""

    def __init__(self, browser, address, script="", start=True, **context):
        self.address = address
        self.context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **context})
        self.problems = []
        self.context.on("request", self._requested)
        self.page = self.context.new_page()
        self.page.set_default_timeout(90_000)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._said)
        if script:
            self.page.add_init_script(script)
        if start:
            self.page.goto(address)

    def _requested(self, request):
        if not request.url.startswith(("http://127.0.0.1", "data:", "blob:")):
            self.problems.append(f"request off the machine: {request.url}")

    def _said(self, message):
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def place(self, name):
        """Where an explorable stands."""
        return self.page.locator(f".explorable[data-name={name}]")

    def wake(self, name, by_key=False):
        """Touch an explorable, and wait until it is alive; returns its place."""
        place = self.place(name)
        button = place.get_by_role("button", name="Bring it to life")
        if by_key:
            button.focus()
            self.page.keyboard.press("Enter")
        else:
            button.click()
        place.locator(".moe-drawn > svg").wait_for()
        return place

    def kept(self):
        """What the browser has kept."""
        return json.loads(self.page.evaluate("localStorage.getItem('moe-lessons') ?? '{}'"))
