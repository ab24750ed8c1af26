"""How the mirror itself arrives: from a folder on a medium to a mirror that runs, on a machine with Python and no network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mirror import __version__
from mirror.bundle import verify_bundle
from mirror.bundle.bootstrap import Sender, Target, build
from mirror.bundle.layout import Form
from mirror.cli.main import root
from mirror.core import dsse
from mirror.core.errors import InputError
from mirror.trust.enrolment import load_roll
from mirror.trust.keyfiles import write_key
from tests.bundle.carried import CREATED, KEY, OTHER, Goods
from tests.support.clients import Said, run
from tests.support.mirror import clean_environment, running_mirror
from tests.support.standin import running_index

ROOT = Path(__file__).parents[2]
#: A Python that knows nothing of ours.
BARE = Path(sys._base_executable)


@pytest.fixture(scope="module")
def sender(tmp_path_factory) -> Path:
    """A mirror's configuration, with its key."""
    folder = tmp_path_factory.mktemp("sender")
    (folder / "policy.yaml").write_text("version: 1\n")
    (folder / "mirror.yaml").write_text("policy: {path: policy.yaml}\ndata: ./var\n")
    (folder / "var").mkdir()
    write_key(folder / "var" / "signing.key", KEY, None)
    return folder


@pytest.fixture(scope="module")
def carried(sender, tmp_path_factory) -> Iterator[Path]:
    """A medium: what bootstrap made, and a bundle by the same sender."""
    medium = tmp_path_factory.mktemp("medium")
    done = CliRunner().invoke(
        root,
        [
            "-c",
            str(sender / "mirror.yaml"),
            "bundle",
            "bootstrap",
            "-o",
            str(medium / "entrepot"),
            "--name",
            "acme-mirror",
            "--json",
        ],
    )
    assert done.exit_code == 0, done.output + repr(done.exception)
    told = json.loads(done.stdout)
    assert told["fingerprint"] == dsse.fingerprint(KEY.public_key())
    assert (told["index"], told["wheels"]) == (None, len(list((medium / "entrepot" / "wheels").glob("*.whl"))))
    Goods().write(medium / "lab.tar", Form.TAR, volume=8192)
    yield medium
    shutil.rmtree(medium)


def alone(cwd: Path, *command: object) -> Said:
    """Run something in a network namespace of its own: there is no interface but a loopback that is down, and no route."""
    environ = {name: value for name, value in clean_environment().items() if not name.startswith(("PIP_", "PYTHON"))}
    return run(
        ["unshare", "--net", "--", *map(str, command)],
        {**environ, "HOME": "/nonexistent", "PIP_CONFIG_FILE": os.devnull},
        cwd,
    )


@pytest.fixture
def lonely() -> None:
    """Network namespaces can be made. Fails, and never skips by itself, where not."""
    if os.environ.get("ENTREPOT_WITHOUT_NETNS") == "1":
        pytest.skip("ENTREPOT_WITHOUT_NETNS=1: this machine is said to have no network namespaces")
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.fail(
            "this test needs root and util-linux to make a network namespace; set ENTREPOT_WITHOUT_NETNS=1 to go without",
            pytrace=False,
        )


@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_a_mirror_is_installed_from_the_folder_alone(carried, lonely, tmp_path):
    """With no route out and starting from nothing but Python, the README's steps compare the key, verify, install, set up, enrol and verify a bundle."""
    folder, lab = carried / "entrepot", tmp_path / "lab"
    lab.mkdir()
    probe = alone(lab, BARE, "-I", "-c", "import socket; socket.create_connection(('203.0.113.1', 9), 3)")
    assert "unreachable" in probe.err
    compared = alone(
        lab, BARE, "-I", "-S", folder / "verify_bundle.py", "--key", folder / "sender.pem", "--fingerprint"
    )
    assert compared.out.strip() == dsse.fingerprint(KEY.public_key())
    checked = alone(lab, BARE, "-I", "-S", folder / "verify_bundle.py", folder, "--key", folder / "sender.pem")
    assert checked.code == 0, checked.err
    steps = re.findall(
        r"^ {7}((?:python3 -m venv|/opt/mirror/bin/python).*)$", (folder / "README.md").read_text(), re.MULTILINE
    )
    assert len(steps) == 2
    for step in steps:
        done = alone(
            folder,
            *step.replace("/opt/mirror", str(lab / "mirror")).replace("python3 -m venv", f"{BARE} -m venv").split(),
        )
        assert done.code == 0, done.text
    mirror = lab / "mirror" / "bin" / "mirror"
    assert alone(lab, mirror, "--version").out.split() == ["mirror", __version__]
    assert alone(lab, mirror, "init", "--profile", "lab").code == 0
    (lab / "cards").mkdir()
    shutil.copy(folder / "sender.yaml", lab / "cards")
    written = (lab / "mirror.yaml").read_text()
    (lab / "mirror.yaml").write_text(
        re.sub(r"^trust:.*$", "trust: {verify: [cards/]}", written, flags=re.MULTILINE)
        if "\ntrust:" in written
        else written + "trust: {verify: [cards/]}\n"
    )
    assert alone(lab, mirror, "config", "check").code == 0
    listed = json.loads(alone(lab, mirror, "key", "list", "--json").out)
    assert (listed["person"], listed["roles"], listed["state"]) == ("acme-mirror", ["sender"], "valid")
    for key in (folder / "sender.pem", lab / "cards"):
        verified = alone(lab, mirror, "bundle", "verify", carried / "lab.tar.001", "--key", key)
        assert verified.code == 0, verified.err
        assert dsse.fingerprint(KEY.public_key()) in verified.out


