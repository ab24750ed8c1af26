"""One stand-in of each kind for the whole module, and a plain HTTP call that follows and decodes nothing."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.standin import StandInHub, StandInIndex, running_hub, running_index

Answer = tuple[int, http.client.HTTPMessage, bytes]
Fetch = Callable[..., Answer]


@pytest.fixture(scope="module")
def hubs() -> Iterator[StandInHub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def hub(hubs: StandInHub) -> Iterator[StandInHub]:
    hubs.requests.clear()
    yield hubs
    hubs.faults.clear()


@pytest.fixture(scope="module")
def indexes() -> Iterator[StandInIndex]:
    with running_index() as index:
        yield index


@pytest.fixture
def index(indexes: StandInIndex) -> Iterator[StandInIndex]:
    indexes.requests.clear()
    yield indexes
    indexes.faults.clear()


@pytest.fixture
def fetch() -> Fetch:
    """`fetch(url, method="GET", headers={}, body=None, timeout=5)` -> status, headers, body; nothing is followed."""

    def call(
        url: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 5,
    ) -> Answer:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        try:
            connection.request(method, url[len(f"{parts.scheme}://{parts.netloc}") :], body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    return call
