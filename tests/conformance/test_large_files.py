"""Files of a size that huggingface_hub downloads by Xet only, with every generation of it, with hf_xet and without.

The limit is lowered in the client as in the mirror; everything else in both is as released.
"""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.clients import HUB_0_23, HUB_0_36, HUB_1, TRANSFORMERS, HubClient, Said, environment
from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import running_hub
from tests.support.standin.hub import StandInHub

MIB: Final = 1024 * 1024
FROM: Final = MIB
DATA: Final = random.Random(13).randbytes(17 * MIB + 77)  # two xorbs of the mirror's making
RIGHT: Final = hashlib.sha256(DATA).hexdigest()
DENY_FILE: Final = 'version: 1\nrules:\n  - {id: no-bin, when: {file: ["*.bin"]}, effect: deny}\n'

CLIENT: Final = """
import hashlib, json, sys
from pathlib import Path
from huggingface_hub import HfApi, HfFileSystem, constants, hf_hub_download, snapshot_download
constants.MAX_HTTP_DOWNLOAD_SIZE = int(sys.argv[1])
sha = lambda path: hashlib.sha256(Path(path).read_bytes()).hexdigest()
said = {}
def tried(name, what):
    try:
        said[name] = what()
    except Exception as error:
        said[name] = f"{type(error).__name__}: {error} {error.__cause__}"
def got(place):
    HfFileSystem(skip_instance_cache=True).get_file("acme/big/model.bin", place)
    return sha(place)
commit = HfApi().repo_info("acme/big").sha
for off in (False, True):
    constants.HF_HUB_DISABLE_XET = off
    how, here = ("without", "a") if off else ("with", "b")
    tried(f"file {how}", lambda: sha(hf_hub_download("acme/big", "model.bin", cache_dir=f"{here}1")))
    tried(f"pinned {how}", lambda: sha(hf_hub_download("acme/big", "model.bin", revision=commit, cache_dir=f"{here}2")))
    tried(f"folder {how}", lambda: sha(hf_hub_download("acme/big", "model.bin", local_dir=f"{here}3")))
    tried(f"snapshot {how}", lambda: sha(Path(snapshot_download("acme/big", cache_dir=f"{here}4")) / "model.bin"))
    tried(f"open {how}", lambda: hashlib.sha256(HfFileSystem(skip_instance_cache=True).open("acme/big/model.bin").read()).hexdigest())
    tried(f"get_file {how}", lambda: got(f"./{here}5/model.bin"))
print(json.dumps(said))
"""

TRANSFORMERS_CLIENT: Final = """
import hashlib, json, sys
from pathlib import Path
from huggingface_hub import constants
constants.MAX_HTTP_DOWNLOAD_SIZE = int(sys.argv[1])
from transformers.utils import cached_file
print(json.dumps({"file": hashlib.sha256(Path(cached_file("acme/big", "model.bin")).read_bytes()).hexdigest()}))
"""

#: A process that lists, waits for a line, and downloads what it knows already.
LONG: Final = """
import sys
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
commit = HfApi().repo_info("acme/big").sha
snapshot_download("acme/big", revision=commit)
print("listed", flush=True)
sys.stdin.readline()
try:
    hf_hub_download("acme/big", "model.bin", revision=commit, force_download=True)
    print("got")
except Exception as error:
    print(type(error).__name__, " ".join(str(error).split()))
"""

