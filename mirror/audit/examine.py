"""A ledger against everything that is known of it: its records, their tree, its checkpoints, and those that were kept elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.audit import book
from mirror.audit.account import Account
from mirror.audit.chain import Fault, Head
from mirror.audit.check import Checked, check
from mirror.audit.custody import REPLACED, Custody, is_anchor, judge
from mirror.audit.segments import is_written
from mirror.audit.tiles import PAGE, Short, StoredNodes, TreeCheck, rebuilt
from mirror.audit.tree import EMPTY, root

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mirror.audit.book import Pages
    from mirror.audit.evidence import Citations
    from mirror.audit.notes import Checkpoint, Verifier
    from mirror.audit.tree import Node


@dataclass(slots=True)
class Examined:
    """What was found. `fault` is the first thing wrong; `remarks` are true, and no fault.

    `root` is that of all records; `signed` says how many of them the newest checkpoint covers, `checkpoints` how many there
    are; records before `since` were taken for verified. `removed` are those of which a stub is left, as others permit.
    """

    head: Head
    fault: Fault | None = None
    erased: int = 0
    unfinished: str = ""
    root: bytes = EMPTY
    checkpoints: int = 0
    signed: int = 0
    since: int = 0
    removed: int = 0
    remarks: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Seen:
    """What the walk over the records collects."""

    tree: TreeCheck
    custody: Custody
    records: list[bytes]
    account: Account
    wrong: Fault | None = None
    citations: Citations | None = None

    def __call__(self, line: bytes, leaf: bytes) -> None:
        tree = self.tree
        tree.page.append(leaf)
        if len(tree.page) == PAGE:
            tree.settle()
        self.account.add(line)
        if self.citations is not None:
            self.citations.take(line)
        if is_anchor(line):
            self._anchor(line)

    def _anchor(self, line: bytes) -> None:
        before = self.custody.last
        said = self.custody.add(line)
        if self.custody.last != before:
            self.records.append(line)
        if said and self.wrong is None:
            self.wrong = Fault(self.custody.last, said)


def examine(
    directory: Path, *, incremental: bool = False, foreign: Sequence[tuple[str, Checkpoint]] = (), key: Verifier | None = None,
    citations: Citations | None = None,
) -> Examined:
    """Verify the ledger in `directory`, with a mirror that writes it or without.

    `incremental` takes what the newest checkpoint covers as verified once the tree's files agree with it. `foreign` are
    checkpoints from elsewhere, each with its source; `key` is one that must be among the ledger's keys. `citations` collects what the verified records
    cite of the evidence archive. Raises `OSError`.
    """
    shown, pages = book.shown(directory), book.read(directory / book.FILE)  # in this order: both may grow meanwhile
    live = is_written(directory)
    start = _start(directory, pages) if incremental else None
    since = Head() if start is None else start[0]
    seen = _Seen(
        TreeCheck(directory, since.count), Custody() if start is None else start[1], [], Account(since.count), citations=citations
    )
    if start is not None:
        seen.records = list(pages.records)
    checked = check(directory, since, seen)
    seen.tree.finish(live=live)
    found = Examined(checked.head, checked.fault, checked.erased, checked.unfinished, since=since.count)
    if incremental and start is None and pages.newest is not None:
        found.remarks.append("the tree's files do not agree with the newest checkpoint: every record was verified")
    if found.fault is None:
        _tree(found, seen, checked)
    if found.fault is None:
        found.fault = _book(found, seen, pages, shown, live=live)
    if found.fault is None:
        found.fault, found.removed = seen.account.fault(), seen.account.removed
    if found.fault is not None:
        return found
    _judge(found, seen, pages, foreign, key, seen.tree.nodes())
    if found.fault is not None and start is not None:
        found.fault, found.remarks = None, []  # of the tree's files only the top was compared: the segments are the truth
        _judge(found, seen, pages, foreign, key, rebuilt(directory, found.head.count))
    return found


def _start(directory: Path, pages: Pages) -> tuple[Head, Custody] | None:
    """Where the newest checkpoint ends, if the tree's files have the root that it signed; and the keys until there."""
    newest, custody = pages.newest, Custody()
    if newest is None or pages.fault or any(custody.add(line) for line in pages.records):
        return None
    key = custody.in_force(newest.size)
    stored = StoredNodes(directory)
    try:
        if key is None or not newest.note.signed_by(key) or newest.size == 0 or root(stored, newest.size) != newest.root:
            return None
        return Head(newest.size, stored(0, newest.size - 1).hex()), custody
    except Short:
        return None
    finally:
        stored.close()


