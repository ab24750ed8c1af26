# ruff: noqa: RUF001 - look-alike letters are the subject
"""Names of organisations brought to the form in which they are compared: no case, accents, tricks or legal forms."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mirror.policy.legal_forms import FORMS

#: Cyrillic to Latin, the way lists of sanctions usually spell it (BGN/PCGN without its marks).
_CYRILLIC: Final = str.maketrans(
    {
        "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ё": "e", "ж": "zh", "з": "z", "и": "i", "й": "y",
        "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f",
        "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ы": "y", "ь": "", "э": "e", "ю": "yu",
        "я": "ya", "і": "i", "ї": "yi", "є": "ye", "ґ": "g", "ў": "u", "ј": "j", "љ": "lj", "њ": "nj", "ћ": "c",
        "ђ": "dj", "џ": "dz",
    }
)  # fmt: skip
#: Letters of other scripts that look like a Latin one (Unicode TS 39 confusables, the lower-case ones in use).
_LOOKALIKE: Final = str.maketrans("авеёкмнорстухіјѕԁԛԝһοαενρτυικχγ", "abeekmhopctyxijsdqwhoaevptuikxy")
#: Latin letters that NFKD leaves whole.
_LATIN: Final = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i", "ħ": "h", "ŋ": "n"}
)
_IDLE: Final = frozenset("the of and for de del la le les du des di da do dos der die das und et y e i".split())
_UNITS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS: Final = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
_NUMBERS: Final = {
    **{word: str(number) for number, word in enumerate(_UNITS)},
    **{word: str(number * 10) for number, word in enumerate(_TENS, 2)},
    **{word: str(number) for number, word in enumerate(_ORDINALS, 1)},
    "fourty": "40",
}
#: Words that stand for one another in names of organisations.
_SAME: Final = {
    "intl": "international", "organisation": "organization", "labour": "labor", "centre": "center", "bros": "brothers",
    "mfg": "manufacturing", "tech": "technology", "technologies": "technology", "univ": "university", "inst": "institute",
    "natl": "national", "assn": "association", "dept": "department", "govt": "government", "gp": "group", "grp": "group",
    "holding": "holdings", "gruppe": "group", "us": "usa", "defence": "defense", "int": "international",
}  # fmt: skip


#: Words compared one by one. The longest official names stay below; strangers' texts need not.
MAX_WORDS: Final = 24


@dataclass(frozen=True, slots=True)
class Name:
    """A name ready to be compared.

    `tokens` without legal forms and idle words (`MAX_WORDS` of them), `solid` all of them without spaces, `forms` the kinds of its legal forms
    (`JSC`, `LLC`, ...). A name that is nothing but such words keeps them.
    """

    tokens: tuple[str, ...]
    solid: str
    forms: frozenset[str]


def plain(text: str) -> str:
    """`text` in lower case Latin without accents, invisible characters, look-alikes and punctuation.

    Scripts other than Latin and Cyrillic stay what they are.
    """
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(one for one in text if one.isspace() or unicodedata.category(one) not in _INVISIBLE)
    text = re.sub(r"['’‘`´ʻʼ\"“”«»]", _quote, text.translate(_LATIN))
    text = text.replace("&", " and ").replace("+", " and ")
    text = re.sub(r"\b(\w)\.\s?(?=\w\b)", r"\1", text)  # initials: a.b.c. is abc
    words = re.sub(r"[\W_]+", " ", text).split()
    mixed = any("a" <= one <= "z" for one in text)
    return " ".join(_latin(word, mixed) for word in words)


_INVISIBLE: Final = frozenset({"Mn", "Me", "Cf", "Cc", "Co", "Cs"})


def _quote(found: re.Match[str]) -> str:
    return "" if found[0] in "'’‘`´ʻʼ" else " "


def _latin(word: str, beside_latin: bool) -> str:
    """A word with look-alikes undone where it mixes scripts, else transliterated."""
    if word.isascii():
        return word
    mixed = any("a" <= one <= "z" for one in word)
    undone = word.translate(_LOOKALIKE)
    # A whole Cyrillic word beside Latin ones may be honest; one of Greek letters that all have a Latin twin is not.
    if undone.isascii() and (mixed or (beside_latin and unicodedata.name(word[0], "").startswith("GREEK"))):
        return undone
    return word.translate(_CYRILLIC)


@lru_cache(maxsize=4096)
def parse(text: str) -> Name:
    """The name `text` means."""
    words = _numbers([_SAME.get(word, word) for word in _unspaced(plain(text)).replace("united states", "us").split()])
    kept, forms = _without_forms(words)
    tokens = tuple(word for word in kept if word not in _IDLE) or tuple(kept) or tuple(words)
    return Name(tokens[:MAX_WORDS], "".join(tokens), forms)


def _unspaced(text: str) -> str:
    """Chinese, Japanese and Korean forms split off the word that they end (or, in Japanese, begin)."""
    if text.isascii():
        return text
    for form in _UNSPACED:
        if text.endswith(form) and text != form:
            return f"{_unspaced(text.removesuffix(form).rstrip())} {form}"
        if len(form) > 2 and text.startswith(form) and text != form:
            return f"{form} {text.removeprefix(form)}"
    return text


def _numbers(words: list[str]) -> list[str]:
    """Number words as digits: `forty four` and `44`, `1st` and `first`."""
    result: list[str] = []
    for word in words:
        digits = _NUMBERS.get(word) or re.sub(r"^(\d+)(?:st|nd|rd|th)$", r"\1", word)
        last = result[-1] if result else ""
        if len(digits) == 1 and digits.isdigit() and len(last) == 2 and last.isdigit() and last[1] == "0":
            result[-1] = last[0] + digits
        else:
            result.append(digits)
    return result


def _without_forms(words: list[str]) -> tuple[list[str], frozenset[str]]:
    """Legal forms taken off both ends, longest first, as long as something stays."""
    kinds: set[str] = set()
    rest = list(words)
    while (cut := _form_at_end(rest)) or (cut := _form_at_start(rest)):
        rest, kind = cut
        kinds.add(kind)
    return rest, frozenset(kinds)


def _form_at_end(words: list[str]) -> tuple[list[str], str] | None:
    for count in range(min(_LONGEST_FORM, len(words) - 1), 0, -1):
        form = " ".join(words[-count:])
        kind = _FORMS.get(form)
        if kind and form not in _NEVER_LAST:
            return words[:-count], kind
    return None


def _form_at_start(words: list[str]) -> tuple[list[str], str] | None:
    for count in range(min(_LONGEST_FORM, len(words) - 1), 0, -1):
        form = " ".join(words[:count])
        # Before the name, two letters are more often an initialism than a form, but for those that usually stand there.
        if form in _FORMS and (len(form) > 2 or form in _LEADING):
            return words[count:], _FORMS[form]
    return None


_FORMS: Final = {plain(form): kind for form, kind in FORMS.items()}
_LONGEST_FORM: Final = max(len(form.split()) for form in _FORMS)
#: Forms written without a space before them in Chinese, Japanese and Korean, longest first.
_UNSPACED: Final = tuple(sorted((form for form in _FORMS if ord(form[0]) > 0x2E80), key=len, reverse=True))
_LEADING: Final = frozenset({"ao", "ab", "pt", "as", "oy", "sc", "ip", "cv"})
#: Forms that at the end of a name are more often a numeral, a word or a place.
_NEVER_LAST: Final = frozenset({"ii", "in", "im", "is", "at", "pr", "pe", "pp", "ps", "et", "ei", "da", "va", "al"})
