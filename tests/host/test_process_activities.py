"""Activities in processes of their own: what they see, what they give back, how they fail."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from monolite import Retry, Runtime, activity, errors, step, workflow
from monolite.core.failure import register_exception
from monolite.host.processes import pool
from tests.host.homes import Home
from tests.host.hosts import World, hosted
from tests.processes import hands


@workflow
async def do(name: str, args: list[Any]) -> Any:
    """Run one of the activities, and say what came of it."""
    try:
        return await vars(hands)[name](*args)
    except errors.ActivityFailed as failed:
        said = getattr(failed.cause, "__notes__", [""])[0]
        return [failed.attempts, type(failed.cause).__name__, str(failed.cause), said]


async def done(rt: Runtime, name: str, *args: object) -> Any:
    return await (await rt.spawn(do(name, list(args)))).result()


def backend_here() -> str:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "trio"
    return "asyncio"


@hosted
async def test_they_run_in_another_process_and_see_their_attempt(world: World) -> None:
    async with world.runtime(hands.looking, processes=1) as rt:
        run = await rt.spawn(hands.looking(backend_here()), id="l")
        first, second, third = await run.result()

    assert first.pid == second.pid == third.pid != os.getpid()
    assert [(x.name, x.number, x.interrupted, x.workflow) for x in (first, second)] == [
        ("look", 1, False, "l"),
        ("look_async", 1, False, "l"),
    ]
    assert first.key.endswith("/l/look#1")
    assert not hands.running(first.pid)


async def test_several_run_at_once_and_no_more_than_there_may_be(
    home: Home, tmp_path: Path
) -> None:
    names = ["a", "b", "c"]
    for name in names:
        os.mkfifo(tmp_path / name)
        os.mkfifo(tmp_path / f"{name}-go")

    @workflow
    async def all_of_them() -> list[int]:
        return await asyncio.gather(*[hands.waits_at(str(tmp_path), name) for name in names])

    async with home.runtime(all_of_them, processes=2) as rt:
        run = await rt.spawn(all_of_them())
        began = [int(await read(tmp_path / name)) for name in ("a", "b")]
        assert len(set(began)) == 2
        # The third waits for one of their processes.
        await write(tmp_path / "b-go")
        assert int(await read(tmp_path / "c")) == began[1]
        for name in ("a", "c"):
            await write(tmp_path / f"{name}-go")
        assert await run.result() == [*began, began[1]]


async def read(pipe: Path) -> str:
    return await anyio.to_thread.run_sync(pipe.read_text)


async def write(pipe: Path) -> None:
    await anyio.to_thread.run_sync(pipe.write_bytes, b"go")


@pytest.mark.parametrize(
    ("how", "cause"),
    [("exit", "ended with exit status 3"), ("kill", "SIGKILL"), ("crash", "SIGSEGV")],
)
async def test_a_process_that_dies_is_a_failed_attempt_and_is_replaced(
    home: Home, how: str, cause: str
) -> None:
    async with home.runtime(do) as rt:
        attempts, kind, text, said = await done(rt, "dies", how)
        assert await done(rt, "square", 7) == 49

    assert (attempts, kind) == (2, "ProcessDied")
    assert f"the process of activity 'dies' {'was killed by ' * (how != 'exit')}{cause}" in text
    assert "attempt 2: these are my last words" in said


async def test_an_exception_comes_back_with_the_end_of_the_standard_error(home: Home) -> None:
    async with home.runtime(do) as rt:
        attempts, kind, text, said = await done(rt, "raises", 418, False)

    del kind
    assert attempts == 3
    assert "418: attempt 3" in text
    assert "in raises" in said
    assert said.endswith("Standard error, at its end:\nabout to fail")


@workflow
async def with_policy(final: bool, by_type: bool) -> int:
    retry = Retry(5, first_delay=0, non_retryable=(hands.Refusal,))
    if not by_type:
        retry = Retry(5, first_delay=0, non_retryable=is_refusal)
    try:
        await hands.raises(1, final).options(retry=retry)
    except errors.ActivityFailed as failed:
        return failed.attempts
    return 0


def is_refusal(error: BaseException) -> bool:
    return isinstance(error, hands.Refusal) and "1: attempt" in str(error)


@pytest.mark.parametrize("by_type", [True, False])
async def test_a_call_s_own_policy_sees_the_classes_of_the_process(
    home: Home, by_type: bool
) -> None:
    async with home.runtime(with_policy) as rt:
        assert await (await rt.spawn(with_policy(True, by_type))).result() == 1
        assert await (await rt.spawn(with_policy(False, by_type))).result() == 5


async def test_a_registered_error_comes_back_as_itself(home: Home) -> None:
    register_exception(hands.Oddity)

    @workflow
    async def caught() -> str:
        with pytest.raises(errors.ActivityFailed) as failed:
            await hands.raises(5, False)
        return repr(failed.value.cause)

    async with home.runtime(caught) as rt:
        said = await (await rt.spawn(caught())).result()
    # Its constructor wants what its `args` do not have.
    assert "Oddity" in said


async def test_too_much_memory_is_a_failure_that_names_the_limit(home: Home) -> None:
    async with home.runtime(do) as rt:
        assert await done(rt, "fits_in_memory") == 50_000_000
        attempts, kind, text, _ = await done(rt, "fills_memory")
        assert await done(rt, "fits_in_memory") == 50_000_000

    assert (attempts, kind) == (1, "MemoryError")
    assert text == "activity 'fills_memory' needs more than its memory limit of 100 MB"


async def test_what_it_prints_is_logged_as_its_own(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "monolite.activity")
    async with home.runtime(do) as rt:
        run = await rt.spawn(do("prints", []), id="p")
        await run.result()

    lines = {r.getMessage(): r for r in caplog.records if r.name == "monolite.activity.prints"}
    assert {text: vars(r)["stream"] for text, r in lines.items()} == {
        "to the one": "stdout",
        "straight, and unfinished": "stdout",
        "to the other": "stderr",
    }
    assert {(vars(r)["run_id"], vars(r)["key"], vars(r)["attempt"]) for r in lines.values()} == {
        ("p", "prints#1", 1)
    }


async def test_it_appends_to_streams_of_its_run(home: Home) -> None:
    async with home.runtime(do) as rt:
        run = await rt.spawn(do("streams", []))
        await run.result()
        assert [word async for _, word in run.read(hands.tokens)] == ["one", "two", "three"]


async def test_a_process_that_left_processes_behind_is_ended_with_them(home: Home) -> None:
    async with home.runtime(do, processes=1) as rt:
        first, left = await done(rt, "leaves_a_process")
        assert not hands.running(left)
        second, _ = await done(rt, "leaves_a_process")
    assert first != second


async def test_a_daemon_escapes_and_the_process_that_made_it_is_not_used_again(
    home: Home,
) -> None:
    async with home.runtime(do, processes=1) as rt:
        first, daemon = await done(rt, "leaves_a_daemon")
        second, other = await done(rt, "leaves_a_daemon")
    try:
        assert first != second
        assert hands.running(daemon)
    finally:
        for pid in (daemon, other):
            os.kill(pid, signal.SIGKILL)


async def test_a_fork_that_returns_too_is_not_heard(home: Home) -> None:
    async with home.runtime(do, processes=1) as rt:
        assert [await done(rt, "forks") for _ in range(3)] == ["parent"] * 3
        assert await done(rt, "uses_a_pool") == [1, 2, 3]


async def test_its_reading_of_the_file_harms_nobody(lives: World) -> None:
    async with lives.runtime(do) as rt:
        assert await done(rt, "reads_the_file", str(lives.path)) == 1
        assert await done(rt, "square", 3) == 9
        with pytest.raises(errors.FileOwned):
            async with lives.runtime(do):
                pass


async def test_one_that_writes_on_its_line_fails(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    async with home.runtime(do) as rt:
        _, kind, text, _ = await done(rt, "writes_on_its_line")
        assert await done(rt, "square", 3) == 9
    assert (kind, "writes_on_its_line" in text) == ("ProcessDied", True)
    assert "wrote into its own line" in caplog.text
    caplog.clear()


async def test_leaving_the_interpreter_is_a_failure_like_any_other(home: Home) -> None:
    async with home.runtime(do) as rt:
        assert (await done(rt, "exits"))[:3] == [1, "RemoteError", "SystemExit: 7"]


async def test_a_function_that_cannot_be_found_is_refused(home: Home) -> None:
    def inner() -> None:
        """Be hidden in a function."""

    with pytest.raises(errors.Misused, match="at the top level of a module"):
        activity(run_in="process")(inner)

    @workflow
    async def stepping() -> str:
        with pytest.raises(errors.ActivityFailed) as failed:
            await step("inner", inner).options(run_in="process")
        return f"{failed.value.attempts} {failed.value.cause}"

    async with home.runtime(stepping) as rt:
        said = await (await rt.spawn(stepping())).result()
    assert "1 activity 'inner' cannot be found by another process" in said


def test_a_memory_limit_needs_a_process_and_a_size() -> None:
    with pytest.raises(errors.Misused, match='add run_in="process"'):
        activity(memory="1GB")
    with pytest.raises(ValueError, match="'512MB'"):
        activity(run_in="process", memory="lots")
    with pytest.raises(errors.Misused, match="processes must be at least 1"):
        Runtime(":memory:", processes=0)


async def test_a_process_without_work_ends(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_S", 0.0)
    async with home.runtime(do) as rt:
        look = await done(rt, "look")
        await gone(look["pid"])
        assert await done(rt, "square", 4) == 16


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await anyio.wait_readable(fd)
    finally:
        os.close(fd)
