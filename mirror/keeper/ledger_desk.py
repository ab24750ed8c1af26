"""What commands may do to the ledger while a mirror runs: have a checkpoint made, the key rotated, what had its time removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mirror.audit.checkpointer import Checkpointer
from mirror.audit.keeping import Retention
from mirror.core.decision import EventKind
from mirror.core.errors import MirrorError
from mirror.keeper.desk import Faulty, connected
from mirror.keeper.link import Answerer, Link, Reply

#: Seconds that each place outside may take while somebody waits at a terminal.
_PATIENCE: Final = 10.0
_METHODS: Final = frozenset({"checkpoint", "rotate", "expire", "erase", "hold", "view", "passed"})
#: What `passed` may record: of spans that went out, and of those that came in.
_PASSED: Final = frozenset({EventKind.CARRIED, EventKind.ADOPTED})


class LedgerDesk:
    """The owner's side. Values are plain JSON; a private key crosses the socket of our own user only."""

    def __init__(self, checkpointer: Checkpointer, retention: Retention | None = None) -> None:
        self._checkpointer, self._retention = checkpointer, retention

    async def checkpoint(self) -> dict[str, Any]:
        """Make one now, if anything is new, and have it taken out; how that went."""
        one = await self._checkpointer.make()
        await self._checkpointer.deliver(_PATIENCE)
        return {"note": one.note.data.decode(), "records": one.size, "to": self._checkpointer.condition()["to"]}

    async def rotate(self, key: str | None) -> dict[str, Any]:
        """Let another key sign from now on: the one of this PEM text, or a new one."""
        verifier = await self._checkpointer.rotate(None if key is None else _private(key))
        return {"key": verifier.text}

    async def passed(self, kind: str, subject: str, detail: Mapping[str, Any]) -> dict[str, Any]:
        """Record that a span of a ledger went out or came in, durable when it is answered; the record's sequence, and the head then."""
        if EventKind(kind) not in _PASSED:
            raise Faulty(f"no span is {kind}")
        sequence = await self._checkpointer.tell(EventKind(kind), subject, detail)
        one = await self._checkpointer.make()
        return {"seq": sequence, "records": one.size, "root": one.root.hex()}

    async def expire(self, dry: bool, sure: bool) -> dict[str, Any]:
        """Remove what had its time; what that was."""
        outcome = await self._kept.expire(dry=dry, sure=sure)
        if not dry and (outcome.records or outcome.personal):
            await self._checkpointer.make()
        return asdict(outcome)

    async def erase(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Erase personal parts: `by`, `reason`, `actor`, `sequences`; how many."""
        done = await self._kept.erase(**asked)
        await self._checkpointer.make()
        return done

    async def hold(self, detail: Mapping[str, Any]) -> dict[str, Any]:
        """Add or lift a hold, as `audit.holds` reads it."""
        done = await self._kept.hold(detail)
        await self._checkpointer.make()
        return done

    async def view(self, detail: Mapping[str, Any]) -> dict[str, Any]:
        """Record that questions about persons were opened or asked."""
        return await self._kept.viewed(detail)

    @property
    def _kept(self) -> Retention:
        if self._retention is None:
            raise Faulty("this ledger has no retention")
        return self._retention

    @property
    def calls(self) -> Mapping[str, Answerer]:
        """What a command may ask over the socket."""
        return {"ledger": self._answer}

    async def _answer(self, value: Any, _: bytes) -> Reply:
        """`[method, arguments]`. What went wrong is an answer too: `{"fault": ...}`."""
        method, arguments = value
        if method not in _METHODS:
            raise ValueError(f"the ledger has no {method!r}")
        try:
            return Reply({"value": await getattr(self, method)(*arguments)})
        except (MirrorError, OSError) as error:
            return Reply({"fault": str(error)})


def _private(pem: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise Faulty("is no Ed25519 key")
    return key


class AskedLedger:
    """The desk of a mirror that runs, from a command."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @classmethod
    async def at(cls, folder: Path) -> AskedLedger | None:
        """The desk of whoever owns `folder`; None where nobody listens. Raises `LedgerDown` for one of another release."""
        link = await connected(folder)
        return None if link is None else cls(link)

    async def call(self, method: str, *arguments: Any) -> dict[str, Any]:
        """The answer. Raises `Faulty` with what the owner says went wrong, `LedgerDown` where it has ended."""
        told = (await self._link.call("ledger", [method, list(arguments)])).value
        if "fault" in told:
            raise Faulty(told["fault"])
        found: dict[str, Any] = told["value"]
        return found

    def close(self) -> None:
        """Hang up."""
        self._link.close()
