"""Commits: all of a batch or nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monolite import errors
from monolite.core import entry as e
from monolite.core.entry import RunNo
from monolite.store.protocol import Conflict, Store, Writes
from monolite.store.sqlite.door import SqliteDoor
from monolite.store.sqlite.store import SqliteStore
from tests.store.samples import (
    NOON_US,
    a_link,
    a_message,
    a_note,
    a_run,
    a_schedule,
    an_attempt,
    an_end,
    an_entry,
    batch,
    everything,
)


def full_batch() -> Writes:
    """A batch that has some of everything."""
    writes = batch(
        a_run(4, "other"),
        an_entry(2, 1),
        a_message(2, message_id="n"),
        an_attempt(2, 2, state=e.ATTEMPT_FAILED, due_us=9, error="why"),
        a_link(2, 4),
        a_note(2),
        an_end(2),
    )
    writes.views.append((RunNo(2), "a", '"changed"'))
    writes.taken.append((2, NOON_US + 5, 1))
    writes.unlinked.append(RunNo(6))
    writes.states[RunNo(4)] = (RunNo(4), 1, '{"balance":5}', 3)
    writes.streams.append((RunNo(4), "a", 1, 2, "", '["x","y"]'))
    writes.journal.append((RunNo(4), 0, NOON_US, e.PATCH, "new", None, None, None))
    writes.messages.append(a_message(4, due_us=NOON_US + 9))
    writes.schedules["daily"] = (None, a_schedule())
    return writes


def prepare(store: Store) -> dict[str, Any]:
    writes = batch(
        a_run(2),
        an_entry(2, 0),
        a_message(2, message_id="m"),
        an_attempt(2, 1),
        a_link(6, 2),
    )
    writes.views.append((RunNo(2), "a", '"first"'))
    store.commit(writes)
    return everything(store)


def test_a_batch_is_written_whole(store: Store) -> None:
    before = prepare(store)
    store.commit(full_batch())
    after = everything(store)
    unchanged = [name for name in before if before[name] == after[name]]
    assert unchanged == ["queued", "parked"]
    run = store.run(RunNo(2))
    assert run is not None
    assert run.status == e.COMPLETED
    assert [entry.n for entry in store.entries(RunNo(2))] == [0, 1, 2]
    assert store.view(RunNo(2), "a") == '"changed"'
    assert store.links() == [a_link(2, 4)]


def test_an_empty_batch_changes_nothing(store: Store) -> None:
    before = prepare(store)
    assert not Writes()
    store.commit(Writes())
    assert everything(store) == before


def test_a_batch_with_anything_in_it_is_true() -> None:
    names = ["runs", "journal", "messages", "taken", "views", "attempts", "links", "unlinked"]
    for name in [*names, "notes", "ends"]:
        writes = Writes()
        assert not writes
        getattr(writes, name).append(None)
        assert writes, name


@pytest.mark.parametrize(
    "conflicting",
    [
        [a_run(6, "run-2")],
        [a_run(6, "new"), a_run(8, "new")],
        [a_run(6, "run-2", generation=1, name="other")],
        [a_message(2, message_id="m")],
        [a_message(2, message_id="k"), a_message(2, message_id="k")],
    ],
    ids=["run in the store", "run twice", "other run", "message in the store", "message twice"],
)
def test_a_conflict_writes_nothing_of_its_batch(store: Store, conflicting: list[Any]) -> None:
    before = prepare(store)
    writes = full_batch()
    for row in conflicting:
        (writes.messages if hasattr(row, "channel") else writes.runs).append(row)
    with pytest.raises(Conflict):
        store.commit(writes)
    assert everything(store) == before
    store.commit(full_batch())
    assert everything(store) != before


def test_the_next_generation_of_an_id_is_no_conflict(store: Store) -> None:
    prepare(store)
    store.commit(batch(a_run(6, "run-2", generation=2)))
    newest = store.run_by_id("run-2")
    assert newest is not None
    assert newest.no == 6


def test_the_same_message_id_of_another_run_is_no_conflict(store: Store) -> None:
    prepare(store)
    store.commit(batch(a_run(4), a_message(4, message_id="m"), a_message(2), a_message(2)))
    assert store.answer(a_run(4), "m") == (None, None)
    assert len(store.undelivered(RunNo(2))) == 3


@pytest.mark.parametrize(
    "rows",
    [[an_entry(2, 0)], [an_entry(2, 5), an_entry(2, 5)]],
    ids=["in the store", "twice in the batch"],
)
def test_a_journal_position_is_written_once(store: Store, rows: list[Any]) -> None:
    before = prepare(store)
    writes = full_batch()
    writes.journal += rows
    with pytest.raises(Exception, match=r"journal") as caught:
        store.commit(writes)
    assert not isinstance(caught.value, Conflict)
    assert everything(store) == before


def test_numbers_of_a_rolled_back_batch_are_used_again(store: Store) -> None:
    prepare(store)
    with pytest.raises(Conflict):
        store.commit(batch(a_message(2), a_message(2), a_run(4, "run-2")))
    assert store.max_seq() == 1
    store.commit(batch(a_message(2)))
    assert store.max_seq() == 2


def test_nobody_else_has_written_until_somebody_has(store: Store) -> None:
    assert not store.changed()
    prepare(store)
    assert not store.changed()


def test_a_reader_sees_what_is_committed(store: Store) -> None:
    reader = store.reader()
    try:
        assert reader.run_by_id("run-2") is None
        prepare(store)
        assert reader.run_by_id("run-2") == store.run_by_id("run-2")
        assert reader.entries(RunNo(2)) == store.entries(RunNo(2))
        assert reader.counts() == store.counts()
        assert reader.view(RunNo(2), "a") == '"first"'
        assert reader.attempts(RunNo(2)) == store.attempts(RunNo(2))
        assert reader.undelivered(RunNo(2)) == store.undelivered(RunNo(2))
    finally:
        reader.close()
    assert store.counts() == {e.RUNNING: 1}


def test_a_checkpoint_changes_nothing(store: Store) -> None:
    before = prepare(store)
    store.checkpoint()
    assert everything(store) == before


def test_a_file_has_an_identity_and_an_epoch(store: Store) -> None:
    assert store.epoch == 1
    assert len(store.file_id) == 32


# What only a file can do.


def test_a_file_keeps_everything_and_counts_its_owners(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    prepare(sqlite_store)
    sqlite_store.commit(full_batch())
    before, file_id = everything(sqlite_store), sqlite_store.file_id
    sqlite_store.close()
    again = SqliteStore.own(tmp_path / "app.db", now_us=NOON_US)
    try:
        assert everything(again) == before
        assert (again.epoch, again.file_id) == (2, file_id)
    finally:
        again.close()


def test_an_owner_that_was_passed_over_writes_nothing(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    before = prepare(sqlite_store)
    taker = SqliteStore.own(tmp_path / "app.db", now_us=NOON_US, takeover=True)
    try:
        with pytest.raises(errors.Fenced) as caught:
            sqlite_store.commit(full_batch())
        assert (caught.value.epoch, caught.value.current) == (1, 2)
        assert everything(taker) == before
        taker.commit(full_batch())
    finally:
        taker.close()


def test_what_another_process_writes_is_noticed_once(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    prepare(sqlite_store)
    door = SqliteDoor.open_door(tmp_path / "app.db", create=False, now_us=NOON_US)
    try:
        sqlite_store.changed()
        run = door.spawn(a_run(0, "theirs", status=e.QUEUED, wake_at_us=NOON_US), "attach")
        assert run.no % 2 == 1
        assert sqlite_store.changed()
        assert not sqlite_store.changed()
        assert sqlite_store.run_by_id("theirs") == run
        assert sqlite_store.queued(NOON_US, 9) == [run.no]
    finally:
        door.close()


def test_statuses_outside_the_schema_are_refused(sqlite_store: SqliteStore) -> None:
    before = prepare(sqlite_store)
    with pytest.raises(Exception, match="CHECK constraint failed"):
        sqlite_store.commit(batch(a_note(2, status="bored")))
    assert everything(sqlite_store) == before
