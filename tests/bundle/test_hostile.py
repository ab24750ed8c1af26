"""Hostile and broken bundles: one clear error, whatever the carrier, and the single-file verifier says no as well."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.bundle import oci, tape, verify_bundle
from mirror.bundle.checked import verify
from mirror.bundle.layout import BundleFault, BundleReader, BundleWriter, Form
from mirror.bundle.oci import part_of
from mirror.bundle.statement import PAYLOAD_TYPE, Signer, Statement, Withdrawn, opened, parse, payload, sign
from mirror.core import dsse
from mirror.core.canonical import canonical
from mirror.core.errors import InputError
from mirror.core.nouns import Digest
from tests.bundle.carried import CONTENTS, CREATED, KEY, OCTETS, OTHER, Goods, signers

TINY = Goods({"pypi/anvil/anvil.whl": b"the wheel\n" * 3})


def raw(key=KEY) -> dict[str, bytes]:
    """The key as the single-file verifier knows it."""
    return {dsse.key_id(key.public_key()): key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)}


def fault(path: Path, *, keys=None, revoked=()) -> str:
    """What is wrong with a bundle: one line, said before anything was taken. Both verifiers must refuse it."""
    with pytest.raises(BundleFault) as caught:
        verify(path, signers() if keys is None else keys, revoked)
    if keys is None:
        with pytest.raises(verify_bundle.Wrong):
            verify_bundle.check(path, raw(), set(revoked))
    said = str(caught.value)
    assert said.isprintable() and len(said) < 600
    return said


def sound(path: Path) -> None:
    verify(path, signers())
    verify_bundle.check(path, raw(), set())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A folder with one tiny bundle in every form; nobody changes it."""
    folder = tmp_path_factory.mktemp("tiny")
    TINY.write(folder / "dir")
    TINY.write(folder / "one.tar", Form.TAR)
    TINY.write(folder / "set", Form.TAR, volume=4096)
    return folder


@pytest.fixture
def made(tiny, tmp_path) -> Path:
    """A copy of it, to be spoilt."""
    shutil.copytree(tiny, tmp_path / "made")
    return tmp_path / "made"


# --- bytes ------------------------------------------------------------------------------------------------------------


def flipped(tiny: Path, tmp_path: Path, bits, both: int) -> int:
    """Flip these bits of every byte of the tar; gives how many flips were refused. Every `both`th is shown to both verifiers."""
    whole = (tiny / "one.tar").read_bytes()
    expected = verify(tiny / "one.tar", signers())
    path, refused = tmp_path / "flipped.tar", 0
    path.write_bytes(whole)
    with path.open("r+b") as file:
        for at in range(len(whole)):
            for bit in bits:
                os.pwrite(file.fileno(), bytes([whole[at] ^ bit]), at)
                try:
                    assert verify(path, signers()) == expected
                except BundleFault:
                    refused += 1
                    if at % both == 0:
                        with pytest.raises(verify_bundle.Wrong):
                            verify_bundle.check(path, raw(), set())
            os.pwrite(file.fileno(), whole[at : at + 1], at)
    return refused


def test_a_flipped_byte_is_named_or_means_nothing(tiny, tmp_path):
    """Whatever byte of a bundle is changed, it is refused, or it is read as exactly the bundle that was signed."""
    assert flipped(tiny, tmp_path, (0x20,), 50) > (tiny / "one.tar").stat().st_size * 9 // 10


@pytest.mark.torture
def test_every_flipped_bit_is_named_or_means_nothing(tiny, tmp_path):
    """As above, every bit."""
    assert flipped(tiny, tmp_path, [1 << bit for bit in range(8)], 20) > (tiny / "one.tar").stat().st_size * 8 * 9 // 10


