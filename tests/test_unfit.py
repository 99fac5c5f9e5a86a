"""Files that are not to be opened: a clear error, and nothing was touched."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import apsw
import pytest

from monolite import Client, MonoliteError, Runtime
from monolite.errors import FileDamaged, FileForeign, FileTooNew
from tests.processes import programs
from tests.processes.child import Child
from tests.processes.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def own(path: Path) -> None:
    async with Runtime(path, actors=[programs]):
        pass


async def take_over(path: Path) -> None:
    async with Runtime(path, actors=[programs], takeover=True):
        pass


async def send(path: Path) -> None:
    async with Client(path, create=True) as client:
        await client.spawn(programs.leaf("x"))


async def read(path: Path) -> None:
    async with Client(path, create=True) as client:
        await client.list()


Way = Callable[[Path], Awaitable[None]]
WAYS: tuple[Way, ...] = (own, take_over, send, read)

in_every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def everything_in(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Each file's mode and contents, by its place.

    Without the index of a log (-shm): to look into a log is to make one.
    """
    return {
        str(p.relative_to(directory)): (p.stat().st_mode, p.read_bytes() if p.is_file() else b"")
        for p in sorted(directory.rglob("*"))
        if not (p.name.endswith("-shm") and p.with_name(p.name[:-4] + "-wal").stat().st_size)
    }


async def refused(way: Way, path: Path, kind: type[MonoliteError], words: str) -> None:
    before = everything_in(path.parent)
    with pytest.raises(kind, match=words) as error:
        await way(path)
    assert str(path) in str(error.value)
    assert everything_in(path.parent) == before


@in_every_way
async def test_a_directory(tmp_path: Path, way: Way) -> None:
    path = tmp_path / "directory"
    path.mkdir()
    await refused(way, path, FileForeign, "is a directory; give the path of a file in it")


@in_every_way
async def test_a_directory_that_does_not_exist(tmp_path: Path, way: Way) -> None:
    with pytest.raises(FileForeign, match="missing is not a directory; create it first"):
        await way(tmp_path / "missing" / "app.db")
    assert everything_in(tmp_path) == {}


@in_every_way
async def test_something_that_is_no_file(tmp_path: Path, way: Way) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    await refused(way, path, FileForeign, "is not a regular file")


