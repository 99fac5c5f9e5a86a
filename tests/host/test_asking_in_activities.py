"""What activities may ask: real time and chance, but not which run they are, nor to set views."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import monolite
from monolite import View, activity, errors, workflow
from tests.host.homes import Home

count = View("count", int)


async def test_an_activity_sets_no_view_and_has_no_run_of_its_own(home: Home) -> None:
    @activity(retry=False)
    def sets() -> None:
        count.set(1)

    @activity(retry=False)
    def asks() -> str:
        return monolite.current().id

    @workflow
    async def trying() -> list[str]:
        words: list[str] = []
        for call in (sets(), asks()):
            try:
                await call
            except errors.ActivityFailed as failed:
                words.append(str(failed.cause))
        return words

    async with home.runtime(trying) as rt:
        setting, asking = await (await rt.spawn(trying())).result()
        assert "in an activity append to a Stream" in setting
        assert "in an activity use monolite.attempt()" in asking


async def test_an_activity_has_the_real_time_and_real_chance(home: Home) -> None:
    @activity
    async def real() -> tuple[datetime, float, UUID, bool]:
        drawn = monolite.random().random()
        return monolite.now(), drawn, monolite.uuid4(), monolite.patched("p")

    @workflow
    async def comparing() -> list[Any]:
        assert await real() != await real()
        return list(await real())

    before = datetime.now(UTC)
    async with home.runtime(comparing) as rt:
        at, drawn, id, patched = await (await rt.spawn(comparing())).result()
    assert before <= datetime.fromisoformat(at) <= datetime.now(UTC)
    assert 0 <= drawn < 1
    assert UUID(id).version == 4
    assert patched is True
