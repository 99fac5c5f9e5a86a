"""Durations as people write them: seconds, timedelta, or text such as "500ms" or "2h"."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any, TypeAlias

Duration: TypeAlias = int | float | timedelta | str

DURATION_S_MAX = 365.2425 * 1_000 * 86_400
"""A thousand years: every moment that far from now has a date, and fits the file."""

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*")


def seconds(duration: Duration, *, name: str = "duration") -> float:
    """Return `duration` in seconds; raise ValueError naming `name` if it is not one."""
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, str):
        value = _parse(duration, name)
    else:
        value = _number(duration, name)
    if not 0 <= value <= DURATION_S_MAX:
        msg = f"{name} must be zero or more and at most 1,000 years, not {duration!r:.100}"
        raise ValueError(msg)
    return value


def _number(duration: Any, name: str) -> float:
    try:
        if isinstance(duration, (bool, bytes)):
            raise TypeError
        return float(duration)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        msg = (
            f"{name} must be a number of seconds, a timedelta or text such as '10s', "
            f"not {type(duration).__name__}"
        )
        raise TypeError(msg) from None


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
