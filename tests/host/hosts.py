"""Hosts: every test of this folder runs on asyncio and on trio, in a world of virtual time."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio

from monolite import Handle, Info, Runtime
from monolite.core.duration import seconds

NOON_US = 1_767_268_800_000_000
"""2026-01-01 12:00:00 UTC, when every world begins."""

LIMIT_S = 20.0
"""A test that takes longer hangs."""

LOOKS_MAX = 10_000


class VirtualClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self._now_us = NOON_US

    def now_us(self) -> int:
        return self._now_us

    def advance(self, duration: float | str) -> None:
        self._now_us += round(seconds(duration) * 1_000_000)


class World:
    """One file (or memory), its clock, and the lives of a runtime on it."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.clock = VirtualClock()

    def runtime(self, *actors: Any, **options: Any) -> Runtime:
        """Return a new life: `async with world.runtime(order) as rt`."""
        chosen: dict[str, Any] = {
            "durability": "normal",
            "clock": self.clock,
            "shutdown_grace": 0,
            **options,
        }
        return Runtime(self.path, actors=actors, **chosen)

    async def skip(self, rt: Runtime, duration: float | str) -> None:
        """Let time pass; every timer in it has fired when this returns."""
        self.clock.advance(duration)
        await rt.list(limit=1)


async def until(handle: Handle[Any], ready: Callable[[Info], bool]) -> Info:
    """Look at a run until it is as described; return what it says then."""
    info = await handle.describe()
    for _ in range(LOOKS_MAX):
        if ready(info):
            return info
        info = await handle.describe()
    msg = f"it never came to that: {info}"
    raise AssertionError(msg)


async def until_waiting(handle: Handle[Any], words: str) -> Info:
    """Look at a run until it waits for something whose description begins so."""
    return await until(handle, lambda info: (info.waiting_on or "").startswith(words))


def hosted(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on both hosts; its parameters are fixtures, as usual."""

    @functools.wraps(test)
    def run(host: str, **fixtures: Any) -> None:
        async def limited() -> None:
            with anyio.fail_after(LIMIT_S):
                await test(**fixtures)

        anyio.run(limited, backend=host)

    signature = inspect.signature(test)
    host = inspect.Parameter("host", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    wanted = signature.replace(parameters=[host, *signature.parameters.values()])
    vars(run)["__signature__"] = wanted
    del vars(run)["__wrapped__"]  # pytest-asyncio would take the test for its own
    return run
