"""Order: pinning what asyncio and anyio keep in sets to something that repeats in a replay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from anyio._backends import _asyncio

from monolite.core.loop import OrderedTask, running_loop


def pin() -> None:
    """Pin everything, once per process. Code outside of workflows keeps what it had."""
    if getattr(_asyncio.CancelScope.__hash__, "__name__", "") != _PINNED:
        _pin_cancel_scopes()
        _pin_as_completed()


_PINNED = "scope_hash"


def _pin_cancel_scopes() -> None:
    """Give anyio's cancel scopes of workflow tasks a hash that repeats.

    anyio keeps child scopes in a set; siblings always have different host tasks, so the host
    task's number orders them. Scopes of ordinary tasks keep the hash they had.
    """
    scope_type = _asyncio.CancelScope
    ordinary_hash = scope_type.__hash__

    def scope_hash(scope: Any) -> int:
        host = scope._host_task  # noqa: SLF001 - anyio offers no order of its own
        return host.order if type(host) is OrderedTask else ordinary_hash(scope)

    assert scope_hash.__name__ == _PINNED
    type.__setattr__(scope_type, "__hash__", scope_hash)


def _pin_as_completed() -> None:
    """Let `asyncio.as_completed` start what it is given in the order given.

    It puts its arguments through `set`, and coroutines there follow their memory addresses. What
    that name means in its module can be changed however the function itself was imported.
    """

    def in_order(items: Iterable[Any] = ()) -> Iterable[Any]:
        return dict.fromkeys(items) if items and running_loop() is not None else set(items)

    asyncio.tasks.__dict__["set"] = in_order
