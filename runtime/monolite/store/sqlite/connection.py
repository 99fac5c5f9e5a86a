"""Connections: opening a file the safe way, checking what it is, setting what must be set."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from monolite.errors import FileDamaged, FileForeign, FileOwned, FileTooNew, StorageFull
from monolite.store.sqlite.log import wal_of
from monolite.store.sqlite.statements import statements

APPLICATION_ID = 0x6D6F6E6F
"""SQLite's application id of our files: "mono"."""

FORMAT = 1
"""The format this code writes. Older files migrate forward, newer ones are refused."""

SQLITE_MIN = (3, 51, 3)
"""Older versions can lose commits when two connections checkpoint (the WAL-reset bug)."""

BUSY_TIMEOUT_MS = 5_000
"""Litestream takes the write lock for its own checkpoints: wait that long for it."""

PAGE_BYTES_MIN = 512
"""SQLite takes a shorter file for an empty one, and would write over it."""

JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""Begins a rollback journal of SQLite's; 16 bytes on stands how many pages the file had."""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

CACHE_KIB = 64 * 1024


def examine(path: Path) -> bool:
    """Return whether `path` holds a file already; raise if it is not one we can open.

    Looks without locks, so that such a file is not touched, not even by a lock file.
    """
    if path.is_dir():
        msg = f"{path} is a directory; give the path of a file in it, such as {path / 'app.db'}"
        raise FileForeign(msg)
    if not path.parent.is_dir():
        msg = f"{path.parent} is not a directory; create it first"
        raise FileForeign(msg)
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}; check its permissions"
        raise FileForeign(msg) from error
    if not stat.S_ISREG(found.st_mode):
        raise FileForeign(f"{path} is not a regular file; give monolite a path of its own")
    if found.st_size == 0:
        return False
    if not os.access(path, os.R_OK):
        msg = f"{path} cannot be read: permission denied; check its owner and mode"
        raise FileForeign(msg)
    if found.st_size < PAGE_BYTES_MIN:
        raise FileForeign(f"{path} is not a SQLite file; give monolite a path of its own")
    half = has_log(path)
    con = open_as_it_lies(path)
    try:
        with translated(path):
            _examine_contents(con, path, half=half)
    finally:
        con.close()
    return True


def _examine_contents(con: apsw.Connection, path: Path, *, half: bool) -> None:
    try:
        if con.pragma("application_id") != APPLICATION_ID:
            refuse_foreign(con, path)
            if half:
                raise _foreign(path)  # all it holds is there; ours is marked in the file first
        elif _has_tables(con):  # else its maker was killed, or they are in the log
            check_format(con, path, statements())
    except apsw.NotADBError:
        if not _is_half_made(path):
            raise
    except (apsw.CorruptError, FileDamaged):
        # Without its log the file may be half of a newer state: then opening it will tell.
        if not half and not has_log(path):
            raise


def _is_half_made(path: Path) -> bool:
    """Return whether a power cut has left a file without its beginning, which opening undoes.

    Its rollback journal then says that the file was empty before.
    """
    try:
        with path.with_name(path.name + "-journal").open("rb") as journal:
            head = journal.read(20)
    except OSError:
        return False
    return head.startswith(JOURNAL_MAGIC) and head[16:] == bytes(4)


def refuse_foreign(con: apsw.Connection, path: Path) -> None:
    """Raise FileForeign if a file has contents and they are not ours."""
    if (
        con.pragma("application_id") != APPLICATION_ID
        and con.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    ):
        raise _foreign(path)


def _foreign(path: Path) -> FileForeign:
    return FileForeign(
        f"{path} is a SQLite file of another application; "
        "give monolite a new path (your own tables can be added to its file)"
    )


def has_log(path: Path) -> bool:
    """Return whether part of what a file holds is in its log."""
    try:
        return wal_of(path).stat().st_size > 0
    except OSError:
        return False


def check_format(con: apsw.Connection, path: Path, sql: dict[str, str]) -> None:
    """Raise FileTooNew if the file was written by a newer monolite."""
    if not _has_tables(con):
        raise _without_tables(con, path)
    row = con.execute(sql["file"]).fetchone()
    if row is None:
        msg = f"{path} has lost the row that says what it is; restore it from a backup"
        raise FileDamaged(msg)
    if int(row[0]) > FORMAT:
        raise FileTooNew(str(path), int(row[0]), FORMAT)


def _has_tables(con: apsw.Connection) -> bool:
    sql = "SELECT 1 FROM sqlite_schema WHERE name = 'monolite_file'"
    return con.execute(sql).fetchone() is not None


def _without_tables(con: apsw.Connection, path: Path) -> FileDamaged | FileForeign:
    if con.pragma("application_id") != APPLICATION_ID:
        return FileForeign(f"{path} is empty; give the path of a monolite file")
    return FileDamaged(
        f"{path} holds none of monolite's tables: they were in {path.name}-wal when it was "
        "copied; copy both files, or copy it with `sqlite3 FILE '.backup COPY'`"
    )


