"""The matcher beyond the labelled pairs: laws that hold for any text, classes of variants, and what must not be taken for another."""

from __future__ import annotations

import random
import statistics
import string
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.matching import folds, labelled
from bench.matching_variants import CLASSES, variants
from mirror.core.facts import Publisher
from mirror.policy.entries import ListEntry, domain, identifier
from mirror.policy.letters import plain, romanised
from mirror.policy.names import parse
from mirror.policy.remembered import Remembered
from mirror.policy.screening import CERTAIN, REVIEW, ScreeningList, similarity
from mirror.policy.similar import meant_pairs, possible_pairs
from mirror.policy.words_alike import alike

#: Invented organisations, of the shapes that real lists have.
WORDS = "Umbrella Globex Initech Zenith Nadir Corvex Halcyon Meridian Obsidian Quantor Velmora Stratan Kestrel Ombra Tarvos Polaris Vexil Arden Norvik Sable".split()
FIELDS = "Trading Technology Shipping Petrochemical Industries Engineering Electronics Aviation Investment Development Research Construction".split()
FORMS = "Ltd LLC JSC GmbH Inc. Limited Corporation Company Co.,Ltd. S.A.".split()


def invented(count):
    rnd = random.Random(17)
    found = {" ".join([*rnd.sample(WORDS, 2), rnd.choice(FIELDS), *([rnd.choice(FIELDS)] if rnd.random() < 0.5 else []), rnd.choice(FORMS)]) for _ in range(count)}
    return sorted(found)


NAMES = invented(200)
HOUSE = ScreeningList("house", "1", [ListEntry(str(n), name) for n, name in enumerate(NAMES)], "m", "both")


def score(one, other):
    return similarity(parse(one), parse(other))


def test_five_folds_of_the_labelled_pairs_reach_what_is_promised():
    """F1 at the review band over five folds that choose nothing is at least 0.90 in the mean, and 0.80 in the worst."""
    own, _chosen, _thresholds = folds(labelled())
    assert statistics.mean(own) >= 0.90
    assert min(own) >= 0.80


#: What each class of change must leave findable from the review band up, in 100: what is measured, less a margin.
PROMISED = {
    "typos": 90, "order": 95, "added words": 93, "dropped words": 80, "truncation": 80, "homoglyphs": 98, "invisible characters": 100,
    "transliteration": 90, "diacritics": 100, "case and width": 100, "hyphenation": 98, "words run together": 92,
    "words split": 90, "abbreviations": 95, "legal form": 98, "city before": 97,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(PROMISED))
def test_a_class_of_variants_is_found(kind):
    """Names changed as one class changes them, from a fixed seed, are found from 0.80 up as often as promised."""
    asked = list(variants(kind, [(str(n), name) for n, name in enumerate(NAMES)][:80]))
    hits = sum(any(m.entry == entry and m.score >= REVIEW for m in HOUSE.screen(None, (name,))) for entry, name in asked)
    assert len(asked) >= 20
    assert 100 * hits >= PROMISED[kind] * len(asked)


def test_every_class_of_the_measurement_is_promised_or_named_here():
    """A class that is measured and not promised is left out on purpose."""
    assert set(CLASSES) - set(PROMISED) == {"respelling", "numerals", "ampersand", "typo and order"}


