"""How the mirror itself arrives where there is no network: a folder with wheels, documentation, the sender's key and a verifier.

`SHA256SUMS` names every file; its signature beside it is plain Ed25519 over these bytes, so that `openssl` checks it as well as
`verify_bundle.py` does. Its first line says what it is: nothing else that the same key signs (DSSE, C2SP notes) begins so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from packaging.utils import canonicalize_name, parse_wheel_filename

from mirror.bundle import standalone
from mirror.bundle.bootstrap_text import readme
from mirror.bundle.own_wheel import package_folder, write_wheel
from mirror.bundle.resolve import find_uv
from mirror.bundle.statement import ROLE
from mirror.core.dsse import key_id
from mirror.core.errors import InputError, Problem
from mirror.policy.approval import Enrolled
from mirror.trust.enrolment import card_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SUMS: Final = "SHA256SUMS"
SIGNATURE: Final = "SHA256SUMS.sig"
TITLE: Final = "# entrepot bootstrap 1"
CARD: Final = "sender.yaml"
PEM: Final = "sender.pem"
_SAID: Final = 1500


@dataclass(frozen=True, slots=True)
class Target:
    """A machine that the wheels are for: a Python such as `3.12` and one of uv's platforms; both None are this machine's."""

    python: str | None = None
    platform: str | None = None

    @property
    def requirements(self) -> str:
        """The name of its requirements file."""
        parts = [part for part in (self.python, self.platform) if part]
        return "-".join(["requirements", *parts]) + ".txt"


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose bundles the laboratory is going to take: the mirror's key, and the name of its card."""

    key: Ed25519PrivateKey
    name: str


def build(
    folder: Path, sender: Sender, targets: Sequence[Target], *, index: str | None, extras: Sequence[str], now: datetime
) -> Mapping[str, int]:
    """Make `folder`, which must not be there, and give the sizes of its files by their names. Raises `InputError`, `OSError`.

    `index` None: pip's own configuration says where the wheels come from. `extras` are those of our wheel.
    """
    if os.path.lexists(folder):
        raise InputError([Problem(str(folder), "", "is there already")])
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _wheels(draft, targets, index, extras)
        _documents(draft, sender, targets, now)
        sizes = _signed(draft, sender.key)
        draft.chmod(0o755)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return sizes


def _wheels(draft: Path, targets: Sequence[Target], index: str | None, extras: Sequence[str]) -> None:
    wheels = draft / "wheels"
    wheels.mkdir()
    own = write_wheel(wheels)
    wanted = f"{own}[{','.join(extras)}]" if extras else str(own)
    for target in targets:
        with tempfile.TemporaryDirectory(prefix="mirror-bootstrap-") as scratch:
            found = _fetched(Path(scratch), wanted, target, index)
            lines = sorted(_pinned(path, extras if path.name == own.name else ()) for path in found)
            (draft / target.requirements).write_text("".join(lines), encoding="utf-8")
            for path in found:
                shutil.copyfile(path, wheels / path.name)


def _fetched(scratch: Path, wanted: str, target: Target, index: str | None) -> list[Path]:
    """The wheel that is wanted, pip's own and all that they need, for a target."""
    environ = _environment(index)
    line = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--only-binary",
        ":all:",
        "--dest",
        str(scratch / "wheels"),
    ]
    if target.python is None and target.platform is None:
        _run([*line, wanted, "pip"], environ, target)
        return sorted((scratch / "wheels").glob("*.whl"))
    # pip judges markers by the Python that it runs in, so that uv says what another one needs.
    (scratch / "wanted.in").write_text(f"{_requirement(wanted)}\npip\n", encoding="utf-8")
    found = [
        find_uv(),
        "pip",
        "compile",
        "--quiet",
        "--no-header",
        "--no-annotate",
        "--no-build",
        "--python",
        sys.executable,
    ]
    found += ["--python-version", target.python] if target.python else []
    found += ["--python-platform", target.platform] if target.platform else []
    locked = _run([*found, str(scratch / "wanted.in")], environ, target)
    (scratch / "locked.txt").write_text(locked, encoding="utf-8")
    _run([*line, "--no-deps", *_tags(target), "--requirement", str(scratch / "locked.txt")], environ, target)
    return sorted((scratch / "wheels").glob("*.whl"))