OF_ITSELF: Final = "It refuses by itself, as it does at the hub: it has no Xet there, and a size above its limit from a listing or a header that it insists on."
BETTER: Final = "Better than the hub, where the client refuses for want of hf_xet."
#: What each generation gets, with hf_xet and without: by Xet, over HTTP, or nothing.
GOT: Final[dict[str, dict[str, str]]] = {
    "2.x": {"file": "http http", "snapshot": "xet http", "open": "http http", "get_file": "xet none"},
    "1.x": {"file": "http http", "snapshot": "xet http", "open": "http http", "get_file": "none none"},
    "0.36": {"file": "xet none", "snapshot": "xet none", "open": "http http", "get_file": "none none"},
    "0.23": {"file": "- http", "snapshot": "- http", "open": "- http", "get_file": "- http"},
}
FEATURES: Final = {
    "file": "A file over 50 GB: `hf_hub_download`", "snapshot": "A file over 50 GB: `snapshot_download`",
    "open": "A file over 50 GB: `HfFileSystem.open`", "get_file": "A file over 50 GB: `HfFileSystem.get_file`",
}  # fmt: skip
#: What goes the way of another feature.
LIKE: Final = {"pinned": "file", "folder": "file"}


def interpreter(generation: str) -> Path:
    made = {"0.23": ("hub-0.23", HUB_0_23), "0.36": ("hub-0.36", HUB_0_36), "1.x": ("hub-1", HUB_1), "transformers": ("transformers", TRANSFORMERS)}
    return Path(sys.executable) if generation == "2.x" else environment(*made[generation])


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    hub = StandInHub()
    hub.add_repo("model", "acme/big", {"config.json": b"{}"}, {"model.bin": DATA, "small.bin": b"s" * 1000})
    with running_hub(hub):
        yield hub


def settings(hub: StandInHub, **more: Any) -> dict[str, Any]:
    return {"huggingface": {"origins": [hub.url, hub.cdn_url, hub.cas_url], "large_from": FROM, **more}}


@pytest.fixture(scope="module")
def mirror(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    with running_mirror(tmp_path_factory.mktemp("large"), hub, hubs=settings(hub)) as running:
        yield running


def answered(mirror: MirrorProcess, route: str) -> int:
    """How many requests of one route the mirror has answered with bytes."""
    rows = re.findall(rf'^mirror_requests_total{{[^}}]*route="{route}"[^}}]*}} ([0-9.]+)', mirror.get("/-/metrics").body.decode(), re.M)
    return round(sum(map(float, rows)))


@pytest.fixture(scope="module")
def runs(mirror: MirrorProcess, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[str, str], int]]:
    """What a generation said, and how many xorbs it asked for; each runs once."""

    @cache
    def run(generation: str) -> tuple[dict[str, str], int]:
        before = answered(mirror, "xet-xorb")
        said = HubClient(interpreter(generation), mirror.url, tmp_path_factory.mktemp(generation)).python_says(CLIENT, str(FROM)).json()
        return said, answered(mirror, "xet-xorb") - before

    return run


def marks(generation: str) -> list[pytest.MarkDecorator]:
    """Two generations are run by `make test`, all of them by `make conformance`."""
    return [] if generation in ("2.x", "0.36") else [pytest.mark.conformance]


def cells() -> Iterator[Any]:
    for generation, row in GOT.items():
        for key, ways in row.items():
            for how, way in zip(("with", "without"), ways.split(), strict=True):
                if way == "-":
                    continue
                feature = FEATURES[key] + ("" if how == "with" else ", without hf_xet")
                result = {"none": "refused", "xet": "works", "http": "works"}[way]
                note = OF_ITSELF if way == "none" else BETTER if way == "http" and how == "without" and key in ("file", "snapshot") and generation != "0.23" else ""
                mark = pytest.mark.proves(feature, f"huggingface_hub {generation}", result, note)
                yield pytest.param(generation, key, how, way, marks=[mark, *marks(generation)], id=f"{generation}-{key}-{how}")


@pytest.mark.parametrize(("generation", "key", "how", "way"), list(cells()))
def test_what_each_client_gets_of_a_large_file(generation: str, key: str, how: str, way: str, runs: Callable[[str], tuple[dict[str, str], int]]) -> None:
    """Every generation ends with the right bytes in every way that it has for such a file, or with its own refusal."""
    said, _ = runs(generation)
    for one in (key, *(other for other, like in LIKE.items() if like == key)):
        found = said[f"{one} {how}"]
        assert ("too large to be downloaded" in found) if way == "none" else found == RIGHT, f"{one}: {found}"


