"""How much of a list of names the catalogue knows: hub owners, or projects of the package index, one a line.

    python -m bench.coverage --hub huggingface owners.txt
    python -m bench.coverage --hub pypi projects.txt

Which names are the most used is not in this repository, and no such list is shipped: bring one. For a package only what its name
says counts here; what its accounts and attestations would say at run time (docs/catalogue.md) comes on top. "Known" is an
entity; "with country" one of which a country is known; `C` is curated general knowledge without a document.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from mirror.core.nouns import HUGGINGFACE, PYPI, Kind, Project
from mirror.lists.loading import load_catalogue
from mirror.policy.catalogue import HINT, Catalogue


def coverage(catalogue: Catalogue, hub: str, names: list[str]) -> dict[str, object]:
    """Counts over `names`: known, with a country, repackagers, by grade; and who is not known, in the order of the list."""
    grades: Counter[str] = Counter()
    unknown, countries, repackagers = [], 0, 0
    for name in names:
        project = Project(PYPI, Kind.PACKAGE, name) if hub == PYPI else Project(HUGGINGFACE, Kind.MODEL, f"{name}/x")
        found = catalogue.publisher_of(project)
        if found is None or found[1] == HINT:
            unknown.append(name)
            continue
        grades[found[1]] += 1
        repackagers += found[0].role == "repackager"
        countries += bool(catalogue.countries_of(found[0]))
    return {
        "names": len(names), "known": len(names) - len(unknown), "with_country": countries, "repackagers": repackagers,
        "grades": dict(sorted(grades.items())), "unknown": unknown,
    }  # fmt: skip


def main() -> None:
    """Print the counts as JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", type=Path)
    options.add_argument("--hub", choices=(HUGGINGFACE, PYPI), required=True)
    options.add_argument("--catalogue", action="append", help="builtin, files or folders; else builtin")
    options.add_argument("--most", type=int, help="only the first so many names")
    given = options.parse_args()
    names = list(dict.fromkeys(line.strip() for line in given.names.read_text("utf-8").splitlines() if line.strip()))
    print(json.dumps(coverage(load_catalogue(given.catalogue or ("builtin",)), given.hub, names[: given.most]), ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
