"""Many at once: all make progress, and runs that never stop do not stop the others."""

from __future__ import annotations
