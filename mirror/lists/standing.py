"""How a list stands: what status, health and metrics say of it, from what lies on disk."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from mirror.core.errors import InputError
from mirror.lists.guards import Guards, read_guards

if TYPE_CHECKING:
    from mirror.lists.editions import EditionStore
    from mirror.lists.official import ListSettings

State = Literal["in force", "held", "stale", "unreachable", "none"]


@dataclass(frozen=True, slots=True)
class Condition:
    """How one list stands. `age` counts from when its source last had nothing newer.

    `held`: the source's newest edition is kept out. `stale`: older than `guards.max_age`. `unreachable`: the source could not be
    had, and what is in force is not stale yet. `none`: there is no edition.
    """

    name: str
    state: State
    edition: str = ""
    stated: date | None = None
    entries: int = 0
    adopted_at: datetime | None = None
    accepted: bool = False
    age: timedelta | None = None
    checked_at: datetime | None = None
    next_at: datetime | None = None
    problems: tuple[str, ...] = ()

    @property
    def alarming(self) -> bool:
        """Whether somebody should look."""
        return self.state in ("held", "stale", "none")

    def record(self) -> dict[str, Any]:
        """As JSON: ages in whole seconds, moments in UTC."""
        return {
            "name": self.name, "state": self.state, "edition": self.edition, "stated": None if self.stated is None else self.stated.isoformat(),
            "entries": self.entries, "adopted_at": _moment(self.adopted_at), "accepted": self.accepted,
            "age_seconds": None if self.age is None else int(self.age.total_seconds()), "checked_at": _moment(self.checked_at),
            "next_at": _moment(self.next_at), "problems": list(self.problems),
        }  # fmt: skip


def condition(name: str, row: ListSettings, store: EditionStore, now: datetime) -> Condition:
    """How list `name` stands at `now`."""
    kept, standing = store.current(name, row), store.standing(name)
    problems = [*standing.problems, *([standing.fault] if standing.fault else [])]
    if kept is None:
        return Condition(name, "none", checked_at=standing.checked_at, next_at=standing.next_at, problems=tuple(problems))
    age = max(now - (standing.confirmed_at or kept.adopted_at), timedelta(0))
    most = _guards(row, name).max_age
    state: State = "in force"
    if most is not None and age > most:
        problems.append(f"the edition in force has not been confirmed for {_span(age)}, beyond guards.max_age {_span(most)}")
        state = "stale"
    elif standing.fault:
        state = "unreachable"
    if standing.problems:
        state = "held"
    return Condition(
        name, state, kept.edition, kept.stated, kept.entries, kept.adopted_at, kept.accepted, age, standing.checked_at, standing.next_at,
        tuple(problems),
    )  # fmt: skip


def _guards(row: ListSettings, name: str) -> Guards:
    try:
        return read_guards(row.guards, name)
    except InputError:
        return Guards()


def _span(length: timedelta) -> str:
    hours = int(length.total_seconds() // 3600)
    return f"{hours // 24}d {hours % 24}h" if hours >= 24 else f"{hours}h" if hours else f"{int(length.total_seconds())}s"


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(timespec="seconds").replace("+00:00", "Z")
