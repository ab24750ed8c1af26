"""Signed checkpoints: their form, who may sign them, where they go, and what happens when the ledger is not the one they are of."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mirror.audit import book
from mirror.audit.checkpointer import Checkpointer
from mirror.audit.custody import ROTATED
from mirror.audit.examine import examine
from mirror.audit.exporters import FileExporter, GitExporter, SyslogExporter, WebhookExporter
from mirror.audit.ledger import SegmentLedger
from mirror.audit.notes import Checkpoint, Note, Verifier, checkpoint_text, notes_in, signed
from mirror.audit.segments import Reader, segments
from mirror.audit.tiles import StoredNodes, rebuilt
from mirror.audit.tree import consistency, root, verify_consistency
from mirror.core.decision import EventKind
from mirror.core.errors import InputError
from mirror.trust.machine_key import MachineKey
from mirror.web.metrics import Metrics
from tests.audit.samples import SteppingClock, refused

ORIGIN = "ledger.acme.example/7"


@dataclass
class House:
    """A data folder, and what is configured."""

    home: Path
    exporters: list = field(default_factory=list)
    origin: str | None = ORIGIN
    segment_size: int = 4000

    @property
    def ledger(self) -> Path:
        return self.home / "ledger"

    def made(self) -> tuple[SegmentLedger, Checkpointer]:
        ledger = SegmentLedger(self.ledger, SteppingClock(), reserve=0, segment_size=self.segment_size)
        return ledger, Checkpointer(ledger, MachineKey(self.home / "signing.key"), SteppingClock(), self.exporters, origin=self.origin)

    @asynccontextmanager
    async def running(self):
        """A run of the mirror, as far as the ledger is concerned."""
        ledger, checkpointer = self.made()
        await ledger.start({"version": "0"}, checkpointer.admit)
        ledger.at_end = checkpointer.last
        try:
            await checkpointer.begin()
            yield ledger, checkpointer
        finally:
            await ledger.close()
            await checkpointer.close()

    async def run(self, count: int, *, start: int = 0) -> Checkpoint:
        """A run that records `count` refusals; the checkpoint of its end."""
        async with self.running() as (ledger, _):
            for number in range(start, start + count):
                await ledger.record(refused(number)).durable()
        return self.newest

    async def recover(self, *, new_key: bool = False):
        ledger, checkpointer = self.made()
        try:
            return await checkpointer.recover(new_key=new_key)
        finally:
            await ledger.close()
            await checkpointer.close()

    @property
    def newest(self) -> Checkpoint:
        return Checkpoint.read((self.ledger / book.NEWEST).read_bytes())

    def copy(self, name: str) -> House:
        target = self.home.parent / name
        shutil.copytree(self.home, target)
        return replace(self, home=target)


@pytest.fixture
def house(tmp_path) -> House:
    (tmp_path / "house").mkdir()
    return House(tmp_path / "house")


async def until(condition, seconds: float = 30.0) -> None:
    """Wait for something that another task does."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


# --- the form -----------------------------------------------------------------------------------------------------


