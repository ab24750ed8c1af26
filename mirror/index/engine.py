"""Opening a database: SQLite beside the data or PostgreSQL by URL, brought to the newest revision."""

from __future__ import annotations

import asyncio
import fcntl
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import Connection, Insert, Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mirror.core.errors import InputError, MirrorError, Problem
from mirror.index.migrations import HEAD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_LOG = structlog.get_logger("mirror.index")
#: Seconds for another writer to finish, or for a server to accept a connection and to answer; clients wait 10 s in all.
_PATIENCE: Final = 2.0
#: Seconds without an attempt to write after one that failed.
_REST: Final = 3.0
_DAMAGE: Final = ("malformed", "not a database", "disk image")
#: Key of the advisory lock under which one process at a time migrates ("entrepot" in ASCII, as a 63-bit number).
_MIGRATING: Final = 0x656E747265706F74 & (2**63 - 1)


class IndexDown(MirrorError):
    """The database does not answer or will not take what it is given."""


class Database:
    """Connections to one database; one writer at a time within this process, because SQLite knows only one."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.is_postgresql = engine.dialect.name == "postgresql"
        self._writing = asyncio.Lock()
        self._rest_until, self._why = 0.0, ""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading. Raises `IndexDown`."""
        try:
            async with self.engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise IndexDown(_phrase(error)) from error

    @asynccontextmanager
    async def write(self, *, durable: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end of the block; with `durable` it then outlives a power cut as well. Raises `IndexDown`.

        After a failure the database is left alone for `_REST` seconds: requests write in passing, and must not wait one
        after another for what does not answer.
        """
        try:
            async with self._writing:
                if asyncio.get_running_loop().time() < self._rest_until:
                    raise IndexDown(self._why)
                async with self.engine.connect() as plain:
                    connection = await plain.execution_options(mirror_write=True, mirror_durable=durable)
                    async with connection.begin():
                        yield connection
        except (SQLAlchemyError, OSError) as error:
            if isinstance(error, (OperationalError, InterfaceError, OSError)):
                self._rest_until, self._why = asyncio.get_running_loop().time() + _REST, _phrase(error)
            raise IndexDown(_phrase(error)) from error

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An insert of this dialect, which knows ON CONFLICT."""
        return postgresql.insert(table) if self.is_postgresql else sqlite.insert(table)

    def upsert(self, table: Table) -> Insert:
        """Insert by primary key, or replace every other column."""
        statement = self.insert(table)
        keys = [column.name for column in table.primary_key]
        changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=changed)

    async def close(self) -> None:
        """Release every connection."""
        await self.engine.dispose()


async def open_database(url: str | None, data: Path) -> Database:
    """Connect and migrate. `url` None is SQLite at `<data>/index.sqlite`.

    A damaged SQLite file is set aside and begun anew: everything in it can be had again. Raises `InputError` for a URL
    that cannot mean a database, `IndexDown`.
    """
    if url is not None:
        engine = create_async_engine(
            _postgresql(url), pool_pre_ping=True, pool_size=8, max_overflow=8, pool_timeout=_PATIENCE,
            connect_args={"timeout": _PATIENCE},
        )  # fmt: skip
        return await _migrated(engine)
    data.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - once, at the start
    path = data / "index.sqlite"
    with _alone(data / "index.lock"):
        try:
            return await _migrated(_sqlite(path))
        except IndexDown as error:
            if not any(word in str(error) for word in _DAMAGE):
                raise
            _set_aside(path, str(error))
            return await _migrated(_sqlite(path))


def _postgresql(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InputError([Problem("", "database", "not a database URL")]) from error
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+asyncpg"):
        raise InputError([Problem("", "database", f"'{parsed.drivername}' is not postgresql")])
    query = dict(parsed.query)
    if "sslmode" in query:  # libpq's name; asyncpg calls it ssl
        query["ssl"] = query.pop("sslmode")
    return parsed.set(drivername="postgresql+asyncpg", query=query)


def _sqlite(path: Path) -> AsyncEngine:
    path.touch(mode=0o600)  # it tells who asked; SQLite gives its side files the same mode
    engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(path)))

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(_PATIENCE * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA cache_size = -32768")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        # A deferred transaction that turns into a writing one may fail at once; an immediate one waits its turn.
        options = connection.get_execution_options()
        immediate = options.get("mirror_write")
        # What is asked of upstreams again may be lost with the last seconds before a power cut; what somebody was promised may not.
        if options.get("mirror_durable"):
            connection.exec_driver_sql("PRAGMA synchronous = FULL")
            connection.info["mirror_durable"] = True
        elif connection.info.pop("mirror_durable", False):
            connection.exec_driver_sql("PRAGMA synchronous = NORMAL")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


async def _migrated(engine: AsyncEngine) -> Database:
    database = Database(engine)
    try:
        async with database.read() as connection:
            revision = await connection.run_sync(_revision)
        if revision != HEAD:
            async with database.write() as connection:
                if database.is_postgresql:
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})
                await connection.run_sync(_upgrade)
    except BaseException:
        await engine.dispose()
        raise
    return database


def _revision(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise IndexDown(f"the database was made by a newer version: {error}") from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _set_aside(path: Path, fault: str) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    _LOG.error("index_damaged", fault=fault, kept=aside.name)
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _phrase(error: Exception) -> str:
    """The engine's own words without the statement and its parameters."""
    cause = error.orig if isinstance(error, DatabaseError) and error.orig is not None else error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''}"
