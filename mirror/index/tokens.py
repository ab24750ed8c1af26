"""Mirror tokens, by keyed hash."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from mirror.core.tokens import MirrorToken
from mirror.index.rows import micros, moment, storable
from mirror.index.tables import tokens as table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from mirror.index.engine import Database


class TokenTable:
    """core.tokens.TokenIndex. Raises `IndexDown` throughout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tokens(self) -> Sequence[MirrorToken]:
        """All, the oldest first."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(table).order_by(table.c.created_at, table.c.id))).all()
        return [_token(row) for row in rows]

    async def tokens_state(self) -> tuple[int, int]:
        """(how many, the latest change)."""
        async with self._database.read() as connection:
            count, changed = (await connection.execute(select(func.count(), func.coalesce(func.max(table.c.changed), 0)))).one()
        return int(count), int(changed)

    async def put_token(self, token: MirrorToken) -> None:
        """Keep a new token."""
        row = {
            "digest": token.digest, "id": token.id, "name": storable(token.name), "groups": json.dumps(list(token.groups)),
            "note": storable(token.note), "created_at": micros(token.created_at), "expires_at": _maybe(token.expires_at),
            "revoked_at": _maybe(token.revoked_at),
        }  # fmt: skip
        async with self._database.write() as connection:
            await connection.execute(insert(table), [{**row, "changed": await _next(connection, token.created_at)}])

    async def revoke_token(self, token_id: str, at: datetime) -> bool:
        """Whether there was such a token that was not revoked yet."""
        async with self._database.write() as connection:
            wanted = update(table).where(table.c.id == token_id, table.c.revoked_at.is_(None))
            gone = await connection.execute(wanted.values(revoked_at=micros(at), changed=await _next(connection, at)))
        return gone.rowcount > 0


async def _next(connection: AsyncConnection, at: datetime) -> int:
    """A mark later than every other one, whatever the clock says."""
    latest = (await connection.execute(select(func.coalesce(func.max(table.c.changed), 0)))).scalar_one()
    return max(micros(at), int(latest) + 1)


def _maybe(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _token(row: Row[Any]) -> MirrorToken:
    expires, revoked = (None if value is None else moment(value) for value in (row.expires_at, row.revoked_at))
    groups = tuple(str(name) for name in json.loads(row.groups))
    return MirrorToken(row.id, row.name, row.digest, groups, row.note, moment(row.created_at), expires, revoked)
