"""A delta carries what its receiver lacks: not one blob more, whatever happened at the sender, and not one less."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from mirror import config as configuration
from mirror.bundle.acquired import acquisition_row
from mirror.bundle.contents import (
    FILE,
    LICENCE,
    PAGE,
    ROWS,
    EntryRow,
    HubRow,
    entry_row,
    grant_row,
    page_row,
)
from mirror.bundle.faults import BundleFault
from mirror.bundle.gather import Collection
from mirror.bundle.layout import BundleReader, BundleWriter, Form
from mirror.bundle.outgoing import Carrier, Sender, written
from mirror.bundle.recall import written_recall
from mirror.bundle.receipt import ReceivedBook, before_of
from mirror.bundle.statement import Statement, Withdrawn, payload, sign
from mirror.cli.bundle_incoming import arrivals, copied, demand, learn_bodies, opened, things
from mirror.core import dsse
from mirror.core.acquisitions import Acquisition, LicenceText
from mirror.core.nouns import Artifact, Blob, Digest, Document, DocumentKey, Entry, Kind, Project
from mirror.core.ports import Grant
from mirror.index.sql import SqlIndex
from mirror.policy.approval import Enrolled
from mirror.trust.enrolment import card_text
from tests.bundle.carried import CREATED, KEY
from tests.support.signers import BEGIN

#: Few bytes for many names: the same are a file here, a page there and a licence text elsewhere.
BYTES = tuple(text.encode() for text in ("{}", "[]", "MIT\n", "weights", "other weights", "a page"))
TINY = Project("huggingface", Kind.MODEL, "acme/tiny", "huggingface", "6512bd43d9caa6e02c990b0a")
NAMES = st.sampled_from(["a", "b", "c"])
CONTENT = st.integers(0, len(BYTES) - 1)


@dataclass(frozen=True)
class World:
    """What a sender has: files (path, bytes), pages, paths whose files have a licence text, whether it may read the project.

    Other bytes under the same path are of another commit, as with any hub; pages change where they are.
    """

    files: frozenset[tuple[str, int]]
    pages: Mapping[str, int]
    texts: frozenset[str] = frozenset()
    allowed: bool = True

    @property
    def licences(self) -> set[int]:
        return {licence(number) for path, number in self.files if path in self.texts}


WORLDS = st.builds(
    World, st.frozensets(st.tuples(NAMES, CONTENT), min_size=1, max_size=5), st.dictionaries(NAMES, CONTENT, max_size=3),
    st.frozensets(NAMES, max_size=2), st.booleans(),
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """An export: what there is then, and since which of the earlier steps, by its place counted back; 0: complete. Or a recall."""

    world: World
    since: int = 0
    recall: bool = False


STEPS = st.lists(st.builds(Step, WORLDS, st.sampled_from([0, 1, 1, 1, 2, 3]), st.sampled_from([False] * 5 + [True])), min_size=2, max_size=4)


def digest(number: int) -> str:
    return sha256(BYTES[number]).hexdigest()


def licence(number: int) -> int:
    """Which bytes are the licence text of a file of these."""
    return (number + 2) % len(BYTES)


def collection(world: World, folder: Path, moment: int) -> Collection:
    """All of a world, as an export gathers it; pages were vouched for a little later each time, which is nothing new."""
    found, now = Collection(folder), CREATED + timedelta(minutes=moment)
    found.rows.add(HubRow("huggingface", "huggingface", "https://hub.example"))

    def part(number: int, kind: str, title: str) -> None:
        found.data(kind, title, digest(number), BYTES[number])

    for path, number in world.files:
        blob = Blob(Digest("sha256", digest(number)), len(BYTES[number]))
        artifact = Artifact(TINY, f"{number:x}" * 40, path)
        found.rows.add(entry_row(Entry(artifact, blob, (("etag", f'"{number}"'),), now, None, "")))
        part(number, FILE, f"files/{number}")
        if path in world.texts:
            text = licence(number)
            came = Acquisition(artifact, blob.digest, blob.size, CREATED, "https://hub.example", public=True, licenses=("mit",), texts=(LicenceText("LICENSE", digest(text)),))
            found.rows.add(acquisition_row(came, artifact))
            part(text, LICENCE, f"licences/{text}")
    for target, number in world.pages.items():
        page = Document(DocumentKey("huggingface", f"/api/models/acme/tiny/{target}"), 200, (), BYTES[number], Digest("sha256", digest(number)), now, None)
        found.rows.add(page_row(page, "", str(TINY)))
        part(number, PAGE, f"pages/{number}")
    told = {} if world.allowed else {"status": 403, "code": "GatedRepo", "message": "no"}
    found.rows.add(grant_row(Grant("service", TINY.identity, allowed=world.allowed, public=False, at=now, cause="bundle", **told), TINY))
    return found


class Receiver:
    """A laboratory's data, and what lies in it, as its own disk tells. Judging is left out: everything is taken."""

    def __init__(self, folder: Path, template: Path) -> None:
        shutil.copytree(template, folder)
        self.config = configuration.load(folder / "mirror.yaml", {})

    def take(self, path: Path) -> None:
        """Import a bundle. Raises `BundleFault`."""
        asyncio.run(self._take(path))

    def took(self, path: Path) -> bool:
        """Import it; False where it says that it counts on what is not here."""
        try:
            self.take(path)
        except BundleFault as fault:
            assert "needs what is not here" in str(fault) or "neither in the bundle nor here" in str(fault)  # noqa: PT017
            return False
        return True

    async def _take(self, path: Path) -> None:
        index = await SqlIndex.open(None, self.config.data)
        bundle = opened(self.config, path, allow_rollback=False)
        try:
            await learn_bodies(self.config, bundle, index)
            taken = [row for row in bundle.rows if isinstance(row, EntryRow)]
            copied(self.config, bundle, demand(self.config, bundle, taken), lambda _: None)
            await index.take_in(things(self.config, bundle, taken, CREATED))
            await arrivals(self.config, bundle, index, CREATED)
            ReceivedBook(self.config.data, bundle.statement).put(bundle.statement.number, b"{}", CREATED)
        finally:
            bundle.reader.close()
            await index.close()

    def rows(self, sql: str) -> set[tuple[object, ...]]:
        with sqlite3.connect(self.config.data / "index.sqlite") as database:
            return set(database.execute(sql))

    @property
    def answers(self) -> dict[str, set[tuple[object, ...]]]:
        """What it answers from; times, which change nothing in an answer, are left out."""
        return {
            "files": self.rows("SELECT artifact, digest, size, headers, declared, restriction FROM entries"),
            "pages": self.rows("SELECT key, target, status, headers, digest FROM documents"),
            "rights": self.rows("SELECT key, allowed, public, status, code, cause FROM grants"),
        }

    def lacks(self, world: World) -> set[str]:
        """SHA-256 of what is not where this world's names look for it: files in the store, pages in the index (or the store), texts in the archive."""
        stored = {path.name for path in (self.config.data / "blobs" / "sha256").glob("*/*/*")}
        pages = {str(row[0]) for row in self.rows("SELECT digest FROM documents")} | stored
        texts = {path.name for path in (self.config.data / "evidence").glob("*/*")}
        return ({digest(one) for _, one in world.files} - stored) | ({digest(one) for one in world.pages.values()} - pages) | ({digest(one) for one in world.licences} - texts)


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A receiver that has nothing yet."""
    folder = tmp_path_factory.mktemp("template")
    public = KEY.public_key()
    (folder / "cards").mkdir()
    (folder / "cards" / "hq.yaml").write_text(card_text(Enrolled(dsse.key_id(public), public, "hq", "Headquarters", frozenset({"sender"}), BEGIN)))
    (folder / "mirror.yaml").write_text("data: data\nnetwork: offline\nstore: {min_free: 1MiB}\ntrust: {verify: [cards]}\n")
    config = configuration.load(folder / "mirror.yaml", {})
    config.data.mkdir()

    async def made() -> None:
        await (await SqlIndex.open(None, config.data)).close()

    asyncio.run(made())
    return folder


def parts_of(path: Path) -> set[str]:
    with BundleReader(path) as reader:
        return {name for name, part in reader.parts.items() if part.media_type != ROWS}


def history(folder: Path, steps: Iterable[Step]) -> list[tuple[Path, Step, int | None]]:
    """Export them all: the bundles, each with its step and the place of the one it is since."""
    made: list[tuple[Path, Step, int | None]] = []
    for at, step in enumerate(steps):
        drafts = folder / f"drafts-{at}"
        drafts.mkdir(parents=True)
        sender = Sender(folder / "data", KEY, "lab", CREATED + timedelta(minutes=at), "mirror.acme.example", "")
        carrier = Carrier(folder / f"{at}", Form.DIRECTORY, None)
        if step.recall and at:
            written_recall(sender, [Withdrawn("initech/*", "an order came in")], carrier)
            made.append((carrier.path, Step(made[-1][1].world, recall=True), at - 1))  # on top of what was before, for who has that
            continue
        since = at - step.since if 0 < step.since <= at else None
        before = None if since is None else before_of(folder / "data", "lab", str(since + 1))
        written(sender, collection(step.world, drafts, at), before, carrier)
        made.append((carrier.path, replace(step, recall=False), since))
    return made


def chain(made: list[tuple[Path, Step, int | None]], at: int | None) -> list[Path]:
    """The bundles that a receiver of this one has to have imported, this one included."""
    return [] if at is None else [*chain(made, made[at][2]), made[at][0]]


def demand_minimal(template: Path, steps: list[Step]) -> None:
    """Each bundle of a history against two receivers: who has what it is since, and who has taken everything in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made, other = history(folder, steps), Receiver(folder / "other", template)
        for at, (path, step, since) in enumerate(made):
            one = Receiver(folder / f"one-{at}", template)
            for earlier in chain(made, since):
                one.take(earlier)
            carried, lacking = parts_of(path), set[str]() if step.recall else one.lacks(step.world)
            assert carried == lacking
            for number, left in enumerate(sorted(carried)):
                with pytest.raises(BundleFault, match=r"needs what is not here|neither in the bundle nor here"):
                    one.take(without(folder / f"without-{at}-{number}", path, left))
            one.take(path)
            if not step.recall:
                whole = Receiver(folder / f"whole-{at}", template)
                whole.take(complete(folder / f"complete-{at}", step.world, at))
                demand_alike(one, whole)
            if other.took(path) and not step.recall:
                demand_alike(other, whole)


