"""What pip, uv, Poetry, pipenv and pdm are told to do, the same in front of an index and in front of the mirror."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.hubs.pypi.plain_index import PlainIndex
from tests.support import clients
from tests.support.mirror import clean_environment
from tests.support.standin.dist import Meta, wheel
from tests.support.standin.index import StandInIndex

DRIVER: Final = Path(__file__).with_name("driver.py")
YANKED: Final = "leaks on Mondays"

POLICY: Final = """version: 1
rules:
  - {id: evil, when: {artifact: ["pkg:pypi/evil-*"]}, effect: deny, legal: true, basis: house policy 1}
  - {id: no-steer, when: {artifact: ["pkg:pypi/acme-steer@1.1"]}, effect: deny}
  - {id: cool-off, when: {artifact: ["pkg:pypi/acme-fresh"], age_days: {lt: 7}}, effect: quarantine}
"""

ALL: Final = ("acme-app", "acme-sdist", "acme-extra[more]", "FOO_bar.Baz", "acme-pin==1.0", "acme-yank==2.0")
"""One installation that needs a wheel, its dependency, a source archive, an extra, another spelling, a pin, a pinned yanked release."""
STEERED: Final = "acme-steer"
"""The project whose newest version the mirror's policy denies: the one thing that ends otherwise there."""


def furnish(index: StandInIndex) -> StandInIndex:
    """What these scenes want beside the stand-in index's default content."""
    fresh = datetime.now(UTC) - timedelta(days=1)
    index.add_release("acme-extra", "1.0", requires=["acme-lib==1.0; extra == 'never'", "acme-more; extra == 'more'"], extras=("more", "never"))
    for name, version in (("acme-more", "1.0"), ("acme-pin", "1.0"), ("acme-pin", "1.1"), ("acme-steer", "1.0"), ("acme-steer", "1.1")):
        index.add_release(name, version)
    index.add_release("acme-yank", "1.0")
    index.add_release("acme-yank", "2.0", yanked=YANKED)
    index.add_release("acme-fresh", "1.0")
    index.add_release("acme-fresh", "2.0", upload_time=fresh)
    index.add_release("acme-dry", "1.0", requires=["acme-dry-part"])
    index.add_release("acme-dry-part", "1.0")
    return index


def plain_index() -> PlainIndex:
    """Two indexes that have only HTML: one as file servers make them, one laid out as PyTorch's."""
    index = PlainIndex()
    name, index.files["/simple/acme-html/acme_html-1.0-py3-none-any.whl"] = wheel(Meta("acme-html", "1.0"))
    index.pages["/simple/acme-html/"] = ("text/html", f'<!DOCTYPE html><a href="{name}">{name}</a>'.encode())
    rows = []
    for version in ("2.0.0+cpu", "2.1.0+cpu"):
        name, data = wheel(Meta("acme-torch", version))
        link = f"/whl/cpu/{name.replace('+', '%2B')}"
        index.files[link] = data
        rows.append(f'<a href="{link}#sha256={hashlib.sha256(data).hexdigest()}">{name}</a><br/>')
    index.pages["/whl/cpu/acme-torch/"] = ("text/html", f"<!DOCTYPE html><html><body>{''.join(rows)}</body></html>".encode())
    return index


@dataclass(frozen=True)
class Target:
    """Where a client is pointed: URLs of an index like PyPI's, of a plain HTML one and of one like PyTorch's."""

    name: str
    index: str
    html: str
    torch: str
    bases: tuple[str, ...]  # what URLs begin with here; comparisons put one word in their place

    @property
    def with_credentials(self) -> str:
        return self.index.replace("http://", "http://reader:pass-phrase@")

    def neutral(self, text: str) -> str:
        """The text with one word for every address that differs from place to place."""
        for base in self.bases:
            text = text.replace(base, "BASE").replace(base.replace("http://", "http://reader:pass-phrase@"), "BASE")
        return text


