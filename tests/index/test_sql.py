"""The index contract on both engines, and what is particular to each."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text

from mirror.audit.feed import catch_up
from mirror.core.errors import InputError
from mirror.core.nouns import Artifact, Blob, Digest, Entry
from mirror.core.ports import Grant
from mirror.index import migrations
from mirror.index.engine import IndexDown
from mirror.index.sql import SqlIndex
from mirror.index.tables import metadata
from tests.audit.samples import NOW, PROJECT
from tests.audit.test_feed import written
from tests.contracts.index import IndexContract, document
from tests.support.postgresql import running_postgresql

GRANT = Grant("f", "p", True, True, NOW)


@pytest.fixture(scope="module")
def postgresql():
    with running_postgresql() as url:
        yield url


@pytest.fixture
async def fresh(postgresql):
    """The URL of a new database on the server."""
    name = f"t{os.urandom(6).hex()}"
    connection = await asyncpg.connect(postgresql)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return postgresql.rsplit("/", 1)[0] + f"/{name}"


class TestSqlite(IndexContract):
    @pytest.fixture
    async def index(self, tmp_path):
        index = await SqlIndex.open(None, tmp_path)
        yield index
        await index.close()


class TestPostgresql(IndexContract):
    @pytest.fixture
    async def index(self, tmp_path, fresh):
        index = await SqlIndex.open(fresh, tmp_path)
        yield index
        await index.close()


async def drift(index: SqlIndex) -> list:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    async with index._database.read() as connection:
        return await connection.run_sync(lambda sync: compare_metadata(MigrationContext.configure(sync), metadata))


async def test_migrations_make_the_tables(tmp_path, fresh):
    """The revisions make exactly the tables that the statements use, on both engines, and `HEAD` names the last."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    for url in (None, fresh):
        index = await SqlIndex.open(url, tmp_path)
        assert await drift(index) == []
        await index.close()
    config = Config()
    config.set_main_option("script_location", os.path.dirname(migrations.__file__))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


async def test_two_processes_open_a_fresh_database(tmp_path, fresh):
    """Two that open the same new database at the same time both get it whole."""
    for url in (None, fresh):
        both = await asyncio.gather(*(asyncio.to_thread(asyncio.run, _put_and_close(url, tmp_path)) for _ in range(2)))
        assert both == [GRANT, GRANT]


async def _put_and_close(url, data):
    index = await SqlIndex.open(url, data)
    await index.put_grant(GRANT)
    found = await index.get_grant("f", "p")
    await index.close()
    return found


async def test_what_is_stored_survives(tmp_path, fresh):
    """Everything is there after closing and opening again."""
    for url in (None, fresh):
        await _put_and_close(url, tmp_path)
        index = await SqlIndex.open(url, tmp_path)
        assert await index.get_grant("f", "p") == GRANT
        await index.close()


async def test_newer_database_is_left_alone(tmp_path):
    """A database of a revision that this program does not know is an error that says so, and is not changed."""
    await _put_and_close(None, tmp_path)
    with sqlite3.connect(tmp_path / "index.sqlite") as plain:
        plain.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(IndexDown, match="newer version"):
        await SqlIndex.open(None, tmp_path)


