"""Core metadata that the mirror makes from wheels whose index has none: what is advertised, what is served, what rules read."""

import asyncio
import hashlib
import io
import json
import random
import threading
import time
import zipfile

import pytest

from mirror.core.nouns import Span
from mirror.hubs.pypi.making import lacking
from mirror.hubs.pypi.wheels import MOST, TAIL, NoMetadata, read_metadata
from tests.support.standin.dist import Meta, wheel
from tests.support.standin.index import StandInIndex, running_index

from .conftest import mirror_of
from .pages_by_hand import file, page
from .plain_index import PlainIndex, serving
from .test_clients import installed, pip, uv


def plain(meta=None, pad=0):
    name, data = wheel(meta or META, pad)
    project = f"<a href='../../{name}#sha256={hashlib.sha256(data).hexdigest()}'>{name}</a>".encode()
    return PlainIndex({"/simple/acme-plain/": ("text/html", project)}, {f"/{name}": data})


def releases(*versions):
    """Large wheels of one project."""
    made = [wheel(Meta("acme-plain", version), 300_000) for version in versions]
    links = "".join(f'<a href="/{name}#sha256={hashlib.sha256(data).hexdigest()}">{name}</a>' for name, data in made)
    return PlainIndex({"/simple/acme-plain/": ("text/html", links.encode())}, {f"/{name}": data for name, data in made})


class index_like:
    """What `mirror_of` needs of an index: its address, and that of its files."""

    def __init__(self, index):
        self.url = self.files_url = index.url


META = Meta("acme-plain", "1.0", requires=("x @ https://files.umbrella.example/x.zip",), license_expression="MIT")


def read(data, tail=TAIL):
    asked = []

    async def part(span: Span) -> bytes:
        asked.append(span)
        return data[span.start : span.stop]

    return asyncio.run(read_metadata(data[-tail:], part)), asked


def test_metadata_is_found_at_the_end_of_a_wheel():
    """The member's own bytes come out, by no further read where the end holds it all, by two or three where it does not."""
    _, data = wheel(META)
    assert read(data) == (META.text(), [])
    _, large = wheel(META, 300_000)
    text, asked = read(large)
    assert text == META.text()
    assert sum(map(len, asked)) < 2_000
    assert read(data, tail=400)[0] == META.text()


def _archive(*names, comment=b""):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "Name: x\n")
        archive.comment = comment
    return out.getvalue()


def test_a_comment_and_bytes_of_an_archive_do_not_confuse():
    """A comment after the end record is allowed by the format."""
    assert read(_archive("x-1.dist-info/METADATA", comment=b"hello"))[0] == b"Name: x\n"


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\5\6", b"no archive" * 100, _archive("x/y"), _archive("x-1.dist-info/METADATA", "y-1.dist-info/METADATA"),
     _archive("x-1.dist-info/METADATA")[:-1], _archive("x-1.dist-info/METADATA") + b"tail", _archive("deep/x-1.dist-info/METADATA"),
     _archive("x-1.dist-info/METADATA").replace(b"Name: x", b"Name: y"), b"PK\5\6" + b"\xff" * 18],
)  # fmt: skip
def test_what_is_no_wheel_gives_no_metadata(data):
    """Cut, lengthened, altered, without or with two METADATA files: one error, and never another file's text."""
    with pytest.raises(NoMetadata):
        read(data)


def test_altered_archives_give_an_error_or_the_text_of_their_directory():
    """3,000 wheels with a few bytes changed: `NoMetadata` or a text whose CRC-32 holds, never another exception or a large read."""
    _, data = wheel(META, 2_000)
    chance = random.Random(7)
    outcomes = {"text": 0, "none": 0}
    for _ in range(3_000):
        altered = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            altered[chance.randrange(len(data) - 900, len(data))] = chance.choice((0, 1, 0x50, 0x7F, 0xFF))
        try:
            text, asked = read(bytes(altered), tail=chance.choice((300, 700, TAIL)))
        except NoMetadata:
            outcomes["none"] += 1
        else:
            outcomes["text"] += 1
            assert text == META.text()
            assert all(len(span) <= MOST for span in asked)
    assert min(outcomes.values()) > 100


def entry(mirror, project="acme-plain"):
    return mirror.page(project)["files"][0]


