"""Stand-in upstreams, and the clients that the acceptance tests drive."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.clients import HUB_0_36, HubClient, environment
from tests.support.standin import StandInHub, StandInIndex, running_hub, running_index


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    """A stand-in hub with the default content, for one module."""
    with running_hub() as running:
        yield running


@pytest.fixture(scope="module")
def index() -> Iterator[StandInIndex]:
    """A stand-in index with the default content, for one module."""
    with running_index() as running:
        yield running


@pytest.fixture(scope="session", params=["2.x", "0.36"])
def generation(request: pytest.FixtureRequest) -> Path:
    """The Python of huggingface_hub 2.x (the tests' own), and of 0.36 with hf_xet 1.2."""
    return Path(sys.executable) if request.param == "2.x" else environment("hub-0.36", HUB_0_36)


@pytest.fixture
def client_at(tmp_path: Path) -> Callable[..., HubClient]:
    """`client_at(python, url, token=None)`: a client with an empty cache; each call gives another one."""
    made = []

    def make(python: Path, url: str, token: str | None = None) -> HubClient:
        made.append(python)
        return HubClient(python, url, tmp_path / f"client-{len(made)}", token)

    return make
