"""The log: rewritten in place at opening, given room in advance, and read by SQLite as ever."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from monolite.store.sqlite import log
from monolite.store.sqlite.connection import open_reader, open_writer
from monolite.store.sqlite.log import LOG_PAGES_MAX, ROOM_BYTES, make_room, rewrite, wal_of
from monolite.store.sqlite.store import SqliteStore
from tests.store.samples import NOON_US, a_message, a_run, batch, everything

FRAME_BYTES = 4096 + 24


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def con(path: Path) -> Iterator[apsw.Connection]:
    """A writer of a file with one table, whose log holds everything it has committed."""
    con = open_writer(path, synchronous=1)
    con.execute("CREATE TABLE t (x)")
    yield con
    con.close()


def put(con: apsw.Connection, *values: int) -> None:
    for value in values:
        con.execute("INSERT INTO t VALUES (?)", (value,))


def values_in(con: apsw.Connection) -> list[object]:
    return [x for (x,) in con.execute("SELECT x FROM t ORDER BY rowid")]


def after_a_crash(path: Path, folder: Path) -> list[object]:
    """What another process finds in the files as they lie on the disk now."""
    folder.mkdir()
    copy = folder / path.name
    shutil.copyfile(path, copy)
    shutil.copyfile(wal_of(path), wal_of(copy))
    con = apsw.Connection(str(copy))
    try:
        assert con.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return values_in(con)
    finally:
        con.close()


class Recorded(apsw.VFS):
    """The file layer: every range written to a log, and every sync of one, in order."""

    def __init__(self) -> None:
        super().__init__("recorded", "unix", makedefault=True)
        self.ranges: list[tuple[int, int]] = []
        self.synced_after: list[int] = []
        self.full_from: int | None = None
        self.sync_fails = False

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _RecordedFile(self, name, flags)

    def covers(self, start: int, end: int) -> bool:
        """Whether the ranges follow each other from `start` to `end`, and were synced last."""
        starts = [first for first, _ in self.ranges]
        ends = [last for _, last in self.ranges]
        assert starts == [start, *ends[:-1]]
        assert ends[-1] == end
        return self.synced_after == [len(self.ranges)]


class _RecordedFile(apsw.VFSFile):
    def __init__(
        self, layer: Recorded, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._layer = layer
        super().__init__("unix", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        if self._layer.full_from is not None and offset >= self._layer.full_from:
            raise apsw.FullError
        super().xWrite(data, offset)
        self._layer.ranges.append((offset, offset + len(data)))

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._layer.sync_fails:
            raise apsw.IOError
        super().xSync(flags)
        self._layer.synced_after.append(len(self._layer.ranges))


@pytest.fixture
def recorded(con: apsw.Connection) -> Iterator[Recorded]:
    """Records what is done to files that are opened from now on: not by the writer."""
    recorded = Recorded()
    yield recorded
    recorded.unregister()


# Rewriting.


def test_rewriting_returns_the_size_and_keeps_every_byte(con: apsw.Connection, path: Path) -> None:
    put(con, 1, 2, 3)
    before = wal_of(path).read_bytes()
    inode = wal_of(path).stat().st_ino
    assert rewrite(con, path) == len(before) > 0
    assert wal_of(path).read_bytes() == before
    assert wal_of(path).stat().st_ino == inode
    assert not con.in_transaction
    assert values_in(con) == [1, 2, 3]


def test_rewriting_writes_all_of_the_log_and_syncs_it(
    con: apsw.Connection, path: Path, monkeypatch: pytest.MonkeyPatch, recorded: Recorded
) -> None:
    put(con, 1, 2, 3)
    before = wal_of(path).read_bytes()
    monkeypatch.setattr(log, "CHUNK_BYTES", 5_000)
    assert rewrite(con, path) == len(before)
    assert recorded.covers(0, len(before))
    assert wal_of(path).read_bytes() == before


def test_without_a_log_there_is_nothing_to_rewrite(con: apsw.Connection, path: Path) -> None:
    con.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert wal_of(path).stat().st_size == 0
    assert rewrite(con, path) == 0
    assert wal_of(path).stat().st_size == 0
    assert rewrite(con, path.with_name("never.db")) == 0
    assert not wal_of(path.with_name("never.db")).exists()


def test_nobody_else_writes_to_the_log_meanwhile(con: apsw.Connection, path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    con.set_busy_timeout(0)
    put_by_other = wal_of(path).read_bytes()
    for act in (rewrite, make_room):
        with pytest.raises(apsw.BusyError):
            act(con, path)
    assert wal_of(path).read_bytes() == put_by_other
    other.close()
    assert rewrite(con, path) == len(put_by_other)


def test_a_rewrite_that_fails_gives_the_write_lock_back(
    con: apsw.Connection, path: Path, recorded: Recorded
) -> None:
    recorded.sync_fails = True
    with pytest.raises(apsw.IOError):
        rewrite(con, path)
    assert not con.in_transaction
    put(con, 4)
    assert values_in(con) == [4]


# Room.


def test_room_is_zeros_behind_the_last_frame(con: apsw.Connection, path: Path) -> None:
    put(con, 1, 2, 3)
    frames = wal_of(path).read_bytes()
    make_room(con, path)
    roomy = wal_of(path).read_bytes()
    assert len(roomy) == ROOM_BYTES == LOG_PAGES_MAX * FRAME_BYTES + 32
    assert roomy[: len(frames)] == frames
    assert roomy[len(frames) :].strip(b"\0") == b""
    assert not con.in_transaction


def test_making_room_touches_no_byte_of_a_frame(
    con: apsw.Connection, path: Path, recorded: Recorded
) -> None:
    put(con, 1, 2, 3)
    end = wal_of(path).stat().st_size
    make_room(con, path)
    assert recorded.covers(end, ROOM_BYTES)


def test_commits_fill_the_room_and_the_file_does_not_grow(
    con: apsw.Connection, path: Path, tmp_path: Path
) -> None:
    put(con, 1)
    make_room(con, path)
    put(con, *range(2, 200))
    assert wal_of(path).stat().st_size == ROOM_BYTES
    assert values_in(con) == list(range(1, 200))
    assert after_a_crash(path, tmp_path / "copy") == list(range(1, 200))


def test_a_log_that_outgrows_its_room_goes_on_growing(
    con: apsw.Connection, path: Path, tmp_path: Path
) -> None:
    put(con, 1)
    make_room(con, path)
    con.execute("CREATE TABLE large (x)")
    con.execute("INSERT INTO large VALUES (zeroblob(?))", (ROOM_BYTES,))
    put(con, 2)
    assert wal_of(path).stat().st_size > ROOM_BYTES
    assert after_a_crash(path, tmp_path / "copy") == [1, 2]


def test_a_crash_right_after_making_room_loses_nothing(
    con: apsw.Connection, path: Path, tmp_path: Path
) -> None:
    put(con, 1, 2, 3)
    make_room(con, path)
    assert after_a_crash(path, tmp_path / "copy") == [1, 2, 3]


def test_a_crash_while_making_room_loses_nothing(
    con: apsw.Connection, path: Path, tmp_path: Path
) -> None:
    put(con, 1, 2, 3)
    with wal_of(path).open("ab") as wal:
        wal.write(bytes(FRAME_BYTES + 7))  # it got as far as the middle of a frame
    assert after_a_crash(path, tmp_path / "copy") == [1, 2, 3]
    make_room(con, path)
    put(con, 4)
    assert after_a_crash(path, tmp_path / "again") == [1, 2, 3, 4]


def test_a_log_that_starts_over_uses_its_room_again(
    con: apsw.Connection, path: Path, tmp_path: Path
) -> None:
    put(con, 1)
    make_room(con, path)
    for value in range(2, 6):
        con.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        put(con, value)
        make_room(con, path)
    assert wal_of(path).stat().st_size == ROOM_BYTES
    assert after_a_crash(path, tmp_path / "copy") == [1, 2, 3, 4, 5]


def test_room_is_made_once(con: apsw.Connection, path: Path, recorded: Recorded) -> None:
    put(con, 1)
    make_room(con, path)
    recorded.ranges.clear()
    recorded.synced_after.clear()
    make_room(con, path)
    assert (recorded.ranges, recorded.synced_after) == ([], [])


def test_a_large_log_is_left_as_it_is(con: apsw.Connection, path: Path) -> None:
    con.execute("CREATE TABLE large (x)")
    con.execute("INSERT INTO large VALUES (zeroblob(?))", (ROOM_BYTES,))
    before = wal_of(path).read_bytes()
    assert len(before) > ROOM_BYTES
    make_room(con, path)
    assert wal_of(path).read_bytes() == before


def test_a_log_without_a_header_gets_no_room(con: apsw.Connection, path: Path) -> None:
    """Readers of the log, such as Litestream, expect a header where there is anything."""
    con.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    make_room(con, path)
    assert wal_of(path).stat().st_size == 0


def test_a_disk_without_room_to_spare_is_no_failure(
    con: apsw.Connection, path: Path, tmp_path: Path, recorded: Recorded
) -> None:
    put(con, 1)
    end = wal_of(path).stat().st_size
    recorded.full_from = end + 1
    make_room(con, path)
    assert wal_of(path).stat().st_size == end, "what it took is given back"
    put(con, 2, 3, 4, 5)
    assert values_in(con) == [1, 2, 3, 4, 5]
    assert after_a_crash(path, tmp_path / "copy") == [1, 2, 3, 4, 5]


# Beside others.


def test_readers_go_on_reading_what_they_saw(con: apsw.Connection, path: Path) -> None:
    put(con, 1, 2)
    reader = open_reader(path)
    reader.execute("BEGIN")
    assert values_in(reader) == [1, 2]
    put(con, 3)
    rewrite(con, path)
    make_room(con, path)
    put(con, 4)
    assert values_in(reader) == [1, 2]
    reader.execute("COMMIT")
    assert values_in(reader) == [1, 2, 3, 4]
    reader.close()


def test_a_reader_that_comes_later_sees_everything(con: apsw.Connection, path: Path) -> None:
    put(con, 1, 2)
    rewrite(con, path)
    make_room(con, path)
    reader = open_reader(path)
    assert values_in(reader) == [1, 2]
    reader.close()


def test_a_reader_does_not_keep_the_log_from_its_room(con: apsw.Connection, path: Path) -> None:
    put(con, 1)
    reader = open_reader(path)
    reader.execute("BEGIN")
    assert values_in(reader) == [1]
    con.set_busy_timeout(0)
    assert rewrite(con, path) > 0
    make_room(con, path)
    assert wal_of(path).stat().st_size == ROOM_BYTES
    reader.close()


# In a store.


def test_an_owner_finds_its_log_roomy_and_its_file_as_it_was(path: Path) -> None:
    store = SqliteStore.own(path, durability="normal", now_us=NOON_US)
    store.commit(batch(a_run(2), a_message(2)))
    before = everything(store)
    assert wal_of(path).stat().st_size == ROOM_BYTES
    store.close()
    again = SqliteStore.own(path, durability="normal", now_us=NOON_US)
    assert wal_of(path).stat().st_size == ROOM_BYTES
    assert everything(again) == before
    again.close()


def test_the_log_of_a_busy_store_stays_within_its_room(path: Path) -> None:
    """It is checkpointed when it has more pages than there is room for, and starts over."""
    store = SqliteStore.own(path, durability="normal", now_us=NOON_US)
    text = '"' + "x" * 40_000 + '"'
    sizes: list[int] = []
    for turn in range(1, 301):
        store.commit(batch(a_run(turn), a_message(turn, value=text)))
        sizes.append(wal_of(path).stat().st_size)
    pages_of_a_turn = 30
    assert max(sizes) <= ROOM_BYTES + pages_of_a_turn * FRAME_BYTES
    assert path.stat().st_size > ROOM_BYTES / 2
    assert store.max_run_no() == store.max_seq() == 300
    store.close()
