"""What `mirror sync` and `mirror bundle export` are asked for: a wanted list, options, lock files, and what was used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mirror.bundle.wants import PackageWant, RepoWant, Wants, faults, read
from mirror.core.errors import InputError, Problem
from mirror.core.nouns import HUGGINGFACE
from mirror.decode import MAX_BYTES

if TYPE_CHECKING:
    from mirror.bundle.locks import Choice, Lock
    from mirror.bundle.requirements import Requirements
    from mirror.bundle.resolve import Closure
    from mirror.bundle.used import Used
    from mirror.cli.sync_mirror import Reached
    from mirror.cli.sync_origin import Narrowed
    from mirror.cli.sync_used import Question
    from mirror.config import Config
    from mirror.core.nouns import Kind

F = TypeVar("F", bound=Callable[..., Any])
_COMMAND_LINE: Final = "command line"
_PATH: Final = click.Path(path_type=Path, dir_okay=False)
#: Files that were read, by kind (requirements, lock) and path.
_Files = Mapping[tuple[str, str], "Requirements | Lock"]
_MANY: Final[dict[str, Any]] = {"multiple": True}
#: The options that name what is wanted, the same for every command that takes them; `--publisher` is each command's own.
_OPTIONS: Final = (
    click.option("--model", "models", metavar="ID[@REV]", **_MANY, help="A model; also --dataset and --space."),
    click.option("--dataset", "datasets", metavar="ID[@REV]", **_MANY, help="A dataset."),
    click.option("--space", "spaces", metavar="ID[@REV]", **_MANY, help="A space."),
    click.option("--allow", metavar="PATTERN", **_MANY, help="Of these repositories only such files, as in snapshot_download."),
    click.option("--ignore", metavar="PATTERN", **_MANY, help="Of these repositories no such files."),
    click.option("--requirements", "files", type=_PATH, **_MANY, help="A requirements file and all that it needs."),
    click.option("--requirement", "lines", metavar="TEXT", **_MANY, help='A package and all that it needs: "acme-lib>=1".'),
    click.option("--lock", "locks", type=_PATH, **_MANY, help="The files of a pylock.toml, uv.lock or poetry.lock, and no others."),
    click.option("--ancestors", is_flag=True, help="Of --model also what it was made from, up to the root."),
    click.option("--used", "span", metavar="TIME", default=None, help="What clients were given in that time (90d, 12w), as the ledger has it."),
    click.option("--origin", "origins", metavar="XX", **_MANY, help="Of --used only what comes from this country, ancestors included."),
    click.option("--preserve", is_flag=True, help="Of --used whole revisions: every file that policy permits."),
    click.option("--python", "pythons", metavar="X.Y", **_MANY, help="For this Python; else for the one that runs here."),
    click.option("--platform", "platforms", metavar="NAME", **_MANY, help="For this platform, as uv names it; else for this one."),
)
#: Those that name something, by the names of what they give, and all of them.
_NAMING: Final = ("models", "datasets", "spaces", "files", "lines", "locks", "span")
KEYS: Final = (*_NAMING, "allow", "ignore", "ancestors", "origins", "preserve", "pythons", "platforms")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that this run is to see to: the wants, read; and what was used, as whole `repositories` or by file.

    `narrowed` is what `--origin` leaves out of that as far as the ledger tells; `sync_origin.descended` asks today's lineage.
    """

    wants: Wants
    closures: Sequence[Closure]
    locked: Sequence[Choice]
    repositories: Sequence[tuple[Kind, RepoWant]] = ()
    used: Sequence[Used] = ()
    narrowed: Narrowed | None = None

    @property
    def of_hub(self) -> bool:
        """Whether a Hugging Face hub is needed."""
        return any(self.wants.repositories()) or bool(self.repositories) or any(row.project.ecosystem == HUGGINGFACE for row in self.used)

    @property
    def of_index(self) -> bool:
        """Whether a package index is needed."""
        return bool(self.wants.packages) or any(row.project.ecosystem != HUGGINGFACE for row in self.used)


