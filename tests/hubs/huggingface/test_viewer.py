"""The dataset viewer under `datasets-server.` before our own name: judged as the dataset, rows refused, links turned."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirror.core.errors import Malformed
from mirror.hubs.huggingface.viewer import parse_asked
from tests.support.standin.defaults import ALICE
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, Reply, mirror_of

FILES = 'version: 1\nrules: [{id: conversions, when: {file: ["*.parquet"]}, effect: deny}]\n'
WHOLE = 'version: 1\nrules: [{id: whole, when: {artifact: ["pkg:huggingface/acme/reviews?repo_type=dataset"]}, effect: deny, legal: true}]\n'


@pytest.fixture
async def viewing(standin: StandInHub, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with mirror_of(standin, tmp_path / "m", datasets_server=standin.viewer_url) as mirror:
        yield mirror


async def view(mirror: Mirror, target: str, token: str | None = None, label: str = "datasets-server", method: str = "GET") -> Reply:
    """One request to the mirror's address, addressed to the label before its name."""
    return await mirror.get(target, token, method=method, Host=f"{label}.{mirror.url.removeprefix('http://')}")


@pytest.mark.parametrize(("what", "key"), [("info", "dataset_info"), ("splits", "splits"), ("is-valid", "viewer"), ("size", "size")])
async def test_what_is_told_of_a_dataset(standin: StandInHub, viewing: Mirror, what: str, key: str) -> None:
    """The viewer's answer comes through with the commit that clients compare, asked under the canonical name alone."""
    answer = await view(viewing, f"/{what}?dataset=ACME/Reviews&config=a%26b&token=x", ALICE)
    assert (answer.status, key in answer.json()) == (200, True)
    assert answer.headers["X-Revision"] == standin.repo("acme/reviews", "datasets").head
    (call,) = standin.requests.where(origin="viewer")
    assert call.raw_path == f"/{what}?dataset=acme%2Freviews&config=a%26b"
    assert call.token is None
    assert (await view(viewing, f"/{what}?dataset=acme/reviews", label="Datasets-Server", method="HEAD")).status == 200


async def test_links_lead_here_and_denied_files_are_left_out(standin: StandInHub, viewing: Mirror, tmp_path: Path) -> None:
    """Links to the public hub become ours and open; a link elsewhere is dropped; what a rule denies is not listed."""
    (row,) = (await view(viewing, "/parquet?dataset=acme/reviews")).json()["parquet_files"]
    assert row["url"] == f"{viewing.url}/datasets/acme/reviews/resolve/refs%2Fconvert%2Fparquet/default/train/0000.parquet"
    assert len((await viewing.get(row["url"].removeprefix(viewing.url))).body) == row["size"]
    async with mirror_of(standin, tmp_path / "n", FILES, datasets_server=standin.viewer_url) as strict:
        answer = await view(strict, "/parquet?dataset=acme/reviews")
        assert answer.json()["parquet_files"] == []
        assert "conversions" in answer.headers["X-HF-Warning"]
        assert len(strict.events("steered")) == 1


async def test_rows_are_refused(standin: StandInHub, viewing: Mirror) -> None:
    """What shows contents is refused with a sentence, on the record, and the viewer is not asked."""
    for what in ("rows", "first-rows", "search", "filter", "statistics"):
        answer = await view(viewing, f"/{what}?dataset=acme/reviews&config=default&split=train&query=x&offset=0")
        assert answer.status == 403
        assert "no rule could judge it" in answer.headers["X-Error-Message"]
    assert len(viewing.events("route_refused")) == 5
    assert (await view(viewing, "/croissant?dataset=acme/reviews")).status == 403
    assert (await view(viewing, "/acme/tiny-bert/resolve/main/config.json")).status == 403
    assert (await view(viewing, "/")).status == 403
    assert not standin.requests


async def test_a_denied_dataset(standin: StandInHub, tmp_path: Path) -> None:
    """Nothing is told of a denied dataset, in the same words as at its own page."""
    async with mirror_of(standin, tmp_path / "m", WHOLE, datasets_server=standin.viewer_url) as mirror:
        for what in ("info", "parquet"):
            answer = await view(mirror, f"/{what}?dataset=acme/reviews")
            assert (answer.status, "whole" in answer.headers["X-Error-Message"]) == (451, True)
    assert not standin.requests.where(origin="viewer")


async def test_what_not_everybody_may_read(standin: StandInHub, viewing: Mirror) -> None:
    """Of a gated dataset the hub's refusal comes through; who may read it is told that the viewer is asked in nobody's name."""
    assert (await view(viewing, "/info?dataset=acme/gated-data")).status == 401
    answer = await view(viewing, "/info?dataset=acme/gated-data", ALICE)
    assert (answer.status, "in nobody's name" in answer.headers["X-Error-Message"]) == (404, True)
    assert not standin.requests.where(origin="viewer")


async def test_without_a_viewer(standin: StandInHub, mirror: Mirror) -> None:
    """Where none is configured, or it is down, the answer is a plain error that names the key or the fault; other names are misdirected."""
    answer = await view(mirror, "/info?dataset=acme/reviews")
    assert (answer.status, "datasets_server" in answer.headers["X-Error-Message"]) == (404, True)
    for host in ("evil.example", "datasets-server.evil.example", "datasets-server.", "datasets-server.datasets-server.127.0.0.1", "other.127.0.0.1"):
        assert (await mirror.get("/info?dataset=acme/reviews", Host=host)).status == 421, host


async def test_a_viewer_that_is_down_is_not_the_hub(standin: StandInHub, viewing: Mirror) -> None:
    """The viewer's outage is a 503 of its own routes; the hub's pages are as fresh as ever."""
    await standin.origins["viewer"].stop()
    assert (await view(viewing, "/info?dataset=acme/reviews")).status == 503
    viewing.pass_time(minutes=2)
    standin.requests.clear()
    assert (await viewing.get("/api/datasets/acme/reviews")).status == 200
    assert standin.requests
    await standin.origins["viewer"].start()


@pytest.mark.parametrize("query", ["", "dataset=", "dataset=a/b&dataset=c/d", "dataset=a/b&config=x&config=y", "dataset=a%00b", "config=x", "dataset=a/b&split=%ff", "dataset=%zz"])
async def test_a_query_that_names_no_one_dataset(query: str) -> None:
    """A query without exactly one dataset has no meaning: what is judged is what is asked."""
    with pytest.raises(Malformed):
        parse_asked(query)
