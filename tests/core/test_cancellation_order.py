"""Cancelling many children at once happens in one order, in every run, process and replay.

`asyncio.TaskGroup`, `asyncio.wait` and anyio keep tasks and scopes in sets; if their order
came from memory addresses, a replay would diverge.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from monolite import Signal, activity, workflow
from tests.core.cancelling import CHILDREN, WAYS, Make, litter, seen
from tests.core.play import Stage

ROOT = Path(__file__).parents[2]
TIMES = 20

go_on = Signal("go_on", str)


@activity
async def save(what: str) -> str:
    return f"saved {what}"


per_way = pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)


@per_way
def test_every_run_cancels_its_children_in_the_same_order(make: Make) -> None:
    kept: list[object] = []
    texts: set[str] = set()
    for number in range(TIMES):
        texts.add(seen(make))
        kept += litter(number)
    assert len(texts) == 1
    assert texts.pop().count("clean_up") >= (0 if make is WAYS["task_group"] else CHILDREN)


def _in_fresh_processes(seeds: range) -> list[str]:
    """Start one process per hash seed, all at once; return what each printed."""
    program = ["-m", "tests.core.cancelling"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "runtime")])
    started = [
        subprocess.Popen(
            [sys.executable, *program, str(seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in seeds
    ]
    printed: list[str] = []
    for process in started:
        out, _ = process.communicate(timeout=50)
        assert process.returncode == 0
        printed.append(out)
    return printed


def _expected() -> str:
    return "".join(f"{name} {seen(way)}\n" for name, way in WAYS.items())


def test_other_processes_cancel_in_this_order_too() -> None:
    assert set(_in_fresh_processes(range(3))) == {_expected()}


@pytest.mark.slow
def test_twenty_other_processes_cancel_in_this_order_too() -> None:
    for first in range(0, 20, 4):
        assert set(_in_fresh_processes(range(first, first + 4))) == {_expected()}


def test_a_cancelled_group_whose_child_is_shielded_goes_quiet(stage: Stage) -> None:
    @workflow
    async def shielding() -> list[str]:
        done: list[str] = []

        async def shielded() -> None:
            with anyio.CancelScope(shield=True):
                done.append(await save("it"))

        async with anyio.create_task_group() as group:
            group.start_soon(shielded)
            await go_on.receive()
            group.cancel_scope.cancel()
        done.append("left")
        return done

    play = stage.start(shielding()).asks('activity save#1("it")').goes_on()
    play.signal("go_on", "now").goes_on("")
    play.answer("save#1", "saved it").completes(["saved it", "left"])


def test_a_cancelled_group_waiting_for_clean_up_goes_quiet_after_every_entry(
    stage: Stage,
) -> None:
    @workflow
    async def cleaning() -> list[str]:
        done: list[str] = []

        async def child(name: str) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    for what in ("first", "second"):
                        done.append(await save(f"{what} of {name}"))
                        await anyio.sleep(1)

        async with anyio.create_task_group() as group:
            group.start_soon(child, "a")
            group.start_soon(child, "b")
            await go_on.receive()
            group.cancel_scope.cancel()
        return done

    play = stage.start(cleaning()).asks().goes_on().signal("go_on", "now")
    play.asks('activity save#1("first of a")', 'activity save#2("first of b")').goes_on("")
    play.answer("save#2", "b1").asks().goes_on()
    play.answer("save#1", "a1").asks().goes_on()
    play.skip(1).asks('activity save#3("second of b")', 'activity save#4("second of a")')
    play.answer("save#3", "b2").answer("save#4", "a2").skip(1).completes(["b1", "a1", "b2", "a2"])


def test_a_cancelled_scope_around_a_group_that_cleans_up_goes_quiet(stage: Stage) -> None:
    """Every repetition wakes the group, which waits again: each step makes the next."""

    @workflow
    async def mixing() -> list[str]:
        done: list[str] = []

        async def child(name: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                done.append(await save(f"first of {name}"))
                done.append(await save(f"second of {name}"))

        with anyio.move_on_after(10):
            async with asyncio.TaskGroup() as group:
                group.create_task(child("a"))
                group.create_task(child("b"))
        done.append("left")
        return done

    play = stage.start(mixing()).skip(10)
    play.asks('activity save#1("first of a")', 'activity save#2("first of b")').goes_on()
    play.answer("save#2", "b1").asks('activity save#3("second of b")').goes_on()
    play.answer("save#3", "b2").asks().goes_on()
    play.answer("save#1", "a1").asks('activity save#4("second of a")').goes_on()
    play.answer("save#4", "a2").completes(["b1", "b2", "a1", "a2", "left"])


def test_a_scope_that_paused_still_cancels_what_comes_next(stage: Stage) -> None:
    @workflow
    async def insisting() -> list[str]:
        done: list[str] = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            saving = asyncio.create_task(_saved())
            while not saving.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([saving])
            done.append(saving.result())
            await go_on.receive()
            done.append("not reached")
        return done

    async def _saved() -> str:
        return await save("it")

    play = stage.start(insisting()).asks('activity save#1("it")').goes_on()
    play.answer("save#1", "saved").completes(["saved"])


def test_other_tasks_come_to_their_end_beside_a_repeated_cancellation(stage: Stage) -> None:
    @workflow
    async def mixing() -> list[str]:
        async def stepping() -> None:
            for _ in range(5_000):
                await asyncio.sleep(0)
            await save("after many steps")

        async def cleaning() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await save("at once")

        other = asyncio.create_task(stepping())
        with anyio.CancelScope() as scope:
            async with asyncio.TaskGroup() as group:
                group.create_task(cleaning())
                await asyncio.sleep(0)
                scope.cancel()
                await asyncio.Event().wait()
        await other
        return ["done"]

    play = stage.start(mixing())
    play.asks('activity save#1("at once")', 'activity save#2("after many steps")')
    play.answer("save#1", "").answer("save#2", "").completes(["done"])


def test_cancelling_a_run_with_a_shielded_child_goes_quiet(stage: Stage) -> None:
    @workflow
    async def shielding() -> None:
        async def shielded() -> None:
            with anyio.CancelScope(shield=True):
                await save("it")

        async with anyio.create_task_group() as group:
            group.start_soon(shielded)
            await asyncio.Event().wait()

    play = stage.start(shielding()).asks('activity save#1("it")')
    play.cancel("enough").asks().goes_on("")
    play.answer("save#1", "saved it").is_cancelled("enough")


def test_a_scope_that_refuses_to_end_goes_quiet_for_messages(stage: Stage) -> None:
    """On every turn of its loop anyio repeats a cancellation; between entries it must stop."""

    @workflow
    async def deaf() -> list[str]:
        heard: list[str] = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            while len(heard) < 3:
                try:
                    heard.append(await go_on.receive())
                except asyncio.CancelledError:
                    heard.append("cancelled")
        return heard

    stage.start(deaf()).completes(["cancelled", "cancelled", "cancelled"])