@pytest.mark.parametrize(("one", "other"), [
    ("Acme & Sons Trading Ltd", "Acme and Sons Trading Limited"), ("J. P. Umbrella & Co.", "JP Umbrella & Co"), ("J P Umbrella", "J.P. Umbrella"),
    ("First Umbrella Bank", "1st Umbrella Bank"), ("Umbrella Fund II L.P.", "Umbrella Fund 2 LP"), ("Umbrella Plant Number Seven", "Umbrella Plant Number 7"),
    ("UmbrellaAG", "Umbrella AG"), ("Umbrella Aktiengeselschaft", "Umbrella AG"), ("UMBRELLA JOYNT STOCK COMPANY", "Umbrella JSC"),
    ("Umbrella Intl Univ", "Umbrella International University"), ("Umbrella Inst. of Tech.", "Umbrella Institute of Technology"),
    ("Co-Umbrella", "Co Umbrella"), ("Umbrella Pty Ltd", "Umbrella Sdn. Bhd. Pty Ltd"), ("Gazpr0m Umbrella", "Gazprom Umbrella"),
    ("Banco Nacional de Umbrella", "Banco Nacional de Umbrella S.A."), ("ООО «Амбрелла»", "OOO Ambrella"), ("Ⅰnitech", "Initech"),
    ("Initech\u3164 Labs", "Initech Labs"), ("Ιnitech Labs", "Initech Labs"), ("ＩＮＩＴＥＣＨ labs", "initech LABS"),
])  # fmt: skip
def test_spellings_of_one_name_are_one_name(one, other):
    """Signs, initials, numerals, misspelt and glued legal forms, abbreviations, scripts: 1.00, or 0.95 where forms contradict."""
    assert score(one, other) >= 9_500


@pytest.mark.parametrize(("one", "other"), [
    ("Shenzhen Umbrella Technology Co., Ltd.", "Umbrella Technology"), ("Umbrella", "Umbrella Europe GmbH"), ("Umbrela Reserch", "Umbrella Research"),
    ("National Bank of Umbrella", "Banco Nacional de Umbrella"), ("Umbrella Research Institute of Phys", "Umbrella Research Institute of Physics"),
    ("Khizb Umbrella", "Hizb Umbrella"), ("Zhongguo Ambrela", "China Ambrela"), ("Umbrella Fund IV", "Umbrella Growth Fund IV"),
    ("北京智谱华章科技股份有限公司", "Beijing Zhipu Huazhang Technology Co., Ltd."), ("Bei Jing Zhi Pu Hua Zhang", "Beijing Zhipu Huazhang"),
    ("شركة الامل", "شركة الأمل"), ("삼성전자 주식회사", "삼성전자"),
])  # fmt: skip
def test_what_a_person_should_look_at_reaches_the_review_band(one, other):
    """Places before and behind, slips, translations, names cut short, other scripts: from 0.80 up."""
    assert score(one, other) >= REVIEW


@pytest.mark.parametrize(("one", "other"), [
    ("Limited Liabillity Company Umbrella", "LLC Umbrella"), ("Joint Stock Cmpany Umbrella", "Joint Stock Company Umbrella"),
    ("Umbrella Trading LTTD", "Umbrella Trading LTD"), ("Jointstock Company Umbrella", "Joint Stock Company Umbrella"),
    ("UmbrellaLTD", "Umbrella Ltd"), ("OOOUmbrella", "OOO Umbrella"), ("Dzhoint Stokk Kompani Umbrella", "Joint Stock Company Umbrella"),
    ("Umbrella Limited Liab", "Umbrella Limited Liability Company"), ("Dubai Federal State Unitary Enterprise Umbrella", "Umbrella"),
    ("Hong Kong Umbrella Ltd", "Umbrella Ltd"), ("UmbrellaSociety", "Umbrella Society"), ("Umbrella S.A. de C.V.", "Umbrella SA de CV"),
])  # fmt: skip
def test_a_legal_form_that_is_misspelt_torn_or_cut_off_takes_nothing_from_the_name(one, other):
    """Slips, sounds, missing spaces and ends within a legal form, and a place before it, leave a name findable."""
    assert score(one, other) >= REVIEW


def test_what_brackets_say_about_a_name_is_no_name():
    """Two bodies of which the same is remarked in small letters are not alike for that; what has capitals is a name beside the name."""
    assert score("Umbrella Research (named without a document)", "Zenith Trading (named without a document)") < REVIEW
    assert score("Umbrella Research (named without a document)", "Umbrella Research") == CERTAIN
    assert score("Umbrella Research (Zenith Velmora)", "Zenith Velmora") == 9_500


