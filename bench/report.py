"""The report of a run: as a table to read, as Markdown to paste, as JSON to keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import msgspec

from bench.machine import Machine
from bench.workload import Figure

HEADERS = ("figure", "measured", "floor", "of what", "ratio")
NUMERIC = (1, 2, 4)
"""The columns that are set flush right."""

NOTHING = "-"


def table(figures: Iterable[Figure], machine: Machine) -> str:
    """Return the figures in columns for a terminal."""
    rows = [HEADERS, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADERS))]
    return "\n".join([str(machine), "", *(_aligned(row, widths) for row in rows)])


def markdown(figures: Iterable[Figure], machine: Machine) -> str:
    """Return the section of `bench/README.md` that holds the results."""
    rule = ["---:" if column in NUMERIC else "---" for column in range(len(HEADERS))]
    rows = [HEADERS, rule, *(_cells(figure) for figure in figures)]
    return "\n".join([f"Measured on {machine}.", "", *(f"| {' | '.join(row)} |" for row in rows)])


def json(figures: Iterable[Figure], machine: Machine, *, quick: bool) -> bytes:
    """Return everything that was measured, every repetition included."""
    document = {
        "machine": asdict(machine),
        "quick": quick,
        "figures": [
            {
                "workload": figure.workload,
                "name": figure.spec.key,
                "title": figure.spec.title,
                "unit": figure.spec.unit,
                "value": figure.value,
                "floor": figure.floor,
                "floor_title": figure.spec.floor,
                "ratio": figure.ratio,
                "values": figure.values,
                "floors": figure.floors,
            }
            for figure in figures
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document)) + b"\n"


def _cells(figure: Figure) -> tuple[str, ...]:
    unit = figure.spec.unit
    return (
        figure.spec.title,
        f"{_number(figure.value)} {unit}",
        NOTHING if figure.floor is None else f"{_number(figure.floor)} {unit}",
        figure.spec.floor or NOTHING,
        NOTHING if figure.ratio is None else f"{figure.ratio:.2f}",
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if column in NUMERIC else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


def _number(value: float) -> str:
    """Write a number with three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"
