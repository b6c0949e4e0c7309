"""Replies that would fill the grader's memory or take its time, in the limits of a frame and beyond them."""

from attacks.cell import function

_FORGE = """
    import os, sys
    messages, wire = sys.modules['moe_lessons.grade.messages'], sys.modules['moe_lessons.grade.wire']
    wire.MAX_BODY = wire.MAX_HEADER = 1 << 40
"""


def _forged(values, arrays):
    return function(
        f"{_FORGE}\nos.write(3, wire.pack({{'number': 2, 'values': {values}}}, {arrays}))\nreturn args[0]"
    )


FLOODS = {
    "sixteen million numbers": function("return torch.zeros(1 << 24)"),
    "a tall tensor": function("return torch.zeros(1 << 22, 1)"),
    "a wide tensor of truth": function("return torch.ones(1, 1 << 24, dtype=torch.bool)"),
    "a list of lists": function("x = [1.0]\nfor _ in range(20): x = [x, x]\nreturn x"),
    "a list in itself": function("x = []\nx.append(x)\nreturn x"),
    "a million names": function("return {str(n): torch.zeros(1) for n in range(10**6)}"),
    "text without end": function("return 'x' * (1 << 28)"),
    "no bytes and many axes": function("return torch.zeros((0,) * 16)"),
    "stretched from one number": function("return torch.zeros(1).expand(1 << 40)"),
    "forged, three million truths": _forged("[['bool', {'array': 0}]]", "[np.ones(3 << 20, dtype=bool)]"),
    "forged, a hundred arrays": _forged("[['bool', {'array': n}] for n in range(100)]", "[np.ones(1)] * 100"),
    "forged, sixty values of text": _forged("[['str', {'value': 'x' * 65000}]] * 60", "[]"),
    "forged, the largest numbers": _forged(
        "[['int64', {'array': 0}]]", "[np.full((4, 4), np.iinfo(np.int64).max)]"
    ),
    "forged, not numbers": _forged(
        "[['float32', {'array': 0}]]", "[np.full((2000, 100), np.nan, dtype=np.float32)]"
    ),
}
