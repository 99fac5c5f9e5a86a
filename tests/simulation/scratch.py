"""Scratch: a directory for simulated files, in memory where there is such a place.

What the machine's own disk does with them is of no interest, and takes most of the time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")


@contextmanager
def scratch() -> Generator[Path]:
    parent = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="monolite-", dir=parent) as directory:
        yield Path(directory)
