"""The Xet store behind a stand-in hub, real enough for hf_xet to download through: tokens, reconstructions, xorbs.

A file is cut into chunks of 64 KiB; every other one is packed as an LZ4 frame (of stored blocks), the rest lie plain.
256 chunks make a xorb, 64 a term of a reconstruction. Hashes are names only: hf_xet 1.8 compares none of them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from .wire import Call, Reply, json_reply, text_reply

if TYPE_CHECKING:
    from .hub import StandInHub
    from .world import Commit, File, Repo

CHUNK: Final = 64 * 1024
TERM: Final = 64  # chunks
XORB: Final = 256  # chunks
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")
#: An LZ4 frame (version 1, independent blocks of at most 64 KiB, no checksums) and the bit of a block that is not compressed.
_LZ4: Final = bytes.fromhex("04224d18604082")
_STORED: Final = 0x80000000


def token(hub: StandInHub, repo: Repo, commit: Commit) -> Reply:
    """A token for what one commit holds, good for `hub.xet_token_life` seconds: in the headers for huggingface_hub, in the body for hf_xet."""
    expires = int(hub.clock()) + hub.xet_token_life
    made = "xet_" + hashlib.sha256(f"{repo.hub_id}{commit.id}{expires}".encode()).hexdigest()
    hub.xet_tokens[made] = (expires, {file.xet: file for file in commit.files.values() if file.lfs})
    reply = json_reply({"casUrl": hub.cas_url, "exp": expires, "accessToken": made})
    return reply.with_headers(
        {"X-Xet-Cas-Url": hub.cas_url, "X-Xet-Access-Token": made, "X-Xet-Token-Expiration": str(expires)}
    )


def answer(hub: StandInHub, call: Call) -> Reply:
    """`/[v1/|v2/]reconstructions/HASH`, `/xorbs/default/HASH?…`, and the telemetry that is taken and dropped."""
    if call.path == "/v1/telemetry":
        return json_reply({})
    parts = call.segments
    if parts[:2] == ["xorbs", "default"] and len(parts) == 3:
        return _xorb(hub, call, parts[2])
    version = parts[0] if parts[0] in {"v1", "v2"} else "v1"
    if parts[-2:-1] != ["reconstructions"] or len(parts) > 3 or call.method != "GET":
        return json_reply({"error": f"no such route: {call.path}"}, 404)
    expires, files = hub.xet_tokens.get(call.token or "", (0, {}))
    if expires < hub.clock():
        return json_reply({"error": "token expired or unknown"}, 401)
    file = files.get(parts[-1])
    return json_reply({"error": "not found"}, 404) if file is None else _reconstruction(hub, call, file, version)


def _reconstruction(hub: StandInHub, call: Call, file: File, version: str) -> Reply:
    """The terms that cover the range asked for; 416 past the end of the file."""
    asked = _RANGE.fullmatch(call.headers.get("Range", "bytes=0-"))
    size = len(file.data)
    start = int(asked[1]) if asked else 0
    stop = min(int(asked[2]) + 1, size) if asked and asked[2] else size
    if start >= size:
        return text_reply("past the end", 416)
    chunks = -(-size // CHUNK)
    terms: list[dict[str, Any]] = []
    fetch: dict[str, list[tuple[int, int]]] = {}
    first = start // (CHUNK * TERM) * TERM
    for at in range(first, min(chunks, -(-stop // CHUNK)), TERM):
        name, base = xorb_name(file, at // XORB), at // XORB * XORB
        lower, upper = at - base, min(at + TERM, chunks) - base
        length = min((base + upper) * CHUNK, size) - at * CHUNK
        terms.append({"hash": name, "unpacked_length": length, "range": {"start": lower, "end": upper}})
        fetch.setdefault(name, []).append((lower, upper))
        hub.xorbs[name] = (file, at // XORB)
    told: dict[str, Any] = {"offset_into_first_range": start - first * CHUNK, "terms": terms}
    if version == "v2":
        told["xorbs"] = {name: [_span(hub, name, span) for span in spans] for name, spans in fetch.items()}
    else:
        told["fetch_info"] = {name: [_old_span(_span(hub, name, span)) for span in spans] for name, spans in fetch.items()}
    return json_reply(told)


def _span(hub: StandInHub, name: str, span: tuple[int, int]) -> dict[str, Any]:
    offsets = _packed(hub, name)[1]
    begin, end = offsets[span[0]], offsets[span[1]] - 1  # the last byte is included, as in a Range
    expires = int(hub.clock()) + hub.cdn_url_life
    signed = {"Expires": str(expires), "X-Xet-Signed-Range": f"bytes={begin}-{end}", "Signature": _signature(hub, name, expires, begin, end)}
    url = f"{hub.xorb_url or hub.cas_url}/xorbs/default/{name}?{urlencode(signed)}"
    return {"url": url, "ranges": [{"chunks": {"start": span[0], "end": span[1]}, "bytes": {"start": begin, "end": end}}]}


def _old_span(row: dict[str, Any]) -> dict[str, Any]:
    return {"url": row["url"], "range": row["ranges"][0]["chunks"], "url_range": row["ranges"][0]["bytes"]}


def _xorb(hub: StandInHub, call: Call, name: str) -> Reply:
    """A range of a xorb, by a URL that was signed for that range and has not expired; 403 for any other, and for a token."""
    expires, signed = call.param("Expires"), call.param("X-Xet-Signed-Range")
    asked, permitted = _RANGE.fullmatch(call.headers.get("Range", "")), _RANGE.fullmatch(signed)
    if name not in hub.xorbs or asked is None or permitted is None or not expires.isdigit() or "Authorization" in call.headers:
        return text_reply("AccessDenied", 403)
    begin, end = int(permitted[1]), int(permitted[2])
    right = hmac.compare_digest(call.param("Signature"), _signature(hub, name, int(expires), begin, end))
    if not right or int(expires) < hub.clock() or int(asked[1]) < begin or int(asked[2] or end + 1) > end:
        return text_reply("AccessDenied", 403)
    return Reply(200, _packed(hub, name)[0], ranged=True).with_headers({"Content-Type": "application/octet-stream"})


def _signature(hub: StandInHub, name: str, expires: int, begin: int, end: int) -> str:
    key = f"{hub.seed}:{hub.cdn_generation}".encode()
    return hmac.new(key, f"{name}:{expires}:{begin}:{end}".encode(), hashlib.sha256).hexdigest()


def xorb_name(file: File, number: int) -> str:
    """The name of a file's xorb: 64 hex digits."""
    return hashlib.blake2b(f"{file.xet}:{number}".encode(), digest_size=32).hexdigest()


def _packed(hub: StandInHub, name: str) -> tuple[bytes, list[int]]:
    """A xorb's bytes, and where each of its chunks begins in them (one more for the end). The last few are kept."""
    if name not in hub.packed:
        while len(hub.packed) > 7:
            hub.packed.pop(next(iter(hub.packed)))
        file, number = hub.xorbs[name]
        hub.packed[name] = pack(file.data[number * XORB * CHUNK : (number + 1) * XORB * CHUNK])
    return hub.packed[name]


def pack(data: bytes) -> tuple[bytes, list[int]]:
    """Chunks with their headers: version, packed length (24 bits), scheme (0 plain, 1 LZ4), length (24 bits)."""
    parts, offsets, at = [], [0], 0
    for number, start in enumerate(range(0, len(data), CHUNK)):
        chunk = data[start : start + CHUNK]
        body = chunk
        if number % 2:
            body = b"".join((_LZ4, (len(chunk) | _STORED).to_bytes(4, "little"), chunk, bytes(4)))
        parts += [b"\0", len(body).to_bytes(3, "little"), bytes([number % 2]), len(chunk).to_bytes(3, "little"), body]
        at += 8 + len(body)
        offsets.append(at)
    return b"".join(parts), offsets
