"""What an activity raised comes back to the workflow, and what a workflow raised to its caller."""

from __future__ import annotations

import pytest

from monolite import activity, errors, register_exception, workflow
from tests.host import gate
from tests.host.homes import Home
from tests.host.loops import on_both_loops


class Declined(Exception):
    """Named in `raises`."""


class Refused(ValueError):
    """Registered."""


register_exception(Refused)


class Unregistered(Exception):
    """Known to nobody."""


class Particular(Exception):
    """Registered, but its constructor wants more than its args hold."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}")
        self.hint = hint


class Speechless(Exception):
    """Its message cannot be had."""

    def __str__(self) -> str:
        raise LookupError


@activity(retry=False, raises=(Declined, Particular, Speechless))
async def fail(kind: str) -> None:
    match kind:
        case "declined":
            raise Declined("card", 42, None)
        case "refused":
            raise Refused("registered", 1.5)
        case "built-in":
            raise FileNotFoundError(2, "No such file", "x.txt")
        case "unregistered":
            raise Unregistered("nobody", "knows me")
        case "particular":
            raise Particular(7, hint="none")
        case "speechless":
            raise Speechless("kept in args")
        case "caused":
            raise Declined("on top") from Unregistered("below")
        case _:
            raise AssertionError(kind)


@activity(retry=False, raises=(Declined,))
def fail_in_a_thread() -> None:
    raise Declined("from a thread")


async def caught(call_kind: str) -> errors.ActivityFailed:
    """Await a failing activity and return what it raised, in a workflow."""
    with pytest.raises(errors.ActivityFailed) as found:
        await fail(call_kind)
    return found.value


@on_both_loops
async def test_a_class_named_in_raises_comes_back_as_itself(home: Home) -> None:
    @workflow
    async def order() -> str:
        cause = (await caught("declined")).cause
        assert type(cause) is Declined
        return repr(cause)

    async with home.runtime(order) as rt:
        assert await (await rt.spawn(order())).result() == "Declined('card', 42, None)"


async def test_a_registered_class_comes_back_as_itself(home: Home) -> None:
    @workflow
    async def order() -> str:
        cause = (await caught("refused")).cause
        assert type(cause) is Refused
        return repr(cause)

    async with home.runtime(order) as rt:
        assert await (await rt.spawn(order())).result() == "Refused('registered', 1.5)"


async def test_a_built_in_class_comes_back_as_itself(home: Home) -> None:
    @workflow
    async def order() -> list[str | int | None]:
        cause = (await caught("built-in")).cause
        assert type(cause) is FileNotFoundError
        return [cause.errno, cause.strerror, str(cause.filename)]

    async with home.runtime(order) as rt:
        assert await (await rt.spawn(order())).result() == [2, "No such file", "x.txt"]


async def test_a_class_whose_constructor_wants_more_comes_back_with_its_attributes(
    home: Home,
) -> None:
    @workflow
    async def order() -> str:
        cause = (await caught("particular")).cause
        assert type(cause) is Particular
        return f"{cause}, {cause.hint}"

    async with home.runtime(order) as rt:
        assert await (await rt.spawn(order())).result() == "code 7, none"


async def test_from_a_thread_too(home: Home) -> None:
    @workflow
    async def order() -> str:
        with pytest.raises(errors.ActivityFailed) as found:
            await fail_in_a_thread()
        return repr(found.value.cause)

    async with home.runtime(order) as rt:
        assert await (await rt.spawn(order())).result() == "Declined('from a thread')"


@pytest.mark.parametrize(
    ("kind", "type_name", "message"),
    [
        ("unregistered", "Unregistered", "('nobody', 'knows me')"),
    ],
)
async def test_other_classes_come_back_with_their_name_message_and_traceback(
    home: Home, kind: str, type_name: str, message: str
) -> None:
    @workflow
    async def order() -> str:
        cause = (await caught(kind)).cause
        assert isinstance(cause, errors.RemoteError)
        assert cause.type_name == f"{__name__}.{type_name}"
        assert cause.message == message
        assert "in fail\n" in cause.traceback
        return str(cause)

    async with home.runtime(order) as rt:
        found = await (await rt.spawn(order())).result()

    assert found == f"{__name__}.{type_name}: {message}"


async def test_the_recorded_traceback_is_a_note_of_what_comes_back(home: Home) -> None:
    @workflow
    async def order() -> str:
        cause = (await caught("declined")).cause
        return "".join(cause.__notes__)

    async with home.runtime(order) as rt:
        note = await (await rt.spawn(order())).result()

    assert "Recorded traceback" in note
    assert "in fail\n" in note


async def test_a_cause_comes_back_below_what_it_caused(home: Home) -> None:
    @workflow
    async def order() -> str:
        top = (await caught("caused")).cause
        assert type(top) is Declined
        below = top.__cause__
        assert isinstance(below, errors.RemoteError)
        return below.message

    async with home.runtime(order) as rt:
        assert await (await rt.spawn(order())).result() == "below"


async def test_a_registered_class_without_a_message_is_still_an_activity_s_failure(
    home: Home,
) -> None:
    @workflow
    async def order() -> int:
        failed = await caught("speechless")
        assert type(failed.cause) is Speechless
        return failed.attempts

    async with home.runtime(order) as rt:
        assert await (await rt.spawn(order())).result() == 1


async def test_a_workflow_s_failure_reaches_who_asks_for_its_result(home: Home) -> None:
    @workflow
    async def order() -> None:
        raise Declined("card", 42)

    async with home.runtime(order) as rt:
        run = await rt.spawn(order(), id="order-1")
        for _ in range(2):
            with pytest.raises(errors.WorkflowFailed, match=r"order-1.*Declined") as found:
                await run.result()
            assert type(found.value.cause) is Declined
            assert found.value.cause.args == ("card", 42)
            assert found.value.__cause__ is found.value.cause
        assert (await run.describe()).error == "Declined: ('card', 42)"


async def test_a_workflow_s_failure_without_a_message_reaches_who_asks_too(home: Home) -> None:
    @workflow
    async def order() -> None:
        raise Speechless("kept in args")

    async with home.runtime(order) as rt:
        run = await rt.spawn(order())
        with pytest.raises(errors.WorkflowFailed) as found:
            await run.result()

    assert type(found.value.cause) is Speechless


async def test_a_remote_error_keeps_its_name_on_its_way_up(home: Home) -> None:
    @workflow
    async def child() -> None:
        raise (await caught("unregistered")).cause

    @workflow
    async def parent() -> None:
        await child()

    async with home.runtime(parent, child) as rt:
        run = await rt.spawn(parent())
        with pytest.raises(errors.WorkflowFailed) as found:
            await run.result()

    below = found.value.cause
    assert isinstance(below, errors.WorkflowFailed)
    assert isinstance(below.cause, errors.RemoteError)
    assert below.cause.type_name == f"{__name__}.Unregistered"
    assert "in fail\n" in below.cause.traceback


async def test_a_replay_sees_the_same_failure(home: Home) -> None:
    @workflow
    async def order() -> list[str]:
        seen = [repr((await caught(kind)).cause) for kind in ("declined", "refused", "built-in")]
        remote = (await caught("unregistered")).cause
        assert isinstance(remote, errors.RemoteError)
        assert "in fail\n" in remote.traceback
        await gate.wait_for_it()
        return [*seen, remote.message]

    async with home.runtime(order) as rt:
        run = await rt.spawn(order(), id="order")
        await gate.reached(run)

    async with home.runtime(order) as rt:
        await gate.open(rt.handle("order"))
        assert await rt.handle("order").result() == [
            "Declined('card', 42, None)",
            "Refused('registered', 1.5)",
            "FileNotFoundError(2, 'No such file')",
            "('nobody', 'knows me')",
        ]
