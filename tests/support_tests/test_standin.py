"""The stand-ins behave as the measured services do, seen by the real clients: huggingface_hub, pip, uv and git."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.support.standin import ALICE, BOB, StandInHub, StandInIndex
from tests.support.standin.defaults import MANY, ODD_NAMES

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_xet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


def download(hub: StandInHub, where: Path, name: str, path: str, **options: object) -> bytes:
    options = {"token": False, **options}
    found = huggingface_hub.hf_hub_download(name, path, endpoint=hub.url, cache_dir=where, **options)
    return Path(found).read_bytes()


def test_small_file_takes_the_recorded_sequence(hub: StandInHub, tmp_path: Path) -> None:
    """hf_hub_download of a git file does HEAD 307, HEAD 200, GET 200, and gets the bytes."""
    repo = hub.repo("acme/tiny-bert")
    data = download(hub, tmp_path, repo.name, "config.json")
    assert data == repo.commits[repo.head].files["config.json"].data
    seen = [(c.method, c.status) for c in hub.requests if c.path != "/api/agent-harnesses"]
    assert seen == [("HEAD", 307), ("HEAD", 200), ("GET", 200)]


def test_large_file_comes_from_the_cdn_without_the_token(hub: StandInHub, tmp_path: Path) -> None:
    """An LFS file is fetched at the CDN's origin, without Authorization, and the Xet store is never asked."""
    repo = hub.repo("acme/tiny-bert")
    data = download(hub, tmp_path, repo.name, "model.safetensors", token=ALICE)
    assert data == repo.commits[repo.head].files["model.safetensors"].data
    calls = hub.requests.where(origin="cdn")
    assert [(c.method, c.status) for c in calls] == [("GET", 200)]
    assert "Authorization" not in calls[0].headers
    assert not hub.requests.where(origin="cas")


