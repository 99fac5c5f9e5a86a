"""Failures: any exception becomes data, and comes back as itself where its class is known."""

from __future__ import annotations

import asyncio
import builtins
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monolite import activity, errors, register_exception
from monolite.core import failure
from monolite.core.failure import CAUSES_MAX, MESSAGE_CHARS_MAX, TRACEBACK_CHARS_MAX
from monolite.errors import MonoliteError, RemoteError


def there_and_back(error: BaseException) -> BaseException:
    """Return `error` as it comes out of the journal."""
    return failure.rebuild(failure.decode(failure.encode(failure.describe(error))))


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - to give it a traceback
        return caught


class Declined(Exception):
    """Registered below."""


class NeedsMore(Exception):
    """Cannot be built from its args."""

    def __init__(self, code: int, *, why: str) -> None:
        super().__init__(code, why, "more")
        self.code = code
        self.why = why
        self.kept = object()


class Overdrawn(Exception):
    """Can be built from its args, and says something else then."""

    def __init__(self, who: str) -> None:
        super().__init__(f"{who} is overdrawn")
        self.who = who


class Lossy(Exception):
    """Says what is no plain JSON."""

    def __init__(self, what: dict[int, int], place: int) -> None:
        super().__init__(place)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} at {self.args[0]}"


class Unregistered(Exception):
    pass


class NotAnException(BaseException):
    pass


register_exception(Declined, NeedsMore, NotAnException, Overdrawn, Lossy)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad", 3, None, True, 2.5),
        KeyError("missing"),
        ZeroDivisionError(),
        FileNotFoundError(2, "No such file", "x.txt"),
        TimeoutError("slow"),
        StopIteration(5),
        Declined("no money"),
        NotAnException("odd"),
        asyncio.CancelledError("stop"),
    ],
    ids=repr,
)
def test_a_known_class_comes_back_as_itself(error: BaseException) -> None:
    found = there_and_back(raised(error))
    if isinstance(error, (asyncio.CancelledError, StopIteration)):  # no future takes those
        assert isinstance(found, RemoteError)
        return
    assert type(found) is type(error)
    assert found.args == error.args
    assert str(found) == str(error)


def test_a_class_that_is_not_registered_comes_back_remote_with_its_name_and_text() -> None:
    found = there_and_back(raised(Unregistered("what", 3)))
    assert type(found) is RemoteError
    assert found.type_name.endswith("test_failure.Unregistered")
    assert found.message == "('what', 3)"
    assert str(found) == f"{found.type_name}: ('what', 3)"
    assert "in raised\n    raise error" in found.traceback


def test_a_remote_error_stays_what_it_was_when_it_travels_on() -> None:
    first = there_and_back(raised(Unregistered("what")))
    again = there_and_back(raised(first))
    assert type(again) is RemoteError
    assert isinstance(first, RemoteError)
    assert (again.type_name, again.message) == (first.type_name, first.message)
    assert str(again) == str(first)


def test_the_recorded_traceback_is_a_note() -> None:
    found = there_and_back(raised(ValueError("bad")))
    (note,) = found.__notes__
    assert note.startswith("Recorded traceback:\n")
    assert Path(__file__).name in note


def test_a_class_that_cannot_be_built_from_its_args_comes_back_with_its_attributes() -> None:
    found = there_and_back(raised(NeedsMore(3, why="because")))
    assert type(found) is NeedsMore
    assert found.args == (3, "because", "more")
    assert (found.code, found.why, hasattr(found, "kept")) == (3, "because", False)


def test_a_class_that_changes_its_args_says_what_the_original_said() -> None:
    found = there_and_back(raised(Overdrawn("alice")))
    assert type(found) is Overdrawn
    assert (str(found), found.who) == ("alice is overdrawn", "alice")


def test_a_class_that_cannot_say_the_same_without_what_was_lost_comes_back_remote() -> None:
    found = there_and_back(raised(Lossy({1: 2}, 3)))
    assert isinstance(found, RemoteError)
    assert found.type_name.endswith("Lossy")
    assert found.message == "{1: 2} at 3"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("stop"), GeneratorExit()])
def test_what_would_end_the_process_comes_back_remote(error: BaseException) -> None:
    found = there_and_back(raised(error))
    assert isinstance(found, RemoteError)
    assert found.type_name == type(error).__name__


