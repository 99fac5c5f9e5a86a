"""Quarantine: code that takes its process down is blocked, and all the others finish."""

from __future__ import annotations

from pathlib import Path

import pytest

from monolite import Handle
from tests.processes import programs
from tests.processes.place import Place

LIVES_MAX = 12
"""Lives that a file with one poison in it may take."""

OTHERS = 10


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def lived(place: Place, run: Handle[object]) -> int:
    """Start engines until one survives the run; return how many died of it."""
    for life in range(LIVES_MAX):
        with place.engine() as engine:
            for said in engine.lines():
                if said == "open":
                    break
            while engine.alive():
                if (await run.describe()).status == "blocked":
                    assert engine.finish() == 0
                    return life
    raise AssertionError("it was never blocked")


@pytest.mark.parametrize("where", ["activity", "workflow", "thread"])
async def test_poison_is_blocked_and_the_others_finish(place: Place, where: str) -> None:
    async with place.client() as client:
        others = [await client.spawn(programs.waits(), id=f"w{n}") for n in range(OTHERS)]
        run = await client.spawn(programs.poisoned(where), id="poison")
        assert await lived(place, run) == 5
        info = await run.describe()
        assert "quarantined: its process died in 5" in (info.waiting_on or "")
        for other in others:
            assert await other.signal(programs.stop, None)
        with place.engine(patient=True) as engine:
            assert [await other.result() for other in others] == [x.id for x in others]
            assert (await run.describe()).status == "blocked"
            assert await run.retry()
            assert await run.result() == "cured"
            assert engine.finish() == 0


async def test_a_retry_that_does_not_help_is_counted_anew(place: Place) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.poisoned("workflow"), id="poison")
        assert await lived(place, run) == 5
        assert not await run.skip()
        assert await run.retry()
        with place.engine() as engine:
            list(engine.lines())
        assert await lived(place, run) == 4
