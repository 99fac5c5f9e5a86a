"""Retries: a failed attempt is recorded, waits its back-off, and the number is bounded."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import anyio
import pytest

from monolite import Retry, RetryAfter, activity, attempt, errors, workflow
from tests.host.clocks import START, ManualClock
from tests.host.homes import Home, waits_on
from tests.host.loops import on_both_loops

AT_ONCE = Retry(first_delay=0)


class CardDeclined(Exception):
    """A failure that another attempt will not cure."""


class Busy(Exception):
    """A failure that another attempt may cure; not registered."""


@on_both_loops
async def test_a_failed_attempt_is_recorded_and_run_again(home: Home) -> None:
    numbers: list[int] = []

    @activity(retry=AT_ONCE)
    async def flaky() -> str:
        numbers.append(attempt().number)
        if len(numbers) < 3:
            message = f"not yet, {len(numbers)}"
            raise Busy(message)
        return "at last"

    @workflow
    async def patient() -> str:
        return await flaky()

    async with home.runtime(patient) as rt:
        run = await rt.spawn(patient())
        assert await run.result() == "at last"
        history = await run.history()

    assert numbers == [1, 2, 3]
    failed = [(x.key, x.input, x.error) for x in history if x.kind == "attempt failed"]
    assert failed == [
        ("flaky#1", 1, "Busy: not yet, 1"),
        ("flaky#1", 2, "Busy: not yet, 2"),
    ]
    assert [x.output for x in history if x.kind == "activity"] == ["at last"]


@on_both_loops
async def test_five_attempts_are_all_there_are_by_default(home: Home, clock: ManualClock) -> None:
    numbers: list[int] = []

    @activity
    async def hopeless() -> None:
        numbers.append(attempt().number)
        message = "no"
        raise ValueError(message)

    @workflow
    async def stubborn() -> str:
        with pytest.raises(errors.ActivityFailed) as caught:
            await hopeless()
        failed = caught.value
        assert isinstance(failed.cause, ValueError)
        assert failed.__cause__ is failed.cause
        return f"{failed.name} {failed.attempts} {failed.cause}"

    async with home.runtime(stubborn, clock=clock) as rt:
        run = await rt.spawn(stubborn())
        for number in range(2, 6):
            info = await waits_on(run, f"retrying hopeless, attempt {number} at ")
            assert info.status == "waiting"
            await clock.skip(rt, "1m")
        assert await run.result() == "hopeless 5 no"

    assert numbers == [1, 2, 3, 4, 5]


async def test_an_uncaught_failure_of_an_activity_fails_the_run(home: Home) -> None:
    @activity(retry=False)
    async def hopeless() -> None:
        message = "no"
        raise ValueError(message)

    @workflow
    async def trusting() -> None:
        await hopeless()

    async with home.runtime(trusting) as rt:
        run = await rt.spawn(trusting(), id="trusting")
        with pytest.raises(errors.WorkflowFailed) as failed:
            await run.result()
        info = await run.describe()

    assert failed.value.id == "trusting"
    assert isinstance(failed.value.cause, errors.ActivityFailed)
    assert failed.value.cause.attempts == 1
    assert isinstance(failed.value.cause.cause, ValueError)
    assert info.status == "failed"
    assert info.error is not None
    assert "no" in info.error


async def test_the_wait_grows_up_to_its_bound(home: Home, clock: ManualClock) -> None:
    @activity(retry=Retry(max_attempts=5, first_delay=1, backoff=2, max_delay=3, jitter=0))
    async def hopeless() -> None:
        raise Busy

    @workflow
    async def stubborn() -> None:
        await hopeless()

    waits_s: list[float] = []
    async with home.runtime(stubborn, clock=clock) as rt:
        run = await rt.spawn(stubborn())
        for number in range(2, 6):
            info = await waits_on(run, f"attempt {number} at ")
            assert info.waiting_on is not None
            due = datetime.fromisoformat(info.waiting_on.rpartition(" ")[2])
            now = START + timedelta(seconds=sum(waits_s))
            waits_s.append((due - now).total_seconds())
            await clock.skip(rt, waits_s[-1])
        with pytest.raises(errors.WorkflowFailed):
            await run.result()

    assert waits_s == [1, 2, 3, 3]


async def test_no_attempt_comes_before_its_time(home: Home, clock: ManualClock) -> None:
    numbers: list[int] = []

    @activity(retry=Retry(first_delay=10, jitter=0))
    async def flaky() -> None:
        numbers.append(attempt().number)
        if len(numbers) == 1:
            raise Busy

    @workflow
    async def patient() -> None:
        await flaky()

    async with home.runtime(patient, clock=clock) as rt:
        run = await rt.spawn(patient())
        waiting = await waits_on(run, "attempt 2 at ")
        await clock.skip(rt, 9.999)
        assert (await run.describe()).waiting_on == waiting.waiting_on
        assert numbers == [1]
        await clock.skip(rt, 0.001)
        await run.result()

    assert numbers == [1, 2]


@pytest.mark.parametrize(("retry", "expected"), [(False, 1), (1, 1), (3, 3), (Retry(2), 2)])
async def test_a_call_may_have_its_own_bound(
    home: Home, clock: ManualClock, retry: Retry | int | bool, expected: int
) -> None:
    numbers: list[int] = []

    @activity
    async def hopeless() -> None:
        numbers.append(attempt().number)
        raise Busy

    @workflow
    async def stubborn() -> int:
        with pytest.raises(errors.ActivityFailed) as caught:
            await hopeless().options(retry=retry)
        return caught.value.attempts

    async with home.runtime(stubborn, clock=clock) as rt:
        run = await rt.spawn(stubborn())
        for number in range(2, expected + 1):
            await waits_on(run, f"attempt {number} at ")
            await clock.skip(rt, "1m")
        assert await run.result() == expected

    assert numbers == list(range(1, expected + 1))


async def test_without_a_bound_it_goes_on(home: Home) -> None:
    numbers: list[int] = []

    @activity(retry=Retry(None, first_delay=0))
    async def flaky() -> int:
        numbers.append(attempt().number)
        if len(numbers) < 50:
            raise Busy
        return attempt().number

    @workflow
    async def patient() -> int:
        return await flaky()

    async with home.runtime(patient) as rt:
        assert await (await rt.spawn(patient())).result() == 50

    assert numbers == list(range(1, 51))


@pytest.mark.parametrize("by_predicate", [False, True])
async def test_what_is_not_retryable_ends_at_once_and_comes_back_as_itself(
    home: Home, by_predicate: bool
) -> None:
    numbers: list[int] = []

    def is_declined(error: BaseException) -> bool:
        return isinstance(error, CardDeclined)

    retry = Retry(
        first_delay=0, non_retryable=is_declined if by_predicate else (CardDeclined, KeyError)
    )

    @activity(retry=retry, raises=(CardDeclined,))
    async def charge() -> None:
        numbers.append(attempt().number)
        if len(numbers) == 1:
            raise Busy
        message = "card 42"
        raise CardDeclined(message)

    @workflow
    async def order() -> str:
        with pytest.raises(errors.ActivityFailed) as caught:
            await charge()
        assert type(caught.value.cause) is CardDeclined
        return f"{caught.value.attempts} {caught.value.cause}"

    async with home.runtime(order) as rt:
        assert await (await rt.spawn(order())).result() == "2 card 42"

    assert numbers == [1, 2]


async def test_a_predicate_that_raises_ends_the_retries_and_says_so(home: Home) -> None:
    numbers: list[int] = []

    def broken(error: BaseException) -> bool:
        message = "the predicate is broken"
        raise LookupError(message)

    @activity(retry=Retry(first_delay=0, non_retryable=broken))
    async def hopeless() -> None:
        numbers.append(attempt().number)
        message = "what the activity raised"
        raise ValueError(message)

    @workflow
    async def order() -> str:
        with pytest.raises(errors.ActivityFailed) as caught:
            await hopeless()
        return f"{caught.value.cause} <- {caught.value.cause.__cause__}"

    async with home.runtime(order) as rt:
        found = await (await rt.spawn(order())).result()

    assert found == "the predicate is broken <- what the activity raised"
    assert numbers == [1]


async def test_an_activity_to_run_at_most_once_is_not_retried(home: Home) -> None:
    numbers: list[int] = []

    @activity(at_most_once=True, retry=AT_ONCE)
    async def hopeless() -> None:
        numbers.append(attempt().number)
        raise Busy

    @workflow
    async def order() -> int:
        with pytest.raises(errors.ActivityFailed) as caught:
            await hopeless()
        assert not isinstance(caught.value, errors.Interrupted)
        return caught.value.attempts

    async with home.runtime(order) as rt:
        assert await (await rt.spawn(order())).result() == 1

    assert numbers == [1]


async def test_a_function_in_a_thread_is_retried_too(home: Home) -> None:
    numbers: list[int] = []

    @activity(retry=AT_ONCE)
    def flaky() -> int:
        numbers.append(attempt().number)
        if len(numbers) < 3:
            raise Busy
        return attempt().number

    @workflow
    async def patient() -> int:
        return await flaky()

    async with home.runtime(patient) as rt:
        assert await (await rt.spawn(patient())).result() == 3

    assert numbers == [1, 2, 3]


async def test_activities_of_one_run_are_retried_each_on_its_own(
    home: Home, clock: ManualClock
) -> None:
    seen: list[tuple[str, int]] = []

    @activity(retry=Retry(first_delay=10, jitter=0))
    async def flaky(name: str, failures: int) -> str:
        seen.append((name, attempt().number))
        if attempt().number <= failures:
            raise Busy
        return name

    @workflow
    async def both() -> list[str]:
        slow = flaky("slow", 1).options(retry=Retry(first_delay=30, jitter=0))
        return list(await asyncio.gather(flaky("quick", 1), slow, flaky("sound", 0)))

    async with home.runtime(both, clock=clock) as rt:
        run = await rt.spawn(both())
        await waits_on(run, "retrying flaky, attempt 2 at 2030-01-01T00:00:10.000+00:00, flaky,")
        await clock.skip(rt, 10)
        await waits_on(run, "retrying flaky, attempt 2 at 2030-01-01T00:00:30.000+00:00")
        await clock.skip(rt, 20)
        assert await run.result() == ["quick", "slow", "sound"]

    assert sorted(seen) == [
        ("quick", 1),
        ("quick", 2),
        ("slow", 1),
        ("slow", 2),
        ("sound", 1),
    ]


async def test_back_off_and_count_outlive_the_runtime(home: Home, clock: ManualClock) -> None:
    seen: list[tuple[int, bool]] = []

    @activity(retry=Retry(3, first_delay=60, jitter=0))
    async def hopeless() -> None:
        seen.append((attempt().number, attempt().interrupted))
        raise Busy

    @workflow
    async def stubborn() -> int:
        with pytest.raises(errors.ActivityFailed) as caught:
            await hopeless()
        return caught.value.attempts

    async with home.runtime(stubborn, clock=clock) as rt:
        first = await waits_on(await rt.spawn(stubborn(), id="s"), "attempt 2 at ")

    clock.advance(30)
    async with home.runtime(stubborn, clock=clock) as rt:
        second = await rt.handle("s").describe()
        assert second.waiting_on == first.waiting_on
        await clock.skip(rt, 30)
        await waits_on(rt.handle("s"), "attempt 3 at ")

    async with home.runtime(stubborn, clock=clock) as rt:
        await clock.skip(rt, 120)
        assert await rt.handle("s").result() == 3

    assert seen == [(1, False), (2, False), (3, False)]


async def test_a_retry_waits_without_holding_up_the_others(home: Home, clock: ManualClock) -> None:
    done = anyio.Event()

    @activity(retry=Retry(first_delay="1h", jitter=0))
    async def flaky() -> None:
        if attempt().number == 1:
            raise Busy
        done.set()

    @activity
    async def sound() -> str:
        return "done"

    @workflow
    async def slow() -> None:
        await flaky()

    @workflow
    async def quick() -> str:
        return await sound()

    async with home.runtime(slow, quick, clock=clock) as rt:
        run = await rt.spawn(slow())
        await waits_on(run, "attempt 2 at ")
        assert await (await rt.spawn(quick())).result() == "done"
        assert not done.is_set()
        await clock.skip(rt, "1h")
        await run.result()

    assert done.is_set()


# When the failure knows when to try again.


async def test_the_failure_may_say_when_to_try_again(home: Home, clock: ManualClock) -> None:
    @activity(retry=Retry(3, first_delay=1, jitter=0))
    async def limited() -> int:
        match attempt().number:
            case 1:
                raise RetryAfter("30s")
            case 2:
                raise RetryAfter(timedelta(minutes=2), Busy("429"))
            case number:
                return number

    @workflow
    async def patient() -> int:
        return await limited()

    async with home.runtime(patient, clock=clock) as rt:
        run = await rt.spawn(patient())
        for number, wait_s in ((2, 30), (3, 120)):
            info = await waits_on(run, f"attempt {number} at ")
            due = datetime.fromisoformat((info.waiting_on or "").rpartition(" ")[2])
            assert due.timestamp() * 1_000_000 - clock.now_us() == wait_s * 1_000_000
            await clock.skip(rt, wait_s)
        assert await run.result() == 3
        failed = [x.error for x in await run.history() if x.kind == "attempt failed"]

    assert failed == ["RetryAfter: try again after 30s", "Busy: 429"]


async def test_it_counts_as_an_attempt_and_its_cause_is_the_failure(home: Home) -> None:
    @activity(retry=Retry(2, first_delay="1h", non_retryable=(Busy,)))
    async def limited() -> int:
        raise RetryAfter(0, CardDeclined("later"))

    @workflow
    async def patient() -> str:
        with pytest.raises(errors.ActivityFailed) as caught:
            await limited()
        return f"{caught.value.attempts} {caught.value.cause}"

    async with home.runtime(patient) as rt:
        said = await (await rt.spawn(patient())).result()

    assert said.startswith("2 ")
    assert said.endswith("later")


async def test_a_delay_that_is_none_fails_the_activity_and_says_so(home: Home) -> None:
    @activity
    async def limited() -> int:
        raise RetryAfter("soon")

    @workflow
    async def patient() -> str:
        with pytest.raises(errors.ActivityFailed) as caught:
            await limited()
        return f"{caught.value.attempts} {caught.value.cause}"

    async with home.runtime(patient) as rt:
        said = await (await rt.spawn(patient())).result()

    assert said.startswith("1 RetryAfter.delay 'soon' is not a duration")


async def test_a_call_may_have_its_own_kinds_that_are_not_retried(home: Home) -> None:
    numbers: list[int] = []

    @activity(retry=AT_ONCE)
    async def declined() -> None:
        numbers.append(attempt().number)
        raise CardDeclined

    @workflow
    async def patient() -> None:
        await declined().options(retry=Retry(non_retryable=lambda x: isinstance(x, CardDeclined)))

    async with home.runtime(patient) as rt:
        with pytest.raises(errors.WorkflowFailed):
            await (await rt.spawn(patient())).result()

    assert numbers == [1]
