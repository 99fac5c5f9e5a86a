"""Failures: exceptions as data, so that they survive a crash and cross processes.

Never pickle. An exception comes back as its own class when that class is one of monolite's, a
built-in, or was registered (`register_exception`, or named in a definition's `raises` or
`Retry(non_retryable=...)`); otherwise as `RemoteError` with its type name, message, traceback.
"""

from __future__ import annotations

import builtins
import contextlib
import math
import traceback as tb
from typing import Any

import msgspec

from monolite import errors
from monolite.core.payload import PAYLOAD_BYTES_MAX
from monolite.errors import MonoliteError, PayloadInvalid, RemoteError

MESSAGE_CHARS_MAX = 10_000
TRACEBACK_CHARS_MAX = 20_000
RECORDED = "Recorded traceback:\n"
"""How the note begins that gives a rebuilt exception its traceback."""

NAME_CHARS_MAX = 500
ARGS_MAX = 16
MEMBERS_MAX = 3
"""Members of an exception group that its text names."""

CAUSES_MAX = 8
"""Longer chains of causes say nothing new and would let one failure fill the journal."""


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One exception as data."""

    type: str
    module: str
    message: str
    args: list[Any] | None = None
    fields: dict[str, Any] | None = None
    traceback: str = ""
    cause: Failure | None = None

    def summary(self) -> str:
        """Return "Type: message", as a traceback's last line would."""
        return f"{self.type}: {self.message}" if self.message else self.type


_registered: dict[tuple[str, str], type[BaseException]] = {}
_decoder = msgspec.json.Decoder(Failure)


def register_exception(*classes: type[BaseException]) -> None:
    """Let exceptions of these classes come back as themselves after a crash.

    Each is built again from its `args` and attributes, as far as they are text, numbers, bools
    or None: as `cls(*args)` if that says the same as the original, else without `__init__`.
    """
    for cls in classes:
        _registered[cls.__module__, cls.__qualname__] = cls


def describe(error: BaseException, depth: int = 0) -> Failure:
    """Return `error` as data; never raises, whatever the exception's own code does."""
    if isinstance(error, RemoteError):
        return _described_remote(error)
    cls = type(error)
    ours = isinstance(error, MonoliteError) and cls.__module__ == errors.__name__
    cause = error.__cause__
    if cause is None and ours:
        cause = getattr(error, "cause", None)
    keep = cause is not None and cause is not error and depth < CAUSES_MAX
    return Failure(
        type=_clean(cls.__qualname__, NAME_CHARS_MAX),
        module=_clean(str(cls.__module__), NAME_CHARS_MAX),
        message=_text(error) + _members(error),
        args=_plain_args(error),
        fields=_fields(error) if ours else _attributes(error),
        traceback=_traceback(error),
        cause=describe(cause, depth + 1) if keep and cause is not None else None,
    )


def _described_remote(error: RemoteError) -> Failure:
    """Return what a remote error stands for, so that it travels on under its own name."""
    module, _, type_ = error.type_name.rpartition(".")
    return Failure(
        type=_clean(type_, NAME_CHARS_MAX),
        module=_clean(module or "builtins", NAME_CHARS_MAX),
        message=_clean(error.message, MESSAGE_CHARS_MAX),
        traceback=_clean(error.traceback, TRACEBACK_CHARS_MAX),
    )


def _clean(text: str, limit: int) -> str:
    """Return `text` as valid Unicode of bounded length."""
    short = text[:limit].encode("utf-8", "backslashreplace").decode()
    return short if len(text) <= limit else short + "..."


def _members(error: BaseException) -> str:
    """Return what an exception group holds, or nothing: its own message names none of it."""
    try:
        members: tuple[BaseException, ...] = getattr(error, "exceptions", ())
        if not issubclass(type(error), BaseExceptionGroup):
            return ""
        shown = [f"{type(m).__qualname__}: {_text(m)}{_members(m)}" for m in members[:MEMBERS_MAX]]
        more = ["..."] if len(members) > MEMBERS_MAX else []
        return _clean(f" [{'; '.join(shown + more)}]", MESSAGE_CHARS_MAX)
    except Exception:  # noqa: BLE001 - members may be anything, and nest for ever
        return ""


def _text(error: BaseException) -> str:
    try:
        return _clean(str(error), MESSAGE_CHARS_MAX)
    except BaseException as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"<its __str__ raised {type(broken).__name__}>"


def _plain_args(error: BaseException) -> list[Any] | None:
    """Return the exception's args if they are plain JSON, else None."""
    try:
        args = error.args
        if isinstance(error, OSError) and isinstance(error.filename, str) and len(args) == 2:  # noqa: PLR2004 - errno and text
            args = (*args, error.filename)
        return None if len(args) > ARGS_MAX else [_plain(arg) for arg in args]
    except BaseException:  # noqa: BLE001 - `args` may be a property, and no JSON
        return None


