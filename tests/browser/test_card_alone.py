"""A question card on a page without Jupyter: the same module, with Python behind it through one function."""

import json

import accessibility
import pytest
from playwright.sync_api import expect

from moe_lessons.course import predictions, quizzes, store
from moe_lessons.exercises import registry
from moe_lessons.front import page as page_files

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Cards</title>
<style>{css}</style></head>
<body data-jp-theme-light="{light}" style="background: {paper}"><main>{places}</main></body></html>"""

# A model as a widget manager makes it; what is sent goes to Python, and what comes back is the new state.
START = """async ([source, states]) => {
  window.models = {};
  for (const [id, state] of Object.entries(states)) {
    const heard = {}, kernel = {comm_live: true}, data = {card: state, id};
    const tell = event => (heard[event] ?? []).forEach(told => told());
    models[id] = {gone() { kernel.comm_live = false; tell('comm_live_update'); }};
    // Each widget loads the module for itself, as in a notebook.
    const url = URL.createObjectURL(new Blob([source], {type: 'text/javascript'}));
    const {default: {render}} = await import(url);
    await render({el: document.getElementById(id), model: {
      get: name => data[name],
      on: (event, told) => (heard[event] ??= []).push(told),
      off: () => {},
      widget_manager: {get_model: async () => kernel},
      send: async message => {
        data.card = JSON.parse(await engine(id, JSON.stringify(message)));
        tell('change:card');
      },
    }});
  }
}"""

UP, NUMBER, QUIZ = "01.norm", "00.softmax", "00.topk"


@pytest.fixture
def open_cards(browser, monkeypatch, tmp_path):
    """Opens a page with a prediction, a number to type and a quiz; returns it and their places."""
    monkeypatch.setenv("MOE_LESSONS_HOME", str(tmp_path))
    monkeypatch.setattr(store, "_unsaved", None)
    monkeypatch.setattr(store, "_apart", False)
    monkeypatch.setattr(predictions, "_revealed", {})
    asked = registry.prediction(UP)
    respond = {
        UP: lambda answer: predictions._commit(asked, answer)[1],
        NUMBER: lambda answer: quizzes._respond(registry.quiz(NUMBER), answer)[1],
        QUIZ: lambda answer: quizzes._respond(registry.quiz(QUIZ), answer)[1],
    }
    faces = {UP: predictions._face(asked), **{id: quizzes._face(registry.quiz(id)) for id in (NUMBER, QUIZ)}}
    pages = []

    def open_cards(light=True, width=760):
        page = browser.new_page(viewport={"width": width, "height": 900})
        pages.append(page)
        page.expose_function(
            "engine", lambda id, message: json.dumps(respond[id](json.loads(message)["answer"]).state(1))
        )
        places = "".join(f'<div id="{id}"></div>' for id in faces)
        paper, theme = ("#ffffff", "true") if light else ("#111111", "false")
        css = page_files.css("card.css")
        page.set_content(PAGE.format(css=css, light=theme, paper=paper, places=places))
        page.evaluate(START, [page_files.source("card.js"), {id: face.state() for id, face in faces.items()}])
        return page, [page.locator(f'[id="{id}"]') for id in faces]

    yield open_cards
    for page in pages:
        page.close()


def test_keys_choose_and_enter_commits_for_good(open_cards):
    page, (up, _, _) = open_cards()
    options = up.get_by_role("radio")
    options.first.focus()
    for pressed, chosen in (("c", 2), ("a", 0), ("ArrowUp", 3), ("z", 3), ("ArrowDown", 0), ("B", 1)):
        page.keyboard.press(pressed)
        expect(options.nth(chosen)).to_have_attribute("aria-checked", "true")
        expect(options.nth(chosen)).to_be_focused()
    assert store.load()["predictions"] == {}
    page.keyboard.press("Enter")
    expect(up.get_by_role("status").first).to_contain_text("You predicted b)")
    expect(up.locator(".moe-mine")).to_contain_text("your prediction")
    expect(up).to_contain_text("You double the length")
    expect(options).to_have_count(0)
    assert store.load()["predictions"] == {UP: 1}


def test_no_two_cards_share_an_id(open_cards):
    """A shared one gives a question the name of another for whoever hears the page."""
    page, cards = open_cards()
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(set(ids)) == len(ids)
    expect(cards[2].get_by_role("radiogroup")).to_have_accessible_name(
        "☑ Check yourself. Top-k. What are the indices of torch.tensor([0.1, 2.0, -1.0, 0.7]).topk(2)?"
    )


PUT_IN_LATE = """async ([source, state]) => {
  const module = new Blob([source], {type: 'text/javascript'});
  const {default: {render}} = await import(URL.createObjectURL(module));
  const el = document.createElement('div');
  await render({el, model: {get: name => ({card: state})[name], on: () => {}, off: () => {}}});
  place.append(el);
}"""


def test_the_twin_is_hidden_by_a_card_that_is_drawn_before_it_is_in_the_page(browser):
    """Which comes first is for the page to say."""
    page = browser.new_page()
    face = quizzes._face(registry.quiz(QUIZ))
    page.set_content(f'<div id="place">{face.html(alive=True)}</div>')
    twin = page.locator(f".{face.name}")
    expect(twin).to_be_visible()
    page.evaluate(PUT_IN_LATE, [page_files.source("card.js"), face.state()])
    expect(page.locator(".moe-card")).to_be_visible()
    expect(twin).to_be_hidden()
    page.close()


def test_enter_on_an_option_that_is_not_chosen_only_chooses_it(open_cards):
    page, (up, _, _) = open_cards()
    up.get_by_role("radio").first.focus()
    page.keyboard.press("Enter")
    expect(up.get_by_role("radio").first).to_have_attribute("aria-checked", "true")
    assert store.load()["predictions"] == {}


@pytest.mark.parametrize("typed", ["3/4", "75%", "75 %", "0,75"])
def test_a_changed_number_clears_the_verdict(open_cards, typed):
    page, (_, number, _) = open_cards()
    field = number.get_by_role("textbox")
    field.fill("0.5")
    page.keyboard.press("Enter")
    expect(number).to_contain_text("Not quite. Your number: 0.5. The answer: 0.75.")
    expect(number.get_by_role("img")).to_have_count(1)
    field.fill(typed)
    expect(number.locator(".moe-said")).to_be_empty()
    page.keyboard.press("Enter")
    expect(number).to_contain_text("Right.")
    expect(field).to_have_value(typed)
    expect(field).to_be_focused()


def test_a_changed_choice_clears_the_verdict_and_the_right_one_is_ticked(open_cards):
    page, (_, _, quiz) = open_cards()
    quiz.get_by_role("radio").nth(2).click()
    quiz.get_by_role("button", name="Answer").click()
    expect(quiz).to_contain_text("Not quite.")
    expect(quiz.locator(".moe-tick")).to_have_count(0)
    page.keyboard.press("b")
    expect(quiz.locator(".moe-said")).to_be_empty()
    page.keyboard.press("Enter")
    expect(quiz.locator(".moe-true")).to_contain_text("✔ right")
    expect(quiz.locator(".moe-true")).to_contain_text("your answer")


def test_without_a_kernel_there_is_nothing_to_press(open_cards):
    page, places = open_cards()
    places[1].get_by_role("textbox").fill("3/4")
    page.keyboard.press("Enter")
    expect(places[1]).to_contain_text("Right.")
    for id in (UP, NUMBER, QUIZ):
        page.evaluate("id => models[id].gone()", id)
    for place in places:
        expect(place).to_contain_text("Run this cell to bring it to life.")
        expect(place.get_by_role("radio")).to_have_count(0)
        expect(place.get_by_role("button")).to_have_count(0)
    expect(places[1].get_by_role("textbox")).to_be_disabled()
    expect(places[1]).to_contain_text("Right.")


@pytest.mark.parametrize("light", [True, False])
def test_axe_finds_nothing_asked_answered_or_left(open_cards, light, monkeypatch):
    monkeypatch.setattr(accessibility, "OURS", ["main"])
    page, (up, number, quiz) = open_cards(light, width=420)
    up.get_by_role("radio").first.click()
    asked = accessibility.violations(page)
    page.keyboard.press("Enter")
    number.get_by_role("textbox").fill("2")
    page.keyboard.press("Enter")
    quiz.get_by_role("radio").nth(1).click()
    page.keyboard.press("Enter")
    expect(quiz).to_contain_text("Right.")
    answered = accessibility.violations(page)
    for id in (UP, NUMBER, QUIZ):
        page.evaluate("id => models[id].gone()", id)
    left = accessibility.violations(page)
    for found, passed in (asked, answered, left):
        assert found == []
        assert "color-contrast" in passed
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
