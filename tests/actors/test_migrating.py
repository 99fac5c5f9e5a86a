"""Migration: stored state of an older class becomes that of a newer one."""

from __future__ import annotations

from typing import Any

import pytest

from monolite import Actor, query, update
from monolite.errors import Misused, PayloadInvalid, Rejected
from tests.host.hosts import World


def first_class() -> type[Actor]:
    class Purse(Actor):
        coins: int = 0

        @update
        async def add(self, coins: int) -> int:
            self.coins += coins
            return self.coins

        @query
        def read(self) -> str:
            return f"{self.coins} coins"

    return Purse


def second_class() -> type[Actor]:
    class Purse(Actor):
        cents: int = 0

        @Actor.migrate(from_version=1)
        @staticmethod
        def to_cents(state: dict[str, Any]) -> dict[str, Any]:
            return {"cents": 100 * state["coins"]}

        @update
        async def add(self, coins: int) -> int:
            if coins < 0:
                raise ValueError(coins)
            self.cents += 100 * coins
            return self.cents

        @query
        def read(self) -> str:
            return f"{self.cents} cents"

    return Purse


def third_class() -> type[Actor]:
    class Purse(Actor):
        money: dict[str, int] = {}

        @Actor.migrate(from_version=1)
        @staticmethod
        def to_cents(state: dict[str, Any]) -> dict[str, Any]:
            return {"cents": 100 * state["coins"]}

        @Actor.migrate(from_version=2)
        @staticmethod
        def to_money(state: dict[str, Any]) -> dict[str, Any]:
            return {"money": {"EUR": state["cents"]}}

        @update
        async def add(self, coins: int) -> int:
            self.money["EUR"] += 100 * coins
            return self.money["EUR"]

        @query
        def read(self) -> str:
            return f"{self.money} of {self.id}"

    return Purse


def broken_class() -> type[Actor]:
    class Purse(Actor):
        cents: int = 0

        @Actor.migrate(from_version=1)
        @staticmethod
        def to_cents(state: dict[str, Any]) -> dict[str, Any]:
            return {"cents": state["pounds"]}

        @update
        async def add(self, coins: int) -> int:
            return coins

        @query
        def read(self) -> str:
            return "never"

    return Purse


def every_form() -> type[Actor]:
    class Purse(Actor):
        money: dict[str, int] = {}

        @Actor.migrate(from_version=1)
        def one(state: dict[str, Any]) -> dict[str, Any]:  # noqa: N805 # pyright: ignore[reportGeneralTypeIssues]
            return {"cents": 100 * state["coins"]}

        @Actor.migrate(from_version=2)
        @classmethod
        def two(cls, state: dict[str, Any]) -> dict[str, Any]:
            return {**state, "by": cls.__name__}

        @Actor.migrate(from_version=3)
        def three(self, state: dict[str, Any]) -> dict[str, Any]:
            return {"money": {state["by"]: state["cents"]}}

        @query
        def read(self) -> str:
            return f"{self.money}"

    return Purse


async def test_a_migration_can_be_written_as_any_kind_of_method(lives: World) -> None:
    old, new = map(_any, (first_class(), every_form()))
    async with lives.runtime(old) as rt:
        await rt.actor(old, "p").add(2)
    async with lives.runtime(new) as rt:
        assert await rt.actor(new, "p").read() == "{'Purse': 200}"
    assert new.two({"cents": 1}) == {"cents": 1, "by": "Purse"}


def test_a_migration_is_from_a_version_and_returns_a_state() -> None:
    with pytest.raises(Misused, match="from_version must be at least 1, not 0"):
        Actor.migrate(from_version=0)

    class Purse(Actor):
        @Actor.migrate(from_version=1)
        @staticmethod
        def forgets(state: dict[str, Any]) -> Any:
            state.clear()

    with pytest.raises(Misused, match=r"Purse\.forgets must return the new state, a dict: None"):
        Purse.forgets({"a": 1})


async def test_state_goes_through_every_version_in_between(lives: World) -> None:
    old: Any = first_class()
    async with lives.runtime(old) as rt:
        assert await rt.actor(old, "p").add(2) == 2
    new: Any = third_class()
    async with lives.runtime(new) as rt:
        assert await rt.actor(new, "p").read() == "{'EUR': 200} of p"
        assert await rt.actor(new, "p").add(1) == 300
    async with lives.runtime(new) as rt:
        assert await rt.actor(new, "p").read() == "{'EUR': 300} of p"


async def test_a_query_of_an_actor_in_memory_reads_migrated_state(lives: World) -> None:
    old, new = map(_any, (first_class(), second_class()))
    async with lives.runtime(old) as rt:
        await rt.actor(old, "p").add(2)
    async with lives.runtime(new) as rt:
        with pytest.raises(Exception, match="-1"):
            await rt.actor(new, "p").add(-1)
        assert await rt.actor(new, "p").read() == "200 cents"


async def test_a_failing_first_turn_keeps_migrated_state(lives: World) -> None:
    old, new = map(_any, (first_class(), second_class()))
    async with lives.runtime(old) as rt:
        await rt.actor(old, "p").add(2)
    async with lives.runtime(new) as rt:
        with pytest.raises(Exception, match="-1"):
            await rt.actor(new, "p").add(-1)
        assert await rt.actor(new, "p").add(1) == 300
    async with lives.runtime(new) as rt:
        assert await rt.actor(new, "p").read() == "300 cents"


async def test_newer_state_is_refused_and_left_alone(lives: World) -> None:
    old, new = map(_any, (first_class(), second_class()))
    async with lives.runtime(new) as rt:
        await rt.actor(new, "p").add(2)
    async with lives.runtime(old) as rt:
        with pytest.raises(PayloadInvalid, match="has version 2, the code has 1"):
            await rt.actor(old, "p").read()
        with pytest.raises(Rejected, match="has version 2, the code has 1"):
            await rt.actor(old, "p").add(2)
        info = await rt.describe("Purse/p")
        assert info.waiting_on is not None
        assert info.waiting_on.startswith("code that can load its state")
        assert await rt.actor(old, "q").add(2) == 2
    async with lives.runtime(new) as rt:
        assert await rt.actor(new, "p").read() == "200 cents"


async def test_a_migration_that_fails_leaves_the_others_running(lives: World) -> None:
    old, broken, new = map(_any, (first_class(), broken_class(), second_class()))
    async with lives.runtime(old) as rt:
        await rt.actor(old, "p").add(2)
    async with lives.runtime(broken) as rt:
        with pytest.raises(Rejected, match="pounds"):
            await rt.actor(broken, "p").add(2)
        assert await rt.actor(broken, "q").add(2) == 2
    async with lives.runtime(new) as rt:
        assert await rt.actor(new, "p").add(1) == 300


def _any(cls: type[Actor]) -> Any:
    return cls
