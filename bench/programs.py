"""The workflows and actors measured: the engine's share is large because they do so little."""

from __future__ import annotations

from dataclasses import dataclass

from monolite import Actor, Signal, Update, activity, update, workflow

FILLER = "a step's result, a signal or a state is as long as a bare loop's row: 100 bytes"


@dataclass(frozen=True)
class Parcel:
    """About 100 bytes of JSON."""

    number: int
    text: str = FILLER


@activity
async def pack(number: int) -> Parcel:
    return Parcel(number)


@workflow
async def chain(steps: int) -> int:
    """Run that many steps one after the other; return the sum of their numbers."""
    total = 0
    for number in range(steps):
        total += (await pack(number)).number
    return total


@workflow
async def idle() -> None:
    """End at once."""


parcels = Signal("parcels", Parcel)


@workflow
async def collect(count: int) -> int:
    """Receive that many signals; return the sum of their numbers."""
    total = 0
    for _ in range(count):
        total += (await parcels.receive()).number
    return total


answers: Update[int, int] = Update("answers", int, int)


@workflow
async def chain_and_answer(steps: int) -> None:
    """Run that many steps, then add up what is sent; answer with the sum so far, for ever."""
    total = 0
    for number in range(steps):
        total += (await pack(number)).number
    async for request in answers:
        total += request.value
        request.reply(total)


class Tally(Actor):
    """An actor whose turns do next to nothing; its state is about 100 bytes of JSON."""

    total: int = 0
    text: str = FILLER

    @update
    async def add(self, amount: int) -> int:
        self.total += amount
        return self.total
