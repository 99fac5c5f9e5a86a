"""What a call is to a type checker: its arguments are checked, and awaiting it gives its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import assert_type

from monolite import Activity, Call, Retry, Workflow, activity, step, workflow


@activity
async def fetch(sku: str, *, fresh: bool = False) -> float:
    return 1.0 if fresh else float(len(sku))


@activity
def count(sku: str) -> int:
    return len(sku)


@activity(name="fetch-slowly", timeout=timedelta(seconds=5), retry=Retry(3), raises=(OSError,))
async def fetch_slowly(sku: str) -> list[str]:
    return [sku]


@activity(retry=False, at_most_once=True)
def charge(card: str, cents: int = 0) -> dict[str, int]:
    return {card: cents}


@workflow
async def price(sku: str, amount: int = 1) -> float:
    return await fetch(sku) * amount


@workflow(name="restock", version=2)
async def restock(sku: str) -> None:
    await count(sku)


def plain(sku: str, amount: int = 1) -> bytes:
    return sku.encode() * amount


async def plain_async(sku: str) -> tuple[str, int]:
    return sku, 1


def definitions() -> None:
    """A decorator keeps the result; the arguments are kept too, which the calls below show."""
    whole: Activity[..., float] = fetch
    assert_type(whole("a"), Call[float])
    made: Callable[[str], Call[int]] = count
    assert_type(made("a"), Call[int])
    flow: Workflow[..., None] = restock
    assert_type(flow("a"), Call[None])


def calls() -> None:
    assert_type(fetch("a"), Call[float])
    assert_type(fetch("a", fresh=True), Call[float])
    assert_type(count("a"), Call[int])
    assert_type(fetch_slowly("a"), Call[list[str]])
    assert_type(charge("visa", cents=5), Call[dict[str, int]])
    assert_type(price("a", 2), Call[float])
    assert_type(restock(sku="a"), Call[None])


def steps() -> None:
    assert_type(step("plain", plain, "a"), Call[bytes])
    assert_type(step("plain", plain, "a", amount=2), Call[bytes])
    assert_type(step("plain", plain_async, "a"), Call[tuple[str, int]])


def options() -> None:
    assert_type(fetch("a").options(timeout=1.5), Call[float])
    assert_type(count("a").options(timeout=timedelta(1), retry=3, name="n"), Call[int])
    assert_type(step("p", plain, "a").options(retry=Retry(None), at_most_once=True), Call[bytes])


async def results() -> None:
    assert_type(await fetch("a"), float)
    assert_type(await count("a"), int)
    assert_type(await fetch_slowly("a").options(retry=False), list[str])
    assert_type(await step("plain", plain_async, "a"), tuple[str, int])
    assert_type(await price("a"), float)


async def together() -> None:
    """A call is a coroutine to everything that takes one."""
    assert_type(await asyncio.gather(fetch("a"), count("b")), tuple[float, int])
    assert_type(await asyncio.wait_for(count("a"), 1), int)
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(fetch("a")), asyncio.Task[float])
