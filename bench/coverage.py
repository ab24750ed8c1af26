"""How much of what is used the catalogue knows: owners on the model hub and projects of the package index, by lists of names.

    python -m bench.coverage                                  the lists of bench/names (their README: where from, how counted)
    python -m bench.coverage --hub huggingface owners.txt     any other list, one name a line
    python -m bench.coverage --write                          the first, into bench/results/coverage.txt

For a package only what its name says counts here; what its accounts and attestations would say at run time (docs/catalogue.md)
comes on top. "Known" is an entry of the catalogue; a hint (grade D) is none.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirror.core.nouns import HUGGINGFACE, PYPI, Kind, Project
from mirror.lists.loading import load_catalogue
from mirror.policy.catalogue import HINT, Catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.core.facts import Publisher

ROOT = Path(__file__).resolve().parent.parent
LISTS = ROOT / "bench" / "names"
RESULT = ROOT / "bench" / "results" / "coverage.txt"
#: What is known of a known publisher's origin, the first that holds.
SOURCED, UNVERIFIED, LINEAGE, NOBODYS, OPEN = (
    "country with a source", "country unverified", "repackager: by lineage", "nobody's country", "country not found",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Names:
    """A list of names on one hub, the most used first; `weights`, where there are any, are downloads."""

    title: str
    hub: str
    names: tuple[str, ...]
    weights: tuple[int, ...] = ()


def shipped() -> tuple[Names, ...]:
    """The lists of bench/names."""
    owners, downloads, projects = (_rows(LISTS / f"{name}.csv") for name in ("hub_owners", "hub_downloads", "pypi_projects"))
    return (
        Names("hub owners, by how many maintainers of tools name them", HUGGINGFACE, tuple(row["owner"] for row in owners)),
        Names("PyPI projects, by downloads", PYPI, tuple(row["project"] for row in projects)),
        Names(
            "hub owners, by downloads in a sample of recent models", HUGGINGFACE, tuple(row["owner"] for row in downloads),
            tuple(int(row["downloads_30d"]) for row in downloads),
        ),
    )  # fmt: skip


def coverage(catalogue: Catalogue, listed: Names) -> dict[str, Any]:
    """Counts over a list: how many are known, what of their origin, their kinds and grades; and who is not, in the list's order."""
    grades: Counter[str] = Counter()
    origins: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    unknown = []
    for name in listed.names:
        project = Project(PYPI, Kind.PACKAGE, name) if listed.hub == PYPI else Project(HUGGINGFACE, Kind.MODEL, f"{name}/x")
        found = catalogue.publisher_of(project)
        if found is None or found[1] == HINT:
            unknown.append(name)
            continue
        grades[found[1]] += 1
        kinds[found[0].kind] += 1
        origins[_origin(catalogue, found[0])] += 1
    strange = set(unknown)
    weight = sum(weight for name, weight in zip(listed.names, listed.weights, strict=False) if name not in strange)
    return {
        "list": listed.title, "names": len(listed.names), "known": len(listed.names) - len(unknown),
        "first_100": len([name for name in listed.names[:100] if name not in strange]),
        **({"downloads_known": round(weight / sum(listed.weights), 3)} if listed.weights else {}),
        "origin": dict(origins), "kinds": dict(sorted(kinds.items())), "grades": dict(sorted(grades.items())), "unknown": unknown,
    }  # fmt: skip


def _origin(catalogue: Catalogue, publisher: Publisher) -> str:
    """What the catalogue knows of where the publisher's own work is from. A volunteers' project and a person have no country here."""
    if publisher.role == "repackager":
        return LINEAGE
    countries = catalogue.countries_of(publisher)
    if countries:
        return SOURCED if any("unverified" not in country.source for country in countries) else UNVERIFIED
    return NOBODYS if publisher.kind in ("community", "individual") else OPEN


def told(found: dict[str, Any]) -> list[str]:
    """One list's counts as lines of text."""
    names, known = found["names"], found["known"]
    first = f"; of the first 100 {found['first_100']}" if names > 100 else ""
    share = f"; of their downloads {found['downloads_known']:.1%}" if "downloads_known" in found else ""
    return [
        f"{found['list']}: {known} of {names} known ({known / names:.1%}{first}{share})",
        "  " + ", ".join(f"{what} {found['origin'].get(what, 0)}" for what in (SOURCED, UNVERIFIED, LINEAGE, NOBODYS, OPEN)),
        "  " + ", ".join(f"{kind} {count}" for kind, count in found["kinds"].items()) + "; grades " + ", ".join(f"{grade} {count}" for grade, count in found["grades"].items()),
        f"  unknown: {', '.join(found['unknown']) or 'none'}",
    ]  # fmt: skip


def report(catalogue: Catalogue, lists: Sequence[Names]) -> str:
    """All lists as text, without a date."""
    return "\n".join(line for listed in lists for line in told(coverage(catalogue, listed))) + "\n"


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def main() -> None:
    """Print the counts, or keep them in bench/results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", type=Path, nargs="?", help="a list of one's own; else those of bench/names")
    options.add_argument("--hub", choices=(HUGGINGFACE, PYPI), default=HUGGINGFACE)
    options.add_argument("--catalogue", action="append", help="builtin, files or folders; else builtin")
    options.add_argument("--most", type=int, help="only the first so many names")
    options.add_argument("--json", action="store_true")
    options.add_argument("--write", action="store_true", help=f"into {RESULT.relative_to(ROOT)}")
    given = options.parse_args()
    lists: Sequence[Names] = shipped()
    if given.names is not None:
        names = dict.fromkeys(line.strip() for line in given.names.read_text("utf-8").splitlines() if line.strip())
        lists = [Names(given.names.name, given.hub, tuple(names))]
    lists = [Names(one.title, one.hub, one.names[: given.most], one.weights[: given.most]) for one in lists]
    catalogue = load_catalogue(given.catalogue or ("builtin",))
    if given.json:
        print(json.dumps([coverage(catalogue, one) for one in lists], ensure_ascii=False, indent=1))
        return
    text = report(catalogue, lists)
    print(text, end="")
    if given.write:
        RESULT.write_text(f"# python -m bench.coverage, {datetime.now(UTC):%Y-%m-%d}\n{text}", "utf-8")


if __name__ == "__main__":
    main()
