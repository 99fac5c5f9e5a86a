"""Spawning from inside a workflow, and the handle that it gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, NoReturn, TypeVar

import msgspec

from monolite.core import entry as e
from monolite.core.admission import check_conflict, check_id
from monolite.core.call import Call
from monolite.core.command import Operation
from monolite.core.definition import Workflow
from monolite.core.entry import Accepted
from monolite.core.handle import Handle, HistoryEntry, Info, StreamPage
from monolite.core.machine import Machine
from monolite.core.payload import encode
from monolite.errors import Misused

R = TypeVar("R")


def workflow_of(call: Call[Any]) -> Workflow[Any, Any]:
    """Return the call's workflow; raise Misused if it is not a call of one."""
    given: Any = call  # callers may be untyped
    if not isinstance(given, Call):
        msg = f"spawn takes a call of a @workflow, such as order(o), not {given!r:.200}"
        raise Misused(msg)
    if not isinstance(call.definition, Workflow):
        call.close()
        msg = f"{call!r} is an activity; spawn takes a call of a @workflow"
        raise Misused(msg)
    return call.definition


async def spawn_in_workflow(
    machine: Machine,
    call: Call[R],
    *,
    id: str | None,
    id_conflict: str,
    detached: bool,
) -> Handle[R]:
    """Start a child of the running workflow and return its handle at once."""
    workflow_of(call)
    call.claim("spawn it again")
    if id is None:
        return _spawn_derived(machine, call, detached=detached)
    check_id(id)
    check_conflict(id_conflict)
    child_key = machine.claim_key(call.name)
    text = call.definition.signature.encode(call.args, call.kwargs)
    request = encode([id, id_conflict, detached, msgspec.Raw(text.encode())], f"spawn of {id}")
    spawn = Operation(machine, e.SPAWN, machine.claim_key(f"spawn:{call.name}"), request, call)
    spawn.target = id
    spawn.detached = detached
    spawn.child_key = child_key
    spawn.child_payload = text
    machine.emit(spawn)
    await spawn
    return ChildHandle(id, machine, spawn.child, call)


def _spawn_derived(machine: Machine, call: Call[R], *, detached: bool) -> Handle[R]:
    if detached:
        key = machine.claim_key(call.name)
        id = child_id(machine.run.id, machine.run.generation, key)
        machine.detach(id, key, call)
        return ChildHandle(id, machine, None, call)
    child = machine.request(e.CHILD, call.name, call)
    return ChildHandle(
        child_id(machine.run.id, machine.run.generation, child.key), machine, child, call
    )


def child_id(parent_id: str, generation: int, key: str) -> str:
    """Return the id of a child that was given none: unique, and the same in every replay."""
    return f"{parent_id}/{key}" if generation == 1 else f"{parent_id}~{generation}/{key}"


class ChildHandle(Handle[R]):
    """A handle inside a workflow: what it does is journaled like any step."""

    __slots__ = ("_call", "_child", "_machine")

    def __init__(self, id: str, machine: Machine, child: Operation | None, call: Call[R]) -> None:
        super().__init__(id, _MachinePort(machine))
        self._machine = machine
        self._child = child
        self._call = call

    async def result(self) -> R:
        """Wait for the child's end and return its result; cancelling the wait leaves it be."""
        if self._child is not None:
            found: R = await asyncio.shield(self._child)
            return found
        text = await self._machine.ask(
            e.RESULT, f"result:{self.id}", self.id, encode([self.id], "result")
        )
        decoded: R = self._call.definition.signature.result.decode(text, f"result of {self.id}")
        return decoded


class _MachinePort:
    """Reaches other runs from inside a workflow, in the same commit as its own turn."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def send_signal(self, id: str, name: str, text: str, message_id: str | None) -> Accepted:
        message = encode(
            [id, e.SIGNAL, name, message_id, msgspec.Raw(text.encode())], f"signal to {id}"
        )
        return await self._send(id, f"send:{name}", message)

    async def send_update(self, id: str, name: str, text: str, message_id: str | None) -> str:
        if message_id is not None:
            msg = "an update inside a workflow has an id of its own; leave out id="
            raise Misused(msg)
        request = encode([id, e.UPDATE, name, msgspec.Raw(text.encode())], f"update of {id}")
        found: str = await self._machine.ask(e.ASK, f"ask:{name}", id, request)
        return found

    async def control(self, id: str, kind: str, reason: str) -> Accepted:
        message = encode([id, kind, "", None, reason], f"{kind} of {id}")
        return await self._send(id, f"{kind}:{id}", message)

    async def unblock(
        self, id: str, kind: str, key: str, text: str, message_id: str | None
    ) -> Accepted:
        raw = msgspec.Raw(text.encode())
        message = encode([id, kind, key, message_id, raw], f"{kind} of {id}")
        return await self._send(id, f"{kind}:{id}", message)

    async def _send(self, id: str, name: str, message: str) -> Accepted:
        text = await self._machine.ask(e.SEND, name, id, message)
        return msgspec.json.decode(text, type=Accepted)

    async def result_text(self, id: str) -> str:
        self._refuse(f"the result of {id}")

    async def view_text(self, id: str, name: str) -> str | None:
        self._refuse(f"view {name} of {id}")

    async def view_texts(self, id: str, name: str) -> AsyncGenerator[str, None]:
        if id:  # always; but an async generator needs a `yield`
            self._refuse(f"watching view {name} of {id}")
        yield ""

    async def stream_page(self, id: str, name: str, after: int, limit: int) -> StreamPage:
        self._refuse(f"stream {name} of {id}")

    async def stream_changes(self, id: str, name: str) -> AsyncGenerator[str, None]:
        if id:
            self._refuse(f"stream {name} of {id}")
        yield ""

    async def describe(self, id: str) -> Info:
        self._refuse(f"a description of {id}")

    async def history(self, id: str) -> list[HistoryEntry]:
        self._refuse(f"the history of {id}")

    def _refuse(self, what: str) -> NoReturn:
        msg = f"{what} cannot be read inside a workflow, where a replay could not repeat it"
        raise Misused(msg)
