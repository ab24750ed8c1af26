"""Which rules are in force on a node of several processes: those that the last of them has come to. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """The rules of one process. `fingerprint` names all that judges; `number` and `problems` are as health has them."""

    fingerprint: str
    policy: str
    number: int
    problems: int


class Rules:
    """Standings by process. `agreed` is what health says: it moves on when all processes stand under the same rules.

    A request is judged under the rules of its worker. So whoever has read of a new policy here gets it from any worker.
    """

    def __init__(self, own: object, standing: Standing) -> None:
        self._own, self.agreed = own, standing
        self._reported: dict[object, Standing] = {own: standing}

    def reported(self, process: object, standing: Standing) -> None:
        """A process stands under these rules from now on."""
        self._reported[process] = standing
        self._agree()

    def left(self, process: object) -> None:
        """A process is no more."""
        if process is not self._own and self._reported.pop(process, None) is not None:
            self._agree()

    def _agree(self) -> None:
        own = self._reported[self._own]
        if all(one.fingerprint == own.fingerprint for one in self._reported.values()):
            problems = max(one.problems for one in self._reported.values())
            self.agreed = Standing(own.fingerprint, own.policy, own.number, problems)
