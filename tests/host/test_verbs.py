"""Verbs: a runtime and a client do by a run's id what its handle does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from monolite import Client, Promise, Runtime, Signal, Update, View, errors, workflow

number = Signal("number", int)
double = Update("double", int, int)
seen = View("seen", int)
token = View("token", str)


@workflow
async def adding() -> int:
    total = 0
    async for n in number:
        if n < 0:
            break
        total += n
        seen.set(total)
    request = await double.receive()
    request.reply(2 * request.value)
    promise = Promise(int)
    token.set(promise.token)
    return total + await promise


@workflow
async def idle() -> None:
    await asyncio.sleep(86_400)


@pytest.mark.parametrize("by", ["runtime", "client"])
async def test_every_verb_takes_the_id_of_a_run(tmp_path: Path, by: str) -> None:
    path = tmp_path / "app.db"
    async with Runtime(path, actors=[adding, idle]) as rt, Client(path) as client:
        who = rt if by == "runtime" else client
        run = await who.spawn(adding(), id="a")
        assert (await who.signal("a", number, 3, id="m")).accepted
        assert (await who.signal("a", number, 3, id="m")).reason == "duplicate"
        async with aclosing(who.watch("a", seen)) as values:
            assert await anext(values) == 3
        await who.signal("a", number, -1)
        assert await who.update("a", double, 4) == 8
        async with aclosing(who.watch("a", token)) as tokens:
            text = await anext(tokens)
        assert await who.view("a", token) == text
        assert await who.resolve(text, 10)
        assert await who.result("a", adding) == await who.result("a") == await run.result() == 13
        assert (await who.describe("a")).status == "completed"
        assert len(await who.history("a")) == 6
        assert [info.id for info in await who.list(name="adding")] == ["a"]

        for id in ("b", "c"):
            await who.spawn(idle(), id=id)
        assert await who.pause("b")
        assert await who.resume("b")
        assert await who.cancel("b", "rain")
        assert await who.terminate("c", "fire")
        with pytest.raises(errors.Cancelled, match="rain"):
            await who.result("b")
        with pytest.raises(errors.Terminated, match="fire"):
            await who.result("c")
        with pytest.raises(errors.UnknownWorkflow):
            await who.signal("nobody", number, 3)
        with pytest.raises(errors.PayloadInvalid):
            await who.signal("a", number, "three")  # type: ignore[misc] # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("by", ["runtime", "client"])
async def test_a_promise_is_rejected_by_its_token(tmp_path: Path, by: str) -> None:
    path = tmp_path / "app.db"
    async with Runtime(path, actors=[adding]) as rt, Client(path) as client:
        who = rt if by == "runtime" else client
        run = await who.spawn(adding(), id="a")
        await who.signal("a", number, -1)
        assert await who.update("a", double, 1) == 2
        async with aclosing(who.watch("a", token)) as tokens:
            assert await who.reject(await anext(tokens), "no")
        with pytest.raises(errors.WorkflowFailed, match="no"):
            await run.result()