def test_a_truncated_bundle_is_refused(tiny, tmp_path):
    """A tar that ends early, anywhere, is refused; so is one with something behind its end."""
    whole = (tiny / "one.tar").read_bytes()
    path = tmp_path / "short.tar"
    for length in [*range(0, len(whole), 512), *range(1, len(whole), 1777), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert "short" in fault(path) or length < 1024
    path.write_bytes(whole + b"x" * 512)
    assert "behind the end" in fault(path)
    path.write_bytes(whole + bytes(2 * 1024 * 1024))
    assert "behind the end" in fault(path)
    path.write_bytes(whole + bytes(8192))
    sound(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_break_the_reader(tiny, tmp_path, data):
    """Cut, repeated, exchanged and overwritten blocks of a bundle end in a fault or in the bundle that was signed, never in anything else."""
    whole = bytearray((tiny / "one.tar").read_bytes())
    blocks = len(whole) // 512
    for _ in range(data.draw(st.integers(1, 3))):
        at, to = (data.draw(st.integers(0, blocks - 1)) * 512 for _ in range(2))
        match data.draw(st.sampled_from(["exchange", "repeat", "cut", "noise", "zero"])):
            case "exchange":
                whole[at : at + 512], whole[to : to + 512] = whole[to : to + 512], whole[at : at + 512]
            case "repeat":
                whole[at:at] = whole[to : to + 512]
            case "cut":
                del whole[at : at + 512]
            case "noise":
                noise = data.draw(st.binary(min_size=1, max_size=40))
                whole[at : at + len(noise)] = noise
            case _:
                whole[at : at + 512] = bytes(512)
        blocks = len(whole) // 512
    path = tmp_path / "odd.tar"
    path.write_bytes(whole)
    try:
        found = verify(path, signers())
    except BundleFault as error:
        assert str(error)
    else:
        assert found == verify(tiny / "one.tar", signers())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["index.json", "oci-layout"]), text=st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20), lambda below: st.lists(below, max_size=3) | st.dictionaries(
        st.sampled_from(["manifests", "digest", "size", "mediaType", "imageLayoutVersion", "layers", "x"]), below, max_size=4), max_leaves=12))  # fmt: skip
def test_no_documents_break_the_reader(tiny, tmp_path, name, text):
    """Whatever JSON stands in the two files that no digest covers, the end is a fault."""
    target = tmp_path / "odd"
    if not target.exists():
        shutil.copytree(tiny / "dir", target)
    before = (tiny / "dir" / name).read_bytes()
    (target / name).write_text(json.dumps(text))
    try:
        with pytest.raises(BundleFault):
            BundleReader(target)
    finally:
        (target / name).write_bytes(before)


# --- archives ---------------------------------------------------------------------------------------------------------


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"x", link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data) if kind == tarfile.REGTYPE else 0
    return info.tobuf(tarfile.GNU_FORMAT) + (data + bytes(-len(data) % 512) if kind == tarfile.REGTYPE else b"")


HEX = sha256(b"x").hexdigest()