def _fields(error: BaseException) -> dict[str, Any] | None:
    assert isinstance(error, MonoliteError)
    try:
        return {name: _plain(value) for name, value in error.fields().items()}
    except ValueError:
        return None


def _attributes(error: BaseException) -> dict[str, Any] | None:
    """Return what the exception's own code has set on it, as far as it is plain JSON."""
    found: dict[str, Any] = {}
    try:
        for name, value in list(vars(error).items())[:ARGS_MAX]:
            with contextlib.suppress(ValueError):
                found[_clean(name, NAME_CHARS_MAX)] = _plain(value)
    except BaseException:  # noqa: BLE001 - a subclass of str or int may raise anything
        return None
    return found or None


def _plain(value: Any) -> Any:
    """Return a text, number, bool or None as JSON can hold it; raise ValueError if it cannot."""
    if value is None or isinstance(value, bool):
        return value
    # By the base classes' own methods: a subclass may answer anything, and is not JSON.
    if isinstance(value, str):
        return _clean(str.__str__(value), MESSAGE_CHARS_MAX)
    if isinstance(value, int) and -(2**63) <= (exact := int.__int__(value)) < 2**63:
        return exact
    if isinstance(value, float) and math.isfinite(number := float.__float__(value)):
        return number
    raise ValueError


def _traceback(error: BaseException) -> str:
    try:
        lines = tb.format_tb(error.__traceback__)
        if issubclass(type(error), BaseExceptionGroup):
            lines = tb.format_exception(error)
        if not lines:
            # Never raised in this life, such as the cause of a rebuilt error: what was recorded.
            notes = [n for n in getattr(error, "__notes__", ()) if str(n).startswith(RECORDED)]
            lines = [str(note).removeprefix(RECORDED) for note in notes[-1:]]
    except BaseException:  # noqa: BLE001 - formatting calls user code (repr, str)
        return ""
    return _clean("".join(lines), TRACEBACK_CHARS_MAX)


def encode(failure: Failure) -> str:
    """Return a failure as JSON text for the journal."""
    data = msgspec.json.encode(failure)
    assert len(data) < PAYLOAD_BYTES_MAX, "every part of a failure is bounded"
    return data.decode()


def decode(text: str) -> Failure:
    """Return a failure read from the journal."""
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError as error:
        raise PayloadInvalid("recorded failure", f"cannot be read: {error}") from error


def rebuild(failure: Failure) -> BaseException:
    """Return `failure` as an exception, its recorded traceback added as a note."""
    cause = None if failure.cause is None else rebuild(failure.cause)
    error = _instance(failure, cause)
    if cause is not None and error.__cause__ is None and cause is not error:
        error.__cause__ = cause
    if failure.traceback:
        error.add_note(f"{RECORDED}{failure.traceback.rstrip()}")
    return error


def _instance(failure: Failure, cause: BaseException | None) -> BaseException:
    try:
        error = _made(failure, cause)
    except BaseException:  # noqa: BLE001 - a constructor that wants more, or an old record
        error = None
    return error if isinstance(error, BaseException) else _remote(failure)


def _made(failure: Failure, cause: BaseException | None) -> Any:
    """Return the exception made by its own class, or None if that is not known."""
    if failure.module == errors.__name__:
        known = getattr(errors, failure.type, None)
        if isinstance(known, type) and issubclass(known, MonoliteError):
            return known.restore(failure.fields or {}, failure.message, cause)
    if failure.args is None:
        return None
    cls = _registered.get((failure.module, failure.type))
    if cls is not None:
        return _of_class(cls, failure.args, failure)
    if failure.module == "builtins":
        found = getattr(builtins, failure.type, None)
        # No future takes a StopIteration.
        if isinstance(found, type) and issubclass(found, Exception) and found is not StopIteration:
            return found(*failure.args)
    return None


def _of_class(cls: type[BaseException], args: list[Any], failure: Failure) -> Any:
    """Return a registered exception that says what the original said, or else None."""
    made: BaseException | None = None
    with contextlib.suppress(Exception):  # `__init__` may want other arguments than `args`
        made = cls(*args)
        if _text(made) == failure.message:
            vars(made).update(failure.fields or {})
            return made
    copied = cls.__new__(cls)
    copied.args = tuple(args)
    vars(copied).update(failure.fields or {})
    return copied if _text(copied) == failure.message else made


def _remote(failure: Failure) -> RemoteError:
    name = failure.type if failure.module == "builtins" else f"{failure.module}.{failure.type}"
    return RemoteError(name, failure.message, failure.traceback)
