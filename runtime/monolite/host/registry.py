"""The registry: which workflows this process has the code of."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from monolite.core.actor import Actor, ActorType, type_of
from monolite.core.definition import Activity, Workflow
from monolite.errors import Misused, UnknownWorkflow


class Registry:
    """Workflows by name."""

    def __init__(self, actors: Iterable[Any] = ()) -> None:
        self._workflows: dict[str, dict[int, Workflow[Any, Any]]] = {}
        self.actors: dict[str, ActorType] = {}
        """Actor classes by name."""
        for actor in actors:
            self.add(actor)

    def add(self, actor: Any) -> None:
        """Add a definition, or every definition that a module holds."""
        if isinstance(actor, ModuleType):
            for value in vars(actor).values():
                if isinstance(value, Workflow):
                    self._add(value)
                elif isinstance(value, type) and issubclass(value, Actor) and value is not Actor:
                    self._add_actor(type_of(value))
        elif isinstance(actor, Workflow):
            self._add(actor)
        elif isinstance(actor, type) and issubclass(actor, Actor):
            self._add_actor(type_of(actor))
        elif not isinstance(actor, Activity):
            msg = (
                "actors takes @workflow definitions, Actor classes and modules that hold them, "
                f"not {actor!r}"
            )
            raise Misused(msg)

    def _add_actor(self, type_: ActorType) -> None:
        type_.check()
        known = self.actors.setdefault(type_.name, type_)
        if known is not type_ or type_.name in self._workflows:
            msg = f"two actors or workflows are named {type_.name!r}; rename one of them"
            raise Misused(msg)

    def get_actor(self, name: str) -> ActorType | None:
        """Return the actor class called `name`, or None."""
        return self.actors.get(name)

    def find_actor(self, name: str) -> ActorType:
        """Return the actor class called `name`; raise UnknownWorkflow if its code is not here."""
        found = self.actors.get(name)
        if found is None:
            msg = f"no code for actor {name!r} here; pass the class in Runtime(actors=[...])"
            raise UnknownWorkflow(msg)
        return found

    def _add(self, found: Any) -> None:
        actor: Workflow[Any, Any] = found
        versions = self._workflows.setdefault(actor.name, {})
        known = versions.setdefault(actor.version, actor)
        if known is not actor and known.fn is not actor.fn:
            msg = (
                f"two workflows are named {actor.name!r} ({_place(known)} and {_place(actor)}); "
                "give one of them @workflow(name=...), or another version"
            )
            raise Misused(msg)

    def find(self, name: str, version: int = 0) -> Workflow[Any, Any]:
        """Return the workflow as `get` does; raise UnknownWorkflow if its code is not here."""
        found = self.get(name, version)
        if found is None:
            known = ", ".join(sorted(self._workflows)) or "none"
            msg = (
                f"no code for workflow {name!r} here (there is code for: {known}); "
                "pass it, or its module, in Runtime(actors=[...])"
            )
            raise UnknownWorkflow(msg)
        return found

    def get(self, name: str, version: int = 0) -> Workflow[Any, Any] | None:
        """Return a workflow: the version asked for if its code is here, else the newest."""
        versions = self._workflows.get(name)
        if versions is None:
            return None
        return versions.get(version) or versions[max(versions)]

    @property
    def names(self) -> list[str]:
        """The names of the workflows that this process can run."""
        return sorted(self._workflows)


def _place(definition: Workflow[Any, Any]) -> str:
    return f"{definition.fn.__module__}.{definition.fn.__qualname__}"