@pytest.mark.parametrize(("block", "said"), [
    (member("../../etc/passwd"), "is no name in a bundle"),
    (member("/etc/passwd"), "is no name in a bundle"),
    (member("blobs/sha256/../../../x"), "is no name in a bundle"),
    (member("blobs\\sha256\\" + HEX), "is no name in a bundle"),
    (member(f"blobs/sha256/{HEX.upper()}"), "is no name in a bundle"),
    (member(f"BLOBS/sha256/{HEX}"), "is no name in a bundle"),
    (member("index.json\n"), "no plain text"),
    (member("readme.txt"), "is no name in a bundle"),
    (member("index.json"), "twice"),
    (member("./index.json"), "twice"),
    (member("x" * 200), "a long name"),
    (member(f"blobs/sha256/{HEX}", tarfile.SYMTYPE, link="/etc/passwd"), "a symbolic link"),
    (member(f"blobs/sha256/{HEX}", tarfile.LNKTYPE, link="index.json"), "a hard link"),
    (member(f"blobs/sha256/{HEX}", tarfile.CHRTYPE), "a character device"),
    (member(f"blobs/sha256/{HEX}", tarfile.BLKTYPE), "a block device"),
    (member(f"blobs/sha256/{HEX}", tarfile.FIFOTYPE), "a pipe"),
    (member(f"blobs/sha256/{HEX}", tarfile.GNUTYPE_SPARSE), "a sparse file"),
    (member("x", tarfile.XHDTYPE), "an extended header"),
    (member("blobs/sha256/..", tarfile.DIRTYPE), "which no bundle has"),
    (member("x", b"V"), "none belongs"),
    (tape.written(tape.Header("x", "M", 0)), "none belongs"),
    (tape.written(tape.Header(f"blobs/sha256/{HEX}", "0", 2**60)), "cut short"),
    (tape.written(tape.Header("blobs", "5", 2**40)), "has content"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_an_archive_with_something_else_in_it_is_refused(tiny, tmp_path, block, said):
    """Paths that lead out, links, devices, sparse files, second copies, other spellings and lies about sizes are named and refused."""
    path = tmp_path / "hostile.tar"
    path.write_bytes(block + (tiny / "one.tar").read_bytes())
    if "twice" in said or "belongs" in said:
        path.write_bytes((tiny / "one.tar").read_bytes()[: -len(tape.END)] + block + tape.END)
    assert said in fault(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "too short"), (b"x" * 100, "too short"), (b"x" * 4096, "no tar archive"), (bytes(4096), "no tar archive")]
)
def test_what_is_no_archive_is_said_to_be_none(tmp_path, data, said):
    """Any other file is called what it is."""
    (tmp_path / "file").write_bytes(data)
    assert said in fault(tmp_path / "file")


@pytest.mark.parametrize(
    ("magic", "name"),
    [(b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\0", "xz"), (b"PK\x03\x04", "zip"), (b"BZh9", "bzip2"), (None, "gzip")],
)
def test_nothing_is_unpacked(tiny, tmp_path, magic, name):
    """A compressed archive - which could be a bomb - is refused by its first bytes."""
    path = tmp_path / "packed.tar"
    path.write_bytes(gzip.compress((tiny / "one.tar").read_bytes()) if magic is None else magic + bytes(2048))
    assert f"is compressed ({name})" in fault(path)


def test_archives_of_other_tools_are_read(made):
    """A bundle that somebody has packed with tar or Python, with folders and `./`, is the same bundle."""
    for number, form in enumerate((tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)):
        with tarfile.open(made / f"{number}.tar", "w", format=form) as archive:
            archive.add(made / "dir", "./" if number else ".")
        sound(made / f"{number}.tar")


# --- volumes ----------------------------------------------------------------------------------------------------------


def test_volumes_that_are_missing_or_exchanged_are_named(made):
    """Of a set, what is missing, stands under another's name, is cut short or is of another bundle is named by its file."""
    paths = sorted(made.glob("set.*"))
    assert len(paths) >= 4
    first, second, third = paths[:3]
    sound(third)  # any one will do
    second.rename(made / "aside")
    assert f"1 of {len(paths)} volumes are missing: {second.name}" in fault(first)
    third.rename(second)
    (made / "aside").rename(third)
    assert f"{second.name}: is volume 3 of this bundle" in fault(first)
    second.rename(made / "aside")
    third.rename(second)
    (made / "aside").rename(third)
    sound(first)
    replace_first = first.read_bytes()
    Goods({"pypi/anvil/other.whl": b"other\n" * 3}).write(made / "other", Form.TAR, volume=4096)
    second_bytes = second.read_bytes()
    shutil.copy(made / "other.002", second)
    assert f"{second.name}: is a volume of another bundle" in fault(first)
    second.write_bytes(second_bytes[:-512])
    assert second.name in fault(first) or third.name in fault(first)
    second.write_bytes(second_bytes)
    first.rename(made / "lost-its-number")
    assert "lost its number" in fault(made / "lost-its-number")
    first.write_bytes(replace_first)
    sound(first)


def test_relabelled_volumes_are_found(made):
    """Whoever labels volumes anew, to pass one off as another, is found by what the volumes hold."""
    Goods({"large": bytes(range(256)) * 60}).write(made / "large", Form.TAR, volume=4096)
    paths = sorted(made.glob("large.*"))
    blocks = [path.read_bytes() for path in paths]
    label = tape.volume_of(tape.read(blocks[0][:512], ""))
    for number, data in ((2, blocks[2]), (3, blocks[1])):
        paths[number - 1].write_bytes(
            tape.written(tape.Header(replace(label, number=number).label, "V", 0)) + data[512:]
        )
    fault(paths[0])
    for number, data in enumerate(blocks, 1):
        paths[number - 1].write_bytes(
            tape.written(tape.Header(replace(label, number=number, bundle="a" * 32).label, "V", 0)) + data[512:]
        )
    assert "labels of another bundle" in fault(paths[0])


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_with_something_else_in_it_is_refused(made):
    """Links, pipes, further files and folders, and other spellings of names are refused by name; what is missing is named too."""
    folder, blobs = made / "dir", made / "dir" / "blobs" / "sha256"
    wheel = blobs / sha256(TINY.files["pypi/anvil/anvil.whl"]).hexdigest()
    for extra in (
        folder / "autorun.inf",
        folder / "blobs" / "md5",
        blobs / "x",
        blobs / HEX.upper(),
        folder / ".hidden",
    ):
        extra.write_bytes(b"x")
        assert extra.name in fault(folder) and "has no place in a bundle" in fault(folder)
        extra.unlink()
    (blobs / HEX).write_bytes(b"x")
    assert f"blobs/sha256/{HEX}: is named by no manifest" in fault(folder)
    (blobs / HEX).unlink()
    (blobs / "deeper").mkdir()
    assert "this folder has no place" in fault(folder)
    (blobs / "deeper").rmdir()
    kept = wheel.read_bytes()
    wheel.unlink()
    assert "pypi/anvil/anvil.whl: is missing" in fault(folder)
    (made / "outside").write_bytes(kept)
    wheel.symlink_to(made / "outside")
    assert "a symbolic link" in fault(folder)
    wheel.unlink()
    os.mkfifo(wheel)
    assert "a device, pipe or socket" in fault(folder)
    wheel.unlink()
    wheel.write_bytes(kept[:-1] + b"!")
    assert "pypi/anvil/anvil.whl" in fault(folder) and "is damaged" in fault(folder)
    with wheel.open("r+b") as file:
        file.truncate(2**40)  # a terabyte of nothing
    assert "has 1099511627776 bytes, and 30 were declared" in fault(folder)
    wheel.write_bytes(kept)
    sound(folder)
    blobs.rename(made / "elsewhere")
    blobs.symlink_to(made / "elsewhere")
    assert "a symbolic link" in fault(folder)


def test_a_blob_that_changes_while_it_is_read_is_noticed(made):
    """What is exchanged after the bundle was opened is found when it is read, link or other bytes, before the last of them is given."""
    wheel = made / "dir" / "blobs" / "sha256" / sha256(TINY.files["pypi/anvil/anvil.whl"]).hexdigest()
    with BundleReader(made / "dir") as reader:
        part = reader.parts[wheel.name]
        kept = wheel.read_bytes()
        wheel.write_bytes(b"!" * len(kept))
        with pytest.raises(BundleFault, match="is damaged"):
            reader.open(part).read()
        wheel.write_bytes(kept[:5])
        with pytest.raises(BundleFault, match="cut short"):
            reader.open(part).read()
        wheel.unlink()
        (made / "outside").write_bytes(kept)
        wheel.symlink_to(made / "outside")
        with pytest.raises(BundleFault, match="symbolic links"):
            reader.open(part)


# --- documents --------------------------------------------------------------------------------------------------------


class Forged:
    """A folder of a bundle, put together from parts that a test changes; all digests are right."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_bytes(oci.LAYOUT)
        self.blob(oci.NOTHING)

    def blob(self, data: bytes, kind: str = OCTETS, title: str = ""):
        part = part_of(data, kind, title)
        (self.folder / "blobs" / "sha256" / part.digest.hex).write_bytes(data)
        return part

    def whole(self, manifests, statement: bytes, *, created=CREATED, heads: int = 1) -> Path:
        contents = [self.blob(one, oci.MANIFEST, f"parts {at}") for at, one in enumerate(manifests, 1)]
        layer = self.blob(statement, oci.ENVELOPE, oci.STATEMENT)
        head = [self.blob(oci.head(layer, created + timedelta(seconds=at)), oci.MANIFEST, "") for at in range(heads)]
        index = self.blob(oci.image_index(head[0], [*head[1:], *contents]), oci.INDEX)
        (self.folder / "index.json").write_bytes(oci.index_json(index))
        return self.folder


def stated(contents, manifests, **changed) -> Statement:
    subjects = tuple(part_of(one, oci.MANIFEST, f"parts {at}") for at, one in enumerate(manifests, 1))
    return replace(Statement("acme-lab", 1, CREATED, "mirror.acme.example", contents, subjects), **changed)


@pytest.fixture
def forged(tmp_path) -> Forged:
    return Forged(tmp_path / "forged")


def test_a_statement_about_something_else_is_refused(forged):
    """A statement that was signed for other manifests, other contents or another time is not taken for this bundle's."""
    contents, other = forged.blob(b"{}\n", CONTENTS, "contents.jsonl"), forged.blob(b"other", OCTETS, "other")
    here, there = oci.manifest([contents]), oci.manifest([other])
    forged.whole([here, there], sign(payload(stated(contents, [here, there])), [KEY]))
    sound(forged.folder)
    for manifests, statement, said in (
        ([here, there], stated(contents, [here]), "about other content"),
        ([here], stated(contents, [here, there]), "about other content"),
        ([here], stated(other, [here]), "contents: are not in this bundle"),
        ([here], stated(replace(contents, title="elsewhere"), [here]), "contents: are not in this bundle"),
        ([here], stated(contents, [here], created=CREATED + timedelta(days=1)), "another time"),
    ):
        folder = forged.folder.with_name(
            f"case-{said[:5]}-{len(manifests)}-{len(statement.subjects)}-{statement.contents.title}-{statement.created.day}"
        )
        case = Forged(folder)
        for data, kind, title in (
            (b"{}\n", CONTENTS, "contents.jsonl"),
            *([(b"other", OCTETS, "other")] if there in manifests else []),
        ):
            case.blob(data, kind, title)
        case.whole(manifests, sign(payload(statement), [KEY]))
        assert said in fault(folder)


def test_documents_that_are_not_as_they_are_written_are_refused(tmp_path):
    """Manifests with further keys, another spelling, doubled parts, unsafe titles, no title, no layer or two statements are refused."""
    contents = part_of(b"{}\n", CONTENTS, "contents.jsonl")
    plain = json.loads(oci.manifest([contents]))
    layer = plain["layers"][0]

    def changed(**fields) -> bytes:
        return canonical(plain | fields)

    def titled(title: object) -> bytes:
        return changed(layers=[layer | {"annotations": {oci.TITLE: title}}])

    cases = [
        (changed(further=1), "not written as"), (json.dumps(plain).encode(), "not written as"), (changed(layers=[]), "no manifest of a bundle"),
        (changed(layers=[layer, layer]), "named twice"), (changed(layers=[layer | {"size": -1}]), "has no size"), (changed(layers=[layer | {"size": True}]), "has no size"),
        (changed(layers=[layer | {"digest": "sha512:" + "0" * 128}]), "no SHA-256"), (changed(layers=[{"mediaType": OCTETS}]), "no title"), (changed(layers=[7]), "no title"),
        (titled("../x"), "no title"), (titled("/etc/passwd"), "no title"), (titled("a\\b"), "no title"), (titled("a\nb"), "no title"), (titled("a\u202eb"), "no title"), (titled(""), "no title"),
        (changed(artifactType="application/vnd.acme"), "no manifest of a bundle"), (b"[" * 100_000, "nested deeper"), (b"\xff", "is not JSON"), (b"7", "no manifest of a bundle"),
        (changed(layers=[layer | {"mediaType": "text/plain\n"}]), "no media type"),
    ]  # fmt: skip
    for number, (manifest, said) in enumerate(cases):
        case = Forged(tmp_path / str(number))
        case.blob(b"{}\n")
        case.whole([manifest], sign(payload(stated(contents, [manifest])), [KEY]))
        assert said in fault(case.folder), said
    two = Forged(tmp_path / "two")
    two.blob(b"{}\n")
    good = oci.manifest([contents])
    assert "names 2 statements" in fault(two.whole([good], sign(payload(stated(contents, [good])), [KEY]), heads=2))
    alike = [contents, part_of(b"1", OCTETS, "Readme"), part_of(b"2", OCTETS, "README")]
    spelt = Forged(tmp_path / "spelt")
    for data in (b"{}\n", b"1", b"2"):
        spelt.blob(data)
    good = oci.manifest(alike)
    assert "but for upper and lower case" in fault(spelt.whole([good], sign(payload(stated(contents, [good])), [KEY])))


def test_huge_documents_are_not_read(made, tmp_path):
    """An `index.json`, an image index, a manifest or a statement beyond its bound is refused by its size."""
    with (made / "dir" / "index.json").open("r+b") as file:
        file.truncate(2**33)
    assert "index.json: is larger than 1048576 bytes" in fault(made / "dir")
    contents = part_of(b"{}\n", CONTENTS, "contents.jsonl")
    huge = Forged(tmp_path / "huge")
    huge.blob(b"{}\n")
    good = oci.manifest([contents])
    huge.whole([good], b"x" * (17 * 1024 * 1024))
    assert "does not name one signed statement" in fault(huge.folder)
    row = {"mediaType": oci.INDEX, "digest": "sha256:" + "0" * 64, "size": 2**40}
    (huge.folder / "index.json").write_bytes(canonical({"manifests": [row], "schemaVersion": 2}))
    assert "beyond 4194304 bytes" in fault(huge.folder)


def test_manifests_are_bounded_together(tmp_path):
    """Sixty-five manifests of four mebibytes each, which nobody has signed, are refused by their sizes before one of them is read."""
    case = Forged(tmp_path / "many")
    rows = [{"digest": f"sha256:{number:064x}", "mediaType": oci.MANIFEST, "size": oci.LARGEST} for number in range(65)]
    index = case.blob(canonical({"manifests": rows, "schemaVersion": 2}), oci.INDEX)
    (case.folder / "index.json").write_bytes(oci.index_json(index))
    assert "names manifests of more than 268435456 bytes together" in fault(case.folder)


def test_a_declared_size_that_is_a_lie_is_found_before_anything_is_read(tmp_path):
    """Where a signed manifest declares another size than lies there, nothing of the part is read."""
    case = Forged(tmp_path / "lie")
    contents = replace(case.blob(b"{}\n", CONTENTS, "contents.jsonl"), size=2**50)
    good = oci.manifest([contents])
    assert "has 3 bytes, and 1125899906842624 were declared" in fault(
        case.whole([good], sign(payload(stated(contents, [good])), [KEY]))
    )


# --- who signed -------------------------------------------------------------------------------------------------------


def envelope_of(path: Path) -> bytes:
    with BundleReader(path) as reader:
        return reader.envelope


def test_only_who_is_trusted_can_sign(tiny, tmp_path):
    """Without a signature, signed by somebody else, by a key that was revoked or is not valid yet or any more: refused."""
    TINY.write(tmp_path / "unsigned", keys=())
    assert "is not signed" in fault(tmp_path / "unsigned")
    TINY.write(tmp_path / "foreign", keys=(OTHER,))
    assert "which nobody here has said to trust" in fault(tmp_path / "foreign")
    identity = dsse.key_id(KEY.public_key())
    assert "which was revoked" in fault(tiny / "dir", revoked=(identity,))
    for window in ({"until": CREATED}, {"since": CREATED + timedelta(seconds=1)}):
        assert "was not valid" in fault(tiny / "dir", keys={identity: Signer(KEY.public_key(), "acme", **window)})
    assert "nobody here has said to trust" in fault(tiny / "dir", keys={})


def test_several_signatures_each_count_for_themselves(tmp_path):
    """One signature that counts is enough beside others that are unknown; a known one that does not hold, a revoked one or a double one voids all."""
    both = TINY.write(tmp_path / "both", keys=(OTHER, KEY))
    sound(both)
    verify(both, signers(OTHER))
    verify(both, signers(KEY, OTHER))
    assert "which was revoked" in fault(both, revoked=(dsse.key_id(OTHER.public_key()),))
    envelope = dsse.read(envelope_of(both), "")
    broken = replace(
        envelope, signatures=(replace(envelope.signatures[0], signature=bytes(64)), envelope.signatures[1])
    )
    with pytest.raises(BundleFault, match="does not hold"):
        opened(dsse.written(broken), signers(KEY, OTHER))
    opened(dsse.written(broken), signers(KEY))
    double = replace(envelope, signatures=(envelope.signatures[1], envelope.signatures[1]))
    with pytest.raises(BundleFault, match="twice by the same key"):
        opened(dsse.written(double), signers())
    stolen = replace(
        envelope, signatures=(dsse.Signature(dsse.key_id(KEY.public_key()), envelope.signatures[0].signature),)
    )
    with pytest.raises(BundleFault, match="does not hold"):
        opened(dsse.written(stolen), signers())
    for bad, keys in ((broken, raw(KEY) | raw(OTHER)), (double, raw()), (stolen, raw())):
        with pytest.raises(verify_bundle.Wrong, match=r"does not hold|twice"):
            verify_bundle.statement_of(dsse.written(bad), keys, set())


def test_what_was_signed_as_something_else_is_no_statement(tiny):
    """A signature over the same bytes as another kind, or over another in-toto statement, does not make a bundle's statement."""
    signed = dsse.read(envelope_of(tiny / "dir"), "").payload
    for kind, data, said in (
        ("application/vnd.entrepot.deny+json", signed, r"expected application/vnd.in-toto\+json"),
        (
            PAYLOAD_TYPE,
            canonical(json.loads(signed) | {"predicateType": "https://slsa.dev/provenance/v1"}),
            "no in-toto statement of type",
        ),
        (PAYLOAD_TYPE, canonical(json.loads(signed) | {"further": 1}), "further"),
        (PAYLOAD_TYPE, signed + b" ", "is not canonical JSON"),
        (PAYLOAD_TYPE, b"[]", "expected a mapping"),
        (PAYLOAD_TYPE, b"{", "is not JSON"),
    ):
        envelope = dsse.written(dsse.signed(dsse.Envelope(kind, data), KEY))
        with pytest.raises(BundleFault, match=said):
            opened(envelope, signers())
        with pytest.raises(verify_bundle.Wrong):
            verify_bundle.statement_of(envelope, raw(), set())


def test_all_that_is_wrong_with_a_statement_is_told_at_once():
    """A statement with several faults names each with its place; a recall that withdraws nothing and a delta without base are faults."""
    contents = part_of(b"{}\n", CONTENTS, "contents.jsonl")
    good = stated(contents, [oci.manifest([contents])])
    assert parse(payload(good), "x") == good
    full = replace(
        good,
        number=3,
        previous="a" * 64,
        since=2,
        requires=(Digest("sha256", "b" * 64),),
        lists={"ofac-sdn": "2026-11-20"},
        policy="c" * 64,
    )
    assert parse(payload(full), "x") == full
    recall = replace(
        good, purpose="recall", withdrawn=(Withdrawn("acme/tiny", "a court order", "docket 7", legal=True),)
    )
    assert parse(payload(recall), "x") == recall
    bad = replace(good, since=4, requires=(Digest("sha256", "b" * 64),), purpose="recall", subjects=())
    with pytest.raises(InputError) as caught:
        parse(payload(bad), "x")
    places = {problem.place for problem in caught.value.problems}
    assert places == {
        "payload.subject",
        "payload.predicate.withdrawn",
        "payload.predicate.since",
        "payload.predicate.previous",
    }
    with pytest.raises(InputError) as caught:
        parse(payload(replace(good, name="Not a name", number=0, sender="")), "x")
    assert {problem.place for problem in caught.value.problems} == {
        "payload.predicate.name",
        "payload.predicate.number",
        "payload.predicate.sender",
    }


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "volume"), [(Form.DIRECTORY, None), (Form.TAR, None), (Form.TAR, 4096)])
def test_nothing_has_the_name_of_a_bundle_that_is_none(tmp_path, form, volume):
    """A part that is not what it should be, and any other failure, leaves nothing under the bundle's name; the next try works."""
    target = tmp_path / "lab"
    wrong = replace(part_of(b"right", OCTETS, "x"), size=5)
    for source in (b"wrong", b"righ", b"right!"):
        with (
            pytest.raises(BundleFault, match="is not what it should be"),
            BundleWriter(target, form, volume=volume) as writer,
        ):
            writer.add_file(wrong, io.BytesIO(source))
        assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    with pytest.raises(ValueError, match="at least one part"), BundleWriter(target, form, volume=volume) as writer:
        writer.finish(b"", created=CREATED)
    place = TINY.write(target, form, volume=volume)
    sound(place)
    with pytest.raises(BundleFault, match="is there already"):
        TINY.write(target, form, volume=volume)
    sound(place)
    with BundleWriter(tmp_path / "two", form, volume=volume), pytest.raises(BundleFault, match="by another process"):
        BundleWriter(tmp_path / "two", form, volume=volume)


def test_a_folder_that_was_begun_is_gone_on_with(tmp_path):
    """What an earlier try has left is kept where its digest is right, copied again where not, and removed where nobody names it."""
    large = bytes(range(256)) * 4096
    part, spoilt = part_of(large, OCTETS, "large"), part_of(b"spoilt", OCTETS, "spoilt")
    with pytest.raises(KeyboardInterrupt), BundleWriter(tmp_path / "lab", Form.DIRECTORY) as writer:
        writer.add_file(part, io.BytesIO(large))
        writer.add_file(spoilt, io.BytesIO(b"spoilt"))
        writer.add_bytes(OCTETS, "not wanted any more", b"gone")
        raise KeyboardInterrupt
    draft = tmp_path / ".lab.partial" / "blobs" / "sha256"
    (draft / spoilt.digest.hex).write_bytes(b"spoilT")
    before = (draft / part.digest.hex).stat().st_ino
    with BundleWriter(tmp_path / "lab", Form.DIRECTORY) as writer:
        writer.add_file(part, io.BytesIO(b"is not even looked at"))
        writer.add_file(spoilt, io.BytesIO(b"spoilt"))
        contents = writer.add_bytes(CONTENTS, "contents.jsonl", b"{}\n")
        writer.finish(
            sign(payload(Statement("acme-lab", 1, CREATED, "acme", contents, writer.seal())), [KEY]), created=CREATED
        )
    sound(tmp_path / "lab")
    blobs = tmp_path / "lab" / "blobs" / "sha256"
    assert (blobs / part.digest.hex).stat().st_ino == before
    assert not (blobs / sha256(b"gone").hexdigest()).exists()


def test_what_a_killed_writer_left_does_not_stay(tmp_path):
    """Volumes that a killed run had begun are written over or removed by the next one; only the bundle remains."""
    for number in (1, 2, 77):
        (tmp_path / f".lab.{number:03d}.partial").write_bytes(b"left" * 5000)
    (tmp_path / ".lab-2.001.partial").write_bytes(b"another's")
    sound(TINY.write(tmp_path / "lab", Form.TAR, volume=4096))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [".lab-2.001.partial"]


@pytest.mark.parametrize("volume", [None, 8192])
def test_the_same_content_is_the_same_bytes(tmp_path, volume):
    """Two tars of the same parts, statement and time are byte-equal: no clock, no owner, no folder order goes into them."""
    for name in ("one", "two"):
        TINY.write(tmp_path / name, Form.TAR, volume=volume)
    first, second = (
        b"".join(path.read_bytes() for path in sorted(tmp_path.glob(f"{name}*"))) for name in ("one", "two")
    )
    assert first == second


def test_many_parts_make_several_manifests(tmp_path):
    """2,500 parts are named by three manifests, each with at most 1,000 layers; titles that differ in case only are told apart."""
    names = {f"huggingface/models/acme/many/{number:05d}.bin": b"%d" % number for number in range(2497)}
    goods = Goods(names | {"readme.md": b"one", "README.md": b"two", "Readme.md": b"four", "../../etc/passwd": b"three"})
    place = goods.write(tmp_path / "many.tar", Form.TAR)
    with BundleReader(place) as reader:
        reader.signed(signers())
        assert len(reader.manifests) == 3
        titles = {part.title for part in reader.parts.values()}
    assert len(titles) == len({title.casefold() for title in titles}) == 2502
    assert ".%2E/.%2E/etc/passwd" in titles
    sound(place)
