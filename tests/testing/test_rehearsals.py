"""Rehearsals: recorded runs on today's code, without effect, from a file that stays as it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

import monolite
from monolite import (
    Actor,
    ContinueAsNew,
    Runtime,
    Signal,
    Workflow,
    activity,
    errors,
    testing,
    update,
    workflow,
)
from monolite.cli.main import main
from tests.host.loops import on_both_loops

go = Signal("go", int)
effects: list[str] = []


@activity
async def ship(way: str) -> str:
    effects.append(way)
    return f"by {way}"


def order(*ways: str, ends: str = "", waits: bool = True) -> Workflow[[], str]:
    """Return a version of the code: what it ships, and how it ends."""

    @workflow
    async def order() -> str:
        monolite.uuid4()
        shipped = [await ship(way) for way in ways]
        if waits:
            await go.receive()
            await asyncio.sleep(60)
        if ends == "fails":
            raise LookupError("lost")
        return ", ".join(shipped) + ends

    return order


@workflow
async def loops(n: int) -> int:
    if n:
        raise ContinueAsNew(loops(n - 1))
    return n


@workflow
async def idle() -> None:
    await go.receive()


class Account(Actor):
    """Waits in mid-turn."""

    balance: int = 0

    @update
    async def pay(self, cents: int) -> int:
        await ship("account")
        self.balance += cents
        await asyncio.sleep(3600)
        return self.balance


class Changed:
    """Holds an actor of the same name, whose turn does something else."""

    class Account(Actor):
        """Ships twice."""

        balance: int = 0

        @update
        async def pay(self, cents: int) -> int:
            await ship("sea")
            return 0


ACTORS = [order("sea", "air"), loops, idle, Account]


@pytest.fixture
async def file(tmp_path: Path) -> AsyncGenerator[Path, None]:
    """A file with runs in every state."""
    path = tmp_path / "app.db"
    async with testing.environment(actors=ACTORS, path=path) as env:
        await env.spawn(order("sea", "air")(), id="open")
        ended = await env.spawn(order("sea", "air")(), id="ended")
        await ended.signal(go, 1)
        await env.spawn(loops(3), id="loops")
        await (await env.spawn(idle(), id="cancelled")).cancel("enough")
        await (await env.spawn(idle(), id="terminated")).terminate("enough")
        monolite.send(env.actor(Account, "ada").pay(5))
        await env.spawn(order("sea", "air")(), id="later", delay="30d")
        await env.skip("2m")
    effects.clear()
    yield path
    assert effects == [], "a rehearsal has no effect"


def statuses(found: testing.Rehearsal) -> dict[str, str]:
    return {run.id: run.status for run in found.runs}


async def test_code_that_has_not_changed_fits_every_run(file: Path) -> None:
    found = testing.replay(file, ACTORS)
    assert found.check().ok
    assert statuses(found) == dict.fromkeys(
        ["open", "ended", "loops", "cancelled", "terminated", "Account/ada", "later"], "ok"
    )
    assert [run.generation for run in found.runs if run.id == "loops"] == [1, 2, 3, 4]
    assert str(found) == f"{file}: 10 ok"


async def test_the_file_stays_as_it_is_to_the_byte(file: Path) -> None:
    def content() -> dict[str, bytes]:
        return {x.name: x.read_bytes() for x in sorted(file.parent.iterdir())}

    before = content()
    testing.replay(file, ACTORS)
    assert content() == before


async def test_code_that_asks_for_something_else_diverges_with_the_difference(file: Path) -> None:
    found = testing.replay(file, order("sea", "rail"), loops, idle, Account)
    assert not found.ok
    assert [run.id for run in found.diverged] == ["open", "ended"]
    misfit = found.diverged[0]
    assert misfit.expected == 'activity ship#2("air")'
    assert misfit.actual.startswith('activity ship#2("rail") (at test_rehearsals.py:')
    assert misfit.at == "open entry 1"
    with pytest.raises(AssertionError, match='the journal holds activity ship#2\\("air"\\)'):
        found.check()


@pytest.mark.parametrize(
    ("code", "expected", "actual"),
    [
        (order("sea", "air", ends="!"), '"by sea, by air"', '"by sea, by air!"'),
        (order("sea", "air", ends="fails"), '"by sea, by air"', "failed: LookupError: lost"),
        (order("sea", "air", waits=False), "timer#1", "nothing: the workflow completed"),
        (order("sea"), 'ship#2("air")', "timer#1"),
    ],
)
async def test_one_that_has_ended_must_end_the_same(
    file: Path, code: Any, expected: str, actual: str
) -> None:
    found = testing.replay(file, code, id="ended")
    (misfit,) = found.diverged
    assert expected in misfit.expected
    assert actual in misfit.actual


async def test_one_that_now_wants_more_after_its_end_diverges(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    async with testing.environment(actors=[order("sea", waits=False)], path=path) as env:
        await env.run(order("sea", waits=False)(), id="o")
    (misfit,) = testing.replay(path, order("sea", "air", waits=False)).diverged
    assert misfit.expected == 'the result "by sea"'
    assert misfit.actual.startswith('activity ship#2("air")')


async def test_without_code_nothing_can_be_said(file: Path) -> None:
    found = testing.replay(file, loops)
    assert found.ok
    assert statuses(found)["open"] == "no code"
    assert "6 no code" in str(found)
    assert "no code for 'idle'" in str(found)


async def test_the_turn_of_an_actor_is_played_too(file: Path) -> None:
    found = testing.replay(file, Changed.Account, id="Account/ada")
    assert found.diverged[0].expected.startswith("activity ship#1")


async def test_an_id_that_no_run_has_is_refused(file: Path) -> None:
    with pytest.raises(errors.UnknownWorkflow, match="no run has the id 'nobody'"):
        testing.replay(file, ACTORS, id="nobody")


@on_both_loops
async def test_beside_a_running_engine_too(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    async with Runtime(path, actors=ACTORS) as rt:
        run = await rt.spawn(order("sea", "air")(), id="o")
        while "signal" not in ((await run.describe()).waiting_on or ""):
            await rt.list()
        assert testing.replay(path, ACTORS).check().runs[0].status == "ok"


# The command.


TODAY = """
from monolite import Signal, activity, workflow

go = Signal("go", int)

@activity
async def ship(way: str) -> str:
    raise AssertionError("no effect")

@workflow
async def order() -> str:
    await ship("sea")
    await ship({way!r})
    await go.receive()
    return ""
"""


def program(folder: Path, name: str, way: str) -> str:
    path = folder / f"{name}.py"
    path.write_text(TODAY.format(way=way), encoding="utf-8")
    return str(path)


async def test_the_command_says_whether_the_code_fits(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fits = program(tmp_path, "replayed_code_that_fits", "air")
    misfits = program(tmp_path, "replayed_code_that_misfits", "rail")

    assert main(["replay", str(file), "open", fits]) == 0
    assert capsys.readouterr().out == f"{file}: 1 ok\n"

    assert main(["replay", str(file), misfits]) == 1
    said = capsys.readouterr()
    assert 'the journal holds activity ship#2("air")' in said.out
    assert said.err == "monolite: 2 runs would diverge; nothing was written\n"

    assert main(["replay", "--json", str(file), "open", misfits]) == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert (run["id"], run["status"]) == ("open", "diverged")


async def test_the_command_wants_code(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(file), "open"]) == 2
    assert "name the module" in capsys.readouterr().err
    assert main(["replay", str(file), "nobody"]) == 2
    assert "there is no module 'nobody'" in capsys.readouterr().err
