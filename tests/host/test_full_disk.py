"""A full disk: requests are refused, nothing is lost, and it recovers by itself."""

from __future__ import annotations
