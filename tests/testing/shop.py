"""Workflows that are tried by crashing them: naive ones and careful ones."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import monolite
from monolite import Actor, Saga, Signal, View, activity, attempt, transaction, update, workflow

approval = Signal("approval", bool)
stage = View("stage", str)

charges: Counter[str] = Counter()
"""What the payment service has booked: by its key, or by the card of those who send none."""


@activity
async def charge(card: str, cents: int) -> str:
    charges[card] += cents
    return f"{cents} from {card}"


@activity
async def charge_once(card: str, cents: int) -> str:
    charges[attempt().idempotency_key] = cents
    return f"{cents} from {card}"


@activity
def pack(parcel: str) -> str:
    return f"{parcel}, packed by {attempt().idempotency_key[:1]}"


@activity(at_most_once=True)
async def launch(rocket: str) -> str:
    return rocket


@workflow
async def naive(card: str) -> str:
    paid = await charge(card, 500)
    await asyncio.sleep(3600)
    return paid


@workflow
async def careful(card: str) -> list[str]:
    stage.set("charging")
    done = await asyncio.gather(charge_once(card, 500), pack("socks"))
    await asyncio.sleep(3600)
    async with Saga() as undo:
        undo.add(charge_once(card, -500))
        stage.set(f"charged at {monolite.now():%H:%M}, draw {monolite.random().randrange(100)}")
    return list(done)


@workflow
async def parent(card: str) -> list[list[str]]:
    return list(await asyncio.gather(careful(card), careful(card)))


@workflow
async def approved() -> bool:
    async with asyncio.timeout(86_400):
        ok = await approval.receive()
    await asyncio.sleep(3600)
    return ok


@workflow
async def rocket() -> str:
    return await launch("saturn")


@workflow
async def by_the_clock() -> str:
    """Read a clock that a replay cannot repeat."""
    await charge_once(f"visa-{time.perf_counter_ns()}", 5)
    await asyncio.sleep(1)
    return "done"


@transaction
def book(db: Any, cents: int) -> int:
    db.execute("CREATE TABLE IF NOT EXISTS books (cents INTEGER) STRICT")
    db.execute("INSERT INTO books VALUES (?)", (cents,))
    (total,) = db.execute("SELECT sum(cents) FROM books").fetchone()
    return int(total)


@workflow
async def booking() -> list[int]:
    return [await book(cents) for cents in (1, 2, 3)]


class Account(Actor):
    """Holds money."""

    balance: int = 0

    @update
    async def pay(self, cents: int) -> int:
        await charge_once("account", cents)
        self.balance += cents
        return self.balance


@workflow
async def payday() -> int:
    ada = monolite.actor(Account, "ada")
    await ada.pay(100)
    await asyncio.sleep(86_400)
    return await ada.pay(100)
