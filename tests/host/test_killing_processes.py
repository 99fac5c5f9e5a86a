"""Killing: whoever stops an attempt in a process is told when nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio.to_thread
import pytest

from monolite import errors, workflow
from tests.host.homes import Home
from tests.host.hosts import World, hosted
from tests.processes import hands
from tests.processes.child import Child
from tests.processes.place import Place


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe at which attempts announce themselves."""
    place = tmp_path / "pipe"
    os.mkfifo(place)
    return place


async def announced(pipe: Path) -> list[int]:
    """Wait for an attempt to begin; return its processes."""
    words = await anyio.to_thread.run_sync(pipe.read_text)
    pids = [int(word) for word in words.split()]
    assert all(map(hands.running, pids))
    return pids


def none_of(pids: list[int]) -> bool:
    return not any(map(hands.running, pids))


@hosted
async def test_after_a_time_out_the_whole_group_is_gone_before_the_workflow_hears(
    world: World, tmp_path: Path
) -> None:
    async with world.runtime(hands.hurried) as rt:
        run = await rt.spawn(hands.hurried(str(tmp_path / "pids")))
        assert await run.result() == [False, False]


@hosted
async def test_after_a_cancellation_it_is_gone_before_anybody_hears(
    world: World, pipe: Path
) -> None:
    async with world.runtime(hands.hanging) as rt:
        run = await rt.spawn(hands.hanging(str(pipe)))
        pids = await announced(pipe)
        await run.cancel()
        with pytest.raises(errors.Cancelled):
            await run.result()
        assert none_of(pids)


async def test_a_time_out_of_the_workflow_s_own_kills_it_before_the_next_step(
    home: Home, pipe: Path
) -> None:
    @workflow
    async def impatient() -> list[bool]:
        hanging = asyncio.create_task(hands.hangs_with_family(str(pipe)))
        pids = await hands.read_pids(str(pipe))
        hanging.cancel()
        return await hands.alive(pids)

    async with home.runtime(impatient) as rt:
        assert await (await rt.spawn(impatient())).result() == [False, False]


async def test_when_the_runtime_is_left_it_is_killed_and_runs_again_next_time(
    lives: World, pipe: Path
) -> None:
    async with lives.runtime(hands.persistent) as rt:
        await rt.spawn(hands.persistent(str(pipe)), id="p")
        pids = await announced(pipe)
    assert none_of(pids)
    async with lives.runtime(hands.persistent) as rt:
        assert await rt.handle("p").result() == 2


async def test_a_grace_lets_it_finish(lives: World, tmp_path: Path) -> None:
    @workflow
    async def waiting() -> int:
        return await hands.waits_at(str(tmp_path), "a")

    for name in ("a", "a-go"):
        os.mkfifo(tmp_path / name)
    async with lives.runtime(waiting, shutdown_grace=20) as rt:
        await rt.spawn(waiting(), id="w")
        assert len(await announced(tmp_path / "a")) == 1
        letting = asyncio.create_task(
            anyio.to_thread.run_sync((tmp_path / "a-go").write_bytes, b"go")
        )
    await letting
    async with lives.runtime(waiting) as rt:
        assert await rt.handle("w").result() > 0


async def test_when_the_engine_is_killed_its_processes_die_with_their_families(
    tmp_path: Path, pipe: Path
) -> None:
    place = Place(tmp_path)
    with Child("tests.processes.nursery", place.path, pipe) as engine:
        pids = await announced(pipe)
        fds = [os.pidfd_open(pid) for pid in pids]
        engine.kill()
        for fd in fds:
            await anyio.wait_readable(fd)
            os.close(fd)
    assert none_of(pids)


async def test_it_is_killed_with_the_engine_while_it_computes_without_pause(
    tmp_path: Path, pipe: Path
) -> None:
    """The thread that would see the engine go cannot run then; the kernel does it."""
    place = Place(tmp_path)
    with Child("tests.processes.nursery", place.path, pipe, "deaf") as engine:
        (pid,) = await announced(pipe)
        fd = os.pidfd_open(pid)
        engine.kill()
        await anyio.wait_readable(fd)
        os.close(fd)


PROGRAM = """
import asyncio
from monolite import Runtime, activity, workflow

class Odd(Exception):
    pass

@activity(run_in="process", retry=False)
def whoami() -> str:
    return __name__

@activity(run_in="process", retry=False)
def fails() -> None:
    raise Odd("here")

@workflow
async def ask() -> str:
    try:
        await fails()
    except Exception as error:
        return await whoami() + ": " + str(error)
    return ""

async def main():
    async with Runtime("script.db", actors=[ask]) as rt:
        print(await (await rt.spawn(ask())).result())

{start}
"""


def run_script(folder: Path, start: str, *how: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(PROGRAM.format(start=start))
    return subprocess.run(
        [sys.executable, *how],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.mark.parametrize("how", [("script.py",), ("-m", "script")])
def test_a_script_s_own_activities_run_without_starting_it_again(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    ran = run_script(tmp_path, "if __name__ == '__main__': asyncio.run(main())", *how)
    assert ran.stderr == ""
    assert ran.stdout == (
        "__monolite_main__: activity 'fails' failed after 1 attempt: "
        "RemoteError: __main__.Odd: here\n"
    )


def test_a_script_that_starts_itself_when_imported_is_told_so(tmp_path: Path) -> None:
    ran = run_script(tmp_path, "asyncio.run(main())", "script.py")
    assert "failed when a child process imported it" in ran.stderr
    assert "if __name__ == '__main__'" in ran.stderr


async def test_a_process_killed_from_outside_is_one_failed_attempt(home: Home, pipe: Path) -> None:
    async with home.runtime(hands.persistent) as rt:
        run = await rt.spawn(hands.persistent(str(pipe)))
        pid, left = await announced(pipe)
        os.kill(pid, signal.SIGKILL)
        assert await run.result() == 2
        assert none_of([pid, left])
