"""An engine with an activity in a process of its own: it lives until it is killed."""

from __future__ import annotations

import asyncio
import sys

from monolite import Runtime
from tests.processes import hands


async def main(path: str, pipe: str, how: str = "") -> None:
    async with Runtime(path, actors=[hands]) as rt:
        run = await rt.spawn(hands.computing(pipe) if how == "deaf" else hands.hanging(pipe))
        await run.result()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
