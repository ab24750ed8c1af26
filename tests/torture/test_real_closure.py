"""A closure from PyPI itself, for two Pythons on two platforms: synced, carried over the air gap, installed by pip, uv and Poetry.

Needs pypi.org, and root with iproute2 for the laboratory, which is a network namespace without any route.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mirror.bundle.layout import BundleReader
from mirror.bundle.resolve import find_uv
from mirror.bundle.standalone import NAME, program
from tests.acceptance.test_poetry_pipenv import POETRY
from tests.bundle.elsewhere import of_this_tree
from tests.bundle.place import BARE, Laboratory, lonely_place
from tests.bundle.test_carried import enrolled, here
from tests.support.clients import Said, environment, run
from tests.support.mirror import ALLOW_ALL, MirrorProcess, clean_environment, until

#: This tree's own mirror, whatever is installed.
OURS = {**clean_environment(), "PYTHONPATH": str(Path(__file__).parents[2])}
pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]

PYTHONS = ("3.11", "3.12")
#: As uv names them, with the tags by which pip does.
PLATFORMS = {"x86_64-manylinux_2_28": [f"manylinux_2_{n}_x86_64" for n in (28, 27, 26, 24, 17, 12, 5)] + ["manylinux2014_x86_64", "manylinux1_x86_64"], "windows": ["win_amd64"]}
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
WANTS = f"""
version: 1
name: closure
packages:
  - {{requirement: transformers, python: {json.dumps(PYTHONS)}, platforms: {json.dumps(list(PLATFORMS))}}}
"""
#: One package of each kind that a lock has to tell apart: a marker, an extra, a compiled one, a pure one.
PROJECT = """
[project]
name = "laboratory"
version = "0"
requires-python = ">=3.11,<3.13"
dependencies = ["transformers", "colorama; sys_platform == 'win32'", "httpx[http2]"]
[dependency-groups]
dev = ["iniconfig"]
[tool.poetry]
package-mode = false
"""


@pytest.fixture(scope="module", autouse=True)
def reachable() -> None:
    try:
        socket.create_connection(("pypi.org", 443), 5).close()
    except OSError:
        pytest.skip("pypi.org cannot be reached from here")


def plain(folder: Path, **more: str) -> dict[str, str]:
    """An environment in which no tool of packages knows of any index but what it is told."""
    dropped = ("VIRTUAL_ENV", "PYTHONPATH", "POETRY_")
    kept = {name: value for name, value in clean_environment().items() if not name.startswith(dropped)}
    return {
        **kept, "HOME": str(folder), "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1", "PIP_NO_INPUT": "1",
        "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(folder / "uv-cache"), "UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "copy", "POETRY_NO_INTERACTION": "1",
        "POETRY_CACHE_DIR": str(folder / "poetry-cache"), "POETRY_VIRTUALENVS_IN_PROJECT": "true", "NO_COLOR": "1", **more,
    }  # fmt: skip


def inside(lab: Laboratory, folder: Path) -> dict[str, str]:
    """The same, told of the laboratory's mirror."""
    return plain(folder, PIP_INDEX_URL=f"{lab.url}/pypi/simple/", UV_DEFAULT_INDEX=f"{lab.url}/pypi/simple/")


def within(lab: Laboratory, line: list[str | Path], cwd: Path, environ: dict[str, str] | None = None) -> Said:
    """A command in the laboratory, as patient as `command`."""
    return lab.place.run(*line, cwd=cwd, environ=environ or plain(cwd), timeout=900)


def command(mirror: MirrorProcess, *arguments: str) -> Said:
    """A command of the product that may take as long as the network does."""
    return run([sys.executable, "-m", "mirror.cli.main", "-c", mirror.folder / "mirror.yaml", *arguments], OURS, mirror.folder, 900)


def sync(mirror: MirrorProcess, *arguments: str) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    done = command(mirror, "sync", *arguments, "--json")
    rows = [json.loads(row) for row in done.out.splitlines()]
    assert rows, done.err
    return done.code, rows[:-1], rows[-1]["summary"]


def files(rows: list[dict[str, Any]]) -> set[str]:
    return {row["name"].rpartition("file_name=")[2] for row in rows}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], Mapping[str, tuple[str, str]]]:
    """What PyPI's own answers make of `transformers` for each Python and platform: file by SHA-256 and requirement."""
    folder = tmp_path_factory.mktemp("pypi")
    (folder / "wanted.in").write_text("transformers\n")
    found = {}
    for python in PYTHONS:
        for platform in PLATFORMS:
            line = [find_uv(), "pip", "compile", "-q", "--format", "pylock.toml", "--no-build", "--python", sys.executable, "--python-version", python, "--python-platform", platform, "wanted.in"]
            said = run(line, plain(folder), folder, 300)
            assert said.code == 0, said.text
            found[python, platform] = {
                wheel["url"].rpartition("/")[2]: (wheel["hashes"]["sha256"], f"{package['name']}=={package['version']}")
                for package in tomllib.loads(said.out)["packages"]
                for wheel in package["wheels"]
            }
    return found


