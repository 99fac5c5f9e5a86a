"""What the workflow's words are to a type checker: each keeps the type of what goes through it."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any, assert_type
from uuid import UUID

import monolite
from monolite import (
    Accepted,
    Call,
    Client,
    ContinueAsNew,
    Current,
    Handle,
    Promise,
    Request,
    Runtime,
    Saga,
    Signal,
    Stream,
    Transaction,
    Update,
    View,
    activity,
    spawn,
    transaction,
    workflow,
)

bid = Update("bid", int, str)
anything = Update("anything")
words = Stream("words", str)
lines = Stream("lines")
progress = View("progress", int)
approval = Signal("approval", bool)


@activity
async def refund(payment: str) -> bool:
    words.append(payment)
    assert_type(monolite.attempt().idempotency_key, str)
    assert_type(monolite.attempt().interrupted, bool)
    return bool(payment)


@transaction
def reserve(db: Any, sku: str, n: int = 1) -> list[int]:
    return [len(sku), n]


@workflow(version=2)
async def order(number: int) -> str:
    async with Saga() as undo:
        assert_type(undo, Saga)
        undo.add(refund("a"))
        undo.add(reserve("a", -1))
        undo.add(order(1))
    if number:
        raise ContinueAsNew(order(number - 1))
    return "done"


def definitions() -> None:
    made: Transaction[[str, int], list[int]] | Transaction[..., list[int]] = reserve
    assert_type(made("a", 1), Call[list[int]])
    assert_type(reserve("a"), Call[list[int]])
    assert_type(bid, Update[int, str])
    assert_type(anything, Update[Any, Any])
    assert_type(words, Stream[str])
    assert_type(lines, Stream[Any])


async def stepped() -> None:
    assert_type(await reserve("a", n=2), list[int])
    assert_type(monolite.now(), datetime)
    assert_type(monolite.random(), random.Random)
    assert_type(monolite.uuid4(), UUID)
    assert_type(monolite.patched("fly"), bool)
    assert_type(monolite.current(), Current)
    assert_type(monolite.current().parent, str | None)


async def answered() -> None:
    request = await bid.receive()
    assert_type(request, Request[int, str])
    assert_type(request.value, int)
    request.reply("yes")
    request.reject("no")
    async for each in bid:
        assert_type(each, Request[int, str])
    assert_type(bid.pending(), int)


async def promised() -> None:
    promise = Promise(bool)
    assert_type(promise, Promise[bool])
    assert_type(promise.token, str)
    assert_type(await promise, bool)
    assert_type(await Promise(list[int]), list[int])
    assert_type(await Promise(), Any)


async def spawned() -> None:
    child = await spawn(order(1), id="a", detached=True)
    assert_type(child, Handle[str])
    assert_type(await child.result(), str)
    assert_type(await child.signal(approval, True), Accepted)
    assert_type(await child.update(bid, 5), str)
    assert_type(await child.cancel("why"), Accepted)


async def handled(handle: Handle[str]) -> None:
    assert_type(await handle.update(bid, 5, id="m"), str)
    assert_type(await handle.update(anything, {"a": 1}), Any)
    assert_type(await handle.pause(), Accepted)
    assert_type(await handle.resume(), Accepted)
    assert_type(handle.read(words, after=3), AsyncGenerator[tuple[int, str], None])
    async for position, word in handle.read(words):
        assert_type(position, int)
        assert_type(word, str)


async def by_id(rt: Runtime, client: Client) -> None:
    """A runtime and a client have the verbs of a handle, with the run's id in front."""
    for place in (rt, client):
        assert_type(await place.signal("a", approval, True, id="m"), Accepted)
        assert_type(await place.update("a", bid, 5), str)
        assert_type(await place.view("a", progress), int | None)
        assert_type(place.watch("a", progress), AsyncGenerator[int, None])
        assert_type(await place.result("a", order), str)
        assert_type(await place.result("a"), Any)
        assert_type(await place.cancel("a", "why"), Accepted)
        assert_type(await place.terminate("a"), Accepted)
        assert_type(await place.pause("a"), Accepted)
        assert_type(await place.resume("a"), Accepted)
        assert_type(await place.resolve("token", True), Accepted)
        assert_type(await place.reject("token", "why"), Accepted)
        assert_type(place.handle("a", order), Handle[str])
        assert_type(await place.describe("a"), monolite.Info)
        assert_type(await place.list(status="waiting", limit=5), list[monolite.Info])
        assert_type(await place.history("a"), list[monolite.Entry])
        assert_type(await place.spawn(order(1), delay=timedelta(1)), Handle[str])