def demand_alike(one: Receiver, whole: Receiver) -> None:
    """What a complete bundle would have brought is there, as it would have; what was there besides may stay."""
    for kind, rows in whole.answers.items():
        assert rows <= one.answers[kind], kind


def ours():
    from tests.bundle.carried import signers

    return signers()


def complete(folder: Path, world: World, at: int) -> Path:
    """A complete bundle of a world, of another sender's book."""
    folder.mkdir()
    (folder / "drafts").mkdir()
    sender = Sender(folder / "data", KEY, "lab", CREATED + timedelta(minutes=at), "mirror.acme.example", "")
    written(sender, collection(world, folder / "drafts", at), None, Carrier(folder / "bundle", Form.DIRECTORY, None))
    return folder / "bundle"


def without(target: Path, path: Path, lacking: str) -> Path:
    """The same bundle, signed anew by the same sender, without one of its parts."""
    with BundleReader(path) as reader, BundleWriter(target, Form.DIRECTORY) as writer:
        said = reader.signed(ours())
        for name, part in reader.parts.items():
            if name != lacking:
                with reader.open(part) as file:
                    writer.add_file(part, file)
        told: Statement = replace(said, subjects=writer.seal())
        writer.finish(sign(payload(told), [KEY]), created=told.created)
    return target


