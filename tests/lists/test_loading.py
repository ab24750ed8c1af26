"""Lists from files: loaders, editions, guards."""

import os
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from mirror.core.errors import InputError
from mirror.lists.loading import load_list, read_guards

PLAIN = {"loader": "csv", "source": "x", "meaning": "blocked-party", "direction": "inbound"}


def write(path, count):
    path.write_text("name\n" + "".join(f"Umbrella Unit {n}\n" for n in range(count)))
    return path


def test_the_edition_is_the_date_in_the_name_or_else_the_digest(tmp_path):
    """Records can name what they were judged with: date or digits of the SHA-256, and the digest itself."""
    dated = load_list("house", write(tmp_path / "house-2026-11-20.csv", 3), PLAIN)
    assert (dated.name, dated.edition, dated.meaning, dated.direction) == ("house", "2026-11-20", "blocked-party", "inbound")
    file = write(tmp_path / "house.csv", 3)
    plain = load_list("house", file, {"loader": "csv"})
    assert plain.edition == sha256(file.read_bytes()).hexdigest()[:12]
    assert plain.digest == sha256(file.read_bytes()).hexdigest()
    assert plain.direction == "both"


def test_an_unknown_loader_names_those_that_exist(tmp_path):
    """A format of a later release is an error of the configuration, not an empty list."""
    with pytest.raises(InputError, match=r"lists.sdn: loader: unknown loader 'ofac_csv'; there are: csv"):
        load_list("sdn", write(tmp_path / "a.csv", 1), {"loader": "ofac_csv"})


def test_a_missing_file_is_named(tmp_path):
    """A list that is not there is an input error with its path."""
    with pytest.raises(InputError, match="gone.csv: No such file"):
        load_list("house", tmp_path / "gone.csv", PLAIN)


def test_guards_keep_out_an_edition_that_shrank_is_short_or_is_old(tmp_path):
    """Each guard trips alone at its boundary and all are told together; at the boundary itself the edition passes."""
    before = load_list("house", write(tmp_path / "old.csv", 100), PLAIN)
    guarded = {**PLAIN, "guards": {"min": 95, "max_shrink": "5%", "max_age": "72h"}}
    file, now = write(tmp_path / "new.csv", 95), datetime(2026, 11, 22, tzinfo=UTC)
    os.utime(file, (now.timestamp(), (now - timedelta(hours=72)).timestamp()))
    assert len(load_list("house", file, guarded, previous=before, now=now).entries) == 95
    write(file, 94)
    os.utime(file, (now.timestamp(), (now - timedelta(hours=72, seconds=1)).timestamp()))
    with pytest.raises(InputError) as caught:
        load_list("house", file, guarded, previous=before, now=now)
    told = "\n".join(map(str, caught.value.problems))
    assert "fewer than guards.min 95" in told
    assert "94 entries after 100: beyond guards.max_shrink" in told
    assert "beyond guards.max_age 3 days" in told


def test_guards_as_written(tmp_path):
    """Percent and share, minutes to weeks; unknown guards and nonsense are told together."""
    guards = read_guards({"min": 7_000, "max_shrink": 0.05, "max_age": "7d"}, "sdn")
    assert (guards.min, guards.max_shrink, guards.max_age) == (7_000, 0.05, timedelta(days=7))
    with pytest.raises(InputError) as caught:
        read_guards({"min": -1, "max_shrink": "500%", "max_age": "soon", "max": 3}, "sdn")
    assert {problem.place for problem in caught.value.problems} == {
        "guards.min", "guards.max_shrink", "guards.max_age", "guards.max",
    }
