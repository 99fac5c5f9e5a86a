"""An engine on a small disk that is filled up under it, then goes on asking for more."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from monolite import Runtime
from monolite.errors import StorageFull
from tests.processes import programs
from tests.processes.child import say


async def main(path: str, ballast: Path) -> None:
    async with Runtime(path, actors=[programs]) as rt:
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4_096))
        number = 0
        refused = 0
        while refused < 3:
            number += 1
            try:
                run = await rt.spawn(programs.sleeps_on("x" * 100_000), id=f"s{number}")
                say({"spawned": run.id})
            except StorageFull:
                refused += 1
        say("full")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
