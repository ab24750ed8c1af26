"""Filters of other mirrors as rules of this one: a plain denylist, bandersnatch's configuration. Pure.

What our grammar cannot say is never said nearly: it is left out, with its line and the reason.
bandersnatch: https://bandersnatch.readthedocs.io/en/latest/filtering_configuration.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement

from mirror.core.errors import InputError, Problem
from mirror.core.purl import normalise_pypi
from mirror.policy.patterns import parse_pattern


@dataclass(frozen=True, slots=True)
class Left:
    """A line that no rule says, and why."""

    line: int
    text: str
    why: str


@dataclass(slots=True)
class Draft:
    """Rules in plain values, and what of the file is not in them. `said` counts the lines that are."""

    source: str
    rules: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[Left] = field(default_factory=list)
    said: int = 0

    def leave(self, line: int, text: str, why: str) -> None:
        """Note a line that no rule says."""
        self.left_out.append(Left(line, text, why))


def yaml_of(draft: Draft) -> str:
    """The policy file. Values are JSON, which YAML 1.2 reads as it is; what was left out stands at its end as comments."""
    lines = [f"# from {_shown(draft.source)}", "version: 1", "rules:" if draft.rules else "rules: []"]
    for rule in draft.rules:
        for at, (key, value) in enumerate(rule.items()):
            lines.append(f"  {'-' if at == 0 else ' '} {key}: {json.dumps(value, ensure_ascii=False)}")
    lines += ["# left out, because no rule can say it:"] if draft.left_out else []
    lines += [f"#   line {one.line}: {_shown(one.text)}  ({one.why})" for one in draft.left_out]
    return "\n".join(lines) + "\n"


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:120])


# --- a plain denylist ------------------------------------------------------------------------------------------------


def denylist(text: str, source: str) -> Draft:
    """One name or pattern a line; `#` begins a comment.

    A name with a slash is a Hugging Face owner or repository (`acme/*`), one without a project on PyPI, also with a version
    (`evil==1.0`); `pkg:…` is a pattern of ours as it stands.
    """
    draft, patterns = Draft(source), list[str]()
    for number, raw in enumerate(text.splitlines(), 1):
        entry = _uncommented(raw)
        if not entry:
            continue
        found = _named(entry)
        if isinstance(found, str):
            draft.leave(number, entry, found)
        else:
            patterns += found
            draft.said += 1
    if patterns:
        draft.rules.append(_rule("denylist", {"artifact": list(dict.fromkeys(patterns))}, draft))
    return draft


def _named(entry: str) -> list[str] | str:
    """The patterns that an entry means, or why it means none."""
    if entry.startswith("pkg:"):
        return _checked([entry])
    if "/" in entry and not any(character in entry for character in "<>=!~;[] "):
        return _checked([f"pkg:huggingface/{entry}"])
    if re.fullmatch(r"[\w.*-]+", entry, re.ASCII):
        return _checked([f"pkg:pypi/{entry if '*' in entry else normalise_pypi(entry)}"])
    return _required(entry)


def _checked(patterns: list[str]) -> list[str] | str:
    try:
        for pattern in patterns:
            parse_pattern(pattern)
    except ValueError as error:
        return str(error)
    return patterns


def _uncommented(raw: str) -> str:
    """A line without its comment: `#` at its start or after white space, for `pkg:…#path` is no comment."""
    return re.split(r"(?:^|\s)#", raw, maxsplit=1)[0].strip()


def _required(entry: str) -> list[str] | str:
    """The patterns of a requirement (PEP 508) that names one version; of one without a version, the project."""
    try:
        asked = Requirement(entry)
    except InvalidRequirement:
        return "is neither a name nor a pattern"
    if asked.url or asked.marker or asked.extras:
        return "a rule knows no extras, markers or URLs of a requirement"
    project, specifiers = f"pkg:pypi/{normalise_pypi(asked.name)}", list(asked.specifier)
    if not specifiers:
        return [project]
    if len(specifiers) > 1 or specifiers[0].operator not in ("==", "==="):
        return "a rule names versions one by one (==), not by a range"
    version = specifiers[0].version
    if specifiers[0].operator == "===":
        return _checked([f"{project}@{version}"])
    if version.endswith(".*"):
        start = version[:-2]
        return _checked([f"{project}@{start}{rest}" for rest in ("", ".*", "a*", "b*", "rc*")])
    if re.fullmatch(r"[0-9]+(\.[0-9]+)*", version) is None:
        return _checked([f"{project}@{version}"])
    least = re.sub(r"(\.0+)+\Z", "", version)  # 1.0 is 1 and 1.0.0 (PEP 440, "Version matching")
    return _checked([f"{project}@{least}{zeros}" for zeros in ("", ".0", ".0.0", ".0.0.0")])


def _rule(name: str, when: dict[str, Any], draft: Draft) -> dict[str, Any]:
    return {"id": name, "when": when, "effect": "deny", "source": draft.source}


# --- bandersnatch ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Value:
    """One line of a setting's value."""

    line: int
    text: str


