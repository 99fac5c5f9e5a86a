"""Continuing as new: what a run had put out goes over to the one that continues it."""

from __future__ import annotations

from monolite import ContinueAsNew, Runtime, Signal, Stream, View, activity, workflow
from tests.host.hosts import World, hosted

go_on = Signal("go_on", str)
mood = View("mood", str)
words = Stream("words", str)


@activity
async def say(*said: str) -> None:
    for word in said:
        words.append(word)


@workflow
async def rounds(left: int) -> str:
    """Publishes, appends and continues, all in one commit."""
    words.append(f"{left} left")
    if left:
        mood.set(f"{left} left")
        raise ContinueAsNew(rounds(left - 1))
    return await go_on.receive()


@workflow
async def speeches(left: int) -> None:
    """Appends by an activity whose key is the same in every round, and before it ends."""
    await say(f"a{left}", f"b{left}")
    words.append(f"c{left}")
    if left:
        raise ContinueAsNew(speeches(left - 1))


async def heard(rt: Runtime, id: str) -> list[tuple[int, str]]:
    return [item async for item in rt.handle(id).read(words, follow=False)]


@hosted
async def test_what_it_put_out_in_its_last_commit_goes_over(world: World) -> None:
    async with world.runtime(rounds) as rt:
        run = await rt.spawn(rounds(3), id="r")
        assert await run.view(mood) == "1 left"
        assert await heard(rt, "r") == [
            (1, "3 left"),
            (2, "2 left"),
            (3, "1 left"),
            (4, "0 left"),
        ]
        await run.signal(go_on, "done")
        assert await run.result() == "done"
        assert await run.view(mood) == "1 left"


@hosted
async def test_the_positions_of_a_stream_go_on(world: World) -> None:
    async with world.runtime(speeches) as rt:
        run = await rt.spawn(speeches(2), id="s")
        await run.result()
        said = ["a2", "b2", "c2", "a1", "b1", "c1", "a0", "b0", "c0"]
        assert await heard(rt, "s") == list(enumerate(said, start=1))


@hosted
async def test_who_watches_sees_the_last_words_of_a_run(world: World) -> None:
    async with world.runtime(chatty) as rt:
        run = await rt.spawn(chatty(first=True), id="c")
        seen: list[str] = []
        async for value in run.watch(mood):
            seen.append(value)
            if value == "begun":
                await run.signal(go_on, "more")
            else:
                await run.signal(go_on, "enough")
        assert seen == ["begun", "continued"]


@workflow
async def chatty(*, first: bool) -> None:
    if first:
        mood.set("begun")
        await go_on.receive()
        mood.set("continued")
        raise ContinueAsNew(chatty(first=False))
    await go_on.receive()
