"""Rows at the edge of what an engine writes: both stores make the same of them."""

from __future__ import annotations

from monolite.core import entry as e
from monolite.core.entry import RunNo
from monolite.store.protocol import Store
from tests.store.samples import a_run, batch


def test_what_a_run_waits_for_and_how_it_ended_is_no_part_of_its_birth(store: Store) -> None:
    """A note says the first, an end the second; the row a run is born with says neither."""
    run = a_run(2, waiting_on="a message", value="1", error="2", ended_us=3)
    store.commit(batch(run))
    assert store.run(RunNo(2)) == a_run(2)


def test_a_queued_run_that_nothing_is_to_wake_is_never_due(store: Store) -> None:
    store.commit(batch(a_run(2, status=e.QUEUED, wake_at_us=None)))
    assert store.queued(2**62, 9) == []
    assert store.due((-1, -1), 2**62, 9) == []
    assert store.next_due_us(-1) is None


def test_queued_runs_of_one_moment_come_by_number(store: Store) -> None:
    store.commit(batch(*(a_run(no, status=e.QUEUED, wake_at_us=5) for no in (9, 3, 7, 5))))
    assert store.queued(5, 9) == [3, 5, 7, 9]
    assert store.queued(5, 2) == [3, 5]
