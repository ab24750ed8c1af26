"""huggingface_hub of four generations, feature by feature: once straight at a hub, once through the mirror before it.

Straight at the hub the clients go with Xet switched off, because the stand-in's content store keeps nothing; through the
mirror they go as they are, with hf_xet on where their generation has it.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.clients import HUB_0_23, HUB_0_36, HUB_1, HubClient, environment
from tests.support.mirror import running_mirror
from tests.support.standin import ALICE, BOB, StandInHub, running_hub
from tests.support.standin.defaults import ODD_NAMES

pytestmark = [pytest.mark.acceptance, pytest.mark.conformance, pytest.mark.timeout(600)]  # the first test runs all clients, and may have to install them

FEATURES: Final = Path(__file__).with_name("hub_features.py")
LARGE: Final = 12 << 20
PAGE: Final = 3  # rows of a list
POLICY: Final = """
version: 1
defaults: {on_unknown: {origin: allow, publisher: allow, lineage: allow}}
rules:
  - {id: no-umbrella, when: {artifact: ["pkg:huggingface/umbrella/*"]}, effect: deny, reason: "umbrella is under investigation"}
  - {id: no-pickle, when: {artifact: ["pkg:huggingface/initech/mixed#*.bin"]}, effect: deny}
  - {id: withdrawn, when: {artifact: ["initech/withdrawn"]}, effect: deny, recall: true}
  - {id: careful, when: {artifact: ["initech/careful"]}, effect: warn}
"""
GENERATIONS: Final[dict[str, Callable[[], Path]]] = {
    "0.23": lambda: environment("hub-0.23", HUB_0_23),
    "0.36": lambda: environment("hub-0.36", HUB_0_36),
    "1.x": lambda: environment("hub-1", HUB_1),
    "2.x": lambda: Path(sys.executable),
}
TARGETS: Final = ("direct", "mirror")


# --- the two runs of each client -----------------------------------------------------------------------------------------------


@dataclass
class Runs:
    """What all clients ended with: `said[generation, target][feature]` is {value | error, text, asked, shown}."""

    hub: StandInHub
    url: str
    said: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def of(self, generation: str, feature: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """One feature: what came directly, what came through the mirror."""
        return self.said[generation, "direct"][feature], self.said[generation, "mirror"][feature]


def content(hub: StandInHub) -> None:
    """What the features need beside the default content."""
    hub.list_page = PAGE
    history = hub.add_repo("model", "acme/long-history", {"n.txt": b"0"})
    for number in range(1, 56):
        history.push({"n.txt": str(number).encode()}, title=f"Change {number}")
    for number in range(4):
        hub.add_repo("dataset", f"acme/reviews-{number}", {"data.csv": b"a,b\n"})
    for name in ("mixed", "mixed-up", "withdrawn", "careful"):
        hub.add_repo("model", f"initech/{name}", {"config.json": b'{"model_type": "bert"}'}, {"weights.bin": name.encode() * 9000})
    hub.add_repo("model", "initech/large", {"README.md": b"large\n"}, {"large.bin": b"0123456789abcdef" * (LARGE // 16)})
    for generation in GENERATIONS:
        for target in TARGETS:
            lfs = {"large.bin": f"{generation} {target} ".encode() * 90_000}
            repo = hub.add_repo("model", f"initech/cut-{generation}-{target}", {}, lfs)
            hub.faults.add("drop_fin", f"/xet-bridge-us/{repo.hub_id}/*", origin="cdn", times=1, at=600_000)


class Client:
    """One process of one generation, at one target; it stops between the two groups of features."""

    def __init__(self, generation: str, target: str, runs: Runs, folder: Path) -> None:
        # Clients tell the CDN from the hub by its name, and at 1.33 by that alone, not by the port.
        url = runs.url if target == "mirror" else runs.hub.url.replace("127.0.0.1", "localhost")
        extra = {"HF_HUB_USER_AGENT_ORIGIN": target} | ({"HF_HUB_DISABLE_XET": "1"} if target == "direct" else {})
        home = folder / f"{generation}-{target}"
        home.mkdir()
        cut = runs.hub.repo(f"initech/cut-{generation}-{target}")
        client = HubClient(GENERATIONS[generation](), url, home, extra=extra)
        given = {
            "target": target, "home": str(home), "alice": ALICE, "bob": BOB, "hub": runs.hub.url, "odd_names": ODD_NAMES, "large": "initech/large",
            "cut": cut.name, "cut_sha": cut.commits[cut.head].files["large.bin"].sha256, "first_commit": next(iter(runs.hub.repo("acme/tiny-bert").commits)),
        }  # fmt: skip
        environ = {name: value for name, value in client.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.errors = (folder / f"{generation}-{target}.txt").open("w+")
        self.process = subprocess.Popen(
            [client.python, FEATURES, json.dumps(given)], env=environ, cwd=home, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
        )  # fmt: skip

    def line(self) -> dict[str, Any]:
        """The next group's results."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        self.errors.seek(0)
        assert text, f"the client ended: {self.errors.read()[-3000:]}"
        found: dict[str, Any] = json.loads(text)
        return found

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """All clients through all features, two at a time; then the hub goes away, and they go on."""
    folder = tmp_path_factory.mktemp("conformance")
    with running_hub() as hub:
        content(hub)
        with running_mirror(folder / "mirror", hub, policy=POLICY) as mirror:
            found, clients, lock = Runs(hub, mirror.url), {}, threading.Lock()

            def online(generation: str, target: str) -> None:
                client = Client(generation, target, found, folder)
                with lock:
                    clients[generation, target] = client
                found.said[generation, target] = client.line()

            def outage(generation: str, target: str) -> None:
                clients[generation, target].go_on()
                found.said[generation, target] |= clients[generation, target].line()

            every = [(generation, target) for generation in GENERATIONS for target in TARGETS]
            try:
                with ThreadPoolExecutor(3) as pool:
                    list(pool.map(lambda pair: online(*pair), every))
                    hub.go_down()
                    list(pool.map(lambda pair: outage(*pair), every))
            finally:
                for client in clients.values():
                    client.end()
            yield found


