"""Effects: the lines that attempts at activities have left in the world, each a side effect."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Effect(msgspec.Struct, frozen=True):
    """One line: which attempt at which step, made by which process."""

    key: str
    step: str
    attempt: int
    interrupted: bool
    pid: int

    @property
    def operation(self) -> str:
        """The step's key in the journal, such as `read#3`: the end of its idempotency key."""
        return self.key.rpartition("/")[2]


def effects_in(log: Path) -> list[Effect]:
    """Return the lines of an effects log, oldest first; none if there is no log yet."""
    try:
        lines = log.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [msgspec.json.decode(line, type=Effect) for line in lines]
