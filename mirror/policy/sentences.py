"""The one sentence that a person sees: which rule, which thing, why, and what instead. One latin-1 line (DESIGN 6)."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from mirror.core.decision import Effect
from mirror.core.nouns import PYPI, Artifact
from mirror.policy.conditions import AWAITED, SCANS
from mirror.policy.identity import by_whom

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mirror.core.facts import Ancestor
    from mirror.policy.rules import Held, Ruling

_MADE: Final = {
    "finetune": ("is a finetune of", "a finetune of"),
    "adapter": ("is an adapter of", "an adapter of"),
    "merge": ("is a merge of", "a merge of"),
    "quantized": ("is quantized from", "quantized from"),
    "distill": ("is distilled from", "distilled from"),
    "component": ("contains or works with", "made with"),
}
_DERIVED: Final = ("is derived from", "derived from")
#: Characters of a whole sentence: it travels in headers. Of a lineage the nearest and the furthest steps are told.
LIMIT: Final = 600
_STEPS: Final = 4
_PATH_LIMIT: Final = 120
_SUGGESTED: Final = 3
FORBIDDEN: Final = " Copies that are there already must not be used."
_FILE_FACTS: Final = frozenset({"kind", "file", "size", "scan"})
_SCANNED: Final = tuple(SCANS.values())
_AWAITED: Final = tuple(SCANS[word] for word in sorted(AWAITED))
_UNKNOWN: Final = {
    "client_country": "is requested from an unknown country",
    "lineage": "has a lineage that is not known in full",
    "upstream.blocks_client": "may be withheld by its hub",
    "scan": "has a file of which its hub tells no scan",
}


def title(artifact: Artifact) -> str:
    """How people call it: `org/name`, or on PyPI `name 1.0`."""
    project = artifact.project
    return f"{project.name} {artifact.revision}" if project.ecosystem == PYPI and artifact.revision else project.name


def cause(held: Held, missing: str) -> str:
    """The half sentence after the title, from the condition that says most."""
    if missing:
        return _UNKNOWN.get(missing, f"has an unknown {missing.replace('_', ' ')}")
    said = max(held.causes, key=lambda pair: pair[0], default=(0, ""))[1] if held.causes else ""
    if not held.path:
        return said or "meets its conditions"
    last = held.path[-1]
    if held.view is not None and said.startswith("is published by "):  # a rule that is inherited: what the ancestor is
        return f"{_path(held.path)}, {said.removeprefix('is ')}"
    if held.view is not None:
        return f"{_path(held.path)}, which {said}" if said else _path(held.path)
    return f"{_path(held.path)}, {by_whom(last.publisher, last.countries)}" if last.publisher or last.countries else _path(held.path)


def _path(path: Sequence[Ancestor]) -> str:
    parts: list[str] = []
    for edge in path:
        first, later = _MADE.get(edge.relation, _DERIVED)
        parts.append(f"{later if parts else first} {edge.project.name}")
    if len(parts) > _STEPS:
        between = len(parts) - _STEPS
        parts[_STEPS // 2 : -_STEPS // 2] = [f"{between} more step{'s' if between > 1 else ''}"]
    return ", ".join(parts)


def sentence(
    artifact: Artifact, effect: Effect, decisive: Sequence[Ruling], everything: Sequence[Ruling], available: datetime | None,
    instead: Sequence[str] = (),
) -> str:
    """The whole line of at most `LIMIT`, without decision id and contact. `decisive` are the rulings that decided, empty for a default."""
    name = title(artifact)
    if not decisive:
        if effect is Effect.DENY:
            return _fitted("Blocked by the policy's default: ", name, f" is permitted by no rule{_doubted(everything)}.{_instead(instead)}")
        return _fitted("Permitted: no rule objects to ", name, ".")
    ruling = next((one for one in decisive if not one.hit.unknown), decisive[0])
    said = ruling.hit.cause.strip().rstrip(".")
    head = f"policy rule '{ruling.rule.id}': {_file(artifact, ruling)}{name}{':' if ruling.rule.reason else ''} "
    if effect is Effect.ALLOW:
        return _fitted(f"Permitted by {head}", said, ".")
    if effect is Effect.WARN:
        return _fitted(f"Warning by {head}", said, ".")
    if effect is Effect.DENY:
        use = FORBIDDEN if any(one.rule.forbidden for one in decisive) else ""
        return _fitted(f"Blocked by {head}", said, f".{use}{_instead(instead)}")
    return _fitted(f"Held by {head}", said, f"; {_scanned(ruling) or _until(effect, available)}.{_instead(instead)}")


def _instead(named: Sequence[str]) -> str:
    more = f" and {len(named) - _SUGGESTED} more" if len(named) > _SUGGESTED else ""
    return f" Permitted instead: {', '.join(named[:_SUGGESTED])}{more}." if named else ""


def _fitted(head: str, said: str, tail: str) -> str:
    """The line, its middle cut where it would be too long: which rule, which thing and what instead stay."""
    whole = line(f"{head}{said}{tail}")
    if len(whole) <= LIMIT:
        return whole
    said = line(said)
    kept = len(said) - (len(whole) - LIMIT) - len("...")
    return line(f"{head}{said[: max(kept, 0)]}...{tail}")[:LIMIT]


def _scanned(ruling: Ruling) -> str:
    """What a quarantine waits for that a scan decided: nobody releases it, the hub's next verdict does."""
    if ruling.hit.effect is not Effect.QUARANTINE or ruling.rule.release == "manual" or ruling.hit.unknown:
        return ""
    said = next((text for _, text in ruling.held.causes if text.startswith(_SCANNED)), "")
    return "" if not said else "held until the hub has scanned it" if said.startswith(_AWAITED) else "held until the hub's scan says otherwise"


def _until(effect: Effect, available: datetime | None) -> str:
    if effect is Effect.REVIEW:
        return "held until it has been reviewed"
    if available is None:
        return "held until it is released"
    if (available.hour, available.minute, available.second, available.microsecond) == (0, 0, 0, 0):
        return f"available from {available.date().isoformat()}"
    return f"available from {available.strftime('%Y-%m-%d %H:%M')} UTC"


def _file(artifact: Artifact, ruling: Ruling) -> str:
    """The file's name where a property of the file decided."""
    keys = {condition.key for condition in ruling.rule.conditions}
    if artifact.project.ecosystem == PYPI or not artifact.path or keys.isdisjoint(_FILE_FACTS) or ruling.hit.unknown:
        return ""
    said = ruling.hit.cause
    path = artifact.path if len(artifact.path) <= _PATH_LIMIT else f"...{artifact.path[-_PATH_LIMIT:]}"
    named = said.startswith(("matches '", "is of kind", "has a file name", *_SCANNED)) or said.endswith(" bytes")
    return f"{path} of " if named else ""


def _doubted(everything: Sequence[Ruling]) -> str:
    doubt = next((one for one in everything if one.hit.unknown and one.rule.effect is Effect.ALLOW), None)
    return f" (rule '{doubt.rule.id}' could not be judged: {doubt.hit.unknown} is unknown)" if doubt else ""


def line(text: str) -> str:
    """`text` as one line that fits a header: latin-1, no control characters.

    Letters outside latin-1 lose their marks where they can (NFKD), else become `?`.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    kept = []
    for character in " ".join(text.split()):
        if character <= "~" or "\xa1" <= character <= "\xff":
            kept.append(character if character >= " " else "?")
            continue
        plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode("ascii")
        kept.append("".join(c for c in plain if " " <= c <= "~") or "?")
    return "".join(kept)


