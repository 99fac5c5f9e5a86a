"""Attempts: what to do about an activity, given what the file knows of it.

An attempt that the first turn requested leaves no row until something is worth knowing: it
failed, it has run for a while, it must run at most once, or it is not the first. So an
outstanding activity without rows, found after a restart, was in flight when the process died.
"""

from __future__ import annotations

import msgspec

from monolite.core import entry as e
from monolite.core.call import Options
from monolite.core.entry import Attempt
from monolite.core.retry import Retry

DEFAULT_RETRY = Retry()


class Start(msgspec.Struct, frozen=True):
    """Run attempt `number` now. `interrupted`: the one before was cut off.

    `rows` (number, state) must be committed before the attempt starts.
    """

    number: int
    interrupted: bool
    rows: tuple[tuple[int, str], ...] = ()


class Wait(msgspec.Struct, frozen=True):
    """Run attempt `number` at `due_us`. `interrupted`: the one before was cut off."""

    number: int
    due_us: int
    interrupted: bool = False


class GiveUp(msgspec.Struct, frozen=True):
    """Do not run it again: it was to run at most once, and was cut off."""

    number: int


Plan = Start | Wait | GiveUp


_FIRST = Start(1, interrupted=False)
_FIRST_AND_ONLY = Start(1, interrupted=False, rows=((1, e.STARTED),))


def first(opts: Options) -> Start:
    """Plan the first attempt of a new request."""
    return _FIRST_AND_ONLY if opts.at_most_once else _FIRST


def after_wait(number: int, *, interrupted: bool = False) -> Start:
    """Plan an attempt whose back-off is over."""
    return Start(number, interrupted, rows=((number, e.STARTED),))


def wait_after(
    opts: Options, failures: int, seed: str, *, retryable: bool, delay_us: int | None
) -> int | None:
    """Return how long to wait after the `failures`-th failed attempt, or None to give up.

    `delay_us` is the failure's own word (`RetryAfter`), in place of the policy's back-off.
    """
    retry = retry_of(opts)
    if not retryable:
        return None
    if delay_us is None or retry.exhausted(failures):
        return retry.delay_us(failures, seed)
    return delay_us


def has_begun(known: list[Attempt]) -> bool:
    """Return whether the code was started, of an activity that is found outstanding.

    One without rows was in flight.
    """
    return not known or known[-1].number > 1 or known[-1].state != e.RETURNED


def details_of(known: list[Attempt]) -> str | None:
    """Return the details that the attempts so far gave last, as JSON."""
    return next((a.details for a in reversed(known) if a.details is not None), None)


def recover(opts: Options, known: list[Attempt]) -> Plan:
    """Plan for a request that was outstanding when the run was last in memory."""
    last = known[-1] if known else None
    if last is not None and last.state == e.ATTEMPT_FAILED:
        return Wait(last.number + 1, last.due_us or 0)
    if last is not None and last.state == e.RETURNED:
        cut_off = any(a.number == last.number - 1 and a.state == e.INTERRUPTED for a in known)
        return Start(last.number, interrupted=cut_off, rows=((last.number, e.STARTED),))
    number = 1 if last is None else last.number
    if last is not None and last.state == e.STOPPED and not opts.at_most_once:
        return Start(number + 1, interrupted=True, rows=((number + 1, e.STARTED),))
    if opts.at_most_once and last is not None:
        return GiveUp(number)
    rows = ((number, e.INTERRUPTED), (number + 1, e.STARTED))
    return Start(number + 1, interrupted=True, rows=rows)


def retry_of(opts: Options) -> Retry:
    """Return the policy in force for a call."""
    if opts.at_most_once:
        return Retry(max_attempts=1)
    return opts.retry or DEFAULT_RETRY
