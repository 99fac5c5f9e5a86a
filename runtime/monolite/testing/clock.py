"""The virtual clock: time that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime

START = datetime(2030, 1, 1, tzinfo=UTC)
"""When every environment begins that is not told otherwise."""


class VirtualClock:
    """Wall-clock time, moved by hand; it never goes back."""

    def __init__(self, start_us: int) -> None:
        self._now_us = start_us

    def now_us(self) -> int:
        return self._now_us

    def move_to(self, at_us: int) -> None:
        """Let it be `at_us`, unless it is later already."""
        self._now_us = max(self._now_us, at_us)


def microseconds(at: datetime) -> int:
    """Return a time as microseconds since 1970, UTC."""
    return round(at.timestamp() * 1_000_000)
