"""The laboratory, from nothing: a mirror that arrives on a medium, in a network of its own without any route, and real clients beside it.

One run, in the order in which people do it: a folder and a bundle are made by a mirror with a network; where there is none, and nothing but a Python,
the key is compared, everything verified, the mirror installed, set up, fed and started; then clients do there what they do outside, with the same results.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mirror import __version__
from mirror.bundle import verify_bundle
from mirror.core import dsse
from mirror.trust.enrolment import load_roll
from mirror.trust.keyfiles import write_key
from tests.bundle import cells
from tests.bundle.carried import KEY, OTHER
from tests.bundle.place import BARE, PROBE, Laboratory, Place, lonely_place
from tests.bundle.test_carried import here
from tests.support.clients import TRANSFORMERS, HubClient, Said, environment, pip, uv
from tests.support.mirror import ALLOW_ALL, MirrorProcess, upstream_config
from tests.support.standin import ALICE, running_hub, running_index

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
WANTS = """
version: 1
name: laboratory
models:
  - {id: acme/tiny-bert}
  - {id: acme/tiny-bert, revision: v1.0}
  - {id: acme/tiny-bert, revision: feature/x}
  - {id: acme/tiny-bert, revision: refs/pr/1}
  - {id: acme/old-name}
  - {id: solid2}
  - {id: tinybert}
  - {id: acme-labs/camelcase}
  - {id: acme/odd-names}
  - {id: acme/gated-auto}
  - {id: acme/secret}
  - {id: umbrella/orphan}
  - {id: quantbarn/solid-7b-merge-GGUF}
datasets:
  - {id: acme/reviews}
  - {id: acme/reviews, revision: refs/convert/parquet}
  - {id: acme/tables}
spaces:
  - {id: acme/demo}
packages:
  - {requirement: "acme-app", python: ["3.11"], platforms: [linux]}
  - {requirement: "acme-app==1.0", python: ["3.11"], platforms: [linux]}
  - {requirement: "acme-lib==1.1", python: ["3.11"], platforms: [linux]}
  - {requirement: "acme-lib==1.0", python: ["3.11"], platforms: [linux]}
  - {requirements: more.txt, python: ["3.11"], platforms: [linux]}
"""
#: What both mirrors refuse, beyond what `mirror init --profile lab` wrote.
RULES = """
  - {id: names, when: {artifact: ["pkg:huggingface/umbrella/*"]}, effect: deny, legal: true, basis: house policy 1}
  - {id: made-from, when: {artifact: ["pkg:huggingface/initech/solid-7b-chat"]}, effect: deny, lineage: inherit}
  - {id: tools, when: {artifact: ["pkg:pypi/evil-*"]}, effect: deny}
  - {id: benches, when: {artifact: ["pkg:huggingface/tinybert"]}, for: {groups: [bench]}, effect: deny}