@pytest.mark.parametrize("generation", [pytest.param(one, marks=marks(one)) for one in GOT])
def test_which_way_the_bytes_go(generation: str, runs: Callable[[str], tuple[dict[str, str], int]]) -> None:
    """A file comes as xorbs exactly as often as the table says: each time as two of them."""
    downloads = [*GOT[generation].items(), *((one, GOT[generation][like]) for one, like in LIKE.items())]
    assert runs(generation)[1] == 2 * sum(ways.split().count("xet") for _, ways in downloads)


@pytest.mark.conformance
@pytest.mark.proves("A file over 50 GB", "transformers", "works")
def test_transformers_gets_a_large_file(mirror: MirrorProcess, tmp_path: Path) -> None:
    """transformers' own way to a file of a model ends with the right bytes."""
    said = HubClient(interpreter("transformers"), mirror.url, tmp_path).python_says(TRANSFORMERS_CLIENT, str(FROM)).json()
    assert said == {"file": RIGHT}


def test_nobody_was_sent_elsewhere(hub: StandInHub, runs: Callable[[str], tuple[dict[str, str], int]]) -> None:
    """No client asked the hub, its store or its CDN for anything, and the mirror fetched the file once."""
    runs("2.x")
    assert not [call for call in hub.requests if "hf_hub" in call.headers.get("User-Agent", "")]
    assert len(hub.requests.where(path="*/xet-read-token/*")) == 1


@pytest.mark.parametrize("serving", ["xet", "plain"])
def test_one_way_for_all(hub: StandInHub, tmp_path: Path, serving: str) -> None:
    """`large_serving: xet` sends huggingface_hub 2.x with hf_xet to the mirror's store from headers too, `plain` never; either way the file comes, by two workers as by one."""
    script = CLIENT.replace("(False, True)", "(False,)")
    listen = {"workers": 2} if serving == "xet" else {}
    with running_mirror(tmp_path / "m", hub, hubs=settings(hub, large_serving=serving), listen=listen) as mirror:
        said = HubClient(interpreter("2.x"), mirror.url, tmp_path / "c").python_says(script, str(FROM)).json()
        wanted = dict.fromkeys((f"{key} with" for key in ("file", "pinned", "folder", "snapshot", "open")), RIGHT)
        assert {key: said[key] for key in wanted} == wanted
        assert answered(mirror, "xet-xorb") == (10 if serving == "xet" else 0)  # of six, `open` reads over HTTP


@pytest.mark.proves("A file over 50 GB that is denied", "huggingface_hub 2.x", "refused")
def test_a_denied_large_file_says_why(hub: StandInHub, tmp_path: Path) -> None:
    """Where rules come into force that deny a file which a client has listed already, a new process prints the sentence, and one that has its token the rule and where the decision can be read."""
    with running_mirror(tmp_path / "m", hub, hubs=settings(hub)) as mirror:
        client = HubClient(interpreter("2.x"), mirror.url, tmp_path / "c")
        client.home.mkdir()
        process = subprocess.Popen(
            [client.python, "-c", LONG], env=client.environ, cwd=client.home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "listed\n"
        mirror.set_policy(DENY_FILE)
        out, err = process.communicate("\n", timeout=100)
        assert re.search(r"403 Blocked by policy: rule 'no-bin', acme/big .*http://[^ ]+/-/blocked/[0-9A-Z]+", Said(0, out, err).text), out + err
        again = client.python_says('from huggingface_hub import hf_hub_download as d, HfApi; d("acme/big", "model.bin", revision="COMMIT", force_download=True)'.replace("COMMIT", hub.repo("acme/big").head))
        assert again.code == 1
        assert "GatedRepoError" in again.text
        assert "Blocked by policy rule 'no-bin': model.bin of acme/big" in again.text
