"""What is asked of a mirror with a network and of one that has nothing but a bundle, and what may differ between the answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tests.bundle.test_carried import enrolled, here
from tests.support.mirror import MirrorProcess, Reply, running_mirror
from tests.support.standin import ALICE, BOB, StandInHub, StandInIndex, populate, running_hub, running_index
from tests.support.standin.defaults import card

PAGE: Final = Path(__file__).parents[2] / "docs" / "airgap.md"
JSON: Final = "application/vnd.pypi.simple.v1+json"
#: Everything that a client reads from an answer beside its body.
HEADERS: Final = (
    *("etag", "x-repo-commit", "x-linked-etag", "x-linked-size", "content-type", "content-length", "content-range", "accept-ranges", "location"),
    *("link", "x-total-count", "x-error-code", "x-error-message", "x-hf-warning", "last-modified", "content-disposition", "cache-control", "vary"),
    *("x-pypi-last-serial", "www-authenticate", "docker-content-digest", "content-security-policy", "x-revision", "retry-after"),
)
#: A token of the mirror itself, of a group that the organisation lends its right to: each mirror has its own.
READER: Final = "(reader)"
_OWN: Final = (
    (r"cursor=[^&>]*", "cursor=(own)"), (r"mirror-[0-9a-f]{12}", "mirror-(own)"),
    (r'"role":"read","createdAt":"[^"]*","expiresAt":"[^"]*"', '"role":"read","createdAt":"(own)","expiresAt":"(own)"'),
)  # fmt: skip
_ROW: Final = re.compile(r"\| `([a-z-]+)` \| (.+?) \| (.+?) \| (\d{3})(?: `(\w+)`)?: “(.+?)” \|")


@dataclass(frozen=True)
class Asked:
    """One request. `otherwise` names the row of the page by which the answer differs; empty: it is the same."""

    target: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    otherwise: str = ""

    def of(self, place: Place) -> Reply:
        headers = dict(self.headers)
        if headers.get("Authorization") == f"Bearer {READER}":
            headers["Authorization"] = f"Bearer {place.token}"
        if "Host" in headers:
            headers["Host"] = headers["Host"].replace("(mirror)", place.mirror.url.partition("//")[2])
        return place.mirror.get(self.target, method=self.method, headers=headers, body=self.body)


@dataclass(frozen=True)
class Place:
    """A mirror, and a token of its own."""

    mirror: MirrorProcess
    token: str

    def told(self, asked: Asked, reply: Reply) -> tuple[int, dict[str, str], str]:
        """Status, headers and body, with what is each mirror's own made alike."""
        body, own = reply.body.decode("latin-1"), False
        headers = {name: reply.headers[name] for name in HEADERS if reply.headers.get(name) is not None}
        for text in (body, *headers.values()):
            own = own or self.mirror.url in text or "mirror-" in text
        # A page that holds the mirror's address has an entity tag of its own there; of HEAD the page is not seen.
        if own or (asked.method == "HEAD" and "/simple/" in asked.target):
            headers["etag"] = "(own)"
        return reply.status, {name: self._alike(text) for name, text in headers.items()}, self._alike(body)

    def _alike(self, text: str) -> str:
        text = text.replace(self.mirror.url, "(mirror)")
        for pattern, word in _OWN:
            text = re.sub(pattern, word, text)
        return text


@dataclass(frozen=True)
class Row:
    """A row of the page: which routes, and how a mirror without a network answers."""

    routes: frozenset[str]
    status: int
    code: str
    says: str

    def holds(self, reply: Reply) -> bool:
        said = f"{reply.headers.get('X-Error-Message') or reply.reason} {reply.body.decode('latin-1')}"
        return (reply.status, reply.headers.get("X-Error-Code") or "") == (self.status, self.code) and self.says in said


def exceptions() -> dict[str, Row]:
    """The rows of docs/airgap.md's table."""
    found = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {
        name: Row(frozenset(re.findall(r"`([\w-]+)`", routes)), int(status), code, says) for name, routes, _, status, code, says in found
    }  # fmt: skip