Sections = dict[str, dict[str, list[_Value]]]
_HEADER: Final = re.compile(r"\[([^\]]+)\]\s*\Z")
#: Words that bandersnatch 5 replaced.
_RENAMED: Final = {"blacklist": "blocklist", "whitelist": "allowlist"}
#: Filters that no rule can stand for, and why.
_BEYOND: Final = {
    "latest_release": "a rule judges one file by itself and does not know which releases are the latest",
    "size_project_metadata": "a rule knows the size of a file, not of a whole project",
    "project_requirements": "requirements files are not read: import the lines as an allowlist",
    "project_requirements_pinned": "requirements files are not read: import the lines as an allowlist",
    "allowlist_requirements": "requirements files are not read: import the lines as an allowlist",
    "regex_project_metadata": "a rule reads no raw metadata; see the conditions license, attested, status, age_days",
    "regex_release_metadata": "a rule reads no raw metadata; see the conditions license, attested, status, age_days",
    "regex_release_file_metadata": "a rule reads no raw metadata; see the condition kind for the type of a file",
    "version_range_project_metadata": "a rule reads no raw metadata",
    "version_range_release_file_metadata": "a rule reads no raw metadata",
}
_PROJECT: Final = {"blocklist_project", "blocklist_release", "allowlist_project", "allowlist_release"}
_SAID: Final = {*_PROJECT, "prerelease_release", "regex_project", "regex_release", "exclude_platform"}
#: The settings that a filter reads.
_SETTINGS: Final = {
    "blocklist": {"packages": {"blocklist_project", "blocklist_release"}, "platforms": {"exclude_platform"}},
    "allowlist": {
        "packages": {"allowlist_project", "allowlist_release"}, "requirements": {"project_requirements", "allowlist_requirements"},
        "requirements_path": {"project_requirements", "allowlist_requirements"},
    },
    "filter_regex": {"packages": {"regex_project"}, "releases": {"regex_release"}},
    "filter_prerelease": {"packages": {"prerelease_release"}},
}  # fmt: skip
#: Sections that filter nothing.
_ELSEWHERE: Final = frozenset({"mirror", "plugins", "statistics", "compare"})
_PLATFORMS: Final = {
    "windows": ("*.win32*", "*-win32*", "*win_amd64*", "*win-amd64*", "*.msi", "*.exe"),
    "macos": ("*macosx_*", "*macosx-*", "*.dmg"),
    "freebsd": ("*.freebsd*", "*-freebsd*"),
    "linux": ("*linux-i686*", "*linux-x86_64*", "*linux_*", "*manylinux*", "*musllinux*", "*.rpm"),
}
_ALIASES: Final = {"win": "windows", "macosx": "macos"}
_PYTHON: Final = re.compile(r"py([23])\.([0-9]{1,2})")
#: How bandersnatch knows a pre-release by its version, spelt out: a word and one digit at the end.
_PRERELEASES: Final = tuple(f"*{word}{digit}" for word in ("rc", "a", "alpha", "b", "beta", "dev") for digit in range(10))
#: No more globs than this for one expression.
_MOST: Final = 200


