"""Lists kept fresh: from files and from a server, weighed, put in force in one step, or kept out with the reason."""

from __future__ import annotations

import asyncio
import gzip
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from mirror.config import Config
from mirror.core.errors import InputError
from mirror.list_wiring import list_watch_of
from mirror.lists.editions import KEPT, EditionStore, changes, in_force, store_of
from mirror.lists.official import edition_of, read_edition
from mirror.lists.standing import condition
from tests.lists.rows import EXTRACTS, FILES, row
from tests.upstream.conftest import Seen, http, serve

HOUR = timedelta(hours=1)


@dataclass
class Clock:
    """A clock that a test sets."""

    at: datetime = datetime(2026, 11, 20, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@dataclass
class Place:
    """An installation with one list called `house`."""

    config: Config
    clock: Clock = field(default_factory=Clock)

    @property
    def store(self) -> EditionStore:
        return store_of(self.config.data)

    @property
    def watch(self):
        return list_watch_of(self.config, self.clock)

    @property
    def row(self):
        return self.config.lists["house"]

    def state(self):
        return condition("house", self.row, self.store, self.clock.now())


def place(tmp_path, *source, network="online", loader="csv", **settings) -> Place:
    return Place(Config(data=tmp_path / "data", network=network, lists={"house": row(loader, *source, **settings)}))


def names(*some: str) -> str:
    return "id,name\n" + "".join(f"{one},{one}\n" for one in some)


MANY = [f"Umbrella Unit {n}" for n in range(100)]


async def test_a_file_is_put_in_force_replaced_and_kept_out(tmp_path):
    """New entries are a new edition; the same bytes and the same entries are not; a broken and a shrunken file leave the old one."""
    file = tmp_path / "house.csv"
    file.write_text(names(*MANY))
    here = place(tmp_path, file, guards={"max_shrink": "5%"})
    first = await here.watch.refresh("house")
    assert (first.result, first.entries) == ("changed", 100)
    assert (await here.watch.refresh("house")).result == "unchanged"
    file.write_text(names(*reversed(MANY)))
    assert (await here.watch.refresh("house")).result == "unchanged"  # other bytes, the same list
    for text, result, told in ((names(*MANY[:90]), "held", "has 90 entries after 100"), ("name\nUmb\n\0", "unusable", "NUL")):
        file.write_text(text)
        kept_out = await here.watch.refresh("house")
        assert (kept_out.result, kept_out.edition) == (result, first.edition)
        assert told in kept_out.problems[0]
        assert (here.state().state, here.state().edition) == ("held", first.edition)
        assert len(in_force(here.store, "house", here.row).entries) == 100
    file.write_text(names(*MANY[:90]))
    accepted = await here.watch.refresh("house", accept=True)
    assert (accepted.result, accepted.entries, here.state().state, here.state().accepted) == ("changed", 90, "in force", True)
    added, removed, changed = changes(
        *(edition_of("house", here.row, here.store.parts("house", one)).entries for one in reversed(here.store.editions("house")))
    )
    assert (len(added), len(removed), len(changed)) == (0, 10, 0)


async def test_a_restart_keeps_to_the_edition_in_force_when_the_file_is_worse(tmp_path):
    """What a guard keeps out while the mirror runs it also keeps out at the next start; a first edition has nothing to fall back to."""
    file = tmp_path / "house.csv"
    file.write_text(names(*MANY[:3]))
    here = place(tmp_path, file, guards={"min": 50})
    with pytest.raises(InputError, match=r"lists.house: .*has 3 entries, fewer than guards.min 50"):
        await here.watch.prepare()
    file.write_text(names(*MANY))
    await here.watch.prepare()
    file.write_text(names(*MANY[:3]))
    await here.watch.prepare()
    assert len(in_force(here.store, "house", here.row).entries) == 100
    assert here.state().state == "held"


async def test_a_damaged_edition_is_read_anew(tmp_path):
    """Bytes that are no longer those of the manifest are not judged by: the source is asked again, as if nothing had been there."""
    file = tmp_path / "house.csv"
    file.write_text(names(*MANY))
    here = place(tmp_path, file)
    await here.watch.prepare()
    kept = here.store.current("house", here.row)
    stored = tmp_path / "data" / "lists" / "house" / kept.edition / kept.files[0].file
    stored.write_text(names("Somebody Else"))
    with pytest.raises(InputError, match="is damaged"):
        in_force(here.store, "house", here.row)
    await here.watch.prepare()
    assert len(in_force(here.store, "house", here.row).entries) == 100


async def test_other_settings_are_another_list(tmp_path):
    """An edition made under another loader, source or choice of entries neither judges nor guards."""
    file = tmp_path / "house.csv"
    file.write_text("name,type\n" + "".join(f"{name},company\n" for name in MANY) + "Jane Roe,individual\n")
    here = place(tmp_path, file, guards={"max_shrink": "5%"})
    await here.watch.prepare()
    other = place(tmp_path, file, guards={"max_shrink": "5%"}, subjects=("individual",))
    assert other.store.current("house", other.row) is None
    assert (await other.watch.refresh("house")).entries == 1


async def test_unchanged_lists_are_the_same_object(tmp_path):
    """A change of policy does not index forty thousand names again."""
    file = tmp_path / "house.csv"
    file.write_text(names(*MANY))
    here = place(tmp_path, file)
    await here.watch.prepare()
    before = in_force(here.store, "house", here.row)
    assert in_force(here.store, "house", here.row, before) is before
    file.write_text(names(*MANY, "Initech"))
    await here.watch.refresh("house")
    assert in_force(here.store, "house", here.row, before) is not before


async def test_old_editions_keep_their_manifest_only(tmp_path):
    """The files of the last eight stay; in force is always one whose files are there."""
    file = tmp_path / "house.csv"
    here = place(tmp_path, file)
    for count in range(1, KEPT + 4):
        file.write_text(names(*MANY[:count]))
        here.clock.at += HOUR
        assert (await here.watch.refresh("house")).result == "changed"
    editions = here.store.editions("house")
    assert [one.entries for one in editions] == list(range(KEPT + 3, 0, -1))
    assert editions[0] == here.store.current("house", here.row)
    assert here.store.parts("house", editions[KEPT - 1])
    with pytest.raises(InputError, match="No such file"):
        here.store.parts("house", editions[KEPT])


async def test_age_alarms_and_never_takes_a_list_away(tmp_path):
    """Older than max_age: stale, with the span; it judges on. A newer look at the same file ends it."""
    file = tmp_path / "house.csv"
    file.write_text(names(*MANY))
    here = place(tmp_path, file, guards={"max_age": "72h"})
    os.utime(file, (here.clock.at.timestamp(), (here.clock.at - 72 * HOUR).timestamp()))
    await here.watch.prepare()
    assert here.state().state == "in force"
    here.clock.at += HOUR
    assert (here.state().state, here.state().alarming) == ("stale", True)
    assert here.state().problems == ("the edition in force has not been confirmed for 3d 1h, beyond guards.max_age 3d 0h",)
    assert in_force(here.store, "house", here.row).entries
    os.utime(file, (here.clock.at.timestamp(), here.clock.at.timestamp()))
    await here.watch.refresh("house")
    assert here.state().state == "in force"


# --- servers ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def publisher(**files):
    """A server of files with entity tags: name -> bytes or a whole answer; `answers` may be changed while it runs."""
    answers = dict(files)

    def answer(seen: Seen) -> bytes:
        found = answers.get(seen.target.partition("?")[0].strip("/").replace(".", "_"))
        if found is None:
            return http(404)
        if found.startswith(b"HTTP/"):
            return found
        tag = f'"{hash(found)}"'
        if seen.headers.get("If-None-Match") == tag:
            return http(304, ETag=tag)
        return http(200, found, ETag=tag)

    async with serve(answer) as server:
        server.answers = answers
        yield server


async def test_a_list_is_fetched_asked_for_changes_and_replaced(tmp_path):
    """The first time whole, then by its entity tag; a new edition counts; the query of a URL is sent, and shown nowhere."""
    async with publisher(house_csv=names(*MANY).encode()) as server:
        here = place(tmp_path, f"{server.url}/house.csv?token=secret")
        await here.watch.prepare()
        assert server.seen[-1].target == "/house.csv?token=secret"
        assert (await here.watch.refresh("house")).result == "unchanged"
        assert "If-None-Match" in server.seen[-1].headers
        server.answers["house_csv"] = names(*MANY, "Initech").encode()
        assert (await here.watch.refresh("house")).result == "changed"
        assert len(in_force(here.store, "house", here.row).entries) == 101
        kept = here.store.current("house", here.row)
        assert "secret" not in (tmp_path / "data" / "lists" / "house" / kept.edition / "manifest.json").read_text()


async def test_several_files_some_of_which_did_not_change(tmp_path):
    """OFAC's files are asked for one by one; those not modified are taken from the edition in force."""
    files = {name.replace(".", "_"): (EXTRACTS / name).read_bytes() for name in FILES["ofac_csv"]}
    async with publisher(**files) as server:
        here = place(tmp_path, *(f"{server.url}/{name}" for name in FILES["ofac_csv"]), loader="ofac_csv")
        await here.watch.prepare()
        before = in_force(here.store, "house", here.row)
        server.answers["ofac_alt_csv"] = files["ofac_alt_csv"].replace(b"NATIONAL BANK OF CUBA", b"NATIONAL BANK OF QUBA")
        del server.seen[:]
        assert (await here.watch.refresh("house")).result == "changed"
        assert len(server.seen) == 4
        after = in_force(here.store, "house", here.row)
        assert [one.id for one in after.entries] == [one.id for one in before.entries]
        assert [pair[1].id for pair in changes(before.entries, after.entries)[2]] == ["306"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (http(404), "answered 404"),
        (http(500), "answered 500"),
        (http(301, Location="http://127.0.0.2:1/x"), "is not in upstreams or origins"),
        (http(301, Location="http://localhost:1/x"), "is not in upstreams or origins"),
        (http(301, Location="/house.csv"), "redirects more than 10 times"),
        (http(200, gzip.compress(b"x" * 3_000_000, 9), Content_Encoding="gzip"), "2000000"),
        (http(200, b"x" * 2_000_001), "sent more than 2000000 bytes"),
        (b"HTTP/1.1 200 X\r\nContent-Length: 100\r\nConnection: close\r\n\r\nname\n", ""),
    ],
)
async def test_a_source_that_cannot_be_had_changes_nothing(tmp_path, monkeypatch, answer, told):
    """Errors, redirects elsewhere and in circles, bombs, answers cut short: unreachable, the edition in force stays, and it is asked again soon."""
    monkeypatch.setattr("mirror.watch.fetching.MAX_BYTES", 2_000_000)
    async with publisher(house_csv=names(*MANY).encode()) as server:
        here = place(tmp_path, f"{server.url}/house.csv", guards={"max_age": "72h"})
        await here.watch.prepare()
        server.answers["house_csv"] = answer
        here.clock.at += HOUR
        outcome = await here.watch.refresh("house")
    assert (outcome.result, outcome.entries) == ("unreachable", 100)
    assert told in outcome.problems[0]
    assert (here.state().state, here.state().alarming) == ("unreachable", False)
    assert timedelta(minutes=4) < here.state().next_at - here.clock.at < timedelta(minutes=6)
    here.clock.at += 73 * HOUR
    assert here.state().state == "stale"


