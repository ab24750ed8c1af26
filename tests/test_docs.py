"""The documentation is executable as far as it can be: what it names exists."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import xml.dom.minidom
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest

from mirror import config
from mirror.cli.main import COMMANDS, root
from mirror.core.errors import InputError
from mirror.lists.loading import load_catalogue, load_lineage
from mirror.policy.compile import compile_policy
from mirror.web.metrics import Metrics

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("config/**/*.md")])
KEY_PAGES = [page for page in PAGES if page.name in {"README.md", "THREAT_MODEL.md", "configuration.md", "operators.md", "reviewers.md"}]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def label(page: Path) -> str:
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=label)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for _, language, body in FENCE.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield body


# --- commands -----------------------------------------------------------------------------------------------------


def mentioned(page: Path) -> Iterator[str]:
    """Every `mirror …` command line of a page, in blocks and in prose."""
    for body in blocks(page, "sh", "console", "bash", "shell"):
        for line in body.splitlines():
            found = re.match(r"\s*(?:\$ )?(?:\.venv/bin/)?mirror ([^#|&>]*)", line)
            if found:
                yield found[1]
    yield from re.findall(r"`mirror ([^`]*)`", prose(page))


def resolved(line: str) -> tuple[click.Command, list[str]]:
    """The command that a line names, and its remaining words. Raises `LookupError` for one that does not exist."""
    words = re.sub(r"^(?:(?:-c|--config) \S+ )?", "", line.strip()).split()
    command: click.Command = root
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        if re.search(r"\|", words[0]):  # `config check|show|schema`
            for alternative in words[0].split("|"):
                if command.get_command(click.Context(command), alternative) is None:
                    raise LookupError(f"{command.name} {alternative}")
            return command, []
        below = command.get_command(click.Context(command), words[0])
        if below is None:
            raise LookupError(f"{command.name} {words[0]}")
        command, words = below, words[1:]
    return command, words


@each_page
def test_commands_and_their_options_exist(page: Path) -> None:
    """Every `mirror …` command that a page names is in the command line, with the options that it is shown with."""
    wrong = []
    for line in mentioned(page):
        try:
            command, words = resolved(line)
        except LookupError as missing:
            wrong.append(f"`mirror {line}`: no {missing}")
            continue
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help", "-h"}
        wrong += [f"`mirror {line}`: no option {word}" for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]
    assert not wrong, "\n".join(wrong)


def test_every_command_is_shown_somewhere() -> None:
    """No command is left out of the documentation."""
    shown = {line.split()[0] for page in PAGES for line in mentioned(page) if line.split()}
    assert set(COMMANDS) <= shown


def test_make_targets_exist() -> None:
    """Every `make …` that a page names is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)}

    assert named <= targets


# --- links --------------------------------------------------------------------------------------------------------


