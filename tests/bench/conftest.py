"""`benchmarks/` is no package: its scripts find what they share beside them, and so do these tests."""

import sys

from moe_lessons.build import paths

sys.path.insert(0, str(paths.ROOT / "benchmarks"))
