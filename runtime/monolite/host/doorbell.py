"""The doorbell: how other processes wake the engine without either side polling.

A Unix datagram socket beside the file. A client that has committed something sends one byte; a
client that waits for something binds a socket of its own, and says so by sending "w", and the
engine rings back after commits. The bell carries no data: whoever hears it reads the file.
Losing a ring costs a delay (both sides look once a second anyway), never a message.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
from pathlib import Path

PATH_BYTES_MAX = 100
"""Unix socket addresses hold 108 bytes on Linux, 104 elsewhere."""

RING_BYTES_MAX = 4_097
"""A ring that asks to be rung back carries a path, which has at most 4,096 bytes."""

RINGS_MAX = 1_000
"""Rings taken at once: whoever rings without pause cannot hold up the engine."""

WATCHERS_MAX = 256
"""Waiting clients the engine rings back; others find out when they next look."""


class Bell:
    """A bound datagram socket, removed when closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket_file = Path(_address(path))
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(0)
        try:
            self._socket_file.unlink(missing_ok=True)
            # For its owner only. Not by umask: that belongs to every thread of the process.
            with contextlib.suppress(OSError):
                os.fchmod(self.socket.fileno(), 0o600)
            self.socket.bind(str(self._socket_file))
            self._socket_file.chmod(0o600)
            self._made = _identity(self._socket_file)
        except BaseException:
            self.socket.close()
            raise

    @classmethod
    def hang(cls, path: Path) -> Bell | None:
        """Return a bell, or None where there can be none: then both sides look now and then.

        Some file systems know no sockets, and a reader may have no right to add a file.
        """
        try:
            return cls(path)
        except OSError:
            return None

    def fileno(self) -> int:
        return self.socket.fileno()

    def listen(self) -> list[str]:
        """Take every ring that has come in; return the addresses that want to be rung back."""
        callers: list[str] = []
        for _ in range(RINGS_MAX):
            try:
                data = self.socket.recv(RING_BYTES_MAX)
            except OSError:
                return callers
            if data.startswith(b"w"):
                callers.append(os.fsdecode(data[1:]))
        return callers

    def ring(self, path: Path | str, data: bytes = b"!") -> bool:
        """Ring another bell; return whether anybody is there. Never waits."""
        return _send(self.socket, Path(path), data)

    def close(self) -> None:
        # By now it may be the bell of a new owner who took the file over.
        with contextlib.suppress(OSError):
            if _identity(self._socket_file) == self._made:
                self._socket_file.unlink()
        self.socket.close()


def ring(path: Path) -> bool:
    """Ring a bell without having one; return whether anybody is there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as caller:
        caller.settimeout(0)
        return _send(caller, path, b"!")


def _send(caller: socket.socket, path: Path, data: bytes) -> bool:
    try:
        caller.sendto(data, _address(path))
    except (BlockingIOError, InterruptedError):
        return True  # its queue is full of rings: it will look
    except OSError:
        return False
    return True


def engine_bell(path: Path) -> Path:
    """Return where the engine of a file listens."""
    return path.resolve().with_name(path.name + ".bell")


def client_bell(path: Path) -> Path:
    """Return a new place for a client of a file to listen."""
    return path.resolve().with_name(f"{path.name}.bell-{secrets.token_hex(6)}")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _address(path: Path) -> str:
    """Return where the socket meant by `path` is: there, or in the temporary directory.

    The kernel takes only short addresses; a long path is stood in for by its hash.
    """
    text = str(path)
    if len(os.fsencode(text)) <= PATH_BYTES_MAX:
        return text
    name = hashlib.blake2b(os.fsencode(text), digest_size=12).hexdigest()
    return str(Path(tempfile.gettempdir()) / f"monolite-{name}.bell")
