"""Who the mirror says the holder of a mirror token is, in the hub's own shape (huggingface.md section 4, `whoami`).

`hf auth login` keeps a token under `auth.accessToken.displayName` and prints its `role`; `hf auth whoami` prints `name` and
the names of `orgs`. A mirror takes nothing in, so every role is `read`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirror.core.canonical import instant

if TYPE_CHECKING:
    from mirror.core.actor import Actor, Holder


def holder_page(actor: Actor, holder: Holder) -> dict[str, Any]:
    """The object that `/api/whoami-v2` answers with. Groups stand where the hub has organisations."""
    orgs = [
        {
            "type": "org", "id": f"mirror-{name}", "name": name, "fullname": actor.entity or name, "email": None, "canPay": False,
            "periodEnd": None, "isEnterprise": False, "avatarUrl": "", "roleInOrg": "read",
        }
        for name in actor.groups
    ]  # fmt: skip
    access = {"displayName": holder.name, "role": "read", "createdAt": instant(holder.created_at)}
    if holder.expires_at is not None:
        access["expiresAt"] = instant(holder.expires_at)
    return {
        "type": "user", "id": f"mirror-{holder.id}", "name": holder.name, "fullname": holder.note or holder.name, "email": None,
        "emailVerified": False, "canPay": False, "isPro": False, "periodEnd": None, "avatarUrl": "", "orgs": orgs,
        "auth": {"type": "access_token", "accessToken": access},
    }  # fmt: skip
