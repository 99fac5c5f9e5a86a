"""Poison: what one run, row or caller does wrong stays its own; the engine serves the others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from monolite import Client, Runtime, Signal, View, spawn, step, workflow
from monolite.errors import AlreadyExists, Misused, MonoliteError, WorkflowFailed
from tests.processes import programs

go = Signal("go", str)
UNFIT_NAMES = ("", "\ud800", "a\0b", "line\nbreak", "x" * 513)


@workflow
async def parent() -> str:
    return await programs.naps()


@workflow
async def detacher() -> str:
    return (await spawn(programs.naps(), detached=True)).id


@workflow
async def waiter() -> str:
    return await go.receive()


@workflow
async def guarded() -> str:
    """Has an entry in its journal, then waits."""
    await step("first", str, "done")
    programs.seen.set(1)
    return await go.receive()


@workflow
async def volleys(other: str) -> str:
    """Answers each message with a message: two of these never come to rest."""
    partner = await spawn(volleys("first"), id=other, detached=True)
    while True:
        await go.receive()
        await partner.signal(go, "back")


@workflow
async def names_badly(what: str, name: str) -> str:
    match what:
        case "signal":
            return await Signal(name, str).receive()
        case "view":
            View(name, str).set("x")
        case "step":
            await step(name, str, "x")
        case _:
            await programs.effect("x").options(name=name)
    return "done"


CODE = [programs, parent, detacher, waiter, guarded, volleys, names_badly]


@asynccontextmanager
async def unharmed(path: Path) -> AsyncGenerator[Runtime]:
    """A runtime that must serve others at the end, and must open again."""
    async with Runtime(path, actors=CODE, shutdown_grace=0) as rt:
        yield rt
        assert await (await rt.spawn(programs.naps(), id="beside")).result() == "rested"
    async with Runtime(path, actors=CODE, shutdown_grace=0) as rt:
        assert await (await rt.spawn(programs.naps(), id="after")).result() == "rested"


# Names.


@pytest.mark.parametrize("what", ["signal", "view", "step", "option"])
@pytest.mark.parametrize("name", [n for n in UNFIT_NAMES if n != "\ud800"])
async def test_a_name_that_cannot_be_stored_fails_its_run(
    tmp_path: Path, what: str, name: str
) -> None:
    async with unharmed(tmp_path / "app.db") as rt:
        with pytest.raises(WorkflowFailed) as failed:
            await (await rt.spawn(names_badly(what, name))).result()
        assert isinstance(failed.value.cause, Misused)


def make_signal(name: str) -> object:
    return Signal(name, str)


def make_view(name: str) -> object:
    return View(name, str)


def make_step(name: str) -> object:
    return step(name, str, "x")


@pytest.mark.parametrize("make", [make_signal, make_view, make_step])
def test_a_name_that_cannot_be_stored_is_refused_where_it_is_given(
    make: Callable[[str], object],
) -> None:
    for name in UNFIT_NAMES:
        with pytest.raises(Misused, match="must "):
            make(name)


async def test_a_message_for_a_name_that_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    async with unharmed(tmp_path / "app.db") as rt, Client(tmp_path / "app.db") as client:
        run = await rt.spawn(waiter(), id="w")
        for sender in (rt, client):
            for name in UNFIT_NAMES:
                with pytest.raises(Misused):
                    await sender.send_signal("w", name, '"x"')
        await run.signal(go, "x")
        assert await run.result() == "x"


# Ids.


async def test_a_child_whose_id_is_taken_is_refused_to_its_parent(tmp_path: Path) -> None:
    async with unharmed(tmp_path / "app.db") as rt:
        taken = await rt.spawn(waiter(), id="p/naps#1")
        with pytest.raises(WorkflowFailed) as failed:
            await (await rt.spawn(parent(), id="p")).result()
        assert isinstance(failed.value.cause, AlreadyExists)
        await taken.signal(go, "still here")
        assert await taken.result() == "still here"


async def test_a_detached_child_whose_id_is_taken_is_that_run(tmp_path: Path) -> None:
    async with unharmed(tmp_path / "app.db") as rt:
        taken = await rt.spawn(programs.naps(), id="d/naps#1")
        assert await (await rt.spawn(detacher(), id="d")).result() == taken.id
        assert await taken.result() == "rested"
        assert len(await rt.list(name="naps")) == 1


# Runs that never rest.


async def test_two_runs_that_answer_each_other_for_ever_let_the_others_in(tmp_path: Path) -> None:
    async with unharmed(tmp_path / "app.db") as rt:
        first = await rt.spawn(volleys("second"), id="first")
        await first.signal(go, "serve")
        assert await (await rt.spawn(programs.naps())).result() == "rested"
        for run in (first, rt.handle("second")):
            assert await run.terminate("enough")
        with pytest.raises(MonoliteError):
            await first.result()


# Rows that cannot be read: somebody edited the file, or the disk did.


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE monolite_journal SET n = 5",
        "UPDATE monolite_journal SET kind = 'nonsense'",
        "UPDATE monolite_journal SET kind = 'timer', key = 'timer#x'",
        "UPDATE monolite_journal SET value = NULL, error = 'no JSON'",
        "UPDATE monolite_journal SET value = NULL, error = '{}'",
        "UPDATE monolite_runs SET args = 'no JSON' WHERE id = 'g'",
        "UPDATE monolite_runs SET attributes = 'no JSON' WHERE id = 'g'",
        """INSERT INTO monolite_inbox (run_no, n, at_us, kind, channel, value)
        SELECT no, 1, 0, 'cancel', '', 'no JSON' FROM monolite_runs WHERE id = 'g'""",
    ],
)
async def test_a_row_that_cannot_be_read_parks_its_run_only(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "app.db"
    async with Runtime(path, actors=CODE) as rt:
        await rt.spawn(waiter(), id="other")
        run = await rt.spawn(guarded(), id="g")
        async for _ in run.watch(programs.seen):
            break
    con = apsw.Connection(str(path))
    con.execute(damage)
    con.close()
    async with unharmed(path) as rt:
        await rt.handle("g").signal(Signal("other"), "wake up")
        other = rt.handle("other", waiter)
        await other.signal(go, "well")
        assert await other.result() == "well"
        readable = "attributes" in damage
        assert (await rt.handle("g").describe()).status == ("waiting" if readable else "diverged")
        assert {info.id for info in await rt.list()} >= {"g", "other"}