def test_a_person_s_account_is_no_company():
    """Who says in brackets to be a person is not taken for a body with a legal form, whatever it is called; without a form it is for review."""
    assert score("umbrella (individual account)", "UMBRELLA (a person)") == CERTAIN
    assert score("umbrella (individual account)", "Umbrella S.A.") < REVIEW
    assert score("umbrella (individual account)", "zenith (individual account)") < REVIEW
    assert score("umbrella (individual account)", "Umbrella") == score("umbrella (branch)", "Umbrella S.A.") == 9_000


@pytest.mark.parametrize(("one", "other"), [
    ("Bank of Umbrella", "Bank of Zenith"), ("Plotly Technologies Inc.", "Poly Technologies Inc."), ("Umbrella Compass Ltd", "Umbrella Company"), ("Umbrella Systems", "Umbrella Industries"), ("Brigade 44", "Brigade 45"), ("Umbrella Fund", "Zenith Fund"),
    ("China National Umbrella Corporation", "China National Zenith Corporation"), ("Research Institute of Technology", "Institute of Shipping Technology"),
    ("Redis Ltd", "Redin Exchange"), ("Umbrella Plant 1", "Zenith Plant 1"), ("Acme", "Acne Corp"), ("Micro Corp", "Microsoft Corporation"),
    ("华为技术", "中兴科技"), ("阿里云", "百度云"), ("Limited Liability Company", "Joint Stock Company"), ("Technology Group", "Technology Holding"),
])  # fmt: skip
def test_others_stay_below_the_review_band(one, other):
    """What differs in the word that matters, in a number, or agrees in nothing but words that everybody has: below 0.80."""
    assert score(one, other) < REVIEW


@settings(max_examples=300, deadline=None)
@given(text=st.lists(st.sampled_from([*WORDS, *FIELDS, *FORMS, "J. P.", "S.A.R.L.", "&", "of", "the", "1st", "Fund II", "(UK)",
                                      "gazpr0m", "L/C", "O'Neil", "Hong Kong"]), max_size=7).map(" ".join)
       | st.text(st.characters(codec="ascii"), max_size=40))  # fmt: skip
@example(text="Umbrella S. P. 5 (Labs)")
def test_the_short_way_of_reading_ascii_reads_the_same(text):
    """A name of ASCII letters reads the same as with a character in it that cannot be seen, which takes the long way."""
    assert parse.__wrapped__(text)._replace(others=()) == parse.__wrapped__("\u200b" + text)._replace(others=())


@settings(max_examples=400, deadline=None)
@given(word=st.sampled_from([word.lower() for word in (*WORDS, *FIELDS)] + ["khizballah", "zavod", "factory", "banking", "yuzhnaya"]), data=st.data())
def test_bounds_rule_out_no_words_that_are_alike(word, data):
    """Two words that score above 0 when compared are always compared: after slips, other spellings of a sound, and cuts, anchored or not."""
    other = word
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(other)))
        letter = data.draw(st.sampled_from("blmnrxe"))
        kind = data.draw(st.sampled_from(["in", "out", "instead", "turned", "cut", "kh h", "zh j", "ya ia", "k q", "sh ch", "u ou", "i ee"]))
        one, _, two = kind.partition(" ")
        slip = {"instead": other[:at] + letter + other[at + 1 :], "in": other[:at] + letter + other[at:], "out": other[:at] + other[at + 1 :], "turned": other[:at] + other[at : at + 2][::-1] + other[at + 2 :], "cut": other[: max(2, at)]}
        other = slip.get(kind, other.replace(one, two, 1)) or word
    anchored = data.draw(st.booleans())
    if other != word and alike(word, other, anchored) > 0:
        assert (0, 0) in (*possible_pairs([word], [other], anchored)[0], *meant_pairs([word], [other]))


