"""OFAC: the SDN and the Consolidated (non-SDN) list, as CSV files and as XML.

The CSV layout is that of OFAC's data specification (released 6 Dec 2004, updated 25 Sep 2023): no header, `-0-` for null, one file of
entries (12 columns), one of addresses (6), one of alternate names (5), and one of the remarks that did not fit (2). Weak
aliases stand only in the remarks, as `a.k.a. 'X'`. The XML is `sdnList`, in either of its namespaces; SDN_ADVANCED.XML is not
loaded (no published sample of it was at hand).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mirror.lists.country_names import country_code
from mirror.lists.draft import Draft, day, entries_of
from mirror.lists.material import Parsed, refuse, rows
from mirror.lists.xml_records import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.lists.material import Part
    from mirror.lists.xml_records import Node

#: The files of one edition by how many columns they have: their names differ from list to list (sdn.csv, cons_prim.csv).
_ROLES: Final = {12: "entries", 6: "addresses", 5: "alternate names", 2: "remarks"}
_TYPES: Final = {"": "organization", "entity": "organization", "individual": "individual", "vessel": "vessel", "aircraft": "aircraft"}
_NULL: Final = "-0-"
_WEAK: Final = re.compile(r"(?:[afn]\.k\.a\.) '(.+?)'(?=\s*(?:[;.(]|$))")
#: What a remark calls a number: words up to one of these, then the number, then perhaps a country in brackets.
_NUMBER: Final = re.compile(
    r"(?:alt\. )?(?P<label>(?:[\w./()&-]+ ){0,6}?(?:Number|No\.?|#|ID|Website|Address|SWIFT/BIC|Code)(?: \([A-Z]{2,8}\))?):? (?!No\b)(?P<value>\S.*?)"
    r"(?: \((?P<country>[^()]+)\))?\.?"
)


def read_csv(parts: Sequence[Part]) -> Parsed:
    """The entries of one edition's files, told apart by their columns; the file of entries is required.

    Raises `InputError` at the first fault: a row of no such width, an entry number that is none, an unknown type, a file that
    belongs to another list (more than half of its rows name no entry), the same role twice.
    """
    files = _by_role(parts)
    if "entries" not in files:
        refuse(parts[0].name, 0, "is no file of entries (12 columns): name that of the list as well")
    source = files["entries"][0]
    spilt = {number: cells[1] for _, number, cells in _linked(files.get("remarks"))}
    drafts: dict[str, Draft] = {}
    for line, number, cells in files["entries"][1]:
        if number in drafts:
            refuse(source, line, f"entry {number!r} stands twice")
        drafts[number] = _draft(source, line, number, cells, spilt)
    for role in ("addresses", "alternate names"):
        _belongs(files.get(role), drafts)
    for _, number, cells in _linked(files.get("alternate names")):
        if number in drafts:
            drafts[number].names.append(_text(cells[3]))
    for _, number, cells in _linked(files.get("addresses")):
        if number in drafts:
            drafts[number].place(_text(cells[4]))
    return Parsed(entries_of(drafts.values()))


_Rows = tuple[str, list[tuple[int, str, list[str]]]]


def _by_role(parts: Sequence[Part]) -> dict[str, _Rows]:
    files: dict[str, _Rows] = {}
    for part in parts:
        width, found = 0, []
        for line, cells in rows(part):
            width = width or len(cells)
            if width not in _ROLES:
                refuse(part.name, line, f"has {width} cells where OFAC's files have {', '.join(map(str, _ROLES))}: not this format")
            if len(cells) != width:
                refuse(part.name, line, f"has {len(cells)} cells where the rows before have {width}: a truncated or badly quoted row")
            if cells[-1].strip() in ("", "-", "-0"):
                refuse(part.name, line, "ends in an empty cell where OFAC writes -0-: a truncated row")
            if not re.fullmatch(r"\d{1,10}", cells[0].strip(), re.ASCII):
                refuse(part.name, line, f"begins with {cells[0][:40]!r} where the number of an entry stands")
            found.append((line, cells[0].strip(), cells))
        if not found:
            refuse(part.name, 0, "is empty")
        if _ROLES[width] in files:
            refuse(part.name, 0, f"is a second file of {_ROLES[width]}, beside {files[_ROLES[width]][0]}")
        files[_ROLES[width]] = (part.name, found)
    return files


def _linked(file: _Rows | None) -> list[tuple[int, str, list[str]]]:
    return file[1] if file else []


def _belongs(file: _Rows | None, drafts: Mapping[str, Draft]) -> None:
    """Files are fetched one after the other, so that a few rows may be of a later edition; most may not."""
    strangers = sum(number not in drafts for _, number, _ in _linked(file))
    if file is not None and 2 * strangers > len(file[1]):
        refuse(file[0], 0, f"belongs to another list: {strangers} of its {len(file[1])} rows name no entry of this one")


def _draft(source: str, line: int, number: str, cells: Sequence[str], spilt: Mapping[str, str]) -> Draft:
    kind = _text(cells[2]).casefold()
    if kind not in _TYPES:
        refuse(source, line, f"{kind[:40]!r} is no type of entry that OFAC has")
    remarks = _text(cells[11]) + spilt.get(number, "")
    programmes = [one.strip() for one in _text(cells[3]).split("] [")]
    draft = Draft(source, line, number, [_text(cells[1])], programmes=programmes, type=_TYPES[kind])
    draft.weak += _WEAK.findall(remarks)
    for remark in remarks.split("; "):
        found = _NUMBER.fullmatch(remark)
        if found is not None:
            draft.number(found["label"], found["value"], found["country"] or "")
    return draft


def _text(cell: str) -> str:
    stripped = cell.strip()
    return "" if stripped == _NULL else stripped


def read_xml(parts: Sequence[Part]) -> Parsed:
    """The entries of `sdnList`, whatever its namespace.

    Raises `InputError` at the first fault; also where the file holds another number of entries than it says of itself, which
    is how one that lacks some is told.
    """
    part, stated, count, seen = parts[0], None, 0, 0
    drafts: list[Draft] = []
    for node in records(part, "sdnList", ("publshInformation", "sdnEntry")):
        if node.name == "publshInformation":
            stated = day(node.first("Publish_Date"), month_first=True)
            told = node.first("Record_Count")
            count = int(told) if re.fullmatch(r"\d{1,9}", told, re.ASCII) else 0
        elif node.name == "sdnEntry":
            seen += 1
            drafts.append(_xml_draft(part, node))
    if count and seen != count:
        refuse(part.name, 0, f"holds {seen} entries and says of itself that it has {count}")
    return Parsed(entries_of(drafts), stated)


def _xml_draft(part: Part, node: Node) -> Draft:
    kind = node.first("sdnType").casefold()
    if kind not in _TYPES or not kind:
        refuse(part.name, node.line, f"{kind[:40]!r} is no type of entry that OFAC has")
    draft = Draft(part.name, node.line, node.first("uid"), [_full_name(node)], type=_TYPES[kind])
    draft.programmes += [one.text for one in node.all("programList", "program")]
    for aka in node.all("akaList", "aka"):
        (draft.weak if aka.first("category").casefold() == "weak" else draft.names).append(_full_name(aka))
    for address in node.all("addressList", "address"):
        draft.place(address.first("country"))
    for number in node.all("idList", "id"):
        draft.number(number.first("idType"), number.first("idNumber"), country_code(number.first("idCountry")))
    return draft


def _full_name(node: Node) -> str:
    """As OFAC's CSV writes it: `LAST, First`."""
    return ", ".join(filter(None, (node.first("lastName"), node.first("firstName"))))