@dataclass(frozen=True)
class Scene:
    """Files of a folder, and commands run there one after the other until one fails."""

    name: str
    commands: Sequence[Sequence[str]]
    files: Mapping[str, str] = field(default_factory=dict)
    locks: bool = False  # by a client that has a lock and an environment for each folder: an empty one lies there


@dataclass(frozen=True)
class Outcome:
    """What a scene ended with. `installed` maps `name-version` to the SHA-256 of the METADATA that lies there."""

    codes: list[int]
    text: str
    installed: dict[str, str]
    folder: Path

    @property
    def well(self) -> bool:
        return set(self.codes) == {0}

    @property
    def words(self) -> str:
        """What was printed, as one line, without the rulers with which clients wrap it."""
        return " ".join(re.sub(r"[│╰╭─▶×]", " ", self.text).split())


def environ(home: Path) -> dict[str, str]:
    """What every client sees: no settings of this machine's user, no cache from before."""
    kept = {key: value for key, value in clean_environment().items() if key not in {"VIRTUAL_ENV", "PYTHONPATH", "POETRY_HOME"}}
    return {
        **kept, "HOME": str(home), "NO_COLOR": "1", "CI": "1",
        "PIP_CONFIG_FILE": "/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_NO_CACHE_DIR": "1",
        "UV_NO_CONFIG": "1", "UV_NO_CACHE": "1", "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never",
        "POETRY_VIRTUALENVS_IN_PROJECT": "true", "POETRY_NO_INTERACTION": "1",
        "PIPENV_VENV_IN_PROJECT": "1", "PIPENV_IGNORE_VIRTUALENVS": "1", "PIPENV_NOSPIN": "1", "PIPENV_YES": "1",
        "PDM_CHECK_UPDATE": "0",
    }  # fmt: skip


def empty_environment(folder: Path) -> Path:
    """A virtual environment with nothing in it, made once for a folder of scenes: clients need not make one each."""
    made = folder / "empty"
    if not made.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True)
    return made