def test_the_folder_holds_what_it_says(carried, tmp_path):
    """Every wheel has a line with its digest; documentation, card, key and verifier are there; `openssl` and `sha256sum` agree with the signature."""
    folder = carried / "entrepot"
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
        "openssl pkey -pubin -in sender.pem -outform DER | sha256sum",
        shell=True,
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown.stdout.split()[0] == card.id


def test_a_folder_that_was_changed_on_the_way_is_refused(carried, tmp_path):
    """A changed, missing, further or linked file, other sums and another key are each named; nothing else is said to hold."""
    shutil.copytree(carried / "entrepot", tmp_path / "copy")
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
    (folder / "sender.yaml").symlink_to(carried / "entrepot" / "sender.yaml")
    assert fault() == "'sender.yaml': is not a plain file"
    (folder / "sender.yaml").unlink()
    (folder / "sender.yaml").write_bytes(card)
    (folder / "wheels" / "evil-1.0-py3-none-any.whl").write_bytes(b"x")
    assert fault() == "'wheels/evil-1.0-py3-none-any.whl': is not named in SHA256SUMS"
    (folder / "wheels" / "evil-1.0-py3-none-any.whl").unlink()
    (folder / "SHA256SUMS").write_bytes((folder / "SHA256SUMS").read_bytes() + b"#")
    assert "not signed" in fault()


def test_what_cannot_be_put_together_leaves_nothing(sender, tmp_path):
    """No key, a platform that is none, an index that gives nothing and a folder that is there are each one error, and no folder is left."""
    (tmp_path / "empty.yaml").write_text("data: ./nothing\n")
    done = CliRunner().invoke(
        root, ["-c", str(tmp_path / "empty.yaml"), "bundle", "bootstrap", "-o", str(tmp_path / "out")]
    )
    assert "there is no key yet" in str(done.exception)
    with pytest.raises(InputError, match="wheels"):
        build(
            tmp_path / "out",
            Sender(KEY, "acme"),
            [Target()],
            index="http://127.0.0.1:9/simple/",
            extras=(),
            now=CREATED,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["empty.yaml"]
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="is there already"):
        build(tmp_path / "out", Sender(KEY, "acme"), [Target()], index=None, extras=(), now=CREATED)


def test_wheels_come_through_the_mirror_where_it_runs(tmp_path):
    """A mirror that runs is where the wheels are asked for, and what it has not, or refuses, is not fetched from anywhere else."""
    with running_index() as index, running_mirror(tmp_path / "mirror", index=index) as mirror:
        done = mirror.command("bundle", "bootstrap", "-o", str(tmp_path / "out"), "--url", mirror.url, check=False)
        asked = {line["path"] for line in map(json.loads, mirror.log_lines()) if line.get("event") == "request"}
    assert done.returncode == 2
    assert "No matching distribution found" in done.stderr
    assert [path for path in asked if path.startswith("/pypi/simple/")]
    assert not (tmp_path / "out").exists()


def test_a_key_is_shown_for_the_telephone(sender, tmp_path):
    """`mirror key show` prints this mirror's key, or any public key in any form, with the same fingerprint; --card and --pem can be written into files."""

    def show(*words: object) -> str:
        done = CliRunner().invoke(root, ["-c", str(sender / "mirror.yaml"), "key", "show", *map(str, words)])
        assert done.exit_code == 0, done.output + repr(done.exception)
        return done.output

    own = show()
    assert own == f"key {dsse.key_id(KEY.public_key())}\nfingerprint {dsse.fingerprint(KEY.public_key())}\n"
    (tmp_path / "card.yaml").write_text(show("--card", "acme-mirror"))
    (tmp_path / "key.pem").write_text(show("--pem"))
    assert show(tmp_path / "card.yaml") == show(tmp_path / "key.pem") == own
    assert json.loads(show(tmp_path / "card.yaml", "--json"))["pem"] == (tmp_path / "key.pem").read_text()
    groups = dsse.fingerprint(KEY.public_key()).split()
    assert [len(group) for group in groups] == [5] * 8
    assert "".join(groups).isdecimal()
    done = CliRunner().invoke(root, ["-c", str(sender / "mirror.yaml"), "key", "show", "--card", "No Such Name"])
    assert isinstance(done.exception, InputError)
