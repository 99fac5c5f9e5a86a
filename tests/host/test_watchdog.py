"""A workflow that does not let go of the engine is reported by name."""

from __future__ import annotations

import logging
import threading
import time

import anyio
import pytest

from monolite import Runtime, Signal, errors, workflow
from monolite.core.entry import Entry, RunNo
from monolite.host.engine import Engine
from monolite.host.events import Post, Spawn
from monolite.host.registry import Registry
from monolite.host.thread import STUCK_S
from monolite.store.memory import MemoryStore
from monolite.store.protocol import Writes

LOGGER = "monolite.engine"

notes = Signal("notes", str)


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the engine complained of, and strike it off."""
    found = [r.getMessage() for r in caplog.records if r.name == LOGGER]
    caplog.clear()
    return found


async def test_code_that_computes_for_long_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert STUCK_S == 1
    monkeypatch.setattr("monolite.host.thread.STUCK_S", 0.1)
    reported = threading.Event()

    @workflow
    async def computing() -> str:
        deadline_s = time.monotonic() + 3 * STUCK_S
        while not reported.is_set() and time.monotonic() < deadline_s:
            pass
        return "computed"

    class Noticing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reported.set()

    handler = Noticing()
    logging.getLogger(LOGGER).addHandler(handler)
    try:
        async with Runtime(":memory:", actors=[computing]) as rt:
            handle = await rt.spawn(computing(), id="busy-1")
            assert await handle.result() == "computed"
    finally:
        logging.getLogger(LOGGER).removeHandler(handler)
    (report,) = reports(caplog)
    assert report == (
        "workflow 'busy-1' has run its own code for over 0.1 s without waiting and holds up all "
        "others; move the work into an activity"
    )


async def test_code_that_waits_is_not_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monolite.host.thread.STUCK_S", 0.01)

    @workflow
    async def waits() -> str:
        return await notes.receive()

    async with Runtime(":memory:", actors=[waits]) as rt:
        handle = await rt.spawn(waits())
        for _ in range(20):
            await anyio.sleep(0.002)
            await handle.describe()
        await handle.signal(notes, "done")
        assert await handle.result() == "done"
    assert reports(caplog) == []


class Silent:
    """Nobody waits for this answer."""

    def answer(self, value: object) -> None: ...

    def refuse(self, error: BaseException) -> None:
        raise error


def test_a_run_that_was_parked_is_not_taken_for_running(caplog: pytest.LogCaptureFixture) -> None:
    @workflow(name="order")
    async def changed() -> None:
        await notes.receive()
        raise AssertionError

    @workflow(name="order")
    async def original() -> None:
        await notes.receive()
        await notes.receive()
        await notes.receive()

    store = MemoryStore()
    engine = Engine(store, Registry([original]))
    engine.turn([Spawn("w", "order", "[]", 1, "reject", 0, None, Silent())], 1_000)
    for _ in range(2):
        engine.turn([Post("w", "signal", "notes", '"x"', None, Silent())], 2_000)
    engine.rest(3_000)

    engine = Engine(store, Registry([changed]))
    engine.turn([Post("w", "signal", "notes", '"x"', None, Silent())], 4_000)
    run = store.run_by_id("w")
    assert run is not None
    assert run.status == "diverged"
    assert engine.running is None
    assert len(reports(caplog)) == 1


def test_an_error_in_a_turn_leaves_nothing_running() -> None:
    class Full(MemoryStore):
        def commit(self, writes: Writes) -> None:
            raise errors.StorageFull(str(writes.runs[0].no))

    @workflow
    async def waits() -> None:
        await notes.receive()

    engine = Engine(Full(), Registry([waits]))
    with pytest.raises(errors.StorageFull, match="2"):
        engine.turn([Spawn("w", "waits", "[]", 1, "reject", 0, None, Silent())], 1_000)
    assert engine.running is None
    assert engine.store.entries(RunNo(2)) == list[Entry]()
