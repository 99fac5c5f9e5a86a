"""Handlers: the methods of an actor as definitions, and calls of them as values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

import msgspec

from monolite.core import entry as e
from monolite.core.call import Call, Options
from monolite.core.definition import Definition
from monolite.core.duration import Duration, seconds
from monolite.core.signature import Signature
from monolite.errors import Misused

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

MAILBOXES = ("queue", "latest", "drop")


class Mailbox(msgspec.Struct, frozen=True):
    """What happens to messages of one handler that come while the actor is busy.

    "queue" keeps them all, in order; with `bound`, more are rejected. "latest" keeps only the
    newest that waits. "drop" rejects them. `debounce_us`: take the newest once none has come
    for so long.
    """

    policy: str = "queue"
    bound: int | None = None
    debounce_us: int = 0


class ActorPort(Protocol):
    """How a call reaches an actor from outside of workflows and turns."""

    async def ask_actor(self, call: Call[Any]) -> Any: ...
    def send_actor(self, call: Call[Any], delay_us: int, message_id: str | None) -> Any: ...


class ActorKind(Protocol):
    """What an address needs to know of an actor class (`actor.ActorType`)."""

    name: str
    version: int

    def read(self, key: str, method: str, args: str, state: str | None, version: int) -> str:
        """Return what a query makes of stored state, as JSON."""
        ...


class Address(msgspec.Struct, frozen=True):
    """Which actor a call is for."""

    type: ActorKind
    key: str
    port: ActorPort | None = None

    @property
    def actor(self) -> str:
        """The name of the actor's class."""
        return self.type.name

    @property
    def id(self) -> str:
        """The id of the actor's run."""
        return f"{self.actor}/{self.key}"


class Handler(Definition[R_co], Generic[P, R_co]):
    """One handler of an actor class.

    Read from the class it is itself; from a reference, a function that makes calls.
    """

    def __init__(self, fn: Callable[..., Any], kind: str, mailbox: Mailbox) -> None:
        super().__init__(fn, None, Options())
        self.kind = kind
        self.mailbox = mailbox
        self.method: str = fn.__name__
        self.signature = Signature(fn, self.method, skip_first=True)

    def __set_name__(self, owner: type, name: str) -> None:
        self.method = name
        self.name = f"{owner.__name__}.{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> Handler[P, R_co]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, Call[R_co]]: ...
    def __get__(self, instance: object, owner: type) -> Any:
        """On the actor itself (`self.deposit(5)` within a turn) it is the plain method."""
        if instance is None:
            return self
        return self.fn.__get__(instance, owner)

    def to(self, address: Address) -> Callable[..., Call[R_co]]:
        """Return the function that makes calls of this handler to one actor."""

        def make_call(*args: Any, **kwargs: Any) -> Call[R_co]:
            call: Call[R_co] = Call(self, args, kwargs, self.opts)
            call.address = address
            return call

        return make_call

    async def bare(self, call: Call[Any]) -> R_co:
        """Ask the actor through the runtime or client that the reference came from."""
        if call.address is None or call.address.port is None:
            msg = (
                f"{call!r} was not made by a runtime's or client's `actor(...)`; outside of "
                "workflows and actors, use the reference that rt.actor(...) returns"
            )
            raise Misused(msg)
        found: R_co = await call.address.port.ask_actor(call)
        return found


def _mailbox(mailbox: str, bound: int | None, debounce: Duration | None) -> Mailbox:
    if mailbox not in MAILBOXES:
        msg = f"mailbox={mailbox!r} is none of {', '.join(map(repr, MAILBOXES))}"
        raise Misused(msg)
    if bound is not None and bound < 1:
        msg = f"bound must be at least 1 or None, not {bound!r}"
        raise Misused(msg)
    wait_us = 0 if debounce is None else round(seconds(debounce, name="debounce") * 1_000_000)
    return Mailbox(mailbox, bound, wait_us)


class _HandlerDecorator:
    """What `@update(...)` and `@signal(...)` return."""

    def __init__(self, kind: str, mailbox: Mailbox) -> None:
        self._kind = kind
        self._mailbox = mailbox

    @overload
    def __call__(self, fn: Callable[Concatenate[Any, P], Any], /) -> Handler[P, Any]: ...
    @overload
    def __call__(self, fn: Any, /) -> Any: ...
    def __call__(self, fn: Any, /) -> Any:
        refuse_generator(fn)
        made: Handler[..., Any] = Handler(fn, self._kind, self._mailbox)
        return made


def refuse_generator(fn: Any) -> None:
    """Raise TypeError for a function that yields: nobody could take what it yields."""
    if inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn):
        msg = f"handler {fn.__qualname__} yields; return a list, or append to a Stream"
        raise TypeError(msg)


def decorate(kind: str, fn: Any, mailbox: str, bound: int | None, debounce: Any) -> Any:
    """Return the handler, or what makes one when the decorator was given options."""
    if fn is not None:
        refuse_generator(fn)
    made = _HandlerDecorator(kind, _mailbox(mailbox, bound, debounce))
    return made if fn is None else made(fn)


KINDS = {"update": e.UPDATE, "signal": e.SIGNAL, "query": e.QUERY}
