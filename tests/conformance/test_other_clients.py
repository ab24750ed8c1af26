"""huggingface.js, git-lfs, and the calls of llama.cpp, Ollama and Rust hf-hub: straight at a hub, and through the mirror."""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import HUGGINGFACE_JS, Said, node_modules, run
from tests.support.mirror import MirrorProcess, clean_environment, running_mirror
from tests.support.standin import ALICE, StandInHub, running_hub
from tests.support.standin.defaults import gguf

from . import calls
from .comparing import SCRIPTS, Told, alike, cells, same, same_failure, told

pytestmark = [pytest.mark.acceptance, pytest.mark.conformance, pytest.mark.timeout(300)]

POLICY = """
version: 1
defaults: {on_unknown: {origin: allow, publisher: allow, lineage: allow}}
rules:
  - {id: whole, when: {artifact: ["umbrella/*"]}, effect: deny, reason: "is under embargo"}
  - {id: pickle, when: {file: ["*.bin", "*Q8_0.gguf"]}, effect: deny, reason: "is of a kind that we do not take"}
"""
JS, GIT, LLAMA, OLDER, OLLAMA, RUST = "huggingface.js", "git and git-lfs", "llama.cpp", "llama.cpp of 2025", "Ollama", "Rust hf-hub 0.5"


def fill(hub: StandInHub) -> None:
    """What the default content lacks."""
    rng = random.Random(11)
    hub.list_page = 4  # so that listings have pages
    hub.add_repo("model", calls.GATED, {"README.md": b"x"}, {"m-Q4_0.gguf": gguf(rng)}, gated="auto", tokens_allowed=[ALICE])
    hub.add_repo("model", calls.REFUSED, {"README.md": b"x"}, {"m-Q4_0.gguf": gguf(rng)})


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    with running_hub() as running:
        fill(running)
        yield running


