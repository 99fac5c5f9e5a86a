"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime

from monolite import Duration, Runtime
from monolite.core.duration import seconds

START = datetime(2030, 1, 1, tzinfo=UTC)


class ManualClock:
    """Wall-clock time, moved by hand."""

    def __init__(self) -> None:
        self._now_us = round(START.timestamp() * 1_000_000)

    def now_us(self) -> int:
        return self._now_us

    def advance(self, duration: Duration) -> None:
        """Move on; the engine finds out when it next looks."""
        self._now_us += round(seconds(duration) * 1_000_000)

    def step(self, seconds: int) -> None:
        """Set it forward or back, as somebody does who sets a wall clock right."""
        self._now_us += seconds * 1_000_000

    async def skip(self, runtime: Runtime, duration: Duration) -> None:
        """Move on, and let the engine take a turn that sees it."""
        self.advance(duration)
        await look(runtime)


async def look(runtime: Runtime) -> None:
    """Let the engine take a turn."""
    await runtime.list(limit=1)
