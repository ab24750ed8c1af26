"""`mirror lock`: lock files that were made elsewhere are turned to the mirror, their text otherwise untouched.

A lock file holds absolute URLs, and `uv sync --frozen` or an installer of `pylock.toml` (PEP 751) goes straight to
them: a mirror that is only configured as the index is never asked. The mirror keeps the index's own file paths, so that
turning a lock is a change of host; hashes stay, and still vouch for the bytes.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Hosts whose URLs are turned without being asked: the public index and its files.
KNOWN_HOSTS: Final = ("pypi.org", "pypi.python.org", "files.pythonhosted.org")

#: A TOML comment or string, a JSON string being one of them; strings of several lines hold no URLs.
_TOML: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?P<basic>(?:[^"\\\n]|\\.)*)"|\'(?P<literal>[^\'\n]*)\'|#[^\n]*', re.DOTALL
)
_JSON: Final = re.compile(r'"(?P<basic>(?:[^"\\]|\\.)*)"')
_REQUIREMENTS: Final = re.compile(r"(?m)(?:^|(?<=\s))#[^\n]*|(?P<basic>(?:[a-z]{2,5}\+)?(?:https?|ssh|git|file)://[^\s\"'<>;]+)")
_URL: Final = re.compile(r"(?:[a-z]{2,5}\+)?(?:https?|ssh|git|file)://", re.IGNORECASE)
_ROOTS: Final = re.compile(r"/(?:packages/|simple(?=/|$))")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A URL that is not at the mirror and cannot be turned to it, with its line (from 1)."""

    line: int
    url: str


@dataclass(frozen=True, slots=True)
class Turned:
    """What became of one file's text: URLs changed, URLs that were at the mirror before, URLs that stay elsewhere."""

    text: str
    changed: int
    already: int
    elsewhere: tuple[Elsewhere, ...]


def mirror_base(url: str) -> str:
    """The mount of an index at the mirror, from whatever a person gives: its origin, its mount or its `simple/` URL.

    Raises `InputError` for what is no http(s) URL.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError([Problem("--to", "", f"{url!r} is not an http(s) URL of the mirror")])
    path = parts.path.rstrip("/")
    path = path.removesuffix("/simple") if path != "/simple" else ""
    return f"{parts.scheme}://{parts.netloc}{path or '/pypi'}"


def index_spelling(url: str) -> str:
    """How the index is spelt below the mount: uv holds a lock against its index letter by letter, the last slash too."""
    return "/simple" if urlsplit(url.strip()).path.endswith("/simple") else "/simple/"


def turn(text: str, source: str, base: str, hosts: Sequence[str] = KNOWN_HOSTS, index: str = "/simple/") -> Turned:
    """The text of a lock file with the URLs at `hosts` turned to the mirror mount `base`. Pure; idempotent.

    `index` is the path of the index below it, as clients are configured with it. `source` is the file's name: it tells the format, and names the file in errors. Raises `InputError` with the line
    for text that is not what the name promises.
    """
    pattern = _pattern(text, source)
    changed = already = 0
    elsewhere: list[Elsewhere] = []
    pieces: list[str] = []
    at = 0
    for start, end, url in _urls(pattern, text):
        if url.startswith(base + "/") or url == base:
            already += 1
            continue
        new = _at_mirror(url, base, hosts, index)
        if new is None:
            elsewhere.append(Elsewhere(text.count("\n", 0, start) + 1, url))
            continue
        changed += 1
        pieces += [text[at:start], new]
        at = end
    return Turned("".join([*pieces, text[at:]]), changed, already, tuple(elsewhere))


def _urls(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, URL) of every string that is a URL."""
    for match in pattern.finditer(text):
        for group in match.re.groupindex:
            value = match.group(group)
            if value is not None and _URL.match(value):
                yield match.start(group), match.end(group), value


def _at_mirror(url: str, base: str, hosts: Sequence[str], index: str) -> str | None:
    """A URL of a known host on the mirror: everything from `/packages/` or `/simple` on, whatever mount stood before it."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not ({host, f"{host}:{port}"} & {name.lower() for name in hosts}):
        return None
    root = _ROOTS.search(parts.path)
    if root is None:
        return None
    tail = url[url.index(parts.path, url.index("://") + 3 + len(parts.netloc)) :]
    kept = tail[root.start() :]
    return base + (index if kept in ("/simple", "/simple/") else kept)


def _pattern(text: str, source: str) -> re.Pattern[str]:
    """How to find the strings of a file, once its text is known to be well-formed."""
    name = Path(source).name.lower()
    if name.endswith((".txt", ".in")):
        return _REQUIREMENTS
    if name.endswith(".json") or (name.endswith(".lock") and text.lstrip().startswith("{")):
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError([Problem(source, f"line {error.lineno}", f"not JSON: {error.msg}")]) from None
        return _JSON
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError([_toml_problem(str(error), text, source)]) from None
    return _TOML


def _toml_problem(message: str, text: str, source: str) -> Problem:
    """The parser's words with the line as a place of its own."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    line = found.group(1) if found and found.group(1) else str(text.count("\n") + 1)
    return Problem(source, f"line {line}", f"not TOML: {message[: found.start()] if found else message}")


