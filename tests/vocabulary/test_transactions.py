"""Transactions: the application's tables, in the very commit that journals the call."""

from __future__ import annotations

import asyncio
from typing import Any

import apsw
import pytest

from monolite import Actor, Runtime, Signal, transaction, update, workflow
from monolite.errors import ActivityFailed, Misused, WorkflowFailed
from tests.host.hosts import World, until_waiting

go_on = Signal("go_on", str)


@transaction
def write(db: Any, word: str) -> int:
    db.execute("CREATE TABLE IF NOT EXISTS words (word TEXT UNIQUE)")
    db.execute("INSERT INTO words VALUES (?)", (word,))
    (count,) = db.execute("SELECT count(*) FROM words").fetchone()
    return int(count)


@transaction
def run_sql(db: Any, *statements: str) -> list[str]:
    return [str(row) for sql in statements for row in db.execute(sql)]


@transaction
def unstorable(db: Any) -> object:
    db.execute("CREATE TABLE IF NOT EXISTS words (word TEXT UNIQUE)")
    db.execute("INSERT INTO words VALUES ('unstorable')")
    return object()


@workflow
async def writer(*words: str) -> list[int]:
    return [await write(word) for word in words]


@workflow
async def sql(*statements: str) -> list[str]:
    return await run_sql(*statements)


@workflow
async def persistent(word: str) -> str:
    """Try again with another word."""
    try:
        await write(word)
    except ActivityFailed as error:
        await write(f"{word} again")
        return "taken" if "UNIQUE" in str(error) else str(error)
    return "written"


@workflow
async def interrupted(word: str) -> str:
    count = await write(word)
    await go_on.receive()
    return f"{word} was {count}"


@workflow
async def bad_result() -> None:
    await unstorable()


class Keeper(Actor):
    kept: int = 0

    @update
    async def keep(self, word: str) -> int:
        self.kept = await write(word)
        return self.kept

    @update
    async def keep_two(self, first: str, second: str) -> int:
        """The second may fail; the turn then goes on without it."""
        self.kept = await write(first)
        try:
            self.kept = await write(second)
        except ActivityFailed:
            return -self.kept
        return self.kept

    @update
    async def keep_and_fail(self, word: str) -> int:
        await write(word)
        raise ValueError(word)


def words(rt: Runtime) -> list[str]:
    with rt.read() as db:
        return [str(word) for (word,) in db.execute("SELECT word FROM words ORDER BY rowid")]


async def test_its_result_comes_back_and_its_rows_are_there(world: World) -> None:
    async with world.runtime(writer) as rt:
        assert await (await rt.spawn(writer("a", "b", "c"))).result() == [1, 2, 3]
        assert words(rt) == ["a", "b", "c"]


async def test_it_happens_once_over_many_lives(lives: World) -> None:
    for life in range(4):
        async with lives.runtime(interrupted) as rt:
            run = await rt.spawn(interrupted("a"), id="i")
            await until_waiting(run, "signal")
            assert words(rt) == ["a"], life
    async with lives.runtime(interrupted) as rt:
        await rt.handle("i").signal(go_on, "")
        assert await rt.handle("i").result() == "a was 1"
        assert words(rt) == ["a"]


async def test_one_that_fails_undoes_its_own_writes_only(world: World) -> None:
    async with world.runtime(writer, persistent) as rt:
        await (await rt.spawn(writer("a"))).result()
        runs = [await rt.spawn(persistent(word)) for word in ("a", "b", "c")]
        found = [await run.result() for run in runs]
        assert found == ["taken", "written", "written"]
        assert sorted(words(rt)) == ["a", "a again", "b", "c"]


async def test_many_in_one_commit_fail_and_succeed_alone(world: World) -> None:
    async with world.runtime(writer, persistent) as rt:
        await (await rt.spawn(writer("x"))).result()
        spawned = await asyncio.gather(
            *(rt.spawn(writer("x" if n % 3 == 0 else str(n))) for n in range(30))
        )
        outcomes = await asyncio.gather(*(run.result() for run in spawned), return_exceptions=True)
        failed = [n for n, x in enumerate(outcomes) if isinstance(x, WorkflowFailed)]
        assert failed == list(range(0, 30, 3))
        assert sorted(words(rt)) == sorted(["x", *(str(n) for n in range(30) if n % 3)])


