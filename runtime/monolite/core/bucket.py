"""The bucket: how many starts are left of a rate, in whole microseconds."""

from __future__ import annotations

from collections import deque

SLICES = 64
"""A taken token is remembered with those of the same 64th of the period: so many numbers at most
are kept, and a token comes back at most so much late, never early."""


class Bucket:
    """`limit` tokens; one that was taken is back `per_us` later. Without a rate, no end of them.

    So no stretch of `per_us` (its end excluded) has more than `limit` starts, wherever it begins.
    """

    def __init__(self, rate: tuple[int, int] | None) -> None:
        self._rate = rate
        self._taken: deque[tuple[int, int, int]] = deque()
        """(first_us, last_us, count) of tokens that are out, oldest first."""
        self._out = 0

    @property
    def has_rate(self) -> bool:
        """Whether there is anything to keep count of."""
        return self._rate is not None

    def change(self, rate: tuple[int, int] | None) -> None:
        """Go on under another rate; what is out stays out."""
        self._rate = rate
        if rate is None:
            self._taken.clear()
            self._out = 0

    def next_us(self, now_us: int) -> int:
        """Return when a token can be taken: `now_us`, or when the next one comes back."""
        if self._rate is None:
            return now_us
        limit, per_us = self._rate
        self._settle(now_us, per_us)
        out = self._out
        for _, last_us, count in self._taken:
            if out < limit:
                break
            out -= count
            if out < limit:
                return last_us + per_us
        return now_us

    def take(self, now_us: int) -> None:
        """Take a token; there is one."""
        if self._rate is None:
            return
        per_us = self._rate[1]
        self._out += 1
        if self._taken:
            first_us, _, count = self._taken[-1]
            if (now_us - first_us) * SLICES < per_us:
                self._taken[-1] = (first_us, now_us, count + 1)
                return
        self._taken.append((now_us, now_us, 1))

    def _settle(self, now_us: int, per_us: int) -> None:
        """Take back what is due; after a clock was set back, nothing was taken in the future."""
        taken = self._taken
        while taken and taken[0][1] + per_us <= now_us:
            self._out -= taken.popleft()[2]
        if taken and taken[-1][1] > now_us:
            self._taken = deque((min(a, now_us), min(b, now_us), n) for a, b, n in taken)

    def state(self) -> list[tuple[int, int, int]]:
        """Return what is out, to be kept."""
        return list(self._taken)

    def restore(self, state: list[tuple[int, int, int]]) -> None:
        """Go on from what was kept."""
        self._taken = deque(state)
        self._out = sum(count for _, _, count in state)
