"""Forged, malformed and endless frames on the grader's channel.

They take the worker's own ``wire`` from ``sys.modules``: an import of it is flagged before anything runs.
"""

from attacks.cell import function

REPLIES = {
    "garbage": function("import os\nos.write(3, b'garbage' * 100)\nreturn args[0]"),
    "a pickle": function("""
        import os, pickle
        class Evil:
            def __reduce__(self): return (os.system, ('touch /tmp/<marker>',))
        os.write(3, pickle.dumps(Evil()))
        return args[0]"""),
    "passed without values": function("""
        import os, sys
        wire = sys.modules['moe_lessons.grade.wire']
        for n in range(50): os.write(3, wire.pack({'number': n, 'status': 'passed', 'values': []}))
        return args[0]"""),
    "loaded again": function("""
        import os, sys
        wire = sys.modules['moe_lessons.grade.wire']
        os.write(3, wire.pack({'number': 2, 'loaded': ['function', '']}))
        return args[0]"""),
    "a huge prefix": function("import os, struct\nos.write(3, struct.pack('<4sIQ', b'MoE1', 10, 1 << 60))"),
    "a deep header": function("""
        import os, struct
        text = b'[' * 100_000
        os.write(3, struct.pack('<4sIQ', b'MoE1', len(text), 0) + text)"""),
    "a header with NaN": function("""
        import os, struct
        text = b'{"number": NaN, "values": [], "arrays": []}'
        os.write(3, struct.pack('<4sIQ', b'MoE1', len(text), 0) + text)"""),
    "arrays that overlap": function("""
        import os, struct
        text = b'{"number": 2, "values": [["float32", {"array": 0}]], "arrays": [["float32", [1073741824]]]}'
        os.write(3, struct.pack('<4sIQ', b'MoE1', len(text), 4) + text + b'abcd')"""),
    "a kind of failure of its own": function("""
        import os, sys
        wire = sys.modules['moe_lessons.grade.wire']
        os.write(3, wire.pack({'number': 2, 'failure': ['passed', 'passed', 'passed']}))"""),
    "a closed channel": function("import os\nos.close(3)\nreturn args[0]"),
    "slow half a frame": function("import os, time\nos.write(3, b'MoE1')\ntime.sleep(1000)"),
    "slow endless frame": function("""
        import os, struct
        os.write(3, struct.pack('<4sIQ', b'MoE1', 2, 15 << 20) + b'{}')
        while True: os.write(3, bytes(1 << 16))"""),
    "slow a frame byte by byte": function("""
        import os, struct, time
        os.write(3, struct.pack('<4sIQ', b'MoE1', 2, 15 << 20) + b'{}')
        while True: os.write(3, b'x') and time.sleep(0.05)"""),
    "a quarter of a gigabyte each time": function(
        "return args[0]",
        """
        import sys
        messages, wire = sys.modules['moe_lessons.grade.messages'], sys.modules['moe_lessons.grade.wire']
        wire.MAX_BODY = 1 << 40
        values = {'values': [['float16', {'array': 0}]]}
        big = [np.zeros(1 << 27, dtype=np.float16)]
        messages.answer = lambda number, reply: wire.pack({'number': number, **values}, big)""",
    ),
    "as much as the channel takes each time": function(
        "return args[0]",
        """
        import sys
        messages, wire = sys.modules['moe_lessons.grade.messages'], sys.modules['moe_lessons.grade.wire']
        values = {'values': [['float16', {'array': 0}]] * 64}
        big = [np.zeros(1 << 23, dtype=np.float16)]
        messages.answer = lambda number, reply: wire.pack({'number': number, **values}, big)""",
    ),
    "a hundred thousand arrays": function("""
        import os, struct
        text = b'{"number": 2, "values": [], "arrays": [' + b'["bool",[0]],' * 100_000 + b'["bool",[0]]]}'
        os.write(3, struct.pack('<4sIQ', b'MoE1', len(text), 0) + text)
        return args[0]"""),
    "replies ahead of time": function("""
        import os, sys
        wire = sys.modules['moe_lessons.grade.wire']
        body = {'values': [['float32', {'array': 0}]]}
        for n in range(3, 9): os.write(3, wire.pack({'number': n, **body}, [np.zeros((4, 4), np.float32)]))
        return args[0]"""),
    "open files through the channel": function("""
        import array, os, socket
        with socket.socket(fileno=os.dup(3)) as channel:
            for _ in range(100):
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0, 1, 3]))
                channel.sendmsg([b'MoE1'], [rights])
        return args[0]"""),
    "a thread that reads the channel": function("""
        import os, threading
        threading.Thread(target=lambda: [os.read(3, 100) for _ in range(100)], daemon=True).start()
        return args[0]"""),
    "a child that goes on answering": function("""
        import os
        if os.fork(): os._exit(0)
        return torch.zeros(len(args[0]), len(args[1]))"""),
}
