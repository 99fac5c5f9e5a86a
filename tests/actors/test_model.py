"""A dictionary is the model: whatever is asked, restarts or not, the answers are its answers."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import monolite
from monolite import Promise, Runtime, Update, View, workflow
from monolite.errors import Cancelled, Rejected
from tests.actors.cast import Account, Overdrawn
from tests.host.hosts import World

add = Update("add", int, int)
token = View("token", str)
KEYS = "abc"


@workflow
async def ledger() -> int:
    total = 0
    async for request in add:
        if total + request.value < 0:
            request.reject("too little")
        else:
            total += request.value
            request.reply(total)
    return total


@workflow
async def promised() -> int:
    promise = Promise(int)
    token.set(promise.token)
    return await promise


keys = st.sampled_from(KEYS)
cents = st.integers(1, 9)
steps = st.one_of(
    st.tuples(st.just("deposit"), keys, cents),
    st.tuples(st.just("withdraw"), keys, cents),
    st.tuples(st.just("pull"), st.sampled_from(["ab", "bc", "ca"]), cents),
    st.tuples(st.just("spill"), keys, cents),
    st.tuples(st.just("repeat"), keys, cents),
    st.tuples(st.just("add"), keys, st.integers(-5, 9)),
    st.tuples(st.just("cancel"), keys, cents),
    st.tuples(st.just("resolve"), keys, cents),
    st.tuples(st.just("restart"), keys, cents),
)


class Model:
    """What should be so."""

    def __init__(self) -> None:
        self.balances = dict.fromkeys(KEYS, 0)
        self.once: dict[str, int] = {}
        self.totals: dict[str, int | None] = dict.fromkeys(KEYS, 0)
        self.promises: dict[str, int] = {}

    def step(self, kind: str, key: str, cents: int) -> Any:
        match kind:
            case "deposit":
                self.balances[key] += cents
                return self.balances[key]
            case "withdraw" if self.balances[key] >= cents:
                self.balances[key] -= cents
                return self.balances[key]
            case "pull" if self.balances[key[1]] >= cents:
                self.balances[key[1]] -= cents
                self.balances[key[0]] += cents
                return self.balances[key[0]]
            case "repeat":
                if key not in self.once:
                    self.once[key] = self.step("deposit", key, 1)
                return self.once[key]
            case "add":
                total = self.totals[key]
                if total is None or total + cents < 0:
                    return "refused"
                self.totals[key] = total + cents
                return total + cents
            case "cancel":
                self.totals[key] = None
                return "cancelled"
            case "resolve":
                return self.promises.setdefault(key, cents)
            case "restart":
                return None
            case _:
                return "refused"


async def really(rt: Runtime, kind: str, key: str, cents: int) -> Any:
    """Do one step for real."""
    account = rt.actor(Account, key[0])
    try:
        match kind:
            case "deposit":
                return await account.deposit(cents)
            case "withdraw":
                return await account.withdraw(cents)
            case "pull":
                return await account.pull(key[1], cents)
            case "spill":
                return await account.spill(key)
            case "repeat":
                return await monolite.send(account.deposit(1), id="once")
            case "add":
                return await (await rt.spawn(ledger(), id=f"ledger-{key}")).update(add, cents)
            case "cancel":
                run = await rt.spawn(ledger(), id=f"ledger-{key}")
                await run.cancel()
                await run.result()
            case _:
                assert kind == "resolve"
                given = await rt.spawn(promised(), id=f"promised-{key}")
                text = await given.view(token)
                assert text is not None
                await rt.resolve(text, cents)
                return await given.result()
    except Cancelled:
        return "cancelled"
    except (Overdrawn, Rejected):
        return "refused"


async def compare(path: Path, script: list[tuple[str, str, int]]) -> None:
    world, model = World(path), Model()
    rt = world.runtime(Account, ledger, promised, max_live=3)
    await rt.__aenter__()
    try:
        for kind, key, amount in script:
            if kind == "restart":
                await rt.__aexit__(None, None, None)
                rt = world.runtime(Account, ledger, promised, max_live=3)
                await rt.__aenter__()
            else:
                expected = model.step(kind, key, amount)
                assert await really(rt, kind, key, amount) == expected, (kind, key, amount)
        for key, balance in model.balances.items():
            assert await rt.actor(Account, key).statement() == f"{key} has {balance}"
            assert await rt.actor(Account, key).read_lines() == []
    finally:
        await rt.__aexit__(None, None, None)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=5, max_size=40))
def test_whatever_is_done_the_answers_are_the_model_s(script: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(Path(folder) / "app.db", script))


async def test_a_crowd_of_callers_leaves_what_the_model_says(world: World) -> None:
    """At once, in one commit or many: only the order may differ."""
    async with world.runtime(Account, max_live=3) as rt:
        calls = [rt.actor(Account, KEYS[n % 3]).deposit(n) for n in range(300)]
        await asyncio.gather(*calls)
        for i, key in enumerate(KEYS):
            assert await rt.actor(Account, key).statement() == f"{key} has {sum(range(i, 300, 3))}"