@pytest.fixture(scope="module")
def hq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    """A mirror of PyPI that has synced what is wanted."""
    mirror = here(MirrorProcess(tmp_path_factory.mktemp("hq"), {"hubs": {"huggingface": None}}).start())
    try:
        (mirror.folder / "wants.yaml").write_text(WANTS)
        mirror.synced = sync(mirror, "wants.yaml")
        yield mirror
    finally:
        mirror.stop()


@pytest.fixture(scope="module")
def lab(hq: MirrorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """A laboratory that has verified the volumes of a bundle with nothing but Python, taken them in, and serves."""
    folder = tmp_path_factory.mktemp("laboratory")
    hq.carried = [export(hq, "closure.tar", "wants.yaml", "--form", "tar", "--volume", "24MiB")]
    cards = enrolled(hq, folder / "cards")
    with lonely_place() as place:
        lab = Laboratory(place, of_this_tree(folder), folder / "lab", hq.port)  # the same address in and out, as one name has
        lab.folder.mkdir()
        assert lab.says("init", "--profile", "lab").code == 0
        lab.policy_path.write_text(ALLOW_ALL)
        lab.configure(listen={"host": "127.0.0.1", "port": hq.port}, trust={"verify": [str(cards)]})
        carry(hq, lab, "closure.tar.001")
        lab.start()
        try:
            yield lab
        finally:
            lab.stop()


def export(hq: MirrorProcess, name: str, *more: str) -> dict[str, Any]:
    return command(hq, "bundle", "export", "-o", str(hq.folder / name), "--json", *more).json()


def carry(hq: MirrorProcess, lab: Laboratory, name: str) -> None:
    """Verified by the single file, then imported, with no route out."""
    bundle, public, single = hq.folder / name, lab.folder / "sender.pem", lab.folder / NAME
    public.write_text(hq.command("key", "show", "--pem").stdout)
    single.write_text(program())
    said = within(lab, [BARE, "-I", "-S", single, bundle, "--key", public], lab.folder)
    assert (said.code, "holds" in said.out) == (0, True), said.text
    said = within(lab, [lab.program, "bundle", "import", str(bundle), "--receipt", str(lab.folder / f"{name}.receipt"), "--json"], lab.folder)
    assert said.code == 0, said.text
    assert said.json()["refused"] == []


def test_everything_comes_once_and_is_on_record(hq, locked):
    """What the sync takes is, file by file, what uv makes of PyPI itself; a second sync takes nothing; each file is pinned, and on record as published."""
    code, rows, summary = hq.synced
    # Where the index lists no metadata (PEP 658), resolving has fetched a wheel already.
    assert (code, [row for row in rows if row["state"] not in ("fetched", "here")]) == (0, [])
    assert files(rows) == {name for closure in locked.values() for name in closure}
    assert summary["pinned"] == len(rows)
    again = sync(hq, "wants.yaml")
    assert (again[0], {row["state"] for row in again[1]}, again[2]["pinned"]) == (0, {"here"}, 0)
    assert sum(row["size"] for row in again[1]) == sum(row["size"] for row in rows)
    shas = {name: sha256 for closure in locked.values() for name, (sha256, _) in closure.items()}

    def acquired() -> list[dict[str, Any]]:
        lines = hq.command("cache", "show", "pkg:pypi/*", "--json").stdout.splitlines()
        # A resolver that was impatient has looked into a wheel that nobody wants: of others there may be records too.
        return [row for row in map(json.loads, lines) if row["artifact"].rpartition("file_name=")[2] in shas]

    until(lambda: len(acquired()) >= len(rows), 120)
    assert len(acquired()) == len({row["artifact"] for row in acquired()}) == len(rows)
    for row in acquired():
        assert row["digest"] == row["declared"] == f"sha256:{shas[row['artifact'].rpartition('file_name=')[2]]}"
        assert (row["upstream"], row["public"], "sender" in row) == ("https://files.pythonhosted.org", True, False), row
    [transformers] = [row for row in acquired() if "pypi/transformers@" in row["artifact"]]
    assert "Apache" in transformers["licenses"][0]
    assert transformers["texts"]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_pip_downloads_each_combination(lab, locked, tmp_path, python, platform):
    """For each Python and platform pip gets, in the laboratory, exactly the files of PyPI's lock, by its hashes."""
    wanted = locked[python, platform]
    lines = [f"{requirement} --hash=sha256:{sha256}" for sha256, requirement in wanted.values()]
    (tmp_path / "r.txt").write_text("\n".join(lines))
    tags = [word for tag in (*PLATFORMS[platform], "any") for word in ("--platform", tag)]
    line = [sys.executable, "-m", "pip", "download", "--require-hashes", "--no-deps", "--only-binary", ":all:", "--implementation", "cp", "--python-version", python, *tags, "-d", "got", "-r", "r.txt"]
    said = within(lab, line, tmp_path, inside(lab, tmp_path))
    assert said.code == 0, said.text
    got = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "got").iterdir()}
    assert got.items() <= {name: sha256 for name, (sha256, _) in wanted.items()}.items()
    # Of a release with several wheels that fit it takes the best one.
    assert sorted(wanted[name][1] for name in got) == sorted({requirement for _, requirement in wanted.values()})


