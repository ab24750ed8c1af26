"""The Merkle tree against the recursion of RFC 9162 as it is written, and against published vectors."""

from __future__ import annotations

import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.audit import verify_decision
from mirror.audit.tree import (
    EMPTY,
    Frontier,
    complete,
    consistency,
    fold,
    inclusion,
    root,
    verify_consistency,
    verify_inclusion,
)

#: The eight leaves and the roots over the first n of them that Certificate Transparency implementations share.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [sha256(b"\x00" + number.to_bytes(4, "big")).digest() for number in range(700)]
NODE = complete(LEAVES)


def split(count: int) -> int:
    """The largest power of two below `count`."""
    found = 1
    while found * 2 < count:
        found *= 2
    return found


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, word for word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162 section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_proof(m: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 9162 section 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*naive_proof(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_proof(m - k, leaves[k:], False), naive_root(leaves[:k])]


def test_published_vectors():
    """The roots over 0 to 8 known leaves are those that other implementations publish."""
    node = complete([sha256(b"\x00" + bytes.fromhex(one)).digest() for one in INPUTS])
    assert [root(node, size).hex() for size in range(9)] == ROOTS
    assert [one.hex() for one in inclusion(node, 5, 8)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 300), st.data())
def test_as_the_recursion(size, data):
    """Roots, paths and consistency proofs are those of the recursion, and hold by the verification of the RFC."""
    leaves = LEAVES[:size]
    found = root(NODE, size)
    assert found == naive_root(leaves)
    if size:
        index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
        path, proof = inclusion(NODE, index, size), consistency(NODE, first, size)
        assert path == naive_path(index, leaves)
        assert proof == naive_proof(first, leaves)
        assert verify_inclusion(leaves[index], index, size, path, found)
        assert verify_consistency(first, size, proof, root(NODE, first), found)
        assert verify_decision.root_of(leaves[index], index, size, path) == found


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 200), st.data())
def test_what_is_not_so_is_not_proven(size, data):
    """A path for another leaf, place, size or root, one hash more, fewer or changed: none of them holds."""
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size - 1))
    found, path, proof = root(NODE, size), inclusion(NODE, index, size), consistency(NODE, first, size)
    other = data.draw(st.integers(0, size - 1).filter(lambda number: number != index))
    assert not verify_inclusion(LEAVES[other], index, size, path, found)
    assert not verify_inclusion(LEAVES[index], other, size, path, found)
    assert not verify_inclusion(LEAVES[index], size, size, path, found)
    assert not verify_inclusion(LEAVES[index], index, size, [*path, LEAVES[0]], found)
    assert not verify_inclusion(LEAVES[index], index, size, path[:-1], found)
    assert not verify_inclusion(LEAVES[index], index, size, path, root(NODE, size - 1))
    assert not verify_consistency(first, size, [*proof, LEAVES[0]], root(NODE, first), found)
    assert not verify_consistency(first, size, proof[:-1], root(NODE, first), found)
    assert not verify_consistency(first, size, proof, LEAVES[0] if first > 1 else LEAVES[1], found)
    assert not verify_consistency(first, size, proof, root(NODE, first), LEAVES[0])
    position = data.draw(st.integers(0, len(proof) - 1))
    changed = [*proof[:position], LEAVES[699], *proof[position + 1 :]]
    assert not verify_consistency(first, size, changed, root(NODE, first), found)
    for question in ((0, size), (size + 1, size)):
        assert not verify_consistency(*question, [], found, found)
        with pytest.raises(ValueError, match="no proof leads"):
            consistency(NODE, *question)
    with pytest.raises(ValueError, match="has no leaf"):
        inclusion(NODE, size, size)


def test_growing_in_any_steps():
    """A frontier that grows in any steps, or is taken up in the middle, has the recursion's root and gives each tile once."""
    many = [sha256(b"\x00" + number.to_bytes(4, "big")).digest() for number in range(66_200)]
    whole = complete(many)
    grown, tiles, sizes = Frontier(), {}, random.Random(7)
    while grown.size < len(many):
        step = many[grown.size : grown.size + sizes.choice([1, 2, 255, 256, 257, 5000])]
        for level, hashes in enumerate(grown.extend(step)):
            tiles.setdefault(level, []).extend(hashes)
        assert grown.root() == root(whole, grown.size)
    assert tiles == {0: many, 1: [fold(many[at : at + 256]) for at in range(0, 66_048, 256)], 2: [fold(many[:65_536])]}
    for size in (0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 66_200):
        taken = Frontier.at(whole, size)
        assert (taken.size, taken.root()) == (size, root(whole, size))
        taken.extend(many[size:])
        assert taken.root() == root(whole, 66_200)
    assert Frontier().root() == EMPTY


#: RFC 8032 section 7.1, tests 1 to 3: public key, message, signature.
ED25519 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("public", "message", "signature"), ED25519, ids=["1", "2", "3"])
def test_the_stand_alone_signature_check(public, message, signature):
    """The verifier's own Ed25519 accepts the vectors of RFC 8032, and nothing that differs from them in a bit."""
    key, text, signed = (bytes.fromhex(one) for one in (public, message, signature))
    assert verify_decision.ed25519_holds(key, text, signed)
    for at in (0, 31, 32, 62):
        changed = bytearray(signed)
        changed[at] ^= 1
        assert not verify_decision.ed25519_holds(key, text, bytes(changed))
    assert not verify_decision.ed25519_holds(key, text + b"\x00", signed)
    large = int.from_bytes(signed[32:], "little") + verify_decision.ORDER
    assert not verify_decision.ed25519_holds(key, text, signed[:32] + large.to_bytes(32, "little"))


def test_the_verifier_of_a_proof_reads_no_nonsense(tmp_path):
    """What nests deeper than any proof cannot be read, which is exit 2; it is not a proof that does not hold."""
    deep = tmp_path / "proof.json"
    deep.write_text("[" * 100_000, encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", verify_decision.__file__, str(deep)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1][:16]) == (2, "cannot be read: ")


def test_the_verifier_imports_nothing_of_the_product():
    """The stand-alone verifier is one file of the standard library alone."""
    text = Path(verify_decision.__file__).read_text(encoding="utf-8")
    assert "import mirror" not in text
    assert "from mirror" not in text
