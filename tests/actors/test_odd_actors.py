"""Odd actors: whatever their code does fails one message, or is refused before anything runs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

import monolite
from monolite import Actor, Runtime, query, signal, update, workflow
from monolite.errors import Misused, MonoliteError, PayloadInvalid
from tests.host.hosts import World


class Odd(Actor):
    """Does to itself what `ODD_DEEDS` say."""

    n: float = 0
    any: Any = None
    items: list[int] = []

    @update
    async def ok(self) -> str:
        return f"{self.id} {self.n:g} {len(self.items)}"

    @update
    async def do(self, deed: str) -> Any:
        self.items.append(1)
        return DEEDS[deed](self)

    @update
    async def do_after_a_while(self, deed: str) -> Any:
        await asyncio.sleep(0)
        self.items.append(1)
        return DEEDS[deed](self)

    @signal
    async def told(self, deed: str) -> None:
        DEEDS[deed](self)

    @query
    def look(self, deed: str) -> Any:
        self.items.append(1)
        return DEEDS[deed](self)


class Stranger(Actor):
    """Somebody else."""


def raises(error: BaseException) -> Callable[[Odd], Any]:
    def deed(_odd: Odd) -> None:
        raise error

    return deed


def sets(name: str, value: Any) -> Callable[[Odd], Any]:
    return lambda odd: setattr(odd, name, value)


def endless(depth: int = 0) -> int:
    return endless(depth + 1)


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


class _Exits:
    def __eq__(self, other: object) -> bool:
        raise SystemExit(5)

    __hash__ = object.__hash__


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit(6)


RAISED: dict[str, Callable[[Odd], Any]] = {
    "SystemExit": raises(SystemExit(3)),
    "KeyboardInterrupt": raises(KeyboardInterrupt()),
    "GeneratorExit": raises(GeneratorExit()),
    "BaseException": raises(BaseException("base")),
    "StopIteration": raises(StopIteration()),
    "unspeakable": raises(Unspeakable()),
    "surrogate": raises(ValueError("\ud800")),
    "recursion": lambda _odd: endless(),
}
ANSWERS: dict[str, Callable[[Odd], Any]] = {
    "object": lambda _odd: object(),
    "nan": lambda _odd: math.nan,
    "beyond 64 bits": lambda _odd: 10**30,
    "beyond 4300 digits": lambda _odd: 10**5_000,
    "lone surrogate": lambda _odd: "\ud800",
    "circle": lambda _odd: circle(),
    "generator": lambda _odd: (x for x in "ab"),
}


def keeps(make: Callable[[Odd], Any]) -> Callable[[Odd], Any]:
    return lambda odd: setattr(odd, "any", make(odd))


STATES: dict[str, Callable[[Odd], Any]] = {
    **{f"state {name}": keeps(make) for name, make in ANSWERS.items()},
    "wrong type": sets("n", "text"),
    "unknown attribute": sets("extra", 1),
    "over a handler": sets("ok", 1),
    "deleted": lambda odd: delattr(odd, "items"),
    "deleted id": lambda odd: delattr(odd, "id"),
    "another id": sets("id", "other"),
    "an id that exits": sets("id", _Exits()),
    "emptied": lambda odd: vars(odd).clear(),
    "another class": sets("__class__", Stranger),
}
DEEDS = {**RAISED, **ANSWERS, **STATES}


@pytest.mark.parametrize("handler", ["do", "do_after_a_while"])
async def test_an_odd_turn_fails_alone(world: World, handler: str) -> None:
    async with world.runtime(Odd) as rt:
        odd, other = rt.actor(Odd, "a"), rt.actor(Odd, "b")
        for deed in DEEDS:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - each has its own
                await getattr(odd, handler)(deed)
            raised = deed in RAISED or deed == "an id that exits"
            assert isinstance(caught.value, PayloadInvalid) != raised, deed
            assert await odd.ok() == "a 0 0", deed
            assert await other.ok() == "b 0 0"


async def test_an_odd_one_way_message_fails_alone(world: World) -> None:
    async with world.runtime(Odd) as rt:
        odd = rt.actor(Odd, "a")
        deeds = [*RAISED, *STATES]
        for deed in deeds:
            await odd.told(deed)
        assert await odd.ok() == "a 0 0"
        errors = [x.error for x in await rt.handle("Odd/a").history() if x.error]
        assert len(errors) == len(deeds)


async def test_an_odd_query_fails_alone_and_changes_nothing(world: World) -> None:
    async with world.runtime(Odd, asks) as rt:
        odd = rt.actor(Odd, "a")
        assert await odd.ok() == "a 0 0"
        for deed in [*RAISED, *ANSWERS]:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - each has its own
                await odd.look(deed)
            told = (MonoliteError, RecursionError, ValueError, Unspeakable)
            assert isinstance(caught.value, told), deed
            assert await (await rt.spawn(asks(deed))).result() == "failed"
        await odd.look("wrong type")
        await odd.look("emptied")
        assert await odd.ok() == "a 0 0"


@workflow
async def asks(deed: str) -> str:
    try:
        await monolite.actor(Odd, "a").look(deed)
    except Exception:  # noqa: BLE001 - whatever it is
        return "failed"
    return "answered"


async def test_what_failed_turns_leave_survives_the_next_life(lives: World) -> None:
    async with lives.runtime(Odd) as rt:
        with pytest.raises(PayloadInvalid):
            await rt.actor(Odd, "a").do("wrong type")
        with pytest.raises(PayloadInvalid):
            await rt.actor(Odd, "a").do("emptied")
    async with lives.runtime(Odd) as rt:
        assert await rt.actor(Odd, "a").ok() == "a 0 0"


class Picky(Actor):
    """Cannot be made while `Picky.refuses`."""

    refuses = False
    n: int = 0

    @update
    async def add(self) -> int:
        self.n += 1
        return self.n

    def __setattr__(self, name: str, value: Any) -> None:
        if type(self).refuses:
            raise SystemExit(7)
        super().__setattr__(name, value)


async def test_an_actor_that_cannot_be_made_now_fails_its_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.runtime(Picky) as rt:
        picky = rt.actor(Picky, "p")
        monkeypatch.setattr(Picky, "refuses", True)
        with pytest.raises(PayloadInvalid, match=r"cannot be loaded: SystemExit\(7\)"):
            await picky.add()
        monkeypatch.setattr(Picky, "refuses", False)
        assert await picky.add() == 1


def made(annotation: Any = None, **members: Any) -> type[Actor]:
    """Return an actor class `Made` with one handler; `annotation` is that of `x`."""

    @update
    async def ok(self: Any) -> str:
        return "ok"

    annotations = {} if annotation is None else {"x": annotation}
    body = {"__annotations__": annotations, "__module__": __name__, "ok": ok, **members}
    return type("Made", (Actor,), body)


class Unmade:
    """Cannot be copied."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise SystemExit(8)


