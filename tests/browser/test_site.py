"""The built site in a browser, served as files: nothing fails, nothing leaves, all of it fits, axe agrees."""

import os
import subprocess
import sys

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from serving import serving

from moe_lessons.build import paths
from moe_lessons.exercises import registry

pytestmark = pytest.mark.browser

LESSONS = [one.id for one in registry.lessons() if (paths.SOLUTIONS / f"{one.id}.ipynb").is_file()]
PAGES = ["index", "claims", "glossary", "log", "changelog", "api/index", *(f"lessons/{id}" for id in LESSONS)]
WIDTHS = (360, 768, 1440)

VIOLATIONS = """async () => {
  const found = await axe.run(document, {resultTypes: ['violations']});
  return found.violations.flatMap(rule =>
    rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 160)} ${node.failureSummary}`));
}"""
IN_SIGHT = """id => {
  const {top} = document.getElementById(id).getBoundingClientRect();
  return top >= 0 && top < innerHeight;
}"""
TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 5).map(one => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """Where the site is served; SITE names one that is built already."""
    folder = os.environ.get("SITE")
    if not folder:
        made = tmp_path_factory.mktemp("site")
        options = ["--out", made / "site", "--work", made / "work", "--no-reference"]
        subprocess.run([sys.executable, "-m", "moe_lessons.build.site", *options], cwd=paths.ROOT, check=True)
        folder = made / "site"
    with serving(folder) as address:
        yield address


@pytest.fixture
def open_page(browser, address):
    """Opens a page of the site; what fails there, or leaves the machine, fails the test."""
    opened, problems = [], []

    def open_page(name, **options):
        page = browser.new_page(**{"viewport": {"width": 1440, "height": 900}} | options)
        opened.append(page)
        page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: problems.append(asked.url) if _leaves(asked.url, address) else None)
        page.goto(f"{address}/{name}")
        return page

    yield open_page
    for page in opened:
        page.close()
    assert problems == []


def _leaves(url, address):
    return not url.startswith((address, "data:", "blob:", "about:"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_quietly_and_fits_every_width(open_page, name):
    page = open_page(f"{name}.html")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(TOO_WIDE) == [], width


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("name", ["index", "lessons/04_collapse", "claims"])
def test_axe_has_nothing_to_say(open_page, name, width, theme):
    page = open_page(f"{name}.html", viewport={"width": width, "height": 900}, color_scheme=theme)
    page.evaluate(AXE_SCRIPT)
    assert page.evaluate(VIOLATIONS) == []


def distinct(rows):
    return len({row.get_attribute("data-claim") for row in rows.all()})


def test_the_ledger_is_searched_and_filtered(open_page):
    page = open_page("claims.html")
    rows, said = page.locator(".ledger-claim:visible"), page.get_by_role("status")
    everything = distinct(rows)
    page.get_by_role("searchbox", name="Search the claims").fill("mixtral")
    found = distinct(rows)
    assert 0 < found < everything
    assert said.inner_text() == f"{found} of {everything} claims"
    page.get_by_role("checkbox", name="Wrong").uncheck()
    assert 0 < distinct(rows) < found
    assert all(row.get_attribute("data-verdict") != "wrong" for row in rows.all())


def test_a_claim_leads_to_the_cell_that_settles_it(open_page):
    page = open_page("claims.html")
    page.locator("#L73").get_by_role("link", name="the cell that settles it").click()
    page.wait_for_url("**/lessons/04_collapse.html#claim-L73")
    claim = page.locator("#claim-L73")
    assert "Some balancing mechanism is essential." in claim.inner_text()
    page.wait_for_function(IN_SIGHT, arg="claim-L73")


def test_the_search_finds_a_lesson(open_page):
    page = open_page("search.html?q=collapse")
    page.locator("#search-results li a", has_text="Collapse").first.wait_for()


def test_the_lamp_turns_drawings_too(open_page):
    page = open_page("lessons/04_collapse.html", color_scheme="light")
    scheme = "() => getComputedStyle(document.querySelector('.drawing > svg')).colorScheme"
    page.evaluate("() => { document.body.dataset.theme = 'dark'; }")
    assert page.evaluate(scheme) == "dark"
    page.evaluate("() => { document.body.dataset.theme = 'light'; }")
    assert page.evaluate(scheme) == "light"


def test_without_scripts_everything_can_be_read(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/lessons/04_collapse.html")
    assert page.locator(".explorable svg").count() == 1
    assert page.locator(".prediction").first.is_visible()
    page.goto(f"{address}/claims.html")
    assert page.locator(".ledger-claim:visible").count() > 100
    context.close()
