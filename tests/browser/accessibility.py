"""What a page must have for those who see little or use no mouse: axe's rules, Tab stops, readable pictures.

Only what the course puts on the page is looked at, outputs and rendered text; JupyterLab's own menus and
toolbars are not the course's to mend.
"""

from axe_playwright_python.base import AXE_SCRIPT

OURS = [".jp-Cell-outputArea", ".jp-MarkdownOutput"]

# To axe, what lies outside of a box that hides its overflow is hidden: JupyterLab's body is one, of height 0.
RUN_AXE = """async context => {
  const open = document.head.appendChild(document.createElement('style'));
  open.textContent = 'body, .jp-LabShell { overflow: visible !important; }';
  const parts = context.map(part => [part]);
  const found = await axe.run({include: parts}, {resultTypes: ['violations', 'passes']});
  open.remove();
  const told = found.violations.flatMap(rule =>
    rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 160)} ${node.failureSummary}`));
  return [told, Object.fromEntries(found.passes.map(rule => [rule.id, rule.nodes.length]))];
}"""

# Marks every control that gets the focus. Radio buttons that share a name are one stop.
WATCH_FOCUS = """() => {
  document.addEventListener('focusin', ({target}) => {
    target.dataset.reached = 'yes';
    if (target.name) document.getElementsByName(target.name).forEach(one => { one.dataset.reached = 'yes'; });
  });
  const content = jupyterapp.shell.currentWidget.content;
  content.activeCellIndex = 0;
  content.widgets[0].node.focus();
}"""

CONTROLS = "input, select, button, summary, a[href], [tabindex='0'], [contenteditable='true']"
UNREACHED = """([parts, controls]) =>
  parts.flatMap(part => [...document.querySelectorAll(`.jp-Notebook ${part}`)])
    .flatMap(part => [...part.querySelectorAll(controls)])
    .filter(one => !one.disabled && !one.closest('[disabled=true]') && one.checkVisibility())
    .filter(one => one.dataset.reached !== 'yes' && !one.matches('.jp-InternalAnchorLink'))
    .map(one => one.outerHTML.slice(0, 160))"""

TABS_AT_ONCE = 25

# For each text of each drawing: its contrast with what is painted below it, at three points along its middle.
DIM_TEXTS = """() => {
  const channels = color => (color.match(/[\\d.]+/g) || []).map(Number);
  const luminance = rgb => {
    const [r, g, b] = rgb.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (top, alpha, below) => top.map((c, i) => c * alpha + below[i] * (1 - alpha));
  const covers = (shape, x, y) => {
    if (!shape.isPointInFill) return false;
    return shape.isPointInFill(new DOMPoint(x, y).matrixTransform(shape.getScreenCTM().inverse()));
  };
  const opacity = shape => {
    let product = 1;
    for (let at = shape; at.tagName !== 'svg'; at = at.parentNode) {
      product *= Number(getComputedStyle(at).opacity);
    }
    return product;
  };
  const below = (text, x, y) => {
    const style = getComputedStyle(text);
    // A halo in the paper's colour is painted around the letters, below them.
    if (style.stroke !== 'none' && style.paintOrder.startsWith('stroke')) return channels(style.stroke);
    const drawing = text.ownerSVGElement;
    const stack = document.elementsFromPoint(x, y).reverse().filter(one => drawing.contains(one));
    let color = [255, 255, 255];
    for (const shape of stack) {
      if (shape === text) break;
      const {fill, fillOpacity} = getComputedStyle(shape);
      if (!fill.startsWith('rgb') || !covers(shape, x, y)) continue;
      color = over(channels(fill).slice(0, 3), Number(fillOpacity) * opacity(shape), color);
    }
    return color;
  };
  const dim = [];
  let checked = 0;
  for (const text of document.querySelectorAll('svg text')) {
    const box = text.getBoundingClientRect();
    if (!text.textContent.trim() || !box.width) continue;
    window.scrollTo(0, window.scrollY + box.top - 300);
    const at = text.getBoundingClientRect();
    const ink = channels(getComputedStyle(text).fill).slice(0, 3);
    checked += 1;
    const contrasts = [0.2, 0.5, 0.8].map(part => {
      const paper = below(text, at.left + part * at.width, at.top + at.height / 2);
      const shown = over(ink, opacity(text), paper);
      const [dark, light] = [luminance(shown), luminance(paper)].sort((a, b) => a - b);
      return (light + 0.05) / (dark + 0.05);
    });
    const worst = Math.min(...contrasts);
    if (worst < 4.5) dim.push(`${worst.toFixed(2)}: "${text.textContent.trim()}" in ` +
      text.ownerSVGElement.getAttribute('aria-label'));
  }
  return [dim, checked];
}"""


def violations(page):
    """What axe objects to in the course's part of a lab page, and how much each rule that passed has seen."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    return page.evaluate(RUN_AXE, OURS)


def not_reached_by_tab(page, most=1500):
    """Press Tab from the first cell on; return the controls of the course that never got the focus."""
    page.evaluate(WATCH_FOCUS)
    for _ in range(most // TABS_AT_ONCE):
        for _ in range(TABS_AT_ONCE):
            page.keyboard.press("Tab")
        left = page.evaluate(UNREACHED, [OURS, CONTROLS])
        if not left:
            break
    return left


def dim_texts(page, drawings, theme="light"):
    """Texts in drawings whose contrast with what lies below them is under 4.5; how many were looked at."""
    is_light = str(theme == "light").lower()
    body = "".join(f"<p>{drawing}</p>" for drawing in drawings)
    page.set_content(f'<body data-jp-theme-light="{is_light}">{body}</body>')
    return page.evaluate(DIM_TEXTS)