def until(happens):
    """Whether it happens: metadata is made after the page, or the wheel's last byte, has left."""
    for _ in range(400):
        if happens():
            return True
        time.sleep(0.05)
    return False


def advertised(mirror, project="acme-plain"):
    """The entry once metadata is advertised."""
    assert until(lambda: entry(mirror, project).get("core-metadata"))
    return entry(mirror, project)


def metadata_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return next(archive.read(name) for name in archive.namelist() if name.endswith(".dist-info/METADATA"))


def test_made_metadata_is_advertised_with_its_hash(tmp_path):
    """Read out of the wheel's end and unverified at first; once the wheel was served, confirmed; both forms carry the hash, in the next process too."""
    own = StandInIndex()
    own.add_release("acme-plain", "1.0", core_metadata=False, requires=["acme-lib>=1"], size_pad=200_000)
    with running_index(own) as index, mirror_of(index, tmp_path, []) as mirror:
        file = entry(mirror)
        assert not file.get("core-metadata")
        made = advertised(mirror)
        early = mirror.ask(file["url"] + ".metadata")
        assert "unverified" in early.headers["cache-status"]
        assert all(call.headers.get("Range") for call in index.requests if call.path.endswith(".whl"))
        text = metadata_of(mirror.ask(file["url"]).body)
        assert made["core-metadata"] == made["data-dist-info-metadata"] == {"sha256": hashlib.sha256(text).hexdigest()}
        assert until(lambda: "unverified" not in mirror.ask(file["url"] + ".metadata").headers["cache-status"])
        reply = mirror.ask(file["url"] + ".metadata")
        assert (reply.status, reply.body, early.body) == (200, text, text)
        head = mirror.ask(file["url"] + ".metadata", method="HEAD")
        assert (head.status, head.headers["content-length"], head.headers["etag"]) == (200, str(len(text)), reply.headers["etag"])
        assert f'data-core-metadata="sha256={hashlib.sha256(text).hexdigest()}"' in mirror.ask("/pypi/simple/acme-plain/").body.decode()
        mirror.stop()
        mirror.start()
        assert entry(mirror)["core-metadata"] == made["core-metadata"]
        gone = [call.path for call in index.requests if call.path.endswith(".metadata")]
        assert not [event for event in mirror.events() if event["kind"] == "integrity"]
    assert gone == []


def test_a_small_wheel_is_verified_at_once(tmp_path):
    """What the end of a wheel is all of, the page's digest vouches for: its metadata is never unverified."""
    with serving(plain()) as index, mirror_of(index_like(index), tmp_path, []) as mirror:
        advertised(mirror)
        assert "unverified" not in mirror.ask(entry(mirror)["url"] + ".metadata").headers["cache-status"]
        assert {one.range for one in index.wheel_asks()} == {f"bytes=-{TAIL}"}


def test_what_a_part_said_and_the_wheel_does_not_is_withdrawn(tmp_path):
    """Ranges answered out of another file: once the wheel is here its own metadata stands on the page, and the difference is on the record."""
    index = plain(pad=300_000)
    (path, data), other = next(iter(index.files.items())), Meta("acme-plain", "1.0", requires=("acme-evil",))
    index.parts[path] = wheel(other, 300_000)[1]
    with serving(index), mirror_of(index_like(index), tmp_path, []) as mirror:
        file = advertised(mirror)
        assert b"acme-evil" in mirror.ask(file["url"] + ".metadata").body
        assert mirror.ask(file["url"]).body == data
        assert until(lambda: entry(mirror)["core-metadata"] == {"sha256": hashlib.sha256(META.text()).hexdigest()})
        assert mirror.ask(file["url"] + ".metadata").body == META.text()
        named = ["acme_plain-1.0-py3-none-any.whl.metadata"]  # on the record right after it was replaced
        assert until(lambda: [event["subject"] for event in mirror.events() if event["kind"] == "integrity"] == named)


def test_metadata_of_another_project_is_not_advertised(tmp_path):
    """A part that names another project says nothing of this wheel; the wheel after it is read, and has its own."""
    index = releases("1.0", "1.1")
    index.parts["/acme_plain-1.1-py3-none-any.whl"] = wheel(Meta("acme-other", "1.1"), 300_000)[1]
    with serving(index), mirror_of(index_like(index), tmp_path, []) as mirror:
        told = {}
        assert until(lambda: told.update({one["filename"]: one.get("core-metadata") for one in mirror.page("acme-plain")["files"]}) or any(told.values()))
        assert index.wheel_asks()[0].path == "/acme_plain-1.1-py3-none-any.whl"
        assert not told["acme_plain-1.1-py3-none-any.whl"]