def wants(*, rows: str = "part-0000*") -> str:
    """What is carried."""
    return f"""
version: 1
name: outside
models:
  - {{id: acme/tiny-bert}}
  - {{id: acme/tiny-bert, revision: feature/x}}
  - {{id: acme/tiny-bert, revision: refs/pr/1}}
  - {{id: acme/odd-names}}
  - {{id: acme/old-name}}
  - {{id: acme/gated-auto}}
  - {{id: acme/secret}}
  - {{id: acme/disabled-info}}
  - {{id: acme/adapter}}
  - {{id: acme/tuned}}
  - {{id: quantbarn/solid-7b-merge-GGUF, allow: ["*Q8_0.gguf", "README.md"]}}
datasets:
  - {{id: acme/reviews}}
  - {{id: acme/rows, allow: ["{rows}"]}}
spaces:
  - {{id: acme/demo}}
packages:
  - {{requirement: "acme-app==1.0", python: ["3.11"], platforms: [linux]}}
  - {{requirement: "acme-attested", python: ["3.11"], platforms: [linux]}}
  - {{requirement: "Foo.Bar_baz", python: ["3.11"], platforms: [linux]}}
  - {{requirement: "acme-archived", python: ["3.11"], platforms: [linux]}}
  - {{requirement: "acme-old-style", python: ["3.11"], platforms: [linux]}}
"""


def everything(hub: StandInHub, index: StandInIndex, *, whole: bool) -> Iterator[Asked]:
    """Every route of a hub and of an index; `whole`: in every combination of kind, revision and form, else in a few of each."""
    for plural, name, path in (("models", "acme/tiny-bert", "config.json"), ("datasets", "acme/reviews", "data/train.csv"), ("spaces", "acme/demo", "app.py")):
        repo = hub.repo(name, plural)
        main = plural == "models"
        for revision in ("main", repo.head) if whole or main else ("main",):
            yield from about(plural, name, revision, path, whole=whole or (main and revision == "main"))
            yield from content(plural, name, revision, path, repo.commits[repo.head].files[path].oid)
        yield from apart(plural, name, repo.head, path)
    yield from names(hub, whole=whole)
    yield from rights(whole=whole)
    yield from derived(hub)
    yield from directory()
    yield from packages(index, whole=whole)


# --- Hugging Face -----------------------------------------------------------------------------------------------------


def about(plural: str, name: str, revision: str, path: str, *, whole: bool) -> Iterator[Asked]:
    """Pages of one revision."""
    base = f"/api/{plural}/{name}"
    queries = ["", "?blobs=true", "?securityStatus=true", "?blobs=true&securityStatus=true", "?expand=sha&expand=tags", "?expand[]=cardData&expand[]=sha"]
    queries += ["?expand=siblings", "?expand=usedStorage&expand=lastModified", "?full=true"]
    queries += ["?expand=baseModels&expand=childrenModelCount&expand=safetensors&expand=downloadsAllTime"] * (plural == "models")
    for query in queries if whole else queries[:5]:
        yield Asked(f"{base}/revision/{revision}{query}")
        if revision == "main":
            yield Asked(f"{base}{query}")
    trees = ["", "?recursive=true", "?recursive=true&expand=true", "?recursive=true&expand=false", "?recursive=false&expand=false", "?expand=true"]
    trees += ["?limit=2", "?recursive=true&limit=3", "?expand=true&limit=1"]
    for query in trees if whole else trees[:3]:
        yield Asked(f"{base}/tree/{revision}{query}")
    yield Asked(f"{base}/tree/{revision}/no/such/folder")
    for body in ({"paths": [path, "nothing"], "expand": False}, {"paths": [path], "expand": True}, {"paths": [path.partition("/")[0]]}):
        yield Asked(f"{base}/paths-info/{revision}", "POST", {"Content-Type": "application/json"}, json.dumps(body).encode())
    yield Asked(f"{base}/paths-info/{revision}", "POST", {"Content-Type": "application/x-www-form-urlencoded"}, f"paths={path}&expand=true".encode())
    for query in ("", "?p=0&limit=1", "?p=1&limit=1", "?expand[]=formatted"):
        yield Asked(f"{base}/commits/{revision}{query}")
    yield Asked(f"{base}/xet-read-token/{revision}")


