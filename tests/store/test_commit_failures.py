"""A commit that the disk refuses: our own exception, nothing half written, and the file goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from monolite.core import entry as e
from monolite.errors import CommitUnknown, MonoliteError, StorageFull
from monolite.store.memory import MemoryStore
from monolite.store.protocol import Writes
from monolite.store.sqlite.door import SqliteDoor
from monolite.store.sqlite.store import SqliteStore
from tests.store.faulty_disk import FaultyDisk
from tests.store.samples import NOON_US, a_message, a_note, a_run, an_entry, batch, everything

REFUSALS = [(apsw.FullError, StorageFull), (apsw.IOError, CommitUnknown)]


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()


@pytest.fixture
def opened() -> Iterator[list[apsw.Connection]]:
    """The connections that were opened, in order."""
    opened: list[apsw.Connection] = []
    apsw.connection_hooks.append(opened.append)
    yield opened
    apsw.connection_hooks.remove(opened.append)


@pytest.fixture
def store(disk: FaultyDisk, opened: list[apsw.Connection], tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore.own(tmp_path / "app.db", durability="full", now_us=NOON_US)
    store.commit(first_turn())
    yield store
    disk.on_write = disk.on_sync = None
    store.close()


def first_turn() -> Writes:
    return batch(a_run(2), an_entry(2, 0))


def next_turn() -> Writes:
    return batch(a_run(4), an_entry(2, 1), a_message(2), a_note(2, wake_at_us=7))


@pytest.mark.parametrize(("said", "told"), REFUSALS)
def test_a_write_that_fails_leaves_everything_as_it_was(
    disk: FaultyDisk, store: SqliteStore, said: type[apsw.Error], told: type[MonoliteError]
) -> None:
    before = everything(store)
    disk.on_write = said
    with pytest.raises(told, match=r"app\.db") as caught:
        store.commit(next_turn())
    assert isinstance(caught.value.__cause__, said)
    assert everything(store) == before
    disk.on_write = None
    store.commit(next_turn())
    assert everything(store) == expected(next_turn())


@pytest.mark.parametrize(("said", "told"), REFUSALS)
def test_what_a_client_sends_fails_in_the_same_words(
    disk: FaultyDisk, store: SqliteStore, said: type[apsw.Error], told: type[MonoliteError]
) -> None:
    door = SqliteDoor.open_door(store.path, create=False, now_us=NOON_US)
    try:
        before = everything(store)
        disk.on_write = said
        with pytest.raises(told, match=r"app\.db") as caught:
            door.post("run-2", a_message(0))
        assert isinstance(caught.value.__cause__, said)
        with pytest.raises(told, match=r"app\.db"):
            door.spawn(a_run(0, "new", status=e.QUEUED), "attach")
        assert everything(store) == before
        disk.on_write = None
        store.commit(next_turn())  # the write lock is free
        assert door.post("run-2", a_message(0))[1]
    finally:
        door.close()


def test_a_sync_that_fails_leaves_all_of_the_commit_or_nothing(
    disk: FaultyDisk, store: SqliteStore
) -> None:
    before = everything(store)
    disk.on_sync = apsw.IOError
    with pytest.raises(CommitUnknown, match=r"restart, then repeat the request with the same id"):
        store.commit(next_turn())
    disk.on_sync = None
    store.close()
    again = SqliteStore.own(store.path, durability="full", now_us=NOON_US)
    try:
        assert everything(again) in (before, expected(next_turn()))
        assert again.epoch == 2
    finally:
        again.close()


def test_a_store_waits_for_the_write_lock_but_not_for_ever(
    store: SqliteStore, opened: list[apsw.Connection]
) -> None:
    before = everything(store)
    opened[0].set_busy_timeout(0)
    other = apsw.Connection(str(store.path))
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CommitUnknown, match=r"app\.db: another process has held the write"):
            store.commit(next_turn())
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert everything(store) == before
    store.commit(next_turn())
    assert everything(store) == expected(next_turn())


def test_a_lock_that_becomes_free_in_time_is_no_failure(
    store: SqliteStore, opened: list[apsw.Connection]
) -> None:
    """SQLite asks us again and again; the holder lets go while it does."""
    other = apsw.Connection(str(store.path))
    try:
        other.execute("BEGIN IMMEDIATE")

        def release(tries: int) -> bool:
            if other.in_transaction:
                other.execute("ROLLBACK")
            return tries < 3

        opened[0].set_busy_handler(release)
        store.commit(next_turn())
    finally:
        other.close()
    assert everything(store) == expected(next_turn())


def expected(*turns: Writes) -> dict[str, object]:
    """What the model holds after the first turn and these."""
    model = MemoryStore()
    for turn in (first_turn(), *turns):
        model.commit(turn)
    return everything(model)
