"""No spelling gets round a rule (P1, P2): every route of the running router, every way to write a name, cold and warm.

The routes come from the dialects that the product builds. A route that hands out contents or facts and for which
nobody has written a target here fails the suite by its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest

from mirror import config as configuration
from mirror.reply.routing import Handling, Route, find, normal_path, under
from mirror.wiring import build
from tests.acceptance.denied import POLICY, Denied, Spelling, build_hub, build_index, canonical, segment, spellings
from tests.acceptance.probe import Answer, Attacker, Probe, readings
from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import ALICE, CANARY, StandInHub, StandInIndex, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

Tell = Callable[[str, object], None]
#: Every request that the corpus gives.
ALL = 10**6
LONG = (pytest.mark.torture, pytest.mark.timeout(3600))
JUDGED = (Handling.CONTENT, Handling.FACTS)
#: How much of a canary is looked for: a range that cuts it must not pass for none.
MARK = CANARY[:6]
WAITS = {"lineage": {"patience": "8s"}}


# --- targets: one for each route, made from a spelling ------------------------------------------------------------------

Make = Callable[[Denied, Spelling], Sequence[Probe]]


def _get(template: str) -> Make:
    def make(denied: Denied, how: Spelling) -> Sequence[Probe]:
        places = {"prefix": denied.prefix, "plural": denied.plural, "name": how.name, "rev": how.rev, "path": how.path}
        return [Probe(template.format(**places, version=denied.version, file=denied.file_path) + how.query, what=how.what)]

    return make


def _tree(denied: Denied, how: Spelling) -> Sequence[Probe]:
    folder = denied.path.rpartition("/")[0]
    bases = [f"/api/{denied.plural}/{how.name}/tree/{how.rev}"]
    bases += [f"{bases[0]}/{quote(folder, safe='')}", f"{bases[0]}/{folder}"] if folder else []
    return [Probe(base + query, what=how.what) for base in bases for query in ("", "?recursive=true&expand=true")]


def _paths_info(denied: Denied, how: Spelling) -> Sequence[Probe]:
    target = f"/api/{denied.plural}/{how.name}/paths-info/{how.rev}"
    bodies = {
        "application/json": json.dumps({"paths": [denied.path, denied.path.rpartition("/")[0] or "."], "expand": True}),
        "application/x-www-form-urlencoded": f"paths={quote(denied.path, safe='')}&expand=true",
    }
    return [Probe(target, "POST", {"Content-Type": kind}, body.encode(), how.what) for kind, body in bodies.items()]


def _lfs(denied: Denied, how: Spelling) -> Sequence[Probe]:
    objects = {"operation": "download", "transfers": ["basic"], "objects": [{"oid": sha256(b"x").hexdigest(), "size": 1}]}
    body = json.dumps(objects).encode()
    return [
        Probe(f"/{denied.prefix}{how.name}{end}/info/lfs/objects/batch", "POST", {"Content-Type": "application/vnd.git-lfs+json"}, body, how.what)
        for end in (".git", "")
    ]  # fmt: skip


def _registry_blob(denied: Denied, how: Spelling) -> Sequence[Probe]:
    return [Probe(f"/v2/{how.name}/blobs/sha256:{sha256(denied.path.encode()).hexdigest()}{how.query}", what=how.what)]


def _file(denied: Denied, how: Spelling) -> Sequence[Probe]:
    return [Probe(place + how.query, what=how.what) for place in _places(denied, how.path)]


def _places(denied: Denied, name: str) -> list[str]:
    """Where PyPI's own path form would have the file, with and without `.metadata`."""
    folder = denied.file_path.rpartition("/")[0]
    if not folder.startswith("/packages/"):
        return []
    return [f"{folder}/{name}", f"{folder}/{name}.metadata", f"/{folder}//{name}", f"{folder}/{name}%2Emetadata"]


def _mapped(denied: Denied, how: Spelling) -> Sequence[Probe]:
    key = MAPPED.get(denied, "0" * 40)
    ends = ("", ".metadata") if denied in MAPPED else ("",)
    return [Probe(f"/packages/-/{key}/{how.path}{end}{how.query}", what=how.what) for end in ends]


def _named(denied: Denied, how: Spelling) -> Sequence[Probe]:
    return [
        Probe(f"/packages/{kind}/{denied.name[0]}/{how.name}/{how.path}{end}{how.query}", what=how.what)
        for kind, end in (("source", ""), ("py3", ""), ("py3", ".metadata"))
    ]