exceptions: []"""
#: Who asks: holders of a token, who are lent the organisation's right, and a subnet.
CLIENTS = {"groups": {"readers": {"tokens": ["reader"], "hub_token": True}, "bench": {"subnets": ["127.0.0.9/32"]}}}


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    """The mirror with a network, in front of stand-ins. It does not run yet; its key is there."""
    folder = tmp_path_factory.mktemp("sender")
    with running_hub() as hub, running_index() as index:
        rows = [b'{"text": "good", "label": 1}\n', b'{"text": "bad", "label": 0}\n']
        hub.add_repo("dataset", "acme/tables", {"README.md": b"---\nlicense: mit\n---\n", "train.jsonl": b"".join(rows * 20)})
        config = upstream_config(hub, index)
        config["hubs"]["huggingface"]["token"] = ALICE
        config["clients"] = CLIENTS
        mirror = MirrorProcess(folder / "m", config, ALLOW_ALL)
        mirror.hub, mirror.index = hub, index
        (mirror.folder / "data").mkdir()
        write_key(mirror.folder / "data" / "signing.key", KEY, None)
        (mirror.folder / "mirror.yaml").write_text("policy: {path: policy.yaml}\ndata: data\n")
        yield mirror
        mirror.stop()


@dataclass
class Medium:
    """What is carried: the folder with the mirror itself, and the bundle; and what `mirror bundle bootstrap` printed."""

    folder: Path
    told: dict[str, object]

    @property
    def mirror(self) -> Path:
        return self.folder / "entrepot"

    @property
    def bundle(self) -> Path:
        return self.folder / "lab-001"


@pytest.fixture(scope="module")
def medium(online: MirrorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Medium]:
    """A medium with the mirror itself, made by the mirror that will send bundles; what they hold comes later."""
    folder = tmp_path_factory.mktemp("medium")
    done = online.command("bundle", "bootstrap", "-o", str(folder / "entrepot"), "--name", "acme-mirror", "--json")
    yield Medium(folder, json.loads(done.stdout))
    shutil.rmtree(folder)


def test_the_folder_holds_what_it_says(medium: Medium) -> None:
    """Every wheel has a line with its digest; documentation, card, key and verifier are there; `openssl` and `sha256sum` agree with the signature."""
    folder, told = medium.mirror, medium.told
    assert told["fingerprint"] == dsse.fingerprint(KEY.public_key())
    assert (told["index"], told["wheels"]) == (None, len(list((folder / "wheels").glob("*.whl"))))
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert len(lines) == len(list((folder / "wheels").iterdir()))
    assert all(re.fullmatch(r"[a-z0-9._-]+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    assert {"entrepot", "pip", "aiohttp"} <= {line.partition("==")[0] for line in lines}
    assert {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")} == {
        path.relative_to(folder / "docs") for path in (folder / "docs").rglob("*.md")
    }
    (card,) = load_roll([folder / "sender.yaml"]).keys.values()
    assert (card.id, card.person, card.roles) == (dsse.key_id(KEY.public_key()), "acme-mirror", {"sender"})
    assert dsse.fingerprint(KEY.public_key()) not in (folder / "README.md").read_text()
    for command in (
        "openssl pkeyutl -verify -pubin -inkey sender.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig",
        "sha256sum --check --quiet SHA256SUMS",
    ):
        assert command in (folder / "README.md").read_text()
        assert subprocess.run(command, shell=True, cwd=folder, check=False, capture_output=True).returncode == 0
    shown = subprocess.run(
        "openssl pkey -pubin -in sender.pem -outform DER | sha256sum", shell=True, cwd=folder, check=True, capture_output=True, text=True
    )
    assert shown.stdout.split()[0] == card.id


def test_a_folder_that_was_changed_on_the_way_is_refused(medium: Medium, tmp_path: Path) -> None:
    """A changed, missing, further or linked file, other sums and another key are each named; nothing else is said to hold."""
    shutil.copytree(medium.mirror, tmp_path / "copy")
    folder = tmp_path / "copy"

    def raw(key: Ed25519PrivateKey) -> dict[str, bytes]:
        return {dsse.key_id(key.public_key()): key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)}

    def fault(key: Ed25519PrivateKey = KEY) -> str:
        with pytest.raises(verify_bundle.Wrong) as caught:
            verify_bundle.check(folder, raw(key), set())
        return str(caught.value)

    assert verify_bundle.check(folder, raw(KEY), set())[0].startswith("holds: ")
    assert "not signed by the key that was given" in fault(OTHER)
    card = (folder / "sender.yaml").read_bytes()
    (folder / "sender.yaml").write_bytes(card.replace(b"acme", b"evil"))
    assert fault() == "'sender.yaml': is damaged"
    (folder / "sender.yaml").unlink()
    assert fault() == "'sender.yaml': is missing"
    (folder / "sender.yaml").symlink_to(medium.mirror / "sender.yaml")
    assert fault() == "'sender.yaml': is not a plain file"
    (folder / "sender.yaml").unlink()
    (folder / "sender.yaml").write_bytes(card)
    (folder / "wheels" / "evil-1.0-py3-none-any.whl").write_bytes(b"x")
    assert fault() == "'wheels/evil-1.0-py3-none-any.whl': is not named in SHA256SUMS"
    (folder / "wheels" / "evil-1.0-py3-none-any.whl").unlink()
    (folder / "SHA256SUMS").write_bytes((folder / "SHA256SUMS").read_bytes() + b"#")
    assert "not signed" in fault()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with lonely_place() as made:
        yield made


@dataclass
class Arrival:
    """A mirror that was installed by the README's steps, in `folder`, which `mirror init` set up; what each step said."""

    place: Place
    folder: Path
    said: dict[str, Said] = field(default_factory=dict)

    @property
    def program(self) -> Path:
        return self.folder / "opt" / "bin" / "mirror"

    def step(self, name: str, *command: object, cwd: Path | None = None) -> Said:
        """One step, with nothing of the tests' own environment, where nothing can be reached."""
        self.said[name] = said = self.place.run(*command, cwd=cwd or self.folder, timeout=240)
        return said


