"""An audit pack: the records of a span of time, and everything with which somebody without the product can check and read them.

`verify_pack` says what is checked. Two packs of one span of one ledger are the same bytes, but for the moment of the signature.
Records are streamed: memory grows with what is cited, not with the records.
"""

from __future__ import annotations

import inspect
import json
import re
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirror.audit import book, evidence, verify_decision, verify_keys, verify_pack, verify_removed
from mirror.audit.chain import read_link
from mirror.audit.custody import Custody
from mirror.audit.evidence import Citations, held
from mirror.audit.notes import Verifier
from mirror.audit.pack_pages import pages_of, rested_on
from mirror.audit.pack_range import Range, at_of, flanks, numbered, range_of
from mirror.audit.pack_removed import leave_of
from mirror.audit.pack_text import README
from mirror.audit.pack_timeline import Timeline
from mirror.audit.segments import lines, read_head, read_personal, segments
from mirror.audit.signoff import SIGNATURE, signed_off
from mirror.audit.tiles import nodes
from mirror.audit.tree import Frontier, inclusion, root
from mirror.core.canonical import canonical, instant
from mirror.core.errors import InputError, MirrorError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from mirror.audit.evidence import Reading
    from mirror.audit.notes import Checkpoint
    from mirror.audit.tree import Node

#: Leaves that are put into the tree at a time.
_PAGE: Final = 4096
_SHARED: Final = re.compile(r"# \[what is shared.*?# \[end of what is shared\]\n", re.DOTALL)


class NotCovered(MirrorError):
    """No checkpoint covers the records yet: one has to be made first."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: records of `since` (inclusive) to `until` (exclusive), and whether with who asked.

    With `span` the records are these by number (`carry`), and the moments say no more than what they bear. `files` go into the pack besides.
    """

    since: datetime
    until: datetime
    personal: bool = False
    span: Range | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sources:
    """What besides the ledger a pack is made from. `noted` gives what was noted of a list's edition when it came."""

    read: Reading
    noted: Callable[[str, str], Mapping[str, Any] | None]
    key: Ed25519PrivateKey
    version: str


