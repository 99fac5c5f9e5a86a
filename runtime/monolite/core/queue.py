"""Queues: what is said of a queue: how much of its work may run at once, and how fast.

`Queue` is what code declares, `Limits` what the file keeps of it: the same, in plain numbers.
Deciding what may start is `core.scheduler`'s.
"""

from __future__ import annotations

from typing import Any

import msgspec

from monolite.core.admission import check_id
from monolite.core.duration import Duration, seconds
from monolite.errors import Misused

KEY_CHARS_MAX = 512
"""Characters of a queue's key: it is an id of the application's own."""

PRIORITY_MAX = 1_000_000_000
"""Priorities lie between this and its negative: they are numbers in an index."""


class Rate:
    """At most `limit` starts in any stretch of time that is `per` long (a Duration).

    A bucket of tokens: a start takes one, which comes back `per` later, at the latest a 64th of
    `per` after that. All may be taken at once.
    """

    __slots__ = ("limit", "per_us")

    def __init__(self, limit: int, per: Duration = 1.0) -> None:
        self.limit = _at_least_one(limit, "Rate.limit")
        self.per_us = _span_us(per, "Rate.per")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rate):
            return NotImplemented
        return (self.limit, self.per_us) == (other.limit, other.per_us)

    def __hash__(self) -> int:
        return hash((self.limit, self.per_us))

    def __repr__(self) -> str:
        return f"Rate({self.limit}, {self.per_us / 1_000_000:g})"


class Breaker:
    """After `failures` failed attempts in a row, the queue starts nothing for `pause`.

    Then one goes ahead alone: if it succeeds the others follow, if not they wait again.
    """

    __slots__ = ("failures", "pause_us")

    def __init__(self, failures: int, pause: Duration = 30.0) -> None:
        self.failures = _at_least_one(failures, "Breaker.failures")
        self.pause_us = _span_us(pause, "Breaker.pause")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Breaker):
            return NotImplemented
        return (self.failures, self.pause_us) == (other.failures, other.pause_us)

    def __hash__(self) -> int:
        return hash((self.failures, self.pause_us))

    def __repr__(self) -> str:
        return f"Breaker({self.failures}, {self.pause_us / 1_000_000:g})"


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A queue's limits as the file keeps them; None: no such limit."""

    concurrency: int | None = None
    per_key: int | None = None
    rate: tuple[int, int] | None = None
    """(starts, microseconds)."""
    breaker: tuple[int, int] | None = None
    """(failed attempts in a row, microseconds of pause)."""
    workers: bool = False

    def encoded(self) -> str:
        """Return the limits as JSON text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decoded(cls, text: str) -> Limits:
        """Return limits from the JSON text of their row."""
        return msgspec.json.decode(text, type=cls)

    def as_rate(self) -> Rate | None:
        """Return the rate as it is declared."""
        return None if self.rate is None else Rate(self.rate[0], self.rate[1] / 1_000_000)

    def as_breaker(self) -> Breaker | None:
        """Return the breaker as it is declared."""
        found = self.breaker
        return None if found is None else Breaker(found[0], found[1] / 1_000_000)


class Queue:
    """A named queue, as code declares it: `Runtime(path, queues=[Queue("llm", concurrency=20)])`.

    `concurrency` bounds what runs at once in all, `per_key` what runs at once under one key
    (such as a tenant), `rate` how many may start in a time, and `breaker` stops a queue whose
    work keeps failing. What is left out is not limited. With `workers=True` its activities are
    for worker processes only.
    """

    __slots__ = ("limits", "name")

    def __init__(
        self,
        name: str,
        *,
        concurrency: int | None = None,
        per_key: int | None = None,
        rate: Rate | None = None,
        breaker: Breaker | None = None,
        workers: bool = False,
    ) -> None:
        self.name = check_id(name, "name of a queue")
        given = {"concurrency": concurrency, "per_key": per_key, "rate": rate, "breaker": breaker}
        self.limits = changed(Limits(workers=bool(workers)), given)

    def __repr__(self) -> str:
        return f"Queue({self.name!r}, {self.limits.encoded()})"


def changed(limits: Limits, given: dict[str, Any]) -> Limits:
    """Return limits with what is given changed; raise Misused if they make no sense."""
    plain: dict[str, Any] = {}
    for name, value in given.items():
        if name in ("concurrency", "per_key"):
            plain[name] = None if value is None else _at_least_one(value, name)
        elif name == "rate":
            _must_be(value, Rate, "rate", 'Rate(100, "1m")')
            plain[name] = None if value is None else (value.limit, value.per_us)
        elif name == "breaker":
            _must_be(value, Breaker, "breaker", 'Breaker(20, "30s")')
            plain[name] = None if value is None else (value.failures, value.pause_us)
        elif name == "workers":
            plain[name] = bool(value)
        else:
            msg = f"a queue has no limit {name!r}; it has concurrency, per_key, rate and breaker"
            raise Misused(msg)
    return msgspec.structs.replace(limits, **plain)


def check_key(key: str | None) -> str | None:
    """Return `key` if it can be a queue's key; raise Misused if not."""
    return None if key is None else check_id(key, "key of a queue")


def check_priority(priority: int) -> int:
    """Return `priority` if it is one; raise Misused if not."""
    given: Any = priority  # callers may be untyped
    if isinstance(given, bool) or not isinstance(given, int) or abs(given) > PRIORITY_MAX:
        msg = f"priority must be a whole number up to {PRIORITY_MAX:,}, not {given!r:.100}"
        raise Misused(msg)
    return priority


def unknown_queue(name: str, known: list[str]) -> Misused:
    """Return the error for a queue that nobody declared."""
    listed = ", ".join(map(repr, sorted(known))) or "none"
    return Misused(
        f"there is no queue {name!r}; known are: {listed}; declare it with "
        f"Runtime(queues=[Queue({name!r}, ...)]) or `await rt.queue({name!r}, ...)`"
    )


def _must_be(value: Any, type_: type, name: str, example: str) -> None:
    if value is not None and not isinstance(value, type_):
        msg = f"{name} must be like {example} or None, not {value!r:.100}"
        raise Misused(msg)


def _at_least_one(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"{name} must be a whole number of at least 1, not {value!r:.100}"
        raise Misused(msg)
    return value


def _span_us(duration: Duration, name: str) -> int:
    found = round(seconds(duration, name=name) * 1_000_000)
    if found < 1:
        msg = f"{name} must be longer than nothing, not {duration!r}"
        raise Misused(msg)
    return found