# --- the clients ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Client:
    """One client: how its environment is made (none: the tests' own), and what the driver loads of it (none: it is a program)."""

    column: str
    environment: tuple[str, tuple[tuple[str, ...], ...]] | None = None
    entry: str = ""
    preloaded: str = ""

    def python(self) -> Path:
        return clients.environment(*self.environment) if self.environment else Path(sys.executable)

    def version(self) -> str:
        python = self.python()
        ask = f"import importlib.metadata as m; print(m.version({self.column.lower()!r}))"
        return f"{self.column} {clients.run([python, '-c', ask], environ(Path('/nonexistent')), Path('/')).out.strip()}"

    def play(self, scenes: Sequence[Scene], folder: Path) -> dict[str, Outcome]:
        """Run the scenes in folders of their own below `folder`, which is also the client's home."""
        jobs = []
        for scene in scenes:
            place = folder / scene.name
            place.mkdir(parents=True)
            for name, text in scene.files.items():
                (place / name).write_text(text, encoding="utf-8")
            if scene.locks:
                shutil.copytree(empty_environment(folder), place / ".venv", symlinks=True)
            # Nothing that one scene has in its cache may help another.
            caches = {name: str(folder / "caches" / scene.name) for name in ("POETRY_CACHE_DIR", "PDM_CACHE_DIR", "PIPENV_CACHE_DIR") if scene.locks}
            jobs.append({"name": scene.name, "folder": str(place), "commands": scene.commands, "environ": caches})
        said = self._forked(jobs, folder) if self.entry else self._started(jobs, folder)
        return {job["name"]: self._outcome(said[job["name"]], folder / job["name"]) for job in jobs}

    def _forked(self, jobs, folder: Path):
        done = subprocess.run(
            [self.python(), DRIVER, self.entry, self.preloaded], input=json.dumps(jobs), env=environ(folder), cwd=folder,
            capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    def _started(self, jobs, folder: Path):
        said = {}
        for job in jobs:
            codes, text = [], ""
            for command in job["commands"]:
                program = Path(sys.prefix) / "bin" / command[0]
                done = clients.run([program, *command[1:]], {**environ(folder), **job["environ"]}, Path(job["folder"]))
                codes, text = [*codes, done.code], text + done.out + done.err
                if done.code:
                    break
            said[job["name"]] = {"codes": codes, "text": text}
        return said

    def _outcome(self, said, place: Path) -> Outcome:
        found = [*place.glob("site/*.dist-info"), *place.glob(".venv/lib/python*/site-packages/*.dist-info")]
        held = {one.name.removesuffix(".dist-info"): hashlib.sha256((one / "METADATA").read_bytes()).hexdigest() for one in found}
        return Outcome(said["codes"], said["text"], held, place)


PIP: Final = Client("pip", None, "pip._internal.cli.main:main", "pip._internal.commands.install,pip._internal.commands.lock")
UV: Final = Client("uv")
POETRY: Final = Client(
    "Poetry", ("poetry", (("poetry>=2,<3",),)), "poetry.console.application:main",
    "poetry.console.commands.lock,poetry.console.commands.install",
)  # fmt: skip
PIPENV: Final = Client("pipenv", ("pipenv", (("pipenv>=2026.1",),)), "pipenv:cli", "pipenv.cli.command")
PDM: Final = Client("pdm", ("pdm", clients.PDM), "pdm.core:main", "pdm.models.session,pdm.formats,pdm.installers,httpcore")


# --- scenes -----------------------------------------------------------------------------------------------------------------

REFUSED: Final[dict[str, str]] = {  # scene -> requirement
    "evil": "evil-thing", "evil-pinned": "evil-thing==1.0", "evil-ranged": "evil-thing>=1,<3", "evil-below": "acme-needs-evil",
    "version": "acme-steer==1.1", "version-ranged": "acme-steer>1.0", "cooling": "acme-fresh==2.0",
}  # fmt: skip


def pip_scenes(target: Target, index: StandInIndex) -> list[Scene]:
    def install(url: str, *what: str) -> list[str]:
        return ["pip", "install", "--no-compile", "--target", "site", "--index-url", url, *what]

    good = next(file.sha256 for file in index.project("acme-pin").release("1.0"))
    return [
        Scene("all", [install(target.with_credentials, *ALL, STEERED)]),
        Scene("hashes", [install(target.index, "--require-hashes", "-r", "r.txt")], {"r.txt": f"acme-pin==1.0 --hash=sha256:{good}\n"}),
        Scene("wrong-hash", [install(target.index, "--require-hashes", "-r", "r.txt")], {"r.txt": f"acme-pin==1.0 --hash=sha256:{'0' * 64}\n"}),
        Scene("dry", [install(target.index, "--dry-run", "--quiet", "--report", "report.json", "acme-dry")]),
        Scene("cut-off", [install(target.index, "--uploaded-prior-to", "2023-06-01T00:00:00Z", "acme-lib")]),
        Scene("lock", [["pip", "lock", "--index-url", target.index, "acme-app"], install(target.index, "-r", "pylock.toml")]),
        Scene("quarantined", [install(target.index, "acme-quarantined")]),
        Scene("unknown", [install(target.index, "acme-never-was")]),
        Scene("html", [install(target.html, "acme-html")]),
        Scene("torch", [install(target.torch, "acme-torch==2.0.0+cpu")]),
        *(Scene(name, [install(target.index, wanted)]) for name, wanted in REFUSED.items() if target.name == "mirror"),
        *([Scene("evil-lock", [["pip", "lock", "--index-url", target.index, "evil-thing"]])] if target.name == "direct" else ()),
    ]


def uv_scenes(target: Target, index: StandInIndex) -> list[Scene]:
    def install(url: str, *what: str) -> list[str]:
        return ["uv", "pip", "install", "--target", "site", "--default-index", url, *what]

    good = next(file.sha256 for file in index.project("acme-pin").release("1.0"))
    return [
        Scene("all", [install(target.with_credentials, *ALL, STEERED)]),
        Scene("hashes", [install(target.index, "--require-hashes", "-r", "r.txt")], {"r.txt": f"acme-pin==1.0 --hash=sha256:{good}\n"}),
        Scene("wrong-hash", [install(target.index, "--require-hashes", "-r", "r.txt")], {"r.txt": f"acme-pin==1.0 --hash=sha256:{'0' * 64}\n"}),
        Scene("dry", [["uv", "pip", "compile", "--no-header", "--default-index", target.index, "-o", "report.json", "r.in"]], {"r.in": "acme-dry\n"}),
        Scene("cut-off", [install(target.index, "--exclude-newer", "2023-06-01T00:00:00Z", "acme-lib")]),
        Scene(
            "lock", [["uv", "lock", "--default-index", target.index], ["uv", "sync", "--frozen", "--default-index", target.index]],
            {"pyproject.toml": pyproject(["acme-app"])},
        ),
        Scene("quarantined", [install(target.index, "acme-quarantined")]),
        Scene("unknown", [install(target.index, "acme-never-was")]),
        Scene("html", [install(target.html, "acme-html")]),
        Scene("torch", [install(target.torch, "acme-torch==2.0.0+cpu")]),
        *(Scene(name, [install(target.index, wanted)]) for name, wanted in REFUSED.items() if target.name == "mirror"),
        *([Scene("evil-lock", [["uv", "lock", "--default-index", target.index]], {"pyproject.toml": pyproject(["evil-thing"])})]
          if target.name == "direct" else ()),
    ]  # fmt: skip


def pyproject(wanted: Sequence[str], *more: str) -> str:
    return "\n".join(
        ["[project]", 'name = "p"', 'version = "0"', 'requires-python = ">=3.11"', f"dependencies = {json.dumps(list(wanted))}", *more, ""]
    )


def poetry_scene(name: str, url: str, wanted: Sequence[str], cut: str = "") -> Scene:
    more = ("[tool.poetry]", "package-mode = false", "[[tool.poetry.source]]", 'name = "mirror"', f'url = "{url}"', 'priority = "primary"')
    commands = [["poetry", "lock"], ["poetry", "install", "--no-root"]]
    return Scene(name, commands, {"pyproject.toml": pyproject(wanted, *more)}, True)


def pdm_scene(name: str, url: str, wanted: Sequence[str], cut: str = "") -> Scene:
    more = ("[[tool.pdm.source]]", 'name = "pypi"', f'url = "{url}"', "verify_ssl = false")
    commands = [["pdm", "lock", *(["--exclude-newer", cut] if cut else [])], ["pdm", "sync", "--no-self"]]
    return Scene(name, commands, {"pyproject.toml": pyproject(wanted, *more)}, True)


def pipenv_scene(name: str, url: str, wanted: Sequence[str], cut: str = "") -> Scene:
    rows = []
    for one in wanted:
        found = re.fullmatch(r"([\w.-]+)(?:\[(\w+)\])?(.*)", one)
        assert found is not None
        rows.append(f'"{found[1]}" = {{version = "{found[3] or "*"}"{f", extras = [{found[2]!r}]" if found[2] else ""}}}')
    source = f'[[source]]\nname = "mirror"\nurl = "{url}"\nverify_ssl = false\n[packages]\n'
    commands = [["pipenv", "lock"], ["pipenv", "sync"]]
    return Scene(name, commands, {"Pipfile": source + "\n".join(rows) + "\n"}, True)


def locking_scenes(scene_of, target: Target, refusals: Sequence[str], *, torch: bool = True, cut: bool = False) -> list[Scene]:
    """The same for a client that always locks first and installs from the lock."""
    scenes = [
        scene_of("all", target.with_credentials, [*ALL, STEERED]),
        scene_of("unknown", target.index, ["acme-never-was"]),
    ]
    if torch:
        scenes.append(scene_of("torch", target.torch, ["acme-torch==2.0.0+cpu"]))
    if cut:
        scenes.append(scene_of("cut-off", target.index, ["acme-lib"], "2023-06-01T00:00:00Z"))
    if target.name == "mirror":
        scenes += [scene_of(name, target.index, [REFUSED[name]]) for name in refusals]
    return scenes
