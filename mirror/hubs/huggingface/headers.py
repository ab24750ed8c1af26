"""What the first bytes of weight files tell of what they were made from: GGUF's table and safetensors' `__metadata__`. Pure.

GGUF: magic, version, number of tensors and of values, then the values, each a key, a type and what is of it, little-endian
(ggml, docs/gguf.md). Safetensors: eight bytes of length, little-endian, then that much JSON. Both are read as far as the bytes
at hand go; what is not whole is left out.
"""

from __future__ import annotations

import json
import re
import struct
from typing import Any, Final

from mirror.hubs.huggingface.traces import GGUF, TENSORS, Trace, repository_named

#: How much of a file is asked for. Writers put `general.*` first and the tokenizer, which is large, last.
FIRST: Final = 65_536
_KEYS: Final = 4_096
_TEXT: Final = 8_192
_SIZES: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_BASE: Final = re.compile(r"general\.base_model\.([0-9]{1,3})\.(repo_url|name|organization)")
_SOURCES: Final = ("general.source.huggingface.repository", "general.source.repo_url", "general.source.url", "general.repo_url")
_STATED: Final = ("base_model", "base_model_name_or_path", "ss_sd_model_name", "source_model", "modelspec.base_model")


def gguf_values(head: bytes) -> dict[str, str]:
    """The texts under `general.*` among the values at the start of a GGUF file; empty for anything else."""
    found: dict[str, str] = {}
    if len(head) < 24 or head[:4] != b"GGUF" or struct.unpack_from("<I", head, 4)[0] not in (2, 3):
        return found
    at = 24
    try:
        for _ in range(min(struct.unpack_from("<Q", head, 16)[0], _KEYS)):
            key, at = _string(head, at)
            kind = struct.unpack_from("<I", head, at)[0]
            value, at = _value(head, at + 4, kind)
            if isinstance(value, str) and key.startswith("general."):
                found[key] = value
    except (struct.error, ValueError):
        pass  # cut off here, or not what it says it is: what came before stands
    return found


def of_gguf(head: bytes) -> list[Trace]:
    """The repository that was converted, and the models that it says it was based on."""
    values = gguf_values(head)
    sources = (repository_named(values.get(key)) for key in _SOURCES)
    found = [Trace(name, "quantized", GGUF, "GGUF") for name in dict.fromkeys(sources) if name and "/" in name]
    bases: dict[str, dict[str, str]] = {}
    for key, value in values.items():
        if part := _BASE.fullmatch(key):
            bases.setdefault(part[1], {})[part[2]] = value
    for number in sorted(bases, key=int):
        base = bases[number]
        spelled = "/".join(base.get(key, "").strip().replace(" ", "-") for key in ("organization", "name"))
        name = repository_named(base.get("repo_url")) or (repository_named(spelled) if base.get("organization") else None)
        # A URL is what the tool was told. A name put together again from words may be none: it must be on the hub.
        if name and "/" in name:
            found.append(Trace(name, "unknown", GGUF if repository_named(base.get("repo_url")) else GGUF // 2, "GGUF"))
    return found


def of_safetensors(head: bytes) -> list[Trace]:
    """The base that a trainer wrote into `__metadata__`, where it is a repository's name."""
    metadata = safetensors_metadata(head)
    names = (repository_named(metadata.get(key)) for key in _STATED)
    return [Trace(name, "unknown", TENSORS, "safetensors") for name in dict.fromkeys(names) if name and "/" in name]


def safetensors_metadata(head: bytes) -> dict[str, str]:
    """The texts of `__metadata__` if they lie within `head`; empty otherwise."""
    if len(head) < 8 or struct.unpack_from("<Q", head)[0] > 100_000_000:  # the format's own limit
        return {}
    text = head[8 : 8 + struct.unpack_from("<Q", head)[0]].decode("utf-8", "replace")
    begun = re.match(r'\s*\{\s*"__metadata__"\s*:\s*', text) or re.search(r',\s*"__metadata__"\s*:\s*', text)
    if begun is None:
        return {}
    try:
        value: Any = json.JSONDecoder().raw_decode(text, begun.end())[0]
    except (ValueError, RecursionError):
        return {}
    return {key: one for key, one in value.items() if isinstance(one, str)} if isinstance(value, dict) else {}


def _string(head: bytes, at: int) -> tuple[str, int]:
    length = struct.unpack_from("<Q", head, at)[0]
    end = at + 8 + length
    if end > len(head):
        raise ValueError("cut off")
    return head[at + 8 : min(end, at + 8 + _TEXT)].decode("utf-8", "replace"), end


def _value(head: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == _STRING:
        return _string(head, at)
    if kind != _ARRAY:
        return None, at + struct.calcsize("<" + _size(kind))
    inner, count = struct.unpack_from("<IQ", head, at)
    at += 12
    if inner != _STRING:
        return None, at + count * struct.calcsize("<" + _size(inner))
    for _ in range(count):
        _, at = _string(head, at)
    return None, at


def _size(kind: int) -> str:
    if kind not in _SIZES:
        raise ValueError("not a type of GGUF, or an array of arrays")
    return _SIZES[kind]
