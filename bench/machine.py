"""The machine of a run: what has to be known before its figures are compared with others."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import apsw


@dataclass(frozen=True)
class Machine:
    """Where and with what the figures were measured."""

    cpus: int
    system: str
    load: float
    python: str
    sqlite: str
    apsw: str
    monolite: str

    def __str__(self) -> str:
        return (
            f"{self.cpus} CPUs, {self.system}, load {self.load:.1f} at the start; "
            f"Python {self.python}, SQLite {self.sqlite} (apsw {self.apsw}), "
            f"monolite {self.monolite}"
        )


def this_machine() -> Machine:
    """Describe the machine as it is now; its load makes the difference between two runs."""
    return Machine(
        cpus=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        load=os.getloadavg()[0],
        python=platform.python_version(),
        sqlite=apsw.sqlite_lib_version(),
        apsw=apsw.apsw_version(),
        monolite=_monolite_version(),
    )


def _monolite_version() -> str:
    try:
        return version("monolite")
    except PackageNotFoundError:
        return "not installed"
