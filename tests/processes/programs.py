"""Workflows that the process tests run, and the log in which their activities leave traces."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from monolite import Retry, Signal, View, activity, attempt, current, spawn, workflow
from monolite.errors import Interrupted
from tests.processes.child import say

numbers = Signal("numbers", tuple[str, int])
stop = Signal("stop", None)
seen = View("seen", int)

LOG = "MONOLITE_TEST_EFFECTS"
"""Environment: the file of the effects log."""

LIFE = "MONOLITE_TEST_LIFE"
"""Environment: which life of the engine this is, written into each line of the log."""

PATIENT = "MONOLITE_TEST_PATIENT"
"""Environment: set, activities that would hang for ever on their first attempt do not."""


class Effect(msgspec.Struct, frozen=True):
    """One execution of an activity, as the outside world saw it."""

    life: int
    run: str
    step: str
    key: str
    number: int
    interrupted: bool


def leave_effect(step: str) -> Effect:
    """Put this execution on the log and tell the parent; it is on the disk when this returns."""
    a = attempt()
    effect = Effect(
        int(os.environ[LIFE]), a.workflow_id, step, a.idempotency_key, a.number, a.interrupted
    )
    fd = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, msgspec.json.encode(effect) + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    say(step)
    return effect


def effects(log: Path) -> list[Effect]:
    """Every execution so far; what a kill cut in half has not happened."""
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    return [msgspec.json.decode(line, type=Effect) for line in lines]


async def hang() -> None:
    """Never return, unless this life is a patient one."""
    if PATIENT not in os.environ:
        await asyncio.Event().wait()


@activity
async def effect(step: str) -> str:
    leave_effect(step)
    return step


@activity
def threaded(step: str) -> str:
    leave_effect(step)
    return step


@activity
async def hangs_at_first(step: str) -> int:
    """Is in flight until the process dies; then says which attempt came through."""
    left = leave_effect(step)
    if left.number == 1:
        await hang()
    return left.number


@activity
async def hangs_until(number: int) -> int:
    left = leave_effect("stubborn")
    if left.number < number:
        await hang()
    return left.number


@activity(at_most_once=True)
async def once(step: str, *, hangs: bool) -> str:
    leave_effect(step)
    if hangs:
        await hang()
    return step


@activity(retry=Retry(max_attempts=None, first_delay=0.005, backoff=1.0))
async def flaky(step: str, failures: int) -> int:
    """Fails until `failures` attempts have run."""
    left = leave_effect(step)
    if left.number <= failures:
        raise ConnectionError(f"attempt {left.number}")
    return left.number


@activity(retry=Retry(max_attempts=3, first_delay="1h", backoff=1.0, jitter=0.0))
async def hourly(step: str) -> int:
    """Fails twice, with an hour between the attempts."""
    left = leave_effect(step)
    if left.number < 3:
        raise ConnectionError(f"attempt {left.number}")
    return left.number


@workflow
async def leaf(step: str) -> str:
    return await threaded(step)


class Done(msgspec.Struct, frozen=True):
    """What `order` came to."""

    child: str
    parallel: list[str]
    flaky_at: int
    hung_at: int | None
    once: str


@workflow
async def order(kind: int) -> Done:
    """A bit of everything; `kind` chooses what is in flight when the process dies."""
    await effect("first")
    child, *parallel = await asyncio.gather(leaf("leaf"), effect("left"), threaded("right"))
    await asyncio.sleep(0.002)
    flaky_at = await flaky("flaky", 2)
    hung_at = await hangs_at_first("hangs") if kind % 3 == 0 else None
    try:
        outcome = await once("once", hangs=kind % 3 == 1)
    except Interrupted:
        outcome = "interrupted"
    await effect("last")
    return Done(child, parallel, flaky_at, hung_at, outcome)


@workflow
async def collector() -> list[tuple[str, int]]:
    """Receives numbers until one is negative."""
    found: list[tuple[str, int]] = []
    async for sender, number in numbers:
        if number < 0:
            break
        found.append((sender, number))
        seen.set(len(found))
    return found


@workflow
async def hanging() -> int:
    return await hangs_at_first("hangs")


@activity
def gated(gate: str) -> int:
    """Returns when the test opens this life's gate, a named pipe; says its life."""
    leave_effect("gated")
    life = int(os.environ[LIFE])
    with Path(f"{gate}.{life}").open() as pipe:
        pipe.read()
    return life


@workflow
async def behind_a_gate(gate: str) -> int:
    return await gated(gate)


@workflow
async def stubborn(attempts: int) -> int:
    return await hangs_until(attempts)


@workflow
async def careful() -> str:
    try:
        return await once("once", hangs=True)
    except Interrupted as error:
        return f"{type(error).__name__} {error.name}"


@workflow
async def hourly_flaky() -> int:
    return await hourly("hourly")


@workflow
async def waits() -> str:
    """Waits for a message, and tidies up if it is cancelled meanwhile."""
    await effect("began")
    seen.set(1)
    try:
        await stop.receive()
    except asyncio.CancelledError:
        await effect("tidied")
        raise
    await effect("ended")
    return current().id


@workflow
async def parent_of_waits() -> str:
    return await waits()


@workflow
async def parent_of_named_waits() -> str:
    child = await spawn(waits(), id="named-child")
    return await child.result()


def die() -> str:
    """Take the process down, as a crash in some C library would; in a patient life, do not."""
    if PATIENT not in os.environ:
        os._exit(3)
    return "cured"


@activity(retry=Retry(first_delay=0.01))
async def poison() -> str:
    return die()


@activity(retry=Retry(first_delay=0.01))
def poison_in_a_thread() -> str:
    return die()


@workflow
async def poisoned(where: str) -> str:
    """Takes its process down, every time."""
    if where == "activity":
        return await poison()
    if where == "thread":
        return await poison_in_a_thread()
    await effect("before the poison")
    return die()


@workflow
async def fails(why: str) -> None:
    await asyncio.sleep(0)
    raise ValueError(why)


@workflow
async def tidies_up() -> str:
    """Ends well even if it is cancelled: must not be given the chance before it has begun."""
    try:
        await effect("began")
    except asyncio.CancelledError:
        await effect("tidied")
    return "tidy"


@workflow
async def naps() -> str:
    await asyncio.sleep(0.001)
    return "rested"


@workflow
async def naps_for(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@workflow
async def sleeps_on(pillow: str) -> int:
    await asyncio.sleep(86_400)
    return len(pillow)


@workflow
async def sleeps(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return await effect("woke")


def environment(log: Path, life: int, *, patient: bool = False) -> dict[str, str]:
    """What a child needs to leave effects."""
    return {LOG: str(log), LIFE: str(life), **({PATIENT: "1"} if patient else {})}
