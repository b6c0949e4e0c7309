"""The built site, as files: all lessons and claims are there, no link is broken, nothing is fetched."""

import json
import re
from collections import Counter

import nbformat
import pytest
from crawl import Site

from moe_lessons.build import paths
from moe_lessons.build.execute import EXPLORABLE
from moe_lessons.exercises import registry

LESSONS = [lesson for lesson in registry.lessons() if (paths.SOLUTIONS / f"{lesson.id}.ipynb").is_file()]
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.id)


def page_of(site, lesson):
    return site.pages[f"lessons/{lesson.id}.html"]


def cells_of(lesson):
    return nbformat.read(paths.SOLUTIONS / f"{lesson.id}.ipynb", as_version=4).cells


def test_no_link_leads_nowhere(site):
    assert site.broken() == []


def test_nothing_is_loaded_from_elsewhere(site):
    assert site.loaded_from_elsewhere() == []


def test_broken_links_and_foreign_files_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="//cdn.example/a.css"><a id="here" href="#here"></a><a href="#gone"></a>'
        '<a href="b.html"></a><img src="https://cdn.example/a.png"><p style="background: url(http://cdn.example/b)">'
    )
    (tmp_path / "a.css").write_text('@import "https://cdn.example/font.css";')
    found = Site(tmp_path)
    assert found.broken() == [("a.html", "#gone"), ("a.html", "b.html")]
    assert len(found.loaded_from_elsewhere()) == 4


def test_every_executed_lesson_has_its_page_and_stands_on_the_first(site):
    first = site.pages["index.html"]
    for lesson in LESSONS:
        assert page_of(site, lesson).text.count(f"{lesson.number} · ") > 0
        assert f"lessons/{lesson.id}.html" in first.links
    assert [found["data-name"] for found in first.of_class("explorable")] == ["Sentence"]


@each_lesson
def test_a_lesson_says_its_minutes_and_where_to_open_it(site, lesson):
    page = page_of(site, lesson)
    assert f"about {lesson.minutes} minutes" in page.text
    assert paths.binder_url(lesson.id) in page.links
    assert paths.colab_url(lesson.id) in page.links


@each_lesson
def test_each_question_of_a_lesson_has_its_place(site, lesson):
    page, code = page_of(site, lesson), "\n".join(c.source for c in cells_of(lesson) if c.cell_type == "code")
    for kind, call in (("prediction", "predict"), ("reveal", "reveal"), ("quiz", "quiz")):
        asked = set(re.findall(rf'^\s*{call}\("([\w.]+)"', code, re.MULTILINE))
        assert Counter(found["data-id"] for found in page.of_class(kind)) == dict.fromkeys(asked, 1)


@each_lesson
def test_each_widget_of_a_lesson_has_its_place(site, lesson):
    """The builder marks the drawings that it took a widget from."""
    outputs = [output for cell in cells_of(lesson) for output in cell.get("outputs", [])]
    widgets = [output for output in outputs if EXPLORABLE in output.get("metadata", {})]
    assert len(page_of(site, lesson).of_class("explorable")) == len(widgets)


@each_lesson
def test_a_lesson_shows_stub_and_card_and_folds_the_solution(site, lesson):
    text = page_of(site, lesson).text
    open_text = _without_folds(text)
    for exercise in lesson.exercises:
        assert f"Exercise {exercise.id}" in open_text
        assert re.search(rf'class="n\w+">{exercise.entry}<', open_text)
    assert open_text.count("your code here") >= len(lesson.exercises)
    assert "✔ Passed" not in open_text
    assert "solutions notebook" not in text


def _without_folds(text):
    """A page's markup without what is inside <details>; folds may hold folds."""
    kept, depth = [], 0
    for part in re.split(r"(<details\b|</details>)", text):
        depth += {"<details": 1, "</details>": -1}.get(part, 0)
        kept += [part] if depth == 0 else []
    return "".join(kept)


def test_folds_are_left_out_whole():
    assert _without_folds("a<details>b<details>c</details>d</details>e") == "a</details>e"


def test_the_ledger_is_complete_and_each_claim_leads_to_its_cell(site):
    ledger = site.pages["claims.html"]
    rows = Counter((found["data-claim"], found["data-verdict"]) for found in ledger.of_class("ledger-claim"))
    assert rows == Counter((claim.id, claim.verdict) for lesson in LESSONS for claim in lesson.claims)
    for lesson in LESSONS:
        settled = Counter(found["id"] for found in page_of(site, lesson).of_class("claim"))
        assert settled == {f"claim-{claim.id}": 1 for claim in lesson.claims}
        for claim in lesson.claims:
            assert f"lessons/{lesson.id}.html#claim-{claim.id}" in ledger.links


def test_ids_stand_once_on_a_page(site):
    for name, page in site.pages.items():
        assert {id for id, n in Counter(page.ids).items() if n > 1} == set(), name


def test_formulas_are_mathml_and_drawings_follow_the_theme(site):
    page = site.pages["lessons/05_load_loss.html"].text
    assert "<math " in page
    assert "$" not in re.sub(r"<(script|pre|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert "--moe-accent" in (site.folder / "_static" / "drawings.css").read_text(encoding="utf-8")


def test_the_search_knows_text_code_and_claims(site):
    index = (site.folder / "searchindex.js").read_text(encoding="utf-8")
    terms = json.loads(index[index.index("(") + 1 : index.rindex(")")])["terms"]
    assert {"collaps", "topk_softmax", "chebyshev"} <= set(terms)


@pytest.mark.slow
def test_the_whole_site_has_its_reference_and_no_broken_link(whole_site):
    assert whole_site.broken() == []
    assert whole_site.loaded_from_elsewhere() == []
    assert "moe_lessons.routing.gates.topk_softmax" in whole_site.pages["api/routing.html"].ids
    assert f"https://github.com/{paths.slug()}/blob/main/moe_lessons/routing/gates.py#L" in (
        whole_site.pages["api/routing.html"].text
    )
