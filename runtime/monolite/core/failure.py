"""Failures: exceptions as data, so that they survive a crash and cross processes.

Never pickle. An exception comes back as its own class when that class is one of monolite's, a
built-in, or was registered (`register_exception`, or named in a definition's `raises` or
`Retry(non_retryable=...)`); otherwise as `RemoteError` with its type name, message, traceback.
"""

from __future__ import annotations

import builtins
import traceback as tb
from typing import Any, cast

import msgspec

from monolite import errors
from monolite.core.payload import PAYLOAD_BYTES_MAX
from monolite.errors import MonoliteError, PayloadInvalid, RemoteError

MESSAGE_CHARS_MAX = 10_000
TRACEBACK_CHARS_MAX = 20_000
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

    Each is built again as `cls(*args)` from its JSON-able `args`.
    """
    for cls in classes:
        _registered[cls.__module__, cls.__qualname__] = cls


def describe(error: BaseException, depth: int = 0) -> Failure:
    """Return `error` as data; never raises, whatever the exception's own code does."""
    cause = error.__cause__
    if cause is None and isinstance(error, MonoliteError):
        cause = getattr(error, "cause", None)
    keep = cause is not None and cause is not error and depth < CAUSES_MAX
    return Failure(
        type=type(error).__qualname__,
        module=type(error).__module__,
        message=_text(error),
        args=_plain_args(error),
        fields=error.fields() if isinstance(error, MonoliteError) else None,
        traceback=_traceback(error),
        cause=describe(cause, depth + 1) if keep and cause is not None else None,
    )


def _clean(text: str, limit: int) -> str:
    """Return `text` as valid Unicode of bounded length."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[:limit] + "..."


def _text(error: BaseException) -> str:
    try:
        return _clean(str(error), MESSAGE_CHARS_MAX)
    except Exception as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"<its __str__ raised {type(broken).__name__}>"


def _plain_args(error: BaseException) -> list[Any] | None:
    """Return the exception's args if they are plain JSON, else None."""
    args = error.args
    if not all(isinstance(a, (str, int, float, bool, type(None))) for a in args):
        return None
    plain = [_clean(a, MESSAGE_CHARS_MAX) if isinstance(a, str) else a for a in args]
    lossy = any(isinstance(a, float) and a - a != 0 for a in plain)
    huge = any(isinstance(a, int) and not -(2**63) <= a < 2**63 for a in plain)
    return None if lossy or huge else plain


def _traceback(error: BaseException) -> str:
    try:
        lines = tb.format_tb(error.__traceback__)
        if isinstance(error, BaseExceptionGroup):
            lines = tb.format_exception(cast("BaseException", error))
    except Exception:  # noqa: BLE001 - formatting calls user code (repr, str)
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
        error.add_note(f"Recorded traceback:\n{failure.traceback.rstrip()}")
    return error


def _instance(failure: Failure, cause: BaseException | None) -> BaseException:
    if failure.module == errors.__name__:
        known = getattr(errors, failure.type, None)
        if isinstance(known, type) and issubclass(known, RemoteError):
            return _remote(failure)
        if isinstance(known, type) and issubclass(known, MonoliteError):
            return cast(
                "BaseException", known.restore(failure.fields or {}, failure.message, cause)
            )
    cls = _registered.get((failure.module, failure.type))
    if cls is None and failure.module == "builtins":
        found = getattr(builtins, failure.type, None)
        cls = found if isinstance(found, type) and issubclass(found, Exception) else None
    if cls is None or failure.args is None:
        return _remote(failure)
    try:
        return cls(*failure.args)
    except Exception:  # noqa: BLE001 - a constructor that wants more than its args
        return _remote(failure)


def _remote(failure: Failure) -> RemoteError:
    name = failure.type if failure.module == "builtins" else f"{failure.module}.{failure.type}"
    return RemoteError(name, failure.message, failure.traceback)
