"""Schedules: a row is written as it is read, by whoever read it last."""

from __future__ import annotations

from pathlib import Path

import pytest

from monolite.core.schedule import Amended, ScheduleRow, Spec, changed
from monolite.errors import UnknownSchedule
from monolite.store.protocol import Conflict, ScheduleWrite, Store, Writes
from monolite.store.sqlite.door import SqliteDoor
from monolite.store.sqlite.reader import SqliteReader
from monolite.store.sqlite.store import SqliteStore
from tests.store.samples import NOON_US, a_run, a_schedule


def put(store: Store, name: str, write: ScheduleWrite) -> None:
    writes = Writes()
    writes.schedules[name] = write
    assert writes
    store.commit(writes)


FULL = a_schedule(
    "full",
    spec=Spec(every_us=5, anchor_us=3, jitter_us=7),
    args='["' + "x" * 100_000 + '"]',
    paused=True,
    next_us=1,
    last_us=2,
    last_id="full@now-1",
    open=("a", 'b "quoted"'),
    buffered_us=3,
    backfill=((4, 5), (6, 7)),
    skipped=8,
    skipped_us=9,
    missed=10,
)


def test_a_schedule_comes_back_as_it_was_written(store: Store) -> None:
    put(store, "full", (None, FULL))
    put(store, "daily", (None, a_schedule()))
    assert store.schedules() == [a_schedule(), FULL]
    assert store.schedule("full") == FULL
    assert store.schedule("none") is None
    assert store.schedule_revisions() == {"daily": NOON_US, "full": NOON_US}


def test_a_schedule_is_replaced_and_deleted_by_its_revision(store: Store) -> None:
    put(store, "daily", (None, a_schedule()))
    later = a_schedule(revision=NOON_US + 1, skipped=1)
    put(store, "daily", (NOON_US, later))
    assert store.schedules() == [later]
    put(store, "daily", (NOON_US + 1, None))
    assert store.schedules() == []


@pytest.mark.parametrize(
    "write",
    [(None, a_schedule(skipped=1)), (5, a_schedule(skipped=1)), (5, None)],
    ids=["made twice", "changed since", "changed before it is deleted"],
)
def test_a_write_that_comes_too_late_writes_nothing(store: Store, write: ScheduleWrite) -> None:
    put(store, "daily", (None, a_schedule()))
    late = Writes()
    late.schedules["daily"] = write
    late.runs.append(a_run(2))
    with pytest.raises(Conflict):
        store.commit(late)
    assert store.schedules() == [a_schedule()]
    assert store.max_run_no() == 0


def test_what_is_gone_is_not_brought_back(store: Store) -> None:
    with pytest.raises(Conflict):
        put(store, "daily", (NOON_US, a_schedule(revision=NOON_US + 1)))
    assert store.schedules() == []


def test_the_door_changes_a_schedule_and_queues_its_runs(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    put(sqlite_store, "daily", (None, a_schedule()))
    sqlite_store.changed()
    door = SqliteDoor.open_door(tmp_path / "app.db", create=False, now_us=NOON_US)

    def run_it(row: ScheduleRow | None) -> Amended:
        assert row is not None
        return Amended(changed(row, open=("r",)), starts=("r",), answer=("r",))

    assert door.amend_schedule("daily", run_it, NOON_US + 9).answer == ("r",)
    assert sqlite_store.changed()
    assert sqlite_store.schedule("daily") == a_schedule(open=("r",), revision=NOON_US + 1)
    run = sqlite_store.run_by_id("r")
    assert run is not None
    assert (run.no % 2, run.name, run.args, run.status) == (1, "report", '["a"]', "queued")
    assert (run.created_us, run.wake_at_us) == (NOON_US + 9, NOON_US + 9)

    # What changes nothing is not written, and what is refused neither.
    door.amend_schedule("daily", Amended, NOON_US)
    assert sqlite_store.schedule_revisions() == {"daily": NOON_US + 1}

    def refuse(row: ScheduleRow | None) -> Amended:
        raise UnknownSchedule(str(row))

    with pytest.raises(UnknownSchedule):
        door.amend_schedule("daily", refuse, NOON_US)
    door.amend_schedule("other", lambda _: Amended(a_schedule("other")), NOON_US)
    door.amend_schedule("daily", lambda _: Amended(None), NOON_US)
    reader = SqliteReader.open(tmp_path / "app.db")
    assert reader.schedules() == [a_schedule("other")]
    reader.close()
    door.close()
