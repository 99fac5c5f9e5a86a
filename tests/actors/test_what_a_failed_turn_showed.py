"""What a turn shows or starts goes with it: if it fails, nobody has seen anything of it."""

from __future__ import annotations

import pytest

import monolite
from monolite import Actor, Stream, View, update, workflow
from monolite.errors import UnknownWorkflow
from tests.host.hosts import World

shown = View("shown", int)
said = Stream("said", str)


@workflow
async def started() -> int:
    return 1


class Teller(Actor):
    told: int = 0

    @update
    async def tell(self, fails: bool) -> str:
        self.told += 1
        shown.set(self.told)
        said.append(f"told {self.told}")
        handle = await monolite.spawn(started(), detached=True)
        if fails:
            raise ValueError(handle.id)
        return handle.id


async def test_nothing_of_a_turn_that_failed_is_seen(world: World) -> None:
    async with world.runtime(Teller, started) as rt:
        teller = rt.actor(Teller, "t")
        with pytest.raises(ValueError, match="Teller/t") as failed:
            await teller.tell(fails=True)
        run = rt.handle("Teller/t")
        assert await run.view(shown) is None
        assert [x async for x in run.read(said, follow=False)] == []
        with pytest.raises(UnknownWorkflow):
            await rt.describe(str(failed.value))
        child = await teller.tell(fails=False)
        assert await run.view(shown) == 1
        assert [x async for x in run.read(said, follow=False)] == [(1, "told 1")]
        assert await rt.handle(child).result() == 1
