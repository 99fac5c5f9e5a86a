"""Turns: everything a turn does commits together, or nothing of it does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from monolite import Runtime
from monolite.errors import Misused, PayloadInvalid, UnknownWorkflow
from tests.actors.cast import Account, Overdrawn, gate, opened
from tests.actors.watching import in_turn
from tests.host.hosts import World, until


def ledger(rt: Runtime) -> list[tuple[str, int]]:
    with rt.read() as db:
        return [(str(who), int(cents)) for who, cents in db.execute("SELECT * FROM ledger")]


def tables(rt: Runtime) -> set[str]:
    with rt.read() as db:
        rows: Iterator[tuple[Any]] = db.execute("SELECT name FROM sqlite_schema")
        return {str(name) for (name,) in rows if "monolite_" not in str(name)}


async def test_state_message_and_transaction_of_a_turn_arrive_together(world: World) -> None:
    async with world.runtime(Account) as rt:
        assert await rt.actor(Account, "a").settle("b") == 1
        assert await rt.actor(Account, "a").statement() == "a has 1"
        assert await rt.actor(Account, "b").statement() == "b has 1"
        assert ledger(rt) == [("a", 1)]


async def test_a_failing_update_leaves_nothing_and_raises_at_the_caller(world: World) -> None:
    async with world.runtime(Account) as rt:
        await rt.actor(Account, "a").deposit(5)
        with pytest.raises(Overdrawn, match="a spilt"):
            await rt.actor(Account, "a").spill("b")
        assert await rt.actor(Account, "a").statement() == "a has 5"
        assert await rt.actor(Account, "a").read_lines() == []
        assert await rt.actor(Account, "b").statement() == "b has 0"
        assert tables(rt) == set()
        assert [info.id for info in await rt.list()] == ["Account/a"]


async def test_a_failing_turn_undoes_its_own_transaction_only(world: World) -> None:
    """Several turns share one commit; each is undone alone."""
    async with world.runtime(Account) as rt:
        a, b = rt.actor(Account, "a"), rt.actor(Account, "b")
        outcomes = await asyncio.gather(
            a.settle("c"), b.spill("c"), b.settle("c"), a.spill("c"), return_exceptions=True
        )
        assert [type(x) for x in outcomes] == [int, Overdrawn, int, Overdrawn]
        assert sorted(ledger(rt)) == [("a", 1), ("b", 1)]
        assert await rt.actor(Account, "c").statement() == "c has 2"


async def test_a_failing_signal_leaves_the_state_and_is_kept_to_look_at(world: World) -> None:
    async with world.runtime(Account) as rt:
        account = rt.actor(Account, "a")
        await account.note("good")
        await account.note("bad")
        await account.note("good again")
        assert await account.read_lines() == ["good", "good again"]
        errors = [x.error for x in await rt.handle("Account/a").history() if x.error]
        assert errors == ["Overdrawn: a bad line"]


async def test_turns_do_not_interleave_while_one_waits_for_the_clock(world: World) -> None:
    async with world.runtime(Account) as rt:
        account = rt.actor(Account, "a")
        async with asyncio.TaskGroup() as group:
            first = group.create_task(account.slow("first"))
            await in_turn(rt, "Account/a", "slow")
            second = group.create_task(account.slow("second"))
            await asyncio.sleep(0)
            await account.note("a note")
            await world.skip(rt, "1m")
            assert await first == ["first begins", "first ends"]
            # The second turn began when the first had ended, and waits for a minute of its own.
            await in_turn(rt, "Account/a", "slow")
            await world.skip(rt, "1m")
            assert await second == ["first begins", "first ends", "second begins", "second ends"]
        assert (await account.read_lines())[-1] == "a note"


async def test_messages_wait_in_order_for_a_turn_to_end(world: World) -> None:
    async with world.runtime(Account) as rt:
        account = rt.actor(Account, "a")
        async with asyncio.TaskGroup() as group:
            turn = group.create_task(account.slow("slow"))
            await in_turn(rt, "Account/a", "slow")
            for number in range(20):
                await account.note(str(number))
            await world.skip(rt, "1m")
            await turn
        expected = ["slow begins", "slow ends", *map(str, range(20))]
        assert await account.read_lines() == expected


async def test_turns_do_not_interleave_while_one_waits_for_a_child(world: World) -> None:
    async with world.runtime(Account, gate) as rt:
        account = rt.actor(Account, "a")
        async with asyncio.TaskGroup() as group:
            first = group.create_task(account.through_gate("x"))
            await in_turn(rt, "Account/a", "through_gate")
            second = group.create_task(account.deposit(1))
            (child,) = await rt.list(name="gate")
            assert await account.statement() == "a has 0"
            await rt.handle(child.id).signal(opened, "y")
            assert await first == "xy"
            assert await second == 1
        assert await account.read_lines() == ["x", "xy"]


async def test_a_query_beside_a_running_turn_reads_committed_state(world: World) -> None:
    async with world.runtime(Account) as rt:
        account = rt.actor(Account, "a")
        async with asyncio.TaskGroup() as group:
            turn = group.create_task(account.slow("slow"))
            await in_turn(rt, "Account/a", "slow")
            assert await account.read_lines() == []
            await world.skip(rt, "1m")
            await turn
        assert await account.read_lines() == ["slow begins", "slow ends"]


async def test_what_a_query_changes_is_dropped(world: World) -> None:
    async with world.runtime(Account) as rt:
        account = rt.actor(Account, "a")
        assert await account.scribble() == 1_000
        assert await account.scribble() == 1_000
        await account.deposit(1)
        assert await account.scribble() == 1_001
        assert await account.read_lines() == []


async def test_actors_do_not_share_a_default(world: World) -> None:
    async with world.runtime(Account) as rt:
        await rt.actor(Account, "a").note("mine")
        assert await rt.actor(Account, "b").read_lines() == []
        await rt.actor(Account, "b").note("other")
        assert await rt.actor(Account, "a").read_lines() == ["mine"]


async def test_a_turn_awaits_activities_and_other_actors(world: World) -> None:
    async with world.runtime(Account) as rt:
        a, b = rt.actor(Account, "a"), rt.actor(Account, "b")
        await a.deposit(5)
        assert await a.double() == 10
        assert await b.pull("a", 4) == 4
        assert await a.statement() == "a has 6"
        with pytest.raises(Overdrawn, match="a has 6, not 7"):
            await b.pull("a", 7)
        assert await a.statement() == "a has 6"
        assert await b.statement() == "b has 4"


async def test_an_attribute_that_is_not_annotated_is_refused(world: World) -> None:
    async with world.runtime(Account) as rt:
        with pytest.raises(PayloadInvalid, match="not annotated: unwritten"):
            await rt.actor(Account, "a").write_down()
        assert await rt.actor(Account, "a").deposit(1) == 1


async def test_misuse_of_a_reference_says_what_to_do(world: World) -> None:
    async with world.runtime() as rt:
        account = rt.actor(Account, "a")
        with pytest.raises(Misused, match="an actor's state is its own"):
            _ = account.balance
        with pytest.raises(UnknownWorkflow, match="pass the class"):
            await account.deposit(1)
        with pytest.raises(UnknownWorkflow, match="pass the class"):
            await account.statement()


async def test_a_turn_in_mid_air_is_resumed_by_the_next_life(lives: World) -> None:
    async with lives.runtime(Account, gate) as rt:
        account = rt.actor(Account, "a")
        await account.deposit(3)
        begun: list[asyncio.Future[Any]] = [asyncio.ensure_future(account.through_gate("x"))]
        await in_turn(rt, "Account/a", "through_gate")
        begun.append(asyncio.ensure_future(account.deposit(1)))
        await account.note("in between")
    assert {type(x).__name__ for x in await asyncio.gather(*begun, return_exceptions=True)} == {
        "CommitUnknown"
    }
    async with lives.runtime(Account, gate) as rt:
        account = rt.actor(Account, "a")
        assert await account.statement() == "a has 3"
        info = await in_turn(rt, "Account/a", "through_gate")
        assert info.status == "waiting"
        (child,) = await rt.list(name="gate")
        await rt.handle(child.id).signal(opened, "y")
        await until(rt.handle("Account/a"), lambda info: info.waiting_on == "messages")
        assert await account.statement() == "a has 4"
        assert await account.read_lines() == ["x", "xy", "in between"]


async def test_turns_that_have_ended_are_not_run_again(lives: World) -> None:
    for life in range(3):
        async with lives.runtime(Account) as rt:
            assert await rt.actor(Account, "a").deposit(1) == life + 1
            assert await rt.actor(Account, "a").double() == 2 * (life + 1)
            assert await rt.actor(Account, "a").withdraw(life + 1) == life + 1


async def test_turns_of_one_commit_leave_the_state_and_journal_of_the_last(lives: World) -> None:
    """The second changes nothing, but is later: its end is where the journal is retired."""
    async with lives.runtime(Account) as rt:
        account = rt.actor(Account, "a")
        assert list(await asyncio.gather(account.deposit(0), account.deposit(5))) == [0, 5]
        assert list(await asyncio.gather(account.deposit(5), account.deposit(0))) == [10, 10]
    for life in range(1, 4):
        async with lives.runtime(Account) as rt:
            account = rt.actor(Account, "a")
            assert await account.statement() == f"a has {10 * life}"
            with rt.read() as db:
                row = db.execute(RETIRED).fetchone()
            assert row == (10 * life, row[2], row[2])
            found = await asyncio.gather(*(account.deposit(x) for x in (0, 10, 0)))
            assert found == [10 * life, *[10 * life + 10] * 2]
            assert (await rt.handle("Account/a").describe()).status in ("running", "waiting")


RETIRED = """
SELECT json_extract(s.state, '$.balance'), s.retired_n, 1 + max(i.n)
FROM monolite_states AS s JOIN monolite_inbox AS i ON i.run_no = s.run_no
"""
