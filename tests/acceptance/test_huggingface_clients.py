"""huggingface_hub of two generations, with hf_xet installed and switched on, through the mirror: what works and what is seen."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.clients import HubClient, Said
from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import ALICE, BOB, CANARY, StandInHub
from tests.support.standin.defaults import MANY, ODD_NAMES

pytestmark = pytest.mark.acceptance

POLICY = """
version: 1
defaults: {on_unknown: {origin: allow, publisher: allow, lineage: allow}}
rules:
  - {id: pub, when: {publisher: [initech]}, effect: deny, lineage: inherit, legal: true, suggest: [acme/tiny-bert]}
  - {id: from-hk, when: {origin: [HK]}, effect: deny}
  - {id: names, when: {artifact: ["pkg:huggingface/umbrella/*"]}, effect: deny, reason: "umbrella is under investigation"}
  - {id: pickle, when: {file: ["*.bin"]}, effect: deny}
  - {id: look, when: {artifact: ["hooli-labs/*"]}, effect: review}
  - {id: cool-off, when: {artifact: ["freshly/*"], age_days: {lt: 20000}}, effect: quarantine}
  - {id: recalled, when: {artifact: ["acme/recalled"]}, effect: deny, recall: true}
  - {id: careful, when: {artifact: ["acme/careful"]}, effect: warn}
"""
CATALOGUE = """
version: 1
publishers:
  - id: initech
    entity: Initech GmbH
    kind: company
    role: developer
    handles: {huggingface: [initech]}
    countries: [{code: DE, role: headquarters, source: "https://initech.example", as_of: 2026-01-31, confidence: A}]
  - id: kowloon-labs
    entity: Kowloon Labs Ltd
    kind: company
    role: developer
    handles: {huggingface: [kowloon-labs]}
    countries: [{code: HK, role: headquarters, source: "https://kowloon.example", as_of: 2026-01-31, confidence: A}]
"""

# --- scripts that run in the client's own Python: each prints one line of JSON -------------------------------------------

DOWNLOAD = """
import json, sys, hashlib
from huggingface_hub import hf_hub_download
out = []
for kind, repo, revision, path in json.loads(sys.argv[1]):
    found = hf_hub_download(repo, path, revision=revision, repo_type=kind)
    out.append(hashlib.sha256(open(found, 'rb').read()).hexdigest())
print(json.dumps(out))
"""
SNAPSHOT = """
import json, sys, os, hashlib
from huggingface_hub import snapshot_download
kind, repo, revision = json.loads(sys.argv[1])
folder = snapshot_download(repo, revision=revision, repo_type=kind)
found = {}
for where, _, names in os.walk(folder):
    for name in names:
        path = os.path.join(where, name)
        found[os.path.relpath(path, folder)] = hashlib.sha256(open(path, 'rb').read()).hexdigest()
print(json.dumps(found))
"""
API = """
import json, sys
from huggingface_hub import HfApi, HfFileSystem
import huggingface_hub, hf_xet
api = HfApi()
fs = HfFileSystem()
with fs.open('acme/tiny-bert/model.safetensors', block_size=65536) as file:
    file.seek(200_000)
    middle = file.read(70_000).hex()
