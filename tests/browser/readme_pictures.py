"""The README's pictures: explorables as Chromium paints them, at 2x, on light and on dark paper.

``make pictures`` (this file as a script) writes those that no longer show what the page shows;
test_readme_pictures.py fails on them. A picture is known by what is on it, word for word and shape by shape
with its colour (``shows.json``), and by how it looks from afar: squares of 16 pixels, averaged, so that
another font or another way to smooth edges is no difference, and another place or another paper is one.
"""

import io
import json

import numpy as np
from bare import Bare
from chromium import launched
from PIL import Image
from thumbnails import THUMBNAILS, drawing

from moe_lessons import explore
from moe_lessons.build import paths, readme
from moe_lessons.explore.sentence.state import Params
from moe_lessons.front import page as front

THEMES = ("light", "dark")
MOVING, STILL = "sentence", "sentence-still"

SQUARE = 16
"""Pixels of a side, at 2x: half a line of text."""

COLORS = 96
"""Of a picture: enough for smooth edges, and a third less to load."""

WIDE, HIGH = 400, 267
"""A thumbnail's size in CSS pixels; it is seen smaller."""


# --- What is shown ---

CUT = """([svg, {left, top, width}, [wide, high]]) => {
  document.body.innerHTML = svg;
  const drawn = document.querySelector("svg");
  const [below] = drawn.dataset.body.split(" ");
  const says = [...drawn.querySelectorAll("text")].map(one => one.textContent);
  const shapes = {};
  for (const one of drawn.querySelectorAll("rect, line, path, circle, polyline, polygon")) {
    const {fill, stroke} = getComputedStyle(one);
    const shape = [one.tagName, fill, stroke].join(" ");
    shapes[shape] = (shapes[shape] ?? 0) + 1;
  }
  drawn.querySelectorAll(":scope > text").forEach(one => one.remove());
  drawn.setAttribute("viewBox", [left, Number(below) + top, width, width * high / wide].join(" "));
  drawn.setAttribute("width", wide);
  drawn.setAttribute("height", high);
  return {alt: drawn.getAttribute("aria-label"), says, shapes};
}"""

PAPER = "body { margin: 0; background: var(--moe-paper); } svg { display: block; }"


def thumbnails(browser, lessons=tuple(THUMBNAILS), css="", turn=lambda svg: svg):
    """Yield lesson, what is on its thumbnail, and the pictures by theme."""
    page = browser.new_page(viewport={"width": WIDE, "height": HIGH}, device_scale_factor=2)
    for lesson in lessons:
        page.emulate_media(color_scheme=THEMES[0])  # in which shapes have the colours that are written down
        page.set_content(f"<style>{front.css('stage.css')}{PAPER}{css}</style>")
        about = THUMBNAILS[lesson]
        part = {"left": about.left, "top": about.top, "width": about.width}
        shows = page.evaluate(CUT, [turn(drawing(lesson)), part, [WIDE, HIGH]])
        yield lesson, shows, {theme: shot(page, theme) for theme in THEMES}
    page.close()


def shot(page, theme, **clip):
    """What the page shows, on paper of one theme."""
    page.emulate_media(color_scheme=theme)
    return Image.open(io.BytesIO(page.screenshot(**clip))).convert("RGB")


# --- The moving picture ---

SENTENCE = "A function returns a value."
CLIP = {"x": 8, "y": 0, "width": 964, "height": 548}
ANSWERED = "!sent.length || model.get('shown').of?.[1] === sent.at(-1).n"
SAYS = """() => {
  const {values} = model.get("shown");
  const drawn = [...document.querySelectorAll(".moe-title, .moe-caption, .moe-drawn text")];
  return [JSON.stringify(values), ...drawn.map(one => one.textContent)].join(" | ");
}"""


def scenes(page):
    """Do what the moving picture shows; yield how long each moment is to be seen, in milliseconds."""
    yield 700
    page.get_by_role("textbox", name="Sentence").focus()
    for place, letter in enumerate(SENTENCE, 1):
        page.keyboard.type(letter)
        yield 110 if place < len(SENTENCE) else 1600
    for token in (1, 4):
        page.locator(f"[data-pick='{{\"Token\": {token}}}']").first.click()
        yield 1200
    for layer in (1, 2):
        page.get_by_role("combobox", name="Layer").select_option(str(layer))
        yield 1400
    page.get_by_role("slider", name="K", exact=True).focus()
    for key, ms in (("ArrowRight", 1000), ("ArrowRight", 1400), ("ArrowLeft", 500), ("ArrowLeft", 1400)):
        page.keyboard.press(key)
        yield ms


LASTS_LONG = 1000
"""A moment that is seen for so many milliseconds is looked at when a moving picture is judged."""


