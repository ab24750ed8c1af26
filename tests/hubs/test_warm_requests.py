"""What a warm request costs elsewhere: nothing."""

from __future__ import annotations

import json
from urllib.parse import urljoin, urlsplit

import pytest
from sqlalchemy import event

from tests.support.standin import StandInHub
from tests.support.standin.index import StandInIndex
from tests.traps.conftest import house, hub, index  # noqa: F401 - fixtures

MODEL = "/acme/tiny-bert/resolve/main/model.safetensors"
SIMPLE = "/pypi/simple/acme-app/"


@pytest.mark.parametrize("span", [None, "bytes=3-40"], ids=["whole", "range"])
async def test_a_warm_request_asks_neither_database_nor_upstream(tmp_path, hub: StandInHub, index: StandInIndex, span):  # noqa: F811
    """A file of either hub that was given before is given again without a statement of SQL and without a request upstream."""
    async with house(tmp_path / "m", hub, index) as mirror:
        page = json.loads((await mirror.get(SIMPLE, Accept="application/vnd.pypi.simple.v1+json")).body)
        wheel = next(row["url"] for row in page["files"] if row["filename"].endswith(".whl"))
        statements: list[str] = []
        targets = [MODEL, urlsplit(urljoin(mirror.url + SIMPLE, wheel)).path]
        headers = {"Range": span} if span else {}
        for _ in range(3):
            for target in targets:
                assert (await mirror.get(target, **headers)).status == (206 if span else 200)
        engine = mirror.gateway.grants._database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *what: statements.append(what[2]))
        hub.requests.clear()
        index.requests.clear()
        for target in targets:
            assert (await mirror.get(target, **headers)).status == (206 if span else 200)
        assert statements == []
        assert not [*hub.requests, *index.requests]
