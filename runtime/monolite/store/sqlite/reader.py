"""The SQLite reader: committed state, through a read-only connection of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec

from monolite.core.entry import Attempt, Entry, Run, RunNo
from monolite.core.schedule import ScheduleRow
from monolite.store.protocol import Message, QueueCounts, QueueRow, RunFilter, State
from monolite.store.sqlite import connection
from monolite.store.sqlite.blobs import REFERENCE, whole
from monolite.store.sqlite.statements import statements
from monolite.store.sqlite.timetable import read_schedule, read_schedules

NO_MAX = 2**62


class SqliteReader:
    """Reads one file. Not safe for use by two threads at once."""

    def __init__(self, con: apsw.Connection) -> None:
        self._con = con
        self._sql = statements()

    @classmethod
    def open(cls, path: Path) -> SqliteReader:
        """Open a file or a copy of one; raise FileForeign, FileTooNew or FileDamaged if unfit."""
        connection.examine(path)
        con = connection.open_reader(path)
        try:
            with connection.translated(path):
                connection.refuse_foreign(con, path)
                connection.check_format(con, path, statements())
        except BaseException:
            con.close()
            raise
        return cls(con)

    def close(self) -> None:
        self._con.close()

    def run(self, no: RunNo) -> Run | None:
        return self._one_run("run", (no,))

    def run_by_id(self, id: str) -> Run | None:
        return self._one_run("run_by_id", (id,))

    def runs(self, where: RunFilter) -> list[Run]:
        bindings: dict[str, Any] = {
            "before_no": NO_MAX if where.before_no is None else where.before_no,
            "status": where.status,
            "name": where.name,
            "id_prefix": where.id_prefix,
            "parent": where.parent,
            "open": where.open,
            "queue": where.queue,
            "attributes": msgspec.json.encode(where.attributes or {}, order="sorted").decode(),
            "limit": where.limit,
        }
        return [self._run(row) for row in self._con.execute(self._sql["runs"], bindings)]

    def counts(self) -> dict[str, int]:
        return {str(s): int(str(n)) for s, n in self._con.execute(self._sql["counts"])}

    def patches(self, no: RunNo) -> list[str]:
        return [str(key) for (key,) in self._con.execute(self._sql["patches"], (no,))]

    def entries(self, no: RunNo, from_n: int = 0, limit: int = -1) -> list[Entry]:
        where = {"no": no, "from_n": from_n, "limit": limit}
        return [self._entry(row) for row in self._con.execute(self._sql["entries"], where)]

    def _entry(self, row: tuple[Any, ...]) -> Entry:
        value = row[5]
        if value is not None and value.startswith(REFERENCE):
            row = (*row[:5], whole(self._con, value), row[6])
        return Entry(*row)

    def _message(self, row: tuple[Any, ...]) -> Message:
        if row[3].startswith(REFERENCE):
            row = (*row[:3], whole(self._con, row[3]), *row[4:])
        return Message(*row)

    def _run(self, row: tuple[Any, ...]) -> Run:
        run = Run(*row)
        run.args = whole(self._con, run.args) or "[]"
        run.value = whole(self._con, run.value)
        return run

    def attempts(self, no: RunNo) -> list[Attempt]:
        return [Attempt(*row) for row in self._con.execute(self._sql["attempts"], (no,))]

    def blames(self) -> dict[RunNo, int]:
        rows = self._con.execute(self._sql["blames"])
        return {RunNo(int(str(no))): int(str(count)) for no, count in rows}

    def undelivered(self, no: RunNo) -> list[Message]:
        found = [self._message(row) for row in self._con.execute(self._sql["undelivered"], (no,))]
        return sorted(found, key=lambda message: message.seq or 0)

    def waiting(self, no: RunNo, after_seq: int, limit: int) -> list[Message]:
        rows = self._con.execute(self._sql["waiting"], (no, after_seq, limit))
        return [self._message(row) for row in rows]

    def waiting_on_channel(self, no: RunNo, channel: str) -> list[Message]:
        rows = self._con.execute(self._sql["waiting_on_channel"], (no, channel))
        return [self._message(row) for row in rows]

    def stream(self, no: RunNo, name: str, after: int, limit: int) -> list[tuple[int, str]]:
        rows = self._con.execute(self._sql["stream"], (no, name, after, limit))
        return [(int(str(first)), str(items)) for first, items in rows]

    def stream_length(self, no: RunNo, name: str) -> int:
        return self._count("stream_length", (no, name))

    def stream_source(self, no: RunNo, name: str, source: str) -> int:
        return self._count("stream_source", (no, name, source))

    def _count(self, statement: str, bindings: tuple[Any, ...]) -> int:
        row = self._con.execute(self._sql[statement], bindings).fetchone()
        return 0 if row is None else int(str(row[0]))

    def state(self, no: RunNo) -> State | None:
        row = self._con.execute(self._sql["state"], (no,)).fetchone()
        return None if row is None else State(*row)

    def queues(self) -> list[QueueRow]:
        rows: Any = self._con.execute(self._sql["queues"])
        return [
            QueueRow(name, declared, limits, bool(paused), state, seen)
            for name, declared, limits, paused, state, seen in rows
        ]

    def dead(self, queue: str, limit: int) -> list[Run]:
        rows: Any = self._con.execute(self._sql["dead"], (queue, limit)).fetchall()
        found = [self.run(RunNo(row[0])) for row in rows]
        return [run for run in found if run is not None]

    def deduped(self, queue: str, dedupe: str) -> tuple[RunNo, int] | None:
        row: Any = self._con.execute(self._sql["deduped"], (queue, dedupe)).fetchone()
        return None if row is None else (RunNo(row[0]), row[1])

    def queue_counts(self) -> dict[str, QueueCounts]:
        found: dict[str, QueueCounts] = {}
        for count, statement in (
            ("waiting", self._sql["queues_waiting"]),
            ("running", self._sql["queues_running"]),
            ("dead", self._sql["queues_dead"]),
        ):
            for queue, n in self._con.execute(statement):
                setattr(found.setdefault(str(queue), QueueCounts()), count, n)
        return found

    def answer(self, run: Run, message_id: str) -> tuple[str | None, str | None] | None:
        if run.generation == 1:
            found = self._con.execute(self._sql["answer"], (run.no, message_id))
        else:
            line = {"id": run.id, "generation": run.generation, "message_id": message_id}
            found = self._con.execute(self._sql["answer_of_line"], line)
        row = found.fetchone()
        return None if row is None else (whole(self._con, row[0]), row[1])

    def view(self, no: RunNo, name: str) -> str | None:
        row = self._con.execute(self._sql["view"], (no, name)).fetchone()
        return None if row is None else str(row[0])

    def schedules(self) -> list[ScheduleRow]:
        return read_schedules(self._con)

    def schedule(self, name: str) -> ScheduleRow | None:
        return read_schedule(self._con, name)

    def _one_run(self, statement: str, bindings: tuple[Any, ...]) -> Run | None:
        row = self._con.execute(self._sql[statement], bindings).fetchone()
        return None if row is None else self._run(row)
