"""Names of organisations brought to the form in which they are compared: no case, accents, tricks or legal forms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from sys import intern
from typing import Final

from mirror.policy.letters import plain, romanised
from mirror.policy.name_words import CHINESE, COMMON, IDLE, NUMBERS, PLACES, SAME

#: Words compared one by one. The longest official names stay below; strangers' texts need not.
MAX_WORDS: Final = 24
#: Letters of a name that are read at all.
MAX_LENGTH: Final = 300


@dataclass(frozen=True, slots=True)
class Name:
    """A name ready to be compared.

    `tokens` without legal forms and idle words (`MAX_WORDS` of them), `solid` all of them without spaces, `whole` the same
    with idle words, `forms` the kinds of its legal forms (`JSC`, `LLC`, ...). A name that is nothing but such words keeps
    them. `native` is what stands in a script that Latin letters cannot give back, else empty. `bare` is `solid` of the
    text without what it has in brackets, empty where it has none. `others` are further names that the text holds: in
    brackets, on either side of a stroke or of `a.k.a.`; `asides` those in brackets that are one word, without spaces: an
    abbreviation or a product as often as a name.
    """

    tokens: tuple[str, ...]
    solid: str
    forms: frozenset[str]
    whole: str = ""
    native: str = ""
    bare: str = ""
    others: tuple[Name, ...] = ()
    asides: frozenset[str] = frozenset()


@lru_cache(maxsize=4096)
def parse(text: str) -> Name:
    """The name `text` means."""
    text = text[:MAX_LENGTH]
    name = _read(text)
    bare = _read(without).solid if (without := _without_brackets(text)) else ""
    bracketed = [_read(part) for part in _expressions()[1].findall(text)] if bare else []
    asides = frozenset(one.solid for one in bracketed if len(one.tokens) == 1 and _names(one))
    others = (*map(_read, _parts(text)), *(one for one in bracketed if len(one.tokens) > 1))
    held = tuple(dict.fromkeys(other for other in others if other.solid not in (name.solid, bare) and _names(other)))
    return Name(name.tokens, name.solid, name.forms, name.whole, name.native, bare, held, asides) if bare or held else name


def _names(name: Name) -> bool:
    """Whether a part of a name says enough to be a name: a place, a kind or three letters in brackets do not."""
    return any(map(_telling, name.tokens)) and (len(name.tokens) > 1 or len(name.solid) > 4 or bool(name.native))


def _telling(word: str) -> bool:
    return word not in COMMON and word not in PLACES


def _mended(words: list[str]) -> list[str]:
    """Words that everybody has, put together where a space tore them (`indu stries`), parted where one is missing."""
    if max(map(len, words), default=0) > _PARTED:
        words = [part for word in words for part in (_parted(word) if len(word) > _PARTED and word not in SAME else (word,))]
    return _joined(words)


@lru_cache(maxsize=4096)
def _parted(word: str) -> tuple[str, ...]:
    """A word from which words of legal forms are split off: `companylimited`, `starcompany`."""
    for part in _PARTING:
        if word != part and (word.startswith(part) or word.endswith(part)):
            head, tail = (part, word[len(part) :]) if word.startswith(part) else (word[: -len(part)], part)
            if len(head) > 2 and len(tail) > 2:
                return (*_parted(head), *_parted(tail))
    return (word,)


def _joined(words: list[str]) -> list[str]:
    known = _untorn()
    for at, (one, other) in enumerate(pairwise(words)):
        if one + other in known:
            return [*words[:at], one + other, *_joined(words[at + 2 :])]
    return words


@cache
def _untorn() -> frozenset[str]:
    """The longer words that everybody has."""
    return frozenset(word for word in (*SAME, *COMMON, *form_parts()) if len(word) >= _TORN)


#: Letters beyond which a word may be two, and what is then split off.
_PARTED: Final = 9
_PARTING: Final = ("limited", "company", "corporation", "liability", "incorporated")
#: Letters of a word that is looked for in two.
_TORN: Final = 7
_ARTICLES: Final = frozenset({"the", "of", "and", "for"})

#: Signs that one of the expressions below may have something to find: they are looked for first, for they are faster.
_HINTS: Final = ("aka", "a.k", "fka", "f.k", "nka", "n.k", "dba", "d.b", "d/b", "t/a", "known as", "formerly", "trading as", "business as")


@cache
def _expressions() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """What parts a name from another, what stands in brackets, a stroke between words. Compiled when first met."""
    alias = (
        r"(?:^|\s)[(\[]?(?:a\.?\s?k\.?\s?a\.?|f\.?\s?k\.?\s?a\.?|n\.?\s?k\.?\s?a\.?|d[./]?\s?b[./]?\s?a\.?|t/a|also known as"
        r"|formerly(?: known as)?|trading as|doing business as)[:\s]\s*"
    )
    return re.compile(alias, re.IGNORECASE), re.compile("[(\\[\uff08【]([^()\\[\\]\uff08\uff09【】]*)[)\\]\uff09】]"), re.compile(r"(?<=\w\w\w)\s*/\s*(?=\w\w\w)")


_OPENING: Final = "([\uff08【"


def _without_brackets(text: str) -> str:
    """`text` without what is in brackets; empty where nothing is, or nothing else."""
    if not any(map(text.__contains__, _OPENING)):
        return ""
    without: str = _expressions()[1].sub(" ", text).strip()
    return "" if without == text.strip() else without


def _parts(text: str) -> list[str]:
    """The texts within `text` that are names of their own."""
    found: list[str] = []
    lower = text.lower()
    if any(map(lower.__contains__, _HINTS)) and len(parts := _expressions()[0].split(text)) > 1:
        found += parts
    if "/" in text and not any(map(text.__contains__, _OPENING)) and len(parts := _expressions()[2].split(text)) > 1:
        found += parts
    return found


#: What export lists add to every name of an entry.
_SUCCESSORS: Final = " and any successor"


def _read(text: str) -> Name:
    """One reading of `text`, without others."""
    if _SUCCESSORS in text:
        text = text[: text.index(_SUCCESSORS)]
    last = text[text.rfind(" ") + 1 :]
    if not (last.isupper() or last.istitle() or last.islower()) and (found := _GLUED.search(last)):
        text = f"{text[: -len(found[0])]} {found[0]}"
    text = _unspaced(plain(text))
    if "united states" in text:
        text = text.replace("united states of america", "usa").replace("united states", "usa")
    words = text.split()
    kept, forms = _without_forms(_mended(words)) if len(words) > 1 else (list(_parted(text)) if len(text) > _PARTED else words, _NONE)
    whole, native = "".join(kept), ""
    if not whole.isascii():
        native = "".join(word for word in kept if not word.isascii())
        kept = [part for word in kept for part in _latin_words(word)]
        whole = "".join(kept)
    kept = _numbers([SAME.get(word, word) for word in kept])
    tokens = tuple([intern(word) for word in kept if word not in IDLE]) or tuple(kept) or tuple(words)
    if len(tokens) < len(kept) and not any(map(_telling, tokens)):
        tokens = tuple(word for word in kept if word not in _ARTICLES) or tokens
    return Name(tokens[:MAX_WORDS], "".join(tokens), forms, whole or "".join(words), native)


_NONE: Final[frozenset[str]] = frozenset()
#: A legal form written onto the name: `SiemensAG`.
_GLUED: Final = re.compile(r"(?<=[a-z]{2})(AG|SA|SE|NV|BV|AB|AS|GmbH|LLC|LLP|Ltd|LTD|Inc|INC|PLC|Plc|JSC|OOO|OAO|PJSC|SpA|SRL|Corp)$")


def _latin_words(word: str) -> list[str]:
    """A word of another script in Latin letters; what Chinese ones mean, lists translate."""
    if word.isascii():
        return [word]
    found, rest, at = list[str](), "", 0
    while at < len(word):
        for length in (4, 3, 2, 1):
            meaning = CHINESE.get(word[at : at + length]) if at + length <= len(word) else None
            if meaning is not None:
                found += [rest] if rest else []
                found += meaning.split()
                rest, at = "", at + length
                break
        else:
            rest, at = rest + word[at], at + 1
    return [romanised(part) for part in (*found, *([rest] if rest else ()))] or [romanised(word)]


def _unspaced(text: str) -> str:
    """Chinese, Japanese and Korean forms split off the word that they end (or, in Japanese, begin)."""
    if text.isascii():
        return text
    for form in _forms_unspaced():
        if text.endswith(form) and text != form:
            return f"{_unspaced(text.removesuffix(form).rstrip())} {form}"
        if len(form) > 2 and text.startswith(form) and text != form:
            return f"{form} {text.removeprefix(form)}"
    return text


_ROMAN: Final = {"v": "5", "x": "10"}
_ORDINAL: Final = re.compile(r"(\d+)(?:st|nd|rd|th)")


def _numbers(words: list[str]) -> list[str]:
    """Number words as digits: `forty four` and `44`, `1st` and `first`, `Fund V` and `Fund 5`."""
    if len(words) > 2 and words[-1] in _ROMAN:
        words = [*words[:-1], _ROMAN[words[-1]]]
    result: list[str] = []
    for word in words:
        digits = NUMBERS.get(word, word)
        if digits[:1].isdigit():
            if found := _ORDINAL.fullmatch(digits):
                digits = found[1]
            last = result[-1] if result else ""
            if len(digits) == 1 and len(last) == 2 and last.isdigit() and last[1] == "0":
                result[-1] = last[0] + digits
                continue
        result.append(digits)
    return result


# --- legal forms --------------------------------------------------------------------------------------------------


def _without_forms(words: list[str]) -> tuple[list[str], frozenset[str]]:
    """Legal forms taken off both ends, longest first, and the unmistakable ones within, as long as something stays."""
    kinds: set[str] = set()
    rest = list(words)
    while (cut := _form_at_end(rest)) or (cut := _form_at_start(rest)):
        rest, kind = cut
        kinds.add(kind)
    if len(rest) > 2 and not _ANYWHERE.isdisjoint(rest[1:]):
        kinds.update(_forms().get(word, "LLC") for word in rest[1:] if word in _ANYWHERE)
        rest = [rest[0], *(word for word in rest[1:] if word not in _ANYWHERE)]
    return rest, frozenset(kinds)


def _form_at_end(words: list[str]) -> tuple[list[str], str] | None:
    if len(words) < 2:
        return None
    forms = _forms()
    if words[-1] in _form_words():
        for count in range(min(_LONGEST, len(words) - 1), 0, -1):
            form = " ".join(words[-count:])
            kind = forms.get(form)
            if kind and form not in _NEVER_LAST:
                longer = _misspelt(words, forms) if count < 3 else None  # `joynt stock company` is more than a company
                return longer if longer and len(longer[0]) < len(words) - count else (words[:-count], kind)
    return _misspelt(words, forms)


def _misspelt(words: list[str], forms: dict[str, str]) -> tuple[list[str], str] | None:
    """A form at the end with one letter wrong in one of its words: `joynt stock company`, `aktiengeselschaft`."""
    known = _form_words()
    for back in range(1, min(4, len(words) - 1) + 1):
        word = words[-back]
        if word in known or len(word) < _MENDED_AMONG - 1:
            continue
        for meant in _slips(word):
            for count in range(min(_LONGEST, len(words) - 1), back - 1, -1):
                form = " ".join((*words[-count : len(words) - back], meant, *words[len(words) - back + 1 :]))
                if form in forms and (count > 2 or len(form) >= _MENDED_ALONE):
                    return words[:-count], forms[form]
        break
    return None


@lru_cache(maxsize=4096)
def _slips(word: str) -> frozenset[str]:
    """Words of legal forms from which `word` differs by a letter too many, too few, wrong or in the wrong place."""
    table = _form_slips()
    return frozenset(meant for key in (word, *_shorter(word)) for meant in table.get(key, ()))


def _shorter(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at in range(len(word))]


def _form_at_start(words: list[str]) -> tuple[list[str], str] | None:
    if len(words) < 2 or words[0] not in _form_words():
        return None
    forms = _forms()
    for count in range(min(_LONGEST, len(words) - 1), 0, -1):
        form = " ".join(words[:count])
        # Before the name, two letters are more often an initialism than a form, but for those that usually stand there.
        if form in forms and (len(form) > 2 or form in _LEADING):
            return words[count:], forms[form]
    return None


# Made when the first name is read: most commands read none.


@cache
def _forms() -> dict[str, str]:
    from mirror.policy.legal_forms import FORMS

    found: dict[str, str] = {}
    for form, kind in FORMS.items():
        found.setdefault(plain(form), kind)
    return found


@cache
def _form_words() -> frozenset[str]:
    return frozenset(word for form in _forms() for word in form.split())


@cache
def form_parts() -> frozenset[str]:
    """Words that are legal forms, or parts of one and hardly anything else: out of their place they still say little."""
    return frozenset(word for word in _forms() if " " not in word) | frozenset(
        "joint stock liability limited company open closed public private cv rl s otvetstvennostyu ogranichennoy obshchestvo aktsionernoe "
        "gesellschaft sociedad anonima societe haftung beschrankter".split()
    )


@cache
def _form_slips() -> dict[str, tuple[str, ...]]:
    slips: dict[str, tuple[str, ...]] = {}
    for word in _form_words():
        if len(word) >= _MENDED_AMONG and word.isascii():
            for key in (word, *_shorter(word)):
                slips[key] = (*slips.get(key, ()), word)
    return slips


@cache
def _forms_unspaced() -> tuple[str, ...]:
    """Forms written without a space before them in Chinese, Japanese and Korean, longest first."""
    return tuple(sorted((form for form in _forms() if ord(form[0]) > 0x2E80 or 0x1100 <= ord(form[0]) < 0x1200), key=len, reverse=True))


_LONGEST: Final = 7
#: Letters that a misspelt word of a form has at least: within a form of three words, and of a form as a whole.
_MENDED_AMONG: Final = 5
_MENDED_ALONE: Final = 7
_LEADING: Final = frozenset({"ao", "ab", "pt", "as", "oy", "sc", "ip", "cv"})
#: Forms that at the end of a name are more often a numeral, a word or a place.
_NEVER_LAST: Final = frozenset({"ii", "in", "im", "is", "at", "pr", "pe", "pp", "ps", "et", "ei", "da", "va", "al"})
#: Forms that are nothing else, wherever they stand: `Acme Ltd (Hong Kong)`.
_ANYWHERE: Final = frozenset(
    "ltd limited llc llp gmbh inc incorporated plc jsc ojsc pjsc cjsc ooo oao zao pao pte pty pvt sarl srl spa bvba fzco fze "
    "bhd sdn ltda kft zrt doo sro".split()
)