async def test_a_result_that_cannot_be_stored_undoes_it(world: World) -> None:
    async with world.runtime(writer, bad_result) as rt:
        with pytest.raises(WorkflowFailed):
            await (await rt.spawn(bad_result())).result()
        await (await rt.spawn(writer("a"))).result()
        assert words(rt) == ["a"]


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "SAVEPOINT mine",
        "RELEASE application",
        "ROLLBACK TO application",
        "ATTACH ':memory:' AS other",
        "PRAGMA journal_mode=DELETE",
        "VACUUM",
        "DELETE FROM monolite_runs",
        "UPDATE monolite_runs SET status = 'completed'",
        "INSERT INTO monolite_views VALUES (2, 'x', '1')",
        "DROP TABLE monolite_journal",
        "DROP INDEX monolite_runs_id",
        "DROP VIEW monolite_open",
        "ALTER TABLE monolite_runs RENAME TO runs",
        "ALTER TABLE monolite_inbox ADD COLUMN more TEXT",
        "CREATE INDEX more ON monolite_runs (name)",
        "CREATE TRIGGER more AFTER INSERT ON monolite_runs BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE TABLE monolite_more (x)",
        "CREATE VIEW monolite_more AS SELECT 1",
        "REPLACE INTO Monolite_Views VALUES (2, 'x', '1')",
    ],
)
async def test_forbidden_statements_fail_and_leave_the_file_in_order(
    lives: World, statement: str
) -> None:
    async with lives.runtime(writer, sql) as rt:
        await (await rt.spawn(writer("a"))).result()
        with pytest.raises(WorkflowFailed):
            await (await rt.spawn(sql(statement))).result()
        assert await (await rt.spawn(writer("b"))).result() == [2]
        assert words(rt) == ["a", "b"]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR ROLLBACK INTO words VALUES ('a')",
        "INSERT OR ABORT INTO words VALUES ('a')",
        "INSERT OR FAIL INTO words VALUES ('c'), ('a'), ('d')",
    ],
)
async def test_a_conflict_that_would_roll_all_back_fails_its_caller_only(
    world: World, statement: str
) -> None:
    async with world.runtime(writer, sql) as rt:
        await (await rt.spawn(writer("a"))).result()
        good, bad, other = await asyncio.gather(
            rt.spawn(writer("g")), rt.spawn(sql(statement)), rt.spawn(writer("h"))
        )
        with pytest.raises(WorkflowFailed, match="UNIQUE constraint failed"):
            await bad.result()
        assert await good.result() == [2]
        assert await other.result() == [3]
        assert words(rt) == ["a", "g", "h"]


async def test_the_application_s_reader_only_reads(world: World) -> None:
    async with world.runtime(writer) as rt:
        await (await rt.spawn(writer("a"))).result()
        with rt.read() as db:
            with pytest.raises(apsw.ReadOnlyError):
                db.execute("INSERT INTO words VALUES ('b')")
            assert db.execute("SELECT count(*) FROM words").fetchone() == (1,)
            assert await (await rt.spawn(writer("b"))).result() == [2]
        assert words(rt) == ["a", "b"]


async def test_it_needs_a_workflow_or_a_turn() -> None:
    with pytest.raises(Misused, match=r"call write\.fn\(connection"):
        await write("a")
    con = apsw.Connection(":memory:")
    assert write.fn(con, "a") == 1
    con.close()


async def test_in_a_turn_it_is_undone_with_the_turn(world: World) -> None:
    async with world.runtime(Keeper) as rt:
        keeper = rt.actor(Keeper, "k")
        assert await keeper.keep("a") == 1
        with pytest.raises(ValueError, match="b"):
            await keeper.keep_and_fail("b")
        assert words(rt) == ["a"]
        assert await keeper.keep_two("c", "a") == -2
        assert words(rt) == ["a", "c"]
        with pytest.raises(ActivityFailed):
            await keeper.keep("a")
        assert await keeper.keep("b") == 3
        assert words(rt) == ["a", "c", "b"]


async def test_in_the_turns_of_one_commit_each_is_undone_alone(world: World) -> None:
    async with world.runtime(Keeper) as rt:
        calls: list[Any] = []
        for n in range(20):
            keeper = rt.actor(Keeper, str(n % 4))
            calls.append(keeper.keep(str(n)) if n % 2 else keeper.keep_and_fail(str(n)))
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [n for n, x in enumerate(found) if isinstance(x, ValueError)] == list(
            range(0, 20, 2)
        )
        assert sorted(words(rt), key=int) == [str(n) for n in range(1, 20, 2)]


async def test_a_file_keeps_none_of_a_commit_that_failed(lives: World) -> None:
    """The application's rows and the journal entry stand or fall together."""
    async with lives.runtime(interrupted) as rt:
        runs = [await rt.spawn(interrupted(str(n)), id=f"i-{n}") for n in range(10)]
        for run in runs:
            await until_waiting(run, "signal")
        with rt.read() as db:
            query = "SELECT count(*) FROM monolite_journal WHERE kind = 'transaction'"
            assert db.execute(query).fetchone() == (10,)
            assert db.execute("SELECT count(*) FROM words").fetchone() == (10,)