FIRST = World(frozenset({("a", 3)}), {"a": 0}, frozenset("a"))
#: The bytes of a page become those of a file, and a page goes back to what it was, for who went on meanwhile and for who did not.
TURNS = [Step(FIRST), Step(World(frozenset({("a", 3), ("b", 0)}), {"a": 5}, frozenset("a")), 1), Step(FIRST, 1)]
BACK = [TURNS[0], TURNS[1], Step(FIRST, 2)]


#: To make a history shorter takes minutes.
UNSHRUNK = (Phase.explicit, Phase.generate)


@settings(max_examples=4, deadline=None, derandomize=True, phases=UNSHRUNK, suppress_health_check=list(HealthCheck))
@example(steps=TURNS)
@example(steps=BACK)
@example(steps=[Step(FIRST), Step(FIRST, 0, recall=True), Step(FIRST, 1)])
@given(steps=STEPS)
def test_a_delta_is_what_its_receiver_lacks(template, steps):
    """Over random histories a delta has exactly the blobs that are not where its receiver looks for them; without any one of them nothing is taken, with all the receiver answers as after a complete bundle."""
    demand_minimal(template, steps)


@pytest.mark.torture
@settings(max_examples=150, deadline=None, derandomize=True, phases=UNSHRUNK, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_many_deltas_are_what_their_receivers_lack(template, steps):
    """As above, many times."""
    demand_minimal(template, steps)
