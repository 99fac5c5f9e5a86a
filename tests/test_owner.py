"""One owner for each file: the lock, the takeover, and files that are not to be owned."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from monolite import Client, Runtime, activity, workflow
from monolite.errors import Fenced, FileOwned
from monolite.store.sqlite.reader import SqliteReader
from tests.processes import programs
from tests.processes.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def owner_is(error: FileOwned, path: Path, pid: int) -> bool:
    assert error.path == str(path)
    assert error.owner.startswith(f"process {pid} on {socket.gethostname()} since ")
    assert error.owner in str(error)
    assert str(path) in str(error)
    return True


# One at a time.


async def test_a_second_engine_in_another_process_is_told_who_owns_the_file(place: Place) -> None:
    with place.engine() as engine:
        engine.hear("open")
        with pytest.raises(FileOwned) as refused:
            async with Runtime(place.path, actors=[programs]):
                raise AssertionError
        assert owner_is(refused.value, place.path, engine.pid)
        # The owner has not noticed.
        async with place.client() as client:
            assert await (await client.spawn(programs.leaf("x"))).result() == "x"
        assert engine.finish() == 0


async def test_a_second_engine_in_the_same_process_is_told_so(place: Place) -> None:
    async with Runtime(place.path, actors=[programs]) as owner:
        with pytest.raises(FileOwned) as refused:
            async with Runtime(place.path, actors=[programs]):
                raise AssertionError
        assert owner_is(refused.value, place.path, os.getpid())
        assert (await owner.spawn(programs.hanging())).id
    async with Runtime(place.path, actors=[programs]):
        pass


async def test_another_name_of_the_file_is_the_same_file(place: Place, tmp_path: Path) -> None:
    alias = tmp_path / "alias.db"
    async with Runtime(place.path, actors=[programs]) as owner:
        alias.symlink_to(place.path)
        with pytest.raises(FileOwned):
            async with Runtime(alias, actors=[programs]):
                raise AssertionError
        async with Client(alias) as client:
            run = await client.spawn(programs.sleeps(0))
            assert (await owner.handle(run.id).describe()).name == "sleeps"


async def test_the_file_is_free_at_once_when_its_owner_is_killed(place: Place) -> None:
    with place.engine() as engine:
        engine.hear("open")
        engine.kill()
    async with Runtime(place.path, actors=[programs]) as rt:
        assert (await rt.spawn(programs.sleeps(0))).id


async def test_the_file_is_free_although_a_fork_of_its_owner_lives_on(place: Place) -> None:
    """A fork (multiprocessing makes them) must not inherit the ownership."""
    with place.engine("--fork") as engine:
        engine.hear("open")
        (fork,) = [said["forked"] for said in engine.said if "forked" in said]
        engine.kill()
        try:
            async with Runtime(place.path, actors=[programs]):
                pass
        finally:
            os.kill(fork, signal.SIGKILL)


# Taking over.


async def test_an_owner_that_was_passed_over_writes_nothing_and_says_so(place: Place) -> None:
    """It wakes up with an outcome in hand that the new owner has produced meanwhile."""
    gate = str(place.path.with_name("gate"))
    os.mkfifo(f"{gate}.1")
    os.mkfifo(f"{gate}.2")
    async with place.client() as client:
        run = await client.spawn(programs.behind_a_gate(gate), id="g")
        with place.engine() as old:
            old.hear("gated")
            old.pause()
            with place.engine("--takeover") as new:
                new.hear("gated")
                Path(f"{gate}.2").write_text("open")
                assert await run.result() == 2
                before = journal(place)
                old.resume()
                Path(f"{gate}.1").write_text("open")
                assert old.wait() == 1
                assert "Fenced: this engine opened the file as epoch 1" in old.errors()
                assert f"taken over by process {new.pid}" in old.errors()
                assert "as epoch 2" in old.errors()
                assert journal(place) == before
                assert (await client.spawn(programs.leaf("after"))).id
                assert new.finish() == 0
    assert place.rows("SELECT epoch FROM monolite_file") == [(2,)]
    assert [(x.life, x.number, x.interrupted) for x in place.effects("gated")] == [
        (1, 1, False),
        (2, 2, True),
    ]


async def test_an_owner_that_was_passed_over_while_idle_notices_when_it_wakes(
    place: Place,
) -> None:
    with place.engine() as old:
        old.hear("open")
        old.pause()
        with place.engine("--takeover") as new:
            new.hear("open")
            old.resume()
            assert old.wait() == 1
            assert "Fenced" in old.errors()
            assert new.finish() == 0


async def test_the_new_owner_can_be_rung_after_the_old_one_has_gone(place: Place) -> None:
    """The old owner takes its own bell down, not the new owner's."""
    with place.engine() as old:
        old.hear("open")
        old.pause()
        with place.engine("--takeover", "--deaf") as new:
            new.hear("open")
            old.resume()
            assert old.wait() == 1
            async with place.client() as client:
                assert await (await client.spawn(programs.leaf("x"))).result() == "x"
            assert new.finish() == 0


async def test_an_owner_that_is_well_can_be_passed_over_too(place: Place) -> None:
    with place.engine() as old:
        old.hear("open")
        with place.engine("--takeover") as new:
            new.hear("open")
            with pytest.raises(FileOwned) as refused:
                async with Runtime(place.path, actors=[programs]):
                    raise AssertionError
            assert owner_is(refused.value, place.path, new.pid)
            async with place.client() as client:
                assert await (await client.spawn(programs.leaf("x"))).result() == "x"
            assert old.wait() == 1
            assert "Fenced" in old.errors()
            assert new.finish() == 0


async def test_a_program_is_told_by_the_exception_itself(place: Place) -> None:
    """`except Fenced` works: the error is not wrapped into a group."""

    async def program() -> None:
        async with Runtime(place.path, actors=[programs]):
            with place.engine("--takeover") as new:
                new.hear("open")
                await asyncio.Event().wait()

    with pytest.raises(Fenced) as fenced:
        await program()
    assert (fenced.value.epoch, fenced.value.current) == (1, 2)
    assert fenced.value.owner.startswith("process ")
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "the program goes on unharmed"


async def test_a_passed_over_owner_stops_its_activities(place: Place) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @activity
    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    @workflow
    async def runs_endless() -> None:
        await endless()

    async def program() -> None:
        async with Runtime(place.path, actors=[runs_endless]) as rt:
            await rt.spawn(runs_endless())
            await begun.wait()
            with place.engine("--takeover") as new:
                new.hear("open")
                await asyncio.Event().wait()

    with pytest.raises(Fenced):
        await program()
    assert ended.is_set()


# Readers are always free.


async def test_reading_goes_on_while_the_owner_stands_still(place: Place) -> None:
    with place.engine() as engine:
        async with place.client() as client:
            run = await client.spawn(programs.waits(), id="w")
            await place.until(has_begun)
            engine.pause()
            assert await run.view(programs.seen) == 1
            assert (await run.describe()).name == "waits"
            assert [info.id for info in await client.list()] == ["w"]
            assert [line.kind for line in await run.history()][:1] == ["started"]
            engine.resume()
        assert engine.finish() == 0


def has_begun(reader: SqliteReader) -> str | None:
    run = reader.run_by_id("w")
    return None if run is None else reader.view(run.no, "seen")


def journal(place: Place) -> list[tuple[Any, ...]]:
    return place.rows("SELECT * FROM monolite_journal") + place.rows("SELECT * FROM monolite_runs")
