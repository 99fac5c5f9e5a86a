"""Positions: where in the user's code a suspended task waits, read from its await chain."""

from __future__ import annotations

import asyncio
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
            path = PurePath(frame.f_code.co_filename)
            inside = str(path).startswith(_OURS) or path.parent.name in {"asyncio", "anyio"}
            if not inside and "anyio" not in path.parts:
                place = f"{path.name}:{frame.f_lineno}"
        following = getattr(awaiting, "cr_await", None)
        if following is None:
            following = getattr(awaiting, "gi_yieldfrom", None)
        if following is None:
            return place
        awaiting = following
    return place
