"""What to take instead of something refused: like things that the policy permits to the same client, the likest first. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING, Final

from mirror.core.facts import Fact, Facts
from mirror.core.nouns import Artifact
from mirror.core.purl import parse_loose
from mirror.policy.amend import EMERGENCY, RECALLED
from mirror.policy.derive import CATALOGUE, derive
from mirror.policy.evaluate import evaluate
from mirror.policy.sentences import title

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from mirror.core.actor import Actor
    from mirror.core.nouns import Project
    from mirror.policy.epoch import Epoch

#: How many are named at most.
MOST: Final = 5
_GIB: Final = 1 << 30
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Profile:
    """What a project is for and how large it is. `size` is of its weights or data in bytes, 0 where unknown.

    `parts` are what is judged before it is named: the project as a whole and its largest file, with the hub's facts.
    """

    task: str
    size: int
    parts: tuple[tuple[Artifact, Facts], ...]

    @property
    def whole(self) -> Artifact:
        """The project at one revision."""
        return self.parts[0][0]


@dataclass(frozen=True, slots=True)
class Refused:
    """What was refused to whom, when; `suggested` is what the rules that decided name themselves."""

    artifact: Artifact
    actor: Actor
    now: datetime
    suggested: tuple[str, ...] = ()
    profile: Profile | None = None


def substitutes(epoch: Epoch, refused: Refused, held: Iterable[Profile]) -> Fact[tuple[str, ...]]:
    """At most `MOST` texts `name: why`: what the rules name first, then the likest of `held`.

    None is itself refused to this client, or made of what was refused as far as its lineage is known. What a rule names and nobody here has asked for is judged on what the catalogue
    knows, and left out only where that is enough to refuse it.
    """
    known = list(held)
    named = [f"{text}: named by the rule" for text in dict.fromkeys(refused.suggested) if _suggestible(epoch, refused, text, known)]
    taken = {text.rpartition(": ")[0].casefold() for text in named}
    ranked = _ranked(epoch, refused, [one for one in known if title(one.whole).casefold() not in taken], MOST - len(named))
    return Fact((*named, *ranked)[:MOST], "what this mirror has served", "B")


def split(text: str) -> tuple[str, str]:
    """A text of `substitutes` as name and reason."""
    name, _, why = text.partition(": ")
    return name, why


def _suggestible(epoch: Epoch, refused: Refused, text: str, known: Sequence[Profile]) -> bool:
    try:
        artifact = parse_loose(text)
    except ValueError:
        return False
    if (found := next((one for one in known if one.whole.project.name.casefold() == artifact.project.name.casefold()), None)) is not None:
        return _offered(epoch, refused, found)
    verdict = evaluate(epoch.policy, artifact, derive(Facts(), artifact, epoch.catalogue, epoch.lineage), refused.actor, refused.now)
    decided = verdict.determining
    return verdict.effect.serves or decided is None or bool(decided.unknown)


def _offered(epoch: Epoch, refused: Refused, one: Profile) -> bool:
    return not _made_of(epoch, refused, one) and _permitted(epoch, refused, one)


def _made_of(epoch: Epoch, refused: Refused, one: Profile) -> bool:
    """Whether it descends from what was refused, or from what a recall or an emergency deny names: bytes of that are in it."""
    artifact, facts = one.parts[0]
    known = derive(facts, artifact, epoch.catalogue, epoch.lineage).ancestors
    sources = [edge.project for edge in (known.value if known is not None else None) or ()]
    return any(_alike(source, refused.artifact.project) or _withdrawn(epoch, refused, source) for source in sources)


def _alike(one: Project, other: Project) -> bool:
    return (one.ecosystem, one.kind, one.name.casefold()) == (other.ecosystem, other.kind, other.name.casefold())


def _withdrawn(epoch: Epoch, refused: Refused, project: Project) -> bool:
    verdict = evaluate(epoch.policy, Artifact(project, "", ""), derive(Facts(), Artifact(project, "", ""), epoch.catalogue, epoch.lineage), refused.actor, refused.now)
    return any(hit.id.startswith((EMERGENCY, RECALLED)) for hit in verdict.deciding)


def _permitted(epoch: Epoch, refused: Refused, one: Profile) -> bool:
    return all(
        evaluate(epoch.policy, artifact, derive(facts, artifact, epoch.catalogue, epoch.lineage), refused.actor, refused.now).effect.serves
        for artifact, facts in one.parts
    )


def _ranked(epoch: Epoch, refused: Refused, known: Iterable[Profile], most: int) -> list[str]:
    own = refused.profile
    if own is None or not own.task:
        return []
    like = [
        one for one in known
        if one.task == own.task and one.whole.project.kind is own.whole.project.kind and one.whole.project.identity != own.whole.project.identity
    ]  # fmt: skip
    rows = sorted((_distance(epoch, own, one), title(one.whole), one) for one in like)
    found: list[str] = []
    for _, name, one in rows:
        if len(found) >= most:
            break
        if _offered(epoch, refused, one):
            found.append(f"{name}: {_why(epoch, own, one)}")
    return found


def _distance(epoch: Epoch, own: Profile, one: Profile) -> tuple[int, int, int]:
    """The nearest size first (in doublings; unknown last), then the same licence, a stated one, none; then a known origin."""
    doublings = int(abs(log2(one.size / own.size))) if one.size and own.size else 99
    wanted, stated = _licence(own), _licence(one)
    countries, whole = _origin(epoch, one)
    return doublings, 0 if stated and stated == wanted else 1 if stated else 2, 0 if whole else 1 if countries else 2


def _licence(one: Profile) -> tuple[str, ...]:
    fact = one.parts[0][1].license
    return (fact.value if fact is not None else None) or ()


def _origin(epoch: Epoch, one: Profile) -> tuple[tuple[str, ...], bool]:
    artifact, facts = one.parts[0]
    fact = derive(facts, artifact, epoch.catalogue, epoch.lineage).origin
    value = (fact.value if fact is not None else None) or ()
    return value, bool(value) and fact is not None and fact.source == CATALOGUE


def _why(epoch: Epoch, own: Profile, one: Profile) -> str:
    countries, whole = _origin(epoch, one)
    said = [f"same task ({own.task})"]
    said.append(_size(one.size) + (f" (that one {_size(own.size)})" if own.size else "") if one.size else "size unknown")
    licence = _licence(one)
    said.append(f"licence {', '.join(licence)}" if licence else "no licence stated")
    said.append(f"origin {', '.join(countries)}{'' if whole else ' in part'}" if countries else "origin unknown")
    return ", ".join(said)


def _size(size: int) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{max(size / _MIB, 0.1):.1f} MiB"
