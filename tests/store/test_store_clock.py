"""Whom to wake, and when: due runs, queued runs, parked runs."""

from __future__ import annotations

from monolite.core import entry as e
from monolite.core.entry import RunNo
from monolite.store.protocol import Store
from tests.store.samples import a_note, a_run, an_end, batch

FOREVER_US = 2**62
START = (-1, -1)


def sleeping(*wakes: int | None) -> list[object]:
    """Runs 2, 4, 6 ... that want to be woken at these times."""
    rows: list[object] = []
    for number, wake_at_us in enumerate(wakes, 1):
        rows += [a_run(2 * number), a_note(2 * number, wake_at_us=wake_at_us)]
    return rows


def test_due_runs_come_in_the_order_of_their_time_then_their_number(store: Store) -> None:
    store.commit(batch(*sleeping(30, 10, None, 20, 10, 0)))
    assert store.due(START, FOREVER_US, 99) == [(0, 12), (10, 4), (10, 10), (20, 8), (30, 2)]
    assert store.due(START, 10, 99) == [(0, 12), (10, 4), (10, 10)]
    assert store.due(START, -1, 99) == []


def test_due_runs_are_read_page_by_page(store: Store) -> None:
    store.commit(batch(*sleeping(*[5] * 4, *[7] * 3)))
    seen: list[tuple[int, int]] = []
    after = START
    while page := store.due(after, FOREVER_US, 2):
        seen += page
        after = page[-1]
    assert seen == [(5, 2), (5, 4), (5, 6), (5, 8), (7, 10), (7, 12), (7, 14)]


def test_the_next_one_due_is_the_first_after_a_moment(store: Store) -> None:
    store.commit(batch(*sleeping(30, 10, None, 20)))
    assert store.next_due_us(-1) == 10
    assert store.next_due_us(10) == 20
    assert store.next_due_us(29) == 30
    assert store.next_due_us(30) is None


def test_runs_that_have_ended_are_never_due(store: Store) -> None:
    store.commit(batch(*sleeping(10, 20), an_end(2)))
    assert store.due(START, FOREVER_US, 99) == [(20, 4)]
    assert store.next_due_us(-1) == 20


def test_a_run_that_was_noted_again_is_due_at_its_new_time_only(store: Store) -> None:
    store.commit(batch(*sleeping(10)))
    store.commit(batch(a_note(2, wake_at_us=50)))
    assert store.due(START, FOREVER_US, 99) == [(50, 2)]
    store.commit(batch(a_note(2, wake_at_us=None)))
    assert store.due(START, FOREVER_US, 99) == []
    assert store.next_due_us(-1) is None


def queued(no: int, wake_at_us: int) -> object:
    return a_run(no, status=e.QUEUED, started_us=None, wake_at_us=wake_at_us)


def test_queued_runs_come_when_they_are_due_in_the_order_of_their_time(store: Store) -> None:
    store.commit(batch(queued(3, 30), queued(5, 10), queued(7, 20), a_run(8, wake_at_us=5)))
    assert store.queued(20, 99) == [5, 7]
    assert store.queued(30, 99) == [5, 7, 3]
    assert store.queued(30, 2) == [5, 7]
    assert store.queued(9, 99) == []


def test_queued_runs_are_due_like_others(store: Store) -> None:
    store.commit(batch(queued(3, 30), a_run(8, wake_at_us=5)))
    assert store.due(START, FOREVER_US, 99) == [(5, 8), (30, 3)]


def test_a_run_that_was_started_or_ended_is_not_queued(store: Store) -> None:
    store.commit(batch(queued(3, 10), queued(5, 10), queued(7, 10)))
    store.commit(batch(a_note(3, status=e.RUNNING), an_end(5)))
    assert store.queued(FOREVER_US, 99) == [7]


def test_parked_runs_are_read_page_by_page(store: Store) -> None:
    statuses = [e.DIVERGED, e.STRANDED, e.WAITING, e.DIVERGED, e.RUNNING, e.STRANDED]
    for number, status in enumerate(statuses, 1):
        store.commit(batch(a_run(2 * number), a_note(2 * number, status=status)))
    assert store.parked(99, 0) == [2, 4, 8, 12]
    assert store.parked(2, 0) == [2, 4]
    assert store.parked(2, 4) == [8, 12]
    assert store.parked(2, 12) == []
    store.commit(batch(an_end(RunNo(8)), a_note(2, status=e.RUNNING)))
    assert store.parked(99, 0) == [4, 12]
