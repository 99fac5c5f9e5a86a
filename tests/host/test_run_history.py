"""History: everything that happened in a run, oldest first."""

from __future__ import annotations
