"""Output: what a child writes to its standard output and error, as lines of a log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import IO, Any

TAIL_BYTES = 4_096
"""How much of the end of an attempt's standard error goes with its failure."""

LINE_BYTES_MAX = 16_384
"""A longer line is logged in pieces."""

CHUNK_BYTES = 65_536

CHUNKS_MAX = 64
"""Chunks taken at once: a process that writes without pause does not hold up the others."""


class Output:
    """Both streams of one child, read in the annex."""

    def __init__(self, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._log = logging.getLogger("monolite.activity")
        self._fields: dict[str, Any] = {}
        self._files = {"stdout": stdout, "stderr": stderr}
        self._parts = {"stdout": b"", "stderr": b""}
        self._tail = b""

    def open(self) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        for stream, file in self._files.items():
            os.set_blocking(file.fileno(), False)
            loop.add_reader(file.fileno(), self._read, stream)

    def attribute(self, name: str, fields: dict[str, Any]) -> None:
        """Log what comes from now on as that of an activity's attempt."""
        self._log = logging.getLogger(f"monolite.activity.{name}")
        self._fields = fields
        self._tail = b""

    def settle(self) -> str:
        """Take all that was written; return the end of the attempt's standard error."""
        for stream in list(self._files):
            self._read(stream)
            self._line(stream, self._parts[stream])
            self._parts[stream] = b""
        return self._tail.decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Take the rest, and stop listening."""
        self.settle()
        for stream in list(self._files):
            self._drop(stream)

    def _drop(self, stream: str) -> None:
        file = self._files.pop(stream)
        asyncio.get_running_loop().remove_reader(file.fileno())
        file.close()

    def _read(self, stream: str) -> None:
        fd = self._files[stream].fileno()
        for _ in range(CHUNKS_MAX):
            try:
                data = os.read(fd, CHUNK_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                with contextlib.suppress(KeyError):
                    self._drop(stream)
                return
            self._take(stream, data)

    def _take(self, stream: str, data: bytes) -> None:
        if stream == "stderr":
            self._tail = (self._tail + data)[-TAIL_BYTES:]
        *lines, rest = (self._parts[stream] + data).split(b"\n")
        for line in lines:
            self._line(stream, line)
        while len(rest) > LINE_BYTES_MAX:
            self._line(stream, rest[:LINE_BYTES_MAX])
            rest = rest[LINE_BYTES_MAX:]
        self._parts[stream] = rest

    def _line(self, stream: str, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self._log.info("%s", text, extra={**self._fields, "stream": stream})
