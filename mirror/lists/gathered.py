"""Lists of lists: the United States' Consolidated Screening List (CSV), and OpenSanctions files that the user brings.

OpenSanctions data is licensed CC BY-NC 4.0, for business by contract: nothing of it is shipped, and whoever names a file of
it here has the right to use it.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mirror.decode import parse_json
from mirror.lists.draft import Draft, day, entries_of
from mirror.lists.material import MAX_LINE, Parsed, refuse, table
from mirror.policy.countries import CODES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mirror.lists.material import Part

_CSL: Final = frozenset({"_id", "source", "type", "programs", "name", "addresses", "start_date", "end_date", "alt_names", "ids", "federal_register_notice"})
_CSL_TYPES: Final = {"": "", "entity": "organization", "individual": "individual", "vessel": "vessel", "aircraft": "aircraft"}
_SUCCESSORS: Final = re.compile(r"[;,]?\s+and any successor, sub-unit, or subsidiary thereof\.?\s*$", re.IGNORECASE)


def read_csl(parts: Sequence[Part]) -> Parsed:
    """The entries of the Consolidated Screening List's CSV. `programme` is the list that each is on, then its programmes.

    Rows of the Departments of Commerce and State have no type. Raises `InputError` at the first fault.
    """
    part, seen = parts[0], set[str]()
    drafts = []
    for line, cells in table(part, _CSL):
        draft = _csl_draft(part, line, cells)
        if draft.id in seen:  # the same body on two of the lists has one number of OFAC's
            draft.id = f"{draft.id} ({_short(cells['source'])})"
        seen.add(draft.id)
        drafts.append(draft)
    return Parsed(entries_of(drafts))


def _csl_draft(part: Part, line: int, cells: Mapping[str, str]) -> Draft:
    kind = cells["type"].casefold()
    if kind not in _CSL_TYPES:
        refuse(part.name, line, f"{kind[:40]!r} is no type of entry that this list has")
    draft = Draft(part.name, line, cells["_id"], [_SUCCESSORS.sub("", cells["name"])], type=_CSL_TYPES[kind])
    draft.names += [one.strip().removeprefix("and ") for one in cells["alt_names"].split("; ")]
    draft.programmes += [cells["source"].partition(" - ")[0], *(one.strip() for one in cells["programs"].split(";"))]
    draft.listed_on, last = day(cells["start_date"]), day(cells["end_date"])
    draft.until = last + timedelta(days=1) if last is not None and last.year < 9999 else None
    draft.basis = cells["federal_register_notice"]
    for address in cells["addresses"].split("; "):
        code = address.rpartition(",")[2].strip()
        if code in CODES:
            draft.place(code)
    for number in cells["ids"].split("; "):
        label, *rest = (piece.strip() for piece in number.split(", "))
        country = rest.pop() if len(rest) > 1 and rest[-1] in CODES else ""
        draft.number(label, ", ".join(rest), country)
    return draft


def _short(source: str) -> str:
    found = re.search(r"\(([A-Z]{2,8})\)", source)
    return found[1] if found else source[:40]


# --- OpenSanctions ------------------------------------------------------------------------------------------------

_SIMPLE: Final = frozenset({"id", "schema", "name", "aliases", "countries", "identifiers", "sanctions", "emails", "dataset"})
_SCHEMATA: Final = {
    "Person": "individual", "Organization": "organization", "Company": "company", "LegalEntity": "", "PublicBody": "government",
    "Vessel": "vessel", "Airplane": "aircraft",
}  # fmt: skip
_FTM_NUMBERS: Final = {
    "website": "website", "email": "email", "registrationNumber": "registration", "taxNumber": "tax", "vatCode": "vat", "leiCode": "lei",
    "dunsCode": "duns", "swiftBic": "bic", "imoNumber": "imo", "innCode": "inn", "ogrnCode": "ogrn", "okpoCode": "okpo", "uscCode": "social credit",
    "idNumber": "registration",
}  # fmt: skip


def read_opensanctions(parts: Sequence[Part]) -> Parsed:
    """`targets.simple.csv`, or `entities.ftm.json` (one JSON object a line, targets only), told apart by the first character.

    Schemata that are neither bodies nor persons (addresses, ownerships, sanctions) are left out. Raises `InputError` at the
    first fault.
    """
    part = parts[0]
    start = part.data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    return Parsed(entries_of(_ftm(part) if start.startswith(b"{") else _simple(part)))


def _simple(part: Part) -> Iterator[Draft]:
    if not part.data.endswith((b"\n", b"\r")) and part.data:  # its cells are not quoted, so that a cut one looks whole
        refuse(part.name, part.data.count(b"\n") + 1, "ends without the end of a line: a truncated file")
    for line, cells in table(part, _SIMPLE):
        if cells["schema"] in _SCHEMATA:
            draft = Draft(part.name, line, cells["id"], [cells["name"], *cells["aliases"].split(";")], type=_SCHEMATA[cells["schema"]])
            draft.programmes += cells.get("program_ids", "").split(";") if cells.get("program_ids") else cells["sanctions"].split(";")
            draft.basis = cells["dataset"]
            codes = [code.strip() for code in cells["countries"].split(";")]
            for code in codes:
                draft.place(code)
            for number in cells["identifiers"].split(";"):
                draft.number("registration", number, codes[0] if len(codes) == 1 else "")
            for address in cells["emails"].split(";"):
                draft.number("email", address)
            yield draft


def _ftm(part: Part) -> Iterator[Draft]:
    number = 0
    for at in _starts(part.data):
        number += 1
        end = part.data.find(b"\n", at)
        raw = part.data[at : end if end >= 0 else len(part.data)].strip()
        if not raw:
            continue
        if len(raw) > MAX_LINE:
            refuse(part.name, number, f"is longer than {MAX_LINE} bytes")
        value = _object(part, number, raw)
        if value.get("schema") in _SCHEMATA and value.get("target") is not False:
            yield _ftm_draft(part, number, value)


def _starts(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        yield at
        found = data.find(b"\n", at)
        at = len(data) if found < 0 else found + 1


def _object(part: Part, line: int, raw: bytes) -> dict[str, Any]:
    try:
        value = parse_json(raw)
    except json.JSONDecodeError as error:
        refuse(part.name, line, f"not JSON: {error.msg}")
    except ValueError as error:
        refuse(part.name, line, f"not JSON: {error}")
    if not isinstance(value, dict) or not isinstance(value.get("id"), str) or not isinstance(value.get("properties"), dict):
        refuse(part.name, line, "is no entity: it lacks id, schema or properties")
    return value


def _ftm_draft(part: Part, line: int, value: dict[str, Any]) -> Draft:
    properties: dict[str, list[str]] = {}
    for key, found in value["properties"].items():
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            refuse(part.name, line, f"properties.{key[:40]} is not a list of texts")
        properties[key] = found
    caption = value.get("caption")
    draft = Draft(part.name, line, value["id"], [caption] if isinstance(caption, str) else [], type=_SCHEMATA[value["schema"]])
    draft.names += [*properties.get("name", ()), *properties.get("alias", ()), *properties.get("previousName", ())]
    draft.weak += properties.get("weakAlias", ())
    draft.programmes += [*properties.get("programId", ()), *properties.get("topics", ())]
    codes = properties.get("jurisdiction") or properties.get("mainCountry") or properties.get("country") or []
    for code in codes:
        draft.place(code)
    for key, label in _FTM_NUMBERS.items():
        for number in properties.get(key, ()):
            draft.number(label, number, codes[0] if len(codes) == 1 else "")
    datasets = value.get("datasets")
    draft.basis = ", ".join(one for one in datasets if isinstance(one, str)) if isinstance(datasets, list) else ""
    return draft
