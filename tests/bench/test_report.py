"""A result file in sections: rows are measured in slices, and each stands in the file as it was measured last."""

from __future__ import annotations

from bench.contest.report import Report, Section

ROWS = ["small-page", "wheel", "start"]
MET = "wheel of 20 MB\n  nginx raw  1,000  960\n  wanted: at least 0.95 x nginx raw: met (0.96)"
MISSED = "start\n  wanted: at most 0.2 s later: NOT met, 0.31 (0.2 - 0.4) s"


def test_a_row_that_is_measured_anew_replaces_itself_and_nothing_else(tmp_path):
    """Written, read again and changed in one row, a file keeps every other row to the letter, in the order of the rows."""
    path = tmp_path / "results" / "rivals.txt"
    first = Report.read(path, "python -m bench.rivals", ROWS)
    first.notes = ["a machine"]
    first.put("start", Section("2026-11-22 10:00 UTC, commit 1234567, 2 cores", MISSED))
    first.put("wheel", Section("2026-11-22 10:01 UTC, commit 1234567, 2 cores", MET))
    again = Report.read(path, "python -m bench.rivals", ROWS)
    assert again.sections == first.sections
    again.put("start", Section("2026-11-22 10:02 UTC, commit 89abcde, 2 cores", MISSED.replace("NOT met, 0.31", "met, 0.11")))
    found = path.read_text(encoding="utf-8")
    assert found.index("== wheel: 2026-11-22 10:01 UTC, commit 1234567") < found.index("== start: 2026-11-22 10:02 UTC, commit 89abcde")
    assert found.count("== ") == 2
    assert MET in found
    assert MISSED not in found
    assert again.missing("89abcde") == ["small-page", "wheel"]


def test_the_head_says_which_targets_are_missed(tmp_path):
    """How many targets are met, each that is not with its figure, and the rows that nobody has measured."""
    report = Report(tmp_path / "r.txt", "t", ROWS, sections={"wheel": Section("now", MET), "start": Section("now", MISSED)})
    assert report.summary() == [
        "1 of 2 targets met", "NOT met: start: at most 0.2 s later, 0.31 (0.2 - 0.4) s", "not measured: small-page",
    ]  # fmt: skip


def test_many_entries_are_rows_and_files_that_belong_together(tmp_path):
    """What the start is measured with: for every row of the index the store finds a file of the row's length, and counts them all."""
    import asyncio
    import sqlite3

    from bench.contest.entries import fill, held
    from mirror.core.nouns import Digest
    from mirror.store.disk import DiskStore

    (tmp_path / "blobs").mkdir()
    with sqlite3.connect(tmp_path / "index.sqlite") as index:
        index.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, artifact TEXT, digest TEXT, size INTEGER, last_used INTEGER)")
        index.execute("INSERT INTO entries VALUES ('k', 'pkg:huggingface/acme/small@1#config.json', ?, 677, 1000)", (f"sha256:{'0' * 64}",))
    index.close()
    fill(tmp_path, 50)
    assert held(tmp_path) == (50, 49)  # the one that was there brought none here
    index = sqlite3.connect(tmp_path / "index.sqlite")
    rows = index.execute("SELECT digest, size FROM entries WHERE key != 'k'").fetchall()
    index.close()

    async def found():
        store = DiskStore(tmp_path)
        try:
            return store.used, [await store.find(Digest("sha256", digest.partition(":")[2])) for digest, _ in rows]
        finally:
            await store.close()

    used, blobs = asyncio.run(found())
    assert [blob.size for blob in blobs] == [677] * 49
    assert used == 49 * 677
