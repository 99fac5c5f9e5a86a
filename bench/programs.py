"""The workflows that are measured: the engine's share is large because they do so little."""

from __future__ import annotations

from dataclasses import dataclass

from monolite import Signal, activity, workflow

FILLER = "a step's result or a signal is as long as a row of the bare loop: 100 bytes"


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


parcels = Signal("parcels", Parcel)


@workflow
async def collect(count: int) -> int:
    """Receive that many signals; return the sum of their numbers."""
    total = 0
    for _ in range(count):
        total += (await parcels.receive()).number
    return total