# --- the command --------------------------------------------------------------------------------------------------


@click.group(name="lock")
def command() -> None:
    """Turn lock files that were made elsewhere to the mirror."""


@command.command(name="rewrite")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", "--url", "to", default=None, help="The mirror: its origin, mount or index URL. Default: from the configuration.")
@click.option("--from", "hosts", multiple=True, metavar="HOST", help="A further host whose URLs are turned (HOST or HOST:PORT).")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if anything points elsewhere than to the mirror.")
@click.option("--output", type=click.Path(path_type=Path, allow_dash=True), default=None, help="Write here instead (one FILE; - is standard output).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file.")
@click.pass_obj
def rewrite(
    config_path: Path | None,
    *,
    files: tuple[Path, ...],
    to: str | None,
    hosts: tuple[str, ...],
    check: bool,
    output: Path | None,
    as_json: bool,
) -> int:
    """Turn uv.lock, pylock.toml, Pipfile.lock and requirements files to the mirror.

    Only URLs of pypi.org, files.pythonhosted.org and --from hosts change; comments, order and hashes stay. Nothing is
    written unless every FILE can be read.
    """
    if output is not None and (len(files) != 1 or check):
        raise InputError([Problem("--output", "", "takes exactly one FILE, and no --check")])
    base = mirror_base(to) if to is not None else _configured(config_path)
    done = _turn_all(files, base, (*KNOWN_HOSTS, *map(_host, hosts)), index_spelling(to or ""))
    for path, before, turned in done:
        if not check and (output is not None or turned.text != before):
            _write(output or path, turned.text)
        _report(path, base, turned, check=check, as_json=as_json, quiet=output is not None and str(output) == "-")
    return 1 if check and any(turned.changed or turned.elsewhere for _, _, turned in done) else 0


def _turn_all(files: Sequence[Path], base: str, hosts: Sequence[str], index: str) -> list[tuple[Path, str, Turned]]:
    problems: list[Problem] = []
    done = []
    for path in files:
        try:
            before = path.read_bytes().decode("utf-8")
            done.append((path, before, turn(before, str(path), base, hosts, index)))
        except OSError as error:
            problems.append(Problem(str(path), "", error.strerror or str(error)))
        except UnicodeDecodeError as error:
            problems.append(Problem(str(path), f"byte {error.start}", "not UTF-8"))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return done


def _host(text: str) -> str:
    """A host from `--from`, which people also give as a URL."""
    host = urlsplit(text).netloc if "://" in text else text
    if not re.fullmatch(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?", host):
        raise InputError([Problem("--from", "", f"{text!r} is not a host")])
    return host


def _configured(config_path: Path | None) -> str:
    """The first package index of the configured mirror."""
    from mirror import config as configuration  # the configuration is read only where no --to is given

    config = configuration.load(config_path, os.environ)
    host = "127.0.0.1" if config.listen.host in ("", "0.0.0.0", "::") else config.listen.host
    scheme = "https" if config.listen.tls.cert else "http"
    origin = config.listen.public_url or f"{scheme}://{f'[{host}]' if ':' in host else host}:{config.listen.port}"
    mount = next((row.mount for row in config.hubs.values() if row.dialect == "pypi"), None)
    if mount is None:
        raise InputError([Problem("--to", "", "the configuration has no package index; name the mirror")])
    return origin.rstrip("/") + mount.rstrip("/")


def _write(path: Path, text: str) -> None:
    """Replace a file whole or not at all; `-` is standard output."""
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    folder = path.resolve().parent
    try:
        with tempfile.NamedTemporaryFile("wb", dir=folder, prefix=f".{path.name}.", delete=False) as file:
            file.write(text.encode("utf-8"))
        if path.exists():
            Path(file.name).chmod(path.stat().st_mode & 0o7777)
        Path(file.name).replace(path.resolve())
    except OSError as error:
        raise InputError([Problem(str(path), "", error.strerror or str(error))]) from None


def _report(path: Path, base: str, turned: Turned, *, check: bool, as_json: bool, quiet: bool) -> None:
    say: Callable[[str], None] = lambda line: click.echo(line, err=quiet)  # noqa: E731 - one stream for both forms
    if as_json:
        elsewhere = [{"line": one.line, "url": one.url} for one in turned.elsewhere]
        say(json.dumps({"file": str(path), "to": base, "changed": turned.changed, "already": turned.already, "elsewhere": elsewhere}))
        return
    verb = "would be turned" if check else "turned"
    say(f"{path}: {turned.changed} URLs {verb} to {base}, {turned.already} there before, {len(turned.elsewhere)} elsewhere")
    for one in turned.elsewhere:
        say(f"  line {one.line}: {one.url}")
