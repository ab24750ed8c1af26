"""What a package index reveals of a file: from its page for every file, from its metadata where a rule asks for more.

How far each field can be trusted differs (who may write it): the page's hash, size and upload time are the index's own
words (A); licence, names and requirements are the uploader's (B to D). Country and entity are in no field of PyPI: they
come from the catalogue, by project name, in `policy`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement

from mirror.core.facts import Fact, Facts
from mirror.core.nouns import FileKind
from mirror.hubs.pypi.claims import declared_claims
from mirror.hubs.pypi.labels import owners

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mirror.hubs.pypi.documents import Listed, Page

#: Conditions on facts that cost a further request for one file: on a page they are unknown, at the file they are not.
COSTLY: Final = frozenset({"license", "direct_url", "attested", "vulnerability", "publisher", "origin"})
_NAMED: Final = 20
_NOT_A_NAME: Final = frozenset({"", "unknown", "none", "n/a", "todo", "author", "your name"})
#: Trove classifiers that mean exactly one SPDX licence (PEP 639 appendix: the others are ambiguous).
CLASSIFIERS: Final = {
    "Academic Free License (AFL)": "AFL-3.0",
    "Apache Software License": "Apache-2.0",
    "Artistic License": "Artistic-2.0",
    "BSD License": "BSD-3-Clause",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "Eclipse Public License 1.0 (EPL-1.0)": "EPL-1.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "Zope Public License": "ZPL-2.1",
    "zlib/libpng License": "Zlib",
}
#: Classifiers that name a family, not one version: taken with less confidence.
_FAMILIES: Final = frozenset({"Apache Software License", "BSD License", "Artistic License", "Zope Public License"})


@dataclass(frozen=True, slots=True)
class Declared:
    """What an uploader declares in core metadata, wherever it was read. `source` says where."""

    source: str
    expression: str
    license: str
    classifiers: tuple[str, ...]
    requires: tuple[str, ...]
    names: tuple[str, ...]
    claims: tuple[str, ...] = ()


def page_facts(page: Page, file: Listed, evidence: str, *, metadata: bool = False) -> Facts:
    """What the page alone says of one file. `evidence` is the page's SHA-256 (hex)."""
    kind = file.distribution.kind if file.distribution else FileKind.OTHER
    return Facts(
        file_kind=Fact(FileKind.METADATA if metadata else kind, "file name"),
        size=None if metadata or file.size is None else Fact(file.size, "simple page"),
        published_at=None if file.published_at is None else Fact(file.published_at, "simple page"),
        yanked=Fact(file.yanked, "simple page"),
        status=Fact(page.status, "simple page"),
        # PEP 740: an index that knows of provenance says null where a file has none; "" is "known to have none".
        attested=Fact("", "simple page") if "provenance" in file.raw and file.provenance is None else None,
        evidence=(evidence,),
    )


def with_declared(facts: Facts, declared: Declared, *evidence: str) -> Facts:
    """`facts` with what the metadata adds. `evidence` are the SHA-256 (hex) of what it was read from."""
    names = tuple(dict.fromkeys((*(facts.names.value or () if facts.names else ()), *declared.names)))
    return replace(
        facts,
        license=licenses(declared),
        direct_urls=Fact(direct_urls(declared.requires), declared.source),
        names=Fact(names, declared.source, "C") if names else facts.names,
        evidence=(*facts.evidence, *evidence),
    )


@lru_cache(maxsize=512)
def from_metadata(body: bytes, source: str = "core metadata") -> Declared:
    """A METADATA or PKG-INFO file, read from `source`. Never fails: what cannot be read is absent.

    Kept for the next request for the same file: reading it takes longer than judging.
    """
    raw, _ = parse_email(body)
    said = (raw.get("author"), raw.get("maintainer"), raw.get("author_email"), raw.get("maintainer_email"))
    urls = (*raw.get("project_urls", {}).items(), ("homepage", raw.get("home_page", "")))
    return Declared(
        source=source,
        expression=raw.get("license_expression", ""),
        license=raw.get("license", ""),
        classifiers=tuple(raw.get("classifiers", ())),
        requires=tuple(raw.get("requires_dist", ())),
        names=_names(said, owners(urls)),
        claims=declared_claims(said[2:], urls, _names(said, ())),
    )


def identity(body: bytes) -> tuple[str, str]:
    """(name, version) of a METADATA file, as written; "" for what it does not say."""
    raw, _ = parse_email(body)
    return raw.get("name", ""), raw.get("version", "")


