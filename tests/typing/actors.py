"""What an actor is to a type checker: a reference's handlers make calls, the class has state."""

from __future__ import annotations

from typing import Any, assert_type

import monolite
from monolite import Actor, Call, Client, Runtime, query, signal, update, workflow


class Account(Actor):
    balance: int = 0
    notes: list[str] = []

    @Actor.migrate(from_version=1)
    @staticmethod
    def from_euros(state: dict[str, Any]) -> dict[str, Any]:
        return {"balance": state["euros"] * 100}

    @Actor.migrate(from_version=2)
    @classmethod
    def renamed(cls, state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "notes": []}

    @update
    async def deposit(self, cents: int, *, note: str = "") -> int:
        self.balance += cents
        assert_type(self.balance, int)
        assert_type(self.id, str)
        assert_type(await self.audit(), dict[str, int])
        return self.balance

    @update(mailbox="latest", debounce="500ms")
    async def audit(self) -> dict[str, int]:
        return {self.id: self.balance}

    @signal
    async def freeze(self, reason: str) -> None: ...

    @signal(bound=3)
    async def note(self, text: str) -> None:
        self.notes.append(text)

    @query
    def statement(self, lines: int = 10) -> list[str]:
        return self.notes[:lines]


async def from_outside(rt: Runtime, client: Client) -> None:
    acct = rt.actor(Account, "alice")
    assert_type(acct, Account)
    assert_type(acct.id, str)
    assert_type(acct.deposit(5), Call[int])
    assert_type(acct.audit(), Call[dict[str, int]])
    assert_type(await acct.deposit(5, note="rent"), int)
    assert_type(await acct.audit(), dict[str, int])
    assert_type(await acct.statement(), list[str])
    assert_type(acct.freeze("why"), Call[None])
    assert_type(acct.note("hello"), Call[None])
    assert_type(await client.actor(Account, "bob").deposit(cents=5), int)
    await monolite.send(acct.deposit(5), delay="1h", id="dedupe")


@workflow
async def transfer(to: str, cents: int) -> int:
    acct = monolite.actor(Account, to)
    assert_type(acct, Account)
    monolite.send(acct.deposit(cents))
    monolite.send(acct.note("hello"), delay=5)
    return await acct.deposit(cents)


def migrated() -> None:
    assert_type(Account.from_euros({"euros": 1}), dict[str, Any])


async def bare() -> None:
    alice = Account("alice")
    assert_type(await alice.deposit(5), int)