@dataclass(slots=True)
class _Draft:
    """A pack under way: its folder, and the digests of what is in it."""

    folder: Path
    files: dict[str, Any] = field(default_factory=dict)

    def put(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.files[name] = {"sha256": sha256(data).hexdigest(), "size": len(data)}

    def stream(self, name: str, pieces: Iterator[bytes]) -> None:
        with (self.folder / name).open("wb") as file:
            file.writelines(pieces)
        with (self.folder / name).open("rb") as file:
            self.files[name] = {"sha256": file_digest(file, "sha256").hexdigest(), "size": (self.folder / name).stat().st_size}


def make_pack(ledger: Path, target: Path, wish: Wish, sources: Sources, now: datetime) -> dict[str, Any]:
    """Write the pack to `target`, a new folder or (`.tar`) file; gives its manifest, with `lost` for evidence that is not there.

    Raises `NotCovered`, `InputError` where nothing belongs to the span, the ledger is not sound or `target` is there already,
    and `OSError`.
    """
    if target.exists():
        raise InputError([Problem(str(target), "", "is there already; a pack is made anew")])
    pages, custody = _book(ledger)
    if custody.current is None or Verifier.of(custody.current.name, sources.key).text != custody.current.text:
        raise InputError([Problem("trust.signing_key", "", "is not the key that the ledger names: `mirror ledger verify` tells more")])
    head = read_head(ledger)
    since, until = instant(wish.since), instant(wish.until)
    count = wish.span.stop if wish.span is not None else head.count if head is not None else 0
    span = wish.span or range_of(ledger, since, until, count)
    if span is None:
        raise InputError([Problem(str(ledger), "", f"has no record from {since} to before {until}")])
    leave = leave_of(ledger, span, count)
    one, node = _checkpoint(ledger, pages, custody, max(span.stop, *(sequence + 1 for sequence in leave)) if leave else span.stop)
    draft = _Draft(target.with_name(f".{target.name}.{secrets.token_hex(4)}"))
    target.parent.mkdir(parents=True, exist_ok=True)
    draft.folder.mkdir(mode=0o700)
    try:
        manifest = _filled(draft, ledger, (span, one, node, custody, pages), wish, sources, leave)
        data = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"
        (draft.folder / verify_pack.MANIFEST).write_bytes(data)
        (draft.folder / SIGNATURE).write_bytes(signed_off(verify_pack.KIND, verify_pack.MANIFEST, data, sources.key, now))
        _finish(draft.folder, target)
    finally:
        shutil.rmtree(draft.folder, ignore_errors=True)
    return manifest


def _book(ledger: Path) -> tuple[book.Pages, Custody]:
    pages, custody = book.read(ledger / book.FILE), Custody()
    wrong = pages.fault
    for line in pages.records:
        wrong = wrong or custody.add(line)
    if wrong:
        raise InputError([Problem(str(ledger / book.FILE), "", f"{wrong}: `mirror ledger verify` tells more")])
    return pages, custody


def _checkpoint(ledger: Path, pages: book.Pages, custody: Custody, stop: int) -> tuple[Checkpoint, Node]:
    """The first checkpoint that covers the records before `stop` and is of this history: also after more was recorded and signed, the same one."""
    for one, _ in pages.checkpoints:
        key = custody.in_force(one.size)
        if one.size >= stop and key is not None and one.note.signed_by(key):
            node = nodes(ledger, one.size, one.root)
            if root(node, one.size) == one.root:
                return one, node
    raise NotCovered(f"no checkpoint covers record {stop - 1}")


_Place = tuple[Range, "Checkpoint", "Node", Custody, book.Pages]


def _filled(draft: _Draft, ledger: Path, place: _Place, wish: Wish, sources: Sources, leave: set[int]) -> dict[str, Any]:
    """Every file but the manifest and its signature; gives the manifest. `leave` are the records that permit what is gone."""
    span, one, node, custody, pages = place
    citations, timeline = Citations(), Timeline()
    left, right = flanks(node, span, one.size)
    draft.put("tree.json", canonical({"first": span.first, "stop": span.stop, "size": one.size, "left": left, "right": right}) + b"\n")
    draft.stream("records.jsonl", _records(ledger, span, node, citations, timeline))
    if wish.personal:
        draft.stream("personal.jsonl", _personal(ledger, span))
    draft.put("checkpoint", one.note.data)
    kept = [(note, at) for note, at in pages.checkpoints if span.first <= note.size <= span.stop]
    draft.stream("checkpoints.jsonl", (canonical({"at": at, "note": note.note.data.decode()}) + b"\n" for note, at in kept))
    for name, data in pages_of(timeline, (instant(wish.since), instant(wish.until)), sources.read, sources.noted, custody):
        draft.put(name, data)
    beside = [span.first - 1] * bool(span.first) + [span.stop] * (span.stop < one.size)
    rests = leave | rested_on(timeline, sources.read)
    wanted = {*beside, *(sequence for sequence in rests if not span.first <= sequence < span.stop)}
    draft.stream("context.jsonl", _context(ledger, wanted, pages, one, node))
    lost = _evidence(draft, citations, sources.read)
    for name, data in wish.files.items():
        draft.put(name, data)
    draft.put("verify_pack.py", program().encode())
    draft.put("README.txt", README.encode())
    return {
        "format": verify_pack.FORMAT, "version": sources.version, "ledger": custody.origin, "key": custody.current.text if custody.current else "",
        "from": instant(wish.since), "to": instant(wish.until), "personal": wish.personal,
        "records": {"first": span.first, "count": span.stop - span.first, "outside": span.outside},
        "checkpoint": {"size": one.size, "root": one.root.hex()}, "lost": lost, "files": dict(sorted(draft.files.items())),
        **({"span": verify_pack.BY_NUMBER} if wish.span is not None else {}),
    }  # fmt: skip


def _records(ledger: Path, span: Range, node: Node, citations: Citations, timeline: Timeline) -> Iterator[bytes]:
    """The lines of the range, each against its leaf and all against the tree; everything before it is only looked at."""
    frontier, leaves, before = Frontier.at(node, span.first), list[bytes](), ""
    for sequence, line in numbered(ledger, 0, span.stop):
        within = sequence >= span.first
        timeline.feed(sequence, line, at_of(line), within=within)
        if not within:
            continue
        link = read_link(line)
        if isinstance(link, str) or link.sequence != sequence or (before and link.previous != before):
            raise _unsound(ledger, sequence, link if isinstance(link, str) else "does not follow the one before")
        before = link.leaf
        leaves.append(bytes.fromhex(link.leaf))
        if len(leaves) == _PAGE:
            frontier.extend(leaves)
            leaves = []
        citations.take(line)
        yield line
    frontier.extend(leaves)
    if frontier.size != span.stop or frontier.root() != root(node, span.stop):
        raise _unsound(ledger, span.stop - 1, "the records up to here are not those that were signed")


def _unsound(ledger: Path, sequence: int, what: str) -> InputError:
    return InputError([Problem(str(ledger), f"seq {sequence}", f"{what}: `mirror ledger verify` tells more")])


def _personal(ledger: Path, span: Range) -> Iterator[bytes]:
    """The lines of personal files that are of the range."""
    known = segments(ledger)
    holding = [one for one in known if one.first <= span.first][-1:]
    for current in [*holding, *(one for one in known if span.first < one.first < span.stop)]:
        for line in lines(current.personal):
            entry = read_personal(line)
            if entry is not None and span.first <= entry["seq"] < span.stop:
                yield line


def _context(ledger: Path, wanted: set[int], pages: book.Pages, one: Checkpoint, node: Node) -> Iterator[bytes]:
    """Records from outside the range with their paths to the root; of later ones, which are about keys, without."""
    rows = {json.loads(line)["seq"]: line for line in pages.records}
    lacking = wanted - rows.keys()
    if lacking:
        rows |= {sequence: line for sequence, line in numbered(ledger, min(lacking), max(lacking) + 1) if sequence in lacking}
    for sequence, line in sorted(rows.items()):
        path = [part.hex() for part in inclusion(node, sequence, one.size)] if sequence < one.size else None
        yield canonical({"path": path, "record": line.decode().rstrip("\n")}) + b"\n"


def _evidence(draft: _Draft, citations: Citations, read: Reading) -> list[dict[str, Any]]:
    """Copy what is cited, unpacked, and list it; gives what is not there."""
    rows, lost = [], []
    for digest, citation, found in held(citations, read):
        row: dict[str, Any] = {"sha256": digest, "seq": citation.sequence, "cited_as": citation.what}
        if isinstance(found, str):
            lost.append({**row, "why": found})
            continue
        draft.put(f"evidence/{digest[:2]}/{digest}", found[1])
        rows.append({**row, "kind": found[0], "size": len(found[1])})
    rows.sort(key=lambda row: (row["seq"], row["sha256"]))
    draft.put("evidence.jsonl", b"".join(canonical(row) + b"\n" for row in rows))
    return sorted(lost, key=lambda row: (row["seq"], row["sha256"]))


def program() -> str:
    """The verifier as it lies in a pack: `verify_pack.py` with what it shares with other programs put in its place."""
    decision = inspect.getsource(verify_decision)
    keys = decision[decision.index("# --- Ed25519") : decision.index("# --- one proof")].rstrip()
    cited = "\n\n".join(inspect.getsource(one).rstrip() + "\n" for one in (evidence.cited_by, evidence.cited_within)).rstrip()
    signing = inspect.getsource(verify_keys)
    signing = signing[signing.index("# --- keys and signatures") :].rstrip()
    removed = inspect.getsource(verify_removed)
    removed = removed[removed.index("# --- what was removed") :].rstrip()
    digest = f"_DIGEST = re.compile({evidence._DIGEST.pattern!r})"  # noqa: SLF001 - its own text goes with the function's
    return _SHARED.sub(lambda _: f"{keys}\n\n\n{signing}\n\n\n{removed}\n\n\n{digest}\n\n\n{cited}\n\n", inspect.getsource(verify_pack))


def _finish(folder: Path, target: Path) -> None:
    """Put the finished folder in its place, as it is or as a tar archive with nothing of this machine in it."""
    if target.suffix != ".tar":
        folder.rename(target)
        return
    draft = folder.with_name(f"{folder.name}.tar")
    try:
        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()):
                path, entry = folder / name, tarfile.TarInfo(name)
                entry.size, entry.mode = path.stat().st_size, 0o644
                with path.open("rb") as file:
                    tar.addfile(entry, file)
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)
