"""Taking back what was given: a signed withdrawal without content, and what it means at the receiver.

There it refuses like an emergency deny: to everybody, at once, until it is lifted (`mirror bundle lift`). It lies in
`<data>/bundles/recalled/<sender>-<name>-<number>.json` and is read with the signed statements (`proxy.recalls`).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from mirror.bundle.contents import ROWS
from mirror.bundle.layout import BundleWriter
from mirror.bundle.outgoing import Carrier, Made, Sender
from mirror.bundle.sent import SentBook
from mirror.bundle.statement import Statement, Withdrawn, digest_of, payload, sign
from mirror.core.canonical import canonical, instant
from mirror.core.errors import InputError, Problem
from mirror.core.ids import ulid
from mirror.core.nouns import HUGGINGFACE, PYPI
from mirror.durable import write_whole
from mirror.lists.loading import load_catalogue
from mirror.policy.patterns import Pattern, parse_pattern
from mirror.proxy.recalls import recall_file

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_NOTHING: Final = b""


def withdrawn(catalogue: Sequence[str], artifacts: Sequence[str], publishers: Sequence[str], reason: str, basis: str, *, legal: bool, wide: bool = False) -> tuple[Withdrawn, ...]:
    """What a recall names; `wide` lets a pattern name everybody's. Raises `InputError` with every pattern that is none or too wide, and every publisher that the catalogue does not know."""
    problems: list[Problem] = []
    patterns = list(artifacts)
    for text in artifacts:
        try:
            pattern = parse_pattern(text)
        except ValueError as error:
            problems.append(Problem("--recall", text, str(error)))
            continue
        if not wide and _of_everybody(pattern):
            problems.append(Problem("--recall", text, "names no owner, so that it takes back what anybody published: --yes if it is meant"))
    if publishers:
        known = {one.id: one for one in load_catalogue(catalogue).publishers}
        for name in publishers:
            if (one := known.get(name)) is None:
                problems.append(Problem("--publisher", name, "is no publisher of the catalogue: `mirror publisher search`"))
                continue
            patterns += [f"pkg:huggingface/{handle}/*" for hub, handle in one.handles if hub == HUGGINGFACE]
            patterns += [f"pkg:pypi/{project}" for project in one.projects]
    if problems:
        raise InputError(problems)
    if not patterns:
        raise InputError([Problem("--publisher", ", ".join(publishers), "has neither handles nor projects in the catalogue")])
    return tuple(Withdrawn(pattern, reason, basis, legal) for pattern in dict.fromkeys(patterns))


def _of_everybody(pattern: Pattern) -> bool:
    """Whether a star stands before it is said whose, or of a package, which, is meant."""
    begun = pattern.name.prefix
    return pattern.name.exact is None and (not begun if pattern.ecosystem == PYPI else "/" not in begun)


def written_recall(sender: Sender, rows: Sequence[Withdrawn], carrier: Carrier) -> Made:
    """Write the withdrawal. Raises `BundleFault`, `InputError`, `OSError`."""
    book = SentBook(sender.data, sender.name)
    book.take_back()
    book.demand_later(sender.created)
    with BundleWriter(carrier.path, carrier.form, volume=carrier.volume) as writer, book.turn():
        last = book.get(book.last)
        contents = writer.add_bytes(ROWS, "contents.jsonl", _NOTHING)
        statement = Statement(
            sender.name, book.last + 1, sender.created, sender.origin, contents, writer.seal(), previous="" if last is None else last.digest,
            withdrawn=tuple(rows), checkpoint=sender.checkpoint, purpose="recall",
        )  # fmt: skip
        signed = payload(statement)
        # Who has what was sent before has it with this number too.
        with book.naming(statement, signed, () if last is None else last.rows, writer.place):
            writer.finish(sign(signed, [sender.key]), created=sender.created)
    return Made(statement, digest_of(signed), 0, 1, 0, 0, writer.digest, writer.places)


def applied(data: Path, statement: Statement, digest: str, by: str, now: datetime) -> Path | None:
    """Put a withdrawal in force, durable on return; `by` is the name on the signer's card. Gives its file, None where it is in force already. Raises `OSError`."""
    path = recall_file(data, f"{sha256(statement.sender.encode()).hexdigest()[:16]}-{statement.name}-{statement.number:06}")
    if path.exists():
        return None
    alike: dict[tuple[str, str, bool], list[str]] = {}
    for row in statement.withdrawn:
        alike.setdefault((row.reason, row.basis, row.legal), []).append(row.artifact)
    denies = [
        {"id": f"D-{ulid(now, sha256(f'{digest} {at}'.encode()).digest()[:10])}", "at": instant(now), "artifacts": artifacts, "reason": reason, "basis": basis, "legal": legal}
        for at, ((reason, basis, legal), artifacts) in enumerate(alike.items())
    ]
    whose = {"by": by, "name": statement.name, "number": statement.number, "day": f"{statement.created:%Y-%m-%d}"}
    write_whole(path, canonical({"version": 1, "statement": digest, "sender": statement.sender, "denies": denies} | whose) + b"\n")
    return path
