"""A machine: one directory as the kernel shows it, the medium below, and what goes wrong with it.

It ends by a halt at one of its operations, or when a test says so. What comes next starts in a
fresh directory: with what the medium held (the power failed), or with what the kernel showed
(only the process died).
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.simulation.faults import Fault, Halt, Operation, Part, Plan
from tests.simulation.medium import Medium

EVICTING = 0.3
"""How often the kernel has let go of pages by the time a new process looks."""


class Machine:
    """Where a simulated file lives, between two crashes."""

    def __init__(
        self,
        directory: Path,
        chance: Random,
        *,
        medium: Medium | None = None,
        plan: Plan | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.chance = chance
        self.medium = medium or Medium()
        self.plan = plan or Plan()
        self.halted = False
        self.halted_in: tuple[Operation, Part] | None = None

    def halt(self) -> None:
        """Stop the machine: what any connection still does to its files has no effect."""
        self.halted = True

    def begin(self, operation: Operation, part: Part) -> Fault | None:
        """Count an operation that is about to happen; raises Halt if it never will."""
        fault = self.plan.strike(operation, part)
        if self.plan.operations == self.plan.halt_at:
            self.halted_in = operation, part
            if self.chance.random() < 0.5:
                self._stop()
        return fault

    def end(self) -> None:
        """The operation is done; raises Halt if its caller never learns of that."""
        if self.plan.operations == self.plan.halt_at:
            self._stop()

    def _stop(self) -> None:
        self.halt()
        raise Halt

    # What comes after.

    def after_power_cut(self, directory: Path) -> Machine:
        """Return the machine with the power back: it has what the medium held."""
        self.halt()
        files = self.medium.settled(self.chance)
        found = Machine(directory, self.chance, medium=Medium(files))
        for name, content in files.items():
            (directory / name).write_bytes(content)
        return found

    def after_restart(self, directory: Path) -> Machine:
        """Return the machine after the death of the process: the kernel's memory lives on."""
        self.halt()
        evicting = self.chance.random() < EVICTING
        found = Machine(directory, self.chance, medium=self.medium)
        for name, inode in self.medium.names.items():
            shown = (self.directory / name).read_bytes()
            content = inode.evicted(shown, self.chance) if evicting else shown
            (directory / name).write_bytes(content)
        return found
