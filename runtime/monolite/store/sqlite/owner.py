"""Ownership: one engine per file, by an operating-system lock beside it.

The lock is the fast, local truth: free the moment its holder dies. A holder that is merely
stopped can be passed over (`takeover`); what keeps it from writing when it wakes is the epoch,
which every write transaction checks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import socket
import sys
import time
import weakref
from collections.abc import MutableSequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec

from monolite.errors import FileForeign, FileOwned, StorageFull

ASKED_MAX = 100
"""How often to try again because somebody asks who owns the file, which takes microseconds."""

ASKED_WAIT_S = 0.001

MARK_AT = 4_096
"""Where in the lock's file the mark is, behind the words about its owner."""

MARK_BYTES = 8


class Owner(msgspec.Struct, frozen=True):
    """Who owns a file."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


def this_process(now_us: int) -> Owner:
    """Return this process as an owner."""
    since = datetime.fromtimestamp(now_us / 1_000_000, UTC).isoformat(timespec="seconds")
    return Owner(os.getpid(), socket.gethostname(), since)


class Mark:
    """One number in a file, mapped into memory: setting it costs no more than an assignment.

    The bytes are written first: a map of a hole would find a full disk only when it is used. By a
    descriptor of its own: a map keeps it, also in a fork, and the lock must not last with it.
    """

    def __init__(self, path: Path) -> None:
        self._views: list[memoryview[Any]] = []
        self._mapped: mmap.mmap | None = None
        self.cells: MutableSequence[int] = [0]
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.pwrite(fd, bytes(MARK_BYTES), MARK_AT)
                self._mapped = mmap.mmap(fd, MARK_AT + MARK_BYTES)
            finally:
                os.close(fd)
        except (OSError, ValueError):
            return  # the number is set in vain then: nobody is blamed
        whole = memoryview(self._mapped)
        part = whole[MARK_AT:]
        numbers = part.cast("q")
        self._views = [numbers, part, whole]
        self.cells = cast("MutableSequence[int]", numbers)

    def close(self) -> None:
        """Let go of the file; the number must not be set any more."""
        for view in self._views:
            view.release()
        if self._mapped is not None:
            self._mapped.close()


class OwnerLock:
    """The lock on `<file>.lock`, held until `release` or the end of the process."""

    def __init__(self, path: Path, owner: Owner, *, takeover: bool) -> None:
        self.path = path.with_name(path.name + ".lock")
        self.blamed = 0
        """The run whose code was being executed when the last owner died, or 0."""
        self._fd = self._acquire(owner, path, takeover=takeover)
        self._mark = Mark(self.path)
        # A fork shares the lock, and would keep it when we are killed.
        os.register_at_fork(after_in_child=partial(_abandon, weakref.ref(self)))

    def _acquire(self, owner: Owner, path: Path, *, takeover: bool) -> int:
        asked = 0
        while True:
            fd = self._open(path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if asked < ASKED_MAX and _is_only_asked_about(fd):
                    asked += 1
                    os.close(fd)
                    time.sleep(ASKED_WAIT_S)
                    continue
                holder = _read_owner(fd)
                os.close(fd)
                if not takeover:
                    raise FileOwned(str(path), holder) from None
                # A new lock file: the old holder keeps a lock on a file without a name.
                self.path.unlink(missing_ok=True)
                continue
            if _same_file(fd, self.path):
                # Without it, as on a full disk, the lock holds as well; it only has no name.
                with contextlib.suppress(OSError):
                    self.blamed = _read_mark(fd)
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, msgspec.json.encode(owner), 0)
                return fd
            os.close(fd)

    def _open(self, path: Path) -> int:
        try:
            return os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                msg = f"the disk of {path} is full; free space, then try again"
                raise StorageFull(msg) from error
            msg = (
                f"{path} cannot be owned: its lock {self.path.name} cannot be made "
                f"({error.strerror}); check the owner and mode of the directory and of the lock"
            )
            raise FileForeign(msg) from error

    def check(self, path: Path) -> None:
        """Raise FileOwned if we were passed over since: the lock has a new file, or none."""
        if not _same_file(self._fd, self.path):
            holder = owner_of(path) or "another process, which has taken it over meanwhile"
            raise FileOwned(str(path), str(holder))

    def abandon(self) -> None:
        """Close our end without unlocking: in a forked child, where the lock is the parent's."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def mark(self) -> MutableSequence[int]:
        """One number in the lock's file, which survives us: what its next owner may blame."""
        return self._mark.cells

    def release(self) -> None:
        """Give the lock up, removing its file if it is still ours."""
        self._mark.close()
        if self._fd < 0:
            return
        if _same_file(self._fd, self.path):
            self.path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1


def _read_mark(fd: int) -> int:
    return int.from_bytes(os.pread(fd, MARK_BYTES, MARK_AT), sys.byteorder)


def _is_only_asked_about(fd: int) -> bool:
    """Return whether nobody owns the lock, but `owner_of` is trying it at this moment."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _abandon(lock: weakref.ref[OwnerLock]) -> None:
    held = lock()
    if held is not None:
        held.abandon()


def owner_of(path: Path) -> Owner | None:
    """Return the process that holds the file's lock now, or None if nobody does."""
    real = Path(os.path.realpath(path))
    try:
        fd = os.open(real.with_name(real.name + ".lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _decode_owner(fd)
    else:
        return None
    finally:
        os.close(fd)


def _same_file(fd: int, path: Path) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(fd)
    return (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)


def _decode_owner(fd: int) -> Owner | None:
    try:
        text = os.pread(fd, MARK_AT, 0).rstrip(b"\0")
        return msgspec.json.decode(text, type=Owner)
    except msgspec.DecodeError:
        return None


def _read_owner(fd: int) -> str:
    return str(_decode_owner(fd) or "another process (it has not said which)")
