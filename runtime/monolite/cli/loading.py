"""Loading: a user's module, by its name or by the path of its file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from monolite.core.actor import Actor
from monolite.core.definition import Workflow
from monolite.errors import Misused, MonoliteError


def load(name: str) -> ModuleType:
    """Import `pkg.mod` (also from the working directory) or `path/to/file.py`.

    Raises Misused if there is no such module or it holds nothing to serve, and MonoliteError,
    with the place, if its own code fails.
    """
    by_path = name.endswith(".py") or os.sep in name
    module = _from_path(Path(name)) if by_path else _from_name(name)
    if not served_by(module):
        msg = f"{name} holds no @workflow and no Actor class; name the module that does"
        raise Misused(msg)
    return module


def served_by(module: ModuleType) -> set[str]:
    """Return the names of the workflows and actors that a module holds."""
    return {name for value in vars(module).values() if (name := _served_name(value)) is not None}


def _served_name(value: object) -> str | None:
    if isinstance(value, Workflow):
        return value.name
    if isinstance(value, type) and issubclass(value, Actor) and value is not Actor:
        return value.monolite_type.name
    return None


def load_research() -> ModuleType:
    """Return the workflow of the demo: a wheel has it in this package, a checkout in actors/."""
    try:
        return importlib.import_module("monolite.cli.research")
    except ModuleNotFoundError:
        root = Path(__file__).resolve().parents[3]
        return _from_path(root / "actors" / "research.py")


def argument_of(module: ModuleType) -> str:
    """Return what `load` finds a module by: its name, or its path if it was loaded by that."""
    return module.__name__ if "." in module.__name__ else str(module.__file__)


def _from_name(name: str) -> ModuleType:
    _add_to_path(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _broken(name, error) from error
        msg = f"there is no module {name!r} here; give a module, or the path of a .py file"
        raise Misused(msg) from None
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _from_path(path: Path) -> ModuleType:
    if not path.is_file():
        msg = f"{path} is not a file; give the path of a .py file, or a module's name"
        raise Misused(msg)
    known = sys.modules.get(path.stem)
    if known is not None and _file_of(known) == path.resolve():
        return known
    if known is not None:
        msg = f"{path} cannot be called {path.stem!r}: a module of this name is loaded; rename it"
        raise Misused(msg)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _add_to_path(path.resolve().parent)
    # Before it runs: annotations and dataclasses look their module up here.
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[path.stem]
        raise _broken(str(path), error) from error
    return module


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve()


def _add_to_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _broken(name: str, error: BaseException) -> MonoliteError:
    """Return the error for a module whose own code fails, naming the line."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f" ({last.filename}, line {last.lineno})" if last else ""
    if isinstance(error, SyntaxError):
        place = ""  # its message has the place
    return MonoliteError(f"importing {name} failed: {type(error).__name__}: {error}{place}")
