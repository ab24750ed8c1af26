"""What the hub's scanners say of each file: asked for in batches of one commit, and only where a rule reads it.

The hub tells it in rows of `paths-info` with `expand`: `securityFileStatus`, its summary beside one part for each
scanner, all of the same few words. Until autumn 2024 it was `security`, with `safe` and other words in its parts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mirror.core.errors import HubSaysNo, MirrorError, Pending
from mirror.core.facts import Fact
from mirror.core.nouns import DocumentKey
from mirror.hubs.huggingface.documents import load_json
from mirror.hubs.huggingface.facts import Scanned
from mirror.hubs.huggingface.paths import Repo

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from mirror.core.actor import Credential
    from mirror.core.nouns import Document
    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.options import Bearer, Options
    from mirror.hubs.huggingface.pages import Pages
    from mirror.proxy.gateway import Gateway

#: The hub's words and those of its former answers, as the words of the fact, the best first. A word that nobody knows is `error`.
_WORDS: Final = {
    "safe": "safe", "innocuous": "safe", "unscanned": "unscanned", "queued": "queued", "error": "error",
    "caution": "caution", "suspicious": "suspicious", "unsafe": "unsafe", "dangerous": "unsafe",
}  # fmt: skip
_RANK: Final = {word: rank for rank, word in enumerate(dict.fromkeys(_WORDS.values()))}
#: A scanner's finding; everything else says only that it has not come to one, and not each scanner looks at each file.
_FOUND: Final = frozenset({"caution", "suspicious", "unsafe"})
_SETTLED: Final = _FOUND | {"safe"}
_SCANNERS: Final = {
    "avScan": "virus scanner", "pickleImportScan": "pickle scanner", "protectAiScan": "Protect AI", "jFrogScan": "JFrog",
    "virusTotalScan": "VirusTotal",
}  # fmt: skip
#: Characters of a scanner's own words that a sentence has room for.
_MESSAGE: Final = 120
_NAMED: Final = 3
#: Paths in one request. The hub looks up the last commit of each, so it is asked for fewer than it takes.
BATCH: Final = 200
_AT_ONCE: Final = 4
#: Seconds for one answer: a HEAD, which may need it and the page, is given up by clients after 10.
_PATIENCE: Final = 5.0
_RETRY_AFTER: Final = 5.0
#: How long an answer is good: one in which a scan is still to come, and one in which none is.
OPEN_FOR: Final = timedelta(seconds=30)
SETTLED_FOR: Final = timedelta(hours=1)
#: How long a refused batch is not asked for again.
_REFUSED_FOR: Final = timedelta(seconds=10)
_KEPT: Final = 1024
_LAID_OUT: Final = 64


def scan_of(row: Mapping[str, Any]) -> Fact[str] | None:
    """The verdict on one row's file; None where the hub tells nothing. `source` is the scanner and its finding.

    The hub's summary, or what is worse, a scanner's finding: a file with a virus is unsafe while other scans are queued.
    """
    told = row.get("securityFileStatus", row.get("security"))
    if not isinstance(told, dict):
        return None
    parts = [(key, part, _word_of(part)) for key, part in told.items() if key.endswith("Scan") and isinstance(part, dict)]
    stated = told.get("status")
    if stated is None and isinstance(told.get("safe"), bool):
        stated = "safe" if told["safe"] else "unsafe"
    found = [word for _, _, word in parts if word in _FOUND or (word is not None and stated is None)]
    words = [*found, *([] if stated is None else [_word(stated)])]
    if not words:
        return None
    value = max(words, key=_RANK.__getitem__)
    said = [_finding(key, part) for key, part, word in parts if word == value and value != "safe"]
    return Fact(value, "; ".join(said) or "the hub's scan", "A")


def _word(stated: Any) -> str:
    return _WORDS.get(stated.lower(), "error") if isinstance(stated, str) else "error"


def _word_of(part: Mapping[str, Any]) -> str | None:
    """What one scanner says, in any of the forms that the hub has used."""
    if part.get("status") is not None:
        return _word(part["status"])
    if isinstance(part.get("virusFound"), bool):
        return "unsafe" if part["virusFound"] else "safe"
    return _word(part["highestSafetyLevel"]) if part.get("highestSafetyLevel") is not None else None


def _finding(key: str, part: Mapping[str, Any]) -> str:
    """A scanner's name and why it says so: its message, else the viruses, else the imports that are not innocuous."""
    name = _SCANNERS.get(key, key.removesuffix("Scan"))
    message = part.get("message")
    if not isinstance(message, str) or not message.strip():
        message = ", ".join([*_viruses(part), *_imports(part)][:_NAMED])
    return f"{name}: {' '.join(message.split())[:_MESSAGE]}" if message else name


