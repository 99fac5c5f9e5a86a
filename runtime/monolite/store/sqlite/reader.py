"""The SQLite reader: committed state, through a read-only connection of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec

from monolite.core.entry import Attempt, Entry, Run, RunNo
from monolite.store.protocol import Message, RunFilter
from monolite.store.sqlite import connection
from monolite.store.sqlite.statements import statements

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
            "attributes": msgspec.json.encode(where.attributes or {}, order="sorted").decode(),
            "limit": where.limit,
        }
        return [Run(*row) for row in self._con.execute(self._sql["runs"], bindings)]

    def counts(self) -> dict[str, int]:
        return {str(s): int(str(n)) for s, n in self._con.execute(self._sql["counts"])}

    def entries(self, no: RunNo) -> list[Entry]:
        return [Entry(*row) for row in self._con.execute(self._sql["entries"], {"no": no})]

    def attempts(self, no: RunNo) -> list[Attempt]:
        return [Attempt(*row) for row in self._con.execute(self._sql["attempts"], (no,))]

    def undelivered(self, no: RunNo) -> list[Message]:
        return [Message(*row) for row in self._con.execute(self._sql["undelivered"], (no,))]

    def view(self, no: RunNo, name: str) -> str | None:
        row = self._con.execute(self._sql["view"], (no, name)).fetchone()
        return None if row is None else str(row[0])

    def _one_run(self, statement: str, bindings: tuple[Any, ...]) -> Run | None:
        row = self._con.execute(self._sql[statement], bindings).fetchone()
        return None if row is None else Run(*row)
