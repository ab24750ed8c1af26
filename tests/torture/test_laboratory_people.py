"""The acceptance tests of client certificates, of groups by subnet and of Ollama once more in a laboratory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance import test_client_certificates as online
from tests.acceptance.conftest import hub  # noqa: F401
from tests.acceptance.test_client_certificates import (  # noqa: F401
    builder,
    mirror,
    ours,
    test_a_certificate_puts_into_groups,
    test_a_country_by_address,
    test_a_header_is_no_certificate,
    test_a_proxys_certificate_is_its_own,
    test_a_stranger_does_not_get_in,
)
from tests.bundle.elsewhere import moved
from tests.bundle.place import Place

pytestmark = [pytest.mark.torture, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def place() -> Iterator[Place]:
    """Where the mirror runs, and each test too."""
    with moved(online) as made:
        yield made


@pytest.fixture(autouse=True)
def there(place: Place, mirror) -> Iterator[None]:  # noqa: F811
    """Every socket that a test opens is in the laboratory."""
    with place.entered():
        yield
