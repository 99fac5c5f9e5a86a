"""The timetable: the rows of the schedules, which engines and other processes both write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from monolite.core.schedule import ScheduleRow, Spec
from monolite.store.protocol import Conflict, ScheduleWrite
from monolite.store.sqlite.blobs import light, whole
from monolite.store.sqlite.statements import statements


def read_schedules(con: apsw.Connection) -> list[ScheduleRow]:
    """Return every schedule, by name."""
    return [_row(con, row) for row in con.execute(statements()["schedules"])]


def read_schedule(con: apsw.Connection, name: str) -> ScheduleRow | None:
    row = con.execute(statements()["schedule"], (name,)).fetchone()
    return None if row is None else _row(con, row)


def write_schedules(con: apsw.Connection, writes: Iterable[tuple[str, ScheduleWrite]]) -> None:
    """Write rows that nobody has changed since they were read; else raise Conflict."""
    sql = statements()
    for name, (revision, row) in writes:
        if row is None:
            con.execute(sql["delete_schedule"], (name, revision))
        elif revision is None:
            con.execute(sql["insert_schedule"], _values(con, row))
        else:
            con.execute(sql["update_schedule"], {**_values(con, row), "was": revision})
        if con.changes() == 0:
            raise Conflict


def _values(con: apsw.Connection, row: ScheduleRow) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(row),
        "args": light(con, row.args),
        "spec": msgspec.json.encode(row.spec).decode(),
        "paused": int(row.paused),
        "open": msgspec.json.encode(row.open).decode(),
        "backfill": msgspec.json.encode(row.backfill).decode(),
    }


def _row(con: apsw.Connection, row: tuple[Any, ...]) -> ScheduleRow:
    values = dict(zip(ScheduleRow.__struct_fields__, row, strict=True))
    values["args"] = whole(con, values["args"])
    values["spec"] = msgspec.json.decode(values["spec"], type=Spec)
    values["paused"] = bool(values["paused"])
    values["open"] = msgspec.json.decode(values["open"], type=tuple[str, ...])
    values["backfill"] = msgspec.json.decode(values["backfill"], type=tuple[tuple[int, int], ...])
    return ScheduleRow(**values)
