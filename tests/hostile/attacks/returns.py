"""Things to return, or to be, that lie about what they are, or that never come to an end."""

from attacks.cell import function, shape

RETURNS = {
    "a callable": function("return lambda *args: 0"),
    "a generator": "def <entry>(*args):\n    while True:\n        yield args[0]\n",
    "a coroutine": "async def <entry>(*args):\n    return args[0]\n",
    "slow a tuple without an end": function("""
        class Endless(tuple):
            def __len__(self): return 1
            def __iter__(self):
                while True: yield 1.0
        return Endless()"""),
    "a list that says it is short": function("""
        class Short(list):
            __len__ = lambda self: 1
        return Short([1.0] * 10**6)"""),
    "a number of its own kind": function("""
        class Mine(np.float64):
            def __eq__(self, other): return True
            def __array__(self, *a, **k): raise SystemExit(0)
        return Mine(1.0)"""),
    "twenty axes": function("return np.ones((1,) * 20)"),
    "no elements and huge axes": function("return np.zeros((2**40, 0))"),
    "bytes in the wrong order": function(f"return {shape()}.numpy().astype('>f4')"),
    "a view turned around": function(f"return {shape()}.numpy()[::-1, ::-1]"),
    "one number seen a million times": function("return np.broadcast_to(np.float32(1), (1000, 1000))"),
    "a record": function("return np.zeros(3, dtype=[('x', 'f4'), ('passed', '?')])"),
    "a time": function("return np.datetime64('2026-01-01')"),
    "a masked array": function(f"return np.ma.masked_all_like({shape()}.numpy())"),
    "a NaN with a message": function(f"""
        x = {shape()}
        return (x.view(torch.int32) + 0x7FC0BEEF).view(torch.float32)"""),
    "the largest whole number": function("return torch.full((len(args[0]), len(args[1])), 2**63 - 1)"),
    "a whole number of ten thousand digits": function("return 10**10_000"),
    "text with markup and line ends": function(
        "return '</code><script>alert(1)</script>\\n\\r\\x1b[2J|`\\u202e' * 500"
    ),
    "a dtype that it says it has": function(
        "return (args[0].double() @ args[1].double().T)",
        """
        import sys
        drivers = sys.modules['moe_lessons.exercises.drivers']
        plain = drivers._to_plain
        drivers._to_plain = lambda value: drivers.Value(plain(value).data, 'float32')""",
    ),
    "an error whose name is markup": function(
        "raise type('</code><img src=x onerror=alert(1)>\\n|' * 50, (Exception,), {})('\\x1b]0;x\\x07')"
    ),
    "an error whose class has no name": function("""
        class Nameless(type):
            @property
            def __name__(cls): raise SystemExit(0)
        class E(Exception, metaclass=Nameless): pass
        raise E"""),
    "a callable whose module exits": """
class Answer:
    @property
    def __module__(self): raise SystemExit(0)
    def __call__(self, *args): return args[0]
<entry> = Answer()
""",
    "slow a callable whose name never comes": """
class Answer:
    @property
    def __module__(self):
        while True: pass
    def __call__(self, *args): return args[0]
<entry> = Answer()
""",
    "a cell too deep to compile": f"<entry> = {'-' * 90_000}1\n",
    "a cell of one long chain": f"<entry> = print{'.a' * 60_000}\n",
    "a cell in another encoding": "# coding: utf-7\n+AA-<entry> = print\n",
    "a cell with zeros": "<entry> = print\0\n",
    "a cell with half a character": "<entry> = '\ud800'\n",
}
