"""Places: where a function is, so that another process finds it too."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

from monolite.core.definition import Definition
from monolite.errors import Misused
from monolite.host.processes.frames import Place

MAIN = "__main__"

MAIN_ALIAS = "__monolite_main__"
"""The name under which another process has the main module, so that it does not start all over."""


def place_of(definition: Definition[Any]) -> Place:
    """Return where the function of a definition is; raise Misused if nobody else can find it."""
    fn = definition.fn
    module = getattr(fn, "__module__", None)
    qualname = getattr(fn, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        raise _not_found(definition.name, f"{fn!r} has no module and name")
    loaded = sys.modules.get(module)
    if loaded is None:
        raise _not_found(definition.name, f"there is no module {module!r}")
    file = getattr(loaded, "__file__", None)
    if module == MAIN and file is None:
        raise _not_found(definition.name, "it was typed in, and is in no file")
    found = _look_up(loaded, qualname)
    if isinstance(found, Definition):
        found = found.fn
    if found is not fn:
        raise _not_found(definition.name, f"{module}.{qualname} is something else")
    return Place(module, qualname, file)


def _not_found(name: str, why: str) -> Misused:
    return Misused(
        f"activity {name!r} cannot be found by another process: {why}; "
        "define it by its name at the top level of a module"
    )


def _look_up(module: ModuleType, qualname: str) -> Any:
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def function_at(place: Place) -> Callable[..., Any]:
    """Import the function at a place; raise what its module raises, or Misused."""
    found = _look_up(_module(place), place.qualname)
    fn: Callable[..., Any] | None = found.fn if isinstance(found, Definition) else found
    if fn is None or not callable(fn):
        raise _not_found(place.qualname, f"{place.module} has no function {place.qualname!r}")
    return fn


def _module(place: Place) -> ModuleType:
    if place.module == MAIN:
        return sys.modules[MAIN_ALIAS]
    known = sys.modules.get(place.module)
    if known is not None:
        return known
    try:
        return importlib.import_module(place.module)
    except ModuleNotFoundError as error:
        if error.name != place.module or place.file is None:
            raise
    # Loaded by its path there, and so here.
    return load_file(place.module, place.file, place.module.rpartition(".")[0])


def load_file(name: str, file: str, package: str | None) -> ModuleType:
    """Execute a file as the module `name`."""
    loader = SourceFileLoader(name, file)
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    if package is not None:
        module.__package__ = package
    # Before it runs: annotations and dataclasses look their module up here.
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
