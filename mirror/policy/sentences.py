"""The one sentence that a person sees: which rule, which thing, why, and what instead. One latin-1 line (DESIGN 6)."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from mirror.core.decision import Effect
from mirror.core.nouns import PYPI, Artifact
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
}
_DERIVED: Final = ("is derived from", "derived from")
_FILE_FACTS: Final = frozenset({"kind", "file", "size"})
_UNKNOWN: Final = {
    "client_country": "is requested from an unknown country",
    "lineage": "has a lineage that is not known in full",
    "upstream.blocks_client": "may be withheld by its hub",
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
    return ", ".join(parts)


def sentence(
    artifact: Artifact, effect: Effect, decisive: Sequence[Ruling], everything: Sequence[Ruling], available: datetime | None
) -> str:
    """The whole line, without decision id and contact. `decisive` are the rulings that decided, empty for a default."""
    name = title(artifact)
    if not decisive:
        if effect is Effect.DENY:
            return line(f"Blocked by the policy's default: {name} is permitted by no rule{_doubted(everything)}.")
        return line(f"Permitted: no rule objects to {name}.")
    ruling = next((one for one in decisive if not one.hit.unknown), decisive[0])
    said = ruling.hit.cause.strip().rstrip(".")
    about = f"{_file(artifact, ruling)}{name}{':' if ruling.rule.reason else ''} {said}"
    rule = f"policy rule '{ruling.rule.id}'"
    if effect is Effect.ALLOW:
        return line(f"Permitted by {rule}: {about}.")
    if effect is Effect.WARN:
        return line(f"Warning by {rule}: {about}.")
    instead = f" Permitted instead: {', '.join(dict.fromkeys(s for one in decisive for s in one.rule.suggest))}." if any(
        one.rule.suggest for one in decisive) else ""
    if effect is Effect.DENY:
        return line(f"Blocked by {rule}: {about}.{instead}")
    return line(f"Held by {rule}: {about}; {_until(effect, available)}.{instead}")


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
    return f"{artifact.path} of " if said.startswith(("matches '", "is of kind", "has a file name")) or said.endswith(" bytes") else ""


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