def _viruses(part: Mapping[str, Any]) -> Iterator[str]:
    names = part.get("virusNames")
    yield from (name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def _imports(part: Mapping[str, Any]) -> Iterator[str]:
    rows = part.get("pickleImports", part.get("imports"))
    for one in rows if isinstance(rows, list) else ():
        if isinstance(one, dict) and one.get("safety") != "innocuous":
            yield f"imports {one.get('module')}.{one.get('name')}"


class Scans:
    """Verdicts of one instance. One request for a batch however many ask; the last known verdict where the hub gives none."""

    def __init__(self, gateway: Gateway, pages: Pages, options: Options) -> None:
        """`options.lineage_patience` is how long one caller waits; searches go on without them."""
        self._gateway, self._pages, self._options = gateway, pages, options
        self._batches: OrderedDict[str, tuple[Sequence[bytes], Sequence[str]]] = OrderedDict()
        self._read: OrderedDict[str, tuple[Mapping[str, Scanned], bool]] = OrderedDict()
        self._refused: OrderedDict[DocumentKey, datetime] = OrderedDict()
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def of(self, page: RepoPage, credential: Credential | None, paths: Collection[str] | None) -> Mapping[str, Scanned]:
        """By path what the hub says of `paths` (None: of every file of the page); what it does not tell is left out.

        Raises `Pending` once the patience is over: what was answered by then need not be asked again.
        """
        bodies = self._bodies(page, paths)
        bearer = self._pages.bearer_for(page, credential)
        try:
            async with asyncio.timeout(self._options.lineage_patience):
                found = await asyncio.gather(*(self._batch(page, bearer, body) for body in bodies))
        except TimeoutError as error:
            raise Pending(f"the hub's scans of {page.project.name} are still being found out", _RETRY_AFTER) from error
        return found[0] if len(found) == 1 else {path: one for part in found for path, one in part.items()}

    def _bodies(self, page: RepoPage, paths: Collection[str] | None) -> list[bytes]:
        """The requests that tell of `paths`. A commit's files fall into the same batches whoever asks, for one or for all."""
        laid_out = self._batches.get(page.document.digest.hex)
        if laid_out is None:
            names = sorted(page.files)
            laid_out = [_body(names[at : at + BATCH]) for at in range(0, len(names), BATCH)], names[::BATCH]
            self._batches[page.document.digest.hex] = laid_out
            while len(self._batches) > _LAID_OUT:
                self._batches.popitem(last=False)
        bodies, starts = laid_out
        if paths is None:
            return list(bodies)
        wanted = {bodies[bisect_right(starts, path) - 1]: None for path in paths if path in page.files}
        return [*wanted, *(_body([path]) for path in paths if path and path not in page.files)]

    async def _batch(self, page: RepoPage, bearer: Bearer, body: bytes) -> Mapping[str, Scanned]:
        target = f"{Repo.of(page.project).api}/paths-info/{page.commit}"
        key = DocumentKey(self._options.name, target, bearer.scope, "scan-" + hashlib.sha256(body).hexdigest())
        document = await self._document(page, bearer, body, key)
        if document is None:
            return {}
        found, settled = self._parsed(document)
        if settled and document.max_age == OPEN_FOR:
            await self._gateway.keep_document(replace(document, max_age=SETTLED_FOR))
        return found

    async def _document(self, page: RepoPage, bearer: Bearer, body: bytes, key: DocumentKey) -> Document | None:
        """The hub's answer, else its last one, else None."""
        now = self._gateway.clock.now()
        known, refused = await self._gateway.last_known(key), self._refused.get(key)
        fresh = known is not None and known.fresh(now)
        if not fresh and (refused is None or now - refused >= _REFUSED_FOR) and not self._gateway.held_off(self._options.name):
            try:
                async with self._room:
                    return await self._pages.document(
                        key.target, bearer, OPEN_FOR, shared=lambda _: not page.private, method="POST",
                        headers={"Content-Type": "application/json"}, body=body, variant=key.variant, patience=_PATIENCE,
                    )  # fmt: skip
            except HubSaysNo:
                self._refused[key] = now
                while len(self._refused) > _KEPT:
                    self._refused.popitem(last=False)
            except MirrorError:
                pass  # down, over quota, offline, or out of its mind: the last known answer stands
        if known is None or known.status != 200:
            return None
        self._gateway.recorder.at_hand(known.digest.hex, known.body)
        return known

    def _parsed(self, document: Document) -> tuple[Mapping[str, Scanned], bool]:
        """Verdicts by path, and whether none of them is still to come."""
        digest = document.digest.hex
        known = self._read.get(digest)
        if known is None:
            rows = [row for row in load_json(document, self._options.upstream) if isinstance(row, dict)]
            told = ((row.get("path"), scan_of(row)) for row in rows if row.get("type") != "directory")
            found = {path: Scanned(fact, digest) for path, fact in told if isinstance(path, str) and fact is not None}
            settled = bool(rows) and all(one.fact.value in _SETTLED for one in found.values()) and len(found) == len(rows)
            known = self._read[digest] = found, settled
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
        self._read.move_to_end(digest)
        return known


def _body(paths: Sequence[str]) -> bytes:
    return json.dumps({"paths": list(paths), "expand": True}, ensure_ascii=False).encode()
