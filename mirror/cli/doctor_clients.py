"""What `mirror doctor` lets the installed clients do: one tiny real thing each, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mirror.cli.findings import Finding

_PATIENCE: Final = 180
#: Set by users for other purposes; here they would let a client use what it already has, or somebody else.
_OURS: Final = ("HF_", "HUGGINGFACE_", "PIP_", "UV_", "TRANSFORMERS_", "GIT_")
_DOWNLOAD: Final = "import sys, huggingface_hub as h; print(h.__version__, h.hf_hub_download(sys.argv[1], sys.argv[2], cache_dir=sys.argv[3]))"


@dataclass(frozen=True, slots=True)
class Examination:
    """What every client is given: the endpoint, the index (or None), one model with a file, one package."""

    endpoint: str | None
    index: str | None
    model: str
    file: str
    package: str
    settings: Mapping[str, str]


def clients(what: Examination) -> Iterator[Finding]:
    """One finding for each client that is known, `skip` for those that are not installed."""
    with tempfile.TemporaryDirectory(prefix="mirror-doctor-") as scratch:
        folder = Path(scratch)
        if what.endpoint is not None:
            yield _huggingface_hub(what, folder)
            yield _git(what, folder)
        if what.index is not None:
            yield _pip(what, folder)
            yield _uv(what, folder)


def surroundings(what: Examination, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether this shell's own variables lead to the mirror, and nothing leads past it."""
    for name, value in what.settings.items():
        found = environ.get(name, "")
        if name in ("HF_ENDPOINT", "PIP_INDEX_URL", "UV_DEFAULT_INDEX") and found.rstrip("/") != value.rstrip("/"):
            yield Finding("warn", f"this shell: {name}", f"is {found or 'not set'}", 'eval "$(mirror env)"')
    for name in ("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"):
        if environ.get(name):
            yield Finding("warn", f"this shell: {name}", "is set: what is refused here is installed from there", f"unset {name}")


def _huggingface_hub(what: Examination, folder: Path) -> Finding:
    hf = _found("hf")
    if hf is not None:
        return _run("hf download", [hf, "download", what.model, what.file, "--cache-dir", str(folder / "hf")], what, folder)
    python = _python_with("huggingface_hub")
    if python is None:
        return Finding("skip", "huggingface_hub", "not installed here")
    return _run("huggingface_hub", [python, "-c", _DOWNLOAD, what.model, what.file, str(folder / "hf")], what, folder)


def _git(what: Examination, folder: Path) -> Finding:
    git = _found("git")
    if git is None:
        return Finding("skip", "git", "not installed here")
    found = _run("git ls-remote", [git, "ls-remote", f"{what.endpoint}/{what.model}", "HEAD"], what, folder)
    if found.status == "warn" or "error: 403" in found.detail or "error: 451" in found.detail:
        # A pack cannot be filtered, so clones may be refused as such (DESIGN 6).
        return replace(found, status="warn", hint="the mirror refuses git where rules could reach into a repository; use hf download")
    return found


def _pip(what: Examination, folder: Path) -> Finding:
    python = _python_with("pip")
    if python is None:
        return Finding("skip", "pip", "not installed here")
    line = [python, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--no-input", "--quiet", "--dest", str(folder / "pip"), what.package]
    return _run("pip download", line, what, folder)


def _uv(what: Examination, folder: Path) -> Finding:
    uv = _found("uv")
    if uv is None:
        return Finding("skip", "uv", "not installed here")
    python = ["--python", sys.executable, "--target", str(folder / "uv")]
    return _run("uv pip install", [uv, "pip", "install", "--no-deps", "--no-cache", "--no-config", "--quiet", *python, what.package], what, folder)


def _found(program: str) -> str | None:
    """A program on PATH, else beside the Python that runs us."""
    return shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))


def _python_with(module: str) -> str | None:
    """A Python that has `module`: the one on PATH that people use, else our own."""
    for python in (shutil.which("python3"), shutil.which("python"), sys.executable):
        if python is None:
            continue
        probe = [python, "-c", f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"]
        if subprocess.run(probe, capture_output=True, check=False, timeout=60).returncode == 0:  # noqa: S603 - our own line
            return python
    return None


def _run(check: str, line: Sequence[str], what: Examination, folder: Path) -> Finding:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    # A width, because uv breaks its lines at the terminal's and the reason is quoted from one line.
    environ |= {"COLUMNS": "500", **what.settings, "HF_HOME": str(folder / "hf-home"), "PIP_CONFIG_FILE": os.devnull, "GIT_TERMINAL_PROMPT": "0", "NO_COLOR": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - clients found on PATH, with arguments of our own
            list(line), env=environ, cwd=folder, capture_output=True, text=True, errors="replace", check=False,
            timeout=_PATIENCE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Finding("fail", check, f"no end after {_PATIENCE} s", "can the mirror reach its upstream?")
    except OSError as error:
        return Finding("fail", check, f"{line[0]}: {error.strerror}")
    if done.returncode == 0:
        return Finding("ok", check, f"works ({line[0]})")
    said = [text.strip() for text in (done.stderr or done.stdout).splitlines() if text.strip()]
    sentence = next((text for text in said if "Blocked by policy" in text), said[-1] if said else f"exit {done.returncode}")
    if "Blocked by policy" in sentence:
        return Finding("warn", check, sentence[:300], "refused, and the reason was shown: name another with --model, --package")
    return Finding("fail", check, sentence[:300], f"run it by hand: {' '.join(line[:3])} …")
