"""What an answer prints: kept apart from what the course says, and cut short."""

import io


class Printed(io.TextIOBase):
    """Keeps the beginning of what an answer prints, and counts the rest.

    Examples
    --------
    >>> printed = Printed()
    >>> print("x" * 5000, file=printed)
    >>> printed.shown().splitlines()[-1]
    '... and 3,001 characters more'
    """

    limit = 2000

    def __init__(self) -> None:
        self.kept, self.total = "", 0

    def write(self, text: str) -> int:
        """Take a text, as a file does."""
        self.kept += text[: self.limit - len(self.kept)]
        self.total += len(text)
        return len(text)

    def shown(self) -> str:
        """What to show of it."""
        more = self.total - len(self.kept)
        return self.kept.rstrip() + (f"\n... and {more:,} characters more" if more else "")
