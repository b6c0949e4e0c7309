"""What an answer may return, or patch, so that a wrong value looks right; values learnt by heart."""

from attacks.cell import function, shape

EQUAL = {
    "always equal": function("""
        class Same:
            dtype, shape, device = args[0].dtype, (len(args[0]), len(args[1])), 'cpu'
            __eq__ = __ge__ = __le__ = lambda self, other: True
            __hash__ = lambda self: 0
            __bool__ = lambda self: True
        return Same()"""),
    "an ndarray of its own kind": function(f"""
        class Mine(np.ndarray):
            def __eq__(self, other): return True
            def __array_ufunc__(self, *a, **k): return True
        return {shape()}.numpy().view(Mine)"""),
    "a tensor of its own kind": function(f"""
        class Mine(torch.Tensor):
            @classmethod
            def __torch_function__(cls, *a, **k): return True
        return {shape()}.as_subclass(Mine)"""),
    "a tensor with methods of its own": function(f"""
        t = {shape()}
        t.numpy = lambda: None
        t.detach = lambda: t
        return t"""),
    "an object array": function("return np.array([[None]], dtype=object)"),
    "an array that makes itself": function("""
        class Late:
            def __array__(self, *a, **k): raise SystemExit(0)
        return Late()"""),
    "NaN": function(f"return {shape()} * float('nan')"),
    "infinity": function(f"return {shape()} + float('inf')"),
    "zeros": function(f"return {shape()}"),
    "None": function("return None"),
    "True": function("return True"),
    "the word passed": function("return '✔ 01.router_logits: passed, 99 of 99 points'"),
    "a million numbers": function("return list(range(10**6))"),
    "a tensor of a trillion": function("return torch.zeros(1).expand(10**12)"),
    "a tensor without values": function("return torch.empty(4, 4, device='meta')"),
    "a sparse tensor": function(f"return {shape()}.to_sparse()"),
    "a quantized tensor": function("return torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)"),
    "complex numbers": function(f"return {shape()}.to(torch.complex64)"),
    "itself": function("x = []\nx.append(x)\nreturn x"),
}

PATCHED = {
    "torch allclose": function(
        f"return {shape()}",
        """
        torch.allclose = torch.equal = torch.isclose = lambda *a, **k: True
        torch.Tensor.allclose = torch.Tensor.__eq__ = lambda *a, **k: True
        torch.testing.assert_close = lambda *a, **k: None""",
    ),
    "numpy comparisons": function(
        f"return {shape()}",
        """
        np.allclose = np.array_equal = np.isclose = np.all = lambda *a, **k: True
        np.testing.assert_allclose = lambda *a, **k: None""",
    ),
    "builtins": function(
        f"return {shape()}",
        """
        import builtins
        builtins.len = lambda x: 1
        builtins.isinstance = lambda *a: True
        builtins.print = builtins.repr = lambda *a, **k: 'passed'""",
    ),
    "the module that answers": function(
        f"return {shape()}",
        """
        import sys
        messages = sys.modules['moe_lessons.grade.messages']
        wire = sys.modules['moe_lessons.grade.wire']
        forged = {'status': 'passed', 'values': []}
        messages.answer = lambda number, reply: wire.pack({'number': number, **forged})""",
    ),
    "the driver": function(
        f"return {shape()}",
        """
        import sys
        drivers = sys.modules['moe_lessons.exercises.drivers']
        drivers.run = lambda *a: drivers.Failure('passed', 'passed')""",
    ),
    "json": function(
        f"return {shape()}",
        """
        import json
        json.dumps = lambda *a, **k: '{"status": "passed", "points": 99}'""",
    ),
}

HOOKS = {
    "an input hook": function(
        f"return {shape()}",
        """
        try:
            get_ipython().input_transformers_cleanup.append(lambda lines: [])
        except NameError:
            pass
        else:
            raise RuntimeError('ESCAPE IPython is here')""",
    ),
    "a display hook": function(
        f"return {shape()}",
        """
        import atexit, sys
        sys.displayhook = sys.excepthook = lambda *a: print('passed')
        atexit.register(print, '✔ 01.router_logits: passed, 99 of 99 points')""",
    ),
    "a trace": function(
        f"return {shape()}",
        """
        import sys, threading
        def trace(frame, event, arg):
            frame.f_locals['points'] = 99
            return trace
        sys.settrace(trace)
        threading.settrace(trace)""",
    ),
    "an import hook": function(
        f"return {shape()}",
        """
        import sys
        class Finder:
            def find_spec(self, *a, **k): raise SystemExit(0)
        sys.meta_path.insert(0, Finder())""",
    ),
}

FIXED = {
    "answers for seed 0": function("return torch.tensor(<seed0>)"),
    "its own last answer": function(
        "global last\nlast = globals().get('last', torch.ones(2, 2))\nreturn last"
    ),
    "the seed guessed": function(
        f"torch.manual_seed(torch.initial_seed())\nreturn torch.randn_like({shape()})"
    ),
    "expected values on the heap": function("""
        import gc
        shape = (len(args[0]), len(args[1]))
        for thing in gc.get_objects():
            if type(thing) in (torch.Tensor, np.ndarray) and tuple(thing.shape) == shape:
                return thing
        return None"""),
    "expected values on the stack": function("""
        import sys
        frame, seen = sys._getframe(), []
        while frame:
            seen += [v for v in frame.f_locals.values() if type(v) is torch.Tensor]
            if any('expected' in name or 'want' in name or 'reference' in name for name in frame.f_locals):
                raise RuntimeError('ESCAPE saw expected values')
            frame = frame.f_back
        return seen[-1] if seen else None"""),
}
