"""Every pytest run keeps its course progress to itself, notebooks under nbval included."""

import os
import tempfile

_home = tempfile.TemporaryDirectory(prefix="moe-lessons-")
os.environ["MOE_LESSONS_HOME"] = _home.name
# The interpreter's own ipython folder must not decide what a notebook prints.
os.environ["IPYTHONDIR"] = os.path.join(_home.name, "ipython")
