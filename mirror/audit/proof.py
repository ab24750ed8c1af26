"""Proof of one record: that it stands in the ledger of which a checkpoint was signed. Checked by `verify_decision`, or by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.record import leaf_hash
from mirror.audit.retention import is_stub
from mirror.audit.segments import lines, read_personal, segments
from mirror.audit.tiles import Short, StoredNodes, nodes, rebuilt
from mirror.audit.tree import inclusion, verify_inclusion
from mirror.core.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mirror.audit.notes import Checkpoint, Verifier

FORMAT: Final = "entrepot-ledger-proof/1"


def line_at(directory: Path, sequence: int) -> bytes | None:
    """The sealed line of a record, with its newline; None where the ledger does not reach it."""
    holding = [one for one in segments(directory) if one.first <= sequence]
    for at, line in enumerate(lines(holding[-1].path), holding[-1].first) if holding else ():
        if at == sequence:
            return line if line.endswith(b"\n") else None
    return None


def personal_at(directory: Path, sequence: int) -> dict[str, Any] | None:
    """Salt and personal part of a record; None where they were erased."""
    holding = [one for one in segments(directory) if one.first <= sequence]
    for line in lines(holding[-1].personal) if holding else ():
        entry = read_personal(line)
        if entry is not None and entry["seq"] == sequence:
            return {"part": entry["part"], "salt": entry["salt"]}
    return None


def proof_of(directory: Path, sequence: int, one: Checkpoint, verifier: Verifier, *, personal: bool = False) -> dict[str, Any]:
    """The proof of record `sequence` under a checkpoint that covers it, as plain JSON values.

    `personal` adds who asked, if that was not erased. Raises `ValueError` where the records are not those that were signed.
    """
    line = line_at(directory, sequence)
    if line is None:
        raise ValueError(f"the ledger has no record {sequence}")
    if is_stub(line):
        raise ValueError(f"record {sequence} was removed after its retention")
    return _proof(line, sequence, one, verifier, _path(directory, sequence, one, _leaf(line))) | (
        {"personal": personal_at(directory, sequence)} if personal else {}
    )


def prover(directory: Path, one: Checkpoint, verifier: Verifier, *, personal: bool = False) -> Callable[[int, bytes], dict[str, Any]]:
    """As `proof_of`, for many records in order of which the lines are at hand."""
    node = nodes(directory, one.size, one.root)
    parts = _Parts(directory)

    def prove(sequence: int, line: bytes) -> dict[str, Any]:
        path = inclusion(node, sequence, one.size)
        if not verify_inclusion(_leaf(line), sequence, one.size, path, one.root):
            raise ValueError(f"record {sequence} is not the one that was signed")
        return _proof(line, sequence, one, verifier, path) | ({"personal": parts.of(sequence)} if personal else {})

    return prove


class _Parts:
    """Personal parts, asked for by rising sequence."""

    def __init__(self, directory: Path) -> None:
        entries = (read_personal(line) for known in segments(directory) for line in lines(known.personal))
        self._entries = (entry for entry in entries if entry is not None)
        self._entry = next(self._entries, None)

    def of(self, sequence: int) -> dict[str, Any] | None:
        while self._entry is not None and self._entry["seq"] < sequence:
            self._entry = next(self._entries, None)
        found = self._entry
        return {"part": found["part"], "salt": found["salt"]} if found is not None and found["seq"] == sequence else None


def _leaf(line: bytes) -> bytes:
    return bytes.fromhex(leaf_hash(bare(line.decode().rstrip("\n")).encode()))


def _proof(line: bytes, sequence: int, one: Checkpoint, verifier: Verifier, path: Sequence[bytes]) -> dict[str, Any]:
    return {
        "format": FORMAT, "record": line.decode().rstrip("\n"), "index": sequence, "size": one.size, "path": [part.hex() for part in path],
        "checkpoint": one.note.data.decode(), "key": verifier.text,
    }  # fmt: skip


def bare(record: str) -> str:
    """A sealed record without its `leaf`: what the leaf is the hash of."""
    return canonical({key: value for key, value in json.loads(record).items() if key != "leaf"}).decode()


def _path(directory: Path, sequence: int, one: Checkpoint, leaf: bytes) -> list[bytes]:
    """The audit path, from the tree's files, or where those are short or damaged from the segments."""
    stored = StoredNodes(directory)
    try:
        path = inclusion(stored, sequence, one.size)
        if verify_inclusion(leaf, sequence, one.size, path, one.root):
            return path
    except Short:
        pass
    finally:
        stored.close()
    path = inclusion(rebuilt(directory, one.size), sequence, one.size)
    if not verify_inclusion(leaf, sequence, one.size, path, one.root):
        raise ValueError(f"the ledger's first {one.size} records are not those that were signed")
    return path
