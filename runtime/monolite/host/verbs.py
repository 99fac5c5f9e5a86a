"""Verbs: what can be done to a run or a promise by its id alone, through a runtime or a client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar, Unpack, overload

from monolite.core.admission import check_id
from monolite.core.channel import Signal, View
from monolite.core.definition import Workflow
from monolite.core.entry import ANSWER, Accepted
from monolite.core.handle import Handle
from monolite.core.promise import answer_id, error_message, is_deferred, read_token, value_message
from monolite.core.update import Update
from monolite.host.queue_handle import LimitChanges, QueueHandle, QueueInfo, declared
from monolite.host.queue_port import ClientQueues, RuntimeQueues

T = TypeVar("T")
R = TypeVar("R")


class Verbs(ABC):
    """The verbs of a `Handle`, with the run's id in front. Runtime and Client have them all."""

    _queue_port: RuntimeQueues | ClientQueues

    @overload
    def handle(self, id: str, workflow: Workflow[..., R]) -> Handle[R]: ...
    @overload
    def handle(self, id: str, workflow: None = None) -> Handle[Any]: ...
    @abstractmethod
    def handle(self, id: str, workflow: Workflow[..., Any] | None = None) -> Handle[Any]:
        """Return a handle of the run with this id."""

    @abstractmethod
    async def send_signal(
        self, id: str, name: str, text: str, message_id: str | None = None
    ) -> Accepted:
        """Put a message that is JSON text into a run's inbox."""

    @abstractmethod
    async def unblock(
        self, id: str, kind: str, key: str, text: str, message_id: str | None
    ) -> Accepted:
        """Put a decision on, or an answer for, one of a run's activities into its inbox."""

    @overload
    async def result(self, id: str, workflow: Workflow[..., R]) -> R: ...
    @overload
    async def result(self, id: str, workflow: None = None) -> Any: ...
    async def result(self, id: str, workflow: Workflow[..., Any] | None = None) -> Any:
        """Wait for the run's end and return its result; see Handle.result."""
        return await self.handle(id, workflow).result()

    async def signal(
        self, run: str, signal: Signal[T], value: T, *, id: str | None = None
    ) -> Accepted:
        """Send a message into the run `run`; see Handle.signal."""
        return await self.handle(run).signal(signal, value, id=id)

    async def update(self, run: str, update: Update[T, R], value: T, *, id: str | None = None) -> R:
        """Send a request into the run `run` and return its answer; see Handle.update."""
        return await self.handle(run).update(update, value, id=id)

    async def view(self, id: str, view: View[T]) -> T | None:
        """Return the committed value of a view, or None if the run has not set it yet."""
        return await self.handle(id).view(view)

    async def watch(self, id: str, view: View[T]) -> AsyncGenerator[T, None]:
        """Yield the view's value, then each later one, until the run ends."""
        async with aclosing(self.handle(id).watch(view)) as values:
            async for value in values:
                yield value

    async def cancel(self, id: str, reason: str = "") -> Accepted:
        """Ask the run to stop, and let it clean up; see Handle.cancel."""
        return await self.handle(id).cancel(reason)

    async def terminate(self, id: str, reason: str = "") -> Accepted:
        """End the run at once, without running its clean-up code; see Handle.terminate."""
        return await self.handle(id).terminate(reason)

    async def pause(self, id: str) -> Accepted:
        """Let the run start nothing new until `resume`; see Handle.pause."""
        return await self.handle(id).pause()

    async def resume(self, id: str) -> Accepted:
        """Let a paused run go on."""
        return await self.handle(id).resume()

    async def resolve(self, token: str, value: Any) -> Accepted:
        """Give a promise its value; durable when this returns. The first answer counts.

        Also an activity that was left open by `attempt().defer()`.
        """
        return await self._answer(token, value_message(value))

    async def reject(self, token: str, error: BaseException | str) -> Accepted:
        """Give a promise an error instead, raised where it is awaited."""
        return await self._answer(token, error_message(error))

    async def _answer(self, token: str, message: str) -> Accepted:
        id, channel = read_token(token)
        if is_deferred(token):
            return await self.unblock(id, ANSWER, channel, message, answer_id(token))
        return await self.send_signal(id, channel, message, answer_id(token))

    async def queue(self, name: str, **limits: Unpack[LimitChanges]) -> QueueHandle:
        """Return a handle of a queue, having set the limits that are given.

        A queue that there is not yet is made, if limits are given; else Misused is raised, which
        names those there are.
        """
        port = self._queue_port
        await port.change_queue(check_id(name, "name of a queue"), declared(name, {**limits}))
        return QueueHandle(name, port)

    async def queues(self) -> list[QueueInfo]:
        """Return what is known of every queue, by name."""
        return await self._queue_port.describe_queues()
