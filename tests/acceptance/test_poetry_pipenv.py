"""Poetry and pipenv through the mirror, as their users run them: lock, install, and the refusal that they print."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import clients
from tests.support.mirror import MirrorProcess, clean_environment, running_mirror
from tests.support.standin.index import running_index

pytestmark = pytest.mark.acceptance

POETRY = (("poetry>=2,<3",),)
PIPENV = (("pipenv>=2026.1",),)
POLICY = """version: 1
rules:
  - {id: evil, when: {artifact: ["pkg:pypi/evil-*"]}, effect: deny, legal: true, basis: house policy 1}
  - {id: no-old, when: {artifact: ["pkg:pypi/acme-lib@1.1"]}, effect: deny}
"""


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    """A mirror that refuses one project and one version of another."""
    with running_index() as index, running_mirror(tmp_path_factory.mktemp("mirror"), index=index, policy=POLICY) as running:
        yield running


def environ(folder: Path) -> dict[str, str]:
    kept = clean_environment()
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "POETRY_HOME"):
        kept.pop(name, None)
    return {
        **kept, "HOME": str(folder), "PIP_CONFIG_FILE": "/dev/null", "NO_COLOR": "1", "CI": "1", "PIPENV_VENV_IN_PROJECT": "1",
        "PIPENV_IGNORE_VIRTUALENVS": "1", "PIPENV_NOSPIN": "1", "PIPENV_YES": "1", "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "POETRY_NO_INTERACTION": "1", "POETRY_CACHE_DIR": str(folder / "cache"), "PIPENV_CACHE_DIR": str(folder / "cache"),
    }  # fmt: skip


def poetry(mirror: MirrorProcess, folder: Path, wanted: str) -> tuple[clients.Said, clients.Said | None]:
    """`poetry lock`, then `poetry install` where that went well."""
    name, _, version = wanted.partition("==")
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.11"\n'
        f'dependencies = ["{name}{"==" + version if version else ""}"]\n'
        f'[tool.poetry]\npackage-mode = false\n'
        f'[[tool.poetry.source]]\nname = "mirror"\nurl = "{mirror.url}/pypi/simple/"\npriority = "primary"\n'
    )
    python = clients.environment("poetry", POETRY)
    lock = clients.run([python, "-m", "poetry", "lock"], environ(folder), folder)
    if lock.code:
        return lock, None
    return lock, clients.run([python, "-m", "poetry", "install", "--no-root"], environ(folder), folder)


def pipenv(mirror: MirrorProcess, folder: Path, wanted: str) -> tuple[clients.Said, clients.Said | None]:
    """`pipenv lock`, then `pipenv sync` where that went well."""
    name, _, version = wanted.partition("==")
    (folder / "Pipfile").write_text(
        f'[[source]]\nname = "mirror"\nurl = "{mirror.url}/pypi/simple/"\nverify_ssl = true\n'
        f'[packages]\n{name} = "{"==" + version if version else "*"}"\n'
    )
    python = clients.environment("pipenv", PIPENV)
    lock = clients.run([python, "-m", "pipenv", "lock", "--python", sys.executable], environ(folder), folder)
    if lock.code:
        return lock, None
    return lock, clients.run([python, "-m", "pipenv", "sync"], environ(folder), folder)


def installed(folder: Path) -> set[str]:
    return {path.name.removesuffix(".dist-info") for path in (folder / ".venv").glob("lib/python*/site-packages/acme_*.dist-info")}


def test_poetry_locks_and_installs(mirror: MirrorProcess, tmp_path: Path) -> None:
    """A tree is locked with the hashes of the page and installed; the lock names the mirror as its source."""
    lock, done = poetry(mirror, tmp_path, "acme-app")
    assert done is not None, lock.text
    assert done.code == 0, done.text
    assert installed(tmp_path) == {"acme_app-2.0", "acme_lib-2.1"}
    locked = {row["name"]: row for row in tomllib.loads((tmp_path / "poetry.lock").read_text())["package"]}
    assert locked["acme-lib"]["files"][0]["hash"].startswith("sha256:")
    assert locked["acme-lib"]["source"]["url"] == f"{mirror.url}/pypi/simple"


def test_pipenv_locks_and_syncs(mirror: MirrorProcess, tmp_path: Path) -> None:
    """A tree is locked with hashes and installed from the lock."""
    lock, done = pipenv(mirror, tmp_path, "acme-app")
    assert done is not None, lock.text
    assert done.code == 0, done.text
    assert installed(tmp_path) == {"acme_app-2.0", "acme_lib-2.1"}
    locked = json.loads((tmp_path / "Pipfile.lock").read_text())["default"]
    assert all(row["hashes"] for row in locked.values())


@pytest.mark.parametrize(("client", "wanted", "rule"), [(poetry, "acme-lib==1.1", "no-old"), (pipenv, "evil-thing", "evil")])
def test_a_refusal_is_printed(mirror: MirrorProcess, tmp_path: Path, client, wanted: str, rule: str) -> None:
    """A denied project and a pinned denied version do not install, and the terminal names the rule."""
    lock, done = client(mirror, tmp_path, wanted)
    last = done or lock
    assert last.code != 0
    assert f"'{rule}'" in last.text
