"""Workflows that cancel a dozen children at once, and what was seen of it, as text.

Run as a program it prints that text, so that another process with another hash seed and
other memory addresses can be compared.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator

import anyio
import msgspec

from monolite import Signal, activity, workflow
from monolite.core.call import Call
from monolite.host import order
from tests.core.play import Stage

CHILDREN = 12

stop = Signal("stop", str)


@activity
async def clean_up(child: int) -> str:
    return f"cleaned {child}"


@activity
async def wait_here(child: int) -> None: ...


async def _child(number: int, order: list[str]) -> None:
    """Wait for something durable; when cancelled, clean up durably."""
    try:
        await wait_here(number)
    finally:
        order.append(f"cancelled {number}")
        with anyio.CancelScope(shield=True):
            order.append(await clean_up(number))


async def _plain(number: int, order: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        order.append(f"cancelled {number}")


@workflow
async def task_group() -> list[str]:
    order: list[str] = []
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(CHILDREN):
                group.create_task(_plain(number, order))
            await stop.receive()
            msg = "enough"
            raise ValueError(msg)
    except* ValueError:
        order.append("done")
    return order


@workflow
async def task_group_with_clean_up() -> list[str]:
    order: list[str] = []
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(CHILDREN):
                group.create_task(_child(number, order))
            await stop.receive()
            msg = "enough"
            raise ValueError(msg)
    except* ValueError:
        order.append("done")
    return order


@workflow
async def first_completed() -> list[str]:
    order: list[str] = []
    tasks: set[asyncio.Task[object]] = {
        asyncio.create_task(_child(number, order)) for number in range(CHILDREN)
    }
    tasks.add(asyncio.create_task(stop.receive()))
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    order.append(f"{len(done)} done")
    for task in pending:
        task.cancel()
    await asyncio.wait(pending)
    return order


@workflow
async def anyio_task_group() -> list[str]:
    order: list[str] = []
    async with anyio.create_task_group() as group:
        for number in range(CHILDREN):
            group.start_soon(_child, number, order)
        await stop.receive()
        group.cancel_scope.cancel()
    return order


@workflow
async def nested_scopes() -> list[str]:
    """Every child has cancel scopes and a task group of its own."""
    order: list[str] = []

    async def nest(number: int) -> None:
        with anyio.CancelScope(), anyio.move_on_after(1_000):
            async with anyio.create_task_group() as inner:
                inner.start_soon(_child, number, order)
                inner.start_soon(_plain, 100 + number, order)

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            for number in range(CHILDREN):
                group.start_soon(nest, number)
            await stop.receive()
            scope.cancel()
    return order


@workflow
async def gathered() -> list[str]:
    order: list[str] = []
    both = asyncio.gather(*(_child(number, order) for number in range(CHILDREN)))
    await stop.receive()
    both.cancel()
    try:
        await both
    except asyncio.CancelledError:
        order.append("done")
    return order


@workflow
async def left_behind() -> None:
    """Leave the children to the end of the run, which cancels them."""
    order: list[str] = []
    for number in range(CHILDREN):
        asyncio.get_running_loop().create_task(_child(number, order))
    await stop.receive()


Make = Callable[[], Call[object]]

WAYS: dict[str, Make] = {
    "task_group": task_group,
    "task_group_with_clean_up": task_group_with_clean_up,
    "first_completed": first_completed,
    "anyio_task_group": anyio_task_group,
    "nested_scopes": nested_scopes,
    "gathered": gathered,
    "left_behind": left_behind,
}
"""What cancels them: its name, and the call."""


def seen(make: Make) -> str:
    """Play one of the ways to its end; return its journal, requests and result as text."""
    play = Stage().start(make())
    play.signal("stop", "now")
    while play.machine.outcome is None:
        key = next(iter(play.machine.operations))
        play.answer(key, "cleaned " + key.partition("#")[2])
    text = msgspec.json.encode(
        {"asked": play.asked, "journal": play.journal, "outcome": play.machine.outcome}
    ).decode()
    play.all_seen().close()
    return text


def litter(number: int) -> Iterator[object]:
    """Yield objects that move later allocations, differently for every number."""
    for size in range(number * 37 % 101):
        yield bytearray(size * 13 + number)
        yield [object() for _ in range(size % 17)]


if __name__ == "__main__":
    order.pin()
    kept = list(litter(int(sys.argv[1])))
    for name, way in WAYS.items():
        print(name, seen(way))  # noqa: T201 - this is a program too
