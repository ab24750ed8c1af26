"""The acceptance tests of Poetry and pipenv once more in a laboratory: lock, install, and the refusal that they print."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance import test_poetry_pipenv as online
from tests.acceptance.test_poetry_pipenv import (  # noqa: F401
    mirror,
    test_a_refusal_is_printed,
    test_pipenv_locks_and_syncs,
    test_poetry_locks_and_installs,
)
from tests.bundle.elsewhere import moved
from tests.bundle.place import Place
from tests.support.clients import environment

pytestmark = [pytest.mark.torture, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def place() -> Iterator[Place]:
    """Where the mirror runs, and each test too."""
    environment("poetry", online.POETRY)  # a client is made with a network, and used without
    environment("pipenv", online.PIPENV)
    with moved(online) as made:
        yield made


@pytest.fixture(autouse=True)
def there(place: Place, mirror) -> Iterator[None]:  # noqa: F811
    """Whatever a test starts, and every socket that it opens, is in the laboratory."""
    with place.entered():
        yield
