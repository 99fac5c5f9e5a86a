"""What mypy and pyright see through every decorator."""

from __future__ import annotations
