"""Cron: the moments that an expression names, on the clocks of a time zone.

The library cronsim reads the expression and walks the calendar. Which moment shows a time of the
calendar on a wall clock is decided here, by the rules of Debian's cron:

- An expression with a fixed time (neither its minutes nor its hours begin with `*`) fires once for
  each time it names. A time that the clocks skip fires when they have skipped it; one that they
  show twice fires the first time.
- Any other fires whenever the clocks show one of its times: not at all in an hour that is skipped,
  twice in one that is repeated.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache

from monolite.errors import Misused

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}

FIELDS = 5

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DATE_US_MAX = 250_000_000_000_000_000
"""The year 9892: the calendar of datetime ends not long after."""

_DEGENERATE = re.compile(r"\b(\w+)-\1/\d+\b")

_MINUTE = timedelta(minutes=1)

_SHIFT_MAX = timedelta(hours=25)
"""No clock was ever set by more: a day, where the date line moved."""


def moment(at_us: int) -> datetime:
    """Return a time in microseconds as an exact datetime in UTC."""
    return EPOCH + timedelta(microseconds=at_us)


def microseconds(at: datetime) -> int:
    """Return an aware datetime as microseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)


def check_cron(text: str) -> str:
    """Return an expression as five fields; raise Misused if it is none or never comes."""
    from cronsim import CronSim, CronSimError

    # cronsim takes "5-5/8" for "5/8", which goes on to the end of the hour.
    words = [_DEGENERATE.sub(r"\1", word) for word in str(text).split()]
    plain = ALIASES.get("".join(words).lower(), " ".join(words))
    if len(plain.split()) != FIELDS:
        msg = (
            f"cron {text!r} must have {FIELDS} fields (minute hour day month weekday), "
            f"or be one of {', '.join(ALIASES)}"
        )
        raise Misused(msg)
    try:
        next(CronSim(plain, datetime(2000, 1, 1)))  # noqa: DTZ001 - a calendar without a zone
    except CronSimError as error:
        raise Misused(f"cron {text!r} is not valid: {error}") from None
    except StopIteration:
        raise Misused(f"cron {text!r} names a day that never comes") from None
    return plain


@cache
def zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name; raise Misused if it is not known here."""
    from zoneinfo import ZoneInfo

    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except Exception:  # noqa: BLE001 - which one it is depends on where the name leads
        msg = (
            f"tz {name!r} is no time zone that is known here; write it like 'Europe/Paris', and "
            "where the system has no time zones: pip install 'monolite[tzdata]'"
        )
        raise Misused(msg) from None


def next_moment(cron: str, tz: tzinfo, after_us: int) -> int | None:
    """Return the first moment after `after_us`, or None if there is none for 50 years."""
    from cronsim import CronSim

    if after_us > DATE_US_MAX:
        return None
    after = moment(after_us)
    local = after.astimezone(tz)
    wall = local.replace(tzinfo=None, fold=0)
    if _is_fixed(cron):
        for named in CronSim(cron, wall):
            found = _first_shown(named, tz)
            if found > after:
                return microseconds(found)
        return None
    best: datetime | None = None
    # What the clocks will show again may come before what they have not shown yet.
    for named in CronSim(cron, wall - _set_back(after, tz)):
        shown = _shown(named, tz)
        later = [at for at in shown if at > after]
        if later and (best is None or later[0] < best):
            best = later[0]
        if best is not None and shown and shown[0] > after:
            break
    return None if best is None else microseconds(best)


def _is_fixed(cron: str) -> bool:
    minute, hour, *_ = cron.split()
    return not minute.startswith("*") and not hour.startswith("*")


def _first_shown(wall: datetime, tz: tzinfo) -> datetime:
    """Return when the clocks first show this time, or go past it."""
    while not _shown(wall, tz):
        wall += _MINUTE
    return _shown(wall, tz)[0]


def _shown(wall: datetime, tz: tzinfo) -> list[datetime]:
    """Return the moments at which the clocks show this time: none, one or two, in order."""
    found: list[datetime] = []
    for fold in (0, 1):
        at = wall.replace(tzinfo=tz, fold=fold).astimezone(UTC)
        if at not in found and at.astimezone(tz).replace(tzinfo=None, fold=0) == wall:
            found.append(at)
    return found


def _set_back(after: datetime, tz: tzinfo) -> timedelta:
    """Return by how much the clocks will be set back within a day."""
    now, later = after.astimezone(tz).utcoffset(), (after + _SHIFT_MAX).astimezone(tz).utcoffset()
    assert now is not None
    assert later is not None
    return max(now - later, timedelta(0))