@pytest.fixture(scope="module")
def arrival(medium: Medium, place: Place, tmp_path_factory: pytest.TempPathFactory) -> Arrival:
    """The README's steps 1 to 4: compare, verify, install, set up and enrol the sender."""
    new, media = Arrival(place, tmp_path_factory.mktemp("laboratory")), medium.mirror
    new.step("network", BARE, "-I", "-c", PROBE)
    new.step("python", BARE, "-c", "import mirror")
    new.step("compare", BARE, "-I", "-S", media / "verify_bundle.py", "--key", media / "sender.pem", "--fingerprint")
    new.step("check", BARE, "-I", "-S", media / "verify_bundle.py", media, "--key", media / "sender.pem")
    steps = re.findall(r"^ {7}((?:python3 -m venv|/opt/mirror/bin/python).*)$", (media / "README.md").read_text(), re.MULTILINE)
    for number, step in enumerate(steps):
        words = step.replace("/opt/mirror", str(new.folder / "opt")).replace("python3 -m venv", f"{BARE} -m venv").split()
        assert new.step(f"install {number}", *words, cwd=media).code == 0, new.said
    new.step("version", new.program, "--version")
    new.step("where", new.folder / "opt" / "bin" / "python", "-c", "import mirror; print(mirror.__file__)")
    new.step("init", new.program, "init", "--profile", "lab")
    (new.folder / "cards").mkdir()
    shutil.copy(media / "sender.yaml", new.folder / "cards")
    Laboratory(place, new.program, new.folder, 0).configure(trust={"verify": ["cards/"]})
    new.step("config", new.program, "config", "check")
    new.step("key", new.program, "key", "list", "--json")
    return new


def test_a_mirror_is_installed_from_the_folder_alone(arrival: Arrival) -> None:
    """With no route out and starting from nothing but Python, the README's steps compare the key, verify, install, set up and enrol."""
    said = arrival.said
    assert "unreachable" in said["network"].err
    assert "No module named 'mirror'" in said["python"].err
    assert said["compare"].out.strip() == dsse.fingerprint(KEY.public_key())
    assert said["check"].out.startswith("holds: "), said["check"].err
    assert {"install 0", "install 1"} == {name for name in said if name.startswith("install")}
    assert said["version"].out.split() == ["mirror", __version__]
    assert Path(said["where"].out.strip()).is_relative_to(arrival.folder / "opt")
    assert (said["init"].code, said["config"].code) == (0, 0), said
    listed = json.loads(said["key"].out)
    assert (listed["person"], listed["roles"], listed["state"]) == ("acme-mirror", ["sender"], "valid")


@pytest.fixture(scope="module")
def sender(online: MirrorProcess, medium: Medium) -> MirrorProcess:
    """The mirror with a network, running; what was wanted is on the medium."""
    here(online.start())
    (online.folder / "wants.yaml").write_text(WANTS)
    (online.folder / "more.txt").write_text("acme-attested\nacme-old-style\nevil-thing\n")
    done = online.command("bundle", "export", "wants.yaml", "-o", str(medium.bundle), "--form", "dir", "--token", ALICE, "--json")
    assert json.loads(done.stdout)["left_out"] == []
    return online


