"""From the hub's pages to facts that policy may judge. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mirror.core.facts import Fact, Facts
from mirror.core.nouns import HUGGINGFACE, FileKind, Kind, Project
from mirror.policy.lineage import RELATIONS, Edge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mirror.hubs.huggingface.documents import HubFile, RepoPage

_WEIGHTS: Final = frozenset(
    ["safetensors", "gguf", "ggml", "bin", "pt", "pth", "ckpt", "onnx", "onnx_data", "h5", "hdf5", "keras", "msgpack", "pkl", "pickle", "joblib", "npz", "npy", "tflite", "pb", "mlmodel", "mlpackage", "engine", "plan", "llamafile", "nemo", "dduf", "pdparams", "pdiparams", "mar", "exl2", "awq", "gptq", "torchscript", "ptl", "ot", "caffemodel"]
)
_CODE: Final = frozenset(["py", "pyc", "ipynb", "sh", "c", "cc", "cpp", "cu", "cuh", "h", "hpp", "rs", "js", "ts", "so", "dll", "whl", "java", "go", "rb", "jl", "lua", "r"])
_DATA: Final = frozenset(
    ["csv", "tsv", "parquet", "arrow", "jsonl", "ndjson", "feather", "avro", "orc", "txt.gz", "tar", "zip", "gz", "zst", "bz2", "xz", "7z", "wav", "mp3", "flac", "ogg", "mp4", "webm", "png", "jpg", "jpeg", "gif", "webp", "bmp", "tiff", "db", "sqlite", "lmdb", "tfrecord", "webdataset"]
)
_CONFIG: Final = frozenset(["json", "yaml", "yml", "toml", "cfg", "ini", "jinja"])
_TOKENIZER_NAMES: Final = frozenset(
    ["tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"]
)

_LICENCE: Final = re.compile(r"(?:LICEN[CS]E|COPYING|NOTICE|USE_POLICY)(?:[._-][^/]*)?", re.IGNORECASE)
#: Of a repository's licence files so many, and none longer (bytes): the evidence archive keeps them for good.
_MOST, _LONGEST = 4, 256 * 1024


def file_kind(path: str, kind: Kind = Kind.MODEL) -> FileKind:
    """What sort of file this is, by its name alone (SURFACE 4). In a dataset, plain text and JSON are data."""
    if not path:
        return FileKind.METADATA
    name = path.rpartition("/")[2].lower()
    suffix = name.rpartition(".")[2] if "." in name else ""
    if name in _TOKENIZER_NAMES:
        return FileKind.TOKENIZER
    if suffix in _WEIGHTS:
        return FileKind.WEIGHTS
    if suffix in _CODE:
        return FileKind.CODE
    if suffix in _DATA or (kind is Kind.DATASET and suffix in ("json", "txt")):
        return FileKind.DATA
    return FileKind.CONFIG if suffix in _CONFIG else FileKind.OTHER


def licences(page: RepoPage) -> tuple[str, ...]:
    """The licences that card and tags state, lower case, sorted; `other` gives way to `license_name` where there is one."""
    stated = {text.lower() for text in _texts(page.card.get("license"))}
    stated |= {tag.partition(":")[2].lower() for tag in page.tags if tag.startswith("license:")}
    named = {text.lower() for text in _texts(page.card.get("license_name"))}
    if "other" in stated and named:
        stated = (stated - {"other"}) | named
    return tuple(sorted(text for text in stated if text))


def declared_parents(page: RepoPage) -> tuple[Edge, ...]:
    """What the card and the tags say the project was made from (`base_model`), in the order in which they say it."""
    relations: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for tag in page.tags:
        head, _, rest = tag.partition(":")
        if head != "base_model" or not rest:
            continue
        relation, separator, name = rest.partition(":")
        known = separator and relation in RELATIONS
        _note(name if known else rest, relation if known else "", relations, spelling)
    stated = page.card.get("base_model_relation")
    overall = stated if isinstance(stated, str) and stated in RELATIONS else ""
    for name in _texts(page.card.get("base_model")):
        _note(name, overall, relations, spelling)
    return tuple(
        Edge(Project(HUGGINGFACE, Kind.MODEL, spelling[folded], page.project.hub), relation or overall or "unknown")
        for folded, relation in relations.items()
        if folded != page.project.name.casefold()
    )


def _note(name: str, relation: str, relations: dict[str, str], spelling: dict[str, str]) -> None:
    for site in ("https://huggingface.co/", "https://hf.co/", "hf.co/", "huggingface.co/"):
        name = name.removeprefix(site)
    name = name.strip().strip("/")
    folded = name.casefold()
    if not name or len(name) > 256:
        return
    spelling.setdefault(folded, name)
    relations[folded] = relations.get(folded) or relation


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def repository_facts(page: RepoPage) -> Facts:
    """The facts that hold for every file of the page.

    `published_at` is when the repository was created: a later commit does not make an old project new, and a hub's
    `lastModified` moves with every typo in a card. There is no yanking and no direct URL on this hub. A licence is what its
    giver says it is: as well founded as `License-Expression` is on PyPI, so that a rule on licences has its own effect.
    """
    source = f"huggingface:{page.document.key.target.partition('?')[0]}"
    found = licences(page)
    owner, slash, _ = page.project.name.partition("/")
    return Facts(
        license=Fact(found or None, source, "B"),
        published_at=Fact(page.created_at, source, "B"),
        gated=Fact(page.gated, source, "A"),
        status=Fact("disabled" if page.disabled else "gone" if page.gone else "active", source, "A"),
        yanked=Fact(False, source, "A"),
        direct_urls=Fact((), source, "A"),
        names=Fact((owner,) if slash else (), source, "D"),
        evidence=(page.document.digest.hex,),
    )


def licence_files(page: RepoPage) -> tuple[str, ...]:
    """The files at the root of a repository that hold its licence, of which a few are kept as evidence."""
    return tuple(
        sorted(path for path, file in page.files.items() if _LICENCE.fullmatch(path) and (file.size or 0) <= _LONGEST)[
            :_MOST
        ]
    )


class Scanned(NamedTuple):
    """What the hub's scanners say of one file, and the digest of the page that tells it."""

    fact: Fact[str]
    evidence: str


