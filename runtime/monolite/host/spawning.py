"""`monolite.spawn`: start a run from inside a workflow or an activity."""

from __future__ import annotations

from typing import TypeVar, cast

from monolite.core.attempt import current_attempt
from monolite.core.call import Call
from monolite.core.handle import Handle
from monolite.core.loop import running_loop
from monolite.core.machine import Machine
from monolite.core.spawn import spawn_in_workflow
from monolite.errors import Misused
from monolite.host.runtime import Runtime

R = TypeVar("R")


async def spawn(
    call: Call[R],
    *,
    id: str | None = None,
    id_conflict: str = "attach",
    detached: bool = False,
) -> Handle[R]:
    """Start a run of a workflow and return its handle at once.

    In a workflow: a child, started in the very commit of the turn that spawns it, and cancelled
    when its parent ends unless `detached`. In an activity: a run of its own. `id` and
    `id_conflict` are as in `Runtime.spawn`, which is for everywhere else.
    """
    loop = running_loop()
    if loop is not None:
        machine = cast("Machine", loop.owner)
        return await spawn_in_workflow(
            machine, call, id=id, id_conflict=id_conflict, detached=detached
        )
    attempt = current_attempt.get()
    if attempt is None or not isinstance(attempt.runtime, Runtime):
        call.close()
        msg = "monolite.spawn() works in a workflow or an activity; elsewhere use Runtime.spawn()"
        raise Misused(msg)
    return await attempt.runtime.spawn(call, id=id, id_conflict=id_conflict)
