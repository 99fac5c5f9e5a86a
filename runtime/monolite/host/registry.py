"""The registry: which workflows this process has the code of."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from monolite.core.definition import Activity, Workflow
from monolite.errors import Misused, UnknownWorkflow


class Registry:
    """Workflows by name."""

    def __init__(self, actors: Iterable[Any] = ()) -> None:
        self._workflows: dict[str, Workflow[Any, Any]] = {}
        for actor in actors:
            self.add(actor)

    def add(self, actor: Any) -> None:
        """Add a definition, or every definition that a module holds."""
        if isinstance(actor, ModuleType):
            for value in vars(actor).values():
                if isinstance(value, Workflow):
                    self._add(value)
        elif isinstance(actor, Workflow):
            self._add(actor)
        elif not isinstance(actor, Activity):
            msg = f"actors takes @workflow definitions and modules that hold them, not {actor!r}"
            raise Misused(msg)

    def _add(self, found: Any) -> None:
        actor: Workflow[Any, Any] = found
        known = self._workflows.setdefault(actor.name, actor)
        if known is not actor and known.fn is not actor.fn:
            msg = (
                f"two workflows are named {actor.name!r} ({_place(known)} and {_place(actor)}); "
                "give one of them @workflow(name=...)"
            )
            raise Misused(msg)

    def find(self, name: str) -> Workflow[Any, Any]:
        """Return the workflow called `name`; raise UnknownWorkflow if its code is not here."""
        found = self._workflows.get(name)
        if found is None:
            known = ", ".join(sorted(self._workflows)) or "none"
            msg = (
                f"no code for workflow {name!r} here (there is code for: {known}); "
                "pass it, or its module, in Runtime(actors=[...])"
            )
            raise UnknownWorkflow(msg)
        return found

    def get(self, name: str) -> Workflow[Any, Any] | None:
        """Return the workflow called `name`, or None."""
        return self._workflows.get(name)

    @property
    def names(self) -> list[str]:
        """The names of the workflows that this process can run."""
        return sorted(self._workflows)


def _place(definition: Workflow[Any, Any]) -> str:
    return f"{definition.fn.__module__}.{definition.fn.__qualname__}"
