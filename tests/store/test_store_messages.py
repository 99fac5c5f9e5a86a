"""Messages: one order for the whole file, each id once."""

from __future__ import annotations

import pytest

from monolite.core import entry as e
from monolite.core.entry import RunNo
from monolite.store.protocol import Message, Store
from tests.store.samples import NOON_US, a_message, a_run, an_end, batch


def test_a_message_comes_back_whole_with_its_place_in_the_file(store: Store) -> None:
    store.commit(batch(a_run(2), a_message(2, "notes", value='{"a":1}', message_id="m")))
    assert store.undelivered(RunNo(2)) == [
        Message(RunNo(2), e.SIGNAL, "notes", '{"a":1}', NOON_US, "m", None, 1)
    ]


def test_messages_wait_in_the_order_they_were_put_in(store: Store) -> None:
    store.commit(batch(a_run(2), a_run(4)))
    for number in range(6):
        store.commit(batch(a_message(2 + 2 * (number % 2), value=str(number))))
    store.commit(batch(*(a_message(2, value=str(number)) for number in range(6, 9))))
    assert [m.value for m in store.undelivered(RunNo(2))] == ["0", "2", "4", "6", "7", "8"]
    assert [m.value for m in store.undelivered(RunNo(4))] == ["1", "3", "5"]
    assert [m.seq for m in store.messages_after(0, 99)] == list(range(1, 10))
    assert store.max_seq() == 9


def test_waiting_messages_are_read_page_by_page(store: Store) -> None:
    store.commit(batch(a_run(2), *(a_message(2, value=str(n)) for n in range(7))))
    seen: list[int] = []
    last = 0
    while page := store.messages_after(last, 3):
        assert len(page) <= 3
        seen += [message.seq or 0 for message in page]
        last = seen[-1]
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert store.messages_after(last, 3) == []


def test_delivered_messages_are_not_among_the_waiting(store: Store) -> None:
    store.commit(batch(a_run(2), a_message(2, n=0), a_message(2), a_message(2)))
    writes = batch()
    writes.taken.append((1, NOON_US, 2))
    store.commit(writes)
    assert [m.seq for m in store.messages_after(0, 9)] == [3]
    assert [m.seq for m in store.undelivered(RunNo(2))] == [3]
    assert store.max_seq() == 3


def test_a_message_waits_for_a_run_that_has_ended_too(store: Store) -> None:
    store.commit(batch(a_run(2), an_end(2), a_message(2)))
    assert len(store.undelivered(RunNo(2))) == 1


def test_an_id_is_remembered_whatever_became_of_its_message(store: Store) -> None:
    store.commit(batch(a_run(2), a_run(4), a_message(2, message_id="m"), a_message(2)))
    assert store.answer(a_run(2), "m") == (None, None)
    assert store.answer(a_run(2), "other") is None
    assert store.answer(a_run(4), "m") is None
    writes = batch(an_end(2))
    writes.taken.append((0, NOON_US, 1))
    store.commit(writes)
    assert store.answer(a_run(2), "m") == (None, None)


def test_what_is_read_of_a_message_shares_no_memory_with_the_store(store: Store) -> None:
    sent = a_message(2)
    store.commit(batch(a_run(2), sent))
    sent.value = "changed"
    for read in (store.undelivered(RunNo(2)), store.messages_after(0, 9)):
        read[0].n = 7
    assert [(m.n, m.value) for m in store.undelivered(RunNo(2))] == [(None, '"hello"')]


@pytest.mark.parametrize(
    "text", ['"\\u0000"', '"gr\u00fc\u00dfe \U0001f600"', '"' + "x" * 100_000 + '"']
)
def test_any_text_survives(store: Store, text: str) -> None:
    store.commit(batch(a_run(2), a_message(2, "\u00fc\U0001f600", value=text, message_id="\u00fc")))
    (found,) = store.undelivered(RunNo(2))
    assert (found.value, found.channel) == (text, "\u00fc\U0001f600")
    assert store.answer(a_run(2), "\u00fc") == (None, None)
