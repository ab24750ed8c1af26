"""A laboratory: a mirror in a network of its own without any route, fed by a bundle, and real clients beside it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import mirror
from tests.bundle.test_carried import enrolled, here
from tests.support.clients import TRANSFORMERS, HubClient, Said, environment, run
from tests.support.mirror import ALLOW_ALL, MirrorProcess, clean_environment, running_mirror
from tests.support.standin import ALICE, running_hub, running_index

pytestmark = pytest.mark.acceptance

WANTS = """
version: 1
name: laboratory
models:
  - {id: acme/tiny-bert}
  - {id: acme/gated-auto}
datasets:
  - {id: acme/reviews}
packages:
  - {requirement: "acme-app<2", python: ["3.11"], platforms: [linux]}
  - {requirement: "acme-lib<2", python: ["3.11"], platforms: [linux]}
  - {requirement: "acme-attested", python: ["3.11"], platforms: [linux]}
"""
LISTEN = {"host": "127.0.0.1", "port": 8088}
URL = "http://127.0.0.1:8088"
#: This tree's own mirror, whatever is installed.
OURS = {**clean_environment(), "PYTHONPATH": str(Path(mirror.__file__).parents[1])}
#: What people do with a hub, in one process.
EVERYTHING = """
import hashlib, json, os, sys
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from datasets import load_dataset
sha256 = lambda path: hashlib.sha256(open(path, 'rb').read()).hexdigest()
folder = snapshot_download('acme/tiny-bert')
paths = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
api, files = HfApi(), HfFileSystem()
print(json.dumps({
    'snapshot': {os.path.relpath(path, folder): sha256(path) for path in paths},
    'data': sha256(hf_hub_download('acme/reviews', 'data/train.csv', repo_type='dataset')),
    'rows': load_dataset('acme/reviews', data_files='data/train.csv', split='train').num_rows,
    'glob': sorted(files.glob('datasets/acme/reviews/**/*.csv')),
    'flat': sorted(one.path for one in api.list_repo_tree('acme/tiny-bert')),
    'some': sorted(one.path for one in api.get_paths_info('acme/tiny-bert', ['config.json', 'onnx'])),
    'refs': [one.name for one in api.list_repo_refs('acme/tiny-bert').branches],
    'info': api.model_info('acme/tiny-bert').sha,
    'expanded': api.model_info('acme/tiny-bert', expand=['gated']).gated,
}))
"""
GATED = "from huggingface_hub import hf_hub_download; print('\"' + hf_hub_download('acme/gated-auto', 'config.json') + '\"')"


class Laboratory:
    """A network namespace with a loopback device and nothing else."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self._serving: subprocess.Popen[str] | None = None

    def run(self, command: list[str | Path], cwd: Path, environ: dict[str, str] | None = None) -> Said:
        return run(["ip", "netns", "exec", self.name, *command], environ or clean_environment(), cwd)

    def mirror(self, *arguments: str) -> Said:
        return self.run([sys.executable, "-m", "mirror.cli.main", "-c", self.folder / "mirror.yaml", *arguments], self.folder, OURS)

    def start(self) -> None:
        command = ["ip", "netns", "exec", self.name, sys.executable, "-m", "mirror.cli.main", "-c", str(self.folder / "mirror.yaml"), "serve"]
        with (self.folder / "log").open("a") as log:
            self._serving = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=self.folder, env=OURS)
        assert self._serving.stdout is not None
        line = self._serving.stdout.readline()
        assert " ready on " in line, (line, (self.folder / "log").read_text()[-3000:])

    def stop(self) -> None:
        if self._serving is not None:
            self._serving.send_signal(signal.SIGTERM)
            assert self._serving.wait(45) == 0
            self._serving = None

    def client(self, name: str, python: Path, token: str | None = None) -> HubClient:
        return HubClient(python, URL, self.folder / name, token)

    def says(self, client: HubClient, script: str) -> Said:
        client.home.mkdir(parents=True, exist_ok=True)
        return self.run([client.python, "-c", script], client.home, client.environ)


@contextmanager
def laboratory(folder: Path, cards: Path, **config: object) -> Iterator[Laboratory]:
    folder.mkdir(parents=True)
    name = f"lab-{secrets.token_hex(3)}"
    written = {"listen": LISTEN, "network": "offline", "policy": {"path": "policy.yaml"}, "trust": {"verify": [str(cards)]}, "data": "data", **config}
    (folder / "mirror.yaml").write_text(yaml.safe_dump(written))
    (folder / "policy.yaml").write_text(ALLOW_ALL)
    for words in (["netns", "add", name], ["-n", name, "link", "set", "lo", "up"]):
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"no network namespace can be made here (root and iproute2 are needed): {done.stderr}"
    lab = Laboratory(name, folder)
    try:
        yield lab
    finally:
        lab.stop()
        subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture(scope="module")
