"""Runs: inserted whole, changed by notes, ended once."""

from __future__ import annotations

import pytest

from monolite.core import entry as e
from monolite.core.entry import RunNo
from monolite.store.protocol import Store
from tests.store.samples import a_note, a_run, an_end, batch


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.run(RunNo(2)) is None
    assert store.run_by_id("run-2") is None
    assert (store.max_run_no(), store.max_seq()) == (0, 0)
    assert store.counts() == {}
    assert (store.links(), store.parked(9, 0), store.queued(2**62, 9)) == ([], [], [])


def test_a_run_comes_back_whole(store: Store) -> None:
    run = a_run(
        2,
        "me",
        generation=3,
        name="order",
        version=7,
        status=e.QUEUED,
        args='["x"]',
        started_us=None,
        wake_at_us=5,
        parent_no=RunNo(4),
        parent_id="parent",
        parent_key="order#1",
        attributes='{"a":1}',
        seed="seed",
    )
    store.commit(batch(run))
    assert store.run(RunNo(2)) == run
    assert store.run_by_id("me") == run
    assert store.max_run_no() == 2


def test_what_is_read_shares_no_memory_with_the_store(store: Store) -> None:
    run = a_run(2)
    store.commit(batch(run))
    run.status = e.WAITING
    read = store.run(RunNo(2))
    assert read is not None
    read.status = e.FAILED
    by_id = store.run_by_id("run-2")
    assert by_id is not None
    by_id.status = e.FAILED
    again = store.run(RunNo(2))
    assert again is not None
    assert again.status == e.RUNNING


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_the_newest_generation_answers_for_an_id(store: Store, order: tuple[int, ...]) -> None:
    for generation in order:
        store.commit(batch(a_run(2 * generation, "same", generation=generation)))
    newest = store.run_by_id("same")
    assert newest is not None
    assert (newest.generation, newest.no) == (3, 6)


def test_a_run_may_be_born_and_end_in_one_batch(store: Store) -> None:
    run = a_run(2, status=e.COMPLETED)
    run.ended_us, run.value = 99, '"early"'
    store.commit(batch(run, an_end(2, value='"late"', ended_us=100)))
    found = store.run(RunNo(2))
    assert found is not None
    assert (found.status, found.value, found.ended_us) == (e.COMPLETED, '"late"', 100)
    assert found.wake_at_us is None
    assert store.due((-1, -1), 2**62, 9) == []


def test_a_note_says_what_an_open_run_waits_for(store: Store) -> None:
    store.commit(batch(a_run(2, started_us=None)))
    store.commit(batch(a_note(2, wake_at_us=77, error="odd", started_us=55)))
    found = store.run(RunNo(2))
    assert found is not None
    assert (found.status, found.wake_at_us, found.waiting_on) == (e.WAITING, 77, "signal notes")
    assert (found.error, found.started_us) == ("odd", 55)
    assert found.updated_us == a_note(2).updated_us


def test_a_run_starts_once(store: Store) -> None:
    store.commit(batch(a_run(2, started_us=None)))
    for started_us in (None, 5, None, 6):
        store.commit(batch(a_note(2, started_us=started_us)))
    found = store.run(RunNo(2))
    assert found is not None
    assert found.started_us == 5


def test_the_last_note_of_a_batch_stands(store: Store) -> None:
    store.commit(batch(a_run(2), a_note(2, waiting_on="a"), a_note(2, waiting_on="b")))
    found = store.run(RunNo(2))
    assert found is not None
    assert found.waiting_on == "b"


def test_an_end_clears_what_the_run_waited_for(store: Store) -> None:
    store.commit(batch(a_run(2), a_note(2, wake_at_us=77)))
    store.commit(batch(an_end(2, status=e.FAILED, value=None, error="why")))
    found = store.run(RunNo(2))
    assert found is not None
    assert found.ended
    assert (found.status, found.value, found.error) == (e.FAILED, None, "why")
    assert (found.wake_at_us, found.waiting_on) == (None, None)
    assert found.ended_us == found.updated_us == an_end(2).ended_us


def test_a_run_ends_once(store: Store) -> None:
    store.commit(batch(a_run(2), an_end(2, value="1"), an_end(2, value="2")))
    store.commit(batch(an_end(2, status=e.TERMINATED, value="3", ended_us=1)))
    found = store.run(RunNo(2))
    assert found is not None
    assert (found.status, found.value) == (e.COMPLETED, "1")


def test_a_note_does_not_touch_a_run_that_has_ended(store: Store) -> None:
    store.commit(batch(a_run(2), an_end(2)))
    before = store.run(RunNo(2))
    store.commit(batch(a_note(2, wake_at_us=5, started_us=9, error="late")))
    assert store.run(RunNo(2)) == before
    assert store.due((-1, -1), 2**62, 9) == []


def test_a_note_and_an_end_in_one_batch_end_the_run(store: Store) -> None:
    store.commit(batch(a_run(2)))
    store.commit(batch(a_note(2, wake_at_us=5), an_end(2)))
    found = store.run(RunNo(2))
    assert found is not None
    assert (found.status, found.wake_at_us) == (e.COMPLETED, None)


def test_counts_tell_runs_by_status(store: Store) -> None:
    store.commit(batch(a_run(2), a_run(4), a_run(6, status=e.QUEUED), a_note(4), an_end(2)))
    assert store.counts() == {e.COMPLETED: 1, e.WAITING: 1, e.QUEUED: 1}


def test_the_highest_number_is_known_whatever_the_order(store: Store) -> None:
    store.commit(batch(a_run(8), a_run(3)))
    assert store.max_run_no() == 8
    assert store.max_seq() == 0