def test_an_exception_group_comes_back_remote_with_all_its_tracebacks() -> None:
    parts = [raised(ValueError("one")), raised(Unregistered("two"))]
    group = BaseExceptionGroup("several", parts)
    found = there_and_back(raised(group))
    assert isinstance(found, RemoteError)
    assert found.type_name == "ExceptionGroup"
    assert found.message == "several (2 sub-exceptions) [ValueError: one; Unregistered: two]"
    assert "ValueError: one" in found.traceback
    assert "Unregistered: two" in found.traceback


# Exceptions whose own code misbehaves.


class BrokenText(Exception):
    def __str__(self) -> str:
        msg = "no text"
        raise ValueError(msg)

    __repr__ = __str__


class ExitingText(Exception):
    def __str__(self) -> str:
        raise SystemExit


class TextIsNone(Exception):
    def __str__(self) -> str:
        return None  # type: ignore[return-value] # noqa: PLE0307 # pyright: ignore[reportReturnType]


class Odd:
    def __repr__(self) -> str:
        msg = "no repr"
        raise ValueError(msg)


class StrangeModule(Exception):
    pass


StrangeModule.__module__ = None  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]


def _no_args(_error: object) -> object:
    msg = "no args"
    raise ValueError(msg)


class BrokenArgs(Exception):
    pass


type.__setattr__(BrokenArgs, "args", property(_no_args))


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class BrokenFields(MonoliteError):
    def fields(self) -> dict[str, Any]:
        msg = "no fields"
        raise ValueError(msg)


class OddFields(MonoliteError):
    def fields(self) -> dict[str, Any]:
        return {"thing": object(), "text": "\ud800", "big": 2**70}


class CauseIsText(MonoliteError):
    cause = "a text"


ODD: list[BaseException] = [
    BrokenText("x"),
    ExitingText("x"),
    TextIsNone("x"),
    StrangeModule("x"),
    BrokenArgs("x"),
    BrokenFields("x"),
    OddFields("x"),
    CauseIsText("x"),
    ValueError(Odd()),
    ValueError("\ud800 lone surrogate"),
    ValueError(float("nan"), float("inf")),
    ValueError(2**70),
    ValueError(Text("text"), Number(3)),
    ValueError(b"bytes", object(), [1]),
    ValueError(*range(100_000)),
    ValueError(*["x" * 10_000] * 5_000),
    errors.PayloadInvalid("\ud800", "\udfff"),
    errors.Rejected("x" * 1_000_000),
    errors.Cancelled("\ud800", "x" * 50_000_000),
    type("D\u00e9clin\u00e9 \U0001f600", (Exception,), {})("x"),
    type("x" * 100_000, (Exception,), {})("x"),
]


@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__[:30])
def test_whatever_an_exception_does_it_becomes_data_and_comes_back(error: BaseException) -> None:
    text = failure.encode(failure.describe(raised(error)))
    assert len(text) < 1_000_000
    found = there_and_back(raised(error))
    assert isinstance(found, Exception)
    text.encode()
    str(found).encode()


def test_a_broken_text_says_so() -> None:
    found = there_and_back(raised(BrokenText("x")))
    assert isinstance(found, RemoteError)
    assert found.message == "<its __str__ raised ValueError>"


def test_a_huge_message_is_cut() -> None:
    described = failure.describe(raised(ValueError("x" * 1_000_000)))
    assert described.message == "x" * MESSAGE_CHARS_MAX + "..."
    assert described.args == ["x" * MESSAGE_CHARS_MAX + "..."]


def test_a_long_traceback_is_cut() -> None:
    def recurse(depth: int) -> None:
        if depth == 0:
            msg = "deep"
            raise ValueError(msg)
        _other(depth)

    def _other(depth: int) -> None:
        recurse(depth - 1)

    with pytest.raises(ValueError, match="deep") as caught:
        recurse(300)
    described = failure.describe(caught.value)
    assert len(described.traceback) <= TRACEBACK_CHARS_MAX + 3


# Causes.


def test_causes_come_back_with_their_exceptions() -> None:
    try:
        try:
            msg = "inner"
            raise KeyError(msg)
        except KeyError as inner:
            msg = "outer"
            raise ValueError(msg) from inner
    except ValueError as error:
        found = there_and_back(error)
    assert isinstance(found, ValueError)
    assert isinstance(found.__cause__, KeyError)
    assert found.__cause__.__cause__ is None


def test_a_long_chain_of_causes_is_cut() -> None:
    error = ValueError("0")
    for number in range(1, 100):
        following = ValueError(str(number))
        following.__cause__ = error
        error = following
    found: BaseException | None = there_and_back(error)
    texts: list[str] = []
    while found is not None:
        texts.append(str(found))
        found = found.__cause__
    assert texts == [str(number) for number in range(99, 98 - CAUSES_MAX, -1)]


