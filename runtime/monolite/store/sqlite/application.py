"""The application's part of the file: its own tables, inside our commit and read beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import apsw

from monolite.store.protocol import RolledBack

R = TypeVar("R")

OURS = "monolite_"

_FORBIDDEN = {
    apsw.SQLITE_TRANSACTION: "BEGIN, COMMIT and ROLLBACK",
    apsw.SQLITE_SAVEPOINT: "SAVEPOINT",
    apsw.SQLITE_ATTACH: "ATTACH",
    apsw.SQLITE_DETACH: "DETACH",
    apsw.SQLITE_PRAGMA: "PRAGMA",
}

_WRITES = frozenset(
    {
        apsw.SQLITE_INSERT,
        apsw.SQLITE_UPDATE,
        apsw.SQLITE_DELETE,
        apsw.SQLITE_DROP_TABLE,
        apsw.SQLITE_DROP_INDEX,
        apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_ALTER_TABLE,
        # What is made on our tables, or would stand before them in a search by name.
        apsw.SQLITE_CREATE_INDEX,
        apsw.SQLITE_CREATE_TABLE,
        apsw.SQLITE_CREATE_TEMP_INDEX,
        apsw.SQLITE_CREATE_TEMP_TABLE,
        apsw.SQLITE_CREATE_TEMP_TRIGGER,
        apsw.SQLITE_CREATE_TEMP_VIEW,
        apsw.SQLITE_CREATE_TRIGGER,
        apsw.SQLITE_CREATE_VIEW,
        apsw.SQLITE_CREATE_VTABLE,
    }
)


def guarded(con: apsw.Connection, act: Callable[[apsw.Connection], R]) -> R:
    """Let `act` use the writer inside the open transaction, in a SAVEPOINT of its own.

    What it wrote is undone if it raises. It may not end the transaction or write our tables.
    Raises RolledBack if SQLite has undone the whole transaction, as INSERT OR ROLLBACK asks.
    """
    con.execute("SAVEPOINT application")
    con.authorizer = _authorize
    try:
        result = act(con)
    except BaseException as error:
        con.authorizer = None
        if not con.in_transaction:
            raise RolledBack from error
        con.execute("ROLLBACK TO application")
        con.execute("RELEASE application")
        raise
    con.authorizer = None
    if not con.in_transaction:
        raise RolledBack
    con.execute("RELEASE application")
    return result


def _authorize(
    operation: int,
    first: str | None,
    second: str | None,
    _database: str | None,
    _trigger: str | None,
) -> int:
    if operation in _FORBIDDEN:
        return apsw.SQLITE_DENY
    names = [(name or "").lower() for name in (first, second)]
    if operation in _WRITES and any(name.startswith(OURS) for name in names):
        return apsw.SQLITE_DENY
    return apsw.SQLITE_OK
