"""`mirror sync`: what is wanted, fetched before anybody asks for it, and pinned."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.bundle.wants import PackageWant, RepoWant, Wants, check, parse
from mirror.core.errors import InputError, Problem
from mirror.core.nouns import HUGGINGFACE
from mirror.decode import MAX_BYTES

if TYPE_CHECKING:
    from mirror.bundle.locks import Choice
    from mirror.bundle.resolve import Closure
    from mirror.bundle.sync import Report
    from mirror.bundle.used import Used
    from mirror.cli.sync_display import Display
    from mirror.cli.sync_mirror import Reached
    from mirror.cli.sync_used import Question
    from mirror.config import Config
    from mirror.core.nouns import Kind

_COMMAND_LINE: Final = "command line"
_PATH: Final = click.Path(path_type=Path, dir_okay=False)
_MANY: Final[dict[str, Any]] = {"multiple": True}


@dataclass(frozen=True, slots=True)
class Options:
    """How this run goes about it."""

    url: str | None
    token: str | None
    jobs: int
    retries: int
    dry_run: bool
    pin: bool
    prune: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that this run is to see to: the wants, read; and what was used, as whole `repositories` or by file."""

    wants: Wants
    closures: Sequence[Closure]
    locked: Sequence[Choice]
    repositories: Sequence[tuple[Kind, RepoWant]] = ()
    used: Sequence[Used] = ()

    @property
    def of_hub(self) -> bool:
        """Whether a Hugging Face hub is needed."""
        return any(self.wants.repositories()) or bool(self.repositories) or any(row.project.ecosystem == HUGGINGFACE for row in self.used)

    @property
    def of_index(self) -> bool:
        """Whether a package index is needed."""
        return bool(self.wants.packages) or any(row.project.ecosystem != HUGGINGFACE for row in self.used)


@click.command(name="sync")
@click.argument("wants_path", metavar="[WANTS.YAML]", required=False, type=_PATH)
@click.option("--model", "models", metavar="ID[@REV]", **_MANY, help="A model; also --dataset and --space.")
@click.option("--dataset", "datasets", metavar="ID[@REV]", **_MANY, help="A dataset.")
@click.option("--space", "spaces", metavar="ID[@REV]", **_MANY, help="A space.")
@click.option("--allow", metavar="PATTERN", **_MANY, help="Of these repositories only such files, as in snapshot_download.")
@click.option("--ignore", metavar="PATTERN", **_MANY, help="Of these repositories no such files.")
@click.option("--requirements", "files", type=_PATH, **_MANY, help="A requirements file and all that it needs.")
@click.option("--requirement", "lines", metavar="TEXT", **_MANY, help='A package and all that it needs: "acme-lib>=1".')
@click.option("--lock", "locks", type=_PATH, **_MANY, help="The files of a pylock.toml, uv.lock or poetry.lock, and no others.")
@click.option("--ancestors", is_flag=True, help="Of --model also what it was made from, up to the root.")
@click.option("--used", "span", metavar="TIME", default=None, help="What clients were given in that time (90d, 12w), as the ledger has it.")
@click.option("--origin", "origins", metavar="XX", **_MANY, help="Of --used only what comes from this country, ancestors included.")
@click.option("--publisher", "publishers", metavar="NAME", **_MANY, help="Of --used only what this publisher (id, handle) published.")
@click.option("--preserve", is_flag=True, help="Of --used whole revisions: every file that policy permits.")
@click.option("--python", "pythons", metavar="X.Y", **_MANY, help="For this Python; else for the one that runs here.")
@click.option("--platform", "platforms", metavar="NAME", **_MANY, help="For this platform, as uv names it; else for this one.")
@click.option("--name", default=None, help="Of the wanted list, for its pins; else its own or the file's.")
@click.option("--url", default=None, help="The mirror that runs, where it is not at its listen address.")
@click.option("--token", envvar="HF_TOKEN", default=None, help="The hub's token for what is gated; else $HF_TOKEN.")
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Files at once.")
@click.option("--retries", type=click.IntRange(0, 100), default=3, show_default=True, help="How often what brings nothing is tried again.")
@click.option("--dry-run", is_flag=True, help="Fetch and pin nothing; say what is here, what is not, and what would be refused.")
@click.option("--no-pin", is_flag=True, help="Let what is fetched be evicted like everything else.")
@click.option("--prune-pins", is_flag=True, help="Remove pins of this wanted list that it no longer wants.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines, a summary last.")
@click.pass_obj
def command(config_path: Path | None, /, wants_path: Path | None, **given: Any) -> int:
    """Fetch models, datasets, spaces and packages through the mirror, and pin them: what is named, or what was used.

    Exit 0 when all is there, 1 when something was refused, is missing or failed, 2 when what is wanted cannot be read.
    """
    if given["no_pin"] and given["prune_pins"]:
        raise click.UsageError("--prune-pins with --no-pin: which of them?")
    past = _past(given)
    wants = _wants(wants_path, given)
    wanted = Wanted(wants, list(_closures(wants)), _locked(wants))
    from mirror import config as configuration
    from mirror import log
    from mirror.cli.sync_mirror import credential

    options = Options(
        given["url"], credential(given["token"]), given["jobs"], given["retries"], given["dry_run"], not given["no_pin"],
        given["prune_pins"], given["as_json"],
    )  # fmt: skip
    config = configuration.load(config_path, os.environ)
    log.configure("error", config.log.format)  # what is done is printed; only what went wrong is logged
    if past is not None:
        wanted = _with_past(wanted, config_path, config, past, whole=given["preserve"])
    return asyncio.run(_run(config, wanted, options))