async def test_a_copy_of_an_older_release_is_made_anew(tmp_path):
    """What revision 0004 held of the ledger is gone after the upgrade, the rest is there, and the segments fill the copy as it is now."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    await written(tmp_path / "ledger", 0, 3)
    config = Config()
    config.set_main_option("script_location", os.path.dirname(migrations.__file__))
    with create_engine(f"sqlite:///{tmp_path / 'index.sqlite'}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        connection.execute(text("INSERT INTO events (seq, at, decision) VALUES (99, 1, 'old')"))
        connection.execute(text("INSERT INTO event_personal (seq, personal) VALUES (99, 'old')"))
        connection.execute(text("INSERT INTO pins (key, pattern, reason, at) VALUES ('k', 'acme/*', 'kept', 1)"))
    index = await SqlIndex.open(None, tmp_path)
    assert (await index.last_sequence(), [pin.pattern for pin in await index.pins()]) == (-1, ["acme/*"])
    assert await catch_up(tmp_path / "ledger", index) == 5
    assert [one["seq"] for one in await index.query({"ancestor": "acme/*"}, 9, None)] == [3, 2, 1]
    await index.close()


async def test_damaged_sqlite_is_set_aside(tmp_path):
    """A file that is no database is kept beside a new, empty one, and the mirror starts."""
    (tmp_path / "index.sqlite").write_bytes(b"not a database at all" * 500)
    index = await SqlIndex.open(None, tmp_path)
    assert await index.last_sequence() == -1
    await index.close()
    assert (tmp_path / "index.sqlite.damaged-1").read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("column", ["body", "headers", "digest", "coding"])
async def test_damaged_document_is_a_miss(tmp_path, column):
    """A row whose content is not what its digest says is as good as absent."""
    index = await SqlIndex.open(None, tmp_path)
    await index.put_document(document())
    async with index._database.write() as connection:
        await connection.execute(text(f"UPDATE documents SET {column} = 'zstd?'"))
    assert await index.get_document(document().key) is None
    await index.close()


@pytest.mark.parametrize("column", ["artifact", "digest", "headers", "size", "stored_at"])
async def test_damaged_entry_is_a_miss(tmp_path, column):
    """An entry that cannot be read is as good as absent."""
    entry = Entry(Artifact(PROJECT, "a", "b"), Blob(Digest("sha256", "c" * 64), 3), (), NOW)
    index = await SqlIndex.open(None, tmp_path)
    await index.put_entry(entry)
    async with index._database.write() as connection:
        await connection.execute(text(f"UPDATE entries SET {column} = '[]?'"))
    assert await index.get_entry(entry.artifact.identity) is None
    await index.close()


async def test_server_gone_is_a_miss(tmp_path):
    """With the database server gone the cache answers "not here" and takes nothing, health hears of it, events raise."""
    with running_postgresql() as url:
        index = await SqlIndex.open(url, tmp_path)
        await index.put_grant(GRANT)
        assert (await index.get_grant("f", "p"), index.fault) == (GRANT, "")
    assert await index.get_grant("f", "p") is None
    await index.put_grant(GRANT)
    assert index.fault
    with pytest.raises(IndexDown):
        await index.last_sequence()
    await index.close()


@pytest.mark.parametrize("url", ["mysql://h/db", "not a url", "sqlite:///x", ""])
async def test_unusable_urls(tmp_path, url):
    """What is no PostgreSQL URL is unusable input that names the key and repeats no password."""
    with pytest.raises(InputError, match="database"):
        await SqlIndex.open(url, tmp_path)


async def test_unreachable_server(tmp_path):
    """A server that does not answer is an error that holds no password."""
    with pytest.raises(IndexDown) as caught:
        await SqlIndex.open("postgresql://u:s3cret@127.0.0.1:1/db", tmp_path)
    assert "s3cret" not in str(caught.value)


async def test_a_locked_database_holds_up_nobody_for_long(tmp_path):
    """While another program holds the database, requests that write in passing wait once together, not one after another."""
    index = await SqlIndex.open(None, tmp_path)
    other = sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    grants = [Grant("", f"huggingface:model:{number}", allowed=True, public=True, at=NOW) for number in range(20)]

    await asyncio.wait_for(asyncio.gather(*map(index.put_grant, grants)), 15)

    assert "locked" in index.fault
    other.rollback()
    while await index.get_grant("", grants[0].project) is None:
        await asyncio.sleep(0.1)
        await index.put_grant(grants[0])
    assert index.fault == ""
    other.close()
    await index.close()


async def test_a_server_that_accepts_and_says_nothing_is_given_up():
    """A PostgreSQL behind a wall that swallows packets is down within seconds, not within the driver's minute."""
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]

    with pytest.raises(IndexDown):
        await asyncio.wait_for(SqlIndex.open(f"postgresql://u@127.0.0.1:{port}/x?sslmode=disable", Path()), 15)

    silent.close()
