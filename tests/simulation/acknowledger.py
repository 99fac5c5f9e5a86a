"""An engine that acknowledges one request after another, each with a word to be found again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from monolite import Runtime, Signal, workflow
from monolite.store.sqlite import log
from tests.processes.child import say

REQUESTS = 30
LOG_PAGES = 20

word = Signal("word", str)


@workflow
async def hears() -> str:
    while True:
        if await word.receive() == "enough":
            return "heard"


def token(number: int) -> str:
    return f"token-{number:04}-of-a-request"


async def main(path: Path, durability: str) -> None:
    log.LOG_PAGES_MAX = LOG_PAGES
    async with Runtime(path, actors=[hears], durability=durability) as rt:
        run = await rt.spawn(hears(), id="h")
        for number in range(REQUESTS):
            await run.signal(word, token(number))
            say({"acknowledged": token(number)})
        await run.signal(word, "enough")
        await run.result()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
