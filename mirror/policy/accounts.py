"""Who is behind a file of a package index, from what the index and its uploader say of it. Pure.

A claim is one line of text, `<grade> <kind> <value>`, so that records and written situations hold it as it is:

    A attested github:acme-labs       the CI identity that uploaded this file (PEP 740), as the index checked it
    A organisation pypi:acme-labs     the organisation that owns the project now
    A- owner pypi:acme-bot            an account that may publish it now; also `maintainer`
    B mail acme.example               the domain of a declared address
    B repository github:acme-labs     the owner of a declared repository
    C name Acme Labs Ltd              free text

What the index knows decides. What only an uploader says (B and C) accuses and never clears: anybody may write another's
address into his metadata, and nobody writes a denied one into them to get past a rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.policy.catalogue import HINT, folded, weaker
from mirror.policy.entries import domain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.core.facts import Country, Publisher
    from mirror.core.nouns import Project
    from mirror.policy.catalogue import Catalogue

ATTESTED: Final = "attested"
ORGANISATION: Final = "organisation"
OWNER: Final = "owner"
MAINTAINER: Final = "maintainer"
MAIL: Final = "mail"
REPOSITORY: Final = "repository"
NAME: Final = "name"
#: The grade of each kind of claim (docs/catalogue.md).
GRADE_OF: Final = {ATTESTED: "A", ORGANISATION: "A", OWNER: "A-", MAINTAINER: "A-", MAIL: "B", REPOSITORY: "B", NAME: "C"}
#: What a fact's source begins with that rests on an uploader's word alone: a lower bound of who is involved.
DECLARED: Final = "declared "
#: Mail providers that are also somebody's product site.
_FREE_MAIL: Final = frozenset({"aliyun.com", "ya.ru", "me.com", "sina.cn", "ymail.com", "mail.com", "zoho.com"})
#: Whose mailbox says who somebody is with, and not in whose name they publish.
_MANY_HEADED: Final = frozenset({"university", "community", "individual"})


@dataclass(frozen=True, slots=True)
class Claim:
    """One piece of evidence. `value` is `hub:account`, a domain or a name."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{GRADE_OF[self.kind]} {self.kind} {self.value}"


@dataclass(frozen=True, slots=True)
class Found:
    """Who publishes a file, how well that is known and by what. `publisher` None: several could be, with `countries` in all."""

    publisher: Publisher | None
    grade: str
    source: str
    countries: tuple[Country, ...] = ()


def read_claim(text: str) -> Claim | None:
    """A claim as it is written; None for what is none: its grade is always that of its kind."""
    _, _, rest = text.partition(" ")
    kind, _, value = rest.partition(" ")
    return Claim(kind, value) if kind in GRADE_OF and value.strip() else None


def settle(project: Project, texts: Sequence[str], catalogue: Catalogue) -> Found | None:
    """Who publishes a file of `project` of which `texts` are claimed; None where nobody knows.

    In this order: the attested publisher of this very file; the organisation; the project's name in the catalogue; accounts;
    what is declared; free text; a pattern on the name. The first that names somebody decides, and a grade is never better
    than that of the catalogue's own link.
    """
    claims = [claim for claim in map(read_claim, texts) if claim is not None]
    by_name = catalogue.publisher_of(project)
    listed = None if by_name is None else Found(by_name[0], by_name[1], "catalogue")
    for kind in (ATTESTED, ORGANISATION):
        if (found := _decided((kind,), claims, catalogue)) is not None:
            return found
    if listed is not None and listed.grade != HINT:
        return listed
    for kinds in ((OWNER,), (MAINTAINER,), (MAIL, REPOSITORY), (NAME,)):
        if (found := _decided(kinds, claims, catalogue)) is not None:
            return found
    return None if listed is None else Found(listed.publisher, HINT, f"{DECLARED}project name")


def _decided(kinds: tuple[str, ...], claims: Sequence[Claim], catalogue: Catalogue) -> Found | None:
    """What claims of these kinds come to: one publisher, or several that they leave open."""
    named: dict[str, tuple[Publisher, str, Claim]] = {}
    for claim in claims:
        if claim.kind in kinds:
            for publisher, grade in _meant(claim, catalogue):
                before = named.get(publisher.id)
                if before is None or weaker(before[1], grade) != grade:
                    named[publisher.id] = publisher, grade, claim
    if not named:
        return None
    # An entity and those below it are one answer, the one on top: which branch it was changes no country that counts.
    tops = [one for one in named.values() if not any(above.id in named for above in catalogue.parents_of(one[0]))]
    prefix = "" if kinds[0] in (ATTESTED, ORGANISATION, OWNER, MAINTAINER) else DECLARED
    if len(tops) == 1:
        publisher, grade, claim = tops[0]
        return Found(publisher, grade, f"{prefix}{claim.kind} {claim.value}")
    countries = tuple(dict.fromkeys(country for one, _, _ in tops for country in catalogue.countries_of(one)))
    who = ", ".join(f"{claim.kind} {claim.value} ({publisher.id})" for publisher, _, claim in tops)
    weakest = max((grade for _, grade, _ in tops), default=HINT)
    return Found(None, weakest, f"{DECLARED}by several: {who}", countries)


def _meant(claim: Claim, catalogue: Catalogue) -> Iterator[tuple[Publisher, str]]:
    """Whom a claim names, with the grade of it."""
    if claim.kind == MAIL:
        publisher = _by_domain(claim.value, catalogue)
        if publisher is not None:
            yield publisher, weaker("C" if publisher.kind in _MANY_HEADED else "B", catalogue.grade_of(publisher))
    elif claim.kind == NAME:
        for publisher in catalogue.entities(claim.value):
            if publisher.kind != "individual":  # a person's name is no evidence of anything
                yield publisher, weaker("C", catalogue.grade_of(publisher))
    else:
        hub, _, account = claim.value.partition(":")
        publisher = catalogue.by_handle(hub, account)
        if publisher is not None:
            yield publisher, weaker(GRADE_OF[claim.kind], catalogue.grade_of(publisher))


def _by_domain(address: str, catalogue: Catalogue) -> Publisher | None:
    """The publisher whose domain this is, or is below; nobody's where anybody may have an address there."""
    labels = folded(address).split(".")
    for start in range(len(labels) - 1):
        host = ".".join(labels[start:])
        if not domain(host) or host in _FREE_MAIL:
            return None
        if (publisher := catalogue.by_domain(host)) is not None:
            return publisher
    return None


def own_domain(address: str) -> str:
    """The domain of a web or mail address where it can be somebody's own; empty where it, or one above it, is shared by many."""
    labels = domain(address).split(".")
    hosts = [".".join(labels[start:]) for start in range(len(labels) - 1)]
    return "" if not hosts or any(not domain(host) or host in _FREE_MAIL for host in hosts) else hosts[0]
