"""Watching: waiting until an actor is in the middle of a turn."""

from __future__ import annotations

from monolite import Info, Runtime
from monolite.errors import UnknownWorkflow

LOOKS_MAX = 10_000


async def in_turn(rt: Runtime, id: str, words: str = "") -> Info:
    """Look at an actor until a turn of it waits for something; `words` begin its description."""
    for _ in range(LOOKS_MAX):
        try:
            info = await rt.describe(id)
        except UnknownWorkflow:  # its first message is not here yet
            continue
        if (info.waiting_on or "").startswith(f"turn {words}"):
            return info
    msg = f"{id} never was in turn {words}"
    raise AssertionError(msg)
