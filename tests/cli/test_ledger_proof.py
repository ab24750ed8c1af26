"""`mirror ledger verify|prove|checkpoint|rotate|recover`, `mirror backup` and `restore`, as people run them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mirror import config
from mirror.audit.notes import Checkpoint, Verifier
from mirror.clock_wiring import SystemClock
from mirror.core.errors import InputError
from mirror.keeper.desk import Wicket
from mirror.keeper.door import NAME, removed
from mirror.keeper.ledger_desk import LedgerDesk
from mirror.ledger_wiring import ledger_of
from tests.audit.samples import decision, refused
from tests.support import preloaded


def mirror(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return preloaded.run(["-c", str(home / "mirror.yaml"), *arguments], cwd=home, env={**os.environ, "NO_COLOR": "1"})


def told(home: Path, *arguments: str) -> dict:
    done = mirror(home, *arguments, "--json")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@asynccontextmanager
async def running(home: Path):
    """What a mirror keeps open while it runs, as far as these commands ask for it."""
    ledger, checkpointer = ledger_of(config.load(home / "mirror.yaml", {}), SystemClock())
    await ledger.start({"version": "0"}, checkpointer.admit)
    ledger.at_end = checkpointer.last
    await checkpointer.begin()
    wicket = Wicket(LedgerDesk(checkpointer).calls)
    wicket.open(home / "data")
    try:
        yield ledger
    finally:
        await wicket.close()
        removed(home / "data" / NAME)
        await ledger.close()
        await checkpointer.close()


async def fill(home: Path, start: int = 0) -> None:
    async with running(home) as ledger:
        for number in range(start, start + 6):
            await ledger.record(refused(number)).durable()


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("proof") / "home"
    (home / "data" / "evidence").mkdir(parents=True)
    (home / "data" / "evidence" / "policy").write_text("what was in force")
    (home / "data" / "blobs").mkdir()
    (home / "data" / "blobs" / "large").write_text("can be had again")
    (home / "out").mkdir()
    text = "data: data\nledger: {reserve: 0, views: {people: open}, origin: ledger.acme.example, checkpoints: {to: [{file: out/checkpoints}]}}\n"
    (home / "mirror.yaml").write_text(text)
    asyncio.run(fill(home))
    return home


@pytest.fixture
def home(filled, tmp_path) -> Path:
    shutil.copytree(filled, tmp_path / "home")
    return tmp_path / "home"


def check(proof: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the verifier says of a proof, in an interpreter that sees nothing but the standard library."""
    command = [sys.executable, "-I", "-S", str(proof.with_name("verify.py")), str(proof), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_prove(home):
    """A proof holds by the stand-alone program under the ledger's key; changed anywhere, or under another key, it does not."""
    proof = home / "proof.json"
    wanted = decision(3).id
    done = mirror(home, "ledger", "prove", wanted, "-o", str(proof), "--personal", "--verifier", str(home / "verify.py"))
    assert done.returncode == 0, done.stderr
    made = json.loads(proof.read_text())
    good = check(proof, "--key", made["key"], "--signed", str(home / "text"))
    assert good.returncode == 0, good.stderr
    assert wanted in good.stdout
    assert '"name": "u:9f2c"' in good.stdout
    command = next(line for line in good.stdout.splitlines() if line.startswith("openssl"))
    assert "Verified Successfully" in subprocess.run(command.split(), capture_output=True, text=True, check=False).stdout
    assert "compare it with the one that you know" in check(proof).stdout
    other = made["personal"] | {"part": {**made["personal"]["part"], "name": "u:0000"}}
    changes = {
        "record": made["record"].replace("umbrella", "umbrellb", 1), "index": made["index"] + 1, "size": made["size"] - 1, "path": made["path"][:-1],
        "checkpoint": made["checkpoint"].replace("\n9\n", "\n8\n"), "personal": other,
    }  # fmt: skip
    assert made["size"] == 9
    for name, value in changes.items():
        proof.write_text(json.dumps({**made, name: value}))
        bad = check(proof, "--key", made["key"])
        assert (bad.returncode, bad.stdout) == (1, ""), name
        assert "does not hold" in bad.stderr
    proof.write_text(json.dumps(made))
    assert check(proof, "--key", "x+00000000+AAAA").returncode == 1
    proof.write_text("{}")
    assert check(proof).returncode == 2


def test_prove_what_no_checkpoint_covers_and_what_is_not_there(home):
    """Where no checkpoint covers the record, one is made; an unknown decision or record is unusable input."""
    before = told(home, "ledger", "verify", "--no-evidence")
    done = mirror(home, "ledger", "prove", str(before["records"] - 1))
    assert json.loads(done.stdout)["size"] == before["records"]
    assert mirror(home, "ledger", "prove", decision(77).id).returncode == 2
    assert "neither a decision" in mirror(home, "ledger", "prove", "nonsense").stderr
    none = mirror(home, "ledger", "prove", "900")
    assert (none.returncode, "no record 900" in none.stderr) == (2, True)


async def test_beside_a_running_mirror(home):
    """`checkpoint`, `prove`, `rotate`, `verify` and `backup` work through the socket of the process that has the ledger."""
    async with running(home) as ledger:
        await ledger.record(refused(40)).durable()
        made = await asyncio.to_thread(told, home, "ledger", "checkpoint")
        assert (made["records"], [row["state"] for row in made["to"]]) == (11, ["ok"])
        plain = await asyncio.to_thread(mirror, home, "ledger", "checkpoint")
        assert plain.stdout == made["note"] == (home / "data" / "ledger" / "checkpoint").read_text()
        await ledger.record(refused(41)).durable()
        proof = await asyncio.to_thread(mirror, home, "ledger", "prove", decision(41).id)
        assert json.loads(proof.stdout)["size"] == 12
        key = (await asyncio.to_thread(told, home, "ledger", "rotate"))["key"]
        found = await asyncio.to_thread(told, home, "ledger", "verify", "--no-evidence", "--since-checkpoint", "--key", key, "--checkpoint", str(home / "out" / "checkpoints"))
        assert (found["ok"], found["since"], found["unfinished"]) == (True, 13, "")
        assert (await asyncio.to_thread(mirror, home, "backup", str(home / "beside"))).returncode == 0
        assert "being written by process" in (await asyncio.to_thread(mirror, home, "ledger", "recover", "-y")).stderr
    assert told(home, "ledger", "verify", "--no-evidence")["ok"]
    assert mirror(home, "restore", str(home / "beside"), "--check").returncode == 0


def test_verify_against_what_was_kept(home, tmp_path):
    """Each form in which a checkpoint may have been kept is taken; one of another history fails with both sizes named."""
    proof = mirror(home, "ledger", "prove", "3").stdout
    (tmp_path / "proof.json").write_text(proof)
    key = json.loads(proof)["key"]
    (tmp_path / "key").write_text(key + "\n")
    ledger = home / "data" / "ledger"
    for kept in (ledger / "checkpoint", ledger / "checkpoints", home / "out" / "checkpoints", tmp_path / "proof.json"):
        done = mirror(home, "ledger", "verify", "--no-evidence", "--checkpoint", str(kept), "--key", str(tmp_path / "key"))
        assert done.returncode == 0, done.stderr
        assert "from elsewhere, the newest of 9 records" in done.stdout
    shutil.rmtree(ledger)
    asyncio.run(_anew(home))
    done = mirror(home, "ledger", "verify", "--no-evidence", "--checkpoint", str(tmp_path / "proof.json"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "is of 9 records of another history: the ledger has 10" in done.stderr
    for bad in (["--checkpoint", str(home / "mirror.yaml")], ["--key", "nonsense"], ["--checkpoint", str(home / "none")]):
        assert mirror(home, "ledger", "verify", "--no-evidence", *bad).returncode == 2, bad


async def _anew(home: Path) -> None:
    """A ledger that is made anew by somebody who has the key, after the place outside was cleared."""
    (home / "out" / "checkpoints").unlink()
    async with running(home) as ledger:
        for number in range(7):
            await ledger.record(refused(100 + number)).durable()


def test_backup_restore_and_recover(home):
    """A backup is whole, changes are found in it, and nothing is written over; once restored, a gap has to be owned up to."""
    copy = home / "copy"
    assert mirror(home, "backup", str(copy)).returncode == 0
    names = json.loads((copy / "manifest.json").read_text())["files"].keys()
    assert {"data/evidence/policy", "ledger/segment-000000000000.jsonl", "ledger/checkpoints", "keys/signing.key"} <= names
    assert not any("blobs" in name for name in names)
    assert mirror(home, "backup", str(copy)).returncode == 2
    assert "is not empty" in mirror(home, "restore", str(copy)).stderr
    for name in ("ledger/segment-000000000000.jsonl", "data/evidence/policy", "manifest.json"):
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data.replace(b"a", b"b", 1))
        bad = mirror(home, "restore", str(copy), "--check")
        assert (bad.returncode, name.rpartition("/")[2] in bad.stderr) == (2, True), name
        (copy / name).write_bytes(data)
    (copy / "extra").write_text("x")
    assert "is in no manifest" in mirror(home, "restore", str(copy)).stderr
    (copy / "extra").unlink()
    asyncio.run(fill(home, 20))
    shutil.rmtree(home / "data")
    done = mirror(home, "restore", str(copy))
    assert (done.returncode, done.stdout.startswith("9 records, 9 of them signed for")) == (0, True), done.stderr
    assert (home / "data" / "signing.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(InputError, match="is of 17 records, and the ledger has 9"):
        asyncio.run(fill(home))
    done = mirror(home, "serve", "--port", "0")
    assert (done.returncode, "file:" in done.stderr, "it was set back; `mirror ledger recover`" in done.stderr) == (2, True, True)
    done = mirror(home, "ledger", "recover", "-y")
    assert (done.returncode, "gap: records after 9, up to 17" in done.stdout) == (0, True), done.stderr
    assert "nothing to recover from" in mirror(home, "ledger", "recover", "-y").stdout
    asyncio.run(fill(home))
    found = told(home, "ledger", "verify", "--no-evidence", "--checkpoint", str(home / "out" / "checkpoints"))
    assert (found["ok"], any("says was lost" in one for one in found["remarks"])) == (True, True)
    assert Checkpoint.read((home / "data" / "ledger" / "checkpoint").read_bytes()).size == found["records"]


def test_backup_without_keys(home):
    """Without keys, none is in the copy; what is restored from it says which key is missing."""
    copy = home / "copy"
    done = mirror(home, "backup", str(copy), "--without-keys")
    assert "without keys" in done.stdout
    assert not (copy / "keys").exists()
    assert b"PRIVATE KEY" not in b"".join(path.read_bytes() for path in copy.rglob("*") if path.is_file())
    shutil.rmtree(home / "data")
    assert mirror(home, "restore", str(copy)).returncode == 0
    with pytest.raises(InputError, match="is missing: it is the ledger's key ledger.acme.example"):
        asyncio.run(fill(home))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{origin: 'a b'}", "ledger.origin"),
        ("{checkpoint_every: 1ms}", "ledger.checkpoint_every"),
        ("{checkpoints: {to: [{file: a, git: b}]}}", "ledger.checkpoints.to[0]: expected one of file, git, webhook, syslog, found file and git"),
        ("{checkpoints: {to: [{}]}}", "found none"),
        ("{checkpoints: {to: [{file: a, push: origin}]}}", "ledger.checkpoints.to[0].push"),
        ("{checkpoints: {to: [{git: a, push: --mirror}]}}", "ledger.checkpoints.to[0].push"),
        ("{checkpoints: {to: [{file: a, token: abc}]}}", "ledger.checkpoints.to[0].token"),
        ("{checkpoints: {to: [{syslog: 'ftp://x'}]}}", "ledger.checkpoints.to[0].syslog"),
        ("{checkpoints: {to: [{webhook: 'ftp://x'}]}}", "ledger.checkpoints.to[0].webhook"),
    ],
)
def test_configuration(tmp_path, text, said):
    """What contradicts itself in `ledger` is refused with its place."""
    (tmp_path / "mirror.yaml").write_text(f"ledger: {text}\n")
    with pytest.raises(InputError) as error:
        config.load(tmp_path / "mirror.yaml", {})
    assert said in str(error.value.problems[0])
    assert len(error.value.problems) == 1


def test_a_backup_is_signed(home, tmp_path):
    """The manifest is signed by the ledger's key; made anew by somebody else, unsigned where a key is asked for, or under another key, it does not pass."""
    first = json.loads(mirror(home, "ledger", "prove", "0").stdout)["key"]
    assert mirror(home, "ledger", "rotate").returncode == 0
    made = told(home, "backup", str(home / "copy"))
    assert made["signature"]["key"] != first
    found = told(home, "restore", str(home / "copy"), "--check", "--key", first)
    assert found == made  # the first key is enough: it was handed over
    assert f"signed by {made['signature']['key']} at " in mirror(home, "restore", str(home / "copy"), "--check").stdout
    manifest, signature = home / "copy" / "manifest.json", home / "copy" / "manifest.dsse.json"
    kept = {path: path.read_bytes() for path in (manifest, signature)}
    for change, said in (
        (lambda: manifest.write_bytes(kept[manifest].replace(b'"version": "0', b'"version": "9')), "is of another manifest.json than the one that lies beside it"),
        (lambda: signature.write_bytes(kept[signature].replace(b'"sig":"', b'"sig":"A', 1)), "not a signed envelope"),
        (signature.unlink, "is missing: nobody has signed for this backup"),
    ):
        change()
        bad = mirror(home, "restore", str(home / "copy"), "--check", "--key", first)
        assert (bad.returncode, said in bad.stderr) == (2, True), bad.stderr
        for path, data in kept.items():
            path.write_bytes(data)
    assert mirror(home, "restore", str(home / "copy"), "--check").returncode == 0
    other = Verifier.of("ledger.acme.example", Ed25519PrivateKey.generate()).text
    bad = mirror(home, "restore", str(home / "copy"), "--check", "--key", other)
    assert (bad.returncode, "none is by a key that is trusted here" in bad.stderr) == (2, True)
