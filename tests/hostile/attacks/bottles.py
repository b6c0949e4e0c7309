"""What an answer leaves behind for the next one, in the same notebook or of another learner.

Messages are left by cases whose names begin with "bottle a", and looked for by those with "bottle b", which
come later in the class.
"""

from attacks.cell import function, shape

_PLACES = "('/tmp', '/var/tmp', '/dev/shm', '/dev', '/run', '/scratch', '/', '/kit', '/proc')"
_FOUND = "raise RuntimeError('ESCAPE a message from another answer')"

BOTTLES = {
    "bottle a file": function(
        f"""
        import os
        for place in {_PLACES}:
            try: open(place + '/<marker>-bottle', 'w').write('hello')
            except OSError: pass
        return args[0]"""
    ),
    "bottle a module": function(
        f"return {shape()}",
        """
        import builtins, os, sys, types
        sys.modules['<marker>'] = types.ModuleType('<marker>')
        builtins.marker = os.environ['MARKER'] = 'hello'
        torch.Tensor.marker = torch.marker = np.marker = 'hello'
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)""",
    ),
    "bottle a thread, a handler and an exit hook": function(
        f"return {shape()}",
        """
        import atexit, faulthandler, os, signal, sys, threading, time
        def stay():
            while True: time.sleep(0.1)
        for number in (1, 2, 3, 10, 12, 13, 14, 15): signal.signal(number, lambda *a: os._exit(0))
        atexit.register(stay)
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        threading.Thread(target=stay).start()
        sys.setswitchinterval(1000)""",
    ),
    "bottle a process": function("""
        import os, signal, time
        if os.fork() == 0:
            for number in range(1, 65):
                try: signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError): pass
            os.setsid()
            while True: time.sleep(0.1)
        return args[0]"""),
    "bottle b file found": function(f"""
        import os
        for place in {_PLACES}:
            if os.path.exists(place + '/<marker>-bottle'): {_FOUND}
        if any(os.path.isfile('/tmp/' + name) for name in os.listdir('/tmp')): {_FOUND}
        return args[0]"""),
    "bottle b module found": function(f"""
        import builtins, os, sys
        if '<marker>' in sys.modules or 'MARKER' in os.environ or hasattr(builtins, 'marker'): {_FOUND}
        if hasattr(torch, 'marker') or torch.get_default_dtype() != torch.float32: {_FOUND}
        return args[0]"""),
    "bottle b process found": function(f"""
        import os, signal, threading
        if threading.active_count() > 1 or signal.getitimer(signal.ITIMER_REAL)[0]: {_FOUND}
        for pid in range(3, 400):
            if pid == os.getpid(): continue
            try: os.kill(pid, 0)
            except ProcessLookupError: continue
            except PermissionError: pass
            {_FOUND}
        return args[0]"""),
    "bottle b shared memory by name": function(f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        for name in (b'/<marker>', b'/torch', b'/sem.<marker>'):
            if libc.shm_open(name, 2, 0o600) >= 0: {_FOUND}
        return args[0]"""),
    "bottle b open files": function(f"""
        import os, stat
        for number in range(4, 512):
            try: os.fstat(number)
            except OSError: continue
            {_FOUND}
        for number in (0, 1, 2):
            if not stat.S_ISCHR(os.fstat(number).st_mode): {_FOUND}
        return args[0]"""),
    "bottle b anything of the course's": function("""
        import os
        libraries = {'usr', 'torch', 'triton', 'numpy', 'scipy', 'sympy', 'nvidia'}
        for place, folders, files in os.walk('/'):
            folders[:] = set(folders) - libraries
            for name in files:
                told = name.endswith('.ipynb') or name in ('job.json', 'graded.jsonl', 'verdicts.jsonl')
                told = told or (name.startswith('answer-') and name.endswith('.json'))
                if told or 'canary' in name: raise RuntimeError('ESCAPE saw ' + os.path.join(place, name))
        return args[0]"""),
    "bottle b a reference in memory": function("""
        import gc, types
        for thing in gc.get_objects():
            if isinstance(thing, types.FunctionType) and str(thing.__module__).startswith('moe_'):
                if 'reference' in thing.__name__ or '.router.' in thing.__module__:
                    raise RuntimeError('ESCAPE found ' + thing.__qualname__)
        return args[0]"""),
}