def test_a_word_that_stands_for_another_is_compared_with_it():
    """A misspelt `banking` is paired with `bank`, for which it stands, although their letters alone are too far apart."""
    assert alike("anking", "bank", False) > 0.8
    assert possible_pairs(["anking"], ["bank"], False)[0] == [(0, 0)]
    assert possible_pairs(["anking"], ["band"], False)[0] == []


def test_what_is_remembered_of_words_is_bounded():
    """A memory of words is emptied when it is full, and says the same of a word as before."""
    few = Remembered(len, most=3)
    assert [few[word] for word in ("a", "bb", "ccc", "dddd", "a")] == [1, 2, 3, 4, 1]
    assert len(few) <= 3


def test_one_reading_in_two_scripts_is_for_review_and_never_a_hit():
    """Characters that are read alike are not the same name: 0.90 at most, and two native spellings are compared as such."""
    assert score("华为", "Huawei") == 9_000
    assert score("华为", "华伟") == REVIEW
    assert score("华为技术有限公司", "华为技术") == CERTAIN


@pytest.mark.parametrize("kind", ["typos", "respelling", "transliteration", "words run together", "truncation"])
def test_the_index_proposes_what_is_alike(kind):
    """Of variants of short invented names that are alike when compared directly, at least 95 in 100 are found among 2,000 others."""
    rnd = random.Random(23)
    syllables = [one + other for one in "bcdfghjklmnprstvz" for other in "aeiou"]
    crowd = [" ".join("".join(rnd.choices(syllables, k=rnd.randint(2, 4))) for _ in range(rnd.randint(1, 2))) for _ in range(2_000)]
    house = ScreeningList("house", "1", [ListEntry(str(n), name) for n, name in enumerate(crowd)], "m", "both")
    asked = [(entry, name) for entry, name in variants(kind, [(str(n), name) for n, name in enumerate(crowd)][:200]) if score(name, crowd[int(entry)]) >= REVIEW]
    found = sum(any(match.entry == entry for match in house.screen(None, (name,))) for entry, name in asked)
    assert len(asked) >= 40
    assert found >= 0.95 * len(asked)


# --- laws -------------------------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=40) | st.lists(st.sampled_from([*WORDS, *FIELDS, *FORMS, "and", "of", "II", "44", "ООО", "北京", "(UK)", "a.k.a."]), max_size=7).map(" ".join)


@settings(max_examples=250, deadline=None)
@given(one=TEXT, other=TEXT)
@example(one="A/B c", other="a.k.a. b")
@example(one="\u0660", other="0")
@example(one="00000000000000:00", other="0000000000000:000(0)")
def test_similarity_is_symmetric_and_never_above_one(one, other):
    """Both ways the same, from 0 to 1, and 1 for a name and itself."""
    mine, yours = parse(one), parse(other)
    if mine.solid and yours.solid:
        assert 0 <= similarity(mine, yours) == similarity(yours, mine) <= CERTAIN
        assert similarity(mine, mine) == CERTAIN


@settings(max_examples=150, deadline=None)
@given(name=st.lists(st.sampled_from([*WORDS, *FIELDS, *FORMS]), min_size=1, max_size=5).map(" ".join), data=st.data())
def test_case_width_and_what_cannot_be_seen_change_nothing(name, data):
    """Upper case, full width and invisible characters anywhere leave the very same name."""
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in name)
    at = data.draw(st.integers(0, len(name)))
    unseen = name[:at] + data.draw(st.sampled_from("\u200b\u200d\u2060\ufeff\u00ad")) + name[at:]
    assert {similarity(parse(name), parse(other)) for other in (name.upper(), name.lower(), wide, unseen)} == {CERTAIN}


@settings(max_examples=120, deadline=None)
@given(name=TEXT, aliases=st.lists(TEXT, max_size=3), further=TEXT, asked=TEXT)
def test_a_further_alias_never_lowers_a_score(name, aliases, further, asked):
    """What an entry scores with one alias more is at least what it scored without."""
    def best(*known):
        found = ScreeningList("house", "1", [ListEntry("E", name, known)], "m", "both").screen(None, (asked,))
        return found[0].score if found else 0

    assert best(*aliases, further) >= best(*aliases)


