"""A writer of small databases in MaxMind's format, as https://maxmind.github.io/MaxMind-DB/ describes it (version 2.0)."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping
from typing import Any

_MARKER = b"\xab\xcd\xefMaxMind.com"


def database(rows: Mapping[str, Any], kind: str = "GeoLite2-Country") -> bytes:
    """A database of IPv6 and IPv4 networks (`10.0.0.0/8`) and their records. Networks must not overlap."""
    nodes: list[list[Any]] = [[None, None]]
    for text, record in rows.items():
        network = ipaddress.ip_network(text)
        bits, length = int(network.network_address), network.prefixlen
        if network.version == 4:
            length += 96
        at = 0
        for depth in range(length - 1):
            side = bits >> (127 - depth) & 1
            if nodes[at][side] is None:
                nodes.append([None, None])
                nodes[at][side] = len(nodes) - 1
            at = nodes[at][side]
        nodes[at][bits >> (128 - length) & 1] = (record,)
    data, where = b"", {}
    for pair in nodes:
        for leaf in pair:
            if isinstance(leaf, tuple) and repr(leaf) not in where:
                where[repr(leaf)] = len(data)
                data += _encoded(leaf[0])

    def pointer(leaf: Any) -> int:
        return len(nodes) if leaf is None else len(nodes) + 16 + where[repr(leaf)] if isinstance(leaf, tuple) else leaf

    tree = b"".join(struct.pack(">II", *map(pointer, pair)) for pair in nodes)
    about = {
        "node_count": len(nodes), "record_size": 32, "ip_version": 6, "database_type": kind, "languages": ["en"],
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1_700_000_000, "description": {"en": "test"},
    }  # fmt: skip
    return tree + bytes(16) + data + _MARKER + _encoded(about)


def _encoded(value: Any) -> bytes:
    if isinstance(value, str):
        return _head(2, len(value.encode())) + value.encode()
    if isinstance(value, int):
        raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return _head(6 if value < 2**32 else 9, len(raw)) + raw
    if isinstance(value, Mapping):
        return _head(7, len(value)) + b"".join(_encoded(key) + _encoded(item) for key, item in value.items())
    return _head(11, len(value)) + b"".join(map(_encoded, value))


def _head(kind: int, size: int) -> bytes:
    assert size < 29
    return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])
