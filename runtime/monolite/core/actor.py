"""Actors: classes with typed, stored state whose messages are turns.

A turn is one transaction: the message consumed, the new state, outgoing messages and the reply
commit together, or none of them. Turns of one actor never interleave.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from typing import (
    Any,
    ClassVar,
    Concatenate,
    ParamSpec,
    TypeVar,
    cast,
    get_origin,
    get_type_hints,
    overload,
)

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.duration import Duration
from monolite.core.handler import Address, Handler, decorate
from monolite.core.payload import codec, encode
from monolite.errors import Misused, PayloadInvalid

P = ParamSpec("P")
R = TypeVar("R")


State = dict[str, Any]


class Migration:
    """A function that turns stored state of one version into that of the next.

    Read from the class it is a plain function of the state, whichever form it was written in.
    """

    def __init__(self, fn: Any, from_version: int) -> None:
        self.from_version = from_version
        self._fn: Callable[..., State] = getattr(fn, "__func__", fn)
        self._takes_class = len(inspect.signature(self._fn).parameters) > 1
        self._owner: type[Actor] | None = None

    def __set_name__(self, owner: type[Actor], name: str) -> None:
        self._owner = owner

    def __call__(self, state: State) -> State:
        """Return the state as the next version has it."""
        found: Any = self._fn(self._owner, state) if self._takes_class else self._fn(state)
        if not isinstance(found, dict):
            msg = f"migration {self._fn.__qualname__} must return the new state, a dict: {found!r}"
            raise Misused(msg)
        return cast("State", found)


class _Migrate:
    """What `Actor.migrate(...)` returns."""

    def __init__(self, from_version: int) -> None:
        self._from_version = from_version

    @overload
    def __call__(self, fn: Callable[[State], State], /) -> Migration: ...
    @overload
    def __call__(self, fn: Callable[[Any, State], State], /) -> Migration: ...
    def __call__(self, fn: Any, /) -> Migration:
        return Migration(fn, self._from_version)


class Actor:
    """Base class of actors. Annotated attributes are the stored state; `self.id` is the key.

        class Account(Actor):
            balance: int = 0

            @update
            async def deposit(self, cents: int) -> int:
                self.balance += cents
                return self.balance

    Every attribute needs a default: an actor exists from its first message on. An actor that
    you make yourself, `Account("alice")`, is an object like any other, to be tested bare. The class
    `version` (`class Account(Actor, version=2)`) says which form its stored state has; older
    state goes through the `@Actor.migrate(from_version=...)` functions first.
    """

    id: str
    monolite_type: ClassVar[ActorType]

    def __init_subclass__(cls, version: int | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.monolite_type = ActorType(cls, version)

    def __init__(self, id: str = "") -> None:
        self.id = id
        self.monolite_type.set_defaults(self)

    @staticmethod
    def migrate(*, from_version: int) -> _Migrate:
        """Make a function of the class the migration of stored state from `from_version`.

        It takes the old state, a dict as it was stored, and returns the new one. Write it as a
        `@staticmethod` under this decorator, which type checkers want, without, or as a
        `@classmethod`.
        """
        if from_version < 1:
            msg = f"from_version must be at least 1, not {from_version!r}"
            raise Misused(msg)
        return _Migrate(from_version)


class ActorType:
    """What monolite knows of an actor class."""

    def __init__(self, cls: type[Actor], version: int | None) -> None:
        self.cls = cls
        self.name = cls.__name__
        members = {
            name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()
        }
        self.handlers: dict[str, Handler[..., Any]] = {
            name: value for name, value in members.items() if isinstance(value, Handler)
        }
        found = [getattr(member, "__func__", member) for member in members.values()]
        self._migrations = {m.from_version: m for m in found if isinstance(m, Migration)}
        newest = max(self._migrations, default=0) + 1
        self.version = newest if version is None else version
        self._struct: Any = None
        self._names: list[str] = []
        self._types: dict[str, Any] = {}
        self._attributes: frozenset[str] = frozenset()

    def check(self) -> None:
        """Raise Misused if no actor of this class could exist; says which attribute is wrong."""
        if not self.handlers:
            return  # a base class, and nobody can send it anything
        try:
            self._fields()
        except (NameError, TypeError) as error:
            msg = f"the attributes of actor {self.name} cannot be read: {error}"
            raise Misused(msg) from error
        for name, handler in self.handlers.items():
            if name == "id" or name in self._types:
                msg = f"{self.name}.{name} is a handler ({handler.kind}); it cannot be state too"
                raise Misused(msg)
        for name, type_ in self._types.items():
            try:
                text = encode(getattr(self.cls, name), "its default")
                codec(type_).decode(text, f"its default {text[:100]}")
            except Exception as error:
                msg = f"{self.name}.{name} cannot be stored state: {error}"
                raise Misused(msg) from error
        try:
            self.dump(self.new("check"), "check")
        except BaseException as error:
            msg = f"no actor {self.name} can be made: {type(error).__name__}: {error}"
            raise Misused(msg) from error

    def handler(self, method: str) -> Handler[..., Any]:
        """Return a handler by name; raise Misused if the class has none of it."""
        found = self.handlers.get(method)
        if found is None:
            known = ", ".join(sorted(self.handlers)) or "none"
            msg = f"actor {self.name} has no handler {method!r}; it has: {known}"
            raise Misused(msg)
        return found

    def new(self, key: str) -> Actor:
        """Return an actor with the default state."""
        instance = self.cls.__new__(self.cls)
        instance.id = key
        self.set_defaults(instance)
        return instance

    def set_defaults(self, instance: Actor) -> None:
        """Give an actor the default state, which it shares with nobody."""
        self._fields()
        self._fill(instance, self._struct())

    def _fill(self, instance: Actor, stored: Any) -> None:
        for name in self._names:
            setattr(instance, name, getattr(stored, name))

    def load(self, key: str, state: str | None, version: int) -> Actor:
        """Return an actor with stored state, migrated if an older version stored it.

        Raises PayloadInvalid, or what the class's own code raised; never an exit.
        """
        where = f"state of {self.name}/{key}"
        try:
            if state is None:
                return self.new(key)
            text = state if version == self.version else self._migrated(state, version)
            self._fields()
            instance = self.cls.__new__(self.cls)
            instance.id = key
            self._fill(instance, codec(self._struct).decode(text, where))
            return instance
        except Exception:
            raise
        except BaseException as error:
            raise PayloadInvalid(where, f"cannot be loaded: {error!r} was raised") from error

    def read(self, key: str, method: str, args: str, state: str | None, version: int) -> str:
        """Return what a query makes of stored state, as JSON; changes to it are dropped."""
        handler = self.handler(method)
        instance = self.load(key, state, version)
        arguments, keywords = handler.signature.decode(args)
        try:
            found = handler.fn(instance, *arguments, **keywords)
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised again, as what was recorded would be
            # SystemExit and its like end whoever asks, not the engine that answers.
            raise failure.rebuild(failure.describe(error)) from None
        return encode(found, handler.result_name)

    def dump(self, instance: Actor, key: str, known: str | None = None) -> str:
        """Return an actor's state as JSON; raise PayloadInvalid if it cannot be stored.

        `known` is what was returned or loaded before: then it need not be checked again.
        """
        names = self._fields()
        where = f"state of {self.name}/{key}"
        if type(instance) is not self.cls:
            raise PayloadInvalid(where, "is another class's now; an actor keeps its class")
        held = vars(instance)
        if held.keys() != self._attributes:
            self._refuse_attributes(held.keys(), where)
        if held["id"] != key:
            raise PayloadInvalid(where, f"says id={held['id']!r:.100}; an actor keeps its key")
        text = encode({name: getattr(instance, name) for name in names}, where)
        if text != known:
            codec(self._struct).decode(text, where)
        return text

    def _refuse_attributes(self, held: AbstractSet[str], where: str) -> None:
        unknown = ", ".join(sorted(held - self._attributes))
        if unknown:
            raise PayloadInvalid(where, f"has attributes that are not annotated: {unknown}")
        gone = ", ".join(sorted(self._attributes - held))
        raise PayloadInvalid(where, f"has lost {gone}; set an attribute, do not delete it")

    def _migrated(self, state: str, version: int) -> str:
        if version > self.version:
            msg = f"state of {self.name} has version {version}, the code has {self.version}"
            raise PayloadInvalid(msg, "bring the newer code, or migrate it back")
        data: dict[str, Any] = msgspec.json.decode(state)
        while version < self.version:
            migrate = self._migrations.get(version)
            if migrate is not None:
                data = migrate(data)
            version += 1
        return encode(data, f"migrated state of {self.name}")

    def _fields(self) -> list[str]:
        """Return the names of the stored attributes, read from the annotations when needed."""
        if self._struct is not None:
            return self._names
        hints = get_type_hints(self.cls, include_extras=True)
        fields: list[tuple[str, Any, Any]] = []
        for name, type_ in hints.items():
            if name in ("id", "monolite_type") or get_origin(type_) is ClassVar:
                continue
            if not hasattr(self.cls, name):
                msg = f"{self.name}.{name} needs a default: an actor exists from its first message"
                raise Misused(msg)
            default = getattr(self.cls, name)
            factory = _Copy(default)
            fields.append((name, type_, msgspec.field(default_factory=factory)))
        self._struct = msgspec.defstruct(f"{self.name}State", fields)
        self._types = {name: type_ for name, type_, _ in fields}
        self._names = list(self._types)
        self._attributes = frozenset(self._names) | {"id"}
        return self._names

    def __repr__(self) -> str:
        return f"<actor {self.name}>"


class _Copy:
    """Makes fresh copies of a default, so that actors do not share a list."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __call__(self) -> Any:
        return copy.deepcopy(self._value)


