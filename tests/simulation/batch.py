"""A batch: what one commit adds to a file, as the store is told it and as the oracle knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import apsw

from monolite.core import entry as e
from monolite.core.entry import RunNo
from monolite.store.protocol import Message, Writes
from tests.store.samples import NOON_US, a_message, a_note, a_run, an_end, an_entry

MARKED = RunNo(2)
"""The run whose journal has an entry for each batch of the engine, and whose view the number."""

WATERMARK = "watermark"

LARGE = 70_000
"""Characters of a value that is kept aside, and fills the log quickly."""

READS = {
    "runs": "SELECT no, status FROM monolite_runs",
    "journal": """SELECT j.run_no, j.n, j.key, coalesce(b.value, j.value) FROM monolite_journal AS j
        LEFT JOIN monolite_blobs AS b ON j.value = 'blob:' || b.hash""",
    "inbox": """SELECT i.message_id, i.run_no, coalesce(b.value, i.value) FROM monolite_inbox AS i
        LEFT JOIN monolite_blobs AS b ON i.value = 'blob:' || b.hash""",
    "views": "SELECT run_no, name, value FROM monolite_views",
}
"""In words of their own, not the store's."""


@dataclass
class Contents:
    """What a file holds, as far as these tests write to it."""

    runs: dict[int, str] = field(default_factory=dict[int, str])
    journal: dict[tuple[int, int], tuple[str, str]] = field(
        default_factory=dict[tuple[int, int], tuple[str, str]]
    )
    inbox: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    views: dict[tuple[int, str], str] = field(default_factory=dict[tuple[int, str], str])

    @classmethod
    def of(cls, con: apsw.Connection) -> Contents:
        found = cls()
        if not con.execute("SELECT 1 FROM sqlite_schema WHERE name = 'monolite_views'").fetchall():
            return found
        found.runs = {int(no): str(status) for no, status in con.execute(READS["runs"])}
        for run_no, n, key, value in con.execute(READS["journal"]):
            found.journal[int(run_no), int(n)] = (str(key), str(value))
        for message_id, run_no, value in con.execute(READS["inbox"]):
            found.inbox[str(message_id)] = (int(run_no), str(value))
        for run_no, name, value in con.execute(READS["views"]):
            found.views[int(run_no), str(name)] = str(value)
        return found

    @classmethod
    def read(cls, path: Path) -> Contents:
        """Read a file on a connection of its own; raises apsw.Error if SQLite cannot."""
        con = apsw.Connection(str(path))
        try:
            return cls.of(con)
        finally:
            con.close()

    def numbers(self) -> list[int]:
        """Return the numbers of the batches that are in the file, in their order."""
        marks = [key for (run, _), (key, _) in self.journal.items() if run == MARKED]
        return sorted(int(mark.removeprefix("b")) for mark in [*marks, *self.inbox])

    def copy(self) -> Contents:
        return Contents(dict(self.runs), dict(self.journal), dict(self.inbox), dict(self.views))


@dataclass
class Batch:
    """One commit of the engine, or one message that came through the door."""

    number: int
    value: str
    by_door: bool
    spawned: RunNo | None
    ended: RunNo | None
    noted: RunNo | None

    @classmethod
    def drawn(cls, chance: Random, number: int, before: Contents) -> Batch:
        """Draw a batch that a file of these contents can take."""
        open_runs = [RunNo(no) for no, status in before.runs.items() if status != e.COMPLETED]
        others = [no for no in open_runs if no != MARKED]
        text = chance.choice("abcdefgh") * chance.choice((1, 10, 100, 1_000, 5_000))
        if chance.random() < 0.03:
            text = chance.choice("xyz") * LARGE
        return cls(
            number=number,
            value=f'"{number}-{chance.getrandbits(32):x}-{text}"',
            by_door=MARKED in before.runs and chance.random() < 0.15,
            spawned=RunNo(max(before.runs, default=0) // 2 * 2 + 2),
            ended=chance.choice(others) if others and chance.random() < 0.4 else None,
            noted=MARKED if open_runs else None,
        )

    def writes(self) -> Writes:
        """Return it as an engine's batch."""
        writes = Writes()
        if self.spawned is not None:
            writes.runs.append(a_run(self.spawned))
        writes.journal.append(an_entry(MARKED, self.number, self.mark, value=self.value))
        writes.views.append((MARKED, WATERMARK, str(self.number)))
        if self.ended is not None:
            writes.ends.append(an_end(self.ended, value=self.value))
        if self.noted is not None:
            writes.notes.append(a_note(self.noted, updated_us=NOON_US + self.number))
        return writes

    def message(self) -> Message:
        """Return it as a client's message."""
        return a_message(MARKED, message_id=self.mark, value=self.value)

    @property
    def mark(self) -> str:
        return f"b{self.number}"

    def apply(self, contents: Contents) -> None:
        """Do to `contents` what committing it does to a file."""
        if self.by_door:
            contents.inbox[self.mark] = (MARKED, self.value)
            return
        if self.spawned is not None:
            contents.runs[self.spawned] = e.RUNNING
        contents.journal[MARKED, self.number] = (self.mark, self.value)
        contents.views[MARKED, WATERMARK] = str(self.number)
        if self.ended is not None:
            contents.runs[self.ended] = e.COMPLETED
        if self.noted is not None:
            contents.runs[self.noted] = e.WAITING
