"""Closures of packages, by uv against the mirror's own index: what policy denies is denied to the resolver too.

Nothing is built: an sdist's build runs its author's code on this machine. A release without wheels is therefore not found.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mirror.bundle.requirements import Requirements
from mirror.core.errors import InputError, Problem

#: What of our environment the resolver is given; anything else could point it, or its proxy, elsewhere.
_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_REFUSED: Final = re.compile(r"(https?://[^\s()]+)")
_MOST: Final = 4000


class Unresolved(Exception):
    """There is no closure. `sentence` is the resolver's, `url` what it could not get ("": it says none)."""

    def __init__(self, sentence: str, url: str = "") -> None:
        super().__init__(sentence)
        self.sentence, self.url = sentence, url


@dataclass(frozen=True, slots=True)
class Closure:
    """One thing to resolve: `label` names it for people; `python` and `platform` None are this machine's."""

    label: str
    requirements: Requirements
    python: str | None = None
    platform: str | None = None

    @property
    def name(self) -> str:
        """The label with what it is resolved for."""
        target = ", ".join(part for part in (self.python and f"Python {self.python}", self.platform) if part)
        return f"{self.label} ({target})" if target else self.label


def find_uv() -> str:
    """The path of uv: beside this Python, else on PATH. Raises `InputError` that says how to get it."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("uv")
    if found is None:
        said = "packages are resolved by uv, which is not here: pip install uv, or put it on PATH (https://docs.astral.sh/uv/)"
        raise InputError([Problem("uv", "", said)])
    return found


async def resolve(uv: str, index: str, closure: Closure) -> Mapping[str, Any]:
    """The pylock.toml (PEP 751) of a closure, with wheels for its target only. Raises `Unresolved`."""
    with tempfile.TemporaryDirectory(prefix="mirror-sync-") as scratch:
        line = [uv, "pip", "compile", "--format", "pylock.toml", "--no-header", "--no-build", "--quiet", "--python", sys.executable]
        line += ["--python-version", closure.python] if closure.python else []
        line += ["--python-platform", closure.platform] if closure.platform else []
        for option, name, lines in (("", "wanted.in", closure.requirements.wanted), ("-c", "narrowing.in", closure.requirements.constraints)):
            path = Path(scratch) / name
            path.write_text("".join(f"{one}\n" for one in lines), encoding="utf-8")
            line += [option, str(path)] if option else [str(path)]
        code, out, err = await _run(line, {**_environment(index), "UV_CACHE_DIR": f"{scratch}/cache"}, scratch)
    if code:
        raise _unresolved(err or f"uv ended with {code}")
    try:
        return tomllib.loads(out)
    except tomllib.TOMLDecodeError as error:
        raise Unresolved(f"uv's lock cannot be read: {error}") from None


async def _run(line: list[str], environ: Mapping[str, str], folder: str) -> tuple[int, str, str]:
    """Exit code and output. The process does not outlive a cancellation."""
    process = await asyncio.create_subprocess_exec(
        *line, env=environ, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def _environment(index: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    ours = {"UV_DEFAULT_INDEX": index, "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_KEYRING_PROVIDER": "disabled", "NO_COLOR": "1"}
    return {**kept, **ours}


def _unresolved(said: str) -> Unresolved:
    """The resolver's message in one line, and the address that it could not get."""
    flat = " ".join(said.split()).removeprefix("error: ")
    url = _REFUSED.search(flat) if "Failed to fetch" in flat else None
    return Unresolved(flat[:_MOST], url[1].rstrip("`'\".,") if url else "")
