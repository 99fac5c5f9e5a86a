"""More programs that a type checker must refuse: actors, updates, promises, sagas, streams."""

# See `mistakes.py`.
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any

import monolite
from monolite import (
    Actor,
    Client,
    ContinueAsNew,
    Handle,
    Promise,
    Runtime,
    Saga,
    Signal,
    Stream,
    Update,
    View,
    activity,
    query,
    signal,
    transaction,
    update,
    workflow,
)

bid = Update("bid", int, str)
words = Stream("words", str)
progress = View("progress", int)
approval = Signal("approval", bool)


@activity
async def refund(payment: str) -> bool:
    return bool(payment)


@transaction
def reserve(db: Any, sku: str, n: int) -> int:
    return len(sku) + n


@workflow
async def order(number: int) -> str:
    return str(number)


class Account(Actor):
    balance: int = 0

    @update
    async def deposit(self, cents: int) -> int:
        return cents

    @update(mailbox="latest")
    async def audit(self, depth: int) -> int:
        return depth

    @signal
    async def freeze(self, reason: str) -> None: ...

    @query
    def statement(self) -> str:
        return ""


class Wrong(Actor):
    @update  # type: ignore[arg-type]
    def plain(self) -> int:
        return 1

    @signal  # type: ignore[arg-type]
    async def answers(self) -> int:
        return 1

    @Actor.migrate()  # type: ignore[call-arg]
    @staticmethod
    def one(state: dict[str, Any]) -> dict[str, Any]:
        return state

    @Actor.migrate(from_version=1)  # type: ignore[arg-type]
    @staticmethod
    def two(state: dict[str, Any]) -> int:
        return len(state)


async def wrong_calls(rt: Runtime, client: Client) -> None:
    acct = rt.actor(Account, "alice")
    await acct.deposit("5")  # type: ignore[arg-type]
    await acct.deposit()  # type: ignore[call-arg]
    await acct.audit("deep")  # type: ignore[arg-type]
    text: str = await acct.deposit(5)  # type: ignore[assignment]
    number: int = await acct.audit(1)
    other: str = await acct.audit(1)  # type: ignore[assignment]
    await acct.freeze()  # type: ignore[call-arg]
    (await acct.statement()).conjugate()  # type: ignore[attr-defined]
    await acct.withdraw(5)  # type: ignore[attr-defined]
    await client.actor(Account, 5).deposit(5)  # type: ignore[arg-type]
    await monolite.actor(Account, "a").deposit(None)  # type: ignore[arg-type]
    monolite.send(acct.deposit)  # type: ignore[arg-type]
    monolite.send(acct.deposit(5), delay=[5])  # type: ignore[arg-type]
    monolite.send(acct.deposit(5), id=5)  # type: ignore[arg-type]
    print(text, number, other)  # noqa: T201 - uses them


async def wrong_updates(handle: Handle[str], rt: Runtime) -> None:
    await handle.update(bid, "5")  # type: ignore[misc]
    number: int = await handle.update(bid, 5)  # type: ignore[arg-type]
    await handle.update(approval, True)  # type: ignore[arg-type]
    await handle.signal(bid, 5)  # type: ignore[arg-type]
    await rt.update("a", "bid", 5)  # type: ignore[arg-type]
    await rt.signal("a", approval, "yes")  # type: ignore[misc]
    await rt.view("a", approval)  # type: ignore[arg-type]
    request = await bid.receive()
    request.reply(5)  # type: ignore[arg-type]
    request.reject(5)  # type: ignore[arg-type]
    request.value.upper()  # type: ignore[attr-defined]
    print(number)  # noqa: T201 - uses it


async def wrong_words(handle: Handle[str], rt: Runtime) -> None:
    words.append(5)  # type: ignore[arg-type]
    handle.read(progress)  # type: ignore[arg-type]
    handle.watch(words)  # type: ignore[arg-type]
    promise = Promise(bool)
    text: str = await promise  # type: ignore[assignment]
    await rt.resolve(promise, True)  # type: ignore[arg-type]
    await rt.reject("token", 5)  # type: ignore[arg-type]
    monolite.patched(5)  # type: ignore[arg-type]
    number: int = await rt.result("a", order)  # type: ignore[arg-type]
    print(text, number)  # noqa: T201 - uses them


async def wrong_steps() -> None:
    await reserve("lamp", "5")  # type: ignore[arg-type]
    await reserve("lamp")  # type: ignore[call-arg]
    text: str = await reserve("lamp", 5)  # type: ignore[assignment]
    transaction("reserve")  # type: ignore[arg-type]
    update(mailbox=5)  # type: ignore[call-overload]
    query(5)  # type: ignore[arg-type]
    async with Saga() as undo:
        undo.add(refund)  # type: ignore[arg-type]
        undo.add(refund(5))  # type: ignore[arg-type]
        undo.add("refund")  # type: ignore[arg-type]
    print(text)  # noqa: T201 - uses it
    raise ContinueAsNew(order)  # type: ignore[arg-type]
