"""A page without a browser: it sends what a learner does to an explorable, and keeps what it was shown."""

import pytest


class Page:
    """What `stage.js` is to an explorable: one request after the other, and the last answer."""

    def __init__(self, explorable):
        explorable._repr_mimebundle_()
        self.explorable, self.n = explorable, 0

    @property
    def widget(self):
        return self.explorable._view._widget._widget

    def send(self, **wish):
        self.n += 1
        self.widget._handle_custom_msg({"view": "test", "n": self.n, **wish}, [])
        assert self.shown["of"] == ["test", self.n]

    def set(self, label, value):
        self.send(set={label: value})

    def go(self, label):
        self.send(go=[landmark["label"] for landmark in self.widget.fixed["landmarks"]].index(label))

    def commit(self, option):
        self.send(commit=option)

    @property
    def shown(self):
        return self.widget.shown

    @property
    def asked(self):
        return self.widget.asked

    def locked(self, label):
        return label in self.shown["locked"]


@pytest.fixture
def page_of():
    """Shows explorables, and takes them off the page afterwards."""
    pages = []

    def show(explorable):
        pages.append(Page(explorable))
        return pages[-1]

    yield show
    for page in pages:
        page.explorable.close()