# --- what a cell demands --------------------------------------------------------------------------------------------------------

Check = Callable[[dict[str, Any], StandInHub], None]


def gives(holds: Callable[[Any, StandInHub], bool]) -> Check:
    """A value, and a substantial one: two empty answers would be equal too."""

    def check(came: dict[str, Any], hub: StandInHub) -> None:
        assert "value" in came, came
        assert holds(came["value"], hub), came["value"]

    return check


def fails(pattern: str) -> Check:
    """An exception whose `Class: text` the pattern finds."""

    def check(came: dict[str, Any], hub: StandInHub) -> None:
        assert re.search(pattern, f"{came.get('error')}: {came.get('text')}"), came

    return check


def digest(hub: StandInHub, path: str, name: str = "acme/tiny-bert", kind: str = "models", revision: str = "main") -> str:
    commit = hub.repo(name, kind).resolve(revision)
    assert commit is not None
    return hashlib.sha256(commit.files[path].data).hexdigest()


def kept(path: str, name: str = "acme/tiny-bert", kind: str = "models", revision: str = "main") -> Callable[[Any, StandInHub], bool]:
    """What a download leaves: the bytes, under the hub's entity tag, below the commit."""

    def holds(value: Any, hub: StandInHub) -> bool:
        commit = hub.repo(name, kind).resolve(revision)
        assert commit is not None
        file = commit.files[path]
        return bool(value == [file.sha256, file.sha256 if file.lfs else file.oid, commit.id])

    return holds


def whole(name: str, kind: str = "models", *, only: Callable[[str], bool] = lambda _: True) -> Callable[[Any, StandInHub], bool]:
    """Every file of a repository's main branch, byte for byte."""

    def holds(value: Any, hub: StandInHub) -> bool:
        repo = hub.repo(name, kind)
        return bool(value and value == {path: file.sha256 for path, file in repo.commits[repo.head].files.items() if only(path)})

    return holds


def named(hub: StandInHub, kind: str, part: str = "acme/") -> list[str]:
    """The repositories of a kind with `part` in their names, of which the hub tells who may see everything."""
    return [repo.name for (of, _), repo in sorted(hub.world.repos.items()) if of == kind and part in repo.name and repo.disabled is not True]