def from_legacy(raw: Mapping[str, Any]) -> Declared:
    """The answer of `/pypi/{project}/{version}/json`."""
    info = raw.get("info")
    info = info if isinstance(info, dict) else {}
    fields = [info.get(key) for key in ("author", "maintainer", "author_email", "maintainer_email")]
    urls = info.get("project_urls")
    labelled = [(label, url) for label, url in urls.items() if isinstance(url, str)] if isinstance(urls, dict) else []
    labelled.append(("homepage", _string(info.get("home_page"))))
    return Declared(
        source="legacy JSON",
        expression=_string(info.get("license_expression")),
        license=_string(info.get("license")),
        classifiers=_strings(info.get("classifiers")),
        requires=_strings(info.get("requires_dist")),
        names=_names(fields, owners(labelled)),
        claims=declared_claims(fields[2:], labelled, _names(fields, ())),
    )


def organisation(raw: Mapping[str, Any]) -> str | None:
    """The PyPI organisation that owns the project now, from a legacy JSON answer; None where it has none."""
    ownership = raw.get("ownership")
    name = ownership.get("organization") if isinstance(ownership, dict) else None
    return name if isinstance(name, str) and name else None


def licenses(declared: Declared) -> Fact[tuple[str, ...]] | None:
    """SPDX: the whole expression (PEP 639) first, then the classifiers, then a licence field that is itself an id; else None."""
    if declared.expression.strip():
        return Fact((declared.expression.strip(),), declared.source, "B")
    tails = [line.rpartition(" :: ")[2] for line in declared.classifiers if line.startswith("License :: ")]
    mapped = tuple(dict.fromkeys(CLASSIFIERS[tail] for tail in tails if tail in CLASSIFIERS))
    if mapped:
        return Fact(mapped, declared.source, "C" if _FAMILIES & set(tails) else "B")
    known = {identifier.casefold(): identifier for identifier in CLASSIFIERS.values()} | {"apache 2.0": "Apache-2.0"}
    exact = known.get(declared.license.strip().casefold())
    return Fact((exact,), declared.source, "C") if exact else None


def direct_urls(requires: Iterable[str]) -> tuple[str, ...]:
    """Requirements that name a URL instead of a project (PEP 508 `x @ https://…`): a way round any rule on names.

    What cannot be parsed but holds an ` @ ` counts, because installers differ in what they forgive.
    """
    found = []
    for line in requires:
        try:
            url = Requirement(line).url
        except InvalidRequirement:
            url = line.partition("@")[2].strip() if re.search(r"@\s*[a-z+]+:", line, re.IGNORECASE) else None
        if url:
            found.append(url)
    return tuple(found)


def vulnerabilities(raw: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Ids and aliases of what is known against a release (OSV in legacy JSON); () for nothing, None where nothing is said.

    A withdrawn entry is none (OSV schema: `withdrawn` means that it should be taken as never published).
    """
    entries = raw.get("vulnerabilities")
    if not isinstance(entries, list):
        return None
    found: list[str] = []
    for entry in entries:
        if isinstance(entry, dict) and not entry.get("withdrawn"):
            found += [name for name in (entry.get("id"), *_strings(entry.get("aliases"))) if isinstance(name, str) and name]
    return tuple(dict.fromkeys(found))


def both(first: Fact[tuple[str, ...]], second: Fact[tuple[str, ...]]) -> Fact[tuple[str, ...]]:
    """Two accounts of one release as one fact, whose source says what each of them named (up to 20 names)."""
    sources = []
    for one in (first, second):
        names = one.value or ()
        listed = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        sources.append(f"{one.source} ({listed or 'none'})")
    values = dict.fromkeys((*(first.value or ()), *(second.value or ())))
    return Fact(tuple(values), "; ".join(sources))


def attestation(raw: Mapping[str, Any]) -> str | None:
    """`kind:repository` of the one publisher behind a file's attestations (PEP 740); None where they disagree or name none.

    Google and ActiveState publishers name no repository: their e-mail or project stands instead.
    """
    bundles = raw.get("attestation_bundles")
    found = set()
    for bundle in bundles if isinstance(bundles, list) else ():
        publisher = bundle.get("publisher") if isinstance(bundle, dict) else None
        if isinstance(publisher, dict) and isinstance(publisher.get("kind"), str):
            subject = next(
                (publisher[key] for key in ("repository", "email", "project") if isinstance(publisher.get(key), str)), ""
            )
            found.add(f"{publisher['kind']}:{subject}")
    return found.pop() if len(found) == 1 else None


def _names(values: Iterable[object], accounts: Sequence[str]) -> tuple[str, ...]:
    """Declared names: the display names of addresses too, never an address or a placeholder; then accounts."""
    found: list[str] = []
    for value in values:
        for part in re.split(r"[,;\n]", value) if isinstance(value, str) else ():
            name = part.partition("<")[0].strip().strip('"')
            if "@" not in name and name.casefold() not in _NOT_A_NAME and len(name) <= 200 and name not in found:
                found.append(name)
    return tuple(dict.fromkeys((*found, *accounts)))


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _strings(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
