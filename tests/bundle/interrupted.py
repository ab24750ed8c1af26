"""A laboratory whose imports are interrupted: what it had, what a bundle brings, and what can be seen of that at any moment."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mirror.audit.check import check
from mirror.audit.segments import Reader
from mirror.bundle.checked import verify
from mirror.bundle.layout import BundleReader
from mirror.bundle.statement import Signer, digest_of
from mirror.core import dsse
from mirror.trust.keyfiles import read_key
from tests.bundle.test_carried import NAMES, enrolled, here
from tests.catalogue.test_running import PUBLISHERS, VENDOR, pack
from tests.support import calls
from tests.support.calls import Answer, Call, Ran
from tests.support.mirror import ALLOW_ALL, MirrorProcess, clean_environment, until, upstream_config
from tests.support.standin import ALICE, StandInHub, running_hub, running_index

#: Rows that clients are answered from, without the columns that say when.
TABLES = {
    "documents": ("key", "hub", "target", "status", "digest"),
    "entries": ("key", "artifact", "digest", "size", "restriction"),
    "grants": ("key", "credential", "project", "allowed", "public", "status", "code", "cause"),
    "places": ("key", "hub", "path", "artifact", "digest", "size", "url"),
    "pins": ("key", "pattern", "reason"),
}
DENY = """version: 1
rules:
  - {id: no-pickle, when: {file: ["*.pkl"]}, effect: deny}
"""
WANTS = """version: 1
name: lab
models:
  - {id: acme/heavy}
  - {id: acme/gated-auto, allow: [config.json]}
packages:
  - {requirement: "acme-attested", python: ["3.11"], platforms: [linux]}
