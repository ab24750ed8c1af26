"""The EU's, the United Kingdom's and the United Nations' lists, as XML.

EU: the Financial Sanctions Files, version 1.1. UK: the UK Sanctions List, since 28 Jan 2026 the only one. UN: the Security
Council's consolidated list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.lists.draft import Draft, day, entries_of
from mirror.lists.material import Parsed
from mirror.lists.xml_records import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.lists.material import Part
    from mirror.lists.xml_records import Node

_EU_TYPES: Final = {"enterprise": "organization", "person": "individual", "E": "organization", "P": "individual"}
_UK_TYPES: Final = {"entity": "organization", "individual": "individual", "ship": "vessel"}
#: Elements below which the UK list puts addresses and numbers that name a body, and what they are.
_UK_NUMBERS: Final = {"Websites": "website", "EmailAddresses": "email", "BusinessRegistrationNumbers": "registration"}


def read_eu(parts: Sequence[Part]) -> Parsed:
    """The entries of `export`, version 1.1. Raises `InputError` at the first fault."""
    stated, drafts = None, []
    for node in records(parts[0], "export", ("sanctionEntity",)):
        if node.name == "export":
            stated = day(node.get("generationDate"))
        else:
            drafts.append(_eu_draft(parts[0], node))
    return Parsed(entries_of(drafts), stated)


def _eu_draft(part: Part, node: Node) -> Draft:
    draft = Draft(part.name, node.line, node.get("euReferenceNumber") or node.get("logicalId"))
    for kind in node.all("subjectType"):
        draft.type = _EU_TYPES.get(kind.get("code")) or _EU_TYPES.get(kind.get("classificationCode"), "")
    for regulation in node.all("regulation"):
        draft.programmes.append(regulation.get("programme"))
        draft.basis = regulation.get("numberTitle")
        draft.listed_on = day(node.get("designationDate")) or day(regulation.get("entryIntoForceDate"))
    # "The date from which the entity should not be sanctioned anymore": exclusive, as ours.
    draft.until = day(node.get("delistingDate"))
    # One name stands there in twenty languages: the English one, or one of no language, names the entry.
    for alias in sorted(node.all("nameAlias"), key=lambda one: one.get("nameLanguage").upper() not in ("", "EN")):
        name = alias.get("wholeName") or " ".join(filter(None, map(alias.get, ("firstName", "middleName", "lastName"))))
        low = alias.get("strong") == "false" or "low quality" in alias.first("remark").casefold()
        (draft.weak if low else draft.names).append(name)
    if not any(draft.names):
        draft.names, draft.weak = draft.weak, []
    for address in node.all("address"):
        draft.place(address.get("countryIso2Code"))
        for contact in address.all("contactInfo"):
            draft.number(contact.get("key"), contact.get("value"))
    for number in node.all("identification"):
        if number.get("knownFalse") != "true":
            draft.number(number.get("identificationTypeCode"), number.get("latinNumber") or number.get("number"), number.get("countryIso2Code"))
    return draft


def read_uk(parts: Sequence[Part]) -> Parsed:
    """The entries of `Designations`. Raises `InputError` at the first fault."""
    stated, drafts = None, []
    for node in records(parts[0], "Designations", ("DateGenerated", "Designation")):
        if node.name == "DateGenerated":
            stated = day(node.text, day_first=True)
        elif node.name == "Designation":
            drafts.append(_uk_draft(parts[0], node))
    return Parsed(entries_of(drafts), stated)


def _uk_draft(part: Part, node: Node) -> Draft:
    draft = Draft(part.name, node.line, node.first("UniqueID"), type=_UK_TYPES.get(node.first("IndividualEntityShip").casefold(), ""))
    others: list[str] = []
    for name in node.all("Names", "Name"):
        # The spelling of NameType varies ("Primary name", "ALias").
        whole = " ".join(filter(None, (name.first(f"Name{at}") for at in range(1, 7))))
        low = "low" in name.first("AliasStrength").casefold()
        primary = name.first("NameType").casefold() == "primary name"
        (draft.names if primary else draft.weak if low else others).append(whole)
    draft.names += others
    draft.names += [one.text for one in node.all("NonLatinNames", "NonLatinName", "NameNonLatinScript")]
    draft.programmes.append(node.first("RegimeName"))
    draft.basis = node.first("SanctionsImposed")
    draft.listed_on = day(node.first("DateDesignated"), day_first=True)
    for address in node.all("Addresses", "Address"):
        draft.place(address.first("AddressCountry"))
    _uk_numbers(draft, node)
    return draft


def _uk_numbers(draft: Draft, node: Node) -> None:
    for child in node.children:
        if child.name in _UK_NUMBERS:
            for text in child.texts():
                draft.number(_UK_NUMBERS[child.name], text)
        elif child.children:
            _uk_numbers(draft, child)


def read_un(parts: Sequence[Part]) -> Parsed:
    """The entries of `CONSOLIDATED_LIST`. Raises `InputError` at the first fault."""
    stated, drafts = None, []
    for node in records(parts[0], "CONSOLIDATED_LIST", ("INDIVIDUAL", "ENTITY")):
        if node.name == "CONSOLIDATED_LIST":
            stated = day(node.get("dateGenerated"))
        else:
            drafts.append(_un_draft(parts[0], node))
    return Parsed(entries_of(drafts), stated)


def _un_draft(part: Part, node: Node) -> Draft:
    kind = node.name
    draft = Draft(part.name, node.line, node.first("REFERENCE_NUMBER") or node.first("DATAID"))
    draft.type = "individual" if kind == "INDIVIDUAL" else "organization"
    whole = " ".join(filter(None, (node.first(f"{at}_NAME") for at in ("FIRST", "SECOND", "THIRD", "FOURTH"))))
    draft.names += whole.split(" ; ") if kind == "ENTITY" else [whole]
    for alias in node.all(f"{kind}_ALIAS"):
        (draft.weak if alias.first("QUALITY").casefold() == "low" else draft.names).append(alias.first("ALIAS_NAME"))
    draft.names.append(node.first("NAME_ORIGINAL_SCRIPT"))
    draft.programmes.append(node.first("UN_LIST_TYPE"))
    draft.listed_on = day(node.first("LISTED_ON"))
    for address in node.all(f"{kind}_ADDRESS"):
        draft.place(address.first("COUNTRY"))
    return draft
