"""Forged, malformed and endless frames on the grader's channel."""

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
        import os
        from moe_lessons.grade import wire
        for n in range(50): os.write(3, wire.pack({'number': n, 'status': 'passed', 'values': []}))
        return args[0]"""),
    "loaded again": function("""
        import os
        from moe_lessons.grade import wire
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
        import os
        from moe_lessons.grade import wire
        os.write(3, wire.pack({'number': 2, 'failure': ['passed', 'passed', 'passed']}))"""),
    "a closed channel": function("import os\nos.close(3)\nreturn args[0]"),
    "slow half a frame": function("import os, time\nos.write(3, b'MoE1')\ntime.sleep(1000)"),
    "slow endless frame": function("""
        import os, struct
        os.write(3, struct.pack('<4sIQ', b'MoE1', 2, 200 << 20) + b'{}')
        while True: os.write(3, bytes(1 << 16))"""),
}
