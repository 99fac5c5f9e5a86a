"""An engine process: `monolite serve` as a child, to be killed or stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from monolite.cli.words import one_line
from monolite.errors import MonoliteError

STOP_S = 15.0
"""How long a stopped engine may take to close: its own grace, and a slow machine's."""


class EngineProcess:
    """A running engine; what it says goes to a log file."""

    def __init__(self, database: Path, module: str, log: Path) -> None:
        self._log = log
        serve = [sys.executable, "-m", "monolite", "serve", str(database), module]
        with log.open("wb") as output:
            self._child = subprocess.Popen(serve, stdin=subprocess.DEVNULL, stderr=output)
        self.pid = self._child.pid

    def check(self) -> None:
        """Raise if the process has ended by itself."""
        if self._child.poll() is not None:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            said = one_line(lines[-1]) if lines else "nothing"
            msg = f"engine {self.pid} ended ({self._child.returncode}); its last words: {said}"
            raise MonoliteError(msg)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL), and wait until it is gone."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()

    def stop(self) -> int:
        """Ask it to finish and close (SIGTERM), and return its exit status."""
        self._child.send_signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            return self._child.returncode

    def wait(self) -> int:
        """Wait until it has ended by itself, and return its exit status."""
        return self._child.wait(STOP_S)