def _requirement(wanted: str) -> str:
    path, _, extras = wanted.partition("[")
    return f"entrepot{'[' + extras if extras else ''} @ {Path(path).as_uri()}"


def _tags(target: Target) -> list[str]:
    """What pip has to be told of a target: all older platforms of the same kind too."""
    version = target.python or f"{sys.version_info[0]}.{sys.version_info[1]}"
    found = [
        "--python-version",
        version,
        "--implementation",
        "cp",
        "--abi",
        f"cp{version.replace('.', '')}",
        "--abi",
        "abi3",
        "--abi",
        "none",
    ]
    machine, _, kind = (target.platform or "").partition("-")
    if kind.startswith("manylinux_2_"):
        newest = int(kind.removeprefix("manylinux_2_"))
        names = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)] + [
            f"manylinux{old}_{machine}" for old in ("2014", "2010", "1")
        ]
    elif target.platform is None:
        return ["--python-version", version]
    else:
        raise InputError(
            [
                Problem(
                    "--platform",
                    "",
                    f"{target.platform!r} is none of x86_64-manylinux_2_28, aarch64-manylinux_2_28 and their like",
                )
            ]
        )
    return [*found, *(word for name in names for word in ("--platform", name))]


def _environment(index: str | None) -> dict[str, str]:
    """What the tools are given: our own environment, or one in which there is one index and no configuration."""
    common = {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "NO_COLOR": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    if index is None:
        return {**os.environ, **common}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    ours = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index,
        "PIP_RETRIES": "1",
        "UV_DEFAULT_INDEX": index,
        "UV_NO_CONFIG": "1",
    }
    return {**kept, **common, **ours}


def _run(line: Sequence[str], environ: Mapping[str, str], target: Target) -> str:
    done = subprocess.run(  # noqa: S603 - our own words
        line, env=dict(environ), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-_SAID:] or f"ended with {done.returncode}"
        raise InputError([Problem("wheels", " ".join(filter(None, (target.python, target.platform))), said)])
    return done.stdout


def _pinned(path: Path, extras: Sequence[str]) -> str:
    """A line of a requirements file that takes this wheel and no other."""
    name, version, _, _ = parse_wheel_filename(path.name)
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    return (
        f"{canonicalize_name(name)}{'[' + ','.join(extras) + ']' if extras else ''}=={version} --hash=sha256:{digest}\n"
    )


def _documents(draft: Path, sender: Sender, targets: Sequence[Target], now: datetime) -> None:
    if (docs := package_folder("_docs")) is not None:
        shutil.copytree(docs, draft / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    public = sender.key.public_key()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    card = Enrolled(key_id(public), public, sender.name, "", frozenset({ROLE}), today)
    (draft / CARD).write_text(card_text(card), encoding="utf-8")
    (draft / PEM).write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (draft / standalone.NAME).write_text(standalone.program(), encoding="utf-8")
    (draft / "README.md").write_text(readme([target.requirements for target in targets], now), encoding="utf-8")


def _signed(draft: Path, key: Ed25519PrivateKey) -> dict[str, int]:
    """Write the sums of all files and the signature under them; gives the sizes of all files."""
    names = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
    lines = [TITLE]
    for name in names:
        with (draft / name).open("rb") as file:
            lines.append(f"{file_digest(file, 'sha256').hexdigest()}  {name}")
    text = ("\n".join(lines) + "\n").encode()
    (draft / SUMS).write_bytes(text)
    (draft / SIGNATURE).write_bytes(key.sign(text))
    return {name: (draft / name).stat().st_size for name in (*names, SUMS, SIGNATURE)}
