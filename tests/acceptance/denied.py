"""What the bypass suite tries to get at: artifacts that a rule denies, each with a canary inside, and ways to spell them."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from tests.support.standin import CANARY, StandInHub, StandInIndex, populate, populate_index
from tests.support.standin.defaults import model
from tests.support.standin.packages import Dist
from tests.support.standin.world import Repo

OLD = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Denied:
    """One denied file. `name` is the canonical project, `aliases` are further names that lead there.

    `whole`: the rule denies the project, not only this file. `rule`: which rule must be named in the refusal.
    """

    hub: str
    rule: str
    name: str
    path: str
    plural: str = "models"
    whole: bool = True
    aliases: tuple[str, ...] = ()
    commit: str = ""
    revisions: tuple[str, ...] = ("main",)
    secrets: tuple[bytes, ...] = ()
    version: str = ""
    file_path: str = ""
    label: str = field(default="", compare=False)

    @property
    def prefix(self) -> str:
        return "" if self.plural == "models" else f"{self.plural}/"

    def __str__(self) -> str:
        return f"{self.hub}:{self.plural}/{self.name}#{self.path} ({self.rule})"


@dataclass(frozen=True)
class Spelling:
    """Raw segments as they stand in a request target."""

    name: str
    rev: str
    path: str
    query: str = ""
    what: str = "canonical"


def canary(name: str, size: int = 3000) -> bytes:
    return CANARY + name.encode() + b"\n" + random.Random(name).randbytes(size)


def build_hub() -> tuple[StandInHub, list[Denied], str]:
    """The default content, the denied repositories, and the policy that denies them (YAML)."""
    hub = populate(StandInHub())
    rng = random.Random(7)
    found: list[Denied] = []
    refs = {"feature/x": {"new.txt": canary("new")}, "refs/pr/1": {"pr.txt": canary("pr")}, "refs/convert/parquet": {"p.txt": canary("p")}}
    small = {"config.json": b'{"x": "' + CANARY + b'config"}', "notes.txt": canary("notes"), "odd #1%.txt": canary("odd")}
    large = {"weights.safetensors": canary("weights", 150_000), "deep/er/model-Q4.gguf": canary("gguf", 60_000)}

    def repo(name: str, kind: str = "model", **options: object) -> Repo:
        return hub.add_repo(kind, name, small, large, branches=refs, git_tags={"v1.0": "main"}, **options)

    def deny(made: Repo, rule: str, *paths: str, aliases: tuple[str, ...] = (), whole: bool = True, revisions: tuple[str, ...] = ()) -> None:
        known = revisions or ("main", made.head, made.head[:9], "v1.0", "feature/x", "refs/pr/1", "refs/convert/parquet", "refs/heads/main")
        for path in paths:
            file = made.commits[made.head].files[path]
            secrets = (file.sha256.encode(), file.xet.encode(), file.cdn_etag.encode()) if not whole else ()
            found.append(
                Denied("huggingface", rule, made.name, path, made.kind, whole, aliases, made.head, known, secrets)
            )

    everything = ("config.json", "notes.txt", "odd #1%.txt", "weights.safetensors", "deep/er/model-Q4.gguf")
    weights = repo("initech/hush-weights", renamed_from=["initech/hush-old", "harmless/alias", "hushsolo"])
    deny(weights, "pub", *everything, aliases=("initech/hush-old", "harmless/alias", "hushsolo"))
    for kind in ("dataset", "space", "kernel"):
        deny(repo(f"initech/hush-{kind}", kind), "pub", "notes.txt", "weights.safetensors")
    for name, parent in (("quantbarn/hush-GGUF", "initech/hush-weights"), ("hooli/hush-adapter", "quantbarn/hush-GGUF")):
        made = model(hub, rng, name, (parent,), relation="quantized", files=small, lfs=dict(large))
        deny(made, "pub", "notes.txt", "weights.safetensors", revisions=("main", made.head))
    deny(repo("globex/Hush-UnCensored-7B"), "names", "notes.txt", "weights.safetensors")
    pinned = repo("acme/pinned")
    deny(pinned, "commit", "notes.txt", "weights.safetensors", revisions=("main", pinned.head, pinned.head[:9], "v1.0", "refs/heads/main"))
    files = {"config.json": b'{"fine": true}', "data/inner.pkl": canary("inner"), "secret-plan.txt": canary("plan")}
    mixed = hub.add_repo("model", "acme/mixed", files, {"Model.BIN": canary("bin", 90_000), "model.safetensors": rng.randbytes(5000)}, branches={"feature/x": {"new.txt": b"fine"}}, git_tags={"v1.0": "main"})  # fmt: skip
    deny(mixed, "files", "data/inner.pkl", "Model.BIN", whole=False, revisions=("main", mixed.head, "v1.0", "feature/x"))
    deny(mixed, "one-file", "secret-plan.txt", whole=False, revisions=("main", mixed.head, "v1.0", "feature/x"))
    return hub, found, POLICY.replace("COMMIT", pinned.head)


POLICY = """
version: 1
rules:
  - {id: pub, when: {publisher: [initech]}, effect: deny, lineage: inherit, legal: true, basis: "house 1"}
  - {id: names, when: {artifact: ["pkg:huggingface/*/*-uncensored*", "pkg:pypi/evil-*"]}, effect: deny}
  - {id: commit, when: {artifact: ["pkg:huggingface/acme/pinned@COMMIT"]}, effect: deny}
  - {id: files, when: {file: ["*.bin", "*.pkl", "*+hush*"]}, effect: deny}
  - {id: one-file, when: {artifact: ["pkg:huggingface/acme/mixed#secret-*"]}, effect: deny}
