"""Requests: what is checked and sent of a call, and what its answer comes back through."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Generator
from datetime import datetime
from typing import Any, TypedDict

import anyio
import msgspec

from monolite.core import entry as e
from monolite.core.admission import check_conflict, check_id
from monolite.core.call import Call, Options
from monolite.core.definition import Definition
from monolite.core.duration import Duration, seconds
from monolite.core.handler import Address, Handler
from monolite.core.loop import running_loop
from monolite.core.payload import encode
from monolite.core.place import DUPLICATES, Place
from monolite.core.queue import check_key, check_priority
from monolite.core.spawn import workflow_of
from monolite.errors import Misused, Rejected
from monolite.host.bridge import PendingReply
from monolite.host.ending import answer_text

Sent = tuple[str, str, str, int, str, int, str | None]
"""What is sent of a spawn: id, name, args, version, id_conflict, delay_us, attributes."""

WATCH_BUFFER_MAX = 1_024
"""Values a slow watcher may fall behind; then it misses the oldest, never the newest."""


class Posted:
    """A message on its way to an actor. Await it to wait for the answer; or leave it be."""

    __slots__ = ("_handler", "_kind", "_reply")

    def __init__(self, reply: PendingReply, handler: Handler[..., Any], kind: str) -> None:
        self._reply = reply
        self._handler = handler
        self._kind = kind

    def __await__(self) -> Generator[Any, Any, Any]:
        answer = yield from self._reply.wait().__await__()
        if self._kind == e.UPDATE:
            handler = self._handler
            return handler.signature.result.decode(answer_text(answer), handler.result_name)
        if not answer.accepted:
            raise Rejected(answer.reason)
        return None


def actor_call(call: Call[Any]) -> tuple[Handler[..., Any], Address, str]:
    """Return what is sent of a call of an actor's handler; raise Misused if it is none."""
    handler, address = call.definition, call.address
    if not isinstance(handler, Handler) or address is None:
        msg = f"{call!r} is not a call of an actor's handler; make it with rt.actor(Class, key)"
        raise Misused(msg)
    return handler, address, _checked(handler, call)


def _checked(definition: Definition[Any], call: Call[Any]) -> str:
    """Return a call's arguments as JSON that its function takes: it will read them later.

    Raises TypeError for a wrong number of them, PayloadInvalid for a wrong type.
    """
    signature = definition.signature
    signature.check(call.args, call.kwargs)
    text = signature.encode(call.args, call.kwargs)
    if call.kwargs:
        signature.decode(text)
    else:
        signature.decode_positional(text, len(call.args))
    return text


class Feed:
    """The values of a view on their way to one watcher."""

    def __init__(self) -> None:
        self._values: deque[str] = deque(maxlen=WATCH_BUFFER_MAX)
        self._changed = anyio.Event()
        self._over = False
        self._error: BaseException | None = None

    def refuse(self, error: BaseException) -> None:
        """End the watch with an error: no more values can come."""
        self._error = error
        self._changed.set()

    def push(self, text: str | None) -> None:
        if text is None:
            self._over = True
        else:
            self._values.append(text)
        self._changed.set()

    async def values(self) -> AsyncGenerator[str, None]:
        while True:
            while self._values:
                yield self._values.popleft()
            if self._over:
                return
            if self._error is not None:
                raise self._error
            self._changed = anyio.Event()
            await self._changed.wait()


def prepare_spawn(
    call: Call[Any],
    id: str,
    id_conflict: str,
    *,
    delay: Duration | None,
    eta: datetime | None,
    attributes: dict[str, Any] | None,
    queueing: Queueing,
    now_us: int,
) -> tuple[Sent, Place | None]:
    """Check a spawn; return what is sent of it (fields of `events.Spawn`), and its place.

    Nothing has happened if this raises.
    """
    definition = workflow_of(call)
    call.claim("spawn it again")
    check_conflict(id_conflict)
    args = _checked(definition, call)
    place = prepare_place(call.opts, queueing)
    delays = [x for x in (delay, eta, queueing.get("debounce")) if x is not None]
    if len(delays) > 1:
        raise Misused("delay=, eta= and debounce= each say when it starts; give one of them")
    if eta is not None:
        delay = until(eta, now_us)
    elif place is not None and place.debounce_us:
        delay = place.debounce_us / 1_000_000
    sent = (
        check_id(id),
        definition.name,
        args,
        definition.version,
        id_conflict,
        0 if delay is None else round(seconds(delay, name="delay") * 1_000_000),
        _attributes_text(attributes) if attributes else None,
    )
    return sent, place


class Queueing(TypedDict, total=False):
    """What can be said of a spawn's place in a queue: see `Runtime.spawn`."""

    queue: str | None
    key: str | None
    priority: int | None
    dedupe: str | None
    on_duplicate: str
    debounce: Duration | None


def prepare_place(opts: Options, queueing: Queueing) -> Place | None:
    """Return which queue a spawn goes through, and as what; None if it goes through none.

    What is given goes before what the call's own options say.
    """
    queue, key = queueing.get("queue"), queueing.get("key")
    priority, dedupe = queueing.get("priority"), queueing.get("dedupe")
    on_duplicate, debounce = queueing.get("on_duplicate", "attach"), queueing.get("debounce")
    place = Place(
        check_id(queue, "name of a queue") if queue is not None else opts.queue or "",
        check_key(key) if key is not None else opts.key,
        check_priority(priority) if priority is not None else opts.priority or 0,
        None if dedupe is None else check_id(dedupe, "dedupe key"),
        on_duplicate,
        0 if debounce is None else round(seconds(debounce, name="debounce") * 1_000_000),
    )
    if on_duplicate not in DUPLICATES:
        msg = f"on_duplicate={on_duplicate!r} is none of {', '.join(map(repr, DUPLICATES))}"
        raise Misused(msg)
    if place.debounce_us and dedupe is None:
        raise Misused("debounce needs dedupe=: the key that says which spawns are the same")
    if place.queue:
        return place
    if key is not None or priority is not None or dedupe is not None:
        raise Misused("key, priority and dedupe count in a queue; give queue= too")
    return None


def until(eta: datetime, now_us: int) -> float:
    """Return how many seconds there are to a moment; raise Misused if it is not a certain one."""
    if eta.tzinfo is None:
        msg = f"eta={eta!r} has no time zone; use datetime.now(UTC) + ..., or .astimezone()"
        raise Misused(msg)
    return max(0.0, (round(eta.timestamp() * 1_000_000) - now_us) / 1_000_000)


def _attributes_text(attributes: dict[str, Any]) -> str:
    """Return attributes as JSON whose keys are sorted, so that equal ones are found as text."""
    plain = msgspec.json.decode(encode(attributes, "attributes"))
    return msgspec.json.encode(plain, order="sorted").decode()


def refuse_inside() -> None:
    """Raise Misused inside a workflow or a turn: what it asked, a replay could not repeat."""
    if running_loop() is not None:
        msg = (
            "a Runtime cannot be used inside a workflow or an actor's turn; use monolite.spawn(), "
            "actor() or send() there, or do it in an activity"
        )
        raise Misused(msg)
