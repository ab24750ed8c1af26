"""Lock files of three tools, and what of them a Python on a platform can use."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.bundle.locks import Choice, choose, read_lock
from mirror.bundle.resolve import find_uv
from mirror.bundle.targets import Target, known
from mirror.bundle.wants import parse
from mirror.core.errors import InputError
from tests.support.standin import running_index
from tests.support.standin.packages import Dist

A, B, C = "a" * 64, "b" * 64, "c" * 64
UV = f"""
version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "acme-native"
version = "1.0"
source = {{ registry = "https://pypi.org/simple" }}
sdist = {{ url = "https://files.pythonhosted.org/packages/aa/bb/acme_native-1.0.tar.gz", hash = "sha256:{A}", size = 10 }}
wheels = [
    {{ url = "https://files.pythonhosted.org/packages/aa/bb/acme_native-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", hash = "sha256:{B}", size = 11 }},
    {{ url = "https://files.pythonhosted.org/packages/aa/bb/acme_native-1.0-cp312-cp312-win_amd64.whl", hash = "sha256:{C}", size = 12 }},
]

[[package]]
name = "globex-win"
version = "3.0"
source = {{ registry = "https://pypi.org/simple" }}
wheels = [{{ url = "https://files.pythonhosted.org/packages/aa/bb/globex_win-3.0-py3-none-win_amd64.whl", hash = "sha256:{A}" }}]

[[package]]
name = "initech-test"
version = "4.0"
source = {{ registry = "https://pypi.org/simple" }}
wheels = [{{ url = "https://files.pythonhosted.org/packages/aa/bb/initech_test-4.0-py3-none-any.whl", hash = "sha256:{A}" }}]

[[package]]
name = "umbrella-fork"
version = "5.0"
source = {{ git = "https://umbrella.example/fork?rev=1#{'d' * 40}" }}

[[package]]
name = "ours"
version = "0.1.0"
source = {{ virtual = "." }}
dependencies = [
    {{ name = "acme-native" }},
    {{ name = "globex-win", marker = "sys_platform == 'win32'" }},
]

[package.optional-dependencies]
fork = [{{ name = "umbrella-fork" }}]

[package.dev-dependencies]
dev = [{{ name = "initech-test" }}]
"""
PYLOCK = f"""
lock-version = "1.0"
created-by = "somebody"

[[packages]]
name = "Acme.Native"
version = "1.0"
sdist = {{ url = "https://files.pythonhosted.org/packages/aa/bb/acme_native-1.0.tar.gz", hashes = {{ sha256 = "{A}" }}, size = 10 }}
wheels = [
    {{ name = "acme_native-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", url = "https://elsewhere.example/x", hashes = {{ sha256 = "{B}" }} }},
    {{ url = "https://files.pythonhosted.org/packages/aa/bb/acme_native-1.0-cp312-cp312-win_amd64.whl", hashes = {{ sha256 = "{C}" }} }},
]

[[packages]]
name = "globex-win"
version = "3.0"
marker = "sys_platform == 'win32'"
wheels = [{{ url = "https://files.pythonhosted.org/packages/aa/bb/globex_win-3.0-py3-none-win_amd64.whl", hashes = {{ sha256 = "{A}" }} }}]

[[packages]]
name = "initech-test"
version = "4.0"
marker = "'dev' in dependency_groups"
wheels = [{{ url = "https://files.pythonhosted.org/packages/aa/bb/initech_test-4.0-py3-none-any.whl", hashes = {{ sha256 = "{A}" }} }}]

[[packages]]
name = "umbrella-fork"
vcs = {{ type = "git", url = "https://umbrella.example/fork", commit-id = "{'d' * 40}" }}
"""
POETRY = f"""
[[package]]
name = "acme-native"
version = "1.0"
description = ""
optional = false
python-versions = ">=3.11"
groups = ["main"]
files = [
    {{file = "acme_native-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", hash = "sha256:{B}"}},
    {{file = "acme_native-1.0-cp312-cp312-win_amd64.whl", hash = "sha256:{C}"}},
    {{file = "acme_native-1.0.tar.gz", hash = "sha256:{A}"}},
]

