"""Moving a slider by keyboard, and timing each move from the key to the picture."""

import os
import statistics

from playwright.sync_api import expect

OFF = ".moe-panel :is(input, button, select):disabled"
MOVES = 50
BUDGET_MS = 50

# Times every move in the page itself, from the key to the frame after the picture has changed.
WATCH = """picture => {
  window.moves = [];
  let begin = null;
  document.addEventListener('keydown', () => { begin = performance.now(); }, true);
  new MutationObserver(() => {
    if (begin === null) return;
    const from = begin;
    begin = null;
    requestAnimationFrame(() => window.moves.push(performance.now() - from));
  }).observe(picture, {childList: true, subtree: true, characterData: true, attributes: true});
}"""


def wait_locked(shown):
    """Wait until an explorable is there whose controls wait for a prediction."""
    expect(shown.locator(OFF)).not_to_have_count(0)


def wait_unlocked(shown):
    """Wait until an explorable is there of which nothing waits for a prediction."""
    shown.locator(".moe-panel input").first.wait_for()
    expect(shown.locator(OFF)).to_have_count(0)


def drag(notebook, explorable, slider):
    """Move a slider of an explorable by arrow keys; return the milliseconds of each move."""
    page = notebook.page
    shown = notebook.select(notebook.index_of_source(explorable))
    wait_unlocked(shown)
    picture = shown.locator(".moe-drawn")
    pictures = {picture.inner_html()}
    picture.evaluate(WATCH)
    shown.locator(".moe-panel input[type=range]").nth(slider).focus()
    for move in range(MOVES):
        page.keyboard.press("ArrowRight" if move % 10 < 5 else "ArrowLeft")
        page.wait_for_function("n => window.moves.length >= n", arg=move + 1, polling=100, timeout=300_000)
        pictures.add(picture.inner_html())
    assert len(pictures) > 5
    moves = page.evaluate("window.moves")
    median = statistics.median(moves)
    print(
        f"{explorable}, slider to pixels: median {median:.0f} ms, worst {max(moves):.0f} ms, n={len(moves)}"
    )
    return moves


def within_budget(moves):
    """Whether the median keeps the budget, where STRICT_TIMING asks; a busy machine proves nothing."""
    assert len(moves) == MOVES
    return not os.environ.get("STRICT_TIMING") or statistics.median(moves) <= BUDGET_MS
