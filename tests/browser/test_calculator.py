"""The calculator of lesson 03, the explorable with the most text to redraw: its sliders keep up."""

import pytest
import sliders
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_prediction_unlocks_the_calculator(open_notebook):
    notebook = open_notebook("notebooks/03_counting.ipynb")
    assert notebook.run_all() == []
    sliders.wait_locked(notebook.select(notebook.index_of_source("calculator")))
    question = notebook.select(notebook.find('predict("03.cache"')).locator(".moe-card")
    question.get_by_role("radio").first.click()
    question.get_by_role("button", name="Commit").click()
    expect(question).to_contain_text("You predicted")
    assert sliders.within_budget(sliders.drag(notebook, "calculator", slider=0))
    assert notebook.problems == []
