"""How an attack is written: as the code of an answer cell."""

from textwrap import dedent, indent


def function(body: str, before: str = "") -> str:
    return f"{dedent(before)}\ndef <entry>(*args):\n{indent(dedent(body).strip(), '    ')}\n"


def refused(attempt: str, what: str) -> str:
    """Code that must be refused: ESCAPE where it is not."""
    return function(
        f"try:\n{indent(dedent(attempt).strip(), '    ')}\nexcept Exception:\n    return args[0]\n"
        f"raise RuntimeError('ESCAPE {what}')"
    )


def shape() -> str:
    return "torch.zeros(len(args[0]), len(args[1]))"