@dataclass(frozen=True)
class Row:
    """A feature of the table. `mirror` is what must come through the mirror, `direct` what must come without it.

    Where the result is "same" or "works" both must be equal, so `direct` is not needed. `since` is the first generation that has it.
    """

    key: str
    feature: str
    mirror: Check
    result: str = "same"
    note: str = ""
    direct: Check | None = None
    since: str = "0.23"

    @property
    def generations(self) -> list[str]:
        known = list(GENERATIONS)
        return known[known.index(self.since) :]


def refused(key: str, feature: str, sentence: str, direct: Check, since: str = "0.23") -> Row:
    """What the mirror refuses although the hub would not; the client shows the sentence."""
    return Row(key, feature, fails(sentence), "refused", direct=direct, since=since)


NO_XET: Final = (
    "The mirror takes every trace of Xet out of what it passes on and serves files over plain HTTP, so that no byte goes round it;"
    " hf_xet finds nothing to do."
)
READABLE: Final = (
    "Over plain HTTP clients do not recognise the hub's 401 for a repository that is missing or private; the mirror adds the code"
    " `RepoNotFound`, so that the exception is RepositoryNotFoundError, as it is over https."
)
STALE_TOKEN: Final = (
    "The hub refuses a stale token on public repositories too; the mirror reads what is public in nobody's name, so it comes."
)
ADVICE: Final = "The hub's advice to anonymous callers is about its own quotas, which the mirror's callers do not meet; it is not passed on."
LEFT_OUT: Final = "Denied files are left out; the rest comes. From 1.4 on the client prints which are missing, and the sentence."
WARNED: Final = "The files come as from the hub. From 1.4 on the client prints the sentence; older generations do not know the header."
BETTER: Final = "Better than the hub: without it the client fails; the mirror answers from what it holds."
BLOCKED: Final = r"^GatedRepoError: .*Blocked by policy rule 'no-umbrella': umbrella/\S+: umbrella is under investigation"
SHA: Final = re.compile(r"[0-9a-f]{64}")
MINE: Final = gives(lambda value, hub: bool(value))

