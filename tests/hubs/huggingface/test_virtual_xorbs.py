"""A file as a Xet store would give it: what is said of it, and the bytes, at every size and for every part."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mirror.core.nouns import Span
from mirror.hubs.huggingface.registry import MadeBody
from mirror.hubs.huggingface.virtual_xorbs import CHUNK, HEADER, XORB, XorbBody, reconstruction, xorb

DATA = random.Random(5).randbytes(2 * XORB + 3 * CHUNK + 11)
DIGEST = "ab" * 32


class Torn(MadeBody):
    """Bytes that come in pieces of a length of their own, as those of a file that is still arriving."""

    piece = 50_001

    async def read(self, span: Span) -> AsyncIterator[bytes]:
        for start in range(span.start, span.stop, self.piece):
            yield self.data[start : min(span.stop, start + self.piece)]


async def packed(data: bytes, number: int, span: Span | None = None) -> bytes:
    part = xorb(len(data), number)
    assert part is not None
    return b"".join([piece async for piece in XorbBody(Torn(data, DIGEST), part).read(Span(0, part.size) if span is None else span)])


def unpacked(raw: bytes) -> list[bytes]:
    """Chunks as the format describes them; whatever does not fit it fails."""
    chunks, at = [], 0
    while at < len(raw):
        version, length, scheme, plain = raw[at], raw[at + 1 : at + 4], raw[at + 4], raw[at + 5 : at + 8]
        assert (version, scheme) == (0, 0)
        assert length == plain
        at += 8
        chunks.append(raw[at : at + int.from_bytes(plain, "little")])
        assert len(chunks[-1]) == int.from_bytes(plain, "little")
        at += len(chunks[-1])
    return chunks


SIZES = [1, CHUNK - 1, CHUNK, CHUNK + 1, XORB - 1, XORB, XORB + 1, len(DATA)]


@pytest.mark.parametrize("size", SIZES)
async def test_the_xorbs_of_a_file_are_the_file(size: int) -> None:
    """Unpacked and joined, all xorbs give the file; each has the size that it says, none a chunk above 64 KiB; behind the last there is none."""
    data, found, number = DATA[:size], b"", 0
    while (part := xorb(size, number)) is not None:
        raw = await packed(data, number)
        chunks = unpacked(raw)
        assert (len(raw), len(chunks)) == (part.size, part.chunks)
        assert all(0 < len(chunk) <= CHUNK for chunk in chunks)
        found, number = found + b"".join(chunks), number + 1
    assert found == data


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1), st.data())
async def test_a_part_of_a_xorb_is_that_part(number: int, data: st.DataObject) -> None:
    """Any range of a xorb, within headers and across them, is the same bytes as those of the whole."""
    whole = await packed(DATA[: XORB + 2 * CHUNK + 5], number)
    edges = st.sampled_from([0, 1, HEADER, CHUNK, CHUNK + HEADER, CHUNK + HEADER + 3, len(whole)]) | st.integers(0, len(whole))
    start, stop = sorted(min(len(whole), data.draw(edges)) for _ in range(2))
    assert await packed(DATA[: XORB + 2 * CHUNK + 5], number, Span(start, stop)) == whole[start:stop]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SIZES), st.data(), st.sampled_from([1, 2]))
@example(len(DATA), None, 2)
def test_the_terms_of_a_part_are_that_part(size: int, data: st.DataObject | None, version: int) -> None:
    """Laid end to end from the offset on, the terms begin where the part does and reach its end; each has one range, inside its xorb, of its very chunks."""
    start, stop = (0, size) if data is None else sorted({data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))} | {size})[:2]
    said = reconstruction(DIGEST, size, Span(start, stop), version, lambda number: f"u{number}")
    at = start - said["offset_into_first_range"]
    assert 0 <= start - at < CHUNK
    for term in said["terms"]:
        number, chunks = at // XORB, term["range"]
        if version == 1:
            (fetch,) = said["fetch_info"][term["hash"]]
            url, span, told = fetch["url"], fetch["url_range"], fetch["range"]
        else:
            ((url, ranges),) = [(row["url"], row["ranges"]) for row in said["xorbs"][term["hash"]]]
            ((told, span),) = [(row["chunks"], row["bytes"]) for row in ranges]
        part = xorb(size, number)
        assert part is not None
        assert (url, told, at) == (f"u{number}", chunks, part.data.start + chunks["start"] * CHUNK)
        assert span["end"] - span["start"] + 1 == term["unpacked_length"] + HEADER * (chunks["end"] - chunks["start"])
        assert (span["start"], span["end"] < part.size) == (chunks["start"] * (CHUNK + HEADER), True)
        at += term["unpacked_length"]
    assert stop <= at < stop + CHUNK
