"""What is told beside repositories: denied ones are left out of collections and papers; a paper's text is inert."""

from __future__ import annotations

import json
from pathlib import Path

from mirror.core.nouns import Kind
from mirror.hubs.huggingface.filtering import _lists, _told
from tests.support.standin.hub import StandInHub
from tests.support.standin.hub_directory import COLLECTION, PAPER

from .conftest import Mirror, mirror_of

NAMES = """version: 1
rules:
  - {id: names, when: {artifact: ["acme/tiny-bert", "globex/*", "pkg:huggingface/acme/demo?repo_type=space"]}, effect: deny, reason: "not in this house"}
"""


async def test_denied_repositories_are_left_out_of_collections_and_papers(standin: StandInHub, tmp_path: Path) -> None:
    """Lists lose the items that are denied whole and nothing else; one event says which, and a warning does."""
    async with mirror_of(standin, tmp_path / "m") as plain, mirror_of(standin, tmp_path / "n", NAMES) as strict:
        for target in (f"/api/collections/{COLLECTION}", "/api/collections", f"/api/papers/{PAPER}"):
            whole, answer = await plain.get(target), await strict.get(target)
            assert "X-HF-Warning" not in whole.headers
            said, left = json.dumps(whole.json()), answer.body.decode()
            denied = [name for name in ("acme/tiny-bert", "globex/solid-7b", "acme/demo") if name in said]
            assert denied and not [name for name in denied if f'"{name}"' in left], target
            assert "acme/reviews" in left
            assert "not in this house" in answer.headers["X-HF-Warning"]
        items = (await strict.get(f"/api/collections/{COLLECTION}")).json()["items"]
        assert [row["type"] for row in items] == ["dataset", "paper"]
        steered = strict.events("steered")
        assert all(name in json.dumps(steered) for name in ("acme/tiny-bert", "globex/solid-7b", "acme/demo"))
        assert not plain.events("steered")


async def test_what_a_row_does_not_tell_is_judged_where_it_is_opened(standin: StandInHub, tmp_path: Path) -> None:
    """A rule that reads what items do not say - a licence - leaves a list as it is."""
    policy = "version: 1\nrules: [{id: l, when: {license: [apache-2.0, unknown]}, effect: deny}]\n"
    async with mirror_of(standin, tmp_path / "m", policy) as mirror:
        answer = await mirror.get(f"/api/collections/{COLLECTION}")
        assert len(answer.json()["items"]) == 4
        assert (await mirror.get("/api/models/acme/tiny-bert")).status == 403


async def test_a_name_leads_to_no_other_page(standin: StandInHub, mirror: Mirror) -> None:
    """An encoded slash in a name is refused: behind it lie pages of the hub that are in no row of the table."""
    for target in (f"/api/papers/{PAPER}%2Fcomments", "/api/users/acme%2Flikes%2Fx/overview", f"/api/collections/{COLLECTION.replace('/', '%2F')}%2Fx"):
        assert (await mirror.get(target)).status == 400
    assert not [call for call in standin.requests if call.path.startswith(("/api/papers", "/api/users", "/api/collections"))]


def test_which_lists_name_repositories() -> None:
    """Items with a kind and lists called after one name repositories, at any depth; users, papers and texts do not."""
    value = {"items": [{"type": "model", "id": "a/b"}, {"type": "paper", "id": "1"}], "x": {"linkedSpaces": [{"id": "c/d"}]}, "y": [{"type": "org"}, "t", 3]}
    found = [kind for rows in _lists(value) for _, kind in rows]
    assert found == [Kind.MODEL, None, Kind.SPACE, None, None, None]
    assert _told({"_id": "of the item", "id": "a/b", "position": 0}) == {"id": "a/b", "position": 0}
    assert _told({"_id": "of the repository", "id": "a/b"})["_id"]


async def test_a_paper_as_text(standin: StandInHub, mirror: Mirror) -> None:
    """A paper comes as Markdown that no browser runs, once a minute; a page of another type does not pass."""
    for _ in range(2):
        answer = await mirror.get(f"/papers/{PAPER}.md")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/markdown; charset=utf-8")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.body.startswith(b"# Tiny models")
    assert len(standin.requests) == 1
    head = await mirror.get(f"/papers/{PAPER}.md", method="HEAD")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(answer.body)))
    assert (await mirror.get("/papers/2403.99999.md")).status == 404
    mirror.pass_time(minutes=2)
    standin.faults.add("headers", "/papers/*", headers={"Content-Type": "text/html"})
    assert (await mirror.get(f"/papers/{PAPER}.md")).status == 502