def test_with_xet_on_the_client_goes_round_the_hub(hub: StandInHub, tmp_path: Path) -> None:
    """With hf_xet on, snapshot_download of an unstripped hub asks for a Xet token and takes the bytes from the store: the trap is really there."""
    code = (
        "import sys, huggingface_hub as h\n"
        "h.snapshot_download('acme/tiny-bert', endpoint=sys.argv[1], cache_dir=sys.argv[2], token=False,"
        " allow_patterns='model.safetensors')"
    )
    env = {**os.environ, "HF_HUB_DISABLE_XET": "0", "HF_HOME": str(tmp_path), "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, hub.url, str(tmp_path / "c")], env=env, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    try:
        process.wait(40)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert hub.requests.where(path="/api/models/acme/tiny-bert/xet-read-token/*")
    assert hub.requests.where(origin="cas", path="/xorbs/*")
    assert not hub.requests.where(method="HEAD", path="*model.safetensors")


def test_snapshot_brings_every_odd_name(hub: StandInHub, tmp_path: Path) -> None:
    """snapshot_download arrives at exactly the bytes of every awkwardly named and every empty file."""
    there = Path(huggingface_hub.snapshot_download("acme/odd-names", endpoint=hub.url, cache_dir=tmp_path, token=False))
    files = hub.repo("acme/odd-names").commits[there.name].files
    assert set(ODD_NAMES) < set(files)
    assert {path: (there / path).read_bytes() for path in files} == {path: file.data for path, file in files.items()}


def test_paging_of_tree_and_lists(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client finds all files of a large repository and all models through absolute next links."""
    api = HfApi(endpoint=hub.url, token=False)
    tree = list(api.list_repo_tree("acme/many-files", recursive=True))
    assert sum(type(row).__name__ == "RepoFile" for row in tree) == MANY
    assert len(hub.requests.where(path="*/tree/*")) == 2
    whole = [model.id for model in api.list_models(author="acme")]
    hub.requests.clear()
    monkeypatch.setattr(hub, "list_page", 3)
    assert [model.id for model in api.list_models(author="acme")] == whole
    assert len(hub.requests.where(path="/api/models")) == -(-len(whole) // 3) > 2
    assert "acme/secret" not in whole
    assert "acme/secret" not in {model.id for model in HfApi(endpoint=hub.url, token=BOB).list_models(author="acme")}


@pytest.mark.parametrize(
    ("name", "path", "revision", "token", "error", "status", "says"),
    [
        ("acme/gated-auto", "config.json", None, False, GatedRepoError, 401, "Please log in"),
        ("acme/gated-manual", "model.safetensors", None, BOB, GatedRepoError, 403, "not in the authorized list"),
        ("acme/secret", "config.json", None, False, HfHubHTTPError, 401, "Invalid username or password."),
        ("acme/secret", "config.json", None, BOB, RepositoryNotFoundError, 404, "Repository Not Found"),
        ("acme/never-was", "config.json", None, False, HfHubHTTPError, 401, "Invalid username or password."),
        ("acme/tiny-bert", "no.such", None, False, EntryNotFoundError, 404, "Entry Not Found"),
        ("acme/tiny-bert", "config.json", "no-such", False, RevisionNotFoundError, 404, "Invalid rev id: no-such"),
        ("acme/tiny-bert", "config.json", None, "hf_revoked", HfHubHTTPError, 401, "Invalid credentials"),
    ],
)
def test_download_errors_match_the_facts(
    hub: StandInHub,
    tmp_path: Path,
    name: str,
    path: str,
    revision: str | None,
    token: object,
    error: type,
    status: int,
    says: str,
) -> None:
    """hf_hub_download raises the class, status and text that the facts page gives for this answer."""
    with pytest.raises(error) as caught:
        download(hub, tmp_path, name, path, revision=revision, token=token)
    assert type(caught.value).__name__.removeprefix("Remote") == error.__name__
    assert caught.value.response.status_code == status
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("acme/disabled", "Access to this resource is disabled."),
        ("acme/disabled-info", "Access to this resource is disabled."),
        ("acme/region-blocked", "This model is not available in your region."),
    ],
)
def test_refusals_without_a_code_are_hidden_by_the_client(
    hub: StandInHub, tmp_path: Path, name: str, says: str
) -> None:
    """A 403 without X-Error-Code ends as LocalEntryNotFoundError, with the hub's text only in the cause."""
    with pytest.raises(LocalEntryNotFoundError) as caught:
        download(hub, tmp_path, name, "config.json", token=ALICE)
    assert says in str(caught.value.__cause__)


def test_information_of_refused_repositories(hub: StandInHub) -> None:
    """Gated, region-blocked and info-only disabled repositories are described; disabled ones are not."""
    api = HfApi(endpoint=hub.url, token=BOB)
    assert api.model_info("acme/gated-manual").gated == "manual"
    assert api.model_info("acme/disabled-info").disabled is True
    assert api.model_info("acme/region-blocked", files_metadata=True).siblings[0].size is not None
    with pytest.raises(DisabledRepoError):
        api.model_info("acme/disabled")
    with pytest.raises(GatedRepoError):
        api.auth_check("acme/gated-auto")
    assert HfApi(endpoint=hub.url, token=ALICE).model_info("acme/secret").private is True


def test_the_listed_token_reads_what_is_gated_and_private(hub: StandInHub, tmp_path: Path) -> None:
    """A token on the list reads gated and private contents, small files directly and large ones from the CDN."""
    for name in ("acme/gated-auto", "acme/secret"):
        files = hub.repo(name).commits[hub.repo(name).head].files
        for path in ("config.json", "weights.bin"):
            assert download(hub, tmp_path, name, path, token=ALICE) == files[path].data
    assert not hub.requests.where(path="/api/resolve-cache/*")


def test_renamed_and_moved_case(hub: StandInHub, tmp_path: Path) -> None:
    """The API redirects an old name and another case; files of an old name are served without a detour by name."""
    api = HfApi(endpoint=hub.url, token=False)
    assert api.model_info("acme/old-name").id == "acme/new-name"
    assert api.model_info("solid2").id == "globex-community/solid2"
    assert api.model_info("ACME-labs/camelcase").id == "Acme-Labs/CamelCase"
    assert api.model_info("tinybert").id == "tinybert"
    hub.requests.clear()
    assert json.loads(download(hub, tmp_path, "acme/old-name", "config.json"))["model_type"] == "bert"
    assert hub.requests.where(path="/acme/old-name/resolve/main/config.json", method="HEAD")[0].status == 307


def test_lineage_is_stated_by_tags_and_expand(hub: StandInHub) -> None:
    """`base_model` tags lead three hops up, and `expand=baseModels` gives the parents' ids."""
    api = HfApi(endpoint=hub.url, token=False)
    chain, name = [], "quantbarn/solid-7b-merge-GGUF"
    while name:
        chain.append(name)
        tags = api.model_info(name).tags
        name = next((t.split(":")[1] for t in tags if t.startswith("base_model:") and t.count(":") == 1), "")
    assert chain[1:] == ["hooli/solid-7b-merge", "initech/solid-7b-chat", "globex/solid-7b"]
    info = api.model_info("initech/solid-7b-chat", expand=["baseModels"])
    assert info.base_models["models"][0]["id"] == "globex/solid-7b"


def test_other_kinds(hub: StandInHub, tmp_path: Path) -> None:
    """Datasets, spaces and kernels answer information, refs, commits and files at their own prefixes."""
    api = HfApi(endpoint=hub.url, token=False)
    assert api.dataset_info("acme/reviews").id == "acme/reviews"
    assert api.space_info("acme/demo").sdk == "gradio"
    assert b"good,1" in download(hub, tmp_path, "acme/reviews", "data/train.csv", repo_type="dataset")
    converted = "default/train/0000.parquet"
    found = download(hub, tmp_path, "acme/reviews", converted, repo_type="dataset", revision="refs/convert/parquet")
    assert found.startswith(b"PAR1")
    refs = api.list_repo_refs("acme/tiny-bert", include_pull_requests=True)
    assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/1"]
    assert [commit.title for commit in api.list_repo_commits("acme/tiny-bert")] == ["Add a newline", "initial commit"]
    assert [p.path for p in api.get_paths_info("acme/tiny-bert", ["config.json", "nope"])] == ["config.json"]
    assert HfApi(endpoint=hub.url, token=ALICE).whoami()["name"] == "alice"


def test_writes_are_accepted_and_visible(hub: StandInHub) -> None:
    """A write that gets through is answered kindly and shows up in `hub.writes`."""
    HfApi(endpoint=hub.url, token=ALICE).create_branch("acme/tiny-bert", branch="mine")
    assert [call.path for call in hub.writes] == ["/api/models/acme/tiny-bert/branch/mine"]
    assert "mine" not in hub.repo("acme/tiny-bert").branches


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_clones_the_repository(hub: StandInHub, tmp_path: Path) -> None:
    """Real git clones the history, follows the redirect of an old name, and finds LFS pointers."""
    env = {**os.environ, "GIT_LFS_SKIP_SMUDGE": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": os.devnull}
    for name in ("acme/tiny-bert", "acme/old-name"):
        where = tmp_path / name.replace("/", "-")
        subprocess.run(["git", "clone", "-q", f"{hub.url}/{name}", where], env=env, check=True, capture_output=True)
        log = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=where, env=env, check=True, capture_output=True, text=True
        )
        assert log.stdout.strip() == hub.repo(name).head
        assert (where / "model.safetensors").read_bytes().startswith(b"version https://git-lfs")


def installed(index: StandInIndex, where: Path, tool: str, *wanted: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_"))}
    env |= {
        "PIP_CONFIG_FILE": os.devnull,
        "UV_NO_CONFIG": "1",
        "HOME": str(where),
        "XDG_CACHE_HOME": str(where / "cache"),
    }
    env |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    pip = [sys.executable, "-m", "pip", "install", "--no-input", "--index-url", index.simple_url]
    uv = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--default-index", index.simple_url]
    command = [*(pip if tool == "pip" else uv), "--target", str(where / "site"), *wanted]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_installers_resolve_the_default_set(index: StandInIndex, tmp_path: Path, tool: str) -> None:
    """Both pip and uv install acme-app with its dependencies and skip the yanked and the pre-release version."""
    done = installed(index, tmp_path, tool, "acme-app", "acme-sdist")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "site").glob("*.dist-info")}
    assert names == {
        *("acme_app-2.0.dist-info", "acme_lib-2.1.dist-info", "acme_sdist-1.0.dist-info", "foo_bar_baz-0.1.dist-info"),
    }
    assert index.requests.where(origin="files", path="*/acme_lib-2.1-py3-none-any.whl.metadata")


@pytest.mark.parametrize(
    ("tool", "says"), [("pip", "Reason for being yanked: breaks on Tuesdays"), ("uv", "breaks on Tuesdays")]
)
def test_installers_print_the_yank_reason(index: StandInIndex, tmp_path: Path, tool: str, says: str) -> None:
    """A pinned yanked version installs with a warning that carries the reason."""
    done = installed(index, tmp_path, tool, "acme-lib==2.0")
    assert done.returncode == 0
    assert says in done.stderr + done.stdout


@pytest.mark.parametrize(("tool", "option"), [("pip", "--uploaded-prior-to"), ("uv", "--exclude-newer")])
def test_upload_times_work_for_cooldowns(index: StandInIndex, tmp_path: Path, tool: str, option: str) -> None:
    """Both pip and uv read upload-time from the page: a cut-off date selects the older version."""
    done = installed(index, tmp_path, tool, f"{option}=2024-05-01T00:00:00Z", "acme-lib")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "site").glob("*.dist-info")] == ["acme_lib-1.1.dist-info"]


def test_a_quarantined_project_has_no_versions(index: StandInIndex, tmp_path: Path) -> None:
    """A quarantined project's page is 200 with no files, and pip finds no version."""
    done = installed(index, tmp_path, "pip", "acme-quarantined")
    assert "from versions: none" in done.stderr
    assert index.requests.where(path="/simple/acme-quarantined/")[0].status == 200


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_without_metadata_the_wheel_itself_is_read(index: StandInIndex, tmp_path: Path, tool: str) -> None:
    """A file with no `.metadata` installs all the same: pip fetches the wheel, uv reads its end by a range."""
    done = installed(index, tmp_path, tool, "acme-old-style")
    assert done.returncode == 0, done.stderr
    calls = index.requests.where(origin="files")
    assert not [call for call in calls if call.path.endswith(".metadata")]
    assert (206 in {call.status for call in calls}) is (tool == "uv")


def test_pip_refuses_a_flipped_byte(index: StandInIndex, tmp_path: Path) -> None:
    """The page's sha256 is right, so that a byte flipped on the way is noticed by pip."""
    index.faults.add("flip", "*/acme_big-1.0-py3-none-any.whl", at=2_000_000)
    done = installed(index, tmp_path, "pip", "acme-big")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
