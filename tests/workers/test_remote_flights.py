"""A worker's flights keep every promise that flights make: the same tests, with the keeper's socket in between."""

from __future__ import annotations

import pytest

from tests.proxy import test_flights, test_flights_truth
from tests.proxy.test_flights import *  # noqa: F403 - every test of that module is one of this
from tests.proxy.test_flights_truth import *  # noqa: F403
from tests.workers.keeper_fixture import remote_surroundings


@pytest.fixture(autouse=True)
def at_a_distance(monkeypatch):
    for module in (test_flights, test_flights_truth):
        monkeypatch.setattr(module, "surroundings", remote_surroundings)
