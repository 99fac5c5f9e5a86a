"""Values that cannot be stored fail the one call; what shares its commit goes on."""

from __future__ import annotations
