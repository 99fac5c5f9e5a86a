"""The cast: actors, workflows and functions that the tests of this folder share."""

from __future__ import annotations

import asyncio
from typing import Any

import monolite
from monolite import Actor, Signal, activity, query, signal, transaction, update, workflow


class Overdrawn(Exception):
    """There is not enough in the account."""


monolite.register_exception(Overdrawn)

opened = Signal("opened", str)


@activity
async def doubled(number: int) -> int:
    return 2 * number


@workflow
async def gate(word: str) -> str:
    return word + await opened.receive()


@transaction
def write(db: Any, who: str, cents: int) -> int:
    db.execute("CREATE TABLE IF NOT EXISTS ledger (who TEXT, cents INTEGER)")
    db.execute("INSERT INTO ledger VALUES (?, ?)", (who, cents))
    (lines,) = db.execute("SELECT count(*) FROM ledger").fetchone()
    return int(lines)


class Account(Actor):
    """An account whose turns do all that turns may do."""

    balance: int = 0
    lines: list[str] = []

    @update
    async def deposit(self, cents: int) -> int:
        self.balance += cents
        return self.balance

    @update
    async def withdraw(self, cents: int) -> int:
        self.balance -= cents
        if self.balance < 0:
            raise Overdrawn(f"{self.id} has {self.balance + cents}, not {cents}")
        return self.balance

    @update
    async def spill(self, to: str) -> None:
        """Do everything a turn may do, then fail."""
        self.balance += 1
        self.lines.append("spilt")
        monolite.send(monolite.actor(Account, to).deposit(1))
        await write(self.id, 1)
        raise Overdrawn(f"{self.id} spilt")

    @update
    async def settle(self, to: str) -> int:
        """Do the same, and end well."""
        self.balance += 1
        monolite.send(monolite.actor(Account, to).deposit(1))
        return await write(self.id, 1)

    @update
    async def slow(self, word: str) -> list[str]:
        """Wait for a minute in the middle of a turn."""
        self.lines.append(f"{word} begins")
        await asyncio.sleep(60)
        self.lines.append(f"{word} ends")
        return self.lines

    @update
    async def double(self) -> int:
        self.balance = await doubled(self.balance)
        return self.balance

    @update
    async def through_gate(self, word: str) -> str:
        self.lines.append(word)
        found = await gate(word)
        self.lines.append(found)
        return found

    @update
    async def pull(self, other: str, cents: int) -> int:
        """Take money out of another account, in this one's turn."""
        await monolite.actor(Account, other).withdraw(cents)
        self.balance += cents
        return self.balance

    @update
    async def write_down(self) -> None:
        self.unwritten = 1

    @signal
    async def note(self, line: str) -> None:
        if line == "bad":
            raise Overdrawn("a bad line")
        self.lines.append(line)

    @query
    def statement(self) -> str:
        return f"{self.id} has {self.balance}"

    @query
    def read_lines(self) -> list[str]:
        return self.lines

    @query
    def scribble(self) -> int:
        """Change what is only read."""
        self.balance += 1_000
        self.lines.append("scribbled")
        return self.balance
