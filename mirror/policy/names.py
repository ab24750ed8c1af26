"""Names of organisations brought to the form in which they are compared: no case, accents, tricks or legal forms."""

from __future__ import annotations

import re
from functools import cache, lru_cache, reduce
from itertools import filterfalse
from operator import or_
from sys import intern
from typing import Final, NamedTuple

from mirror.policy.form_ends import (
    ASIDE,
    FORM,
    FORMAL,
    IDLER,
    LETTER,
    MARKS,
    MEANING,
    MEANT,
    NUMBER,
    TORN,
    forms_unspaced,
    mended,
    without_forms,
)
from mirror.policy.letters import initials_joined, plain_words, romanised
from mirror.policy.name_words import CHINESE, COMMON, IDLE, NUMBERS, PLACES, SAME

#: Words compared one by one. The longest official names stay below; strangers' texts need not.
MAX_WORDS: Final = 24
#: Letters of a name that are read at all.
MAX_LENGTH: Final = 300


class Name(NamedTuple):  # made four times as fast as a frozen dataclass, and of every name that is read
    """A name ready to be compared.

    `tokens` without legal forms and idle words (`MAX_WORDS` of them), `solid` all of them without spaces, `whole` the same
    with idle words, `forms` the kinds of its legal forms (`JSC`, `LLC`, ...; `PERSON` where brackets say so).
    A name that is nothing but such words keeps them. `native` is what stands in a script that Latin letters cannot give back,
    else empty. `bare` is `solid` of the text without what it has in brackets, empty where it has none. `others` are further
    names that the text holds: in brackets, on either side of a stroke or of `a.k.a.`; `asides` those in brackets that are one word, without spaces: an
    abbreviation or a product as often as a name. `formal` are the words of its legal forms: what is left over of another
    name may be one of them, misspelt or cut short.
    """

    tokens: tuple[str, ...]
    solid: str
    forms: frozenset[str]
    whole: str = ""
    native: str = ""
    bare: str = ""
    others: tuple[Name, ...] = ()
    asides: frozenset[str] = frozenset()
    formal: tuple[str, ...] = ()


@lru_cache(maxsize=4096)
def parse(text: str) -> Name:
    """The name `text` means."""
    text = text[:MAX_LENGTH]
    if "(" in text or "[" in text or not text.isascii():
        return _with_brackets(text)
    name, called_for = _read(text)
    return _with_others(name, called_for, text, [text]) if "/" in text or called_for & ASIDE else name


def parse_to_keep(text: str) -> Name:
    """As `parse`, for a name among thousands that stay: its words are shared with theirs, and nothing else remembers it."""
    name: Name = parse.__wrapped__(text)
    return name._replace(tokens=tuple(map(intern, name.tokens)))


def _with_brackets(text: str) -> Name:
    """The name of a text that may have brackets: what they say about a name is no part of it."""
    outside_and_in = _expressions()[1].split(text) if any(map(text.__contains__, _OPENING)) else [text]
    without, person = " ".join(outside_and_in[::2]), False
    if any(_describes(part, without) for part in outside_and_in[1::2]):
        kept = [part if at % 2 == 0 else " " if _describes(part, without) else f"({part})" for at, part in enumerate(outside_and_in)]
        if _read("".join(kept))[0].solid:
            person = any(map(_of_a_person, outside_and_in[1::2]))
            text = "".join(kept)
            outside_and_in = _expressions()[1].split(text)
    name, called_for = _read(text)
    found = _with_others(name, called_for, text, outside_and_in)
    return found._replace(forms=found.forms | {PERSON}) if person else found


def _with_others(name: Name, called_for: int, text: str, outside_and_in: list[str]) -> Name:
    """`name` with what `text` holds beside it: on either side of a stroke or of `a.k.a.`, and in brackets (every second of `outside_and_in`)."""
    parts = _parts(text) if "/" in text or called_for & ASIDE or _SUCCESSORS in text else _NO_PARTS
    bare, bracketed = "", list[Name]()
    if len(outside_and_in) > 1 and (without := " ".join(outside_and_in[::2]).strip()):
        bare = _read(without)[0].solid
        bracketed = [*map(_part, outside_and_in[1::2])] if bare else []
    asides = frozenset(one.solid for one in bracketed if len(one.tokens) == 1 and _names(one))
    others = (*map(_part, parts), *(one for one in bracketed if len(one.tokens) > 1))
    held = tuple(dict.fromkeys(other for other in others if other.solid not in (name.solid, bare) and _names(other)))
    return name._replace(bare=bare, others=held, asides=asides) if bare or held else name


_NO_PARTS: Final[list[str]] = []


def _describes(part: str, without: str) -> bool:
    """Whether what stands in brackets says something about a name and is none: small letters behind capitals, or a person's account."""
    return (" " in part and part.islower() and not without.islower()) or _of_a_person(part)


