"""An engine that is killed while requests and promises are open."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from monolite import Promise, Runtime, Signal, Update, View, transaction, workflow
from tests.processes.child import say
from tests.processes.engine import told_to_leave

add = Update("add", int, int)
go_on = Signal("go_on", None)
token = View("token", str)


@transaction
def note(db: Any, what: str) -> None:
    """Leave a line in the application's own table: one for each effect."""
    db.execute("CREATE TABLE IF NOT EXISTS effects (what TEXT)")
    db.execute("INSERT INTO effects VALUES (?)", (what,))


@workflow
async def adder() -> int:
    """Add what is asked, until it is asked for nothing."""
    total = 0
    async for request in add:
        if request.value == 0:
            break
        total += request.value
        await note(f"add {request.value}")
        request.reply(total)
    return total


@workflow
async def promised(early: bool) -> int:
    """Wait for a promise at once, or only when told to."""
    promise = Promise(int)
    token.set(promise.token)
    if not early:
        await go_on.receive()
    found = await promise
    await note(f"got {found}")
    return found


async def main(path: str) -> None:
    async with Runtime(path, actors=[adder, promised], shutdown_grace=0):
        say("open")
        await told_to_leave()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
