"""What has been accepted and what has been told, once and for all: `data/approvals/register.jsonl`, one canonical line each.

One process of a node adds to it; all read it. An incomplete last line is what a crash leaves, and counts for nothing.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from mirror.core.canonical import canonical
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


class Register:
    """Rows by `kind`. Reads what other processes have added; nothing is ever taken out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[Mapping[str, Any]] = []
        self._read = 0

    def rows(self, kind: str) -> Iterator[Mapping[str, Any]]:
        """Every row of a kind, oldest first. Raises `InputError` for a file that cannot be read or is damaged."""
        self._follow()
        return self.known(kind)

    def known(self, kind: str) -> Iterator[Mapping[str, Any]]:
        """Those of them that were read before, whatever has become of the file."""
        return (row for row in self._rows if row.get("kind") == kind)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows, durable on return. Raises `OSError`."""
        data = b"".join(canonical(row) + b"\n" for row in rows)
        if not data:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._follow()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            file.truncate(self._read)  # what a crash left of a line
            file.seek(self._read)
            file.write(data)
            file.flush()
            os.fsync(descriptor)

    def _follow(self) -> None:
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError([Problem(str(self.path), "", error.strerror or "cannot be read")]) from None
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise InputError([Problem(str(self.path), f"byte {self._read}", "is damaged")])
            self._rows.append(row)
        self._read += len(whole)
