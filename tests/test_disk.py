"""A full disk: requests are refused, reading goes on, and it ends well once there is space."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from monolite import Client, Runtime, Signal, View, activity, workflow
from monolite.errors import StorageFull
from monolite.store.protocol import Writes
from monolite.store.sqlite import log
from monolite.store.sqlite.store import SqliteStore
from tests.processes import programs
from tests.processes.place import Place

DISK_MB = 12
CHUNK_BYTES = 64 * 1024
FULL = r"the disk of .*app\.db is full; free space"


class Disk:
    """A small disk of its own, which can be filled and emptied."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ballast = directory / "ballast"

    def fill(self) -> None:
        """Leave not a byte."""
        with self.ballast.open("ab", buffering=0) as file:
            for size in (CHUNK_BYTES, 4_096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def empty(self) -> None:
        self.ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(directory)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(directory)
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


decision = Signal("decision", str)
progress = View("progress", str)


async def fill_log(rt: Runtime) -> list[str]:
    """Spawn until the log has no room, not even for a little; return what was acknowledged."""
    spawned: list[str] = []
    for size in (CHUNK_BYTES, 1):
        while True:
            try:
                run = await rt.spawn(programs.sleeps_on("x" * size), id=f"s{len(spawned)}")
            except StorageFull as error:
                assert re.search(FULL, str(error))  # noqa: PT017 - any number may succeed first
                break
            spawned.append(run.id)
    return spawned


async def test_a_full_disk_refuses_requests_serves_readers_and_recovers(disk: Disk) -> None:
    release = asyncio.Event()

    @activity
    async def produce() -> str:
        await release.wait()
        return "produced"

    @workflow
    async def produces() -> str:
        progress.set("waiting")
        return await produce()

    @workflow
    async def decides() -> str:
        progress.set("undecided")
        return await decision.receive()

    path = disk.directory / "app.db"
    async with Runtime(path, actors=[programs, produces, decides]) as rt, Client(path) as client:
        finished = await rt.spawn(programs.naps(), id="finished")
        assert await finished.result() == "rested"
        producing = await rt.spawn(produces(), id="producing")
        deciding = await rt.spawn(decides(), id="deciding")
        disk.fill()
        spawned = await fill_log(rt)
        # An outcome arrives that cannot be written; from here on each turn fails.
        release.set()
        for _ in range(3):
            with pytest.raises(StorageFull):
                await deciding.signal(decision, "refused")
            with pytest.raises(StorageFull):
                await client.spawn(programs.naps(), id="refused")
            # Readers are served all the same.
            assert await producing.view(progress) == "waiting"
            assert (await deciding.describe()).name == "decides"
            assert await finished.result() == "rested"
            assert len(await rt.list(limit=1_000)) == len(spawned) + 3
            assert len(await client.list(limit=1_000)) == len(spawned) + 3
            assert [line.kind for line in await finished.history()][-1] == "completed"
        waiting = asyncio.create_task(producing.result())
        watching = asyncio.create_task(anext(deciding.watch(progress)))
        assert await watching == "undecided"
        disk.empty()
        assert await waiting == "produced"
        assert await deciding.signal(decision, "accepted")
        assert await deciding.result() == "accepted"
    async with Runtime(path, actors=[programs, produces, decides]) as rt:
        kept = {info.id for info in await rt.list(limit=1_000)}
        assert kept == {"finished", "producing", "deciding", *spawned}


async def test_timers_that_come_due_on_a_full_disk_fire_once_there_is_space(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = disk.directory / "app.db"
    async with Runtime(path, actors=[programs]) as rt:
        napping = [await rt.spawn(programs.naps_for(0.05), id=f"n{n}") for n in range(5)]
        disk.fill()
        await fill_log(rt)
        waiting = [asyncio.create_task(run.result()) for run in napping]
        for run in napping:
            assert (await run.describe()).id == run.id
        disk.empty()
        assert await asyncio.gather(*waiting) == ["rested"] * 5


async def test_an_engine_killed_on_a_full_disk_has_kept_what_it_acknowledged(disk: Disk) -> None:
    place = Place(disk.directory)
    place.log = disk.directory.parent / "effects.jsonl"
    with place.process("tests.processes.filler", disk.ballast) as filler:
        filler.hear("full")
        filler.kill()
    spawned = [said["spawned"] for said in filler.said if "spawned" in said]
    assert spawned
    # There is no space yet: it says so, or it opens.
    with contextlib.suppress(StorageFull):
        async with Runtime(place.path, actors=[programs]):
            pass
    disk.empty()
    async with Runtime(place.path, actors=[programs]) as rt:
        kept = {info.id for info in await rt.list(limit=1_000)}
    assert kept == set(spawned)
    assert place.rows("PRAGMA integrity_check") == [("ok",)]


async def test_a_file_cannot_be_made_on_a_full_disk_and_the_error_says_so(disk: Disk) -> None:
    disk.fill()
    path = disk.directory / "app.db"
    for _ in range(2):
        with pytest.raises(StorageFull, match=FULL):
            async with Runtime(path, actors=[programs]):
                pass
        with pytest.raises(StorageFull, match=FULL):
            async with Client(path, create=True) as client:
                await client.spawn(programs.naps())
    disk.empty()
    async with Runtime(path, actors=[programs]) as rt:
        assert await (await rt.spawn(programs.naps())).result() == "rested"


def test_room_for_the_log_does_not_take_the_last_space(disk: Disk) -> None:
    """The log's room is a convenience: on a small disk others need the space more."""
    path = disk.directory / "app.db"
    with disk.ballast.open("wb") as file:
        file.truncate()
        file.write(bytes((DISK_MB - 2) << 20))
    store = SqliteStore.own(path, now_us=0)
    (disk.directory / "other").write_bytes(bytes(1 << 20))
    store.close()


# Checkpoints, which move the log into the file after a commit.


class Hook(apsw.VFS):
    """A disk that calls back when the file is synced."""

    def __init__(self, name: str) -> None:
        self.on_sync: list[object] = []
        super().__init__(name, base="unix")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return HookedFile(self, name, flags)


class HookedFile(apsw.VFSFile):
    def __init__(self, hook: Hook, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._hook = hook
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        for act in self._hook.on_sync:
            assert callable(act)
            act()
        super().xSync(flags)


def test_a_commit_holds_while_somebody_else_moves_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own checkpoint must then wait for another time, not fail the turn that committed."""
    monkeypatch.setattr(log, "LOG_PAGES_MAX", 0)
    path = tmp_path / "app.db"
    store = SqliteStore.own(path, now_us=0)
    hook = Hook("hooked")
    other = apsw.Connection(str(path), vfs="hooked")
    other.wal_autocheckpoint(0)
    other.execute("CREATE TABLE theirs (x)")
    views: list[str] = []

    def commit() -> None:
        writes = Writes()
        writes.views.append((2, "view", f'"{len(views)}"'))  # type: ignore[arg-type]
        views.append(writes.views[0][2])
        store.commit(writes)

    hook.on_sync.append(commit)
    other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    hook.on_sync.clear()
    assert views
    assert store.view(2, "view") == views[-1]  # type: ignore[arg-type]
    other.close()
    store.close()
    hook.unregister()


def test_a_commit_holds_while_the_file_itself_has_no_space(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has room still, but what it holds cannot be moved into the file."""
    monkeypatch.setattr(log, "LOG_PAGES_MAX", 100)
    store = SqliteStore.own(disk.directory / "app.db", now_us=0)
    disk.fill()
    for number in range(60):
        writes = Writes()
        writes.views.append((number, "view", f'"{"x" * 8_000}"'))  # type: ignore[arg-type]
        store.commit(writes)
    disk.empty()
    for number in range(60):
        assert store.view(number, "view")  # type: ignore[arg-type]
    store.close()
