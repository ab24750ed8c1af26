# ruff: noqa: RUF001 - look-alike letters are the subject
"""Letters: any spelling of a text brought to lower-case Latin words, without accents and without tricks."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final


def _table(text: str) -> dict[int, str]:
    """`"a: xyz; b: w"` as a table for `str.translate`: x, y and z become a."""
    pairs = (part.partition(":") for part in text.split(";"))
    return {ord(letter): latin.strip() for latin, _, letters in pairs for letter in letters if not letter.isspace()}


#: Cyrillic the way lists of sanctions usually spell it (BGN/PCGN without its marks), Greek (ELOT 743), Armenian, Georgian.
_ALPHABETS: Final = _table(
    "a: аαաა; b: бբბ; v: вβвვ; g: гґγգგ; d: дδդდ; e: еёэεեէეѣ; zh: жжժჟ; z: зζзզზ; i: иіηιիიѵ; y: йыυըյ; k: кκкկკქք;"
    "l: лλլლ; m: мμմმ; n: нνնნ; o: оοωոօოө; p: пπպփპფ; r: рρռրრ; s: сσսსѕ; t: тτտთტթ; u: уўуუү; f: фφֆѳ; kh: хխხ; ts: цցծწც;"
    "ch: чχչճჩჭ; sh: шշშ; shch: щ; yu: ю; ya: я; yi: ї; ye: є; j: јջჯ; lj: љ; nj: њ; c: ћ; dj: ђ; dz: џძձ; th: θ; x: ξ; ps: ψ;"
    "h: հჰһ; gh: ღղғ; q: ყқ; w: ւ; ev: և; : ъь"
)
#: Letters of alphabets in use that look like a Latin one (Unicode TS 39): undone only in a word that mixes scripts, or
#: where a word of nothing but these stands among Latin ones. Capitals are here because they resemble other letters than
#: their small forms do.
_LOOKALIKE: Final = _table(
    "a: аΑαАꭺ; b: ΒВвЬьЪъβ; c: ϲϹсСⅽ; d: ԁժ; e: еЕΕеҽεέ; f: ϜքϝՖֆ; g: ɡցԌԍց; h: ΗНнһҺհԋ; i: ιіІΙꙇӏիΐ; j: јЈϳͿյ; k: ΚκКкқҚĸ;"
    "l: ӀІl; m: ΜϺМмʍ; n: Νηոռ; o: οΟоОσՕօᴏө; p: ρΡрРϱ; q: ԛգզ; r: гƦᴦꮁ; s: ѕЅՏꜱ; t: ΤτТт; u: υսᴜʋц; v: νѵѴ; w: ԝԜաωшѡ;"
    "x: ΧХхχ; y: уУΥүҮγ; z: Ζᴢ"
)
#: Letters that nobody writes a company's name in, and Latin ones that NFKD leaves whole.
_ALWAYS: Final = _table(
    "a: ɑᎪᗅꓮᴀⱯ; b: ƄᏏᏴᑲᖯᗷꓐꞴʙƀɓ; c: ᏟᴄⲤⲥꓚꮯƈ; d: đðᎠᏧᑯᗞᗪꓒꓓɖɗ; e: Ꭼⴹꓰꬲǝəᴇ; f: ꓝꞘꞙꬵƒ; g: ƍɡᏀᏳᶃꓖɢǥ; h: ħᎻᏂᕼⲎꓧʜɦ; i: ıɩɪᎥꭵɨ;"
    "j: ᎫᒍꓙꞲȷʝ; k: ᏦᛕⲔꓗᴋƙ; l: łƖǀᏞᒪᛁⲒⳐꓡꓲʟɫℓⵏ; m: ᎷᗰᛖⲘꓟᴍ; n: ŋⲚꓠɴɲ; o: ᴏᴑⲞⲟⵔꓳꬽဝჿഠ୦; p: ᏢᑭⲢⲣꓑᴘƥ; q: ⵕɋ; r: ᎡᏒᖇⲅꓣꭇꭈʀɍ;"
    "s: ƽᏕᏚꓢꜱꮪ; t: ᎢⲦꓔᴛŧƭ; u: ሀᑌꓴꞟꭎꭒᴜʉ; v: Ꮩᐯᴠⴸꓦꛟꮩʋ; w: ɯᎳᏔᴡꓪꮃ; x: ᕁᕽᚷⲬⵝꓫꞳ; y: ɣʏᎩᎽᶌỿⲨꓬꭚƴ; z: Ꮓꓜꮓᴢƶȥ;"
    "ss: ßẞ; ae: æÆ; oe: œŒ; o: øØ; d: ĐÐ; th: þÞ; l: Ł; h: Ħ; n: Ŋ"
) | dict.fromkeys(map(ord, "™®©℠\u3164\u115f\u1160\uffa0\u2800"), "")
_MARKS: Final = frozenset({"Mn", "Me", "Cf", "Cc", "Co", "Cs"})

#: ASCII as names are compared: small letters and digits, the rest parts words. Apostrophes join, full stops wait for initials.
_BYTES: Final = bytes(ord(chr(code).lower()) if code < 128 and (chr(code).isalnum() or chr(code) == ".") else 32 for code in range(256))
#: Letters, and signs that part words or nothing.
_PLAIN: Final = bytes(code for code in range(128) if chr(code).isalpha()) + b" ,-()'\"/"
_APOSTROPHES: Final = frozenset("'`’‘´ʻʼʹ′")
#: A full stop between two letters that stand alone, which it joins.
_INITIALS: Final = re.compile(r"\.(?<=\b\w\.)(?=\w\b)")
_DISGUISED: Final = re.compile(r"[0135](?<=[a-z].)(?=[a-z])")
_DIGITS: Final = {"0": "o", "1": "l", "3": "e", "5": "s"}
_LATIN: Final = re.compile("[A-Za-z]")


def plain(text: str) -> str:
    """`text` in lower case: Latin words of letters and digits, one space between them.

    Accents, invisible characters, look-alikes and punctuation are gone, initials joined (`J. P. Morgan`, `J P Morgan`:
    `jp morgan`), Cyrillic, Greek, Armenian and Georgian words transliterated. Words of other scripts stay what they are.
    """
    return " ".join(initials_joined(plain_words(text)))


def plain_words(text: str) -> list[str]:
    """The words of `plain(text)`, letters that stand alone not yet joined. Most names are ASCII, which takes one pass."""
    if not text.isascii():
        return _folded_words(text)
    if text.replace(" ", "").isalpha():
        return text.lower().split()
    letters = text.encode()
    if not (further := letters.translate(None, _PLAIN)):
        return letters.translate(_BYTES, b"'`").decode().split()
    if b"&" in further or b"+" in further:
        letters = letters.replace(b"&", b" and ").replace(b"+", b" and ")
    words = letters.translate(_BYTES, b"'`").replace(b". ", b" ").rstrip(b". ").decode()
    if further.translate(None, b".&"):  # digits, most likely
        return _words(words)
    return words.split() if "." not in words else _INITIALS.sub("", words).replace(".", " ").split()


def _words(text: str) -> list[str]:
    """Words of a text in which full stops and digits may stand within words."""
    if "." in text:
        text = _INITIALS.sub("", text).replace(".", " ")
    return [_undisguised(word) for word in text.split()] if _DISGUISED.search(text) else text.split()


def _folded_words(text: str) -> list[str]:
    """Words of other letters, which are looked up one by one."""
    text = text.translate(_FOLDED).replace(". ", " ").rstrip(". ")
    if "." in text:
        text = _INITIALS.sub("", text).replace(".", " ")
    beside = _LATIN.search(text) is not None
    return _words(" ".join([_latin(word, beside) for word in text.split()]))


def initials_joined(words: list[str]) -> list[str]:
    """Letters that stand alone side by side, put together."""
    if 1 not in map(len, words):
        return words
    found: list[str] = []
    open_ = False
    for word in words:
        lone = len(word) == 1 and "a" <= word <= "z"
        if lone and open_:
            found[-1] += word
        else:
            found.append(word)
        open_ = lone
    return found


def _undisguised(word: str) -> str:
    """A word with digits in the place of letters (`gazpr0m`) undone, where enough letters stand around them to call it one."""
    return _DISGUISED.sub(lambda found: _DIGITS[found[0]], word) if sum(map(str.isalpha, word)) >= 5 else word


class _Folding(dict[int, str]):
    """What `str.translate` makes of each character: looked up once, and kept while there are few."""

    def __missing__(self, code: int) -> str:
        text = unicodedata.normalize("NFKD", chr(code).translate(_ALWAYS)).translate(_ALWAYS)
        letters = (one for one in text if one.isascii() or one.isspace() or unicodedata.category(one) not in _MARKS)
        folded = "".join(_parting(one) for one in letters if one not in _APOSTROPHES)
        if len(self) < _KEPT:
            self[code] = folded
        return folded


def _parting(letter: str) -> str:
    """A letter, digit or full stop as it is, what else parts words as a space."""
    return letter if letter == "." or letter.isalnum() else " and " if letter in "&+" else " "


_KEPT: Final = 20_000
_FOLDED: Final = _Folding()


@lru_cache(maxsize=4_096)
def _latin(word: str, beside_latin: bool) -> str:
    """A word with look-alikes undone where it mixes scripts, else transliterated as far as it is of an alphabet."""
    if word.isascii():
        return word.lower()
    if beside_latin:
        undone = word.translate(_LOOKALIKE)
        if undone.isascii():
            return undone.lower()
    return word.casefold().replace("ου", "ou").translate(_ALPHABETS)


# --- scripts that Latin letters cannot give back ------------------------------------------------------------------

#: Arabic (with Persian and Urdu letters), Hebrew, and Japanese syllables without their marks, as far as lists need them.
_LOSSY: Final = _table(
    "a: اأإآٱىअアあ; b: بבבּ; p: پפףパ; t: تطתטト; th: ث; j: جژ; ch: چ; h: حهہھחה; kh: خ; d: دضדด; dh: ذ; r: رڑר; z: زظז;"
    "s: سصסשצץス; sh: ش; a: عע; gh: غ; f: فف; q: قק; k: كکכך; g: گג; l: لל; m: مמם; n: نںנן; w: وווַ; y: يیئےי; a: ةא; : ءؤـ"
)
_KANA: Final = (
    "a i u e o ka ki ku ke ko sa shi su se so ta chi tsu te to na ni nu ne no ha hi fu he ho ma mi mu me mo "
    "ya yu yo ra ri ru re ro wa wo n"
).split()
_KATAKANA: Final = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン"
_JAMO: Final = (
    (0x1100, "g kk n d tt r m b pp s ss  j jj ch k t p h".split(" ")),
    (0x1161, "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i".split()),
    (0x11A8, "k k ks n nj nh t l lk lm lb ls lt lp lh m p ps t t ng t t k t p t".split()),
)
_SYLLABLES: Final = (
    _LOSSY
    | {ord(kana): latin for kana, latin in zip(_KATAKANA, _KANA, strict=True)}
    | {ord(kana) - 0x60: latin for kana, latin in zip(_KATAKANA, _KANA, strict=True)}
    | {start + number: latin for start, row in _JAMO for number, latin in enumerate(row)}
    | {ord("ー"): ""}
)


def romanised(word: str) -> str:
    """A word of any script in Latin letters, as near as one reading can be; never the same thing as equality."""
    if word.isascii():
        return word
    if any("\u4e00" <= one <= "\u9fff" for one in word):
        from mirror.policy.hanzi import READINGS  # 9,000 characters that most installations never meet

        word = word.translate(READINGS)
    return word.translate(_SYLLABLES)