"""
CHANGED = b'{"new": true}'
#: Few files make a batch, and few of them are made durable at once, so that a small bundle has several batches of both kinds.
FILES, FEW = 3, 2


@dataclass(frozen=True)
class World:
    """What was made once: bundles `first` and `second` (what is new since), and a laboratory that has the first."""

    first: Path
    second: Path
    recall: Path
    lab: Path
    settings: dict[str, object]


@dataclass(frozen=True)
class Seen:
    """What a laboratory has: rows, numbers of receipts, the list and the pack of publishers in force, recalls."""

    rows: frozenset[tuple[object, ...]]
    numbers: tuple[int, ...]
    lists: str
    recalled: tuple[str, ...]


def surrender(kind: str, door: str) -> None:
    """As `tests.support.calls`, with batches that are small."""
    import mirror.durable
    import mirror.store.intake

    mirror.store.intake._FILES, mirror.durable._FEW = FILES, FEW
    calls.surrender(kind, door)


@contextmanager
def made(folder: Path) -> Iterator[World]:
    """A sender with a network, its bundles, and the laboratory."""
    rng = random.Random(20261122)
    (folder / "house.csv").write_text(NAMES)
    (folder / "vendor.pack").write_bytes(pack(1, PUBLISHERS))
    VENDOR.enrol(folder / "hq-cards")
    with running_hub() as hub, running_index() as index:
        hub.add_repo("model", "acme/heavy", {"config.json": b"{}", "old.pkl": b"pickled"}, lfs={f"part-{number}.bin": rng.randbytes(3000) for number in range(2)})
        config = {
            **upstream_config(hub, index), "lists": {"house": {"loader": "csv", "source": str(folder / "house.csv")}},
            "catalogue_pack": {"source": str(folder / "vendor.pack")}, "trust": {"verify": [str(folder / "hq-cards")]},
        }  # fmt: skip
        sender = MirrorProcess(folder / "hq", config, ALLOW_ALL)
        here(sender.start())
        try:
            until(lambda: (sender.get("/-/health/ready").json()["catalogue"]["pack"] or {}).get("number") == 1)
            world = _carried(folder, sender, hub, rng)
            yield world
        finally:
            sender.stop()


def _carried(folder: Path, sender: MirrorProcess, hub: StandInHub, rng: random.Random) -> World:
    (sender.folder / "wants.yaml").write_text(WANTS)
    first, second, recall = (folder / f"{name}.tar" for name in ("first", "second", "recall"))
    _told(sender, "wants.yaml", "-o", str(first), "--token", ALICE)
    hub.repo("acme/heavy").push({"config.json": CHANGED, "new.pkl": b"pickled anew"}, {f"more-{number}.bin": rng.randbytes(3000 + number) for number in range(5)})
    (folder / "house.csv").write_text(f"{NAMES}Globex Shipping\n")
    sender.stop()
    for path in (sender.folder / "data").glob("index.sqlite*"):
        path.unlink()  # which holds pages for a while
    here(sender.start())  # which asks its list anew
    _told(sender, "wants.yaml", "-o", str(second), "--token", ALICE, "--since", "1")
    _told(sender, "--recall", "acme/withdrawn", "--reason", "an order came in", "--name", "recall", "-o", str(recall))
    cards = enrolled(sender, folder / "cards")
    VENDOR.enrol(cards)
    settings = {
        "network": "offline", "trust": {"verify": [str(cards)]}, "catalogue_pack": {"source": "https://packs.example/vendor.pack"},
        "lists": {"house": {"loader": "csv", "source": "https://lists.example/house.csv", "guards": {"max_age": "2d"}}},
        "listen": {"host": "127.0.0.1", "port": 0}, "hubs": {"huggingface": {"token": ALICE, "credentials": "service"}},
    }  # fmt: skip
    lab = MirrorProcess(folder / "lab", settings, DENY)
    settled(lab)
    done = lab.command("bundle", "import", str(first), "--json", check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # one file is refused
    return World(first, second, recall, lab.folder, settings)


def settled(lab: MirrorProcess) -> None:
    """Write the configuration of a laboratory that is not started."""
    import yaml

    (lab.folder / "mirror.yaml").write_text(yaml.safe_dump(lab.config, sort_keys=False), encoding="utf-8")


def _told(sender: MirrorProcess, *arguments: str) -> dict[str, object]:
    done = sender.command("bundle", "export", *arguments, "--json", check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads(done.stdout)


class Lab:
    """A copy of the laboratory, and the bundle on a medium of its own."""

    def __init__(self, world: World, folder: Path, bundle: Path | None = None) -> None:
        self.folder, self.data = folder / "lab", folder / "lab" / "data"
        shutil.copytree(world.lab, self.folder)
        self.medium = folder / "medium"
        self.medium.mkdir()
        self.bundle = self.medium / (bundle or world.second).name
        shutil.copyfile(bundle or world.second, self.bundle)
        self.mirror = MirrorProcess(self.folder, world.settings, DENY)
        settled(self.mirror)
        self.serving = False

    @contextmanager
    def served(self) -> Iterator[None]:
        """A mirror runs on it meanwhile."""
        self.mirror.start()
        self.serving = True
        try:
            yield
        finally:
            self.serving = False
            self.mirror.stop()

    @property
    def receipt(self) -> Path:
        """Where the receipt is to be put."""
        return self.medium / f"{self.bundle.name}.receipt.json"

    def run(self, decide: Callable[[Call], Answer], *arguments: str, reads: bool = False) -> Ran:
        """A command - the import - of which every call is asked about."""
        command = ["-c", str(self.folder / "mirror.yaml"), *(arguments or ("bundle", "import", str(self.bundle), "--json"))]
        return calls.run(command, decide, below=[self.folder, self.medium], cwd=self.folder, env=clean_environment(), first=__name__, reads=reads)

    def blobs(self) -> dict[str, int]:
        """Files in the store, by name, and which file it is."""
        return {path.name: path.stat().st_ino for path in (self.data / "blobs" / "sha256").glob("*/*/*")}

    def seen(self) -> Seen:
        """What there is, read from copies, so that nothing is put right by looking."""
        received = tuple(sorted(int(path.stem) for path in (self.data / "bundles" / "received").glob("*/*/*.json") if not path.name.startswith(".")))
        current = self.data / "lists" / "house" / "current"
        recalled = tuple(sorted(path.name for path in (self.data / "bundles" / "recalled").glob("*") if not path.name.startswith(".")))
        return Seen(frozenset(_rows(self.data, live=self.serving)), received, current.read_text() if current.exists() else "", recalled)

    def sound(self) -> None:
        """The ledger verifies, but for what its next start cuts off, and no file in the store is wrong."""
        found = check(self.data / "ledger")
        assert found.fault is None, found.fault
        for path in (self.data / "blobs" / "sha256").glob("*/*/*"):
            assert sha256(path.read_bytes()).hexdigest() == path.name, path

    def imports(self) -> list[dict[str, object]]:
        """Imports on the record."""
        return [one for one in Reader(self.data / "ledger").read(1_000_000) if one["kind"] == "bundle"]


def _rows(data: Path, *, live: bool) -> Iterator[tuple[object, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("index.sqlite", "index.sqlite-wal"):
            if not live and (data / name).exists():
                shutil.copyfile(data / name, Path(folder, name))
        with closing(sqlite3.connect(f"file:{data if live else folder}/index.sqlite?mode={'ro' if live else 'rw'}", uri=True)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            for table, columns in TABLES.items():
                for row in database.execute(f"SELECT {', '.join(columns)} FROM {table}"):  # noqa: S608 - names of ours
                    yield table, *row


class Course:
    """One import as it goes when nobody interrupts it: what is there before and afterwards, and by which calls."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        lab = Lab(world, folder / "whole")
        self.before = lab.seen()
        ran = lab.run(lambda _: None)
        self.after, self.calls, self.told = lab.seen(), ran.calls, json.loads(ran.out)
        assert (ran.code, ran.err) == (1, "")  # two files are refused
        assert self.before.rows - self.after.rows
        assert self.after.rows - self.before.rows
        assert self.before.lists != self.after.lists
        assert (self.before.numbers, self.after.numbers) == ((1,), (1, 2))

    def lab(self) -> Lab:
        """The laboratory as it is before, anew."""
        return Lab(self.world, Path(tempfile.mkdtemp(dir=self.folder)))

    def interrupted(self, lab: Lab, decide: Callable[[Call], Answer], *, reads: bool = False) -> Ran:
        """An import whose calls `decide` answers; it shows nothing or all of the bundle, and its ledger and store are sound."""
        ran = lab.run(decide, reads=reads)
        self.nothing_or_all(lab.seen(), lab)
        return ran

    def failed(self, lab: Lab, decide: Callable[[Call], Answer], *, reads: bool = False) -> Ran:
        """The same where calls fail: one sentence and exit 2, or an import that did not mind."""
        ran = self.interrupted(lab, decide, reads=reads)
        assert (ran.code == 2 and len(ran.err.splitlines()) == 1) or (ran.code, ran.err) == (1, ""), (ran.code, ran.err)
        return ran

    def nothing_or_all(self, seen: Seen, lab: Lab) -> None:
        whole = seen.rows == self.after.rows
        assert whole or seen.rows == self.before.rows, (seen.rows - self.before.rows, self.after.rows - seen.rows)
        assert seen.numbers == self.before.numbers or whole
        assert seen.lists == self.after.lists or not whole  # rules come before what they judge
        lab.sound()
        assert len(lab.imports()) == 1 or whole
        if lab.serving:
            answered = lab.mirror.get("/acme/heavy/resolve/main/config.json").body
            assert answered == b"{}" or (whole and answered == CHANGED)
        if lab.receipt.exists():
            self.answered(lab)

    def answered(self, lab: Lab) -> None:
        """The receipt beside the bundle is whole, of this bundle and of this mirror."""
        envelope = dsse.read(lab.receipt.read_bytes(), "receipt", 1 << 20)
        key = read_key(lab.data / "signing.key", lambda: "").public_key()
        assert [dsse.verifies(envelope, one, key) for one in envelope.signatures] == [True]
        told = json.loads(envelope.payload)
        assert (told["statement"], told["taken"]["files"], len(told["refused"])) == (self.told["statement"], self.told["files"], 2)

    def completed(self, lab: Lab, ran: Ran) -> None:
        """The same command completes it, and copies nothing that is there. It is not needed where the import did not mind."""
        there = lab.blobs()
        if ran.code == 1:
            self.nothing_or_all(lab.seen(), lab)
        else:
            ran = lab.run(lambda _: None)
        assert (ran.code, ran.err) == (1, "")
        told = json.loads(ran.out)
        assert (told["files"], len(told["refused"])) == (self.told["files"], 2)
        assert lab.seen() == self.after
        assert there.items() <= lab.blobs().items()
        assert list((lab.data / "incoming").iterdir()) == []
        self.answered(lab)
        lab.sound()