# --- what is wanted -----------------------------------------------------------------------------------------------


def _wants(path: Path | None, given: dict[str, Any]) -> Wants:
    """The wants of file and command line together; the file's paths begin at its folder. Raises `InputError`."""
    from_line = _from_command_line(given)
    if path is None:
        wants = from_line
    else:
        wants = parse(_text(path), str(path))
        if from_line != Wants(1):
            check(from_line, _COMMAND_LINE)
        wants = replace(
            wants, models=wants.models + from_line.models, datasets=wants.datasets + from_line.datasets, spaces=wants.spaces + from_line.spaces,
            packages=tuple(_located(row, path.parent) for row in wants.packages) + from_line.packages,
        )  # fmt: skip
    usual = f"used {given['span']}" if given["span"] else _COMMAND_LINE
    name = given["name"] or wants.name or (usual if path is None else re.sub(r"[^A-Za-z0-9 ._-]", "_", path.stem)[:100])
    wants = replace(wants, name=name)
    if path is not None or not given["span"] or from_line != Wants(1):
        check(wants, str(path or _COMMAND_LINE))
    return wants


def _from_command_line(given: dict[str, Any]) -> Wants:
    allow, ignore = given["allow"] or None, given["ignore"] or None

    def rows(names: Iterable[str]) -> tuple[RepoWant, ...]:
        parts = [name.partition("@") for name in names]
        return tuple(RepoWant(name, revision if at else "main", allow, ignore) for name, at, revision in parts)

    models, datasets, spaces = rows(given["models"]), rows(given["datasets"]), rows(given["spaces"])
    if given["ancestors"]:
        if not models:
            raise click.UsageError("--ancestors is for --model")
        models = tuple(replace(row, ancestors=True) for row in models)
    if (allow or ignore) and not (models or datasets or spaces):
        raise click.UsageError("--allow and --ignore narrow --model, --dataset and --space; a file has patterns of its own")
    packages = [PackageWant(str(path), None, None, given["pythons"], given["platforms"]) for path in given["files"]]
    packages += [PackageWant(None, line, None, given["pythons"], given["platforms"]) for line in given["lines"]]
    packages += [PackageWant(None, None, str(path), given["pythons"], given["platforms"]) for path in given["locks"]]
    if (given["pythons"] or given["platforms"]) and not packages:
        raise click.UsageError("--python and --platform are for --requirements, --requirement and --lock")
    return Wants(1, "", models, datasets, spaces, tuple(packages))


def _located(row: PackageWant, base: Path) -> PackageWant:
    def at(path: str | None) -> str | None:
        return None if path is None else str(base / path)

    return replace(row, requirements=at(row.requirements), lock=at(row.lock))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise InputError([Problem(str(path), "", error.strerror or str(error))]) from error
    except UnicodeDecodeError as error:
        raise InputError([Problem(str(path), f"byte {error.start}", "not UTF-8")]) from error


def _closures(wants: Wants) -> Iterator[Closure]:
    """What is to be resolved, for each Python and platform. Raises `InputError` with the problems of all requirements files."""
    from mirror.bundle.requirements import Requirements, read_requirements
    from mirror.bundle.resolve import Closure

    problems: list[Problem] = []
    for row in wants.packages:
        if row.lock is not None:
            continue
        try:
            if row.requirements is not None:
                read, label = read_requirements(Path(row.requirements), lambda path: path.read_text(encoding="utf-8")), row.requirements
            else:
                read, label = Requirements([row.requirement or ""]), row.requirement or ""
        except InputError as error:
            problems += error.problems
            continue
        yield from (Closure(label, read, python, platform) for python in row.python or (None,) for platform in row.platforms or (None,))
    if problems:
        raise InputError(problems)


