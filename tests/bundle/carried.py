"""Small bundles for tests: an invented sender, a few parts, every form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mirror.bundle.layout import BundleWriter, Form
from mirror.bundle.statement import Signer, Statement, Withdrawn, payload, sign
from mirror.core.dsse import key_id

CREATED = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
CONTENTS = "application/vnd.entrepot.contents.v1+jsonl"
OCTETS = "application/octet-stream"


def signers(*keys: Ed25519PrivateKey) -> dict[str, Signer]:
    """What a receiver trusts who knows these keys."""
    return {key_id(key.public_key()): Signer(key.public_key(), "acme-mirror") for key in keys or (KEY,)}


@dataclass
class Goods:
    """What a test's bundle holds: titles and bytes."""

    files: dict[str, bytes] = field(default_factory=lambda: {
        "huggingface/models/acme/tiny/0f0f/config.json": b'{"hidden_size": 8}\n',
        "huggingface/models/acme/tiny/0f0f/model.safetensors": bytes(range(256)) * 40,
        "pypi/anvil/anvil-1.0-py3-none-any.whl": b"PK-not-really" * 30,
        "pypi/anvil/empty": b"",
    })  # fmt: skip

    def write(
        self, target: Path, form: Form = Form.DIRECTORY, *, volume: int | None = None, keys=(KEY,), **changed
    ) -> Path:
        """A whole bundle; gives what to open. `changed`: fields of the statement."""
        with BundleWriter(target, form, volume=volume) as writer:
            contents = writer.add_bytes(CONTENTS, "contents.jsonl", b'{"kind":"entry"}\n')
            for title, data in self.files.items():
                writer.add_bytes(OCTETS, title, data)
            if changed.get("purpose") == "recall":
                changed.setdefault("withdrawn", (Withdrawn("acme/tiny", "it was withdrawn"),))
            stated = replace(
                Statement("acme-lab", 1, CREATED, "mirror.acme.example", contents, writer.seal()), **changed
            )
            writer.finish(sign(payload(stated), keys), created=stated.created)
        return target if volume is None else target.with_name(target.name + ".001")
