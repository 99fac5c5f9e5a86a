"""The scenario: a dozen events in the life of a file, which can be repeated without harm.

Every request has an id, so that whoever does not know how far it came goes through it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monolite
from monolite import Actor, Runtime, Signal, activity, update, workflow

decision = Signal("decision", str)

Say = Callable[[str, Any], None]
"""Told what has been acknowledged, and with which answer."""


@activity
async def charge(order: str) -> str:
    return f"{order} charged"


@workflow
async def ship(order: str) -> str:
    await asyncio.sleep(0)
    return f"{order} shipped"


@workflow
async def buys(order: str) -> list[str]:
    charged = await charge(order)
    return [charged, await decision.receive(), await ship(order)]


@workflow
async def waits() -> str:
    return await decision.receive()


class Account(Actor):
    """Counts each deposit once."""

    total: int = 0

    @update
    async def deposit(self, amount: int) -> None:
        self.total += amount

    @update
    async def balance(self) -> int:
        return self.total


ACTORS = (buys, waits, ship, Account)

FINAL: dict[str, Any] = {
    "open": True,
    "a accepted": True,
    "b accepted": True,
    "first decision": True,
    "second decision": True,
    "a": ["a charged", "yes", "a shipped"],
    "deposit 5": True,
    "deposit 7": True,
    "balance": 12,
    "cancelled": True,
    "b": ["b charged", "no", "b shipped"],
    "large": True,
    "closed": True,
}
"""What is acknowledged, in this order, when nothing goes wrong."""


async def play(path: Path, say: Say, *, takeover: bool = False) -> None:
    """Own the file, go through the events, and close it."""
    async with Runtime(path, actors=ACTORS, shutdown_grace=0, takeover=takeover) as rt:
        say("open", True)
        a = await rt.spawn(buys("a"), id="a")
        say("a accepted", True)
        b = await rt.spawn(buys("b"), id="b")
        say("b accepted", True)
        await a.signal(decision, "yes", id="first")
        say("first decision", True)
        await b.signal(decision, "no", id="second")
        say("second decision", True)
        say("a", await a.result())
        account = rt.actor(Account, "acme")
        await monolite.send(account.deposit(5), id="five")
        say("deposit 5", True)
        await monolite.send(account.deposit(7), id="seven")
        say("deposit 7", True)
        say("balance", await account.balance())
        waiting = await rt.spawn(waits(), id="w")
        await waiting.cancel("enough")
        say("cancelled", True)
        say("b", await b.result())
        await rt.spawn(buys("x" * 100_000), id="large")
        say("large", True)
    say("closed", True)