def _locked(wants: Wants) -> list[Choice]:
    """What lock files name, for each Python and platform. Raises `InputError` with the problems of all of them."""
    from mirror.bundle.locks import choose, read_lock
    from mirror.bundle.targets import Target

    problems: list[Problem] = []
    chosen: list[Choice] = []
    for row in wants.packages:
        if row.lock is None:
            continue
        targets = [Target(python, platform) for python in row.python or (None,) for platform in row.platforms or (None,)]
        try:
            chosen += choose(read_lock(_text(Path(row.lock)), row.lock), targets if row.python or row.platforms else ())
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return chosen


def _past(given: dict[str, Any]) -> Question | None:
    """What of the past is asked for; None without `--used`."""
    if given["span"] is None:
        if given["origins"] or given["publishers"] or given["preserve"]:
            raise click.UsageError("--origin, --publisher and --preserve narrow and widen --used")
        return None
    from mirror.cli.sync_used import question

    return question(given["span"], given["origins"], given["publishers"])


def _with_past(wanted: Wanted, config_path: Path | None, config: Config, past: Question, *, whole: bool) -> Wanted:
    """`wanted` with what was used."""
    from mirror.bundle.used import preserved
    from mirror.cli.owner import ledger_of
    from mirror.cli.sync_used import used

    rows = used(config_path, ledger_of(config), past)
    if whole:
        repositories, releases = preserved(rows)
        return replace(wanted, repositories=repositories, used=releases)
    return replace(wanted, used=rows)


# --- the run ------------------------------------------------------------------------------------------------------


async def _run(config: Config, wanted: Wanted, options: Options) -> int:
    from mirror.bundle.resolve import find_uv
    from mirror.cli.sync_display import Display
    from mirror.cli.sync_mirror import reached

    uv = find_uv() if wanted.closures else ""
    with Display(as_json=options.as_json) as display:
        async with reached(config, options.url, pin=options.pin) as mirror:
            _demand(mirror, wanted)
            report, interrupted = await _synced(mirror, wanted, uv, options, display)
        display.finished(report, interrupted=interrupted, where=mirror.where)
    return 130 if interrupted else 0 if report.fine else 1


def _demand(mirror: Reached, wanted: Wanted) -> None:
    """Raises `InputError` where the mirror has no hub for what is wanted."""
    problems = []
    if not mirror.address.hub and wanted.of_hub:
        problems.append(Problem("hubs", "", "the configuration has no Hugging Face hub, and repositories are wanted"))
    if mirror.index is None and wanted.of_index:
        problems.append(Problem("hubs", "", "the configuration has no package index, and packages are wanted"))
    if problems:
        raise InputError(problems)


async def _synced(
    mirror: Reached, wanted: Wanted, uv: str, options: Options, display: Display
) -> tuple[Report, bool]:
    """The report, and whether a signal ended it early."""
    from mirror.bundle.fetch import Client, session
    from mirror.bundle.resolve import resolve
    from mirror.bundle.sync import Manner, Sync

    async with session(options.jobs) as connections:
        client = Client(connections, mirror.address, options.token, options.retries)
        manner = Manner(wanted.wants.name, options.jobs, options.dry_run, options.prune, mirror.pins)
        sync = Sync(
            client, lambda closure: resolve(uv, mirror.index or "", closure), mirror.origins, manner, display, lambda: datetime.now(UTC),
            mirror.index,
        )  # fmt: skip
        repositories = [*wanted.wants.repositories(), *wanted.repositories]
        running = asyncio.ensure_future(sync.run(repositories, wanted.closures, wanted.locked, wanted.used))
        interrupted = await _until_signal(running)
    return sync.report, interrupted


async def _until_signal(running: asyncio.Future[Any]) -> bool:
    """Wait for `running`; SIGINT and SIGTERM cancel it, a second one ends the process as usual. Whether one came."""
    loop, told = asyncio.get_running_loop(), False

    def stop(number: signal.Signals) -> None:
        nonlocal told
        told = True
        loop.remove_signal_handler(number)
        running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        with suppress(asyncio.CancelledError):
            await running
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    sys.stdout.flush()
    return told