def imported(lab: Laboratory, python: Path, folder: Path) -> str:
    """The version of `transformers` that this Python really imports, and what it is made of works."""
    script = "import transformers, tokenizers, numpy; from transformers import BertConfig; print(BertConfig(hidden_size=12).hidden_size, transformers.__version__)"
    said = within(lab, [python, "-c", script], folder, plain(folder))
    assert said.code == 0, said.text
    assert said.out.startswith("12 "), said.text
    return said.out.split()[-1]


def fresh(folder: Path) -> Path:
    assert run([sys.executable, "-m", "venv", folder / "venv"], plain(folder), folder).code == 0
    return folder / "venv" / "bin" / "python"


@pytest.mark.skipif(HERE not in PYTHONS, reason=f"Python {HERE} is not among those that the closure is for")
def test_pip_and_uv_install_what_can_be_imported(lab, tmp_path):
    """In the laboratory pip and uv resolve and install transformers into environments of their own, in which it is imported."""
    python = fresh(tmp_path)
    said = within(lab, [python, "-m", "pip", "install", "--only-binary", ":all:", "transformers"], tmp_path, inside(lab, tmp_path))
    assert said.code == 0, said.text
    by_pip = imported(lab, python, tmp_path)
    other = tmp_path / "u"
    other.mkdir()
    python = fresh(other)
    said = within(lab, [find_uv(), "pip", "install", "--python", python, "transformers"], other, inside(lab, other))
    assert said.code == 0, said.text
    assert imported(lab, python, other) == by_pip


