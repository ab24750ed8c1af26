"""The two promises that everything else stands on: no byte without an admission, no answer before its record (P1, P6)."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
from collections.abc import Iterator

import pytest

from mirror.core.actor import Actor
from mirror.core.decision import RequestInfo
from mirror.core.nouns import HUGGINGFACE, Artifact, Kind, Project
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

NO_PICKLES = "version: 1\nrules: [{id: pickle, when: {file: ['*.bin']}, effect: deny}]\n"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk whose group commits wait while the event is cleared; everything else of the ledger is itself."""
    running = threading.Event()
    running.set()
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        running.wait(60)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    yield running
    running.set()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/acme/tiny-bert/resolve/main/pytorch_model.bin", 403),
        ("HEAD", "/acme/tiny-bert/resolve/main/pytorch_model.bin", 403),
        ("GET", "/acme/tiny-bert/resolve/main/config.json", 200),
        ("POST", "/api/repos/create", 403),
    ],
)
async def test_nothing_is_answered_before_it_is_durable(
    standin: StandInHub, tmp_path, disk: threading.Event, method: str, target: str, status: int
) -> None:
    """A refusal, a download of one block and a refused write wait for the ledger's group commit, and come after it."""
    async with mirror_of(standin, tmp_path, NO_PICKLES) as mirror:
        await mirror.get("/api/models/acme/tiny-bert")
        disk.clear()
        answer = asyncio.create_task(mirror.post(target) if method == "POST" else mirror.get(target, method=method))
        done, _ = await asyncio.wait({answer}, timeout=1.0)
        assert not done
        disk.set()
        assert (await answer).status == status


async def test_a_repeated_refusal_waits_too(standin: StandInHub, tmp_path, disk: threading.Event) -> None:
    """The second answer to the same question is a count, and the count is on disk before the answer."""
    target = "/acme/tiny-bert/resolve/main/pytorch_model.bin"
    async with mirror_of(standin, tmp_path, NO_PICKLES) as mirror:
        assert (await mirror.get(target)).status == 403
        disk.clear()
        answer = asyncio.create_task(mirror.get(target))
        done, _ = await asyncio.wait({answer}, timeout=1.0)
        assert not done
        disk.set()
        assert (await answer).status == 403
        assert [event["count"] for event in mirror.events("repeated")] == [1]


async def test_only_the_gateways_own_admission_opens(standin: StandInHub, mirror: Mirror) -> None:
    """An `Admission` that `Gateway.admit` did not make opens nothing, however true every other field is."""
    head = standin.repo("acme/tiny-bert").head
    artifact = Artifact(Project(HUGGINGFACE, Kind.MODEL, "acme/tiny-bert", "huggingface"), head, "config.json")
    admission = await mirror.gateway.admit(Actor("somebody"), artifact, RequestInfo("1", "GET", "/", ""))
    await (await mirror.gateway.open(admission)).close()
    with pytest.raises(TypeError, match=r"made by Gateway\.admit"):
        await mirror.gateway.open(dataclasses.replace(admission, issuer=object()))