def content(plural: str, name: str, revision: str, path: str, oid: str) -> Iterator[Asked]:
    """A file, and one that is not there."""
    prefix = "" if plural == "models" else f"{plural}/"
    here = f"/{prefix}{name}/resolve/{revision}/{path}"
    for method in ("GET", "HEAD"):
        yield Asked(here, method)
        yield Asked(here, method, {"Range": "bytes=1-4"})
        yield Asked(here, method, {"If-None-Match": f'"{oid}"'})
        yield Asked(f"/{prefix}{name}/raw/{revision}/{path}", method)
        yield Asked(f"/{prefix}{name}/resolve/{revision}/optional.json", method)
    yield Asked(here, "GET", {"Range": "bytes=999999-"})
    yield Asked(f"/{prefix}{name}/blob/{revision}/{path}")


def apart(plural: str, name: str, commit: str, path: str) -> Iterator[Asked]:
    """What knows no revision, other protocols, and what no mirror serves."""
    base, prefix = f"/api/{plural}/{name}", "" if plural == "models" else f"{plural}/"
    yield from (Asked(f"{base}{tail}") for tail in ("/refs", "/refs?include_prs=1", "/refs?include_prs=true", "/auth-check", "/discussions", "/xet-write-token/main"))
    yield Asked(f"/api/resolve-cache/{plural}/{name}/{commit}/{path}")
    yield Asked(f"/api/resolve-cache/{plural}/{name}/main/{path}")
    # The rule on lineage could refuse a file of a model: no pack of one is passed on, here or there.
    git, passed = f"/{prefix}{name}.git", "" if plural == "models" else "git"
    yield Asked(f"{git}/info/refs?service=git-upload-pack", otherwise=passed)
    yield Asked(f"{git}/info/refs?service=git-receive-pack")
    pack = {"Content-Type": "application/x-git-upload-pack-request"}
    yield Asked(f"{git}/git-upload-pack", "POST", pack, f"0032want {commit}\n00000009done\n".encode(), otherwise=passed)
    yield Asked(f"{git}/info/lfs/locks")
    yield Asked(f"/api/{plural}?search=bert", otherwise="search")


