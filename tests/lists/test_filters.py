"""Filters of other mirrors become rules that refuse what they refused, and every line that none can say is told."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from itertools import product

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from mirror.cli.policy import policy as command
from mirror.core.errors import InputError
from mirror.core.purl import parse_loose
from mirror.lists.filters import bandersnatch, denylist, globs_of, yaml_of
from mirror.policy.given import guess_kind
from tests.policy.builders import judge, policy

LIST = """# house denylist
evil-pkg
Evil.Pkg2   # spelt its own way
evil-*

acme/*
globex/solid-7b
pkg:huggingface/umbrella/x#*.bin
old==1.0
older==2.*
ranged>=2,<3
extra[all]
what is this
"""


def served(text, *names):
    rules = policy(text)
    return [judge(rules, name, file_kind=guess_kind(parse_loose(name).path)).effect.serves for name in names]


def test_a_denylist_denies_what_it_names_and_nothing_else():
    """Names, patterns and single versions of a denylist are refused, in any spelling; others are served."""
    draft = denylist(LIST, "deny.txt")
    text = yaml_of(draft)
    refused = (
        "pkg:pypi/evil-pkg@1?file_name=a.whl", "pkg:pypi/evil-pkg2@1?file_name=a.whl", "pkg:pypi/evil-x@3?file_name=a.whl", "acme/any#a.json", "globex/solid-7b#a.json",
        "umbrella/x#pytorch.bin", "pkg:pypi/old@1.0?file_name=a.whl", "pkg:pypi/old@1?file_name=a.whl", "pkg:pypi/old@1.0.0?file_name=a.whl",
        "pkg:pypi/older@2.7?file_name=a.whl", "pkg:pypi/older@2rc1?file_name=a.whl",
    )  # fmt: skip
    kept = ("globex/other#a.json", "umbrella/x#a.json", "pkg:pypi/old@1.1?file_name=a.whl", "pkg:pypi/older@20?file_name=a.whl", "pkg:pypi/ranged@2.5?file_name=a.whl")
    assert served(text, *refused) == [False] * len(refused)
    assert served(text, *kept) == [True] * len(kept)
    assert [(one.line, one.text) for one in draft.left_out] == [(11, "ranged>=2,<3"), (12, "extra[all]"), (13, "what is this")]
    assert (draft.said, len(draft.rules)) == (8, 1)
    assert "#   line 11: ranged>=2,<3  (a rule names versions one by one (==), not by a range)" in text


CONF = """[mirror]
directory = /srv/pypi
[plugins]
enabled =
    blocklist_project
    blocklist_release
    allowlist_project
    prerelease_release
    regex_project
    exclude_platform
    latest_release
    homemade
[blocklist]
packages =
    example1
    Example2>=1.4.2,<1.9
    example3==1.5
platforms =
    windows
    py2.7
    plan9
[allowlist]
packages =
    black==18.5   # pinned
    ptr
    example1
    example3
; a comment
[filter_regex]
packages =
    .+-evil$
    ^foo\\d
    (bar|baz)
releases =
    .+alpha\\d$
[latest_release]
keep = 3
[regex_project_metadata]
not-null:info.classifiers =
        .*Programming Language :: Python :: 2.*
"""


def test_bandersnatch_filters_refuse_what_they_refused_there():
    """Each enabled filter is a rule for PyPI: blocklist, allowlist, pre-releases, expressions, platforms; models are not touched."""
    text = yaml_of(bandersnatch(CONF, "bandersnatch.conf"))
    pypi = "pkg:pypi/{}@{}?file_name={}".format
    refused = (
        pypi("example1", "1", "example1-1.tar.gz"), pypi("example3", "1.5", "e.tar.gz"), pypi("example3", "1.5.0", "e.tar.gz"), pypi("unlisted", "1", "u.tar.gz"),
        pypi("ptr", "2.0a1", "p.tar.gz"), pypi("ptr", "2.0.dev3", "p.tar.gz"), pypi("ptr", "1", "ptr-1-cp311-cp311-win_amd64.whl"), pypi("ptr", "1", "ptr-1-cp27-none-any.whl"),
        pypi("ptr", "1", "ptr-1.msi"),
    )  # fmt: skip
    kept = (
        pypi("ptr", "1", "ptr-1.tar.gz"), pypi("black", "19", "b.tar.gz"), pypi("example3", "1.6", "e.tar.gz"), pypi("ptr", "1", "ptr-1-cp311-cp311-manylinux1_x86_64.whl"),
        pypi("ptr", "1.0.post1", "p.tar.gz"), pypi("ptr", "1", "ptr-1-win32.zip.tar.gz"), "acme/x#a.bin",
    )  # fmt: skip
    assert served(text, *refused) == [False] * len(refused)
    assert served(text, *kept) == [True] * len(kept)


def test_every_line_of_bandersnatch_that_no_rule_says_is_told():
    """Ranges, filters beyond a rule, unknown words and settings that nothing reads stand in the report, each with its line."""
    draft = bandersnatch(CONF, "bandersnatch.conf")
    assert [(one.line, one.text) for one in draft.left_out] == [
        (11, "latest_release"), (12, "homemade"), (16, "Example2>=1.4.2,<1.9"), (21, "plan9"), (33, "(bar|baz)"), (35, "releases = .+alpha\\d$"),
        (37, "keep = 3"), (40, "not-null:info.classifiers = .*Programming Language :: Python :: 2.*"),
    ]  # fmt: skip
    assert "has no effect there: regex_release is not enabled" in draft.left_out[5].why


def test_an_allowlist_of_releases_permits_the_versions_it_names():
    """With allowlist_release a pinned line permits its version, a bare one all; a range permits none, and is told."""
    conf = "[plugins]\nenabled = allowlist_release\n[allowlist]\npackages =\n    black==18.5\n    ptr\n    ranged~=1.4\n"
    draft = bandersnatch(conf, "b.conf")
    names = ["pkg:pypi/black@18.5?file_name=b.whl", "pkg:pypi/black@19?file_name=b.whl", "pkg:pypi/ptr@7?file_name=p.whl", "pkg:pypi/ranged@1.4?file_name=r.whl"]
    assert served(yaml_of(draft), *names) == [True, False, True, False]
    assert [(one.line, "no version of it is permitted" in one.why) for one in draft.left_out] == [(7, True)]
    empty = bandersnatch("[plugins]\nenabled = allowlist_project\n[allowlist]\npackages =\n", "b.conf")
    assert empty.rules == []  # there, an empty allowlist lets everything pass


def test_the_old_words_and_all_are_understood():
    """`blacklist`, `whitelist` and `enabled = all` mean what they meant before bandersnatch 5."""
    old = bandersnatch("[plugins]\nenabled = blacklist_project\n[blacklist]\npackages =\n  evil\n", "b.conf")
    assert [rule["when"] for rule in old.rules] == [{"artifact": ["pkg:pypi/evil"]}]
    every = bandersnatch("[plugins]\nenabled = all\n[blocklist]\npackages =\n  evil\n", "b.conf")
    assert [rule["id"] for rule in every.rules] == ["bandersnatch-blocklist", "bandersnatch-prereleases"]


NAMES = [*("".join(letters) for size in (1, 2, 3, 4) for letters in product("ab-1", repeat=size) if letters[0] != "-"), "ab-evil", "foo", "foo1", "foo12", "xfoo1"]


@pytest.mark.parametrize("expression", ["a", "^a", "a$", "ab.*", ".*b$", ".+-evil$", r"foo\d", r"foo\d$", "[ab]1", "a-b", r"a\-1$", "", ".*"])
def test_an_expression_that_is_said_means_the_same(expression):
    """Over all short names, the globs of an expression match exactly what bandersnatch's `re.match` does."""
    globs = globs_of(expression, release=False)
    assert not isinstance(globs, str)
    found = re.compile(expression)
    for name in NAMES:
        assert any(fnmatchcase(name, glob) for glob in globs) is (found.match(name) is not None), (expression, name)


@pytest.mark.parametrize("expression", ["a+", "(a|b)", "a?", "a.+", ".", "a|b", r"\w+", ".+a", "a$b", "[^a]", "a{2}", r"\d\d\d", "a**"])
def test_an_expression_that_no_pattern_means_is_refused(expression):
    """Nothing is said nearly: what has no exact pattern is a reason, not a rule."""
    assert isinstance(globs_of(expression, release=False), str)


def test_what_is_no_configuration_is_one_clear_error():
    """A file that is no ini is refused with its line."""
    with pytest.raises(InputError, match="line 1: is neither a section"):
        bandersnatch("nonsense\n", "b.conf")


@pytest.mark.parametrize("version", ["1.0", "1", "1.5.*", "2.0.0", "1!2.0", "1.0a1"])
def test_a_pinned_version_means_what_pep_440_says(version):
    """`==` matches with and without trailing zeros, `.*` matches the series and its pre-releases, as `packaging` has it."""
    draft = denylist(f"old=={version}\n", "d")
    specifier = Requirement(f"old=={version}").specifier
    candidates = ["1", "1.0", "1.0.0", "1.1", "1.5", "1.5.1", "1.5rc1", "1.50", "2", "2.0", "2.0.0", "10", "1.0a1", "1.0a2"]
    found = dict(zip(candidates, served(yaml_of(draft), *(f"pkg:pypi/old@{one}?file_name=a.whl" for one in candidates)), strict=True))
    assert found == {one: not specifier.contains(one, prereleases=True) for one in candidates}


def test_the_commands_report_and_exit(tmp_path):
    """Exit 0 where all is said, 1 with each left-out line told, 2 for what cannot be read; a file is never overwritten."""
    (tmp_path / "deny.txt").write_text("evil\n")
    (tmp_path / "b.conf").write_text(CONF)
    run = CliRunner().invoke
    done = run(command, ["import", "denylist", str(tmp_path / "deny.txt"), "-o", str(tmp_path / "policy.yaml")])
    assert done.exit_code == 0, done.output
    assert run(command, ["check", str(tmp_path / "policy.yaml")]).exit_code == 0
    assert run(command, ["import", "denylist", str(tmp_path / "deny.txt"), "-o", str(tmp_path / "policy.yaml")]).exit_code == 2
    partly = run(command, ["import", "bandersnatch", str(tmp_path / "b.conf")])
    assert (partly.exit_code, "line 16: Example2>=1.4.2,<1.9: left out: a rule names versions one by one" in partly.stderr) == (1, True)
    found = json.loads(run(command, ["import", "bandersnatch", str(tmp_path / "b.conf"), "--json"]).stdout)
    assert (len(found["rules"]), len(found["left_out"])) == (5, 8)
    assert run(command, ["import", "denylist", str(tmp_path / "none")]).exit_code == 2
