"""Lets `python -m moe_lessons` do what the `moe-lessons` script does."""

from moe_lessons.commands.cli import main

if __name__ == "__main__":
    main(prog_name="moe-lessons")
