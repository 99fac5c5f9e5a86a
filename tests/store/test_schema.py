"""The file speaks for itself: what a person finds in it with `sqlite3` and one SELECT."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from monolite.core import entry as e
from monolite.core.entry import RunNo
from monolite.store.sqlite.connection import APPLICATION_ID, FORMAT
from monolite.store.sqlite.store import SqliteStore
from tests.store.samples import NOON_US, a_message, a_note, a_run, an_end, an_entry, batch


@pytest.fixture
def file(sqlite_store: SqliteStore, tmp_path: Path) -> Iterator[apsw.Connection]:
    """A file with two runs, opened by somebody else."""
    sqlite_store.commit(
        batch(
            a_run(2, "order-1"),
            a_run(4, "order-2", wake_at_us=NOON_US + 90_000_000),
            an_entry(2, 0),
            a_message(2, n=1, value='"yes"'),
            a_message(2),
            an_entry(2, 2, "timer#1", kind=e.TIMER, args="1000000", value=None),
            an_end(2),
            a_note(4, wake_at_us=NOON_US + 90_000_000, waiting_on="sleeping"),
        )
    )
    con = apsw.Connection(str(tmp_path / "app.db"), flags=apsw.SQLITE_OPEN_READONLY)
    yield con
    con.close()


def rows(con: apsw.Connection, sql: str) -> list[Any]:
    return [tuple(row) for row in con.execute(sql)]


def test_the_timeline_tells_what_a_run_did(file: apsw.Connection) -> None:
    sql = "SELECT n, at, kind, key, args, value, error FROM monolite_timeline WHERE id = 'order-1'"
    assert rows(file, sql) == [
        (None, "2026-01-01 12:00:00.000", "signal", "notes", None, '"hello"', None),
        (0, "2026-01-01 12:00:00.000", "activity", "charge#1", "[]", "1", None),
        (1, "2026-01-01 12:00:00.000", "signal", "notes", None, '"yes"', None),
        (2, "2026-01-01 12:00:00.000", "timer", "timer#1", "1000000", None, None),
    ]


def test_what_is_open_says_why(file: apsw.Connection) -> None:
    assert rows(file, "SELECT * FROM monolite_open") == [
        (
            "order-2",
            "order",
            "waiting",
            "sleeping",
            "2026-01-01 12:01:30.000",
            "2026-01-01 12:00:00.000",
        )
    ]


def test_a_file_says_what_it_is(file: apsw.Connection, sqlite_store: SqliteStore) -> None:
    assert file.pragma("application_id") == APPLICATION_ID
    assert rows(file, "SELECT format, file_id, epoch FROM monolite_file") == [
        (FORMAT, sqlite_store.file_id, 1)
    ]
    assert file.pragma("journal_mode") == "wal"


def test_a_person_can_ask_which_version_of_an_id_is_newest(sqlite_store: SqliteStore) -> None:
    sqlite_store.commit(batch(a_run(2, "same"), a_run(4, "same", generation=2)))
    found = sqlite_store.run_by_id("same")
    assert found is not None
    assert found.no == RunNo(4)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE monolite_runs SET status = 'completed' WHERE no = 4",
        "UPDATE monolite_runs SET ended_us = 5 WHERE no = 4",
        "UPDATE monolite_runs SET wake_at_us = 5 WHERE no = 2",
        "UPDATE monolite_runs SET created_us = 'noon' WHERE no = 2",
        "UPDATE monolite_inbox SET kind = 'gossip'",
        "INSERT INTO monolite_file VALUES (2, 1, 'x', 1, 1, NULL)",
        "INSERT INTO monolite_attempts VALUES (2, 'a#1', 1, 'bored', 1, NULL, NULL, NULL)",
    ],
)
def test_the_schema_refuses_what_cannot_be(file: apsw.Connection, tmp_path: Path, sql: str) -> None:
    writer = apsw.Connection(str(tmp_path / "app.db"))
    try:
        with pytest.raises(apsw.ConstraintError):
            writer.execute(sql)
    finally:
        writer.close()
    assert rows(file, "SELECT count(*) FROM monolite_open") == [(1,)]
