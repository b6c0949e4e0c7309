/* What scrolls sideways takes the focus, so that the arrow keys scroll it. */
const SCROLLS = ".highlight pre, .cell_output pre, .drawing, .formula, table.docutils, .claim > div, .shown > div, .reveal > div";
const reachable = new ResizeObserver(entries => {
  for (const {target} of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
addEventListener("DOMContentLoaded", () => {
  for (const one of document.querySelectorAll(SCROLLS)) reachable.observe(one);
});

/* What comes alive changes its height: stay at the place that the address names, until the reader moves. */
const stay = new ResizeObserver(() => {
  const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (place) place.scrollIntoView({behavior: "instant"});
});
addEventListener("DOMContentLoaded", () => { if (location.hash) stay.observe(document.body); });
for (const moved of ["wheel", "touchstart", "pointerdown", "keydown"]) {
  addEventListener(moved, () => stay.disconnect(), {once: true, passive: true});
}

/* The ledger's search: words that a claim must contain, and the verdicts to show. Everything stands in the page already. */
addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector(".ledger-filters");
  if (!form) return;
  const claims = [...document.querySelectorAll(".ledger-claim")].map(row => ({
    row, id: row.dataset.claim, verdict: row.dataset.verdict, text: row.textContent.toLowerCase(),
  }));
  const sections = [...document.querySelectorAll("section section")].filter(one => one.querySelector(".ledger-claim"));

  const show = () => {
    const words = form.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = new Set([...form.querySelectorAll("input[name=verdict]:checked")].map(box => box.value));
    const shown = new Set();  // a claim that two lessons settle has two rows
    for (const {row, id, verdict, text} of claims) {
      row.hidden = !verdicts.has(verdict) || !words.every(word => text.includes(word));
      if (!row.hidden) shown.add(id);
    }
    for (const one of sections) one.hidden = !one.querySelector(".ledger-claim:not([hidden])");
    form.querySelector("[role=status]").textContent = `${shown.size} of ${new Set(claims.map(one => one.id)).size} claims`;
  };

  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", event => event.preventDefault());
});