#: Mapped paths are taken from the mirror's own pages: {denied file: 40 hex digits}.
MAPPED: dict[Denied, str] = {}

TARGETS: dict[tuple[str, str], Make] = {
    ("huggingface", "resolve"): _get("/{prefix}{name}/resolve/{rev}/{path}"),
    ("huggingface", "raw"): _get("/{prefix}{name}/raw/{rev}/{path}"),
    ("huggingface", "resolve-cache"): _get("/api/resolve-cache/{plural}/{name}/{rev}/{path}"),
    ("huggingface", "tree"): _tree,
    ("huggingface", "paths-info"): _paths_info,
    ("huggingface", "refs"): _get("/api/{plural}/{name}/refs"),
    ("huggingface", "commits"): _get("/api/{plural}/{name}/commits/{rev}"),
    ("huggingface", "info"): _get("/api/{plural}/{name}"),
    ("huggingface", "info-revision"): _get("/api/{plural}/{name}/revision/{rev}"),
    ("huggingface", "auth-check"): _get("/api/{plural}/{name}/auth-check"),
    ("huggingface", "xet-token"): _get("/api/{plural}/{name}/xet-read-token/{rev}"),
    ("huggingface", "xet-reconstruction"): _get("/api/xet/v2/reconstructions/" + "0" * 64),
    ("huggingface", "xet-xorb"): _get("/api/xet/xorbs/" + "0" * 64 + "/0"),
    ("huggingface", "git"): _get("/{prefix}{name}.git/info/refs?service=git-upload-pack"),
    ("huggingface", "lfs"): _lfs,
    ("huggingface", "blob"): _get("/{prefix}{name}/blob/{rev}/{path}"),
    ("huggingface", "safetensors"): _get("/api/{plural}/{name}/safetensors-metadata/{path}"),
    ("huggingface", "parquet"): _get("/api/datasets/{name}/parquet"),
    ("huggingface", "parquet-file"): _get("/api/datasets/{name}/parquet/default/train/0.parquet"),
    ("huggingface", "runtime"): _get("/api/spaces/{name}/runtime"),
    ("huggingface", "events"): _get("/api/spaces/{name}/logs/run"),
    ("huggingface", "registry-manifest"): _get("/v2/{name}/manifests/Q4"),
    ("huggingface", "registry-blob"): _registry_blob,
    ("pypi", "page"): _get("/simple/{name}/"),
    ("pypi", "file"): _file,
    ("pypi", "mapped-file"): _mapped,
    ("pypi", "named-file"): _named,
    ("pypi", "provenance"): _get("/integrity/{name}/{version}/{path}/provenance"),
    ("pypi", "legacy"): _get("/pypi/{name}/json"),
    ("pypi", "legacy-release"): _get("/pypi/{name}/{version}/json"),
}

