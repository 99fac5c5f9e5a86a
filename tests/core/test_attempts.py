"""Attempts: what to do about an activity, given what the file knows of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from monolite import Retry
from monolite.core import attempts, failure
from monolite.core import entry as e
from monolite.core.attempts import Await, Block, GiveUp, Plan, Start, Wait
from monolite.core.call import Options
from monolite.core.entry import Attempt, RunNo

OFTEN = Options(retry=Retry(first_delay=0))
ONCE = Options(at_most_once=True)

Row = tuple[int, str]
"""An attempt's number and what became of it."""


def rows(*known: Row) -> list[Attempt]:
    return [
        Attempt(
            RunNo(2),
            "charge#1",
            number,
            state,
            5,
            900 + number if state in ("failed", "interrupted") else None,
            "why" if state == "blocked" else None,
        )
        for number, state in known
    ]


RECOVERIES: list[tuple[Options, list[Row], Plan]] = [
    # Without a row it was in flight when the process died.
    (OFTEN, [], Start(2, interrupted=True, rows=((1, e.INTERRUPTED), (2, e.STARTED)))),
    (
        OFTEN,
        [(1, e.STARTED)],
        Start(2, interrupted=True, rows=((1, e.INTERRUPTED), (2, e.STARTED))),
    ),
    (
        OFTEN,
        [(1, e.INTERRUPTED), (2, e.STARTED)],
        Wait(3, 100, interrupted=True, cut_off=2),
    ),
    (OFTEN, [(1, e.INTERRUPTED), (2, e.INTERRUPTED)], Wait(3, 902, interrupted=True)),
    (
        OFTEN,
        [(1, e.INTERRUPTED), (2, e.ATTEMPT_FAILED), (3, e.STARTED)],
        Start(4, interrupted=True, rows=((3, e.INTERRUPTED), (4, e.STARTED))),
    ),
    # Its process died in five attempts in a row.
    (
        OFTEN,
        [*((number, e.INTERRUPTED) for number in range(1, 5)), (5, e.STARTED)],
        Block(5, failure.encode(attempts.quarantine(5, "attempt")), fresh=True),
    ),
    (
        Options(retry=Retry(max_interruptions=None, first_delay=0)),
        [*((number, e.INTERRUPTED) for number in range(1, 50)), (50, e.STARTED)],
        Wait(51, 100, interrupted=True, cut_off=50),
    ),
    (OFTEN, [(1, e.ATTEMPT_FAILED), (2, e.BLOCKED)], Block(2, "why")),
    (ONCE, [(1, e.DEFERRED)], Await(1)),
    (
        OFTEN,
        [(1, e.INTERRUPTED), (2, e.RELEASED), (3, e.STARTED)],
        Start(4, interrupted=True, rows=((3, e.INTERRUPTED), (4, e.STARTED))),
    ),
    # It waits for its next attempt.
    (OFTEN, [(1, e.ATTEMPT_FAILED)], Wait(2, 901)),
    (OFTEN, [(1, e.ATTEMPT_FAILED), (2, e.ATTEMPT_FAILED)], Wait(3, 902)),
    (OFTEN, [(1, e.INTERRUPTED), (2, e.ATTEMPT_FAILED)], Wait(3, 902)),
    (
        OFTEN,
        [(1, e.ATTEMPT_FAILED), (2, e.STARTED)],
        Start(3, interrupted=True, rows=((2, e.INTERRUPTED), (3, e.STARTED))),
    ),
    # It was given back before it began.
    (OFTEN, [(1, e.RETURNED)], Start(1, interrupted=False, rows=((1, e.STARTED),))),
    (
        OFTEN,
        [(1, e.ATTEMPT_FAILED), (2, e.RETURNED)],
        Start(2, interrupted=False, rows=((2, e.STARTED),)),
    ),
    (
        OFTEN,
        [(1, e.INTERRUPTED), (2, e.RETURNED)],
        Start(2, interrupted=True, rows=((2, e.STARTED),)),
    ),
    # The runtime was closed, which cut it off: no crash.
    (OFTEN, [(1, e.STOPPED)], Start(2, interrupted=True, rows=((2, e.STARTED),))),
    (ONCE, [(1, e.STOPPED)], GiveUp(1)),
    # At most once: what began is not begun again.
    (ONCE, [(1, e.STARTED)], GiveUp(1)),
    (ONCE, [(1, e.RETURNED)], Start(1, interrupted=False, rows=((1, e.STARTED),))),
]


@pytest.mark.parametrize(("opts", "known", "plan"), RECOVERIES, ids=lambda x: str(x)[:60])
def test_an_outstanding_activity_is_taken_up(opts: Options, known: list[Row], plan: Plan) -> None:
    assert attempts.recover(opts, rows(*known), now_us=100) == plan


def test_a_first_attempt_needs_a_row_only_to_run_at_most_once() -> None:
    assert attempts.first(OFTEN) == Start(1, interrupted=False)
    assert attempts.first(ONCE) == Start(1, interrupted=False, rows=((1, e.STARTED),))


def test_an_attempt_after_a_wait_was_not_interrupted() -> None:
    assert attempts.after_wait(3) == Start(3, interrupted=False, rows=((3, e.STARTED),))


def test_at_most_once_means_one_attempt_whatever_the_policy_says() -> None:
    assert attempts.retry_of(Options(retry=Retry(7), at_most_once=True)).max_attempts == 1
    assert attempts.retry_of(Options(retry=Retry(7))).max_attempts == 7
    assert attempts.retry_of(Options()).max_attempts == 5


def test_the_failure_s_own_delay_takes_the_place_of_the_back_off() -> None:
    opts = Options(retry=Retry(3, first_delay=1, jitter=0))

    def wait_us(failures: int, *, retryable: bool = True, delay_us: int | None) -> int | None:
        return attempts.wait_after(opts, failures, "x", retryable=retryable, delay_us=delay_us)

    assert wait_us(1, delay_us=None) == 1_000_000
    assert wait_us(2, delay_us=77) == 77
    assert wait_us(3, delay_us=77) is None
    assert wait_us(1, retryable=False, delay_us=None) is None


def test_the_newest_details_of_any_attempt_are_the_ones() -> None:
    first, second = rows((1, e.ATTEMPT_FAILED), (2, e.ATTEMPT_FAILED))
    assert attempts.details_of([]) is None
    assert attempts.details_of([first, second]) is None
    assert attempts.details_of([replace(first, details="1"), second]) == "1"
    assert attempts.details_of([replace(first, details="1"), replace(second, details="2")]) == "2"


def test_what_is_found_outstanding_has_begun_unless_its_first_attempt_was_given_back() -> None:
    assert attempts.has_begun([])
    assert attempts.has_begun(rows((1, e.STARTED)))
    assert attempts.has_begun(rows((1, e.INTERRUPTED), (2, e.RETURNED)))
    assert not attempts.has_begun(rows((1, e.RETURNED)))


def test_what_ran_beside_a_run_that_took_the_process_down_is_not_held_against_it() -> None:
    known = rows(*((number, e.INTERRUPTED) for number in range(1, 5)), (5, e.STARTED))
    plan = attempts.recover(OFTEN, known, innocent=True)
    assert plan == Start(6, interrupted=True, rows=((5, e.STOPPED), (6, e.STARTED)))
    assert attempts.recover(ONCE, known, innocent=True) == GiveUp(5)
