"""Clients: other processes on the machine, with the engine running or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monolite import Client, Runtime
from monolite.core.entry import Run, RunNo
from monolite.errors import (
    AlreadyExists,
    Cancelled,
    Misused,
    Terminated,
    UnknownWorkflow,
    WorkflowFailed,
)
from monolite.host import client as client_module
from monolite.host.client import ring_engine
from monolite.store.protocol import Message, Writes
from monolite.store.sqlite.door import SqliteDoor
from monolite.store.sqlite.store import SqliteStore
from tests.processes import programs
from tests.processes.child import Child
from tests.processes.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def engine(place: Place) -> Iterator[Child]:
    with place.engine() as engine:
        engine.hear("open")
        yield engine
        assert engine.finish() == 0, engine.errors()


# With an engine, in another process.


async def test_a_run_is_spawned_signalled_watched_and_awaited(place: Place, engine: Child) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.collector(), id="c", attributes={"tenant": "acme"})
        values: list[int] = []
        for number in (1, 2, 3):
            assert await run.signal(programs.numbers, ("ada", number))
        async for value in run.watch(programs.seen):
            values.append(value)
            if value == 3:
                break
        assert values == sorted(values)
        assert await run.view(programs.seen) == 3
        (info,) = await client.list(attributes={"tenant": "acme"})
        assert (info.id, info.name, info.generation) == ("c", "collector", 1)
        assert await client.list(attributes={"tenant": "other"}) == []
        assert [i.id for i in await client.list(id_prefix="c", name="collector")] == ["c"]
        assert await run.signal(programs.numbers, ("ada", -1))
        assert await run.result() == [("ada", 1), ("ada", 2), ("ada", 3)]
        assert (await run.describe()).status == "completed"
        assert [line.kind for line in await run.history()] == [
            "started",
            *["signal"] * 4,
            "completed",
        ]
        # Another client, which knows the id only.
        async with Client(place.path) as other:
            assert await other.handle("c").result() == [["ada", 1], ["ada", 2], ["ada", 3]]


async def test_a_run_is_cancelled(place: Place, engine: Child) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.waits(), id="w")
        async for _ in run.watch(programs.seen):
            break
        assert await run.cancel("no longer needed")
        with pytest.raises(Cancelled, match="no longer needed") as cancelled:
            await run.result()
        assert cancelled.value.id == "w"
    assert [x.step for x in place.effects()] == ["began", "tidied"]


async def test_a_run_is_terminated(place: Place, engine: Child) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.waits(), id="w")
        async for _ in run.watch(programs.seen):
            break
        assert await run.terminate("at once")
        with pytest.raises(Terminated, match="at once"):
            await run.result()
    assert [x.step for x in place.effects()] == ["began"]


async def test_a_failure_arrives_with_its_cause(place: Place, engine: Child) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.fails("no such card"), id="f")
        with pytest.raises(WorkflowFailed) as failed:
            await run.result()
        assert failed.value.id == "f"
        assert type(failed.value.cause) is ValueError
        assert str(failed.value.cause) == "no such card"


async def test_an_unknown_id_says_so_in_every_verb(place: Place, engine: Child) -> None:
    async with place.client() as client:
        nobody = client.handle("nobody", programs.collector)
        for asking in (
            nobody.signal(programs.numbers, ("ada", 1)),
            nobody.cancel(),
            nobody.terminate(),
            nobody.view(programs.seen),
            nobody.describe(),
            nobody.history(),
            nobody.result(),
            anext(nobody.watch(programs.seen)),
        ):
            with pytest.raises(UnknownWorkflow, match="no run has the id 'nobody'"):
                await asking
        assert await client.list() == []


async def test_a_message_to_a_finished_run_is_not_accepted(place: Place, engine: Child) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.collector(), id="c")
        assert await run.signal(programs.numbers, ("ada", 1), id="first")
        assert await run.signal(programs.numbers, ("ada", -1))
        await run.result()
        late = await run.signal(programs.numbers, ("ada", 2))
        assert (late.accepted, late.reason) == (False, "the run has completed")
        assert not await run.cancel()
        again = await run.signal(programs.numbers, ("ada", 1), id="first")
        assert (again.accepted, again.reason) == (True, "duplicate")
    assert place.rows("SELECT count(*) FROM monolite_inbox") == [(2,)]


async def test_a_message_sent_twice_under_one_id_arrives_once(place: Place, engine: Child) -> None:
    async with place.client() as client, place.client() as other:
        run = await client.spawn(programs.collector(), id="c")
        for sender in (client, other, client):
            answer = await sender.handle("c").signal(programs.numbers, ("ada", 1), id="one")
            assert answer.accepted
        assert answer.reason == "duplicate"
        await run.signal(programs.numbers, ("ada", -1))
        assert await run.result() == [("ada", 1)]


# A run that exists.


async def test_attaching_joins_the_run_that_lives(place: Place, engine: Child) -> None:
    async with place.client() as client:
        first = await client.spawn(programs.waits(), id="w")
        async for _ in first.watch(programs.seen):
            break
        second = await client.spawn(programs.waits(), id="w")
        await second.signal(programs.stop, None)
        assert await second.result() == "w"
        # Even one that has ended.
        third = await client.spawn(programs.waits(), id="w", id_conflict="attach")
        assert await third.result() == "w"
        assert (await third.describe()).generation == 1
    assert [x.step for x in place.effects()] == ["began", "ended"]


async def test_rejecting_raises_and_leaves_the_run_alone(place: Place, engine: Child) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.waits(), id="w")
        async for _ in run.watch(programs.seen):
            break
        with pytest.raises(AlreadyExists, match="a run with id 'w' exists"):
            await client.spawn(programs.waits(), id="w", id_conflict="reject")
        with pytest.raises(AlreadyExists, match="it runs 'waits', not 'leaf'"):
            await client.spawn(programs.leaf("x"), id="w")
        await run.signal(programs.stop, None)
        assert await run.result() == "w"
        assert (await run.describe()).generation == 1
    assert [x.step for x in place.effects()] == ["began", "ended"]


async def test_restarting_terminates_the_run_that_lives(place: Place, engine: Child) -> None:
    async with place.client() as client:
        first = await client.spawn(programs.waits(), id="w")
        async for _ in first.watch(programs.seen):
            break
        waiting = asyncio.create_task(first.result())
        second = await client.spawn(programs.waits(), id="w", id_conflict="restart")
        await second.signal(programs.stop, None)
        assert await second.result() == "w"
        assert await waiting == "w", "a handle is of an id: its newest run"
        assert (await second.describe()).generation == 2
    assert place.rows("SELECT generation, status FROM monolite_runs ORDER BY generation") == [
        (1, "terminated"),
        (2, "completed"),
    ]
    assert [x.step for x in place.effects()] == ["began", "began", "ended"]


# Without an engine.


async def test_what_is_sent_before_the_engine_starts_is_done_when_it_does(place: Place) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.collector(), id="c")
        for number in range(1, 51):
            assert await run.signal(programs.numbers, ("ada", number), id=f"m{number}")
        again = await run.signal(programs.numbers, ("ada", 7), id="m7")
        assert again.reason == "duplicate"
        await run.signal(programs.numbers, ("ada", -1))
        info = await run.describe()
        assert (info.status, info.waiting_on) == ("queued", "an engine to start it")
        assert await run.view(programs.seen) is None
        waiting = asyncio.create_task(run.result())
        with place.engine() as engine:
            assert await waiting == [("ada", number) for number in range(1, 51)]
            assert engine.finish() == 0


async def test_a_run_cancelled_before_any_engine_starts_never_begins(place: Place) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.tidies_up(), id="t")
        assert await run.cancel("changed my mind")
        with place.engine() as engine:
            with pytest.raises(Cancelled, match="changed my mind"):
                await run.result()
            assert await (await client.spawn(programs.leaf("after"))).result() == "after"
            assert engine.finish() == 0
    assert [x.step for x in place.effects()] == ["after"]
    assert (await run.describe()).status == "cancelled"


async def test_a_run_restarted_before_any_engine_starts_begins_once(place: Place) -> None:
    async with place.client() as client:
        run = client.handle("t", programs.tidies_up)
        for _ in range(3):
            await client.spawn(programs.tidies_up(), id="t", id_conflict="restart")
        with place.engine() as engine:
            assert await run.result() == "tidy"
            assert engine.finish() == 0
    assert [x.step for x in place.effects()] == ["began"]
    assert place.rows("SELECT generation, status FROM monolite_runs ORDER BY generation") == [
        (1, "terminated"),
        (2, "terminated"),
        (3, "completed"),
    ]


async def test_messages_reach_the_generation_they_were_sent_to(place: Place) -> None:
    async with place.client() as client:
        first = await client.spawn(programs.collector(), id="c")
        await first.signal(programs.numbers, ("first", 1), id="m")
        second = await client.spawn(programs.collector(), id="c", id_conflict="restart")
        # A new run is a new inbox: the same message id is not a duplicate in it.
        assert (await second.signal(programs.numbers, ("second", 1), id="m")).reason == ""
        await second.signal(programs.numbers, ("second", -1))
        with place.engine() as engine:
            assert await second.result() == [("second", 1)]
            assert engine.finish() == 0


async def test_work_for_code_that_no_engine_has_waits_and_says_so(place: Place) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.collector(), id="c")
        await run.signal(programs.numbers, ("ada", 1))
        with place.engine("--code", "leaf") as engine:
            await (await client.spawn(programs.leaf("x"))).result()
            assert (await run.describe()).waiting_on == "no code for 'collector'"
            assert await run.signal(programs.numbers, ("ada", 2))
            assert engine.finish() == 0
        await run.signal(programs.numbers, ("ada", -1))
        with place.engine() as engine:
            assert await run.result() == [("ada", 1), ("ada", 2)]
            assert engine.finish() == 0


async def test_a_run_without_code_can_be_terminated(place: Place) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.collector(), id="c")
        with place.engine("--code", "leaf") as engine:
            await (await client.spawn(programs.leaf("x"))).result()
            assert await run.terminate("nobody has its code any more")
            with pytest.raises(Terminated):
                await run.result()
            assert engine.finish() == 0


async def test_a_delayed_run_waits_for_its_time(place: Place) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.leaf("later"), id="l", delay="90m")
        for hours, begun in ((0, False), (1, False), (2, True)):
            with place.engine("--hours-later", str(hours)) as engine:
                await (await client.spawn(programs.leaf("now"))).result()
                if begun:
                    assert await run.result() == "later"
                assert (await run.describe()).status == ("completed" if begun else "queued")
                assert engine.finish() == 0


async def test_misuse_is_refused_before_anything_is_written(place: Place) -> None:
    async with place.client() as client:
        for bad in ("", "x" * 513, "line\nbreak", "\ud800"):
            with pytest.raises(Misused):
                await client.spawn(programs.collector(), id=bad)
        with pytest.raises(Misused, match="is none of"):
            await client.spawn(programs.collector(), id="c", id_conflict="replace")
        assert not place.path.exists()


# The bell.


async def test_the_bell_wakes_the_engine_and_the_engine_rings_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither side looks by itself within the hour: only the bells can make this end."""
    monkeypatch.setattr(client_module, "LOOK_S", 3_600.0)
    with place.engine("--deaf") as engine:
        engine.hear("open")
        async with place.client() as client, asyncio.timeout(20):
            run = await client.spawn(programs.waits(), id="w")
            async for _ in run.watch(programs.seen):
                break
            waiting = asyncio.create_task(run.result())
            await run.signal(programs.stop, None)
            assert await waiting == "w"
        assert engine.finish() == 0