@lru_cache(maxsize=1024)
def _of_a_person(part: str) -> bool:
    """Whether what stands in brackets says that the name is a person's: `(individual account)`."""
    words = set(plain_words(part))
    return not words.isdisjoint(_PERSONS) and words <= _PERSONS | _ACCOUNTS


#: Among the legal forms of a name: that it is a person's, who has none.
PERSON: Final = "PERSON"
_PERSONS: Final = frozenset({"individual", "individuals", "person", "personal"})
_ACCOUNTS: Final = frozenset({"account", "user", "handle", "profile", "page", "developer", "maintainer", "author", "a", "an", "natural", "private"})


@lru_cache(maxsize=1024)
def _part(text: str) -> Name:
    """What stands in brackets or beside a stroke: places and kinds, again and again."""
    return _read(text)[0]


def _names(name: Name) -> bool:
    """Whether a part of a name says enough to be a name: a place, a kind or three letters in brackets do not."""
    return not _SHARED.issuperset(name.tokens) and (len(name.tokens) > 1 or len(name.solid) > 4 or bool(name.native))


#: Words that say nothing of their own.
_SHARED: Final = COMMON | PLACES
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


def _read(text: str) -> tuple[Name, int]:
    """One reading of `text`, without others, and what its words call for: most call for little, and are read in a few steps."""
    if _SUCCESSORS in text:
        text = text[: text.index(_SUCCESSORS)]
    words = plain_words(text)
    called_for = last = 0
    for word in words:
        last = MARKS[word]
        called_for |= last
    if words and not last & FORM and (form := _glued(text)):
        words = plain_words(f"{text[: -len(form)]} {form}")
        called_for = _all_marks(words, 0)
    ascii_only = text.isascii()
    if called_for & TORN or not ascii_only:
        words = _put_right(words, called_for, ascii_only)
        called_for = _all_marks(words, called_for)
    kept, forms, formal = without_forms(words, called_for) if called_for & FORMAL else (words, _NONE, ())
    if called_for & MEANING or not ascii_only or not 0 < len(kept) <= MAX_WORDS:
        tokens, solid, whole, native = _meant(words, kept, called_for)
        return _NEW(Name, (tokens, solid, forms, whole, native, "", (), _NONE, formal)), called_for
    solid = "".join(kept)
    return _NEW(Name, (tuple(kept), solid, forms, solid, "", "", (), _NONE, formal)), called_for


def _all_marks(words: list[str], called_for: int) -> int:
    return reduce(or_, map(MARKS.__getitem__, words), called_for)


#: A `Name` of all its fields, at half of what naming them costs.
_NEW: Final = tuple.__new__


def _glued(text: str) -> str:
    """A legal form written onto the last word: `SiemensAG`; empty where there is none."""
    last = text[text.rfind(" ") + 1 :]
    if last.isupper() or last.istitle() or last.islower():
        return ""
    found = _GLUED.search(last)
    return found[0] if found else ""


def _put_right(words: list[str], called_for: int, ascii_only: bool) -> list[str]:
    """Words as they are meant: initials joined, forms of unspaced scripts split off, torn words mended."""
    if called_for & LETTER or not ascii_only:
        words = initials_joined(words)
        if not ascii_only:
            words = _unspaced(" ".join(words)).split()
        called_for = _all_marks(words, called_for)
    return mended(words, called_for)


def _meant(words: list[str], kept: list[str], called_for: int) -> tuple[tuple[str, ...], str, str, str]:
    """`kept` of `words` in Latin letters, words that mean the same as one, without idle ones: (tokens, solid, whole, native)."""
    whole, native = "".join(kept), ""
    if not whole.isascii():
        native = "".join(word for word in kept if not word.isascii())
        kept = [part for word in kept for part in _latin_words(word)]
        whole = "".join(kept)
        called_for = _all_marks(kept, called_for)
    if called_for & MEANT:
        kept = [*map(SAME.get, kept, kept)]
    if called_for & NUMBER:
        kept = _numbers(kept)
    tokens = [*filterfalse(IDLE.__contains__, kept)] if called_for & IDLER else kept
    tokens = tokens or kept or words
    if len(tokens) < len(kept) and _SHARED.issuperset(tokens):
        tokens = [word for word in kept if word not in _ARTICLES] or tokens
    return tuple(tokens[:MAX_WORDS]), "".join(tokens), whole or "".join(words), native


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
    for form in forms_unspaced():
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
            if digits[-1] in "tdh" and (found := _ORDINAL.fullmatch(digits)):
                digits = found[1]
            last = result[-1] if result else ""
            if len(digits) == 1 and len(last) == 2 and last.isdigit() and last[1] == "0":
                result[-1] = last[0] + digits
                continue
        result.append(digits)
    return result
