"""What people install: the wheel and the image. No container engine is needed: the image's own commands are run here."""

from __future__ import annotations

import json
import os
import re
import shutil
import site
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mirror import __version__

ROOT = Path(__file__).resolve().parents[1]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continuation lines joined, comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def values(instruction: str) -> list[str]:
    """The arguments of every such instruction."""
    return [argument for name, argument in instructions() if name == instruction]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that stands for the image's root, after the Dockerfile's COPY and RUN lines."""
    root = tmp_path_factory.mktemp("image")
    source = root / "src"
    source.mkdir()
    for argument in values("COPY"):
        if argument.startswith("--from"):
            continue
        *names, _ = argument.split()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, source / name)
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in values("RUN"):
        line = re.sub(r"(?<![\w.])/(?=(wheels|opt|var|etc)\b)", f"{root}/", command)
        # What is installed beside us is what the image would fetch: the test proves the wheel, not the registry.
        line = line.replace("pip install ", "pip install --no-deps ").replace("-o 10001 -g 10001", f"-o {os.getuid()} -g {os.getgid()}")
        done = subprocess.run(["sh", "-euc", line], cwd=source, env=environ, capture_output=True, text=True, check=False, timeout=110)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    packages = next((root / "opt/mirror/lib").glob("python*/site-packages"))
    (packages / "beside.pth").write_text("\n".join(site.getsitepackages()))
    return root


def test_the_wheel_carries_all_that_it_needs(image: Path):
    """The wheel holds the package, under `mirror/_config` catalogue, lineage, profiles and the commented file, and the documentation."""
    wheel = next((image / "wheels").glob("*.whl"))
    assert wheel.name == f"entrepot-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, inside in (("config", "mirror/_config"), ("docs", "mirror/_docs"), ("mirror", "mirror")):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"{inside}/{path.relative_to(ROOT / folder)}" in names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "docs/"))]


def test_an_installation_makes_the_wheel_again_that_it_came_from(image: Path, tmp_path: Path):
    """What the installed mirror packs of itself for a place without a network is the same package and the same metadata."""
    (tmp_path / "out").mkdir()
    script = "import sys; from pathlib import Path; from mirror.bundle.own_wheel import write_wheel; print(write_wheel(Path(sys.argv[1])))"
    line = [str(image / "opt/mirror/bin/python"), "-c", script, str(tmp_path / "out")]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    built, packed = zipfile.ZipFile(next((image / "wheels").glob("*.whl"))), zipfile.ZipFile(done.stdout.strip())
    assert Path(done.stdout.strip()).name == f"entrepot-{__version__}-py3-none-any.whl"
    assert sorted(packed.namelist()) == sorted(built.namelist())
    own = {"WHEEL", "RECORD"}
    assert not [name for name in built.namelist() if built.read(name) != packed.read(name) and Path(name).name not in own]


def test_the_installed_command_works_away_from_any_checkout(image: Path, tmp_path: Path):
    """From the image's environment `mirror` says its version, writes a profile, and checks configuration and catalogue."""
    mirror = str(image / "opt/mirror/bin/mirror")

    def run(*line: str) -> str:
        done = subprocess.run([mirror, *line], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version").split() == ["mirror", __version__]
    where = [str(image / "opt/mirror/bin/python"), "-c", "import mirror; print(mirror.__file__)"]
    assert str(image) in subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    run("init", "--profile", "enterprise")
    assert "sound" in run("config", "check")
    assert "sound" in run("policy", "check")


def test_the_image_is_safe_to_run():
    """The image runs as a numbered user, exposes the port, keeps its data in a volume and starts the server."""
    assert values("USER") == ["10001:10001"]
    assert values("EXPOSE") == ["8080"]
    assert values("VOLUME") == ["/var/lib/mirror"]
    assert [json.loads(values(name)[0]) for name in ("ENTRYPOINT", "CMD")] == [["mirror"], ["serve"]]
    assert len(values("FROM")) == 2
    order = [name for name, _ in instructions()]
    assert order.index("USER") > max(at for at, name in enumerate(order) if name == "RUN")


def test_the_build_context_holds_what_is_copied():
    """`.dockerignore` lets in every source of a COPY, and nothing else by name."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for argument in values("COPY") if not argument.startswith("--from") for name in argument.split()[:-1]}
    assert allowed == copied
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (None, 1)])
def test_the_health_check_tells_alive_from_dead(status: int | None, code: int):
    """The image's health check ends with 0 for a mirror that is alive, else with 1."""
    check = json.loads(values("HEALTHCHECK")[0].partition("CMD ")[2])
    asked = []

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status or 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Health)
    port = server.server_port
    if status is None:
        server.server_close()
    else:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    environ = {**os.environ, "MIRROR_LISTEN__PORT": str(port)}
    done = subprocess.run([sys.executable, *check[1:]], env=environ, capture_output=True, check=False, timeout=30)
    if status is not None:
        server.shutdown()
        server.server_close()
    assert done.returncode == code
    assert asked == ([] if status is None else ["/-/health/live"])


def test_make_explains_a_machine_without_a_suitable_python(tmp_path: Path):
    """`make setup` with a Python that cannot make environments says what to install, and leaves nothing behind."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    fake = tmp_path / "python3"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    done = subprocess.run(["make", "setup", f"PYTHON={fake}"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_lists_its_targets():
    """`make` alone lists every target with a line of help."""
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert listed == {"help", "setup", "serve", "test", "check", "conformance", "fuzz", "torture", "bench", "demo", "mutants", "clean"}


@pytest.mark.parametrize(("outcome", "code"), [("3 passed", 0), ("1 failed, 2 passed", 2)])
def test_continuous_integration_reports_what_make_test_did(tmp_path: Path, outcome: str, code: int):
    """`.ci/run` ends as `make test` ends, prints pytest's closing line last, and can be run again."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    line = f"===== {outcome} in 0.01s ====="
    (tmp_path / "Makefile").write_text(f"test:\n\t@echo '{line}'\n\t@echo afterwards\n\t@exit {code}\n")
    packages = tmp_path / "bin" / "apt-get"
    packages.parent.mkdir()
    packages.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    packages.chmod(0o755)
    environ = {**os.environ, "PATH": f"{packages.parent}{os.pathsep}{os.environ['PATH']}"}
    for _ in range(2):
        done = subprocess.run([str(tmp_path / ".ci" / "run")], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert done.stdout.splitlines()[-1] == line
    asked = (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else ["update -qq"]
    assert asked[0] == "update -qq"
