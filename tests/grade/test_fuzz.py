"""Whatever a worker says, the grader reads a reply or an error of its own kind, and stays small."""

import json
import struct
import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_lessons.exercises.drivers import Failure, Value
from moe_lessons.grade import messages, wire

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=20),
    st.just("x" * 70_000),
)
tree = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)
dtype = st.sampled_from([*sorted(wire.DTYPES), "object", "float128", "U4", "bfloat16", "<f4", ""])
shape = st.lists(st.one_of(st.integers(-1, 5), st.integers(0, 1 << 62), st.booleans()), max_size=20)
item = st.fixed_dictionaries({}, optional={"array": tree | st.integers(-1, 4), "value": tree})
header = st.fixed_dictionaries(
    {},
    optional={
        "number": tree | st.just(7),
        "values": st.lists(st.tuples(dtype | tree, item | tree), max_size=5) | tree,
        "failure": st.tuples(st.sampled_from(messages.KINDS) | tree, tree, tree) | tree,
        "loaded": st.tuples(st.sampled_from(messages.LOADED) | tree, tree) | tree,
        "arrays": st.lists(st.tuples(dtype | tree, shape | tree), max_size=5) | tree,
    },
)


def frame(said, body, magic=b"MoE1", head=None, tail=None):
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    prefix = struct.pack(
        "<4sIQ", magic, len(text) if head is None else head, len(body) if tail is None else tail
    )
    return prefix + text + body


def taken(content):
    """What the grader makes of a frame; anything but these three would be its fault."""
    try:
        read, arrays = wire.unpack(content)
    except wire.WireError:
        return None
    found = []
    for reader in (messages.as_reply, messages.as_loaded):
        try:
            found.append(reader(read, arrays, 7))
        except wire.WireError:
            found.append(None)
    return found


@settings(max_examples=3000, deadline=None)
@given(header, st.binary(max_size=64))
def test_frames_of_the_right_build(said, body):
    found = taken(frame(said, body))
    if found is None:
        return
    reply, loaded = found
    assert reply is None or isinstance(reply, Failure) or all(type(value) is Value for value in reply)
    for value in reply if isinstance(reply, tuple) else ():
        assert type(value.data) in (np.ndarray, int, float, bool, str)
        assert np.size(value.data) <= messages.MAX_ELEMENTS
    assert loaded is None or isinstance(loaded, Failure) or (loaded[0] in messages.LOADED)


@settings(max_examples=1000, deadline=None)
@given(
    st.one_of(st.binary(max_size=80), header),
    st.binary(max_size=40),
    st.sampled_from([b"MoE1", b"MoE2", b"\x80\x04."]),
    st.none() | st.integers(0, 2**32 - 1),
    st.none() | st.integers(0, 2**64 - 1),
)
def test_frames_of_any_build(said, body, magic, head, tail):
    taken(frame(said, body, magic, head, tail))


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_good_frames_with_a_few_bytes_changed(data):
    good = bytearray(
        messages.answer(7, (Value(np.ones((2, 3), dtype=np.float32), "float32"), Value(3, "int")))
    )
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    taken(bytes(good))


def test_the_largest_frames_take_little_memory():
    body = bytes(wire.MAX_BODY)
    said = {"number": 7, "values": [["bool", {"array": 0}]] * 64, "arrays": [["bool", [len(body)]]]}
    deep = b"[" * wire.MAX_HEADER
    tracemalloc.start()
    taken(frame(said, body))
    taken(frame(deep, b""))
    taken(frame(b"[" + b"[]," * (wire.MAX_HEADER // 3 - 2) + b"1]", b""))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 << 20
