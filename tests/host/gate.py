"""A gate in a workflow: it waits there until the test lets it through, in this life or the next."""

from __future__ import annotations

from typing import Any

from monolite import Handle, Signal
from tests.host.homes import waits_on

_gate = Signal("gate", str)


async def wait_for_it(word: str = "") -> str:
    """Wait at the gate, in a workflow; return the word that it was opened with."""
    return await _gate.receive() or word


async def reached(run: Handle[Any]) -> None:
    """Return once the run waits at the gate."""
    await waits_on(run, "signal gate")


async def open(run: Handle[Any], word: str = "") -> None:  # noqa: A001 - `gate.open(run)`
    """Let the run through."""
    assert (await run.signal(_gate, word)).accepted