def names(hub: StandInHub, *, whole: bool) -> Iterator[Asked]:
    """Revisions and repositories by other names, and files by difficult ones."""
    bert = hub.repo("acme/tiny-bert")
    head = bert.commits[bert.head]
    large = head.files["model.safetensors"]
    tree = "/api/models/acme/tiny-bert/tree"
    for revision in ("feature%2Fx", "refs%2Fpr%2F1", "refs%2Fheads%2Fmain", "refs%2Fheads%2Ffeature%2Fx", bert.branches["feature/x"], "no-such-branch", "refs%2Fpr%2F99"):
        yield Asked(f"/api/models/acme/tiny-bert/revision/{revision}")
        yield Asked(f"{tree}/{revision}?recursive=true&expand=true")
        yield from (Asked(f"/acme/tiny-bert/resolve/{revision}/config.json", method) for method in ("GET", "HEAD"))
        yield Asked(f"/api/models/acme/tiny-bert/commits/{revision}")
    for revision, row in ((bert.head[:7], "abbreviated"), ("v1.0", "not-carried"), (bert.git_tags["v1.0"], "not-carried")):
        yield Asked(f"{tree}/{revision}", otherwise=row)
        yield from (Asked(f"/acme/tiny-bert/resolve/{revision}/config.json", method, otherwise=row) for method in ("GET", "HEAD"))
    for name in ("acme/old-name", "ACME/Old-Name", "acme/new-name", "ACME/Tiny-Bert"):
        yield from (Asked(f"/api/models/{name}{tail}") for tail in ("", "/revision/main", "/tree/main", "/refs", "?expand=sha"))
        yield from (Asked(f"/{name}/resolve/main/config.json", method) for method in ("GET", "HEAD"))
    yield Asked("/api/models/oldcorp/old-name", otherwise="old-name")
    yield Asked("/api/models/acme/never-was/paths-info/main", "POST", {"Content-Type": "application/json"}, b'{"paths": ["x"]}', otherwise="not-carried")
    for method in ("GET", "HEAD"):
        yield Asked("/acme/tiny-bert/resolve/main/model.safetensors", method)
        yield Asked("/acme/tiny-bert/resolve/main/model.safetensors", method, {"Range": "bytes=-5"})
        yield Asked("/acme/tiny-bert/raw/main/model.safetensors", method)
    objects = [{"oid": large.sha256, "size": len(large.data)}, {"oid": "0" * 64, "size": 5}]
    batch = json.dumps({"operation": "download", "transfers": ["basic"], "objects": objects}).encode()
    yield Asked("/acme/tiny-bert.git/info/lfs/objects/batch", "POST", {"Content-Type": "application/vnd.git-lfs+json"}, batch)
    for folder in ("very", "very%2Fdeep", "very%2Fdeep?recursive=true&expand=true", "sp%20ace"):
        yield Asked(f"/api/models/acme/odd-names/tree/main/{folder}")
    odd = ("hash%23mark.txt", "per%25cent.txt", "a%20b%2Bc.txt", "%E6%97%A5%E6%9C%AC/%E8%AA%9E.txt", "percent%252Fencoded.txt", "empty.txt", "empty.bin")
    yield from (Asked(f"/acme/odd-names/resolve/main/{path}", method) for path in odd for method in (("GET", "HEAD") if whole else ("HEAD",)))
    yield from (Asked(path) for path in ("/api/models/acme/adapter", "/acme/adapter/resolve/main/adapter_config.json"))
    yield from (Asked(f"/api/models/{name}", "GET", {"Prefer": "ancestors"}) for name in ("acme/adapter", "acme/tuned", "quantbarn/solid-7b-merge-GGUF"))
    rows = "/api/datasets/acme/rows"
    yield from (Asked(f"{rows}{tail}") for tail in ("", "/tree/main", "/tree/main?recursive=true&expand=false", "/tree/main?expand=true", "/tree/main?limit=40"))
    paths = {"paths": [f"part-{number:05}.csv" for number in range(0, 1500, 7)]}
    yield Asked(f"{rows}/paths-info/main", "POST", {"Content-Type": "application/json"}, json.dumps(paths).encode())
    yield Asked("/datasets/acme/rows/resolve/main/part-00001.csv")
    yield Asked("/datasets/acme/rows/resolve/main/part-00100.csv", "HEAD")
    yield Asked("/datasets/acme/rows/resolve/main/part-00100.csv", otherwise="not-carried")


def rights(*, whole: bool) -> Iterator[Asked]:
    """What not everybody may have, for nobody, for a reader of the laboratory, and for people with tokens of the hub."""
    pages = ("", "/tree/main", "/refs")
    files = (("/api/models/{}/commits/main", "GET"), ("/api/models/{}/auth-check", "GET"), ("/{}/resolve/main/config.json", "GET"), ("/{}/raw/main/config.json", "GET"))
    files += (("/{}/resolve/main/config.json", "HEAD"), ("/{}/resolve/main/optional.json", "HEAD"))
    some = slice(None) if whole else slice(4)
    # (repository, who asks, row for its pages, row for its files)
    cases: tuple[tuple[str, str | None, str, str], ...] = (
        ("acme/gated-auto", None, "", ""), ("acme/gated-auto", READER, "", ""), ("acme/gated-auto", ALICE, "", "own-token"), ("acme/gated-auto", BOB, "", "own-token"),
        ("acme/secret", None, "private", "private"), ("acme/secret", READER, "", ""), ("acme/secret", ALICE, "private", "private"),
        ("acme/disabled-info", None, "not-carried", "not-carried"), ("acme/gated-manual", READER, "not-carried", "not-carried"),
        ("acme/region-blocked", READER, "not-carried", "not-carried"), ("acme/never-was", None, "not-carried", "not-carried"),
    )  # fmt: skip
    for name, who, page, file in cases:
        headers = {} if who is None else {"Authorization": f"Bearer {who}"}
        yield from (Asked(f"/api/models/{name}{tail}", "GET", headers, otherwise=page) for tail in pages)
        yield from (Asked(path.format(name), method, headers, otherwise=file) for path, method in files[some])
    for who in (READER, ALICE, "hf_nobody_knows_it"):
        headers = {"Authorization": f"Bearer {who}"}
        yield Asked("/api/whoami-v2", "GET", headers, otherwise="" if who == READER else "whose-token")
        yield Asked("/acme/tiny-bert/resolve/main/config.json", "GET", headers)
    yield Asked("/api/whoami-v2")


