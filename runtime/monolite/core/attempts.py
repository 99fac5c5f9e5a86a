"""Attempts: what to do about an activity, given what the file knows of it.

An attempt that the first turn requested leaves no row until something is worth knowing: it
failed, it has run for a while, it must run at most once, it went through a queue, or it is not
the first. So an outstanding activity without rows, found after a restart, was in flight when the
process died; one that goes through a queue had not had its turn.
"""

from __future__ import annotations

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.call import Options
from monolite.core.entry import Attempt
from monolite.core.retry import Retry

DEFAULT_RETRY = Retry()

SPREAD = 0.5
"""How far the waits after crashes are apart, at least, as a share: see `Retry.jitter`."""


class Start(msgspec.Struct, frozen=True):
    """Run attempt `number` now. `interrupted`: the one before was cut off.

    `rows` (number, state) must be committed before the attempt starts.
    """

    number: int
    interrupted: bool
    rows: tuple[tuple[int, str], ...] = ()


class Wait(msgspec.Struct, frozen=True):
    """Run attempt `number` at `due_us`. `interrupted`: the one before was cut off.

    `cut_off` is the number of that one, if it is not known to the file yet.
    """

    number: int
    due_us: int
    interrupted: bool = False
    cut_off: int | None = None


class GiveUp(msgspec.Struct, frozen=True):
    """Do not run it again: it was to run at most once, and was cut off."""

    number: int


class Block(msgspec.Struct, frozen=True):
    """Hold it until somebody decides. `error` is what attempt `number` came to, as JSON.

    `fresh`: the file does not know yet.
    """

    number: int
    error: str
    fresh: bool = False


class Await(msgspec.Struct, frozen=True):
    """Attempt `number` has returned, and left the outcome to somebody else."""

    number: int


Plan = Start | Wait | GiveUp | Block | Await

BLAMES_MAX = 5
"""How often in a row the process may die in a run's own code before that is quarantined."""

QUARANTINED = "Quarantined"
"""The type of the failure of what is blocked because its process died too often."""


_FIRST = Start(1, interrupted=False)
_FIRST_RECORDED = Start(1, interrupted=False, rows=((1, e.STARTED),))


def first(opts: Options) -> Start:
    """Plan the first attempt of a new request."""
    return _FIRST_RECORDED if opts.at_most_once or opts.queue is not None else _FIRST


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


def recover(
    opts: Options,
    known: list[Attempt],
    now_us: int = 0,
    seed: str = "",
    *,
    innocent: bool = False,
) -> Plan:
    """Plan for a request that was outstanding when the run was last in memory.

    `innocent`: it is known that something else took the process down.
    """
    last = known[-1] if known else None
    if last is None and opts.queue is not None:
        return first(opts)  # its row is written when its turn comes: it has only waited
    if last is not None:
        plan = _go_on(opts, known, last)
        if plan is not None:
            return plan
    number = 1 if last is None else last.number
    if opts.at_most_once and last is not None:
        return GiveUp(number)
    if innocent:
        rows = ((number, e.STOPPED), (number + 1, e.STARTED))
        return Start(number + 1, interrupted=True, rows=rows)
    cut_off = 1 + _cut_off_before(known)
    retry = opts.retry or DEFAULT_RETRY
    if retry.max_interruptions is not None and cut_off >= retry.max_interruptions:
        return Block(number, failure.encode(quarantine(cut_off, "attempt")), fresh=True)
    if cut_off > 1:
        # Whoever was in flight beside it was cut off as well: spread out, they come to an end.
        wait_us = retry.wait_us(cut_off - 1, seed, max(retry.jitter, SPREAD))
        return Wait(number + 1, now_us + wait_us, interrupted=True, cut_off=number)
    rows = ((number, e.INTERRUPTED), (number + 1, e.STARTED))
    return Start(number + 1, interrupted=True, rows=rows)


def _go_on(opts: Options, known: list[Attempt], last: Attempt) -> Plan | None:
    """Plan for an activity whose last attempt is known to be over; None: a crash cut it off."""
    following = last.number + 1
    if last.state == e.ATTEMPT_FAILED:
        return Wait(following, last.due_us or 0)
    if last.state == e.INTERRUPTED:
        return Wait(following, last.due_us or 0, interrupted=True)
    if last.state == e.RETURNED:
        before = (e.INTERRUPTED, e.STOPPED)
        cut_off = any(a.number == last.number - 1 and a.state in before for a in known)
        return Start(last.number, interrupted=cut_off, rows=((last.number, e.STARTED),))
    if last.state == e.STOPPED and not opts.at_most_once:
        return Start(following, interrupted=True, rows=((following, e.STARTED),))
    if last.state == e.DEFERRED:
        return Await(last.number)
    if last.state == e.BLOCKED:
        return Block(last.number, last.error or "")
    return None


def _cut_off_before(known: list[Attempt]) -> int:
    """Return how many attempts before the last were cut off by crashes, in a row."""
    count = 0
    for attempt in reversed(known[:-1]):
        if attempt.state == e.INTERRUPTED:
            count += 1
        else:
            break
    return count


def failures_of(known: list[Attempt]) -> int:
    """Return how many attempts have failed since somebody last gave it new ones."""
    count = 0
    for attempt in known:
        count = 0 if attempt.state == e.RELEASED else count + (attempt.state == e.ATTEMPT_FAILED)
    return count


def blocked_keys(known: list[Attempt]) -> list[str]:
    """Return which of a run's activities are blocked, given all its rows."""
    return [attempt.key for attempt in known if attempt.state == e.BLOCKED]


def quarantine(count: int, noun: str) -> failure.Failure:
    """Return the failure of code that takes its process down."""
    words = f"its process died in {count} {noun}s"
    return failure.Failure(type=QUARANTINED, module="monolite", message=words)


def blocked_words(name: str, count: int, cause: failure.Failure) -> str:
    """Return in words why something is blocked, after `count` failed attempts at it."""
    if cause.type == QUARANTINED:
        return f"{name} is quarantined: {cause.message}"
    times = "once" if count == 1 else f"{count} times"
    return f"{name} failed {times}: {cause.summary()}"


def retry_of(opts: Options) -> Retry:
    """Return the policy in force for a call."""
    if opts.at_most_once:
        return Retry(max_attempts=1)
    return opts.retry or DEFAULT_RETRY