meta = api.parse_safetensors_file_metadata('acme/tiny-bert', 'model.safetensors')
refs = api.list_repo_refs('acme/tiny-bert', include_pull_requests=True)
info = api.model_info('acme/tiny-bert', files_metadata=True)
print(json.dumps({
    'version': huggingface_hub.__version__,
    'info': [info.id, info.sha, sorted(s.rfilename for s in info.siblings), {s.rfilename: s.size for s in info.siblings}],
    'dataset': api.dataset_info('acme/reviews').id, 'space': api.space_info('acme/demo').id,
    'many': len(list(api.list_repo_tree('acme/many-files', recursive=True))),
    'expanded': len(list(api.list_repo_tree('acme/many-files', 'shard-00', expand=True))),
    'files': len(api.list_repo_files('acme/many-files')),
    'paths': [[f.path, f.size, f.lfs.sha256 if f.lfs else None] for f in api.get_paths_info('acme/tiny-bert', ['model.safetensors', 'config.json', 'absent'])],
    'xet': [getattr(f, 'xet_hash', None) for f in api.get_paths_info('acme/tiny-bert', ['model.safetensors'])],
    'refs': [[r.name for r in refs.branches], [r.name for r in refs.tags], [r.ref for r in refs.pull_requests]],
    'commits': [c.title for c in api.list_repo_commits('acme/tiny-bert')],
    'models': sorted(m.id for m in api.list_models(author='acme', limit=50)),
    'all': len(list(api.list_models())),
    'exists': [api.file_exists('acme/tiny-bert', 'config.json'), api.file_exists('acme/tiny-bert', 'nope.json'),
               api.revision_exists('acme/tiny-bert', 'v1.0'), api.revision_exists('acme/tiny-bert', 'v9'),
               api.repo_exists('acme/tiny-bert'), api.repo_exists('acme/never-was')],
    'renamed': api.model_info('acme/old-name').id, 'single': api.model_info('solid2').id, 'cased': api.model_info('acme-labs/camelcase').id,
    'tensors': {name: list(t.shape) for name, t in meta.tensors.items()},
    'middle': middle, 'listing': sorted(fs.ls('acme/reviews/data' if False else 'datasets/acme/reviews/data', detail=False)),
}))
"""
WHOAMI = "from huggingface_hub import HfApi; import json; print(json.dumps(HfApi().whoami()['name']))"
GET = "import sys; from huggingface_hub import hf_hub_download; print(hf_hub_download(sys.argv[1], sys.argv[2]))"
# Three calls, each with the error that ends it: [hf_hub_download, snapshot_download, model_info].
REFUSED = """
import json, sys
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
said = []
for call in (lambda: hf_hub_download(sys.argv[1], 'config.json'), lambda: snapshot_download(sys.argv[1]), lambda: HfApi().model_info(sys.argv[1])):
    try:
        call()
    except Exception as error:
        said.append(' '.join(f'{type(error).__name__}: {error}'.split()))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def mirror(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    """One mirror with a rule of every kind, in front of the stand-in hub with a few repositories more."""
    for name in ("kowloon-labs/tiny", "hooli-labs/tiny", "freshly/tiny", "acme/careful"):
        hub.add_repo("model", name, {"config.json": b'{"model_type": "bert"}'}, {"model.safetensors": CANARY + name.encode() * 4000})
    odd = {name: f"content of {name}\n".encode() * (name != "empty.txt") for name in ODD_NAMES}
    hub.add_repo("model", "acme/odd", odd, {"large #1 100%.weights": b"large and odd" * 9000, "no bytes.weights": b""})
    folder = tmp_path_factory.mktemp("mirror")
    (folder / "catalogue.yaml").write_text(CATALOGUE)
    with running_mirror(folder, hub, policy=POLICY, catalogue=["catalogue.yaml"]) as running:
        yield running


@pytest.fixture
def client(generation: Path, mirror: MirrorProcess, client_at: Callable[..., HubClient]) -> HubClient:
    """A client of each generation with an empty cache."""
    return client_at(generation, mirror.url)


def nobody_went_round(hub: StandInHub) -> None:
    """Every request at the hub, the CDN and the content store came from the mirror, which asked no Xet route at all."""
    agents = {call.headers.get("User-Agent", "") for call in hub.requests}
    assert agents, "nothing was asked at all"
    assert all(re.fullmatch(r"entrepot/[\w.]+", agent) for agent in agents), agents
    assert not hub.requests.where(origin="cas")
    assert not [call.raw_path for call in hub.requests if "xet-read-token" in call.raw_path]


def sha256(hub: StandInHub, kind: str, repo: str, revision: str | None, path: str) -> str:
    commit = hub.repo(repo, kind + "s").resolve(revision or "main")
    assert commit is not None
    return hashlib.sha256(commit.files[path].data).hexdigest()


# --- what works ----------------------------------------------------------------------------------------------------------


WANTED = [
    ("model", "acme/tiny-bert", None, "model.safetensors"),
    ("model", "acme/tiny-bert", None, "config.json"),
    ("model", "acme/tiny-bert", "v1.0", "config.json"),
    ("model", "acme/tiny-bert", "feature/x", "notes.txt"),
    ("model", "acme/tiny-bert", "refs/pr/1", "proposal.txt"),
    ("model", "acme/old-name", None, "model.safetensors"),
    ("model", "solid2", None, "config.json"),
    ("model", "tinybert", None, "vocab.txt"),
    ("model", "acme-labs/camelcase", None, "config.json"),
    ("model", "acme/odd", None, "large #1 100%.weights"),
    *(("model", "acme/odd", None, name) for name in ODD_NAMES),
    ("dataset", "acme/reviews", None, "data/train.csv"),
    ("dataset", "acme/reviews", None, "extra/reviews.parquet"),
    ("dataset", "acme/reviews", "refs/convert/parquet", "default/train/0000.parquet"),
    ("space", "acme/demo", None, "app.py"),
]


def test_every_kind_of_file_name_and_revision_arrives_whole(client: HubClient, hub: StandInHub) -> None:
    """hf_hub_download gives the hub's bytes for models, datasets and spaces, odd names, renamed repositories, tags and pull requests."""
    said = client.python_says(DOWNLOAD, json.dumps(WANTED)).json()
    assert dict(zip(WANTED, said, strict=True)) == {row: sha256(hub, *row) for row in WANTED}
    nobody_went_round(hub)


@pytest.mark.parametrize(
    ("kind", "repo", "revision"),
    [("model", "acme/odd", None), ("dataset", "acme/reviews", None), ("model", "acme/old-name", "main"), ("model", "tinybert", None)],
)
def test_a_snapshot_is_the_repository(client: HubClient, hub: StandInHub, kind: str, repo: str, revision: str | None) -> None:
    """snapshot_download gives every permitted file of the revision, and hf_xet, which is installed, contacts nobody."""
    found = client.python_says(SNAPSHOT, json.dumps([kind, repo, revision])).json()
    commit = hub.repo(repo, kind + "s").resolve(revision or "main")
    wanted = {path: hashlib.sha256(file.data).hexdigest() for path, file in commit.files.items() if not path.endswith(".bin")}
    assert found == wanted
    nobody_went_round(hub)


def test_a_snapshot_leaves_out_what_is_denied_and_says_so(client: HubClient, hub: StandInHub, generation: Path) -> None:
    """A denied file is missing from a snapshot that works; 2.x prints why; without the mirror's help the file would have come."""
    said = client.python_says(SNAPSHOT, json.dumps(["model", "acme/tiny-bert", None]))
    found = said.json()
    assert "model.safetensors" in found
    assert "pytorch_model.bin" in hub.repo("acme/tiny-bert").commits[hub.repo("acme/tiny-bert").head].files
    assert "pytorch_model.bin" not in found
    if generation == Path(sys.executable):
        assert "pickle" in said.text
        assert "pytorch_model.bin" in said.text


def test_kernels_are_served_to_the_generation_that_knows_them(mirror: MirrorProcess, hub: StandInHub, client_at: Callable[..., HubClient]) -> None:
    """A kernel repository's snapshot arrives in huggingface_hub 2.x."""
    client = client_at(Path(sys.executable), mirror.url)
    found = client.python_says(SNAPSHOT, json.dumps(["kernel", "acme/fast-kernel", None])).json()
    assert set(found) == set(hub.repo("acme/fast-kernel", "kernels").resolve("main").files)


def test_the_read_api_answers_as_the_hub_does(client: HubClient, hub: StandInHub) -> None:
    """HfApi, HfFileSystem's ranged reads and parse_safetensors work, paging beyond a thousand entries, with no trace of Xet."""
    said = client.python_says(API).json()
    tiny = hub.repo("acme/tiny-bert")
    files = tiny.commits[tiny.head].files
    kept = sorted(path for path in files if not path.endswith(".bin"))
    assert said["info"][:3] == ["acme/tiny-bert", tiny.head, kept]
    assert said["info"][3] == {path: len(files[path].data) for path in kept}
    assert (said["dataset"], said["space"]) == ("acme/reviews", "acme/demo")
    folders = {path.partition("/")[0] for path in hub.repo("acme/many-files").resolve("main").files}
    assert said["many"] == MANY + len(folders)
    assert (said["expanded"], said["files"]) == (100, MANY)
    weights = files["model.safetensors"]
    assert [weights.sha256, len(weights.data)] == next([row[2], row[1]] for row in said["paths"] if row[0] == "model.safetensors")
    assert sorted(row[0] for row in said["paths"]) == ["config.json", "model.safetensors"]
    assert said["xet"] == [None]
    assert said["refs"] == [["main", "feature/x"], ["v1.0"], ["refs/pr/1"]]
    assert said["commits"] == ["Add a newline", "initial commit"]
    assert "acme/tiny-bert" in said["models"]
    assert said["all"] >= 20
    assert said["exists"] == [True, False, True, False, True, False]
    assert (said["renamed"], said["single"], said["cased"]) == ("acme/new-name", "globex-community/solid2", "Acme-Labs/CamelCase")
    assert said["tensors"] == {"weight": [75_000]}
    assert bytes.fromhex(said["middle"]) == weights.data[200_000:270_000]
    assert said["listing"] == ["datasets/acme/reviews/data/train.csv"]
    nobody_went_round(hub)


def test_the_command_line_downloads(client: HubClient, hub: StandInHub) -> None:
    """`hf download` gives a file and a whole repository."""
    one = client.hf("download", "acme/tiny-bert", "config.json")
    assert one.code == 0, one.text
    whole = client.hf("download", "acme/reviews", "--repo-type", "dataset")
    assert whole.code == 0, whole.text
    folder = Path(re.search(r"(/\S*/snapshots/[0-9a-f]{40})", whole.out).group(1))
    assert (folder / "data/train.csv").read_bytes() == hub.repo("acme/reviews", "datasets").resolve("main").files["data/train.csv"].data


def test_a_gate_opens_for_who_is_on_the_list(client: HubClient) -> None:
    """A gated file comes with a permitted token, is refused in the hub's own words without one or with another's, cached or not."""
    whole = client.afresh("alice", ALICE).python_says(GET, "acme/gated-auto", "model.safetensors")
    assert whole.code == 0, whole.text
    nobody = client.afresh("nobody").python_says(GET, "acme/gated-auto", "model.safetensors")
    assert nobody.code != 0
    assert "Access to model acme/gated-auto is restricted" in nobody.text
    bob = client.afresh("bob", BOB).python_says(GET, "acme/gated-auto", "model.safetensors")
    assert bob.code != 0
    assert "you are not in the authorized list" in bob.text


def test_whoami_is_the_callers(client: HubClient) -> None:
    """whoami answers for the token that asks, one after the other."""
    assert client.afresh("alice", ALICE).python_says(WHOAMI).json() == "alice"
    assert client.afresh("bob", BOB).python_says(WHOAMI).json() == "bob"
    assert client.python_says(WHOAMI).code != 0


# --- what is refused, and seen -------------------------------------------------------------------------------------------

REFUSALS = {
    "publisher": ("initech/solid-7b-chat", "Blocked by policy rule 'pub': initech/solid-7b-chat is published by Initech GmbH"),
    "lineage": (
        "quantbarn/solid-7b-merge-GGUF",
        "quantized from hooli/solid-7b-merge, a merge of initech/solid-7b-chat",
    ),
    "origin": ("kowloon-labs/tiny", "Blocked by policy rule 'from-hk': kowloon-labs/tiny is published by Kowloon Labs Ltd (HK)"),
    "artifact": ("umbrella/orphan", "Blocked by policy rule 'names': umbrella/orphan: umbrella is under investigation"),
    "review": ("hooli-labs/tiny", "Held by policy rule 'look': hooli-labs/tiny"),
    "quarantine": ("freshly/tiny", "Held by policy rule 'cool-off': freshly/tiny"),
}


def seen(said: Said, sentence: str) -> None:
    assert said.code != 0, said.text
    assert sentence in said.text, said.text[-3000:]


@pytest.mark.parametrize("case", list(REFUSALS))
def test_a_refusal_is_read_in_every_client(client: HubClient, hub: StandInHub, case: str) -> None:
    """hf_hub_download, snapshot_download and HfApi of both generations, and `hf download`, show the sentence; no content was fetched."""
    repo, sentence = REFUSALS[case]
    before = len(hub.requests.where(origin="cdn"))
    errors = client.python_says(REFUSED, repo).json()
    assert len(errors) == 3
    for error in errors:
        assert error.startswith("GatedRepoError"), error
        assert sentence in error, error
    seen(client.hf("download", repo), sentence)
    assert len(hub.requests.where(origin="cdn")) == before
    assert not list(client.home.rglob("*.safetensors"))


def test_a_refused_file_of_a_permitted_repository_is_read(client: HubClient) -> None:
    """A denied file asked for by its name is refused with its name in the sentence, by hf_hub_download and `hf download`."""
    sentence = "Blocked by policy rule 'pickle': pytorch_model.bin of acme/tiny-bert"
    seen(client.python_says(GET, "acme/tiny-bert", "pytorch_model.bin"), sentence)
    seen(client.hf("download", "acme/tiny-bert", "pytorch_model.bin"), sentence)


def test_the_answer_behind_a_refusal(mirror: MirrorProcess) -> None:
    """451 for a legal rule and 403 for others, a short reason phrase with the decision's address, and a page without the asker's name."""
    for repo, status in (("initech/solid-7b-chat", 451), ("kowloon-labs/tiny", 403), ("hooli-labs/tiny", 403), ("freshly/tiny", 403)):
        for target in (f"/{repo}/resolve/main/config.json", f"/api/models/{repo}"):
            refused = mirror.get(target)
            assert refused.status == status, target
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert refused.headers["Cache-Control"] == "no-store"
            assert refused.headers["X-Error-Code"] == "GatedRepo"
            decision = refused.headers["X-Mirror-Decision"]
            address = f"{mirror.url}/-/blocked/{decision}"
            assert len(refused.reason) < 200
            assert refused.reason.endswith(address)
            assert f'<{address}>; rel="blocked-by"' in refused.headers["Link"]
            page = mirror.get(f"/-/blocked/{decision}").json()
            assert page["id"] == decision
            assert page["sentence"] == refused.headers["X-Error-Message"] == refused.json()["error"]
            assert "127.0.0.1" not in json.dumps(page.get("actor", {}))
            told = mirror.get(f"/-/blocked/{decision}", headers={"Accept": "text/html"})
            assert told.headers["Content-Type"].startswith("text/html")
            assert decision in told.body.decode()


def test_a_warning_is_read_and_the_file_comes(mirror: MirrorProcess, client_at: Callable[..., HubClient]) -> None:
    """`effect: warn` serves the file and huggingface_hub 2.x prints the sentence."""
    said = client_at(Path(sys.executable), mirror.url).python_says(GET, "acme/careful", "config.json")
    assert said.code == 0, said.text
    assert "Warning by policy rule 'careful': acme/careful" in said.text


def test_a_recall_stops_the_silent_use_of_an_old_copy(client: HubClient, hub: StandInHub, mirror: MirrorProcess) -> None:
    """A client that holds a copy falls back to it on a plain refusal, and not where the rule says `recall: true`."""
    for name in ("acme/recalled", "acme/kept"):
        if ("models", name) not in hub.world.repos:
            hub.add_repo("model", name, {"config.json": b"{}"})
    mirror.set_policy("version: 1\nrules: []\n")
    for name in ("acme/recalled", "acme/kept"):
        assert client.python_says(GET, name, "config.json").code == 0
    mirror.set_policy(POLICY + '  - {id: plain, when: {artifact: ["acme/kept"]}, effect: deny}\n')
    try:
        assert client.python_says(GET, "acme/kept", "config.json").code == 0  # what huggingface_hub does by itself
        said = client.python_says(GET, "acme/recalled", "config.json")
        assert said.code != 0, said.text
        assert "RevisionNotFound" in said.text
        assert "Blocked by policy rule 'recalled': acme/recalled" in said.text
    finally:
        mirror.set_policy(POLICY)


def test_every_refusal_is_on_the_record(mirror: MirrorProcess) -> None:
    """Refusals and held requests of this module are events with their rule; the ledger verifies."""
    refused = mirror.get("/umbrella/orphan/resolve/main/config.json").headers["X-Mirror-Decision"]
    decisions = [event["decision"] for event in mirror.events() if event.get("decision")]
    assert refused in {decision["id"] for decision in decisions}
    assert mirror.command("ledger", "verify").returncode == 0
