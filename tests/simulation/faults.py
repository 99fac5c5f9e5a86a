"""Faults: what goes wrong with a disk, and at which of its operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import apsw

Operation = Literal["write", "sync", "truncate", "open", "delete", "read"]
Part = Literal["main", "log", "journal", "other"]
Trouble = Literal["EIO", "ENOSPC", "short"]

COUNTED: tuple[Operation, ...] = ("write", "sync", "truncate", "open", "delete")
"""Operations between which a machine may stop. Reading changes nothing."""

REFUSALS: dict[Operation, int] = {
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "open": apsw.SQLITE_CANTOPEN,
    "delete": apsw.SQLITE_IOERR_DELETE,
    "read": apsw.SQLITE_IOERR_READ,
}
"""What SQLite's own file layer answers when the system call of an operation fails."""


class Halt(BaseException):
    """The machine stops here, in the middle of whatever it did."""


@dataclass(frozen=True)
class Fault:
    """One operation that fails, and with `forever` all that come after it too."""

    operation: Operation
    trouble: Trouble
    at: int
    forever: bool = False
    part: Part | None = None

    def error(self) -> apsw.Error:
        """Return what the operation raises."""
        full = self.operation == "write" and self.trouble != "EIO"
        error = apsw.exception_for(apsw.SQLITE_FULL if full else REFUSALS[self.operation])
        assert isinstance(error, apsw.Error)
        return error


class Plan:
    """What will go wrong, and what has: counts operations, so that the n-th one can be hit."""

    def __init__(self, *faults: Fault, halt_at: int | None = None, lies: bool = False) -> None:
        self.faults: tuple[Fault, ...] = faults
        self.halt_at = halt_at
        """The machine stops at this operation, counted from 1."""
        self.lies = lies
        """Whether syncs return without having done anything."""
        self.operations = 0
        self.counts: Counter[tuple[Operation, Part | None]] = Counter()
        self.struck: list[Fault] = []
        """The faults that came to pass, in order, as often as they did."""

    def strike(self, operation: Operation, part: Part) -> Fault | None:
        """Count an operation, and return the fault that hits it, if one does."""
        self.counts[operation, part] += 1
        self.counts[operation, None] += 1
        if operation != "read":
            self.operations += 1
        for fault in self.faults:
            if fault.operation == operation and fault.part in (None, part):
                number = self.counts[operation, fault.part]
                if number == fault.at or (fault.forever and number > fault.at):
                    self.struck.append(fault)
                    return fault
        return None

    def add(self, faults: Iterable[Fault]) -> None:
        self.faults += tuple(faults)
