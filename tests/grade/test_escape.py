"""Text of learners is data in every format, whatever it is made of."""

import csv
import io
import re
import unicodedata
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.grade import escape

anything = st.one_of(
    st.text(st.characters(), max_size=60),  # all of Unicode, lone surrogates too
    st.text(
        st.sampled_from("=+-@|%\t\r\n \u00a0\u200b\ufeff\u3000\u202e`*_[]()<>&'\"#!~\\:.1x"), max_size=30
    ),
)


class Collected(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_data(self, data):
        self.text += data


def parsed(html):
    found = Collected()
    found.feed(html)
    found.close()
    return found


@given(anything)
def test_html_is_text_between_tags_and_in_attributes(text):
    shown = parsed(f"<p>{escape.html(text)}</p>")
    assert shown.tags == [("p", [])]
    assert shown.text == escape.visible(text)
    assert parsed(f'<p title="{escape.html(text)}">').tags == [("p", [("title", escape.visible(text))])]


@given(anything)
def test_a_message_is_emphasis_and_code_at_most(text):
    assert {tag for tag, _ in parsed(escape.prose(text)).tags} <= {"em", "code"}
    assert all(attrs == [] for _, attrs in parsed(escape.prose(text)).tags)


@given(anything)
def test_a_cell_of_a_markdown_table_stays_one(text):
    shown = escape.markdown(text)
    assert "\n" not in shown
    # Every sign that Markdown knows is escaped, so nothing of it is left to begin anything.
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", shown)
    assert not set(bare) & set("\\`*_{}[]()<>|#!&~@:$^")
    assert not re.search(r"www\.|https?:", shown)


@given(anything)
def test_no_field_of_a_table_is_a_formula(text):
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL).writerow([escape.csv(text), 1])
    (row,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    first = "".join(c for c in row[0] if not c.isspace() and unicodedata.category(c)[0] not in "CZ")[:1]
    assert unicodedata.normalize("NFKC", first)[:1] not in set("=+-@")
    assert row[1] == "1"


@pytest.mark.parametrize(
    "blank", ["", " ", "\t", "\u00a0", "\u200b", "\u3000", "\ufeff", "\u2060", "\u180e", "\u2800"]
)
@pytest.mark.parametrize("sign", list("=+-@＝＋－＠﹦﹢﹣﹫"))
def test_formulas_behind_blanks_are_text(blank, sign):
    assert escape.csv(f"{blank}{sign}1+1").startswith("'")


@given(anything)
def test_xml_can_be_read_again(text):
    element = ElementTree.Element("a", b=escape.xml(text))
    element.text = escape.xml(text)
    read = ElementTree.fromstring(ElementTree.tostring(element, encoding="utf-8"))
    assert read.text is None or read.text.replace("\n", "") == escape.xml(text).replace("\r", "").replace(
        "\n", ""
    )


@given(anything, st.sampled_from(["utf-8", "ascii", "cp1252"]))
def test_a_terminal_gets_what_it_can_show(text, encoding):
    shown = escape.terminal(text, encoding)
    assert shown.encode(encoding).decode(encoding) == shown
    assert shown.isprintable()


@given(anything)
def test_a_name_is_a_name(text):
    assert re.fullmatch(r"[\w.]{0,100}", escape.name(text), re.ASCII)


@given(anything)
def test_nothing_steers_what_is_around_it(text):
    kinds = {unicodedata.category(c) for c in escape.visible(text) if c not in "\u200c\u200d"}
    assert not kinds & {"Cc", "Cf", "Cs"}