"""


class OddPlace(Dist):
    """A file whose path at its origin is not of PyPI's form, so that the mirror has to map it."""

    @property
    def path(self) -> str:
        return f"/wheels/{self.filename}"


def build_index() -> tuple[StandInIndex, list[Denied]]:
    """The default content and denied files in every place where an index can keep one."""
    index = populate_index(StandInIndex())
    found: list[Denied] = []
    publisher = {"kind": "GitHub", "repository": "evil/raw", "workflow": "r.yml", "environment": "pypi", "claims": None}

    def put(project: str, filename: str, version: str, rule: str, *, whole: bool = True, place: type[Dist] = Dist) -> None:
        kept = index.project(project)
        text = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nSummary: {CANARY.decode()}\n\n".encode()
        shown = text if filename.endswith(".whl") else None
        file = place(filename, canary(filename), version, OLD, shown, None, False, publisher)
        index.shelf.put(kept, file)
        name = project.lower().replace("_", "-").replace(".", "-")
        found.append(Denied("pypi", rule, name, filename, "packages", whole, (project,), version=version, file_path=file.path))

    put("evil-raw", "evil_raw-1.0-py3-none-any.whl", "1.0", "names")
    put("evil-raw", "evil_raw-1.0.tar.gz", "1.0", "names")
    put("Evil.Odd_Case", "Evil.Odd_Case-2.0-py3-none-any.whl", "2.0", "names")
    put("evil-mapped", "evil_mapped-1.0-py3-none-any.whl", "1.0", "names", place=OddPlace)
    index.add_release("acme-mixed", "1.0")
    put("acme-mixed", "acme_mixed-1.0+hush-py3-none-any.whl", "1.0+hush", "files", whole=False)
    put("acme-mixed", "acme_mixed-1.1+hush-py3-none-any.whl", "1.1+hush", "files", whole=False, place=OddPlace)
    return index, found


# --- spellings ----------------------------------------------------------------------------------------------------------


def segment(text: str) -> str:
    return quote(text, safe="")


def path_text(text: str) -> str:
    return quote(text, safe="/")


def canonical(denied: Denied) -> Spelling:
    if denied.hub == "pypi":
        return Spelling(denied.name, "", quote(denied.path, safe="+!~._-"))
    return Spelling(denied.name, denied.commit, path_text(denied.path))


def cases(text: str) -> Iterator[tuple[str, str]]:
    for change in (str.upper, str.lower, str.title, str.swapcase):
        yield change(text), f"case {change.__name__}"


