"""Steps: a function journaled under a name, without a decorator."""

from __future__ import annotations
