"""Bank accounts as actors: a transfer that no crash and no reader ever sees half of.

An account's turn and the messages it sends commit together, and the receiving account takes
its message in the same commit. So the money leaves one and reaches the other in one step of the
file's history; `ledger`, a table of the application's own, is written in that very step too.

    async with monolite.Runtime("bank.db", actors=[accounts]) as rt:
        alice = rt.actor(accounts.Account, "alice")
        await alice.deposit(100)
        await alice.transfer("bob", 30)
"""

from __future__ import annotations

from typing import Any

import monolite
from monolite import Actor, query, signal, transaction, update


class Overdrawn(Exception):
    """There is not enough money in the account."""


monolite.register_exception(Overdrawn)


@transaction
def note(db: Any, account: str, cents: int) -> int:
    """Add a line to the ledger and return how many there are."""
    db.execute("CREATE TABLE IF NOT EXISTS ledger (account TEXT, cents INTEGER)")
    db.execute("INSERT INTO ledger VALUES (?, ?)", (account, cents))
    (lines,) = db.execute("SELECT count(*) FROM ledger").fetchone()
    return int(lines)


class Account(Actor):
    """One account. Its turns never interleave, so no check can be overtaken by another."""

    balance: int = 0
    frozen: str = ""

    @update
    async def deposit(self, cents: int) -> int:
        """Put money in; return the new balance."""
        await self.book(cents)
        return self.balance

    @update
    async def transfer(self, to: str, cents: int) -> int:
        """Send money to another account; return what is left."""
        if self.frozen:
            raise Overdrawn(f"{self.id} is frozen: {self.frozen}")
        if cents > self.balance:
            raise Overdrawn(f"{self.id} has {self.balance}, not {cents}")
        await self.book(-cents)
        monolite.send(monolite.actor(Account, to).deposit(cents))
        return self.balance

    @signal
    async def freeze(self, reason: str) -> None:
        """Let nothing out any more."""
        self.frozen = reason

    @query
    def statement(self) -> str:
        """Say what is in the account."""
        return f"{self.id}: {self.balance}"

    async def book(self, cents: int) -> None:
        """Change the balance and the ledger together."""
        self.balance += cents
        await note(self.id, cents)