@pytest.mark.parametrize("length", [60, 107, 108, 150, 250])
async def test_the_bell_works_in_long_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    directory = tmp_path / ("d" * 100) / ("e" * max(1, length - 100))
    directory.mkdir(parents=True)
    await test_the_bell_wakes_the_engine_and_the_engine_rings_back(Place(directory), monkeypatch)


async def test_the_bell_works_for_a_long_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, "n" * 200 + ".db")
    await test_the_bell_wakes_the_engine_and_the_engine_rings_back(place, monkeypatch)


async def test_without_a_bell_both_sides_look_by_themselves(place: Place) -> None:
    """The place of the bell is taken by a directory, as on a file system without sockets."""
    place.path.with_name("app.db.bell").mkdir()
    with place.engine() as engine:
        engine.hear("open")
        async with place.client() as client:
            assert await (await client.spawn(programs.leaf("x"))).result() == "x"
        assert engine.finish() == 0
    assert place.litter() == ["app.db.bell"]


async def test_clients_leave_nothing_behind(place: Place) -> None:
    with place.engine() as engine:
        async with place.client() as client:
            run = await client.spawn(programs.waits(), id="w")
            async for _ in run.watch(programs.seen):
                break
            waiting = asyncio.create_task(run.result())
            async for _ in run.watch(programs.seen):
                break
            waiting.cancel()
            await asyncio.wait([waiting])
        assert engine.finish() == 0
    assert place.litter() == []


