"""An engine that is killed in the middle of a turn, or of a stream."""

from __future__ import annotations

import asyncio
import sys

import monolite
from monolite import Actor, Runtime, Stream, activity, attempt, query, update, workflow
from tests.processes.child import say
from tests.processes.engine import told_to_leave

numbers = Stream("numbers", int)


@activity
async def hang_once(word: str) -> str:
    """Say that it was begun, and hang, unless an earlier attempt was cut off."""
    if attempt().interrupted:
        return word
    say("hangs")
    await asyncio.Event().wait()
    return "never"


@activity
async def count_to(last: int) -> int:
    """Append numbers; the attempt that is not the second hangs when half are out."""
    for number in range(last):
        if number == last // 2 and not attempt().interrupted:
            await asyncio.Event().wait()
        numbers.append(number)
    return last


@workflow
async def counting(last: int) -> int:
    return await count_to(last)


class Keeper(Actor):
    """Changes its state before and after it waits, and tells another of it."""

    words: list[str] = []

    @update
    async def keep(self, word: str, other: str) -> list[str]:
        self.words.append(f"{word} begun")
        monolite.send(monolite.actor(Keeper, other).take(word))
        self.words.append(await hang_once(f"{word} ended"))
        return self.words

    @update
    async def take(self, word: str) -> None:
        self.words.append(f"took {word}")

    @query
    def read(self) -> list[str]:
        return self.words


async def main(path: str) -> None:
    async with Runtime(path, actors=[Keeper, counting], shutdown_grace=0):
        say("open")
        await told_to_leave()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
