"""Isolation: a reader sees what is committed, all of a turn or nothing, and keeps its snapshot."""

from __future__ import annotations

from collections.abc import Iterator

import apsw
import pytest

from monolite.core.entry import RunNo
from monolite.store.protocol import Conflict, Reader, RunFilter, Store, Writes
from monolite.store.sqlite.connection import open_reader
from monolite.store.sqlite.inspector import Inspector, inspect
from monolite.store.sqlite.reader import SqliteReader
from monolite.store.sqlite.store import SqliteStore
from tests.store.samples import a_message, a_note, a_run, an_attempt, an_end, an_entry, batch


@pytest.fixture
def opened() -> Iterator[list[apsw.Connection]]:
    """The connections that were opened, in order."""
    opened: list[apsw.Connection] = []
    apsw.connection_hooks.append(opened.append)
    yield opened
    apsw.connection_hooks.remove(opened.append)


@pytest.fixture
def writer(opened: list[apsw.Connection], sqlite_store: SqliteStore) -> apsw.Connection:
    """The connection of `sqlite_store`."""
    assert sqlite_store.epoch == 1
    return opened[0]


@pytest.fixture
def snapshot(writer: apsw.Connection, sqlite_store: SqliteStore) -> Iterator[apsw.Connection]:
    """The connection of `reader`."""
    con = open_reader(sqlite_store.path)
    yield con
    con.close()


@pytest.fixture
def reader(snapshot: apsw.Connection) -> SqliteReader:
    return SqliteReader(snapshot)


def seen(reader: Reader) -> list[object]:
    """What a reader sees of run 2."""
    no = RunNo(2)
    return [
        reader.run_by_id("run-2"),
        reader.runs(RunFilter()),
        reader.counts(),
        reader.entries(no),
        reader.attempts(no),
        reader.undelivered(no),
        reader.view(no, "a"),
    ]


def a_turn() -> Writes:
    writes = batch(
        a_run(4), an_entry(2, 1), a_message(2), a_message(2, n=2), an_attempt(2), a_note(2)
    )
    writes.views.append((RunNo(2), "a", "1"))
    return writes


def test_a_turn_is_seen_when_it_is_committed_and_not_a_moment_before(
    writer: apsw.Connection, sqlite_store: SqliteStore, reader: SqliteReader
) -> None:
    sqlite_store.commit(batch(a_run(2), an_entry(2, 0)))
    before = seen(reader)
    during: list[list[object]] = []

    def look() -> bool:
        during.append(seen(reader))
        return False

    writer.set_commit_hook(look)
    sqlite_store.commit(a_turn())
    assert during == [before]
    assert seen(reader) == seen(sqlite_store) != before


def test_a_turn_that_is_rolled_back_was_never_there(
    writer: apsw.Connection, sqlite_store: SqliteStore, reader: SqliteReader
) -> None:
    sqlite_store.commit(batch(a_run(2)))
    before = seen(reader)
    writer.set_commit_hook(lambda: True)  # refuse
    with pytest.raises(apsw.ConstraintError):
        sqlite_store.commit(a_turn())
    assert seen(reader) == seen(sqlite_store) == before


def test_a_reader_sees_nothing_of_a_conflict(store: Store) -> None:
    store.commit(batch(a_run(2)))
    reader = store.reader()
    before = seen(reader)
    turn = a_turn()
    turn.runs.append(a_run(6, "run-2"))
    with pytest.raises(Conflict):
        store.commit(turn)
    assert seen(reader) == before
    reader.close()


def test_a_snapshot_stays_as_it_was_while_the_engine_goes_on(
    snapshot: apsw.Connection, sqlite_store: SqliteStore, reader: SqliteReader
) -> None:
    sqlite_store.commit(batch(a_run(2)))
    snapshot.execute("BEGIN")
    before = seen(reader)
    sqlite_store.commit(a_turn())
    sqlite_store.checkpoint()
    sqlite_store.commit(batch(an_end(2)))
    assert seen(reader) == before
    snapshot.execute("COMMIT")
    assert seen(reader) == seen(sqlite_store)


def test_an_inspection_is_one_snapshot(sqlite_store: SqliteStore) -> None:
    sqlite_store.commit(batch(a_run(2)))

    def question(inspector: Inspector) -> tuple[list[object], list[object]]:
        first = seen(inspector)
        sqlite_store.commit(a_turn())
        return first, seen(inspector)

    first, second = inspect(sqlite_store.path, question)
    assert first == second
    assert seen(sqlite_store) != first


def test_readers_do_not_keep_each_other_or_the_engine_from_working(
    sqlite_store: SqliteStore,
) -> None:
    sqlite_store.commit(batch(a_run(2)))
    snapshots = [open_reader(sqlite_store.path) for _ in range(4)]
    for con in snapshots:
        con.execute("BEGIN")
    assert [seen(SqliteReader(con)) for con in snapshots] == [seen(sqlite_store)] * 4
    sqlite_store.commit(a_turn())
    for con in snapshots:
        con.close()
    assert sqlite_store.counts() == {"waiting": 1, "running": 1}
