"""A portrait: everything that a file knows of one run, read as one snapshot."""

from __future__ import annotations

from typing import Any

import msgspec

from monolite.core import failure
from monolite.core.entry import Run
from monolite.core.failure import Failure
from monolite.core.handle import HistoryEntry, Info
from monolite.errors import PayloadInvalid
from monolite.host import report
from monolite.host.ending import unknown
from monolite.store.sqlite.inspector import Inspector

CHILDREN_MAX = 100


class Portrait(msgspec.Struct, frozen=True):
    """One run. `failures` are (where, what) of everything that went wrong, in order."""

    run: Run
    info: Info
    views: dict[str, Any]
    children: list[Info]
    history: list[HistoryEntry]
    failures: list[tuple[str, Failure]]

    @property
    def input(self) -> Any:
        """The arguments, decoded."""
        return msgspec.json.decode(self.run.args)

    @property
    def result(self) -> Any:
        """The result, decoded; None if there is none."""
        return None if self.run.value is None else msgspec.json.decode(self.run.value)

    def document(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        found: dict[str, Any] = msgspec.structs.asdict(self.info)
        return {
            **found,
            "input": self.input,
            "result": self.result,
            "views": self.views,
            "children": self.children,
            "history": self.history,
            "failures": [{"at": at, **_plain(failed)} for at, failed in self.failures],
        }


def portrait(inspector: Inspector, id: str) -> Portrait:
    """Read the newest run of an id; raise UnknownWorkflow if there is none."""
    run = inspector.run_by_id(id)
    if run is None:
        raise unknown(id)
    return Portrait(
        run=run,
        info=report.info(run),
        views={name: msgspec.json.decode(text) for name, text in inspector.views(run.no).items()},
        children=[report.info(child) for child in inspector.children(run.no, CHILDREN_MAX)],
        history=report.history(run, inspector),
        failures=_failures(run, inspector),
    )


def _failures(run: Run, inspector: Inspector) -> list[tuple[str, Failure]]:
    found = [(f"{a.key}, attempt {a.number}", a.error) for a in inspector.attempts(run.no)]
    found += [(x.key, x.error) for x in inspector.entries(run.no)]
    found.append((run.name, run.error))
    return [(at, _decoded(text)) for at, text in found if text is not None]


def _decoded(text: str) -> Failure:
    try:
        return failure.decode(text)
    except PayloadInvalid:
        return Failure(type="Unreadable", module="", message=text)


def _plain(failed: Failure) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(failed)
    return found
