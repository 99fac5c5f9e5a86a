"""The door: another process puts runs and messages into the file, each in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from monolite.core import entry as e
from monolite.core.entry import Run, RunNo
from monolite.errors import (
    AlreadyExists,
    CommitUnknown,
    FileForeign,
    FileTooNew,
    StorageFull,
    UnknownWorkflow,
)
from monolite.store.sqlite import door as door_module
from monolite.store.sqlite.connection import FORMAT, open_writer
from monolite.store.sqlite.door import SqliteDoor
from monolite.store.sqlite.store import SqliteStore
from tests.store.samples import NOON_US, a_message, a_run, an_end, batch, everything


@pytest.fixture
def con(sqlite_store: SqliteStore) -> apsw.Connection:
    """The door's connection."""
    return open_writer(sqlite_store.path, synchronous=1)


@pytest.fixture
def door(con: apsw.Connection, sqlite_store: SqliteStore) -> Iterator[SqliteDoor]:
    """A door to the file of `sqlite_store`, whose engine is at work."""
    door = SqliteDoor(con, sqlite_store.path)
    yield door
    door.close()


def queued(id: str, **fields: object) -> Run:
    """What a client sends: it knows neither number nor generation."""
    given = {"status": e.QUEUED, "started_us": None, "wake_at_us": NOON_US, **fields}
    return a_run(0, id, **given)


def terminations(store: SqliteStore) -> list[tuple[int, str]]:
    waiting = store.messages_after(0, 100)
    return [(m.run_no, m.value) for m in waiting if m.kind == e.TERMINATE]


# Opening.