def escapes(text: str, limit: int = 0) -> Iterator[tuple[str, str]]:
    """Each letter of a raw text percent-encoded, in both hexadecimal spellings; then all of them; then twice over."""
    at = [i for i, c in enumerate(text) if c in string.ascii_letters and (i == 0 or text[i - 1] != "%") and (i < 2 or text[i - 2] != "%")]
    for i in at[:: max(1, len(at) // limit)] if limit else at:
        code = f"{ord(text[i]):02x}"
        yield f"{text[:i]}%{code}{text[i + 1:]}", f"escape of letter {i}"
        if code != code.upper():
            yield f"{text[:i]}%{code.upper()}{text[i + 1:]}", f"upper escape of letter {i}"
    for form in ("02x", "02X"):
        yield "".join(f"%{ord(c):{form}}" if c.isalnum() else c for c in text if ord(c) < 128), f"all escaped {form}"
    yield text[:1].replace(text[:1], f"%25{ord(text[0]):02x}") + text[1:], "escaped twice"


def bent(text: str) -> Iterator[tuple[str, str]]:
    """Structure: slashes, dots, ends, control characters, look-alikes."""
    head, slash, tail = text.rpartition("/")
    joined = (f"{head}%2F{tail}", f"{head}%2f{tail}", f"{head}//{tail}", f"{head}/./{tail}", f"{head}/%2e/{tail}", f"{head}/x/../{tail}", f"{head}/x/%2E%2e/{tail}", f"{head}%5C{tail}", f"{head};a=b/{tail}")  # fmt: skip
    for one in joined if slash else ():
        yield one, f"bent {one[len(head):len(head) + 8]}"
    for tail in ("/", "//", "%00", "%20", ".", "%2E", "%2f", "/.", "/..", "%3F", "%23", ";v=1", "%0a", "%ef%bb%bf", "%cc%80", ".git", "~"):
        yield text + tail, f"ends in {tail}"
    for start in ("/", "./", "%2e/", "x/../", "%2F", "%ef%bb%bf", "%20", "models/", "..%2f"):
        yield start + text, f"starts with {start}"
    yield text.replace("a", "%d0%b0", 1), "cyrillic a"
    yield text.replace("i", "%ef%bd%89", 1), "full-width i"
    yield text.replace("-", "%2D"), "escaped dash"
    yield text.replace("-", "_"), "dash as underscore"
    yield text.replace("_", "-").replace("-", "."), "dots"


QUERIES = ("?download=true", "?revision=feature/x", "?", "?path=../x&raw=1", "?oriloc=http://127.0.0.1:9/", "?%2Fx%2Fresolve%2Fmain%2Fx=&etag=%22aa%22", "#frag", "?a=b?c")


def revisions(denied: Denied) -> Iterator[tuple[str, str]]:
    for known in denied.revisions:
        yield segment(known), f"revision {known}"
        yield segment(known).replace("%2F", "%2f"), f"revision {known} in lower hex"
        yield known, f"revision {known} unescaped"
        yield from ((f"%{ord(known[0]):02x}{segment(known[1:])}", "escaped revision"),)
    for odd in ("HEAD", "MAIN", "main%00", "main%20", "main.", "main%5E", "..%2Fmain", "", "refs%2Fheads%2F..%2Fheads%2Fmain", denied.commit.upper()):
        yield odd, f"revision {odd!r}"


def names(denied: Denied, limit: int = 0) -> Iterator[tuple[str, str]]:
    for alias in (denied.name, *denied.aliases):
        yield alias, f"name {alias}"
        yield from cases(alias)
    yield from escapes(denied.name, limit)
    yield from bent(denied.name)


def paths(denied: Denied, limit: int = 0) -> Iterator[tuple[str, str]]:
    raw = canonical(denied).path
    yield raw, "path"
    yield from cases(raw)
    yield from escapes(raw, limit)
    yield from bent(raw)


def spellings(denied: Denied, rng: random.Random, *, mixtures: int, limit: int = 0) -> list[Spelling]:
    """One thing changed at a time, everything; then `mixtures` of several changes at once."""
    base = canonical(denied)
    axes: tuple[list[tuple[str, str]], ...] = (
        list(names(denied, limit)), list(revisions(denied)) if base.rev else [("", "")], list(paths(denied, limit)), [(q, q) for q in QUERIES],
    )  # fmt: skip
    found = [base]
    found += [Spelling(text, base.rev, base.path, "", what) for text, what in axes[0]]
    found += [Spelling(base.name, text, base.path, "", what) for text, what in axes[1]]
    found += [Spelling(base.name, base.rev, text, "", what) for text, what in axes[2]]
    found += [Spelling(base.name, base.rev, base.path, text, what) for text, what in axes[3]]
    for _ in range(mixtures):
        chosen = [rng.choice(axis) for axis in axes]
        found.append(Spelling(*(text for text, _ in chosen), what=" + ".join(what for _, what in chosen)))
    return list(dict.fromkeys(found))


Template = Callable[[Denied, Spelling], str]