ROWS: Final = (
    # files
    Row("small", "Download of a small file", gives(kept("config.json"))),
    Row("lfs", "Download of a large (LFS) file", gives(kept("model.safetensors"))),
    Row("again", "The same files again: no GET", gives(lambda value, hub: value == [digest(hub, "model.safetensors"), digest(hub, "config.json"), 0])),
    Row("pinned", "A pinned commit that is on disk: no request", gives(lambda value, hub: kept("config.json")(value[0], hub) and value[1] == 0)),
    Row("commit", "Download by commit", gives(kept("config.json", revision="v1.0"))),
    Row("resume", "Resume of a cut download, with `Range`", gives(lambda value, hub: value == [digest(hub, "large.bin", "initech/large"), True])),
    Row("hub-cuts", "A download that is cut at the hub's CDN", gives(lambda value, hub: value is True)),
    Row("local-dir", "Download into `local_dir`, and again: no GET", gives(
        lambda value, hub: value == [{path: digest(hub, path) for path in ("model.safetensors", "config.json")}, 0])),
    Row("head", "`get_hf_file_metadata`", gives(
        lambda value, hub: value[0] == [hub.repo("acme/tiny-bert").head, digest(hub, "model.safetensors"), 300_120] and len(value[1][1]) == 40)),
    Row("snapshot", "`snapshot_download` of everything", gives(whole("acme/new-name"))),
    Row("snapshot-again", "The same snapshot again: one request", gives(
        lambda value, hub: value == [7, [["GET", "/api/models/acme/new-name/revision/main"]]])),
    Row("verify", "Checksums of what is on disk: `hf cache verify`", gives(
        lambda value, hub: value == [hub.repo("acme/new-name").head, 7, [], [], []]), since="1.x"),
    Row("snapshot-patterns", "`snapshot_download` with allowed and ignored patterns", gives(
        whole("globex/solid-7b", only=lambda path: path.endswith((".json", ".txt")) and not path.startswith("vocab")))),
    Row("snapshot-local-dir", "`snapshot_download` into `local_dir`", gives(whole("tinybert"))),
    Row("dry-run", "`snapshot_download` as a dry run", gives(lambda value, hub: [row[0] for row in value] == ["config.json", "weights.bin"]), since="1.x"),
    Row("names", "File names with `#`, `%`, `?`, `+`, space, backslash, Unicode", gives(
        lambda value, hub: value == {name: digest(hub, name, "acme/odd-names") for name in ODD_NAMES})),
    Row("names-snapshot", "A snapshot of such names, empty files among them", gives(whole("acme/odd-names"))),
    Row("command", "The command: `hf download`, `huggingface-cli download`", gives(
        lambda value, hub: value == {path: digest(hub, path) for path in ("model.safetensors", "config.json")})),
    # revisions and names
    Row("branch", "A branch with a slash", gives(kept("notes.txt", revision="feature/x"))),
    Row("tag", "A tag", gives(kept("config.json", revision="v1.0"))),
    Row("pull-request", "`refs/pr/1`", gives(kept("proposal.txt", revision="refs/pr/1"))),
    Row("convert", "`refs/convert/parquet`", gives(kept("default/train/0000.parquet", "acme/reviews", "datasets", "refs/convert/parquet"))),
    Row("short", "A short commit", gives(kept("config.json", revision="v1.0"))),
    Row("dataset", "A dataset: file and snapshot", gives(
        lambda value, hub: kept("data/train.csv", "acme/reviews", "datasets")(value[0], hub) and whole("acme/reviews", "datasets")(value[1], hub))),
    Row("space", "A space: file and snapshot", gives(
        lambda value, hub: kept("app.py", "acme/demo", "spaces")(value[0], hub) and whole("acme/demo", "spaces")(value[1], hub))),
    Row("kernel", "A kernel: snapshot and information", gives(
        lambda value, hub: whole("acme/fast-kernel", "kernels")(value[0], hub) and value[1]["id"] == "acme/fast-kernel"), since="1.x"),
    Row("single", "Old names of one part, in use and renamed", gives(
        lambda value, hub: kept("config.json", "globex-community/solid2")(value[0], hub) and kept("model.safetensors", "tinybert")(value[2], hub)
        and value[1::2] == ["globex-community/solid2", "tinybert"])),
    Row("case", "A name in another case", gives(
        lambda value, hub: kept("model.safetensors", "Acme-Labs/CamelCase")(value[0], hub) and value[1:] == ["Acme-Labs/CamelCase", 7])),
    Row("renamed", "A renamed repository under its old names", gives(
        lambda value, hub: kept("model.safetensors", "acme/new-name")(value[0], hub) and value[1:3] == ["acme/new-name", 1]
        and whole("acme/new-name")(value[3], hub))),
    # what the hub tells
    Row("model-info", "`model_info`, of revisions too", gives(
        lambda value, hub: value[0]["sha"] == hub.repo("acme/tiny-bert").head and len(value[0]["siblings"]) == 8 and value[2] == hub.repo("acme/tiny-bert").pull_requests["1"])),
    Row("model-info-files", "`model_info` with sizes and digests, with the security status", gives(
        lambda value, hub: digest(hub, "model.safetensors") in json.dumps(value[0]) and "filesWithIssues" in json.dumps(value[1]))),
    Row("model-info-expand", "`model_info` with `expand`", gives(
        lambda value, hub: value["downloads_all_time"] == 420 and "initech/solid-7b-chat" in json.dumps(value)), since="0.36"),
    Row("dataset-info", "`dataset_info`, plain, with sizes, with `expand`", gives(
        lambda value, hub: [row["id"] for row in (*value[:2], *value[2])][:2] == ["acme/reviews"] * 2 and digest(hub, "extra/reviews.parquet", "acme/reviews", "datasets") in json.dumps(value))),
    Row("space-info", "`space_info`, plain, with sizes, with `expand`", gives(lambda value, hub: value[0]["sdk"] == "gradio" and value[1]["siblings"][0]["size"] > 0)),
    Row("runtime", "`get_space_runtime`", gives(lambda value, hub: value["stage"] == "RUNNING")),
    Row("tree", "`list_repo_tree`, recursive, over two pages", gives(lambda value, hub: len(value) == 1218)),
    Row("tree-expand", "`list_repo_tree` with `expand`, 50 to a page", gives(
        lambda value, hub: [len(rows) for rows in value] == [100, 8] and value[0][0]["last_commit"]["title"] == "initial commit")),
    Row("files", "`list_repo_files`", gives(lambda value, hub: len(value[0]) == 1205 and value[1] == ["default/train/0000.parquet"])),
    Row("paths-info", "`get_paths_info`", gives(
        lambda value, hub: [len(rows) for rows in value] == [2, 2, 3, 3] and digest(hub, "model.safetensors") in json.dumps(value[0]))),
    Row("xet-hash", "The Xet hash of a file", gives(lambda value, hub: value == [None, True]), "differs", NO_XET,
        gives(lambda value, hub: bool(SHA.fullmatch(value[0])) and value[1] is False), since="1.x"),
    Row("refs", "`list_repo_refs`", gives(
        lambda value, hub: [row["ref"] for row in value[0]["pull_requests"]] == ["refs/pr/1"] and [row["name"] for row in value[1]["converts"]] == ["parquet"])),
    Row("commits", "`list_repo_commits`, over two pages", gives(lambda value, hub: [len({row["commit_id"] for row in rows}) for rows in value] == [56, 56])),
    Row("exists", "`file_exists`, `revision_exists`, `repo_exists`", gives(lambda value, hub: value == [True, False] * 3)),
    Row("list-models", "`list_models`, page by page, with a token", gives(
        lambda value, hub: [row["id"] for row in value[0][0]] == named(hub, "models") and len(value[0][1]) == 4
        and value[1] == -(-len(named(hub, "models")) // PAGE) + 2)),
    Row("list-datasets", "`list_datasets`, `list_spaces`, a search", gives(
        lambda value, hub: [[row["id"] for row in rows] for rows in value] == [named(hub, "datasets"), named(hub, "spaces"), named(hub, "models", "solid")])),
    Row("tags", "`get_model_tags`, `get_dataset_tags`", gives(lambda value, hub: value[0]["license"][0]["id"] == "license:mit")),
    Row("collections", "Collections", gives(lambda value, hub: len(value[0]["items"]) >= 4 and value[1] == ["acme/best-0", "acme/best-1"])),
    Row("papers", "Papers", gives(lambda value, hub: value[0]["id"] == value[1][0]["id"] == "2403.00001"), since="0.36"),
    Row("people", "Overview of a user or an organisation", gives(lambda value, hub: value[0]["fullname"] == "Acme")),
    Row("safetensors", "`get_safetensors_metadata`, `parse_safetensors_file_metadata`", gives(
        lambda value, hub: value[0]["weight_map"] == {"weight": "model.safetensors"} and value[1]["tensors"]["weight"]["shape"] == [75_000])),
    # HfFileSystem
    Row("fs-ls", "HfFileSystem: `ls`, `info`, `exists`", gives(lambda value, hub: len(value[0]) == 8 and value[2:] == [190, False])),
    Row("fs-read", "HfFileSystem: `open` and ranges", gives(
        lambda value, hub: value[0] == hashlib.sha256(hub.repo("acme/tiny-bert").resolve("main").files["model.safetensors"].data[200_000:270_000]).hexdigest()
        and value[2:] == [digest(hub, "model.safetensors"), True])),
    Row("fs-glob", "HfFileSystem: `glob`, `find`", gives(lambda value, hub: [len(found) for found in value] == [3, 1, 1])),
    Row("fs-get", "HfFileSystem: `get_file`", gives(lambda value, hub: value == digest(hub, "model.safetensors"))),
    # who asks
    Row("whoami", "`whoami`, of two tokens", gives(lambda value, hub: (value[0]["name"], value[1]) == ("alice", "bob"))),
    Row("whoami-bad-token", "`whoami` with a bad token", fails("^(HTTPError|HfHubHTTPError): Invalid user token")),
    Row("gated-with", "A gated repository, with the right", gives(
        lambda value, hub: kept("model.safetensors", "acme/gated-auto")(value[0], hub) and kept("data.csv", "acme/gated-data", "datasets")(value[1], hub)
        and value[3] == "manual")),
    Row("gated-without", "A gated repository, without the right", fails("^GatedRepoError: .*you are not in the authorized list")),
    Row("gated-anonymous", "A gated repository, anonymously", fails("^GatedRepoError: .*Please log in")),
    Row("gated-commits", "The commits of a gated repository, without the right", fails("^GatedRepoError: .*you are not in the authorized list")),
    Row("private-with", "A private repository, with the right", gives(
        lambda value, hub: kept("model.safetensors", "acme/secret")(value[0], hub) and value[1]["private"] is True)),
    Row("private-without", "A private repository, without the right", fails("^RepositoryNotFoundError: 404")),
    Row("auth-check", "`auth_check`, with the right", gives(lambda value, hub: value == [None] * 3), since="0.36"),
    Row("auth-check-without", "`auth_check`, without the right", fails("^GatedRepoError: .*you are not in the authorized list"), since="0.36"),
    Row("bad-token", "A bad token, at a gated repository",
        fails("^(HfHubHTTPError: .*Invalid credentials in Authorization header|LocalEntryNotFoundError: .*trying to locate the file)")),
    Row("bad-token-public", "A bad token, at a public repository", gives(lambda value, hub: kept("model.safetensors")(value[1], hub)), "differs", STALE_TOKEN,
        fails("^HfHubHTTPError: .*Invalid credentials in Authorization header")),
    # what is not there
    Row("no-file", "A missing file", fails("EntryNotFoundError: 404 .*Entry Not Found")),
    Row("no-folder", "A missing folder", fails("EntryNotFoundError: 404 .*absent does not exist")),
    Row("no-revision", "A missing revision: download", fails("^RevisionNotFoundError: 404 .*Invalid rev id: v9")),
    Row("no-revision-info", "A missing revision: information", fails("^RevisionNotFoundError: 404 .*Invalid rev id: v9")),
    Row("no-repository", "A missing repository, with a token: information", fails("^RepositoryNotFoundError: 404")),
    Row("no-repository-download", "A missing repository, with a token: download", fails("^RepositoryNotFoundError: 404")),
    Row("no-repository-anonymous", "A missing repository, anonymously", fails("^RepositoryNotFoundError: 401 .*Invalid username or password"), "differs", READABLE,
        fails("^HfHubHTTPError: .*Invalid username or password")),
    Row("disabled", "A repository that the hub has disabled", fails("^DisabledRepoError: .*Access to this resource is disabled")),
    Row("region", "A repository that the hub does not show in our region", fails("^LocalEntryNotFoundError: .*trying to locate the file")),
    # what the house denies
    refused("denied-download", "A denied model: `hf_hub_download`", BLOCKED, gives(kept("model.safetensors", "umbrella/orphan"))),
    refused("denied-snapshot", "A denied model: `snapshot_download`", BLOCKED, gives(lambda value, hub: value == 7)),
    refused("denied-info", "A denied model: `model_info`", BLOCKED, gives(lambda value, hub: value == "umbrella/loop-a")),
    Row("denied-command", "A denied model: the command", gives(
        lambda value, hub: value[0] is True and "Blocked by policy rule 'no-umbrella': umbrella/loop-b: umbrella is under investigation" in value[1]),
        "refused", direct=MINE),
    refused("denied-file", "A denied file", "^GatedRepoError: .*Blocked by policy rule 'no-pickle': initech/mixed", gives(kept("weights.bin", "initech/mixed"))),
    Row("denied-file-snapshot", "A snapshot of a repository with a denied file", gives(lambda value, hub: value == ["config.json"]), "differs", LEFT_OUT,
        gives(lambda value, hub: value == ["config.json", "weights.bin"])),
    refused("recall", "A recalled model, with an old copy in the client's cache", "^RevisionNotFoundError: .*Blocked by policy rule 'withdrawn': initech/withdrawn",
            gives(kept("config.json", "initech/withdrawn"))),
    Row("warned", "A model with a warning", gives(kept("config.json", "initech/careful")), "works", WARNED),
    refused("upload", "Upload", "^GatedRepoError: .*This mirror takes nothing in", lambda came, hub: None),
    refused("create", "Creating a repository", "^GatedRepoError: .*This mirror takes nothing in", lambda came, hub: None),
    refused("discussions", "Discussions, as every route that no rule can judge", "^HfHubHTTPError: .*This mirror does not serve", gives(lambda value, hub: value == [])),
    Row("advice", "The hub's advice to log in", gives(lambda value, hub: value is False), "differs", ADVICE, gives(lambda value, hub: value is True), since="1.x"),
    # an outage
    Row("outage-file", "The hub out of reach: a file that the client does not have", gives(kept("model.safetensors")), "differs", BETTER,
        fails("^LocalEntryNotFoundError")),
    Row("outage-info", "The hub out of reach: information and lists", gives(
        lambda value, hub: value == [hub.repo("acme/tiny-bert").head, 1218]), "differs", BETTER, fails("^Connect(ion)?Error")),
    Row("outage-own-copy", "The hub out of reach: a file that the client has", gives(kept("model.safetensors"))),
)  # fmt: skip
PRINTED: Final = {
    "denied-info": "Blocked by policy rule 'no-umbrella'", "denied-file-snapshot": "Blocked by policy rule 'no-pickle'", "recall": "Blocked by policy rule 'withdrawn'",
    "warned": "Warning by policy rule 'careful'",
}  # fmt: skip
"""Sentences that 1.4 and later print whatever becomes of the exception."""


def plain(text: str) -> str:
    """An error's text without what names the server and the request."""
    return re.sub(r"\(Request ID: [^)]*\)", "", re.sub(r"http://(localhost|127\.0\.0\.1):\d+", "", text))


def cell(row: Row, generation: str) -> Any:
    """One test, which proves one cell."""
    mark = pytest.mark.proves(row.feature, f"huggingface_hub {generation}", row.result, row.note)
    return pytest.param(row, generation, marks=mark, id=f"{row.key}-{generation}")


@pytest.mark.parametrize(("row", "generation"), [cell(row, generation) for row in ROWS for generation in row.generations])
def test_what_the_client_ends_with(row: Row, generation: str, runs: Runs, record_property: Callable[[str, object], None]) -> None:
    """Through the mirror the client ends with the value, the files or the exception that it gets from the hub itself, or with the stated difference."""
    direct, mirror = runs.of(generation, row.key)
    row.mirror(mirror, runs.hub)
    if row.direct is not None:
        row.direct(direct, runs.hub)
    else:
        assert mirror.get("value") == direct.get("value")
        assert (mirror.get("error"), plain(mirror.get("text", ""))) == (direct.get("error"), plain(direct.get("text", "")))
    if generation in ("1.x", "2.x") and row.key in PRINTED:
        assert PRINTED[row.key] in mirror["shown"]
    if row.key == "hub-cuts":  # each client, and the mirror, had to ask the CDN a second time
        cut = [runs.hub.repo(f"initech/cut-{generation}-{target}").hub_id for target in TARGETS]
        assert all(len(runs.hub.requests.where(origin="cdn", path=f"/xet-bridge-us/{hub_id}/*")) >= 2 for hub_id in cut)
    if row.key == "small":
        hub, xet = runs.said[generation, "mirror"]["versions"]
        record_property("version", f"huggingface_hub {hub}" + (f" with hf_xet {xet}" if xet else ""))


def round_the_mirror() -> list[Any]:
    feature = "No request goes round the mirror, hf_xet installed and on, nor a token"
    columns = [(generation, f"huggingface_hub {generation}") for generation in GENERATIONS]
    return [pytest.param(generation, marks=pytest.mark.proves(feature, column, "works"), id=generation) for generation, column in columns]


@pytest.mark.parametrize("generation", round_the_mirror())
def test_nothing_goes_round_the_mirror(generation: str, runs: Runs) -> None:
    """No client that was pointed at the mirror asked anybody else for anything, followed a link elsewhere, or went to the content store."""
    said = runs.said[generation, "mirror"]
    asked = {asked[1] for key, came in said.items() if key not in ("versions", "recall") for asked in came["asked"]}  # `recall` fetches its old copy itself
    assert asked == {runs.url.removeprefix("http://")}
    assert (said["versions"][1] is None) == (generation == "0.23"), "hf_xet is there in every generation that knows it"
    assert not runs.hub.requests.where(origin="cas")
    assert not runs.hub.requests.where(path="*xet-*-token*")
    agents = {call.headers.get("User-Agent", "") for call in runs.hub.requests}
    assert any("origin/direct" in agent for agent in agents)
    assert not [agent for agent in agents if "origin/mirror" in agent and not agent.startswith("before/")]
