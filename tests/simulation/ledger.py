"""The ledger: what was tried and what was acknowledged, kept outside of what is tested."""

from __future__ import annotations

from random import Random

from tests.simulation.batch import Batch, Contents


class Lost(AssertionError):
    """The file does not hold what was promised."""


class Ledger:
    """Knows what a file may hold, and what it must."""

    def __init__(self) -> None:
        self._settled = Contents()
        """What the file was last seen to hold."""
        self._settled_to = 0
        self._tried: list[Batch] = []
        self._acknowledged_to = 0
        self._epoch = 0
        self._openings = 0
        self._file_id: str | None = None
        self.acknowledged = 0
        self.survived = 0
        """Batches that are in the file though nobody was told so: that is allowed."""

    def draw(self, chance: Random) -> Batch:
        """Note that a batch is going to be tried."""
        batch = Batch.drawn(chance, self._settled_to + len(self._tried) + 1, self._expected())
        self._tried.append(batch)
        return batch

    def acknowledge(self, batch: Batch) -> None:
        """Note that a batch was reported as durable."""
        self._acknowledged_to = batch.number
        self.acknowledged += 1

    def refuse(self, batch: Batch) -> None:
        """Note that a batch was reported as not written at all."""
        assert self._tried[-1] is batch
        self._tried.pop()

    def try_opening(self) -> None:
        self._openings += 1

    def acknowledge_opening(self, epoch: int, file_id: str) -> None:
        """Judge what an owner was told when the file had opened."""
        if not self._epoch < epoch <= self._epoch + self._openings:
            raise Lost(f"epoch {epoch} after {self._epoch} and {self._openings} openings")
        if self._file_id not in (None, file_id):
            raise Lost("it is another file")
        self._epoch, self._openings, self._file_id = epoch, 0, file_id

    @property
    def promised(self) -> bool:
        """Whether anybody was told anything that the file has to keep."""
        return self._epoch > 0 or self._acknowledged_to > 0

    def judge(self, found: Contents) -> None:
        """Raise Lost unless the file holds a prefix of what was tried, and all acknowledged."""
        numbers = found.numbers()
        last = len(numbers)
        if numbers != list(range(1, last + 1)):
            raise Lost(f"the batches in the file have holes: {numbers}")
        if last < self._acknowledged_to:
            raise Lost(f"{self._acknowledged_to} were acknowledged, {last} are there")
        if last > self._settled_to + len(self._tried):
            raise Lost(f"batch {last} was never tried")
        tried = self._tried[: last - self._settled_to]
        self._tried = tried
        if found != self._expected():
            raise Lost("the rows of a batch are not what was written")
        self.survived += last - self._acknowledged_to
        self._settled, self._settled_to, self._tried = found, last, []
        self._acknowledged_to = last

    def _expected(self) -> Contents:
        contents = self._settled.copy()
        for batch in self._tried:
            batch.apply(contents)
        return contents
