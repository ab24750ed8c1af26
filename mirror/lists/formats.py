"""Which formats there are: a loader each, tested on a published sample or on one made to the published schema (docs/lists.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.lists import csv_plain, gathered, governments, ofac
from mirror.lists.material import Parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mirror.lists.material import Part


def _plain(parts: Sequence[Part]) -> Parsed:
    return Parsed(csv_plain.read(parts[0].data, parts[0].name))


#: Each takes the files of one edition and raises `InputError` at what it cannot read, naming file and line.
LOADERS: Final[Mapping[str, Callable[[Sequence[Part]], Parsed]]] = {
    "csv": _plain,
    "ofac_csv": ofac.read_csv,
    "ofac_xml": ofac.read_xml,
    "csl_csv": gathered.read_csl,
    "eu_fsf": governments.read_eu,
    "uk_sanctions": governments.read_uk,
    "un": governments.read_un,
    "opensanctions": gathered.read_opensanctions,
}
#: Formats of which one edition is several files.
SEVERAL: Final = frozenset({"ofac_csv"})
#: What a list may be about. Without `subjects` an official list gives its organisations and what it does not type.
SUBJECTS: Final[Mapping[str, frozenset[str]]] = {
    "organization": frozenset({"organization", "company", "government", "entity"}),
    "individual": frozenset({"individual"}),
    "vessel": frozenset({"vessel"}),
    "aircraft": frozenset({"aircraft"}),
}
