"""What a repository's own files tell of what it was made from, beside its card's `base_model`. Pure.

Each reader takes a file as it lies in the repository and gives `Trace`s: the name of a parent as written, how it was used,
and how far that kind of file can be trusted (1/10,000). A reader that cannot read a file finds nothing in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.core.errors import InputError
from mirror.decode import load_yaml, parse_json
from mirror.hubs.huggingface.paths import is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: How sure a trace is, by what it was read from. Tools write the first ones while a model is made; `_name_or_path` is what a
#: model was loaded from when it was last saved; prose is prose.
ADAPTER: Final = 9_500
MERGE: Final = 9_500
GGUF: Final = 9_000
TENSORS: Final = 9_000
CONFIG: Final = 8_000
PROSE: Final = 6_000
#: From here up a trace that names something the hub does not have is a parent that is gone, below it a path on somebody's disk.
FIRM: Final = GGUF

_SITE: Final = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?:models/)?")
#: How many parents are taken from one file.
MOST: Final = 64
_DEPTH: Final = 12


@dataclass(frozen=True, slots=True)
class Trace:
    """One parent that a file names. `name` is a repository's; words of `relation` as in `policy.lineage`."""

    name: str
    relation: str
    confidence: int
    source: str


def repository_named(text: Any) -> str | None:
    """The repository that a name, a link to it or to something in it means; None for a path or anything else."""
    if not isinstance(text, str) or len(text) > 300:
        return None
    text = text.strip()
    linked = _SITE.match(text)
    if linked:
        parts = re.split(r"[/?#]", text[linked.end() :])
        text = "/".join(parts[:2])
        if parts[0] in ("datasets", "spaces", "collections", "papers", "docs", "blog", "kernels", "buckets"):
            return None
    elif "://" in text or text.startswith((".", "/", "~")) or "\\" in text:
        return None
    text = text.strip("/").partition("@")[0]
    return text if is_name(text) and not text.isdigit() and not text.endswith((".bin", ".gguf", ".safetensors", ".pt", ".json")) else None


def of_peft(data: Any, source: str = "adapter_config.json") -> list[Trace]:
    """The base of an adapter as PEFT writes it (`base_model_name_or_path`), in its own file or on the hub's page."""
    name = repository_named(data.get("base_model_name_or_path")) if isinstance(data, dict) else None
    return [Trace(name, "adapter", ADAPTER, source)] if name else []


def of_adapter(body: bytes) -> list[Trace]:
    """`adapter_config.json`."""
    return of_peft(_json(body))


def of_config(body: bytes) -> list[Trace]:
    """`config.json`: what the weights were loaded from, and towers that were taken from elsewhere.

    A single word in `_name_or_path` is more often a folder than one of the hub's few old names, and is passed over.
    """
    data = _json(body)
    if not isinstance(data, dict):
        return []
    found = []
    name = repository_named(data.get("_name_or_path"))
    if name and "/" in name:
        found.append(Trace(name, "unknown", CONFIG, "config.json"))
    towers = [data.get("mm_vision_tower"), data.get("vision_tower"), data.get("mm_audio_tower")]
    towers += [part.get("_name_or_path") for part in data.values() if isinstance(part, dict) and ("model_type" in part or "_name_or_path" in part)]
    found += [Trace(tower, "component", CONFIG, "config.json") for tower in map(repository_named, towers) if tower and "/" in tower]
    return found


def folder_of(path: str, body: bytes) -> tuple[str, str] | None:
    """(what a tool wrote as the place that it loaded from, where that is no repository's name; how it was used)."""
    key, relation = {"adapter_config.json": ("base_model_name_or_path", "adapter"), "config.json": ("_name_or_path", "unknown")}.get(path, ("", ""))
    data = _json(body) if key else None
    text = data.get(key) if isinstance(data, dict) else None
    if not isinstance(text, str) or not 0 < len(text) <= 300:
        return None
    name = repository_named(text)
    return None if name and "/" in name else (text, relation)


def of_merge(body: bytes, source: str = "mergekit_config.yml") -> list[Trace]:
    """A mergekit configuration: every model in it, in `models`, `slices`, `experts` or as `base_model`."""
    try:
        data = load_yaml(body.decode("utf-8", "replace"), source)
    except InputError:
        return []
    names = (repository_named(part) for text in _merged(data, 0) for part in text.split("+"))
    return [Trace(name, "merge", MERGE, source) for name in dict.fromkeys(names) if name and "/" in name][:MOST]


def _merged(value: Any, depth: int) -> Iterator[str]:
    if depth > _DEPTH:
        return
    if isinstance(value, list):
        for item in value:
            yield from _merged(item, depth + 1)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in ("model", "base_model", "source_model", "path", "lora") and isinstance(inner, str):
                yield inner
            elif key == "models" and isinstance(inner, list):
                yield from (item for item in inner if isinstance(item, str))
            if not isinstance(inner, str):
                yield from _merged(inner, depth + 1)


def _json(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError:
        return None


#: Files that are read in full wherever a page lists them, with their readers. The card is read by `prose.of_card`.
READERS: Final[Mapping[str, Callable[[bytes], list[Trace]]]] = {
    "adapter_config.json": of_adapter, "config.json": of_config, "mergekit_config.yml": of_merge, "mergekit_config.yaml": of_merge,
}  # fmt: skip
CARD: Final = "README.md"
