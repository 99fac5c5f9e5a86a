"""Opens a file, runs one workflow to its end, closes it, and says how far it came."""

from __future__ import annotations

import asyncio
import sys

from monolite import Runtime
from tests.processes import programs
from tests.processes.child import say


async def main(path: str) -> None:
    async with Runtime(path, actors=[programs]) as rt:
        run = await rt.spawn(programs.naps(), id="n")
        say("spawned")
        await run.result()
        say("rested")
    say("closed")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
