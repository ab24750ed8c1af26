"""People with keys: an invented staff whose cards lie in a folder, and the statements that they sign."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mirror.core import dsse
from mirror.core.ids import ulid
from mirror.policy import statements
from mirror.policy.approval import Enrolled, Roll
from mirror.policy.grammar import ExceptionScope
from mirror.proxy.approvals import digests, signature_of
from mirror.proxy.rulebook import policy_texts
from mirror.trust.drawer import Drawer
from mirror.trust.enrolment import card_text

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Person:
    """Somebody with one key, enrolled as told."""

    def __init__(self, person, *roles, since=BEGIN, until=None, revoked=None, key=None):
        self.private = key or Ed25519PrivateKey.generate()
        public = self.private.public_key()
        self.card = Enrolled(dsse.key_id(public), public, person, person.title(), frozenset(roles or ("approver",)), since, until, revoked)

    @property
    def id(self):
        return self.card.person

    def enrol(self, folder: Path) -> Path:
        """Write the card into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.id}-{self.card.id[:8]}.yaml"
        path.write_text(card_text(self.card))
        return path


def roll(*people) -> Roll:
    return Roll({one.card.id: one.card for one in people})


def signed(envelope, *people):
    for one in people:
        envelope = dsse.signed(envelope, one.private)
    return envelope


def activation(path: Path, requested_by="rita", number=1, at=NOW, reason=""):
    """An unsigned activation of the policy at `path` as it lies there."""
    return statements.drafted(statements.ACTIVATION, statements.Activation(number, at, requested_by, digests(policy_texts(path)), reason))


def activate(path: Path, *people, **told) -> None:
    """Sign the policy at `path` as it lies there."""
    signature_of(path).write_bytes(dsse.written(signed(activation(path, **told), *people)))


def waiver(rule, artifact="acme/thing", *, by="rita", at=NOW, expires=date(2027, 2, 1), **more):
    return statements.Waiver(f"W-{ulid(at, os.urandom(10))}", at, by, rule, ExceptionScope(artifact=(artifact,)), "ticket 4411", expires, **more)


def ask(data: Path, stated, *people):
    """Put a request into the drawer; gives its envelope."""
    envelope = signed(statements.drafted(statements.REQUEST, stated), *people)
    Drawer(data).put(stated.id, "request", envelope)
    return envelope


def grant(stated, request, *people, **changed):
    """A grant of a request, signed."""
    from dataclasses import replace

    return signed(statements.drafted(statements.GRANT, replace(stated, request=request.digest, **changed)), *people)


def deny(data: Path, artifact, *people, at=NOW, **more):
    """An emergency deny in the drawer; gives the statement."""
    stated = statements.Deny(f"D-{ulid(at, os.urandom(10))}", at, (artifact,), "an order came in", **more)
    Drawer(data).put(stated.id, "deny", signed(statements.drafted(statements.DENY, stated), *people))
    return stated


def lift(data: Path, stated, *people, at=NOW, by="rita"):
    envelope = statements.drafted(statements.LIFT, statements.Lift(stated.id, at, by, "it is over", statements.drafted(statements.DENY, stated).digest))
    Drawer(data).put(stated.id, "lift", signed(envelope, *people))


def reject(data: Path, stated, *people, at=NOW):
    envelope = statements.drafted(statements.REJECTION, statements.Rejection(stated.id, at, "no need"))
    Drawer(data).put(stated.id, "rejection", signed(envelope, *people))


def later(days: float) -> datetime:
    return NOW + timedelta(days=days)
