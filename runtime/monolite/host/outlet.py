"""The outlet: what committed turns let out, in their order, and not while what they stopped lives.

An attempt in a child process takes a moment to be gone. Until then nothing leaves of the turn that
stopped it, nor of later ones: nobody hears of a cancellation while what was cancelled has effects.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from monolite.host.batch import Released
from monolite.host.supervisor import Supervisor


class Outlet:
    """Carries out what turns let out. All methods are called on the host's event loop."""

    def __init__(self, supervisor: Supervisor, publish: Callable[[Released], None]) -> None:
        self._supervisor = supervisor
        self._publish = publish
        self._held: deque[Released] = deque()
        self._dying = 0
        """Attempts in processes that were stopped, and are not gone yet."""

    def take(self, released: Released) -> None:
        """Let a turn's effects out, once those of the turns before it are out."""
        self._held.append(released)
        if not self._dying:
            self._let_out()

    def _let_out(self) -> None:
        while self._held:
            stopped, self._held[0].stopped = self._held[0].stopped, []
            for flight in stopped:
                self._dying += self._supervisor.stop(flight, self._on_gone)
            if self._dying:
                return
            self._publish(self._held.popleft())

    def _on_gone(self) -> None:
        self._dying -= 1
        if not self._dying:
            self._let_out()
