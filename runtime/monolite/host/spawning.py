"""`monolite.spawn`, `send` and `actor`: what works wherever the code happens to run."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar, cast

from monolite.core.actor import ActorRef, type_of
from monolite.core.admission import check_id
from monolite.core.attempt import current_attempt
from monolite.core.call import Call
from monolite.core.command import Tell
from monolite.core.duration import Duration, seconds
from monolite.core.entry import QUERY
from monolite.core.handle import Handle
from monolite.core.handler import Address
from monolite.core.loop import running_loop
from monolite.core.machine import Machine
from monolite.core.spawn import spawn_in_workflow
from monolite.errors import Misused
from monolite.host.requests import actor_call
from monolite.host.runtime import Runtime

A = TypeVar("A")
R = TypeVar("R")


async def spawn(
    call: Call[R],
    *,
    id: str | None = None,
    id_conflict: str = "attach",
    detached: bool = False,
    queue: str | None = None,
    key: str | None = None,
    priority: int | None = None,
) -> Handle[R]:
    """Start a run of a workflow and return its handle at once.

    In a workflow: a child, started in the very commit of the turn that spawns it, and cancelled
    when its parent ends unless `detached`. In an activity: a run of its own. `id` and
    `id_conflict` are as in `Runtime.spawn`, which is for everywhere else; so are `queue`, `key`
    and `priority`.
    """
    if queue is None and (key is not None or priority is not None):
        call.close()
        raise Misused("key and priority count in a queue; give queue= too")
    loop = running_loop()
    if loop is not None:
        machine = cast("Machine", loop.owner)
        return await spawn_in_workflow(
            machine,
            call if queue is None else call.options(queue=queue, key=key, priority=priority),
            id=id,
            id_conflict=id_conflict,
            detached=detached,
        )
    attempt = current_attempt.get()
    if attempt is None or not isinstance(attempt.runtime, Runtime):
        call.close()
        msg = "monolite.spawn() works in a workflow or an activity; elsewhere use Runtime.spawn()"
        raise Misused(msg)
    return await attempt.runtime.spawn(
        call, id=id, id_conflict=id_conflict, queue=queue, key=key, priority=priority
    )


def actor(cls: type[A], key: str) -> A:
    """Return a reference to one actor, for use in workflows, turns and activities.

    Elsewhere use `Runtime.actor`, which knows the way to the file.
    """
    attempt = current_attempt.get()
    port = None if attempt is None else attempt.runtime
    type_ = type_of(cls)
    return cast("A", ActorRef(type_, Address(type_, check_id(key, "actor key"), port)))


def send(call: Call[Any], *, delay: Duration | None = None, id: str | None = None) -> Any:
    """Send a call of an actor's handler without waiting for its answer.

    In a workflow or a turn the message goes with the commit. Elsewhere it is posted at once,
    and awaiting what this returns waits until it is durable (for an update: answered). With
    `id`, sending it again has no further effect; `delay` has it delivered later.
    """
    delay_us = 0 if delay is None else round(seconds(delay, name="delay") * 1_000_000)
    if getattr(call.definition, "kind", None) == QUERY:
        call.close()
        msg = f"{call!r} is a query, which only returns something; await it instead"
        raise Misused(msg)
    loop = running_loop()
    if loop is None:
        port = None if call.address is None else call.address.port
        if port is None:
            call.close()
            msg = f"{call!r} was not made by the actor(...) of a runtime or client"
            raise Misused(msg)
        return port.send_actor(call.claim("send it again"), delay_us, id)
    handler, address, text = actor_call(call.claim("send it again"))
    if id is not None:
        check_id(id, "message id")
    machine = cast("Machine", loop.owner)
    machine.tell(Tell(address.id, address.actor, handler.kind, handler.method, text, delay_us, id))
    return Told()


class Told:
    """A message that goes with the commit of this turn: awaiting it is done at once."""

    def __await__(self) -> Generator[Any, Any, None]:
        return
        yield  # makes it a generator
