"""Retry policies: how often, how long to wait, what not to retry. Bounded by default."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from monolite.core.duration import Duration, seconds
from monolite.core.failure import register_exception


class Retry:
    """How an activity is tried again after it failed.

    `max_attempts` counts the first attempt too (None: no bound). The wait before attempt n+1 is
    `first_delay * backoff**(n-1)`, at most `max_delay`, moved by up to `jitter` (a share of the
    wait, 0 to 1) either way. An exception of a type in `non_retryable`, or one for which the
    callable `non_retryable` returns true, ends the activity at once.

    `max_interruptions` is for code that takes the process down: after so many attempts in a row
    that were cut off by a crash, the activity is blocked (None: no bound). They do not count
    among `max_attempts`.
    """

    __slots__ = (
        "_predicate",
        "_types",
        "backoff",
        "first_delay_s",
        "jitter",
        "max_attempts",
        "max_delay_s",
        "max_interruptions",
    )

    def __init__(
        self,
        max_attempts: int | None = 5,
        *,
        first_delay: Duration = 0.1,
        backoff: float = 2.0,
        max_delay: Duration = 60.0,
        jitter: float = 0.1,
        non_retryable: tuple[type[BaseException], ...] | Callable[[BaseException], bool] = (),
        max_interruptions: int | None = 5,
    ) -> None:
        if max_attempts is not None and max_attempts < 1:
            msg = f"Retry.max_attempts must be at least 1 or None, not {max_attempts!r}"
            raise ValueError(msg)
        if max_interruptions is not None and max_interruptions < 1:
            msg = f"Retry.max_interruptions must be at least 1 or None, not {max_interruptions!r}"
            raise ValueError(msg)
        if not 1 <= backoff < math.inf:
            msg = f"Retry.backoff must be at least 1 and finite, not {backoff!r}"
            raise ValueError(msg)
        if not 0 <= jitter <= 1:
            msg = f"Retry.jitter is a share of the wait between 0 and 1, not {jitter!r}"
            raise ValueError(msg)
        self.max_attempts = max_attempts
        self.first_delay_s = seconds(first_delay, name="Retry.first_delay")
        self.backoff = backoff
        self.max_delay_s = seconds(max_delay, name="Retry.max_delay")
        self.jitter = jitter
        self.max_interruptions = max_interruptions
        self._types: tuple[type[BaseException], ...] = (
            non_retryable if isinstance(non_retryable, tuple) else ()
        )
        self._predicate: Callable[[BaseException], bool] | None = (
            None if isinstance(non_retryable, tuple) else non_retryable
        )
        register_exception(*self._types)

    def retryable(self, error: BaseException) -> bool:
        """Return whether this kind of error is worth another attempt."""
        if isinstance(error, self._types):
            return False
        return self._predicate is None or not self._predicate(error)

    def retryable_abroad(self, kinds: Sequence[str], error: BaseException) -> bool:
        """Return the same for an error from another process.

        `kinds` are the classes it had there, as "module:name"; `error` is what it is here.
        """
        if any(f"{cls.__module__}:{cls.__qualname__}" in kinds for cls in self._types):
            return False
        return self._predicate is None or not self._predicate(error)

    def exhausted(self, failed: int) -> bool:
        """Return whether there is no attempt after the `failed`-th."""
        return self.max_attempts is not None and failed >= self.max_attempts

    def delay_us(self, failed: int, seed: str) -> int | None:
        """Return the wait after the `failed`-th attempt, or None if there is no next one."""
        return None if self.exhausted(failed) else self.wait_us(failed, seed, self.jitter)

    def wait_us(self, failed: int, seed: str, jitter: float) -> int:
        """Return the back-off after the `failed`-th attempt, whether or not there is a next one.

        The jitter comes from `seed`, so that a simulated run repeats exactly.
        """
        try:
            wait_s = min(self.first_delay_s * self.backoff ** (failed - 1), self.max_delay_s)
        except OverflowError:
            wait_s = self.max_delay_s if self.first_delay_s else 0.0
        if jitter:
            draw = random.Random(f"{seed}/{failed}").uniform(-1, 1)
            wait_s *= 1 + jitter * draw
        return round(wait_s * 1_000_000)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Retry):
            return NotImplemented
        return all(getattr(self, a) == getattr(other, a) for a in Retry.__slots__)

    def __hash__(self) -> int:
        return hash((self.max_attempts, self.first_delay_s, self.backoff, self.max_delay_s))

    def __repr__(self) -> str:
        return (
            f"Retry(max_attempts={self.max_attempts}, first_delay={self.first_delay_s}, "
            f"backoff={self.backoff}, max_delay={self.max_delay_s}, jitter={self.jitter})"
        )


def as_retry(value: Any) -> Retry:
    """Return a policy from what `retry=` takes: a Retry, a number of attempts, or False."""
    if isinstance(value, Retry):
        return value
    if value is False:
        return Retry(max_attempts=1)
    if isinstance(value, int) and not isinstance(value, bool):
        return Retry(max_attempts=value)
    msg = f"retry must be a Retry, a number of attempts or False, not {value!r}"
    raise TypeError(msg)
