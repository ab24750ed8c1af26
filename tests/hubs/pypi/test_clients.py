"""Real pip and uv through the mirror: what installs, what is refused, and what the person at the terminal reads."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.cli.lock import turn

BIN = Path(sys.executable).parent


def run(*command, cwd, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_", "MIRROR_")) and not k.lower().endswith("_proxy")}
    kept |= {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "HOME": str(cwd)}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=kept | {"COLUMNS": "500"} | environment, timeout=110)
    return done.returncode, done.stdout + done.stderr


def pip(mirror, cwd, *what):
    return run(
        sys.executable, "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--target", str(cwd / "site"),
        "--index-url", mirror.index_url, *what, cwd=cwd,
    )  # fmt: skip


def uv(mirror, cwd, *what):
    return run(
        str(BIN / "uv"), "pip", "install", "--no-cache", "--target", str(cwd / "site"), "--python", sys.executable,
        "--default-index", mirror.index_url, *what, cwd=cwd,
    )  # fmt: skip


def installed(cwd):
    return {path.name.removesuffix(".dist-info") for path in (cwd / "site").glob("*.dist-info")}


@pytest.mark.parametrize("client", [pip, uv])
def test_a_tree_installs(mirror, tmp_path, client):
    """An application and what it needs, a name that must be normalised among it, with every hash checked by the client."""
    code, said = client(mirror, tmp_path, "acme-app")
    assert code == 0, said
    assert {"acme_app-2.0", "acme_lib-2.1"} <= installed(tmp_path)


@pytest.mark.parametrize("client", [pip, uv])
@pytest.mark.parametrize("wanted", ["evil-thing", "evil-thing==1.0", "Evil.Thing>=1", "acme-needs-evil"])
def test_a_denied_project_says_why(mirror, tmp_path, client, wanted):
    """Unpinned, pinned, ranged and as a dependency: the install fails and the terminal names the rule."""
    code, said = client(mirror, tmp_path, wanted)
    assert code != 0
    assert "rule 'evil'" in said, said
    assert not any("evil" in name for name in installed(tmp_path))


@pytest.mark.parametrize("client", [pip, uv])
def test_resolvers_move_on_from_a_denied_version(mirror, tmp_path, client):
    """A range that would have taken the denied version takes an older one."""
    code, said = client(mirror, tmp_path, "acme-lib<2")
    assert code == 0, said
    assert installed(tmp_path) == {"acme_lib-1.0"}


@pytest.mark.parametrize("client", [pip, uv])
def test_a_pinned_denied_version_says_why(mirror, tmp_path, client):
    """Pinned users are told, although the version is only marked on the page."""
    code, said = client(mirror, tmp_path, "acme-lib==1.1")
    assert code != 0
    assert "no-old" in said, said


@pytest.mark.parametrize(("client", "option"), [(pip, "--uploaded-prior-to"), (uv, "--exclude-newer")])
def test_date_cut_offs_work(mirror, tmp_path, client, option):
    """PEP 700: upload times come through, so that a cut-off takes the version of its day."""
    code, said = client(mirror, tmp_path, option, "2023-06-01T00:00:00Z", "acme-lib")
    assert code == 0, said
    assert installed(tmp_path) == {"acme_lib-1.0"}


@pytest.mark.proves("Rewritten lock held against the index (`uv sync --locked`)", "uv", "works")
def test_a_frozen_lock_reaches_the_mirror_only_after_rewriting(mirror, index, tmp_path):
    """`uv sync --frozen` goes where the lock points; a rewritten one never asks the index, and `--locked` accepts it."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["acme-app"]\n'
    )
    common = {"UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}
    code, said = run(str(BIN / "uv"), "lock", "--no-cache", "--default-index", index.simple_url, cwd=tmp_path, **common)
    assert code == 0, said
    lock = tmp_path / "uv.lock"
    hosts = [url.removeprefix("http://") for url in (index.url, index.files_url)]
    done = turn(lock.read_text(), "uv.lock", f"{mirror.url}/pypi", hosts)
    assert done.changed
    assert done.elsewhere == ()
    lock.write_text(done.text)
    asked = len(index.requests)
    for how in ("--frozen", "--locked"):
        shutil.rmtree(tmp_path / ".venv", ignore_errors=True)
        code, said = run(
            str(BIN / "uv"), "sync", how, "--no-cache", "--default-index", mirror.index_url, cwd=tmp_path, **common
        )
        assert code == 0, said
    agents = {call.headers.get("User-Agent", "") for call in list(index.requests)[asked:]}
    assert not any(agent.startswith("uv/") for agent in agents)
