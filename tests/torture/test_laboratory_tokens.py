"""The acceptance tests of mirror tokens once more in a laboratory, with real clients.

Not here: what reaches a hub, which there is none of.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance import test_mirror_tokens as online
from tests.acceptance.conftest import hub, index  # noqa: F401
from tests.acceptance.test_mirror_tokens import (  # noqa: F401
    house,
    test_a_subnet_may_be_exempt,
    test_a_token_is_kept_nowhere,
    test_a_token_needs_its_group,
    test_nobody_unknown_is_served,
    test_pip_and_uv_take_it_for_a_password,
    test_revoked_is_revoked_within_seconds,
    test_the_real_client_takes_it_for_a_token,
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
def there(place: Place, house) -> Iterator[None]:  # noqa: F811
    """Whatever a test starts, and every socket that it opens, is in the laboratory."""
    with place.entered():
        yield
