"""What every test shares: property tests that repeat exactly, from run to run."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("monolite", derandomize=True, database=None, deadline=None)
settings.load_profile("monolite")
