"""The test kit: the real engine under a clock that stands still until a test moves it.

`environment` runs workflows in virtual time, `crash_everywhere` looks for what a crash at the
wrong moment breaks, `replay` tries recorded runs on today's code. The pytest plugin has the
fixture `monolite_env`. Nothing here is imported by `import monolite`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monolite.host.rehearsal import Rehearsal, Replayed, replay
    from monolite.testing.crashes import crash_everywhere
    from monolite.testing.environments import Environment, NeverEnded, environment
    from monolite.testing.report import CrashReport, Finding
    from monolite.testing.standin import fake
else:
    _PLACES = {
        "CrashReport": "monolite.testing.report",
        "Environment": "monolite.testing.environments",
        "Finding": "monolite.testing.report",
        "NeverEnded": "monolite.testing.environments",
        "Rehearsal": "monolite.host.rehearsal",
        "Replayed": "monolite.host.rehearsal",
        "crash_everywhere": "monolite.testing.crashes",
        "environment": "monolite.testing.environments",
        "fake": "monolite.testing.standin",
        "replay": "monolite.host.rehearsal",
    }

    def __getattr__(name: str) -> Any:
        """Import what is asked for: the plugin is loaded by test runs that have no use for it."""
        if name not in _PLACES:
            msg = f"module 'monolite.testing' has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(import_module(_PLACES[name]), name)


__all__ = [
    "CrashReport",
    "Environment",
    "Finding",
    "NeverEnded",
    "Rehearsal",
    "Replayed",
    "crash_everywhere",
    "environment",
    "fake",
    "replay",
]