def wanting(command: F) -> F:
    """Give a command the options that name what is wanted."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def named(given: Mapping[str, Any]) -> bool:
    """Whether the options themselves name something."""
    return any(given[key] for key in _NAMING)


def wanted_of(path: Path | None, given: dict[str, Any]) -> Wanted:
    """The wants of file and command line together, read; what was used is for `with_past`.

    The file's paths begin at its folder. Raises `InputError` with every problem of the list, of the options and of the files that they name.
    """
    from_line = _from_command_line(given)
    listed = None if path is None else read(_text(path), str(path))
    usual = f"used {given['span']}" if given["span"] else _COMMAND_LINE
    stem = usual if path is None else re.sub(r"[^A-Za-z0-9 ._-]", "_", path.stem)[:100]
    name = given["name"] or (listed.name if listed is not None else "") or stem
    rows = [(row, "") for row in from_line.packages]
    problems: list[Problem] = []
    if listed is None:
        wants = replace(from_line, name=name)
        problems += faults(wants, _COMMAND_LINE) if from_line != Wants(1) or not given["span"] else []
    else:
        problems += faults(replace(listed, name=name), str(path)) + (faults(from_line, _COMMAND_LINE) if from_line != Wants(1) else [])
        base = path.parent if path is not None else Path()
        rows = [*((_located(row, base), f"packages[{index}]") for index, row in enumerate(listed.packages)), *rows]
        wants = replace(
            listed, name=name, models=listed.models + from_line.models, datasets=listed.datasets + from_line.datasets,
            spaces=listed.spaces + from_line.spaces, packages=tuple(row for row, _ in rows),
        )  # fmt: skip
    files = _files(rows, str(path), problems)
    if problems:
        raise InputError(problems)
    return Wanted(wants, list(_closures(wants, files)), _locked(wants, files))


def _files(rows: Iterable[tuple[PackageWant, str]], source: str, problems: list[Problem]) -> _Files:
    """The files that `rows` name, read, by kind and path; what is wrong with them goes to `problems`, with the row of `source` that names what is not there."""
    from mirror.bundle.locks import read_lock
    from mirror.bundle.requirements import read_requirements

    faulty = {problem.place for problem in problems if problem.source == source}
    found: dict[tuple[str, str], Requirements | Lock] = {}
    for row, place in rows:
        for key, named in (("requirements", row.requirements), ("lock", row.lock)):
            if named is None or (key, named) in found or f"{place}.{key}" in faulty:
                continue
            try:
                if key == "lock":
                    found[key, named] = read_lock(_text(Path(named)), named)
                else:
                    found[key, named] = read_requirements(Path(named), lambda path: path.read_text(encoding="utf-8"))
            except InputError as error:
                absent = bool(place) and not Path(named).is_file()
                problems += [Problem(source, f"{place}.{key}", f"{one.source}: {one.message}") if absent else one for one in error.problems]
    return found


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


def _closures(wants: Wants, files: _Files) -> Iterator[Closure]:
    """What is to be resolved, for each Python and platform."""
    from mirror.bundle.requirements import Requirements
    from mirror.bundle.resolve import Closure

    for row in wants.packages:
        label = row.requirements or row.requirement
        if label is None:
            continue
        found = files.get(("requirements", label)) if row.requirements is not None else Requirements([label])
        if isinstance(found, Requirements):
            yield from (Closure(label, found, python, platform) for python in row.python or (None,) for platform in row.platforms or (None,))


def _locked(wants: Wants, files: _Files) -> list[Choice]:
    """What lock files name, for each Python and platform."""
    from mirror.bundle.locks import Lock, choose
    from mirror.bundle.targets import Target

    chosen: list[Choice] = []
    for row in wants.packages:
        lock = files.get(("lock", row.lock or ""))
        if isinstance(lock, Lock):
            targets = [Target(python, platform) for python in row.python or (None,) for platform in row.platforms or (None,)]
            chosen += choose(lock, targets if row.python or row.platforms else ())
    return chosen


def past_of(given: dict[str, Any]) -> Question | None:
    """What of the past is asked for; None without `--used`."""
    if given["span"] is None:
        if given["origins"] or given["publishers"] or given["preserve"]:
            raise click.UsageError("--origin, --publisher and --preserve narrow and widen --used")
        return None
    from mirror.cli.sync_used import question

    return question(given["span"], given["origins"], given["publishers"])


def with_past(wanted: Wanted, config_path: Path | None, config: Config, past: Question, *, whole: bool) -> Wanted:
    """`wanted` with what was used."""
    from mirror.bundle.used import preserved
    from mirror.cli.owner import ledger_of
    from mirror.cli.sync_used import used

    given = used(config_path, ledger_of(config), past)
    narrowed = None if given.narrowed is None else replace(given.narrowed, whole=whole)
    repositories, rows = preserved(given.rows) if whole else ((), given.rows)
    return replace(wanted, repositories=repositories, used=rows, narrowed=narrowed)


def demand(mirror: Reached, wanted: Wanted) -> None:
    """Raises `InputError` where the mirror has no hub for what is wanted."""
    problems = []
    if not mirror.address.hub and wanted.of_hub:
        problems.append(Problem("hubs", "", "the configuration has no Hugging Face hub, and repositories are wanted"))
    if mirror.index is None and wanted.of_index:
        problems.append(Problem("hubs", "", "the configuration has no package index, and packages are wanted"))
    if problems:
        raise InputError(problems)