@pytest.fixture(scope="module")
def project(hq: MirrorProcess, lab: Laboratory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the lock files that uv, pip and Poetry make of it outside; all of them in the laboratory since, by a delta."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(PROJECT + f'[[tool.poetry.source]]\nname = "mirror"\nurl = "{hq.url}/pypi/simple/"\npriority = "primary"\n')
    (folder / "in.txt").write_text("-c narrow.txt\nhttpx[http2]\n-r more.txt\n")
    (folder / "narrow.txt").write_text("h2<4.3\n")
    (folder / "more.txt").write_text("einops\ncolorama; sys_platform == 'win32'\n")
    poetry = environment("poetry", POETRY)
    for line in (
        [find_uv(), "lock", "-q", "--python", sys.executable],
        [find_uv(), "export", "-q", "--frozen", "--all-groups", "--format", "pylock.toml", "-o", "pylock.toml", "--python", sys.executable],
        [find_uv(), "pip", "compile", "-q", "--generate-hashes", "--python", sys.executable, "in.txt", "-o", "compiled.txt"],
        [sys.executable, "-m", "pip", "lock", "-q", "-o", "pylock.pip.toml", "-r", "in.txt"],
        [poetry, "-m", "poetry", "lock"],
    ):
        said = run(line, plain(folder), folder, 300)
        assert said.code == 0, (line, said.text)
    rows = "".join(f"  - {{lock: {folder / name}, python: {json.dumps(PYTHONS)}, platforms: [x86_64-manylinux_2_28]}}\n" for name in ("uv.lock", "pylock.toml", "poetry.lock"))
    rows += f'  - {{lock: {folder / "pylock.pip.toml"}}}\n  - {{requirements: {folder / "compiled.txt"}, python: ["{HERE}"], platforms: [x86_64-manylinux_2_28]}}\n'
    (hq.folder / "more.yaml").write_text(WANTS + rows)
    code, found, _ = sync(hq, "more.yaml")
    assert (code, [row for row in found if row["state"] not in ("fetched", "here")]) == (0, [])
    receipt = lab.folder / "closure.tar.001.receipt"
    hq.carried.append(export(hq, "more.tar", "more.yaml", "--since", str(receipt)))
    lab.stop()
    carry(hq, lab, "more.tar")
    lab.start()
    return folder


def entries(bundle: Path) -> set[str]:
    with BundleReader(bundle) as reader:
        lines = (line for part in reader.parts.values() if part.title == "contents.jsonl" for line in reader.read(part).splitlines())
        return {row["artifact"]["path"] for row in map(json.loads, lines) if row["row"] == "entry"}


def test_a_delta_carries_only_what_is_new(hq, project, locked):
    """The bundle after a further package is wanted has that package and what else is new, and no file of the first one, as bytes or as a name."""
    first, second = hq.carried
    before, after = entries(hq.folder / "closure.tar.001"), entries(hq.folder / "more.tar")
    assert before >= {name for closure in locked.values() for name in closure}
    assert not before & after
    assert any(name.startswith("einops-") for name in after)
    assert second["bytes"] < first["bytes"] / 4


def turned(lab: Laboratory, project: Path, folder: Path, *names: str) -> None:
    """Lock files from outside, turned to the laboratory's mirror as its people do."""
    for name in ("pyproject.toml", *names):
        (folder / name).write_text((project / name).read_text())
    done = lab.says("lock", "rewrite", *[str(folder / name) for name in names], "--to", lab.url)
    assert done.code == 0, done.text


def installed(lab: Laboratory, python: Path, folder: Path) -> dict[str, str]:
    """Distributions in an environment, with their versions."""
    script = "import json; from importlib.metadata import distributions as d; print(json.dumps({x.metadata['Name'].lower().replace('_', '-'): x.version for x in d()}))"
    return within(lab, [python, "-c", script], folder, plain(folder)).json()


def versions(lock: Path) -> set[tuple[str, str]]:
    """What a lock names; one package may have a version for each Python."""
    found = tomllib.loads(lock.read_text())
    return {(row["name"], row["version"]) for row in found.get("packages", found.get("package", ())) if "version" in row}


def test_uv_and_pip_install_from_locks(lab, project, tmp_path):
    """`uv sync --frozen` and `pip install -r pylock.toml` install, from lock files that were made outside and turned, the very versions of the lock."""
    turned(lab, project, tmp_path, "uv.lock", "pylock.toml", "pylock.pip.toml")
    said = within(lab, [find_uv(), "sync", "--frozen", "--all-groups", "--python", sys.executable], tmp_path, inside(lab, tmp_path))
    assert said.code == 0, said.text
    python, wanted = tmp_path / ".venv" / "bin" / "python", versions(tmp_path / "uv.lock")
    assert ("transformers", imported(lab, python, tmp_path)) in wanted
    found = installed(lab, python, tmp_path)
    assert found.items() <= wanted
    assert {"h2", "iniconfig", "transformers"} <= found.keys()
    for name in ("pylock.toml", "pylock.pip.toml"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        python = fresh(folder)
        said = within(lab, [sys.executable, "-m", "pip", "--python", python, "install", "-r", tmp_path / name], folder, inside(lab, folder))
        assert said.code == 0, said.text
        found = installed(lab, python, folder)
        found = {one: version for one, version in found.items() if one not in ("pip", "setuptools")}
        assert found.items() <= versions(tmp_path / name)
        assert "h2" in found


def test_pip_installs_compiled_requirements(lab, project, tmp_path):
    """A requirements file with hashes, compiled outside from one with includes, constraints, an extra and a marker, installs by its hashes."""
    python = fresh(tmp_path)
    said = within(lab, [python, "-m", "pip", "install", "--require-hashes", "-r", project / "compiled.txt"], tmp_path, inside(lab, tmp_path))
    assert said.code == 0, said.text
    pins = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", (project / "compiled.txt").read_text()))
    found = installed(lab, python, tmp_path)
    assert {name: version for name, version in found.items() if name not in ("pip", "setuptools")} == {name: version for name, version in pins.items() if name in found}
    assert found["h2"].startswith("4.2")
    assert "einops" in found


def test_poetry_installs_from_its_lock(lab, project, tmp_path):
    """Poetry installs from a lock that was made outside, against the same name of the mirror, and what it installed can be imported."""
    for name in ("pyproject.toml", "poetry.lock"):
        (tmp_path / name).write_text((project / name).read_text())
    said = within(lab, [environment("poetry", POETRY), "-m", "poetry", "install", "--no-root", "--all-groups"], tmp_path, inside(lab, tmp_path))
    assert said.code == 0, said.text
    python, wanted = tmp_path / ".venv" / "bin" / "python", versions(tmp_path / "poetry.lock")
    assert ("transformers", imported(lab, python, tmp_path)) in wanted
    found = installed(lab, python, tmp_path)
    assert {name: version for name, version in found.items() if name not in ("pip", "setuptools")}.items() <= wanted
