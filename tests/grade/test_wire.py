"""The channel: what goes in comes out, and nothing else is believed."""

import json
import socket
import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_lessons.exercises.drivers import Failure, Request, Value
from moe_lessons.grade import messages, wire

VALUES = (
    Value(np.arange(6, dtype=np.float32).reshape(2, 3), "bfloat16"),
    Value(np.array(3), "int64"),
    Value(np.zeros((0, 4)), "float64"),
    Value(np.array([True, False]), "bool"),
    Value(np.arange(4)[::2], "int64"),
    Value(float("inf"), "float"),
    Value(-7, "int"),
    Value(True, "bool"),
    Value("text \udcff", "str"),
)


def frame(header, body=b""):
    text = json.dumps(header).encode()
    return struct.pack("<4sIQ", b"MoE1", len(text), len(body)) + text + body


def test_values_survive_the_journey():
    header, arrays = wire.unpack(messages.answer(5, VALUES))
    for sent, came in zip(VALUES, messages.as_reply(header, arrays, 5), strict=True):
        assert came.dtype == sent.dtype
        assert type(came.data) is type(sent.data)
        np.testing.assert_array_equal(came.data, sent.data)
        if isinstance(sent.data, np.ndarray):
            assert (came.data.dtype, came.data.shape) == (sent.data.dtype, sent.data.shape)


def test_requests_survive_the_journey():
    sent = Request(
        "gradient", {"x": np.ones((2, 3)), "k": 2, "name": "a", "none": None}, {"x": "bfloat16"}, {}
    )
    came = messages.as_request(*wire.unpack(messages.call(1, sent)))
    assert (came.driver, came.casts, came.options) == (sent.driver, sent.casts, sent.options)
    np.testing.assert_array_equal(came.args["x"], sent.args["x"])
    assert [came.args[name] for name in ("k", "name", "none")] == [2, "a", None]


@pytest.mark.parametrize(
    "data",
    [
        np.array([1j]),
        np.array(["a"]),
        np.array([None]),
        np.ones((1,) * 20),
        np.ones(1 << 22),
        10**30,
        "x" * 100_000,
        b"bytes",
        [1, 2],
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_cannot_travel_is_a_bad_return(data):
    header, arrays = wire.unpack(messages.answer(1, (Value(data, "odd"),)))
    reply = messages.as_reply(header, arrays, 1)
    assert isinstance(reply, Failure)
    assert reply.kind == "bad return"


def test_a_dtype_is_what_came_not_what_is_said():
    lies = (Value(np.ones(2), "float32"), Value(np.ones(2), "bfloat16"), Value(3, "bool"))
    came = messages.as_reply(*wire.unpack(messages.answer(1, lies)), 1)
    assert [value.dtype for value in came] == ["float64", "float64", "int"]


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"MoE1",
        frame([]),
        frame({}),
        frame({"arrays": 3}),
        frame({"arrays": [["float64", [2]]]}),
        frame({"arrays": [["float64", [-1]]]}),
        frame({"arrays": [["object", [0]]]}),
        frame({"arrays": [["float64", [True]]]}, b"x" * 8),
        frame({"arrays": [["float64", [10**40, 0]]]}),
        frame({"arrays": [["uint8", [1] * 40]]}, b"x"),
        frame({"arrays": []}, b"left over"),
        frame({"arrays": [["bool", [0]]] * 101}),
        struct.pack("<4sIQ", b"EVIL", 2, 0) + b"{}",
        struct.pack("<4sIQ", b"MoE1", 2**31, 0),
        struct.pack("<4sIQ", b"MoE1", 2, 2**60) + b"{}",
        struct.pack("<4sIQ", b"MoE1", 100_000, 0) + b"[" * 100_000,
        struct.pack("<4sIQ", b"MoE1", 4, 0) + b"\xff\xfe{}",
    ],
)
def test_forged_frames_are_refused(forged):
    with pytest.raises(wire.WireError):
        wire.unpack(forged)


@pytest.mark.parametrize(
    "header",
    [
        {"number": 2, "values": []},
        {"number": True, "values": []},
        {"values": []},
        {"number": 1},
        {"number": 1, "values": 3},
        {"number": 1, "values": [["float64"]]},
        {"number": 1, "values": [["float64", {"array": 0}]]},
        {"number": 1, "values": [["float64", {"array": -1}]]},
        {"number": 1, "values": [["float64", {"value": None}]]},
        {"number": 1, "values": [["float64", {"value": [1]}]]},
        {"number": 1, "values": [["int", {"value": 10**30}]]},
        {"number": 1, "values": [[3, {"value": 1}]]},
        {"number": 1, "values": [["int", {"value": 1}]] * 1000},
        {"number": 1, "failure": ["passed", "", ""]},
        {"number": 1, "failure": ["exception", 3, ""]},
        {"number": 1, "failure": None},
        {"number": 1, "failure": [{}, "", ""]},
    ],
)
def test_forged_replies_are_refused(header):
    with pytest.raises(wire.WireError):
        messages.as_reply(header, [], 1)


@given(st.data())
def test_a_damaged_frame_is_refused_or_harmless(data):
    whole = bytearray(messages.answer(1, VALUES[:3]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        reply = messages.as_reply(*wire.unpack(bytes(whole)), 1)
    except wire.WireError:
        return
    assert isinstance(reply, Failure) or all(isinstance(value, Value) for value in reply)


def test_a_silent_channel_runs_out_of_time_and_a_closed_one_ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            wire.receive(ours, began + 0.1)
        assert time.monotonic() - began < 5
        theirs.sendall(b"MoE1")
        theirs.close()
        with pytest.raises(EOFError):
            wire.receive(ours, time.monotonic() + 5)
