"""The players: the stand-in as a process that can be killed, the real clients, and what is told about them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.mirror import clean_environment

REPOSITORY = Path(__file__).parents[3]
SHOWN = 12  # lines of a client's output


class Differs(Exception):
    """Something went otherwise than told."""


def say(text: str) -> None:
    """A paragraph of the narration."""
    print("\n" + textwrap.fill(text, 100), flush=True)


def heading(text: str) -> None:
    """A new scene."""
    print(f"\n=== {text} " + "=" * max(0, 95 - len(text)), flush=True)


class StandInProcess:
    """Hub, CDN, index and file host as one process on loopback."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.standin", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=REPOSITORY, env=clean_environment(),
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.kill()
            raise Differs("the stand-in did not start")
        self.urls: dict[str, str] = json.loads(line)

    def hubs(self) -> dict[str, Any]:
        """`hubs:` of a configuration that knows nothing but this stand-in."""
        urls = self.urls
        return {
            "huggingface": {"upstreams": [urls["hub"]], "origins": [urls["hub"], urls["cdn"]]},
            "pypi": {"upstreams": [urls["index"]], "origins": [urls["files"]]},
        }

    def kill(self) -> None:
        """SIGKILL: the outage. Safe to call twice."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def gone(self) -> bool:
        """Whether nobody listens at any of its addresses."""
        for url in (self.urls["hub"], self.urls["cdn"], self.urls["index"], self.urls["files"]):
            parts = urlsplit(url)
            try:
                socket.create_connection((parts.hostname, parts.port), 2).close()
            except OSError:
                continue
            return False
        return True


@dataclass(frozen=True)
class Said:
    """What a client printed, and how it ended."""

    code: int
    text: str

    @property
    def flat(self) -> str:
        """On one line: clients wrap where they like."""
        return " ".join(self.text.split())


class Client:
    """A person's machine: one home, the real clients, nothing set but the mirror's address."""

    def __init__(self, home: Path, mirror: str) -> None:
        self.home, self._bin = home, Path(sys.executable).parent
        home.mkdir(parents=True)
        self._environment = {
            **clean_environment(),
            "HOME": str(home), "HF_HOME": str(home / "hf"), "HF_ENDPOINT": mirror, "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PIP_INDEX_URL": f"{mirror}/pypi/simple/", "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off", "PIP_NO_CACHE_DIR": "1", "NO_COLOR": "1",
            "COLUMNS": "200", "NO_PROXY": "*",
        }  # fmt: skip

    def hf(self, *arguments: str) -> Said:
        """`hf download …` into the machine's own cache."""
        return self._run(f"hf download {' '.join(arguments)}", [str(self._bin / "hf"), "download", *arguments])

    def pip(self, *arguments: str) -> Said:
        """`pip download …` into the folder `wheels`."""
        command = [sys.executable, "-m", "pip", "download", "--dest", str(self.home / "wheels"), *arguments]
        return self._run(f"pip download {' '.join(arguments)}", command)

    def files(self, name: str) -> list[str]:
        """The file names in the newest snapshot of a model in this machine's own cache."""
        snapshots = self.home / "hf" / "hub" / f"models--{name.replace('/', '--')}" / "snapshots"
        return sorted(str(path.relative_to(folder)) for folder in snapshots.glob("*") for path in folder.rglob("*") if path.is_file())

    def wheels(self) -> list[str]:
        """What pip has put into `wheels`."""
        return sorted(path.name for path in (self.home / "wheels").glob("*"))

    def _run(self, shown: str, command: list[str]) -> Said:
        print(f"\n  $ {shown}", flush=True)
        done = subprocess.run(
            command, cwd=self.home, env=self._environment, text=True, timeout=60, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        show(done.stdout.replace(str(self.home), "~"))
        return Said(done.returncode, done.stdout)


def show(text: str) -> None:
    """A program's output, indented; a long one without its middle."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if len(lines) > SHOWN:
        lines = [*lines[: SHOWN // 2], f"… ({len(lines) - SHOWN} lines)", *lines[-SHOWN // 2 :]]
    width = max(60, shutil.get_terminal_size((140, 24)).columns - 4)
    for line in lines:
        print(textwrap.fill(line, width, initial_indent="  | ", subsequent_indent="  |   ", break_on_hyphens=False), flush=True)


def expect(fact: str, holds: bool) -> None:
    """State a fact; the demonstration ends where one does not hold."""
    if not holds:
        raise Differs(fact)
    print(f"  -> {fact}", flush=True)