def test_a_page_never_waits_for_what_is_made(tmp_path):
    """An index that holds a ranged request: the page is there, and there again; what it lacked is there once the index answered."""
    index = plain(pad=300_000)
    index.gate = threading.Event()
    with serving(index), mirror_of(index_like(index), tmp_path, []) as mirror:
        assert not entry(mirror).get("core-metadata")
        assert until(index.wheel_asks)
        assert not entry(mirror).get("core-metadata")
        index.gate.set()
        assert advertised(mirror)


def test_nothing_is_made_where_ranges_are_ignored(tmp_path):
    """A server that sends the whole for a part is left early and asked no more; nothing is advertised until the wheel was served."""
    index = plain(pad=3_000_000)
    index.ranges = False
    with serving(index), mirror_of(index_like(index), tmp_path, []) as mirror:
        for _ in range(3):
            file = entry(mirror)
            assert until(index.wheel_asks)
            assert not file.get("core-metadata")
        assert len(index.wheel_asks()) == 1
        assert mirror.ask(file["url"] + ".metadata").status == 404
        assert mirror.ask(file["url"]).status == 200
        assert advertised(mirror)


def test_nothing_unverified_is_made_where_the_operator_wants_none(tmp_path):
    """`store.unverified_ranges: wait`: metadata of a large wheel comes with the wheel, as its bytes do; that of a small one at once."""
    large, small = plain(pad=300_000), plain(Meta("acme-small", "1.0"))
    index = PlainIndex({**large.pages, "/simple/acme-small/": small.pages["/simple/acme-plain/"]}, {**large.files, **small.files})
    with serving(index), mirror_of(index_like(index), tmp_path, []) as mirror:
        mirror.stop()
        mirror.config["store"] = {"unverified_ranges": "wait"}
        mirror.start()
        file = entry(mirror)
        assert until(index.wheel_asks)
        advertised(mirror, "acme-small")
        assert not entry(mirror).get("core-metadata")
        assert mirror.ask(file["url"]).status == 200
        assert advertised(mirror)


def test_no_part_is_read_of_what_is_refused(tmp_path):
    """A version that a rule refuses is not asked for by its page; its neighbour is read."""
    index = releases("1.0", "1.1")
    rule = {"id": "late", "when": {"artifact": ["pkg:pypi/acme-plain@1.1"]}, "effect": "deny"}
    with serving(index), mirror_of(index_like(index), tmp_path, [rule]) as mirror:
        assert until(lambda: [file for file in mirror.page("acme-plain")["files"] if file.get("core-metadata")])
        assert {one.path for one in index.wheel_asks()} == {"/acme_plain-1.0-py3-none-any.whl"}


def test_the_newest_releases_come_first():
    """Three releases, final before pre-release, newest first; yanked files, other formats and what has metadata are left out."""
    versions = ("1.0", "10.0", "2.0", "3.0", "4.0rc1", "9.0")
    rows = [file(f"acme_tools-{version}-py3-none-any.whl", number) for number, version in enumerate(versions)]
    rows[-1]["yanked"] = True
    rows[2]["core-metadata"] = True
    found = page(*rows, versions=list(versions))
    assert [one.distribution.version for one in lacking(found.files)] == ["10.0", "3.0"]
    few = page(rows[0], rows[4], versions=list(versions))
    assert [one.distribution.version for one in lacking(few.files)] == ["1.0", "4.0rc1"]


