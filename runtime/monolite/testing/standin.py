"""Stand-ins: what runs in place of an activity's own function, in tests."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec, Protocol, TypeVar

import msgspec

from monolite.core.attempt import current_attempt
from monolite.core.call import Call
from monolite.core.definition import Activity
from monolite.errors import Misused
from monolite.host.engine import Engine
from monolite.host.flights import Flight

P = ParamSpec("P")
R = TypeVar("R")

Fakes = Mapping[Any, Callable[..., Any]]
"""What to run instead, by activity, or by the name of one."""


def fake(
    activity: Activity[P, R], stand_in: Callable[P, R] | Callable[P, Awaitable[R]]
) -> dict[Any, Callable[..., Any]]:
    """Return `{activity: stand_in}`; type checkers see that both have the same types.

    For `replace=fake(charge, pretend_charge) | fake(ship, pretend_ship)`.
    """
    return {activity: stand_in}


class Watcher(Protocol):
    """Who is told of each attempt; may be called from several threads, and may raise."""

    def launched(self, flight: Flight, engine: Engine) -> None:
        """Say that an attempt was launched, while the engine stands still."""
        ...

    def begins(self, flight: Flight) -> None:
        """Say that an attempt is about to begin."""
        ...

    def asked_who(self, flight: Flight) -> None:
        """Say that the attempt asked for its idempotency key, or whether it is a repetition."""
        ...

    def took_effect(self, flight: Flight) -> None:
        """Say that an attempt has run to its end, and that nobody knows of it yet."""
        ...


class StandIns:
    """Which activities have a stand-in, and who watches the attempts."""

    def __init__(self, fakes: Fakes, watcher: Watcher | None) -> None:
        self._fakes = {_name(key): _checked(key, fn) for key, fn in fakes.items()}
        self._watcher = watcher

    def dress(self, flight: Flight, engine: Engine) -> None:
        """Let a flight run what stands in for its activity, in a thread if that is not async."""
        call = flight.call
        fn = self._fakes.get(call.definition.name, call.definition.fn)
        if call.definition.is_async and not inspect.iscoroutinefunction(fn):
            fn = _on_the_loop(fn)
        if self._watcher is not None:
            self._watcher.launched(flight, engine)
            fn = _watched(fn, flight, self._watcher)
        if fn is call.definition.fn and call.opts.run_in == "thread":
            return
        # A copy: what the engine decodes arguments and results by stays the activity's own.
        definition = copy.copy(call.definition)
        definition.fn = fn
        definition.is_async = inspect.iscoroutinefunction(fn)
        opts = msgspec.structs.replace(call.opts, run_in="thread")
        flight.call = Call(definition, call.args, call.kwargs, opts).claim("run it")


def _name(key: Any) -> str:
    if isinstance(key, Activity):
        return key.name
    if isinstance(key, str):
        return key
    msg = f"replace takes activities, or names of steps, as its keys, not {key!r}"
    raise Misused(msg)


def _checked(key: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in; raise Misused if it does not take what the activity takes."""
    given: Any = fn
    if not callable(given):
        msg = f"replace has {given!r} for {_name(key)}, which is not a function"
        raise Misused(msg)
    stand_in: Callable[..., Any] = fn.fn if isinstance(fn, Activity) else fn
    if not isinstance(key, Activity):
        return stand_in
    wanted = inspect.signature(key.fn).parameters.values()
    names = [p.name for p in wanted if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keywords = {p.name: None for p in wanted if p.kind is p.KEYWORD_ONLY}
    try:
        inspect.signature(stand_in).bind(*names, **keywords)
    except TypeError as error:
        takes = f"{key.name}{inspect.signature(key.fn)}"
        msg = f"what replaces {takes} has to take the same arguments: {error}"
        raise Misused(msg) from None
    return stand_in


def _on_the_loop(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a plain function that replaces an async activity as one that needs no thread."""

    @functools.wraps(fn)
    async def run(*args: Any, **kwargs: Any) -> Any:
        result = fn(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return run


def _watched(fn: Callable[..., Any], flight: Flight, watcher: Watcher) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def run(*args: Any, **kwargs: Any) -> Any:
            watcher.begins(flight)
            current_attempt.set(Glass(flight, watcher))
            result = await fn(*args, **kwargs)
            watcher.took_effect(flight)
            return result

        return run

    @functools.wraps(fn)
    def run_in_thread(*args: Any, **kwargs: Any) -> Any:
        watcher.begins(flight)
        current_attempt.set(Glass(flight, watcher))
        result = fn(*args, **kwargs)
        if inspect.isawaitable(result):
            return _to_its_end(result, flight, watcher)
        watcher.took_effect(flight)
        return result

    return run_in_thread


async def _to_its_end(result: Awaitable[Any], flight: Flight, watcher: Watcher) -> Any:
    value = await result
    watcher.took_effect(flight)
    return value


class Glass:
    """What `attempt()` gives a watched activity: its attempt, with what it asks noticed."""

    def __init__(self, flight: Flight, watcher: Watcher) -> None:
        self._flight = flight
        self._watcher = watcher

    @property
    def idempotency_key(self) -> str:
        self._watcher.asked_who(self._flight)
        return self._flight.idempotency_key

    @property
    def interrupted(self) -> bool:
        self._watcher.asked_who(self._flight)
        return self._flight.interrupted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._flight, name)