async def test_a_client_in_another_directory_means_the_same_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.path.parent)
    async with Runtime("app.db", actors=[programs]), Client("app.db") as client:
        monkeypatch.chdir("/")
        run = await client.spawn(programs.naps())
        assert await run.result() == "rested"


# At the very moment that the engine does the same.


class Meanwhile:
    """Lets a client act right before the engine's next commit, when its decisions are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.act: Callable[[SqliteDoor], object] | None = None
        commit = SqliteStore.commit

        def after_the_client(store: SqliteStore, writes: Writes) -> None:
            act, self.act = self.act, None
            if act is not None:
                door = SqliteDoor.open_door(store.path, create=False, now_us=0)
                act(door)
                door.close()
            commit(store, writes)

        monkeypatch.setattr(SqliteStore, "commit", after_the_client)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    return Meanwhile(monkeypatch)


def a_run(id: str) -> Run:
    return Run(RunNo(0), id, 1, "collector", 1, "queued", "[]", 0, wake_at_us=0)


async def test_an_id_that_a_client_takes_meanwhile_is_joined(
    place: Place, meanwhile: Meanwhile
) -> None:
    async with Runtime(place.path, actors=[programs]) as rt:
        meanwhile.act = lambda door: door.spawn(a_run("c"), "attach")
        run = await rt.spawn(programs.collector(), id="c")
        await run.signal(programs.numbers, ("", -1))
        assert await run.result() == []
        assert [info.generation for info in await rt.list()] == [1]


async def test_an_id_that_a_client_takes_meanwhile_is_refused(
    place: Place, meanwhile: Meanwhile
) -> None:
    async with Runtime(place.path, actors=[programs]) as rt:
        meanwhile.act = lambda door: door.spawn(a_run("c"), "attach")
        with pytest.raises(AlreadyExists):
            await rt.spawn(programs.collector(), id="c", id_conflict="reject")
        assert await rt.handle("c").cancel()


async def test_a_run_that_a_client_starts_meanwhile_is_restarted(
    place: Place, meanwhile: Meanwhile
) -> None:
    async with Runtime(place.path, actors=[programs]) as rt:
        meanwhile.act = lambda door: door.spawn(a_run("c"), "attach")
        run = await rt.spawn(programs.collector(), id="c", id_conflict="restart")
        await run.signal(programs.numbers, ("", -1))
        assert await run.result() == []
        assert (await run.describe()).generation == 2


async def test_a_message_that_a_client_sends_meanwhile_is_a_duplicate(
    place: Place, meanwhile: Meanwhile
) -> None:
    async with Runtime(place.path, actors=[programs]) as rt:
        run = await rt.spawn(programs.collector(), id="c")
        message = Message(RunNo(0), "signal", "numbers", '["client",1]', 0, "m")
        meanwhile.act = lambda door: door.post("c", message)
        answer = await run.signal(programs.numbers, ("engine", 1), id="m")
        assert (answer.accepted, answer.reason) == (True, "duplicate")
        await run.signal(programs.numbers, ("", -1))
        assert await run.result() == [("client", 1)]


async def test_messages_that_clients_send_meanwhile_all_arrive(
    place: Place, meanwhile: Meanwhile
) -> None:
    """The client's message has the lower number in the file, but the engine's was delivered."""
    async with Runtime(place.path, actors=[programs]) as rt:
        run = await rt.spawn(programs.collector(), id="c")
        for number in range(10):
            message = Message(RunNo(0), "signal", "numbers", f'["client",{number}]', 0)
            meanwhile.act = lambda door, m=message: door.post("c", m)
            await run.signal(programs.numbers, ("engine", number))
        ring_engine(place.path)
        async for value in run.watch(programs.seen):
            if value == 20:
                break
        await run.signal(programs.numbers, ("", -1))
        received = await run.result()
    for sender in ("client", "engine"):
        assert [number for who, number in received if who == sender] == list(range(10))


# Many at once.


async def test_many_clients_lose_nothing_and_keep_their_order_under_load(place: Place) -> None:
    """Four processes send while the engine is busy with two hundred orders."""
    async with place.client() as client:
        collector = await client.spawn(programs.collector(), id="collector")
        with place.engine(patient=True) as engine:
            orders = [await client.spawn(programs.order(2), id=f"o{n}") for n in range(200)]
            senders = [place.process("tests.processes.sender", f"s{n}", 50) for n in range(4)]
            for sender in senders:
                with sender:
                    assert sender.wait() == 0, sender.errors()
                    assert len(sender.said) == 50
            await collector.signal(programs.numbers, ("", -1))
            received = await collector.result()
            for order in orders:
                assert (await order.result()).once == "once"
            assert engine.finish() == 0
    assert len(received) == 200
    for n in range(4):
        assert [number for who, number in received if who == f"s{n}"] == list(range(1, 51))


async def test_clients_that_are_killed_lose_nothing_that_they_were_told(place: Place) -> None:
    async with place.client() as client:
        collector = await client.spawn(programs.collector(), id="collector")
        with place.engine() as engine:
            for moment in (1, 5, 9, 14, 20):
                with place.process("tests.processes.sender", "s", 50) as sender:
                    for _, _said in zip(range(moment), sender.lines(), strict=False):
                        pass
                    sender.kill()
                    told = len(sender.said)
                await collector.signal(programs.numbers, ("ok", told))
            await collector.signal(programs.numbers, ("", -1))
            received = await collector.result()
            assert engine.finish() == 0
    numbers = [number for who, number in received if who == "s"]
    assert numbers == list(range(1, len(numbers) + 1))
    last_told = max(number for who, number in received if who == "ok")
    assert len(numbers) >= last_told
