"""The work of `mirror bundle export`: asking for what is wanted, gathering it, and writing the bundle."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mirror.bundle.contents import PACK, EvidenceRow, HubRow, ListFile, ListRow, artifact_of, micros
from mirror.bundle.gather import BRANCH, Collection, Gathering, Noting, by_turns
from mirror.bundle.plan import Outcome, State, WantedFile
from mirror.bundle.wants import repo_of
from mirror.core.canonical import canonical
from mirror.core.errors import MirrorError
from mirror.core.nouns import HUGGINGFACE, Artifact, Kind, Project
from mirror.hubs.huggingface.paths import Repo
from mirror.hubs.pypi.paths import METADATA
from mirror.store.reading import DiskBlobs

if TYPE_CHECKING:
    from mirror.cli.bundle_hubs import Hubs
    from mirror.cli.sync_mirror import Reached
    from mirror.cli.sync_wants import Wanted
    from mirror.clock_wiring import SystemClock
    from mirror.config import Config
    from mirror.core.actor import Credential
    from mirror.hubs.pypi.hub import PypiHub
    from mirror.index.sql import SqlIndex
    from mirror.policy.epoch import Epoch

#: How long a lineage may take to be found out: nobody waits for an answer.
_LINEAGE: Final = timedelta(seconds=60)
#: How long nothing more may come on record of how files came that came just now, in seconds.
_RECORDED: Final = 5.0


@dataclass(slots=True)
class Heard:
    """`bundle.sync.Audience`: what became of everything, and what is worth knowing."""

    outcomes: list[Outcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    names: dict[str, set[str]] = field(default_factory=dict)  # by project, how its repository was called

    def planned(self, files: int, size: int) -> None:
        """Nothing is shown."""

    def spared(self, size: int) -> None:
        """Nothing is shown."""

    def came(self, count: int) -> None:
        """Nothing is shown."""

    def outcome(self, outcome: Outcome) -> None:
        """Keep it."""
        self.outcomes.append(outcome)

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


@dataclass(frozen=True, slots=True)
class Ground:
    """What an export stands on."""

    config: Config
    mirror: Reached
    index: SqlIndex
    store: DiskBlobs
    epoch: Epoch
    hubs: Hubs
    client: Noting
    clock: SystemClock
    credential: Credential | None
    jobs: int

    @property
    def huggingface(self) -> str:
        """The instance that clients get by default, as `mirror sync` is one."""
        names = [name for name, row in self.config.hubs.items() if row.dialect == HUGGINGFACE]
        names.sort(key=lambda name: bool(self.config.hubs[name].hosts or self.config.hubs[name].port))
        return names[0] if names else ""

    @property
    def pypi(self) -> str:
        """The same of indexes: the one at `mirror.index`."""
        mount = self.mount
        return next((name for name, row in self.config.hubs.items() if row.dialect == "pypi" and row.mount.rstrip("/") == mount), "")

    @property
    def mount(self) -> str:
        """The path of the index, as files have it."""
        return urlsplit(self.mirror.index or "").path.rstrip("/").removesuffix("/simple")


@asynccontextmanager
async def ground(config: Config, url: str | None, token: str | None, jobs: int) -> AsyncIterator[Ground]:
    """Everything opened. Raises `InputError`."""
    from mirror.bundle.fetch import session
    from mirror.cli.bundle_hubs import credential_of, hubs_over
    from mirror.cli.sync_mirror import reached
    from mirror.clock_wiring import clock_of
    from mirror.index.sql import SqlIndex
    from mirror.screen_wiring import findings_ready
    from mirror.wiring import installation_key, rulebook_of

    async with reached(config, url, pin=False) as mirror, session(jobs) as connections:
        clock, store = clock_of(config), DiskBlobs(config.data)
        index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
        try:
            rulebook = rulebook_of(config, clock)
            await findings_ready(rulebook, index, None, clock)
            credential = credential_of(token, installation_key(config.data / "secret.key"))
            offline = config.network == "offline"
            async with hubs_over(config, index, rulebook.current, clock, offline=offline, patience=_LINEAGE) as hubs:
                client = Noting(connections, mirror.address, token, 3)
                yield Ground(config, mirror, index, store, rulebook.current, hubs, client, clock, credential, jobs)
        finally:
            await store.close()
            await index.close()


@asynccontextmanager
async def put_by(data: Path) -> AsyncIterator[Path]:
    """A folder for what is gathered, on the disk of the data; gone afterwards."""
    (data / "bundles").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="draft-", dir=data / "bundles") as folder:
        yield Path(folder)


# --- what is asked for --------------------------------------------------------------------------------------------


async def wanted_by(here: Ground, wanted: Wanted, heard: Heard) -> Mapping[tuple[str, str], set[str]]:
    """Ask the mirror for all that is wanted, as `mirror sync` does without pins; which revisions lead to each (project, commit).

    Raises `InputError` where the mirror has no hub for it.
    """
    from mirror.bundle.resolve import find_uv, resolve
    from mirror.bundle.sync import Manner, Sync
    from mirror.cli.sync_origin import descended
    from mirror.cli.sync_wants import demand

    demand(here.mirror, wanted)
    uv = find_uv() if wanted.closures else ""
    sync = Sync(
        here.client, lambda closure: resolve(uv, here.mirror.index or "", closure), here.mirror.origins, Manner(wanted.wants.name, here.jobs), heard,
        lambda: datetime.now(UTC), here.mirror.index,
    )  # fmt: skip
    wanted, _ = await descended(here.client, wanted, heard.note)
    repositories = [*wanted.wants.repositories(), *wanted.repositories]
    await sync.run(repositories, wanted.closures, wanted.locked, wanted.used)
    revisions: dict[tuple[str, str], set[str]] = {}
    for kind, want in repositories:
        try:
            page = await here.hubs.huggingface[here.huggingface].pages.repository(repo_of(kind, want), want.revision, here.credential)
        except MirrorError:
            continue  # told by `sync` already
        heard.names.setdefault(str(page.project), set()).add(want.id)
        revisions.setdefault((str(page.project), page.commit), set()).add(want.revision)
    return revisions


async def stored(here: Ground, patterns: Sequence[str] | None, heard: Heard) -> None:
    """Ask the mirror for everything that is in its store, as far as `patterns` name it (None: all)."""
    from mirror.core.ports import Pin
    from mirror.proxy.eviction import BATCH, Pinned

    named = None if patterns is None else Pinned([Pin(pattern, "", here.clock.now()) for pattern in patterns])
    files: dict[str, WantedFile] = {}
    async for batch in here.index.idle_holdings(BATCH):
        for artifact in (one for holding in batch for one in holding.artifacts if named is None or named.names(one)):
            file = await _at_mirror(here, artifact, heard)
            if file is not None:
                files[str(artifact)] = file
    await by_turns((_asked(here, file, heard) for file in files.values()), here.jobs)


async def never_here(config: Config, patterns: Sequence[str]) -> list[str]:
    """Those of these patterns that name nothing that is in the store or was sent from here. Raises `InputError`, `IndexDown`."""
    from mirror.bundle.sent import ever_sent
    from mirror.core.ports import Pin
    from mirror.index.sql import SqlIndex
    from mirror.proxy.eviction import BATCH, Pinned

    left = {pattern: Pinned([Pin(pattern, "", datetime.now(UTC))]) for pattern in patterns}

    def seen(artifacts: Iterable[Artifact]) -> None:
        for artifact in artifacts:
            for pattern in [one for one, names in left.items() if names.names(artifact)]:
                del left[pattern]

    await asyncio.to_thread(lambda: seen(ever_sent(config.data)))
    index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
    try:
        async for batch in index.idle_holdings(BATCH):
            seen(artifact for holding in batch for artifact in holding.artifacts)
    finally:
        await index.close()
    return list(left)


async def _asked(here: Ground, file: WantedFile, heard: Heard) -> None:
    from mirror.bundle.fetch import Declined

    name = str(file.artifact)
    try:
        found = await here.client.standing(file)
    except Declined as no:
        heard.outcome(Outcome(name, no.state, file.size, no.sentence, no.rule, no.decision))
        return
    heard.outcome(Outcome(name, State.HERE if found.here else State.MISSING, found.size))


async def _at_mirror(here: Ground, artifact: Artifact, heard: Heard) -> WantedFile | None:
    project = artifact.project
    if project.hub == here.huggingface:
        return WantedFile(artifact, Repo.of(project).file("resolve", artifact.revision, artifact.path))
    if project.hub != here.pypi:
        heard.note(f"{artifact} is of {project.hub}, which is not served at the mirror's usual address: left out")
        return None
    if artifact.path.endswith(METADATA):
        return None  # it comes with its wheel
    try:
        listed = (await here.hubs.pypi[here.pypi].page(project.name)).page.by_name.get(artifact.path)
    except MirrorError as error:
        heard.outcome(Outcome(str(artifact), State.FAILED, sentence=str(error)))
        return None
    if listed is None:
        heard.outcome(Outcome(str(artifact), State.MISSING, sentence="its project's page does not list it any more"))
        return None
    return WantedFile(artifact, f"{here.mount}{listed.path}", hub=False)


# --- what goes into it --------------------------------------------------------------------------------------------


async def collected(here: Ground, revisions: Mapping[tuple[str, str], set[str]], created: datetime, heard: Heard, folder: Path) -> Collection:
    """Everything that the mirror let us have, with what is told of it; pages are put by in `folder`."""
    gathering = Gathering(here.index, here.store, here.clock, here.credential, created, folder)
    repositories: dict[tuple[Kind, str, str], list[str]] = {}
    packages: dict[str, list[str]] = {}
    for file in here.client.here.values():
        artifact = file.artifact
        if artifact.project.ecosystem == HUGGINGFACE:
            repositories.setdefault((artifact.project.kind, artifact.project.name, artifact.revision), []).append(artifact.path)
        else:
            packages.setdefault(artifact.project.name, []).append(artifact.path)
    for (kind, name, commit), paths in sorted(repositories.items()):
        project = Project(HUGGINGFACE, kind, name, here.huggingface)
        try:
            led = revisions.get((str(project), commit), set()) | {BRANCH}
            await gathering.repository(here.hubs.huggingface[here.huggingface], project, commit, paths, led, heard.names.get(str(project), set()))
        except MirrorError as error:
            heard.outcome(Outcome(str(Artifact(project, commit, "")), State.FAILED, sentence=str(error)))
    index: PypiHub | None = here.hubs.pypi.get(here.pypi)

    async def package(name: str, files: Sequence[str]) -> None:
        if index is None:
            return
        try:
            await gathering.package(index, here.client, here.mount, name, files)
        except MirrorError as error:
            heard.outcome(Outcome(f"pkg:pypi/{name}", State.FAILED, sentence=str(error)))

    await by_turns((package(name, files) for name, files in sorted(packages.items())), here.jobs)
    await here.hubs.gateway.written()
    await gathering.pages()
    await _came(here, gathering.found, micros(created), heard)
    for name, why in gathering.found.lacking:
        heard.outcome(Outcome(name, State.MISSING, sentence=why))
    _judged_by(here, gathering.found)
    return gathering.found


async def _came(here: Ground, found: Collection, created: int, heard: Heard) -> None:
    """How each file came. Of what came a moment ago it is on record a moment later."""
    from mirror.bundle.acquired import carried, gathered
    from mirror.store.archive import EvidenceArchive

    names = carried(found)
    artifacts = [artifact_of(rows[0].artifact, {rows[0].artifact.hub: rows[0].artifact.hub}) for rows in names.values()]
    awaited = {one.name for one in heard.outcomes if one.state is State.FETCHED and one.name in names}
    awaited |= {name for name, rows in names.items() if name.endswith(METADATA) and rows[0].stored_at > created}  # came with its wheel
    left, until = len(awaited), time.monotonic() + _RECORDED
    while True:
        acquired = await here.index.acquisitions(artifacts)
        lacking = len(awaited - {str(one.artifact) for one in acquired})
        if lacking < left:
            left, until = lacking, time.monotonic() + _RECORDED
        if not lacking or time.monotonic() > until:
            break
        await asyncio.sleep(0.2)
    if lacking:
        heard.note(f"{lacking} files came just now, and how is not on record yet: of them this bundle does not tell it")
    heard.notes += await asyncio.to_thread(lambda: list(gathered(found, acquired, EvidenceArchive(here.config.data / "evidence").read)))


def _judged_by(here: Ground, found: Collection) -> None:
    """The hubs' names, the lists in force, and what the sender judged with."""
    from mirror.lists.editions import store_of
    from mirror.lists.signed import current_file

    config, epoch = here.config, here.epoch
    for name, row in config.hubs.items():
        found.rows.add(HubRow(name, row.dialect, row.upstreams[0] if row.upstreams else ""))
    editions = store_of(config.data)
    for name, settings in config.lists.items():
        kept = editions.current(name, settings)
        if kept is None:
            continue
        files = []
        for part in editions.parts(name, kept):
            digest = sha256(part.data).hexdigest()
            found.data("application/octet-stream", f"lists/{name}/{Path(part.name).name}", digest, part.data)
            files.append(ListFile(part.name, digest, len(part.data)))
        confirmed = editions.standing(name).confirmed_at or kept.adopted_at
        found.rows.add(ListRow(name, kept.loader, kept.edition, kept.entries, tuple(files), micros(confirmed)))
    policy = canonical([list(pair) for pair in epoch.policy.texts])
    judged = [("policy", policy), ("catalogue", epoch.catalogue.content), ("lineage", epoch.lineage.content), ("rulebook", epoch.manifest)]
    if config.catalogue_pack.source is not None and current_file(config.data).exists():
        judged.append((PACK, current_file(config.data).read_bytes()))
    for kind, data in judged:
        digest = sha256(data).hexdigest()
        found.data("application/json", f"evidence/{kind}.json", digest, data)
        found.rows.add(EvidenceRow(kind, digest, len(data)))


def refused_in(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """What did not come along, each once."""
    return list({(one.name, one.state): one for one in outcomes if not one.state.fine}.values())

