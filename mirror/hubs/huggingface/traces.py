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
_MOST: Final = 64
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
    towers += [part.get("_name_or_path") for key, part in data.items() if key.endswith("_config") and isinstance(part, dict)]
    found += [Trace(tower, "component", CONFIG, "config.json") for tower in map(repository_named, towers) if tower and "/" in tower]
    return found


def of_merge(body: bytes, source: str = "mergekit_config.yml") -> list[Trace]:
    """A mergekit configuration: every model in it, in `models`, `slices`, `experts` or as `base_model`."""
    try:
        data = load_yaml(body.decode("utf-8", "replace"), source)
    except InputError:
        return []
    names = (repository_named(part) for text in _merged(data, 0) for part in text.split("+"))
    return [Trace(name, "merge", MERGE, source) for name in dict.fromkeys(names) if name and "/" in name][:_MOST]


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


# --- the card's prose ------------------------------------------------------------------------------------------------

_FRONT: Final = re.compile(r"\A---\s*\n.*?\n---\s*(?:\n|\Z)", re.DOTALL)
_LINK: Final = r"(?:\[[^\]\n]{0,200}\]\(\s*(?P<link>https?://(?:huggingface\.co|hf\.co)/[^)\s]+)\s*\)|`?(?P<bare>(?:https?://(?:huggingface\.co|hf\.co)/)?[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,95}\w)`?)"
_VERBS: Final = (
    (r"(?:further |continually |instruction[- ])?(?:pre-?|post-?)?(?:fine-?tuned|tuned|trained)(?: version| variant| checkpoint)? (?:from|of|on top of|using|based on)", "finetune"),
    (r"(?:fine-?tune|finetuning|fine-tuning) of", "finetune"),
    (r"(?:quanti[sz]ed|GGUF|AWQ|GPTQ|EXL2|MLX|FP8|INT4|INT8|\d-bit)(?: (?:quanti[sz]ed|format|model|weights|files|version|quanti[sz]ations?|conversion)){0,3} (?:from|of|for)", "quantized"),
    (r"(?:quanti[sz]ation|conversion)s? of", "quantized"),
    (r"(?:LoRA |QLoRA |PEFT )?adapters? (?:for|of|on top of)", "adapter"),
    (r"distill?ed (?:version )?(?:from|of)", "distill"),
    (r"distillation of", "distill"),
    (r"merge of", "merge"),
    (r"(?:initiali[sz]ed|derived|adapted|converted) from", "unknown"),
)  # fmt: skip
#: What may stand between the verb and the name: an article, a few words, an opening bracket, never the end of a sentence.
_GAP: Final = r"\s+(?:the\s+)?(?:(?:base|original|instruct|pre-?trained|foundation|open-source|model|models|checkpoint|weights|of|Meta's|version)\s+){0,4}"
_SUBJECT: Final = r"(?:this(?: (?:model|repo|repository|checkpoint|adapter|version|quant)(?: card)?)?|it|we|model|the model|these (?:files|weights|models))"
_SENTENCES: Final = (
    *((re.compile(rf"(?:{_SUBJECT}\s+(?:(?:is|was|are|were|has been|contains?|provides?|holds?|an?|the|our|also)\s+){{0,3}})?(?:an?\s+|the\s+)?{verb}{_GAP}{_LINK}", re.IGNORECASE), relation)
    for verb, relation in _VERBS),
    (re.compile(rf"base[ _]models?[\s:*_|]{{1,12}}{_LINK}", re.IGNORECASE), "unknown"),
)  # fmt: skip
_PARTS: Final = re.compile(
    rf"\b(?:vision|image|visual|audio|speech) (?:tower|encoder|backbone)[\s:*_|is=]{{1,12}}(?:the\s+|initiali[sz]ed from\s+|from\s+)?{_LINK}"
    rf"|draft(?:er)? model[\s:*_|is=for]{{1,12}}(?:the\s+)?{_LINK.replace('link', 'link2').replace('bare', 'bare2')}",
    re.IGNORECASE,
)
_NOT: Final = re.compile(r"\b(?:not|no|nor|without|never|neither|unlike|instead of|rather than|compared|comparison|vs)\b", re.IGNORECASE)
#: A sentence ends at its punctuation or at the end of a line; it may begin with marks of Markdown.
_BREAK: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_MARKS: Final = "-*>#_ \t|"
_SENTENCE: Final = 1_000
_READ: Final = 200_000


def of_card(body: bytes, *, parents: bool) -> list[Trace]:
    """A README's text: merges it spells out, parts that it names (a draft model, a tower), and, with `parents`, what it says of itself.

    Only a sentence whose subject is this model counts, and none that denies or compares. The YAML above the text is the hub's to read.
    """
    text = _FRONT.sub("", body[:_READ].decode("utf-8", "replace"))
    outside, inside = text.split("```")[::2], text.split("```")[1::2]
    blocks = [block.partition("\n")[2] for block in inside if block.lower().startswith(("yaml", "yml")) and "merge_method" in block]
    found = [one for block in blocks[:4] for one in of_merge(block.encode(), "card")]
    prose = "\n".join(outside)
    said = [one for one in map(str.strip, _BREAK.split(prose)) if "/" in one and len(one) < _SENTENCE and not _NOT.search(one.partition("/")[0])]
    for sentence in said:
        parts = (repository_named(next(filter(None, match.groups()), None)) for match in _PARTS.finditer(sentence))
        found += [Trace(name, "component", PROSE, "card") for name in parts if name]
    if parents and not any(one.relation != "component" for one in found):
        for sentence in said:
            for pattern, relation in _SENTENCES:
                begun = pattern.match(sentence.lstrip(_MARKS))
                if begun is not None and (name := repository_named(begun["link"] or begun["bare"])) and "/" in name:
                    found.append(Trace(name, relation, PROSE, "card"))
    return _distinct(found)


def _distinct(found: list[Trace]) -> list[Trace]:
    best: dict[str, Trace] = {}
    for one in found:
        best.setdefault(one.name.casefold(), one)
    return list(best.values())[:_MOST]


def _json(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError:
        return None


#: Files that are read in full wherever a page lists them, with their readers. The card is read by `of_card`.
READERS: Final[Mapping[str, Callable[[bytes], list[Trace]]]] = {
    "adapter_config.json": of_adapter, "config.json": of_config, "mergekit_config.yml": of_merge, "mergekit_config.yaml": of_merge,
}  # fmt: skip
CARD: Final = "README.md"
