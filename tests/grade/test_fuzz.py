"""Whatever a worker says, the grader reads a reply or an error of its own kind, and stays small."""

import json
import random
import struct
import tracemalloc

import numpy as np
import pytest

from moe_lessons.exercises.drivers import Failure, Value
from moe_lessons.grade import messages, wire

DTYPES = [*sorted(wire.DTYPES), "object", "float128", "U4", "bfloat16", "<f4", "", None]
ODD = [
    None,
    True,
    False,
    0,
    -1,
    7,
    1 << 62,
    1 << 80,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "x" * 70_000,
    "\ud800",
]


def tree(rng, depth=0):
    """Any JSON."""
    kind = rng.random()
    if depth > 3 or kind < 0.6:
        return rng.choice(ODD)
    if kind < 0.8:
        return [tree(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["array", "value", "x", ""]): tree(rng, depth + 1) for _ in range(rng.randrange(4))}


def shape(rng):
    return [
        rng.choice([0, 1, 2, 3, 4, -1, 1 << 40, True, 2.0]) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 20]))
    ]


def item(rng):
    return rng.choice([{"array": rng.randrange(-1, 4)}, {"value": rng.choice(ODD)}, {}, tree(rng)])


def header(rng):
    """A header that is nearly one: each part may be missing, or anything at all."""
    said = {
        "number": 7,
        "values": [[rng.choice(DTYPES), item(rng)] for _ in range(rng.choice([0, 1, 1, 2, 3, 70]))],
        "failure": [rng.choice([*messages.KINDS, "passed"]), rng.choice(ODD), rng.choice(ODD)],
        "loaded": [rng.choice([*messages.LOADED, "passed"]), rng.choice(ODD)],
        "arrays": [[rng.choice(DTYPES), shape(rng)] for _ in range(rng.choice([0, 1, 1, 2, 3, 120]))],
    }
    for name in list(said):
        chance = rng.random()
        if chance < 0.4 and name not in ("number", "arrays"):
            del said[name]
        elif chance > 0.93:
            said[name] = tree(rng)
    return said


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


@pytest.mark.parametrize("seed", range(5))
def test_frames_of_nearly_the_right_build(seed):
    rng = random.Random(seed)
    replies = 0
    for _ in range(1000):
        arrays = rng.choice([b"", bytes(range(64)), bytes(4), rng.randbytes(24)])
        said = header(rng)
        if rng.random() < 0.5:  # as many bytes as one array needs
            said["arrays"] = [["float32", [2, 3]]]
            arrays = rng.randbytes(24)
        found = taken(frame(said, arrays))
        if found is None:
            continue
        reply, loaded = found
        replies += reply is not None
        assert reply is None or isinstance(reply, Failure) or all(type(value) is Value for value in reply)
        for value in reply if isinstance(reply, tuple) else ():
            assert type(value.data) in (np.ndarray, int, float, bool, str)
            assert np.size(value.data) <= messages.MAX_ELEMENTS
        assert loaded is None or isinstance(loaded, Failure) or loaded[0] in messages.LOADED
    assert replies > 20  # the frames are near enough to being right


def test_frames_of_any_build():
    rng = random.Random(0)
    for _ in range(1000):
        said = rng.choice([rng.randbytes(rng.randrange(80)), header(rng)])
        magic = rng.choice([b"MoE1", b"MoE2", b"\x80\x04.\x00"])
        head, tail = rng.choice([None, 0, 1, 2**32 - 1]), rng.choice([None, 0, 1, 2**64 - 1])
        taken(frame(said, rng.randbytes(rng.randrange(40)), magic, head, tail))


def test_good_frames_with_a_few_bytes_changed():
    rng = random.Random(0)
    whole = messages.answer(7, (Value(np.ones((2, 3), dtype=np.float32), "float32"), Value(3, "int")))
    for _ in range(2000):
        good = bytearray(whole)
        for _ in range(rng.randrange(1, 7)):
            good[rng.randrange(len(good))] = rng.randrange(256)
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
