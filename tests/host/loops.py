"""Both event loops that a program can be written for."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an `async def` a test that is run by asyncio and by trio."""

    def run(*, host_loop: str, **fixtures: Any) -> None:
        story = functools.partial(test, **fixtures)
        if host_loop == "trio":
            trio.run(story)
        else:
            asyncio.run(story())

    asked = inspect.signature(test)
    given = inspect.Parameter("host_loop", inspect.Parameter.KEYWORD_ONLY)
    run.__dict__["__signature__"] = asked.replace(parameters=[*asked.parameters.values(), given])
    run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
    run.__module__ = test.__module__
    marked: Callable[..., None] = pytest.mark.parametrize("host_loop", ["asyncio", "trio"])(run)
    return marked