class ActorRef:
    """Addresses one actor: its handlers as functions that make calls."""

    def __init__(self, type_: ActorType, address: Address) -> None:
        self._type = type_
        self._address = address

    @property
    def id(self) -> str:
        """The actor's key."""
        return self._address.key

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        handler = self._type.handlers.get(name)
        if handler is None:
            msg = (
                f"{self._type.name} has no handler {name!r}; an actor's state is its own: "
                "write a @query that returns it"
            )
            raise Misused(msg)
        return handler.to(self._address)

    def __repr__(self) -> str:
        return f"<{self._address.id}>"


def type_of(cls: type[Any]) -> ActorType:
    """Return what is known of an actor class; raise Misused if it is none."""
    found = getattr(cls, "monolite_type", None)
    if not inspect.isclass(cls) or not isinstance(found, ActorType):
        msg = f"{cls!r} is not an actor; derive it from monolite.Actor"
        raise Misused(msg)
    return found


@overload
def update(fn: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> Handler[P, R]: ...
@overload
def update(
    *, mailbox: str = "queue", bound: int | None = None, debounce: Duration | None = None
) -> Callable[[Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]], Handler[P, R]]: ...
def update(
    fn: Any = None,
    /,
    *,
    mailbox: str = "queue",
    bound: int | None = None,
    debounce: Duration | None = None,
) -> Any:
    """Make a method a handler whose caller gets its result, after the turn has committed.

    An exception rolls the turn back and is raised at the caller. For the options see `Mailbox`.
    """
    return decorate(e.UPDATE, fn, mailbox, bound, debounce)


@overload
def signal(fn: Callable[Concatenate[Any, P], Coroutine[Any, Any, None]], /) -> Handler[P, None]: ...
@overload
def signal(
    *, mailbox: str = "queue", bound: int | None = None, debounce: Duration | None = None
) -> Callable[[Callable[Concatenate[Any, P], Coroutine[Any, Any, None]]], Handler[P, None]]: ...
def signal(
    fn: Any = None,
    /,
    *,
    mailbox: str = "queue",
    bound: int | None = None,
    debounce: Duration | None = None,
) -> Any:
    """Make a method a one-way handler: the caller goes on when the message is durable.

    An exception rolls the turn back; the message's row in the file holds it.
    """
    return decorate(e.SIGNAL, fn, mailbox, bound, debounce)


def query(fn: Callable[Concatenate[Any, P], R], /) -> Handler[P, R]:
    """Make a plain method a handler that reads committed state, beside running turns.

    What it changes is dropped.
    """
    if inspect.iscoroutinefunction(fn):
        msg = f"@query {fn.__name__} must be a plain `def`: it reads, and cannot wait"
        raise TypeError(msg)
    made: Handler[P, R] = decorate(e.QUERY, fn, "queue", None, None)
    return made