def bandersnatch(text: str, source: str) -> Draft:
    """The filters that a bandersnatch.conf enables. Each rule is for PyPI alone: what else is mirrored is not theirs.

    A file passes there if every enabled filter lets it pass, so each filter is a rule that denies. Raises `InputError` for what is
    no such file.
    """
    draft, sections = Draft(source), _sections(text, source)
    enabled = _enabled(sections, draft)
    for name, settings in sections.items():
        for key, values in settings.items():
            if name not in _ELSEWHERE:
                _unread(draft, name, key, values, enabled)
    _blocked(draft, sections, enabled)
    _allowed(draft, sections, enabled)
    if "prerelease_release" in enabled:
        _prereleases(draft, sections)
    for filter_name, key in (("regex_project", "packages"), ("regex_release", "releases")):
        if filter_name in enabled:
            _expressions(draft, filter_name, sections.get("filter_regex", {}).get(key, []))
    if "exclude_platform" in enabled:
        _platforms(draft, sections.get("blocklist", {}).get("platforms", []))
    draft.left_out.sort(key=lambda one: one.line)
    return draft


def _sections(text: str, source: str) -> Sections:
    """The file as configparser reads it with `=` alone between key and value, each value's lines with their numbers."""
    found: Sections = {}
    section, key = "", ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if raw[0].isspace() and key:
            found[section][key].append(_Value(number, line))
        elif (header := _HEADER.match(line)) is not None:
            section, key = header[1].strip(), ""
            section = _RENAMED.get(section, section)
            found.setdefault(section, {})
        elif section and "=" in line:
            key, value = (part.strip() for part in line.split("=", 1))
            key = key.lower()
            found[section][key] = [_Value(number, value)] if value else []
        else:
            raise InputError([Problem(source, f"line {number}", "is neither a section, a setting nor a value: not a bandersnatch configuration")])
    return found


def _enabled(sections: Sections, draft: Draft) -> set[str]:
    found = set()
    settings = sections.get("plugins", {}).get("enabled", [])
    for value in [_Value(one.line, word) for one in settings for word in one.text.split()]:
        name = re.sub("^(black|white)list_", lambda match: _RENAMED[match[0][:-1]] + "_", value.text)
        if name == "all":
            found |= _SAID
            draft.leave(value.line, value.text, "also means filters that were installed there and that nothing here tells of")
        elif name in _SAID:
            found.add(name)
        else:
            draft.leave(value.line, value.text, _BEYOND.get(name, "is a filter that is not known here"))
    return found


def _unread(draft: Draft, section: str, key: str, values: Sequence[_Value], enabled: set[str]) -> None:
    """Settings that no enabled filter reads, line by line; those of a filter that cannot be said are left out with it."""
    readers = _SETTINGS.get(section, {}).get(key)
    if readers is not None and readers & enabled:
        return
    beyond = next((why for name, why in _BEYOND.items() if section == name or (readers is not None and name in readers)), "")
    filters = " or ".join(sorted(readers)) if readers is not None else ""
    why = f"has no effect there: {filters} is not enabled" if filters and not beyond else beyond or f"[{section}] is not known here"
    for value in values:
        draft.leave(value.line, f"{key} = {value.text}", why)


def _entries(draft: Draft, values: Sequence[_Value]) -> Iterator[tuple[_Value, Requirement]]:
    for value in values:
        entry = _uncommented(value.text)
        if not entry:
            continue
        try:
            yield _Value(value.line, entry), Requirement(entry)
        except InvalidRequirement:
            draft.leave(value.line, entry, "is not a requirement (PEP 508)")


def _blocked(draft: Draft, sections: Sections, enabled: set[str]) -> None:
    patterns = list[str]()
    if not enabled & {"blocklist_project", "blocklist_release"}:
        return
    for value, asked in _entries(draft, sections.get("blocklist", {}).get("packages", [])):
        if asked.specifier and "blocklist_release" not in enabled:
            draft.leave(value.line, value.text, "has no effect there: blocklist_release is not enabled")
            continue
        found = _required(value.text)
        if isinstance(found, str):
            draft.leave(value.line, value.text, found)
        else:
            patterns += found
            draft.said += 1
    if patterns:
        draft.rules.append(_rule("bandersnatch-blocklist", {"artifact": list(dict.fromkeys(patterns))}, draft))


