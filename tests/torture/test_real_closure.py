"""A closure from PyPI itself, for two Pythons on two platforms; then without a network, by pip and uv. Needs pypi.org."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.bundle.resolve import find_uv
from tests.support.mirror import MirrorProcess, clean_environment

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]

WANTS = """
version: 1
packages:
  - {requirement: transformers, python: ["3.11", "3.12"], platforms: [x86_64-manylinux_2_28, windows]}
"""


def reachable() -> bool:
    try:
        socket.create_connection(("pypi.org", 443), 5).close()
    except OSError:
        return False
    return True


def sync(folder: Path, url: str, *arguments: str) -> tuple[int, list[dict], dict]:
    line = [sys.executable, "-m", "mirror.cli.main", "-c", "mirror.yaml", "sync", "wants.yaml", "--url", url, "--json", *arguments]
    done = subprocess.run(line, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=1500, check=False)
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    assert rows, done.stderr
    return done.returncode, rows[:-1], rows[-1]["summary"]


def test_transformers_from_pypi_and_then_offline(tmp_path):
    """Everything that uv resolves is fetched once, verified and pinned; a mirror without a network then installs it with pip and with uv."""
    if not reachable():
        pytest.skip("pypi.org cannot be reached from here")
    config = {"hubs": {"huggingface": None}}
    folder = tmp_path / "m"
    mirror = MirrorProcess(folder, config, "version: 1\nrules: []\n").start()
    try:
        (folder / "wants.yaml").write_text(WANTS)
        code, rows, summary = sync(folder, mirror.url)
        # Where the index lists no metadata (PEP 658), resolving has fetched a wheel already.
        wrong = [row for row in rows if row["state"] not in ("fetched", "here")]
        assert (code, wrong) == (0, [])
        names = {row["name"].partition("@")[0].removeprefix("pkg:pypi/") for row in rows}
        assert {"transformers", "tokenizers", "numpy", "safetensors", "huggingface-hub", "pyyaml"} <= names
        files = [row["name"].rpartition("file_name=")[2] for row in rows]
        for python in ("cp311", "cp312"):
            for platform in ("win_amd64", "x86_64"):
                assert any(name.startswith("numpy-") and f"-{python}-" in name and platform in name for name in files), (python, platform)
        assert summary["pinned"] == len(rows)
        before = sum(row["size"] for row in rows)
        code, rows, summary = sync(folder, mirror.url)
        assert (code, {row["state"] for row in rows}, summary["pinned"]) == (0, {"here"}, 0)
        assert sum(row["size"] for row in rows) == before
        acquired = [json.loads(line) for line in mirror.command("cache", "show", "pkg:pypi/transformers", "--json").stdout.splitlines()]
        assert [(row["upstream"], row["public"]) for row in acquired if row["artifact"].endswith(".whl")] == [("https://files.pythonhosted.org", True)]
        assert all("Apache" in row["licenses"][0] for row in acquired if row["artifact"].endswith(".whl"))
        assert any(row["texts"] for row in acquired)
    finally:
        mirror.stop()
    offline = MirrorProcess(folder, {**config, "network": "offline"}, "version: 1\nrules: []\n").start()
    try:
        index = f"{offline.url}/pypi/simple/"
        environ = {**clean_environment(), "HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(tmp_path / "uv")}
        for name, line in (
            ("pip", [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--index-url", index, "--only-binary", ":all:", "--python-version", "3.11",
                     "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_17_x86_64", "--implementation", "cp", "--target", str(tmp_path / "pip"), "transformers"]),
            ("uv", [find_uv(), "pip", "install", "--default-index", index, "--python-version", "3.12", "--python-platform", "windows",
                    "--python", sys.executable, "--target", str(tmp_path / "uvt"), "transformers"]),
        ):  # fmt: skip
            done = subprocess.run(line, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=600, check=False)
            assert done.returncode == 0, (name, done.stdout[-2000:], done.stderr[-2000:])
        assert (tmp_path / "pip" / "transformers" / "__init__.py").is_file()
        assert list((tmp_path / "uvt" / "numpy").rglob("*.pyd"))
    finally:
        offline.stop()