def open_writer(path: Path, *, synchronous: int) -> apsw.Connection:
    """Open the connection that writes; files are made readable by their owner only.

    Until `keep_log(con, keep=False)`, closing it leaves a log as it was: a file that turns out
    to be unfit is not written to.
    """
    require_sqlite()
    if not path.exists():
        _make(path)
    con = _open(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, "")
    try:
        con.set_busy_timeout(BUSY_TIMEOUT_MS)
        keep_log(con, keep=has_log(path))
        with translated(path):
            if con.pragma("application_id") != APPLICATION_ID:
                refuse_foreign(con, path)
                # Before WAL mode, so that the mark is in the main file from the first moment.
                con.pragma("application_id", APPLICATION_ID)
            set_pragmas(con, synchronous)
    except BaseException:
        con.close()
        raise
    return con


def _make(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StorageFull(full(path)) from error
        msg = f"{path} cannot be made: {error.strerror}; check its directory"
        raise FileForeign(msg) from error


def full(path: Path) -> str:
    """Return how it is said that nothing more fits on a file's disk."""
    return f"the disk of {path} is full; free space, then try again"


def keep_log(con: apsw.Connection, *, keep: bool) -> None:
    """Say whether the last connection leaves the log behind instead of emptying it."""
    con.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(keep))


def set_pragmas(con: apsw.Connection, synchronous: int) -> None:
    """Set what the writer relies on, and read each back: a pragma fails silently."""
    wanted: dict[str, Any] = {
        "journal_mode": "wal",
        "synchronous": synchronous,  # FULL: an acknowledged commit survives a power cut
        "wal_autocheckpoint": 0,  # its errors are silent; we checkpoint ourselves
        "mmap_size": 0,  # an I/O error would be a SIGBUS instead of an exception
        "trusted_schema": 0,  # a restored file must not run functions of its choosing
        "cache_size": -CACHE_KIB,
    }
    for name, value in wanted.items():
        con.pragma(name, value)
        found = con.pragma(name)
        if found != value:
            msg = (
                f"SQLite did not accept {name}={value!r} (it is {found!r}): is this a network disk?"
            )
            raise FileDamaged(msg)


def open_reader(path: Path) -> apsw.Connection:
    """Open a read-only connection; a copy in a place we cannot write is read as it lies."""
    if not path.is_file():
        examine(path)
        msg = f"{path} does not exist; give the path of a monolite file"
        raise FileForeign(msg)
    try:
        con = _open(path, apsw.SQLITE_OPEN_READONLY, "")
        con.set_busy_timeout(BUSY_TIMEOUT_MS)
        con.pragma("application_id")
    except (apsw.CantOpenError, apsw.ReadOnlyError) as error:
        if has_log(path):
            msg = (
                f"{path} cannot be read here: its log {wal_of(path).name} needs an index beside "
                "it; copy both files to a directory that you may write to"
            )
            raise FileForeign(msg) from error
        con = open_as_it_lies(path)
    except apsw.Error as error:
        raise translate(error, path) from error
    return con


def open_as_it_lies(path: Path) -> apsw.Connection:
    """Open a file that nobody writes to: without locks, without its log, without a trace."""
    return _open(path, apsw.SQLITE_OPEN_READONLY, "immutable=1")


def check_damage(con: apsw.Connection, path: Path) -> None:
    """Raise FileDamaged if SQLite's quick check finds anything wrong."""
    with translated(path):
        row = con.execute("PRAGMA quick_check(1)").fetchone()
    if row is None or row[0] != "ok":
        found = row[0] if row else "no answer"
        msg = f"{path} is damaged ({found}); restore it from a backup, nothing was written"
        raise FileDamaged(msg)


def require_sqlite() -> None:
    """Raise FileDamaged if apsw was built with a SQLite that can damage files."""
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < SQLITE_MIN:
        msg = (
            f"apsw brings SQLite {apsw.sqlite_lib_version()}, which can lose commits in WAL mode; "
            "upgrade apsw to 3.51.3 or later"
        )
        raise FileDamaged(msg)


class translated:  # noqa: N801 - reads as a word at its use: `with translated(path)`
    """Turn SQLite's complaints about the file itself into ours."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if isinstance(error, apsw.Error):
            raise translate(error, self._path) from error


def translate(error: apsw.Error, path: Path) -> Exception:
    """Return our error for SQLite's, or SQLite's own if it is not about the file."""
    if isinstance(error, apsw.NotADBError):
        return FileForeign(f"{path} is not a SQLite file; give monolite a path of its own")
    if isinstance(error, apsw.CorruptError):
        return FileDamaged(f"{path} is damaged ({error}); restore it from a backup")
    if isinstance(error, (apsw.CantOpenError, apsw.PermissionsError, apsw.ReadOnlyError)):
        return FileForeign(f"{path} cannot be opened: {error}; check its owner and mode")
    if isinstance(error, (apsw.BusyError, apsw.ProtocolError)):
        return FileOwned(str(path), "another process, which holds SQLite's write lock")
    if isinstance(error, apsw.FullError) or _code(error) == apsw.SQLITE_IOERR_SHMSIZE:
        return StorageFull(full(path))
    if isinstance(error, apsw.IOError):
        return FileDamaged(f"{path} cannot be read: {error}; check the disk, or restore a backup")
    return error


def _code(error: apsw.Error) -> int:
    return int(getattr(error, "extendedresult", 0))


def _open(path: Path, flags: int, query: str) -> apsw.Connection:
    uri = f"file:{quote(str(path.absolute()))}" + (f"?{query}" if query else "")
    try:
        return apsw.Connection(uri, flags=flags | apsw.SQLITE_OPEN_URI)
    except apsw.Error as error:
        if query or flags & apsw.SQLITE_OPEN_READWRITE:
            raise translate(error, path) from error
        raise
