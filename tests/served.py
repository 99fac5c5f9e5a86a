"""Served: `monolite serve` as a real process that a test starts, listens to and stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

TIME_LIMIT_S = 30


class Served:
    """An engine process. Entering waits until it serves; leaving kills it if it still runs."""

    def __init__(self, file: Path, *words: object, cwd: Path | None = None) -> None:
        self.log: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "monolite", "serve", str(file), *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd or file.parent,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        self.hear("serving")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        with self._process:
            return

    def hear(self, word: str) -> None:
        """Wait until it logs a line with this word; fails if it ends before."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            if word in line:
                return
        raise AssertionError(f"it ended before it said {word!r}: {''.join(self.log)}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop, and return its exit status."""
        self._process.send_signal(number)
        return self.ended()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait until it has ended by itself; return its exit status."""
        out, err = self._process.communicate(timeout=TIME_LIMIT_S)
        self.log.append(err)
        assert out == "", "serve prints nothing on stdout"
        return self._process.returncode