def derived(hub: StandInHub) -> Iterator[Asked]:
    """What the hub makes of files: manifests and layers, tensor lists, conversions, the state of spaces, the viewer; and the mirror's own Xet store."""
    quants = hub.repo("quantbarn/solid-7b-merge-GGUF")
    yield from (Asked(path) for path in ("/v2/", "/api/xet/v1/reconstructions/" + "0" * 64, "/api/xet/xorbs/" + "0" * 64 + "/0"))
    for tag in ("latest", "Q8_0"):
        yield from (Asked(f"/v2/{quants.name}/manifests/{tag}", "GET", {"User-Agent": agent}) for agent in ("llama-cpp", "ollama/0.5", "curl"))
    yield Asked(f"/v2/{quants.name}/manifests/Q5_K_S", otherwise="not-carried")
    yield from (Asked(f"/v2/{quants.name}/blobs/sha256:{digest}", method) for digest in layers(hub) for method in ("GET", "HEAD"))
    yield Asked("/api/models/acme/tiny-bert/safetensors-metadata/model.safetensors")
    reviews = "/api/datasets/acme/reviews"
    yield from (Asked(f"{reviews}/parquet{tail}", otherwise="converted") for tail in ("", "/default/train", "/default/train/0.parquet"))
    yield Asked("/datasets/acme/reviews/resolve/refs%2Fconvert%2Fparquet/default/train/0000.parquet", otherwise="converted")
    yield from (Asked(f"/api/spaces/acme/demo/{what}", otherwise="running") for what in ("runtime", "logs/run", "events"))
    viewer = {"Host": "datasets-server.(mirror)"}
    for what in ("info", "is-valid", "splits", "size", "parquet"):
        yield Asked(f"/{what}?dataset=acme/reviews", "GET", viewer, otherwise="viewer")
    yield Asked("/rows?dataset=acme/reviews&config=default&split=train", "GET", viewer)


def layers(hub: StandInHub) -> tuple[str, ...]:
    """Digests (hex) of a carried file of GGUF and of what the hub makes beside it."""
    import hashlib

    from tests.support.standin.hub_git import _made

    quants = hub.repo("quantbarn/solid-7b-merge-GGUF")
    files = quants.commits[quants.head].files
    return (files["solid-7b-merge-Q8_0.gguf"].sha256, *(hashlib.sha256(data).hexdigest() for data in _made(quants)))


def directory() -> Iterator[Asked]:
    """What the hub tells beside repositories, and what nobody serves."""
    told = ("users/acme/overview", "organizations/acme/overview", "collections", "collections/acme/best-0", "daily_papers", "papers/2403.00001")
    yield from (Asked(f"/api/{path}", otherwise="search") for path in (*told, "papers/search?q=tiny", "models-tags-by-type", "datasets-tags-by-type", "tasks", "models"))
    yield Asked("/papers/2403.00001.md", otherwise="search")
    yield Asked("/api/agent-harnesses", otherwise="harnesses")
    yield from (Asked(path) for path in ("/api/telemetry/x", "/api/buckets/x", "/api/nothing-of-the-kind"))


# --- an index ---------------------------------------------------------------------------------------------------------


