"""A mirror that holds very much: rows of its index and files of its store that belong together, made without downloading them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3

from mirror.store.disk import DiskStore

_BATCH = 10_000


def fill(data, entries):
    """Bring a mirror's `data` to so many entries: copies of one that is there, each with a name, a digest and a file of its own.

    Raises `RuntimeError` where there is none to copy.
    """
    with sqlite3.connect(data / "index.sqlite") as index:
        index.execute("PRAGMA synchronous = OFF")
        names = [row[1] for row in index.execute("PRAGMA table_info(entries)")]
        rows = index.execute("SELECT * FROM entries").fetchall()
        if not rows:
            raise RuntimeError("the index holds no entry to copy: was nothing stored?")
        sample, marks, made = dict(zip(names, rows[0], strict=True)), ", ".join("?" * len(names)), set()
        orders = index.execute("SELECT name, sql FROM sqlite_master WHERE tbl_name = 'entries' AND type = 'index' AND sql NOT NULL").fetchall()
        for name, _ in orders:  # made anew at the end, which is quicker than row by row
            index.execute(f"DROP INDEX {name}")
        for start in range(len(rows), entries, _BATCH):
            batch = [_copy(sample, number) for number in range(start, min(start + _BATCH, entries))]
            index.executemany(f"INSERT INTO entries VALUES ({marks})", [tuple(row[name] for name in names) for row in batch])
            _write(f"{data}/blobs/sha256", [row["digest"].partition(":")[2] for row in batch], sample["size"], made)
        for _, order in orders:
            index.execute(order)
    index.close()
    asyncio.run(_count(data))


def held(data):
    """(rows, files) that a mirror has."""
    index = sqlite3.connect(data / "index.sqlite")
    rows = index.execute("SELECT count(*) FROM entries").fetchone()[0]
    index.close()
    return rows, sum(len(names) for _, _, names in os.walk(data / "blobs" / "sha256"))


def _copy(sample, number):
    own = {
        "key": f"{number:064x}", "digest": "sha256:" + hashlib.sha256(b"entry %d" % number).hexdigest(),
        "artifact": f"{sample['artifact']}-{number}", "last_used": sample["last_used"] - number,
    }  # fmt: skip
    return sample | own


def _write(root, digests, size, made):
    """A file for each digest; those of one batch are links to one, which spares the disk a million inodes and no walker an entry."""
    first = ""
    for digest in digests:
        folder = f"{root}/{digest[:2]}/{digest[2:4]}"
        if folder not in made:
            os.makedirs(folder, exist_ok=True)
            made.add(folder)
        if first:
            os.link(first, f"{folder}/{digest}")
        else:
            first = f"{folder}/{digest}"
            with open(first, "wb") as file:
                file.write(b"\0" * size)


async def _count(data):
    """As the product leaves it: with the bytes of all blobs in `blobs/usage`."""
    store = DiskStore(data)
    await store.recount()
    await store.close()