def exits(*_: Any) -> Any:
    raise SystemExit(9)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: made(int, x=None), "Made.x cannot be stored state: its default null"),
        (lambda: made(list[int], x=["a"]), r"Made.x cannot .* at `\$\[0\]`"),
        (lambda: made(Any, x=Unmade()), "Made.x cannot be stored state"),
        (lambda: made(float, x=math.nan), "Made.x cannot .* is nan"),
        (lambda: made(int, x=2**70), "Made.x cannot .* beyond 64 bits"),
        (lambda: made(str, x="\ud800"), "Made.x cannot .* not valid Unicode"),
        (lambda: made(object, x=1), "Made.x cannot"),
        (lambda: made(int, x=property(lambda _self: 1)), "Made.x cannot"),
        (lambda: made(int), "Made.x needs a default"),
        (lambda: made("Nowhere", x=1), "attributes of actor Made .* 'Nowhere'"),
        (lambda: made(int, x=update(exits)), r"Made.x is a handler \(update\)"),
        (lambda: made(id=update(exits)), r"Made.id is a handler \(update\)"),
        (lambda: made(__new__=exits), "no actor Made can be made: SystemExit: 9"),
        (lambda: made(__setattr__=exits), "no actor Made can be made: SystemExit: 9"),
        (lambda: made(__getattribute__=exits), "no actor Made can be made: SystemExit: 9"),
    ],
)
def test_a_class_of_which_no_actor_can_exist_is_refused(
    wrong: Callable[[], type[Actor]], told: str
) -> None:
    with pytest.raises(Misused, match=told):
        Runtime(":memory:", actors=[wrong()])


def test_a_base_class_without_handlers_may_leave_things_open() -> None:
    body = {"__annotations__": {"x": int}, "__module__": __name__}
    Runtime(":memory:", actors=[type("Base", (Actor,), body)])


@pytest.mark.parametrize("decorate", [update, signal, query, update(bound=1)])
def test_a_handler_that_yields_is_refused(decorate: Any) -> None:
    async def several(self: Any) -> Any:
        yield 1

    def plain(self: Any) -> Any:
        yield 1

    for fn in (several, plain):
        with pytest.raises(TypeError, match="yields; return a list"):
            decorate(fn)
