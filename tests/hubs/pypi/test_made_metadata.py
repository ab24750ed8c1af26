"""Core metadata that the mirror makes from wheels whose index has none: what is advertised, what is served, what rules read."""

import asyncio
import hashlib
import io
import json
import random
import time
import zipfile

import pytest

from mirror.core.nouns import Span
from mirror.hubs.pypi.wheels import MOST, TAIL, NoMetadata, read_metadata
from tests.support.standin.dist import Meta, wheel
from tests.support.standin.index import StandInIndex, running_index

from .conftest import mirror_of
from .plain_index import PlainIndex, serving
from .test_clients import installed, pip, uv

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


def advertised(mirror):
    """The entry once metadata is advertised: it is made after the wheel's last byte has left."""
    for _ in range(200):
        if entry(mirror).get("core-metadata"):
            break
        time.sleep(0.05)
    return entry(mirror)


def test_made_metadata_is_advertised_with_its_hash_once_the_wheel_is_here(tmp_path):
    """Nothing before; after the wheel was served whole, both forms carry the hash of the wheel's own METADATA, and it is served."""
    own = StandInIndex()
    own.add_release("acme-plain", "1.0", core_metadata=False, requires=["acme-lib>=1"], size_pad=200_000)
    with running_index(own) as index, mirror_of(index, tmp_path, []) as mirror:
        before = entry(mirror)
        assert not before.get("core-metadata")
        assert mirror.ask(before["url"] + ".metadata").status == 404
        assert mirror.ask(before["url"], method="HEAD").status == 200
        assert not entry(mirror).get("core-metadata")
        data = mirror.ask(before["url"]).body
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            text = archive.read("acme_plain-1.0.dist-info/METADATA")
        after = advertised(mirror)
        assert after["core-metadata"] == after["data-dist-info-metadata"] == {"sha256": hashlib.sha256(text).hexdigest()}
        reply = mirror.ask(before["url"] + ".metadata")
        assert (reply.status, reply.body) == (200, text)
        head = mirror.ask(before["url"] + ".metadata", method="HEAD")
        assert (head.status, head.headers["content-length"], head.headers["etag"]) == (200, str(len(text)), reply.headers["etag"])
        assert f'data-core-metadata="sha256={hashlib.sha256(text).hexdigest()}"' in mirror.ask("/pypi/simple/acme-plain/").body.decode()
        mirror.stop()
        mirror.start()
        assert entry(mirror)["core-metadata"] == after["core-metadata"]
        gone = [call.path for call in index.requests if call.path.endswith(".metadata")]
    assert gone == []


@pytest.mark.parametrize("client", [pip, uv])
def test_clients_find_what_was_made_to_be_the_wheels_own(tmp_path, client):
    """pip compares the metadata with the wheel's METADATA, both check the advertised hash: an install from made metadata goes through."""
    own = StandInIndex()
    own.add_release("acme-base", "1.0", core_metadata=False)
    own.add_release("acme-plain", "1.0", core_metadata=False, requires=["acme-base"])
    with running_index(own) as index, mirror_of(index, tmp_path, []) as mirror:
        assert mirror.ask(entry(mirror)["url"]).status == 200
        assert advertised(mirror)["core-metadata"]
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


def plain(meta=META, pad=0):
    name, data = wheel(meta, pad)
    project = f"<a href='../../{name}#sha256={hashlib.sha256(data).hexdigest()}'>{name}</a>".encode()
    return PlainIndex({"/simple/acme-plain/": ("text/html", project)}, {f"/{name}": data})


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


class index_like:
    """What `mirror_of` needs of an index: its address, and that of its files."""

    def __init__(self, index):
        self.url = self.files_url = index.url