def test_a_published_note():
    """The example of Go's sumdb/note is read, written again byte for byte, and its signature holds under its key only."""
    key = Verifier.read("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    data = f"{text}\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n".encode()
    note = Note.read(data)
    assert (note.text, note.data) == (text, data)
    assert note.signed_by(key)
    assert not replace(note, text=text.replace("your", "my")).signed_by(key)
    assert not note.signed_by(Verifier("PeterNeumann", Ed25519PrivateKey.generate().public_key()))
    assert Verifier.read("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8").name == "sum.golang.org"
    with pytest.raises(ValueError, match="no checkpoint"):
        Checkpoint.read(data)


def test_every_byte_of_a_checkpoint():
    """A checkpoint in which any byte is changed is no note, no checkpoint, or not signed."""
    key = Ed25519PrivateKey.generate()
    verifier = Verifier.of(ORIGIN, key)
    data = signed(checkpoint_text(ORIGIN, 12, bytes(range(32))), (verifier, key)).data
    assert re.fullmatch(rb"ledger\.acme\.example/7\n12\n[A-Za-z0-9+/]{43}=\n\n\xe2\x80\x94 ledger\.acme\.example/7 [A-Za-z0-9+/]{91}=\n", data)
    assert Checkpoint.read(data).note.signed_by(verifier)
    for at in range(len(data)):
        for bit in (1, 0x20, 0x80):
            changed = bytearray(data)
            changed[at] ^= bit
            try:
                one = Checkpoint.read(bytes(changed))
            except ValueError:
                continue
            assert not one.note.signed_by(verifier), at
    assert notes_in(data + b"\n" + data) == [data, data]


async def test_openssl_agrees(house):
    """The signature over a checkpoint's text is one that openssl verifies with the public key of its verifier key."""
    one = await house.run(1)
    verifier = examine_keys(house)[-1]
    (house.home / "text").write_text(one.note.text)
    (house.home / "sig").write_bytes(one.note.signatures[0][2])
    der = bytes.fromhex("302a300506032b6570032100") + verifier.raw
    (house.home / "key.der").write_bytes(der)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der", "-rawin", "-in", "text", "-sigfile", "sig"]
    done = subprocess.run(command, cwd=house.home, capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in done.stdout, done.stderr


def examine_keys(house: House) -> list[Verifier]:
    """The keys that the ledger's records name."""
    details = [record["detail"] for record in Reader(house.ledger).read(100_000) if record["kind"] == "key"]
    return [Verifier.read(detail["key"]) for detail in details]


# --- a life -------------------------------------------------------------------------------------------------------


async def test_when_they_are_made(house):
    """One at the start, which names the key that was made, one on demand if anything is new, and one that covers `stopped`."""
    async with house.running() as (ledger, checkpointer):
        first = house.newest
        assert (await checkpointer.make()).digest == first.digest
        await ledger.record(refused()).durable()
        second = await checkpointer.make()
        assert (second.origin, second.size) == (ORIGIN, first.size + 1)
    kinds = [record["kind"] for record in Reader(house.ledger).read(100)]
    assert kinds == ["started", "key", "refused", "stopped"]
    assert house.newest.size == 4
    assert (house.home / "signing.key").stat().st_mode & 0o777 == 0o600
    node = StoredNodes(house.ledger)
    proof = consistency(node, second.size, house.newest.size)
    assert verify_consistency(second.size, 4, proof, second.root, house.newest.root)
    await house.run(3)
    found = examine(house.ledger)
    assert (found.fault, found.checkpoints, found.signed, found.remarks) == (None, 5, 9, [])
    assert [one.size for one in book.read_notes(house.ledger / book.FILE)] == [2, 3, 4, 5, 9]


async def test_the_tree_outlives_its_files(house):
    """Tree files that are gone, short or behind are made again at the start, over several segments, with the same root."""
    await house.run(40)
    assert len(segments(house.ledger)) > 5
    for damage in (lambda path: path.unlink(), lambda path: os.truncate(path, 64), lambda path: os.truncate(path, 0)):
        damage(house.ledger / "tree-0")
        assert examine(house.ledger).fault or examine(house.ledger).unfinished or not (house.ledger / "tree-0").exists()
        one = await house.run(1)
        assert root(StoredNodes(house.ledger), one.size) == root(rebuilt(house.ledger, one.size), one.size) == one.root
        found = examine(house.ledger)
        assert (found.fault, found.unfinished) == (None, "")


async def test_a_damaged_tree_is_no_rewritten_history(house):
    """Where the tree's files are what is wrong, a start makes them again instead of refusing, and incremental verification says so of no record."""
    one = await house.run(2)
    async with house.running() as (ledger, _):
        for number in range(300):
            ticket = ledger.record(refused(number))
        await ticket.durable()
    path = house.ledger / "tree-0"
    data = bytearray(path.read_bytes())
    house.exporters = [FileExporter(house.home / "out")]
    (house.home / "out").write_bytes(one.note.data)
    data[33] ^= 1
    path.write_bytes(data)
    assert str(examine(house.ledger).fault) == "tree-0: seq 1: what is stored of the tree is not made from these records"
    found = examine(house.ledger, incremental=True, foreign=[("kept", one)])
    assert (found.fault, found.since) == (None, found.head.count)
    await house.run(1)
    assert examine(house.ledger).fault is None


async def test_incremental(house):
    """Since the newest checkpoint: the records before it are not read again, and a change after it is found."""
    one = await house.run(10)
    async with house.running() as (ledger, _):
        for number in range(3):
            await ledger.record(refused(number)).durable()
        found = examine(house.ledger, incremental=True)
        assert (found.fault, found.since, found.head.count) == (None, one.size + 1, one.size + 4)
        assert found.root == examine(house.ledger).root
    path = segments(house.ledger)[0].path
    path.write_bytes(path.read_bytes().replace(b"umbrella", b"umbrellb", 1))
    found = examine(house.ledger, incremental=True)
    assert (found.fault, found.unfinished, found.since) == (None, "", found.head.count)
    assert examine(house.ledger).fault is not None


# --- tampering ----------------------------------------------------------------------------------------------------


async def test_every_byte_beside_the_segments(house):
    """Any byte of the tree, of the file of checkpoints or of the newest that is flipped, and any cut of them, is found."""
    house.segment_size = 1 << 20
    async with house.running():
        pass
    assert examine(house.ledger).fault is None
    for name in ("tree-0", book.FILE, book.NEWEST):
        path = house.ledger / name
        data = path.read_bytes()
        for at in range(len(data)):
            changed = bytearray(data)
            changed[at] ^= 1 << (at % 8)
            path.write_bytes(changed)
            found = examine(house.ledger)
            assert found.fault is not None, (name, at)
            assert name in (found.fault.file, book.FILE) or found.fault.file in (book.NEWEST, book.FILE), (name, at, found.fault)
        for size in range(0, len(data), 19):
            path.write_bytes(data[:size])
            found = examine(house.ledger)
            assert found.fault is not None or name in found.unfinished, (name, size)
        path.write_bytes(data)
        path.unlink()
        assert name == "tree-0" or examine(house.ledger).fault is not None
        path.write_bytes(data)
    lines = (house.ledger / book.FILE).read_bytes().splitlines(keepends=True)
    for at in range(len(lines)):
        for changed in (lines[:at] + lines[at + 1 :], [*lines[:at], *lines[at:][::-1]], [*lines[: at + 1], *lines[at:]]):
            if changed != lines:
                (house.ledger / book.FILE).write_bytes(b"".join(changed))
                assert examine(house.ledger).fault is not None, at


async def test_a_rewritten_history(house):
    """A ledger that was made anew with the same key is whole in itself; a checkpoint that was kept elsewhere finds it, and a start refuses."""
    one = await house.run(5)
    forged = House(house.home.parent / "forged", segment_size=house.segment_size)
    forged.home.mkdir()
    shutil.copy(house.home / "signing.key", forged.home / "signing.key")
    await forged.run(9, start=100)
    assert examine(forged.ledger).fault is None
    found = examine(forged.ledger, foreign=[("kept", one)])
    assert found.fault is not None
    assert (found.fault.file, str(one.size) in found.fault.what, "another history" in found.fault.what) == ("kept", True, True)
    (house.home / "out").write_bytes(one.note.data)
    forged.exporters = [FileExporter(house.home / "out")]
    with pytest.raises(InputError, match=f"{one.size} records of another history: the ledger has {forged.newest.size}"):
        await forged.run(1)
    assert examine(forged.ledger, foreign=[("own", forged.newest)]).fault is None
    stranger = replace(one, origin="ledger.globex.example")
    assert "is of the ledger ledger.globex.example" in str(examine(house.ledger, foreign=[("x", stranger)]).fault)


# --- keys ---------------------------------------------------------------------------------------------------------


async def test_rotation(house):
    """A rotated key signs from its record on, the old one is gone, and checkpoints hold along the chain; `key` names any of them."""
    before = await house.run(2)
    async with house.running() as (_, checkpointer):
        verifier = await checkpointer.rotate()
        after = house.newest
    first, second = examine_keys(house)
    assert (second.text, first.text == second.text) == (verifier.text, False)
    assert before.note.signed_by(first)
    assert not before.note.signed_by(second)
    assert after.note.signed_by(second)
    assert not (house.home / "signing.key.next").exists()
    await house.run(1)
    for key in (first, second):
        assert examine(house.ledger, key=key, foreign=[("kept", before)]).fault is None
    stranger = Verifier.of(ORIGIN, Ed25519PrivateKey.generate())
    assert "no key of this ledger" in str(examine(house.ledger, key=stranger).fault)
    statement = [record["detail"] for record in Reader(house.ledger).read(100) if record["kind"] == "key"][1]["statement"]
    note = Note.read(statement.encode())
    assert (note.signed_by(first), note.signed_by(second)) == (True, True)


async def test_an_old_key_signs_nothing_more(house):
    """A checkpoint of what came after a rotation counts under the new key only."""
    await house.run(1)
    old = MachineKey(house.home / "signing.key").current()
    async with house.running() as (_, checkpointer):
        await checkpointer.rotate()
    one = house.newest
    forged = Checkpoint.read(signed(one.note.text, (examine_keys(house)[0], old)).data)
    assert "not signed by the key that was in force" in str(examine(house.ledger, foreign=[("forged", forged)]).fault)


async def test_a_key_that_nobody_vouched_for(house):
    """A record that names another key without the signature of the one before is a fault."""
    mallory = Ed25519PrivateKey.generate()
    async with house.running() as (ledger, _):
        verifier = Verifier.of(ORIGIN, mallory)
        size, found = ledger.tree.root()
        statement = signed(checkpoint_text(ORIGIN, size, found, verifier.text), (verifier, mallory)).data.decode()
        detail = {"key": verifier.text, "outcome": ROTATED, "statement": statement}
        sealed = await ledger.record_own(EventKind.KEY, detail).durable()
    fault = examine(house.ledger).fault
    assert fault is not None
    assert (fault.sequence, "the key before did not sign" in fault.what) == (sealed.sequence, True)


async def test_a_rotation_that_was_cut_short(house):
    """Killed between the record and the new key's place: the next start puts it there. Killed before the record: the old one stays."""
    await house.run(1)
    keys = MachineKey(house.home / "signing.key")
    keys.propose()
    await house.run(1)
    assert len(examine_keys(house)) == 1
    async with house.running() as (_, checkpointer):
        old = (house.home / "signing.key").read_bytes()
        await checkpointer.rotate()
        shutil.copy(house.home / "signing.key", house.home / "signing.key.next")
        (house.home / "signing.key").write_bytes(old)
    await house.run(1)
    assert not (house.home / "signing.key.next").exists()
    assert examine(house.ledger).fault is None


async def test_a_lost_key(house):
    """Without its key a ledger does not go on; `recover --new-key` replaces it, and `verify` tells of that for ever."""
    await house.run(1)
    (house.home / "signing.key").unlink()
    with pytest.raises(InputError, match="is missing: it is the ledger's key .*--new-key"):
        await house.run(1)
    with pytest.raises(InputError, match="is missing"):
        await house.recover()
    told = await house.recover(new_key=True)
    assert [list(row) for row in told] == [["key"]]
    await house.run(1)
    found = examine(house.ledger)
    assert found.fault is None
    assert ["the key was replaced without the one before it" in one for one in found.remarks] == [True]
    other = Ed25519PrivateKey.generate()
    keys = MachineKey(house.home / "signing.key")
    keys.propose(other)
    keys.adopt()
    with pytest.raises(InputError, match="is another key than the ledger's"):
        await house.run(1)
    told = await house.recover(new_key=True)
    assert told == [{"key": Verifier.of(ORIGIN, other).text}]
    assert Verifier.of(ORIGIN, keys.current()).text == told[0]["key"]


async def test_an_origin_is_for_life(house):
    """A ledger keeps its name in checkpoints; without a configured one it is made up of host and key."""
    house.origin = None
    one = await house.run(1)
    assert re.fullmatch(r"entrepot/ledger/[0-9a-f]{8}", one.origin)
    assert (await house.run(1)).origin == one.origin
    house.origin = ORIGIN
    with pytest.raises(InputError, match="keeps that name for life"):
        await house.run(1)


# --- going back in time -------------------------------------------------------------------------------------------


async def test_set_back_and_recovered(house):
    """A restored older copy is not gone on with: both sizes are named. `recover` puts the gap on the record; old checkpoints are told of."""
    house.exporters = [FileExporter(house.home.parent / "out")]
    short = await house.run(3)
    old = house.copy("old")
    long = await house.run(5)
    shutil.rmtree(house.home)
    old.home.rename(house.home)
    with pytest.raises(InputError, match=f"is of {long.size} records, and the ledger has {short.size}: it was set back; `mirror ledger recover`"):
        await house.run(1)
    assert examine(house.ledger).head.count == short.size
    told = await house.recover()
    assert [(row["since"], row["published"], row["records"]) for row in told] == [(short.size, long.size, short.size)]
    assert await house.recover() == []
    await house.run(9, start=50)
    assert house.newest.size > long.size
    found = examine(house.ledger, foreign=[("out", one) for one in book.read_notes(house.home.parent / "out")])
    assert found.fault is None
    assert f"out: the checkpoint of {long.size} records is of the history that record {short.size} says was lost" in found.remarks
    key, other = MachineKey(house.home / "signing.key").current(), Ed25519PrivateKey.generate()
    unchecked = f"x: the checkpoint of {long.size - 1} records is signed by a key of the lost records, which cannot be checked here"
    for signer, size, excused in ((key, long.size - 1, True), (other, long.size - 1, True), (other, short.size, False), (other, long.size + 1, False)):
        text = checkpoint_text(ORIGIN, size, bytes(32))
        made = Checkpoint.read(signed(text, (Verifier.of(ORIGIN, signer), signer)).data)
        found = examine(house.ledger, foreign=[("x", made)])
        assert (found.fault is None) is excused
        assert (unchecked in found.remarks) is (excused and signer is other)


async def test_records_lost_behind_the_own_checkpoints(house):
    """Segments that are older than the checkpoints beside them are found without any other place, and recovered from."""
    await house.run(3)
    old = house.copy("old")
    async with house.running() as (_, checkpointer):
        await checkpointer.rotate()
    for name in (book.FILE, book.NEWEST):
        shutil.copy(house.ledger / name, old.ledger / name)
    shutil.copy(house.home / "signing.key", old.home / "signing.key")
    with pytest.raises(InputError, match="it was set back"):
        await old.run(1)
    with pytest.raises(InputError, match="is another key"):
        await old.recover()
    shutil.copy(old.home / "signing.key", old.home / "lost.key")
    told = await old.recover(new_key=True)
    assert {name for row in told for name in row} >= {"key"}
    await old.run(1)
    assert examine(old.ledger).fault is None


# --- where they go ------------------------------------------------------------------------------------------------


async def test_files_and_git(house):
    """Each checkpoint is added to the file once, and is one commit in the repository and in the one that it is pushed to."""
    base = house.home.parent
    witness, clone, out = base / "witness.git", base / "clone", base / "out"
    subprocess.run(["git", "init", "--quiet", "--bare", witness], check=True)
    clone.mkdir()
    house.exporters = [FileExporter(out), GitExporter(clone, str(witness))]
    async with house.running() as (ledger, checkpointer):
        await until(lambda: all(outlet.standing.size == 2 for outlet in checkpointer.outlets))
        await ledger.record(refused()).durable()
        await checkpointer.make()
        await until(lambda: all(outlet.standing.size == 3 for outlet in checkpointer.outlets))
    await house.run(0)
    sizes = [one.size for one in book.read_notes(out)]
    assert sizes == [2, 3, 4, 5, 6]
    assert book.read_notes(clone / "checkpoints")[-1].digest == house.newest.digest
    log = subprocess.run(["git", "-C", witness, "log", "--format=%s"], check=True, capture_output=True, text=True).stdout.splitlines()
    assert log[0] == "Checkpoint of 6 records"
    assert house.exporters[1].newest().digest == house.newest.digest
    with out.open("ab") as file:
        file.write(b"\nledger.acme.example/7\n9\nAAAA")
    assert house.exporters[0].newest().size == 6


async def test_a_place_that_is_away(house):
    """A webhook that fails is tried again until it takes the newest; meanwhile records are written, and health tells since when."""
    taken, answers = [], [500, 503]

    async def hook(request: web.Request) -> web.Response:
        status = answers.pop(0) if answers else 204
        if status == 204:
            taken.append((await request.read(), dict(request.headers)))
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/in", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/in"
    house.exporters = [WebhookExporter(url, "s3cret"), FileExporter(house.home / "away" / "out")]
    async with house.running() as (ledger, checkpointer):
        webhook, file = checkpointer.outlets
        await until(lambda: webhook.standing.failing and file.standing.failing)
        metrics = Metrics()
        metrics.checkpoints(checkpointer.condition(), checkpointer.age)
        assert b'mirror_ledger_export_alarm{to="0-webhook"} 1.0' in metrics.text()
        assert b"mirror_ledger_checkpoint_records 2.0" in metrics.text()
        row = checkpointer.condition()["to"][0]
        assert (row["to"], row["state"], row["why"], row["since"] is not None) == (url.removesuffix("/in").join(["webhook:", ""]), "failing", "answered 500", True)
        await ledger.record(refused()).durable()
        await checkpointer.make()
        await until(lambda: bool(taken))
        await until(lambda: not webhook.standing.failing)
        assert file.standing.failing
        (house.home / "away").mkdir()
    await runner.cleanup()
    note, headers = taken[0]
    assert (Checkpoint.read(note).size, headers["Authorization"], headers["Content-Type"]) == (3, "Bearer s3cret", "text/plain; charset=utf-8")
    assert Checkpoint.read(taken[-1][0]).digest == house.newest.digest
    assert [one.size for one in book.read_notes(house.home / "away" / "out")][-1] == house.newest.size


def note_of(message: bytes) -> bytes:
    """The note that a syslog message was made of, from its structured data."""
    said = dict(re.findall(r'(\w+)="([^"]*)"', message.decode()))
    return f"{said['origin']}\n{said['size']}\n{said['root']}\n\n\u2014 {said['signer']} {said['signature']}\n".encode()


async def test_syslog(house):
    """Over UDP a datagram, over TCP an octet-counted message of RFC 5424, from which the note can be written again."""
    loop, datagrams, streams = asyncio.get_running_loop(), [], []

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _) -> None:
            datagrams.append(data)

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int(await reader.readuntil(b" "))
        streams.append(await reader.readexactly(length))
        assert await reader.read() == b""
        writer.close()

    transport, _ = await loop.create_datagram_endpoint(Receiver, local_addr=("127.0.0.1", 0))
    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    house.exporters = [
        SyslogExporter(f"udp://127.0.0.1:{transport.get_extra_info('sockname')[1]}"),
        SyslogExporter(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"),
    ]
    async with house.running():
        await until(lambda: bool(datagrams and streams))
    for message in (datagrams[0], streams[0]):
        assert re.match(rb"<109>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ entrepot - checkpoint \[checkpoint@32473 ", message)
        assert Checkpoint.read(note_of(message)).note.signed_by(examine_keys(house)[0])
    transport.close()
    server.close()


async def test_a_crash_between_any_two_writes(house):
    """Whatever of the files beside the segments lags behind them - as after kill -9 - a start goes on and `verify` finds it sound."""
    await house.run(2)
    for name in (book.NEWEST, book.FILE, "tree-0"):
        before = (house.ledger / name).read_bytes()
        async with house.running():
            lagging = before if name != book.FILE else (house.ledger / name).read_bytes() + b'{"at":"2026'
        if name == "tree-0":
            lagging = (house.ledger / name).read_bytes()[:-32]
        if name == book.FILE:
            lagging = (house.ledger / name).read_bytes() + b'{"at":"2026'
        (house.ledger / name).write_bytes(lagging)
        assert examine(house.ledger).fault is None, name
        await house.run(1)
        found = examine(house.ledger)
        assert (found.fault, found.unfinished) == (None, ""), name
    rows = [json.loads(line) for line in (house.ledger / book.FILE).read_bytes().splitlines()]
    assert base64.b64decode(Checkpoint.read(rows[-1]["note"].encode()).note.text.split("\n")[2]) == house.newest.root