@pytest.fixture(scope="module")
def lab(sender: MirrorProcess, medium: Medium, arrival: Arrival) -> Iterator[Laboratory]:
    """The README's step 5: the bundle is verified and imported, and the mirror serves, at the address that the other one has outside.

    Both mirrors have the laboratory's policy then, so that their answers can be compared.
    """
    lab = Laboratory(arrival.place, arrival.program, arrival.folder, sender.port)
    rules = lab.policy_path.read_text().replace("\nexceptions: []", RULES).replace("lineage: review", "lineage: allow")
    assert RULES in rules
    lab.policy_path.write_text(rules)
    lab.configure(
        listen={"port": sender.port}, ledger={"views": {"people": "open"}, "reserve": "1MiB"}, store={"min_free": "1MiB"},
        clients=CLIENTS,
    )  # fmt: skip
    arrival.step("verify alone", BARE, "-I", "-S", medium.mirror / "verify_bundle.py", medium.bundle, "--key", medium.mirror / "sender.pem")
    arrival.step("verify", arrival.program, "bundle", "verify", medium.bundle, "--key", arrival.folder / "cards")
    arrival.step("import", arrival.program, "bundle", "import", medium.bundle, "--json")
    for mirror in (lab, sender):
        mirror.token = json.loads(mirror.command("token", "create", "reader", "--json").stdout)["token"]
    sender.set_policy(rules)
    lab.start()
    yield lab
    assert lab.stop() == 0


def test_a_bundle_is_verified_and_taken_in(lab: Laboratory, arrival: Arrival) -> None:
    """What was installed verifies the bundle, as the one file does with Python alone, takes in what its own policy permits, and serves it."""
    said = arrival.said
    assert said["verify alone"].out.startswith("holds: content laboratory number 1"), said["verify alone"].err
    assert dsse.fingerprint(KEY.public_key()) in said["verify"].out
    taken = json.loads(said["import"].out)
    refused = {one["artifact"].partition("@")[0] for one in taken["refused"]}
    assert {"pkg:huggingface/umbrella/orphan", "pkg:huggingface/quantbarn/solid-7b-merge-GGUF"} <= refused
    assert said["import"].code == 1
    program = Path(f"/proc/{lab.pid}/cmdline").read_bytes().split(b"\0")
    assert program[0].decode().startswith(str(arrival.folder / "opt" / "bin" / "python")), program
    assert lab.get("/-/health/ready").json()["network"] == "offline"


Asked = TypeVar("Asked")


def both(sender: MirrorProcess, lab: Laboratory, ask: Callable[[MirrorProcess, Path], Asked]) -> tuple[Asked, Asked]:
    """What comes of something outside and in the laboratory, each time in a folder of its own."""
    folder = lab.folder / f"clients-{len(list(lab.folder.glob('clients-*')))}"
    (folder / "outside").mkdir(parents=True)
    (folder / "inside").mkdir()
    outside = ask(sender, folder / "outside")
    with lab.place.entered():
        return outside, ask(lab, folder / "inside")


def script(python: Path, text: str, *, token: bool = False) -> Callable[[MirrorProcess, Path], dict[str, Any]]:
    """A script in a client's Python, with an empty cache."""
    return lambda mirror, folder: HubClient(python, mirror.url, folder, mirror.token if token else None).python_says(text).json()


def test_huggingface_hub_does_as_outside(sender: MirrorProcess, lab: Laboratory) -> None:
    """Snapshots, files, trees, references, commits, information, ranged reads and refusals of huggingface_hub come out as at the mirror that has a network."""
    outside, inside = both(sender, lab, script(Path(sys.executable), cells.HUB))
    assert inside == outside
    errors = {name for name, value in outside.items() if isinstance(value, list) and value and str(value[0]).endswith("Error")}
    assert errors == {"who", *(name for name in outside if "refused" in name or "not there" in name)}
    assert len(outside["snapshot"]) > 3


def test_datasets_and_transformers_do_as_outside(sender: MirrorProcess, lab: Laboratory) -> None:
    """Tables, streamed and whole, configurations and tokenizers load as they do at the mirror that has a network."""
    outside, inside = both(sender, lab, script(environment("transformers", TRANSFORMERS), cells.LIBRARIES))
    assert inside == outside
    assert (len(outside["csv"][0]), outside["parquet"]["label"][:2], outside["tokenizer"][0]) == (3, [1, 0], 2)


