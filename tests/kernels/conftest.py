"""Triton asks for TRITON_INTERPRET once per process: what needs the interpreter runs in its own processes.

`test_interpreted.py` starts them; by hand: `TRITON_INTERPRET=1 pytest tests/kernels/interpreted`.
"""

import importlib.util
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the cases are a module beside the tests

collect_ignore = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["interpreted"]
if importlib.util.find_spec("triton") is None:  # it exists for Linux only
    collect_ignore += ["interpreted", "test_interpreted.py", "test_compiled.py", "test_gpu.py"]
