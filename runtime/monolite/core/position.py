"""Positions: where in the user's code a task waits, read from its await chain, or has raised."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import PurePath
from typing import Any

_OURS = str(PurePath(__file__).parent.parent)
PLACES_MAX = 4
DEPTH_MAX = 200


def where_waiting(tasks: list[asyncio.Task[Any]]) -> list[str]:
    """Return "file.py:line" of the innermost user frame of each suspended task."""
    places: list[str] = []
    for task in tasks:
        place = _innermost(task.get_coro())
        if place is not None and place not in places:
            places.append(place)
    return places[:PLACES_MAX]


def _innermost(awaiting: Any) -> str | None:
    """Walk down `cr_await`, remembering the last frame that is neither ours nor asyncio's."""
    place: str | None = None
    for _ in range(DEPTH_MAX):
        frame = getattr(awaiting, "cr_frame", None) or getattr(awaiting, "gi_frame", None)
        if frame is not None:
            place = _users(frame.f_code.co_filename, frame.f_lineno) or place
        following = getattr(awaiting, "cr_await", None)
        if following is None:
            following = getattr(awaiting, "gi_yieldfrom", None)
        if following is None:
            return place
        awaiting = following
    return place


def where_raised(error: BaseException) -> str | None:
    """Return "file.py:line" of the innermost user frame that an exception came through."""
    place: str | None = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        place = _users(frame.f_code.co_filename, line) or place
    return place


def _users(filename: str, line: int) -> str | None:
    """Return a place in user code as words; None if the file is ours, asyncio's or anyio's."""
    path = PurePath(filename)
    inside = str(path).startswith(_OURS) or path.parent.name in {"asyncio", "anyio"}
    return None if inside or "anyio" in path.parts else f"{path.name}:{line}"
