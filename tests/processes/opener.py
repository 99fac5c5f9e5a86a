"""Opens a path in every way, as a user without rights, and says what came of it.

Python itself may be out of that user's reach, so everything is loaded before the rights go.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from monolite import Client, Runtime
from tests.processes import programs
from tests.processes.child import say

NOBODY = 65_534


async def run(path: Path) -> str:
    async with Runtime(path, actors=[programs]) as rt:
        return (await rt.spawn(programs.leaf("leaf"), id="leaf")).id


async def send(path: Path) -> str:
    async with Client(path) as client:
        return (await client.spawn(programs.leaf("leaf"), id="leaf")).id


async def read(path: Path) -> str:
    async with Client(path) as client:
        return f"{len(await client.list())} runs"


WAYS: dict[str, Callable[[Path], Awaitable[str]]] = {"run": run, "send": send, "read": read}


async def attempt(way: str, path: Path) -> list[str]:
    try:
        return ["", await WAYS[way](path)]
    except Exception as error:  # noqa: BLE001 - which one is what the parent asks
        return [type(error).__name__, str(error)]


async def main(path: Path) -> None:
    with tempfile.TemporaryDirectory() as warm_up:
        for way in WAYS:
            assert not (await attempt(way, Path(warm_up) / "warm.db"))[0]
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    for way in WAYS:
        say([way, *await attempt(way, path)])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
