"""The display: how a demo goes, redrawn in place on a terminal, as lines anywhere else."""

from __future__ import annotations

import contextlib
from typing import TextIO

BAR_CHARS = 30
CLEAR = "\r\x1b[2K"
BOLD, RED, GREEN, PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[0m"


class Display:
    """Prints progress. When nobody reads it any more, it goes on silently."""

    def __init__(self, out: TextIO, *, color: bool) -> None:
        self._out = out
        self._live = out.isatty()
        self._color = color and self._live
        self._last = ""

    def bar(self, label: str, done: int, total: int) -> None:
        """Show how far something is; on a terminal, over what it showed before."""
        if not self._live or total == 0:
            return
        full = BAR_CHARS * done // total
        drawn = f"  [{'#' * full}{'.' * (BAR_CHARS - full)}] {done}/{total} {label}"
        if drawn != self._last:
            self._last = drawn
            self._write(CLEAR + drawn)

    def line(self, text: str, style: str = "") -> None:
        """Print a line that stays."""
        before = CLEAR if self._last else ""
        self._last = ""
        if self._color and style:
            text = f"{style}{text}{PLAIN}"
        self._write(f"{before}{text}\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._out.write(text)
            self._out.flush()