def packages(index: StandInIndex, *, whole: bool) -> Iterator[Asked]:
    """Pages in every form, files with what lies beside them, JSON, provenance; carried, partly carried and not carried."""
    forms = ("text/html", JSON, "application/vnd.pypi.simple.v1+html", "*/*") if whole else ("text/html", JSON)
    for name in ("foo-bar-baz", "acme-attested", "acme-archived", "acme-old-style"):
        yield from (Asked(f"/pypi/simple/{name}/", "GET", {"Accept": form}) for form in forms)
        yield Asked(f"/pypi/simple/{name}/", "HEAD")
        yield from (Asked(f"/pypi/{path}") for path in (f"pypi/{name}/json", f"{name}/json", f"pypi/{name}/9.9/json", f"pypi/{name}/json/", f"simple/{name}"))
        for file in index.project(name).files:
            yield from of_file(name, file, whole=whole)
    yield from (Asked(f"/pypi/{path}") for path in ("simple/Foo.Bar_baz/", "simple/FOO-bar.BAZ", "pypi/Foo.Bar_baz/json", "simple", "simple/_/"))
    for name, row in (("acme-app", "marked"), ("acme-lib", "marked"), ("acme-big", "package"), ("acme-quarantined", "package"), ("acme-never", "package")):
        yield from (Asked(f"/pypi/simple/{name}/", "GET", {"Accept": form}, otherwise=row) for form in forms)
        yield Asked(f"/pypi/pypi/{name}/json", otherwise=row)
    yield from of_file("acme-app", next(file for file in index.project("acme-app").files if file.filename == "acme_app-1.0-py3-none-any.whl"), whole=whole, release="marked")
    absent = next(file for file in index.project("acme-app").files if file.version == "2.0")
    for path in (absent.path, f"{absent.path}.metadata", f"/packages/py3/a/acme-app/{absent.filename}", "/pypi/acme-app/2.0/json"):
        yield Asked(f"/pypi{path}", otherwise="package")
    yield Asked(f"/pypi{absent.path}", "HEAD")
    yield Asked("/pypi/packages/-/" + "0" * 40 + "/acme_app-1.0-py3-none-any.whl")
    yield Asked("/pypi/integrity/acme-big/1.0/acme_big-1.0-py3-none-any.whl/provenance", otherwise="package")
    yield from (Asked("/pypi/simple/", "GET", {"Accept": form}, otherwise="projects") for form in forms)


def of_file(name: str, file: Any, *, whole: bool, release: str = "") -> Iterator[Asked]:
    """One distribution."""
    for method in ("GET", "HEAD"):
        yield Asked(f"/pypi{file.path}", method)
        yield Asked(f"/pypi{file.path}.metadata", method)
        if whole:
            yield Asked(f"/pypi{file.path}", method, {"Range": "bytes=0-9"})
            yield Asked(f"/pypi/packages/py3/{name[0]}/{name}/{file.filename}", method)
    yield Asked(f"/pypi/pypi/{name}/{file.version}/json", otherwise=release)
    yield Asked(f"/pypi/integrity/{name}/{file.version}/{file.filename}/provenance")


# --- the two mirrors --------------------------------------------------------------------------------------------------

#: Both mirrors warn by lineage: what the adapter was made from only a file beside its card tells.
RULES: Final = "version: 1\nrules:\n  - {id: made-from, when: {ancestor: {any: [umbrella/handed-on]}}, effect: warn, reason: of Umbrella}\n"


@dataclass(frozen=True)
class Pair:
    """Stand-ins, the mirror before them, and one that has nothing but its bundle."""

    hub: StandInHub
    index: StandInIndex
    outside: Place
    inside: Place

    def differing(self, asked: Sequence[Asked]) -> list[str]:
        """What is not as it is outside, nor as the page says. Nothing is asked of anybody for the inside's answers."""
        for log in (self.hub.requests, self.index.requests):
            log.clear()
        inside = [one.of(self.inside) for one in asked]
        seen = [f"{call.method} {call.path}" for call in (*self.hub.requests, *self.index.requests)]
        assert not seen, f"an offline mirror asked: {seen}"
        rows, wrong, differed = exceptions(), list[str](), set[str]()
        for one, there in zip(asked, inside, strict=True):
            here_ = one.of(self.outside)
            ours, theirs = self.outside.told(one, here_), self.inside.told(one, there)
            if one.otherwise:
                row = rows[one.otherwise]
                said = there if one.method != "HEAD" else one_with_text(there, row)
                wrong += [] if row.holds(said) else [f"{one.method} {one.target}: not as row {one.otherwise} says: {theirs}"]
                differed |= {one.otherwise} if ours != theirs else set()
            elif ours != theirs:
                wrong.append(f"{one.method} {one.target} {dict(one.headers)} {one.body!r}: {difference(ours, theirs)}")
        stale = {one.otherwise for one in asked} - {""} - differed
        return wrong + [f"row {name} is as outside" for name in sorted(stale)]