async def test_redirects_go_to_hosts_that_the_list_names(tmp_path):
    """`origins` permits a second host, and its bytes are taken."""
    async with publisher(real_csv=names(*MANY).encode()) as storage, publisher(house_csv=http(302, Location=f"{storage.url}/real.csv")) as server:
        refused, permitted = (place(tmp_path / text, f"{server.url}/house.csv", origins=origins) for text, origins in (("a", ()), ("b", (storage.url,))))
        assert (await refused.watch.refresh("house")).result == "unreachable"
        assert (await permitted.watch.refresh("house")).result == "changed"
        assert len(storage.seen) == 1


async def test_a_web_page_in_the_place_of_a_list_is_kept_out(tmp_path):
    """A captive portal answers 200 with HTML: unusable, the edition in force stays, and the status names what came."""
    async with publisher(house_csv=names(*MANY).encode()) as server:
        here = place(tmp_path, f"{server.url}/house.csv")
        await here.watch.prepare()
        server.answers["house_csv"] = b"<html>\n<body>Sign in</body></html>\n"
        outcome = await here.watch.refresh("house")
        assert outcome.result == "unusable"
        assert f"{server.url}/house.csv: line 1: unknown column" in outcome.problems[0]
        assert here.state().state == "held"
        assert len(in_force(here.store, "house", here.row).entries) == 100