[[package]]
name = "globex-win"
version = "3.0"
description = ""
optional = false
python-versions = "*"
groups = ["main"]
markers = "sys_platform == 'win32'"
files = [{{file = "globex_win-3.0-py3-none-win_amd64.whl", hash = "sha256:{A}"}}]

[[package]]
name = "initech-test"
version = "4.0"
description = ""
optional = true
python-versions = "*"
groups = ["dev"]
markers = {{dev = "python_version >= '3.11'"}}
files = [{{file = "initech_test-4.0-py3-none-any.whl", hash = "sha256:{A}"}}]

[[package]]
name = "umbrella-fork"
version = "5.0"
description = ""
optional = false
python-versions = "*"
files = []

[package.source]
type = "git"
url = "https://umbrella.example/fork"
reference = "main"
resolved_reference = "{'d' * 40}"

[metadata]
lock-version = "2.1"
python-versions = ">=3.11"
content-hash = "{A}"
"""
LINUX, WINDOWS = Target("3.11", "linux"), Target("3.12", "windows")


def names(chosen: tuple[Choice, ...]) -> dict[str, list[str]]:
    return {choice.package.name: [file.name.partition("-")[2] for file in choice.files] for choice in chosen}


@pytest.mark.parametrize("text", [UV, PYLOCK, POETRY], ids=["uv", "pylock", "poetry"])
def test_each_kind_of_lock_gives_the_same_files(text):
    """Without targets every locked file is wanted with its hash; with them the wheels that fit, an sdist where none does, and no marker's strangers."""
    lock = read_lock(text, "a.lock")
    every = choose(lock, ())
    assert {file.sha256 for choice in every for file in choice.files} == {A, B, C}
    assert [len(choice.files) for choice in every] == [3, 1, 1, 0]
    assert [choice.package.foreign for choice in every][-1] in ("git", "vcs")
    linux = "1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    windows = "1.0-cp312-cp312-win_amd64.whl"
    assert names(choose(lock, [LINUX])) == {"acme-native": [linux], "initech-test": ["4.0-py3-none-any.whl"], "umbrella-fork": []}
    assert names(choose(lock, [WINDOWS]))["globex-win"] == ["3.0-py3-none-win_amd64.whl"]
    assert names(choose(lock, [LINUX, WINDOWS]))["acme-native"] == [linux, windows]
    assert names(choose(lock, [Target("3.13", "macos")]))["acme-native"] == ["1.0.tar.gz"]
    assert not any(choice.lacking for choice in choose(lock, [LINUX, WINDOWS]))


def test_a_package_without_a_file_for_a_target_is_told():
    """What a target needs for certain and has no file in the lock is lacking, by the target's name."""
    lock = read_lock(PYLOCK.replace("marker = \"sys_platform == 'win32'\"\n", ""), "pylock.toml")
    assert {choice.package.name: choice.lacking for choice in choose(lock, [LINUX, WINDOWS]) if choice.lacking} == {"globex-win": ("Python 3.11, linux",)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = [", "not TOML"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = 1", "neither a pylock.toml"),
        (PYLOCK.replace('"1.0"', '"2.0"', 1), "lock-version: is '2.0'"),
        (UV.replace("version = 1", "version = 2", 1), "version: is 2"),
        (POETRY.replace('"2.1"', '"9"'), "metadata.lock-version"),
        (UV.replace(f"sha256:{C}", "sha512:00"), "package[0].wheels[1]: acme_native-1.0-cp312-cp312-win_amd64.whl is locked without a SHA-256"),
        (POETRY.replace('file = "globex', 'file = "../globex'), "package[1].files[0]: names no file"),
        ('lock-version = "1.0"\npackages = [{version = "1"}, {name = "x"}]', "packages[0]: has no name"),
        ('lock-version = "1.0"\npackages = [1]', "packages: is not a list of tables"),
    ],
)
def test_what_is_no_lock_is_told_with_its_place(text, said):
    """A text of another kind or release, or a file without digest or name, is an error that names its place."""
    with pytest.raises(InputError) as caught:
        read_lock(text, "a.lock")
    assert said in str(caught.value)


