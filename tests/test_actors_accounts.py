"""The accounts: money moves whole, the ledger agrees, and what is refused leaves no trace."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import apsw
import pytest

import monolite
from actors import accounts
from actors.accounts import Account, Overdrawn, note
from monolite import Client, Runtime, workflow
from monolite.errors import RemoteError
from tests.served import Served


@pytest.fixture
def bank(tmp_path: Path) -> Runtime:
    return Runtime(tmp_path / "bank.db", actors=[accounts, pay_rent])


@workflow
async def pay_rent(cents: int) -> int:
    return await monolite.actor(Account, "tenant").transfer("landlord", cents)


def lines(bank: Runtime) -> list[tuple[str, int]]:
    with bank.read() as db:
        found: list[tuple[str, int]] = db.execute("SELECT account, cents FROM ledger").fetchall()
    return found


def ledger(bank: Runtime) -> dict[str, int]:
    """What the ledger says that each account has."""
    sums: Counter[str] = Counter()
    for account, cents in lines(bank):
        sums[account] += cents
    return dict(sums)


async def test_a_deposit_is_in_the_balance_and_in_the_ledger(bank: Runtime) -> None:
    async with bank:
        alice = bank.actor(Account, "alice")
        assert await alice.statement() == "alice: 0"
        assert [await alice.deposit(100), await alice.deposit(20)] == [100, 120]
        assert await alice.statement() == "alice: 120"
        assert lines(bank) == [("alice", 100), ("alice", 20)]


async def test_a_transfer_moves_money_in_one_commit(bank: Runtime) -> None:
    async with bank:
        alice, bob = bank.actor(Account, "alice"), bank.actor(Account, "bob")
        await alice.deposit(100)
        assert await alice.transfer("bob", 30) == 70
        assert await bob.statement() == "bob: 30"
        assert lines(bank) == [("alice", 100), ("alice", -30), ("bob", 30)]


async def test_nobody_spends_what_is_not_there(bank: Runtime) -> None:
    async with bank:
        alice = bank.actor(Account, "alice")
        await alice.deposit(100)
        with pytest.raises(Overdrawn, match="alice has 100, not 101"):
            await alice.transfer("bob", 101)
        assert await alice.statement() == "alice: 100"
        assert await bank.actor(Account, "bob").statement() == "bob: 0"
        assert lines(bank) == [("alice", 100)]


async def test_of_two_that_spend_the_same_money_one_is_refused(bank: Runtime) -> None:
    async with bank:
        alice = bank.actor(Account, "alice")
        await alice.deposit(100)
        both = (alice.transfer("bob", 60), alice.transfer("carol", 60))
        first, second = await asyncio.gather(*both, return_exceptions=True)
        assert first == 40
        assert isinstance(second, Overdrawn)
        assert ledger(bank) == {"alice": 40, "bob": 60}


async def test_a_frozen_account_takes_and_does_not_give(bank: Runtime) -> None:
    async with bank:
        alice = bank.actor(Account, "alice")
        await alice.deposit(100)
        await alice.freeze("a court order")
        with pytest.raises(Overdrawn, match="alice is frozen: a court order"):
            await alice.transfer("bob", 1)
        assert await alice.deposit(5) == 105
        assert ledger(bank) == {"alice": 105}


async def test_a_transfer_to_oneself_changes_nothing(bank: Runtime) -> None:
    async with bank:
        alice = bank.actor(Account, "alice")
        await alice.deposit(100)
        assert await alice.transfer("alice", 30) == 70  # at that moment
        assert await alice.deposit(0) == 100
        assert ledger(bank) == {"alice": 100}


async def test_workflows_move_money_too(bank: Runtime) -> None:
    async with bank:
        await bank.actor(Account, "tenant").deposit(900)
        assert await (await bank.spawn(pay_rent(800), id="may")).result() == 100
        assert await (await bank.spawn(pay_rent(800), id="may")).result() == 100
        assert ledger(bank) == {"landlord": 800, "tenant": 100}


async def test_many_transfers_at_once_neither_make_nor_lose_money(bank: Runtime) -> None:
    names = ["a", "b", "c", "d"]
    async with bank:
        for name in names:
            await bank.actor(Account, name).deposit(50)
        transfers = [
            bank.actor(Account, names[i % 4]).transfer(names[(i * 3 + 1) % 4], 10 + i % 30)
            for i in range(100)
        ]
        results = await asyncio.gather(*transfers, return_exceptions=True)
        assert {type(result) for result in results} <= {int, Overdrawn}
        statements = [await bank.actor(Account, name).statement() for name in names]
        booked = ledger(bank)
        assert statements == [f"{name}: {booked[name]}" for name in names]
        assert sum(booked.values()) == 200
        assert min(booked.values()) >= 0


async def test_accounts_outlive_their_engine(tmp_path: Path) -> None:
    file = tmp_path / "bank.db"
    async with Client(file, create=True) as client:
        alice = client.actor(Account, "alice")
        with Served(file, Path(accounts.__file__)) as engine:
            assert await alice.deposit(100) == 100
            await alice.transfer("bob", 30)
            engine.kill()
        with Served(file, Path(accounts.__file__)) as engine:
            assert await alice.deposit(0) == 70
            with pytest.raises(RemoteError, match="alice has 70, not 71") as refused:
                await alice.transfer("bob", 71)
            assert refused.value.type_name == "accounts.Overdrawn"  # served under another name
            assert engine.stop() == 0
        assert await client.actor(Account, "bob").statement() == "bob: 30"


def test_a_note_can_be_made_in_any_database() -> None:
    db = apsw.Connection(":memory:")
    assert [note.fn(db, "alice", 5), note.fn(db, "bob", 7)] == [1, 2]
    db.close()
