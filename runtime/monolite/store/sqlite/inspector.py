"""The inspector: reads a whole file, or a copy of one, and leaves no trace on the disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from monolite.core.entry import Run, RunNo
from monolite.errors import FileDamaged
from monolite.store.sqlite import connection
from monolite.store.sqlite.reader import SqliteReader
from monolite.store.sqlite.statements import statements

T = TypeVar("T")

FILE_CONTENT = 0
"""Which of a database's files to read (apsw.Connection.read): the database itself."""

WRITE_VERSION_AT = 18
"""Where the header says how the file is written (https://www.sqlite.org/fileformat.html)."""


class Identity(msgspec.Struct, frozen=True):
    """What a file says of itself. `owner` is the last engine that opened it, alive or not."""

    format: int
    file_id: str
    made_us: int
    epoch: int
    owner: str | None


class Inspector(SqliteReader):
    """A reader that can also say how the file itself is."""

    def __init__(self, con: apsw.Connection) -> None:
        super().__init__(con)
        self._whole = statements("inspection.sql")

    def identity(self) -> Identity:
        """Return the row that says what the file is."""
        return Identity(*self._one("identity"))

    def journal_mode(self) -> str:
        """Return "wal", or "rollback" if SQLite itself made the copy.

        By the file's header: the pragma says how this connection reads it.
        """
        _, versions = self._con.read("main", FILE_CONTENT, WRITE_VERSION_AT, 1)
        return "wal" if versions == b"\2" else "rollback"

    def defects(self) -> list[str]:
        """Return what SQLite's quick check finds wrong, at most ten things; reads all of it."""
        found = [str(text) for (text,) in self._con.execute(self._whole["check"])]
        return [] if found == ["ok"] else found

    def oldest_open(self) -> Run | None:
        """Return the run that has been open for the longest time."""
        row = self._con.execute(self._whole["oldest_open"]).fetchone()
        return None if row is None else self.run(RunNo(int(str(row[0]))))

    def latest_us(self) -> int | None:
        """Return when a run's row was last written."""
        (at_us,) = self._one("latest")
        return None if at_us is None else int(str(at_us))

    def children(self, no: RunNo, limit: int) -> list[Run]:
        """Return the runs that a run started, oldest first, at most `limit`."""
        rows = self._con.execute(self._whole["children"], (no, limit)).fetchall()
        found = [self.run(RunNo(int(str(row[0])))) for row in rows]
        return [run for run in found if run is not None]

    def views(self, no: RunNo) -> dict[str, str]:
        """Return everything that a run has published, as JSON text by name."""
        rows = self._con.execute(self._whole["views"], (no,))
        return {str(name): str(value) for name, value in rows}

    def blocked(self, limit: int) -> list[tuple[str, str, int, str | None]]:
        """Return run id, key, last attempt and failure of the activities that are blocked."""
        rows = self._con.execute(self._sql["blocked"], (limit,))
        return [
            (str(id), str(key), int(str(number)), None if error is None else str(error))
            for id, key, number, error in rows
        ]

    def quarantined(self, blames_min: int) -> list[tuple[str, int, str | None]]:
        """Return id, number of deaths and reason of runs whose own code is quarantined."""
        rows = self._con.execute(self._whole["quarantined"], (blames_min,))
        return [
            (str(id), int(str(count)), None if words is None else str(words))
            for id, count, words in rows
        ]

    def undelivered_count(self) -> int:
        """Return how many messages wait in inboxes."""
        return int(str(self._one("undelivered_count")[0]))

    def _one(self, statement: str) -> Any:
        row = self._con.execute(self._whole[statement]).fetchone()
        assert row is not None
        return row


def inspect(path: Path, question: Callable[[Inspector], T]) -> T:
    """Answer a question from one snapshot of a file; neither it nor its folder changes.

    Works while an engine runs, without one, and on a copy in a place that cannot be written to.
    Raises FileForeign, FileTooNew or FileDamaged if the file is unfit.
    """
    if not path.is_file() or _beside(path, "-shm").exists():
        return _ask(connection.open_reader(path), path, question)
    # Nobody has the file open, and opening it in the usual way would put files beside it.
    before = _stamp(path)
    try:
        answer = _inspect_alone(path, question)
    except (FileDamaged, OSError):
        if _stamp(path) == before:
            raise
    else:
        if _stamp(path) == before:
            return answer
    # An engine came and changed it meanwhile: what was read may be half of each.
    return _ask(connection.open_reader(path), path, question)


def log_bytes(path: Path) -> int:
    """Return the size of a file's log; 0 if there is none."""
    try:
        return _beside(path, "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _inspect_alone(path: Path, question: Callable[[Inspector], T]) -> T:
    if not log_bytes(path):
        return _ask(connection.open_as_it_lies(path), path, question)
    # SQLite reads a log only through an index file beside it: make that elsewhere.
    with tempfile.TemporaryDirectory(prefix="monolite-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(_beside(path, "-wal"), _beside(copy, "-wal"))
        return _ask(connection.open_reader(copy), path, question)


def _ask(con: apsw.Connection, path: Path, question: Callable[[Inspector], T]) -> T:
    try:
        with connection.translated(path):
            con.execute("BEGIN")  # every answer from the same snapshot
            connection.refuse_foreign(con, path)
            connection.check_format(con, path, statements())
            return question(Inspector(con))
    finally:
        con.close()


def _beside(path: Path, suffix: str) -> Path:
    real = Path(os.path.realpath(path))  # SQLite keeps its files beside the real one
    return real.with_name(real.name + suffix)


def _stamp(path: Path) -> tuple[int, int, bool]:
    """Return what changes when an engine opens the file or writes to it."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size, _beside(path, "-shm").exists()
