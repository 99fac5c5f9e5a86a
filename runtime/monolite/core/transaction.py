"""Transactions: functions that write the application's own tables, exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Generic, NoReturn, ParamSpec, TypeVar

from monolite.core.call import Call, Options
from monolite.core.definition import Definition
from monolite.core.signature import Signature
from monolite.errors import Misused

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Transaction(Definition[R_co], Generic[P, R_co]):
    """A function that is given the file's connection inside the commit that journals it."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__(fn, None, Options())
        if self.is_async:
            msg = f"@transaction {self.name} must be a plain `def`: it holds the file's only writer"
            raise TypeError(msg)
        self.signature = Signature(fn, self.name, skip_first=True)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        return Call(self, args, kwargs, self.opts)

    async def bare(self, call: Call[Any]) -> NoReturn:
        msg = (
            f"{call!r} needs a workflow or an actor's turn, whose commit it is part of; "
            f"to test it alone, call {self.name}.fn(connection, ...)"
        )
        raise Misused(msg)


def transaction(fn: Callable[Concatenate[Any, P], R], /) -> Transaction[P, R]:
    """Make `def reserve(db, sku: str, n: int) -> bool` part of the engine's own commit.

    `db` is an apsw connection to the same file, for the application's own tables. Awaited in a
    workflow or a turn, the function runs in the very commit that journals its result: exactly
    once. If it raises, what it wrote is undone (a SAVEPOINT of its own), and ActivityFailed
    with its error as `cause` is raised where it is awaited. Keep it short: every other run of
    the file waits. It cannot commit, roll back, or touch monolite's own tables.
    """
    made: Transaction[P, R] = Transaction(fn)
    return made
