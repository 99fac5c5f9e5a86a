"""Refusals: which exceptions are answers to the caller, and with which exit status."""

from __future__ import annotations

from typing import cast

import apsw

from monolite.errors import FileForeign, Misused, MonoliteError, PayloadInvalid

FAILED, MISUSED = 1, 2


def status_of(error: BaseException) -> int | None:
    """Return the exit status for an exception, or None if it is a defect of ours."""
    error = _first(error)
    if isinstance(error, (Misused, FileForeign, PayloadInvalid)):
        return MISUSED
    if isinstance(error, (MonoliteError, apsw.Error, OSError)):
        return FAILED
    return None


def words_of(error: BaseException) -> str:
    """Return what to tell the caller."""
    error = _first(error)
    return f"SQLite: {error}" if isinstance(error, apsw.Error) else str(error)


def _first(error: BaseException) -> BaseException:
    """Return the exception itself, or the first of a group: one failure, whatever wrapped it."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        error = group.exceptions[0]
    return error
