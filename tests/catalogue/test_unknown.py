"""`mirror publisher unknown`: the entries to start from, and who is no stranger any more."""

from datetime import UTC, datetime

import pytest
import yaml

from mirror.cli.unknown import Stranger, _settled, entries, website
from mirror.lists.loading import load_catalogue
from mirror.policy.accounts import own_domain

PACK = """version: 1
publishers:
  - {id: globex, entity: Globex Ltd, kind: company, confidence: B, handles: {huggingface: [globex-ai], github: [globex]}, countries: [{code: "GB"}]}
"""


@pytest.fixture
def catalogue(tmp_path):
    (tmp_path / "pack.yaml").write_text(PACK)
    return load_catalogue((str(tmp_path / "pack.yaml"),))


def package(name, *claims):
    return Stranger("pypi", "", (name,), 1, datetime(2026, 1, 1, tzinfo=UTC), (), claims, "")


def owner(name):
    return Stranger("huggingface", name, (f"{name}/model",), 1, datetime(2026, 1, 1, tzinfo=UTC), (name,), (), "")


def test_entries_are_sound_over_the_catalogue_and_replace_nobody(catalogue, tmp_path):
    """An owner named like a publisher's id, a package named like that owner, and two packages of one attested account: each has its own id, and the account one entry."""
    found = [owner("Globex"), package("globex"), package("one", "A attested github:initech"), package("two", "A attested github:initech", "B mail initech.example")]
    made = entries(found, catalogue)
    assert [entry["id"] for entry in made] == ["globex-huggingface", "globex-pypi", "one", "one"]
    assert made[2] == made[3]
    assert (made[2]["projects"], made[2]["handles"], made[2]["web"]) == ({"pypi": ["one", "two"]}, {"github": ["initech"]}, ["initech.example"])
    overlay = {"version": 1, "publishers": list({entry["id"]: entry for entry in made}.values())}
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    both = load_catalogue((str(tmp_path / "pack.yaml"), str(tmp_path / "overlay.yaml")))
    assert len(both.publishers) == 4
    assert both.by_id("globex").entity == "Globex Ltd"


def test_a_mailbox_at_a_provider_is_nobodys_site(catalogue):
    """An address at a provider of mail or a forge is neither a web site nor a domain of the entry; the repository's owner is where to look then."""
    stray = package("stray", "B mail gmail.com", "B mail users.noreply.github.com", "B repository github:stray-dev")
    assert "web" not in entries([stray], catalogue)[0]
    assert website(stray, "https://pypi.example") == "https://github.com/stray-dev"
    assert "handles" not in entries([stray], catalogue)[0]  # what an uploader writes is no account of his
    assert website(package("other", "B mail other.example", "B repository github:x"), "") == "https://other.example"
    assert website(owner("acme"), "https://hub.example") == "https://hub.example/acme"
    assert [own_domain(name) for name in ("acme.example", "aliyun.com", "", "localhost")] == ["acme.example", "", "", ""]


def test_a_package_of_somebody_who_is_known_by_now_is_not_listed(catalogue):
    """What the newest decision saw of a package names a publisher of today's catalogue: nothing is to be found out."""
    assert _settled(package("tool", "A attested github:globex"), catalogue)
    assert not _settled(package("tool", "A attested github:umbrella"), catalogue)
    assert not _settled(owner("umbrella"), catalogue)
