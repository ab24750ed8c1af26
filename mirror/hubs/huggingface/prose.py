"""What a card's text says that a model was made from: its sentences, labels, headings, merges and commands. Pure.

Cards are written by people and by the tools that publish models, and most tools have one sentence that they always write. Only what is
said of this very model counts: a statement must begin with it, or be nothing but a label and a name. A text that denies or
compares is passed over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mirror.hubs.huggingface.traces import MOST, PROSE, Trace, of_merge, repository_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_FRONT: Final = re.compile(r"\A---\s*\n.*?\n---\s*(?:\n|\Z)", re.DOTALL)
_READ: Final = 200_000
_STATEMENT: Final = 1_000

# --- names -----------------------------------------------------------------------------------------------------------

_SITE: Final = r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/"
#: A link to the hub, whatever its text; a name in code, also as the text of a link that leads nowhere; an address; or two words with
#: a slash of which the second looks like a model's name: "Jax/Flax" does not.
_NAME: Final = (
    rf"(?:\*{{0,3}}\[[^\]\n]{{0,200}}\]\(\s*(?P<link>{_SITE}[^)\s]+)\s*\)"
    r"|\[?`(?P<code>[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96})`\]?(?:\(\))?"
    rf"|(?P<site>{_SITE}[^\s)\]>\"'|,]+)"
    r"|(?P<bare>[A-Za-z0-9][\w.-]{0,95}/(?=[\w.-]{0,95}[\d_.-])[\w.-]{1,95}\w))"
)
#: Pages of the site that stand where a repository with a short name would.
_PAGES: Final = frozenset(
    "models datasets spaces docs blog papers collections tasks learn posts pricing join login settings new chat organizations support enterprise".split()
)


def _named(match: re.Match[str] | None) -> str | None:
    """The repository that a match of `_NAME` means. A single word is one only behind a link."""
    if match is None:
        return None
    linked = match["link"] or match["site"]
    name = repository_named((linked or match["code"] or match["bare"]).rstrip(".,;:*_`"))
    if name is None or ("/" not in name and (not linked or name.casefold() in _PAGES)):
        return None
    return name


# --- what is said before a name --------------------------------------------------------------------------------------

_TUNED: Final = r"(?:(?:further|continually|continuously|instruction|supervised|full)[- ])?(?:pre-?|post-?)?(?:fine-?tuned|tuned|trained)"
_FORMATS: Final = (
    r"(?:quanti[sz]ed|quants?|quanti[sz]ations?|conversions?|GGUF|GGML|AWQ|GPTQ|EXL[23]|Exllamav?2|MLX|FP8|NVFP4|W\dA\d+|INT[48]|[\d.]+[- ]?(?:bit|bpw)"
    r"|imatrix|static|weighted|ONNX|OpenVINO|CTranslate2|Core ?ML|llamafile|abliterated|uncensored)"
)
_LORA: Final = r"(?:(?:BF16|FP16|FP32|\d-bit|rank[- ]\d+|PEFT|text2image|DreamBooth) )*(?:Q?LoRA|DoRA|PEFT|IA3)"
_VERBS: Final = (
    (rf"{_TUNED}(?:,? (?:version|variant|checkpoint|model|derivative))? (?:from|of|on top of|based on)", "finetune"),
    (r"(?:fine-?tune|fine-?tuning|finetuning|instruct(?:ion)? tune) of", "finetune"),
    (r"(?:(?:conducted|performed|applied) )?(?:continu\w+ )?(?:pre-?train(?:ing|ed)|fine-?tun(?:ing|ed)|train(?:ing|ed))(?: [\w-]+){0,4} on (?:top of )?the(?: [\w-]+){0,3} model,?", "finetune"),
    (rf"{_FORMATS}(?:,? (?:and |or )?(?:{_FORMATS}|format|model|weights|files|version|variant|quant)){{0,5}} (?:from|of|for)", "quantized"),
    (r"(?:quanti[sz]ation|conversion|port|export)s? of", "quantized"),
    (r"(?:obtained|produced|created|made) by (?:quanti[sz]ing|converting|abliterating)(?: the)?(?: weights(?: and activations)?)?(?: of)?", "quantized"),
    (r"(?:converted|quanti[sz]ed|exported) (?:in)?to (?:the )?[\w .+-]{1,30}(?:format|weights)? (?:from|using)", "quantized"),
    (rf"{_LORA} (?:adapters?|adapt(?:at)?ion weights|adapter weights|weights|model|fine-?tune) (?:for|of|on top of|trained on)", "adapter"),
    (r"adapters? (?:for|of|on top of)", "adapter"),
    (r"(?:controlnet|t2i-?adapter) weights trained on", "adapter"),
    (r"distill?ed (?:version |variant )?(?:from|of)", "distill"),
    (r"distillation of", "distill"),
    (r"merge of", "merge"),
    (r"(?:initiali[sz]ed|derived|adapted|converted|forked|copied|pruned|compressed) from", "unknown"),
    (r"(?:based|built)(?: on top of| upon| on)", "unknown"),
)  # fmt: skip
#: What may stand between the verb and the name: an article, a few words, an opening bracket, never the end of a sentence.
_GAP: Final = r"\s+(?:the\s+)?(?:(?:base|original|instruct|pre-?trained|foundation|open-source|model|models|checkpoint|weights|of|Meta's|version|excellent)\s+){0,4}"
_SUBJECT: Final = (
    r"(?:this(?: (?:is|(?:fine-?tuned )?model|repo|repository|checkpoint|adapter|version|quant)(?: card)?)?|it(?:'s)?|we|i|model|the model|these(?: (?:files|weights|models))?)"
)
_WORDS: Final = r"(?:(?!(?:to|than|of|for|with|from|against|like|over|no|not)\b)[\w-]+\s+){0,4}"
_COPULA: Final = r"(?:(?:is|was|are|were|has been|have been|contains?|provides?|hosts?|holds?|an?|the|our|also|simply)\s+){1,3}"
_KIND: Final = rf"(?:{_WORDS}(?:model|version|variant|checkpoint|adapter|LLM)s?,?\s+(?:(?:that|which)\s+)?(?:(?:is|was|has been)\s+)?)?"
_OF_ITSELF: Final = r"(?:(?:(?:the|this) (?:model|repository|repo|adapter)\s+(?:(?:contains|hosts|provides)\s+)?)?(?P<own>[^\s,]{2,200}),?\s+)"
_VERB: Final = "|".join(f"(?P<verb{number}>{verb})" for number, (verb, _) in enumerate(_VERBS))
#: Without a subject or with "this model", and with the model's own name, which whoever reads must look at.
_SENTENCES: Final = tuple(
    re.compile(rf"{begun}(?:an?\s+|the\s+)?(?:{_VERB}){_GAP}{_NAME}", re.IGNORECASE)
    for begun in (rf"(?P<own>)(?:{_SUBJECT}\s+(?:{_COPULA}{_KIND})?)?", rf"{_OF_ITSELF}(?:{_COPULA}{_KIND})?")
)
_OTHERS: Final = (
    (re.compile(rf"{_NAME}\s+with\s+ONNX\s+weights", re.IGNORECASE), "quantized"),
    (re.compile(rf"(?:we|i)\s+(?:\w+ly\s+|have\s+)?(?:fine-?tuned?|trained?)\s+(?:the\s+)?{_NAME}\s+(?:base\s+)?(?:model|checkpoint)", re.IGNORECASE), "finetune"),
    (re.compile(rf"(?:{_SUBJECT}\s+)?(?:was\s+|is\s+)?(?:{_TUNED}\s+)?us(?:es|ing|ed)\s+(?:the\s+)?{_NAME}\s+as\s+(?:the|its|a|our)\s+(?:base|starting|initial|backbone)", re.IGNORECASE), "finetune"),
)  # fmt: skip
#: Other scripts put the name in the middle: "on the basis of", "tuned", in Chinese, Japanese and Korean.
_ANYWHERE: Final = tuple(
    re.compile(text)
    for text in (
        rf"对\s*{_NAME}\s*(?:模型)?\s*进行[^。]{{0,20}}(?:微调|训练|量化)", rf"基于\s*{_NAME}[^。]{{0,16}}(?:微调|训练|量化|蒸馏)", rf"在\s*{_NAME}\s*的?基础上",
        rf"{_NAME}\s*を(?:ベース|元|もと)に", rf"{_NAME}\s*(?:을|를)\s*(?:기반|베이스|파인\s?튜닝)",
    )
)  # fmt: skip
_LABEL: Final = r"(?:(?:base|parent|original|source|foundation|starting)[ _-]?models?(?: used)?|fine-?tuned from(?: the)?(?: model)?)(?:\s*[\[(]optional[\])])?"
_LABELLED: Final = re.compile(rf"{_LABEL}[\s:\uff1a*_|=-]{{1,12}}{_NAME}", re.IGNORECASE)
_HEADING: Final = re.compile(rf"#+\s*[^\w\[`]*{_LABEL}\s*:?\**\s*", re.IGNORECASE)
_ONWARD: Final = re.compile(rf"(?:\s*(?:,|and|&|\+|/)\s*)+{_NAME}", re.IGNORECASE)
_MERGED: Final = re.compile(r"\bmerge of the following\b|\bfollowing models were (?:included|used|merged)\b", re.IGNORECASE)
_ONE: Final = re.compile(_NAME)
_PARTS: Final = re.compile(
    rf"\b(?:(?:vision|image|visual|audio|speech) (?:tower|encoder|backbone|model(?=[*_\s]*:))|draft(?:er)? model)[\s:*_|is=for]{{1,12}}(?:the\s+|initiali[sz]ed from\s+|from\s+)?{_NAME}",
    re.IGNORECASE,
)
_NOT: Final = re.compile(r"\b(?:not|no|nor|without|never|neither|unlike|instead of|rather than|compared|comparison|vs)\b", re.IGNORECASE)
#: A statement ends at its punctuation; it may begin with marks of Markdown.
_BREAK: Final = re.compile(r"(?<=[.!?。])\s+|(?<=。)")
_MARKS: Final = "-*>#_ \t|"
#: Where a line begins something new. Other lines go on with the paragraph: cards are often wrapped.
_FRESH: Final = re.compile(r"\s*(?:[-*+]\s|\d+[.)]\s|#|\||>|!\[|<)")
_MADE_SO: Final = re.compile(r"\b(?:was|were|been)\s+(?:converted|quanti[sz]ed|exported|produced|created|generated)\b|^(?:produced|made|created|converted|quanti[sz]ed|exported|generated)\s+(?:using|with|by)\b", re.IGNORECASE)
_COMMAND: Final = re.compile(r"(?:quanti[sz]|convert|export).*?\s--model(?:[-_](?:id|name|path|name_or_path))?[= ]+[\"']?(?P<name>[\w.-]+/[\w.-]+)[\"']?(?=.*\s--(?:save|out))", re.IGNORECASE)


def of_card(body: bytes, *, parents: bool, own: str = "") -> list[Trace]:
    """A README's text: merges it spells out, parts that it names (a draft model, a tower), and, with `parents`, what it says of itself.

    `own` is the repository's name, by which a sentence may call it. The YAML above the text is the hub's to read.
    """
    text = _without_comments(_FRONT.sub("", body[:_READ].decode("utf-8", "replace")))
    outside, inside = text.split("```")[::2], text.split("```")[1::2]
    written = [block.partition("\n")[2] for block in inside if block.lower().startswith(("yaml", "yml")) and "merge_method" in block]
    found = [one for block in written[:4] for one in of_merge(block.encode(), "card")]
    blocks = list(_blocks("\n\n".join(outside)))
    said = [one for block in blocks for one in map(str.strip, _BREAK.split(block)) if _worth(one)]
    found += [Trace(name, "component", PROSE, "card") for one in said for match in _PARTS.finditer(one) if (name := _named(match)) and "/" in name]
    if parents and not any(one.relation != "component" for one in found):
        found += [*_stated(blocks, said, own), *_commands(outside, inside)]
    return _distinct(found)


def of_folders(card: bytes, folders: Iterable[tuple[str, str]]) -> list[Trace]:
    """Parents that a tool knew as a folder only, where the card names exactly one repository whose last part is that folder's.

    `folders` are (what the file says, relation). A folder called like a step of training means nothing.
    """
    text = _FRONT.sub("", card[:_READ].decode("utf-8", "replace"))
    named = {name.casefold(): name for match in _ONE.finditer(text) if (name := _named(match)) and "/" in name}
    quoted = re.finditer(r"[\"'](?P<name>[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96})[\"']", text)
    named |= {name.casefold(): name for match in quoted if (name := repository_named(match["name"]))}
    found = []
    for folder, relation in folders:
        last = re.split(r"[/\\]", folder.rstrip("/\\"))[-1].casefold()
        alike = [name for folded, name in named.items() if folded.partition("/")[2] == last]
        if len(alike) == 1 and re.search(r"\d", last) and not last.startswith(("checkpoint", "epoch", "step", "output")):
            found.append(Trace(alike[0], relation, PROSE, "card"))
    return _distinct(found)


def _without_comments(text: str) -> str:
    first, *others = text.split("<!--")
    return first + "".join(one.partition("-->")[2] for one in others)


def _worth(statement: str) -> bool:
    """Whether a statement names something, and does not deny or compare before it does."""
    return "/" in statement and len(statement) < _STATEMENT and _ONE.search(statement) is not None and not _NOT.search(statement.partition("/")[0])


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs, headings, items and rows, each as one line."""
    gathered: list[str] = []
    for line in text.splitlines():
        if gathered and (not line.strip() or _FRESH.match(line) or gathered[-1].lstrip().startswith(("#", "|"))):
            yield " ".join(gathered)
            gathered = []
        if line.strip():
            gathered.append(line.strip())
    if gathered:
        yield " ".join(gathered)


