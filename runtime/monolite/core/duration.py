"""Durations as people write them: seconds, timedelta, or text such as "500ms" or "2h"."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import TypeAlias

Duration: TypeAlias = int | float | timedelta | str

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*")


def seconds(duration: Duration, *, name: str = "duration") -> float:
    """Return `duration` in seconds; raise ValueError naming `name` if it is not one."""
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, str):
        value = _parse(duration, name)
    elif isinstance(duration, bool):
        msg = f"{name} must be a number of seconds, a timedelta or text such as '10s', not a bool"
        raise TypeError(msg)
    else:
        value = float(duration)
    if not math.isfinite(value) or value < 0:
        msg = f"{name} must be zero or more and finite, not {duration!r}"
        raise ValueError(msg)
    return value


def _parse(text: str, name: str) -> float:
    """Add up the parts of a text such as "1h 30m"."""
    total_s, end = 0.0, 0
    for part in _TEXT.finditer(text):
        if part.start() != end:
            break
        total_s += float(part[1]) * _UNITS_S[part[2]]
        end = part.end()
    if end == 0 or end != len(text):
        msg = f"{name} {text!r} is not a duration; write it like '500ms', '10s', '5m', '2h' or '1d'"
        raise ValueError(msg)
    return total_s