#: The forms of a bundle: what is asked for, and what lies there first.
FORMS = {"tar": ((), "out"), "dir": (("--form", "dir"), "out"), "volumes": (("--volume", "16KiB"), "out.001")}


class Export:
    """The laboratory's own export of all that it has, in one form, as it goes when nobody interrupts it."""

    def __init__(self, course: Course, form: str) -> None:
        self.course, (self.options, self.first) = course, FORMS[form]
        lab = course.lab()
        ran = self.run(lab, lambda _: None)
        assert (ran.code, ran.err, json.loads(ran.out)["number"]) == (0, "", 1)
        self.calls, self.whole = ran.calls, lab.folder.parent

    def run(self, lab: Lab, decide: Callable[[Call], Answer], name: str = "out") -> Ran:
        """`mirror bundle export --all`."""
        return lab.run(decide, "bundle", "export", "--all", "--name", "all", "-o", str(lab.medium / name), *self.options, "--json")

    def interrupted(self, decide: Callable[[Call], Answer], *, fails: bool = False) -> Ran:
        """Under its name is a whole bundle or nothing; the next one has the number after it, or the very number of the one that nobody has."""
        lab = self.course.lab()
        ran = self.run(lab, decide)
        if fails:
            assert (ran.code == 2 and len(ran.err.splitlines()) == 1) or (ran.code, ran.err) == (0, ""), (ran.code, ran.err)
        lab.sound()
        public = read_key(lab.data / "signing.key", lambda: "").public_key()
        trusted = {dsse.key_id(public): Signer(public, "lab")}
        place, digest = lab.medium / self.first, ""
        if place.exists():
            assert verify(place, trusted).statement.number == 1
            with BundleReader(place) as reader:
                digest = digest_of(dsse.read(reader.envelope, "statement", 1 << 20).payload)
        assert place.exists() or ran.code != 0
        name = "other" if place.exists() else "out"
        again = self.run(lab, lambda _: None, name)
        assert (again.code, again.err) == (0, "")
        after = verify(lab.medium / self.first.replace("out", name), trusted).statement
        assert (after.number, after.previous) == ((2, digest) if digest else (1, ""))
        assert not list(lab.medium.glob(".*"))
        shutil.rmtree(lab.folder.parent)
        return ran
