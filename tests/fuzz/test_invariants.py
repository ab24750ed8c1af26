"""The promises of every parser and renderer, with a fixed seed and small counts; `make fuzz` goes on from here."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.decode import MAX_DEPTH, parse_json
from mirror.hubs.huggingface import rewrite
from mirror.hubs.pypi import anchors, paths
from mirror.reply import routing
from tests.fuzz.__main__ import HOME
from tests.fuzz.paths import HUB_ROUTES, INDEX_ROUTES
from tests.fuzz.steps import Counter, TooManySteps, growth
from tests.fuzz.targets import TARGETS, Target

FEW = settings(max_examples=120, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@st.composite
def inputs(draw: st.DrawFn, target: Target) -> bytes:
    """Words of the target's grammar in any order, or one of its seeds with a few places overwritten."""
    word = st.sampled_from([word.encode("utf-8", "surrogatepass") for word in target.words]) | st.binary(max_size=6)
    if draw(st.booleans()):
        return b"".join(draw(st.lists(word, max_size=24)))
    data = draw(st.sampled_from([path.read_bytes() for path in target.seeds]))
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(data)))
        data = data[:start] + draw(word) + data[start + draw(st.integers(0, 8)) :]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_named_errors_comes_out_and_what_comes_out_is_sound(name):
    """For words of its grammar and damaged seeds, each parser keeps the promises of its target."""
    target = TARGETS[name]

    @FEW
    @given(inputs(target))
    def holds(data: bytes) -> None:
        target.check(data)

    holds()


SEEDS = [(target.name, path) for target in TARGETS.values() for path in target.seeds]


@pytest.mark.parametrize(("name", "path"), SEEDS, ids=[f"{name}/{path.stem}" for name, path in SEEDS])
def test_what_was_found_once_stays_mended(name, path):
    """Every seed, and every input that once broke a promise (`found-…`), keeps them now."""
    TARGETS[name].check(path.read_bytes())


PATTERNS = {
    **{f"hub {row.name}": row.pattern for row in HUB_ROUTES},
    **{f"index {row.name}": row.pattern for row in INDEX_ROUTES},
    "bad escape": routing._BAD_ESCAPE,
    "link": rewrite._LINK,
    "file name": paths._FILE_NAME,
    "project name": paths._NAME,
    "fragment": anchors._FRAGMENT,
}
PIECES = ("a", "/", "a/", "/a", "%2f", "a/resolve/", "resolve/a/", "/raw/x", "-", "a.-_", ";a=", '<a>; rel="b" ', " ", "=", "sha256=a")


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_backtracks_without_end(name):
    """Twice as long a text costs at most about four times the steps, for every route and every repeated piece."""
    pattern = PATTERNS[name]
    prefixes = ("", "/api/models/a/", "/datasets/a/", "/simple/a", "/packages/a/", "/", "<a>")
    worst = max(growth(pattern, lambda n, head=head, piece=piece: head + piece * n + "\n") for head in prefixes for piece in PIECES)
    assert worst < 4.6, worst


def test_the_step_counter_agrees_with_re_and_sees_a_catastrophe():
    """It matches what `re` matches, and counts the exponential work of `(a+)+b` on a's."""
    for row in (*HUB_ROUTES, *INDEX_ROUTES):
        for path in ("/acme/x/resolve/main/a/b.bin", "/api/models/acme/x/tree/main", "/simple/acme/", "/packages/aa/bb/" + "c" * 60 + "/f.whl", "/v2/"):
            assert Counter(row.pattern).fullmatch(path) is bool(row.pattern.fullmatch(path)), (row.name, path)
    with pytest.raises(TooManySteps):
        growth(re.compile("(a+)+b"), lambda n: "a" * n)


@pytest.mark.parametrize(
    "text", ["NaN", "-Infinity", "1e999", "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "[" * 100_000, '"\x01"', b"\xff", b'"\xed\xa0\x80"', b"\xff\xfe1\x00"]
)  # fmt: skip
def test_json_that_could_not_be_sent_on_is_refused(text):
    """What is no JSON to others - no number, no UTF-8, no end of nesting - is one `ValueError`."""
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [('"\\ud800"', "\ufffd"), ('{"\\udc00x": "\\ud83d\\ude00"}', {"\ufffdx": "😀"}), ('"\\\\ud83d\\ude00"', "\\ud83d\ufffd"), ('"\\\\ud800"', "\\ud800"), ("[1.5, 10]", [1.5, 10])],
)
def test_half_a_character_becomes_a_replacement_character(text, value):
    """A lone surrogate in JSON is U+FFFD, a pair is its character, and an escaped backslash is left alone."""
    assert parse_json(text) == value


def test_the_harness_runs_its_target_and_tells_a_finding_by_its_status(tmp_path):
    """`python -m tests.fuzz` knows every target, and refuses a name that is none with status 2."""
    listed = subprocess.run([sys.executable, "-m", "tests.fuzz", "--list"], capture_output=True, text=True, cwd=HOME, check=True)
    assert listed.stdout.split() == [*TARGETS, "server"]
    assert subprocess.run([sys.executable, "-m", "tests.fuzz", "nonsense"], capture_output=True, cwd=HOME, check=False).returncode == 2
