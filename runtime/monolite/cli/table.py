"""Tables: columns that line up."""

from __future__ import annotations

from collections.abc import Sequence

from monolite.cli.words import plain

GAP = "  "


def table(rows: Sequence[Sequence[str]], *, indent: str = "") -> str:
    """Return rows of equal length as lines; the last column is as wide as it wants."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        indent + GAP.join(map(str.ljust, row, [*widths[:-1], 0])).rstrip() for row in rows
    )
