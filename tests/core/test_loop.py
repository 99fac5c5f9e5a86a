"""Plain asyncio and anyio work in a workflow, in virtual time: nothing here waits for real."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

import monolite
from monolite import Signal, activity, workflow
from tests.core.play import Stage

notes = Signal("notes", str)


@activity
async def echo(word: str) -> str:
    return word


@activity
def double(number: int) -> int:
    return 2 * number


def elapsed() -> float:
    """Seconds since the run began, as its code sees them."""
    return round(asyncio.get_running_loop().time() - 1_767_268_800, 6)


# asyncio.


def test_gather_returns_in_the_order_of_its_arguments(stage: Stage) -> None:
    @workflow
    async def gathering() -> list[int]:
        async def late(number: int) -> int:
            await asyncio.sleep(10 - number)
            return number

        return [*await asyncio.gather(late(1), late(2), late(3)), int(elapsed())]

    assert stage.run(gathering()) == [1, 2, 3, 9]


def test_gather_returns_exceptions_if_asked(stage: Stage) -> None:
    @workflow
    async def gathering() -> list[str]:
        async def broken() -> int:
            msg = "no"
            raise ValueError(msg)

        found = await asyncio.gather(double(2), broken(), return_exceptions=True)
        return [repr(one) for one in found]

    assert stage.run(gathering()) == ["4", "ValueError('no')"]


def test_a_task_group_waits_for_all(stage: Stage) -> None:
    @workflow
    async def grouping() -> list[int]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(double(number)) for number in range(3)]
        return [task.result() for task in tasks]

    assert stage.run(grouping()) == [0, 2, 4]


def test_a_failing_task_cancels_the_others_of_its_group(stage: Stage) -> None:
    @workflow
    async def grouping() -> list[str]:
        log: list[str] = []

        async def waiting(seconds: float) -> None:
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                log.append(f"cancelled at {elapsed()}")
                raise

        async def failing() -> None:
            await asyncio.sleep(1)
            msg = "no"
            raise ValueError(msg)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(waiting(100))
                group.create_task(failing())
        except* ValueError as caught:
            log += [str(error) for error in caught.exceptions]
        return log

    assert stage.run(grouping()) == ["cancelled at 1.0", "no"]


def test_timeouts_nest(stage: Stage) -> None:
    @workflow
    async def bounded() -> list[str]:
        log: list[str] = []
        try:
            async with asyncio.timeout(10):
                try:
                    async with asyncio.timeout(1):
                        await asyncio.sleep(5)
                except TimeoutError:
                    log.append(f"inner at {elapsed()}")
                await asyncio.sleep(100)
        except TimeoutError:
            log.append(f"outer at {elapsed()}")
        return log

    assert stage.run(bounded()) == ["inner at 1.0", "outer at 10.0"]


def test_a_timeout_can_be_moved(stage: Stage) -> None:
    @workflow
    async def moving() -> float:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1) as limit:
                limit.reschedule(asyncio.get_running_loop().time() + 7)
                await asyncio.sleep(100)
        return elapsed()

    assert stage.run(moving()) == 7


def test_wait_for_returns_what_is_in_time_and_cancels_what_is_not(stage: Stage) -> None:
    @workflow
    async def waiting() -> list[object]:
        found: list[object] = [await asyncio.wait_for(double(4), 1)]
        try:
            await asyncio.wait_for(asyncio.sleep(100), 3)
        except TimeoutError:
            found.append(elapsed())
        return found

    assert stage.run(waiting()) == [8, 3.0]


def test_shield_keeps_what_it_holds_running(stage: Stage) -> None:
    @workflow
    async def shielding() -> list[object]:
        task = asyncio.create_task(asyncio.sleep(5, "kept"))
        log: list[object] = []
        try:
            async with asyncio.timeout(1):
                await asyncio.shield(task)
        except TimeoutError:
            log.append(elapsed())
        return [*log, await task, elapsed()]

    assert stage.run(shielding()) == [1.0, "kept", 5.0]


def test_as_completed_yields_what_ends_first(stage: Stage) -> None:
    @workflow
    async def completing() -> list[int]:
        async def late(number: int) -> int:
            await asyncio.sleep(number)
            return number

        return [await one for one in asyncio.as_completed([late(3), late(1), late(2)])]

    assert stage.run(completing()) == [1, 2, 3]


def test_wait_tells_done_from_pending(stage: Stage) -> None:
    @workflow
    async def waiting() -> list[object]:
        tasks = [asyncio.create_task(asyncio.sleep(n, n)) for n in (1, 5, 9)]
        done, pending = await asyncio.wait(tasks, timeout=6)
        for task in pending:
            task.cancel()
        return [sorted(task.result() for task in done), len(pending), elapsed()]

    assert stage.run(waiting()) == [[1, 5], 1, 6.0]


def test_a_queue_hands_over_in_order_and_bounds_its_producer(stage: Stage) -> None:
    @workflow
    async def queueing() -> list[object]:
        queue: asyncio.Queue[int | None] = asyncio.Queue(maxsize=2)
        taken: list[object] = []

        async def produce() -> None:
            for number in range(5):
                await queue.put(number)
            taken.append(f"put all at {elapsed()}")
            await queue.put(None)

        producer = asyncio.create_task(produce())
        while (item := await queue.get()) is not None:
            taken.append(item)
            await asyncio.sleep(1)
        await producer
        return taken

    assert stage.run(queueing()) == [0, 1, 2, "put all at 2.0", 3, 4]


def test_a_lock_lets_one_in_at_a_time_first_come_first_served(stage: Stage) -> None:
    @workflow
    async def locking() -> list[str]:
        lock, log = asyncio.Lock(), list[str]()

        async def use(name: str) -> None:
            async with lock:
                log.append(f"{name} in at {elapsed()}")
                await asyncio.sleep(1)

        await asyncio.gather(*(use(name) for name in "abc"))
        return log

    assert stage.run(locking()) == ["a in at 0.0", "b in at 1.0", "c in at 2.0"]


def test_a_semaphore_lets_so_many_in(stage: Stage) -> None:
    @workflow
    async def limiting() -> float:
        limit = asyncio.Semaphore(3)

        async def use() -> None:
            async with limit:
                await asyncio.sleep(1)

        await asyncio.gather(*(use() for _ in range(7)))
        return elapsed()

    assert stage.run(limiting()) == 3


def test_an_event_wakes_everybody(stage: Stage) -> None:
    @workflow
    async def signalling() -> list[str]:
        event, log = asyncio.Event(), list[str]()

        async def wait(name: str) -> None:
            await event.wait()
            log.append(name)

        tasks = [asyncio.create_task(wait(name)) for name in "abc"]
        await asyncio.sleep(1)
        event.set()
        await asyncio.gather(*tasks)
        return log

    assert stage.run(signalling()) == ["a", "b", "c"]


def test_a_condition_notifies_in_order(stage: Stage) -> None:
    @workflow
    async def notifying() -> list[str]:
        condition, log = asyncio.Condition(), list[str]()

        async def wait(name: str) -> None:
            async with condition:
                await condition.wait()
                log.append(name)

        tasks = [asyncio.create_task(wait(name)) for name in "abc"]
        await asyncio.sleep(1)
        async with condition:
            condition.notify(2)
        await asyncio.sleep(1)
        log.append("then")
        async with condition:
            condition.notify_all()
        await asyncio.gather(*tasks)
        return log

    assert stage.run(notifying()) == ["a", "b", "then", "c"]


def test_async_generators_run_and_clean_up(stage: Stage) -> None:
    @workflow
    async def generating() -> list[object]:
        log: list[object] = []

        async def ticks() -> AsyncGenerator[float, None]:
            try:
                while True:
                    await asyncio.sleep(1)
                    yield elapsed()
            finally:
                log.append(await echo("closed"))

        async with contextlib.aclosing(ticks()) as source:
            async for tick in source:
                log.append(tick)
                if tick == 2:
                    break
        return log

    play = stage.start(generating()).skip(2).asks('activity echo#1("closed")')
    play.answer("echo#1", "closed").completes([1.0, 2.0, "closed"])


def test_context_managers_and_exit_stacks_run(stage: Stage) -> None:
    @workflow
    async def managing() -> list[str]:
        log: list[str] = []

        @asynccontextmanager
        async def managed(name: str) -> AsyncGenerator[str, None]:
            await asyncio.sleep(1)
            log.append(f"+{name}")
            yield name
            await asyncio.sleep(1)
            log.append(f"-{name}")

        async with contextlib.AsyncExitStack() as stack:
            for name in "ab":
                await stack.enter_async_context(managed(name))
        return log

    assert stage.run(managing()) == ["+a", "+b", "-b", "-a"]


seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")


def test_context_variables_stay_within_their_task_and_run(stage: Stage) -> None:
    @workflow
    async def contextual(mine: str) -> list[str]:
        found = [seen.get()]
        seen.set(mine)

        async def inner() -> str:
            before = seen.get()
            seen.set("inner")
            await asyncio.sleep(1)
            return f"{before}, {seen.get()}"

        found.append(await asyncio.create_task(inner()))
        return [*found, seen.get()]

    token = seen.set("outside")
    try:
        first, second = stage.start(contextual("one")), stage.start(contextual("two"))
        first.skip(1).completes(["nothing", "one, inner", "one"])
        second.skip(1).completes(["nothing", "two, inner", "two"])
    finally:
        seen.reset(token)


def test_task_names_and_the_current_task_are_known(stage: Stage) -> None:
    @workflow
    async def naming() -> list[object]:
        current = asyncio.current_task()
        assert current is not None
        named = asyncio.create_task(asyncio.sleep(1), name="mine")
        found: list[object] = [current.get_name(), named.get_name(), len(asyncio.all_tasks())]
        await named
        return found

    assert stage.run(naming()) == ["naming", "mine", 2]


def test_callbacks_run_at_their_time(stage: Stage) -> None:
    @workflow
    async def calling() -> list[object]:
        loop, log = asyncio.get_running_loop(), list[object]()
        loop.call_later(2, lambda: log.append(elapsed()))
        loop.call_at(loop.time() + 1, log.append, "at")
        loop.call_later(1, log.append, "never").cancel()
        loop.call_soon(log.append, "soon")
        await asyncio.sleep(3)
        return log

    assert stage.run(calling()) == ["soon", "at", 2.0]


def test_a_day_is_a_timer_like_any_other(stage: Stage) -> None:
    @workflow
    async def month() -> float:
        for _ in range(30):
            await asyncio.sleep(86_400)
        return elapsed()

    began_s = time.monotonic()
    assert stage.run(month()) == 30 * 86_400
    assert time.monotonic() - began_s < 1


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 1e12])
def test_a_timer_beyond_the_calendar_waits_until_its_end(stage: Stage, seconds: float) -> None:
    @workflow
    async def forever() -> None:
        await asyncio.sleep(seconds)

    play = stage.start(forever()).goes_on("")
    timer = play.machine.next_timer
    assert timer is not None
    assert timer.due_us == 253_402_300_799_000_000


def test_a_negative_sleep_returns_at_once(stage: Stage) -> None:
    @workflow
    async def hasty() -> float:
        await asyncio.sleep(-5)
        asyncio.get_running_loop().call_at(0, lambda: None)
        await asyncio.sleep(0.000001)
        return elapsed()

    assert stage.run(hasty()) == 0.000001


def test_a_loop_that_never_waits_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    monkeypatch.setattr("monolite.core.loop.STEPS_MAX", 1_000)

    @workflow
    async def spinning() -> None:
        while True:
            await asyncio.sleep(0)

    stage.start(spinning()).fails(
        "RuntimeError: the workflow ran 1,000 steps without waiting for anything; "
        "replace the busy loop by an event, a signal or a sleep"
    )


def test_many_short_steps_are_no_busy_loop(stage: Stage) -> None:
    @workflow
    async def stepping() -> int:
        for _ in range(20_000):
            await asyncio.sleep(0)
        return 1

    stage.start(stepping()).completes(1)


# anyio.


def test_anyio_task_groups_start_calls_and_functions(stage: Stage) -> None:
    @workflow
    async def grouping() -> list[int]:
        found: list[int] = []

        async def run(number: int) -> None:
            found.append(await double(number))

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(run, number)
            group.start_soon(echo, "alone")
        return found

    play = stage.start(grouping())
    play.asks(*(f"activity double#{n + 1}({n})" for n in range(3)), 'activity echo#1("alone")')
    play.answer("double#1", 0).answer("double#2", 2).answer("double#3", 4).goes_on()
    play.answer("echo#1", "alone").completes([0, 2, 4])


def test_anyio_task_groups_can_wait_for_a_start(stage: Stage) -> None:
    @workflow
    async def starting() -> list[object]:
        log: list[object] = []

        async def service(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            await anyio.sleep(1)
            task_status.started("ready")
            await anyio.sleep(5)
            log.append(elapsed())

        async with anyio.create_task_group() as group:
            log.append(await group.start(service))
            log.append(elapsed())
        return log

    assert stage.run(starting()) == ["ready", 1.0, 6.0]


def test_anyio_time_limits_fire_in_virtual_time(stage: Stage) -> None:
    @workflow
    async def limiting() -> list[object]:
        with anyio.move_on_after(2) as scope:
            await anyio.sleep(50)
        log: list[object] = [scope.cancelled_caught, elapsed()]
        try:
            with anyio.fail_after(3):
                await anyio.sleep_forever()
        except TimeoutError:
            log.append(elapsed())
        with anyio.move_on_after(math.inf):
            await anyio.sleep(1)
        return [*log, elapsed()]

    assert stage.run(limiting()) == [True, 2.0, 5.0, 6.0]


def test_anyio_events_and_locks_work(stage: Stage) -> None:
    @workflow
    async def locking() -> list[str]:
        lock, event, log = anyio.Lock(), anyio.Event(), list[str]()

        async def use(name: str) -> None:
            await event.wait()
            async with lock:
                log.append(f"{name} at {elapsed()}")
                await anyio.sleep(1)

        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(use, name)
            await anyio.sleep(1)
            event.set()
        return log

    assert stage.run(locking()) == ["a at 1.0", "b at 2.0", "c at 3.0"]


def test_anyio_memory_streams_work(stage: Stage) -> None:
    @workflow
    async def streaming() -> list[int]:
        send, receive = anyio.create_memory_object_stream[int](1)
        found: list[int] = []

        async def produce() -> None:
            async with send:
                for number in range(4):
                    await send.send(number)

        async with anyio.create_task_group() as group:
            group.start_soon(produce)
            async with receive:
                found += [await double(number) async for number in receive]
        return found

    assert stage.run(streaming()) == [0, 2, 4, 6]


def test_anyio_capacity_limiters_and_semaphores_work(stage: Stage) -> None:
    @workflow
    async def limiting() -> list[float]:
        log: list[float] = []

        async def use(limit: anyio.CapacityLimiter | anyio.Semaphore) -> None:
            async with limit:
                await anyio.sleep(1)

        for limit in (anyio.CapacityLimiter(2), anyio.Semaphore(2)):
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(use, limit)
            log.append(elapsed())
        return log

    assert stage.run(limiting()) == [3.0, 6.0]


def test_anyio_conditions_work(stage: Stage) -> None:
    @workflow
    async def notifying() -> list[str]:
        condition, log = anyio.Condition(), list[str]()

        async def wait(name: str) -> None:
            async with condition:
                await condition.wait()
                log.append(name)

        async with anyio.create_task_group() as group:
            for name in "ab":
                group.start_soon(wait, name)
            await anyio.sleep(1)
            async with condition:
                condition.notify_all()
        return log

    assert stage.run(notifying()) == ["a", "b"]


def test_anyio_knows_the_time_and_the_backend(stage: Stage) -> None:
    @workflow
    async def asking() -> list[object]:
        await anyio.sleep_until(anyio.current_time() + 4)
        await anyio.lowlevel.checkpoint()
        return [elapsed(), f"{monolite.now():%S}", anyio.get_current_task().name]

    assert stage.run(asking()) == [4.0, "04", "asking"]


def test_a_workflow_can_mix_asyncio_and_anyio(stage: Stage) -> None:
    @workflow
    async def mixing() -> list[object]:
        log: list[object] = []
        async with asyncio.timeout(100), anyio.create_task_group() as group:
            queue: asyncio.Queue[int] = asyncio.Queue()
            group.start_soon(queue.put, 5)
            log.append(await queue.get())
            with anyio.move_on_after(3):
                log.append(await asyncio.wait_for(notes.receive(), 50))
            async with asyncio.TaskGroup() as inner:
                inner.create_task(double(1)).add_done_callback(lambda t: log.append(t.result()))
        return [*log, elapsed()]

    assert stage.run(mixing()) == [5, 2, 3.0]
