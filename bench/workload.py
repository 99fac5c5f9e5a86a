"""A workload: what is measured, what it is compared with, and at which size."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

Readings = Mapping[str, float]
"""What one repetition measured, by the key of its `Spec`."""


@dataclass(frozen=True)
class Size:
    """How many workflows (or samples), and how many steps or signals in each."""

    count: int
    each: int = 1


@dataclass(frozen=True)
class Spec:
    """One figure: its name in the table, its unit, and what its floor is."""

    key: str
    title: str
    unit: str
    floor: str | None
    pick: Callable[[Sequence[float]], float] = statistics.median
    """How repetitions become one figure; the floor's are picked in the same way."""


@dataclass(frozen=True)
class Workload:
    """How to take the readings of one or more figures."""

    name: str
    specs: tuple[Spec, ...]
    full: Size
    quick: Size
    measure: Callable[[Scratch, Size], Readings]
    floor: Callable[[Scratch, Size], Readings] | None = None


@dataclass(frozen=True)
class Figure:
    """One line of the table: every reading, and the figure made of them."""

    workload: str
    spec: Spec
    values: tuple[float, ...]
    floors: tuple[float, ...]

    @property
    def value(self) -> float:
        return self.spec.pick(self.values)

    @property
    def floor(self) -> float | None:
        return self.spec.pick(self.floors) if self.floors else None

    @property
    def ratio(self) -> float | None:
        """The figure divided by its floor; None if there is no floor to divide by."""
        return self.value / self.floor if self.floor else None


class Scratch:
    """A directory that gives every run a new file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = 0

    def file(self) -> Path:
        """Return the path of a file that does not exist yet."""
        self._files += 1
        return self._directory / f"{self._files}.db"


class WrongResult(Exception):
    """The engine did something else than what was to be measured: there is no figure."""


def expect(actual: object, expected: object, what: str) -> None:
    """Raise WrongResult unless both are equal: a wrong answer is not worth timing."""
    if actual != expected:
        raise WrongResult(f"{what}: expected {expected!r}, got {actual!r}")


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that `percent` of all samples do not exceed."""
    rank = ceil(len(samples) * percent / 100)
    return sorted(samples)[max(rank, 1) - 1]