@pytest.fixture(scope="module")
def mirror(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    with running_mirror(tmp_path_factory.mktemp("mirror"), hub, policy=POLICY) as running:
        yield running


@pytest.fixture(scope="module")
def js(hub: StandInHub, mirror: MirrorProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """What huggingface.js told: "direct", "plain" (straight at a hub without Xet: the stand-in has no content store), "through"."""
    modules, said = node_modules("js", HUGGINGFACE_JS), {}
    for name, endpoint, xet in (("direct", hub.url, True), ("plain", hub.url, False), ("through", mirror.url, True)):
        hub.xet = xet
        home = tmp_path_factory.mktemp(name)
        environ = {**clean_environment(), "HOME": str(home), "HF_HOME": str(home)}
        said[name] = told(run(["node", SCRIPTS / "hub.mjs", modules, endpoint, home, ALICE], environ, home), endpoint, home)
    return said


@pytest.fixture(scope="module")
def called(hub: StandInHub, mirror: MirrorProcess) -> dict[str, Told]:
    """What the calls of llama.cpp, Ollama and Rust hf-hub ended with."""
    return {
        name: Told(calls.tried(calls.features(endpoint, ALICE)), "") for name, endpoint in (("direct", hub.url), ("through", mirror.url))
    }  # fmt: skip


def repository(folder: Path, endpoint: str, *, name: str = "acme/tiny-bert", login: str = "") -> None:
    """A folder as after a clone without its large files, their address set to `endpoint`."""
    at = endpoint.replace("//", f"//{login}") + f"/{name}.git/info/lfs"
    for command in (["lfs", "install", "--local"], ["config", "lfs.url", at], ["config", f"lfs.{at}.locksverify", "false"]):
        assert git(folder, *command).code == 0


def git(folder: Path, *command: str | Path) -> Said:
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C",
    }  # fmt: skip
    return run(["git", *command], environ, folder)


@pytest.fixture(scope="module")
def lfs(hub: StandInHub, mirror: MirrorProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """What `git lfs pull` left in a clone from the hub itself, its `lfs.url` set to the hub and to the mirror."""
    said = {}
    for name, endpoint in (("direct", hub.url), ("through", mirror.url)):
        folder = tmp_path_factory.mktemp(name)
        features: dict[str, Any] = {}
        for feature, repo, login, options in (
            ("large", "acme/tiny-bert", "", ["--include", "model.safetensors"]),
            ("beside", "acme/tiny-bert", "", []),
            ("gate open", "acme/gated-auto", f"alice:{ALICE}@", ["--include", "model.safetensors"]),
            ("gate shut", "acme/gated-auto", "", ["--include", "model.safetensors"]),
            ("refused", "umbrella/orphan", "", []),
        ):
            here = folder / feature.replace(" ", "-")
            assert git(folder, "-c", f"http.extraHeader=Authorization: Bearer {ALICE}", "clone", "--quiet", f"{hub.url}/{repo}", here).code == 0
            repository(here, endpoint, name=repo, login=login)
            pulled = git(here, "lfs", "pull", *options)
            files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in here.iterdir() if path.is_file()}
            words = alike(pulled.text, endpoint, here)
            features[feature] = {"error": pulled.code, "text": words, "files": files} if pulled.code else files
        said[name] = Told(features, "")
    return said


@pytest.fixture
def both(request: pytest.FixtureRequest, key: str, record_property: Callable[[str, object], None]) -> tuple[Told, Told]:
    """What the client of this cell ended with at both places."""
    client = request.node.callspec.id.partition(":")[0]
    if client == JS:
        js = request.getfixturevalue("js")
        for version in js["through"]["version"].split(", "):
            record_property("version", version)
        return js["direct"], js["through"]
    if client == GIT:
        for program in ("git", "git-lfs"):
            number = re.search(r"\d+(\.\d+)+", run([program, "--version"], clean_environment(), Path("/")).out)
            record_property("version", f"{program} {number[0] if number else '?'}")
    said = request.getfixturevalue("lfs" if client == GIT else "called")
    return said["direct"], said["through"]


def of_calls(key: str, *clients: str, **more: str) -> dict[str, str]:
    return {**({JS: more["js"]} if "js" in more else {}), **({GIT: more["git"]} if "git" in more else {}), **{one: f"{one} {key}" for one in clients}}


GGUF = (LLAMA, OLDER, OLLAMA)


@cells(
    ("Information about a model", {JS: "model", RUST: f"{RUST} files"}),
    ("Information about a model at a tag", {JS: "model v1"}),
    ("Information about a dataset, a space", {JS: "dataset and space"}),
    ("Under an old name", {JS: "old name"}),
    ("Listing of models, page by page", {JS: "models"}),
    ("Listing of datasets", {JS: "datasets"}),
    ("Files of a model", {LLAMA: f"{LLAMA} files"}),
    ("Files of a model, more than a page", {JS: "files"}),
    ("Files of a folder with commits and scans", {JS: "files in a folder"}),
    ("Sizes and digests of named files", {JS: "some paths"}),
    ("Whether a file, a model exists", {JS: "exists"}),
    ("Commits, page by page, and their count", {JS: "commits"}),
    ("Manifest of a registry", {OLDER: f"{OLDER} manifest", OLLAMA: f"{OLLAMA} manifest"}),
    ("Size and entity tag before a download", {JS: "sizes"}),
    ("Download of a small file", {JS: "small"}),
    ("Download from a branch with a slash", {JS: "small, branch", RUST: f"{RUST} branch"}),
    ("Download of a dataset's file", {JS: "small, dataset"}),
    ("Download of a large file", of_calls("large", *GGUF, RUST, js="large, no Xet", git="large")),
    ("Part of a large file", {JS: "middle"}),
    ("Resume of a cut download", of_calls("resume", LLAMA, OLDER, RUST)),
    ("Pointer of a large file", {JS: "pointer"}),
    ("Download into the client's cache", {JS: "into the cache"}),
    ("Who am I", {JS: "whoami"}),
    ("Whether I may read a model", {JS: "access"}),
    ("A private model, with its owner's token", {JS: "private"}),
    ("A gate, with a token on its list", of_calls("gate open", LLAMA, OLDER, RUST, js="gate open", git="gate open")),
)
def test_the_same_is_got(both: tuple[Told, Told], key: str) -> None:
    """Values and bytes that come through the mirror are those that come from the hub."""
    same(*both, key)


@cells(
    ("Whole snapshot", {JS: "snapshot"}),
    ("Tensors of a safetensors file", {JS: "tensors"}),
)
def test_the_same_is_got_as_without_xet(js: dict[str, Told], key: str) -> None:
    """What huggingface.js does with large files gives what it gives at a hub that has no Xet."""
    same(js["plain"], js["through"], key)


@cells(
    ("A file that is not there", {JS: "absent", RUST: f"{RUST} absent"}),
    ("A tag that is not there", of_calls("no such tag", OLDER, OLLAMA)),
    ("A repository that is not there", of_calls("missing", *GGUF, RUST)),
    ("A gate, without leave", of_calls("gate shut", *GGUF, RUST, js="gate shut")),
)
def test_the_same_fails(both: tuple[Told, Told], key: str) -> None:
    """What the hub has not, or does not give, ends with the same status and words - huggingface.js gives null for a file that is absent."""
    if key == "absent":
        assert both[0][key] is both[1][key] is None
    elif key == "gate shut":
        shown = [{name: of[key][name] for name in ("error", "text", "status")} for of in both]
        assert shown[0] == shown[1]
        assert shown[0]["status"] == 401
    else:
        assert " 40" in same_failure(*both, key)


def test_what_was_compared_is_worth_it(js: dict[str, Told], called: dict[str, Told], lfs: dict[str, Told], hub: StandInHub) -> None:
    """Digests are those of the files, listings whole, and pages were turned at the mirror."""
    tiny, quant = hub.repo("acme/tiny-bert"), hub.repo(calls.QUANT)
    weights, model = tiny.commits[tiny.head].files["model.safetensors"], quant.commits[quant.head].files["solid-7b-merge-Q4_K_M.gguf"]
    there, rest = js["through"], called["through"]
    assert there["large, no Xet"] == there["large"] == [len(weights.data), weights.sha256]
    assert there["middle"] == [89_001, hashlib.sha256(weights.data[1000:90_001]).hexdigest()]
    assert weights.sha256 in there["pointer"]
    assert there["snapshot"]["model.safetensors"]
    assert {"acme/tiny-bert", "acme/new-name"} <= {row["name"] for row in there["models"]}
    assert len(there["files"]) == 1205 + 13
    assert [row["title"] for row in there["commits"][0]] == ["Add a newline", "initial commit"]
    assert there["exists"] == [True, False, True, False]
    for client in (LLAMA, OLDER, RUST):
        assert (model if client != RUST else weights).sha256 in rest[f"{client} large"]
        assert rest[f"{client} resume"][:2] == [200, 206]
    assert [len(model.data), model.sha256] in [row[1:] for row in rest[f"{OLLAMA} large"]]
    assert lfs["through"]["large"]["model.safetensors"] == weights.sha256
    gated = hub.repo("acme/gated-auto")
    assert lfs["through"]["gate open"]["model.safetensors"] == gated.commits[gated.head].files["model.safetensors"].sha256
    turned = [call for call in hub.requests if call.param("cursor") and call.headers["User-Agent"].startswith("entrepot")]
    assert {"/api/models", "/api/models/acme/many-files/tree"} <= {call.path.rpartition("/")[0] if "tree" in call.path else call.path for call in turned}


XET = "The mirror leaves everything about Xet out: the same bytes come over plain HTTP, checked by the mirror against the hub's digest."


@cells(("Download of a large file over Xet", {JS: "large"}), result="differs", note=XET)
def test_xet_is_left_out(js: dict[str, Told], key: str, hub: StandInHub) -> None:
    """huggingface.js sees no Xet hash and gets the file as from a hub without Xet; nothing goes to the content store."""
    assert js["through"][key] == js["plain"][key] == js["direct"][key]
    assert "xetHash" in js["direct"]["large paths"][0]
    assert js["through"]["large paths"] == js["plain"]["large paths"]
    assert [js[place]["Xet"] for place in ("direct", "plain", "through")] == [True, False, False]
    assert not [call for call in hub.requests.where(origin="cas") if call.headers["User-Agent"] != "node"]


TAG = "The entity tag is the file's SHA-256, also where the client ends at the hub's CDN, which gives one of its own."


@cells(("Size and entity tag before a download", {LLAMA: f"{LLAMA} head"}), result="differs", note=TAG)
def test_the_entity_tag_is_the_digest(both: tuple[Told, Told], key: str, hub: StandInHub) -> None:
    """Length and ranges are the same; the entity tag is another one, and says what the bytes are."""
    assert both[1][key][:2] == both[0][key][:2] == ["200008", "bytes"]
    repo = hub.repo(calls.QUANT)
    assert both[1][key][2] == f'"{repo.commits[repo.head].files["solid-7b-merge-Q4_K_M.gguf"].sha256}"'


RELATIVE = "This client fails at the hub's relative redirects of small files. The mirror never redirects a file, so it works."


@cells(("Download of a small file", {RUST: f"{RUST} small"}), result="works", note=RELATIVE)
def test_a_small_file_comes_without_a_redirect(both: tuple[Told, Told], key: str, hub: StandInHub) -> None:
    """What Rust hf-hub 0.5 cannot have at the hub itself it has at the mirror: commit, git id, size and bytes."""
    assert both[0].failed(key).startswith("Stopped")
    repo = hub.repo("acme/tiny-bert")
    file = repo.commits[repo.head].files["config.json"]
    assert both[1][key] == [repo.head, file.oid, len(file.data), file.sha256]


@cells(
    ("A repository that is not there", {JS: "no access"}),
    ("A tag that is not there", {JS: "no such revision"}),
    ("A wrong token", {JS: "whoami, wrong token"}),
)
def test_the_words_of_a_failure_are_the_hubs(js: dict[str, Told], key: str) -> None:
    """What the API refuses ends in huggingface.js with the hub's own class, status and words."""
    direct, through = js["direct"][key], js["through"][key]
    assert (through["error"], through["status"]) == (direct["error"], direct["status"])
    words = direct["text"].partition(". URL")[0]
    assert len(words) > 10
    assert through["text"].partition(". URL")[0] == words


REFUSED = ("refused info", "refused file", "refused list", "refused snapshot")
"""Ways of huggingface.js to a refused repository."""


@cells(("A repository that policy refuses", of_calls("refused", *GGUF, RUST, js=REFUSED[0], git="refused")), result="refused")
def test_a_refusal_is_read(both: tuple[Told, Told], key: str) -> None:
    """Every way to a refused repository ends with an error, which has the sentence wherever the client looks at a body at all."""
    sentence = "Blocked by policy rule 'whole': umbrella/orphan"
    for each in REFUSED if key in REFUSED else [key]:
        said = both[1][each]
        if each in REFUSED:
            assert (said["error"], said["status"]) == ("HubApiError", 403)
            assert sentence in said["body"]
        elif each == "refused":
            assert sentence in said["text"]
            assert said["files"]["model.safetensors"] != both[0][each]["model.safetensors"]
        else:
            assert said["text"] == "status code 403" if each.startswith(RUST) else said["text"].startswith(f"403 {sentence}")


@cells(
    ("A file that policy refuses", of_calls("refused file", *GGUF, RUST, js="refused kind")),
    result="refused",
)
def test_a_refused_file_is_refused(both: tuple[Told, Told], key: str) -> None:
    """A refused file of a permitted repository is not had: by its name it is 403, in llama.cpp's list it is missing."""
    said = both[1][key]
    sentence = "Blocked by policy rule 'pickle'"
    if key == "refused kind":
        assert said["status"] == 403
        assert sentence in said["body"]
    elif key.startswith(RUST):
        assert said["text"] == "status code 403"
    elif key == f"{LLAMA} refused file":
        assert said["text"] == f"no GGUF files found in repository {calls.QUANT}"
    else:
        assert said["text"].startswith(f"403 {sentence}")


LEFT_OUT = "Refused files are missing; all others come."


@cells(("A snapshot with refused files", {JS: "rest of a snapshot", GIT: "beside"}), result="differs", note=LEFT_OUT)
def test_the_rest_comes(js: dict[str, Told], lfs: dict[str, Told], key: str) -> None:
    """huggingface.js gets the files that are not refused; `git lfs pull` fetches them, fails, and prints the sentence for the rest."""
    if key == "beside":
        said, whole = lfs["through"][key], lfs["direct"][key]
        assert "Blocked by policy rule 'pickle'" in said["text"]
        files = said["files"]
    else:
        files, whole = js["through"][key], js["plain"][key]
    assert set(files) | {"pytorch_model.bin"} == set(whole)
    assert {name for name in files if files[name] != whole[name]} <= {"pytorch_model.bin"}
    assert files.get("pytorch_model.bin") != whole["pytorch_model.bin"]
    assert files["model.safetensors"] == whole["model.safetensors"]


@cells(("A gate, without leave", {GIT: "gate shut"}), result="refused")
def test_git_lfs_stops_at_a_gate(both: tuple[Told, Told], key: str) -> None:
    """git-lfs, which is asked for a login and has none, brings nothing, from the hub and from the mirror alike."""
    for said in both:
        assert said[key]["error"]
        assert "batch response: Git credentials for (own)/acme/gated-auto" in said[key]["text"]


@pytest.mark.proves("Clone", GIT, "refused")
def test_a_clone_is_refused_in_words_that_git_prints(mirror: MirrorProcess, tmp_path: Path) -> None:
    """`git clone` and `git ls-remote` end with a sentence after `remote:` that names the way that works."""
    for command in (["clone", f"{mirror.url}/acme/tiny-bert", "here"], ["ls-remote", f"{mirror.url}/acme/tiny-bert.git"]):
        said = git(tmp_path, *command)
        assert said.code == 128
        assert "remote: " in said.text
        assert "hf download acme/tiny-bert" in said.text
    assert not (tmp_path / "here").exists()


@pytest.mark.proves("Upload", JS, "refused")
@pytest.mark.proves("Upload", GIT, "refused")
def test_nothing_is_taken_in(js: dict[str, Told], hub: StandInHub, mirror: MirrorProcess, tmp_path: Path) -> None:
    """uploadFile and `git push` are refused, and the hub hears nothing of them from the mirror."""
    assert js["through"]["upload"]["status"] == 403
    assert "takes nothing in" in js["through"]["upload"]["body"]
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", ".")
    pushed = git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@acme.example", "commit", "--quiet", "--allow-empty", "-m", "x")
    assert pushed.code == 0, pushed.text
    pushed = git(tmp_path, "push", mirror.url.replace("//", f"//alice:{ALICE}@") + "/acme/tiny-bert", "main")
    assert pushed.code == 128
    assert "403" in pushed.text
    assert not [call for call in hub.writes if call.headers["User-Agent"].startswith(("entrepot", "git"))]