#: How else a request can be put, once it names the right thing.
MANNERS: tuple[tuple[str, dict[str, str]], ...] = (
    ("GET", {}),
    ("HEAD", {}),
    ("GET", {"Range": "bytes=0-"}),
    ("GET", {"Range": "bytes=0-9"}),
    ("GET", {"Range": "bytes=-64"}),
    ("GET", {"Range": "bytes=0-4,10-20,30-"}),
    ("GET", {"Range": "bytes=99999999-"}),
    ("GET", {"Range": "bytes=0-9", "If-Range": '"x"'}),
    ("HEAD", {"Range": "bytes=0-0"}),
    ("GET", {"If-None-Match": "*"}),
    ("HEAD", {"If-None-Match": "*"}),
    ("GET", {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}),
    ("GET", {"If-Match": "*", "Cache-Control": "only-if-cached"}),
    ("GET", {"Accept-Encoding": "gzip, deflate, br, zstd"}),
    ("GET", {"Accept-Encoding": "br"}),
    ("GET", {"Accept": "application/vnd.xet-fileinfo+json, */*"}),
    ("GET", {"Accept": "application/vnd.git-lfs+json"}),
    ("GET", {"X-HTTP-Method-Override": "HEAD", "X-HTTP-Method": "HEAD"}),
    ("GET", {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost", "X-Forwarded-Prefix": "/x", "X-Real-IP": "10.0.0.1"}),
    ("GET", {"Host": "localhost"}),
    ("GET", {"Host": "hf.localhost"}),
    ("GET", {"Host": "pypi.localhost"}),
    ("GET", {"Host": "evil.example"}),
    ("GET", {"Authorization": f"Bearer {ALICE}"}),
    ("GET", {"User-Agent": "llama-cpp", "Accept": "application/json"}),
    ("POST", {}),
    ("OPTIONS", {}),
)


# --- the suite ----------------------------------------------------------------------------------------------------------


class World:
    """The stand-ins, what is denied in them, and the routes of the product."""

    def __init__(self, hub: StandInHub, index: StandInIndex, denied: list[Denied], policy: str) -> None:
        self.hub, self.index, self.denied, self.policy = hub, index, denied, policy
        self.routes: list[tuple[str, str, Route]] = []

    def config(self, **more: object) -> dict[str, object]:
        hubs = {"huggingface": {"hosts": ["hf.localhost"]}, "pypi": {"hosts": ["pypi.localhost"]}}
        return {"hubs": hubs, **WAITS, **more}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Both upstreams up, and the table of routes as the product builds it."""
    hub, hub_denied, policy = build_hub()
    index, index_denied = build_index()
    with running(hub), running(index):
        made = World(hub, index, hub_denied + index_denied, policy)
        made.routes = routes_of_the_product(tmp_path_factory.mktemp("routes"), made)
        yield made


def routes_of_the_product(folder: Path, world: World) -> list[tuple[str, str, Route]]:
    """(dialect, mount, row) of every row, from `wiring.build` itself."""

    async def rows() -> list[tuple[str, str, Route]]:
        services = await build(configuration.load(folder / "mirror.yaml", {}))
        try:
            return [(dialect.name, dialect.mount, row) for dialect in services.front.dialects for row in dialect.routes]
        finally:
            await services.stop()

    (folder / "mirror.yaml").write_text("data: data\n", encoding="utf-8")
    return asyncio.run(rows())


def learn_mapped_paths(world: World, mirror: MirrorProcess) -> None:
    """The mirror's own names for files that are elsewhere than at PyPI's paths, as a client with an old lock file has them."""
    for denied in world.denied:
        if denied.hub == "pypi" and not denied.file_path.startswith("/packages/"):
            page = Attacker(mirror.url).get(f"/pypi/simple/{denied.name}/", Accept="application/vnd.pypi.simple.v1+json")
            urls = [row["url"] for row in json.loads(page.body)["files"] if row["filename"] == denied.path]
            MAPPED[denied] = urls[0].split("/packages/-/")[1].split("/")[0]


def applicable(denied: Denied, row: str) -> bool:
    if denied.hub == "pypi" and row == "mapped-file":
        return denied in MAPPED
    if denied.hub == "pypi" and row == "file":
        return denied.file_path.startswith("/packages/")
    return True


def probes(world: World, *, mixtures: int, letters: int, manners: int, seed: int) -> Iterator[tuple[Probe, Denied, Route]]:
    """Spellings for every route and every denied file. The first file of each rule gets all of them, the others a few."""
    rng = random.Random(seed)
    thorough: set[tuple[str, str]] = set()
    for hub, mount, row in world.routes:
        make = TARGETS.get((hub, row.name))
        for denied in world.denied if make else ():
            if denied.hub != hub or not applicable(denied, row.name):
                continue
            assert make is not None
            found = spellings(denied, rng, mixtures=mixtures, limit=letters)
            first = (row.name, denied.rule) not in thorough
            thorough.add((row.name, denied.rule))
            judged = row.handling in JUDGED
            share = 0 if not (first or judged) else 30 if first and row.handling is Handling.CONTENT else 6 if first else 2
            chosen = [found[0], *rng.sample(found[1:], min(share, len(found) - 1))]
            for number, how in enumerate(chosen):
                for probe in make(denied, how):
                    bases = [mount] if mount == "" else [mount, "", mount * 2] if number == 0 else [rng.choice([mount, ""])]
                    ways = MANNERS[1:] if number == 0 and first else rng.sample(MANNERS, manners if number == 0 else 1)
                    for base in bases:
                        spelt = replace(probe, target=base + probe.target)
                        yield spelt, denied, row
                        # What is refused whatever it asks for needs no manners.
                        for method, headers in ways if judged and base in (mount, "") else ():
                            yield _put(spelt, method, headers), denied, row


def _put(probe: Probe, method: str, headers: dict[str, str]) -> Probe:
    if probe.method == "POST":
        return replace(probe, headers={**probe.headers, **headers})
    return replace(probe, method=method, headers=headers, body=b"" if method in ("POST", "PUT") else None)


def absolute(world: World, url: str) -> Iterator[tuple[Probe, Denied, None]]:
    """Whole URLs for targets, of us, of a stranger and of the places where the bytes really are; and paths that no row has."""
    for denied in world.denied:
        how = canonical(denied)
        if denied.hub == "pypi":
            inner, real = f"/pypi{denied.file_path}", world.index.files_url + denied.file_path
        else:
            inner, real = f"/{denied.prefix}{how.name}/resolve/{how.rev}/{how.path}", world.hub.url
            real += inner
        for start in (url, "http://evil.example", "http://127.0.0.1:1", "https://huggingface.co", "http://u:p@localhost"):
            yield Probe(start + inner, what="absolute-form"), denied, None
        yield Probe(real, what="absolute-form of the upstream"), denied, None
        yield Probe("/" + real, what="URL as path"), denied, None
        if denied.hub == "pypi":
            continue
        for path, file in world.hub.repo(denied.name, denied.plural).commits[denied.commit].files.items():
            if path == denied.path and file.lfs:
                yield Probe(f"/xet-bridge-us/{world.hub.repo(denied.name, denied.plural).hub_id}/{file.xet}", what="CDN path"), denied, None
                yield Probe(f"/v2/{denied.name}/blobs/sha256:{file.sha256}", what="registry blob"), denied, None
        for odd in (
            f"/v2/{denied.name}/manifests/Q4", f"/{denied.prefix}{denied.name}/blob/main/{how.path}", f"/api/{denied.plural}/{denied.name}/parquet",
            f"/{denied.prefix}{denied.name}/%72esolve/{how.rev}/{how.path}", f"/%61pi/{denied.plural}/{denied.name}",
            f"/api/{denied.plural}/{denied.name}/resolve/{how.rev}/{how.path}", f"/models/{denied.name}/resolve/{how.rev}/{how.path}",
            f"/api/{denied.plural}/{denied.name}/%74ree/main", f"/buckets/{denied.name}/resolve/{how.path}", f"/{denied.prefix}{denied.name}",
            f"/api/resolve-cache/{denied.plural}/acme/tiny-bert/{how.rev}/{how.path}", f"/acme/tiny-bert/resolve/{how.rev}/{how.path}",
            f"/datasets/{denied.name}/resolve/{how.rev}/{how.path}", f"/api/models/{denied.name}/safetensors-metadata/{how.path}",
        ):  # fmt: skip
            yield Probe(odd, what="a path beside the table"), denied, None


def swapped(world: World) -> Iterator[tuple[Probe, Denied, None]]:
    """The digest path of a denied distribution with an innocent name, and the reverse."""
    fine = world.index.project("acme-lib").files[0]
    for denied in world.denied:
        if denied.hub == "pypi" and denied.file_path.startswith("/packages/"):
            folder = denied.file_path.rpartition("/")[0]
            yield Probe(f"/pypi{folder}/{fine.filename}", what="denied bytes, innocent name"), denied, None
            yield Probe(f"/pypi{fine.path.rpartition('/')[0]}/{denied.path}", what="innocent digest, denied name"), denied, None
            yield Probe(f"/packages/source/a/acme-lib/{denied.path}", what="denied name under another project"), denied, None


class Findings:
    """What the answers prove wrong, and what has to be on the record."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.leaks: list[str] = []
        self.decisions: dict[str, str] = {}
        self.requests: dict[str, str] = {}
        self.seen: dict[int, int] = {}
        self._attacker = Attacker(url)

    def look(self, probe: Probe, answer: Answer, denied: Denied, row: Route | None) -> None:
        """Judge one answer; redirects into the mirror are followed."""
        self.seen[answer.status] = self.seen.get(answer.status, 0) + 1
        self.look_inside(probe, answer, denied)
        if answer.status >= 500:
            self.leaks.append(f"{answer.status} {probe} <- {denied}: {answer.body[:200]!r}")
        if answer.header("Content-Encoding") not in ("", "gzip", "deflate", "zstd", "identity"):
            self.leaks.append(f"a coding that this suite cannot read in {probe}")
        strict = row is not None and (row.handling is Handling.CONTENT or (denied.hub == "huggingface" and denied.whole and row.handling is Handling.FACTS))
        innocent = probe.method in ("OPTIONS",)
        if strict and not innocent and answer.status < 300 or answer.status in (206, 304) and strict:
            self.leaks.append(f"{answer.status} where a refusal belongs: {probe} <- {denied} {answer.body[:80]!r}")
        if answer.status in (301, 302, 303, 307, 308):
            where = answer.header("Location")
            if not where.startswith("/") or where.startswith("//"):
                self.leaks.append(f"sent out of the house to {where}: {probe}")
            elif "followed" not in probe.what:
                again = replace(probe, target=where, what=probe.what + ", followed")
                self.look(again, self._attacker.send(again), denied, row)
        if answer.status in (403, 451):
            decision = answer.header("X-Mirror-Decision")
            (self.decisions if decision else self.requests)[decision or normal_path(probe.target)[0]] = str(probe)

    def look_inside(self, probe: Probe, answer: Answer, denied: Denied) -> None:
        """Whether a body gives away what it must not."""
        for text in readings(answer.body):
            if MARK in text:
                self.leaks.append(f"CANARY in {answer.status} {probe} <- {denied}")
            # An answer may repeat what was asked, nothing more.
            if any(secret in text for secret in denied.secrets if secret.decode() not in probe.target):
                self.leaks.append(f"digest of a denied file in {answer.status} {probe} <- {denied}")

    def attack(self, work: Sequence[tuple[Probe, Denied, Route | None]], *, outage: bool = False) -> None:
        answers = self._attacker.all([probe for probe, _, _ in work])
        # A machine that is busy may not find out in time: what is told to come back does so, and then has to be answered.
        late = [place for place, (_, answer) in enumerate(answers) if answer.status == 503 and answer.header("Retry-After") and not outage]
        for place, again in zip(late, self._attacker.all([work[place][0] for place in late], lines=4), strict=True):
            self.look_inside(work[place][0], answers[place][1], work[place][1])
            answers[place] = again
        for (probe, denied, row), (_, answer) in zip(work, answers, strict=True):
            self.look(probe, answer, denied, row)

    def tried(self) -> dict[str, int]:
        """How much was asked for, counted for the end of the run."""
        return {"requests": sum(self.seen.values()), "decisions looked up": len(self.decisions)}

    def check(self, mirror: MirrorProcess, at_least: int) -> None:
        """Nothing leaked, enough was refused to mean something, and every refusal is in the ledger."""
        assert not self.leaks, f"{len(self.leaks)} leaks:\n" + "\n".join(self.leaks[:25])
        assert len(self.decisions) >= 10
        assert self.seen.get(451, 0) + self.seen.get(403, 0) >= at_least, self.seen
        events = mirror.events()
        decided = {event["decision"]["id"] for event in events if event.get("decision")}
        # Repeats of one refused route are one event with a count, which names the route but not each request.
        noted = {event["subject"].rpartition(" ")[2].removeprefix("huggingface:")[:180] for event in events if event.get("subject")}
        missing = [probe for decision, probe in self.decisions.items() if decision not in decided]
        missing += [probe for path, probe in self.requests.items() if not noted & {path[:180], path.removeprefix("/pypi")[:180]}]
        assert not missing, f"{len(missing)} refusals are not on the record:\n" + "\n".join(missing[:20])
        assert "Traceback" not in mirror.log.read_text(encoding="utf-8")


def test_every_judged_route_has_a_target(world: World) -> None:
    """Each route of the running router that hands out contents or facts is attacked by this suite, and its target reaches it."""
    missing = [f"{hub}: {row.name}" for hub, _, row in world.routes if row.handling in JUDGED and (hub, row.name) not in TARGETS]
    assert not missing, f"routes without a target in {Path(__file__).name}: {missing}"
    assert {hub for hub, _, _ in world.routes} == {"huggingface", "pypi"}
    MAPPED.update({denied: "0" * 40 for denied in world.denied if denied.hub == "pypi" and not denied.file_path.startswith("/packages/")})
    for hub, mount, row in world.routes:
        if (hub, row.name) not in TARGETS:
            continue
        denied = next(one for one in world.denied if one.hub == hub and applicable(one, row.name))
        probe = TARGETS[hub, row.name](denied, canonical(denied))[0]
        table = [other for name, _, other in world.routes if name == hub]
        path, _ = normal_path(mount + probe.target)
        found = find(table, probe.method, under(mount, path) or "")
        assert isinstance(found, tuple), f"{row.name}: {probe.target} is in no row"
        assert found[0].name == row.name, f"the target of {row.name} reaches {found[0].name}"
    MAPPED.clear()


def everything(world: World, url: str, *, mixtures: int, letters: int, manners: int, seed: int) -> list[tuple[Probe, Denied, Route | None]]:
    return [*probes(world, mixtures=mixtures, letters=letters, manners=manners, seed=seed), *absolute(world, url), *swapped(world)]


@pytest.mark.parametrize("count", [2200, pytest.param(ALL, marks=LONG, id="all")])
def test_cold(world: World, tmp_path: Path, count: int, record_property: Tell) -> None:
    """With nothing cached, no spelling of a denied artifact gets one byte of it, and every refusal is in the ledger."""
    with running_mirror(tmp_path / "mirror", world.hub, world.index, world.policy, **world.config()) as mirror:
        learn_mapped_paths(world, mirror)
        findings = Findings(mirror.url)
        work = _few(everything(world, mirror.url, mixtures=60, letters=6, manners=2, seed=1), count)
        findings.attack(work)
        findings.check(mirror, at_least=len(work) // 4)
    record_property("tried", findings.tried())
    assert not world.hub.requests.where(origin="cas")


@pytest.mark.parametrize(("count", "away"), [(1400, 500), pytest.param(ALL, 3000, marks=LONG, id="all")])
def test_warm(world: World, tmp_path: Path, count: int, away: int, record_property: Tell) -> None:
    """What was cached while it was allowed is refused from the moment a rule denies it: online, with the hub gone, and offline (P1)."""
    mirror = MirrorProcess(tmp_path / "mirror", {**_upstreams(world), **WAITS}).start()
    try:
        learn_mapped_paths(world, mirror)
        _cache_everything(world, mirror)
        mirror.set_policy(world.policy)
        online = Findings(mirror.url)
        work = _few(everything(world, mirror.url, mixtures=40, letters=4, manners=2, seed=2), count)
        online.attack(work)
        online.check(mirror, at_least=len(work) // 3)
        with _outage(world):
            gone = Findings(mirror.url)
            gone.attack(_few(everything(world, mirror.url, mixtures=20, letters=2, manners=1, seed=3), away), outage=True)
            gone.leaks = _without_outages(gone.leaks)
            gone.check(mirror, at_least=away * 28 // 100)
            mirror.stop()
            mirror.config["network"] = "offline"
            mirror.start()
            offline = Findings(mirror.url)
            offline.attack(_few(everything(world, mirror.url, mixtures=20, letters=2, manners=1, seed=4), away), outage=True)
            offline.leaks = _without_outages(offline.leaks)
            offline.check(mirror, at_least=away * 28 // 100)
            record_property("tried", online.tried() | {"requests": sum(sum(one.seen.values()) for one in (online, gone, offline))})
            mirror.set_policy("version: 1\nrules: []\n")
            assert CANARY in Attacker(mirror.url).get(_canonical_target(world.denied[0])).body, "the bytes were never there to be refused"
    finally:
        mirror.stop()


def test_forwarding_opens_no_way_round(world: World, tmp_path: Path) -> None:
    """With `unknown_routes: forward`, no spelling of a judged route is forwarded as an unknown one."""
    config = world.config()
    config["hubs"]["huggingface"]["unknown_routes"] = "forward"  # type: ignore[index]
    with running_mirror(tmp_path / "mirror", world.hub, world.index, world.policy, **config) as mirror:
        attacker = Attacker(mirror.url)
        assert attacker.get("/api/daily_papers").status != 403, "nothing is forwarded, so nothing is proven"
        world.hub.requests.clear()
        bad: list[str] = []
        work = list(_disguised(world))
        for (probe, denied), (_, answer) in zip(work, attacker.all([probe for probe, _ in work], lines=64), strict=True):
            if any(MARK in text for text in readings(answer.body)) or answer.status in (200, 206):
                bad.append(f"{answer.status} {probe} <- {denied}: {answer.body[:120]!r}")
        assert not bad, "\n".join(bad)


def _disguised(world: World) -> Iterator[tuple[Probe, Denied]]:
    for denied in (one for one in world.denied if one.hub == "huggingface" and one.whole and one.path in ("config.json", "notes.txt")):
        how = canonical(denied)
        for verb in ("resolve", "raw"):
            for i in range(len(verb)):
                spelt = f"{verb[:i]}%{ord(verb[i]):02x}{verb[i + 1:]}"
                yield Probe(f"/{denied.prefix}{how.name}/{spelt}/{how.rev}/{how.path}", what="escaped verb"), denied
        for path in ("%61pi", "ap%69"):
            yield Probe(f"/{path}/{denied.plural}/{how.name}", what="escaped api"), denied
            yield Probe(f"/{path}/resolve-cache/{denied.plural}/{how.name}/{how.rev}/{how.path}", what="escaped api"), denied
        for tail in ("%74ree/main", "tre%65/main", "%78et-read-token/main", "revi%73ion/main", "commit%73/main", "%72efs", "parquet", "scan", "treesize/main"):
            yield Probe(f"/api/{denied.plural}/{how.name}/{tail}", what="escaped API verb"), denied
        yield Probe(f"/api/model%73/{how.name}", what="escaped kind"), denied
        yield Probe(f"/v2/{how.name}/manifests/Q4", headers={"User-Agent": "llama-cpp"}, what="registry"), denied


# --- pieces -------------------------------------------------------------------------------------------------------------


def _upstreams(world: World) -> dict[str, object]:
    from tests.support.mirror import upstream_config

    base = upstream_config(world.hub, world.index)
    base["hubs"]["huggingface"]["hosts"] = ["hf.localhost"]
    base["hubs"]["pypi"]["hosts"] = ["pypi.localhost"]
    return base


def _canonical_target(denied: Denied) -> str:
    how = canonical(denied)
    if denied.hub == "huggingface":
        return f"/{denied.prefix}{how.name}/resolve/{how.rev}/{how.path}"
    if denied in MAPPED:
        return f"/pypi/packages/-/{MAPPED[denied]}/{how.path}"
    return f"/pypi{denied.file_path.rpartition('/')[0]}/{how.path}"


def _cache_everything(world: World, mirror: MirrorProcess) -> None:
    """Fetch every denied file, its metadata and its pages while nothing is denied. This also shows that a canary is seen where it is."""
    attacker = Attacker(mirror.url)
    for denied in world.denied:
        target = _canonical_target(denied)
        assert CANARY in attacker.get(target).body, f"{denied} is not to be had even when it is allowed"
        if denied.hub == "pypi" and denied.path.endswith(".whl"):
            assert CANARY in attacker.get(target + ".metadata").body
            attacker.get(f"/pypi/integrity/{denied.name}/{quote(denied.version)}/{canonical(denied).path}/provenance")
        if denied.hub == "pypi":
            attacker.get(f"/pypi/simple/{denied.name}/")
            continue
        attacker.get(f"/{denied.prefix}{denied.name}/raw/main/{canonical(denied).path}")
        for revision in denied.revisions:
            base = f"/api/{denied.plural}/{denied.name}"
            assert attacker.get(f"{base}/revision/{segment(revision)}").status == 200
            attacker.get(f"{base}/tree/{segment(revision)}?recursive=true&expand=true")
            attacker.get(f"/{denied.prefix}{denied.name}/resolve/{segment(revision)}/{canonical(denied).path}")
        for alias in (denied.name, *denied.aliases):
            attacker.get(f"/api/{denied.plural}/{alias}")
            attacker.get(f"/{denied.prefix}{alias}/resolve/main/{canonical(denied).path}")


def _few(work: list[tuple[Probe, Denied, Route | None]], count: int) -> list[tuple[Probe, Denied, Route | None]]:
    return random.Random(5).sample(work, min(count, len(work)))


def _without_outages(leaks: list[str]) -> list[str]:
    """With nobody upstream a spelling that was never seen is answered 502, 503 or 504: no leak."""
    return [leak for leak in leaks if not leak.startswith(("502 ", "503 ", "504 "))]


@contextlib.contextmanager
def _outage(world: World) -> Iterator[None]:
    world.hub.go_down()
    world.index.go_down()
    try:
        yield
    finally:
        world.hub.come_back()
        world.index.come_back()


assert "publisher: [initech]" in POLICY
