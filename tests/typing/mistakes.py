"""Programs that a type checker must refuse: every line that is marked is an error, no other is."""

# An `ignore` that ignores nothing is an error too: in mypy because it is strict, in pyright by
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import monolite
from monolite import Client, Handle, Retry, Runtime, Signal, View, activity, step, workflow

approval = Signal("approval", bool)
progress = View("progress", int)


@activity
async def fetch(sku: str, *, fresh: bool = False) -> float:
    return 1.0 if fresh else float(len(sku))


@activity(retry=3)
def charge(card: str, cents: int) -> int:
    return len(card) + cents


@workflow
async def order(number: int) -> str:
    return str(number)


def plain(sku: str) -> bytes:
    return sku.encode()


def wrong_arguments() -> None:
    fetch(1)  # type: ignore[arg-type]
    fetch()  # type: ignore[call-arg]
    fetch("a", True)  # type: ignore[call-arg]
    fetch("a", stale=True)  # type: ignore[call-arg]
    charge("visa", "5")  # type: ignore[arg-type]
    charge("visa")  # type: ignore[call-arg]
    order("1")  # type: ignore[arg-type]
    order(1, 2)  # type: ignore[call-arg]
    step("plain", plain, 1)  # type: ignore[call-overload]
    step("plain", plain)  # type: ignore[call-overload]
    step(plain, "a")  # type: ignore[call-overload]


async def wrong_results() -> None:
    number: int = await order(1)  # type: ignore[assignment]
    text: str = await step("plain", plain, "a")  # type: ignore[call-overload]
    (await charge("visa", 5)).upper()  # type: ignore[attr-defined]
    fetch("a").upper()  # type: ignore[attr-defined]
    print(number, text)  # noqa: T201 - uses them


def wrong_options() -> None:
    fetch("a").options(tiemout=5)  # type: ignore[call-arg]
    fetch("a").options(timeout=[5])  # type: ignore[arg-type]
    fetch("a").options(retry="often")  # type: ignore[arg-type]
    Retry("3")  # type: ignore[arg-type]
    Retry(3, 0.5)  # type: ignore[call-arg]
    Retry(first_delay=None)  # type: ignore[arg-type]
    Retry(non_retryable=[ValueError])  # type: ignore[arg-type]


def wrong_definitions() -> None:
    workflow(plain)  # type: ignore[arg-type]
    activity(name=5)  # type: ignore[call-overload]
    activity(raises=ValueError)  # type: ignore[call-overload]
    workflow(version="2")  # type: ignore[call-overload]


async def wrong_spawns(rt: Runtime, client: Client) -> None:
    await rt.spawn(order)  # type: ignore[arg-type]
    await rt.spawn(order(1), id=5)  # type: ignore[arg-type]
    await client.spawn(plain("a"))  # type: ignore[arg-type]
    await monolite.spawn("order")  # type: ignore[arg-type]
    handle: Handle[int] = await rt.spawn(order(1))  # type: ignore[arg-type]
    await handle.result()


async def wrong_messages(handle: Handle[str]) -> None:
    number: int = await handle.result()  # type: ignore[assignment]
    await handle.signal(approval, "yes")  # type: ignore[misc]
    await handle.signal("approval", True)  # type: ignore[arg-type]
    await handle.signal(progress, 1)  # type: ignore[arg-type]
    await handle.view(approval)  # type: ignore[arg-type]
    text: str = await approval.receive()  # type: ignore[assignment]
    progress.set("half")  # type: ignore[arg-type]
    print(number, text)  # noqa: T201 - uses them