@dataclass(frozen=True, slots=True)
class PageFacts(Facts):
    """The facts that a page's files share, with what the scanners say of those that are to be judged, by path."""

    scans: Mapping[str, Scanned] = field(default_factory=dict, compare=False, repr=False)


def with_scans(facts: Facts, scans: Mapping[str, Scanned]) -> PageFacts:
    """`facts` with `scans` beside them."""
    return PageFacts(**{one.name: getattr(facts, one.name) for one in fields(Facts)}, scans=scans)


def without_scans(shared: Facts) -> Facts:
    """What is recorded of a page: its files' facts stay with the pages that told them, which are its evidence."""
    if not isinstance(shared, PageFacts):
        return shared
    told = sorted({scanned.evidence for scanned in shared.scans.values()})
    return replace(shared, scans={}, evidence=(*shared.evidence, *told))


def file_facts(shared: Facts, page: RepoPage, path: str, found: HubFile | None = None) -> Facts:
    """`shared` with what is particular to one file (`found` where HEAD told more). The page as a whole is metadata of no size."""
    file = found or page.files.get(path)
    size = 0 if not path else file.size if file else None
    kind = file_kind(path, page.project.kind)
    own: dict[str, Any] = {"file_kind": Fact(kind, "file name", "B"), "size": Fact(size, "the hub's file list", "A")}
    if isinstance(shared, PageFacts):
        own["scans"] = {}
        if (scanned := shared.scans.get(path)) is not None:
            own |= {"scan": scanned.fact, "evidence": (*shared.evidence, scanned.evidence)}
    return replace(shared, **own)


def sought_facts(shared: Facts, page: RepoPage, path: str) -> Facts:
    """`file_facts` of what may be no file at all: where the page does not list it, nothing speaks of scans yet.

    Clients look for optional files that are not there; a rule that holds what is not scanned must not hold nothing.
    """
    facts = file_facts(shared, page, path)
    return facts if path in page.files else replace(facts, scan=Fact("safe", "not a listed file", "A"))


#: Facts about a project that a listing's row may tell as its judging page would, and the key under which it does.
_ON_A_ROW: Final = {
    **dict.fromkeys(("publisher", "publisher_countries", "names", "file_kind", "size", "yanked", "direct_urls", "client_country", "scan"), "id"),
    "license": "tags", "gated": "gated", "status": "disabled", "published_at": "createdAt",
}  # fmt: skip


def told_by_row(row: RepoPage, needs: Collection[str]) -> bool:
    """Whether a listing's row tells all that rules want to know of the project, so that its verdict is that of its page.

    The licence `other` has its name in the card, which rows seldom have.
    """
    if not all(fact in _ON_A_ROW and _ON_A_ROW[fact] in row.data for fact in needs):
        return False
    return "license" not in needs or "cardData" in row.data or "other" not in licences(row)