def _allowed(draft: Draft, sections: Sections, enabled: set[str]) -> None:
    """What is not on the allowlist is denied. A range cannot be said: then nothing of that project is permitted, and the line told."""
    if not enabled & {"allowlist_project", "allowlist_release"}:
        return
    values = sections.get("allowlist", {}).get("packages", [])
    patterns = list[str]()
    for value, asked in _entries(draft, values):
        by_name = "allowlist_release" not in enabled
        found = [f"pkg:pypi/{normalise_pypi(asked.name)}"] if by_name else _required(value.text)
        if isinstance(found, str):
            draft.leave(value.line, value.text, f"{found}: no version of it is permitted")
        else:
            patterns += found
            draft.said += 1
    if values:
        when: dict[str, Any] = {"ecosystem": "pypi"}
        if patterns:
            when["artifact"] = {"none": list(dict.fromkeys(patterns))}
        draft.rules.append(_rule("bandersnatch-allowlist", when, draft))


def _prereleases(draft: Draft, sections: Sections) -> None:
    only = sections.get("filter_prerelease", {}).get("packages", [])
    names = list[str]()
    for value, asked in _entries(draft, only):
        names.append(normalise_pypi(asked.name))
        draft.said += 1
        if asked.specifier:
            draft.leave(value.line, value.text, "only its name is read there")
    if only and not names:
        return
    patterns = [f"pkg:pypi/{name}@{ending}" for name in names or ["*"] for ending in _PRERELEASES]
    draft.rules.append(_rule("bandersnatch-prereleases", {"artifact": patterns}, draft))
    draft.said += 1


def _expressions(draft: Draft, filter_name: str, values: Sequence[_Value]) -> None:
    release = filter_name == "regex_release"
    patterns = list[str]()
    for value in values:
        globs = globs_of(value.text, release=release)
        if isinstance(globs, str):
            draft.leave(value.line, value.text, globs)
            continue
        patterns += [f"pkg:pypi/*@{glob}" if release else f"pkg:pypi/{glob}" for glob in globs]
        draft.said += 1
    if patterns:
        name = "bandersnatch-releases" if release else "bandersnatch-names"
        draft.rules.append(_rule(name, {"artifact": list(dict.fromkeys(patterns))}, draft))


_TOKEN: Final = re.compile(r"\\d|\\[-._+]|\.\*|\.\+|\[[A-Za-z0-9]+\]|[A-Za-z0-9_+-]|\$\Z")


def globs_of(expression: str, *, release: bool) -> list[str] | str:
    """The globs that mean what a regular expression means of names (or versions), or why there are none.

    It is matched from the start, as `re.match` does; without `$` anything may follow. Names never begin with a separator,
    versions never with a letter, so that a leading `.+` is as good as `.*` before one.
    """
    rest, globs, whole = expression.removeprefix("^"), [""], False
    while rest:
        token = _TOKEN.match(rest)
        if token is None:
            return f"no pattern means what {rest[:20]!r} means in a regular expression"
        text, rest = token[0], rest[token.end() :]
        if rest[:1] in ("?", "*", "+", "{", "|"):
            return f"no pattern means what {rest[:20]!r} means in a regular expression"
        if text == ".+" and (globs != [""] or not (re.match(r"[A-Za-z]", rest) if release else re.match(r"\\?[-._]", rest))):
            return "no pattern says 'at least one more character'"
        whole = text == "$"
        choices = "0123456789" if text == r"\d" else text[1:-1] if text[0] == "[" else ()
        plain = "*" if text in (".*", ".+") else "" if whole else text[-1]
        globs = [glob + one for glob in globs for one in (choices or (plain,))]
        if len(globs) > _MOST:
            return f"means more than {_MOST} patterns"
    return [glob if whole or glob.endswith("*") else f"{glob}*" for glob in globs]


def _platforms(draft: Draft, values: Sequence[_Value]) -> None:
    globs = list[str]()
    for value in [_Value(one.line, word) for one in values for word in one.text.split()]:
        word = _ALIASES.get(value.text.lower(), value.text.lower())
        if word in _PLATFORMS:
            globs += _PLATFORMS[word]
        elif (python := _PYTHON.fullmatch(word)) is not None:
            major, minor = python.groups()
            globs += [f"*-cp{major}{minor}-*", f"*-pp{major}{minor}-*", f"*-py{major}{minor}-*", f"*-py{major}.{minor}.*", f"*-py{major}.{minor}-*"]
        else:
            draft.leave(value.line, value.text, "is not a platform that is known here")
            continue
        draft.said += 1
    if globs:
        when = {"ecosystem": "pypi", "kind": {"none": ["sdist"]}, "file": list(dict.fromkeys(globs))}
        draft.rules.append(_rule("bandersnatch-platforms", when, draft))