def test_pip_resolves_without_wheels_on_an_index_that_has_no_metadata(tmp_path):
    """`pip install --dry-run` through the mirror: the second time it asks for `.metadata` only, of the wheel and of what it needs."""
    own = StandInIndex()
    own.add_release("acme-base", "1.0", core_metadata=False, size_pad=200_000)
    own.add_release("acme-plain", "1.0", core_metadata=False, requires=["acme-base"], size_pad=200_000)
    with running_index(own) as index, mirror_of(index, tmp_path, []) as mirror:
        advertised(mirror)
        advertised(mirror, "acme-base")
        code, said = pip(mirror, tmp_path, "--dry-run", "acme-plain")
        assert code == 0, said
        assert "Would install acme-base-1.0 acme-plain-1.0" in said.replace("_", "-")
        served = {event["decision"]["artifact"].rpartition("=")[2] for event in mirror.events() if event["kind"] == "allowed"}
        assert served == {"acme_base-1.0-py3-none-any.whl.metadata", "acme_plain-1.0-py3-none-any.whl.metadata"}
        assert all(call.headers.get("Range") for call in index.requests if call.path.endswith(".whl"))
        code, said = pip(mirror, tmp_path, "acme-plain")
        assert code == 0, said
        assert installed(tmp_path) == {"acme_plain-1.0", "acme_base-1.0"}


@pytest.mark.parametrize("client", [pip, uv])
def test_clients_find_what_was_made_to_be_the_wheels_own(tmp_path, client):
    """pip compares the metadata with the wheel's METADATA, both check the advertised hash: an install from made metadata goes through."""
    own = StandInIndex()
    own.add_release("acme-base", "1.0", core_metadata=False)
    own.add_release("acme-plain", "1.0", core_metadata=False, requires=["acme-base"])
    with running_index(own) as index, mirror_of(index, tmp_path, []) as mirror:
        assert mirror.ask(entry(mirror)["url"]).status == 200
        advertised(mirror)
        code, said = client(mirror, tmp_path, "acme-plain")
        assert code == 0, said
        assert installed(tmp_path) == {"acme_plain-1.0", "acme_base-1.0"}
        assert any("acme_plain-1.0-py3-none-any.whl.metadata" in json.dumps(event) for event in mirror.events())


def test_made_metadata_is_refused_with_its_wheel(tmp_path):
    """A rule that comes later refuses what was made as it refuses the file."""
    own = StandInIndex()
    own.add_release("acme-plain", "1.0", core_metadata=False)
    with running_index(own) as index, mirror_of(index, tmp_path, []) as mirror:
        file = entry(mirror)
        assert mirror.ask(file["url"]).status == 200
        assert advertised(mirror)["core-metadata"]
        assert mirror.ask(file["url"] + ".metadata").status == 200
        mirror.stop()
        mirror.policy(rules=[{"id": "late", "when": {"kind": "wheel"}, "effect": "deny"}])
        mirror.start()
        reply = mirror.ask(mirror.url + file["url"].split("/pypi", 1)[1] + ".metadata")
        assert reply.status == 403
        assert reply.json["rule"] == "late"


RULES = [{"id": "direct", "when": {"direct_url": True}, "effect": "deny"}]


def sliced(data, wanted):
    start, _, stop = wanted.removeprefix("bytes=").partition("-")
    return data[int(start) : int(stop) + 1] if start else data[-int(stop) :]


def test_a_rule_reads_a_wheel_by_range(tmp_path):
    """No `.metadata`, no legacy JSON: the requirement is found in the wheel's end, the wheel is refused and never fetched."""
    with serving(plain(pad=300_000)) as index, mirror_of(index_like(index), tmp_path, RULES) as mirror:
        file = entry(mirror)
        reply = mirror.ask(file["url"])
        assert (reply.status, reply.json["rule"]) == (403, "direct")
        assert {one.range for one in index.wheel_asks()} >= {f"bytes=-{TAIL}"}
        assert all(one.range for one in index.wheel_asks())
        refused = next(event for event in mirror.events() if event["kind"] == "refused")
        for part in ({one.range for one in index.wheel_asks()}):
            assert hashlib.sha256(sliced(next(iter(index.files.values())), part)).hexdigest() in json.dumps(refused)
        asked = len(index.asked)
        assert mirror.ask(file["url"]).status == 403
        assert not [one for one in index.asked[asked:] if one.path.endswith(".whl")]
        assert not entry(mirror).get("core-metadata")


def test_a_server_without_ranges_leaves_the_fact_unknown(tmp_path):
    """What cannot be found out is unknown, and a rule's own word on the unknown decides."""
    rules = [{"id": "direct", "when": {"direct_url": True}, "effect": "deny", "on_unknown": "review"}]
    index = plain()
    index.ranges = False
    with serving(index), mirror_of(index_like(index), tmp_path, rules) as mirror:
        reply = mirror.ask(entry(mirror)["url"])
        assert reply.status == 403
        assert "direct" in reply.json["rule"]