@settings(max_examples=120, deadline=None)
@given(weak=TEXT, asked=TEXT)
def test_a_weak_alias_alone_never_reaches_the_review_band(weak, asked):
    """Whatever is asked, an entry that only its weak alias resembles is not even mentioned."""
    house = ScreeningList("house", "1", [ListEntry("E", "Qqqq Xxxx Wwww", (), (weak, asked), "GB")], "m", "both")
    found = house.screen(None, (asked,))
    assert not found or similarity(parse(asked), parse("Qqqq Xxxx Wwww")) >= 7_000
    assert all(match.score <= CERTAIN for match in found)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60))
def test_plain_text_is_plain_and_stays_so(text):
    """Reading is idempotent: what was read once reads the same again, and the reading of any script is never an error."""
    once = plain(text)
    assert plain(once) == once
    assert once == once.strip()
    romanised(once)


def test_hostile_texts_take_bounded_work():
    """Tens of thousands of letters, brackets and strokes are cut, not searched: as much is compared as of a long name."""
    house = ScreeningList("house", "1", [ListEntry("E", "Umbrella Research")], "m", "both")
    for text in ("(" * 50_000, "a/" * 30_000, "a.k.a. " * 9_000, "x " * 30_000, "\u0301" * 60_000, "Umbrella " * 9_000, ".".join(string.ascii_letters) * 900):
        house.screen(None, (text,))
    assert len(parse("a b " * 9_000).tokens) <= 24


# --- identifiers --------------------------------------------------------------------------------------------------------------


def test_numbers_and_addresses_identify_whatever_the_names():
    """A register's number in any spelling, a mail domain, and a key of the catalogue itself are certain; short numbers are nothing."""
    entry = ListEntry("E", "Something Else", web=("mailto:office@umbrella.example",), identifiers=("LEI: 5493-00AB CD12", "reg:77", "publisher:umbrella"))
    house = ScreeningList("house", "1", [entry], "m", "both")
    asked = {"lei:549300abcd12": "identifier", "https://www.umbrella.example/x": "domain", "info@umbrella.example": "domain"}
    for text, via in asked.items():
        assert [(match.score, match.via) for match in house.screen(None, (), identifiers=(text,))] == [(CERTAIN, via)]
    assert house.screen(None, (), identifiers=("reg:77", "lei:549300abcd13")) == ()
    assert [match.via for match in house.screen(Publisher("umbrella", "Nobody Known", "company"), ())] == ["identifier"]
    assert identifier("LEI:5493 00ab.cd-12") == "lei:549300abcd12"
    assert (identifier("nothing"), identifier(":x"), identifier("reg:12 3")) == ("", "", "")
    assert (domain("a@GMAIL.com"), domain("not a host"), domain("https://umbrella.example?x=1")) == ("", "", "umbrella.example")


def test_a_mirror_without_lists_loads_no_matcher():
    """`policy.screening` and `policy.names` load neither the string library nor the tables of words: most commands compare nothing."""
    code = "import sys, mirror.policy.screening, mirror.policy.listed; print([m for m in ('rapidfuzz', 'mirror.policy.names', 'mirror.policy.hanzi', 'mirror.policy.legal_forms') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    code = "import sys, mirror.policy.names as n; print([m for m in ('rapidfuzz', 'mirror.policy.hanzi', 'mirror.policy.legal_forms') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_publisher_s_register_number_is_certain():
    """A number that the catalogue states and the list too, in another spelling, identifies whatever the names."""
    house = ScreeningList("house", "1", [ListEntry("E", "Something Else", identifiers=("reg:9111 0000-77",))], "m", "both")
    assert [match.via for match in house.screen(Publisher("x", "Nobody Known", "company", identifiers=("reg:9111000077",)), ())] == ["identifier"]
