"""A place: one file, the engines that run it one after another, and the effects they leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
import apsw

from monolite import Client
from monolite.host.doorbell import Bell, client_bell, engine_bell
from monolite.store.sqlite.reader import SqliteReader
from tests.processes.child import Child
from tests.processes.programs import Effect, effects, environment

T = TypeVar("T")

LOOK_S = 0.5
"""A ring may be lost; then `until` looks by itself."""


class Place:
    """Where a test's processes meet."""

    def __init__(self, directory: Path, name: str = "app.db") -> None:
        self.path = directory / name
        self.log = directory / "effects.jsonl"
        self.lives = 0

    def engine(self, *flags: str, patient: bool = False) -> Child:
        """Start the next life of the file's engine."""
        return self.process("tests.processes.engine", *flags, patient=patient)

    def process(
        self, module: str, *args: object, patient: bool = False, tracer: Sequence[str] = ()
    ) -> Child:
        self.lives += 1
        env = environment(self.log, self.lives, patient=patient)
        return Child(module, self.path, *args, env=env, tracer=tracer)

    def client(self) -> Client:
        return Client(self.path, create=True)

    def effects(self, step: str | None = None) -> list[Effect]:
        """What the outside world saw so far."""
        return [x for x in effects(self.log) if step is None or x.step == step]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the file says now."""
        # Not read-only: such a connection leaves an index behind if it was alone.
        con = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            return con.execute(sql).fetchall()
        finally:
            con.close()

    async def until(self, read: Callable[[SqliteReader], T | None]) -> T:
        """Wait until the file, read after each commit of the engine, gives an answer."""
        bell = Bell(client_bell(self.path))
        try:
            while True:
                bell.ring(engine_bell(self.path), b"w" + str(bell.path).encode())
                reader = SqliteReader.open(self.path)
                try:
                    found = read(reader)
                finally:
                    reader.close()
                if found is not None:
                    return found
                with anyio.move_on_after(LOOK_S):
                    await anyio.wait_readable(bell.socket)
                bell.listen()
        finally:
            bell.close()

    def litter(self) -> list[str]:
        """The names of the files that lie beside the file."""
        own = {self.path.name, self.log.name}
        return sorted(p.name for p in self.path.parent.iterdir() if p.name not in own)
