"""The kernel of a grading notebook: an IPython kernel that ends with the run that started it."""

import os
import sys

from moe_lessons.grade import lifeline


def main() -> None:
    """Tie this process to its parent, then be the kernel that the command line describes."""
    lifeline.die_with_parent(int(os.environ.get("MOE_LESSONS_PARENT", "0")) or None)
    # Nobody debugs a run that grades, and a debugger is seven megabytes in each judge.
    sys.modules.setdefault("debugpy", None)  # type: ignore[arg-type]  # so its import fails, as if not there
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