def test_a_cycle_of_causes_is_cut() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    found: BaseException | None = there_and_back(first)
    seen = 0
    while found is not None:
        seen += 1
        found = found.__cause__
    assert seen == CAUSES_MAX + 1


# Our own exceptions.

OURS: list[MonoliteError] = [
    MonoliteError("plain"),
    errors.Misused("you did"),
    errors.PayloadInvalid("arguments of pay", "is nan"),
    errors.NotDurable("open('x')"),
    errors.UnknownWorkflow("no run"),
    errors.UnknownSchedule("no schedule"),
    errors.AlreadyExists("a run"),
    errors.Rejected("no"),
    errors.RemoteError("app.Declined", "no money", "Traceback ..."),
    errors.WorkflowFailed("order-1", ValueError("bad")),
    errors.ActivityFailed("charge", 3, ValueError("bad")),
    errors.ActivityTimedOut("start-to-close", "charge", 2, limit_s=1.5),
    errors.ProcessDied("charge", None, "SIGSEGV", "100 MB"),
    errors.ProcessDied("charge", 3),
    errors.ActivityTimedOut("schedule-to-start", "charge", 0, limit_s=60),
    errors.Interrupted("charge"),
    errors.RetryAfter(1.5),
    errors.RetryAfter("30s", ValueError("busy")),
    errors.Cancelled("order-1", "enough"),
    errors.Terminated("order-1", "enough"),
    errors.Diverged("a", "b", "order-1 entry 3"),
    errors.FileOwned("app.db", "process 3"),
    errors.FileTooNew("app.db", 9, 1),
    errors.FileForeign("not ours"),
    errors.FileDamaged("broken"),
    errors.Fenced(1, 2, "process 3"),
    errors.StorageFull("full"),
    errors.CommitUnknown("who knows"),
]


def _fields(error: object) -> dict[str, Any]:
    return {
        name: repr(value)
        for name, value in vars(error).items()
        if not name.startswith("__") and value is not error
    }


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
def test_our_own_exceptions_come_back_whole(error: MonoliteError) -> None:
    found = there_and_back(raised(error))
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert _fields(found) == _fields(error)


def test_every_exception_of_ours_is_tried() -> None:
    known = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, MonoliteError)
    }
    assert known - {type(error) for error in OURS} == set()


def test_a_class_named_in_raises_is_registered() -> None:
    class Late(Exception):
        pass

    assert isinstance(there_and_back(raised(Late("x"))), RemoteError)

    @activity(raises=(Late,))
    async def late() -> None: ...

    assert late.name == "late"
    assert type(there_and_back(raised(Late("x")))) is Late


def test_a_builtin_that_is_no_exception_is_not_built() -> None:
    text = '{"type":"print","module":"builtins","message":"hello","args":["hello"]}'
    assert isinstance(failure.rebuild(failure.decode(text)), RemoteError)
    for name in ("eval", "SystemExit", "BaseException", "nothing"):
        data = {"type": name, "module": "builtins", "message": "1", "args": ["1"]}
        found = failure.rebuild(failure.decode(msgspec.json.encode(data).decode()))
        assert isinstance(found, RemoteError)


@pytest.mark.parametrize(
    "fields", [{}, {"id": 3, "unknown": 4}, {"limit_s": "x"}, {"kind": None}, None]
)
def test_a_damaged_record_of_ours_comes_back_as_some_exception(fields: Any) -> None:
    for name in vars(errors):
        data = {"type": name, "module": "monolite.errors", "message": "text", "fields": fields}
        found = failure.rebuild(failure.decode(msgspec.json.encode(data).decode()))
        assert isinstance(found, Exception)


def test_text_that_is_no_failure_is_invalid() -> None:
    with pytest.raises(errors.PayloadInvalid, match="recorded failure: cannot be read"):
        failure.decode("[]")


def test_every_builtin_exception_travels() -> None:
    for value in vars(builtins).values():
        if isinstance(value, type) and issubclass(value, BaseException):
            for args in ((), ("text",), (1, "text")):
                try:
                    error = value(*args)
                except TypeError:
                    continue
                found = there_and_back(raised(error))
                assert isinstance(found, (value, RemoteError))


@given(st.text(), st.text(), st.text())
def test_any_text_travels(type_name: str, message: str, traceback: str) -> None:
    error = RemoteError(type_name, message, traceback)
    found = there_and_back(error)
    assert isinstance(found, RemoteError)