@cache
def anchors(page: Path) -> frozenset[str]:
    """The fragment names of a page's headings, as forges make them."""
    found = []
    for heading in re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        found.append(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return frozenset(found)


@each_page
def test_internal_links_resolve(page: Path) -> None:
    """Every link to a file of this repository leads to one, and every fragment to a heading."""
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists():
            wrong.append(target)
        elif fragment and found.suffix == ".md" and fragment not in anchors(found):
            wrong.append(f"{target}: no such heading")
    assert not wrong, "\n".join(wrong)


def test_the_index_names_every_page() -> None:
    """No page under docs is out of reach from the index, and no decision record from theirs."""
    for index, pages in ((ROOT / "docs/README.md", ROOT.glob("docs/**/*.md")), (ROOT / "docs/adr/README.md", ROOT.glob("docs/adr/*.md"))):
        linked = {(index.parent / target.partition("#")[0]).resolve() for target in re.findall(r"\]\(([^)\s]+)\)", prose(index))}
        expected = {page for page in pages if page != index and (page.parent.name != "adr" or index.parent.name == "adr" or page.name == "README.md")}

        assert not {label(page) for page in expected if page.resolve() not in linked}


@each_page
def test_tests_that_are_named_exist(page: Path) -> None:
    """Every test file, folder and test function that a page names is there."""
    wrong = []
    for path, name in re.findall(r"`(tests/[\w./-]*)(?:::(\w+))?`", page.read_text(encoding="utf-8")):
        if not (ROOT / path).exists():
            wrong.append(path)
        elif name and not re.search(rf"^\s*(?:async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE):
            wrong.append(f"{path}::{name}")
    assert not wrong, "\n".join(wrong)


def test_the_picture_is_well_formed_and_described() -> None:
    """The picture is XML with a title and a description, and loads nothing from anywhere."""
    svg = (ROOT / "docs/how-it-works.svg").read_text(encoding="utf-8")
    tree = xml.dom.minidom.parseString(svg)

    assert tree.getElementsByTagName("title")
    assert tree.getElementsByTagName("desc")
    assert "href" not in svg


# --- configuration and metrics ------------------------------------------------------------------------------------


def keys() -> set[tuple[str, ...]]:
    """Every path of keys in the configuration's schema; `*` stands for a name of the user's choice."""
    schema = config.schema()
    found: set[tuple[str, ...]] = set()

    def walk(node: dict[str, Any], path: tuple[str, ...]) -> None:
        for part in (node, *node.get("anyOf", ()), *node.get("allOf", ())):
            part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
            for name, below in part.get("properties", {}).items():
                found.add((*path, name))
                walk(below, (*path, name))
            if isinstance(part.get("additionalProperties"), dict):
                walk(part["additionalProperties"], (*path, "*"))

    walk(schema, ())
    return found


def known_key(text: str) -> bool:
    """Whether a dotted name is a key, whole or (as in `grants.outage`) the end of one."""
    parts = tuple(text.split("."))
    return any(
        all(theirs in ("*", ours) for theirs, ours in zip(key[-len(parts):], parts, strict=True)) for key in keys() if len(key) >= len(parts)
    )


@pytest.mark.parametrize("page", KEY_PAGES, ids=label)
def test_configuration_keys_that_are_named_exist(page: Path) -> None:
    """Every dotted name that begins like a configuration section is a key of it."""
    sections = {part for key in keys() for part in key if key[-1] != part}
    named = set(re.findall(r"`([a-z]+(?:\.[a-z_]+)+)`", page.read_text(encoding="utf-8")))
    endings = ("yaml", "yml", "json", "md", "py", "toml", "lock", "key", "example")

    assert not {name for name in named if name.split(".")[0] in sections and name.split(".")[-1] not in endings and not known_key(name)}


@pytest.mark.skipif(not (ROOT / "docs/configuration.md").exists(), reason="no page on configuration")
def test_every_configuration_key_is_documented() -> None:
    """The page on configuration leaves no key out."""
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")

    assert not {".".join(key) for key in keys() if not re.search(rf"\b{key[-1]}\b", text)}


def test_metrics_are_documented() -> None:
    """Every metric is in the documentation by its exposed name, and no other is."""
    exposed = {metric.name + ("_total" if metric.type == "counter" else "") for metric in Metrics().registry.collect()}
    named = {name for page in PAGES for name in re.findall(r"`(mirror_[a-z_]+)`", page.read_text(encoding="utf-8"))}

    assert exposed == named


# --- examples -----------------------------------------------------------------------------------------------------


def test_the_cookbook_is_a_policy_that_passes_its_own_tests() -> None:
    """The cookbook in the README is a whole policy: it compiles against the shipped catalogue, and its tests hold."""
    (text,) = blocks(ROOT / "README.md", "yaml")
    policy = compile_policy([("README.md", text)], load_catalogue(), load_lineage(), {})

    assert policy.warnings == ()
    assert 6 <= len(policy.rules)
    assert policy.tests


def test_a_test_of_the_cookbook_can_fail() -> None:
    """The tests in the cookbook hold because of its rules: without them they do not."""
    (text,) = blocks(ROOT / "README.md", "yaml")

    with pytest.raises(InputError, match="contractors cannot get"):
        compile_policy([("README.md", text.replace("origin: [CN, HK]", "origin: [AQ]"))], load_catalogue(), load_lineage(), {})


def test_what_the_readme_says_of_the_package_holds() -> None:
    """Licence and least Python version are those of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert "Apache License 2.0" in readme
    assert project["license"] == "Apache-2.0"
    assert f"Python {project['requires-python'].removeprefix('>=')} or newer" in readme


@pytest.mark.acceptance
def test_the_demonstration_goes_as_told() -> None:
    """`make demo` ends with exit code 0: every scene went as its narration says."""
    done = subprocess.run([sys.executable, "-m", "tests.support.demo"], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "Everything went as told" in done.stdout
