import sys
from pathlib import Path

# `together` starts processes; `workers` is what they run.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "training" / "distributed")]
