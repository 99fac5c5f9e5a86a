"""The pytest plugin: the fixture `monolite_env`, and the mark that says what it is made with.

Every test run of whoever has monolite installed loads this, so the engine is imported only by
tests that use the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from monolite.testing import Environment

MARK = (
    "monolite(actors=[...], **settings): what the fixture monolite_env is made with, as "
    "monolite.testing.environment(); without it, actors is the module of the test"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, for `--strict-markers`."""
    config.addinivalue_line("markers", MARK)


@pytest.fixture
def monolite_env(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """Return an environment in virtual time with the workflows and actors of the test's module.

    `@pytest.mark.monolite(actors=[...], path=..., replace=...)` makes it otherwise, and
    `monolite_env.add(...)` adds to it. It starts with its first use, on the event loop of the
    test, whatever plugin runs that.
    """
    from monolite.testing import environment

    settings: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("monolite"))):
        settings.update(mark.kwargs)  # the nearest counts most
    asked: Any = request  # pytest leaves `module` without a type
    settings.setdefault("actors", asked.module)
    env = environment(**settings)
    yield env
    env.close()