def _stated(blocks: Sequence[str], said: Sequence[str], own: str) -> list[Trace]:
    found: list[tuple[str | None, str]] = []
    for statement in said:
        begun = statement.lstrip(_MARKS)
        if (label := _LABELLED.match(begun)) is not None:
            found.append((_named(label), "unknown"))
            found += [(name, "unknown") for name in _onward(begun, label.end())]
        for pattern in _SENTENCES:
            match = pattern.match(begun)
            if match is not None and (not match["own"] or _is_itself(match["own"], own)):
                found.append((_named(match), next(relation for number, (_, relation) in enumerate(_VERBS) if match[f"verb{number}"])))
                break
        found += [(_named(match), relation) for pattern, relation in _OTHERS if (match := pattern.match(begun))]
        found += [(_named(match), "finetune") for pattern in _ANYWHERE if (match := pattern.search(statement))]
    found += _under_headings(blocks)
    return [Trace(name, relation, PROSE, "card") for name, relation in found if name]


def _onward(text: str, at: int) -> Iterator[str]:
    """Further names in a row: "A and B"."""
    while (match := _ONWARD.match(text, at)) is not None:
        at = match.end()
        if name := _named(match):
            yield name


def _under_headings(blocks: Sequence[str]) -> list[tuple[str | None, str]]:
    """The name under a heading "Base model", and the list under a sentence that announces what was merged."""
    found: list[tuple[str | None, str]] = []
    for at, block in enumerate(blocks[:-1]):
        if _HEADING.fullmatch(block):
            found.append((_named(_ONE.match(blocks[at + 1].lstrip(_MARKS))), "unknown"))
        elif _MERGED.search(block) and not block.startswith(("-", "*", "+")):
            for item in blocks[at + 1 :]:
                if not item.startswith(("- ", "* ", "+ ")):
                    break
                found.append((_named(_ONE.match(item.lstrip(_MARKS))), "merge"))
    return found


def _commands(outside: Sequence[str], inside: Sequence[str]) -> Iterator[Trace]:
    """Commands of which the text says that the files were made by them."""
    for before, block in zip(outside, inside, strict=False):
        said = next((line for line in reversed(before.splitlines()) if line.strip()), "")
        if _MADE_SO.search(said.strip()) and (match := _COMMAND.search(block.replace("\\\n", " "))) and (name := repository_named(match["name"])):
            yield Trace(name, "quantized", PROSE, "card")


def _is_itself(text: str, own: str) -> bool:
    """Whether a sentence's first word is the model's own name, alone or with its owner, linked or not."""
    linked = re.match(r"\**\[([^\]]+)\]", text)
    said, name = (_plain(linked[1] if linked else text)), own.casefold()
    return bool(said) and said in (_plain(name), _plain(name.partition("/")[2]))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9/]", "", text.casefold())


def _distinct(found: list[Trace]) -> list[Trace]:
    best: dict[str, Trace] = {}
    for one in found:
        best.setdefault(one.name.casefold(), one)
    return list(best.values())[:MOST]
