"""Cron expressions against a reference that looks at every minute, and by hand where it matters."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise

import pytest

from monolite.core.cron import check_cron, microseconds, moment, next_moment, zone
from monolite.errors import Misused

MINUTE = timedelta(minutes=1)

ZONES = (
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Africa/Casablanca",
    "Pacific/Chatham",
    "America/Sao_Paulo",
    "Pacific/Apia",
)
"""Shifts of an hour and of half an hour, odd offsets, and a day that was left out (Apia, 2011)."""

WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))

SHIFTS = (
    ("Europe/Paris", "2026-03-29"),
    ("Europe/Paris", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("Pacific/Apia", "2011-12-30"),
)
"""Days on which clocks were set, or will be."""


# The reference.


def field(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for term in text.split(","):
        span, _, step = term.partition("/")
        first, _, last = (str(low), "", str(high)) if span == "*" else span.partition("-")
        end = int(last) if last else high if step else int(first)
        found |= set(range(int(first), end + 1, int(step or 1)))
    return found


class Reference:
    """Says of a minute of the calendar whether an expression names it."""

    def __init__(self, cron: str) -> None:
        self._texts = cron.split()
        sets = [field(t, *r) for t, r in zip(self._texts, RANGES, strict=True)]
        self._minutes, self._hours, self._days, self._months, weekdays = sets
        self._weekdays = {day % 7 for day in weekdays}
        self.fixed = not self._texts[0].startswith("*") and not self._texts[1].startswith("*")

    def names(self, wall: datetime) -> bool:
        in_month = wall.day in self._days
        in_week = wall.isoweekday() % 7 in self._weekdays
        either = not self._texts[2].startswith("*") and not self._texts[4].startswith("*")
        return (
            wall.minute in self._minutes
            and wall.hour in self._hours
            and wall.month in self._months
            and ((in_month or in_week) if either else (in_month and in_week))
        )


def reference(cron: str, tz: tzinfo, after: datetime, until: datetime) -> Iterator[datetime]:
    """Look at the clocks every minute: fixed times when they are reached, others when shown."""
    rule = Reference(cron)
    seen = after.astimezone(tz).replace(tzinfo=None)
    # What the clocks showed before `after` and will show again is done already.
    for hours in range(-26, 1):
        seen = max(seen, (after + timedelta(hours=hours)).astimezone(tz).replace(tzinfo=None))
        past = after + timedelta(hours=hours)
        for minute in range(60 if hours < 0 else 0):
            wall = (past + minute * MINUTE).astimezone(tz).replace(tzinfo=None)
            seen = max(seen, wall)
    at = after
    while at < until:
        at += MINUTE
        wall = at.astimezone(tz).replace(tzinfo=None)
        if not rule.fixed:
            if rule.names(wall):
                yield at
            continue
        reached = False
        while seen < wall:
            seen += MINUTE
            reached = reached or rule.names(seen)
        if reached:
            yield at


def ours(cron: str, tz: tzinfo, after: datetime, until: datetime) -> Iterator[datetime]:
    at_us = next_moment(cron, tz, microseconds(after))
    while at_us is not None and moment(at_us) <= until:
        yield moment(at_us)
        at_us = next_moment(cron, tz, at_us)


def random_cron(seed: random.Random) -> str:
    def term(low: int, high: int) -> str:
        first = seed.randint(low, high)
        last = seed.randint(first, high)
        step = seed.randint(2, 20)
        return seed.choice([f"{first}", f"{first}-{last}", f"{first}-{last}/{step}", f"{first}"])

    def one(low: int, high: int, stars: int) -> str:
        if seed.randint(1, 10) <= stars:
            return seed.choice(["*", "*", f"*/{seed.randint(2, 20)}"])
        return ",".join(term(low, high) for _ in range(seed.choice([1, 1, 2])))

    stars = (3, 4, 7, 8, 7)
    return " ".join(one(low, high, n) for (low, high), n in zip(RANGES, stars, strict=True))


def compare(number: int) -> None:
    seed = random.Random(number)
    cron, name = random_cron(seed), seed.choice(ZONES)
    day = datetime.fromisoformat(f"{seed.randint(2005, 2037)}-01-01").replace(tzinfo=UTC)
    after = day + timedelta(minutes=seed.randint(0, 365 * 1440))
    if seed.random() < 0.6:
        name, text = seed.choice(SHIFTS)
        noon = datetime.fromisoformat(text).replace(tzinfo=zone(name)).astimezone(UTC)
        after = noon + timedelta(minutes=seed.randint(-2000, 400))
    until = after + timedelta(days=2.5)
    found = list(ours(check_cron(cron), zone(name), after, until))
    wanted = list(reference(cron, zone(name), after, until))
    assert found == wanted, f"{number}: {cron} in {name} from {after}"


@pytest.mark.parametrize("tens", range(10))
def test_a_hundred_expressions_name_the_minutes_that_the_reference_does(tens: int) -> None:
    for number in range(tens * 10, tens * 10 + 10):
        compare(number)


@pytest.mark.slow
@pytest.mark.parametrize("fifty", range(2, 22))
def test_a_thousand_more_do_too(fifty: int) -> None:
    for number in range(fifty * 50, fifty * 50 + 50):
        compare(number)


def shown(cron: str, name: str, day: str, days: int = 2) -> list[str]:
    """Return when an expression fires from a day on, as the clocks there show it."""
    start = datetime.fromisoformat(day).replace(tzinfo=zone(name)).astimezone(UTC)
    found = ours(check_cron(cron), zone(name), start - MINUTE, start + timedelta(days=days))
    return [at.astimezone(zone(name)).strftime("%dT%H:%M%z") for at in found]


@pytest.mark.parametrize(
    ("name", "day", "fires"),
    [
        ("Europe/Paris", "2026-03-29", ["29T03:00+0200", "30T02:30+0200"]),
        ("Europe/Paris", "2026-10-25", ["25T02:30+0200", "26T02:30+0100"]),
        ("America/New_York", "2026-03-08", ["08T03:00-0400", "09T02:30-0400"]),
        ("America/New_York", "2026-11-01", ["01T02:30-0500", "02T02:30-0500"]),
        ("Australia/Lord_Howe", "2026-10-04", ["04T02:30+1100", "05T02:30+1100"]),
        ("Australia/Lord_Howe", "2026-04-05", ["05T02:30+1030", "06T02:30+1030"]),
    ],
)
def test_half_past_two_comes_once_a_day(name: str, day: str, fires: list[str]) -> None:
    assert shown("30 2 * * *", name, day) == fires


@pytest.mark.parametrize(
    ("cron", "name", "day", "fires"),
    [
        ("30 1 * * *", "America/New_York", "2026-11-01", ["01T01:30-0400", "02T01:30-0500"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["05T01:45+1100", "06T01:45+1030"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["04T02:30+1100", "05T02:15+1100"]),
        # Two times of the hour that is skipped, and the one at its end, are one tick.
        ("0,30 2-3 29 3 *", "Europe/Paris", "2026-03-29", ["29T03:00+0200", "29T03:30+0200"]),
    ],
)
def test_a_fixed_time_in_a_skipped_or_repeated_hour_comes_once(
    cron: str, name: str, day: str, fires: list[str]
) -> None:
    assert shown(cron, name, day) == fires


@pytest.mark.parametrize(
    ("name", "day", "hours"),
    [
        ("Europe/Paris", "2026-03-29", 23),
        ("Europe/Paris", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
    ],
)
def test_every_hour_is_every_hour_that_passes(name: str, day: str, hours: int) -> None:
    start = datetime.fromisoformat(day).replace(tzinfo=zone(name))
    end = (start + timedelta(days=1)).astimezone(UTC)
    found = list(ours("0 * * * *", zone(name), start.astimezone(UTC) - MINUTE, end - MINUTE))
    assert len(found) == hours
    assert {b - a for a, b in pairwise(found)} == {timedelta(hours=1)}


def test_a_minute_that_half_an_hour_repeats_comes_twice_for_those_of_every_hour() -> None:
    found = shown("45 * * * *", "Australia/Lord_Howe", "2026-04-05")
    assert found[:4] == ["05T00:45+1100", "05T01:45+1100", "05T01:45+1030", "05T02:45+1030"]


def test_an_hour_that_is_skipped_has_none_of_its_quarters() -> None:
    found = shown("*/15 2 * * *", "Europe/Paris", "2026-03-29")
    assert found == ["30T02:00+0200", "30T02:15+0200", "30T02:30+0200", "30T02:45+0200"]


def test_a_day_that_the_date_line_took_away_is_made_up_for() -> None:
    found = shown("30 9 * * *", "Pacific/Apia", "2011-12-29", days=3)
    assert found == ["29T09:30-1000", "31T00:00+1400", "31T09:30+1400", "01T09:30+1400"]


def test_aliases_are_expressions() -> None:
    found = [check_cron(f"@{x}") for x in ("hourly", "daily", "weekly", "monthly", "YEARLY")]
    assert found == ["0 * * * *", "0 0 * * *", "0 0 * * 0", "0 0 1 * *", "0 0 1 1 *"]
    assert check_cron("  5  4 * *   sun ") == "5 4 * * sun"
    assert check_cron("39-39/8 4-4 * * *") == "39 4-4 * * *"


@pytest.mark.parametrize(
    "cron", ["", "@reboot", "* * * *", "1 2 3 4 5 6", "a * * * *", "0 0 31 2 *"]
)
def test_what_is_no_expression_is_refused(cron: str) -> None:
    with pytest.raises(Misused, match="cron"):
        check_cron(cron)


def test_there_is_an_end_of_time() -> None:
    assert next_moment("0 0 1 1 *", UTC, 250_000_000_000_000_001) is None