@in_every_way
@pytest.mark.parametrize("contents", [b"x", b"hello, world\n" * 1_000, bytes(8_192)])
async def test_a_file_that_is_not_sqlite(tmp_path: Path, way: Way, contents: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(contents)
    await refused(way, path, FileForeign, "is not a SQLite file; give monolite a path of its own")


@in_every_way
async def test_a_sqlite_file_of_another_application(tmp_path: Path, way: Way) -> None:
    path = tmp_path / "theirs.db"
    con = apsw.Connection(str(path))
    con.execute("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
    con.close()
    await refused(way, path, FileForeign, "is a SQLite file of another application")


@in_every_way
async def test_a_sqlite_file_whose_application_is_running(tmp_path: Path, way: Way) -> None:
    path = tmp_path / "theirs.db"
    con = apsw.Connection(str(path))
    con.pragma("journal_mode", "wal")
    con.execute("CREATE TABLE theirs (x)")
    try:
        await refused(way, path, FileForeign, "is a SQLite file of another application")
    finally:
        con.close()


@in_every_way
async def test_a_sqlite_file_whose_application_was_killed(tmp_path: Path, way: Way) -> None:
    """Everything it holds is in its log: opening and closing it would move that."""
    made = tmp_path / "made.db"
    con = apsw.Connection(str(made))
    con.pragma("journal_mode", "wal")
    con.execute("CREATE TABLE theirs (x)")
    (tmp_path / "left").mkdir()
    path = tmp_path / "left" / "theirs.db"
    shutil.copyfile(made, path)
    shutil.copyfile(f"{made}-wal", f"{path}-wal")
    con.close()
    await refused(way, path, FileForeign, "is a SQLite file of another application")


async def a_file_with_runs(path: Path, runs: int = 50) -> None:
    async with Runtime(path, actors=[programs]) as rt:
        for n in range(runs):
            await rt.spawn(programs.collector(), id=f"run {n} {'x' * 100}")


@in_every_way
async def test_a_file_of_a_newer_monolite(tmp_path: Path, way: Way) -> None:
    path = tmp_path / "app.db"
    await a_file_with_runs(path)
    con = apsw.Connection(str(path))
    con.execute("UPDATE monolite_file SET format = 99")
    con.close()
    await refused(way, path, FileTooNew, "has format 99, this monolite knows formats up to")


@in_every_way
async def test_a_file_of_a_newer_monolite_that_was_killed(place: Place, way: Way) -> None:
    async with place.client() as client:
        await client.spawn(programs.leaf("x"))
    con = apsw.Connection(str(place.path))
    con.execute("UPDATE monolite_file SET format = 99")
    log = Path(f"{place.path}-wal").read_bytes()
    main = place.path.read_bytes()
    con.close()
    path = place.path.with_name("copy") / "app.db"
    path.parent.mkdir()
    path.write_bytes(main)
    Path(f"{path}-wal").write_bytes(log)
    await refused(way, path, FileTooNew, "has format 99")


@pytest.mark.parametrize("way", [own, take_over])
async def test_a_damaged_page(tmp_path: Path, way: Way) -> None:
    path = tmp_path / "app.db"
    await a_file_with_runs(path)
    contents = bytearray(path.read_bytes())
    pages = len(contents) // 4096
    for page in range(2, pages):
        middle = page * 4096 + 2048
        contents[middle : middle + 64] = bytes(x ^ 0xFF for x in contents[middle : middle + 64])
    path.write_bytes(contents)
    await refused(way, path, FileDamaged, "(?s)is damaged .*; restore it from a backup")


async def test_each_page_is_looked_at_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    await a_file_with_runs(path)
    sound = path.read_bytes()
    pages = len(sound) // 4096
    assert pages > 15
    for page in range(1, pages):
        contents = bytearray(sound)
        contents[page * 4096] ^= 0xFF
        path.write_bytes(contents)
        await refused(own, path, FileDamaged, "(?s)is damaged .*; restore it from a backup")


@pytest.mark.parametrize("way", [own, take_over])
async def test_a_truncated_file(tmp_path: Path, way: Way) -> None:
    path = tmp_path / "app.db"
    await a_file_with_runs(path)
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)
    await refused(way, path, FileDamaged, "(?s)is damaged .*; restore it from a backup")


async def test_a_file_that_has_lost_the_row_that_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    await a_file_with_runs(path)
    con = apsw.Connection(str(path))
    con.execute("DELETE FROM monolite_file")
    con.close()
    for way in WAYS:
        await refused(way, path, FileDamaged, "has lost the row that says what it is")


# Rights.


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users can reach."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


def opened_by_somebody_else(path: Path) -> dict[str, tuple[str, str]]:
    """What a user without rights gets: (error, text) for each way of opening."""
    with Child("tests.processes.opener", path) as opener:
        found = {way: (error, text) for way, error, text in opener.lines()}
        assert opener.wait() == 0, opener.errors()
    return found


async def test_a_file_that_cannot_be_read(open_directory: Path) -> None:
    path = open_directory / "app.db"
    await a_file_with_runs(path)
    path.chmod(0o000)
    before = everything_in(open_directory)
    for error, text in opened_by_somebody_else(path).values():
        assert error == "FileForeign"
        assert f"{path} cannot be read: permission denied; check its owner and mode" in text
    assert everything_in(open_directory) == before


async def test_a_file_that_can_be_read_only(open_directory: Path) -> None:
    path = open_directory / "app.db"
    await a_file_with_runs(path, runs=3)
    path.chmod(0o444)
    before = everything_in(open_directory)
    found = opened_by_somebody_else(path)
    for way in ("run", "send"):
        error, text = found[way]
        assert error == "FileForeign"
        assert f"{path} cannot be " in text
        assert re.search("check (its|the) owner and mode", text)
    assert found["read"] == ("", "3 runs")
    assert everything_in(open_directory) == before


async def test_a_directory_that_cannot_be_written_to(open_directory: Path) -> None:
    path = open_directory / "app.db"
    open_directory.chmod(0o555)
    if os.geteuid() == 0:
        for error, text in opened_by_somebody_else(path).values():
            assert error == "FileForeign"
            assert str(path) in text
    assert everything_in(open_directory) == {}


async def test_what_lies_in_the_log_is_not_passed_over_in_silence(open_directory: Path) -> None:
    """Who can read the file but not make its index must not be shown an older state."""
    made = open_directory / "made.db"
    path = open_directory / "copy" / "app.db"
    path.parent.mkdir(mode=0o755)
    async with Runtime(made, actors=[programs]) as rt:
        await rt.spawn(programs.collector(), id="in the log")
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{made}{suffix}", f"{path}{suffix}")
    for suffix in ("", "-wal"):
        Path(f"{path}{suffix}").chmod(0o444)
    path.parent.chmod(0o555)
    error, text = opened_by_somebody_else(path)["read"]
    assert (error, text) == ("", "1 runs") or (error == "FileForeign" and "-wal" in text)


# A file of one's own.


async def test_everything_is_readable_by_its_owner_only(place: Place) -> None:
    mask = os.umask(0)
    try:
        async with Runtime(place.path, actors=[programs]) as rt, Client(place.path) as client:
            await rt.spawn(programs.collector(), id="c")
            await client.handle("c").signal(programs.numbers, ("a", 1))
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in place.path.parent.iterdir()}
    finally:
        os.umask(mask)
    assert set(modes) == {"app.db", "app.db-wal", "app.db-shm", "app.db.lock", "app.db.bell"}
    assert set(modes.values()) == {0o600}


async def test_a_clean_end_leaves_the_file_alone_in_its_place(place: Place) -> None:
    await a_file_with_runs(place.path)
    assert place.litter() == []


async def test_an_empty_file_is_a_place_for_a_new_one(place: Place) -> None:
    place.path.touch()
    await a_file_with_runs(place.path, runs=1)
    assert place.rows("SELECT count(*) FROM monolite_runs") == [(1,)]


async def test_a_file_with_nothing_in_it_yet_can_be_asked(place: Place) -> None:
    place.path.touch()
    async with Client(place.path) as client:
        with pytest.raises(FileForeign, match=r"app\.db is empty"):
            await client.list()


async def test_a_client_names_damage_that_comes_while_it_has_the_file_open(place: Place) -> None:
    await own(place.path)
    async with Client(place.path) as client:
        run = await client.spawn(programs.leaf("x"), id="x")
        con = apsw.Connection(str(place.path))
        con.pragma("wal_checkpoint(TRUNCATE)")
        con.close()
        contents = place.path.read_bytes()
        place.path.write_bytes(contents[:4096] + b"\x55" * (len(contents) - 4096))
        # (What its door knows of the file is in memory; a reader is new each time.)
        for ask in (client.list, run.describe, run.history, run.result):
            with pytest.raises(FileDamaged, match="damaged"):
                await ask()
