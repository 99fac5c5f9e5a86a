"""The journal: a run's own entries and its delivered messages, in one order."""

from __future__ import annotations

import pytest

from monolite.core import entry as e
from monolite.core.entry import Entry, RunNo
from monolite.store.protocol import Store
from tests.store.samples import NOON_US, a_link, a_message, a_run, an_attempt, an_entry, batch


def test_entries_come_back_whole_and_in_order(store: Store) -> None:
    store.commit(batch(a_run(2), an_entry(2, 1, "b#1", value=None, error="why"), an_entry(2, 0)))
    store.commit(batch(an_entry(2, 2, "timer#1", kind=e.TIMER, args="5", value=None)))
    assert store.entries(RunNo(2)) == [
        Entry(0, NOON_US, e.ACTIVITY, "charge#1", "[]", "1", None),
        Entry(1, NOON_US + 1, e.ACTIVITY, "b#1", "[]", None, "why"),
        Entry(2, NOON_US + 2, e.TIMER, "timer#1", "5", None, None),
    ]


def test_runs_have_journals_of_their_own(store: Store) -> None:
    store.commit(batch(a_run(2), a_run(4), an_entry(2, 0, "a#1"), an_entry(4, 0, "b#1")))
    assert [entry.key for entry in store.entries(RunNo(2))] == ["a#1"]
    assert [entry.key for entry in store.entries(RunNo(4))] == ["b#1"]
    assert store.entries(RunNo(6)) == []


def test_a_message_delivered_as_it_came_is_a_journal_entry(store: Store) -> None:
    store.commit(batch(a_run(2), an_entry(2, 0), an_entry(2, 2), a_message(2, "notes", n=1)))
    assert [(entry.n, entry.kind, entry.key) for entry in store.entries(RunNo(2))] == [
        (0, e.ACTIVITY, "charge#1"),
        (1, e.SIGNAL, "notes"),
        (2, e.ACTIVITY, "charge#1"),
    ]
    assert store.undelivered(RunNo(2)) == []


def test_a_waiting_message_is_no_entry_until_it_is_taken(store: Store) -> None:
    store.commit(batch(a_run(2), a_message(2, value='"a"', at_us=5), a_message(2, value='"b"')))
    assert store.entries(RunNo(2)) == []
    writes = batch()
    writes.taken.append((0, 77, 1))
    store.commit(writes)
    assert store.entries(RunNo(2)) == [Entry(0, 77, e.SIGNAL, "notes", None, '"a"', None)]
    assert [message.value for message in store.undelivered(RunNo(2))] == ['"b"']


def test_a_message_is_taken_once(store: Store) -> None:
    store.commit(batch(a_run(2), a_message(2)))
    for n in (0, 1):
        writes = batch()
        writes.taken.append((n, 70 + n, 1))
        store.commit(writes)
    assert [(entry.n, entry.at_us) for entry in store.entries(RunNo(2))] == [(0, 70)]


@pytest.mark.parametrize("kind", [e.SIGNAL, e.CANCEL, e.TERMINATE])
def test_every_kind_of_message_can_be_an_entry(store: Store, kind: str) -> None:
    store.commit(batch(a_run(2), a_message(2, "", kind=kind, n=0)))
    assert [entry.kind for entry in store.entries(RunNo(2))] == [kind]


def test_views_keep_their_latest_value(store: Store) -> None:
    writes = batch(a_run(2), a_run(4))
    writes.views += [(RunNo(2), "a", "1"), (RunNo(2), "b", "2"), (RunNo(2), "a", "3")]
    store.commit(writes)
    assert (store.view(RunNo(2), "a"), store.view(RunNo(2), "b")) == ("3", "2")
    assert store.view(RunNo(4), "a") is None
    writes = batch()
    writes.views.append((RunNo(2), "b", "4"))
    store.commit(writes)
    assert store.view(RunNo(2), "b") == "4"


def test_an_attempt_keeps_its_beginning_and_gets_its_newest_state(store: Store) -> None:
    store.commit(batch(a_run(2), an_attempt(2, 1, at_us=5)))
    store.commit(
        batch(
            an_attempt(2, 1, at_us=9, state=e.ATTEMPT_FAILED, due_us=20, error="why"),
            an_attempt(2, 2, at_us=20),
        )
    )
    assert store.attempts(RunNo(2)) == [
        an_attempt(2, 1, at_us=5, state=e.ATTEMPT_FAILED, due_us=20, error="why"),
        an_attempt(2, 2, at_us=20),
    ]


def test_attempts_come_by_key_and_number(store: Store) -> None:
    numbers = [(key, number) for key in ("b#1", "a#1", "a#10", "a#2") for number in (10, 2, 1)]
    store.commit(batch(a_run(2), *(an_attempt(2, number, key) for key, number in numbers)))
    found = [(attempt.key, attempt.number) for attempt in store.attempts(RunNo(2))]
    assert found == sorted(numbers)
    assert store.attempts(RunNo(4)) == []


def test_links_are_kept_once_and_cut_by_their_target(store: Store) -> None:
    store.commit(batch(a_link(2, 4), a_link(2, 4), a_link(2, 6), a_link(8, 4), a_link(2, 4, "k")))
    store.commit(batch(a_link(2, 4)))
    assert sorted(map(repr, store.links())) == sorted(
        map(repr, [a_link(2, 4), a_link(2, 6), a_link(8, 4), a_link(2, 4, "k")])
    )
    writes = batch()
    writes.unlinked.append(RunNo(2))
    store.commit(writes)
    assert store.links() == [a_link(8, 4)]


def test_a_link_made_and_cut_in_one_batch_is_cut(store: Store) -> None:
    writes = batch(a_link(2, 4))
    writes.unlinked.append(RunNo(2))
    store.commit(writes)
    assert store.links() == []
