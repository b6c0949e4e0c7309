"""Whose the parts are: a card, and what would make them all yours."""

import html
from dataclasses import dataclass

from moe_lessons.course.show import Card, inline
from moe_lessons.exercises import registry
from moe_lessons.own.parts import ROLES, Parts


@dataclass(frozen=True)
class Row:
    """One part: its function, exercise and role, whether it is yours, and what stopped it, if anything."""

    name: str
    id: str
    role: str
    is_yours: bool
    stopped: str

    @property
    def works(self) -> bool:
        """Whether it is yours wherever it was called."""
        return self.is_yours and not self.stopped


def rows(parts: Parts) -> list[Row]:
    """Look at each part; what is no `course.parts.Part` is nobody's."""
    found = []
    for name, (id, role) in ROLES.items():
        part = getattr(parts, name)
        yours, stopped = getattr(part, "own", None) is not None, getattr(part, "stopped", "")
        found.append(Row(registry.exercise(id).entry, id, role, yours, stopped))
    return found


def summary(parts: Parts) -> str:
    """Say it in text: a line for each part, how many are yours, and what is left to do.

    Examples
    --------
    >>> print(summary(Parts.published()).splitlines()[0])
    0 of 12 parts are yours
    """
    table = rows(parts)
    lines = [f"{sum(row.works for row in table)} of {len(table)} parts are yours"]
    lines += [f"  {_whose(row):<15}{row.name:<19}{row.role}" for row in table]
    return "\n".join([*lines, *_left(table)])


def parts_card(parts: Parts) -> Card:
    """Show the same as a card; after a run it knows which of yours stopped.

    Parameters
    ----------
    parts : Parts

    Returns
    -------
    Card

    Examples
    --------
    >>> print(repr(parts_card(Parts.published())).splitlines()[-1][:55])
    To make it 12, pass 01.router_logits, 01.topk_gates, 02
    """
    table = rows(parts)
    n_yours = sum(row.works for row in table)
    cell = '<td style="text-align:left;vertical-align:top">'
    body = "".join(
        f"<tr>{cell}{_strong(row)}</td>{cell}<code>{row.name}</code></td>{cell}{row.id}</td>"
        f"{cell}{html.escape(row.role)}</td></tr>"
        for row in table
    )
    left = "".join(f'<p style="margin:.4em 0 0">{inline(line)}</p>' for line in _left(table))
    title = f"<strong>{n_yours} of {len(table)} parts are yours</strong>"
    bar = f'<progress value="{n_yours}" max="{len(table)}" aria-label="parts that are yours"></progress>'
    return Card(summary(parts), f"<p>{title} {bar}</p><table>{body}</table>{left}")


def _whose(row: Row) -> str:
    return "✔ yours" if row.works else "✘ yours" if row.is_yours else "the package's"


def _strong(row: Row) -> str:
    return f"<strong>{_whose(row)}</strong>" if row.is_yours else _whose(row)


def _left(table: list[Row]) -> list[str]:
    """What stopped, and what would make all of them yours."""
    lines = [
        f"{row.name} ({row.id}) stopped with {row.stopped}; the package's went on. "
        "Mend it, and run its check again."
        for row in table
        if row.stopped
    ]
    open_ids = sorted(row.id for row in table if not row.is_yours)
    if open_ids:
        lines.append(f"To make it {len(table)}, pass {_listed(open_ids)}.")
    elif not lines:
        lines.append("Every one of them. This model is yours.")
    return lines


def _listed(ids: list[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{', '.join(ids[:-1])} and {ids[-1]}"
