"""The map of the package is made from the imports, and its picture leaves out only what another way shows."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.build import house, paths, rooms


def test_the_page_is_up_to_date_and_making_it_twice_changes_nothing():
    text = paths.ARCHITECTURE.read_text(encoding="utf-8")
    assert house.filled(text) == text


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="lost its markers"):
        house.filled("# Architecture")


def test_every_room_stands_in_picture_and_table():
    text = paths.ARCHITECTURE.read_text(encoding="utf-8")
    picture = re.search(r"```mermaid\n(.*?)```", text, re.DOTALL)[1]
    for room in rooms.arrows():
        assert f"| [`{room}`]" in text
        assert room == "__main__" or re.search(rf"\b{room}\b", picture)


def test_paths_that_the_page_names_exist():
    text = paths.ARCHITECTURE.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (paths.ROOT / link).exists(), link
    for place in re.findall(r"`((?:[a-z_]+/)+)`", text):
        assert (paths.ROOT / place).exists() or (paths.PACKAGE / place).exists(), place
    for module in re.findall(r"`([a-z]+(?:\.[a-z_]+)+)`", text):
        if module.split(".")[0] not in rooms.arrows():
            continue  # PyTorch's, or a file's name
        name, _, last = f"moe_lessons.{module}".rpartition(".")
        assert f"{name}.{last}" in rooms.modules() or name in rooms.modules(), module


@given(st.dictionaries(st.integers(0, 7), st.sets(st.integers(0, 7)), max_size=8))
def test_reducing_keeps_what_is_reachable(drawn):
    arrows = {str(a): {str(b) for b in below if b < a} for a, below in drawn.items()}
    arrows |= {b: set() for below in list(arrows.values()) for b in below if b not in arrows}
    fewer = house.reduced(arrows)
    for name in arrows:
        assert fewer[name] <= arrows[name]
        assert rooms.reached(name, fewer) == rooms.reached(name, arrows)
        for one in fewer[name]:  # each arrow that is left is needed
            without = {**fewer, name: fewer[name] - {one}}
            assert one not in rooms.reached(name, without)
