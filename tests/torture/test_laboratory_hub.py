"""The acceptance tests of huggingface_hub, both generations, once more in a laboratory: their own text over a mirror that has nothing but a bundle.

Not here, for what they are about is a network: whose hub token it is (`whoami`, a gate that opens for one), and lists of all that a hub has.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance import test_huggingface_clients as online
from tests.acceptance.conftest import client_at, generation, hub  # noqa: F401
from tests.acceptance.test_huggingface_clients import (  # noqa: F401
    client,
    mirror,
    test_a_recall_stops_the_silent_use_of_an_old_copy,
    test_a_refusal_is_read_in_every_client,
    test_a_refused_file_of_a_permitted_repository_is_read,
    test_a_snapshot_is_the_repository,
    test_a_snapshot_leaves_out_what_is_denied_and_says_so,
    test_a_warning_is_read_and_the_file_comes,
    test_every_kind_of_file_name_and_revision_arrives_whole,
    test_every_refusal_is_on_the_record,
    test_the_answer_behind_a_refusal,
    test_the_command_line_downloads,
)
from tests.bundle.elsewhere import moved
from tests.bundle.place import Place
from tests.support.standin import StandInHub

pytestmark = [pytest.mark.torture, pytest.mark.timeout(600)]
NAMES = ("acme/old-name", "solid2", "acme-labs/camelcase")


def nobody_is_asked(there: StandInHub) -> None:
    """Since the bundle was imported no request has reached the hub, whoever sends it."""
    assert there.requests.lines() == []


@pytest.fixture(scope="module", autouse=True)
def place(hub) -> Iterator[Place]:  # noqa: F811
    """Where the mirror runs, and each test too."""
    for name in ("acme/recalled", "acme/kept"):
        hub.add_repo("model", name, {"config.json": b"{}"})
    with moved(online, names=NAMES) as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(online, "nobody_went_round", nobody_is_asked)
        yield made


@pytest.fixture(autouse=True)
def there(place: Place, mirror) -> Iterator[None]:  # noqa: F811
    """Whatever a test starts, and every socket that it opens, is in the laboratory."""
    with place.entered():
        yield
