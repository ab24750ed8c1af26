"""The running installation as a wheel (https://packaging.python.org/specifications/binary-distribution-format/).

Made from the files that run, without a build tool and without a network: what arrives is what was reviewed here.
"""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import mirror
from mirror.core.errors import InputError, Problem

_NAME: Final = "entrepot"
#: Folders that lie in the package in a wheel, and beside it in a checkout.
_BESIDE: Final = {"_config": "config", "_docs": "docs"}
#: What an installer wrote, and no wheel has.
_INSTALLED: Final = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})
#: The earliest time that a zip can tell: nobody learns when it was made, and it can be made again.
_TIME: Final = (1980, 1, 1, 0, 0, 0)


def package_folder(name: str) -> Path | None:
    """`_config` or `_docs` of this installation, or the folder of the checkout that becomes it; None where there is neither."""
    package = Path(mirror.__file__).parent
    found = (package / name, package.parent / _BESIDE[name])
    return next((path for path in found if path.is_dir()), None)


def write_wheel(folder: Path) -> Path:
    """The wheel of what runs here, in `folder`. Raises `InputError` where this is no installation."""
    try:
        installed = distribution(_NAME)
    except PackageNotFoundError:
        raise InputError(
            [Problem(_NAME, "", "is not installed in this Python, so that its requirements are not known")]
        ) from None
    about = f"{_NAME}-{installed.version}.dist-info"
    path = folder / f"{_NAME}-{installed.version}-py3-none-any.whl"
    rows = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(_files(installed, about)):
            _add(archive, name, data)
            rows.append(
                f"{name},sha256={base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
            )
        _add(archive, f"{about}/RECORD", ("".join(rows) + f"{about}/RECORD,,\n").encode())
    return path


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    archive.writestr(entry, data)


def _files(installed: Distribution, about: str) -> Iterator[tuple[str, bytes]]:
    package = Path(mirror.__file__).parent
    for path in _below(package):
        if path.relative_to(package).parts[0] not in _BESIDE:
            yield f"mirror/{path.relative_to(package).as_posix()}", path.read_bytes()
    for name in _BESIDE:
        folder = package_folder(name)
        for path in _below(folder) if folder is not None else ():
            yield f"mirror/{name}/{path.relative_to(folder or package).as_posix()}", path.read_bytes()
    yield f"{about}/WHEEL", b"Wheel-Version: 1.0\nGenerator: entrepot\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    for file in installed.files or ():
        inside = file.as_posix().partition(".dist-info/")[2]
        if file.as_posix().startswith(f"{about}/") and inside not in _INSTALLED | {"WHEEL"}:
            yield f"{about}/{inside}", file.read_binary()


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