def one_with_text(reply: Reply, row: Row) -> Reply:
    """An answer to HEAD without a sentence anywhere has none to compare."""
    return reply if reply.headers.get("X-Error-Message") else replace(reply, body=row.says.encode())


def difference(ours: tuple[int, dict[str, str], str], theirs: tuple[int, dict[str, str], str]) -> str:
    if ours[0] != theirs[0]:
        return f"{ours[0]} -> {theirs[0]} {theirs[2][:300]}"
    fields = {name for name in {**ours[1], **theirs[1]} if ours[1].get(name) != theirs[1].get(name)}
    headers = [f"{name}: {ours[1].get(name)} -> {theirs[1].get(name)}" for name in sorted(fields)]
    start = next((at for at, pair in enumerate(zip(ours[2], theirs[2], strict=False)) if pair[0] != pair[1]), 0)
    return "; ".join(headers + ([f"…{ours[2][max(start - 60, 0) :][:300]} -> …{theirs[2][max(start - 60, 0) :][:300]}"] if ours[2] != theirs[2] else []))


def filled(rows: int) -> StandInHub:
    """The default content, a dataset of many files, and an adapter whose base is told by a file alone."""
    hub = populate(StandInHub())
    hub.add_repo("dataset", "acme/rows", {f"part-{number:05}.csv": b"%d\n" % number for number in range(rows)}, tags=["license:mit"])
    told = json.dumps({"base_model_name_or_path": "umbrella/handed-on", "peft_type": "LORA"}).encode()
    # Its base is named as it was called before.
    hub.add_repo("model", "acme/tuned", {"README.md": card({"base_model": "solid2"})}, card={"base_model": "solid2"}, tags=["base_model:solid2"])
    hub.add_repo("model", "acme/adapter", {"adapter_config.json": told, "README.md": b"# An adapter\n"}, tags=["license:mit"])
    return hub


@contextmanager
def two_mirrors(folder: Path, rows: int) -> Iterator[Pair]:
    """A mirror with a network, everything that is wanted carried into one without, and both running. Its upstreams are named, and would answer."""
    groups: dict[str, Any] = {"clients": {"groups": {"readers": {"tokens": ["reader"], "hub_token": True}}}}
    with running_hub(filled(rows)) as hub, running_index() as index:
        more = {"git": "permit", "datasets_server": hub.viewer_url}
        with running_mirror(folder / "outside", hub, index, RULES, hubs={"huggingface": {**more, "token": ALICE}}, **groups) as outside:
            here(outside)
            (outside.folder / "wants.yaml").write_text(wants())
            done = outside.command("bundle", "export", "wants.yaml", "-o", str(folder / "lab.tar"), "--token", ALICE, "--json", check=False)
            assert done.returncode == 1, done.stdout + done.stderr
            assert {row["name"].partition("@")[0] for row in json.loads(done.stdout)["left_out"]} == {"pkg:huggingface/acme/disabled-info"}
            trust = {"verify": [str(enrolled(outside, folder / "cards"))]}
            with running_mirror(folder / "inside", hub, index, RULES, network="offline", trust=trust, hubs={"huggingface": more}, **groups) as inside:
                here(inside)
                done = inside.command("bundle", "import", str(folder / "lab.tar"), "--json", check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                tokens = [json.loads(one.command("token", "create", "reader", "--json").stdout)["token"] for one in (outside, inside)]
                yield Pair(hub, index, Place(outside, tokens[0]), Place(inside, tokens[1]))