async def test_offline_nothing_is_fetched_and_what_is_there_is_in_force(tmp_path):
    """`network: offline`: a fetched list keeps its edition and refresh says why; without one the start says how to get it; files are read."""
    async with publisher(house_csv=names(*MANY).encode()) as server:
        here, offline = (place(tmp_path, f"{server.url}/house.csv", network=network) for network in ("online", "offline"))
        with pytest.raises(InputError, match="network is offline"):
            await offline.watch.prepare()
        await here.watch.prepare()
        del server.seen[:]
        await offline.watch.prepare()
        outcome = await offline.watch.refresh("house")
        assert (outcome.result, outcome.entries, server.seen) == ("offline", 100, [])
    file = tmp_path / "house.csv"
    file.write_text(names(*MANY))
    assert (await place(tmp_path / "x", file, network="offline").watch.refresh("house")).result == "changed"


async def test_the_watch_follows_files_and_the_schedule(tmp_path):
    """A changed file is in force within seconds; a URL is asked when `every` has passed, and a standing reason is told once."""
    file = tmp_path / "house.csv"
    file.write_text(names(*MANY))
    async with publisher(house_csv=names(*MANY).encode()) as server:
        here = Place(Config(data=tmp_path / "data", lists={"file": row("csv", file, guards={"min": 100}), "house": row("csv", f"{server.url}/house.csv", every=HOUR)}))
        watch, told = here.watch, asyncio.Queue()
        await watch.prepare()
        watch.watch(told.put)
        file.write_text(names(*MANY, "Initech"))
        first = await asyncio.wait_for(told.get(), 20)
        assert (first.name, first.result, first.entries) == ("file", "changed", 101)
        file.write_text(names("Initech"))
        held = await asyncio.wait_for(told.get(), 20)
        assert (held.result, held.entries) == ("held", 101)
        asked = len(server.seen)
        server.answers["house_csv"] = names(*MANY, "Globex").encode()
        here.clock.at += 2 * HOUR
        due = await asyncio.wait_for(told.get(), 20)
        assert (due.name, due.result, due.entries, len(server.seen)) == ("house", "changed", 101, asked + 1)
        await watch.close()
        assert told.empty()


def test_editions_that_others_wrote_badly_are_not_there(tmp_path):
    """Damaged pointers, manifests and standings count as none; names that lead out of the folder are no editions."""
    store, settings = EditionStore(tmp_path), row("csv", tmp_path / "a.csv")
    (tmp_path / "house").mkdir()
    for text in (b"", b"../../etc\n", b"\xff\xfe", b"2026-01-01.abc\n"):
        store.pointer("house").write_bytes(text)
        assert store.current("house", settings) is None
    store.standing_file("house").write_text('{"checked_at": 7, "colour": 1}')
    assert store.standing("house").checked_at is None
    (tmp_path / "a.csv").write_text("name\nUmbrella\n")
    kept = store.adopt("house", settings, read_edition("house", settings), datetime(2026, 1, 1, tzinfo=UTC))
    assert store.current("house", settings) == kept
    (tmp_path / "house" / kept.edition / "manifest.json").write_text("{}")
    assert store.current("house", settings) is None
