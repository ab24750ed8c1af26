"""The conformance table: cells that tests prove, and the page that shows them.

A test claims its cell with `@pytest.mark.proves(feature, client, result="same", note="")`, also on one parameter
(`pytest.param(..., marks=...)`) and more than once. The cell holds when every test that claims it passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "protocols" / "conformance.md"

#: The columns, family by family, in the order in which they are shown. A client that is in none is an error.
FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "huggingface_hub": ("huggingface_hub 0.23", "huggingface_hub 0.36", "huggingface_hub 1.x", "huggingface_hub 2.x"),
    "Libraries on huggingface_hub": ("transformers", "sentence-transformers", "datasets, loaded", "datasets, streamed"),
    "Other clients of the hub": ("huggingface.js", "git and git-lfs", "llama.cpp", "llama.cpp of 2025", "Ollama", "Rust hf-hub 0.5"),
    "Python packages": ("pip", "uv", "Poetry", "pipenv", "pdm"),
}

#: What a cell may say, and what that means.
RESULTS: Final[dict[str, str]] = {
    "same": "the client ends with what it gets from the hub or index itself: values, files, exception",
    "works": "the client does its job; what it gets cannot be compared word for word",
    "refused": "refused as it must be, and the client shows the sentence or stops with an error of its own",
    "differs": "the client gets something else than upstream gives, for the reason below the table",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One feature with one client. `client` is a column of `FAMILIES`, `result` a word of `RESULTS`."""

    feature: str
    client: str
    result: str = "same"
    note: str = ""

    def __post_init__(self) -> None:
        if family_of(self.client) is None:
            raise ValueError(f"{self.client!r} is no column of the conformance table")
        if self.result not in RESULTS:
            raise ValueError(f"{self.result!r} is no result of the conformance table")
        if self.result == "differs" and not self.note:
            raise ValueError(f"{self.feature!r} differs for {self.client!r} without a reason")


def family_of(client: str) -> str | None:
    """The family to which a column belongs."""
    return next((family for family, clients in FAMILIES.items() if client in clients), None)


def page(cells: Iterable[Cell], versions: Sequence[str], when: str) -> str:
    """The whole page in Markdown. `versions` are lines such as `pip 26.3`; `when` says when and how it was made."""
    unique = {(cell.feature, cell.client): cell for cell in cells}
    lines = [
        "# Conformance", "",
        ("What each client gets through the mirror, feature by feature. Every cell was proved by a test that ran the real"
        " client (of llama.cpp, Ollama and Rust hf-hub: the HTTP calls they make, as read in their sources) against the mirror,"
        " with a stand-in hub or index behind it that follows the measured behaviour of the real one."), "",
        f"Made by `make conformance`; do not edit. {when}", "",
        *(f"- **{word}**: {meaning}" for word, meaning in RESULTS.items()), "- empty: the client has no such feature, or nobody tried", "",
    ]  # fmt: skip
    for family, clients in FAMILIES.items():
        here = [cell for cell in unique.values() if cell.client in clients]
        if here:
            lines += _family(family, [client for client in clients if any(cell.client == client for cell in here)], here)
    lines += ["## Versions", "", *(f"- {version}" for version in sorted(set(versions), key=str.casefold)), ""]
    return "\n".join(lines)


def _family(family: str, clients: Sequence[str], cells: Sequence[Cell]) -> list[str]:
    notes: list[str] = []
    by_place = {(cell.feature, cell.client): cell for cell in cells}
    lines = [f"## {family}", "", f"| feature | {' | '.join(clients)} |", f"| --- |{' --- |' * len(clients)}"]
    for feature in dict.fromkeys(cell.feature for cell in cells):
        row = []
        for client in clients:
            cell = by_place.get((feature, client))
            if cell is not None and cell.note and cell.note not in notes:
                notes.append(cell.note)
            row.append("" if cell is None else f"{cell.result} ({notes.index(cell.note) + 1})" if cell.note else cell.result)
        lines.append(f"| {feature} | {' | '.join(row)} |")
    return [*lines, "", *(f"{number}. {note}" for number, note in enumerate(notes, 1)), ""] if notes else [*lines, ""]


def told_by(text: str) -> set[tuple[str, str, str]]:
    """(feature, client, result) of every cell that a page shows."""
    told: set[tuple[str, str, str]] = set()
    columns: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = []
            continue
        row = [part.strip() for part in line.strip().strip("|").split("|")] if line.rstrip().endswith("|") else []
        if not columns:
            columns = row[1:]
        elif not set(line) <= set("| -"):
            told |= {(row[0], client, word.split(" (")[0]) for client, word in zip(columns, row[1:], strict=True) if word}
    return told
