"""The scheduler decides as a plain list would, and never starts too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from monolite import Breaker, Queue, Rate
from monolite.core.scheduler import GONE, HELD, OLDEST_EVERY, SHELVED, WAITING, Scheduler, Ticket
from monolite.errors import Misused

KEYS = ["a", "b", "c", ""]


def scheduler(**limits: Any) -> Scheduler:
    return Scheduler(Queue("q", **limits).limits)


def fill(made: Scheduler, *tickets: tuple[str, int], since_us: int = 0) -> list[Ticket]:
    """Put in tickets of (key, priority), one after the other."""
    put = [Ticket("q", key, priority, since_us, n, n) for n, (key, priority) in enumerate(tickets)]
    for ticket in put:
        made.move(ticket, WAITING)
    return put


def claimed(made: Scheduler, now_us: int = 0) -> list[Any]:
    """Who starts now, in order."""
    found: list[Any] = []
    while (ticket := made.claim(now_us)) is not None:
        found.append(ticket.subject)
    return found


def test_the_highest_priority_goes_first_and_equals_in_order() -> None:
    made = scheduler(concurrency=4)
    fill(made, ("", 0), ("", 5), ("", -1), ("", 5))
    assert claimed(made) == [1, 3, 0, 2]


def test_no_more_than_the_concurrency_run() -> None:
    made = scheduler(concurrency=2)
    first, *_ = fill(made, ("", 0), ("", 0), ("", 0))
    assert claimed(made) == [0, 1]
    assert made.next_us(0) is None
    made.leave(first, 0, succeeded=True)
    assert claimed(made) == [2]


def test_no_more_than_per_key_run_under_one_key() -> None:
    made = scheduler(per_key=1)
    first, *_ = fill(made, ("a", 9), ("a", 9), ("b", 0))
    assert claimed(made) == [0, 2]
    assert made.next_us(0) is None
    made.leave(first, 0, succeeded=None)
    assert claimed(made) == [1]


def test_keys_take_turns() -> None:
    made = scheduler()
    fill(made, *[("a", 0)] * 4, *[("b", 0)] * 2, ("c", 0))
    assert claimed(made) == [0, 4, 6, 1, 5, 2, 3]


def test_a_late_key_does_not_wait_for_ten_thousand_of_another() -> None:
    made = scheduler(concurrency=1)
    put = fill(made, *[("big", 0)] * 10_000)
    assert made.claim(0) is put[0]
    late = Ticket("q", "small", 0, 5, 99_999, "late")
    made.move(late, WAITING)
    made.leave(put[0], 0, succeeded=True)
    assert made.claim(0) is late


def test_a_key_that_always_comes_back_does_not_starve_another() -> None:
    made = scheduler(concurrency=1)
    fill(made, *[("big", 0)] * 100)
    served = Counter[str]()
    back: Ticket | None = None
    for n in range(100):
        if back is None:
            back = Ticket("q", "small", 0, n, 1_000 + n, n)
            made.move(back, WAITING)
        ticket = made.claim(n)
        assert ticket is not None
        served[ticket.key] += 1
        made.leave(ticket, n, succeeded=True)
        back = None if ticket is back else back
    assert abs(served["big"] - served["small"]) <= 100 // OLDEST_EVERY


def test_what_has_waited_longest_starts_whatever_comes_with_a_higher_priority() -> None:
    made = scheduler(concurrency=1)
    (low,) = fill(made, ("", -5))
    seq = 1
    for n in range(OLDEST_EVERY):
        made.move(Ticket("q", "", 7, n, seq + n, "high"), WAITING)
        ticket = made.claim(n)
        assert ticket is not None
        made.leave(ticket, n, succeeded=True)
    assert low.state == GONE


def test_a_paused_queue_starts_nothing() -> None:
    made = scheduler()
    fill(made, ("", 0))
    made.paused = True
    assert (claimed(made), made.next_us(0)) == ([], None)
    made.paused = False
    assert claimed(made) == [0]


def test_a_rate_lets_a_burst_start_and_the_rest_when_it_is_over() -> None:
    made = scheduler(rate=Rate(2, 1))
    fill(made, *[("", 0)] * 5)
    assert claimed(made, 0) == [0, 1]
    assert made.next_us(10) == 1_000_000
    assert claimed(made, 999_999) == []
    assert claimed(made, 1_000_000) == [2, 3]
    assert claimed(made, 9_000_000) == [4]


def test_a_clock_that_is_set_back_stops_a_rate_for_one_period_at_most() -> None:
    made = scheduler(rate=Rate(1, 1), breaker=Breaker(1, 5))
    first, _ = fill(made, ("", 0), ("", 0))
    hour_us = 3_600_000_000
    assert claimed(made, hour_us) == [0]
    made.leave(first, hour_us, succeeded=False)
    assert made.next_us(7) == 5_000_007


def test_a_breaker_opens_lets_one_probe_and_closes_with_its_success() -> None:
    made = scheduler(breaker=Breaker(2, 10), concurrency=3)
    put = fill(made, *[("", 0)] * 8)
    assert claimed(made, 0) == [0, 1, 2]
    made.leave(put[0], 0, succeeded=False)
    made.leave(put[1], 0, succeeded=False)
    made.leave(put[2], 0, succeeded=True)  # it began before: it proves nothing
    assert (claimed(made, 5), made.next_us(5)) == ([], 10_000_000)
    assert claimed(made, 10_000_000) == [3]
    assert made.next_us(10_000_000) is None
    made.leave(put[3], 10_000_000, succeeded=False)
    assert made.next_us(11_000_000) == 20_000_000
    assert claimed(made, 20_000_000) == [4]
    made.leave(put[4], 20_000_000, succeeded=None)
    assert claimed(made, 20_000_000) == [5]
    made.leave(put[5], 20_000_000, succeeded=True)
    assert claimed(made, 20_000_000) == [6, 7]


def test_a_probe_that_is_put_aside_is_followed_by_another() -> None:
    made = scheduler(breaker=Breaker(1, 1))
    put = fill(made, *[("", 0)] * 3)
    made.leave(put[made.claim(0) is not put[0]], 0, succeeded=False)
    assert made.claim(1_000_000) is put[1]
    made.move(put[1], SHELVED)
    assert made.claim(1_000_000) is put[2]


def test_a_success_in_between_keeps_the_breaker_closed() -> None:
    made = scheduler(breaker=Breaker(2, 10))
    put = fill(made, *[("", 0)] * 4)
    claimed(made)
    for ticket, succeeded in zip(put, [False, True, False, None], strict=True):
        made.leave(ticket, 0, succeeded=succeeded)
    assert made.breaker_state() == (1, None)


def test_limits_change_while_it_runs() -> None:
    made = scheduler(concurrency=1, per_key=1)
    fill(made, *[("a", 0)] * 4)
    assert claimed(made) == [0]
    made.change(Queue("q", concurrency=3).limits)
    assert claimed(made) == [1, 2]
    made.change(Queue("q", concurrency=1).limits)
    assert (claimed(made), made.running) == ([], 3)


def test_a_shelved_ticket_is_nobodys_turn_until_it_is_put_back() -> None:
    made = scheduler()
    first, _ = fill(made, ("a", 1), ("a", 0))
    made.move(first, SHELVED)
    assert claimed(made) == [1]
    made.move(first, WAITING)
    assert claimed(made) == [0]


def test_a_ticket_that_comes_and_goes_leaves_nothing_behind() -> None:
    made = scheduler()
    ticket, _ = fill(made, ("a", 0), ("a", 0))
    for n in range(10_000):
        made.move(ticket, GONE)
        made.move(ticket, WAITING)
        made.move(Ticket("q", f"k{n}", 0, 0, 100 + n, n), SHELVED)
    assert made.entries < 400


# The model.


class Naive:
    """The same queue as a list that is looked through from end to end."""

    def __init__(self, concurrency: int | None, per_key: int | None) -> None:
        self.concurrency = concurrency
        self.per_key = per_key
        self.tickets: list[Ticket] = []
        self.held: list[Ticket] = []
        self.served: dict[str, tuple[int, int]] = {}
        self.claims = 0
        self.lanes = 0

    def lane(self, key: str) -> None:
        """Note that a key is there, behind all others but who was served last."""
        if key not in self.served:
            self.lanes += 1
            self.served[key] = (2 * self.claims - 1, self.lanes)

    def forget(self, key: str) -> None:
        if all(t.key != key for t in self.tickets + self.held):
            self.served.pop(key, None)

    def next(self) -> Ticket | None:
        if self.concurrency is not None and len(self.held) >= self.concurrency:
            return None
        running = Counter(t.key for t in self.held)
        may = [t for t in self.tickets if self.per_key is None or running[t.key] < self.per_key]
        if not may:
            return None
        if (self.claims + 1) % OLDEST_EVERY == 0:
            return min(may, key=lambda t: (t.since_us, t.seq))
        top = {k: max(t.priority for t in may if t.key == k) for k in {t.key for t in may}}
        key = min(top, key=lambda k: (-top[k], *self.served[k]))
        mine = [t for t in may if t.key == key]
        return min(mine, key=lambda t: (-t.priority, t.since_us, t.seq))


class Model(RuleBasedStateMachine):
    """Does the same to both, and compares who starts."""

    def __init__(self) -> None:
        super().__init__()
        self.real = scheduler(concurrency=3, per_key=2)
        self.naive = Naive(3, 2)
        self.seq = 0

    @rule(key=st.sampled_from(KEYS), priority=st.integers(0, 2), since=st.integers(0, 5))
    def put(self, key: str, priority: int, since: int) -> None:
        self.seq += 1
        ticket = Ticket("q", key, priority, since, self.seq, self.seq)
        self.naive.lane(ticket.key)
        self.naive.tickets.append(ticket)
        self.real.move(ticket, WAITING)

    @rule()
    def claim(self) -> None:
        expected = self.naive.next()
        assert self.real.claim(0) is expected
        if expected is not None:
            self.naive.claims += 1
            self.naive.tickets.remove(expected)
            self.naive.held.append(expected)
            self.naive.served[expected.key] = (
                2 * self.naive.claims,
                self.naive.served[expected.key][1],
            )

    @precondition(lambda self: self.naive.held)
    @rule(which=st.integers(0, 9))
    def leave(self, which: int) -> None:
        ticket = self.naive.held.pop(which % len(self.naive.held))
        self.real.leave(ticket, 0, succeeded=True)
        self.naive.forget(ticket.key)

    @precondition(lambda self: self.naive.tickets)
    @rule(which=st.integers(0, 99))
    def withdraw(self, which: int) -> None:
        ticket = self.naive.tickets.pop(which % len(self.naive.tickets))
        self.real.move(ticket, GONE)
        self.naive.forget(ticket.key)

    @rule(
        concurrency=st.sampled_from([None, 1, 3, 5]),
        per_key=st.sampled_from([None, 1, 2]),
    )
    def change(self, concurrency: int | None, per_key: int | None) -> None:
        self.naive.concurrency, self.naive.per_key = concurrency, per_key
        self.real.change(Queue("q", concurrency=concurrency, per_key=per_key).limits)

    @invariant()
    def both_count_the_same(self) -> None:
        assert self.real.waiting == len(self.naive.tickets)
        assert self.real.running == len(self.naive.held)
        assert all(t.state == HELD for t in self.naive.held)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Queue("q", concurrency=0), "concurrency must be a whole number"),
        (lambda: Queue("q", per_key=True), "per_key must be a whole number"),
        (lambda: Queue("q", rate=100), "rate must be like"),  # type: ignore[arg-type]
        (lambda: Queue(""), "name of a queue"),
        (lambda: Rate(0, 1), r"Rate\.limit"),
        (lambda: Rate(1, 0), r"Rate\.per must be longer"),
        (lambda: Breaker(-1, 1), r"Breaker\.failures"),
    ],
)
def test_limits_that_make_no_sense_are_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(Misused, match=words):
        make()


def test_what_is_declared_says_so() -> None:
    assert Rate(5, "1m") == Rate(5, 60) != Rate(6, 60)
    assert Breaker(5, "1m") == Breaker(5, 60) != Breaker(5, 61)
    assert (repr(Rate(5, "1m")), repr(Breaker(2, "1s"))) == ("Rate(5, 60)", "Breaker(2, 1)")
    assert len({Rate(5, 60), Rate(5, "1m")}) == len({Breaker(5, 60), Breaker(5, "1m")}) == 1
    limits = Queue("q", rate=Rate(5, "1m"), breaker=Breaker(2, "1s")).limits
    assert (limits.as_rate(), limits.as_breaker()) == (Rate(5, 60), Breaker(2, 1))