def film(browser, wanted=lambda ms: True):
    """Yield, for each moment of the moving picture, how long it lasts, what it says, its pictures by theme.

    Where a moment is not `wanted`, there are no pictures of it: they take longest.
    """
    bare = Bare(browser, explore.Sentence(Params(""), locked=False), width=980, device_scale_factor=2)
    bare.page.add_style_tag(content="body { background: var(--moe-paper); }")
    for ms in scenes(bare.page):
        bare.page.wait_for_function(ANSWERED)
        seen = {theme: shot(bare.page, theme, clip=CLIP) for theme in THEMES} if wanted(ms) else {}
        yield ms, bare.page.evaluate(SAYS), seen
    assert bare.problems == []
    bare.page.close()


# --- How alike two pictures are ---


def from_afar(picture):
    """A picture in squares: array of shape (rows, columns, 3), 0 to 1."""
    width, height = (max(round(size / SQUARE), 1) for size in picture.size)
    small = picture.convert("RGB").resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64) / 255


def apart(one, other):
    """How far two pictures are apart, from afar: the mean over all squares, the share that plainly differ."""
    a, b = from_afar(one), from_afar(other)
    if a.shape != b.shape:
        return 1.0, 1.0
    differences = np.abs(a - b).max(axis=2)
    return float(differences.mean()), float((differences > PLAIN).mean())


PLAIN, MEAN, SHARE = 0.25, 0.015, 0.005
"""Three other fonts: at most 0.0123 and 0.0042. Moved by 12 and 6 CSS pixels: at least 0.018 of the mean."""


def alike(one, other):
    mean, share = apart(one, other)
    return mean <= MEAN and share <= SHARE


# --- The committed ones ---


def file(name, theme):
    return paths.PICTURES / f"{name}-{theme}.webp"


def frame_at(path, ms):
    """What a moving picture shows after so many milliseconds."""
    with Image.open(path) as moving:
        ends = 0
        for n in range(moving.n_frames):
            moving.seek(n)
            moving.load()
            ends += moving.info["duration"]
            if ms < ends:
                break
        return moving.convert("RGB")


def stored(path):
    """A committed picture, or None where there is none."""
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        return picture.convert("RGB")


def fewer_colors(pictures):
    """The same pictures in `COLORS` colours, chosen over all of them."""
    sample = pictures[:: max(len(pictures) // 6, 1)]
    width, height = pictures[0].size
    sheet = Image.new("RGB", (width, height * len(sample)))
    for n, picture in enumerate(sample):
        sheet.paste(picture, (0, n * height))
    # Half of them as they are, so that paper stays paper; the rest for the edges between them.
    common = sorted(sheet.getcolors(1 << 24), reverse=True)[: COLORS // 2]
    mixed = sheet.quantize(COLORS // 2).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette([*(part for _, color in common for part in color), *mixed[: 3 * (COLORS // 2)]])
    return [p.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB") for p in pictures]


def write(path, pictures, durations=None):
    """Write a picture, or a moving one that goes on for ever."""
    first, *others = fewer_colors(pictures)
    how = {"lossless": True, "quality": 90, "method": 4}
    if durations:
        how |= {"save_all": True, "append_images": others, "duration": durations, "loop": 0}
        how |= {"minimize_size": True}
    path.parent.mkdir(exist_ok=True)
    first.save(path, "WEBP", **how)
    print(f"{path.relative_to(paths.ROOT)}: {path.stat().st_size / 1000:,.0f} kB")


def main():
    """Write what is stale, and into the README what it shows."""
    known = paths.shows()
    shows = {}
    with launched() as browser:
        for lesson, about, seen in thumbnails(browser):
            shows[lesson] = about
            for theme, picture in seen.items():
                old = stored(file(lesson, theme))
                if old is None or known.get(lesson) != about or not alike(old, picture):
                    write(file(lesson, theme), [picture])
        durations, says, moments = zip(*film(browser), strict=True)
    shows[MOVING] = {"alt": ALT, "says": list(says), "durations": list(durations)}
    for theme in THEMES:
        pictures = [seen[theme] for seen in moments]
        if known.get(MOVING) != shows[MOVING] or not same_film(file(MOVING, theme), pictures, durations):
            write(file(MOVING, theme), pictures, list(durations))
            write(file(STILL, theme), [pictures[len(SENTENCE)]])
    text = json.dumps(shows, indent=1, ensure_ascii=False, sort_keys=True)
    (paths.PICTURES / "shows.json").write_text(text + "\n", encoding="utf-8")
    page = paths.README.read_text(encoding="utf-8")
    paths.README.write_text(readme.filled(page), encoding="utf-8", newline="\n")


ALT = (
    "A sentence is typed, letter by letter. Each token is a row; the router's eight scores are bars in it, "
    "and the two best experts light up. Beside it the weighted answers for one token and their sum, below it "
    "the load of each expert."
)


def same_film(path, pictures, durations):
    """Whether a moving picture shows these pictures, each of them at its time."""
    if not path.is_file():
        return False
    starts = np.cumsum([0, *durations[:-1]])
    middles = [start + ms / 2 for start, ms in zip(starts, durations, strict=True)]
    return all(alike(frame_at(path, at), p) for at, p in zip(middles, pictures, strict=True) if p is not None)


if __name__ == "__main__":
    main()
