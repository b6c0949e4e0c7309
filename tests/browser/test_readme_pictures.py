"""The README's pictures show what the page shows now, and its first screen has the way in."""

import pytest
import readme_pictures as made
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from moe_lessons.build import paths

pytestmark = pytest.mark.browser

STALE = "{} no longer shows what the page does: run `make pictures`"


@pytest.fixture(scope="module")
def known():
    return paths.shows()


@pytest.fixture(scope="module")
def seen(browser):
    """What each thumbnail says, and how it looks."""
    return {lesson: (shows, pictures) for lesson, shows, pictures in made.thumbnails(browser)}


@pytest.mark.parametrize("lesson", made.THUMBNAILS)
def test_a_thumbnail_shows_its_lesson(lesson, seen, known):
    shows, pictures = seen[lesson]
    assert known[lesson] == shows, STALE.format(lesson)
    for theme, picture in pictures.items():
        assert made.alike(made.stored(made.file(lesson, theme)), picture), STALE.format(f"{lesson}-{theme}")


def test_the_moving_picture_shows_what_the_explorable_does(browser, known):
    durations, says, moments = zip(*made.film(browser, lambda ms: ms >= made.LASTS_LONG), strict=True)
    assert known[made.MOVING] == {"alt": made.ALT, "says": list(says), "durations": list(durations)}, (
        STALE.format(made.MOVING)
    )
    for theme in made.THEMES:
        pictures = [pictures.get(theme) for pictures in moments]
        assert sum(picture is not None for picture in pictures) > 5
        moving = made.file(made.MOVING, theme)
        assert made.same_film(moving, pictures, durations), STALE.format(moving.name)
        still = made.stored(made.file(made.STILL, theme))
        assert made.alike(still, pictures[len(made.SENTENCE)]), STALE.format(made.STILL)


@pytest.mark.parametrize("font", ["DejaVu Serif", "DejaVu Sans Mono", "DejaVu Sans Condensed"])
def test_another_font_is_no_difference(font, browser, seen):
    other = f"text {{ font-family: '{font}' !important; font-stretch: condensed; }}"
    for lesson, shows, pictures in made.thumbnails(browser, css=other):
        assert shows == seen[lesson][0]
        assert made.alike(seen[lesson][1]["light"], pictures["light"]), (lesson, font)


def test_another_place_paper_or_colour_is_one(browser, seen):
    for lesson, _, pictures in made.thumbnails(browser, css="svg { translate: 12px 6px; }"):
        assert not made.alike(seen[lesson][1]["light"], pictures["light"]), lesson
        assert not made.alike(seen[lesson][1]["light"], seen[lesson][1]["dark"]), lesson
    recolored = made.thumbnails(browser, ("01_router",), turn=lambda svg: svg.replace("#E69F00", "#D55E00"))
    ((_, shows, _),) = recolored
    assert shows != seen["01_router"][0]
    assert shows["says"] == seen["01_router"][0]["says"]


# A README's column on GitHub: its width, and the type that heights depend on.
COLUMN = """
body { margin: 0 auto; width: 846px; font: 16px/1.5 sans-serif; color-scheme: light dark; }
h1 { font-size: 2em; margin: 11px 0 16px; }
h2 { font-size: 1.5em; margin: 24px 0 16px; }
p, table, pre { margin: 0 0 16px; }
pre { padding: 16px; font: 13.6px/1.45 monospace; }
td { padding: 6px 13px; }
td img { max-width: 100%; height: auto; }
"""


@pytest.fixture
def readme(browser, tmp_path):
    """Opens the README as a page, its pictures beside it."""
    opened = []

    def readme(**context):
        body = markdown2html_mistune(paths.README.read_text(encoding="utf-8"))
        head = f'<meta charset="utf-8"><base href="{paths.ROOT.as_uri()}/"><style>{COLUMN}</style>'
        file = tmp_path / "readme.html"
        file.write_text(f"<!doctype html>{head}{body}", encoding="utf-8")
        opened.append(browser.new_page(viewport={"width": 1280, "height": 900}, **context))
        opened[-1].goto(file.as_uri())
        return opened[-1]

    yield readme
    for page in opened:
        page.close()


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
@pytest.mark.parametrize("theme", made.THEMES)
def test_the_first_screen_has_picture_links_and_start(theme, motion, readme):
    page = readme(color_scheme=theme, reduced_motion=motion)
    first = page.locator("picture img").first  # before it stands a badge
    shown = first.evaluate("image => image.currentSrc.split('/').at(-1)")
    assert shown == made.file(made.STILL if motion == "reduce" else made.MOVING, theme).name
    links = page.locator("a:not(.anchor-link)").evaluate_all(
        "links => links.map(a => [a.textContent, a.getBoundingClientRect().top])"
    )
    assert [text for text, top in links if text and top < first.bounding_box()["y"]] == [
        "Read",
        "Run in the browser",
        "on Colab",
        "Install",
    ]
    commands = (
        page.locator("h2", has_text="Start").locator("xpath=following-sibling::pre").first.bounding_box()
    )
    assert commands["y"] + commands["height"] <= 900
    pictures = page.locator("picture img").evaluate_all(
        "images => images.map(i => [i.alt.length > 20, i.naturalWidth > 0])"
    )
    assert pictures == [[True, True]] * (1 + len(made.THUMBNAILS))