WHEELS = (
    "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_34_x86_64",
    "cp39-abi3-manylinux1_x86_64", "cp312-abi3-manylinux2014_aarch64", "cp312-cp312-win_amd64", "cp312-cp312-win32", "cp313-cp313t-win_amd64",
    "cp311-cp311-macosx_11_0_arm64", "cp312-cp312-macosx_10_9_universal2", "cp312-cp312-macosx_99_0_arm64", "cp312-cp312-musllinux_1_2_x86_64",
    "pp310-pypy310_pp73-manylinux2014_x86_64", "py2.py3-none-any", "cp311-none-any", "cp313-none-win_amd64",
)  # fmt: skip
TARGETS = (
    ("3.11", "linux"), ("3.12", "x86_64-manylinux_2_34"), ("3.12", "windows"), ("3.13", "macos"), ("3.12", "x86_64-apple-darwin"),
    ("3.13", "aarch64-unknown-linux-gnu"), ("3.12", "x86_64-unknown-linux-musl"),
)  # fmt: skip


def test_wheels_for_a_target_are_those_of_uv(tmp_path):
    """For each Python and platform the wheels that are taken are those that uv locks when it is told the same."""
    with running_index() as index:
        index.add_release("acme-native", "1.0")
        about = index.project("acme-native")
        [first] = about.files
        about.files.clear()
        for tags in WHEELS:
            index.shelf.put(about, replace_name(first, f"acme_native-1.0-{tags}.whl"))
        (tmp_path / "in.txt").write_text("acme-native\n")
        for python, platform in TARGETS:
            line = [
                find_uv(), "pip", "compile", "--quiet", "--no-header", "--no-build", "--format", "pylock.toml", "--python", sys.executable,
                "--python-version", python, "--python-platform", platform, str(tmp_path / "in.txt"),
            ]  # fmt: skip
            environ = {**os.environ, "UV_DEFAULT_INDEX": index.simple_url, "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_NO_CONFIG": "1"}
            told = subprocess.run(line, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout
            theirs = {row["url"].rpartition("/")[2] for row in tomllib.loads(told)["packages"][0]["wheels"]}
            every = {"lock-version": "1.0"}, [f"acme_native-1.0-{tags}.whl" for tags in WHEELS]
            rows = "".join(f'{{ url = "https://x.example/{name}", hashes = {{ sha256 = "{A}" }} }}, ' for name in every[1])
            lock = read_lock(f'lock-version = "1.0"\n[[packages]]\nname = "acme-native"\nversion = "1.0"\nwheels = [{rows}]\n', "pylock.toml")
            ours = {file.name for choice in choose(lock, [Target(python, platform)]) for file in choice.files}
            assert ours == theirs, (python, platform)


def replace_name(file: Dist, name: str) -> Dist:
    return replace(file, filename=name)


def test_platforms_of_a_lock_must_be_known(tmp_path: Path):
    """A platform whose wheels nobody can tell is an error of the list where a lock is narrowed by it, and uv's business elsewhere."""
    assert known("aarch64-manylinux2014")
    assert not known("sparc-apple-darwin")
    row = "{{{}, platforms: [wasm32-pyodide2024]}}"
    parse(f"version: 1\npackages: [{row.format('requirement: acme-lib')}]", "w.yaml")
    with pytest.raises(InputError, match=r"packages\[0\].platforms\[0\]: 'wasm32-pyodide2024'"):
        parse(f"version: 1\npackages: [{row.format('lock: uv.lock')}]", "w.yaml")
