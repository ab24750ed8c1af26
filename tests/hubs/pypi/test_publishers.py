"""Who published a file, through a running mirror in front of a stand-in index: decided file by file, on the record with its evidence."""

import pytest
import yaml

from tests.hubs.pypi.conftest import Mirror
from tests.support.standin.index import running_index

PACK = """
version: 1
publishers:
  - id: acme
    entity: Acme Labs Ltd
    kind: company
    confidence: A
    handles: {pypi: [acme-labs], github: [acme-labs]}
    countries: [{code: "GB", role: headquarters, source: "x", confidence: A}]
    web: [acme.example]
  - id: umbrella
    entity: Umbrella Corporation
    kind: company
    confidence: A
    handles: {pypi: [umbrella-bot], github: [umbrella-ml]}
    countries: [{code: "SG", role: headquarters, source: "x", confidence: A}]
    web: [umbrella.example]
"""
RULES = [{"id": "origin", "when": {"origin": ["SG"]}, "effect": "deny"}]
UMBRELLA = {"kind": "GitHub", "repository": "umbrella-ml/handed-over", "workflow": "r.yml", "environment": "pypi", "claims": None}
ACME = UMBRELLA | {"repository": "acme-labs/handed-over"}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A mirror that denies what comes from SG, and reviews nothing that is unknown."""
    folder = tmp_path_factory.mktemp("publishers")
    (folder / "pack.yaml").write_text(PACK, "utf-8")
    with running_index() as index:
        index.add_release("handed-over", "1.0", publisher=ACME)
        index.add_release("handed-over", "2.0", publisher=UMBRELLA)
        index.project("handed-over", organization="acme-labs")
        index.add_release("by-account", "1.0")
        index.project("by-account", roles=[{"role": "Maintainer", "user": "umbrella-bot"}, {"role": "Owner", "user": "jane"}])
        index.add_release("by-mail", "1.0", author_email="Somebody <dev@mail.umbrella.example>")
        index.add_release("by-link", "1.0", project_urls={"Source Code": "https://github.com/umbrella-ml/x"})
        index.add_release("by-name", "1.0", author="Umbrella Corporation")
        index.add_release("by-nobody", "1.0", author="Jane", author_email="jane@gmail.com")
        row = {"dialect": "pypi", "mount": "/pypi", "upstreams": [index.url], "origins": [index.files_url]}
        config = {
            "data": "var", "policy": {"path": "policy.yaml"}, "hubs": {"pypi": row}, "catalogue": ["pack.yaml"], "ledger": {"reserve": "1MiB"},
        }  # fmt: skip
        running = Mirror(folder, config)
        (folder / "policy.yaml").write_text(yaml.safe_dump({"version": 1, "defaults": {"on_unknown": {"origin": "allow"}}, "rules": RULES}))
        try:
            yield running.start()
        finally:
            running.stop()


def get(mirror, project, version):
    """Ask for a project's wheel of a version."""
    file = next(one for one in mirror.page(project)["files"] if f"-{version}-" in one["filename"])
    return mirror.ask(file["url"])


def fact(mirror, project, version, name="publisher"):
    """What the newest decision on a release says of a fact."""
    found = [event["decision"] for event in mirror.events() if event.get("decision", {}).get("artifact", "").startswith(f"pkg:pypi/{project}@{version}")]
    return found[-1]["facts"][name]


def test_each_file_is_decided_by_who_attested_it(mirror):
    """Of one project, the release attested to Umbrella is refused and that attested to Acme is served, the organisation notwithstanding."""
    assert get(mirror, "handed-over", "1.0").status == 200
    assert get(mirror, "handed-over", "2.0").status == 403
    assert fact(mirror, "handed-over", "2.0") == {"value": "umbrella", "source": "attested github:umbrella-ml", "confidence": "A"}


@pytest.mark.parametrize(
    ("project", "grade", "source"),
    [
        ("by-account", "A-", "maintainer pypi:umbrella-bot"),
        ("by-mail", "B", "declared mail mail.umbrella.example"),
        ("by-link", "B", "declared repository github:umbrella-ml"),
        ("by-name", "C", "declared name Umbrella Corporation"),
    ],
)
def test_accounts_addresses_and_links_name_their_publisher(mirror, project, grade, source):
    """What the index and the metadata say is matched to the catalogue; refused from B up, held for review on free text."""
    reply = get(mirror, project, "1.0")
    assert reply.status == 403, reply
    assert fact(mirror, project, "1.0") == {"value": "umbrella", "source": source, "confidence": grade}
    assert ("held" in reply.json["detail"].lower()) is (grade == "C")


def test_the_raw_claims_are_on_the_record(mirror):
    """A file of nobody known is served with its publisher unknown, and the record has what was looked at."""
    assert get(mirror, "by-nobody", "1.0").status == 200
    assert fact(mirror, "by-nobody", "1.0")["value"] is None
    claims = fact(mirror, "by-nobody", "1.0", "claims")
    assert claims["value"] == ["A- owner pypi:acme-dev", "B mail gmail.com", "C name Jane"]
    assert claims["source"] == "legacy JSON, core metadata"
