"""What a repository is for, as its judging page tells it."""

from __future__ import annotations

import json

import pytest

from mirror.audit.feed import catch_up
from mirror.core.errors import HubSaysNo
from mirror.core.purl import parse_loose
from tests.hubs.huggingface.conftest import mirror_of
from tests.support.standin.hub import StandInHub, running_hub


async def test_task_size_and_largest_file(tmp_path):
    """Task and size of the weights come from the page, with the facts of the whole and of the largest file; what is private is told to nobody."""
    hub = StandInHub()
    extra = {"pipeline_tag": "fill-mask"}
    hub.add_repo("model", "acme/x", {"config.json": b"{}", "a.safetensors": b"abc", "b.safetensors": b"abcdef"}, extra=extra, tags=["license:mit"])
    hub.add_repo("model", "acme/hidden", {"config.json": b"{}"}, extra=extra, private=True)
    with running_hub(hub):
        async with mirror_of(hub, tmp_path / "m") as mirror:
            found = await mirror.hub.profile(parse_loose("acme/x"), None, frozenset())
            assert (found.task, found.size) == ("fill-mask", 9)
            assert [artifact.path for artifact, _ in found.parts] == ["", "b.safetensors"]
            assert [facts.license.value for _, facts in found.parts] == [("mit",), ("mit",)]
            assert [facts.size.value for _, facts in found.parts] == [0, 6]
            with pytest.raises(HubSaysNo):
                await mirror.hub.profile(parse_loose("acme/hidden"), None, frozenset())


REFUSING = 'version: 1\nrules: [{id: gone, when: {artifact: ["soylent/*"]}, effect: deny}]\n'


async def test_a_refusal_offers_what_anybody_may_see_and_was_served_here(tmp_path):
    """What was permitted here before is offered for the same task, with its reason, in sentence, body and record; not what is gated, what the hub keeps from here, nor what is made of the refused thing."""
    hub = StandInHub()
    extra = {"pipeline_tag": "fill-mask"}
    for name in ("soylent/x", "acme/free", "acme/gated"):
        hub.add_repo("model", name, {"config.json": b"{}", "a.safetensors": b"abc" * 1000}, extra=extra, gated="auto" if "gated" in name else False, tags=["license:mit"])
    card = b"---\nbase_model: [acme/middle]\n---\n"
    hub.add_repo("model", "acme/child", {"config.json": b"{}", "README.md": card, "a.safetensors": b"abc" * 1000}, extra=extra, card={"base_model": ["acme/middle"]})
    hub.add_repo("model", "acme/middle", {"config.json": b"{}"}, card={"base_model": ["soylent/x"]})
    hub.add_repo("model", "acme/kept", {"config.json": b"{}", "a.safetensors": b"abc" * 1000}, extra=extra, region_block=["US"])
    with running_hub(hub):
        async with mirror_of(hub, tmp_path / "m", REFUSING) as mirror:
            substitutes = mirror.gateway.offer_substitutes(mirror.gateway.grants)
            for name in ("acme/free", "acme/gated", "acme/child", "acme/kept"):
                await mirror.get(f"/{name}/resolve/main/config.json")
            await catch_up(mirror.folder / "ledger", mirror.gateway.grants)
            reply = await mirror.get("/soylent/x/resolve/main/config.json")
            await substitutes.close()
            body = json.loads(reply.body)
            said = "same task (fill-mask), 0.1 MiB (that one 0.1 MiB), licence mit, origin unknown"
            assert (reply.status, body["alternatives"]) == (403, [{"artifact": "acme/free", "why": said}])
            assert "Permitted instead: acme/free." in body["detail"]