def test_gates_hold_where_nobody_can_be_asked(sender: MirrorProcess, lab: Laboratory) -> None:
    """What is gated or private goes to whom the organisation lends its right, as outside; to nobody else, and no hub token proves anything here."""
    outside, inside = both(sender, lab, script(Path(sys.executable), cells.GATED, token=True))
    assert inside == outside
    assert len(inside["snapshot"]) > 3
    nobody, same = both(sender, lab, script(Path(sys.executable), cells.GATED))
    kinds = [{name: value[0] for name, value in said.items()} for said in (nobody, same)]
    assert {kind.pop(name) for kind in kinds for name in ("private", "private, files")} <= {"RepositoryNotFoundError", "GatedRepoError"}
    assert kinds[0] == kinds[1]
    assert kinds[1]["file"] == "GatedRepoError"
    with lab.place.entered():
        for number, token in enumerate((ALICE, "hf_somebody")):
            said = HubClient(Path(sys.executable), lab.url, lab.folder / f"guess-{number}", token).python_says(cells.GATED).json()
            assert said["file"][0] == said["private"][0] == "GatedRepoError", said


def packages(mirror: MirrorProcess, folder: Path) -> dict[str, Any]:
    """What pip and uv do with an index, a command a row: its exit code and what came of it."""
    index, said = f"{mirror.url}/pypi/simple/", {}
    (folder / "pinned.txt").write_text("acme-lib==1.1 --hash=sha256:" + digest_of(mirror, "acme-lib", "acme_lib-1.1-py3-none-any.whl"))
    (folder / "in.txt").write_text("acme-app\nacme-attested\n")
    (folder / "lib.txt").write_text("acme-lib\n")
    (folder / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["acme-app"]\n')

    def tell(name: str, done: Said, *more: object) -> None:
        said[name] = [done.code, *(alike(str(one), folder) for one in (more or (done.out,)))]

    pip_install = ["install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    tell("pip resolves", done := pip(index, folder, *pip_install, "acme-app", "acme-old-style"), reported(done))
    tell("pip installs", pip(index, folder, "install", "--target", str(folder / "pip"), "acme-app==1.0"), listed(folder / "pip"))
    tell("pip lists", pip(index, folder, "index", "versions", "acme-lib"))
    tell("pip downloads by digest", pip(index, folder, "download", "--require-hashes", "-r", "pinned.txt", "-d", "by-digest"), listed(folder / "by-digest"))
    tell("pip is refused", done := pip(index, folder, "download", "evil-thing", "-d", "refused"), done.text)
    tell("uv compiles", uv(index, folder, "pip", "compile", "--generate-hashes", "--no-header", "in.txt"))
    tell("uv cuts off", uv(index, folder, "pip", "compile", "--no-header", "--exclude-newer", "2024-03-01", "lib.txt"))
    tell("uv installs", uv(index, folder, "pip", "install", "--target", "uv", "acme-app"), listed(folder / "uv"))
    tell("uv locks", uv(index, folder, "lock"), (folder / "uv.lock").read_text() if (folder / "uv.lock").exists() else "")
    tell("uv syncs", uv(index, folder, "sync", "--locked", "--python", sys.executable), listed(folder / ".venv" / "lib"))
    tell("uv is refused", done := uv(index, folder, "pip", "install", "--target", "refused", "evil-thing"), done.err)
    for target in ("simple/acme-attested/", "pypi/acme-attested/json", "integrity/acme-attested/1.0/acme_attested-1.0-py3-none-any.whl/provenance"):
        answer = mirror.get(f"/pypi/{target}")
        said[target] = [answer.status, answer.headers["Content-Type"], answer.body.decode()]
    return said


def digest_of(mirror: MirrorProcess, project: str, file: str) -> str:
    page = mirror.get(f"/pypi/simple/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).json()
    return next(row["hashes"]["sha256"] for row in page["files"] if row["filename"] == file)


def reported(done: Said) -> list[object]:
    """What pip chose, from where, with which digests and metadata."""
    rows = json.loads(done.out)["install"] if done.code == 0 else []
    return sorted((row["metadata"]["name"], row["metadata"]["version"], row["download_info"], row["metadata"].get("requires_dist")) for row in rows)


def listed(folder: Path) -> list[str]:
    """Which distributions lie there."""
    return sorted(path.name for pattern in ("*.whl", "*.tar.gz", "*.dist-info") for path in folder.rglob(pattern))


def alike(text: str, folder: Path) -> str:
    """Without what differs from run to run by its nature."""
    return re.sub(r"01[0-9A-HJKMNP-TV-Z]{24}", "DECISION", text.replace(str(folder), "FOLDER"))


def test_packages_resolve_and_install_as_outside(sender: MirrorProcess, lab: Laboratory) -> None:
    """pip and uv choose, lock, install and are refused as at the mirror that has a network; metadata, digests, cut-off dates and provenance are the same."""
    outside, inside = both(sender, lab, packages)
    assert inside == outside
    failed = {name for name, (code, *_) in outside.items() if code not in (0, 200)}
    assert failed == {"pip is refused", "uv is refused"}
    assert "acme-lib==1.1" in outside["uv cuts off"][1]
    assert "acme-labs/attested" in outside["integrity/acme-attested/1.0/acme_attested-1.0-py3-none-any.whl/provenance"][2]


def test_what_is_not_carried_is_told_to_be_so(lab: Laboratory, tmp_path: Path) -> None:
    """A release, a project and a repository that no bundle brought fail, and the client prints that the mirror is offline."""
    with lab.place.entered():
        said = uv(f"{lab.url}/pypi/simple/", tmp_path, "pip", "install", "--target", "none", "acme-never-asked", UV_HTTP_RETRIES="0")
        assert said.code != 0
        assert "offline" in said.text, said.text
        assert uv(f"{lab.url}/pypi/simple/", tmp_path, "pip", "install", "--target", "none", "acme-lib==2.2rc1").code != 0
        page = lab.get("/pypi/simple/acme-lib/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).json()
        assert [row["yanked"] for row in page["files"] if "2.2rc1" in row["filename"]] == ["not in this mirror, which is offline: no bundle has brought this file"]
        said = HubClient(Path(sys.executable), lab.url, tmp_path / "hub").hf("download", "globex/solid-7b", "config.json")
        assert said.code != 0
        assert "was never fetched by this mirror, and it is offline" in said.text, said.text


def test_a_refusal_is_explained_where_it_was_made(lab: Laboratory) -> None:
    """The decision that a client is told of is a page of the laboratory's mirror, and `mirror policy explain` tells its rule; who asked is in its record."""
    answer = lab.get("/umbrella/orphan/resolve/main/config.json")
    decision = answer.headers["X-Mirror-Decision"]
    assert (answer.status, answer.headers["X-Error-Code"]) == (451, "GatedRepo")
    assert lab.get(f"/-/blocked/{decision}").json()["sentence"] == answer.headers["X-Error-Message"]
    told = lab.says("policy", "explain", decision).out
    assert "effect deny, decided by names" in told, told
    assert "worked out again from record and archive: the same" in told
    assert lab.says("ledger", "verify").code == 0


def test_identities_hold(lab: Laboratory) -> None:
    """A token's holder is who the mirror says, a subnet is the group that it is configured as, and another one is not."""
    bearer = {"Authorization": f"Bearer {lab.token}"}
    assert lab.get("/api/whoami-v2", headers=bearer).json()["name"] == "reader"
    assert lab.get("/api/whoami-v2").status == 401
    assert lab.get("/api/whoami-v2", headers={"Authorization": f"Bearer {lab.token[:-1]}"}).status == 401
    unknown = lab.get("/api/whoami-v2", headers={"Authorization": f"Bearer {ALICE}"})
    assert unknown.status == 403
    for address, status in (("127.0.0.9", 403), ("127.0.0.8", 200)):
        with lab.place.entered():
            asked = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=30, source_address=(address, 0))
            asked.request("GET", "/tinybert/resolve/main/config.json")
            assert asked.getresponse().status == status, address
            asked.close()
