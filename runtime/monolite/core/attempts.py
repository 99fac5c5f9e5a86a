"""Attempts: what to do about an activity, given what the file knows of it.

An attempt that the first turn requested leaves no row until something is worth knowing: it
failed, it has run for a while, it must run at most once, it went through a queue, or it is not
the first. So an outstanding activity without rows, found after a restart, was in flight when the
process died; one that goes through a queue had not had its turn.
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
    """Run attempt `number` at `due_us`."""

    number: int
    due_us: int


class GiveUp(msgspec.Struct, frozen=True):
    """Do not run it again: it was to run at most once, and was cut off."""

    number: int


Plan = Start | Wait | GiveUp


_FIRST = Start(1, interrupted=False)
_FIRST_RECORDED = Start(1, interrupted=False, rows=((1, e.STARTED),))


def first(opts: Options) -> Start:
    """Plan the first attempt of a new request."""
    return _FIRST_RECORDED if opts.at_most_once or opts.queue is not None else _FIRST


def after_wait(number: int) -> Start:
    """Plan an attempt whose back-off is over."""
    return Start(number, interrupted=False, rows=((number, e.STARTED),))


def recover(opts: Options, known: list[Attempt]) -> Plan:
    """Plan for a request that was outstanding when the run was last in memory."""
    last = known[-1] if known else None
    if last is None and opts.queue is not None:
        return first(opts)  # its row is written when its turn comes: it has only waited
    if last is not None and last.state == e.ATTEMPT_FAILED:
        return Wait(last.number + 1, last.due_us or 0)
    if last is not None and last.state == e.RETURNED:
        cut_off = any(a.number == last.number - 1 and a.state == e.INTERRUPTED for a in known)
        return Start(last.number, interrupted=cut_off, rows=((last.number, e.STARTED),))
    number = 1 if last is None else last.number
    if opts.at_most_once and last is not None:
        return GiveUp(number)
    rows = ((number, e.INTERRUPTED), (number + 1, e.STARTED))
    return Start(number + 1, interrupted=True, rows=rows)


def retry_of(opts: Options) -> Retry:
    """Return the policy in force for a call."""
    if opts.at_most_once:
        return Retry(max_attempts=1)
    return opts.retry or DEFAULT_RETRY