def _tree(found: Examined, seen: _Seen, checked: Checked) -> None:
    found.root = seen.tree.root
    if seen.tree.wrong is not None:
        file, sequence = seen.tree.wrong
        found.fault = Fault(sequence, "what is stored of the tree is not made from these records", file)
    if seen.tree.lacks and not checked.unfinished:
        found.unfinished = f"{seen.tree.lacks}; the next start makes it again"


def _book(found: Examined, seen: _Seen, pages: Pages, shown: bytes, *, live: bool) -> Fault | None:
    """Whether the file of checkpoints is whole and has the records that the segments have."""
    count = pages.newest.size if pages.newest is not None else 0
    if pages.fault:
        return Fault(count, pages.fault, book.FILE)
    if seen.wrong is not None:
        return seen.wrong
    if pages.unfinished and not live:
        found.unfinished = found.unfinished or pages.unfinished
    if (missing := book.lost(shown, pages)) is not None:
        return Fault(missing.size, f"the checkpoint of {missing.size} records that lies in {book.NEWEST!r} is missing", book.FILE)
    if pages.newest is not None and not any(one.note.data == shown for one, _ in pages.checkpoints):
        return Fault(count, "the copy of the newest checkpoint is missing or damaged", book.NEWEST)
    if pages.records != seen.records[: len(pages.records)]:
        return Fault(count, "a record is copied here that the segments do not have, or not there", book.FILE)
    rest = Custody()
    for line in seen.records[len(pages.records) :]:
        rest.add(line)
        if rest.last < count:
            return Fault(rest.last, "a record about a key or a gap is not copied here", book.FILE)
    return None


def _judge(
    found: Examined, seen: _Seen, pages: Pages, foreign: Sequence[tuple[str, Checkpoint]], key: Verifier | None, node: Node
) -> None:
    """Each checkpoint against the records."""
    custody, size = seen.custody, found.head.count
    _keys(found, custody, node, key)
    found.checkpoints, highest = len(pages.checkpoints), 0
    kept = [(book.FILE, one, number) for number, (one, _) in enumerate(pages.checkpoints) if one.size > found.since or one is pages.newest]
    for source, one, number in [*kept, *((source, one, None) for source, one in foreign)]:
        judged = judge(one, custody, size, node, None if number is None else pages.after(number))
        if judged.wrong and found.fault is None:
            found.fault = Fault(min(one.size, size), f"the checkpoint {judged.wrong}", source)
        elif judged.gap is not None:
            of = f"is of the history that record {judged.gap.sequence} says was lost"
            unknown = "is signed by a key of the lost records, which cannot be checked here"
            found.remarks.append(f"{source}: the checkpoint of {one.size} records {unknown if judged.unknown_key else of}")
        elif number is not None and not judged.wrong:
            if one.size < highest and found.fault is None:
                found.fault = Fault(one.size, f"a checkpoint of {one.size} records follows one of {highest}", source)
            highest = found.signed = one.size


def _keys(found: Examined, custody: Custody, node: Node, key: Verifier | None) -> None:
    if (unbound := custody.unbound(node)) is not None:
        found.fault = Fault(*unbound)
    elif key is not None and all(era.verifier.text != key.text for era in custody.eras):
        found.fault = Fault(0, f"no key of this ledger is {key.text}")
    for era in custody.eras:
        if era.how == REPLACED:
            found.remarks.append(f"seq {era.sequence}: the key was replaced without the one before it")
    for gap in custody.gaps:
        found.remarks.append(f"seq {gap.sequence}: tells of a gap: records after {gap.since}, up to {gap.published}, are not those that were signed")