def test_a_door_needs_a_file_unless_it_may_create_one(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with pytest.raises(FileForeign, match=r"does not exist; start a Runtime on it first"):
        SqliteDoor.open_door(path, create=False, now_us=NOON_US)
    assert list(tmp_path.iterdir()) == []
    door = SqliteDoor.open_door(path, create=True, now_us=NOON_US)
    assert door.spawn(queued("a"), "attach").no == 3
    door.close()


def test_what_was_sent_before_the_first_engine_is_there_when_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    door = SqliteDoor.open_door(path, create=True, now_us=NOON_US)
    run = door.spawn(queued("a"), "attach")
    door.post("a", a_message(0))
    door.close()
    store = SqliteStore.own(path, durability="normal", now_us=NOON_US)
    try:
        assert store.epoch == 1
        assert store.queued(NOON_US, 9) == [run.no]
        assert [m.run_no for m in store.messages_after(0, 9)] == [run.no]
    finally:
        store.close()


def test_opening_a_door_writes_nothing(sqlite_store: SqliteStore) -> None:
    sqlite_store.commit(batch(a_run(2)))
    before = everything(sqlite_store)
    SqliteDoor.open_door(sqlite_store.path, create=True, now_us=NOON_US + 1).close()
    assert not sqlite_store.changed()
    assert everything(sqlite_store) == before


def test_a_door_does_not_open_to_a_newer_format(tmp_path: Path, sqlite_store: SqliteStore) -> None:
    sqlite_store.close()
    con = apsw.Connection(str(tmp_path / "app.db"))
    con.execute("UPDATE monolite_file SET format = ?", (FORMAT + 1,))
    con.close()
    with pytest.raises(FileTooNew) as refused:
        SqliteDoor.open_door(tmp_path / "app.db", create=True, now_us=NOON_US)
    assert refused.value.format == FORMAT + 1


# Spawning.


def test_a_spawned_run_is_in_the_file_as_it_was_sent(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    sent = queued("a", args='["x"]', attributes='{"b":1}', version=4)
    made = door.spawn(sent, "attach")
    assert sqlite_store.changed()
    assert sqlite_store.run(RunNo(3)) == made == queued_as(3, sent)
    assert sqlite_store.max_seq() == 0


def queued_as(no: int, sent: Run) -> Run:
    return a_run(
        no,
        sent.id,
        status=e.QUEUED,
        args=sent.args,
        attributes=sent.attributes,
        version=sent.version,
        created_us=NOON_US,
        updated_us=NOON_US,
        started_us=None,
        wake_at_us=NOON_US,
    )


@pytest.mark.parametrize(
    ("taken", "number"),
    [([], 3), ([1], 3), ([2], 5), ([3], 5), ([4], 7), ([2, 3], 5), ([2, 9], 11), ([2, 10], 13)],
)
def test_other_processes_number_their_runs_oddly(
    door: SqliteDoor, sqlite_store: SqliteStore, taken: list[int], number: int
) -> None:
    sqlite_store.commit(batch(*(a_run(no) for no in taken)))
    made = door.spawn(queued("new"), "attach")
    assert made.no == number
    assert door.spawn(queued("newer"), "attach").no == number + 2


def test_two_doors_and_the_engine_never_take_the_same_number(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    other = SqliteDoor.open_door(sqlite_store.path, create=False, now_us=NOON_US)
    try:
        for turn in range(4):
            sqlite_store.commit(batch(a_run(2 + 2 * turn, f"engine-{turn}")))
            door.spawn(queued(f"door-{turn}"), "attach")
            other.spawn(queued(f"other-{turn}"), "attach")
    finally:
        other.close()
    assert len(everything(sqlite_store)["all"]) == 12
    assert sqlite_store.counts() == {e.RUNNING: 4, e.QUEUED: 8}


def test_attaching_joins_the_run_that_exists_and_writes_nothing(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    sqlite_store.commit(batch(a_run(2, "same")))
    assert door.spawn(queued("same"), "attach") == a_run(2, "same")
    sqlite_store.commit(batch(an_end(2)))
    before = everything(sqlite_store)
    assert door.spawn(queued("same"), "attach").status == e.COMPLETED
    assert not sqlite_store.changed()
    assert everything(sqlite_store) == before


@pytest.mark.parametrize(
    ("name", "id_conflict", "why"),
    [("order", "reject", "asked not to join it"), ("other", "attach", "it runs 'order'")],
)
def test_a_refused_spawn_writes_nothing_and_leaves_the_door_open(
    door: SqliteDoor, sqlite_store: SqliteStore, name: str, id_conflict: str, why: str
) -> None:
    sqlite_store.commit(batch(a_run(2, "same")))
    before = everything(sqlite_store)
    with pytest.raises(AlreadyExists, match=why):
        door.spawn(queued("same", name=name), id_conflict)
    assert everything(sqlite_store) == before
    sqlite_store.commit(batch(a_run(4)))  # the write lock is free
    assert door.spawn(queued("another"), id_conflict).no == 7


def test_restarting_an_open_run_asks_it_to_end_and_queues_the_next_generation(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    sqlite_store.commit(batch(a_run(2, "same")))
    made = door.spawn(queued("same", name="other"), "restart")
    assert (made.no, made.generation, made.name) == (5, 2, "other")
    assert sqlite_store.run_by_id("same") == made
    assert sqlite_store.run(RunNo(2)) == a_run(2, "same")  # its engine ends it
    assert terminations(sqlite_store) == [(2, '"restarted"')]
    assert sqlite_store.max_seq() == 1


def test_restarting_a_run_that_has_ended_sends_it_nothing(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    sqlite_store.commit(batch(a_run(2, "same"), an_end(2)))
    assert door.spawn(queued("same"), "restart").generation == 2
    assert sqlite_store.max_seq() == 0


def test_every_restart_ends_the_generation_before_it(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    made = [door.spawn(queued("same"), "restart") for _ in range(3)]
    assert [(run.no, run.generation) for run in made] == [(3, 1), (5, 2), (7, 3)]
    assert terminations(sqlite_store) == [(3, '"restarted"'), (5, '"restarted"')]


# Sending.


def test_a_message_goes_to_the_newest_run_of_its_id(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    sqlite_store.commit(batch(a_run(2, "same"), an_end(2), a_run(4, "same", generation=2)))
    run, fresh = door.post("same", a_message(0, "notes", value='"x"', message_id="m"))
    assert (run.no, run.generation, fresh) == (4, 2, True)
    (message,) = sqlite_store.undelivered(RunNo(4))
    assert message == a_message(4, "notes", value='"x"', message_id="m", seq=1, outside=1)
    assert sqlite_store.undelivered(RunNo(2)) == []


def test_a_message_that_was_sent_before_is_not_stored_again(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    sqlite_store.commit(batch(a_run(2, "same"), a_run(4, "other")))
    assert door.post("same", a_message(0, message_id="m"))[1]
    assert not door.post("same", a_message(0, value='"again"', message_id="m"))[1]
    assert door.post("other", a_message(0, message_id="m"))[1]
    assert [(m.run_no, m.value) for m in sqlite_store.messages_after(0, 9)] == [
        (2, '"hello"'),
        (4, '"hello"'),
    ]


def test_messages_without_an_id_are_all_stored(door: SqliteDoor, sqlite_store: SqliteStore) -> None:
    sqlite_store.commit(batch(a_run(2, "same")))
    assert [door.post("same", a_message(0))[1] for _ in range(3)] == [True, True, True]
    assert [m.seq for m in sqlite_store.undelivered(RunNo(2))] == [1, 2, 3]


def test_nothing_is_stored_for_a_run_that_has_ended(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    sqlite_store.commit(batch(a_run(2, "same"), an_end(2)))
    before = everything(sqlite_store)
    run, fresh = door.post("same", a_message(0, message_id="m"))
    assert (run.ended, fresh) == (True, True)
    assert everything(sqlite_store) == before


def test_a_repeated_message_is_known_after_its_run_has_ended(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    sqlite_store.commit(batch(a_run(2, "same"), a_message(2, message_id="m", n=0), an_end(2)))
    run, fresh = door.post("same", a_message(0, message_id="m"))
    assert (run.ended, fresh) == (True, False)


def test_a_message_to_nobody_is_refused_and_leaves_the_door_open(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    with pytest.raises(UnknownWorkflow, match=r"no run has the id 'nobody'.*spawn it first"):
        door.post("nobody", a_message(0))
    sqlite_store.commit(batch(a_run(2, "somebody")))  # the write lock is free
    assert door.post("somebody", a_message(0))[1]
    assert sqlite_store.max_seq() == 1


def test_the_message_that_was_given_stays_as_it_was(
    door: SqliteDoor, sqlite_store: SqliteStore
) -> None:
    sqlite_store.commit(batch(a_run(2, "same")))
    message = a_message(0)
    door.post("same", message)
    assert message == a_message(0)


# When it cannot be.


def test_a_full_disk_is_told_as_such_and_nothing_is_stored(
    door: SqliteDoor, con: apsw.Connection, sqlite_store: SqliteStore
) -> None:
    sqlite_store.commit(batch(a_run(2, "same")))
    before = everything(sqlite_store)
    con.pragma("max_page_count", con.pragma("page_count"))
    large = '"' + "x" * 100_000 + '"'
    with pytest.raises(StorageFull, match=r"app.db is full; free space, then send .* again"):
        door.post("same", a_message(0, value=large))
    with pytest.raises(StorageFull, match=r"app.db is full"):
        door.spawn(queued("new", args=f"[{large}]"), "attach")
    assert everything(sqlite_store) == before
    con.pragma("max_page_count", 1_000_000)
    assert door.post("same", a_message(0, value=large))[1]


def test_a_write_lock_that_is_never_free_is_told_as_such(
    door: SqliteDoor, sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "WAIT_S", 0.0)
    sqlite_store.commit(batch(a_run(2, "same")))
    before = everything(sqlite_store)
    other = apsw.Connection(str(sqlite_store.path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CommitUnknown, match=r"app.db: another process has held the write lock"):
        door.post("same", a_message(0))
    with pytest.raises(CommitUnknown, match=r"another process has held the write lock"):
        door.spawn(queued("new"), "attach")
    other.close()
    assert everything(sqlite_store) == before
    assert door.post("same", a_message(0))[1]
