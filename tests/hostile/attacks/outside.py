"""Reaching outside: the network, files, other processes, more rights; the packaged references."""

from attacks.cell import function, refused, shape

OUTSIDE = {
    "network": refused("import socket; socket.create_connection(('127.0.0.1', <port>), 1)", "network"),
    "datagrams": refused("import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', <port>))", "network"),
    "local sockets": refused("import socket; socket.socket(socket.AF_UNIX)", "sockets"),
    "sockets of virtual machines": refused("import socket; socket.socket(40, 1)", "sockets to the host"),
    "names": refused("import socket; socket.getaddrinfo('localhost', 80)", "name service"),
    "write the canary": refused("open('<canary>', 'a').write('x')", "wrote outside"),
    "write beside the course": refused("open('<repo>/<marker>', 'w')", "wrote outside"),
    "write to home": refused("import os; open('/root/<marker>', 'w')", "wrote outside"),
    "write to var": refused("open('/var/tmp/<marker>', 'w')", "wrote outside"),
    "write to shm": refused("open('/dev/shm/<marker>', 'w')", "wrote outside"),
    "write beside torch": refused(
        "import os; open(os.path.dirname(os.path.dirname(torch.__file__)) + '/<marker>.py', 'w')",
        "wrote a module",
    ),
    "write among the course's modules": refused("open('<repo>/moe_lessons/<marker>', 'w')", "wrote outside"),
    "write to the kit": refused("open('/kit/start.py', 'a')", "wrote to the kit"),
    "a link to the canary": refused(
        "import os; os.symlink('<canary>', '/tmp/l'); open('/tmp/l').read()", "read outside"
    ),
    "read the canary": refused("open('<canary>').read()", "read outside"),
    "read the solutions": refused("open('<repo>/solutions/01_router.ipynb').read()", "read the solutions"),
    "read the specs": refused("open('<repo>/moe_lessons/exercises/registry.py').read()", "read the specs"),
    "read another submission": refused("open('<honest>').read()", "read another submission"),
    "read the users": refused("open('/etc/passwd').read()", "read outside"),
    "see processes": refused("import os; os.listdir('/proc')[0]", "saw processes"),
    "see itself": refused("open('/proc/self/maps').read()", "saw /proc"),
    "run a shell": refused("import subprocess; subprocess.run(['/bin/sh', '-c', 'true'])", "ran a program"),
    "run python": refused(
        "import os, sys; os.execv(sys.executable, [sys.executable, '-c', ''])", "ran python"
    ),
    "become root": refused("import os; os.setuid(0)", "became root"),
    "mount": refused(
        """
        import ctypes
        if ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None): raise OSError""",
        "mounted",
    ),
    "new namespaces": refused(
        """
        import ctypes
        if ctypes.CDLL(None).unshare(0x10000000): raise OSError""",
        "made a namespace",
    ),
    "trace the keeper": refused(
        """
        import ctypes
        if ctypes.CDLL(None).ptrace(16, 1, 0, 0): raise OSError""",
        "traced its parent",
    ),
    "change root": refused("import os; os.chroot('/tmp')", "changed root"),
    "raise its limits": refused(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NPROC, (10_000, 10_000))""",
        "raised its limits",
    ),
    "secrets in the environment": function("""
        import os
        if 'HOSTILE_SECRET' in os.environ: raise RuntimeError('ESCAPE environment')
        return args[0]"""),
}

REFERENCES = {
    "import": "from moe_lessons.routing import topk_routing as <entry>\n",
    "import inside": function(
        "from moe_lessons.routing.gates import router_logits\nreturn router_logits(*args)"
    ),
    "import by text": function("return getattr(__import__('moe_' + 'lessons.routing'), 'routing')"),
    "import by importlib": function("""
        import importlib
        return importlib.import_module(''.join(['moe', '_lessons.exercises.registry']))"""),
    "import from the repository": function("""
        import sys
        sys.path.insert(0, '<repo>')
        for name in [n for n in sys.modules if n.startswith('moe_' + 'lessons')]: del sys.modules[name]
        module = __import__('moe_' + 'lessons.routing')
        raise RuntimeError('ESCAPE imported the references')"""),
    "import swallowed": function(f"""
        try: return __import__('moe_' + 'lessons.exercises.router.router_logits').REFERENCE(*args)
        except Exception: return {shape()}"""),
    "transformers' own": function("import transformers\nraise RuntimeError('ESCAPE imported transformers')"),
    "exec of text": function("exec('from moe_' + 'lessons.layer import *')\nreturn args[0]"),
}
