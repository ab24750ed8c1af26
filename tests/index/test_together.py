"""Names that are looked up or written down at the same time share a transaction, and each still gets its own."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from sqlalchemy import event

from mirror.core.nouns import Artifact, Blob, Digest, Entry, Kind, Project
from mirror.index.sql import SqlIndex

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def entry(number: int) -> Entry:
    artifact = Artifact(Project("huggingface", Kind.MODEL, "acme/many", "hf", "1"), "a" * 40, f"part-{number}")
    return Entry(artifact, Blob(Digest("sha256", f"{number:064x}"), number), (("etag", f'"{number}"'),), NOW)


async def test_many_at_once_are_few_statements(tmp_path):
    """A hundred names that come together are written and found again, each its own, in a fraction of the statements."""
    index = await SqlIndex.open(None, tmp_path)
    said: list[str] = []
    event.listen(index._database.engine.sync_engine, "before_cursor_execute", lambda _c, _u, text, *_: said.append(text.split()[0]))
    try:
        entries = [entry(number) for number in range(100)]
        await asyncio.gather(*map(index.put_entry, entries))
        assert said.count("INSERT") < 10
        said.clear()
        missing = entry(1000).artifact.identity
        found = await asyncio.gather(*(index.get_entry(one.artifact.identity) for one in entries), index.get_entry(missing))
        assert found == [*entries, None]
        assert said.count("SELECT") < 10
    finally:
        await index.close()


async def test_a_database_that_is_gone_holds_nobody_up(tmp_path):
    """Where the database fails, everybody who waits is told so as a miss, and the next call tries again."""
    index = await SqlIndex.open(None, tmp_path)
    await index.put_entry(entry(1))
    path = tmp_path / "index.sqlite"
    for one in tmp_path.glob("index.sqlite*"):
        one.write_bytes(b"no database at all" * 500)
    async with asyncio.timeout(30):
        await asyncio.gather(*(index.put_entry(entry(number)) for number in range(2, 12)))
        assert await asyncio.gather(*(index.get_entry(entry(number).artifact.identity) for number in range(50, 60))) == [None] * 10
    assert index.fault
    assert index._together is None
    assert index._sought is None
    assert path.exists()
    await index.close()


async def test_one_who_gives_up_takes_nothing_from_the_others(tmp_path):
    """A caller that is cancelled while its name is on the way leaves those that share the statement their answers."""
    index = await SqlIndex.open(None, tmp_path)
    try:
        tasks = [asyncio.create_task(index.put_entry(entry(number))) for number in range(10)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        looks = [asyncio.create_task(index.get_entry(entry(number).artifact.identity)) for number in range(1, 10)]
        await asyncio.sleep(0)
        looks[0].cancel()
        found = await asyncio.gather(*looks, return_exceptions=True)
        assert found[1:] == [entry(number) for number in range(2, 10)]
    finally:
        await index.close()