def sender(tmp_path_factory):
    service = {"huggingface": {"token": ALICE, "credentials": "service"}}
    folder = tmp_path_factory.mktemp("sender")
    with running_hub() as hub, running_index() as index, running_mirror(folder, hub, index, ALLOW_ALL, hubs=service) as mirror:
        mirror.hub, mirror.index = hub, index
        here(mirror)
        (folder / "wants.yaml").write_text(WANTS)
        done = mirror.command("bundle", "export", "wants.yaml", "-o", str(folder / "lab"), "--form", "dir", "--json")
        mirror.exported = json.loads(done.stdout)
        yield mirror


@pytest.fixture(scope="module")
def lab(sender: MirrorProcess, tmp_path_factory):
    """A laboratory that has imported everything while its mirror was not running, and then serves."""
    folder = tmp_path_factory.mktemp("laboratory")
    groups = {"readers": {"tokens": ["reader"], "hub_token": True}}
    with laboratory(folder / "lab", enrolled(sender, folder / "cards"), clients={"groups": groups}) as lab:
        done = lab.mirror("bundle", "import", str(sender.folder / "lab"), "--json")
        assert done.code == 0, done.text
        lab.token = json.loads(lab.mirror("token", "create", "reader", "--json").out)["token"]
        lab.start()
        yield lab


@pytest.fixture(scope="module")
def python() -> Path:
    return environment("transformers", TRANSFORMERS)


def test_clients_work_as_they_did_outside(sender, lab, python):
    """Snapshots, single files, data sets, globs, trees, references and paths of huggingface_hub and datasets are what they are in front of the hub."""
    outside = HubClient(python, sender.url, lab.folder / "outside").python_says(EVERYTHING).json()
    inside = lab.says(lab.client("inside", python), EVERYTHING).json()
    assert inside == outside
    assert len(inside["snapshot"]) > 3


def test_packages_install_and_resolve(sender, lab, tmp_path):
    """pip and uv resolve and install what was carried, take what is here where newer releases are not, and keep to a cut-off date."""
    index = {**clean_environment(), "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"{URL}/pypi/simple/", "PIP_NO_CACHE_DIR": "1",
             "UV_DEFAULT_INDEX": f"{URL}/pypi/simple/", "UV_NO_CONFIG": "1", "UV_NO_CACHE": "1", "HOME": str(tmp_path)}  # fmt: skip
    said = lab.run([sys.executable, "-m", "pip", "install", "--no-deps", "--target", tmp_path / "pip", "acme-app", "acme-attested"], tmp_path, index)
    assert said.code == 0, said.text
    assert "acme-app-1.0" in said.text
    uv = Path(sys.prefix) / "bin" / "uv"
    said = lab.run([uv, "pip", "install", "--python", sys.executable, "--target", tmp_path / "uv", "acme-app"], tmp_path, index)
    assert said.code == 0, said.text
    assert "acme-app==1.0" in said.text  # 2.0 is on the page, and was not carried
    for until, chosen in (("2024-03-01", "acme-lib==1.1"), ("2030-01-01", "acme-lib==2.1")):
        said = lab.run([uv, "pip", "install", "--python", sys.executable, "--target", tmp_path / until, "acme-lib", "--exclude-newer", until], tmp_path, index)
        assert chosen in said.text, said.text
    said = lab.run([uv, "pip", "install", "--python", sys.executable, "--target", tmp_path / "none", "acme-lib==1.0"], tmp_path, index)
    assert said.code != 0
    assert "no bundle has brought this file" in said.text or "offline" in said.text, said.text


def test_gates_hold_where_nobody_can_be_asked(sender, lab, python):
    """A gated model goes to whom the organisation lends its right, and to nobody else: no token, any hub token, and one of the sender's."""
    assert sender.exported["left_out"] == []
    for name, token in (("nobody", None), ("alice", ALICE), ("made-up", "hf_somebody")):
        said = lab.says(lab.client(name, python, token), GATED)
        assert said.code != 0, name
        assert "gated" in said.text.lower() or "restricted" in said.text, said.text
    said = lab.says(lab.client("reader", python, lab.token), GATED)
    assert Path(said.json()).name == "config.json"
