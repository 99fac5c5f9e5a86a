"""Attempts: what to do about an activity, given what the file knows of it."""

from __future__ import annotations

import pytest

from monolite import Retry
from monolite.core import attempts
from monolite.core import entry as e
from monolite.core.attempts import GiveUp, Plan, Start, Wait
from monolite.core.call import Options
from monolite.core.entry import Attempt, RunNo

OFTEN = Options()
ONCE = Options(at_most_once=True)

Row = tuple[int, str]
"""An attempt's number and what became of it."""


def rows(*known: Row) -> list[Attempt]:
    return [
        Attempt(RunNo(2), "charge#1", number, state, 5, 900 + number if state == "failed" else None)
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
        Start(3, interrupted=True, rows=((2, e.INTERRUPTED), (3, e.STARTED))),
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
    # At most once: what began is not begun again.
    (ONCE, [(1, e.STARTED)], GiveUp(1)),
    (ONCE, [(1, e.RETURNED)], Start(1, interrupted=False, rows=((1, e.STARTED),))),
]


@pytest.mark.parametrize(("opts", "known", "plan"), RECOVERIES, ids=lambda x: str(x)[:60])
def test_an_outstanding_activity_is_taken_up(opts: Options, known: list[Row], plan: Plan) -> None:
    assert attempts.recover(opts, rows(*known)) == plan


def test_a_first_attempt_needs_a_row_only_to_run_at_most_once() -> None:
    assert attempts.first(OFTEN) == Start(1, interrupted=False)
    assert attempts.first(ONCE) == Start(1, interrupted=False, rows=((1, e.STARTED),))


def test_an_attempt_after_a_wait_was_not_interrupted() -> None:
    assert attempts.after_wait(3) == Start(3, interrupted=False, rows=((3, e.STARTED),))


def test_at_most_once_means_one_attempt_whatever_the_policy_says() -> None:
    assert attempts.retry_of(Options(retry=Retry(7), at_most_once=True)).max_attempts == 1
    assert attempts.retry_of(Options(retry=Retry(7))).max_attempts == 7
    assert attempts.retry_of(Options()).max_attempts == 5
