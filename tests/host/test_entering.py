"""Entering a runtime: once, and with what makes sense."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from monolite import Runtime, activity, errors, workflow
from tests.host import gate
from tests.host.homes import Home
from tests.host.loops import on_both_loops


@workflow
async def echo(word: str) -> str:
    return word


@workflow
async def waiting() -> str:
    return await gate.wait_for_it()


@activity
async def act() -> None: ...


@on_both_loops
async def test_a_runtime_is_entered_once(home: Home) -> None:
    rt = home.runtime(echo)
    async with rt:
        with pytest.raises(errors.Misused, match="already entered; make a new one"):
            async with rt:
                raise AssertionError
        assert await (await rt.spawn(echo("still here"))).result() == "still here"
    with pytest.raises(errors.Misused, match="already entered; make a new one"):
        async with rt:
            raise AssertionError


@on_both_loops
async def test_a_runtime_answers_only_between_entering_and_leaving(home: Home) -> None:
    rt = home.runtime(echo)
    with pytest.raises(errors.Misused, match="use it inside `async with Runtime"):
        await rt.spawn(echo("early"))
    with pytest.raises(errors.Misused, match="use it inside `async with Runtime"):
        await rt.list()
    async with rt:
        handle = await rt.spawn(echo("in time"))
    for ask in (handle.result, handle.describe, handle.cancel, lambda: rt.spawn(echo("late"))):
        with pytest.raises(errors.Misused, match="use it inside `async with Runtime"):
            await ask()


async def test_what_the_file_holds_goes_on_without_being_asked(tmp_path: Path) -> None:
    ran = anyio.Event()

    @activity
    async def note() -> None:
        ran.set()

    @workflow
    async def goes_on() -> None:
        await anyio.sleep(0.001)
        await note()

    async with Runtime(tmp_path / "app.db", actors=[goes_on]) as rt:
        await rt.spawn(goes_on(), delay=0.01)
    async with Runtime(tmp_path / "app.db", actors=[goes_on]):
        with anyio.fail_after(5):
            await ran.wait()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"durability": "none"}, "durability='none' is neither 'full' nor 'normal'"),
        ({"max_live": 0}, "max_live must be at least 1, not 0"),
        (
            {"actors": [echo.fn]},
            "actors takes @workflow definitions, Actor classes and modules that hold them",
        ),
        (
            {"actors": ["echo"]},
            "actors takes @workflow definitions, Actor classes and modules that hold them",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(errors.Misused, match=problem):
        Runtime(":memory:", **settings)


def test_a_grace_that_is_no_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="shutdown_grace 'soon' is not a duration"):
        Runtime(":memory:", shutdown_grace="soon")


def test_two_workflows_of_one_name_are_refused() -> None:
    @workflow(name="echo")
    async def other() -> None: ...

    with pytest.raises(errors.Misused, match=r"two workflows are named 'echo'.*name="):
        Runtime(":memory:", actors=[echo, other])
    Runtime(":memory:", actors=[echo, echo, act])


async def test_a_module_contributes_every_workflow_it_holds() -> None:
    module = ModuleType("some_actors")
    vars(module).update(echo=echo, waiting=waiting, act=act, other=3)
    async with Runtime(":memory:", actors=[module]) as rt:
        assert await (await rt.spawn(echo("hi"))).result() == "hi"
        await gate.reached(await rt.spawn(waiting()))


@pytest.mark.parametrize("place", ["missing/app.db", ".", "text.db"])
async def test_a_place_that_will_not_do_is_refused_and_left_as_it_was(
    tmp_path: Path, place: str
) -> None:
    (tmp_path / "text.db").write_text("not a database " * 100)
    before = sorted(path.name for path in tmp_path.iterdir())
    threads, files = threading.active_count(), _open_files()
    with pytest.raises(errors.FileForeign):
        async with Runtime(tmp_path / place, actors=[echo]):
            raise AssertionError
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert _open_files() <= files + 1  # anyio keeps a thread for the next time
    assert threading.active_count() <= threads + 1


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
@pytest.mark.parametrize("place", ["app.db", ":memory:"])
def test_a_runtime_leaves_no_thread_and_no_file_open(tmp_path: Path, place: str) -> None:
    async def life() -> None:
        path = place if place == ":memory:" else tmp_path / place
        async with Runtime(path, actors=[echo, waiting]) as rt:
            assert await (await rt.spawn(echo("hi"))).result() == "hi"
            await gate.reached(await rt.spawn(waiting()))
            await rt.list()

    anyio.run(life)
    threads, files = threading.active_count(), _open_files()
    for backend in ("asyncio", "trio") * 5:
        anyio.run(life, backend=backend)
    assert _open_files() <= files
    # trio keeps idle threads for a while.
    ours = [thread.name for thread in threading.enumerate() if "monolite" in thread.name]
    assert ours == []
    assert threading.active_count() <= threads + 5


async def test_two_runtimes_live_side_by_side(tmp_path: Path) -> None:
    async with (
        Runtime(tmp_path / "one.db", actors=[echo]) as one,
        Runtime(tmp_path / "two.db", actors=[echo]) as two,
        Runtime(":memory:", actors=[echo]) as three,
    ):
        handles = [
            await rt.spawn(echo(str(n)), id="same") for n, rt in enumerate((one, two, three))
        ]
        assert [await handle.result() for handle in handles] == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["app.db", "ümläut und leer.db", "a%20b?c#d.db", "x" * 150])
async def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    for given in (tmp_path / name, str(tmp_path / name)):
        async with Runtime(given, actors=[echo]) as rt:
            assert await (await rt.spawn(echo("hi"))).result() == "hi"
    assert [
        path.name for path in tmp_path.iterdir() if not path.name.endswith(("-wal", "-shm"))
    ] == [name]
