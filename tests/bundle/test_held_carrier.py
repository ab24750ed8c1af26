"""Borders of the carrier that no whole bundle comes near: each is refused by both verifiers, or told of by name."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

import pytest

from mirror.bundle import oci, verify_bundle
from mirror.bundle.checked import verify
from mirror.bundle.layout import BundleFault, BundleReader, Form
from mirror.bundle.oci import part_of
from mirror.bundle.senders import senders
from mirror.bundle.statement import parse, payload, sign
from mirror.core import dsse
from mirror.core.canonical import canonical
from mirror.core.errors import InputError
from mirror.core.nouns import Digest
from tests.bundle.carried import CONTENTS, CREATED, KEY, OCTETS, Goods, signers
from tests.bundle.test_hostile import Forged, fault, raw, stated
from tests.support.signers import Person

HERE = part_of(b"{}\n", CONTENTS, "contents.jsonl")
GOOD = stated(HERE, [oci.manifest([HERE])])


@pytest.mark.parametrize(("changed", "place"), [
    ({"number": 2, "since": 2, "previous": "a" * 64}, "payload.predicate.since"),
    ({"requires": (Digest("sha256", "b" * 64),)}, "payload.predicate.requires"),
    ({"number": 3, "since": 2}, "payload.predicate.previous"),
    ({"subjects": GOOD.subjects * 2}, "payload.subject"),
    ({"contents": replace(HERE, title="../contents.jsonl")}, "payload.predicate.contents.name"),
])  # fmt: skip
def test_a_statement_that_contradicts_itself_names_its_place(changed, place):
    """A delta on itself or on nothing, needs without a ground, a manifest named twice and a title that climbs are one fault each, at its place."""
    with pytest.raises(InputError) as caught:
        parse(payload(replace(GOOD, **changed)), "x")
    assert [problem.place for problem in caught.value.problems] == [place]


def test_a_statement_has_one_spelling():
    """A moment that means the same in other digits is not the statement that was signed for."""
    told = json.loads(payload(GOOD))
    for other in ("2026-11-22T13:00:00+01:00", "2026-11-22T12:00:00Z"):
        told["predicate"]["created"] = other
        assert datetime.fromisoformat(other) == CREATED
        with pytest.raises(InputError, match=r"predicate\.created: is not a moment as records write it"):
            parse(canonical(told), "x")


def test_what_names_its_own_documents_is_refused(tmp_path):
    """A signed manifest that calls another manifest a part, and an index that names one twice, are no bundles."""
    first = oci.manifest([HERE])
    second = oci.manifest([part_of(first, OCTETS, "a manifest")])
    case = Forged(tmp_path / "nested")
    case.blob(b"{}\n")
    case.whole([first, second], sign(payload(stated(HERE, [first, second])), [KEY]))
    assert "is a document of the bundle and a part of it" in fault(case.folder)
    case = Forged(tmp_path / "double")
    case.blob(b"{}\n")
    case.whole([first, first], sign(payload(stated(HERE, [first])), [KEY]))
    assert "names a manifest twice" in fault(case.folder)


def test_the_space_between_files_is_empty(tmp_path):
    """What stands in an archive between the end of a file and the next header is zeros, or it is told of: nothing rides along."""
    goods = Goods({"pypi/anvil/anvil.whl": b"the wheel\n" * 3})
    for name, volume in (("one.tar", None), ("set", 4096)):
        place = goods.write(tmp_path / name, Form.TAR, volume=volume)
        for path in sorted(tmp_path.glob(f"{name}*")):
            data = path.read_bytes()
            if (at := data.find(b"the wheel\n" * 3)) >= 0:
                path.write_bytes(data[: at + 100] + b"!" + data[at + 101 :])
        said = fault(place)
        assert f"behind the end of blobs/sha256/{sha256(goods.files['pypi/anvil/anvil.whl']).hexdigest()}" in said


def test_what_changes_while_it_is_copied_is_noticed(tmp_path):
    """What is exchanged after the bundle was opened is found when it is copied, as when it is read: other bytes, and fewer."""
    data = b"the wheel\n" * 3
    folder = Goods({"pypi/anvil/anvil.whl": data}).write(tmp_path / "dir")
    path = folder / "blobs" / "sha256" / sha256(data).hexdigest()
    with BundleReader(folder) as reader:
        reader.copy(reader.parts[path.name], lambda _: None)
        for other, said in ((b"!" * len(data), "is damaged"), (data[:5], "cut short")):
            path.write_bytes(other)
            with pytest.raises(BundleFault, match=said):
                reader.copy(reader.parts[path.name], lambda _: None)


def test_a_revoked_card_by_itself_voids(tmp_path):
    """A card that is given alone counts for nothing once it is revoked, as one in a folder does."""
    gone = Person("old-sender", "sender", key=KEY, revoked=CREATED)
    card = gone.enrol(tmp_path)
    card.write_text(card.read_text().replace("roles:", "revoked: 2026-11-22\nroles:") if "revoked:" not in card.read_text() else card.read_text())
    keys, void = senders([str(card)])
    assert void == {dsse.key_id(KEY.public_key())} == set(keys)
    bundle = Goods().write(tmp_path / "lab.tar", Form.TAR)
    with pytest.raises(BundleFault, match="which was revoked"):
        verify(bundle, keys, void)
    with pytest.raises(verify_bundle.Wrong, match="revoked"):
        verify_bundle.check(bundle, *verify_bundle.keys_of([str(card)]))
    assert verify(bundle, signers()).parts and verify_bundle.check(bundle, raw(), set())


@pytest.mark.parametrize("kind", ["1", "2", "3", "5", "6", "7", "x", "S"])
def test_a_part_under_another_type_is_refused(tmp_path, kind):
    """A part whose header calls its bytes a link, a device, a folder or a rest, all else being right, is refused: tools would unpack something else."""
    goods = Goods({"pypi/anvil/anvil.whl": b"the wheel\n" * 3})
    place = goods.write(tmp_path / "one.tar", Form.TAR)
    data = bytearray(place.read_bytes())
    at = data.index(b"blobs/sha256/" + sha256(goods.files["pypi/anvil/anvil.whl"]).hexdigest().encode())
    data[at + 156 : at + 157] = kind.encode()
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\x00 " % sum(data[at : at + 512])
    place.write_bytes(data)
    assert sha256(goods.files["pypi/anvil/anvil.whl"]).hexdigest() in fault(place)


def test_an_empty_part_is_a_file_too(tmp_path):
    """In the place of a part that is empty a socket is refused before anybody opens it."""
    folder = Goods().write(tmp_path / "dir")
    path = folder / "blobs" / "sha256" / sha256(b"").hexdigest()
    path.unlink()
    os.mknod(path, stat.S_IFSOCK | 0o600)
    assert "a device, pipe or socket" in fault(folder)
